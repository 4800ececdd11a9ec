"""A dataset in napari: pixels stay lazy, the pyramid and the voxel size come along.

Needs the extra ``view``. This module knows nothing of how datasets are made.
"""

import importlib
import importlib.util
from typing import NotRequired, TypedDict

import xarray as xr

from dpipe import catalog, schema
from dpipe.catalog import opening, seals
from dpipe.errors import UsageError


class Layer(TypedDict):
    """A layer of napari: arguments of ``add_image`` or ``add_labels``, and which of the two."""

    kind: str
    name: str | list[str]
    data: list[object]
    multiscale: bool
    scale: list[float | None]
    translate: list[float]
    channel_axis: NotRequired[int]
    colormap: NotRequired[list[str]]


def layers(store: str, name: str, part: str | None = None) -> list[Layer]:
    """Return the layers that show a part in napari.

    Parameters
    ----------
    store : str
        A store.
    name : str
        A dataset or version with pixels.
    part : str, optional
        Which part; by default the first.

    Returns
    -------
    list of Layer
        ``kind`` is ``"image"`` or ``"labels"``; ``data`` are the levels, lazy.

    Raises
    ------
    UsageError
        The part holds no pixels.
    """
    objects = catalog.open_store(store)
    version = catalog.resolve(objects, name)
    ref = version.part(part) if part else version.parts[0]
    (sealed,) = seals.named(objects, [ref])
    levels = [opening.open_sealed(objects, sealed, int(level)) for level in sealed.levels]
    if not levels:
        raise UsageError(f"{version.label}/{ref.stem}: holds no pixels; view shows images")
    return [_layer(levels, str(variable), ref.stem) for variable in levels[0].data_vars]


def _layer(levels: list[xr.Dataset], variable: str, stem: str) -> Layer:
    arrays = [level[variable] for level in levels if variable in level]
    dims = [str(dim) for dim in arrays[0].dims]
    shown = [dim for dim in dims if dim != "c"]
    places = [dim for dim in shown if dim in schema.SPACE_DIMS]
    layer: Layer = {
        "kind": "labels" if variable == "labels" else "image",
        "name": stem,
        "data": [array.data for array in arrays],
        "multiscale": True,
        "scale": [schema.spacing(levels[0], dim) if dim in places else 1.0 for dim in shown],
        "translate": [float(levels[0][dim][0]) if dim in places else 0.0 for dim in shown],
    }
    if "c" in dims:
        layer["channel_axis"] = dims.index("c")
        layer["name"] = [f"{stem} {channel}" for channel in levels[0]["c"].values]
        if "channel_color" in levels[0].coords:
            layer["colormap"] = [f"#{color}" for color in levels[0]["channel_color"].values]
    return layer


def view(store: str, name: str, part: str | None = None) -> None:
    """Open a part in napari, and wait until its window is closed.

    Parameters
    ----------
    store : str
        A store.
    name : str
        A dataset or version with pixels.
    part : str, optional
        Which part; by default the first.

    Raises
    ------
    UsageError
        napari is not installed, or the part holds no pixels.
    """
    shown = layers(store, name, part)
    if importlib.util.find_spec("napari") is None:
        raise UsageError("view: napari is not installed; pip install 'dpipe[view]'")
    napari = importlib.import_module("napari")
    viewer = napari.Viewer(title=name)
    for layer in shown:
        arguments = {name: value for name, value in layer.items() if name != "kind"}
        getattr(viewer, f"add_{layer['kind']}")(**arguments)
    napari.run()
