"""Objects of a file of annotations as columns: in the order of their pictures, with the classes."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import xarray as xr

from dpipe import schema
from dpipe.formats import coco
from dpipe.formats.coco_columns import Entry

Order = np.ndarray | slice
"""An order of things, as an index; a slice of all where they stand in it already."""


def objects_of(
    annotations: coco.Annotations, image_ids: np.ndarray, notes: list[str]
) -> xr.Dataset:
    """Return objects in the order of their pictures, with the classes; odd things go into `notes`.

    Parameters
    ----------
    annotations : Annotations
        What a file says.
    image_ids : numpy.ndarray
        Numbers of the pictures, in their order.
    notes : list of str
        Gets a line for each kind of oddity.

    Returns
    -------
    xarray.Dataset
        Over ``object``, ``ring``, ``point``, ``run`` and ``category``.
    """
    objects = annotations.objects
    images = np.frombuffer(objects.images, np.int64)
    order, unknown = _by_picture(images, image_ids)
    if unknown:
        notes.append(f"{unknown} annotations are of pictures that the file does not list")
    rings, vertices, runs = (
        np.frombuffer(column, np.int64)
        for column in (objects.ring_counts, objects.vertex_counts, objects.run_counts)
    )
    ring_order = _spread(rings, order)
    vertex_order = _spread(vertices, ring_order)
    run_order = _spread(runs, order)
    lazy = {
        schema.OBJECT_AREA: np.frombuffer(objects.area)[order],
        schema.OBJECT_SCORE: np.frombuffer(objects.score)[order],
        schema.OBJECT_BOX: np.frombuffer(objects.boxes).reshape(-1, 4)[order],
        **_mask_scores(objects, order),
        schema.OUTLINE_X: np.frombuffer(objects.x, np.float64)[vertex_order],
        schema.OUTLINE_Y: np.frombuffer(objects.y, np.float64)[vertex_order],
        schema.RUN_LENGTH: np.frombuffer(objects.runs, np.uint32)[run_order],
    }
    known = {
        schema.ANNOTATION_ID: np.frombuffer(objects.ids, np.int64)[order],
        schema.OBJECT_IMAGE: images[order],
        schema.OBJECT_CATEGORY: np.frombuffer(objects.categories, np.int64)[order],
        schema.OBJECT_CROWD: np.array(objects.crowd, bool)[order],
        schema.RING_COUNT: rings[order],
        schema.RING_POINTS: vertices[ring_order],
        schema.RUN_COUNT: runs[order],
        schema.RUN_HEIGHT: np.frombuffer(objects.run_heights, np.int64)[order],
    } | _categories(annotations.categories, notes)
    wrapped = [
        {
            name: array
            for variable, values in columns.items()
            for name, array in variable.wrap(xr.DataArray(values, dims=variable.dims)).items()
        }
        for columns in (lazy, known)
    ]
    sides = {"side": np.array(schema.BOX_SIDES)}
    return xr.Dataset(wrapped[0], wrapped[1] | sides)


def _mask_scores(objects: coco.Objects, order: Order) -> dict[schema.Variable, np.ndarray]:
    """Return scores of masks, where any object has one of its own."""
    scores = np.frombuffer(objects.mask_score)[order]
    return {} if np.isnan(scores).all() else {schema.OBJECT_MASK_SCORE: scores}


def _by_picture(images: np.ndarray, image_ids: np.ndarray) -> tuple[Order, int]:
    """Return the order of objects by their pictures, and how many have none; those are last."""
    first = np.argsort(image_ids, kind="stable")
    ordered = image_ids[first]
    at = np.minimum(np.searchsorted(ordered, images), max(len(ordered) - 1, 0))
    there = ordered[at] == images if len(ordered) else np.zeros(len(images), bool)
    place = np.where(there, first[at], len(image_ids)) if len(ordered) else np.zeros(len(images))
    unknown = int((~there).sum())
    if (place[1:] >= place[:-1]).all():
        return slice(None), unknown
    return np.argsort(place, kind="stable"), unknown


def _spread(counts: np.ndarray, order: Order) -> Order:
    """Return the order of the members of groups, from the order of the groups."""
    if isinstance(order, slice):
        return order
    starts = np.concatenate([[0], np.cumsum(counts)])[:-1]
    chosen = counts[order]
    before = np.repeat(np.cumsum(chosen) - chosen, chosen)
    return np.arange(int(chosen.sum())) - before + np.repeat(starts[order], chosen)


def _categories(categories: Sequence[Entry], notes: list[str]) -> dict[schema.Variable, np.ndarray]:
    usable = [one for one in categories if coco.is_number(one.get("id"))]
    if len(usable) < len(categories):
        notes.append(f"{len(categories) - len(usable)} categories have no number")
    keys = {key for one in usable for key in one} - {"id", "name", "supercategory"}
    notes.extend(f"categories have the key {key!r}, which is not kept" for key in sorted(keys))
    return {
        schema.CATEGORY_ID: np.array([one["id"] for one in usable], np.int64),
        schema.CATEGORY_NAME: texts(one.get("name") for one in usable),
        schema.SUPERCATEGORY: texts(one.get("supercategory") for one in usable),
    }


def texts(values: Iterable[Any]) -> np.ndarray:
    """Return values as texts, "" for None."""
    return np.array(["" if value is None else str(value) for value in values], dtype=str)
