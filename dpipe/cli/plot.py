"""The command line of pictures: ``dpipe plot figure3``, ``gallery`` and ``sheet``.

It knows options and files; what is drawn stands in ``dpipe.plot``.
"""

from typing import Any

import click

from dpipe import api
from dpipe import plot as draw
from dpipe.cli import options
from dpipe.cli.opening import open_store

_to = click.option(
    "--to", required=True, metavar="FILE", help="Picture to write: .png, .svg or .pdf."
)


@click.group()
def plot() -> None:
    """Draw pictures of datasets."""


def _write(figure: Any, to: str) -> None:
    click.echo(draw.save(figure, to))


@plot.command()
@click.argument("names", nargs=-1)
@click.option(
    "--by",
    default="stem",
    show_default=True,
    help="Groups: stem (Neu12 is of Neu), or a condition: organ, stimulus, ...",
)
@click.option(
    "--panels", default=draw.LETTERS, show_default=True, help="Letters of the panels wanted."
)
@_to
@options.store
def figure3(names: tuple[str, ...], by: str, panels: str, to: str, store: str | None) -> None:
    """Draw the quality of a study and what it shows: of all datasets, or of those named."""
    _write(draw.figure3(draw.gather(open_store(store), *names), by=by, panels=panels), to)


@plot.command()
@click.argument("crops")
@click.option("--masks", metavar="NAME", help="Dataset of labels, to be outlined.")
@click.option("--part", metavar="STEM", help="Crops of this movie only.")
@click.option("--channel", metavar="C", help="Which; by default where an event was marked.")
@click.option(
    "--most", type=click.IntRange(1), default=12, show_default=True, help="Events at most."
)
@click.option(
    "--columns", type=click.IntRange(1), default=10, show_default=True, help="Pictures of each."
)
@click.option(
    "--contrast",
    type=click.Choice(["gallery", "row"]),
    default="gallery",
    show_default=True,
    help="What is black and white: the same in all pictures, or in each row.",
)
@_to
@options.store
def gallery(
    crops: str, masks: str | None, part: str | None, to: str, store: str | None, **look: Any
) -> None:
    """Draw a gallery of CROPS over time, with phases and tracks."""
    url = open_store(store).url
    outlined = api.open(url, masks) if masks else None
    _write(draw.gallery(api.open(url, crops, part=part), masks=outlined, **look), to)


@plot.command()
@click.argument("movie")
@click.argument("known", nargs=-1)
@click.option("--part", required=True, metavar="STEM", help="Which movie.")
@click.option("--frame", type=int, help="Which frame is pictured; by default the middle one.")
@click.option("--level", type=click.IntRange(0), default=0, help="Level of the movie's pyramid.")
@_to
@options.store
def sheet(
    movie: str,
    known: tuple[str, ...],
    part: str,
    frame: int | None,
    level: int,
    to: str,
    store: str | None,
) -> None:
    """Draw the quality sheet of a part of MOVIE, with what the datasets KNOWN hold of it."""
    ds = api.open(open_store(store).url, movie, *known, part=part, level=level)
    _write(draw.movie_sheet(api.as_parts(ds)[part], frame=frame), to)
