"""Windows without an event: around cells far from every event, and where a cell had not yet died.

Nobody annotated healthy cells; these are the two substitutes. What is drawn depends on the seed,
the movie's name and pixels and the events alone, not on how anything is cut into blocks.
"""

import re
import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from dpipe import schema
from dpipe.blocks import compute_region
from dpipe.operators._cells import Limits, find_cells, larger
from dpipe.operators._crop_layout import Shown
from dpipe.operators._events import Clip, Event
from dpipe.operators._windows import Movie

_FRAMES, _MORE = 2, 8
"""So many frames for each cell wanted, and some more, are searched at most."""
_AROUND = 2
"""Pixels around a cell's centre among which its brightest plane is looked for."""


class Wanted(NamedTuple):
    """What is to be drawn: at most how many of each kind, how far from events, which cells, seed.

    A window's centre keeps `distance` micrometres from every (other) event, in y and x.
    """

    most: dict[str, int]
    distance: float
    areas: tuple[Limits, Limits]
    seed: int


def draw(
    movie: Movie,
    stem: str,
    shown: Shown,
    events: Sequence[Event],
    positives: Sequence[Clip],
    wanted: Wanted,
) -> list[Clip]:
    """Draw windows without an event.

    Parameters
    ----------
    movie : Movie
        The pixels.
    stem : str
        Name of the movie.
    shown : Shown
        Numbers of its frames, and where its voxels stand.
    events : sequence of Event
        All events of the table, also those that get no crop: negatives keep away from them.
    positives : sequence of Clip
        The crops of events; negatives are as long as these.
    wanted : Wanted
        What is to be drawn.

    Returns
    -------
    list of Clip
        Each stays where it is; fewer than wanted where the movie has no more.
    """
    random = np.random.default_rng([wanted.seed, zlib.crc32(stem.encode())])
    if not shown.numbers.size:
        return []
    found = _before(shown.numbers, events, positives, wanted, random)
    return found + _around_cells(movie, stem, shown, events, positives, wanted, random)


def _before(
    numbers: np.ndarray,
    events: Sequence[Event],
    positives: Sequence[Clip],
    wanted: Wanted,
    random: np.random.Generator,
) -> list[Clip]:
    """Draw from the frames before events, where each began, if no other event is near then."""
    lowest = int(numbers.min())
    found: list[Clip] = []
    if not (wanted.most["before"] and positives):
        return found
    every = np.arange(lowest, int(numbers.max()) + 1)
    yx = np.stack([event.at(every)[:, 1:] for event in events])
    row = {event.name: i for i, event in enumerate(events)}
    for i in random.permutation(len(positives)):
        if len(found) == wanted.most["before"]:
            break
        one = positives[i]
        first = int(one.event.frames[0])
        count = min(one.length, first - lowest)
        if count < 1:
            continue
        single = one.name != one.event.name  # one frame of several: any before the event
        last = int(random.integers(lowest + count, first + 1)) if single else first
        shown = np.arange(last - count, last)
        place = one.event.at(np.asarray([first]))
        apart = np.linalg.norm(yx[:, shown - lowest] - place[0, 1:], axis=-1)
        apart[row[one.event.name]] = np.inf
        if not (apart < wanted.distance).any() and np.isin(shown, numbers).all():
            still = Event(
                "", one.event.track, one.event.channel, shown[:1], place, np.zeros(1, int)
            )
            found.append(Clip(f"{one.name}_before", "before", still, int(shown[0]), count))
    return found


def _around_cells(
    movie: Movie,
    stem: str,
    shown: Shown,
    events: Sequence[Event],
    positives: Sequence[Clip],
    wanted: Wanted,
    random: np.random.Generator,
) -> list[Clip]:
    """Draw cells of some frames, as far from every event at whatever time as is wanted.

    Each is like an event that is drawn too: cells of its channel, and as many frames.
    """
    dead = np.concatenate([np.empty((0, 3)), *(event.places for event in events)])[:, 1:]
    tree = cKDTree(dead[np.isfinite(dead).all(axis=1)])
    found: list[Clip] = []
    numbers, most = shown.numbers, wanted.most["cell"]
    share = -(-most // max(1, min(len(numbers), most)))
    for position in random.permutation(len(numbers))[: _FRAMES * most + _MORE]:
        missing = min(share, most - len(found))
        if missing <= 0:
            break
        like = positives[int(random.integers(len(positives)))] if positives else None
        channel, c = _channel(movie, like.event.channel if like else "")
        cells = _cells(movie, int(position), c, shown, wanted.areas)
        far = tree.query(cells[:, 1:])[0] > wanted.distance if tree.n else np.full(len(cells), True)
        for cell in random.permutation(cells[far])[:missing]:
            length = like.length if like else 1
            # the cell is in the middle of its frames, as far as the movie goes on both sides
            here, end = int(numbers[position]), int(numbers.max()) + 1
            start = max(int(numbers.min()), min(here - length // 2, end - length))
            still = Event("", -1, channel, np.asarray([here]), cell[None], np.zeros(1, int))
            name = f"{stem}_negative{len(found) + 1}"
            found.append(Clip(name, "cell", still, start, length))
    return found


def _channel(movie: Movie, said: str) -> tuple[str, int]:
    """Return the channel of an event, as people wrote it (``ch2``) and its place in the movie.

    The first of those named; by default the first one wanted.
    """
    first = said.partition(",")[0].strip()
    counted = re.fullmatch(r"ch(\d+)", first)
    place = int(counted[1]) - 1 if counted else -1
    if first in movie.names:
        place = movie.names.index(first)
    if place in movie.channels:
        return first, place
    return movie.names[movie.channels[0]], movie.channels[0]


def _cells(
    movie: Movie, position: int, c: int, shown: Shown, areas: tuple[Limits, Limits]
) -> np.ndarray:
    """Return the places (n, 3) of the cells of one frame, micrometres; z is the brightest plane."""
    frame = {"t": slice(position, position + 1), "c": slice(c, c + 1)}
    volume = compute_region(movie.data, [schema.IMAGE.name], frame)[schema.IMAGE.name][0, 0]
    voxels = [
        (_brightest(volume, y, x), y, x)
        for y, x in larger(*find_cells(volume, areas=areas)).tolist()
    ]
    origin, spacing = (np.asarray(three) for three in shown.grid)
    return origin + np.reshape(voxels, (-1, 3)) * spacing


def _brightest(volume: np.ndarray, y: float, x: float) -> int:
    cut = [slice(max(0, round(at) - _AROUND), round(at) + _AROUND + 1) for at in (y, x)]
    return int(np.argmax(volume[:, cut[0], cut[1]].mean(axis=(1, 2))))
