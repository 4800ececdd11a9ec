"""TIFF of unknown origin: where the planes lie, and how they are read and decoded.

Knows pages, series, compression and file sizes, by way of tifffile. What the axes mean and what
a file says of its pixels stands in the readers.

Nothing here follows the names of other files that an OME header may give, runs a codec that is
not on a short list, or believes sizes that the file could not hold.
"""

import logging
import math
import struct
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from tifffile import TiffFile, TiffPage

from dpipe import ledger
from dpipe.errors import DpipeError, InputError, StoreError
from dpipe.formats.tiff_checks import (
    CODECS,
    MOST_PLANES,
    Flaw,
    check_chain,
    check_page,
    check_promise,
    is_whole,
)

__all__ = [
    "CODECS",
    "MOST_PLANES",
    "Complaint",
    "Flaw",
    "Layout",
    "chain",
    "check_chain",
    "complaints",
    "loose_pages",
    "open_tiff_file",
    "read_pages",
    "survey",
]

_READ_ERRORS = (
    *(OSError, RuntimeError, LookupError, ValueError, TypeError, ArithmeticError),
    *(AssertionError, AttributeError, MemoryError, SyntaxError, struct.error),
)


@dataclass(frozen=True)
class Layout:
    """Where the planes of an image lie in a file.

    Attributes
    ----------
    axes : str
        One letter a dimension, as tifffile names them; no dimension but Y and X is 1 long.
    shape : tuple of int
        Sizes along the axes.
    dtype : numpy.dtype
        In the byte order of this machine.
    inner : int
        How many of the last axes one unit, the page, holds.
    stored : str
        dtype string as stored, for pages that lie one behind the other, undivided.
    offset : int or None
        Where those begin; None if every page must be looked up.
    pages : bytes
        Otherwise: the positions of all pages' directories, int64 each.
    """

    axes: str
    shape: tuple[int, ...]
    dtype: np.dtype
    inner: int
    stored: str
    offset: int | None
    pages: bytes

    @property
    def outer(self) -> tuple[int, ...]:
        """Sizes of the axes along which pages are counted."""
        return self.shape[: len(self.shape) - self.inner]

    @property
    def page(self) -> tuple[int, ...]:
        """Shape of one page."""
        return self.shape[len(self.shape) - self.inner :]

    @property
    def page_bytes(self) -> int:
        """Bytes of one page, decoded."""
        return math.prod(self.page) * self.dtype.itemsize


@contextmanager
def open_tiff_file(
    file: str | BinaryIO, name: str, *, walk: bool = True, torn: bool = False
) -> Iterator[TiffFile]:
    """Open for reading; inside the ``with``, whatever is raised becomes one line.

    `InputError` for a bad file, `StoreError` where what lies below (disk, network) failed. A chain
    of pages that comes back to itself is refused, unless `walk` is False: nobody follows it then.
    So is what tifffile complains of, unless the file may be `torn` off: who reads it counts pages.
    """
    try:
        if walk:
            _check_chain(file)
        # headers may name any file of this machine as the home of planes; and of ScanImage's files
        # tifffile guesses the pages by their size, and misses the last
        closed = dict.fromkeys(("_multifile", "is_mmstack", "is_ndtiff", "is_scanimage"), False)
        with complaints() as heard, TiffFile(file, **closed) as tif:
            if walk and tif.is_ome:
                check_promise(tif.ome_metadata or "")
            yield tif
            if heard and not torn:
                raise Flaw(f"damaged: {heard[0].text}; fetch or export it again")
    except DpipeError:
        raise
    except Flaw as flaw:
        raise InputError(f"{name}: {flaw}") from None
    except (FileNotFoundError, IsADirectoryError):
        raise InputError(f"{name}: no such file") from None
    except _READ_ERRORS as error:
        text = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, OSError) and error.errno is not None:
            raise StoreError(f"{name}: cannot be read: {text}") from error
        if "not a TIFF file" in text or "ZARR" in text:
            raise InputError(f"{name}: not a TIFF file") from error
        raise InputError(f"{name}: damaged: {text}; fetch or export it again") from error


def _check_chain(file: str | BinaryIO) -> None:
    if isinstance(file, str):
        with open(file, "rb") as stream:
            check_chain(stream)
        return
    check_chain(file)
    file.seek(0)


class Complaint(NamedTuple):
    """What a library logged: its name, the level, the text on one line."""

    library: str
    level: int
    text: str


@contextmanager
def complaints(level: int = logging.ERROR, library: str = "tifffile") -> Iterator[list[Complaint]]:
    """Collect what a library logs in this thread, from a level on: it goes on with what it has.

    A library of no name stands for all of them.
    """
    heard: list[Complaint] = []
    thread = threading.get_ident()

    class _Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.thread == thread and record.levelno >= level:
                text = " ".join(record.getMessage().split())
                heard.append(Complaint(record.name.partition(".")[0], record.levelno, text))

    handler, logger = _Collect(), logging.getLogger(library)
    logger.addHandler(handler)
    try:
        yield heard
    finally:
        logger.removeHandler(handler)


def survey(tif: TiffFile, number: int | None, missing: list[int] | None = None) -> Layout:
    """Find the planes of one image (a series, in the words of tifffile) of an open file.

    Parameters
    ----------
    tif : tifffile.TiffFile
        Open.
    number : int or None
        Which image; None for the only one.
    missing : list of int, optional
        The numbers of planes that are promised and not there, or not whole, are added to it. By
        default they are refused.

    Returns
    -------
    Layout
        No pixel has been read.

    Raises
    ------
    Flaw
        No image, several, planes that are missing or lie elsewhere, or an unknown codec.
    """
    series = _series(tif, number)
    keep = [n != 1 or axis in "YX" for n, axis in zip(series.shape, series.axes, strict=True)]
    axes = "".join(a for a, keep_axis in zip(series.axes, keep, strict=True) if keep_axis)
    shape = tuple(int(n) for n, keep_axis in zip(series.shape, keep, strict=True) if keep_axis)
    first, page = series.keyframe, tuple(int(n) for n in series.keyframe.shape)
    dtype = _dtype(series.dtype)
    if not math.prod(shape):
        raise Flaw(f"an image of shape {shape} holds no pixels")
    check_page(first, tif.filehandle.size)
    plain = first.is_contiguous and first.predictor == 1 and first.fillorder == 1
    offset = series.dataoffset if plain else None
    if offset is not None:
        plane = shape[axes.index("Y") :]
        stored = series.dtype.newbyteorder(tif.byteorder).str
        layout = Layout(axes, shape, dtype, len(plane), stored, int(offset), b"")
        planes = math.prod(layout.outer)
        whole_planes = max(0, tif.filehandle.size - int(offset)) // layout.page_bytes
        if whole_planes < planes:
            if missing is None or planes > MOST_PLANES:
                end = int(offset) + planes * layout.page_bytes
                raise Flaw(f"truncated: {end} bytes expected, {tif.filehandle.size} found")
            missing += range(whole_planes, planes)
        return layout
    if shape[len(shape) - len(page) :] != page:
        raise Flaw(f"pages of shape {page} do not make an image of shape {shape}")
    pages = _taken(series, len(series), missing is not None)
    return _looked_up(tif, axes, shape, page, dtype, pages, missing)


def chain(tif: TiffFile, missing: list[int] | None = None) -> Layout:
    """Find all pages of an open file in their order, whatever a header says of them.

    Parameters
    ----------
    tif : tifffile.TiffFile
        Open.
    missing : list of int, optional
        As of `survey`.

    Returns
    -------
    Layout
        Its first axis is I: the pages.

    Raises
    ------
    Flaw
        Pages of unlike size or kind, or some that are not whole.
    """
    tif.pages.useframes = True
    tif.pages.set_keyframe(0)
    first = tif.pages.first
    pages = _taken(tif.pages, len(tif.pages), missing is not None)
    page = tuple(int(n) for n in first.shape)
    if not math.prod(page) or first.dtype is None:
        raise Flaw("its first page holds no pixels")
    check_page(first, tif.filehandle.size)
    shape = (len(pages), *page)
    return _looked_up(tif, "I" + first.axes, shape, page, _dtype(first.dtype), pages, missing)


def _taken(pages: Any, count: int, torn: bool) -> list[Any]:
    """Return pages, of a torn file as far as they can be read."""
    readable = []
    try:
        for i in range(count):
            readable.append(pages[i])
    except _READ_ERRORS:
        if not torn:
            raise
    return readable + [None] * (count - len(readable))


def _dtype(stored: np.dtype) -> np.dtype:
    if stored.kind not in "uifb" or stored.itemsize > 8:
        raise Flaw(f"pixels are {stored}; expected integers or floats")
    return np.dtype("u1") if stored.kind == "b" else stored.newbyteorder("=")


def _looked_up(
    tif: TiffFile,
    axes: str,
    shape: tuple[int, ...],
    page: tuple[int, ...],
    dtype: np.dtype,
    pages: list[Any],
    missing: list[int] | None,
) -> Layout:
    """Return the layout of pages that must be looked up one by one."""
    count = math.prod(shape) // math.prod(page)
    if len(pages) > count or count > MOST_PLANES:
        raise Flaw(f"{len(pages)} planes found, {count} expected; fetch or export it again")
    pages = pages + [None] * (count - len(pages))
    if missing is None:
        if None in pages:
            whole_planes = count - pages.count(None)
            raise Flaw(f"{whole_planes} planes found, {count} expected; fetch or export it again")
        check_page(pages[-1], tif.filehandle.size)
    else:
        missing += [i for i, entry in enumerate(pages) if not is_whole(entry, tif.filehandle.size)]
    positions = np.array([-1 if entry is None else entry.offset for entry in pages], np.int64)
    return Layout(axes, shape, dtype, len(page), "", None, positions.tobytes())


def read_pages(tif: TiffFile, layout: Layout, numbers: Iterable[int]) -> Iterator[np.ndarray]:
    """Read and decode some pages.

    Parameters
    ----------
    tif : tifffile.TiffFile
        Open.
    layout : Layout
        Of this file.
    numbers : iterable of int
        Which pages, counted in C order of ``layout.outer``.

    Yields
    ------
    numpy.ndarray
        One page, of ``layout.page`` and ``layout.dtype``.
    """
    handle, notes = tif.filehandle, ledger.current()
    if layout.offset is not None:
        stored = np.dtype(layout.stored)
        for number in numbers:
            handle.seek(layout.offset + number * layout.page_bytes)
            data = handle.read(layout.page_bytes)
            if len(data) != layout.page_bytes:
                raise Flaw(f"truncated in plane {number}; fetch or export it again")
            if notes is not None:
                notes.chunk(handle.path, layout.offset + number * layout.page_bytes, data)
            yield np.frombuffer(data, stored).astype(layout.dtype).reshape(layout.page)
        return
    positions = np.frombuffer(layout.pages, np.int64)
    for number in numbers:
        handle.seek(int(positions[number]))
        page = TiffPage(tif, number)
        if tuple(page.shape) != layout.page:
            raise Flaw(f"page {number} has shape {tuple(page.shape)}; expected {layout.page}")
        check_page(page, handle.size)
        if notes is not None and notes.takes(handle.path):
            _note(notes, handle, page)
        yield page.asarray(maxworkers=1).astype(layout.dtype, copy=False).reshape(layout.page)


def _note(notes: ledger.Ledger, handle: Any, page: TiffPage) -> None:
    """Note the stored bytes of a page."""
    for start, length in zip(page.dataoffsets, page.databytecounts, strict=True):
        handle.seek(start)
        notes.chunk(handle.path, start, handle.read(length))


def loose_pages(tif: TiffFile) -> list[TiffPage]:
    """Return the pages of an open file, planes of one kind of number but of any size.

    Raises
    ------
    Flaw
        A page that is no plane or of another dtype, or whose bytes are not all there.
    """
    pages = [page.aspage() for page in tif.pages]
    for page in pages:
        if page.dtype is None or page.dtype.kind not in "uif" or page.dtype != pages[0].dtype:
            raise Flaw(f"page {page.index} is {page.dtype}; expected one kind of number")
        if len(page.shape) != 2 or not math.prod(page.shape):
            raise Flaw(f"page {page.index} has shape {tuple(page.shape)}; expected a plane")
        check_page(page, tif.filehandle.size)
    return pages


def _series(tif: TiffFile, number: int | None) -> Any:
    images = tif.series
    if tif.is_ome and any(image.kind != "ome" for image in images):
        raise Flaw(
            "its OME header spreads the planes over several files; the reader tiff takes those "
            "that are here"
        )
    if number is None and len(images) > 1:
        listed = ", ".join(
            f"{i}: {image.axes} {tuple(image.shape)}" for i, image in enumerate(images)
        )
        kind = "images inside" if tif.is_ome else "unlike sizes of pages"
        raise Flaw(f"{len(images)} {kind}; choose one with series=. Found {listed[:300]}")
    if not 0 <= (number or 0) < len(images):
        raise Flaw(f"no image {number or 0}; it holds {len(images)}")
    return images[number or 0]
