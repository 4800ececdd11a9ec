"""Pictures brought to 8 bits, each by its own percentiles, as the published nuclei were.

It knows the rule of the Aitslab nuclei study. It does not know what the pictures show.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from dpipe import schema
from dpipe.compute import beside, map_blocks, namespace
from dpipe.errors import UsageError
from dpipe.operators.parameters import check_number
from dpipe.operators.pictures.packed import channels, flags, layout, pieces, planes, slots

_DEEPEST = 65535.0
_WHITE = 255.0


def normalise(
    ds: xr.Dataset,
    *,
    percentiles: Sequence[float] = (0.1, 99.9),
    stretch: bool = False,
) -> xr.Dataset:
    """Bring each picture and channel to 8 bits between two of its percentiles.

    With the percentiles a and b (NumPy's linear rule), a pixel v becomes (v' - a) / (b - a) times
    255, rounded half to even, where v' is v clipped to a to b: so the pictures of the Aitslab
    nuclei were published [1]_.

    Parameters
    ----------
    ds : xarray.Dataset
        A packed collection, or any selection of its records.
    percentiles : two numbers
        From 0 to 100, rising.
    stretch : bool
        Whether a picture is first stretched to 0 to 65,535 and rounded. The published script asks
        for that, but of a file that its tool very likely cannot read, and hides the error.

    Returns
    -------
    xarray.Dataset
        Lazy ``pixels(block, value)``, uint8, laid out as those of `ds`, with its coordinates and
        ``picture_flag``, and ``channels_of_one_value(block, slot)``: how many channels of a
        picture have equal percentiles; those are 0 throughout.

    Raises
    ------
    SchemaError
        The Dataset is no packed collection.
    UsageError
        Percentiles that are none.

    References
    ----------
    .. [1] M. Arvidsson et al., An annotated fluorescence image dataset for training nuclear
       segmentation methods, Data in Brief 46 (2023) 108769; Aitslab, ``C01_conversion``.

    Examples
    --------
    >>> coords = {"c": ["Ch1"], "block": [0], "in_block": ("record", [0]),
    ...           "in_slot": ("record", [0]), "offset": ("record", [0]),
    ...           "height": ("record", [1]), "width": ("record", [5])}
    >>> packed = xr.Dataset({"pixels": (("block", "value"), [[100, 150, 200, 250, 300]])}, coords)
    >>> normalise(packed, percentiles=(0, 75)).pixels.values.tolist()
    [[0, 85, 170, 255, 255]]
    """
    coords = layout(ds)
    pixels = schema.PIXELS.check(ds)
    low, high = _pair(percentiles)
    if type(stretch) is not bool:
        raise UsageError(f"stretch: found {stretch!r}; expected true or false")
    total = len(channels(ds))
    count = slots(ds)
    params: schema.Attributes = {"total": total, "low": low, "high": high, "stretch": stretch}
    scaled = map_blocks(
        _normalise,
        ds,
        sizes={"value": int(pixels.sizes["value"])},
        dtype="u1",
        need=("pixels",),
        **params,
    )
    flat = map_blocks(
        _of_one_value,
        ds,
        sizes={"slot": count},
        dtype="u1",
        need=("pixels",),
        columns={"in_slot": np.asarray(ds["in_slot"].values)},
        slots=count,
        **params,
    )
    variables = schema.PIXELS.wrap(scaled) | schema.CHANNELS_OF_ONE_VALUE.wrap(flat)
    return xr.Dataset(variables | flags(ds), coords=coords)


def _pair(percentiles: Any) -> tuple[float, float]:
    if not isinstance(percentiles, list | tuple) or len(percentiles) != 2:
        raise UsageError(f"percentiles: found {percentiles!r}; expected two numbers, rising")
    for value in percentiles:
        check_number("percentiles", value, 0.0)
    low, high = map(float, percentiles)
    if not low < high <= 100:
        raise UsageError(f"percentiles: found {percentiles!r}; expected two from 0 to 100, rising")
    return low, high


def _channel(plane: Any, low: float, high: float, stretch: bool) -> tuple[Any, float, float]:
    """Return a channel as float64, and its two percentiles."""
    xp = namespace(plane)
    values = xp.astype(xp.reshape(plane, (-1,)), xp.float64)
    if stretch:
        least, largest = float(xp.min(values)), float(xp.max(values))
        if largest > least:
            values = xp.round((values - least) / (largest - least) * _DEEPEST)
    ordered = xp.sort(values)
    return values, percentile(ordered, low), percentile(ordered, high)


def percentile(ordered: Any, percent: float) -> float:
    """Return a percentile of sorted values by NumPy's linear rule, to the last bit.

    Examples
    --------
    >>> percentile(np.array([1.0, 2.0, 4.0]), 75.0)
    3.0
    """
    place = percent / 100 * (ordered.shape[0] - 1)
    below = int(place)
    part = place - below
    a, b = float(ordered[below]), float(ordered[min(below + 1, ordered.shape[0] - 1)])
    return a + (b - a) * part if part < 0.5 else b - (b - a) * (1 - part)


def _normalise(
    pixels: Any, _: Any, offsets: Any, heights: Any, widths: Any,
    *, total: int, low: float, high: float, stretch: bool,
) -> Any:  # fmt: skip
    xp = namespace(pixels)
    out = xp.zeros(pixels.shape, dtype=xp.uint8, **beside(pixels))
    for place, shape in pieces(offsets, heights, widths):
        size = shape[0] * shape[1]
        for k in range(total):
            plane = planes(pixels, place, shape, total)[k, ...]
            values, a, b = _channel(plane, low, high, stretch)
            if not b > a:
                continue
            scaled = xp.round((xp.clip(values, a, b) - a) / (b - a) * _WHITE)
            start = place.start * total + k * size
            out[start : start + size] = xp.astype(scaled, xp.uint8)
    return out


def _of_one_value(
    pixels: Any, _: Any, offsets: Any, heights: Any, widths: Any,
    *, in_slot: np.ndarray, slots: int, total: int, low: float, high: float, stretch: bool,
) -> np.ndarray:  # fmt: skip
    counts = np.zeros(slots, np.uint8)
    for slot, (place, shape) in zip(in_slot, pieces(offsets, heights, widths), strict=True):
        for plane in range(total):
            values = planes(pixels, place, shape, total)[plane, ...]
            _, a, b = _channel(values, low, high, stretch)
            counts[slot] += not b > a
    return counts
