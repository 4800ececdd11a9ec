"""Marks: what ``init`` and each partition leave in the store, and any later run finds there.

A private neighbour of ``dpipe.parts``. A mark names the objects that were written, with their
digests, and holds the values of small variables themselves.
"""

import base64
import contextlib
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from dpipe import pyramid, store
from dpipe.errors import DamageError, NotFoundError
from dpipe.objects import Objects
from dpipe.outline import Outline

_READERS = 16


def init_key(base: str) -> str:
    return f"{base}.marks/init.json"


def key(base: str, index: int) -> str:
    return f"{base}.marks/{index:06d}.json"


def done(objects: Objects, base: str) -> list[int]:
    """Return the partitions that have a mark."""
    stems = [e.key.rpartition("/")[2].removesuffix(".json") for e in objects.list(f"{base}.marks/")]
    return sorted(int(stem) for stem in stems if stem.isdecimal())


def read(objects: Objects, name: str) -> dict[str, Any]:
    try:
        return dict(json.loads(objects.read(name)))
    except (ValueError, TypeError) as error:
        raise DamageError(
            f"{objects.url}/{name}: the mark is damaged ({error}); delete it and run again"
        ) from error


def read_init(objects: Objects, base: str) -> tuple[Outline, dict[str, Any]]:
    """Return the outline of a part that was begun, and the mark that holds it."""
    mark = read(objects, init_key(base))
    return Outline.from_dict(mark["outline"]), mark


def read_all(objects: Objects, outline: Outline) -> dict[int, dict[str, Any]]:
    """Read the marks of all partitions, several at a time: there may be thousands on S3."""

    def one(index: int) -> dict[str, Any] | None:
        with contextlib.suppress(NotFoundError):
            return read(objects, key(outline.base, index))
        return None

    with ThreadPoolExecutor(_READERS) as pool:
        marks = list(pool.map(one, range(outline.grid.partitions)))
    missing = [index for index, mark in enumerate(marks) if mark is None]
    if missing:
        raise NotFoundError(
            f"{outline.base}: {len(missing)} of {outline.grid.partitions} partitions are not done "
            f"(first: {missing[0]}); run the same command again"
        )
    return {index: mark for index, mark in enumerate(marks) if mark is not None}


def packed(array: pyramid.Array, cell: Mapping[str, slice], values: np.ndarray) -> dict[str, Any]:
    """Return the values of a small variable in one cell as JSON holds them."""
    cut = [cell.get(dim, slice(0, n)) for dim, n in zip(array.dims, array.shape, strict=True)]
    values = store.fitted(values, _dtype(array), tuple(s.stop - s.start for s in cut))
    text = array.dtype == "str"
    return {
        "name": array.variable,
        "start": [s.start for s in cut],
        "shape": list(values.shape),
        "data": values.tolist() if text else base64.b64encode(values.tobytes()).decode(),
    }


def joined(
    outline: Outline, marks: Mapping[int, Mapping[str, Any]]
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the small variables, each put together from all marks."""
    for name in outline.small:
        array = outline.levels(name)[0]
        values = np.zeros(array.shape, _dtype(array))
        known = np.zeros(array.shape, bool)
        for mark in marks.values():
            for piece in mark["small"]:
                if piece["name"] == name:
                    cut = zip(piece["start"], piece["shape"], strict=True)
                    place = tuple(slice(start, start + n) for start, n in cut)
                    values[place], known[place] = _unpacked(array, piece), True
        if not known.all():
            raise DamageError(
                f"{outline.base}: the marks hold {known.sum()} of {known.size} values of {name!r}; "
                "delete them and run again"
            )
        yield name, values


def _unpacked(array: pyramid.Array, piece: Mapping[str, Any]) -> np.ndarray:
    if array.dtype == "str":
        return np.asarray(piece["data"], dtype=object).reshape(piece["shape"])
    raw = bytearray(base64.b64decode(piece["data"]))
    return np.frombuffer(raw, array.dtype).reshape(piece["shape"])


def _dtype(array: pyramid.Array) -> np.dtype:
    return np.dtype(object if array.dtype == "str" else array.dtype)
