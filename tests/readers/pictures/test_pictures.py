"""Folders of pictures and label images: pairs by name, colours kept, what is odd said."""

import csv

import imagecodecs
import numpy as np
import pytest
import tifffile
from annotated import labels_of

import dpipe
from dpipe.errors import InputError, UsageError
from dpipe.readers import READERS
from dpipe.readers.pictures.folders import open_instance_masks, open_pictures
from dpipe.readers.pictures.pairs import paired

GREY = (np.arange(12 * 15).reshape(12, 15) * 7 % 251).astype("u1")
LABELS = np.zeros((12, 15), "u2")
LABELS[2:5, 3:9], LABELS[7:11, 1:4] = 1, 300


def png(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(imagecodecs.png_encode(np.ascontiguousarray(array)))


def coloured(labels=LABELS):
    """A colour an object: (7, 0, 255) and (0, 1, 2)."""
    out = np.zeros((*labels.shape, 3), "u1")
    out[labels == 1], out[labels == 300] = (7, 0, 255), (0, 1, 2)
    return out


def test_a_folder_with_label_images_beside(tmp_path):
    for k in (1, 2, 10):
        png(tmp_path / f"p{k}.png", GREY + k)
    png(tmp_path / "p2_objects.png", coloured())
    ds = open_pictures(str(tmp_path))
    assert ds["file"].values.tolist() == ["p1.png", "p2.png", "p10.png"]
    images = dpipe.pictures(ds, size=(12, 15)).image.values
    np.testing.assert_array_equal(images[:, 0], [GREY + 1, GREY + 2, GREY + 10])
    assert not labels_of(ds, 0).any()
    expected = np.where(LABELS == 1, 7 << 16 | 255, 0) + np.where(LABELS == 300, 1 << 8 | 2, 0)
    np.testing.assert_array_equal(labels_of(ds, 1), expected)
    assert ds["label_flag"].values.tolist() == [[16, 0, 16]]  # two have no label image


def test_masks_in_a_folder_of_their_own(tmp_path):
    png(tmp_path / "images/a.png", GREY)
    png(tmp_path / "masks/a.png", LABELS)
    (part,) = READERS["pictures"].parts([str(tmp_path)])
    assert part.stem == "images"
    ds = open_pictures([item.uri for item in part.items])
    assert ds.sizes["record"] == 1
    assert ds["label_pixels"].dtype == np.uint16
    np.testing.assert_array_equal(labels_of(ds, 0), LABELS)


def test_masks_in_a_folder_inside(tmp_path):
    png(tmp_path / "p/a.png", GREY)
    png(tmp_path / "p/masks/a_mask.png", LABELS)
    (part,) = READERS["pictures"].parts([str(tmp_path)])
    ds = open_pictures([item.uri for item in part.items])
    assert (part.stem, ds.sizes["record"]) == ("p", 1)
    np.testing.assert_array_equal(labels_of(ds, 0), LABELS)


def test_pairs_across_folders():
    found = paired(["raw/x.C01", "raw/x.png", "ann/x_objects.png", "raw/y.png", "ann/z_mask.png"])
    assert found.labels == {"raw/x.C01": "ann/x_objects.png"}
    assert found.pictures == ["raw/x.C01", "raw/x.png", "raw/y.png"]
    assert found.alone == ["ann/z_mask.png"]
    twice = paired(["a/x.png", "b/x.png", "c/x_mask.png"])
    assert twice.labels == {}
    assert twice.alone == ["c/x_mask.png"]


def test_label_images_of_32_bits(tmp_path):
    png(tmp_path / "a.png", GREY)
    tifffile.imwrite(tmp_path / "a_labels.tif", LABELS.astype("i4") * 1000)
    ds = open_pictures(str(tmp_path))
    np.testing.assert_array_equal(labels_of(ds, 0), LABELS.astype(int) * 1000)


def test_negative_labels_are_outside_and_flagged(tmp_path):
    png(tmp_path / "a.png", GREY)
    tifffile.imwrite(tmp_path / "a_mask.tif", LABELS.astype("i2") - 1)
    ds = open_pictures(str(tmp_path))
    assert ds["label_flag"].values.tolist() == [[2]]
    np.testing.assert_array_equal(labels_of(ds, 0), np.maximum(LABELS.astype(int) - 1, 0))


def test_labels_beyond_32_bits_are_flagged(tmp_path):
    png(tmp_path / "a.png", GREY)
    tifffile.imwrite(tmp_path / "a_mask.tif", LABELS.astype("u8") << np.uint64(40))
    ds = open_pictures(str(tmp_path))
    assert ds["label_flag"].values.tolist() == [[1]]
    assert not labels_of(ds, 0).any()


def test_smoothed_colours_are_flagged(tmp_path):
    rng = np.random.default_rng(0)
    png(tmp_path / "a.png", GREY)
    png(tmp_path / "a_mask.png", rng.integers(0, 255, (12, 15, 3), dtype="u1"))
    assert open_pictures(str(tmp_path))["label_flag"].values.tolist() == [[4]]


def test_a_label_image_of_another_size_is_said_and_not_used(tmp_path):
    png(tmp_path / "a.png", GREY)
    png(tmp_path / "a_mask.png", LABELS[:5])
    png(tmp_path / "b.png", GREY)
    png(tmp_path / "b_mask.png", LABELS)
    png(tmp_path / "c_mask.png", LABELS)
    ds = open_pictures(str(tmp_path))
    assert ds.attrs["notes"] == [
        "1 label images have no picture; the first: c_mask.png",
        "1 label images cannot be used: a_mask.png: 5 x 15 pixels; its picture has 12 x 15",
    ]
    assert not labels_of(ds, 0).any()
    np.testing.assert_array_equal(labels_of(ds, 1), LABELS)


def test_labels_that_are_transparent_or_float_are_said(tmp_path):
    png(tmp_path / "a.png", GREY)
    png(tmp_path / "a_mask.png", np.dstack([coloured(), GREY]))
    assert open_pictures(str(tmp_path))["label_flag"].values.tolist() == [[1]]
    (tmp_path / "a_mask.png").unlink()
    tifffile.imwrite(tmp_path / "a_mask.tif", LABELS.astype("f4"))
    (note,) = open_pictures(str(tmp_path)).attrs["notes"]
    assert "labels of float32; expected whole numbers" in note


def test_opaque_colours_are_colours(tmp_path):
    png(tmp_path / "a.png", GREY)
    png(tmp_path / "a_mask.png", np.dstack([coloured(), np.full_like(GREY, 255)]))
    ds = open_pictures(str(tmp_path))
    assert set(np.unique(labels_of(ds, 0)).tolist()) == {0, 7 << 16 | 255, 1 << 8 | 2}


def test_folders_become_parts_and_texts(tmp_path):
    for folder in ("train/apoptotic", "train/healthy"):
        png(tmp_path / folder / "1.png", GREY)
    parts = list(READERS["pictures"].parts([str(tmp_path)]))
    assert [part.stem for part in parts] == ["train_apoptotic", "train_healthy"]
    uris = [item.uri for part in parts for item in part.items]
    ds = open_pictures(uris, levels="set,label")
    assert ds["label"].values.tolist() == ["apoptotic", "healthy"]
    assert ds["set"].values.tolist() == ["train", "train"]


def test_damaged_pictures_keep_their_record(tmp_path):
    png(tmp_path / "a.png", GREY)
    (tmp_path / "b.png").write_bytes(b"\x89PNG")
    png(tmp_path / "c.png", np.dstack([GREY] * 3))
    png(tmp_path / "d.png", GREY)
    ds = open_pictures(str(tmp_path))
    aside = ds["put_aside"].values.tolist()
    assert [bool(reason) for reason in aside] == [False, True, True, False]
    assert "3 channels" in aside[2]
    np.testing.assert_array_equal(dpipe.pictures(ds, size=(12, 15)).image.values[3, 0], GREY)


def test_a_picture_that_changed_after_it_was_listed_is_flagged(tmp_path):
    png(tmp_path / "a.png", GREY)
    png(tmp_path / "b.png", GREY)
    ds = open_pictures(str(tmp_path))
    png(tmp_path / "b.png", GREY[:6])
    assert ds["picture_flag"].values.tolist() == [[0, 9]]


def test_wrong_use(tmp_path):
    (tmp_path / "x.txt").write_text("")
    with pytest.raises(UsageError, match="no pictures"):
        open_pictures(str(tmp_path))
    png(tmp_path / "a_mask.png", LABELS)
    with pytest.raises(UsageError, match="reader instance-masks takes them"):
        open_pictures(str(tmp_path))
    png(tmp_path / "b.png", GREY)
    with pytest.raises(UsageError, match="levels: file"):
        open_pictures(str(tmp_path), levels="file")
    with pytest.raises(UsageError, match="block: found -1"):
        open_pictures(str(tmp_path), block=-1)
    with pytest.raises(UsageError, match="channels: a, b"):
        open_pictures(str(tmp_path), channels="a,b")
    (tmp_path / "b.png").write_bytes(b"nothing")
    with pytest.raises(InputError, match="none of 1 pictures can be read"):
        open_pictures(str(tmp_path / "b.png"))


def test_colours_of_a_derived_mask(shared_data):
    folder = shared_data / "nuclei/derived_rgb"
    ds = open_instance_masks(str(folder / "stardist3d_z15_objects.png"))
    with open(folder / "stardist3d_z15_truth.csv") as file:
        rows = list(csv.DictReader(file))
    expected = {int(r["r"]) << 16 | int(r["g"]) << 8 | int(r["b"]): int(r["area"]) for r in rows}
    numbers, counts = np.unique(labels_of(ds, 0), return_counts=True)
    assert dict(zip(numbers[1:].tolist(), counts[1:].tolist(), strict=True)) == expected


def test_a_published_picture_with_a_sparse_annotation(shared_data):
    ds = open_pictures(str(shared_data / "nuclei/bbbc007"))
    assert ds["file"].values.tolist() == ["AS_09125_040701150004_A02f00d0.tif"]
    assert labels_of(ds, 0).max() == 8
