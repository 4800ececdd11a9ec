"""What is in a source, before anything is made of it: one row a part, read from headers.

This module opens sources lazily; it reads no pixels and writes nothing.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from dpipe import origin, readers
from dpipe.errors import InputError
from dpipe.metadata import image_facts

_COMPARED = ("spacing", "interval", "dtype", "channels")
_MOST_REASONS = 10


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
        By part: ``stem``, ``files``, ``bytes``, what ``metadata.image_facts`` finds, and
        ``problem`` where it cannot be opened. By collection of pictures instead: ``dtype``,
        ``channels``, ``height`` and ``width`` (least, median, largest), ``labels`` (how many have
        one), ``masks_missing``, ``duplicates``, ``put_aside`` and the ``reasons`` by number.
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
            row |= _collection(ds) if "record" in ds.dims else image_facts(ds)
        except InputError as error:
            row["problem"] = str(error)
        rows.append(row)
    return rows


def _collection(ds: xr.Dataset) -> dict[str, Any]:
    """Count what is in a packed collection; only headers were read for it."""
    reasons = np.asarray(ds["put_aside"].values)
    sound = reasons == ""
    sizes = {name: np.asarray(ds[name].values)[sound] for name in ("height", "width")}
    kinds = Counter(str(reason) for reason in reasons[~sound])
    again = [n for reason, n in kinds.items() if reason.startswith("object ")]
    return {
        "dtype": str(ds["pixels"].dtype),
        "channels": [str(name) for name in ds["c"].values],
        **{k: [int(v.min()), int(np.median(v)), int(v.max())] for k, v in sizes.items()},
        "labels": int((np.asarray(ds["set"].values) == "labeled").sum()),
        "masks_missing": int((np.asarray(ds["mask_dtype"].values)[sound] == "").sum()),
        "duplicates": sum(again),
        "put_aside": int((~sound).sum()),
        "reasons": dict(kinds.most_common(_MOST_REASONS)),
    }


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
        same everywhere.

    Examples
    --------
    >>> warnings([{"stem": "a", "dtype": "uint8"}, {"stem": "b", "dtype": "uint16"}])
    ['dtype differs: uint16 (1), uint8 (1)']
    """
    lines = []
    for fact in _COMPARED:
        counts = Counter(str(row[fact]) for row in rows if fact in row)
        if len(counts) > 1:
            listed = ", ".join(f"{value} ({n})" for value, n in sorted(counts.items())[:5])
            lines.append(f"{fact} differs: {listed}")
    return lines
