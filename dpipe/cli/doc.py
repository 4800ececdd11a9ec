"""The command line of what there is: ``dpipe doc``, from the tables and their docstrings."""

import inspect
from collections.abc import Callable
from typing import Any

import click

from dpipe import operators, readers, writers
from dpipe.errors import UsageError, unknown


def _shelves() -> dict[str, dict[str, Callable[..., Any]]]:
    return {
        "readers": {name: reader.open for name, reader in readers.READERS.items()},
        "operators": {name: one.function for name, one in operators.OPERATORS.items()},
        "writers": dict(writers.WRITERS),
    }


@click.command()
@click.argument("name", required=False)
def doc(name: str | None) -> None:
    """List readers, operators and writers; of one NAME, tell what it takes and gives."""
    shelves = _shelves()
    found = [(shelf, held[name]) for shelf, held in shelves.items() if name in held]
    if name is not None and ":" in name:
        found = [("operators", operators.resolve(name).function)]
    if name is None:
        width = max(len(key) for held in shelves.values() for key in held)
        for shelf, held in shelves.items():
            click.echo(shelf)
            for key, function in held.items():
                first = (inspect.getdoc(function) or "").partition("\n")[0]
                click.echo(f"  {key.ljust(width)}  {first}")
    elif not found:
        known = sorted({key for held in shelves.values() for key in held})
        raise UsageError(unknown("reader, operator or writer", name, known))
    for shelf, function in found:
        click.echo(f"{shelf[:-1]} {name}; in Python {function.__name__}")
        click.echo(f"\n{inspect.getdoc(function) or ''}\n")
