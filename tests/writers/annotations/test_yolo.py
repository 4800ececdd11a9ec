"""Writer yolo: lines by hand, and outlines that draw the pixels they came from."""

import json
from pathlib import Path

import annotated
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from dpipe import export
from dpipe.errors import SchemaError, UsageError
from dpipe.readers import READERS
from dpipe.readers.annotations.coco import open_coco

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
LEFT_OUT = "m: 1 objects stand for several"


def lines(folder: Path, name: str) -> list[list[float]]:
    text = (folder / "labels" / f"{name}.txt").read_text()
    return [[float(word) for word in line.split()] for line in text.splitlines()]


def settings(folder: Path) -> dict[str, object]:
    """Keys of one line of ``data.yaml``, whose values are JSON too."""
    text = (folder / "data.yaml").read_text().splitlines()
    pairs = [line.strip().split(": ") for line in text if not line.endswith(":")]
    return {key: json.loads(value) for key, value in pairs}


def test_boxes_are_shares_of_the_picture(tmp_path):
    ds = annotated.source(tmp_path / "raw")
    with pytest.warns(UserWarning, match=LEFT_OUT):
        paths = export({"m": ds}, "yolo", tmp_path / "out")
    assert [Path(path).relative_to(tmp_path / "out").as_posix() for path in paths] == [
        *("data.yaml", "labels/m/cells_3.txt", "labels/m/cells_7.txt"),
        *("images/m/cells_3.tif", "images/m/cells_7.tif"),
    ]
    # of 11 x 8 pixels: left 1, top 2, width 3, height 4 and 5
    assert lines(tmp_path / "out", "m/cells_7") == [
        pytest.approx([0, 2.5 / 11, 4 / 8, 3 / 11, 4 / 8]),
        pytest.approx([1, 2.5 / 11, 4.5 / 8, 3 / 11, 5 / 8]),
    ]
    assert settings(tmp_path / "out") == {
        "train": ["images/m"], "val": [], "test": [], "0": "cell", "1": "debris",
    }  # fmt: skip


def test_outlines_are_shares_of_the_picture(tmp_path):
    ds = annotated.source(tmp_path / "raw")
    says = "1 objects of several parts are joined to one outline; 1 objects stand for several"
    with pytest.warns(UserWarning, match=says):
        export({"m_val": ds}, "yolo", tmp_path / "out", kind="segmentation", pictures=False)
    assert not (tmp_path / "out/images").exists()
    assert settings(tmp_path / "out")["val"] == ["images/m_val"]
    corners = np.array([[4, 2], [9, 2], [9, 6]]) / [11, 8]
    found = lines(tmp_path / "out", "m_val/cells_7")[1]
    assert found == pytest.approx([1, *corners.reshape(-1)])
    (joined,) = lines(tmp_path / "out", "m_val/cells_3")
    assert len(joined) == 1 + 2 * (3 + 4 + 2)  # two more where the outlines are joined


def test_labels_are_outlined_along_their_pixels(tmp_path):
    labels = annotated.odd_labels()
    says = "1 objects of several parts.*1 objects have holes.*2 objects were pixels"
    with pytest.warns(UserWarning, match=says):
        export({"m": annotated.collection(labels)}, "yolo", tmp_path, kind="segmentation")
    height, width = labels.shape
    for number, (category, *shares) in zip((3, 700_000), lines(tmp_path, "m/a"), strict=True):
        assert category == 0
        ring = np.array(shares).reshape(-1, 2) * [width, height]
        runs = coco_mask.frPyObjects([ring.reshape(-1).tolist()], height, width)
        np.testing.assert_array_equal(coco_mask.decode(runs)[..., 0], labels == number)


def test_what_is_outside_is_cut(tmp_path):
    objects = [
        {"id": 1, "image_id": 3, "category_id": 2, "bbox": [-2, -2, 5, 7]},
        {"id": 2, "image_id": 3, "category_id": 2, "bbox": [20, 20, 5, 5]},
        {"id": 3, "image_id": 3, "category_id": 2},
        {"id": 4, "image_id": 3, "bbox": [1, 1, 5, 5]},
    ]
    ds = annotated.source(tmp_path / "raw", annotations=objects)
    says = (
        "2 objects were cut at the border.*1 objects have no area.*1 objects have no outline or "
        "box, and are left out; 1 objects are of no class"
    )
    with pytest.warns(UserWarning, match=says):
        export({"m": ds}, "yolo", tmp_path / "out")
    assert lines(tmp_path / "out", "m/cells_3") == [
        pytest.approx([1, 1.5 / 12, 2.5 / 10, 3 / 12, 5 / 10])
    ]
    assert (tmp_path / "out/labels/m/cells_7.txt").read_text() == ""


def test_wrong_options(tmp_path):
    ds = annotated.dataset()
    with pytest.raises(UsageError, match="kind='boxes'; expected detection or segmentation"):
        export({"m": ds}, "yolo", tmp_path / "out", kind="boxes")
    other = ds.assign_coords(category_name=("category", ["a", "b"]))
    with pytest.raises(SchemaError, match="n has other classes than m: a, b; write it apart"):
        export({"m": ds, "n": other}, "yolo", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_livecell_as_outlines(shared_data, tmp_path):
    folder = shared_data / "livecell"
    (part,) = READERS["coco"].parts([str(folder / "annotations"), str(folder / "images")])
    ds = open_coco([item.uri for item in part.items])
    export({part.stem: ds}, "yolo", tmp_path, kind="segmentation")
    assert settings(tmp_path)["val"] == [f"images/{part.stem}"]
    name = str(ds["file"].values[0]).rpartition(".")[0]
    found = lines(tmp_path, f"{part.stem}/{name}")
    assert len(found) == int((ds["object_image"] == ds["image_id"][0]).sum())
    first = np.array(found[0][1:]).reshape(-1, 2) * [704, 520]
    points = int(ds["ring_points"][0])
    np.testing.assert_allclose(first[:, 0], ds["outline_x"][:points], atol=1e-5)
    np.testing.assert_allclose(first[:, 1], ds["outline_y"][:points], atol=1e-5)
