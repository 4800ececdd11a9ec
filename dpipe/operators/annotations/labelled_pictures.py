"""Pictures with their label images, one after another: of packed collections and of movies."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from dpipe import schema
from dpipe.errors import SchemaError
from dpipe.operators.pictures.packed import channels, pieces, planes


@dataclass(frozen=True)
class LabelledPicture:
    """A picture with its label image.

    Attributes
    ----------
    key : str
        The coordinate that says which picture it is: ``file``, or ``frame`` of a movie.
    name : object
        Its value.
    record : int
        Place of the picture in its collection, or its frame.
    labels : numpy.ndarray, shape (height * width,)
        Its label image.
    shape : tuple of int
        Height and width.
    pixels : numpy.ndarray or None, shape (channel, height, width)
        Its pixels.
    """

    key: str
    name: Any
    record: int
    labels: np.ndarray
    shape: tuple[int, int]
    pixels: np.ndarray | None

    def told(self) -> tuple[str, Any]:
        """Return which picture it is."""
        return self.key, self.name


def channels_of(ds: xr.Dataset) -> list[str]:
    """Return the names of the channels; none where there are no pixels."""
    if "labels" in ds:
        return channels(ds) if "image" in ds else []
    return channels(ds) if "pixels" in ds else []


def labelled(ds: xr.Dataset, labels: xr.Dataset | None = None) -> Iterator[LabelledPicture]:
    """Yield the pictures of a collection or a movie, a block or a frame in memory at a time.

    Parameters
    ----------
    ds : xarray.Dataset
        A packed collection with ``label_pixels``, or a movie of one plane with ``labels``.
    labels : xarray.Dataset, optional
        What holds the label images of the collection, where `ds` has only pixels.

    Raises
    ------
    SchemaError
        No labels, labels of other pictures, or a movie of several planes.
    """
    return _of_movie(ds) if "labels" in ds else _of_collection(ds, labels)


def _of_collection(ds: xr.Dataset, labels: xr.Dataset | None) -> Iterator[LabelledPicture]:
    masks = ds if labels is None else labels
    schema.LABEL_PIXELS.check(masks)
    for name in ("in_block", "offset", "height", "width"):
        if not np.array_equal(ds[name].values, masks[name].values):
            raise SchemaError(f"the labels are of other pictures: {name} differs")
    names = ds["file"].values if "file" in ds.coords else np.arange(ds.sizes["record"])
    blocks = np.asarray(ds["in_block"].values)
    total = ds.sizes["c"]
    for block in np.unique(blocks):
        records = np.flatnonzero(blocks == block)
        row = np.ascontiguousarray(masks["label_pixels"].sel(block=block).values)
        pixels = ds["pixels"].sel(block=block).values if "pixels" in ds else None
        table = [np.asarray(ds[name].values)[records] for name in ("offset", "height", "width")]
        for record, (place, shape) in zip(records.tolist(), pieces(*table), strict=True):
            if place.stop > place.start:
                picture = None if pixels is None else planes(pixels, place, shape, total)
                yield LabelledPicture("file", names[record], record, row[place], shape, picture)


def _of_movie(ds: xr.Dataset) -> Iterator[LabelledPicture]:
    labels = schema.LABELS.check(ds)
    if labels.sizes["z"] != 1:
        raise SchemaError(
            f"labels of {labels.sizes['z']} planes; objects are measured in one: select it by "
            "isel(z=[...])"
        )
    image = schema.IMAGE.check(ds) if "image" in ds else None
    shape = (labels.sizes["y"], labels.sizes["x"])
    for t in range(labels.sizes["t"]):
        row = np.ascontiguousarray(labels[t, 0].values.reshape(-1))
        picture = None if image is None else image[t, :, 0].values
        yield LabelledPicture("frame", t, t, row, shape, picture)
