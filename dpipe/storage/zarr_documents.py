"""Documents ``zarr.json``: made by Zarr once for each kind of array, then filled in.

Zarr makes an array by way of an event loop, some milliseconds each, and a part has some ten; all
that differs between two arrays of one kind is shape, dims and attributes.
"""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec, ZstdCodec
from zarr.core.buffer import Buffer
from zarr.storage import MemoryStore

from dpipe.errors import SchemaError
from dpipe.storage.documents import Json

_BLOSC_BLOCK = 512 << 10
"""Bytes that Blosc compresses at once. Its own choice, 32 KiB, starts Zstandard anew 16 times as
often: pictures then take 1.1 to 2 times as long each way, and not fewer bytes."""

Document = Json
"""A ``zarr.json``, parsed."""


def group(attributes: Mapping[str, Any]) -> Document:
    """Return the document of a group."""
    return {"attributes": dict(attributes), "zarr_format": 3, "node_type": "group"}


def array(
    path: str,
    *,
    shape: Sequence[int],
    chunk: Sequence[int],
    shard: Sequence[int] | None,
    dtype: str,
    compressed: bool,
    dims: Sequence[str],
    attributes: Mapping[str, Any],
) -> Document:
    """Return the document of an array.

    Parameters
    ----------
    path : str
        What it is called in messages.
    shape, chunk, shard : sequence of int
        Its size, an inner chunk and one object; `shard` is None where they are the same.
    dtype : str
        NumPy's dtype string, ``"str"`` for text.
    compressed : bool
        Whether chunks are squeezed, and not only checked.
    dims : sequence of str
        Its dims.
    attributes : mapping
        Its attributes.

    Returns
    -------
    dict
        As JSON holds it.

    Raises
    ------
    SchemaError
        Zarr has no such dtype.
    """
    try:
        kind = _kind(dtype, tuple(chunk), None if shard is None else tuple(shard), compressed)
    except (TypeError, ValueError) as error:
        raise SchemaError(f"{path}: cannot be stored as Zarr: {error}") from error
    document: Document = json.loads(kind) | {"shape": [int(n) for n in shape]}
    document["attributes"] = dict(attributes)
    if dims:
        document["dimension_names"] = list(dims)
    return document


def stored(document: Mapping[str, Any]) -> bytes:
    """Return a ``zarr.json`` as it lies in the store."""
    return json.dumps(document, indent=1).encode()


@lru_cache(maxsize=1024)
def _kind(
    dtype: str, chunk: tuple[int, ...], shard: tuple[int, ...] | None, compressed: bool
) -> bytes:
    """Have Zarr make an array of one object."""
    memory: dict[str, Buffer] = {}
    text = dtype == "str"
    squeeze = ZstdCodec(level=1) if text else _blosc()
    zarr.create_group(MemoryStore(memory)).create_array(
        "a",
        shape=chunk if shard is None else shard,
        chunks=chunk,
        shards=shard,
        dtype=str if text else dtype,
        compressors=[squeeze, Crc32cCodec()] if compressed else [Crc32cCodec()],
        dimension_names=["d"] * len(chunk) or None,
        fill_value="" if text else np.zeros((), dtype).item(),
    )
    return bytes(memory["a/zarr.json"].to_bytes())


def _blosc() -> BloscCodec:
    return BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle", blocksize=_BLOSC_BLOCK)
