"""Spots held against their movie: every flag, every doubt, counts that add up."""

import numpy as np
import pytest
import xarray as xr

from dpipe import schema
from dpipe.errors import SchemaError, UsageError
from dpipe.operators import track_checks

FLAG = {name: 1 << bit for bit, name in enumerate(schema.SPOT_FLAGS)}
SPACING, ORIGIN = (2.0, 0.5, 0.5), (30.0, 100.0, -80.0)
# borders: z 29 to 45, y 99.75 to 119.75, x -80.25 to -50.25


def movie(frames: int = 10, interval: float = 30.0, origin=ORIGIN) -> xr.Dataset:
    pixels = np.zeros((frames, 1, 8, 40, 60), "u1")
    return schema.movie(pixels, spacing=SPACING, origin=origin, interval=interval)


def table(rows, **attrs) -> xr.Dataset:
    """Spots of (track, frame, t, z, y, x)."""
    track, frame, *places = np.asarray(rows, float).reshape(-1, 6).T
    held = zip(("spot_t", "spot_z", "spot_y", "spot_x"), places, strict=True)
    ds = xr.Dataset({name: ("spot", column) for name, column in held}, attrs=attrs)
    return ds.assign_coords(track=("spot", track.astype("i8")), frame=("spot", frame.astype("i8")))


def walk(frames=range(10), step: float = 1.0) -> np.ndarray:
    """One track through the middle of the movie, from pixel (4, 10, 20), a micrometre a frame."""
    f = np.asarray(frames, float)
    zyx = [np.full(f.size, 38.0), np.full(f.size, 105.0), -70 + step * f]
    return np.stack([np.ones(f.size), f, f * 30, *zyx], axis=1)


def flags(ds: xr.Dataset) -> list[list[str]]:
    return [[n for n, bit in FLAG.items() if value & bit] for value in ds.spot_flag.values]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ((2, 3, 90, 38, 105, -70), []),
        ((2, 3, np.nan, 38, 105, -70), []),
        ((2, 3, 104.9, 38, 105, -70), []),  # 14.9 s of 15
        ((2, 3, 105.1, 38, 105, -70), ["time_mismatch"]),
        ((2, 3, 90, 29, 99.75, -50.25), []),  # on the border
        ((2, 3, 90, 28.9, 105, -70), ["outside_image"]),
        ((2, 3, 90, 38, 119.8, -70), ["outside_image"]),
        ((2, 3, 90, 38, 105, -80.3), ["outside_image"]),
        ((2, -1, -30, 38, 105, -70), ["before_first_frame"]),
        ((2, 10, 300, 38, 105, -70), ["beyond_last_frame"]),
        ((2, 3, 90, np.nan, 105, -70), ["not_finite"]),
        ((2, 3, 90, 38, np.inf, -70), ["not_finite"]),
        ((1, 10, 999, 999, 105, -60), ["outside_image", "beyond_last_frame", "far_jump"]),
    ],
    ids=["good", "no time", "almost", "time", "border", "z", "y", "x", "before", "beyond", "nan",
         "inf", "several"],
)  # fmt: skip
def test_one_odd_spot(row, expected):
    found = track_checks(movie(), table([*walk(), row]))
    assert flags(found)[-1] == expected
    assert not any(flags(found)[:-1])
    assert found.attrs["spots"] == 11 == found.attrs["spots_good"] + found.attrs["spots_flagged"]
    assert found.attrs["spots_flagged"] == bool(expected)
    assert {k for k, n in found.attrs["flag_counts"].items() if n} == set(expected)
    assert found.spot_flag.attrs["flag_meanings"].split() == list(schema.SPOT_FLAGS)


@pytest.mark.parametrize(
    ("column", "value", "flagged"),
    [
        # half an interval (15 s) from the time of frame 3, and the least more
        (2, 105.0, []), (2, np.nextafter(105.0, 200), ["time_mismatch"]),
        (2, 75.0, []), (2, np.nextafter(75.0, 0), ["time_mismatch"]),
        # a thousandth of a voxel beyond the border: 2 nm along z, 0.5 nm along y and x
        (3, 29 - 0.0019, []), (3, 29 - 0.0021, ["outside_image"]),
        (3, 45 + 0.0019, []), (3, 45 + 0.0021, ["outside_image"]),
        (4, 119.75 + 0.0004, []), (4, 119.75 + 0.0006, ["outside_image"]),
        (5, -80.25 - 0.0004, []), (5, -80.25 - 0.0006, ["outside_image"]),
        (5, -50.25 + 0.0004, []), (5, -50.25 + 0.0006, ["outside_image"]),
    ],
)  # fmt: skip
def test_the_borders_themselves(column, value, flagged):
    row = np.array([2, 3, 90, 38, 105, -70.0])
    row[column] = value
    assert flags(track_checks(movie(), table([*walk(), row])))[-1] == flagged


@pytest.mark.parametrize(("outside", "doubted"), [(1, False), (2, True)])
def test_the_share_that_is_nearly_all(outside, doubted):
    """Of 20 spots 19 are 95 per cent, which is enough; 18 are not."""
    rows = np.concatenate([walk(), walk()])
    rows[10:, 0] = 2
    rows[:outside, 3] = 5000
    assert bool(track_checks(movie(), table(rows)).attrs["verdict"]) == doubted
    late = np.concatenate([walk(), walk()])
    late[10:, 0] = 2
    late[:outside, 2] += 16
    assert bool(track_checks(movie(), table(late)).attrs["verdict"]) == doubted


@pytest.mark.parametrize(("jump", "far"), [(12.0, []), (11.9, ["far_jump"])])
def test_a_jump_of_just_so_many_steps_is_not_far(jump, far):
    """Steps of 1 along x, and one of 12."""
    rows = walk()
    rows[6:, 5] += 11
    assert flags(track_checks(movie(), table(rows), jump=jump))[6] == far


def test_several_spots_of_a_track_in_a_frame():
    rows = [*walk(), (1, 4, 120, 38, 115, -70), (-1, 4, 120, 38, 105, -70)]
    rows += [(-1, 4, 120, 38, 105, -70)]  # spots without track may be many
    found = track_checks(movie(), table(rows))
    assert np.flatnonzero(found.spot_flag).tolist() == [4, 10]
    assert flags(found)[10] == ["duplicate"]
    assert found.attrs["flag_counts"]["duplicate"] == 2
    people = ("spot", ["anna"] * 10 + ["ben"] * 3)  # two people may mark the same track
    assert not track_checks(movie(), table(rows).assign_coords(annotator=people)).spot_flag.any()


def test_a_far_jump_is_judged_by_frame():
    rows = walk()
    rows[6:, 4] += 12  # 12.04 micrometres in one frame; the median step is 1
    assert flags(track_checks(movie(), table(rows)))[6] == ["far_jump"]
    gap = np.delete(rows, [5], axis=0)  # two frames: 12.17 / 2 a frame
    assert not track_checks(movie(), table(gap)).spot_flag.any()
    assert not track_checks(movie(), table(rows), jump=13).spot_flag.any()
    assert not track_checks(movie(), table(rows[4:9])).spot_flag.any()  # four steps tell nothing
    still = walk(step=0)
    still[6:, 4] += 12
    assert not track_checks(movie(), table(still)).spot_flag.any()  # nothing to compare with


def shifted(rows, by=(0, 0, 0), times=(1, 1, 1)) -> np.ndarray:
    rows = np.asarray(rows, float).copy()
    rows[:, 3:] = (rows[:, 3:] + by) * times
    return rows


def shifted_in_time(seconds) -> np.ndarray:
    rows = walk()
    rows[:, 2] += seconds
    return rows


PIXELS = shifted(walk(), -np.array(ORIGIN), 1 / np.array(SPACING))


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (walk(), []),
        (shifted(walk(), -np.array(ORIGIN)),  # z 8: of 8 planes the last is 7
         ["places: 10 of 10 lie outside the image; they would fit as micrometres from the first "
          "voxel: read the tracks with origin=[30,100,-80]"]),
        (shifted(walk(), -np.array(ORIGIN) - (5, 0, 0)),  # z 3, y 5, x 10 to 19
         ["places: 10 of 10 lie outside the image; they would fit as micrometres from the first "
          "voxel: read the tracks with origin=[30,100,-80]; or as pixels: read the tracks with "
          "unit=pixel, spacing=[2,0.5,0.5], origin=[30,100,-80]"]),
        (shifted(PIXELS, (0, 0, 21)),  # x 41..59 pixels: more than 30 micrometres
         ["places: 10 of 10 lie outside the image; they would fit as pixels: read the tracks with "
          "unit=pixel, spacing=[2,0.5,0.5], origin=[30,100,-80]"]),
        (np.where(np.arange(6) == 3, 4, walk()),
         ["places: 10 of 10 lie outside the image; they would fit with z in planes: turn it into "
          "30 + z * 2"]),
        (np.where(np.arange(6) == 3, 0, walk()),
         ["places: 10 of 10 lie outside the image; they would fit with any z: all are 0, so the "
          "table has none; add it; or with z in planes: turn it into 30 + z * 2"]),
        (walk()[:, [0, 1, 2, 3, 5, 4]],
         ["places: 10 of 10 lie outside the image; they would fit with x and y exchanged: "
          "exchange the columns"]),
        (shifted(walk(), times=1e-3),
         ["places: 10 of 10 lie outside the image; they would fit as millimetres: multiply them "
          "by 1,000"]),
        (shifted(walk(), times=1e-6),
         ["places: 10 of 10 lie outside the image; they would fit as metres: multiply them by "
          "1,000,000"]),
        (shifted(walk(), times=1e3),
         ["places: 10 of 10 lie outside the image; they would fit as nanometres: divide them by "
          "1,000"]),
        (shifted(walk(), (0, 500, 0)),
         ["places: 10 of 10 lie outside the image, in any unit tried: they span 38 to 38, 605 to "
          "605, -70 to -61, the image 29 to 45, 99.75 to 119.75, -80.25 to -50.25 (z, y, x in "
          "micrometres); are they of another movie?"]),
    ],
    ids=["fits", "no origin", "either", "pixels", "planes", "no z", "exchanged", "mm", "m",
         "nm", "other"],
)  # fmt: skip
def test_places_in_another_unit(rows, expected):
    found = track_checks(movie(), table(rows))
    assert found.attrs["verdict"] == expected
    assert found.attrs["flag_counts"]["outside_image"] == (10 if expected else 0)


def test_a_few_spots_outside_are_no_verdict():
    rows = np.concatenate([walk()] * 3)
    rows[:, 0] = np.repeat([1, 2, 3], 10)
    rows[0, 3:] = 0
    found = track_checks(movie(), table(rows))
    assert found.attrs["verdict"] == []
    assert found.attrs["flag_counts"]["outside_image"] == 1
    assert track_checks(movie(), table(rows), share=1.0).attrs["verdict"] != []


def test_a_movie_without_coordinates_lies_at_zero():
    bare = xr.Dataset({"image": (schema.MOVIE_DIMS, np.zeros((3, 1, 1, 8, 8), "u1"))})
    found = track_checks(bare, table([(1, 0, 0, 0, 7.4, 7.4), (1, 1, 1, 0, 7.6, 7)]))
    assert flags(found) == [[], ["outside_image"]]


@pytest.mark.parametrize(
    ("rows", "interval", "expected"),
    [
        (walk(range(1, 11)), 30,
         "frames: 1 of 10 are not in the movie: they run from 1 to 10, its own from 0 to 9; they "
         "would fit counted from 1: read the tracks with first_frame=2"),
        (walk(range(0, 300, 30), step=0.05), 30,
         "frames: 9 of 10 are not in the movie: they run from 0 to 270, its own from 0 to 9; they "
         "would fit as seconds: read the tracks by times, not frames"),
        (walk(range(5, 15)), 30,
         "frames: 5 of 10 are not in the movie: they run from 5 to 14, its own from 0 to 9; are "
         "they of another movie, or is this one cut?"),
        (walk(), 15,
         "times: 9 of 10 are not those of their frames; they would fit an interval of 30 s; the "
         "movie's is 15 s: set interval in one of the two"),
        (walk() * [1, 1, 1 / 30, 1, 1, 1], 30,
         "times: 9 of 10 are not those of their frames; they would fit an interval of 1 s, as "
         "frames; the movie's is 30 s: set interval in one of the two"),
        (walk() * [1, 1, 1 / 60, 1, 1, 1], 30,
         "times: 9 of 10 are not those of their frames; they would fit an interval of 0.5 s, as "
         "minutes; the movie's is 30 s: set interval in one of the two"),
        (walk() * [1, 1, 1000, 1, 1, 1], 30,
         "times: 9 of 10 are not those of their frames; they would fit an interval of 30000 s, as "
         "milliseconds; the movie's is 30 s: set interval in one of the two"),
        (shifted_in_time(30), 30,
         "times: 10 of 10 are not those of their frames; they would fit +30 s later: does the "
         "movie start at 30 s?"),
        (shifted_in_time(7777 + 9 * np.arange(10) ** 3), 30,
         "times: 10 of 10 are not those of their frames; are they of another movie?"),
    ],
    ids=["from 1", "seconds", "cut", "interval", "as frames", "minutes", "ms", "shift", "other"],
)  # fmt: skip
def test_frames_and_times_in_another_unit(rows, interval, expected):
    found = track_checks(movie(interval=interval), table(rows, frame_base=1))
    assert found.attrs["verdict"] == [expected]


def test_no_spots_and_all_without_a_place():
    found = track_checks(movie(), table([]))
    assert (found.attrs["spots"], found.attrs["verdict"]) == (0, [])
    nowhere = walk()
    nowhere[:, 3] = np.nan
    found = track_checks(movie(), table(nowhere))
    assert found.attrs["flag_counts"]["not_finite"] == 10
    assert found.attrs["verdict"] == []


@pytest.mark.parametrize("said", [{"jump": 0}, {"jump": np.inf}, {"share": 1.1}, {"share": True}])
def test_bad_parameters(said):
    with pytest.raises(UsageError, match=f"{next(iter(said))}: found"):
        track_checks(movie(), table(walk()), **said)


def test_what_it_cannot_work_on():
    with pytest.raises(SchemaError, match="no variable 'image'"):
        track_checks(xr.Dataset(), table(walk()))
    with pytest.raises(SchemaError, match="no variable 'track'"):
        track_checks(movie(), xr.Dataset())
