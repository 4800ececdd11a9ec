"""All objects of a block of packed pictures, drawn into its row of labels."""

import numba
import numpy as np

from dpipe.operators.annotations.drawing import inside_rings, inside_runs, paint

LAST, FIRST, SMALLEST = 0, 1, 2
"""Which object has the pixels of several: the last of the file, the first, or the smallest."""


@numba.njit(cache=True, nogil=True)
def draw_block(
    out: np.ndarray,
    offsets: np.ndarray,
    heights: np.ndarray,
    widths: np.ndarray,
    first_object: np.ndarray,
    end_object: np.ndarray,
    rings: np.ndarray,
    ring_sizes: np.ndarray,
    vertices: np.ndarray,
    runs: np.ndarray,
    run_heights: np.ndarray,
    left_out: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    run_lengths: np.ndarray,
    rule: int,
    centre: bool,
) -> np.ndarray:
    """Draw the objects of each picture, numbered from 1 in their order.

    Parameters
    ----------
    out : numpy.ndarray, shape (place,)
        Zeros; gets the object number of each pixel, rows first in each picture.
    offsets, heights, widths : numpy.ndarray, shape (picture,)
        Where each picture lies in `out`.
    first_object, end_object : numpy.ndarray, shape (picture,)
        Its objects.
    rings, vertices, runs : numpy.ndarray, shape (object + 1,)
        Where the rings, the vertices and the runs of each object begin.
    run_heights : numpy.ndarray, shape (object,)
        Rows of the mask that the runs of each object fill, 0 unknown.
    ring_sizes : numpy.ndarray
        Vertices of each ring.
    left_out : numpy.ndarray, shape (object,)
        Objects that are not drawn.
    x, y, run_lengths : numpy.ndarray
        Vertices of all rings; runs of all objects.
    rule : int
        `LAST`, `FIRST` or `SMALLEST`.
    centre : bool
        As for `inside_rings`.

    Returns
    -------
    numpy.ndarray, shape (2, picture)
        Pixels of objects that others lie on, and objects of which no pixel is left.
    """
    buffer = np.empty(1024, np.int64)
    lost = np.zeros((2, offsets.size), np.int64)
    for i in range(offsets.size):
        height, width, first = heights[i], widths[i], first_object[i]
        total = end_object[i] - first
        if total <= 0 or height * width == 0:
            continue
        picture = out[offsets[i] : offsets[i] + height * width]
        order, shown = np.arange(total), np.zeros(total + 1, np.int64)
        sizes = np.zeros(total, np.int64)
        # to know the smallest, all are measured first and then drawn
        for measured in range(2 if rule == SMALLEST else 1):
            drawn = measured or rule != SMALLEST
            if measured:
                order = np.argsort(-sizes, kind="mergesort")
            for k in order:
                n = first + k
                if left_out[n]:
                    continue
                if runs[n + 1] > runs[n] and run_heights[n] not in (0, height):
                    places = buffer[:0]  # of a mask of another size
                elif runs[n + 1] > runs[n]:
                    places = inside_runs(run_lengths[runs[n] : runs[n + 1]], height, width)
                else:
                    a, b = vertices[n], vertices[n + 1]
                    sides = ring_sizes[rings[n] : rings[n + 1]]
                    places, buffer = inside_rings(
                        x[a:b], y[a:b], sides, height, width, centre, buffer
                    )
                if drawn:
                    over = rule != FIRST
                    lost[0, i] += paint(picture, width, places, k + 1, over, shown)
                else:
                    sizes[k] = places[1::2].sum() - places[0::2].sum()
        for k in range(total):
            lost[1, i] += not shown[k + 1] and not left_out[first + k]
    return lost
