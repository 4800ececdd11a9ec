"""Times of frames as files stamp them: the good stamps are kept, the odd ones are named.

A stamp is odd if it is missing, stands still or goes back: if it is not among the most stamps that
rise from frame to frame.
"""

import bisect
from collections.abc import Sequence

import numpy as np

AGREE = 0.01
"""A step that is told and one that is stamped may differ by this share without a word."""
_NAMED = 8


def settled(
    stamps: Sequence[float | None], frames: Sequence[int] | None = None
) -> tuple[list[float] | None, list[int]]:
    """Keep the good stamps of frames and put the odd ones between them.

    Parameters
    ----------
    stamps : sequence of float or None
        Seconds of each frame; None where there is none.
    frames : sequence of int, optional
        Their numbers, where some are left out; by default 0, 1, ...

    Returns
    -------
    times : list of float or None
        Seconds of each frame. An odd frame lies evenly between its good neighbours; before the
        first and behind the last one the step is the median of the good ones. None if fewer than
        half of the stamps are good, or fewer than two of several.
    odd : list of int
        Numbers of the odd frames.

    Examples
    --------
    >>> settled([0, 10, 10, 30, None])
    ([0.0, 10.0, 20.0, 30.0, 40.0], [2, 4])
    """
    numbers = np.arange(len(stamps)) if frames is None else np.asarray(frames)
    good = _rising(stamps)
    odd = numbers[sorted(set(range(len(stamps))) - set(good))].tolist()
    if not good or 2 * len(good) < len(stamps) or len(good) < min(2, len(stamps)):
        return None, odd
    seconds = np.array([stamps[t] for t in good], float)
    times = np.interp(numbers, numbers[good], seconds)
    if len(good) > 1:
        step = float(np.median(np.diff(seconds) / np.diff(numbers[good])))
        first, last = good[0], good[-1]
        times[:first] = seconds[0] - step * (numbers[first] - numbers[:first])
        times[last + 1 :] = seconds[-1] + step * (numbers[last + 1 :] - numbers[last])
    times[good] = seconds
    return times.tolist(), odd


def _rising(stamps: Sequence[float | None]) -> list[int]:
    """Return the frames of the most stamps that rise; of several such choices the earliest."""
    stamped = [(t, value) for t, value in enumerate(stamps) if value is not None]
    before = _lengths([value for _, value in stamped])
    after = _lengths([-value for _, value in reversed(stamped)])[::-1]
    longest, chosen, last = max(before, default=0), list[int](), 0.0
    for (t, value), a, b in zip(stamped, before, after, strict=True):
        if a == len(chosen) + 1 and a + b - 1 == longest and (not chosen or value > last):
            chosen.append(t)
            last = value
    return chosen


def _lengths(values: Sequence[float]) -> list[int]:
    """Return for each value how many rise up to it at most, itself included."""
    ends: list[float] = []
    lengths = []
    for value in values:
        position = bisect.bisect_left(ends, value)
        ends[position : position + 1] = [value]
        lengths.append(position + 1)
    return lengths


def named(frames: Sequence[int]) -> str:
    """Name frames, at most a few.

    Examples
    --------
    >>> named([3]), named([1, 2])
    ('frame 3', 'frames 1, 2')
    """
    listed = ", ".join(map(str, frames[:_NAMED]))
    more = f" and {len(frames) - _NAMED} more" if len(frames) > _NAMED else ""
    return f"frame{'s' if len(frames) > 1 else ''} {listed}{more}"
