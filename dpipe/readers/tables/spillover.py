"""Spillover matrices: what share of a source's light each detector sees, as tables of numbers.

This module knows such tables, as CSV or Excel, with the names of channels along both sides. It
knows nothing of the pictures that they correct.
"""

import os
from collections.abc import Sequence
from typing import Literal

import numpy as np
import xarray as xr

from dpipe import schema
from dpipe.errors import InputError, UsageError
from dpipe.formats.spreadsheets import EXCEL, Unfit, read_bytes, read_rows
from dpipe.sources import one_each, one_uri

SUFFIXES = (".csv", ".tsv", *EXCEL)
_MOST = 256


find = one_each(SUFFIXES)


def open_spillover(
    url: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    rows: Literal["detectors", "sources"] = "detectors",
) -> xr.Dataset:
    r"""Open a spillover matrix.

    Parameters
    ----------
    url : str, path, or sequence of one
        A table (csv, tsv, xls or xlsx) of shares: the names of channels in its first line and in
        its first column, the same ones; 1 where a channel meets itself, or 100 in percent.
    rows : {"detectors", "sources"}
        What the lines are. In IDEAS, and in scifAI's matrices, a column holds what the light of
        one channel's dye gives in every detector, so the lines are detectors; in FCS files
        (``$SPILLOVER``) they are sources.

    Returns
    -------
    xarray.Dataset
        ``spillover(detector, source)``, float64, with the names of the channels along both in the
        order of the table's lines. ``attrs["notes"]`` says where the table is in percent.

    Raises
    ------
    InputError
        No square table of finite numbers, names that differ or stand twice, or a channel that does
        not meet itself with 1.
    UsageError
        Not one file, or an unknown meaning of the lines.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "m.csv")
    ...     _ = path.write_text(",Ch01,Ch02\nCh01,1,0.1\nCh02,0.3,1\n")
    ...     ds = open_spillover(path)
    >>> ds.spillover.sel(detector="Ch02", source="Ch01").item()
    0.3
    """
    uri = one_uri(url, "a spillover matrix")
    if rows not in ("detectors", "sources"):
        raise UsageError(f"rows: found {rows!r}; expected 'detectors' or 'sources'")
    try:
        cells, comma = read_rows(uri, read_bytes(uri))
        names, matrix, notes = _matrix(cells, comma)
    except Unfit as error:
        raise InputError(f"{uri.rpartition('/')[2]}: {error}") from error
    dims = ("detector", "source") if rows == "detectors" else ("source", "detector")
    array = xr.DataArray(matrix, dims=dims)
    along = np.asarray(names, dtype=str)
    coords = {"detector": along, "source": along}
    attrs = {"notes": notes} if notes else {}
    return xr.Dataset(schema.SPILLOVER.wrap(array), coords=coords, attrs=attrs)


def _matrix(cells: Sequence[Sequence[str]], comma: bool) -> tuple[list[str], np.ndarray, list[str]]:
    """Return names, shares with columns in the order of the lines, and what is to be said."""
    lines = [[cell.strip().strip("\ufeff") for cell in line] for line in cells]
    lines = [line for line in lines if any(line)]
    if len(lines) < 2:
        raise Unfit("no spillover matrix; expected names of channels above and beside numbers")
    head = lines[0][1:]
    while head and not head[-1]:
        head.pop()
    names = [line[0] for line in lines[1:]]
    if len(names) > _MOST:
        raise Unfit(f"{len(names)} lines; expected a spillover matrix of at most {_MOST} channels")
    for what, labels in (("line", names), ("column", head)):
        if "" in labels or len(set(labels)) != len(labels):
            raise Unfit(f"{what}s {', '.join(labels)}; expected names of channels, each once")
    if set(head) != set(names):
        odd = sorted(set(head) ^ set(names))
        raise Unfit(f"{', '.join(odd)}: not both above and beside; expected a square matrix")
    matrix = np.empty((len(names), len(head)))
    for i, line in enumerate(lines[1:]):
        if any(line[len(head) + 1 :]):
            raise Unfit(f"line {names[i]}: more cells than the {len(head)} columns with a name")
        for k, name in enumerate(head):
            matrix[i, k] = _share(line[k + 1] if k + 1 < len(line) else "", names[i], name, comma)
    matrix = matrix[:, [head.index(name) for name in names]]
    percent = bool((abs(np.diag(matrix) - 100) <= 1e-4).all())
    matrix = matrix / 100 if percent else matrix
    for name, value in zip(names, np.diag(matrix), strict=True):
        if abs(value - 1) > 1e-6:
            raise Unfit(
                f"{name} meets itself with {value:g}; expected 1, or 100 for all in percent"
            )
    return names, matrix, ["the table is in percent: its numbers are divided by 100"] * percent


def _share(cell: str, line: str, column: str, comma: bool) -> float:
    try:
        value = float((cell.replace(",", ".") if comma else cell).removesuffix("%"))
    except ValueError:
        value = np.nan
    if "_" in cell:  # Python's own way to write a number
        value = np.nan
    if not np.isfinite(value):
        raise Unfit(f"line {line}, column {column}: {cell[:40]!r}; expected a number")
    return value
