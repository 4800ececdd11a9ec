"""Convex hull and largest diameter of the mask of each channel; host only, with numba.

It works on packed pictures (``_cell_pictures.py`` says how they lie). Only the ends of rows
matter: the middles of the edges of their pixels, in half pixels, so that all is whole numbers.

References
----------
A. M. Andrew, Information Processing Letters 9 (1979) 216-219 (monotone chain).
"""

import math

import numba
import numpy as np

_NONE = 1 << 40


@numba.njit(nogil=True, cache=True)
def hulls(
    codes: np.ndarray,
    offset: np.ndarray,
    height: np.ndarray,
    width: np.ndarray,
    box: np.ndarray,
    out: np.ndarray,
) -> None:  # pragma: no cover
    """Write the pixels in the hull and their diameter of each channel; nothing without a mask."""
    tall = max(1, height.max())
    left, right = np.empty(tall, np.int64), np.empty(tall, np.int64)
    for r in range(offset.size):
        w = np.int64(width[r])
        for c in range(box.shape[1]):
            y0, y1, x0, x1 = box[r, c]
            for y in range(y0, y1):
                row, first, last = offset[r] + y * w, x0, x1 - 1
                while first < x1 and not (codes[row + first] >> c) & 1:
                    first += 1
                while last >= first and not (codes[row + last] >> c) & 1:
                    last -= 1
                left[y - y0], right[y - y0] = first, last
            if y1 > 0:
                out[r, c] = _hull(left, right, y1 - y0)


@numba.njit(nogil=True, cache=True)
def _chain(reach: np.ndarray, rows: int, sign: int, bends: np.ndarray) -> int:  # pragma: no cover
    """List the rows where the hull of the points (row, reach) bends; rows without one are none."""
    count = 0
    for y in range(rows):
        if abs(reach[y]) == _NONE:
            continue
        while count > 1:
            a, b = bends[count - 2], bends[count - 1]
            turn = (reach[b] - reach[a]) * (y - a) - (reach[y] - reach[a]) * (b - a)
            if turn * sign < 0:
                break
            count -= 1
        bends[count] = y
        count += 1
    return count


@numba.njit(nogil=True, cache=True)
def _reaches(
    left: np.ndarray, right: np.ndarray, bh: int, low: np.ndarray, high: np.ndarray
) -> None:  # pragma: no cover
    """Reach, in half pixels, of the middles of the pixels' edges; row 2 y + 1 is pixel row y."""
    low[:] = _NONE
    high[:] = -_NONE
    for y in range(bh):
        if right[y] < left[y]:
            continue
        a, b = 2 * left[y], 2 * right[y]
        low[2 * y + 1], high[2 * y + 1] = a - 1, b + 1
        for beside in (2 * y, 2 * y + 2):
            low[beside], high[beside] = min(low[beside], a), max(high[beside], b)


@numba.njit(nogil=True, cache=True)
def _hull(left: np.ndarray, right: np.ndarray, bh: int) -> tuple[float, float]:  # pragma: no cover
    """Return the number of pixels whose centres lie in the hull or on it, and its diameter.

    The diameter is that of the pixels just counted, again with the middles of their edges.
    """
    rows = 2 * bh + 1
    reach = np.empty((2, rows), np.int64)
    bends = np.empty((2, rows), np.int64)
    ends = np.empty((2, bh), np.int64)
    _reaches(left, right, bh, reach[0], reach[1])
    for side in range(2):
        count = _chain(reach[side], rows, 1 - 2 * side, bends[side])
        k = 0
        for y in range(bh):
            row = 2 * y + 1
            while k < count - 2 and bends[side, k + 1] < row:
                k += 1
            a, b = bends[side, k], bends[side, k + 1]
            apart, start = b - a, reach[side, a]
            place = start * apart + (reach[side, b] - start) * (row - a)
            ends[side, y] = place // (2 * apart) if side else -((-place) // (2 * apart))
    area = 0
    for y in range(bh):
        area += max(0, ends[1, y] - ends[0, y] + 1)
    _reaches(ends[0], ends[1], bh, reach[0], reach[1])
    counts = _chain(reach[0], rows, 1, bends[0]), _chain(reach[1], rows, -1, bends[1])
    longest = 0  # from side to side: across the row of either end it is farther than along one
    for i in range(counts[0]):
        for j in range(counts[1]):
            y, x = bends[0, i] - bends[1, j], reach[0, bends[0, i]] - reach[1, bends[1, j]]
            longest = max(longest, y * y + x * x)
    return np.float64(area), math.sqrt(longest) / 2
