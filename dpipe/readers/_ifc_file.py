"""One picture in an HDF5 file: ``image (H, W, C)``, maybe ``mask`` and ``label``.

Files as h5py writes them by default, with contiguous arrays, are parsed here, which is five times
as fast as the HDF5 library: superblock 0 to 3, object headers 1 and 2, symbol tables or compact
links, contiguous layouts 3 and 4. Anything else, and anything that looks wrong, is left to h5py,
which has the last word on what is damaged. Links to other places and bytes in other files are not
followed by either.

Knows HDF5 and what these three datasets must be; knows no folders and no other pictures.
"""

import io
import math
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from struct import calcsize, unpack
from struct import error as StructError
from typing import Any, BinaryIO, overload

import h5py
import hdf5plugin  # noqa: F401  registers the filters of HDF5, among them LZ4
import numpy as np

from dpipe.errors import InputError

_PAGE = 4096
_UNDEFINED = 2**64 - 1
_LARGEST = 1 << 30
_MOST_NAMES = 64
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_DATASPACE, _LINK_INFO, _DATATYPE, _EXTERNAL, _LINK, _LAYOUT = 1, 2, 3, 7, 6, 8
_CONTINUED, _SYMBOLS = 16, 17
_IEEE = {  # what stands in a datatype: bit offset, precision, places of exponent and mantissa, bias
    4: bytes.fromhex("00002000 17080017 7f000000"),
    8: bytes.fromhex("00004000 340b0034 ff030000"),
}
_PROBLEMS = (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError)


class _Unlike(Exception):
    """Not of the plain kind; h5py shall look at it."""


_LOST = (_Unlike, StructError, IndexError, OverflowError)


@dataclass(frozen=True, slots=True)
class Facts:
    """What a file says of its picture: sizes, dtypes ("" for no mask) and label (None for none)."""

    height: int
    width: int
    channels: int
    dtype: str
    mask: str = ""
    label: str | None = None


@dataclass(frozen=True, slots=True)
class _Array:
    """A dataset: its shape, dtype, and first byte in the file, -1 where it is not contiguous."""

    shape: tuple[int, ...]
    dtype: np.dtype | None
    start: int


def look(file: BinaryIO) -> Facts:
    """Return the facts of a file.

    Parameters
    ----------
    file : binary file
        Open; of one on disk only some pages are read.

    Returns
    -------
    Facts
        Sizes, dtypes and label; no pixel was looked at.

    Raises
    ------
    InputError
        The file is damaged, or holds something else; the text does not name it.
    """
    data = file.getvalue() if isinstance(file, io.BytesIO) else _Pages(file)
    with suppress(*_LOST):
        found = _members(data, len(data))
        label = _label(data, found["label"]) if "label" in found else None
        return _facts(found.get("image"), found.get("mask"), label)
    with _opened(file.read()) as opened:
        image, mask, held = (_child(opened, name) for name in ("image", "mask", "label"))
        return _facts(image, mask, None if held is None else _text(held[()]))


def planes(data: bytes) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the picture and the mask of a file.

    Parameters
    ----------
    data : bytes
        The whole file.

    Returns
    -------
    tuple of (numpy.ndarray, numpy.ndarray or None)
        Both (height, width, channels); views of `data` where it holds them as they are.

    Raises
    ------
    InputError
        As for `look`, or the pixels cannot be decoded.
    """
    with suppress(*_LOST):
        found = _members(data, len(data))
        _facts(found.get("image"), found.get("mask"), None)
        image = _view(data, found["image"])
        return image, _view(data, found["mask"]) if "mask" in found else None
    with _opened(data) as file:
        held, covered = _child(file, "image"), _child(file, "mask")
        _facts(held, covered, None)
        return _native(held), None if covered is None else _native(covered)


def _facts(image: Any, mask: Any, label: str | None) -> Facts:
    """Check what the datasets say of themselves, whoever read it."""
    if image is None:
        raise InputError("no dataset image (height, width, channels)")
    if image.dtype is None or (mask is not None and mask.dtype is None):
        raise _Unlike
    shape = tuple(int(n) for n in image.shape)
    if len(shape) != 3 or not all(shape):
        raise InputError(f"image of shape {shape}; expected (height, width, channels)")
    if image.dtype.kind not in "uif":
        raise InputError(f"image of {image.dtype}; expected integers or floats")
    if math.prod(shape) * image.dtype.itemsize > _LARGEST:
        raise InputError(f"image of shape {shape}; more than 1 GiB is refused")
    kind = image.dtype.newbyteorder("=").str
    if mask is None:
        return Facts(*shape, kind, "", label)
    if tuple(mask.shape) != shape:
        raise InputError(f"mask of shape {tuple(mask.shape)} beside an image of {shape}")
    if mask.dtype.kind not in "buif":
        raise InputError(f"mask of {mask.dtype}; expected numbers or truth values")
    return Facts(*shape, kind, mask.dtype.newbyteorder("=").str, label)


# --- files as h5py writes them ------------------------------------------------------------------


class _Pages:
    """The bytes of a file on disk, of which only the pages that are asked for are read."""

    def __init__(self, file: BinaryIO) -> None:
        self.number = file.fileno()
        self.size = os.fstat(self.number).st_size
        self.pages: dict[int, bytes] = {}

    def __len__(self) -> int:
        return self.size

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> bytes: ...
    def __getitem__(self, index: int | slice) -> int | bytes:
        first, last = (
            (index, index + 1) if isinstance(index, int) else (index.start or 0, index.stop)
        )
        if not 0 <= first <= last <= first + _PAGE:
            raise _Unlike
        page = first // _PAGE
        if page not in self.pages:  # with the next one: what is asked for may reach into it
            self.pages[page] = os.pread(self.number, 2 * _PAGE, page * _PAGE)
        found = self.pages[page][first - page * _PAGE : last - page * _PAGE]
        return found[0] if isinstance(index, int) else found


Bytes = bytes | _Pages


def _unpack(form: str, data: Bytes, at: int) -> tuple[int, ...]:
    return unpack(form, data[at : at + calcsize(form)])


def _members(data: Bytes, size: int) -> dict[str, _Array]:
    """Return the datasets image, mask and label of the root group."""
    if data[:8] != _SIGNATURE:
        raise _Unlike
    version = data[8]
    if version < 2:
        at = 24 + 4 * version
        if data[13] != 8 or data[14] != 8:
            raise _Unlike
        base, _, end, _, _, root = _unpack("<6Q", data, at)
    else:
        base, _, end, root = _unpack("<4Q", data, 12)
        if version > 3 or data[9] != 8 or data[10] != 8:
            raise _Unlike
    if base or end > size:
        raise _Unlike
    found: dict[str, _Array] = {}
    for name, address in _links(data, root):
        if name in (b"image", b"mask", b"label"):
            found[name.decode()] = _array(data, address, size)
    return found


def _messages(data: Bytes, at: int) -> Iterator[tuple[int, int, int]]:
    """Yield kind, first byte and length of the messages of an object header."""
    if data[at : at + 4] == b"OHDR":
        flags = data[at + 5]
        if data[at + 4] != 2:
            raise _Unlike
        at += 6 + 16 * bool(flags & 32) + 4 * bool(flags & 16)
        width = 1 << (flags & 3)
        length = int.from_bytes(data[at : at + width], "little")
        todo, head = [(at + width, length)], 4 + 2 * bool(flags & 4)
    elif data[at] == 1:
        todo, head, flags = [(at + 16, _unpack("<I", data, at + 8)[0])], 8, 0
    else:
        raise _Unlike
    for start, length in todo:
        place, end = start, start + length
        if end > len(data) or len(todo) > 64:
            raise _Unlike
        while place + head <= end:
            if head == 8:
                kind, size, shared = _unpack("<HHB", data, place)
            else:
                kind, size, shared = _unpack("<BHB", data, place)
            place += head
            if shared & 2 and kind in (_DATASPACE, _DATATYPE, _LAYOUT):
                raise _Unlike
            if kind == _CONTINUED:
                further, n = _unpack("<QQ", data, place)
                todo.append((further, n) if head == 8 else (further + 4, n - 8))
            else:
                yield kind, place, size
            place += size


def _links(data: Bytes, root: int) -> Iterator[tuple[bytes, int]]:
    """Yield name and address of what the root group holds, hard links only."""
    for kind, at, _ in _messages(data, root):
        if kind == _SYMBOLS:
            tree, heap = _unpack("<QQ", data, at)
            (names,) = _unpack("<Q", data, heap + 24)
            yield from _symbols(data, tree, names)
        elif kind == _LINK_INFO:
            creation = 8 * (data[at + 1] & 1)
            if _unpack("<Q", data, at + 2 + creation)[0] != _UNDEFINED:
                raise _Unlike  # so many that they lie elsewhere
        elif kind == _LINK:
            flags, place = data[at + 1], at + 2
            if data[at] != 1 or (flags & 8 and data[place]):
                raise _Unlike
            place += bool(flags & 8) + 8 * bool(flags & 4) + bool(flags & 16)
            width = 1 << (flags & 3)
            length = int.from_bytes(data[place : place + width], "little")
            place += width
            yield data[place : place + length], _unpack("<Q", data, place + length)[0]


def _symbols(data: Bytes, tree: int, names: int) -> Iterator[tuple[bytes, int]]:
    level, used = _unpack("<BH", data, tree + 5)
    if data[tree : tree + 4] != b"TREE" or level or used > _MOST_NAMES:
        raise _Unlike
    for i in range(used):
        (node,) = _unpack("<Q", data, tree + 32 + 16 * i)
        (held,) = _unpack("<H", data, node + 6)
        if data[node : node + 4] != b"SNOD" or held > _MOST_NAMES:
            raise _Unlike
        for k in range(held):
            name, address, cached = _unpack("<QQI", data, node + 8 + 40 * k)
            if cached == 2:
                raise _Unlike  # a soft link
            yield data[names + name : names + name + 16].partition(b"\0")[0], address


def _array(data: Bytes, address: int, size: int) -> _Array:
    shape: tuple[int, ...] | None = None
    dtype, start, length = None, -1, 0
    for kind, at, n in _messages(data, address):
        if kind == _DATASPACE:
            version, rank = data[at], data[at + 1]
            if version not in (1, 2) or rank > 4:
                raise _Unlike
            shape = _unpack(f"<{rank}Q", data, at + (8 if version == 1 else 4))
        elif kind == _DATATYPE:
            dtype = _dtype(data[at : at + min(n, _PAGE)])
        elif kind == _LAYOUT:
            if data[at] not in (3, 4) or data[at + 1] > 2:
                raise _Unlike  # old, or virtual
            if data[at + 1] == 1:
                start, length = _unpack("<QQ", data, at + 2)
        elif kind == _EXTERNAL:
            raise _Unlike
    if shape is None:
        raise _Unlike
    if start >= 0 and dtype is not None:
        wanted = math.prod(shape) * dtype.itemsize
        if start == _UNDEFINED or length < wanted or start + wanted > size:
            raise _Unlike
    return _Array(shape, dtype, start)


def _dtype(said: bytes) -> np.dtype | None:
    """Return a plain little-endian number's dtype, bytes that refer to text, None for others."""
    kind, bits, (size,) = said[0] & 15, said[1], _unpack("<I", said, 4)
    if kind == 0 and not bits & 1 and size in (1, 2, 4, 8):
        if _unpack("<HH", said, 8) == (0, 8 * size):
            return np.dtype(f"<{'i' if bits & 8 else 'u'}{size}")
    elif kind == 1 and not bits & 65 and said[8:20] == _IEEE.get(size):
        return np.dtype(f"<f{size}")
    elif kind == 3:
        return np.dtype(f"S{size}")
    elif kind == 8 and size == 1 and b"FALSE" in said and b"TRUE" in said:
        return np.dtype("?")  # h5py's truth values
    elif kind == 9 and bits & 15 == 1 and size == 16:
        return np.dtype("V16")
    return None


def _view(data: bytes, array: _Array) -> np.ndarray:
    if array.start < 0 or array.dtype is None:
        raise _Unlike
    n = math.prod(array.shape)
    return np.frombuffer(data, array.dtype, n, array.start).reshape(array.shape)


def _label(data: Bytes, array: _Array) -> str:
    """Return a label: one number or text, also of variable length, which lies in a heap."""
    if array.start < 0 or array.dtype is None or math.prod(array.shape) != 1:
        raise _Unlike
    raw = data[array.start : array.start + array.dtype.itemsize]
    if len(raw) < array.dtype.itemsize:
        raise _Unlike
    if array.dtype.kind != "V":
        return _text(np.frombuffer(raw, array.dtype)[0])
    length, heap, number = _unpack("<IQI", raw, 0)
    if data[heap : heap + 4] != b"GCOL" or length > _PAGE:
        raise _Unlike
    at, end = heap + 16, heap + _unpack("<Q", data, heap + 8)[0]
    while at + 16 <= end:
        index, _, _, size = _unpack("<HHIQ", data, at)
        if index == number and at + 16 + length <= len(data):
            return _text(data[at + 16 : at + 16 + length])
        if not index:
            break
        at += 16 + -(-size // 8) * 8
    raise _Unlike


def _text(value: Any) -> str:
    """Return a label as text, whatever it is kept as."""
    if isinstance(value, np.ndarray):
        if value.size != 1:
            raise InputError(f"label of shape {value.shape}; expected one")
        value = value.reshape(-1)[0]
    if isinstance(value, bytes):
        raw = bytes(value).rstrip(b"\0")
        try:
            return raw.decode()
        except UnicodeDecodeError:
            return raw.decode("latin-1")
    return str(value)


# --- all others ---------------------------------------------------------------------------------


class _opened:
    """h5py's view of a file in memory; what it raises becomes an InputError."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.file: h5py.File

    def __enter__(self) -> h5py.File:
        try:
            self.file = h5py.File(io.BytesIO(self.data), "r", rdcc_nbytes=0)
        except _PROBLEMS as error:
            raise InputError(_diagnosis(self.data, error)) from None
        return self.file

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        self.file.close()
        if isinstance(error, _PROBLEMS) and not isinstance(error, InputError):
            raise InputError(_diagnosis(self.data, error)) from None
        if isinstance(error, _Unlike):
            raise InputError("holds numbers of a kind that is not known")


def _diagnosis(data: bytes, error: BaseException) -> str:
    said = " ".join(str(error).split())[:200]
    if not data:
        return "empty: 0 bytes"
    if "signature not found" in said:
        return "not an HDF5 file"
    if "truncated file" in said:
        return "truncated, shorter than its header says"
    return f"damaged: {said}"


def _native(dataset: h5py.Dataset) -> np.ndarray:
    values = dataset[...]
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def _child(file: h5py.File, name: str) -> Any:
    """Return a dataset of the root group that lies in this very file, None where there is none."""
    links = file.id.links
    if not links.exists(name.encode()):
        return None
    if links.get_info(name.encode()).type != h5py.h5l.TYPE_HARD:
        raise InputError(f"{name} is a link to another place, which is not followed")
    found = file[name]
    if not isinstance(found, h5py.Dataset):
        raise InputError(f"{name} is no dataset")
    layout = found.id.get_create_plist()
    if layout.get_layout() == h5py.h5d.VIRTUAL or layout.get_external_count():
        raise InputError(f"{name} keeps its values in other files, which is refused")
    if found.id.get_space().get_simple_extent_npoints() * found.dtype.itemsize > _LARGEST:
        raise InputError(f"{name} of shape {found.shape}; more than 1 GiB is refused")
    if layout.get_layout() == h5py.h5d.CHUNKED:
        chunk = math.prod(layout.get_chunk()) * found.dtype.itemsize
        if chunk > _LARGEST:
            raise InputError(f"{name} has chunks of {chunk} bytes; more than 1 GiB is refused")
    return found
