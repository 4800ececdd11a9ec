"""What ``K=V`` on the command line says."""

from collections.abc import Mapping, Sequence
from typing import Any

from dpipe.build import typed
from dpipe.errors import RecipeError, UsageError

_OF = {
    "reader": {"--source": "source", "--option": "option", "--set": "said"},
    "operator": {"--input": "inputs", "--param": "param"},
}
"""Which options go with which kind of step, and the names of their arguments."""


def pairs(given: Sequence[str], what: str) -> dict[str, Any]:
    """Parse K=V pairs; values are YAML, or else the text that stands there.

    Examples
    --------
    >>> pairs(["median=5", "spacing=[2, 0.5]", "where=`a b` > 3"], "--param")
    {'median': 5, 'spacing': [2, 0.5], 'where': '`a b` > 3'}
    """
    found: dict[str, Any] = {}
    for text in given:
        key, mark, value = text.partition("=")
        if not mark or not key:
            raise UsageError(f"{what} {text!r}: expected KEY=VALUE")
        if key in found:
            raise UsageError(f"{what} {key!r}: given twice; a list is {key}=[a, b]")
        try:
            found[key] = typed(value, f"{what} {key}")
        except RecipeError as error:
            raise UsageError(str(error)) from error
    return found


def roles(inputs: Sequence[str]) -> list[str] | dict[str, str]:
    """Return inputs in their order, or by role where roles are said."""
    if any("=" in text for text in inputs):
        return {role: str(name) for role, name in pairs(inputs, "--input").items()}
    return list(inputs)


def refuse(kind: str, given: Mapping[str, Any]) -> None:
    """Refuse options of a reader beside an operator, and the other way round."""
    (other,) = _OF.keys() - {kind}
    if wrong := [flag for flag, key in _OF[other].items() if given[key]]:
        fitting = ", ".join(_OF[kind])
        raise UsageError(f"make: {wrong[0]} goes with --{other}; with --{kind} go {fitting}")
