"""Sums over a frame: the same integers from every kernel; Otsu's threshold against scikit-image."""

import array_api_strict
import numpy as np
import pytest
import skimage.filters

from dpipe.operators.frames.sums import by_planes, frame_sums, otsu

DEVICE = array_api_strict.Device("device1")


@pytest.mark.parametrize("shape", [(1, 1), (2, 5), (3, 3), (40, 51)])
def test_kernels_agree(shape):
    rng = np.random.default_rng(0)
    planes = [rng.integers(0, 256, shape).astype("u1") for _ in range(3)]
    expected = [int(value) for value in frame_sums(*planes)]
    assert [int(value) for value in by_planes(*planes)] == expected
    strict = frame_sums(*(array_api_strict.asarray(p, device=DEVICE) for p in planes))
    assert [int(value) for value in strict] == expected


def test_by_hand():
    frame = np.array([[1, 9, 1], [1, 5, 9], [1, 1, 9]], "u1")
    median = np.array([[0, 8, 2], [0, 8, 8], [0, 0, 8]], "u1")
    sums = frame_sums(frame, median, frame)
    assert sums.pixels == 9
    assert sums.least == 1
    assert sums.total == 37
    assert sums.median_power == 4 * 64 + 4
    assert sums.median_error == 4 * 1 + 1 + 1 + 9 + 1 + 1  # six ones, 9 at the 5, 1 at the 2
    assert sums.wiener_error == 0
    # classes 0, 2 | 8: four pixels above
    assert (sums.inside, sums.inside_total) == (4, 9 + 5 + 9 + 9)
    assert (sums.outside_total, sums.outside_power) == (4, 4)  # at the 2 the excess is cut to 0
    # at the centre 9 + 1 + 1 + 9 - 4 * 5 = 0
    assert (sums.bends, sums.bend_total, sums.bend_power) == (1, 0, 0)


@pytest.mark.parametrize("seed", range(5))
def test_otsu_agrees_with_scikit_image(seed):
    rng = np.random.default_rng(seed)
    image = np.concatenate([rng.poisson(40, 900), rng.poisson(90 + 10 * seed, 300)]).astype("u1")
    threshold = int(otsu(np.bincount(image, minlength=256)))
    assert (image > threshold).sum() == (image > skimage.filters.threshold_otsu(image)).sum()


def test_one_class_has_no_foreground():
    counts = np.zeros(256, np.int64)
    counts[7] = 10
    assert int(otsu(counts)) == 255
