"""Values and textures of padded batches, on any kind of array.

The same numbers as ``_cell_values.py`` and ``_cell_texture.py``: where those count in tables, this
sorts and ranks equals.
"""

from typing import Any

from dpipe.operators.cell_features.gpu.batch import Batch

_STEP = 5
_FAR = float("inf")


def gradient(batch: Batch) -> Any:
    """Root mean square of Sobel's slope, (n, c, 1)."""
    xp, p = batch.xp, batch.framed()
    smooth = p[:, :, :-2, :] + 2 * p[:, :, 1:-1, :] + p[:, :, 2:, :]
    steep = p[:, :, 2:, :] - p[:, :, :-2, :]
    across = smooth[..., 2:] - smooth[..., :-2]
    down = steep[..., :-2] + 2 * steep[..., 1:-1] + steep[..., 2:]
    square = (across * across + down * down) * batch.real(batch.valid)
    return xp.sqrt(xp.sum(square, axis=(2, 3)) / (32 * batch.area))[..., None]


def background(batch: Batch) -> Any:
    """Mean of the pixels above 0 outside the mask, (n, c, 1)."""
    xp = batch.xp
    outside = batch.real(batch.valid & ~batch.masks & (batch.planes > 0))
    total = xp.sum(outside * batch.planes, axis=(2, 3))
    return batch.divide(total, xp.sum(outside, axis=(2, 3)))[..., None]


def percentiles(batch: Batch) -> Any:
    """Deciles of the whole plane, (n, c, 9)."""
    xp = batch.xp
    far = batch.full(batch.planes, _FAR)
    ordered = xp.sort(batch.flat(xp.where(batch.valid, batch.planes, far)), axis=-1)
    last = batch.h[:, :, :, 0] * batch.w[:, :, :, 0] - 1  # (n, 1, 1)
    place = batch.array(range(1, 10))[None, None, :] * last + xp.zeros_like(
        ordered[..., :1], dtype=xp.int64
    )
    rank, share = place // 10, batch.real(place % 10) / 10
    low = xp.take_along_axis(ordered, rank, axis=-1)
    high = xp.take_along_axis(ordered, xp.minimum(rank + 1, last), axis=-1)
    return low + (high - low) * share


def cell_shape(batch: Batch) -> Any:
    """Area and the distribution of the pixels above 0 inside the mask, (n, c, 9)."""
    xp, v = batch.xp, batch.inside
    positive = v > 0
    weight = batch.real(positive)
    n = xp.sum(weight, axis=(2, 3))
    whole = xp.where(n > 0, n, xp.ones_like(n))
    total = xp.sum(v * weight, axis=(2, 3))
    mean = total / whole
    d = (v - mean[:, :, None, None]) * weight
    m2, m3, m4 = (xp.sum(d**k, axis=(2, 3)) / whole for k in (2, 3, 4))
    low = xp.min(xp.where(positive, v, batch.full(v, _FAR)), axis=(2, 3))
    high = xp.max(v * weight, axis=(2, 3))
    level = low == high
    spread = xp.where(level | (n == 0), batch.full(m2, float("nan")), m2)
    entropy = _entropy(batch, v, positive, whole)
    area = xp.sum(batch.real(batch.masks), axis=(2, 3))
    kurtosis, skew = m4 / (spread * spread) - 3, m3 / (spread * xp.sqrt(spread))
    figures = [area, total, mean, xp.sqrt(m2), kurtosis, skew, low, high, entropy]
    return xp.where((n > 0)[..., None], xp.stack(figures, axis=-1), xp.zeros_like(n)[..., None])


def _entropy(batch: Batch, v: Any, positive: Any, n: Any) -> Any:
    """Entropy of the values in bits: each of k equals adds what k log k grows by."""
    xp = batch.xp
    ordered = xp.sort(batch.flat(xp.where(positive, v, batch.full(v, _FAR))), axis=-1)
    rank = batch.real(batch.ranks(ordered))
    less = xp.where(rank > 1, rank - 1, xp.ones_like(rank))
    grows = rank * xp.log2(rank) - less * xp.log2(less)
    total = xp.sum(grows * batch.real(ordered < _FAR), axis=-1)
    return xp.abs(xp.log2(n) - total / n)


def textures(batch: Batch, *, strict: bool = False) -> Any:
    """Haralick's six of pairs five columns apart, (n, c, 6)."""
    xp, p = batch.xp, batch.planes
    lowest = xp.where(batch.valid, p, batch.full(p, -_FAR))
    brightest = xp.max(lowest, axis=(2, 3))[..., None, None]
    grey = _grey(batch, brightest)
    valid = batch.valid[..., _STEP:] & xp.ones_like(batch.masks[..., _STEP:])
    n, six = _six(batch, grey[..., :-_STEP], grey[..., _STEP:], valid, symmetric=False)
    none = n == 0
    empty = xp.stack([xp.zeros_like(n)] * 5 + [xp.ones_like(n)], axis=-1)
    figures = xp.where(none[..., None], empty, six)
    if strict:
        none = none | (brightest[..., 0, 0] == 0)
        figures = xp.where(none[..., None], batch.full(figures, float("nan")), figures)
    return figures


def cell_textures(batch: Batch) -> Any:
    """Return those of pairs inside the mask, both ways, means of four directions, (n, c, 6)."""
    xp, m, k = batch.xp, batch.masks, _STEP
    brightest = xp.max(batch.inside, axis=(2, 3))[..., None, None]
    grey = _grey(batch, brightest)
    tall, wide = batch.size
    cuts = [((0, tall), (0, wide - k), (0, tall), (k, wide))]
    cuts += [((0, tall - k), (0, wide - k), (k, tall), (k, wide))]
    cuts += [((0, tall - k), (0, wide), (k, tall), (0, wide))]
    cuts += [((0, tall - k), (k, wide), (k, tall), (0, wide - k))]
    directions, total = 0.0, 0.0
    for a, b, c, d in cuts:
        first, second = (..., slice(*a), slice(*b)), (..., slice(*c), slice(*d))
        n, six = _six(batch, grey[first], grey[second], m[first] & m[second], symmetric=True)
        has_pairs = batch.real(n > 0)[..., None]
        directions, total = (
            directions + has_pairs,
            total + xp.where(has_pairs > 0, six, xp.zeros_like(six)),
        )
    mean = batch.divide(total, directions + xp.zeros_like(total))
    return xp.where(brightest[..., 0] > 0, mean, batch.full(mean, float("nan")))


def _grey(batch: Batch, brightest: Any) -> Any:
    """Levels 0 ... 255 of the planes over `brightest`, cut to whole numbers."""
    xp = batch.xp
    top = xp.where(brightest == 0, xp.ones_like(brightest), brightest)
    share = batch.planes / top * 255.0 * batch.real(brightest != 0)
    return xp.remainder(xp.trunc(share), batch.full(share, 256.0))


def _six(batch: Batch, i: Any, j: Any, valid: Any, *, symmetric: bool) -> tuple[Any, Any]:
    """Count the pairs that are there, (n, c), and return the six, (n, c, 6).

    Sums of whole numbers are exact, so that a level plane has no spread at all.
    """
    xp, on = batch.xp, batch.real(valid)

    def total(values: Any) -> Any:
        return xp.sum(values * on, axis=(2, 3))

    pairs = total(xp.ones_like(i))
    n = xp.where(pairs > 0, pairs, xp.ones_like(pairs))
    d, far = i - j, batch.full(i, _FAR)
    keys = [i * 256 + j, j * 256 + i] if symmetric else [i * 256 + j]
    flat = [batch.flat(xp.where(valid, key, far)) for key in keys]
    ordered = xp.sort(xp.reshape(xp.stack(flat, axis=2), (*n.shape, -1)), axis=-1)
    rank = batch.real(batch.ranks(ordered))
    squares = xp.sum((2 * rank - 1) * batch.real(ordered < _FAR), axis=-1)
    asm = squares / (len(keys) * n) ** 2
    si, sj, sii, sjj, sij = (total(v) for v in (i, j, i * i, j * j, i * j))
    if symmetric:
        si, sii, sij, count = si + sj, sii + sjj, 2 * sij, 2 * n
        sj, sjj = si, sii
    else:
        count = n
    spread = xp.sqrt((count * sii - si * si) * (count * sjj - sj * sj))
    level = spread == 0
    ratio = (count * sij - si * sj) / xp.where(level, xp.ones_like(spread), spread)
    correlation = xp.where(level, xp.ones_like(ratio), ratio)
    sums = [total(v) / n for v in (d * d, xp.abs(d), 1 / (1 + d * d))]
    return pairs, xp.stack([*sums, asm, xp.sqrt(asm), correlation], axis=-1)
