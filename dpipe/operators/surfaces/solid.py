"""Voxels whose centre lies inside a closed mesh, by the parity of crossings along z.

It knows meshes in voxel units (centres at whole numbers) and a region of voxels. It does not know
micrometres, frames or labels.

Each triangle is drawn seen along z: where it covers the column of a centre, that column changes
sides at the first centre at or above it, and a running XOR along z fills what lies between. What
an edge covers is worked out from its two ends alone, the lower one first, so the triangles on
both its sides agree to the last bit and no column is crossed an odd number of times. A centre
exactly on the border is inside where the mesh is above it and outside where the mesh is below,
along each axis (the symbolic shift that makes no case special).
"""

import math

import numba
import numpy as np


def is_closed(vertices: np.ndarray, faces: np.ndarray) -> bool:
    """Tell whether every edge of a mesh has an even number of triangles, as a watertight one has.

    Vertices at the same place are the same one, whatever their numbers.
    """
    if _has_even_edges(faces, len(vertices)):
        return True
    _, same = np.unique(vertices, axis=0, return_inverse=True)
    return _has_even_edges(same.reshape(-1)[faces], len(vertices))


def _has_even_edges(faces: np.ndarray, vertices: int) -> bool:
    keys = np.sort(_edges(faces, vertices))
    return keys.size % 2 == 0 and bool(np.all(keys[::2] == keys[1::2]))


@numba.njit(nogil=True, cache=True)
def _edges(faces: np.ndarray, vertices: int) -> np.ndarray:  # pragma: no cover
    """Give each side of a triangle its number, alike both ways, and none to sides of no length."""
    keys = np.empty(3 * len(faces), np.int64)
    count = 0
    for face in range(len(faces)):
        for corner in range(3):
            a, b = faces[face, corner], faces[face, (corner + 1) % 3]
            if a != b:
                keys[count] = min(a, b) * vertices + max(a, b)
                count += 1
    return keys[:count]


@numba.njit(nogil=True, cache=True, error_model="numpy")
def fill(
    mask: np.ndarray, vertices: np.ndarray, faces: np.ndarray, first: np.ndarray
) -> None:  # pragma: no cover
    """Set the voxels inside a closed mesh to 1.

    `mask` is uint8 (z, y, x), all 0; its first voxel has the indices `first`. `vertices` is
    float64 (n, 3) in voxels, z, y, x; `faces` int64 (m, 3).
    """
    for face in range(faces.shape[0]):
        a, b, c = faces[face, 0], faces[face, 1], faces[face, 2]
        if vertices[a, 1] > vertices[b, 1]:
            a, b = b, a
        if vertices[b, 1] > vertices[c, 1]:
            b, c = c, b
        if vertices[a, 1] > vertices[b, 1]:
            a, b = b, a
        low = max(math.ceil(vertices[a, 1]), first[1])
        high = min(math.ceil(vertices[c, 1]), first[1] + mask.shape[1])
        middle = math.ceil(vertices[b, 1])
        for row in range(low, high):
            x0, z0 = _meet(vertices, a, c, row)
            x1, z1 = _meet(vertices, a, b, row) if row < middle else _meet(vertices, b, c, row)
            _toggle(mask, first, row, (x0, z0, x1, z1) if x0 <= x1 else (x1, z1, x0, z0))
    for k in range(1, mask.shape[0]):
        below, here = mask[k - 1], mask[k]
        for i in range(mask.shape[1]):
            for j in range(mask.shape[2]):
                here[i, j] ^= below[i, j]


@numba.njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _meet(
    vertices: np.ndarray, low: int, high: int, row: int
) -> tuple[float, float]:  # pragma: no cover
    """Where the edge from one vertex up to another meets a row: x and z."""
    share = (row - vertices[low, 1]) / (vertices[high, 1] - vertices[low, 1])
    x = vertices[low, 2] + share * (vertices[high, 2] - vertices[low, 2])
    return x, vertices[low, 0] + share * (vertices[high, 0] - vertices[low, 0])


@numba.njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _toggle(
    mask: np.ndarray, first: np.ndarray, row: int, ends: tuple[float, float, float, float]
) -> None:  # pragma: no cover
    """Toggle, in each column between two ends of a row, the first centre not below the line."""
    x0, z0, x1, z1 = ends
    start = max(math.ceil(x0), first[2])
    stop = min(math.ceil(x1), first[2] + mask.shape[2])
    if start >= stop:
        return
    slope = (z1 - z0) / (x1 - x0)
    lowest, highest = min(z0, z1), max(z0, z1)
    for column in range(start, stop):
        z = min(max(z0 + (column - x0) * slope, lowest), highest)
        k = max(math.ceil(z) - first[0], 0)
        if k < mask.shape[0]:
            mask[k, row - first[1], column - first[2]] ^= 1
