"""How arrays are cut: the levels of an image, their pixels, chunks and shards.

Level k is level 0 with y and x halved k times; t, c and z stay, since the z step of most
microscopes is several times their pixel. A pixel of level k is the mean of the up to four
pixels of level k - 1 that it covers (for labels and truth values: the first of them), rounded
half up for integers.

An inner chunk is the unit of decoding, a shard is one object and the unit of writing. A shard of
level k covers what one of level 0 covers, so one write of level 0 owns its part of every level.

This module knows arrays and arithmetic; it knows nothing of files or metadata.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from dpipe.errors import SchemaError
from dpipe.plugins import Later
from dpipe.schema import spacing
from dpipe.storage.documents import Json

_mean_of_integers = Later("dpipe.storage.downsample:mean_of_integers")
_mean_of_large = Later("dpipe.storage.downsample:mean_of_large")
_mean_of_floats = Later("dpipe.storage.downsample:mean_of_floats")
"""Numba, which compiles them, is not imported before one is called."""

HALVED = ("y", "x")
SMALLEST = 256
"""The lowest level is at most this many pixels along its longer side."""
INNER_BYTES = 256 << 10
PLANE_BYTES = 2 << 20
SHARD_BYTES = 64 << 20
SMALL_SHARD_BYTES = 4 << 20
ROW_CHUNK = 1 << 20
TILE = 512
_TEXT_BYTES = 16
_GROUPED = ("t", "record", "event")
"""An inner chunk holds at least INNER_BYTES; a plane above PLANE_BYTES is cut into tiles; a shard
holds at most SHARD_BYTES, and several time points, records or events where they are small. A row
of packed pictures is one shard, cut into chunks of ROW_CHUNK."""


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
    def from_dict(cls, fields: Mapping[str, Any]) -> "Array":
        """Return an array from its fields, as JSON holds them."""
        values: Json = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
        return cls(**values)


def level_count(sizes: Mapping[Any, int], levels: int | None = None) -> int:
    """Return how many levels an image of these sizes gets.

    Parameters
    ----------
    sizes : mapping of str to int
        Sizes of its dims.
    levels : int, optional
        Their number as a person set it; by default so many that the lowest has at most SMALLEST
        pixels along its longer side.

    Returns
    -------
    int
        1 if it has no y and x; never more than it takes to come down to one pixel.

    Raises
    ------
    SchemaError
        `levels` is below one.

    Examples
    --------
    >>> level_count({"z": 12, "y": 512, "x": 700})
    3
    """
    if levels is not None and levels < 1:
        raise SchemaError(f"levels: found {levels}; expected at least 1")
    if not all(dim in sizes for dim in HALVED):
        return 1
    longest = max(1, *(sizes[dim] for dim in HALVED))
    halvings = (longest - 1).bit_length()  # down to one pixel
    if levels is None:
        return 1 + max(0, halvings - (SMALLEST - 1).bit_length())
    return min(levels, 1 + halvings)


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
        All coordinates of `ds`; y and x thinned and moved by half a pixel of difference, others
        along them only thinned.
    """
    coords = {str(name): coord for name, coord in ds.coords.items()}
    factor = 2**level
    for name, coord in coords.items() if level else ():
        coords[name] = coord.isel({d: slice(None, None, factor) for d in HALVED if d in coord.dims})
        if name in HALVED and coord.size:
            step = spacing(ds, name)
            first = float(coord.values[0]) + (factor - 1) / 2 * step
            values = first + np.arange(coords[name].size) * step * factor
            attrs = coord.attrs | {"spacing": step * factor}
            coords[name] = xr.DataArray(values, dims=name, name=name, attrs=attrs)
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
    dtype = "str" if text else variable.dtype.newbyteorder("=").str
    return Array(f"{level}/{name}", name, level, dims, shape, chunk, shard, dtype)


def _grid(
    dims: tuple[str, ...], shape: tuple[int, ...], itemsize: int, level: int, levels: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Chunk and shard of a level, such that shards of all levels cover the same pieces.

    A dim that is cut into shards has shards of a power of two, so each level halves exactly; a
    dim that is not cut has one shard on every level, whatever its size.
    """
    sizes = {dim: max(1, n) for dim, n in zip(dims, shape, strict=True)}
    if dims[:1] == ("block",) and len(dims) == 2:  # packed: a row is a shard, whatever its size
        length = min(sizes[dims[1]], ROW_CHUNK // itemsize)
        return (1, length), (1, -(-sizes[dims[1]] // length) * length)
    if not all(dim in dims for dim in HALVED):
        cut = _rows(tuple(sizes.values()), itemsize)
        return cut, cut
    top = _shard(sizes, itemsize, levels)
    now = dict(zip(dims, level_shape(dims, tuple(sizes.values()), level), strict=True))
    whole = {dim: top[dim] >= sizes[dim] for dim in dims}
    shard = {dim: now[dim] if whole[dim] else top[dim] >> level * (dim in HALVED) for dim in dims}
    chunk = dict.fromkeys(dims, 1) | {dim: shard[dim] for dim in HALVED}
    if sizes["y"] * sizes["x"] * itemsize > PLANE_BYTES:
        for dim, other in (HALVED, HALVED[::-1]):
            chunk[dim] = _piece(shard[dim], TILE * TILE // min(TILE, shard[other]), whole[dim])
    for dim in ("z", *_GROUPED):  # an inner chunk grows until it is large enough
        if dim in dims:
            count = -(-INNER_BYTES // (math.prod(chunk.values()) * itemsize))
            chunk[dim] = _piece(shard[dim], count, whole[dim])
    for dim in dims:
        shard[dim] = -(-shard[dim] // chunk[dim]) * chunk[dim]
    return tuple(chunk.values()), tuple(shard.values())


def _shard(sizes: Mapping[str, int], itemsize: int, levels: int) -> dict[str, int]:
    """Sizes of a shard of level 0: at most SHARD_BYTES, and not much less than it may be."""
    shard = {dim: n if dim in ("z", *HALVED) else 1 for dim, n in sizes.items()}
    least = {"y": max(TILE, 1 << (levels - 1)), "x": max(TILE, 1 << (levels - 1)), "z": 1}
    while math.prod(shard.values()) * itemsize > SHARD_BYTES:
        longest = "y" if shard["y"] >= shard["x"] else "x"
        other = "x" if longest == "y" else "y"
        free = [d for d in ("z", longest, other) if d in shard and shard[d] > least[d]]
        if not free:
            break
        shard[free[0]] = max(least[free[0]], _power(shard[free[0]] - 1))
    room = SMALL_SHARD_BYTES // (math.prod(shard.values()) * itemsize)
    for dim in _GROUPED:
        if dim in sizes and room > 1:
            shard[dim] = sizes[dim] if sizes[dim] <= room else _power(room)
            room //= shard[dim]
            if shard[dim] < sizes[dim]:
                break
    return shard


def _rows(sizes: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Cut the first dims until a piece is at most SHARD_BYTES."""
    cut = list(sizes)
    for axis, n in enumerate(sizes):
        row = math.prod(cut[axis + 1 :]) * itemsize
        cut[axis] = min(n, max(1, SHARD_BYTES // row))
        if cut[axis] > 1 or row <= SHARD_BYTES:
            break
    return tuple(cut)


def _piece(n: int, least: int, whole: bool) -> int:
    """Length of equal pieces of at least `least`; they cover `n`, or divide it if not `whole`."""
    pieces = max(1, n // least)
    return -(-n // (pieces if whole else _power(pieces)))


def _power(n: int) -> int:
    """Return the largest power of two that is not above `n`."""
    return 1 << n.bit_length() - 1


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
        Take the first pixel of four instead of their mean, as is always done for truth values.

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
    if labels or block.dtype.kind == "b":
        return np.ascontiguousarray(block[..., ::2, ::2])
    native = block.dtype.newbyteorder("=")
    height, width = block.shape[-2:]
    planes = np.ascontiguousarray(block, dtype=native)
    planes = planes.reshape(math.prod(block.shape[:-2]), height, width)
    result = np.empty((len(planes), -(-height // 2), -(-width // 2)), dtype=native)
    if native.kind in "ui":
        small = native.itemsize <= 4
        (_mean_of_integers if small else _mean_of_large)(planes, result)
    elif native.itemsize >= 4:
        _mean_of_floats(planes, result)
    else:  # Numba knows no half precision
        single = np.empty(result.shape, np.float32)
        _mean_of_floats(planes.astype(np.float32), single)
        result[...] = single
    return result.reshape(*block.shape[:-2], *result.shape[1:])
