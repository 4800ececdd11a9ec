"""Whether a part that an older version of a reader made is what this version would make.

Where a reader changed for some odd files only, the parts of all others stay as they are.
"""

from collections.abc import Callable

import numpy as np
import xarray as xr

from dpipe import compute

_LARGEST = 64 << 20
"""Bytes of a table that is read to be compared."""
_SOFT = ("float", "int")
_READ_NOW = ("no dataset image", "image of shape", "label of shape")


def same_places(sealed: xr.Dataset, fresh: Callable[[], xr.Dataset]) -> bool:
    """Tell whether dims, dtypes and all coordinates are the same; pixels are not looked at."""
    now = fresh()
    return (
        {str(n): (v.dims, v.shape, v.dtype) for n, v in sealed.data_vars.items()}
        == {str(n): (v.dims, v.shape, v.dtype) for n, v in now.data_vars.items()}
        and sealed.coords.keys() == now.coords.keys()
        and all(_same(sealed[name], now[name]) for name in now.coords)
    )


def same_values(sealed: xr.Dataset, fresh: Callable[[], xr.Dataset]) -> bool:
    """Tell whether a table says the same, notes and all."""
    now = fresh()
    sealed_attrs = {key: value for key, value in sealed.attrs.items() if key != "stem"}
    if sealed.variables.keys() != now.variables.keys() or compute.source_bytes(now) > _LARGEST:
        return False
    plain = {key: _listed(value) for key, value in now.attrs.items() if key != "stem"}
    alike = plain == {key: _listed(value) for key, value in sealed_attrs.items()}
    return alike and all(_same(sealed[name], now[name]) for name in now.variables)


def sound_masks(sealed: xr.Dataset, _: Callable[[], xr.Dataset]) -> bool:
    """Tell whether a collection has no mask, and no picture put aside, that is judged anew."""
    kinds = {str(kind) for kind in np.asarray(sealed["mask_dtype"].values).tolist()}
    reasons = {str(reason) for reason in np.asarray(sealed["put_aside"].values).tolist()}
    return not any(kind.startswith(_SOFT) for kind in kinds) and not any(
        reason.startswith(_READ_NOW) for reason in reasons
    )


def _same(sealed: xr.DataArray, fresh: xr.DataArray) -> bool:
    if sealed.dims != fresh.dims or sealed.shape != fresh.shape:
        return False
    first, second = (np.asarray(compute.blocks.compute(array.data)[0]) for array in (sealed, fresh))
    if first.dtype.kind in "OUT" or second.dtype.kind in "OUT":
        same = first.tolist() == second.tolist()
    else:
        nan = first.dtype.kind == second.dtype.kind == "f"
        same = np.array_equal(first, second, equal_nan=nan)
    spacing = (sealed.attrs.get("spacing"), fresh.attrs.get("spacing"))
    return (
        same and spacing[0] == spacing[1] and sealed.attrs.get("units") == fresh.attrs.get("units")
    )


def _listed(value: object) -> object:
    return list(value) if isinstance(value, list | tuple | np.ndarray) else value
