"""Zarr containers outside of any store: what other programs wrote, and what they shall read.

Foreign containers are not trusted: only known codecs are run. This module knows nothing of
OME-Zarr metadata (``ngff`` does) or of datasets.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from dpipe.compute import blocks
from dpipe.errors import InputError, NotFoundError, StoreError
from dpipe.formats.container_chunks import Foreign, holes
from dpipe.formats.container_places import groups_in, place_at, read_json
from dpipe.schema import Attributes
from dpipe.storage import Objects, chunking, open_objects, zarr

_MOST_FOLDERS, _MOST_KEYS = 20, 20_000
_ALLOWED_CODECS = frozenset(
    "bytes endian transpose blosc zstd gzip zlib crc32c crc32 adler32 fletcher32 sharding_indexed "
    "vlen-utf8 delta shuffle lz4 numcodecs.blosc numcodecs.zlib numcodecs.lz4 numcodecs.zstd "
    "numcodecs.gzip numcodecs.shuffle numcodecs.delta".split()
)


def read_attributes(uri: str, path: str = "") -> Attributes:
    """Return the attributes of a group of a foreign Zarr container, format 2 or 3.

    Parameters
    ----------
    uri : str
        The container: a folder, ``s3://...``, ``memory://...``, or an archive (a zip, or a tar on
        disk) or a folder in one.
    path : str
        The group below it.

    Returns
    -------
    dict
        Its attributes.

    Raises
    ------
    InputError
        There is no Zarr group, or its metadata are damaged.
    """
    if (attributes := find_attributes(uri, path)) is not None:
        return attributes
    group = f"{path.strip('/')}/".lstrip("/") or "/"
    raise InputError(
        f"{uri}: no Zarr group {group}; expected zarr.json or .zattrs. Give the folder that holds "
        "one of them"
    )


def find_attributes(uri: str, path: str) -> Attributes | None:
    """Return the attributes of a group, as `read_attributes` does; None where there is none."""
    place = place_at(uri)
    prefix = f"{path.strip('/')}/" if path.strip("/") else ""
    for name in ("zarr.json", ".zattrs"):
        try:
            _, document = read_json(place, prefix + name, f"{uri}: {prefix}{name}")
        except NotFoundError:
            continue
        attributes = document.get("attributes") or {} if name == "zarr.json" else document
        if not isinstance(attributes, dict):
            raise InputError(f"{uri}: {prefix}{name}: its attributes are no object; it is damaged")
        return attributes
    return None


def groups_inside(uri: str) -> list[str]:
    """Return the paths of the outermost groups in an archive; ``[""]`` for anything else."""
    place = place_at(uri)
    return groups_in(place) if place.packed else [""]


def folders_below(uri: str, path: str) -> list[str]:
    """Return the names of the first folders below a folder of a container."""
    start, names = f"{path.strip('/')}/", dict[str, None]()
    for key, *_ in islice(place_at(uri).list(start), _MOST_KEYS):
        name, slash, _ = key.removeprefix(start).partition("/")
        names |= {name: None} if slash else {}
        if len(names) == _MOST_FOLDERS:
            break
    return list(names)


def lazy_array(uri: str, path: str, *, fill_missing: bool = False) -> Any:
    """Open one array of a foreign Zarr container, format 2 or 3, lazily.

    Parameters
    ----------
    uri : str
        The container.
    path : str
        The array below it.
    fill_missing : bool
        Read chunks that are not there as the fill value, as the format has it. By default they
        are an error on computing: one that was lost looks the same.

    Returns
    -------
    dask.array.Array
        Blocks are shards, or chunks where there are none.

    Raises
    ------
    InputError
        There is no such array, or it has a codec that dpipe does not run on foreign files.
    """
    source, _ = _source(uri, path, fill_missing)
    return _opened(source)


def dimension_names(uri: str, path: str) -> list[str]:
    """Return the names of the dimensions of an array of format 3; [] if not all have one."""
    _, metadata = _source(uri, path, fill=True)
    named = metadata.get("dimension_names")
    names = named if isinstance(named, list) else []
    return names if all(isinstance(name, str) and name for name in names) else []


def missing_chunks(uri: str, path: str, *, fill_missing: bool = False) -> str:
    """Return a note on the chunks of an array that are missing; "" if none is.

    They are found by the list of files and, where there are shards, by the index of each. In an
    archive the chunks inside of shards are not looked at. In a bucket that lets nobody list it,
    those that are not to be filled are found on reading.
    """
    source, metadata = _source(uri, path, fill=True)
    array = _opened(source)
    try:
        gaps = holes(place_at(uri), source.path, metadata, array.shape, array.chunksize)
    except StoreError as error:
        return f"nobody can count the chunks that are not there ({error})" if fill_missing else ""
    return zarr.not_there(gaps.lost, gaps.names, gaps.total) if gaps.lost else ""


def _source(uri: str, path: str, fill: bool) -> tuple[Foreign, Attributes]:
    place, base = place_at(uri), path.strip("/")
    where = f"{uri}: array {base or '/'!r}"
    for name in ("zarr.json", ".zarray"):
        try:
            document, metadata = read_json(place, f"{base}/{name}" if base else name, where)
        except NotFoundError:
            continue
        _check_codecs(metadata, where)
        return Foreign(uri, base, document, (), base, foreign=True, fill=fill), metadata
    raise InputError(f"{uri}: no Zarr array {base or '/'}; expected zarr.json or .zarray there")


def _opened(source: Foreign) -> Any:
    where = f"{source.url}: array {source.path or '/'!r}"
    try:
        source = source.bounded()
        return source.lazy()
    except InputError as error:
        raise InputError(f"{where}: its metadata are damaged: {error}") from error
    except Exception as error:  # Zarr raises anything on metadata that break the rules
        text = " ".join(str(error).split())[:200]
        raise InputError(f"{where}: its metadata are damaged: {text}") from error


def write_tree(
    folder: str | Path,
    attributes: Mapping[str, Mapping[str, Any]],
    arrays: Iterable[tuple[str, xr.DataArray, int]],
) -> None:
    """Write a container outside of any store: groups, and arrays with their levels.

    Parameters
    ----------
    folder : str or Path
        New folder or URL.
    attributes : mapping of str to mapping
        Attributes of each group by its path, ``""`` for the root.
    arrays : iterable of (str, xarray.DataArray, int)
        Path of the group that holds the levels, level 0, and how many levels; level k becomes
        the array ``<path>/<k>``. Unsigned 32-bit ``labels`` are thinned, images are averaged.
    """
    objects = open_objects(str(folder))
    for path, described in attributes.items():
        document = {"zarr_format": 3, "node_type": "group", "attributes": dict(described)}
        objects.put(f"{path}/zarr.json".lstrip("/"), json.dumps(document, indent=2).encode())
    for path, image, levels in arrays:
        _write_levels(objects, path.strip("/"), image, levels)


def _write_levels(objects: Objects, path: str, image: xr.DataArray, levels: int) -> None:
    name = str(image.name or "image")
    layouts = [
        replace(chunking.layout(name, image, k, levels), path=f"{path}/{k}".lstrip("/"))
        for k in range(levels)
    ]
    documents = {array.path: zarr.array_document(array, image.attrs) for array in layouts}
    for key, document in documents.items():
        objects.put(f"{key}/zarr.json", document)
    for region in chunking.shards(layouts[0], {}):
        cut = dict(zip(layouts[0].dims, region, strict=True))
        (block,) = blocks.compute(image.isel(cut).data)
        for array, place, values in chunking.levels_of(layouts, cut, np.asarray(block)):
            for key, data in zarr.encode(documents[array.path], place, values).items():
                objects.put(f"{array.path}/{key}", data)


def _check_codecs(metadata: Mapping[str, Any], where: str) -> None:
    """Refuse codecs that a foreign file should not make us run."""
    v2 = metadata.get("zarr_format") == 2
    names: set[str] = set()

    def collect(codecs: Any) -> None:
        for codec in codecs if isinstance(codecs, list) else [codecs]:
            if isinstance(codec, list):
                collect(codec)
            elif isinstance(codec, dict):
                # by the key that Zarr goes by: the other may say anything
                names.add(str(codec.get("id" if v2 else "name")))
                inside = codec.get("configuration")
                if isinstance(inside, dict):
                    collect([inside.get("codecs"), inside.get("index_codecs")])
            elif codec is not None:
                names.add(str(codec))

    for key in ("compressor", "filters") if v2 else ("codecs",):
        collect(metadata.get(key))
    if unknown := sorted(names - _ALLOWED_CODECS):
        raise InputError(f"{where}: codec {', '.join(unknown)} is not run on foreign files")
