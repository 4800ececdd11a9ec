"""Columns of tracks: what programs call them, and what their names say of units.

A program is told by its columns (`PROGRAMS`); any other table is read by the words in `WORDS`, and
by units that stand in its names: ``x_um``, ``Position X [px]``, ``time (min)``. Knows no file.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dpipe.formats.spreadsheets import Table, Unfit, plain
from dpipe.formats.track_rows import LENGTHS, PIXELS, TIMES, Rows, word_of

WORDS: Mapping[str, str] = {
    "track": r"track(?:[ _]?(?:id|number|index|no\.?|n[\u00b0o]|label))?|(?:cell|particle|traj"
    r"(?:ectory)?)[ _]?id|particle|trajectory|tracklet[ _]?id",
    "frame": r"frames?(?:[ _]?(?:i|id|idx|index|number|no\.?))?|time[ _]?(?:point|frame|index|step)"
    r"|slice n\u00b0|image[ _]?number",
    "time": r"t|times?|pos(?:ition)?[ _]?t",
    **{
        axis: rf"{axis}|(?:pos|position|centroid|cent(?:er|re)|coord|loc|location|spot)[ _]?{axis}"
        rf"|{axis}[ _]?(?:pos|position|centroid|cent(?:er|re)|coord|coordinate|loc|location)"
        for axis in "zyx"
    },
    "radius": r"radius",
    "number": r"(?:spot|object|node)[ _]?id",
    "parent": r"parent[ _]?track(?:[ _]?id)?",
    "annotator": r"annotator",
}
"""By what they mean, regular expressions of names of columns, without units."""
NEEDED = (
    "a column of tracks (track_id, -1 for none), frame or time (frame, t_s, t_min), and places "
    "(x_um, y_um)"
)
_UNIT = re.compile(r"(?P<base>.+?) ?[(\[](?P<unit>[^)\]]*)[)\]]|(?P<start>.+)[ _](?P<end>[^ _]+)")
_MOVIES = (
    *("part", "movie", "movie_id", "movie_name", "video", "video_id", "well", "site", "fov"),
    *("group_number", "metadata_plate", "metadata_well", "metadata_site", "metadata_series"),
    *("originalimagename", "original image name"),
)
_SHOWN = 5
_LENGTHS = {*LENGTHS, *PIXELS} - {"a", "m", "in"}
_ENDS = dict.fromkeys(("x", "y", "z", "radius"), _LENGTHS) | {"time": {*TIMES}}
"""Units that a name may end in, without brackets, by what it means; x_a is no length."""


@dataclass(frozen=True)
class Program:
    """What one program calls its columns.

    Attributes
    ----------
    columns : mapping of str to str
        By what they mean (a key of `WORDS`), regular expressions of names; of several alternatives
        the first that is there is taken.
    also : tuple of str
        Regular expressions of further columns by which the program is told.
    unit : str
        What places are in, "" where the table says it.
    first : int
        Number of the first frame.
    nothing : tuple of int
        Numbers of no track.
    unless : str
        Regular expression of a column that its tables do not have.
    """

    columns: Mapping[str, str]
    also: tuple[str, ...] = ()
    unit: str = "pixel"
    first: int = 0
    nothing: tuple[int, ...] = (-1,)
    unless: str = ""

    def fits(self, names: Iterable[str]) -> bool:
        """Tell whether a table is of this program."""
        listed = list(names)
        needed = [self.columns[what] for what in ("track", "frame", "y", "x")]
        if self.unless and _found(listed, self.unless):
            return False
        return all(_found(listed, pattern) for pattern in (*needed, *self.also))


_XYZ = {"x": "x", "y": "y", "z": "z"}
_CENTER = r"(?:\w+_)?(?:location|areashape)_center_"
PROGRAMS: dict[str, Program] = {
    "cellprofiler": Program(
        {
            "track": r"(?:\w+_)?trackobjects_label(?:_\d+)?",
            "frame": r"imagenumber",
            "number": r"objectnumber",
            **{axis: rf"{_CENTER}{axis}" for axis in "xyz"},
        },
        first=1,
        nothing=(-1, 0),
    ),
    "ilastik": Program(
        {
            "track": r"trackid",
            "frame": r"frame|timestep",
            "number": r"labelimageid",
            "parent": r"parenttrackid",
            **{
                axis: rf"object_center_{i}|center_of_the_object_{i}|regioncenter_{i}"
                for i, axis in enumerate("xyz")
            },
        },
        also=(r"lineageid",),
        nothing=(-1, 0, 1),
    ),
    "cell-acdc": Program(
        {
            "track": r"cell_id",
            "frame": r"frame_i",
            "time": r"time_seconds|time_minutes|time_hours",
            **{axis: rf"{axis}_centroid|centroid_{axis}" for axis in "xyz"},
        }
    ),
    "btrack-tracks": Program(
        {"track": "id", "frame": "t", "parent": "parent", **_XYZ}, also=("root", "parent")
    ),
    "trackpy": Program({"track": "particle", "frame": "frame", **_XYZ}),
    "mosaic": Program({"track": "trajectory", "frame": "frame", **_XYZ}),
    "manual-tracking": Program({"track": r"track n.?", "frame": r"slice n.?", **_XYZ}, first=1),
    "mastodon": Program(
        {
            "track": r"spot track id",
            "frame": r"spot frame",
            "radius": r"spot radius",
            "number": r"id",
            **{axis: rf"spot position {axis}" for axis in "xyz"},
        },
        unit="",
    ),
    "napari": Program(
        {
            "track": r"track[ _]?id|tracklet[ _]?id",
            "frame": "t",
            "parent": r"parent_track_id",
            "number": "id|node_id",
            **_XYZ,
        },
        unless=WORDS["frame"],  # beside which t is a time
    ),
}
"""Programs by their names, the most particular first; ultrack and motile write napari's columns."""


def told(names: Iterable[str]) -> str | None:
    """Return the program whose columns these are, "columns" if their words are known."""
    listed = list(names)
    for name, program in PROGRAMS.items():
        if program.fits(listed):
            return name
    meanings = {what for what, _ in map(meaning, listed)}
    return "columns" if {"track", "y", "x"} <= meanings and {"frame", "time"} & meanings else None


def meaning(name: str) -> tuple[str, str]:
    """Return the meaning of a column by its name, "" unknown, and its unit, "" without.

    Examples
    --------
    >>> meaning("x_um"), meaning("time [min]"), meaning("mean intensity")
    (('x', 'um'), ('time', 'min'), ('', ''))
    """
    for what, pattern in WORDS.items():
        if re.fullmatch(pattern, name):
            return what, ""
    match = _UNIT.fullmatch(name)
    if match is None:
        return "", ""
    base = (match["base"] or match["start"]).strip()
    unit = word_of(match["unit"] or match["end"] or "")
    what = next((what for what, words in WORDS.items() if re.fullmatch(words, base)), "")
    if what == "frame" and unit in TIMES and match["base"]:
        what = "time"
    if match["base"] is None and unit not in _ENDS.get(what, ()):
        return "", ""  # no unit after all: x_mean
    return what, unit


def _found(names: Iterable[str], pattern: str) -> str:
    """Return the first name that fits the first alternative that any fits, "" for none."""
    listed = list(names)
    for alternative in _alternatives(pattern):
        for name in listed:
            if re.fullmatch(alternative, name):
                return name
    return ""


def _alternatives(pattern: str) -> list[str]:
    """Cut a regular expression at the bars outside of its brackets."""
    pieces, depth = [""], 0
    for letter in pattern:
        depth += (letter == "(") - (letter == ")")
        if letter == "|" and not depth:
            pieces.append("")
        else:
            pieces[-1] += letter
    return pieces


def of_one_movie(cells: Table, movie: str | None) -> Table:
    """Return the rows of one movie, where a table holds several.

    Parameters
    ----------
    cells : Table
        Any table of spots.
    movie : str or None
        Which; where several columns differ, their cells with ``/`` between.
    """
    columns = [cells.text(name) for name in _MOVIES if cells.has(name)]
    differ = [column for column in columns if len(set(column)) > 1]
    names = [name for name in _MOVIES if cells.has(name) and len(set(cells.text(name))) > 1]
    keys = ["/".join(cell.strip() for cell in row) for row in zip(*differ, strict=True)]
    if movie is None and not names:
        return cells
    several = list(dict.fromkeys(keys or [cell.strip() for c in columns for cell in c]))
    shown = ", ".join(several[:_SHOWN]) + (", ..." if len(several) > _SHOWN else "")
    if movie is None:
        raise Unfit(
            f"rows of {len(several)} movies, by {' and '.join(names)} ({shown}); say movie= for one"
        )
    if movie not in several:
        raise Unfit(f"no movie {movie!r}; found {shown or 'no column that names movies'}")
    return cells.chosen([i for i, key in enumerate(keys) if key == movie]) if keys else cells


def read_program(cells: Table, name: str) -> Rows:
    """Read the table of a program in `PROGRAMS`."""
    program = PROGRAMS[name]
    columns = {what: _found(cells.columns, pattern) for what, pattern in program.columns.items()}
    skipped = labels_below(cells, columns["frame"], columns["x"]) if not program.unit else 0
    unit = program.unit or (word_of(cells.text(columns["x"])[skipped - 1]) if skipped else "")
    cells = cells.below(skipped)
    track = cells.wholes(columns["track"], empty=-1)
    track = np.where(np.isin(track, program.nothing), -1, track)
    timed = columns.get("time")
    try:
        frame = cells.wholes(columns["frame"])
    except Unfit as error:
        if columns["frame"] != "t":
            raise
        raise Unfit(f"{error}; if t is a time, say format=columns and time_unit=s") from None
    rows = Rows(
        track=track,
        zyx=_places(cells, columns),
        unit=unit,
        frame=frame,
        first=program.first,
        times=cells.floats(timed, finite=False) if timed else None,
        time_unit=meaning(timed)[1] if timed else "",
    )
    if columns.get("parent"):
        parent = cells.wholes(columns["parent"], empty=-1)
        rows.parents = parents_of(track, np.where(np.isin(parent, program.nothing), -1, parent))
    return _add_further(rows, cells, columns)


def read_columns(cells: Table) -> Rows:
    """Read a table by the words and units in its names."""
    columns = {what: name for what in WORDS if (name := _chosen(cells.columns, what))}
    units = {what: meaning(name)[1] for what, name in columns.items()}
    missing = [what for what in ("track", "y", "x") if what not in columns]
    if missing or not columns.keys() & {"frame", "time"}:
        lacking = repr(missing[0]) if missing else "'frame' or 't_s'"
        columns_there = ", ".join(filter(None, cells.columns))
        raise Unfit(f"no column {lacking}; found {columns_there}; expected {NEEDED}")
    axes = {units[axis] for axis in "zyx" if axis in columns}
    unit = next(iter(axes))
    if len(axes) > 1:  # no unit of all, and none that is known: refused by these words
        units_there = (
            f"{units[axis] or 'no unit'} ({columns[axis]})" for axis in "zyx" if axis in units
        )
        unit = ", ".join(units_there)
    frame, timed = columns.get("frame"), columns.get("time")
    rows = Rows(
        track=cells.wholes(columns["track"], empty=-1),
        zyx=_places(cells, columns),
        unit=unit,
        frame=cells.wholes(frame) if frame else None,
        times=cells.floats(timed, finite=not frame) if timed else None,
        time_unit=units.get("time", ""),
    )
    rows.guessed_first = rows.frame is not None and len(cells) > 0 and int(rows.frame.min()) == 1
    if "parent" in columns:
        rows.parents = parents_of(rows.track, cells.wholes(columns["parent"], empty=-1))
    if columns.get("radius") and units["radius"] not in ("", unit):
        name = columns.pop("radius")
        rows.notes += (
            [f"{name} is in another unit than places: not read"] if cells.text(name) else []
        )
    return _add_further(rows, cells, columns)


def _chosen(names: Iterable[str], what: str) -> str:
    """Return the column of one meaning: with a unit rather, a length, and by the plainest word."""
    words = _alternatives(WORDS[what])
    candidates = []
    for name in names:
        meant, unit = meaning(name)
        if meant == what:
            rank = [re.match(word, name) is not None for word in words].index(True)
            candidates.append((not unit, unit in PIXELS, rank, name))
    return min(candidates, default=(False, False, 0, ""))[3]


def _add_further(rows: Rows, cells: Table, columns: Mapping[str, str]) -> Rows:
    """Read the further columns of spots, and note those that are not read."""
    if columns.get("radius"):
        rows.radius = cells.floats(columns["radius"], finite=False)
    if columns.get("number"):
        rows.number = cells.wholes(columns["number"], empty=-1)
    if columns.get("annotator"):
        rows.annotator = np.asarray(cells.text(columns["annotator"]), str)
    rows.notes += cells.unread()
    return rows


def _places(cells: Table, columns: Mapping[str, str]) -> np.ndarray:
    """Stack places; an axis that is not there is 0."""
    names = [columns.get(axis) for axis in "zyx"]
    return stacked(cells, [name or "" for name in names])


def stacked(cells: Table, names: Sequence[str]) -> np.ndarray:
    """Stack places along z, y, x; an axis that is not there is 0.

    A spot without any place, of a table that has places else, has NaN; half a place is refused.
    """
    axes = [cells.floats(n, finite=False) if cells.has(n) else None for n in names]
    present = [axis for axis in axes if axis is not None]
    lost = np.isnan(present).all(axis=0) if present else np.zeros(len(cells), bool)
    if lost.all():
        lost[:] = False
    for name, axis in zip(names, axes, strict=True):
        if axis is not None and not np.isfinite(axis[~lost]).all():
            cells.floats(name, skip=lost)  # refused by its line
    return np.stack([np.zeros(len(cells)) if a is None else a for a in axes], axis=1)


def labels_below(cells: Table, *columns: str) -> int:
    """Count the rows below a header that repeat it for people: no number in these columns."""
    count = 0
    for row in zip(*(cells.text(name)[:3] for name in columns), strict=True):
        if any(re.search(r"\d|^(?:nan|none|null|na)$", c.strip(), re.IGNORECASE) for c in row):
            break
        count += 1
    return count


def parents_of(track: np.ndarray, parent: np.ndarray) -> dict[int, int]:
    """Return the parent of each track, -1 for none or itself; its rows must agree on it."""
    parent_of: dict[int, int] = {}
    for number, other in zip(track.tolist(), parent.tolist(), strict=True):
        if number >= 0 and parent_of.setdefault(number, other) != other:
            raise Unfit(
                f"track {number} has the parents {parent_of[number]} and {other}; expected one"
            )
    return {number: -1 if other in (number, -1) else other for number, other in parent_of.items()}


def joined(rows: list[list[str]], row_number: int) -> list[str]:
    """Return a header; where it names columns alike, with what the row below adds."""
    names = [plain(cell) for cell in rows[row_number]]
    below = [plain(cell) for cell in rows[row_number + 1]] if row_number + 1 < len(rows) else []
    return [
        f"{name} {more}" if name and names.count(name) > 1 else name
        for name, more in zip(names, [*below, *[""] * len(names)], strict=False)
    ]
