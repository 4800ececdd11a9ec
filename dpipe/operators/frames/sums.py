"""Exact sums over an 8-bit frame and its filtered copies, from which quality figures follow.

All are integers, so every kernel and device gives the same ones. This file knows nothing of
decibels or verdicts.
"""

from typing import Any, NamedTuple

import numba
import numpy as np

from dpipe.compute import beside, namespace


class FrameSums(NamedTuple):
    """Sums over the pixels of a frame f, its median m, its Wiener filter w; e = max(f - m, 0)."""

    pixels: int
    """Number of pixels."""
    least: Any
    """Smallest f."""
    total: Any
    """Sum of f."""
    median_power: Any
    """Sum of m ** 2."""
    median_error: Any
    """Sum of (f - m) ** 2."""
    wiener_power: Any
    """Sum of w ** 2."""
    wiener_error: Any
    """Sum of (f - w) ** 2."""
    inside: Any
    """Number of pixels of the foreground, m above its Otsu threshold."""
    inside_total: Any
    """Sum of f over the foreground."""
    outside_total: Any
    """Sum of e over the background."""
    outside_power: Any
    """Sum of e ** 2 over the background."""
    bends: int
    """Number of pixels with four neighbours."""
    bend_total: Any
    """Sum over them of the Laplacian: the four neighbours less four times f."""
    bend_power: Any
    """Sum over them of its square."""


def frame_sums(frame: Any, median: Any, wiener: Any) -> FrameSums:
    """Add up a frame, its median and its Wiener filter, uint8 planes (y, x)."""
    pixels = int(frame.shape[0] * frame.shape[1])
    bends = max(frame.shape[0] - 2, 0) * max(frame.shape[1] - 2, 0)
    if isinstance(frame, np.ndarray):
        threshold = int(otsu(_histogram(median)))
        sums = _pixel_sums(frame, median, wiener, threshold)
        return FrameSums(*(pixels, *sums, bends, *_bends(frame)))
    return by_planes(frame, median, wiener)


def by_planes(frame: Any, median: Any, wiener: Any) -> FrameSums:
    """Do it with whole planes, on any kind of array."""
    xp = namespace(frame)
    pixels = int(frame.shape[0] * frame.shape[1])
    f, m, w = (xp.astype(plane, xp.int64) for plane in (frame, median, wiener))
    # An array library need not have a histogram; all can sort.
    edges = xp.arange(257, dtype=m.dtype, **beside(m))
    counts = xp.diff(xp.searchsorted(xp.sort(xp.reshape(m, (-1,))), edges))
    inside = m > otsu(counts)
    excess = xp.maximum(f - m, xp.zeros_like(f))
    excess = xp.where(inside, xp.zeros_like(f), excess)
    bend = f[:0, :]
    if min(frame.shape) > 2:
        bend = f[:-2, 1:-1] + f[2:, 1:-1] + f[1:-1, :-2] + f[1:-1, 2:] - 4 * f[1:-1, 1:-1]
    return FrameSums(
        pixels,
        xp.min(f),
        xp.sum(f),
        xp.sum(m * m),
        xp.sum((f - m) ** 2),
        xp.sum(w * w),
        xp.sum((f - w) ** 2),
        xp.count_nonzero(inside),
        xp.sum(xp.where(inside, f, xp.zeros_like(f))),
        xp.sum(excess),
        xp.sum(excess * excess),
        max(frame.shape[0] - 2, 0) * max(frame.shape[1] - 2, 0),
        xp.sum(bend),
        xp.sum(bend * bend),
    )


def otsu(counts: Any) -> Any:
    """Return the grey value k for which the classes <= k and > k lie furthest apart (Otsu 1979).

    The first of equal ones; with one class only, the last grey value.
    """
    xp = namespace(counts)
    n = xp.astype(counts, xp.float64)
    grey = xp.arange(n.shape[0], dtype=xp.float64, **beside(n))
    below = xp.cumulative_sum(n)
    moment = xp.cumulative_sum(n * grey)
    product = below * (below[-1] - below)
    gap = moment[-1] * below - moment * below[-1]
    between = xp.where(product > 0, gap * gap / xp.where(product > 0, product, 1.0), 0.0)
    best = xp.argmax(between)
    return xp.where(xp.max(between) > 0, best, n.shape[0] - 1)


@numba.njit(nogil=True, cache=True)
def _histogram(plane: np.ndarray) -> np.ndarray:  # pragma: no cover
    """Count grey values in four tables: equal neighbours would wait for each other in one."""
    flat = plane.reshape(-1)
    counts = np.zeros((4, 256), np.int64)
    even = flat.size - flat.size % 4
    for i in range(0, even, 4):
        counts[0, flat[i]] += 1
        counts[1, flat[i + 1]] += 1
        counts[2, flat[i + 2]] += 1
        counts[3, flat[i + 3]] += 1
    for i in range(even, flat.size):
        counts[0, flat[i]] += 1
    return counts[0] + counts[1] + counts[2] + counts[3]


@numba.njit(nogil=True, cache=True)
def _pixel_sums(
    frame: np.ndarray, median: np.ndarray, wiener: np.ndarray, threshold: int
) -> tuple[Any, ...]:  # pragma: no cover
    f, m, w = frame.reshape(-1), median.reshape(-1), wiener.reshape(-1)
    limit = np.uint8(threshold)
    least = np.uint8(255)
    total = median_power = median_error = wiener_power = wiener_error = np.int64(0)
    inside = inside_total = outside_total = outside_power = np.int64(0)
    for i in range(f.size):
        g, smooth, denoised = np.int32(f[i]), np.int32(m[i]), np.int32(w[i])
        least = min(least, f[i])
        total += np.int64(g)
        noise = np.int32(g - smooth)
        median_power += np.int64(smooth * smooth)
        median_error += np.int64(noise * noise)
        noise = np.int32(g - denoised)
        wiener_power += np.int64(denoised * denoised)
        wiener_error += np.int64(noise * noise)
    for i in range(f.size):
        g, smooth = np.int32(f[i]), np.int32(m[i])
        above = m[i] > limit
        excess = np.int32(0) if above or g < smooth else np.int32(g - smooth)
        inside += np.int64(above)
        inside_total += np.int64(g if above else 0)
        outside_total += np.int64(excess)
        outside_power += np.int64(excess * excess)
    return (
        int(least), total, median_power, median_error, wiener_power, wiener_error,
        inside, inside_total, outside_total, outside_power,
    )  # fmt: skip


@numba.njit(nogil=True, cache=True)
def _bends(frame: np.ndarray) -> tuple[Any, Any]:  # pragma: no cover
    height, width = frame.shape
    total = power = np.int64(0)
    for y in range(1, height - 1):
        up, row, down = frame[y - 1], frame[y], frame[y + 1]
        for x in range(1, width - 1):
            around = (
                np.int32(up[x]) + np.int32(down[x]) + np.int32(row[x - 1]) + np.int32(row[x + 1])
            )
            bend = np.int32(around - 4 * np.int32(row[x]))
            total += np.int64(bend)
            power += np.int64(bend * bend)
    return total, power
