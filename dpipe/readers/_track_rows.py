"""Rows of spots as a file gives them, before places and times are made ours.

Knows how a table of text is cut into columns and how numbers are read from it, with the line in
every complaint. Knows no format of any program.
"""

import csv
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dpipe.errors import InputError

MICROMETRES = ("um", "\u00b5m", "\u03bcm", "micron", "microns", "micrometer", "micrometre")
PIXELS = ("pixel", "pixels", "px")
SECONDS = ("s", "sec", "second", "seconds")


class Unfit(InputError):
    """What is wrong with a file, without the file's name."""


@dataclass
class Rows:
    """Spots as they stand in a file.

    Attributes
    ----------
    track : numpy.ndarray
        int64, -1 for a spot without track.
    zyx : numpy.ndarray
        float64, shape (n, 3), in `unit`.
    unit : str
        ``"um"`` or ``"pixel"``.
    frame : numpy.ndarray or None
        int64, counted from `first`.
    first : int
        Number of the first frame of the movie in this file.
    guessed_first : bool
        Whether the format leaves that open.
    seconds : numpy.ndarray or None
        float64, where the file gives times.
    interval : float or None
        Seconds between frames, where the file gives it.
    radius : numpy.ndarray or None
        float64, in `unit`.
    number : numpy.ndarray or None
        int64, the file's own number of each spot.
    annotator : numpy.ndarray or None
        Text, who marked each spot.
    branches : bool
        Whether several spots of a track in one frame are suspicious.
    attrs : dict
        What else the file says.
    """

    track: np.ndarray
    zyx: np.ndarray
    unit: str = "um"
    frame: np.ndarray | None = None
    first: int = 0
    guessed_first: bool = False
    seconds: np.ndarray | None = None
    interval: float | None = None
    radius: np.ndarray | None = None
    number: np.ndarray | None = None
    annotator: np.ndarray | None = None
    branches: bool = True
    attrs: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """Columns of text under their names, which are in lower case and stripped.

    Attributes
    ----------
    columns : mapping of str to list of str
        The cells of each column.
    line : int
        Line of the first row in the file, for complaints.
    comma : bool
        Whether numbers have a decimal comma.
    """

    columns: Mapping[str, list[str]]
    line: int
    comma: bool = False

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), []))

    def has(self, *names: str) -> bool:
        return all(name in self.columns for name in names)

    def text(self, name: str) -> list[str]:
        if name not in self.columns:
            raise Unfit(f"no column {name!r}; found {', '.join(filter(None, self.columns))}")
        return self.columns[name]

    def floats(self, name: str, *, empty: float = math.nan, finite: bool = True) -> np.ndarray:
        cells = self.text(name)
        found = [self._float(c, name, i, empty) for i, c in enumerate(cells)]
        values = np.asarray(found, dtype=np.float64)
        bad = np.flatnonzero(~np.isfinite(values))
        if finite and bad.size:
            i = int(bad[0])
            raise Unfit(f"line {self.line + i}: {name} is {cells[i]!r}; expected a number")
        return values

    def wholes(self, name: str, *, empty: int | None = None) -> np.ndarray:
        """Read whole numbers; large ones exactly, ``1.0`` too."""
        values = []
        for i, cell in enumerate(self.text(name)):
            if not cell.strip() and empty is not None:
                values.append(empty)
            elif re.fullmatch(r"\s*[+-]?\d{1,18}\s*", cell):
                values.append(int(cell))
            else:
                value = self._float(cell, name, i, math.nan)
                if not value.is_integer() or abs(value) > 2**53:
                    raise Unfit(
                        f"line {self.line + i}: {name} is {cell!r}; expected a whole number"
                    )
                values.append(int(value))
        return np.asarray(values, dtype=np.int64)

    def _float(self, cell: str, name: str, i: int, empty: float) -> float:
        text = cell.strip()
        if not text:
            return empty
        try:
            return float(text.replace(",", ".") if self.comma else text)
        except ValueError:
            raise Unfit(f"line {self.line + i}: {name} is {cell!r}; expected a number") from None


def grid(text: str) -> tuple[list[list[str]], bool]:
    """Cut text into rows of cells; tell whether its numbers have a decimal comma."""
    head = text[:4096]
    delimiter = max(",;\t", key=head.count)
    try:
        rows = list(csv.reader(text.splitlines(), delimiter=delimiter))
    except csv.Error as error:
        raise Unfit(f"not a table of text ({error})") from error
    return rows, delimiter == ";"


def table(header: Sequence[str], rows: Iterable[Sequence[str]], line: int, comma: bool) -> Table:
    """Put rows under a header; a row of another length is refused, empty lines end the table."""
    names = [re.sub(r"\s+", " ", name.strip().strip("\ufeff").lower()) for name in header]
    while names and not names[-1]:
        names.pop()
    if repeated := sorted({n for n in names if n and names.count(n) > 1}):
        raise Unfit(f"two columns are called {repeated[0]!r}")
    cells: list[list[str]] = [[] for _ in names]
    ended = 0
    for i, row in enumerate(rows):
        if not any(cell.strip() for cell in row):
            ended = ended or line + i
            continue
        if ended:
            raise Unfit(f"line {ended}: an empty line inside the table")
        if len(row) < len(names) or any(cell.strip() for cell in row[len(names) :]):
            raise Unfit(f"line {line + i}: {len(row)} cells; expected {len(names)}, as the header")
        for column, cell in zip(cells, row, strict=False):
            column.append(cell)
    return Table(dict(zip(names, cells, strict=True)), line, comma)


def unit_of(text: str) -> str:
    """Return ``"um"`` or ``"pixel"``; another unit is refused."""
    if text.strip().lower() in MICROMETRES:
        return "um"
    if text.strip().lower() in PIXELS:
        return "pixel"
    raise Unfit(f"positions are in {text!r}; expected um")
