"""Voxels that a mesh passes through, by the test of boxes against triangles.

It knows meshes in voxel units (voxel k reaches from k - 0.5 to k + 0.5 along each axis) and a
region of voxels. It does not know micrometres, frames or labels.

The rule is that of the masks published with the Leuko-Death movies, after Schwarz and Seidel,
"Fast parallel surface and solid voxelization on GPUs", ACM Transactions on Graphics 29 (2010):
the bounding box of the triangle and the voxel overlap, more than by touching; the plane of the
triangle meets the voxel; and so do their projections along each of the three axes.
"""

import math

import numba
import numpy as np

_AXES = ((2, 1, 0), (1, 0, 2), (0, 2, 1))
"""Of each projection: the two axes that it keeps and the one that it looks along (0 is z)."""


@numba.njit(nogil=True, cache=True)
def mark(
    mask: np.ndarray, vertices: np.ndarray, faces: np.ndarray, first: np.ndarray
) -> None:  # pragma: no cover
    """Set the voxels that a mesh passes through to 1; arguments as those of ``_solid.fill``."""
    low, high = np.empty(3, np.int64), np.empty(3, np.int64)
    normal, edges = np.empty(3), np.empty((3, 3, 3))
    for face in range(faces.shape[0]):
        a, b, c = vertices[faces[face, 0]], vertices[faces[face, 1]], vertices[faces[face, 2]]
        empty = False
        for axis in range(3):
            least, largest = min(a[axis], b[axis], c[axis]), max(a[axis], b[axis], c[axis])
            low[axis] = max(math.floor(least - 0.5) + 1, first[axis])
            high[axis] = min(math.ceil(largest + 0.5), first[axis] + mask.shape[axis])
            empty |= low[axis] >= high[axis]
            p, q = (axis + 1) % 3, (axis + 2) % 3
            # z, y, x is a left-handed order of the axes: the sign makes the normal that of x, y, z
            normal[axis] = (b[q] - a[q]) * (c[p] - b[p]) - (b[p] - a[p]) * (c[q] - b[q])
        if not empty:
            _edges(edges, normal, a, b, c)
            _mark_box(mask, first, low, high, a, normal, edges)


@numba.njit(nogil=True, cache=True)
def _edges(
    edges: np.ndarray, normal: np.ndarray, a: np.ndarray, b: np.ndarray, c: np.ndarray
) -> None:  # pragma: no cover
    """Write a line for each projection and edge, which parts the triangle from the outside.

    A voxel with its centre at (u, v) passes if ``edges[., ., 0] * u + edges[., ., 1] * v +
    edges[., ., 2] >= 0``; the line is moved out by half a voxel along both axes.
    """
    for i in range(3):
        u, v, along = _AXES[i]
        sign = 1.0 if normal[along] >= 0 else -1.0
        for e in range(3):
            start = a if e == 0 else b if e == 1 else c
            stop = b if e == 0 else c if e == 1 else a
            nu, nv = -sign * (stop[v] - start[v]), sign * (stop[u] - start[u])
            edges[i, e, 0], edges[i, e, 1] = nu, nv
            edges[i, e, 2] = 0.5 * (abs(nu) + abs(nv)) - nu * start[u] - nv * start[v]


@numba.njit(nogil=True, cache=True)
def _passes(lines: np.ndarray, u: int, v: int) -> bool:  # pragma: no cover
    return (
        lines[0, 0] * u + lines[0, 1] * v + lines[0, 2] >= 0
        and lines[1, 0] * u + lines[1, 1] * v + lines[1, 2] >= 0
        and lines[2, 0] * u + lines[2, 1] * v + lines[2, 2] >= 0
    )


@numba.njit(nogil=True, cache=True)
def _mark_box(
    mask: np.ndarray,
    first: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    a: np.ndarray,
    normal: np.ndarray,
    edges: np.ndarray,
) -> None:  # pragma: no cover
    """Mark the voxels of a triangle's bounding box that pass; a row is tested before its voxels."""
    reach = 0.5 * (abs(normal[0]) + abs(normal[1]) + abs(normal[2]))
    for z in range(low[0], high[0]):
        for y in range(low[1], high[1]):
            if not _passes(edges[1], y, z):
                continue
            away = normal[0] * (z - a[0]) + normal[1] * (y - a[1])
            row = mask[z - first[0], y - first[1]]
            for x in range(low[2], high[2]):
                if (
                    abs(away + normal[2] * (x - a[2])) <= reach
                    and _passes(edges[0], x, y)
                    and _passes(edges[2], z, x)
                ):
                    row[x - first[2]] = 1
