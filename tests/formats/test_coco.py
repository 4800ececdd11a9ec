"""Files of annotations: what is parsed, what is left out and said, what is refused."""

import gzip
import json
from pathlib import Path

import annotated
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpipe.errors import InputError
from dpipe.formats import coco


def parsed(**changes):
    return coco.parse(json.dumps(annotated.content(**changes)).encode())


def annotation(**changes):
    return {"id": 1, "image_id": 3, "category_id": 1, "segmentation": []} | changes


def test_what_the_file_says():
    found = parsed()
    objects = found.objects
    assert len(objects) == 4
    assert list(objects.ids) == [100, 101, 102, 103]
    assert list(objects.images) == [7, 7, 3, 3]
    assert list(objects.categories) == [1, 2, 1, 1]
    assert list(objects.crowd) == [0, 0, 0, 1]
    assert list(objects.area) == [10.5, 11.5, 12.5, 9.0]
    assert list(objects.boxes[-4:]) == [5, 0, 1, 9]
    assert list(objects.ring_counts) == [1, 1, 2, 0]
    assert list(objects.vertex_counts) == [4, 3, 3, 4]
    assert list(objects.x[:4]) == [1.0, 6.5, 6.5, 1.0]
    assert list(objects.y[-4:]) == [5.5, 5.5, 8.5, 8.5]
    assert list(objects.run_counts) == [0, 0, 0, 3]
    assert list(objects.runs) == [50, 9, 61]
    assert found.notes == []
    assert found.info == {"year": 2026}


def test_an_object_by_number_instead_of_a_list():
    listed = annotated.content()["annotations"]
    by_number = {str(one["id"]): one for one in listed}
    assert list(parsed(annotations=by_number).objects.x) == list(parsed().objects.x)


def test_a_bare_list_of_detections():
    data = json.dumps([annotation(score=0.25), annotation(score=0.5)]).encode()
    found = coco.parse(data)
    assert list(found.objects.score) == [0.25, 0.5]
    assert found.images == []


def test_compressed_runs_are_those_of_the_list():
    text = {"size": [10, 12], "counts": "b19m1"}
    found = parsed(annotations=[annotation(segmentation=text)])
    assert list(found.objects.runs) == [50, 9, 61]


NUMBERS = [0, 1, 12.5, 592.12, 1e-3, -3.75, 123456789.125, 0.1, 1e22, 1.5e-7, 2**53 + 1.0]


def test_numbers_are_those_of_json_to_the_last_bit():
    ring = [*NUMBERS, 4.0]
    found = parsed(annotations=[annotation(segmentation=[ring])])
    assert list(found.objects.x) == ring[0::2]
    assert list(found.objects.y) == ring[1::2]


@given(st.lists(st.floats(-1e5, 1e5), min_size=3, max_size=9))
def test_any_number_is_that_of_json(values):
    ring = [value for value in values for _ in "xy"]
    found = parsed(annotations=[annotation(segmentation=[ring])])
    assert list(found.objects.x) == values


def test_two_decimals_are_those_of_json():
    values = [k / 100 for k in range(70_400)]
    ring = [value for value in values for _ in "xy"]
    assert list(parsed(annotations=[annotation(segmentation=[ring])]).objects.y) == values


def test_order_stays_where_one_outline_is_not_plain():
    rings = [[[0, 0, 1, 0, 1, 1]], {"size": [2, 2], "counts": [1, 3]}, [[5, 5, 6, 5, 6, 6]], None]
    found = parsed(annotations=[annotation(id=i, segmentation=r) for i, r in enumerate(rings)])
    assert list(found.objects.ids) == [0, 1, 2, 3]
    assert list(found.objects.ring_counts) == [1, 0, 1, 0]
    assert list(found.objects.run_counts) == [0, 2, 0, 0]
    assert list(found.objects.x) == [0, 1, 1, 5, 6, 6]


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"segmentation": [[1, 2, 3, 4, 5]]}, "a ring of 5 numbers"),
        ({"segmentation": [["a", 2]]}, "segmentation"),
        ({"segmentation": {"size": [2, 2], "counts": [1, 2]}}, "RLE: 3 pixels; its size is 2 x 2"),
        ({"segmentation": {"size": [2, 2], "counts": [9, -5]}}, "RLE: a run below 0"),
        ({"segmentation": {"size": [2, 2], "counts": "~~"}}, "compressed RLE"),
        ({"bbox": [1, 2, 3]}, "a box of 3 numbers"),
        ({"image_id": "seven"}, "Expected `int`"),
        ({"area": "large"}, "Expected `float"),
    ],
)
def test_an_annotation_that_cannot_be_used_is_said_and_the_rest_goes_on(changes, note):
    found = parsed(annotations=[annotation(), annotation(**changes), annotation(id=2)])
    assert list(found.objects.ids) == [1, 2]
    (line,) = found.notes
    assert line.startswith("1 annotations cannot be used: annotation 1: ")
    assert note in line


def test_keys_that_are_not_known_are_named():
    found = parsed(annotations=[annotation(keypoints=[1], depth=3), annotation(depth=4)])
    assert len(found.objects) == 2
    assert found.notes == [
        "2 annotations have the key 'depth', which is not kept",
        "1 annotations have the key 'keypoints', which is not kept",
    ]


def test_nan_in_the_file_is_read_as_unknown():
    text = json.dumps(annotated.content(annotations=[annotation(area=float("nan"))]))
    found = coco.parse(text.encode())
    assert np.isnan(found.objects.area[0])
    assert found.notes == ["NaN or Infinity in the file, which is no JSON: read as unknown"]


def test_unknown_vertices_are_kept():
    found = parsed(annotations=[annotation(segmentation=[[1, 2, None, 3, 4, 5]])])
    np.testing.assert_array_equal(found.objects.x, [1, np.nan, 4])


def test_numbers_as_texts_or_with_a_point_are_numbers():
    found = parsed(annotations=[annotation(), annotation(image_id=7.0), annotation(image_id="7")])
    assert list(found.objects.images) == [3, 7, 7]
    assert found.notes == ["2 annotations have whole numbers as texts or with a point"]


def test_a_list_of_numbers_is_one_ring():
    found = parsed(annotations=[annotation(segmentation=[1, 2, 3, 4, 5, 6]), annotation()])
    assert list(found.objects.x) == [1, 3, 5]
    assert list(found.objects.ring_counts) == [1, 0]
    assert found.notes == ["1 outlines are lists of numbers, read as one ring each"]


def test_a_mark_of_utf_8_at_the_beginning_is_no_matter():
    data = b"\xef\xbb\xbf" + json.dumps(annotated.content()).encode()
    assert len(coco.parse(data).objects) == 4


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (gzip.compress(b"{}", mtime=0), "packed by gzip: unpack it"),
        ("{}".encode("utf-16"), "UTF-16: save it as UTF-8"),
        ('{"images": [{"file_name": "\u00f6"}]}'.encode("latin-1"), "no UTF-8 .*save it as UTF-8"),
        (b'{"images": "x"}', r"Expected `array \| null`, got `str`.*as COCO has them"),
        (b"", "no JSON object"),
        (b"P5 12", "no JSON object"),
        (b'{"a": 1}', "no key images or annotations"),
        (b'{"images": [], "annotations": 3}', "expected a list, or an object by number"),
        (b'{"images": [', "ends after 12 bytes, in the middle"),
        (b'{"images": [}, {"id": 3}]}', "no JSON"),
    ],
)
def test_what_is_no_file_of_annotations_is_refused(data, problem):
    with pytest.raises(InputError, match=problem):
        coco.parse(data)


def test_a_cut_file_is_refused_wherever_it_was_cut():
    data = json.dumps(annotated.content()).encode()
    for end in range(40, len(data) - 1, 97):
        with pytest.raises(InputError, match="in the middle"):
            coco.parse(data[:end])


def test_livecell_as_json_reads_it(shared_data: Path):
    data = (shared_data / "livecell/annotations/livecell_coco_val.json").read_bytes()
    found, expected = coco.parse(data), json.loads(data)["annotations"]
    assert found.notes == []
    numbers = [value for one in expected for ring in one["segmentation"] for value in ring]
    assert list(found.objects.x) == numbers[0::2]
    assert list(found.objects.y) == numbers[1::2]
    assert list(found.objects.area) == [one["area"] for one in expected]
    assert list(found.objects.boxes) == [side for one in expected for side in one["bbox"]]
