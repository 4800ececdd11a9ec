"""Published crops: names, labels, unlike sizes, folders of pages, and what is refused."""

import numpy as np
import pytest
import tifffile
import xarray as xr

import dpipe
from dpipe import schema, sources
from dpipe.errors import InputError, UsageError
from dpipe.readers import READERS, open_crops
from dpipe.readers.crops.crops import find
from dpipe.readers.crops.file_names import name_of
from dpipe.sources import Item

PIXELS = np.random.default_rng(0).integers(1, 255, (5, 9, 9)).astype("u1")


def write(path, pixels=PIXELS, **said):
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, pixels, **({"photometric": "minisblack"} | said))
    return str(path)


def parts(*names):
    found = find(Item(f"/r/{name}", name, 9, "0") for name in names)
    return {part.stem: [item.path for item in part.items] for part in found}


def test_files_are_grouped_by_movie():
    found = parts(
        "Neutrophil_crops/Neu1_cell10.tif", "Neutrophil_crops/Neu1_cell2.tif",
        "Neutrophil_crops/Neu2_cell1/page_02.tif", "Neutrophil_crops/Neu2_cell1/page_10.tif",
        "Eosinophils_crops/Eos 3 Cell 4.TIFF", "dead/cell_death_1000000003.tif",
        "train/0/Neu1_negative3.tif", "train/0/Neu1_cell2_frame7_before.tif",
        "Neutrophil_crops/overview.tif", "Neutrophil_crops/Neu1_cell1.csv",
    )  # fmt: skip
    assert found == {
        "Neu1": [
            "Neutrophil_crops/Neu1_cell2.tif", "Neutrophil_crops/Neu1_cell10.tif",
            "train/0/Neu1_cell2_frame7_before.tif", "train/0/Neu1_negative3.tif",
        ],
        "Neu2": [
            "Neutrophil_crops/Neu2_cell1/page_02.tif", "Neutrophil_crops/Neu2_cell1/page_10.tif",
        ],
        "Eos-3": ["Eosinophils_crops/Eos 3 Cell 4.TIFF"],
        "dead": ["dead/cell_death_1000000003.tif"],
    }  # fmt: skip


def test_events_side_by_side(tmp_path):
    folder = tmp_path / "Neutrophil_crops"
    write(folder / "Neu1_cell1.tif")
    write(folder / "Neu1_cell2.tif", PIXELS[:3] // 2)
    for k in (1, 2, 10):
        write(folder / "Neu1_cell3" / f"{k}.tif", PIXELS[k // 5] // 3)
    (part,) = READERS["crops"].find(sources.list_items(str(tmp_path)))
    ds = open_crops([item.uri for item in part.items])
    assert ds["event"].values.tolist() == ["Neu1_cell1", "Neu1_cell2", "Neu1_cell3"]
    assert ds["crop"].dims == schema.CROP.dims
    assert ds["crop"].shape == (3, 5, 1, 9, 9)
    assert ds["movie"].values.tolist() == ["Neu1"] * 3
    assert ds["kind"].values.tolist() == ["event"] * 3
    assert ds["event_track"].values.tolist() == [-1] * 3
    np.testing.assert_array_equal(ds["crop"][0, :, 0], PIXELS)
    np.testing.assert_array_equal(ds["crop"][1, :3, 0], PIXELS[:3] // 2)
    assert not ds["crop"][1, 3:].any()
    np.testing.assert_array_equal(ds["crop"][2, :3, 0], PIXELS[[0, 0, 2]] // 3)
    assert ds["crop_frame"].values.tolist() == [
        [0, 1, 2, 3, 4], [0, 1, 2, -1, -1], [0, 1, 2, -1, -1],
    ]  # fmt: skip
    np.testing.assert_array_equal(ds["crop_inside"], ds["crop_frame"] >= 0)
    assert (ds["crop_phase"] == schema.PHASE_UNKNOWN).all()
    assert ds["y"].values.tolist() == [-4, -3, -2, -1, 0, 1, 2, 3, 4]
    assert any("frames count from 0 in each event" in line for line in ds.attrs["assumed"])
    one = ds["crop"].isel(event=2, t=slice(1, 5), y=slice(2, 4), x=slice(None, None, 3))
    np.testing.assert_array_equal(one, ds["crop"].compute()[2, 1:5, :, 2:4, ::3])


@pytest.mark.parametrize(
    ("path", "said", "event", "label", "kind", "track"),
    [
        ("a/Neu1_cell1.tif", {}, "Neu1_cell1", 1, "event", -1),
        ("0/Neu1_cell1.tif", {}, "Neu1_cell1", 0, "cell", -1),
        ("healthy/Neu1_cell1/3.tif", {}, "Neu1_cell1", 0, "cell", -1),
        ("1/Neu1_cell1.tif", {"label": 0}, "Neu1_cell1", 0, "cell", -1),
        ("0/Neu1_cell1.tif", {"label": 1}, "Neu1_cell1", 1, "cell", -1),
        ("a/Neu1_negative4.tif", {}, "Neu1_negative4", 0, "cell", -1),
        ("a/Neu1_cell04_before.tif", {}, "Neu1_cell4_before", 0, "before", -1),
        ("a/cell_death_1000000002.tif", {}, "cell_death_1000000002", 1, "event", 1000000002),
        ("control/cell_death_7.tif", {}, "cell_death_7", 0, "event", 7),
        ("a/odd.tif", {}, "odd", 1, "event", -1),
    ],
)
def test_labels(tmp_path, path, said, event, label, kind, track):
    ds = open_crops(write(tmp_path / path), **said)
    (found,) = zip(*(ds[n].values for n in ("event", "label", "kind", "event_track")), strict=True)
    assert found == (event, label, kind, track)


DYING = "1 class1 label_1 positive pos apoptotic Apoptosis dying dead death cell_death events"
HEALTHY = """0 class0 label_0 negative negatives neg control controls alive live living viable
normal healthy non_apoptotic non-dying not_dying no_death non-dead survivor surviving"""
UNSAID = "a crops 2 train Neu1 cells none"


@pytest.mark.parametrize(
    ("words", "label", "known"),
    [(DYING, 1, True), (HEALTHY, 0, True), (UNSAID, 1, False)],
    ids=["dying", "healthy", "unsaid"],
)
@pytest.mark.parametrize("name", ["Neu1_cell1.tif", "cell_death_7.tif"])
def test_words_for_a_class(words, label, known, name):
    for word in words.split():
        found = name_of(f"/data/{word}/{name}")
        assert (found.label, found.labelled) == (label, known), word


def test_a_class_that_nothing_says_is_said_to_be_assumed(tmp_path):
    line = "label is 1 for 1 of 1 (Neu1_cell1): name and folder say no class"
    assert line in open_crops(write(tmp_path / "train/Neu1_cell1.tif")).attrs["assumed"]
    assert line not in open_crops(write(tmp_path / "dying/Neu1_cell1.tif")).attrs["assumed"]
    one = open_crops(tmp_path / "train/Neu1_cell1.tif", label=1)
    assert line not in one.attrs["assumed"]


def test_clipped_pages_are_refused_or_padded(tmp_path):
    path = tmp_path / "Neu1_cell1.tif"
    with tifffile.TiffWriter(path) as tif:
        tif.write(PIXELS[0], photometric="minisblack")
        tif.write(PIXELS[1, :5, :], photometric="minisblack")
        tif.write(PIXELS[2, :, :8], photometric="minisblack")
    with pytest.raises(
        InputError, match=r"Neu1_cell1.tif: pages of unlike size, \(5, 9\) to \(9, 9\)"
    ):
        open_crops(path)
    ds = open_crops(path, pad=True, fill=7)
    assert ds["crop"].shape == (1, 3, 1, 9, 9)
    np.testing.assert_array_equal(ds["crop"][0, 0, 0], PIXELS[0])
    # 5 of 9 rows in the middle: two before, two after; 8 of 9 columns: none before, one after
    expected = np.pad(PIXELS[1, :5], ((2, 2), (0, 0)), constant_values=7)
    np.testing.assert_array_equal(ds["crop"][0, 1, 0], expected)
    assert (ds["crop"][0, 2, 0, :, 8] == 7).all()
    np.testing.assert_allclose(ds["crop_inside"], [[1, 5 / 9, 8 / 9]])
    other = write(tmp_path / "Neu1_cell2.tif", PIXELS[:, :7, :7])
    with pytest.raises(InputError, match=r"\(1, 7, 7\) voxels .* unlike Neu1_cell1"):
        open_crops([write(tmp_path / "b" / "Neu1_cell1.tif"), other])
    both = open_crops([path, other], pad=True)
    np.testing.assert_array_equal(both["crop"][1, 4, 0, 1:8, 1:8], PIXELS[4, :7, :7])
    pages = [write(tmp_path / "Neu3_cell1" / f"{k}.tif", PIXELS[k, : 9 - k]) for k in range(3)]
    with pytest.raises(InputError, match=r"1.tif: .*unlike the pages before it"):
        open_crops(pages)
    np.testing.assert_array_equal(open_crops(pages, pad=True)["crop"][0, 2, 0, 1:8], PIXELS[2, :7])


def test_volumes_channels_and_units(tmp_path):
    pixels = np.random.default_rng(1).integers(0, 9, (4, 3, 2, 5, 6)).astype("u2")  # t z c y x
    path = tmp_path / "Neu1_cell1.tif"
    said = {"axes": "TZCYX", "spacing": 2.0, "unit": "um", "finterval": 30.0}
    tifffile.imwrite(path, pixels, imagej=True, resolution=(4, 2), metadata=said)
    ds = open_crops(path)
    assert ds["crop_volume"].dims == schema.CROP_VOLUME.dims
    np.testing.assert_array_equal(ds["crop_volume"][0], pixels.swapaxes(1, 2))
    np.testing.assert_array_equal(ds["crop_volume"][0, 1:3, 1, 2], pixels[1:3, 2, 1])
    assert [ds[dim].attrs["spacing"] for dim in "tzyx"] == [30, 2, 0.5, 0.25]
    assert ds["z"].values.tolist() == [-2, 0, 2]
    named = open_crops(path, spacing=[3, 1, 1], interval=15)
    assert [named[dim].attrs["spacing"] for dim in "tzyx"] == [15, 3, 1, 1]
    stack = tmp_path / "Neu2_cell1.tif"  # time points that a program called slices
    tifffile.imwrite(stack, PIXELS, imagej=True, metadata={"axes": "ZYX"})
    assert "crop_volume" in open_crops(stack)
    np.testing.assert_array_equal(open_crops(stack, axes="TYX")["crop"][0, :, 0], PIXELS)
    first = open_crops(stack, axes="TYX", spacing=[1, 1, 1], interval=1)
    assert len(first.attrs["assumed"]) == 2  # frames, and the class
    colour = write(tmp_path / "Neu4_cell1.tif", np.stack([PIXELS] * 3, axis=-1), photometric="rgb")
    assert open_crops(colour)["crop"].shape == (1, 5, 3, 9, 9)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"a_cell1.tif": PIXELS, "a_cell2.tif": PIXELS.astype("u2")}, r"a_cell2.tif: uint16, 1"),
        ({"x/a_cell1.tif": PIXELS, "y/a_cell1.tif": PIXELS}, "a_cell1.tif: a_cell1 is also in .*x"),
        ({"a_cell1/1.tif": PIXELS, "a_cell1/2.tif": PIXELS}, "5 frames; expected one page"),
        ({"a_cell1.tif": np.zeros((2, 3, 4, 5, 9, 9), "u1")}, "make no crop; say axes="),
    ],
)
def test_files_that_do_not_go_together(tmp_path, files, words):
    paths = [write(tmp_path / name, pixels) for name, pixels in files.items()]
    with pytest.raises(InputError, match=words):
        open_crops(paths)


def test_pages_that_are_no_planes(tmp_path):
    path = tmp_path / "a_cell1.tif"
    with tifffile.TiffWriter(path) as tif:
        tif.write(PIXELS[0], photometric="minisblack")
        tif.write(PIXELS[1, :5].astype("u2"), photometric="minisblack")
    with pytest.raises(InputError, match="page 1 is uint16; expected one kind of number"):
        open_crops(path, pad=True)
    other = tmp_path / "a_cell2.tif"
    with tifffile.TiffWriter(other) as tif:
        tif.write(PIXELS[0], photometric="minisblack")
        tif.write(np.zeros((4, 4, 3), "u1"), photometric="rgb")
    with pytest.raises(InputError, match=r"page 1 has shape \(4, 4, 3\); expected a plane"):
        open_crops(other, pad=True)


@pytest.mark.parametrize("pad", [False, True])
def test_a_file_that_changed(tmp_path, pad):
    path = tmp_path / "a_cell1.tif"
    ds = open_crops(write(path), pad=pad)
    write(path, PIXELS[:, :4])
    with pytest.raises(InputError, match=r"a_cell1.tif: its size or kind changed"):
        ds["crop"].compute()


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"label": 2}, "label: found 2; expected 0 or 1"),
        ({"label": True}, "label: found True"),
        ({"axes": "TXY"}, "axes='TXY'"),
        ({"axes": "TTYX"}, "axes='TTYX'"),
        ({"spacing": [1, 1]}, "spacing: found"),
        ({"spacing": ["a", 1, 1]}, "spacing: found"),
        ({"interval": 0}, "interval: found 0"),
    ],
    ids=str,
)
def test_options_that_cannot_work(tmp_path, said, words):
    with pytest.raises(UsageError, match=words):
        open_crops(write(tmp_path / "a_cell1.tif"), **said)
    with pytest.raises(UsageError, match="no file given"):
        open_crops([])


def test_axes_that_do_not_fit(tmp_path):
    with pytest.raises(InputError, match=r"axes TZYX of \(5, 9, 9\) make no crop"):
        open_crops(write(tmp_path / "a_cell1.tif"), axes="TZYX")


def test_what_track_crops_cut_comes_back(tmp_path):
    """Through the writer for classification, by movie, split and label."""
    pixels = np.random.default_rng(2).integers(1, 99, (6, 1, 2, 40, 40)).astype("u1")
    movie = schema.movie(pixels, spacing=(2, 0.5, 0.5), interval=30).assign_attrs(stem="Neu1")
    spots = xr.Dataset({f"spot_{dim}": ("spot", [9.0] * 4) for dim in "zyx"})
    spots = spots.assign_coords(track=("spot", [3, 3, 3, 4]), frame=("spot", [3, 4, 5, 2]))
    cut = dpipe.track_crops(movie, spots, window=9, negatives=2, negative_kinds=["before"])
    dpipe.export({"Neu1": cut}, "classification", tmp_path / "out", split="train")
    (part,) = find(sources.list_items(str(tmp_path / "out")))
    found = open_crops([item.uri for item in part.items])
    assert sorted(found["event"].values) == sorted(cut["event"].values)
    again = found.sel(event=cut["event"].values)
    np.testing.assert_array_equal(again["crop"], cut["crop"])
    np.testing.assert_array_equal(again["label"], cut["label"])
    np.testing.assert_array_equal(again["kind"], cut["kind"])
    assert again["y"].attrs["spacing"] == 0.5
