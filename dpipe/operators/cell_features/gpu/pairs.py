"""Numbers of pairs of channels of padded batches, on any kind of array.

The same as ``_cell_pairs.py``, ``_cell_shared.py``, ``_cell_similarity.py`` and
``_cell_distance.py``: sums over pixels are matrix products, windows and distances whole shifted
planes.
"""

from itertools import permutations
from typing import Any

from dpipe.operators.cell_features.gpu.batch import Batch

_WINDOW, _AREA = 7, 49
_FAR = 1e9  # squared; beyond any picture


def colocalisation(batch: Batch) -> Any:
    """Dice, Jaccard of pairs; six of ordered pairs, (n, columns)."""
    xp = batch.xp
    overlaps, measures = _overlaps(batch), _paired(batch)
    figures = xp.stack([*measures, similarities(batch, 2.0), hausdorff(batch)], axis=-1)
    number = {pair: i for i, pair in enumerate(batch.pairs())}
    ways = [number[min(p), max(p)] for p in permutations(range(batch.channels), 2)]
    n = overlaps.shape[0]
    ordered = xp.take(figures, batch.array(ways), axis=1)
    return xp.concat([xp.reshape(overlaps, (n, -1)), xp.reshape(ordered, (n, -1))], axis=1)


def corrected(batch: Batch, data_range: float) -> Any:
    """M1, M2, overlap, Pearson, Li's quotient, similarity of pairs, (n, pairs, 6)."""
    xp, p, m = batch.xp, batch.planes, batch.real(batch.masks)
    v = batch.inside
    inside, squares = _dots(batch, v, m), _dots(batch, v, v)

    def one(a: int, b: int) -> Any:
        own_sums = inside[:, a, a], inside[:, b, b]
        shares = [
            batch.divide(inside[:, a, b], own_sums[0]),
            batch.divide(inside[:, b, a], own_sums[1]),
        ]
        root = xp.sqrt(squares[:, a, a] * squares[:, b, b])
        either = xp.maximum(m[:, a, ...], m[:, b, ...])
        n = xp.sum(either, axis=(1, 2))
        u, w = (_centred(batch, p[:, k, ...], either, n) for k in (a, b))
        spread = xp.sqrt(xp.sum(u * u, axis=(1, 2)) * xp.sum(w * w, axis=(1, 2)))
        pearson = batch.divide(xp.sum(u * w, axis=(1, 2)), spread)
        positive = xp.sum(batch.real(u * w > 0), axis=(1, 2))
        li = batch.divide(positive, n) - 0.5
        return xp.stack([*shares, batch.divide(squares[:, a, b], root), pearson, li], axis=-1)

    figures, similar = batch.each_pair(one, (5,)), similarities(batch, data_range)
    return xp.stack([*(figures[..., k] for k in range(5)), similar], axis=-1)


def _centred(batch: Batch, plane: Any, inside: Any, n: Any) -> Any:
    """Take the mean of the n pixels inside off a plane (n, h, w), 0 outside; level is exactly 0."""
    xp = batch.xp
    safe_n = xp.where(n > 0, n, xp.ones_like(n))[:, None, None]
    least = xp.where(inside > 0, plane, batch.full(plane, float("inf")))
    least = xp.min(least, axis=(1, 2), keepdims=True)
    d = xp.where(inside > 0, plane - least, xp.zeros_like(plane))
    return (d - xp.sum(d, axis=(1, 2), keepdims=True) / safe_n) * inside


def shared(batch: Batch, *, strict: bool = False) -> Any:
    """Ratios of what lies in both masks of pairs, (n, pairs, c, 3)."""
    xp, m, v = batch.xp, batch.real(batch.masks), batch.inside
    sums, size = xp.sum(v, axis=(2, 3)), xp.sum(m, axis=(2, 3))
    top = _largest(batch, v, batch.masks)
    mean = sums / batch.area + 1e-12

    def one(a: int, b: int) -> Any:
        overlap = (m[:, a, ...] * m[:, b, ...])[:, None, ...]
        total, covered = xp.sum(v * overlap, axis=(2, 3)), m * overlap > 0
        brightest = _largest(batch, v * overlap, covered if strict else batch.valid)
        if not strict:
            ratios = [total / (sums + 1e-12), total / batch.area / mean, brightest / mean]
            return xp.stack(ratios, axis=-1)
        count = xp.sum(m * overlap, axis=(2, 3))
        means = batch.divide(batch.divide(total, count), batch.divide(sums, size))
        tops = xp.where(
            count > 0, batch.divide(brightest, top), batch.full(brightest, float("nan"))
        )
        return xp.stack([batch.divide(total, sums), means, tops], axis=-1)

    return batch.each_pair(one, (batch.channels, 3))


def _largest(batch: Batch, values: Any, valid: Any) -> Any:
    """Return the largest value of those that are there, (n, c); 0 where none is."""
    xp = batch.xp
    largest = xp.max(xp.where(valid, values, batch.full(values, -float("inf"))), axis=(2, 3))
    return xp.where(largest > -float("inf"), largest, xp.zeros_like(largest))


def _dots(batch: Batch, first: Any, second: Any) -> Any:
    """Sum the products of all planes with all, (n, c, c)."""
    xp = batch.xp
    return xp.matmul(batch.flat(first), xp.moveaxis(batch.flat(second), 1, 2))


def _upper(batch: Batch, values: Any) -> Any:
    """Take pairs a < b out of (n, c, c)."""
    return batch.each_pair(lambda a, b: values[:, a, b])


def _sides(batch: Batch, values: Any) -> tuple[Any, ...]:
    """Return (n, c) for the first and the second of each pair."""
    return tuple(batch.each_pair(lambda *p, k=k: values[:, p[k]]) for k in (0, 1))


def _overlaps(batch: Batch) -> Any:
    xp, m = batch.xp, batch.real(batch.masks)
    counts = _dots(batch, m, m)
    common = _upper(batch, counts)
    a, b = _sides(batch, xp.sum(m, axis=(2, 3)))
    either = a + b - common
    dice = 1 - batch.divide(2 * common, a + b)
    jaccard = 1 - common / xp.where(either > 0, either, xp.ones_like(either))
    return xp.stack([dice, xp.where(either > 0, jaccard, xp.zeros_like(jaccard))], axis=-1)


def _paired(batch: Batch) -> list[Any]:
    """Correlation distance, Euclid, product of sums over that of squares, quotient."""
    xp, v, valid = batch.xp, batch.inside, batch.real(batch.valid[:, 0, ...])
    planes = [_centred(batch, v[:, c, ...], valid, batch.area[:, 0]) for c in range(batch.channels)]
    centred = xp.stack(planes, axis=1)
    above = batch.real(centred > 0)
    gram, high = _dots(batch, centred, centred), _upper(batch, _dots(batch, above, above))
    aa, bb = _sides(batch, xp.stack([gram[:, c, c] for c in range(batch.channels)], axis=1))
    ratio = 1 - batch.divide(_upper(batch, gram), xp.sqrt(aa * bb))
    zero = xp.zeros_like(ratio)
    ratio = xp.minimum(xp.maximum(ratio, zero), zero + 2)
    euclid = batch.each_pair(
        lambda a, b: xp.sqrt(xp.sum((v[:, a, ...] - v[:, b, ...]) ** 2, axis=(1, 2)))
    )
    a, b = _sides(batch, xp.sum(v, axis=(2, 3)))
    aa, bb = _sides(batch, xp.sum(v * v, axis=(2, 3)))
    return [ratio, euclid, batch.divide(a * b, aa * bb), high / batch.height - 0.5]


def _windows(values: Any) -> Any:
    """Sum windows of 7 x 7, only whole ones."""
    tall = sum(values[..., k : values.shape[-2] - 6 + k, :] for k in range(_WINDOW))
    return sum(tall[..., k : tall.shape[-1] - 6 + k] for k in range(_WINDOW))


def similarities(batch: Batch, data_range: float) -> Any:
    """Mean structural similarity of pairs, (n, pairs); NaN for pictures under 7 pixels."""
    xp, v = batch.xp, batch.inside
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    s, q = _windows(v), _windows(v * v)
    spread = (_AREA * q - s * s) / (_AREA * (_AREA - 1))
    valid = batch.real(batch.valid[:, 0, _WINDOW - 1 :, _WINDOW - 1 :])
    n = xp.sum(valid, axis=(1, 2))

    def one(a: int, b: int) -> Any:
        product = s[:, a, ...] * s[:, b, ...]
        cross = (_AREA * _windows(v[:, a, ...] * v[:, b, ...]) - product) / (_AREA * (_AREA - 1))
        above = (2 * product / _AREA**2 + c1) * (2 * cross + c2)
        means = (s[:, a, ...] * s[:, a, ...] + s[:, b, ...] * s[:, b, ...]) / _AREA**2 + c1
        similar = above / (means * (spread[:, a, ...] + spread[:, b, ...] + c2))
        return batch.divide(xp.sum(similar * valid, axis=(1, 2)), n)

    return batch.each_pair(one)


def hausdorff(batch: Batch) -> Any:
    """Hausdorff distance of the pixels that are not 0 of pairs of masked planes, (n, pairs)."""
    xp, occupied = batch.xp, batch.inside != 0
    far = xp.astype(batch.full(batch.inside, _FAR), xp.float32)  # whole numbers, small ones
    square = xp.where(occupied, xp.zeros_like(far), far)
    for axis in (2, 3):  # squared distances to the nearest along columns, then along rows
        square = _spread(xp, square, axis)
    full = xp.any(occupied, axis=(2, 3))

    def one(a: int, b: int) -> Any:
        ways = [
            xp.where(occupied[:, p, ...], square[:, q, ...], 0 * square[:, q, ...])
            for p, q in ((a, b), (b, a))
        ]
        farthest = xp.sqrt(batch.real(xp.maximum(*(xp.max(way, axis=(1, 2)) for way in ways))))
        apart = xp.where(full[:, a] & full[:, b], farthest, batch.full(farthest, float("inf")))
        return xp.where(full[:, a] | full[:, b], apart, xp.zeros_like(apart))

    return batch.each_pair(one)


def _spread(xp: Any, square: Any, axis: int) -> Any:
    """Take the least of all along an axis, each plus its squared distance.

    What is under the square of a step is final; now and then it is asked whether all is.
    """
    n, least = square.shape[axis], square + 0.0
    lost = ~xp.any(square < _FAR, axis=axis, keepdims=True)
    for step in range(1, n):
        before = (..., slice(0, n - step), *([slice(None)] * (3 - axis)))
        after = (..., slice(step, n), *([slice(None)] * (3 - axis)))
        least[before] = xp.minimum(least[before], square[after] + float(step * step))
        least[after] = xp.minimum(least[after], square[before] + float(step * step))
        if step % 8 == 0 and bool(xp.all((least <= float(step * step)) | lost)):
            break
    return least
