"""Packed pictures at one size: where the centre is, what fills the margin."""

import array_api_strict
import numpy as np
import pytest
import xarray as xr

import dpipe
from dpipe.errors import SchemaError, UsageError
from dpipe.operators import pictures
from dpipe.operators.pictures.pictures import _cut, _cut_mask


def one(image: np.ndarray, mask: np.ndarray | None = None) -> xr.Dataset:
    """A collection of one picture (c, y, x)."""
    channels, height, width = image.shape
    over = {"in_block": [0], "in_slot": [0], "offset": [0], "height": [height], "width": [width]}
    coords = {name: ("record", column) for name, column in over.items()} | {"block": [0]}
    coords["c"] = [f"Ch{k + 1}" for k in range(channels)]
    rows = {"pixels": (("block", "value"), image.reshape(1, -1))}
    if mask is not None:
        codes = (mask.astype("u1") << np.arange(channels, dtype="u1")[:, None, None]).sum(0)
        rows["mask_code"] = (("block", "place"), codes.reshape(1, -1).astype("u1"))
    return xr.Dataset(rows, coords)


def as_scifai(plane: np.ndarray, size: int, fill: float) -> np.ndarray:
    """The rule in its own words: crop with the first margin int(d / 2), then pad likewise."""
    for axis in (0, 1):
        difference = plane.shape[axis] - size
        if difference > 0:
            first = int(difference / 2)
            plane = np.take(plane, range(first, first + size), axis=axis)
    margins = []
    for n in plane.shape:
        first = int((size - n) / 2)
        margins.append((first, size - n - first))
    return np.pad(plane, margins, constant_values=fill)


SIZES = [(5, 5), (4, 7), (7, 4), (3, 3), (2, 9), (9, 10), (1, 1), (6, 5)]


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("size", [4, 5])
def test_cut_and_padded_about_the_centre(shape, size):
    rng = np.random.default_rng(1)
    image = rng.integers(1, 4000, (3, *shape)).astype("u2")
    mask = rng.random(image.shape) > 0.4
    ds = one(image, mask)
    found = pictures(ds, size=size)
    assert found.image.dtype == "u2"
    for k in range(3):
        np.testing.assert_array_equal(found.image[0, k], as_scifai(image[k], size, 0))
        np.testing.assert_array_equal(found["mask"][0, k], as_scifai(mask[k], size, False))
    padded = pictures(ds, size=size, pad="mean").image
    assert padded.dtype == "f4"
    for k in range(3):
        height, width = (min(n, size) for n in shape)
        first = [max(0, (n - size) // 2) for n in shape]
        cut = image[k, first[0] : first[0] + height, first[1] : first[1] + width]
        expected = as_scifai(image[k].astype("f8"), size, cut.mean())
        np.testing.assert_allclose(padded[0, k], expected, rtol=1e-6)


def test_margins_by_hand():
    image = np.arange(1, 11, dtype="u2").reshape(1, 2, 5)
    # 5 columns to 2: int(3 / 2) = 1 goes before, 2 behind; 2 rows to 5: int(3 / 2) = 1 before
    found = pictures(one(image), size=(5, 2)).image[0, 0].values.tolist()
    assert found == [[0, 0], [2, 3], [7, 8], [0, 0], [0, 0]]


def test_channels_by_name_in_any_order():
    image = np.arange(12, dtype="u2").reshape(3, 2, 2)
    found = pictures(one(image), size=2, channels=["Ch3", "Ch1"])
    assert found.c.values.tolist() == ["Ch3", "Ch1"]
    np.testing.assert_array_equal(found.image[0], image[[2, 0]])
    assert pictures(one(image), size=2, channels="Ch2").image.values.tolist() == [
        [[[4, 5], [6, 7]]]
    ]
    assert "mask" not in found
    mask = image > 5
    mask[0, 1, 1] = True
    found = pictures(one(image, mask), size=2, channels=["Ch3", "Ch1"])
    np.testing.assert_array_equal(found["mask"][0], mask[[2, 0]])


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ({"size": 0}, "size: found 0"),
        ({"size": (3, 4, 5)}, "size: found"),
        ({"size": (3, 2.5)}, "size: found"),
        ({"size": 2.5}, "size: found 2.5; expected a number of pixels"),
        ({"size": None}, "size: found None"),
        ({"size": "64"}, "size: found '64'"),
        ({"size": True}, "size: found True"),
        ({"channels": 1}, "channels: found 1"),
        ({"channels": ["Ch9"]}, "unknown channel 'Ch9'"),
        ({"channels": ["Ch1", "Ch1"]}, "each once"),
        ({"channels": []}, "at least one"),
        ({"pad": "edge"}, "unknown pad 'edge'"),
    ],
)
def test_bad_parameters(said, text):
    with pytest.raises(UsageError, match=text):
        pictures(one(np.ones((1, 2, 2), "u2")), **said)


def test_channels_need_names():
    for name in ("c", "in_block", "height"):
        with pytest.raises(SchemaError, match=f"no coordinate '{name}'; expected a packed"):
            pictures(one(np.ones((1, 2, 2), "u2")).drop_vars(name))


def test_kernels_know_no_numpy():
    device = array_api_strict.Device("device1")
    pixels, codes, offsets = (
        array_api_strict.asarray(column, device=device)
        for column in (np.arange(24, dtype="u2"), np.arange(8, dtype="u1"), np.array([0, 6]))
    )
    said = {"chosen": (1,), "shape": (2, 2)}
    sizes = np.array([2, 1]), np.array([3, 2])
    for mean in ("", "float32"):
        found = _cut(pixels, None, offsets, *sizes, total=3, mean=mean, **said)
        assert found.device == device
        assert found.shape == (2, 1, 2, 2)
    assert _cut_mask(None, codes, offsets, *sizes, **said).device == device


def test_a_picture_that_was_put_aside_is_empty():
    ds = one(np.ones((1, 2, 2), "u2"), np.ones((1, 2, 2), bool))
    ds = ds.assign_coords(height=("record", [0]), width=("record", [0]))
    assert not pictures(ds, size=2).image.values.any()
    assert np.isnan(pictures(ds, size=2, pad="mean").image.values).all()
    assert not pictures(ds, size=2)["mask"].values.any()
    assert dpipe.unpack(ds.assign_coords(mask_dtype=("record", ["u1"])), 0)[1] is None
