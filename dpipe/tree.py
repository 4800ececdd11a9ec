"""Datasets as people hold them: open, each, save.

``open`` gives a lazy Dataset or a DataTree with one child per part, ``each`` maps an operator over
it, ``save`` commits what came out by the same path that runs use.

This module knows the catalog and parts; it knows nothing of recipes or clusters.
"""

import os
from collections.abc import Callable, Mapping
from typing import Any

import xarray as xr

from dpipe import blocks, catalog, operators, origin, parts, schema, seal
from dpipe.errors import UsageError
from dpipe.objects import Objects
from dpipe.outline import base_of, lay_out

DataLike = xr.Dataset | xr.DataTree | Mapping[str, xr.Dataset]


def open(
    store: str, *names: str, part: str | None = None, level: int = 0
) -> xr.Dataset | xr.DataTree:
    """Open datasets of a store, lazily.

    Parameters
    ----------
    store : str
        A folder, ``s3://bucket/prefix`` or ``memory://name``.
    *names : str
        One or more datasets, each ``NAME`` or ``NAME@VERSION``; further ones are merged into the
        first by stem.
    part : str, optional
        The stem of the only part wanted.
    level : int
        Level of the pyramid of image parts.

    Returns
    -------
    xarray.Dataset or xarray.DataTree
        A Dataset if `part` is given or there is but one part, else a DataTree with one child per
        stem. Nothing but seals is read; Dask chunks are shards.

    Raises
    ------
    NotAStoreError
        There is no store.
    NotFoundError
        No such dataset, version or part.
    """
    if not names:
        raise UsageError("open: name at least one dataset, for example open(store, 'leuko')")
    objects = catalog.open_store(store)
    versions = [catalog.resolve(objects, name) for name in names]
    stems = [part] if part else [ref.stem for ref in versions[0].parts]
    held = {stem: _merged(objects, versions, stem, level) for stem in stems}
    if len(held) == 1:
        return next(iter(held.values()))
    return xr.DataTree.from_dict({f"/{stem}": ds for stem, ds in held.items()})


def history(store: str, name: str) -> catalog.History:
    """Return the versions of a dataset, newest first; it shows as a table in a notebook.

    Parameters
    ----------
    store : str
        A store.
    name : str
        A dataset.

    Returns
    -------
    catalog.History
        Its versions.
    """
    return catalog.history(catalog.open_store(store), name)


def _merged(objects: Objects, versions: list[catalog.Version], stem: str, level: int) -> xr.Dataset:
    versions[0].part(stem)
    merged = xr.Dataset()
    for version in versions:
        for ref in version.parts:
            if ref.stem == stem:
                sealed = seal.read(objects, ref.base, ref.seal)[0]
                ds = seal.open_sealed(objects, sealed, level if sealed.levels else 0)
                merged = merged.merge(
                    ds, compat="override", join="override", combine_attrs="drop_conflicts"
                )
    return merged


def as_parts(data: DataLike) -> dict[str, xr.Dataset]:
    """Return Datasets by stem, whatever shape they came in.

    Parameters
    ----------
    data : xarray.Dataset, xarray.DataTree or mapping
        A Dataset goes by its ``attrs["stem"]``, else by ``"data"``.

    Returns
    -------
    dict of str to xarray.Dataset
        One entry a part.
    """
    if isinstance(data, xr.Dataset):
        return {str(data.attrs.get("stem", "data")): data}
    if isinstance(data, xr.DataTree):
        return {name: child.to_dataset() for name, child in data.children.items()}
    return dict(data)


def each(
    data: DataLike, operator: Callable[..., xr.Dataset] | str, **params: Any
) -> xr.Dataset | xr.DataTree:
    """Apply an operator to every part.

    Parameters
    ----------
    data : xarray.Dataset, xarray.DataTree or mapping
        What `open` gave.
    operator : callable or str
        An operator, or its name as in recipes.
    **params
        Its parameters.

    Returns
    -------
    xarray.Dataset or xarray.DataTree
        The results, lazy, in the shape of `data`; one Dataset for operators of whole datasets.

    Examples
    --------
    >>> import numpy as np
    >>> from dpipe.schema import movie
    >>> ds = movie(np.zeros((2, 1, 1, 8, 8), "u1"))
    >>> list(each(ds, lambda part: part.mean(("y", "x"))).data_vars)
    ['image']
    """
    function = operators.resolve(operator).function if isinstance(operator, str) else operator
    if isinstance(operator, str):
        origin.bind(function, params, f"operator {operator}")
        if [kind for _, kind in operators.inputs(operators.resolve(operator))] == ["tree"]:
            held = {f"/{stem}": ds for stem, ds in as_parts(data).items()}
            return function(xr.DataTree.from_dict(held), **params)
    if isinstance(data, xr.Dataset):
        return function(data, **params).assign_attrs(_stem(data))
    results = {stem: function(ds, **params) for stem, ds in as_parts(data).items()}
    return xr.DataTree.from_dict({f"/{stem}": ds for stem, ds in results.items()})


def _stem(ds: xr.Dataset) -> dict[str, str]:
    return {"stem": ds.attrs["stem"]} if "stem" in ds.attrs else {}


def save(
    data: DataLike, store: str, name: str, *, message: str, author: str | None = None
) -> catalog.Version:
    """Commit what was computed as a new version of a dataset.

    Parameters
    ----------
    data : xarray.Dataset, xarray.DataTree or mapping
        Lazy or not; it is computed in this process, partition by partition.
    store : str
        A store, or a new place.
    name : str
        The dataset; a new one, or the next version of an old one.
    message : str
        What this is, for the history.
    author : str, optional
        Who commits; by default ``DPIPE_AUTHOR``, else the user's name.

    Returns
    -------
    catalog.Version
        The version; the newest one as it stands if it holds the same already.

    Raises
    ------
    SchemaError
        A variable of the vocabulary has other dims or another kind of number.
    """
    catalog.check_name(name)
    objects = catalog.open_store(store, create=True)
    refs = tuple(_save_part(objects, name, stem, ds) for stem, ds in as_parts(data).items())

    def build(parent: catalog.Version | None) -> dict[str, Any] | None:
        if parent and catalog.same_parts(parent.parts, refs):
            return None
        return {"parts": refs, "message": message, "recipe": {"kind": "saved"}}

    who = author or os.environ.get("DPIPE_AUTHOR") or os.environ.get("USER") or "unknown"
    return catalog.commit(objects, name, build, author=who) or catalog.resolve(objects, name)


def _save_part(objects: Objects, name: str, stem: str, ds: xr.Dataset) -> catalog.PartRef:
    for array in ds.data_vars.values():
        if known := schema.named(array):
            known.check(ds)
    made = origin.Origin("saved", name, 1, {"token": blocks.token(ds)})
    base = base_of(name, stem, made.fingerprint)
    if not objects.exists(f"{base}.json"):
        outline = parts.write_init(objects, lay_out(ds, base), made.to_dict())
        for index in range(outline.grid.partitions):
            parts.write_partition(objects, outline, ds, index)
        parts.seal_part(objects, base, ds, stem, made.fingerprint)
    sealed, digest = seal.read(objects, base)
    return catalog.PartRef(stem, made.fingerprint, base, digest, sealed.summary)
