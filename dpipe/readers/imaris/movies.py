"""Imaris files (.ims), and the ``.h5`` of the Leuko-Death movies, as lazy movies.

An Imaris 5.5 file is HDF5: one dataset ``Data(z, y, x)`` for each resolution level, time point
and channel, padded up to whole chunks, and a tree ``DataSetInfo`` of text attributes that says
what the pixels are. This module knows what that tree says and turns it into dpipe's words: seconds
after the first frame, micrometres, centres of voxels (Imaris gives the outer borders of the
volume). Where pixels lie stands in ``_imaris_pixels.py``, when they were recorded in
``_imaris_clock.py``.

How HDF5 is read safely and fast stands in ``_hdf5.py``. Spots and surfaces of the same files are
read by ``_scene_spots.py`` and ``_scene_surfaces.py``.
"""

import math
import os
from collections.abc import Sequence
from functools import partial
from typing import Any

import h5py
import xarray as xr

from dpipe import compute, schema
from dpipe.formats.hdf5 import Flaw, child, numbered, open_hdf5, text
from dpipe.readers.imaris.clock import clock
from dpipe.readers.imaris.dataset_info import (
    SUFFIXES,
    directory,
    find,
    micrometres,
    number,
    one_file,
    whole,
)
from dpipe.readers.imaris.pixels import Pixels, blocks_of, read, survey
from dpipe.readers.imaris.scene import things
from dpipe.readers.imaris.spot_tables import read_spots
from dpipe.readers.imaris.surface_tables import left_out, read_surfaces, without_mesh
from dpipe.sources import opened

__all__ = ["SUFFIXES", "find", "open_imaris"]

_TABLES = {"Points": read_spots, "Surfaces": read_surfaces}
_SAID = ("name", "label_group")
_PLACEHOLDERS = ("(name not specified)", "(description not specified)")
_OF_CHANNELS = {
    "description": "Description",
    "excitation_wavelength": "LSMExcitationWavelength",
    "emission_wavelength": "LSMEmissionWavelength",
    "pinhole": "LSMPinhole",
}
"""What stands beside the name of a channel, by the attribute of ``ds["c"]`` that keeps it."""
_MOST_CUSTOM = 100
_LONGEST_CUSTOM = 500


def open_imaris(
    url: str | os.PathLike[str] | Sequence[str],
    *,
    level: int = 0,
    fill_missing: bool = False,
    whole_frames: bool = False,
    unit: str | None = None,
    objects: bool = False,
) -> xr.Dataset:
    """Open an Imaris file as a lazy movie; no pixel is read and no file stays open.

    Every dataset's header is looked at, so a movie with a missing or unlike time point or
    channel is refused here and not halfway through a run. Channels of unlike dtype get the smallest
    one that holds the values of all exactly.

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
    whole_frames : bool
        Of a recording that was stopped, take the time points before the first one that lacks
        something. By default fewer time points than the file promises are an error.
    unit : str, optional
        Unit of its lengths, over what the file says.
    objects : bool
        Open the spots and surfaces of its scene too, as `open_imaris_spots` and
        `open_imaris_surfaces` do, so that they live in the movie's part; without their
        statistics and labels, which only these two give. ``attrs["scene"]`` says what there is,
        also surfaces that nobody can read.

    Returns
    -------
    xarray.Dataset
        ``image(t, c, z, y, x)`` of the file's own dtype. Times are those of ``TimeInfo`` in
        seconds after the first (stamps that contradict the others are not, which is said);
        places are in micrometres. ``attrs`` hold what else the file says; what it does not say
        and had to be assumed is listed in ``attrs["assumed"]``, what is odd in
        ``attrs["notes"]``. ``ds["c"].attrs["windows"]`` holds the display range of each channel.

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
    >>> import tempfile, numpy as np
    >>> from dpipe.formats.imaris_writer import write_imaris
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = write_imaris(
    ...         f"{folder}/a.ims", np.ones((1, 2, 3, 40, 50), "u2"), spacing=(2, 0.5, 0.5)
    ...     )
    ...     ds = open_imaris(path)
    ...     dict(ds.sizes), ds.x.attrs["spacing"], int(ds.image.sum())
    ({'t': 1, 'c': 2, 'z': 3, 'y': 40, 'x': 50}, 0.5, 12000)
    """
    uri, name = one_file(url)
    with opened(uri) as file, open_hdf5(file, name) as h5:
        pixels = survey(h5, level, whole_frames=whole_frames, fill=fill_missing)
        facts, described = _facts(h5, pixels, unit)
        chunks = (1, 1, *blocks_of(pixels))
    volume = pixels.volume
    task = partial(read, uri=uri, name=name, pixels=pixels, fill=fill_missing)
    image = compute.lazy(task, (pixels.frames, pixels.channels, *volume.size), volume.dtype, chunks)
    ds = schema.movie(image, **facts)
    ds["c"].attrs |= described
    return _with_objects(ds, uri, name, unit) if objects else ds


def _with_objects(ds: xr.Dataset, uri: str, name: str, unit: str | None) -> xr.Dataset:
    """Add the tables of spots and surfaces that the scene of the file holds."""
    with opened(uri) as file, open_hdf5(file, name) as h5:
        closed = without_mesh(h5, things(h5, "Surfaces", unit), unit)
        kinds = [kind for kind in _TABLES if things(h5, kind, unit)]
    scene: dict[str, Any] = {"unreadable": closed} if closed else {}
    said = {
        "assumed": list(ds.attrs.get("assumed", ())),
        "notes": [*ds.attrs.get("notes", ()), *left_out(closed)],
    }
    for kind in kinds:
        table = _TABLES[kind](uri, unit=unit)
        scene[kind.lower()] = table.attrs["objects"]
        for key, lines in said.items():
            lines += [line for line in table.attrs.get(key, ()) if line not in lines]
        ds = ds.merge(table.drop_dims(_SAID, errors="ignore"), combine_attrs="override")
    return ds.assign_attrs({"scene": scene} | {key: lines for key, lines in said.items() if lines})


def _facts(
    h5: h5py.File, pixels: Pixels, unit: str | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Gather what the file says: the words of `schema.movie`, and attributes of the channels."""
    known, count = directory(h5, "DataSetInfo"), pixels.channels
    image, clocks = child(known, "Image"), child(known, "TimeInfo")
    spacing, origin, assumed = _places(image, pixels.volume.size, unit)
    times, odd = clock(clocks, pixels.frames)
    groups, strange = _channels(known, count)
    names = [_said(group, "Name") or str(c) for c, group in enumerate(groups)]
    colors = [_color(text(group, "Color")) for group in groups]
    windows = [_numbers(text(group, "ColorRange"), 2) for group in groups]
    described: dict[str, Any] = {"windows": windows} if all(windows) else {}
    for attribute, key in _OF_CHANNELS.items():
        values = [_said(group, key) for group in groups]
        described |= {attribute: values} if any(values) else {}
    levels = numbered(directory(h5, "DataSet"), "ResolutionLevel")
    attrs: dict[str, Any] = {"format": "imaris", "resolution_levels": len(levels)}
    told = {
        "format_version": text(h5, "ImarisVersion"),
        "recording_date": text(image, "RecordingDate") or text(clocks, "TimePoint1"),
        "name": _said(image, "Name"),
        "description": _said(image, "Description"),
        "microscope_modality": _said(image, "MicroscopeModality"),
        "lens_power": _said(image, "LensPower"),
        "numerical_aperture": _said(image, "NumericalAperture"),
        "custom_data": _custom(child(known, "CustomData")),
        "assumed": [*assumed, *odd, *strange],
        "notes": [*pixels.notes, *_contradictions(h5, image, pixels)],
    }
    attrs |= {key: value for key, value in told.items() if value}
    return {
        "spacing": spacing,
        "origin": origin,
        "times": times,
        "channels": names,
        "colors": [color or "FFFFFF" for color in colors] if any(colors) else None,
        "attrs": attrs,
    }, described


def _channels(known: h5py.Group | None, count: int) -> tuple[list[h5py.Group | None], list[str]]:
    """Return what describes each channel of the pixels, and where the two do not agree.

    The pixels count channels from 0. Some writers count them from 1 where they describe them;
    what is numbered in any other way cannot be told, and is left out unless the numbers agree.
    """
    found = [] if known is None else numbered(known, "Channel")
    if found == list(range(1, count + 1)):
        line = (
            "channel names: DataSetInfo counts its channels from 1; they are taken in their order"
        )
        return [child(known, f"Channel {c + 1}") for c in range(count)], [line]
    usable = 0 in found
    groups = [child(known, f"Channel {c}") if usable else None for c in range(count)]
    if not found or found == list(range(count)):
        return groups, []
    numbers = ", ".join(map(str, found[:8])) + (", ..." if len(found) > 8 else "")
    lost = "those of one number are taken together" if usable else "their names are left out"
    line = (
        f"channel names: DataSetInfo describes channels {numbers}, the pixels have 0 to {count - 1}"
    )
    return groups, [f"{line}; {lost}"]


def _contradictions(h5: h5py.File, image: h5py.Group | None, pixels: Pixels) -> list[str]:
    """Say where numbers that the file gives of itself are not what is there."""
    notes = []
    said = tuple(whole(text(image, axis)) for axis in "ZYX")
    if pixels.level == 0 and None not in said and said != pixels.volume.size:
        notes.append(
            f"DataSetInfo says (z, y, x) = {said}; the pixels are {pixels.volume.size}, over which "
            "its extents are divided"
        )
    channels, sets = whole(text(image, "Noc")), whole(text(h5, "NumberOfDataSets"))
    if channels not in (None, pixels.channels):
        notes.append(f"DataSetInfo promises {channels} channels, {pixels.channels} are there")
    if sets is not None and sets > 1:
        notes.append(f"the file says that it holds {sets} images; the first one is read")
    return notes


def _custom(group: h5py.Group | None) -> dict[str, str]:
    """Return what a microscope or a person noted beside, as far as a listing can hold it."""
    found: dict[str, str] = {}
    for name in [] if group is None else sorted(map(str, group.attrs))[:_MOST_CUSTOM]:
        key = name.encode("utf-8", "replace").decode()
        try:
            found[key] = text(group, name)[:_LONGEST_CUSTOM]
        except Flaw:  # larger than text is; no reason to refuse the pixels
            found[key] = "(too long)"
    return found


def _places(
    image: h5py.Group | None, size: Sequence[int], unit: str | None
) -> tuple[list[float], list[float], list[str]]:
    """Voxel size and centre of the first voxel along z, y, x, from the borders of the volume."""
    scale, problem = micrometres(text(image, "Unit"), unit)
    spacing, origin, assumed = [], [], []
    for axis, (dim, n) in enumerate(zip("zyx", size, strict=True)):
        k = 2 - axis  # ExtMin0 belongs to x
        said = [number(text(image, f"{key}{k}")) for key in ("ExtMin", "ExtMax")]
        low, high = (None if value is None else value * scale for value in said)
        if low is not None and high is not None and low < high and math.isfinite(high - low):
            spacing.append((high - low) / n)
            origin.append(low + spacing[-1] / 2)
            continue
        extents = f"{said[0]}, {said[1]}"
        assumed.append(f"voxel size along {dim} is 1 micrometre: the extents are {extents}")
        spacing.append(1.0)
        origin.append(low if low is not None and math.isfinite(low) else 0.0)
    return spacing, origin, assumed + [f"lengths are micrometres: {problem}"] * bool(problem)


def _said(group: h5py.Group | None, key: str) -> str:
    value = text(group, key)
    return "" if value in _PLACEHOLDERS else value


def _color(value: str) -> str:
    """RRGGBB of Imaris's "r g b" between 0 and 1, which at times lie a little outside.

    Other writers count to 255.
    """
    rgb = _numbers(value, 3) or []
    full = 255.0 if max(rgb, default=0.0) > 1.5 else 1.0
    return "".join(f"{round(255 * min(1.0, max(0.0, part / full))):02X}" for part in rgb)


def _numbers(value: str, n: int) -> list[float] | None:
    found = [number(part) for part in value.split()]
    known = [part for part in found if part is not None]
    return known if len(found) == len(known) == n else None
