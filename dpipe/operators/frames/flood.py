"""Floods on 8-bit pictures with eight neighbours: reconstruction, regional maxima, watershed.

Each kernel works on a picture with a frame of one pixel around it, so that a neighbour is an
offset and no border needs a test. Host only: a flood goes pixel by pixel. This file knows nothing
of cells.

References
----------
L. Vincent, IEEE Trans. Image Processing 2 (1993) 176-201, the hybrid algorithm (reconstruction).
F. Meyer, Proc. 8th RFIA congress, Lyon 1991, 847-857 (watershed by ordered queues).
"""

import numba
import numpy as np


def extended_maxima(plane: np.ndarray, height: int) -> np.ndarray:
    """Mark the regional maxima of a uint8 plane whose peaks were cut by `height`.

    A peak that stands less than `height` above its surroundings melts into them.

    Returns
    -------
    array of bool, shape (y, x)
        True where nothing that the pixel is level with touches anything higher.
    """
    mask = framed(plane, -1)
    marker = framed(np.maximum(plane.astype(np.int16) - height, 0), -1)
    level = _reconstruct(marker, mask)
    rows = np.maximum(np.maximum(level[:-2], level[1:-1]), level[2:])
    around = np.maximum(np.maximum(rows[:, :-2], rows[:, 1:-1]), rows[:, 2:])
    peaks = framed(inner(level) == around, False)
    _drop_plateaus(level, peaks)
    return inner(peaks)


def watershed(plane: np.ndarray, markers: np.ndarray) -> np.ndarray:
    """Flood the complement of a uint8 plane from numbered markers; lines of 0 part the basins.

    Water rises everywhere alike and only from the markers. Pixels at one level are taken in the
    order they were reached in, neighbours by sides before those by corners, markers row by row;
    a pixel that touches another basin than the one it was reached from is line.

    Parameters
    ----------
    plane : array of uint8, shape (y, x)
        Bright is deep.
    markers : array of int32, shape (y, x)
        Numbers above 0; no two may touch.

    Returns
    -------
    array of int32, shape (y, x)
    """
    basins = framed(markers, -1)
    _watershed(framed(255 - plane, 0), basins)
    return np.maximum(inner(basins), 0)


def framed(plane: np.ndarray, value: int) -> np.ndarray:
    """Put a frame of one pixel around a plane; uint8 becomes int16."""
    wide = np.int16 if plane.dtype == np.uint8 else plane.dtype
    result = np.full((plane.shape[0] + 2, plane.shape[1] + 2), value, wide)
    inner(result)[...] = plane
    return result


def inner(plane: np.ndarray) -> np.ndarray:
    """Return a plane without its frame of one pixel."""
    return plane[1:-1, 1:-1]


@numba.njit(nogil=True, cache=True)
def _steps(width: int) -> np.ndarray:  # pragma: no cover
    """Offsets of the eight neighbours: those by sides, then those by corners."""
    w = width
    return np.array([-w, -1, 1, w, -w - 1, -w + 1, w - 1, w + 1])


@numba.njit(nogil=True, cache=True)
def _reconstruct(marker: np.ndarray, mask: np.ndarray) -> np.ndarray:  # pragma: no cover
    """Dilate the marker (at most the mask) under the mask until nothing changes.

    One pass down, one up, then a queue of what still spreads. A pixel waits there but once, so a
    ring as long as the picture is enough. Frames hold the least value.
    """
    height, width = mask.shape
    value, limit = marker.ravel(), mask.ravel()
    steps = _steps(width)
    for y in range(1, height - 1):
        for p in range(y * width + 1, (y + 1) * width - 1):
            highest = max(value[p - width - 1], value[p - width], value[p - width + 1])
            value[p] = min(max(highest, value[p - 1], value[p]), limit[p])
    queue = np.empty(value.size, np.int32)
    waits = np.zeros(value.size, np.bool_)
    head = count = 0
    for y in range(height - 2, 0, -1):
        for p in range((y + 1) * width - 2, y * width, -1):
            highest = max(value[p + width - 1], value[p + width], value[p + width + 1])
            here = min(max(highest, value[p + 1], value[p]), limit[p])
            value[p] = here
            for step in (1, width - 1, width, width + 1):
                q = p + step
                if value[q] < here and value[q] < limit[q]:
                    queue[count] = p
                    waits[p] = True
                    count += 1
                    break
    while count:
        p = queue[head]
        waits[p] = False
        head = head + 1 if head + 1 < queue.size else 0
        count -= 1
        for step in steps:
            q = p + step
            if value[q] < value[p] and value[q] < limit[q]:
                value[q] = min(value[p], limit[q])
                if not waits[q]:
                    waits[q] = True
                    queue[(head + count) % queue.size] = q
                    count += 1
    return value.reshape(height, width)


@numba.njit(nogil=True, cache=True)
def _drop_plateaus(plane: np.ndarray, peaks: np.ndarray) -> None:  # pragma: no cover
    """Drop, in place, peaks whose plateau also holds a pixel that is no peak."""
    height, width = plane.shape
    value, result = plane.ravel(), peaks.ravel()
    steps = _steps(width)
    stack = np.empty(value.size, np.int32)
    for y in range(1, height - 1):
        for p in range(y * width + 1, (y + 1) * width - 1):
            count = 0
            if result[p]:
                for step in steps:
                    if value[p + step] == value[p] and not result[p + step]:
                        result[p] = False
                        stack[0], count = p, 1
                        break
            while count:
                count -= 1
                top = stack[count]
                for step in steps:
                    q = top + step
                    if result[q] and value[q] == value[p]:
                        result[q] = False
                        stack[count] = q
                        count += 1


@numba.njit(nogil=True, cache=True)
def _watershed(level: np.ndarray, basins: np.ndarray) -> None:  # pragma: no cover
    """Flood in place: a queue for each level, linked through `after`; lines and the frame are -1.

    A pixel is decided when it is taken first, so each neighbour puts it into a queue at most once.
    """
    width = level.shape[1]
    depth, basin = level.ravel(), basins.ravel()
    steps = _steps(width)
    room = 8 * np.count_nonzero(basin == 0)
    pixel, source = np.empty(room, np.int32), np.empty(room, np.int32)
    after = np.full(room, -1, np.int32)
    first, last = np.full(256, -1, np.int32), np.full(256, -1, np.int32)
    used = water = 0
    start = width + 1
    while water < 256:
        if start < basin.size - width - 1:  # markers come first
            p, number = start, basin[start]
            start += 1
            if number <= 0:
                continue
        elif first[water] < 0:
            water += 1
            continue
        else:
            p, number = pixel[first[water]], source[first[water]]
            first[water] = after[first[water]]
            if basin[p] != 0:
                continue
            basin[p] = number
            for step in steps:
                if basin[p + step] > 0 and basin[p + step] != number:
                    basin[p] = -1
        for step in steps:
            q = p + step
            if basin[q] == 0:
                queue = max(depth[q], water)
                pixel[used], source[used] = q, number
                if first[queue] < 0:
                    first[queue] = used
                else:
                    after[last[queue]] = used
                last[queue] = used
                used += 1
