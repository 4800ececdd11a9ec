"""Units of length and time, by all the spellings that programs of the field write.

Symbols go by their case (``Mm`` is no ``mm``), words do not. A word that is not known is never
taken for another one: the reader that found it names it and asks.

Knows the words of OME's schema of 2016-06, of UDUNITS, ImageJ, Imaris and people; no file format.
"""

from itertools import product

__all__ = ["LENGTHS", "TIMES", "UNITLESS", "micrometres_in", "seconds_in"]

_PREFIXES = {
    "yocto": ("y", 1e-24), "zepto": ("z", 1e-21), "atto": ("a", 1e-18), "femto": ("f", 1e-15),
    "pico": ("p", 1e-12), "nano": ("n", 1e-9), "micro": ("u", 1e-6), "milli": ("m", 1e-3),
    "centi": ("c", 1e-2), "deci": ("d", 1e-1), "": ("", 1.0), "deca": ("da", 1e1),
    "hecto": ("h", 1e2), "kilo": ("k", 1e3), "mega": ("M", 1e6), "giga": ("G", 1e9),
    "tera": ("T", 1e12), "peta": ("P", 1e15), "exa": ("E", 1e18), "zetta": ("Z", 1e21),
    "yotta": ("Y", 1e24),
}  # fmt: skip
_MICRO = (
    *("\u00b5", "\u03bc", "\u00c2\u00b5", "\\u00b5", "\\u00B5", "\\u03bc", "\\u03BC"),
    *("&#181;", "&micro;"),
)
"""The micro sign, the letter mu, and what both become in wrong encodings or escapes."""


def _table(symbol: str, words: tuple[str, ...], scale: float) -> dict[str, float]:
    """Return a unit with every prefix, by symbol and by word, in a table of its sizes."""
    table: dict[str, float] = {}
    for name, (short, factor) in _PREFIXES.items():
        # one rounding: 1e-9 * 1e6 is not 1e-3
        size = float(f"{factor * scale:.12g}")
        signs = _MICRO if short == "u" else ()
        table |= dict.fromkeys([sign + symbol for sign in (short, *signs)], size)
        table |= {f"{name}{word}{end}": size for word, end in product(words, ("", "s"))}
    return table


LENGTHS = _table("m", ("meter", "metre"), 1e6)
"""Micrometres in a unit of length, by spelling."""
LENGTHS |= dict.fromkeys(("micron", "microns", "mikron", "mkm", *_MICRO, "UM"), 1.0)
LENGTHS |= {"NM": 1e-3, "MM": 1e3, "CM": 1e4, "IN": 25400.0}
LENGTHS |= dict.fromkeys(
    ("angstrom", "angstroms", "\u00e5ngstr\u00f6m", "\u00c5", "\u212b", "ang"), 1e-4
)
LENGTHS |= dict.fromkeys(("inch", "inches", "in", '"'), 25400.0)
LENGTHS |= dict.fromkeys(("thou", "mil", "mils"), 25.4)
LENGTHS |= dict.fromkeys(("li", "line"), 25400 / 12)
LENGTHS |= dict.fromkeys(("pt", "point", "points"), 25400 / 72)
LENGTHS |= dict.fromkeys(("foot", "feet", "ft"), 304800.0)
LENGTHS |= dict.fromkeys(("yard", "yards", "yd"), 914400.0)
LENGTHS |= dict.fromkeys(("mile", "miles", "mi"), 1609344e3)
LENGTHS |= dict.fromkeys(("parsec", "parsecs", "pc"), 3.0856775814913673e22)
LENGTHS |= {"ly": 9.4607304725808e21, "ua": 149597870700e6, "au": 149597870700e6}

TIMES = _table("s", ("second", "sec"), 1.0)
"""Seconds in a unit of time, by spelling."""
TIMES |= {f"{short}sec": TIMES[f"{short}s"] for short in ("m", "u", "n", "\u00b5", "\u03bc")}
TIMES |= dict.fromkeys(("minute", "minutes", "min", "mins"), 60.0)
TIMES |= dict.fromkeys(("hour", "hours", "h", "H", "hr", "hrs"), 3600.0)
TIMES |= dict.fromkeys(("day", "days", "d"), 86400.0)
TIMES |= dict.fromkeys(("week", "weeks"), 604800.0)

UNITLESS = frozenset(
    [
        *("", "pixel", "pixels", "px", "voxel", "voxels", "unit", "units", "frame", "frames"),
        *("index", "none", "null", "unknown", "undefined", "dimensionless", "1", "a.u."),
        *("pix", "slice", "slices", "plane", "planes", "uncalibrated", "n/a", "referenceframe"),
        *("reference frame", "timepoint", "timepoints", "time point", "time points"),
    ]
)
"""Words, in small letters, by which a program says that it knows no unit."""


def micrometres_in(unit: str) -> float | None:
    """Return the micrometres in a unit of length.

    Parameters
    ----------
    unit : str
        Its symbol or name, such as ``"um"``, ``"nanometer"`` or ``"inch"``.

    Returns
    -------
    float or None
        None for what is no unit of length, or none that is known.

    Examples
    --------
    >>> micrometres_in("nm"), micrometres_in("Millimetres"), micrometres_in("s")
    (0.001, 1000.0, None)
    """
    return _found(LENGTHS, unit)


def seconds_in(unit: str) -> float | None:
    """Return the seconds in a unit of time; None for a word that is not known.

    Parameters
    ----------
    unit : str
        Its symbol or name, such as ``"ms"``, ``"minute"`` or ``"h"``.

    Examples
    --------
    >>> seconds_in("ms"), seconds_in("Hours"), seconds_in("um")
    (0.001, 3600.0, None)
    """
    return _found(TIMES, unit)


def _found(table: dict[str, float], unit: str) -> float | None:
    name = unit.strip()
    lower = name.lower()
    if name not in table and (len(lower) > 3 or name[1:].islower()):
        name = lower  # a word: its case says nothing
    return table.get(name)
