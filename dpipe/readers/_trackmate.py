"""TrackMate: its XML, its table of spots, and tables of edges made from it.

Places are in the unit that the file says, from the centre of the first pixel; frames count from
0. A track may split and merge.
"""

from collections.abc import Iterator
from xml.etree import ElementTree as Xml

import numpy as np

from dpipe.readers._track_rows import SECONDS, Rows, unit_of
from dpipe.spreadsheets import Table, Unfit

SPOTS = ("track_id", "position_x", "position_y", "frame")
EDGES = ("spot_source_id", "spot_target_id", "track_id", "source_frame", "source_position_x")


def read_spots(cells: Table) -> Rows:
    """Read the table of spots; three rows below its header repeat it for people, with units."""
    said, unit = 0, "um"
    for i, cell in enumerate(cells.text("frame")[:3]):
        if cell.strip().lstrip("-").isdigit():
            break
        said = i + 1
        if said == 3:
            unit = unit_of(cells.text("position_x")[i].strip().strip("()"))
    cut = Table({k: v[said:] for k, v in cells.columns.items()}, cells.line + said, cells.comma)
    axes = [
        cut.floats(n) if cut.has(n) else np.zeros(len(cut))
        for n in ("position_z", "position_y", "position_x")
    ]
    assumed = [] if said == 3 else ["positions are in micrometres"]
    return Rows(
        track=cut.wholes("track_id", empty=-1),
        zyx=np.stack(axes, axis=1),
        unit=unit,
        frame=cut.wholes("frame"),
        radius=cut.floats("radius", finite=False) if cut.has("radius") else None,
        number=cut.wholes("id", empty=-1) if cut.has("id") else None,
        attrs={"assumed": assumed} if assumed else {},
    )


def read_edges(cells: Table) -> Rows:
    """Read edges with the places of both ends; each spot counts once."""
    number = np.concatenate([cells.wholes("spot_source_id"), cells.wholes("spot_target_id")])
    _, once = np.unique(number, return_index=True)

    def ends(name: str) -> np.ndarray:
        both = [f"source_{name}", f"target_{name}"]
        if not cells.has(*both):
            return np.zeros(number.size)
        return np.concatenate([cells.floats(each) for each in both])

    frame = [cells.wholes("source_frame"), cells.wholes("target_frame")]
    axes = [ends(f"position_{axis}") for axis in "zyx"]
    return Rows(
        track=np.tile(cells.wholes("track_id"), 2)[once],
        zyx=np.stack(axes, axis=1)[once],
        unit="pixel",
        frame=np.concatenate(frame)[once],
        number=number[once],
    )


def read_xml(text: bytes) -> Rows:
    """Read a TrackMate file: visible spots, with the tracks that its filter keeps."""
    try:
        root = Xml.fromstring(text)  # noqa: S314 - expat bounds what entities may grow to
    except (Xml.ParseError, ValueError, LookupError) as error:
        raise Unfit(f"not XML ({error})") from error
    if root.tag != "TrackMate":
        raise Unfit(f"XML, but not TrackMate's: found <{root.tag}>")
    model = root.find("Model")
    if model is None or model.find("AllSpots") is None:
        raise Unfit("no <AllSpots> in the file; save it after detection")
    spots = {
        _whole(spot, "ID"): spot
        for spot in model.iterfind("AllSpots/SpotsInFrame/Spot")
        if spot.get("VISIBILITY", "1") != "0"
    }
    track = dict.fromkeys(spots, -1)
    for name, end in _ends(model):
        if end not in track:
            raise Unfit(f"track {name} has an edge to spot {end}, which is not there")
        if track[end] not in (-1, name):
            raise Unfit(f"spot {end} is in the tracks {track[end]} and {name}")
        track[end] = name
    image = root.find("Settings/ImageData")
    interval = _number(image, "timeinterval") if image is not None else None
    timed = model.get("timeunits", "").lower() in SECONDS
    zyx = [[_number(s, f"POSITION_{a}") for a in "ZYX"] for s in spots.values()]
    return Rows(
        track=np.asarray(list(track.values()), dtype=np.int64),
        zyx=np.asarray(zyx, dtype=np.float64).reshape(-1, 3),
        unit=unit_of(model.get("spatialunits", "")),
        frame=np.asarray([_whole(s, "FRAME") for s in spots.values()], dtype=np.int64),
        interval=interval if timed and interval else None,
        radius=np.asarray([_number(s, "RADIUS", "nan") for s in spots.values()], dtype=np.float64),
        number=np.asarray(list(spots), dtype=np.int64),
        branches=False,
    )


def _ends(model: Xml.Element) -> Iterator[tuple[int, int]]:
    kept = {_whole(one, "TRACK_ID") for one in model.iterfind("FilteredTracks/TrackID")}
    for one in model.iterfind("AllTracks/Track"):
        name = _whole(one, "TRACK_ID")
        if name in kept:
            for edge in one.iterfind("Edge"):
                yield name, _whole(edge, "SPOT_SOURCE_ID")
                yield name, _whole(edge, "SPOT_TARGET_ID")


def _number(element: Xml.Element, name: str, default: str = "") -> float:
    text = element.get(name, default)
    try:
        return float(text)
    except ValueError:
        who = f"spot {element.get('ID')}" if element.tag == "Spot" else f"<{element.tag}>"
        raise Unfit(f"{who}: {name} is {text!r}; expected a number") from None


def _whole(element: Xml.Element, name: str) -> int:
    value = _number(element, name)
    if not value.is_integer():
        raise Unfit(f"<{element.tag}>: {name} is {value}; expected a whole number")
    return int(value)
