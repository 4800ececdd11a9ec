"""Masks of several values, such as a cell and a piece beside it, as scifAI counts them.

It takes shapes and centres of the least value alone, and multiplies pixels by the values of masks
everywhere else; the kernels know masks of one value only. So such pictures, which are few, are
measured again: each family gets pixels and masks of which it makes scifAI's numbers. It names no
array library, and knows nothing of blocks or files.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from dpipe.compute import beside, namespace
from dpipe.operators.cell_features import columns

_EPS = 1e-12
_LEAST = ("mask-based", "cell-distances")
_PRODUCT = ("cell-shape", "colocalisation")


class _Picture(NamedTuple):
    """Pixels, masks, and their product of one picture, each (channel, place)."""

    pixels: Any
    masks: Any
    product: Any


def measure(
    kernels: Callable[..., Any],
    packed: tuple[Any, Any, np.ndarray, np.ndarray, np.ndarray],
    valued: Any,
    several: np.ndarray,
    *,
    channels: int,
    families: Sequence[str],
    data_range: float,
) -> Any:
    """Measure the pictures of a block, those with masks of several values as scifAI does.

    Parameters
    ----------
    kernels : callable
        ``_cell_pictures.measure`` or ``_batch_families.measure``.
    packed : tuple
        Pixels, codes, offsets, heights and widths, as these take them.
    valued : array, 1-D
        Masks of several values, laid as the pixels.
    several : array of bool
        Which pictures have such a mask.
    channels, families, data_range
        As these take them.

    Returns
    -------
    array of float64, shape (n, names)
    """
    pixels, codes, offset, height, width = packed
    options = {"channels": channels, "data_range": data_range}
    figures = kernels(*packed, families=families, **options)
    odd = np.flatnonzero(several & (height * width > 0))
    if not len(odd):
        return figures
    xp, pictures = namespace(pixels), []
    for i in odd.tolist():
        area = int(height[i] * width[i])
        place = slice(channels * int(offset[i]), channels * (int(offset[i]) + area))
        values, masks = (xp.reshape(flat[place], (channels, area)) for flat in (pixels, valued))
        product = xp.astype(values, xp.float64) * xp.astype(masks, xp.float64)
        pictures.append(_Picture(values, masks, product))
    shapes = height[odd], width[odd]
    again = _again(kernels, pictures, codes, shapes, families, options)
    row = np.arange(len(offset))
    row[odd] = len(offset) + np.arange(len(odd))
    joined = xp.concat([figures, again], axis=0)
    return xp.take(joined, xp.asarray(row, **beside(pixels)), axis=0)


def _again(
    kernels: Callable[..., Any],
    pictures: Sequence[_Picture],
    codes: Any,
    shapes: tuple[np.ndarray, np.ndarray],
    families: Sequence[str],
    options: dict[str, Any],
) -> Any:
    """Measure some pictures alone, family by family."""
    xp = namespace(codes)
    areas = shapes[0] * shapes[1]
    where = np.cumsum(areas) - areas, *shapes
    plain = xp.concat([xp.reshape(p.pixels, (-1,)) for p in pictures])
    product = xp.concat([xp.reshape(p.product, (-1,)) for p in pictures])
    every = xp.concat([_codes(p.masks != 0, codes.dtype) for p in pictures])
    least = xp.concat([_codes(_least(p.masks), codes.dtype) for p in pictures])
    tables = []
    for family in families:
        if family == "intersections":
            tables.append(xp.stack([_intersections(p) for p in pictures]))
            continue
        values = product if family in _PRODUCT else plain
        inside = least if family in _LEAST else every
        table = kernels(values, inside, *where, families=(family,), **options)
        if family == "cell-shape":
            table = _with_areas(table, pictures)
        if family == "colocalisation":
            table = _with_dice(table, pictures)
        tables.append(table)
    return xp.concat(tables, axis=1)


def _least(masks: Any) -> Any:
    """Return the place of the least value above 0 of each channel."""
    xp = namespace(masks)
    top = xp.max(masks, axis=1, keepdims=True)
    least = xp.min(xp.where(masks > 0, masks, top), axis=1, keepdims=True)
    return (masks == least) & (masks > 0)


def _codes(inside: Any, dtype: Any) -> Any:
    """Return masks (channel, place) as one code a place."""
    xp = namespace(inside)
    out = xp.zeros((inside.shape[1],), dtype=dtype, **beside(inside))
    for k in range(inside.shape[0]):
        bit = xp.asarray(1 << k, dtype=dtype, **beside(inside))
        out = out | xp.where(inside[k, :], bit, xp.zeros_like(bit))
    return out


def _with_areas(table: Any, pictures: Sequence[_Picture]) -> Any:
    """Let areas be sums of masks, where there is any pixel."""
    xp, per_channel = namespace(table), len(columns.STATISTICS) + 2
    sums = [xp.sum(xp.astype(p.masks, xp.float64), axis=1) for p in pictures]
    rows = xp.reshape(table, (len(pictures), -1, per_channel))
    area = xp.where(rows[:, :, 0] > 0, xp.stack(sums), xp.zeros_like(rows[:, :, 0]))
    rows = xp.concat([area[:, :, None], rows[:, :, 1:]], axis=2)
    return xp.reshape(rows, (len(pictures), -1))


def _with_dice(table: Any, pictures: Sequence[_Picture]) -> Any:
    """Let Dice's distance be that of numbers; Jaccard's, which comes after it, is of truth."""
    xp = namespace(table)
    channels = pictures[0].masks.shape[0]
    rows = []
    for p in pictures:
        masks = xp.astype(p.masks, xp.float64)
        row = []
        for a, b in itertools.combinations(range(channels), 2):
            first, second = masks[a, :], masks[b, :]
            apart = xp.sum(first * (1 - second)) + xp.sum(second * (1 - first))
            whole = 2 * xp.sum(first * second) + apart
            none = whole == 0
            share = apart / xp.where(none, xp.ones_like(whole), whole)
            row.append(xp.where(none, xp.full_like(share, float("nan")), share))
        rows.append(xp.stack(row) if row else xp.zeros((0,), dtype=xp.float64, **beside(table)))
    dice = xp.stack(rows)
    count = dice.shape[1]
    head = xp.stack([dice, table[:, 1 : 2 * count : 2]], axis=2)
    return xp.concat([xp.reshape(head, (len(pictures), -1)), table[:, 2 * count :]], axis=1)


def _intersections(p: _Picture) -> Any:
    """Weigh channels by the product of two masks, which overflows as their dtype does."""
    xp, channels = namespace(p.product), p.masks.shape[0]
    total, mean = xp.sum(p.product, axis=1), xp.mean(p.product, axis=1)
    tables = []
    for a, b in itertools.combinations(range(channels), 2):
        overlap = xp.astype(p.masks[a, :] * p.masks[b, :], xp.float64)
        shared = p.product * overlap[None, :]
        ratios = [
            xp.sum(shared, axis=1) / (total + _EPS),
            xp.mean(shared, axis=1) / (mean + _EPS),
            xp.max(shared, axis=1) / (mean + _EPS),
        ]
        tables.append(xp.stack(ratios, axis=1))
    if not tables:
        return xp.zeros((0,), dtype=xp.float64, **beside(p.product))
    return xp.reshape(xp.stack(tables), (-1,))


def count(
    _: Any,
    __: Any,
    offsets: np.ndarray,
    heights: np.ndarray,
    widths: np.ndarray,
    *,
    valued: Any,
    several: np.ndarray,
    channels: int,
) -> Any:
    """Count the values besides 0 of each picture's mask, where there are several; (pictures, 1)."""
    xp = namespace(valued)
    counts = np.zeros((len(offsets), 1), np.int64)
    for i in np.flatnonzero(several).tolist():
        end = int(offsets[i] + heights[i] * widths[i])
        values = xp.sort(valued[channels * int(offsets[i]) : channels * end])
        fresh = (values[1:] != values[:-1]) & (values[1:] != 0)
        counts[i] = int(xp.sum(xp.astype(fresh, xp.int64))) + int(values[0] != 0)
    return xp.asarray(counts, **beside(valued))
