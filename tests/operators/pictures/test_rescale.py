"""Ranges of pixels, against scikit-image."""

import numpy as np
import pytest
from packs import SAMPLE, cells, pack, unpacked
from skimage.exposure import rescale_intensity as of_scikit_image

import dpipe
from dpipe.errors import UsageError


@pytest.mark.parametrize(
    ("given", "out"),
    [
        ("image", (0.0, 1.0)),
        ("dtype", (0.0, 255.0)),
        ("dtype", (-1.0, 1.0)),
        ((40, 900), (-1.0, 1.0)),
        ((500, 500), (0.0, 600.0)),  # skimage clips to the output's range
    ],
)
@pytest.mark.parametrize("dtype", ["u2", "f4"])
def test_pixels_are_those_of_scikit_image(given, out, dtype):
    ds = pack(cells(5, dtype=dtype))
    made = dpipe.rescale_intensity(ds, in_range=given, out_range=out, dtype="float64")
    for picture, found in zip(unpacked(ds), unpacked(made), strict=True):
        for plane, ours in zip(picture, found, strict=True):
            theirs = of_scikit_image(plane.astype(float) if given != "dtype" else plane,
                                     in_range=given, out_range=out)  # fmt: skip
            np.testing.assert_allclose(ours, theirs, rtol=1e-7 if dtype == "f4" else 0, atol=0)


@pytest.mark.parametrize("dtype", ["f4", "f8", "i2", "i4", "u1", "u4"])
def test_the_range_of_a_dtype_is_that_of_scikit_image(dtype):
    rng = np.random.default_rng(1)
    picture = rng.uniform(-2, 2, (2, 9, 7)) * (1 if "f" in dtype else 60)
    picture = (np.abs(picture) if "u" in dtype else picture).astype(dtype)
    made = dpipe.rescale_intensity(pack([picture]), in_range="dtype", dtype="float64")
    expected = of_scikit_image(picture, in_range="dtype", out_range=(0.0, 1.0))
    np.testing.assert_allclose(unpacked(made)[0], expected, rtol=1e-6, atol=1e-7)
    assert len(np.unique(expected)) > 5


def test_flags_go_with_the_pixels():
    """What could not be read would be a sound black picture without them."""
    ds = pack(cells(3), unreadable=[1])
    ds["picture_flag"].attrs = {"flag_meanings": "unreadable", "other": 1}
    made = dpipe.rescale_intensity(ds)
    np.testing.assert_array_equal(made.picture_flag, ds.picture_flag)
    assert made.picture_flag.attrs["flag_meanings"] == "unreadable"
    quality = dpipe.picture_quality(made)
    assert np.isnan(quality.picture_max.values[1]).all()
    assert quality.picture_verdict.values.tolist() == [0, 2, 0]


def test_real_cells_channel_by_channel_as_scifai_does(shared_data):
    ds = dpipe.open_ifc(shared_data / SAMPLE, block=16)
    ranges = {f"Ch{k}": (30, 40 * k + 100) for k in range(1, 7)}
    outs = {f"Ch{k}": (0, k) for k in range(1, 7)}
    made = dpipe.rescale_intensity(ds, in_range=ranges, out_range=outs)
    assert made.pixels.dtype == "f4"
    for picture, found in zip(unpacked(ds), unpacked(made), strict=True):
        for k, plane in enumerate(picture):
            said = {"in_range": ranges[f"Ch{k + 1}"], "out_range": outs[f"Ch{k + 1}"]}
            expected = of_scikit_image(plane.astype(float), **said).astype("f4")
            np.testing.assert_array_equal(found[k], expected)


def test_by_hand():
    """10 to 20 of 0, 10, 14, 20, 99 is 0, 0, 0.4, 1, 1; times 255: 0, 0, 102, 255, 255."""
    ds = pack([np.array([[[0, 10, 14, 20, 99]]], "u2")])
    made = dpipe.rescale_intensity(ds, in_range=(10, 20))
    np.testing.assert_array_equal(unpacked(made)[0], np.float32([[[0, 0, 0.4, 1, 1]]]))
    made = dpipe.rescale_intensity(ds, in_range=(10, 20), out_range=(0, 255), dtype="uint8")
    assert made.pixels.dtype == "u1"
    assert unpacked(made)[0].tolist() == [[[0, 0, 102, 255, 255]]]


def test_whole_numbers_are_rounded_to_even_and_clipped():
    ds = pack([np.array([[[0, 1, 3, 5, 8]]], "u2")])  # over 2: 0, 0.5, 1.5, 2.5, 4
    made = dpipe.rescale_intensity(ds, in_range=(0, 8), out_range=(0, 4), dtype="uint8")
    assert unpacked(made)[0].tolist() == [[[0, 0, 2, 2, 4]]]
    made = dpipe.rescale_intensity(ds, in_range=(0, 8), out_range=(-80, 800), dtype="uint8")
    assert unpacked(made)[0].tolist() == [[[0, 30, 250, 255, 255]]]
    same = dpipe.rescale_intensity(ds, in_range=(3, 3), out_range=(0, 9), dtype="int16")
    assert unpacked(same)[0].tolist() == [[[3, 3, 3, 3, 3]]]


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"in_range": "max"}, "in_range: found 'max'; expected two numbers.*or 'image' or 'dtype'"),
        ({"in_range": (5, 1)}, r"in_range: found \(5, 1\)"),
        ({"in_range": (1, 2, 3)}, r"found \(1, 2, 3\)"),
        ({"in_range": (0, float("nan"))}, "nan"),
        (
            {"out_range": "image"},
            "out_range: found 'image'; expected two numbers, the smaller first$",
        ),
        ({"in_range": {"Ch1": (0, 1)}}, "in_range: nothing for Ch2, Ch3"),
        ({"out_range": {"CH1": (0, 1)}}, "out_range: unknown channel 'CH1'; did you mean 'Ch1'"),
        ({"dtype": "int64"}, "unknown dtype 'int64'"),
        ({"dtype": "complex64"}, "unknown dtype 'complex64'"),
    ],
)
def test_what_cannot_be_meant_is_refused(said, message):
    with pytest.raises(UsageError, match=message) as told:
        dpipe.rescale_intensity(pack(cells(1)), **said)
    assert "\n" not in str(told.value)
