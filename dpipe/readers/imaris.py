"""Imaris files (.ims), and the ``.h5`` of the Leuko-Death movies, as lazy movies.

An Imaris 5.5 file is HDF5: one dataset ``Data(z, y, x)`` for each resolution level, time point
and channel, padded up to whole chunks, and a tree ``DataSetInfo`` of text attributes that says
what the pixels are. This module knows those names and units, and turns them into dpipe's: the
true size without padding, seconds after the first frame, micrometres, centres of voxels (Imaris
gives the outer borders of the volume).

How HDF5 is read safely and fast stands in ``_hdf5.py``. Spots and surfaces of the same files are
read by ``_scene_spots.py`` and ``_scene_surfaces.py``.
"""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import h5py
import numpy as np
import xarray as xr

from dpipe import schema
from dpipe.blocks import Region, lazy
from dpipe.readers._hdf5 import Flaw, check_volume, child, numbered, open_hdf5, read_box, text
from dpipe.readers._imaris_info import (
    MICROMETRES,
    SUFFIXES,
    find,
    info,
    number,
    one_file,
    seconds,
    whole,
)
from dpipe.readers._scene import things
from dpipe.readers._scene_spots import read_spots
from dpipe.readers._scene_surfaces import read_surfaces, without_mesh
from dpipe.sources import opened

__all__ = ["SUFFIXES", "find", "open_imaris"]

BLOCK_BYTES = 64 << 20
"""A lazy block is one volume of one channel, or a part of it that is no larger than this."""

_TABLES = {"Points": read_spots, "Surfaces": read_surfaces}
_SAID = ("name", "label_group")
_PLACEHOLDERS = ("(name not specified)", "(description not specified)")
_LARGEST_GRAPH = 10_000_000


@dataclass(frozen=True)
class _Volume:
    """What all volumes of one resolution level must have in common; sizes are (z, y, x)."""

    size: tuple[int, ...]
    dtype: np.dtype
    chunk: tuple[int, ...] = field(compare=False)

    def __str__(self) -> str:
        return f"{self.dtype} of (z, y, x) = {self.size}"


def open_imaris(
    url: str | os.PathLike[str] | Sequence[str],
    *,
    level: int = 0,
    fill_missing: bool = False,
    objects: bool = False,
) -> xr.Dataset:
    """Open an Imaris file as a lazy movie; no pixel is read and no file stays open.

    Every dataset's header is looked at, so a movie with a missing or unlike time point or
    channel is refused here and not halfway through a run.

    Parameters
    ----------
    url : str, path, or sequence of one
        A local path or a URL that `dpipe.sources.opened` takes.
    level : int
        Resolution level, 0 the finest. The voxels of a lower level are as much larger as it has
        fewer of them.
    fill_missing : bool
        Read chunks that the file does not hold as its fill value (zero), as HDF5 does. By default
        they are an error on computing, since a damaged index looks the same.
    objects : bool
        Open the spots and surfaces of its scene too, as `open_imaris_spots` and
        `open_imaris_surfaces` do, so that they live in the movie's part; without their
        statistics and labels, which only these two give. ``attrs["scene"]`` says what there is,
        also surfaces that nobody can read.

    Returns
    -------
    xarray.Dataset
        ``image(t, c, z, y, x)`` of the file's own dtype. Times are those of ``TimeInfo`` in
        seconds after the first; places are in micrometres. ``attrs`` hold what else the file
        says; what it does not say and had to be assumed is listed in ``attrs["assumed"]``.
        ``ds["c"].attrs["windows"]`` holds the display range of each channel.

    Raises
    ------
    ImarisError
        Not an Imaris file, or a damaged one, or the level does not exist; also on computing.
    StoreError
        The network or disk failed.
    UsageError
        More than one file was given.

    Examples
    --------
    >>> import tempfile, numpy as np, dpipe.demo
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = dpipe.demo.write_imaris(
    ...         f"{folder}/a.ims", np.ones((1, 2, 3, 40, 50), "u2"), spacing=(2, 0.5, 0.5)
    ...     )
    ...     ds = open_imaris(path)
    ...     dict(ds.sizes), ds.x.attrs["spacing"], int(ds.image.sum())
    ({'t': 1, 'c': 2, 'z': 3, 'y': 40, 'x': 50}, 0.5, 12000)
    """
    uri, name = one_file(url)
    with opened(uri) as file, open_hdf5(file, name) as h5:
        frames, channels, volume = _survey(h5, level)
        facts = _facts(h5, frames, channels, volume.size)
        chunks = (1, 1, *_block(volume, frames * channels))
    read = partial(_read, uri=uri, name=name, level=level, volume=volume, fill=fill_missing)
    image = lazy(read, (frames, channels, *volume.size), volume.dtype, chunks)
    windows = facts.pop("windows")
    ds = schema.movie(image, **facts)
    if windows:
        ds["c"].attrs["windows"] = windows
    return _with_objects(ds, uri, name) if objects else ds


def _with_objects(ds: xr.Dataset, uri: str, name: str) -> xr.Dataset:
    """Add the tables of spots and surfaces that the scene of the file holds."""
    with opened(uri) as file, open_hdf5(file, name) as h5:
        closed = without_mesh(h5, things(h5, "Surfaces"))
        kinds = [kind for kind in _TABLES if things(h5, kind)]
    scene: dict[str, Any] = {"unreadable": closed} if closed else {}
    assumed = list(ds.attrs.get("assumed", ()))
    for kind in kinds:
        table = _TABLES[kind](uri)
        scene[kind.lower()] = table.attrs["objects"]
        assumed += table.attrs.get("assumed", ())
        ds = ds.merge(table.drop_dims(_SAID, errors="ignore"), combine_attrs="override")
    return ds.assign_attrs({"scene": scene} | ({"assumed": assumed} if assumed else {}))


def _survey(h5: h5py.File, level: int) -> tuple[int, int, _Volume]:
    """Look at the header of every volume of a level: all there, and all alike."""
    group = _level(h5, level)
    frames = _complete(group, "TimePoint")
    promised = whole(text(info(h5, "TimeInfo"), "FileTimePoints"))
    if promised is not None and promised > frames:
        raise Flaw(f"TimeInfo promises {promised} time points, {frames} are there; export it again")
    channels = _complete(child(group, "TimePoint 0"), "Channel")
    _, first = _volume(group, 0, 0)
    for t in range(frames):
        here = _complete(child(group, f"TimePoint {t}"), "Channel")
        if here != channels:
            raise Flaw(f"TimePoint {t} has {here} channels; TimePoint 0 has {channels}")
        for c in range(channels):
            _, found = _volume(group, t, c)
            if found != first:
                raise Flaw(f"TimePoint {t} Channel {c} is {found}; expected {first}")
    return frames, channels, first


def _level(h5: h5py.File, level: int) -> h5py.Group:
    data = child(h5, "DataSet")
    if data is None:
        names = ", ".join(sorted(h5)[:8]) or "nothing"
        raise Flaw(f"no group DataSet; this is not an Imaris file. Found: {names}")
    group = child(data, f"ResolutionLevel {level}")
    if group is None:
        levels = ", ".join(map(str, numbered(data, "ResolutionLevel"))) or "none"
        raise Flaw(f"no resolution level {level}; levels there: {levels}")
    return group


def _complete(group: h5py.Group, word: str) -> int:
    """Return how many numbered members there are, and refuse gaps."""
    found, where = numbered(group, word), group.name.lstrip("/")
    if not found:
        raise Flaw(f"{where} holds no {word}")
    if found != list(range(len(found))):
        missing = sorted(set(range(found[-1])) - set(found))
        named = ", ".join(map(str, missing[:8])) + (", ..." if len(missing) > 8 else "")
        raise Flaw(f"{where} lacks {word} {named} of 0 to {found[-1]}")
    return len(found)


def _volume(level: h5py.Group, t: int, c: int) -> tuple[h5py.Dataset, _Volume]:
    """Walk to the pixels of one time point and channel, and say what they are."""
    group: Any = level
    for key in (f"TimePoint {t}", f"Channel {c}"):
        group = child(group, key)
        if group is None:
            raise Flaw(f"no {key}, which was there when the movie was opened")
    where = group.name.lstrip("/")
    dataset = child(group, "Data", h5py.Dataset)
    if dataset is None:
        raise Flaw(f"{where} holds no Data")
    check_volume(dataset)
    size = tuple(whole(text(group, f"ImageSize{axis}")) or 0 for axis in "ZYX")
    if 0 in size:
        size = _size_elsewhere(level, where) or dataset.shape
    if any(not 0 < n <= padded for n, padded in zip(size, dataset.shape, strict=True)):
        raise Flaw(f"{where} should be (z, y, x) = {size}, but its Data is {dataset.shape}")
    chunk = dataset.chunks or (1, *dataset.shape[1:])
    return dataset, _Volume(size, dataset.dtype.newbyteorder("="), chunk)


def _size_elsewhere(level: h5py.Group, where: str) -> tuple[int, ...] | None:
    """Size of the finest level as ``DataSetInfo`` gives it, None if it does not."""
    image = info(level.file, "Image")
    size = tuple(whole(text(image, axis)) or 0 for axis in "ZYX")
    if 0 in size:
        return None
    if level.name.rsplit(" ", 1)[-1] != "0":
        raise Flaw(f"{where} does not say its ImageSizeX, Y, Z; open level 0")
    return size


def _block(volume: _Volume, volumes: int) -> tuple[int, ...]:
    """Cut z, then y, then x into whole HDF5 chunks until a lazy block is small."""
    block = list(volume.size)
    for axis, step in enumerate(volume.chunk):
        row = math.prod(block) // block[axis] * volume.dtype.itemsize
        if row * block[axis] > BLOCK_BYTES:
            block[axis] = min(block[axis], max(1, BLOCK_BYTES // (row * step)) * step)
    blocks = math.prod(-(-n // b) for n, b in zip(volume.size, block, strict=True))
    if blocks * volumes > _LARGEST_GRAPH:
        raise Flaw(f"claims {volumes} volumes of {volume}, more than can be cut into blocks")
    return tuple(block)


def _read(
    region: Region, *, uri: str, name: str, level: int, volume: _Volume, fill: bool
) -> np.ndarray:
    """Read one region of the movie; runs in a task, so it opens the file itself."""
    out = np.empty([s.stop - s.start for s in region], volume.dtype)
    with opened(uri) as file, open_hdf5(file, name) as h5:
        group = _level(h5, level)
        for i, j in np.ndindex(*out.shape[:2]):
            t, c = region[0].start + i, region[1].start + j
            dataset, found = _volume(group, t, c)
            if found != volume:
                raise Flaw(f"TimePoint {t} Channel {c} is now {found}; it was {volume}")
            read_box(dataset, region[2:], out[i, j], fill=fill)
    return out


def _facts(h5: h5py.File, frames: int, channels: int, size: Sequence[int]) -> dict[str, Any]:
    """Gather what the file says of its pixels, in the words of `schema.movie`."""
    image, assumed = info(h5, "Image"), list[str]()
    spacing, origin = _places(image, size, assumed)
    times, problem = seconds(info(h5, "TimeInfo"), frames)
    if times is None and frames > 1:
        assumed.append(f"frames are 1 s apart: TimeInfo has {problem}")
    groups = [info(h5, f"Channel {c}") for c in range(channels)]
    names = [_said(group, "Name") or str(c) for c, group in enumerate(groups)]
    colors = [_color(text(group, "Color")) for group in groups]
    windows = [_numbers(text(group, "ColorRange"), 2) for group in groups]
    levels = numbered(child(h5, "DataSet"), "ResolutionLevel")
    attrs = {"format": "imaris", "resolution_levels": len(levels)}
    told = {
        "format_version": text(h5, "ImarisVersion"),
        "recording_date": text(image, "RecordingDate") or text(info(h5, "TimeInfo"), "TimePoint1"),
        "name": _said(image, "Name"),
        "description": _said(image, "Description"),
        "microscope_modality": _said(image, "MicroscopeModality"),
        "lens_power": _said(image, "LensPower"),
        "numerical_aperture": _said(image, "NumericalAperture"),
    }
    attrs |= {key: value for key, value in told.items() if value}
    if assumed:
        attrs["assumed"] = assumed
    return {
        "spacing": spacing,
        "origin": origin,
        "times": times,
        "channels": names,
        "colors": [color or "FFFFFF" for color in colors] if any(colors) else None,
        "windows": windows if all(windows) else None,
        "attrs": attrs,
    }


def _places(
    image: h5py.Group | None, size: Sequence[int], assumed: list[str]
) -> tuple[list[float], list[float]]:
    """Voxel size and centre of the first voxel along z, y, x, from the borders of the volume."""
    unit = text(image, "Unit")
    scale = MICROMETRES.get(unit, 1.0)
    spacing, origin = [], []
    for axis, (dim, n) in enumerate(zip("zyx", size, strict=True)):
        k = 2 - axis  # ExtMin0 belongs to x
        low, high = number(text(image, f"ExtMin{k}")), number(text(image, f"ExtMax{k}"))
        if low is None or high is None or high <= low:
            assumed.append(f"voxel size along {dim} is 1 micrometre: the extents are {low}, {high}")
            low, high = (low or 0.0) * scale, (low or 0.0) * scale + n
            low, high = low - 0.5, high - 0.5
        else:
            low, high = low * scale, high * scale
        spacing.append((high - low) / n)
        origin.append(low + spacing[-1] / 2)
    if unit not in MICROMETRES:
        assumed.append(f"lengths are micrometres: the unit is {unit!r}")
    return spacing, origin


def _said(group: h5py.Group | None, key: str) -> str:
    value = text(group, key)
    return "" if value in _PLACEHOLDERS else value


def _color(value: str) -> str:
    """RRGGBB of Imaris's "r g b" between 0 and 1, which at times lie a little outside."""
    rgb = _numbers(value, 3)
    return "".join(f"{round(255 * min(1.0, max(0.0, part))):02X}" for part in rgb or [])


def _numbers(value: str, n: int) -> list[float] | None:
    found = [number(part) for part in value.split()]
    known = [part for part in found if part is not None]
    return known if len(found) == len(known) == n else None
