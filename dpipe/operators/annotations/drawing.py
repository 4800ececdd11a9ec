"""Outlines drawn into a picture by the pixel rule of COCO, exactly.

The rule: an outline is traced on a grid five times as fine, each edge as a line of steps of one;
where the trace passes from a column of pixels to the next, the pixels of that column below the
trace change sides. So a pixel is inside if, counted column by column, an odd number of passages
stands before or on it. Passages are few, and only they are kept.

An object is a set of intervals of ``column * height + row``.

References
----------
.. [1] T.-Y. Lin et al., Microsoft COCO, ECCV 2014; the rule is that of ``pycocotools`` [2]_.
.. [2] https://github.com/cocodataset/cocoapi (BSD), ``rleFrPoly``; read for the rule.
"""

import numba
import numpy as np

_FINE = 5
FARTHEST = 1e6
"""Pixels from the corner beyond which a vertex is taken for a mistake."""


@numba.njit(cache=True, nogil=True)
def passages(
    x: np.ndarray, y: np.ndarray, height: int, width: int, out: np.ndarray, count: int
) -> tuple[np.ndarray, int]:
    """Append to `out` where the outline of one ring passes from a column to the next.

    Parameters
    ----------
    x, y : numpy.ndarray, shape (n,)
        Vertices in pixels from the upper left corner, finite.
    height, width : int
        Of the picture.
    out : numpy.ndarray
        int64; grows if it must.
    count : int
        How many entries it has.

    Returns
    -------
    tuple of (numpy.ndarray, int)
        `out`, and its entries now; each is ``column * height + row``.
    """
    n = x.size
    for i in range(n):
        j = i + 1 if i + 1 < n else 0
        xs, ys = np.int64(_FINE * x[i] + 0.5), np.int64(_FINE * y[i] + 0.5)
        xe, ye = np.int64(_FINE * x[j] + 0.5), np.int64(_FINE * y[j] + 0.5)
        dx, dy = abs(xe - xs), abs(ys - ye)
        if not dx:
            continue
        steep = dx < dy
        if (ys > ye) if steep else (xs > xe):
            xs, xe = xe, xs
            ys, ye = ye, ys
        slope = (xe - xs) / dy if steep else (ye - ys) / dx
        # the middle of column c is the step 5 c + 2: there the trace passes from c to c + 1
        first = max((int(min(xs, xe)) + 2) // _FINE, 0)
        last = min((int(max(xs, xe)) - 3) // _FINE, width - 1)
        for column in range(first, last + 1):
            middle = _FINE * column + 2
            if steep:
                lower = ys + _step(xs, slope, dy, middle)
            else:
                t = middle - xs
                lower = min(np.int64(ys + slope * t + 0.5), np.int64(ys + slope * (t + 1) + 0.5))
            row = np.int64(np.ceil(min(max((lower + 0.5) / _FINE - 0.5, 0.0), height)))
            if count + 1 >= out.size:
                grown = np.empty(2 * out.size + 64, np.int64)
                grown[:count] = out[:count]
                out = grown
            out[count] = column * height + row
            count += 1
    return out, count


@numba.njit(cache=True, nogil=True)
def _step(xs: int, slope: float, steps: int, middle: int) -> int:
    """Return the last step of a steep edge before it passes the middle of a column."""
    t: int = min(max(int((middle + 0.5 - xs) / slope), 0), steps - 1)
    rising = slope > 0
    while t > 0 and (np.int64(xs + slope * t + 0.5) > middle) == rising:
        t -= 1
    while t < steps - 1 and (np.int64(xs + slope * (t + 1) + 0.5) > middle) != rising:
        t += 1
    return t


@numba.njit(cache=True, nogil=True)
def centres(
    x: np.ndarray, y: np.ndarray, height: int, width: int, out: np.ndarray, count: int
) -> tuple[np.ndarray, int]:
    """Append where one ring passes, by the rule that a pixel is inside if its centre is.

    Parameters and result are those of `passages`. A centre on an edge is inside where the outline
    is left of it or above.
    """
    n = x.size
    for i in range(n):
        j = i + 1 if i + 1 < n else 0
        low, high = (i, j) if x[i] <= x[j] else (j, i)
        first = max(int(np.ceil(x[low] - 0.5)), 0)
        last = min(int(np.ceil(x[high] - 0.5)), width)
        for column in range(first, last):
            share = (column + 0.5 - x[low]) / (x[high] - x[low])
            row = np.ceil(y[low] + share * (y[high] - y[low]) - 0.5)
            if count + 1 >= out.size:
                grown = np.empty(2 * out.size + 64, np.int64)
                grown[:count] = out[:count]
                out = grown
            out[count] = column * height + np.int64(min(max(row, 0), height))
            count += 1
    return out, count


_FEW = 100
"""Numbers up to which inserting one after another sorts as fast as anything."""


@numba.njit(cache=True, nogil=True)
def _sort(places: np.ndarray) -> None:
    if places.size > _FEW:
        places.sort()
        return
    for k in range(1, places.size):
        place, at = places[k], k
        while at and places[at - 1] > place:
            places[at] = places[at - 1]
            at -= 1
        places[at] = place


@numba.njit(cache=True, nogil=True)
def joined(places: np.ndarray) -> np.ndarray:
    """Return intervals, begins and ends by turns, without overlaps and in order."""
    begins, ends = places[0::2], places[1::2]
    out = np.empty(places.size, np.int64)
    count = 0
    for k in np.argsort(begins):
        if count and begins[k] <= out[count - 1]:
            out[count - 1] = max(out[count - 1], ends[k])
        else:
            out[count], out[count + 1] = begins[k], ends[k]
            count += 2
    return out[:count]


@numba.njit(cache=True, nogil=True)
def inside_rings(
    x: np.ndarray,
    y: np.ndarray,
    counts: np.ndarray,
    height: int,
    width: int,
    centre: bool,
    buffer: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixels inside any ring of an object, as intervals of ``column * height + row``.

    Parameters
    ----------
    x, y : numpy.ndarray, shape (n,)
        Vertices of all rings, one ring after another.
    counts : numpy.ndarray
        Vertices of each ring.
    height, width : int
        Of the picture.
    centre : bool
        Whether pixel centres decide, not the rule of COCO.
    buffer : numpy.ndarray
        int64, for what is worked on; grows if it must.

    Returns
    -------
    tuple of (numpy.ndarray, numpy.ndarray)
        Begins and ends by turns, which may lie in the buffer; none if a vertex is not finite or
        beyond `FARTHEST`. The buffer.
    """
    for k in range(x.size):
        if not (abs(x[k]) <= FARTHEST and abs(y[k]) <= FARTHEST):
            return buffer[:0], buffer
    places = buffer[:0]
    at = 0
    for ring in range(counts.size):
        stop = at + counts[ring]
        if counts[ring] > 2:
            if centre:
                buffer, count = centres(x[at:stop], y[at:stop], height, width, buffer, 0)
            else:
                buffer, count = passages(x[at:stop], y[at:stop], height, width, buffer, 0)
            if count % 2:
                buffer[count] = height * width
                count += 1
            _sort(buffer[:count])
            places = buffer[:count] if counts.size == 1 else np.append(places, buffer[:count])
        at = stop
    return (places if counts.size == 1 else joined(places)), buffer


@numba.njit(cache=True, nogil=True)
def inside_runs(runs: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return the pixels inside run lengths, as `inside_rings`; none if they do not add up."""
    ends = np.cumsum(runs.astype(np.int64))
    if not runs.size or ends[-1] != height * width:
        return np.empty(0, np.int64)
    return ends[: ends.size // 2 * 2]


@numba.njit(cache=True, nogil=True)
def paint(
    picture: np.ndarray,
    width: int,
    places: np.ndarray,
    value: int,
    over: bool,
    shown: np.ndarray,
) -> int:
    """Give the pixels of some intervals a number, and return how many had another already.

    Parameters
    ----------
    picture : numpy.ndarray, shape (height * width,)
        Object numbers, row by row.
    width : int
        Of the picture.
    places : numpy.ndarray
        Begins and ends of the intervals by turns.
    value : int
        The object's number.
    over : bool
        Whether it goes over what is there, or under.
    shown : numpy.ndarray
        Pixels of each number; kept up to date.
    """
    taken, fresh, height = 0, 0, picture.size // width
    for k in range(0, places.size, 2):
        place = (places[k] % height) * width + places[k] // height
        for _ in range(places[k], places[k + 1]):
            before = picture[place]
            if not before:
                picture[place] = value
                fresh += 1
            else:
                taken += 1
                if over:
                    picture[place] = value
                    fresh += 1
                    shown[before] -= 1
            place += width
            if place >= picture.size:  # the next column
                place += 1 - picture.size
    shown[value] += fresh
    return taken
