"""Annotated pictures: pictures found by name, objects in their order, what is odd said."""

import csv
import json
import unicodedata
from pathlib import Path

import annotated
import numpy as np
import pytest

import dpipe
from dpipe import schema
from dpipe.errors import InputError, UsageError
from dpipe.readers import READERS
from dpipe.readers.annotations.coco import open_coco


def opened(folder: Path, **options):
    (part,) = READERS["coco"].parts([str(folder)])
    return open_coco([item.uri for item in part.items], **options)


def test_pictures_lie_packed_with_their_objects(tmp_path):
    annotated.write(tmp_path)
    ds = opened(tmp_path)
    assert ds["file"].values.tolist() == ["cells_3.tif", "cells_7.tif"]
    assert ds["image_id"].values.tolist() == [3, 7]
    assert ds["image_license"].values.tolist() == [1, 1]
    assert ds["object_image"].values.tolist() == [3, 3, 7, 7]
    assert ds["annotation_id"].values.tolist() == [102, 103, 100, 101]
    assert ds["ring_count"].values.tolist() == [2, 0, 1, 1]
    assert ds["ring_points"].values.tolist() == [3, 4, 4, 3]
    assert ds["outline_x"].values[:3].tolist() == [0, 3, 3]
    assert ds["outline_y"].values[-3:].tolist() == [2, 2, 6]
    assert ds["run_length"].values.tolist() == [50, 9, 61]
    assert ds["category_name"].values.tolist() == ["cell", "debris"]
    assert ds["supercategory"].values.tolist() == ["alive", ""]
    assert ds.attrs["licenses"][0]["name"] == "CC BY 4.0"
    assert "notes" not in ds.attrs
    pictures = dpipe.pictures(ds, size=12).image
    for i, number in enumerate((3, 7)):
        expected = annotated.picture(number)
        top, left = ((12 - n) // 2 for n in expected.shape)
        inside = pictures.values[i, 0, top:, left:][: expected.shape[0], : expected.shape[1]]
        np.testing.assert_array_equal(inside, expected)


def test_every_variable_is_of_the_vocabulary(tmp_path):
    annotated.write(tmp_path)
    ds = opened(tmp_path)
    for name in ds.data_vars:
        schema.VARIABLES[name].check(ds)


def test_without_pictures_there_are_annotations_and_sizes(tmp_path):
    annotated.write(tmp_path, pictures=False)
    ds = opened(tmp_path)
    assert "pixels" not in ds
    assert ds["height"].values.tolist() == [10, 8]
    assert ds["width"].values.tolist() == [12, 11]


def test_a_missing_picture_keeps_its_record_and_objects(tmp_path):
    annotated.write(tmp_path)
    (tmp_path / "images/A172/cells_3.png").unlink()
    ds = opened(tmp_path)
    assert ds["put_aside"].values.tolist() == ["no picture of this name among the sources", ""]
    assert ds["height"].values.tolist() == [0, 8]
    assert ds.sizes["object"] == 4


def test_a_damaged_picture_keeps_its_record(tmp_path):
    annotated.write(tmp_path)
    (tmp_path / "images/A172/cells_7.png").write_bytes(b"\x89PNG\r\n\x1a\nno")
    ds = opened(tmp_path)
    assert ds["put_aside"].values[0] == ""
    assert "header" in ds["put_aside"].values[1]


def test_a_picture_of_another_size_than_its_entry_is_said(tmp_path):
    content = annotated.content()
    content["images"][0] |= {"height": 20}
    annotated.write(tmp_path, images=content["images"])
    ds = opened(tmp_path)
    assert ds["height"].values.tolist() == [10, 8]
    assert ds.attrs["notes"] == [
        "1 pictures have another size than their entry: the first: cells_3.tif is 10 x 12, not "
        "20 x 12"
    ]


def test_a_number_that_two_pictures_have_is_that_of_the_first(tmp_path):
    images = annotated.content()["images"]
    annotated.write(tmp_path, images=[*images, images[0] | {"file_name": "cells_7.tif"}])
    ds = opened(tmp_path)
    assert ds["put_aside"].values.tolist() == [
        "", "", "image id 3 again; it is that of cells_3.tif too"
    ]  # fmt: skip
    assert ds["height"].values.tolist() == [10, 8, 0]


def test_numbers_of_pictures_as_texts_or_with_a_point(tmp_path):
    images = annotated.content()["images"]
    annotated.write(tmp_path, images=[images[0] | {"id": "3"}, images[1] | {"id": 7.0}])
    assert opened(tmp_path)["image_id"].values.tolist() == [3, 7]


def test_an_entry_without_a_size_has_that_of_its_picture(tmp_path):
    images = [{"id": i["id"], "file_name": i["file_name"]} for i in annotated.content()["images"]]
    annotated.write(tmp_path, images=images)
    ds = opened(tmp_path)
    assert ds["image_height"].values.tolist() == [10, 8]
    assert ds["image_width"].values.tolist() == [12, 11]


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_accents_apart_and_composed_are_one_name(tmp_path, forms):
    listed, on_disk = (unicodedata.normalize(form, "zellk\u00f6rper") for form in forms)
    images = annotated.content()["images"]
    images[0]["file_name"] = f"{listed}.tif"
    annotated.write(tmp_path, images=images)
    folder = tmp_path / "images/A172"
    (folder / "cells_3.png").rename(folder / f"{on_disk}.png")
    assert opened(tmp_path)["put_aside"].values.tolist() == ["", ""]


def test_of_two_pictures_of_one_name_that_in_the_folder_named_is_taken(tmp_path):
    images = annotated.content()["images"]
    images[0] |= {"file_name": "A172/cells_3.png"}
    annotated.write(tmp_path, images=images)
    (tmp_path / "images" / "other").mkdir()
    (tmp_path / "images" / "other" / "cells_3.png").write_bytes(b"no picture")
    assert opened(tmp_path)["put_aside"].values.tolist() == ["", ""]


def test_of_two_pictures_of_one_name_none_is_guessed(tmp_path):
    annotated.write(tmp_path)
    (tmp_path / "images" / "other").mkdir()
    (tmp_path / "images" / "other" / "cells_3.png").write_bytes(b"no picture")
    assert "2 pictures of this name" in str(opened(tmp_path)["put_aside"].values[0])


def test_objects_of_pictures_that_are_not_listed_stand_last_and_are_said(tmp_path):
    content = annotated.content()
    content["annotations"][0] |= {"image_id": 99}
    annotated.write(tmp_path, annotations=content["annotations"])
    ds = opened(tmp_path)
    assert ds["object_image"].values.tolist() == [3, 3, 7, 99]
    assert ds.attrs["notes"] == ["1 annotations are of pictures that the file does not list"]


def test_an_entry_without_a_size_is_left_out_and_said(tmp_path):
    images = annotated.content()["images"]
    del images[1]["height"]
    annotated.write(tmp_path, pictures=False, images=images)
    ds = opened(tmp_path)
    assert ds.sizes["record"] == 1
    assert "height is None; expected a whole number" in ds.attrs["notes"][0]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"images": []}, "m.json: lists no pictures"),
        ({"images": [{"id": 1}]}, "m.json: an image without file_name; nothing to read"),
    ],
)
def test_a_file_without_pictures_is_refused(tmp_path, changes, problem):
    annotated.write(tmp_path, **changes)
    with pytest.raises(InputError, match=problem):
        opened(tmp_path)


def test_a_cut_file_is_named(tmp_path):
    path = annotated.write(tmp_path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match=r"^m\.json: damaged: the JSON ends after \d+ bytes"):
        opened(tmp_path)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b'\xef\xbb\xbf{"images": [', r"m\.json: damaged: the JSON ends"),
        (b'{"images": [], "annotations": 3}', r"m\.json: annotations: expected a list"),
        (b'{"images": 3}', r"m\.json: Expected `array"),
        (b"\x1f\x8b", r"m\.json: no JSON object; it is packed by gzip"),
    ],
)
def test_what_is_no_file_of_annotations_is_named(tmp_path, data, problem):
    (tmp_path / "m.json").write_bytes(data)
    with pytest.raises(InputError, match=problem):
        opened(tmp_path)


def test_an_empty_file_is_named(tmp_path):
    (tmp_path / "m.json").write_bytes(b"")
    with pytest.raises(InputError, match="an empty file"):
        opened(tmp_path)


def test_wrong_use(tmp_path):
    annotated.write(tmp_path)
    with pytest.raises(UsageError, match="one file of annotations"):
        open_coco(str(tmp_path / "images/A172/cells_3.png"))
    with pytest.raises(UsageError, match="channels: a, b; the pictures have 1 channels"):
        opened(tmp_path, channels="a,b")


def test_every_file_of_annotations_is_a_part_with_all_pictures(tmp_path):
    annotated.write(tmp_path)
    (tmp_path / "n.json").write_text(json.dumps(annotated.content()))
    parts = list(READERS["coco"].parts([str(tmp_path)]))
    assert [(part.stem, len(part.items)) for part in parts] == [("m", 3), ("n", 3)]


def test_livecell_with_its_pictures(shared_data):
    (part,) = READERS["coco"].parts(
        [str(shared_data / "livecell/annotations"), str(shared_data / "livecell/images")]
    )
    ds = open_coco([item.uri for item in part.items])
    with open(shared_data / "livecell/reference/coco_val_images.csv") as file:
        rows = {int(row["image_id"]): row for row in csv.DictReader(file)}
    pictures = dpipe.pictures(ds, size=(520, 704)).image.values
    for i, number in enumerate(ds["image_id"].values.tolist()):
        assert pictures[i].mean() == pytest.approx(float(rows[number]["img_mean"]), rel=1e-12)
        objects = (ds["object_image"].values == number).sum()
        assert objects == int(rows[number]["n_annotations"])
