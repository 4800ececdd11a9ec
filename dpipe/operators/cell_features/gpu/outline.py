"""Shape of the mask of each channel of padded batches, on any kind of array.

The same numbers as ``_cell_outline.py``, which names the sources. What is a chain of turns or a
flood there is repeated here over all pictures at once until none changes.
"""

import math
from typing import Any

from dpipe.compute import beside
from dpipe.operators.cell_features.gpu.batch import Batch

_NONE = 1 << 40


def outlines(batch: Batch) -> Any:
    """Return the 32 shapes of each channel, (n, c, 32); -1 without a mask."""
    xp, m = batch.xp, batch.real(batch.masks)
    area = xp.sum(m, axis=(2, 3))
    rows, columns = xp.any(batch.masks, axis=3), xp.any(batch.masks, axis=2)
    room = _extent(batch, rows) * _extent(batch, columns)
    plain, weighted = moments(batch, m), moments(batch, batch.inside)
    convex, feret = _hull(batch)
    far = batch.full(m, float("inf"))
    high = xp.max(xp.where(batch.masks, batch.planes, -far), axis=(2, 3))
    low = xp.min(xp.where(batch.masks, batch.planes, far), axis=(2, 3))
    safe_area = xp.where(area > 0, area, xp.ones_like(area))
    axes = _axes(batch, plain)
    euler, perimeter, crofton = _counts(batch)
    shapes = [area, room, convex, axes[0], xp.sqrt(4 * area / math.pi), euler]
    shapes += [batch.divide(area, room), feret, _filled(batch), axes[1], high]
    shapes += [
        xp.sum(batch.inside, axis=(2, 3)) / safe_area,
        low,
        axes[2],
        *_hu(batch, plain),
        axes[3],
    ]
    shapes += [perimeter, crofton, batch.divide(area, convex), *_hu(batch, weighted)]
    table = xp.stack(shapes, axis=-1)
    return xp.where((area > 0)[..., None], table, batch.full(table, -1.0))


def apart(batch: Batch) -> Any:
    """Distances of both kinds of centroids of pairs, (n, pairs, 2); -1 where one has none."""
    xp, m = batch.xp, batch.real(batch.masks)
    has_mask = xp.any(batch.masks, axis=(2, 3))
    centres = [moments(batch, w)["centre"] for w in (m, batch.inside)]

    def one(a: int, b: int) -> Any:
        paired = has_mask[:, a] & has_mask[:, b]
        distances = []
        for y, x in centres:
            steps = y[:, b] - y[:, a], x[:, b] - x[:, a]
            away = xp.sqrt(steps[0] * steps[0] + steps[1] * steps[1])
            distances.append(xp.where(paired, away, batch.full(away, -1.0)))
        return xp.stack(distances, axis=-1)

    return batch.each_pair(one, (2,))


def moments(batch: Batch, weight: Any) -> dict[Any, Any]:
    """Central moments up to the third order, the centre (y, x), and raw sums; each (n, c)."""
    xp = batch.xp
    y, x = batch.real(batch.rows(batch.size[0])), batch.real(batch.columns(batch.size[1]))
    total = xp.sum(weight, axis=(2, 3))
    raw = {"y": xp.sum(weight * y, axis=(2, 3)), "x": xp.sum(weight * x, axis=(2, 3))}
    raw |= {"yy": xp.sum(weight * y * y, axis=(2, 3)), "xx": xp.sum(weight * x * x, axis=(2, 3))}
    raw |= {"xy": xp.sum(weight * y * x, axis=(2, 3))}
    cy, cx = batch.divide(raw["y"], total), batch.divide(raw["x"], total)
    dy, dx = y - cy[:, :, None, None], x - cx[:, :, None, None]
    sums: dict[Any, Any] = {"centre": (cy, cx), "raw": raw, (0, 0): total}
    for q in range(4):
        along = xp.sum(weight * dx**q, axis=3)
        for p in range(max(0, 2 - q), 4 - q):
            sums[p, q] = xp.sum(along * dy[..., 0] ** p, axis=2)
    return sums


def _extent(batch: Batch, occupied: Any) -> Any:
    """Return the extent of a mask along its last axis, both ends counted; 0 for an empty one."""
    xp, n = batch.xp, occupied.shape[-1]
    place = batch.real(batch.array(range(n)))
    none = batch.full(place + xp.zeros_like(occupied, dtype=xp.float64), float(_NONE))
    first = xp.min(xp.where(occupied, place, none), axis=-1)
    last = xp.max(xp.where(occupied, place, -none), axis=-1)
    return xp.where(xp.any(occupied, axis=-1), last - first + 1, xp.zeros_like(first))


def _axes(batch: Batch, s: dict[Any, Any]) -> tuple[Any, ...]:
    """Eccentricity, major and minor axis, orientation."""
    xp, n, raw = batch.xp, s[0, 0], s["raw"]
    a, c = batch.divide(s[0, 2], n), batch.divide(s[2, 0], n)
    # of whole sums: 0 for what is even, where a sum about the centre has the sign of its rounding
    b = -batch.divide(raw["xy"] - batch.divide(raw["x"] * raw["y"], n), n)
    root = xp.sqrt((a - c) * (a - c) / 4 + b * b)
    zero = xp.zeros_like(root)
    major, minor = xp.maximum((a + c) / 2 + root, zero), xp.maximum((a + c) / 2 - root, zero)
    point = major == 0
    share = minor / xp.where(point, xp.ones_like(major), major)
    eccentricity = xp.where(point, zero, xp.sqrt(1 - share))
    skewed = n * (raw["xx"] - raw["yy"]) - (raw["x"] + raw["y"]) * (raw["x"] - raw["y"])
    even = xp.where(b < 0, zero + math.pi / 4, zero - math.pi / 4)
    orientation = xp.where(skewed == 0, even, xp.atan2(-2 * b, c - a) / 2)
    return eccentricity, 4 * xp.sqrt(major), 4 * xp.sqrt(minor), orientation


def _hu(batch: Batch, s: dict[Any, Any]) -> list[Any]:
    """Hu's seven invariants."""
    n = s[0, 0]
    two = {k: batch.divide(s[k], n * n) for k in ((2, 0), (1, 1), (0, 2))}
    root = n * n * batch.xp.sqrt(batch.xp.abs(n))
    n30, n21, n12, n03 = (batch.divide(s[3 - k, k], root) for k in range(4))
    n20, n11, n02 = two[2, 0], two[1, 1], two[0, 2]
    p, q, e, f = n30 + n12, n21 + n03, n30 - 3 * n12, 3 * n21 - n03
    return [
        n20 + n02,
        (n20 - n02) ** 2 + 4 * n11 * n11,
        e * e + f * f,
        p * p + q * q,
        e * p * (p * p - 3 * q * q) + f * q * (3 * p * p - q * q),
        (n20 - n02) * (p * p - q * q) + 4 * n11 * p * q,
        f * p * (p * p - 3 * q * q) - e * q * (3 * p * p - q * q),
    ]


def _framed(batch: Batch, values: Any) -> Any:
    """Put a frame of one zero around planes."""
    n, c, h, w = values.shape
    shape = (n, c, h + 2, w + 2)
    framed = batch.xp.zeros(shape, dtype=values.dtype, **beside(values))
    framed[..., 1:-1, 1:-1] = values
    return framed


def _counts(batch: Batch) -> tuple[Any, Any, Any]:
    """Euler number (8 neighbours), perimeter, Crofton's perimeter."""
    xp, f = batch.xp, _framed(batch, batch.masks)

    def count(pattern: Any) -> Any:
        return xp.sum(batch.real(pattern), axis=(2, 3))

    d, u, left, p = f[..., :-1, :-1], f[..., :-1, 1:], f[..., 1:, :-1], f[..., 1:, 1:]
    straight, slanted = count(p & ~u) + count(d & ~u), count(p & ~d) + count(u & ~left)
    euler = count(d & ~(u | left | p)) - count(u & left & ~p)
    hidden = f[..., :-2, 1:-1] & f[..., 2:, 1:-1] & f[..., 1:-1, :-2] & f[..., 1:-1, 2:]
    b = _framed(batch, batch.real(batch.masks & ~hidden))
    near = b[..., :-2, 1:-1] + b[..., 2:, 1:-1] + b[..., 1:-1, :-2] + b[..., 1:-1, 2:]
    far = b[..., :-2, :-2] + b[..., :-2, 2:] + b[..., 2:, :-2] + b[..., 2:, 2:]
    kind = b[..., 1:-1, 1:-1] * (1 + 2 * near + 10 * far)
    perimeter = xp.zeros_like(euler)
    root = math.sqrt(2)
    for weight, kinds in (
        (1, (5, 7, 15, 17, 25, 27)),
        (root, (21, 33)),
        ((1 + root) / 2, (13, 23)),
    ):
        for code in kinds:
            perimeter = perimeter + weight * count(kind == code)
    return euler, perimeter, math.pi / 4 * (straight + slanted / root)


def _filled(batch: Batch) -> Any:
    """Area with holes: pixels that a flood from outside, over eight neighbours, does not reach."""
    xp, free = batch.xp, ~_framed(batch, batch.masks)
    wet = ~_framed(batch, xp.ones_like(batch.masks))  # the frame
    while True:
        f = _framed(batch, wet)
        tall = f[..., :-2, :] | f[..., 1:-1, :] | f[..., 2:, :]
        more = (tall[..., :-2] | tall[..., 1:-1] | tall[..., 2:]) & free
        if bool(xp.all(more == wet)):
            return xp.sum(batch.real(~wet), axis=(2, 3))
        wet = more


def _reaches(batch: Batch, low: Any, high: Any) -> Any:
    """Reach of the middles of the pixels' edges in half pixels, right ones negated.

    It is (n, c, 2, 2 h + 1). `low` and `high` are the first and last pixel of each row; none
    where high < low.
    """
    xp = batch.xp
    n, c, h = low.shape
    ends = xp.stack([2 * low, -2 * high], axis=2)
    none = (high < low)[:, :, None, :]
    reach = xp.full((n, c, 2, 2 * h + 1), _NONE, dtype=xp.int64, **beside(low))
    side = xp.where(none, xp.full_like(ends, _NONE), ends)
    reach[..., 0:-2:2] = side
    reach[..., 2::2] = xp.minimum(reach[..., 2::2], side)
    reach[..., 1::2] = xp.where(none, side, ends - 1)
    return reach


def _bends(batch: Batch, reach: Any) -> tuple[Any, Any]:
    """Wrap sides from the first row to the last; return what each pixel row keeps, and the corners.

    The first are the whole half pixels at or inside the side, rounded inwards to pixels; the
    second mark the rows where a side turns.
    """
    xp = batch.xp
    rows = batch.array(range(reach.shape[-1]))
    occupied = reach < _NONE
    empty = ~xp.any(occupied, axis=-1, keepdims=True)
    far = xp.full_like(reach, _NONE)
    last = xp.max(xp.where(occupied, rows, -far), axis=-1, keepdims=True)
    corner = xp.min(xp.where(occupied, rows, far), axis=-1, keepdims=True)
    corner, last = (
        xp.where(empty, xp.zeros_like(corner), corner),
        xp.where(empty, xp.zeros_like(corner), last),
    )
    corners = rows == corner
    pixels = rows[1::2]
    ends = xp.full_like(reach[..., 1::2], _NONE)
    while bool(xp.any(corner < last)):
        start = xp.take_along_axis(reach, corner, axis=-1)
        ahead = occupied & (rows > corner)
        step = xp.where(ahead, rows - corner, xp.ones_like(reach))
        slope = batch.real(reach - start) / batch.real(step)
        slope = xp.where(ahead, slope, batch.full(slope, float("inf")))
        steepest = xp.min(slope, axis=-1, keepdims=True)
        onward = xp.max(xp.where(ahead & (slope == steepest), rows, corner), axis=-1, keepdims=True)
        stop = xp.take_along_axis(reach, onward, axis=-1)
        long = xp.where(onward > corner, onward - corner, xp.ones_like(corner))
        place = start * long + (stop - start) * (pixels - corner)
        inward = -((-place) // (2 * long))
        ends = xp.where((pixels >= corner) & (pixels <= onward) & (onward > corner), inward, ends)
        corner = onward
        corners = corners | (rows == corner)
    return ends, corners & ~empty


def _hull(batch: Batch) -> tuple[Any, Any]:
    """Pixels whose centres lie in the hull or on it, and the diameter of those."""
    xp, m = batch.xp, batch.masks
    x = batch.columns(batch.size[1])
    far = xp.full_like(x + xp.zeros_like(m, dtype=xp.int64), _NONE)
    low = xp.min(xp.where(m, x, far), axis=3)
    high = xp.max(xp.where(m, x, -far), axis=3)
    none = high < low
    low, high = xp.where(none, xp.ones_like(low), low), xp.where(none, xp.zeros_like(low), high)
    ends, _ = _bends(batch, _reaches(batch, low, high))
    low, high = ends[:, :, 0, :], -ends[:, :, 1, :]
    none = (high < low) | (low >= _NONE)
    low, high = xp.where(none, xp.ones_like(low), low), xp.where(none, xp.zeros_like(low), high)
    area = xp.sum(batch.real(high - low + 1), axis=2)
    reach = _reaches(batch, low, high)
    _, corners = _bends(batch, reach)
    rows = batch.real(batch.array(range(reach.shape[-1])))
    side = [batch.real(reach[:, :, 0, :]), -batch.real(reach[:, :, 1, :])]
    longest = xp.zeros_like(area)
    for y in range(
        reach.shape[-1]
    ):  # two corners of one side are no farther apart than some two of both
        square = (rows - y) ** 2 + (side[1] - side[0][..., y : y + 1]) ** 2
        square = xp.where(corners[:, :, 1, :], square, xp.zeros_like(square))
        widest = xp.where(corners[:, :, 0, y], xp.max(square, axis=2), xp.zeros_like(longest))
        longest = xp.maximum(longest, widest)
    return area, xp.sqrt(longest) / 2
