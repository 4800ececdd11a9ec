"""Values of pixels: deciles, background, and the distribution inside the mask; host, with numba.

It works on packed pictures (``_cell_pictures.py`` says how they lie). Whole numbers are counted
in a histogram, others sorted.
"""

import math
from typing import Any

import numba
import numpy as np

N_DECILES, N_STATISTICS = 9, 9
_FAST = {"reassoc", "contract"}


@numba.njit(nogil=True, cache=True, error_model="numpy")
def values(
    pixels: np.ndarray,
    codes: np.ndarray,
    offset: np.ndarray,
    height: np.ndarray,
    width: np.ndarray,
    counts: np.ndarray | None,
    logs: np.ndarray,
    deciles: np.ndarray,
    background: np.ndarray,
    statistics: np.ndarray,
) -> None:  # pragma: no cover
    """Write deciles, mean of the background, and nine statistics of the cell, of each channel.

    `counts` has four rows of zeros, one place a value of 8 or 16 bits; None sorts instead. `logs`
    are n log2 n.
    """
    channels = deciles.shape[1]
    longest = max(1, (height * width).max())
    inside = np.empty(longest, pixels.dtype)
    room = np.empty(longest, pixels.dtype)
    for r in range(offset.size):
        area = np.int64(height[r]) * np.int64(width[r])
        code = codes[offset[r] :][:area]
        for c in range(channels):
            plane = pixels[offset[r] * channels + c * area :][:area]
            if counts is None:
                room[:area] = plane
                ordered = room[:area]
                ordered.sort()
                _deciles_sorted(ordered, deciles[r, c])
            else:
                _deciles_counted(plane, counts, deciles[r, c])
            pixels_in, total, empty = _split(plane, code, c, inside)
            background[r, c, 0] = total / empty
            out = statistics[r, c]
            out[:] = 0
            masked = inside[:pixels_in]
            n = 0
            for i in range(masked.size):
                room[n] = masked[i]
                n += masked[i] > 0
            if n == 0:
                continue
            positive = room[:n]
            out[0] = pixels_in
            _distribution(positive, out)
            if counts is None:
                positive.sort()
                out[8] = _entropy_sorted(positive)
            else:
                out[8] = _entropy_counted(positive, counts[0], logs, int(out[6]), int(out[7]))


@numba.njit(nogil=True, cache=True)
def _split(
    plane: np.ndarray, code: np.ndarray, c: int, inside: np.ndarray
) -> tuple[int, float, int]:  # pragma: no cover
    """Keep the pixels inside the mask; sum and count those above 0 outside it."""
    n = empty = 0
    total = 0.0
    for i in range(plane.size):
        inside[n] = plane[i]
        n += (code[i] >> c) & 1
    total, empty = _outside(plane, code, c)
    return n, total, empty


@numba.njit(nogil=True, cache=True, fastmath=_FAST)
def _outside(plane: np.ndarray, code: np.ndarray, c: int) -> tuple[float, Any]:  # pragma: no cover
    total, count = 0.0, np.int32(0)
    for i in range(plane.size):
        outside = (((code[i] >> c) & 1) ^ 1) & (plane[i] > 0)
        total += np.float64(plane[i]) * outside
        count += np.int32(outside)
    return total, count


@numba.njit(nogil=True, cache=True, fastmath=_FAST, error_model="numpy")
def _distribution(positive: np.ndarray, out: np.ndarray) -> None:  # pragma: no cover
    """Write sum, mean, deviation, kurtosis, skewness, least and greatest of values above 0."""
    n, low, high, total = positive.size, positive[0], positive[0], 0.0
    for i in range(n):
        total += np.float64(positive[i])
    for i in range(n):
        low = positive[i] if positive[i] < low else low
    for i in range(n):
        high = positive[i] if positive[i] > high else high
    mean = total / n
    m2 = m3 = m4 = 0.0
    for i in range(n):
        d = np.float64(positive[i]) - mean
        square = d * d
        m2 += square
        m3 += square * d
        m4 += square * square
    m2, m3, m4 = m2 / n, m3 / n, m4 / n
    out[1], out[2], out[3] = total, mean, math.sqrt(m2)
    out[6], out[7] = low, high
    out[4] = out[5] = np.nan
    if low < high:
        out[4], out[5] = m4 / (m2 * m2) - 3, m3 / (m2 * math.sqrt(m2))


@numba.njit(nogil=True, cache=True)
def _between(low: float, high: float, share: float) -> float:  # pragma: no cover
    return low + (high - low) * share


@numba.njit(nogil=True, cache=True)
def _deciles_sorted(ordered: np.ndarray, out: np.ndarray) -> None:  # pragma: no cover
    n = ordered.size
    for k in range(N_DECILES):
        place = (k + 1) * (n - 1)
        rank = place // 10
        above = min(rank + 1, n - 1)
        out[k] = _between(np.float64(ordered[rank]), np.float64(ordered[above]), (place % 10) / 10)


@numba.njit(nogil=True, cache=True)
def _deciles_counted(
    plane: np.ndarray, counts: np.ndarray, out: np.ndarray
) -> None:  # pragma: no cover
    """Count four pixels at once, each in a row of its own: equal neighbours need not wait."""
    a, b, c, d = counts[0], counts[1], counts[2], counts[3]
    n = plane.size
    low = high = plane[0]
    for i in range(n):
        low = plane[i] if plane[i] < low else low
    for i in range(n):
        high = plane[i] if plane[i] > high else high
    for i in range(0, n - 3, 4):
        a[plane[i]] += 1
        b[plane[i + 1]] += 1
        c[plane[i + 2]] += 1
        d[plane[i + 3]] += 1
    for i in range(n - n % 4, n):
        a[plane[i]] += 1
    k = below = 0
    last = -1  # the value of rank `below` - 1
    first, end = np.int64(low), np.int64(high) + 1
    for v in range(first, end):
        a[v] += b[v] + c[v] + d[v]
    b[first:end] = 0
    c[first:end] = 0
    d[first:end] = 0
    for v in range(first, end):
        here = a[v]
        a[v] = 0
        if here == 0:
            continue
        below += here
        while k < N_DECILES:
            place = (k + 1) * (n - 1)
            rank = place // 10
            if rank >= below:
                break
            start = v if rank >= below - here else last
            above = min(rank + 1, n - 1)
            if above >= below:
                break
            out[k] = _between(np.float64(start), np.float64(v), (place % 10) / 10)
            k += 1
        last = v


@numba.njit(nogil=True, cache=True)
def _entropy_counted(
    positive: np.ndarray, counts: np.ndarray, logs: np.ndarray, low: int, high: int
) -> float:  # pragma: no cover
    """Return the entropy of the values in bits; `counts` is all 0 before and after."""
    for i in range(positive.size):
        counts[positive[i]] += 1
    total = 0.0
    for v in range(low, high + 1):
        total += logs[counts[v]]
        counts[v] = 0
    return abs((logs[positive.size] - total) / positive.size)


@numba.njit(nogil=True, cache=True)
def _entropy_sorted(ordered: np.ndarray) -> float:  # pragma: no cover
    n, total, start = ordered.size, 0.0, 0
    for i in range(1, n + 1):
        if i == n or ordered[i] != ordered[start]:
            total += (i - start) * math.log2(i - start)
            start = i
    return abs(math.log2(n) - total / n)
