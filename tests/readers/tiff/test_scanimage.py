"""ScanImage: pages by channel, slice and volume, of every version's header; what it says of them.

Page n of a file holds n everywhere, so which page became which plane is read off the pixels.
"""

import itertools
import json
import struct

import numpy as np
import pytest
import tifffile

from dpipe import schema
from dpipe.errors import InputError, UsageError
from dpipe.readers import open_tiff, open_tiff_series

SHAPE = (6, 8)


def text(**said):
    return "".join(f"{key.replace('__', '.')} = {value}\n" for key, value in said.items())


def new(pages=24, **said):
    """The header of 2016 and later."""
    held = {
        "SI__VERSION_MAJOR": 2020,
        "SI__hChannels__channelSave": "[1;2]",
        "SI__hStackManager__framesPerSlice": 1,
        "SI__hStackManager__numSlices": 4,
        "SI__hStackManager__numVolumes": 3,
        "SI__hStackManager__stackZStepSize": 2,
        "SI__hRoiManager__scanFramePeriod": 0.05,
        "SI__hRoiManager__imagingFovUm": "[-8 -3;8 -3;8 3;-8 3]",
    }
    held |= {f"SI__{key}": value for key, value in said.items()}
    return text(**{key: value for key, value in held.items() if value is not None})


def write(path, pages, software="", describe=None, start=0, **options):
    """Write pages one by one, each with its number as pixels."""
    with tifffile.TiffWriter(path, **options) as file:
        for n in range(start, start + pages):
            said = {"software": software} if software else {}
            file.write(
                np.full(SHAPE, n, "i2"), photometric="minisblack", metadata=None,
                contiguous=False, description=describe(n) if describe else None, **said,
            )  # fmt: skip
    return path


def numbers(ds):
    """Return which page each plane is, (t, c, z)."""
    return ds.image[..., 0, 0].values


def spacings(ds):
    return [schema.spacing(ds, dim) for dim in "tzyx"]


@pytest.mark.parametrize("big", [True, False], ids=["big", "classic"])
def test_volumes_over_time(tmp_path, big):
    ds = open_tiff(write(tmp_path / "a.tif", 24, new(), bigtiff=big))
    assert dict(ds.sizes) == {"t": 3, "c": 2, "z": 4, "y": 6, "x": 8}
    # channels change fastest, then slices: page = (t * 4 + z) * 2 + c
    np.testing.assert_array_equal(numbers(ds), np.arange(24).reshape(3, 4, 2).swapaxes(1, 2))
    # 16 um over 8 pixels, 6 um over 6; four frames of 0.05 s a volume
    assert spacings(ds) == pytest.approx([0.2, 2, 1, 2])
    assert ds.c.values.tolist() == ["Channel 1", "Channel 2"]
    assert ds.attrs == {"format": "scanimage-tiff"}
    region = ds.image.isel(t=slice(1, 3), c=1, z=slice(1, 3), y=2, x=slice(3, 5))
    assert region.values[:, :, 0].tolist() == [[11, 13], [19, 21]]


def test_the_header_behind_that_of_the_file(tmp_path):
    """Files of 2016 and later keep it there too; at times nowhere else."""
    pages, said = [np.full(SHAPE, n, "<i2") for n in range(4)], new(hStackManager__numSlices=1)
    static = said.encode() + b"\0"
    head = struct.pack("<IIII", 117637889, 4, len(static), 0) + static
    places, out = [], bytearray()
    at = 16 + len(head)
    for page in pages:
        places.append(at + len(out))
        out += page.tobytes()
    first = at + len(out)
    for n, place in enumerate(places):
        tags = [
            (256, 4, 1, 8), (257, 4, 1, 6), (258, 3, 1, 16), (259, 3, 1, 1), (262, 3, 1, 1),
            (273, 16, 1, place), (277, 3, 1, 1), (278, 4, 1, 6), (279, 16, 1, 96), (339, 3, 1, 2),
        ]  # fmt: skip
        size = 8 + 20 * len(tags) + 8
        behind = first + size * (n + 1) if n + 1 < len(places) else 0
        out += struct.pack("<Q", len(tags))
        for code, kind, count, value in tags:
            out += struct.pack("<HHQQ", code, kind, count, value)
        out += struct.pack("<Q", behind)
    path = tmp_path / "a.tif"
    path.write_bytes(struct.pack("<2sHHHQ", b"II", 43, 8, 0, first) + head + bytes(out))
    assert numbers(open_tiff(path)).tolist() == [[[0], [1]], [[2], [3]]]


def test_a_header_of_json(tmp_path):
    said = {"SI": {
        "hChannels": {"channelSave": [2, 3], "channelName": "{'a';'GFP';'DiD'}"},
        "hStackManager": {"numSlices": 2, "framesPerSlice": 1, "numVolumes": 2, "enable": True},
        "hRoiManager": {"scanFramePeriod": 0.5},
    }}  # fmt: skip
    ds = open_tiff(write(tmp_path / "a.tif", 8, json.dumps(said)))
    assert numbers(ds).tolist() == [[[0, 2], [1, 3]], [[4, 6], [5, 7]]]
    assert ds.c.values.tolist() == ["GFP", "DiD"]


def test_a_plane_over_time(tmp_path):
    """Two channels are no time points, and no flyback counts where there is no depth."""
    said = new(hStackManager__numSlices=1, hFastZ__numDiscardFlybackFrames=2,
               hStackManager__framesPerSlice="Inf")  # fmt: skip
    ds = open_tiff(write(tmp_path / "a.tif", 6, said))
    assert numbers(ds)[:, :, 0].tolist() == [[0, 1], [2, 3], [4, 5]]
    assert schema.spacing(ds, "t") == 0.05


@pytest.mark.parametrize(
    ("channels", "names"),
    [("1", ["A"]), ("[1]", ["A"]), ("[2;4]", ["B", "D"]), ("[1 3]", ["A", "C"])],
)
def test_channels_that_were_saved(tmp_path, channels, names):
    said = new(
        hChannels__channelSave=channels, hChannels__channelName="{'A';'B';'C';'D'}",
        hChannels__channelMergeColor="{'green';'red';'blue';'Gray'}", hStackManager__numSlices=1,
    )  # fmt: skip
    ds = open_tiff(write(tmp_path / "a.tif", 4, said))
    assert ds.c.values.tolist() == names
    assert ds.sizes["t"] == 4 // len(names)
    colors = {"A": "00FF00", "B": "FF0000", "C": "0000FF", "D": "FFFFFF"}
    assert ds.channel_color.values.tolist() == [colors[name] for name in names]


@pytest.mark.parametrize(
    "said",
    [
        {"hFastZ__enable": "true", "hFastZ__numDiscardFlybackFrames": 1},
        {"hStackManager__numFramesPerVolume": 4, "hStackManager__numFramesPerVolumeWithFlyback": 5,
         "hStackManager__enable": "true"},
        {"hFastZ__enable": 1, "hFastZ__numDiscardFlybackFrames": 1, "hFastZ__numVolumes": 3,
         "hStackManager__numVolumes": None, "hFastZ__numFramesPerVolume": 5,
         "hStackManager__framesPerSlice": 100},
    ],
    ids=["discarded", "with flyback", "2016"],
)  # fmt: skip
def test_flyback_frames_are_left_out(tmp_path, said):
    ds = open_tiff(write(tmp_path / "a.tif", 30, new(**said)))
    expected = np.arange(30).reshape(3, 5, 2)[:, :4].swapaxes(1, 2)
    np.testing.assert_array_equal(numbers(ds), expected)
    assert schema.spacing(ds, "t") == pytest.approx(0.25)  # five frames a volume
    assert ds.attrs["notes"] == ["1 flyback frames behind each volume are left out"]


def test_flyback_frames_that_were_not_saved(tmp_path):
    said = new(hFastZ__enable="true", hFastZ__numDiscardFlybackFrames=1)
    ds = open_tiff(write(tmp_path / "a.tif", 24, said))
    np.testing.assert_array_equal(numbers(ds), np.arange(24).reshape(3, 4, 2).swapaxes(1, 2))
    assert schema.spacing(ds, "t") == pytest.approx(0.25)  # they took their time all the same


def test_flyback_frames_that_may_or_may_not_be_there(tmp_path):
    """40 frames are 10 volumes of 4, or 8 of 5: the header has to say."""
    said = new(hFastZ__enable="true", hFastZ__numDiscardFlybackFrames=1,
               hStackManager__numVolumes=None, hChannels__channelSave="1")  # fmt: skip
    path = write(tmp_path / "a.tif", 40, said)
    with pytest.raises(InputError, match=r"40 frames .* 1 flyback frames or without; say axes="):
        open_tiff(path)
    assert open_tiff(path, axes="TZ5YX").sizes["t"] == 8


@pytest.mark.parametrize(("average", "frames"), [(1, 3), (3, 1)])
def test_several_frames_of_each_slice(tmp_path, average, frames):
    """A slow stack: three frames of each slice, kept or averaged."""
    said = new(hStackManager__framesPerSlice=3, hScan2D__logAverageFactor=average,
               hStackManager__numVolumes=1, hStackManager__numSlices=2)  # fmt: skip
    ds = open_tiff(write(tmp_path / "a.tif", 4 * frames, said))
    expected = np.arange(4 * frames).reshape(2, frames, 2).transpose(1, 2, 0)  # z, frame, channel
    np.testing.assert_array_equal(numbers(ds), expected)
    if frames > 1:
        assert ds.t.values.tolist() == pytest.approx([0, 0.05, 0.1])
        assert "each slice was taken 3 times in a row" in ds.attrs["notes"][0]


def test_several_frames_of_each_slice_of_several_volumes(tmp_path):
    said = new(hStackManager__framesPerSlice=2, hStackManager__numVolumes=2)
    ds = open_tiff(write(tmp_path / "a.tif", 32, said))
    expected = np.arange(32).reshape(2, 4, 2, 2).transpose(0, 2, 3, 1).reshape(4, 2, 4)
    np.testing.assert_array_equal(numbers(ds), expected)
    # a volume of eight frames takes 0.4 s
    assert ds.t.values.tolist() == pytest.approx([0, 0.05, 0.4, 0.45])
    np.testing.assert_array_equal(numbers(ds.isel(t=slice(1, 3))), expected[1:3])


def four(prefix="SI4", **said):
    """The header of ScanImage 4, or of the first 5."""
    held = {
        "channelsSave": "[1;2]", "stackNumSlices": 3, "stackZStepSize": 1.5, "fastZEnable": 1,
        "fastZNumVolumes": 2, "scanFramePeriod": 0.1, "acqNumFrames": 1,
        "acqNumAveragedFrames": 1, "fastZDiscardFlybackFrames": 0,
    }  # fmt: skip
    return text(**{f"scanimage.{prefix}.{k}": v for k, v in (held | said).items()})


@pytest.mark.parametrize("prefix", ["SI4", "SI5"])
def test_version_4(tmp_path, prefix):
    path = write(tmp_path / "a.tif", 12, describe=lambda n: four(prefix))
    ds = open_tiff(path)
    np.testing.assert_array_equal(numbers(ds), np.arange(12).reshape(2, 3, 2).swapaxes(1, 2))
    assert spacings(ds)[:2] == pytest.approx([0.3, 1.5])
    assert ds.attrs["assumed"] == [
        "voxel size along y, x is 1 micrometre: the ScanImage header gives none; "
        "say spacing=[z, y, x]"
    ]
    over = open_tiff(path, spacing=[1.5, 0.4, 0.4])
    assert spacings(over)[1:] == [1.5, 0.4, 0.4]
    assert "assumed" not in over.attrs


def test_version_4_with_flyback_and_its_own_period(tmp_path):
    said = four(fastZDiscardFlybackFrames=1, fastZNumDiscardFrames=2, fastZPeriod=0.7)
    ds = open_tiff(write(tmp_path / "a.tif", 20, describe=lambda n: said))
    expected = np.arange(20).reshape(2, 5, 2)[:, :3].swapaxes(1, 2)
    np.testing.assert_array_equal(numbers(ds), expected)
    assert schema.spacing(ds, "t") == 0.7


def test_version_4_slow(tmp_path):
    said = four(fastZEnable=0, acqNumFrames=4, acqNumAveragedFrames=2)
    ds = open_tiff(write(tmp_path / "a.tif", 12, describe=lambda n: said))
    np.testing.assert_array_equal(numbers(ds), np.arange(12).reshape(3, 2, 2).transpose(1, 2, 0))


def test_version_2015_in_descriptions(tmp_path):
    """5.0 to 2015 wrote the header of 2016 into each page, behind what is of that page."""
    said = "".join(f"scanimage.{line}\n" for line in new().splitlines())
    path = write(tmp_path / "a.tif", 24, describe=lambda n: f"frameNumbers = {n}\n{said}")
    ds = open_tiff(path)
    np.testing.assert_array_equal(numbers(ds), np.arange(24).reshape(3, 4, 2).swapaxes(1, 2))
    assert spacings(ds) == pytest.approx([0.2, 2, 1, 2])


def three(**said):
    held = {
        "configName": "'x'", "software.version": 3.8, "acq.numberOfChannelsSave": 2,
        "acq.numberOfZSlices": 3, "acq.numberOfFrames": 2, "acq.numAvgFramesSave": 1,
        "acq.averaging": 0, "acq.frameRate": 4, "acq.zStepSize": -1.5,
    }  # fmt: skip
    held = {k: v for k, v in (held | said).items() if v is not None}
    return "\r".join(f"state.{k}={v}" for k, v in held.items())


@pytest.mark.parametrize(
    ("said", "frames"),
    [
        ({}, 2),
        ({"acq.numAvgFramesSave": 2}, 1),
        ({"acq.numAvgFramesSave": None, "acq.averaging": 1}, 1),
        ({"acq.numAvgFramesSave": None}, 2),
        ({"acq.numberOfChannelsSave": None, "acq.savingChannel1": 1, "acq.savingChannel2": 0,
          "acq.savingChannel3": 1}, 2),
    ],
    ids=["kept", "averaged", "averaged, 3.5", "kept, 3.5", "channels by flags"],
)  # fmt: skip
def test_version_3(tmp_path, said, frames):
    """All pages of it, too: tifffile would miss the last."""
    count = 6 * frames
    ds = open_tiff(write(tmp_path / "a.tif", count, describe=lambda n: three(**said)))
    expected = np.arange(count).reshape(3, frames, 2).transpose(1, 2, 0)
    np.testing.assert_array_equal(numbers(ds), expected)
    assert schema.spacing(ds, "z") == 1.5
    if frames > 1:
        assert schema.spacing(ds, "t") == 0.25
    named = ["Channel 1", "Channel 3" if "acq.savingChannel3" in said else "Channel 2"]
    assert ds.c.values.tolist() == named


def test_version_3_without_depth(tmp_path):
    said = three(**{"acq.numberOfZSlices": 1, "acq.numberOfFrames": 5})
    ds = open_tiff(write(tmp_path / "a.tif", 10, describe=lambda n: said))
    assert numbers(ds)[:, :, 0].tolist() == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]
    assert schema.spacing(ds, "t") == 0.25


# what a header says of places and times -----------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "sizes", "line"),
    [
        ({"hStackManager__actualStackZStepSize": 3}, [3, 1, 2], None),
        ({"hStackManager__zs": "[0 5 10 15]"}, [5, 1, 2], None),
        ({"hStackManager__zs": "[0 -5 -10 -15]"}, [5, 1, 2], None),
        ({"hStackManager__zs": "[0 5 10 40]"}, [5, 1, 2], "slices are uneven, at [0.0, 5.0"),
        ({"hRoiManager__imagingFovUm": None, "hRoiManager__imagingFovDeg": "[-2 -1;2 -1;2 1;-2 1]",
          "objectiveResolution": 10}, [2, 20 / 6, 5], None),
        ({"hRoiManager__imagingFovUm": "[0 -8;0 8;-6 8;-6 -8]"}, [2, 1, 2], None),  # turned
        ({"hRoiManager__imagingFovUm": "[]"}, [2, 1, 1], "voxel size along y, x is 1 micrometre"),
        ({"hStackManager__stackZStepSize": None}, [1, 1, 2], "voxel size along z is 1 micrometre"),
        ({"hRoiManager__mroiEnable": "true"}, [2, 1, 1], "several regions (mROI)"),
    ],
)  # fmt: skip
def test_places(tmp_path, said, sizes, line):
    ds = open_tiff(write(tmp_path / "a.tif", 24, new(**said)))
    assert spacings(ds)[1:] == pytest.approx(sizes)
    assert line is None or line in str([ds.attrs.get("notes"), ds.attrs.get("assumed")])


def test_the_stage_is_kept_and_not_believed(tmp_path):
    ds = open_tiff(write(tmp_path / "a.tif", 24, new(hMotors__motorPosition="[10.5 -3 200]")))
    assert ds.attrs["stage_position"] == [10.5, -3, 200]
    assert ds.x[0] == ds.y[0] == ds.z[0] == 0


@pytest.mark.parametrize(
    ("said", "step"),
    [
        ({"hRoiManager__scanVolumeRate": 4}, 0.25),
        ({"hRoiManager__scanFramePeriod": None, "hRoiManager__scanFrameRate": 10}, 0.4),
        ({"hScan2D__logAverageFactor": 3, "hStackManager__framesPerSlice": 3}, 0.6),
    ],
)
def test_periods(tmp_path, said, step):
    ds = open_tiff(write(tmp_path / "a.tif", 24, new(**said)))
    assert schema.spacing(ds, "t") == pytest.approx(step)


@pytest.mark.parametrize(
    ("each", "step", "noted"),
    [(0.05, 0.2, False), (0.0503, 0.2, False), (0.051, 0.204, True), (0.5, 2.0, True)],
)
def test_stamps_of_pages(tmp_path, each, step, noted):
    """The header says 0.2 s a volume; stamps may differ by a hundredth without a word."""
    path = write(
        tmp_path / "a.tif", 24, new(),
        describe=lambda n: f"frameNumbers = {n}\nframeTimestamps_sec = {each * (n // 2):.6f}\n",
    )  # fmt: skip
    ds = open_tiff(path)
    assert schema.spacing(ds, "t") == pytest.approx(step)
    assert bool(ds.attrs.get("notes")) == noted


@pytest.mark.parametrize(
    "seconds", [[0, 0.2, 5, 5.2], [0, 0.2, 0.6, 0.8], [*(0.2 * n for n in range(99)), 20.0]]
)
def test_volumes_that_are_unevenly_apart_keep_their_stamps(tmp_path, seconds):
    """A pause, a frame that was dropped, and one at the end of many: 0.2 s a volume else."""
    pages = 2 * len(seconds)
    head = new(hStackManager__numSlices=1, hStackManager__numVolumes=len(seconds))
    head = head.replace("scanFramePeriod = 0.05", "scanFramePeriod = 0.2")
    ds = open_tiff(
        write(
            *(tmp_path / "a.tif", pages, head),
            describe=lambda n: f"frameTimestamps_sec = {seconds[n // 2]:.6f}\n",
        )
    )
    assert ds.t.values.tolist() == pytest.approx(seconds)
    assert schema.spacing(ds, "t") == pytest.approx(0.2)
    longest = max(b - a for a, b in itertools.pairwise(seconds))
    said = f"volumes are 0.2 to {longest:g} s apart by the stamps of pages, which are taken"
    assert ds.attrs["notes"] == [said]


def test_no_period_at_all(tmp_path):
    ds = open_tiff(write(tmp_path / "a.tif", 24, new(hRoiManager__scanFramePeriod=None)))
    assert ds.attrs["assumed"] == [
        "frames are 1 s apart: the ScanImage header gives none; say interval="
    ]


# what is missing, stopped or wrong ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"hChannels__channelSave": None}, "does not say which channels were saved; say axes="),
        ({"hStackManager__numSlices": None}, "does not say how many slices a volume has; say axes"),
        ({"hStackManager__framesPerSlice": "Inf"}, "4 slices of endless frames; say axes="),
    ],
)
def test_what_the_header_lacks_is_asked_for(tmp_path, said, message):
    path = write(tmp_path / "a.tif", 24, new(**said))
    with pytest.raises(InputError, match=f"a.tif: its ScanImage header .*{message}"):
        open_tiff(path)
    ds = open_tiff(path, axes="TZ4C2YX")
    np.testing.assert_array_equal(numbers(ds), np.arange(24).reshape(3, 4, 2).swapaxes(1, 2))


def test_a_stopped_recording(tmp_path):
    path = write(tmp_path / "a.tif", 21, new())
    with pytest.raises(InputError, match=r"21 pages .* whole_frames=true for the 2 volumes"):
        open_tiff(path)
    ds = open_tiff(path, whole_frames=True)
    np.testing.assert_array_equal(numbers(ds), np.arange(16).reshape(2, 4, 2).swapaxes(1, 2))
    assert ds.attrs["notes"] == [
        "the last 5 pages make no whole volume and are left out",
        "its header promises 3 volumes; 2 are here",
    ]
    with pytest.raises(InputError, match=r"7 pages are no whole number of volumes .*; say axes="):
        open_tiff(write(tmp_path / "b.tif", 7, new()))


def test_axes_overrule_the_header(tmp_path):
    path = write(tmp_path / "a.tif", 24, new())
    assert dict(open_tiff(path, axes="T2Z12YX").sizes) | {"y": 0, "x": 0} == {
        "t": 2, "c": 1, "z": 12, "y": 0, "x": 0,
    }  # fmt: skip
    assert open_tiff(path, axes="ZYX").sizes["z"] == 24
    # sizes that are not said are those of the header
    np.testing.assert_array_equal(numbers(open_tiff(path, axes="TCYX"))[:, :, 0],
                                  np.arange(24).reshape(12, 2))  # fmt: skip
    assert dict(open_tiff(path, axes="TZCYX").sizes) == dict(open_tiff(path).sizes)


def test_a_recording_in_several_files(tmp_path):
    """ScanImage cuts where it likes: here in the middle of a volume, and of a slice's channels."""
    paths, start = [], 0
    for k, count in enumerate((9, 9, 6)):
        path = tmp_path / f"run_00001_{k + 1:05}.tif"
        paths.append(write(path, count, new(), start=start))
        start += count
    expected = np.arange(24).reshape(3, 4, 2).swapaxes(1, 2)
    for ds in (open_tiff(paths), open_tiff_series(paths[::-1], files="t")):
        np.testing.assert_array_equal(numbers(ds), expected)
        np.testing.assert_array_equal(numbers(ds.isel(t=1, z=slice(0, 2))), expected[1, :, :2])


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ("TZ5C2YX", "24 planes do not make TZ5C2; say whole_frames=true for the 2 frames"),
        ("Z5C2YX", "24 planes do not make Z5C2; correct axes="),
        ("TZ25YX", "24 planes do not make TZ25; correct axes="),
        ("CT7YX", "24 planes do not make CT7; correct axes="),
    ],
)
def test_sizes_that_do_not_fit(tmp_path, axes, message):
    with pytest.raises(InputError, match=message):
        open_tiff(write(tmp_path / "a.tif", 24, new()), axes=axes)


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ("TZC2YX", "only one of T, C and Z may be without a size"),
        ("TZ0YX", "sizes above 0 may stand behind T, C and Z"),
        ("TZ4Y5X", "sizes above 0 may stand behind T, C and Z"),
        ("T4T2YX", "at most once"),
        ("4TYX", "at most once"),
        ("TZ-4YX", "at most once"),
    ],
)
def test_axes_that_are_none(tmp_path, axes, message):
    with pytest.raises(UsageError, match=message):
        open_tiff(tmp_path / "a.tif", axes=axes)


def test_axes_cut_any_file(tmp_path):
    """One directory for many planes (ImageJ), compressed pages, a torn end."""
    pixels = np.arange(24, dtype="u2").repeat(48).reshape(24, *SHAPE)
    tifffile.imwrite(tmp_path / "a.tif", pixels, imagej=True, metadata={"axes": "TYX"})
    tifffile.imwrite(tmp_path / "b.tif", pixels, compression="zlib", photometric="minisblack")
    for name in ("a.tif", "b.tif"):
        ds = open_tiff(tmp_path / name, axes="T3 Z4 C YX")
        np.testing.assert_array_equal(numbers(ds), np.arange(24).reshape(3, 4, 2).swapaxes(1, 2))
    ds = open_tiff(tmp_path / "b.tif", axes="TZ5C2YX", whole_frames=True)
    np.testing.assert_array_equal(numbers(ds), np.arange(20).reshape(2, 5, 2).swapaxes(1, 2))
    assert ds.attrs["notes"] == ["the last 4 planes make no whole frame and are left out"]
