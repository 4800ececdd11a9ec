"""Plates of Cellomics microscopes: the reader ``cellomics``.

Names of files say plate, well, field and channel; the pictures are .C01 or .DIB, or were converted
to TIFF or PNG under the same names. Label images lie beside them, as ``_objects``.
"""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import BinaryIO

import numpy as np
import xarray as xr

from dpipe import sources
from dpipe.errors import UsageError
from dpipe.formats import cellomics, plain_pictures
from dpipe.readers.packing import Facts
from dpipe.readers.pictures.collection import Format, Record, collection, look_plain
from dpipe.readers.pictures.pairs import paired
from dpipe.sources import Item, Part, natural_key

SUFFIXES = (*cellomics.SUFFIXES, *plain_pictures.SUFFIXES)
_SHOWN = 3
_PLATES = {96: (8, 12), 384: (16, 24), 1536: (32, 48)}


def find(items: Iterable[Item]) -> Iterator[Part]:
    """Group files into parts: each plate is one.

    Parameters
    ----------
    items : iterable of Item
        Files; those whose name does not say plate and well are passed over.

    Yields
    ------
    Part
        One a plate, named after it.

    Examples
    --------
    >>> names = ("P_1_A02f07d0.C01", "P_1_A02f07d0_objects.png", "P_2_B03f00d0.C01", "x.png")
    >>> items = [Item(f"/raw/{name}", name, 9, "0") for name in names]
    >>> [(part.stem, len(part.items)) for part in find(items)]
    [('P_1', 2), ('P_2', 1)]
    """
    plates: dict[str, list[Item]] = {}
    for item in items:
        name = _name_of(item.uri)
        if name is not None:
            plates.setdefault(name.plate, []).append(item)
    for plate in sorted(plates, key=natural_key):
        yield Part(plate, tuple(sorted(plates[plate], key=lambda item: natural_key(item.path))))


def open_cellomics(
    url: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    channels: str | Sequence[str] | None = None,
    block: int = 0,
) -> xr.Dataset:
    """Open the pictures of a plate, with label images beside them; only headers are read.

    Parameters
    ----------
    url : str, path, or sequence of these
        A folder, or files of one plate, named ``<plate>_<well>f<field>d<channel>``.
    channels : str or sequence of str, optional
        Names of the channels, by commas; by default Ch1, Ch2, ...
    block : int
        Fields of a block; 0 chooses by their size.

    Returns
    -------
    xarray.Dataset
        ``pixels(block, value)``, packed, a record a field, in the order of wells and fields, with
        ``plate``, ``well``, ``plate_row``, ``plate_column`` and ``field`` over ``record``, labels
        as of the reader ``pictures``; ``attrs`` say ``wells`` (96, 384 or 1,536: the smallest
        plate that has them all), ``field_count`` (the most fields that a well has, or has by the
        numbers in the names) and ``spacing`` (y, x in micrometres) where the files agree on it. A
        field with fewer channels than the others, or that cannot be read or is there twice, keeps
        its record, with height 0 and the reason in ``put_aside``.

    Raises
    ------
    InputError
        No picture can be read.
    UsageError
        No files of such names, or of several plates.

    References
    ----------
    .. [1] The layout of .C01 is that which Bio-Formats reads (CellomicsReader).
    """
    uris = _files(url)
    pairs = paired(uris)
    more = [uri for uri in pairs.pictures if _rest(uri)]
    fields = _fields([uri for uri in pairs.pictures if not _rest(uri)])
    plates = sorted({key[0] for key in fields})
    if len(plates) != 1:
        raise UsageError(f"cellomics: files of {len(plates)} plates ({', '.join(plates[:3])})")
    notes = []
    if pairs.alone:
        name = pairs.alone[0].rpartition("/")[2]
        notes.append(f"{len(pairs.alone)} label images have no picture; the first: {name}")
    if more:
        name = more[0].rpartition("/")[2]
        notes.append(f"{len(more)} files have more behind their names, and are left out: {name}")
    keys = sorted(fields, key=lambda key: (len(key[1]), key[1:]))
    records, odd = _records(keys, fields, pairs.labels)
    if "wells" not in _plate_of(keys):
        last = max(keys, key=lambda key: (_row_number(key[1]), int(key[2])))
        odd.append(
            f"well {last[1]}{last[2]} is on no plate of {', '.join(map(str, _PLATES))} wells"
        )
    columns = {
        name: np.array([key[i] for key in keys])
        for i, name in enumerate(("plate", "plate_row", "plate_column", "field"))
    }
    columns["well"] = np.array([key[1] + key[2] for key in keys])
    ds = collection(
        records, _FORMAT, what=plates[0], columns=columns, channels=channels, block=block,
        notes=[*notes, *odd],
    )  # fmt: skip
    spacing, unlike = _spacing_of([r.files[0] for r in records])
    lines = [*ds.attrs.get("notes", ()), *unlike]
    return ds.assign_attrs(_plate_of(keys) | spacing | ({"notes": lines} if lines else {}))


Key = tuple[str, str, str, int]
"""Plate, row, column, field."""


def _fields(uris: Sequence[str]) -> dict[Key, dict[int, list[str]]]:
    """Return the files of each field by their channel."""
    fields: dict[Key, dict[int, list[str]]] = {}
    for uri in uris:
        name = _name_of(uri)
        if name is not None:
            key = (name.plate, name.row, name.column, name.field)
            fields.setdefault(key, {}).setdefault(name.channel, []).append(uri)
    return fields


def _records(
    keys: Sequence[Key], fields: Mapping[Key, Mapping[int, list[str]]], labels: Mapping[str, str]
) -> tuple[list[Record], list[str]]:
    """Return a record a field, and lines on what is odd."""
    usual = Counter(tuple(sorted(fields[key])) for key in keys).most_common(1)[0][0]
    records, unlike, formats = [], [], []
    for key in keys:
        channels = fields[key]
        chosen = [_preferred(channels[channel]) for channel in sorted(channels)]
        files = tuple(uris[0] for uris in chosen)
        label = next(
            (labels[uri] for uris in channels.values() for uri in uris if uri in labels), ""
        )
        several = next((uris for uris in chosen if len(uris) > 1), [])
        problem = f"{len(several)} pictures of this field: {', '.join(several)}; name one of them"
        formats += [uri for channel in sorted(channels) for uri in channels[channel]]
        formats = [uri for uri in formats if not any(uri in uris for uris in chosen)]
        name = files[0].rpartition("/")[2]
        if tuple(sorted(channels)) != usual:
            unlike.append(name)
        records.append(Record(name, files, label, problem if several else ""))
    lines = []
    if unlike:
        lines.append(
            f"{len(unlike)} fields have other channels than most ({', '.join(map(str, usual))}): "
            f"{', '.join(unlike[:_SHOWN])}"
        )
    if formats:
        lines.append(
            f"{len(formats)} pictures are there in another format too; taken is the microscope's "
            f"own: not {formats[0].rpartition('/')[2]}"
        )
    return records, lines


def _preferred(uris: Sequence[str]) -> list[str]:
    """Return those of several files of one picture whose format is nearest to the microscope's."""
    rank = {
        uri: min(k for k, suffix in enumerate(SUFFIXES) if uri.lower().endswith(suffix))
        for uri in uris
    }
    return [uri for uri in uris if rank[uri] == min(rank.values())]


def _plate_of(keys: Sequence[Key]) -> dict[str, int]:
    """Return the size of the plate and the most fields of a well."""
    rows = max(_row_number(key[1]) for key in keys) + 1
    columns = max(int(key[2]) for key in keys)
    fitting = [n for n, (r, c) in _PLATES.items() if rows <= r and columns <= c]
    fields = Counter(key[:3] for key in keys)
    largest = max(*fields.values(), *(key[3] + 1 for key in keys))
    return ({"wells": fitting[0]} if fitting else {}) | {"field_count": largest}


def _row_number(row: str) -> int:
    """Return the number of a row from 0: A to Z, then AA to AF."""
    return ord(row) - 65 if len(row) == 1 else 26 * (ord(row[0]) - 64) + ord(row[1]) - 65


def _spacing_of(uris: Sequence[str]) -> tuple[dict[str, list[float]], list[str]]:
    """Return the size of a pixel where the files agree on it, and a line where they do not."""
    own = [uri for uri in uris if uri.lower().endswith(cellomics.SUFFIXES)]
    sizes = Counter(
        header.spacing
        for header in sources.read_many(own, cellomics.look)
        if isinstance(header, cellomics.Header) and header.spacing
    )
    if len(sizes) > 1:
        told = ", ".join(f"{y:g} x {x:g}" for y, x in sorted(sizes))
        return {}, [f"pixels of unlike size ({told} micrometer): none is told for the plate"]
    (size,) = sizes or [None]
    return {} if size is None else {"spacing": list(size)}, []


def _look(file: BinaryIO) -> Facts:
    start = file.read(8)
    file.seek(0)
    if plain_pictures.is_known(start):
        return look_plain(file)
    header = cellomics.look(file)
    return Facts(header.height, header.width, header.planes, header.dtype)


def _read(data: bytes) -> np.ndarray:
    return plain_pictures.read(data) if plain_pictures.is_known(data[:8]) else cellomics.read(data)


_FORMAT = Format(_look, _read)


def _rest(uri: str) -> str:
    name = _name_of(uri)
    return name.rest if name else ""


def _name_of(uri: str) -> cellomics.Name | None:
    if not uri.lower().endswith(SUFFIXES):
        return None
    return cellomics.name_of(uri.rpartition("/")[2].rpartition(".")[0])


def _files(url: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> list[str]:
    uris: list[str] = []
    for one in sources.uris_of(url):
        if one.lower().endswith(SUFFIXES):
            uris.append(one)
        else:
            uris += [item.uri for item in sources.list_items(one)]
    named = [uri for uri in dict.fromkeys(uris) if _name_of(uri) is not None]
    if not named:
        raise UsageError(
            f"{url}: no file named as <plate>_<well>f<field>d<channel>, such as "
            "MFGTMPcx7_170702090001_A02f07d0.C01"
        )
    return sorted(named, key=natural_key)
