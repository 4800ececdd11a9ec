"""Several TIFF as one movie: files whose names count time points, planes or channels.

This module knows what may differ between the files of a series: how many frames each holds, if
each holds several, and where a recording stopped.
"""

import math
from dataclasses import replace

import numpy as np

from dpipe import schema
from dpipe.errors import InputError
from dpipe.formats.measures import HeaderFacts
from dpipe.formats.tiff import Flaw, Layout, open_tiff_file, survey
from dpipe.readers.tiff.axes import AMBIGUOUS, cut, dims_of
from dpipe.readers.tiff.movie import Asked, Movie, assume, left_out, note
from dpipe.readers.tiff.names import Named
from dpipe.readers.tiff.planes import COUNTED, Planes, Reading, by_table, in_order, short, tabled
from dpipe.sources import opened


def by_names(
    named: Named, asked: Asked, header: HeaderFacts | None = None, *, join: bool = False
) -> Movie:
    """Settle a movie of files that hold a part each.

    Parameters
    ----------
    named : Named
        The files.
    asked : Asked
        What a person asks for.
    header : HeaderFacts, optional
        Of a text beside them.
    join : bool
        Whether files of several frames each are put one behind the other.

    Returns
    -------
    Movie
        The first and the last file were looked at; all of them where they hold several frames
        each.

    Raises
    ------
    InputError
        Files of unlike size or kind.
    """
    files, axes = named.files, asked.axes
    with opened(files[0]) as file, open_tiff_file(file, short(files[0])) as tif:
        layout = survey(tif, asked.series)
        file_sizes: dict[str, int] = {}
        if axes is not None and axes.cuts:
            dims, file_sizes = cut(layout, axes, math.prod(layout.outer), torn=False)
        else:
            dims = dims_of(layout, axes, named.dims)
            file_sizes = dict(zip(dims, layout.shape, strict=True))
        counts = dict(zip(named.dims, files.counts, strict=True))
        outer, inner = dims[: -layout.inner], dims[-layout.inner :]
        several = file_sizes.get("t", 1) > 1 and "t" in outer and named.dims == "t"
        if several and not join:
            raise Flaw(
                f"a file of a series is one time point; found axes {dims.upper()} of "
                f"{tuple(file_sizes.values())}; reader tiff-series with files=t puts them one "
                "behind the other"
            )
        if twice := [dim for dim in counts if file_sizes.get(dim, 1) > 1 and not several]:
            raise Flaw(
                f"its name counts {twice[0]}, and it holds {file_sizes[twice[0]]} of {twice[0]} "
                "itself; say axes= if they count something else"
            )
        sizes = dict.fromkeys(schema.MOVIE_DIMS, 1) | file_sizes | ({} if several else counts)
        frames = None if several else named.frames
        facts = asked.facts(tif, sizes, frames=frames, header=header)
    unnamed = [d for d, a in zip(dims, layout.axes, strict=True) if a in AMBIGUOUS]
    if unnamed and axes is None:
        assume(facts, f"the axes that the file does not name are {', '.join(unnamed)}")
    if named.lost:
        listed = ", ".join(named.lost[:8])
        note(facts, f"time points left out since files of them are missing: {listed}")
    if any(not label.isdecimal() for label in named.labels) and "channels" not in facts:
        facts["channels"] = [label.lstrip("0123456789") or label for label in named.labels]
    planes = in_order(outer, inner, sizes, "" if several else named.dims)
    movie = Movie(Reading(files, layout, planes, asked.series), sizes, facts)
    return _joined(movie, dims, asked) if several else _ended(movie, asked)


def _ended(movie: Movie, asked: Asked) -> Movie:
    """Look at the last file; of a recording that stopped leave out what is not whole."""
    reading, frames = movie.reading, movie.sizes["t"]
    for t in reversed(range(frames)):
        try:
            for file in _files_of(reading.planes, t):
                look(reading, file)
            break
        except InputError:
            if not asked.torn or t == 0:
                raise
    whole = range(t + 1)
    if len(whole) == frames:
        return movie
    note(movie.facts, left_out(frames, whole))
    planes = replace(reading.planes, counts=(len(whole), *reading.planes.counts[1:]))
    facts = movie.facts.copy()
    if facts.get("times") is not None:
        facts["times"] = facts["times"][: len(whole)]
    return Movie(replace(reading, planes=planes), movie.sizes | {"t": len(whole)}, facts)


def _files_of(planes: Planes, t: int) -> list[int]:
    """Return the files that a frame lies in, the last plane's last: one is enough of many."""
    box = {d: slice(0, n) for d, n in zip(COUNTED, planes.counts, strict=True)}
    files = {file for _, file, _ in planes.of(box | {"t": slice(t, t + 1)})}
    return sorted(files)[-8:]


def look(reading: Reading, file: int) -> Layout:
    """Return the layout of one of the files, which must be like the first."""
    uri = reading.files[file]
    with opened(uri) as data, open_tiff_file(data, short(uri)) as tif:
        return reading.like(tif)


def _joined(movie: Movie, dims: str, asked: Asked) -> Movie:
    """Put files of several frames each one behind the other."""
    first, sizes = movie.reading.layout, movie.sizes
    reading = replace(movie.reading, free=int(dims[:1] == "t"))
    outer = dims[: -first.inner]
    tables = list[np.ndarray]()
    for file in range(len(reading.files)):
        try:
            layout = first if file == 0 else look(reading, file)
        except InputError:
            if not asked.torn or file == 0 or file < len(reading.files) - 1:
                raise
            note(movie.facts, f"{short(reading.files[file])} is not whole and left out")
            break
        file_sizes = sizes | dict(zip(dims, layout.shape, strict=True))
        table = tabled(in_order(outer, reading.planes.inner, file_sizes))
        table[..., 0] = file
        tables.append(table)
    table = np.concatenate(tables)
    frames, facts = len(table), movie.facts.copy()
    times = facts.get("times")
    step = float(np.median(np.diff(times))) if times is not None else facts.get("interval", 1.0)
    facts["times"] = [t * step for t in range(frames)]
    reading = replace(reading, planes=by_table(reading.planes.inner, table))
    return Movie(reading, sizes | {"t": frames}, facts)
