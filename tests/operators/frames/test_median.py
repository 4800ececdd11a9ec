"""The median networks: proved by the 0-1 principle, and held to SciPy's filter."""

import itertools

import array_api_strict
import numpy as np
import pytest
import scipy.ndimage

from dpipe.operators.frames import median as frames_median
from dpipe.operators.frames.median import COLUMN, WINDOW, by_network, median

DEVICE = array_api_strict.Device("device1")


def _host(block):
    return np.asarray(array_api_strict.asarray(block, device=array_api_strict.Device("CPU_DEVICE")))


@pytest.mark.parametrize("size", COLUMN)
def test_columns_are_sorted(size):
    for values in itertools.product((0, 1), repeat=size):
        wires = list(values)
        for low, high in COLUMN[size]:
            wires[low], wires[high] = min(wires[low], wires[high]), max(wires[low], wires[high])
        assert wires == sorted(values)


@pytest.mark.parametrize("size", WINDOW)
def test_window_finds_the_median_of_all_sorted_columns_of_zeros_and_ones(size):
    ones = np.array(list(itertools.product(range(size + 1), repeat=size)))  # ones in each column
    # Wire size * i + j: the i-th smallest of column j is 1 if at least size - i of it are.
    wires = [ones[:, j] >= size - i for i in range(size) for j in range(size)]
    pairs, middle = WINDOW[size]
    for low, high in pairs:
        a, b = wires[low], wires[high]
        wires[low], wires[high] = a & b, a | b
    np.testing.assert_array_equal(wires[middle], ones.sum(axis=1) > size * size // 2)


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (5, 1), (4, 4), (37, 53), (64, 200)])
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
@pytest.mark.parametrize("size", [3, 5, 7])
def test_agrees_with_scipy(shape, dtype, size):
    plane = np.random.default_rng(1).integers(0, 250, shape).astype(dtype)
    expected = scipy.ndimage.median_filter(plane, size=size, mode="constant")
    found = median(plane, size)
    assert found.dtype == plane.dtype
    np.testing.assert_array_equal(found, expected)


def test_uint16_uses_all_its_bits():
    plane = np.random.default_rng(2).integers(0, 65536, (30, 40)).astype("u2")
    expected = scipy.ndimage.median_filter(plane, size=5, mode="constant")
    np.testing.assert_array_equal(median(plane, 5), expected)


@pytest.mark.parametrize("size", WINDOW)
@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_kernels_agree_on_any_array(size, dtype):
    plane = np.random.default_rng(3).integers(0, 250, (33, 41)).astype(dtype)
    expected = median(plane, size)
    np.testing.assert_array_equal(by_network(plane, size), expected)
    elsewhere = median(array_api_strict.asarray(plane, device=DEVICE), size)
    assert elsewhere.device == DEVICE
    np.testing.assert_array_equal(_host(elsewhere), expected)


def test_views_need_not_be_contiguous():
    plane = np.random.default_rng(4).integers(0, 250, (20, 60)).astype("u1")
    expected = median(plane[:, ::2].copy(), 5)
    np.testing.assert_array_equal(median(plane[:, ::2], 5), expected)


def test_compiled_kernels_are_cached_and_free_of_the_lock():
    for kernel in (frames_median._median3, frames_median._median5):
        assert kernel.targetoptions["nogil"]
        assert kernel.stats.cache_path
