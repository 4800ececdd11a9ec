"""Run lengths of masks as COCO has them: columns one after another, the first run outside.

In JSON they are a list of numbers, or a text of six bits a character: five of a number and one
that tells whether more follow, the sign in the last of them; from the fourth number on each is the
difference from the number two before it. Facts from the specification and pycocotools' output.
"""

import numba
import numpy as np

from dpipe.errors import InputError

_FIRST, _LAST = 48, 48 + 63
_MORE, _SIGN, _BITS = 0x20, 0x10, 5
_LONGEST = 13
"""Characters of one number: 64 bits."""


def decode(text: str) -> np.ndarray:
    """Return the run lengths that a text stands for.

    Parameters
    ----------
    text : str
        ``counts`` of a compressed RLE.

    Returns
    -------
    numpy.ndarray
        uint32, outside and inside by turns.

    Raises
    ------
    InputError
        A character that does not belong there, a number cut off, or one below 0.

    Examples
    --------
    >>> decode("52203").tolist()
    [5, 2, 2, 2, 5]
    """
    data = np.frombuffer(text.encode("latin-1", "replace"), np.uint8)
    if data.size and not (data.min() >= _FIRST and data.max() <= _LAST):
        raise InputError("compressed RLE: a character that does not belong there")
    runs, ok = _decode(data)
    if not ok:
        raise InputError("compressed RLE: a number is cut off, too large or below 0")
    return runs


def encode(runs: np.ndarray) -> str:
    """Return run lengths as the text of a compressed RLE.

    Examples
    --------
    >>> encode(np.array([5, 2, 2, 2, 5]))
    '52203'
    """
    return bytes(_encode(np.asarray(runs, np.int64))).decode("ascii")


@numba.njit(cache=True, nogil=True)
def _decode(data: np.ndarray) -> tuple[np.ndarray, bool]:
    runs = np.empty(data.size, np.uint32)
    count, at = 0, 0
    before = np.zeros(3, np.int64)
    while at < data.size:
        value, shift, more = np.int64(0), 0, True
        while more:
            if at == data.size or shift >= _BITS * _LONGEST:
                return runs[:count], False
            bits = np.int64(data[at]) - _FIRST
            value |= (bits & 0x1F) << shift
            more = bits & _MORE != 0
            shift += _BITS
            at += 1
            if not more and bits & _SIGN and shift < 64:
                value |= np.int64(-1) << shift
        if count > 2:
            value += before[1]
        if value < 0 or value > 0xFFFFFFFF:
            return runs[:count], False
        before[2], before[1], before[0] = before[1], before[0], value
        runs[count] = value
        count += 1
    return runs[:count], True


@numba.njit(cache=True, nogil=True)
def _encode(runs: np.ndarray) -> np.ndarray:
    out = np.empty(runs.size * _LONGEST, np.uint8)
    size = 0
    for i in range(runs.size):
        value = runs[i] - runs[i - 2] if i > 2 else runs[i]
        more = True
        while more:
            bits = value & 0x1F
            value >>= _BITS
            more = value != -1 if bits & _SIGN else value != 0
            out[size] = (bits | (_MORE if more else 0)) + _FIRST
            size += 1
    return out[:size]
