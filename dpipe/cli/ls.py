"""``dpipe ls``: the datasets of a store."""

import click

from dpipe import catalog
from dpipe.cli import options
from dpipe.cli.opening import open_store
from dpipe.cli.output import show_rows, warn


@click.command()
@options.store
@options.json
def ls(store: str | None, as_json: bool) -> None:
    """List the datasets of a store."""
    objects = open_store(store)
    rows, problems = catalog.listing(objects)
    show_rows(rows, as_json)
    warn(problems, code=5)
