"""What is in a source, before anything is made of it: one row a part, read from headers.

This module opens sources lazily; it reads no pixels and writes nothing.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import xarray as xr

from dpipe import origin, readers
from dpipe.errors import InputError
from dpipe.metadata import collection_facts, image_facts

_COMPARED = ("spacing", "interval", "dtype", "channels")


def census(
    reader: str, where: Sequence[str], *, options: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """Say what each part of a source is.

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
    list of dict
        By part: ``stem``, ``files``, ``bytes``, what ``metadata.image_facts`` finds, or
        ``metadata.collection_facts`` of a collection of pictures, or the ``sizes`` of anything
        else, and ``problem`` where it cannot be opened.
    """
    found = readers.resolve(reader)
    params = origin.bind(found.open, options or {}, f"reader {reader}")
    rows = []
    for part in found.parts(where):
        row: dict[str, Any] = {
            "stem": part.stem,
            "files": sum(item.count for item in part.items),
            "bytes": sum(item.size for item in part.items),
        }
        try:
            ds: xr.Dataset = found.open([item.uri for item in part.items], **params)
            row |= _facts(ds)
        except InputError as error:
            row["problem"] = str(error)
        rows.append(row)
    return rows


def _facts(ds: xr.Dataset) -> dict[str, Any]:
    if "image" in ds:
        return image_facts(ds)
    if "pixels" not in ds:
        return {"sizes": {str(dim): int(n) for dim, n in ds.sizes.items()}}
    return {k: v for k, v in collection_facts(ds).items() if k != "pictures"}  # its files


def warnings(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say in which facts parts differ that are to be compared, as the paper warns.

    Parameters
    ----------
    rows : sequence of mapping
        What `census` gave.

    Returns
    -------
    list of str
        One line for each of voxel size, sampling interval, dtype and channels that is not the
        same everywhere; numbers are the same if they are so to three digits, for files round.

    Examples
    --------
    >>> warnings([{"stem": "a", "dtype": "uint8"}, {"stem": "b", "dtype": "uint16"}])
    ['dtype differs: uint16 (1), uint8 (1)']
    """
    lines = []
    for fact in _COMPARED:
        counts = Counter(_said(row[fact]) for row in rows if fact in row)
        if len(counts) > 1:
            listed = ", ".join(f"{value} ({n})" for value, n in sorted(counts.items())[:5])
            lines.append(f"{fact} differs: {listed}")
    return lines


def _said(value: object) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_said, value))}]"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
