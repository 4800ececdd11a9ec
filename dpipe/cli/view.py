"""``dpipe view``: a dataset in napari."""

import click

from dpipe import view as napari
from dpipe.cli import options
from dpipe.cli.opening import open_store


@click.command()
@click.argument("name")
@click.option("--part", metavar="STEM", help="Which part.")
@options.store
def view(name: str, part: str | None, store: str | None) -> None:
    """Open a dataset in napari."""
    napari.view(open_store(store).url, name, part)
