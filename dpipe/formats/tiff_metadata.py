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

from dpipe.formats.measures import Said, duration, length, number
from dpipe.formats.ome_xml import every, ome_facts, parsed
from dpipe.formats.tiff import Flaw

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

Found = dict[str, Any]
"""What one vocabulary says: `spacing` (a `Said` by dim), `interval` (a `Said`), `times`, `origin`,
`channels`, `colors`, `name`, `recording_date`, `notes` and `assumed` (lines for people), `attrs`;
none of them need be there."""


def facts(
    tif: TiffFile,
    number: int,
    sizes: Mapping[str, int],
    *,
    frames: Sequence[int] | None = None,
    spacing: Sequence[float] | None = None,
    interval: float | None = None,
    told: Found | None = None,
) -> dict[str, Any]:
    """Gather what a file says of one of its images.

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
        What a person says instead: micrometres along z, y, x, and seconds. Then nobody looks at
        what the file says of it.
    told : dict, optional
        What was found already, by a header that is not this file's own.

    Returns
    -------
    dict
        Arguments of `schema.movie`; what was not said and had to be assumed is listed in
        ``attrs["assumed"]``, what else is odd in ``attrs["notes"]``.

    Raises
    ------
    Flaw
        A unit that nobody knows.
    """
    own = range(sizes["t"]) if frames is None else frames
    given = {"spacing": spacing, "interval": interval}
    wanted = [key for key, value in given.items() if value is None]
    said, kind = ({**told}, "") if told is not None else _said(tif, number, sizes, own, wanted)
    page = tif.pages.first
    if page.photometric == 2 and page.samplesperpixel == sizes["c"] == 3:
        said = {"channels": ["red", "green", "blue"], "colors": _RGB} | said
    attrs: dict[str, Any] = ({"format": kind} if kind else {}) | said.pop("attrs", {})
    for key in ("name", "recording_date"):
        if value := said.pop(key, ""):
            attrs[key] = value
    assumed = list(said.pop("assumed", ()))
    sized, lines = _spacing(said.pop("spacing", {}), sizes, spacing)
    timed, more = _times(said, own, interval)
    assumed = [*lines, *more, *assumed]
    attrs |= {"assumed": assumed} if assumed else {}
    meant = page.tags.valueof(262, 1)
    notes = [*said.pop("notes", []), *_STORED.get(int(meant), ())]
    attrs |= {"notes": notes} if notes else {}
    return said | {"spacing": sized, "attrs": attrs} | timed


def _said(
    tif: TiffFile, number: int, sizes: Mapping[str, int], frames: Sequence[int], wanted: list[str]
) -> tuple[Found, str]:
    if tif.is_ome and tif.ome_metadata:
        return ome_facts(tif.ome_metadata, number, sizes, frames, wanted), "ome-tiff"
    if tif.is_imagej:
        return _imagej(tif, sizes, wanted), "imagej-tiff"
    other = _other(tif, number, wanted)
    return other or _plain(tif, wanted), "tiff"


def _spacing(
    said: Mapping[str, Said], sizes: Mapping[str, int], given: Sequence[float] | None
) -> tuple[list[float], list[str]]:
    """Settle the voxel size, and say what was assumed of it."""
    if given is not None:
        return [float(step) for step in given], []
    reasons: dict[str, list[str]] = {}
    for dim in "zyx":
        found = said.get(dim, Said())
        if found.value is None and (dim != "z" or sizes["z"] > 1):
            reasons.setdefault(found.doubt, []).append(dim)
    lines = []
    for doubt, dims in reasons.items():
        way = f"{doubt}; say {_OPTIONS['spacing']}" if doubt else "the file is silent"
        lines.append(f"voxel size along {', '.join(dims)} is 1 micrometre: {way}")
    values = [said.get(dim, Said()).value for dim in "zyx"]
    return [1.0 if value is None else value for value in values], lines


def _times(
    said: Found, frames: Sequence[int], given: float | None
) -> tuple[dict[str, Any], list[str]]:
    """Settle the times, and say what was assumed of them."""
    times, found = said.pop("times", None), said.pop("interval", Said())
    if given is not None:
        times, found = None, Said(float(given))
    if times is not None:
        return {"times": times} | ({} if found.value is None else {"interval": found.value}), []
    step = 1.0 if found.value is None else found.value
    even = list(frames) == list(range(len(frames)))
    timed = {"interval": step} | ({} if even else {"times": [t * step for t in frames]})
    if found.value is not None:
        return timed, []
    if len(frames) < 2:
        return ({} if even else timed), []
    way = f"{found.doubt}; say {_OPTIONS['interval']}" if found.doubt else "the file is silent"
    return timed, [f"frames are 1 s apart: {way}"]


def _imagej(tif: TiffFile, sizes: Mapping[str, int], wanted: Sequence[str]) -> Found:
    said = tif.imagej_metadata or {}
    found: Found = {"notes": []}
    unit = str(said.get("unit", "")).strip()
    if "spacing" in wanted:
        words = {dim: str(said.get(f"{dim}unit", unit) or unit).strip() for dim in "zyx"}
        found["spacing"] = (
            {dim: _calibrated(tif, dim, words[dim]) for dim in "yx"} if unit else _tags(tif)
        )
        step = said.get("spacing")
        if unit and step is not None:
            value = number(step)
            if value is not None and value < 0:
                found["notes"].append(f"the spacing of planes is {value:g}; its size is taken")
                step = -value
            found["spacing"]["z"] = length(step, words["z"], "the spacing of planes")
        elif step is not None and number(step) != 1:
            doubt = f"the spacing of planes is {step} without a unit"
            found["spacing"]["z"] = Said(None, doubt)
    if "interval" in wanted:
        found["interval"], lines = _imagej_step(said)
        found["assumed"] = lines if sizes["t"] > 1 else []
        if sizes["t"] == 1 < sizes["z"] and found["interval"].value and not lines:
            found["notes"].append(
                f"its {sizes['z']} images are slices of one frame, and finterval is "
                f"{found['interval'].value:g} s: if they are frames, say axes=, for example 'TYX'"
            )
    if any(said.get(key) for key in ("cf", "c0")) or number(said.get("c1", 1)) != 1:
        told = ", ".join(f"{key}={said[key]}" for key in ("cf", "c0", "c1", "vunit") if key in said)
        found["notes"].append(f"ImageJ calibrates the grey values ({told}); they are as stored")
    tables = said.get("LUTs") or []
    if len(tables) == sizes["c"]:
        found["colors"] = ["".join(f"{int(part[-1]):02X}" for part in table) for table in tables]
    return found


def _imagej_step(said: Mapping[str, Any]) -> tuple[Said, list[str]]:
    """Seconds between frames: by ``finterval``, else by ``fps``."""
    step = duration(said.get("finterval"), str(said.get("tunit") or "s"), "finterval")
    rate = number(said.get("fps"))
    if step.value is None and rate is not None and rate > 0:
        line = f"frames are {1 / rate:g} s apart: by fps={rate:g}, often the speed of showing them"
        return Said(1 / rate), [line]
    if number(said.get("finterval")) == 0:  # as ImageJ has it where nothing was set
        return Said(), []
    return step, []


def _calibrated(tif: TiffFile, dim: str, unit: str) -> Said:
    """Pixel size along y or x, from pixels for each unit in the tags."""
    found = tif.pages.first.tags.valueof({"y": 283, "x": 282}[dim])
    if not isinstance(found, tuple) or len(found) != 2:
        return Said()
    pixels, units = found
    if not pixels or not units or pixels < 0 or units < 0:
        return Said(None, f"the resolution is {pixels}/{units}")
    return length(units / pixels, unit, f"the pixel size along {dim}")


def _plain(tif: TiffFile, wanted: Sequence[str]) -> Found:
    """Read the JSON that tifffile writes, or a plane's header, else the resolution tags.

    A description that nobody understands is quoted where a size or a time is missing.
    """
    found, doubt = _shaped(tif, wanted), _unread(tif)
    if "spacing" in wanted:
        said = found.get("spacing") or _plane(tif) or _tags(tif)
        found["spacing"] = {dim: said.get(dim) or Said() for dim in "zyx"}
        for dim, size in found["spacing"].items():
            found["spacing"][dim] = Said(None, doubt) if size == Said() else size
    if "interval" in wanted and found.get("interval", Said()) == Said():
        found["interval"] = Said(None, "; ".join(filter(None, (_dated(tif), doubt))))
    return found


def _plane(tif: TiffFile) -> dict[str, Said]:
    """Read the pixel size in a header of MetaMorph, or of one plane of Micro-Manager."""
    if tif.pages.first.description.startswith("<MetaData>"):
        said = _metamorph(tif.pages.first.description)
        unit = said.get("spatial-calibration-units", "")
        if not unit or said.get("spatial-calibration-state") == "off":
            return {}
        keys = {dim: f"spatial-calibration-{dim}" for dim in "yx"}
        return {dim: length(said.get(key), unit, key) for dim, key in keys.items()}
    held = tif.pages.first.tags.valueof(_MICROMANAGER)
    size = held.get("PixelSizeUm") if isinstance(held, dict) else None
    return dict.fromkeys("yx", length(size, "um", "PixelSizeUm")) if size is not None else {}


def _metamorph(text: str) -> dict[str, str]:
    """Return what MetaMorph's XML says of a plane; nothing where it cannot be parsed."""
    try:
        props = [prop for info in every(parsed(text), "PlaneInfo") for prop in every(info, "prop")]
    except Flaw:
        return {}
    return {prop.get("id", ""): prop.get("value", "") for prop in props}


def _unread(tif: TiffFile) -> str:
    """Quote what a file's description says and nobody understands; "" where there is nothing."""
    if tif.shaped_metadata:
        left = {k: v for k, v in dict(tif.shaped_metadata[0]).items() if k not in _SHAPED}
        text = json.dumps(left, default=str) if left else ""
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


def _tags(tif: TiffFile) -> dict[str, Said]:
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
            doubts[dim] = Said(
                None,
                f"{value:g} pixels an inch ({25_400 / value:.3g} um each) are mostly for printing",
            )
        elif value and value != 1:
            doubts[dim] = Said(None, f"its resolution is {value:g}, of no unit")
    return doubts


def _per(value: Any) -> float | None:
    if not isinstance(value, tuple) or len(value) != 2 or not value[0] or not value[1]:
        return None
    return number(value[0] / value[1])


def _date(page: TiffPage) -> str:
    return str(page.tags.valueof(306) or "").strip()[:20]


def _shaped(tif: TiffFile, wanted: Sequence[str]) -> Found:
    """Read what programs hand tifffile for its JSON: in the words of ImageJ, or of OME."""
    said = dict((tif.shaped_metadata or ({},))[0])
    found: Found = {}
    if "spacing" in wanted:
        sizes: dict[str, Said] = {}
        for dim in "zyx":
            key = f"PhysicalSize{dim.upper()}"
            if said.get(key) is not None:
                unit = str(said.get(f"{key}Unit") or "\u00b5m")
                sizes[dim] = length(said[key], unit, key)
        unit = str(said.get("unit") or "")
        if said.get("spacing") is not None and "z" not in sizes:
            sizes["z"] = length(said["spacing"], unit, "spacing")
        if unit.strip() and number(_per(tif.pages.first.tags.valueof(282))):
            sizes = {d: _calibrated(tif, d, unit) for d in "yx"} | sizes
        found |= {"spacing": sizes} if sizes else {}
    if "interval" in wanted:
        if said.get("TimeIncrement") is not None:
            unit = str(said.get("TimeIncrementUnit") or "s")
            found["interval"] = duration(said["TimeIncrement"], unit, "TimeIncrement")
        elif said.get("finterval") is not None or said.get("fps") is not None:
            found["interval"], found["assumed"] = _imagej_step(said)
    return found


def _other(tif: TiffFile, number: int, wanted: Sequence[str]) -> Found:
    """Take what tifffile makes of the headers of other programs (LSM, STK, FluoView, ...)."""
    try:
        series = tif.series[number]
    except (LookupError, ValueError, RuntimeError):  # of a file that is torn off
        return {}
    if series.kind in ("shaped", "uniform", "generic", "scanimage"):
        return {}
    units, coords = getattr(series, "units", None) or {}, getattr(series, "coords", None) or {}
    sizes = dict(zip(series.axes, series.shape, strict=True))
    silent = Said(None, f"its {series.kind.upper()} header gives none")
    found: Found = {"spacing": {}, "interval": silent}
    for dim in "zyx":
        step = _step(coords.get(dim.upper()), sizes.get(dim.upper(), 1))
        unit = str(units.get(dim.upper()) or "")
        found["spacing"][dim] = length(step, unit, f"the step along {dim}") if step else silent
    if step := _step(coords.get("T"), sizes.get("T", 1)):
        found["interval"] = duration(step, str(units.get("T") or "s"), "the step of frames")
    return {key: value for key, value in found.items() if key in wanted}


def _step(values: Any, count: int) -> float | None:
    """Return the step of coordinates: a start and an end, or one number for each index."""
    try:
        held = np.asarray(values, float)
    except (TypeError, ValueError):
        return None
    if isinstance(values, tuple):
        return float(held[1] - held[0]) / count if held.shape == (2,) else None
    return float(np.median(np.diff(held))) if held.ndim == 1 and held.size > 1 else None
