"""Zarr: how a Dataset lies in objects, and the one way to write and read it.

A Dataset becomes *documents* (every ``zarr.json``) and objects. Regions of whole shards are
encoded in memory and put one object at a time; Zarr itself never writes to a store, so nothing
is read back and modified, and nothing is half written. Every array has a crc32c in its codec
chain and empty chunks are written too, so a missing or changed chunk is an error, never zeros.

The only file that names Zarr. It knows nothing of datasets, versions, parts or runs.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import xarray as xr
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec, ZstdCodec
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import MemoryStore

from dpipe import _shard, pyramid
from dpipe._source import Source, not_there, open_array
from dpipe.errors import SchemaError
from dpipe.objects import Objects, Put

__all__ = [
    "Source",
    "Template",
    "array_document",
    "describe",
    "encode",
    "fitted",
    "found",
    "not_there",
    "open_group",
    "write_region",
]

_PLAIN = 64 << 10
"""Coordinates up to this many bytes are not compressed: the seal holds them."""

_BLOSC_BLOCK = 512 << 10
"""Bytes that Blosc compresses at once. Its own choice, 32 KiB, starts Zstandard anew 16 times as
often: pictures then take 1.1 to 2 times as long each way, and not fewer bytes."""


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
    """Lay out a Dataset: metadata, chunks and shards; of its values only coordinates are needed.

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
        A name, an attribute or a kind of value that cannot be kept exactly.
    """
    _check_names(ds)
    memory: dict[str, Any] = {}
    arrays: list[pyramid.Array] = []
    root = zarr.create_group(MemoryStore(memory), attributes=_json(attributes or {}, "group"))
    extra = sorted(str(name) for name in ds.coords if name not in ds.dims)
    named = {"coordinates": " ".join(extra)} if extra else {}
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
        Its values: of the region's shape, and of the array's dtype or one that fits into it.

    Returns
    -------
    dict of str to bytes
        The objects that appeared, by key below the array.

    Raises
    ------
    SchemaError
        A block of another shape or dtype.
    """
    size = tuple(cut.stop - cut.start for cut in region)
    cut = _shard.layout(document)
    if cut is not None and cut.owns(region):
        return {cut.key(region): _shard.encode(cut, fitted(block, cut.dtype, size))}
    buffer = default_buffer_prototype().buffer
    memory: dict[str, Any] = {"zarr.json": buffer.from_bytes(document)}
    array = open_array(MemoryStore(memory), "r+", write_empty_chunks=True)
    array[tuple(region)] = fitted(block, array.dtype, size)
    return {key: value.to_bytes() for key, value in memory.items() if key != "zarr.json"}


def fitted(block: np.ndarray, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    """Return a block in the dtype of an array, or say that its values would change.

    Parameters
    ----------
    block : numpy.ndarray
        Values as they were computed.
    dtype : numpy.dtype
        What was promised for them; of kind T or O for text.
    shape : tuple of int
        What was promised for their shape.

    Returns
    -------
    numpy.ndarray
        The same values.

    Raises
    ------
    SchemaError
        Another shape, or a dtype that `dtype` cannot hold exactly.
    """
    text = dtype.kind in "OT"
    right = _is_text(block) if text else np.can_cast(block.dtype, dtype, "safe")
    if block.shape != shape or not right:
        expected = "text" if text else str(dtype)
        raise SchemaError(
            f"a block is {block.dtype} {block.shape}; expected {expected} {shape}: the lazy array "
            "promised another dtype or shape than its kernel gives"
        )
    return block if block.dtype == dtype else block.astype(object if text else dtype)


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
        Dask chunks are shards, ``encoding["chunks"]`` what is decoded at once; coordinates are
        loaded.
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
        data = source.load() if held or 0 in metadata["shape"] else source.lazy()
        dims = metadata.get("dimension_names") or ()
        variables[name] = xr.DataArray(data, dims=dims, attrs=described)
        variables[name].encoding = _cuts(metadata)
    ds = xr.Dataset({n: v for n, v in variables.items() if n not in coords}, attrs=attrs)
    ds = ds.assign_coords({n: v for n, v in variables.items() if n in coords})
    ds.attrs.pop("ome", None)
    return ds


def _cuts(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return how an array is cut, by the names that xarray has for it."""
    outer = tuple(metadata["chunk_grid"]["configuration"]["chunk_shape"])
    first = metadata["codecs"][0]
    if first["name"] != "sharding_indexed":
        return {"chunks": outer}
    return {"chunks": tuple(first["configuration"]["chunk_shape"]), "shards": outer}


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
    _create_array(zarr.create_group(MemoryStore(memory)), replace(array, path="a"), attrs)
    return bytes(memory["a/zarr.json"].to_bytes())


def _create_array(root: Any, array: pyramid.Array, attrs: Mapping[str, Any]) -> None:
    text = array.dtype == "str"
    _create(
        root,
        array.path,
        shape=array.shape,
        chunks=array.chunk,
        shards=None if array.chunk == array.shard else array.shard,
        dtype=str if text else array.dtype,
        compressors=[_squeeze(text=text), Crc32cCodec()],
        dimension_names=array.dims,
        attributes=_json(attrs, array.variable),
        fill_value="" if text else np.zeros((), array.dtype).item(),
    )


def _create_coordinate(group: Any, name: str, coordinate: xr.DataArray) -> None:
    values = np.asarray(coordinate.values)
    if values.dtype.kind == "O" and not _is_text(values):
        raise SchemaError(f"coordinate {name!r}: found {values.dtype}; expected numbers or text")
    text = values.dtype.kind in "UOT"
    large = values.nbytes > _PLAIN
    array = _create(
        group,
        name,
        shape=values.shape,
        chunks=tuple(max(1, n) for n in values.shape),
        dtype=str if text else values.dtype,
        compressors=[*([_squeeze(text=text)] if large else []), Crc32cCodec()],
        dimension_names=coordinate.dims,
        attributes=_json(coordinate.attrs, name),
        fill_value="" if text else np.zeros((), values.dtype).item(),
        config={"write_empty_chunks": True},
    )
    if values.size:
        array[...] = values.astype(object) if text else values


def _create(group: Any, path: str, **said: Any) -> Any:
    try:
        return group.create_array(path, **said)
    except (TypeError, ValueError) as error:
        raise SchemaError(f"{path}: cannot be stored as Zarr: {error}") from error


def _squeeze(*, text: bool) -> Any:
    if text:
        return ZstdCodec(level=1)
    return BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle", blocksize=_BLOSC_BLOCK)


def _is_text(block: np.ndarray) -> bool:
    if block.dtype.kind == "O":
        return all(isinstance(value, str) for value in block.flat)
    return block.dtype.kind in "UT"


def _check_names(ds: xr.Dataset) -> None:
    """Refuse what would come back under another name, or as something else."""
    for name, variable in ds.variables.items():
        text = str(name)
        kept = text and "/" not in text and not text.startswith(".") and text != "zarr.json"
        if not kept or (name in ds.coords and name not in ds.dims and text.split() != [text]):
            raise SchemaError(
                f"variable {text!r}: a name must not be empty, hold / or begin with a "
                "dot; that of a coordinate must hold no space"
            )
        if variable.dtype.kind not in "biufcmMUOT":
            raise SchemaError(f"variable {text!r} is {variable.dtype}; expected numbers or text")


def _json(given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return attributes as JSON holds them, or say which cannot be kept."""

    def plain(value: Any) -> Any:
        if isinstance(value, np.generic | np.ndarray) and value.dtype.kind in "biufU":
            return value.tolist()
        raise TypeError(f"{type(value).__name__} {value!r}")

    try:
        return dict(json.loads(json.dumps(dict(given), default=plain, allow_nan=False)))
    except (TypeError, ValueError) as error:
        raise SchemaError(f"attributes of {where}: JSON cannot hold {error}") from error
