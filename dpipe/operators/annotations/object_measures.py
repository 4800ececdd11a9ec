"""Numbers of each object of label images: where it is, its shape, how bright it is.

It knows label images of packed pictures and of movies of one plane; the shapes are measured by the
kernels of ``cell-features``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from dpipe import schema
from dpipe.operators.annotations.labelled_pictures import channels_of, labelled
from dpipe.operators.annotations.object_boxes import boxes, cut_out, ranks
from dpipe.operators.cell_features.cpu import hull, outline

SHAPES = {
    "area": 0, "bbox_area": 1, "convex_area": 2, "filled_area": 8, "extent": 6, "solidity": 24,
    "equivalent_diameter": 4, "major_axis_length": 9, "minor_axis_length": 13, "eccentricity": 3,
    "orientation": 21, "perimeter": 22, "perimeter_crofton": 23, "feret_diameter_max": 7,
    "euler_number": 5, **{f"moments_hu-{i}": 14 + i for i in range(7)},
}  # fmt: skip
"""Columns of shape, and where the kernel writes them."""
BRIGHTNESS = {"mean_intensity": 11, "min_intensity": 12, "max_intensity": 10}
_PLACES = ("centroid_y", "centroid_x")
_WEIGHTED = ("weighted_centroid_y", "weighted_centroid_x")


def object_measures(ds: xr.Dataset, labels: xr.Dataset | None = None) -> xr.Dataset:
    """Measure each object of label images, and where there are pixels, how bright it is.

    The numbers are those of scikit-image's ``regionprops`` [1]_ under its older names; lengths
    are in pixels.

    Parameters
    ----------
    ds : xarray.Dataset
        A packed collection with ``label_pixels``, or any selection of its records, or a movie of
        one plane with ``labels``.
    labels : xarray.Dataset, optional
        What holds the labels, where `ds` has only pixels: ``polygon-masks`` of the same pictures.

    Returns
    -------
    xarray.Dataset
        ``feature(record, name)``: a record an object, in the order of pictures and then of
        numbers, so whatever works on the features of cells works on objects too. Coordinates
        over ``record``: ``file`` (of the picture; of a movie its frame as ``frame``),
        ``object_label`` (its number in the label image), ``box_top``, ``box_left``,
        ``box_height``, ``box_width`` (pixels, the first is 0). Names: ``centroid_y`` and ``_x``
        (centres of pixels, the first is 0), the shapes, and for each channel
        ``mean_intensity_<channel>`` and so on.

    Raises
    ------
    SchemaError
        No labels, a movie of several planes, or labels of other pictures.

    References
    ----------
    .. [1] S. van der Walt et al., scikit-image: image processing in Python, PeerJ 2 (2014) e453.

    Examples
    --------
    >>> row = np.array([[0, 7, 7, 0, 0, 7, 7, 3]], "u1")
    >>> coords = {"c": ["Ch1"], "block": [0], "in_block": ("record", [0]),
    ...           "in_slot": ("record", [0]), "offset": ("record", [0]),
    ...           "height": ("record", [2]), "width": ("record", [4]), "file": ("record", ["a"])}
    >>> ds = object_measures(xr.Dataset({"label_pixels": (("block", "place"), row)}, coords))
    >>> ds.object_label.values.tolist(), ds.feature.sel(name="area").values.tolist()
    ([3, 7], [1.0, 4.0])
    """
    found = [
        measured(*one.told(), one.labels, one.shape, one.pixels) for one in labelled(ds, labels)
    ]
    names = [*_PLACES, *SHAPES]
    for channel in channels_of(ds):
        names += [f"{name}_{channel}" for name in (*BRIGHTNESS, *_WEIGHTED)]
    rows = [one.features for one in found]
    features = np.concatenate(rows) if rows else np.empty((0, len(names)))
    array = xr.DataArray(features, dims=("record", "name"), coords={"name": names})
    coords = _coordinates(found)
    return xr.Dataset(schema.FEATURE.wrap(array), {**coords, "name": np.array(names, dtype=str)})


@dataclass(frozen=True)
class Measured:
    """The objects of one picture.

    Attributes
    ----------
    key : str
        Name of the coordinate that says which picture it is.
    picture : object
        Its value.
    numbers : numpy.ndarray, shape (n,)
        Of the objects.
    box : numpy.ndarray, shape (n, 4)
        Of each, as `boxes` gives them.
    features : numpy.ndarray, shape (n, names)
        Of each.
    """

    key: str
    picture: Any
    numbers: np.ndarray
    box: np.ndarray
    features: np.ndarray


def measured(
    key: str, picture: Any, labels: np.ndarray, shape: tuple[int, int], pixels: np.ndarray | None
) -> Measured:
    """Measure the objects of one picture.

    Parameters
    ----------
    key, picture
        What it is called.
    labels : numpy.ndarray, shape (height * width,)
        Its label image.
    shape : tuple of int
        Height and width.
    pixels : numpy.ndarray or None, shape (channel, height, width)
        Its pixels.
    """
    height, width = shape
    numbers, which = ranks(labels)
    box = boxes(which, len(numbers), height, width)
    tall, wide = box[:, 1] - box[:, 0], box[:, 3] - box[:, 2]
    offsets = np.concatenate([[0], np.cumsum(tall * wide)])
    layers = [np.zeros(labels.size, np.uint8)] if pixels is None else [_plain(p) for p in pixels]
    columns: list[np.ndarray] = []
    for k, plane in enumerate(layers):
        shapes, centres = _shapes(which, plane, width, box, offsets, (tall, wide))
        centres = centres + box[:, [0, 2, 0, 2]]
        if not k:
            columns += [centres[:, :2], shapes[:, list(SHAPES.values())]]
        if pixels is not None:
            columns += [shapes[:, list(BRIGHTNESS.values())], centres[:, 2:]]
    return Measured(key, picture, numbers, box, np.concatenate(columns, axis=1))


def _plain(plane: np.ndarray) -> np.ndarray:
    """Return a channel in a dtype that the kernels take."""
    flat = np.ascontiguousarray(plane).reshape(-1)
    return flat if flat.dtype in (np.uint8, np.uint16) else flat.astype(np.float64)


def _shapes(
    which: np.ndarray,
    plane: np.ndarray,
    width: int,
    box: np.ndarray,
    offsets: np.ndarray,
    size: Sequence[np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """Return the 32 shapes and the four places of each object, places within its box."""
    count = len(box)
    shapes, centres = np.empty((count, 1, outline.N_SHAPES)), np.empty((count, 1, 4))
    if not count:
        return shapes[:, 0], centres[:, 0]
    pixels, codes = cut_out(which, plane, width, box, offsets)
    frame = (offsets[:-1], *(np.ascontiguousarray(n) for n in size))
    corners = np.empty((count, 1, 4), np.int64)
    corners[:, 0] = np.column_stack([np.zeros(count), size[0], np.zeros(count), size[1]])
    hulls = np.empty((count, 1, 2))
    hull.hulls(codes, *frame, corners, hulls)
    outline.outlines(pixels, codes, *frame, corners, hulls, shapes, centres)
    return shapes[:, 0], centres[:, 0]


def _coordinates(found: Sequence[Measured]) -> schema.Attributes:
    """Return what is known of each object besides its numbers."""
    counts = [len(one.numbers) for one in found]
    key = found[0].key if found else "file"
    pictures = np.repeat(np.array([one.picture for one in found]), counts)
    numbers = np.concatenate([one.numbers for one in found]) if found else np.empty(0, np.int64)
    box = np.concatenate([one.box for one in found]) if found else np.empty((0, 4), np.int64)
    known = {
        schema.OBJECT_LABEL: numbers,
        schema.BOX_TOP: box[:, 0],
        schema.BOX_LEFT: box[:, 2],
        schema.BOX_HEIGHT: box[:, 1] - box[:, 0],
        schema.BOX_WIDTH: box[:, 3] - box[:, 2],
    }
    wrapped = {
        name: array
        for variable, values in known.items()
        for name, array in variable.wrap(xr.DataArray(values, dims="record")).items()
    }
    return {key: ("record", pictures)} | wrapped
