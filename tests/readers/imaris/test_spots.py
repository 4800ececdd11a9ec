"""Spots of Imaris files, generated in the layout of Scene and Scene8: no real one is at hand."""

import h5py
import numpy as np
import pytest
from scenes import mega, offsets, points, points8, say, thing

from dpipe.demo.study import write_imaris
from dpipe.errors import ImarisError, UsageError
from dpipe.readers import open_imaris, open_imaris_spots
from dpipe.readers.imaris.scene import apart, connected

T0 = 1_000_000_000


@pytest.fixture
def file(tmp_path):
    """Four frames, 30 s apart, of (z, y, x) = (3, 8, 8)."""
    pixels = np.zeros((4, 1, 3, 8, 8), "u1")
    return write_imaris(
        tmp_path / "Neu1.ims", pixels, spacing=(2, 0.5, 0.5), origin=(10, -20, 30), interval=30,
        chunks=(4, 8, 8), levels=1,
    )  # fmt: skip


SPOTS = [(0, 30.5, -19.0, 12.0, 4.0), (0, 31.0, -18.5, 14.0, 0.0), (2, 32.0, -18.0, 12.0, 4.0)]


def columns(ds, *names):
    return {name: ds[name].values.tolist() for name in names}


def test_scene_alone(file):
    points(file, 0, SPOTS, Id=7, Unit="um")
    ds = open_imaris_spots(file)
    assert columns(ds, "frame", "track", "spot_id", "spot_t", "spot_z", "spot_y", "spot_x") == {
        "frame": [0, 0, 2],
        "track": [-1, -1, -1],
        "spot_id": [0, 1, 2],
        "spot_t": [0, 0, 60],
        "spot_z": [12, 14, 12],
        "spot_y": [-19, -18.5, -18],
        "spot_x": [30.5, 31, 32],
    }
    np.testing.assert_array_equal(ds.spot_radius, [4, np.nan, 4])
    assert set(ds.coords) == {"track", "frame"}
    assert ds.attrs["object"] == "Spots 0"
    assert ds.attrs["objects"] == [{"name": "Spots 0", "number": 0, "spots": 3}]
    assert "assumed" not in ds.attrs
    assert ds.spot_x.attrs["units"] == "micrometer"


def test_a_spot_at_a_voxel_is_at_its_centre(file):
    # the voxel (z, y, x) = (1, 2, 3) has its centre at 10 + 2, -20 + 1, 30 + 1.5
    points(file, 0, [(0, 31.5, -19.0, 12.0, 1.0)])
    ds, movie = open_imaris_spots(file), open_imaris(file)
    voxel = [int(np.argmin(abs(movie[dim].values - ds[f"spot_{dim}"].item()))) for dim in "zyx"]
    assert voxel == [1, 2, 3]
    assert [float(movie[d][v]) for d, v in zip("zyx", voxel, strict=True)] == [12, -19, 31.5]


def test_edges_become_tracks(file):
    spots = [(frame, float(i), 0, 0, 1) for i, frame in enumerate([0, 0, 1, 1, 2, 3])]
    points(file, 0, spots, edges=[(0, 2), (4, 2), (3, 5)])
    ds = open_imaris_spots(file)
    assert ds.track.values.tolist() == [T0, -1, T0, T0 + 1, T0, T0 + 1]
    assert ds.attrs["assumed"] == ["Spots 0: tracks are spots joined by edges, numbered by dpipe"]


def test_connected_against_a_walk():
    random = np.random.default_rng(3)
    edges = random.integers(0, 400, (300, 2))
    group = list(range(400))
    for a, b in edges.tolist():
        old, new = max(group[a], group[b]), min(group[a], group[b])
        group = [new if g == old else g for g in group]
    track = connected(edges, 400, "Edges")
    joined = set(edges.ravel().tolist())
    heads = sorted({group[i] for i in joined})
    assert track.tolist() == [T0 + heads.index(group[i]) if i in joined else -1 for i in range(400)]
    assert connected(np.empty((0, 2), int), 3, "Edges").tolist() == [-1, -1, -1]


SPOTS8 = [
    (40, 0, 30.5, -19.0, 12.0, 4.0),
    (41, 0, 31.0, -18.5, 14.0, 4.0),
    (7, 2, 32.0, -18.0, 12.0, 4.0),
    (8, 2, 33.0, -18.0, 12.0, 4.0),
]


def test_scene8_has_numbers_and_tracks(file):
    points8(file, 0, SPOTS8, {T0: [40, 7], T0 + 1: [8]}, Unit="um")
    ds = open_imaris_spots(file)
    assert columns(ds, "spot_id", "frame", "track", "spot_x", "spot_t") == {
        "spot_id": [40, 41, 7, 8],
        "frame": [0, 0, 2, 2],
        "track": [T0, -1, T0, T0 + 1],
        "spot_x": [30.5, 31, 32, 33],
        "spot_t": [0, 0, 60, 60],
    }


def test_sides_are_matched_by_id_and_not_by_number(file):
    points(file, 0, SPOTS, Id=1, Name="a")
    points(file, 1, SPOTS[:1], Id=2, Name="b")
    points8(file, 0, [(9, 1, 1, 1, 1, 1)], {T0: [9]}, Id=2, Name="b")
    points8(file, 1, [(i, *s) for i, s in enumerate(SPOTS)], {T0: [0, 1]}, Id=1, Name="a")
    ds = open_imaris_spots(file)
    assert ds.attrs["object"] == "a, b"
    assert columns(ds, "spot_object", "frame", "track") == {
        "spot_object": [0, 0, 0, 1],
        "frame": [0, 0, 2, 1],
        "track": [T0, T0, -1, 2 * T0],  # T0 is taken: raised by 1,000,000,000
    }
    assert [o["spots"] for o in ds.attrs["objects"]] == [3, 1]
    assert ds.attrs["objects"][1]["track_shift"] == T0
    for wanted in ("b", 1):
        one = open_imaris_spots(file, object=wanted)
        assert columns(one, "spot_id", "track") == {"spot_id": [9], "track": [T0]}
        assert "spot_object" not in one


def test_apart():
    # the second object shares T0 + 3 with the first: it is raised above T0 + 3, by whole T0
    held = [[5, -1, T0 + 3], [T0 + 3, T0 + 9], [7, -1], []]
    shifted, shifts = apart([np.array(track, np.int64) for track in held])
    assert shifts == [0, T0, 0, 0]
    assert [track.tolist() for track in shifted] == [
        [5, -1, T0 + 3], [2 * T0 + 3, 2 * T0 + 9], [7, -1], [],
    ]  # fmt: skip


def test_two_spots_of_one_number(file):
    points8(file, 0, [SPOTS8[0], SPOTS8[0]], {T0: [40]})
    with pytest.raises(ImarisError, match="'Spots 0' has two objects of one number"):
        open_imaris_spots(file)


@pytest.mark.parametrize(("unit", "factor"), [("um", 1), ("mm", 1e3), ("m", 1e6), ("nm", 1e-3)])
@pytest.mark.parametrize("write", ["old", "new"])
def test_units(file, unit, factor, write):
    if write == "old":
        points(file, 0, [(0, 1, 2, 3, 4)], Unit=unit)
    else:
        points8(file, 0, [(0, 0, 1, 2, 3, 4)], Unit=unit)
    ds = open_imaris_spots(file)
    found = [ds[f"spot_{what}"].item() for what in ("x", "y", "z", "radius")]
    np.testing.assert_allclose(found, np.array([1, 2, 3, 4]) * factor)


def test_unit_of_the_image_and_none(file):
    with h5py.File(file, "a") as h5:
        say(h5["DataSetInfo/Image"], Unit="mm")
    points(file, 0, [(0, 1, 2, 3, 4)])
    assert open_imaris_spots(file).spot_x.item() == 1000
    with h5py.File(file, "a") as h5:
        say(h5["DataSetInfo/Image"], Unit="pixel")
    ds = open_imaris_spots(file)
    assert ds.spot_x.item() == 1
    assert ds.attrs["assumed"] == ["Spots 0: lengths are micrometres: the unit is 'pixel'"]


def test_a_unit_that_is_not_known_is_asked_for(file):
    points(file, 0, [(0, 1, 2, 3, 4)], Unit="furlong")
    with pytest.raises(
        ImarisError, match=r"its unit of length, 'furlong', is not known; .*unit=um"
    ):
        open_imaris_spots(file)
    assert open_imaris_spots(file, unit="mm").spot_x.item() == 1000


def test_stamps_that_were_mended_are_said(file):
    with h5py.File(file, "a") as h5:
        del h5["DataSetInfo/TimeInfo"].attrs["TimePoint3"]
    points(file, 0, SPOTS)
    ds = open_imaris_spots(file)
    assert ds.spot_t.values.tolist() == [0, 0, 60]
    assert "frame 2 (TimePoint3 is missing)" in ds.attrs["assumed"][-1]


def test_spots_behind_links_inside_the_file(file):
    points(file, 0, SPOTS)
    expected = open_imaris_spots(file)
    with h5py.File(file, "a") as h5:
        h5.move("Scene", "kept/Scene")
        h5["Scene"] = h5py.SoftLink("/kept/Scene")
    assert open_imaris_spots(file).identical(expected)


def test_undated_frames_have_no_seconds(file):
    with h5py.File(file, "a") as h5:
        del h5["DataSetInfo/TimeInfo"]
    points(file, 0, SPOTS)
    ds = open_imaris_spots(file)
    assert np.isnan(ds.spot_t).all()
    assert ds.frame.values.tolist() == [0, 0, 2]


def test_sides_that_differ_in_number(file):
    points(file, 0, SPOTS, Id=1)
    points8(file, 0, SPOTS8, Id=1)
    ds = open_imaris_spots(file)
    assert ds.sizes["spot"] == 4
    assert ds.attrs["assumed"] == ["Spots 0: Scene8 is right: it holds 4 spots, Scene 3"]


def test_object_in_two_tracks(file):
    points8(file, 0, SPOTS8, {T0: [40, 7], T0 + 1: [7, 8]})
    ds = open_imaris_spots(file)
    assert ds.track.values.tolist() == [T0, -1, T0, T0 + 1]
    assert "1 objects lie in several tracks" in ds.attrs["assumed"][0]


@pytest.mark.parametrize("side", [points, points8])
def test_object_without_spots(file, side):
    side(file, 0, [])
    ds = open_imaris_spots(file)
    assert ds.sizes["spot"] == 0
    assert ds.spot_t.dtype == np.float64


@pytest.mark.parametrize("clock", ["", "ID_Time", None])
def test_centers_of_surfaces_without_meshes(file, clock):
    mega(file, 0, [(5, 1, 30, -20, 12), (6, 3, 31, -19, 13)], clock=clock)
    ds = open_imaris_spots(file, centers=True)
    frames = [0, 0] if clock is None else [1, 3]
    assert columns(ds, "spot_id", "frame", "spot_z", "spot_y", "spot_x") == {
        "spot_id": [5, 6],
        "frame": frames,
        "spot_z": [12, 13],
        "spot_y": [-20, -19],
        "spot_x": [30, 31],
    }
    assert np.isnan(ds.spot_radius).all()
    assert ("assumed" in ds.attrs) == (clock != "")


NEW = "Scene8/Content/Points0"


def change(file, key, values, where=NEW):
    with h5py.File(file, "a") as h5:
        del h5[f"{where}/{key}"]
        if values is not None:
            h5[f"{where}/{key}"] = values


class TestBadFiles:
    @pytest.mark.parametrize(
        ("key", "values", "says"),
        [
            ("Spot", None, "holds no CoordsXYZR"),
            ("Spot", np.zeros(4, [("ID", "i8"), ("PositionX", "f4")]), "expected rows of ID, Pos"),
            ("Spot", np.zeros((2, 2)), "expected rows of ID"),
            ("SpotTimeOffset", None, "Points0 holds no SpotTimeOffset"),
            ("SpotTimeOffset", offsets([0, 0, 2, 2, 2]), "names rows 2 to 5 of 4"),
            ("SpotTimeOffset", offsets([0, 0, 2]), "leaves row 3 without a frame"),
            ("SpotTimeOffset", offsets([0, 0, 2, 4]), "time index 4; the movie has 4 frames"),
            ("SpotTimeOffset", offsets([-3, 0, 2, 3]), "leaves row 0 without a frame"),
            ("TrackObject0", None, "Points0 holds no TrackObject0"),
            ("TrackObject0", np.array([(40,), (99,)], [("ID_Object", "i8")]), "object 99, which"),
            ("TrackObject0", np.array([(40,)], [("ID_Object", "i8")]), "names rows 0 to 2 of 1"),
        ],
    )
    def test_scene8(self, file, key, values, says):
        points8(file, 0, SPOTS8, {T0: [40, 7]})
        change(file, key, values)
        with pytest.raises(ImarisError, match=says) as told:
            open_imaris_spots(file)
        assert str(told.value).startswith("Neu1.ims: ")
        assert "\n" not in str(told.value)

    @pytest.mark.parametrize(
        ("key", "values", "says"),
        [
            ("CoordsXYZR", None, "Points0 holds no CoordsXYZR"),
            ("CoordsXYZR", np.zeros((3, 3)), "expected numbers, 4 a row"),
            ("CoordsXYZR", np.zeros((3, 4), "S3"), "expected numbers, 4 a row"),
            ("Time", np.zeros((2, 1)), "holds 3 places and 2 times"),
            ("Time", np.full((3, 1), -1), "names time index -1; expected 0 or more"),
            ("Time", np.full(3, 4), "names time index 4; the movie has 4 frames"),
            ("Edges", np.array([(0, 3)]), "Edges joins spot 3; there are 3"),
        ],
    )
    def test_scene(self, file, key, values, says):
        points(file, 0, SPOTS, edges=[(0, 2)])
        change(file, key, values, "Scene/Content/Points0")
        with pytest.raises(ImarisError, match=says):
            open_imaris_spots(file)

    def test_tracks_of_nothing(self, file):
        points8(file, 0, [], {T0: [40]})
        with pytest.raises(ImarisError, match="names object 40, which is not there"):
            open_imaris_spots(file)

    def test_field_that_is_no_number(self, file):
        points8(file, 0, SPOTS8)
        dtype = [("ID", "S4"), *((f"Position{a}", "f4") for a in "XYZ"), ("Radius", "f4")]
        change(file, "Spot", np.zeros(4, dtype))
        with pytest.raises(ImarisError, match=r"Spot: ID is \|S4; expected a number"):
            open_imaris_spots(file)

    @pytest.mark.parametrize(
        ("options", "says"),
        [
            ({}, r"no object of spots \(Points\) in its scene; objects there: none"),
            ({"object": "b"}, "no object 'b' of spots"),
            ({"centers": True}, "no object of surfaces that have only centres"),
        ],
    )
    def test_no_such_object(self, file, options, says):
        with pytest.raises(ImarisError, match=says):
            open_imaris_spots(file, **options)

    def test_objects_there_are_named(self, file):
        points(file, 0, SPOTS, Name="Dead cells")
        with pytest.raises(ImarisError, match=r"no object 3 .*; objects there: 0 'Dead cells'"):
            open_imaris_spots(file, object=3)

    def test_promised_and_not_there(self, file):
        points(file, 0, SPOTS)
        thing(file, "Scene/Content", {"NumberOfPoints": 2})
        with pytest.raises(ImarisError, match="Scene promises 2 Points, 1 are there"):
            open_imaris_spots(file)

    def test_same_id_twice(self, file):
        points(file, 0, SPOTS, Id=1)
        points(file, 1, SPOTS, Id=1)
        assert open_imaris_spots(file).sizes["spot"] == 6

    def test_rows_in_other_files(self, file, tmp_path):
        points(file, 0, SPOTS)
        with h5py.File(file, "a") as h5:
            group = h5["Scene/Content/Points0"]
            del group["Time"]
            outside = [(str(tmp_path / "secret"), 0, 24)]
            group.create_dataset("Time", (3, 1), "i8", external=outside)
        with pytest.raises(ImarisError, match="keeps its rows in other files, which is refused"):
            open_imaris_spots(file)

    def test_link(self, file):
        with h5py.File(file, "a") as h5:
            h5["Scene/Content/Points0"] = h5py.ExternalLink("other.h5", "/")
        with pytest.raises(ImarisError, match="a link to another place"):
            open_imaris_spots(file)

    @pytest.mark.parametrize(
        ("shape", "chunks", "says"),
        [
            ((1 << 40, 4), (1024, 4), "more than 2 GiB"),
            ((3, 4), (2, 4), "damaged: rows of Scene/Content/Points0/CoordsXYZR are not in"),
            ((3, 4), None, "damaged: rows of"),
        ],
    )
    def test_claims_without_bytes(self, file, shape, chunks, says):
        points(file, 0, SPOTS)
        with h5py.File(file, "a") as h5:
            group = h5["Scene/Content/Points0"]
            del group["CoordsXYZR"]
            group.create_dataset("CoordsXYZR", shape, "f4", chunks=chunks)
        with pytest.raises(ImarisError, match=says):
            open_imaris_spots(file)

    def test_several_files(self, file):
        with pytest.raises(UsageError, match="an Imaris movie is one file; found 2"):
            open_imaris_spots([str(file), str(file)])

    def test_filter_that_is_not_installed(self, file):
        points(file, 0, SPOTS)
        with h5py.File(file, "a") as h5:
            group = h5["Scene/Content/Points0"]
            del group["Time"]
            layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            layout.set_chunk((3, 1))
            layout.set_filter(32765, h5py.h5z.FLAG_OPTIONAL, ())
            space = h5py.h5s.create_simple((3, 1))
            h5py.h5d.create(group.id, b"Time", h5py.h5t.STD_I64LE, space, layout)
        with pytest.raises(ImarisError, match="HDF5 filter 32765 is not installed"):
            open_imaris_spots(file)
