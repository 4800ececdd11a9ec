"""Repaired copies: clean when they are checked again, and nothing else in them is changed."""

import contextlib
import io
import json
import warnings

import faulty_annotations as made
import pytest

from dpipe import doctor
from dpipe.doctor.clipping import clipped_ring, ring_area
from dpipe.errors import UsageError


def repaired(folder, content):
    """The report, the copy as JSON, and the kinds that are found in the copy."""
    path = made.write(folder, content)
    before = path.read_bytes()
    report = doctor.check_annotations(path, repaired_in=folder / "copies")
    assert path.read_bytes() == before
    copy = folder / "copies" / "m.json"
    again = doctor.check_annotations(copy)
    return report, json.loads(copy.read_bytes()), {finding.kind for finding in again.findings}


def loaded(path):
    pycocotools = pytest.importorskip("pycocotools.coco")
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of NumPy, about pycocotools
        coco = pycocotools.COCO(str(path))
        for one in coco.loadAnns(coco.getAnnIds()):
            if one.get("segmentation"):
                assert coco.annToMask(one).any()
    return coco


@pytest.mark.parametrize("fault", list(made.FAULTS))
def test_a_copy_is_clean_but_for_what_needs_a_person(tmp_path, fault):
    kind = made.FAULTS[fault][0]
    report, copy, left = repaired(tmp_path, made.planted(fault))
    if fault == "an entry without a size":
        assert left == {"unusable_entry"}
        assert report.changes == []
        return
    if fault == "a number for two pictures":
        assert left == {"empty_picture"}  # nobody knows whose objects they are
    elif kind in made.UNREPAIRED:
        assert left == {kind}
        assert report.changes == []
    else:
        assert left == set()
        assert sum(change.count for change in report.changes) == 1
    assert loaded(tmp_path / "copies" / "m.json").imgs.keys() == {
        image["id"] for image in copy["images"]
    }


def test_a_copy_of_clean_annotations_is_the_file(tmp_path):
    report, _, left = repaired(tmp_path, made.clean())
    assert left == set()
    assert report.changes == []
    assert (tmp_path / "copies" / "m.json").read_bytes() == (tmp_path / "m.json").read_bytes()


def test_what_has_no_fault_stays_as_it_is(tmp_path):
    content = made.planted("a vertex moved")
    _, copy, _ = repaired(tmp_path, content)
    mended, given = copy["annotations"][31], content["annotations"][31]
    assert mended | {"bbox": 0, "area": 0} == given | {"bbox": 0, "area": 0}
    truth = made.measured(given["segmentation"][0])
    assert mended["area"] == pytest.approx(truth["area"])
    assert mended["bbox"] == truth["bbox"]
    copy["annotations"][31] = given
    assert copy == content  # keys that dpipe does not know among them


def test_pictures_under_two_numbers_are_merged_and_their_doubles_dropped(tmp_path):
    content = made.clean()
    content["images"].append(content["images"][1] | {"id": 99})
    content["annotations"] += [
        one | {"id": one["id"] + 1000, "image_id": 99}
        for one in content["annotations"]
        if one["image_id"] == 11
    ]
    report, copy, left = repaired(tmp_path, content)
    assert left == set()
    assert copy == made.clean()
    assert [(change.what, change.count) for change in report.changes] == [
        ("pictures listed twice merged", 1),
        ("double objects dropped", 25),
    ]


def test_an_object_half_outside_is_clipped_at_the_border(tmp_path):
    content = made.planted("an object half outside")
    _, copy, _ = repaired(tmp_path, content)
    one, given = copy["annotations"][30], content["annotations"][30]
    assert min(one["segmentation"][0]) >= 0
    assert one["bbox"][0] == 0
    assert one["area"] == pytest.approx(given["area"] / 2, rel=0.01)  # its middle is at 0.0


def test_clipping_a_ring():
    square = [-5, -5, 15, -5, 15, 15, -5, 15]
    assert ring_area(clipped_ring(square, 10, 8)) == 80
    assert clipped_ring([-5, 0, -1, 0, -1, 3], 10, 8) == []
    inside = [1.0, 1.0, 4.0, 1.0, 4.0, 4.0]
    assert clipped_ring(inside, 10, 8) == inside


def test_a_cut_off_file_is_repaired_to_what_is_complete(tmp_path):
    text = json.dumps(made.clean())
    path = made.write(tmp_path, made.clean())
    path.write_text(text[:9000])
    report = doctor.check_annotations(path, repaired_in=tmp_path / "copies")
    copy = json.loads((tmp_path / "copies" / "m.json").read_bytes())
    assert copy["annotations"] == made.clean()["annotations"][: len(copy["annotations"])]
    assert 0 < len(copy["annotations"]) < 150
    assert report.changes[0].what == "ends after what is complete"


def test_copies_go_over_no_file(tmp_path):
    path = made.write(tmp_path, made.clean())
    with pytest.raises(UsageError, match=r"m\.json: is there already"):
        doctor.check_annotations(path, repaired_in=tmp_path)
    other = made.write(tmp_path / "b", made.clean())
    with pytest.raises(UsageError, match=r"several files are called m\.json"):
        doctor.check_annotations([path, other], repaired_in=tmp_path / "copies")
    assert not (tmp_path / "copies").exists()
