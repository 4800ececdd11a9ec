"""Writer coco on annotated pictures: what was read comes back, and pycocotools takes it."""

import json
from pathlib import Path

import annotated
import numpy as np
import pytest
import xarray as xr
from pycocotools.coco import COCO

from dpipe import export, operators
from dpipe.errors import SchemaError, UsageError
from dpipe.operators.annotations.polygon_masks import polygon_masks
from dpipe.readers import READERS
from dpipe.readers.annotations.coco import open_coco
from dpipe.readers.pictures.plates import open_cellomics

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def same(found: xr.Dataset, expected: xr.Dataset) -> None:
    xr.testing.assert_identical(found.compute(), expected.compute())


def loaded(path: str) -> COCO:
    return COCO(path)


def test_pictures_and_annotations_come_back(tmp_path):
    ds = annotated.source(tmp_path / "raw")
    paths = export({"m": ds}, "coco", tmp_path / "out")
    assert [str(Path(path).relative_to(tmp_path / "out")) for path in paths] == [
        "m.json",
        "images/cells_3.tif",
        "images/cells_7.tif",
    ]
    same(annotated.opened(tmp_path / "out"), ds)


def test_blocks_and_the_order_of_records_do_not_matter(tmp_path):
    annotated.source(tmp_path / "raw")
    (part,) = READERS["coco"].parts([str(tmp_path / "raw")])
    ds = open_coco([item.uri for item in part.items], block=1).isel(record=[1, 0])
    export({"m": ds}, "coco", tmp_path / "out")
    found = annotated.opened(tmp_path / "out")
    assert found["image_id"].values.tolist() == [7, 3]
    assert found["annotation_id"].values.tolist() == [100, 101, 102, 103]
    for i, number in enumerate((7, 3)):
        height, width = annotated.SIZES[number]
        begin = int(found["offset"].values[i])
        pixels = found["pixels"].values[0, begin : begin + height * width].reshape(height, width)
        np.testing.assert_array_equal(pixels, annotated.picture(number))


@pytest.mark.parametrize("few", [1, 5, 1 << 22])
def test_batches_of_objects_do_not_matter(tmp_path, few, monkeypatch):
    monkeypatch.setattr("dpipe.writers.annotations.collection._BATCH", few)
    ds = annotated.source(tmp_path / "raw")
    export({"m": ds}, "coco", tmp_path / "out")
    same(annotated.opened(tmp_path / "out"), ds)


def test_a_picture_of_another_format_becomes_png_and_is_said(tmp_path):
    images = [
        image | {"file_name": f"{image['id']}.jpg"} for image in annotated.content()["images"]
    ]
    (tmp_path / "raw").mkdir()
    annotated.write(tmp_path / "raw", images=images)
    for number in (3, 7):
        path = tmp_path / f"raw/images/A172/cells_{number}.png"
        path.rename(path.with_name(f"{number}.jpg"))
    ds = annotated.opened(tmp_path / "raw")
    with pytest.warns(UserWarning, match="2 pictures have another name than the file"):
        _, *pictures = export({"m": ds}, "coco", tmp_path / "out")
    assert [Path(path).name for path in pictures] == ["3.png", "7.png"]
    found = annotated.opened(tmp_path / "out")
    assert found["file"].values.tolist() == ["3.png", "7.png"]
    np.testing.assert_array_equal(found["pixels"], ds["pixels"])


def test_floats_and_many_channels_become_tiff(tmp_path):
    ds = annotated.source(tmp_path / "raw")
    floats = ds.assign(pixels=ds["pixels"].astype("f4") / 7)
    export({"m": floats}, "coco", tmp_path / "a")
    np.testing.assert_array_equal(annotated.opened(tmp_path / "a")["pixels"], floats["pixels"])
    five = np.arange(5 * ds["pixels"].size).reshape(1, -1).astype("u2")
    wide = ds.drop_vars(["pixels", "c"]).assign(pixels=(("block", "value"), five))
    wide = wide.assign_coords(c=[f"Ch{k}" for k in range(1, 6)])
    export({"m": wide}, "coco", tmp_path / "b")
    np.testing.assert_array_equal(annotated.opened(tmp_path / "b")["pixels"], five)


@pytest.mark.parametrize("runs", ["list", "text"])
def test_without_pictures_annotations_come_back(tmp_path, runs):
    ds = annotated.source(tmp_path / "raw")
    (path,) = export({"m": ds}, "coco", tmp_path / "out", pictures=False, runs=runs)
    text = Path(path).read_text()
    assert ('"counts":[50,9,61]' in text) == (runs == "list")
    assert json.loads(text)["images"][0]["license"] == 1
    found = annotated.opened(tmp_path / "out")
    for name in ("outline_x", "outline_y", "run_length", "object_box", "object_area"):
        np.testing.assert_array_equal(found[name], ds[name])
    assert found["annotation_id"].values.tolist() == ds["annotation_id"].values.tolist()
    assert found["height"].values.tolist() == [10, 8]


@pytest.mark.parametrize("runs", ["list", "text"])
def test_pycocotools_draws_what_it_draws_of_the_original(tmp_path, runs):
    ds = annotated.source(tmp_path / "raw")
    path, *_ = export({"m": ds}, "coco", tmp_path / "out", runs=runs)
    before, after = loaded(str(tmp_path / "raw" / "m.json")), loaded(path)
    assert sorted(after.getImgIds()) == [3, 7]
    assert after.getCatIds() == [1, 2]
    assert sorted(after.getAnnIds(imgIds=3)) == [102, 103]
    for number in before.getAnnIds():
        np.testing.assert_array_equal(
            after.annToMask(after.anns[number]), before.annToMask(before.anns[number])
        )


def test_of_chosen_records_only_their_objects_are_written(tmp_path):
    ds = annotated.source(tmp_path / "raw")
    with pytest.warns(UserWarning, match="m: 2 objects are of pictures that are not here"):
        path, *_ = export({"m": ds}, "coco", tmp_path / "out", where="image_id == 7")
    content = json.loads(Path(path).read_text())
    assert [image["id"] for image in content["images"]] == [7]
    assert [one["id"] for one in content["annotations"]] == [100, 101]


def test_a_picture_that_was_put_aside_is_left_out_and_counted(tmp_path):
    annotated.source(tmp_path / "raw")
    (tmp_path / "raw/images/A172/cells_3.png").unlink()
    ds = annotated.opened(tmp_path / "raw")
    says = "1 pictures that were put aside are left out; 2 objects of pictures that were put aside"
    with pytest.warns(UserWarning, match=says):
        path, *more = export({"m": ds}, "coco", tmp_path / "out")
    assert len(more) == 1
    assert [image["id"] for image in json.loads(Path(path).read_text())["images"]] == [7]


def test_what_an_object_lacks_is_said_and_stays_unknown(tmp_path):
    objects = [{"image_id": 3, "segmentation": [[0, 0, 2, 0, 2, 2]], "score": 0.25}]
    ds = annotated.source(tmp_path / "raw", annotations=objects)
    says = "m: 1 objects had no number, and got one; 1 objects are of no class"
    with pytest.warns(UserWarning, match=says):
        path, *_ = export({"m": ds}, "coco", tmp_path / "out")
    (one,) = json.loads(Path(path).read_text())["annotations"]
    assert one == {
        "id": 1, "image_id": 3, "category_id": None, "iscrowd": 0, "score": 0.25,
        "segmentation": [[0.0, 0.0, 2.0, 0.0, 2.0, 2.0]],
    }  # fmt: skip
    assert loaded(path).getAnnIds() == [1]
    found = annotated.opened(tmp_path / "out")
    assert np.isnan(found["object_area"]).all()
    assert np.isnan(found["object_box"]).all()


def test_a_bare_list_of_detections_comes_back(tmp_path):
    found = [
        {"image_id": 7, "category_id": 2, "bbox": [1.5, 2.0, 3.0, 4.0], "score": 0.5},
        {"image_id": 3, "category_id": 1, "segmentation": [[0.0, 0.0, 2.0, 0.0, 2.0, 2.0]],
         "bbox": [0.0, 0.0, 2.0, 2.0], "score": 0.25},
    ]  # fmt: skip
    (tmp_path / "results.json").write_text(json.dumps(found))
    ds = open_coco(str(tmp_path / "results.json"))
    (path,) = export({"m": ds}, "coco", tmp_path / "out")
    assert json.loads(Path(path).read_text()) == found[::-1]  # by pictures
    same(open_coco(path), ds)
    annotated.write(tmp_path, pictures=False)
    truth = loaded(str(tmp_path / "m.json"))
    assert len(truth.loadRes(path).anns) == 2


def test_texts_and_numbers_of_pictures_come_back(tmp_path):
    images = annotated.content()["images"]
    images[0] |= {"well": "A02", "url": "https://example.org/ü", "scale": 0.65}
    del images[1]["license"]
    ds = annotated.source(tmp_path / "raw", images=images)
    path, *_ = export({"m": ds}, "coco", tmp_path / "out")
    entries = json.loads(Path(path).read_text())["images"]
    assert (entries[0]["well"], entries[0]["license"]) == ("A02", 1)
    assert not {"well", "license"} & set(entries[1])
    same(annotated.opened(tmp_path / "out"), ds)


@pytest.mark.parametrize("outlines", ["runs", "polygons"])
def test_labels_become_objects_with_the_same_pixels(tmp_path, outlines):
    labels = annotated.odd_labels()
    (path,) = export({"m": annotated.collection(labels)}, "coco", tmp_path, outlines=outlines)
    coco = loaded(path)
    assert [one["label"] for one in coco.anns.values()] == [3, 700_000]
    for one in coco.anns.values():
        mask = coco.annToMask(one)
        np.testing.assert_array_equal(mask, labels == one["label"])
        assert one["area"] == mask.sum()
    assert [one["bbox"] for one in coco.anns.values()] == [[1, 1, 5, 5], [7, 6, 2, 2]]
    assert [len(one["segmentation"]) for one in coco.anns.values()] == (
        [2, 2] if outlines == "runs" else [1, 2]  # size and counts; a ring, a ring a pixel
    )


def test_labels_come_back_through_polygon_masks(tmp_path):
    labels = annotated.odd_labels()
    export({"m": annotated.collection(labels)}, "coco", tmp_path, outlines="polygons")
    drawn = annotated.labels_of(polygon_masks(annotated.opened(tmp_path)), 0)
    np.testing.assert_array_equal(drawn, np.searchsorted([0, 3, 700_000], labels))


def test_random_labels_are_the_same_by_runs_and_by_polygons():
    rng = np.random.default_rng(0)
    for _ in range(50):
        labels = rng.integers(0, 4, rng.integers(1, 12, 2))
        runs, outlines = operators.label_runs(labels), operators.label_outlines(labels)
        assert runs.numbers.tolist() == outlines.numbers.tolist()
        areas = [int((labels == number).sum()) for number in runs.numbers]
        assert runs.areas.tolist() == areas
        ends = np.cumsum(outlines.ring_points)
        signed = [
            float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2)
            for x, y in zip(
                np.split(outlines.x, ends[:-1]), np.split(outlines.y, ends[:-1]), strict=True
            )
        ]
        assert sum(signed) == sum(areas)
        first = np.cumsum(outlines.ring_counts) - outlines.ring_counts
        assert [k for k, area in enumerate(signed) if area > 0] == first.tolist()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"runs": "rle"}, "expected list or text"),
        ({"outlines": "traced"}, "and runs or polygons"),
        ({"pictures": 1}, "pictures: found 1; expected true or false"),
        ({"size": 10}, "size: an option for movies; these parts are annotated pictures"),
    ],
)
def test_wrong_options(tmp_path, options, says):
    with pytest.raises(UsageError, match=says):
        export({"m": annotated.dataset()}, "coco", tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_two_pictures_of_one_name_are_refused(tmp_path):
    ds = annotated.source(tmp_path / "raw")
    with pytest.raises(UsageError, match=r"two files would be called cells_3\.tif"):
        export({"m": ds, "n": ds}, "coco", tmp_path / "out")
    with pytest.raises(SchemaError, match="m holds a collection of pictures, n does not"):
        export({"m": ds, "n": xr.Dataset()}, "coco", tmp_path / "out")


def test_livecell_comes_back(shared_data, tmp_path):
    folder = shared_data / "livecell"
    (part,) = READERS["coco"].parts([str(folder / "annotations"), str(folder / "images")])
    ds = open_coco([item.uri for item in part.items])
    path, *pictures = export({part.stem: ds}, "coco", tmp_path)
    found = annotated.opened(tmp_path)
    same(found, ds)
    assert len(pictures) == found.sizes["record"]
    before, after = loaded(part.items[0].uri), loaded(path)
    for number in list(before.anns)[::97]:
        assert after.annToRLE(after.anns[number]) == before.annToRLE(before.anns[number])


def test_livecell_masks_come_back_as_polygons(shared_data, tmp_path):
    folder = shared_data / "livecell"
    (part,) = READERS["coco"].parts([str(folder / "annotations"), str(folder / "images")])
    masks = polygon_masks(open_coco([item.uri for item in part.items]))
    path, *_ = export({"m": masks}, "coco", tmp_path, outlines="polygons")
    coco, labels = loaded(path), annotated.labels_of(masks, 0)
    found = np.zeros(labels.shape, int)
    for one in coco.loadAnns(coco.getAnnIds(imgIds=int(masks["image_id"][0]))):
        found += coco.annToMask(one).astype(int) * one["label"]
    np.testing.assert_array_equal(found, labels)


def test_a_plate_without_labels_is_a_list_of_pictures(shared_data, tmp_path):
    ds = open_cellomics(str(shared_data / "cellomics/ExampleHuman"))
    ds = ds.assign_coords(c=["DNA", "pH3", "actin"])
    says = "m: 3 facts of all pictures are not written: wells, field_count, names of channels"
    with pytest.warns(UserWarning, match=says):
        path, picture = export({"m": ds}, "coco", tmp_path)
    content = json.loads(Path(path).read_text())
    assert (content["categories"], content["annotations"]) == ([], [])
    (image,) = content["images"]
    assert (image["well"], image["field"], image["id"]) == ("D03", 0, 1)
    assert picture == str(tmp_path / "images" / image["file_name"])
    found = annotated.opened(tmp_path)
    assert found.sizes["c"] == 3
    np.testing.assert_array_equal(found["pixels"], ds["pixels"])
