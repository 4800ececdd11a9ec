"""Meshes to voxels: dpipe's kernels, VTK's stencil, and the published rule written in NumPy.

``python benchmarks/masks3d.py`` prints its lines of the table; VTK is of the
extra ``bench``, and without it its lines say "not run".
"""

import importlib.util
import itertools
from functools import partial

import numpy as np
from _side_by_side import Line, by_turns, line, machine, table, versions

from dpipe.operators.surfaces import shell as surfaces_shell
from dpipe.operators.surfaces import solid as surfaces_solid

Mesh = tuple[np.ndarray, np.ndarray]
CASES = ((3, (16, 40, 40)), (4, (48, 96, 96)), (6, (128, 128, 128)), (6, (256, 256, 256)))
"""How often the edges of an octahedron are halved; voxels (z, y, x)."""


def blob(divisions: int, shape: tuple[int, int, int]) -> Mesh:
    """Draw a closed, bumpy ellipsoid that nearly fills the voxels, at no special place."""
    vertices = np.concatenate([np.eye(3), -np.eye(3)])
    signs = itertools.product((0, 3), repeat=3)
    faces = np.array([[0 + a, 1 + b, 2 + c][:: 1 - 2 * ((a + b + c) % 2)] for a, b, c in signs])
    for _ in range(divisions):
        corners = vertices[faces]
        middles = corners + np.roll(corners, -1, axis=1)
        middles /= np.linalg.norm(middles, axis=2, keepdims=True)
        (a, b, c), (ab, bc, ca) = corners.transpose(1, 0, 2), middles.transpose(1, 0, 2)
        four = [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
        soup = np.concatenate([np.stack(three, axis=1) for three in four]).reshape(-1, 3)
        vertices, flat = np.unique(soup.round(12), axis=0, return_inverse=True)
        faces = flat.reshape(-1, 3)
    bumps = 1 + 0.08 * np.sin(7 * vertices[:, :1] + 5 * vertices[:, 1:2])
    middle = np.array(shape) / 2 - 0.5
    return vertices * bumps * middle * 0.9 + middle + (0.013, 0.021, 0.034), faces


def solid(mesh: Mesh, shape: tuple[int, ...]) -> np.ndarray:
    """Fill a mesh, having seen that it is closed."""
    mask = np.zeros(shape, np.uint8)
    assert surfaces_solid.is_closed(*mesh)
    surfaces_solid.fill(mask, *mesh, np.zeros(3, np.int64))
    return mask


def shell(mesh: Mesh, shape: tuple[int, ...]) -> np.ndarray:
    mask = np.zeros(shape, np.uint8)
    surfaces_shell.mark(mask, *mesh, np.zeros(3, np.int64))
    return mask


def published(mesh: Mesh, shape: tuple[int, ...]) -> np.ndarray:
    """Test every voxel against every triangle, triangle by triangle, after the published code."""
    corner = np.stack(np.indices(shape), axis=-1)[..., ::-1] - 0.5
    mask = np.zeros(shape, bool)
    for v in mesh[0][mesh[1]][..., ::-1]:
        hit = np.all((v.min(0) < corner + 1) & (v.max(0) > corner), axis=-1)
        edges = np.roll(v, -1, axis=0) - v
        normal = np.cross(edges[0], edges[1])
        far = (normal > 0).astype(float)
        ends = normal @ (far - v[0]), normal @ (1 - far - v[0])
        plane = corner @ normal
        hit &= (plane + ends[0]) * (plane + ends[1]) <= 0
        for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
            sign = 1 if normal[k] >= 0 else -1
            for start, edge in zip(v, edges, strict=True):
                across = np.array([-edge[j], edge[i]]) * sign
                shift = np.maximum(across, 0).sum() - across @ start[[i, j]]
                hit &= corner[..., [i, j]] @ across + shift >= 0
        mask |= hit
    return mask


class Stencil:
    """VTK's way: polygons to a stencil of runs, the stencil to an image."""

    def __init__(self, mesh: Mesh, shape: tuple[int, ...]) -> None:
        from vtkmodules.util import numpy_support as arrays
        from vtkmodules.vtkCommonCore import vtkPoints
        from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkPolyData
        from vtkmodules.vtkImagingStencil import vtkImageStencilToImage, vtkPolyDataToImageStencil

        self.to_numpy = arrays.vtk_to_numpy
        points, cells, self.surface = vtkPoints(), vtkCellArray(), vtkPolyData()
        places = np.ascontiguousarray(mesh[0][:, ::-1])
        points.SetData(arrays.numpy_to_vtk(places, deep=True))
        corners = arrays.numpy_to_vtkIdTypeArray(mesh[1].ravel().astype(np.int64), deep=True)
        cells.SetData(3, corners)
        self.surface.SetPoints(points)
        self.surface.SetPolys(cells)
        self.shape, self.stencil, self.image = (
            shape,
            vtkPolyDataToImageStencil,
            vtkImageStencilToImage,
        )

    def __call__(self) -> np.ndarray:
        """Make the pipeline anew, so that nothing is kept from the turn before."""
        nz, ny, nx = self.shape
        stencil, image = self.stencil(), self.image()
        stencil.SetInputData(self.surface)
        stencil.SetTolerance(0)
        stencil.SetOutputOrigin(0, 0, 0)
        stencil.SetOutputSpacing(1, 1, 1)
        stencil.SetOutputWholeExtent(0, nx - 1, 0, ny - 1, 0, nz - 1)
        image.SetInputConnection(stencil.GetOutputPort())
        image.SetInsideValue(1)
        image.SetOutsideValue(0)
        image.SetOutputScalarTypeToUnsignedChar()
        image.Update()
        return self.to_numpy(image.GetOutput().GetPointData().GetScalars()).reshape(self.shape)


def masks(turns: int, cases: tuple = CASES) -> list[Line]:
    """Measure both rules on closed meshes of several sizes; voxels are compared."""
    lines = []
    has_vtk = importlib.util.find_spec("vtkmodules") is not None
    for divisions, shape in cases:
        mesh = blob(divisions, shape)
        what = f"closed mesh, {len(mesh[1])} triangles, {' x '.join(map(str, shape))} voxels"
        found = different = None
        if has_vtk:
            stencil = Stencil(mesh, shape)
            sides = {"vtk": stencil, "dpipe": partial(solid, mesh, shape)}
            different = int(np.count_nonzero(stencil() != sides["dpipe"]()))
            taken = by_turns(sides, turns)
            found = taken["vtk"] / taken["dpipe"]
        against = "vtkPolyDataToImageStencil"
        against += "" if different is None else f", {different} voxels differ"
        lines.append(line(f"solid: {what}", against, found, " x as fast", least=5))
    divisions, shape = cases[0]
    mesh = blob(divisions, shape)
    sides = {"numpy": partial(published, mesh, shape), "dpipe": partial(shell, mesh, shape)}
    assert np.array_equal(sides["numpy"](), sides["dpipe"]())
    taken = by_turns(sides, min(turns, 3))
    what = f"shell: closed mesh, {len(mesh[1])} triangles, {' x '.join(map(str, shape))} voxels"
    ratio = taken["numpy"] / taken["dpipe"]
    return [*lines, line(what, "published rule in NumPy, equal", ratio, " x as fast", least=100)]


if __name__ == "__main__":
    print(f"{machine()}. {versions(['dpipe', 'vtk', 'numba', 'numpy'])}.\n")
    print(table(masks(9)))
