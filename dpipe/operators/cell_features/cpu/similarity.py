"""Structural similarity of all pairs of masked channels; host only, with numba.

It works on packed pictures (``_cell_pictures.py`` says how they lie). Outside the box of a mask,
three pixels wider, a channel is 0 in the whole window: where both are, the similarity is 1, where
one is, it depends on the other alone. Only where two boxes meet pairs need windows of products.

References
----------
Z. Wang et al., IEEE Trans. Image Processing 13 (2004) 600-612; window 7 x 7, uniform.
"""

import numba
import numpy as np

LARGEST = 6619  # 49 * 6619 ** 2 still fits 31 bits
_WINDOW, _HALF, _AREA = 7, 3, 49
_MEANS, _SPREADS = 1 / 2401.0, 1 / 2352.0  # 1 / 49 ** 2, 1 / (49 * 48)
_FAST = {"reassoc", "contract"}


@numba.njit(nogil=True, cache=True, error_model="numpy")
def similarities(
    pixels: np.ndarray,
    codes: np.ndarray,
    offset: np.ndarray,
    height: np.ndarray,
    width: np.ndarray,
    box: np.ndarray,
    data_range: float,
    planes: np.ndarray,
    out: np.ndarray,
) -> None:  # pragma: no cover
    """Write the mean similarity of each pair a < b; NaN for pictures under 7 pixels.

    `planes` is room for all channels of the largest picture: int32 for whole numbers up to
    `LARGEST`, else float64. Rows go outside, pairs inside: what a row needs stays in the cache.
    """
    channels = box.shape[1]
    longest = max(1, width.max()) + 8
    lone = np.empty((3, channels, longest))  # of a row: sums, variances, similarity with nothing
    running = np.empty((channels + out.shape[1], longest), planes.dtype)
    columns = np.empty((channels, longest), planes.dtype)
    room = np.empty((2, longest), planes.dtype)
    reach = np.empty((channels, 4), np.int64)
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    for r in range(offset.size):
        h, w = np.int64(height[r]), np.int64(width[r])
        if h < _WINDOW or w < _WINDOW:
            out[r] = np.nan
            continue
        code = codes[offset[r] :][: h * w]
        first, last = h, np.int64(0)
        for c in range(channels):
            plane = pixels[offset[r] * channels + c * h * w :][: h * w]
            _reach(box[r, c], h, w, reach[c])
            if reach[c, 0] < reach[c, 1]:
                _mask(plane, code, c, w, reach[c], planes[c])
                first, last = min(first, reach[c, 0]), max(last, reach[c, 1])
        inner = (h - 2 * _HALF) * (w - 2 * _HALF)
        out[r] = inner
        for y in range(first, last):
            for c in range(channels):
                if reach[c, 0] <= y < reach[c, 1]:
                    _add_row(planes, c, y, w, reach, c1, c2, columns, running, room, lone, out, r)
            _add_pairs(planes, y, w, reach, c1, c2, running, room, lone, out, r)
        for pair in range(out.shape[1]):
            out[r, pair] /= inner


@numba.njit(nogil=True, cache=True)
def _add_row(
    planes: np.ndarray,
    c: int,
    y: int,
    w: int,
    reach: np.ndarray,
    c1: float,
    c2: float,
    columns: np.ndarray,
    running: np.ndarray,
    room: np.ndarray,
    lone: np.ndarray,
    out: np.ndarray,
    r: int,
) -> None:  # pragma: no cover
    """Add one row of a channel to its pairs: its similarity with an empty plane, less 1.

    The sums down the columns are moved to this row first, and the windows' figures are left in
    `lone` for `_add_pairs`.
    """
    y0, x0, n = reach[c, 0], reach[c, 2], reach[c, 3] - reach[c, 2]
    _move(planes, c, c, y, y0, w, x0, n, running, c)
    _sum(planes, c, y, y0, w, x0, n, columns)
    more = _alone(c, n, c1, c2, columns, running, room, lone) - n
    pair = 0
    for a in range(reach.shape[0]):
        for b in range(a + 1, reach.shape[0]):
            if c in (a, b):
                out[r, pair] += more
            pair += 1


@numba.njit(nogil=True, cache=True)
def _add_pairs(
    planes: np.ndarray,
    y: int,
    w: int,
    reach: np.ndarray,
    c1: float,
    c2: float,
    running: np.ndarray,
    room: np.ndarray,
    lone: np.ndarray,
    out: np.ndarray,
    r: int,
) -> None:  # pragma: no cover
    """Add one row to the pairs of channels whose boxes meet in it.

    Where only one of two channels is not empty, the similarity is that with an empty plane,
    which `_add_row` has added; here comes the difference, where both are.
    """
    channels, pair = reach.shape[0], 0
    for a in range(channels):
        for b in range(a + 1, channels):
            y0, y1 = max(reach[a, 0], reach[b, 0]), min(reach[a, 1], reach[b, 1])
            x0, x1 = max(reach[a, 2], reach[b, 2]), min(reach[a, 3], reach[b, 3])
            if y0 <= y < y1 and x0 < x1:
                k, i, j = channels + pair, x0 - reach[a, 2], x0 - reach[b, 2]
                _move(planes, a, b, y, y0, w, x0, x1 - x0, running, k)
                out[r, pair] += _together(a, b, i, j, x1 - x0, c1, c2, running, k, room, lone)
            pair += 1


@numba.njit(nogil=True, cache=True)
def _reach(box: np.ndarray, h: int, w: int, reach: np.ndarray) -> None:  # pragma: no cover
    """Widen a box by half a window, no nearer to the border than that; empty stays empty."""
    for k, n in ((0, h), (2, w)):
        reach[k] = max(_HALF, box[k] - _HALF)
        reach[k + 1] = min(n - _HALF, box[k + 1] + _HALF) if box[1] else 0


@numba.njit(nogil=True, cache=True)
def _mask(
    plane: np.ndarray, code: np.ndarray, c: int, w: int, reach: np.ndarray, to: np.ndarray
) -> None:  # pragma: no cover
    """Copy the masked channel as far as windows around its reach overlap it."""
    n = reach[3] - reach[2] + 2 * _HALF
    for y in range(reach[0] - _HALF, reach[1] + _HALF):
        start = y * w + reach[2] - _HALF
        row, here, target = plane[start : start + n], code[start : start + n], to[start : start + n]
        for x in range(n):
            target[x] = row[x] * ((here[x] >> c) & 1)


@numba.njit(nogil=True, cache=True)
def _move(
    planes: np.ndarray,
    a: int,
    b: int,
    y: int,
    y0: int,
    w: int,
    x0: int,
    n: int,
    sums: np.ndarray,
    k: int,
) -> None:  # pragma: no cover
    """Move row k, sums of products down the columns, to the window around y; y0 is the first.

    Unsigned indices need no test for being negative, which would keep loops from running wide.
    """
    wide, start = np.uint64(n + 2 * _HALF), y + _HALF
    if y == y0:
        start = y - _HALF
        for x in range(wide):
            sums[k, x] = 0
    else:
        offset = np.uint64((y - _HALF - 1) * w + x0 - _HALF)
        for x in range(wide):
            sums[k, x] -= planes[a, offset + x] * planes[b, offset + x]
    for i in range(start, y + _HALF + 1):
        offset = np.uint64(i * w + x0 - _HALF)
        for x in range(wide):
            sums[k, x] += planes[a, offset + x] * planes[b, offset + x]


@numba.njit(nogil=True, cache=True)
def _sum(
    planes: np.ndarray, c: int, y: int, y0: int, w: int, x0: int, n: int, sums: np.ndarray
) -> None:  # pragma: no cover
    """Move row c, sums of the values down the columns, to the window around y, as `_move` does."""
    wide, start = np.uint64(n + 2 * _HALF), y + _HALF
    if y == y0:
        start = y - _HALF
        for x in range(wide):
            sums[c, x] = 0
    else:
        offset = np.uint64((y - _HALF - 1) * w + x0 - _HALF)
        for x in range(wide):
            sums[c, x] -= planes[c, offset + x]
    for i in range(start, y + _HALF + 1):
        offset = np.uint64(i * w + x0 - _HALF)
        for x in range(wide):
            sums[c, x] += planes[c, offset + x]


@numba.njit(nogil=True, cache=True)
def _across(columns: np.ndarray, k: int, n: int, room: np.ndarray) -> None:  # pragma: no cover
    """Sum seven neighbours of a row into the first row of `room`."""
    step1, step2, step4, step6 = np.uint64(1), np.uint64(2), np.uint64(4), np.uint64(6)
    for x in range(np.uint64(n + 5)):
        room[1, x] = columns[k, x] + columns[k, x + step1]
    for x in range(np.uint64(n)):
        room[0, x] = room[1, x] + room[1, x + step2] + room[1, x + step4] + columns[k, x + step6]


@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath=_FAST)
def _alone(
    c: int,
    n: int,
    c1: float,
    c2: float,
    columns: np.ndarray,
    squares: np.ndarray,
    room: np.ndarray,
    lone: np.ndarray,
) -> float:  # pragma: no cover
    """Write a row of sums, variances and similarities with an empty plane; sum up the last."""
    wide, total = np.uint64(n), 0.0
    _across(columns, c, n, room)
    for x in range(wide):
        lone[0, c, x] = room[0, x]
    _across(squares, c, n, room)
    for x in range(wide):
        window_sum = lone[0, c, x]
        lone[1, c, x] = (_AREA * np.float64(room[0, x]) - window_sum * window_sum) * _SPREADS
    for x in range(wide):
        window_sum = lone[0, c, x]
        same = c1 * c2 / ((window_sum * window_sum * _MEANS + c1) * (lone[1, c, x] + c2))
        lone[2, c, x] = same
        total += same
    return total


@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath=_FAST)
def _together(
    a: int,
    b: int,
    i: int,
    j: int,
    n: int,
    c1: float,
    c2: float,
    products: np.ndarray,
    k: int,
    room: np.ndarray,
    lone: np.ndarray,
) -> float:  # pragma: no cover
    """Sum over a row: similarity of the pair, less that of each with an empty plane, plus 1."""
    _across(products, k, n, room)
    total, p, q = 0.0, np.uint64(i), np.uint64(j)
    for x in range(np.uint64(n)):
        first, second = lone[0, a, p + x], lone[0, b, q + x]
        product, cross = first * second, np.float64(room[0, x])
        above = (2 * _MEANS * product + c1) * (2 * _SPREADS * (_AREA * cross - product) + c2)
        below = ((first * first + second * second) * _MEANS + c1) * (
            lone[1, a, p + x] + lone[1, b, q + x] + c2
        )
        total += above / below - lone[2, a, p + x] - lone[2, b, q + x] + 1.0
    return total
