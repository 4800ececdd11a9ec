"""A census of a source before anything is made of it: one row a part, read from headers.

This module opens sources lazily and writes nothing. It reads no pixels but a few of each picture
of a collection, to find those that are there twice; of each it keeps 8 bytes.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, BinaryIO, TypedDict, cast

import numpy as np
import xarray as xr
from tqdm import tqdm

from dpipe import readers, sources
from dpipe.build import parameters
from dpipe.errors import DpipeError, InputError, SchemaError
from dpipe.metadata import collection_facts, image_facts

_COMPARED = ("spacing", "interval", "dtype", "channels")


class Row(TypedDict, total=False):
    """A part, an empty folder or a dangling link in a source; a part has the facts of `census` too.

    ``same_pixels`` and ``masks_of_several_values`` are of collections of pictures.
    """

    stem: str
    files: int
    bytes: int
    problem: str
    sizes: dict[str, int]
    same_pixels: dict[str, int]
    masks_of_several_values: int


def census(
    reader: str, where: Sequence[str], *, options: Mapping[str, Any] | None = None
) -> list[Row]:
    """Return a row for each part of a source, from its headers.

    Parameters
    ----------
    reader : str
        Which reader.
    where : sequence of str
        Files, folders, globs or URLs.
    options : mapping, optional
        Options of the reader.

    Returns
    -------
    list of Row
        By part: ``stem``, ``files``, ``bytes``, the facts of ``metadata.image_facts``, or
        of ``metadata.collection_facts`` for a collection of pictures, or the ``sizes`` of anything
        else, and ``problem`` where it cannot be opened. ``same_pixels`` says how many of the
        pictures that were not put aside show what one before them shows, in this folder or
        another, by the part that holds that one; a run keeps them. They are told by shape, dtype
        and 4 KiB from the middle. At last there is a row for each folder on disk in which there
        is nothing and each link that leads nowhere, with 0 files.
    """
    entry, odd = readers.resolve(reader), sources.Oddities()
    params = parameters.bind(entry.open, options or {}, f"reader {reader}")
    rows: list[Row] = []
    collections: list[tuple[Row, np.ndarray]] = []
    for part in tqdm(entry.parts(where, odd), desc="census", unit="part", delay=2, disable=None):
        row: Row = {
            "stem": part.stem,
            "files": sum(item.count for item in part.items),
            "bytes": sum(item.size for item in part.items),
        }
        try:
            ds: xr.Dataset = entry.open([item.uri for item in part.items], **params)
            row |= _facts(ds)
            if entry.content is not None:
                contents, several = _contents(entry.content, part.items[0].uri, ds)
                collections.append((row, contents))
                row["masks_of_several_values"] = several
        except DpipeError as error:
            if not isinstance(error, InputError | SchemaError):
                raise
            row["problem"] = str(error)
        except Exception as error:  # noqa: BLE001 - a bug of one part; the others are looked at
            row["problem"] = " ".join(f"a bug: {type(error).__name__}: {error}".split())
        rows.append(row)
    _compare(collections)
    return rows + [
        Row(stem=place, files=0, bytes=0, problem=problem)
        for problem, places in (
            ("there is nothing in this folder", odd.empty),
            ("nothing is at the end of this link; is a share not mounted?", odd.dangling),
        )
        for place in sorted(places)
    ]


def _contents(
    content: Callable[[BinaryIO], tuple[int, bool]], folder: str, ds: xr.Dataset
) -> tuple[np.ndarray, int]:
    """Return 64 bits by which each sound picture of a folder can be compared, 0 for cannot.

    The second number counts pictures whose masks have several values.
    """
    sound = np.asarray(ds["put_aside"].values) == ""
    uris = (f"{folder}/{name}" for name in np.asarray(ds["file"].values)[sound].tolist())
    answers = sources.read_many(uris, content)
    looks = [(0, False) if isinstance(look, InputError) else look for look in answers]
    several = sum(many for _, many in looks)
    return np.array([bits for bits, _ in looks], np.uint64), several


def _compare(collections: Sequence[tuple[Row, np.ndarray]]) -> None:
    """Count in each row the pictures that repeat one before them, by the part of that one."""
    for row, _ in collections:
        row["same_pixels"] = {}
    if not collections:
        return
    every = np.concatenate([contents for _, contents in collections])
    lengths = [len(contents) for _, contents in collections]
    part = np.repeat(np.arange(len(collections)), lengths)
    _, first, which = np.unique(every, return_index=True, return_inverse=True)
    before = first[which]
    again = np.flatnonzero((before != np.arange(len(every))) & (every != 0))
    pairs = np.stack([part[again], part[before[again]]], axis=1)
    for (this, other), count in zip(*np.unique(pairs, axis=0, return_counts=True), strict=True):
        collections[this][0]["same_pixels"][collections[other][0]["stem"]] = int(count)


def _facts(ds: xr.Dataset) -> Row:
    if "image" in ds:
        return cast("Row", image_facts(ds))
    if "pixels" not in ds:
        return Row(sizes={str(dim): int(n) for dim, n in ds.sizes.items()})
    facts = {k: v for k, v in collection_facts(ds).items() if k != "pictures"}  # its files
    return cast("Row", facts)


def warnings(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a line for each fact in which parts differ that are to be compared.

    Parameters
    ----------
    rows : sequence of mapping
        Of `census`.

    Returns
    -------
    list of str
        One line for each of voxel size, sampling interval, dtype and channels that is not the
        same everywhere (numbers are the same if they are so to three digits, for files round), for
        pictures that are there twice, and for each empty folder.

    Examples
    --------
    >>> warnings([{"stem": "a", "dtype": "uint8"}, {"stem": "b", "dtype": "uint16"}])
    ['dtype differs: uint16 (1), uint8 (1)']
    """
    lines = []
    for fact in _COMPARED:
        counts = Counter(_text(row[fact]) for row in rows if fact in row)
        if len(counts) > 1:
            listed = ", ".join(f"{value} ({n})" for value, n in sorted(counts.items())[:5])
            lines.append(f"{fact} differs: {listed}")
    for row in rows:
        for other, count in row.get("same_pixels", {}).items():
            lines.append(f"{row['stem']}: {count} pictures show the pixels of some in {other}")
        if not row.get("files", 1):
            lines.append(f"{row['stem']!r}: {row['problem']}")
    return lines


def _text(value: object) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_text, value))}]"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
