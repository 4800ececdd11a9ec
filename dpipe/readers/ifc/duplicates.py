"""What a census of millions of pictures looks at: which are the same, and what masks are odd.

It knows one file and no names.
"""

import hashlib
import io
import math
import os
from contextlib import suppress
from typing import BinaryIO

import numpy as np

from dpipe.formats.hdf5_layout import LOST, Array, Unlike, members
from dpipe.readers.ifc.picture_file import arrays

_SAMPLE = 4096


def content(file: BinaryIO) -> tuple[int, bool]:
    """Tell pictures of the same pixels, and those whose mask has several values besides 0.

    Parameters
    ----------
    file : binary file
        Open; of one on disk mostly only some pages are read.

    Returns
    -------
    tuple of (int, bool)
        A hash, of 64 bits, of the picture's shape and dtype and of 4 KiB from its middle; its mask
        and label, and how the file keeps it, make no difference. 0 if these pixels are all alike,
        as they are in many pictures that have nothing else in common. And whether its mask has
        several values besides 0.

    Raises
    ------
    InputError
        The file is damaged, or holds something else.
    """
    if not isinstance(file, io.BytesIO):
        number = file.fileno()
        with suppress(*LOST, KeyError):
            datasets = members(os.pread(number, _SAMPLE, 0), os.fstat(number).st_size)
            image, several = datasets["image"], _several(_raw(number, datasets.get("mask")))
            if image.start < 0 or image.dtype is None or image.dtype.kind not in "uif":
                raise Unlike
            first, last = _middle(math.prod(image.shape), image.dtype.itemsize)
            sample = os.pread(number, last - first, image.start + first)
            if len(sample) < last - first:
                raise Unlike
            return _hash((*image.shape, 1)[:3], image.dtype, sample), several
    values, mask = arrays(file.read())
    first, last = _middle(values.size, values.itemsize)
    raw = np.ascontiguousarray(values).reshape(-1)[first // values.itemsize :]
    sample = raw[: (last - first) // values.itemsize].tobytes()
    return _hash(values.shape, values.dtype, sample), _several(mask)


def _raw(number: int, mask: Array | None) -> np.ndarray | None:
    """Return the values of a mask that lies in one piece; of any other the whole file is read."""
    if mask is None:
        return None
    if mask.start < 0 or mask.dtype is None or mask.dtype.kind not in "uib":
        raise Unlike
    length = math.prod(mask.shape) * mask.dtype.itemsize
    data = os.pread(number, length, mask.start)
    if len(data) < length:
        raise Unlike
    return np.frombuffer(data, mask.dtype)


def _several(mask: np.ndarray | None) -> bool:
    """Tell whether there are several values besides 0."""
    if mask is None or not mask.size:
        return False
    value = mask.max() or mask.min()
    return bool(((mask != value) & (mask != 0)).any())  # NaN is unlike all, itself too


def _middle(count: int, size: int) -> tuple[int, int]:
    """Return first and last byte of what is looked at of so many values."""
    length = min(count, _SAMPLE // size)
    first = (count - length) // 2
    return first * size, (first + length) * size


def _hash(shape: tuple[int, ...], dtype: np.dtype, sample: bytes) -> int:
    values = np.frombuffer(sample, dtype)
    if not len(values) or (values == values[0]).all():
        return 0
    digest = hashlib.blake2b(sample, digest_size=8, key=f"{shape} {dtype.str}".encode()[:64])
    return int.from_bytes(digest.digest(), "big")
