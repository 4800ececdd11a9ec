"""Shells, against the published rule written down in NumPy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from meshes import box, octahedron, placed, read_ply, sphere

from dpipe.operators.surfaces.shell import mark


def published(vertices, faces, corners, spacing):
    """The published test, voxel by voxel, in world units.

    `vertices` (n, 3) and `spacing` along x, y, z; `corners`: the lower corners of the voxels
    along x, y, z. Returns (x, y, z).
    """
    p = np.stack(np.meshgrid(*corners, indexing="ij"), axis=-1)
    mask = np.zeros(p.shape[:3], bool)
    for v in vertices[faces]:
        overlap = np.all((v.min(0) < p + spacing) & (v.max(0) > p), axis=-1)
        e = np.roll(v, -1, axis=0) - v
        n = np.cross(e[0], e[1])
        c = np.where(n > 0, spacing, 0)
        d1, d2 = n @ (c - v[0]), n @ (spacing - c - v[0])
        hit = overlap & ((p @ n + d1) * (p @ n + d2) <= 0)
        for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
            sign = 1 if n[k] >= 0 else -1
            for side in range(3):
                m = np.array([-e[side, j], e[side, i]]) * sign
                d = -m @ v[side, [i, j]] + max(0, spacing[i] * m[0]) + max(0, spacing[j] * m[1])
                hit &= p[..., [i, j]] @ m + d >= 0
        mask |= hit
    return mask


def expected(mesh, shape, first=(0, 0, 0)):
    corners = [f - 0.5 + np.arange(n) for f, n in zip(first[::-1], shape[::-1], strict=True)]
    return published(mesh[0][:, ::-1], mesh[1], corners, np.ones(3)).transpose(2, 1, 0)


def shell(mesh, shape, first=(0, 0, 0)):
    mask = np.zeros(shape, np.uint8)
    vertices, faces = np.ascontiguousarray(mesh[0], float), np.asarray(mesh[1], np.int64)
    mark(mask, vertices, faces, np.asarray(first, np.int64))
    return mask


@pytest.mark.parametrize(
    ("mesh", "shape"),
    [
        (placed(sphere(2), 4, (5.1, 5.3, 4.7)), (11, 11, 11)),
        (placed(sphere(3), (3, 7, 5), (4.1, 8.3, 6.7)), (9, 17, 13)),
        (placed(octahedron(), 4, (5, 5, 5)), (11, 11, 11)),
        (placed(octahedron(), 3.5, (5, 5, 5.5)), (11, 11, 11)),
        (box((1.25, 2.5, 3), (4.25, 6.5, 7.75)), (8, 9, 10)),
    ],
    ids=["sphere", "ellipsoid", "corners on centres", "corners on borders", "box"],
)
def test_published_rule(mesh, shape):
    np.testing.assert_array_equal(shell(mesh, shape), expected(mesh, shape))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0, 1, 2]))
def test_published_rule_on_any_triangles(seed, digits):
    """Also flat and folded ones, and those whose corners lie on borders and centres."""
    random = np.random.default_rng(seed)
    vertices = np.rint(random.uniform(-2, 9, (9, 3)) * 2**digits) / 2**digits
    mesh = vertices, random.integers(0, 9, (5, 3))
    np.testing.assert_array_equal(shell(mesh, (7, 6, 8)), expected(mesh, (7, 6, 8)))


@settings(max_examples=20, deadline=None)
@given(st.tuples(*[st.integers(-6, 13)] * 3), st.tuples(*[st.integers(1, 9)] * 3))
def test_a_region_is_a_part_of_the_whole(first, shape):
    mesh = placed(sphere(2), 5, (5.1, 4.3, 4.7))
    whole = shell(mesh, (30, 30, 30), (-8, -8, -8))
    cut = tuple(slice(f + 8, f + 8 + n) for f, n in zip(first, shape, strict=True))
    np.testing.assert_array_equal(shell(mesh, shape, first), whole[cut])


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize(("place", "layers"), [(3.5, []), (3.25, [3]), (3.75, [4]), (4, [4])])
def test_triangle_along_the_voxels(axis, place, layers):
    # 3.5 is the border between voxels 3 and 4: dropped
    corners = np.insert([[1.0, 1], [1, 5], [5, 1]], axis, place, axis=1)
    found = np.moveaxis(shell((corners, np.array([[0, 1, 2]])), (8, 8, 8)), axis, 0)
    assert np.flatnonzero(found.any(axis=(1, 2))).tolist() == layers


def test_real_mesh(shared_data):
    vertices, faces = read_ply(shared_data / "meshes" / "gastruloid.ply")
    low, high = vertices.min(0), vertices.max(0)
    mesh = (vertices - low) / ((high - low).max() / 11), faces
    found = shell(mesh, (13, 13, 13), (-1, -1, -1))
    np.testing.assert_array_equal(found, expected(mesh, (13, 13, 13), (-1, -1, -1)))
    assert found.sum() > 100
