"""``dpipe doc``: what there is, from the tables of the shelves and their docstrings."""

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import click

from dpipe import operators, plugins, readers, writers
from dpipe.errors import UsageError, unknown

Function = Callable[..., Any]
_FIND: dict[str, Callable[[str], Function]] = {
    "reader": lambda name: readers.resolve(name).open,
    "operator": lambda name: operators.resolve(name).function,
    "writer": writers.resolve,
}
_OWN = {
    "reader": list(readers.READERS),
    "operator": list(operators.OPERATORS),
    "writer": list(writers.WRITERS),
}


@click.command()
@click.argument("name", required=False)
def doc(name: str | None) -> None:
    """List readers, operators and writers; of one NAME, tell what it takes and gives."""
    if name is None:
        _list()
        return
    for kind, entry in _named(name):
        function = inspect.unwrap(entry)
        click.echo(f"{kind} {name}; in Python {function.__name__}")
        click.echo(f"\n{inspect.getdoc(function) or ''}\n")


def _list() -> None:
    """Print all shelves; an entry of an installed package says of which, or why it is left out."""
    width = max(len(name) for names in _OWN.values() for name in names)
    left_out: list[str] = []
    for kind, built_in in _OWN.items():
        click.echo(f"{kind}s")
        for name in built_in:
            click.echo(f"  {name.ljust(width)}  {_first_line(_FIND[kind](name))}")
        for name, point in plugins.installed(kind).items():
            if name in built_in:
                continue
            try:
                line = _first_line(_FIND[kind](name))
            except UsageError as error:
                left_out.append(str(error))
            else:
                where = plugins.distribution(point)
                click.echo(f"  {name.ljust(width)}  {line} (from {where})")
        left_out += plugins.taken(kind, built_in)
    for line in left_out:
        click.echo(f"warning: left out: {line}", err=True)


def _first_line(function: Function) -> str:
    return (inspect.getdoc(function) or "").partition("\n")[0]


def _named(name: str) -> Iterator[tuple[str, Function]]:
    """Yield the entries of a name on any shelf, with the kind of the shelf."""
    shelves = {kind: [*built_in, *plugins.installed(kind)] for kind, built_in in _OWN.items()}
    kinds = [kind for kind, names in shelves.items() if name in names or ":" in name]
    if not kinds:
        every = sorted({name for names in shelves.values() for name in names})
        raise UsageError(unknown("reader, operator or writer", name, every))
    problems: list[UsageError] = []
    for kind in kinds:
        try:
            entry = _FIND[kind](name)
        except UsageError as error:
            problems.append(error)
            continue
        yield kind, entry
        if ":" in name:  # it is one thing
            return
    if len(problems) == len(kinds):
        raise problems[0]
