"""Objects of label images cut out: a packed collection of pictures with masks, one an object."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from dpipe import schema
from dpipe.errors import SchemaError
from dpipe.operators.annotations.labelled_pictures import LabelledPicture, channels_of, labelled
from dpipe.operators.annotations.object_boxes import boxes, ranks
from dpipe.operators.parameters import check_whole
from dpipe.operators.pictures.packed import code_dtype

_BLOCK = 1024


def object_crops(
    ds: xr.Dataset, labels: xr.Dataset | None = None, *, margin: int = 4
) -> xr.Dataset:
    """Cut each object of label images out, with its mask, as a picture of its own.

    What comes out is a packed collection like those of single cells, so ``cell-features``,
    ``gate``, ``picture-quality``, ``pictures`` and batches work on it.

    Parameters
    ----------
    ds : xarray.Dataset
        A packed collection with pixels and ``label_pixels``, or any selection of its records, or
        a movie of one plane with ``labels``.
    labels : xarray.Dataset, optional
        What holds the labels, where `ds` has only pixels: ``polygon-masks`` of the same pictures.
    margin : int
        Pixels around the box of an object that belong to its picture, as far as they are there.

    Returns
    -------
    xarray.Dataset
        ``pixels(block, value)``, ``mask_code(block, place)`` (the object, the same in each
        channel), ``mask_value`` and ``picture_flag``; over ``record``, in the order of pictures
        and then of numbers, ``file`` (or ``frame``), ``object_label``, ``box_top`` and
        ``box_left`` (of the cut-out), and, where `ds` has annotations, ``label``: the class.

    Raises
    ------
    SchemaError
        No labels, no pixels, a movie of several planes, or labels of other pictures.
    UsageError
        A margin that is none.

    Examples
    --------
    >>> row = np.array([[0, 7, 7, 0, 0, 7, 7, 3]], "u1")
    >>> coords = {"c": ["Ch1"], "block": [0], "in_block": ("record", [0]),
    ...           "in_slot": ("record", [0]), "offset": ("record", [0]),
    ...           "height": ("record", [2]), "width": ("record", [4]), "file": ("record", ["a"])}
    >>> lines = {"label_pixels": (("block", "place"), row), "pixels": (("block", "value"), row * 9)}
    >>> ds = object_crops(xr.Dataset(lines, coords), margin=0)
    >>> ds.height.values.tolist(), ds.width.values.tolist(), ds.pixels.values.tolist()
    ([1, 2], [1, 2], [[27, 63, 63, 63, 63]])
    """
    check_whole("margin", margin, 0, "a number of pixels")
    names = channels_of(ds)
    if not names:
        raise SchemaError("no pixels to cut out; give the pictures and, by role, their labels")
    classes = _Classes.of(ds)
    cut = [crop for one in labelled(ds, labels) for crop in _crops(one, margin, classes)]
    return _packed(cut, names)


@dataclass(frozen=True)
class _Crop:
    """An object cut out: which it is, where it begins, its pixels (channel, y, x), its mask."""

    key: str
    picture: Any
    number: int
    corner: tuple[int, int]
    pixels: np.ndarray
    mask: np.ndarray
    label: str


@dataclass(frozen=True)
class _Classes:
    """Names of the classes of the objects of each picture; none where nobody says them."""

    names: dict[int, list[str]]

    @classmethod
    def of(cls, ds: xr.Dataset) -> "_Classes":
        needed = {"object_image", "object_category", "category_id", "category_name", "image_id"}
        if not needed <= set(ds.variables):
            return cls({})
        named = dict(zip(ds["category_id"].values, ds["category_name"].values, strict=True))
        records = {image: k for k, image in enumerate(ds["image_id"].values.tolist())}
        names: dict[int, list[str]] = {}
        for image, category in zip(
            ds["object_image"].values.tolist(), ds["object_category"].values, strict=True
        ):
            if image in records:
                names.setdefault(records[image], []).append(str(named.get(category, "-1")))
        return cls(names)

    def name(self, record: int, number: int) -> str:
        """Return the class of an object; "-1" unknown."""
        known = self.names.get(record, [])
        return known[number - 1] if 0 < number <= len(known) else "-1"


def _crops(one: LabelledPicture, margin: int, classes: _Classes) -> list[_Crop]:
    if one.pixels is None:
        return []
    numbers, which = ranks(one.labels)
    height, width = one.shape
    plane = which.reshape(one.shape)
    crops = []
    for k, (top, bottom, left, right) in enumerate(boxes(which, len(numbers), *one.shape).tolist()):
        rows = slice(max(top - margin, 0), min(bottom + margin, height))
        columns = slice(max(left - margin, 0), min(right + margin, width))
        crops.append(_Crop(
            one.key, one.name, int(numbers[k]), (rows.start, columns.start),
            one.pixels[:, rows, columns], plane[rows, columns] == k,
            classes.name(one.record, int(numbers[k])),
        ))  # fmt: skip
    return crops


def _packed(crops: list[_Crop], names: list[str]) -> xr.Dataset:
    """Lay objects one after another, some hundred a block."""
    total, count = len(names), len(crops)
    heights, widths = (
        np.array([crop.mask.shape[axis] for crop in crops], np.int64) for axis in (0, 1)
    )
    block = max(1, min(_BLOCK, count))
    in_block, in_slot = np.divmod(np.arange(count), block)
    rows = max(1, -(-count // block))
    ends = np.cumsum(heights * widths)
    before = np.concatenate([[0], ends])[: count or 1]
    offsets = before[:count] - before[in_block * block] if count else np.zeros(0, np.int64)
    places = int((offsets + heights * widths).max(initial=1))
    dtype = crops[0].pixels.dtype if crops else np.dtype("u1")
    pixels = np.zeros((rows, places * total), dtype)
    codes = np.zeros((rows, places), code_dtype(total))
    values, flags = np.zeros((rows, block), "u1"), np.zeros((rows, block), "u1")
    for n, crop in enumerate(crops):
        row, start, size = in_block[n], int(offsets[n]), crop.mask.size
        pixels[row, start * total : (start + size) * total] = crop.pixels.reshape(-1)
        codes[row, start : start + size] = crop.mask.reshape(-1) * codes.dtype.type(2**total - 1)
        values[row, in_slot[n]] = 1
    bits = [1 << k for k in range(len(schema.PICTURE_FLAGS))]
    told = {"flag_masks": bits, "flag_meanings": " ".join(schema.PICTURE_FLAGS)}
    arrays: schema.Attributes = {}
    for variable, array, attrs in (
        (schema.PIXELS, pixels, {}), (schema.MASK_CODE, codes, {}),
        (schema.MASK_VALUE, values, {}), (schema.PICTURE_FLAG, flags, told),
    ):  # fmt: skip
        arrays |= variable.wrap(xr.DataArray(array, dims=variable.dims), **attrs)
    known = {
        schema.IN_BLOCK: in_block, schema.IN_SLOT: in_slot, schema.OFFSET: offsets,
        schema.HEIGHT: heights, schema.WIDTH: widths,
        schema.OBJECT_LABEL: np.array([crop.number for crop in crops], np.int64),
        schema.BOX_TOP: np.array([crop.corner[0] for crop in crops], np.int64),
        schema.BOX_LEFT: np.array([crop.corner[1] for crop in crops], np.int64),
        schema.MASK_DTYPE: np.full(count, "uint8"),
        schema.PUT_ASIDE: np.full(count, "", "U1"),
        schema.PICTURE_LABEL: np.array([crop.label for crop in crops], dtype=str),
    }  # fmt: skip
    coords: schema.Attributes = {"block": np.arange(rows), "c": np.array(names, dtype=str)}
    for variable, column in known.items():
        coords |= variable.wrap(xr.DataArray(column, dims="record"))
    key = crops[0].key if crops else "file"
    coords[key] = ("record", np.array([crop.picture for crop in crops]))
    return xr.Dataset(arrays, coords)
