"""Marks: documents that ``init`` and each partition leave in the store for any later run.

A mark names the objects that were written, with their digests, and holds the values of small
variables themselves. Marks are scaffolding: when the part is sealed, they go.

This module knows JSON and small arrays; what is written, and when, is ``dpipe.build.parts``'
business.
"""

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NotRequired, TypedDict, cast

import numpy as np

from dpipe import ledger
from dpipe.build.part_layout import LayoutFields, PartLayout
from dpipe.catalog import SpecFields
from dpipe.errors import DamageError, GoneError, NotFoundError, StoreError
from dpipe.storage import Json, Objects, Put, PutFields, chunking, documents, zarr

_FORM = documents.Form("dpipe-mark", 2, "mark", unsigned=1)


class PieceFields(TypedDict):
    """Values of one small variable in one cell: text as it is, numbers as base64 of their bytes."""

    name: str
    start: list[int]
    shape: list[int]
    data: str | list[str]


class Mark(TypedDict):
    """Fields of all marks: the objects that were written, and the ledger of sources."""

    objects: list[PutFields]
    read: NotRequired[dict[str, ledger.Entry]]


class InitMark(Mark):
    """The mark of ``init``: how a part is made, and how it is cut."""

    origin: SpecFields
    outline: LayoutFields


class PartitionMark(Mark):
    """The mark of a partition.

    ``nothing`` names variables of which every value is NaN, ``unsteady`` those that were computed
    twice and gave two answers.
    """

    partition: int
    small: list[PieceFields]
    seconds: float
    nothing: NotRequired[list[str]]
    unsteady: NotRequired[list[str]]


@dataclass
class Pieces:
    """Values of small variables, cell by cell: a part holds them as one object each.

    Attributes
    ----------
    cells : dict
        By variable, regions and values.
    """

    cells: dict[str, list[tuple[tuple[slice, ...], np.ndarray]]] = field(default_factory=dict)

    def add(self, array: chunking.Array, cell: Mapping[str, slice], values: np.ndarray) -> None:
        """Take the values of a variable in one cell."""
        cut = [cell.get(dim, slice(0, n)) for dim, n in zip(array.dims, array.shape, strict=True)]
        region = tuple(slice(s.start, s.stop) for s in cut)
        values = zarr.fitted(values, _dtype(array), tuple(s.stop - s.start for s in cut))
        self.cells.setdefault(array.variable, []).append((region, values))

    def to_list(self) -> list[PieceFields]:
        """Return them as JSON holds them."""
        return [
            PieceFields(
                name=name,
                start=[s.start for s in region],
                shape=list(values.shape),
                data=values.tolist() if values.dtype.kind == "O" else _text(values),
            )
            for name, pieces in self.cells.items()
            for region, values in pieces
        ]

    def read(self, layout: PartLayout, small: Iterable[PieceFields]) -> None:
        """Take the values of a mark."""
        for piece in small:
            array = layout.levels(piece["name"])[0]
            pairs = zip(piece["start"], piece["shape"], strict=True)
            region = tuple(slice(start, start + n) for start, n in pairs)
            self.cells.setdefault(piece["name"], []).append((region, _values(array, piece)))

    def joined(self, layout: PartLayout) -> Iterator[tuple[str, np.ndarray]]:
        """Yield the small variables, each put together from all its pieces."""
        for name in layout.small:
            array = layout.levels(name)[0]
            values = np.zeros(array.shape, _dtype(array))
            filled = np.zeros(array.shape, bool)
            for region, piece in self.cells.get(name, ()):
                values[region], filled[region] = piece, True
            if not filled.all():
                raise GoneError(
                    f"{layout.base}: the marks hold {filled.sum()} of {filled.size} values of "
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


def put_init(objects: Objects, layout: PartLayout, spec: SpecFields, puts: Sequence[Put]) -> None:
    """Leave the mark of ``init``, with what the open ledger holds; one that is there stays."""
    mark = InitMark(origin=spec, outline=layout.to_dict(), objects=[put.to_dict() for put in puts])
    if (notes := ledger.current()) is not None:
        mark["read"] = notes.entries(complete=False)  # partitions read the rest
    put(objects, init_key(layout.base), mark)


def put(objects: Objects, name: str, mark: Mapping[str, object], *, anew: bool = False) -> None:
    """Put a mark; one that is there already stays, unless it is to be made anew."""
    data = _FORM.write(mark)
    if anew:
        objects.put(name, data)
    else:
        objects.put_if_absent(name, data)


def read(objects: Objects, name: str) -> Mark:
    """Read a mark of either kind."""
    return cast("Mark", _parsed(objects, name, objects.read(name)))


def read_init(objects: Objects, base: str) -> tuple[PartLayout, InitMark]:
    """Return the layout of a part that was begun, and the mark that holds it."""
    name = init_key(base)
    mark = cast("InitMark", _parsed(objects, name, objects.read(name)))
    return PartLayout.from_dict(mark["outline"]), mark


def read_partition(objects: Objects, base: str, index: int) -> PartitionMark:
    """Read the mark of a partition."""
    name = key(base, index)
    return cast("PartitionMark", _parsed(objects, name, objects.read(name)))


def read_all(objects: Objects, layout: PartLayout) -> dict[int, PartitionMark]:
    """Read the marks of all partitions; one that is damaged counts as none, and is deleted."""
    indices = range(layout.grid.partitions)
    keys = [key(layout.base, index) for index in indices]
    marks: dict[int, PartitionMark] = {}
    for index, name, data in zip(indices, keys, objects.read_many(keys), strict=True):
        if isinstance(data, NotFoundError):
            continue
        if isinstance(data, StoreError):
            raise data
        try:
            marks[index] = cast("PartitionMark", _parsed(objects, name, data))
        except DamageError:
            objects.delete(name)
    missing = sorted(set(indices) - set(marks))
    if missing:
        raise NotFoundError(
            f"{layout.base}: {len(missing)} of {layout.grid.partitions} partitions are not done "
            f"(first: {missing[0]}); run the same command again"
        )
    return marks


def delete(objects: Objects, base: str, partitions: Sequence[int]) -> None:
    """Delete the marks of a part that is sealed."""
    objects.delete_many([*(key(base, index) for index in partitions), init_key(base)])


def _parsed(objects: Objects, name: str, data: bytes) -> Json:
    return _FORM.read(data, f"{objects.url}/{name}")


def _text(values: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()


def _values(array: chunking.Array, piece: PieceFields) -> np.ndarray:
    if array.dtype == "str":
        return np.asarray(piece["data"], dtype=object).reshape(piece["shape"])
    raw = bytearray(base64.b64decode(cast("str", piece["data"])))
    return np.frombuffer(raw, array.dtype).reshape(piece["shape"])


def _dtype(array: chunking.Array) -> np.dtype:
    return np.dtype(object if array.dtype == "str" else array.dtype)
