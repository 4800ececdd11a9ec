"""Arrays of an OME-Zarr container, as images of five dims, and what a container lists.

Knows which array a level is and what it may hold; knows nothing of channels or labels.
"""

from typing import NamedTuple

import numpy as np
import xarray as xr

from dpipe import schema
from dpipe.errors import InputError
from dpipe.formats.containers import dimension_names, find_attributes, lazy_array, missing_chunks
from dpipe.metadata import ngff


class Pixels(NamedTuple):
    """An array with the dims (t, c, z, y, x).

    Attributes
    ----------
    array : xarray.DataArray
        Lazy.
    facts : MovieFacts
        Its places and times.
    holes : str
        Which of its chunks are not there, "" none.
    """

    array: xr.DataArray
    facts: schema.MovieFacts
    holes: str


def listed(uri: str, group: str, key: str) -> list[str]:
    """Return the paths that a group lists; none where there is no such group."""
    attributes = find_attributes(uri, group)
    return [] if attributes is None else ngff.names(attributes, key)


def open_level(
    uri: str,
    path: str,
    image: ngff.Multiscale,
    level: int,
    *,
    fill: bool,
    named: bool = False,
) -> Pixels:
    """Open the array of a level.

    Parameters
    ----------
    uri, path : str
        The container, and the image in it.
    image : ngff.Multiscale
        What its metadata say.
    level : int
        Which.
    fill : bool
        Whether missing chunks hold the fill value.
    named : bool
        Whether a person has named the axes; else the array's own names must not contradict.

    Raises
    ------
    InputError
        No such level or array, values that are no numbers, axes in two orders, or missing chunks
        that are not to be filled.
    """
    if not 0 <= level < len(image.levels):
        raise InputError(f"no level {level}; the image has levels 0 to {len(image.levels) - 1}")
    place = f"{path}/{image.levels[level].path}".strip("/")
    array = lazy_array(uri, place, fill_missing=fill)
    facts = ngff.coords(image, level, array.shape)
    dims_named = [name.lower() for name in dimension_names(uri, place)]
    if not named and dims_named != list(image.axes) and sorted(dims_named) == sorted(image.axes):
        raise InputError(
            f"array {place!r} calls its dims {', '.join(dims_named)}, "
            f"its image {', '.join(image.axes)}; "
            "say which they are, as in option axes=czyx"
        )
    if array.dtype.kind not in "uifb" or array.dtype.itemsize > 8 or 0 in array.shape:
        raise InputError(f"pixels are {array.dtype} {array.shape}; expected integers or floats")
    holes = missing_chunks(uri, place, fill_missing=fill)
    if holes and not fill:
        raise InputError(f"array {place!r}: {holes}")
    array = array.astype(np.uint8) if array.dtype.kind == "b" else array
    pixels = xr.DataArray(array, dims=image.axes)
    missing = [dim for dim in schema.MOVIE_DIMS if dim not in image.axes]
    pixels = pixels.expand_dims(missing).transpose(*schema.MOVIE_DIMS)
    return Pixels(pixels, facts, holes.partition(";")[0])


def look_at(
    uri: str, path: str, image: ngff.Multiscale, level: int
) -> tuple[tuple[int, ...], schema.MovieFacts, np.dtype]:
    """Return the size of a level along t, c, z, y, x, where it lies, and its dtype."""
    array = lazy_array(uri, f"{path}/{image.levels[level].path}".strip("/"))
    facts = ngff.coords(image, level, array.shape)
    sizes = dict(zip(image.axes, array.shape, strict=True))
    return tuple(int(sizes.get(dim, 1)) for dim in schema.MOVIE_DIMS), facts, array.dtype
