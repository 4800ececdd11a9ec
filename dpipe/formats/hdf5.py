"""HDF5 of unknown origin: never leave the file, decode chunks within the size they promise.

Knows HDF5 groups, attributes, filters and chunks. Knows nothing of Imaris beyond the error it
raises: how the groups are named and what the attributes mean stands in ``imaris.py``.

Two things differ from plain h5py. Nothing here follows an external or user-defined link, nor reads
a dataset whose bytes lie in other files (external storage, virtual datasets): a file could name
any path of this machine that way. Soft links lead from one place to another of the same file and
are followed step by step, so that none of these steps leaves it either. And chunks whose filters
are deflate, LZ4 and shuffle are fetched as they lie and decoded by imagecodecs into a buffer of
exactly the size of a chunk, which is about three times as fast as the HDF5 library and cannot be
made to fill the memory.
"""

import itertools
import math
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO

import h5py
import hdf5plugin  # noqa: F401  registers the filters of HDF5, among them LZ4
import imagecodecs
import numpy as np

from dpipe import ledger
from dpipe.errors import DpipeError, ImarisError, StoreError

Box = tuple[slice, ...]

_DEFLATE, _SHUFFLE, _LZ4 = h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, 32004
_LARGEST_ATTRIBUTE = 1 << 20
_LARGEST_CHUNK = 1 << 30
_MOST_LINKS = 32
_READ_ERRORS = (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError)


class Flaw(Exception):
    """What is wrong with the open file; `open_hdf5` turns it into one line with the file's name."""


@contextmanager
def open_hdf5(file: str | BinaryIO, name: str) -> Iterator[h5py.File]:
    """Open for reading, without a chunk cache (HDF5 keeps 8 MiB a dataset) and without a lock.

    Inside the ``with``, whatever h5py or imagecodecs raise becomes one line: `ImarisError` for
    a bad file, `StoreError` where what lies below HDF5 (disk, network, permissions) failed.
    """
    try:
        with _opened(file) as handle:
            yield handle
    except DpipeError:
        raise
    except Flaw as flaw:
        raise ImarisError(f"{name}: {flaw}") from None
    except (FileNotFoundError, IsADirectoryError):
        raise ImarisError(f"{name}: no such file") from None
    except _READ_ERRORS as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        # HDF5's own complaints are bare OSErrors without errno; all others come from below it
        if isinstance(error, OSError) and (type(error) is not OSError or error.errno is not None):
            raise StoreError(f"{name}: cannot be read: {reason}") from error
        raise ImarisError(f"{name}: {_diagnosis(reason)}") from error


def _opened(file: str | BinaryIO) -> h5py.File:
    try:
        return h5py.File(file, "r", rdcc_nbytes=0, locking=False)
    except OSError as error:
        if "locking flag" not in str(error):
            raise
        # someone in this process has it open with locks, and HDF5 wants both alike
        return h5py.File(file, "r", rdcc_nbytes=0)


def _diagnosis(reason: str) -> str:
    if "signature not found" in reason:
        return "not an HDF5 file; expected an Imaris file (.ims, .h5)"
    if "truncated file" in reason:
        return "truncated, shorter than its header says; fetch or export it again"
    return f"damaged: {reason}; fetch or export it again"


def child(group: h5py.Group | None, key: str, kind: type = h5py.Group) -> Any:
    """Return a member of a group, None where there is none; refuse what leads out of the file."""
    if group is None:
        return None
    member = _followed(group, key, [])
    if member is None or isinstance(member, kind):
        return member
    path = f"{group.name}/{key}".lstrip("/")
    raise Flaw(f"{path} is a {type(member).__name__.lower()}; expected a {kind.__name__.lower()}")


def _followed(group: h5py.Group, key: str, passed: list[str]) -> Any:
    """Return a member of a group, through soft links; those that were passed are counted."""
    name = key.encode(errors="surrogateescape")
    links = group.id.links
    if not links.exists(name):
        return None
    kind = links.get_info(name).type
    if kind == h5py.h5l.TYPE_HARD:
        return group[name]
    path = f"{group.name}/{key}".lstrip("/")
    if kind != h5py.h5l.TYPE_SOFT:
        raise Flaw(f"{path} is a link to another place, which is not followed; export one file")
    passed.append(path)
    if len(passed) > _MOST_LINKS:
        raise Flaw(f"{passed[0]} is a link that leads back to itself; export the file again")
    target = links.get_val(name).decode(errors="surrogateescape")
    place: Any = group.file["/"] if target.startswith("/") else group
    for step in target.split("/"):
        if step in ("", "."):
            continue
        place = _followed(place, step, passed) if isinstance(place, h5py.Group) else None
        if place is None:
            raise Flaw(f"{path} is a link to {target!r}, which is not there; export the file again")
    return place


def numbered(group: h5py.Group, word: str) -> list[int]:
    """Return the numbers n of the members called ``word n``, in numeric order."""
    pattern = re.compile(rf"{re.escape(word)} (0|[1-9]\d{{0,8}})")
    return sorted(int(match[1]) for match in map(pattern.fullmatch, group) if match)


_TEXTS = (h5py.h5t.TypeStringID, h5py.h5t.TypeIntegerID, h5py.h5t.TypeFloatID)


def text(member: h5py.Group | None, key: str) -> str:
    """Return an attribute as text, "" where there is none.

    Imaris writes arrays of single bytes; other writers use strings or numbers.
    """
    name = key.encode()
    if member is None or not h5py.h5a.exists(member.id, name):
        return ""
    attribute = h5py.h5a.open(member.id, name)
    kind = attribute.get_type()
    size = attribute.get_space().get_simple_extent_npoints() * kind.get_size()
    if size > _LARGEST_ATTRIBUTE:
        raise Flaw(f"attribute {key} of {member.name} holds {size} bytes")
    if not size or not isinstance(kind, _TEXTS):
        return ""
    if not isinstance(kind, h5py.h5t.TypeStringID):
        return str(np.asarray(member.attrs[key]).ravel()[0].item())
    if kind.is_variable_str():
        value = np.asarray(member.attrs[key])
    else:  # what h5py does, without looking at everything again
        value = np.empty(attribute.shape, f"S{kind.get_size()}")
        attribute.read(value, kind)
    parts = value.ravel().tolist()
    raw = b"".join(
        part.encode(errors="surrogateescape") if isinstance(part, str) else part for part in parts
    ).split(b"\0", 1)[0]
    try:
        return raw.decode("utf-8").strip()
    except UnicodeDecodeError:
        return raw.decode("latin-1").strip()


def check_volume(dataset: h5py.Dataset) -> None:
    """Refuse a dataset that is no volume of plain numbers inside this very file."""
    where, layout = dataset.name.lstrip("/"), dataset.id.get_create_plist()
    if layout.get_layout() == h5py.h5d.VIRTUAL or layout.get_external_count():
        raise Flaw(f"{where} keeps its pixels in other files, which is refused; export one file")
    if dataset.dtype.kind not in "uif" or dataset.dtype.itemsize > 8:
        raise Flaw(f"{where} holds {dataset.dtype}; expected integers or floats")
    if dataset.ndim != 3:
        raise Flaw(f"{where} has shape {dataset.shape}; expected (z, y, x)")
    if layout.get_layout() == h5py.h5d.CHUNKED:
        size = math.prod(layout.get_chunk()) * dataset.dtype.itemsize
        if size > _LARGEST_CHUNK:
            raise Flaw(f"{where} has chunks of {size} bytes; more than 1 GiB is refused")
    for code in _filters(dataset):
        if not h5py.h5z.filter_avail(code):
            raise Flaw(f"{where} is compressed by HDF5 filter {code}, which is not installed")


def read_box(dataset: h5py.Dataset, box: Box, out: np.ndarray, *, fill: bool = False) -> None:
    """Read a box of a dataset into an array of its size.

    Parameters
    ----------
    dataset : h5py.Dataset
        Checked by `check_volume`.
    box : tuple of slice
        One per dimension, step 1, inside the dataset.
    out : numpy.ndarray
        C-contiguous, of the size of the box and the dataset's kind of number.
    fill : bool
        Whether a chunk that the file does not hold reads as the fill value, as HDF5 would have
        it. Damage to a chunk index looks just like that, so by default it is refused.

    Raises
    ------
    Flaw
        A chunk is not there, cannot be decoded, or decodes to another size than that of a chunk.
    """
    if dataset.chunks is not None and _is_plain(dataset):
        _read_chunks(dataset, box, out, fill)
        return
    if dataset.chunks is not None:
        missing = (corner for corner in _corners(box, dataset.chunks) if _is_hole(dataset, corner))
        hole = next(missing, None)
    else:
        hole = (0, 0, 0) if dataset.id.get_storage_size() == 0 else None
    if hole is not None and not fill:
        raise _missing(dataset, hole)
    note_values(dataset)
    dataset.read_direct(out, box)


def note_values(dataset: h5py.Dataset) -> None:
    """Note all values of a dataset, as they lie in a file on disk, before they are read."""
    notes, path = ledger.current(), dataset.file.filename
    if notes is None or not notes.takes(path):
        return
    places = [(dataset.id.get_offset(), dataset.id.get_storage_size())]
    if dataset.chunks is not None:
        places = []
        dataset.id.chunk_iter(lambda chunk: places.append((chunk.byte_offset, chunk.size)))
    with open(path, "rb", buffering=0) as file:
        for start, length in places:
            if start is not None:  # None: never written, or it lies in the dataset's header
                notes.chunk(path, start, os.pread(file.fileno(), length, start))


def missing_chunks(dataset: h5py.Dataset, size: Sequence[int]) -> int:
    """Count the chunks that the file does not hold, of those that a dataset's true size needs."""
    if dataset.chunks is None:
        return int(dataset.id.get_storage_size() == 0)
    every = math.prod(-(-n // k) for n, k in zip(dataset.shape, dataset.chunks, strict=True))
    if dataset.id.get_num_chunks() == every:
        return 0
    box = tuple(slice(0, n) for n in size)
    return sum(_is_hole(dataset, corner) for corner in _corners(box, dataset.chunks))


def _filters(dataset: h5py.Dataset) -> list[int]:
    layout = dataset.id.get_create_plist()
    return [layout.get_filter(i)[0] for i in range(layout.get_nfilters())]


def _is_plain(dataset: h5py.Dataset) -> bool:
    """Whether elements are as in memory, and the filters none, or [shuffle and] one codec."""
    if dataset.id.get_type() != h5py.h5t.py_create(dataset.dtype):
        return False  # for example 12 of 16 bits: HDF5 converts those
    codes = _filters(dataset)
    return codes[codes[:1] == [_SHUFFLE] :] in ([], [_DEFLATE], [_LZ4])


def _read_chunks(dataset: h5py.Dataset, box: Box, out: np.ndarray, fill: bool) -> None:
    chunk, codes = dataset.chunks, list(enumerate(_filters(dataset)))
    dtype = dataset.dtype  # h5py makes a new one at every look
    size = math.prod(chunk) * dtype.itemsize
    # what does not compress grows by less than this; h5py refuses a stored chunk above it
    stored = np.empty(size + size // 64 + 4096, np.uint8)
    scratch = {code: np.empty(size, np.uint8) for _, code in codes}
    notes = ledger.current()
    path = "" if notes is None else dataset.file.filename
    for corner in _corners(box, chunk):
        inside, target = _overlap(corner, chunk, box)
        stored_chunk = _stored(dataset, corner, stored)
        if stored_chunk is None:
            if not fill:
                raise _missing(dataset, corner)
            out[target] = dataset.fillvalue
            continue
        skipped, data = stored_chunk
        if notes is not None:
            offset = dataset.id.get_chunk_info_by_coord(corner).byte_offset
            notes.chunk(path, offset, data)
        try:
            for i, code in reversed(codes):
                if not skipped >> i & 1:
                    data = _undo(code, data, scratch[code], dtype.itemsize)
        except RuntimeError as error:  # the parent of all that imagecodecs raises
            raise Flaw(f"{_at(dataset, corner)} cannot be decoded ({error})") from error
        if len(data) != size:
            raise Flaw(f"{_at(dataset, corner)} decodes to {len(data)} bytes; expected {size}")
        out[target] = np.frombuffer(data, dtype).reshape(chunk)[inside]


def _missing(dataset: h5py.Dataset, corner: Sequence[int]) -> Flaw:
    return Flaw(
        f"{_at(dataset, corner)} is not in the file; fetch or export it again, or, if it was "
        "never written, give option fill_missing=true"
    )


def _is_hole(dataset: h5py.Dataset, corner: tuple[int, ...]) -> bool:
    return dataset.id.get_chunk_info_by_coord(corner).byte_offset is None


def _at(dataset: h5py.Dataset, corner: Sequence[int]) -> str:
    return f"damaged: {dataset.name.lstrip('/')}: the chunk at {tuple(corner)}"


def _corners(box: Box, chunk: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """First index of every chunk that meets the box."""
    return itertools.product(
        *(range(b.start - b.start % n, b.stop, n) for b, n in zip(box, chunk, strict=True))
    )


def _overlap(corner: Sequence[int], chunk: Sequence[int], box: Box) -> tuple[Box, Box]:
    """Return the part of a chunk that lies in the box: as indices of the chunk, and of the box."""
    inside, target = [], []
    for first, n, b in zip(corner, chunk, box, strict=True):
        low, high = max(first, b.start), min(first + n, b.stop)
        inside.append(slice(low - first, high - first))
        target.append(slice(low - b.start, high - b.start))
    return tuple(inside), tuple(target)


def _stored(
    dataset: h5py.Dataset, corner: tuple[int, ...], buffer: np.ndarray
) -> tuple[int, Any] | None:
    """Return the mask of skipped filters and the bytes of a chunk; None if never written."""
    try:
        return dataset.id.read_direct_chunk(corner, out=buffer)
    except (RuntimeError, OSError):  # OSError: of a dataset without any chunk
        if _is_hole(dataset, corner):
            return None
        raise


def _undo(code: int, data: Any, out: np.ndarray, itemsize: int) -> Any:
    """Undo one filter; the result fills `out`, or is a shorter part of it."""
    if code == _DEFLATE:
        return imagecodecs.deflate_decode(data, out=out)  # type: ignore[arg-type]  # any buffer
    if code == _LZ4:
        # the decoded size stands first: look before the codec believes it
        promised = int.from_bytes(data[:8], "big")
        if promised != len(out):
            raise Flaw(f"damaged: an LZ4 chunk promises {promised} bytes; expected {len(out)}")
        return imagecodecs.lz4h5_decode(data, out=out)  # type: ignore[arg-type]
    if len(data) != len(out) or itemsize == 1:
        return data  # of a wrong size the caller speaks
    planes = np.frombuffer(data, np.uint8).reshape(itemsize, -1)
    words = out.view(f"<u{itemsize}")  # shifting whole words is five times as fast as a transpose
    words[...] = planes[-1]
    for plane in planes[-2::-1]:
        words <<= 8
        words |= plane
    return out
