"""Units by what programs write: sizes by hand, case where it matters, nothing guessed."""

import re

import pytest

from dpipe.formats.hdf5 import Flaw
from dpipe.readers.imaris.dataset_info import micrometres
from dpipe.schema import units

LENGTHS = {
    "m": 1e6, "dm": 1e5, "cm": 1e4, "mm": 1e3, "um": 1, "nm": 1e-3, "pm": 1e-6, "fm": 1e-9,
    "km": 1e9, "Mm": 1e12, "Ym": 1e30, "ym": 1e-18, "dam": 1e7, "hm": 1e8,
    "\u00b5m": 1, "\u03bcm": 1, "\u00c2\u00b5m": 1, "\\u00B5m": 1, "\u00b5": 1, "UM": 1, "NM": 1e-3,
    "micron": 1, "Microns": 1, "MICROMETER": 1, "micrometres": 1, "Millimeter": 1e3,
    "\u00c5": 1e-4, "\u212b": 1e-4, "angstroms": 1e-4, "inch": 25400, "Inches": 25400, "in": 25400,
    "thou": 25.4, "li": 25400 / 12, "pt": 25400 / 72, "ft": 304800, "yd": 914400, "mi": 1609344000,
    "ua": 1.495978707e17, "ly": 9.4607304725808e21, "pc": 3.0856775814913673e22, " um ": 1,
}  # fmt: skip
TIMES = {
    "s": 1, "ds": 0.1, "cs": 0.01, "ms": 1e-3, "us": 1e-6, "\u00b5s": 1e-6, "\u03bcs": 1e-6,
    "ns": 1e-9, "ps": 1e-12, "ks": 1e3, "Ms": 1e6, "sec": 1, "Secs": 1, "second": 1, "Seconds": 1,
    "msec": 1e-3, "usec": 1e-6, "millisecond": 1e-3, "Milliseconds": 1e-3, "min": 60, "Minutes": 60,
    "h": 3600, "hr": 3600, "hour": 3600, "d": 86400, "Days": 86400, "week": 604800,
}  # fmt: skip
NEITHER = ["furlong", "M", "MS", "S", "mM", "degree", "px/um", "1/s", "Hz", "light year", "u", "n"]


@pytest.mark.parametrize(("unit", "size"), LENGTHS.items())
def test_lengths(unit, size):
    assert units.micrometres_in(unit) == pytest.approx(size, rel=1e-12)


@pytest.mark.parametrize(("unit", "size"), TIMES.items())
def test_times(unit, size):
    assert units.seconds_in(unit) == pytest.approx(size, rel=1e-12)


@pytest.mark.parametrize("unit", [*NEITHER, *sorted(units.UNITLESS)])
def test_what_is_neither(unit):
    assert units.micrometres_in(unit) is None
    assert units.seconds_in(unit) is None


@pytest.mark.parametrize(("unit", "size"), LENGTHS.items())
def test_imaris_knows_them_all(unit, size):
    assert micrometres(unit.strip(), None) == (pytest.approx(size, rel=1e-12), "")


@pytest.mark.parametrize("unit", [*TIMES, *NEITHER])
def test_imaris_refuses_what_is_no_length(unit):
    with pytest.raises(Flaw, match=re.escape(repr(unit))):
        micrometres(unit, None)


@pytest.mark.parametrize("unit", sorted(units.UNITLESS))
def test_imaris_says_what_is_no_unit(unit):
    assert micrometres(unit, None) == (1.0, f"the unit is {unit!r}")


def test_no_word_is_both():
    assert not set(units.LENGTHS) & set(units.TIMES)
    assert not (set(units.LENGTHS) | set(units.TIMES)) & units.UNITLESS


def test_exact_powers():
    """Sizes are not products of rounded powers of ten: 1 nm is 0.001 um."""
    assert units.micrometres_in("nm") == 1e-3
    assert units.micrometres_in("nanometer") == 1e-3
    assert units.seconds_in("ms") == 1e-3
