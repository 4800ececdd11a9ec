"""Numbers of 64 bits, and of kinds that files do not hold, in a kind that they do, without loss.

Labels that others made are often int64. This module knows which kinds hold which values; it looks
at the values once, block by block, and changes none.
"""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from dpipe.compute import compute
from dpipe.errors import SchemaError


def narrowed(array: xr.DataArray, kinds: Sequence[str], title: str) -> xr.DataArray:
    """Return an array in a kind of number that a file holds.

    Parameters
    ----------
    array : xarray.DataArray
        Lazy or not.
    kinds : sequence of str
        The kinds that the file holds. Whole numbers of 64 bits become the widest unsigned kind
        among them, or the widest signed one if there are values below 0; bits become uint8, and
        float16 becomes float32.
    title : str
        What it is and which format, for messages.

    Returns
    -------
    xarray.DataArray
        The same values; as lazy as before.

    Raises
    ------
    SchemaError
        The file holds no such kind, or a value does not fit.
    """
    kind = array.dtype
    if kind.name in kinds:
        return array
    if kind.name in ("bool", "float16"):
        wider = "uint8" if kind.kind == "b" else "float32"
        if wider in kinds:
            return array.astype(wider)
    if kind.kind not in "ui" or kind.itemsize < 8:
        raise SchemaError(f"{title} holds no {kind}; convert {array.name!r} first")
    low, high = (0, 0) if not array.size else map(int, compute(array.min().data, array.max().data))
    for letter in "ui":
        whole = sorted(
            (np.dtype(name) for name in kinds if np.dtype(name).kind == letter),
            key=lambda dtype: -dtype.itemsize,
        )
        if whole and np.iinfo(whole[0]).min <= low and high <= np.iinfo(whole[0]).max:
            return array.astype(whole[0])
    raise SchemaError(f"{title} holds no {kind} from {low} to {high}; convert {array.name!r} first")
