"""``dpipe sweep``: what no version names."""

from dataclasses import asdict

import click

from dpipe.cli import options
from dpipe.cli.opening import open_store, settings_of
from dpipe.cli.output import show_rows
from dpipe.service import maintenance


@click.command()
@click.option("--delete", is_flag=True, help="Delete; without it nothing is touched.")
@click.option("--grace-hours", type=float, help="Leave what is younger.")
@options.store
@options.json
def sweep(delete: bool, grace_hours: float | None, store: str | None, as_json: bool) -> None:
    """Find what no version names; a dry run unless --delete."""
    hours = settings_of(grace_hours=grace_hours).grace_hours
    rubbish = maintenance.sweep(open_store(store), grace_hours=hours, delete=delete)
    show_rows([asdict(entry) for entry in rubbish], as_json, none="nothing to sweep")
