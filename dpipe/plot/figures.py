"""Pictures of datasets: Figure 3 of a study, a gallery of crops, a movie's quality sheet.

Each function takes Datasets or DataTrees and returns a matplotlib Figure that belongs to nobody
else: no pyplot, no global state, so that threads may draw. Colours are told apart by people who
see fewer of them, and never stand alone. Needs the extra ``plot``.

This module knows what is shown; how numbers, crops and ink become pictures stands in its private
neighbours. Stores are only read, by `gather`.
"""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Literal

import xarray as xr

from dpipe import catalog
from dpipe.api import DataLike, as_parts
from dpipe.catalog import opening
from dpipe.compute import blocks
from dpipe.plot import (
    crop_gallery,
    figure3_data,
    figure3_panels,
    gallery_drawing,
    quality_sheet,
    style,
)
from dpipe.plot.crop_gallery import Row
from dpipe.plot.figure3_data import LETTERS, Panel
from dpipe.storage import Objects

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_READERS = 8
_LARGEST = 8 << 20
"""Bytes of a variable that `gather` still reads."""


def figure3(data: DataLike, *, by: str = "stem", panels: str = LETTERS) -> "Figure":
    """Draw Figure 3 of the Leuko-Death study: how good the movies are, and what they show.

    A: signal-to-noise ratio of each movie. B: sampling intervals. C: cells per field of view. D:
    distance to the nearest other cell. E: share of cells in clusters. F: when disruption starts,
    as a share of the event. G: distance along each track. H: how many frames an event lasts. I, J:
    consensus of annotators on events and on phases. A panel without data says what it needs.
    Movies are compared by groups, with the tests and stars of ``group_tests``: a movie counts once,
    of events and tracks it is their mean, for those of one movie are not independent. Over pairs
    p is not corrected for their number, as in the study. Groups that are too small to differ are
    said.

    Parameters
    ----------
    data : xarray.Dataset, xarray.DataTree or mapping
        Movies and tables by stem, or such a tree a dataset, as `gather` gives. Of several
        datasets the first that fills a panel does; what annotators said apart comes last.
    by : str
        ``"stem"`` (``Neu12`` is of the group ``Neu``), or a condition that `data` holds:
        ``organ``, ``stimulus``, ...
    panels : str
        Letters of those to draw.

    Returns
    -------
    matplotlib.figure.Figure
        Four panels a row.

    Raises
    ------
    UsageError
        matplotlib is missing, an unknown letter, or a condition that nothing tells.

    Notes
    -----
    A movie's number is the mean over its frames, then over its channels. An event lasts from its
    first to its last frame, both included, and frames count as even in time: with n frames of which
    k come before disruption, F is k / n. H takes the frames of tracks, without tracks those of
    phases. E takes clusters of at least three cells, as the study's caption says, where
    ``cell_density`` tells them (``cell_clustered_three``), else the clusters of its text; the
    figure says which.
    """
    return figure3_panels.draw(figure3_data.panels(figure3_data.leaves(data), by, panels), by)


def panels(data: DataLike, *, by: str = "stem", panels: str = LETTERS) -> list[Panel]:
    """Return the numbers that `figure3` draws.

    Parameters
    ----------
    data, by, panels
        As in `figure3`.

    Returns
    -------
    list of Panel
        With ``groups`` (numbers by group), ``movies`` (how many, by group), ``tests`` (of
        movies), ``source``, ``left_out`` and ``rule``.

    Examples
    --------
    >>> held = {s: xr.Dataset({"frame_snr": (("t", "c"), [[v]])})
    ...         for s, v in (("Neu1", 9.0), ("Neu2", 11.0), ("Den1", 4.0))}
    >>> (panel,) = panels(held, panels="A")
    >>> {group: values.tolist() for group, values in panel.groups.items()}
    {'Den': [4.0], 'Neu': [9.0, 11.0]}
    """
    return figure3_data.panels(figure3_data.leaves(data), by, panels)


def gallery(
    crops: DataLike | list[Row],
    *,
    masks: DataLike | None = None,
    most: int = 12,
    columns: int = 10,
    channel: str | None = None,
    contrast: Literal["gallery", "row"] = "gallery",
) -> "Figure":
    """Draw crops as a gallery: a row an event, over time, with phases, track and outlines.

    Frames are chosen evenly, and among them the first of each phase. Black and white are the
    percentiles 0.5 and 99.7 of all pictures shown, or of those of one dtype where some movies have
    8 bits and some more, which the figure says; of a volume the maximum over z is shown. Each row
    has a scale bar. Below each picture stands its phase, by letter and colour, and its time. The
    line is the track so far: the places of the window's centre.

    Parameters
    ----------
    crops : xarray.Dataset, xarray.DataTree or mapping
        ``crop(event, t, c, y, x)`` or ``crop_volume``, a part a movie; or what `rows` gave.
    masks : xarray.Dataset, xarray.DataTree or mapping, optional
        ``labels(t, z, y, x)`` of the movies, by stem; they are read where crops are, and outlined.
    most : int
        Events at most: of every kind and movie in turn.
    columns : int
        Pictures of an event at most.
    channel : str, optional
        Which one to show; by default that in which the event was marked, else the first.
    contrast : {"gallery", "row"}
        "row" stretches each row by itself, and says of each from which grey value to which: for
        movies of unlike brightness, which then do not compare.

    Returns
    -------
    matplotlib.figure.Figure
        Only the pictures shown were computed.

    Raises
    ------
    SchemaError
        There are no crops.
    UsageError
        matplotlib is missing, or a parameter that cannot work.
    """
    if isinstance(crops, list):
        return gallery_drawing.draw(crops)
    drawn = rows(crops, masks=masks, most=most, columns=columns, channel=channel, contrast=contrast)
    return gallery_drawing.draw(drawn)


def rows(
    crops: DataLike,
    *,
    masks: DataLike | None = None,
    most: int = 12,
    columns: int = 10,
    channel: str | None = None,
    contrast: Literal["gallery", "row"] = "gallery",
) -> list[Row]:
    """Return the rows that `gallery` draws, one an event.

    Parameters
    ----------
    crops, masks, most, columns, channel, contrast
        As in `gallery`.

    Returns
    -------
    list of Row
        Pictures, times, phases, tracks and outlines of each.
    """
    return crop_gallery.rows(
        figure3_data.leaves(crops),
        {} if masks is None else as_parts(masks),
        most=most,
        columns=columns,
        channel=channel,
        contrast=contrast,
    )


def movie_sheet(
    movie: xr.Dataset, *known: xr.Dataset, frame: int | None = None, limit: float | None = 5.0
) -> "Figure":
    """Draw a movie's quality sheet on one page.

    Pictures (the maximum over z of one frame, a channel each), voxels by grey value, and over time
    whatever is known: signal-to-noise ratio with the verdicts on frames, spectral tail, mean,
    focus, contrast, saturated voxels, cells and their distance.

    Parameters
    ----------
    movie : xarray.Dataset
        A movie, lazy or not; one frame of it is computed.
    *known : xarray.Dataset
        What ``frame_quality`` and ``cell_density`` gave for it; what `movie` itself holds counts
        too, as in ``dpipe.open(store, "leuko", "leuko-quality", part="Neu1")``.
    frame : int, optional
        Which one to show; by default the middle one.
    limit : float, optional
        A line in dB; the study calls a ratio above 5 good.

    Returns
    -------
    matplotlib.figure.Figure
        At most four channels are pictured.

    Raises
    ------
    SchemaError
        No movie, or a measure of another number of frames or channels.
    UsageError
        matplotlib is missing, no such frame, or one of more than 2 GiB.
    """
    return quality_sheet.draw(quality_sheet.sheet(movie, [movie, *known], frame, limit))


def gather(store: str | Objects, *names: str) -> xr.DataTree:
    """Read the variables that `figure3` draws from the datasets of a store.

    Parameters
    ----------
    store : str
        A store.
    *names : str
        Datasets or versions; by default the newest version of every dataset.

    Returns
    -------
    xarray.DataTree
        A tree a dataset, one child a part; only variables that a panel is made of, in memory,
        and only parts that hold any, or the times of a movie.

    Raises
    ------
    NotAStoreError, NotFoundError
        There is no such store, or no such dataset.
    """
    objects = catalog.open_store(store) if isinstance(store, str) else store
    versions = [catalog.resolve(objects, name) for name in names or catalog.names(objects)]
    with ThreadPoolExecutor(_READERS) as pool:
        datasets = list(pool.map(lambda pair: _read(objects, *pair), _wanted(versions)))
    return xr.DataTree.from_dict(dict(datasets))


def _wanted(versions: Sequence[catalog.Version]) -> Iterator[tuple[str, catalog.PartRef]]:
    """Yield the parts that hold anything of use; of others one a movie, if it has times."""
    every = [(f"/{version.name}/{ref.stem}", ref) for version in versions for ref in version.parts]
    useful = [
        pair for pair in every if figure3_data.WANTED & set(pair[1].summary.get("variables", ()))
    ]
    stems = {ref.stem for _, ref in useful if _timed(ref)}
    yield from useful
    for path, ref in every:
        if _timed(ref) and ref.stem not in stems:
            stems.add(ref.stem)
            yield path, ref


def _timed(ref: catalog.PartRef) -> bool:
    summary = ref.summary
    return "t" in summary.get("spacing", {}) and "event" not in summary.get("sizes", {})


def _read(objects: Objects, path: str, ref: catalog.PartRef) -> Any:
    ds = opening.open_named(objects, ref)
    names = [
        str(name)
        for name, variable in ds.data_vars.items()
        if name in figure3_data.WANTED and variable.nbytes <= _LARGEST
    ]
    small = ds.drop_vars([name for name in ds.data_vars if name not in names])
    values = blocks.compute_region(small, names, {})
    return path, small.assign({name: small[name].copy(data=v) for name, v in values.items()})


def png(drawn: "Figure", *, dpi: float = 110, colors: int = 128) -> tuple[bytes, int, int]:
    """Return a figure as a small PNG.

    Parameters
    ----------
    drawn : matplotlib.figure.Figure
        A figure.
    dpi : float
        Pixels per inch.
    colors : int
        Colours at most.

    Returns
    -------
    tuple of (bytes, int, int)
        The file, its width, its height.
    """
    return style.png(drawn, dpi, colors)


def save(drawn: "Figure", path: str | os.PathLike[str], *, dpi: float = 150) -> str:
    """Write a figure as PNG, SVG or PDF, by its suffix.

    Parameters
    ----------
    drawn : matplotlib.figure.Figure
        A figure.
    path : str or path
        Where; folders are made.
    dpi : float
        Pixels per inch of a PNG.

    Returns
    -------
    str
        The path.

    Raises
    ------
    UsageError
        Another suffix, or a place that cannot be written.
    """
    return style.save(drawn, path, dpi)
