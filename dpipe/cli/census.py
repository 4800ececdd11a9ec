"""``dpipe census``: what is in a source, from headers only."""

import click

from dpipe import census as counting
from dpipe.cli import options
from dpipe.cli.arguments import pairs
from dpipe.cli.output import show_rows


@click.command()
@click.argument("source", nargs=-1, required=True)
@click.option("--reader", default="imaris", show_default=True, metavar="R", help="Which reader.")
@options.option
@options.json
def census(source: tuple[str, ...], reader: str, option: tuple[str, ...], as_json: bool) -> None:
    """Say what is in a SOURCE, from headers only."""
    rows = counting.census(reader, source, options=pairs(option, "--option"))
    show_rows(
        rows, as_json, none=f"reader {reader} finds nothing there; dpipe doc lists the readers"
    )
    for line in counting.warnings(rows):
        click.echo(f"warning: {line}", err=True)
