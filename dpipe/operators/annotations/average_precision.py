"""How well detections find the annotated objects: average precision and recall as COCO has them.

The matching and the curves are hotcoco's, whose arrays are those of pycocotools; this module knows
what goes in and which means are taken of what comes out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

import hotcoco
import numpy as np
import xarray as xr

from dpipe import schema
from dpipe.errors import SchemaError, UsageError
from dpipe.operators.parameters import check_choice, check_whole

AREAS = {
    "livecell": (("small", 0, 18**2), ("medium", 18**2, 31**2), ("large", 31**2, 1e10)),
    "coco": (("small", 0, 32**2), ("medium", 32**2, 96**2), ("large", 96**2, 1e10)),
}
"""Classes of size by the pixels of an object."""
_KINDS = {"masks": "segm", "boxes": "bbox"}
_ALL = 1e10
_NEEDED = (schema.OBJECT_IMAGE, schema.OBJECT_CATEGORY)


class _Image(TypedDict):
    """A picture as COCO has it."""

    id: int
    height: int
    width: int
    file_name: str


class _Category(TypedDict):
    """A class of objects as COCO has it."""

    id: int
    name: str


class _Object(TypedDict, total=False):
    """An object, or a detection, as COCO has it."""

    id: int
    image_id: int
    category_id: int
    iscrowd: int
    area: float
    score: float
    bbox: list[float]
    segmentation: Any


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
        Detections of a picture that count, the surest; rising. Precision is told for the last.
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
        A parameter that is none, no picture in common, or detections without scores.

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
    limits: list[int] = (
        list(max_detections) if isinstance(max_detections, list | tuple) else [max_detections]  # type: ignore[list-item]
    )
    for limit in limits:
        check_whole("max_detections", limit, 1)
    if not limits or limits != sorted(set(limits)):
        raise UsageError(f"max_detections: found {max_detections!r}; expected numbers, rising")
    if type(categories) is not bool:
        raise UsageError(f"categories: found {categories!r}; expected true or false")
    rows: list[dict[str, float]] = []
    keys: list[tuple[str, str, str]] = []
    for detector, found in _parts(detections, "detections"):
        _check_scores(detector, found, kind)
        for truth, annotated in _parts(tree, "annotations"):
            shared = np.isin(found["object_image"].values, annotated["image_id"].values)
            if found.sizes["object"] and not shared.any():
                continue
            evaluation = _Evaluation(annotated, found, kind, areas, limits, categories)
            for group, images in _groups(annotated, by):
                rows.append(
                    evaluation.numbers(images) | {"detections_unmatched": int((~shared).sum())}
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
    return xr.Dataset(schema.FEATURE.wrap(array), {**coords, "name": np.array(names, dtype=str)})


def _parts(tree: xr.DataTree, what: str) -> Iterator[tuple[str, xr.Dataset]]:
    for stem, node in tree.children.items():
        ds = node.to_dataset()
        for variable in _NEEDED:
            if variable.name not in ds:
                raise SchemaError(f"{stem}: no {what}: {variable.signature()} is missing")
        yield stem, ds


def _scores(ds: xr.Dataset, kind: str) -> np.ndarray:
    """Return how sure detections are; of a mask its own score, where it has one."""
    scores = np.asarray(ds["object_score"].values)
    if kind != "masks" or "object_mask_score" not in ds:
        return scores
    own = np.asarray(ds["object_mask_score"].values)
    return np.where(np.isnan(own), scores, own)


def _check_scores(stem: str, ds: xr.Dataset, kind: str) -> None:
    if ds.sizes["object"] and bool(np.isnan(_scores(ds, kind)).any()):
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
        content = {
            "images": _images(self.truth),
            "annotations": list(_objects(self.truth, self.kind, scored=False)),
            "categories": _categories(self.truth, self.found),
        }
        self.annotated = hotcoco.COCO(content)
        listed = set(self.truth["image_id"].values.tolist())
        results = [
            one for one in _objects(self.found, self.kind, scored=True) if one["image_id"] in listed
        ]
        self.results = results
        self.loaded = self.annotated.loadRes([dict(one) for one in results]) if results else None

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


def _images(ds: xr.Dataset) -> list[_Image]:
    sizes = [
        ds[name if name in ds.coords else name.removeprefix("image_")].values.tolist()
        for name in ("image_height", "image_width")
    ]
    numbers = ds["image_id"].values.tolist()
    return [
        {"id": number, "height": height, "width": width, "file_name": str(number)}
        for number, height, width in zip(numbers, *sizes, strict=True)
    ]


def _categories(*parts: xr.Dataset) -> list[_Category]:
    numbers = sorted({int(n) for ds in parts for n in np.unique(ds["object_category"].values)})
    return [{"id": number, "name": str(number)} for number in numbers or [1]]


def _objects(ds: xr.Dataset, kind: str, *, scored: bool) -> Iterator[_Object]:
    """Yield objects as COCO has them, with what is compared and nothing else."""
    columns = {
        name: ds[name].values.tolist()
        for name in ("object_image", "object_category", "object_crowd", "ring_count", "run_count")
    }
    x, y = ds["outline_x"].values, ds["outline_y"].values
    ring_ends = np.cumsum(ds["ring_points"].values).tolist()
    runs = ds["run_length"].values
    scores = _scores(ds, kind).tolist() if scored else []
    boxes = ds["object_box"].values.tolist() if kind == "boxes" else []
    areas = ds["object_area"].values.tolist() if "object_area" in ds else []
    sizes = {image["id"]: (image["height"], image["width"]) for image in _sized(ds)}
    ring = run = point = 0
    for i in range(ds.sizes["object"]):
        rings, count = columns["ring_count"][i], columns["run_count"][i]
        outline = []
        for k in range(ring, ring + rings):
            outline.append(np.column_stack([x[point : ring_ends[k]], y[point : ring_ends[k]]]))
            point = ring_ends[k]
        ring += rings
        image = columns["object_image"][i]
        one: _Object = {"image_id": image, "category_id": columns["object_category"][i]}
        if scored:
            one["score"] = scores[i]
        else:
            one |= {"id": i + 1, "iscrowd": int(columns["object_crowd"][i])}
        if kind == "boxes":
            one["bbox"] = boxes[i]
        elif count:
            one["segmentation"] = {
                "size": sizes.get(image),
                "counts": runs[run : run + count].tolist(),
            }
        else:
            one["segmentation"] = [places.reshape(-1).tolist() for places in outline]
        if not scored:
            one["area"] = (
                areas[i]
                if areas and np.isfinite(areas[i])
                else _area(outline, runs[run : run + count])
            )
        run += count
        yield one


def _sized(ds: xr.Dataset) -> list[_Image]:
    return _images(ds) if "image_height" in ds.coords or "height" in ds.coords else []


def _area(outline: Sequence[np.ndarray], runs: np.ndarray) -> float:
    """Return the area of an object: of its outline, or the pixels of its runs."""
    if len(runs):
        return float(runs[1::2].sum())
    total = 0.0
    for places in outline:
        x, y = places.T
        total += abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2
    return total
