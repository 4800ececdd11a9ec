"""Which pictures are the same, told by a few of their pixels: for a census of millions of files.

A private neighbour of ``ifc``; it knows one file and no names.
"""

import hashlib
import io
import math
import os
from contextlib import suppress
from typing import BinaryIO

import numpy as np

from dpipe.readers._ifc_file import pixels
from dpipe.readers._ifc_layout import LOST, Unlike, members

_SAMPLE = 4096


def content(file: BinaryIO) -> int:
    """Return a number of 64 bits that pictures of the same pixels share, and hardly any others.

    Parameters
    ----------
    file : binary file
        Open; of one on disk mostly only some pages are read.

    Returns
    -------
    int
        A hash of the picture's shape and dtype and of 4 KiB from its middle; its mask and label,
        and how the file keeps it, make no difference. 0 if these pixels are all alike, as they
        are in many pictures that have nothing else in common.

    Raises
    ------
    InputError
        The file is damaged, or holds something else.
    """
    if not isinstance(file, io.BytesIO):
        number = file.fileno()
        with suppress(*LOST, KeyError):
            image = members(os.pread(number, _SAMPLE, 0), os.fstat(number).st_size)["image"]
            if image.start < 0 or image.dtype is None or image.dtype.kind not in "uif":
                raise Unlike
            first, last = _middle(math.prod(image.shape), image.dtype.itemsize)
            sample = os.pread(number, last - first, image.start + first)
            if len(sample) < last - first:
                raise Unlike
            return _hash((*image.shape, 1)[:3], image.dtype, sample)
    values = pixels(file.read())
    first, last = _middle(values.size, values.itemsize)
    raw = np.ascontiguousarray(values).reshape(-1)[first // values.itemsize :]
    return _hash(values.shape, values.dtype, raw[: (last - first) // values.itemsize].tobytes())


def _middle(count: int, size: int) -> tuple[int, int]:
    """Return first and last byte of what is looked at of so many values."""
    wanted = min(count, _SAMPLE // size)
    first = (count - wanted) // 2
    return first * size, (first + wanted) * size


def _hash(shape: tuple[int, ...], dtype: np.dtype, sample: bytes) -> int:
    values = np.frombuffer(sample, dtype)
    if not len(values) or (values == values[0]).all():
        return 0
    told = hashlib.blake2b(sample, digest_size=8, key=f"{shape} {dtype.str}".encode()[:64])
    return int.from_bytes(told.digest(), "big")
