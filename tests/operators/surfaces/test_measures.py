"""Areas, volumes and centres of meshes whose own are known; flags of those that are bad."""

import dask
import numpy as np
import pytest
import xarray as xr
from meshes import box, octahedron, placed, read_ply, sphere, surfaces

from dpipe.errors import InputError, SchemaError
from dpipe.operators import surface_measures

EMPTY, HOLES, TURNED, NOT_FINITE, MISSING = 1, 2, 4, 8, 16


def measured(*meshes) -> xr.Dataset:
    return surface_measures(surfaces(meshes, range(len(meshes)))).compute()


def outward(mesh):
    """Turn the triangles of a convex mesh around its middle outward."""
    vertices, faces = mesh
    a, b, c = (vertices - vertices.mean(axis=0))[faces].transpose(1, 0, 2)
    inward = np.einsum("fi,fi->f", a, np.cross(b, c)) < 0
    return vertices, np.where(inward[:, None], faces[:, ::-1], faces)


def test_boxes_and_octahedra():
    found = measured(
        outward(box((1, 2, 3), (3, 5, 7))),
        placed(outward(octahedron()), 3, (10, 20, 30)),
        box((1, 2, 3), (3, 5, 7)),
    )
    # 2 * 3 * 4 and 2 * (6 + 8 + 12); 4 / 3 * 27 and 8 faces of side 3 sqrt 2: 8 * sqrt 3 / 4 * 18
    np.testing.assert_allclose(found.surface_volume[:2], [24, 36])
    np.testing.assert_allclose(found.surface_area[:2], [52, 36 * np.sqrt(3)])
    np.testing.assert_allclose(found.surface_z[:2], [2, 10])
    np.testing.assert_allclose(found.surface_y[:2], [3.5, 20])
    np.testing.assert_allclose(found.surface_x[:2], [5, 30])
    assert found.surface_flag.values.tolist()[:2] == [0, 0]
    assert found.surface_flag.attrs["flag_meanings"].split()[1] == "not_closed"
    assert found.surface_frame.values.tolist() == [0, 1, 2]


def test_triangles_all_turned_inward_measure_the_same():
    vertices, faces = outward(box((1, 2, 3), (3, 5, 7)))
    found = measured((vertices, faces), (vertices, faces[:, ::-1]))
    np.testing.assert_allclose(found.surface_volume, [24, 24])
    np.testing.assert_allclose(found.surface_z, [2, 2])
    assert found.surface_flag.values.tolist() == [0, 0]


def test_far_from_the_origin():
    found = measured(placed(sphere(4), (3, 4, 5), (4e5, -4e5, 1e5)))
    assert found.surface_volume.item() == pytest.approx(4 / 3 * np.pi * 60, rel=0.01)
    assert found.surface_z.item() == pytest.approx(4e5, abs=1e-6)


@pytest.mark.parametrize(
    ("change", "flag"),
    [
        (lambda v, f: (v, f[:0]), EMPTY),
        (lambda v, f: (v, f[1:]), HOLES),
        (lambda v, f: (v, np.concatenate([f[:1, ::-1], f[1:]])), TURNED),
        (lambda v, f: (v, f[:, ::-1]), 0),
        (lambda v, f: (np.concatenate([v[:1] * np.nan, v[1:]]), f), NOT_FINITE),
        (lambda v, f: (v[1:], f), MISSING),
        (lambda v, f: (v, f - 1), MISSING),
        (lambda v, f: (v[:0], f[:0]), EMPTY),
        (lambda v, f: (v * np.inf, f + 1), NOT_FINITE + MISSING),
        (lambda v, f: (v[f].reshape(-1, 3), np.arange(f.size).reshape(-1, 3)), 0),
    ],
    ids=["empty", "hole", "turned", "inside out", "nan", "short", "below 0", "nothing", "two",
         "vertices of each triangle its own"],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:invalid value encountered in multiply")
def test_flags(change, flag):
    good = placed(outward(octahedron()), 3, (5, 5, 5))
    found = measured(good, change(*good), good)
    assert found.surface_flag.values.tolist() == [0, flag, 0]
    volumes = found.surface_volume.values
    np.testing.assert_allclose(volumes[[0, 2]], 36)
    assert np.isnan(volumes[1]) == bool(flag)
    assert np.isnan(found.surface_area.values[1]) == bool(flag & (EMPTY + NOT_FINITE + MISSING))


def test_flat_mesh_has_no_centre():
    vertices = np.array([[0.0, 0, 0], [0, 1, 0], [0, 0, 1]])
    found = measured((vertices, np.array([[0, 1, 2], [0, 2, 1]])))
    assert found.surface_flag.item() == 0
    assert found.surface_area.item() == 1
    assert np.isnan(found.surface_volume.item())


def test_real_mesh_has_holes(shared_data):
    found = measured(read_ply(shared_data / "meshes" / "gastruloid.ply"))
    assert found.surface_flag.item() == HOLES
    assert found.surface_area.item() > 0


def test_lazy_in_blocks_and_no_surface():
    held = surfaces([octahedron()] * 600, range(600))

    def refuse(*_, **__):
        raise AssertionError("something was computed")

    with dask.config.set(scheduler=refuse):
        found = surface_measures(held.chunk({"vertex": 100, "face": 90}))
    assert found.surface_area.chunks == ((256, 256, 88),)
    np.testing.assert_allclose(found.surface_area[250:260], 4 * np.sqrt(3))
    assert surface_measures(surfaces([], [])).surface_area.values.shape == (0,)


def test_tables_of_another_kind():
    held = surfaces([octahedron()], [0])
    with pytest.raises(SchemaError, match="no variable 'vertex_z'"):
        surface_measures(held.drop_vars("vertex_z"))
    with pytest.raises(InputError, match="vertex_count adds up to 5; the table holds 6"):
        surface_measures(held.assign_coords(vertex_count=("surface", [5]))).compute()
