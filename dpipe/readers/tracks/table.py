"""Rows of a file made one table of spots: micrometres, seconds, frames from 0.

Knows what a person may say over the file, and what of its numbers is odd. Knows no format.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from dpipe import schema
from dpipe.formats.spreadsheets import Unfit
from dpipe.formats.track_rows import Rows, micrometres_in, seconds_in

_WHOLE = 0.01
"""How far from a multiple of the interval a time may lie, in intervals."""
_FEW = 2
_SAID = 0.25
"""The same, of an interval that a person says: stamps of microscopes stray."""
_LAST = 2**53


@dataclass(frozen=True)
class Overrides:
    """Places and frames as a person gives them; None leaves those of the file."""

    spacing: Sequence[float] | None = None
    origin: Sequence[float] = (0.0, 0.0, 0.0)
    interval: float | None = None
    first_frame: int | None = None
    frames: int | None = None
    branching: bool = True


def spots(rows: Rows, overrides: Overrides) -> xr.Dataset:
    """Make the table of one file.

    Parameters
    ----------
    rows : Rows
        As the file gives them.
    overrides : Overrides
        Of a person.

    Returns
    -------
    xarray.Dataset
        Over ``spot``, without annotators of folders and channels of names.
    """
    if not rows.track.size:
        raise Unfit("no spots; expected at least one")
    if int(rows.track.min()) < -1:
        raise Unfit(f"track {rows.track.min()}; expected numbers from 0, or -1 for no track")
    factor = micrometres_in(rows.unit)
    if (factor is None) == (overrides.spacing is None):
        raise Unfit(
            "places are in micrometres; leave spacing out, or say unit=pixel"
            if overrides.spacing is not None
            else "places are in pixels; say spacing=[z, y, x] in micrometres, or unit=um if they "
            "are in these"
        )
    scale = np.asarray(
        [factor] * 3 if overrides.spacing is None else overrides.spacing, dtype=np.float64
    )
    first = rows.first if overrides.first_frame is None else int(overrides.first_frame)
    frame, seconds, step, notes = _clock(rows, overrides, first)
    branched = _branches(rows, frame, first) if rows.branches else ""
    if branched and not overrides.branching:
        raise Unfit(f"{branched}; say branching=true to take them")
    zyx = np.asarray(overrides.origin) + rows.zyx * scale
    radius = np.full(frame.size, np.nan) if rows.radius is None else rows.radius * scale[2]
    columns: dict[schema.Variable, Any] = {
        schema.SPOT_T: np.asarray(seconds, dtype=np.float64),
        **dict(zip((schema.SPOT_Z, schema.SPOT_Y, schema.SPOT_X), zyx.T, strict=True)),
        schema.SPOT_RADIUS: radius,
    }
    if rows.number is not None:
        columns[schema.SPOT_ID] = rows.number
    track, lost = _placed(rows.track, zyx)
    labels = {schema.TRACK: track, schema.FRAME: frame}
    if rows.annotator is not None:
        labels[schema.ANNOTATOR] = rows.annotator
    notes = [*rows.notes, *notes, *lost, *([branched] if branched else []), *_far(frame, first)]
    notes += _sparse(frame, first) if rows.times is None and rows.interval is None else []
    assumed = list(rows.assumed)
    if rows.guessed_first and overrides.first_frame is None:
        low = int(rows.frame.min()) if rows.frame is not None else 0
        assumed.append(f"frames count from 0 in the file{f'; they begin at {low}' * (low > 0)}")
    attrs = {"frame_base": first, **({"interval": float(step)} if step else {}), **rows.attrs}
    attrs |= {key: lines for key, lines in (("notes", notes), ("assumed", assumed)) if lines}
    ds = xr.Dataset(_wrapped(columns), _wrapped(labels), attrs)
    if rows.parents is not None:
        ids = sorted(rows.parents)
        ds = ds.assign(_wrapped({schema.TRACK_PARENT: [rows.parents[child] for child in ids]}))
        ds = ds.assign_coords(track_id=ids)
    return ds


def _placed(track: np.ndarray, zyx: Any) -> tuple[np.ndarray, list[str]]:
    """Take spots without a place out of their tracks, which would have no length; say it.

    Of places that are computed later nobody knows yet.
    """
    if not isinstance(zyx, np.ndarray) or np.isfinite(zyx).all():
        return track, []
    nowhere = ~np.isfinite(zyx).all(axis=1)
    line = f"{nowhere.sum()} of {track.size} spots have no place, and so no track"
    return np.where(nowhere, -1, track), [line]


def _wrapped(columns: dict[schema.Variable, Any]) -> dict[str, xr.DataArray]:
    variables: dict[str, xr.DataArray] = {}
    for variable, values in columns.items():
        variables |= variable.wrap(xr.DataArray(values, dims=variable.dims))
    return variables


def _clock(
    rows: Rows, overrides: Overrides, first: int
) -> tuple[np.ndarray, np.ndarray, float | None, list[str]]:
    """Return frames from 0, times in seconds (NaN unknown), the interval, and notes."""
    if rows.frame is None:
        seconds = np.asarray(rows.times) * _seconds_of(rows)
        even, start = _even(seconds, rows.track, overrides)
        late = f"times lie {start:g} s beyond multiples of {even:g} s: frame 0 is taken to be then"
        return _counted(seconds, start, even, overrides), seconds, even, [late] if start else []
    frame = rows.frame - first
    _check_frames(frame, first, overrides.frames)
    nothing = np.full(frame.size, np.nan)
    if overrides.interval:
        return (
            frame,
            frame * overrides.interval,
            overrides.interval,
            _overruled(rows, frame, overrides.interval),
        )
    timed = rows.times is not None or rows.interval is not None
    factor = seconds_in(rows.time_unit) if timed else None
    if factor is None:
        lost = "times of the file have no unit and are not taken; say time_unit= or interval="
        return frame, nothing, None, [lost] if timed and not rows.time_unit else []
    step = rows.interval * factor if rows.interval else None
    if rows.times is None:
        return frame, nothing if step is None else frame * step, step, []
    seconds = rows.times * factor
    usual, notes = _rising(seconds, frame)
    if usual is None and len(np.unique(frame[np.isfinite(seconds)])) > 1:
        lost = f"times in the file stand still at {np.nanmin(seconds):g} s; they are not taken"
        return frame, nothing if step is None else frame * step, step, [lost]
    if step and usual and abs(step / usual - 1) > _WHOLE:
        notes.append(
            f"frames are {usual:g} s apart by the times of spots, which are taken; the file says "
            f"{step:g} s"
        )
        step = usual
    step = step or usual
    if step:
        seconds = np.where(np.isnan(seconds), frame * step, seconds)
    return frame, seconds, step, notes


def _seconds_of(rows: Rows) -> float:
    factor = seconds_in(rows.time_unit)
    if factor is None:
        unit = f"are in {rows.time_unit!r}" if rows.time_unit else "have no unit in the file"
        raise Unfit(f"times {unit}; say time_unit=s, or min, h, ms; or time_unit=frame")
    return factor


def _even(seconds: np.ndarray, track: np.ndarray, overrides: Overrides) -> tuple[float, float]:
    """Return the time between frames and that of frame 0, both as a person or the times say.

    Times that are no multiples of the step may all lie as far beyond one.
    """
    step = overrides.interval or _least_step(seconds, track)
    if not (abs(seconds / step) < _LAST).all() or _off(seconds, 0.0, step, overrides) < 0:
        return step, 0.0
    start = float(seconds.min() % step)
    return step, start if _off(seconds, start, step, overrides) < 0 else 0.0


def _least_step(seconds: np.ndarray, track: np.ndarray) -> float:
    """Return the smallest time between two spots of a track."""
    order = np.lexsort((seconds, track))
    steps = np.diff(seconds[order])[np.diff(track[order]) == 0]
    if not (steps > 0).any():
        raise Unfit("times in seconds, but no step to count frames by; say interval=")
    return float(steps[steps > 0].min())


def _off(seconds: np.ndarray, start: float, step: float, overrides: Overrides) -> int:
    """Return the index of the first time that is no multiple of the step, -1 for none."""
    steps = (seconds - start) / step
    bad = np.flatnonzero(abs(steps - np.round(steps)) > (_SAID if overrides.interval else _WHOLE))
    return int(bad[0]) if bad.size else -1


def _counted(seconds: np.ndarray, start: float, step: float, overrides: Overrides) -> np.ndarray:
    """Count frames from times."""
    steps = (seconds - start) / step
    bad = np.flatnonzero(~(abs(steps) < _LAST))
    if bad.size:
        raise Unfit(f"time {seconds[bad[0]]:g} s lies too far away to count frames of {step:g} s")
    if (odd := _off(seconds, start, step, overrides)) >= 0:
        way = (
            "say which it is" if overrides.interval else "say interval=, which times may miss a bit"
        )
        raise Unfit(
            f"time {seconds[odd]:g} s is no multiple of the interval {step:g} s; {way}, or add a "
            "column 'frame'"
        )
    frame = np.round(steps).astype(np.int64)
    _check_frames(frame, 0, overrides.frames)
    return frame


def _check_frames(frame: np.ndarray, first: int, count: int | None) -> None:
    """Refuse frames outside of the movie."""
    low, high = int(frame.min()), int(frame.max())
    if low < 0:
        raise Unfit(
            f"frame {low + first} is before the first, {first}; if the file counts otherwise, say "
            "first_frame="
        )
    if count is not None and high >= count:
        raise Unfit(f"frame {high + first} is beyond the movie, which has {count} from {first}")


def _rising(seconds: np.ndarray, frame: np.ndarray) -> tuple[float | None, list[str]]:
    """Return the usual time between frames, None if none is known, and say where time goes back."""
    timed = np.flatnonzero(np.isfinite(seconds))
    frames, first_spots = np.unique(frame[timed], return_index=True)
    first = seconds[timed][first_spots]
    steps = np.diff(first) / np.diff(frames)
    if not (steps > 0).any():
        return None, []
    notes = []
    back = np.flatnonzero(steps <= 0)
    if back.size:
        k = int(back[0])
        notes.append(
            f"times do not rise in {back.size} of {steps.size} steps: frame {frames[k]} is at "
            f"{first[k]:g} s, frame {frames[k + 1]} at {first[k + 1]:g} s"
        )
    return float(np.median(steps[steps > 0])), notes


def _overruled(rows: Rows, frame: np.ndarray, interval: float) -> list[str]:
    """Return a note on the interval of the file, where a person overruled another one."""
    try:
        factor = seconds_in(rows.time_unit)
    except Unfit:
        factor = None
    usual = rows.interval
    if usual is None and rows.times is not None:
        usual = _rising(rows.times, frame)[0]
    if factor is None or usual is None or abs(usual * factor / interval - 1) <= _WHOLE:
        return []
    return [f"interval={interval:g} is taken; by the file, frames are {usual * factor:g} s apart"]


def _far(frame: np.ndarray, first: int) -> list[str]:
    odd = np.flatnonzero(schema.far_frames(frame))
    if not odd.size:
        return []
    return [
        f"{odd.size} of {frame.size} spots are far beyond the others: frame "
        f"{frame[odd].max() + first}; is it mistyped?"
    ]


def _sparse(frame: np.ndarray, first: int) -> list[str]:
    """Say by how many frames all spots lie apart: such numbers may be times."""
    frames = np.unique(frame)
    step = int(np.gcd.reduce(np.diff(frames))) if frames.size > _FEW else 1
    if step < 2:
        return []
    shown = ", ".join(str(number + first) for number in frames[: _FEW + 1].tolist())
    return [
        f"spots lie in frames {shown}, ... only, {step} apart: if these are times, call the column "
        "'t' and say format=columns and time_unit="
    ]


def _branches(rows: Rows, frame: np.ndarray, first: int) -> str:
    """Return a note on tracks with several spots in a frame, "" if none has."""
    people = np.zeros(frame.size, int)
    if rows.annotator is not None:
        people = np.unique(rows.annotator, return_inverse=True)[1]
    keys = np.stack([people, rows.track, frame], axis=1)[rows.track >= 0]
    spots_at, count = np.unique(keys, axis=0, return_counts=True)
    twice = spots_at[count > 1]
    if not len(twice):
        return ""
    _, track, frame_at = twice[0]
    several = len(np.unique(twice[:, :2], axis=0))
    return (
        f"{several} of {len(np.unique(keys[:, :2], axis=0))} tracks branch, or are two of one "
        f"number: track {track} has {count[count > 1][0]} spots in frame {frame_at + first}"
    )
