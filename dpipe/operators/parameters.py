"""Checks of parameters: each refuses a value in one line that says what was found and expected.

A bool is no number; NumPy's own numbers are.
"""

import math
from typing import Any

import numpy as np

from dpipe.errors import UsageError


def check_whole(name: str, value: Any, least: int | None = None, expected: str = "") -> None:
    """Refuse a value that is no whole number, or too small a one.

    Parameters
    ----------
    name : str
        Name of the parameter, which begins the message.
    value : object
        Its value.
    least : int, optional
        The smallest number that will do; by default any.
    expected : str, optional
        End of the message; by default ``a whole number from LEAST``.

    Raises
    ------
    UsageError
        It is no such number.

    Examples
    --------
    >>> check_whole("seed", 3, 0)
    >>> check_whole("seed", -1, 0)
    Traceback (most recent call last):
    dpipe.errors.UsageError: seed: found -1; expected a whole number from 0
    """
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or (least is not None and value < least):
        words = "a whole number" if least is None else f"a whole number from {least}"
        raise UsageError(f"{name}: found {value!r}; expected {expected or words}")


def check_number(
    name: str,
    value: Any,
    least: float = -math.inf,
    *,
    finite: bool = True,
    expected: str = "",
) -> None:
    """Refuse a value that is no number, or too small a one.

    Parameters
    ----------
    name : str
        Name of the parameter, which begins the message.
    value : object
        Its value; NaN is no number.
    least : float
        The smallest number that will do; by default any.
    finite : bool
        Whether infinity is refused too.
    expected : str, optional
        End of the message; by default ``a number of at least LEAST``.

    Raises
    ------
    UsageError
        It is no such number.

    Examples
    --------
    >>> check_number("radius", 2.5, 0)
    >>> check_number("radius", "2", 0)
    Traceback (most recent call last):
    dpipe.errors.UsageError: radius: found '2'; expected a number of at least 0
    """
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not number or not value >= least or (finite and not math.isfinite(value)):
        words = "a number" if least == -math.inf else f"a number of at least {least:g}"
        raise UsageError(f"{name}: found {value!r}; expected {expected or words}")


def check_choice(name: str, value: Any, choices: tuple[object, ...]) -> None:
    """Refuse a value that is none of the choices.

    Parameters
    ----------
    name : str
        Name of the parameter, which begins the message.
    value : object
        Its value.
    choices : tuple
        What it may be.

    Raises
    ------
    UsageError
        It is none of them.

    Examples
    --------
    >>> check_choice("dims", 3, (2, 3))
    >>> check_choice("dims", 4, (2, 3))
    Traceback (most recent call last):
    dpipe.errors.UsageError: dims: found 4; expected 2 or 3
    """
    if isinstance(value, bool) or value not in choices:
        raise UsageError(f"{name}: found {value!r}; expected {' or '.join(map(repr, choices))}")
