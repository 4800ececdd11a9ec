"""Label images as outlines along the borders of pixels, and as runs of pixels.

An outline has the corners of pixels as its vertices, whole numbers from the upper left corner of
the picture. An object is cut into its parts, whose pixels meet at their sides; each part has one
exterior ring and a ring for each hole. Drawn by the rule of COCO, which unites the rings of an
object, a ring gives exactly the pixels that it encloses; a part with holes does if its rings are
joined to one, by lines there and back (`one_ring`).

It knows arrays of one picture; it knows no Datasets.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numba
import numpy as np

from dpipe.operators.annotations.drawing import inside_rings, joined

_EAST, _SOUTH, _WEST, _NORTH = 0, 1, 2, 3


class LabelOutlines(NamedTuple):
    """Rings of all objects of a label image, by object, part, and the exterior first.

    Attributes
    ----------
    numbers : numpy.ndarray, shape (object,)
        Numbers of the objects, increasing.
    part_counts : numpy.ndarray, shape (object,)
        Parts of each object.
    ring_counts : numpy.ndarray, shape (part,)
        Rings of each part: its exterior, and holes.
    ring_points : numpy.ndarray, shape (ring,)
        Vertices of each ring; the first is not repeated.
    x, y : numpy.ndarray, shape (point,)
        Vertices in pixels from the upper left corner, whole numbers as float64. The signed area
        (sum of x dy - y dx, halved) of an exterior is positive, that of a hole negative.
    """

    numbers: np.ndarray
    part_counts: np.ndarray
    ring_counts: np.ndarray
    ring_points: np.ndarray
    x: np.ndarray
    y: np.ndarray


class LabelRuns(NamedTuple):
    """Pixels of all objects of a label image, as intervals of ``column * height + row``.

    Attributes
    ----------
    numbers : numpy.ndarray, shape (object,)
        Numbers of the objects, increasing.
    counts : numpy.ndarray, shape (object,)
        Intervals of each object.
    begins, ends : numpy.ndarray
        Of all intervals, in order.
    areas : numpy.ndarray, shape (object,)
        Pixels of each object.
    boxes : numpy.ndarray, shape (object, 4)
        Left, top, width, height in pixels from the upper left corner.
    """

    numbers: np.ndarray
    counts: np.ndarray
    begins: np.ndarray
    ends: np.ndarray
    areas: np.ndarray
    boxes: np.ndarray


def label_outlines(labels: np.ndarray) -> LabelOutlines:
    """Return the outlines of the objects of a label image.

    Parameters
    ----------
    labels : numpy.ndarray, shape (height, width)
        Numbers of objects, 0 outside.

    Returns
    -------
    LabelOutlines
        None lost: the area of an exterior less that of its holes is the number of pixels.

    Examples
    --------
    >>> ring = np.array([[5, 5, 5], [5, 0, 5], [5, 5, 5]])
    >>> found = label_outlines(ring)
    >>> found.numbers.tolist(), found.ring_counts.tolist(), found.ring_points.tolist()
    ([5], [2], [4, 4])
    >>> list(zip(found.x[:4].tolist(), found.y[:4].tolist()))
    [(0.0, 0.0), (3.0, 0.0), (3.0, 3.0), (0.0, 3.0)]
    """
    labels = np.ascontiguousarray(labels)
    parts, owners = _parts(labels)
    x, y, sizes, part_of, hole = _rings(parts)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    numbers, of_ring = np.unique(owners[part_of], return_inverse=True)
    order = np.lexsort((hole, part_of, of_ring))
    points = _members(starts, order)
    in_order = part_of[order]
    first = np.flatnonzero(np.concatenate([[True], in_order[1:] != in_order[:-1]]))[: len(order)]
    return LabelOutlines(
        numbers,
        np.bincount(of_ring[order][first], minlength=len(numbers)),
        np.diff(np.append(first, len(order))),
        sizes[order],
        x[points].astype(np.float64),
        y[points].astype(np.float64),
    )


def label_runs(labels: np.ndarray) -> LabelRuns:
    """Return the pixels of the objects of a label image, as runs down its columns.

    Parameters
    ----------
    labels : numpy.ndarray, shape (height, width)
        Numbers of objects, 0 outside.

    Returns
    -------
    LabelRuns
        Runs that go on in the next column are one.

    Examples
    --------
    >>> found = label_runs(np.array([[7, 0, 2], [0, 0, 2]]))
    >>> found.numbers.tolist(), found.begins.tolist(), found.ends.tolist()
    ([2, 7], [4, 0], [6, 1])
    >>> found.boxes.tolist()
    [[2, 0, 1, 2], [0, 0, 1, 1]]
    """
    height = labels.shape[0]
    flat = labels.T.reshape(-1)
    changes = np.ones(flat.size, bool)
    changes[1:] = flat[1:] != flat[:-1]
    changes[::height] = True  # cut at columns, for the boxes
    begins = np.flatnonzero(changes)
    ends = np.append(begins[1:], flat.size)[: len(begins)]
    inside = flat[begins] != 0
    begins, ends = begins[inside], ends[inside]
    numbers, owner = np.unique(flat[begins], return_inverse=True)
    order = np.argsort(owner, kind="stable")
    begins, ends, owner = begins[order], ends[order], owner[order]
    first = np.searchsorted(owner, np.arange(len(numbers)))
    left, right = begins[first] // height, np.zeros(0, np.int64)
    top, bottom, areas = left, left, left
    if len(numbers):
        right = np.maximum.reduceat(begins // height, first) + 1
        top = np.minimum.reduceat(begins % height, first)
        bottom = np.maximum.reduceat((ends - 1) % height, first) + 1
        areas = np.add.reduceat(ends - begins, first)
    joined = np.ones(len(begins), bool)
    joined[1:] = (begins[1:] != ends[:-1]) | (owner[1:] != owner[:-1])
    stops = np.ones(len(begins), bool)
    stops[:-1] = joined[1:]
    counts = np.bincount(owner[joined], minlength=len(numbers))
    boxes = np.stack([left, top, right - left, bottom - top], axis=1)
    return LabelRuns(numbers, counts, begins[joined], ends[stops], areas, boxes)


def run_lengths(begins: np.ndarray, ends: np.ndarray, pixels: int) -> np.ndarray:
    """Return run lengths as COCO has them, of intervals in order.

    Examples
    --------
    >>> run_lengths(np.array([0, 4]), np.array([1, 6]), 6).tolist()
    [0, 1, 3, 2]
    """
    turns = np.stack([begins, ends], axis=1).reshape(-1)
    last = [pixels] if not len(ends) or ends[-1] < pixels else []
    return np.diff(np.concatenate([[0], turns, last]).astype(np.int64))


def polygon_pixels(rings: Sequence[np.ndarray], height: int, width: int) -> np.ndarray:
    """Return the pixels inside any of some rings by the rule of COCO.

    Parameters
    ----------
    rings : sequence of numpy.ndarray, shape (vertex, 2)
        x, y in pixels from the upper left corner.
    height, width : int
        Of the picture.

    Returns
    -------
    numpy.ndarray
        Begins and ends, by turns, of intervals of ``column * height + row``: in order, apart, and
        none empty. There are none if a vertex is not finite.

    Examples
    --------
    >>> polygon_pixels([np.array([[1.0, 0], [2, 0], [2, 2], [1, 2]])], 3, 4).tolist()
    [3, 5]
    """
    if not len(rings):
        return np.zeros(0, np.int64)
    x, y = (np.concatenate([ring[:, k] for ring in rings]).astype(np.float64) for k in (0, 1))
    sizes = np.array([len(ring) for ring in rings], np.int64)
    places, _ = inside_rings(x, y, sizes, height, width, False, np.empty(1024, np.int64))
    some = np.repeat(places[1::2] > places[0::2], 2)
    return joined(places[some])


def _members(starts: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Return the order of the members of groups, from the order of the groups."""
    counts = np.diff(starts)[order]
    before = np.repeat(np.cumsum(counts) - counts, counts)
    return np.arange(int(counts.sum())) - before + np.repeat(starts[order], counts)


@numba.njit(cache=True, nogil=True)
def one_ring(x: np.ndarray, y: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Join rings to one, by lines from vertex to nearest vertex and back.

    The lines enclose nothing: where a ring counts as inside by an odd number of crossings, the
    joined one encloses what an odd number of the rings does.

    Parameters
    ----------
    x, y : numpy.ndarray, shape (n,)
        Vertices of all rings, one ring after another.
    sizes : numpy.ndarray
        Vertices of each ring.

    Returns
    -------
    tuple of numpy.ndarray
        Vertices of the joined ring: two more for each ring behind the first.

    Examples
    --------
    >>> x, y = np.array([0.0, 9, 9, 0, 2, 2, 4, 4]), np.array([0.0, 0, 9, 9, 2, 4, 4, 2])
    >>> one_ring(x, y, np.array([4, 4]))[0].tolist()
    [0.0, 2.0, 2.0, 4.0, 4.0, 2.0, 0.0, 9.0, 9.0, 0.0]
    """
    most = x.size + 2 * max(sizes.size - 1, 0)
    out_x, out_y = np.empty(most, x.dtype), np.empty(most, y.dtype)
    count, at = 0, 0
    for ring in range(sizes.size):
        size = sizes[ring]
        if not count:
            out_x[:size], out_y[:size] = x[at : at + size], y[at : at + size]
            count, at = size, at + size
            continue
        if not size:
            continue
        best, here, there = np.inf, 0, at
        for i in range(count):
            for j in range(at, at + size):
                distance = (out_x[i] - x[j]) ** 2 + (out_y[i] - y[j]) ** 2
                if distance < best:
                    best, here, there = distance, i, j
        added = size + 2
        for i in range(count - 1, here, -1):
            out_x[i + added], out_y[i + added] = out_x[i], out_y[i]
        for k in range(size + 1):
            j = at + (there - at + k) % size
            out_x[here + 1 + k], out_y[here + 1 + k] = x[j], y[j]
        out_x[here + added], out_y[here + added] = out_x[here], out_y[here]
        count, at = count + added, at + size
    return out_x[:count], out_y[:count]


@numba.njit(cache=True, nogil=True)
def _root(above: np.ndarray, k: int) -> int:
    while above[k] != k:
        above[k] = above[above[k]]
        k = above[k]
    return k


@numba.njit(cache=True, nogil=True)
def _parts(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the parts, numbered from 1, and the label of each; row by row, so some are unused."""
    height, width = labels.shape
    parts = np.zeros((height, width), np.int64)
    above = np.arange(labels.size + 1)
    count = 0
    for r in range(height):
        for c in range(width):
            label = labels[r, c]
            if label == 0:
                continue
            left = _root(above, parts[r, c - 1]) if c and labels[r, c - 1] == label else 0
            over = _root(above, parts[r - 1, c]) if r and labels[r - 1, c] == label else 0
            if left and over:
                parts[r, c] = min(left, over)
                above[max(left, over)] = min(left, over)
            elif left or over:
                parts[r, c] = left or over
            else:
                count += 1
                parts[r, c] = count
    owners = np.zeros(count + 1, labels.dtype)
    for r in range(height):
        for c in range(width):
            if parts[r, c]:
                parts[r, c] = _root(above, parts[r, c])
                owners[parts[r, c]] = labels[r, c]
    return parts, owners


@numba.njit(cache=True, nogil=True)
def _is(parts: np.ndarray, r: int, c: int, part: int) -> bool:
    height, width = parts.shape
    return 0 <= r < height and 0 <= c < width and parts[r, c] == part


@numba.njit(cache=True, nogil=True)
def _turn(parts: np.ndarray, y: int, x: int, way: int, part: int) -> int:
    """Return the next way at a corner, with the part to the right (y runs downwards)."""
    if way == _EAST:
        right, left = _is(parts, y, x, part), _is(parts, y - 1, x, part)
    elif way == _SOUTH:
        right, left = _is(parts, y, x - 1, part), _is(parts, y, x, part)
    elif way == _WEST:
        right, left = _is(parts, y - 1, x - 1, part), _is(parts, y, x - 1, part)
    else:
        right, left = _is(parts, y - 1, x, part), _is(parts, y - 1, x - 1, part)
    if not right:
        return (way + 1) % 4
    return (way + 3) % 4 if left else way


@numba.njit(cache=True, nogil=True)
def _grown(values: np.ndarray, count: int, most: int) -> np.ndarray:
    """Return an array with room for more."""
    if count + most <= values.size:
        return values
    larger = np.empty(2 * values.size + most, values.dtype)
    larger[:count] = values[:count]
    return larger


@numba.njit(cache=True, nogil=True)
def _rings(
    parts: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return x and y of all vertices; vertices and part of each ring, and whether it is a hole."""
    height, width = parts.shape
    seen = np.zeros((height, width), np.bool_)
    place = np.full((height + 1) * (width + 1), -1, np.int64)
    stack = np.empty(1024, np.int64)
    x, y = np.empty(1024, np.int64), np.empty(1024, np.int64)
    sizes, owners, hole = np.empty(256, np.int64), np.empty(256, np.int64), np.empty(256, np.int64)
    points, rings = 0, 0
    for r in range(height):
        for c in range(width):
            part = parts[r, c]
            if part == 0 or seen[r, c] or _is(parts, r - 1, c, part):
                continue
            at_y, at_x, way, depth = r, c, _EAST, 0
            while True:
                stack = _grown(stack, depth, 1)
                here = at_y * (width + 1) + at_x
                first = place[here]
                if first >= 0:  # the ring meets itself in a corner: what is between is a ring
                    x, y = _grown(x, points, depth), _grown(y, points, depth)
                    sizes, owners = _grown(sizes, rings, 1), _grown(owners, rings, 1)
                    hole = _grown(hole, rings, 1)
                    area, before = 0, stack[depth - 1]
                    for k in range(first, depth):
                        x[points], y[points] = stack[k] % (width + 1), stack[k] // (width + 1)
                        area += (before % (width + 1) - x[points]) * y[points]  # of level sides
                        before = stack[k]
                        points += 1
                        place[stack[k]] = -1
                    sizes[rings], owners[rings], hole[rings] = depth - first, part, area < 0
                    rings += 1
                    depth = first
                    if at_y == r and at_x == c and way == _EAST:
                        break
                stack[depth] = here
                place[here] = depth
                depth += 1
                turned = way
                while turned == way:
                    if way == _EAST:
                        seen[at_y, at_x] = True
                    at_x += (way == _EAST) - (way == _WEST)
                    at_y += (way == _SOUTH) - (way == _NORTH)
                    turned = _turn(parts, at_y, at_x, way, part)
                way = turned
    return x[:points], y[:points], sizes[:rings], owners[:rings], hole[:rings]
