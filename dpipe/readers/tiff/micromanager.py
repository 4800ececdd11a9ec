"""Micro-Manager: its summary and what it keeps of each plane, beside or inside its files.

Knows ``metadata.txt`` of versions 1.4 (``FrameKey-t-c-z``) and 2.0 (``Metadata-.../img_...tif``)
beside one file a plane, and the index of an image file stack. A text that is cut off, as a
stopped recording leaves it, is closed and read as far as it goes.
"""

import json
import re
import struct
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from tifffile import TiffFile

from dpipe.formats.frame_times import named, settled
from dpipe.formats.measures import HeaderFacts, Quantity, length, number, stamp
from dpipe.formats.tiff import Flaw
from dpipe.readers.tiff.names import tagged
from dpipe.readers.tiff.planes import short
from dpipe.schema import Attributes
from dpipe.sources import opened, stem_of

METADATA = "metadata.txt"
_LARGEST = 1 << 28
MAGIC = 54773648
_KEY_14 = re.compile(r"FrameKey-(\d+)-(\d+)-(\d+)")


def is_metadata(uri: str) -> bool:
    """Tell whether a file is the text that stands beside the planes."""
    return short(uri).lower() == METADATA


def read_metadata(uri: str) -> Attributes:
    """Return the metadata beside one file a plane; {} where they cannot be read."""
    with opened(uri) as file:
        if isinstance(file, str):
            with open(file, "rb") as stream:
                raw = stream.read(_LARGEST + 1)
        else:
            raw = file.read(_LARGEST + 1)
    if len(raw) > _LARGEST:
        return {}
    text = raw.decode("utf-8", "replace").strip().rstrip("\0")
    for closed in (text, text.rstrip(",") + "}", _cut(text)):
        try:
            metadata = json.loads(closed)
        except (ValueError, RecursionError):
            continue
        return metadata if isinstance(metadata, dict) else {}
    return {}


def _cut(text: str) -> str:
    """Cut a text behind the last entry that is whole."""
    end = max(text.rfind("},\n"), text.rfind("},\r\n"), text.rfind("},"))
    return text[: end + 1] + "}" if end > 0 else ""


def channels_of(metadata: Mapping[str, Any]) -> list[str]:
    """Return the names of the channels in their order, as far as they are told."""
    return [str(name) for name in _list(_object(metadata.get("Summary")).get("ChNames"))]


def micromanager_facts(
    metadata: Mapping[str, Any], frames: Sequence[int], channels: int
) -> HeaderFacts:
    """Turn the metadata of Micro-Manager into the facts of a movie."""
    summary = _object(metadata.get("Summary"))
    planes = _planes(metadata)
    first = next(iter(planes.values()), {})
    facts: HeaderFacts = {"attrs": {"format": "micro-manager"}, "notes": []}
    size = first.get("PixelSizeUm", summary.get("PixelSize_um"))
    pixel = length(size, "um", "PixelSizeUm")
    step = number(summary.get("z-step_um"))
    depth = length(abs(step) if step else summary.get("z-step_um"), "um", "z-step_um")
    facts["spacing"] = {"z": depth, "y": pixel, "x": pixel}
    if len(names := channels_of(metadata)) == channels:
        facts["channels"] = names
    colors = [number(color) for color in _list(summary.get("ChColors"))]
    if len(colors) == channels and None not in colors:
        facts["colors"] = [f"{int(color or 0) & 0xFFFFFF:06X}" for color in colors]
    if start := summary.get("StartTime") or summary.get("Time"):
        facts["recording_date"] = str(start)
    return facts | _times(planes, summary, frames)


def _times(
    planes: Mapping[tuple[int, int, int], Mapping[str, Any]],
    summary: Mapping[str, Any],
    frames: Sequence[int],
) -> HeaderFacts:
    milliseconds = number(summary.get("Interval_ms"))
    interval = Quantity(milliseconds / 1000) if milliseconds and milliseconds > 0 else Quantity()
    stamps: dict[int, float] = {}
    for (t, _, _), plane in planes.items():
        second = stamp(plane.get("ElapsedTime-ms"), "ms", "ElapsedTime-ms")
        if second is not None:
            stamps[t] = min(second, stamps.get(t, second))
    times, odd = settled([stamps.get(t) for t in frames], frames)
    if times is None or len(times) < 2:
        return {"interval": interval}
    notes = []
    if odd:
        notes.append(
            f"ElapsedTime-ms of {named(odd)} is missing, stands still or goes back; "
            "their times lie evenly between those of the others"
        )
    return {"interval": interval, "times": times, "notes": notes}


def _planes(metadata: Mapping[str, Any]) -> dict[tuple[int, int, int], Attributes]:
    """Return the metadata of each plane, by its numbers t, c, z."""
    planes = dict[tuple[int, int, int], Attributes]()
    for key, plane in metadata.items():
        if not isinstance(plane, dict):
            continue
        if match := _KEY_14.fullmatch(key):
            t, c, z = map(int, match.groups())
            planes[t, c, z] = plane
        elif key.startswith("Metadata-"):
            tag = tagged(stem_of(key))
            if tag is not None and set(tag.dims) <= set("tcz"):
                numbers = dict(zip(tag.dims, tag.texts, strict=True))
                t, c, z = (int(numbers[d]) if numbers.get(d, "").isdecimal() else 0 for d in "tcz")
                planes[t, c, z] = plane
    return planes


def _object(value: Any) -> Attributes:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


class Index(NamedTuple):
    """The index of an image file stack: the summary, and for each page c, z, t, p and its place."""

    summary: Attributes
    rows: np.ndarray


def index(tif: TiffFile) -> Index | None:
    """Return the index of an image file stack; None of any other file."""
    handle, order = tif.filehandle, tif.byteorder
    handle.seek(8)
    head = handle.read(32)
    if len(head) < 32 or struct.unpack(order + "I", head[:4])[0] != MAGIC:
        return None
    (start,) = struct.unpack(order + "I", head[4:8])
    magic, size = struct.unpack(order + "II", head[24:32])
    text = handle.read(min(size, handle.size)) if magic == 2355492 else b""
    try:
        summary = json.loads(text.decode("utf-8", "replace").rstrip("\0"))
    except (ValueError, RecursionError):
        summary = {}
    handle.seek(start)
    head = handle.read(8)
    if len(head) < 8 or struct.unpack(order + "I", head[:4])[0] != 3453623:
        raise Flaw("its Micro-Manager index cannot be read: the recording stopped; say axes=")
    count = struct.unpack(order + "I", head[4:])[0]
    data = handle.read(min(20 * count, handle.size))
    if len(data) < 20 * count:
        raise Flaw("its Micro-Manager index is cut off; say axes= to read its pages in order")
    rows = np.frombuffer(data, order + "u4").reshape(-1, 5).astype(np.int64)
    return Index(_object(summary), rows[rows[:, 4] > 0])
