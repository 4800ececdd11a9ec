"""The normalised projection: by hand, and the same from every kernel."""

import array_api_strict
import numpy as np
import pytest

from dpipe.operators.frames.projection_kernel import by_planes, normalised_projection

DEVICE = array_api_strict.Device("device1")


def _host(block):
    return np.asarray(array_api_strict.asarray(block, device=array_api_strict.Device("CPU_DEVICE")))


# Two planes of one row; their maxima are 200 and 10.
#   100 / 200 = 0.5 -> 127.5 -> 128; 3 / 10 = 0.3 -> 76.5 -> 77; the larger of 0.5 and 0.3 counts
PLANES = [[[200, 100, 0, 20]], [[3, 3, 3, 10]]]
PROJECTED = [[255, 128, 77, 255]]


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "i2", "f4", "f8"])
def test_by_hand(dtype):
    frame, empty, saturated = normalised_projection(np.array(PLANES, dtype), 100)
    assert frame.dtype == np.uint8
    assert frame.tolist() == PROJECTED
    assert (int(empty), int(saturated)) == (0, 2)  # 200 and 100


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_a_plane_of_zeros_adds_nothing_and_is_counted(dtype):
    volume = np.array([PLANES[0], [[0, 0, 0, 0]], PLANES[1]], dtype)
    frame, empty, saturated = normalised_projection(volume)
    assert frame.tolist() == PROJECTED
    assert (int(empty), int(saturated)) == (1, 0)


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_nothing_but_zeros(dtype):
    frame, empty, _ = normalised_projection(np.zeros((3, 2, 4), dtype))
    assert frame.tolist() == [[0] * 4] * 2
    assert int(empty) == 3


def test_values_below_zero_or_not_finite_count_as_zero():
    # 2 / 4 = 0.5 -> 128
    volume = np.array([[[-5, 2, np.nan, 4]], [[-1, -1, -2, np.inf]]], "f4")
    frame, empty, saturated = normalised_projection(volume, 4.0)
    assert frame.tolist() == [[0, 128, 0, 255]]
    assert (int(empty), int(saturated)) == (1, 2)  # 4 and infinity are at least 4


@pytest.mark.parametrize(("dtype", "top"), [("u1", 256), ("u2", 4096), ("u2", 65536)])
@pytest.mark.parametrize("planes", [1, 5])
def test_kernels_agree(dtype, top, planes):
    volume = np.random.default_rng(0).integers(0, top, (planes, 31, 47)).astype(dtype)
    fast = normalised_projection(volume, top - 1)
    slow = by_planes(volume, top - 1)
    strict = normalised_projection(array_api_strict.asarray(volume, device=DEVICE), top - 1)
    assert strict[0].device == DEVICE
    for frame, empty, saturated in (slow, (_host(strict[0]), *strict[1:])):
        np.testing.assert_array_equal(frame, fast[0])
        assert (int(empty), int(saturated)) == (fast[1], fast[2])


def test_rounding_is_exact_for_16_bits():
    # In float32 some of these quotients would round the wrong way; integers cannot.
    tops = np.random.default_rng(1).integers(60000, 65536, 40)
    for top in tops:
        values = np.arange(top + 1)
        expected = (510 * values + top) // (2 * top)
        frame, _, _ = normalised_projection(values[None, None].astype("u2"))
        np.testing.assert_array_equal(frame[0], expected)
        np.testing.assert_array_equal(by_planes(values[None, None].astype("u2"))[0][0], expected)


def test_a_fraction_as_full_scale():
    volume = np.array([[[1, 2, 3]]], "u2")
    assert normalised_projection(volume, 1.5)[2] == 2
    assert int(by_planes(volume, 1.5)[2]) == 2
