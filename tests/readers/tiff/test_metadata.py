"""What TIFF say of lengths and times: stamps, units, numbers that are none, and what overrules."""

import json

import numpy as np
import pytest
import tifffile

from dpipe import schema
from dpipe.errors import InputError, SchemaError, UsageError
from dpipe.formats.frame_times import named, settled
from dpipe.readers import open_crops, open_tiff


def write(path, shape, **said):
    tifffile.imwrite(path, np.zeros(shape, "u1"), **({"photometric": "minisblack"} | said))
    return path


def ome(path, stamps=None, unit="s", **said):
    """Write two channels and two planes a frame, all planes of a frame with one stamp."""
    frames = len(stamps) if stamps else said.pop("frames", 3)
    metadata = {"axes": "TCZYX"} | said
    if stamps:
        each = np.ravel(stamps) if np.ndim(stamps[0]) else np.repeat(stamps, 4)
        metadata["Plane"] = {"DeltaT": each.tolist(), "DeltaTUnit": [unit] * len(each)}
    return write(path, (frames, 2, 2, 4, 5), ome=True, metadata=metadata)


def spacings(ds):
    return [schema.spacing(ds, dim) for dim in "zyx"]


# times ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stamps", "times", "odd"),
    [
        ([0, 10, 20], [0, 10, 20], []),
        ([5, 15.5, 26], [5, 15.5, 26], []),
        ([266.99, 266.99, 276.2], [266.99, 271.595, 276.2], [1]),
        ([0, 10, 5, 30, 40], [0, 10, 20, 30, 40], [2]),
        ([0, 1e6, 20, 30], [0, 10, 20, 30], [1]),
        ([None, 10, 20, 30], [0, 10, 20, 30], [0]),
        ([0, 10, None, None, 40, 50], [0, 10, 20, 30, 40, 50], [2, 3]),
        ([0, 10, 30, 40, None], [0, 10, 30, 40, 50], [4]),  # the median step is 10
        ([0, 10, None, None], [0, 10, 20, 30], [2, 3]),  # half of them good is enough
        ([0, None, None], None, [1, 2]),
        ([7, 7, 7, 7], None, [1, 2, 3]),
        ([None, None], None, [0, 1]),
        ([30, 20, 10], None, [1, 2]),
        ([4], [4], []),
    ],
)
def test_good_stamps_are_kept(stamps, times, odd):
    found, named = settled(stamps)
    assert named == odd
    assert found == (None if times is None else pytest.approx(times))


def test_stamps_of_some_frames():
    assert settled([20, None, 60], [2, 4, 6]) == ([20, 40, 60], [4])
    assert named([1]) == "frame 1"
    assert named(list(range(12))) == "frames 0, 1, 2, 3, 4, 5, 6, 7 and 4 more"


def test_a_stamp_that_stands_still(tmp_path):
    ds = open_tiff(ome(tmp_path / "a.ome.tif", [0, 60, 60, 180, 240]))
    assert ds.t.values.tolist() == [0, 60, 120, 180, 240]
    assert schema.spacing(ds, "t") == 60  # a movie of 4 minutes, not of 4 seconds
    assert "assumed" not in {k for k in ds.attrs if "apart" in str(ds.attrs[k])}
    assert ds.attrs["notes"] == [
        "DeltaT of frame 2 is missing, stands still or goes back; "
        "their times lie evenly between those of the others"
    ]


@pytest.mark.parametrize(("step", "said"), [(101, False), (99, False), (102, True), (98, True)])
def test_stamps_a_hundredth_off_the_increment_are_no_contradiction(tmp_path, step, said):
    path = ome(tmp_path / "a.ome.tif", [0.0, step, 2 * step], TimeIncrement=100.0)
    ds = open_tiff(path)
    assert ds.t.values.tolist() == [0, step, 2 * step]
    line = f"frames are {step} s apart by DeltaT of their planes, which is taken; "
    notes = [f"{line}TimeIncrement says 100 s"] if said else []
    assert ds.attrs.get("notes", []) == notes


def test_one_odd_plane_does_not_make_its_frame_odd(tmp_path):
    stamps = np.array([[t * 10.0 + i for i in range(4)] for t in range(4)])
    stamps[2, 1] = 0  # of a frame at 20 s
    ds = open_tiff(ome(tmp_path / "a.ome.tif", stamps.tolist()))
    assert ds.t.values.tolist() == [0, 10, 20, 30]
    stamps[:, 2:] = 0  # a channel without stamps says 0 everywhere
    ds = open_tiff(ome(tmp_path / "b.ome.tif", stamps.tolist()))
    assert ds.t.values.tolist() == [0, 10, 20, 30]
    stamps[1] = 5e5
    ds = open_tiff(ome(tmp_path / "c.ome.tif", stamps.tolist()))
    assert ds.t.values.tolist() == [0, 10, 20, 30]
    assert "frame 1 is missing" in ds.attrs["notes"][0]


@pytest.mark.parametrize(
    ("unit", "step"), [("min", 60), ("h", 3600), ("ms", 1e-3), ("d", 86_400), ("\u00b5s", 1e-6)]
)
def test_units_of_stamps(tmp_path, unit, step):
    ds = open_tiff(ome(tmp_path / "a.ome.tif", [0, 1, 2], unit))
    assert ds.t.values.tolist() == pytest.approx([0, step, 2 * step])


@pytest.mark.parametrize(
    ("said", "interval", "line"),
    [
        ({"TimeIncrement": 30.0}, 30, None),
        ({"TimeIncrement": 0.5, "TimeIncrementUnit": "min"}, 30, None),
        ({}, 1, "frames are 1 s apart: the file is silent"),
        (
            {"TimeIncrement": 3, "TimeIncrementUnit": "frame"}, 1,
            "frames are 1 s apart: TimeIncrement is 3 'frame', which is no time; say interval=",
        ),
        ({"TimeIncrement": -2}, 1, "frames are 1 s apart: TimeIncrement is '-2'; say interval="),
    ],
)  # fmt: skip
def test_the_increment(tmp_path, said, interval, line):
    ds = open_tiff(ome(tmp_path / "a.ome.tif", **said))
    assert ds.t.values.tolist() == [0, interval, 2 * interval]
    found = [each for each in ds.attrs["assumed"] if "apart" in each]
    assert found == ([line] if line else [])
    over = open_tiff(tmp_path / "a.ome.tif", interval=5)
    assert over.t.values.tolist() == [0, 5, 10]
    assert not [each for each in over.attrs["assumed"] if "apart" in each]


def test_stamps_that_never_rise(tmp_path):
    ds = open_tiff(ome(tmp_path / "a.ome.tif", [0, 0, 0], TimeIncrement=30.0))
    assert ds.t.values.tolist() == [0, 30, 60]
    assert ds.attrs["notes"] == [
        "DeltaT of its planes does not rise from frame to frame; TimeIncrement is taken"
    ]
    ds = open_tiff(ome(tmp_path / "b.ome.tif", [3, 2, 1]))
    assert ds.attrs["assumed"][-1] == (
        "frames are 1 s apart: DeltaT of its planes does not rise from frame to frame; "
        "say interval="
    )
    ds = open_tiff(ome(tmp_path / "c.ome.tif", [1, 2, 3], "frame"))
    assert "DeltaT of a plane is '1' 'frame', which is no time" in ds.attrs["assumed"][-1]


@pytest.mark.parametrize(
    ("told", "noted"), [(10.0, False), (10.1, False), (10.2, True), (9.9, True)]
)
def test_an_increment_beside_stamps(tmp_path, told, noted):
    """Stamps are 10 s apart; a hundredth of the increment may lie between."""
    ds = open_tiff(ome(tmp_path / "a.ome.tif", [0, 10, 20], TimeIncrement=told))
    assert ds.t.values.tolist() == [0, 10, 20]
    assert bool(ds.attrs.get("notes")) == noted


@pytest.mark.parametrize("key", ["TimeIncrementUnit", "DeltaTUnit"])
def test_a_time_in_a_unit_that_nobody_knows(tmp_path, key):
    path = tmp_path / "a.ome.tif"
    if key == "DeltaTUnit":
        ome(path, [0, 1, 2], "fortnight")
    else:
        ome(path, TimeIncrement=3, TimeIncrementUnit="fortnight")
    with pytest.raises(InputError, match=r"a.ome.tif: .* is in 'fortnight'.*say interval="):
        open_tiff(path)
    assert open_tiff(path, interval=2).t.values.tolist() == [0, 2, 4]


# lengths ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("unit", "size"),
    [
        ("inch", 12_700),
        ("in", 12_700),
        ("thou", 12.7),
        ("\u00c5", 5e-5),
        ("micron", 0.5),
        ("cm", 5e3),
    ],
)
def test_sizes_of_ome(tmp_path, unit, size):
    said = {f"PhysicalSize{d}": 0.5 for d in "XYZ"} | {f"PhysicalSize{d}Unit": unit for d in "XYZ"}
    ds = open_tiff(ome(tmp_path / "a.ome.tif", **said))
    assert spacings(ds) == pytest.approx([size] * 3)
    assert not [line for line in ds.attrs.get("assumed", ()) if "voxel" in line]


@pytest.mark.parametrize(
    ("size", "unit", "reason"),
    [
        (0.5, "pixel", "is 0.5 'pixel', which is no length"),
        (0.5, "reference frame", "is 0.5 'reference frame', which is no length"),
        (0, "um", "is '0'"),
        (1e308, "um", "is 1e+308 um, which no length can be"),
        (1e306, "m", "is 1e+306 m, which no length can be"),
    ],
)
def test_sizes_that_are_none(tmp_path, size, unit, reason):
    said = {"PhysicalSizeX": size, "PhysicalSizeXUnit": unit, "PhysicalSizeY": 0.25}
    ds = open_tiff(ome(tmp_path / "a.ome.tif", **said))
    assert spacings(ds) == [1, 0.25, 1]  # the good one stays
    assert np.isfinite(ds.x).all()
    line = f"voxel size along x is 1 micrometre: PhysicalSizeX {reason}; say spacing=[z, y, x]"
    assert line in ds.attrs["assumed"]
    assert "voxel size along z is 1 micrometre: the file is silent" in ds.attrs["assumed"]
    over = open_tiff(tmp_path / "a.ome.tif", spacing=[2, 0.5, 0.5])
    assert spacings(over) == [2, 0.5, 0.5]
    assert not [line for line in over.attrs["assumed"] if "voxel" in line]


def test_a_length_in_a_unit_that_nobody_knows(tmp_path):
    path = ome(tmp_path / "a.ome.tif", PhysicalSizeX=1.0, PhysicalSizeXUnit="furlong")
    with pytest.raises(InputError, match=r"a.ome.tif: PhysicalSizeX is in 'furlong'.*say spacing="):
        open_tiff(path)
    assert spacings(open_tiff(path, spacing=[1, 2, 3])) == [1, 2, 3]


@pytest.mark.parametrize(
    "options",
    [
        {"spacing": [1, 2]},
        {"spacing": [1, 2, 0]},
        {"spacing": "abc"},
        {"interval": 0},
        {"interval": np.inf},
        {"series": -1},
        {"series": True},
    ],
)
def test_options_that_cannot_work(tmp_path, options):
    with pytest.raises(UsageError, match=next(iter(options))):
        open_tiff(tmp_path / "a.tif", **options)


def test_places_that_are_not_finite_are_refused_wherever_they_come_from():
    pixels = np.zeros((2, 1, 3, 4, 5), "u1")
    ds = schema.movie(pixels)
    for said in ({"spacing": [1, 1, 1e308]}, {"origin": [0, np.inf, 0]}, {"interval": 1e308}):
        with pytest.raises(
            SchemaError, match=r"no finite places and times|set origin|leads beyond all numbers"
        ):
            schema.revise(ds, **said)
    with pytest.raises(SchemaError, match="no finite places and times"):
        schema.movie(pixels, times=[0, np.nan])


# ImageJ -----------------------------------------------------------------------------------------


def imagej(path, resolution=(2, 2), shape=(3, 2, 4, 5), axes="TZYX", **said):
    return write(path, shape, imagej=True, metadata={"axes": axes} | said, resolution=resolution)


@pytest.mark.parametrize(
    ("unit", "pixel"),
    [
        ("um", 0.5), ("micron", 0.5), ("microns", 0.5), ("micrometer", 0.5), ("\\u00B5m", 0.5),
        ("nm", 5e-4), ("mm", 500), ("cm", 5e3), ("inch", 12_700), ("inches", 12_700), ("m", 5e5),
    ],
)  # fmt: skip
def test_units_of_imagej(tmp_path, unit, pixel):
    ds = open_tiff(imagej(tmp_path / "a.tif", unit=unit, spacing=3, finterval=2))
    assert spacings(ds) == pytest.approx([6 * pixel, pixel, pixel])  # 2 pixels a unit, planes 3
    assert "assumed" not in ds.attrs


@pytest.mark.parametrize("unit", ["pixel", "pixels", "voxel"])
def test_pixels_of_imagej(tmp_path, unit):
    ds = open_tiff(imagej(tmp_path / "a.tif", unit=unit, spacing=3, finterval=2))
    assert spacings(ds) == [1, 1, 1]
    assert f"the pixel size along x is 0.5 {unit!r}, which is no length" in str(ds.attrs["assumed"])
    assert f"the spacing of planes is 3 {unit!r}, which is no length" in str(ds.attrs["assumed"])


def test_a_unit_of_imagej_that_nobody_knows(tmp_path):
    path = imagej(tmp_path / "a.tif", unit="furlong")
    with pytest.raises(InputError, match="the pixel size along y is in 'furlong'"):
        open_tiff(path)
    assert spacings(open_tiff(path, spacing=[1, 2, 3])) == [1, 2, 3]
    path = imagej(tmp_path / "b.tif", unit="um", finterval=2, tunit="moon")
    with pytest.raises(InputError, match=r"finterval is in 'moon'.*say interval="):
        open_tiff(path)
    assert schema.spacing(open_tiff(path, interval=3), "t") == 3


def test_each_axis_of_imagej_has_a_unit(tmp_path):
    ds = open_tiff(imagej(tmp_path / "a.tif", unit="um", zunit="nm", spacing=300, finterval=1))
    assert spacings(ds) == pytest.approx([0.3, 0.5, 0.5])
    ds = open_tiff(imagej(tmp_path / "b.tif", unit="um", spacing=-2, finterval=1))
    assert spacings(ds) == [2, 0.5, 0.5]
    assert ds.attrs["notes"] == ["the spacing of planes is -2; its size is taken"]


@pytest.mark.parametrize(
    ("said", "step", "line"),
    [
        ({"finterval": 2}, 2, None),
        ({"finterval": 500, "tunit": "msec"}, 0.5, None),
        ({"finterval": 2, "tunit": "min"}, 120, None),
        ({"finterval": 2, "tunit": "hours"}, 7200, None),
        ({"fps": 4}, 0.25, "by fps=4, often the speed of showing them"),
        ({"finterval": 30, "fps": 7}, 30, None),
        ({"finterval": 0, "fps": 10}, 0.1, "by fps=10"),
        ({"finterval": 0}, 1, "the file is silent"),
        ({"finterval": 2, "tunit": "frame"}, 1, "finterval is 2 'frame', which is no time"),
    ],
)
def test_times_of_imagej(tmp_path, said, step, line):
    ds = open_tiff(imagej(tmp_path / "a.tif", unit="um", spacing=1, **said))
    assert schema.spacing(ds, "t") == pytest.approx(step)
    found = ds.attrs.get("assumed", [])
    assert found == [] if line is None else line in found[0]


def test_grey_values_that_imagej_calibrates_are_as_stored(tmp_path):
    ds = open_tiff(imagej(tmp_path / "a.tif", unit="um", finterval=1, cf=0, c0=-32768, c1=1))
    assert "c0=-32768" in ds.attrs["notes"][0]
    assert int(ds.image.max()) == 0


# tags, and other programs -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("unit", "size"), [(3, 5.0), (4, 0.5), (5, 0.0005)], ids=["cm", "mm", "um"]
)
def test_resolution_units(tmp_path, unit, size):
    """2000 pixels a centimetre are 5 um each, 2000 a millimetre 0.5."""
    path = write(tmp_path / "a.tif", (4, 5), resolution=(2000, 2000), resolutionunit=unit)
    ds = open_tiff(path)
    assert spacings(ds)[1:] == pytest.approx([size, size])
    assert "assumed" not in ds.attrs


def test_a_resolution_unit_that_nobody_knows(tmp_path):
    path = write(tmp_path / "a.tif", (4, 5), resolution=(2000, 2000), resolutionunit=3)
    with tifffile.TiffFile(path, mode="r+b") as file:
        file.pages[0].tags["ResolutionUnit"].overwrite(9)
    with pytest.raises(InputError, match=r"its resolution is in unit 9, .*say spacing="):
        open_tiff(path)
    assert spacings(open_tiff(path, spacing=[1, 2, 3])) == [1, 2, 3]


def test_what_programs_hand_tifffile(tmp_path):
    said = {"axes": "TZYX", "PhysicalSizeX": 250, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.5}
    said |= {"PhysicalSizeZ": 2, "TimeIncrement": 2, "TimeIncrementUnit": "min"}
    ds = open_tiff(write(tmp_path / "a.tif", (3, 2, 4, 5), metadata=said))
    assert spacings(ds) == [2, 0.5, 0.25]
    assert schema.spacing(ds, "t") == 120
    said = {"axes": "TZYX", "unit": "um", "spacing": 2, "finterval": 30}
    ds = open_tiff(write(tmp_path / "b.tif", (3, 2, 4, 5), metadata=said, resolution=(4, 4)))
    assert spacings(ds) == [2, 0.25, 0.25]
    assert schema.spacing(ds, "t") == 30


def test_crops_take_the_same_words(tmp_path):
    path = imagej(tmp_path / "Neu1_cell1.tif", unit="furlong", axes="TYX", shape=(3, 4, 5))
    with pytest.raises(InputError, match="in 'furlong'"):
        open_crops(path)
    ds = open_crops(path, spacing=[1, 2, 3], interval=4)
    assert [ds[dim].attrs["spacing"] for dim in "tyx"] == [4, 2, 3]
    stamps = {"DeltaT": [0.0, 20, 40], "DeltaTUnit": ["s"] * 3}
    path = write(tmp_path / "Neu1_cell2.ome.tif", (3, 4, 5), ome=True,
                 metadata={"axes": "TYX", "Plane": stamps})  # fmt: skip
    assert open_crops(path).t.attrs["spacing"] == 20
    path = write(tmp_path / "Neu1_cell3.tif", (3, 2, 4, 5), metadata={"axes": "TZYX"})
    assert "voxel size along z, y, x is 1 micrometre" in open_crops(path).attrs["assumed"][0]


# --- what a description says and nobody understands -------------------------------------------

METAMORPH = (
    '<MetaData><PlaneInfo><prop id="spatial-calibration-state" type="bool" value="{}"/>'
    '<prop id="spatial-calibration-x" type="float" value="650"/>'
    '<prop id="spatial-calibration-y" type="float" value="650"/>'
    '<prop id="spatial-calibration-units" type="string" value="nm"/>'
    '<prop id="z-position" type="float" value="3"/></PlaneInfo></MetaData>'
)


def _described(folder, text, **said):
    path = folder / "a.tif"
    pixels = np.zeros((3, 4, 5), "u2")
    tifffile.imwrite(
        path, pixels, description=text, metadata=None, photometric="minisblack", **said
    )
    return open_tiff(path)


def test_a_description_that_nobody_understands_is_quoted(tmp_path):
    ds = _described(tmp_path, "SlideBook; frameInterval=30 s;\n0.5 um/pixel")
    quoted = "its description, 'SlideBook; frameInterval=30 s; 0.5 um/pixel', is not understood"
    assert ds.attrs["assumed"][:2] == [
        f"voxel size along y, x is 1 micrometre: {quoted}; say spacing=[z, y, x]",
        f"frames are 1 s apart: {quoted}; say interval=",
    ]


def test_words_of_tifffiles_json_that_are_not_read_are_quoted(tmp_path):
    path = tmp_path / "a.tif"
    said = {"axes": "TYX", "finterval": 30, "pixel_um": 0.5}
    tifffile.imwrite(path, np.zeros((3, 4, 5), "u2"), metadata=said, photometric="minisblack")
    ds = open_tiff(path)
    assert ds["t"].values.tolist() == [0, 30, 60]
    assert "its description, '{\"pixel_um\": 0.5}', is not understood" in ds.attrs["assumed"][0]


@pytest.mark.parametrize(("state", "expected"), [("on", 0.65), ("off", 1.0)])
def test_the_pixel_size_of_metamorph(tmp_path, state, expected):
    ds = _described(tmp_path, METAMORPH.format(state))
    assert schema.spacing(ds, "x") == schema.spacing(ds, "y") == pytest.approx(expected)
    assert any("voxel size" in line for line in ds.attrs["assumed"]) == (state == "off")


def test_the_pixel_size_of_a_plane_of_micromanager(tmp_path):
    held = json.dumps({"PixelSizeUm": 0.65}).encode()
    ds = _described(tmp_path, None, extratags=[(51123, 2, 0, held, True)])
    assert schema.spacing(ds, "y") == 0.65


def test_pages_that_are_dated_are_not_silent(tmp_path):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as tif:
        for second in (0, 20, 40):
            page = np.zeros((4, 5), "u2")
            tif.write(page, metadata=None, datetime=f"2026:01:05 10:00:{second:02d}")
    said = "its 3 pages are dated from '2026:01:05 10:00:00' to '2026:01:05 10:00:40'"
    assert f"frames are 1 s apart: {said}; say interval=" in open_tiff(path).attrs["assumed"]


def test_places_of_the_stage_are_not_silence(tmp_path):
    path = tmp_path / "a.ome.tif"
    planes = {"PositionZ": [0.0, 2.5, 5.0], "PositionZUnit": ["\u00b5m"] * 3}
    said = {"axes": "ZYX", "Plane": planes}
    tifffile.imwrite(path, np.zeros((3, 4, 5), "u2"), ome=True, metadata=said)
    line = "voxel size along z is 1 micrometre: PositionZ of its planes goes by 2.5 \u00b5m"
    assert f"{line}; say spacing=[z, y, x]" in open_tiff(path).attrs["assumed"]


def test_slices_of_imagej_that_may_be_frames_are_noted(tmp_path):
    said = "ImageJ=1.54f\nimages=3\nslices=3\nunit=micron\nfinterval=30\n"
    path = tmp_path / "a.tif"
    (note,) = _described(tmp_path, said).attrs["notes"]
    assert note.startswith("its 3 images are slices of one frame, and finterval is 30 s: if they")
    assert open_tiff(path, axes="TYX").t.values.tolist() == [0, 30, 60]
    assert "notes" not in open_tiff(path, interval=5).attrs


@pytest.mark.parametrize(
    ("photometric", "said"),
    [("miniswhite", "0 is white"), ("palette", "values are places in a table"), ("minisblack", "")],
)
def test_values_that_are_no_brightness_are_said(tmp_path, photometric, said):
    table = {"colormap": np.zeros((3, 256), "u2")} if photometric == "palette" else {}
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.full((4, 5), 7, "u1"), photometric=photometric, **table)
    ds = open_tiff(path)
    assert (ds.image.values == 7).all()
    assert [line.startswith(said) for line in ds.attrs.get("notes", [])] == [True] * bool(said)
