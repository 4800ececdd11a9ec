"""AnnData: one table of features with what is known of each record, as single-cell tools read it.

It knows which names become ``obs``, ``var`` and ``X``. How they lie in a file is the business of
the package anndata, which streams ``X`` block by block.
"""

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import xarray as xr

from dpipe import schema
from dpipe.compute import compute
from dpipe.errors import SchemaError, UsageError
from dpipe.writers.atomic import aside
from dpipe.writers.sound import sound_parts

_PLACES = tuple(
    variable.name
    for variable in (schema.IN_BLOCK, schema.IN_SLOT, schema.OFFSET, schema.MASK_DTYPE)
)
"""Where a picture lies in its pack, which a table need not know."""
_BLOCK_BYTES = 1 << 24


def write_anndata(
    parts: Mapping[str, xr.Dataset],
    to: str | os.PathLike[str],
    *,
    name: str = "table",
    format: Literal["h5ad", "zarr"] = "h5ad",
    put_aside: bool = False,
) -> list[str]:
    """Write the features of all parts as one AnnData.

    Parameters
    ----------
    parts : mapping of str to xarray.Dataset
        By stem, each with ``feature(record, name)``; columns are the same in all.
    to : str or path
        Folder; it is made if need be.
    name : str
        Of the file or folder: ``<name>.h5ad`` or ``<name>.zarr``.
    format : {"h5ad", "zarr"}
        A single HDF5 file, or a Zarr group.
    put_aside : bool
        Whether records whose picture was put aside are written too: they hold NaN or zeros. By
        default they are left out, and a warning says how many.

    Returns
    -------
    list of str
        Its path. ``X`` holds the features, ``var`` their names (and families), ``obs`` a row each
        record: the stem as ``part``, coordinates and variables over ``record``, and a column for
        each gate. Rows are named ``<part>/<file>``, or numbered where there are no files.

    Raises
    ------
    SchemaError
        A part without features, or with other columns than the first; what is known of records
        unlike in the parts, or named as AnnData takes no name.
    UsageError
        An unknown `format`, anndata is not there, or the file is there already.
    """
    if format not in ("h5ad", "zarr"):
        raise UsageError(f"format: found {format!r}; expected 'h5ad' or 'zarr'")
    try:
        import anndata
    except ImportError as error:
        raise UsageError("AnnData needs anndata; install dpipe[tables]") from error
    parts = sound_parts(parts, put_aside)
    features = _features(parts)
    obs = _whole({stem: _obs(stem, ds) for stem, ds in parts.items()})
    over = {k: c.values for k, c in features.coords.items() if c.dims == ("name",) and k != "name"}
    var = pd.DataFrame(over, index=pd.Index([str(n) for n in features["name"].values]))
    rows = max(1, _BLOCK_BYTES // (8 * max(1, len(var))))
    chunks = (min(rows, max(1, len(obs))), max(1, len(var)))
    values = features.chunk({"record": chunks[0], "name": -1}).data
    target = Path(to).expanduser().absolute() / f"{name}.{format}"
    with aside([target]) as (path,), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of anndata about pandas and zarr, not about the table
        table = anndata.AnnData(X=values, obs=obs, var=var)
        if format == "h5ad":
            table.write_h5ad(path)
        else:  # a chunk is a block: blocks that share a chunk would write over each other
            table.write_zarr(path, chunks=chunks)
    return [str(target)]


def _features(parts: Mapping[str, xr.Dataset]) -> xr.DataArray:
    """Put the features of all parts below each other, lazily."""
    several: list[xr.DataArray] = []
    for stem, ds in parts.items():
        try:
            feature = schema.FEATURE.check(ds)
        except SchemaError as error:
            raise SchemaError(f"{stem}: {error}") from error
        if "name" not in feature.coords:
            raise SchemaError(f"{stem}: features without the coordinate name")
        if several and not feature["name"].equals(several[0]["name"]):
            raise SchemaError(f"{stem}: other features than in {next(iter(parts))}")
        inner = [n for n, c in feature.coords.items() if c.dims != ("name",)]
        several.append(feature.drop_vars(inner))
    return xr.concat(several, dim="record")


def _obs(stem: str, ds: xr.Dataset) -> pd.DataFrame:
    """Return the columns of the records of a part."""
    over = {str(k): v for k, v in ds.variables.items() if v.dims == ("record",)}
    columns = {"part": np.full(ds.sizes["record"], stem, dtype=object)}
    lazy = {name: v.data for name, v in over.items() if name not in _PLACES}
    if schema.GATE.name in ds and "gate_name" in ds.coords:
        gates = ds[schema.GATE.name].transpose("record", "gate_name").data
        named = {str(gate): gates[:, i] for i, gate in enumerate(ds["gate_name"].values)}
        if twice := sorted(set(named) & {*lazy, "part"}):
            raise SchemaError(f"{stem}: gate {twice[0]!r} is what is known of records; rename it")
        lazy |= named
    columns |= dict(zip(lazy, compute(*lazy.values()), strict=True))
    names = columns.get(schema.PICTURE_FILE.name, np.arange(ds.sizes["record"]))
    index = pd.Index([f"{stem}/{name}" for name in names])
    return pd.DataFrame(columns, index=index)


def _whole(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Put the records of all parts below each other.

    Where a part does not say it, numbers and texts are missing; true or false cannot be.
    """
    for name in dict.fromkeys(str(name) for table in tables.values() for name in table):
        if "/" in name:
            raise SchemaError(
                f"{name!r}: AnnData takes no '/' in names; rename that gate or column"
            )
        kinds = {stem: _kind(table[name]) for stem, table in tables.items() if name in table}
        first, kind = next(iter(kinds.items()))
        for stem in tables:
            if stem not in kinds and kind == "flag":
                raise SchemaError(f"{stem}: {name!r} is not known; in {first} it is a flag")
            if kinds.get(stem, kind) != kind:
                raise SchemaError(f"{stem}: {name!r} is a {kinds[stem]}; in {first} it is a {kind}")
    return pd.concat(tables.values())


def _kind(column: pd.Series) -> str:
    if pd.api.types.is_bool_dtype(column.dtype):
        return "flag"
    return "number" if pd.api.types.is_numeric_dtype(column.dtype) else "text"
