"""Hausdorff distance of the pixels above 0 of all pairs of masked channels; host, with numba.

It works on packed pictures (``_cell_pictures.py`` says how they lie). Squared distances are whole
numbers: to a set's nearest pixel in each column first, then outward along the row, no further
than could matter.

References
----------
D. P. Huttenlocher et al., IEEE Trans. Pattern Analysis and Machine Intelligence 15 (1993) 850-863.
"""

import math
from typing import Any

import numba
import numpy as np

_ROOTS = 4096  # squares up to which rounded up roots are looked up
_TILE, _REACH = 8, 6  # a tile's pixels are at most 4 rows and 4 columns from its middle
_FAR = 1 << 14  # beyond any picture, its square in 31 bits


@numba.njit(nogil=True, cache=True)
def hausdorff(
    pixels: np.ndarray,
    codes: np.ndarray,
    offset: np.ndarray,
    height: np.ndarray,
    width: np.ndarray,
    box: np.ndarray,
    out: np.ndarray,
) -> None:  # pragma: no cover
    """Write the distance of each pair a < b: 0 if both are empty, infinite if one is."""
    channels = box.shape[1]
    near = np.empty((channels, max(1, (height * width).max())), np.int32)
    filled = np.empty(channels, np.bool_)
    span = np.empty((channels, max(1, height.max()), 2), np.int64)
    roots = np.ceil(np.sqrt(np.arange(_ROOTS))).astype(np.uint8)
    for r in range(offset.size):
        w = np.int64(width[r])
        area = np.int64(height[r]) * w
        code = codes[offset[r] :][:area]
        y0, y1 = np.int64(height[r]), np.int64(0)
        for c in range(channels):
            if box[r, c, 1]:
                y0, y1 = min(y0, np.int64(box[r, c, 0])), max(y1, np.int64(box[r, c, 1]))
        for c in range(channels):
            plane = pixels[offset[r] * channels + c * area :][:area]
            filled[c] = _columns(plane, code, c, w, y0, y1, box[r, c], near[c])
            _spans(near[c], box[r, c], w, span[c])
        pair = 0
        for a in range(channels):
            for b in range(a + 1, channels):
                if filled[a] and filled[b]:
                    squared = 0
                    for p, q in ((a, b), (b, a)):
                        if not _within(near, p, q, box, r, span, w):
                            squared = _directed(near, p, q, box, r, span, roots, w, squared)
                    out[r, pair] = math.sqrt(squared)
                else:
                    out[r, pair] = np.inf if filled[a] or filled[b] else 0.0
                pair += 1


@numba.njit(nogil=True, cache=True)
def _columns(
    plane: np.ndarray,
    code: np.ndarray,
    c: int,
    w: int,
    y0: int,
    y1: int,
    box: np.ndarray,
    near: np.ndarray,
) -> bool:  # pragma: no cover
    """Write the distance along each column to the set, within its own columns; False if empty."""
    x0, n = np.int64(box[2]), np.int64(box[3] - box[2])
    for y in range(y0, y1):
        row, here = plane[y * w + x0 :][:n], code[y * w + x0 :][:n]
        to = near[y * w + x0 :][:n]
        if y == y0:
            for x in range(n):
                to[x] = 0 if ((here[x] >> c) & 1) and row[x] != 0 else _FAR
            continue
        before = near[(y - 1) * w + x0 :][:n]
        for x in range(n):
            to[x] = 0 if ((here[x] >> c) & 1) and row[x] != 0 else min(before[x] + 1, _FAR)
    for y in range(y1 - 2, y0 - 1, -1):
        to, after = near[y * w + x0 :][:n], near[(y + 1) * w + x0 :][:n]
        for x in range(n):
            to[x] = min(to[x], after[x] + 1)
    filled = False
    for x in range(n):
        filled |= near[y0 * w + x0 + x] < _FAR
    return filled


@numba.njit(nogil=True, cache=True)
def _spans(near: np.ndarray, box: np.ndarray, w: int, span: np.ndarray) -> None:  # pragma: no cover
    """Write first and last pixel of the set in each row of its box; last is -1 for none."""
    for y in range(box[0], box[1]):
        row = near[y * w : (y + 1) * w]
        first, last = box[2], box[3] - 1
        while first <= last and row[first] != 0:
            first += 1
        while last >= first and row[last] != 0:
            last -= 1
        span[y, 0], span[y, 1] = first, last if last >= first else -1


@numba.njit(nogil=True, cache=True)
def _nearest(
    near: np.ndarray, b: int, row_start: int, x: int, first: int, last: int, enough: int
) -> Any:  # pragma: no cover
    """Return the squared distance of column x to set b; any smaller one that is `enough`.

    Unsigned indices need no test for being negative.
    """
    best = np.int64(_FAR) * _FAR
    step = max(0, first - x, x - last)
    while step * step < best and best > enough:
        if x - step >= first and x - step <= last:
            g = np.int64(near[b, np.uint64(row_start + x - step)])
            best = min(best, g * g + step * step)
        if x + step <= last and x + step >= first:
            g = np.int64(near[b, np.uint64(row_start + x + step)])
            best = min(best, g * g + step * step)
        step += 1
    return best


@numba.njit(nogil=True, cache=True)
def _within(
    near: np.ndarray, a: int, b: int, box: np.ndarray, r: int, span: np.ndarray, w: int
) -> bool:  # pragma: no cover
    """Tell whether set b holds all of set a: nothing of it is away then."""
    first, last = box[r, b, 2], box[r, b, 3] - 1
    for y in range(box[r, a, 0], box[r, a, 1]):
        start, end = span[a, y, 0], span[a, y, 1]
        if end < 0:
            continue
        if start < first or end > last:
            return False
        inner, outer = near[a][y * w + start : y * w + end + 1], near[b][y * w + start :]
        lost = np.int32(0)
        for x in range(inner.size):
            lost += np.int32((inner[x] == 0) & (outer[x] != 0))
        if lost:
            return False
    return True


@numba.njit(nogil=True, cache=True)
def _directed(
    near: np.ndarray,
    a: int,
    b: int,
    box: np.ndarray,
    r: int,
    span: np.ndarray,
    roots: np.ndarray,
    w: int,
    largest: int,
) -> int:  # pragma: no cover
    """Return the larger of `largest` and the largest squared distance from set a to set b.

    The ends of some rows go first, as the farthest are mostly near. A pixel k columns from one at
    distance d is at most d + k away, so those with d + k under the root of `largest` are passed by,
    whole tiles where it can be. What lies in set b is at no distance from it.
    """
    y0, y1, x0, x1 = box[r, a, 0], box[r, a, 1], box[r, a, 2], box[r, a, 3]
    first, last = box[r, b, 2], box[r, b, 3] - 1
    for y in range(y0, y1, 4):
        for side in range(2):
            if span[a, y, 1] >= 0:
                largest = max(
                    largest, _nearest(near, b, y * w, span[a, y, side], first, last, largest)
                )
    root = np.int64(math.sqrt(largest))
    for y in range(y0, y1, _TILE):
        stop = min(y + _TILE, y1)
        middle = min(y + _TILE // 2, stop - 1) * w
        for x in range(x0, x1, _TILE):
            spare = root - _REACH
            if spare > 0:
                nearest = _nearest(near, b, middle, x + _TILE // 2, first, last, spare * spare)
                if nearest <= spare * spare:
                    continue
            for i in range(y, stop):
                j: Any = max(x, span[a, i, 0])
                end = min(x + _TILE - 1, span[a, i, 1])
                while j <= end:
                    place = np.uint64(i * w + j)
                    if near[a, place] != 0:
                        j += 1
                        continue
                    best: Any = np.int64(0)
                    if j < first or j > last or near[b, place] != 0:
                        best = _nearest(near, b, i * w, j, first, last, largest)
                    if best > largest:
                        largest, root = best, np.int64(math.sqrt(best))
                    up = np.int64(roots[best]) if best < _ROOTS else root
                    j += 1 + (root - up if root > up else 0)
    return largest
