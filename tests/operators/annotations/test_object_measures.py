"""Numbers of objects: those of scikit-image's regionprops, of real and of odd label images."""

import numpy as np
import pytest
import xarray as xr
from annotated import dataset
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.measure import regionprops_table

import dpipe
from dpipe import schema
from dpipe.errors import SchemaError
from dpipe.operators import OPERATORS
from dpipe.operators.annotations.object_boxes import ranks
from dpipe.operators.annotations.object_measures import BRIGHTNESS, SHAPES, measured
from dpipe.readers import READERS

object_measures = OPERATORS["object-measures"].function
polygon_masks = OPERATORS["polygon-masks"].function
pytestmark = pytest.mark.filterwarnings("ignore")  # of regionprops on objects of few pixels

THEIRS = {
    "area": "area", "bbox_area": "area_bbox", "convex_area": "area_convex",
    "filled_area": "area_filled", "extent": "extent", "solidity": "solidity",
    "equivalent_diameter": "equivalent_diameter_area", "major_axis_length": "axis_major_length",
    "minor_axis_length": "axis_minor_length", "eccentricity": "eccentricity",
    "orientation": "orientation", "perimeter": "perimeter",
    "perimeter_crofton": "perimeter_crofton", "feret_diameter_max": "feret_diameter_max",
    "euler_number": "euler_number", **{f"moments_hu-{i}": f"moments_hu-{i}" for i in range(7)},
}  # fmt: skip
BRIGHT = {
    "mean_intensity": "intensity_mean", "min_intensity": "intensity_min",
    "max_intensity": "intensity_max", "weighted_centroid_y": "centroid_weighted-0",
    "weighted_centroid_x": "centroid_weighted-1",
}  # fmt: skip
PROPERTIES = (
    *dict.fromkeys(name.partition("-")[0] for name in THEIRS.values()),
    *("label", "bbox", "centroid", "centroid_weighted"),
    *("intensity_mean", "intensity_min", "intensity_max"),
)


def check(labels, pixels):
    """Hold all numbers of a picture against scikit-image's."""
    got = measured("file", "a", labels.reshape(-1), labels.shape, pixels[None])
    expected = regionprops_table(labels.astype(int), pixels, properties=PROPERTIES)
    np.testing.assert_array_equal(got.numbers, expected["label"])
    np.testing.assert_array_equal(got.box.T, [expected[f"bbox-{k}"] for k in (0, 2, 1, 3)])
    names = ["centroid-0", "centroid-1", *(THEIRS[name] for name in SHAPES), *BRIGHT.values()]
    for name, column in zip(names, got.features.T, strict=True):
        np.testing.assert_allclose(column, expected[name], rtol=1e-9, atol=1e-9, err_msg=name)


def test_every_cell_of_livecell(shared_data):
    folder = shared_data / "livecell"
    (part,) = READERS["coco"].parts([str(folder / "annotations"), str(folder / "images")])
    ds = READERS["coco"].open([item.uri for item in part.items])
    masks = polygon_masks(ds).compute()
    size = 520 * 704
    for i in range(5):
        place = slice(i * size, (i + 1) * size)
        labels = masks["label_pixels"].values[0, place].reshape(520, 704)
        check(labels, ds["pixels"].values[0, place].reshape(520, 704))
    whole = object_measures(ds, masks)
    assert whole.sizes["record"] == 1243
    assert whole.feature.sel(name="area").sum() == 186_508 + 30_458 + 93_156 + 67_095 + 101_376


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4"])
@pytest.mark.parametrize("seed", range(4))
def test_blobs_with_holes_in_pieces(seed, dtype):
    rng = np.random.default_rng(seed)
    labels = (rng.integers(0, 9, (9, 11)) * (rng.random((9, 11)) < 0.7)).repeat(4, 0).repeat(3, 1)
    labels[rng.random(labels.shape) < 0.1] = 0
    pixels = rng.integers(1, 255, labels.shape).astype("u2" if seed % 2 else "f8")
    check(labels.astype(dtype), pixels)


@pytest.mark.parametrize(
    "numbers", [[1, 2, 3], [5, 65_000], [1 << 16 | 3, 255 << 16, 7], [2**32 - 1, 9]]
)
def test_ranks(numbers):
    labels = np.array([0, *numbers, 0, *numbers[::-1]], np.uint32)
    found, which = ranks(labels)
    assert found.tolist() == sorted(numbers)
    assert [0 if k < 0 else found[k] for k in which] == labels.tolist()


def test_no_objects():
    got = measured("file", "a", np.zeros(12, "u2"), (3, 4), None)
    assert got.features.shape == (0, 2 + len(SHAPES))
    row = (("block", "place"), np.zeros((1, 12), "u2"))
    coords = {"c": ["Ch1"], "block": [0]} | {
        name: ("record", [value])
        for name, value in {
            "in_block": 0, "in_slot": 0, "offset": 0, "height": 3, "width": 4, "file": "a"
        }.items()
    }  # fmt: skip
    assert object_measures(xr.Dataset({"label_pixels": row}, coords)).sizes["record"] == 0


def test_frames_of_a_movie_of_one_plane():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 999, (2, 2, 1, 20, 30)).astype("u2")
    movie = schema.movie(pixels, channels=["DNA", "actin"])
    labels = np.zeros((2, 1, 20, 30), "u2")
    labels[0, 0, 2:9, 3:8], labels[1, 0, 5:7, 20:30], labels[1, 0, 0, 0] = 4, 2, 9
    ds = object_measures(movie.assign(labels=(("t", "z", "y", "x"), labels)))
    assert ds["frame"].values.tolist() == [0, 1, 1]
    assert ds["object_label"].values.tolist() == [4, 2, 9]
    assert ds["box_left"].values.tolist() == [3, 20, 0]
    actin = ds.feature.sel(name="mean_intensity_actin").values
    assert actin[0] == pytest.approx(pixels[0, 1, 0, 2:9, 3:8].mean(), rel=1e-12)
    several = movie.assign(labels=(("t", "z", "y", "x"), labels)).isel(z=[0, 0])
    with pytest.raises(SchemaError, match="labels of 2 planes"):
        object_measures(several)


def test_colours_are_numbers_of_objects(shared_data):
    reader = READERS["instance-masks"]
    ds = reader.open(str(shared_data / "nuclei/derived_rgb/stardist3d_z15_objects.png"))
    found = object_measures(ds)
    assert found.sizes["record"] == 12
    area = dict(
        zip(found["object_label"].values, found.feature.sel(name="area").values, strict=True)
    )
    assert area[25 << 16 | 8 << 8 | 20] == 85
    assert not [name for name in BRIGHTNESS if name in found["name"].values]


def test_labels_of_other_pictures_are_refused():
    ds = dataset()
    masks = polygon_masks(ds)
    with pytest.raises(SchemaError, match="labels are of other pictures: height differs"):
        object_measures(ds, masks.assign_coords(height=("record", [1, 2])))
    with pytest.raises(SchemaError, match="label_pixels"):
        object_measures(ds)


def test_nuclei_of_a_real_plate(shared_data):
    """Every pixel above a threshold belongs to one object, brightness of all three channels."""
    reader = READERS["cellomics"]
    (part,) = reader.parts([str(shared_data / "cellomics/ExampleHuman")])
    ds = reader.open([item.uri for item in part.items])
    plane = dpipe.pictures(ds, size=512).image.values[0, 0]
    labels, count = ndimage.label(plane > threshold_otsu(plane))
    found = object_measures(
        ds.assign(label_pixels=(("block", "place"), labels.astype("u2").reshape(1, -1)))
    )
    assert found.sizes["record"] == count
    assert found.feature.sel(name="area").sum() == (labels > 0).sum()
    assert {f"mean_intensity_Ch{k}" for k in (1, 2, 3)} <= set(found["name"].values.tolist())
