"""Units: every word that programs write is converted, quoted as a count, or refused."""

import math

import pytest

from dpipe.formats.measures import duration, length, stamp
from dpipe.formats.tiff import Flaw

# micrometres of one, by hand: an inch is 25.4 mm, a foot 12, a yard 36, a mile 63,360 inches; a
# thou is a thousandth of one, a line a twelfth, a point a seventy-second
OME_LENGTHS = {
    "Ym": 1e30, "Zm": 1e27, "Em": 1e24, "Pm": 1e21, "Tm": 1e18, "Gm": 1e15, "Mm": 1e12,
    "km": 1e9, "hm": 1e8, "dam": 1e7, "m": 1e6, "dm": 1e5, "cm": 1e4, "mm": 1e3, "\u00b5m": 1.0,
    "nm": 1e-3, "pm": 1e-6, "fm": 1e-9, "am": 1e-12, "zm": 1e-15, "ym": 1e-18, "\u00c5": 1e-4,
    "thou": 25.4, "li": 25_400 / 12, "in": 25_400, "ft": 304_800, "yd": 914_400,
    "mi": 1_609_344_000, "ua": 1.495978707e17, "ly": 9.4607304725808e21,
    "pc": 3.0856775814913673e22, "pt": 25_400 / 72,
}  # fmt: skip
OME_COUNTS = ("pixel", "reference frame")
OME_TIMES = {
    "Ys": 1e24, "Zs": 1e21, "Es": 1e18, "Ps": 1e15, "Ts": 1e12, "Gs": 1e9, "Ms": 1e6, "ks": 1e3,
    "hs": 100, "das": 10, "s": 1, "ds": 0.1, "cs": 0.01, "ms": 1e-3, "\u00b5s": 1e-6, "ns": 1e-9,
    "ps": 1e-12, "fs": 1e-15, "as": 1e-18, "zs": 1e-21, "ys": 1e-24, "min": 60, "h": 3600,
    "d": 86_400,
}  # fmt: skip
SAID = {
    1.0: (
        "um", "micron", "microns", "Micron", "micrometer", "micrometers", "micrometre",
        "MICROMETRES", "\u03bcm", "\\u00B5m", "\\u00b5m", "\u00c2\u00b5m", " \u00b5m ", "\u00b5",
    ),
    25_400.0: ("inch", "inches", "Inch", "IN", '"'),
    1e4: ("centimeter", "Centimeters", "centimetre", "CM"),
    1e3: ("millimeter", "millimetres", "MM"),
    1e-3: ("nanometer", "nanometres", "NM"),
    1e-4: ("angstrom", "Angstroms", "\u212b"),
}  # fmt: skip
SAID_TIMES = {
    1.0: ("sec", "sec.", "Sec", "secs", "second", "Seconds"),
    1e-3: ("msec", "millisecond", "milliseconds"),
    1e-6: ("us", "usec", "microsecond", "\u03bcs"),
    60.0: ("mins", "minute", "minutes", "Min"),
    3600.0: ("hr", "hrs", "hour", "hours", "H"),
    86_400.0: ("day", "days"),
}


@pytest.mark.parametrize(("unit", "scale"), OME_LENGTHS.items())
def test_lengths_of_ome(unit, scale):
    assert length("2", unit, "x").value == pytest.approx(2 * scale, rel=1e-12)


@pytest.mark.parametrize(("unit", "scale"), OME_TIMES.items())
def test_times_of_ome(unit, scale):
    assert duration("2", unit, "x").value == pytest.approx(2 * scale, rel=1e-12)
    assert stamp("0", unit, "x") == 0


def test_the_schema_has_no_others():
    model = pytest.importorskip("ome_types.model")
    assert {unit.value for unit in model.UnitsLength} == {*OME_LENGTHS, *OME_COUNTS}
    assert {unit.value for unit in model.UnitsTime} == set(OME_TIMES)


@pytest.mark.parametrize(("scale", "words"), SAID.items())
def test_what_people_write_for_lengths(scale, words):
    for word in words:
        assert length(3, word, "x").value == pytest.approx(3 * scale), word


@pytest.mark.parametrize(("scale", "words"), SAID_TIMES.items())
def test_what_people_write_for_times(scale, words):
    for word in words:
        assert duration(3, word, "x").value == pytest.approx(3 * scale), word


@pytest.mark.parametrize("word", [*OME_COUNTS, "pixels", "px", "Pixel", "frame", "frames", "slice"])
def test_what_counts_is_no_unit(word):
    assert length(3, word, "size").doubt == f"size is 3 {word!r}, which is no length"
    assert duration(3, word, "step").doubt == f"step is 3 {word!r}, which is no time"
    assert length(3, word, "size").value is duration(3, word, "step").value is None


@pytest.mark.parametrize("word", ["furlong", "smoot", "kg", "mym", "sec"])
def test_a_length_that_nobody_knows(word):
    with pytest.raises(Flaw, match=f"size is in '{word}', a unit that is not known; say spacing="):
        length(3, word, "size")


@pytest.mark.parametrize("word", ["fortnight", "um", "Hz", "tick"])
def test_a_time_that_nobody_knows(word):
    with pytest.raises(Flaw, match=f"step is in '{word}', a unit that is not known; say interval="):
        duration(3, word, "step")


def test_symbols_that_differ_by_their_case_alone():
    assert length(1, "Mm", "x").value == 1e12
    assert length(1, "mm", "x").value == 1e3
    assert duration(1, "Ms", "x").value == 1e6
    assert duration(1, "ms", "x").value == 1e-3


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "abc", "1e999", "9" * 400])
def test_numbers_that_are_no_size(value):
    found = length(value, "um", "size")
    assert found.value is None
    assert found.doubt == f"size is {value[:40]!r}"


@pytest.mark.parametrize(
    ("value", "unit", "fine"),
    [
        (1e298, "um", True),
        (1e299, "um", False),  # 2**32 of them are beyond any number
        (1e308, "m", False),
        (1e-320, "ym", False),  # comes out as 0
    ],
)
def test_sizes_are_looked_at_after_scaling(value, unit, fine):
    found = length(value, unit, "size")
    assert (found.value is not None) == fine
    assert bool(found.doubt) != fine
    assert found.value is None or math.isfinite(found.value * 2**32)


def test_silence():
    for nothing in (None, "", "  "):
        assert length(nothing, "furlong", "size") == (None, "")
        assert stamp(nothing, "fortnight", "DeltaT") is None
