"""Bytes at keys, and arrays in them: a folder, memory or S3; chunks, shards and Zarr."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
