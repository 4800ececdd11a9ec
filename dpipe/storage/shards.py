"""The bytes of one shard: inner chunks one after the other, then an index of where each lies.

Zarr makes the same bytes by way of an event loop and several copies of every chunk; here a shard
costs its compression and one copy. That holds for arrays whose codecs are those that dpipe gives
them; ``layout`` says which. All others are left to Zarr.

Knows Zarr's specification of ``sharding_indexed``; knows no store and no metadata but one array's.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import google_crc32c
import numcodecs
import numpy as np

_ABSENT = 2**64 - 1
_CHECKSUM = {"name": "crc32c"}
_LITTLE = {"name": "bytes", "configuration": {"endian": "little"}}
_SINGLE = {"name": "bytes"}
_KEYS = {"name": "default", "configuration": {"separator": "/"}}
_SHUFFLES = {"noshuffle": 0, "shuffle": 1, "bitshuffle": 2}


@dataclass(frozen=True)
class Layout:
    """How an array is cut into inner chunks and shards, and how a chunk is compressed."""

    chunk: tuple[int, ...]
    shard: tuple[int, ...]
    dtype: np.dtype
    codec: Any

    @cached_property
    def nothing(self) -> bytes:
        """A chunk of zeros, compressed."""
        return bytes(self.codec.encode(np.zeros(self.chunk, self.dtype)))

    def owns(self, region: Sequence[slice]) -> bool:
        """Tell whether a region begins a shard and does not reach beyond it."""
        cuts = zip(region, self.shard, strict=True)
        return all(r.start % n == 0 and r.stop - r.start <= n for r, n in cuts)

    def key(self, region: Sequence[slice]) -> str:
        """Return the key of the shard that a region begins, below the array."""
        return "/".join(
            ["c", *(str(r.start // n) for r, n in zip(region, self.shard, strict=True))]
        )


@lru_cache(maxsize=256)
def layout(document: bytes) -> Layout | None:
    """Read an array's ``zarr.json``; None where its codecs are not those that dpipe writes."""
    try:
        metadata = json.loads(document)
        (sharding,) = metadata["codecs"]
        inside = sharding["configuration"]
        first, squeeze, last = inside["codecs"]
        as_written = (
            sharding["name"] == "sharding_indexed",
            inside["index_location"] == "end",
            inside["index_codecs"] == [_LITTLE, _CHECKSUM],
            first in (_LITTLE, _SINGLE),
            squeeze["name"] == "blosc",
            last == _CHECKSUM,
            metadata["chunk_key_encoding"] == _KEYS,
            metadata["fill_value"] in (0, False),
        )
        if not all(as_written):
            return None
        blosc = squeeze["configuration"] | {
            "shuffle": _SHUFFLES[squeeze["configuration"]["shuffle"]]
        }
        return Layout(
            tuple(inside["chunk_shape"]),
            tuple(metadata["chunk_grid"]["configuration"]["chunk_shape"]),
            np.dtype(metadata["data_type"]).newbyteorder("<"),
            numcodecs.Blosc(**blosc),
        )
    except (KeyError, TypeError, ValueError):
        return None


def encode(cut: Layout, block: np.ndarray) -> bytes:
    """Encode one shard; at the end of the array `block` may be smaller than it.

    Chunks beyond the block are left out; one that reaches beyond it is filled up with zeros.
    """
    grid = [n // step for n, step in zip(cut.shard, cut.chunk, strict=True)]
    index = np.full((*grid, 2), _ABSENT, "<u8")
    pieces: list[bytes] = []
    end = 0
    for place in np.ndindex(*grid):
        corner = [i * step for i, step in zip(place, cut.chunk, strict=True)]
        if any(i >= n for i, n in zip(corner, block.shape, strict=True)):
            continue
        box = tuple(slice(i, i + step) for i, step in zip(corner, cut.chunk, strict=True))
        data = _squeezed(cut, _whole(block[box], cut))
        pieces += (data, _checksum(data))
        index[place] = end, len(data) + 4
        end += len(data) + 4
    tail = index.tobytes()
    return b"".join((*pieces, tail, _checksum(tail)))


def _squeezed(cut: Layout, whole: np.ndarray) -> bytes:
    """Compress a chunk; that of zeros, of which rows of unlike length have many, is known."""
    raw = whole.reshape(-1).view("u1")
    return cut.codec.encode(whole) if raw[:64].any() or raw.any() else cut.nothing


def _whole(part: np.ndarray, cut: Layout) -> np.ndarray:
    if part.shape == cut.chunk:
        return np.ascontiguousarray(part, cut.dtype)
    whole = np.zeros(cut.chunk, cut.dtype)
    whole[tuple(map(slice, part.shape))] = part
    return whole


def _checksum(data: bytes) -> bytes:
    return int(google_crc32c.value(data)).to_bytes(4, "little")
