"""Label images from surfaces: frames, overlaps, blocks, and tables that are not in order."""

import importlib
import pickle

import dask
import numpy as np
import pytest
import xarray as xr
from meshes import box, octahedron, placed, sphere, surfaces, volume

from dpipe import schema
from dpipe.errors import InputError, SchemaError, UsageError
from dpipe.operators import mesh_masks

SPACING, ORIGIN = (2.0, 0.5, 0.25), (10.0, -4.0, 3.0)


def movie(shape=(3, 1, 6, 20, 30), **said):
    said = {"spacing": SPACING, "origin": ORIGIN, "interval": 30} | said
    return schema.movie(np.zeros(shape, "u1"), **said)


def at(low, high):
    """A box between voxels of these numbers, so that they are just inside, in micrometres."""
    borders = [(np.array(c) - 0.5) * SPACING + ORIGIN for c in (low, high)]
    return box(*borders)


def table():
    """Frame 0: two boxes that overlap; frame 2: one; frame 1: an octahedron, last in the table."""
    meshes = [
        at((1, 2, 3), (4, 8, 9)),
        at((2, 5, 5), (5, 12, 20)),
        at((0, 0, 0), (6, 20, 30)),
        placed(octahedron(), (4, 3, 2), (15, 1, 6)),
    ]
    return surfaces(meshes, [0, 0, 2, 1], tracks=[7, 8, 7, 8])


def test_labels_are_the_rows_of_the_table_from_one():
    labels = mesh_masks(movie(), table())["labels"]
    expected = np.zeros((3, 6, 20, 30), np.uint32)
    expected[0, 2:5, 5:12, 5:20] = 2
    expected[0, 1:4, 2:8, 3:9] = 1  # the first in the table has what both cover
    expected[2] = 3
    np.testing.assert_array_equal(labels[[0, 2]], expected[[0, 2]])
    assert set(np.unique(labels[1])) == {0, 4}
    assert labels.dims == ("t", "z", "y", "x")
    assert labels.dtype == np.uint32
    assert labels.attrs["overlap"] == "first surface"


def test_octahedron_by_its_inequality():
    # |z - 15| / 4 + |y - 1| / 3 + |x - 6| / 2 < 1 with z = 10 + 2 k, y = -4 + j / 2, ...
    ds = movie()
    labels = mesh_masks(ds, table())["labels"][1]
    apart = abs(ds.z - 15) / 4 + abs(ds.y - 1) / 3 + abs(ds.x - 6) / 2
    inside, border = (apart < 1).values, (abs(apart - 1) < 1e-9).values
    np.testing.assert_array_equal((labels.values == 4)[~border], inside[~border])


def test_numbers_of_tracks():
    labels = mesh_masks(movie(), table(), number="track")["labels"].values
    assert [sorted(set(np.unique(frame)) - {0}) for frame in labels] == [[7, 8], [8], [7]]


@pytest.mark.parametrize("track", [1, 2**32 - 1])
def test_tracks_that_can_just_be_labels(track):
    held = table().assign_coords(surface_track=("surface", [track] * 4))
    labels = mesh_masks(movie(), held, number="track")["labels"].values
    assert np.unique(labels).tolist() == [0, track]


@pytest.mark.parametrize("track", [-1, 0, 2**32])
def test_track_that_cannot_be_a_label(track):
    held = table().assign_coords(surface_track=("surface", [track] * 4))
    with pytest.raises(SchemaError, match=rf"has track {track}; as a label it must be 1 to"):
        mesh_masks(movie(), held, number="track")["labels"].compute()


def test_rules():
    # the shell of a box with borders a quarter voxel inside those of voxels 1..4, 2..8, 3..9
    # holds all voxels at its sides; what is left are 2 * 5 * 5 inside of 4 * 7 * 7
    low, high = ((np.array(c)) * SPACING + ORIGIN for c in ((0.75, 1.75, 2.75), (4.25, 8.25, 9.25)))
    held = surfaces([box(low, high)], [0])
    found = {r: mesh_masks(movie(), held, rule=r)["labels"][0] for r in ("solid", "shell", "union")}
    assert [int(found[r].sum()) for r in found] == [4 * 7 * 7, 4 * 7 * 7 - 2 * 5 * 5, 4 * 7 * 7]
    np.testing.assert_array_equal(found["union"], found["solid"] | found["shell"])


def test_the_outermost_voxels_of_a_shell_are_drawn():
    # borders at 1.3 and 3.7 lie in the voxels 1 (0.5 to 1.5) and 4 (3.5 to 4.5) of each axis: of
    # the 4 x 4 x 4 voxels all but the 2 x 2 x 2 inside, of which solid takes just those
    low, high = (np.full(3, at) * SPACING + ORIGIN for at in (1.3, 3.7))
    held = surfaces([box(low, high)], [0])
    shell = np.zeros((6, 20, 30), bool)
    shell[1:5, 1:5, 1:5] = True
    shell[2:4, 2:4, 2:4] = False
    found = {r: mesh_masks(movie(), held, rule=r)["labels"][0] for r in ("solid", "shell", "union")}
    np.testing.assert_array_equal(found["shell"] == 1, shell)
    assert [int(found[r].sum()) for r in found] == [8, 56, 64]


def test_volume_of_an_ellipsoid():
    mesh = placed(sphere(4), (9, 11, 13), (30, 20, 25))
    ds = movie((1, 1, 120, 80, 100), spacing=(0.5, 0.5, 0.5), origin=(0.1, 0.2, 0.3))
    count = int((mesh_masks(ds, surfaces([mesh], [0]))["labels"] > 0).sum())
    # 0.125 cubic micrometres a voxel, about 43,000 of them; the border, some 6,000 voxels, errs by
    # about their square root, of which two are allowed
    assert abs(count - volume(mesh) / 0.125) < 2 * np.sqrt(6000)


def test_two_dimensions_are_the_largest_along_z():
    ds, held = movie(), table()
    solid, flat = mesh_masks(ds, held)["labels"], mesh_masks(ds, held, dims=2)["labels"]
    np.testing.assert_array_equal(flat, solid.max("z", keepdims=True))
    assert flat.dims == schema.LABELS.dims
    assert flat.z.values.tolist() == [15.0]  # 10, 12, ..., 20
    assert flat.z.attrs["spacing"] == 12.0
    assert mesh_masks(ds.isel(t=[]), held, dims=2)["labels"].shape == (0, 1, 20, 30)


@pytest.mark.parametrize("rule", ["solid", "shell", "union"])
@pytest.mark.parametrize("limit", [6 * 20 * 30, 600, 31])
def test_blocks_do_not_matter(monkeypatch, rule, limit):
    whole = mesh_masks(movie(), table(), rule=rule)["labels"].values
    flat = mesh_masks(movie(), table(), rule=rule, dims=2)["labels"].values
    module = importlib.import_module(
        "dpipe.operators.surfaces.masks"
    )  # the package has the function
    monkeypatch.setattr(module, "_BLOCK_VOXELS", limit)
    labels = mesh_masks(movie((2, 1, 6, 20, 30)), table().chunk(), rule=rule)["labels"]
    assert max(np.prod(sizes) for sizes in [labels.data.chunksize]) <= limit
    cut = labels.isel(z=slice(1, 4), y=slice(3, 9))
    np.testing.assert_array_equal(cut, whole[:2, 1:4, 3:9])
    folded = mesh_masks(movie((2, 1, 6, 20, 30)), table(), rule=rule, dims=2)["labels"]
    np.testing.assert_array_equal(folded.isel(y=slice(3, 9)), flat[:2, :, 3:9])


def test_tasks_are_lazy_and_travel():
    def refuse(*_, **__):
        raise AssertionError("something was computed")

    with dask.config.set(scheduler=refuse):
        result = mesh_masks(movie().chunk(), table().chunk({"vertex": 3, "face": 5}))
    copy = pickle.loads(pickle.dumps(result))
    np.testing.assert_array_equal(copy["labels"], mesh_masks(movie(), table())["labels"])


def test_surfaces_outside_and_empty_ones_mark_nothing():
    nothing = np.empty((0, 3)), np.empty((0, 3), int)
    lonely = np.array([[12.0, 0, 5]]), np.empty((0, 3), int)
    far = placed(octahedron(), 2, (500, 500, 500))
    held = surfaces([nothing, lonely, far, at((1, 2, 3), (2, 3, 4))], [0, 0, 0, 0])
    labels = mesh_masks(movie(), held, rule="union")["labels"]
    assert np.unique(labels[0, 1, 2, 3]).tolist() == [4]
    assert set(np.unique(labels)) == {0, 4}
    none = mesh_masks(movie(), surfaces([], []))["labels"]
    assert not none.values.any()


def test_mesh_with_holes_is_a_shell_or_an_error():
    vertices, faces = at((1, 2, 3), (5, 9, 12))
    vertices = vertices + 0.1
    held = surfaces([(vertices, faces[:-1])], [1])
    shell = mesh_masks(movie(), held, rule="shell")["labels"]
    np.testing.assert_array_equal(mesh_masks(movie(), held)["labels"], shell)
    assert shell.values.any()
    refused = mesh_masks(movie(), held, unclosed="refuse")["labels"]
    assert not refused[0].values.any()
    with pytest.raises(InputError, match=r"surfaces: number 0 of the table \(frame 1\) has holes"):
        refused.compute()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: s["vertex_y"].values.__setitem__(9, np.nan), "number 1 .* not finite"),
        (lambda s: s["face_vertex"].values.__setitem__((3, 1), 8), "8 vertices .* names vertex 8"),
        (
            lambda s: s["face_vertex"].values.__setitem__((3, 1), -2),
            "8 vertices .* names vertex -2",
        ),
        (lambda s: s["vertex_count"].values.__setitem__(0, 7), "vertex_count adds up to 29"),
        (lambda s: s["face_count"].values.__setitem__(0, -7), "face_count adds up to"),
    ],
    ids=["nan", "index too large", "index below 0", "counts", "count below 0"],
)
def test_damaged_meshes(change, says):
    held = table()
    change(held)
    with pytest.raises(InputError, match=says) as told:
        mesh_masks(movie(), held)["labels"].compute()
    assert "\n" not in str(told.value)


class TestFrames:
    """Surfaces go by the number of the frame in the whole movie."""

    @pytest.mark.parametrize("cut", [slice(1, 3), slice(2, None), slice(0, 3, 2), slice(0, 2)])
    def test_movies_cut_along_time(self, cut):
        whole = mesh_masks(movie(), table())["labels"]
        found = mesh_masks(movie().isel(t=cut), table())["labels"]
        np.testing.assert_array_equal(found, whole.isel(t=cut))

    def test_uneven_times_from_zero_are_all_frames(self):
        ds = movie(times=[0, 31, 95])
        np.testing.assert_array_equal(
            mesh_masks(ds, table())["labels"], mesh_masks(movie(), table())["labels"]
        )

    def test_uneven_times_that_start_later_are_refused(self):
        ds = movie(times=[0, 31, 95]).isel(t=slice(1, None))
        with pytest.raises(SchemaError, match=r"frames start at 31 s .* give first_frame"):
            mesh_masks(ds, table())
        found = mesh_masks(ds, table(), first_frame=1)["labels"]
        np.testing.assert_array_equal(found, mesh_masks(movie(), table())["labels"][1:])

    def test_without_times(self):
        found = mesh_masks(movie().drop_vars("t"), table())["labels"]
        np.testing.assert_array_equal(found, mesh_masks(movie(), table())["labels"].drop_vars("t"))


class TestGrid:
    def test_thinned(self):
        # every other voxel along y and x; the centres stay where they are, so do the labels
        cut = {"y": slice(None, None, 2), "x": slice(1, None, 3)}
        whole = mesh_masks(movie(), table())["labels"]
        np.testing.assert_array_equal(
            mesh_masks(movie().isel(cut), table())["labels"], whole.isel(cut)
        )

    def test_one_voxel(self):
        cut = {"z": [2], "y": [6], "x": [6]}
        assert mesh_masks(movie().isel(cut), table())["labels"].values.ravel().tolist()[0] == 1

    @pytest.mark.parametrize(
        ("ds", "says"),
        [
            (movie().isel(y=[0, 1, 3]), "not evenly spaced along y"),
            (movie().isel(x=slice(None, None, -1)), "-0.25 micrometre apart along x"),
            (movie().isel(x=[]), None),
        ],
        ids=["uneven", "backwards", "none"],
    )
    def test_odd_ones(self, ds, says):
        if says is None:
            assert mesh_masks(ds, table())["labels"].size == 0
            return
        with pytest.raises(SchemaError, match=says):
            mesh_masks(ds, table())


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"rule": "full"}, "rule: found 'full'; expected 'solid' or 'shell' or 'union'"),
        ({"unclosed": "fill"}, "unclosed: found 'fill'"),
        ({"number": "id"}, "number: found 'id'"),
        ({"dims": 4}, "dims: found 4; expected 3 or 2"),
    ],
)
def test_unknown_values(given, says):
    with pytest.raises(UsageError, match=says):
        mesh_masks(movie(), table(), **given)


def test_tables_of_another_kind():
    with pytest.raises(SchemaError, match="no variable 'face_count'"):
        mesh_masks(movie(), table().drop_vars("face_count"))
    four = xr.concat([table()["face_vertex"]] * 2, "corner").isel(corner=slice(0, 4))
    with pytest.raises(SchemaError, match="has 4 corners; expected triangles"):
        mesh_masks(movie(), table().drop_vars("face_vertex").assign(face_vertex=four))
