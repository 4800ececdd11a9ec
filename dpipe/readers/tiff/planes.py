"""Which page of which file holds a plane of a movie, and how a region is read by that.

This module knows counting and files; it knows no names of files and no header.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from tifffile import TiffFile

from dpipe import compute, schema
from dpipe.formats.tiff import Flaw, Layout, chain, open_tiff_file, read_pages, survey
from dpipe.sources import opened

COUNTED = ("t", "c", "z")
"""The dims along which pages and files may be counted."""


@dataclass(frozen=True)
class Files:
    """The files of a movie, kept short since they travel: texts that differ in some numbers.

    Attributes
    ----------
    pieces : tuple of str
        What stands around the numbers.
    numbers : tuple of (range, int) or of tuple of str
        For each gap between the pieces, the numbers that come there and their width, or the texts
        themselves. The last one changes first.
    """

    pieces: tuple[str, ...]
    numbers: tuple[tuple[range, int] | tuple[str, ...], ...] = ()

    @property
    def counts(self) -> tuple[int, ...]:
        """How many numbers come in each gap."""
        return tuple(len(texts[0] if _even(texts) else texts) for texts in self.numbers)

    def __len__(self) -> int:
        return math.prod(self.counts)

    def __getitem__(self, file: int) -> str:
        name = self.pieces[0]
        places = np.unravel_index(file, self.counts) if self.numbers else ()
        for texts, place, piece in zip(self.numbers, places, self.pieces[1:], strict=True):
            text = f"{texts[0][place]:0{texts[1]}d}" if _even(texts) else str(texts[place])
            name += text + piece
        return name


def _even(numbers: Sequence[object]) -> bool:
    return len(numbers) == 2 and isinstance(numbers[0], range)


def listed(uris: Sequence[str]) -> Files:
    """Return files that differ in anything."""
    return Files((uris[0],)) if len(uris) == 1 else Files(("", ""), (tuple(uris),))


@dataclass(frozen=True)
class Planes:
    """Which page of which file holds each plane.

    Attributes
    ----------
    inner : str
        The dims of one page, slowest first.
    counts : tuple of int
        How many files and pages there are along t, c and z; 1 along dims of a page.
    files, pages : tuple of int
        By how much the numbers of file and page grow along t, c and z.
    table : bytes
        Where they do not grow evenly: file and page of each, int64, shape (t, c, z, 2).
    """

    inner: str
    counts: tuple[int, ...]
    files: tuple[int, ...] = (0, 0, 0)
    pages: tuple[int, ...] = (0, 0, 0)
    table: bytes = b""

    def of(self, box: Mapping[str, slice]) -> Iterator[tuple[tuple[int, ...], int, int]]:
        """Yield place in the box, file and page of each plane in a box of the movie."""
        table = np.frombuffer(self.table, np.int64).reshape(-1, 2) if self.table else None
        outer = [d for d in COUNTED if d not in self.inner]
        ranges = [range(box[d].start, box[d].stop) if d in outer else range(1) for d in COUNTED]
        for local in np.ndindex(*map(len, ranges)):
            indices = [values[i] for values, i in zip(ranges, local, strict=True)]
            if table is None:
                file, page = (int(np.dot(indices, steps)) for steps in (self.files, self.pages))
            else:
                file, page = map(int, table[np.ravel_multi_index(indices, self.counts)])
            yield local, file, page


def in_order(dims: str, inner: str, sizes: Mapping[str, int], by_name: str = "") -> Planes:
    """Count pages along some dims, the last one first, and files along others likewise."""
    counts = tuple(1 if d in inner else sizes[d] for d in COUNTED)
    return Planes(inner, counts, _steps(by_name, sizes), _steps(dims, sizes))


def _steps(dims: str, sizes: Mapping[str, int]) -> tuple[int, ...]:
    steps, step = dict.fromkeys(COUNTED, 0), 1
    for dim in reversed(dims):
        steps[dim] = step
        step *= sizes[dim]
    return tuple(steps.values())


def by_table(inner: str, table: np.ndarray) -> Planes:
    """Take the file and page of each plane from an array (t, c, z, 2)."""
    table = np.ascontiguousarray(table, np.int64)
    return Planes(inner, table.shape[:3], table=table.tobytes())


def tabled(planes: Planes) -> np.ndarray:
    """Return the file and page of each plane as an array (t, c, z, 2)."""
    box = {d: slice(0, n) for d, n in zip(COUNTED, planes.counts, strict=True)}
    table = np.array([(file, page) for _, file, page in planes.of(box)], np.int64)
    return table.reshape(*planes.counts, 2)


@dataclass(frozen=True)
class Reading:
    """How a region is read; it travels in tasks.

    Attributes
    ----------
    files : Files
        Of the movie.
    layout : Layout
        Of the first file; of the only one it says where all pages lie.
    planes : Planes
        Which are where.
    series : int or None
        Which image of each file; -1 for all its pages in order.
    torn : bool
        Whether planes that nobody asks for may be missing.
    free : int
        Along how many of their first axes the files may be of unlike size.
    """

    files: Files
    layout: Layout
    planes: Planes
    series: int | None
    torn: bool = False
    free: int = 0

    def __call__(self, region: compute.Region) -> np.ndarray:
        """Read one region of the movie; runs in a task, so it opens the files itself."""
        out = np.empty([s.stop - s.start for s in region], self.layout.dtype)
        box = dict(zip(schema.MOVIE_DIMS, region, strict=True))
        inner = self.planes.inner
        cut = tuple(box[dim] for dim in inner)
        order = [inner.index(dim) for dim in schema.MOVIE_DIMS if dim in inner]
        planes_of: dict[int, list[tuple[tuple[int, ...], int]]] = {}
        for local, file, page in self.planes.of(box):
            planes_of.setdefault(file, []).append((local, page))
        for file, asked in planes_of.items():
            pages = self._pages(file, [number for _, number in asked])
            for (local, _), pixels in zip(asked, pages, strict=True):
                place = dict(zip(COUNTED, local, strict=True))
                index = tuple(
                    slice(None) if dim in inner else place.get(dim, 0) for dim in schema.MOVIE_DIMS
                )
                out[index] = pixels[cut].transpose(order)
        return out

    def _pages(self, file: int, numbers: Sequence[int]) -> Iterator[np.ndarray]:
        uri, only = self.files[file], len(self.files) == 1
        name = short(uri)
        with (
            opened(uri) as data,
            open_tiff_file(data, name, walk=not only, torn=self.torn) as tif,
        ):
            layout = self.layout if only else self.like(tif)
            yield from read_pages(tif, layout, numbers)

    def like(self, tif: TiffFile) -> Layout:
        """Return the layout of another file, which must hold the same kind of image."""
        layout, first = laid_out(tif, self.series, [] if self.torn else None), self.layout
        same = len(layout.shape) == len(first.shape) and layout.inner == first.inner
        same &= layout.shape[self.free :] == first.shape[self.free :]
        if not same or layout.dtype != first.dtype:
            raise Flaw(
                f"{layout.dtype} of shape {layout.shape}; the first file of the series is "
                f"{first.dtype} of shape {first.shape}"
            )
        return layout


def laid_out(tif: TiffFile, series: int | None, missing: list[int] | None = None) -> Layout:
    """Find the planes of an image, or all pages in order."""
    return chain(tif, missing) if series == -1 else survey(tif, series, missing)


def short(uri: str) -> str:
    """Return the name of a file."""
    return uri.rstrip("/").rpartition("/")[2]
