"""The step of a coordinate, from its values and what it says of itself."""

from collections.abc import Mapping
from typing import Any

import numpy as np

SPACE_DIMS = ("z", "y", "x")
"""Dims of places."""


def step_of(values: Any, attrs: Mapping[Any, Any]) -> float:
    """Return the step of a coordinate: seconds along t, micrometres along z, y, x.

    Parameters
    ----------
    values : array, shape (n,)
        Its values.
    attrs : mapping
        Its attributes.

    Returns
    -------
    float
        ``attrs["spacing"]``, else the median step, else 1.

    Examples
    --------
    >>> step_of([0.0, 2.0, 4.0], {}), step_of([5.0], {"spacing": 0.5})
    (2.0, 0.5)
    """
    if "spacing" in attrs:
        return float(attrs["spacing"])
    values = np.asarray(values)
    return float(np.median(np.diff(values))) if values.size > 1 else 1.0
