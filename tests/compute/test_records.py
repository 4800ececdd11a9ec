"""Kernels over packed pictures: any selection, any order, what is left out."""

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import dpipe
from dpipe import schema
from dpipe.build import lay_out
from dpipe.build.pictures_aside import put_aside
from dpipe.compute import blocks, records
from dpipe.errors import SchemaError
from dpipe.storage import open_objects

CHANNELS = 3
NAMES = ["sum", "mask", "size", "last"]


def packed(count=11, block=4, seed=0, masks=True, lazy=True) -> xr.Dataset:
    """Pictures of 0 to 5 by 1 to 5; number 2 was put aside, number 6 could not be read."""
    rng = np.random.default_rng(seed)
    heights, widths = rng.integers(1, 6, (2, count))
    heights[2] = widths[2] = 0
    blocks_ = -(-count // block)
    in_block, in_slot = np.divmod(np.arange(count), block)
    offsets = np.zeros(count, int)
    for n in range(count):
        if in_slot[n]:
            offsets[n] = offsets[n - 1] + heights[n - 1] * widths[n - 1]
    places = int((offsets + heights * widths).max())
    pixels = rng.integers(1, 9, (blocks_, places * CHANNELS)).astype("u2")
    codes = rng.integers(0, 8, (blocks_, places)).astype("u1")
    flags = np.zeros((blocks_, block), "u1")
    flags[in_block[6], in_slot[6]] = schema.UNREADABLE
    flags[in_block[7], in_slot[7]] = 2
    rows = {"pixels": (("block", "value"), pixels), "picture_flag": (("block", "slot"), flags)}
    if masks:
        rows["mask_code"] = (("block", "place"), codes)
    over = {"in_block": in_block * 10, "in_slot": in_slot, "offset": offsets}
    over |= {"height": heights, "width": widths, "donor": np.array([f"d{n}" for n in range(count)])}
    coords = {name: ("record", column) for name, column in over.items()}
    ds = xr.Dataset(rows, coords | {"block": np.arange(blocks_) * 10, "c": ["a", "b", "c"]})
    return ds.assign({k: v.variable.chunk({"block": 1}) for k, v in ds.items()}) if lazy else ds


def kernel(pixels, codes, offsets, heights, widths, *, channels, calls=None):
    if calls is not None:
        calls.append(len(offsets))
    rows = []
    for start, height, width in zip(offsets, heights, widths, strict=True):
        size = height * width
        plane = pixels[start * channels : (start + size) * channels]
        mask = -1 if codes is None else codes[start : start + size].sum()
        rows.append([plane.sum(), mask, size, plane[-1]])
    return np.array(rows, "f8")


def by_hand(ds: xr.Dataset) -> np.ndarray:
    rows = []
    for n in range(ds.sizes["record"]):
        one = ds.isel(record=n)
        row = ds.sel(block=int(one.in_block))
        first, size = int(one.offset), int(one.height) * int(one.width)
        if not size or int(row.picture_flag[int(one.in_slot)]) & 1:
            rows.append([np.nan] * 4)
            continue
        plane = row.pixels.values[first * CHANNELS : (first + size) * CHANNELS]
        mask = row.mask_code.values[first : first + size].sum() if "mask_code" in ds else -1
        rows.append([plane.sum(), mask, size, plane[-1]])
    return np.array(rows, float).reshape(-1, 4)


def mapped(ds, **said) -> xr.DataArray:
    return records.map_records(kernel, ds, names=NAMES, channels=CHANNELS, **said)


@pytest.mark.parametrize("masks", [True, False])
@pytest.mark.parametrize("lazy", [True, False])
def test_every_picture_is_a_row(masks, lazy):
    ds = packed(masks=masks, lazy=lazy)
    found = mapped(ds)
    assert found.dims == ("record", "name")
    assert found["name"].values.tolist() == NAMES
    assert found.donor.values.tolist() == ds.donor.values.tolist()
    assert found.chunksizes["record"] == (4, 4, 3)
    np.testing.assert_array_equal(found.values, by_hand(ds))
    assert np.isnan(found.values).all(axis=1).nonzero()[0].tolist() == [2, 6]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 10), max_size=14), st.integers(1, 5))
def test_any_selection_of_records_stays_valid(chosen, block):
    ds = packed(block=block)
    picked = ds.isel(record=chosen)
    np.testing.assert_array_equal(mapped(picked).values, by_hand(ds)[chosen])
    few = picked.isel(block=np.unique(picked.in_block.values // 10))
    np.testing.assert_array_equal(mapped(few).values, by_hand(ds)[chosen])
    turned = picked.isel(block=slice(None, None, -1))
    np.testing.assert_array_equal(mapped(turned).values, by_hand(ds)[chosen])


@pytest.mark.parametrize(
    "chosen",
    [[-1, -11, 3], np.arange(11) % 3 == 1, slice(None, None, -2), slice(9, 2, -3), [5] * 9],
    ids=["negative", "boolean", "backwards", "thirds", "one"],
)
def test_ways_to_select(chosen):
    ds = packed()
    np.testing.assert_array_equal(mapped(ds.isel(record=chosen)).values, by_hand(ds)[chosen])


def test_blocks_cut_otherwise_by_dask():
    ds = packed(count=20)
    odd = ds.assign({k: v.variable.chunk({v.dims[0]: 3, v.dims[1]: 7}) for k, v in ds.items()})
    np.testing.assert_array_equal(mapped(odd).values, by_hand(ds))


def test_one_picture():
    ds = packed(count=9, block=1).isel(record=[4])
    np.testing.assert_array_equal(mapped(ds).values, by_hand(ds))


def test_only_the_blocks_wanted_are_read_and_one_call_is_a_block():
    ds, calls = packed(count=20, block=4), []
    chosen = mapped(ds.isel(record=[1, 3, 17, 18, 19]), calls=calls)
    with dask.config.set(scheduler="synchronous"):
        chosen.compute()
    assert sorted(calls) == [2, 3]
    assert chosen.chunksizes["record"] == (2, 3)


def test_nothing_is_computed_before_it_is_asked_for():
    def refuse(*_, **__):
        raise AssertionError("computed")

    with dask.config.set(scheduler=refuse):
        assert mapped(packed()).shape == (11, 4)


def test_without_a_graph_it_is_the_same():
    """Rows that ``lazy`` made are read without Dask, also a region of them."""
    ds = packed(lazy=False)
    read = {
        name: (
            array.dims,
            blocks.lazy(array.values.__getitem__, array.shape, array.dtype, (1, 999)),
        )
        for name, array in ds.data_vars.items()
    }
    table = xr.Dataset({"feature": mapped(ds.assign(read))})
    whole = by_hand(ds)
    for cut in (slice(0, 11), slice(2, 9), slice(4, 8), slice(10, 11)):
        with dask.config.set(scheduler=lambda *_, **__: 1 / 0):
            found = blocks.compute_region(table, ["feature"], {"record": cut})
        np.testing.assert_array_equal(found["feature"], whole[cut])
    cut = {"record": slice(3, 6), "name": slice(1, 3)}
    found = blocks.compute_region(table, ["feature"], cut)
    np.testing.assert_array_equal(found["feature"], whole[3:6, 1:3])


def test_numbers_that_are_no_floats_are_0_where_nothing_is():
    found = mapped(packed(), dtype="i8")
    assert found.dtype == "i8"
    assert found.values[2].tolist() == [0] * 4


def test_a_table_of_none():
    found = mapped(packed().isel(record=[]))
    assert found.shape == (0, 4)
    assert found.values.shape == (0, 4)


def test_pictures_of_one_size_go_through_the_same_kernel():
    rng = np.random.default_rng(3)
    pixels = rng.integers(0, 9, (5, CHANNELS, 2, 4)).astype("u2")
    mask = rng.random(pixels.shape) > 0.5
    ds = xr.Dataset(
        {"image": (schema.PICTURE_DIMS, da.from_array(pixels, chunks=(2, 1, 2, 2)))},
        {"donor": ("record", list("abcde"))},
    )
    codes = (mask * np.array([1, 2, 4])[:, None, None]).sum(axis=1)
    for held, masks in ((ds, np.full(5, -1)), (ds.assign(mask=(schema.PICTURE_DIMS, mask)), None)):
        sums = codes.sum(axis=(1, 2)) if masks is None else masks
        expected = np.stack(
            [pixels.sum(axis=(1, 2, 3)), sums, np.full(5, 8), pixels[:, -1, -1, -1]]
        )
        np.testing.assert_array_equal(mapped(held).values, expected.T)
        assert mapped(held).donor.values.tolist() == list("abcde")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda ds: ds.drop_vars("pixels"), "no variable 'pixels'; expected pixels"),
        (lambda ds: ds.drop_vars(["pixels", "in_block"]), "no variable 'pixels'"),
        (lambda ds: ds.drop_vars("in_block"), "no variable 'in_block'; expected in_block"),
        (lambda ds: ds.drop_vars("width"), "no variable 'width'"),
        (lambda ds: ds.assign_coords(block=[0, 10, 10]), "two blocks of one label"),
        (lambda ds: ds.isel(block=[0]), "pictures of block 10, which is not there"),
        (lambda ds: ds.assign(pixels=ds.pixels.astype("?")), "expected unsigned"),
    ],
)
def test_what_is_no_collection_is_refused(change, text):
    with pytest.raises(SchemaError, match=text):
        mapped(change(packed()))


def test_masks_of_more_channels_than_a_code_has_bits():
    over = np.ones((1, 33, 2, 2))
    ds = xr.Dataset({"image": (schema.PICTURE_DIMS, over)})
    assert records.map_records(_count, ds, names=["a"]).values.tolist() == [[132.0]]
    with pytest.raises(SchemaError, match="masks of 33 channels; at most 32"):
        records.map_records(_count, ds.assign(mask=(schema.PICTURE_DIMS, over > 0)), names=["a"])


def _count(pixels, codes, offsets, *_):
    return np.full((len(offsets), 1), pixels.size)


def test_a_kernel_that_gives_another_shape_is_told_so():
    made = records.map_records(lambda *_: np.zeros((1, 1)), packed(), names=["a"])
    with pytest.raises(ValueError, match=r"the kernel gave \(1, 1\); expected \(3, 1\)"):
        made.compute()


def test_millions_of_pictures_are_laid_out_at_once():
    count, block = 2_899_575, 512
    rows = -(-count // block)
    over = {"in_block": np.arange(count) // block, "in_slot": np.arange(count) % block}
    over |= {name: np.full(count, 100) for name in ("offset", "height", "width")}
    ds = xr.Dataset(
        {"pixels": (("block", "value"), da.zeros((rows, 45_000_000), chunks=(1, -1), dtype="u2"))},
        {name: ("record", column) for name, column in over.items()} | {"block": np.arange(rows)},
    )
    made = mapped(ds)
    assert made.shape == (count, 4)
    assert made.data.npartitions == rows


def test_rows_are_shards_and_features_regular(tmp_path):
    """The way of a run: packed pictures are stored, opened, measured and stored again."""
    ds = packed(lazy=False)
    dpipe.save({"a": ds}, str(tmp_path), "cells", message="m")
    back = dpipe.open(str(tmp_path), "cells")
    xr.testing.assert_equal(back.drop_attrs(), ds.drop_attrs())
    features = xr.Dataset({"feature": mapped(back)})
    outline = lay_out(features, "parts/x/a-1")
    assert outline.grid.dims[0] == "record"
    np.testing.assert_array_equal(mapped(back).values, by_hand(ds))
    objects = open_objects(str(tmp_path))
    assert put_aside(back) == {}
    assert objects.exists("datasets/cells/000001.json")


def test_pictures_of_one_size_are_rows_too():
    """They keep the coordinates of the packed ones, whose places would be wrong for them."""
    ds = packed()
    cut = dpipe.pictures(ds, size=3)
    assert "in_block" in cut.coords
    image, mask = cut.image.values, cut["mask"].values
    code = (mask * np.array([1, 2, 4])[:, None, None]).sum(axis=(1, 2, 3))
    last = image[:, -1, -1, -1]
    expected = np.stack([image.sum(axis=(1, 2, 3)), code, np.full(11, 9.0), last], axis=1)
    expected[2] = np.nan  # it was put aside
    found = mapped(cut)
    np.testing.assert_array_equal(found.values, expected)
    assert found.donor.values.tolist() == ds.donor.values.tolist()
