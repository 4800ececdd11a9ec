"""Where the frames and voxels of a movie stand: numbers of frames, origin and steps of voxels.

It knows coordinates of a movie, also of one that was cut or thinned; it knows no pixels.
"""

from typing import NamedTuple

import numpy as np
import xarray as xr

from dpipe import schema
from dpipe.compute import compute
from dpipe.errors import SchemaError

_UNEVEN = 1e-3
_ALIKE = 1e-3
"""Seconds by which the spots of one frame may differ: tables round."""


class Grid(NamedTuple):
    """Centre of the first voxel and steps, micrometres along z, y, x."""

    origin: tuple[float, ...]
    spacing: tuple[float, ...]


def frame_numbers(frames: xr.DataArray, first: int | None) -> np.ndarray:
    """Return the number of each frame in the whole movie, which tables go by.

    Parameters
    ----------
    frames : xarray.DataArray
        A movie, or what was cut from one along t.
    first : int, optional
        Number of its first frame; its frames follow each other. By default a movie that starts
        at 0 s holds all frames; of another, frames are found again by their times.

    Returns
    -------
    numpy.ndarray
        One number a frame.

    Raises
    ------
    SchemaError
        The times are not even, so that the numbers cannot be told.
    """
    count = frames.sizes["t"]
    if first is not None or "t" not in frames.coords or not count:
        return (first or 0) + np.arange(count)
    times, step = np.asarray(frames["t"].values, float), schema.spacing(frames, "t")
    apart = float(np.median(np.diff(times))) if count > 1 else step
    if times[0] == 0 and abs(apart - step) <= _UNEVEN * step:
        return np.arange(count)
    exact = times / step if step > 0 else np.full(count, np.nan)
    whole = np.rint(exact)
    if not np.all(np.abs(exact - whole) <= 0.1):
        raise SchemaError(
            f"frames start at {times[0]:g} s and are not evenly {step:g} s apart, so their "
            "numbers are not known; give first_frame"
        )
    return whole.astype(np.int64)


def grid(frames: xr.DataArray) -> Grid:
    """Return the grid of a movie: origin and spacing of its voxels.

    Raises
    ------
    SchemaError
        They are not evenly spaced.
    """
    origin, steps = [], []
    for dim in schema.SPACE_DIMS:
        places, step = np.asarray(frames[dim].values, float), schema.spacing(frames, dim)
        if len(places) > 1:
            apart = np.diff(places)
            if abs(apart[0] - step) > _UNEVEN * abs(step):  # thinned
                step = float(apart[0])
            if not np.all(np.abs(apart - step) <= _UNEVEN * abs(step)):
                raise SchemaError(f"voxels are not evenly spaced along {dim}; expected one step")
        if not step > 0:
            raise SchemaError(f"voxels are {step:g} micrometre apart along {dim}; expected above 0")
        origin.append(float(places[0]) if len(places) else 0.0)
        steps.append(step)
    return Grid(tuple(origin), tuple(steps))


def frame_times(ds: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of frames, rising, and when each was, in seconds.

    Parameters
    ----------
    ds : xarray.Dataset
        A movie, or whatever has its times ``t``; else a table of spots with ``frame`` and
        ``spot_t``, of which those with a time count.

    Raises
    ------
    SchemaError
        There are no times, they are not finite or do not rise, or spots of one frame differ.

    Examples
    --------
    >>> frame_times(xr.Dataset(coords={"t": [0.0, 30.0, 61.5]}))[1].tolist()
    [0.0, 30.0, 61.5]
    """
    if "t" in ds.coords and ds["t"].dims == ("t",):
        seconds = np.asarray(ds["t"].values, float)
        numbers = frame_numbers(ds["t"], None)
    elif schema.SPOT_T.name in ds and schema.FRAME.name in ds.coords:
        (values,) = compute(schema.SPOT_T.check(ds).data)
        times, frame = np.asarray(values, float), np.asarray(schema.FRAME.check(ds).values)
        times, frame = times[np.isfinite(times)], frame[np.isfinite(times)]
        numbers, first, which = np.unique(frame, return_index=True, return_inverse=True)
        seconds = times[first]
        off = np.abs(times - seconds[which])
        if off.size and off.max() > _ALIKE:
            raise SchemaError(
                f"spots of frame {int(frame[off.argmax()])} are {off.max():.3g} s apart; expected "
                "one time a frame"
            )
    else:
        present = ", ".join(map(str, ds.variables)) or "none"
        raise SchemaError(
            f"no times: neither t(t) of a movie nor spot_t(spot) with frame(spot). Found: {present}"
        )
    order = np.argsort(numbers, kind="stable")
    numbers, seconds = numbers[order], seconds[order]
    if not np.isfinite(seconds).all() or not (np.diff(seconds) > 0).all():
        raise SchemaError("times of frames are not finite or do not rise; expected seconds")
    return numbers, seconds


def uneven(seconds: np.ndarray) -> str:
    """Return a note on the steps between frames, if they differ by more than a hundredth; else "".

    Examples
    --------
    >>> uneven(np.array([0.0, 30, 60])), uneven(np.array([0.0, 30, 75]))
    ('', '30 to 45 s apart')
    """
    steps = np.diff(seconds)
    if steps.size < 2 or steps.max() - steps.min() <= 0.01 * np.median(steps):
        return ""
    return f"{steps.min():.4g} to {steps.max():.4g} s apart"
