"""Pixels of each channel brought from one range to another.

It knows scikit-image's rule, which scifAI takes for its intensity correction. It does not know
which ranges are right.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from dpipe import schema
from dpipe.compute import beside, map_blocks, namespace
from dpipe.errors import UsageError, unknown
from dpipe.operators.pictures.packed import (
    cast,
    channels,
    flags,
    layout,
    pieces,
    pixel_dtype,
    planes,
)

Range = str | Sequence[float]


def rescale_intensity(
    ds: xr.Dataset,
    *,
    in_range: Range | Mapping[str, Range] = "image",
    out_range: Sequence[float] | Mapping[str, Sequence[float]] = (0.0, 1.0),
    dtype: str = "float32",
) -> xr.Dataset:
    """Stretch the pixels of each channel from a range to another.

    With the ranges a to b and A to B, a pixel v becomes (v' - a) / (b - a) (B - A) + A, where v'
    is v clipped to a to b; if a = b, it is v' clipped to A to B. So does scikit-image's
    ``rescale_intensity`` [1]_.

    Parameters
    ----------
    ds : xarray.Dataset
        A packed collection, or any selection of its records.
    in_range : {"image", "dtype"}, two numbers, or mapping
        The range of the pixels, for all channels or by channel: least and largest value of each
        picture, of the dtype (-1 to 1 for floats, as scikit-image has it), or two numbers. In a
        mapping each channel is named.
    out_range : two numbers, or mapping
        The range they come to.
    dtype : str
        Of the result; whole numbers are rounded half to even and clipped to what it holds, and NaN
        is 0 among them.

    Returns
    -------
    xarray.Dataset
        Lazy ``pixels(block, value)`` laid out as those of `ds`, with its coordinates and
        ``picture_flag``; pictures that are not in the selection are 0.

    Raises
    ------
    SchemaError
        The Dataset is no packed collection.
    UsageError
        A channel that is unknown or has no range, a range that is none, or a dtype that is none.

    References
    ----------
    .. [1] scikit-image, ``exposure.rescale_intensity``; scifAI, ``IntensityCorrection``.

    Examples
    --------
    >>> coords = {"c": ["Ch1"], "block": [0], "in_block": ("record", [0]),
    ...           "in_slot": ("record", [0]), "offset": ("record", [0]),
    ...           "height": ("record", [1]), "width": ("record", [4])}
    >>> packed = xr.Dataset({"pixels": (("block", "value"), [[0, 50, 100, 300]])}, coords)
    >>> rescale_intensity(packed, in_range=(0, 200)).pixels.values.tolist()
    [[0.0, 0.25, 0.5, 1.0]]
    """
    coords = layout(ds)
    pixels = schema.PIXELS.check(ds)
    names = channels(ds)
    kind = pixel_dtype(dtype)
    whole = (-1.0, 1.0)
    if pixels.dtype.kind in "ui":
        whole = (float(np.iinfo(pixels.dtype).min), float(np.iinfo(pixels.dtype).max))
    low = tuple(
        whole if entry == "dtype" else None if entry == "image" else _pair("in_range", entry)
        for entry in _each("in_range", in_range, names)
    )
    high = tuple(_pair("out_range", entry) for entry in _each("out_range", out_range, names))
    stretched = map_blocks(
        _rescale,
        ds,
        sizes={"value": int(pixels.sizes["value"])},
        dtype=kind,
        need=("pixels",),
        ranges=tuple(zip(low, high, strict=True)),
        kind=kind.name,
    )
    return xr.Dataset(schema.PIXELS.wrap(stretched) | flags(ds), coords=coords)


def _each(what: str, choice: Any, names: Sequence[str]) -> list[Any]:
    """Return a parameter channel by channel; it is given for all, or by name."""
    if not isinstance(choice, Mapping):
        return [choice] * len(names)
    for name in choice:
        if name not in names:
            raise UsageError(f"{what}: {unknown('channel', name, names)}")
    if missing := [name for name in names if name not in choice]:
        raise UsageError(f"{what}: nothing for {', '.join(missing)}; give a range for each channel")
    return [choice[name] for name in names]


def _pair(what: str, pair: Any) -> tuple[float, float]:
    numbers = isinstance(pair, list | tuple) and all(
        isinstance(n, int | float) and not isinstance(n, bool) and math.isfinite(n) for n in pair
    )
    if not numbers or len(pair) != 2 or pair[0] > pair[1]:
        also = " or 'image' or 'dtype'" if what == "in_range" else ""
        raise UsageError(f"{what}: found {pair!r}; expected two numbers, the smaller first{also}")
    return float(pair[0]), float(pair[1])


def _rescale(
    pixels: Any,
    _: Any,
    offsets: Any,
    heights: Any,
    widths: Any,
    *,
    ranges: Sequence[tuple[tuple[float, float] | None, tuple[float, float]]],
    kind: str,
) -> Any:
    xp = namespace(pixels)
    total = len(ranges)
    out = xp.zeros(pixels.shape, dtype=getattr(xp, kind), **beside(pixels))
    for place, shape in pieces(offsets, heights, widths):
        size = shape[0] * shape[1]
        for k, (in_range, (least, largest)) in enumerate(ranges):
            values = xp.astype(planes(pixels, place, shape, total)[k, ...], xp.float64)
            low, high = in_range or (float(xp.min(values)), float(xp.max(values)))
            values = xp.clip(values, low, high)
            if low == high:
                values = xp.clip(values, least, largest)
            else:
                values = (values - low) / (high - low) * (largest - least) + least
            start = place.start * total + k * size
            out[start : start + size] = cast(xp.reshape(values, (-1,)), kind)
    return out
