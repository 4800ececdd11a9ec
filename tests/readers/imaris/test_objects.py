"""The scene of an Imaris file in the movie's own part: tables and meshes beside the pixels."""

import numpy as np
import pytest
import scenes
import xarray as xr
import yaozarrs
from meshes import box, octahedron, placed

import dpipe
from dpipe.demo.study import write_imaris
from dpipe.operators import mesh_masks, track_crops, track_measures
from dpipe.readers import open_imaris, open_imaris_spots, open_imaris_surfaces

BOX = box((11, -19.75, 30.25), (15, -18.75, 31.75))
OCTAHEDRON = placed(octahedron(), (2, 1, 1), (12, -19, 31))
TRACK = 1_000_000_000


@pytest.fixture
def file(tmp_path):
    """Four frames, 30 s apart, of (z, y, x) = (3, 8, 8); the middle of the volume is bright."""
    pixels = np.zeros((4, 1, 3, 8, 8), "u1")
    pixels[..., 3:5, 3:5] = 200
    return write_imaris(
        tmp_path / "Neu1.ims", pixels, spacing=(2, 0.5, 0.5), origin=(10, -20, 30), interval=30,
        chunks=(4, 8, 8), levels=1,
    )  # fmt: skip


def annotate(path):
    rows = [(0, 0, 31.0, -19, 12, 1), (1, 1, 31.5, -19, 12, 1), (2, 3, 32.5, -19, 12, 1)]
    scenes.points8(path, 0, rows, {TRACK: [0, 1, 2]})
    scenes.surfaces(path, 0, [(0, *BOX), (2, *OCTAHEDRON)])
    types = [(7, 0, 0, "Area", "um^2")]
    scenes.statistics(path, "Scene8/Content/Points0", types, [(0, 1, 7, 4.0)])


def test_without_being_asked_only_pixels(file):
    annotate(file)
    assert set(open_imaris(file).data_vars) == {"image"}


def test_tables_and_meshes_are_those_of_their_readers(file):
    annotate(file)
    ds = open_imaris(file, objects=True)
    assert list(ds.image.dims) == ["t", "c", "z", "y", "x"]
    for table in (open_imaris_spots(file), open_imaris_surfaces(file)):
        for name, expected in table.variables.items():
            if "name" not in expected.dims:  # statistics: only their own readers give them
                np.testing.assert_array_equal(ds[name], expected)
                assert ds[name].attrs == expected.attrs
    assert "spot_statistic" in open_imaris_spots(file)
    assert "name" not in ds.dims
    assert [each["name"] for each in ds.attrs["scene"]["points"]] == ["Spots 0"]
    assert [each["surfaces"] for each in ds.attrs["scene"]["surfaces"]] == [2]


def test_a_scene_without_objects_and_one_nobody_can_read(file):
    ds = open_imaris(file, objects=True)
    assert set(ds.data_vars) == {"image"}
    assert ds.attrs["scene"] == {}
    scenes.mega(file, 0, [(3, 1, 31.0, -19, 12)])
    ds = open_imaris(file, objects=True)
    (closed,) = ds.attrs["scene"]["unreadable"]
    assert closed["surfaces"] == 1
    assert closed["centers_t_z_y_x"] == [[1, 12, -19, 31]]


def test_they_live_in_the_movies_part(file, tmp_path):
    annotate(file)
    store = str(tmp_path / "store")
    recipe = tmp_path / "leuko.yaml"
    recipe.write_text(f"""
name: leuko
datasets:
  leuko: {{reader: imaris, source: {file}, options: {{objects: true}}}}
  speeds: {{operator: track-measures, input: leuko}}
  masks: {{operator: mesh-masks, input: {{ds: leuko, surfaces: leuko}}}}
  crops: {{operator: track-crops, input: {{ds: leuko, tracks: leuko}}, params: {{window: 3}}}}
""")
    assert dpipe.run_recipe(recipe, store=store, workers="0").exit_code == 0
    held = dpipe.open(store, "leuko")
    expected = open_imaris(file, objects=True)
    for name, variable in expected.variables.items():
        np.testing.assert_array_equal(held[name], variable)
    (part,) = (tmp_path / "store/parts/leuko").glob("*.ome.zarr")
    yaozarrs.validate_zarr_store(str(part))
    plain = xr.open_zarr(part, group="0", zarr_format=3, consolidated=False)
    np.testing.assert_array_equal(plain["vertex_x"], expected["vertex_x"])
    ds = open_imaris(file, objects=True)
    for name, computed in (
        ("speeds", track_measures(ds)),
        ("masks", mesh_masks(ds, ds)),
        ("crops", track_crops(ds.assign_attrs(stem="Neu1"), ds, window=3)),
    ):
        for key, variable in computed.data_vars.items():
            np.testing.assert_array_equal(dpipe.open(store, name)[key], variable)
    assert dpipe.open(store, "crops").event.values.tolist() == ["Neu1_cell1"]
