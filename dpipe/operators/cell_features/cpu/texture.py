"""Grey levels beside each other and slopes of whole planes; host only, with numba.

It works on packed pictures (``_cell_pictures.py`` says how they lie) and knows nothing of masks.

References
----------
R. M. Haralick et al., IEEE Trans. Systems, Man and Cybernetics 3 (1973) 610-621.
"""

import math
from typing import Any

import numba
import numpy as np

N_TEXTURES = 6
_STEP, _LEVELS = 5, 256
_FAST = {"reassoc", "contract"}


@numba.njit(nogil=True, cache=True, error_model="numpy")
def textures(
    pixels: np.ndarray,
    offset: np.ndarray,
    height: np.ndarray,
    width: np.ndarray,
    strict: bool,
    out: np.ndarray,
) -> None:  # pragma: no cover
    """Write contrast, dissimilarity, homogeneity, ASM, energy and correlation of each channel.

    Pairs are a pixel and the one five columns further, of the plane over its maximum times 255,
    cut to whole numbers. A plane of zeros is one of level 0, and without pairs all is 0 but the
    correlation, 1; `strict` makes both NaN.
    """
    channels = out.shape[1]
    grey = np.zeros(max(1, (height * width).max()), np.uint8)
    counts = np.zeros(_LEVELS * _LEVELS, np.int32)
    for r in range(offset.size):
        h, w = np.int64(height[r]), np.int64(width[r])
        area = h * w
        for c in range(channels):
            plane = pixels[offset[r] * channels + c * area :][:area]
            brightest = _brightest(plane)
            _quantise(plane, brightest, grey[:area])
            _pairs(grey, h, w, counts, out[r, c])
            if strict and (brightest == 0 or w <= _STEP):
                out[r, c] = np.nan


@numba.njit(nogil=True, cache=True, error_model="numpy")
def cell_textures(
    pixels: np.ndarray,
    codes: np.ndarray,
    offset: np.ndarray,
    height: np.ndarray,
    width: np.ndarray,
    out: np.ndarray,
) -> None:  # pragma: no cover
    """Write the same six over pairs inside the mask: both ways, mean of four directions.

    Levels are of the plane over its maximum inside the mask; partners are five rows or columns
    away, or both. NaN where the mask has no pair or nothing above 0.
    """
    channels = out.shape[1]
    largest = max(1, (height * width).max())
    grey, inside = np.zeros(largest, np.uint8), np.zeros(largest, np.uint8)
    counts = np.zeros(_LEVELS * _LEVELS, np.int32)
    for r in range(offset.size):
        h, w = np.int64(height[r]), np.int64(width[r])
        area = h * w
        for c in range(channels):
            plane = pixels[offset[r] * channels + c * area :][:area]
            top = 0.0
            for i in range(area):
                inside[i] = (codes[offset[r] + i] >> c) & 1
                if inside[i]:
                    top = max(top, np.float64(plane[i]))
            out[r, c] = np.nan
            if top > 0:
                for i in range(area):
                    share = np.float64(plane[i]) / top * 255.0
                    grey[i] = np.uint8(np.int32(share)) if inside[i] else 0
                around(grey, inside, h, w, _STEP, counts, out[r, c])


@numba.njit(nogil=True, cache=True, error_model="numpy")
def around(
    grey: np.ndarray,
    inside: np.ndarray,
    h: int,
    w: int,
    step: int,
    counts: np.ndarray,
    out: np.ndarray,
) -> None:  # pragma: no cover
    """Write the mean over directions of the six of symmetric pairs inside; `counts` are all 0."""
    directions, out[:] = 0, 0
    for dy, dx in ((0, step), (step, step), (step, 0), (step, -step)):
        n = i = ii = ij = away = squares = 0
        near = 0.0
        for clear in (False, True):
            for y in range(h - dy):
                for x in range(max(0, -dx), min(w, w - dx)):
                    p, q = y * w + x, (y + dy) * w + x + dx
                    if not (inside[p] and inside[q]):
                        continue
                    a: Any = np.int64(grey[p])
                    b: Any = np.int64(grey[q])
                    forward, backward = a * _LEVELS + b, b * _LEVELS + a
                    if clear:
                        counts[forward] = counts[backward] = 0
                        continue
                    n += 1
                    i += a + b
                    ii += a * a + b * b
                    ij += a * b
                    away += abs(a - b)
                    near += 1 / (1 + (a - b) ** 2)
                    squares += 2 * counts[forward] + 1
                    counts[forward] += 1
                    squares += 2 * counts[backward] + 1
                    counts[backward] += 1
        if n == 0:
            continue
        directions += 1
        spread = 2 * n * ii - i * i
        out[0] += (ii - 2 * ij) / n
        out[1] += away / n
        out[2] += near / n
        out[3] += squares / (4.0 * n * n)
        out[4] += math.sqrt(squares) / (2 * n)
        out[5] += (4 * n * ij - i * i) / spread if spread else 1.0
    out /= directions if directions else np.nan


@numba.njit(nogil=True, cache=True, error_model="numpy")
def slopes(
    pixels: np.ndarray,
    offset: np.ndarray,
    height: np.ndarray,
    width: np.ndarray,
    room: np.ndarray,
    out: np.ndarray,
) -> None:  # pragma: no cover
    """Write the root mean square of Sobel's slope of each channel; `room` holds two rows.

    Kernels over 4, magnitude over the root of 2, the border mirrored: by whole kernels the mean
    square is the sum over 32 times the number of pixels.
    """
    channels = out.shape[1]
    for r in range(offset.size):
        h, w = np.int64(height[r]), np.int64(width[r])
        area = h * w
        for c in range(channels):
            plane = pixels[offset[r] * channels + c * area :][:area]
            total = 0.0
            for y in range(h):
                up = (y - 1 if y > 0 else y) * w
                down = (y + 1 if y < h - 1 else y) * w
                total += _slope(
                    plane[up : up + w], plane[y * w : y * w + w], plane[down : down + w], room
                )
            out[r, c, 0] = math.sqrt(total / (32 * area))


@numba.njit(nogil=True, cache=True)
def _brightest(plane: np.ndarray) -> float:  # pragma: no cover
    brightest = plane[0]
    for i in range(plane.size):
        brightest = plane[i] if plane[i] > brightest else brightest
    return np.float64(brightest)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _quantise(plane: np.ndarray, brightest: float, grey: np.ndarray) -> None:  # pragma: no cover
    if brightest == 0:
        grey[:] = 0
        return
    for i in range(plane.size):
        grey[i] = np.uint8(np.int32(np.float64(plane[i]) / brightest * 255.0))


@numba.njit(nogil=True, cache=True, fastmath=_FAST)
def _row(first: np.ndarray, second: np.ndarray) -> tuple[Any, ...]:  # pragma: no cover
    """Sum over pairs: i, j, i * i, j * j, i * j, abs(i - j); and 1 / (1 + (i - j) ** 2)."""
    i = j = ii = jj = ij = away = np.int32(0)
    near = 0.0
    for x in range(first.size):
        a, b = np.int32(first[x]), np.int32(second[x])
        d = np.int32(a - b)
        i += a
        j += b
        ii += a * a
        jj += b * b
        ij += a * b
        away += abs(d)
        near += 1.0 / np.float64(1 + d * d)
    return i, j, ii, jj, ij, away, near


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _pairs(
    grey: np.ndarray, h: int, w: int, counts: np.ndarray, out: np.ndarray
) -> None:  # pragma: no cover
    """Write the six; `counts` of pairs is all 0 before and after."""
    out[:] = 0
    out[5] = 1
    if w <= _STEP:
        return
    i = j = ii = jj = ij = away = squares = 0
    near = 0.0
    for y in range(h):
        first, second = grey[y * w : (y + 1) * w - _STEP], grey[y * w + _STEP : (y + 1) * w]
        for x in range(first.size):
            key = np.int64(first[x]) * _LEVELS + np.int64(second[x])
            seen = counts[key]
            counts[key] = seen + 1
            squares += 2 * seen + 1
        for start in range(0, first.size, 1024):  # sums of 16-bit products in 32 bits
            s = _row(first[start : start + 1024], second[start : start + 1024])
            i, j, ii, jj, ij = i + s[0], j + s[1], ii + s[2], jj + s[3], ij + s[4]
            away, near = away + s[5], near + s[6]
    for y in range(h):
        first, second = grey[y * w : (y + 1) * w - _STEP], grey[y * w + _STEP : (y + 1) * w]
        for x in range(first.size):
            counts[np.int64(first[x]) * _LEVELS + np.int64(second[x])] = 0
    n = h * (w - _STEP)
    out[0] = (ii + jj - 2 * ij) / n
    out[1] = away / n
    out[2] = near / n
    out[3] = squares / (np.float64(n) * n)
    out[4] = math.sqrt(out[3])
    spread = np.float64(n * ii - i * i) * np.float64(n * jj - j * j)
    if spread > 0:
        out[5] = (n * ij - i * j) / math.sqrt(spread)


@numba.njit(nogil=True, cache=True, fastmath=_FAST)
def _slope(
    above: np.ndarray, here: np.ndarray, below: np.ndarray, room: np.ndarray
) -> float:  # pragma: no cover
    """Sum the squares of both slopes over a row."""
    w = here.size
    zero = room.dtype.type(0)
    smooth, steep = room[0][: w + 2], room[1][: w + 2]
    for x in range(w):
        smooth[x + 1] = zero + above[x] + here[x] + here[x] + below[x]
        steep[x + 1] = (zero + below[x]) - above[x]
    smooth[0], smooth[w + 1] = smooth[1], smooth[w]
    steep[0], steep[w + 1] = steep[1], steep[w]
    total = 0.0
    for x in range(w):
        across = np.float64(smooth[x + 2] - smooth[x])
        down = np.float64(steep[x] + steep[x + 1] + steep[x + 1] + steep[x + 2])
        total += across * across + down * down
    return total
