"""Writer geojson: closed rings, exteriors counter-clockwise by their numbers, areas by hand."""

import itertools
import json
from pathlib import Path
from typing import Any

import annotated
import numpy as np
import pytest

from dpipe import export
from dpipe.errors import UsageError
from dpipe.operators.annotations.polygon_masks import polygon_masks
from dpipe.readers import READERS
from dpipe.readers.annotations.coco import open_coco
from dpipe.readers.pictures.folders import open_instance_masks


def read(path: str) -> dict[str, Any]:
    return json.loads(Path(path).read_text())


def area(ring: list[list[float]]) -> float:
    """The shoelace: positive if the ring is counter-clockwise."""
    assert ring[0] == ring[-1]
    assert len(ring) >= 4
    return sum((a[0] * b[1] - b[0] * a[1]) / 2 for a, b in itertools.pairwise(ring))


def area_of(feature: dict[str, Any]) -> float:
    """The area of a feature, holes taken away; each ring runs as it should."""
    geometry = feature["geometry"]
    polygons = geometry["coordinates"]
    if geometry["type"] == "Polygon":
        polygons = [polygons]
    for exterior, *holes in polygons:
        assert area(exterior) > 0
        assert all(area(hole) < 0 for hole in holes)
    return sum(area(ring) for polygon in polygons for ring in polygon)


def test_outlines_are_those_of_the_file(tmp_path):
    ds = annotated.source(tmp_path / "raw")
    with pytest.warns(UserWarning, match="m: 1 objects were runs, and are outlined"):
        (path,) = export({"m": ds}, "geojson", tmp_path / "out")
    content = read(path)
    assert (content["type"], content["unit"], content["axes"]) == (
        *("FeatureCollection", "pixel"),
        ["x", "y"],
    )
    assert "the centre of the first pixel is (0.5, 0.5)" in content["origin"]
    assert "properties" not in content
    assert [picture["image_id"] for picture in content["pictures"]] == [3, 7]
    two, crowd, four, triangle = content["features"]
    assert triangle["geometry"] == {  # the file has 4,2 9,2 9,6
        "type": "Polygon",
        "coordinates": [[[4.0, 2.0], [9.0, 2.0], [9.0, 6.0], [4.0, 2.0]]],
    }
    assert area_of(triangle) == 5 * 4 / 2
    assert area_of(four) == 5.5 * 3.25
    assert two["geometry"]["type"] == "MultiPolygon"
    assert area_of(two) == 3 * 3 / 2 + 3 * 3
    # nine pixels down the column 5, from its first row
    assert crowd["geometry"]["coordinates"] == [[[5, 0], [6, 0], [6, 9], [5, 9], [5, 0]]]
    assert crowd["properties"]["iscrowd"] is True
    assert triangle["properties"] == {
        "objectType": "annotation",
        "classification": {"name": "debris"},
        "image": "cells_7.tif",
        "image_id": 7,
        "unit": "pixel",
        "annotation_id": 101,
        "category_id": 2,
        "area": 11.5,
        "box": [1.0, 2.0, 3.0, 5.0],
    }


def test_a_file_a_picture_those_without_objects_too(tmp_path):
    objects = [one for one in annotated.content()["annotations"] if one["image_id"] == 7]
    ds = annotated.source(tmp_path / "raw", annotations=objects)
    paths = export({"m": ds}, "geojson", tmp_path / "out", per="picture")
    assert [Path(path).relative_to(tmp_path / "out").as_posix() for path in paths] == [
        "m/cells_7.geojson",
        "m/cells_3.geojson",
    ]
    assert [len(read(path)["features"]) for path in paths] == [2, 0]
    assert read(paths[1])["pictures"] == [
        {"image": "cells_3.tif", "image_id": 3, "width": 12, "height": 10}
    ]


def test_labels_have_holes_and_parts(tmp_path):
    labels = annotated.odd_labels()
    (path,) = export({"m": annotated.collection(labels)}, "geojson", tmp_path)
    frame, apart = read(path)["features"]
    assert area_of(frame) == (labels == 3).sum() == 25 - 6
    hole = frame["geometry"]["coordinates"][1]
    assert {tuple(corner) for corner in hole} == {(2, 2), (2, 5), (4, 5), (4, 2)}
    assert apart["geometry"]["type"] == "MultiPolygon"
    assert area_of(apart) == 2
    assert apart["properties"]["label"] == 700_000


def test_a_hole_that_meets_the_outside_in_a_corner_is_a_ring_of_its_own(tmp_path):
    labels = np.ones((3, 3), "u1")
    labels[1, 1] = labels[2, 2] = 0
    (path,) = export({"m": annotated.collection(labels)}, "geojson", tmp_path)
    (feature,) = read(path)["features"]
    exterior, hole = feature["geometry"]["coordinates"]
    assert (area(exterior), area(hole)) == (8, -1)
    for ring in (exterior, hole):
        assert len({tuple(corner) for corner in ring}) == len(ring) - 1


def test_a_clockwise_outline_is_turned_about_its_first_vertex(tmp_path):
    objects = [{"id": 1, "image_id": 3, "category_id": 1, "segmentation": [[1, 1, 1, 5, 4, 5]]}]
    ds = annotated.source(tmp_path / "raw", annotations=objects)
    (path,) = export({"m": ds}, "geojson", tmp_path / "out")
    (feature,) = read(path)["features"]
    assert feature["geometry"]["coordinates"] == [[[1, 1], [4, 5], [1, 5], [1, 1]]]
    assert area_of(feature) == 3 * 4 / 2


def test_what_encloses_nothing_is_counted(tmp_path):
    rings = [[1, 1, 5, 5], [1, 1, 5, 5, 3, 3]]
    objects = [{"id": 1, "image_id": 3, "category_id": 1, "segmentation": rings}]
    ds = annotated.source(tmp_path / "raw", annotations=objects)
    with pytest.warns(UserWarning, match="2 rings enclose nothing.*1 objects have no outline"):
        (path,) = export({"m": ds}, "geojson", tmp_path / "out")
    assert read(path)["features"][0]["geometry"] is None


def test_wrong_option(tmp_path):
    with pytest.raises(UsageError, match="per='image'; expected part or picture"):
        export({"m": annotated.dataset()}, "geojson", tmp_path, per="image")


def test_areas_of_livecell(shared_data, tmp_path):
    folder = shared_data / "livecell"
    (part,) = READERS["coco"].parts([str(folder / "annotations"), str(folder / "images")])
    ds = open_coco([item.uri for item in part.items])
    (path,) = export({"m": ds}, "geojson", tmp_path / "a")
    features = read(path)["features"]
    assert len(features) == ds.sizes["object"]
    for feature in features:  # the file gives areas of outlines, or of what is drawn of them
        assert area_of(feature) == pytest.approx(feature["properties"]["area"], rel=0.2, abs=20)
    masks = polygon_masks(ds)
    (path,) = export({"m": masks}, "geojson", tmp_path / "b")
    total = sum(area_of(feature) for feature in read(path)["features"])
    assert total == int((masks["label_pixels"] > 0).sum())


def test_areas_of_a_mask_in_colours(shared_data, tmp_path):
    ds = open_instance_masks(str(shared_data / "nuclei/derived_rgb/stardist3d_z15_objects.png"))
    (path,) = export({"m": ds}, "geojson", tmp_path)
    labels, counts = np.unique(annotated.labels_of(ds, 0), return_counts=True)
    areas = {f["properties"]["label"]: area_of(f) for f in read(path)["features"]}
    assert areas == dict(zip(labels[1:].tolist(), counts[1:].tolist(), strict=True))
