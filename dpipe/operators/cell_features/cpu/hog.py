"""Histograms of oriented gradients of a plane shrunk or grown to 64 x 64; host only, with numba.

It works on packed pictures (``_cell_pictures.py`` says how they lie). Sums run in the order of
SciPy's filters, so that a gradient falls into the same bin as there.

References
----------
N. Dalal, B. Triggs, Proc. IEEE CVPR 2005, 886-893; norm L2-Hys over blocks of one cell.
"""

import math

import numba
import numpy as np

_SIZE, _CELL, _BINS = 64, 12, 8
_CELLS = _SIZE // _CELL
N_BINS = _CELLS * _CELLS * _BINS
_COS = tuple(math.cos(math.pi * k / _BINS) for k in range(_BINS))
_SIN = tuple(math.sin(math.pi * k / _BINS) for k in range(_BINS))
_TINY, _CUT = 1e-5, 0.2  # of L2-Hys


@numba.njit(nogil=True, cache=True)
def gradients(
    pixels: np.ndarray,
    offset: np.ndarray,
    height: np.ndarray,
    width: np.ndarray,
    out: np.ndarray,
) -> None:  # pragma: no cover
    """Write 5 x 5 cells x 8 orientations of each channel."""
    channels = out.shape[1]
    for r in range(offset.size):
        h, w = np.int64(height[r]), np.int64(width[r])
        for c in range(channels):
            plane = np.empty((h, w))
            flat, first = plane.ravel(), offset[r] * channels + c * h * w
            for i in range(h * w):
                flat[i] = pixels[first + i]
            _histograms(_resized(plane), out[r, c])


@numba.njit(nogil=True, cache=True)
def _mirrored(i: int, n: int) -> int:  # pragma: no cover
    """Reflect an index at the centres of the first and last pixel."""
    if n == 1:
        return 0
    i = abs(i) % (2 * n - 2)
    return i if i < n else 2 * n - 2 - i


@numba.njit(nogil=True, cache=True)
def _smooth(plane: np.ndarray) -> np.ndarray:  # pragma: no cover
    """Filter along the rows' axis by the Gaussian that suits shrinking to `_SIZE`."""
    n = plane.shape[0]
    sigma = max(0.0, (n / _SIZE - 1) / 2)
    reach = int(4 * sigma + 0.5)
    if reach == 0:
        return plane
    weights = np.empty(reach + 1)
    for k in range(reach + 1):
        weights[k] = math.exp(-0.5 / (sigma * sigma) * (k * k))
    weights /= weights[0] + 2 * weights[1:].sum()
    out = np.empty_like(plane)
    for y in range(n):
        for x in range(plane.shape[1]):
            out[y, x] = plane[y, x] * weights[0]
        for k in range(reach, 0, -1):
            before, after = plane[_mirrored(y - k, n)], plane[_mirrored(y + k, n)]
            for x in range(plane.shape[1]):
                out[y, x] += (before[x] + after[x]) * weights[k]
    return out


@numba.njit(nogil=True, cache=True)
def _resized(plane: np.ndarray) -> np.ndarray:  # pragma: no cover
    """Smooth where it shrinks, then interpolate between pixels, the picture's edges in place."""
    h, w = plane.shape
    if h > _SIZE or w > _SIZE:
        plane = _smooth(np.ascontiguousarray(_smooth(plane).T)).T.copy()
    neighbours = np.empty((2, _SIZE, 2), np.int64)
    share = np.empty((2, _SIZE))
    for axis in range(2):
        n = h if axis == 0 else w
        for i in range(_SIZE):
            place = n / _SIZE * i + (0.5 * (n / _SIZE) - 0.5)
            if n == 1:
                place = 0.0
            elif place < 0:
                place = -place
            elif place > n - 1:
                place = 2 * (n - 1) - place
            low = int(place)
            neighbours[axis, i, 0], neighbours[axis, i, 1] = low, _mirrored(low + 1, n)
            share[axis, i] = place - low
    out = np.empty((_SIZE, _SIZE))
    for y in range(_SIZE):
        above, below, t = plane[neighbours[0, y, 0]], plane[neighbours[0, y, 1]], share[0, y]
        for x in range(_SIZE):
            i, j, s = neighbours[1, x, 0], neighbours[1, x, 1], share[1, x]
            value = above[i] * (1 - t) * (1 - s)
            value += above[j] * (1 - t) * s
            value += below[i] * t * (1 - s)
            out[y, x] = value + below[j] * t * s
    return out


@numba.njit(nogil=True, cache=True)
def _histograms(plane: np.ndarray, out: np.ndarray) -> None:  # pragma: no cover
    out[:] = 0
    for y in range(_CELLS * _CELL):
        for x in range(_CELLS * _CELL):
            down = plane[y + 1, x] - plane[y - 1, x] if y > 0 else 0.0
            across = plane[y, x + 1] - plane[y, x - 1] if x > 0 else 0.0
            size = math.sqrt(across * across + down * down)
            if size == 0:
                continue
            up = down < 0 or (down == 0 and across < 0)
            y1, x1 = (-down, -across) if up else (down, across)
            bin_, doubt = 0, abs(y1) < 1e-9 * size
            for k in range(1, _BINS):
                side = y1 * _COS[k] - x1 * _SIN[k]
                bin_ += side >= 0
                doubt |= abs(side) < 1e-9 * size
            if doubt:  # on a border rounding decides as it does there
                bin_ = int(((math.atan2(down, across) * (180 / math.pi)) % 180) / (180 / _BINS))
            if bin_ < _BINS:  # a hair under 180 degrees rounds to it and falls out, as there
                out[((y // _CELL) * _CELLS + x // _CELL) * _BINS + bin_] += size
    for cell in range(_CELLS * _CELLS):
        block = out[cell * _BINS : (cell + 1) * _BINS]
        block /= _CELL * _CELL
        block /= math.sqrt((block * block).sum() + _TINY * _TINY)
        block[:] = np.minimum(block, _CUT)
        block /= math.sqrt((block * block).sum() + _TINY * _TINY)
