"""Text as rows of cells: encodings, delimiters and decimal marks.

It guesses nothing about values: where a comma may be a decimal mark or part thousands, it is
neither, and whoever reads the number refuses it.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable

from dpipe.errors import InputError

_MARKS = {b"\xff\xfe\0\0": "utf-32", b"\0\0\xfe\xff": "utf-32", b"\xff\xfe": "utf-16"}
_MARKS[b"\xfe\xff"] = "utf-16"
_HEAD = 4096
_LINES = 50
_HASH = r"\A\s*#[ \t]+"
"""Before a header, as NumPy writes one."""
_COMMA = re.compile(r"[+-]?\d*,\d+(?:[eE][+-]?\d+)?")
_POINT = re.compile(r"[+-]?\d*\.\d+(?:[eE][+-]?\d+)?")
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(?:,\d{3})+")


class Unfit(InputError):
    """What is wrong with a file, still without the file's name."""


def as_text(data: bytes) -> str:
    """Decode UTF-8, UTF-16 or UTF-32, else Latin-1; what else holds NUL is no text."""
    for mark, encoding in _MARKS.items():
        if data.startswith(mark):
            return data.decode(encoding, "replace")
    if b"\0" in data[:_HEAD]:
        return _unmarked(data)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _unmarked(data: bytes) -> str:
    """Decode UTF-16 without its mark: of most characters one byte of two is NUL."""
    head = data[: _HEAD // 2 * 2]
    for encoding, high in (("utf-16-le", 1), ("utf-16-be", 0)):
        if 0 not in head[1 - high :: 2] and head[high::2].count(0) > 0.8 * len(head[high::2]):
            try:
                return data.decode(encoding)
            except UnicodeDecodeError:
                break
    raise Unfit("not text; expected a table, XML or JSON")


def grid(text: str) -> tuple[list[list[str]], bool]:
    r"""Cut text into rows of cells; tell whether its numbers have a decimal comma.

    Parameters
    ----------
    text : str
        Cells are parted by commas, semicolons or tabs, whichever cut its lines most evenly, or by
        spaces if none of these is there and the first line holds names.

    Returns
    -------
    (list of list of str, bool)
        The rows, one a line, and whether a comma in a number is its decimal mark: where no
        number has a point, and semicolons part the cells or some commas can be nothing else.

    Raises
    ------
    InputError
        A cell of more than 128 KiB: no table.

    Examples
    --------
    >>> grid("a;b\n1,5;2\n")
    ([['a', 'b'], ['1,5', '2']], True)
    >>> grid('a,b\n"1,500","2,000"\n')[1]
    False
    """
    text = text.replace("\r\r\n", "\n")  # what Windows makes of a carriage return of Python's
    delimiter = _delimiter(text)
    if not delimiter:
        rows = [line.split() for line in re.sub(_HASH, "", text).splitlines()]
        return rows, _has_commas(rows, sure=False)
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    except csv.Error as error:
        raise Unfit(f"not a table of text ({error})") from error
    if delimiter == "," and '"' not in text:
        return rows, False
    return rows, _has_commas(rows, sure=delimiter == ";")


def _delimiter(text: str) -> str:
    """Return the sign between cells, "" for spaces."""
    head = re.sub(r'"[^"]*"', '""', re.sub(_HASH, "", text[: 16 * _HEAD]))
    lines = [line for line in head.splitlines()[:_LINES] if line.strip()]
    scores = {}
    for delimiter in ";\t,":
        counts = Counter(line.count(delimiter) for line in lines if delimiter in line)
        scores[delimiter] = counts.most_common(1)[0][::-1] if counts else (0, 0)
    best = max(scores, key=lambda sign: scores[sign])
    if scores[best] > (0, 0):
        return best
    words = [line.split() for line in lines]
    named = bool(words) and len(words[0]) > 2 and all(re.match("[A-Za-z#]", w) for w in words[0])
    return "" if named and all(len(row) == len(words[0]) for row in words[:-1]) else ","


def _has_commas(rows: Iterable[Iterable[str]], *, sure: bool) -> bool:
    """Tell whether numbers have a decimal comma; no if some have a point, or none needs it."""
    commas, points = [], False
    for row in rows:
        for cell in row:
            if "," in cell and _COMMA.fullmatch(cell.strip()):
                commas.append(cell.strip())
            elif "," in cell and re.fullmatch(r"[+-]?[\d,]+\.\d+", cell.strip()):
                return False  # thousands are parted
            elif "." in cell and not points:
                points = _POINT.fullmatch(cell.strip()) is not None
    if points:
        return False
    return sure or any(not _THOUSANDS.fullmatch(cell) for cell in commas)
