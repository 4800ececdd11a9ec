"""OME-Zarr 0.5 containers, for programs that read those and know nothing of dpipe.

An image and the labels made from it, which lie in different parts of a store, become one
container here: the image's levels are the arrays ``0``, ``1``, ... and those of the labels
``labels/labels/0``, ... This module knows which array goes where; metadata come from ``ngff``,
bytes from ``containers``.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import xarray as xr

from dpipe import schema
from dpipe.errors import SchemaError, UsageError
from dpipe.formats.containers import write_tree
from dpipe.metadata import ngff
from dpipe.storage import chunking
from dpipe.writers.atomic import aside


def write_ome_zarr(
    parts: Mapping[str, xr.Dataset],
    to: str | os.PathLike[str],
    *,
    image: str = "image",
    levels: int | None = None,
) -> list[str]:
    """Write images, with their labels if they have any, as OME-Zarr 0.5.

    Parameters
    ----------
    parts : mapping of str to xarray.Dataset
        By stem; each holds the image, and may hold ``labels(t, z, y, x)`` of the same size.
    to : str or path
        Folder; it is made if need be. Each part becomes ``<stem>.ome.zarr`` in it, which must
        not be there yet; they get their names when all are whole.
    image : str
        Name of the variable; dims among t, c, z, y, x. ``"labels"`` writes labels alone.
    levels : int, optional
        Number of resolutions; by default so many that the lowest is at most 256 pixels long.

    Returns
    -------
    list of str
        Paths of the containers.

    Raises
    ------
    SchemaError
        A part has no such image, or labels that do not fit it.
    UsageError
        A container is there already, or `levels` is below 1.
    """
    if levels is not None and levels < 1:
        raise UsageError(f"levels={levels}: expected at least 1")
    folder = Path(to).expanduser().absolute()
    trees = [_describe(stem, ds, image, levels) for stem, ds in parts.items()]
    targets = [folder / f"{stem}.ome.zarr" for stem in parts]
    with aside(targets) as paths:
        for path, tree in zip(paths, trees, strict=True):
            write_tree(path, *tree)
    return [str(target) for target in targets]


def _describe(
    stem: str, ds: xr.Dataset, name: str, levels: int | None
) -> tuple[dict[str, schema.Attributes], list[tuple[str, xr.DataArray, int]]]:
    """Return the attributes of each group, and the arrays with their numbers of levels."""
    if name not in ds:
        variables = ", ".join(map(str, ds.data_vars)) or "none"
        raise SchemaError(f"{stem}: no variable {name!r} to write as an image. Found: {variables}")
    count = levels or chunking.level_count({str(dim): n for dim, n in ds[name].sizes.items()})
    if name == "labels":  # pyramids of labels are thinned, not averaged, and say so
        root = ngff.labels_attributes(ds, name, count, name=stem, source=None, path="{level}")
    else:
        root = ngff.image_attributes(ds, name, count, name=stem, path="{level}")
    times = _uneven_times(ds)
    attributes = {"": root | ({"dpipe": times} if times else {})}
    arrays = [("", ds[name], count)]
    if "labels" in ds and name != "labels":
        labels = schema.LABELS.check(ds)
        if any(labels.sizes[dim] != ds[name].sizes.get(dim, 1) for dim in labels.dims):
            raise SchemaError(
                f"{stem}: labels {dict(labels.sizes)} do not fit {name} {dict(ds[name].sizes)}"
            )
        attributes["labels"] = ngff.labels_group_attributes(["labels"])
        attributes["labels/labels"] = ngff.labels_attributes(
            ds, "labels", count, name="labels", source="../../", path="{level}"
        )
        arrays.append(("labels/labels", labels, count))
    return attributes, arrays


def _uneven_times(ds: xr.Dataset) -> dict[str, list[float]]:
    """Return the times of frames that are not evenly spaced: OME-Zarr has no place for them."""
    if "t" not in ds.coords or not ds["t"].size:
        return {}
    times = ds["t"].values.astype(float)
    even = times[0] + schema.spacing(ds, "t") * np.arange(len(times))
    return {} if np.allclose(times, even, rtol=0, atol=1e-9) else {"times": times.tolist()}
