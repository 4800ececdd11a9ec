"""Arguments ``K=V`` of the command line, parsed."""

from collections.abc import Mapping, Sequence
from typing import Any

from dpipe.build import parameters, typed
from dpipe.errors import RecipeError, UsageError

_OF = {
    "reader": {"--source": "source", "--option": "option", "--set": "said"},
    "operator": {"--input": "inputs", "--param": "param"},
}
"""Which options go with which kind of step, and the names of their arguments."""


def pairs(texts: Sequence[str], what: str) -> parameters.Params:
    """Parse K=V pairs; values are YAML, or else the text that stands there.

    Examples
    --------
    >>> pairs(["median=5", "spacing=[2, 0.5]", "where=`a b` > 3"], "--param")
    {'median': 5, 'spacing': [2, 0.5], 'where': '`a b` > 3'}
    """
    values: parameters.Params = {}
    for text in texts:
        key, mark, value = text.partition("=")
        if not mark or not key:
            raise UsageError(f"{what} {text!r}: expected KEY=VALUE")
        if key in values:
            raise UsageError(f"{what} {key!r}: given twice; a list is {key}=[a, b]")
        try:
            values[key] = typed(value, f"{what} {key}")
        except RecipeError as error:
            raise UsageError(str(error)) from error
    return values


def roles(inputs: Sequence[str]) -> list[str] | dict[str, str]:
    """Return inputs in their order, or by role where roles are said."""
    if any("=" in text for text in inputs):
        return {role: str(name) for role, name in pairs(inputs, "--input").items()}
    return list(inputs)


def refuse(kind: str, arguments: Mapping[str, Any]) -> None:
    """Refuse options of a reader beside an operator, and the other way round."""
    (other,) = _OF.keys() - {kind}
    if wrong := [flag for flag, key in _OF[other].items() if arguments[key]]:
        fitting = ", ".join(_OF[kind])
        raise UsageError(f"make: {wrong[0]} goes with --{other}; with --{kind} go {fitting}")
