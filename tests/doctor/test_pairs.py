"""Pairs of objects: doubles and overlaps are those of pycocotools' masks."""

import faulty_annotations as made
import numpy as np
import pytest

from dpipe import doctor


def crowded(seed):
    """Sixty cells in a small picture; every third is another one, moved or grown a little."""
    rng = np.random.default_rng(seed)
    image = {"id": 1, "file_name": "a.png", "height": 90, "width": 100}
    objects, before = [], (0.0, 0.0, 0.0)
    for k in range(60):
        x, y = rng.uniform(12, 88), rng.uniform(12, 78)
        radius = rng.uniform(3, 9)
        if k % 3 == 2:
            x, y, radius = before[0] + rng.uniform(0, 0.5), before[1], before[2]
            radius += rng.uniform(0, 0.4)
        before = (x, y, radius)
        one = {"id": k + 1, "image_id": 1, "category_id": 1, "iscrowd": 0}
        objects.append(one | made.measured(made.octagon(x, y, radius)))
    categories = [{"id": 1, "name": "cell"}]
    return {"images": [image], "annotations": objects, "categories": categories}


@pytest.mark.parametrize("seed", range(5))
def test_doubles_and_overlaps(tmp_path, seed):
    mask = pytest.importorskip("pycocotools.mask")
    content = crowded(seed)
    found = doctor.check_annotations(made.write(tmp_path, content)).findings
    runs = [
        mask.merge(mask.frPyObjects(one["segmentation"], 90, 100)) for one in content["annotations"]
    ]
    areas = [float(mask.area(run)) for run in runs]
    doubles, overlaps = set(), set()
    for i in range(60):
        for j in range(i + 1, 60):
            common = float(mask.area(mask.merge([runs[i], runs[j]], intersect=True)))
            if common >= 0.9 * (areas[i] + areas[j] - common):
                doubles.add(j + 1)
            elif common > 0.2 * min(areas[i], areas[j]):
                overlaps.add((i + 1, j + 1))
    overlaps = {pair for pair in overlaps if not doubles & set(pair)}
    told = {
        finding.kind: [example.annotations for example in finding.examples] for finding in found
    }
    assert {pair[1] for pair in told["double_object"]} == doubles
    assert len(told["double_object"]) == len(doubles) > 3
    assert set(told["overlap"]) == overlaps
    assert len(overlaps) > 10
