"""Means of 2 x 2 pixels: the compiled kernels of the pyramid.

Each fills `result` (planes, half the rows, half the columns, both rounded up) from `planes`; a last
odd row or column counts twice.
"""

from typing import Any

import numba
import numpy as np


def mean_of_large(planes: np.ndarray, result: np.ndarray) -> None:
    """Mean of integers whose sum may not fit: the sum of quarters, and a quarter of the rests."""
    height, width = planes.shape[1:]
    even = np.pad(planes, ((0, 0), (0, height % 2), (0, width % 2)), mode="edge")
    four = [even[:, i::2, j::2] for i in (0, 1) for j in (0, 1)]
    remainders = sum(((pixel & 3) for pixel in four), np.full_like(four[0], 2))
    result[...] = sum(((pixel >> 2) for pixel in four), remainders >> 2)


@numba.njit(nogil=True, cache=True)
def mean_of_integers(planes: Any, result: Any) -> None:  # pragma: no cover
    """Halve planes of integers: the mean of two by two, halves rounded up."""
    count, height, width = planes.shape
    pairs = width // 2
    for p in range(count):
        for i in range(result.shape[1]):
            upper = planes[p, 2 * i]
            lower = planes[p, min(2 * i + 1, height - 1)]
            row = result[p, i]
            for j in range(pairs):
                total = (
                    np.int64(upper[2 * j])
                    + np.int64(upper[2 * j + 1])
                    + np.int64(lower[2 * j])
                    + np.int64(lower[2 * j + 1])
                )
                row[j] = (total + 2) >> 2
            if width % 2:
                row[pairs] = (np.int64(upper[width - 1]) + np.int64(lower[width - 1]) + 1) >> 1


@numba.njit(nogil=True, cache=True)
def mean_of_floats(planes: Any, result: Any) -> None:  # pragma: no cover
    """Halve planes of floats: the mean of two by two."""
    count, height, width = planes.shape
    for p in range(count):
        for i in range(result.shape[1]):
            upper = planes[p, 2 * i]
            lower = planes[p, min(2 * i + 1, height - 1)]
            for j in range(result.shape[2]):
                right = min(2 * j + 1, width - 1)
                total = (
                    np.float64(upper[2 * j])
                    + np.float64(upper[right])
                    + np.float64(lower[2 * j])
                    + np.float64(lower[right])
                )
                result[p, i, j] = total / 4
