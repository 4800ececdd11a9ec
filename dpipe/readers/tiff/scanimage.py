"""ScanImage: which page is which slice, channel and volume, and what its header says of them.

Knows the headers of ScanImage 3 (``state.acq...``), 4 and 5 (``scanimage.SI4...``), and 2015 and
later (``SI.h...``), as text or JSON. Channels change fastest, then the frames of a slice, then
slices, then volumes; flyback frames stand at the end of a volume.
"""

import itertools
import json
import math
import re
import struct
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from tifffile import TiffFile

from dpipe import schema
from dpipe.formats.frame_times import AGREE
from dpipe.formats.measures import HeaderFacts, Quantity, duration, length
from dpipe.formats.tiff import Flaw
from dpipe.readers.tiff.axes import Axes
from dpipe.readers.tiff.planes import Planes, by_table
from dpipe.readers.tiff.stamps import mean_step, uneven_times

_COLORS = {
    "red": "FF0000", "green": "00FF00", "blue": "0000FF", "gray": "FFFFFF", "grey": "FFFFFF",
    "white": "FFFFFF", "cyan": "00FFFF", "magenta": "FF00FF", "yellow": "FFFF00",
}  # fmt: skip
_LINE = re.compile(r"^\s*(?:scanimage\.)?([A-Za-z][\w.]*)\s*=\s*(.*?)\s*;?\s*$")
_NUMBERS = re.compile(r"[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+|inf|nan)", re.IGNORECASE)
_MAGIC = 117637889
_ASK = "say axes= with sizes, for example 'TZ4C2YX'"


class Stack(NamedTuple):
    """How the pages of a ScanImage file are counted: all numbers are of saved frames.

    Attributes
    ----------
    channels : list of int
        Numbers of those that were saved, from 1.
    slices, frames : int
        Slices of a volume, and saved frames of each slice.
    flyback : int
        Saved frames at the end of each volume that show the way back.
    volumes : int
        How many are whole.
    over : int
        Pages behind the last whole volume.
    promised : int
        Volumes that the header promises, 0 where it does not say.
    """

    channels: list[int]
    slices: int
    frames: int
    flyback: int
    volumes: int
    over: int
    promised: int


def header(tif: TiffFile) -> dict[str, str]:
    """Return the header of ScanImage by key, {} where there is none.

    A key goes without ``scanimage.``; a value is the text behind the equals sign.
    """
    page = tif.pages.first
    software, description = str(page.software), str(page.description)
    text = ""
    if software.startswith("SI.") or '"SI"' in software[:4096]:
        text = software
    elif description.startswith("state.") or "scanimage.SI" in description:
        text = description
    text = text or _behind_header(tif)
    if text.startswith("{"):
        try:
            return dict(_flat("", json.loads(text)))
        except (ValueError, RecursionError) as error:
            raise Flaw(f"its ScanImage header cannot be read: {error}") from error
    fields = {}
    for line in re.split(r"[\r\n]+", text):
        if match := _LINE.match(line):
            key = re.sub(r"^SI[45]\.", "SI4.", match[1])
            fields[key] = match[2]
    return fields


def _behind_header(tif: TiffFile) -> str:
    """Return the text that newer versions keep behind the header of the file, "" without one."""
    tif.filehandle.seek(16)
    head = tif.filehandle.read(16)
    if not tif.is_bigtiff or len(head) < 16:
        return ""
    magic, _, size, _ = struct.unpack("<IIII", head)
    if magic != _MAGIC or size > tif.filehandle.size:
        return ""
    return str(tif.filehandle.read(size).decode("utf-8", "replace").rstrip("\0"))


def _flat(prefix: str, value: Any) -> list[tuple[str, str]]:
    if not isinstance(value, dict):
        return [(prefix, _text(value))]
    return [
        pair for key, item in value.items() for pair in _flat(f"{prefix}.{key}".strip("."), item)
    ]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return "[" + ";".join(map(_text, value)) + "]"
    return str(value)


def _numbers(text: str | None) -> list[float]:
    return [float(number) for number in _NUMBERS.findall(text or "")]


def _one(head: Mapping[str, str], *keys: str) -> float | None:
    """Return the first of these that is one finite number."""
    for key in keys:
        numbers = _numbers(head.get(key))
        if len(numbers) == 1 and math.isfinite(numbers[0]):
            return numbers[0]
    return None


def _count(head: Mapping[str, str], *keys: str) -> int | None:
    """Return the first of these that is a whole number above 0; None too where it is endless."""
    number = _one(head, *keys)
    return int(number) if number is not None and number >= 1 and number == int(number) else None


def _on(head: Mapping[str, str], key: str) -> bool | None:
    if key not in head:
        return None
    return head[key].strip().lower() in ("1", "true", "on")


def stack(head: Mapping[str, str], pages: int) -> Stack:
    """Count the pages of a file by its header.

    Parameters
    ----------
    head : mapping of str to str
        Of `header`.
    pages : int
        How many there are.

    Returns
    -------
    Stack
        Volumes are frames of the movie.

    Raises
    ------
    Flaw
        The header does not say enough, or the pages make no such volumes.
    """
    channels = _channels(head)
    if not channels:
        raise Flaw(f"its ScanImage header does not say which channels were saved; {_ASK}")
    slices, frames, flyback, promised = _volume(head)
    per = len(channels)
    saved = pages // per
    if slices == 1:
        return Stack(channels, 1, 1, 0, saved, pages % per, 0)
    if frames is None:
        raise Flaw(f"its ScanImage header says {slices} slices of endless frames; {_ASK}")
    per_volume = slices * frames
    fits = [back for back in dict.fromkeys((flyback, 0)) if not saved % (per_volume + back)]
    if promised:
        fits.sort(key=lambda back: saved // (per_volume + back) != promised)
    exact = [back for back in fits if promised and saved // (per_volume + back) == promised]
    back = (exact or fits or [flyback])[0]
    if len(fits) > 1 and not exact and "SI.hStackManager.numFramesPerVolumeWithFlyback" not in head:
        raise Flaw(
            f"{saved} frames a channel make volumes of {per_volume} slices, with {flyback} flyback "
            f"frames or without; {_ASK}"
        )
    volumes, unfinished = divmod(saved, per_volume + back)
    return Stack(
        channels, slices, frames, back, volumes, unfinished * per + pages % per, promised or 0
    )


def _channels(head: Mapping[str, str]) -> list[int]:
    for key in ("SI.hChannels.channelSave", "SI4.channelsSave"):
        if key in head:
            return [int(n) for n in _numbers(head[key]) if math.isfinite(n)]
    saving = [n for n in range(1, 9) if _on(head, f"state.acq.savingChannel{n}")]
    count = _count(head, "state.acq.numberOfChannelsSave")
    return saving or list(range(1, (count or 0) + 1))


def _volume(head: Mapping[str, str]) -> tuple[int, int | None, int, int | None]:
    """Return slices, saved frames of a slice, flyback frames, and volumes that are promised."""
    if "state.acq.numberOfZSlices" in head or any(key.startswith("state.") for key in head):
        return _volume_3(head)
    if any(key.startswith("SI4.") for key in head):
        return _volume_4(head)
    sm, fast = "SI.hStackManager.", "SI.hFastZ."
    off = _on(head, sm + "enable") is False and not _on(head, fast + "enable")
    slices = _count(head, sm + "actualNumSlices", sm + "slicesPerAcq", sm + "numSlices")
    positions = len(set(_numbers(head.get(sm + "zs"))))
    if not off and (slices or 1) == 1 and _on(head, fast + "enable") and positions > 1:
        slices = positions
    if slices is None and not off:
        raise Flaw(f"its ScanImage header does not say how many slices a volume has; {_ASK}")
    if off or slices == 1 or slices is None:
        return 1, None, 0, None
    average = _count(head, "SI.hScan2D.logAverageFactor") or 1
    raw = _count(head, sm + "framesPerSlice")
    if _on(head, fast + "enable") and sm + "numFramesPerVolumeWithFlyback" not in head:
        raw, average = 1, 1  # of older versions, whatever else stands there
    frames = None if raw is None else max(1, raw // average)
    with_back, without = (
        _count(head, sm + key) for key in ("numFramesPerVolumeWithFlyback", "numFramesPerVolume")
    )
    back = _one(head, fast + "numDiscardFlybackFrames") or 0
    if with_back and without:
        back = with_back - without
    elif _on(head, fast + "enable") is False:
        back = 0
    volumes = _count(head, sm + "actualNumVolumes", sm + "numVolumes", fast + "numVolumes")
    if _on(head, fast + "enable") is False and _on(head, sm + "enable") is None:
        volumes = volumes if sm + "numVolumes" in head else 1
    return slices, frames, max(0, int(back)), volumes


def _volume_4(head: Mapping[str, str]) -> tuple[int, int | None, int, int | None]:
    slices = _count(head, "SI4.stackNumSlices")
    if slices is None:
        raise Flaw(f"its ScanImage header does not say how many slices a volume has; {_ASK}")
    if _on(head, "SI4.fastZEnable"):
        back = 0.0
        if _on(head, "SI4.fastZDiscardFlybackFrames"):
            back = _one(head, "SI4.fastZNumDiscardFrames") or 1
        return slices, 1, int(back), _count(head, "SI4.fastZNumVolumes")
    frames = _count(head, "SI4.acqNumFrames")
    average = _count(head, "SI4.acqNumAveragedFrames") or 1
    return slices, None if frames is None else max(1, frames // average), 0, 1


def _volume_3(head: Mapping[str, str]) -> tuple[int, int | None, int, int | None]:
    acq = "state.acq."
    slices = _count(head, acq + "numberOfZSlices")
    if slices is None:
        raise Flaw(f"its ScanImage header does not say how many slices a volume has; {_ASK}")
    frames = _count(head, acq + "numberOfFrames")
    average = _count(head, acq + "numAvgFramesSave")
    if average is None:
        average = frames if _on(head, acq + "averaging") else 1
    return slices, None if frames is None else max(1, frames // (average or 1)), 0, 1


def planes_of(stack: Stack, inner: str) -> Planes:
    """Return the page of each plane; frames of a slice, and volumes, are frames of the movie."""
    per = len(stack.channels)
    volume = (stack.slices * stack.frames + stack.flyback) * per
    counts = (stack.volumes * stack.frames, per, stack.slices)
    if stack.frames == 1 or stack.volumes == 1:
        step = volume if stack.frames == 1 else per
        return Planes(inner, counts, pages=(step, 1, stack.frames * per))
    v, f, c, z = np.indices((stack.volumes, stack.frames, per, stack.slices))
    page = (v * volume + (z * stack.frames + f) * per + c).reshape(counts)
    return by_table(inner, np.stack([np.zeros_like(page), page], axis=-1))


def sized(tif: TiffFile, axes: Axes) -> Axes:
    """Give axes that a person names without sizes those of the header, all but the slowest."""
    outer = axes.letters[:-2]
    if axes.cuts or len(outer) < 2 or axes.letters[-2:] != "YX" or not (head := header(tif)):
        return axes
    header_sizes = {"C": len(_channels(head)), "Z": _volume(head)[0]}
    if any(not header_sizes.get(letter) for letter in outer[1:]):
        return axes
    return Axes(axes.letters, (None, *(header_sizes[letter] for letter in outer[1:]), None, None))


def scanimage_facts(
    head: Mapping[str, str], stack: Stack, tif: TiffFile, quantities: Sequence[str]
) -> HeaderFacts:
    """Gather the facts of a header of ScanImage."""
    attrs: schema.Attributes = {"format": "scanimage-tiff"}
    notes = list[str]()
    facts: HeaderFacts = {"attrs": attrs, "notes": notes, "assumed": []}
    names = re.findall(r"'([^']*)'", head.get("SI.hChannels.channelName", ""))
    facts["channels"] = [
        names[n - 1] if 0 < n <= len(names) else f"Channel {n}" for n in stack.channels
    ]
    words = re.findall(r"'([^']*)'", head.get("SI.hChannels.channelMergeColor", ""))
    colors = [words[n - 1].lower() if 0 < n <= len(words) else "" for n in stack.channels]
    if all(color in _COLORS for color in colors):
        facts["colors"] = [_COLORS[color] for color in colors]
    for key in ("SI.hMotors.samplePosition", "SI.hMotors.motorPosition", "SI4.motorPosition"):
        if where := _numbers(head.get(key)):
            attrs["stage_position"] = where
            break
    if "spacing" in quantities:
        facts["spacing"] = _places(head, stack, tif, notes)
    if "interval" in quantities:
        facts |= _times(head, stack, tif, notes)
    if stack.flyback:
        notes.append(f"{stack.flyback} flyback frames behind each volume are left out")
    return facts


def _places(
    head: Mapping[str, str], stack: Stack, tif: TiffFile, notes: list[str]
) -> dict[str, Quantity]:
    silent = Quantity(None, "the ScanImage header gives none")
    sizes = {"z": silent, "y": silent, "x": silent}
    keys = ("SI.hStackManager.actualStackZStepSize", "SI.hStackManager.stackZStepSize")
    step = _one(head, *keys, "SI4.stackZStepSize", "state.acq.zStepSize")
    depths = list(dict.fromkeys(_numbers(head.get("SI.hStackManager.zs"))))
    if len(depths) == stack.slices > 1 and all(map(math.isfinite, depths)):
        steps = [b - a for a, b in itertools.pairwise(depths)]
        middle = sorted(steps)[len(steps) // 2]
        if max(map(abs, (step - middle for step in steps))) > AGREE * abs(middle):
            notes.append(f"slices are uneven, at {depths}; their middle step is taken")
        step = middle
    if step:
        sizes["z"] = length(abs(step), "um", "the step of slices")
    corners = _numbers(head.get("SI.hRoiManager.imagingFovUm"))
    if len(corners) != 8:
        scale = _one(head, "SI.objectiveResolution")
        degrees = _numbers(head.get("SI.hRoiManager.imagingFovDeg"))
        corners = [scale * degree for degree in degrees] if scale and len(degrees) == 8 else []
    page = tif.pages.first
    if _on(head, "SI.hRoiManager.mroiEnable"):
        notes.append("it holds several regions (mROI), one below the other in each page")
    elif len(corners) == 8 and all(map(math.isfinite, corners)):
        a, b, _, d = zip(corners[::2], corners[1::2], strict=True)
        for dim, end, pixels in (("x", b, page.imagewidth), ("y", d, page.imagelength)):
            sizes[dim] = length(math.dist(a, end) / pixels, "um", "the field of view")
    return sizes


def _times(head: Mapping[str, str], stack: Stack, tif: TiffFile, notes: list[str]) -> HeaderFacts:
    """Return seconds between volumes: by the header, held against the stamps of pages."""
    period = _one(head, "SI.hRoiManager.scanFramePeriod", "SI4.scanFramePeriod")
    rate = _one(head, "SI.hRoiManager.scanFrameRate", "SI4.scanFrameRate", "state.acq.frameRate")
    period = period or (1 / rate if rate else None)
    average = _count(head, "SI.hScan2D.logAverageFactor", "SI4.acqNumAveragedFrames")
    average = average or _count(head, "state.acq.numAvgFramesSave") or 1
    back = _one(head, "SI.hFastZ.numDiscardFlybackFrames") or 0
    frame = period * average if period else None
    step = frame
    if stack.slices > 1:
        volumes = _one(head, "SI.hRoiManager.scanVolumeRate")
        raw = stack.slices * stack.frames * average + max(stack.flyback, back)
        step = _one(head, "SI4.fastZPeriod") or (1 / volumes if volumes else None)
        step = step or (period * raw if period else None)
    per = (stack.slices * stack.frames + stack.flyback) * len(stack.channels)
    stamped = mean_step(tif, per, stack.volumes)
    late = math.inf if step is None else abs((stamped or step) - step) / step
    doubted = late > min(AGREE, 0.5 / stack.volumes)  # by half a step at the end
    uneven = doubted and stack.frames == 1 and uneven_times(tif, per, stack.volumes, notes)
    if uneven:
        return uneven
    if stamped and (step is None or late > AGREE):
        if step is not None:
            notes.append(
                f"volumes are {stamped:g} s apart by the stamps of pages, which are taken; the "
                f"header says {step:g} s"
            )
        step = stamped
    if step is None:
        return {"interval": Quantity(None, "the ScanImage header gives none")}
    if stack.frames == 1:
        return {"interval": duration(step, "s", "the period of volumes")}
    if frame is None:
        frame = step / (stack.slices * stack.frames)
    notes.append(
        f"each slice was taken {stack.frames} times in a row: these are frames, at the times of "
        "the first slice"
    )
    times = [v * step + f * frame for v in range(stack.volumes) for f in range(stack.frames)]
    return {"interval": Quantity(frame), "times": times}
