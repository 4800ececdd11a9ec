"""OME-Zarr containers, 0.1 to 0.6, as lazy movies: folders, buckets, and zips of them.

This module knows how files are grouped into containers, and which arrays of a container make a
movie. What the metadata mean stands in ``ngff``, how foreign Zarr is read in ``containers``, which
labels go along in ``labels``.
"""

import hashlib
import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from dpipe import schema
from dpipe.errors import InputError, UsageError
from dpipe.formats.containers import find_attributes, folders_below, groups_inside, read_attributes
from dpipe.metadata import ngff, ngff_channels
from dpipe.readers.ome_zarr.arrays import Pixels, listed, open_level
from dpipe.readers.ome_zarr.labels import Grid, with_labels
from dpipe.sources import Item, Part, list_items, resolve_uri, stem_of, urls_of

SUFFIXES = (".ome.zarr", ".zarr")
PACKED = (".ome.zarr.zip", ".zarr.zip", ".ozx", ".zarr.tar", ".zip", ".tar")
_ZIPPED = (".zarr.zip", ".ozx")
_ARCHIVES = (".zip", ".ozx", ".tar")
_FETCHED = ("https:", "http:", "zenodo:")
_METADATA = ("zarr.json", ".zgroup", ".zattrs")
_MOST_NAMED = 20


def find(items: Iterable[Item]) -> Iterator[Part]:
    """Group files into parts: each outermost folder that ends in ``.zarr`` is one.

    A zip or tar that was named as a source is a container if it holds a Zarr group at its root,
    else its outermost folders with one are; one that lies in a folder is looked into if its name
    ends in ``.zarr.zip`` or ``.ozx``.

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
    every = list(itertools.chain.from_iterable(map(_unpacked, items)))
    roots = _roots_in_archives(every)
    groups: dict[str, list[Item]] = {}
    for item in every:
        container = _container(item.uri, roots)
        if container is not None:
            groups.setdefault(container, []).append(item)
    for container, group in groups.items():
        told = sorted((item.uri.removeprefix(container), item.size, item.etag) for item in group)
        digest = hashlib.sha256(repr(told).encode()).hexdigest()
        path = container.rpartition("/")[2]
        stamps = "".join(item.stamp for item in group)
        stamp = hashlib.sha256(stamps.encode()).hexdigest()[:16] if stamps else ""
        whole = Item(container, path, sum(i.size for i in group), digest, stamp=stamp)
        yield Part(stem_of(container, (*SUFFIXES, *PACKED)), (whole,))


def open_ome_zarr(
    url: str | os.PathLike[str] | Sequence[str],
    *,
    level: int = 0,
    image: str | int | None = None,
    multiscale: str | int | None = None,
    labels: str | int | None = None,
    background: int = 0,
    fill_missing: bool = False,
    axes: str | None = None,
    unit: str | None = None,
    time_unit: str | None = None,
    system: str | None = None,
) -> xr.Dataset:
    """Open an OME-Zarr image as a lazy movie; no pixel is read.

    Parameters
    ----------
    url : str, path, or sequence of one
        The container: a folder, ``s3://...``, ``memory://...``, or a zip that holds one.
    level : int
        Resolution level, 0 the finest.
    image : str or int, optional
        Path of the image in a container that holds several, for example ``"0"``, or ``"A/1/0"``
        in a plate.
    multiscale : str or int, optional
        Name or number (from 0) of the image, where one group describes several.
    labels : str or int, optional
        Name of the labels to read along as ``labels(t, z, y, x)``; with a slash their path in
        the container. By default those of the image, if there are just one and they are integers
        of its size at the same place; ``"none"`` reads none. Labels that are named may be floats of
        whole numbers and may say another place, which is noted. Of their levels that of the
        image's size is taken.
    background : int
        The value of labels that means no object, 0 or below: ``-1`` in labels of some programs.
        It is read as 0. Any other value below 0 is an error on computing.
    fill_missing : bool
        Read chunks that are not there as the fill value, as Zarr does; how many there are is
        noted. By default they are an error, since one that was lost looks the same.
    axes : str, optional
        Names of the axes in their order, over what the file says, for example ``"czyx"``.
    unit, time_unit : str, optional
        Units of lengths and of times, over what the file says.
    system : str, optional
        Name of the coordinate system, where the metadata lead to several; ``"none"`` takes the
        image without transformations that hold for all levels.

    Returns
    -------
    xarray.Dataset
        ``image(t, c, z, y, x)`` of the container's own dtype (bits become uint8), in blocks that
        are its shards or chunks. Axes that are not there are 1 long. What the file does not say
        is listed in ``attrs["assumed"]``, what is left out or odd in ``attrs["notes"]``.

    Raises
    ------
    InputError
        No OME-Zarr, a version that is not known, several images inside, no such level or labels,
        labels of another shape, metadata that cannot be read, missing chunks.
    UsageError
        Several containers, or none; an option that is none.
    """
    uri, how = _one(url), ngff.Reading(*map(_text, (axes, unit, time_unit, system)))
    for option, value in {"level": level, "background": background}.items():
        if type(value) is not int:
            raise UsageError(f"{option}={value!r}: expected a whole number")
    if background > 0:
        raise UsageError(f"background={background}: expected 0 or below; other numbers are objects")
    name, choice = _called(uri), _text(labels)
    try:
        uri = _root(uri)
        path, attributes = _image(uri, (_text(image) or "").strip("/"))
        chosen = _chosen(ngff.read(attributes, how), multiscale)
        pixels = open_level(uri, path, chosen, level, fill=fill_missing, named=axes is not None)
        ds = _movie(pixels, attributes, chosen)
        ds = _with_the_rest_said(ds, uri, path, choice)
        if choice in ("", ngff.NONE):
            return ds
        grid = Grid(uri, path, level, how, fill_missing, background)
        return with_labels(ds, grid, choice)
    except InputError as error:
        text = str(error).removeprefix(f"{uri}: ")
        raise InputError(f"{name}: {text}") from error


def _called(uri: str) -> str:
    """Return the name of a container in messages: its folder, in an archive from that on."""
    parent = (_archive(uri) or uri).rpartition("/")[0]
    return uri.removeprefix(f"{parent}/")


def _text(option: Any) -> str | None:
    """Return an option as text: on the command line ``image=0`` is a number."""
    return None if option is None else str(option)


def _with_the_rest_said(ds: xr.Dataset, uri: str, path: str, labels: str | None) -> xr.Dataset:
    """Name what lies beside the image and is not read with it."""
    try:
        beside = {"tables": listed(uri, f"{path}/tables".strip("/"), "tables")}
    except InputError:
        beside = {"tables": ["tables"]}  # whatever they are
    spatial = path.startswith("images/")  # SpatialData keeps labels apart from images
    if spatial and labels is None:
        beside["labels"] = [f"labels/{name}" for name in folders_below(uri, "labels")]
    lines = [
        f"{kind} left out: {', '.join(map(repr, names[:_MOST_NAMED]))}"
        + "; option labels=NAME reads one of them" * (kind == "labels")
        for kind, names in beside.items()
        if names
    ]
    return ds.assign_attrs(notes=[*ds.attrs.get("notes", ()), *lines]) if lines else ds


def _one(url: str | os.PathLike[str] | Sequence[str]) -> str:
    """Return the URI of the container."""
    uris = urls_of(url)
    if len(uris) != 1:
        raise UsageError(f"expected one folder ending in .zarr; found {len(uris)}")
    return resolve_uri(uris[0]).rstrip("/")


def _unpacked(item: Item) -> Iterable[Item]:
    """Return the files of a zipped container that lies among others; any other file as it is."""
    if not _is_zipped(item.uri):
        return [item]
    try:
        return list_items(item.uri)
    except UsageError:  # damaged, which opening will say
        return [item]


def _is_zipped(uri: str) -> bool:
    """Tell a zipped container by its name; one of a web server or a record would be fetched."""
    return uri.lower().endswith(_ZIPPED) and not uri.startswith(_FETCHED)


def _roots_in_archives(items: Sequence[Item]) -> set[str]:
    """Return the outermost folders with a Zarr group in each archive, it itself among them."""
    folders_of: dict[str, set[str]] = {}
    for item in items:
        folder, _, name = item.uri.rpartition("/")
        archive = _archive(item.uri)
        if archive is None:
            continue
        if archive == item.uri and _is_zipped(archive):
            folders_of.setdefault(archive, set()).add(archive)
        elif name in _METADATA:
            folders_of.setdefault(archive, set()).add(folder)
    roots = set()
    for folders in folders_of.values():
        roots |= {f for f in folders if not any(f.startswith(f"{other}/") for other in folders)}
    return roots


def _archive(uri: str) -> str | None:
    """Return the archive that a file lies in, or is, by its name."""
    names = uri.split("/")
    for i, name in enumerate(names):
        if name.lower().endswith(_ARCHIVES):
            return "/".join(names[: i + 1])
    return None


def _container(uri: str, roots: set[str]) -> str | None:
    """Return the outermost folder of a file, or a folder itself, that ends in ``.zarr``.

    In an archive it is the one of the roots.
    """
    names = uri.split("/")
    packed = _archive(uri) is not None
    for i, name in enumerate(names):
        place = "/".join(names[: i + 1])
        if place in roots:
            return place
        if not packed and name.lower().endswith(".zarr") and len(name) > len(".zarr"):
            return place
    return None


def _root(uri: str) -> str:
    """Return the container that an archive holds; anything else is one itself."""
    inside = groups_inside(uri)
    if len(inside) > 1:
        listed = ", ".join(inside[:_MOST_NAMED])
        raise InputError(f"{len(inside)} containers are inside; open one of them. Found: {listed}")
    return f"{uri}/{inside[0]}".rstrip("/") if inside else uri


def _chosen(images: Sequence[ngff.Multiscale], choice: str | int | None) -> ngff.Multiscale:
    """Return the image of a group that describes several."""
    if choice is None and len(images) == 1:
        return images[0]
    if isinstance(choice, str):
        named = [image for image in images if image.name == choice]
        choice = int(choice) if not named and choice.isdecimal() else choice
        if named:
            return named[0]
    if isinstance(choice, int) and 0 <= choice < len(images):
        return images[choice]
    listed = ", ".join(f"{i} {image.name!r}" for i, image in enumerate(images[:_MOST_NAMED]))
    asked = (
        "open one with option multiscale=NUMBER" if choice is None else f"no multiscale {choice!r}"
    )
    raise InputError(f"{len(images)} images in one group; {asked}. Found: {listed}")


def _image(uri: str, path: str) -> tuple[str, schema.Attributes]:
    """Return path and attributes of the image: the one named, or the only one."""
    attributes = read_attributes(uri, path)
    metadata = attributes.get("ome", attributes)
    if (
        path
        or not isinstance(metadata, Mapping)
        or "multiscales" in metadata
        or "plate" in metadata
    ):
        return path, attributes
    if "spatialdata_attrs" in attributes:
        inside = [f"images/{name}" for name in folders_below(uri, "images")]
        if not inside:
            raise InputError("a SpatialData container without images")
    elif "bioformats2raw.layout" in metadata:
        inside = listed(uri, "OME", "series") or list(_counted(uri))
    else:
        return path, attributes
    if len(inside) > 1:
        named = ", ".join(inside[:_MOST_NAMED])
        raise InputError(
            f"{len(inside)} images are inside; open one with option image=PATH. Found: {named}"
        )
    return (inside or ["0"])[0], read_attributes(uri, (inside or ["0"])[0])


def _counted(uri: str) -> Iterator[str]:
    """Yield the paths of images that nobody lists: by the rule they are counted from 0."""
    for number in itertools.count():
        if find_attributes(uri, str(number)) is None:
            return
        yield str(number)


def _movie(
    pixels: Pixels,
    attributes: Mapping[str, Any],
    image: ngff.Multiscale,
) -> xr.Dataset:
    array, facts = pixels.array, pixels.facts.copy()
    count = array.sizes["c"]
    names, colors, windows = ngff_channels.channels(attributes)
    if names is not None and len(names) != count:
        names = None  # no way to tell which is which
    colors = None if colors is not None and len(colors) != count else colors
    windows = None if windows is not None and len(windows) != count else windows
    if names is not None:
        names = [name or str(i) for i, name in enumerate(names)]
    times, odd = _exact_times(attributes, array.sizes["t"])
    if times is not None:
        facts["times"] = times
    sizes = {str(dim): n for dim, n in array.sizes.items()}
    filled = f"{pixels.holes}; read as the fill value"
    described = {
        "name": image.name if image.name.strip("/") else "",
        "assumed": [
            *ngff.assumed(image, sizes),
            *ngff_channels.channel_notes(attributes, count),
            *odd,
        ],
        "notes": [*image.notes, *([filled] if pixels.holes else [])],
    }
    attrs: schema.Attributes = {"format": "ome-zarr", "format_version": image.version}
    attrs |= {key: value for key, value in described.items() if value}
    attrs |= {"resolution_levels": len(image.levels)}
    facts["attrs"] = attrs
    if names is not None:
        facts["channels"] = names
    if colors is not None:
        facts["colors"] = colors
    ds = schema.movie(array, **facts)
    if windows is not None:
        ds["c"].attrs["windows"] = windows
    return ds


def _exact_times(attributes: Mapping[str, Any], frames: int) -> tuple[np.ndarray | None, list[str]]:
    """Return the times that dpipe's writer adds where frames are not evenly spaced."""
    extension = attributes.get("dpipe")
    times_listed = extension.get("times") if isinstance(extension, Mapping) else None
    if times_listed is None:
        return None, []
    numbers = isinstance(times_listed, list) and all(
        type(time) in (int, float) for time in times_listed
    )
    times = (
        np.asarray(times_listed, float) if numbers and len(times_listed) == frames else np.empty(0)
    )
    if len(times) == frames and np.isfinite(times).all() and (np.diff(times) > 0).all():
        return times, []
    return None, [f"times that dpipe wrote are left out: expected {frames} that increase"]
