"""Statistics of channels against NumPy, merged in any order, from histograms and moments."""

import array_api_strict as strict
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from packs import SAMPLE, cells, pack, unpacked

import dpipe
from dpipe.errors import InputError, SchemaError, UsageError
from dpipe.operators.pictures import mask_terms
from dpipe.operators.pictures.channel_statistics import _of_histogram, _of_moments

FIGURES = ("pixels", "min", "max", "mean", "std")


def expected(values: list[np.ndarray]) -> list[float]:
    flat = np.concatenate([v.ravel() for v in values]).astype(float)
    return [flat.size, flat.min(), flat.max(), flat.mean(), flat.std()]


def figures(ds: xr.Dataset, k: int) -> list[float]:
    return [float(ds[f"channel_{name}"].values[k]) for name in FIGURES]


def test_real_cells_are_those_of_numpy(shared_data):
    ds = dpipe.open_ifc(shared_data / SAMPLE, block=8)
    levels = [0, 0.1, 10, 50, 99.9, 100]
    made = dpipe.channel_statistics(ds, percentiles=levels).compute()
    for k in range(6):
        planes = [picture[k] for picture in unpacked(ds)]
        np.testing.assert_allclose(figures(made, k), expected(planes), rtol=1e-12)
        flat = np.concatenate([plane.ravel() for plane in planes])
        np.testing.assert_allclose(
            made.channel_percentile[k], np.percentile(flat, levels), rtol=1e-14
        )
    assert made.percentile.values.tolist() == levels


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.integers(0, 9), min_size=1),
    st.integers(1, 4),
    st.sampled_from(["u1", "u2", "f4", "i4"]),
)
def test_parts_merge_in_any_order_and_cut(order, cuts, dtype):
    pictures = [(p // 5).astype(dtype) for p in cells(10)]
    ds = pack(pictures, block=3)
    pieces = [list(piece) for piece in np.array_split(np.array(order), cuts)]
    sums = {f"/p{i}": dpipe.channel_sums(ds.isel(record=piece)) for i, piece in enumerate(pieces)}
    made = dpipe.channel_statistics(xr.DataTree.from_dict(sums))
    again = dpipe.channel_statistics(xr.DataTree.from_dict(dict(reversed(sums.items()))))
    for k in range(3):
        found = figures(made, k)
        np.testing.assert_allclose(found, expected([pictures[n][k] for n in order]), rtol=1e-12)
        np.testing.assert_allclose(figures(again, k), found, rtol=1e-12)
    assert ("channel_percentile" in made) == (dtype in ("u1", "u2"))


def test_by_hand_in_masks():
    """Pixels 0..5 and 10..15; masks take 1 and 2 of the first channel, 14 of the second."""
    image = np.array([[[0, 1, 2], [3, 4, 5]], [[10, 11, 12], [13, 14, 15]]], "u1")
    mask = np.array([[[0, 1, 1], [0, 0, 0]], [[0, 0, 0], [0, 1, 0]]], bool)
    ds = pack([image, image], [mask, None])
    own = dpipe.channel_statistics(dpipe.channel_sums(ds, inside="own"), percentiles=[50, 100])
    assert figures(own, 0) == [2, 1, 2, 1.5, 0.5]
    assert figures(own, 1) == [1, 14, 14, 14, 0]
    assert own.channel_percentile.values.tolist() == [[1.5, 2], [14, 14]]
    first = dpipe.channel_statistics(dpipe.channel_sums(ds, inside="Ch1"))
    assert figures(first, 1) == [2, 11, 12, 11.5, 0.5]
    whole = dpipe.channel_sums(ds, levels=16)
    assert whole.channel_histogram.values[0, 0].tolist() == [2] * 6 + [0] * 10
    assert whole.channel_histogram.dtype == "u4"


@pytest.mark.parametrize("dtype", ["u2", "f4"])
def test_without_pixels_there_are_no_figures(dtype):
    ds = pack([np.ones((1, 2, 2), dtype)] * 3, [np.zeros((1, 2, 2))] * 3, block=2)
    made = dpipe.channel_statistics(dpipe.channel_sums(ds, inside="own")).compute()
    assert made.channel_pixels.values.tolist() == [0]
    assert np.isnan([figures(made, 0)[1:]]).all()
    if dtype == "u2":
        assert np.isnan(made.channel_percentile.values).all()
    some = dpipe.channel_statistics(dpipe.channel_sums(ds.isel(record=[2])))  # one block is empty
    assert figures(some, 0) == [4, 1, 1, 1, 0]


def test_what_is_not_finite_does_not_count():
    image = np.array([[[1, np.nan, 3, np.inf, -np.inf]]], "f4")
    assert figures(dpipe.channel_statistics(pack([image])), 0) == [2, 1, 3, 2, 1]


def test_a_large_mean_does_not_eat_the_spread():
    """Sums of squares would lose it: 1e9 + 0 and 1e9 + 2, in two blocks."""
    images = [np.full((1, 2, 2), 1e9 + d, "f8") for d in (0, 2)]
    assert figures(dpipe.channel_statistics(pack(images, block=1)), 0)[3:] == [1e9 + 1, 1]


@pytest.mark.parametrize("dtype", ["u2", "f4"])
def test_equal_pixels_have_no_deviation_at_all(dtype):
    """The mean of ten 0.1 is rounded, and that of several blocks again."""
    image = np.full((1, 1, 10), 0.1 if dtype == "f4" else 3, dtype)
    made = dpipe.channel_statistics(pack([image] * 7, block=2))
    assert figures(made, 0)[3:] == [float(image[0, 0, 0]), 0]


def test_the_masks_of_a_picture_are_made_once(monkeypatch):
    made = []
    kept = mask_terms.dilated
    monkeypatch.setattr(
        mask_terms, "dilated", lambda mask, n: made.append(mask.shape) or kept(mask, n)
    )
    pictures = cells(5)
    ds = pack(pictures, [np.ones_like(picture) for picture in pictures])
    dpipe.channel_sums(ds, inside="dilate(Ch1, 1)").compute()
    assert sorted(made) == sorted(picture.shape[1:] for picture in pictures)


def test_it_is_lazy_until_it_is_asked():
    ds = pack(cells(2))
    ds = ds.assign(
        pixels=ds.pixels.copy(
            data=ds.pixels.data.map_blocks(_refuse, dtype="u2", meta=np.empty((0, 0), "u2"))
        )
    )
    made = dpipe.channel_statistics(ds)
    with pytest.raises(AssertionError, match="was read"):
        made.compute()


def _refuse(block):
    raise AssertionError("a pixel was read")


def test_more_pixels_than_a_block_can_count():
    """Blocks count in 32 bits; half of 24e9 pixels are 65535, whose squares come to 5.2e19."""
    counts = np.zeros((2, 1, 65536), "u4")
    counts[:, 0, [0, -1]] = 3_000_000_000
    sums = xr.Dataset({"channel_histogram": (("block", "c", "level"), counts)}, {"c": ["Ch1"]})
    tree = xr.DataTree.from_dict({"/a": sums, "/b": sums})
    made = dpipe.channel_statistics(tree, percentiles=[49, 51])
    assert figures(made, 0) == [24e9, 0, 65535, 32767.5, 32767.5]
    assert made.channel_percentile.values.tolist() == [[0, 65535]]


def test_finishing_on_another_array_library():
    counts = np.array([[0, 3, 0, 1], [0, 0, 0, 0]])
    moments = np.array([[[2, 1.5, 0.5, 1, 2], [0, 0, 0, 0, 0]], [[1, 6, 0, 6, 6], [0, 0, 0, 0, 0]]])
    there = strict.Device("device1")
    for kernel, values, said in (
        (_of_histogram, counts, {"percentiles": (25.0, 90.0)}),
        (_of_moments, moments, {}),
    ):
        found = kernel(strict.asarray(values, device=there), **said)
        assert found.device == there
        back = np.asarray(found.to_device(strict.Device("CPU_DEVICE")))
        np.testing.assert_array_equal(back, kernel(values, **said))
    # of 1, 1, 1, 3: rank 2.7 is 1 + 0.7 x 2
    assert _of_histogram(counts, percentiles=(25.0, 90.0))[0].tolist() == pytest.approx(
        [4, 1, 3, 1.5, 0.75**0.5, 1, 2.4]
    )
    # of 1, 2, 6: mean 3, squares 4 + 1 + 9
    assert _of_moments(moments)[0].tolist() == pytest.approx([3, 1, 6, 3, (14 / 3) ** 0.5])


def test_a_pixel_beyond_the_levels_is_told():
    ds = dpipe.channel_sums(pack([np.array([[[5]], [[16]]], "u2")]), levels=16)
    with pytest.raises(InputError, match="Ch2: a pixel of 16; levels=16 holds 0 to 15"):
        ds.compute()


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"levels": 0}, "levels: found 0; expected 1 to 65536"),
        ({"levels": 4096.0}, "levels: found 4096.0"),
        ({"inside": "Ch9"}, "unknown mask 'Ch9'"),
    ],
)
def test_sums_that_cannot_be_meant(said, message):
    ds = pack(cells(1), [np.ones_like(cells(1)[0])])
    with pytest.raises(UsageError, match=message):
        dpipe.channel_sums(ds, **said)


def test_sums_of_what_is_none():
    ds = pack(cells(1))
    with pytest.raises(UsageError, match="levels: these pixels are float32"):
        dpipe.channel_sums(ds.assign(pixels=ds.pixels.astype("f4")), levels=16)
    with pytest.raises(SchemaError, match="no variable 'mask_code'"):
        dpipe.channel_sums(ds, inside="own")
    with pytest.raises(SchemaError, match="the coordinate c"):
        dpipe.channel_sums(ds.drop_vars("c"))


@pytest.mark.parametrize("wrong", [[-1], [101], ["half"], 200, [True]])
def test_percentiles_that_are_none(wrong):
    with pytest.raises(UsageError, match="percentiles: found"):
        dpipe.channel_statistics(pack(cells(1)), percentiles=wrong)


def test_statistics_of_what_does_not_fit():
    one, two = pack(cells(1)), pack(cells(1), names=["a", "b", "c"])
    floats = one.assign(pixels=one.pixels.astype("f4"))
    with pytest.raises(UsageError, match="percentiles need the histograms"):
        dpipe.channel_statistics(floats, percentiles=[50])
    for first, second in ((one, two), (one, floats)):
        tree = xr.DataTree.from_dict({"/x": first, "/y": second})
        with pytest.raises(SchemaError, match=r"y: .*; x has channel_histogram of 65536"):
            dpipe.channel_statistics(tree)
    with pytest.raises(SchemaError, match="the tree has none"):
        dpipe.channel_statistics(xr.DataTree())
    with pytest.raises(SchemaError, match="x: no variable 'pixels'"):
        dpipe.channel_statistics(xr.DataTree.from_dict({"/x": xr.Dataset({"a": 1})}))
