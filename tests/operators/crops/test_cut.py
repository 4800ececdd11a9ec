"""Crops: windows by hand, borders, lengths in micrometres."""

import math

import array_api_strict
import numpy as np
import pytest

from dpipe.errors import UsageError
from dpipe.operators.crops.cut import crop, index, voxels

STACK = np.arange(2 * 5 * 7, dtype="u2").reshape(2, 5, 7)


@pytest.mark.parametrize(
    ("centre", "size", "rows", "columns"),
    [
        pytest.param((2, 3), (3, 3), slice(1, 4), slice(2, 5), id="odd"),
        # 2.5 - 1 = 1.5 rounds up to 2; 2.49 - 1 = 1.49 down to 1.
        pytest.param((2.5, 2.49), (3, 3), slice(2, 5), slice(1, 4), id="halves go up"),
        # 2 - 0.5 = 1.5 rounds up to 2: half a voxel off. 2.5 - 0.5 = 2: between 2 and 3.
        pytest.param((2, 2.5), (2, 2), slice(2, 4), slice(2, 4), id="even"),
        pytest.param((1.6, 0), (1, None), slice(2, 3), slice(0, 7), id="whole axis"),
    ],
)
def test_inside(centre, size, rows, columns):
    window, inside = crop(STACK, centre, size)
    np.testing.assert_array_equal(window, STACK[:, rows, columns])
    assert inside == 1
    assert window.dtype == STACK.dtype
    assert not np.shares_memory(window, STACK)


@pytest.mark.parametrize("centre", [(0, 0), (4, 6), (-2, 3), (2.2, 9.7), (-1.4, 7.4)], ids=str)
@pytest.mark.parametrize("size", [(3, 3), (4, 5), (59, 59)], ids=str)
def test_borders_against_a_padded_stack(centre, size):
    wide = np.pad(STACK, ((0, 0), (100, 100), (100, 100)), constant_values=9)
    within = np.pad(np.ones(STACK.shape), ((0, 0), (100, 100), (100, 100)))
    starts = [math.floor(c - (n - 1) / 2 + 0.5) + 100 for c, n in zip(centre, size, strict=True)]
    cut = (slice(None), *(slice(s, s + n) for s, n in zip(starts, size, strict=True)))
    window, inside = crop(STACK, centre, size, fill=9)
    np.testing.assert_array_equal(window, wide[cut])
    assert inside == pytest.approx(within[cut].mean(), abs=1e-12)


@pytest.mark.parametrize("centre", [(-50, 2), (2, 1e6), (-1e6, -1e6)], ids=str)
def test_far_away_is_all_fill(centre):
    window, inside = crop(STACK.astype("f4"), centre, (3, 3), fill=math.nan)
    assert np.isnan(window).all()
    assert window.shape == (2, 3, 3)
    assert inside == 0


def test_strict_arrays():
    device = array_api_strict.Device("device1")
    strict = array_api_strict.asarray(STACK, device=device)
    window, _ = crop(strict, (0, 6), (3, 3), fill=7)
    assert window.device == device
    host = np.asarray(window.to_device(array_api_strict.Device("CPU_DEVICE")))
    np.testing.assert_array_equal(host, crop(STACK, (0, 6), (3, 3), fill=7)[0])


@pytest.mark.parametrize(
    ("lengths", "spacing", "expected"),
    [
        pytest.param((20, 20), (0.5, 0.4), (41, 51), id="20 um"),
        pytest.param((29.5, 29.4), (0.5, 0.5), (59, 59), id="the published 59"),
        pytest.param((0.1, None), (2.0, 2.0), (1, None), id="under a voxel"),
        pytest.param((0.6,), (0.1,), (7,), id="no exact quotient"),
    ],
)
def test_voxels(lengths, spacing, expected):
    assert voxels(lengths, spacing) == expected


def test_published_centre():
    # Position Y 12.3 um, first voxel's centre at 2 um, 0.5 um a voxel: (12.3 - 2) / 0.5 = 20.6,
    # nearest 21; 59 rows are 21 - 29 = -8 to 50, of which 8 lie outside.
    (row,) = index((12.3,), (2.0,), (0.5,))
    assert row == pytest.approx(20.6)
    window, inside = crop(np.arange(100.0), (row,), (59,), fill=-1)
    assert window.tolist() == [-1.0] * 8 + list(np.arange(51.0))
    assert inside == 51 / 59


@pytest.mark.parametrize(
    ("centre", "size", "fill", "words"),
    [
        ((1, 2), (3,), 0, "2 numbers of a place and 1 of a window"),
        ((1, 2, 3, 4), (3, 3, 3, 3), 0, "for 3 axes"),
        ((1, 2), (3, 0), 0, "window: found 0"),
        ((1, 2), (3, 2.5), 0, "window: found 2.5"),
        ((math.nan, 2), (3, 3), 0, "place: found nan"),
        ((1, 2), (3, 3), -1, "uint16 cannot hold it"),
        ((1, 2), (3, 3), 0.5, "fill: found 0.5"),
        ((1, 2), (3, 3), math.nan, "fill: found nan"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_bad_input(centre, size, fill, words):
    with pytest.raises(UsageError, match=words):
        crop(STACK, centre, size, fill)


@pytest.mark.parametrize(("length", "step"), [(0, 1), (-3, 1), (math.nan, 1), (3, 0)], ids=str)
def test_bad_lengths(length, step):
    with pytest.raises(UsageError, match="lengths above 0"):
        voxels((length,), (step,))
