"""Outlines and boxes cut off at the border of their picture.

A ring is clipped side by side, as Sutherland and Hodgman do [1]_.

References
----------
.. [1] I. E. Sutherland, G. W. Hodgman, Reentrant polygon clipping, CACM 17 (1974) 32-42.
"""

from collections.abc import Sequence

import numpy as np


def clipped_ring(ring: Sequence[float], height: int, width: int) -> list[float]:
    """Return the part of a ring that lies in a picture, as x and y by turns; empty if none does.

    Examples
    --------
    >>> clipped_ring([-2, 0, 2, 0, 2, 2, -2, 2], 8, 8)
    [0.0, 0.0, 2.0, 0.0, 2.0, 2.0, 0.0, 2.0]
    """
    points = np.array(ring, float).reshape(-1, 2)
    for axis, limit, sign in ((0, 0, 1), (0, width, -1), (1, 0, 1), (1, height, -1)):
        if not len(points):
            break
        depth = sign * (points[:, axis] - limit)
        kept: list[np.ndarray] = []
        for k in range(len(points)):
            before, inside = depth[k - 1], depth[k]
            if (before < 0) != (inside < 0):
                share = before / (before - inside)
                crossed = points[k - 1] + share * (points[k] - points[k - 1])
                crossed[axis] = limit
                if not (kept and np.array_equal(kept[-1], crossed)):
                    kept.append(crossed)
            if inside >= 0 and not (kept and np.array_equal(kept[-1], points[k])):
                kept.append(points[k])
        if len(kept) > 1 and np.array_equal(kept[0], kept[-1]):
            kept.pop()
        points = np.array(kept).reshape(-1, 2)
    return [float(value) for value in points.ravel()]


def clipped_box(box: Sequence[float], height: int, width: int) -> list[float]:
    """Return left, top, width, height of the part of a box in a picture; empty if none is."""
    left, top = max(box[0], 0.0), max(box[1], 0.0)
    right, bottom = min(box[0] + box[2], width), min(box[1] + box[3], height)
    return [left, top, right - left, bottom - top] if right > left and bottom > top else []


def ring_area(ring: Sequence[float]) -> float:
    """Return the area inside a ring by the shoelace formula.

    Examples
    --------
    >>> ring_area([0, 0, 4, 0, 4, 3])
    6.0
    """
    x, y = np.array(ring, float).reshape(-1, 2).T
    return float(abs(np.dot(x - x[0], np.roll(y, -1)) - np.dot(np.roll(x - x[0], -1), y)) / 2)
