"""Measures of tracks: by hand, against exports of Imaris, and against TrackMate's own numbers."""

import math
from xml.etree import ElementTree as Xml

import array_api_strict
import numpy as np
import pytest
import xarray as xr

import dpipe
from dpipe import schema
from dpipe.errors import SchemaError, UsageError
from dpipe.operators import track_measures
from dpipe.operators.tracks.measures import _lines, _spots
from dpipe.readers import open_tracks

NAN = math.nan

IMARIS = """
2 120.282 122.924 677.674 18.585 4.88275 0
5 481.019 122.436 677.718 18.5719 8.39254 0.239389
6 601.224 123.733 677.117 19.125 20.8503 1.25708
7 721.541 122.392 676.434 19.11 29.4699 2.09518
9 961.962 121.27 675.548 19.565 11.048 8.21081
10 1082.214 122.974 675.599 18.675 16.3851 4.31561
11 1201.941 120.58 674.84 19.1019 16.4863 13.7904
12 1321.731 122.215 674.84 18.9 21.5523 8.63254
16 1802.324 124.147 674.84 18.6614 3.34448 9.53476
17 1922.684 122.76 674.84 19.0212 11.7013 8.24831
21 2403.290 122.215 674.84 18.375 10.631 8.57741
22 2523.607 121.152 674.84 18.27 10.6892 11.2678
23 2643.825 122.879 674.84 18.6375 6.83082 8.03606
24 2764.062 121.571 674.84 18.0886 3.07246 10.1072
28 3244.334 122.721 674.84 18.15 3.68686 8.26155
31 3605.341 121.861 674.84 18.9 5.88252 9.25999
34 3966.441 123.632 674.84 18.9 17.6583 8.63253
"""
"""Imaris statistics Position, Speed (um/h) and Displacement^2 of track 1000094288, a T cell.

From imAIgene-Dream3D/BEHAV3D (Apache-2.0), DemoDataset1_20190523_CD8green_Statistics, commit
2c329fda. Columns: Time, seconds, Position X, Y, Z, Speed, Displacement^2. The seconds are not in
the export: they are those at which all 29,535 speeds of the file agree, fitted by least squares.
"""


def spots(track, frame, x, t=None, y=None, **coords):
    n = len(track)
    held = {
        "spot_t": np.asarray(t if t is not None else np.asarray(frame) * 10.0, float),
        "spot_z": np.zeros(n),
        "spot_y": np.asarray(y if y is not None else np.zeros(n), float),
        "spot_x": np.asarray(x, float),
    }
    ds = xr.Dataset({name: ("spot", values) for name, values in held.items()})
    named = {"track": np.asarray(track, int), "frame": np.asarray(frame, int)} | coords
    return ds.assign_coords({k: ("spot", np.asarray(v)) for k, v in named.items()})


def values(ds, *names):
    return [ds[name].values.tolist() for name in names]


def test_by_hand():
    # steps 3-4-5 and 12 along x, after a gap: times 0, 10, 40 s
    ds = track_measures(spots([5] * 3, [0, 1, 4], [0, 3, 15], y=[0, 4, 4]))
    assert values(ds, "track_length", "track_duration", "track_speed_mean") == [
        [17], [40], [17 / 40],
    ]  # fmt: skip
    assert values(ds, "track_displacement", "track_straightness") == [
        [math.sqrt(15**2 + 4**2)], [math.sqrt(241) / 17],
    ]  # fmt: skip
    assert values(ds, "spot_displacement2") == [[0, 25, 241]]
    # ends: 5 um in 10 s, 12 um in 30 s; inside: from first to last, 40 s
    assert values(ds, "spot_speed") == [[0.5, math.sqrt(241) / 40, 0.4]]
    assert values(ds, "track_spots", "track_gaps", "track_first", "track_last") == [
        [3], [2], [0], [4],
    ]  # fmt: skip
    assert ds.track_id.values.tolist() == [5]


def test_order_of_spots_does_not_matter():
    ds = spots([5, 2, 5, -1, 2, 5], [4, 1, 0, 7, 0, 1], [15, 2, 0, 9, 1, 3], y=[4, 0, 0, 0, 0, 4])
    found = track_measures(ds)
    assert found.track_id.values.tolist() == [2, 5]
    assert values(found, "track_length", "spot_displacement2")[0] == [1, 17]
    np.testing.assert_array_equal(found.spot_displacement2, [241, 1, 0, NAN, 0, 25])
    np.testing.assert_array_equal(np.isnan(found.spot_speed), [0, 0, 0, 1, 0, 0])
    assert found.frame.values.tolist() == [4, 1, 0, 7, 0, 1], "coordinates stay with their spots"


def test_what_cannot_be_said_is_nan():
    # track 1: one spot; 2: stands still; 3: two spots in frame 1; 4: no time
    ds = spots([1, 2, 2, 3, 3, 3, 4, 4], [0, 0, 1, 0, 1, 1, 0, 1], [1, 5, 5, 0, 1, 2, 0, 1],
               t=[0, 0, 10, 0, 10, 10, NAN, NAN])  # fmt: skip
    found = track_measures(ds)
    np.testing.assert_array_equal(found.track_length, [0, 0, NAN, 1])
    np.testing.assert_array_equal(found.track_straightness, [NAN, NAN, NAN, 1])
    np.testing.assert_array_equal(found.track_duration, [0, 10, NAN, NAN])
    np.testing.assert_array_equal(found.track_speed_mean, [NAN, 0, NAN, NAN])
    np.testing.assert_array_equal(found.spot_speed, [NAN, 0, 0, NAN, NAN, NAN, NAN, NAN])
    np.testing.assert_array_equal(found.spot_displacement2, [0, 0, 0, NAN, NAN, NAN, 0, 1])
    assert found.track_branches.values.tolist() == [0, 0, 1, 0]
    assert found.track_gaps.values.tolist() == [0, 0, 0, 0]
    np.testing.assert_array_equal(track_measures(ds, interval=4).track_duration, [0, 4, NAN, 4])


def test_each_annotator_has_tracks_of_their_own():
    ds = spots([1] * 4, [0, 1, 0, 1], [0, 1, 10, 12], annotator=["b", "b", "a", "a"])
    found = track_measures(ds)
    assert values(found, "track_id", "track_annotator", "track_length") == [
        [1, 1], ["a", "b"], [2, 1],
    ]  # fmt: skip


@pytest.mark.parametrize("track", [[], [-1, -1]], ids=["no spots", "no tracks"])
def test_nothing_to_measure(track):
    found = track_measures(spots(track, track, track)).compute()
    assert found.sizes == {"spot": len(track), "track_id": 0}
    assert np.isnan(found.spot_speed).all()


def test_imaris_to_its_six_digits_over_gaps():
    rows = np.asarray(
        [[float(cell) for cell in line.split()] for line in IMARIS.split("\n") if line]
    )
    frame, t, x, y, z, speed, displacement2 = rows.T
    ds = spots(np.full(len(rows), 1000094288), frame - 1, x, t, y)
    ds["spot_z"] = ("spot", z)
    found = track_measures(ds)
    # what Imaris printed is rounded: a place by up to half of its sixth digit on each axis
    half = np.linalg.norm([0.5 * 10 ** (np.floor(np.log10(a)) - 5) for a in (x, y, z)], axis=0)
    before, after = np.maximum(np.arange(17) - 1, 0), np.minimum(np.arange(17) + 1, 16)
    bound = (half[before] + half[after]) / (t[after] - t[before]) * 3600 + 1e-4
    assert (abs(found.spot_speed.values * 3600 - speed) <= bound).all()
    reach = 2 * np.sqrt(displacement2) * (half + half[0]) + (half + half[0]) ** 2 + 1e-5
    assert (abs(found.spot_displacement2.values - displacement2) <= reach).all()
    assert found.track_gaps.item() == 16


def test_trackmates_own_numbers(shared_data):
    path = shared_data / "timelapse" / "laptrack" / "trackmate_tracks_with_gap_closing.xml"
    found = track_measures(open_tracks(path, spacing=[1, 1, 1]))
    told = {
        int(one.get("TRACK_ID")): one for one in Xml.parse(path).iterfind("Model/AllTracks/Track")
    }
    assert len(found.track_id) == 5
    for i, number in enumerate(found.track_id.values.tolist()):
        for ours, theirs in (("displacement", "DISPLACEMENT"), ("duration", "DURATION")):
            mine = found[f"track_{ours}"].values[i]
            assert mine == pytest.approx(float(told[number].get(f"TRACK_{theirs}")), rel=1e-12)
        assert found.track_spots.values[i] == int(told[number].get("NUMBER_SPOTS"))
        steps = [float(edge.get("DISPLACEMENT")) for edge in told[number].iterfind("Edge")]
        assert found.track_length.values[i] == pytest.approx(sum(steps), rel=1e-12)
    assert found.track_gaps.values.tolist() == [0, 0, 0, 0, 1]


def test_kernels_on_another_array_library():
    device = array_api_strict.Device("device1")
    points = np.random.default_rng(0).normal(size=(4, 5)).cumsum(axis=1)
    known = {"order": np.array([4, 0, 2]), "starts": np.array([0, 1, 3]), "sound": (True, True)}
    strict = array_api_strict.asarray(points, device=device)
    for kernel in (_spots, _lines):
        result = kernel(strict, **known)
        assert result.device == device
        back = array_api_strict.asarray(result, device=array_api_strict.Device("CPU_DEVICE"))
        np.testing.assert_array_equal(np.asarray(back), kernel(points, **known))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda ds: track_measures(ds.drop_vars("spot_x")), SchemaError, r"spot_x\(spot\)"),
        (lambda ds: track_measures(ds.drop_vars("track")), SchemaError, r"track\(spot\)"),
        (lambda ds: track_measures(ds.assign_coords(frame=ds.frame * 0.5)), SchemaError, "'frame'"),
        (lambda ds: track_measures(ds, interval=0.0), UsageError, "interval: found 0.0"),
    ],
    ids=["no x", "no track", "half frames", "no time"],
)
def test_refusals(change, error, message):
    with pytest.raises(error, match=message):
        change(spots([1], [0], [1]))


def movie(times):
    pixels = np.zeros((len(times), 1, 1, 4, 4), "u1")
    return schema.movie(pixels, times=times, channels=["GFP"])


def test_uneven_frames_have_the_times_of_their_movie():
    """A table read with an interval of 10 s; its movie's frames were at 0, 10, 25 and 32 s."""
    ds = spots([7] * 4, [0, 1, 2, 3], [0, 30, 60, 67])
    film = movie([0.0, 10.0, 25.0, 32.0])
    found = track_measures(ds, film)
    # |x(t + 1) - x(t - 1)| over the time between them, one-sided at the ends
    by_hand = [30 / 10, 60 / 25, 37 / 22, 7 / 7]
    np.testing.assert_allclose(found.spot_speed, by_hand)
    assert found.track_duration.values.item() == 32
    assert found.track_speed_mean.values.item() == pytest.approx(67 / 32)
    assert found.attrs["notes"] == ["times of the movie's frames, which are 7 to 15 s apart"]
    # where the movie is there, its times are taken: nobody has to say it
    merged = track_measures(ds.merge(film))
    np.testing.assert_array_equal(merged.spot_speed, found.spot_speed)
    np.testing.assert_allclose(track_measures(ds).spot_speed, [3, 3, 1.85, 0.7])
    np.testing.assert_allclose(track_measures(ds.merge(film), interval=5).track_duration, 15)


def test_times_of_a_file():
    """Another table of the movie's spots says when its frames were, as exports of Imaris do."""
    ds = spots([7] * 3, [0, 2, 3], [0, 60, 67])
    told = spots([1, 1, 2, 2, 3], [0, 1, 2, 2, 3], [0] * 5, t=[0, 10, 25, 25.0004, 32])
    np.testing.assert_allclose(track_measures(ds, told).spot_speed, [60 / 25, 67 / 32, 1])
    odd = spots([1, 2], [0, 0], [0, 0], t=[0, 4])
    with pytest.raises(SchemaError, match="spots of frame 0 are 4 s apart; expected one time"):
        track_measures(ds, odd)


def test_frames_that_the_movie_lacks_have_no_time():
    ds = spots([7] * 3, [0, 1, 5], [0, 30, 60])
    found = track_measures(ds, movie([0.0, 10.0]))
    assert found.spot_speed.values.tolist()[0] == 3
    assert math.isnan(found.track_duration.values.item())
    assert found.attrs["notes"] == ["1 of 3 spots in frames without a time: not measured"]


@pytest.mark.parametrize(
    ("times", "said", "words"),
    [
        (movie([0.0, 10.0]), {"interval": 10.0}, "interval and times: both say when"),
        (xr.Dataset({"a": ("x", [1])}), {}, r"no times: neither t\(t\) .* Found: a"),
        (xr.Dataset(coords={"t": [0.0, 10.0, 10.0]}), {}, "are not finite or do not rise"),
    ],
    ids=["both", "none", "falling"],
)
def test_times_that_do_not_do(times, said, words):
    with pytest.raises((SchemaError, UsageError), match=words):
        track_measures(spots([7, 7], [0, 1], [0, 1]), times, **said)


def test_a_recipe_joins_the_times_of_movies(tmp_path):
    store = str(tmp_path / "store")
    film = movie([0.0, 10.0, 25.0, 32.0])
    table = spots([7] * 4, [0, 1, 2, 3], [0, 30, 60, 67])
    dpipe.save({"Neu1": film}, store, "leuko", message="m")
    dpipe.save({"Neu1": table}, store, "tracks", message="m")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "datasets:\n  speeds: {operator: track-measures, input: {ds: tracks, times: leuko}}\n"
    )
    dpipe.run_recipe(recipe, store, workers="0", progress=False)
    found = dpipe.open(store, "speeds")
    np.testing.assert_allclose(found.spot_speed, [3, 2.4, 37 / 22, 1])
    both = dpipe.open(store, "tracks", "leuko")
    np.testing.assert_array_equal(track_measures(both).spot_speed, found.spot_speed)
