"""Shape of the mask of each channel: boxes, moments, border, holes; host only, with numba.

It works on packed pictures (``_cell_pictures.py`` says how they lie) and knows nothing of names.
All that can be counted is counted in whole numbers, so results do not depend on the order of sums.

References
----------
M.-K. Hu, IRE Trans. Information Theory 8 (1962) 179-187 (moments).
K. Benkrid, D. Crookes, A. Benkrid, Proc. IEEE ISCAS 2000 (perimeter by weights of border pixels).
D. Legland et al., Image Analysis & Stereology 26 (2007) 83-92 (Crofton perimeter, Euler number).
"""

import math

import numba
import numpy as np

N_SHAPES = 32
_FAST = {"reassoc", "contract"}  # sums of whole numbers: any order gives the same


@numba.njit(nogil=True, cache=True)
def boxes(
    codes: np.ndarray,
    offset: np.ndarray,
    height: np.ndarray,
    width: np.ndarray,
    out: np.ndarray,
) -> None:  # pragma: no cover
    """Write first row, last + 1, first column, last + 1 of each channel's mask; zeros for none."""
    longest = max(1, width.max())
    columns = np.empty(longest, codes.dtype)
    for r in range(offset.size):
        h, w = np.int64(height[r]), np.int64(width[r])
        columns[:w] = 0
        out[r] = 0
        for y in range(h):
            row = codes[offset[r] + y * w : offset[r] + (y + 1) * w]
            seen = codes.dtype.type(0)
            for x in range(w):
                seen |= row[x]
            for x in range(w):
                columns[x] |= row[x]
            for c in range(out.shape[1]):
                if (seen >> c) & 1:
                    if out[r, c, 1] == 0:
                        out[r, c, 0] = y
                    out[r, c, 1] = y + 1
        for x in range(w):
            for c in range(out.shape[1]):
                if (columns[x] >> c) & 1:
                    if out[r, c, 3] == 0:
                        out[r, c, 2] = x
                    out[r, c, 3] = x + 1


@numba.njit(nogil=True, cache=True, error_model="numpy")
def outlines(
    pixels: np.ndarray,
    codes: np.ndarray,
    offset: np.ndarray,
    height: np.ndarray,
    width: np.ndarray,
    box: np.ndarray,
    hulls: np.ndarray,
    shapes: np.ndarray,
    centres: np.ndarray,
) -> None:  # pragma: no cover
    """Write the 32 shapes of each channel and its two centroids (y, x, weighted y, weighted x).

    `hulls` are those of ``_cell_hull.py``. Without a mask the shapes are -1 and the centroids NaN.
    """
    channels = box.shape[1]
    wide = max(1, width.max()) + 4
    tall = max(1, height.max()) + 4
    inside = np.empty(tall * wide, np.uint8)
    border = np.empty(tall * wide, np.uint8)
    left, right = np.empty(tall, np.int64), np.empty(tall, np.int64)
    sums = np.empty((2, 10))
    places, room = np.empty(wide), np.empty(wide, pixels.dtype)
    for r in range(offset.size):
        area, w = height[r] * width[r], np.int64(width[r])
        for c in range(channels):
            y0, y1, x0, x1 = box[r, c]
            if y1 == 0:
                shapes[r, c] = -1
                centres[r, c] = np.nan
                continue
            bh, bw = np.int64(y1 - y0), np.int64(x1 - x0)
            first = offset[r] + y0 * w + x0
            plane = pixels[offset[r] * channels + c * area :][:area]
            cut = plane[y0 * w + x0 :]
            _unpack(codes[first:], w, c, bh, bw, inside)
            _extremes(inside, bh, bw, left, right)
            half = bw // 2
            for x in range(bw):
                places[x] = x - half
            _moments(cut, w, inside, bh, bw, places[:bw], sums)
            out = shapes[r, c]
            low, high = _range(cut, w, inside, bh, bw, room)
            _describe(sums, bh * bw, out)
            _count(inside, border, bh, bw, out)
            out[2], out[7] = hulls[r, c]
            out[8] = _filled(inside, border, left, right, bh, bw, sums[0, 0])
            out[10], out[11], out[12] = high, sums[1, 0] / sums[0, 0], low
            out[24] = sums[0, 0] / out[2]
            for k in range(2):
                centres[r, c, 2 * k] = sums[k, 1] / sums[k, 0] + bh // 2 + y0
                centres[r, c, 2 * k + 1] = sums[k, 2] / sums[k, 0] + half + x0


@numba.njit(nogil=True, cache=True)
def apart(centres: np.ndarray, out: np.ndarray) -> None:  # pragma: no cover
    """Write the distance of both kinds of centroids for each pair a < b; -1 where one has none."""
    for r in range(centres.shape[0]):
        pair = 0
        for a in range(centres.shape[1]):
            for b in range(a + 1, centres.shape[1]):
                first, second = centres[r, a], centres[r, b]
                for k in range(2):
                    steps = second[2 * k] - first[2 * k], second[2 * k + 1] - first[2 * k + 1]
                    out[r, pair, k] = math.sqrt(steps[0] * steps[0] + steps[1] * steps[1])
                if np.isnan(first[0]) or np.isnan(second[0]):
                    out[r, pair] = -1
                pair += 1


@numba.njit(nogil=True, cache=True)
def _unpack(
    codes: np.ndarray, w: int, c: int, bh: int, bw: int, inside: np.ndarray
) -> None:  # pragma: no cover
    """Copy one channel's mask inside its box, with a frame of one zero."""
    wide = bw + 2
    inside[: (bh + 2) * wide] = 0
    for y in range(bh):
        row, to = codes[y * w : y * w + bw], inside[(y + 1) * wide + 1 :][:bw]
        for x in range(bw):
            to[x] = np.uint8((row[x] >> c) & 1)


@numba.njit(nogil=True, cache=True)
def _extremes(
    inside: np.ndarray, bh: int, bw: int, left: np.ndarray, right: np.ndarray
) -> None:  # pragma: no cover
    """Find the first and last pixel of each row; right is -1 where there is none."""
    for y in range(bh):
        row = inside[(y + 1) * (bw + 2) + 1 :][:bw]
        first, last = 0, bw - 1
        while first < bw and row[first] == 0:
            first += 1
        while last >= 0 and row[last] == 0:
            last -= 1
        left[y], right[y] = first, last


@numba.njit(nogil=True, cache=True, fastmath=_FAST)
def _along(
    values: np.ndarray, inside: np.ndarray, places: np.ndarray
) -> tuple[float, ...]:  # pragma: no cover
    """Sum mask and masked values of a row times x ** 0..3."""
    a0 = a1 = a2 = a3 = v0 = v1 = v2 = v3 = 0.0
    for i in range(places.size):
        m, x = np.float64(inside[i]), places[i]
        v, square = m * np.float64(values[i]), x * x
        a0 += m
        a1 += m * x
        a2 += m * square
        a3 += m * square * x
        v0 += v
        v1 += v * x
        v2 += v * square
        v3 += v * square * x
    return a0, a1, a2, a3, v0, v1, v2, v3


@numba.njit(nogil=True, cache=True)
def _moments(
    plane: np.ndarray,
    w: int,
    inside: np.ndarray,
    bh: int,
    bw: int,
    places: np.ndarray,
    sums: np.ndarray,
) -> None:  # pragma: no cover
    """Sum y ** p x ** q over the mask, plain and weighted, about the middle of the box.

    Order: 00, 10, 01, 20, 11, 02, 30, 21, 12, 03.
    """
    sums[:] = 0
    for i in range(bh):
        row_sums = _along(plane[i * w : i * w + bw], inside[(i + 1) * (bw + 2) + 1 :][:bw], places)
        y = np.float64(i - bh // 2)
        for k in range(2):
            s, s0, s1, s2, s3 = (
                sums[k],
                row_sums[4 * k],
                row_sums[4 * k + 1],
                row_sums[4 * k + 2],
                row_sums[4 * k + 3],
            )
            s[0] += s0
            s[1] += y * s0
            s[2] += s1
            s[3] += y * y * s0
            s[4] += y * s1
            s[5] += s2
            s[6] += y * y * y * s0
            s[7] += y * y * s1
            s[8] += y * s2
            s[9] += s3


@numba.njit(nogil=True, cache=True)
def _range(
    plane: np.ndarray, w: int, inside: np.ndarray, bh: int, bw: int, room: np.ndarray
) -> tuple[float, float]:  # pragma: no cover
    """Return least and greatest value inside the mask."""
    y = x = 0
    while not inside[(y + 1) * (bw + 2) + 1 + x]:
        y, x = (y, x + 1) if x < bw - 1 else (y + 1, 0)
    fill = low = high = plane[y * w + x]
    for i in range(y, bh):
        row, here = plane[i * w : i * w + bw], inside[(i + 1) * (bw + 2) + 1 :][:bw]
        for j in range(bw):
            room[j] = row[j] if here[j] else fill
        for j in range(bw):
            low = room[j] if room[j] < low else low
        for j in range(bw):
            high = room[j] if room[j] > high else high
    return np.float64(low), np.float64(high)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _describe(sums: np.ndarray, room: int, out: np.ndarray) -> None:  # pragma: no cover
    """Write the shapes that are functions of moments: area, axes, orientation, Hu's seven."""
    n = sums[0, 0]
    a = (sums[0, 5] - sums[0, 2] * sums[0, 2] / n) / n
    b = -(sums[0, 4] - sums[0, 1] * sums[0, 2] / n) / n
    c = (sums[0, 3] - sums[0, 1] * sums[0, 1] / n) / n
    skewed = n * (sums[0, 5] - sums[0, 3]) - (sums[0, 2] + sums[0, 1]) * (sums[0, 2] - sums[0, 1])
    root = math.sqrt((a - c) * (a - c) / 4 + b * b)
    major, minor = max((a + c) / 2 + root, 0.0), max((a + c) / 2 - root, 0.0)
    out[0], out[1], out[6] = n, room, n / room
    out[3] = 0.0 if major == 0 else math.sqrt(1 - minor / major)
    out[4] = math.sqrt(4 * n / math.pi)
    out[9], out[13] = 4 * math.sqrt(major), 4 * math.sqrt(minor)
    if skewed == 0:
        out[21] = math.pi / 4 if b < 0 else -math.pi / 4
    else:
        out[21] = math.atan2(-2 * b, c - a) / 2
    _hu(sums[0], out[14:21])
    _hu(sums[1], out[25:32])


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _hu(s: np.ndarray, out: np.ndarray) -> None:  # pragma: no cover
    """Write Hu's seven invariants from moments about any place."""
    m, y, x = s[0], s[1] / s[0], s[2] / s[0]
    two, three = 1 / (m * m), 1 / (m * m * math.sqrt(m))
    n20 = (s[3] - y * s[1]) * two
    n11 = (s[4] - y * s[2]) * two
    n02 = (s[5] - x * s[2]) * two
    n30 = (s[6] - 3 * y * s[3] + 2 * y * y * s[1]) * three
    n21 = (s[7] - 2 * y * s[4] - x * s[3] + 2 * y * y * s[2]) * three
    n12 = (s[8] - 2 * x * s[4] - y * s[5] + 2 * x * x * s[1]) * three
    n03 = (s[9] - 3 * x * s[5] + 2 * x * x * s[2]) * three
    p, q = n30 + n12, n21 + n03
    out[0] = n20 + n02
    out[1] = (n20 - n02) ** 2 + 4 * n11 * n11
    out[2] = (n30 - 3 * n12) ** 2 + (3 * n21 - n03) ** 2
    out[3] = p * p + q * q
    out[4] = (n30 - 3 * n12) * p * (p * p - 3 * q * q) + (3 * n21 - n03) * q * (3 * p * p - q * q)
    out[5] = (n20 - n02) * (p * p - q * q) + 4 * n11 * p * q
    out[6] = (3 * n21 - n03) * p * (p * p - 3 * q * q) - (n30 - 3 * n12) * q * (3 * p * p - q * q)


@numba.njit(nogil=True, cache=True)
def _count(
    inside: np.ndarray, border: np.ndarray, bh: int, bw: int, out: np.ndarray
) -> None:  # pragma: no cover
    """Write Euler number (8 neighbours), perimeter and Crofton's over four directions.

    Corners of 2 x 2 pixels are p = (y, x), u above it, e to the left, d both. An Euler number is
    lone d less bays u e; Crofton's perimeter counts steps along two axes and two diagonals.
    """
    wide = bw + 2
    straight = slanted = euler = np.int32(0)
    for y in range(bh + 1):
        above, below = inside[y * wide : (y + 1) * wide], inside[(y + 1) * wide : (y + 2) * wide]
        for x in range(wide - 1):
            d, u, e, p = above[x], above[x + 1], below[x], below[x + 1]
            straight += np.int32(np.uint8((p & ~u) + (d & ~u)))
            slanted += np.int32(np.uint8((p & ~d) + (u & ~e)))
            euler += np.int32(np.int8((d & ~(u | e | p)) - (u & e & ~p)))
    out[5] = euler
    out[23] = math.pi / 4 * (straight + slanted / math.sqrt(2))
    border[:wide] = 0
    border[(bh + 1) * wide : (bh + 2) * wide] = 0
    for y in range(1, bh + 1):
        here = inside[y * wide : (y + 1) * wide]
        above, below = inside[(y - 1) * wide : y * wide], inside[(y + 1) * wide : (y + 2) * wide]
        to = border[y * wide : (y + 1) * wide]
        to[0] = to[wide - 1] = 0
        for x in range(1, wide - 1):
            to[x] = here[x] & ((above[x] & below[x] & here[x - 1] & here[x + 1]) ^ 1)
    ones = roots = halves = np.int32(0)
    for y in range(1, bh + 1):
        here = border[y * wide : (y + 1) * wide]
        above, below = border[(y - 1) * wide : y * wide], border[(y + 1) * wide : (y + 2) * wide]
        for x in range(1, wide - 1):
            near = np.uint8(above[x] + below[x] + here[x - 1] + here[x + 1])
            far = np.uint8(above[x - 1] + above[x + 1] + below[x - 1] + below[x + 1])
            kind = np.uint8(
                here[x] * np.uint8(np.uint8(1) + np.uint8(2) * near + np.uint8(10) * far)
            )
            pattern = (
                (kind == 5)
                | (kind == 7)
                | (kind == 15)
                | (kind == 17)
                | (kind == 25)
                | (kind == 27)
            )
            ones += np.int32(pattern)
            roots += np.int32((kind == 21) | (kind == 33))
            halves += np.int32((kind == 13) | (kind == 23))
    out[22] = ones + roots * math.sqrt(2) + halves * (1 + math.sqrt(2)) / 2


@numba.njit(nogil=True, cache=True)
def _filled(
    inside: np.ndarray,
    seen: np.ndarray,
    left: np.ndarray,
    right: np.ndarray,
    bh: int,
    bw: int,
    area: float,
) -> float:  # pragma: no cover
    """Return the area with its holes: the pixels that a flood from outside does not reach.

    The flood goes over eight neighbours.

    It starts beyond the ends of the rows and enters the gaps between them. `seen` is room for it.
    """
    runs = 0
    for y in range(bh):
        runs += max(0, right[y] - left[y] + 1)
    if runs == area:
        return area
    wide = bw + 2
    stack = np.empty(runs - int(area), np.int32)
    count, dry = 0, runs
    for p in range((bh + 2) * wide):
        seen[p] = 1
    for y in range(bh):
        for p in range((y + 1) * wide + 1 + left[y], (y + 1) * wide + 2 + right[y]):
            seen[p] = inside[p]
    for y in range(bh):
        for x in range(left[y], right[y] + 1):
            p = (y + 1) * wide + 1 + x
            if not seen[p] and _touches(left, right, bh, y, x):
                seen[p] = 1
                stack[count] = p
                count += 1
    while count:
        count -= 1
        p = stack[count]
        dry -= 1
        for i in range(-wide, wide + 1, wide):
            for q in range(p + i - 1, p + i + 2):
                if not seen[q]:
                    seen[q] = 1
                    stack[count] = q
                    count += 1
    return np.float64(dry)


@numba.njit(nogil=True, cache=True)
def _touches(
    left: np.ndarray, right: np.ndarray, bh: int, y: int, x: int
) -> bool:  # pragma: no cover
    """Tell whether a pixel has a neighbour beyond the ends of the row above or below."""
    above = y == 0 or x - 1 < left[y - 1] or x + 1 > right[y - 1]
    return above or y == bh - 1 or x - 1 < left[y + 1] or x + 1 > right[y + 1]
