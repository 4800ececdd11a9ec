"""Windows without an event: around cells that nobody marked, and around cells before their death.

Nobody annotated healthy cells; these are the two substitutes. Each is like the crop of one event:
it has as many frames in the same places, is filled where that is filled, and has a cell in it,
followed as that event is; so none of these tells a model what a crop is. What is drawn depends on
the seed, the movie's name and pixels and the marks alone, not on how anything is cut into blocks.
"""

import re
import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from dpipe.operators.crops.cell_paths import Cells, Path
from dpipe.operators.crops.events import Clip, Event
from dpipe.operators.crops.layout import Shown
from dpipe.operators.crops.windows import Movie
from dpipe.operators.frames.find_cells import Limits

_TRIES = 40
"""Cells that are looked at for each negative."""


class Wanted(NamedTuple):
    """What is to be drawn.

    Attributes
    ----------
    most : dict of str to int
        At most how many of each kind.
    distance, step : float
        Micrometres, in y and x, that a window's centre keeps from all marks, and that a cell
        moves at most from one frame to the next.
    areas : pair of pair of float
        Which cells.
    seed : int
        Of the choice.
    length : int
        Frames of a negative of a movie without events.
    """

    most: dict[str, int]
    distance: float
    step: float
    areas: tuple[Limits, Limits]
    seed: int
    length: int


class Marks(NamedTuple):
    """What anybody marked: with their places, and the frames of those that have none."""

    events: Sequence[Event]
    unplaced: Sequence[tuple[float, float]]
    starts: dict[int, float]
    """By track the first frame that a table of phases gives it."""

    def free(self, frames: np.ndarray) -> bool:
        """Tell whether nobody marked anything in these frames without saying where."""
        return not any(((frames >= a) & (frames <= b)).any() for a, b in self.unplaced)


def draw(
    movie: Movie,
    stem: str,
    shown: Shown,
    marks: Marks,
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
    marks : Marks
        Of all annotators, also of events that get no crop: negatives keep away from them.
    positives : sequence of Clip
        The crops of events; each negative is like one of these.
    wanted : Wanted
        What is to be drawn.

    Returns
    -------
    list of Clip
        One an object at most; fewer than wanted where the movie has no more.
    """
    random = np.random.default_rng([wanted.seed, zlib.crc32(stem.encode())])
    if not shown.numbers.size:
        return []
    drawing = _Drawing(movie, stem, shown, marks, wanted, random)
    return drawing.before(positives) + drawing.around_cells(positives)


class _Drawing:
    """Negatives of one movie, as they are drawn."""

    def __init__(
        self,
        movie: Movie,
        stem: str,
        shown: Shown,
        marks: Marks,
        wanted: Wanted,
        random: np.random.Generator,
    ) -> None:
        self.movie, self.stem, self.shown = movie, stem, shown
        self.marks, self.wanted, self.random = marks, wanted, random
        self.cells: dict[int, Cells] = {}
        self.taken: dict[int, set[tuple[int, int]]] = {}
        self.centres = np.zeros((0, 3))
        held = np.concatenate([np.empty((0, 3)), *(_everywhere(e) for e in marks.events)])
        self.marked = held[np.isfinite(held[:, 1:]).all(axis=1)]

    def before(self, positives: Sequence[Clip]) -> list[Clip]:
        """Draw cells of events from the frames before anybody marked them, one an event."""
        found: dict[str, Clip] = {}
        for i in self.random.permutation(len(positives)):
            one = positives[int(i)]
            if len(found) == self.wanted.most["before"]:
                break
            if one.event.name not in found and (clip := self._before(one)) is not None:
                found[one.event.name] = clip
        return list(found.values())

    def _before(self, one: Clip) -> Clip | None:
        """Return where a cell was before it died, in frames like those of its crop."""
        valid = self._valid(one)
        start = self._start(one, valid)
        if start is None:
            return None
        frames = start + valid
        channel, c = _channel(self.movie, one.event.channel)
        first = int(one.event.frames[0])
        path = self._cells(c).path(first, one.event.at(np.asarray([first]))[0])
        if not path.covers(frames) or not self._fits(one, valid, path, frames):
            return None
        event = _moving(path, frames, one.event.track, channel)
        places = event.at(frames)
        near = any(self._near(other, frames, places) for other in self._own(one.event)[1])
        if near or not self._take(c, path, places):
            return None
        return Clip(f"{one.name}_before", "before", event, start, one.length, one.name)

    def _start(self, one: Clip, valid: np.ndarray) -> int | None:
        """Return where frames like those of a crop begin before anybody says that it dies."""
        own, _ = self._own(one.event)
        end = min([one.start, *(int(event.frames[0]) for event in (one.event, *own))])
        end = int(min(end, self.marks.starts.get(one.event.track, end)))
        numbers = self.shown.numbers
        if not valid.size or end - 1 - valid[-1] < numbers.min() - valid[0]:
            return None
        least, most = int(numbers.min() - valid[0]), int(end - 1 - valid[-1])
        single = one.name != one.event.name  # one frame of several: any before the event
        start = int(self.random.integers(least, most + 1)) if single else most
        there = np.isin(start + valid, numbers).all() and self.marks.free(start + valid)
        return start if there else None

    def _near(self, mark: Event, frames: np.ndarray, places: np.ndarray) -> bool:
        """Tell whether a mark comes near a cell in some frames, or into its window."""
        theirs = mark.at(frames)
        apart = np.linalg.norm((theirs - places)[:, 1:], axis=1)
        return bool((apart <= self.wanted.distance).any()) or self._inside(theirs, places)

    def around_cells(self, positives: Sequence[Clip]) -> list[Clip]:
        """Draw cells that nobody marked, each in the very frames of an event."""
        most = self.wanted.most["cell"]
        likes = list(positives) or [self._pretended() for _ in range(most)]
        order = [likes[i] for i in self.random.permutation(len(likes))] if most else []
        turns = dict(enumerate(self._candidates(one) for one in order))
        found: list[Clip] = []
        while turns and len(found) < most:
            for i, candidates in list(turns.items())[: most - len(found)]:
                clip = next(candidates, None)
                if clip is None:
                    del turns[i]
                else:
                    found.append(clip._replace(name=f"{self.stem}_negative{len(found) + 1}"))
        return found

    def _pretended(self) -> Clip:
        """Return a window of a movie without events: whole frames, wherever a cell is."""
        low, high = int(self.shown.numbers.min()), int(self.shown.numbers.max())
        length = min(self.wanted.length, high - low + 1)
        start = int(self.random.integers(low, high - length + 2))
        none = Event("", -1, "", np.zeros(0, int), np.zeros((0, 3)), np.zeros(0, int))
        return Clip("", "event", none, start, length)

    def _candidates(self, one: Clip) -> Iterator[Clip]:
        """Yield negatives that are like a crop, each around another cell."""
        valid = self._valid(one)
        frames = one.start + valid
        if not frames.size or not self.marks.free(frames):
            return
        channel, c = _channel(self.movie, one.event.channel)
        for path in self._paths(self._cells(c), frames):
            if not path.covers(frames) or not self._fits(one, valid, path, frames):
                continue
            event = _moving(path, frames, -1, channel)
            places = event.at(frames)
            away = self._far(places) and not self._inside(self.marked, places)
            if away and self._take(c, path, places):
                yield Clip("", "cell", event, one.start, one.length, one.name)

    def _paths(self, cells: Cells, frames: np.ndarray) -> Iterator[Path]:
        """Yield cells of the middle, first and last of some frames: one may lack a cell."""
        tried: set[int] = set()
        for here in dict.fromkeys(int(frames[k]) for k in (len(frames) // 2, 0, -1)):
            places = cells.of(here)
            for cell in self.random.permutation(len(places))[:_TRIES].tolist():
                path = cells.through(here, cell)
                if id(path) not in tried and self._far(places[[cell]]):
                    yield path
                tried.add(id(path))

    def _cells(self, c: int) -> Cells:
        if c not in self.cells:
            self.cells[c] = Cells(self.movie, self.shown, c, self.wanted.areas, self.wanted.step)
        return self.cells[c]

    def _valid(self, one: Clip) -> np.ndarray:
        """Return which frames of a crop, counted from its first, the movie has."""
        own = one.start + np.arange(one.length)
        return np.flatnonzero(np.isin(own, self.shown.numbers))

    def _own(self, event: Event) -> tuple[list[Event], list[Event]]:
        """Part the marks of an event's own cell from those of others."""
        own: list[Event] = []
        others: list[Event] = []
        for mark in self.marks.events:
            apart = np.linalg.norm((mark.places - event.at(mark.frames))[:, 1:], axis=1)
            (own if (apart <= self.wanted.step).any() else others).append(mark)
        return own, others

    def _fits(self, one: Clip, valid: np.ndarray, path: Path, frames: np.ndarray) -> bool:
        """Tell whether windows along a path show whatever those of a crop show."""
        places = _moving(path, frames, -1, "").at(frames)
        windows = self.shown.windows(places)
        if not one.event.frames.size:  # of no event: nothing is filled
            size = np.asarray(self.shown.windows(places).start) * 0
            whole = [n or m for n, m in zip(self.shown.window, self.shown.sizes, strict=True)]
            return bool((windows.high - windows.low == size + whole).all())
        return windows.covers(self.shown.windows(one.event.at(one.start + valid)))

    def _far(self, places: np.ndarray) -> bool:
        """Tell whether places keep away from all that was marked at any time."""
        if not len(self.marked):
            return True
        near = cKDTree(self.marked[:, 1:]).query(places[:, 1:])[0]
        return bool((near > self.wanted.distance).all())

    def _inside(self, marked: np.ndarray, places: np.ndarray) -> bool:
        """Tell whether any mark lies within any window, in y and x."""
        half = [
            n * step / 2 for n, step in zip(self.shown.window, self.shown.grid.spacing, strict=True)
            if n is not None
        ][-2:]  # fmt: skip
        apart = np.abs(marked[:, None, 1:] - places[None, :, 1:])
        return bool((apart <= half).all(axis=-1).any())

    def _take(self, c: int, path: Path, places: np.ndarray) -> bool:
        """Take a cell, unless it may be one that was taken: the same, or in the same place."""
        taken = self.taken.setdefault(c, set())
        if not taken.isdisjoint(path.seen):
            return False
        apart = self.centres[:, None, 1:] - places[None, :, 1:]
        if (np.linalg.norm(apart, axis=-1) <= self.wanted.step).any():
            return False
        taken |= path.seen
        self.centres = np.concatenate([self.centres, places])
        return True


def _everywhere(event: Event) -> np.ndarray:
    """Return the places of a mark in all its frames, also between its spots."""
    return event.at(np.arange(int(event.frames[0]), int(event.frames[-1]) + 1))


def _moving(path: Path, frames: np.ndarray, track: int, channel: str) -> Event:
    """Return what follows a cell through some frames; nobody marked a spot there."""
    inside = (path.frames >= frames[0]) & (path.frames <= frames[-1])
    none = np.zeros(int(inside.sum()), int)
    return Event("", track, channel, path.frames[inside], path.places[inside], none)


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
