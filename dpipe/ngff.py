"""OME-Zarr metadata, 0.5 (and 0.4 when reading), to and from dims, coordinates and scale.

Scale and translation follow dpipe's one convention: ``world = translation + index * scale`` is
the *centre* of a voxel, in micrometres and seconds. A level of a pyramid whose pixels are means
of ``n x n`` pixels has its first centre ``(n - 1) / 2`` pixels further in; many writers leave
that translation out, so reading takes what is written and no more.

This module turns Datasets into dicts of attributes and back, checked by the models of
ome-zarr-models. It does no I/O and knows nothing of Zarr, stores or blocks.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from ome_zarr_models.common.omero import Omero
from ome_zarr_models.v04.multiscales import Multiscale as Multiscale04
from ome_zarr_models.v05.axes import Axis
from ome_zarr_models.v05.image import ImageAttrs
from ome_zarr_models.v05.image_label import ImageLabelAttrs
from ome_zarr_models.v05.labels import LabelsAttrs
from ome_zarr_models.v05.multiscales import Dataset as Level05
from ome_zarr_models.v05.multiscales import Multiscale as Multiscale05
from pydantic import ValidationError

from dpipe import schema
from dpipe.errors import InputError, SchemaError

VERSION = "0.5"
PALETTE = ("00FF00", "FF00FF", "00FFFF", "FFFF00", "FF0000", "0000FF", "FFFFFF")
"""Display colours of channels that have none, if there are several; a single one is white."""

_TYPES = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}
_UNITS = {"t": "second", "c": None, "z": "micrometer", "y": "micrometer", "x": "micrometer"}
_HALVED = ("y", "x")
_SECONDS = {"nanosecond": 1e-9, "microsecond": 1e-6, "millisecond": 1e-3, "ms": 1e-3}
_SECONDS |= {"second": 1.0, "s": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86400.0}
_MICROMETRES = {"angstrom": 1e-4, "picometer": 1e-6, "nanometer": 1e-3, "nm": 1e-3}
_MICROMETRES |= dict.fromkeys(("micrometer", "micron", "um", "\u00b5m", "\u03bcm"), 1.0)
_MICROMETRES |= {"millimeter": 1e3, "mm": 1e3, "centimeter": 1e4, "meter": 1e6, "inch": 25400.0}


class Level(NamedTuple):
    """One resolution: path of its array, step along each axis, centre of the first voxel."""

    path: str
    scale: tuple[float, ...]
    translation: tuple[float, ...]


@dataclass(frozen=True)
class Multiscale:
    """One image of a group, in dpipe's units.

    Attributes
    ----------
    name : str
        What the file calls it, or ``""``.
    version : str
        ``"0.4"`` or ``"0.5"``.
    axes : tuple of str
        Names among t, c, z, y, x, in the order of the arrays' dimensions.
    types, units : tuple of str or None
        What the file says of each axis; `levels` are already converted.
    levels : tuple of Level
        From the highest resolution to the lowest.
    """

    name: str
    version: str
    axes: tuple[str, ...]
    types: tuple[str | None, ...]
    units: tuple[str | None, ...]
    levels: tuple[Level, ...]


def image_attributes(
    ds: xr.Dataset,
    variable: str,
    levels: int,
    *,
    name: str,
    factor: int = 2,
    method: str = "mean of 2x2 pixels",
    path: str = "{level}/{variable}",
) -> dict[str, Any]:
    """Describe an image pyramid: the attributes of its group.

    Parameters
    ----------
    ds : xarray.Dataset
        Holds the variable and its coordinates. ``ds["c"].attrs["windows"]`` may give one
        mapping a channel with ``start`` and ``end`` (and ``min``, ``max``) for display.
    variable : str
        Name of the variable; its dims are among t, c, z, y, x, in that order.
    levels : int
        Number of resolutions. At level k, y and x are divided by ``factor ** k``.
    name : str
        Name of the image.
    factor : int
        Ratio of one level to the next along y and x.
    method : str
        How a level was made of the one before; it is written down.
    path : str
        Where the array of a level lies; ``{level}`` and ``{variable}`` are filled in.

    Returns
    -------
    dict
        ``{"ome": {...}}``, OME-Zarr 0.5; ``omero`` is there if the variable has channels.

    Raises
    ------
    SchemaError
        Dims that OME-Zarr cannot express, or a step that is not above 0.

    Examples
    --------
    >>> ds = schema.movie(np.zeros((1, 1, 1, 4, 4), "u1"), spacing=(2, 0.5, 0.5))
    >>> level = image_attributes(ds, "image", 2, name="a")["ome"]["multiscales"][0]["datasets"][1]
    >>> level["path"], level["coordinateTransformations"][0]["scale"]
    ('1/image', [1.0, 1.0, 2.0, 1.0, 1.0])
    >>> level["coordinateTransformations"][1]["translation"]
    [0.0, 0.0, 0.0, 0.25, 0.25]
    """
    array = _image(ds, variable)
    pyramid = _pyramid(
        array, levels, factor=factor, name=name, kind="local_mean", method=method, path=path
    )
    said: dict[str, Any] = {"version": VERSION, "multiscales": [pyramid]}
    if "c" in array.dims:
        said["omero"] = _omero(ds, array)
        Omero.model_validate(said["omero"])
    return {"ome": _checked(ImageAttrs, said)}


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
) -> dict[str, Any]:
    """Describe a pyramid of labels: the attributes of its group.

    Parameters
    ----------
    ds, variable, levels, name, factor, method, path
        As for `image_attributes`.
    source : str or None
        Relative path from this group to that of the image that was labelled.

    Returns
    -------
    dict
        ``{"ome": {...}}`` with ``image-label``.

    Raises
    ------
    SchemaError
        As for `image_attributes`, or the labels are not integers.
    """
    array = _image(ds, variable)
    if array.dtype.kind not in "ui":
        raise SchemaError(f"labels {variable!r} are {array.dtype}; expected an integer")
    pyramid = _pyramid(
        array, levels, factor=factor, name=name, kind="nearest", method=method, path=path
    )
    label: dict[str, Any] = {} if source is None else {"source": {"image": source}}
    said = {"version": VERSION, "multiscales": [pyramid], "image-label": label}
    return {"ome": _checked(ImageLabelAttrs, said)}


def labels_group_attributes(names: Sequence[str]) -> dict[str, Any]:
    """Describe the group ``labels`` of an image: it lists the groups of labels in it."""
    return {"ome": _checked(LabelsAttrs, {"version": VERSION, "labels": list(names)})}


def read(attributes: Mapping[str, Any]) -> list[Multiscale]:
    """Read what the attributes of a group say of its images.

    Parameters
    ----------
    attributes : mapping
        Of a Zarr group: 0.5 (below ``ome``) or 0.4.

    Returns
    -------
    list of Multiscale
        Scale and translation in micrometres and seconds, with those that hold for all levels
        (0.4 and 0.5 allow both) multiplied in. A length or time without a unit is taken to be
        in micrometres or seconds.

    Raises
    ------
    InputError
        No image, several images (a plate, a well, a bioformats2raw layout), another version,
        or metadata that breaks the specification.
    """
    said, version = _said(attributes)
    if "multiscales" not in said:
        raise InputError(_instead(said))
    model = Multiscale05 if version == VERSION else Multiscale04
    images = said["multiscales"]
    if not isinstance(images, Sequence) or not images:
        raise InputError("OME-Zarr: 'multiscales' is not a list of images; the file is damaged")
    try:
        checked = [model.model_validate(image) for image in images]
    except ValidationError as error:
        raise InputError(f"OME-Zarr {version}: {_first(error)}") from error
    return [_multiscale(image, version) for image in checked]


def coords(ms: Multiscale, level: int, shape: Sequence[int]) -> dict[str, Any]:
    """Return the places and times of one level, as arguments of `schema.movie`.

    Parameters
    ----------
    ms : Multiscale
        An image.
    level : int
        Which resolution, 0 the highest.
    shape : sequence of int
        Of the array of that level, in the order of ``ms.axes``.

    Returns
    -------
    dict
        ``spacing`` and ``origin`` (z, y, x; micrometres), ``times`` and ``interval`` (seconds).
        An axis that is not there gets spacing 1 and origin 0.

    Raises
    ------
    InputError
        No such level, or the array has another number of dimensions.
    """
    if not 0 <= level < len(ms.levels):
        raise InputError(f"no level {level}; the image has levels 0 to {len(ms.levels) - 1}")
    if len(shape) != len(ms.axes):
        raise InputError(
            f"array {ms.levels[level].path!r} has {len(shape)} dimensions; "
            f"the metadata names {len(ms.axes)} axes ({', '.join(ms.axes)})"
        )
    scale = dict(zip(ms.axes, ms.levels[level].scale, strict=True))
    start = dict(zip(ms.axes, ms.levels[level].translation, strict=True))
    frames = dict(zip(ms.axes, shape, strict=True)).get("t", 1)
    return {
        "spacing": tuple(scale.get(dim, 1.0) for dim in schema.SPACE_DIMS),
        "origin": tuple(start.get(dim, 0.0) for dim in schema.SPACE_DIMS),
        "times": start.get("t", 0.0) + scale.get("t", 1.0) * np.arange(frames),
        "interval": scale.get("t", 1.0),
    }


def channels(
    attributes: Mapping[str, Any],
) -> tuple[list[str] | None, list[str] | None, list[dict[str, float]] | None]:
    """Read names, colours and display windows of the channels.

    Parameters
    ----------
    attributes : mapping
        Of the group of an image.

    Returns
    -------
    labels, colors, windows : lists or None
        One entry a channel; None if the file says nothing. A colour that is not six hex digits
        becomes white; windows are given only if every channel has a whole one.
    """
    said, _ = _said(attributes)
    omero = said.get("omero")
    listed = omero.get("channels") if isinstance(omero, Mapping) else None
    if not isinstance(listed, Sequence) or not all(isinstance(c, Mapping) for c in listed):
        return None, None, None
    if not listed:
        return None, None, None
    labels = [str(c.get("label", "")) for c in listed]
    colors = [_color(c.get("color")) for c in listed]
    windows = [_window(c.get("window")) for c in listed]
    whole = [window for window in windows if window is not None]
    return (
        labels if any(labels) else None,
        [color or "FFFFFF" for color in colors] if any(colors) else None,
        whole if len(whole) == len(windows) else None,
    )


def names(attributes: Mapping[str, Any], key: str) -> list[str]:
    """Read a list of paths: key ``labels`` of the group labels, ``series`` of the group OME."""
    listed = _said(attributes)[0].get(key, [])
    return [str(name) for name in listed] if isinstance(listed, list) else []


def _image(ds: xr.Dataset, variable: str) -> xr.DataArray:
    if variable not in ds:
        found = ", ".join(map(str, ds.data_vars)) or "none"
        raise SchemaError(f"no variable {variable!r}. Found: {found}")
    array = ds[variable]
    expected = tuple(dim for dim in schema.MOVIE_DIMS if dim in array.dims)
    if array.dims != expected or not set(_HALVED) <= set(expected):
        raise SchemaError(
            f"{variable!r} has dims ({', '.join(map(str, array.dims))}); OME-Zarr holds y, x and "
            "any of t, c, z, in the order t, c, z, y, x"
        )
    return array


def _pyramid(
    array: xr.DataArray, levels: int, *, factor: int, name: str, kind: str, method: str, path: str
) -> dict[str, Any]:
    """Build one entry of ``multiscales``."""
    dims = [str(dim) for dim in array.dims]
    step = {dim: 1.0 if dim == "c" else _step(array, dim) for dim in dims}
    start = {dim: 0.0 if dim == "c" else _start(array, dim) for dim in dims}
    datasets = []
    for level in range(levels):
        ratio = {dim: factor**level if dim in _HALVED else 1 for dim in dims}
        datasets.append(
            Level05.build(
                path=path.format(level=level, variable=array.name),
                scale=[step[dim] * ratio[dim] for dim in dims],
                translation=[start[dim] + (ratio[dim] - 1) / 2 * step[dim] for dim in dims],
            )
        )
    axes = [Axis(name=dim, type=_TYPES[dim], unit=_UNITS[dim]) for dim in dims]
    pyramid = Multiscale05(
        axes=axes,
        datasets=tuple(datasets),
        name=name,
        type=kind,
        metadata={"method": method, "factor": factor},
    )
    return pyramid.model_dump(mode="json", exclude_none=True)


def _step(array: xr.DataArray, dim: str) -> float:
    step = schema.spacing(array, dim)
    if not (np.isfinite(step) and step > 0):
        raise SchemaError(f"step along {dim} is {step:g}; expected more than 0")
    return step


def _start(array: xr.DataArray, dim: str) -> float:
    return float(array[dim].values[0]) if dim in array.coords and array.sizes[dim] else 0.0


def _omero(ds: xr.Dataset, array: xr.DataArray) -> dict[str, Any]:
    count = array.sizes["c"]
    names = [str(n) for n in ds["c"].values] if "c" in ds.coords else map(str, range(count))
    if "channel_color" in ds.coords:
        colors = [str(color) for color in ds["channel_color"].values]
    else:
        colors = [PALETTE[i % len(PALETTE)] for i in range(count)] if count > 1 else ["FFFFFF"]
    full = _range(array.dtype)
    windows = array["c"].attrs.get("windows") if "c" in array.coords else None
    if windows is None or len(windows) != count:
        windows = [{}] * count
    listed = [
        {"label": name, "color": color, "active": True, "window": full | _numbers(window, full)}
        for name, color, window in zip(names, colors, windows, strict=True)
    ]
    rdefs = {
        "defaultT": 0,
        "defaultZ": array.sizes.get("z", 1) // 2,
        "model": "color" if count > 1 else "greyscale",
    }
    return {"channels": listed, "rdefs": rdefs}


def _numbers(window: Mapping[str, Any], full: Mapping[str, float]) -> dict[str, float]:
    return {key: float(window[key]) for key in full if key in window}


def _range(dtype: np.dtype) -> dict[str, float]:
    """Return the window that shows all that a dtype can hold; floats are taken as 0 to 1."""
    low, high = (np.iinfo(dtype).min, np.iinfo(dtype).max) if dtype.kind in "ui" else (0, 1)
    return {"min": float(low), "max": float(high), "start": float(low), "end": float(high)}


def _checked(model: type[Any], said: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return model.model_validate(said).model_dump(mode="json", by_alias=True, exclude_none=True)
    except ValidationError as error:
        raise SchemaError(f"OME-Zarr {VERSION} cannot hold this: {_first(error)}") from error


def _first(error: ValidationError) -> str:
    """Make one line of the first complaint of a model."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    text = " ".join(first["msg"].removeprefix("Value error, ").split())
    return f"{place}: {text}" if place else text


def _said(attributes: Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
    """Return the OME metadata of a group and its version."""
    if "ome" in attributes:
        said = attributes["ome"]
        if not isinstance(said, Mapping):
            raise InputError("OME-Zarr: attribute 'ome' is not an object; the file is damaged")
        version = str(said.get("version", VERSION))
    else:
        said = attributes
        images = said.get("multiscales")
        first = images[0] if isinstance(images, Sequence) and images else {}
        version = str(first.get("version", "0.4")) if isinstance(first, Mapping) else "0.4"
    for known in ("0.4", "0.5"):
        if version == known or version.startswith(known + "-"):
            return said, known
    raise InputError(f"OME-Zarr version {version}; dpipe reads 0.4 and 0.5")


def _instead(said: Mapping[str, Any]) -> str:
    """Say what a group holds that is no image."""
    if "plate" in said:
        wells = said["plate"].get("wells", []) if isinstance(said["plate"], Mapping) else []
        return (
            f"this is a plate of {len(wells)} wells, not one image; open one field by its path, "
            "for example image='A/1/0'"
        )
    if "well" in said:
        return "this is a well, not one image; open one field by its path, for example image='0'"
    if "bioformats2raw.layout" in said:
        return (
            "several images are inside (bioformats2raw.layout); open one by its path, "
            "for example image='0'"
        )
    found = ", ".join(sorted(map(str, said))) or "nothing"
    return f"no OME-Zarr image: no 'multiscales' in the group's attributes. Found: {found}"


def _multiscale(image: Any, version: str) -> Multiscale:
    names = tuple(_axis(axis) for axis in image.axes)
    if len(set(names)) != len(names) or not set(_HALVED) <= set(names):
        raise InputError(f"OME-Zarr axes ({', '.join(names)}); dpipe needs y, x, each axis once")
    factors = [_factor(name, axis.unit) for name, axis in zip(names, image.axes, strict=True)]
    scale_all, shift_all = _transforms(image.coordinateTransformations or (), len(names))
    levels = []
    for dataset in image.datasets:
        scale, shift = _transforms(dataset.coordinateTransformations, len(names))
        levels.append(
            Level(
                dataset.path,
                tuple(f * a * s for f, a, s in zip(factors, scale_all, scale, strict=True)),
                tuple(
                    f * (a * s + b)
                    for f, a, b, s in zip(factors, scale_all, shift_all, shift, strict=True)
                ),
            )
        )
    for name, step in zip(names, levels[0].scale, strict=True):
        if not (np.isfinite(step) and step > 0):
            raise InputError(f"OME-Zarr scale along {name} is {step:g}; expected more than 0")
    return Multiscale(
        name=str(image.name or ""),
        version=version,
        axes=names,
        types=tuple(axis.type for axis in image.axes),
        units=tuple(None if axis.unit is None else str(axis.unit) for axis in image.axes),
        levels=tuple(levels),
    )


def _axis(axis: Any) -> str:
    """Return dpipe's name of an axis: its own in lower case, else by its type."""
    name = str(axis.name or "").lower()
    if name in schema.MOVIE_DIMS:
        return name
    by_type = {"time": "t", "channel": "c"}.get(str(axis.type))
    if by_type is None:
        raise InputError(f"OME-Zarr axis {axis.name!r}; dpipe reads t, c, z, y, x")
    return by_type


def _factor(name: str, unit: Any) -> float:
    """Return what one unit is in micrometres or seconds."""
    if name == "c" or unit in (None, "", "pixel", "frame"):
        return 1.0
    known = _SECONDS if name == "t" else _MICROMETRES
    if str(unit) not in known:
        raise InputError(f"OME-Zarr unit {unit!r} of axis {name}; known are {', '.join(known)}")
    return known[str(unit)]


def _transforms(transforms: Sequence[Any], ndim: int) -> tuple[list[float], list[float]]:
    scale, shift = [1.0] * ndim, [0.0] * ndim
    for transform in transforms:
        value = getattr(transform, transform.type, None)
        if not isinstance(value, list):
            raise InputError(
                f"OME-Zarr {transform.type} is kept in an array of its own; dpipe reads numbers"
            )
        if transform.type == "scale":
            scale = value
        else:
            shift = value
    return scale, shift


def _color(color: Any) -> str | None:
    found = re.fullmatch(r"#?([0-9A-Fa-f]{6})", str(color))
    return found[1] if found else None


def _window(window: Any) -> dict[str, float] | None:
    keys = ("min", "max", "start", "end")
    if not isinstance(window, Mapping):
        return None
    values = [window.get(key) for key in keys]
    if not all(isinstance(value, int | float) for value in values):
        return None
    return {key: float(window[key]) for key in keys}
