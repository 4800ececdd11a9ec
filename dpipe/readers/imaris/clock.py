"""When the frames of an Imaris file were recorded: its time stamps, and what is odd about them.

``TimeInfo`` holds a date a frame, as text, in the time of the clock on the wall. One bad stamp does
not spoil the others: those that fit together are kept, and the frames between them are put there.
Knows nothing of pixels.
"""

import itertools
import math
import re
import statistics
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import h5py
import numpy as np

from dpipe.formats.hdf5 import text

_NAME = re.compile(r"TimePoint ?0*(\d{1,9})")
_YEAR_FIRST = r"(?P<Y>\d{4})[-/.](?P<m>\d\d?)[-/.](?P<d>\d\d?)"
_DAY_FIRST = r"(?P<d2>\d\d?)\.(?P<m2>\d\d?)\.(?P<Y2>\d{4})"
_TIME = r"(?P<H>\d\d?):(?P<M>\d\d):(?P<S>\d\d)(?:[.,:](?P<f>\d{1,6})\d*)?"
_DATE = re.compile(f"(?:{_YEAR_FIRST}|{_DAY_FIRST})[ T]+{_TIME}")
_ROUNDED_TO = (60.0, 1.0, 0.1, 0.01, 0.001)
_MOST_NAMED = 8


class Clock(NamedTuple):
    """Seconds of each frame after the first, None if not known, and what people should know."""

    times: list[float] | None
    notes: list[str]


class _Repair(NamedTuple):
    """Times by stamps: frames whose stamp is sound, and those before which it was set back."""

    times: list[float]
    sound: frozenset[int]
    set_back: dict[int, float]


def clock(group: h5py.Group | None, frames: int) -> Clock:
    """Read the times of so many frames from ``TimeInfo``.

    Stamps that increase are taken as they are. Where one is missing, cannot be read or contradicts
    the others, its frame is put between its neighbours; where the clock was set back, as in
    autumn, later ones are moved on by what it was set back; where stamps are rounded to more than
    the step, as whole seconds are in a fast movie, the step is what they say together.
    """
    stamps, first = _stamps(group, frames)
    notes = [] if first else ["times: TimeInfo counts its time points from 0"]
    moments = {k: moment for k, stamp in stamps.items() if (moment := _moment(stamp)) is not None}
    if not moments:
        odd = next((f"; TimePoint{k + first} is {stamp!r}" for k, stamp in stamps.items()), "")
        return _unknown(frames, f"TimeInfo has no date that can be read{odd}")
    if not all(moment.tzinfo for moment in moments.values()):
        moments = {k: moment.replace(tzinfo=None) for k, moment in moments.items()}
    start = moments[min(moments)]
    passed = {k: (moment - start) / timedelta(seconds=1) for k, moment in moments.items()}
    ordered = [passed[k] for k in sorted(passed)]
    rising = all(a < b for a, b in itertools.pairwise(ordered))
    if len(passed) == frames and rising:
        return Clock(ordered, notes)
    if len(set(ordered)) == 1:
        dated = "all frames" if len(passed) == frames else f"{len(passed)} of {frames} frames"
        return _unknown(frames, f"TimeInfo dates {dated} {stamps[min(passed)]!r}")
    if rounded := _rounded(passed, frames):
        step, line = rounded
        return Clock([k * step for k in range(frames)], [*notes, line])
    repair = _repaired(passed, frames)
    if repair is None:
        return _unknown(frames, "the dates of TimeInfo contradict each other")
    return Clock(repair.times, notes + _notes(repair, stamps, frames, first))


def _unknown(frames: int, reason: str) -> Clock:
    line = f"frames are 1 s apart: {reason}; set interval"
    return Clock(None, [line] if frames > 1 else [])


def _stamps(group: h5py.Group | None, frames: int) -> tuple[dict[int, str], int]:
    """Return the stamps of frames, and what the file calls the first: 1, or by mistake 0."""
    names = [] if group is None else [str(name) for name in group.attrs]
    names_of = {int(match[1]): name for name in names if (match := _NAME.fullmatch(name))}
    first = 0 if 0 in names_of and frames not in names_of else 1
    stamps = {k: text(group, names_of[k + first]) for k in range(frames) if k + first in names_of}
    return {k: stamp for k, stamp in stamps.items() if stamp}, first


def _moment(stamp: str) -> datetime | None:
    try:
        return datetime.fromisoformat(stamp)
    except ValueError:
        pass
    match = _DATE.fullmatch(stamp)
    if match is None:
        return None
    day = [match[key] or match[f"{key}2"] for key in "Ymd"]
    parts = [*day, match["H"], match["M"], match["S"], (match["f"] or "").ljust(6, "0")]
    year, month, date, hour, minute, second, fraction = map(int, parts)
    try:
        return datetime(year, month, date, hour, minute, second, fraction)
    except ValueError:
        return None


def _rounded(passed: Mapping[int, float], frames: int) -> tuple[float, str] | None:
    """Return the step of stamps that stand still for several frames and move by one unit.

    A step is possible if stamps stray by less than the unit from multiples of it. Taken is the one
    from which they stray least, and of those near it the one of fewest digits. None where stamps
    are not of that kind.
    """
    moves = [b - a for a, b in itertools.pairwise([passed[k] for k in sorted(passed)])]
    units = {round(move, 6) for move in moves if move > 0}
    unit = next((u for u in _ROUNDED_TO if units == {u}), None)
    if unit is None or min(moves) < 0 or moves.count(0.0) < 2 or len(passed) < frames:
        return None
    seconds, count = np.array([passed[k] for k in range(frames)]), np.arange(frames)

    def strayed(step: float) -> float:
        return float(np.ptp(seconds - step * count)) / unit

    low, high = 0.0, unit
    for _ in range(60):  # convex: the smallest lies between
        third = (high - low) / 3
        low, high = (
            (low, high - third)
            if strayed(low + third) < strayed(high - third)
            else (low + third, high)
        )
    best = (low + high) / 2
    if strayed(best) > 1.001:
        return None
    step = next(
        value
        for digits in range(1, 18)
        if strayed(value := float(f"{best:.{digits}g}")) <= min(1.001, strayed(best) + 0.1)
    )
    line = f"frames are about {step:g} s apart: all time stamps are rounded to {unit:g} s"
    return step, line


def _repaired(passed: Mapping[int, float], frames: int) -> _Repair | None:
    """Keep the stamps that fit together, and put the other frames between them."""
    stamped = sorted(passed)
    rates = [(passed[b] - passed[a]) / (b - a) for a, b in itertools.pairwise(stamped)]
    if not any(rate > 0 for rate in rates):
        return None
    step = statistics.median_low([rate for rate in rates if rate > 0])
    seconds, set_back = _moved_on(passed, stamped, step)
    sound = _longest(stamped, seconds, step)
    if len(sound) < 2 or 2 * len(sound) < len(stamped):
        return None
    times = np.interp(np.arange(frames), sound, [seconds[k] for k in sound])
    before, after = np.arange(sound[0]), np.arange(sound[-1] + 1, frames)
    times[: sound[0]] = seconds[sound[0]] - step * (sound[0] - before)
    times[sound[-1] + 1 :] = seconds[sound[-1]] + step * (after - sound[-1])
    set_back = {k: shift for k, shift in set_back.items() if k in sound}
    return _Repair((times - times[0]).tolist(), frozenset(sound), set_back)


def _moved_on(
    passed: Mapping[int, float], stamped: Sequence[int], step: float
) -> tuple[dict[int, float], dict[int, float]]:
    """Find where the clock was set back: steps as usual on both sides, and one backwards."""

    def usual(a: int, b: int) -> bool:
        return 2 / 3 <= (passed[b] - passed[a]) / (b - a) / step <= 3 / 2

    seconds, shift, set_back = dict(passed), 0.0, {}
    for n in range(2, len(stamped) - 1):
        h, i, j, m = stamped[n - 2 : n + 2]
        if (
            passed[j] <= passed[i]
            and (usual(h, i) and usual(j, m))
            and not (usual(i, m) or usual(h, j))
        ):
            set_back[j] = passed[i] + step * (j - i) - passed[j]
    for k in stamped:
        shift += set_back.get(k, 0.0)
        seconds[k] += shift
    return seconds, set_back


def _longest(stamped: Sequence[int], seconds: Mapping[int, float], step: float) -> list[int]:
    """Return as many frames as increase together; of several choices that with usual steps."""
    numbers, when = np.array(stamped), np.array([seconds[k] for k in stamped])
    count, cost = np.ones(len(numbers), int), np.zeros(len(numbers))
    before = np.full(len(numbers), -1)
    for j in range(1, len(numbers)):
        earlier = np.flatnonzero(when[:j] < when[j])
        if not earlier.size:
            continue
        earlier = earlier[count[earlier] == count[earlier].max()]
        rate = (when[j] - when[earlier]) / (numbers[j] - numbers[earlier])
        total = cost[earlier] + np.abs(np.log(rate / step))
        best = int(np.argmin(total))
        before[j], count[j], cost[j] = earlier[best], count[earlier[best]] + 1, total[best]
    ends = np.flatnonzero(count == count.max())
    place = int(ends[np.argmin(cost[ends])])
    chosen = []
    while place >= 0:
        chosen.append(int(numbers[place]))
        place = int(before[place])
    return chosen[::-1]


def _notes(repair: _Repair, stamps: Mapping[int, str], frames: int, first: int) -> list[str]:
    """Name the frames whose times are not what their stamps say."""

    def stamp(k: int) -> str:
        state = f"is {stamps[k]!r}" if k in stamps else "is missing"
        return f"frame {k} (TimePoint{k + first} {state})"

    odd = [k for k in range(frames) if k not in repair.sound]
    more = f", and {len(odd) - _MOST_NAMED} more" if len(odd) > _MOST_NAMED else ""
    named = ", ".join(map(stamp, odd[:_MOST_NAMED])) + more
    lines = (
        [f"times of some frames are put between those of their neighbours: {named}"] if odd else []
    )
    for k, shift in list(repair.set_back.items())[:_MOST_NAMED]:
        moved = f"times from there on are moved on by {shift:g} s"
        lines.append(f"the clock was set back before {stamp(k)}: {moved}")
    return lines


def known_times(clock: Clock, frames: int) -> np.ndarray:
    """Return the seconds of each frame, NaN if not known; a single frame is at 0."""
    times = [0.0] if frames == 1 else [math.nan] * frames
    return np.array(times if clock.times is None else clock.times, float)
