"""Formats of tracks in tables and JSON: Imaris, biotracks, btrack, dpipe, immunemap.

Each function turns cells into `Rows`, in the units and with the frame base of the format. Knows
nothing of files, movies or channels. TrackMate stands in ``trackmate.py``, what else is told by
its columns in ``track_columns.py``.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dpipe.formats.spreadsheets import Table, Unfit, plain, table, whole
from dpipe.formats.track_columns import (
    NEEDED,
    PROGRAMS,
    joined,
    of_one_movie,
    read_columns,
    read_program,
    stacked,
    told,
)
from dpipe.formats.track_rows import LENGTHS, PIXELS, Rows, word_of
from dpipe.formats.trackmate import EDGES, SPOTS, read_edges, read_spots

IMARIS = ("position x", "position y", "position z", "time")
BTRACK = ("t", "x", "y", "z", "states", "label")
BIOTRACKS = ("cmso_object_id", "cmso_frame_id", "cmso_x_coord", "cmso_y_coord")
COLUMNS = ("track_id", "x_um", "y_um")
DPIPE = ("track", "frame", "spot_z", "spot_y", "spot_x")
HEADERS: dict[str, Sequence[str]] = {
    "imaris": IMARIS,
    "trackmate": SPOTS,
    "trackmate-edges": EDGES,
    "btrack": BTRACK,
    "biotracks": BIOTRACKS,
    "dpipe": DPIPE,
    "columns": COLUMNS,
}
"""Columns by which a format is recognised, in lower case."""
TABLES = (*HEADERS, *PROGRAMS)
FORMATS = (*TABLES, "trackmate-xml", "tracks-xml", "immunemap", "celltrackr", "mtrackj", "ctc")
_TITLE_ROWS = 10
_FAR = 1e300
_WITHOUT_PLACES = {
    "TrackMate's table of links": {"spot_source_id", "spot_target_id"},
    "TrackMate's table of tracks": {"number_spots", "track_duration"},
    "trackastra's table of links": {"source_frame", "source_label"},
    "a table of links": {"source_track_id", "target_track_id"},
}


def recognise(rows: Sequence[Sequence[str]], only: str | None) -> tuple[str, int, list[str]]:
    """Find the header: the format, the number of the row before the data, and its names.

    Parameters
    ----------
    rows : sequence of rows
        Of a table.
    only : str or None
        The format that a person named.
    """
    listed = [list(row) for row in rows[: _TITLE_ROWS + 1]]
    for i, row in enumerate(listed[:_TITLE_ROWS]):
        names = [plain(cell) for cell in row]
        fitting = [
            name
            for name, needed in HEADERS.items()
            if only in (None, name) and set(names).issuperset(needed)
        ]
        if len(fitting) > 1:
            raise Unfit(f"may be {' or '.join(fitting)}; say which with format=")
        if fitting:
            return fitting[0], i, names
        for header, row_number in ((names, i), (joined(listed, i), i + 1)):
            format_name = told(header)
            if only in PROGRAMS:
                format_name = only if PROGRAMS[only].fits(header) else None
            if format_name is not None and only in (None, format_name, "columns"):
                return (only or format_name), row_number, header
    raise Unfit(_unknown(rows, only))


def _unknown(rows: Sequence[Sequence[str]], only: str | None) -> str:
    head = [row for row in rows[:_TITLE_ROWS] if any(cell.strip() for cell in row)]
    head.sort(key=len, reverse=True)  # titles are short
    shown = ", ".join(cell.strip() for cell in head[0] if cell.strip())[:120] if head else "nothing"
    names = {cell.strip().lower() for row in head for cell in row}
    if {"time", "trackid", "unit"} <= names:
        return f"an Imaris statistic without positions ({shown}); export 'Position'"
    if head and all(re.fullmatch(r"\d+(\s+\d+){3}", " ".join(row).strip()) for row in rows if row):
        return "tracks without positions; if it is man_track.txt, give its label images too"
    for what, columns in _WITHOUT_PLACES.items():
        if columns <= names:
            return f"{what}, without the places of spots ({shown}); export the table of spots"
    if only:
        needed = HEADERS.get(only, NEEDED)
        expected = needed if isinstance(needed, str) else ", ".join(needed)
        if only in PROGRAMS:
            called = PROGRAMS[only].columns
            expected = ", ".join(called[what] for what in ("track", "frame", "y", "x"))
        return f"not of format {only!r}: found {shown}; expected {expected}"
    return (
        f"of no known format: found {shown}; rename columns so that there are {NEEDED}; of text "
        "without a header (track, time, x, y, z), say format=celltrackr"
    )


def read_table(
    name: str,
    rows: Sequence[Sequence[str]],
    row_number: int,
    header: Sequence[str],
    *,
    comma: bool,
    movie: str | None = None,
) -> Rows:
    """Read a table whose format and header are known, or of it the rows of one movie."""
    cells = of_one_movie(table(header, rows[row_number + 1 :], row_number + 2, comma), movie)
    if name in PROGRAMS:
        return _of_movie(read_program(cells, name), movie)
    readers = {
        "imaris": _imaris,
        "trackmate": read_spots,
        "trackmate-edges": read_edges,
        "btrack": _btrack,
        "biotracks": lambda objects: read_biotracks(objects, None, None, None),
        "dpipe": _dpipe,
        "columns": read_columns,
    }
    return _of_movie(readers[name](cells), movie)


def _of_movie(rows: Rows, movie: str | None) -> Rows:
    """Note that frames may be counted through all movies of a table, of which this is one."""
    low = int(rows.frame.min()) if rows.frame is not None and rows.frame.size else rows.first
    if movie is not None and low > rows.first:
        rows.notes.append(
            f"the first spot of movie {movie!r} is in frame {low}; if frames are counted through "
            f"all movies, say first_frame={low}"
        )
    return rows


def _imaris(cells: Table) -> Rows:
    units = sorted({word_of(text) for text in cells.text("unit")}) if cells.has("unit") else []
    if len({LENGTHS.get(word, "pixels" if word in PIXELS else word) for word in units}) > 1:
        raise Unfit(f"positions are in {' and in '.join(units)}; expected one unit")
    owner = next((name for name in ("trackid", "parent") if cells.has(name)), "")
    none = np.full(len(cells), -1)
    kind = cells.text("category")[0].strip() if cells.has("category") and len(cells) else ""
    rows = Rows(
        track=cells.wholes(owner, empty=-1) if owner else none,
        zyx=stacked(cells, ("position z", "position y", "position x")),
        unit=units[0] if units else "um",
        frame=cells.wholes("time"),
        first=1,
        number=cells.wholes("id", empty=-1) if cells.has("id") else None,
        assumed=[] if units else ["positions are in micrometres"],
        attrs={"object": kind} if kind else {},
    )
    rows.notes += cells.unread("collection", "category", "surpass object")
    return rows


def _btrack(cells: Table) -> Rows:
    """Read btrack's objects; their label is a state of the cell, no track."""
    rows = Rows(
        track=np.full(len(cells), -1, dtype=np.int64),
        zyx=stacked(cells, ("z", "y", "x")),
        unit="pixel",
        frame=cells.wholes("t"),
    )
    rows.notes += cells.unread()
    return rows


def _dpipe(cells: Table) -> Rows:
    """Read a table of spots of the writer ``csv``."""
    times = cells.floats("spot_t", finite=False) if cells.has("spot_t") else None
    rows = Rows(
        track=cells.wholes("track", empty=-1),
        zyx=stacked(cells, ("spot_z", "spot_y", "spot_x")),
        frame=cells.wholes("frame"),
        times=None if times is None or np.isnan(times).all() else times,
        radius=cells.floats("spot_radius", finite=False) if cells.has("spot_radius") else None,
        number=cells.wholes("spot_id", empty=-1) if cells.has("spot_id") else None,
        annotator=np.asarray(cells.text("annotator"), str) if cells.has("annotator") else None,
    )
    rows.notes += cells.unread("spot")
    return rows


def read_biotracks(objects: Table, links: Table | None, tracks: Table | None, package: Any) -> Rows:
    """Join objects, links and tracks of a biotracks package.

    Parameters
    ----------
    objects, links, tracks : Table
        ``objects.csv``, ``links.csv`` and ``tracks.csv``, as far as there are any.
    package : mapping or None
        ``dp.json``.

    Returns
    -------
    Rows
        One spot an object.
    """
    number = objects.wholes("cmso_object_id")
    track = np.full(len(objects), -1, dtype=np.int64)
    if links is not None:
        track_of: Mapping[int, int] | None = None
        if tracks is not None:
            pairs = zip(tracks.wholes("cmso_link_id"), tracks.wholes("cmso_track_id"), strict=True)
            track_of = {int(link): int(track_id) for link, track_id in pairs}
        place = {int(object_id): i for i, object_id in enumerate(number)}
        for link, object_id in zip(
            links.wholes("cmso_link_id"), links.wholes("cmso_object_id"), strict=True
        ):
            if int(object_id) not in place:
                raise Unfit(f"links.csv: object {object_id} is not in objects.csv")
            mine = int(link) if track_of is None else track_of.get(int(link), -1)
            if track[place[int(object_id)]] not in (-1, mine):
                raise Unfit(f"object {object_id} is in two tracks; is tracks.csv missing?")
            track[place[int(object_id)]] = mine
    described = package if isinstance(package, Mapping) else {}
    rows = Rows(
        track=track,
        zyx=stacked(objects, ("cmso_z_coord", "cmso_y_coord", "cmso_x_coord")),
        unit=str(described.get("cmso_space_unit", "pixel")),
        frame=objects.wholes("cmso_frame_id"),
        number=number,
        guessed_first=True,
    )
    rows.notes += objects.unread()
    return rows


def read_json(text: str) -> Rows:
    """Read immunemap's tracks: points [t, x, y, z] in frames and pixels."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unfit(f"not JSON ({error})") from error
    tracks = document if isinstance(document, list) else None
    if tracks is None or not all(isinstance(t, dict) and "points" in t for t in tracks):
        raise Unfit("JSON, but not immunemap's: expected a list of tracks with 'points'")
    track, points, people = [], [], []
    for entry in tracks:
        number = _whole(entry.get("id"), "id")
        listed = entry["points"] if isinstance(entry["points"], list) else [entry["points"]]
        for point in listed:
            points.append(_point(point, number))
            track.append(number)
            people.append(str(entry.get("author", "")))
    frame = [
        _whole(point[0], f"time of a point of track {t}")
        for t, point in zip(track, points, strict=True)
    ]
    place = np.asarray(points, dtype=np.float64).reshape(-1, 4)
    flat = place.size > 0 and bool((place[:, 3] == 1).all())
    zyx = np.stack([place[:, 3] - flat, place[:, 2], place[:, 1]], axis=1)
    return Rows(
        track=np.asarray(track, dtype=np.int64),
        zyx=zyx,
        unit="pixel",
        frame=np.asarray(frame, dtype=np.int64),
        annotator=np.asarray(people, str) if len(set(people)) > 1 else None,
    )


def _point(value: Any, track: int) -> list[float]:
    numbers = isinstance(value, list) and all(
        isinstance(v, int | float) and not isinstance(v, bool) and abs(v) < _FAR for v in value
    )
    if not numbers or len(value) != 4:
        raise Unfit(f"track {track}: point {str(value)[:60]}; expected [t, x, y, z]")
    return [float(v) for v in value]


def _whole(value: Any, what: str) -> int:
    number = None if isinstance(value, bool | str) else whole(str(value))
    if number is None:
        raise Unfit(f"{what} is {repr(value)[:60]}; expected a whole number")
    return number
