"""Histograms of oriented gradients of padded batches, on any kind of array.

The same numbers as ``_cell_hog.py``: smoothing and resizing along an axis are one matrix for each
length, made on the host.
"""

import math
from functools import cache
from typing import Any

import numpy as np

from dpipe.operators.cell_features.gpu.batch import Batch

_SIZE, _CELL, _BINS = 64, 12, 8
_CELLS = _SIZE // _CELL
_TINY, _CUT = 1e-5, 0.2  # of L2-Hys


def gradients(batch: Batch) -> Any:
    """5 x 5 cells x 8 orientations of each channel, (n, c, 200)."""
    xp, sides = batch.xp, []
    for axis, lengths in enumerate(batch.sides):
        whole = np.zeros((len(lengths), 1, _SIZE, batch.size[axis]))
        for k, n in enumerate(lengths):
            whole[k, 0, :, :n] = _resizing(int(n))
        sides.append(batch.array(whole, "float64"))
    small = xp.matmul(xp.matmul(sides[0], batch.planes), xp.moveaxis(sides[1], 2, 3))
    down, across = xp.zeros_like(small), xp.zeros_like(small)
    down[..., 1:-1, :] = small[..., 2:, :] - small[..., :-2, :]
    across[..., 1:-1] = small[..., 2:] - small[..., :-2]
    size = xp.sqrt(down * down + across * across)
    angle = xp.remainder(xp.atan2(down, across) * (180 / math.pi), batch.full(size, 180.0))
    bins = xp.floor(angle / (180 / _BINS))
    edge, n = _CELLS * _CELL, small.shape[0]
    cells = (n, batch.channels, _CELLS, _CELL, _CELLS, _CELL)
    orientations = []
    for k in range(_BINS):
        votes = (size * batch.real(bins == k))[..., :edge, :edge]
        orientations.append(xp.sum(xp.reshape(votes, cells), axis=(3, 5)) / _CELL**2)
    block = xp.stack(orientations, axis=-1)
    for cut in (_CUT, float("inf")):
        root = xp.sqrt(xp.sum(block * block, axis=-1, keepdims=True) + _TINY**2)
        block = xp.minimum(block / root, batch.full(block, cut))
    return xp.reshape(block, (n, batch.channels, -1))


@cache
def _resizing(n: int) -> np.ndarray:
    """Return the matrix (64, n) that smooths, where it shrinks, and interpolates."""
    sigma = max(0.0, (n / _SIZE - 1) / 2)
    reach = int(4 * sigma + 0.5)
    smooth = np.zeros((n, n))
    weights = np.exp(-0.5 / max(sigma, 1e-9) ** 2 * np.arange(-reach, reach + 1) ** 2)
    for step, weight in zip(range(-reach, reach + 1), weights / weights.sum(), strict=True):
        np.add.at(smooth, (np.arange(n), _mirrored(np.arange(n) + step, n)), weight)
    place = n / _SIZE * np.arange(_SIZE) + (0.5 * (n / _SIZE) - 0.5)
    place = np.abs(place) if n > 1 else np.zeros(_SIZE)
    place = np.where(place > n - 1, 2 * (n - 1) - place, place)
    low = np.floor(place).astype(int)
    between = np.zeros((_SIZE, n))
    np.add.at(between, (np.arange(_SIZE), low), 1 - (place - low))
    np.add.at(between, (np.arange(_SIZE), _mirrored(low + 1, n)), place - low)
    return between @ smooth


def _mirrored(index: np.ndarray, n: int) -> np.ndarray:
    """Reflect indices at the centres of the first and last pixel."""
    if n == 1:
        return np.zeros_like(index)
    index = np.abs(index) % (2 * n - 2)
    return np.where(index < n, index, 2 * n - 2 - index)
