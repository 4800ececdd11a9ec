"""Filled meshes, against solid angles, volumes, and sums of parts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from meshes import box, octahedron, placed, read_ply, sphere, volume

from dpipe.operators.surfaces.solid import fill, is_closed


def filled(mesh, shape, first=(0, 0, 0)):
    mask = np.zeros(shape, np.uint8)
    vertices, faces = np.ascontiguousarray(mesh[0], float), np.asarray(mesh[1], np.int64)
    fill(mask, vertices, faces, np.asarray(first, np.int64))
    return mask


def winding(mesh, shape):
    """How often a mesh winds around each voxel centre: its solid angle there over 4 pi."""
    vertices, faces = mesh
    points = np.stack(np.indices(shape), axis=-1).reshape(-1, 1, 3)
    a, b, c = (vertices[faces[:, k]][None] - points for k in range(3))
    la, lb, lc = (np.linalg.norm(v, axis=2) for v in (a, b, c))
    above = np.einsum("pfi,pfi->pf", a, np.cross(b, c))
    dots = [np.einsum("pfi,pfi->pf", u, v) for u, v in ((a, b), (b, c), (c, a))]
    below = la * lb * lc + dots[0] * lc + dots[1] * la + dots[2] * lb
    turns = np.arctan2(above, below).sum(axis=1) / (2 * np.pi)
    return np.rint(turns).astype(int).reshape(shape)


def bumpy(seed, divisions=2):
    """A closed mesh that is not convex, at no special place."""
    random = np.random.default_rng(seed)
    vertices, faces = sphere(divisions)
    return vertices * random.uniform(2, 7, (len(vertices), 1)) + random.uniform(6, 8, 3), faces


@pytest.mark.parametrize("seed", range(4))
def test_inside_is_where_the_solid_angle_is_full(seed):
    mesh, shape = bumpy(seed), (14, 15, 16)
    np.testing.assert_array_equal(filled(mesh, shape), winding(mesh, shape) % 2 != 0)


@pytest.mark.parametrize("turned", [False, True])
def test_orientation_does_not_matter(turned):
    vertices, faces = bumpy(9)
    expected = filled((vertices, faces), (14, 14, 14))
    random = np.random.default_rng(0)
    faces = np.where(random.random((len(faces), 1)) < 0.5, faces, faces[:, ::-1])
    if turned:
        faces = random.permutation(faces)
    np.testing.assert_array_equal(filled((vertices, faces), (14, 14, 14)), expected)


def test_box_on_centres_has_its_lower_borders_and_not_its_upper_ones():
    # centres 2, 3, 4 along z; 2..5 along y; 2..6 along x: 3 * 4 * 5 = 60, its volume
    mask = filled(box((2, 2, 2), (5, 6, 7)), (9, 9, 9))
    expected = np.zeros((9, 9, 9), np.uint8)
    expected[2:5, 2:6, 2:7] = 1
    np.testing.assert_array_equal(mask, expected)


def test_boxes_that_share_a_side_share_no_voxel_and_leave_none():
    parts = [box((1, 1, 1), (4, 3.5, 8)), box((1, 3.5, 1), (4, 8, 8)), box((4, 1, 1), (8, 8, 8))]
    total = sum(filled(part, (9, 9, 9)).astype(int) for part in parts)
    np.testing.assert_array_equal(total, filled(box((1, 1, 1), (8, 8, 8)), (9, 9, 9)))


@pytest.mark.parametrize(("size", "at"), [(3, (4, 4, 4)), (2.5, (4, 4, 4)), (3, (4.5, 4, 3.5))])
def test_octahedron_whose_corners_lie_on_centres(size, at):
    # a symbolic shift of (z, y, x) up: a centre counts as a little above where it is
    mask = filled(placed(octahedron(), size, at), (9, 9, 9))
    shift = np.array([1e-9, 1e-6, 1e-4])  # along z least, along x most: smaller than any gap
    apart = np.abs(np.stack(np.indices((9, 9, 9)), axis=-1) + shift - at).sum(axis=-1)
    exact = np.abs(apart - size) > 1e-3
    np.testing.assert_array_equal(mask[exact], (apart < size)[exact])
    border = mask[~exact].sum()
    assert 0 <= border <= (~exact).sum() / 2 + 1


@pytest.mark.parametrize(
    "axes", [(20, 20, 20), (6, 18, 25), (3, 22, 14)], ids=["sphere", "flat", "thin"]
)
def test_volume(axes):
    # counting centres in a smooth body of area A errs by about sqrt(A) voxels; ten of these are
    # left, and the mesh's own volume is taken, not that of the smooth body
    mesh = placed(sphere(4), axes, (30.37, 30.11, 29.73))
    count = int(filled(mesh, (60, 60, 60)).sum())
    area = np.linalg.norm(np.cross(*np.diff(mesh[0][mesh[1]], axis=1).transpose(1, 0, 2)), axis=1)
    assert abs(count - volume(mesh)) < 2 * np.sqrt(area.sum() / 2)
    assert volume(mesh) == pytest.approx(4 / 3 * np.pi * np.prod(axes), rel=0.01)


@settings(max_examples=30, deadline=None)
@given(st.tuples(*[st.integers(-6, 13)] * 3), st.tuples(*[st.integers(1, 9)] * 3))
def test_a_region_is_a_part_of_the_whole(first, shape):
    whole = filled(bumpy(5), (30, 30, 30), (-8, -8, -8))
    cut = tuple(slice(f + 8, f + 8 + n) for f, n in zip(first, shape, strict=True))
    np.testing.assert_array_equal(filled(bumpy(5), shape, first), whole[cut])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([1, 2, 4, 3, 1e-9, 1e9]))
def test_closed_meshes_never_leak(seed, grid):
    """Vertices on few places, or hardly apart: every column is crossed an even number of times."""
    random = np.random.default_rng(seed)
    vertices, faces = sphere(1)
    size = 1 if grid > 1e6 else 5
    vertices = np.rint((vertices * random.uniform(0, size, 3) + 6) * grid) / grid
    vertices[:, 1:] += random.choice([0, 0.5, 1e-16], 2)
    assert is_closed(vertices, faces)
    mask = filled((vertices, faces), (13, 13, 13))
    assert not mask[-1].any()
    assert mask.sum() <= np.prod(np.ptp(vertices, axis=0) + 1)


def test_vertices_of_each_triangle_its_own():
    vertices, faces = sphere(1)
    soup = vertices[faces].reshape(-1, 3), np.arange(faces.size).reshape(-1, 3)
    assert is_closed(*soup)
    np.testing.assert_array_equal(
        filled(placed(soup, 4, (5, 5, 5)), (11, 11, 11)),
        filled(placed((vertices, faces), 4, (5, 5, 5)), (11, 11, 11)),
    )


@pytest.mark.parametrize(
    ("change", "closed"),
    [
        (lambda f: f, True),
        (lambda f: f[:-1], False),
        (lambda f: f[:-2], False),
        (lambda f: f[:0], True),
        (lambda f: np.concatenate([f, [[0, 0, 1]]]), True),  # folded to an edge, there and back
        (lambda f: np.concatenate([f, f[:1]]), False),
        (lambda f: np.concatenate([f, f]), True),
    ],
    ids=["whole", "a hole", "a larger hole", "nothing", "folded", "one twice", "all twice"],
)
def test_is_closed(change, closed):
    vertices, faces = octahedron()
    assert is_closed(vertices, change(faces)) is closed


def test_real_mesh_is_open(shared_data):
    # 6643 triangles have an odd number of sides, which no pairing of edges can have
    vertices, faces = read_ply(shared_data / "meshes" / "gastruloid.ply")
    assert (len(vertices), len(faces)) == (3324, 6643)
    assert not is_closed(vertices, faces)
