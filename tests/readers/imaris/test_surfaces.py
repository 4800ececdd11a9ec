"""Surfaces of Imaris files, generated in the layout of Scene: no real one is at hand."""

import pickle

import dask
import h5py
import numpy as np
import pytest
import yaozarrs
from meshes import box, octahedron, placed
from scenes import mega, points, surfaces, surfaces8, thing

import dpipe
from dpipe.demo.study import write_imaris
from dpipe.errors import ImarisError, UsageError
from dpipe.operators import mesh_masks
from dpipe.readers import open_imaris, open_imaris_surfaces

T0 = 1_000_000_000
BOX = box((11, -19.75, 30.25), (15, -18.75, 31.75))
OCTAHEDRON = placed(octahedron(), (2, 1, 1), (12, -19, 31))
OLD = "Scene/Content/Surfaces0"


@pytest.fixture
def file(tmp_path):
    """Four frames, 30 s apart, of (z, y, x) = (3, 8, 8)."""
    pixels = np.zeros((4, 1, 3, 8, 8), "u1")
    return write_imaris(
        tmp_path / "Neu1.ims", pixels, spacing=(2, 0.5, 0.5), origin=(10, -20, 30), interval=30,
        chunks=(4, 8, 8), levels=1,
    )  # fmt: skip


def mesh(ds, row):
    """Vertices (n, 3) along z, y, x and triangles of one surface."""
    ends = [np.concatenate([[0], np.cumsum(ds[f"{k}_count"])]) for k in ("vertex", "face")]
    v, f = (slice(end[row], end[row + 1]) for end in ends)
    places = np.stack([ds[f"vertex_{dim}"].values[v] for dim in "zyx"], axis=1)
    return places, ds["face_vertex"].values[f]


@pytest.mark.parametrize("normals", [False, True])
def test_scene_alone(file, normals):
    surfaces(file, 0, [(0, *BOX), (2, *OCTAHEDRON)], normals=normals, Name="Dead cells")
    ds = open_imaris_surfaces(file)
    assert ds.surface_frame.values.tolist() == [0, 2]
    assert ds.surface_track.values.tolist() == [-1, -1]
    assert ds.surface_id.values.tolist() == [0, 1]
    assert ds.vertex_count.values.tolist() == [8, 6]
    assert ds.face_count.values.tolist() == [12, 8]
    assert ds.vertex_count.attrs["sample_dimension"] == "vertex"
    assert ds.face_count.attrs["sample_dimension"] == "face"
    assert ds.attrs["object"] == "Dead cells"
    for row, expected in enumerate((BOX, OCTAHEDRON)):
        for found, wanted in zip(mesh(ds, row), expected, strict=True):
            np.testing.assert_array_equal(found, wanted)
    assert ds["face_vertex"].dims == ("face", "corner")
    assert ds["face_vertex"].dtype == np.int64
    assert ds["vertex_z"].dtype == np.float64


def test_meshes_are_in_the_frame_of_the_image(file):
    # the box holds the voxels 1..2 of z (12, 14), 1..2 of y (-19.5, -19), 1..3 of x (30.5 .. 31.5)
    surfaces(file, 0, [(2, *BOX)])
    labels = mesh_masks(open_imaris(file), open_imaris_surfaces(file))["labels"]
    expected = np.zeros((4, 3, 8, 8), np.uint32)
    expected[2, 1:3, 1:3, 1:4] = 1
    np.testing.assert_array_equal(labels, expected)


def test_numbers_and_tracks_by_id(file):
    surfaces(file, 0, [(0, *BOX), (1, *BOX)], Id=5, Name="a")
    surfaces(file, 1, [(3, *OCTAHEDRON)], Id=6, Name="b")
    surfaces8(file, 0, [4], {T0: [4]}, Id=6, Name="b")
    surfaces8(file, 1, [11, 9], {T0: [9, 11]}, Id=5, Name="a")
    ds = open_imaris_surfaces(file)
    assert ds.surface_id.values.tolist() == [11, 9, 4]
    assert ds.surface_track.values.tolist() == [T0, T0, 2 * T0]
    assert ds.surface_object.values.tolist() == [0, 0, 1]
    assert [each["surfaces"] for each in ds.attrs["objects"]] == [2, 1]
    np.testing.assert_array_equal(mesh(ds, 2)[0], OCTAHEDRON[0])
    for wanted in ("b", 1):
        one = open_imaris_surfaces(file, object=wanted)
        assert one.surface_track.values.tolist() == [T0]
        np.testing.assert_array_equal(mesh(one, 0)[0], OCTAHEDRON[0])


def test_numbers_that_do_not_match(file):
    surfaces(file, 0, [(0, *BOX), (1, *BOX)], Id=5)
    surfaces8(file, 0, [4], {T0: [4]}, Id=5)
    ds = open_imaris_surfaces(file)
    assert ds.surface_id.values.tolist() == [0, 1]
    assert "Scene holds 2 surfaces, Scene8 1" in ds.attrs["assumed"][0]


def test_units(file):
    surfaces(file, 0, [(0, *BOX)], Unit="mm")
    np.testing.assert_allclose(mesh(open_imaris_surfaces(file), 0)[0], BOX[0] * 1000)


def test_lazy_and_small(file):
    surfaces(file, 0, [(k % 4, *BOX) for k in range(50)])

    def refuse(*_, **__):
        raise AssertionError("something was computed")

    with dask.config.set(scheduler=refuse):
        ds = open_imaris_surfaces(file)
    copy = pickle.loads(pickle.dumps(ds))
    np.testing.assert_array_equal(copy.vertex_x[390:], ds.vertex_x[390:])
    np.testing.assert_array_equal(copy.vertex_x.values.reshape(50, 8), [BOX[0][:, 2]] * 50)
    np.testing.assert_array_equal(ds["face_vertex"][10:13, 1], np.tile(BOX[1], (50, 1))[10:13, 1])


def test_through_the_store(file, tmp_path):
    surfaces(file, 0, [(0, *BOX), (2, *OCTAHEDRON)], Id=5)
    surfaces8(file, 0, [11, 9], {T0: [9, 11]}, Id=5)
    store, ds = str(tmp_path / "store"), open_imaris_surfaces(file)
    dpipe.save({"Neu1": ds}, store, "cells", message="test")
    again = dpipe.open(store, "cells")
    for name in ds.variables:
        np.testing.assert_array_equal(again[name], ds[name])
    movie = open_imaris(file)
    np.testing.assert_array_equal(
        mesh_masks(movie, again)["labels"], mesh_masks(movie, ds)["labels"]
    )


class TestMegaSurfaces:
    CENTERS = ((5, 1, 30.5, -20, 12), (6, 3, 31, -19, 13))

    def test_alone_they_are_an_error_that_counts_them(self, file):
        mega(file, 0, self.CENTERS, Name="Dead cells")
        with pytest.raises(ImarisError, match=r"\(MegaSurfaces\): 2 of 'Dead cells'; their cent"):
            open_imaris_surfaces(file)
        with pytest.raises(ImarisError, match="2 of 'Dead cells'"):
            open_imaris_surfaces(file, object="Dead cells")

    def test_beside_others_they_are_named(self, file):
        mega(file, 0, self.CENTERS, Id=9, Name="Dead cells")
        surfaces(file, 0, [(0, *BOX)], Id=5)
        ds = open_imaris_surfaces(file)
        assert ds.sizes["surface"] == 1
        assert ds.attrs["unreadable"] == [
            {
                "object": "Dead cells",
                "surfaces": 2,
                "centers_t_z_y_x": [[1, 12, -20, 30.5], [3, 13, -19, 31]],
            }
        ]
        assert "unreadable" not in open_imaris_surfaces(file, object=0).attrs
        with pytest.raises(ImarisError, match="2 of 'Dead cells'"):
            open_imaris_surfaces(file, object="Dead cells")
        with pytest.raises(ImarisError, match="no object 'x' of surfaces"):
            open_imaris_surfaces(file, object="x")

    def test_with_a_mesh_in_scene_they_are_read(self, file):
        mega(file, 0, self.CENTERS, Id=5)
        surfaces(file, 0, [(0, *BOX)], Id=5)
        assert "unreadable" not in open_imaris_surfaces(file).attrs


def change(file, key, values, **options):
    with h5py.File(file, "a") as h5:
        del h5[f"{OLD}/{key}"]
        if values is not None:
            h5[OLD].create_dataset(key, data=values, **options)


class TestBadFiles:
    @pytest.mark.parametrize(
        ("key", "values", "says"),
        [
            ("Vertices", None, "Surfaces0 holds no Vertices"),
            ("Vertices", np.zeros((8, 4)), "expected numbers, 3 or 6 a row"),
            ("Vertices", np.zeros((7, 3)), "Vertices has 7 rows; 8 are promised"),
            ("Triangles", np.zeros((11, 3), int), "Triangles has 11 rows; 12 are promised"),
            ("TimeNVerticesNTriangles", None, "holds no TimeNVerticesNTriangles"),
            ("TimeNVerticesNTriangles", [[0, 9, -1]], "holds counts below 0"),
            ("TimeNVerticesNTriangles", [[4, 8, 12]], "time index 4; the movie has 4 frames"),
        ],
    )
    def test_on_opening(self, file, key, values, says):
        surfaces(file, 0, [(0, *BOX)])
        change(file, key, values)
        with pytest.raises(ImarisError, match=says) as told:
            open_imaris_surfaces(file)
        assert str(told.value).startswith("Neu1.ims: ")

    @pytest.mark.parametrize(
        ("key", "values", "says"),
        [
            ("Vertices", np.zeros((9, 3)), "Vertices now has 9 rows; it had 8"),
            ("Vertices", None, "holds no Vertices"),
        ],
    )
    def test_changed_since(self, file, key, values, says):
        surfaces(file, 0, [(0, *BOX)])
        ds = open_imaris_surfaces(file)
        change(file, key, values)
        with pytest.raises(ImarisError, match=says):
            ds.vertex_x.compute()

    def test_gone_since(self, file):
        surfaces(file, 0, [(0, *BOX)])
        ds = open_imaris_surfaces(file)
        with h5py.File(file, "a") as h5:
            del h5["Scene"]
        with pytest.raises(ImarisError, match=f"no {OLD}/Vertices, which was there"):
            ds.vertex_x.compute()

    def test_truth_of_triangles_is_checked_when_they_are_drawn(self, file):
        surfaces(file, 0, [(0, *BOX)])
        change(file, "Triangles", BOX[1] + 1)
        labels = mesh_masks(open_imaris(file), open_imaris_surfaces(file))["labels"]
        with pytest.raises(dpipe.InputError, match=r"8 vertices .* names vertex 8"):
            labels.compute()

    def test_without_meshes_on_either_side(self, file):
        surfaces8(file, 0, [4], {}, Name="b")
        with pytest.raises(ImarisError, match="'b' has no mesh in Scene"):
            open_imaris_surfaces(file)

    def test_no_scene(self, file):
        with pytest.raises(ImarisError, match=r"no object of surfaces \(Surfaces\) in its scene"):
            open_imaris_surfaces(file)
        thing(file, "Scene/Content", {"NumberOfSurfaces": 0})
        with pytest.raises(ImarisError, match="objects there: none"):
            open_imaris_surfaces(file)

    def test_several_files(self, file):
        with pytest.raises(UsageError, match="found 2"):
            open_imaris_surfaces([str(file), str(file)])


def test_a_recipe_from_meshes_to_label_images(file, tmp_path):
    """Pixels, surfaces and spots of one file, joined by its name; labels are valid OME-Zarr."""
    surfaces(file, 0, [(0, *BOX), (2, *OCTAHEDRON)], Id=5)
    points(file, 0, [(0, 31, -19, 12, 1)])
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"""
name: meshes
datasets:
  movie: {{reader: imaris, source: {file}}}
  cells: {{reader: imaris-surfaces, source: {file}}}
  spots: {{reader: imaris-spots, source: {file}}}
  masks: {{operator: mesh-masks, input: {{ds: movie, surfaces: cells}}, params: {{rule: union}}}}
  flat: {{operator: mesh-masks, input: {{ds: movie, surfaces: cells}}, params: {{dims: 2}}}}
""")
    store = str(tmp_path / "store")
    outcome = dpipe.run_recipe(recipe, store, progress=False, workers="0")
    assert outcome.exit_code == 0, outcome.steps
    held, movie = open_imaris_surfaces(file), open_imaris(file)
    masks = dpipe.open(store, "masks")
    np.testing.assert_array_equal(masks["labels"], mesh_masks(movie, held, rule="union")["labels"])
    flat = dpipe.open(store, "flat")
    np.testing.assert_array_equal(flat["labels"], mesh_masks(movie, held, dims=2)["labels"])
    assert flat.z.values.tolist() == [12.0]
    assert flat.z.attrs["spacing"] == 6.0
    assert dpipe.open(store, "spots").spot_x.values.tolist() == [31]
    (part,) = (tmp_path / "store" / "parts" / "masks").glob("Neu1-*.ome.zarr")
    yaozarrs.validate_zarr_store(part)
