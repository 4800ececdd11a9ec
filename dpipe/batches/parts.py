"""Parts whose records can stand in one batch: of one shape, with what is known of all of them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from dpipe.errors import SchemaError

DIMS = ("record", "event")


def dim_of(ds: xr.Dataset) -> str:
    """Return the dim along which batches are cut."""
    return next(dim for dim in DIMS if dim in ds.dims)


def together(parts: Mapping[str, xr.Dataset]) -> tuple[dict[str, xr.Dataset], list[str]]:
    """Refuse parts that cannot be in one batch; keep what is known of the records of all.

    Parameters
    ----------
    parts : mapping of str to xarray.Dataset
        By stem, with the dim ``record`` or ``event``.

    Returns
    -------
    dict of str to xarray.Dataset
        The same parts. Numbers are of the kind that holds those of all; what only some parts say
        of their records, and what lies along other dims and differs, is left out.
    list of str
        A line that names what was left out, if anything was.

    Raises
    ------
    SchemaError
        Parts of unlike shapes, or packed pictures.
    """
    tables = {stem: _rows(stem, ds) for stem, ds in parts.items()}
    of_records = {k for ds in tables.values() for k, v in ds.coords.items() if dim_of(ds) in v.dims}
    _check({stem: _facts(ds) for stem, ds in tables.items()}, of_records)
    names = dict.fromkeys(name for ds in tables.values() for name in ds.coords)
    everywhere = [n for n in names if all(n in ds.coords for ds in tables.values())]
    first = next(iter(tables.values()), xr.Dataset())
    shared = [
        name
        for name in everywhere
        if name in of_records or all(first[name].equals(ds[name]) for ds in tables.values())
    ]
    kinds = {
        name: np.result_type(*(ds[name].dtype for ds in tables.values()))
        for name, array in first.data_vars.items()
        if array.dtype.kind in "biuf"
    }
    alike = {}
    for stem, part in tables.items():
        ds = part.drop_vars(set(part.coords) - set(shared))
        changed = {name: kind for name, kind in kinds.items() if ds[name].dtype != kind}
        alike[stem] = ds.assign({name: ds[name].astype(kind) for name, kind in changed.items()})
    lost = ", ".join(str(name) for name in names if name not in shared)
    return alike, [f"left out, since not all parts have the same: {lost}"] if lost else []


def _check(facts: Mapping[str, dict[str, Any]], of_records: set[Any]) -> None:
    (first, expected), *others = facts.items() or [("", {})]
    for stem, other in others:
        for name in sorted({*other, *expected}):
            if name in of_records and not (name in other and name in expected):
                continue  # left out
            if other.get(name) != expected.get(name):
                raise SchemaError(
                    f"{stem}: {name} is {other.get(name, 'missing')}, and "
                    f"{expected.get(name, 'missing')} in {first}; a batch needs one shape"
                )


def _rows(stem: str, ds: xr.Dataset) -> xr.Dataset:
    """Return the variables along records, with the coordinates of their other dims."""
    if "pixels" in ds and "in_block" in ds.coords:
        raise SchemaError(
            f"{stem}: packed pictures of unlike sizes; bring them to one: "
            "dpipe.each(tree, dpipe.pictures, size=64)"
        )
    dim = dim_of(ds)
    names = [name for name, variable in ds.variables.items() if dim in variable.dims]
    dims = {d for name in names for d in ds.variables[name].dims}
    extra = [d for d in dims if d in ds.coords and d not in names]
    return ds[names].assign_coords({d: ds.coords[d] for d in extra})


def _facts(ds: xr.Dataset) -> dict[str, Any]:
    """Return the facts that must be the same in all parts: dims, sizes, kinds of numbers."""
    dim = dim_of(ds)
    shapes: dict[str, Any] = {
        str(name): _kind(v)
        if v.dims == (dim,)
        else (_kind(v), *map(str, v.dims), *(n for d, n in v.sizes.items() if d != dim))
        for name, v in ds.variables.items()
        if dim in v.dims
    }
    names = {d: ds.coords[d].values for d in ds.dims if d in ds.coords and d != dim}
    return shapes | {str(d): v.tolist() for d, v in names.items() if v.dtype.kind in "UOT"}


def _kind(array: xr.Variable) -> str:
    return "text" if array.dtype.kind in "UOST" else "numbers"
