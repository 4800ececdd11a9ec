"""Tracks of several people matched into events: plain arrays, the rules of the consensus."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np


@dataclass(frozen=True)
class Track:
    """One track of one person in one channel: frames that rise, a row (t, z, y, x, radius) each."""

    person: int
    number: int
    frames: np.ndarray
    rows: np.ndarray
    channel: str = ""


def match(tracks: Sequence[Track], limit: float) -> list[list[Track]]:
    """Group tracks of different people, best pairs first; what matches nothing stays alone."""
    pairs = []
    for i, j in combinations(range(len(tracks)), 2):
        a, b = tracks[i], tracks[j]
        apart = a.frames[0] > b.frames[-1] or b.frames[0] > a.frames[-1]
        if a.person == b.person or apart:
            continue
        _, ours, theirs = np.intersect1d(a.frames, b.frames, return_indices=True)
        if ours.size:
            distance = _distance(a.rows[ours], b.rows[theirs]).mean()
            if distance < limit:
                pairs.append((float(distance), -ours.size, i, j))
    group = {i: [i] for i in range(len(tracks))}
    for _, _, i, j in sorted(pairs):
        first, other = group[i], group[j]
        people = [tracks[k].person for k in (*first, *other)]
        if first is not other and len(set(people)) == len(people):
            joined = sorted(first + other)
            group |= dict.fromkeys(joined, joined)
    events = {tuple(members): [tracks[k] for k in members] for members in group.values()}
    return sorted(
        events.values(),
        key=lambda event: (
            min(first.frames[0] for first in event),
            event[0].person,
            event[0].number,
        ),
    )


def merge(event: Sequence[Track]) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Join an event's tracks frame by frame.

    Returns
    -------
    tuple
        Frames, rows (t, z, y, x, radius), number of people in each frame, and the number of
        frames between the first and the last that fewer than two people marked.
    """
    by_frame: dict[int, list[np.ndarray]] = {}
    for track in event:
        for frame, row in zip(track.frames.tolist(), track.rows, strict=True):
            by_frame.setdefault(frame, []).append(row)
    frames = sorted(frame for frame, rows in by_frame.items() if len(rows) > 1)
    if not frames:
        return np.zeros(0, int), np.zeros((0, 5)), np.zeros(0, int), 0
    rows = [_closest(by_frame[frame]).mean(axis=0) for frame in frames]
    people = [len(by_frame[frame]) for frame in frames]
    left_out = frames[-1] - frames[0] + 1 - len(frames)
    return np.asarray(frames), np.stack(rows), np.asarray(people), left_out


def _closest(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Return the two rows whose places are closest, the first such pair."""
    pairs = list(combinations(rows, 2))
    distances = [float(_distance(a[None], b[None])[0]) for a, b in pairs]
    return np.stack(pairs[int(np.argmin(distances))])


def _distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.sqrt(((a[:, 1:4] - b[:, 1:4]) ** 2).sum(axis=1))
