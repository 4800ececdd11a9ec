"""What a TIFF says of its pixels: OME-XML, ImageJ's text, other programs' headers, the tags.

Turns their vocabularies into that of `schema.movie`: micrometres, seconds, names and colours of
channels. Knows nothing of where pixels lie. What a file says and nobody can use is quoted in
``attrs["assumed"]``, never called silence.

Not believed: a resolution in inches, which is for printing (mostly 72 or 96 dots); ImageJ's
origin.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from tifffile import TiffFile, TiffPage

from dpipe.formats.measures import HeaderFacts, Quantity, duration, length, number
from dpipe.formats.ome_xml import every, ome_facts, parsed
from dpipe.formats.tiff import Flaw
from dpipe.schema import Attributes, MovieFacts

_RGB = ["FF0000", "00FF00", "0000FF"]
_RESOLUTION_UNITS = {3: "cm", 4: "mm", 5: "um"}
"""Units of the tag 296 by its value; the last two are of later specifications."""
_MICROMANAGER = 51123
"""The tag in which Micro-Manager keeps what it knows of a plane."""
_SHAPED = frozenset(
    [
        *("shape", "axes", "truncated", "spacing", "unit", "finterval", "fps", "tunit", "images"),
        *(f"PhysicalSize{axis}{end}" for axis in "XYZ" for end in ("", "Unit")),
        *("TimeIncrement", "TimeIncrementUnit", "channels", "slices", "frames", "hyperstack"),
        *("mode", "loop", "min", "max", "Channel", "Name", "name", "UUID", "Creator"),
    ]
)
"""Words of tifffile's JSON that are read, or say nothing of sizes and times."""
_QUOTED = 80
_STORED = {
    0: ("0 is white in this file (MinIsWhite); values are as stored",),
    3: ("values are places in a table of colours, as stored; the table is left out",),
}
"""By the tag 262, what values are that are no brightness."""
_OPTIONS = {"spacing": "spacing=[z, y, x]", "interval": "interval="}


def tiff_facts(
    tif: TiffFile,
    number: int,
    sizes: Mapping[str, int],
    *,
    frames: Sequence[int] | None = None,
    spacing: Sequence[float] | None = None,
    interval: float | None = None,
    header: HeaderFacts | None = None,
) -> MovieFacts:
    """Gather the facts of one image of a file.

    Parameters
    ----------
    tif : tifffile.TiffFile
        Open.
    number : int
        Which image.
    sizes : mapping of str to int
        Sizes of the movie along t, c, z, y, x.
    frames : sequence of int, optional
        Which frames these are of those that the file counts; by default the first ones.
    spacing, interval : optional
        Micrometres along z, y, x, and seconds, as a person says them: then the file is not asked.
    header : HeaderFacts, optional
        Of a header that is not this file's own; then this file's is not looked at.

    Returns
    -------
    MovieFacts
        ``attrs["assumed"]`` lists what the file does not tell and had to be assumed,
        ``attrs["notes"]`` what else is odd.

    Raises
    ------
    Flaw
        A unit that nobody knows.
    """
    numbers = range(sizes["t"]) if frames is None else frames
    options = {"spacing": spacing, "interval": interval}
    quantities = [key for key, value in options.items() if value is None]
    kind = ""
    if header is None:
        header, kind = _header_facts(tif, number, sizes, numbers, quantities)
    page = tif.pages.first
    if page.photometric == 2 and page.samplesperpixel == sizes["c"] == 3:
        header = {"channels": ["red", "green", "blue"], "colors": _RGB, **header}
    sized, lines = _spacing(header.get("spacing", {}), sizes, spacing)
    timed, more = _times(header, numbers, interval)
    attrs: Attributes = ({"format": kind} if kind else {}) | header.get("attrs", {})
    beside = {
        "name": header.get("name"),
        "recording_date": header.get("recording_date"),
        "assumed": [*lines, *more, *header.get("assumed", ())],
        "notes": [*header.get("notes", ()), *_STORED.get(int(page.tags.valueof(262, 1)), ())],
    }
    attrs |= {key: value for key, value in beside.items() if value}
    movie: MovieFacts = {"spacing": sized, "attrs": attrs, **timed}
    if "origin" in header:
        movie["origin"] = header["origin"]
    if "channels" in header:
        movie["channels"] = header["channels"]
    if "colors" in header:
        movie["colors"] = header["colors"]
    return movie


def _header_facts(
    tif: TiffFile,
    number: int,
    sizes: Mapping[str, int],
    frames: Sequence[int],
    quantities: Sequence[str],
) -> tuple[HeaderFacts, str]:
    """Return the facts of the first header that is there, and the format that it tells."""
    if tif.is_ome and tif.ome_metadata:
        return ome_facts(tif.ome_metadata, number, sizes, frames, quantities), "ome-tiff"
    if tif.is_imagej:
        return _imagej(tif, sizes, quantities), "imagej-tiff"
    other = _other(tif, number, quantities)
    return other or _plain(tif, quantities), "tiff"


def _spacing(
    header_sizes: Mapping[str, Quantity], sizes: Mapping[str, int], spacing: Sequence[float] | None
) -> tuple[list[float], list[str]]:
    """Settle the voxel size, and say what was assumed of it."""
    if spacing is not None:
        return [float(step) for step in spacing], []
    reasons: dict[str, list[str]] = {}
    for dim in "zyx":
        size = header_sizes.get(dim, Quantity())
        if size.value is None and (dim != "z" or sizes["z"] > 1):
            reasons.setdefault(size.doubt, []).append(dim)
    lines = []
    for doubt, dims in reasons.items():
        way = f"{doubt}; say {_OPTIONS['spacing']}" if doubt else "the file is silent"
        lines.append(f"voxel size along {', '.join(dims)} is 1 micrometre: {way}")
    values = [header_sizes.get(dim, Quantity()).value for dim in "zyx"]
    return [1.0 if value is None else value for value in values], lines


def _times(
    header: HeaderFacts, frames: Sequence[int], seconds: float | None
) -> tuple[MovieFacts, list[str]]:
    """Settle the times and the interval, and say what was assumed of them."""
    times, interval = header.get("times"), header.get("interval", Quantity())
    if seconds is not None:
        times, interval = None, Quantity(float(seconds))
    timed: MovieFacts = {}
    if times is not None:
        timed["times"] = times
        if interval.value is not None:
            timed["interval"] = interval.value
        return timed, []
    even = list(frames) == list(range(len(frames)))
    if interval.value is None and len(frames) < 2 and even:
        return timed, []
    timed["interval"] = step = 1.0 if interval.value is None else interval.value
    if not even:
        timed["times"] = [t * step for t in frames]
    if interval.value is not None or len(frames) < 2:
        return timed, []
    doubt = interval.doubt
    way = f"{doubt}; say {_OPTIONS['interval']}" if doubt else "the file is silent"
    return timed, [f"frames are 1 s apart: {way}"]


def _imagej(tif: TiffFile, sizes: Mapping[str, int], quantities: Sequence[str]) -> HeaderFacts:
    tags = tif.imagej_metadata or {}
    header: HeaderFacts = {"notes": []}
    unit = str(tags.get("unit", "")).strip()
    if "spacing" in quantities:
        words = {dim: str(tags.get(f"{dim}unit", unit) or unit).strip() for dim in "zyx"}
        header["spacing"] = (
            {dim: _calibrated(tif, dim, words[dim]) for dim in "yx"} if unit else _tags(tif)
        )
        step = tags.get("spacing")
        if unit and step is not None:
            value = number(step)
            if value is not None and value < 0:
                header["notes"].append(f"the spacing of planes is {value:g}; its size is taken")
                step = -value
            header["spacing"]["z"] = length(step, words["z"], "the spacing of planes")
        elif step is not None and number(step) != 1:
            doubt = f"the spacing of planes is {step} without a unit"
            header["spacing"]["z"] = Quantity(None, doubt)
    if "interval" in quantities:
        header["interval"], lines = _imagej_step(tags)
        header["assumed"] = lines if sizes["t"] > 1 else []
        if sizes["t"] == 1 < sizes["z"] and header["interval"].value and not lines:
            header["notes"].append(
                f"its {sizes['z']} images are slices of one frame, and finterval is "
                f"{header['interval'].value:g} s: if they are frames, say axes=, for example 'TYX'"
            )
    if any(tags.get(key) for key in ("cf", "c0")) or number(tags.get("c1", 1)) != 1:
        calibration = ", ".join(
            f"{key}={tags[key]}" for key in ("cf", "c0", "c1", "vunit") if key in tags
        )
        header["notes"].append(
            f"ImageJ calibrates the grey values ({calibration}); they are as stored"
        )
    tables = tags.get("LUTs") or []
    if len(tables) == sizes["c"]:
        header["colors"] = ["".join(f"{int(part[-1]):02X}" for part in table) for table in tables]
    return header


def _imagej_step(tags: Mapping[str, Any]) -> tuple[Quantity, list[str]]:
    """Seconds between frames: by ``finterval``, else by ``fps``."""
    step = duration(tags.get("finterval"), str(tags.get("tunit") or "s"), "finterval")
    rate = number(tags.get("fps"))
    if step.value is None and rate is not None and rate > 0:
        line = f"frames are {1 / rate:g} s apart: by fps={rate:g}, often the speed of showing them"
        return Quantity(1 / rate), [line]
    if number(tags.get("finterval")) == 0:  # as ImageJ has it where nothing was set
        return Quantity(), []
    return step, []


def _calibrated(tif: TiffFile, dim: str, unit: str) -> Quantity:
    """Pixel size along y or x, from pixels for each unit in the tags."""
    resolution = tif.pages.first.tags.valueof({"y": 283, "x": 282}[dim])
    if not isinstance(resolution, tuple) or len(resolution) != 2:
        return Quantity()
    pixels, units = resolution
    if not pixels or not units or pixels < 0 or units < 0:
        return Quantity(None, f"the resolution is {pixels}/{units}")
    return length(units / pixels, unit, f"the pixel size along {dim}")


def _plain(tif: TiffFile, quantities: Sequence[str]) -> HeaderFacts:
    """Read the JSON that tifffile writes, or a plane's header, else the resolution tags.

    A description that nobody understands is quoted where a size or a time is missing.
    """
    header, doubt = _shaped(tif, quantities), _unread(tif)
    if "spacing" in quantities:
        sizes = header.get("spacing") or _plane(tif) or _tags(tif)
        header["spacing"] = {dim: sizes.get(dim) or Quantity() for dim in "zyx"}
        for dim, size in header["spacing"].items():
            header["spacing"][dim] = Quantity(None, doubt) if size == Quantity() else size
    if "interval" in quantities and header.get("interval", Quantity()) == Quantity():
        header["interval"] = Quantity(None, "; ".join(filter(None, (_dated(tif), doubt))))
    return header


def _plane(tif: TiffFile) -> dict[str, Quantity]:
    """Read the pixel size in a header of MetaMorph, or of one plane of Micro-Manager."""
    if tif.pages.first.description.startswith("<MetaData>"):
        metadata = _metamorph(tif.pages.first.description)
        unit = metadata.get("spatial-calibration-units", "")
        if not unit or metadata.get("spatial-calibration-state") == "off":
            return {}
        keys = {dim: f"spatial-calibration-{dim}" for dim in "yx"}
        return {dim: length(metadata.get(key), unit, key) for dim, key in keys.items()}
    tag = tif.pages.first.tags.valueof(_MICROMANAGER)
    size = tag.get("PixelSizeUm") if isinstance(tag, dict) else None
    return dict.fromkeys("yx", length(size, "um", "PixelSizeUm")) if size is not None else {}


def _metamorph(text: str) -> dict[str, str]:
    """Return the properties of a plane in MetaMorph's XML; none where it cannot be parsed."""
    try:
        props = [prop for info in every(parsed(text), "PlaneInfo") for prop in every(info, "prop")]
    except Flaw:
        return {}
    return {prop.get("id", ""): prop.get("value", "") for prop in props}


def _unread(tif: TiffFile) -> str:
    """Quote what a file's description says and nobody understands; "" where there is nothing."""
    if tif.shaped_metadata:
        unread = {k: v for k, v in dict(tif.shaped_metadata[0]).items() if k not in _SHAPED}
        text = json.dumps(unread, default=str) if unread else ""
    else:
        text = tif.pages.first.description
    text = " ".join(str(text).split())
    short = text if len(text) <= _QUOTED else f"{text[:_QUOTED]}..."
    return f"its description, {short!r}, is not understood" if text else ""


def _dated(tif: TiffFile) -> str:
    """Say from when to when the pages are dated, if they differ: to the second, so no interval."""
    first = _date(tif.pages.first)
    if not first:
        return ""
    count = len(tif.pages)
    last = _date(tif.pages.get(count - 1, aspage=True))
    if last in ("", first):
        return ""
    return f"its {count} pages are dated from {first!r} to {last!r}"


def _tags(tif: TiffFile) -> dict[str, Quantity]:
    """Read the resolution tags: the pixel size along y and x."""
    tags = tif.pages.first.tags
    code = tags.valueof(296, 2)
    code = int(code) if isinstance(code, int) else 2
    if code in _RESOLUTION_UNITS:
        unit = _RESOLUTION_UNITS[code]
        return {dim: _calibrated(tif, dim, unit) for dim in "yx"}
    per = {dim: _per(tags.valueof({"y": 283, "x": 282}[dim])) for dim in "yx"}
    if code not in (1, 2):
        raise Flaw(
            f"its resolution is in unit {code}, which is none of TIFF's (1 to 5); "
            f"say {_OPTIONS['spacing']} in micrometres"
        )
    doubts = {}
    for dim, value in per.items():
        if code == 2 and value:
            doubts[dim] = Quantity(
                None,
                f"{value:g} pixels an inch ({25_400 / value:.3g} um each) are mostly for printing",
            )
        elif value and value != 1:
            doubts[dim] = Quantity(None, f"its resolution is {value:g}, of no unit")
    return doubts


def _per(value: Any) -> float | None:
    if not isinstance(value, tuple) or len(value) != 2 or not value[0] or not value[1]:
        return None
    return number(value[0] / value[1])


def _date(page: TiffPage) -> str:
    return str(page.tags.valueof(306) or "").strip()[:20]


def _shaped(tif: TiffFile, quantities: Sequence[str]) -> HeaderFacts:
    """Read tifffile's JSON, which programs fill with the words of ImageJ, or of OME."""
    description = dict((tif.shaped_metadata or ({},))[0])
    header: HeaderFacts = {}
    if "spacing" in quantities:
        sizes: dict[str, Quantity] = {}
        for dim in "zyx":
            key = f"PhysicalSize{dim.upper()}"
            if description.get(key) is not None:
                unit = str(description.get(f"{key}Unit") or "\u00b5m")
                sizes[dim] = length(description[key], unit, key)
        unit = str(description.get("unit") or "")
        if description.get("spacing") is not None and "z" not in sizes:
            sizes["z"] = length(description["spacing"], unit, "spacing")
        if unit.strip() and number(_per(tif.pages.first.tags.valueof(282))):
            sizes = {d: _calibrated(tif, d, unit) for d in "yx"} | sizes
        header |= {"spacing": sizes} if sizes else {}
    if "interval" in quantities:
        if description.get("TimeIncrement") is not None:
            unit = str(description.get("TimeIncrementUnit") or "s")
            header["interval"] = duration(description["TimeIncrement"], unit, "TimeIncrement")
        elif description.get("finterval") is not None or description.get("fps") is not None:
            header["interval"], header["assumed"] = _imagej_step(description)
    return header


def _other(tif: TiffFile, number: int, quantities: Sequence[str]) -> HeaderFacts:
    """Take what tifffile makes of the headers of other programs (LSM, STK, FluoView, ...)."""
    try:
        series = tif.series[number]
    except (LookupError, ValueError, RuntimeError):  # of a file that is torn off
        return {}
    if series.kind in ("shaped", "uniform", "generic", "scanimage"):
        return {}
    units, coords = getattr(series, "units", None) or {}, getattr(series, "coords", None) or {}
    sizes = dict(zip(series.axes, series.shape, strict=True))
    silent = Quantity(None, f"its {series.kind.upper()} header gives none")
    header: HeaderFacts = {}
    if "spacing" in quantities:
        header["spacing"] = {}
        for dim in "zyx":
            step = _step(coords.get(dim.upper()), sizes.get(dim.upper(), 1))
            unit = str(units.get(dim.upper()) or "")
            size = length(step, unit, f"the step along {dim}") if step else silent
            header["spacing"][dim] = size
    if "interval" in quantities:
        step = _step(coords.get("T"), sizes.get("T", 1))
        unit = str(units.get("T") or "s")
        header["interval"] = duration(step, unit, "the step of frames") if step else silent
    return header


def _step(values: Any, count: int) -> float | None:
    """Return the step of coordinates: a start and an end, or one number for each index."""
    try:
        numbers = np.asarray(values, float)
    except (TypeError, ValueError):
        return None
    if isinstance(values, tuple):
        return float(numbers[1] - numbers[0]) / count if numbers.shape == (2,) else None
    return float(np.median(np.diff(numbers))) if numbers.ndim == 1 and numbers.size > 1 else None
