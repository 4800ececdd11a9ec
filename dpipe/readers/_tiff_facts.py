"""What a TIFF says of its pixels: OME-XML, ImageJ's text, the resolution tags.

Turns three vocabularies into that of `schema.movie`: micrometres, seconds, names and colours of
channels. Knows nothing of where pixels lie.

Not believed: a resolution in inches, which is for printing (mostly 72 or 96 dots); ImageJ's
origin, and the stage positions of OME-XML, since writers differ in what they refer to.
"""

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any
from xml.etree import ElementTree as Xml

from tifffile import TiffFile

ORIGIN = "dpipe:origin"
"""Namespace of the map annotation in which dpipe's writer keeps the centre of the first voxel."""

_MICROMETRES = {"m": 1e6, "dm": 1e5, "cm": 1e4, "mm": 1e3, "nm": 1e-3, "pm": 1e-6, "\u00c5": 1e-4}
_MICROMETRES |= dict.fromkeys(("um", "\u00b5m", "\u03bcm", "micron", "microns", "micrometer"), 1.0)
_SECONDS = {"s": 1.0, "sec": 1.0, "ms": 1e-3, "\u00b5s": 1e-6, "us": 1e-6, "ns": 1e-9}
_SECONDS |= {"min": 60.0, "h": 3600.0, "hr": 3600.0, "hour": 3600.0, "d": 86400.0}
_RGB = ["FF0000", "00FF00", "0000FF"]
_RESOLUTION_UNITS = {3: 1e4, 4: 1e3, 5: 1.0}


def facts(tif: TiffFile, number: int, sizes: Mapping[str, int]) -> dict[str, Any]:
    """Gather what a file says of one of its images.

    Parameters
    ----------
    tif : tifffile.TiffFile
        Open.
    number : int
        Which image.
    sizes : mapping of str to int
        Sizes of the movie along t, c, z, y, x.

    Returns
    -------
    dict
        Arguments of `schema.movie`; what was not said and had to be assumed is listed in
        ``attrs["assumed"]``.
    """
    if tif.is_ome and tif.ome_metadata:
        said, attrs = _ome(tif.ome_metadata, number, sizes), {"format": "ome-tiff"}
    elif tif.is_imagej:
        said, attrs = _imagej(tif, sizes), {"format": "imagej-tiff"}
    else:
        said, attrs = _plain(tif), {"format": "tiff"}
    page = tif.pages.first
    if page.photometric == 2 and page.samplesperpixel == sizes["c"] == 3:
        said = {"channels": ["red", "green", "blue"], "colors": _RGB} | said
    told = {key: said.pop(key, "") for key in ("name", "recording_date")}
    attrs |= {key: value for key, value in told.items() if value}
    spacing, assumed = dict(said.pop("spacing", {})), []
    missing = [dim for dim in "zyx" if dim not in spacing and (dim != "z" or sizes["z"] > 1)]
    if missing:
        assumed.append(f"voxel size along {', '.join(missing)} is 1 micrometre: the file is silent")
    if sizes["t"] > 1 and not {"times", "interval"} & set(said):
        assumed.append("frames are 1 s apart: the file is silent")
    said["spacing"] = [spacing.get(dim, 1.0) for dim in "zyx"]
    return said | {"attrs": attrs | ({"assumed": assumed} if assumed else {})}


def _ome(xml: str, number: int, sizes: Mapping[str, int]) -> dict[str, Any]:
    # Python's expat (2.4.1 and later) bounds what entities may expand to
    root = Xml.fromstring(xml)  # noqa: S314
    images = list(_all(root, "Image"))
    if number >= len(images):
        return {}
    image = images[number]
    pixels = next(_all(image, "Pixels"))
    found: dict[str, Any] = {"name": image.get("Name", "")}
    found["recording_date"] = next((e.text for e in _all(image, "AcquisitionDate")), "")
    found["spacing"] = {}
    for dim in "zyx":
        unit = pixels.get(f"PhysicalSize{dim.upper()}Unit", "\u00b5m")
        size = _positive(pixels.get(f"PhysicalSize{dim.upper()}"), _MICROMETRES.get(unit))
        if size is not None:
            found["spacing"][dim] = size
    step = _positive(
        pixels.get("TimeIncrement"), _SECONDS.get(pixels.get("TimeIncrementUnit", "s"))
    )
    times = _ome_times(pixels, sizes["t"])
    found |= {} if step is None else {"interval": step}
    found |= {} if times is None else {"times": times}
    channels = list(_all(pixels, "Channel"))
    if len(channels) == sizes["c"]:
        names = [c.get("Name") or c.get("Fluor") or "" for c in channels]
        colors = [_ome_color(c.get("Color")) for c in channels]
        if any(names):
            found["channels"] = [name or str(i) for i, name in enumerate(names)]
        if any(colors):
            found["colors"] = [color or "FFFFFF" for color in colors]
    return found | _ome_origin(root, image)


def _ome_times(pixels: Xml.Element, frames: int) -> list[float] | None:
    """Seconds of each frame, by its first plane; None unless all are there and increase."""
    first: dict[int, float] = {}
    for plane in _all(pixels, "Plane"):
        second = _number(plane.get("DeltaT"))
        unit = _SECONDS.get(plane.get("DeltaTUnit", "s"))
        if second is not None and unit is not None:
            t = int(plane.get("TheT", "0"))
            first[t] = min(first.get(t, math.inf), second * unit)
    times = [first[t] for t in range(frames) if t in first]
    rising = all(a < b for a, b in itertools.pairwise(times))
    return times if len(times) == frames and rising else None


def _ome_color(value: str | None) -> str:
    """RRGGBB of OME's signed 32-bit RGBA."""
    try:
        return f"{(int(value or '') & 0xFFFFFFFF) >> 8:06X}"
    except ValueError:
        return ""


def _ome_origin(root: Xml.Element, image: Xml.Element) -> dict[str, Any]:
    wanted = {each.get("ID") for each in _all(image, "AnnotationRef")}
    for each in _all(root, "MapAnnotation"):
        if each.get("Namespace") == ORIGIN and each.get("ID") in wanted:
            held = {pair.get("K"): _number(pair.text) for pair in _all(each, "M")}
            origin = [held.get(dim) for dim in "zyx"]
            return {"origin": origin} if None not in origin else {}
    return {}


def _all(element: Xml.Element, tag: str) -> Iterator[Xml.Element]:
    """Descendants of a name, in whatever year's namespace."""
    return (each for each in element.iter() if str(each.tag).rpartition("}")[2] == tag)


def _imagej(tif: TiffFile, sizes: Mapping[str, int]) -> dict[str, Any]:
    said = tif.imagej_metadata or {}
    unit = str(said.get("unit", "")).strip().lower().replace("\\u00b5", "\u00b5")
    scale = _MICROMETRES.get(unit)
    found: dict[str, Any] = {"spacing": {}}
    if scale is not None:
        found["spacing"] = _resolution(tif, scale)
        step = _positive(said.get("spacing"), scale)
        found["spacing"] |= {} if step is None else {"z": step}
    rate = _positive(said.get("fps"), 1.0)
    step = _positive(said.get("finterval"), _SECONDS.get(str(said.get("tunit", "s"))))
    if step is None and rate is not None:
        step = 1 / rate
    found |= {} if step is None else {"interval": step}
    tables = said.get("LUTs") or []
    if len(tables) == sizes["c"]:
        found["colors"] = ["".join(f"{int(part[-1]):02X}" for part in table) for table in tables]
    return found


def _plain(tif: TiffFile) -> dict[str, Any]:
    unit = int(tif.pages.first.tags.valueof(296, 2))
    known = unit in _RESOLUTION_UNITS
    return {"spacing": _resolution(tif, _RESOLUTION_UNITS[unit])} if known else {}


def _resolution(tif: TiffFile, scale: float) -> dict[str, float]:
    """Pixel size in micrometres along y and x, from pixels for each unit of `scale` um."""
    found = {}
    for dim, code in (("y", 283), ("x", 282)):
        top, bottom = tif.pages.first.tags.valueof(code, (0, 0))
        if top > 0 and bottom > 0:
            found[dim] = scale * bottom / top
    return found


def _positive(value: Any, scale: float | None) -> float | None:
    number = _number(value)
    return number * scale if number is not None and scale is not None and number > 0 else None


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
