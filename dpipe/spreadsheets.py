"""Tables of text: CSV, tab-separated text and Excel, as cells under a header.

This module knows encodings, delimiters and numbers, and names the line in every complaint. It
knows nothing of what the columns mean.
"""

import csv
import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from dpipe.errors import InputError, StoreError
from dpipe.sources import opened

EXCEL = (".xls", ".xlsx")
_MARKS = (b"\xff\xfe", b"\xfe\xff")
_LARGEST = 1 << 30


class Unfit(InputError):
    """What is wrong with a file, still without the file's name."""


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

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), []))

    def has(self, *names: str) -> bool:
        """Tell whether all these columns are there."""
        return all(name in self.columns for name in names)

    def text(self, name: str) -> list[str]:
        """Return the cells of a column, or say that it is not there."""
        if name not in self.columns:
            raise Unfit(f"no column {name!r}; found {', '.join(filter(None, self.columns))}")
        return self.columns[name]

    def floats(self, name: str, *, empty: float = math.nan, finite: bool = True) -> np.ndarray:
        """Read a column of numbers.

        Parameters
        ----------
        name : str
            Its name.
        empty : float
            What an empty cell means.
        finite : bool
            Refuse NaN and infinities, those of empty cells too.

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
        found = [self._float(c, name, i, empty) for i, c in enumerate(cells)]
        values = np.asarray(found, dtype=np.float64)
        bad = np.flatnonzero(~np.isfinite(values))
        if finite and bad.size:
            i = int(bad[0])
            raise Unfit(f"line {self.line + i}: {name} is {cells[i]!r}; expected a number")
        return values

    def wholes(self, name: str, *, empty: int | None = None) -> np.ndarray:
        """Read a column of whole numbers, large ones exactly, ``1.0`` too.

        A part of a track, ``210_1``, is 2101, unless another has that number.

        Parameters
        ----------
        name : str
            Its name.
        empty : int, optional
            What an empty cell means; by default it is refused.

        Returns
        -------
        numpy.ndarray
            int64.

        Raises
        ------
        InputError
            No such column, or a cell that is no whole number.
        """
        values: list[int] = []
        parts: dict[int, str] = {}
        cells = [cell.strip() for cell in self.text(name)]
        for i, cell in enumerate(cells):
            if not cell and empty is not None:
                values.append(empty)
            elif re.fullmatch(r"[+-]?\d{1,18}", cell, re.ASCII):
                values.append(int(cell))
            elif re.fullmatch(r"\d{1,9}_\d{1,9}", cell, re.ASCII):
                values.append(int(cell.replace("_", "")))
                parts[values[-1]] = cell
            else:
                value = self._float(cell, name, i, math.nan)
                if not value.is_integer() or abs(value) > 2**53:
                    raise Unfit(
                        f"line {self.line + i}: {name} is {cell!r}; expected a whole number"
                    )
                values.append(int(value))
        for i, (cell, value) in enumerate(zip(cells, values, strict=True)):
            if parts and cell != parts.get(value, cell):
                told = f"{name} is {cell!r}, and {parts[value]!r} elsewhere"
                raise Unfit(f"line {self.line + i}: {told}; expected whole numbers")
        return np.asarray(values, dtype=np.int64)

    def _float(self, cell: str, name: str, i: int, empty: float) -> float:
        text = cell.strip()
        if not text:
            return empty
        try:
            if "_" in text:  # Python's own way to write a number
                raise ValueError
            return float(text.replace(",", ".") if self.comma else text)
        except ValueError:
            raise Unfit(f"line {self.line + i}: {name} is {cell!r}; expected a number") from None


def grid(text: str) -> tuple[list[list[str]], bool]:
    r"""Cut text into rows of cells; tell whether its numbers have a decimal comma.

    Parameters
    ----------
    text : str
        Cells are parted by commas, semicolons or tabs, whichever are most at its beginning.

    Returns
    -------
    (list of list of str, bool)
        The rows, one a line, and whether semicolons part them.

    Raises
    ------
    InputError
        A cell of more than 128 KiB: no table.

    Examples
    --------
    >>> grid("a;b\n1,5;2\n")
    ([['a', 'b'], ['1,5', '2']], True)
    """
    head = text[:4096]
    delimiter = max(",;\t", key=head.count)
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    except csv.Error as error:
        raise Unfit(f"not a table of text ({error})") from error
    return rows, delimiter == ";"


def plain(name: str) -> str:
    r"""Return the name of a column in lower case, without a mark or spaces around it.

    Examples
    --------
    >>> plain("\ufeffPosition  X ")
    'position x'
    """
    return re.sub(r"\s+", " ", name.strip().strip("\ufeff").lower())


def table(header: Sequence[str], rows: Iterable[Sequence[str]], line: int, comma: bool) -> Table:
    """Put rows under a header.

    Parameters
    ----------
    header : sequence of str
        Names of the columns; nameless ones at its end are dropped.
    rows : iterable of sequence of str
        What follows; empty lines at its end do not count.
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
    if repeated := sorted({n for n in names if names.count(n) > 1}):
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
        try:
            if isinstance(file, str):
                with open(file, "rb") as local:
                    data = local.read(_LARGEST + 1)
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


def as_text(data: bytes) -> str:
    """Decode UTF-8 or UTF-16 with a mark, else Latin-1; what holds NUL is no text."""
    marked = data[:2] in _MARKS
    if b"\0" in data[:4096] and not marked:
        raise Unfit("not text; expected a table, XML or JSON")
    try:
        return data.decode("utf-16" if marked else "utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


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
        Not text, not Excel, or Excel without the library that reads it.
    """
    if not uri.lower().endswith(EXCEL):
        return grid(as_text(data))
    try:
        with pd.ExcelFile(io.BytesIO(data), engine="calamine") as book:
            chosen: str | int = sheet if sheet in book.sheet_names else 0
            cells = pd.read_excel(
                book, sheet_name=chosen, header=None, dtype=str, keep_default_na=False
            )
    except ImportError as error:
        told = "Excel needs python-calamine; install dpipe[formats], or save the sheet as CSV"
        raise Unfit(told) from error
    except Exception as error:  # these libraries raise anything on damaged files
        raise Unfit(f"not readable as Excel ({type(error).__name__}: {error})") from error
    return [[str(cell) for cell in row] for row in cells.to_numpy().tolist()], False
