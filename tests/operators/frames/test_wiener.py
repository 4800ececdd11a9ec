"""The Wiener filter: by hand, against SciPy and Octave, and the same from every kernel."""

import array_api_strict
import numpy as np
import pytest
import scipy.signal

from dpipe.operators.frames.wiener import by_shifts, wiener

DEVICE = array_api_strict.Device("device1")


def _host(block):
    return np.asarray(array_api_strict.asarray(block, device=array_api_strict.Device("CPU_DEVICE")))


def test_by_hand():
    # A lone 90 in 3 x 3, window 3. Every window holds it: sums 90, of squares 8100, so all local
    # means are 10 and all variances 900 - 100 = 800, as is the noise: the means are the result.
    plane = np.zeros((3, 3), "u1")
    plane[1, 1] = 90
    assert wiener(plane, 3).tolist() == [[10] * 3] * 3


def test_an_even_window_reaches_further_behind():
    # Window 2: the pixel and the one after it, in both directions; 8 / 4 = 2 in four places with
    # variance 64 / 4 - 4 = 12. Noise = 4 * 12 / 16 = 3. There g = 8 becomes 2 + 6 * 9 / 12 = 6.5
    # and g = 0 becomes 2 - 2 * 9 / 12 = 0.5; halves go up.
    plane = np.zeros((4, 4), "u1")
    plane[2, 2] = 8
    expected = np.zeros((4, 4), "u1")
    expected[1:3, 1:3] = [[1, 1], [1, 7]]
    assert wiener(plane, 2).tolist() == expected.tolist()


@pytest.mark.parametrize("size", [3, 5, 11])
def test_agrees_with_scipy_where_windows_are_odd(size):
    plane = np.random.default_rng(0).poisson(60, (40, 50)).astype("u1")
    expected = scipy.signal.wiener(plane.astype("f8"), size)
    found = wiener(plane, size)
    # what SciPy leaves within 1e-9 of a half may go either way
    certain = np.abs(expected % 1 - 0.5) > 1e-9
    assert certain.mean() > 0.95
    np.testing.assert_array_equal(found[certain], np.floor(expected + 0.5)[certain])


@pytest.mark.parametrize("size", [2, 3, 4, 5, 6, 7, 10, 13, 14])
@pytest.mark.parametrize("shape", [(1, 1), (3, 40), (29, 31)])
def test_kernels_agree(size, shape):
    plane = np.random.default_rng(1).integers(0, 256, shape).astype("u1")
    expected = wiener(plane, size)
    assert expected.dtype == np.uint8
    np.testing.assert_array_equal(by_shifts(plane, size), expected)
    strict = wiener(array_api_strict.asarray(plane, device=DEVICE), size)
    assert strict.device == DEVICE
    np.testing.assert_array_equal(_host(strict), expected)


def test_largest_sums_do_not_overflow():
    plane = np.full((60, 60), 255, "u1")
    plane[::2, ::2] = 0
    np.testing.assert_array_equal(wiener(plane, 13), by_shifts(plane, 13))


@pytest.mark.parametrize("kernel", [wiener, by_shifts])
def test_zeros_stay_zeros(kernel):
    assert kernel(np.zeros((12, 9), "u1"), 10).max() == 0


def test_octave(shared_data):
    """Equal to Octave 3 x 3; 10 x 10 but for exact ties, which its floating point breaks."""
    octave = np.load(shared_data / "reference" / "octave_leuko_qc" / "cho_t00.npz")
    frame = octave["projection"]
    np.testing.assert_array_equal(wiener(frame, 3), octave["wiener3"])
    found, expected = wiener(frame, 10).astype(int), octave["wiener10"].astype(int)
    other = found != expected
    assert other.sum() == 78
    np.testing.assert_array_equal((found - expected)[other], 1)  # ours went up
    padded = np.pad(frame.astype(int), ((4, 5), (4, 5)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (10, 10))
    sums = windows.sum(axis=(2, 3))
    # each such pixel became its local mean, and that ends in exactly one half
    np.testing.assert_array_equal(sums[other] % 100, 50)
    np.testing.assert_array_equal(found[other], sums[other] // 100 + 1)
