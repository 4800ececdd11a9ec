"""Measures of tracks: speed, length, displacement, straightness, as Imaris defines them.

It knows how points in time make a track, gaps included. It does not know where tracks come from,
nor how those of several annotators become one.
"""

import math
from itertools import pairwise
from typing import Any

import numpy as np
import xarray as xr

from dpipe import schema
from dpipe.compute import beside, map_chunks, namespace
from dpipe.errors import UsageError
from dpipe.operators.surfaces.places import frame_times, uneven

_PLACE = (schema.SPOT_T, schema.SPOT_Z, schema.SPOT_Y, schema.SPOT_X)
_PER_SPOT = (schema.SPOT_SPEED, schema.SPOT_DISPLACEMENT2)
_PER_TRACK = (
    schema.TRACK_LENGTH,
    schema.TRACK_DISPLACEMENT,
    schema.TRACK_STRAIGHTNESS,
    schema.TRACK_DURATION,
    schema.TRACK_SPEED_MEAN,
)


def track_measures(
    ds: xr.Dataset, times: xr.Dataset | None = None, *, interval: float | None = None
) -> xr.Dataset:
    """Measure every track and every spot on it.

    Of a spot, ``spot_displacement2`` is the squared distance from the first spot of its track,
    ``spot_speed`` the distance between its neighbours on the track over the time between them; at
    an end, between the spot and its one neighbour. Neighbours are the next spots that there are,
    so a gap counts with its true time. Of a track, ``track_length`` is the sum of the steps,
    ``track_displacement`` the distance from first to last spot, ``track_straightness``
    displacement over length, ``track_duration`` the time from first to last spot, and
    ``track_speed_mean`` length over duration.

    NaN: everything of spots without track and of tracks with several spots in one frame (counted
    in ``track_branches``); speed without a neighbour; a ratio over 0. Speeds and displacements of
    spots agree with exports of Imaris to their six digits, tracks with gaps included.

    Parameters
    ----------
    ds : xarray.Dataset
        A table of spots, with the coordinates ``track`` and ``frame``, and ``annotator`` where
        there are several: each has tracks of their own.
    times : xarray.Dataset, optional
        When the frames were: the movie, or whatever has its times ``t``, or another table of its
        spots that says it (``frame``, ``spot_t``). A microscope's frames are not as even as the
        interval that a table is read with. Where `ds` has the times of its movie, as after
        ``dpipe.open(store, "leuko-tracks", "leuko")``, they are taken.
    interval : float, optional
        Seconds between frames, instead. By default ``spot_t`` tells when a spot was.

    Returns
    -------
    xarray.Dataset
        Lazy ``spot_speed``, ``spot_displacement2`` over ``spot``, and ``track_length``,
        ``track_displacement``, ``track_straightness``, ``track_duration``, ``track_speed_mean``
        over ``track_id``; with them ``track_spots``, ``track_gaps`` (frames without a spot),
        ``track_branches``, ``track_first`` and ``track_last``. In micrometres and seconds.
        ``attrs["notes"]`` says whose times were taken, and which spots have none.

    Raises
    ------
    SchemaError
        `ds` is no table of spots, or `times` has none.
    UsageError
        An `interval` that is no time, or one beside `times`.

    Examples
    --------
    >>> held = {"spot_t": [0.0, 10, 30], "spot_z": [0.0] * 3, "spot_y": [0.0, 4, 4]}
    >>> ds = xr.Dataset({k: ("spot", v) for k, v in (held | {"spot_x": [0.0, 3, 3]}).items()})
    >>> ds = ds.assign_coords(track=("spot", [7, 7, 7]), frame=("spot", [0, 1, 3]))
    >>> found = track_measures(ds)
    >>> found["spot_speed"].values.round(3).tolist(), found["track_gaps"].values.tolist()
    ([0.5, 0.167, 0.0], [1])
    """
    if interval is not None and not (math.isfinite(interval) and interval > 0):
        raise UsageError(f"interval: found {interval!r}; expected seconds above 0")
    track, frame = (np.asarray(v.check(ds).values) for v in (schema.TRACK, schema.FRAME))
    place = [v.check(ds).reset_coords(drop=True).astype("f8") for v in _PLACE]
    notes: list[str] = []
    if interval is not None:
        if times is not None:
            raise UsageError("interval and times: both say when frames were; expected one of them")
        place[0] = xr.DataArray(frame * float(interval), dims="spot")
    elif times is not None or ("t" in ds.coords and ds["t"].dims == ("t",)):
        seconds, notes = _times(frame, ds if times is None else times)
        place[0] = xr.DataArray(seconds, dims="spot")
    order, starts = _tracks(ds, track, frame)
    facts, sound = _facts(track[order], frame[order], starts)
    points = xr.concat(place, dim="axis", coords="minimal", compat="override")
    options = {"order": order, "starts": starts, "sound": sound}
    core = ("axis", "spot")
    per_spot = map_chunks(
        _spots, points, core=core, sizes={"figure": 2, "spot": track.size}, dtype="f8", **options
    )
    sizes = {"figure": len(_PER_TRACK), "track_id": len(sound)}
    per_track = map_chunks(_lines, points, core=core, sizes=sizes, dtype="f8", **options)
    result: dict[str, xr.DataArray] = {}
    for variables, figures in ((_PER_SPOT, per_spot), (_PER_TRACK, per_track)):
        for i, variable in enumerate(variables):
            result |= variable.wrap(figures.isel(figure=i, drop=True))
    for variable, numbers in facts.items():
        result |= variable.wrap(xr.DataArray(numbers, dims="track_id"))
    first = order[starts[:-1]]
    coords = {str(k): v for k, v in ds.coords.items() if v.dims == ("spot",)}
    coords["track_id"] = xr.DataArray(track[first], dims="track_id")
    if "annotator" in ds.coords:
        coords["track_annotator"] = xr.DataArray(ds["annotator"].values[first], dims="track_id")
    if odd := sound.count(False):
        notes.append(f"{odd} of {len(sound)} tracks not measured: several spots in one frame")
    return xr.Dataset(result, coords=coords, attrs={"notes": notes} if notes else {})


def _times(frame: np.ndarray, times: xr.Dataset) -> tuple[np.ndarray, list[str]]:
    """Return when each spot was by the times of frames, NaN where these have none."""
    numbers, seconds = frame_times(times)
    place = np.searchsorted(numbers, frame)
    timed = np.isin(frame, numbers)
    by_frame = np.full(frame.size, math.nan)
    by_frame[timed] = seconds[place[timed]]
    steps = uneven(seconds)
    notes = [f"times of the movie's frames, which are {steps}"] if steps else []
    if not timed.all():
        notes.append(
            f"{(~timed).sum()} of {frame.size} spots in frames without a time: not measured"
        )
    return by_frame, notes


def _tracks(ds: xr.Dataset, track: np.ndarray, frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Order the spots on tracks by annotator, track and frame; say where each track starts."""
    people = np.zeros(track.size, int)
    if "annotator" in ds.coords:
        people = np.unique(ds["annotator"].values.astype(str), return_inverse=True)[1]
    order = np.lexsort((frame, track, people))
    order = order[track[order] >= 0]
    keys = np.stack([people[order], track[order]])
    fresh = np.flatnonzero((np.diff(keys, axis=1) != 0).any(axis=0)) + 1
    return order, np.concatenate([[0] if order.size else [], fresh, [order.size]]).astype(int)


def _facts(
    track: np.ndarray, frame: np.ndarray, starts: np.ndarray
) -> tuple[dict[schema.Variable, np.ndarray], tuple[bool, ...]]:
    """Return counts of each track's frames and gaps, and a mask of tracks that do not branch."""
    pieces = [frame[a:b] for a, b in pairwise(starts)]
    seen = [np.unique(piece, return_counts=True) for piece in pieces]
    first = np.asarray([piece[0] for piece in pieces], dtype=np.int64)
    last = np.asarray([piece[-1] for piece in pieces], dtype=np.int64)
    spot_count = np.asarray([group.size for group, _ in seen], dtype=np.int64)
    branches = np.asarray([np.count_nonzero(count > 1) for _, count in seen], dtype=np.uint32)
    facts = {
        schema.TRACK_SPOTS: np.diff(starts).astype(np.uint32),
        schema.TRACK_GAPS: (last - first + 1 - spot_count).astype(np.uint32),
        schema.TRACK_BRANCHES: branches,
        schema.TRACK_FIRST: first,
        schema.TRACK_LAST: last,
    }
    return facts, tuple(bool(n == 0) for n in branches)


def _spots(points: Any, *, order: np.ndarray, starts: np.ndarray, sound: tuple[bool, ...]) -> Any:
    """Speed and squared displacement of each spot, from points (t, z, y, x; spot)."""
    xp = namespace(points)
    before, after = np.arange(order.size) - 1, np.arange(order.size) + 1
    before[starts[:-1]] = starts[:-1]
    after[starts[1:] - 1] = starts[1:] - 1
    first = np.repeat(starts[:-1], np.diff(starts))
    good = np.repeat(np.asarray(sound, dtype=bool), np.diff(starts))
    ends = [_at(xp, points, order[which]) for which in (before, after, first)]
    here = _at(xp, points, order)
    times = ends[1][0, :] - ends[0][0, :]
    distance = xp.sqrt(_squared(xp, ends[1] - ends[0]))
    speed = xp.where(times > 0, distance / xp.where(times > 0, times, 1.0), math.nan)
    figures = xp.stack([speed, _squared(xp, here - ends[2])])
    figures = xp.where(xp.asarray(good, **beside(points)), figures, math.nan)
    place = np.full(points.shape[1], order.size)
    place[order] = np.arange(order.size)
    none = xp.full((2, 1), math.nan, dtype=xp.float64, **beside(points))
    return _at(xp, xp.concat([figures, none], axis=1), place)


def _lines(points: Any, *, order: np.ndarray, starts: np.ndarray, sound: tuple[bool, ...]) -> Any:
    """Sum up each track, from points (t, z, y, x; spot)."""
    xp = namespace(points)
    ordered = _at(xp, points, order)
    lines = []
    for (a, b), good in zip(pairwise(starts), sound, strict=True):
        track = ordered[:, int(a) : int(b)]
        length = xp.sum(xp.sqrt(_squared(xp, track[:, 1:] - track[:, :-1])))
        ends = track[:, -1:] - track[:, :1]
        displacement, duration = xp.sqrt(_squared(xp, ends))[0], ends[0, 0]
        line = [
            length,
            displacement,
            xp.where(length > 0, displacement / xp.where(length > 0, length, 1.0), math.nan),
            duration,
            xp.where(duration > 0, length / xp.where(duration > 0, duration, 1.0), math.nan),
        ]
        lines.append(xp.stack(line) if good else xp.stack(line) * math.nan)
    if not lines:
        return xp.zeros((len(_PER_TRACK), 0), dtype=xp.float64, **beside(points))
    return xp.stack(lines, axis=1)


def _at(xp: Any, array: Any, index: np.ndarray) -> Any:
    return xp.take(array, xp.asarray(index, **beside(array)), axis=1)


def _squared(xp: Any, steps: Any) -> Any:
    """Squared lengths of steps (t, z, y, x; n), without time."""
    return xp.sum(steps[1:, :] ** 2, axis=0)
