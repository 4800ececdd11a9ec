"""Tracks in XML and in text without a header: TrackMate, Icy, MTrackJ, celltrackR.

What holds its points track by track gives them without numbers of its own, so tracks are numbered
in the order of the file. Knows nothing of tables.
"""

import re
from collections.abc import Iterable
from xml.etree import ElementTree as Xml

import numpy as np

from dpipe.formats.spreadsheets import Unfit, table, whole
from dpipe.formats.track_rows import Rows
from dpipe.formats.trackmate import number_of, read_model, whole_of

_TRACKS = {"Tracks": "particle", "TrackContestISBI2012": "particle", "trackgroup": "track"}
"""What holds tracks in XML that is not TrackMate's own, and what it calls one."""
_CLUSTER = 1 << 32


def read_xml(text: bytes) -> Rows:
    """Read TrackMate's file, or what it exports for others: tracks of detections."""
    try:
        root = Xml.fromstring(text)  # noqa: S314 - expat bounds what entities may grow to
    except (Xml.ParseError, ValueError, LookupError) as error:
        raise Unfit(f"not XML ({error})") from error
    if root.tag == "TrackMate":
        return read_model(root)
    groups = [element for element in root.iter() if element.tag in _TRACKS]
    if not groups:
        raise Unfit(
            f"XML, but not TrackMate's: found <{root.tag}>; expected <TrackMate>, <Tracks>, "
            "<TrackContestISBI2012> or Icy's <trackgroup>"
        )
    tracks = [owner for group in groups for owner in group.iterfind(_TRACKS[group.tag])]
    detections = [
        (i, point) for i, owner in enumerate(tracks) for point in owner.iterfind("detection")
    ]
    zyx = [[number_of(point, axis, "0") for axis in "zyx"] for _, point in detections]
    units = groups[0].attrib if groups[0].tag == "Tracks" else {}
    interval = number_of(groups[0], "frameInterval", "nan") if units else np.nan
    return Rows(
        track=np.asarray([i for i, _ in detections], dtype=np.int64),
        zyx=np.asarray(zyx, dtype=np.float64).reshape(-1, 3),
        unit=units.get("spaceUnits", "") if units else "pixel",
        frame=np.asarray([whole_of(point, "t") for _, point in detections], dtype=np.int64),
        interval=interval if interval > 0 else None,
        time_unit=units.get("timeUnits", ""),
        assumed=["tracks are numbered from 0 in the order of the file"],
    )


def read_mtrackj(text: str) -> Rows:
    """Read MTrackJ's data file: x and y from 0, slices, frames and channels from 1.

    Where clusters number their tracks alike, those of cluster k (from 1) grow by k - 1 times 2 to
    the power of 32.
    """
    owners, points, channels = list[tuple[int, int]](), list[list[float]](), set[str]()
    cluster = number = 0
    for i, line in enumerate(text.splitlines(), 1):
        kind, *cells = line.split() or [""]
        if kind in ("Cluster", "Track"):
            count = whole(cells[0]) if cells else None
            if count is None or not 0 <= count < _CLUSTER // 4:
                raise Unfit(f"line {i}: {line.strip()[:60]!r}; expected the number of a {kind}")
            cluster, number = (count, number) if kind == "Cluster" else (cluster, count)
        elif kind == "Point":
            owners.append((cluster, number))
            points.append(_point(line, i))
            channels |= set(cells[5:6])
    shift = _CLUSTER * (len(set(owners)) > len({track for _, track in owners}))
    x, y, z, t = np.asarray(points, dtype=np.float64).reshape(-1, 4).T
    several = f"spots of the channels {', '.join(sorted(channels))} are together"
    return Rows(
        track=np.asarray([track + max(0, c - 1) * shift for c, track in owners], dtype=np.int64),
        zyx=np.stack([z - 1, y, x], axis=1),
        unit="pixel",
        frame=t.astype(np.int64),
        first=1,
        notes=[several] if len(channels) > 1 else [],
    )


def _point(line: str, number: int) -> list[float]:
    """Return x, y, z and the frame of a point."""
    _, *cells = line.split()
    try:
        place = [float(cell) for cell in cells[1:5]]
        frame = whole(cells[4])
    except (ValueError, IndexError):
        frame = None
    if frame is None or len(cells) > 6 or not np.isfinite(place).all():
        raise Unfit(f"line {number}: {line.strip()[:60]!r}; expected Point id x y z t c, t whole")
    return place


def read_celltrackr(text: str) -> Rows:
    """Read celltrackR's text: (row name,) track, time, x, y (, z), maybe with its own header."""
    rows = [re.split(r"[\s,;]+", line.strip()) for line in text.splitlines() if line.strip()]
    names = [cell.strip('"').lower() for cell in rows[0]] if rows else []
    if names[-4:] == ["id", "t", "x", "y"] or names[-5:] == ["id", "t", "x", "y", "z"]:
        rows = [[cell.strip('"') for cell in row] for row in rows[1:]]
    width = len(rows[0]) if rows else 0
    header = {4: "track t x y", 5: "track t x y z", 6: "row track t x y z"}.get(width)
    if header is None:
        raise Unfit(f"{width} columns; expected track, time, x, y and maybe z")
    cells = table(header.split(), rows, 1, comma=False)
    axes: Iterable[str] = ("z", "y", "x")
    places = [cells.floats(n) if cells.has(n) else np.zeros(len(cells)) for n in axes]
    return Rows(
        track=cells.wholes("track"),
        zyx=np.stack(places, axis=1),
        times=cells.floats("t"),
        assumed=["positions are in micrometres, times in seconds"],
    )
