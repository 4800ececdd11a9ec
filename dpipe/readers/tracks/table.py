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
class Said:
    """What a person says of places and frames; None is what the file says."""

    spacing: Sequence[float] | None = None
    origin: Sequence[float] = (0.0, 0.0, 0.0)
    interval: float | None = None
    first_frame: int | None = None
    frames: int | None = None
    branching: bool = True


def spots(rows: Rows, said: Said) -> xr.Dataset:
    """Make the table of one file.

    Parameters
    ----------
    rows : Rows
        As the file gives them.
    said : Said
        What overrules the file.

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
    if (factor is None) == (said.spacing is None):
        raise Unfit(
            "places are in micrometres; leave spacing out, or say unit=pixel"
            if said.spacing is not None
            else "places are in pixels; say spacing=[z, y, x] in micrometres, or unit=um if they "
            "are in these"
        )
    scale = np.asarray([factor] * 3 if said.spacing is None else said.spacing, dtype=np.float64)
    first = rows.first if said.first_frame is None else int(said.first_frame)
    frame, seconds, step, notes = _clock(rows, said, first)
    branched = _branches(rows, frame, first) if rows.branches else ""
    if branched and not said.branching:
        raise Unfit(f"{branched}; say branching=true to take them")
    zyx = np.asarray(said.origin) + rows.zyx * scale
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
    if rows.guessed_first and said.first_frame is None:
        low = int(rows.frame.min()) if rows.frame is not None else 0
        assumed.append(f"frames count from 0 in the file{f'; they begin at {low}' * (low > 0)}")
    attrs = {"frame_base": first, **({"interval": float(step)} if step else {}), **rows.attrs}
    attrs |= {key: lines for key, lines in (("notes", notes), ("assumed", assumed)) if lines}
    ds = xr.Dataset(_wrapped(columns), _wrapped(labels), attrs)
    if rows.parents is not None:
        ids = sorted(rows.parents)
        ds = ds.assign(_wrapped({schema.TRACK_PARENT: [rows.parents[one] for one in ids]}))
        ds = ds.assign_coords(track_id=ids)
    return ds


def _placed(track: np.ndarray, zyx: Any) -> tuple[np.ndarray, list[str]]:
    """Take spots without a place out of their tracks, which would have no length; say it.

    Of places that are computed later nobody knows yet.
    """
    if not isinstance(zyx, np.ndarray) or np.isfinite(zyx).all():
        return track, []
    nowhere = ~np.isfinite(zyx).all(axis=1)
    said = f"{nowhere.sum()} of {track.size} spots have no place, and so no track"
    return np.where(nowhere, -1, track), [said]


def _wrapped(columns: dict[schema.Variable, Any]) -> dict[str, xr.DataArray]:
    made: dict[str, xr.DataArray] = {}
    for variable, values in columns.items():
        made |= variable.wrap(xr.DataArray(values, dims=variable.dims))
    return made


def _clock(
    rows: Rows, said: Said, first: int
) -> tuple[np.ndarray, np.ndarray, float | None, list[str]]:
    """Return frames from 0, times in seconds (NaN unknown), the interval, and notes."""
    if rows.frame is None:
        seconds = np.asarray(rows.times) * _seconds_of(rows)
        even, start = _even(seconds, rows.track, said)
        late = f"times lie {start:g} s beyond multiples of {even:g} s: frame 0 is taken to be then"
        return _counted(seconds, start, even, said), seconds, even, [late] if start else []
    frame = rows.frame - first
    _check_frames(frame, first, said.frames)
    nothing = np.full(frame.size, np.nan)
    if said.interval:
        return frame, frame * said.interval, said.interval, _overruled(rows, frame, said.interval)
    given = rows.times is not None or rows.interval is not None
    factor = seconds_in(rows.time_unit) if given else None
    if factor is None:
        lost = "times of the file have no unit and are not taken; say time_unit= or interval="
        return frame, nothing, None, [lost] if given and not rows.time_unit else []
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
        told = f"are in {rows.time_unit!r}" if rows.time_unit else "have no unit in the file"
        raise Unfit(f"times {told}; say time_unit=s, or min, h, ms; or time_unit=frame")
    return factor


def _even(seconds: np.ndarray, track: np.ndarray, said: Said) -> tuple[float, float]:
    """Return the time between frames and that of frame 0, both as a person or the times say.

    Times that are no multiples of the step may all lie as far beyond one.
    """
    step = said.interval or _least_step(seconds, track)
    if not (abs(seconds / step) < _LAST).all() or _off(seconds, 0.0, step, said) < 0:
        return step, 0.0
    start = float(seconds.min() % step)
    return step, start if _off(seconds, start, step, said) < 0 else 0.0


def _least_step(seconds: np.ndarray, track: np.ndarray) -> float:
    """Return the smallest time between two spots of a track."""
    order = np.lexsort((seconds, track))
    steps = np.diff(seconds[order])[np.diff(track[order]) == 0]
    if not (steps > 0).any():
        raise Unfit("times in seconds, but no step to count frames by; say interval=")
    return float(steps[steps > 0].min())


def _off(seconds: np.ndarray, start: float, step: float, said: Said) -> int:
    """Return which time is the first that is no multiple of the step, -1 for none."""
    at = (seconds - start) / step
    bad = np.flatnonzero(abs(at - np.round(at)) > (_SAID if said.interval else _WHOLE))
    return int(bad[0]) if bad.size else -1


def _counted(seconds: np.ndarray, start: float, step: float, said: Said) -> np.ndarray:
    """Count frames from times."""
    at = (seconds - start) / step
    bad = np.flatnonzero(~(abs(at) < _LAST))
    if bad.size:
        raise Unfit(f"time {seconds[bad[0]]:g} s lies too far away to count frames of {step:g} s")
    if (odd := _off(seconds, start, step, said)) >= 0:
        way = "say which it is" if said.interval else "say interval=, which times may miss a bit"
        raise Unfit(
            f"time {seconds[odd]:g} s is no multiple of the interval {step:g} s; {way}, or add a "
            "column 'frame'"
        )
    frame = np.round(at).astype(np.int64)
    _check_frames(frame, 0, said.frames)
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
    known = np.flatnonzero(np.isfinite(seconds))
    found, at = np.unique(frame[known], return_index=True)
    first = seconds[known][at]
    steps = np.diff(first) / np.diff(found)
    if not (steps > 0).any():
        return None, []
    notes = []
    back = np.flatnonzero(steps <= 0)
    if back.size:
        k = int(back[0])
        notes.append(
            f"times do not rise in {back.size} of {steps.size} steps: frame {found[k]} is at "
            f"{first[k]:g} s, frame {found[k + 1]} at {first[k + 1]:g} s"
        )
    return float(np.median(steps[steps > 0])), notes


def _overruled(rows: Rows, frame: np.ndarray, interval: float) -> list[str]:
    """Say which times of the file a person overruled."""
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
    found = np.unique(frame)
    step = int(np.gcd.reduce(np.diff(found))) if found.size > _FEW else 1
    if step < 2:
        return []
    shown = ", ".join(str(one + first) for one in found[: _FEW + 1].tolist())
    return [
        f"spots lie in frames {shown}, ... only, {step} apart: if these are times, call the column "
        "'t' and say format=columns and time_unit="
    ]


def _branches(rows: Rows, frame: np.ndarray, first: int) -> str:
    """Say which tracks have several spots in a frame, "" if none has."""
    people = np.zeros(frame.size, int)
    if rows.annotator is not None:
        people = np.unique(rows.annotator, return_inverse=True)[1]
    keys = np.stack([people, rows.track, frame], axis=1)[rows.track >= 0]
    found, count = np.unique(keys, axis=0, return_counts=True)
    twice = found[count > 1]
    if not len(twice):
        return ""
    _, track, at = twice[0]
    several = len(np.unique(twice[:, :2], axis=0))
    return (
        f"{several} of {len(np.unique(keys[:, :2], axis=0))} tracks branch, or are two of one "
        f"number: track {track} has {count[count > 1][0]} spots in frame {at + first}"
    )
