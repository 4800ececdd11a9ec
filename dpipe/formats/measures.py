"""Sizes as files say them, a number and a word, in micrometres and seconds.

What is no unit at all (pixels, frames, a reference frame) is told apart from a word that nobody
knows, which is refused.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypedDict

import numpy as np

from dpipe.errors import UsageError
from dpipe.formats.tiff import Flaw
from dpipe.schema import UNITLESS, Attributes, micrometres_in, seconds_in


class Quantity(NamedTuple):
    """A size as a file tells it: micrometres or seconds; else None, and why it is no size."""

    value: float | None = None
    doubt: str = ""


def check_steps(spacing: Sequence[float] | None, interval: float | None) -> None:
    """Refuse a voxel size or an interval that a person gives and that can be none.

    Raises
    ------
    UsageError
        Not three numbers above 0, or not one.
    """
    for what, value, count in (("spacing", spacing, 3), ("interval", interval, 1)):
        values = np.atleast_1d(np.asarray([1.0] * count if value is None else value))
        good = values.dtype.kind in "iuf" and values.shape == (count,)
        if not good or not (np.isfinite(values) & (values > 0)).all():
            raise UsageError(f"{what}: found {value!r}; expected {count} number(s) above 0")


class HeaderFacts(TypedDict, total=False):
    """Facts of a movie as one header tells them; what it does not tell is absent.

    `notes` and `assumed` are lines for people; the others become those of `schema.MovieFacts`.
    """

    name: str
    recording_date: str
    spacing: dict[str, Quantity]
    interval: Quantity
    times: list[float]
    origin: list[float]
    channels: list[str]
    colors: list[str]
    notes: list[str]
    assumed: list[str]
    attrs: Attributes


def length(value: Any, word: str, what: str) -> Quantity:
    """Turn a length into micrometres.

    Parameters
    ----------
    value : str, number or None
        As it stands in the file; None or "" where it says nothing.
    word : str
        Its unit.
    what : str
        What the file calls it, for messages.

    Returns
    -------
    Quantity
        Nothing and no doubt where the file is silent.

    Raises
    ------
    Flaw
        Nobody knows the unit.

    Examples
    --------
    >>> length("0.5", "inch", "pixel width").value
    12700.0
    >>> length(1, "pixel", "pixel width").doubt
    "pixel width is 1 'pixel', which is no length"
    """
    return _measured(
        value, word, what, micrometres_in, "length", "spacing=[z, y, x] in micrometres"
    )


def duration(value: Any, word: str, what: str) -> Quantity:
    """Turn a time into seconds; as `length`.

    Examples
    --------
    >>> duration(500, "msec", "finterval").value
    0.5
    """
    return _measured(value, word, what, seconds_in, "time", "interval= in seconds")


def stamp(value: Any, word: str, what: str) -> float | None:
    """Return the seconds of a moment, which may be 0 or lie before the first; None for none."""
    moment = number(value)
    if moment is None:
        return None
    scale = _scale(word, what, seconds_in, "interval= in seconds")
    return number(moment * scale) if scale is not None else None


def number(value: Any) -> float | None:
    """Return a finite number, None for anything else."""
    try:
        finite = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return finite if math.isfinite(finite) else None


def _measured(
    value: Any,
    word: str,
    what: str,
    scale_of: Callable[[str], float | None],
    kind: str,
    option: str,
) -> Quantity:
    text = " ".join(str("" if value is None else value).split())
    if not text:
        return Quantity()
    size = number(value)
    if size is None or size <= 0:
        return Quantity(None, f"{what} is {text[:40]!r}")
    scale = _scale(word, what, scale_of, option)
    if scale is None:
        return Quantity(None, f"{what} is {text[:40]} {word.strip()!r}, which is no {kind}")
    scaled = number(size * scale)
    if not scaled or scaled * 2**32 == math.inf:
        return Quantity(None, f"{what} is {text[:40]} {word.strip()}, which no {kind} can be")
    return Quantity(scaled)


def _scale(
    word: str, what: str, scale_of: Callable[[str], float | None], option: str
) -> float | None:
    """Return the value of a unit, None for a word that counts; refuse one that nobody knows."""
    plain = " ".join(word.split())
    scale = scale_of(plain)
    if scale is None:
        scale = scale_of(plain.rstrip("."))
    if scale is None and plain and plain.casefold() not in UNITLESS:
        raise Flaw(f"{what} is in {plain[:40]!r}, a unit that is not known; say {option}")
    return scale
