"""Triangle meshes for tests: closed ones of known volume, and tables of surfaces made of them."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr

Mesh = tuple[np.ndarray, np.ndarray]
"""Vertices (n, 3) along z, y, x and triangles (m, 3)."""


def octahedron() -> Mesh:
    vertices = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [-1, 0, 0], [0, -1, 0], [0, 0, -1]])
    faces = []
    for signs in itertools.product((0, 3), repeat=3):
        corners = [axis + sign for axis, sign in enumerate(signs)]
        faces.append(corners if sum(signs) % 2 == 0 else corners[::-1])
    return vertices, np.array(faces)


def sphere(divisions: int = 3) -> Mesh:
    """An octahedron whose edges were halved so often, all vertices on the unit sphere."""
    vertices, faces = octahedron()
    for _ in range(divisions):
        corners = vertices[faces]
        middles = (corners + np.roll(corners, -1, axis=1)) / 2
        middles /= np.linalg.norm(middles, axis=2, keepdims=True)
        (a, b, c), (ab, bc, ca) = corners.transpose(1, 0, 2), middles.transpose(1, 0, 2)
        four = [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
        soup = np.concatenate([np.stack(three, axis=1) for three in four])
        vertices, flat = np.unique(soup.reshape(-1, 3).round(12), axis=0, return_inverse=True)
        faces = flat.reshape(-1, 3)
    return vertices, faces


def box(low: Sequence[float], high: Sequence[float]) -> Mesh:
    """A box with two triangles a side."""
    vertices = np.array(list(itertools.product(*zip(low, high, strict=True))), float)
    sides = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    return vertices, np.array([t for a, b, c, d in sides for t in ((a, b, c), (a, c, d))])


def placed(mesh: Mesh, size: float | Sequence[float], at: Sequence[float]) -> Mesh:
    return mesh[0] * size + np.asarray(at, float), mesh[1]


def volume(mesh: Mesh) -> float:
    """Volume of a closed mesh: sum of the tetrahedra from the origin."""
    return abs(float(np.linalg.det(mesh[0][mesh[1]]).sum())) / 6


def surfaces(
    meshes: Sequence[Mesh], frames: Sequence[int], tracks: Sequence[int] = ()
) -> xr.Dataset:
    """The table that holds them."""
    places = np.concatenate([vertices for vertices, _ in meshes] or [np.empty((0, 3))])
    faces = np.concatenate([faces for _, faces in meshes] or [np.empty((0, 3), int)])
    number = np.arange(len(meshes))
    return xr.Dataset(
        {f"vertex_{dim}": ("vertex", places[:, axis]) for axis, dim in enumerate("zyx")}
        | {"face_vertex": (("face", "corner"), faces.astype(np.int64))},
        {
            "surface_frame": ("surface", np.asarray(frames, np.int64)),
            "surface_track": ("surface", np.asarray(tracks or [-1] * len(meshes), np.int64)),
            "surface_id": ("surface", number),
            "vertex_count": ("surface", np.array([len(v) for v, _ in meshes], np.int64)),
            "face_count": ("surface", np.array([len(f) for _, f in meshes], np.int64)),
        },
    )


def read_ply(path: Path) -> Mesh:
    """A binary little-endian PLY of float vertices and triangles; x, y, z becomes z, y, x."""
    data = path.read_bytes()
    end = data.index(b"end_header") + len(b"end_header\n")
    words = [line.split() for line in data[:end].decode("latin-1").splitlines()]
    assert ["format", "binary_little_endian", "1.0"] in words
    counts = {w[1]: int(w[2]) for w in words if w[:1] == ["element"]}
    kinds = {"float": "<f4", "double": "<f8", "uchar": "u1", "int": "<i4", "uint": "<u4"}
    columns, here = [], ""
    for word in words:
        here = word[1] if word[:1] == ["element"] else here
        if word[:1] == ["property"] and here == "vertex":
            columns.append((word[2], kinds[word[1]]))
    vertices = np.frombuffer(data, columns, counts["vertex"], end)
    corners = [("n", "u1"), ("at", "<i4", 3)]
    faces = np.frombuffer(data, corners, counts["face"], end + vertices.nbytes)
    assert set(faces["n"]) == {3}
    places = np.stack([vertices[dim] for dim in "zyx"], axis=1).astype(float)
    return places, faces["at"].astype(np.int64)
