"""Label images as outlines: the way back from ``polygon-masks``.

It knows packed collections and the columns of annotations; how a label image is traced stands in
``tracing``.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import xarray as xr

from dpipe import schema
from dpipe.operators.annotations.tracing import label_outlines, label_runs, one_ring
from dpipe.operators.pictures.packed import layout, pieces

_CATEGORY = 1


def mask_polygons(ds: xr.Dataset, *, category: str = "object") -> xr.Dataset:
    """Outline the objects of label images along the borders of pixels.

    An object has a ring for each of its parts, whose pixels meet at their sides. A hole is joined
    to its ring by a line there and back, so that drawing by the rule of COCO [1]_, as
    ``polygon-masks`` does, gives the same pixels.

    Parameters
    ----------
    ds : xarray.Dataset
        A packed collection with ``label_pixels``, or any selection of its records.
    category : str
        Name of the class of all objects.

    Returns
    -------
    xarray.Dataset
        Annotated pictures as the reader ``coco`` gives them, computed at once: ``outline_x``,
        ``outline_y`` in pixels from the upper left corner, whole numbers, ``object_area``
        (pixels), ``object_box``. Objects stand in the order of pictures and then of labels,
        ``annotation_id`` counts them from 1. Pictures without a number get one from 1 on.

    Raises
    ------
    SchemaError
        No labels, or no packed collection.

    References
    ----------
    .. [1] T.-Y. Lin et al., Microsoft COCO: Common Objects in Context, ECCV 2014, with
       ``pycocotools``.

    Examples
    --------
    >>> row = np.array([[0, 7, 7, 0, 0, 7, 7, 3]], "u1")
    >>> coords = {"c": ["Ch1"], "block": [0], "in_block": ("record", [0]),
    ...           "in_slot": ("record", [0]), "offset": ("record", [0]),
    ...           "height": ("record", [2]), "width": ("record", [4]), "file": ("record", ["a"])}
    >>> ds = mask_polygons(xr.Dataset({"label_pixels": (("block", "place"), row)}, coords))
    >>> ds.object_area.values.tolist(), ds.ring_points.values.tolist()
    ([1.0, 4.0], [4, 4])
    >>> list(zip(ds.outline_x.values[:4].tolist(), ds.outline_y.values[:4].tolist()))
    [(3.0, 1.0), (4.0, 1.0), (4.0, 2.0), (3.0, 2.0)]
    """
    schema.LABEL_PIXELS.check(ds)
    places = layout(ds)
    known = "image_id" in ds.coords
    ids = ds["image_id"].values if known else np.arange(1, ds.sizes["record"] + 1)
    columns: dict[str, list[np.ndarray]] = {}
    for record, labels in _labels_of(ds):
        for name, values in _traced(labels, int(ids[record])).items():
            columns.setdefault(name, []).append(values)
    made = {name: np.concatenate(arrays) for name, arrays in columns.items()}
    made = {name: made.get(name, empty) for name, empty in _traced(_NONE, 0).items()}
    count = len(made["object_image"])
    made |= {
        "annotation_id": np.arange(1, count + 1),
        "object_category": np.full(count, _CATEGORY, np.int64),
        "object_crowd": np.zeros(count, bool),
        "object_score": np.full(count, np.nan),
        "run_count": np.zeros(count, np.int64),
        "run_height": np.zeros(count, np.int64),
        "run_length": np.zeros(0, np.uint32),
        "category_id": np.array([_CATEGORY]),
        "category_name": np.array([category]),
        "supercategory": np.array([""]),
    }
    variables, coords = dict[str, Any](), dict[str, Any](places)
    for name, values in made.items():
        variable = schema.VARIABLES[name]
        wrapped = variable.wrap(xr.DataArray(values, dims=variable.dims))
        (variables if name in _LAZY else coords).update(wrapped)
    coords |= {"side": np.array(schema.BOX_SIDES)}
    coords |= {} if known else {"image_id": ("record", ids)}
    return xr.Dataset(variables, coords)


_NONE = np.zeros((1, 1), np.uint8)
_LAZY = ("object_area", "object_score", "object_box", "outline_x", "outline_y", "run_length")
"""What the reader ``coco`` has as variables; the others are coordinates."""


def _labels_of(ds: xr.Dataset) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the label image of each record in their order, a block at a time in memory."""
    table = [np.asarray(ds[name].values) for name in ("offset", "height", "width")]
    blocks = np.asarray(ds["in_block"].values)
    shown, row = None, _NONE
    for record, (place, shape) in enumerate(pieces(*table)):
        if place.stop > place.start:
            if blocks[record] != shown:
                shown = blocks[record]
                row = np.asarray(ds["label_pixels"].sel(block=shown).values)
            yield record, row[place].reshape(shape)


def _traced(labels: np.ndarray, image: int) -> dict[str, np.ndarray]:
    """Return the columns of the objects of a label image."""
    runs, found = label_runs(labels), label_outlines(labels)
    ends = np.cumsum(found.ring_counts)
    points = np.concatenate([[0], np.cumsum(found.ring_points)])
    x, y, sizes = [np.zeros(0)], [np.zeros(0)], np.zeros(len(ends), np.int64)
    for part, (first, last) in enumerate(zip(ends - found.ring_counts, ends, strict=True)):
        own = slice(points[first], points[last])
        joined = one_ring(found.x[own], found.y[own], found.ring_points[first:last])
        sizes[part] = len(joined[0])
        x.append(joined[0])
        y.append(joined[1])
    return {
        "object_image": np.full(len(runs.numbers), image, np.int64),
        "object_area": runs.areas.astype(np.float64),
        "object_box": runs.boxes.astype(np.float64),
        "ring_count": found.part_counts.astype(np.int64),
        "ring_points": sizes,
        "outline_x": np.concatenate(x),
        "outline_y": np.concatenate(y),
    }
