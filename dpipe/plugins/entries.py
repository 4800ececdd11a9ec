"""Entries of shelves that are not dpipe's own: by module and name, or of an installed package."""

import importlib
import inspect
import sys
from collections.abc import Iterable
from functools import cache
from importlib import metadata
from typing import Any, NamedTuple

from dpipe.errors import UsageError, unknown
from dpipe.plugins import user_code


class Entry(NamedTuple):
    """What a name on a shelf leads to.

    Attributes
    ----------
    value : object
        A function, or what else the shelf holds.
    code : str
        Digest of the code that it consists of.
    packages : dict of str to str
        Installed packages that the code imports, with their versions.
    label : str
        What it is called in messages, for example ``"reader 'lif' of mylab 1.2"``.
    """

    value: Any
    code: str
    packages: dict[str, str]
    label: str


def find(kind: str, name: str, reserved: Iterable[str]) -> Entry:
    """Import an entry that is not dpipe's own.

    Parameters
    ----------
    kind : {"reader", "operator", "writer"}
        Which shelf.
    name : str
        ``"package.module:NAME"``, or the name of an entry point in the group ``dpipe.KINDs``.
    own : iterable of str
        The names of dpipe's own entries, for the suggestion.

    Returns
    -------
    Entry
        What it leads to; whether that fits the shelf is for the shelf to say.

    Raises
    ------
    UsageError
        There is no such name, it cannot be imported, or its code was edited since.
    """
    if ":" in name:
        return _imported(kind, name, f"{kind} {name!r}")
    points = installed(kind)
    if name not in points:
        raise UsageError(unknown(kind, name, [*reserved, *points]))
    point = points[name]
    return _imported(kind, point.value, f"{kind} {name!r} of {distribution(point)}")


def installed(kind: str) -> dict[str, metadata.EntryPoint]:
    """Return the entry points of a shelf by their names, the first of each."""
    return _installed(f"dpipe.{kind}s", tuple(sys.path))


@cache
def _installed(group: str, _: tuple[str, ...]) -> dict[str, metadata.EntryPoint]:
    points: dict[str, metadata.EntryPoint] = {}
    for point in metadata.entry_points(group=group):
        points.setdefault(point.name, point)
    return points


def taken(kind: str, reserved: Iterable[str]) -> list[str]:
    """Say which entry points have a name that is dpipe's own, which they do not take."""
    names = set(reserved)
    return [
        f"{distribution(point)}: {kind} {name!r} is dpipe's own; give yours another name"
        for name, point in installed(kind).items()
        if name in names
    ]


def distribution(point: metadata.EntryPoint) -> str:
    """Return name and version of the package that an entry point belongs to."""
    return f"{point.dist.name} {point.dist.version}" if point.dist else "an unnamed package"


def _imported(kind: str, target: str, label: str) -> Entry:
    """Import ``module:name``; `label` says in messages what is wanted."""
    module_name, _, attribute = target.partition(":")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # a user's module may raise anything
        raise UsageError(
            f"{label}: cannot import {module_name!r} ({type(error).__name__}: {error}); "
            "it must be installed, or its folder stand in PYTHONPATH"
        ) from error
    value = getattr(module, attribute, None)
    if value is None:
        functions = [key for key, member in vars(module).items() if inspect.isfunction(member)]
        noun = "name" if kind == "reader" else "function"
        raise UsageError(f"{label}: {unknown(noun, attribute, functions)}")
    try:
        code = user_code.code_of(module)
    except ValueError as error:
        raise UsageError(f"{label}: {error}") from error
    return Entry(value, code.digest, code.packages, label)
