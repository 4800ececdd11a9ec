"""Writers: each turns lazy Datasets into foreign files, one module a format.

A writer is one function: ``write(parts, to, **options)`` takes Datasets by stem, writes files
below the folder `to`, computing piece by piece, and returns their paths. It never overwrites, and
a file gets its name when it is whole. `WRITERS` names them all, `export` calls one.
"""

import inspect
import os
from collections.abc import Callable, Mapping
from typing import Any

import xarray as xr

from dpipe.errors import UsageError, unknown
from dpipe.operators import row_dim, select
from dpipe.plugins import Later, find
from dpipe.writers.study import write_study

WRITERS: dict[str, Callable[..., list[str]]] = {
    "anndata": Later("dpipe.writers.anndata:write_anndata"),
    "classification": Later("dpipe.writers.training.classification:write_classification"),
    "coco": Later("dpipe.writers.coco:write_coco"),
    "csv": Later("dpipe.writers.tables:write_csv"),
    "emdb-sff": Later("dpipe.writers.emdb_sff:write_emdb_sff"),
    "geojson": Later("dpipe.writers.annotations.geojson:write_geojson"),
    "label-png": Later("dpipe.writers.annotations.label_png:write_label_png"),
    "ome-zarr": Later("dpipe.writers.ome_zarr:write_ome_zarr"),
    "parquet": Later("dpipe.writers.tables:write_parquet"),
    "segmentation": Later("dpipe.writers.training.segmentation:write_segmentation"),
    "tiff": Later("dpipe.writers.tiff:write_tiff"),
    "yolo": Later("dpipe.writers.annotations.yolo:write_yolo"),
}
"""Every writer by its name on the command line."""


def export(
    data: xr.Dataset | xr.DataTree | Mapping[str, xr.Dataset],
    writer: str,
    to: str | os.PathLike[str],
    /,
    *,
    where: str | None = None,
    **options: Any,
) -> list[str]:
    """Write Datasets as foreign files.

    Parameters
    ----------
    data : xarray.Dataset, xarray.DataTree or mapping of str to xarray.Dataset
        What `dpipe.open` returns, or Datasets by stem. A single Dataset is called
        ``attrs["stem"]``, or ``data``. A study in its ``attrs`` is written beside the files as
        ``study.json``: as it was typed, and in the form of MIFA.
    writer : str
        A key of `WRITERS`, ``"package.module:function"``, or an entry point of the group
        ``dpipe.writers``.
    to : str or path
        Folder on disk; it is made if need be.
    where : str, optional
        An expression, as for ``dpipe.select``: only the records, events, spots, ... for which it
        is true are written, of parts that have any.
    **options
        Of the writer.

    Returns
    -------
    list of str
        Paths of what was written.

    Raises
    ------
    UsageError
        An unknown writer or option, a name that is no file name, or nothing to write.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> from dpipe import schema
    >>> ds = schema.movie(np.zeros((1, 1, 1, 4, 4), "u1"))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     [os.path.basename(path) for path in export({"Neu1": ds}, "tiff", folder)]
    ['Neu1.ome.tif']
    """
    write = resolve(writer)
    accepted = [
        parameter.name
        for parameter in inspect.signature(write).parameters.values()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    ]
    for option in options:
        if option not in accepted:
            raise UsageError(f"writer {writer}: {unknown('option', option, accepted)}")
    if "://" in os.fspath(to):
        raise UsageError(f"to={os.fspath(to)!r}: writers write to a folder on disk")
    parts = _parts(data)
    for stem in parts:
        if not stem or stem.startswith(".") or any(c in stem for c in "/\\\0"):
            raise UsageError(f"part {stem!r}: its name is no file name")
    such = ""
    if where is not None:
        dims = {stem: row_dim(where, ds) for stem, ds in parts.items()}
        chosen = {stem: select(ds, where) for stem, ds in parts.items()}
        parts = {stem: ds for stem, ds in chosen.items() if ds.sizes[dims[stem]]}
        such = f" with such {next(iter(dims.values()), 'row')}s"
    if not parts:
        raise UsageError(f"nothing to write: no parts{such}")
    study = getattr(data, "attrs", {}).get("study")
    return write(parts, to, **options) + ([write_study(study, to)] if study else [])


def resolve(name: str) -> Callable[..., list[str]]:
    """Return a writer by its name.

    Parameters
    ----------
    name : str
        A key of `WRITERS`, ``"package.module:function"``, or an entry point of the group
        ``dpipe.writers``.

    Returns
    -------
    callable
        ``write(parts, to, **options)``.

    Raises
    ------
    UsageError
        There is none of that name (the nearest is suggested), it cannot be imported, or it is no
        writer.

    Examples
    --------
    >>> resolve("tiff").__name__
    'write_tiff'
    """
    if name in WRITERS:
        return WRITERS[name]
    entry = find("writer", name, WRITERS)
    if not callable(entry.value):
        raise UsageError(
            f"{entry.label}: found a {type(entry.value).__name__}; expected a function"
        )
    kinds = [parameter.kind for parameter in inspect.signature(entry.value).parameters.values()]
    by_place = [kind for kind in kinds if kind is not inspect.Parameter.KEYWORD_ONLY]
    if by_place != [inspect.Parameter.POSITIONAL_OR_KEYWORD] * 2:
        raise UsageError(f"{entry.label}: expected write(parts, to, *, options...)")
    write: Callable[..., list[str]] = entry.value
    return write


def _parts(data: xr.Dataset | xr.DataTree | Mapping[str, xr.Dataset]) -> dict[str, xr.Dataset]:
    if isinstance(data, xr.DataTree):
        children = {str(stem): child.to_dataset() for stem, child in data.children.items()}
        return children or _parts(data.to_dataset())
    if isinstance(data, xr.Dataset):
        return {str(data.attrs.get("stem", "data")): data}
    return {str(stem): ds for stem, ds in data.items()}
