"""Stored arrays as tasks read them: text that travels, opened where it is needed.

A missing object or one that cannot be decoded is an error, never zeros; only where a person says so
is it the fill value.
"""

import json
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Protocol, override

import numpy as np
import zarr
from zarr.abc.store import ByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer import Buffer, BufferPrototype, default_buffer_prototype
from zarr.errors import ChunkNotFoundError
from zarr.storage import MemoryStore

from dpipe import compute, ledger
from dpipe.errors import DamageError, DpipeError, InputError, NotFoundError
from dpipe.storage.objects import open_objects

_FUSED = {"codec_pipeline.path": "zarr.core.codec_pipeline.FusedCodecPipeline"}
_opening = threading.Lock()
_METADATA = ("zarr.json", ".zarray", ".zattrs", ".zgroup")


def open_array(place: Store, mode: str, zarr_format: int = 3, **config: bool) -> Any:
    """Open an array with the fused codec pipeline and a configuration of its own.

    Zarr's configuration is one for all threads: the lock keeps two of them from putting back
    each other's, and what must hold goes into the array itself.
    """
    with _opening, zarr.config.set(_FUSED):
        return zarr.open_array(place, mode=mode, zarr_format=zarr_format, config=config)


class Readable(Protocol):
    """A place whose bytes are read; `Objects` is one."""

    def read(self, key: str) -> bytes:
        """Return the bytes at a key."""

    def read_range(self, key: str, start: int, stop: int) -> bytes:
        """Return some of the bytes at a key."""

    def size(self, key: str) -> int:
        """Return how many bytes are at a key."""


@dataclass(frozen=True)
class StoredArray:
    """One stored array; it travels in tasks as text and is opened inside them.

    Attributes
    ----------
    url, prefix : str
        The store, and the array's key in it.
    document : bytes
        Its ``zarr.json``, or ``.zarray`` of a foreign one.
    inline : tuple of (str, bytes)
        Objects that are known already, by key below `path`.
    path : str
        The array's key below its part.
    foreign : bool
        Others wrote it: damage is an InputError.
    fill : bool
        Missing chunks hold the fill value.
    """

    url: str
    prefix: str
    document: bytes
    inline: tuple[tuple[str, bytes], ...]
    path: str
    foreign: bool = False
    fill: bool = False

    def place(self) -> Readable:
        """Return where its objects are read."""
        return open_objects(self.url)

    def check(self, region: compute.Region) -> None:
        """Refuse a region before it is read; nothing is refused here."""

    def lazy(self) -> Any:
        """Return a Dask array whose blocks are shards, or chunks where there are none."""
        metadata = json.loads(self.document)
        kind = metadata.get("data_type")
        if self.foreign or not isinstance(kind, str):
            array, shape = _open(self)
            dtype, cut = array.dtype, array.shards or array.chunks
        else:  # ours: Zarr need not open it before a block is read
            shape, cut = metadata["shape"], metadata["chunk_grid"]["configuration"]["chunk_shape"]
            dtype = np.dtypes.StringDType() if kind == "string" else np.dtype(kind)
        return compute.lazy(partial(_read, self), shape, dtype, cut)

    def load(self) -> np.ndarray:
        """Return all values; text in NumPy's fixed width."""
        _, shape = _open(self)
        values = _read(self, tuple(slice(0, n) for n in shape))
        return np.asarray(values.tolist(), dtype=str) if values.dtype.kind in "OT" else values


@lru_cache(maxsize=256)
def _open(source: StoredArray) -> tuple[Any, tuple[int, ...]]:
    """Open an array; return it and its shape.

    A sharded array of ours is opened as if it filled its last shards: to Zarr they are whole
    then, and it reads a whole shard in one request.
    """
    metadata = json.loads(source.document)
    shape = tuple(metadata["shape"])
    document, zarr_format = source.document, 2 if metadata.get("zarr_format") == 2 else 3
    if not source.foreign and metadata["codecs"][0]["name"] == "sharding_indexed":
        shards = metadata["chunk_grid"]["configuration"]["chunk_shape"]
        metadata["shape"] = [-(-n // s) * s for n, s in zip(shape, shards, strict=True)]
        document = json.dumps(metadata).encode()
    objects = {".zarray" if zarr_format == 2 else "zarr.json": document}
    objects |= {key.removeprefix(f"{source.path}/"): data for key, data in source.inline}
    place = Sealed(source.place(), source.prefix, objects, source.url if source.foreign else "")
    return open_array(place, "r", zarr_format, read_missing_chunks=source.fill), shape


def _read(source: StoredArray, region: compute.Region) -> np.ndarray:
    where = f"{source.url}/{source.prefix}"
    array, shape = _open(source)
    wider = tuple(
        slice(r.start, n if r.stop == end and not r.start % s else r.stop)
        for r, end, n, s in zip(
            region, shape, array.shape, array.shards or array.chunks, strict=True
        )
    )
    try:
        source.check(wider)
        values = np.asarray(array[wider])
    except ChunkNotFoundError as error:
        if source.foreign:
            gone = re.findall("chunk '(.*?)'", str(error))
            raise InputError(f"{where}: {not_there(len(gone), gone)}") from error
        raise DamageError(f"{where}: an object is missing; run dpipe verify") from error
    except (DpipeError, MemoryError) as error:
        if source.foreign and type(error) is InputError and source.url not in str(error):
            raise InputError(f"{source.url}: {error}") from error
        raise
    except Exception as error:  # codecs raise anything on damaged bytes
        text = f"{where}: an object cannot be decoded ({' '.join(str(error).split())[:200]})"
        if source.foreign:
            raise InputError(f"{text}; it is damaged or not what its metadata say") from error
        raise DamageError(f"{text}; run dpipe verify") from error
    if wider == region:
        return values
    return values[tuple(slice(0, r.stop - r.start) for r in region)].copy()


def not_there(count: int, names: Sequence[str], total: int | None = None) -> str:
    """Return the message for missing chunks: how many, which, and a remedy."""
    listed = ", ".join(names[:5]) + (", ..." if count > 5 else "")
    number = str(count) if total is None else f"{count} of {total}"
    noun = "chunk" if max(count, total or 0) == 1 else "chunks"
    way = "fetch it again, or, if nothing was ever written there, give option fill_missing=true"
    return f"{number} {noun} not there: {listed}; {way}"


class Sealed(MemoryStore):
    """Read-only Zarr store over objects; those in memory cost no request.

    Zarr's pipeline asks ``get_sync`` where a store has one; the asynchronous methods that are not
    here are those of the memory. What is read of a `source`, which others wrote, is noted.
    """

    def __init__(
        self, place: Readable, prefix: str, objects: Mapping[str, bytes], source: str = ""
    ) -> None:
        make = default_buffer_prototype().buffer.from_bytes
        super().__init__({key: make(data) for key, data in objects.items()}, read_only=True)
        self._objects, self._prefix, self._source = place, prefix, source

    @override
    def get_sync(
        self,
        key: str,
        *,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        if key in self._store_dict or key.rpartition("/")[2] in _METADATA:
            return super().get_sync(key, prototype=prototype, byte_range=byte_range)
        full = f"{self._prefix}/{key}" if self._prefix else key
        try:
            start, data = self._bytes(full, byte_range)
        except NotFoundError:
            return None
        if self._source and (notes := ledger.current()) is not None:
            uri = f"{self._source}/{full}"
            notes.whole(uri, data) if byte_range is None else notes.region(uri, start, data)
        return (prototype or default_buffer_prototype()).buffer.from_bytes(data)

    def _bytes(self, key: str, byte_range: ByteRequest | None) -> tuple[int, bytes]:
        """Read an object or some of its bytes; return also where they start."""
        if byte_range is None:
            return 0, self._objects.read(key)
        if isinstance(byte_range, RangeByteRequest):
            start, stop = byte_range.start, byte_range.end
        else:
            stop = self._objects.size(key)
            suffix = isinstance(byte_range, SuffixByteRequest)
            start = max(0, stop - byte_range.suffix) if suffix else byte_range.offset
        return start, self._objects.read_range(key, start, stop)

    @override
    async def get(
        self,
        key: str,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        return self.get_sync(key, prototype=prototype, byte_range=byte_range)
