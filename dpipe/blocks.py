"""Kernels mapped over blocks, at the address that operators of your own import them from."""

from dpipe.compute import (
    Region,
    compute,
    compute_region,
    fold,
    largest_block,
    lazy,
    map_blocks,
    map_chunks,
    map_frames,
    map_records,
    map_rows,
    map_tiles,
    source_bytes,
    token,
)

__all__ = [
    "Region",
    "compute",
    "compute_region",
    "fold",
    "largest_block",
    "lazy",
    "map_blocks",
    "map_chunks",
    "map_frames",
    "map_records",
    "map_rows",
    "map_tiles",
    "source_bytes",
    "token",
]
