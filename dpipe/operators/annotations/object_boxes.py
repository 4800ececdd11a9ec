"""Objects of a label image, found in one pass and cut out: each becomes a packed picture.

What comes out lies as `dpipe.schema.collections` says, so the kernels of ``cell-features`` take it.
"""

import numba
import numpy as np


@numba.njit(cache=True, nogil=True)
def ranks(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of a label image in rising order, and which of them each pixel has.

    Parameters
    ----------
    labels : numpy.ndarray, shape (n,)
        Whole numbers, 0 outside objects.

    Returns
    -------
    tuple of (numpy.ndarray, numpy.ndarray)
        int64, and int32 of shape (n,), -1 outside.
    """
    largest = np.int64(0)
    for i in range(labels.size):
        largest = max(largest, np.int64(labels[i]))
    which = np.full(labels.size, -1, np.int32)
    if largest <= 4 * labels.size + 1024:  # numbers close together: a table of them
        seen = np.zeros(largest + 1, np.bool_)
        for i in range(labels.size):
            seen[labels[i]] = True
        seen[0] = False
        numbers = np.flatnonzero(seen)
        place = np.zeros(largest + 1, np.int32)
        for k in range(numbers.size):
            place[numbers[k]] = k
        for i in range(labels.size):
            if labels[i]:
                which[i] = place[labels[i]]
        return numbers, which
    found = np.unique(labels)  # colours
    numbers = found[found > 0].astype(np.int64)
    last, rank = np.int64(0), np.int32(-1)
    for i in range(labels.size):
        if labels[i]:
            if labels[i] != last:
                last = np.int64(labels[i])
                rank = np.int32(np.searchsorted(numbers, last))
            which[i] = rank
    return numbers, which


@numba.njit(cache=True, nogil=True)
def boxes(which: np.ndarray, count: int, height: int, width: int) -> np.ndarray:
    """Return first row, last + 1, first column, last + 1 of each object.

    Parameters
    ----------
    which : numpy.ndarray, shape (height * width,)
        Object of each pixel, -1 outside.
    count : int
        Number of objects.
    height, width : int
        Of the picture.

    Returns
    -------
    numpy.ndarray, shape (count, 4)
        int64.
    """
    box = np.empty((count, 4), np.int64)
    box[:, 0], box[:, 1], box[:, 2], box[:, 3] = height, 0, width, 0
    for y in range(height):
        for x in range(width):
            k = which[y * width + x]
            if k >= 0:
                box[k, 0] = min(box[k, 0], y)
                box[k, 1] = y + 1
                box[k, 2] = min(box[k, 2], x)
                box[k, 3] = max(box[k, 3], x + 1)
    return box


@numba.njit(cache=True, nogil=True)
def cut_out(
    which: np.ndarray, plane: np.ndarray, width: int, box: np.ndarray, offsets: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return pixels and masks inside the boxes, one object after another.

    Parameters
    ----------
    which : numpy.ndarray, shape (height * width,)
        Object of each pixel.
    plane : numpy.ndarray, shape (height * width,)
        One channel.
    width : int
        Of the picture.
    box : numpy.ndarray, shape (n, 4)
        As `boxes` gives them.
    offsets : numpy.ndarray, shape (n + 1,)
        Where each begins.

    Returns
    -------
    tuple of (numpy.ndarray, numpy.ndarray)
        Pixels, and mask codes of one bit.
    """
    pixels = np.empty(offsets[-1], plane.dtype)
    codes = np.empty(offsets[-1], np.uint8)
    for k in range(box.shape[0]):
        place = offsets[k]
        for y in range(box[k, 0], box[k, 1]):
            for x in range(box[k, 2], box[k, 3]):
                at = y * width + x
                pixels[place] = plane[at]
                codes[place] = which[at] == k
                place += 1
    return pixels, codes
