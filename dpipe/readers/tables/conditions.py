"""Tables of conditions: what each movie shows, and how it was made.

This module knows Table 1 of the Leuko-Death study: content of the channels, markers,
fluorophores, organ, stimulus and objective. It corrects two misprints, and says so.
"""

import os
import re
from collections.abc import Sequence

import numpy as np
import xarray as xr

from dpipe import schema
from dpipe.errors import InputError
from dpipe.formats.spreadsheets import (
    EXCEL,
    Table,
    Unfit,
    is_nothing,
    plain,
    read_bytes,
    read_rows,
    table,
)
from dpipe.sources import one_each, one_uri

SUFFIXES = (".csv", ".tsv", ".txt", *EXCEL)
MISPRINTS = {"UVPR9": "UVPR8", "UPPR8": "UVPR8"}
_NAMES = {
    schema.MARKERS: ("markers", "marker"),
    schema.FLUOROPHORES: ("fluorophores", "fluorophore"),
    schema.ORGAN: ("organ",),
    schema.STIMULUS: ("stimulus", "stimuli"),
    schema.OBJECTIVE: ("objective",),
}
_MOVIE = ("video_id", "video id", "movie")
_CHANNEL = re.compile(r"ch(?:annel)?[ _]?(\d{1,4})", re.ASCII)


find = one_each(SUFFIXES)


def open_conditions(
    url: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
) -> xr.Dataset:
    r"""Open a table of experimental conditions.

    Parameters
    ----------
    url : str, path, or sequence of one
        A table (csv, xls or xlsx) with the columns ``video_id``, ``ch1``, ``ch2``, ...,
        ``markers``, ``fluorophore``, ``organ``, ``stimuli`` and ``objective``.

    Returns
    -------
    xarray.Dataset
        Text: ``content(movie, channel_number)``, and ``markers``, ``fluorophores``, ``organ``,
        ``stimulus``, ``objective`` over ``movie``, whose names have no spaces; channels count
        from 1; what the table leaves open is empty. ``attrs["corrected"]`` lists misprints,
        ``attrs["notes"]`` the columns that are not read.

    Raises
    ------
    InputError
        Missing columns, a movie without name or named twice.
    UsageError
        Not one file.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "t.csv")
    ...     _ = path.write_text("video_id,ch1,ch2,markers,fluorophore,organ,stimuli,objective\n"
    ...         "Neu 8,Neu,UVPR9,CD169,\"CFP, PE\",Lymph node,UVPR8,40x\n")
    ...     ds = open_conditions(path)
    >>> ds.movie.item(), ds.content.values.tolist(), ds.fluorophores.item()
    ('Neu8', [['Neu', 'UVPR8']], 'CFP, PE')
    """
    uri = one_uri(url, "a table of conditions")
    try:
        rows, comma = read_rows(uri, read_bytes(uri))
        header = next((i for i, r in enumerate(rows[:10]) if {*map(plain, r)} & set(_MOVIE)), None)
        if header is None:
            shown = ", ".join(cell.strip() for cell in max(rows, key=len) if cell.strip())[:120]
            raise Unfit(
                f"not a table of conditions: found {shown or 'nothing'}; expected video_id, ch1, "
                "markers, fluorophore, organ, stimuli, objective"
            )
        return _conditions(table(rows[header], rows[header + 1 :], header + 2, comma))
    except Unfit as error:
        raise InputError(f"{uri.rpartition('/')[2]}: {error}") from error


def _conditions(cells: Table) -> xr.Dataset:
    movie = [
        re.sub(r"\s+", "", text) for text in cells.text(next(n for n in _MOVIE if cells.has(n)))
    ]
    if not movie:
        raise Unfit("no movies; expected at least one")
    for i, stem in enumerate(movie):
        if not stem:
            raise Unfit(f"line {cells.line + i}: no movie named")
        if stem in movie[:i]:
            lines = f"lines {cells.line + movie.index(stem)} and {cells.line + i}"
            raise Unfit(f"{lines}: movie {stem} twice; expected once")
    channels = {int(m[1]): name for name in cells.columns if (m := _CHANNEL.fullmatch(name))}
    if sorted(channels) != list(range(1, len(channels) + 1)) or not channels:
        raise Unfit(f"channels {sorted(channels)}; expected the columns ch1, ch2, ... to the last")
    corrected: list[str] = []

    def clean(texts: Sequence[str]) -> list[str]:
        spelled = []
        for stem, text in zip(movie, texts, strict=True):
            word = " ".join(text.split())
            if is_nothing(word) and word.lower() != "none":  # a stimulus may be none
                word = ""
            right = MISPRINTS.get(word, word)
            if right != word:
                corrected.append(f"{stem}: {word} to {right}")
            spelled.append(right)
        return spelled

    content = [clean(cells.text(channels[i])) for i in sorted(channels)]
    result = schema.CONTENT.wrap(
        xr.DataArray(np.asarray(content, str).T, dims=("movie", "channel_number"))
    )
    for variable, names in _NAMES.items():
        name = next((name for name in names if cells.has(name)), names[-1])
        column = np.asarray(clean(cells.text(name)), str)
        result |= variable.wrap(xr.DataArray(column, dims="movie"))
    coords = {"movie": np.asarray(movie, str), "channel_number": sorted(channels)}
    notes = cells.unread()
    attrs = {"corrected": corrected} | ({"notes": notes} if notes else {})
    return xr.Dataset(result, coords=coords, attrs=attrs)
