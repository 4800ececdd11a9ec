"""Readers behind lazy arrays: a region is read or computed without a graph.

A graph costs some milliseconds a region, as much as the work itself. So arrays that ``blocks``
made remember the function that gives any region of them; what was computed with since, or came
from another process, does not, and takes the graph. Knows nothing of Dask.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Region = tuple[slice, ...]
Read = Callable[[Region], np.ndarray]

_ATTRIBUTE = "_dpipe_behind"


class RegionReader:
    """An array for ``da.from_array`` over a function that reads a region."""

    def __init__(self, read: Read, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self.read, self.shape, self.dtype, self.ndim = read, shape, dtype, len(shape)

    def __getitem__(self, index: Any) -> np.ndarray:
        cuts = index if isinstance(index, tuple) else (index,)
        cuts = cuts + (slice(None),) * (self.ndim - len(cuts))
        region: list[slice] = []
        thinned: list[slice | int] = []
        for i, n in zip(cuts, self.shape, strict=True):
            if isinstance(i, slice):
                indices = range(n)[i]  # with any step: read what lies between, then thin it
                low, last = sorted((indices[0], indices[-1])) if indices else (0, -1)
                high = last + 1
                thinned.append(slice(None, None, indices.step))
            else:
                low, high = range(n)[i], range(n)[i] + 1
                thinned.append(0)
            region.append(slice(low, high))
        return self.read(tuple(region))[tuple(thinned)]


@dataclass(frozen=True)
class Behind:
    """A function that gives a region, and which column of its last axis is meant, if one is."""

    read: Read
    column: int | None = None


def attach_reader(array: Any, read: Read, column: int | None = None) -> Any:
    """Attach the reader of its regions to a lazy array; return the array."""
    setattr(array, _ATTRIBUTE, (array.name, Behind(read, column)))
    return array


def region_reader(array: Any) -> Behind | None:
    """Return the reader of an array's regions, None if it must be computed by its graph."""
    name, reader = getattr(array, _ATTRIBUTE, ("", None))
    return (
        reader if reader is not None and name == array.name else None
    )  # assigned to, it has another


def at_once(cuts: Mapping[str, tuple[Any, Region]]) -> dict[str, np.ndarray] | None:
    """Return a region of each array, shared work done once; None if one needs its graph."""
    lazy = {key: region_reader(array) for key, (array, _) in cuts.items() if hasattr(array, "dask")}
    if None in lazy.values():
        return None
    done: dict[tuple[int, Region], np.ndarray] = {}
    blocks: dict[str, np.ndarray] = {}
    for key, (array, region) in cuts.items():
        source = lazy.get(key)
        if source is None:  # in memory already
            blocks[key] = array[region]
            continue
        place = (id(source.read), region)
        if place not in done:
            done[place] = source.read(region)
        values = done[place]
        if source.column is not None:
            values = values[..., source.column].astype(array.dtype)
        blocks[key] = values
    return blocks


@dataclass(frozen=True, eq=False)
class Frames:
    """Frames through a kernel, block by block, as the graph would do it.

    Attributes
    ----------
    read : callable
        Gives a region of the frames.
    run : callable
        Turns a block of whole frames into an array (outer dims, new dims).
    chunks : sequence of sequence of int
        How the outer dims are cut into blocks.
    core : sequence of int
        Size of a frame.
    new : sequence of int
        Size of what the kernel makes of a frame.
    dtype : numpy.dtype
        Of the result.
    """

    read: Read
    run: Callable[[np.ndarray], np.ndarray]
    chunks: Sequence[Sequence[int]]
    core: Sequence[int]
    new: Sequence[int]
    dtype: np.dtype

    def __call__(self, region: Region) -> np.ndarray:
        """Compute a region of the result; dims of `new` that it does not name are whole."""
        outer, new = region[: len(self.chunks)], region[len(self.chunks) :]
        result = np.empty((*(s.stop - s.start for s in outer), *self.new), self.dtype)
        frame = tuple(slice(0, n) for n in self.core)
        for piece in itertools.product(*map(_pieces, self.chunks, outer)):
            place = tuple(
                slice(p.start - s.start, p.stop - s.start)
                for p, s in zip(piece, outer, strict=True)
            )
            result[place] = self.run(self.read((*piece, *frame)))
        inside: Any = (..., *new)
        return result[inside]


def _pieces(chunks: Sequence[int], cut: slice) -> Iterator[slice]:
    """Cut a slice where the blocks of a dim end."""
    for n, end in zip(chunks, itertools.accumulate(chunks), strict=True):
        if end > cut.start and end - n < cut.stop:
            yield slice(max(end - n, cut.start), min(end, cut.stop))


def single(nested: Any) -> np.ndarray:
    """Return the one block along dropped axes, which Dask hands over as lists in lists."""
    while isinstance(nested, list):
        (nested,) = nested
    return nested
