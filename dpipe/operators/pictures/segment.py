"""Masks of cells from their pictures, one a channel, as scifAI makes them.

It knows scifAI's rule: edges of brightfield, brightness of fluorescence, both cut by Otsu. It
knows neither where pictures come from nor what is measured in the masks.

Thresholds and labels are scikit-image's and SciPy's, so blocks are brought to the host.
"""

from typing import Any, Literal

import numpy as np
import scipy.ndimage
import xarray as xr
from skimage.filters import sobel, threshold_otsu

from dpipe import schema
from dpipe.compute import map_blocks, to_host
from dpipe.operators.parameters import check_choice, check_whole
from dpipe.operators.pictures.dilation import closed
from dpipe.operators.pictures.packed import (
    channels,
    chosen,
    code_dtype,
    layout,
    pieces,
    places,
    planes,
)
from dpipe.operators.pictures.packed import flags as flags_of

_BINS = 256


def segment_cells(
    ds: xr.Dataset,
    *,
    which: Literal["missing", "all"] = "missing",
    brightfield: str | list[str] | None = None,
    min_size: int = 100,
    closing: int = 5,
) -> xr.Dataset:
    """Make the masks of pictures that have none.

    A brightfield channel is replaced by its edges (Sobel), any other is taken as it is, as
    float64; what exceeds its Otsu threshold [1]_ (256 bins from least to largest value) is kept,
    objects of fewer than `min_size` pixels are removed, the rest is closed with a disk and its
    holes are filled. Neighbours are the four beside a pixel. So does scifAI [2]_.

    Parameters
    ----------
    ds : xarray.Dataset
        A packed collection, or any selection of its records.
    which : {"missing", "all"}
        Which pictures get new masks; the others keep what they have.
    brightfield : str or list of str, optional
        Channels without fluorescence; by default the first.
    min_size : int
        Smallest object in pixels.
    closing : int
        Radius of the disk in pixels.

    Returns
    -------
    xarray.Dataset
        Lazy ``mask_code(block, place)`` laid out as that of `ds`, ``mask_value(block, slot)``, 1
        for new masks, ``mask_pixels(block, value)``, masks of several values that are kept, and
        ``picture_flag`` without the bits that spoke of the old ones, with the coordinates of `ds`,
        where ``mask_dtype`` is now that of the new masks too. Put it before the pictures when they
        are merged: ``dpipe.open(store, "masks", "cells")``.

    Raises
    ------
    SchemaError
        The Dataset is no packed collection.
    UsageError
        An unknown channel, or a size that is none.

    Notes
    -----
    A channel of one value, or with one that is not finite, has an empty mask. Pictures that were
    put aside have none. The masks of a selection are 0 for pictures that are not in it. What the
    closing dilates onto the border of a picture stays there, so a cell nearer to it than the disk
    is wide touches it.

    References
    ----------
    .. [1] N. Otsu, IEEE Trans. SMC 9 (1979) 62-66, as scikit-image computes it.
    .. [2] scifAI, module ``scifAI.ml.segmentation`` (MIT), which gives it floats.

    Examples
    --------
    >>> dots = np.zeros((1, 900), "u2")
    >>> dots[0, [i for i in range(900) if 8 < i // 30 < 21 and 8 < i % 30 < 21]] = 900
    >>> coords = {"c": ["Ch1"], "block": [0], "in_block": ("record", [0]),
    ...           "in_slot": ("record", [0]), "offset": ("record", [0]),
    ...           "height": ("record", [30]), "width": ("record", [30])}
    >>> packed = xr.Dataset({"pixels": (("block", "value"), dots)}, coords)
    >>> int(segment_cells(packed, brightfield=[]).mask_code.sum())  # 12 by 12
    144
    """
    coords = layout(ds)
    pixels = schema.PIXELS.check(ds)
    names = channels(ds)
    check_choice("which", which, ("missing", "all"))
    edges = chosen("brightfield", names[:1] if brightfield is None else brightfield, names)
    for name, value in (("min_size", min_size), ("closing", closing)):
        check_whole(name, value, 0, "a number of pixels")
    old, new = _whose(ds, which)
    dtype = code_dtype(len(names))
    if "mask_code" in ds:
        dtype = np.result_type(dtype, ds["mask_code"].dtype)
    code = map_blocks(
        _segment,
        ds,
        sizes={"place": places(ds)},
        dtype=dtype,
        columns={"is_new": new},
        total=len(names),
        edges=tuple(names.index(name) for name in edges),
        min_size=min_size,
        closing=closing,
        dtype_name=dtype.name,
    )
    result = schema.MASK_CODE.wrap(code) | _said(ds, new, str(pixels.dims[0]))
    if "mask_pixels" in ds and which == "missing":  # new masks are of pictures that have none there
        result |= schema.MASK_PIXELS.wrap(schema.MASK_PIXELS.check(ds))
    kinds = np.where(new, "uint8" if "mask_value" not in ds else ds["mask_value"].dtype.name, old)
    coords |= schema.MASK_DTYPE.wrap(xr.DataArray(kinds.astype(str), dims="record"))
    return xr.Dataset(result, coords=coords)


def _whose(ds: xr.Dataset, which: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the dtype of each picture's mask, and which pictures get a new one."""
    sound = np.asarray(ds["height"].values) > 0
    none = np.full(len(sound), "", dtype="U8")
    if "mask_code" not in ds:
        return none, sound
    if "mask_dtype" not in ds.coords:  # nobody says that some are missing
        return none, sound & (which == "all")
    old = np.asarray(ds["mask_dtype"].values)
    return old, sound & ((old == "") | (which == "all"))


def _said(ds: xr.Dataset, new: np.ndarray, dim: str) -> dict[str, xr.DataArray]:
    """Return value and flags of the masks, with those of new ones."""
    if "mask_value" not in ds and "picture_flag" not in ds:
        return {}
    slots = int(ds.sizes["slot"])
    is_new = np.zeros((ds.sizes[dim], slots), bool)
    rows = ds["block"].to_index().get_indexer(ds["in_block"].values[new])
    is_new[rows, ds["in_slot"].values[new]] = True
    fresh = xr.DataArray(is_new, dims=(dim, "slot"))
    result: dict[str, xr.DataArray] = {}
    if "mask_value" in ds:
        value = schema.MASK_VALUE.check(ds)
        result |= schema.MASK_VALUE.wrap(
            xr.where(fresh, np.ones((), value.dtype), value).astype(value.dtype)
        )
    else:
        result |= schema.MASK_VALUE.wrap(fresh.astype(np.uint8))
    if "picture_flag" in ds:
        (old,) = flags_of(ds).values()
        others = old & np.asarray(~np.uint8(schema.SEVERAL_VALUES)).astype(old.dtype)
        result[schema.PICTURE_FLAG.name] = xr.where(fresh, others, old).assign_attrs(old.attrs)
    return result


def _segment(
    pixels: Any,
    codes: Any,
    offsets: Any,
    heights: Any,
    widths: Any,
    *,
    is_new: np.ndarray,
    total: int,
    edges: tuple[int, ...],
    min_size: int,
    closing: int,
    dtype_name: str,
) -> np.ndarray:
    pixels = to_host(pixels)
    out = np.zeros(pixels.size // total, dtype_name)
    old = out if codes is None else to_host(codes)
    for i, (place, shape) in enumerate(pieces(offsets, heights, widths)):
        if not is_new[i]:
            out[place] = old[place]
            continue
        for k, plane in enumerate(planes(pixels, place, shape, total)):
            mask = mask_of(plane, edges=k in edges, min_size=min_size, closing=closing)
            out[place] |= mask.reshape(-1).astype(out.dtype) << out.dtype.type(k)
    return out


def mask_of(plane: np.ndarray, *, edges: bool, min_size: int, closing: int) -> np.ndarray:
    """Return the mask of one channel (height, width); `edges` for brightfield."""
    values = plane.astype(np.float64)
    with np.errstate(over="ignore"):
        if edges and not _flat(values):
            values = sobel(values)
        if _flat(values):
            return np.zeros(values.shape, bool)
        mask = values > threshold_otsu(values, nbins=_BINS)
    labels, _ = scipy.ndimage.label(mask)
    large = np.bincount(labels.reshape(-1)) >= min_size
    large[0] = False
    return _filled(closed(large[labels], closing))


def _flat(values: np.ndarray) -> bool:
    """Tell whether a plane has no two values but for rounding, or one that is not finite."""
    low, high = float(values.min()), float(values.max())
    return not np.spacing(max(abs(low), abs(high))) < (high - low) / _BINS < np.inf


def _filled(mask: np.ndarray) -> np.ndarray:
    """Fill holes: background that does not reach the border."""
    labels, count = scipy.ndimage.label(~mask)
    outside = np.zeros(count + 1, bool)
    for line in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        outside[line] = True
    return mask | ~outside[labels]
