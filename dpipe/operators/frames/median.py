"""Median of a plane over 3x3, 5x5 or larger windows, zeros beyond the border.

It knows how to find a median by comparators; it does not know what the median is for. The
columns of a window are sorted once and shared by the windows that hold them; what is left is the
shortest of some thousand pruned networks over the sorted columns. Sorted columns of zeros and
ones have only 6 ** 5 states, so by the 0-1 principle each network is proved by trying them all
(``tests/operators/test_median.py`` does).
"""

from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
from numba import types
from numba.extending import intrinsic

from dpipe.compute import beside, namespace, ndimage

Pairs = tuple[tuple[int, int], ...]

# Each pair (low, high) leaves the smaller value on wire `low` and the larger on wire `high`.
COLUMN: dict[int, Pairs] = {
    3: ((0, 1), (1, 2), (0, 1)),
    5: ((0, 1), (3, 4), (2, 4), (2, 3), (0, 3), (0, 2), (1, 4), (1, 3), (1, 2)),
}
# Wire size * i + j holds the i-th smallest value of column j; the last entry is the median's wire.
WINDOW: dict[int, tuple[Pairs, int]] = {
    3: (
        (
            *((0, 1), (1, 2)),  # largest of the smallest -> 2
            *((3, 4), (4, 5), (3, 4)),  # median of the middle -> 4
            *((7, 8), (6, 7)),  # smallest of the largest -> 6
            *((2, 4), (4, 6), (2, 4)),
        ),
        4,
    ),
    5: (
        (
            *((0, 1), (3, 4), (2, 4), (2, 3), (0, 3), (1, 4), (1, 3)),
            *((5, 6), (8, 9), (7, 9), (7, 8), (5, 8), (6, 9), (6, 8), (6, 7)),
            *((10, 11), (13, 14), (12, 14), (12, 13), (10, 13), (10, 12), (11, 14), (11, 13)),
            *((11, 12), (15, 16), (17, 19), (17, 18), (15, 18), (15, 17), (16, 19), (16, 18)),
            *((16, 17), (20, 21), (23, 24), (22, 23), (20, 22), (21, 24), (21, 23), (21, 22)),
            *((4, 8), (16, 20), (4, 16), (8, 20), (8, 12), (15, 11), (3, 7), (16, 12), (17, 9)),
            *((11, 7), (21, 17), (21, 13), (7, 8), (8, 16), (16, 21), (8, 16)),
        ),
        16,
    ),
}


def median(plane: Any, size: int) -> Any:
    """Filter a plane (y, x) by the median over size x size pixels, zeros beyond the border."""
    if isinstance(plane, np.ndarray) and plane.dtype in (np.uint8, np.uint16) and size in WINDOW:
        filtered = _median3 if size == 3 else _median5
        return filtered(np.ascontiguousarray(plane))
    if size in WINDOW:
        return by_network(plane, size)
    return ndimage(plane).median_filter(plane, size=size, mode="constant", cval=0)


def by_network(plane: Any, size: int) -> Any:
    """Do the same with whole shifted planes, on any kind of array."""
    xp = namespace(plane)
    height, width = plane.shape
    half = size // 2
    padded = xp.zeros((height + 2 * half, width + 2 * half), dtype=plane.dtype, **beside(plane))
    padded[half : half + height, half : half + width] = plane
    columns = [padded[i : i + height, :] for i in range(size)]
    _apply(xp, COLUMN[size], columns)
    wires = [column[:, j : j + width] for column in columns for j in range(size)]
    pairs, middle = WINDOW[size]
    _apply(xp, pairs, wires)
    return wires[middle]


def _apply(xp: Any, pairs: Pairs, wires: list[Any]) -> None:
    for low, high in pairs:
        a, b = wires[low], wires[high]
        wires[low], wires[high] = xp.minimum(a, b), xp.maximum(a, b)


def _network(pairs: Pairs, keep: Sequence[int]) -> Any:
    """Build an LLVM function from a tuple of values to the wires `keep`, as straight-line code."""

    def emit(typing_context: Any, values: Any) -> Any:  # pragma: no cover - once, then cached
        result = values.dtype if len(keep) == 1 else types.UniTuple(values.dtype, len(keep))

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            wires = [builder.extract_value(args[0], k) for k in range(values.count)]
            for low, high in pairs:
                a, b = wires[low], wires[high]
                less = builder.icmp_unsigned("<", a, b)
                wires[low], wires[high] = builder.select(less, a, b), builder.select(less, b, a)
            if len(keep) == 1:
                return wires[keep[0]]
            return context.make_tuple(builder, result, [wires[k] for k in keep])

        return result(values), generate

    return intrinsic(emit)


_sort3 = _network(COLUMN[3], range(3))
_sort5 = _network(COLUMN[5], range(5))
_middle9 = _network(WINDOW[3][0], [WINDOW[3][1]])
_middle25 = _network(WINDOW[5][0], [WINDOW[5][1]])


@numba.njit(nogil=True, cache=True)
def _median3(plane: np.ndarray) -> np.ndarray:  # pragma: no cover
    height, width = plane.shape
    result = np.empty_like(plane)
    zeros = np.zeros(width, plane.dtype)
    s = np.zeros((3, width + 2), plane.dtype)
    for y in range(height):
        a = plane[y - 1] if y > 0 else zeros
        b = plane[y]
        c = plane[y + 1] if y + 1 < height else zeros
        for x in range(width):
            s[0, x + 1], s[1, x + 1], s[2, x + 1] = _sort3((a[x], b[x], c[x]))
        out = result[y]
        for x in range(width):
            out[x] = _middle9(
                (
                    s[0, x], s[0, x + 1], s[0, x + 2],
                    s[1, x], s[1, x + 1], s[1, x + 2],
                    s[2, x], s[2, x + 1], s[2, x + 2],
                )
            )  # fmt: skip
    return result


@numba.njit(nogil=True, cache=True)
def _median5(plane: np.ndarray) -> np.ndarray:  # pragma: no cover
    height, width = plane.shape
    result = np.empty_like(plane)
    zeros = np.zeros(width, plane.dtype)
    s = np.zeros((5, width + 4), plane.dtype)
    for y in range(height):
        a = plane[y - 2] if y > 1 else zeros
        b = plane[y - 1] if y > 0 else zeros
        c = plane[y]
        d = plane[y + 1] if y + 1 < height else zeros
        e = plane[y + 2] if y + 2 < height else zeros
        for x in range(width):
            v = _sort5((a[x], b[x], c[x], d[x], e[x]))
            s[0, x + 2], s[1, x + 2], s[2, x + 2], s[3, x + 2], s[4, x + 2] = v
        out = result[y]
        for x in range(width):
            out[x] = _middle25(
                (
                    s[0, x], s[0, x + 1], s[0, x + 2], s[0, x + 3], s[0, x + 4],
                    s[1, x], s[1, x + 1], s[1, x + 2], s[1, x + 3], s[1, x + 4],
                    s[2, x], s[2, x + 1], s[2, x + 2], s[2, x + 3], s[2, x + 4],
                    s[3, x], s[3, x + 1], s[3, x + 2], s[3, x + 3], s[3, x + 4],
                    s[4, x], s[4, x + 1], s[4, x + 2], s[4, x + 3], s[4, x + 4],
                )
            )  # fmt: skip
    return result
