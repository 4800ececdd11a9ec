"""Triangle meshes of a table of surfaces, read a few at a time.

It knows the ragged layout: the vertices and triangles of one surface after those of another, as
many as its counts say. It does not know what is done with a mesh.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from dpipe import schema
from dpipe.compute import compute_region
from dpipe.errors import InputError, SchemaError

_PLACES = (schema.VERTEX_Z, schema.VERTEX_Y, schema.VERTEX_X)
_COUNTS = (schema.VERTEX_COUNT, schema.FACE_COUNT)


@dataclass(frozen=True)
class Mesh:
    """One surface: row in the table, vertices (n, 3) in micrometres along z, y, x, triangles."""

    row: int
    vertices: np.ndarray
    faces: np.ndarray


def select(surfaces: xr.Dataset, columns: Sequence[schema.Variable]) -> xr.Dataset:
    """Keep meshes and some columns of a table, checked and in the order of the vocabulary."""
    variables = (*columns, *_COUNTS, *_PLACES, schema.FACE)
    kept_columns = {variable.name: variable.check(surfaces).variable for variable in variables}
    corners = kept_columns[schema.FACE.name].sizes["corner"]
    if corners != 3:
        raise SchemaError(f"variable 'face_vertex' has {corners} corners; expected triangles")
    return xr.Dataset(kept_columns)


def read_rows(table: xr.Dataset) -> dict[str, np.ndarray]:
    """Read the columns with one value a surface; counts must add up to the table's sizes."""
    names = [str(key) for key, column in table.data_vars.items() if column.dims == ("surface",)]
    rows = compute_region(table, names, {})
    for counts, dim in zip(_COUNTS, ("vertex", "face"), strict=True):
        count, total = rows[counts.name], table.sizes[dim]
        if np.any(count < 0) or int(count.sum()) != total:
            raise InputError(
                f"surfaces: {counts.name} adds up to {int(count.sum())}; the table holds {total}"
            )
    return rows


def read_meshes(
    table: xr.Dataset, rows: Mapping[str, np.ndarray], chosen: np.ndarray
) -> Iterator[Mesh]:
    """Read the meshes of some rows, in order; neighbours in the table at once."""
    ends = [np.concatenate([[0], np.cumsum(rows[counts.name])]) for counts in _COUNTS]
    for run in np.split(chosen, np.flatnonzero(np.diff(chosen) != 1) + 1) if chosen.size else []:
        (v0, v1), (f0, f1) = ((int(end[run[0]]), int(end[run[-1] + 1])) for end in ends)
        region = {"vertex": slice(v0, v1), "face": slice(f0, f1)}
        arrays = compute_region(table, [*(v.name for v in _PLACES), schema.FACE.name], region)
        places = np.stack([arrays[v.name].astype(np.float64) for v in _PLACES], axis=1)
        faces = np.ascontiguousarray(arrays[schema.FACE.name], dtype=np.int64)
        for row in map(int, run):
            yield Mesh(
                row,
                places[ends[0][row] - v0 : ends[0][row + 1] - v0],
                faces[ends[1][row] - f0 : ends[1][row + 1] - f0],
            )


def is_finite(mesh: Mesh) -> bool:
    """Tell whether all places are numbers."""
    return bool(np.all(np.isfinite(mesh.vertices)))


def missing_vertex(mesh: Mesh) -> int | None:
    """Return a vertex that a triangle names and that is not there, if there is one."""
    if not mesh.faces.size or 0 <= mesh.faces.min() <= mesh.faces.max() < len(mesh.vertices):
        return None
    return int(mesh.faces.min() if mesh.faces.min() < 0 else mesh.faces.max())


def check(mesh: Mesh, frame: int) -> None:
    """Refuse a mesh that cannot be drawn."""
    if not is_finite(mesh):
        raise InputError(f"{name(mesh, frame)} has a vertex that is not finite; export it again")
    missing = missing_vertex(mesh)
    if missing is not None:
        raise InputError(
            f"{name(mesh, frame)} has {len(mesh.vertices)} vertices and a triangle that names "
            f"vertex {missing}; export it again"
        )


def name(mesh: Mesh, frame: int) -> str:
    """Return the name of a surface for messages: its frame, track and number."""
    return f"surfaces: number {mesh.row} of the table (frame {frame})"
