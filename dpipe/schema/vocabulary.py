"""Every variable by its name, whichever file of the vocabulary holds it."""

from typing import Any

import xarray as xr

from dpipe.schema import (
    annotations,
    collections,
    crops,
    events,
    features,
    groups,
    movies,
    pictures,
    surfaces,
    tables,
    tracks,
)
from dpipe.schema.variable import Variable

_FILES = (
    annotations,
    crops,
    features,
    groups,
    collections,
    pictures,
    surfaces,
    tables,
    movies,
    tracks,
    events,
)


def _values() -> list[Any]:
    return [value for file in _FILES for value in vars(file).values()]


VARIABLES: dict[str, Variable] = {
    value.name: value
    for value in (*_values(), *movies.MOVIE_NORMALISED.values())
    if isinstance(value, Variable)
}
"""Every variable by name."""


def named(array: xr.DataArray) -> Variable | None:
    """Return the variable of an array by its name; None for a name of somebody's own.

    Parameters
    ----------
    array : xarray.DataArray
        Its name and dims are looked at: ``image`` is another thing over ``record``.

    Examples
    --------
    >>> array = xr.DataArray([[[[0]]]], dims=collections.PICTURE_DIMS, name="image")
    >>> named(array).meaning
    'pictures of one size'
    """
    variables = collections.OF_COLLECTIONS | features.OF_TABLES if "record" in array.dims else {}
    return variables.get(str(array.name), VARIABLES.get(str(array.name)))
