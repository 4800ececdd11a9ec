"""Kernels over whole blocks of packed pictures: any selection, and what is left out."""

import array_api_strict as strict
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from packs import cells, pack, unpacked

import dpipe
from dpipe.build import lay_out
from dpipe.compute import collections
from dpipe.errors import SchemaError

SHARES = np.array([[1, 0.1, 0], [0.2, 1, 0.05], [0, 0.3, 1]])


def matrix() -> xr.Dataset:
    names = ["Ch1", "Ch2", "Ch3"]
    array = (("detector", "source"), SHARES)
    return xr.Dataset({"spillover": array}, {"detector": names, "source": names})


def collection(lazy=True) -> xr.Dataset:
    """Eleven pictures in blocks of four; 2 was put aside, 6 cannot be read, 5 has no mask."""
    pictures = cells(11)
    masks = [picture > 250 for picture in pictures]
    pictures[2] = masks[2] = masks[5] = None
    return pack(pictures, masks, unreadable=[6], several=[7], lazy=lazy)


OPERATORS = {
    "segment": ("mask_code", lambda ds: dpipe.segment_cells(ds, min_size=20, closing=2)),
    "anew": ("mask_code", lambda ds: dpipe.segment_cells(ds, which="all", min_size=20)),
    "derive": (
        "mask_code",
        lambda ds: dpipe.derive_masks(ds, masks={"a": "dilate(Ch1 & ~Ch3, 2)"}),
    ),
    "rescale": ("pixels", dpipe.rescale_intensity),
    "compensate": ("pixels", lambda ds: dpipe.compensate(ds, matrix())),
}


@pytest.mark.parametrize("name", OPERATORS)
@settings(max_examples=15, deadline=None)
@given(chosen=st.lists(st.integers(0, 10), unique=True), lazy=st.booleans())
def test_a_picture_comes_out_the_same_in_any_selection(name, chosen, lazy):
    variable, operator = OPERATORS[name]
    whole = unpacked(operator(collection()), variable)
    some = collection(lazy).isel(record=chosen)
    made = operator(some)
    assert made.sizes["block"] == 3
    for found, n in zip(unpacked(made, variable), chosen, strict=True):
        np.testing.assert_array_equal(found, whole[n])
    assert made.in_slot.values.tolist() == some.in_slot.values.tolist()
    rest = [whole[n] for n in set(range(11)) - set(chosen)]
    assert (made[variable] != 0).sum() == sum(np.count_nonzero(whole[n]) for n in chosen)
    assert len(rest) + len(chosen) == 11


@settings(max_examples=15, deadline=None)
@given(
    chosen=st.lists(st.integers(0, 10), min_size=1), inside=st.sampled_from([None, "own", "Ch2"])
)
def test_sums_are_those_of_the_pictures_chosen(chosen, inside):
    made = dpipe.channel_statistics(
        dpipe.channel_sums(collection().isel(record=chosen), inside=inside)
    )
    values = [[], [], []]
    for n in chosen:
        if n in (2, 6):
            continue
        (picture,) = unpacked(collection().isel(record=[n]))
        (code,) = unpacked(collection().isel(record=[n]), "mask_code")
        for k in range(3):
            mask = {None: code >= 0, "own": code >> k & 1, "Ch2": code >> 1 & 1}[inside] != 0
            values[k] += picture[k][mask].tolist()
    for k in range(3):
        assert made.channel_pixels.values[k] == len(values[k])
        if values[k]:
            np.testing.assert_allclose(  # NumPy rounds (n - 1) p / 100 once more
                made.channel_percentile.values[k],
                np.percentile(values[k], made.percentile),
                rtol=1e-12,
            )
            assert made.channel_mean.values[k] == pytest.approx(np.mean(values[k]), rel=1e-13)
            assert made.channel_std.values[k] == pytest.approx(np.std(values[k]), rel=1e-12)
            assert made.channel_min.values[k] == min(values[k])
            assert made.channel_max.values[k] == max(values[k])


def test_what_was_put_aside_or_cannot_be_read_is_not_touched():
    calls = []

    def kernel(pixels, codes, offsets, heights, widths, *, wanted, extra):
        calls.append((len(offsets), wanted.tolist(), extra.tolist(), codes is None))
        return np.array([pixels.sum(), len(heights)])

    ds = collection()
    said = {
        "columns": {"wanted": np.arange(11)},
        "whole": {"extra": xr.DataArray([7, 8], dims="e")},
    }
    made = collections.map_blocks(kernel, ds, sizes={"n": 2}, dtype="i8", need=("pixels",), **said)
    assert made.dims == ("block", "n")
    assert made.chunksizes == {"block": (1, 1, 1), "n": (2,)}
    assert not calls  # nothing has run
    assert made.values[:, 1].tolist() == [3, 3, 3]
    assert [call[1] for call in sorted(calls, key=lambda c: c[1])] == [
        [0, 1, 3],
        [4, 5, 7],
        [8, 9, 10],
    ]
    assert all(call[2:] == ([7, 8], True) for call in calls)


def test_a_block_without_pictures_is_zero_and_costs_no_call():
    def kernel(pixels, codes, offsets, heights, widths):
        assert len(offsets)
        return np.ones(1)

    ds = collection()
    for chosen, expected in (([1, 9], [1, 0, 1]), ([2, 6], [0, 0, 0]), ([], [0, 0, 0])):
        made = collections.map_blocks(kernel, ds.isel(record=chosen), sizes={"n": 1}, dtype="f8")
        assert made.values[:, 0].tolist() == expected


def test_a_kernel_that_gives_something_else_is_told_so():
    made = collections.map_blocks(lambda *_: np.ones(3), collection(), sizes={"n": 2}, dtype="f8")
    with pytest.raises(ValueError, match=r"gave \(3,\); expected \(2,\)"):
        made.compute()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda ds: ds.drop_vars("pixels"), "no variable 'pixels'"),
        (lambda ds: ds.drop_vars("offset"), "no coordinate 'offset'; expected a packed collection"),
        (lambda ds: ds.isel(block=[1]), "select by isel"),
    ],
)
def test_what_is_no_packed_collection_is_refused(change, message):
    with pytest.raises(SchemaError, match=message) as told:
        dpipe.rescale_intensity(change(collection()))
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("name", OPERATORS)
def test_results_are_parts_of_the_same_layout(name, tmp_path):
    """A derived part is cut by blocks, and goes over the pictures by name."""
    variable, operator = OPERATORS[name]
    ds = collection()
    made = operator(ds)
    laid = lay_out(made, "parts/made/m-0", free=("block",), partition_bytes=1)
    assert laid.grid.partitions == 3
    dpipe.save({"m": ds}, str(tmp_path), "cells", message="pictures")
    dpipe.save({"m": made}, str(tmp_path), "made", message="derived")
    both = dpipe.open(str(tmp_path), "made", "cells")
    np.testing.assert_array_equal(both[variable], made[variable])
    assert {"pixels", "mask_code", "mask_value"} <= set(both)
    for key in ("offset", "height", "in_slot", "in_block"):
        np.testing.assert_array_equal(both[key], ds[key])


@pytest.mark.parametrize("name", ["derive", "rescale", "compensate"])
def test_kernels_on_another_array_library(name, monkeypatch):
    """Blocks on a second device: what would bring them to the host unseen raises."""
    expected = OPERATORS[name][1](collection()).compute()
    there = strict.Device("device1")
    monkeypatch.setattr(
        "dpipe.compute.collections.to_device", lambda block, _: strict.asarray(block, device=there)
    )
    monkeypatch.setattr(
        "dpipe.compute.collections.to_host",
        lambda block: np.asarray(block.to_device(strict.Device("CPU_DEVICE"))),
    )
    found = OPERATORS[name][1](collection()).compute()
    variable = OPERATORS[name][0]
    assert found[variable].dtype == expected[variable].dtype
    np.testing.assert_allclose(found[variable], expected[variable], rtol=1e-6)


@pytest.mark.parametrize("dtype", ["u2", "f4"])
def test_sums_on_another_array_library(dtype, monkeypatch):
    ds = collection()
    ds = ds.assign(pixels=ds.pixels.astype(dtype))
    expected = dpipe.channel_sums(ds, inside="dilate(Ch2, 1)").compute()
    there = strict.Device("device1")
    monkeypatch.setattr(
        "dpipe.compute.collections.to_device", lambda block, _: strict.asarray(block, device=there)
    )
    monkeypatch.setattr(
        "dpipe.compute.collections.to_host",
        lambda block: np.asarray(block.to_device(strict.Device("CPU_DEVICE"))),
    )
    found = dpipe.channel_sums(ds, inside="dilate(Ch2, 1)").compute()
    xr.testing.assert_allclose(found, expected, rtol=1e-12)
