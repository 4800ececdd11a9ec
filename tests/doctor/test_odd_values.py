"""Whatever a file says, the doctor finds words for it, and mends what it says it mends."""

import copy
import gzip
import json
import random

import annotated
import faulty_annotations as made
import pytest

from dpipe import doctor
from dpipe.readers.annotations.coco import open_coco

ODD = [
    None, True, -1, 0, 1.5, "x", "", [], {}, [1], [[1, 2, 3, 4, 5, 6]], [[]], [[None] * 6], 1e300,
    2**40, 2**63, 2**70, float("nan"), float("inf"), [5, 5, 5, 5], [-3, -3, 1000, 1000],
    [1, 2, 0, 0], {"size": [1, 1], "counts": "1"}, {"size": [150, 160], "counts": "52203"},
    {"counts": [24000]}, {"size": [2**70, 0], "counts": []},
    {"size": [150, 160], "counts": [0, 24000]},
]  # fmt: skip
NEEDS_A_PERSON = {*made.UNREPAIRED, "unusable_entry"}


def odd(seed):
    """Annotations with one to six values changed, dropped or planted faults."""
    chance, content = random.Random(seed), made.clean()
    content["annotations"] = chance.sample(content["annotations"], 40)
    for _ in range(chance.randint(1, 6)):
        where = chance.choice(["annotations", "annotations", "images", "categories", None])
        one = chance.choice(content[where]) if where else content["annotations"][0]
        if one:
            key = chance.choice(list(one))
            if chance.random() < 0.2:
                del one[key]
            else:
                one[key] = copy.deepcopy(chance.choice(ODD))
    return json.dumps(content)


@pytest.mark.parametrize("start", range(0, 200, 50))
def test_odd_values(tmp_path, start):
    path, target = tmp_path / "m.json", tmp_path / "copies"
    for seed in range(start, start + 50):
        path.write_text(odd(seed))
        report = doctor.check_annotations(path, repaired_in=target)
        assert report.findings or report.changes == []
        again = doctor.check_annotations(target / "m.json")
        assert {finding.kind for finding in again.findings} <= NEEDS_A_PERSON, seed
        (target / "m.json").unlink()


@pytest.mark.parametrize("key", ["id", "image_id", "category_id"])
def test_numbers_that_no_column_takes(tmp_path, key):
    content = made.clean()
    content["annotations"][30][key] = 2**70
    path = made.write(tmp_path, content)
    found = {finding.kind: finding.count for finding in doctor.check_annotations(path).findings}
    assert found == {"unusable_entry": 1}
    assert "1 annotations cannot be used" in open_coco(str(path)).attrs["notes"][0]


def test_numbers_of_pictures_and_classes_that_no_column_takes(tmp_path):
    content = made.clean()
    content["images"][0]["id"] = content["categories"][0]["id"] = 2**64
    path = made.write(tmp_path, content)
    found = {finding.kind: finding.count for finding in doctor.check_annotations(path).findings}
    assert found["unusable_entry"] == 1
    assert open_coco(str(path)).sizes["record"] == made.PICTURES - 1


def test_a_file_that_cannot_be_read_keeps_no_other_from_repair(tmp_path):
    made.write(tmp_path, made.planted("a box moved"))
    (tmp_path / "other.json").write_text("no annotations")
    report = doctor.check_annotations(tmp_path, repaired_in=tmp_path / "copies")
    assert [finding.kind for finding in report.findings] == ["unreadable_file", "box_disagrees"]
    assert [path.name for path in (tmp_path / "copies").iterdir()] == ["m.json"]


def test_an_object_by_number_that_says_a_number_twice_is_read_and_repaired(tmp_path):
    content = made.planted("an area of another")
    first, second = (json.dumps(one) for one in content["annotations"][30:32])
    content["annotations"] = []
    text = json.dumps(content).replace('"annotations": []', f'"annotations": {{"1": {first}, "1": ')
    path = tmp_path / "m.json"
    path.write_text(text.replace('"1": ,', f'"1": {second}}},'))
    doctor.check_annotations(path, repaired_in=tmp_path / "copies")
    mended = json.loads((tmp_path / "copies" / "m.json").read_bytes())["annotations"]
    assert [one["id"] for one in mended] == [31, 32]
    assert mended[0]["area"] > 200


def test_a_file_with_a_mark_of_utf_8_is_repaired(tmp_path):
    path = tmp_path / "m.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(annotated.content()).encode())
    doctor.check_annotations([str(path)], repaired_in=str(tmp_path / "mended"))
    assert json.loads((tmp_path / "mended/m.json").read_bytes())["images"]


@pytest.mark.parametrize(
    "data", [gzip.compress(b"{}", mtime=0), b"\x7b\xf6\x7d"], ids=["gzip", "latin-1"]
)
def test_what_is_packed_or_of_another_code_is_not_cut_off(tmp_path, data):
    path = tmp_path / "m.json"
    path.write_bytes(data)
    assert [finding.kind for finding in doctor.check_annotations([str(path)]).findings] == [
        "unreadable_file"
    ]
