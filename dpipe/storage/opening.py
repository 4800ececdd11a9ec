"""Opening a sealed part: its documents become a lazy Dataset."""

from collections.abc import Mapping
from typing import Any

import xarray as xr

from dpipe.storage import coordinates
from dpipe.storage.lazy_arrays import StoredArray
from dpipe.storage.zarr_documents import stored


def open_group(
    url: str,
    part: str,
    documents: Mapping[str, Any],
    inline: Mapping[str, bytes],
    group: str = "",
) -> xr.Dataset:
    """Open one group of a sealed part, lazily, without a request.

    Parameters
    ----------
    url : str
        The store.
    part : str
        Key prefix of the part.
    documents : mapping of str to dict
        Its ``zarr.json`` documents, parsed, as the seal holds them.
    inline : mapping of str to bytes
        Its coordinate objects.
    group : str
        ``"0"`` for level 0 of an image, ``""`` for a plain part.

    Returns
    -------
    xarray.Dataset
        Dask chunks are shards, ``encoding["chunks"]`` what is decoded at once; coordinates are
        loaded.
    """
    prefix = f"{group}/" if group else ""
    objects: dict[str, dict[str, bytes]] = {}
    for key, data in inline.items():
        if key.startswith(prefix):
            name, _, inner = key.removeprefix(prefix).partition("/")
            objects.setdefault(name, {})[inner] = data
    variables: dict[str, xr.Variable] = {}
    coords: set[str] = set()
    for key, document in documents.items():
        name, _, last = key.removeprefix(prefix).partition("/")
        if not key.startswith(prefix) or last != "zarr.json" or document["node_type"] != "array":
            continue
        described = dict(document.get("attributes", {}))
        dims = tuple(document.get("dimension_names") or ())
        coords |= {name} & set(dims)
        coords |= set(str(described.pop("coordinates", "")).split())
        where = f"{part}/{prefix}{name}"
        data = _values(url, where, document, objects.get(name, {}), prefix + name)
        variables[name] = xr.Variable(dims, data, described, _cuts(document), fastpath=True)
    attrs = dict(documents[f"{prefix}zarr.json"].get("attributes", {}))
    attrs.pop("ome", None)
    lazy = {name: variable for name, variable in variables.items() if name not in coords}
    loaded = {name: variable for name, variable in variables.items() if name in coords}
    return xr.Dataset(lazy, loaded, attrs)


def _values(
    url: str, where: str, document: Mapping[str, Any], objects: Mapping[str, bytes], path: str
) -> Any:
    """Return an array as a Dataset holds it: decoded from its objects, or lazy."""
    values = coordinates.decode(document, objects, f"{url}/{where}") if objects else None
    if values is not None:
        return values
    inline = tuple((f"{path}/{key}", data) for key, data in objects.items())
    source = StoredArray(url, where, stored(document), inline, path)
    return source.load() if objects or 0 in document["shape"] else source.lazy()


def _cuts(metadata: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return how an array is cut, by the names that xarray has for it."""
    outer = tuple(metadata["chunk_grid"]["configuration"]["chunk_shape"])
    first = metadata["codecs"][0]
    if first["name"] != "sharding_indexed":
        return {"chunks": outer}
    return {"chunks": tuple(first["configuration"]["chunk_shape"]), "shards": outer}
