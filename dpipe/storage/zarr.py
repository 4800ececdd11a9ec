"""Zarr: how a Dataset lies in objects, and the one way to write and read it.

A Dataset becomes *documents* (every ``zarr.json``) and objects. Regions of whole shards are
encoded in memory and put one object at a time; Zarr itself never writes to a store, so nothing
is read back and modified, and nothing is half written. Every array has a crc32c in its codec
chain and empty chunks are written too, so a missing or changed chunk is an error, never zeros.

The only file that names Zarr. It knows nothing of datasets, versions, parts or runs.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import xarray as xr
from zarr.core.buffer import Buffer, default_buffer_prototype
from zarr.storage import MemoryStore

from dpipe.errors import NotFoundError, SchemaError, StoreError
from dpipe.storage import chunking, shards, zarr_documents
from dpipe.storage import coordinates as storage_coordinates
from dpipe.storage.documents import Json
from dpipe.storage.lazy_arrays import StoredArray, not_there, open_array
from dpipe.storage.objects import Objects, Put, put_of
from dpipe.storage.opening import open_group
from dpipe.storage.zarr_documents import Document, stored

__all__ = [
    "Document",
    "SealedError",
    "StoredArray",
    "Template",
    "array_document",
    "describe",
    "encode",
    "fitted",
    "keep",
    "not_there",
    "open_group",
    "stored",
    "write_region",
]

_PLAIN = 64 << 10
"""Coordinates up to this many bytes are not compressed: the seal holds them."""


@dataclass(frozen=True)
class Template:
    """Everything about a part but its values.

    Attributes
    ----------
    documents : dict of str to dict
        Every ``zarr.json``, parsed, by its key below the part.
    arrays : tuple of pyramid.Array
        The data variables, level by level.
    coordinates : dict of str to bytes
        The coordinate objects by key, already encoded.
    """

    documents: dict[str, Document] = field(repr=False)
    arrays: tuple[chunking.Array, ...]
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
    documents = {"zarr.json": zarr_documents.group(_json(attributes or {}, "group"))}
    coordinates: dict[str, bytes] = {}
    arrays: list[chunking.Array] = []
    extra = sorted(str(name) for name in ds.coords if name not in ds.dims)
    named = {"coordinates": " ".join(extra)} if extra else {}
    attrs = _json(ds.attrs, "dataset")
    for level in range(max(levels.values(), default=1) if levels else 1):
        group = f"{level}/" if levels else ""
        documents[f"{group}zarr.json"] = zarr_documents.group(
            documents.get(f"{group}zarr.json", {}).get("attributes", {}) | attrs
        )
        for name, coordinate in chunking.level_coords(ds, level).items():
            document, objects = _coordinate(name, coordinate)
            documents[f"{group}{name}/zarr.json"] = document
            coordinates |= {f"{group}{name}/{key}": data for key, data in objects.items()}
        for key, variable in ds.data_vars.items():
            count = (levels or {}).get(str(key), 1)
            if level < count:
                array = chunking.layout(str(key), variable, level, count)
                array = array if levels else replace(array, path=array.variable)
                documents[f"{array.path}/zarr.json"] = _array(array, dict(variable.attrs) | named)
                arrays.append(array)
    return Template(documents, tuple(arrays), coordinates)


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
    cut = shards.layout(document)
    if cut is not None and cut.owns(region):
        return {cut.key(region): shards.encode(cut, fitted(block, cut.dtype, size))}
    buffer = default_buffer_prototype().buffer
    memory: dict[str, Buffer] = {"zarr.json": buffer.from_bytes(document)}
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
    array: chunking.Array,
    document: bytes,
    region: Sequence[slice],
    block: np.ndarray,
    seal: str,
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
    seal : str
        Key of the part's seal.

    Returns
    -------
    list of Put
        What lies in the store now.

    Raises
    ------
    SealedError
        As of `keep`.
    """
    chunking.shards(array, dict(zip(array.dims, region, strict=True)))
    return [
        keep(objects, f"{part}/{array.path}/{name}", data, seal)
        for name, data in encode(document, region, block).items()
    ]


def keep(objects: Objects, key: str, data: bytes, seal: str) -> Put:
    """Put an object of a part that is not sealed yet.

    What lies at the key already is compared: the same bytes stay as they are. Other bytes, such as
    an interrupted copy leaves, are replaced, unless the part was sealed meanwhile.

    Parameters
    ----------
    objects : Objects
        The store.
    key : str
        Where it lies.
    data : bytes
        What it holds.
    seal : str
        Key of the part's seal.

    Returns
    -------
    Put
        What lies in the store now; its digest is that of `data`.

    Raises
    ------
    SealedError
        The part is sealed, and holds other bytes there: nothing of it is touched.
    """
    if put := objects.put_if_absent(key, data):
        return put
    try:
        if objects.read(key) == data:
            return replace(put_of(key, data), etag=objects.head(key).etag)
    except NotFoundError:  # somebody deleted it just now
        pass
    if objects.exists(seal):
        raise SealedError(f"{objects.url}/{seal}: sealed by another run; nothing of it is touched")
    return objects.put(key, data)


class SealedError(StoreError):
    """Another run sealed a part before this one: it is done, with other bytes than ours."""


def array_document(array: chunking.Array, attrs: Mapping[str, Any]) -> bytes:
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
    return stored(_array(array, attrs))


def _array(array: chunking.Array, attrs: Mapping[str, Any]) -> Document:
    return zarr_documents.array(
        array.path,
        shape=array.shape,
        chunk=array.chunk,
        shard=None if array.chunk == array.shard else array.shard,
        dtype=array.dtype,
        compressed=True,
        dims=array.dims,
        attributes=_json(attrs, array.variable),
    )


def _coordinate(name: str, coordinate: xr.DataArray) -> tuple[Document, dict[str, bytes]]:
    """Return the document of a coordinate, and its one object."""
    values = np.asarray(coordinate.values)
    if values.dtype.kind == "O" and not _is_text(values):
        raise SchemaError(f"coordinate {name!r}: found {values.dtype}; expected numbers or text")
    text = values.dtype.kind in "UOT"
    document = zarr_documents.array(
        name,
        shape=values.shape,
        chunk=tuple(max(1, n) for n in values.shape),
        shard=None,
        dtype="str" if text else values.dtype.newbyteorder("=").str,
        compressed=values.nbytes > _PLAIN,
        dims=[str(dim) for dim in coordinate.dims],
        attributes=_json(coordinate.attrs, name),
    )
    objects = storage_coordinates.encode(document, values)
    if objects is None:
        whole = [slice(0, n) for n in values.shape]
        objects = encode(stored(document), whole, values)
    return document, objects


def _is_text(block: np.ndarray) -> bool:
    if block.dtype.kind == "O":
        return all(isinstance(value, str) for value in block.flat)
    return block.dtype.kind in "UT"


def _check_names(ds: xr.Dataset) -> None:
    """Refuse variables that would come back under another name or kind."""
    for name, variable in ds.variables.items():
        text = str(name)
        safe = text and "/" not in text and not text.startswith(".") and text != "zarr.json"
        if not safe or (name in ds.coords and name not in ds.dims and text.split() != [text]):
            raise SchemaError(
                f"variable {text!r}: a name must not be empty, hold / or begin with a "
                "dot; that of a coordinate must hold no space"
            )
        if variable.dtype.kind not in "biufcmMUOT":
            raise SchemaError(f"variable {text!r} is {variable.dtype}; expected numbers or text")


def _json(attrs: Mapping[str, Any], where: str) -> Json:
    """Return attributes as JSON holds them, or say which cannot be kept."""

    def plain(value: Any) -> Any:
        if isinstance(value, np.generic | np.ndarray) and value.dtype.kind in "biufU":
            return value.tolist()
        raise TypeError(f"{type(value).__name__} {value!r}")

    try:
        return dict(json.loads(json.dumps(dict(attrs), default=plain, allow_nan=False)))
    except (TypeError, ValueError) as error:
        raise SchemaError(f"attributes of {where}: JSON cannot hold {error}") from error
