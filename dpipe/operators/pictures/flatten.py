"""Phase-contrast pictures with an even background, as LIVECell's were prepared.

It knows LIVECell's rule: brightness set by the median, divided by a wide median of the
surroundings. The median of wide windows is scikit-image's, so blocks are brought to the host.
"""

from typing import Any

import numpy as np
import xarray as xr
from skimage.filters.rank import median

from dpipe import schema
from dpipe.compute import map_blocks, to_host
from dpipe.errors import UsageError
from dpipe.operators.parameters import check_number
from dpipe.operators.pictures.packed import channels, flags, layout, pieces, planes, slots

_GREY = 128.0
_LEAST, _LARGEST = 70, 180
_WINDOW = 75


def flatten_background(
    ds: xr.Dataset, *, scale: float = 1.0, fluorescence: bool = False, invert: bool = True
) -> xr.Dataset:
    """Make the background of each picture even, as LIVECell's pictures were prepared.

    A picture is multiplied by 128 over its median; of the result, clipped to 0 to 255 and
    truncated, the median over a wide window is the background; the picture over the background,
    times 128, is clipped to 70 to 180 and truncated [1]_.

    Parameters
    ----------
    ds : xarray.Dataset
        A packed collection of 8-bit pictures, or any selection of its records.
    scale : float
        Magnification that LIVECell's camera would need for the same size of a pixel, over 10: it
        sets the window, 75 pixels at 1. The pictures keep their size: the published code shrinks
        them by it, and so would move every annotation.
    fluorescence : bool
        Whether the pictures are fluorescence: then (255 - v) / 2 stands for v.
    invert : bool
        Of fluorescence: if not, 255 less that.

    Returns
    -------
    xarray.Dataset
        Lazy ``pixels(block, value)``, uint8, laid out as those of `ds`, with its coordinates and
        ``picture_flag``, and ``background_zeros(block, slot)``: pixels of a picture whose
        background was 0 and counts as 1.

    Raises
    ------
    SchemaError
        The Dataset is no packed collection.
    UsageError
        Pixels of another dtype, or a scale that is none.

    References
    ----------
    .. [1] C. Edlund et al., LIVECell: A large-scale dataset for label-free live cell segmentation,
       Nature Methods 18 (2021) 1038-1045, and its code, ``preprocessing``.

    Examples
    --------
    >>> coords = {"c": ["Ch1"], "block": [0], "in_block": ("record", [0]),
    ...           "in_slot": ("record", [0]), "offset": ("record", [0]),
    ...           "height": ("record", [2]), "width": ("record", [2])}
    >>> dim = np.array([[50, 50, 50, 60]], "u1")
    >>> packed = xr.Dataset({"pixels": (("block", "value"), dim)}, coords)
    >>> flatten_background(packed).pixels.values.tolist()
    [[128, 128, 128, 153]]
    """
    coords = layout(ds)
    pixels = schema.PIXELS.check(ds)
    check_number("scale", scale)
    if not 0 < scale <= 10:
        raise UsageError(f"scale: found {scale!r}; expected a number above 0, at most 10")
    for name, value in (("fluorescence", fluorescence), ("invert", invert)):
        if type(value) is not bool:
            raise UsageError(f"{name}: found {value!r}; expected true or false")
    if pixels.dtype != np.uint8:
        raise UsageError(
            f"pixels are {pixels.dtype}; expected uint8: operator normalise brings them to 8 bits"
        )
    count = slots(ds)
    params: schema.Attributes = {
        "total": len(channels(ds)), "window": window_of(scale),
        "fluorescence": fluorescence, "invert": invert,
    }  # fmt: skip
    even = map_blocks(
        _even, ds, sizes={"value": int(pixels.sizes["value"])}, dtype="u1", need=("pixels",),
        **params,
    )  # fmt: skip
    zeros = map_blocks(
        _zeros, ds, sizes={"slot": count}, dtype="u4", need=("pixels",),
        columns={"in_slot": np.asarray(ds["in_slot"].values)}, slots=count, **params,
    )  # fmt: skip
    variables = schema.PIXELS.wrap(even) | schema.BACKGROUND_ZEROS.wrap(zeros)
    return xr.Dataset(variables | flags(ds), coords=coords)


def window_of(scale: float) -> int:
    """Return the width of the window: 75 pixels times the scale, half to even, made odd.

    Examples
    --------
    >>> window_of(1), window_of(0.5), window_of(0.25)
    (75, 39, 19)
    """
    width = round(_WINDOW * scale)
    return width + 1 - width % 2


def flattened(
    plane: np.ndarray, *, window: int, fluorescence: bool = False, invert: bool = True
) -> tuple[np.ndarray, int]:
    """Return a plane (height, width) of uint8 with an even background, and its zeros."""
    values = plane.astype(np.float64)
    if fluorescence:
        values = (255 - values) / 2
        values = values if invert else 255 - values
    middle = float(np.median(values))
    values = np.clip(values * (_GREY / middle if middle else 1.0), 0, 255)
    half = window // 2
    padded = np.pad(values.astype(np.uint8), half, mode="edge")
    square = np.ones((window, window), np.uint8)
    background = median(padded, square)[half : half + plane.shape[0], half : half + plane.shape[1]]
    zeros = int((background == 0).sum())
    even = values / np.maximum(background, 1) * _GREY
    return np.clip(even, _LEAST, _LARGEST).astype(np.uint8), zeros


def _even(
    pixels: Any, _: Any, offsets: Any, heights: Any, widths: Any, *, total: int, **params: Any
) -> np.ndarray:
    pixels = to_host(pixels)
    out = np.zeros(pixels.shape, np.uint8)
    for place, shape in pieces(offsets, heights, widths):
        size = shape[0] * shape[1]
        for k, plane in enumerate(planes(pixels, place, shape, total)):
            start = place.start * total + k * size
            out[start : start + size] = flattened(plane, **params)[0].reshape(-1)
    return out


def _zeros(
    pixels: Any, _: Any, offsets: Any, heights: Any, widths: Any,
    *, in_slot: np.ndarray, slots: int, total: int, **params: Any,
) -> np.ndarray:  # fmt: skip
    pixels = to_host(pixels)
    counts = np.zeros(slots, np.uint32)
    for slot, (place, shape) in zip(in_slot, pieces(offsets, heights, widths), strict=True):
        for plane in planes(pixels, place, shape, total):
            counts[slot] += flattened(plane, **params)[1]
    return counts
