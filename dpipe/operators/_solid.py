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
    ends = np.sort(np.concatenate([faces[:, (0, 1)], faces[:, (1, 2)], faces[:, (2, 0)]]), axis=1)
    ends = ends[ends[:, 0] != ends[:, 1]]
    keys = np.sort(ends[:, 0] * vertices + ends[:, 1])
    return keys.size % 2 == 0 and bool(np.all(keys[::2] == keys[1::2]))


@numba.njit(nogil=True, cache=True)
def fill(mask: np.ndarray, vertices: np.ndarray, faces: np.ndarray, first: np.ndarray) -> None:
    """Set the voxels inside a closed mesh to 1.

    `mask` is uint8 (z, y, x), all 0; its first voxel has the indices `first`. `vertices` is
    float64 (n, 3) in voxels, z, y, x; `faces` int64 (m, 3).
    """
    for face in range(faces.shape[0]):
        _cross(mask, vertices, faces[face], first)
    for k in range(1, mask.shape[0]):
        below, here = mask[k - 1], mask[k]
        for i in range(mask.shape[1]):
            for j in range(mask.shape[2]):
                here[i, j] ^= below[i, j]


@numba.njit(nogil=True, cache=True)
def _cross(mask: np.ndarray, vertices: np.ndarray, face: np.ndarray, first: np.ndarray) -> None:
    """Toggle, in every column that a triangle covers, the first centre not below it."""
    planes, rows, columns = mask.shape
    ya, yb, yc = vertices[face[0], 1], vertices[face[1], 1], vertices[face[2], 1]
    low = max(math.ceil(min(ya, yb, yc)), first[1])
    high = min(math.ceil(max(ya, yb, yc)), first[1] + rows)
    for row in range(low, high):
        x0 = x1 = z0 = z1 = 0.0
        crossed = 0
        for corner in range(3):
            a, b = face[corner], face[(corner + 1) % 3]
            if (vertices[a, 1] <= row) == (vertices[b, 1] <= row):
                continue
            if vertices[a, 1] > vertices[b, 1]:
                a, b = b, a
            share = (row - vertices[a, 1]) / (vertices[b, 1] - vertices[a, 1])
            x = vertices[a, 2] + share * (vertices[b, 2] - vertices[a, 2])
            z = vertices[a, 0] + share * (vertices[b, 0] - vertices[a, 0])
            if crossed:
                x1, z1 = x, z
            else:
                x0, z0 = x, z
            crossed += 1
        if x1 < x0:
            x0, z0, x1, z1 = x1, z1, x0, z0
        start = max(math.ceil(x0), first[2])
        stop = min(math.ceil(x1), first[2] + columns)
        if start >= stop:
            continue
        slope = (z1 - z0) / (x1 - x0)
        least, most = min(z0, z1), max(z0, z1)
        for column in range(start, stop):
            z = min(max(z0 + (column - x0) * slope, least), most)
            k = max(math.ceil(z) - first[0], 0)
            if k < planes:
                mask[k, row - first[1], column - first[2]] ^= 1
