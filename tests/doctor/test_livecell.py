"""A real file, LIVECell's: eight outlines cross themselves, two cells lie in others."""

import json
from fractions import Fraction
from itertools import pairwise

import pytest

from dpipe import doctor

CROSSING = [92987, 100753, 512929, 512963, 513176, 513184, 513223, 522379]


@pytest.fixture(scope="module")
def livecell(shared_data):
    return shared_data / "livecell"


@pytest.fixture(scope="module")
def report(livecell):
    return doctor.check_annotations(livecell / "annotations", pictures_in=livecell / "images")


def test_what_is_wrong_with_it(report):
    found = {finding.kind: finding.count for finding in report.findings}
    assert found == {"crossing_outline": 8, "overlap": 2}


def crosses(ring):
    """Whether two edges cross inside both, in exact numbers, every edge with every other."""
    numbers = [Fraction(str(value)) for value in ring]
    points = [*zip(numbers[0::2], numbers[1::2], strict=True)]
    edges = [*pairwise([*points, points[0]])]

    def side(edge, point):
        (ax, ay), (bx, by) = edge
        return (bx - ax) * (point[1] - ay) - (by - ay) * (point[0] - ax)

    return any(
        side(one, other[0]) * side(one, other[1]) < 0
        and side(other, one[0]) * side(other, one[1]) < 0
        for k, one in enumerate(edges)
        for other in edges[k + 1 :]
    )


def test_its_crossing_outlines_are_those_of_exact_arithmetic(livecell, report):
    path = livecell / "annotations" / "livecell_coco_val.json"
    objects = json.loads(path.read_text())["annotations"]
    exact = [one["id"] for one in objects if any(map(crosses, one["segmentation"]))]
    found = [example.annotations[0] for example in report.findings[0].examples]
    assert sorted(found) == sorted(exact) == CROSSING


def test_its_overlaps_are_those_of_pycocotools(livecell, report):
    mask = pytest.importorskip("pycocotools.mask")
    path = livecell / "annotations" / "livecell_coco_val.json"
    objects = json.loads(path.read_text())["annotations"]
    pairs = set()
    for image in {one["image_id"] for one in objects}:
        mine = [one for one in objects if one["image_id"] == image]
        runs = [mask.merge(mask.frPyObjects(one["segmentation"], 520, 704)) for one in mine]
        areas = [mask.area(run) for run in runs]
        for k, run in enumerate(runs):
            for other in range(k + 1, len(runs)):
                common = mask.area(mask.merge([run, runs[other]], intersect=True))
                if common > 0.2 * min(areas[k], areas[other]):
                    pairs.add((mine[k]["id"], mine[other]["id"]))
    assert {example.annotations for example in report.findings[1].examples} == pairs


def test_cut_off_like_a_broken_download(livecell, tmp_path):
    data = (livecell / "annotations" / "livecell_coco_val.json").read_bytes()
    path = tmp_path / "val.json"
    path.write_bytes(data[: len(data) * 2 // 3])
    report = doctor.check_annotations(path, repaired_in=tmp_path / "copies")
    assert [finding.kind for finding in report.findings] == ["cut_off", "crossing_outline"]
    count = data[: len(data) * 2 // 3].count(b'"segmentation"') - 1
    assert report.findings[0].examples[0].detail.startswith(f"{count} annotations and 5 pictures")
    copy = json.loads((tmp_path / "copies" / "val.json").read_bytes())
    assert copy["annotations"] == json.loads(data)["annotations"][:count]
