"""Checks of parameters: what passes, and the line that refuses what does not."""

import math
import re

import numpy as np
import pytest

from dpipe.errors import UsageError
from dpipe.operators import check_choice, check_number, check_whole


@pytest.mark.parametrize("value", [0, 3, np.int64(5), np.uint8(0)])
def test_whole_numbers(value):
    check_whole("seed", value, 0)


@pytest.mark.parametrize("value", [True, None, 1.0, "1", np.float64(1), np.bool_(True), [1]])
def test_what_is_no_whole_number(value):
    with pytest.raises(UsageError, match=re.escape(f"seed: found {value!r}; expected a whole")):
        check_whole("seed", value)


def test_too_small_a_whole_number():
    with pytest.raises(UsageError, match=r"^length: found 0; expected a whole number from 1$"):
        check_whole("length", 0, 1)
    with pytest.raises(UsageError, match=r"^n: found -1; expected a number of records$"):
        check_whole("n", -1, 0, "a number of records")


@pytest.mark.parametrize("value", [-2, 0.5, np.float32(1), np.int16(-3)])
def test_numbers(value):
    check_number("limit", value)


@pytest.mark.parametrize("value", [False, None, "1", math.nan, math.inf, -math.inf, [1.0]])
def test_what_is_no_number(value):
    with pytest.raises(UsageError, match=re.escape(f"limit: found {value!r}; expected a number")):
        check_number("limit", value)


def test_limits_of_a_number():
    check_number("radius", math.inf, 0, finite=False)
    for finite in (True, False):
        with pytest.raises(UsageError, match=r"^radius: found -1; expected .* at least 0$"):
            check_number("radius", -1, 0, finite=finite)
    with pytest.raises(UsageError, match=r"^scale: found 0; expected a grey value$"):
        check_number("scale", 0, math.ulp(0), expected="a grey value")


def test_choices():
    check_choice("dims", 2, (2, 3))
    for value in (True, 4, "2", None):
        with pytest.raises(UsageError, match=r"^dims: found .*; expected 2 or 3$"):
            check_choice("dims", value, (2, 3))
