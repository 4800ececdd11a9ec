"""HDF5 files as h5py writes them by default, without the HDF5 library: where the bytes lie.

Superblock 0 to 3, object headers 1 and 2, symbol tables or compact links, contiguous layouts 3 and
4. Anything else, and anything that looks wrong, is `Unlike`, and left to the library. Links to
other places and bytes in other files are not followed.

It knows HDF5 and what three datasets are called.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from struct import error as StructError
from struct import unpack_from
from typing import Any

import numpy as np

_HEAP = 4096
_LONGEST_TEXT = 1 << 16
"""Bytes of a heap of texts, unless there are more."""
_UNDEFINED = 2**64 - 1
_MOST_NAMES = 64
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
NAMES = {name: (name, f"{name}s") for name in ("image", "mask", "label")}
"""What is looked for, by either of two names."""
_WANTED = {name.encode(): key for key, names in NAMES.items() for name in names}
_DATASPACE, _LINK_INFO, _DATATYPE, _EXTERNAL, _LINK, _LAYOUT = 1, 2, 3, 7, 6, 8
_CONTINUED, _SYMBOLS = 16, 17
_IEEE = {  # what stands in a datatype: bit offset, precision, places of exponent and mantissa, bias
    4: bytes.fromhex("00002000 17080017 7f000000"),
    8: bytes.fromhex("00004000 340b0034 ff030000"),
}


class Unlike(Exception):
    """Not of the plain kind; h5py shall look at it."""


LOST = (Unlike, StructError, IndexError, OverflowError)


@dataclass(frozen=True, slots=True)
class Array:
    """A dataset: its shape, dtype, and first byte in the file, -1 where it is not contiguous."""

    shape: tuple[int, ...]
    dtype: np.dtype | None
    start: int


def members(data: bytes, size: int) -> dict[str, Array]:
    """Return the datasets image, mask and label of the root group, which `NAMES` names.

    Parameters
    ----------
    data : bytes
        The file, or so much of its beginning as may hold all headers.
    size : int
        Bytes of the file.

    Raises
    ------
    Unlike, or another of LOST
        No image is there, two of one kind, or one of another layout.
    """
    if data[:8] != _SIGNATURE:
        raise Unlike
    version = data[8]
    if version < 2:
        position = 24 + 4 * version
        if data[13] != 8 or data[14] != 8:
            raise Unlike
        base, _, end, _, _, root = unpack_from("<6Q", data, position)
    else:
        base, _, end, root = unpack_from("<4Q", data, 12)
        if version > 3 or data[9] != 8 or data[10] != 8:
            raise Unlike
    if base or end > size:
        raise Unlike
    datasets: dict[str, Array] = {}
    for name, address in _links(data, root):
        if key := _WANTED.get(name):
            if key in datasets:
                raise Unlike
            datasets[key] = _array(data, address, size)
    if "image" not in datasets:
        raise Unlike
    return datasets


def _messages(data: bytes, position: int) -> Iterator[tuple[int, int, int]]:
    """Yield kind, first byte and length of the messages of an object header."""
    if data[position : position + 4] == b"OHDR":
        flags = data[position + 5]
        if data[position + 4] != 2:
            raise Unlike
        position += 6 + 16 * bool(flags & 32) + 4 * bool(flags & 16)
        width = 1 << (flags & 3)
        length = int.from_bytes(data[position : position + width], "little")
        todo, head = [(position + width, length)], 4 + 2 * bool(flags & 4)
    elif data[position] == 1:
        todo, head, flags = [(position + 16, unpack_from("<I", data, position + 8)[0])], 8, 0
    else:
        raise Unlike
    for start, length in todo:
        place, end = start, start + length
        if end > len(data) or len(todo) > 64:
            raise Unlike
        while place + head <= end:
            if head == 8:
                kind, size, shared = unpack_from("<HHB", data, place)
            else:
                kind, size, shared = unpack_from("<BHB", data, place)
            place += head
            if shared & 2 and kind in (_DATASPACE, _DATATYPE, _LAYOUT):
                raise Unlike
            if kind == _CONTINUED:
                further, n = unpack_from("<QQ", data, place)
                todo.append((further, n) if head == 8 else (further + 4, n - 8))
            else:
                yield kind, place, size
            place += size


def _links(data: bytes, root: int) -> Iterator[tuple[bytes, int]]:
    """Yield name and address of what the root group holds, hard links only."""
    for kind, position, _ in _messages(data, root):
        if kind == _SYMBOLS:
            tree, heap = unpack_from("<QQ", data, position)
            (names,) = unpack_from("<Q", data, heap + 24)
            yield from _symbols(data, tree, names)
        elif kind == _LINK_INFO:
            creation = 8 * (data[position + 1] & 1)
            if unpack_from("<Q", data, position + 2 + creation)[0] != _UNDEFINED:
                raise Unlike  # so many that they lie elsewhere
        elif kind == _LINK:
            flags, place = data[position + 1], position + 2
            if data[position] != 1 or (flags & 8 and data[place]):
                raise Unlike
            place += bool(flags & 8) + 8 * bool(flags & 4) + bool(flags & 16)
            width = 1 << (flags & 3)
            length = int.from_bytes(data[place : place + width], "little")
            place += width
            yield data[place : place + length], unpack_from("<Q", data, place + length)[0]


def _symbols(data: bytes, tree: int, names: int) -> Iterator[tuple[bytes, int]]:
    level, used = unpack_from("<BH", data, tree + 5)
    if data[tree : tree + 4] != b"TREE" or level or used > _MOST_NAMES:
        raise Unlike
    for i in range(used):
        (node,) = unpack_from("<Q", data, tree + 32 + 16 * i)
        (count,) = unpack_from("<H", data, node + 6)
        if data[node : node + 4] != b"SNOD" or count > _MOST_NAMES:
            raise Unlike
        for k in range(count):
            name, address, cached = unpack_from("<QQI", data, node + 8 + 40 * k)
            if cached == 2 or names + name + 16 > len(data):
                raise Unlike  # a soft link, or beyond what is known
            yield data[names + name : names + name + 16].partition(b"\0")[0], address


def _array(data: bytes, address: int, size: int) -> Array:
    shape: tuple[int, ...] | None = None
    dtype, start, length = None, -1, 0
    for kind, position, n in _messages(data, address):
        if kind == _DATASPACE:
            version, rank = data[position], data[position + 1]
            if version not in (1, 2) or rank > 4:
                raise Unlike
            shape = unpack_from(f"<{rank}Q", data, position + (8 if version == 1 else 4))
        elif kind == _DATATYPE:
            dtype = _dtype(data[position : position + min(n, 4096)])
        elif kind == _LAYOUT:
            if data[position] not in (3, 4) or data[position + 1] > 2:
                raise Unlike  # old, or virtual
            if data[position + 1] == 1:
                start, length = unpack_from("<QQ", data, position + 2)
        elif kind == _EXTERNAL:
            raise Unlike
    if shape is None:
        raise Unlike
    if start >= 0 and dtype is not None:
        expected = math.prod(shape) * dtype.itemsize
        if start == _UNDEFINED or length < expected or start + expected > size:
            raise Unlike
    return Array(shape, dtype, start)


@lru_cache(maxsize=64)
def _dtype(message: bytes) -> np.dtype | None:
    """Return a plain little-endian number's dtype, bytes that refer to text, None for others."""
    kind, bits, (size,) = message[0] & 15, message[1], unpack_from("<I", message, 4)
    if kind == 0 and not bits & 1 and size in (1, 2, 4, 8):
        if unpack_from("<HH", message, 8) == (0, 8 * size):
            return np.dtype(f"<{'i' if bits & 8 else 'u'}{size}")
    elif kind == 1 and not bits & 65 and message[8:20] == _IEEE.get(size):
        return np.dtype(f"<f{size}")
    elif kind == 3 and 0 < size <= _LONGEST_TEXT:
        return np.dtype(f"S{size}")
    elif kind == 8 and size == 1 and b"FALSE" in message and b"TRUE" in message:
        return np.dtype("?")  # h5py's truth values
    elif kind == 9 and bits & 15 == 1 and size == 16:
        return np.dtype("V16")
    return None


def view(data: bytes, array: Array) -> np.ndarray:
    """Return the values of an array, in the bytes of its file."""
    if array.start < 0 or array.dtype is None:
        raise Unlike
    n = math.prod(array.shape)
    return np.frombuffer(data, array.dtype, n, array.start).reshape(array.shape)


def label_of(read: Callable[[int, int], bytes], array: Array) -> Any:
    """Return one number or bytes of text, also of variable length, which lie in a heap.

    ``read(at, n)`` returns n bytes of the file, fewer at its end.
    """
    if array.start < 0 or array.dtype is None or math.prod(array.shape) != 1:
        raise Unlike
    raw = read(array.start, array.dtype.itemsize)
    if len(raw) < array.dtype.itemsize:
        raise Unlike
    if array.dtype.kind != "V":
        return np.frombuffer(raw, array.dtype)[0]
    length, start, number = unpack_from("<IQI", raw)
    heap = read(start, _HEAP)
    if heap[:4] != b"GCOL" or length > _HEAP:
        raise Unlike
    position, end = 16, unpack_from("<Q", heap, 8)[0]
    while position + 16 <= end:
        index, _, _, size = unpack_from("<HHIQ", heap, position)
        if index == number and position + 16 + length <= len(heap):
            return heap[position + 16 : position + 16 + length]
        if not index:
            break
        position += 16 + -(-size // 8) * 8
    raise Unlike
