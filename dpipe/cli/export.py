"""``dpipe export``: datasets as foreign files."""

from typing import Any

import click

from dpipe import api, writers
from dpipe.cli import options
from dpipe.cli.arguments import pairs
from dpipe.cli.opening import open_store


@click.command()
@click.argument("writer")
@click.option(
    "--input",
    "inputs",
    multiple=True,
    required=True,
    metavar="NAME",
    help="Dataset, or NAME@VERSION; further ones are merged in by stem.",
)
@click.option("--to", required=True, metavar="PATH", help="Folder for the files.")
@click.option("--part", metavar="STEM", help="Only this part.")
@click.option("--where", metavar="EXPR", help="Only records for which it is true, or in a gate.")
@click.option("--option", multiple=True, metavar="K=V", help="Option of the writer.")
@options.store
def export(writer: str, inputs: tuple[str, ...], store: str | None, **arguments: Any) -> None:
    """Write datasets as foreign files."""
    data = api.open(open_store(store).url, *inputs, part=arguments["part"])
    chosen = pairs(arguments["option"], "--option")
    chosen |= {"where": arguments["where"]} if arguments["where"] else {}
    for path in writers.export(data, writer, arguments["to"], **chosen):
        click.echo(path)
