"""One fault planted in clean annotations is found once, under its kind; nothing else is."""

import contextlib
import io
import json
import random

import faulty_annotations as made
import imagecodecs
import numpy as np
import pytest

from dpipe import doctor

TITLES = list(made.FAULTS)


def counts(report):
    return {finding.kind: finding.count for finding in report.findings}


def checked(folder, content, **given):
    path = made.write(folder, content)
    return doctor.check_annotations(path, pictures_in=folder / "images", **given)


def test_clean_annotations_have_no_fault(tmp_path):
    report = checked(tmp_path, made.clean())
    assert counts(report) == {}
    assert report.is_clean


@pytest.mark.parametrize("fault", TITLES)
def test_a_fault_is_found_once_under_its_kind(tmp_path, fault):
    report = checked(tmp_path, made.planted(fault))
    kind = made.FAULTS[fault][0]
    assert counts(report) == {kind: 1}
    assert report.is_clean == (kind == "overlap")
    (example,) = report.findings[0].examples
    assert example.file == "m.json"
    assert example.picture or example.annotations


def test_faults_of_many_objects_are_found_together(tmp_path):
    content = made.clean()
    for title in (
        "an area of an RLE", "a vertex moved", "an outline that crosses itself",
        "an object drawn twice", "an object half outside", "a box without height",
    ):  # fmt: skip
        made.FAULTS[title][1](content)
    found = counts(checked(tmp_path, content))
    # the copy of object 30 was made before that one was moved outside, so it is no double
    assert found == {
        "area_disagrees": 1, "box_disagrees": 1, "crossing_outline": 1, "outside": 1, "no_area": 1
    }  # fmt: skip


@pytest.mark.parametrize(
    ("annotation", "kind"), [(50, "crossing_outline"), (51, "box_disagrees"), (52, None)]
)
def test_only_edges_that_cross_inside_both_count(tmp_path, annotation, kind):
    """A bow tie crosses; two squares that share a corner touch."""
    content = made.clean()
    rings = {
        50: [10, 10, 26, 26, 26, 10, 10, 26],
        51: [10, 10, 18, 10, 18, 18, 26, 18, 26, 26, 18, 26, 18, 18, 10, 18],
        52: [10, 10, 18, 10, 18, 18, 26, 18, 26, 26, 18, 26, 18, 18, 10, 18],
    }
    one = content["annotations"][annotation] | made.measured(rings[annotation])
    one |= {"bbox": [10.0, 10.0, 16.0, 18.5]} if kind == "box_disagrees" else {}
    content["images"].append({"id": 9, "file_name": "b.png", "height": 40, "width": 40})
    content["annotations"].append(one | {"id": 500, "image_id": 9})
    path = made.write(tmp_path, content)
    assert counts(doctor.check_annotations(path)) == ({kind: 1} if kind else {})


def test_areas_by_corners_and_areas_in_pixels_are_both_right(tmp_path):
    content = made.clean()
    for one in content["annotations"][30:60]:
        one["area"] = float(round(one["area"]))
    content["annotations"][31]["area"] *= 1.049
    content["annotations"][32]["area"] -= 1.9
    assert counts(checked(tmp_path, content)) == {}


def test_a_box_may_be_off_by_a_pixel(tmp_path):
    content = made.clean()
    left, top, width, height = content["annotations"][30]["bbox"]
    content["annotations"][30]["bbox"] = [left - 0.9, top, width + 1.8, height]
    assert counts(checked(tmp_path, content)) == {}
    content["annotations"][30]["bbox"] = [left - 0.9, top, width + 2.0, height]
    assert counts(checked(tmp_path, content)) == {"box_disagrees": 1}


def test_objects_of_two_classes_on_the_same_place_are_no_doubles(tmp_path):
    content = made.planted("an object drawn twice")
    content["annotations"][-1]["category_id"] = 2
    content["annotations"][30]["category_id"] = 1
    assert counts(checked(tmp_path, content)) == {"overlap": 1}


def test_three_of_the_same_object_are_two_doubles(tmp_path):
    content = made.planted("an object drawn twice")
    content["annotations"].append(content["annotations"][-1] | {"id": 1000})
    assert counts(checked(tmp_path, content)) == {"double_object": 2}


def test_an_object_by_number_is_read_too(tmp_path):
    content = made.planted("an object drawn twice")
    content["annotations"] = {str(one["id"]): one for one in content["annotations"]}
    assert counts(checked(tmp_path, content)) == {"double_object": 1}


def test_pictures_missing_damaged_and_of_another_size(tmp_path):
    path = made.write(tmp_path, made.clean())
    (tmp_path / "images" / made.name_of(0)).unlink()
    damaged = tmp_path / "images" / made.name_of(1)
    damaged.write_bytes(damaged.read_bytes()[:200])
    small = imagecodecs.png_encode(np.zeros((9, 9), "u1"))
    (tmp_path / "images" / made.name_of(2)).write_bytes(small)
    report = doctor.check_annotations(path, pictures_in=[tmp_path / "images"])
    assert counts(report) == {"missing_picture": 1, "damaged_picture": 1, "other_size": 1}
    assert report.findings[2].examples[0].detail == "9 x 9; its entry says 150 x 160"


def test_a_picture_in_two_splits_by_its_name_or_by_its_pixels(tmp_path):
    train, test = made.clean(), made.clean()
    train["images"], test["images"] = train["images"][:4], train["images"][3:]
    for part in (train, test):
        ids = {image["id"] for image in part["images"]}
        part["annotations"] = [one for one in part["annotations"] if one["image_id"] in ids]
    made.write(tmp_path, train, "train.json")
    path = made.write(tmp_path, test, "test.json")
    report = doctor.check_annotations(tmp_path)
    assert counts(report) == {"in_two_files": 1}
    assert report.findings[0].examples[0].detail == "also in test.json"
    other = tmp_path / "images" / "other.png"
    other.write_bytes(imagecodecs.png_encode(made.pixels(3)))
    for image in test["images"]:
        if image["file_name"] == made.name_of(3):
            image["file_name"] = "other.png"
    path.write_text(json.dumps(test))
    assert counts(doctor.check_annotations(tmp_path)) == {}
    report = doctor.check_annotations(
        [tmp_path / "train.json", path], pictures_in=tmp_path / "images"
    )
    assert counts(report) == {"in_two_files": 1}
    assert report.findings[0].examples[0].detail == f"also in train.json as {made.name_of(3)}"


@pytest.mark.parametrize("by_number", [False, True])
def test_of_a_file_that_is_cut_off_the_rest_is_checked(tmp_path, by_number):
    content = made.planted("a vertex moved")
    if by_number:
        content["annotations"] = {str(one["id"]): one for one in content["annotations"]}
    content = {key: content[key] for key in ("info", "categories", "images", "annotations")}
    text = json.dumps(content)
    path = made.write(tmp_path, made.clean())
    path.write_text(text[: len(text) // 2])
    report = doctor.check_annotations(path)
    assert counts(report) == {"cut_off": 1, "box_disagrees": 1}
    kept = text[: len(text) // 2].count('"image_id"') - 1
    begin = f"{kept} annotations and 6 pictures are complete"
    assert report.findings[0].examples[0].detail.startswith(begin)


def test_a_file_cut_off_anywhere_is_cut_off(tmp_path):
    content = made.clean()
    content["annotations"] = content["annotations"][:3]
    content["info"]["description"] = 'a "text" with ] and \\'
    text = json.dumps(content)
    path = tmp_path / "m.json"
    for length in random.Random(3).sample(range(1, len(text) - 1), 60):
        path.write_text(text[:length])
        assert counts(doctor.check_annotations(path)) == {"cut_off": 1}, length


@pytest.mark.parametrize("text", ["", "hello", "[1, 2", "[]", '{"a": 1}', '{"images": [}]}'])
def test_what_is_no_file_of_annotations_is_said(tmp_path, text):
    path = tmp_path / "m.json"
    path.write_text(text)
    found = counts(doctor.check_annotations(path))
    assert sum(found.values()) == 1
    assert set(found) <= {"unreadable_file", "cut_off"}


def test_siblings_are_those_of_the_well_then_of_the_cell_type(tmp_path):
    content = made.planted("a picture of two objects")
    for k, image in enumerate(content["images"]):
        image["file_name"] = f"A172_Phase_{'ABCDEF'[k]}7_1_00d00h00m_1.png"
    path = made.write(tmp_path, content)
    assert counts(doctor.check_annotations(path)) == {"incomplete_picture": 1}
    for k, image in enumerate(content["images"]):
        image["file_name"] = f"{'ABCDEF'[k]}_Phase_A7_1_00d00h00m_1.png"
    path = made.write(tmp_path, content)
    assert counts(doctor.check_annotations(path)) == {}  # nothing is known of other types


HOTCOCO = {
    "double_object": "near_duplicate", "outside": "bbox_out_of_bounds",
    "annotation_id_twice": "duplicate_ann_id", "unknown_category": "orphan_category_id",
    "unlisted_picture": "orphan_image_id", "no_area": "degenerate_bbox",
}  # fmt: skip
"""What hotcoco's healthcheck calls the kinds that it knows."""


@pytest.mark.parametrize("fault", [t for t in TITLES if made.FAULTS[t][0] in HOTCOCO])
def test_hotcoco_finds_the_same_objects(tmp_path, fault):
    hotcoco = pytest.importorskip("hotcoco")
    report = checked(tmp_path, made.planted(fault))
    with contextlib.redirect_stderr(io.StringIO()):
        health = hotcoco.COCO(str(tmp_path / "m.json")).healthcheck()
    said = {row["code"]: row["affected_ids"] for row in health["errors"] + health["warnings"]}
    assert report.findings[0].examples[0].annotations[-1] in said[HOTCOCO[made.FAULTS[fault][0]]]
