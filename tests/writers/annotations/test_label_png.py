"""Writer label-png: label images as they came, numbers or colours."""

from pathlib import Path

import annotated
import imagecodecs
import numpy as np
import plain
import pytest
from PIL import Image

from dpipe import export
from dpipe.errors import SchemaError, UsageError
from dpipe.operators.annotations.polygon_masks import polygon_masks
from dpipe.readers.pictures.folders import open_instance_masks, open_pictures
from dpipe.readers.pictures.plates import open_cellomics


def test_numbers_of_eight_bits_come_back(tmp_path):
    plain.write_masks(tmp_path)
    ds = open_instance_masks(str(tmp_path / "m" / "a_mask.png"))
    (path,) = export({"m": ds}, "label-png", tmp_path / "out")
    assert Path(path).name == "a_mask_objects.png"
    with Image.open(path) as image:
        assert image.mode == "L"
        np.testing.assert_array_equal(np.asarray(image), plain.NUMBERS)


@pytest.mark.parametrize(
    ("largest", "name", "dtype"),
    [
        (300, "a_objects.png", "u2"),
        (65_535, "a_objects.png", "u2"),
        (65_536, "a_objects.tif", "u4"),
    ],
)
def test_bits_follow_the_numbers(tmp_path, largest, name, dtype):
    labels = np.array([[0, 1, largest]], "u4")
    (path,) = export({"m": annotated.collection(labels)}, "label-png", tmp_path)
    assert Path(path).name == name
    read = imagecodecs.png_decode if name.endswith("png") else imagecodecs.tiff_decode
    found = read(Path(path).read_bytes())
    assert found.dtype == dtype
    np.testing.assert_array_equal(found.reshape(labels.shape), labels)


def test_colours_are_red_green_blue(tmp_path):
    labels = np.array([[0, 0x0A0B0C, 0xFFFFFF, 7]], "u4")
    (path,) = export({"m": annotated.collection(labels)}, "label-png", tmp_path, colours=True)
    with Image.open(path) as image:
        assert image.mode == "RGB"
        assert np.asarray(image).tolist() == [[[0, 0, 0], [10, 11, 12], [255] * 3, [0, 0, 7]]]


def test_a_number_that_is_no_colour_is_refused(tmp_path):
    labels = np.array([[1 << 24]], "u4")
    with pytest.raises(SchemaError, match="label 16777216 is no colour of 24 bits"):
        export({"m": annotated.collection(labels)}, "label-png", tmp_path / "out", colours=True)
    assert not (tmp_path / "out").exists()


def test_pictures_and_labels_are_found_again_together(tmp_path):
    ds = annotated.source(tmp_path / "raw")
    masks = polygon_masks(ds)
    paths = export({"m": ds.merge(masks)}, "label-png", tmp_path / "out", pictures=True)
    assert [Path(path).name for path in paths] == [
        *("cells_3_objects.png", "cells_3.tif", "cells_7_objects.png", "cells_7.tif"),
    ]
    found = open_pictures(str(tmp_path / "out"))
    assert found["file"].values.tolist() == ["cells_3.tif", "cells_7.tif"]
    for i in range(2):
        np.testing.assert_array_equal(annotated.labels_of(found, i), annotated.labels_of(masks, i))
    np.testing.assert_array_equal(found["pixels"], ds["pixels"])


def test_what_has_no_labels_is_refused(tmp_path):
    with pytest.raises(SchemaError, match="no label images; make them with polygon-masks"):
        export({"m": annotated.dataset()}, "label-png", tmp_path / "out")
    with pytest.raises(UsageError, match="colours: found 1; expected true or false"):
        export({"m": annotated.dataset()}, "label-png", tmp_path / "out", colours=1)


def test_a_mask_in_colours_comes_back_pixel_for_pixel(shared_data, tmp_path):
    original = shared_data / "nuclei/derived_rgb/stardist3d_z15_objects.png"
    ds = open_instance_masks(str(original))
    (path,) = export({"m": ds}, "label-png", tmp_path, colours=True)
    assert Path(path).name == original.name
    with Image.open(path) as found, Image.open(original) as expected:
        assert found.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(found), np.asarray(expected.convert("RGB")))


def test_a_published_plate_without_labels_gives_its_pictures_alone(shared_data, tmp_path):
    ds = open_cellomics(str(shared_data / "cellomics/ExampleHuman"))
    with pytest.raises(SchemaError, match="no label images"):
        export({"m": ds}, "label-png", tmp_path / "out")
    (path,) = export({"m": ds}, "label-png", tmp_path / "out", pictures=True)
    found = open_pictures(path)
    np.testing.assert_array_equal(found["pixels"], ds["pixels"])
