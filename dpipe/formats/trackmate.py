"""TrackMate: its file, its table of spots, and tables of edges made from it.

Places are in the unit that the file says, from the centre of the first pixel; frames count from
0. A track may split and merge.
"""

import re
from collections import Counter
from collections.abc import Iterator
from xml.etree import ElementTree as Xml

import numpy as np

from dpipe.formats.spreadsheets import Table, Unfit, whole
from dpipe.formats.track_columns import labels_below, stacked
from dpipe.formats.track_rows import Rows, word_of

SPOTS = ("track_id", "position_x", "position_y", "frame")
EDGES = ("spot_source_id", "spot_target_id", "track_id", "source_frame", "source_position_x")
_HIDDEN = ("0", "0.0", "false")


def read_spots(cells: Table) -> Rows:
    """Read the table of spots; up to three rows below its header repeat it, the last with units."""
    skipped = labels_below(cells, "frame", "position_x")
    places = ("position_x", "position_y", "position_z")
    units = {name: _bracketed(cells, name, skipped) for name in (*places, "position_t", "radius")}
    words = {word_of(units[name]): name for name in places if units[name]}
    unit = units["position_x"]
    if len(words) > 1:  # no unit of all, and none that is known: refused by these words
        unit = ", ".join(f"{units[name]} ({name})" for name in places)
    cut = cells.below(skipped)
    frame = cut.wholes("frame")
    rows = Rows(
        track=cut.wholes("track_id", empty=-1),
        zyx=stacked(cut, places[::-1]),
        unit=unit or "um",
        frame=frame,
        times=cut.floats("position_t", finite=False) if cut.has("position_t") else None,
        time_unit=units["position_t"],
        radius=cut.floats("radius", finite=False) if cut.has("radius") else None,
        number=cut.wholes("id", empty=-1) if cut.has("id") else None,
        assumed=[] if unit else ["positions are in micrometres"],
    )
    if units["radius"] and word_of(units["radius"]) != word_of(unit) and rows.radius is not None:
        rows.radius = None
        rows.notes.append(f"radius is in {units['radius']}, places are not: it is not read")
    if rows.times is not None and not rows.time_unit:
        if np.array_equal(rows.times, frame):  # an image without an interval, or one of 1 s
            rows.notes.append("times (position_t) are the numbers of frames; say interval=")
            rows.times = None
        else:
            rows.time_unit = "s"
            rows.assumed.append("times (position_t) are in seconds")
    if cut.has("visibility"):
        hidden = sum(cell.strip() in ("0", "0.0") for cell in cut.text("visibility"))
        rows.notes += [f"{hidden} spots are hidden in TrackMate; they are read"] if hidden else []
    rows.notes += cells.unread("label", "manual_spot_color", "manual_color")
    return rows


def _bracketed(cells: Table, name: str, rows: int) -> str:
    """Return the text in brackets in the rows below the header, "" for none."""
    texts = cells.text(name)[:rows] if cells.has(name) else []
    brackets = [m[1] for cell in texts if (m := re.fullmatch(r"\s*[(\[](.*)[)\]]\s*", cell))]
    return brackets[-1] if brackets else ""


def read_edges(cells: Table) -> Rows:
    """Read edges with the places of both ends; each spot counts once."""
    number = np.concatenate([cells.wholes("spot_source_id"), cells.wholes("spot_target_id")])
    _, once = np.unique(number, return_index=True)

    def ends(name: str) -> np.ndarray:
        columns = [f"source_{name}", f"target_{name}"]
        if not cells.has(*columns):
            return np.zeros(number.size)
        return np.concatenate([cells.floats(column) for column in columns])

    frame = [cells.wholes("source_frame"), cells.wholes("target_frame")]
    axes = [ends(f"position_{axis}") for axis in "zyx"]
    rows = Rows(
        track=np.tile(cells.wholes("track_id"), 2)[once],
        zyx=np.stack(axes, axis=1)[once],
        unit="pixel",
        frame=np.concatenate(frame)[once],
        number=number[once],
    )
    rows.notes += cells.unread()
    return rows


def read_model(root: Xml.Element) -> Rows:
    """Read a TrackMate file: visible spots, with the tracks that its filter keeps."""
    model = root.find("Model")
    if model is None or model.find("AllSpots") is None:
        raise Unfit("no <AllSpots> in the file; save it after detection")
    every = [*model.iterfind("AllSpots/SpotsInFrame/Spot")]
    shown = [spot for spot in every if spot.get("VISIBILITY", "1") not in _HIDDEN]
    spots = {whole_of(spot, "ID"): spot for spot in shown}
    if len(spots) < len(shown):
        twice = Counter(whole_of(spot, "ID") for spot in shown).most_common(1)[0][0]
        raise Unfit(f"two spots have the ID {twice}; expected one")
    notes = _left_out(model, len(every), len(spots))
    track = dict.fromkeys(spots, -1)
    for name, end in _ends(model):
        if end not in track:
            raise Unfit(f"track {name} has an edge to spot {end}, which is not there")
        if track[end] not in (-1, name):
            raise Unfit(f"spot {end} is in the tracks {track[end]} and {name}")
        track[end] = name
    image = root.find("Settings/ImageData")
    interval = number_of(image, "timeinterval", "nan") if image is not None else np.nan
    zyx = [[number_of(s, f"POSITION_{a}") for a in "ZYX"] for s in spots.values()]
    times = [number_of(s, "POSITION_T", "nan") for s in spots.values()]
    radius = [number_of(s, "RADIUS", "nan") for s in spots.values()]
    return Rows(
        track=np.asarray(list(track.values()), dtype=np.int64),
        zyx=np.asarray(zyx, dtype=np.float64).reshape(-1, 3),
        unit=model.get("spatialunits", ""),
        frame=np.asarray([whole_of(s, "FRAME") for s in spots.values()], dtype=np.int64),
        times=None if np.isnan(times).all() else np.asarray(times, dtype=np.float64),
        interval=interval if interval > 0 else None,
        time_unit=model.get("timeunits", ""),
        radius=np.asarray(radius, dtype=np.float64),
        number=np.asarray(list(spots), dtype=np.int64),
        branches=False,
        notes=notes,
    )


def _left_out(model: Xml.Element, every: int, visible: int) -> list[str]:
    """Return notes on the spots and tracks that TrackMate's own filters leave out."""
    lines = []
    if every > visible:
        lines.append(f"{every - visible} of {every} spots left out: TrackMate's filter hides them")
    tracks = {track.get("TRACK_ID") for track in model.iterfind("AllTracks/Track")}
    if model.find("FilteredTracks") is None:
        return lines + (["no <FilteredTracks> in the file: all tracks are taken"] if tracks else [])
    visible_tracks = {track.get("TRACK_ID") for track in model.iterfind("FilteredTracks/TrackID")}
    if lost := len(tracks - visible_tracks):
        lines.append(
            f"{lost} of {len(tracks)} tracks left out, as TrackMate's filter says; their spots "
            "have none"
        )
    return lines


def _ends(model: Xml.Element) -> Iterator[tuple[int, int]]:
    visible_tracks = None
    if model.find("FilteredTracks") is not None:
        visible_tracks = {
            whole_of(track, "TRACK_ID") for track in model.iterfind("FilteredTracks/TrackID")
        }
    for track in model.iterfind("AllTracks/Track"):
        name = whole_of(track, "TRACK_ID")
        if visible_tracks is None or name in visible_tracks:
            for edge in track.iterfind("Edge"):
                yield name, whole_of(edge, "SPOT_SOURCE_ID")
                yield name, whole_of(edge, "SPOT_TARGET_ID")


def number_of(element: Xml.Element, name: str, default: str = "") -> float:
    """Read a number of an element; infinities are none."""
    text = element.get(name, default)
    try:
        value = float(text)
    except ValueError:
        value = np.inf
    if np.isinf(value):
        who = f"spot {element.get('ID', '')[:20]}" if element.tag == "Spot" else f"<{element.tag}>"
        raise Unfit(f"{who}: {name} is {text[:60]!r}; expected a number")
    return value


def whole_of(element: Xml.Element, name: str) -> int:
    """Read a whole number of an element."""
    text = element.get(name, "").strip()
    value = whole(text)
    if value is None:
        number_of(element, name)
        raise Unfit(f"<{element.tag}>: {name} is {text[:60]}; expected a whole number")
    return value
