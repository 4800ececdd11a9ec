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


class Sampling(NamedTuple):
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
        """Tell whether these frames are free of marks that have no place."""
        return not any(((frames >= a) & (frames <= b)).any() for a, b in self.unplaced)


def draw(
    movie: Movie,
    stem: str,
    shown: Shown,
    marks: Marks,
    positives: Sequence[Clip],
    sampling: Sampling,
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
    sampling : Sampling
        What is to be drawn.

    Returns
    -------
    list of Clip
        One an object at most; fewer than wanted where the movie has no more.
    """
    random = np.random.default_rng([sampling.seed, zlib.crc32(stem.encode())])
    if not shown.numbers.size:
        return []
    drawing = _Drawing(movie, stem, shown, marks, sampling, random)
    return drawing.before(positives) + drawing.around_cells(positives)


class _Drawing:
    """Negatives of one movie, as they are drawn."""

    def __init__(
        self,
        movie: Movie,
        stem: str,
        shown: Shown,
        marks: Marks,
        sampling: Sampling,
        random: np.random.Generator,
    ) -> None:
        self.movie, self.stem, self.shown = movie, stem, shown
        self.marks, self.sampling, self.random = marks, sampling, random
        self.cells: dict[int, Cells] = {}
        self.taken: dict[int, set[tuple[int, int]]] = {}
        self.centres = np.zeros((0, 3))
        places = np.concatenate([np.empty((0, 3)), *(_everywhere(e) for e in marks.events)])
        self.marked = places[np.isfinite(places[:, 1:]).all(axis=1)]

    def before(self, positives: Sequence[Clip]) -> list[Clip]:
        """Draw cells of events from the frames before anybody marked them, one an event."""
        clips: dict[str, Clip] = {}
        for i in self.random.permutation(len(positives)):
            crop = positives[int(i)]
            if len(clips) == self.sampling.most["before"]:
                break
            if crop.event.name not in clips and (clip := self._before(crop)) is not None:
                clips[crop.event.name] = clip
        return list(clips.values())

    def _before(self, crop: Clip) -> Clip | None:
        """Return the path of a cell before it died, in frames like those of its crop."""
        valid = self._valid(crop)
        start = self._start(crop, valid)
        if start is None:
            return None
        frames = start + valid
        channel, c = _channel(self.movie, crop.event.channel)
        first = int(crop.event.frames[0])
        path = self._cells(c).path(first, crop.event.at(np.asarray([first]))[0])
        if not path.covers(frames) or not self._fits(crop, valid, path, frames):
            return None
        event = _moving(path, frames, crop.event.track, channel)
        places = event.at(frames)
        near = any(self._near(other, frames, places) for other in self._own(crop.event)[1])
        if near or not self._take(c, path, places):
            return None
        return Clip(f"{crop.name}_before", "before", event, start, crop.length, crop.name)

    def _start(self, crop: Clip, valid: np.ndarray) -> int | None:
        """Return the start of frames like those of a crop, before the first mark of its death."""
        own_marks, _ = self._own(crop.event)
        end = min([crop.start, *(int(event.frames[0]) for event in (crop.event, *own_marks))])
        end = int(min(end, self.marks.starts.get(crop.event.track, end)))
        numbers = self.shown.numbers
        if not valid.size or end - 1 - valid[-1] < numbers.min() - valid[0]:
            return None
        earliest, latest = int(numbers.min() - valid[0]), int(end - 1 - valid[-1])
        single = crop.name != crop.event.name  # one frame of several: any before the event
        start = int(self.random.integers(earliest, latest + 1)) if single else latest
        covered = np.isin(start + valid, numbers).all() and self.marks.free(start + valid)
        return start if covered else None

    def _near(self, mark: Event, frames: np.ndarray, places: np.ndarray) -> bool:
        """Tell whether a mark comes near a cell in some frames, or into its window."""
        theirs = mark.at(frames)
        apart = np.linalg.norm((theirs - places)[:, 1:], axis=1)
        return bool((apart <= self.sampling.distance).any()) or self._inside(theirs, places)

    def around_cells(self, positives: Sequence[Clip]) -> list[Clip]:
        """Draw cells that nobody marked, each in the very frames of an event."""
        quota = self.sampling.most["cell"]
        likes = list(positives) or [self._pretended() for _ in range(quota)]
        order = [likes[i] for i in self.random.permutation(len(likes))] if quota else []
        turns = dict(enumerate(self._candidates(crop) for crop in order))
        clips: list[Clip] = []
        while turns and len(clips) < quota:
            for i, candidates in list(turns.items())[: quota - len(clips)]:
                clip = next(candidates, None)
                if clip is None:
                    del turns[i]
                else:
                    clips.append(clip._replace(name=f"{self.stem}_negative{len(clips) + 1}"))
        return clips

    def _pretended(self) -> Clip:
        """Return a window of a movie without events: whole frames, wherever a cell is."""
        low, high = int(self.shown.numbers.min()), int(self.shown.numbers.max())
        length = min(self.sampling.length, high - low + 1)
        start = int(self.random.integers(low, high - length + 2))
        none = Event("", -1, "", np.zeros(0, int), np.zeros((0, 3)), np.zeros(0, int))
        return Clip("", "event", none, start, length)

    def _candidates(self, crop: Clip) -> Iterator[Clip]:
        """Yield negatives that are like a crop, each around another cell."""
        valid = self._valid(crop)
        frames = crop.start + valid
        if not frames.size or not self.marks.free(frames):
            return
        channel, c = _channel(self.movie, crop.event.channel)
        for path in self._paths(self._cells(c), frames):
            if not path.covers(frames) or not self._fits(crop, valid, path, frames):
                continue
            event = _moving(path, frames, -1, channel)
            places = event.at(frames)
            away = self._far(places) and not self._inside(self.marked, places)
            if away and self._take(c, path, places):
                yield Clip("", "cell", event, crop.start, crop.length, crop.name)

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
            self.cells[c] = Cells(
                self.movie, self.shown, c, self.sampling.areas, self.sampling.step
            )
        return self.cells[c]

    def _valid(self, crop: Clip) -> np.ndarray:
        """Return the frames of a crop that the movie has, counted from its first."""
        frames = crop.start + np.arange(crop.length)
        return np.flatnonzero(np.isin(frames, self.shown.numbers))

    def _own(self, event: Event) -> tuple[list[Event], list[Event]]:
        """Part the marks of an event's own cell from those of others."""
        same_cell: list[Event] = []
        others: list[Event] = []
        for mark in self.marks.events:
            apart = np.linalg.norm((mark.places - event.at(mark.frames))[:, 1:], axis=1)
            (same_cell if (apart <= self.sampling.step).any() else others).append(mark)
        return same_cell, others

    def _fits(self, crop: Clip, valid: np.ndarray, path: Path, frames: np.ndarray) -> bool:
        """Tell whether windows along a path lie in the image as far as those of a crop."""
        places = _moving(path, frames, -1, "").at(frames)
        windows = self.shown.windows(places)
        if not crop.event.frames.size:  # of no event: nothing is filled
            size = np.asarray(self.shown.windows(places).start) * 0
            whole = [n or m for n, m in zip(self.shown.window, self.shown.sizes, strict=True)]
            return bool((windows.high - windows.low == size + whole).all())
        return windows.covers(self.shown.windows(crop.event.at(crop.start + valid)))

    def _far(self, places: np.ndarray) -> bool:
        """Tell whether places keep their distance from all marks of all frames."""
        if not len(self.marked):
            return True
        near = cKDTree(self.marked[:, 1:]).query(places[:, 1:])[0]
        return bool((near > self.sampling.distance).all())

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
        if (np.linalg.norm(apart, axis=-1) <= self.sampling.step).any():
            return False
        taken |= path.seen
        self.centres = np.concatenate([self.centres, places])
        return True


def _everywhere(event: Event) -> np.ndarray:
    """Return the places of a mark in all its frames, also between its spots."""
    return event.at(np.arange(int(event.frames[0]), int(event.frames[-1]) + 1))


def _moving(path: Path, frames: np.ndarray, track: int, channel: str) -> Event:
    """Return an event along the path of a cell; it has no marked spots."""
    inside = (path.frames >= frames[0]) & (path.frames <= frames[-1])
    none = np.zeros(int(inside.sum()), int)
    return Event("", track, channel, path.frames[inside], path.places[inside], none)


def _channel(movie: Movie, written: str) -> tuple[str, int]:
    """Return the channel of an event, as people wrote it (``ch2``) and its place in the movie.

    The first of those named; by default the first one wanted.
    """
    first = written.partition(",")[0].strip()
    counted = re.fullmatch(r"ch(\d+)", first)
    place = int(counted[1]) - 1 if counted else -1
    if first in movie.names:
        place = movie.names.index(first)
    if place in movie.channels:
        return first, place
    return movie.names[movie.channels[0]], movie.channels[0]
