"""Where the pixels of an Imaris file lie: one dataset a resolution level, time point and channel.

Knows which of them must be there and alike, and which of a recording that was stopped are whole;
knows nothing of places, times and names.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import h5py
import numpy as np

from dpipe import compute
from dpipe.formats.hdf5 import (
    Flaw,
    check_volume,
    child,
    missing_chunks,
    numbered,
    open_hdf5,
    read_box,
    text,
)
from dpipe.readers.imaris.dataset_info import directory, info, whole
from dpipe.sources import opened

BLOCK_BYTES = 64 << 20
"""A lazy block is one volume of one channel, or a part of it that is no larger than this."""
LARGEST_GRAPH = 10_000_000


@dataclass(frozen=True)
class Volume:
    """What all volumes of one resolution level must have in common; sizes are (z, y, x)."""

    size: tuple[int, ...]
    dtype: np.dtype
    chunk: tuple[int, ...] = field(compare=False)

    def __str__(self) -> str:
        return f"{self.dtype} of (z, y, x) = {self.size}"


class Pixels(NamedTuple):
    """All volumes of a resolution level.

    Attributes
    ----------
    level : int
        Which.
    first : tuple of int
        What the file calls the first time point and channel: 0, or 1 where all are counted so.
    frames, channels : int
        How many there are.
    volume : Volume
        What they have in common; a dtype that holds those of all exactly.
    kinds : tuple of numpy.dtype
        The dtypes that they have.
    notes : list of str
        What people should know.
    """

    level: int
    first: tuple[int, int]
    frames: int
    channels: int
    volume: Volume
    kinds: tuple[np.dtype, ...]
    notes: list[str]


def survey(h5: h5py.File, level: int, *, whole_frames: bool, fill: bool) -> Pixels:
    """Look at the header of every volume of a level: all there, and all alike.

    With `whole_frames` the time points before the first one that lacks something are enough; if
    `fill` is not set either, a time point that lacks chunks is not whole.
    """
    group = _level(h5, level)
    promised = whole(text(info(h5, "TimeInfo"), "FileTimePoints"))
    start, frames, gap = _counted(group, "TimePoint", promised)
    if gap and not whole_frames:
        raise Flaw(f"{gap}; option whole_frames=true takes the {frames} before it")
    head = _child(group, f"TimePoint {start}")
    first_channel, channels, hole = _counted(head, "Channel", None)
    if hole:
        raise Flaw(hole)
    first = (start, first_channel)
    look = _Look(group, level, first, channels, fill or whole_frames, fill)
    sizes, kinds, problem, holes = _looked_at(look, frames)
    if problem is not None and not (whole_frames and sizes):
        raise Flaw(
            problem + f"; option whole_frames=true takes the {len(sizes)} before it" * bool(sizes)
        )
    lost = problem or gap
    frames = len(sizes)
    if promised is not None and promised > frames and not whole_frames:
        raise Flaw(
            f"TimeInfo promises {promised} time points, {frames} are there; option "
            "whole_frames=true takes them, or export it again"
        )
    notes = _notes(promised, frames, lost, first)
    dtype = _common(kinds)
    if holes:
        named = ", ".join(f"{count} in {where}" for where, count in list(holes.items())[:8])
        more = ", ..." if len(holes) > 8 else ""
        total = sum(holes.values())
        notes.append(f"{total} chunks not in the file, read as the fill value: {named}{more}")
    if len(kinds) > 1:
        notes.append(f"pixels are {_listed(kinds)} in the file; all are held as {dtype}")
    size, chunk = sizes[0]
    return Pixels(level, first, frames, channels, Volume(size, dtype, chunk), tuple(kinds), notes)


def _notes(
    promised: int | None, frames: int, lost: str | None, first: tuple[int, int]
) -> list[str]:
    notes = []
    if lost or (promised is not None and promised > frames):
        of = f" of {promised}" if promised is not None else ""
        notes.append(
            f"a recording that was stopped: {frames}{of} time points are whole and taken"
            + (f"; after them: {lost}" if lost else "")
        )
    elif promised is not None and promised < frames:
        notes.append(f"TimeInfo promises {promised} time points, {frames} are there and taken")
    for word, number in zip(("time points", "channels"), first, strict=True):
        if number:
            notes.append(f"the {word} of DataSet are counted from {number}: taken in their order")
    return notes


class _Look(NamedTuple):
    """What is looked at: the group of a level, its numbers, and whether chunks are counted."""

    group: h5py.Group
    level: int
    first: tuple[int, int]
    channels: int
    chunks: bool
    fill: bool


_Found = list[tuple[tuple[int, ...], tuple[int, ...]]]


def _looked_at(
    look: _Look, frames: int
) -> tuple[_Found, list[np.dtype], str | None, dict[str, int]]:
    """Return size and chunk of each time point, all dtypes, what ends the first bad one, holes."""
    group, first, channels = look.group, look.first, look.channels
    headers: _Found = []
    kinds: list[np.dtype] = []
    holes: dict[str, int] = {}
    for t in range(frames):
        try:
            seen: list[Volume] = []
            point = _child(group, f"TimePoint {t + first[0]}")
            _, here, hole = _counted(point, "Channel", channels)
            if hole:
                raise Flaw(hole)
            if here != channels:
                raise Flaw(f"TimePoint {t} has {here} channels; TimePoint 0 has {channels}")
            for c in range(channels):
                dataset, volume = _volume(group, look.level, t + first[0], c + first[1])
                expected = headers[0][0] if headers else seen[0].size if seen else volume.size
                if volume.size != expected:
                    raise Flaw(
                        f"TimePoint {t} Channel {c} is {volume}; expected (z, y, x) = {expected}"
                    )
                lost = missing_chunks(dataset, volume.size) if look.chunks else 0
                if lost and not look.fill:
                    raise Flaw(f"TimePoint {t} Channel {c} lacks {lost} of its chunks")
                holes |= {f"TimePoint {t} Channel {c}": lost} if lost else {}
                seen.append(volume)
        except Flaw as flaw:
            return headers, kinds, str(flaw), holes
        headers.append((seen[0].size, seen[0].chunk))
        kinds += dict.fromkeys(v.dtype for v in seen if v.dtype not in kinds)
    return headers, kinds, None, holes


def _level(h5: h5py.File, level: int) -> h5py.Group:
    data = directory(h5, "DataSet")
    if data is None:
        names = ", ".join(sorted(h5)[:8]) or "nothing"
        raise Flaw(f"no group DataSet; this is not an Imaris file. Found: {names}")
    group = child(data, f"ResolutionLevel {level}")
    if group is None:
        levels = ", ".join(map(str, numbered(data, "ResolutionLevel"))) or "none"
        raise Flaw(f"no resolution level {level}; levels there: {levels}")
    return group


def _child(group: h5py.Group, key: str) -> h5py.Group:
    member = child(group, key)
    if member is None:
        raise Flaw(f"no {key}, which was there when the movie was opened")
    return member


def _counted(group: h5py.Group, word: str, promised: int | None) -> tuple[int, int, str]:
    """Return the number of the first member, how many follow it without a gap, and the gap."""
    numbers, where = numbered(group, word), group.name.lstrip("/")
    if not numbers:
        raise Flaw(f"{where} holds no {word}")
    start = int(
        numbers[0] == 1 and numbers[-1] == len(numbers) and promised in (None, len(numbers))
    )
    count = next((i for i, number in enumerate(numbers) if number != start + i), len(numbers))
    if count == len(numbers):
        return start, count, ""
    missing = sorted(set(range(numbers[-1])) - set(numbers))
    named = ", ".join(map(str, missing[:8])) + (", ..." if len(missing) > 8 else "")
    gap = f"{where} lacks {word} {named} of 0 to {numbers[-1]}"
    if not count:
        raise Flaw(gap)
    return start, count, gap


def _volume(level: h5py.Group, number: int, t: int, c: int) -> tuple[h5py.Dataset, Volume]:
    """Walk to the pixels of one time point and channel, and say what they are."""
    group = _child(_child(level, f"TimePoint {t}"), f"Channel {c}")
    where = group.name.lstrip("/")
    dataset = child(group, "Data", h5py.Dataset)
    if dataset is None:
        raise Flaw(f"{where} holds no Data")
    check_volume(dataset)
    size = tuple(whole(text(group, f"ImageSize{axis}")) or 0 for axis in "ZYX")
    if 0 in size:
        size = _size_elsewhere(level.file, number, where) or dataset.shape
    if any(not 0 < n <= padded for n, padded in zip(size, dataset.shape, strict=True)):
        raise Flaw(f"{where} should be (z, y, x) = {size}, but its Data is {dataset.shape}")
    chunk = dataset.chunks or (1, *dataset.shape[1:])
    return dataset, Volume(size, dataset.dtype.newbyteorder("="), chunk)


def _size_elsewhere(h5: h5py.File, number: int, where: str) -> tuple[int, ...] | None:
    """Size of the finest level as ``DataSetInfo`` gives it, None if it does not."""
    image = info(h5, "Image")
    size = tuple(whole(text(image, axis)) or 0 for axis in "ZYX")
    if 0 in size:
        return None
    if number:
        raise Flaw(f"{where} does not say its ImageSizeX, Y, Z; open level 0")
    return size


def _common(kinds: Sequence[np.dtype]) -> np.dtype:
    """Return the smallest dtype that holds the values of all exactly."""
    common = np.result_type(*kinds)
    for kind in kinds:
        digits = np.iinfo(kind).bits - (kind.kind == "i") if kind.kind in "iu" else 0
        if common.kind == "f" and digits > np.finfo(common).nmant + 1:
            raise Flaw(
                f"pixels are {_listed(kinds)}, which no one kind of number holds exactly; "
                "export the channels as one kind"
            )
    return common


def _listed(kinds: Sequence[np.dtype]) -> str:
    return " and ".join(sorted(str(kind) for kind in kinds))


def blocks_of(pixels: Pixels) -> tuple[int, ...]:
    """Cut z, then y, then x into whole HDF5 chunks until a lazy block is small."""
    volume, volumes = pixels.volume, pixels.frames * pixels.channels
    block = list(volume.size)
    for axis, step in enumerate(volume.chunk):
        row = math.prod(block) // block[axis] * volume.dtype.itemsize
        if row * block[axis] > BLOCK_BYTES:
            block[axis] = min(block[axis], max(1, BLOCK_BYTES // (row * step)) * step)
    blocks = math.prod(-(-n // b) for n, b in zip(volume.size, block, strict=True))
    if blocks * volumes > LARGEST_GRAPH:
        raise Flaw(f"claims {volumes} volumes of {volume}, more than can be cut into blocks")
    return tuple(block)


def read(region: compute.Region, *, uri: str, name: str, pixels: Pixels, fill: bool) -> np.ndarray:
    """Read one region of the movie; runs in a task, so it opens the file itself."""
    out = np.empty([s.stop - s.start for s in region], pixels.volume.dtype)
    with opened(uri) as file, open_hdf5(file, name) as h5:
        group = _level(h5, pixels.level)
        for i, j in np.ndindex(*out.shape[:2]):
            t, c = region[0].start + i, region[1].start + j
            numbers = (t + pixels.first[0], c + pixels.first[1])
            dataset, volume = _volume(group, pixels.level, *numbers)
            if volume.size != pixels.volume.size or volume.dtype not in pixels.kinds:
                raise Flaw(f"TimePoint {t} Channel {c} is now {volume}; it was {pixels.volume}")
            if volume.dtype == out.dtype:
                read_box(dataset, region[2:], out[i, j], fill=fill)
            else:
                pixels_read: Any = np.empty(out.shape[2:], volume.dtype)
                read_box(dataset, region[2:], pixels_read, fill=fill)
                out[i, j] = pixels_read
    return out
