"""Packed pictures cut and padded to one size, as people look at them and networks take them.

It knows where the centre is and what fills the margin. It does not know what the pictures show.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import xarray as xr

from dpipe import schema
from dpipe.compute import beside, map_rows, namespace
from dpipe.errors import UsageError, unknown
from dpipe.operators.pictures.packed import channels as channels_of
from dpipe.operators.pictures.packed import chosen, covered, layout


def pictures(
    ds: xr.Dataset,
    masks: xr.Dataset | None = None,
    *,
    size: int | Sequence[int] = 64,
    channels: str | Sequence[str] | None = None,
    pad: Literal["zero", "mean"] = "zero",
) -> xr.Dataset:
    """Cut or pad each picture of a packed collection to one size, about its centre.

    Where a picture is larger by d, ``int(d / 2)`` rows or columns are taken off before it and the
    rest behind it; where it is smaller, so many are added before it, as scifAI does [1]_.

    Parameters
    ----------
    ds : xarray.Dataset
        A packed collection, or any selection of its records.
    masks : xarray.Dataset, optional
        Masks that take the place of those of `ds`: what ``segment-cells`` made of it, or the
        collection itself where `ds` are pixels that ``compensate`` made of it.
    size : int or two ints
        Height and width of the results.
    channels : str or sequence of str, optional
        Which channels, in which order; by default all.
    pad : {"zero", "mean"}
        What stands in the margin: 0, or the mean of the channel after it was cut, as scifAI's
        networks take it; then the pictures are floats.

    Returns
    -------
    xarray.Dataset
        Lazy ``image(record, c, y, x)`` and, where there are masks, ``mask(record, c, y, x)``, true
        where a mask is not 0, with what is known of each record. A picture that was put aside or
        could not be read is 0, or NaN if `pad` is the mean.

    Raises
    ------
    SchemaError
        The Dataset is no packed collection, or the masks are of other pictures.
    UsageError
        An unknown channel or `pad`, or a size that is none.

    References
    ----------
    .. [1] S. Shetab Boushehri, K. Essig et al., Nature Communications 14 (2023) 7888: the code of
       its framework scifAI, which crops, then pads.

    Examples
    --------
    >>> coords = {"c": ["Ch1"], "block": [0], "in_block": ("record", [0, 0]),
    ...           "in_slot": ("record", [0, 1]), "offset": ("record", [0, 2]),
    ...           "height": ("record", [2, 1]), "width": ("record", [1, 4])}
    >>> packed = xr.Dataset({"pixels": (("block", "value"), [[5, 7, 1, 2, 3, 4]])}, coords)
    >>> pictures(packed, size=2).image.values.tolist()
    [[[[5, 0], [7, 0]]], [[[2, 3], [0, 0]]]]
    """
    shape = _shape(size)
    if pad not in ("zero", "mean"):
        raise UsageError(unknown("pad", pad, ("zero", "mean")))
    pixels = schema.PIXELS.check(ds)
    layout(ds)
    ds = covered(ds, masks)
    names = channels_of(ds)
    shown = chosen("channels", names if channels is None else channels, names)
    if not shown:
        raise UsageError("channels: found none; expected at least one")
    places = tuple(names.index(name) for name in shown)
    dtype = np.result_type(pixels.dtype, np.float32) if pad == "mean" else pixels.dtype
    sizes = dict(zip(schema.PICTURE_DIMS[1:], (len(places), *shape), strict=True))
    options: dict[str, Any] = {"chosen": places, "shape": shape}
    mean = dtype.name if pad == "mean" else ""
    image = map_rows(
        _cut, ds, sizes=sizes, dtype=dtype, need=("pixels",), total=len(names), mean=mean, **options
    )
    result = schema.PICTURES.wrap(image)
    if "mask_code" in ds:
        mask = map_rows(_cut_mask, ds, sizes=sizes, dtype="?", need=("mask_code",), **options)
        result |= schema.PICTURE_MASKS.wrap(mask)
    return xr.Dataset(result).assign_coords(c=np.array(shown, dtype=str))


def unpack(ds: xr.Dataset, record: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Return one picture of a packed collection as it was in its file.

    Parameters
    ----------
    ds : xarray.Dataset
        A packed collection, or any selection of its records.
    record : int
        Which of its records, counted from 0.

    Returns
    -------
    tuple of (numpy.ndarray, numpy.ndarray or None)
        Picture and mask, (height, width, channels) and of the dtypes they had; None without a
        mask. A picture that was put aside is 0 by 0, one that could not be read is zeros.
    """
    picture = ds.isel(record=record)
    height, width, offset = (int(picture[name]) for name in ("height", "width", "offset"))
    slot, row = int(picture["in_slot"]), ds.sel(block=int(picture["in_block"]))
    total = ds.sizes["c"]
    size, shape = height * width, (total, height, width)
    values = slice(offset * total, (offset + size) * total)
    image = row["pixels"][values].values.reshape(shape).transpose(1, 2, 0)
    kind = str(picture["mask_dtype"].values) if "mask_dtype" in ds.coords else ""
    if not kind or not size:
        return image, None
    if int(row["picture_flag"][slot]) & 2:
        mask = row["mask_pixels"][values].values.reshape(shape).transpose(1, 2, 0)
        return image, mask.astype(kind)
    codes = row["mask_code"][offset : offset + size].values.reshape(height, width, 1)
    bits = codes & (1 << np.arange(total, dtype=codes.dtype)) != 0
    return image, np.where(bits, row["mask_value"][slot].values, 0).astype(kind)


def _shape(size: int | Sequence[int]) -> tuple[int, int]:
    shape = tuple(size) if isinstance(size, list | tuple) else (size, size)
    if len(shape) != 2 or not all(type(n) is int and n > 0 for n in shape):
        raise UsageError(f"size: found {size!r}; expected a number of pixels, or height and width")
    return shape


def _margins(n: int, size: int) -> tuple[slice, slice]:
    """Return two slices: the pixels taken out of n, and their places in the new size."""
    if n > size:
        first = (n - size) // 2
        return slice(first, first + size), slice(0, size)
    first = (size - n) // 2
    return slice(0, n), slice(first, first + n)


def _cut(
    pixels: Any,
    _: Any,
    offsets: Any,
    heights: Any,
    widths: Any,
    *,
    chosen: tuple[int, ...],
    shape: tuple[int, int],
    total: int,
    mean: str,
) -> Any:
    xp = namespace(pixels)
    dtype = getattr(xp, mean) if mean else pixels.dtype
    out = xp.zeros((offsets.shape[0], len(chosen), *shape), dtype=dtype, **beside(pixels))
    for i in range(offsets.shape[0]):
        start, height, width = (int(column[i]) for column in (offsets, heights, widths))
        start *= total
        planes = xp.reshape(pixels[start : start + total * height * width], (total, height, width))
        (ys, to_y), (xs, to_x) = _margins(height, shape[0]), _margins(width, shape[1])
        for k, channel in enumerate(chosen):
            plane = planes[channel, ys, xs]
            if mean:
                plane = xp.astype(plane, dtype)
                out[i, k, :, :] = xp.astype(xp.mean(xp.astype(plane, xp.float64)), dtype)
            out[i, k, to_y, to_x] = plane
    return out


def _cut_mask(
    _: Any,
    codes: Any,
    offsets: Any,
    heights: Any,
    widths: Any,
    *,
    chosen: tuple[int, ...],
    shape: tuple[int, int],
) -> Any:
    xp = namespace(codes)
    out = xp.zeros((offsets.shape[0], len(chosen), *shape), dtype=xp.bool, **beside(codes))
    for i in range(offsets.shape[0]):
        start, height, width = (int(column[i]) for column in (offsets, heights, widths))
        (ys, to_y), (xs, to_x) = _margins(height, shape[0]), _margins(width, shape[1])
        plane = xp.reshape(codes[start : start + height * width], (height, width))[ys, xs]
        for k, channel in enumerate(chosen):
            out[i, k, to_y, to_x] = (plane & (1 << channel)) != 0
    return out
