"""Overlap, correlation and distance of the masks and masked channels of each pair; host, numba.

It works on packed pictures (``_cell_pictures.py`` says how they lie). Codes hold a bit a channel,
so that counts of pairs are counts of bits.

References
----------
E. M. M. Manders, F. J. Verbeek, J. A. Aten, J. Microscopy 169 (1993) 375-382.
Q. Li et al., J. Neuroscience 24 (2004) 4070-4081 (intensity correlation quotient).
"""

import math
from typing import Any

import numba
import numpy as np

N_OVERLAPS, N_PAIRED, N_CORRECTED = 2, 6, 5
_FAST = {"reassoc", "contract"}


@numba.njit(nogil=True, cache=True, error_model="numpy")
def pairs(
    pixels: np.ndarray,
    codes: np.ndarray,
    offset: np.ndarray,
    height: np.ndarray,
    width: np.ndarray,
    box: np.ndarray,
    planes: np.ndarray,
    centred: np.ndarray,
    overlaps: np.ndarray,
    paired: np.ndarray,
) -> None:  # pragma: no cover
    """Write for each pair a < b: Dice, Jaccard; correlation, Euclid, product of sums, quotient.

    Places 4 and 5 of `paired` are left as they are. `planes` is room for all channels of the
    largest picture. `centred` is such room, of float64, where pixels are not whole numbers: sums
    of products of those are exact, of others it takes differences, or rounding would be left of
    what is nearly level or nearly equal.
    """
    channels = box.shape[1]
    whole = centred.size == 0
    above = np.empty(planes.shape[1], codes.dtype)
    sums, squares, counts = np.empty(channels), np.empty(channels), np.empty(channels, np.int64)
    spreads, means = np.empty(channels), np.empty(channels)
    for r in range(offset.size):
        w = np.int64(width[r])
        area = np.int64(height[r]) * w
        code = codes[offset[r] :][:area]
        above[:area] = 0
        for c in range(channels):
            plane = pixels[offset[r] * channels + c * area :][:area]
            _mask(plane, code, c, planes[c][:area])
            sums[c], squares[c], counts[c] = _own(planes[c][:area], code, c)
            if whole:
                means[c] = np.floor(sums[c] / area)
                spreads[c] = _spread(area, squares[c], sums[c], sums[c], means[c], means[c])
                _mark(planes[c][:area], sums[c] / area, c, above[:area])
            else:
                spreads[c] = _centre(planes[c][:area], centred[c][:area])
                _mark(centred[c][:area], 0.0, c, above[:area])
        pair = 0
        for a in range(channels):
            for b in range(a + 1, channels):
                common = _both(code, a, b)
                either = counts[a] + counts[b] - common
                overlaps[r, pair, 0] = 1 - 2 * common / (counts[a] + counts[b])
                overlaps[r, pair, 1] = 1 - common / either if either else 0.0
                out = paired[r, pair]
                if whole:
                    cross = _cross(planes[a], planes[b], box[r, a], box[r, b], w)
                    spread = _spread(area, cross, sums[a], sums[b], means[a], means[b])
                    away = squares[a] + squares[b] - 2 * cross
                else:
                    spread = _dot(centred[a][:area], centred[b][:area])
                    away = _away(planes[a][:area], planes[b][:area])
                ratio = spread / math.sqrt(spreads[a] * spreads[b])
                out[0] = 1 - ratio if np.isnan(ratio) else min(max(1 - ratio, 0.0), 2.0)
                out[1] = math.sqrt(away)
                out[2] = sums[a] * sums[b] / (squares[a] * squares[b])
                out[3] = _both(above[:area], a, b) / height[r] - 0.5
                pair += 1


@numba.njit(nogil=True, cache=True, error_model="numpy")
def corrected(
    pixels: np.ndarray,
    codes: np.ndarray,
    offset: np.ndarray,
    height: np.ndarray,
    width: np.ndarray,
    out: np.ndarray,
) -> None:  # pragma: no cover
    """Write for each pair a < b: M1, M2, overlap, correlation, quotient, over pixels of masks.

    M1 is the share of a's masked sum that lies in b's mask, M2 the other way; the overlap is
    Manders' over the masked channels; Pearson's correlation and Li's quotient take the pixels of
    either mask with their whole values.
    """
    channels = out.shape[1]
    channels = np.int64((1 + math.sqrt(1 + 8 * channels)) / 2)
    for r in range(offset.size):
        area = np.int64(height[r]) * np.int64(width[r])
        code = codes[offset[r] :][:area]
        pair = 0
        for a in range(channels):
            plane1 = pixels[offset[r] * channels + a * area :][:area]
            for b in range(a + 1, channels):
                plane2 = pixels[offset[r] * channels + b * area :][:area]
                _correct(plane1, plane2, code, a, b, out[r, pair])
                pair += 1


@numba.njit(nogil=True, cache=True, fastmath=_FAST, error_model="numpy")
def _correct(
    plane1: np.ndarray, plane2: np.ndarray, code: np.ndarray, a: int, b: int, out: np.ndarray
) -> None:  # pragma: no cover
    n = first = 0
    while first < code.size - 1 and not ((code[first] >> a) | (code[first] >> b)) & 1:
        first += 1
    level1, level2 = (
        np.float64(plane1[first]),
        np.float64(plane2[first]),
    )  # a level plane is 0 over it
    own1 = own2 = in1 = in2 = s1 = s2 = q1 = q2 = u1 = u2 = cross = 0.0
    for i in range(code.size):
        p, q = np.float64((code[i] >> a) & 1), np.float64((code[i] >> b) & 1)
        u, v = np.float64(plane1[i]), np.float64(plane2[i])
        either = max(p, q)
        n += 1 if either > 0 else 0
        own1 += u * p
        own2 += v * q
        in1 += u * p * q
        in2 += v * p * q
        s1 += u * u * p
        s2 += v * v * q
        cross += u * v * p * q
        u1 += (u - level1) * either
        u2 += (v - level2) * either
    mean1, mean2, c12, positive = u1 / n, u2 / n, 0.0, 0
    for i in range(code.size):
        either = np.float64(((code[i] >> a) | (code[i] >> b)) & 1)
        u = (np.float64(plane1[i]) - level1 - mean1) * either
        v = (np.float64(plane2[i]) - level2 - mean2) * either
        q1 += u * u
        q2 += v * v
        c12 += u * v
        positive += 1 if u * v > 0 else 0
    out[0], out[1] = in1 / own1, in2 / own2
    out[2] = cross / math.sqrt(s1 * s2)
    out[3] = c12 / math.sqrt(q1 * q2)
    out[4] = positive / n - 0.5 if n else np.nan


@numba.njit(nogil=True, cache=True)
def _mask(plane: np.ndarray, code: np.ndarray, c: int, to: np.ndarray) -> None:  # pragma: no cover
    kind = to.dtype.type
    for i in range(plane.size):
        to[i] = kind(plane[i]) * kind((code[i] >> c) & 1)


@numba.njit(nogil=True, cache=True)
def _spread(
    area: int, cross: float, one: float, two: float, a: float, b: float
) -> float:  # pragma: no cover
    """Return area * `cross` - `one` * `two`, by whole means a and b: exact, as far as it matters.

    With sums = area * mean + rest the large terms go before anything is rounded.
    """
    p, q = one - area * a, two - area * b
    return area * (cross - area * a * b - a * q - b * p) - p * q


@numba.njit(nogil=True, cache=True)
def _centre(plane: np.ndarray, to: np.ndarray) -> float:  # pragma: no cover
    """Write a plane less its mean, return the sum of the squares; a level plane is exactly 0."""
    total = 0.0
    for i in range(plane.size):
        to[i] = np.float64(plane[i]) - np.float64(plane[0])
        total += to[i]
    mean = total / plane.size
    for i in range(plane.size):
        to[i] -= mean
    return _dot(to, to)


@numba.njit(nogil=True, cache=True, fastmath=_FAST)
def _away(first: np.ndarray, second: np.ndarray) -> float:  # pragma: no cover
    total = 0.0
    for i in range(first.size):
        d = np.float64(first[i]) - np.float64(second[i])
        total += d * d
    return total


@numba.njit(nogil=True, cache=True, fastmath=_FAST)
def _own(
    plane: np.ndarray, code: np.ndarray, c: int
) -> tuple[float, float, Any]:  # pragma: no cover
    total = square = 0.0
    count = np.int32(0)
    for i in range(plane.size):
        v = np.float64(plane[i])
        total += v
        square += v * v
        count += np.int32((code[i] >> c) & 1)
    return total, square, np.int64(count)


@numba.njit(nogil=True, cache=True)
def _mark(plane: np.ndarray, mean: float, c: int, above: np.ndarray) -> None:  # pragma: no cover
    """Set bit c where the masked channel is above its mean."""
    for i in range(plane.size):
        above[i] |= (np.float64(plane[i]) > mean) << c


@numba.njit(nogil=True, cache=True, fastmath=_FAST)
def _both(code: np.ndarray, a: int, b: int) -> Any:  # pragma: no cover
    count = np.int32(0)
    for i in range(code.size):
        count += np.int32((code[i] >> a) & (code[i] >> b) & 1)
    return np.int64(count)


@numba.njit(nogil=True, cache=True, fastmath=_FAST)
def _dot(first: np.ndarray, second: np.ndarray) -> float:  # pragma: no cover
    total = 0.0
    for i in range(first.size):
        total += np.float64(first[i]) * np.float64(second[i])
    return total


@numba.njit(nogil=True, cache=True)
def _cross(
    first: np.ndarray, second: np.ndarray, a: np.ndarray, b: np.ndarray, w: int
) -> float:  # pragma: no cover
    """Sum the products where the boxes of both masks meet."""
    y0, y1, x0, x1 = max(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), min(a[3], b[3])
    total = 0.0
    if x0 < x1:
        for y in range(y0, y1):
            total += _dot(first[y * w + x0 : y * w + x1], second[y * w + x0 : y * w + x1])
    return total
