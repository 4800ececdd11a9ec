"""How large a part is that nobody made yet: memory of a task, objects, and how it will be cut.

A private neighbour of ``dpipe.plan``; it knows outlines and lazy Datasets and computes nothing.
"""

import math
from collections.abc import Iterable

import xarray as xr

from dpipe import blocks
from dpipe.outline import Outline

_COPIES = 4
"""Copies of one cell that a task holds at most: input, result, a contiguous copy, encoded bytes."""


def task_memory(ds: xr.Dataset, outline: Outline, inputs: Iterable[xr.Dataset]) -> int:
    """Return the bytes that one task needs: it makes one cell after the other."""
    heaviest = max([_cell_bytes(outline), blocks.largest_block(ds), *map(_frame_bytes, inputs)])
    return _COPIES * heaviest


def requests(outline: Outline) -> int:
    """Return how many requests a bucket gets: its objects, the marks, and what begins and ends."""
    shards = (
        math.prod(-(-n // s) for n, s in zip(array.shape, array.shard, strict=True))
        for array in outline.arrays
    )
    written = sum(shards) + len(outline.documents) + len(outline.coordinates)
    return written + 2 * outline.grid.partitions + 8


def as_sealed(ds: xr.Dataset, outline: Outline) -> xr.Dataset:
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


def _cell_bytes(outline: Outline) -> int:
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
    return max([blocks.largest_block(ds), *frames])
