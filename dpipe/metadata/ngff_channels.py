"""Channels of OME-Zarr: names, colours and windows, in the block ``omero``."""

import itertools
import re
from collections.abc import Mapping
from typing import Any, TypedDict

import numpy as np
import xarray as xr

from dpipe.metadata.ngff_reading import omero_of

PALETTE = ("00FF00", "FF00FF", "00FFFF", "FFFF00", "FF0000", "0000FF", "FFFFFF")
"""Display colours of channels that have none, if there are several; a single one is white."""
_MOST = 1e300
_COLOR = re.compile(r"(?:#|0x)?([0-9A-Fa-f]{6})(?:[0-9A-Fa-f]{2})?")


class _Window(TypedDict):
    """Grey values between which a channel is shown, and the least and largest of its dtype."""

    min: float
    max: float
    start: float
    end: float


class _Channel(TypedDict):
    """A channel as OMERO shows it."""

    label: str
    color: str
    active: bool
    window: _Window


class _Rendering(TypedDict):
    """The frame and the plane that are shown first, in colours."""

    defaultT: int
    defaultZ: int
    model: str


class Omero(TypedDict):
    """The block ``omero`` of an image."""

    channels: list[_Channel]
    rdefs: _Rendering


def channels(
    attributes: Mapping[str, Any],
) -> tuple[list[str] | None, list[str] | None, list[list[float]] | None]:
    """Read names, colours and display windows of the channels.

    Returns
    -------
    labels, colors, windows : list or None
        One entry a channel, None if the file says nothing; a window is a pair (start, end).
    """
    omero = omero_of(attributes)
    listed = omero.get("channels") if isinstance(omero, Mapping) else None
    if not isinstance(listed, list) or not all(isinstance(c, Mapping) for c in listed):
        return None, None, None
    labels = ["" if c.get("label") is None else str(c["label"]) for c in listed]
    matches = [_COLOR.fullmatch(str(c.get("color"))) for c in listed]
    colors = [match[1] if match else "FFFFFF" for match in matches]
    windows = [_window(c.get("window")) for c in listed]
    windows = windows if all(windows) else []
    return labels if any(labels) else None, colors if any(matches) else None, windows or None


def channel_notes(attributes: Mapping[str, Any], count: int) -> list[str]:
    """Name the descriptions of channels that cannot be read.

    Parameters
    ----------
    attributes : mapping
        Of the group of an image.
    count : int
        How many channels the image has; for another number nobody knows which is which.
    """
    omero = omero_of(attributes)
    if omero is None:
        return []
    listed = omero.get("channels") if isinstance(omero, Mapping) else omero
    if listed is None:
        return []
    if not isinstance(listed, list) or not all(isinstance(c, Mapping) for c in listed):
        return ["channel names are left out: what omero says of channels is no list of objects"]
    if len(listed) != count:
        return [f"channel names are left out: omero describes {len(listed)} of {count} channels"]
    colors = {i: c["color"] for i, c in enumerate(listed) if c.get("color") not in (None, "")}
    odd = [f"{c!r:.20} of {i}" for i, c in colors.items() if not _COLOR.fullmatch(str(c))]
    line = f"colours of channels are white where they are not RRGGBB: {', '.join(odd[:8])}"
    return [line] if odd else []


def omero(ds: xr.Dataset, array: xr.DataArray) -> Omero:
    """Return the block ``omero`` of an image with channels."""
    count, info = array.sizes["c"], np.iinfo(array.dtype) if array.dtype.kind in "ui" else None
    labels = [str(name) for name in ds["c"].values] if "c" in ds.coords else map(str, range(count))
    if "channel_color" in ds.coords:
        colors = [str(color) for color in ds["channel_color"].values]
    else:
        colors = [PALETTE[i % len(PALETTE)] if count > 1 else "FFFFFF" for i in range(count)]
    low, high = (float(info.min), float(info.max)) if info else (0.0, 1.0)
    windows = ds["c"].attrs.get("windows", ()) if "c" in ds.coords else ()
    listed = list[_Channel]()
    for label, color, window in itertools.zip_longest(labels, colors, windows[:count]):
        start, end = _window(window) or (low, high)
        shown: _Window = {"min": min(low, start), "max": max(high, end), "start": start, "end": end}
        listed.append({"label": label, "color": color, "active": True, "window": shown})
    rdefs: _Rendering = {"defaultT": 0, "defaultZ": array.sizes.get("z", 1) // 2, "model": "color"}
    return {"channels": listed, "rdefs": rdefs}


def _window(window: Any) -> list[float]:
    named = isinstance(window, Mapping)
    pair: Any = [window.get("start"), window.get("end")] if named else window
    fine = isinstance(pair, list | tuple) and [isinstance(v, int | float) for v in pair] == [1, 1]
    fine = fine and all(-_MOST < v < _MOST for v in pair)  # some whole numbers are no floats
    return list(map(float, pair)) if fine else []
