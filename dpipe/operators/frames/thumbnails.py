"""Thumbnails: one small grey picture a channel, for people who look.

It knows how to shrink and stretch a picture. It does not know of colours, files or web pages.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from dpipe import schema
from dpipe.compute import beside, map_chunks, namespace
from dpipe.errors import UsageError
from dpipe.operators.parameters import check_whole


def thumbnails(
    ds: xr.Dataset,
    *,
    image: str = "image",
    size: int = 256,
    frame: int | None = None,
    percentiles: Sequence[float] = (1.0, 99.8),
) -> xr.Dataset:
    """Draw the maximum projection of one frame, small and stretched to 8 bits per channel.

    A pixel of the thumbnail is the mean over the area that it covers; a picture that is small
    enough already keeps its size. The grey values at the two percentiles (of rank
    floor((n - 1) p / 100)) become 0 and 255; a picture of one grey value becomes black.

    Parameters
    ----------
    ds : xarray.Dataset
        A movie.
    image : str
        Name of the variable with dims (t, c, z, y, x).
    size : int
        Largest width and height in pixels.
    frame : int, optional
        Which frame, from 0, or from -1 backwards; by default the middle one.
    percentiles : sequence of 2 floats
        What becomes black and what becomes white.

    Returns
    -------
    xarray.Dataset
        Lazy ``thumbnail`` over (c, y, x); coordinates are the centres of its pixels in
        micrometres, ``attrs["frame"]`` says which frame it shows.

    Raises
    ------
    SchemaError
        The variable is missing or is no movie.
    UsageError
        A parameter that cannot work.

    Examples
    --------
    >>> movie = schema.movie(np.zeros((3, 2, 4, 300, 600), "u1"), spacing=(1, 0.5, 0.5))
    >>> picture = thumbnails(movie, size=100)["thumbnail"]
    >>> picture.shape, picture["x"].attrs["spacing"], picture["x"].values[0].item()
    ((2, 50, 100), 3.0, 1.25)
    """
    frames = schema.IMAGE.check(ds, image)
    check_whole("size", size, 1, "a whole number of pixels above 0")
    low, high = _percentiles(percentiles)
    count = frames.sizes["t"]
    chosen = count // 2 if frame is None else frame
    if not isinstance(chosen, int) or not -count <= chosen < count:
        raise UsageError(f"frame: found {frame!r}; the movie has the frames 0 to {count - 1}")
    shape = {dim: frames.sizes[dim] for dim in ("y", "x")}
    shrink = max(1.0, max(shape.values()) / size)
    small = {dim: max(1, round(n / shrink)) for dim, n in shape.items()}
    picture = map_chunks(
        _thumbnail,
        frames.isel(t=chosen, drop=True).drop_vars(["y", "x"], errors="ignore"),
        sizes=small,
        dtype="u1",
        shape=tuple(small.values()),
        low=low,
        high=high,
    )
    placed = picture.assign_coords({dim: _centres(frames, dim, n) for dim, n in small.items()})
    return xr.Dataset(schema.THUMBNAIL.wrap(placed, frame=int(chosen % count)))


def _percentiles(percentiles: Sequence[float]) -> tuple[float, float]:
    try:
        low, high = (float(value) for value in percentiles)
    except (TypeError, ValueError):
        low, high = math.nan, math.nan
    if not 0 <= low < high <= 100:
        raise UsageError(
            f"percentiles: found {percentiles!r}; expected two numbers, 0 to 100, rising"
        )
    return low, high


def _centres(frames: xr.DataArray, dim: str, count: int) -> xr.Variable:
    """Place the pixels of an axis that was shrunk to `count`: its borders stay where they were."""
    step = schema.spacing(frames, dim)
    first = float(frames[dim].values[0]) if dim in frames.coords else 0.0
    ratio = frames.sizes[dim] / count
    values = first + ((np.arange(count) + 0.5) * ratio - 0.5) * step
    attrs = {"units": "micrometer", "spacing": step * ratio}
    return xr.Variable((dim,), values, attrs)


def _thumbnail(volume: Any, *, shape: tuple[int, int], low: float, high: float) -> Any:
    """Project, shrink and stretch one volume (z, y, x)."""
    xp = namespace(volume)
    picture = xp.astype(xp.max(volume, axis=0), xp.float64)
    picture = xp.where(xp.isfinite(picture), picture, 0.0)
    if shape != picture.shape:
        rows, columns = (_areas(xp, picture, axis, n) for axis, n in enumerate(shape))
        picture = rows @ picture @ columns.T
    ranked = xp.sort(xp.reshape(picture, (-1,)))
    last = ranked.shape[0] - 1
    black, white = ranked[int(last * low / 100)], ranked[int(last * high / 100)]
    spread = xp.where(white > black, white - black, math.inf)
    level = xp.clip((picture - black) / spread, 0.0, 1.0)
    return xp.astype(xp.floor(255 * level + 0.5), xp.uint8)


def _areas(xp: Any, picture: Any, axis: int, count: int) -> Any:
    """Return the weights (count, n) of the pixels of an axis in the mean of each new pixel."""
    n = picture.shape[axis]
    old = xp.arange(n, dtype=xp.float64, **beside(picture))[None, :]
    new = xp.arange(count, dtype=xp.float64, **beside(picture))[:, None] * (n / count)
    end = xp.minimum(old + 1, new + n / count)
    return xp.clip(end - xp.maximum(old, new), 0.0, None) * (count / n)
