"""Spots held against their movie: which lie outside it, and whether they are in another unit.

It knows the borders and times of a movie and what a track should look like. It changes no spot.
"""

import math
from typing import Any

import numpy as np
import xarray as xr

from dpipe import schema
from dpipe.compute import compute
from dpipe.errors import UsageError
from dpipe.operators.tracks import units

_FLAGS = {name: 1 << bit for bit, name in enumerate(schema.SPOT_FLAGS)}
_PLACE = (schema.SPOT_T, schema.SPOT_Z, schema.SPOT_Y, schema.SPOT_X)
_FEW_STEPS = 5


def track_checks(
    ds: xr.Dataset,
    tracks: xr.Dataset,
    *,
    image: str = "image",
    jump: float = 10.0,
    share: float = 0.95,
) -> xr.Dataset:
    """Hold the spots of a table against their movie, and say what does not fit.

    Nothing is corrected. Where nearly all places, frames or times would fit in another unit
    (pixels, micrometres without the movie's origin, frames from 1, ...), ``attrs["verdict"]``
    says which, and what to do; it is empty if there is no such doubt.

    Parameters
    ----------
    ds : xarray.Dataset
        A whole movie; only its size and coordinates are used.
    tracks : xarray.Dataset
        Spots of that movie, with the coordinates ``track`` and ``frame``, and ``annotator`` where
        there are several: each has tracks of their own.
    image : str
        Name of the movie's variable with dims (t, c, z, y, x).
    jump : float
        How many times the median step of the table, by frame, is far.
    share : float
        The part of all spots that is nearly all.

    Returns
    -------
    xarray.Dataset
        ``spot_flag`` over ``spot``, a sum of bits: 1 outside the image (beyond the border of its
        outermost voxels), 2 before its first frame, 4 beyond its last, 8 a time more than half an
        interval from that of its frame (a spot without a time has none), 16 a place that is not
        finite, 32 one of several spots of its track in its frame (a branch, or two tracks of one
        number), 64 a far jump from the spot before; tracks with several spots in a frame, and
        tables with fewer than five steps, are not judged by jumps. ``attrs``: ``spots`` =
        ``spots_good`` + ``spots_flagged``, ``flag_counts`` by meaning (a spot may have several),
        ``verdict`` and ``notes``, lists of lines. It is computed at once.

    Raises
    ------
    SchemaError
        `ds` is no movie, or `tracks` no table of spots.
    UsageError
        A parameter that cannot work.

    Examples
    --------
    >>> movie = schema.movie(np.zeros((2, 1, 1, 8, 8), "u1"), spacing=(1, 0.5, 0.5), interval=30)
    >>> held = {"spot_t": [0.0, 30], "spot_z": [0.0, 0], "spot_y": [7.0, 6], "spot_x": [7.0, 7]}
    >>> spots = xr.Dataset({name: ("spot", values) for name, values in held.items()})
    >>> spots = spots.assign_coords(track=("spot", [1, 1]), frame=("spot", [0, 1]))
    >>> found = track_checks(movie, spots)
    >>> found["spot_flag"].values.tolist(), found.attrs["spots_flagged"]
    ([1, 1], 2)
    >>> found.attrs["verdict"][0].partition("; ")[2]
    'they would fit as pixels: read the tracks with unit=pixel, spacing=[1,0.5,0.5], origin=[0,0,0]'
    """
    for what, value, limit in (("jump", jump, math.inf), ("share", share, 1.0)):
        if isinstance(value, bool) or not 0 < value <= limit or not math.isfinite(value):
            raise UsageError(f"{what}: found {value!r}; expected above 0, at most {limit:g}")
    movie = _frame(ds, schema.IMAGE.check(ds, image))
    track, frame = (v.check(tracks).values.astype(np.int64) for v in (schema.TRACK, schema.FRAME))
    columns = compute(*(v.check(tracks).data for v in _PLACE))
    seconds, *axes = (np.asarray(column, dtype=np.float64) for column in columns)
    zyx = np.stack(axes, axis=1)
    owner = _owners(tracks, track)
    finite = np.isfinite(zyx).all(axis=1)
    twice = _several(owner, frame)
    marks = {
        "outside_image": finite & ~movie.inside(zyx),
        "before_first_frame": frame < 0,
        "beyond_last_frame": frame >= len(movie.times),
        "time_mismatch": movie.off_time(seconds, frame),
        "not_finite": ~finite,
        "duplicate": twice,
        "far_jump": _jumps(zyx, owner, frame, np.isin(owner, owner[twice]), jump),
    }
    flags = sum((marked.astype(np.uint32) * _FLAGS[name] for name, marked in marks.items()))
    base = tracks.attrs.get("frame_base")
    lines = (
        units.places(zyx, movie, share),
        units.frames(frame, movie, None if base is None else int(base)),
        units.times(seconds, frame, movie, share),
    )
    flagged = int(np.count_nonzero(flags))
    attrs: dict[str, Any] = {
        "spots": len(frame),
        "spots_good": len(frame) - flagged,
        "spots_flagged": flagged,
        "flag_counts": {name: int(np.count_nonzero(marked)) for name, marked in marks.items()},
        "verdict": [line for line in lines if line],
    }
    if notes := schema.flag_note("spots", np.asarray(flags), schema.SPOT_FLAGS):
        attrs["notes"] = notes
    bits = {"flag_masks": list(_FLAGS.values()), "flag_meanings": " ".join(_FLAGS)}
    coords = {str(k): v for k, v in tracks.coords.items() if v.dims == ("spot",)}
    column = xr.DataArray(np.asarray(flags, dtype=np.uint32), dims="spot", coords=coords)
    return xr.Dataset(schema.SPOT_FLAG.wrap(column, **bits), attrs=attrs)


def _frame(ds: xr.Dataset, frames: xr.DataArray) -> units.Frame:
    """Return origin, voxels and times of a movie."""
    count = np.array([frames.sizes[dim] for dim in schema.SPACE_DIMS])
    step = np.array([schema.spacing(ds, dim) for dim in schema.SPACE_DIMS])
    placed = [dim in ds.coords and ds.sizes[dim] > 0 for dim in schema.SPACE_DIMS]
    origin = np.array(
        [
            float(ds[d].values[0]) if k else 0.0
            for d, k in zip(schema.SPACE_DIMS, placed, strict=True)
        ]
    )
    interval = schema.spacing(ds, "t")
    times = ds["t"].values if "t" in ds.coords else np.arange(frames.sizes["t"]) * interval
    return units.Frame(origin, step, count, np.asarray(times, float), interval)


def _owners(tracks: xr.Dataset, track: np.ndarray) -> np.ndarray:
    """Return a number for each annotator's track; -1 for spots without track."""
    people = np.zeros(track.size, dtype=np.int64)
    if "annotator" in tracks.coords:
        names = schema.ANNOTATOR.check(tracks).values.astype(str)
        people = np.unique(names, return_inverse=True)[1]
    pairs = np.stack([people, track], axis=1)
    owner = np.unique(pairs, axis=0, return_inverse=True)[1].reshape(-1)
    return np.where(track < 0, -1, owner)


def _several(owner: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """Tell which spots share their frame with another one of their track."""
    _, place, count = np.unique(
        np.stack([owner, frame], axis=1), axis=0, return_inverse=True, return_counts=True
    )
    return (count[place.reshape(-1)] > 1) & (owner >= 0)


def _jumps(
    zyx: np.ndarray, owner: np.ndarray, frame: np.ndarray, odd: np.ndarray, jump: float
) -> np.ndarray:
    """Tell which spots are far from the one before, by frame between them."""
    far = np.zeros(owner.size, dtype=bool)
    rows = np.flatnonzero((owner >= 0) & ~odd & np.isfinite(zyx).all(axis=1))
    order = rows[np.lexsort((frame[rows], owner[rows]))]
    same = np.diff(owner[order]) == 0
    apart = np.linalg.norm(np.diff(zyx[order], axis=0), axis=1)[same]
    steps = apart / np.diff(frame[order])[same]
    if steps.size < _FEW_STEPS or not np.median(steps) > 0:
        return far
    far[order[1:][same]] = steps > jump * np.median(steps)
    return far
