"""Formats of tracks in tables and JSON: Imaris, biotracks, btrack, celltrackR, immunemap.

Each function turns cells into `Rows`, in the units and with the frame base of the format. Knows
nothing of files, movies or channels. TrackMate stands in ``_trackmate.py``.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dpipe.readers._track_rows import SECONDS, Rows, unit_of
from dpipe.readers._trackmate import EDGES, SPOTS, read_edges, read_spots
from dpipe.spreadsheets import Table, Unfit, plain, table

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
FORMATS = (*HEADERS, "trackmate-xml", "immunemap", "celltrackr", "ctc")
_TITLE_ROWS = 10


def recognise(rows: Sequence[Sequence[str]], only: str | None) -> tuple[str, int]:
    """Find the header: the format and the number of its row.

    Parameters
    ----------
    rows : sequence of rows
        Of a table.
    only : str or None
        The format that a person named.

    Returns
    -------
    (str, int)
        Name of the format, row of the header.
    """
    for i, row in enumerate(rows[:_TITLE_ROWS]):
        names = {plain(cell) for cell in row}
        fitting = [
            name
            for name, needed in HEADERS.items()
            if only in (None, name) and names.issuperset(needed)
        ]
        if len(fitting) > 1:
            raise Unfit(f"may be {' or '.join(fitting)}; say which with format=")
        if fitting:
            return fitting[0], i
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
    if only:
        return f"not of format {only!r}: found {shown}; expected {', '.join(HEADERS[only])}"
    return f"of no known format: found {shown}; say format=, one of {', '.join(FORMATS)}"


def read_table(name: str, rows: Sequence[Sequence[str]], at: int, *, comma: bool) -> Rows:
    """Read a table whose format and header are known."""
    cells = table(rows[at], rows[at + 1 :], at + 2, comma)
    readers = {
        "imaris": _imaris,
        "trackmate": read_spots,
        "trackmate-edges": read_edges,
        "btrack": _btrack,
        "dpipe": _dpipe,
        "columns": _columns,
    }
    return readers[name](cells)


def _zyx(cells: Table, names: Sequence[str]) -> np.ndarray:
    """Stack places; an axis that is not there is 0."""
    axes = [cells.floats(n) if n in cells.columns else np.zeros(len(cells)) for n in names]
    return np.stack(axes, axis=1)


def _imaris(cells: Table) -> Rows:
    units = {unit_of(text) for text in set(cells.text("unit"))} if cells.has("unit") else {"um"}
    if len(units) > 1:
        raise Unfit("positions are in um and in pixels; expected one unit")
    owner = next((name for name in ("trackid", "parent") if cells.has(name)), "")
    none = np.full(len(cells), -1)
    kind = cells.text("category")[0].strip() if cells.has("category") and len(cells) else ""
    return Rows(
        track=cells.wholes(owner, empty=-1) if owner else none,
        zyx=_zyx(cells, ("position z", "position y", "position x")),
        unit=next(iter(units), "um"),
        frame=cells.wholes("time"),
        first=1,
        number=cells.wholes("id", empty=-1) if cells.has("id") else None,
        attrs={"object": kind} if kind else {},
    )


def _btrack(cells: Table) -> Rows:
    """Read btrack's objects; their label is a state of the cell, no track."""
    return Rows(
        track=np.full(len(cells), -1, dtype=np.int64),
        zyx=_zyx(cells, ("z", "y", "x")),
        unit="pixel",
        frame=cells.wholes("t"),
    )


def _dpipe(cells: Table) -> Rows:
    """Read what the writer ``csv`` made of a table of spots."""
    seconds = cells.floats("spot_t", finite=False) if cells.has("spot_t") else None
    return Rows(
        track=cells.wholes("track", empty=-1),
        zyx=_zyx(cells, ("spot_z", "spot_y", "spot_x")),
        frame=cells.wholes("frame"),
        seconds=None if seconds is None or np.isnan(seconds).any() else seconds,
        radius=cells.floats("spot_radius", finite=False) if cells.has("spot_radius") else None,
        number=cells.wholes("spot_id", empty=-1) if cells.has("spot_id") else None,
        annotator=np.asarray(cells.text("annotator"), str) if cells.has("annotator") else None,
    )


def _columns(cells: Table) -> Rows:
    """Read columns that say their units: track_id, frame or t_s, x_um, y_um, z_um."""
    if not cells.has("frame") and not cells.has("t_s"):
        raise Unfit(f"no column 'frame' or 't_s'; found {', '.join(cells.columns)}")
    return Rows(
        track=cells.wholes("track_id", empty=-1),
        zyx=_zyx(cells, ("z_um", "y_um", "x_um")),
        frame=cells.wholes("frame") if cells.has("frame") else None,
        seconds=cells.floats("t_s") if cells.has("t_s") else None,
    )


def read_celltrackr(text: str) -> Rows:
    """Read celltrackR's text without header: (row name,) track, time, x, y (, z)."""
    rows = [re.split(r"[\s,;]+", line.strip()) for line in text.splitlines() if line.strip()]
    width = len(rows[0]) if rows else 0
    header = {4: "track t x y", 5: "track t x y z", 6: "row track t x y z"}.get(width)
    if header is None:
        raise Unfit(f"{width} columns; expected track, time, x, y and maybe z")
    cells = table(header.split(), rows, 1, comma=False)
    return Rows(
        track=cells.wholes("track"),
        zyx=_zyx(cells, ("z", "y", "x")),
        seconds=cells.floats("t"),
        attrs={"assumed": ["positions are in micrometres, times in seconds"]},
    )


def read_biotracks(objects: Table, links: Table | None, tracks: Table | None, said: Any) -> Rows:
    """Join objects, links and tracks of a biotracks package.

    Parameters
    ----------
    objects, links, tracks : Table
        ``objects.csv``, ``links.csv`` and ``tracks.csv``, as far as there are any.
    said : mapping or None
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
            track_of = {int(link): int(one) for link, one in pairs}
        place = {int(one): i for i, one in enumerate(number)}
        for link, one in zip(
            links.wholes("cmso_link_id"), links.wholes("cmso_object_id"), strict=True
        ):
            if int(one) not in place:
                raise Unfit(f"links.csv: object {one} is not in objects.csv")
            mine = int(link) if track_of is None else track_of.get(int(link), -1)
            if track[place[int(one)]] not in (-1, mine):
                raise Unfit(f"object {one} is in two tracks; is tracks.csv missing?")
            track[place[int(one)]] = mine
    told = said if isinstance(said, Mapping) else {}
    if str(told.get("cmso_time_unit", "sec")) not in SECONDS:
        raise Unfit(f"times are in {told['cmso_time_unit']!r}; expected sec")
    return Rows(
        track=track,
        zyx=_zyx(objects, ("cmso_z_coord", "cmso_y_coord", "cmso_x_coord")),
        unit=unit_of(str(told.get("cmso_space_unit", "pixel"))),
        frame=objects.wholes("cmso_frame_id"),
        number=number,
        guessed_first=True,
    )


def read_json(text: str) -> Rows:
    """Read immunemap's tracks: points [t, x, y, z] in frames and pixels."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unfit(f"not JSON ({error})") from error
    tracks = found if isinstance(found, list) else None
    if tracks is None or not all(isinstance(t, dict) and "points" in t for t in tracks):
        raise Unfit("JSON, but not immunemap's: expected a list of tracks with 'points'")
    track, points, people = [], [], []
    for one in tracks:
        number = _whole(one.get("id"), "id")
        listed = one["points"] if isinstance(one["points"], list) else [one["points"]]
        for point in listed:
            points.append(_point(point, number))
            track.append(number)
            people.append(str(one.get("author", "")))
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


def _point(found: Any, track: int) -> list[float]:
    numbers = isinstance(found, list) and all(
        isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) for v in found
    )
    if not numbers or len(found) != 4:
        raise Unfit(f"track {track}: point {str(found)[:60]}; expected [t, x, y, z]")
    return [float(v) for v in found]


def _whole(found: Any, what: str) -> int:
    real = isinstance(found, int | float) and not isinstance(found, bool)
    if not real or not float(found).is_integer():
        raise Unfit(f"{what} is {found!r}; expected a whole number")
    return int(found)
