"""Imaris files whose parts do not agree: taken by rank, refused, or said; never by luck."""

import h5py
import numpy as np
import pytest

from dpipe import schema
from dpipe.demo.study import write_imaris
from dpipe.errors import ImarisError
from dpipe.readers import open_imaris

DATA = "DataSet/ResolutionLevel 0/TimePoint {}/Channel {}/Data"


@pytest.fixture
def movie(tmp_path):
    """Four frames of two channels, (z, y, x) = (3, 20, 30) in padded chunks, 30 s apart."""
    pixels = np.random.default_rng(0).integers(1, 200, (4, 2, 3, 20, 30)).astype("u2")
    path = write_imaris(
        tmp_path / "Neu1.ims", pixels, interval=30, channels=["red dye", "green dye"],
        colors=["FF0000", "00FF00"], levels=1, chunks=(2, 16, 16),
    )  # fmt: skip
    return path, pixels


def edit(path, change):
    with h5py.File(path, "r+") as h5:
        change(h5)


def say(group, **attributes):
    for key, value in attributes.items():
        group.attrs[key] = np.frombuffer(str(value).encode(), "S1")


def values(ds):
    return ds.image.data.compute(scheduler="synchronous")


def renumber(group, word, numbers):
    def change(h5):
        for old in range(len(numbers)):
            h5.move(f"{group}/{word} {old}", f"{group}/kept {old}")
        for old, new in enumerate(numbers):
            h5.move(f"{group}/kept {old}", f"{group}/{word} {new}")

    return change


# channels -----------------------------------------------------------------------------------------

CHANNELS = {
    "from 0": ([0, 1], ["red dye", "green dye"], ["FF0000", "00FF00"], None),
    "from 1": (
        [1, 2], ["red dye", "green dye"], ["FF0000", "00FF00"],
        "DataSetInfo counts its channels from 1; they are taken in their order",
    ),
    "a gap": (
        [0, 2], ["red dye", "1"], ["FF0000", "FFFFFF"],
        "DataSetInfo describes channels 0, 2, the pixels have 0 to 1; those of one number",
    ),
    "from 5": (
        [5, 6], ["0", "1"], None,
        "DataSetInfo describes channels 5, 6, the pixels have 0 to 1; their names are left out",
    ),
    "from 1 with a gap": ([1, 3], ["0", "1"], None, "describes channels 1, 3, the pixels have"),
}  # fmt: skip


@pytest.mark.parametrize(("numbers", "names", "colors", "says"), CHANNELS.values(), ids=CHANNELS)
def test_channels_are_described_under_other_numbers(movie, numbers, names, colors, says):
    path, pixels = movie
    edit(path, renumber("DataSetInfo", "Channel", numbers))
    ds = open_imaris(path)
    assert ds.c.values.tolist() == names
    assert (ds.channel_color.values.tolist() if "channel_color" in ds.coords else None) == colors
    assert says is None or says in ds.attrs["assumed"][0]
    assert ("assumed" in ds.attrs) == (says is not None)
    np.testing.assert_array_equal(values(ds), pixels)
    assert "assumed" not in schema.revise(ds, channels=["a", "b"]).attrs


@pytest.mark.parametrize(
    ("numbers", "names"),
    [([0, 1, 2], ["red dye", "green dye"]), ([0], ["red dye", "1"]), ([1], ["0", "1"])],
)
def test_more_or_fewer_channels_are_described_than_there_are(movie, numbers, names):
    path, _ = movie

    def change(h5):
        for number in (0, 1):
            if number not in numbers:
                del h5[f"DataSetInfo/Channel {number}"]
        if 2 in numbers:
            say(h5.create_group("DataSetInfo/Channel 2"), Name="gone")

    edit(path, change)
    ds = open_imaris(path)
    assert ds.c.values.tolist() == names
    assert f"describes channels {', '.join(map(str, numbers))}" in ds.attrs["assumed"][0]


def test_channels_that_nobody_describes(movie):
    path, _ = movie
    edit(path, lambda h5: [h5["DataSetInfo"].pop(f"Channel {c}") for c in range(2)])
    ds = open_imaris(path)
    assert ds.c.values.tolist() == ["0", "1"]
    assert "assumed" not in ds.attrs


def test_what_stands_beside_the_names(movie):
    path, _ = movie

    def change(h5):
        say(
            h5["DataSetInfo/Channel 1"], LSMEmissionWavelength="617.000", LSMPinhole="1.2",
            LSMExcitationWavelength="561", Description="Alexa Fluor 594", Color="0 255 128",
        )  # fmt: skip
        say(h5["DataSetInfo/Channel 0"], Description="(description not specified)")
        say(h5.create_group("DataSetInfo/CustomData"), Objective="25x/1.05", Laser="x" * 900)

    edit(path, change)
    ds = open_imaris(path)
    assert ds.c.attrs["emission_wavelength"] == ["", "617.000"]
    assert ds.c.attrs["excitation_wavelength"] == ["", "561"]
    assert ds.c.attrs["pinhole"] == ["", "1.2"]
    assert ds.c.attrs["description"] == ["", "Alexa Fluor 594"]
    assert ds.channel_color.values.tolist() == ["FF0000", "00FF80"]
    assert ds.attrs["custom_data"] == {"Objective": "25x/1.05", "Laser": "x" * 500}


def test_custom_data_without_end(tmp_path):
    path = tmp_path / "a.ims"
    with h5py.File(path, "w", libver="latest") as h5:
        h5[DATA.format(0, 0)] = np.ones((1, 4, 4), "u1")
        group = h5.create_group("DataSetInfo/CustomData")
        group.attrs["Log"] = np.full(2 << 20, b"m")
        for k in range(150):
            group.attrs[f"{k:03}"] = "x"
    found = open_imaris(path).attrs["custom_data"]
    assert len(found) == 100
    assert "Log" not in found
    with h5py.File(path, "r+") as h5:
        for k in range(120):
            del h5["DataSetInfo/CustomData"].attrs[f"{k:03}"]
    assert open_imaris(path).attrs["custom_data"]["Log"] == "(too long)"


def test_all_that_is_counted_from_1(movie):
    path, pixels = movie
    level = "DataSet/ResolutionLevel 0"

    def change(h5):
        for t in range(4):
            renumber(f"{level}/TimePoint {t}", "Channel", [1, 2])(h5)
        renumber(level, "TimePoint", [1, 2, 3, 4])(h5)

    edit(path, change)
    ds = open_imaris(path)
    np.testing.assert_array_equal(values(ds), pixels)
    assert ds.attrs["notes"] == [
        "the time points of DataSet are counted from 1: taken in their order",
        "the channels of DataSet are counted from 1: taken in their order",
    ]


def test_a_first_time_point_that_was_lost_is_no_count_from_1(movie):
    path, _ = movie
    edit(path, lambda h5: h5["DataSet/ResolutionLevel 0"].pop("TimePoint 0"))
    with pytest.raises(ImarisError, match="ResolutionLevel 0 lacks TimePoint 0 of 0 to 3"):
        open_imaris(path)


def test_groups_under_other_names(movie):
    path, pixels = movie

    def change(h5):
        h5.move("DataSet", "Images")
        h5.move("DataSetInfo", "About")
        say(h5, DataSetDirectoryName="Images", DataSetInfoDirectoryName="About")

    edit(path, change)
    ds = open_imaris(path)
    np.testing.assert_array_equal(values(ds), pixels)
    assert ds.c.values.tolist() == ["red dye", "green dye"]
    edit(path, lambda h5: say(h5, DataSetDirectoryName="Else"))
    with pytest.raises(ImarisError, match="no group DataSet; this is not an Imaris file"):
        open_imaris(path)


def test_numbers_that_are_not_what_is_there(movie):
    path, _ = movie

    def change(h5):
        say(h5["DataSetInfo/Image"], X=60, Noc=3)
        say(h5["DataSetInfo/TimeInfo"], FileTimePoints=2)
        h5.attrs["NumberOfDataSets"] = np.array([2], "u4")

    edit(path, change)
    assert open_imaris(path).attrs["notes"] == [
        "TimeInfo promises 2 time points, 4 are there and taken",
        "DataSetInfo says (z, y, x) = (3, 20, 60); the pixels are (3, 20, 30), over which its "
        "extents are divided",
        "DataSetInfo promises 3 channels, 2 are there",
        "the file says that it holds 2 images; the first one is read",
    ]


# kinds of numbers ---------------------------------------------------------------------------------

HIGHEST = {"u1": 255, "u2": 65535, "u4": 2**32 - 1, "i2": -(2**15), "f4": 2**24 - 1}


@pytest.mark.parametrize(
    ("first", "second", "common"),
    [
        ("u1", "u2", "u2"),
        ("u2", "u1", "u2"),
        ("u2", "f4", "f4"),
        ("u4", "f4", "f8"),
        ("u2", "i2", "i4"),
    ],
)
def test_channels_of_unlike_dtype_get_one_that_holds_both(movie, first, second, common):
    path, _ = movie
    made = [np.full((4, 16, 32), 7, kind) for kind in (first, second)]
    for kind, block in zip((first, second), made, strict=True):
        block[0, 0, :2] = HIGHEST[kind], 1

    def change(h5):
        for t in range(4):
            for c in range(2):
                del h5[DATA.format(t, c)]
                h5[f"DataSet/ResolutionLevel 0/TimePoint {t}/Channel {c}"].create_dataset(
                    "Data", data=np.pad(made[c], ((0, 0), (0, 16), (0, 0))), chunks=(2, 16, 16)
                )

    edit(path, change)
    ds = open_imaris(path)
    assert ds.image.dtype == common
    for c in range(2):
        np.testing.assert_array_equal(values(ds)[2, c, :, :16], made[c][:3, :, :30])
    names = " and ".join(sorted(str(np.dtype(kind)) for kind in (first, second)))
    assert ds.attrs["notes"] == [f"pixels are {names} in the file; all are held as "
                                 f"{np.dtype(common)}"]  # fmt: skip


@pytest.mark.parametrize("kinds", [("u8", "f4"), ("u8", "i8")])
def test_channels_that_no_dtype_holds(movie, kinds):
    path, _ = movie

    def change(h5):
        for t in range(4):
            for c, kind in enumerate(kinds):
                del h5[DATA.format(t, c)]
                h5[DATA.format(t, c)] = np.zeros((4, 32, 32), kind)

    edit(path, change)
    with pytest.raises(ImarisError, match="which no one kind of number holds exactly"):
        open_imaris(path)


def test_another_dtype_than_when_it_was_opened(movie):
    path, pixels = movie
    ds = open_imaris(path)
    write_imaris(path, pixels.astype("u1"), levels=1, chunks=(2, 16, 16))
    with pytest.raises(ImarisError, match=r"TimePoint \d Channel \d is now uint8 of .*; it was"):
        values(ds)


def test_floats_that_are_not_numbers_are_kept(tmp_path):
    pixels = np.ones((2, 1, 2, 8, 8), "f4")
    pixels[0, 0, 0, 0, :3] = np.nan, np.inf, -np.inf
    ds = open_imaris(write_imaris(tmp_path / "a.ims", pixels, levels=2, chunks=(2, 8, 8)))
    np.testing.assert_array_equal(values(ds), pixels)
    assert ds.c.attrs["windows"] == [[1, 1]]
    empty = np.full((1, 1, 1, 8, 8), np.nan, "f4")
    ds = open_imaris(write_imaris(tmp_path / "b.ims", empty, levels=1, chunks=(1, 8, 8)))
    assert np.isnan(values(ds)).all()


# recordings that were stopped ---------------------------------------------------------------------


def lack_data(h5):
    del h5[DATA.format(2, 1)]


def lack_channel(h5):
    del h5["DataSet/ResolutionLevel 0/TimePoint 2/Channel 1"]


def lack_point(h5):
    del h5["DataSet/ResolutionLevel 0/TimePoint 2"]


def be_small(h5):
    say(h5[DATA.format(2, 0)].parent, ImageSizeX=29)


def lack_chunk(h5):
    group = h5[DATA.format(2, 0)].parent
    shape, kept = group["Data"].shape, group["Data"][:2]
    del group["Data"]
    group.create_dataset("Data", shape, "u2", chunks=(2, 16, 16))[:2] = kept


STOPPED = {
    "no data": (lack_data, "TimePoint 2/Channel 1 holds no Data"),
    "no channel": (lack_channel, "TimePoint 2 has 1 channels; TimePoint 0 has 2"),
    "no time point": (lack_point, "ResolutionLevel 0 lacks TimePoint 2 of 0 to 3"),
    "another size": (be_small, "TimePoint 2 Channel 0 is uint16 of (z, y, x) = (3, 20, 29)"),
}


@pytest.mark.parametrize(("change", "says"), STOPPED.values(), ids=STOPPED)
def test_the_whole_frames_of_a_stopped_recording(movie, change, says):
    path, pixels = movie
    edit(path, change)
    with pytest.raises(ImarisError) as caught:
        open_imaris(path)
    assert says in str(caught.value)
    assert "option whole_frames=true takes the 2 before it" in str(caught.value)
    ds = open_imaris(path, whole_frames=True)
    np.testing.assert_array_equal(values(ds), pixels[:2])
    assert ds.t.values.tolist() == [0, 30]
    (note,) = ds.attrs["notes"]
    assert note.startswith("a recording that was stopped: 2 of 4 time points are whole and taken")
    assert says in note
    assert schema.revise(ds, interval=20).attrs["notes"] == [note]


def test_fewer_frames_than_promised(movie):
    path, pixels = movie
    edit(path, lambda h5: say(h5["DataSetInfo/TimeInfo"], FileTimePoints=10))
    with pytest.raises(ImarisError, match="promises 10 time points, 4 are there; option whole"):
        open_imaris(path)
    ds = open_imaris(path, whole_frames=True)
    np.testing.assert_array_equal(values(ds), pixels)
    assert ds.attrs["notes"] == [
        "a recording that was stopped: 4 of 10 time points are whole and taken"
    ]


def test_a_frame_without_some_of_its_chunks(movie):
    path, pixels = movie
    edit(path, lack_chunk)
    assert open_imaris(path).sizes["t"] == 4  # which computing refuses
    ds = open_imaris(path, whole_frames=True)
    np.testing.assert_array_equal(values(ds), pixels[:2])
    assert "TimePoint 2 Channel 0 lacks 4 of its chunks" in ds.attrs["notes"][0]
    filled = open_imaris(path, whole_frames=True, fill_missing=True)
    assert filled.sizes["t"] == 4
    assert filled.attrs["notes"] == [
        "4 chunks not in the file, read as the fill value: 4 in TimePoint 2 Channel 0"
    ]
    assert open_imaris(path, fill_missing=True).attrs["notes"] == filled.attrs["notes"]


def test_nothing_whole(movie):
    path, _ = movie
    edit(path, lambda h5: h5[DATA.format(0, 0)].parent.pop("Data"))
    with pytest.raises(ImarisError, match=r"TimePoint 0/Channel 0 holds no Data$"):
        open_imaris(path, whole_frames=True)


def test_a_whole_recording_is_not_said_to_be_stopped(movie):
    path, pixels = movie
    ds = open_imaris(path, whole_frames=True)
    np.testing.assert_array_equal(values(ds), pixels)
    assert "notes" not in ds.attrs
