"""Imaris files (.ims), and the ``.h5`` of the Leuko-Death movies, as lazy movies.

An Imaris 5.5 file is HDF5: one dataset ``Data(z, y, x)`` for each resolution level, time point
and channel, padded up to whole chunks, and a tree ``DataSetInfo`` of text attributes that says
what the pixels are. This module knows what that tree says and turns it into dpipe's words: seconds
after the first frame, micrometres, centres of voxels (Imaris gives the outer borders of the
volume). Where pixels lie stands in ``pixels.py``, when they were recorded in ``clock.py``.

How HDF5 is read safely and fast stands in ``dpipe.formats.hdf5``. Spots and surfaces of the same
files are read by ``spot_tables.py`` and ``surface_tables.py``.
"""

import math
import os
from collections.abc import Sequence
from functools import partial

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
    scene: schema.Attributes = {"unreadable": closed} if closed else {}
    lines_of = {
        "assumed": list(ds.attrs.get("assumed", ())),
        "notes": [*ds.attrs.get("notes", ()), *left_out(closed)],
    }
    for kind in kinds:
        table = _TABLES[kind](uri, unit=unit)
        scene[kind.lower()] = table.attrs["objects"]
        for key, lines in lines_of.items():
            lines += [line for line in table.attrs.get(key, ()) if line not in lines]
        ds = ds.merge(table.drop_dims(_SAID, errors="ignore"), combine_attrs="override")
    return ds.assign_attrs(
        {"scene": scene} | {key: lines for key, lines in lines_of.items() if lines}
    )


def _facts(
    h5: h5py.File, pixels: Pixels, unit: str | None
) -> tuple[schema.MovieFacts, schema.Attributes]:
    """Gather the facts of a movie, and attributes of its channels."""
    description, count = directory(h5, "DataSetInfo"), pixels.channels
    image, clocks = child(description, "Image"), child(description, "TimeInfo")
    spacing, origin, assumed = _places(image, pixels.volume.size, unit)
    times, odd = clock(clocks, pixels.frames)
    groups, strange = _channels(description, count)
    names = [_said(group, "Name") or str(c) for c, group in enumerate(groups)]
    colors = [_color(text(group, "Color")) for group in groups]
    windows = [_numbers(text(group, "ColorRange"), 2) for group in groups]
    described: schema.Attributes = {"windows": windows} if all(windows) else {}
    for attribute, key in _OF_CHANNELS.items():
        values = [_said(group, key) for group in groups]
        described |= {attribute: values} if any(values) else {}
    levels = numbered(directory(h5, "DataSet"), "ResolutionLevel")
    attrs: schema.Attributes = {"format": "imaris", "resolution_levels": len(levels)}
    optional = {
        "format_version": text(h5, "ImarisVersion"),
        "recording_date": text(image, "RecordingDate") or text(clocks, "TimePoint1"),
        "name": _said(image, "Name"),
        "description": _said(image, "Description"),
        "microscope_modality": _said(image, "MicroscopeModality"),
        "lens_power": _said(image, "LensPower"),
        "numerical_aperture": _said(image, "NumericalAperture"),
        "custom_data": _custom(child(description, "CustomData")),
        "assumed": [*assumed, *odd, *strange],
        "notes": [*pixels.notes, *_contradictions(h5, image, pixels)],
    }
    attrs |= {key: value for key, value in optional.items() if value}
    facts: schema.MovieFacts = {
        "spacing": spacing,
        "origin": origin,
        "channels": names,
        "attrs": attrs,
    }
    if times is not None:
        facts["times"] = times
    if any(colors):
        facts["colors"] = [color or "FFFFFF" for color in colors]
    return facts, described


def _channels(
    description: h5py.Group | None, count: int
) -> tuple[list[h5py.Group | None], list[str]]:
    """Return the description of each channel of the pixels, and notes where they disagree.

    The pixels count channels from 0. Some writers count them from 1 where they describe them;
    what is numbered in any other way cannot be told, and is left out unless the numbers agree.
    """
    numbers = [] if description is None else numbered(description, "Channel")
    if numbers == list(range(1, count + 1)):
        line = (
            "channel names: DataSetInfo counts its channels from 1; they are taken in their order"
        )
        return [child(description, f"Channel {c + 1}") for c in range(count)], [line]
    usable = 0 in numbers
    groups = [child(description, f"Channel {c}") if usable else None for c in range(count)]
    if not numbers or numbers == list(range(count)):
        return groups, []
    listed = ", ".join(map(str, numbers[:8])) + (", ..." if len(numbers) > 8 else "")
    lost = "those of one number are taken together" if usable else "their names are left out"
    line = (
        f"channel names: DataSetInfo describes channels {listed}, the pixels have 0 to {count - 1}"
    )
    return groups, [f"{line}; {lost}"]


def _contradictions(h5: h5py.File, image: h5py.Group | None, pixels: Pixels) -> list[str]:
    """Return notes on numbers of the file that the pixels contradict."""
    notes = []
    size = tuple(whole(text(image, axis)) for axis in "ZYX")
    if pixels.level == 0 and None not in size and size != pixels.volume.size:
        notes.append(
            f"DataSetInfo says (z, y, x) = {size}; the pixels are {pixels.volume.size}, over which "
            "its extents are divided"
        )
    channels, sets = whole(text(image, "Noc")), whole(text(h5, "NumberOfDataSets"))
    if channels not in (None, pixels.channels):
        notes.append(f"DataSetInfo promises {channels} channels, {pixels.channels} are there")
    if sets is not None and sets > 1:
        notes.append(f"the file says that it holds {sets} images; the first one is read")
    return notes


def _custom(group: h5py.Group | None) -> dict[str, str]:
    """Return the notes of a microscope or a person, as far as a listing can hold them."""
    notes: dict[str, str] = {}
    for name in [] if group is None else sorted(map(str, group.attrs))[:_MOST_CUSTOM]:
        key = name.encode("utf-8", "replace").decode()
        try:
            notes[key] = text(group, name)[:_LONGEST_CUSTOM]
        except Flaw:  # larger than text is; no reason to refuse the pixels
            notes[key] = "(too long)"
    return notes


def _places(
    image: h5py.Group | None, size: Sequence[int], unit: str | None
) -> tuple[list[float], list[float], list[str]]:
    """Voxel size and centre of the first voxel along z, y, x, from the borders of the volume."""
    scale, problem = micrometres(text(image, "Unit"), unit)
    spacing, origin, assumed = [], [], []
    for axis, (dim, n) in enumerate(zip("zyx", size, strict=True)):
        k = 2 - axis  # ExtMin0 belongs to x
        extents = [number(text(image, f"{key}{k}")) for key in ("ExtMin", "ExtMax")]
        low, high = (None if value is None else value * scale for value in extents)
        if low is not None and high is not None and low < high and math.isfinite(high - low):
            spacing.append((high - low) / n)
            origin.append(low + spacing[-1] / 2)
            continue
        assumed.append(
            f"voxel size along {dim} is 1 micrometre: the extents are {extents[0]}, {extents[1]}"
        )
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
    parts = [number(part) for part in value.split()]
    numbers = [part for part in parts if part is not None]
    return numbers if len(parts) == len(numbers) == n else None
