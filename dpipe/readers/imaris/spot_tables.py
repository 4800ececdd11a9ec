"""Spots and their tracks in an Imaris file, as a table with one row a spot.

This module knows what a table of spots holds; how the scene of a file is laid out stands in
``scene.py``. Meshes are read by ``surface_tables.py``.
"""

import os
from collections.abc import Sequence

import h5py
import numpy as np
import xarray as xr

from dpipe import schema
from dpipe.formats.hdf5 import child, open_hdf5
from dpipe.readers.imaris import scene, statistics
from dpipe.readers.imaris.dataset_info import one_file
from dpipe.sources import opened

_Columns = dict[str, np.ndarray]


def read_spots(
    url: str | os.PathLike[str] | Sequence[str],
    object: str | int | None = None,
    *,
    centers: bool = False,
    unit: str | None = None,
) -> xr.Dataset:
    """Read them; see `open_imaris_spots`."""
    uri, name = one_file(url)
    kind = "MegaSurfaces" if centers else "Points"
    with opened(uri) as file, open_hdf5(file, name) as h5:
        what = "surfaces that have only centres (MegaSurfaces)" if centers else "spots (Points)"
        chosen = scene.choose(scene.things(h5, kind, unit), object, what)
        frames, times, odd = scene.frame_times(h5)
        read = _centers if centers else _spots
        tables = [read(thing) for thing in chosen]
        for thing, columns in zip(chosen, tables, strict=True):
            scene.check_frames(columns["frame"], frames, thing.name)
        descriptions = [
            statistics.describe(
                thing, columns["spot_id"], columns["track"], centers or _is_modern(thing)
            )
            for thing, columns in zip(chosen, tables, strict=True)
        ]
    track, shifts = scene.apart([columns["track"] for columns in tables])
    counts = [len(columns["frame"]) for columns in tables]
    joined = {key: np.concatenate([columns[key] for columns in tables]) for key in tables[0]}
    joined["track"] = np.concatenate(track)
    frame = joined["frame"]
    joined["spot_t"] = times[frame] if len(times) else np.full(len(frame), np.nan)
    several = {"spot_object": np.repeat(np.arange(len(tables)), counts)} if len(tables) > 1 else {}
    objects = scene.listed(chosen, "spots", counts, shifts)
    assumed = [line for thing in chosen for line in thing.assumed]
    ds = _table(joined | several, objects, assumed + odd)
    variables, coords, attrs = statistics.variables(descriptions, "spot", uri, name)
    return ds.assign(variables).assign_coords(coords).assign_attrs(attrs)


def _table(
    columns: _Columns, objects: Sequence[scene.SceneObject], assumed: list[str]
) -> xr.Dataset:
    variables = {
        key: schema.VARIABLES[key].wrap(xr.DataArray(column, dims="spot"))[key]
        for key, column in columns.items()
    }
    coords = {
        key: variables.pop(key) for key in ("track", "frame", "spot_object") if key in variables
    }
    names = [str(item["name"]) for item in objects]
    attrs: schema.Attributes = {"format": "imaris", "frame_base": 0, "object": ", ".join(names)}
    attrs |= {"objects": list(objects)} | ({"assumed": assumed} if assumed else {})
    return xr.Dataset(variables, coords=coords, attrs=attrs)


def _spots(thing: scene.Thing) -> _Columns:
    """Read one object, in micrometres."""
    if thing.new is not None and _is_modern(thing):
        return _modern(thing, thing.new)
    return _legacy(thing, thing.old if thing.old is not None else thing.new)


def _is_modern(thing: scene.Thing) -> bool:
    return thing.new is not None and child(thing.new, "Spot", h5py.Dataset) is not None


def _modern(thing: scene.Thing, group: h5py.Group) -> _Columns:
    axes = ("PositionZ", "PositionY", "PositionX", "Radius")
    spots = scene.table(group, "Spot", ("ID", *axes))
    ids = spots["ID"].astype(np.int64)
    if thing.old is not None:
        count = len(scene.matrix(thing.old, "CoordsXYZR", (4,)))
        if count != len(ids):
            thing.assumed.append(
                f"{thing.name}: Scene8 is right: it holds {len(ids)} spots, Scene {count}"
            )
    return {
        "frame": scene.frames_by_offset(group, "SpotTimeOffset", len(ids)),
        "track": scene.tracks(group, ids, thing.assumed, thing.name),
        "spot_id": ids,
        **_places(*(spots[axis] for axis in axes), scale=thing.scale),
    }


def _legacy(thing: scene.Thing, group: h5py.Group) -> _Columns:
    places = scene.matrix(group, "CoordsXYZR", (4,))[()]
    frame = _frames(group, len(places))
    track = np.full(len(places), -1, np.int64)
    if child(group, "Edges", h5py.Dataset) is not None:
        edges = scene.matrix(group, "Edges", (2,))[()].astype(np.int64)
        track = scene.connected(edges, len(places), f"{group.name.lstrip('/')}/Edges")
        thing.assumed.append(f"{thing.name}: tracks are spots joined by edges, numbered by dpipe")
    x, y, z, radius = places.T
    return {
        "frame": frame,
        "track": track,
        "spot_id": np.arange(len(places)),
        **_places(z, y, x, radius, scale=thing.scale),
    }


def _frames(group: h5py.Group, rows: int) -> np.ndarray:
    frame = scene.matrix(group, "Time", (1,))[()].reshape(-1).astype(np.int64)
    if len(frame) != rows:
        where = group.name.lstrip("/")
        raise scene.Flaw(f"{where} holds {rows} places and {len(frame)} times; export it again")
    return frame


def _centers(thing: scene.Thing) -> _Columns:
    group = thing.new if thing.new is not None else thing.old
    ids, frame, centers = scene.centers(group, thing.assumed, thing.name)
    z, y, x = centers.T
    return {
        "frame": frame,
        "track": scene.tracks(group, ids, thing.assumed, thing.name),
        "spot_id": ids,
        **_places(z, y, x, np.full(len(ids), np.nan), scale=thing.scale),
    }


def _places(
    z: np.ndarray, y: np.ndarray, x: np.ndarray, radius: np.ndarray, *, scale: float
) -> _Columns:
    """Columns in micrometres; a radius that is not above 0 is not known."""
    with np.errstate(invalid="ignore"):
        radius = np.where(radius > 0, radius, np.nan)
    columns = {"spot_z": z, "spot_y": y, "spot_x": x, "spot_radius": radius}
    return {key: column.astype(np.float64) * scale for key, column in columns.items()}
