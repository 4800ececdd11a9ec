"""Folding along a dim: every block once, sums merged, and nothing kept."""

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr

from dpipe.compute import fold
from dpipe.errors import SchemaError


def total(block):
    return block.sum(axis=0)


@pytest.mark.parametrize("chunk", [1, 3, 50, 1000])
def test_a_sum_over_blocks(chunk):
    values = np.arange(1000 * 3).reshape(1000, 3)
    rows = xr.DataArray(da.from_array(values, chunks=(chunk, 2)), dims=("r", "k"))
    with dask.config.set(scheduler=lambda *_, **__: pytest.fail("computed")):
        found = fold(total, total, rows.transpose("k", "r"), dim="r", sizes={"k": 3}, dtype="i8")
    assert found.dims == ("k",)
    assert found.values.tolist() == values.sum(axis=0).tolist()


def test_what_is_in_memory_and_what_is_empty():
    rows = xr.DataArray(np.ones((4, 2)), dims=("r", "k"))
    assert fold(total, total, rows, dim="r", sizes={"k": 2}).values.tolist() == [4, 4]
    none = fold(total, total, rows[:0], dim="r", sizes={"k": 2})
    assert none.values.tolist() == [0, 0]


def test_few_blocks_are_held_at_once():
    """Each block is made and summed before the next but fifteen."""
    alive = peak = 0

    def made(block):
        nonlocal alive, peak
        alive += 1
        peak = max(peak, alive)
        return block

    def summed(block):
        nonlocal alive
        alive -= 1
        return block.sum(axis=0)

    values = da.map_blocks(made, da.ones((640, 2), chunks=(1, 2)), meta=np.empty((0, 0)))
    rows = xr.DataArray(values, dims=("r", "k"))
    found = fold(summed, total, rows, dim="r", sizes={"k": 2})
    assert found.data.compute(scheduler="synchronous").tolist() == [640, 640]
    assert peak <= 16


def test_wrong_dims_and_kernels_are_told():
    rows = xr.DataArray(np.ones((4, 2)), dims=("r", "k"))
    with pytest.raises(SchemaError, match="fold along 'record'; found the dims"):
        fold(total, total, rows, dim="record", sizes={"k": 2})
    with pytest.raises(ValueError, match=r"gave an array of \(2,\); expected \(3,\)"):
        fold(total, total, rows, dim="r", sizes={"k": 3}).compute()
