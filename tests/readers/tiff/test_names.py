"""Names of TIFF: what programs write, which files are one movie, and numbers that say nothing."""

import json
import struct

import numpy as np
import pytest
import tifffile

import dpipe
from dpipe import readers, schema
from dpipe.errors import InputError, UsageError
from dpipe.readers import open_tiff, open_tiff_series
from dpipe.readers.tiff import series
from dpipe.readers.tiff.files import find
from dpipe.readers.tiff.names import named, tagged
from dpipe.sources import Item, list_items


def write(path, value, shape=(5, 6), **said):
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, np.full(shape, value, "u2"), photometric="minisblack", **said)
    return path


def numbers(ds):
    return ds.image[..., 0, 0].values


def grouped(*names):
    items = [Item(f"/raw/{name}", name, 1, "0") for name in names]
    return {part.stem: [item.path for item in part.items] for part in find(items)}


# what names say -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stem", "dims", "texts", "rest"),
    [
        ("t000", "t", ["000"], ""),  # Cell Tracking Challenge
        ("Neu1_T12", "t", ["12"], "Neu1"),
        ("Series001_t00_z00_ch01", "tzc", ["00", "00", "01"], "Series001"),  # Leica LAS
        ("s_C001Z002T003", "czt", ["001", "002", "003"], "s"),  # Olympus FluoView
        ("Neut01z02c3", "tzc", ["01", "02", "3"], "Neu"),  # Nikon NIS
        ("Neu_t01xy03z02c1", "tzc", ["01", "02", "1"], "Neu_xy03"),
        ("exp_w1GFP_s2_t10", "ct", ["1GFP", "10"], "exp_s2"),  # MetaMorph
        ("stk_t0001_z0002_c0001", "tzc", ["0001", "0002", "0001"], "stk"),  # ImageJ
        ("tubhiswt_C1_TP42", "ct", ["1", "42"], "tubhiswt"),  # OME's samples
        ("multifile-Z3", "z", ["3"], "multifile"),
        ("spim_TL07_Angle1", "t", ["07"], "spim_Angle1"),  # OpenSPIM
        ("img_000000012_GFP_003", "tcz", ["000000012", "GFP", "003"], ""),  # Micro-Manager 1.4
        ("img_channel001_position000_time000000002_z003", "ctz", ["001", "000000002", "003"],
         "img_position000"),  # Micro-Manager 2.0
        ("frame_0001", "t", ["0001"], ""),
        ("Neu1_time-05", "t", ["05"], "Neu1"),
        ("Neu1_slice012", "z", ["012"], "Neu1"),
        ("Neu1_ch2", "c", ["2"], "Neu1"),
        ("C02_t001_z01", "tz", ["001", "01"], "C02"),  # a well
    ],
)  # fmt: skip
def test_what_programs_write(stem, dims, texts, rest):
    found = tagged(stem)
    assert (found.dims, list(found.texts), found.rest) == (dims, texts, rest)
    whole = "".join(a + b for a, b in zip(found.pieces, (*found.texts, ""), strict=True))
    assert whole == stem


@pytest.mark.parametrize(
    "stem",
    [
        "img001", "NAME_0000", "Neu1", "Neu1_cell1", "Neu2_ch1_cell3", "plate_c3", "A01t3",
        "A172_Phase_A7_1_00d00h00m_1", "man_track000", "IXMtest_A02_s1_w1", "mask000",
        "x_MMStack_Pos0", "exit5", "depth3", "Neu1_control2",
    ],
)  # fmt: skip
def test_names_that_do_not_say_what_they_count(stem):
    assert tagged(stem) is None


# grouping -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (
            ["d/S1_t00_ch00.tif", "d/S1_t00_ch01.tif", "d/S1_t01_ch00.tif", "d/S2_t00_ch00.tif"],
            {"S1": 3, "S2_t00_ch00": 1},
        ),
        (["d/t0_z0.tif", "d/t0_z1.tif"], {"d": 2}),
        (["01/t0_z0.tif", "01/t0_z1.tif"], {"01": 2}),
        (["C02_t01.tif", "C02_t02.tif", "C03_t01.tif", "C03_t02.tif"], {"C02": 2, "C03": 2}),
        (
            ["r/Pos0/img_000000000_GFP_000.tif", "r/Pos0/metadata.txt",
             "r/Pos1/img_000000000_GFP_000.tif", "r/Pos1/img_000000001_GFP_000.tif"],
            {"r_Pos0": 2, "r_Pos1": 2},
        ),
        (
            [f"run/Default/img_channel000_position000_time{t:09}_z000.tif" for t in range(2)]
            + ["run/Default/metadata.txt"],
            {"run": 3},
        ),
        (
            [f"run/img_channel000_position{p:03}_time{t:09}_z000.tif" for p in range(2)
             for t in range(2)],
            {"run_position000": 2, "run_position001": 2},
        ),
        (
            ["a_MMStack_Pos0.ome.tif", "a_MMStack_Pos0_1.ome.tif", "a_MMStack_Pos1.ome.tif"],
            {"a_MMStack_Pos0": 2, "a_MMStack_Pos1": 1},
        ),
        (["m-Z0.ome.tif", "m-Z1.ome.tif", "m.companion.ome", "n.companion.ome"], {"m": 3}),
    ],
    ids=["leica", "no head", "digits", "wells", "micro-manager 1.4", "micro-manager 2",
         "positions in one folder", "stacks", "companion"],
)  # fmt: skip
def test_find(names, expected):
    assert {stem: len(paths) for stem, paths in grouped(*names).items()} == expected


def test_find_numbered():
    names = ["a/Neu1_0001.tif", "a/Neu1_0002.tif", "a/0001.tif", "a/0002.tif", "a/mask.tif",
             "a/b01_DAPI.tif", "a/b02_DAPI.tif", "a/x.png"]  # fmt: skip
    items = [Item(f"/r/{name}", name, 9, "0") for name in names]
    found = {part.stem: len(part.items) for part in series.find(items)}
    assert found == {"Neu1": 2, "a": 2, "b": 2}


# opening ------------------------------------------------------------------------------------------


def leica(folder, t=2, z=3, c=2, name="S_t{t:02}_z{z:02}_ch{c:02}.tif", shape=(5, 6)):
    return {
        (i, j, k): write(folder / name.format(t=i, c=j, z=k), 100 * i + 10 * j + k, shape)
        for i in range(t)
        for j in range(c)
        for k in range(z)
    }


EXPECTED = np.array(
    [[[100 * t + 10 * c + z for z in range(3)] for c in range(2)] for t in range(2)]
)


@pytest.mark.parametrize(
    "name",
    ["S_t{t:02}_z{z:02}_ch{c:02}.tif", "s_C{c:03}Z{z:03}T{t:03}.tif", "Nt{t}z{z}c{c}.tif",
     "img_{t:09}_w{c}_{z:03}.tif", "S_t{t}_z{z}_ch{c}.tif"],
)  # fmt: skip
def test_planes_by_their_names(tmp_path, name):
    paths = list(leica(tmp_path, name=name).values())
    for given in (paths, paths[::-1]):
        ds = open_tiff(given)
        np.testing.assert_array_equal(numbers(ds), EXPECTED)
    region = ds.image.isel(t=1, c=slice(0, 2), z=slice(1, 3), y=3, x=slice(2, 4))
    np.testing.assert_array_equal(region[..., 0], EXPECTED[1, :, 1:])
    assert ds.image.data.chunksize == (1, 1, 3, 5, 6)


def test_more_than_nine_without_zeros_in_front(tmp_path):
    paths = [write(tmp_path / f"a_t{t}_z{z}.tif", 100 * t + z) for t in range(12) for z in range(2)]
    np.testing.assert_array_equal(numbers(open_tiff(paths))[:, 0, 1], 100 * np.arange(12) + 1)


def test_volumes_by_their_names(tmp_path):
    """Names count time and channel, each file holds planes."""
    paths = [
        write(tmp_path / f"a_t{t}_ch{c}.tif", 10 * t + c, (4, 5, 6))
        for t in range(2)
        for c in range(2)
    ]
    ds = open_tiff(paths)
    assert dict(ds.sizes) == {"t": 2, "c": 2, "z": 4, "y": 5, "x": 6}
    np.testing.assert_array_equal(numbers(ds)[..., 2], [[0, 1], [10, 11]])
    assert "the axes that the file does not name are z" in ds.attrs["assumed"]


def test_names_of_wavelengths_are_channels(tmp_path):
    paths = [
        write(tmp_path / f"e_w{k + 1}{dye}_t{t}.tif", 10 * t + k)
        for k, dye in enumerate(["GFP", "Cy5"])
        for t in range(2)
    ]
    ds = open_tiff(paths)
    assert ds.c.values.tolist() == ["GFP", "Cy5"]
    np.testing.assert_array_equal(numbers(ds)[..., 0], [[0, 1], [10, 11]])


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        ((1, 0, 1), "S_t01_z01_ch00.tif: this file is missing of t 00 to 01, z 00 to 02, ch?"),
        ((0, 1, 2), "S_t00_z02_ch01.tif: this file is missing"),
    ],
)
def test_a_file_that_is_missing(tmp_path, gone, message):
    paths = leica(tmp_path)
    paths.pop(gone).unlink()
    with pytest.raises(InputError, match=message.replace("ch?", "c 00 to 01")):
        open_tiff(list(paths.values()))
    ds = open_tiff(list(paths.values()), whole_frames=True, interval=10)
    np.testing.assert_array_equal(numbers(ds)[0], EXPECTED[1 - gone[0]])
    assert ds.t.values.tolist() == [10.0 * (1 - gone[0])]
    assert ds.attrs["notes"][0].startswith("time points left out since files of them are missing")


def test_gaps_in_time_and_depth(tmp_path):
    paths = [write(tmp_path / f"a_t{t}_z{z}.tif", 0) for t in (0, 1, 3) for z in range(2)]
    with pytest.raises(InputError, match=r"a_t0_z0.tif and its like: time point 2 is missing of 0"):
        open_tiff(paths)
    ds = open_tiff(paths, whole_frames=True, interval=2)
    assert ds.t.values.tolist() == [0, 2, 6]
    paths = [write(tmp_path / "b" / f"a_t{t}_z{z}.tif", 0) for t in (0, 1) for z in (0, 2)]
    with pytest.raises(InputError, match="plane 1 is missing of 0 to 2"):
        open_tiff(paths, whole_frames=True)


@pytest.mark.parametrize("number", [0, 1, 2, 3])
@pytest.mark.parametrize("dtype", ["u1", "i2", "u4", "f4"])
def test_files_of_unlike_dtype_are_refused(tmp_path, number, dtype):
    """300 must not become 44, wherever the odd file stands."""
    paths = [write(tmp_path / f"a_t{t}.tif", 300) for t in range(4)]
    tifffile.imwrite(paths[number], np.full((5, 6), 44, dtype), photometric="minisblack")
    odd, first = sorted({np.dtype(dtype).name, "uint16"}, key="uint16".__eq__, reverse=not number)
    with pytest.raises(InputError, match=rf"{odd} of shape \(5, 6\); the first .* is {first}"):
        open_tiff(paths).image.compute()


def test_files_that_hold_what_their_names_count(tmp_path):
    paths = [
        write(tmp_path / f"a_z{z}.tif", z, (4, 5, 6), metadata={"axes": "ZYX"}) for z in (0, 1)
    ]
    with pytest.raises(
        InputError, match="its name counts z, and it holds 4 of z itself; say axes="
    ):
        open_tiff(paths)
    assert open_tiff(paths, axes="TYX").sizes["t"] == 4


def test_names_that_make_no_grid_take_no_time(tmp_path):
    """Three numbers of 500 files each that never meet: 125 million places."""
    paths = [f"{tmp_path}/a_t{n}_z{n}_ch{n}.tif" for n in range(500)]
    with pytest.raises(InputError, match=r"a_t0_z0_ch0.tif and its like: 500 files of 125000000"):
        named(paths)
    far = [write(tmp_path / f"a_{n}.tif", 0) for n in (1, 10**15)]
    with pytest.raises(InputError, match="2 of 1 to 1000000000000000 are there"):
        open_tiff(far, whole_frames=True)


# numbers that say nothing -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "sizes", "order"),
    [("t", {"t": 4}, (4, 1, 1)), ("z", {"z": 4}, (1, 1, 4)), ("c", {"c": 4}, (1, 4, 1))],
)
def test_numbered_files_count_what_a_person_says(tmp_path, files, sizes, order):
    paths = [write(tmp_path / f"NAME_{n:04}.tif", n) for n in range(4)]
    ds = open_tiff_series(paths[::-1], files=files)
    assert dict(ds.sizes) == {"t": 1, "c": 1, "z": 1, "y": 5, "x": 6} | sizes
    np.testing.assert_array_equal(numbers(ds), np.arange(4).reshape(order))


def test_numbered_files_count_time_unless_somebody_says(tmp_path):
    paths = [write(tmp_path / f"NAME_{n:04}.tif", n) for n in range(2)]
    ds = open_tiff_series(paths)
    assert ds.sizes["t"] == 2
    assert ds.attrs["assumed"][-1] == (
        "the numbers of the files count time points; say files=z for planes, files=c for channels"
    )


def test_volumes_of_numbered_channels(tmp_path):
    paths = [write(tmp_path / f"NAME_{n}.tif", n, (3, 2, 5, 6), metadata={"axes": "TZYX"})
             for n in (1, 2)]  # fmt: skip
    ds = open_tiff_series(paths, files="c")
    np.testing.assert_array_equal(numbers(ds)[1, :, 1], [1, 2])
    assert dict(ds.sizes) == {"t": 3, "c": 2, "z": 2, "y": 5, "x": 6}


def test_numbered_files_of_several_frames_follow_each_other(tmp_path):
    """As cameras cut recordings; the last one holds what is left."""
    paths = [
        write(tmp_path / f"run_{k}.tif", k, (n, 5, 6), metadata={"axes": "TYX", "finterval": 2})
        for k, n in enumerate((3, 3, 2))
    ]
    ds = open_tiff_series(paths, files="t")
    assert numbers(ds)[:, 0, 0].tolist() == [0, 0, 0, 1, 1, 1, 2, 2]
    assert ds.t.values.tolist() == [0, 2, 4, 6, 8, 10, 12, 14]
    assert numbers(ds.isel(t=slice(2, 7)))[:, 0, 0].tolist() == [0, 1, 1, 1, 2]
    write(paths[1], 1, (3, 5, 7), metadata={"axes": "TYX"})
    with pytest.raises(InputError, match=r"run_1.tif: uint16 of shape \(3, 5, 7\); the first"):
        open_tiff_series(paths, files="t")


def test_gaps_in_numbered_files(tmp_path):
    paths = [write(tmp_path / f"NAME_{n:04}.tif", n) for n in (0, 1, 3)]
    for files, what in (("z", "plane"), ("t", "time point")):
        with pytest.raises(InputError, match=f"NAME_0002.tif: this {what} is missing of 0 to 3"):
            open_tiff_series(paths, files=files)
    assert open_tiff_series(paths, files="t", whole_frames=True).sizes["t"] == 3
    with pytest.raises(UsageError, match=r"files='x'; expected 't' \(time points\), 'z'"):
        open_tiff_series(paths, files="x")


def test_a_numbered_file_says_how_it_could_be_read(tmp_path):
    paths = [write(tmp_path / f"NAME_{n:04}.tif", n) for n in range(3)]
    notes = [open_tiff(path).attrs.get("notes") for path in paths]
    assert notes[1:] == [None, None]  # once a series
    assert notes[0] == [
        "NAME_0001.tif lies beside it: if such files are frames, planes or channels of one movie, "
        "read them with reader tiff-series and files=t, files=z or files=c"
    ]
    assert open_tiff(write(tmp_path / "b" / "x_7.tif", 0)).attrs.get("notes") is None
    late = [write(tmp_path / "c" / f"x{n}.tif", n) for n in (8, 9, 10)]
    assert "x9.tif lies beside it" in open_tiff(late[0]).attrs["notes"][0]
    named = [write(tmp_path / "d" / f"x ({n}).tif", n) for n in (1, 2)]
    assert "x (2).tif lies beside it" in open_tiff(named[0]).attrs["notes"][0]
    movies = [write(tmp_path / "m" / f"Neu{n}.tif", n, (4, 5, 6)) for n in (1, 2)]
    assert open_tiff(movies[0]).attrs.get("notes") is None
    counted = [write(tmp_path / "d" / f"x_t{n}.tif", n) for n in range(2)]
    assert open_tiff(counted[0]).attrs.get("notes") is None


def test_in_a_recipe(tmp_path):
    """What the note says can be done."""
    for n in range(3):
        write(tmp_path / "raw" / f"NAME_{n:04}.tif", n)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"datasets:\n  stack:\n    reader: tiff-series\n    source: {tmp_path / 'raw'}\n"
        "    options: {files: z, spacing: [2, 0.5, 0.5]}\n",
        encoding="utf-8",
    )
    dpipe.run_recipe(recipe, str(tmp_path / "lab"), progress=False, workers="0")
    ds = dpipe.open(str(tmp_path / "lab"), "stack")
    np.testing.assert_array_equal(numbers(ds), [[[0, 1, 2]]])
    assert [schema.spacing(ds, dim) for dim in "zyx"] == [2, 0.5, 0.5]
    assert "assumed" not in ds.attrs


# Micro-Manager ------------------------------------------------------------------------------------

SUMMARY = {
    "Channels": 2, "ChNames": ["DAPI", "Alexa"], "ChColors": [255, -65536], "Frames": 2,
    "Slices": 3, "Interval_ms": 5000, "z-step_um": 1.5, "PixelSize_um": 0.25, "Positions": 1,
    "MicroManagerVersion": "1.4.22",
}  # fmt: skip


def planes_14():
    return {
        f"FrameKey-{t}-{c}-{z}": {"PixelSizeUm": 0.25, "ElapsedTime-ms": 7000 * t + 10 * z + c}
        for t in range(2)
        for c in range(2)
        for z in range(3)
    }


def planes_20():
    return {
        f"Metadata-Default/img_channel{c:03}_position000_time{t:09}_z{z:03}.tif": {
            "PixelSizeUm": 0.25, "ElapsedTime-ms": 7000.0 * t + 10 * z + c,
        }
        for t in range(2) for c in range(2) for z in range(3)
    }  # fmt: skip


def acquisition(folder, version):
    names = {
        "1.4": lambda t, c, z: f"img_{t:09}_{SUMMARY['ChNames'][c]}_{z:03}.tif",
        "2.0": lambda t, c, z: f"img_channel{c:03}_position000_time{t:09}_z{z:03}.tif",
    }[version]
    for t in range(2):
        for c in range(2):
            for z in range(3):
                write(folder / names(t, c, z), 100 * t + 10 * c + z)
    planes = planes_14() if version == "1.4" else planes_20()
    return json.dumps({"Summary": SUMMARY} | planes, indent=1)


@pytest.mark.parametrize("version", ["1.4", "2.0"])
def test_one_file_a_plane_of_micro_manager(tmp_path, version):
    text = acquisition(tmp_path / "run" / "Default", version)
    (tmp_path / "run" / "Default" / "metadata.txt").write_text(text, encoding="utf-8")
    (part,) = find(list_items(tmp_path))
    assert part.stem == "run"
    ds = open_tiff([item.uri for item in part.items])
    np.testing.assert_array_equal(numbers(ds), EXPECTED)  # channels as acquired, not by alphabet
    assert ds.c.values.tolist() == ["DAPI", "Alexa"]
    assert ds.channel_color.values.tolist() == ["0000FF", "FF0000"]
    assert [schema.spacing(ds, dim) for dim in "zyx"] == [1.5, 0.25, 0.25]
    assert ds.t.values.tolist() == [0, 7]  # when it was, not when it should have been
    assert "assumed" not in ds.attrs
    over = open_tiff([item.uri for item in part.items], spacing=[1, 2, 3], interval=4)
    assert [schema.spacing(over, dim) for dim in "tzyx"] == [4, 1, 2, 3]


@pytest.mark.parametrize("cut", [0.3, 0.8, 1.0])
def test_metadata_that_are_cut_off(tmp_path, cut):
    """A stopped recording leaves the text open."""
    text = acquisition(tmp_path, "1.4").rstrip("}\n ")
    (tmp_path / "metadata.txt").write_text(text[: int(cut * len(text))], encoding="utf-8")
    (part,) = find(list_items(tmp_path))
    ds = open_tiff([item.uri for item in part.items])
    np.testing.assert_array_equal(np.sort(numbers(ds), axis=1), EXPECTED)
    if cut > 0.3:
        assert schema.spacing(ds, "x") == 0.25


@pytest.mark.parametrize("text", ["", "rubbish", "[" * 10_000, '["a"]', '{"Summary": 3}'])
def test_metadata_that_are_rubbish(tmp_path, text):
    acquisition(tmp_path, "1.4")
    (tmp_path / "metadata.txt").write_text(text, encoding="utf-8")
    (part,) = find(list_items(tmp_path))
    ds = open_tiff([item.uri for item in part.items])
    assert dict(ds.sizes) == {"t": 2, "c": 2, "z": 3, "y": 5, "x": 6}
    assert ds.c.values.tolist() == ["Alexa", "DAPI"]
    if "Summary" not in text:
        assert ds.attrs["notes"] == [
            "metadata.txt cannot be read; names and pages say what they can"
        ]


def test_a_pixel_size_that_nobody_set(tmp_path):
    text = acquisition(tmp_path, "1.4").replace("0.25", "0.0")
    (tmp_path / "metadata.txt").write_text(text, encoding="utf-8")
    (part,) = find(list_items(tmp_path))
    ds = open_tiff([item.uri for item in part.items])
    assert ds.attrs["assumed"] == [
        "voxel size along y, x is 1 micrometre: PixelSizeUm is '0.0'; say spacing=[z, y, x]"
    ]


def stack(path, planes, summary=None, index=None):
    """Write an image file stack: pages, the summary and the index of Micro-Manager."""
    with tifffile.TiffWriter(path) as file:
        for t, c, z in planes:
            file.write(np.full((5, 6), 100 * t + 10 * c + z, "u2"), photometric="minisblack",
                       metadata=None, contiguous=False)  # fmt: skip
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tif:
        offsets = [page.offset for page in tif.pages]
    # the header of Micro-Manager stands where tifffile put the first page: move all behind it
    text = json.dumps(SUMMARY if summary is None else summary).encode()
    shift = 32 + len(text) + len(text) % 2
    moved = bytearray(data[:8]) + bytes(shift) + data[8:]
    for at in offsets:
        (count,) = struct.unpack_from("<H", moved, at + shift)
        for k in range(count):
            place = at + shift + 2 + 12 * k
            code, kind, number, value = struct.unpack_from("<HHII", moved, place)
            size = {2: 1, 3: 2, 4: 4, 5: 8}[kind] * number
            if code == 273 or size > 4:
                struct.pack_into("<I", moved, place + 8, value + shift)
        place = at + shift + 2 + 12 * count
        (behind,) = struct.unpack_from("<I", moved, place)
        struct.pack_into("<I", moved, place, behind + shift if behind else 0)
    struct.pack_into("<I", moved, 4, offsets[0] + shift)
    rows = index or [(c, z, t, 0) for t, c, z in planes]
    at = len(moved)
    moved += struct.pack("<II", 3453623, len(rows))
    for row, offset in zip(rows, offsets, strict=True):
        moved += struct.pack("<5I", *row, offset + shift)
    struct.pack_into("<8I", moved, 8, 54773648, at, 0, 0, 0, 0, 2355492, len(text))
    moved[40 : 40 + len(text)] = text
    path.write_bytes(bytes(moved))
    return path


ALL = [(t, c, z) for t in range(2) for c in range(2) for z in range(3)]


def test_a_stack_of_micro_manager(tmp_path):
    """Its index says which page is which plane, in the order of acquisition."""
    ds = open_tiff(stack(tmp_path / "a_MMStack_Pos0.ome.tif", ALL[::-1]))
    np.testing.assert_array_equal(numbers(ds), EXPECTED)
    assert ds.c.values.tolist() == ["DAPI", "Alexa"]
    assert [schema.spacing(ds, dim) for dim in "tzyx"] == [5, 1.5, 0.25, 0.25]
    assert ds.attrs == {"format": "micro-manager"}


def test_a_stack_that_goes_on_in_another_file(tmp_path):
    """Files are cut by their size, in the middle of a frame."""
    stack(tmp_path / "a_MMStack_Pos0.ome.tif", ALL[:8])
    stack(tmp_path / "a_MMStack_Pos0_1.ome.tif", ALL[8:])
    (part,) = find(list_items(tmp_path))
    assert part.stem == "a_MMStack_Pos0"
    ds = open_tiff([item.uri for item in part.items])
    np.testing.assert_array_equal(numbers(ds), EXPECTED)
    with pytest.raises(InputError, match=r"4 of 12 planes are missing; say whole_frames=true"):
        open_tiff(tmp_path / "a_MMStack_Pos0.ome.tif")
    ds = open_tiff(tmp_path / "a_MMStack_Pos0.ome.tif", whole_frames=True)
    np.testing.assert_array_equal(numbers(ds), EXPECTED[:1])


def test_positions_in_one_stack(tmp_path):
    rows = [(c, z, 0, t) for t, c, z in ALL]
    path = stack(tmp_path / "a_MMStack.ome.tif", ALL, index=rows)
    with pytest.raises(InputError, match="2 positions inside; choose one with series="):
        open_tiff(path)
    np.testing.assert_array_equal(numbers(open_tiff(path, series=1)), EXPECTED[1:])
    with pytest.raises(InputError, match="no image 2; it holds 2 positions"):
        open_tiff(path, series=2)


def test_a_stack_that_was_stopped(tmp_path):
    path = stack(tmp_path / "a_MMStack.ome.tif", ALL[:6], summary=SUMMARY | {"Frames": 40})
    assert open_tiff(path).attrs["notes"] == ["its header promises 40 frames; 1 are here"]
    data = path.read_bytes()
    path.write_bytes(data[:-40])
    with pytest.raises(InputError, match=r"its Micro-Manager index is cut off; say axes="):
        open_tiff(path)
    assert numbers(open_tiff(path, axes="TC2Z3YX")).tolist() == EXPECTED[:1].tolist()


def test_ndtiff_is_refused_by_name(tmp_path):
    path = stack(tmp_path / "NDTiffStack.tif", ALL)
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, 8, 483729)
    path.write_bytes(bytes(data))
    with pytest.raises(InputError, match=r"NDTiff of Micro-Manager, .* say axes= with sizes"):
        open_tiff(path)
    np.testing.assert_array_equal(numbers(open_tiff(path, axes="TC2Z3YX")), EXPECTED)


def test_the_reader_is_in_the_table():
    assert readers.resolve("tiff-series").open == open_tiff_series
