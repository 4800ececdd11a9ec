"""Quality of pictures: each figure by hand or against scifAI's table, each reason, the verdict."""

import array_api_strict as strict
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from packs import SAMPLE, cells, pack
from skimage.filters import sobel

import dpipe
from dpipe import schema
from dpipe.errors import SchemaError, UsageError
from dpipe.operators.pictures.quality import _measure

REASONS = schema.PICTURE_REASONS


def reasons(ds: xr.Dataset, record: int, channel: int) -> set[str]:
    bits = int(ds.picture_reason[record, channel])
    return {name for i, name in enumerate(REASONS) if bits >> i & 1}


def test_focus_of_real_cells_is_gradient_rms_of_scifai(shared_data):
    ds = dpipe.open_ifc(shared_data / SAMPLE, block=16)
    made = dpipe.picture_quality(ds)
    table = pd.read_csv(shared_data / "ifc/reference/scifAI_features_b20baec.csv.gz")
    table = table.set_index("file").loc[ds.file.values]
    expected = table[[f"gradient_RMS_Ch{k}" for k in range(1, 7)]].to_numpy()
    np.testing.assert_allclose(made.picture_focus, expected, rtol=1e-9, atol=0)
    # scifAI's area counts pixels of the mask, its percentiles know no bounds: min and max do
    sizes = (ds.height * ds.width).values[:, None]
    area = table[[f"mask_based_area_Ch{k}" for k in range(1, 7)]].clip(lower=0).to_numpy()
    one_label = made.mask_share.values * sizes
    np.testing.assert_allclose(one_label, area, rtol=1e-12)


def picture(value=7.0, shape=(4, 5)) -> np.ndarray:
    return np.full((2, *shape), value)


def bright() -> np.ndarray:
    """Channel 1 with 2 of 20 pixels at 4095, channel 2 a slope of 10 a column."""
    made = np.stack([np.full((4, 5), 100), np.arange(20).reshape(4, 5) % 5 * 10])
    made[0, 1, 1:3] = 4095
    return made.astype("u2")


def mask(rows=slice(1, 3), columns=slice(1, 4)) -> np.ndarray:
    made = np.zeros((2, 4, 5), bool)
    made[:, rows, columns] = True
    return made


def test_figures_by_hand():
    """The slope has the gradient 4 x 20 / 4 = 20 along x, half that at both sides: columns of
    10, 20, 20, 20, 10; over the root of 2: the root of (2 x 50 + 3 x 200) / 5 = 140."""
    ds = pack([bright()], [mask()])
    made = dpipe.picture_quality(ds, full_scale=4095)
    assert made.picture_saturated.values.tolist() == [[0.1, 0]]
    assert made.picture_focus.values[0, 1] == pytest.approx(140**0.5, rel=1e-15)
    assert made.picture_min.values.tolist() == [[100, 0]]
    assert made.picture_max.values.tolist() == [[4095, 40]]
    assert made.mask_share.values.tolist() == [[0.3, 0.3]]
    assert made.mask_on_border.values.tolist() == [[0, 0]]
    assert reasons(made, 0, 0) == {"saturated"}
    assert reasons(made, 0, 1) == set()
    assert made.picture_verdict.values.tolist() == [1]
    assert made.picture_reason.attrs["flag_meanings"] == " ".join(REASONS)
    assert made.picture_verdict.attrs["flag_meanings"] == "good doubtful unusable"


@pytest.mark.parametrize(
    ("rows", "columns", "count"),
    [
        (slice(1, 3), slice(1, 4), 0),
        (slice(0, 3), slice(1, 4), 3),  # three pixels of the first row
        (slice(1, 4), slice(1, 4), 3),
        (slice(1, 3), slice(0, 2), 2),
        (slice(1, 3), slice(4, 5), 2),
        (slice(0, 4), slice(0, 5), 14),  # 20 less 2 x 3: corners once
    ],
)
def test_masks_that_touch_the_border(rows, columns, count):
    ds = pack([bright()], [mask(rows, columns)])
    made = dpipe.picture_quality(ds)
    assert made.mask_on_border.values.tolist() == [[count, count]]
    assert ("cut_off_at_border" in reasons(made, 0, 0)) == (count > 0)
    lenient = dpipe.picture_quality(ds, max_on_border=count)
    assert "cut_off_at_border" not in reasons(lenient, 0, 0)


def test_pictures_so_small_that_all_is_border():
    ds = pack([np.array([[[1, 2]], [[3, 4]]], "u2")], [np.ones((2, 1, 2), bool)])
    assert dpipe.picture_quality(ds).mask_on_border.values.tolist() == [[2, 2]]


FIRST = np.array([True, False])[:, None, None]
CASES = {
    "good": (bright(), mask(), 0, [set(), set()]),
    "one constant": (np.stack([bright()[0], picture()[0]]), mask(), 1, [set(), {"constant"}]),
    "all constant": (picture(), mask(), 2, [{"constant"}] * 2),
    "one mask empty": (bright(), mask() & FIRST, 0, [set(), {"empty_mask"}]),
    "all masks empty": (bright(), mask() & False, 1, [{"empty_mask"}] * 2),
    "no mask": (bright(), None, 0, [{"no_mask"}] * 2),
    "nan": (np.where(np.eye(4, 5) > 0, np.nan, bright()), mask(), 2, [{"not_finite"}] * 2),
    "inf": (np.where(np.eye(4, 5) > 0, np.inf, bright()), mask(), 2, [{"not_finite"}] * 2),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_reasons_and_verdicts(case):
    image, covered, verdict, why = CASES[case]
    others = [image, bright(), bright()]
    ds = pack([one.astype("f4") for one in others], [covered, mask(), None], block=2)
    made = dpipe.picture_quality(ds)
    assert [reasons(made, 0, k) for k in (0, 1)] == why
    assert made.picture_verdict.values[0] == verdict
    assert made.picture_verdict.values[1] == 0
    assert np.isnan(made.picture_saturated).all()  # floats have no largest value
    if case in ("nan", "inf"):
        assert np.isnan(made.picture_focus.values[0]).all()
        assert np.isnan(made.picture_max.values[0]).all()


def test_masks_in_another_order_are_of_other_pictures():
    """All are of one size and begin their blocks, so only the block tells them apart."""
    ds = pack([bright()] * 3, [mask()] * 3, block=1)
    turned = ds.isel(record=[1, 0, 2])
    with pytest.raises(SchemaError, match="the masks are of other pictures: in_block differs"):
        dpipe.picture_quality(ds, turned)
    dpipe.picture_quality(turned, turned)


def test_put_aside_and_unreadable_are_unusable_without_reasons():
    ds = pack([bright(), None, bright()], [mask(), None, mask()], unreadable=[2])
    made = dpipe.picture_quality(ds)
    assert made.picture_verdict.values.tolist() == [0, 2, 2]
    assert made.picture_reason.values.tolist() == [[0, 0]] * 3
    assert np.isnan(made.picture_focus.values[1:]).all()
    assert made.mask_on_border.dtype == "u4"
    assert made.mask_on_border.values[1:].tolist() == [[0, 0], [0, 0]]


def test_a_collection_without_masks():
    made = dpipe.picture_quality(pack([bright()]))
    assert np.isnan(made.mask_share.values).all()
    assert reasons(made, 0, 0) == {"no_mask"}
    assert made.picture_verdict.values.tolist() == [0]


def test_limits_by_channel_and_channels_that_count():
    ds = pack([bright()], [mask()], names=["BF", "CD3"])
    made = dpipe.picture_quality(ds, min_focus={"CD3": 12}, full_scale=4095)
    assert [reasons(made, 0, k) for k in (0, 1)] == [{"saturated"}, {"out_of_focus"}]
    made = dpipe.picture_quality(ds, min_focus={"CD3": 11.8}, full_scale=4095, channels="CD3")
    assert [reasons(made, 0, k) for k in (0, 1)] == [{"saturated"}, set()]
    assert made.picture_verdict.values.tolist() == [0]
    made = dpipe.picture_quality(ds, full_scale=4095, max_saturated=0.1)
    assert made.picture_verdict.values.tolist() == [0]


def test_pictures_of_one_size_are_judged_alike():
    pictures = [bright(), bright()[:, ::-1], picture().astype("u2")]
    masks = [mask(), mask(slice(0, 2)), mask() & False]
    flat = xr.Dataset(
        {
            "image": (schema.PICTURE_DIMS, np.stack(pictures)),
            "mask": (schema.PICTURE_DIMS, np.stack(masks)),
        },
        {"c": ["Ch1", "Ch2"]},
    )
    one, two = dpipe.picture_quality(pack(pictures, masks)), dpipe.picture_quality(flat)
    for name in one.data_vars:
        np.testing.assert_array_equal(one[name], two[name])


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 8), unique=True), st.booleans())
def test_a_picture_is_judged_the_same_in_any_selection(chosen, lazy):
    pictures = cells(9)
    masks = [one > 250 for one in pictures]
    pictures[4] = masks[4] = masks[7] = None
    ds = pack(pictures, masks, lazy=lazy, unreadable=[5])
    whole = dpipe.picture_quality(ds).compute()
    some = dpipe.picture_quality(ds.isel(record=chosen))
    for name in whole.data_vars:
        np.testing.assert_array_equal(some[name], whole[name].isel(record=chosen))


def test_kernel_on_another_array_library():
    ds = pack(cells(4), [one > 250 for one in cells(4)], lazy=False)
    row = [ds.pixels.values[0], ds.mask_code.values[0]]
    row += [ds[name].values for name in ("offset", "height", "width")]
    there = strict.Device("device1")
    said = {"total": 3, "full_scale": 900.0}
    for given_ in (row, [row[0], None, *row[2:]], [row[0].astype("f4"), *row[1:]]):
        moved = [None if a is None else strict.asarray(a, device=there) for a in given_]
        found = _measure(*moved, **said)
        assert found.device == there
        back = np.asarray(found.to_device(strict.Device("CPU_DEVICE")))
        np.testing.assert_allclose(back, _measure(*given_, **said), rtol=1e-12)
    focus = _measure(*row, **said)[2, 1, 1]
    first, shape = row[2][2] * 3, (row[3][2], row[4][2])
    size = shape[0] * shape[1]
    plane = row[0][first + size : first + 2 * size].reshape(shape).astype(float)
    assert focus == pytest.approx(np.sqrt(np.mean(sobel(plane) ** 2)), rel=1e-13)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"channels": "BF"}, "channels: unknown channel 'BF'"),
        ({"min_focus": {"BF": 3}}, "min_focus: unknown channel 'BF'"),
        ({"min_focus": {"Ch1": "low"}}, "min_focus of Ch1: found 'low'; expected a number"),
        ({"min_focus": 60}, "min_focus: found 60; expected a number by channel"),
        ({"max_saturated": None}, "max_saturated: found None"),
        ({"max_on_border": True}, "max_on_border: found True"),
        ({"full_scale": 0}, "full_scale: found 0"),
    ],
)
def test_what_cannot_be_meant_is_refused(said, message):
    with pytest.raises(UsageError, match=message):
        dpipe.picture_quality(pack([bright()]), **said)


def test_what_is_no_collection():
    with pytest.raises(SchemaError, match="no variable 'pixels'"):
        dpipe.picture_quality(xr.Dataset({"a": ("c", [1])}, {"c": ["Ch1"]}))
    with pytest.raises(SchemaError, match="the coordinate c"):
        dpipe.picture_quality(pack([bright()]).drop_vars("c"))
