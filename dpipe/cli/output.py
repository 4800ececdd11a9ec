"""Rows and warnings, printed."""

import json
from collections.abc import Mapping, Sequence

import click

from dpipe import report


def show_rows(
    rows: Sequence[Mapping[str, object]],
    as_json: bool,
    columns: Sequence[str] = (),
    none: str = "nothing",
) -> None:
    """Print rows as a table, or as JSON."""
    if as_json:
        click.echo(json.dumps(list(rows), default=str))
        return
    for line in report.table(rows, columns) or [none]:
        click.echo(line)


def warn(lines: Sequence[str], code: int = 0) -> None:
    """Print warnings; end with an exit code where there are any."""
    for line in lines:
        click.echo(f"warning: {line}", err=True)
    if lines and code:
        raise click.exceptions.Exit(code)
