"""Tables of text: CSV, tab-separated text and Excel, as cells under a header.

This module knows delimiters and numbers, names the line in every complaint, and remembers which
columns nobody asked for. It knows nothing of what the columns mean. How bytes become text and
text becomes rows stands in ``text_rows.py``.
"""

import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from dpipe.errors import StoreError
from dpipe.formats.text_rows import Unfit, as_text, grid
from dpipe.formats.workbooks import read_book
from dpipe.sources import opened

__all__ = [
    "EXCEL",
    "Table",
    "Unfit",
    "as_text",
    "grid",
    "is_nothing",
    "plain",
    "read_bytes",
    "read_rows",
    "table",
    "whole",
]

EXCEL = (".xls", ".xlsx")
_LARGEST = 1 << 30
_NOTHING = {"", "-", "\u2013", "\u2014", "none", "null", "nil", "nan", "<na>", "na", "n/a", "#n/a"}
_UNNAMED = re.compile(r"(?:unnamed: \d+)?")
_MOST_NAMED = 8


def is_nothing(cell: str) -> bool:
    """Tell whether a cell is empty, or what programs write into an empty one.

    Examples
    --------
    >>> [is_nothing(cell) for cell in ("", " NaN ", "None", "0")]
    [True, True, True, False]
    """
    return cell.strip().lower() in _NOTHING


def whole(text: str) -> int | None:
    """Return a whole number that is written as text, ``1.0`` and ``1e3`` too.

    Parameters
    ----------
    text : str
        Without spaces around it.

    Returns
    -------
    int or None
        Exact; None for all else, and for what lies beyond 18 digits or, written as a fraction,
        beyond 2 to the power of 53.

    Examples
    --------
    >>> whole("9007199254740993"), whole("3.0"), whole("3.5"), whole("1e300"), whole("1" * 400)
    (9007199254740993, 3, None, None, None)
    """
    if re.fullmatch(r"[+-]?\d{1,18}", text, re.ASCII):
        return int(text)
    if "_" in text:  # Python's own way to write a number
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    return int(value) if value.is_integer() and abs(value) <= 2**53 else None


@dataclass(frozen=True)
class Table:
    """Columns of cells under their names, which are stripped and in lower case.

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
    _used: set[str] = field(default_factory=set, repr=False, compare=False)

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), []))

    def has(self, *names: str) -> bool:
        """Tell whether all these columns are there."""
        return all(name in self.columns for name in names)

    def text(self, name: str) -> list[str]:
        """Return the cells of a column, or say that it is not there."""
        if name not in self.columns:
            raise Unfit(f"no column {name!r}; found {', '.join(filter(None, self.columns))}")
        self._used.add(name)
        return self.columns[name]

    def below(self, count: int) -> "Table":
        """Return the rows after the first so many; what is read of them counts here too."""
        columns = {name: cells[count:] for name, cells in self.columns.items()}
        return Table(columns, self.line + count, self.comma, self._used)

    def chosen(self, rows: Sequence[int]) -> "Table":
        """Return some rows; lines in complaints are those of a table of only these."""
        columns = {name: [cells[i] for i in rows] for name, cells in self.columns.items()}
        return Table(columns, self.line, self.comma, self._used)

    def unread(self, *names: str) -> list[str]:
        """Return a line on the columns that nobody asked for, none if all are read.

        Parameters
        ----------
        *names : str
            Columns that need no reading, since they say nothing more.
        """
        unread = [
            name
            for name in self.columns
            if name not in self._used and name not in names and not _UNNAMED.fullmatch(name)
        ]
        more = f" and {len(unread) - _MOST_NAMED} more" if len(unread) > _MOST_NAMED else ""
        return [f"columns not read: {', '.join(unread[:_MOST_NAMED])}{more}"] if unread else []

    def floats(
        self,
        name: str,
        *,
        empty: float = math.nan,
        finite: bool = True,
        skip: np.ndarray | None = None,
    ) -> np.ndarray:
        """Read a column of numbers.

        Parameters
        ----------
        name : str
            Its name.
        empty : float
            What an empty cell means.
        finite : bool
            Refuse NaN and infinities, those of empty cells too.
        skip : numpy.ndarray, optional
            Rows that may be so all the same.

        Returns
        -------
        numpy.ndarray
            float64.

        Raises
        ------
        InputError
            No such column, or a cell that is no number; the text names its line.
        """
        cells = self.text(name)
        numbers = [self._float(c, name, i, empty) for i, c in enumerate(cells)]
        values = np.asarray(numbers, dtype=np.float64)
        bad = np.flatnonzero(~np.isfinite(values) & (True if skip is None else ~skip))
        if finite and bad.size:
            i = int(bad[0])
            raise Unfit(f"line {self.line + i}: {name} is {_shown(cells[i])}; expected a number")
        return values

    def wholes(self, name: str, *, empty: int | None = None) -> np.ndarray:
        """Read a column of whole numbers, large ones exactly, ``1.0`` too.

        A part of a track, ``210_1``, is 2101, unless another has that number.

        Parameters
        ----------
        name : str
            Its name.
        empty : int, optional
            What an empty cell means, also one that a program filled with ``nan`` or ``None``; by
            default it is refused.

        Returns
        -------
        numpy.ndarray
            int64.

        Raises
        ------
        InputError
            No such column, or a cell that is no whole number, or one of more than 18 digits.
        """
        values: list[int] = []
        parts: dict[int, str] = {}
        cells = [cell.strip() for cell in self.text(name)]
        for i, cell in enumerate(cells):
            value = whole(cell.replace(",", ".") if self.comma else cell)
            if value is None and empty is not None and is_nothing(cell):
                value = empty
            elif value is None and re.fullmatch(r"\d{1,9}_\d{1,9}", cell, re.ASCII):
                value = int(cell.replace("_", ""))
                parts[value] = cell
            elif value is None:
                self._float(cell, name, i, math.nan)  # what is no number at all is told so
                raise Unfit(
                    f"line {self.line + i}: {name} is {_shown(cell)}; expected a whole number"
                    + (" of at most 18 digits" if re.fullmatch(r"[+-]?\d{19,}", cell) else "")
                )
            values.append(value)
        for i, (cell, value) in enumerate(zip(cells, values, strict=True)):
            if parts and cell != parts.get(value, cell):
                told = f"{name} is {cell!r}, and {parts[value]!r} elsewhere"
                raise Unfit(f"line {self.line + i}: {told}; expected whole numbers")
        return np.asarray(values, dtype=np.int64)

    def _float(self, cell: str, name: str, i: int, empty: float) -> float:
        text = cell.strip()
        if is_nothing(text):
            return empty
        try:
            if "_" in text:  # Python's own way to write a number
                raise ValueError
            return float(text.replace(",", ".") if self.comma else text)
        except ValueError:
            told = f"line {self.line + i}: {name} is {_shown(cell)}; expected a number"
            raise Unfit(told) from None


def _shown(cell: str) -> str:
    return repr(cell if len(cell) < 60 else f"{cell[:40]}... ({len(cell)} characters)")


def plain(name: str) -> str:
    r"""Return the name of a column in lower case, without a mark or spaces around it.

    Examples
    --------
    >>> plain("\ufeffPosition  X ")
    'position x'
    """
    return re.sub(r"\s+", " ", name.strip().strip("\ufeff").removeprefix("#").strip().lower())


def table(header: Sequence[str], rows: Iterable[Sequence[str]], line: int, comma: bool) -> Table:
    """Put rows under a header.

    Parameters
    ----------
    header : sequence of str
        Names of the columns; nameless ones at its end are dropped.
    rows : iterable of sequence of str
        What follows; empty lines at its end do not count. Where each begins with its number and
        has a cell more than the header, these are the names of rows that R writes, and left out.
    line : int
        Line of the first row.
    comma : bool
        Whether numbers have a decimal comma.

    Returns
    -------
    Table
        The columns.

    Raises
    ------
    InputError
        A row of another length than the header, an empty line inside, a column twice.
    """
    names = [plain(name) for name in header]
    while names and not names[-1]:
        names.pop()
    if repeated := sorted({n for n in names if n and names.count(n) > 1}):
        raise Unfit(f"two columns are called {repeated[0]!r}")
    rows = _without_names(list(rows), len(names))
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


def _without_names(rows: list[Sequence[str]], width: int) -> list[Sequence[str]]:
    full = [row for row in rows if any(cell.strip() for cell in row)]
    numbered = all(
        len(row) == width + 1 and row[0].strip() == str(i) and row[-1].strip()
        for i, row in enumerate(full, 1)
    )
    return [row[1:] for row in rows] if full and numbered else rows


def read_bytes(uri: str) -> bytes:
    """Read a whole file, at most 1 GiB.

    Parameters
    ----------
    uri : str
        What `sources.opened` takes.

    Returns
    -------
    bytes
        Its content.

    Raises
    ------
    InputError
        It is gone, empty, too large or no file.
    StoreError
        The network failed.
    """
    with opened(uri) as file:
        if isinstance(file, str) and not os.path.isfile(file):
            raise Unfit("cannot be read: no plain file")
        try:
            if isinstance(file, str):
                with open(file, "rb") as local:
                    # no more than is there: asking for 1 GiB takes the address space of as much
                    data = local.read(min(os.fstat(local.fileno()).st_size, _LARGEST) + 1)
            else:
                data = file.read(_LARGEST + 1)
        except StoreError:
            raise
        except OSError as error:
            raise Unfit(f"cannot be read ({error.strerror or error})") from error
    if len(data) > _LARGEST:
        raise Unfit("larger than 1 GiB, which is not read whole")
    if not data.strip():
        raise Unfit("empty file")
    return data


def read_rows(uri: str, data: bytes, *, sheet: str = "") -> tuple[list[list[str]], bool]:
    """Cut the content of a file into rows of cells.

    Parameters
    ----------
    uri : str
        Its name tells whether it is Excel.
    data : bytes
        Its content.
    sheet : str
        Which sheet of Excel is preferred to the first.

    Returns
    -------
    (list of list of str, bool)
        The rows, and whether numbers have a decimal comma.

    Raises
    ------
    InputError
        Not text, not Excel, no library that reads it, or several sheets of the same columns.
    """
    if not uri.lower().endswith(EXCEL):
        return grid(as_text(data))
    return read_book(data, sheet), False
