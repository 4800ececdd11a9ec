"""OME-XML: what it says of the pixels of an image.

Knows the elements and attributes of the schema, of any year. Which plane lies where stands in
``dpipe.readers.tiff.ome_planes``. Not believed: the stage positions, since writers differ in
what they refer to.
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any
from xml.etree import ElementTree as Xml

import numpy as np

from dpipe.formats.frame_times import AGREE, named, settled
from dpipe.formats.measures import HeaderFacts, Quantity, duration, length, number, stamp
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
    return (child for child in element.iter() if str(child.tag).rpartition("}")[2] == tag)


def ome_facts(
    xml: str, image: int, sizes: Mapping[str, int], frames: Sequence[int], quantities: Sequence[str]
) -> HeaderFacts:
    """Gather the facts of one image of an OME-XML.

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
    quantities : sequence of {"spacing", "interval"}
        What no option overrules.

    Returns
    -------
    HeaderFacts
        Nothing where there is no such image.

    Raises
    ------
    Flaw
        A unit that nobody knows.
    """
    root = parsed(xml)
    images = list(every(root, "Image"))
    if image >= len(images):
        return {}
    element = images[image]
    pixels = next(every(element, "Pixels"), None)
    if pixels is None:
        return {}
    dates = [date.text or "" for date in every(element, "AcquisitionDate")]
    facts: HeaderFacts = {"name": element.get("Name", ""), "recording_date": "".join(dates[:1])}
    if "spacing" in quantities:
        facts["spacing"] = {
            dim: _told(pixels, f"PhysicalSize{dim.upper()}", length, "\u00b5m") for dim in "zyx"
        }
        if facts["spacing"]["z"] == Quantity() and sizes.get("z", 1) > 1:
            facts["spacing"]["z"] = Quantity(None, _staged(pixels))
    if "interval" in quantities:
        facts |= _times(pixels, frames)
    channels = list(every(pixels, "Channel"))
    if len(channels) == sizes["c"]:
        names = [c.get("Name") or c.get("Fluor") or "" for c in channels]
        colors = [_color(c.get("Color")) for c in channels]
        if any(names):
            facts["channels"] = [name or str(i) for i, name in enumerate(names)]
        if any(colors):
            facts["colors"] = [color or "FFFFFF" for color in colors]
    return facts | _origin(root, element)


def _told(element: Xml.Element, key: str, measure: Any, unit: str) -> Quantity:
    quantity: Quantity = measure(element.get(key), element.get(f"{key}Unit") or unit, key)
    return quantity


def _staged(pixels: Xml.Element) -> str:
    """Return a doubt that quotes the stage's step of planes, where PhysicalSizeZ is missing."""
    places = dict[tuple[int, int], dict[int, tuple[float, str]]]()
    for plane in every(pixels, "Plane"):
        position, unit = number(plane.get("PositionZ")), plane.get("PositionZUnit") or ""
        if position is not None:
            key = _whole(plane.get("TheT")), _whole(plane.get("TheC"))
            places.setdefault(key, {})[_whole(plane.get("TheZ"))] = position, unit
    _, positions = min(places.items(), default=(None, {}))
    if len(positions) < 2:
        return ""
    ordered = sorted(positions)
    steps = [(positions[b][0] - positions[a][0]) / (b - a) for a, b in itertools.pairwise(ordered)]
    step, unit = median(steps), positions[ordered[0]][1]
    return f"PositionZ of its planes goes by {step:g} {unit}".strip() if step else ""


def _times(pixels: Xml.Element, frames: Sequence[int]) -> HeaderFacts:
    """Return the times of frames by the stamps of their planes, else by the increment."""
    increment = _told(pixels, "TimeIncrement", duration, "s")
    if len(frames) > 1 and _whole(pixels.get("SizeT", "0")) == 1:  # a file a frame
        return {"interval": increment}
    stamps, doubt = _stamps(pixels)
    times, odd = _settled(stamps, frames)
    if times is None:
        if any(stamps.get(t) for t in frames):
            doubt = "DeltaT of its planes does not rise from frame to frame"
        if increment.value is None or not doubt:
            doubts = filter(None, (increment.doubt, doubt))
            return {"interval": increment._replace(doubt="; ".join(doubts))}
        return {"interval": increment, "notes": [f"{doubt}; TimeIncrement is taken"]}
    notes = []
    if odd:
        notes.append(
            f"DeltaT of {named(odd)} is missing, stands still or goes back; "
            "their times lie evenly between those of the others"
        )
    step = float(median(np.diff(times) / np.diff(frames))) if len(times) > 1 else 0.0
    if increment.value and step and abs(step - increment.value) > AGREE * increment.value:
        notes.append(
            f"frames are {step:g} s apart by DeltaT of their planes, which is taken; "
            f"TimeIncrement says {increment.value:g} s"
        )
    return {"interval": increment, "times": times, "notes": notes}


def _stamps(pixels: Xml.Element) -> tuple[dict[int, list[float]], str]:
    """Return the stamps of the planes of each frame, in seconds, the first plane's first.

    Where there are stamps and none is a time, say so.
    """
    stamps: dict[int, list[tuple[int, int, float]]] = {}
    doubt = ""
    for plane in every(pixels, "Plane"):
        text, unit = plane.get("DeltaT"), plane.get("DeltaTUnit") or "s"
        second = stamp(text, unit, "DeltaT")
        t, c, z = (_whole(plane.get(f"The{axis}")) for axis in "TCZ")
        if second is not None and t >= 0:
            stamps.setdefault(t, []).append((c, z, second))
        elif text:
            doubt = doubt or f"DeltaT of a plane is {text[:40]!r} {unit!r}, which is no time"
    ordered = {t: [second for *_, second in sorted(planes)] for t, planes in stamps.items()}
    return ordered, "" if ordered else doubt


def _settled(
    stamps: Mapping[int, Sequence[float]], frames: Sequence[int]
) -> tuple[list[float] | None, list[int]]:
    """Settle the times of frames; one odd plane does not make its frame odd."""
    seconds = [stamps.get(t, ()) for t in frames]
    ways: tuple[list[float | None], ...] = (
        [min(planes, default=None) for planes in seconds],
        [planes[0] if planes else None for planes in seconds],
        [min(filter(None, planes), default=None) for planes in seconds],  # 0: none, at times
    )
    tried = [_repaired(way, seconds, frames) for way in ways]
    return min(tried, key=lambda settlement: (settlement[0] is None, len(settlement[1])))


def _repaired(
    way: Sequence[float | None], seconds: Sequence[Sequence[float]], frames: Sequence[int]
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
            good[i] = min(
                (s for s in seconds[i] if low < s < high and len(seconds[i]) > 1), default=None
            )
    again = settled(good, frames)
    return again if again[0] is not None and len(again[1]) <= len(odd) else (times, odd)


def _whole(value: str | None) -> int:
    finite = number(value if value is not None else 0)
    return int(finite) if finite is not None and abs(finite) < 2**31 else -1


def _color(value: str | None) -> str:
    """RRGGBB of OME's signed 32-bit RGBA."""
    try:
        return f"{(int(value or '') & 0xFFFFFFFF) >> 8:06X}"
    except ValueError:
        return ""


def _origin(root: Xml.Element, image: Xml.Element) -> HeaderFacts:
    references = {annotation.get("ID") for annotation in every(image, "AnnotationRef")}
    for annotation in every(root, "MapAnnotation"):
        if annotation.get("Namespace") == ORIGIN and annotation.get("ID") in references:
            values = {pair.get("K"): number(pair.text) for pair in every(annotation, "M")}
            origin = [place for dim in "zyx" if (place := values.get(dim)) is not None]
            return {"origin": origin} if len(origin) == 3 else {}
    return {}
