"""How a sealed part is opened: from its seal alone, without a further request."""

import base64

import xarray as xr

from dpipe.catalog.seals import Named, Seal, named
from dpipe.errors import UsageError
from dpipe.storage import Objects, zarr


def open_sealed(objects: Objects, seal: Seal, level: int = 0) -> xr.Dataset:
    """Open a part lazily, with no further request.

    Parameters
    ----------
    objects : Objects
        The store.
    seal : Seal
        The part's seal.
    level : int
        Level of the pyramid; only 0 for a plain part.

    Returns
    -------
    xarray.Dataset
        Its Dask chunks are shards; ``attrs["stem"]`` is its stem.

    Raises
    ------
    UsageError
        There is no such level.
    """
    group = str(level) if seal.levels else ""
    if (seal.levels and group not in seal.levels) or (not seal.levels and level):
        levels = ", ".join(seal.levels) or "0"
        raise UsageError(f"{seal.stem}: no level {level}; levels there: {levels}")
    prefix = f"{group}/" if group else ""
    inline = {
        key: base64.b64decode(text) for key, text in seal.inline.items() if key.startswith(prefix)
    }
    ds = zarr.open_group(objects.url, seal.path, seal.documents, inline, group)
    ds.attrs["stem"] = seal.stem
    return ds


def open_named(objects: Objects, ref: Named, level: int = 0) -> xr.Dataset:
    """Open a part as a version names it; of a part without levels, `level` means nothing.

    Parameters
    ----------
    objects : Objects
        The store.
    ref : PartRef
        What the version says of it.
    level : int
        Level of the pyramid.

    Returns
    -------
    xarray.Dataset
        As `open_sealed` gives it.
    """
    (seal,) = named(objects, [ref])
    return open_sealed(objects, seal, level if seal.levels else 0)
