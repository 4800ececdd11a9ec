"""Pictures whose label image is missing or cannot be used are no pictures without objects."""

import json

import imagecodecs
import numpy as np
import pytest

import dpipe
from dpipe.readers.pictures.folders import open_pictures

GREY = np.full((12, 15), 90, "u1")
LABELS = np.zeros((12, 15), "u1")
LABELS[2:5, 3:9] = 1


@pytest.fixture
def ds(tmp_path):
    """Five pictures: labelled, with an empty mask, without, with one of other size, a torn one."""
    masks = {"a": LABELS, "b": LABELS * 0, "d": LABELS[:5], "e": LABELS}
    for name in "abcde":
        (tmp_path / f"{name}.png").write_bytes(imagecodecs.png_encode(GREY))
    for name, mask in masks.items():
        data = imagecodecs.png_encode(np.ascontiguousarray(mask))
        (tmp_path / f"{name}_mask.png").write_bytes(data[:50] if name == "e" else data)
    return open_pictures(str(tmp_path))


def test_their_flag_says_so(ds):
    assert ds["label_flag"].values[0].tolist() == [0, 0, 16, 16, 1]


@pytest.mark.parametrize("writer", ["coco", "yolo", "geojson", "label-png"])
def test_they_are_left_out_and_counted(ds, writer, tmp_path):
    options = {"geojson": {"per": "picture"}}.get(writer, {})
    with pytest.warns(UserWarning, match="3 pictures without a label image that can be used"):
        dpipe.WRITERS[writer]({"m": ds}, str(tmp_path / "out"), **options)
    names = {path.name for path in (tmp_path / "out").rglob("*.*")}
    assert not [name for name in names if name[0] in "cde" and "." in name and name != "data.yaml"]
    if writer == "coco":
        content = json.loads((tmp_path / "out/m.json").read_text())
        assert [image["file_name"] for image in content["images"]] == ["a.png", "b.png"]
        assert len(content["annotations"]) == 1
