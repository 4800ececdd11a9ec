"""Kernels over whole blocks of packed pictures: a block becomes one array, laid out or not.

Beside ``records``: there a picture becomes a row, here all pictures of a block become a row of the
same layout, or sums over them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

from dpipe import schema
from dpipe.compute.devices import chosen_device, to_device, to_host
from dpipe.compute.records import by_row, in_pieces, places_of
from dpipe.compute.regions import single


@dataclass(frozen=True, eq=False)
class Stretch:
    """A long array of one dim, of which each block of pictures has a stretch.

    Attributes
    ----------
    values : array
        Lazy or not.
    starts, stops : numpy.ndarray, shape (block,)
        Where the stretch of each block begins and ends.
    """

    values: Any
    starts: np.ndarray
    stops: np.ndarray

    def by_block(self) -> da.Array:
        """Return the stretches one after another, one lazy block each."""
        pieces = [
            self.values[start:stop].rechunk(-1)
            if isinstance(self.values, da.Array)
            else da.from_array(np.asarray(self.values[start:stop]), -1, name=False)  # no hashing
            for start, stop in zip(self.starts.tolist(), self.stops.tolist(), strict=True)
        ]
        return da.concatenate(pieces, allow_unknown_chunksizes=True)


_TABLE = ("offset", "height", "width", "in_slot")


def map_blocks(
    kernel: Callable[..., Any],
    ds: xr.Dataset,
    *,
    sizes: Mapping[str, int],
    dtype: np.dtype | str,
    need: Sequence[str] = ("pixels", "mask_code"),
    columns: Mapping[str, np.ndarray] | None = None,
    whole: Mapping[str, xr.DataArray] | None = None,
    stretches: Mapping[str, Stretch] | None = None,
    **params: Any,
) -> xr.DataArray:
    """Turn all pictures of each block of a packed collection into one array.

    Parameters
    ----------
    kernel : callable
        ``kernel(pixels, codes, offsets, heights, widths, **params)`` gets the pictures of one
        block as for `map_records` and returns an array of the sizes given. It is not called where
        no picture is left; the result is 0 there.
    ds : xarray.Dataset
        A packed collection, or any selection of its records.
    sizes : mapping of str to int
        Dims and sizes of what the kernel makes of a block.
    dtype : numpy.dtype or str
        Its dtype.
    need : sequence of str
        Which of ``pixels`` and ``mask_code`` are read; the kernel gets None for the others, and
        for masks that are not there.
    columns : mapping of str to numpy.ndarray, optional
        Further whole numbers of each record; the kernel gets those of its pictures by these names.
    whole : mapping of str to xarray.DataArray, optional
        Small arrays that every call needs whole; the kernel gets them, on the host, by these names.
    stretches : mapping of str to Stretch, optional
        Long arrays of one dim of which every call needs a stretch; as `whole`.
    **params
        Passed to the kernel.

    Returns
    -------
    xarray.DataArray
        (block, *sizes), lazy, one lazy block a block of pictures.
    """
    used = [name for name in need if name in ds]
    for name in used or list(need):
        schema.VARIABLES[name].check(ds)
    more = dict(columns or {})
    if "picture_flag" in ds:
        used.append("picture_flag")
    count = int(ds.sizes["block"])
    labels = np.asarray(ds["in_block"].values)
    layout = [np.asarray(ds[name].values, np.int64) for name in _TABLE]
    table = np.stack([*layout, *(np.asarray(more[name], np.int64) for name in more)], axis=1)
    blocks, which = np.unique(labels, return_inverse=True)
    places = labels.astype(np.int64)
    if len(labels):
        places = np.array(places_of(ds, blocks), np.int64)[which]
    table = table[np.argsort(places, kind="stable")]
    counts = tuple(np.bincount(places, minlength=count).tolist())
    ranges = stretches or {}
    run = partial(
        _run,
        kernel=kernel,
        params=params,
        new=tuple(sizes.values()),
        dtype=np.dtype(dtype),
        name=chosen_device(),
        used=tuple(used),
        columns=tuple(more),
        whole=(*ranges, *(whole or {})),
    )
    arrays: list[Any] = [in_pieces(table, counts), (0, 1)]
    for axis, name in enumerate(used, 2):
        arrays += [by_row(ds[name].data), (0, axis)]
    for stretch in ranges.values():
        arrays += [stretch.by_block(), (0,)]
    for number, array in enumerate((whole or {}).values(), 1):
        axes = tuple(100 * number + axis for axis in range(array.ndim))
        arrays += [da.asarray(array.data).rechunk(-1), axes]
    data = da.blockwise(
        run,
        (0, *(-1 - i for i in range(len(sizes)))),
        *arrays,
        new_axes={-1 - i: n for i, n in enumerate(sizes.values())},
        adjust_chunks={0: (1,) * count},
        align_arrays=False,
        concatenate=False,
        dtype=np.dtype(dtype),
        meta=np.empty((0,) * (1 + len(sizes)), dtype),
    )
    coords = {"block": ds["block"]} if "block" in ds.coords else {}
    return xr.DataArray(data, dims=("block", *sizes), coords=coords)


def _run(
    nested: Any,
    *rows: Any,
    kernel: Callable[..., Any],
    params: Mapping[str, Any],
    new: tuple[int, ...],
    dtype: np.dtype,
    name: str,
    used: tuple[str, ...],
    columns: tuple[str, ...],
    whole: tuple[str, ...],
) -> np.ndarray:
    """Call the kernel with the sound pictures of one block."""
    table = single(nested)
    flat = {key: single(row).reshape(-1) for key, row in zip(used, rows, strict=False)}
    small = {key: single(row) for key, row in zip(whole, rows[len(used) :], strict=True)}
    sound = table[:, 1] > 0
    if "picture_flag" in flat:
        sound &= (flat["picture_flag"][table[:, 3]] & schema.UNREADABLE) == 0
    if not sound.any():
        return np.zeros((1, *new), dtype)
    arrays = [
        to_device(flat[key], name) if key in flat else None for key in ("pixels", "mask_code")
    ]
    cuts = [np.ascontiguousarray(table[sound, k]) for k in range(3)]
    values = {key: np.ascontiguousarray(table[sound, 4 + k]) for k, key in enumerate(columns)}
    result = to_host(kernel(*arrays, *cuts, **values, **small, **params))
    if result.shape != new:
        raise ValueError(f"the kernel gave {result.shape}; expected {new}")
    return result.astype(dtype, copy=False)[np.newaxis]
