"""``dpipe upgrade``: datasets of an older dpipe in today's formats."""

import click

from dpipe.cli import options
from dpipe.cli.opening import open_store, settings_of
from dpipe.cli.output import show_rows
from dpipe.service import maintenance


@click.command()
@click.argument("names", nargs=-1)
@options.store
@options.json
def upgrade(names: tuple[str, ...], store: str | None, as_json: bool) -> None:
    """Lift datasets of an older dpipe to today's formats; no pixel is read or written."""
    rows = maintenance.upgrade(open_store(store), names, author=settings_of().author)
    lifted = [row for row in rows if row["lifted"] or row["not recorded"]]
    show_rows(rows if as_json else lifted, as_json, none="nothing to upgrade")
