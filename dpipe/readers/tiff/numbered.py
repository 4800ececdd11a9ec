"""Several TIFF as one movie: files whose names count time points, planes or channels.

This module knows what may differ between the files of a series: how many frames each holds, if
each holds several, and where a recording stopped.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from dpipe import schema
from dpipe.errors import InputError
from dpipe.formats.tiff import Flaw, Layout, open_tiff_file, survey
from dpipe.readers.tiff.axes import AMBIGUOUS, cut, dims_of
from dpipe.readers.tiff.movie import Asked, Movie, assume, left_out, note
from dpipe.readers.tiff.names import Named
from dpipe.readers.tiff.planes import COUNTED, Planes, Reading, by_table, in_order, short, tabled
from dpipe.sources import opened


def by_names(
    found: Named, asked: Asked, told: Mapping[str, Any] | None = None, *, join: bool = False
) -> Movie:
    """Settle a movie of files that hold a part each.

    Parameters
    ----------
    found : Named
        The files.
    asked : Asked
        What a person asks for.
    told : mapping, optional
        What a text beside them says, as `_tiff_facts.Found`.
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
    files, axes = found.files, asked.axes
    with opened(files[0]) as file, open_tiff_file(file, short(files[0])) as tif:
        layout = survey(tif, asked.series)
        own: dict[str, int] = {}
        if axes is not None and axes.cuts:
            dims, own = cut(layout, axes, math.prod(layout.outer), torn=False)
        else:
            dims = dims_of(layout, axes, found.dims)
            own = dict(zip(dims, layout.shape, strict=True))
        named = dict(zip(found.dims, files.counts, strict=True))
        outer, inner = dims[: -layout.inner], dims[-layout.inner :]
        several = own.get("t", 1) > 1 and "t" in outer and found.dims == "t"
        if several and not join:
            raise Flaw(
                f"a file of a series is one time point; found axes {dims.upper()} of "
                f"{tuple(own.values())}; reader tiff-series with files=t puts them one behind the "
                "other"
            )
        if twice := [dim for dim in named if own.get(dim, 1) > 1 and not several]:
            raise Flaw(
                f"its name counts {twice[0]}, and it holds {own[twice[0]]} of {twice[0]} itself; "
                "say axes= if they count something else"
            )
        sizes = dict.fromkeys(schema.MOVIE_DIMS, 1) | own | ({} if several else named)
        more = {} if told is None else {"told": told}
        said = asked.facts(tif, sizes, frames=None if several else found.frames, **more)
    unnamed = [d for d, a in zip(dims, layout.axes, strict=True) if a in AMBIGUOUS]
    if unnamed and axes is None:
        assume(said, f"the axes that the file does not name are {', '.join(unnamed)}")
    if found.lost:
        listed = ", ".join(found.lost[:8])
        note(said, f"time points left out since files of them are missing: {listed}")
    if any(not label.isdecimal() for label in found.labels) and "channels" not in said:
        said["channels"] = [label.lstrip("0123456789") or label for label in found.labels]
    planes = in_order(outer, inner, sizes, "" if several else found.dims)
    movie = Movie(Reading(files, layout, planes, asked.series), sizes, said)
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
    note(movie.said, left_out(frames, whole))
    planes = replace(reading.planes, counts=(len(whole), *reading.planes.counts[1:]))
    said = dict(movie.said)
    if said.get("times") is not None:
        said["times"] = said["times"][: len(whole)]
    return Movie(replace(reading, planes=planes), movie.sizes | {"t": len(whole)}, said)


def _files_of(planes: Planes, t: int) -> list[int]:
    """Return the files that a frame lies in, the last plane's last: one is enough of many."""
    box = {d: slice(0, n) for d, n in zip(COUNTED, planes.counts, strict=True)}
    found = {file for _, file, _ in planes.of(box | {"t": slice(t, t + 1)})}
    return sorted(found)[-8:]


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
            note(movie.said, f"{short(reading.files[file])} is not whole and left out")
            break
        held = sizes | dict(zip(dims, layout.shape, strict=True))
        table = tabled(in_order(outer, reading.planes.inner, held))
        table[..., 0] = file
        tables.append(table)
    table = np.concatenate(tables)
    frames, said = len(table), dict(movie.said)
    own = said.get("times")
    step = float(np.median(np.diff(own))) if own is not None else said.get("interval", 1.0)
    said["times"] = [t * step for t in range(frames)]
    reading = replace(reading, planes=by_table(reading.planes.inner, table))
    return Movie(reading, sizes | {"t": frames}, said)
