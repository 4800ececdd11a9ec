"""Where the frames and voxels of a movie stand: numbers of frames, origin and steps of voxels.

It knows coordinates of a movie, also of one that was cut or thinned; it knows no pixels.
"""

from typing import NamedTuple

import numpy as np
import xarray as xr

from dpipe import schema
from dpipe.errors import SchemaError

_UNEVEN = 1e-3


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
    found = times / step if step > 0 else np.full(count, np.nan)
    whole = np.rint(found)
    if not np.all(np.abs(found - whole) <= 0.1):
        raise SchemaError(
            f"frames start at {times[0]:g} s and are not evenly {step:g} s apart, so their "
            "numbers are not known; give first_frame"
        )
    return whole.astype(np.int64)


def grid(frames: xr.DataArray) -> Grid:
    """Return where the voxels of a movie stand.

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
