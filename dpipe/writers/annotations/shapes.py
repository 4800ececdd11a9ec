"""Objects of a collection as polygons, picture by picture, however they were given.

Rings stay as they were read; runs and label images are traced along the borders of pixels. This
module knows how objects belong to pictures; it knows no format.
"""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import xarray as xr

from dpipe import operators, schema
from dpipe.errors import SchemaError
from dpipe.writers.annotations.collection import (
    Losses,
    Outline,
    is_annotated,
    objects_of_pictures,
    outlines_of,
    pictures_of,
    sound_records,
)

_LEAST = 3

Polygon = list[np.ndarray]
"""Rings (vertex, 2): an exterior, and holes. Those that were traced run the other way, negative."""


class Shape(NamedTuple):
    """An object.

    Attributes
    ----------
    number : int
        Its number in its file, -1 none, or its label.
    category : int
        Number of its class, -1 none.
    crowd : bool
        Whether it stands for several.
    area, score : float
        NaN for none.
    box : numpy.ndarray
        Left, top, width, height in pixels; NaN for none.
    polygons : list of Polygon
        x, y in pixels from the upper left corner; the first vertex is not repeated.
    traced : bool
        Whether it was given by its pixels.
    """

    number: int
    category: int
    crowd: bool
    area: float
    score: float
    box: np.ndarray
    polygons: list[Polygon]
    traced: bool


def shapes_of(ds: xr.Dataset, losses: Losses) -> Iterator[tuple[int, list[Shape]]]:
    """Yield each record that is written, with its objects.

    Parameters
    ----------
    ds : xarray.Dataset
        An annotated collection, or one of label images.
    losses : Losses
        Counts objects without an outline, and what is left out.

    Raises
    ------
    SchemaError
        The objects of a picture do not stand together.
    """
    if is_annotated(ds):
        yield from _annotated(ds, losses)
        return
    aside = ds.sizes["record"] - len(sound_records(ds))
    losses.counts["pictures that were put aside are left out"] += aside
    for picture in pictures_of(ds, losses, labels=True):
        yield picture.record, [] if picture.labels is None else _of_labels(picture.labels)


def _annotated(ds: xr.Dataset, losses: Losses) -> Iterator[tuple[int, list[Shape]]]:
    """Yield the pictures of an annotated collection: those with objects, then the others."""
    wanted, owners = objects_of_pictures(ds, losses)
    ids = np.asarray(schema.ANNOTATION_ID.check(ds).values) if "annotation_id" in ds else None
    columns = [
        np.asarray(variable.check(ds).values)
        for variable in (schema.OBJECT_CATEGORY, schema.OBJECT_CROWD)
    ]
    heights, widths = (np.asarray(ds[name].values).tolist() for name in ("height", "width"))
    left = dict.fromkeys(sound_records(ds).tolist())
    outlines = outlines_of(ds, wanted)
    for record, group in itertools.groupby(outlines, lambda one: int(owners[one.number])):
        if record not in left:
            raise SchemaError("objects of a picture stand in several places; sort by object_image")
        del left[record]
        shapes = []
        for one in group:
            i = one.number
            polygons = _of_outline(one, heights[record], widths[record], losses)
            number = -1 if ids is None else int(ids[i])
            box = one.box if np.isfinite(one.box).all() else _extent(polygons)
            shapes.append(
                Shape(
                    number, int(columns[0][i]), bool(columns[1][i]), one.area, one.score, box,
                    polygons, len(one.runs) > 0,
                )
            )  # fmt: skip
        yield record, shapes
    yield from ((record, []) for record in left)


def _of_outline(one: Outline, height: int, width: int, losses: Losses) -> list[Polygon]:
    """Return the polygons of an object; rings that enclose nothing are none."""
    if len(one.runs):
        if int(one.runs.sum(dtype=np.int64)) != height * width:
            losses.counts[
                "objects have runs of another size than their picture, and no outline"
            ] += 1
            return []
        inside = np.arange(len(one.runs)) % 2 == 1
        mask = np.repeat(inside, one.runs).reshape(width, height).T
        return next(_polygons(mask), [])
    polygons = []
    for ring in one.rings:
        repeated = len(ring) > 1 and bool((ring[0] == ring[-1]).all())
        corners = ring[:-1] if repeated else ring
        area = signed_area(corners) if np.isfinite(corners).all() else 0.0
        if len(corners) >= _LEAST and area:
            polygons.append([corners])
    lost = len(one.rings) - len(polygons)
    losses.counts["rings enclose nothing, or are not finite, and are left out"] += lost
    return polygons


def _of_labels(labels: np.ndarray) -> list[Shape]:
    """Return the objects of a label image."""
    runs = operators.label_runs(labels)
    found = zip(
        runs.numbers.tolist(), runs.areas.tolist(), runs.boxes, _polygons(labels), strict=True
    )
    return [
        Shape(number, 1, False, float(area), np.nan, box.astype(float), polygons, True)
        for number, area, box, polygons in found
    ]


def _polygons(labels: np.ndarray) -> Iterator[list[Polygon]]:
    """Yield the polygons of each object of a label image: one a part."""
    found = operators.label_outlines(labels)
    points = np.stack([found.x, found.y], axis=1)
    rings = iter(np.split(points, np.cumsum(found.ring_points)[:-1]))
    counts = iter(found.ring_counts.tolist())
    for parts in found.part_counts.tolist():
        yield [list(itertools.islice(rings, next(counts))) for _ in range(parts)]


def signed_area(ring: np.ndarray) -> float:
    """Return the area that a ring encloses, negative if it runs the other way.

    Examples
    --------
    >>> signed_area(np.array([[0.0, 0], [3, 0], [3, 2]]))
    3.0
    """
    x, y = ring[:, 0], ring[:, 1]
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2)


def _extent(polygons: list[Polygon]) -> np.ndarray:
    """Return the box around polygons; NaN around none."""
    if not polygons:
        return np.full(4, np.nan)
    corners = np.concatenate([polygon[0] for polygon in polygons])
    low, high = corners.min(axis=0), corners.max(axis=0)
    return np.concatenate([low, high - low])
