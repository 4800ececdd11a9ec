"""Run lengths, held against pycocotools."""

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from dpipe.errors import InputError
from dpipe.formats import run_lengths


@pytest.mark.parametrize("seed", range(5))
def test_both_ways_as_pycocotools(seed):
    rng = np.random.default_rng(seed)
    for _ in range(200):
        height, width = rng.integers(1, 60, 2)
        mask = (rng.random((height, width)) < rng.random()).astype("u1")
        text = coco_mask.encode(np.asfortranarray(mask))["counts"].decode()
        runs = run_lengths.decode(text)
        inside = np.repeat(np.arange(len(runs)) % 2, runs)
        np.testing.assert_array_equal(inside.reshape(width, height).T, mask)
        assert run_lengths.encode(runs) == text


def test_runs_of_more_than_31_bits_come_back():
    runs = np.array([0, 2**31, 5, 2**30, 7, 2**32 - 1])
    assert run_lengths.decode(run_lengths.encode(runs)).tolist() == runs.tolist()


def test_no_runs():
    assert run_lengths.decode("").tolist() == []
    assert run_lengths.encode(np.array([], int)) == ""


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("52 03", "does not belong there"),
        ("52\x7f", "does not belong there"),
        ("5P", "cut off"),
        ("o" * 20, "cut off"),
        ("O", "below 0"),
    ],
)
def test_what_is_no_run_is_refused(text, problem):
    with pytest.raises(InputError, match=problem):
        run_lengths.decode(text)
