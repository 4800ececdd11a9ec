"""Files of tracks: how they are read, and by what their format is told.

Knows suffixes, first characters and packages of several files. What the cells mean stands in
``track_tables.py``, ``track_columns.py``, ``track_texts.py`` and ``trackmate.py``.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from dpipe.errors import InputError
from dpipe.formats.cell_tracking_challenge import TEXTS, read_tracks
from dpipe.formats.spreadsheets import (
    EXCEL,
    Table,
    Unfit,
    as_text,
    grid,
    read_bytes,
    read_rows,
    table,
)
from dpipe.formats.track_rows import Rows
from dpipe.formats.track_tables import TABLES, read_biotracks, read_json, read_table, recognise
from dpipe.formats.track_texts import read_celltrackr, read_mtrackj, read_xml

SUFFIXES = (".csv", ".tsv", ".txt", ".xls", ".xlsx", ".xml", ".json", ".mdf")
BIOTRACKS = ("objects.csv", "links.csv", "tracks.csv", "dp.json")


def read_all(
    uris: Sequence[str],
    named: str | None,
    movie: str | None = None,
    *,
    gaps: bool = False,
    background: int = 0,
) -> Iterator[tuple[str, str, Rows]]:
    """Yield the rows of each file; a package (biotracks, ctc) is one."""
    names = {_name(uri): uri for uri in uris}
    is_package = named == "biotracks" or BIOTRACKS[0] in names
    package: Callable[[Mapping[str, str]], Rows] | None = _package if is_package else None
    if named == "ctc" or not names.keys().isdisjoint(TEXTS):
        package = partial(read_tracks, gaps=gaps, background=background)
    if package is not None:
        folder = "/".join(uris[0].split("/")[-2:])
        try:
            yield folder, uris[0], package(names)
        except Unfit as error:
            raise InputError(f"{folder}: {error}") from error
        return
    for uri in uris:
        name = _name(uri)
        try:
            yield name, uri, _read(uri, named, movie)
        except Unfit as error:
            raise InputError(f"{name}: {error}") from error


def _name(uri: str) -> str:
    return uri.rpartition("/")[2]


def _read(uri: str, named: str | None, movie: str | None) -> Rows:
    """Read one file by its name's suffix, how it begins, or the format that was named."""
    data = read_bytes(uri)
    if data.startswith(b"\x89HDF"):
        raise Unfit("HDF5; expected a table, XML or JSON: export the tracks as CSV")
    if not uri.lower().endswith(EXCEL) or named not in (None, *TABLES):
        if named in ("trackmate-xml", "tracks-xml") or (named is None and _begins(data, "<")):
            return read_xml(data)
        if named == "celltrackr":
            return read_celltrackr(as_text(data))
        if named == "mtrackj" or (named is None and _begins(data, "MTrackJ")):
            return read_mtrackj(as_text(data))
        if named == "immunemap" or (named is None and _begins(data, "[", "{")):
            return read_json(as_text(data))
    rows, comma = read_rows(uri, data, sheet="Position")
    format_name, header_row, header = recognise(rows, named)
    return read_table(format_name, rows, header_row, header, comma=comma, movie=movie)


def _begins(data: bytes, *texts: str) -> bool:
    """Tell whether a file begins with one of some texts, in whatever encoding."""
    start = data[:64].removeprefix(b"\xef\xbb\xbf").replace(b"\0", b"").lstrip(b"\xff\xfe \t\r\n")
    return start.startswith(tuple(text.encode() for text in texts))


def _package(uris: Mapping[str, str]) -> Rows:
    if BIOTRACKS[0] not in uris:
        raise Unfit(f"no objects.csv; found {', '.join(uris)}")

    def cells(name: str) -> Table | None:
        if name not in uris:
            return None
        rows, comma = grid(as_text(read_bytes(uris[name])))
        return table(rows[0] if rows else [], rows[1:], 2, comma)

    objects = cells(BIOTRACKS[0])
    try:
        description = (
            json.loads(as_text(read_bytes(uris["dp.json"]))) if "dp.json" in uris else None
        )
    except (ValueError, RecursionError) as error:
        raise Unfit(f"dp.json is not JSON ({error})") from error
    assert objects is not None  # noqa: S101 - for mypy; it is among the files
    return read_biotracks(objects, cells(BIOTRACKS[1]), cells(BIOTRACKS[2]), description)
