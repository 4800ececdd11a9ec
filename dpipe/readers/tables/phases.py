"""Tables of phases: when each dying cell blebbed and when it fell apart.

This module knows the semantic table of the Leuko-Death study, as printed and as CSV, and what is
odd in a row. It does not know which track an event belongs to: the table does not say it.
"""

import os
import re
from collections.abc import Sequence

import numpy as np
import xarray as xr

from dpipe import schema
from dpipe.errors import InputError, UsageError
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
_MOVIE = ("video_id", "video id", "movie")
_NUMBER = ("event_index_in_video", "event index", "event")
_ROWS = 10
_MOST = 1 << 40
_SHOWN = 5
_RESPONSES = {"yes": 1, "y": 1, "true": 1, "1": 1, "no": 0, "n": 0, "false": 0, "0": 0}
_PARENTHESES = r"(?P<base>.+?) ?[(\[](?P<said>[^)\]]*)[)\]]"
_FRAMES = ("frame", "frames", "start frame", "end frame")


find = one_each(SUFFIXES)


def open_phases(
    url: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], *, first_frame: int = 1
) -> xr.Dataset:
    r"""Open a table of phases.

    Parameters
    ----------
    url : str, path, or sequence of one
        A table (csv, xls or xlsx) with a column for the movie (``video_id``), the start and end
        of both phases (``blebbing_start`` or ``blebbing (start frame)``, and so on), and, where
        there are any, ``event_index_in_video``, ``channel``, ``response`` and ``annotator``.
        Without an index, the events of a movie are counted in the order of the rows.
    first_frame : int
        Number of the first frame of a movie; that of the published table is 1 by the look of it.

    Returns
    -------
    xarray.Dataset
        ``blebbing_start``, ``blebbing_end``, ``disruption_start``, ``disruption_end`` over
        ``event``: frames from 0, both inclusive, NaN where there is no such phase; ``response``;
        ``phase_flag``, which says what is odd: phases that overlap, a gap between them, no
        disruption, a frame so far beyond the others that it may be mistyped. No blebbing is not
        odd. Coordinates ``event`` (``Neu1_1``), ``movie`` (without
        spaces), ``channel`` (several by commas), ``annotator`` if the table has it.

    Raises
    ------
    InputError
        Missing columns, a cell that is no frame, another unit, an end before its start or without
        one, a frame before the first, an event without phases or named twice.
    UsageError
        Not one file, or a first frame that is no number.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "t.csv")
    ...     _ = path.write_text(
    ...         "video_id,blebbing_start,blebbing_end,disruption_start,disruption_end,channel\n"
    ...         "Neu 8,3,5,6,8,ch1/ch4\n")
    ...     ds = open_phases(path)
    >>> ds.event.item(), ds.blebbing_start.item(), ds.disruption_end.item(), ds.channel.item()
    ('Neu8_1', 2.0, 7.0, 'ch1,ch4')
    """
    uri = one_uri(url, "a table of phases")
    if type(first_frame) is not int or abs(first_frame) > _MOST:
        raise UsageError(f"first_frame: found {first_frame!r}; expected a whole number")
    try:
        return _events(_cells(uri), first_frame)
    except Unfit as error:
        raise InputError(f"{uri.rpartition('/')[2]}: {error}") from error


def _cells(uri: str) -> Table:
    rows, comma = read_rows(uri, read_bytes(uri))
    for i, row in enumerate(rows[:_ROWS]):
        names = [_name(cell) for cell in row]
        if set(names) & set(_MOVIE) and any(name.startswith("blebbing") for name in names):
            return table(names, rows[i + 1 :], i + 2, comma)
    shown = ", ".join(cell.strip() for cell in max(rows, key=len) if cell.strip())[:120]
    columns = ", ".join(variable.name for variable in schema.PHASES)
    raise Unfit(f"not a table of phases: found {shown or 'nothing'}; expected video_id, {columns}")


def _name(cell: str) -> str:
    """Return the name of a column; ``blebbing (start frame)`` is ``blebbing_start``."""
    name = plain(cell)
    match = re.fullmatch(r"(blebbing|disruption)[ _]\(?(start|end)(?:[ _]frame)?\)?", name)
    if match is not None:
        return f"{match[1]}_{match[2]}"
    match = re.fullmatch(_PARENTHESES, name)
    if match is None:
        return name
    phase = re.fullmatch(r"(blebbing|disruption)[ _](start|end)", match["base"])
    if phase is not None and match["said"] not in _FRAMES:
        raise Unfit(
            f"{cell.strip()!r} is in {match['said']!r}; expected frames, as all four columns"
        )
    return f"{phase[1]}_{phase[2]}" if phase else match["base"]


def _events(cells: Table, first: int) -> xr.Dataset:
    movie = [re.sub(r"\s+", "", text) for text in _column(cells, _MOVIE)]
    if not movie:
        raise Unfit("no events; expected at least one")
    who = [text.strip() for text in cells.text("annotator")] if cells.has("annotator") else None
    if cells.columns.keys() & set(_NUMBER):
        name = next(name for name in _NUMBER if cells.has(name))
        number = cells.wholes(name).tolist()
    else:
        before: dict[tuple[str, str], int] = {}
        number = []
        for i, stem in enumerate(movie):
            key = (stem, who[i] if who else "")
            before[key] = before.get(key, 0) + 1
            number.append(before[key])
    event = [f"{stem}_{index}" for stem, index in zip(movie, number, strict=True)]
    seen: dict[tuple[str, str], int] = {}
    for i, key in enumerate(zip(event, who or [""] * len(event), strict=True)):
        if key in seen:
            lines = f"lines {cells.line + seen[key]} and {cells.line + i}"
            raise Unfit(f"{lines}: event {key[0]} twice; expected once")
        seen[key] = i
    rows = np.stack([_frames(cells, v.name, first) for v in schema.PHASES], axis=1)
    result: dict[str, xr.DataArray] = {}
    for variable, values in zip(schema.PHASES, rows.T, strict=True):
        result |= variable.wrap(xr.DataArray(values, dims="event"))
    flags = np.asarray([_flag(row, cells.line + i) for i, row in enumerate(rows)], np.uint32)
    far = schema.far_frames(rows.reshape(-1)).reshape(rows.shape).any(axis=1)
    flags |= far.astype(np.uint32) << schema.PHASE_FLAGS.index("far_frame")
    masks = [1 << bit for bit in range(len(schema.PHASE_FLAGS))]
    meanings = " ".join(schema.PHASE_FLAGS)
    result |= schema.PHASE_FLAG.wrap(
        xr.DataArray(flags, dims="event"), flag_masks=masks, flag_meanings=meanings
    )
    if cells.has("response"):
        result |= schema.RESPONSE.wrap(xr.DataArray(_response(cells), dims="event"))
    channel = cells.text("channel") if cells.has("channel") else [""] * len(movie)
    several = [",".join(filter(None, re.split(r"[/,;\s]+", text.lower()))) for text in channel]
    coords = schema.MOVIE.wrap(xr.DataArray(np.asarray(movie, str), dims="event"))
    coords |= schema.CHANNEL.wrap(xr.DataArray(np.asarray(several, str), dims="event"))
    coords["event"] = xr.DataArray(np.asarray(event, str), dims="event")
    if who:
        coords["annotator"] = xr.DataArray(np.asarray(who, str), dims="event")
    notes = schema.flag_note("events", flags, schema.PHASE_FLAGS)
    notes += [
        f"{event[i]} has the frame {np.nanmax(rows[i]) + first:.0f}: is it mistyped?"
        for i in np.flatnonzero(far)[:_SHOWN]
    ]
    notes += cells.unread()
    attrs = {"frame_base": int(first)} | ({"notes": notes} if notes else {})
    return xr.Dataset(result, coords=coords, attrs=attrs)


def _column(cells: Table, names: Sequence[str]) -> list[str]:
    texts = cells.text(next(name for name in names if cells.has(name)))
    for i, text in enumerate(texts):
        if not text.strip():
            raise Unfit(f"line {cells.line + i}: no movie named")
    return texts


def _frames(cells: Table, name: str, first: int) -> np.ndarray:
    """Read a column of frames; they become 0-based, an empty cell NaN."""
    numbers = cells.wholes(name, empty=first - 1)
    filled = np.asarray([not is_nothing(text) for text in cells.text(name)], dtype=bool)
    bad = np.flatnonzero(np.logical_and(filled, numbers < first))
    if bad.size:
        i = int(bad[0])
        way = "; say first_frame=0 if frames are counted from 0" if numbers[i] == 0 < first else ""
        raise Unfit(
            f"line {cells.line + i}: {name} is {numbers[i]}, before the first frame, {first}{way}"
        )
    return np.where(filled, numbers - first, np.nan).astype(np.float64)


def _flag(row: np.ndarray, line: int) -> int:
    """Return the oddities of one event; refuse an impossible one."""
    starts, ends = row[::2], row[1::2]
    for name, start, end in zip(("blebbing", "disruption"), starts, ends, strict=True):
        if np.isnan(start) != np.isnan(end):
            raise Unfit(f"line {line}: {name} has a start or an end alone; expected both")
        if end < start:
            raise Unfit(f"line {line}: {name} ends before it starts")
    if np.isnan(row).all():
        raise Unfit(f"line {line}: an event without phases")
    odd = {
        "phases_overlap": ends[0] >= starts[1],
        "gap_between_phases": starts[1] > ends[0] + 1,
        "no_disruption": np.isnan(starts[1]),
    }
    return sum(bool(odd.get(name)) << bit for bit, name in enumerate(schema.PHASE_FLAGS))


def _response(cells: Table) -> np.ndarray:
    texts = ["" if is_nothing(t) else t.strip().lower() for t in cells.text("response")]
    for i, text in enumerate(texts):
        if text and text not in _RESPONSES:
            raise Unfit(f"line {cells.line + i}: response is {text!r}; expected yes or no")
    return np.asarray([_RESPONSES.get(text, -1) for text in texts], dtype=np.int8)
