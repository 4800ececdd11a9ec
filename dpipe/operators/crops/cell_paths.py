"""Cells of a movie, frame by frame, and where one of them goes: followed to the nearest next one.

It knows how cells are found in a frame and how far one may move; it does not know which of them
die. A frame is searched once, whoever asks.
"""

import math
from dataclasses import dataclass, field

import numpy as np

from dpipe import schema
from dpipe.compute import compute_region
from dpipe.operators.crops.layout import Shown
from dpipe.operators.crops.windows import Movie
from dpipe.operators.frames.find_cells import Limits, find_cells, larger

_LOST = 2
"""So many frames in a row may lack a cell that is followed."""
_AROUND = 2
"""Pixels around a cell's centre among which its brightest plane is looked for."""


@dataclass(frozen=True)
class Path:
    """Where one cell was found: frames, rising, its number in each, and places (n, 3)."""

    frames: np.ndarray
    cells: np.ndarray
    places: np.ndarray

    @property
    def seen(self) -> set[tuple[int, int]]:
        """Frames, and the number of the cell in each."""
        return set(zip(self.frames.tolist(), self.cells.tolist(), strict=True))

    def covers(self, frames: np.ndarray) -> bool:
        """Tell whether the cell is found from the first to the last of some frames."""
        return bool(self.frames.size) and bool(
            self.frames[0] <= frames[0] and frames[-1] <= self.frames[-1]
        )


@dataclass
class Cells:
    """The cells of one channel of a movie.

    Attributes
    ----------
    movie, shown : Movie, Shown
        The pixels, and where its frames and voxels are.
    channel : int
        Which one.
    areas : pair of pair of float
        Least and largest area in pixels of a cell, as `find_cells` takes them.
    step : float
        Micrometres that a cell moves at most from one frame to the next, in y and x.
    """

    movie: Movie
    shown: Shown
    channel: int
    areas: tuple[Limits, Limits]
    step: float
    _found: dict[int, np.ndarray] = field(default_factory=dict)
    _paths: dict[tuple[int, int], Path] = field(default_factory=dict)

    def of(self, frame: int) -> np.ndarray:
        """Return the places (n, 3) of the cells of a frame; z is the brightest plane."""
        if frame not in self._found:
            (position,) = np.flatnonzero(self.shown.numbers == frame)[:1]
            cut = {"t": slice(position, position + 1), "c": slice(self.channel, self.channel + 1)}
            volume = compute_region(self.movie.data, [schema.IMAGE.name], cut)[schema.IMAGE.name]
            voxels = [
                (_brightest(volume[0, 0], y, x), y, x)
                for y, x in larger(*find_cells(volume[0, 0], areas=self.areas)).tolist()
            ]
            origin, spacing = (np.asarray(three) for three in self.shown.grid)
            self._found[frame] = origin + np.reshape(voxels, (-1, 3)) * spacing
        return self._found[frame]

    def path(self, frame: int, place: np.ndarray) -> Path:
        """Follow a cell through the movie, both ways, until it is lost.

        Parameters
        ----------
        frame : int
            Of the movie or not.
        place : array, shape (3,)
            Where it is then.
        """
        numbers = self.shown.numbers
        cells = self._one_way(place, range(frame, int(numbers.max()) + 1))
        cells |= self._one_way(place, range(frame - 1, int(numbers.min()) - 1, -1))
        frames = sorted(cells)
        return Path(
            np.asarray(frames, int),
            np.asarray([cells[f][0] for f in frames], int),
            np.reshape([cells[f][1] for f in frames], (-1, 3)),
        )

    def through(self, frame: int, cell: int) -> Path:
        """Return the path of a cell of a frame; the cells that it goes through have no other."""
        if (frame, cell) not in self._paths:
            path = self.path(frame, self.of(frame)[cell])
            for key in zip(path.frames.tolist(), path.cells.tolist(), strict=True):
                self._paths.setdefault(key, path)
        return self._paths[frame, cell]

    def _one_way(self, place: np.ndarray, way: range) -> dict[int, tuple[int, np.ndarray]]:
        places: dict[int, tuple[int, np.ndarray]] = {}
        numbers = set(self.shown.numbers.tolist())
        last, lost = place, 0
        for frame in way:
            if frame not in numbers:  # of a movie that was thinned
                continue
            cells = self.of(frame)
            apart = np.linalg.norm(cells[:, 1:] - last[1:], axis=1)
            # while it is not seen it walks at random; farther off, another one would be taken
            if apart.size and apart.min() <= self.step * math.sqrt(lost + 1):
                nearest = int(np.argmin(apart))
                places[frame] = (nearest, cells[nearest])
                last, lost = cells[nearest], 0
            else:
                lost += 1
            if lost > _LOST:
                break
        return places


def _brightest(volume: np.ndarray, y: float, x: float) -> int:
    cut = [slice(max(0, round(at) - _AROUND), round(at) + _AROUND + 1) for at in (y, x)]
    return int(np.argmax(volume[:, cut[0], cut[1]].mean(axis=(1, 2))))
