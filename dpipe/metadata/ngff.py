"""OME-Zarr metadata, 0.5 (and 0.1 to 0.6 when reading), to and from dims, coordinates and scale.

Scale and translation follow dpipe's one convention: ``world = translation + index * scale`` is
the *centre* of a voxel, in micrometres and seconds. A level of a pyramid whose pixels are means
of ``n x n`` pixels has its first centre ``(n - 1) / 2`` pixels further in; many writers leave
that translation out, so reading takes what is written and no more.

This module turns Datasets into dicts of attributes, checked by the models of ome-zarr-models, and
back; how others write them stands in ``ngff_reading``. It does no I/O and knows nothing of Zarr,
stores or blocks.
"""

import json
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, TypedDict

import numpy as np
import xarray as xr
from ome_zarr_models.common.omero import Omero
from ome_zarr_models.v05.image import ImageAttrs
from ome_zarr_models.v05.image_label import ImageLabelAttrs
from ome_zarr_models.v05.labels import LabelsAttrs
from pydantic import ValidationError

from dpipe import schema
from dpipe.errors import InputError, SchemaError
from dpipe.metadata.ngff_channels import omero
from dpipe.metadata.ngff_reading import (
    NONE,
    Level,
    Multiscale,
    Reading,
    assumed,
    multiscale,
    version_of,
)

__all__ = [
    "NONE",
    "VERSION",
    "Level",
    "Multiscale",
    "Reading",
    "assumed",
    "coords",
    "image_attributes",
    "labels_attributes",
    "labels_group_attributes",
    "names",
    "read",
]

VERSION = "0.5"
_TYPES = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}
_UNITS = {"t": "second", "z": "micrometer", "y": "micrometer", "x": "micrometer"}


class _Axis(TypedDict):
    """An axis of an image, by the names of OME-Zarr."""

    name: str
    type: str
    unit: str | None


class _Transformation(TypedDict, total=False):
    """A scale or a translation, one number an axis."""

    type: str
    scale: list[float]
    translation: list[float]


class _Dataset(TypedDict):
    """A level: the path of its array, and its place in the world."""

    path: str
    coordinateTransformations: list[_Transformation]


class _Pyramid(TypedDict, total=False):
    """An entry of ``multiscales``."""

    axes: list[_Axis]
    datasets: list[_Dataset]
    name: str
    type: str
    metadata: dict[str, str]


class _ImageAttrs(ImageAttrs):
    omero: Omero | None = None


def image_attributes(
    ds: xr.Dataset,
    variable: str,
    levels: int,
    *,
    name: str,
    factor: int = 2,
    method: str = "mean of 2x2 pixels",
    path: str = "{level}/{variable}",
) -> schema.Attributes:
    """Describe an image pyramid: the attributes of its group.

    Parameters
    ----------
    ds : xarray.Dataset
        Holds the variable and its coordinates; ``ds["c"].attrs["windows"]`` may hold one
        pair (start, end) a channel, the grey values between which it is shown.
    variable : str
        Name of the variable; its dims are among t, c, z, y, x, in that order.
    levels : int
        Number of resolutions. At level k, y and x are divided by ``factor ** k``.
    name, method : str
        Name of the image, and how a level was made of the one before; both are written down.
    factor : int
        Ratio of one level to the next along y and x.
    path : str
        Where the array of a level lies; ``{level}`` and ``{variable}`` are filled in.

    Returns
    -------
    dict
        ``{"ome": {...}}``, OME-Zarr 0.5; ``omero`` is there if the variable has channels.

    Raises
    ------
    SchemaError
        Dims that OME-Zarr cannot hold, or a step that is not above 0.

    Examples
    --------
    >>> ds = schema.movie(np.zeros((1, 1, 1, 4, 4), "u1"), spacing=(2, 0.5, 0.5))
    >>> level = image_attributes(ds, "image", 2, name="a")["ome"]["multiscales"][0]["datasets"][1]
    >>> level["path"], [list(t.values())[1] for t in level["coordinateTransformations"]]
    ('1/image', [[1.0, 1.0, 2.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.25, 0.25]])
    """
    array = _image(ds, variable)
    pyramid = _pyramid(array, levels, factor, path)
    alike = "name" if name.isprintable() else name  # any text is a name: checked once for all
    pyramid |= {"name": alike, "type": "local_mean", "metadata": {"method": method}}
    channel_block = {"omero": omero(ds, array)} if "c" in array.dims else {}
    checked = _checked(_ImageAttrs, {"multiscales": [pyramid], **channel_block})
    checked["ome"]["multiscales"][0]["name"] = name
    return checked


def labels_attributes(
    ds: xr.Dataset,
    variable: str,
    levels: int,
    *,
    name: str,
    source: str | None,
    factor: int = 2,
    method: str = "first of 2x2 pixels",
    path: str = "{level}/{variable}",
) -> schema.Attributes:
    """Describe a pyramid of labels, which must be integers: like `image_attributes`.

    Parameters
    ----------
    ds, variable, levels, name, factor, method, path
        As there.
    source : str or None
        Relative path from this group to that of the image that was labelled.

    Returns
    -------
    dict
        ``{"ome": {...}}`` with ``image-label``.
    """
    array = _image(ds, variable)
    if array.dtype.kind not in "ui":
        raise SchemaError(f"labels {variable!r} are {array.dtype}; expected an integer")
    pyramid = _pyramid(array, levels, factor, path)
    pyramid |= {"name": name, "type": "nearest", "metadata": {"method": method}}
    label = {} if source is None else {"source": {"image": source}}
    return _checked(ImageLabelAttrs, {"multiscales": [pyramid], "image-label": label})


def labels_group_attributes(names: Sequence[str]) -> schema.Attributes:
    """Describe the group ``labels`` of an image: it lists the groups of labels in it."""
    return _checked(LabelsAttrs, {"labels": list(names)})


def read(attributes: Mapping[str, Any], how: Reading | None = None) -> list[Multiscale]:
    """Read the images that the attributes of a group describe.

    Parameters
    ----------
    attributes : mapping
        Of a Zarr group: 0.5 and 0.6 (below ``ome``), or older.
    how : Reading, optional
        What a person says over the file, and which coordinate system is meant.

    Returns
    -------
    list of Multiscale
        Transformations that hold for all levels are multiplied in. What the file does not say is
        1 micrometre or second, and stands in ``unsaid``.

    Raises
    ------
    InputError
        No image or several (plate, well, bioformats2raw), or metadata that cannot be read.
    UsageError
        A unit, axes or coordinate system that there are not.
    """
    metadata, version = version_of(attributes)
    if "multiscales" not in metadata:
        raise InputError(_instead(metadata))
    images = metadata["multiscales"]
    if not isinstance(images, list) or not images:
        raise InputError("OME-Zarr: 'multiscales' is not a list of images; the file is damaged")
    try:
        return [multiscale(image, version, how or Reading()) for image in images]
    except InputError as error:
        raise InputError(f"OME-Zarr {version}: {error}") from error


def coords(ms: Multiscale, level: int, shape: Sequence[int]) -> schema.MovieFacts:
    """Return the places and times of one level.

    Parameters
    ----------
    ms, level : Multiscale, int
        An image, and which of its resolutions, 0 the highest.
    shape : sequence of int
        Of the array of that level, in the order of ``ms.axes``.

    Returns
    -------
    MovieFacts
        ``spacing``, ``origin``, ``times`` and ``interval``; 1 and 0 for an axis that is not there.

    Raises
    ------
    InputError
        No such level, or the array has another number of dimensions.
    """
    if not 0 <= level < len(ms.levels):
        raise InputError(f"no level {level}; the image has levels 0 to {len(ms.levels) - 1}")
    if len(shape) != len(ms.axes):
        axes, path = ", ".join(ms.axes), ms.levels[level].path
        raise InputError(f"array {path[:60]!r} has {len(shape)} dimensions; expected ({axes})")
    scale = dict(zip(ms.axes, ms.levels[level].scale, strict=True))
    start = dict(zip(ms.axes, ms.levels[level].translation, strict=True))
    sizes = dict(zip(ms.axes, shape, strict=True))
    for dim, step in scale.items():
        if not math.isfinite(start[dim] + step * sizes[dim]):
            raise InputError(f"a scale of {step:g} leads beyond all numbers along {dim}")
    frames, interval = sizes.get("t", 1), scale.get("t", 1.0)
    return {
        "spacing": tuple(scale.get(dim, 1.0) for dim in schema.SPACE_DIMS),
        "origin": tuple(start.get(dim, 0.0) for dim in schema.SPACE_DIMS),
        "times": start.get("t", 0.0) + interval * np.arange(frames),
        "interval": interval,
    }


def names(attributes: Mapping[str, Any], key: str) -> list[str]:
    """Read a list of paths: key ``labels`` of the group labels, ``series`` of the group OME."""
    listed = version_of(attributes)[0].get(key, [])
    if not isinstance(listed, list):
        raise InputError(f"{key!r} is {str(listed)[:40]!r}; expected a list of names")
    return [str(name) for name in listed]


def _image(ds: xr.Dataset, variable: str) -> xr.DataArray:
    if variable not in ds:
        variables = ", ".join(map(str, ds.data_vars)) or "none"
        raise SchemaError(f"no variable {variable!r}. Found: {variables}")
    array = ds[variable]
    if array.dims[-2:] != ("y", "x") or array.dims != tuple(d for d in _TYPES if d in array.dims):
        raise SchemaError(
            f"{variable!r} has dims ({', '.join(map(str, array.dims))}); OME-Zarr holds y, x and "
            "any of t, c, z, in the order t, c, z, y, x"
        )
    return array


def _pyramid(array: xr.DataArray, levels: int, factor: int, path: str) -> _Pyramid:
    """Build axes and datasets of one entry of ``multiscales``."""
    dims = [str(dim) for dim in array.dims]
    step = {dim: 1.0 if dim == "c" else schema.spacing(array, dim) for dim in dims}
    start = dict.fromkeys(dims, 0.0)
    for dim, value in step.items():
        if not (np.isfinite(value) and value > 0):
            raise SchemaError(f"step along {dim} is {value:g}; expected more than 0")
        if dim != "c" and dim in array.coords and array.sizes[dim]:
            start[dim] = float(array[dim].values[0])
        if not np.isfinite(start[dim]):
            raise SchemaError(f"{dim} begins at {start[dim]}; expected a number")
    datasets = list[_Dataset]()
    for level in range(levels):
        ratio = {dim: factor**level if dim in ("y", "x") else 1 for dim in dims}
        scale = [step[dim] * ratio[dim] for dim in dims]
        translation = [start[dim] + (ratio[dim] - 1) / 2 * step[dim] for dim in dims]
        datasets.append(
            {
                "path": path.format(level=level, variable=array.name),
                "coordinateTransformations": [
                    {"type": "scale", "scale": scale},
                    {"type": "translation", "translation": translation},
                ],
            }
        )
    axes: list[_Axis] = [
        {"name": dim, "type": _TYPES[dim], "unit": _UNITS.get(dim)} for dim in dims
    ]
    return {"axes": axes, "datasets": datasets}


def _checked(model: Any, metadata: Mapping[str, Any]) -> schema.Attributes:
    return {"ome": json.loads(_validated(model, json.dumps({"version": VERSION, **metadata})))}


@lru_cache(maxsize=64)
def _validated(model: Any, text: str) -> str:
    """Return metadata as the model has them; movies of one microscope often say the same."""
    try:
        checked = model.model_validate_json(text)
    except ValidationError as error:
        raise SchemaError(f"OME-Zarr {VERSION} cannot hold this: {_first(error)}") from error
    return str(checked.model_dump_json(by_alias=True, exclude_none=True))


def _first(error: ValidationError) -> str:
    """Make one line of the first complaint of a model."""
    first = error.errors()[0]
    text = " ".join(first["msg"].removeprefix("Value error, ").split())
    return ": ".join(filter(None, (".".join(str(part) for part in first["loc"]), text)))


def _instead(metadata: Mapping[str, Any]) -> str:
    """Name the contents of a group that is no image."""
    kinds = {"plate": "a plate", "well": "a well", "bioformats2raw.layout": "several images"}
    for key, kind in kinds.items():
        if key in metadata:
            field = "A/1/0" if key == "plate" else "0"
            return (
                f"found {kind} ({key}), not one image; open one of them with option image={field}"
            )
    keys = ", ".join(sorted(map(str, metadata))) or "nothing"
    return f"no OME-Zarr image: no 'multiscales' in the group's attributes. Found: {keys}"
