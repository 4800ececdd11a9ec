"""The time stamps of Imaris files: good ones are kept, odd ones named."""

from datetime import datetime, timedelta

import h5py
import numpy as np
import pytest

from dpipe import schema
from dpipe.demo.study import write_imaris
from dpipe.readers import open_imaris
from dpipe.readers.imaris import clock

NONE = None


def stamp(seconds):
    moment = datetime(2026, 1, 5, 10) + timedelta(seconds=seconds)
    return moment.isoformat(sep=" ", timespec="milliseconds")


def opened(tmp_path, stamps, first=1):
    """A movie with these stamps: seconds after ten o'clock, texts as they are, None for none."""
    path = write_imaris(
        tmp_path / "a.ims", np.zeros((len(stamps), 1, 1, 4, 4), "u1"), levels=1, chunks=(1, 4, 4)
    )
    with h5py.File(path, "r+") as h5:
        attrs = h5["DataSetInfo/TimeInfo"].attrs
        for name in [name for name in attrs if name.startswith("TimePoint")]:
            del attrs[name]
        for k, said in enumerate(stamps):
            text = stamp(said) if isinstance(said, int | float) else said
            if text is not None:
                attrs[f"TimePoint{k + first}"] = np.frombuffer(text.encode(), "S1")
    return open_imaris(path)


BETWEEN = "times of some frames are put between those of their neighbours: "
NIGHT = [
    *("2026-10-25 02:20:00.000", "2026-10-25 02:40:00.000"),
    *("2026-10-25 02:00:00.000", "2026-10-25 02:20:00.000"),
]

# the times are those at which the frames were recorded, for which the stamps were made by hand
MENDED = {
    "one missing": (
        [0, 30, None, 90],
        [0, 30, 60, 90],
        f"{BETWEEN}frame 2 (TimePoint3 is missing)",
    ),
    "the last missing": (
        [0, 1200, 2400, None],
        [0, 1200, 2400, 3600],
        f"{BETWEEN}frame 3 (TimePoint4 is missing)",
    ),
    "the first missing": (
        [None, 30, 60],
        [0, 30, 60],
        f"{BETWEEN}frame 0 (TimePoint1 is missing)",
    ),
    "one that is no date": (
        [0, "soon", 60],
        [0, 30, 60],
        f"{BETWEEN}frame 1 (TimePoint2 is 'soon')",
    ),
    "one doubled": (
        [0, 1200, 1200, 3600, 4800],
        [0, 1200, 2400, 3600, 4800],
        f"{BETWEEN}frame 2 (TimePoint3 is '2026-01-05 10:20:00.000')",
    ),
    "one three times": (
        [0, 30, 30, 30, 120],
        [0, 30, 60, 90, 120],
        f"{BETWEEN}frame 2 (TimePoint3 is '2026-01-05 10:00:30.000'), "
        "frame 3 (TimePoint4 is '2026-01-05 10:00:30.000')",
    ),
    "the last doubled": (
        [0, 30, 60, 60],
        [0, 30, 60, 90],
        f"{BETWEEN}frame 3 (TimePoint4 is '2026-01-05 10:01:00.000')",
    ),
    "one far ahead": (
        [0, 30, 10**9, 90, 120],
        [0, 30, 60, 90, 120],
        f"{BETWEEN}frame 2 (TimePoint3 is '2057-09-13 11:46:40.000')",
    ),
    "uneven steps": (
        [0, 25, 25, 80, 100, 140],
        [0, 25, 52.5, 80, 100, 140],
        f"{BETWEEN}frame 2 (TimePoint3 is '2026-01-05 10:00:25.000')",
    ),
    "a night in autumn": (
        NIGHT,
        [0, 1200, 2400, 3600],
        "the clock was set back before frame 2 (TimePoint3 is '2026-10-25 02:00:00.000'): "
        "times from there on are moved on by 3600 s",
    ),
    "such a night, and none missing after it": (
        [0, 1200, 2400, 3600, 1200, 2400, 3600, 4800, 6000],
        [1200 * k for k in range(9)],
        "the clock was set back before frame 4 (TimePoint5 is '2026-01-05 10:20:00.000'): "
        "times from there on are moved on by 3600 s",
    ),
    "such a night, a frame an hour": (
        [0, 3600, 3600, 7200],
        [0, 3600, 7200, 10800],
        "the clock was set back before frame 2 (TimePoint3 is '2026-01-05 11:00:00.000'): "
        "times from there on are moved on by 3600 s",
    ),
    "rounded to seconds": (
        [int(0.4 * k) for k in range(11)],
        [0.4 * k for k in range(11)],
        "frames are about 0.4 s apart: all time stamps are rounded to 1 s",
    ),
    "rounded to minutes": (
        [60 * (20 * k // 60) for k in range(11)],
        [20 * k for k in range(11)],
        "frames are about 20 s apart: all time stamps are rounded to 60 s",
    ),
    "rounded, a few frames": (
        [0, 0, 0, 1],
        [0, 0.3, 0.6, 0.9],
        "frames are about 0.3 s apart: all time stamps are rounded to 1 s",
    ),
}


@pytest.mark.parametrize(("stamps", "times", "note"), MENDED.values(), ids=MENDED)
def test_bad_stamps_do_not_spoil_the_good_ones(tmp_path, stamps, times, note):
    ds = opened(tmp_path, stamps)
    np.testing.assert_allclose(ds.t, times, rtol=0, atol=1e-9)
    assert schema.spacing(ds, "t") == pytest.approx(np.median(np.diff(times)))
    assert ds.attrs["assumed"] == [note]
    assert "assumed" not in schema.revise(ds, interval=30).attrs


UNKNOWN = {
    "a placeholder": (["2000-01-01 00:00:00.000"] * 3, "TimeInfo dates all frames '2000-01-01 00"),
    "one alone": ([None, None, 3, None], "TimeInfo dates 1 of 4 frames '2026-01-05 10:00:03.000'"),
    "none": ([None] * 3, "TimeInfo has no date that can be read; set interval"),
    "no dates": (["soon", "later"], "TimeInfo has no date that can be read; TimePoint1 is 'soon'"),
    "a strange order": (
        ["01/05/2026 10:00:00", "01/05/2026 10:00:30"],
        "no date that can be read; TimePoint1 is '01/05/2026 10:00:00'",
    ),
    "backwards": ([90, 60, 30, 0], "the dates of TimeInfo contradict each other; set interval"),
    "at random": ([40, 10, 30, 20, 0, 5], "the dates of TimeInfo contradict each other"),
    "no such day": (["2026-02-30 10:00:00", "30.02.2026 10:00:30"], "TimePoint1 is '2026-02-30"),
}


@pytest.mark.parametrize(("stamps", "reason"), UNKNOWN.values(), ids=UNKNOWN)
def test_times_that_nobody_can_tell_are_said(tmp_path, stamps, reason):
    ds = opened(tmp_path, stamps)
    assert ds.t.values.tolist() == list(range(len(stamps)))
    (line,) = ds.attrs["assumed"]
    assert line.startswith("frames are 1 s apart: ")
    assert reason in line
    assert "assumed" not in schema.revise(ds, interval=30).attrs


WORDS = {
    "Imaris": ("2018-12-10 23:23:19.000", "2018-12-10 23:23:49.500"),
    "without fractions": ("2018-12-10 23:23:19", "2018-12-10 23:23:49.5"),
    "nanoseconds": ("2018-12-10 23:23:19.000000000", "2018-12-10 23:23:49.500000000"),
    "ISO": ("2018-12-10T23:23:19Z", "2018-12-10T23:23:49.500Z"),
    "zones": ("2018-12-10T23:23:19+01:00", "2018-12-10T22:23:49.500+00:00"),
    "one zone": ("2018-12-10 23:23:19", "2018-12-10 23:23:49.5+01:00"),
    "slashes": ("2018/12/10 23:23:19", "2018/12/10 23:23:49.500"),
    "colon": ("2018-12-10 23:23:19:000", "2018-12-10 23:23:49:500"),
    "comma": ("2018-12-10 23:23:19,000", "2018-12-10 23:23:49,500"),
    "German": ("10.12.2018 23:23:19.000", "10.12.2018 23:23:49.500"),
    "short": ("2018-1-2 3:23:19", "2018-1-2 3:23:49.5"),
}


@pytest.mark.parametrize("stamps", WORDS.values(), ids=WORDS)
def test_dates_that_programs_write(tmp_path, stamps):
    ds = opened(tmp_path, stamps)
    assert ds.t.values.tolist() == [0, 30.5]
    assert "assumed" not in ds.attrs


def test_stamps_counted_from_0(tmp_path):
    ds = opened(tmp_path, [0, 30, 90], first=0)
    assert ds.t.values.tolist() == [0, 30, 90]
    assert ds.attrs["assumed"] == ["times: TimeInfo counts its time points from 0"]


def test_stamps_of_more_frames_than_there_are(tmp_path):
    """A movie that was cropped in time keeps the stamps of the frames that went."""
    path = write_imaris(tmp_path / "a.ims", np.zeros((2, 1, 1, 4, 4), "u1"), interval=30)
    with h5py.File(path, "r+") as h5:
        h5["DataSetInfo/TimeInfo"].attrs["TimePoint3"] = np.frombuffer(stamp(9e3).encode(), "S1")
    assert open_imaris(path).t.values.tolist() == [0, 30]


def test_a_single_frame_needs_no_date(tmp_path):
    assert "assumed" not in opened(tmp_path, ["soon"]).attrs


@pytest.mark.parametrize("step", [0.1, 0.25, 0.333, 0.47, 0.5, 0.8, 0.95])
@pytest.mark.parametrize("start", [0, 0.37, 0.8])
def test_the_step_of_rounded_stamps(step, start):
    """Within a hundredth, from a hundred stamps that were cut to seconds."""
    passed = {k: float(int(start + step * k)) for k in range(100)}
    found, _ = clock._rounded(passed, 100)
    assert found == pytest.approx(step, rel=0.01)


def test_one_stamp_that_stands_still_is_odd_and_two_are_rounded():
    assert clock._rounded({0: 0.0, 1: 1.0, 2: 1.0, 3: 2.0, 4: 3.0}, 5) is None
    step, _ = clock._rounded({0: 0.0, 1: 0.0, 2: 1.0, 3: 1.0, 4: 2.0}, 5)
    assert step == 0.5


def test_stamps_that_stand_still_and_go_on_are_not_rounded():
    passed = dict(enumerate([0.0] * 6 + [1.0, 2.0, 3.0, 4.0]))
    assert clock._rounded(passed, 10) is None


def test_many_frames_are_mended_quickly():
    """A quadratic search, but not one in Python."""
    passed = {k: 30.0 * k for k in range(3000)}
    passed[700] = passed[699]
    found = clock._repaired(passed, 3000)
    np.testing.assert_array_equal(found.times, 30 * np.arange(3000))
    assert 700 not in found.sound


# at the borders ----------------------------------------------------------------------------------


def test_half_of_the_stamps_are_enough():
    found = clock._repaired({0: 10.0, 1: 20.0, 2: 5.0, 3: 3.0}, 4)
    assert found.sound == {0, 1}
    assert found.times == [0, 10, 20, 30]
    assert clock._repaired({0: 10.0, 1: 20.0, 2: 5.0, 3: 3.0, 4: 1.0}, 5) is None


def test_of_two_usual_steps_the_shorter_goes_on():
    assert clock._repaired({0: 0.0, 1: 10.0, 2: 40.0}, 4).times == [0, 10, 40, 50]


@pytest.mark.parametrize(
    ("before", "behind", "usual"),
    [(45, 20, True), (45.1, 20, False), (45, 19.9, False), (20, 45, True)],
)
def test_steps_from_two_thirds_to_three_halves_are_usual(before, behind, usual):
    """The clock was set back by 145 s between frames that are 30 s apart."""
    passed = {0: 0.0, 1: before, 2: before - 115, 3: before - 115 + behind}
    seconds, found = clock._moved_on(passed, [0, 1, 2, 3], 30.0)
    assert found == ({2: 145.0} if usual else {})
    assert seconds[3] == pytest.approx(before + 30 + behind if usual else passed[3])


@pytest.mark.parametrize("unit", [60.0, 1.0, 0.1, 0.01, 0.001])
def test_units_that_stamps_are_rounded_to(unit):
    passed = {k: k // 2 * unit for k in range(6)}
    step, line = clock._rounded(passed, 6)
    assert step == pytest.approx(unit / 2)
    assert line.endswith(f"all time stamps are rounded to {unit:g} s")
    assert clock._rounded({k: v * 3 for k, v in passed.items()}, 6) is None


def test_stamps_that_no_even_step_gives_are_not_rounded():
    # 0 s at frame 3 needs a step below 1/3 s, 2 s at frame 5 one above 1/2 s
    passed = dict(enumerate([0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 2.0]))
    assert clock._rounded(passed, 7) is None
