"""Files of tracks: how they are read, and by what their format is told.

Knows files, encodings, Excel and packages of several files. What the cells mean stands in
``_track_formats.py`` and ``_trackmate.py``.
"""

import io
import json
from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

from dpipe.errors import InputError
from dpipe.readers._track_formats import (
    HEADERS,
    read_biotracks,
    read_celltrackr,
    read_json,
    read_table,
    recognise,
)
from dpipe.readers._track_rows import Rows, Table, Unfit, grid, table
from dpipe.readers._trackmate import read_xml
from dpipe.sources import opened

SUFFIXES = (".csv", ".tsv", ".txt", ".xls", ".xlsx", ".xml", ".json")
EXCEL = (".xls", ".xlsx")
BIOTRACKS = ("objects.csv", "links.csv", "tracks.csv", "dp.json")


def read_all(uris: Sequence[str], named: str | None) -> Iterator[tuple[str, str, Rows]]:
    """Yield the rows of each file; a biotracks package is one."""
    if any(_name(uri) == BIOTRACKS[0] for uri in uris) or named == "biotracks":
        folder = "/".join(uris[0].split("/")[-2:])
        try:
            yield folder, uris[0], _package({_name(uri): uri for uri in uris})
        except Unfit as error:
            raise InputError(f"{folder}: {error}") from error
        return
    for uri in uris:
        name = _name(uri)
        try:
            yield name, uri, _read(uri, named)
        except Unfit as error:
            raise InputError(f"{name}: {error}") from error


def _name(uri: str) -> str:
    return uri.rpartition("/")[2]


def _bytes(uri: str) -> bytes:
    with opened(uri) as file:
        try:
            if not isinstance(file, str):
                return file.read()
            with open(file, "rb") as local:
                return local.read()
        except OSError as error:
            raise Unfit(f"cannot be read ({error.strerror or error})") from error


def _text(data: bytes) -> str:
    if b"\0" in data[:4096] and not data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise Unfit("not text; expected a table, XML or JSON")
    try:
        return data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _read(uri: str, named: str | None) -> Rows:
    """Read one file by its name's suffix, its first character, or the format that was named."""
    data = _bytes(uri)
    if not data.strip():
        raise Unfit("empty file; expected spots")
    if uri.lower().endswith(EXCEL) and named in (None, *HEADERS):
        rows, comma = _excel(data), False
    else:
        if named == "trackmate-xml" or (named is None and data.lstrip()[:1] == b"<"):
            return read_xml(data)
        text = _text(data)
        if named == "immunemap" or (named is None and text.lstrip()[:1] in ("[", "{")):
            return read_json(text)
        if named == "celltrackr":
            return read_celltrackr(text)
        rows, comma = grid(text)
    found, at = recognise(rows, named)
    return read_table(found, rows, at, comma=comma)


def _excel(data: bytes) -> list[list[str]]:
    """Read the sheet ``Position``, else the first; needs openpyxl (xlsx) or xlrd (xls)."""
    try:
        with pd.ExcelFile(io.BytesIO(data)) as book:
            sheet = "Position" if "Position" in book.sheet_names else 0
            cells = book.parse(sheet, header=None, dtype=str, keep_default_na=False)
    except ImportError as error:
        raise Unfit("Excel needs openpyxl or xlrd; install it, or save the sheet as CSV") from error
    except Exception as error:  # these libraries raise anything on damaged files
        raise Unfit(f"not readable as Excel ({type(error).__name__}: {error})") from error
    return [[str(cell) for cell in row] for row in cells.to_numpy().tolist()]


def _package(uris: Mapping[str, str]) -> Rows:
    if BIOTRACKS[0] not in uris:
        raise Unfit(f"no objects.csv; found {', '.join(uris)}")

    def cells(name: str) -> Table | None:
        if name not in uris:
            return None
        rows, comma = grid(_text(_bytes(uris[name])))
        if not rows:
            raise Unfit(f"{name} is empty")
        return table(rows[0], rows[1:], 2, comma)

    objects = cells(BIOTRACKS[0])
    try:
        said = json.loads(_text(_bytes(uris["dp.json"]))) if "dp.json" in uris else None
    except (ValueError, RecursionError) as error:
        raise Unfit(f"dp.json is not JSON ({error})") from error
    assert objects is not None  # noqa: S101 - for mypy; it is among the files
    return read_biotracks(objects, cells(BIOTRACKS[1]), cells(BIOTRACKS[2]), said)
