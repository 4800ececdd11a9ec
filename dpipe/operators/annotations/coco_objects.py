"""Annotated pictures as COCO's tools take them: pictures, classes and objects as plain records."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
import xarray as xr

from dpipe.errors import UsageError


class Image(TypedDict):
    """A picture as COCO has it."""

    id: int
    height: int
    width: int
    file_name: str


class Category(TypedDict):
    """A class of objects as COCO has it."""

    id: int
    name: str


class CocoObject(TypedDict, total=False):
    """An object, or a detection, as COCO has it."""

    id: int
    image_id: int
    category_id: int
    iscrowd: int
    area: float
    score: float
    bbox: list[float]
    segmentation: Any


def scores(ds: xr.Dataset, kind: str) -> np.ndarray:
    """Return how sure detections are; of a mask its own score, where it has one."""
    plain = np.asarray(ds["object_score"].values)
    if kind != "masks" or "object_mask_score" not in ds:
        return plain
    own = np.asarray(ds["object_mask_score"].values)
    return np.where(np.isnan(own), plain, own)


def images(ds: xr.Dataset) -> list[Image]:
    """Return the pictures, with the size that their file gives."""
    sizes = [
        ds[name if name in ds.coords else name.removeprefix("image_")].values.tolist()
        for name in ("image_height", "image_width")
    ]
    numbers = ds["image_id"].values.tolist()
    return [
        {"id": number, "height": height, "width": width, "file_name": str(number)}
        for number, height, width in zip(numbers, *sizes, strict=True)
    ]


def categories(*parts: xr.Dataset) -> list[Category]:
    """Return the classes that objects of some parts have."""
    numbers = sorted({int(n) for ds in parts for n in np.unique(ds["object_category"].values)})
    return [{"id": number, "name": str(number)} for number in numbers or [1]]


def objects(
    ds: xr.Dataset, kind: str, sizes: Mapping[int, tuple[int, int]], *, scored: bool
) -> Iterator[CocoObject]:
    """Yield objects as COCO has them, with what is compared and nothing else.

    `sizes` are those of the annotated pictures, by their number; objects of others are left out,
    and so are those without a mask or a box, whichever is compared.
    """
    columns = {
        name: ds[name].values.tolist()
        for name in ("object_image", "object_category", "object_crowd")
    }
    sure = scores(ds, kind).tolist() if scored else []
    areas = ds["object_area"].values.tolist() if "object_area" in ds else []
    boxes = np.asarray(ds["object_box"].values) if "object_box" in ds else None
    for i, shape in enumerate(shapes(ds)):
        image = columns["object_image"][i]
        if image not in sizes:
            continue
        one: CocoObject = {"image_id": image, "category_id": columns["object_category"][i]}
        if kind == "boxes":
            box = shape.box(sizes[image]) if boxes is None else boxes[i]
            box = shape.box(sizes[image]) if np.isnan(box).any() else box
            if np.isnan(box).any():
                continue
            one["bbox"] = box.tolist()
        elif not shape.has_mask:
            continue
        else:
            one["segmentation"] = shape.segmentation(sizes[image])
        if scored:
            one["score"] = sure[i]
        else:
            known = areas and np.isfinite(areas[i])
            one |= {"id": i + 1, "iscrowd": int(columns["object_crowd"][i])}
            one["area"] = areas[i] if known else shape.area
        yield one


@dataclass(frozen=True)
class Shape:
    """Rings (vertex, xy) and runs of an object, and the rows of the mask that the runs fill."""

    rings: list[np.ndarray]
    runs: np.ndarray
    height: int

    @property
    def has_mask(self) -> bool:
        """Whether there are runs, or a ring of three vertices."""
        return len(self.runs) > 0 or any(len(ring) > 2 for ring in self.rings)

    @property
    def area(self) -> float:
        """Pixels of the runs, or the area of the outline."""
        if len(self.runs):
            return float(self.runs[1::2].sum())
        total = 0.0
        for ring in self.rings:
            x, y = ring.T
            total += abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2
        return total

    def segmentation(self, size: tuple[int, int]) -> Any:
        """Return it as COCO has it, in a picture of a size."""
        if not len(self.runs):
            return [ring.reshape(-1).tolist() for ring in self.rings if len(ring) > 2]
        self._check(size)
        return {"size": list(size), "counts": self.runs.tolist()}

    def box(self, size: tuple[int, int]) -> np.ndarray:
        """Return left, top, width, height of runs or rings; NaN without."""
        if len(self.runs):
            self._check(size)
            inside = np.repeat(np.arange(len(self.runs)) % 2, self.runs).reshape(size[::-1])
            columns, rows = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
            if len(rows):
                ends = columns[-1] + 1 - columns[0], rows[-1] + 1 - rows[0]
                return np.array([columns[0], rows[0], *ends], float)
        points = [ring for ring in self.rings if len(ring)]
        if not points:
            return np.full(4, np.nan)
        low, high = (each(np.concatenate(points), axis=0) for each in (np.min, np.max))
        return np.concatenate([low, high - low])

    def _check(self, size: tuple[int, int]) -> None:
        total = int(self.runs.sum(dtype=np.int64))
        if total != size[0] * size[1] or self.height not in (0, size[0]):
            rows = f" in {self.height} rows" if self.height else ""
            raise UsageError(
                f"run lengths of {total} pixels{rows}; their picture has {size[0]} x {size[1]}: "
                "write the detections at the size of the annotated pictures"
            )


def shapes(ds: xr.Dataset) -> Iterator[Shape]:
    """Yield the shape of each object."""
    x, y, runs = (ds[name].values for name in ("outline_x", "outline_y", "run_length"))
    points = np.concatenate([[0], np.cumsum(ds["ring_points"].values)]).tolist()
    heights = ds["run_height"].values.tolist() if "run_height" in ds.variables else []
    ring = run = 0
    for i, (rings, count) in enumerate(
        zip(ds["ring_count"].values.tolist(), ds["run_count"].values.tolist(), strict=True)
    ):
        places = [slice(points[k], points[k + 1]) for k in range(ring, ring + rings)]
        outline = [np.column_stack([x[place], y[place]]) for place in places]
        yield Shape(outline, runs[run : run + count], heights[i] if heights else 0)
        ring, run = ring + rings, run + count
