"""Crops by hand: places, borders, gaps, margins, phases, negatives, and what a movie lacks."""

import pickle
from collections import Counter
from functools import partial

import array_api_strict
import dask
import numpy as np
import pytest
import xarray as xr
from zarr.codecs import BloscCodec

import dpipe
from dpipe import schema
from dpipe.compute import blocks, devices
from dpipe.errors import SchemaError, UsageError
from dpipe.operators import consensus_tracks, track_crops
from dpipe.operators.crops import windows

SPACING, ORIGIN = (2.0, 0.5, 0.25), (10.0, -4.0, 3.0)
SHAPE = (6, 2, 5, 40, 44)
PIXELS = np.random.default_rng(0).integers(1, 60000, SHAPE).astype("u2")


def movie(pixels=PIXELS, **said):
    said = {"spacing": SPACING, "origin": ORIGIN, "interval": 30, "channels": ["GFP", "DiD"]} | said
    return schema.movie(pixels, **said).assign_attrs(stem="Neu1")


def um(z, y, x):
    """Micrometres of a voxel."""
    return np.asarray(ORIGIN) + np.asarray((z, y, x)) * SPACING


def spots(*rows, **coords):
    """A table of (track, frame, z, y, x), places in voxels."""
    track, frame, *_ = np.array(rows).reshape(-1, 5).T
    places = np.reshape([um(*row[2:]) for row in rows], (-1, 3)).T
    ds = xr.Dataset(
        {f"spot_{dim}": ("spot", each) for dim, each in zip("zyx", places, strict=True)}
    )
    ds = ds.assign_coords(track=("spot", track.astype(int)), frame=("spot", frame.astype(int)))
    return ds.assign_coords({name: ("spot", values) for name, values in coords.items()})


# A track of frames 1, 2, 4 (a gap in 3), and a spot without one, at the corner of frame 5.
TABLE = spots((7, 1, 2, 20, 22), (7, 2, 2, 21, 22), (7, 4, 3, 25, 30), (-1, 5, 0, 0, 43))


def window(t, y, x, size=9, channels=slice(None), planes=slice(None)):
    """The maximum over z of a padded movie; y and x are the middle voxel."""
    wide = np.pad(PIXELS[t, channels, planes].max(axis=1), ((0, 0), (100, 100), (100, 100)))
    half = size // 2
    return wide[:, 100 + y - half : 101 + y + half, 100 + x - half : 101 + x + half]


def test_windows_follow_a_track():
    ds = track_crops(movie(), TABLE, window=9)
    assert ds["crop"].dims == schema.CROP.dims
    assert ds["crop"].dtype == np.uint16
    assert ds["event"].values.tolist() == ["Neu1_cell1", "Neu1_cell2"]
    assert ds["movie"].values.tolist() == ["Neu1", "Neu1"]
    assert ds["kind"].values.tolist() == ["event", "event"]
    assert ds["label"].values.tolist() == [1, 1]
    assert ds["event_track"].values.tolist() == [7, -1]
    assert ds["crop_frame"].values.tolist() == [[1, 2, 3, 4], [5, -1, -1, -1]]
    # in the gap: half way from (21, 22) to (25, 30)
    one = ds["crop"].sel(event="Neu1_cell1").values
    for k, (t, y, x) in enumerate([(1, 20, 22), (2, 21, 22), (3, 23, 26), (4, 25, 30)]):
        np.testing.assert_array_equal(one[k], window(t, y, x))
    assert ds["crop_spots"].values.tolist() == [[1, 1, 0, 1], [1, 0, 0, 0]]
    # a corner: 5 of 9 rows and columns lie within
    other = ds["crop"].sel(event="Neu1_cell2").values
    np.testing.assert_array_equal(other[0], window(5, 0, 43))
    assert not other[1:].any()
    np.testing.assert_allclose(ds["crop_inside"], [[1, 1, 1, 1], [25 / 81, 0, 0, 0]], rtol=1e-14)
    assert ds.attrs["events"] == 2
    assert ds.attrs["left_out"] == {}
    assert ds.attrs["spots"] == {
        "shown": 4, "outside_image": 0, "beyond_movie": 0, "cut": 0, "without_place": 0,
    }  # fmt: skip


def test_coordinates_lead_back_to_the_movie():
    ds = track_crops(movie(), TABLE, window=9)
    assert ds["t"].values.tolist() == [0, 30, 60, 90]
    assert ds["y"].values.tolist() == [-2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2]
    assert [ds[dim].attrs["spacing"] for dim in "tyx"] == [30, 0.5, 0.25]
    assert ds["c"].values.tolist() == ["GFP", "DiD"]
    # frame 2 of the track: row 21 is -4 + 10.5 = 6.5, column 22 is 3 + 5.5 = 8.5; z by the spot
    assert [float(ds[f"crop_{dim}"][0, 1]) for dim in "zyx"] == [14, 6.5, 8.5]
    assert np.isnan(ds["crop_y"][1, 1:]).all()
    crop = ds["crop"][0, 1]
    world = {dim: ds[f"crop_{dim}"][0, 1] + ds[dim] for dim in "yx"}
    found = movie()["image"].isel(t=2).max("z").sel(world)
    np.testing.assert_array_equal(found, crop)


def test_even_windows_lead_back_too():
    # 4 rows of 0.5: -0.75 to 0.75; the middle of rows 20 to 23, columns 21 to 24
    ds = track_crops(movie(), TABLE.isel(spot=[0]), window=(4, 4))
    assert ds["y"].values.tolist() == [-0.75, -0.25, 0.25, 0.75]
    world = {dim: ds[f"crop_{dim}"][0, 0] + ds[dim] for dim in "yx"}
    found = movie()["image"].isel(t=1).max("z").sel(world)
    np.testing.assert_array_equal(found, ds["crop"][0, 0])
    np.testing.assert_array_equal(found, PIXELS[1].max(axis=1)[:, 19:23, 21:25])


def test_row_is_y_minus_origin_over_spacing():
    # spot_y = 6.2: (6.2 + 4) / 0.5 = 20.4, row 20; spot_x = 8.7: (8.7 - 3) / 0.25 = 22.8, column 23
    table = TABLE.isel(spot=[0]).assign(spot_y=("spot", [6.2]), spot_x=("spot", [8.7]))
    ds = track_crops(movie(), table, window=5)
    np.testing.assert_array_equal(ds["crop"][0, 0], window(1, 20, 23, 5))
    assert [float(ds[f"crop_{dim}"][0, 0]) for dim in "yx"] == [6.0, 8.75]


def test_margins_hold_the_ends():
    ds = track_crops(movie(), TABLE, window=9, margin=(3, 1))
    # the track is in 1..4; -2 and -1 are before the movie, 0 and 5 are the margin that it has
    assert ds["crop_frame"].values.tolist() == [
        [-1, -1, 0, 1, 2, 3, 4, 5],
        [2, 3, 4, 5, -1, -1, -1, -1],
    ]
    assert ds["t"].values.tolist() == [-90, -60, -30, 0, 30, 60, 90, 120]
    one = ds["crop"].sel(event="Neu1_cell1").values
    assert not one[:2].any()
    np.testing.assert_array_equal(one[2], window(0, 20, 22))
    np.testing.assert_array_equal(one[7], window(5, 25, 30))
    assert ds["crop_spots"].values[0].tolist() == [0, 0, 0, 1, 1, 0, 1, 0]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        # 4 um are 2 / 0.5 = 4 rows and 2 / 0.25 = 8 columns on each side
        ({"window": 4.0, "unit": "micrometer"}, (9, 17)),
        ({"window": [4.0, 1.9], "unit": "micrometer"}, (9, 7)),
        ({"window": [None, 7, 5]}, (7, 5)),
        ({"window": (8, 4)}, (8, 4)),
    ],
    ids=str,
)
def test_sizes_of_windows(said, expected):
    ds = track_crops(movie(), TABLE, **said)
    assert ds["crop"].shape[-2:] == expected
    assert ds["crop"].shape == ds["crop"].compute().shape


def test_the_default_is_the_published_window():
    assert track_crops(movie(), TABLE)["crop"].shape[-2:] == (59, 59)


def test_maximum_over_some_planes():
    # three planes around z = 2, 2, 2.5 (rounds to 3 - 1 = 2..4), 3, and around 0: -1, 0, 1
    ds = track_crops(movie(), TABLE, window=[3, 9, 9], fill=7)
    np.testing.assert_array_equal(ds["crop"][0, 0], window(1, 20, 22, planes=slice(1, 4)))
    np.testing.assert_array_equal(ds["crop"][0, 2], window(3, 23, 26, planes=slice(2, 5)))
    corner = window(5, 0, 43, planes=slice(0, 2))
    np.testing.assert_array_equal(ds["crop"][1, 0], np.where(corner == 0, 7, corner))
    assert float(ds["crop_inside"][1, 0]) == pytest.approx(25 / 81 * 2 / 3)
    assert float(ds["crop_z"][1, 0]) == 10
    # two in one frame, read at once: each has planes of its own
    both = track_crops(movie(), spots((1, 3, 1, 20, 22), (2, 3, 3, 20, 22)), window=[1, 9, 9])
    for k, z in enumerate((1, 3)):
        expected = window(3, 20, 22, planes=slice(z, z + 1))
        np.testing.assert_array_equal(both["crop"][k, 0], expected)


def test_volumes():
    ds = track_crops(movie(), TABLE, window=[3, 9, 9], dims=3, channels=["DiD"], fill=9)
    assert ds["crop_volume"].dims == schema.CROP_VOLUME.dims
    assert ds["z"].values.tolist() == [-2, 0, 2]
    np.testing.assert_array_equal(ds["crop_volume"][0, 0, 0], PIXELS[1, 1, 1:4, 16:25, 18:27])
    last = ds["crop_volume"][1, 0, 0].values
    assert (last[0] == 9).all()
    np.testing.assert_array_equal(last[1:, 4:, :5], PIXELS[5, 1, :2, :5, 39:])
    whole = track_crops(movie(), TABLE, window=9, dims=3)
    np.testing.assert_array_equal(whole["crop_volume"][0, 0], PIXELS[1, :, :, 16:25, 18:27])
    assert whole["z"].values.tolist() == [-4, -2, 0, 2, 4]
    assert (whole["crop_z"].values[0] == 14).all(), "the middle of the stack: 10 + 2 * 2"


def test_single_frames():
    ds = track_crops(movie(), TABLE, window=9, frames="single")
    names = ["Neu1_cell1_frame1", "Neu1_cell1_frame2", "Neu1_cell1_frame4", "Neu1_cell2_frame5"]
    assert ds["event"].values.tolist() == names
    assert ds["t"].values.tolist() == [0]
    assert ds["crop_frame"].values.ravel().tolist() == [1, 2, 4, 5]
    np.testing.assert_array_equal(ds["crop"][2, 0], window(4, 25, 30))
    wider = track_crops(movie(), TABLE, window=9, frames="single", margin=1)
    np.testing.assert_array_equal(wider["crop"][2, 0], window(3, 23, 26))


def test_channels_in_any_order():
    ds = track_crops(movie(), TABLE, window=9, channels=["DiD", "GFP"])
    assert ds["c"].values.tolist() == ["DiD", "GFP"]
    np.testing.assert_array_equal(ds["crop"][0, 0], window(1, 20, 22)[::-1])


def test_fill_of_floats():
    ds = track_crops(movie(PIXELS.astype("f4")), TABLE, window=9, fill=np.nan)
    assert np.isnan(ds["crop"][1, 1:]).all()
    assert int(np.isnan(ds["crop"][1, 0, 0]).sum()) == 81 - 25


def test_what_the_movie_does_not_show_is_counted():
    table = spots(
        (1, 0, 0, 20, 20), (1, 1, 0, 39.4, 20), (1, 2, 0, 39.6, 20), (1, 8, 0, 20, 20),
        (2, 0, 0, -30, 20), (2, 9, 0, 20, 20),
        (3, 7, 0, 20, 20),
        (4, 0, 0, 20, 20), (4, 1, 0, 20, 20), (4, 1, 0, 22, 20),
        (5, 0, 0, np.nan, 20),
    )  # fmt: skip
    ds = track_crops(movie(), table, window=9)
    assert ds["event"].values.tolist() == ["Neu1_cell1", "Neu1_cell4"]
    assert ds.attrs["left_out"] == {
        "Neu1_cell2": "beyond movie, outside image",
        "Neu1_cell3": "beyond movie",
        "Neu1_cell5": "without place",
    }
    # shown: 2 of track 1 (39.4 is in the last row, 39.6 is not), 3 of track 4
    assert ds.attrs["spots"] == {
        "shown": 5, "outside_image": 2, "beyond_movie": 3, "cut": 0, "without_place": 1,
    }  # fmt: skip
    assert sum(ds.attrs["spots"].values()) == table.sizes["spot"]
    assert len(ds.attrs["left_out"]) + ds.sizes["event"] == ds.attrs["events"]
    assert ds.attrs["notes"] == [
        "3 of 5 events left out: Neu1_cell2 (beyond movie, outside image), Neu1_cell3 (beyond "
        "movie), Neu1_cell5 (without place)"
    ]
    assert ds["crop_spots"].values[1, :2].tolist() == [1, 2]
    np.testing.assert_array_equal(ds["crop"][1, 1], window(1, 21, 20))  # the mean of both
    single = track_crops(movie(), table, window=9, frames="single")
    shown = ["Neu1_cell1_frame0", "Neu1_cell4_frame0", "Neu1_cell1_frame1", "Neu1_cell4_frame1"]
    assert single["event"].values.tolist() == shown
    edge = spots((1, 0, 0, -0.4, 20), (2, 0, 0, 20, -0.6))  # half a voxel is border
    assert track_crops(movie(), edge)["event"].values.tolist() == ["Neu1_cell1"]


def test_frames_beyond_the_movie_make_no_crop_longer():
    # seconds or milliseconds for frames: the movie has 0..5
    table = spots((1, 1, 2, 20, 22), (1, 4, 2, 20, 22), (1, 10**9, 2, 20, 22))
    ds = track_crops(movie(), table, window=9, margin=(0, 2))
    assert ds["crop_frame"].values.tolist() == [[1, 2, 3, 4, 5, -1, -1]]
    assert ds["crop_spots"].values.tolist() == [[1, 0, 0, 1, 0, 0, 0]]
    assert ds.attrs["spots"]["beyond_movie"] == 1


def test_one_length_for_all():
    ds = track_crops(movie(), TABLE, window=9, length=2, margin=1)
    assert ds["crop_frame"].values.tolist() == [[0, 1, 2, 3], [4, 5, -1, -1]]
    assert ds.attrs["spots"]["cut"] == 1
    third = track_crops(movie(), TABLE, window=9, length=3)  # frames 1 to 3; the spot of 4 is not
    assert (third.sizes["t"], third.attrs["spots"]["cut"]) == (3, 1)
    assert track_crops(movie(), TABLE, window=9, length=9).sizes["t"] == 9
    assert track_crops(movie(), TABLE, window=9, length=9, frames="single").sizes["t"] == 1


def test_no_event_is_no_error():
    empty = TABLE.isel(spot=[])
    ds = track_crops(movie(), empty, window=9, margin=1)
    assert ds["crop"].shape == (0, 3, 2, 9, 9)
    assert ds["crop"].compute().shape == (0, 3, 2, 9, 9)
    assert ds.attrs["events"] == 0


def test_a_movie_cut_along_t():
    whole = track_crops(movie(), TABLE, window=9)
    cut = track_crops(movie().isel(t=slice(2, 5)), TABLE, window=9)
    assert cut["crop_frame"].values.tolist() == [[-1, 2, 3, 4]]
    np.testing.assert_array_equal(cut["crop"][0, 1:], whole["crop"][0, 1:])
    assert cut.attrs["left_out"] == {"Neu1_cell2": "beyond movie"}
    thin = track_crops(movie().isel(t=[1, 4], y=slice(5, None)), TABLE, window=9)
    assert thin["crop_frame"].values.tolist() == [[1, -1, -1, 4]]
    np.testing.assert_array_equal(thin["crop"][0, [0, 3]], whole["crop"][0, [0, 3]])
    other = track_crops(movie().isel(t=slice(2, 5)), TABLE, window=9, first_frame=0)
    assert other["crop_frame"].values.tolist() == [[1, 2]]


def test_names():
    bare = movie().drop_attrs(deep=False)
    assert track_crops(bare, TABLE)["event"].values[0] == "movie_cell1"
    assert track_crops(bare, TABLE.assign_attrs(stem="Den2"))["event"].values[0] == "Den2_cell1"
    lone = track_crops(movie(), spots((-1, 5, 2, 9, 9), (-1, 2, 2, 9, 9)))  # by frame
    assert lone["event"].values.tolist() == ["Neu1_cell1", "Neu1_cell2"]
    assert lone["crop_frame"].values.tolist() == [[2], [5]]


# ------------------------------------------------------------------------------------- phases


def phases(*rows, movies=("Neu1",)):
    """Rows of (track, blebbing, disruption), frames from 0."""
    names = [v.name for v in schema.PHASES]
    values = np.array([row[1:] for row in rows], float).T
    ds = xr.Dataset({k: ("event", v) for k, v in zip(names, values, strict=True)})
    ds["phase_track"] = ("event", np.array([row[0] for row in rows]))
    return ds.assign_coords(
        event=[f"e{i}" for i in range(len(rows))],
        movie=("event", list(movies) * (len(rows) // len(movies))),
    )


NAN = float("nan")


def test_phases_of_each_frame():
    # one table for all movies, in which this one is spelled otherwise
    table = phases((7, 2, 3, 3, 3), (7, 0, 9, NAN, NAN), movies=("neu 1", "Neu11"))
    for held in (xr.DataTree.from_dict({"/all": table}), table):
        ds = track_crops(movie(), TABLE, held, window=9, margin=(2, 1))
        # frames -1, 0, 1, 2, 3, 4, 5; where both cover a frame disruption wins
        assert ds["crop_frame"].values[0].tolist() == [-1, 0, 1, 2, 3, 4, 5]
        assert ds["crop_phase"].values[0].tolist() == [255, 0, 0, 1, 2, 0, 0]
        assert (ds["crop_phase"][1] == 255).all()
    assert (track_crops(movie(), TABLE, window=9)["crop_phase"] == 255).all()
    none = phases((7, NAN, NAN, NAN, NAN), (-1, 0, 9, 9, 9))
    assert (track_crops(movie(), TABLE, none, window=9)["crop_phase"] == 255).all()


def test_tables_of_phases_that_do_not_do():
    bare = phases((7, 0, 1, 2, 3)).drop_vars("phase_track")
    with pytest.raises(SchemaError, match=r"phases all: no variable 'phase_track'.*phase-tracks"):
        track_crops(movie(), TABLE, xr.DataTree.from_dict({"/all": bare}))
    with pytest.raises(SchemaError, match="two events of Neu1 have track 7"):
        track_crops(movie(), TABLE, phases((7, 0, 1, 2, 3), (7, 4, 5, 6, 7)))


def test_crops_say_when_their_frames_were():
    """Of a movie whose frames are not even; t goes by its usual step."""
    film = movie(times=[0.0, 30.0, 75.0, 90.0, 130.0, 160.0])
    ds = track_crops(film, TABLE, window=9, margin=1)
    one = ds.sel(event="Neu1_cell1")
    assert one["crop_frame"].values.tolist() == [0, 1, 2, 3, 4, 5]
    assert one["crop_time"].values.tolist() == [0, 30, 75, 90, 130, 160]
    assert one["t"].values.tolist() == [-30, 0, 30, 60, 90, 120]
    other = ds.sel(event="Neu1_cell2")["crop_time"].values
    assert other[1] == 160
    assert np.isnan(other[2:]).all()


# ---------------------------------------------------------------------------------- negatives

CELLS = [(20, 20), (20, 60), (60, 20), (60, 60), (40, 100), (90, 90)]


def field(frames=5):
    """Six cells on a dim ground, brightest in plane 2 of 4; of two planes nothing is seen."""
    y, x = np.ogrid[:110, :120]
    plane = np.full((110, 120), 20.0)
    for at in CELLS:
        plane = np.maximum(plane, 220 - 8 * ((y - at[0]) ** 2 + (x - at[1]) ** 2))
    volume = np.stack([plane * 0, plane * 0.8, plane, plane * 0])
    pixels = np.broadcast_to(volume[None, None], (frames, 1, *volume.shape)).astype("u2")
    return schema.movie(pixels, spacing=(2, 1, 1), interval=30).assign_attrs(stem="Neu1")


def dying(*rows):
    """Events at (track, frame, y, x), micrometres as pixels."""
    held = np.array(rows, float)
    ds = xr.Dataset(
        {
            "spot_z": ("spot", held[:, 0] * 0 + 2),
            "spot_y": ("spot", held[:, 2]),
            "spot_x": ("spot", held[:, 3]),
        }
    )
    return ds.assign_coords(
        track=("spot", held[:, 0].astype(int)), frame=("spot", held[:, 1].astype(int))
    )


DYING = dying((1, 3, 20, 20), (1, 4, 20, 20), (2, 1, 60, 60))


def of_kind(ds, kind):
    return ds.isel(event=np.flatnonzero(ds["kind"].values == kind))


def centres(ds, t=0):
    """Places of windows in one of their frames, in pixels."""
    columns = [ds[name].values[:, t].round().astype(int).tolist() for name in ("crop_y", "crop_x")]
    return set(zip(*columns, strict=True))


def test_negatives_around_cells():
    said = {"window": 11, "negatives": 12, "negative_kinds": ["cell"], "negative_distance": 38.0}
    ds = track_crops(field(), DYING, seed=3, **said)
    events, cells = of_kind(ds, "event"), of_kind(ds, "cell")
    assert sorted(events["event"].values) == ["Neu1_cell1", "Neu1_cell2"]
    assert (cells["label"] == 0).all()
    assert (cells["event_track"] == -1).all()
    # (20, 20) and (60, 60) die; all others are 40 or farther from both: one window each
    assert centres(cells) == set(CELLS) - {(20, 20), (60, 60)}
    assert cells.sizes["event"] == 4
    assert sorted(cells["event"].values) == [f"Neu1_negative{i + 1}" for i in range(4)]
    there = cells["crop_valid"].values
    np.testing.assert_array_equal(there, cells["crop_frame"].values >= 0)
    assert (cells["crop_z"].values[there] == 4).all(), "the brightest plane, 2 * 2"
    assert (cells["crop_phase"].values[there] == 0).all()
    assert ds.attrs["negatives"] == {
        "most": {"cell": 12, "before": 0}, "distance": 38.0, "seed": 3,
        "found": {"cell": 4, "before": 0},
    }  # fmt: skip
    assert ds.attrs["notes"] == ["4 of 12 negatives around cells found"]
    far = track_crops(field(), DYING, **(said | {"negative_distance": 41.0}))
    assert centres(of_kind(far, "cell")) == {(40, 100), (90, 90)}
    moved = dying((1, 3, 20, 20), (1, 4, 90, 90), (2, 1, 60, 60))  # also where it went
    kept = track_crops(field(), moved, **(said | {"negative_distance": 30.0}))
    assert (90, 90) not in centres(of_kind(kept, "cell"))
    small = track_crops(field(), DYING, **said, opened_area=(1, 9), watershed_area=(1, 9))
    assert small.attrs["negatives"]["found"]["cell"] == 0, "no cell is that small"
    gone = track_crops(field(), DYING, **(said | {"negative_distance": 500.0}))
    assert gone.attrs["negatives"]["found"] == {"cell": 0, "before": 0}


def test_negatives_have_the_very_frames_of_an_event():
    """Neither how many frames a crop has, nor which, nor when, tells what it is."""
    ds = track_crops(field(9), dying(*((k, t, y, 20) for k, y, frames in (
        (1, 20, (3, 4, 5)), (2, 60, (0, 1))) for t in frames)), window=11, margin=1, negatives=4,
        negative_kinds=["cell"], negative_distance=15.0)  # fmt: skip
    cells = of_kind(ds, "cell")
    assert cells.sizes["event"] == 4
    for i in range(4):
        one = cells.isel(event=i)
        event = ds.sel(event=one["event_like"].item())
        assert event["label"] == 1
        for name in ("crop_frame", "crop_valid", "crop_inside"):
            assert one[name].values.tolist() == event[name].values.tolist()
    assert (of_kind(ds, "event")["event_like"] == "").all()
    assert Counter(cells["event_like"].values) == {"Neu1_cell1": 2, "Neu1_cell2": 2}
    # the first frame of the second event is before the movie, also where nothing dies
    second = cells.isel(event=np.flatnonzero(cells["event_like"].values == "Neu1_cell2"))
    assert second["crop_frame"].values.tolist() == [[-1, 0, 1, 2, -1]] * 2
    assert not second["crop"].values[:, 0].any()


def test_negatives_are_filled_where_their_event_is():
    """A window of 11 around row 2 lacks three rows; a model must not tell deaths by that."""
    pixels = field()
    table = dying((1, 2, 2, 20))
    ds = track_crops(pixels, table, window=11, negatives=3, negative_kinds=["cell"], fill=9)
    cells = of_kind(ds, "cell")
    assert cells.sizes["event"] == 3
    assert (of_kind(ds, "event")["crop"].values[0, 0, 0, :3] == 9).all()
    for one in cells["crop"].values[:, 0, 0]:
        assert (one[:3] == 9).all()
        assert (one[3:] > 9).all()
    assert (cells["crop_inside"] == 8 / 11).all()
    # and none whose window reaches beyond the image where that of its event does not
    edge = field()
    edge["image"][:, :, :, :16, :16] += 0
    wide = track_crops(pixels, dying((1, 2, 60, 60)), window=59, negatives=6,
                       negative_kinds=["cell"], negative_distance=20)  # fmt: skip
    assert (of_kind(wide, "cell")["crop_inside"] == 1).all()


def test_a_volume_is_filled_along_z_too():
    """An event in plane 0 lacks one of three planes; cells are brightest in plane 2."""
    top = dying((1, 2, 60, 60)).assign(spot_z=("spot", [0.0]))
    for dims, inside in ((3, 2 / 3), (2, 2 / 3)):
        ds = track_crops(field(), top, window=(3, 11, 11), dims=dims, negatives=2,
                         negative_kinds=["cell"])  # fmt: skip
        cells = of_kind(ds, "cell")
        assert cells.sizes["event"] == 2
        np.testing.assert_allclose(ds["crop_inside"], inside)
        if dims == 3:
            assert not cells["crop_volume"].values[:, :, :, 0].any()
            assert cells["crop_volume"].values[:, :, :, 1].any()


def walking(frames=12, speed=6.0):
    """A cell that walks along x, one that stays, and one that dies beside."""
    y, x = np.ogrid[:110, :120]
    pixels = np.full((frames, 1, 1, 110, 120), 20.0)
    for t in range(frames):
        for at in ((20, 20 + speed * t), (60, 60), (95, 20)):
            bump = 220 - 8 * ((y - at[0]) ** 2 + (x - at[1]) ** 2)
            pixels[t, 0, 0] = np.maximum(pixels[t, 0, 0], bump)
    return schema.movie(pixels.astype("u2"), spacing=(2, 1, 1)).assign_attrs(stem="Neu1")


def test_negatives_follow_their_cell():
    """As crops of events do: else a still window, or one that the cell left, tells the class."""
    event = dying(*((1, t, 95, 20) for t in range(2, 9)))
    ds = track_crops(walking(), event, window=11, negatives=9, negative_kinds=["cell"])
    cells = of_kind(ds, "cell")
    rows = {round(float(y)): x.round().tolist() for y, x in
            zip(cells["crop_y"].values[:, 0], cells["crop_x"].values, strict=True)}  # fmt: skip
    assert rows == {20: [20 + 6 * t for t in range(2, 9)], 60: [60] * 7}
    assert (cells["crop"].values[:, :, 0, 5, 5] == 220).all(), "the cell is in the middle"
    slow = track_crops(walking(), event, window=11, negatives=9, negative_kinds=["cell"],
                       negative_step=5.0)  # fmt: skip
    assert {y for y, _ in centres(of_kind(slow, "cell"))} == {60}, "it walks faster than cells do"


def test_one_window_an_object():
    """Of single frames too: a cell is not drawn again from another frame, wherever it went."""
    event = dying(*((1, t, 95, 20) for t in range(10)))
    for seed in range(5):
        ds = track_crops(walking(), event, window=11, frames="single", negatives=4, seed=seed,
                         negatives_per="event", negative_kinds=["cell"])  # fmt: skip
        cells = of_kind(ds, "cell")
        assert sorted(y for y, _ in centres(cells)) == [20, 60]
        assert cells.sizes["event"] == 2


def test_a_cell_that_is_lost_for_a_moment():
    """Two frames in a row may lack it; its place there is between; three, and it is lost."""
    event = dying(*((1, t, 95, 20) for t in range(2, 9)))
    for gap, there in (((4, 5), [20, 60]), ((4, 5, 6), [60])):
        film = walking(speed=4.0)
        film["image"][list(gap), :, :, :40] = 20
        ds = track_crops(film, event, window=11, negatives=9, negative_kinds=["cell"])
        cells = of_kind(ds, "cell")
        assert sorted(y for y, _ in centres(cells)) == there
        for x, y in zip(cells["crop_x"].values, cells["crop_y"].values[:, 0], strict=True):
            if round(float(y)) == 20:
                assert x.round().tolist() == [20 + 4 * t for t in range(2, 9)]


def test_a_cell_that_is_gone_is_not_taken_for_another():
    """It dies out of sight in frame 4, three frames before its event; another is 25 away."""
    film = walking()
    film["image"][:7, :, :, 80:] = 20
    film["image"][:, :, :, 66:76, 16:26] = 220
    ds = track_crops(film, dying((1, 7, 95, 20), (1, 8, 95, 20)), window=11, negatives=1,
                     negative_kinds=["before"])  # fmt: skip
    assert ds.attrs["negatives"]["found"]["before"] == 0


def marked_by(who, *rows):
    return dying(*rows).assign_coords(annotator=("spot", [who] * len(rows)))


def test_negatives_keep_away_from_what_anybody_marked():
    both = xr.concat([marked_by("anna", (1, 3, 20, 20)), marked_by("ben", (1, 1, 90, 90))], "spot")
    said = {"window": 11, "negatives": 9, "negative_kinds": ["cell"]}
    ds = track_crops(field(), both, annotator="anna", **said)
    assert centres(of_kind(ds, "event")) == {(20, 20)}
    assert centres(of_kind(ds, "cell")) == set(CELLS) - {(20, 20), (90, 90)}
    more = track_crops(field(), dying((1, 3, 20, 20)), marks=both, **said)
    assert centres(of_kind(more, "cell")) == set(CELLS) - {(20, 20), (90, 90)}
    alone = track_crops(field(), dying((1, 3, 20, 20)), **said)
    assert centres(of_kind(alone, "cell")) == set(CELLS) - {(20, 20)}


def test_negatives_keep_away_from_what_a_consensus_left_out():
    """Ben alone took (90, 90) for a death, once without a track, and went on at (40, 100)."""
    times = {"spot_t": 0.0}
    rows = [marked_by("anna", (1, 3, 20, 20)), marked_by("ben", (1, 3, 20, 20), (2, 1, 90, 90)),
            marked_by("ben", (-1, 0, 40, 100))]  # fmt: skip
    table = xr.concat(rows, "spot").assign({k: ("spot", [v] * 4) for k, v in times.items()})
    agreed = consensus_tracks(table, annotators=2)
    assert agreed.sizes["spot"] == 1
    said = {"window": 11, "negatives": 9, "negative_kinds": ["cell"]}
    ds = track_crops(field(), agreed, **said)
    assert centres(of_kind(ds, "cell")) == set(CELLS) - {(20, 20), (90, 90), (40, 100)}
    old = agreed.drop_dims("mark")
    with pytest.raises(SchemaError, match=r"a consensus without mark_frame.*make it anew"):
        track_crops(field(), old, **said)
    assert track_crops(field(), old, window=11).sizes["event"] == 1


def test_frames_in_which_somebody_saw_a_death_somewhere_are_left_out():
    """A row of a table of phases without a track: nobody knows which cell of the movie it is."""
    event = dying((1, 1, 20, 20), (1, 2, 20, 20))
    said = {"window": 11, "negatives": 9, "negative_kinds": ["cell"]}
    for row, found in (((-1, 3, 3, 4, 4), 5), ((-1, 2, 3, 4, 4), 0)):
        table = phases((1, 1, 1, 2, 2), row)
        ds = track_crops(field(), event, table, **said)
        assert ds.attrs["negatives"]["found"]["cell"] == found


def test_no_mark_lies_in_a_negative():
    """However small the distance that is asked for: a window of 59 reaches 29 pixels."""
    ds = track_crops(field(), dying((1, 2, 40, 60)), window=59, negatives=9, negative_distance=1,
                     negative_kinds=["cell"])  # fmt: skip
    assert (of_kind(ds, "event")["crop_inside"] == 1).all()
    assert of_kind(ds, "cell").sizes["event"] == 0
    for window, count in ((39, 6), (41, 2)):  # 20 pixels away is beyond 19, and not beyond 20
        near = track_crops(field(), dying((1, 2, 40, 60)), window=window, negatives=9,
                           negative_distance=1, negative_kinds=["cell"])  # fmt: skip
        assert of_kind(near, "cell").sizes["event"] == count
    assert centres(of_kind(near, "cell")) == {(20, 20), (60, 20)}, "others reach over the border"


@pytest.mark.parametrize(
    ("said", "wanted", "expected"),
    [
        ("", None, "dark"),
        ("ch2", None, "ch2"),
        ("cells", None, "cells"),
        ("ch2,ch1", None, "ch2"),
        ("ch7", None, "dark"),
        ("ch1", ["cells"], "cells"),
    ],
)
def test_negatives_are_of_the_channel_of_events(said, wanted, expected):
    lit = field()
    pixels = np.concatenate([np.zeros_like(lit["image"].values), lit["image"].values], axis=1)
    both = schema.movie(pixels, spacing=(2, 1, 1), interval=30, channels=["dark", "cells"])
    table = DYING.assign_coords(spot_channel=("spot", [said] * 3))
    kinds = {"negatives": 3, "negative_kinds": ["cell"]}
    ds = track_crops(both, table, window=5, channels=wanted, **kinds)
    if expected == "dark":  # there are no cells
        assert "cell" not in ds["kind"]
    else:
        assert ds["event_channel"].values[ds["kind"].values == "cell"].tolist() == [expected] * 3


def test_negatives_by_seed_and_not_by_chunks():
    draw = partial(track_crops, tracks=DYING, window=11, negatives=3)
    one, same = draw(field(), seed=5), draw(field().chunk({"t": 2, "y": 50}), seed=5)
    xr.testing.assert_identical(one.compute(), same.compute())
    others = [draw(field(), seed=seed) for seed in range(6)]
    assert len({str(each["crop_y"].values) for each in others}) > 1
    named = draw(field().assign_attrs(stem="Neu2"), seed=5)
    assert str(named["crop_frame"].values) != str(one["crop_frame"].values)


def test_negatives_before_events():
    # track 1 begins in frame 3: frames 1 and 2 are free; track 2 in frame 1: of its one frame, 0
    ds = track_crops(field(), DYING, window=11, negatives=9, negative_kinds=["before"])
    found = of_kind(ds, "before")
    assert sorted(found["event"].values) == ["Neu1_cell1_before", "Neu1_cell2_before"]
    one = found.sel(event="Neu1_cell1_before")
    assert one["crop_frame"].values.tolist() == [1, 2]
    assert one["crop_spots"].values.tolist() == [0, 0]
    assert (one["event_track"], one["label"]) == (1, 0)
    assert one["event_like"] == "Neu1_cell1"
    assert one["crop_y"].values.round().tolist() == [20, 20]
    assert found.sel(event="Neu1_cell2_before")["crop_frame"].values.tolist() == [0, -1]
    assert ds.attrs["negatives"]["found"] == {"cell": 0, "before": 2}
    # an event that dies beside another in those frames is none of them
    near = xr.concat([DYING, dying((3, 2, 35, 20))], dim="spot")
    kept = track_crops(field(), near, window=11, negatives=9, negative_kinds=["before"])
    assert "Neu1_cell1_before" not in kept["event"].values
    deep = near.assign(spot_z=near["spot_z"] + [0, 0, 0, 99])  # only y and x count
    kept = track_crops(field(), deep, window=11, negatives=9, negative_kinds=["before"])
    assert "Neu1_cell1_before" not in kept["event"].values
    few = track_crops(field(), DYING, window=11, negatives=1, negative_kinds=["before"])
    assert few.attrs["negatives"]["found"]["before"] == 1


def test_before_an_event_its_cell_is_followed_back():
    """From where it was marked first: a window where no cell is would teach what empty is."""
    event = dying((1, 8, 20, 20 + 6 * 8), (1, 9, 20, 20 + 6 * 9))
    ds = track_crops(walking(), event, window=11, negatives=1, negative_kinds=["before"])
    one = of_kind(ds, "before").isel(event=0)
    assert one["crop_frame"].values.tolist() == [6, 7]
    assert one["crop_x"].values.round().tolist() == [20 + 6 * 6, 20 + 6 * 7]
    assert (one["crop"].values[:, 0, 5, 5] == 220).all()
    nowhere = dying((1, 8, 80, 100), (1, 9, 80, 100))
    ds = track_crops(walking(), nowhere, window=11, negatives=1, negative_kinds=["before"])
    assert ds.attrs["negatives"]["found"]["before"] == 0


def test_before_an_event_is_before_all_that_anybody_says_of_it():
    said = {"window": 11, "negatives": 1, "negative_kinds": ["before"]}
    event = dying((1, 6, 60, 60), (1, 7, 60, 60))

    def frames(*args, **more):
        ds = track_crops(walking(), event, *args, **(said | more))
        return of_kind(ds, "before")["crop_frame"].values.tolist()

    assert frames() == [[4, 5]]
    # a crop of the event shows frames before it too: none of these
    assert frames(margin=1) == [[1, 2, 3, 4]]
    # a table of phases begins in frame 5, one annotator in frame 3
    assert frames(phases((1, 5, 6, 7, 7))) == [[3, 4]]
    assert frames(marks=marked_by("ben", (4, 3, 61, 60), (4, 4, 61, 60))) == [[1, 2]]
    # somebody saw a death in frame 5, nobody knows where
    assert frames(phases((1, 6, 6, 7, 7), (-1, 5, 5, 5, 5))) == []


def test_negatives_have_as_many_frames_as_events():
    # an event of 4 frames from frame 1: too few before it
    long = dying(*((1, t, 20, 20) for t in (1, 2, 3, 4)))
    ds = track_crops(field(), long, window=11, negatives=8)
    there = ds["crop_valid"].sum("t")
    assert there.values.tolist() == [4] * 6
    assert ds.attrs["notes"] == [
        "5 of 8 negatives around cells found", "0 of 8 negatives before events found",
    ]  # fmt: skip


def test_negatives_of_single_frames():
    ds = track_crops(field(), DYING, window=11, frames="single", negatives=2, negatives_per="event")
    assert ds.attrs["negatives"]["most"] == {"cell": 6, "before": 6}
    before = of_kind(ds, "before")
    assert ds.sizes["t"] == 1
    names = [name.partition("_frame")[0] for name in before["event"].values]
    assert sorted(names) == ["Neu1_cell1", "Neu1_cell2"], "one window an object"
    for name, frame in zip(names, before["crop_frame"].values[:, 0], strict=True):
        assert 0 <= frame < {"Neu1_cell1": 3, "Neu1_cell2": 1}[name]


def test_negatives_of_a_movie_without_events():
    ds = track_crops(field(), DYING.isel(spot=[]), window=11, negatives=4)
    assert ds["kind"].values.tolist() == ["cell"] * 4
    assert ds.attrs["negatives"]["found"] == {"cell": 4, "before": 0}
    assert len(centres(ds)) == 4
    whole = track_crops(field(), DYING.isel(spot=[]), window=11, negatives=4, length=2, margin=1)
    assert whole["crop_valid"].values.all(), "as long as those of movies with events"
    assert whole.sizes["t"] == 4
    none = track_crops(field().isel(t=[]), DYING, window=11, negatives=4)
    assert none.sizes["event"] == 0


# -------------------------------------------------------------------------------------- blocks


class Reads:
    """A movie whose blocks are read by a function that counts what is asked of it."""

    def __init__(self, pixels, chunks):
        self.pixels, self.asked = pixels, []
        self.ds = movie(pixels)
        array = blocks.lazy(self, pixels.shape, pixels.dtype, chunks)
        self.ds["image"] = schema.IMAGE.wrap(xr.DataArray(array, dims=schema.MOVIE_DIMS))["image"]
        self.chunks = chunks

    def __call__(self, region):
        self.asked.append(region)
        return self.pixels[region]

    def decoded(self):
        """How often each chunk was decoded."""
        count = {}
        for region in self.asked:
            ranges = [
                range(cut.start // n, (cut.stop - 1) // n + 1)
                for cut, n in zip(region, self.chunks, strict=True)
            ]
            for index in np.ndindex(*map(len, ranges)):
                key = tuple(r[i] for r, i in zip(ranges, index, strict=True))
                count[key] = count.get(key, 0) + 1
        return count


@pytest.mark.parametrize(
    "chunks",
    [(1, 1, 5, 40, 44), (1, 1, 5, 16, 16), (3, 2, 2, 40, 44), (6, 2, 5, 7, 44)],
    ids=str,
)
@pytest.mark.parametrize(
    "said", [{}, {"dims": 3, "window": [3, 9, 9]}, {"frames": "single"}], ids=str
)
def test_a_block_decodes_each_chunk_that_it_needs_once(chunks, said):
    rows = [(k, t, 2, 4 + 7 * (k % 5), 5 + 3 * k) for k in range(12) for t in range(k % 3, 6)]
    reads = Reads(PIXELS, chunks)
    said = {"window": 9} | said
    ds = track_crops(reads.ds, spots(*rows), **said)
    name = "crop_volume" if "dims" in said else "crop"
    assert not reads.asked
    region = {"c": slice(0, 2)}
    found = blocks.compute_region(ds, [name], region)[name]
    np.testing.assert_array_equal(found, track_crops(movie(), spots(*rows), **said)[name])
    assert set(reads.decoded().values()) == {1}


def test_what_no_window_touches_is_not_read():
    reads = Reads(PIXELS, (1, 1, 5, 8, 8))
    rows = [(1, 0, 2, 3, 3), (2, 0, 2, 36, 36), (3, 4, 2, 3, 40)]
    ds = track_crops(reads.ds, spots(*rows), window=5, channels=["DiD"])
    found = ds["crop"].compute()
    np.testing.assert_array_equal(
        found, track_crops(movie(), spots(*rows), window=5, channels=["DiD"])["crop"]
    )
    # rows and columns 1..5 of frame 0: one tile; 34..38: one tile; columns 38..42 of frame 4: two
    assert sorted(reads.decoded()) == [
        (0, 1, 0, 0, 0), (0, 1, 0, 4, 4), (4, 1, 0, 0, 4), (4, 1, 0, 0, 5),
    ]  # fmt: skip


def test_large_planes_in_a_store_are_read_tile_by_tile(tmp_path, monkeypatch):
    pixels = (np.arange(2 * 2048 * 2048) % 251).astype("u1").reshape(2, 1, 1, 2048, 2048)
    dpipe.save(schema.movie(pixels), str(tmp_path), "large", message="m")
    ds, decoded = dpipe.open(str(tmp_path), "large"), []
    assert ds["image"].encoding["chunks"] == (1, 1, 1, 512, 512)
    assert ds["image"].chunks[-1] == (2048,)
    decode = BloscCodec._decode_sync
    monkeypatch.setattr(
        BloscCodec, "_decode_sync", lambda *args: decoded.append(args[2].shape) or decode(*args)
    )
    # at a corner of four tiles, twice in one of them, and far away: five of frame 0, one of 1
    at = [(0, 511, 511), (0, 100, 100), (0, 110, 90), (0, 1900, 1900), (1, 1000, 1500)]
    table = xr.Dataset(
        {f"spot_{d}": ("spot", [float(v) for v in column])
         for d, column in zip("zyx", [[0] * 5, *list(zip(*at, strict=True))[1:]], strict=True)}
    )  # fmt: skip
    table = table.assign_coords(
        track=("spot", np.arange(5)), frame=("spot", [one[0] for one in at])
    )
    found = blocks.compute_region(track_crops(ds, table, window=9), ["crop"], {})["crop"]
    assert decoded == [(1, 1, 1, 512, 512)] * 6
    for event, (t, y, x) in enumerate(at):
        np.testing.assert_array_equal(
            found[event, 0, 0], pixels[t, 0, 0, y - 4 : y + 5, x - 4 : x + 5]
        )


def test_pieces_are_as_the_whole():
    ds = track_crops(movie().chunk({"t": 2, "y": 11, "x": 30}), TABLE, window=9, margin=1)
    whole = ds["crop"].compute()
    for cut in (
        {"event": slice(1, 2), "y": slice(2, 7), "x": slice(1, 2)},
        {"t": [0, 3, 2], "c": 1},
        {"event": 0, "t": slice(None, None, 2), "x": slice(8, None, -3)},
    ):
        np.testing.assert_array_equal(ds["crop"].isel(cut), whole.isel(cut))


def test_blocks_are_bounded_and_share_frames(monkeypatch):
    monkeypatch.setattr(windows, "_BLOCK_BYTES", 20 * 9 * 9 * 2)
    rows = [(k, t, 2, 20, 20) for k in range(40) for t in (0, 1, 2)]
    ds = track_crops(movie(), spots(*rows), window=9)
    # 20 windows a block: 20 events of one frame, so that each of 3 frames is read by 2 blocks
    assert ds["crop"].chunks[:2] == ((20, 20), (1, 1, 1))
    later = [(k, k // 8, 2, 20, 20) for k in range(40)]
    ds = track_crops(movie(), spots(*later), window=9)
    assert ds["crop"].data.numblocks[0] <= 3
    np.testing.assert_array_equal(
        ds["crop"][:, 0, 0], np.stack([window(k // 8, 20, 20)[0] for k in range(40)])
    )


def test_tasks_travel():
    ds = track_crops(movie().chunk({"t": 1}), TABLE, window=9)
    with dask.config.set(scheduler="synchronous"):
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(ds["crop"])), ds["crop"])


@pytest.mark.parametrize("flat", [True, False])
@pytest.mark.parametrize("size", [(None, 5, 5), (3, 5, 7), (None, 1, 1)], ids=str)
def test_kernel_on_another_device(flat, size):
    stack = PIXELS[0, :, :, :12, :14]
    starts = np.array([[0, 0, 0], [2, -2, 9], [-1, 8, 12], [1, 3, 3]])
    whole = np.array([size[0] or 5, *size[1:]])
    starts[:, 0] *= size[0] is not None
    low, high = np.clip(starts, 0, stack.shape[1:]), np.clip(starts + whole, 0, stack.shape[1:])
    starts = np.stack([starts, low, np.maximum(low, high)], axis=1)[(high > low).all(axis=1)]
    device = array_api_strict.Device("device1")
    strict = array_api_strict.asarray(stack, device=device)
    found = windows.windows(strict, starts, size, flat, 3)
    assert found.device == device
    host = np.asarray(found.to_device(array_api_strict.Device("CPU_DEVICE")))
    np.testing.assert_array_equal(host, windows.windows(stack, starts, size, flat, 3))


def test_windows_are_cut_where_the_block_is(monkeypatch):
    moved = []
    monkeypatch.setattr(devices, "has_cuda", lambda: True)
    monkeypatch.setattr(windows, "to_device", lambda block, name: moved.append(name) or block)
    with devices.device("cuda"):
        ds = track_crops(movie(), TABLE, window=9)
    ds["crop"].compute()
    assert set(moved) == {"cuda"}


# ------------------------------------------------------------------------------ wrong parameters


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"window": 0}, "window: found 0; expected a whole number from 1"),
        ({"window": 5.5}, "window: found 5.5"),
        ({"window": [5, None]}, r"window: found \[5, None\]"),
        ({"window": [1, 2, 3, 4]}, "expected a size, y and x, or z, y and x"),
        ({"window": -1, "unit": "micrometer"}, "window: found -1; expected a number"),
        ({"window": 0, "unit": "micrometer"}, "expected lengths above 0"),
        ({"unit": "um"}, "unit: found 'um'; expected 'pixels' or 'micrometer'"),
        ({"dims": 4}, "dims: found 4"),
        ({"frames": "all"}, "frames: found 'all'"),
        ({"margin": -1}, "margin: found -1"),
        ({"margin": [1, 2, 3]}, r"margin: found \[1, 2, 3\]"),
        ({"length": 0}, "length: found 0"),
        ({"channels": ["RFP"]}, r"channels: found \['RFP'\]; expected a list of GFP, DiD"),
        ({"channels": "GFP"}, "channels: found 'GFP'"),
        ({"channels": []}, "channels: found"),
        ({"fill": -1}, "uint16 cannot hold it"),
        ({"fill": 0.5}, "fill: found 0.5"),
        ({"annotator": "anna"}, "annotator: found 'anna'; expected one of none"),
        ({"negatives": -1}, "negatives: found -1"),
        ({"negatives": True}, "negatives: found True"),
        ({"negatives_per": "track"}, "negatives_per: found 'track'"),
        ({"negative_kinds": ["dead"]}, "negative_kinds"),
        ({"negative_kinds": "cell"}, "negative_kinds"),
        ({"negative_distance": NAN}, "negative_distance: found nan"),
        ({"seed": -1}, "seed: found -1"),
        ({"seed": 1.5}, "seed: found 1.5"),
    ],
    ids=str,
)
def test_parameters_that_cannot_work(said, words):
    with pytest.raises(UsageError, match=words):
        track_crops(movie(), TABLE, **said)


def test_tables_that_do_not_do():
    with pytest.raises(SchemaError, match="no variable 'track'"):
        track_crops(movie(), TABLE.drop_vars("track"))
    two = TABLE.assign_coords(annotator=("spot", ["anna", "ben", "anna", "ben"]))
    with pytest.raises(
        SchemaError, match=r"several annotators \(anna, ben\); take their consensus"
    ):
        track_crops(movie(), two)
    one = track_crops(movie(), two, annotator="anna")
    assert one.attrs["events"] == 1
    assert one["crop_frame"].values.tolist() == [[1, 2, 3, 4]]


def test_channels_of_events():
    table = TABLE.assign_coords(spot_channel=("spot", ["ch1"] * 3 + ["ch2"]))
    found = track_crops(movie(), table)["event_channel"].values.tolist()
    assert found == ["ch1", "ch2"]


# --------------------------------------------------------------------------------------- a run

RECIPE = """
datasets:
  leuko: {{reader: tiff, source: {raw}/*.tif, set: {{interval: 30, spacing: [2, 0.5, 0.25]}}}}
  leuko-tracks: {{reader: tracks, source: {raw}/*_ch1.csv, options: {{interval: 30}}}}
  leuko-phases-read: {{reader: phases, source: {raw}/phases/table2.csv}}
  leuko-phases:
    operator: phase-tracks
    input: {{phases: leuko-phases-read, tracks: leuko-tracks}}
  leuko-crops:
    operator: track-crops
    input: {{ds: leuko, tracks: leuko-tracks, phases: leuko-phases}}
    params: {{window: 9, margin: 1, negatives: 1}}
  leuko-bare: {{operator: track-crops, input: [leuko, leuko-tracks], params: {{window: 9}}}}
"""


@pytest.fixture
def study(tmp_path):
    """Two movies, their tracks, and one table of phases for both."""
    raw = tmp_path / "raw"
    (raw / "phases").mkdir(parents=True)
    lines = ["video_id,blebbing_start,blebbing_end,disruption_start,disruption_end"]
    for i in (1, 2):
        pixels = np.roll(PIXELS[:, :1], i, axis=0)
        dpipe.write_tiff({f"Neu{i}": movie(pixels, channels=["GFP"], origin=(0, 0, 0))}, raw)
        rows = [(7, 1, 2, 20, 22), (7, 2, 2, 21, 22), (7, 3, 2, 22, 22)]
        text = "track_id,frame,z_um,y_um,x_um\n"
        text += "".join(f"{k},{t},{2 * z},{y / 2},{x / 4}\n" for k, t, z, y, x in rows)
        (raw / f"Neu{i}_ch1.csv").write_text(text)
        lines.append(f"Neu {i},2,2,{i + 2},4")  # frames from 1
    (raw / "phases" / "table2.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "recipe.yaml").write_text(RECIPE.format(raw=raw))
    return tmp_path


def test_a_run_on_two_workers(study):
    recipe, store = dpipe.load_recipe(study / "recipe.yaml"), str(study / "store")
    dpipe.run_recipe(recipe, store, workers="2", progress=False)
    tree = dpipe.open(store, "leuko-crops")
    assert list(tree.children) == ["Neu1", "Neu2"]
    for i in (1, 2):
        ds = tree[f"Neu{i}"].to_dataset()
        one = ds.sel(event=f"Neu{i}_cell1")
        assert one["crop_frame"].values.tolist() == [0, 1, 2, 3, 4]
        # blebbing in frame 1; disruption from 2 (Neu1) or 3 (Neu2) to 3
        assert one["crop_phase"].values.tolist() == [0, 1, 2 if i == 1 else 0, 2, 0]
        moved = np.roll(PIXELS, i, axis=0)[:, 0].max(axis=1)
        np.testing.assert_array_equal(one["crop"][1, 0], moved[1, 16:25, 18:27])
        np.testing.assert_array_equal(one["crop"][4, 0], moved[4, 18:27, 18:27])
        assert ds.attrs["negatives"]["found"]["before"] == 0, "noise is no cell"
        bare = dpipe.open(store, "leuko-bare", part=f"Neu{i}")
        assert (bare["crop_phase"] == 255).all()
        direct = track_crops(
            dpipe.open(store, "leuko", part=f"Neu{i}"),
            dpipe.open(store, "leuko-tracks", part=f"Neu{i}"),
            dpipe.open(store, "leuko-phases"),
            window=9, margin=1, negatives=1,
        )  # fmt: skip
        xr.testing.assert_equal(direct.compute(), ds.compute())
    again = dpipe.run_recipe(recipe, store, workers="0", progress=False)
    assert not any(step["made"] for step in again.steps)
    by_hand = dpipe.each(
        dpipe.open(store, "leuko"), "track-crops", tracks=dpipe.open(store, "leuko-tracks"),
        phases=dpipe.open(store, "leuko-phases"), window=9, margin=1, negatives=1,
    )  # fmt: skip
    xr.testing.assert_equal(
        by_hand["Neu2"].to_dataset().compute(), tree["Neu2"].to_dataset().compute()
    )


def test_a_plan_knows_what_a_task_needs(study):
    text = RECIPE.format(raw=study / "raw").replace("window: 9, margin: 1", "window: 3001")
    (study / "recipe.yaml").write_text(text)
    recipe, store = dpipe.load_recipe(study / "recipe.yaml"), str(study / "store")
    # a crop of 3 frames of 3001 x 3001 of 2 bytes, 52 MiB, four times
    with pytest.raises(dpipe.RefusedError, match="leuko-crops/Neu1: one task needs about 2"):
        dpipe.run_recipe(recipe, store, workers="0", progress=False, memory="100 MiB")
