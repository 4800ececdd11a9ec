"""Annotated pictures as columns, from a file or from a dataset, for all checks alike."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import msgspec
import numpy as np
import xarray as xr

from dpipe.doctor.findings import Example
from dpipe.errors import SchemaError
from dpipe.formats import coco

NO_SHAPE, RINGS, RUNS, BOX = 0, 1, 2, 3
"""How an object is given: not at all, by outlines, by run lengths, by its box alone."""
_USELESS = ("cannot be used", "not used:")


@dataclass
class AnnotationTable:
    """Pictures, classes and objects of one file, or of one part of a dataset.

    Attributes
    ----------
    file : str
        Its name.
    image_ids, heights, widths : numpy.ndarray, shape (picture,)
        As listed; 0 for a size that is not known.
    file_names : list of str
        Of the pictures.
    category_ids : numpy.ndarray
        Classes that are listed.
    ids, images, categories, crowd, areas : numpy.ndarray, shape (object,)
        Number, number of the picture, class, whether it stands for several, area (NaN none).
    boxes : numpy.ndarray, shape (object, 4)
        Left, top, width, height; NaN none.
    rings, vertices, runs : numpy.ndarray, shape (object + 1,)
        Where rings, vertices and runs of each object begin.
    ring_sizes, x, y, run_lengths : numpy.ndarray
        Vertices of each ring; vertices in pixels from the corner; runs.
    run_heights : numpy.ndarray, shape (object,)
        Rows of the mask that runs are of, 0 where nothing says.
    numbers : numpy.ndarray, shape (object,)
        Place of each object in its file.
    cut : bool
        Whether the end of the file is missing.
    problems : list of (str, Example)
        What was found while reading, by kind.
    odd_ids : set of int
        Numbers of entries of pictures that cannot be used.
    without : dict
        Annotations that could not be read, counted by the number of their picture.
    """

    file: str
    image_ids: np.ndarray
    file_names: list[str]
    heights: np.ndarray
    widths: np.ndarray
    category_ids: np.ndarray
    ids: np.ndarray
    images: np.ndarray
    categories: np.ndarray
    crowd: np.ndarray
    areas: np.ndarray
    boxes: np.ndarray
    rings: np.ndarray
    ring_sizes: np.ndarray
    x: np.ndarray
    y: np.ndarray
    runs: np.ndarray
    run_lengths: np.ndarray
    run_heights: np.ndarray
    numbers: np.ndarray
    cut: bool = False
    problems: list[tuple[str, Example]] = field(default_factory=list)
    odd_ids: set[int] = field(default_factory=set)
    without: dict[int, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def vertices(self) -> np.ndarray:
        """Where the vertices of each object begin, and the end."""
        return starts(self.ring_sizes)[self.rings]

    @cached_property
    def pictures(self) -> np.ndarray:
        """Place of the picture of each object in the list of pictures, -1 for none."""
        if not len(self.image_ids):
            return np.full(len(self), -1)
        order = np.argsort(self.image_ids, kind="stable")
        ordered = self.image_ids[order]
        at = np.minimum(np.searchsorted(ordered, self.images), len(ordered) - 1)
        return np.where(ordered[at] == self.images, order[at], -1)

    @cached_property
    def shapes(self) -> np.ndarray:
        """How each object is given: `RINGS`, `RUNS`, `BOX` or `NO_SHAPE`."""
        boxed = np.isfinite(self.boxes).all(axis=1)
        choices = [self.runs[1:] > self.runs[:-1], self.rings[1:] > self.rings[:-1], boxed]
        return np.select(choices, [RUNS, RINGS, BOX], NO_SHAPE)

    def sizes(self) -> tuple[np.ndarray, np.ndarray]:
        """Return height and width of the picture of each object, 0 where it is not known."""
        there = self.pictures >= 0
        return tuple(
            np.where(there, np.append(column, 0)[self.pictures], 0)
            for column in (self.heights, self.widths)
        )  # type: ignore[return-value]

    def name_of(self, i: int) -> str:
        """Return the file name of an object's picture, or its number where it is not listed."""
        k = self.pictures[i]
        return self.file_names[k] if k >= 0 else f"picture {self.images[i]}"

    def example(self, detail: str, *objects: int) -> Example:
        """Return some objects of one picture as an example."""
        ids = tuple(int(self.ids[i]) for i in objects)
        return Example(self.file, self.name_of(objects[0]), ids, detail)


def starts(counts: Any) -> np.ndarray:
    """Return where groups of some sizes begin, and the end."""
    return np.concatenate([[0], np.cumsum(np.asarray(counts, np.int64))])


def table_of(annotations: coco.Annotations, file: str) -> AnnotationTable:
    """Return what a file of annotations says as columns.

    Parameters
    ----------
    annotations : Annotations
        As parsed.
    file : str
        Its name.
    """
    objects, odd, images = annotations.objects, list[tuple[Any, str, str]](), []
    for image in annotations.images:
        if problem := coco.image_problem(image):
            odd.append((image.get("id"), str(image.get("file_name", "")), problem))
        else:
            images.append(image)
    categories = [one["id"] for one in annotations.categories if coco.is_number(one.get("id"))]
    table = AnnotationTable(
        file, np.array([image["id"] for image in images], np.int64),
        [str(image["file_name"]) for image in images],
        np.array([image["height"] for image in images], np.int64),
        np.array([image["width"] for image in images], np.int64),
        np.array(categories, np.int64), np.array(objects.ids, np.int64),
        np.array(objects.images, np.int64), np.array(objects.categories, np.int64),
        np.array(objects.crowd, bool), np.array(objects.area),
        np.array(objects.boxes, float).reshape(-1, 4), starts(objects.ring_counts),
        np.array(objects.vertex_counts, np.int64), np.array(objects.x, float),
        np.array(objects.y, float), starts(objects.run_counts), np.array(objects.runs, np.uint32),
        np.array(objects.run_heights, np.int64),
        _places(len(objects), {one.number for one in annotations.unusable}),
        problems=[("unusable_entry", Example(file, name, (), said)) for _, name, said in odd],
        odd_ids={number for number, *_ in odd if isinstance(number, int)},
    )  # fmt: skip
    names = dict(zip(table.image_ids.tolist(), table.file_names, strict=True))
    for one in annotations.unusable:
        _add_unusable(table, one, names)
    return table


def _places(count: int, left_out: set[int]) -> np.ndarray:
    """Return the places of objects in their file, from the places of those left out."""
    places = np.arange(count + len(left_out))
    return np.setdiff1d(places, np.array(sorted(left_out), np.int64))


def _add_unusable(table: AnnotationTable, one: coco.Unusable, names: dict[int, str]) -> None:
    """Note an annotation that could not be read, under the kind of its fault."""
    said = msgspec.json.decode(one.text)
    said = said if isinstance(said, dict) else {}
    image, number = said.get("image_id"), said.get("id")
    kind = "unusable_entry"
    if one.problem.startswith("a ring of"):
        kind = "bad_outline"
    elif "RLE" in one.problem:
        kind = "bad_runs"
    name = names.get(image, f"picture {image}") if isinstance(image, int) else ""
    ids = (number,) if isinstance(number, int) else ()
    table.problems.append((kind, Example(table.file, name, ids, one.problem)))
    if isinstance(image, int):
        table.without[image] = table.without.get(image, 0) + 1


def table_of_dataset(ds: xr.Dataset, name: str) -> AnnotationTable:
    """Return a part of a dataset that the reader ``coco`` made as columns.

    Parameters
    ----------
    ds : xarray.Dataset
        Annotated pictures.
    name : str
        What examples call it.

    Raises
    ------
    SchemaError
        It holds no annotations.
    """
    if any(key not in ds for key in ("object_image", "image_id", "file", "height")):
        raise SchemaError(f"{name}: no annotated pictures; expected what the reader coco makes")
    table = AnnotationTable(
        name, _of(ds, "image_id"), [str(file) for file in ds["file"].values], _of(ds, "height"),
        _of(ds, "width"), _of(ds, "category_id"), _of(ds, "annotation_id"),
        _of(ds, "object_image"), _of(ds, "object_category"), ds["object_crowd"].values,
        ds["object_area"].values, ds["object_box"].values, starts(ds["ring_count"].values),
        _of(ds, "ring_points"), ds["outline_x"].values, ds["outline_y"].values,
        starts(ds["run_count"].values), ds["run_length"].values,
        np.zeros(ds.sizes["object"], np.int64), np.arange(ds.sizes["object"]),
    )  # fmt: skip
    if "put_aside" in ds:
        reasons = zip(table.file_names, ds["put_aside"].values.tolist(), strict=True)
        table.problems += [
            ("damaged_picture" if "damaged" in reason else "missing_picture",
             Example(name, file, (), reason))
            for file, reason in reasons if reason
        ]  # fmt: skip
    notes: Iterable[str] = np.atleast_1d(ds.attrs.get("notes", [])).tolist()
    table.problems += [
        ("unusable_entry", Example(name, "", (), note))
        for note in notes
        if any(word in note for word in _USELESS)
    ]
    return table


def _of(ds: xr.Dataset, name: str) -> np.ndarray:
    return np.asarray(ds[name].values, np.int64)
