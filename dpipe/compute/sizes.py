"""How large lazy Datasets are, in which blocks, and how they are told apart."""

import dask
import dask.array as da
import numpy as np
import xarray as xr

from dpipe.compute.regions import Region


def largest_block(ds: xr.Dataset) -> int:
    """Return the number of bytes of the largest lazy block among a Dataset's variables."""
    sizes = [0]
    for variable in ds.variables.values():
        if isinstance(variable.data, da.Array):
            block = int(np.prod([max(c, default=0) for c in variable.data.chunks], dtype=np.int64))
            sizes.append(block * variable.dtype.itemsize)
    return max(sizes)


def block_regions(array: xr.DataArray) -> list[Region]:
    """Return the region of each lazy block of an array; one region if it is not lazy."""
    if not isinstance(array.data, da.Array):
        return [tuple(slice(0, n) for n in array.shape)]
    return [tuple(slices) for slices in da.core.slices_from_chunks(array.data.chunks)]


def token(ds: xr.Dataset) -> str:
    """Return a hash of a Dataset's values and names; of its graph where it is lazy."""
    return str(dask.base.tokenize(ds))


def source_bytes(ds: xr.Dataset) -> int:
    """Return the number of bytes that a Dataset's variables hold when computed."""
    return sum(int(variable.size) * variable.dtype.itemsize for variable in ds.variables.values())
