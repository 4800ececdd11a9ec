"""Packed pictures as padded batches on any kind of array, and what several families ask of them.

It knows how to lay pictures side by side, and names no array library. Numbers are float64, so
that sums of whole ones are exact; padding is 0 and in no mask.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from dpipe.compute import beside, namespace

_ROOM = 1 << 23  # numbers in the planes of one batch: then no family takes more than 1.3 GB
_LEAST = 7  # rows and columns that every batch has: a window of similarity fits in


class Batch:
    """Some pictures of one block, padded to the largest.

    Attributes
    ----------
    xp : module
        The array namespace.
    planes : array of float64, shape (n, c, h, w)
    masks : array of bool, shape (n, c, h, w)
    inside : array of float64, shape (n, c, h, w)
        Planes times masks.
    valid : array of bool, shape (n, 1, h, w)
    height, width, area : arrays of float64, shape (n, 1)
    sides : tuple of numpy.ndarray
        Heights and widths on the host.
    """

    def __init__(
        self, pixels: Any, codes: Any, offset: Any, height: Any, width: Any, channels: int
    ) -> None:
        xp = self.xp = namespace(pixels)
        self.pixels, self.channels, self.sides = pixels, channels, (height, width)
        self.offset, self.h, self.w = (
            self.array(v)[:, None, None, None] for v in (offset, height, width)
        )
        self.size = max(_LEAST, int(max(height))), max(_LEAST, int(max(width)))
        y, x = self.rows(self.size[0]), self.columns(self.size[1])
        self.valid = (y < self.h) & (x < self.w)
        c = self.array(range(channels))[None, :, None, None]
        self.planes = self.real(self.valid) * self._take(pixels, c, y, x)
        place = xp.where(self.valid, self.offset + y * self.w + x, xp.zeros_like(self.h))
        bits = (self.gather(codes, place) >> c) & xp.ones_like(c)
        self.masks = (bits > 0) & self.valid
        self.inside = self.planes * self.real(self.masks)
        self.height, self.width = self.real(self.h[:, :, 0, 0]), self.real(self.w[:, :, 0, 0])
        self.area = self.height * self.width

    def array(self, values: Any, dtype: str = "int64") -> Any:
        """Put whole numbers of the host beside the pixels."""
        kind = getattr(self.xp, dtype)
        return self.xp.asarray(np.asarray(values, dtype), dtype=kind, **beside(self.pixels))

    def real(self, values: Any) -> Any:
        """Return values as float64."""
        return self.xp.astype(values, self.xp.float64)

    def rows(self, n: int) -> Any:
        """Return 0 ... n - 1 along y."""
        return self.array(range(n))[None, None, :, None]

    def columns(self, n: int) -> Any:
        """Return 0 ... n - 1 along x."""
        return self.array(range(n))[None, None, None, :]

    def gather(self, flat: Any, place: Any) -> Any:
        """Take from a flat array; whole numbers come as int64."""
        xp = self.xp
        taken = xp.take(flat, xp.reshape(place, (-1,)), axis=0)
        kind = xp.int64 if xp.isdtype(flat.dtype, "integral") else xp.float64
        return xp.reshape(xp.astype(taken, kind), place.shape)

    def _take(self, pixels: Any, c: Any, y: Any, x: Any) -> Any:
        """Take planes at rows and columns, the nearest where there are none."""
        xp = self.xp
        zero = xp.zeros_like(self.h)
        y = xp.minimum(xp.maximum(y, zero), self.h - 1)
        x = xp.minimum(xp.maximum(x, zero), self.w - 1)
        place = self.offset * self.channels + (c * self.h + y) * self.w + x
        return self.real(self.gather(pixels, place))

    def framed(self) -> Any:
        """Return planes with a frame of one pixel, borders repeated, shape (n, c, h + 2, w + 2)."""
        c = self.array(range(self.channels))[None, :, None, None]
        y, x = self.rows(self.size[0] + 2) - 1, self.columns(self.size[1] + 2) - 1
        return self._take(self.pixels, c, y, x)

    def flat(self, values: Any) -> Any:
        """Bring the pixels of planes into one axis."""
        return self.xp.reshape(values, (*values.shape[:2], -1))

    def full(self, values: Any, number: float) -> Any:
        """Return an array like another, all of one number."""
        return self.xp.full_like(values, number)

    def divide(self, above: Any, below: Any) -> Any:
        """Divide; NaN where the divisor is 0."""
        xp = self.xp
        none = below == 0
        share = above / xp.where(none, xp.ones_like(below), below)
        return xp.where(none, self.full(share, float("nan")), share)

    def pairs(self) -> Iterator[tuple[int, int]]:
        """Yield all pairs a < b."""
        for a in range(self.channels):
            for b in range(a + 1, self.channels):
                yield a, b

    def each_pair(self, function: Callable[[int, int], Any], empty: tuple[int, ...] = ()) -> Any:
        """Stack the results of a function for all pairs along axis 1."""
        figures = [function(a, b) for a, b in self.pairs()]
        if figures:
            return self.xp.stack(figures, axis=1)
        return self.xp.zeros(
            (self.offset.shape[0], 0, *empty), dtype=self.xp.float64, **beside(self.pixels)
        )

    def ranks(self, ordered: Any) -> Any:
        """Return the place of each sorted value among its equals, from 1; int64."""
        xp = self.xp
        n = ordered.shape[-1]
        index = self.array(range(n)) + xp.zeros_like(ordered, dtype=xp.int64)
        start = xp.zeros_like(index)
        fresh = ordered[..., 1:] != ordered[..., :-1]
        start[..., 1:] = xp.where(fresh, index[..., 1:], start[..., 1:])
        step = 1
        while step < n:  # the largest so far, by doubling
            start[..., step:] = xp.maximum(start[..., step:], start[..., :-step])
            step *= 2
        return index - start + 1


def batches(height: np.ndarray, width: np.ndarray, channels: int) -> Iterator[np.ndarray]:
    """Yield the numbers of pictures that go together, of like size and not too many.

    >>> [list(map(int, some)) for some in batches(np.array([9, 9, 0]), np.array([9, 8, 0]), 2)]
    [[1, 0]]
    """
    nonempty = np.flatnonzero(height * width)
    order = nonempty[np.lexsort((width[nonempty], height[nonempty]))]
    start = 0
    for stop in range(1, len(order) + 1):
        group = order[start : stop + 1]
        wide, tall = max(_LEAST, width[group].max()), max(_LEAST, height[group].max())
        if stop == len(order) or len(group) * channels * wide * tall > _ROOM:
            yield order[start:stop]
            start = stop
