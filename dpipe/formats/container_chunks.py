"""Chunks of foreign arrays: which of them are not there, by the list of files and by each shard.

Zarr takes a chunk that is missing for one that holds the fill value; one that was lost looks the
same. This module knows Zarr's keys and the index of a shard; Zarr itself it leaves to ``store``.
"""

import contextlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice, product
from typing import Any, NamedTuple

import numpy as np

from dpipe.compute import Region
from dpipe.errors import InputError, NotFoundError
from dpipe.formats.container_codecs import bounded
from dpipe.formats.container_places import LARGEST_JSON, Place, place_at
from dpipe.storage import zarr

_ABSENT = 2**64 - 1
_MOST_NAMED = 5
_MOST_KNOWN = 64
_IN_FLIGHT = 32
_MOST_OBJECTS = 10_000_000
_LARGEST_VALUE = 16
"""Bytes that a value of a chunk takes at most: 8, and as many again for what does not compress."""
_known: dict[tuple[Any, ...], "Holes"] = {}


class Holes(NamedTuple):
    """Chunks that are not there: how many of how many, and the names of the first."""

    lost: int
    total: int
    names: tuple[str, ...]


@dataclass(frozen=True)
class Foreign(zarr.StoredArray):
    """An array of a container of others.

    Attributes
    ----------
    largest : int
        Bytes that one of its objects has at most.
    """

    largest: int = LARGEST_JSON

    def bounded(self) -> "Foreign":
        """Return it with the size that its objects may have, of how it is cut.

        Raises
        ------
        InputError
            More objects than a computation can be cut into.
        """
        metadata = json.loads(self.document)
        v2 = metadata.get("zarr_format") == 2
        cut = metadata["chunks"] if v2 else metadata["chunk_grid"]["configuration"]["chunk_shape"]
        count = math.prod(-(-n // k) for n, k in zip(metadata["shape"], cut, strict=True))
        if count > _MOST_OBJECTS:
            raise InputError(f"{count} chunks or shards; at most {_MOST_OBJECTS} are read")
        return replace(self, largest=_LARGEST_VALUE * math.prod(cut) + LARGEST_JSON)

    def place(self) -> Place:
        """Return the container, with bounds for what its chunks unpack to."""
        place = place_at(self.url, self.largest)
        return bounded(place, json.loads(self.document), self.largest)

    def check(self, region: Region) -> None:
        """Refuse a region of which a shard lacks a chunk: Zarr would fill it without a word."""
        metadata = json.loads(self.document)
        index = None if self.fill else _index_of(metadata)
        if index is None:
            return
        place, gone = self.place(), list[str]()
        shape = [cut.stop for cut in region]
        first = [cut.start // n for cut, n in zip(region, index.shard, strict=True)]
        last = [-(-cut.stop // n) for cut, n in zip(region, index.shard, strict=True)]
        base = f"{self.prefix}/".lstrip("/")
        for corner in product(*map(range, first, last)):
            with contextlib.suppress(NotFoundError):  # a shard that is not there is told by Zarr
                whole = place.size(base + index.keys.of(corner))
                gone += index.missing(place, base, corner, shape, whole)
        if gone:
            raise InputError(f"{self.url}/{self.prefix}: {zarr.not_there(len(gone), gone)}")


class _Index(NamedTuple):
    """Where the index of a shard lies, and how it is laid out."""

    keys: "_Keys"
    shard: tuple[int, ...]
    inner: tuple[int, ...]
    at_end: bool
    order: str
    checked: bool

    def inside(self, corner: Sequence[int], shape: Sequence[int]) -> tuple[int, ...]:
        """Return the number of chunks of a shard that lie in a shape, along each axis."""
        return tuple(
            max(0, -(-min(n - c * s, s) // k))
            for n, c, s, k in zip(shape, corner, self.shard, self.inner, strict=True)
        )

    def missing(
        self, place: Place, base: str, corner: Sequence[int], shape: Sequence[int], whole: int
    ) -> list[str]:
        """Name the chunks that a shard of so many bytes lacks, of those that lie in a shape."""
        grid = [n // k for n, k in zip(self.shard, self.inner, strict=True)]
        size = 16 * math.prod(grid)
        key = self.keys.of(corner)
        start = whole - size - 4 * self.checked if self.at_end else 0
        data = place.read_range(base + key, max(0, start), max(0, start) + size)
        if start < 0 or len(data) < size:
            return []  # a shard that was cut off: decoding will tell
        places = np.frombuffer(data, f"{self.order}u8").reshape(*grid, 2)
        entries = places[tuple(slice(0, n) for n in self.inside(corner, shape))]
        absent = np.argwhere((entries == _ABSENT).all(axis=-1))
        return [f"{key}[{', '.join(map(str, position))}]" for position in absent.tolist()]


class _Keys(NamedTuple):
    """How the keys of chunks are made of their place in the grid."""

    start: str
    sign: str

    def of(self, corner: Sequence[int]) -> str:
        names = self.sign.join(map(str, corner))
        if self.start:
            return f"{self.start}{self.sign}{names}" if names else self.start
        return names or "0"

    def corner(self, key: str, grid: Sequence[int]) -> tuple[int, ...] | None:
        """Return the place of a chunk, None for what is no chunk of the grid."""
        parts = key.split(self.sign)
        numbers = parts[1:] if self.start else parts
        if not all(re.fullmatch("0|[1-9][0-9]{0,17}", number) for number in numbers):
            return None
        corner = tuple(map(int, numbers)) if grid else ()
        fits = len(corner) == len(grid) and all(i < n for i, n in zip(corner, grid, strict=True))
        return corner if fits and self.of(corner) == key else None


def _keys_of(metadata: Mapping[str, Any]) -> _Keys:
    if metadata.get("zarr_format") == 2:
        return _Keys("", str(metadata.get("dimension_separator") or "."))
    encoding = metadata.get("chunk_key_encoding")
    encoding = encoding if isinstance(encoding, Mapping) else {"name": encoding}
    inside = encoding.get("configuration")
    sign = inside.get("separator") if isinstance(inside, Mapping) else None
    plain = encoding.get("name") == "v2"
    return _Keys("" if plain else "c", str(sign or ("." if plain else "/")))


def _index_of(metadata: Mapping[str, Any]) -> _Index | None:
    """Return the index of an array's shards; None without shards, or of another kind."""
    codecs = metadata.get("codecs")
    first = codecs[0] if isinstance(codecs, list) and codecs else None
    if not isinstance(first, Mapping) or first.get("name") != "sharding_indexed":
        return None
    inside = first["configuration"]
    codecs = [c if isinstance(c, Mapping) else {"name": c} for c in inside["index_codecs"]]
    names = [codec.get("name") for codec in codecs]
    if names not in (["bytes"], ["bytes", "crc32c"]):
        return None
    endian = (codecs[0].get("configuration") or {}).get("endian", "little")
    shard = tuple(metadata["chunk_grid"]["configuration"]["chunk_shape"])
    at_end = inside.get("index_location", "end") == "end"
    order = ">" if endian == "big" else "<"
    inner = tuple(inside["chunk_shape"])
    return _Index(_keys_of(metadata), shard, inner, at_end, order, len(names) == 2)


def holes(
    place: Place, path: str, metadata: Mapping[str, Any], shape: Sequence[int], cut: Sequence[int]
) -> Holes:
    """Find the chunks that are not there, by the list of files and the index of each shard.

    Parameters
    ----------
    place, path : Place, str
        The container, and the array in it.
    metadata : mapping
        Of the array, which Zarr has opened: they keep the rules.
    shape, cut : sequence of int
        Of the array, and of one of its objects.

    Returns
    -------
    Holes
        In an archive the indexes of shards are not read.

    Raises
    ------
    StoreError
        The list of files is not to be had.
    """
    base, grid = f"{path}/".lstrip("/"), [-(-n // k) for n, k in zip(shape, cut, strict=True)]
    listed = sorted(place.list(base))
    told = (place.url, path, hash(tuple(listed)), repr(metadata))
    gaps = _known.get(told)
    if gaps is None:
        keys, index = _keys_of(metadata), _index_of(metadata)
        objects = {keys.corner(key.removeprefix(base), grid): size for key, size, _ in listed}
        objects.pop(None, None)
        gaps = _without_shards(keys, grid, objects)
        if index is not None:
            gaps = _with_shards(place, base, index, shape, objects, gaps.names)
        if len(_known) >= _MOST_KNOWN:
            _known.clear()
        _known[told] = gaps
    return gaps


def _without_shards(keys: _Keys, grid: Sequence[int], objects: Mapping[Any, int]) -> Holes:
    total = math.prod(grid)
    gone = (corner for corner in np.ndindex(*grid) if corner not in objects)
    named = islice(gone, _MOST_NAMED) if total > len(objects) else ()
    return Holes(total - len(objects), total, tuple(map(keys.of, named)))


def _with_shards(
    place: Place,
    base: str,
    index: _Index,
    shape: Sequence[int],
    objects: Mapping[Any, int],
    names: Sequence[str],
) -> Holes:
    """Count chunks of shards; those of a bucket are asked many at a time."""
    total = math.prod(-(-n // k) for n, k in zip(shape, index.inner, strict=True))
    lost = total - sum(math.prod(index.inside(corner, shape)) for corner in objects)
    corners = [] if place.packed else sorted(objects)

    def ask(corner: tuple[int, ...]) -> list[str]:
        return index.missing(place, base, corner, shape, objects[corner])

    with ThreadPoolExecutor(_IN_FLIGHT) as pool:
        for lacking in (pool.map if "://" in place.url else map)(ask, corners):
            lost += len(lacking)
            names = [*names, *lacking[: max(0, _MOST_NAMED - len(names))]]
    return Holes(lost, total, tuple(names))
