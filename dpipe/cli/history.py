"""``dpipe history``: the versions of a dataset."""

import click

from dpipe import catalog
from dpipe.cli import options
from dpipe.cli.opening import open_store
from dpipe.cli.output import show_rows, warn


@click.command()
@click.argument("name")
@options.store
@options.json
def history(name: str, store: str | None, as_json: bool) -> None:
    """List the versions of a dataset, newest first."""
    versions = catalog.history(open_store(store), name)
    show_rows([catalog.row(version) for version in versions], as_json)
    warn(versions.unreadable, code=5)
