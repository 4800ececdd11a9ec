"""``dpipe runs``: the runs of a store."""

import click

from dpipe.cli import options
from dpipe.cli.opening import open_store
from dpipe.cli.output import show_rows
from dpipe.service import maintenance


@click.command()
@options.store
@options.json
def runs(store: str | None, as_json: bool) -> None:
    """List the runs of a store, newest first."""
    show_rows(maintenance.runs(open_store(store)), as_json)
