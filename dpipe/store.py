"""Zarr: how a Dataset lies in objects, and the one way to write and read it.

A Dataset becomes *documents* (every ``zarr.json``) and objects. Regions of whole shards are
encoded in memory and put one object at a time; Zarr itself never writes to a store, so nothing
is read back and modified, and nothing is half written. Every array has a crc32c in its codec
chain and empty chunks are written too, so a missing or changed chunk is an error, never zeros.

The only file that names Zarr. It knows nothing of datasets, versions, parts or runs.
"""

import hashlib
import json
import re
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from typing import Any

import numpy as np
import xarray as xr
import zarr
from zarr.abc.store import (
    ByteRequest,
    OffsetByteRequest,
    RangeByteRequest,
    Store,
    SuffixByteRequest,
)
from zarr.codecs import BloscCodec, Crc32cCodec
from zarr.core.buffer import Buffer, BufferPrototype, default_buffer_prototype
from zarr.errors import ChunkNotFoundError
from zarr.storage import MemoryStore

from dpipe import _shard, blocks, pyramid
from dpipe.errors import DamageError, InputError, NotFoundError, SchemaError
from dpipe.objects import Objects, Put, open_objects

_PIPELINE = {
    "codec_pipeline.path": "zarr.core.codec_pipeline.FusedCodecPipeline",
    "threading.max_workers": 1,
}
_STRICT = _PIPELINE | {"array.read_missing_chunks": False}


@dataclass(frozen=True)
class Template:
    """Everything about a part but its values.

    Attributes
    ----------
    documents : dict of str to bytes
        Every ``zarr.json`` by its key below the part.
    arrays : tuple of pyramid.Array
        The data variables, level by level.
    coordinates : dict of str to bytes
        The coordinate objects by key, already encoded.
    """

    documents: dict[str, bytes] = field(repr=False)
    arrays: tuple[pyramid.Array, ...]
    coordinates: dict[str, bytes] = field(repr=False)


def describe(
    ds: xr.Dataset,
    *,
    levels: Mapping[str, int] | None = None,
    attributes: Mapping[str, Any] | None = None,
) -> Template:
    """Lay out a Dataset: metadata, chunks and shards, without computing anything.

    Parameters
    ----------
    ds : xarray.Dataset
        Lazy or not.
    levels : mapping of str to int, optional
        How many levels each image variable has. With it, level k lies in the group ``k``;
        without it, everything lies in the root group.
    attributes : mapping, optional
        Attributes of the root group, such as ``{"ome": ...}``.

    Returns
    -------
    Template
        Documents, arrays and coordinate objects.

    Raises
    ------
    SchemaError
        An attribute that JSON cannot hold, or a dtype that Zarr cannot.
    """
    memory: dict[str, Any] = {}
    arrays: list[pyramid.Array] = []
    with zarr.config.set(_PIPELINE):
        root = zarr.create_group(MemoryStore(memory), attributes=_json(attributes or {}, "group"))
        for level in range(max(levels.values(), default=1) if levels else 1):
            group = root.create_group(str(level)) if levels else root
            group.attrs.update(_json(ds.attrs, "dataset"))
            for name, coordinate in pyramid.level_coords(ds, level).items():
                _create_coordinate(group, name, coordinate)
            for key, variable in ds.data_vars.items():
                count = (levels or {}).get(str(key), 1)
                if level < count:
                    array = pyramid.layout(str(key), variable, level, count)
                    array = array if levels else replace(array, path=array.variable)
                    extra = sorted(str(n) for n in ds.coords if n not in ds.dims)
                    named = {"coordinates": " ".join(extra)} if extra else {}
                    _create_array(root, array, dict(variable.attrs) | named)
                    arrays.append(array)
    objects = {key: value.to_bytes() for key, value in memory.items()}
    documents = {k: v for k, v in objects.items() if k.endswith("zarr.json")}
    return Template(
        documents, tuple(arrays), {k: v for k, v in objects.items() if k not in documents}
    )


def encode(document: bytes, region: Sequence[slice], block: np.ndarray) -> dict[str, bytes]:
    """Encode one region of whole shards in memory.

    Parameters
    ----------
    document : bytes
        The array's ``zarr.json``.
    region : sequence of slice
        Where the block lies in the array.
    block : numpy.ndarray
        Its values.

    Returns
    -------
    dict of str to bytes
        The objects that appeared, by key below the array.
    """
    cut = _shard.layout(document)
    if cut is not None and cut.owns(region):
        return {cut.key(region): _shard.encode(cut, block)}
    buffer = default_buffer_prototype().buffer
    memory: dict[str, Any] = {"zarr.json": buffer.from_bytes(document)}
    with zarr.config.set(_PIPELINE):
        array = zarr.open_array(
            MemoryStore(memory), mode="r+", zarr_format=3, config={"write_empty_chunks": True}
        )
        array[tuple(region)] = block
    return {key: value.to_bytes() for key, value in memory.items() if key != "zarr.json"}


def write_region(
    objects: Objects,
    part: str,
    array: pyramid.Array,
    document: bytes,
    region: Sequence[slice],
    block: np.ndarray,
) -> list[Put]:
    """Write one shard: encode it, hash it, put it. The only way to write values.

    Parameters
    ----------
    objects : Objects
        The store.
    part : str
        Key prefix of the part.
    array : pyramid.Array
        How the array is cut.
    document : bytes
        The array's ``zarr.json``.
    region : sequence of slice
        One shard, as ``pyramid.shards`` lists them.
    block : numpy.ndarray
        Its values.

    Returns
    -------
    list of Put
        What lies in the store now. An object that was there already is left as it is, and its
        own digest is returned: nothing is ever overwritten.
    """
    pyramid.shards(array, dict(zip(array.dims, region, strict=True)))
    puts = []
    for name, data in encode(document, region, block).items():
        key = f"{part}/{array.path}/{name}"
        puts.append(objects.put_if_absent(key, data) or found(objects, key))
    return puts


def found(objects: Objects, key: str) -> Put:
    """Return size, sha256 and ETag of an object that is there."""
    data = objects.read(key)
    etag = next((entry.etag for entry in objects.list(key) if entry.key == key), "")
    return Put(key, len(data), hashlib.sha256(data).hexdigest(), etag)


def open_group(
    url: str,
    part: str,
    documents: Mapping[str, bytes],
    inline: Mapping[str, bytes],
    group: str = "",
) -> xr.Dataset:
    """Open one group of a sealed part, lazily, without a request.

    Parameters
    ----------
    url : str
        The store.
    part : str
        Key prefix of the part.
    documents, inline : mapping of str to bytes
        Its ``zarr.json`` documents and coordinate objects, as the seal holds them.
    group : str
        ``"0"`` for level 0 of an image, ``""`` for a plain part.

    Returns
    -------
    xarray.Dataset
        Dask chunks are shards; coordinates are loaded.
    """
    prefix = f"{group}/" if group else ""
    parsed = {
        key.removeprefix(prefix).removesuffix("/zarr.json"): json.loads(document)
        for key, document in documents.items()
        if key.startswith(prefix) and key.removeprefix(prefix).count("/") == 1
    }
    attrs = json.loads(documents[f"{prefix}zarr.json"]).get("attributes", {})
    variables: dict[str, xr.DataArray] = {}
    coords: set[str] = set()
    for name, metadata in parsed.items():
        if metadata["node_type"] != "array":
            continue
        document = documents[f"{prefix}{name}/zarr.json"]
        described = dict(metadata.get("attributes", {}))
        coords |= {name} & set(metadata.get("dimension_names") or ())
        coords |= set(str(described.pop("coordinates", "")).split())
        held = {k: inline[k] for k in inline if k.startswith(f"{prefix}{name}/")}
        source = Source(url, f"{part}/{prefix}{name}", document, tuple(held.items()), prefix + name)
        data = source.load() if held else source.lazy()
        variables[name] = xr.DataArray(data, dims=metadata["dimension_names"], attrs=described)
    ds = xr.Dataset({n: v for n, v in variables.items() if n not in coords}, attrs=attrs)
    ds = ds.assign_coords({n: v for n, v in variables.items() if n in coords})
    ds.attrs.pop("ome", None)
    return ds


def array_document(array: pyramid.Array, attrs: Mapping[str, Any]) -> bytes:
    """Return the ``zarr.json`` of an array.

    Parameters
    ----------
    array : pyramid.Array
        How it is cut.
    attrs : mapping
        Its attributes.

    Returns
    -------
    bytes
        JSON, always the same for the same array.
    """
    memory: dict[str, Any] = {}
    with zarr.config.set(_PIPELINE):
        _create_array(zarr.create_group(MemoryStore(memory)), replace(array, path="a"), attrs)
    return bytes(memory["a/zarr.json"].to_bytes())


def _create_array(root: Any, array: pyramid.Array, attrs: Mapping[str, Any]) -> None:
    text = array.dtype == "str"
    squeeze = [] if text else [BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle")]
    try:
        root.create_array(
            array.path,
            shape=array.shape,
            chunks=array.chunk,
            shards=None if array.chunk == array.shard else array.shard,
            dtype=str if text else array.dtype,
            compressors=[*squeeze, Crc32cCodec()],
            dimension_names=array.dims,
            attributes=_json(attrs, array.variable),
            fill_value="" if text else np.zeros((), array.dtype).item(),
        )
    except (TypeError, ValueError) as error:
        raise SchemaError(f"{array.path}: cannot be stored as Zarr: {error}") from error


def _create_coordinate(group: Any, name: str, coordinate: xr.DataArray) -> None:
    text = coordinate.dtype.kind in "UOT"
    array = group.create_array(
        name,
        shape=coordinate.shape,
        chunks=tuple(max(1, n) for n in coordinate.shape),
        dtype=str if text else coordinate.dtype,
        compressors=[Crc32cCodec()],
        dimension_names=coordinate.dims,
        attributes=_json(coordinate.attrs, name),
        fill_value="" if text else 0,
        config={"write_empty_chunks": True},
    )
    if coordinate.size:
        array[...] = coordinate.values.astype(object) if text else coordinate.values


def _json(given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return attributes as JSON holds them, or say which cannot be kept."""

    def plain(value: Any) -> Any:
        if isinstance(value, np.generic | np.ndarray):
            return value.tolist()
        raise TypeError(f"{type(value).__name__} {value!r}")

    try:
        return dict(json.loads(json.dumps(dict(given), default=plain, allow_nan=False)))
    except (TypeError, ValueError) as error:
        raise SchemaError(f"attributes of {where}: JSON cannot hold {error}") from error


@dataclass(frozen=True)
class Source:
    """One stored array; it travels in tasks as text and is opened inside them."""

    url: str
    prefix: str
    document: bytes
    inline: tuple[tuple[str, bytes], ...]
    path: str
    foreign: bool = False

    def lazy(self) -> Any:
        """Return a Dask array whose blocks are shards."""
        array = _open(self)
        cut = array.shards or array.chunks
        return blocks.lazy(partial(_read, self), array.shape, array.dtype, cut)

    def load(self) -> np.ndarray:
        """Return all values."""
        return _text(_open(self)[...])


@lru_cache(maxsize=256)
def _open(source: Source) -> Any:
    v2 = json.loads(source.document).get("zarr_format") == 2
    held = {".zarray" if v2 else "zarr.json": source.document}
    held |= {key.removeprefix(f"{source.path}/"): data for key, data in source.inline}
    store = _Sealed(source.url, source.prefix, held)
    with zarr.config.set(_PIPELINE if source.foreign else _STRICT):
        return zarr.open_array(store, mode="r", zarr_format=2 if v2 else 3)


def _read(source: Source, region: blocks.Region) -> np.ndarray:
    place = ", ".join(f"{cut.start}:{cut.stop}" for cut in region)
    where = f"{source.url}/{source.prefix}[{place}]"
    hint = "" if source.foreign else "; run dpipe verify"
    try:
        with zarr.config.set(_PIPELINE if source.foreign else _STRICT):
            values = np.asarray(_open(source)[region])
    except ChunkNotFoundError as error:
        missing = ", ".join(re.findall(r"chunk '([^']+)'", str(error)))
        raise DamageError(f"{where}: the object {missing} is missing{hint}") from error
    except (ValueError, RuntimeError) as error:
        kind = InputError if source.foreign else DamageError
        reason = " ".join(str(error).split())
        raise kind(f"{where}: an object cannot be decoded ({reason}){hint}") from error
    return _text(values)


def _text(values: Any) -> np.ndarray:
    """Bring variable-length text to NumPy's fixed width, which pickles and compares."""
    array = np.asarray(values)
    return np.asarray(array.tolist(), dtype=str) if array.dtype.kind in "OT" else array


class _Sealed(Store):
    """Read-only Zarr store over objects; what it holds in memory costs no request."""

    def __init__(self, url: str, prefix: str, held: Mapping[str, bytes]) -> None:
        super().__init__(read_only=True)
        self._objects, self._prefix, self._held = open_objects(url), prefix, dict(held)

    supports_writes = supports_deletes = False
    supports_listing = False

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Sealed) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]

    def get_sync(
        self,
        key: str,
        *,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        buffer = (prototype or default_buffer_prototype()).buffer
        try:
            if key in self._held:
                start, stop = _bounds(byte_range, len(self._held[key]))
                return buffer.from_bytes(self._held[key][start:stop])
            if key.rpartition("/")[2] in ("zarr.json", ".zarray", ".zattrs", ".zgroup"):
                return None
            full = f"{self._prefix}/{key}" if self._prefix else key
            if byte_range is None:
                data = self._objects.read(full)
            else:
                known = isinstance(byte_range, RangeByteRequest)
                size = 0 if known else self._objects.size(full)
                data = self._objects.read_range(full, *_bounds(byte_range, size))
        except NotFoundError:
            return None
        return buffer.from_bytes(data)

    def set_sync(self, key: str, value: Buffer) -> None:
        raise NotFoundError(f"{key}: a sealed part is not written to")

    def delete_sync(self, key: str) -> None:
        raise NotFoundError(f"{key}: a sealed part is not deleted from")

    async def get(
        self,
        key: str,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        return self.get_sync(key, prototype=prototype, byte_range=byte_range)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        return [self.get_sync(k, prototype=prototype, byte_range=r) for k, r in key_ranges]

    async def exists(self, key: str) -> bool:
        return self.get_sync(key) is not None

    async def set(self, key: str, value: Buffer) -> None:
        self.set_sync(key, value)

    async def delete(self, key: str) -> None:
        self.delete_sync(key)

    async def list(self) -> AsyncIterator[str]:
        for key in self._held:
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        for key in self._held:
            if key.startswith(prefix):
                yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        for key in self._held:
            if key.startswith(prefix):
                yield key.removeprefix(prefix).lstrip("/").partition("/")[0]


def _bounds(request: ByteRequest | None, size: int) -> tuple[int, int]:
    """Start and stop of a range of an object of `size` bytes."""
    if isinstance(request, RangeByteRequest):
        return request.start, request.end
    if isinstance(request, SuffixByteRequest):
        return max(0, size - request.suffix), size
    return (request.offset if isinstance(request, OffsetByteRequest) else 0), size
