"""Shapes of objects in numbers: extents, areas, edges that cross, all in one pass.

It knows vertices; what a fault is stands in ``objects``.
"""

import numba
import numpy as np

FARTHEST = 1e6
"""Pixels from the corner beyond which a vertex is taken for a mistake."""


@numba.njit(cache=True, nogil=True)
def outline_facts(
    x: np.ndarray, y: np.ndarray, rings: np.ndarray, ring_sizes: np.ndarray, vertices: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Measure the outlines of objects.

    Parameters
    ----------
    x, y : numpy.ndarray, shape (vertex,)
        Vertices of all rings.
    rings, vertices : numpy.ndarray, shape (object + 1,)
        Where rings and vertices of each object begin.
    ring_sizes : numpy.ndarray, shape (ring,)
        Vertices of each ring.

    Returns
    -------
    tuple of numpy.ndarray
        Extents (object, 4) as left, top, right, bottom; areas by the corners; whether a ring has
        fewer than three vertices or one that is no number or far away; whether two edges of a
        ring cross.
    """
    n = rings.size - 1
    extents, areas = np.full((n, 4), np.nan), np.zeros(n)
    bad, crossing = np.zeros(n, np.bool_), np.zeros(n, np.bool_)
    for i in range(n):
        if rings[i] == rings[i + 1]:
            continue
        for k in range(vertices[i], vertices[i + 1]):
            bad[i] |= not (abs(x[k]) <= FARTHEST and abs(y[k]) <= FARTHEST)
        at = vertices[i]
        for ring in range(rings[i], rings[i + 1]):
            bad[i] |= ring_sizes[ring] < 3
        if bad[i]:
            continue
        for ring in range(rings[i], rings[i + 1]):
            end = at + ring_sizes[ring]
            areas[i] += abs(_area(x[at:end], y[at:end]))
            crossing[i] |= _crosses(x[at:end], y[at:end])
            at = end
        inside = slice(vertices[i], vertices[i + 1])
        extents[i, 0], extents[i, 1] = x[inside].min(), y[inside].min()
        extents[i, 2], extents[i, 3] = x[inside].max(), y[inside].max()
    return extents, areas, bad, crossing


@numba.njit(cache=True, nogil=True)
def _area(x: np.ndarray, y: np.ndarray) -> float:
    """Return the area of a ring by the shoelace formula, with its sign."""
    twice = 0.0
    for i in range(x.size):
        j = i + 1 if i + 1 < x.size else 0
        twice += (x[i] - x[0]) * (y[j] - y[0]) - (x[j] - x[0]) * (y[i] - y[0])
    return twice / 2


@numba.njit(cache=True, nogil=True)
def _side(ax: float, ay: float, bx: float, by: float, cx: float, cy: float) -> float:
    """Return on which side of a line a point lies: above 0, below, or 0 on it."""
    return (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)


@numba.njit(cache=True, nogil=True)
def _crosses(x: np.ndarray, y: np.ndarray) -> bool:
    """Tell whether two edges of a ring cross in a point inside both; touching is not crossing."""
    n = x.size
    if n < 4:
        return False
    left, right = np.empty(n), np.empty(n)
    for i in range(n):
        j = i + 1 if i + 1 < n else 0
        left[i], right[i] = min(x[i], x[j]), max(x[i], x[j])
    order = np.argsort(left)
    for p in range(n):
        i = order[p]
        i2 = i + 1 if i + 1 < n else 0
        low, high = min(y[i], y[i2]), max(y[i], y[i2])
        for q in range(p + 1, n):
            j = order[q]
            if left[j] > right[i]:
                break
            j2 = j + 1 if j + 1 < n else 0
            if i2 == j or j2 == i or max(y[j], y[j2]) < low or min(y[j], y[j2]) > high:
                continue
            a = _side(x[i], y[i], x[i2], y[i2], x[j], y[j])
            b = _side(x[i], y[i], x[i2], y[i2], x[j2], y[j2])
            c = _side(x[j], y[j], x[j2], y[j2], x[i], y[i])
            d = _side(x[j], y[j], x[j2], y[j2], x[i2], y[i2])
            if ((a > 0) != (b > 0)) and ((c > 0) != (d > 0)) and a * b * c * d != 0:
                return True
    return False
