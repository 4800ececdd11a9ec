"""Rows as a table of text, and numbers as people read them."""

import math
from collections.abc import Mapping, Sequence
from typing import Any


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> list[str]:
    """Return rows as an aligned text table.

    Parameters
    ----------
    rows : sequence of mapping
        One a line.
    columns : sequence of str
        Which keys, in which order; by default those of all rows, in the order found.

    Returns
    -------
    list of str
        A header and one line a row; nothing for no rows. Numbers stand right; keys that begin
        with ``bytes``, and ``task_memory``, are shown in units of 1024.

    Examples
    --------
    >>> for line in table([{"dataset": "leuko", "parts": 2, "bytes": 3 << 20}]):
    ...     print(line)
    dataset  parts    bytes
    leuko        2  3.0 MiB
    """
    if not rows:
        return []
    keys = list(columns) or list(dict.fromkeys(key for row in rows for key in row))
    right = [all(isinstance(row.get(key), int | float | None) for row in rows) for key in keys]
    cells = [[key.replace("_", " ") for key in keys]]
    cells += [[_cell(key, row.get(key)) for key in keys] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(
            text.rjust(width) if number else text.ljust(width)
            for text, width, number in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in cells
    ]


def _cell(key: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, int) and (key.startswith("bytes") or key == "task_memory"):
        return bytes_text(value)
    if isinstance(value, Mapping):
        value = [f"{name} {number}" for name, number in value.items()]
    if isinstance(value, list | tuple):
        return plain(", ".join(map(str, value)))
    return plain(str(value))


def plain(text: str) -> str:
    """Return text without what would steer a terminal: newlines, escapes, lone surrogates."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(text))


def bytes_text(number: float) -> str:
    """Return a size for people."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if number < 1024 or unit == "TiB":
            break
        number /= 1024
    return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"


def duration(seconds: float) -> str:
    """Return a time for people."""
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"
    minutes, remainder = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {remainder} s"
    return f"{minutes // 60} h {minutes % 60} min"


def digits(number: float) -> str:
    """Return a number with three digits, a dash where there is none."""
    if math.isnan(number):
        return "–"
    if math.isinf(number) or number == 0:
        return {math.inf: "∞", -math.inf: "−∞"}.get(number, "0")
    if number == round(number) or abs(number) >= 100:
        return f"{number:,.0f}"
    return f"{number:.3g}" if abs(number) >= 1e-3 else f"{number:.1e}"
