"""Maximum projection of a volume whose planes were each divided by their own maximum.

One look at the volume also counts its saturated voxels and its empty planes. This file knows
nothing of what the projection is used for.
"""

from typing import Any

import numba
import numpy as np

from dpipe.compute import beside, namespace


def normalised_projection(volume: Any, full_scale: float = np.inf) -> tuple[Any, Any, Any]:
    """Project a volume (z, y, x): 255 max over z of (plane / its maximum), halves rounded up.

    Parameters
    ----------
    volume : array, shape (z, y, x)
        Any real dtype; voxels below 0 or not finite count as 0.
    full_scale : float
        Voxels of at least this value are counted as saturated.

    Returns
    -------
    projection : array of uint8, shape (y, x)
        A plane without a value above 0 adds nothing.
    empty : int
        Number of such planes.
    saturated : int
        Number of saturated voxels.
    """
    if isinstance(volume, np.ndarray) and volume.dtype in (np.uint8, np.uint16):
        return _by_products(np.ascontiguousarray(volume), full_scale)
    return by_planes(volume, full_scale)


def by_planes(volume: Any, full_scale: float = np.inf) -> tuple[Any, Any, Any]:
    """Do it plane by plane, on any kind of array."""
    xp = namespace(volume)
    largest = xp.zeros(volume.shape[1:], dtype=xp.float64, **beside(volume))
    empty = xp.zeros((), dtype=xp.int64, **beside(volume))
    saturated = xp.zeros((), dtype=xp.int64, **beside(volume))
    for z in range(volume.shape[0]):
        plane = xp.astype(volume[z, :, :], xp.float64)
        saturated = saturated + xp.count_nonzero(plane >= full_scale)
        plane = xp.where(xp.isfinite(plane) & (plane > 0), plane, 0.0)
        top = xp.max(plane)
        empty = empty + xp.astype(top == 0, xp.int64)
        largest = xp.maximum(largest, plane / xp.where(top > 0, top, 1.0))
    scaled = 255.0 * largest
    whole = xp.floor(scaled)
    rounded = whole + xp.astype(scaled - whole >= 0.5, xp.float64)
    return xp.astype(rounded, xp.uint8), empty, saturated


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _by_products(volume: np.ndarray, full_scale: float) -> tuple[Any, Any, Any]:  # pragma: no cover
    """Compare quotients by their cross products, exact in 32 bits, and divide once a pixel.

    In float32, in float64 and in exact arithmetic the rounded result is the same for every value
    and maximum of 16 bits (all 2.1e9 pairs were tried).
    """
    planes, height, width = volume.shape
    tops = np.zeros(planes, np.uint32)
    limit = np.empty(1, volume.dtype)
    empty = 0
    saturated = np.int64(0)
    for z in range(planes):
        top = volume[z, 0, 0]
        for y in range(height):
            row = volume[z, y]
            for x in range(width):
                top = max(top, row[x])
        tops[z] = top
        empty += top == 0
        if top >= full_scale:
            limit[0] = np.ceil(full_scale)
            for y in range(height):
                row = volume[z, y]
                for x in range(width):
                    saturated += np.int64(row[x] >= limit[0])
    result = np.empty((height, width), np.uint8)
    value = np.empty(width, np.uint32)
    over = np.empty(width, np.uint32)
    for y in range(height):
        value[:] = 0
        over[:] = 1
        for z in range(planes):
            if tops[z] > 0:
                top = tops[z]
                row = volume[z, y]
                for x in range(width):
                    v = np.uint32(row[x])
                    more = np.uint32(v * over[x]) > np.uint32(value[x] * top)
                    value[x] = v if more else value[x]
                    over[x] = top if more else over[x]
        out = result[y]
        for x in range(width):
            out[x] = np.uint8(255.0 * np.float64(value[x]) / np.float64(over[x]) + 0.5)
    return result, empty, saturated
