"""How arrays are cut: the levels of an image, their pixels, chunks and shards.

Level k is level 0 with y and x halved k times; t, c and z stay, since the z step of most
microscopes is several times their pixel. A pixel of level k is the mean of the up to four
pixels it covers (for labels: the first of them), rounded half up for integers.

An inner chunk is the unit of decoding, a shard is one object and the unit of writing. A shard of
level k is that of level 0 divided by 2**k, so one write of level 0 owns its part of every level.

This module knows arrays and arithmetic; it knows nothing of files or metadata.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import xarray as xr

from dpipe.errors import SchemaError
from dpipe.schema import spacing

HALVED = ("y", "x")
SMALLEST = 256
"""The lowest level is at most this many pixels along its longer side."""
INNER_BYTES = 256 << 10
PLANE_BYTES = 2 << 20
SHARD_BYTES = 64 << 20
SMALL_SHARD_BYTES = 4 << 20
TILE = 512
_TEXT_BYTES = 16
"""An inner chunk holds at least INNER_BYTES; a plane above PLANE_BYTES is cut into tiles; a shard
holds at most SHARD_BYTES, and several time points where they are small."""


@dataclass(frozen=True)
class Array:
    """How one array of a part is cut.

    Attributes
    ----------
    path : str
        Its path below the part, for example ``"0/image"``.
    variable : str
        Name of the variable.
    level : int
        Level of the pyramid.
    dims : tuple of str
        Its dims.
    shape, chunk, shard : tuple of int
        Whole shape, inner chunk (the unit of decoding), shard (one object).
    dtype : str
        NumPy dtype string, ``"str"`` for text.
    """

    path: str
    variable: str
    level: int
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    chunk: tuple[int, ...]
    shard: tuple[int, ...]
    dtype: str

    @property
    def nbytes(self) -> int:
        """Bytes of the whole array, decoded."""
        itemsize = _TEXT_BYTES if self.dtype == "str" else np.dtype(self.dtype).itemsize
        return math.prod(self.shape) * itemsize

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> "Array":
        """Make one of what JSON made of it."""
        known: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in given.items()
        }
        return cls(**known)


def level_count(sizes: Mapping[Any, int]) -> int:
    """Return how many levels an image of these sizes gets.

    Parameters
    ----------
    sizes : mapping of str to int
        Sizes of its dims.

    Returns
    -------
    int
        1 if it is small or has no y and x.

    Examples
    --------
    >>> level_count({"z": 12, "y": 512, "x": 700})
    3
    """
    longest = max((sizes.get(dim, 1) for dim in HALVED), default=1)
    if not all(dim in sizes for dim in HALVED) or longest <= SMALLEST:
        return 1
    return 1 + math.ceil(math.log2(longest / SMALLEST))


def level_shape(dims: tuple[str, ...], shape: tuple[int, ...], level: int) -> tuple[int, ...]:
    """Return the shape of a level: y and x halved `level` times, rounded up."""
    return tuple(
        -(-n // 2**level) if dim in HALVED else n for dim, n in zip(dims, shape, strict=True)
    )


def level_coords(ds: xr.Dataset, level: int) -> dict[str, xr.DataArray]:
    """Return the coordinates of a level, each the centre of its larger pixel.

    Parameters
    ----------
    ds : xarray.Dataset
        Level 0.
    level : int
        Which level.

    Returns
    -------
    dict of str to xarray.DataArray
        All coordinates of `ds`; those of y and x thinned and moved by half a pixel of difference.
    """
    coords = {str(name): coord for name, coord in ds.coords.items()}
    if level == 0:
        return coords
    for dim in HALVED:
        if dim in coords:
            step = spacing(ds, dim)
            count = -(-ds.sizes[dim] // 2**level)
            first = float(ds[dim].values[0]) + (2**level - 1) / 2 * step
            values = first + np.arange(count) * step * 2**level
            attrs = ds[dim].attrs | {"spacing": step * 2**level}
            coords[dim] = xr.DataArray(values, dims=dim, name=dim, attrs=attrs)
    return coords


def layout(name: str, variable: xr.DataArray, level: int, levels: int) -> Array:
    """Choose chunk and shard of one level of a variable.

    Parameters
    ----------
    name : str
        Its name.
    variable : xarray.DataArray
        Level 0; only dims, shape and dtype are looked at.
    level, levels : int
        Which level of how many.

    Returns
    -------
    Array
        With the path ``<level>/<name>``.
    """
    dims = tuple(str(dim) for dim in variable.dims)
    text = variable.dtype.kind in "UOT"
    itemsize = _TEXT_BYTES if text else variable.dtype.itemsize
    chunk, shard = _grid(dims, variable.shape, itemsize, level, levels)
    shape = level_shape(dims, variable.shape, level)
    dtype = "str" if text else variable.dtype.str
    return Array(f"{level}/{name}", name, level, dims, shape, chunk, shard, dtype)


def _grid(
    dims: tuple[str, ...], shape: tuple[int, ...], itemsize: int, level: int, levels: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Chunk and shard of a level, such that a shard of level k is that of level 0 / 2**k."""
    if not all(dim in dims for dim in HALVED):
        whole = tuple(max(1, n) for n in shape)
        rows = max(1, SHARD_BYTES // max(1, math.prod(whole[1:]) * itemsize)) if whole else 1
        cut = (min(whole[0], rows), *whole[1:]) if whole else ()
        return cut, cut
    unit = 2 ** (levels - 1)
    sizes = dict(zip(dims, shape, strict=True))
    plane = sizes["y"] * sizes["x"] * itemsize
    tiles = {
        dim: _up(sizes[dim], unit) if plane <= PLANE_BYTES else min(TILE, _up(sizes[dim], unit))
        for dim in HALVED
    }
    tile = tiles["y"] * tiles["x"] * itemsize
    shard = {dim: _up(sizes[dim], tiles[dim]) for dim in HALVED}
    depth = sizes.get("z", 1)
    thick = min(depth, max(1, -(-INNER_BYTES // tile)))
    shard["z"] = _up(depth, thick)
    for dim, step in (("z", thick), ("y", tiles["y"]), ("x", tiles["x"])):
        while math.prod(shard.values()) * itemsize > SHARD_BYTES and shard[dim] > step:
            shard[dim] = _up(-(-shard[dim] // 2), step)
    frames = max(1, SMALL_SHARD_BYTES // (math.prod(shard.values()) * itemsize))
    if "t" in sizes:
        shard["t"] = min(sizes["t"], frames)
    chunk = {"z": thick}
    for dim in HALVED:
        shard[dim] = max(1, shard[dim] >> level)
        chunk[dim] = math.gcd(tiles[dim] if plane > PLANE_BYTES else shard[dim], shard[dim])
    while (
        chunk["z"] < shard["z"]
        and chunk["z"] * chunk["y"] * chunk["x"] * itemsize < INNER_BYTES
        and shard["z"] % (2 * chunk["z"]) == 0
    ):
        chunk["z"] *= 2
    return tuple(chunk.get(d, 1) for d in dims), tuple(shard.get(d, 1) for d in dims)


def _up(n: int, step: int) -> int:
    return -(-n // step) * step


def shards(array: Array, region: Mapping[str, slice]) -> list[tuple[slice, ...]]:
    """Return the shards of an array inside a region, as regions of the array.

    Parameters
    ----------
    array : Array
        How the array is cut.
    region : mapping of str to slice
        A slice for each dim that is cut, in elements of this array; others are whole.

    Returns
    -------
    list of tuple of slice
        One entry a shard, in C order.

    Raises
    ------
    SchemaError
        The region is not made of whole shards; writing it would damage its neighbours.
    """
    axes: list[list[slice]] = []
    for dim, size, shard in zip(array.dims, array.shape, array.shard, strict=True):
        cut = region.get(dim, slice(0, size))
        start, stop = cut.start, min(cut.stop, size)
        if start % shard or (stop % shard and stop != size):
            raise SchemaError(
                f"{array.path}: region {dim}={start}:{stop} is not whole shards of {shard}; "
                "a write must own every shard that it touches"
            )
        axes.append([slice(i, min(i + shard, size)) for i in range(start, stop, shard)])
    grid = np.ndindex(*(len(axis) for axis in axes))
    return [tuple(axis[i] for axis, i in zip(axes, index, strict=True)) for index in grid]


def levels_of(
    arrays: Sequence[Array], region: Mapping[str, slice], block: np.ndarray
) -> Iterable[tuple[Array, tuple[slice, ...], np.ndarray]]:
    """Yield a block of level 0 and its halved copies, each with its array and region.

    Parameters
    ----------
    arrays : sequence of Array
        The levels of one variable, from 0 on.
    region : mapping of str to slice
        Where the block lies in level 0.
    block : numpy.ndarray
        Its values.

    Yields
    ------
    tuple of (Array, tuple of slice, numpy.ndarray)
        Array of the level, region in it, values.
    """
    for array in arrays:
        if array.level:
            block = halve(block, array.dims, labels=array.variable == "labels")
        factor = 2**array.level
        place = []
        for dim, size in zip(array.dims, array.shape, strict=True):
            cut = region.get(dim, slice(0, size * factor))
            scale = factor if dim in HALVED else 1
            place.append(slice(cut.start // scale, min(-(-cut.stop // scale), size)))
        yield array, tuple(place), block


def halve(block: np.ndarray, dims: tuple[str, ...], *, labels: bool = False) -> np.ndarray:
    """Halve y and x of a block.

    Parameters
    ----------
    block : numpy.ndarray
        Any shape; its last two dims must be y, x.
    dims : tuple of str
        Its dims.
    labels : bool
        Take the first pixel of four instead of their mean.

    Returns
    -------
    numpy.ndarray
        Same dtype; y and x are half as long, rounded up.

    Examples
    --------
    >>> halve(np.array([[1, 2, 9], [3, 5, 9]], dtype="u1"), ("y", "x"))
    array([[3, 9]], dtype=uint8)
    """
    if dims[-2:] != HALVED:
        raise ValueError(f"the last two dims must be y, x; found {dims}")
    if labels:
        return np.ascontiguousarray(block[..., ::2, ::2])
    planes = np.ascontiguousarray(block).reshape(-1, *block.shape[-2:])
    height, width = planes.shape[1:]
    result = np.empty((len(planes), -(-height // 2), -(-width // 2)), dtype=block.dtype)
    if block.dtype.kind in "ui" and block.dtype.itemsize <= 4:
        _mean_of_integers(planes, result)
    else:
        _mean_of_floats(planes, result)
    return result.reshape(*block.shape[:-2], *result.shape[1:])


@numba.njit(nogil=True, cache=True)
def _mean_of_integers(planes: Any, result: Any) -> None:  # pragma: no cover
    count, height, width = planes.shape
    pairs = width // 2
    for p in range(count):
        for i in range(result.shape[1]):
            upper = planes[p, 2 * i]
            lower = planes[p, min(2 * i + 1, height - 1)]
            row = result[p, i]
            for j in range(pairs):
                total = (
                    np.int64(upper[2 * j])
                    + np.int64(upper[2 * j + 1])
                    + np.int64(lower[2 * j])
                    + np.int64(lower[2 * j + 1])
                )
                row[j] = (total + 2) >> 2
            if width % 2:
                row[pairs] = (np.int64(upper[width - 1]) + np.int64(lower[width - 1]) + 1) >> 1


@numba.njit(nogil=True, cache=True)
def _mean_of_floats(planes: Any, result: Any) -> None:  # pragma: no cover
    count, height, width = planes.shape
    for p in range(count):
        for i in range(result.shape[1]):
            upper = planes[p, 2 * i]
            lower = planes[p, min(2 * i + 1, height - 1)]
            for j in range(result.shape[2]):
                right = min(2 * j + 1, width - 1)
                total = (
                    np.float64(upper[2 * j])
                    + np.float64(upper[right])
                    + np.float64(lower[2 * j])
                    + np.float64(lower[right])
                )
                result[p, i, j] = total / 4
