"""Pixels of objects, and of pairs of them that lie on each other, a picture at a time."""

import numba
import numpy as np

from dpipe.operators import inside_rings, inside_runs


@numba.njit(cache=True, nogil=True)
def picture_pairs(
    height: int,
    width: int,
    objects: np.ndarray,
    shapes: np.ndarray,
    boxes: np.ndarray,
    rings: np.ndarray,
    ring_sizes: np.ndarray,
    vertices: np.ndarray,
    runs: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    run_lengths: np.ndarray,
    pixels: np.ndarray,
    extents: np.ndarray,
    least: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Count the pixels of the objects of a picture, and those that two of them share.

    Parameters
    ----------
    height, width : int
        Of the picture.
    objects : numpy.ndarray
        Its objects.
    shapes, boxes, rings, ring_sizes, vertices, runs, x, y, run_lengths : numpy.ndarray
        Columns of an annotation table; ``shapes`` is 1 for rings, 2 for runs, 3 for a box alone.
    pixels : numpy.ndarray, shape (object,)
        Gets the pixels of each object.
    extents : numpy.ndarray, shape (object, 4)
        Left, top, right, bottom of outlines; gets those of runs and boxes too.
    least : float
        Share of the smaller object that a pair must have in common.

    Returns
    -------
    tuple of numpy.ndarray
        Pairs of objects (pair, 2), and the pixels that each shares.
    """
    n = objects.size
    buffer, places = np.empty(1024, np.int64), np.empty(1024, np.int64)
    begins = np.zeros(n + 1, np.int64)
    lone = np.array([4])
    for k in range(n):
        i = objects[k]
        if shapes[i] == 1:
            a, b = vertices[i], vertices[i + 1]
            sides = ring_sizes[rings[i] : rings[i + 1]]
            found, buffer = inside_rings(x[a:b], y[a:b], sides, height, width, False, buffer)
        elif shapes[i] == 2:
            found = inside_runs(run_lengths[runs[i] : runs[i + 1]], height, width)
            _extent_of_runs(found, height, extents[i])
        else:
            left, top = boxes[i, 0], boxes[i, 1]
            right, bottom = left + boxes[i, 2], top + boxes[i, 3]
            extents[i, 0], extents[i, 1], extents[i, 2], extents[i, 3] = left, top, right, bottom
            xs, ys = np.array([left, right, right, left]), np.array([top, top, bottom, bottom])
            found, buffer = inside_rings(xs, ys, lone, height, width, False, buffer)
        at = begins[k]
        places = _grown(places, at, found.size)
        places[at : at + found.size] = found
        begins[k + 1] = at + found.size
        pixels[i] = found[1::2].sum() - found[0::2].sum()
    return _pairs(objects, begins, places, pixels, extents, least)


@numba.njit(cache=True, nogil=True)
def _grown(places: np.ndarray, filled: int, more: int) -> np.ndarray:
    """Return an array with room for more entries behind those that are filled."""
    if filled + more <= places.size:
        return places
    grown = np.empty(2 * (filled + more), np.int64)
    grown[:filled] = places[:filled]
    return grown


@numba.njit(cache=True, nogil=True)
def _extent_of_runs(found: np.ndarray, height: int, extent: np.ndarray) -> None:
    """Write left, top, right and bottom of some intervals of ``column * height + row``."""
    left, top, right, bottom = 1 << 40, 1 << 40, 0, 0
    for k in range(0, found.size, 2):
        begin, last = found[k], found[k + 1] - 1
        if last < begin:
            continue
        left, right = min(left, begin // height), max(right, last // height + 1)
        if begin // height != last // height:  # reaches around the border of a column
            top, bottom = 0, height
        else:
            top, bottom = min(top, begin % height), max(bottom, last % height + 1)
    if right:
        extent[0], extent[1], extent[2], extent[3] = left, top, right, bottom


@numba.njit(cache=True, nogil=True)
def _pairs(
    objects: np.ndarray,
    begins: np.ndarray,
    places: np.ndarray,
    pixels: np.ndarray,
    extents: np.ndarray,
    least: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Return pairs whose common pixels are a large share of the smaller one, by a sweep."""
    n, count = objects.size, 0
    pairs, shared = np.empty((16, 2), np.int64), np.empty(16, np.int64)
    order = np.argsort(extents[objects, 0])
    for p in range(n):
        k = order[p]
        i = objects[k]
        for q in range(p + 1, n):
            other = order[q]
            j = objects[other]
            if extents[j, 0] > extents[i, 2]:
                break
            if extents[j, 1] > extents[i, 3] or extents[j, 3] < extents[i, 1]:
                continue
            common = _common(
                places[begins[k] : begins[k + 1]], places[begins[other] : begins[other + 1]]
            )
            if common and common > least * min(pixels[i], pixels[j]):
                if count == shared.size:
                    wider, longer = (
                        np.empty((2 * count, 2), np.int64),
                        np.empty(2 * count, np.int64),
                    )
                    wider[:count], longer[:count] = pairs, shared
                    pairs, shared = wider, longer
                pairs[count, 0], pairs[count, 1] = min(i, j), max(i, j)
                shared[count] = common
                count += 1
    return pairs[:count], shared[:count]


@numba.njit(cache=True, nogil=True)
def _common(a: np.ndarray, b: np.ndarray) -> int:
    """Return how much two lists of intervals have in common."""
    i, j, total = 0, 0, 0
    while i < a.size and j < b.size:
        begin, end = max(a[i], b[j]), min(a[i + 1], b[j + 1])
        if end > begin:
            total += end - begin
        if a[i + 1] < b[j + 1]:
            i += 2
        else:
            j += 2
    return total
