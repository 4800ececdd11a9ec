"""Where the cells of a movie are, frame by frame: boxes of its labels, surfaces and spots.

One cell has one box. What shows most of it goes first: its label (a mask), else the extent of its
surface, else a cube around its spot. A surface or spot whose centre lies in a box of its frame
that is there already is the same cell; it only gives that box its track.

Boxes here are borders in micrometres; `place` turns one into pixels of a plane whose origin is
the *corner* of the first pixel, as COCO has it. A coordinate is a voxel's centre, so half a
voxel lies between. This module knows nothing of files.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import xarray as xr
from scipy import ndimage

from dpipe import schema
from dpipe.errors import SchemaError, UsageError
from dpipe.writers.training.pictures import numbers


@dataclass
class Box:
    """One cell in one frame.

    `low` and `high` are its borders along z, y, x in micrometres, infinite where unknown;
    `channels` is empty where all show it; `mask` (y, x) is that of a label, in the whole plane.
    """

    frame: int
    low: np.ndarray
    high: np.ndarray
    source: str
    track: int = -1
    channels: list[int] = field(default_factory=list)
    mask: np.ndarray | None = None

    def middle(self) -> np.ndarray:
        """Its centre, NaN where it is unknown."""
        finite = np.isfinite(self.low) & np.isfinite(self.high)
        return np.where(finite, np.where(finite, self.low, 0) / 2 + self.high / 2, np.nan)

    def holds(self, other: "Box") -> bool:
        """Whether the centre of another lies in it, borders included; an unknown z fits all."""
        centre = other.middle()
        return bool((np.isnan(centre) | ((self.low <= centre) & (centre <= self.high))).all())

    def distance(self, other: "Box") -> float:
        """How far apart the centres are, as far as both are known."""
        return float(np.nansum((self.middle() - other.middle()) ** 2) ** 0.5)


def marked(ds: xr.Dataset) -> bool:
    """Whether a part says where its cells are; a table without a row says: nowhere."""
    return "labels" in ds or "surface" in ds.dims or "spot" in ds.dims


def table_boxes(stem: str, ds: xr.Dataset, size: float | None) -> tuple[list[Box], Counter[str]]:
    """Return the boxes of a part's surfaces and spots, surfaces first, and what was counted."""
    boxes, counts = list[Box](), Counter[str]()
    if "surface" in ds.dims:
        boxes += _surfaces(ds)
        counts["surfaces"] = ds.sizes["surface"]
        counts["surfaces_without_mesh"] = ds.sizes["surface"] - len(boxes)
    if "spot" in ds.dims:
        boxes += _spots(stem, ds, size)
        counts["spots"] = ds.sizes["spot"]
    return boxes, counts


def label_boxes(labels: np.ndarray, frame: int, ds: xr.Dataset) -> list[Box]:
    """Return the boxes of one volume of labels (z, y, x), with masks as seen along z."""
    inside = labels != 0
    codes = np.zeros(labels.shape, np.int32)
    present, inverse = np.unique(labels[inside], return_inverse=True)
    codes[inside] = inverse + 1
    numbered = ds["labels"].attrs.get("number") == "track"
    origin, step = grid(ds)
    boxes = []
    for i, region in enumerate(ndimage.find_objects(codes)):
        mask = np.zeros(labels.shape[1:], bool)
        mask[region[1:]] = (codes[region] == i + 1).any(axis=0)
        low = origin + (np.array([s.start for s in region]) - 0.5) * step
        high = origin + (np.array([s.stop for s in region]) - 0.5) * step
        track = int(present[i]) if numbered else -1
        boxes.append(Box(frame, low, high, "labels", track, mask=mask))
    return boxes


def merge(boxes: Sequence[Box]) -> tuple[list[Box], int]:
    """Leave one box of each cell, the first; return how many were left out."""
    merged: list[Box] = []
    for box in boxes:
        same = [other for other in merged if other.source != box.source and other.holds(box)]
        if not same:
            merged.append(box)
            continue
        nearest = min(same, key=lambda other: other.distance(box))
        nearest.track = box.track if nearest.track < 0 else nearest.track
        nearest.channels = nearest.channels or box.channels
    return merged, len(boxes) - len(merged)


def grid(ds: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Return the centre of the first voxel, and the steps, along z, y, x in micrometres."""
    first = [float(ds[d].values[0]) if d in ds.coords else 0.0 for d in schema.SPACE_DIMS]
    return np.array(first), np.array([schema.spacing(ds, dim) for dim in schema.SPACE_DIMS])


@dataclass(frozen=True)
class Placed:
    """A box in the plane: x, y, width, height in pixels, clipped at the border or not."""

    box: Box
    bbox: list[float]
    clipped: bool


def place(box: Box, ds: xr.Dataset) -> Placed | None:
    """Return the place of a box in the plane, None if it lies outside.

    The depth counts where a movie has several planes.
    """
    origin, step = grid(ds)
    low, high = (box.low - origin) / step + 0.5, (box.high - origin) / step + 0.5
    depth = ds.sizes.get("z", 1)
    if depth > 1 and (low[0] >= depth or high[0] <= 0):
        return None
    limit = np.array([ds.sizes["y"], ds.sizes["x"]], float)
    inner = np.clip(low[1:], 0, limit), np.clip(high[1:], 0, limit)
    (y, x), (height, width) = np.round(inner[0], 6), np.round(inner[1] - inner[0], 6)
    if not (height > 0 and width > 0):
        return None
    clipped = bool((low[1:] < 0).any() or (high[1:] > limit).any())
    return Placed(box, [float(x), float(y), float(width), float(height)], clipped)


def _surfaces(ds: xr.Dataset) -> Iterator[Box]:
    frames = schema.SURFACE_FRAME.check(ds).values
    track = ds["surface_track"].values if "surface_track" in ds.variables else frames * 0 - 1
    counts = schema.VERTEX_COUNT.check(ds).values
    places = np.stack(
        [v.check(ds).values for v in (schema.VERTEX_Z, schema.VERTEX_Y, schema.VERTEX_X)], axis=1
    ).astype(float)
    for i, end in enumerate(np.cumsum(counts)):
        vertices = places[end - counts[i] : end]
        vertices = vertices[np.isfinite(vertices).all(axis=1)]
        if len(vertices):
            yield Box(int(frames[i]), vertices.min(0), vertices.max(0), "surfaces", int(track[i]))


def _spots(stem: str, ds: xr.Dataset, size: float | None) -> Iterator[Box]:
    if "annotator" in ds.variables and len(set(ds["annotator"].values.astype(str))) > 1:
        raise SchemaError(
            f"{stem}: spots of several annotators give several boxes of one cell; export those of "
            "consensus-tracks"
        )
    if ds.sizes["spot"] and size is None:
        raise UsageError(
            f"{stem}: spots have no extent; say size=, the edge of a box in micrometres"
        )
    places = np.stack(
        [v.check(ds).values for v in (schema.SPOT_Z, schema.SPOT_Y, schema.SPOT_X)], axis=1
    ).astype(float)
    names = ds["c"].values.astype(str).tolist() if "c" in ds.coords else ["0"]
    marked = (
        ds["spot_channel"].values.astype(str) if "spot_channel" in ds.coords else [""] * len(places)
    )
    half = np.full(3, float(size or 0) / 2)
    for centre, frame, track, channel_text in zip(
        places, schema.FRAME.check(ds).values, schema.TRACK.check(ds).values, marked, strict=True
    ):
        if not np.isfinite(centre[1:]).all():
            raise SchemaError(f"{stem}: a spot of frame {frame} has no place along y or x")
        low, high = centre - half, centre + half
        low[np.isnan(low)], high[np.isnan(high)] = -np.inf, np.inf
        try:
            channels = numbers(str(channel_text), names)
        except SchemaError as error:
            raise SchemaError(f"{stem}: a spot of frame {frame}: {error}") from error
        yield Box(int(frame), low, high, "spots", int(track), channels)
