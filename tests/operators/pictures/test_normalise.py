"""Pictures brought to 8 bits: NumPy's percentiles and scikit-image's bytes, to the last bit."""

import numpy as np
import pytest
import xarray as xr
from packs import pack
from skimage import img_as_ubyte

import dpipe
from dpipe.errors import SchemaError, UsageError
from dpipe.operators import OPERATORS
from dpipe.operators.pictures.normalise import percentile

normalise = OPERATORS["normalise"].function
RNG = np.random.default_rng(0)
PICTURES = [RNG.gamma(2, 300, (2, *size)).astype("u2") for size in ((40, 50), (31, 17), (1, 1))]


def published(plane, low=0.1, high=99.9):
    """The rule of the published script, in NumPy's and scikit-image's words."""
    a, b = np.percentile(plane, low), np.percentile(plane, high)
    return img_as_ubyte((np.clip(plane.astype(float), a, b) - a) / (b - a))


def image_of(ds, i):
    height, width, offset = (int(ds[k].values[i]) for k in ("height", "width", "offset"))
    size, count = height * width, ds.sizes["c"]
    row = ds["pixels"].sel(block=int(ds["in_block"].values[i])).values
    return row[offset * count : (offset + size) * count].reshape(count, height, width)


def test_they_are_those_of_the_published_rule():
    ds = pack(PICTURES, [None] * 3, block=2)
    scaled = normalise(ds)
    assert scaled["pixels"].dtype == np.uint8
    for i in range(2):
        expected = np.stack([published(plane) for plane in PICTURES[i]])
        np.testing.assert_array_equal(image_of(scaled, i), expected)
    np.testing.assert_array_equal(image_of(scaled, 2), 0)
    of_one_value = scaled["channels_of_one_value"].values[[0, 0, 1], [0, 1, 0]]
    assert of_one_value.tolist() == [0, 0, 2]


@pytest.mark.parametrize("percent", [0, 0.1, 12.5, 50, 75, 99.9, 100])
@pytest.mark.parametrize("count", [1, 2, 5, 1000])
def test_percentiles_are_those_of_numpy(percent, count):
    values = np.sort(np.random.default_rng(count).normal(size=count))
    assert percentile(values, percent) == np.percentile(values, percent)


def test_stretched_first():
    ds = normalise(pack(PICTURES[:1], [None]), stretch=True)
    plane = PICTURES[0][0].astype(float)
    plane = np.round((plane - plane.min()) / (plane.max() - plane.min()) * 65535)
    np.testing.assert_array_equal(image_of(ds, 0)[0], published(plane))


def test_a_real_plate(shared_data):
    reader = dpipe.READERS["cellomics"]
    (part,) = reader.parts([str(shared_data / "cellomics/ExampleHuman")])
    ds = reader.open([item.uri for item in part.items])
    scaled = image_of(normalise(ds), 0)
    for plane, expected in zip(scaled, image_of(ds, 0), strict=True):
        np.testing.assert_array_equal(plane, published(expected))


@pytest.mark.parametrize(
    "options",
    [
        {"percentiles": (5,)}, {"percentiles": (9, 3)}, {"percentiles": (0, 101)},
        {"percentiles": (True, 3)}, {"percentiles": "1,2"}, {"stretch": 1},
    ],
)  # fmt: skip
def test_wrong_use(options):
    with pytest.raises(UsageError, match=next(iter(options))):
        normalise(pack(PICTURES, [None] * 3), **options)
    with pytest.raises(SchemaError):
        normalise(xr.Dataset())
