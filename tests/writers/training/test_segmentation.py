"""Pairs for segmentation: picture and mask under one name, values as they were."""

import csv
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from dpipe import schema
from dpipe.errors import RefusedError, SchemaError, UsageError
from dpipe.writers import write_segmentation


def marked(frames=3, dtype="u2", seed=0, size=(4, 20, 30)):
    """A movie of two channels with labels in all frames but the second."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(1, 200, (frames, 2, *size)).astype(dtype)
    ds = schema.movie(pixels, spacing=(2, 0.5, 0.25), channels=["GFP", "DiD"], interval=30)
    numbers = rng.integers(0, 4, (frames, *size)).astype("u4") * 100
    if frames > 1:
        numbers[1] = 0
    ds["labels"] = (("t", "z", "y", "x"), numbers)
    return ds


def read(folder):
    with (folder / "index.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    listed = sorted(row[kind] for row in rows for kind in ("image", "mask"))
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "index.csv"]
    assert sorted(str(path.relative_to(folder)) for path in files) == listed
    return rows


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
@pytest.mark.parametrize("channels", [None, "DiD"])
@pytest.mark.parametrize("dims", [3, 2])
def test_pairs(tmp_path, dtype, channels, dims):
    ds = marked(dtype=dtype)
    paths = write_segmentation({"Neu1": ds}, tmp_path / "out", split="train", dims=dims,
                               channels=channels)  # fmt: skip
    rows = read(tmp_path / "out")
    assert [row["frame"] for row in rows] == ["0", "2"]
    assert rows[1] == {
        "image": "train/images/Neu1_t0002.tif", "mask": "train/masks/Neu1_t0002.tif",
        "split": "train", "movie": "Neu1", "frame": "2", "channels": channels or "GFP,DiD",
        "objects": "3", "voxels": rows[1]["voxels"],
    }  # fmt: skip
    assert [Path(p).name for p in paths] == ["Neu1_t0000.tif"] * 2 + ["Neu1_t0002.tif"] * 2 + [
        "index.csv"
    ]
    flat = (lambda array: array.max("z")) if dims == 2 else (lambda array: array)
    for row in rows:
        frame = ds.isel(t=int(row["frame"]))
        with tifffile.TiffFile(tmp_path / "out" / row["image"]) as file:
            assert file.series[0].axes == ("" if channels else "C") + "ZYX"[3 - dims :]
            picture = file.asarray()
        image = frame.image if channels is None else frame.image.sel(c=channels)
        assert picture.dtype == image.dtype
        np.testing.assert_array_equal(picture, flat(image))
        mask = tifffile.imread(tmp_path / "out" / row["mask"])
        assert mask.dtype == np.uint32
        np.testing.assert_array_equal(mask, flat(frame.labels))
        assert int(row["voxels"]) == np.count_nonzero(mask)
    assert {path.name for path in (tmp_path / "out/test").iterdir()} == {"images", "masks"}


def test_frames_without_a_label(tmp_path):
    write_segmentation({"Neu1": marked()}, tmp_path / "out", split="train", empty=True)
    rows = read(tmp_path / "out")
    assert [(row["frame"], row["objects"]) for row in rows] == [("0", "3"), ("1", "0"), ("2", "3")]


@pytest.mark.parametrize(("mask", "dtype"), [("labels", "u2"), ("binary", "u1")])
def test_png(tmp_path, mask, dtype):
    ds = marked()
    write_segmentation({"Neu1": ds}, tmp_path / "out", split="test", dims=2, file="png",
                       channels=["GFP"], mask=mask)  # fmt: skip
    for row in read(tmp_path / "out"):
        frame = ds.isel(t=int(row["frame"]))
        picture = np.asarray(Image.open(tmp_path / "out" / row["image"]))
        np.testing.assert_array_equal(picture, frame.image[0].max("z"))
        found = np.asarray(Image.open(tmp_path / "out" / row["mask"]))
        expected = frame.labels.max("z").values
        assert found.dtype == np.dtype(dtype)
        np.testing.assert_array_equal(found, expected > 0 if mask == "binary" else expected)


def test_binary_volumes(tmp_path):
    write_segmentation({"Neu1": marked()}, tmp_path / "out", split="test", mask="binary")
    found = tifffile.imread(tmp_path / "out/test/masks/Neu1_t0000.tif")
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, marked().labels[0] > 0)


def test_a_projection_and_movies_of_unlike_size(tmp_path):
    ds = marked()
    flat = ds.assign(projection=ds.image.max("z")).drop_vars("image")
    parts = {"Neu1": flat, "Neu2": flat.isel(y=slice(0, 7), t=[0])}
    write_segmentation(parts, tmp_path / "out", split={"Neu1": "train", "Neu2": "test"}, dims=2,
                       image="projection")  # fmt: skip
    assert [row["split"] for row in read(tmp_path / "out")] == ["train", "train", "test"]
    with pytest.raises(SchemaError, match=r"Neu1: 'projection' has no depth; write planes"):
        write_segmentation(parts, tmp_path / "b", split="train", image="projection")


def test_the_same_pixels_in_two_splits(tmp_path):
    parts = {"Neu1": marked(), "Neu2": marked()}
    with pytest.raises(RefusedError, match=r"Neu2_t0000\.tif in test has the very pixels of train"):
        write_segmentation(parts, tmp_path / "out", split={"Neu1": "train", "Neu2": "test"})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "options", "error", "said"),
    [
        (lambda ds: ds, {"dims": 4}, UsageError, "dims=4; expected 3 or 2"),
        (lambda ds: ds, {"mask": "none"}, UsageError, "mask='none'; expected labels or binary"),
        (lambda ds: ds, {"file": "jpg"}, UsageError, "file='jpg'; expected tiff or png"),
        (lambda ds: ds, {"file": "png"}, UsageError, "PNG holds a plane of one channel; say dims="),
        (lambda ds: ds, {"file": "png", "dims": 2}, UsageError, "PNG holds a plane of one channel"),
        (lambda ds: ds, {"channels": "CFP"}, UsageError, "Neu1: unknown channel 'CFP'"),
        (lambda ds: ds.drop_vars("labels"), {}, SchemaError, "Neu1: no variable 'labels'"),
        (lambda ds: ds.drop_vars("image"), {}, SchemaError, "Neu1: no variable 'image' to write"),
        (lambda ds: ds.assign(image=ds.image[0]), {}, SchemaError, "Neu1: labels {'t': 3"),
        (
            lambda ds: ds.assign(labels=ds.labels.astype("u8") * 2**32), {},
            SchemaError, "Neu1: OME-TIFF holds no uint64 from 0 to",
        ),
        (
            lambda ds: ds.assign(labels=ds.labels * 300),
            {"file": "png", "dims": 2, "channels": "GFP"},
            SchemaError, "Neu1_t0000: PNG holds labels up to 65535, not 90000; write TIFF",
        ),
    ],
)  # fmt: skip
def test_what_is_refused(tmp_path, change, options, error, said):
    with pytest.raises(error) as told:
        write_segmentation({"Neu1": change(marked())}, tmp_path / "out", split="train", **options)
    assert said in str(told.value)
    assert "\n" not in str(told.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("file", "kinds"), [("tiff", ("u4", "u4")), ("png", ("u2", "u2"))])
def test_numbers_of_64_bits_that_fit(tmp_path, file, kinds):
    ds = marked().assign_coords(c=["GFP", "DiD"])
    wide = ds.assign(image=ds.image.astype("i8"), labels=ds.labels.astype("u8"))
    options = {"split": "train", "file": file, "dims": 2, "channels": "GFP"}
    write_segmentation({"Neu1": wide}, tmp_path / "out", **options)
    for row in read(tmp_path / "out"):
        frame = ds.isel(t=int(row["frame"])).max("z")
        for kind, expected, dtype in zip(
            ("image", "mask"), (frame.image.sel(c="GFP"), frame.labels), kinds, strict=True
        ):
            path = tmp_path / "out" / row[kind]
            found = tifffile.imread(path) if file == "tiff" else np.asarray(Image.open(path))
            np.testing.assert_array_equal(found.squeeze(), expected)
            assert found.dtype == dtype


def test_numbers_of_64_bits_that_do_not_fit_leave_nothing(tmp_path):
    ds = marked()
    wide = ds.assign(labels=ds.labels.astype("u8") + 2**33)
    with pytest.raises(SchemaError, match=r"b: OME-TIFF holds no uint64 from 8589934592 to 858993"):
        write_segmentation({"a": ds, "b": wide}, tmp_path / "new" / "out", split="train")
    assert list(tmp_path.iterdir()) == []
