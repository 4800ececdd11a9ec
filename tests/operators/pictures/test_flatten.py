"""Pictures with an even background: LIVECell's rule, held against OpenCV's median."""

import numpy as np
import pytest
import tifffile
import xarray as xr
from packs import pack

from dpipe.errors import SchemaError, UsageError
from dpipe.operators import OPERATORS
from dpipe.operators.pictures.flatten import flattened, window_of

flatten_background = OPERATORS["flatten-background"].function


def published(plane, window):
    """The rule in OpenCV's words."""
    cv2 = pytest.importorskip("cv2")
    values = np.clip(plane.astype(float) * (128 / np.median(plane)), 0, 255)
    background = cv2.medianBlur(values.astype("u1"), window)
    return np.clip(values / np.maximum(background, 1) * 128, 70, 180).astype("u1")


@pytest.mark.parametrize(
    "name", ["A172/A172_Phase_A7_1_00d00h00m_1", "Huh7/Huh7_Phase_A10_1_02d12h00m_3"]
)
def test_a_real_picture(shared_data, name):
    path = shared_data / f"livecell/images/livecell_train_val_images/{name}.tif"
    plane = tifffile.imread(path)
    even, zeros = flattened(plane, window=75)
    np.testing.assert_array_equal(even, published(plane, 75))
    assert zeros == 0


def test_packed_pictures():
    rng = np.random.default_rng(0)
    pictures = [rng.integers(40, 90, (1, *size)).astype("u1") for size in ((30, 41), (9, 12))]
    ds = flatten_background(pack(pictures, [None] * 2), scale=0.1)
    row = ds["pixels"].values[0]
    for picture, offset in zip(pictures, ds["offset"].values, strict=True):
        got = row[offset : offset + picture.size].reshape(picture.shape[1:])
        np.testing.assert_array_equal(got, flattened(picture[0], window=9)[0])
    assert not ds["background_zeros"].values.any()


def test_a_background_of_zero_counts_as_one():
    plane = np.zeros((20, 20), "u1")
    plane[5:8, 5:8] = 200
    even, zeros = flattened(plane, window=9)
    assert zeros == 400
    assert (even[6, 6], even[0, 0]) == (180, 70)


def test_fluorescence():
    plane = np.random.default_rng(0).integers(0, 256, (40, 40)).astype("u1")
    half = (255 - plane.astype(float)) / 2
    for invert, values in ((True, half), (False, 255 - half)):
        scaled = np.clip(values * 128 / np.median(values), 0, 255)
        even, _ = flattened(plane, window=1, fluorescence=True, invert=invert)
        expected = np.clip(scaled / np.maximum(scaled.astype("u1"), 1) * 128, 70, 180)
        np.testing.assert_array_equal(even, expected.astype("u1"))


@pytest.mark.parametrize(("scale", "window"), [(1, 75), (0.5, 39), (0.25, 19), (2, 151)])
def test_windows(scale, window):
    assert window_of(scale) == window


def test_wrong_use():
    ds = pack([np.ones((1, 5, 5), "u2")], [None])
    with pytest.raises(UsageError, match="pixels are uint16; expected uint8: operator normalise"):
        flatten_background(ds)
    for options in ({"scale": 0}, {"scale": 99}, {"fluorescence": 1}, {"invert": "no"}):
        with pytest.raises(UsageError, match=next(iter(options))):
            flatten_background(ds, **options)
    with pytest.raises(SchemaError):
        flatten_background(xr.Dataset())
