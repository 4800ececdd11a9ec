"""Packed pictures of many channels and their masks -> rows of numbers, on the CPU.

It knows how pictures lie in a block and which kernel makes which family; it does not know Dask,
xarray or files.

A block of n pictures with C channels is five arrays. Picture r covers H x W pixels, H =
``height[r]``, W = ``width[r]``; its planes lie one after another, row by row, in ``pixels`` from
``C * offset[r]`` on, plane c from ``C * offset[r] + c * H * W``; bit k of
``codes[offset[r] + y * W + x]`` tells whether mask k holds the pixel (y, x). So `offset` counts
pixels of one plane: the sum of the areas before. A picture of height 0 was put aside.
"""

from collections.abc import Callable, Sequence
from functools import cache, cached_property
from itertools import permutations
from typing import Any

import numpy as np

from dpipe.operators.cell_features import columns
from dpipe.operators.cell_features.cpu import (
    distance,
    hog,
    hull,
    outline,
    pairs,
    shared,
    similarity,
    texture,
    values,
)

_AT_ONCE = 16  # pictures that stay in the cache from kernel to kernel


def measure(
    pixels: np.ndarray,
    codes: np.ndarray,
    offset: np.ndarray,
    height: np.ndarray,
    width: np.ndarray,
    *,
    channels: int,
    families: Sequence[str],
    data_range: float = 4095.0,
) -> np.ndarray:
    """Measure the pictures of a block.

    Parameters
    ----------
    pixels : array of uint8, uint16, float32 or float64, 1-D
    codes : array of uint8, uint16 or uint32, 1-D
    offset, height, width : arrays of int, shape (n,)
        See above.
    channels : int
        C.
    families : sequence of str
        Keys of ``_cell_columns.FAMILIES``.
    data_range : float
        Of pixel values; only corrected similarities ask for it.

    Returns
    -------
    array of float64, shape (n, names)
        In the order of ``_cell_columns.names``; NaN for pictures of height 0.
    """
    sizes = [columns.count(family, channels) for family in families]
    out = np.full((len(offset), sum(sizes)), np.nan)
    whole = pixels.dtype.kind == "u" and int(pixels.max(initial=0)) <= similarity.LARGEST
    nonempty = np.flatnonzero(np.asarray(height) * np.asarray(width))
    for start in range(0, len(nonempty), _AT_ONCE):
        chosen = nonempty[start : start + _AT_ONCE]
        pictures = _Pictures(pixels, codes, offset[chosen], height[chosen], width[chosen], channels)
        pictures.data_range, pictures.small = data_range, whole
        results = [_KERNELS[family](pictures).reshape(len(chosen), -1) for family in families]
        out[chosen] = np.concatenate(results, axis=1)
    return out


class _Pictures:
    """Some pictures of a block; what several families need is made once."""

    data_range: float
    small: bool  # sums over windows of squares fit 32 bits

    def __init__(
        self,
        pixels: np.ndarray,
        codes: np.ndarray,
        offset: np.ndarray,
        height: np.ndarray,
        width: np.ndarray,
        channels: int,
    ) -> None:
        self.pixels, self.codes = pixels, codes
        self.frame = tuple(np.ascontiguousarray(v, np.int64) for v in (offset, height, width))
        self.packed = (pixels, codes, *self.frame)
        self.n, self.channels = len(offset), channels
        self.pairs = channels * (channels - 1) // 2
        self.whole = pixels.dtype.kind == "u"

    @property
    def largest(self) -> int:
        """Pixels of the largest plane."""
        return int((self.frame[1] * self.frame[2]).max())

    def empty(self, *shape: int, dtype: Any = np.float64) -> np.ndarray:
        """Make room for so many numbers of each picture."""
        return np.empty((self.n, *shape), dtype)

    @cached_property
    def boxes(self) -> np.ndarray:
        corners = self.empty(self.channels, 4, dtype=np.int64)
        outline.boxes(self.codes, *self.frame, corners)
        return corners

    @cached_property
    def outlines(self) -> tuple[np.ndarray, np.ndarray]:
        shapes, centres = self.empty(self.channels, outline.N_SHAPES), self.empty(self.channels, 4)
        hulls = self.empty(self.channels, 2)
        hull.hulls(*self.packed[1:], self.boxes, hulls)
        outline.outlines(*self.packed, self.boxes, hulls, shapes, centres)
        return shapes, centres

    @cached_property
    def values(self) -> dict[str, np.ndarray]:
        sizes = {"percentiles": values.N_DECILES, "background-mean": 1}
        sizes |= {"cell-shape": values.N_STATISTICS}
        tables = {family: self.empty(self.channels, n) for family, n in sizes.items()}
        counts = (
            np.zeros((4, np.iinfo(self.pixels.dtype).max + 1), np.int32) if self.whole else None
        )
        values.values(*self.packed, counts, _logs(self.largest.bit_length()), *tables.values())
        return tables

    def similarities(self, data_range: float) -> np.ndarray:
        means = self.empty(self.pairs)
        room = np.empty((self.channels, self.largest), np.int32 if self.small else np.float64)
        similarity.similarities(*self.packed, self.boxes, data_range, room, means)
        return means


@cache
def _logs(bits: int) -> np.ndarray:
    """Return n log2 n for n up to 2 ** bits."""
    n = np.arange((1 << bits) + 1, dtype=np.float64)
    return n * np.log2(np.maximum(n, 1))


def _textures(pictures: _Pictures, *, strict: bool = False) -> np.ndarray:
    figures = pictures.empty(pictures.channels, texture.N_TEXTURES)
    texture.textures(pictures.pixels, *pictures.frame, strict, figures)
    return figures


def _corrected_textures(pictures: _Pictures) -> np.ndarray:
    cell_figures = pictures.empty(pictures.channels, texture.N_TEXTURES)
    texture.cell_textures(*pictures.packed, cell_figures)
    return np.concatenate([_textures(pictures, strict=True), cell_figures], axis=2)


def _slopes(pictures: _Pictures) -> np.ndarray:
    steepness = pictures.empty(pictures.channels, 1)
    kind = np.int32 if pictures.whole else np.float64
    room = np.zeros((2, int(pictures.frame[2].max()) + 2), kind)
    texture.slopes(pictures.pixels, *pictures.frame, room, steepness)
    return steepness


def _colocalisation(pictures: _Pictures) -> np.ndarray:
    overlaps, paired = (
        pictures.empty(pictures.pairs, 2),
        pictures.empty(pictures.pairs, pairs.N_PAIRED),
    )
    kind = np.float64 if pictures.pixels.dtype == np.float64 else np.float32
    planes = np.empty((pictures.channels, pictures.largest), kind)
    centred = np.empty((pictures.channels, 0 if pictures.whole else pictures.largest))
    pairs.pairs(*pictures.packed, pictures.boxes, planes, centred, overlaps, paired)
    paired[..., 4] = pictures.similarities(2.0)  # scikit-image's range of floats, once
    distance.hausdorff(*pictures.packed, pictures.boxes, paired[..., 5])
    number = {pair: i for i, pair in enumerate(columns.pairs(pictures.channels))}
    ordered = [number[min(p), max(p)] for p in permutations(range(pictures.channels), 2)]
    ways = paired[:, ordered].reshape(pictures.n, -1)
    return np.concatenate([overlaps.reshape(pictures.n, -1), ways], axis=1)


def _corrected_pairs(pictures: _Pictures) -> np.ndarray:
    figures = pictures.empty(pictures.pairs, pairs.N_CORRECTED + 1)
    pairs.corrected(*pictures.packed, figures[..., :-1])
    figures[..., -1] = pictures.similarities(pictures.data_range)
    return figures


def _shared(pictures: _Pictures, *, strict: bool) -> np.ndarray:
    ratios = pictures.empty(pictures.pairs, pictures.channels, shared.N_SHARED)
    shared.shared(*pictures.packed, strict, ratios)
    return ratios


def _apart(pictures: _Pictures) -> np.ndarray:
    distances = pictures.empty(pictures.pairs, 2)
    outline.apart(pictures.outlines[1], distances)
    return distances


def _hog(pictures: _Pictures) -> np.ndarray:
    histograms = pictures.empty(pictures.channels, hog.N_BINS)
    hog.gradients(pictures.pixels, *pictures.frame, histograms)
    return histograms


_KERNELS: dict[str, Callable[[_Pictures], np.ndarray]] = {
    "mask-based": lambda some: some.outlines[0],
    "glcm": _textures,
    "gradient-rms": _slopes,
    "background-mean": lambda some: some.values["background-mean"],
    "percentiles": lambda some: some.values["percentiles"],
    "cell-shape": lambda some: some.values["cell-shape"],
    "colocalisation": _colocalisation,
    "intersections": lambda some: _shared(some, strict=False),
    "cell-distances": _apart,
    "hog": _hog,
    "glcm-corrected": _corrected_textures,
    "colocalisation-corrected": _corrected_pairs,
    "intersections-corrected": lambda some: _shared(some, strict=True),
}
