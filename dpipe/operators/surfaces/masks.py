"""Label images from triangle meshes: which voxels belong to which surface.

It knows where surfaces and voxels lie, and what to do where surfaces overlap or are not closed.
How one mesh becomes voxels stands in ``_solid.py`` and ``_shell.py``. It knows nothing of the
files that meshes come from.
"""

from functools import partial
from typing import Literal, NamedTuple

import numpy as np
import xarray as xr

from dpipe import schema
from dpipe.compute import Region, lazy
from dpipe.errors import InputError, SchemaError
from dpipe.operators.parameters import check_choice
from dpipe.operators.surfaces import shell as surfaces_shell
from dpipe.operators.surfaces import solid
from dpipe.operators.surfaces.meshes import Mesh, check, name, read_meshes, read_rows, select
from dpipe.operators.surfaces.places import Grid, frame_numbers, grid

Rule = Literal["solid", "shell", "union"]
Unclosed = Literal["shell", "refuse"]
Number = Literal["surface", "track"]

_BLOCK_VOXELS = 16 << 20
_LARGEST_LABEL = 2**32 - 1


def mesh_masks(
    ds: xr.Dataset,
    surfaces: xr.Dataset,
    *,
    image: str = "image",
    rule: Rule = "solid",
    unclosed: Unclosed = "shell",
    number: Number = "surface",
    dims: int = 3,
    first_frame: int | None = None,
) -> xr.Dataset:
    """Draw the surfaces of each frame into a label image of the movie's size.

    A surface is drawn in the frame that it belongs to, whatever its place in the table. Blocks
    are made one by one, each from the meshes that reach into it, and do not depend on how they
    are cut. Where surfaces overlap, the one that comes first in the table has the voxel. A
    surface without triangles marks nothing.

    Parameters
    ----------
    ds : xarray.Dataset
        A movie; only its size and coordinates are used.
    surfaces : xarray.Dataset
        Meshes of that movie: ``surface_frame(surface)``, ``vertex_count(surface)``,
        ``face_count(surface)``, ``vertex_z(vertex)``, ``vertex_y(vertex)``, ``vertex_x(vertex)``
        in micrometres and ``face_vertex(face, corner)``, the vertices of one surface after those of
        another, indices within each surface from 0.
    image : str
        Name of the movie's variable with dims (t, c, z, y, x).
    rule : {"solid", "shell", "union"}
        ``"solid"``: voxels whose centre lies inside, by the parity of crossings; exact for
        closed meshes, and a centre exactly on the border is inside where the mesh is above it
        along that axis. ``"shell"``: voxels that a triangle passes through, as in the masks
        published with the Leuko-Death movies [1]_ [2]_: they hold the border and not what is
        inside, and a triangle exactly between voxels marks neither. ``"union"``: both.
    unclosed : {"shell", "refuse"}
        What becomes of a mesh with holes, which has no inside: only its shell is drawn, or it is
        an error.
    number : {"surface", "track"}
        What the labels are: 1 for the first surface of the table, 2 for the next, and so on; or
        the number of its track, the same in all frames.
    dims : {3, 2}
        2 gives the largest label along z of each column, under one z, in the middle of the stack
        and as thick as all of it.
    first_frame : int, optional
        Frame number of the movie's first frame, and its frames follow each other. By default
        a movie that starts at 0 s holds all frames; of one cut along t, frames are found again
        by their times, if these are even.

    Returns
    -------
    xarray.Dataset
        Lazy ``labels`` over (t, z, y, x), uint32, 0 outside.

    Raises
    ------
    InputError
        On computing: a vertex is not finite, a triangle names a vertex that is not there, the
        counts do not add up, or a mesh has holes and `unclosed` is ``"refuse"``.
    SchemaError
        A variable is missing, the voxels are not evenly spaced, or the frames cannot be told; on
        computing: a track number that cannot be a label.
    UsageError
        An unknown value of a parameter.

    References
    ----------
    .. [1] Leuko-Death, Methods, "Masks", and its code.
    .. [2] M. Schwarz, H.-P. Seidel, "Fast parallel surface and solid voxelization on GPUs",
           ACM Transactions on Graphics 29 (6), 2010.

    Examples
    --------
    A tetrahedron with the corner at the first voxel, 3 micrometres along each axis:

    >>> movie = schema.movie(np.zeros((1, 1, 4, 4, 4), "u1"))
    >>> mesh = xr.Dataset(
    ...     {
    ...         "vertex_z": ("vertex", [0.0, 3, 0, 0]),
    ...         "vertex_y": ("vertex", [0.0, 0, 3, 0]),
    ...         "vertex_x": ("vertex", [0.0, 0, 0, 3]),
    ...         "face_vertex": (("face", "corner"), [[0, 1, 2], [0, 2, 3], [0, 3, 1], [1, 3, 2]]),
    ...     },
    ...     {
    ...         "surface_frame": ("surface", [0]),
    ...         "vertex_count": ("surface", [4]),
    ...         "face_count": ("surface", [4]),
    ...     },
    ... )
    >>> masks = mesh_masks(movie, mesh)
    >>> masks["labels"].values[0, 0].tolist()
    [[1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    """
    frames = schema.IMAGE.check(ds, image)
    check_choice("rule", rule, ("solid", "shell", "union"))
    check_choice("unclosed", unclosed, ("shell", "refuse"))
    check_choice("number", number, ("surface", "track"))
    check_choice("dims", dims, (3, 2))
    columns = [schema.SURFACE_FRAME] + [schema.SURFACE_TRACK] * (number == "track")
    shape = tuple(int(frames.sizes[dim]) for dim in ("t", *schema.SPACE_DIMS))
    run = partial(
        _draw,
        table=select(surfaces, columns),
        numbers=frame_numbers(frames, first_frame),
        grid=grid(frames),
        drawing=_Drawing(rule, unclosed, number),
    )
    coords = {str(k): v for k, v in frames.coords.items() if "c" not in v.dims}
    if dims == 2:
        run, shape = partial(_flat, draw=run, planes=shape[1]), (shape[0], 1, *shape[2:])
        coords = {k: v for k, v in coords.items() if "z" not in v.dims} | _one_plane(frames)
    chunks = _chunks(shape, frames.sizes["z"] if dims == 2 else 1)
    array = xr.DataArray(
        lazy(run, shape, "u4", chunks), dims=("t", *schema.SPACE_DIMS), coords=coords
    )
    attrs = {"rule": rule, "unclosed": unclosed, "number": number, "overlap": "first surface"}
    return xr.Dataset(schema.LABELS.wrap(array, **attrs))


class _Drawing(NamedTuple):
    rule: Rule
    unclosed: Unclosed
    number: Number


def _one_plane(frames: xr.DataArray) -> dict[str, xr.DataArray]:
    places, step = frames["z"].values, schema.spacing(frames, "z")
    thick = {"units": "micrometer", "spacing": step * len(places)}
    return {"z": xr.DataArray([float(np.mean(places))], dims="z", attrs=thick)}


def _chunks(shape: tuple[int, ...], planes: int) -> tuple[int, ...]:
    """Whole volumes if they are small, else parts of them; `planes` lie behind each plane."""
    block = [1, *shape[1:]]
    for axis in (1, 2, 3):
        others = max(1, int(np.prod(block)) // max(1, block[axis])) * planes
        block[axis] = max(1, min(block[axis], _BLOCK_VOXELS // others))
    return tuple(block)


def _flat(region: Region, *, draw: partial, planes: int) -> np.ndarray:
    """Take the largest label along z, a frame at a time."""
    t, _, y, x = region
    frames = [
        draw((slice(i, i + 1), slice(0, planes), y, x)).max(axis=1, initial=0, keepdims=True)
        for i in range(t.start, t.stop)
    ]
    shape = (0, 1, y.stop - y.start, x.stop - x.start)
    return np.concatenate([np.empty(shape, np.uint32), *frames])


def _draw(
    region: Region, *, table: xr.Dataset, numbers: np.ndarray, grid: Grid, drawing: _Drawing
) -> np.ndarray:
    """Draw one region of the labels; runs in a task."""
    labels = np.zeros([cut.stop - cut.start for cut in region], np.uint32)
    rows = read_rows(table)
    for i, frame in enumerate(numbers[region[0]]):
        here = np.flatnonzero(rows[schema.SURFACE_FRAME.name] == frame)
        for mesh in read_meshes(table, rows, here):
            check(mesh, int(frame))
            points = (mesh.vertices - grid.origin) / grid.spacing
            box = _box(points, region[1:])
            if box is None or not len(mesh.faces):
                continue
            mask = _mask(mesh, points, box, drawing, int(frame))
            cuts = (
                slice(b.start - r.start, b.stop - r.start)
                for b, r in zip(box, region[1:], strict=True)
            )
            region_labels = labels[i][tuple(cuts)]
            value = _label(rows, mesh.row, drawing.number)
            np.copyto(region_labels, value, where=mask.view(bool) & (region_labels == 0))
    return labels


def _box(points: np.ndarray, region: Region) -> tuple[slice, ...] | None:
    """Return the voxels of a region that a mesh may touch, None if there are none."""
    if not len(points):
        return None
    box = []
    for axis, cut in enumerate(region):
        low, high = points[:, axis].min(), points[:, axis].max()
        start = cut.start if low < cut.start else int(min(np.floor(low), cut.stop))
        stop = cut.stop if high > cut.stop else int(max(np.ceil(high) + 1, cut.start))
        box.append(slice(start, min(stop, cut.stop)))
    return tuple(box) if all(cut.start < cut.stop for cut in box) else None


def _mask(
    mesh: Mesh, points: np.ndarray, box: tuple[slice, ...], drawing: _Drawing, frame: int
) -> np.ndarray:
    """Draw one mesh into a box of voxels, uint8 of 0 and 1."""
    mask = np.zeros([cut.stop - cut.start for cut in box], np.uint8)
    first = np.array([cut.start for cut in box], np.int64)
    shell = drawing.rule != "solid"
    if drawing.rule != "shell":
        if solid.is_closed(mesh.vertices, mesh.faces):
            solid.fill(mask, points, mesh.faces, first)
        elif drawing.unclosed == "refuse":
            raise InputError(f"{name(mesh, frame)} has holes, so it has no inside")
        else:
            shell = True
    if shell:
        surfaces_shell.mark(mask, points, mesh.faces, first)
    return mask


def _label(rows: dict[str, np.ndarray], row: int, number: Number) -> int:
    if number == "surface":
        return row + 1
    track = int(rows[schema.SURFACE_TRACK.name][row])
    if not 0 < track <= _LARGEST_LABEL:
        raise SchemaError(
            f"surfaces: number {row} of the table has track {track}; as a label it must be "
            f"1 to {_LARGEST_LABEL}: use number='surface'"
        )
    return track
