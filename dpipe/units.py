"""Units as programs of the field write them: micrometres and seconds of lengths and times.

Knows the words of OME's schema of 2016-06 (UnitsLength, UnitsTime), of ImageJ and of people. What
is no unit at all (pixels, frames, a reference frame) is told apart from a word that nobody knows.
"""

import math
from typing import Any, NamedTuple

from dpipe.pages import Flaw

_PREFIXES = {
    "yotta": ("Y", 24), "zetta": ("Z", 21), "exa": ("E", 18), "peta": ("P", 15), "tera": ("T", 12),
    "giga": ("G", 9), "mega": ("M", 6), "kilo": ("k", 3), "hecto": ("h", 2), "deca": ("da", 1),
    "": ("", 0), "deci": ("d", -1), "centi": ("c", -2), "milli": ("m", -3), "micro": ("u", -6),
    "nano": ("n", -9), "pico": ("p", -12), "femto": ("f", -15), "atto": ("a", -18),
    "zepto": ("z", -21), "yocto": ("y", -24),
}  # fmt: skip
_INCH = 25_400.0

LENGTHS = {symbol + "m": 10.0 ** (power + 6) for symbol, power in _PREFIXES.values()}
"""Micrometres of each unit of length, by its symbol or word; the micro sign is written u."""
TIMES = {symbol + "s": 10.0**power for symbol, power in _PREFIXES.values()}
"""Seconds of each unit of time, likewise."""
for _word, (_, _power) in _PREFIXES.items():
    for _end in ("meter", "meters", "metre", "metres"):
        LENGTHS[_word + _end] = 10.0 ** (_power + 6)
    for _end in ("second", "seconds"):
        TIMES[_word + _end] = 10.0**_power
LENGTHS |= dict.fromkeys(("u", "micron", "microns", "mikron", "mkm"), 1.0)
LENGTHS |= dict.fromkeys(("\u00c5", "angstrom", "angstroms", "\u00e5ngstr\u00f6m"), 1e-4)
LENGTHS |= dict.fromkeys(("in", "inch", "inches", '"'), _INCH)
LENGTHS |= dict.fromkeys(("thou", "mil", "mils"), _INCH / 1000)
LENGTHS |= {"li": _INCH / 12, "line": _INCH / 12}
LENGTHS |= dict.fromkeys(("pt", "point", "points"), _INCH / 72)
LENGTHS |= dict.fromkeys(("ft", "foot", "feet"), 12 * _INCH)
LENGTHS |= dict.fromkeys(("yd", "yard", "yards"), 36 * _INCH)
LENGTHS |= dict.fromkeys(("mi", "mile", "miles"), 63_360 * _INCH)
LENGTHS |= {"ua": 149_597_870_700e6, "ly": 9_460_730_472_580_800e6, "pc": 3.0856775814913673e22}
TIMES |= dict.fromkeys(("sec", "secs"), 1.0) | dict.fromkeys(("msec", "msecs"), 1e-3)
TIMES |= dict.fromkeys(("usec", "usecs"), 1e-6) | dict.fromkeys(("nsec", "nsecs"), 1e-9)
TIMES |= dict.fromkeys(("min", "mins", "minute", "minutes"), 60.0)
TIMES |= dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3600.0)
TIMES |= dict.fromkeys(("d", "day", "days"), 86_400.0)
COUNTS = frozenset(
    "pixel pixels pix px voxel voxels frame frames slice slices plane planes index "
    "timepoint timepoints none null unknown undefined uncalibrated n/a".split()
) | {"reference frame", "referenceframe", "time point", "time points"}
"""Words that stand where a unit should, and count instead of measuring."""


class Said(NamedTuple):
    """What a file says of one size: micrometres or seconds; else None, and why it is no size."""

    value: float | None = None
    doubt: str = ""


def length(value: Any, word: str, what: str) -> Said:
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
    Said
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
    return _measured(value, word, what, LENGTHS, "length", "spacing=[z, y, x] in micrometres")


def duration(value: Any, word: str, what: str) -> Said:
    """Turn a time into seconds; as `length`.

    Examples
    --------
    >>> duration(500, "msec", "finterval").value
    0.5
    """
    return _measured(value, word, what, TIMES, "time", "interval= in seconds")


def stamp(value: Any, word: str, what: str) -> float | None:
    """Return the seconds of a moment, which may be 0 or lie before the first; None for none."""
    found = number(value)
    if found is None:
        return None
    scale = _scale(word, what, TIMES, "interval= in seconds")
    return number(found * scale) if scale is not None else None


def number(value: Any) -> float | None:
    """Return a finite number, None for anything else."""
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def _measured(
    value: Any, word: str, what: str, known: dict[str, float], kind: str, option: str
) -> Said:
    text = " ".join(str("" if value is None else value).split())
    if not text:
        return Said()
    found = number(value)
    if found is None or found <= 0:
        return Said(None, f"{what} is {text[:40]!r}")
    scale = _scale(word, what, known, option)
    if scale is None:
        return Said(None, f"{what} is {text[:40]} {word.strip()!r}, which is no {kind}")
    scaled = number(found * scale)
    if not scaled or scaled * 2**32 == math.inf:
        return Said(None, f"{what} is {text[:40]} {word.strip()}, which no {kind} can be")
    return Said(scaled)


def _scale(word: str, what: str, known: dict[str, float], option: str) -> float | None:
    """Return what a unit is worth, None for a word that counts; refuse one that nobody knows."""
    plain = spelled(word)
    for each in (plain, plain.rstrip("."), plain.casefold().rstrip(".")):
        if each in known:
            return known[each]
    if plain.casefold() in COUNTS or not plain:
        return None
    raise Flaw(f"{what} is in {word.strip()[:40]!r}, a unit that is not known; say {option}")


def spelled(word: str) -> str:
    """Write the micro sign one way, of the many in which it is found."""
    text = " ".join(word.split())
    for sign in ("\\u00b5", "\\u00B5", "\\u03bc", "\\u03BC", "&#181;", "&micro;", "\u00c2\u00b5"):
        text = text.replace(sign, "u")
    return text.replace("\u00b5", "u").replace("\u03bc", "u").replace("\u212b", "\u00c5")
