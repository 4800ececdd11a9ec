"""Parameters of readers and operators: defaults filled in, unknown names refused.

This module knows signatures; it calls nothing.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from dpipe.errors import UsageError, unknown

Params = dict[str, Any]
"""Parameters of a reader or operator by name, of whatever type its signature says."""


def bind(function: Callable[..., Any], params: Mapping[str, Any], what: str) -> Params:
    """Fill in a function's keyword-only defaults and refuse names that it does not take.

    Parameters
    ----------
    function : callable
        A reader's or an operator's function.
    params : mapping
        Parameters, as a person wrote them.
    what : str
        What the function is called in messages, for example ``"operator frame-quality"``.

    Returns
    -------
    dict
        Every keyword-only parameter with its value; a whole number for a float is a float, so 5
        and 5.0 are the same.

    Raises
    ------
    UsageError
        An unknown parameter, or a missing one without default.
    """
    signature = {
        name: parameter
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    for name in params:
        if name not in signature:
            raise UsageError(f"{what}: {unknown('parameter', name, signature)}")
    bound = {name: params.get(name, parameter.default) for name, parameter in signature.items()}
    for name, value in bound.items():
        if value is inspect.Parameter.empty:
            raise UsageError(f"{what}: needs the parameter {name!r}; give it a value")
        if type(value) is int and _is_float(signature[name]):
            bound[name] = float(value)
    return bound


def bind_operator(function: Callable[..., Any], params: Mapping[str, Any], what: str) -> Params:
    """Fill in an operator's defaults as `bind` does; it may be given ``where`` too.

    Parameters
    ----------
    function, params, what
        As for `bind`. ``where`` is an expression that chooses records of the first input, as
        ``dpipe.select`` does, unless the operator has a parameter of that name itself.

    Returns
    -------
    dict
        Every parameter with its value, and ``where`` if it was given.

    Raises
    ------
    UsageError
        As of `bind`, or a ``where`` that is no text.
    """
    params = dict(params)
    where = None if has_where(function) else params.pop("where", None)
    if where is not None and not (isinstance(where, str) and where.strip()):
        raise UsageError(f"{what}: where: found {where!r}; expected an expression")
    return bind(function, params, what) | ({} if where is None else {"where": where})


def has_where(function: Callable[..., Any]) -> bool:
    """Tell whether a function has a parameter ``where`` of its own."""
    return "where" in inspect.signature(function).parameters


def _is_float(parameter: inspect.Parameter) -> bool:
    return isinstance(parameter.default, float) or parameter.annotation in (float, float | None)
