"""OME-XML: what it says of the pixels of an image.

Knows the elements and attributes of the schema, of any year. Which plane lies where stands in
``_tiff_ome_planes.py``. Not believed: the stage positions, since writers differ in what they
refer to.
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any
from xml.etree import ElementTree as Xml

import numpy as np

from dpipe.formats.frame_times import AGREE, named, settled
from dpipe.formats.measures import Said, duration, length, number, stamp
from dpipe.formats.tiff import Flaw

ORIGIN = "dpipe:origin"
"""Namespace of the map annotation in which dpipe's writer keeps the centre of the first voxel."""


def parsed(xml: str) -> Xml.Element:
    """Parse OME-XML; Python's expat (2.4.1 and later) bounds what entities may expand to."""
    try:
        return Xml.fromstring(xml)  # noqa: S314
    except (Xml.ParseError, ValueError) as error:
        raise Flaw(f"its OME-XML cannot be read: {error}") from error


def every(element: Xml.Element, tag: str) -> Iterator[Xml.Element]:
    """Yield the descendants of a name, in whatever year's namespace."""
    return (each for each in element.iter() if str(each.tag).rpartition("}")[2] == tag)


def ome_facts(
    xml: str, image: int, sizes: Mapping[str, int], frames: Sequence[int], wanted: Sequence[str]
) -> dict[str, Any]:
    """Gather what OME-XML says of one of its images.

    Parameters
    ----------
    xml : str
        The text.
    image : int
        Which image.
    sizes : mapping of str to int
        Sizes of the movie along t, c, z, y, x.
    frames : sequence of int
        Which frames the movie holds.
    wanted : sequence of {"spacing", "interval"}
        What no option overrules.

    Returns
    -------
    dict
        As `_tiff_facts.Found` lists.

    Raises
    ------
    Flaw
        A unit that nobody knows.
    """
    root = parsed(xml)
    images = list(every(root, "Image"))
    if image >= len(images):
        return {}
    held = images[image]
    pixels = next(every(held, "Pixels"), None)
    if pixels is None:
        return {}
    found: dict[str, Any] = {"name": held.get("Name", "")}
    found["recording_date"] = next((e.text for e in every(held, "AcquisitionDate")), "")
    if "spacing" in wanted:
        found["spacing"] = {
            dim: _told(pixels, f"PhysicalSize{dim.upper()}", length, "\u00b5m") for dim in "zyx"
        }
        if found["spacing"]["z"] == Said() and sizes.get("z", 1) > 1:
            found["spacing"]["z"] = Said(None, _staged(pixels))
    if "interval" in wanted:
        found |= _times(pixels, frames)
    channels = list(every(pixels, "Channel"))
    if len(channels) == sizes["c"]:
        names = [c.get("Name") or c.get("Fluor") or "" for c in channels]
        colors = [_color(c.get("Color")) for c in channels]
        if any(names):
            found["channels"] = [name or str(i) for i, name in enumerate(names)]
        if any(colors):
            found["colors"] = [color or "FFFFFF" for color in colors]
    return found | _origin(root, held)


def _told(element: Xml.Element, key: str, measure: Any, unit: str) -> Said:
    said: Said = measure(element.get(key), element.get(f"{key}Unit") or unit, key)
    return said


def _staged(pixels: Xml.Element) -> str:
    """Say how far apart the stage says that planes lie, where PhysicalSizeZ is not there."""
    places = dict[tuple[int, int], dict[int, tuple[float, str]]]()
    for plane in every(pixels, "Plane"):
        at, unit = number(plane.get("PositionZ")), plane.get("PositionZUnit") or ""
        if at is not None:
            key = _whole(plane.get("TheT")), _whole(plane.get("TheC"))
            places.setdefault(key, {})[_whole(plane.get("TheZ"))] = at, unit
    _, one = min(places.items(), default=(None, {}))
    if len(one) < 2:
        return ""
    ordered = sorted(one)
    steps = [(one[b][0] - one[a][0]) / (b - a) for a, b in itertools.pairwise(ordered)]
    step, unit = median(steps), one[ordered[0]][1]
    return f"PositionZ of its planes goes by {step:g} {unit}".strip() if step else ""


def _times(pixels: Xml.Element, frames: Sequence[int]) -> dict[str, Any]:
    """Return the times of frames by the stamps of their planes, else by the increment."""
    told = _told(pixels, "TimeIncrement", duration, "s")
    if len(frames) > 1 and _whole(pixels.get("SizeT", "0")) == 1:  # a file a frame
        return {"interval": told}
    stamps, doubt = _stamps(pixels)
    times, odd = _settled(stamps, frames)
    if times is None:
        if any(stamps.get(t) for t in frames):
            doubt = "DeltaT of its planes does not rise from frame to frame"
        if told.value is None or not doubt:
            return {"interval": told._replace(doubt="; ".join(filter(None, (told.doubt, doubt))))}
        return {"interval": told, "notes": [f"{doubt}; TimeIncrement is taken"]}
    notes = []
    if odd:
        notes.append(
            f"DeltaT of {named(odd)} is missing, stands still or goes back; "
            "their times lie evenly between those of the others"
        )
    step = float(median(np.diff(times) / np.diff(frames))) if len(times) > 1 else 0.0
    if told.value and step and abs(step - told.value) > AGREE * told.value:
        notes.append(
            f"frames are {step:g} s apart by DeltaT of their planes, which is taken; "
            f"TimeIncrement says {told.value:g} s"
        )
    return {"interval": told, "times": times, "notes": notes}


def _stamps(pixels: Xml.Element) -> tuple[dict[int, list[float]], str]:
    """Return the stamps of the planes of each frame, in seconds, the first plane's first.

    Where there are stamps and none is a time, say so.
    """
    found: dict[int, list[tuple[int, int, float]]] = {}
    doubt = ""
    for plane in every(pixels, "Plane"):
        said, unit = plane.get("DeltaT"), plane.get("DeltaTUnit") or "s"
        second = stamp(said, unit, "DeltaT")
        t, c, z = (_whole(plane.get(f"The{axis}")) for axis in "TCZ")
        if second is not None and t >= 0:
            found.setdefault(t, []).append((c, z, second))
        elif said:
            doubt = doubt or f"DeltaT of a plane is {said[:40]!r} {unit!r}, which is no time"
    ordered = {t: [second for *_, second in sorted(own)] for t, own in found.items()}
    return ordered, "" if ordered else doubt


def _settled(
    stamps: Mapping[int, Sequence[float]], frames: Sequence[int]
) -> tuple[list[float] | None, list[int]]:
    """Settle the times of frames; one odd plane does not make its frame odd."""
    own = [stamps.get(t, ()) for t in frames]
    ways: tuple[list[float | None], ...] = (
        [min(each, default=None) for each in own],
        [each[0] if each else None for each in own],
        [min(filter(None, each), default=None) for each in own],  # 0 stands for none, at times
    )
    tried = [_repaired(way, own, frames) for way in ways]
    return min(tried, key=lambda found: (found[0] is None, len(found[1])))


def _repaired(
    way: Sequence[float | None], own: Sequence[Sequence[float]], frames: Sequence[int]
) -> tuple[list[float] | None, list[int]]:
    """Settle stamps; for an odd one take another plane's, if that lies where it should."""
    times, odd = settled(way, frames)
    if times is None or not odd:
        return times, odd
    good = list(way)
    for i, t in enumerate(frames):
        if t in odd:
            low = times[i - 1] if i else -math.inf
            high = times[i + 1] if i + 1 < len(times) else math.inf
            good[i] = min((s for s in own[i] if low < s < high and len(own[i]) > 1), default=None)
    again = settled(good, frames)
    return again if again[0] is not None and len(again[1]) <= len(odd) else (times, odd)


def _whole(value: str | None) -> int:
    found = number(value if value is not None else 0)
    return int(found) if found is not None and abs(found) < 2**31 else -1


def _color(value: str | None) -> str:
    """RRGGBB of OME's signed 32-bit RGBA."""
    try:
        return f"{(int(value or '') & 0xFFFFFFFF) >> 8:06X}"
    except ValueError:
        return ""


def _origin(root: Xml.Element, image: Xml.Element) -> dict[str, Any]:
    wanted = {each.get("ID") for each in every(image, "AnnotationRef")}
    for each in every(root, "MapAnnotation"):
        if each.get("Namespace") == ORIGIN and each.get("ID") in wanted:
            held = {pair.get("K"): number(pair.text) for pair in every(each, "M")}
            origin = [held.get(dim) for dim in "zyx"]
            return {"origin": origin} if None not in origin else {}
    return {}
