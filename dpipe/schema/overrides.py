"""What a person says over a file: which values can be set, and which notes are void then.

``schema.revise`` sets the values.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from dpipe.errors import SchemaError
from dpipe.schema.facts import Attributes
from dpipe.schema.tables import NOTES

_SAID = {
    "spacing": ("three numbers above 0 (z, y, x in micrometres)", 3),
    "origin": ("three numbers (z, y, x in micrometres)", 3),
    "interval": ("a number of seconds above 0", None),
    "channels": ("a list of names", 0),
    "colors": ("a list of RRGGBB, each as text", 0),
}
_ABOUT = {
    "spacing": r"\b(voxel|pixel)s? sizes?\b|\bphysical sizes?\b|\bz step\b|^lengths\b|^spacing\b",
    "origin": r"^(the )?(origin|places?|positions?)\b",
    "interval": r"\bapart\b|\binterval\b|\btime ?stamps?\b|\bDeltaT\b|^(the )?(times|clock)\b",
    "channels": r"\bnames? of (the )?channels?\b|\bchannel names?\b",
    "colors": r"\bcolou?rs? of (the )?channels?\b|\bchannel colou?rs?\b",
}
"""What a note speaks of, by its words. A note of a reader on anything that can be set uses one of
these, so that it goes when the value is set; each note speaks of one thing."""


def check_said(said: Mapping[str, Any]) -> None:
    """Refuse what a person wrote and `revise` cannot take; YAML holds anything."""
    for key, value in said.items():
        if key not in _SAID:
            raise SchemaError(f"cannot set {key!r}; what can be set: {', '.join(_SAID)}")
        expected, count = _SAID[key]
        values = value if isinstance(value, list | tuple | np.ndarray) else [value]
        good = isinstance(value, list | tuple | np.ndarray) == (count is not None)
        if key in ("channels", "colors"):
            good &= all(isinstance(v, str) for v in values)
            good &= key == "channels" or all(re.fullmatch("[0-9A-Fa-f]{6}", str(v)) for v in values)
        else:
            good &= len(values) == (count or 1)
            good &= all(_is_number(v) and (v > 0 or key == "origin") for v in values)
        if not good:
            raise SchemaError(f"set {key}: found {value!r}; expected {expected}")


def still_true(attrs: Mapping[str, Any], said: Mapping[str, Any]) -> Attributes:
    """Return attributes without the notes on facts that a person has said over the file.

    Parameters
    ----------
    attrs : mapping
        Of a movie, with the lists of lines that `NOTES` names.
    said : mapping
        What was set, by the keys of `revise`.

    Examples
    --------
    >>> still_true({"assumed": ["frames are 1 s apart", "the origin is 0"]}, {"interval": 30})
    {'assumed': ['the origin is 0']}
    """
    void = re.compile("|".join(_ABOUT[key] for key in said) or r"(?!)")
    revised = dict(attrs)
    for key in NOTES:
        lines = attrs.get(key)
        if not isinstance(lines, list | tuple):
            continue
        true_lines = [line for line in lines if not (isinstance(line, str) and void.search(line))]
        if len(true_lines) == len(lines):
            continue
        revised[key] = true_lines
        if not true_lines:
            del revised[key]
    return revised


def _is_number(value: Any) -> bool:
    number = isinstance(value, int | float | np.integer | np.floating)
    return number and not isinstance(value, bool) and bool(np.isfinite(value))
