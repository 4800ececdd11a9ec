"""The TIFF reader: real files against tifffile, every way of storing planes, every bad input."""

import logging
import pickle
import shutil
from pathlib import Path
from types import SimpleNamespace

import fsspec
import numpy as np
import psutil
import pytest
import tifffile

from dpipe import schema
from dpipe.errors import InputError, StoreError, UsageError
from dpipe.formats import ome_xml as ome
from dpipe.formats import tiff
from dpipe.formats import tiff_metadata as metadata
from dpipe.readers import open_crops, open_tiff
from dpipe.readers.tiff import opening
from dpipe.readers.tiff.files import find
from dpipe.sources import Item, list_items


def values(ds):
    return ds.image.data.compute(scheduler="synchronous")


def noise(shape, dtype="u2"):
    rng = np.random.default_rng(0)
    return rng.integers(0, 200, shape).astype(dtype)


def write(path, pixels, **said):
    tifffile.imwrite(path, pixels, **({"photometric": "minisblack"} | said))


def movie(tmp_path, name="a.tif", shape=(3, 2, 4, 20, 30), **said):
    """Write (t, c, z, y, x) as OME-TIFF unless told otherwise."""
    pixels = noise(shape)
    path = tmp_path / name
    write(path, pixels, **({"ome": True, "metadata": {"axes": "TCZYX"}} | said))
    return path, pixels


def series(folder, numbers, name="t{:03d}.tif", shape=(3, 8, 9)):
    """Write a file for each time point; frame n holds n plus a ramp."""
    folder.mkdir(parents=True, exist_ok=True)
    for n in numbers:
        pixels = np.arange(np.prod(shape), dtype="u2").reshape(shape) + n
        write(folder / name.format(n), pixels)
    return [str(folder / name.format(n)) for n in numbers]


# real files -------------------------------------------------------------------------------------

REAL = {
    "ctc movie, axes not named": (
        "timelapse/fluo_n3dh_cho/Fluo-N3DH-CHO_02_img.tif",
        {},
        {"t": 20, "c": 1, "z": 5, "y": 443, "x": 512},
    ),
    "ctc labels, axes named wrongly": (
        "timelapse/fluo_n3dh_cho/Fluo-N3DH-CHO_02_ERR_SEG.tif",
        {"axes": "TZYX"},
        {"t": 20, "c": 1, "z": 5, "y": 443, "x": 512},
    ),
    "ctc labels, as the file says": (
        "timelapse/fluo_n3dh_cho/Fluo-N3DH-CHO_02_ERR_SEG.tif",
        {},
        {"t": 1, "c": 5, "z": 20, "y": 443, "x": 512},
    ),
    "2-D movie": (
        "timelapse/laptrack/example_images.tif",
        {},
        {"t": 6, "c": 1, "z": 1, "y": 200, "x": 200},
    ),
    "ome, big endian": (
        "formats/ome_tiff/viv_multi-channel.ome.tif",
        {},
        {"t": 1, "c": 3, "z": 1, "y": 167, "x": 439},
    ),
    "stack": (
        "nuclei/stardist3d/img3d.tif",
        {"axes": "zyx"},
        {"t": 1, "c": 1, "z": 31, "y": 61, "x": 57},
    ),
    "imagej plane": (
        "nuclei/bbbc007/AS_09125_040701150004_A02f00d0.tif",
        {},
        {"t": 1, "c": 1, "z": 1, "y": 340, "x": 340},
    ),
    "colours": (
        "reference/galaxy_2d_features/input/input3_uint16.tiff",
        {},
        {"t": 1, "c": 3, "z": 1, "y": 58, "x": 64},
    ),
    "lzw with predictor": (
        "livecell/images/livecell_train_val_images/A172/A172_Phase_A7_1_00d00h00m_1.tif",
        {},
        {"t": 1, "c": 1, "z": 1, "y": 520, "x": 704},
    ),
}


@pytest.mark.parametrize(("path", "options", "sizes"), REAL.values(), ids=REAL)
def test_real_files(shared_data, path, options, sizes):
    file = shared_data / path
    ds = open_tiff(file, **options)
    assert dict(ds.sizes) == sizes
    expected = tifffile.imread(file)
    if "x" in sizes and expected.shape[-1] == 3:  # colour samples are channels
        expected = np.moveaxis(expected, -1, 0)
    if "as the file says" in path or (sizes["c"], sizes["z"]) == (5, 20):
        expected = expected.swapaxes(0, 1)  # the file is (z, c, y, x)
    np.testing.assert_array_equal(values(ds).squeeze(), expected)
    assert ds.image.dtype == expected.dtype


def test_real_numbered_series(shared_data):
    items = list_items(shared_data / "timelapse" / "faketracks" / "raw")
    ds = open_tiff([item.uri for item in items])
    assert dict(ds.sizes) == {"t": 50, "c": 1, "z": 1, "y": 128, "x": 128}
    # every file says finterval=1
    np.testing.assert_array_equal(ds.t, np.arange(50))
    for t in (0, 7, 49):
        np.testing.assert_array_equal(
            ds.image[t, 0, 0], tifffile.imread(items[t].uri), err_msg=str(t)
        )


# how planes are stored --------------------------------------------------------------------------

STORED = {
    "ome": {},
    "ome, big file": {"bigtiff": True},
    "ome, big endian": {"byteorder": ">"},
    "ome, deflate, predictor": {"compression": "zlib", "predictor": True},
    "ome, lzw, predictor": {"compression": "lzw", "predictor": True},
    "ome, zstd, tiles": {"compression": "zstd", "tile": (16, 16)},
    "ome, tiles": {"tile": (16, 16)},
    "ome, packbits, strips": {"compression": "packbits", "rowsperstrip": 7},
    "ome, lzma": {"compression": "lzma"},
    "imagej": {"ome": False, "imagej": True},
    "tifffile": {"ome": False},
    "tifffile, axes unknown": {"ome": False, "metadata": {}},
    "tifffile, axes unknown, deflate": {"ome": False, "metadata": {}, "compression": "zlib"},
}


@pytest.mark.parametrize("said", STORED.values(), ids=STORED)
def test_however_planes_are_stored(tmp_path, said):
    pixels = noise((3, 2, 4, 20, 30))
    path = tmp_path / "a.tif"
    given = {"ome": True, "metadata": {"axes": "TCZYX"}} | said
    written = pixels
    if given.get("imagej"):
        written, given = pixels.swapaxes(1, 2), given | {"metadata": {"axes": "TZCYX"}}
    write(path, written, **given)
    ds = open_tiff(path)
    np.testing.assert_array_equal(values(ds), pixels)
    assert ds.image.dtype == "uint16"
    assert ds.image.data.chunksize == (1, 1, 4, 20, 30)
    region = {"t": slice(1, 3), "c": 1, "z": slice(1, 4, 2), "y": slice(3, 9), "x": 7}
    np.testing.assert_array_equal(ds.image.isel(region), pixels[1:3, 1, 1:4:2, 3:9, 7])


@pytest.mark.parametrize("dtype", ["i1", "u4", "f4", "f8", "i2"])
def test_dtypes(tmp_path, dtype):
    pixels = noise((2, 5, 6), dtype)
    write(tmp_path / "a.tif", pixels, compression="zlib")
    ds = open_tiff(tmp_path / "a.tif")
    assert ds.image.dtype == dtype
    np.testing.assert_array_equal(values(ds)[:, 0, 0], pixels)


def test_bits_become_bytes(tmp_path):
    pixels = noise((5, 16)) > 100
    write(tmp_path / "a.tif", pixels)
    ds = open_tiff(tmp_path / "a.tif")
    assert ds.image.dtype == "u1"
    np.testing.assert_array_equal(values(ds).squeeze(), pixels)


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_colour_samples_are_channels(tmp_path, planar):
    pixels = noise((4, 3, 5, 6), "u1")  # z, samples, y, x
    stored = pixels if planar == "separate" else np.moveaxis(pixels, 1, -1)
    axes = "ZSYX" if planar == "separate" else "ZYXS"
    write(
        tmp_path / "a.tif", stored, photometric="rgb", planarconfig=planar,
        compression="zlib", metadata={"axes": axes},
    )  # fmt: skip
    ds = open_tiff(tmp_path / "a.tif")
    np.testing.assert_array_equal(values(ds)[0], pixels.swapaxes(0, 1))
    assert ds.c.values.tolist() == ["red", "green", "blue"]
    assert ds.channel_color.values.tolist() == ["FF0000", "00FF00", "0000FF"]
    assert ds.image.data.chunksize[1] == 3  # a page holds them all


def test_a_plain_stack_of_unnamed_pages(tmp_path):
    pixels = noise((4, 5, 6))
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for page in pixels:
            file.write(page, metadata=None, contiguous=False, compression="lzw")
    ds = open_tiff(tmp_path / "a.tif")
    np.testing.assert_array_equal(values(ds)[:, 0, 0], pixels)
    assert ds.attrs["assumed"][-1] == "the axes that the file does not name are t"


def test_large_volumes_are_cut_along_z(tmp_path, monkeypatch):
    monkeypatch.setattr(opening, "BLOCK_BYTES", 3 * 20 * 30 * 2)
    path, pixels = movie(tmp_path)
    ds = open_tiff(path)
    assert ds.image.data.chunks[2] == (3, 1)
    np.testing.assert_array_equal(values(ds), pixels)


def test_one_of_several_images(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as file:
        file.write(noise((2, 5, 6)), metadata={"axes": "TYX", "Name": "first"})
        file.write(noise((3, 8, 9)), metadata={"axes": "ZYX", "Name": "second"})
    ds = open_tiff(tmp_path / "a.ome.tif", series=1)
    assert dict(ds.sizes) == {"t": 1, "c": 1, "z": 3, "y": 8, "x": 9}
    assert ds.attrs["name"] == "second"
    with pytest.raises(InputError, match=r"a.ome.tif: 2 images inside; choose one with series="):
        open_tiff(tmp_path / "a.ome.tif")
    with pytest.raises(InputError, match="no image 2; it holds 2"):
        open_tiff(tmp_path / "a.ome.tif", series=2)


def test_lazy_and_closed(tmp_path):
    path, pixels = movie(tmp_path, compression="zlib")
    ds = open_tiff(path)
    again = pickle.loads(pickle.dumps(ds))
    assert not [f for f in psutil.Process().open_files() if f.path == str(path)]
    kept = path.rename(tmp_path / "elsewhere.tif")
    with pytest.raises(InputError, match=r"no such file"):
        values(ds)
    kept.rename(path)
    np.testing.assert_array_equal(values(again), pixels)
    assert not [f for f in psutil.Process().open_files() if f.path == str(path)]


def test_from_memory(tmp_path):
    path, pixels = movie(tmp_path, compression="zlib")
    fsspec.filesystem("memory").pipe_file("/tiffs/a.ome.tif", path.read_bytes())
    np.testing.assert_array_equal(values(open_tiff("memory://tiffs/a.ome.tif")), pixels)


# what files say of their pixels -----------------------------------------------------------------


def test_ome_facts(tmp_path):
    path, _ = movie(
        tmp_path,
        metadata={
            "axes": "TCZYX",
            "Name": "Neu1",
            "AcquisitionDate": "2020-01-02T03:04:05",
            "PhysicalSizeX": 250.0,
            "PhysicalSizeXUnit": "nm",
            "PhysicalSizeY": 0.5,
            "PhysicalSizeZ": 0.002,
            "PhysicalSizeZUnit": "mm",
            "TimeIncrement": 0.5,
            "TimeIncrementUnit": "min",
            "Channel": {"Name": ["GFP", "RFP"], "Color": [16711935, -16776961]},
        },
    )
    ds = open_tiff(path)
    # 0.002 mm = 2 um, 250 nm = 0.25 um, half a minute = 30 s
    assert [schema.spacing(ds, dim) for dim in "tzyx"] == [30, 2, 0.5, 0.25]
    assert ds.t.values.tolist() == [0, 30, 60]
    assert ds.c.values.tolist() == ["GFP", "RFP"]
    # 0x00FF00FF is green, 0xFF0000FF (negative as a signed number) red
    assert ds.channel_color.values.tolist() == ["00FF00", "FF0000"]
    assert ds.attrs == {
        "format": "ome-tiff",
        "name": "Neu1",
        "recording_date": "2020-01-02T03:04:05",
    }


def test_ome_times_of_planes(tmp_path):
    planes = 3 * 2 * 4
    times = [t * 10.0 + 0.01 * i for t, i in ((i // 8, i % 8) for i in range(planes))]
    said = {"axes": "TCZYX", "Plane": {"DeltaT": times, "DeltaTUnit": ["s"] * planes}}
    ds = open_tiff(movie(tmp_path, metadata=said)[0])
    assert ds.t.values.tolist() == [0, 10, 20]  # of the first plane of each frame
    same = {"axes": "TCZYX", "Plane": {"DeltaT": [1.0] * planes}, "TimeIncrement": 5.0}
    ds = open_tiff(movie(tmp_path, "b.tif", metadata=same)[0])
    assert ds.t.values.tolist() == [0, 5, 10]  # planes that do not advance are not believed


@pytest.mark.parametrize(
    ("file", "number", "sizes", "expected"),
    [
        (
            "spim.ome.xml",
            2,
            {"t": 2, "c": 2},
            {
                "name": "Spim Sample Tile 1 Angle 2",
                "spacing": {"y": 10000.0, "x": 10000.0},
                "channels": ["Autofluorescence", "Green-OME"],
                "colors": ["FFFFFF", "00FF00"],
            },
        ),
        ("tubhiswt.ome.xml", 0, {"t": 20, "c": 2}, {"name": "tubhiswt", "spacing": {}}),
        ("tubhiswt.ome.xml", 1, {"t": 20, "c": 2}, {}),
        (
            "multi-channel-z-series-time-series.ome.xml",
            0,
            {"t": 5, "c": 2},
            {"recording_date": "2010-03-02T10:01:15", "colors": ["800000", "800000"]},
        ),
    ],
)
def test_ome_xml_of_others(shared_data, file, number, sizes, expected):
    xml = (shared_data / "formats" / "ome_xml" / file).read_text(encoding="utf-8")
    found = ome.ome_facts(xml, number, sizes, range(sizes["t"]), ("spacing", "interval"))
    if "spacing" in found:
        found["spacing"] = {d: s.value for d, s in found["spacing"].items() if s.value is not None}
    assert {key: found[key] for key in expected} == expected
    assert bool(found) == bool(expected)


def test_imagej_facts(tmp_path):
    table = np.zeros((3, 256), "u1")
    table[1] = np.arange(256)
    said = {
        "axes": "TZCYX",
        "unit": "micron",
        "spacing": 2.5,
        "finterval": 0.5,
        "tunit": "min",
        "LUTs": [table, table[::-1]],
    }
    write(tmp_path / "a.tif", noise((3, 4, 2, 5, 6)), imagej=True, metadata=said, resolution=(4, 2))
    ds = open_tiff(tmp_path / "a.tif")
    # 4 pixels a micrometre along x, 2 along y; half a minute
    assert [schema.spacing(ds, dim) for dim in "tzyx"] == [30, 2.5, 0.5, 0.25]
    assert ds.channel_color.values.tolist() == ["00FF00", "00FF00"]
    assert ds.attrs == {"format": "imagej-tiff"}


@pytest.mark.parametrize(
    ("unit", "spacing"),
    [("\\u00B5m", 0.5), ("nm", 0.0005), ("cm", 5000), ("inch", 12700), ("pixel", 1), ("", 1)],
)
def test_imagej_units(tmp_path, unit, spacing):
    said = {"axes": "TYX", "unit": unit, "fps": 4.0}
    write(tmp_path / "a.tif", noise((3, 5, 6)), imagej=True, metadata=said, resolution=(2, 2))
    ds = open_tiff(tmp_path / "a.tif")
    assert schema.spacing(ds, "x") == pytest.approx(spacing)
    assert schema.spacing(ds, "t") == 0.25  # 4 frames a second


@pytest.mark.parametrize(
    ("unit", "spacing", "reason"),
    [
        ("CENTIMETER", 5.0, ""),
        (4, 0.5, ""),  # millimetres
        (5, 0.0005, ""),  # micrometres
        ("INCH", 1.0, "2000 pixels an inch (12.7 um each) are mostly for printing"),
        ("NONE", 1.0, "its resolution is 2000, of no unit"),
    ],
)
def test_resolution_tags(tmp_path, unit, spacing, reason):
    # 2000 pixels a centimetre are 5 um each
    write(tmp_path / "a.tif", noise((5, 6)), resolution=(2000, 2000), resolutionunit=unit)
    ds = open_tiff(tmp_path / "a.tif")
    assert schema.spacing(ds, "x") == pytest.approx(spacing)
    told = f"voxel size along y, x is 1 micrometre: {reason}; say spacing=[z, y, x]"
    assert ds.attrs.get("assumed") == ([told] if reason else None)


def test_what_is_assumed_is_said(tmp_path):
    write(tmp_path / "a.tif", noise((3, 4, 5, 6)))
    assert open_tiff(tmp_path / "a.tif").attrs["assumed"] == [
        "voxel size along z, y, x is 1 micrometre: the file is silent",
        "frames are 1 s apart: the file is silent",
        "the axes that the file does not name are t, z",
    ]


# axes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "axes", "sizes"),
    [
        ((4, 5, 6), None, {"t": 4}),
        ((3, 4, 5, 6), None, {"t": 3, "z": 4}),
        ((2, 3, 4, 5, 6), None, {"t": 2, "c": 3, "z": 4}),
        ((4, 5, 6), "ZYX", {"z": 4}),
        ((4, 5, 6), "cyx", {"c": 4}),
        ((3, 4, 5, 6), "CZYX", {"c": 3, "z": 4}),
        ((3, 4, 5, 6), "ZTYX", {"z": 3, "t": 4}),
        ((1, 4, 5, 6), "ZYX", {"z": 4}),
    ],
)
def test_axes_that_a_file_does_not_name(tmp_path, shape, axes, sizes):
    pixels = noise(shape)
    write(tmp_path / "a.tif", pixels)
    ds = open_tiff(tmp_path / "a.tif", axes=axes)
    assert dict(ds.sizes) == {"t": 1, "c": 1, "z": 1, "y": 5, "x": 6} | sizes
    order = list((axes or "").lower()) or [d for d in "tczyx" if d in {*sizes, "y", "x"}]
    found = ds.image.squeeze().transpose(*order).data.compute()
    np.testing.assert_array_equal(found, pixels.squeeze())


@pytest.mark.parametrize("axes", ["", "TZ", "YYX", "PYX", "CSYX", "Y"])
def test_axes_that_are_none(tmp_path, axes):
    with pytest.raises(UsageError, match=f"axes='{axes}'"):
        open_tiff(tmp_path / "a.tif", axes=axes)


@pytest.mark.parametrize(
    ("shape", "said", "options", "message"),
    [
        ((3, 4, 5), {}, {"axes": "TCZYX"}, "names 5 axes; the file has \\(3, 4, 5\\)"),
        ((3, 4, 5), {}, {"axes": "YXT"}, "a page of it has shape \\(4, 5\\), which is not Y"),
        ((3, 4, 5), {"metadata": {"axes": "PYX"}}, {}, "axes PYX of .* make no movie"),
        ((2, 2, 2, 2, 4, 5), {}, {}, "axes TCZQYX of .* make no movie"),
    ],
)
def test_axes_that_do_not_fit(tmp_path, shape, said, options, message):
    write(tmp_path / "a.tif", noise(shape), **said)
    with pytest.raises(InputError, match=message):
        open_tiff(tmp_path / "a.tif", **options)


# series -----------------------------------------------------------------------------------------


def test_a_file_a_time_point(tmp_path):
    uris = series(tmp_path, range(3, 13))
    ds = open_tiff(uris[::-1])  # the order given does not matter
    assert dict(ds.sizes) == {"t": 10, "c": 1, "z": 3, "y": 8, "x": 9}
    np.testing.assert_array_equal(ds.image[:, 0, 0, 0, 0], np.arange(3, 13))
    # three planes of 72 pixels: the last one of the last file is 215 + 12
    assert int(ds.image[9, 0, 2, 7, 8]) == 227
    assert "z" in ds.attrs["assumed"][-1]


def test_a_plane_a_time_point_without_zeros_in_front(tmp_path):
    uris = series(tmp_path, range(8, 12), "Neu1_T{}.tiff", (8, 9))
    ds = open_tiff(uris)
    np.testing.assert_array_equal(ds.image[:, 0, 0, 0, 0], [8, 9, 10, 11])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: (f / "t002.tif").unlink(), "t002.tif: this time point is missing of 0 to 4"),
        (
            lambda f: (f / "t002.tif").rename(f / "t2.tif"),
            "t002.tif: this time point is missing of 0 to 4; found t2.tif",
        ),
        (lambda f: shutil.copy(f / "t002.tif", f / "t02.tif"), "is time point 2 too"),
        (lambda f: shutil.copy(f / "t002.tif", f / "u005.tif"), "differ in their last number only"),
        (lambda f: shutil.copy(f / "t002.tif", f / "some.tif"), "no number in its name"),
    ],
    ids=["missing", "unlike padding", "twice", "other name", "no number"],
)
def test_series_with_gaps(tmp_path, change, message):
    series(tmp_path, range(5))
    change(tmp_path)
    with pytest.raises(InputError, match=message):
        open_tiff([item.uri for item in list_items(tmp_path)])


@pytest.mark.parametrize(("number", "when"), [(3, "open"), (1, "compute")])
def test_series_of_unlike_files(tmp_path, number, when):
    uris = series(tmp_path, range(4))
    write(uris[number], noise((3, 8, 10)))
    message = rf"t00{number}.tif: uint16 of shape \(3, 8, 10\); the first .* \(3, 8, 9\)"
    if when == "open":
        with pytest.raises(InputError, match=message):
            open_tiff(uris)
    else:
        ds = open_tiff(uris)
        with pytest.raises(InputError, match=message):
            values(ds)


def test_a_series_of_movies_is_refused(tmp_path):
    for n in range(2):
        write(tmp_path / f"t{n}.tif", noise((3, 5, 6)), metadata={"axes": "TYX"})
    with pytest.raises(InputError, match="a file of a series is one time point; found axes TYX"):
        open_tiff([tmp_path / "t0.tif", tmp_path / "t1.tif"])


def test_no_file():
    with pytest.raises(UsageError, match="no file given"):
        open_tiff([])


# grouping by names ------------------------------------------------------------------------------


def grouped(*names):
    items = [Item(f"/raw/{name}", name, 1, "0") for name in names]
    return {part.stem: [item.path for item in part.items] for part in find(items)}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        pytest.param(
            ["CHO/01/t000.tif", "CHO/01/t001.tif", "CHO/02/t000.tif", "CHO/02/t001.tif"],
            {
                "CHO_01": ["CHO/01/t000.tif", "CHO/01/t001.tif"],
                "CHO_02": ["CHO/02/t000.tif", "CHO/02/t001.tif"],
            },
            id="cell tracking challenge",
        ),
        pytest.param(
            ["CHO/01/t000.tif", "CHO/01_GT/TRA/man_track000.tif", "CHO/01_ERR_SEG/mask000.tif"],
            {"CHO_01": ["CHO/01/t000.tif"]},
            id="what was made from a movie",
        ),
        pytest.param(["01/t1.tif"], {"01": ["01/t1.tif"]}, id="no parent"),
        pytest.param(["t1.tif", "t2.tif"], {"raw": ["t1.tif", "t2.tif"]}, id="at the root"),
        pytest.param(["run/t1.tif", "run/t2.tif"], {"run": ["run/t1.tif", "run/t2.tif"]}, id="run"),
        pytest.param(
            ["a/Neu1_T10.ome.tif", "a/Neu1_T2.ome.tif", "a/Neu2_T2.ome.tif"],
            {
                "Neu1": ["a/Neu1_T2.ome.tif", "a/Neu1_T10.ome.tif"],
                "Neu2_T2": ["a/Neu2_T2.ome.tif"],
            },
            id="natural order, and a single one",
        ),
        pytest.param(
            ["img001.tif", "img002.tif", "cat1.tif"],
            {"img001": ["img001.tif"], "img002": ["img002.tif"], "cat1": ["cat1.tif"]},
            id="numbers without a t are fields",
        ),
        pytest.param(
            ["a.TIFF", "b.ome.tiff", "c.btf", "d.png", "e"],
            {"a": ["a.TIFF"], "b": ["b.ome.tiff"], "c": ["c.btf"]},
            id="suffixes",
        ),
        pytest.param(
            ["a_t1.tif", "a_t1.tiff"], {"a_t1": ["a_t1.tiff"]}, id="unlike suffixes are apart"
        ),
    ],
)
def test_find(names, expected):
    assert grouped(*names) == expected


def test_a_web_folder_of_time_points():
    items = [Item(f"zenodo:123/t{n}.tif", f"t{n}.tif", 1, "0") for n in range(2)]
    assert [part.stem for part in find(items)] == ["zenodo-123"]


# bad input --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "a.tif: not a TIFF file"),
        (b"hello, I am a text", "a.tif: not a TIFF file"),
        (b"II*\0", "a.tif: damaged"),
        (b"II*\0\x08\0\0\0\0\0\0\0\0\0", "a.tif: "),
    ],
)
def test_not_a_tiff(tmp_path, data, message):
    (tmp_path / "a.tif").write_bytes(data)
    with pytest.raises(InputError, match=message) as caught:
        open_tiff(tmp_path / "a.tif")
    assert "\n" not in str(caught.value)


def test_no_such_file(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        open_tiff(tmp_path / "a.tif")
    with pytest.raises(InputError, match="no such file"):
        open_tiff(tmp_path)


@pytest.mark.parametrize("said", [STORED[k] for k in ("ome", "ome, lzw, predictor", "tifffile")])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.8, 0.99])
def test_truncated(tmp_path, said, share):
    path, _ = movie(tmp_path, **said)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(InputError, match=r"a.tif: (truncated|damaged|\d+ planes|page)"):
        values(open_tiff(path))


def test_one_directory_for_many_planes(tmp_path):
    """What is written where directories would need more than 4 GiB."""
    pixels = noise((3, 4, 20, 30))
    write(tmp_path / "a.tif", pixels, truncate=True, metadata={"axes": "TZYX"})
    np.testing.assert_array_equal(values(open_tiff(tmp_path / "a.tif"))[:, 0], pixels)
    data = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(data[:-1])
    with pytest.raises(InputError, match=f"truncated: {len(data)} bytes expected"):
        open_tiff(tmp_path / "a.tif")


def test_changed_between_open_and_read(tmp_path):
    path, _ = movie(tmp_path)
    ds = open_tiff(path)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 5000)
    with pytest.raises(InputError, match=r"truncated|damaged"):
        values(ds)


def test_pages_changed_between_open_and_read(tmp_path):
    path, _ = movie(tmp_path, compression="zlib")
    ds = open_tiff(path)
    with tifffile.TiffFile(path, mode="r+b") as file:
        file.pages[0].tags["ImageLength"].overwrite(19)
    with pytest.raises(InputError, match=r"page 0 has shape \(19, 30\); expected \(20, 30\)"):
        values(ds)


def test_damaged_pixels(tmp_path):
    path, _ = movie(tmp_path, compression="zlib")
    with tifffile.TiffFile(path) as file:
        offset = file.pages[3].dataoffsets[0]
    with path.open("r+b") as file:
        file.seek(offset + 30)
        file.write(bytes(60))
    ds = open_tiff(path)
    values(ds.isel(c=1))  # its planes are whole
    with pytest.raises(InputError, match=r"a.tif: damaged: "):
        values(ds)


@pytest.mark.parametrize(
    ("tag", "value", "message"),
    [
        ("ImageLength", 2_000_000_000, "promises"),
        ("Compression", 7, "compression .* is not read; known: none, LZW"),
        ("StripByteCounts", 0, "has no pixels"),
        ("StripByteCounts", 2_000_000, "truncated: .* expected"),
        ("StripOffsets", 10, "damaged"),
    ],
)
def test_headers_that_lie(tmp_path, tag, value, message):
    path = tmp_path / "a.tif"
    write(path, noise((20, 30)), compression="zlib", metadata=None)
    with tifffile.TiffFile(path, mode="r+b") as file:
        file.pages[0].tags[tag].overwrite(value)
    with pytest.raises(InputError, match=message):
        values(open_tiff(path))


def test_pages_of_unlike_size(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for width in (6, 7):
            file.write(noise((5, width)), metadata=None)
    with pytest.raises(
        InputError, match=r"a.tif: 2 unlike sizes of pages; choose .*0: YX \(5, 6\)"
    ):
        open_tiff(tmp_path / "a.tif")
    np.testing.assert_array_equal(
        values(open_tiff(tmp_path / "a.tif", series=1)).squeeze(), noise((5, 7))
    )


def test_complex_numbers_are_refused(tmp_path):
    write(tmp_path / "a.tif", noise((5, 6), "c8"))
    with pytest.raises(InputError, match="pixels are complex64; expected integers or floats"):
        open_tiff(tmp_path / "a.tif")


OME = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:a">'
    '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="6" '
    'SizeY="5" SizeZ="1" SizeC="1" SizeT="{frames}">{data}</Pixels></Image></OME>'
)


def write_ome(path, frames, data):
    write(path, noise((2, 5, 6)), description=OME.format(frames=frames, data=data), metadata=None)


def test_planes_that_are_missing(tmp_path):
    write_ome(tmp_path / "a.ome.tif", 3, '<TiffData IFD="0" PlaneCount="2"/>')
    with pytest.raises(InputError, match=r"a.ome.tif: 2 planes found, 3 expected"):
        open_tiff(tmp_path / "a.ome.tif")


def test_a_disk_that_fails_blames_no_input(tmp_path, monkeypatch):
    path, _ = movie(tmp_path, compression="zlib")
    ds = open_tiff(path)

    def fail(*args, **kwargs):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(tiff, "TiffPage", fail)
    with pytest.raises(StoreError, match=r"a.tif: cannot be read: .*Input/output error"):
        values(ds)


def test_what_tifffile_only_logs_is_an_error(tmp_path):
    path, _ = movie(tmp_path)
    logger = logging.getLogger("tifffile")
    before = list(logger.handlers)

    def read():
        with tiff.open_tiff_file(str(path), "a.tif"):
            logger.warning("this is fine")
            logger.error("this is\nnot")

    with pytest.raises(
        InputError, match=r"^a.tif: damaged: this is not; fetch or export it again$"
    ):
        read()
    assert logger.handlers == before


def test_names_of_parts_are_paths_below_the_source(tmp_path):
    series(tmp_path / "CHO" / "01", range(3))
    (part,) = find(list_items(tmp_path))
    assert part.stem == "CHO_01"
    assert [Path(item.uri).name for item in part.items] == ["t000.tif", "t001.tif", "t002.tif"]
    assert open_tiff([item.uri for item in part.items]).sizes["t"] == 3


@pytest.mark.parametrize(
    "said",
    [
        {"bitspersample": 12},
        {"photometric": "miniswhite"},
        {"photometric": "palette", "colormap": np.zeros((3, 256), "u2"), "dtype": "u1"},
        {"byteorder": ">", "compression": "lzw"},
    ],
    ids=["12 bits", "min is white", "palette", "big endian"],
)
def test_grey_values_are_as_stored(tmp_path, said):
    pixels = noise((20, 30)).astype(said.pop("dtype", "u2"))
    write(tmp_path / "a.tif", pixels, **said)
    np.testing.assert_array_equal(values(open_tiff(tmp_path / "a.tif")).squeeze(), pixels)


@pytest.mark.parametrize("axis", "APRHELVMJK")
def test_axes_that_a_movie_does_not_have(tmp_path, axis):
    """As OME's modulo, LSM and FluoView name them: said by their letter, and a way on."""
    write(tmp_path / "a.tif", noise((4, 5, 6)), metadata={"axes": f"{axis}YX"})
    with pytest.raises(InputError, match=f"axes {axis}YX of .* make no movie; say axes="):
        open_tiff(tmp_path / "a.tif")
    assert open_tiff(tmp_path / "a.tif", axes="TYX").sizes["t"] == 4


@pytest.mark.parametrize("kind", ["ome", "imagej", "tifffile"])
def test_headers_that_promise_planes_without_end(tmp_path, kind):
    """No list is made of them: neither here nor in tifffile."""
    path = tmp_path / "Neu1_cell1.tif"
    said = {"ome": {"ome": True}, "imagej": {"imagej": True}, "tifffile": {}}[kind]
    write(path, noise((3, 5, 6)), metadata={"axes": "TYX"}, **said)
    data = path.read_bytes()
    old, new = {
        "ome": (b'SizeT="3"', b'SizeT="3000000000"'),
        "imagej": (b"images=3\nframes=3\n", b"images=3\nframes=3000000000\n"),
        "tifffile": (b'{"shape": [3, 5, 6]', b'{"shape": [3000000000, 5, 6]'),
    }[kind]
    with tifffile.TiffFile(path, mode="r+b") as file:
        text = file.pages[0].tags["ImageDescription"].value.encode()
        assert old in text or kind == "imagej"
        new_text = text.replace(old, new).replace(b"frames=3\n", b"frames=3000000000\n")
        file.pages[0].tags["ImageDescription"].overwrite(new_text)
    assert path.read_bytes() != data
    for read in (open_tiff, open_crops):
        for options in ({}, {"whole_frames": True}):
            if read is open_tiff or not options:
                with pytest.raises(InputError, match=r"Neu1_cell1.tif: "):
                    read(path, **options)


@pytest.mark.parametrize(
    ("kind", "coords", "units", "expected"),
    [
        ("lsm", {"X": (0.0, 3.0), "Y": (0.0, 2.0), "Z": (0.0, 8.0), "T": np.array([0, 5.0])},
         {"X": "micrometer", "Y": "micrometer", "Z": "micrometer"}, [2, 0.5, 0.5, 5]),
        ("stk", {"X": np.arange(6) * 0.25}, {"X": "micrometer"}, [None, None, 0.25, None]),
        ("sis", {"T": np.array([0.0, 500])}, {"T": "millisecond"}, [None, None, None, 0.5]),
        ("fluoview", {}, {}, [None] * 4),
    ],
)  # fmt: skip
def test_headers_of_other_programs(kind, coords, units, expected):
    series = SimpleNamespace(kind=kind, axes="TZYX", shape=(2, 4, 4, 6), coords=coords, units=units)
    found = metadata._other(SimpleNamespace(series=[series]), 0, ("spacing", "interval"))
    sizes = [found["spacing"][dim] for dim in "zyx"] + [found["interval"]]
    assert [said.value for said in sizes] == expected
    silent = f"its {kind.upper()} header gives none"
    assert all(said.doubt == ("" if said.value else silent) for said in sizes)
