"""Kernels mapped over blocks, at the address that operators of your own import them from."""

from dpipe.compute import map_chunks, map_frames, map_records, map_rows, map_tiles

__all__ = ["map_chunks", "map_frames", "map_records", "map_rows", "map_tiles"]
