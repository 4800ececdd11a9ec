"""The cells of an Excel workbook, which is looked into before a library without bounds reads it.

It knows nothing of headers or columns.
"""

import importlib
import io
import zipfile
import zlib

import pandas as pd

from dpipe.formats.text_rows import Unfit

_DENSE, _MOST_DENSE = 100, 64 << 20
"""Times as many bytes as a workbook takes unpacked, and how many bytes it may take in any case."""
_MOST_NAMED = 8


def read_book(data: bytes, sheet: str) -> list[list[str]]:
    """Return the cells of a workbook, row by row.

    Parameters
    ----------
    data : bytes
        The file.
    sheet : str
        Which of its sheets is preferred to the first.

    Raises
    ------
    InputError
        Damaged, of several sheets with the same columns, far larger unpacked than it is, or the
        library that reads it is not there.
    """
    try:
        importlib.import_module("python_calamine")
    except ImportError as error:
        told = "Excel needs python-calamine; install dpipe[formats], or save the sheet as CSV"
        raise Unfit(told) from error
    if data.startswith(b"PK"):
        _look_into(data)
    try:
        with pd.ExcelFile(io.BytesIO(data), engine="calamine") as book:
            chosen: str | int = sheet if sheet in book.sheet_names else 0
            cells = _cells(book, chosen)
            alike = _alike(book) if chosen == 0 else []
    except Exception as error:  # these libraries raise anything on damaged files
        raise Unfit(f"not readable as Excel ({type(error).__name__}: {error})") from error
    if alike:
        told = f"sheets {', '.join(alike)} have the same columns; expected one: save each by itself"
        raise Unfit(told)
    return cells


def _cells(book: pd.ExcelFile, name: str | int, rows: int | None = None) -> list[list[str]]:
    frame = pd.read_excel(book, name, header=None, dtype=str, keep_default_na=False, nrows=rows)
    return [[str(cell) for cell in row] for row in frame.to_numpy().tolist()]


def _alike(book: pd.ExcelFile) -> list[str]:
    """Return the names of sheets that begin as the first one, with it; nothing if none does."""
    heads = [
        [" ".join(cell.casefold().split()) for row in _cells(book, name, 1) for cell in row]
        for name in book.sheet_names
    ]
    sheets = [repr(n) for n, head in zip(book.sheet_names, heads, strict=True) if head == heads[0]]
    return sheets[:_MOST_NAMED] if len(sheets) > 1 and len(heads[0]) > 1 else []


def _look_into(data: bytes) -> None:
    """Refuse one that takes far more unpacked, or more than it says."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as book:
            size = sum(member.file_size for member in book.infolist())
            if size > max(_MOST_DENSE, _DENSE * len(data)):
                told = f"{size} bytes out of {len(data)}; save the sheet as CSV"
                raise Unfit(f"not readable as Excel: {told}")
            spoiled = book.testzip()
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError) as error:
        if isinstance(error, Unfit):
            raise
        raise Unfit(f"not readable as Excel ({type(error).__name__}: {error})") from error
    if spoiled is not None:
        raise Unfit(f"not readable as Excel: damaged at {spoiled!r}; export it again")
