"""What single surfaces measure, and what is wrong with their meshes.

It knows areas and volumes of triangle meshes. It knows nothing of voxels or movies.
"""

from functools import partial

import numpy as np
import xarray as xr

from dpipe import schema
from dpipe.compute import Region, lazy
from dpipe.operators.surfaces import meshes as surfaces_meshes
from dpipe.operators.surfaces import solid

_FLAGS = {name: 1 << bit for bit, name in enumerate(schema.SURFACE_FLAGS)}
_COLUMNS = (
    schema.SURFACE_FLAG,
    schema.SURFACE_AREA,
    schema.SURFACE_VOLUME,
    schema.SURFACE_Z,
    schema.SURFACE_Y,
    schema.SURFACE_X,
)
_BLOCK_SURFACES = 256


def surface_measures(ds: xr.Dataset) -> xr.Dataset:
    """Measure each surface of a table, and say what keeps it from being drawn or filled.

    The volume is the sum of the signed tetrahedra from a vertex to the triangles, and the centre
    that of this volume; both are NaN where a mesh is not closed or its triangles are not turned
    alike. The area is the sum of the triangles.

    Parameters
    ----------
    ds : xarray.Dataset
        Meshes: ``vertex_count(surface)``, ``face_count(surface)``, ``vertex_z(vertex)``,
        ``vertex_y(vertex)``, ``vertex_x(vertex)`` in micrometres and
        ``face_vertex(face, corner)``, the vertices of one surface after those of another, indices
        within each surface from 0.

    Returns
    -------
    xarray.Dataset
        Lazy, over ``surface``, with its coordinates: ``surface_area``, ``surface_volume``,
        ``surface_z``, ``surface_y``, ``surface_x`` and ``surface_flag``, a sum of bits: 1 no
        triangles, 2 holes, 4 triangles that are not turned alike, 8 a vertex that is not finite,
        16 a triangle that names a vertex that is not there. With 8 or 16 nothing is measured.

    Raises
    ------
    InputError
        On computing: the counts do not add up.
    SchemaError
        A variable is missing or of another kind.

    Examples
    --------
    A tetrahedron with three edges of 3 micrometres along the axes has the volume 27 / 6:

    >>> mesh = xr.Dataset(
    ...     {
    ...         "vertex_z": ("vertex", [0.0, 3, 0, 0]),
    ...         "vertex_y": ("vertex", [0.0, 0, 3, 0]),
    ...         "vertex_x": ("vertex", [0.0, 0, 0, 3]),
    ...         "face_vertex": (("face", "corner"), [[0, 1, 2], [0, 2, 3], [0, 3, 1], [1, 3, 2]]),
    ...     },
    ...     {"vertex_count": ("surface", [4]), "face_count": ("surface", [4])},
    ... )
    >>> measured = surface_measures(mesh).compute()
    >>> measured["surface_volume"].item(), measured["surface_flag"].item()
    (4.5, 0)
    """
    table = surfaces_meshes.select(ds, ())
    count = table.sizes["surface"]
    run = partial(_measure, table=table)
    figures = lazy(run, (count, len(_COLUMNS)), "f8", (_BLOCK_SURFACES, len(_COLUMNS)))
    coords = {k: v for k, v in ds.coords.items() if v.dims == ("surface",)}
    bits = {"flag_masks": list(_FLAGS.values()), "flag_meanings": " ".join(_FLAGS)}
    result: dict[str, xr.DataArray] = {}
    for i, variable in enumerate(_COLUMNS):
        column = xr.DataArray(figures[:, i], dims="surface", coords=coords)
        if variable is schema.SURFACE_FLAG:
            result |= variable.wrap(column.astype(np.uint8), **bits)
        else:
            result |= variable.wrap(column)
    return xr.Dataset(result)


def _measure(region: Region, *, table: xr.Dataset) -> np.ndarray:
    """Measure a run of surfaces; runs in a task."""
    rows, columns = region
    numbers = np.arange(rows.start, rows.stop)
    meshes = surfaces_meshes.read_meshes(table, surfaces_meshes.read_rows(table), numbers)
    figures = [_figures(mesh) for mesh in meshes]
    return np.array(figures, float).reshape(len(numbers), len(_COLUMNS))[:, columns]


def _figures(mesh: surfaces_meshes.Mesh) -> list[float]:
    flag = _FLAGS["empty"] * (not len(mesh.faces))
    flag += _FLAGS["not_finite"] * (not surfaces_meshes.is_finite(mesh))
    flag += _FLAGS["missing_vertex"] * (surfaces_meshes.missing_vertex(mesh) is not None)
    if flag:
        return [flag, *[np.nan] * (len(_COLUMNS) - 1)]
    closed = solid.is_closed(mesh.vertices, mesh.faces)
    flag += _FLAGS["not_closed"] * (not closed)
    alike = _is_turned_alike(mesh.vertices, mesh.faces)
    flag += _FLAGS["turned_triangles"] * (closed and not alike)
    origin = mesh.vertices[0]  # near the mesh: less is lost
    a, b, c = (mesh.vertices - origin)[mesh.faces].transpose(1, 0, 2)
    area = float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2)
    parts = np.einsum("fi,fi->f", a, np.cross(b, c)) / 6
    volume = float(parts.sum())
    if flag or not volume:
        return [flag, area, *[np.nan] * (len(_COLUMNS) - 2)]
    center = origin + parts @ (a + b + c) / (4 * volume)
    return [flag, area, abs(volume), *center.tolist()]


def _is_turned_alike(vertices: np.ndarray, faces: np.ndarray) -> bool:
    """Tell whether each edge is run through as often one way as the other."""
    _, same = np.unique(vertices, axis=0, return_inverse=True)
    corners = same.reshape(-1)[faces]
    starts, stops = corners.ravel(), np.roll(corners, -1, axis=1).ravel()
    forward, backward = starts * len(vertices) + stops, stops * len(vertices) + starts
    return np.array_equal(np.sort(forward), np.sort(backward))
