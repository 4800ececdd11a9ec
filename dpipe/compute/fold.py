"""Tables of millions of rows folded into few numbers.

Each block of rows becomes one array of sums, and sums are merged sixteen at a time, so that never
more than a few blocks are in memory, however many there are.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

from dpipe.compute.devices import chosen_device, to_device, to_host
from dpipe.errors import SchemaError

_AT_ONCE = 16


def fold(
    kernel: Callable[..., Any],
    merge: Callable[[Any], Any],
    rows: xr.DataArray,
    *,
    dim: str,
    sizes: Mapping[str, int],
    dtype: np.dtype | str = "f8",
) -> xr.DataArray:
    """Fold an array along a dim by sums that can be merged.

    Parameters
    ----------
    kernel : callable
        ``kernel(block)`` gets some rows, `dim` first and the other dims whole, and returns an
        array of the shape ``tuple(sizes.values())``.
    merge : callable
        ``merge(several)`` gets several such arrays stacked along the first axis and returns one.
    rows : xarray.DataArray
        Lazy or not.
    dim : str
        The dim that is folded.
    sizes : mapping of str to int
        Dims and sizes of the result.
    dtype : numpy.dtype or str
        Of the result.

    Returns
    -------
    xarray.DataArray
        Lazy, over the dims of `sizes`.
    """
    if dim not in rows.dims:
        raise SchemaError(f"to fold along {dim!r}; found the dims {tuple(rows.dims)}")
    ordered = rows.transpose(dim, ...)
    data = ordered.data if isinstance(ordered.data, da.Array) else da.from_array(ordered.data)
    data = data.rechunk(dict.fromkeys(range(1, data.ndim), -1))
    shape, kind = tuple(sizes.values()), np.dtype(dtype)
    run = partial(_run, shape=shape, dtype=kind, name=chosen_device())
    sums = _each_block(partial(run, function=kernel), data, shape, kind)
    while sums.shape[0] > 1:
        sums = _each_block(partial(run, function=merge), sums.rechunk({0: _AT_ONCE}), shape, kind)
    return xr.DataArray(sums[0], dims=tuple(sizes))


def _each_block(
    run: Callable[..., np.ndarray],
    data: da.Array,
    shape: tuple[int, ...],
    dtype: np.dtype,
) -> da.Array:
    """Turn each block into one entry along the first axis."""
    return da.blockwise(
        run,
        (0, *(-1 - i for i in range(len(shape)))),
        data,
        tuple(range(data.ndim)),
        new_axes={-1 - i: n for i, n in enumerate(shape)},
        adjust_chunks={0: (1,) * data.numblocks[0]},
        concatenate=True,
        dtype=dtype,
        meta=np.empty((0,) * (1 + len(shape)), dtype),
    )


def _run(
    block: np.ndarray,
    *,
    function: Callable[[Any], Any],
    shape: tuple[int, ...],
    dtype: np.dtype,
    name: str,
) -> np.ndarray:
    result = to_host(function(to_device(block, name)))
    if result.shape != shape:
        raise ValueError(f"the kernel gave an array of {result.shape}; expected {shape}")
    return result.astype(dtype, copy=False)[None]
