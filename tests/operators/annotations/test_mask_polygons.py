"""Label images as outlines: drawn again, they give the same pixels."""

import annotated
import numpy as np
import pytest
import xarray as xr
from pycocotools import mask as coco_mask

from dpipe.errors import SchemaError
from dpipe.operators.annotations.mask_polygons import mask_polygons
from dpipe.operators.annotations.polygon_masks import polygon_masks
from dpipe.readers import READERS
from dpipe.readers.annotations.coco import open_coco
from dpipe.readers.pictures.folders import open_instance_masks

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def collection(labels: np.ndarray) -> xr.Dataset:
    return annotated.collection(labels).assign_coords(c=["Ch1"])


def test_a_hole_is_joined_to_its_ring():
    labels = annotated.odd_labels()
    ds = mask_polygons(collection(labels), category="nucleus")
    assert ds["object_area"].values.tolist() == [25 - 6, 2]
    assert ds["object_box"].values.tolist() == [[1, 1, 5, 5], [7, 6, 2, 2]]
    assert ds["ring_count"].values.tolist() == [1, 2]
    assert ds["ring_points"].values.tolist() == [4 + 4 + 2, 4, 4]
    assert ds["annotation_id"].values.tolist() == [1, 2]
    assert ds["category_name"].values.tolist() == ["nucleus"]
    drawn = annotated.labels_of(polygon_masks(ds), 0)
    np.testing.assert_array_equal(drawn, np.searchsorted([0, 3, 700_000], labels))


@pytest.mark.parametrize("seed", range(40))
def test_pixels_of_random_labels_come_back_as_pycocotools_draws_them(seed):
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 15, 2)
    labels = rng.integers(0, rng.integers(2, 5), (height, width)).astype("u2")
    ds = mask_polygons(collection(labels))
    numbers = np.unique(labels[labels > 0])
    rings = np.concatenate([[0], np.cumsum(ds["ring_count"].values)]).astype(int)
    points = np.concatenate([[0], np.cumsum(ds["ring_points"].values)]).astype(int)
    vertices = np.stack([ds["outline_x"].values, ds["outline_y"].values], axis=1)
    for k, number in enumerate(numbers):
        polygons = [
            vertices[points[j] : points[j + 1]].reshape(-1).tolist()
            for j in range(rings[k], rings[k + 1])
        ]
        runs = coco_mask.merge(coco_mask.frPyObjects(polygons, int(height), int(width)))
        np.testing.assert_array_equal(coco_mask.decode(runs), labels == number)


def test_without_objects_and_without_labels():
    empty = mask_polygons(collection(np.zeros((3, 4), "u1")))
    assert (empty.sizes["object"], empty.sizes["ring"], empty.sizes["point"]) == (0, 0, 0)
    assert empty["image_id"].values.tolist() == [1]
    with pytest.raises(SchemaError, match="label_pixels"):
        mask_polygons(annotated.dataset())


def test_it_has_the_names_of_the_reader_and_every_record_in_its_order(tmp_path):
    ds = annotated.source(tmp_path / "raw")
    masks = polygon_masks(ds, crowd=True)
    found = mask_polygons(masks.isel(record=[1, 0]))
    assert set(ds.data_vars) - set(found.data_vars) == {"pixels", "picture_flag"}
    assert set(found.coords) == set(ds.coords)
    assert found["object_image"].values.tolist() == [7, 7, 3, 3]
    again = polygon_masks(found)
    for i in range(2):
        np.testing.assert_array_equal(
            annotated.labels_of(again, i), annotated.labels_of(masks, 1 - i)
        )


def test_livecell_comes_back(shared_data):
    folder = shared_data / "livecell"
    (part,) = READERS["coco"].parts([str(folder / "annotations"), str(folder / "images")])
    masks = polygon_masks(open_coco([item.uri for item in part.items]), overlap="first")
    again = polygon_masks(mask_polygons(masks))
    for i in range(masks.sizes["record"]):
        labels = annotated.labels_of(masks, i)
        # objects of which nothing is left have no number any more
        numbers = np.unique(labels)
        drawn = annotated.labels_of(again, i)
        np.testing.assert_array_equal(numbers[drawn], labels)


def test_colours_come_back(shared_data):
    ds = open_instance_masks(str(shared_data / "nuclei/derived_rgb/stardist3d_z15_objects.png"))
    labels = annotated.labels_of(ds, 0)
    drawn = annotated.labels_of(polygon_masks(mask_polygons(ds)), 0)
    np.testing.assert_array_equal(np.unique(labels)[drawn], labels)
