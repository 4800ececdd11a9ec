"""Surfaces in an Imaris file, as triangle meshes one after another.

This module knows what a table of surfaces holds; how the scene of a file is laid out stands in
``scene.py``. Numbers and frames are read on opening, vertices and triangles when computed.
"""

import os
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple, TypedDict

import h5py
import numpy as np
import xarray as xr

from dpipe import compute, schema
from dpipe.formats.hdf5 import Flaw, child, open_hdf5
from dpipe.readers.imaris import scene, statistics
from dpipe.readers.imaris.dataset_info import one_file
from dpipe.sources import opened

_BLOCK_ROWS = 1 << 20
_MOST_CENTERS = 1000
_COORDINATES = ("surface_frame", "surface_track", "surface_id", "vertex_count", "face_count")


class _Piece(NamedTuple):
    """Rows of one dataset: where it is, how many, and micrometres in its unit."""

    path: str
    rows: int
    scale: float


class MeshlessObject(TypedDict):
    """An object without a mesh: how many surfaces it has, and the centres of the first ones."""

    object: str
    surfaces: int
    centers_t_z_y_x: list[list[float]]


def read_surfaces(
    url: str | os.PathLike[str] | Sequence[str],
    object: str | int | None = None,
    *,
    unit: str | None = None,
) -> xr.Dataset:
    """Open them; see `open_imaris_surfaces`."""
    uri, name = one_file(url)
    with opened(uri) as file, open_hdf5(file, name) as h5:
        members = scene.things(h5, "Surfaces", unit)
        closed = without_mesh(h5, members, unit)
        asked = [item for item in closed if object in (None, item["object"])]
        if asked and not _named(members, object):
            raise _unreadable(asked)
        chosen = scene.choose(members, object, "surfaces (Surfaces)")
        frames, _, _ = scene.frame_times(h5)
        tables = [_surfaces(thing) for thing in chosen]
        for thing, columns in zip(chosen, tables, strict=True):
            scene.check_frames(columns["surface_frame"], frames, thing.name)
        descriptions = [
            statistics.describe(
                thing,
                columns["surface_id"],
                columns["surface_track"],
                len(_numbers(thing)) == len(columns["surface_id"]),
            )
            for thing, columns in zip(chosen, tables, strict=True)
        ]
        pieces = [_pieces(thing, columns) for thing, columns in zip(chosen, tables, strict=True)]
    tracks, shifts = scene.apart([columns["surface_track"] for columns in tables])
    joined = {key: np.concatenate([columns[key] for columns in tables]) for key in _COORDINATES}
    joined["surface_track"] = np.concatenate(tracks)
    counts = [len(columns["surface_id"]) for columns in tables]
    if len(tables) > 1:
        joined["surface_object"] = np.repeat(np.arange(len(tables)), counts)
    objects = scene.listed(chosen, "surfaces", counts, shifts)
    attrs: schema.Attributes = {"format": "imaris", "frame_base": 0, "objects": objects}
    attrs["object"] = ", ".join(thing.name for thing in chosen)
    if closed and object is None:
        attrs["unreadable"] = closed
        attrs["notes"] = left_out(closed)
    assumed = [line for thing in chosen for line in thing.assumed]
    attrs |= {"assumed": assumed} if assumed else {}
    beside, coords, more = statistics.variables(descriptions, "surface", uri, name)
    meshes = _meshes(pieces, uri, name)
    return xr.Dataset(meshes | beside, _coordinates(joined) | coords, attrs | more)


def _named(members: Sequence[scene.Thing], choice: str | int | None) -> bool:
    return any(choice in (None, thing.name, thing.number) for thing in members)


def left_out(closed: Sequence[MeshlessObject]) -> list[str]:
    """Return a note on each object without a mesh."""
    return [
        f"{item['surfaces']} surfaces of {item['object']!r} left out: nobody can read their "
        "meshes yet (MegaSurfaces); reader imaris-spots with centers=true gives their centres"
        for item in closed
    ]


def without_mesh(
    h5: h5py.File, members: Sequence[scene.Thing], unit: str | None = None
) -> list[MeshlessObject]:
    """Return the objects that have a mesh on neither side, and the centres of their surfaces."""
    readable = {thing.key for thing in members}
    records = list[MeshlessObject]()
    for thing in scene.things(h5, "MegaSurfaces", unit):
        if thing.key not in readable:
            group = thing.new if thing.new is not None else thing.old
            _, frame, places = scene.centers(group, thing.assumed, thing.name)
            rows = np.column_stack([frame, places * thing.scale])[:_MOST_CENTERS]
            records.append(
                {"object": thing.name, "surfaces": len(frame), "centers_t_z_y_x": rows.tolist()}
            )
    return records


def _unreadable(closed: Sequence[MeshlessObject]) -> Flaw:
    named = ", ".join(f"{item['surfaces']} of {item['object']!r}" for item in closed)
    return Flaw(
        f"meshes that nobody can read yet (MegaSurfaces): {named}; their centres are read by "
        "reader imaris-spots with centers: true, or save the scene from an older Imaris"
    )


def _surfaces(thing: scene.Thing) -> dict[str, np.ndarray]:
    """Read the columns of one object, a row a surface."""
    if thing.old is None:
        raise Flaw(f"{thing.name!r} has no mesh in Scene; save the file again")
    counts = scene.matrix(thing.old, "TimeNVerticesNTriangles", (3,))[()].astype(np.int64)
    frame, vertices, triangles = counts.T
    where = thing.old.name.lstrip("/")
    if np.any(counts[:, 1:] < 0):
        raise Flaw(f"{where}/TimeNVerticesNTriangles holds counts below 0; export it again")
    ids = np.arange(len(counts))
    track = np.full(len(counts), -1, np.int64)
    numbers = _numbers(thing)
    if len(numbers) == len(ids):
        ids = numbers
        track = scene.tracks(thing.new, ids, thing.assumed, thing.name)
    elif _has_numbers(thing):
        thing.assumed.append(
            f"{thing.name}: without numbers and tracks: Scene holds {len(ids)} surfaces, "
            f"Scene8 {len(numbers)}"
        )
    columns = (frame, track, ids, vertices, triangles)
    return dict(zip(_COORDINATES, columns, strict=True))


def _has_numbers(thing: scene.Thing) -> bool:
    return thing.new is not None and child(thing.new, "Surface", h5py.Dataset) is not None


def _numbers(thing: scene.Thing) -> np.ndarray:
    """Return Imaris's own numbers of the surfaces of an object, none where it does not say."""
    if thing.new is None or not _has_numbers(thing):
        return np.empty(0, np.int64)
    return scene.table(thing.new, "Surface", ("ID",))["ID"].astype(np.int64)


def _pieces(thing: scene.Thing, columns: dict[str, np.ndarray]) -> tuple[_Piece, _Piece]:
    """Find the vertices and triangles of one object; there must be as many as promised."""
    pieces = []
    group: h5py.Group = thing.old
    for key, widths, count in (("Vertices", (3, 6), "vertex"), ("Triangles", (3,), "face")):
        rows = len(scene.matrix(group, key, widths))
        promised = int(columns[f"{count}_count"].sum())
        if rows != promised:
            where = f"{group.name}/{key}".lstrip("/")
            raise Flaw(f"{where} has {rows} rows; {promised} are promised; export it again")
        path = f"{group.name}/{key}".lstrip("/")
        pieces.append(_Piece(path, rows, thing.scale if key == "Vertices" else 1.0))
    return pieces[0], pieces[1]


def _coordinates(columns: dict[str, np.ndarray]) -> dict[str, xr.DataArray]:
    sampled = {"vertex_count": "vertex", "face_count": "face"}
    return {
        key: schema.VARIABLES[key].wrap(
            xr.DataArray(column, dims="surface"),
            **({"sample_dimension": sampled[key]} if key in sampled else {}),
        )[key]
        for key, column in columns.items()
    }


def _meshes(
    pieces: Sequence[tuple[_Piece, _Piece]], uri: str, name: str
) -> dict[str, xr.DataArray]:
    vertices, faces = (tuple(piece) for piece in zip(*pieces, strict=True))
    variables: dict[str, xr.DataArray] = {}
    for column, variable in enumerate((schema.VERTEX_X, schema.VERTEX_Y, schema.VERTEX_Z)):
        read = partial(_column, uri=uri, name=name, pieces=vertices, column=column)
        rows = sum(piece.rows for piece in vertices)
        array = compute.lazy(read, (rows,), "f8", (_BLOCK_ROWS,))
        variables |= variable.wrap(xr.DataArray(array, dims="vertex"))
    read = partial(_rows, uri=uri, name=name, pieces=faces)
    array = compute.lazy(read, (sum(piece.rows for piece in faces), 3), "i8", (_BLOCK_ROWS, 3))
    return variables | schema.FACE.wrap(xr.DataArray(array, dims=("face", "corner")))


def _column(
    region: compute.Region, *, uri: str, name: str, pieces: Sequence[_Piece], column: int
) -> np.ndarray:
    box = (region[0], slice(column, column + 1))
    return _rows(box, uri=uri, name=name, pieces=pieces, dtype="f8")[:, 0]


def _rows(
    region: compute.Region, *, uri: str, name: str, pieces: Sequence[_Piece], dtype: str = "i8"
) -> np.ndarray:
    """Read rows of datasets that follow each other; runs in a task."""
    rows, columns = region
    out = np.empty((rows.stop - rows.start, columns.stop - columns.start), dtype)
    first = 0
    with opened(uri) as file, open_hdf5(file, name) as h5:
        for piece in pieces:
            low, high = max(rows.start, first), min(rows.stop, first + piece.rows)
            if low < high:
                *walk, key = piece.path.split("/")
                group: Any = h5
                for step in walk:
                    group = None if group is None else child(group, step)
                if group is None:
                    raise Flaw(f"no {piece.path}, which was there when the file was opened")
                dataset = scene.matrix(group, key, (3, 6))
                if len(dataset) != piece.rows:
                    raise Flaw(f"{piece.path} now has {len(dataset)} rows; it had {piece.rows}")
                values = dataset[low - first : high - first, columns] * piece.scale
                out[low - rows.start : high - rows.start] = values
            first += piece.rows
    return out
