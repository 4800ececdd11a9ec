"""Tables: CSV with a description beside it, and Parquet.

A tidy table has one row for each index along the dims of its variables, in every part: the
numbers of frames over ``(t, c)`` give a row for each frame and channel. Variables over other dims
go into a table of their own; one over ``name`` becomes a column for each name, and one over
``gate_name`` a column for each gate. The first column, ``part``, is the stem.

Both writers go through parts and rows piece by piece; they never hold a whole table. What they
write gets its name when all of it is whole.
"""

import json
import os
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import xarray as xr

from dpipe.compute import compute
from dpipe.errors import SchemaError
from dpipe.writers.atomic import aside
from dpipe.writers.sound import sound_parts

PIXEL_DIMS = ("y", "x", "value")
ROWS = 1 << 18
"""About so many rows of a narrow table are computed and written at a time."""
_NARROW = 16
_ENDS = (".csv", ".columns.json")
_WIDE = ("name", "gate_name")
"""Dims whose labels become columns."""


@dataclass(frozen=True)
class _Table:
    """The variables over the same dims, of all parts, and their columns."""

    name: str
    dims: tuple[str, ...]
    columns: pa.Schema


def write_csv(
    parts: Mapping[str, xr.Dataset],
    to: str | os.PathLike[str],
    *,
    name: str = "table",
    variables: str | Sequence[str] | None = None,
    put_aside: bool = False,
) -> list[str]:
    """Write the numbers of all parts as CSV.

    Parameters
    ----------
    parts : mapping of str to xarray.Dataset
        By stem.
    to : str or path
        Folder; it is made if need be.
    name : str
        Of the file: ``<name>.csv``, or ``<name>_<dims>.csv`` where there are several tables.
        Beside each lies ``<name>.columns.json``: type, unit and meaning of each column.
    variables : str or sequence of str, optional
        Which ones (a text is cut at commas); by default all.
    put_aside : bool
        Whether records whose picture was put aside are written too: they hold NaN or zeros. By
        default they are left out, and a warning says how many.

    Returns
    -------
    list of str
        Paths of the files.

    Raises
    ------
    SchemaError
        A variable has pixel dims, which no table holds, or is not there.
    UsageError
        A file is there already.
    """
    folder = Path(to).expanduser().absolute()
    parts = sound_parts(parts, put_aside)
    tables = _tables(parts, variables, name)
    targets = [folder / f"{table.name}{end}" for table in tables for end in _ENDS]
    with aside(targets) as files:
        for table, file, beside in zip(tables, files[::2], files[1::2], strict=True):
            described = json.dumps(_described(table.columns), indent=1, ensure_ascii=False)
            beside.write_text(described + "\n", encoding="utf-8")
            with file.open("w", encoding="utf-8", newline="") as out:
                pd.DataFrame(columns=table.columns.names).to_csv(out, index=False)
                for frame in _frames(parts, table):
                    frame.to_csv(out, index=False, header=False)
    return [str(target) for target in targets]


def write_parquet(
    parts: Mapping[str, xr.Dataset],
    to: str | os.PathLike[str],
    *,
    name: str = "table",
    variables: str | Sequence[str] | None = None,
    partitioned: bool = False,
    put_aside: bool = False,
) -> list[str]:
    """Write the numbers of all parts as Parquet.

    Parameters
    ----------
    parts, to, name, variables, put_aside
        As for `write_csv`; unit and meaning are metadata of the columns (``unit``,
        ``description``), and no other file is written.
    partitioned : bool
        Whether each part gets a file of its own, ``<name>/part=<stem>/0.parquet``, as Hive,
        Spark, Dask and pyarrow read them: one sample can then be read without the others.

    Returns
    -------
    list of str
        Paths of the files.
    """
    folder = Path(to).expanduser().absolute()
    parts = sound_parts(parts, put_aside)
    tables = _tables(parts, variables, name)
    end = "" if partitioned else ".parquet"
    targets = [folder / f"{table.name}{end}" for table in tables]
    inside = [f"part={quote(stem, safe=' ')}/0.parquet" for stem in parts]
    with aside(targets) as files:
        for table, file in zip(tables, files, strict=True):
            if not partitioned:
                _parquet(file, table.columns, parts, table)
                continue
            columns = table.columns.remove(0)  # the stem stands in the folder's name
            for (stem, ds), place in zip(parts.items(), inside, strict=True):
                (file / place).parent.mkdir(parents=True)
                _parquet(file / place, columns, {stem: ds}, table)
    ends = [f"/{place}" for place in inside] if partitioned else [""]
    return [f"{target}{place}" for target in targets for place in ends]


def _parquet(
    file: Path, columns: pa.Schema, parts: Mapping[str, xr.Dataset], table: _Table
) -> None:
    with pq.ParquetWriter(file, columns) as out:
        for frame in _frames(parts, table):
            out.write_table(pa.Table.from_pandas(frame, schema=columns, preserve_index=False))


def _tables(
    parts: Mapping[str, xr.Dataset], variables: str | Sequence[str] | None, name: str
) -> list[_Table]:
    """Sort the variables of all parts by their dims, and settle the columns."""
    names = variables.split(",") if isinstance(variables, str) else variables
    groups: dict[frozenset[Hashable], tuple[tuple[str, ...], dict[str, pa.Field]]] = {}
    for stem, whole in parts.items():
        ds = _chosen(stem, whole, names)
        for key, variable in ds.data_vars.items():
            dims = tuple(map(str, variable.dims))
            fields = groups.setdefault(frozenset(dims), (dims, {}))[1]
            for column in (*_beside(ds, variable), str(key)):
                _settle(fields, column, ds[column])
    if not groups:
        raise SchemaError("no variables to write as a table")
    first = pa.field("part", pa.string(), metadata={"description": "name of the part"})
    return [
        _Table(
            name if len(groups) == 1 else "_".join((name, *(dims or ("part",)))),
            dims,
            pa.schema([first, *_ordered(dims, fields)]),
        )
        for dims, fields in groups.values()
    ]


def _chosen(stem: str, ds: xr.Dataset, names: Sequence[str] | None) -> xr.Dataset:
    """Return the variables wanted, without those of pixels, spread along ``name``."""
    for name in names or ():
        if name not in ds.data_vars:
            names_there = ", ".join(map(str, ds.data_vars)) or "none"
            raise SchemaError(f"{stem}: no variable {name!r}. Found: {names_there}")
    table = ds if names is None else ds[list(names)]
    for key, variable in table.data_vars.items():
        if pixels := [str(dim) for dim in variable.dims if dim in PIXEL_DIMS]:
            raise SchemaError(
                f"{stem}: variable {key!r} has pixels ({', '.join(pixels)}), which no table "
                "holds; say which variables to write with variables="
            )
    if "part" in table.variables or "part" in table.dims:
        raise SchemaError(f"{stem}: 'part' is the column of the stems; rename that variable")
    return _spread(_blank(table))


def _blank(ds: xr.Dataset) -> xr.Dataset:
    """Return the same names, dims and kinds without rows: to spread that costs nothing."""
    none = ds.isel({dim: slice(0) for dim in ds.dims if dim not in _WIDE})
    return none.assign(
        {k: (v.dims, np.empty(v.shape, v.dtype), v.attrs) for k, v in none.data_vars.items()}
    )


def _spread(ds: xr.Dataset) -> xr.Dataset:
    """Turn each variable over the names of features or gates into one variable a name."""
    for dim in _WIDE:
        if dim not in ds.dims or dim not in ds.coords:
            continue
        keys = [key for key in ds.data_vars if dim in ds[key].dims]
        labels = [str(label) for label in ds[dim].values]
        spread = {
            label: ds[key].isel({dim: i}, drop=True)
            for key in keys
            for i, label in enumerate(labels)
        }
        others = ds.drop_vars(keys)
        if twice := set(spread) & {*map(str, others.variables), "part"}:
            raise SchemaError(f"the names {sorted(twice)} are variables too; rename them")
        ds = others.drop_dims(dim).assign(spread)
    return ds


def _beside(ds: xr.Dataset, variable: xr.DataArray) -> list[str]:
    """Coordinates that become columns: all that lie along the dims of the variable."""
    inside = [str(k) for k, c in ds.coords.items() if c.dims and set(c.dims) <= set(variable.dims)]
    return inside + [str(dim) for dim in variable.dims if dim not in ds.coords]


def _settle(fields: dict[str, pa.Field], name: str, array: xr.DataArray) -> None:
    """Note a column, of the larger type if it was there already."""
    text = array.dtype.kind in "UOST"
    kind = pa.string() if text else pa.from_numpy_dtype(array.dtype)
    if name in fields and fields[name].type != kind:
        dtype = fields[name].type
        if text or dtype == pa.string():
            other = dtype if text else kind
            raise SchemaError(f"column {name!r} is text in one part and {other} in another")
        larger = np.promote_types(dtype.to_pandas_dtype(), array.dtype)
        fields[name] = fields[name].with_type(pa.from_numpy_dtype(larger))
    elif name not in fields:
        told = {"unit": array.attrs.get("units"), "description": array.attrs.get("long_name")}
        metadata = {key: str(value) for key, value in told.items() if value is not None}
        fields[name] = pa.field(name, kind, metadata=metadata)


def _ordered(dims: Sequence[str], fields: Mapping[str, pa.Field]) -> list[pa.Field]:
    return [fields[dim] for dim in dims] + [f for name, f in fields.items() if name not in dims]


def _described(columns: pa.Schema) -> list[dict[str, str]]:
    return [
        {"name": field.name, "type": str(field.type)}
        | {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
        for field in columns
    ]


def _frames(parts: Mapping[str, xr.Dataset], table: _Table) -> Iterator[pd.DataFrame]:
    """Yield the rows of all parts, some at a time."""
    for stem, ds in parts.items():
        names = [key for key in ds.data_vars if _belongs(ds, key, table)]
        if not names:
            continue
        chosen = ds[names]
        if not table.dims:
            yield _frame(chosen.expand_dims("_row"), ("_row",), stem, table)
            continue
        dim = table.dims[0]
        if dim not in chosen.coords:  # else each piece would count its rows from 0
            chosen = chosen.assign_coords({dim: np.arange(chosen.sizes[dim])})
        block = max(1, *(max(chosen[name].chunksizes.get(dim, (1,))) for name in names))
        others = int(np.prod([chosen.sizes[d] for d in table.dims[1:]], dtype=np.int64))
        others *= 1 + len(table.columns) // _NARROW
        step = block * max(1, ROWS // max(1, others * block))
        for start in range(0, chosen.sizes[dim], step):
            piece = chosen.isel({dim: slice(start, start + step)})
            yield _frame(piece, table.dims, stem, table)


def _belongs(ds: xr.Dataset, key: Hashable, table: _Table) -> bool:
    """Tell whether a variable, or what it is spread to, is among the columns of a table."""
    wide = [dim for dim in _WIDE if dim in ds[key].dims and dim in ds.coords]
    dims = {str(dim) for dim in ds[key].dims} - set(wide)
    names = {str(label) for dim in wide for label in ds[dim].values} or {str(key)}
    return dims == set(table.dims) and not names.isdisjoint(table.columns.names)


def _frame(ds: xr.Dataset, dims: Sequence[str], stem: str, table: _Table) -> pd.DataFrame:
    computed = compute(*(ds[name].data for name in ds.data_vars))
    loaded = ds.assign(
        {n: (ds[n].dims, values) for n, values in zip(ds.data_vars, computed, strict=True)}
    )
    frame = _spread(loaded).to_dataframe(dim_order=list(dims)).reset_index()
    frame["part"] = stem
    return frame.reindex(columns=table.columns.names)
