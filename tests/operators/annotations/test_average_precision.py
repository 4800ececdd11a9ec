"""Average precision, held against pycocotools' own evaluation with the same limits."""

import contextlib
import copy
import io
import json

import annotated
import numpy as np
import pytest
import xarray as xr
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from dpipe.errors import SchemaError, UsageError
from dpipe.operators import OPERATORS
from dpipe.readers import READERS

average_precision = OPERATORS["average-precision"].function
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
LIVECELL = [[0, 1e10], [0, 324], [324, 961], [961, 1e10]]


def detections(content, seed=0, share=0.9):
    """Outlines of nine tenths of the objects, shaken, with scores; and some of nothing."""
    rng = np.random.default_rng(seed)
    results = []
    for one in content["annotations"]:
        if rng.random() < share:
            rings = [
                (np.array(r) + rng.normal(0, 0.8, len(r))).round(2) for r in one["segmentation"]
            ]
            x, y = rings[0][0::2], rings[0][1::2]
            box = [x.min(), y.min(), np.ptp(x), np.ptp(y)]
            results.append({
                "image_id": one["image_id"], "category_id": 1, "bbox": [float(v) for v in box],
                "segmentation": [ring.tolist() for ring in rings],
                "score": round(float(rng.random()), 4),
            })  # fmt: skip
    return results


def expected(content, results, kind, limits=(100, 500, 2000), ranges=LIVECELL):
    """The same by pycocotools."""
    sizes = {image["id"]: (image["height"], image["width"]) for image in content["images"]}
    results = copy.deepcopy(results)
    for one in results:
        if kind == "segm":
            del one["bbox"]
            pieces = coco_mask.frPyObjects(one["segmentation"], *sizes[one["image_id"]])
            one["segmentation"] = coco_mask.merge(pieces)
        else:
            del one["segmentation"]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = copy.deepcopy(content)
        truth.createIndex()
        run = COCOeval(truth, truth.loadRes(results), kind)
        run.params.useCats, run.params.maxDets = 0, list(limits)
        run.params.areaRng, run.params.areaRngLbl = ranges, ["all", "small", "medium", "large"]
        run.evaluate()
        run.accumulate()
    return run.eval["precision"], run.eval["recall"]


def mean(values):
    told = values[values > -1]
    return told.mean() if told.size else np.nan


@pytest.fixture(scope="module")
def study(shared_data, tmp_path_factory):
    """LIVECell's real annotations and detections made of them."""
    folder = tmp_path_factory.mktemp("results")
    source = shared_data / "livecell/annotations/livecell_coco_val.json"
    content = json.loads(source.read_bytes())
    results = detections(content)
    (folder / "net.json").write_text(json.dumps(results))
    truth = READERS["livecell"].open(str(source))
    found = READERS["coco"].open(str(folder / "net.json"))
    trees = [xr.DataTree.from_dict({f"/{k}": v}) for k, v in (("val", truth), ("net", found))]
    return content, results, trees


@pytest.mark.parametrize(("kind", "theirs"), [("masks", "segm"), ("boxes", "bbox")])
def test_means_are_those_of_pycocotools(study, kind, theirs):
    content, results, trees = study
    table = average_precision(*trees, kind=kind)
    assert table["group"].values.tolist() == ["all"]
    numbers = dict(zip(table["name"].values.tolist(), table.feature.values[0], strict=True))
    precision, recall = expected(content, results, theirs)
    wanted = {
        "AP": mean(precision[..., 0, 2]), "AP50": mean(precision[0, ..., 0, 2]),
        "AP75": mean(precision[5, ..., 0, 2]), "AP_small": mean(precision[..., 1, 2]),
        "AP_medium": mean(precision[..., 2, 2]), "AP_large": mean(precision[..., 3, 2]),
        "AR_100": mean(recall[..., 0, 0]), "AR_2000": mean(recall[..., 0, 2]),
        "AR_large": mean(recall[..., 3, 2]), "precision_0.60": mean(precision[2, ..., 0, 2]),
        "recall_0.95": mean(recall[9, ..., 0, 2]),
    }  # fmt: skip
    for name, value in wanted.items():
        assert numbers[name] == value, name
    assert numbers["objects"] == 1243
    assert numbers["detections"] == len(results)
    assert (numbers["detections_unmatched"], numbers["pictures_without_detections"]) == (0, 0)


def test_cell_types_are_measured_by_themselves(study):
    content, results, trees = study
    table = average_precision(*trees, by="cell_type")
    assert table["group"].values.tolist() == ["all", "BT474", "Huh7", "MCF7"]
    own = [i for i in content["images"] if i["file_name"].startswith("MCF7")]
    ids = {image["id"] for image in own}
    part = content | {
        "images": own, "annotations": [a for a in content["annotations"] if a["image_id"] in ids]
    }  # fmt: skip
    precision, _ = expected(part, [r for r in results if r["image_id"] in ids], "segm")
    assert table.feature.sel(name="AP").values[3] == mean(precision[..., 0, 2])


def test_limits_of_coco(study):
    content, results, trees = study
    table = average_precision(*trees, areas="coco", max_detections=[1, 10, 100])
    ranges = [[0, 1e10], [0, 1024], [1024, 9216], [9216, 1e10]]
    precision, recall = expected(content, results, "segm", (1, 10, 100), ranges)
    assert table.feature.sel(name="AP").item() == mean(precision[..., 0, 2])
    assert table.feature.sel(name="AR_10").item() == mean(recall[..., 0, 1])
    assert table.feature.sel(name="AP_small").item() == mean(precision[..., 1, 2])


def test_what_was_trained_on_by_what_was_tested_on(study):
    _, _, (truth, found) = study
    ds = truth["val"].to_dataset()
    halves = {
        f"/{name}": ds.isel(record=chosen).drop_vars("pixels", errors="ignore")
        for name, chosen in (("a", [0, 1]), ("b", [2, 3, 4]))
    }
    both = xr.DataTree.from_dict(
        {"/one": found["net"].to_dataset(), "/two": found["net"].to_dataset()}
    )
    table = average_precision(xr.DataTree.from_dict(halves), both)
    pairs = list(zip(table["detector"].values, table["truth"].values, strict=True))
    assert pairs == [("one", "a"), ("one", "b"), ("two", "a"), ("two", "b")]
    assert (table.feature.sel(name="detections_unmatched").values > 0).all()


def test_a_mask_has_its_own_score(tmp_path):
    content = annotated.content()
    results = [
        {"image_id": 7, "category_id": 1, "segmentation": content["annotations"][0]["segmentation"],
         "score": 0.1, "mask_score": 0.9},
        {"image_id": 7, "category_id": 1, "segmentation": [[0, 0, 2, 0, 2, 2]], "score": 0.5},
    ]  # fmt: skip
    path = tmp_path / "net.json"
    path.write_text(json.dumps(results))
    found = READERS["coco"].open(str(path))
    np.testing.assert_array_equal(found["object_mask_score"].values, [0.9, np.nan])
    truth = xr.DataTree.from_dict({"/m": annotated.dataset()})
    table = average_precision(truth, xr.DataTree.from_dict({"/net": found}))
    first = table.feature.sel(name="precision_0.50").item()
    lower = found.drop_vars("object_mask_score")
    table = average_precision(truth, xr.DataTree.from_dict({"/net": lower}))
    assert first > table.feature.sel(name="precision_0.50").item()


def bare(tmp_path, results, name="net"):
    """What the reader makes of a bare list of detections."""
    path = tmp_path / f"{name}.json"
    path.write_text(json.dumps(results))
    return xr.DataTree.from_dict({f"/{name}": READERS["coco"].open(str(path))})


def test_bare_lists_of_run_lengths_are_those_of_polygons(study, tmp_path):
    content, results, (truth, found) = study
    sizes = {image["id"]: (image["height"], image["width"]) for image in content["images"]}
    packed = copy.deepcopy(results)
    for one in packed:
        pieces = coco_mask.frPyObjects(one["segmentation"], *sizes[one["image_id"]])
        runs = coco_mask.merge(pieces)
        one["segmentation"] = {"size": runs["size"], "counts": runs["counts"].decode()}
    table = average_precision(truth, bare(tmp_path, packed))
    xr.testing.assert_identical(table.feature, average_precision(truth, found).feature)


def test_detections_of_boxes_alone(study, tmp_path):
    _, results, (truth, found) = study
    boxes = [{k: v for k, v in one.items() if k != "segmentation"} for one in results]
    with pytest.raises(UsageError, match=r"none of \d+ detections has a mask; compare kind=boxes"):
        average_precision(truth, bare(tmp_path, boxes))
    table = average_precision(truth, bare(tmp_path, boxes), kind="boxes")
    xr.testing.assert_identical(
        table.feature, average_precision(truth, found, kind="boxes").feature
    )
    mixed = average_precision(truth, bare(tmp_path, [*results[:-1], boxes[-1]]))
    assert mixed.attrs["notes"] == ["net on val: 1 detections have no mask and do not count"]


def test_a_box_that_nobody_gives_is_that_of_the_mask(tmp_path):
    truth = xr.DataTree.from_dict({"/m": annotated.dataset()})
    square = [[2, 1, 6, 1, 6, 5, 2, 5]]
    runs = {"size": [8, 11], "counts": [17, 4, 4, 4, 4, 4, 4, 4, 43]}
    tables = [
        average_precision(
            truth,
            bare(tmp_path, [{"image_id": 7, "category_id": 1, "score": 1, "segmentation": shape}]),
            kind="boxes",
        )
        for shape in (square, runs)
    ]
    xr.testing.assert_identical(tables[0], tables[1])


def test_run_lengths_of_another_size_are_refused(tmp_path):
    truth = xr.DataTree.from_dict({"/m": annotated.dataset()})
    runs = {"size": [11, 8], "counts": [17, 4, 67]}
    one = {"image_id": 7, "category_id": 1, "score": 1, "segmentation": runs}
    with pytest.raises(UsageError, match="of 88 pixels in 11 rows; their picture has 8 x 11"):
        average_precision(truth, bare(tmp_path, [one]))


def test_no_detections_are_said(tmp_path):
    truth = xr.DataTree.from_dict({"/m": annotated.dataset()})
    table = average_precision(truth, bare(tmp_path, []), max_detections="1,10")
    assert table.attrs["notes"] == ["net on m: no detections"]
    assert table.feature.sel(name="AR_10").item() == 0


def test_nothing_found_and_nothing_to_find():
    truth = annotated.dataset()
    found = truth.isel(object=[0], ring=[0, 1]).load()
    found["object_score"] = ("object", [0.5])
    some = xr.DataTree.from_dict({"/m": truth.assign_coords(kind=("record", ["a", "b"]))})
    table = average_precision(some, xr.DataTree.from_dict({"/net": found}), by="kind")
    assert table.feature.sel(name="AP").values[2] == 0
    none = truth.isel(object=[], ring=[])
    empty = xr.DataTree.from_dict({"/m": none})
    table = average_precision(empty, xr.DataTree.from_dict({"/net": found}))
    assert np.isnan(table.feature.sel(name="AP").item())


def test_wrong_use():
    truth, found = annotated.detected()
    for options in (
        {"kind": "points"}, {"areas": "all"}, {"max_detections": [9, 3]}, {"max_detections": [0]},
        {"max_detections": []}, {"categories": 1}, {"by": "nothing"},
    ):  # fmt: skip
        with pytest.raises(UsageError, match=next(iter(options))):
            average_precision(truth, found, **options)
    with pytest.raises(UsageError, match="net: detections without a score"):
        average_precision(truth, xr.DataTree.from_dict({"/net": annotated.dataset()}))
    other = found["net"].to_dataset()
    other["object_image"] = other["object_image"] + 1000
    with pytest.raises(UsageError, match="no picture in common"):
        average_precision(truth, xr.DataTree.from_dict({"/net": other}))
    with pytest.raises(SchemaError, match=r"x: no detections: object_image\(object\) is missing"):
        average_precision(truth, xr.DataTree.from_dict({"/x": xr.Dataset()}))
