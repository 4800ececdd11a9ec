"""How large a part is that nobody made yet: memory of a task, objects, and how it will be cut.

It knows outlines and lazy Datasets and computes nothing.
"""

import math
from collections.abc import Iterable

import xarray as xr

from dpipe import compute
from dpipe.build.part_layout import PartLayout

_COPIES = 4
"""Copies of one cell that a task holds at most: input, result, a contiguous copy, encoded bytes."""


def task_memory(ds: xr.Dataset, outline: PartLayout, inputs: Iterable[xr.Dataset]) -> int:
    """Return the bytes that one task needs: it makes one cell after the other."""
    heaviest = max([_cell_bytes(outline), compute.largest_block(ds), *map(_frame_bytes, inputs)])
    return _COPIES * heaviest


def requests(outline: PartLayout) -> int:
    """Return how many requests a bucket gets while a part is made.

    A part of one partition costs its objects and 5 more: its lists of sources and of objects, its
    seal, the seal's copy, and the look at the seal when a version names it. Partitions cost 4 each
    beside what they write, for their marks; then the marks are counted and the coordinates read.
    """
    shards = (
        math.prod(-(-n // s) for n, s in zip(array.shape, array.shard, strict=True))
        for array in outline.arrays
    )
    written = sum(shards) + len(outline.documents) + len(outline.coordinates)
    if outline.grid.partitions == 1:
        return written + 5
    return written + 4 * outline.grid.partitions + len(outline.coordinates) + 18


def as_sealed(ds: xr.Dataset, outline: PartLayout) -> xr.Dataset:
    """Cut a Dataset as it will be when it is opened from the store: by shards."""
    top = [array for array in outline.arrays if not array.level]
    return ds.assign(
        {
            array.variable: ds[array.variable].chunk(
                dict(zip(array.dims, array.shard, strict=True))
            )
            for array in top
        }
    )


def _cell_bytes(outline: PartLayout) -> int:
    """Bytes of the largest cell: one variable lacks a dim that cuts another."""
    grid = outline.grid
    share = {
        dim: min(step, size) / max(1, size)
        for dim, step, size in zip(grid.dims, grid.steps, grid.sizes, strict=True)
    }
    sizes = (
        array.nbytes * math.prod(share.get(d, 1) for d in array.dims) for array in outline.arrays
    )
    return int(sum(sizes))


def _frame_bytes(ds: xr.Dataset) -> int:
    """Bytes of the largest block of an input, at least one whole frame."""
    frames = [
        math.prod(v.sizes[d] for d in ("z", "y", "x") if d in v.dims) * v.dtype.itemsize
        for v in ds.data_vars.values()
    ]
    return max([compute.largest_block(ds), *frames])
