"""Marks: what ``init`` and each partition leave in the store, and any later run finds there.

A mark names the objects that were written, with their digests, and holds the values of small
variables themselves. Marks are scaffolding: when the part is sealed, they go.

This module knows JSON and small arrays; what is written, and when, is ``dpipe.build.parts``'
business.
"""

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dpipe.build.part_layout import PartLayout
from dpipe.errors import DamageError, GoneError, NotFoundError, StoreError
from dpipe.storage import Objects, chunking, documents, zarr

_FORM = documents.Form("dpipe-mark", 2, "mark", unsigned=1)


@dataclass
class Pieces:
    """Values of small variables, cell by cell: a part holds them as one object each.

    Attributes
    ----------
    held : dict
        By variable, regions and values.
    """

    held: dict[str, list[tuple[tuple[slice, ...], np.ndarray]]] = field(default_factory=dict)

    def add(self, array: chunking.Array, cell: Mapping[str, slice], values: np.ndarray) -> None:
        """Take the values of a variable in one cell."""
        cut = [cell.get(dim, slice(0, n)) for dim, n in zip(array.dims, array.shape, strict=True)]
        region = tuple(slice(s.start, s.stop) for s in cut)
        values = zarr.fitted(values, _dtype(array), tuple(s.stop - s.start for s in cut))
        self.held.setdefault(array.variable, []).append((region, values))

    def to_list(self) -> list[dict[str, Any]]:
        """Return them as JSON holds them."""
        return [
            {
                "name": name,
                "start": [s.start for s in region],
                "shape": list(values.shape),
                "data": values.tolist() if values.dtype.kind == "O" else _text(values),
            }
            for name, pieces in self.held.items()
            for region, values in pieces
        ]

    def read(self, outline: PartLayout, listed: Iterable[Mapping[str, Any]]) -> None:
        """Take what a mark holds."""
        for piece in listed:
            array = outline.levels(piece["name"])[0]
            pairs = zip(piece["start"], piece["shape"], strict=True)
            region = tuple(slice(start, start + n) for start, n in pairs)
            self.held.setdefault(piece["name"], []).append((region, _values(array, piece)))

    def joined(self, outline: PartLayout) -> Iterator[tuple[str, np.ndarray]]:
        """Yield the small variables, each put together from all its pieces."""
        for name in outline.small:
            array = outline.levels(name)[0]
            values = np.zeros(array.shape, _dtype(array))
            known = np.zeros(array.shape, bool)
            for region, piece in self.held.get(name, ()):
                values[region], known[region] = piece, True
            if not known.all():
                raise GoneError(
                    f"{outline.base}: the marks hold {known.sum()} of {known.size} values of "
                    f"{name!r}; the part is begun anew"
                )
            yield name, values


def init_key(base: str) -> str:
    """Return the key of the mark that says how a part is cut."""
    return f"{base}.marks/init.json"


def key(base: str, index: int) -> str:
    """Return the key of the mark of a partition."""
    return f"{base}.marks/{index:06d}.json"


def indices(keys: Iterable[str]) -> list[int]:
    """Return the partitions whose marks are among some keys."""
    stems = (key.rpartition("/")[2].removesuffix(".json") for key in keys if ".marks/" in key)
    return sorted(int(stem) for stem in stems if stem.isdecimal())


def done(objects: Objects, base: str) -> list[int]:
    """Return the partitions that have a mark."""
    return indices(entry.key for entry in objects.list(f"{base}.marks/"))


def put(objects: Objects, name: str, fields: Mapping[str, Any], *, anew: bool = False) -> None:
    """Leave a mark; one that is there already stays, unless it is to be replaced."""
    data = _FORM.write(fields)
    if anew:
        objects.put(name, data)
    else:
        objects.put_if_absent(name, data)


def read(objects: Objects, name: str) -> dict[str, Any]:
    """Read a mark."""
    return _parsed(objects, name, objects.read(name))


def read_init(objects: Objects, base: str) -> tuple[PartLayout, dict[str, Any]]:
    """Return the outline of a part that was begun, and the mark that holds it."""
    mark = read(objects, init_key(base))
    return PartLayout.from_dict(mark["outline"]), mark


def read_all(objects: Objects, outline: PartLayout) -> dict[int, dict[str, Any]]:
    """Read the marks of all partitions; one that is damaged counts as none, and is deleted."""
    wanted = range(outline.grid.partitions)
    keys = [key(outline.base, index) for index in wanted]
    marks: dict[int, dict[str, Any]] = {}
    for index, name, data in zip(wanted, keys, objects.read_many(keys), strict=True):
        if isinstance(data, NotFoundError):
            continue
        if isinstance(data, StoreError):
            raise data
        try:
            marks[index] = _parsed(objects, name, data)
        except DamageError:
            objects.delete(name)
    missing = sorted(set(wanted) - set(marks))
    if missing:
        raise NotFoundError(
            f"{outline.base}: {len(missing)} of {outline.grid.partitions} partitions are not done "
            f"(first: {missing[0]}); run the same command again"
        )
    return marks


def delete(objects: Objects, base: str, partitions: Sequence[int]) -> None:
    """Delete the marks of a part that is sealed."""
    objects.delete_many([*(key(base, index) for index in partitions), init_key(base)])


def _parsed(objects: Objects, name: str, data: bytes) -> dict[str, Any]:
    return _FORM.read(data, f"{objects.url}/{name}")


def _text(values: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()


def _values(array: chunking.Array, piece: Mapping[str, Any]) -> np.ndarray:
    if array.dtype == "str":
        return np.asarray(piece["data"], dtype=object).reshape(piece["shape"])
    raw = bytearray(base64.b64decode(piece["data"]))
    return np.frombuffer(raw, array.dtype).reshape(piece["shape"])


def _dtype(array: chunking.Array) -> np.dtype:
    return np.dtype(object if array.dtype == "str" else array.dtype)
