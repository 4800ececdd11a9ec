"""Datasets as people hold them: open, each, save.

``open`` gives a lazy Dataset or a DataTree with one child per part, ``each`` maps an operator over
it, ``save`` commits what came out by the same path that runs use.

This module knows the catalog and parts; it knows nothing of recipes or clusters.
"""

import contextlib
import json
import secrets
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import xarray as xr

from dpipe import catalog, compute, joins, operators, schema
from dpipe.build import base_of, lineage, parameters, part_spec, parts
from dpipe.catalog import heartbeat, opening, seals
from dpipe.config import Settings
from dpipe.errors import SchemaError, UsageError
from dpipe.metadata import collection_facts, image_facts
from dpipe.operators import select, select_alike
from dpipe.storage import Json, Objects

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
        first by stem. One of a single part that goes by movies is joined by row instead: what a
        table over ``movie`` (conditions, a quality table) says of a movie becomes scalar
        coordinates, ``content`` becomes ``channel_content(c)`` where the channels fit, and of a
        table of events with the coordinate ``movie`` the movie gets its events. Spaces, ``-``,
        ``_`` and capitals do not matter: ``Neu 8`` is ``Neu8``. Rows without a movie are no error;
        a movie without a row stays without: ``attrs["without_row"]`` and one warning say so.
    part : str, optional
        The stem of the only part wanted.
    level : int
        Level of the pyramid of image parts.

    Returns
    -------
    xarray.Dataset or xarray.DataTree
        A Dataset if `part` is given or there is but one part, else a DataTree with one child per
        stem. Nothing but seals is read; Dask chunks are shards. ``attrs["study"]`` of what is
        returned is the study as a curator typed it, in JSON, if there is one.

    Raises
    ------
    NotAStoreError
        There is no store.
    NotFoundError
        No such dataset, version or part.
    SchemaError
        Datasets of unlike size, which cannot be merged.
    """
    if not names:
        raise UsageError("open: name at least one dataset, for example open(store, 'leuko')")
    objects = catalog.open_store(store)
    versions = [catalog.resolve(objects, name) for name in names]
    stems = [versions[0].part(part).stem] if part else [ref.stem for ref in versions[0].parts]
    joinable = {v.label: _table(objects, versions[0], v) for v in versions[1:]}
    tables = {label: table for label, table in joinable.items() if table is not None}
    by_stem = [version for version in versions if version.label not in tables]
    parts = _merged(objects, by_stem, stems, level)
    for label, table in tables.items():
        parts = _joined(parts, table, label)
    study = _study(versions)
    if len(parts) == 1:
        return next(iter(parts.values())).assign_attrs(study)
    return _tree(parts, study)


def _study(versions: Sequence[catalog.Version]) -> dict[str, str]:
    """Return the study of some versions as an attribute: JSON, as it was typed."""
    by_label = {v.label: v.study for v in versions if v.study}
    studies = list(by_label.values())
    if any(study != studies[0] for study in studies):
        return {"study": json.dumps({"studies": by_label}, ensure_ascii=False)}
    return {"study": json.dumps(studies[0], ensure_ascii=False)} if studies else {}


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


def _merged(
    objects: Objects, versions: list[catalog.Version], stems: list[str], level: int
) -> dict[str, xr.Dataset]:
    """Open parts by stem; those of further versions are merged into those of the first."""
    merged: dict[str, xr.Dataset] = {}
    for version in versions:
        by_stem = version.parts.by_stem
        refs = [by_stem[stem] for stem in stems if stem in by_stem]
        for ref, sealed in zip(refs, seals.named(objects, refs), strict=True):
            ds = opening.open_sealed(objects, sealed, level if sealed.levels else 0)
            lineage.opened(ds, lineage.Input(version.label, ref.stem, ref.base, ref.seal))
            if ref.stem not in merged:
                merged[ref.stem] = ds
                continue
            try:
                merged[ref.stem] = merged[ref.stem].merge(
                    ds, compat="override", join="override", combine_attrs="drop_conflicts"
                )
            except ValueError as error:  # such as masks of one plane beside a whole stack
                raise SchemaError(
                    f"{ref.stem}: {version.label} does not fit {versions[0].label}: {error}"
                ) from error
    return merged


def _table(objects: Objects, first: catalog.Version, version: catalog.Version) -> xr.Dataset | None:
    """Return a dataset that goes by movies: one part, over `movie` or of a stem of its own."""
    if len(version.parts) != 1:
        return None
    (ref,) = version.parts
    rows = "movie" in ref.summary.get("sizes", {})
    if not rows and ref.stem in first.parts.by_stem:
        return None
    ds = opening.open_named(objects, ref)
    return joins.loaded(ds) if "movie" in ds.coords and ds["movie"].ndim == 1 else None


def _joined(parts: dict[str, xr.Dataset], table: xr.Dataset, label: str) -> dict[str, xr.Dataset]:
    """Join a table to every part, and warn of those that it does not fit."""
    joined: dict[str, xr.Dataset] = {}
    without: list[str] = []
    unlike: list[str] = []
    for stem, ds in parts.items():
        joined[stem], missing, other = joins.join(ds, stem, table, label)
        without, unlike = without + missing, unlike + other
    total = max(len(parts), *(ds.sizes.get("movie", 0) for ds in parts.values()))
    for line in joins.said(label, total, without, unlike):
        warnings.warn(line, UserWarning, stacklevel=3)
    return joined


def facts(store: str, *names: str) -> dict[str, Json]:
    """Return facts on the movies or collections of pictures of a dataset.

    Parameters
    ----------
    store : str
        A store.
    *names : str
        A dataset, and tables that are joined to it, as in `open`.

    Returns
    -------
    dict of str to dict
        By stem, ``metadata.image_facts`` or ``metadata.collection_facts``; empty if the dataset
        holds neither.
    """
    objects = catalog.open_store(store)
    version = catalog.resolve(objects, names[0])
    told = catalog.part_facts(objects, version)
    if not told and told is not None:
        return {}
    if told is not None and len(names) == 1:
        return {stem: dict(facts) for stem, facts in told.items()}
    parts = version.parts
    opened = open(store, *names)
    by_stem = {parts[0].stem: opened} if isinstance(opened, xr.Dataset) else as_parts(opened)
    return {
        stem: dict(tell(ds))
        for stem, ds in by_stem.items()
        for kind, tell in (("image", image_facts), ("pixels", collection_facts))
        if kind in ds and (kind == "image" or "put_aside" in ds.coords)
    }


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

    Raises
    ------
    UsageError
        It is none of these.
    """
    if isinstance(data, xr.Dataset):
        return {str(data.attrs.get("stem", "data")): data}
    if isinstance(data, xr.DataTree):
        return {name: child.to_dataset() for name, child in data.children.items()}
    mapping: Any = data
    if isinstance(mapping, Mapping) and all(isinstance(v, xr.Dataset) for v in mapping.values()):
        return dict(mapping)
    raise UsageError(f"found {data!r:.60}; expected what dpipe.open gave, or Datasets by name")


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
        Its parameters; its further inputs by name, each what `open` gave: joined by stem, or
        whole where the operator takes a whole dataset; and ``where``, an expression that chooses
        the records of `data`, as `select` does, and the same ones of inputs joined to it.

    Returns
    -------
    xarray.Dataset or xarray.DataTree
        The results, lazy, in the shape of `data`; one Dataset for operators of whole datasets.

    Raises
    ------
    UsageError
        An unknown operator or parameter, or an input that lacks a part.

    Examples
    --------
    >>> import numpy as np
    >>> from dpipe.schema import movie
    >>> ds = movie(np.zeros((2, 1, 1, 8, 8), "u1"))
    >>> list(each(ds, lambda part: part.mean(("y", "x"))).data_vars)
    ['image']
    """
    function = operators.resolve(operator).function if isinstance(operator, str) else operator
    call = lineage.Call.of(operator, params)
    kinds, optional = _inputs(function)
    inputs = {role: params.pop(role) for role in list(kinds)[1:] if role in params}
    if isinstance(operator, str):
        parameters.bind_operator(function, params, f"operator {operator}")
    where = None if parameters.has_where(function) else params.pop("where", None)
    params |= {role: _tree(inputs.pop(role)) for role in list(inputs) if kinds[role] == "tree"}
    if next(iter(kinds.values()), "") == "tree":
        parts = as_parts(data)
        if where is not None:
            parts = {stem: select(ds, where) for stem, ds in parts.items()}
        result = function(_tree(parts), **inputs, **params)
        return lineage.made(result, call, {"": parts, **inputs})
    results = {}
    for stem, ds in as_parts(data).items():
        others = {role: _part(role, stem, value) for role, value in inputs.items()}
        lacking = [role for role, other in others.items() if other is None and role not in optional]
        if lacking:
            raise UsageError(f"each: {lacking[0]} has no part {stem!r}, which data has")
        if where is not None:
            present = {role: other for role, other in others.items() if other is not None}
            others = {**others, **select_alike({"": ds, **present}, where)}
        result = function(others.pop("", ds), **others, **params)
        results[stem] = lineage.made(result, call, {"": {stem: ds}, **others})
        if isinstance(data, xr.Dataset):
            return results[stem].assign_attrs(_kept(data))
    return _tree(results, _kept(data))


def _inputs(function: Callable[..., xr.Dataset]) -> tuple[dict[str, str], set[str]]:
    """Return kinds of a function's inputs, and which may be left out; none if it says nothing."""
    operator = operators.Operator(function, 1)
    try:
        return dict(operators.inputs(operator)), operators.optional(operator)
    except UsageError:
        return {}, set()


def _part(role: str, stem: str, value: DataLike | None) -> xr.Dataset | None:
    """Return the part of an input that belongs to a stem; the only one goes with any."""
    return value if isinstance(value, xr.Dataset) else as_parts(value or {}).get(stem)


def _tree(data: DataLike, attrs: Mapping[str, str] | None = None) -> xr.DataTree:
    tree = xr.DataTree.from_dict({f"/{stem}": ds for stem, ds in as_parts(data).items()})
    tree.attrs.update(attrs or {})
    return tree


def _typed(data: DataLike) -> Json:
    """Return the study in the attributes of what is saved, as it was typed."""
    with contextlib.suppress(ValueError):
        study = json.loads(_kept(data).get("study", "{}"))
        return study if isinstance(study, dict) else {}
    return {}


def _without_study(ds: xr.Dataset) -> xr.Dataset:
    """Return a Dataset without its study, which its version will hold."""
    bare = ds.copy()
    bare.attrs.pop("study", None)
    return bare


def _kept(data: DataLike) -> dict[str, str]:
    """Return the attributes of an operator's input that its result has too."""
    attrs = data.attrs if isinstance(data, xr.Dataset | xr.DataTree) else {}
    return {key: attrs[key] for key in ("stem", "study") if key in attrs}


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
    who = Settings.load().author if author is None else author
    bare = {stem: _without_study(ds) for stem, ds in as_parts(data).items()}
    call = lineage.common(bare.values())
    run = f"save-{secrets.token_hex(4)}"
    with heartbeat.beating(objects, run, [name]) as heart:
        refs = [_save_part(objects, name, stem, ds, who) for stem, ds in bare.items()]

        def build(parent: catalog.Version | None) -> catalog.Draft | None:
            if parent and catalog.same_parts(parent.parts, refs):
                return None
            study = (parent.study if parent else {}) or _typed(data)
            recipe = catalog.StepFields(kind="saved", **(call.recipe() if call else {}))
            return {"parts": refs, "message": message, "recipe": recipe, "study": study}

        heart.beat()
        version = catalog.commit(objects, name, build, author=who)
    return version or catalog.resolve(objects, name)


def _save_part(
    objects: Objects, name: str, stem: str, ds: xr.Dataset, author: str
) -> catalog.PartRef:
    for array in ds.data_vars.values():
        if variable := schema.named(array):
            variable.check(ds)
    spec = part_spec.PartSpec("saved", name, 1, {"token": compute.token(ds)})
    base = base_of(name, stem, spec.fingerprint)
    if not objects.exists(seals.key_of(base)):
        fields = spec.to_dict()
        if call := lineage.common([ds]):
            fields["made"] = call.to_dict()
        parts.save(objects, base, ds, fields, {"author": author})
    sealed, digest = seals.read(objects, base)
    return catalog.PartRef(stem, spec.fingerprint, base, digest, sealed.summary)
