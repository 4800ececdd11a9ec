"""Wiener filter of an 8-bit plane by local mean and variance, as MATLAB's ``wiener2`` cuts windows.

A window of `size` pixels starts ``(size - 1) // 2`` before its pixel: an even one reaches one
further behind it. Beyond the border there are zeros. Sums over windows are integers, so the only
rounding is that of the last step, to 8 bits.

References
----------
J. S. Lim, Two-Dimensional Signal and Image Processing, Prentice Hall 1990, eqs. 9.26-9.29.
"""

from typing import Any

import numba
import numpy as np

from dpipe.compute import beside, namespace

_LARGEST = 13  # 13 ** 4 * 255 ** 2 still fits 31 bits


def wiener(plane: Any, size: int) -> Any:
    """Filter a uint8 plane (y, x); the noise power is the mean of the local variances.

    Where the local variance v exceeds the noise power n a pixel g becomes m + (g - m)(v - n) / v,
    elsewhere the local mean m; the result is rounded to uint8, halves up.
    """
    if isinstance(plane, np.ndarray) and size <= _LARGEST:
        return _by_rows(np.ascontiguousarray(plane), size)
    return by_shifts(plane, size)


def by_shifts(plane: Any, size: int) -> Any:
    """Do it with whole shifted planes, on any kind of array."""
    xp = namespace(plane)
    grey = xp.astype(plane, xp.int64)
    area = size * size
    total = _box(xp, grey, size)
    spread = area * _box(xp, grey * grey, size) - total * total  # area ** 2 times the variance
    noise = xp.astype(xp.sum(spread), xp.float64) / (plane.shape[0] * plane.shape[1])
    value = xp.astype(grey, xp.float64)
    mean = xp.astype(total, xp.float64) / area
    variance = xp.astype(spread, xp.float64)
    shrunk = value - (value - mean) * (noise / xp.where(variance > noise, variance, 1.0))
    return xp.astype(xp.floor(xp.where(variance > noise, shrunk, mean) + 0.5), xp.uint8)


def _box(xp: Any, grey: Any, size: int) -> Any:
    """Sum over windows: rows first, then columns."""
    height, width = grey.shape
    before = (size - 1) // 2
    padded = xp.zeros((height + size - 1, width + size - 1), dtype=grey.dtype, **beside(grey))
    padded[before : before + height, before : before + width] = grey
    tall = sum((padded[i : i + height, :] for i in range(1, size)), start=padded[:height, :])
    return sum((tall[:, j : j + width] for j in range(1, size)), start=tall[:, :width])


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _by_rows(plane: np.ndarray, size: int) -> np.ndarray:  # pragma: no cover
    """Keep the sums over the rows of a window while it moves down: one short loop a step."""
    height, width = plane.shape
    before, area = (size - 1) // 2, np.int32(size * size)
    after = size - 1 - before
    total = np.empty((height, width), np.int32)
    spread = np.empty((height, width), np.int32)
    zeros = np.zeros(width, plane.dtype)
    tall, tall_squares = np.zeros(width + size, np.int32), np.zeros(width + size, np.int32)
    below, below_squares = tall[before:], tall_squares[before:]
    power = np.int64(0)
    for y in range(-after, height):
        new = plane[y + after] if y + after < height else zeros
        old = plane[y - before - 1] if y > before else zeros
        for x in range(width):
            below[x] += np.int32(np.int32(new[x]) - np.int32(old[x]))
        for x in range(width):
            step = np.int32(np.int32(new[x]) - np.int32(old[x]))
            below_squares[x] += np.int32(step * np.int32(np.int32(new[x]) + np.int32(old[x])))
        if y >= 0:
            sums, squares = total[y], spread[y]
            _along(tall, size, sums)
            _along(tall_squares, size, squares)
            for x in range(width):
                squares[x] = np.int32(area * squares[x]) - np.int32(sums[x] * sums[x])
            for x in range(width):
                power += np.int64(squares[x])
    noise = power / (height * width)
    result = np.empty_like(plane)
    for y in range(height):
        row, sums, squares, out = plane[y], total[y], spread[y], result[y]
        for x in range(width):
            value, variance = np.float64(row[x]), np.float64(squares[x])
            mean = np.float64(sums[x]) / np.float64(area)
            divisor = variance if variance > noise else 1.0
            shrunk = value - (value - mean) * (noise / divisor)
            out[x] = np.uint8((shrunk if variance > noise else mean) + 0.5)
    return result


@numba.njit(nogil=True, cache=True)
def _along(tall: np.ndarray, size: int, sums: np.ndarray) -> None:  # pragma: no cover
    """Sum `size` neighbours along a row, three at a time."""
    width = sums.size
    first = tall[:width]
    for x in range(width):
        sums[x] = first[x]
    for k in range(1, size - 2, 3):
        a, b, c = tall[k : k + width], tall[k + 1 : k + 1 + width], tall[k + 2 : k + 2 + width]
        for x in range(width):
            sums[x] += np.int32(np.int32(a[x] + b[x]) + c[x])
    for k in range(size - (size - 1) % 3, size):
        a = tall[k : k + width]
        for x in range(width):
            sums[x] += a[x]
