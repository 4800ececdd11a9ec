"""Pictures, label images and outlines of a packed collection, a block or a batch at a time.

It knows how `dpipe.schema.collections` and `dpipe.schema.annotations` lay them out, and what cannot
be written is counted in `Losses`; it knows no format.
"""

import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from dpipe import schema
from dpipe.compute import compute
from dpipe.errors import SchemaError

_BATCH = 1 << 22
"""Numbers of outlines that are in memory at a time, about; a single object is never cut."""
_LAYOUT = (
    *(schema.IN_BLOCK, schema.IN_SLOT, schema.OFFSET, schema.HEIGHT, schema.WIDTH),
    *(schema.PICTURE_FILE, schema.PUT_ASIDE),
)


@dataclass
class Losses:
    """What a format cannot carry, counted.

    Attributes
    ----------
    stem : str
        The part.
    counts : Counter
        By what it is, said of several.
    """

    stem: str
    counts: Counter[str] = field(default_factory=Counter)

    def warn(self) -> None:
        """Say it in one warning, if there is anything."""
        lines = [f"{count} {what}" for what, count in self.counts.items() if count]
        if lines:
            warnings.warn(f"{self.stem}: {'; '.join(lines)}", UserWarning, stacklevel=4)


class Picture(NamedTuple):
    """A picture with what was asked for; None where there is none, or it cannot be read.

    Attributes
    ----------
    record : int
        Its number in the collection.
    pixels : numpy.ndarray or None
        (height, width, channel).
    labels : numpy.ndarray or None
        (height, width), 0 outside objects.
    """

    record: int
    pixels: np.ndarray | None
    labels: np.ndarray | None


class Outline(NamedTuple):
    """An object of an annotated collection.

    Attributes
    ----------
    number : int
        Its place among the objects.
    rings : list of numpy.ndarray
        (vertex, 2) each: x, y in pixels from the upper left corner.
    runs : numpy.ndarray
        Run lengths; empty if it has rings.
    area, score : float
        NaN for none.
    box : numpy.ndarray
        Left, top, width, height.
    """

    number: int
    rings: list[np.ndarray]
    runs: np.ndarray
    area: float
    score: float
    box: np.ndarray


def is_collection(ds: xr.Dataset) -> bool:
    """Tell whether a Dataset holds annotated, labelled or plain pictures, not a movie."""
    packed = any(name in ds for name in ("label_pixels", "pixels"))
    return "record" in ds.dims and (is_annotated(ds) or packed)


def is_annotated(ds: xr.Dataset) -> bool:
    """Tell whether a collection has objects with outlines, besides label images or not."""
    return "object_image" in ds.variables


def is_bare(ds: xr.Dataset) -> bool:
    """Tell whether a Dataset is a bare list of detections: its pictures are but numbers."""
    return is_annotated(ds) and not {"height", "file"} & set(ds.variables)


def check_collection(stem: str, ds: xr.Dataset) -> None:
    """Refuse what is no packed collection of pictures.

    Raises
    ------
    SchemaError
        It has neither outlines nor labels nor pixels, or does not say where its pictures lie.
    """
    if not is_collection(ds):
        raise SchemaError(_none(stem, "pictures", ds))
    missing = [variable.name for variable in _LAYOUT if variable.name not in ds.variables]
    if missing:
        raise SchemaError(
            f"{stem}: no coordinate {missing[0]!r}; expected a packed collection of pictures"
        )


def check_objects(stem: str, ds: xr.Dataset) -> None:
    """Refuse what is no packed collection of pictures with objects.

    Raises
    ------
    SchemaError
        As of `check_collection`, or it has neither outlines nor labels.
    """
    if not (is_annotated(ds) or "label_pixels" in ds):
        raise SchemaError(_none(stem, "objects", ds))
    check_collection(stem, ds)


def _none(stem: str, what: str, ds: xr.Dataset) -> str:
    variables = ", ".join(map(str, ds.data_vars)) or "none"
    return (
        f"{stem}: no {what}; expected outlines (reader coco) or label images (polygon-masks, or "
        f"readers of pictures). Found: {variables}"
    )


def sound_records(ds: xr.Dataset) -> np.ndarray:
    """Return the numbers of the records whose picture was not put aside.

    Where label images say which objects there are, a picture without one that can be used is left
    out too: it would go out as one without objects.
    """
    if is_bare(ds):
        return np.arange(ds.sizes["record"])
    return np.flatnonzero((np.asarray(ds["height"].values) > 0) & ~_unlabelled(ds))


def _unlabelled(ds: xr.Dataset) -> np.ndarray:
    """Tell of each record whether nobody knows its objects."""
    if is_annotated(ds) or not {"label_pixels", "label_flag"} <= set(ds.variables):
        return np.zeros(ds.sizes["record"], bool)
    rows = ds["block"].to_index().get_indexer(pd.Index(ds["in_block"].values))
    flags = np.asarray(ds["label_flag"].values)[rows, np.asarray(ds["in_slot"].values)]
    return (flags & schema.UNLABELLED) > 0


def image_ids(ds: xr.Dataset) -> np.ndarray:
    """Return the number of each picture: those of its file, else from 1 on."""
    if "image_id" in ds.variables:
        return np.asarray(schema.IMAGE_ID.check(ds).values, np.int64)
    return np.arange(1, ds.sizes["record"] + 1)


def pictures_of(
    ds: xr.Dataset, losses: Losses, *, pixels: bool = False, labels: bool = False
) -> Iterator[Picture]:
    """Yield the pictures that were not put aside, a block at a time in memory.

    Parameters
    ----------
    ds : xarray.Dataset
        A packed collection.
    losses : Losses
        Counts pictures that cannot be read after all.
    pixels, labels : bool
        What to compute, where it is there.
    """
    asked = {"pixels": pixels, "label_pixels": labels}
    names = [name for name, wanted in asked.items() if wanted and name in ds]
    flags = [f for f in ("picture_flag", "label_flag") if f in ds]
    blocks, slots, offsets, heights, widths = (
        np.asarray(ds[variable.name].values) for variable in _LAYOUT[:5]
    )
    rows = ds["block"].to_index().get_indexer(pd.Index(blocks))
    records = sound_records(ds)
    if labels:
        sound = np.asarray(ds["height"].values) > 0
        losses.counts["pictures without a label image that can be used are left out"] += int(
            sound.sum() - len(records)
        )
    channels = ds.sizes.get("c", 1)
    for row in dict.fromkeys(rows[records].tolist()):
        arrays = compute(*(ds[name].isel(block=row).data for name in [*names, *flags]))
        known = dict(zip([*names, *flags], map(np.asarray, arrays), strict=True))
        for i in records[rows[records] == row].tolist():
            begin, shape = int(offsets[i]), (int(heights[i]), int(widths[i]))
            end = begin + shape[0] * shape[1]
            found: dict[str, np.ndarray | None] = {"pixels": None, "label_pixels": None}
            for name, flag in (("pixels", "picture_flag"), ("label_pixels", "label_flag")):
                if name not in known:
                    continue
                if flag in known and known[flag][slots[i]] & schema.UNREADABLE:
                    what = "pictures" if name == "pixels" else "label images"
                    losses.counts[f"{what} that cannot be read are not written"] += 1
                elif name == "pixels":
                    planes = known[name][begin * channels : end * channels]
                    found[name] = planes.reshape(channels, *shape).transpose(1, 2, 0)
                else:
                    found[name] = known[name][begin:end].reshape(shape)
            yield Picture(i, found["pixels"], found["label_pixels"])


_OF_OBJECTS = (schema.OBJECT_AREA, schema.OBJECT_SCORE, schema.OBJECT_BOX)
_OF_POINTS = (schema.OUTLINE_X, schema.OUTLINE_Y)


def outlines_of(ds: xr.Dataset, wanted: np.ndarray) -> Iterator[Outline]:
    """Yield objects in their order, a batch at a time in memory.

    Parameters
    ----------
    ds : xarray.Dataset
        An annotated collection.
    wanted : numpy.ndarray
        bool, a value an object: which are yielded.
    """
    rings, sizes, runs = (
        np.concatenate([[0], np.cumsum(np.asarray(variable.check(ds).values, np.int64))])
        for variable in (schema.RING_COUNT, schema.RING_POINTS, schema.RUN_COUNT)
    )
    weight = sizes[rings] + runs + np.arange(len(wanted) + 1)
    stop = 0
    while stop < len(wanted):
        start = stop
        stop = max(int(np.searchsorted(weight, weight[start] + _BATCH, "right")) - 1, start + 1)
        if not wanted[start:stop].any():
            continue
        point, run = (sizes[rings[start]], sizes[rings[stop]]), (runs[start], runs[stop])
        cuts = {"object": (start, stop), "point": point, "run": run}
        lazy = [
            variable.check(ds).isel({dim: slice(*map(int, cuts[dim]))}).data
            for dim, variables in (
                ("object", [v for v in _OF_OBJECTS if v.name in ds.variables]),
                ("point", _OF_POINTS),
                ("run", (schema.RUN_LENGTH,)),
            )
            for variable in variables
        ]
        *columns, x, y, lengths = map(np.asarray, compute(*lazy))
        names = [v.name for v in _OF_OBJECTS if v.name in ds.variables]
        known = dict(zip(names, columns, strict=True))
        none = np.full(stop - start, np.nan)
        area, score = (known.get(v.name, none) for v in _OF_OBJECTS[:2])
        boxes = known.get("object_box", np.full((stop - start, 4), np.nan))
        for k in np.flatnonzero(wanted[start:stop]).tolist():
            i = start + k
            bounds = sizes[rings[i] : rings[i + 1] + 1] - point[0]
            shapes = [
                np.stack([x[a:b], y[a:b]], axis=1)
                for a, b in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)
            ]
            own = lengths[runs[i] - run[0] : runs[i + 1] - run[0]]
            yield Outline(i, shapes, own, float(area[k]), float(score[k]), boxes[k])


def objects_of_pictures(ds: xr.Dataset, losses: Losses) -> tuple[np.ndarray, np.ndarray]:
    """Return which objects have a picture that is written, and the record of each.

    Parameters
    ----------
    ds : xarray.Dataset
        An annotated collection.
    losses : Losses
        Counts those that have none.
    """
    records = sound_records(ds)
    ids, images = image_ids(ds), np.asarray(schema.OBJECT_IMAGE.check(ds).values, np.int64)
    # of two pictures of one number, the first has the objects
    record_of = {int(ids[i]): int(i) for i in records[::-1]}
    owners = np.array([record_of.get(image, -1) for image in images.tolist()], np.int64)
    aside = np.setdiff1d(ids, ids[records])
    if len(ids) > len(records):
        count = len(ids) - len(records)
        losses.counts["pictures that were put aside are left out"] += count
        losses.counts["objects of pictures that were put aside are left out"] += int(
            np.isin(images, aside).sum()
        )
    losses.counts["objects are of pictures that are not here, and are left out"] += int(
        ((owners < 0) & ~np.isin(images, aside)).sum()
    )
    return owners >= 0, owners


class Categories(NamedTuple):
    """Classes of objects: number, name, and what each belongs to."""

    ids: list[int]
    names: list[str]
    above: list[str]


def categories_of(ds: xr.Dataset) -> Categories:
    """Return the classes of a collection; one, ``object``, where it only has label images."""
    if not is_annotated(ds):
        return Categories([1], ["object"], [""]) if "label_pixels" in ds else Categories([], [], [])
    ids = [int(number) for number in schema.CATEGORY_ID.check(ds).values]
    texts = [
        [str(text) for text in ds[variable.name].values] if variable.name in ds.variables else None
        for variable in (schema.CATEGORY_NAME, schema.SUPERCATEGORY)
    ]
    names, above = (found or [""] * len(ids) for found in texts)
    return Categories(ids, names, above)
