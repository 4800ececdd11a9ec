"""OME-Zarr containers, 0.4 and 0.5, as lazy movies.

This module knows how files are grouped into containers, and which arrays of a container make a
movie. What the metadata mean stands in ``ngff``, how foreign Zarr is read in ``containers``.
"""

import hashlib
import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from dpipe import ngff, schema
from dpipe.containers import lazy_array, read_attributes
from dpipe.errors import InputError, UsageError
from dpipe.sources import Item, Part, resolve_uri, stem_of

SUFFIXES = (".ome.zarr", ".zarr")


def find(items: Iterable[Item]) -> Iterator[Part]:
    """Group files into parts: each outermost folder that ends in ``.zarr`` is one.

    Parameters
    ----------
    items : iterable of Item
        Files; those outside of such a folder are passed over.

    Yields
    ------
    Part
        One a container, named after its folder, in the order in which their first files come. Its
        one item is the folder: the size is that of all its files, the etag a digest of theirs.

    Examples
    --------
    >>> names = ["a.ome.zarr/zarr.json", "a.ome.zarr/0/c/0/0", "b.txt"]
    >>> items = [Item(f"/raw/{name}", name, 9, "0") for name in names]
    >>> [(part.stem, part.items[0].uri, part.items[0].size) for part in find(items)]
    [('a', '/raw/a.ome.zarr', 18)]
    """
    groups: dict[str, list[Item]] = {}
    for item in items:
        container = _container(item.uri)
        if container is not None:
            groups.setdefault(container, []).append(item)
    for container, group in groups.items():
        told = sorted((item.uri.removeprefix(container), item.size, item.etag) for item in group)
        digest = hashlib.sha256(repr(told).encode()).hexdigest()
        path = container.rpartition("/")[2]
        whole = Item(container, path, sum(item.size for item in group), digest)
        yield Part(stem_of(container, SUFFIXES), (whole,))


def open_ome_zarr(
    url: str | os.PathLike[str] | Sequence[str],
    *,
    level: int = 0,
    image: str | None = None,
    labels: str | None = None,
) -> xr.Dataset:
    """Open an OME-Zarr image as a lazy movie; no pixel is read.

    Parameters
    ----------
    url : str, path, or sequence of one
        The container: a folder, ``s3://...`` or ``memory://...``.
    level : int
        Resolution level, 0 the finest.
    image : str, optional
        Path of the image in a container that holds several, for example ``"0"``, or ``"A/1/0"``
        in a plate.
    labels : str, optional
        Name of the labels to read along as ``labels(t, z, y, x)``. By default those that the
        container has, if there are just one and they fit the image; ``""`` reads none.

    Returns
    -------
    xarray.Dataset
        ``image(t, c, z, y, x)`` of the container's own dtype (bits become uint8), in blocks that
        are its shards or chunks. Axes that are not there are 1 long.

    Raises
    ------
    InputError
        No OME-Zarr, a version other than 0.4 or 0.5, several images inside, no such level or
        labels, or labels of another shape.
    UsageError
        Several containers, or none.
    """
    uri = _one(url)
    try:
        path, attributes = _image(uri, (image or "").strip("/"))
        (found, *more) = ngff.read(attributes)
        if more:
            raise InputError(f"{len(more) + 1} images in one group; dpipe reads one")
        pixels, said = _level(uri, path, found, level)
        ds = _movie(pixels, said, attributes, found)
        return ds if labels == "" else ds.merge(_labels(uri, path, labels, level, ds))
    except InputError as error:
        text = str(error).removeprefix(f"{uri}: ")
        raise InputError(f"{uri.rpartition('/')[2]}: {text}") from error


def _one(url: str | os.PathLike[str] | Sequence[str]) -> str:
    """Return the URI of the container."""
    given = [url] if isinstance(url, str | os.PathLike) else list(url)
    if len(given) != 1:
        raise UsageError(f"expected one folder ending in .zarr; found {len(given)}")
    return resolve_uri(os.fspath(given[0])).rstrip("/")


def _container(uri: str) -> str | None:
    """Return the outermost folder of a file, or a folder itself, that ends in ``.zarr``."""
    names = uri.split("/")
    for i, name in enumerate(names):
        if name.lower().endswith(".zarr") and len(name) > len(".zarr"):
            return "/".join(names[: i + 1])
    return None


def _image(uri: str, path: str) -> tuple[str, dict[str, Any]]:
    """Return path and attributes of the image: the one named, or the only one."""
    attributes = read_attributes(uri, path)
    said = attributes.get("ome", attributes)
    if path or not isinstance(said, Mapping) or "multiscales" in said or "plate" in said:
        return path, attributes
    if "bioformats2raw.layout" not in said:
        return path, attributes
    inside = _listed(uri, "OME", "series") or list(_counted(uri))
    if len(inside) > 1:
        listed = ", ".join(inside[:20])
        raise InputError(f"{len(inside)} images are inside; open one with image=. Found: {listed}")
    return (inside or ["0"])[0], read_attributes(uri, (inside or ["0"])[0])


def _listed(uri: str, group: str, key: str) -> list[str]:
    """Return the paths that a group lists; none where there is no such group."""
    try:
        return ngff.names(read_attributes(uri, group), key)
    except InputError:
        return []


def _counted(uri: str) -> Iterator[str]:
    """Yield the paths of images that nobody lists: by the rule they are counted from 0."""
    for number in itertools.count():
        try:
            read_attributes(uri, str(number))
        except InputError:
            return
        yield str(number)


def _level(
    uri: str, path: str, found: ngff.Multiscale, level: int
) -> tuple[xr.DataArray, dict[str, Any]]:
    """Open the array of a level with the dims (t, c, z, y, x), and say where it lies."""
    if not 0 <= level < len(found.levels):
        raise InputError(f"no level {level}; the image has levels 0 to {len(found.levels) - 1}")
    array = lazy_array(uri, f"{path}/{found.levels[level].path}".strip("/"))
    said = ngff.coords(found, level, array.shape)
    if array.dtype.kind not in "uifb" or array.dtype.itemsize > 8 or 0 in array.shape:
        raise InputError(f"pixels are {array.dtype} {array.shape}; expected integers or floats")
    array = array.astype("u1") if array.dtype.kind == "b" else array
    pixels = xr.DataArray(array, dims=found.axes)
    missing = [dim for dim in schema.MOVIE_DIMS if dim not in found.axes]
    return pixels.expand_dims(missing).transpose(*schema.MOVIE_DIMS), said


def _movie(
    pixels: xr.DataArray,
    said: dict[str, Any],
    attributes: Mapping[str, Any],
    found: ngff.Multiscale,
) -> xr.Dataset:
    names, colors, windows = ngff.channels(attributes)
    if names is not None and len(names) != pixels.sizes["c"]:
        names = colors = windows = None  # no way to tell which is which
    if names is not None:
        names = [name or str(i) for i, name in enumerate(names)]
    attrs: dict[str, Any] = {"format": "ome-zarr", "format_version": found.version}
    attrs |= {"name": found.name} if found.name.strip("/") else {}
    attrs |= {"resolution_levels": len(found.levels)}
    times = _exact_times(attributes, pixels.sizes["t"])
    said |= {} if times is None else {"times": times}
    ds = schema.movie(pixels, channels=names, colors=colors, attrs=attrs, **said)
    if windows is not None:
        ds["c"].attrs["windows"] = windows
    return ds


def _exact_times(attributes: Mapping[str, Any], frames: int) -> np.ndarray | None:
    """Return the times that dpipe's writer adds where frames are not evenly spaced."""
    own = attributes.get("dpipe")
    times = own.get("times") if isinstance(own, Mapping) else None
    if not isinstance(times, list) or len(times) != frames:
        return None
    if not all(isinstance(time, int | float) for time in times):
        return None
    return np.asarray(times, float)


def _labels(uri: str, path: str, name: str | None, level: int, ds: xr.Dataset) -> xr.Dataset:
    """Read labels of the image: those named, or the only ones if they fit."""
    base = f"{path}/labels".strip("/")
    names = _listed(uri, base, "labels")
    if name is None and len(names) != 1:
        return xr.Dataset()
    if name is not None and name not in names:
        raise InputError(f"no labels {name!r}. Found: {', '.join(names) or 'none'}")
    wanted = name or names[0]
    (found, *_) = ngff.read(read_attributes(uri, f"{base}/{wanted}"))
    array, _ = _level(uri, f"{base}/{wanted}", found, level)
    expected = tuple(1 if dim == "c" else ds.sizes[dim] for dim in schema.MOVIE_DIMS)
    if array.shape != expected or array.dtype.kind not in "ui":
        if name is None:
            return xr.Dataset()
        raise InputError(
            f"labels {wanted!r} are {array.dtype} {array.shape}; expected integers {expected}"
        )
    labels = array.isel(c=0, drop=True).astype(f"u{array.dtype.itemsize}")
    coords = {dim: ds.coords[dim] for dim in schema.LABELS.dims}
    return xr.Dataset(schema.LABELS.wrap(labels.assign_coords(coords)))
