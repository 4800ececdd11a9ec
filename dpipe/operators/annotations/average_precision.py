"""How well detections find the annotated objects: average precision and recall as COCO has them.

The matching and the curves are hotcoco's, whose arrays are those of pycocotools; this module knows
what goes in and which means are taken of what comes out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import hotcoco
import numpy as np
import xarray as xr

from dpipe import schema
from dpipe.errors import SchemaError, UsageError
from dpipe.operators.annotations.coco_objects import categories, images, objects, scores
from dpipe.operators.parameters import check_choice, check_whole

AREAS = {
    "livecell": (("small", 0, 18**2), ("medium", 18**2, 31**2), ("large", 31**2, 1e10)),
    "coco": (("small", 0, 32**2), ("medium", 32**2, 96**2), ("large", 96**2, 1e10)),
}
"""Classes of size by the pixels of an object."""
_KINDS = {"masks": "segm", "boxes": "bbox"}
_ALL = 1e10
_NEEDED = (schema.OBJECT_IMAGE, schema.OBJECT_CATEGORY)


def average_precision(
    tree: xr.DataTree,
    detections: xr.DataTree,
    *,
    kind: Literal["masks", "boxes"] = "masks",
    max_detections: Sequence[int] = (100, 500, 2000),
    areas: Literal["livecell", "coco"] = "livecell",
    categories: bool = False,
    by: str = "",
) -> xr.Dataset:
    """Measure how well detections find annotated objects, as COCO does, with LIVECell's limits.

    A detection matches an object of its picture that it overlaps enough (IoU 0.50 to 0.95 in
    steps of 0.05), the surest first [1]_. Limits are those of LIVECell [2]_: more detections a
    picture, smaller classes of size, classes of objects not told apart.

    Parameters
    ----------
    tree : xarray.DataTree
        Annotated pictures: parts as the reader ``coco`` gives them.
    detections : xarray.DataTree
        The same of detections, each with a score: files of annotations, or bare lists. Pictures
        are matched by ``image_id``; every part is held against every part of `tree` that has
        pictures of it.
    kind : {"masks", "boxes"}
        What is compared. Masks have the size class of their pixels, whatever box a file gives.
    max_detections : sequence of int
        Detections of a picture that count, the surest; rising, also by commas. Precision is told
        for the last.
    areas : {"livecell", "coco"}
        Where classes of size begin: at 18^2 and 31^2 pixels, or at 32^2 and 96^2.
    categories : bool
        Whether an object must be of the class of its detection.
    by : str
        A coordinate over the pictures, such as ``cell_type``: each of its values is measured by
        itself too.

    Returns
    -------
    xarray.Dataset
        ``feature(record, name)``, a record for each part of detections, part of `tree` and group.
        Names: ``AP`` (mean over the IoU), ``AP50``, ``AP75``, ``AP_small``, ``AP_medium``,
        ``AP_large``, ``AR_<n>`` for each limit, ``AR_small`` ..., and ``precision_<IoU>`` and
        ``recall_<IoU>``; ``objects``, ``detections``, ``detections_unmatched`` (of pictures that
        are not in the part of `tree`), ``pictures_without_detections``. Shares from 0 to 1, NaN
        where there is nothing to find. Coordinates ``detector``, ``truth`` and ``group``
        ("all" for all).

    Raises
    ------
    SchemaError
        Parts without annotations.
    UsageError
        A parameter that is none, no picture in common, detections without scores, none with a
        mask (or a box) to compare, or run lengths of another size than their picture.

    Notes
    -----
    LIVECell's own code counts COCO's -1 for "nothing there" in the means over IoU; here it is left
    out.

    References
    ----------
    .. [1] T.-Y. Lin et al., Microsoft COCO: Common Objects in Context, ECCV 2014, with
       ``pycocotools``; computed by hotcoco (MIT).
    .. [2] C. Edlund et al., LIVECell, Nature Methods 18 (2021) 1038-1045, and its evaluation code.

    Examples
    --------
    >>> corners = ("point", [0.0, 8, 8, 0]), ("point", [0.0, 0, 8, 8])
    >>> lines = {"outline_x": corners[0], "outline_y": corners[1],
    ...          "run_length": ("run", np.zeros(0, "u4")), "object_score": ("object", [0.9])}
    >>> of_objects = {"object_image": [7], "object_category": [1], "object_crowd": [False],
    ...               "ring_count": [1], "run_count": [0]}
    >>> coords = {name: ("object", values) for name, values in of_objects.items()}
    >>> coords |= {"ring_points": ("ring", [4]), "image_id": ("record", [7]),
    ...            "image_height": ("record", [10]), "image_width": ("record", [10])}
    >>> part = xr.DataTree.from_dict({"/m": xr.Dataset(lines, coords)})
    >>> round(average_precision(part, part).feature.sel(name="AP").item(), 9)
    1.0
    """
    check_choice("kind", kind, tuple(_KINDS))
    check_choice("areas", areas, tuple(AREAS))
    limits = _limits(max_detections)
    if type(categories) is not bool:
        raise UsageError(f"categories: found {categories!r}; expected true or false")
    notes: list[str] = []
    rows: list[dict[str, float]] = []
    keys: list[tuple[str, str, str]] = []
    for detector, found in _parts(detections, "detections"):
        _check_scores(detector, found, kind)
        for truth, annotated in _parts(tree, "annotations"):
            shared = np.isin(found["object_image"].values, annotated["image_id"].values)
            if found.sizes["object"] and not shared.any():
                continue
            evaluation = _Evaluation(annotated, found, kind, areas, limits, categories)
            notes += evaluation.notes(f"{detector} on {truth}", int(shared.sum()))
            for group, numbers in _groups(annotated, by):
                rows.append(
                    evaluation.numbers(numbers) | {"detections_unmatched": int((~shared).sum())}
                )
                keys.append((detector, truth, group))
    if not rows:
        raise UsageError(
            "no picture in common: pictures are matched by image_id, so both files must number "
            "them alike"
        )
    names = list(rows[0])
    values = np.array([[float(row[name]) for name in names] for row in rows])
    array = xr.DataArray(values, dims=("record", "name"), coords={"name": names})
    coords = {
        name: ("record", np.array([key[k] for key in keys], dtype=str))
        for k, name in enumerate(("detector", "truth", "group"))
    }
    ds = xr.Dataset(schema.FEATURE.wrap(array), {**coords, "name": np.array(names, dtype=str)})
    return ds.assign_attrs({"notes": notes} if notes else {})


def _limits(given: Any) -> list[int]:
    """Return limits of detections, given as numbers or by commas; they rise."""
    if isinstance(given, str):
        given = [int(n) if n.strip().isdecimal() else n for n in given.split(",")]
    limits = list(given) if isinstance(given, list | tuple) else [given]
    for limit in limits:
        check_whole("max_detections", limit, 1)
    if not limits or limits != sorted(set(limits)):
        raise UsageError(f"max_detections: found {given!r}; expected numbers, rising")
    return limits


def _parts(tree: xr.DataTree, what: str) -> Iterator[tuple[str, xr.Dataset]]:
    for stem, node in tree.children.items():
        ds = node.to_dataset()
        for variable in _NEEDED:
            if variable.name not in ds:
                raise SchemaError(f"{stem}: no {what}: {variable.signature()} is missing")
        yield stem, ds


def _check_scores(stem: str, ds: xr.Dataset, kind: str) -> None:
    if ds.sizes["object"] and bool(np.isnan(scores(ds, kind)).any()):
        raise UsageError(f"{stem}: detections without a score; each needs one")


def _groups(ds: xr.Dataset, by: str) -> Iterator[tuple[str, list[int]]]:
    """Yield all pictures, and those of each value of a coordinate."""
    images = np.asarray(ds["image_id"].values)
    yield "all", images.tolist()
    if by:
        if by not in ds.coords or ds[by].dims != ("record",):
            raise UsageError(f"by: no coordinate {by!r} over the pictures")
        for value in np.unique(ds[by].values):
            yield str(value), images[ds[by].values == value].tolist()


@dataclass
class _Evaluation:
    """One part of detections held against one of annotations."""

    truth: xr.Dataset
    found: xr.Dataset
    kind: str
    areas: str
    limits: list[int]
    categories: bool

    def __post_init__(self) -> None:
        content: dict[str, Any] = {
            "images": images(self.truth),
            "categories": categories(self.truth, self.found),
        }
        sizes = {image["id"]: (image["height"], image["width"]) for image in content["images"]}
        content["annotations"] = list(objects(self.truth, self.kind, sizes, scored=False))
        self.annotations = len(content["annotations"])
        self.annotated = hotcoco.COCO(content)
        results = list(objects(self.found, self.kind, sizes, scored=True))
        self.results = results
        self.loaded = self.annotated.loadRes([dict(one) for one in results]) if results else None

    def notes(self, name: str, detections: int) -> list[str]:
        """Say what could not be compared.

        Raises
        ------
        UsageError
            No detection has what is compared.
        """
        what, other = ("mask", "boxes") if self.kind == "masks" else ("box", "masks")
        if detections and not self.results:
            raise UsageError(
                f"{name}: none of {detections} detections has a {what}; compare kind={other}"
            )
        lines = []
        if not detections:
            lines.append(f"{name}: no detections")
        if lost := detections - len(self.results):
            lines.append(f"{name}: {lost} detections have no {what} and do not count")
        annotated = np.isin(self.truth["object_image"].values, self.truth["image_id"].values).sum()
        if lost := int(annotated) - self.annotations:
            lines.append(f"{name}: {lost} annotated objects have no {what} and do not count")
        return lines

    def numbers(self, images: list[int]) -> dict[str, float]:
        """Return precision and recall over some pictures."""
        own = set(images)
        detected = [one["image_id"] for one in self.results if one["image_id"] in own]
        objects = int(np.isin(self.truth["object_image"].values, images).sum())
        counts = {
            "objects": objects,
            "detections": len(detected),
            "pictures_without_detections": len(own) - len(set(detected)),
        }
        if self.loaded is None or not objects:
            return self._nothing(objects) | counts
        run = hotcoco.COCOeval(self.annotated, self.loaded, _KINDS[self.kind])
        run.params.imgIds = images
        run.params.useCats = self.categories
        run.params.maxDets = self.limits
        ranges = AREAS[self.areas]
        run.params.areaRng = [[0, _ALL], *([low, high] for _, low, high in ranges)]
        run.params.areaRngLbl = ["all", *(name for name, _, _ in ranges)]
        run.evaluate()
        run.accumulate()
        curves: Any = run.eval
        precision, recall = np.asarray(curves["precision"]), np.asarray(curves["recall"])
        return self._means(precision, recall) | counts

    def _means(self, precision: np.ndarray, recall: np.ndarray) -> dict[str, float]:
        """Return the means; `precision` is (IoU, recall, class, size, limit)."""
        names = [name for name, _, _ in AREAS[self.areas]]
        means = {
            "AP": _mean(precision[..., 0, -1]),
            "AP50": _mean(precision[0, ..., 0, -1]),
            "AP75": _mean(precision[5, ..., 0, -1]),
        }
        means |= {f"AP_{n}": _mean(precision[..., k, -1]) for k, n in enumerate(names, 1)}
        means |= {f"AR_{m}": _mean(recall[..., 0, k]) for k, m in enumerate(self.limits)}
        means |= {f"AR_{n}": _mean(recall[..., k, -1]) for k, n in enumerate(names, 1)}
        for k, overlap in enumerate(_OVERLAPS):
            means[f"precision_{overlap:.2f}"] = _mean(precision[k, ..., 0, -1])
            means[f"recall_{overlap:.2f}"] = _mean(recall[k, ..., 0, -1])
        return means

    def _nothing(self, objects: int) -> dict[str, float]:
        """Return the means where there is nothing to find (NaN), or nothing was found (0)."""
        shape = (len(_OVERLAPS), 1, 1, 1 + len(AREAS[self.areas]), len(self.limits))
        told = np.full(shape, 0.0 if objects else -1.0)
        return self._means(told, told[:, 0])


_OVERLAPS = np.linspace(0.5, 0.95, 10)


def _mean(values: np.ndarray) -> float:
    """Return the mean; -1 stands for nothing there and is left out."""
    told = values[values > -1]
    return float(told.mean()) if told.size else float("nan")
