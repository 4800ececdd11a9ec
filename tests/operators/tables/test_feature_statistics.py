"""Statistics of features and clean tables: against pandas, over parts, and what bad input gets."""

import array_api_strict
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from dpipe.errors import SchemaError, UsageError
from dpipe.operators import clean_features, feature_statistics, feature_sums
from dpipe.operators.tables.clean_features import all_features
from dpipe.operators.tables.feature_sums import _merge, _moments

NAMES = ["spread", "constant", "holes", "one_infinity", "empty", "a_third", "filled_zero"]


def table(seed: int = 0, n: int = 40) -> xr.Dataset:
    rng = np.random.default_rng(seed)
    values = rng.normal(5, 2, (n, len(NAMES)))
    values[:, 1] = 7.5
    values[::3, 2] = np.nan
    values[seed, 3] = np.inf if seed % 2 else -np.inf
    values[:, 4] = np.nan
    values[:, 5] = 1 / 3  # the same everywhere, but its mean is not 1/3 in floats
    values[:, 6] = np.where(np.arange(n) % 2, 0.0, np.nan)
    coords = {"name": NAMES, "donor": ("record", [f"d{i % 3}" for i in range(n)])}
    return xr.Dataset({"feature": (("record", "name"), values)}, coords)


def tree(*parts: xr.Dataset) -> xr.DataTree:
    return xr.DataTree.from_dict({f"/p{i}": ds for i, ds in enumerate(parts)})


def frame(*parts: xr.Dataset) -> pd.DataFrame:
    return pd.DataFrame(np.concatenate([ds.feature.values for ds in parts]), columns=NAMES)


@pytest.mark.parametrize("chunk", [None, 1, 7, 40])
def test_statistics_are_those_of_pandas_however_it_is_cut(chunk):
    parts = [table(seed, 40) for seed in range(3)]
    held = parts if chunk is None else [ds.chunk({"record": chunk}) for ds in parts]
    found = feature_statistics(tree(*held)).compute()
    finite = frame(*parts).replace([np.inf, -np.inf], np.nan)
    for name, expected in (
        *(("feature_mean", finite.mean()), ("feature_std", finite.std())),
        *(("feature_min", finite.min()), ("feature_max", finite.max())),
    ):
        np.testing.assert_allclose(found[name], expected, rtol=1e-13, atol=1e-15)
    np.testing.assert_array_equal(found["feature_count"], finite.count())
    np.testing.assert_array_equal(found["feature_missing"], frame(*parts).isna().sum())
    np.testing.assert_array_equal(found["feature_infinite"], [0, 0, 0, 3, 0, 0, 0])


def test_sums_of_parts_merge_to_what_all_records_give():
    parts = [table(seed, 10 + seed) for seed in range(20)]  # more than are merged at once
    sums = [feature_sums(ds) for ds in parts]
    found, whole = feature_statistics(tree(*sums)), feature_statistics(tree(*parts))
    for name in whole.data_vars:
        np.testing.assert_allclose(found[name], whole[name], rtol=1e-13)
    assert found["feature_count"].dtype == "u8"


@pytest.mark.parametrize("chunk", [1, 7, 40])
def test_equal_values_have_no_deviation_at_all(chunk):
    """A third is rounded, and so is the sum of many; scifAI keeps columns with any deviation."""
    parts = [table(seed, 40).chunk({"record": chunk}) for seed in range(3)]
    found = feature_statistics(tree(*map(feature_sums, parts))).sel(name=["constant", "a_third"])
    assert found["feature_std"].values.tolist() == [0, 0]
    assert found["feature_mean"].values.tolist() == [7.5, 1 / 3]


def test_the_only_part_needs_no_tree():
    """Of a dataset of one part, ``open`` gives a Dataset."""
    ds = table()
    found = feature_statistics(ds)
    xr.testing.assert_identical(found, feature_statistics(tree(ds)))
    np.testing.assert_array_equal(
        clean_features(ds, found).feature, clean_features(ds, tree(ds)).feature
    )


def test_a_record_without_a_number_is_no_record():
    ds = xr.Dataset({"feature": (("record", "name"), [[1.0, np.nan], [np.nan] * 2])})
    found = feature_sums(ds.assign_coords(name=["a", "b"]))
    assert found["feature_missing"].values.tolist() == [0, 1]
    assert np.isnan(found["feature_min"].values[1])


def test_no_records_and_one_record():
    none = feature_statistics(tree(table().isel(record=slice(0))))
    assert none["feature_count"].values.tolist() == [0] * 7
    assert np.isnan(none["feature_mean"]).all()
    one = feature_statistics(tree(table().isel(record=slice(1, 2))))
    assert one["feature_count"].values[0] == 1
    assert np.isnan(one["feature_std"]).all()


def test_kernels_run_on_other_arrays():
    device = array_api_strict.Device("device1")
    values = table().feature.values
    rows = array_api_strict.asarray(values, device=device)
    sums = _moments(rows)
    np.testing.assert_array_equal(np.from_dlpack(sums.to_device(DEVICE)), _moments(values))
    both = array_api_strict.stack([sums, sums])
    expected = _merge(np.stack([_moments(values)] * 2))
    np.testing.assert_array_equal(np.from_dlpack(_merge(both).to_device(DEVICE)), expected)


DEVICE = array_api_strict.Device("CPU_DEVICE")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (lambda: tree(), "one child per part"),
        (lambda: tree(xr.Dataset({"x": ("record", [1.0])})), "no variable 'feature'"),
        (lambda: tree(table().drop_vars("name")), "without the coordinate name"),
        (lambda: tree(table(), table().isel(name=slice(3))), "p1: other columns than p0: a_third"),
        (lambda: tree(table(), table().isel(name=slice(None, None, -1))), "in another order"),
    ],
)
def test_what_cannot_be_summed_up_is_told(given, said):
    with pytest.raises(SchemaError, match=said):
        feature_statistics(given())


@pytest.mark.parametrize("sums", [True, False], ids=["sums", "statistics"])
def test_a_clean_table_is_that_of_pandas(sums):
    parts = [table(seed) for seed in range(3)]
    known = tree(*map(feature_sums, parts))
    known = known if sums else tree(feature_statistics(known))
    found = [clean_features(ds.chunk({"record": 9}), known) for ds in parts]
    filled = frame(*parts).replace([np.inf, -np.inf], np.nan).fillna(0.0)
    kept = ["spread", "holes", "one_infinity"]
    # pandas' deviation of 1/3 is 1e-17 by rounding, not 0
    assert set(filled.columns[filled.std() > 1e-12]) == set(kept)
    assert found[0]["name"].values.tolist() == kept
    clean = np.concatenate([ds.feature.values for ds in found])
    np.testing.assert_array_equal(clean, filled[kept])
    assert found[0]["donor"].values.tolist() == parts[0]["donor"].values.tolist()
    assert found[1].attrs["notes"] == [
        "filled in all parts: 42 missing, 3 infinite values",
        "dropped 4 of 7 columns, which do not differ: constant, empty, a_third, filled_zero",
    ]


def test_scifai_drops_a_column_with_one_infinity():
    """fillna(0), then the columns with a deviation above 0, as scifAI's notebooks do it."""
    parts = [table(seed) for seed in range(2)]
    filled = frame(*parts).drop(columns="a_third").fillna(0)
    with np.errstate(invalid="ignore"):
        kept = filled.columns[filled.std() > 0].tolist()
    found = clean_features(parts[0], tree(*parts), infinity="drop")
    assert found["name"].values.tolist() == kept == ["spread", "holes"]


def test_what_is_filled_counts_for_the_spread():
    values = [[5.0, 5.0, np.nan], [5.0, np.nan, np.nan]]
    ds = xr.Dataset({"feature": (("record", "name"), values)}, {"name": ["a", "b", "c"]})
    assert clean_features(ds, tree(ds))["name"].values.tolist() == ["b"]
    assert clean_features(ds, tree(ds), fill=5.0)["name"].values.tolist() == []
    infinite = ds.assign(feature=ds.feature.fillna(-np.inf))
    assert clean_features(infinite, tree(infinite))["name"].values.tolist() == ["b"]


def test_what_is_filled_is_a_number_of_the_features():
    """As float32, 0.1 is another number; a column of it that is filled with it has no spread."""
    values = np.array([[0.1, 1], [np.nan, 2]], "f4")
    ds = xr.Dataset({"feature": (("record", "name"), values)}, {"name": ["a", "b"]})
    assert clean_features(ds, tree(ds), fill=0.1)["name"].values.tolist() == ["b"]
    with pytest.raises(UsageError, match=r"fill: found 1e\+300; expected a finite float32"):
        clean_features(ds, tree(ds), fill=1e300)


def test_pictures_that_were_put_aside_stay_without_numbers():
    ds = table().isel(name=[0, 2]).astype("f4")
    ds["feature"][4] = np.nan
    found = clean_features(ds, tree(ds))
    assert np.isnan(found.feature.values[4]).all()
    assert np.isfinite(np.delete(found.feature.values, 4, axis=0)).all()
    assert found.feature.dtype == "f4"


def test_a_record_whose_only_number_is_dropped_is_filled():
    values = [[1.0, 5], [np.nan, 5], [2, 5]]
    ds = xr.Dataset({"feature": (("record", "name"), values)}, {"name": ["a", "b"]})
    assert clean_features(ds, tree(ds)).feature.values.tolist() == [[1], [0], [2]]


def test_many_dropped_columns_are_counted():
    values = np.zeros((2, 30))
    ds = xr.Dataset(
        {"feature": (("record", "name"), values)}, {"name": [f"f{i}" for i in range(30)]}
    )
    (note,) = clean_features(ds, tree(ds)).attrs["notes"]
    assert note.endswith("f18, f19, ... and 10 more")
    assert clean_features(table().isel(name=[0]), tree(table().isel(name=[0]))).attrs["notes"] == []


def test_a_plan_takes_all_columns():
    assert all_features(table(), tree(), fill=0.0).sizes == {"record": 40, "name": 7}


@pytest.mark.parametrize(
    ("params", "error", "said"),
    [
        ({"infinity": "keep"}, UsageError, "infinity: found 'keep'; expected 'missing' or 'drop'"),
        ({"fill": np.nan}, UsageError, "fill: found nan"),
        ({"fill": "0"}, UsageError, "fill: found '0'; expected a finite float64 number"),
        ({"fill": True}, UsageError, "fill: found True"),
    ],
)
def test_wrong_parameters(params, error, said):
    with pytest.raises(error, match=said):
        clean_features(table(), tree(table()), **params)


def test_statistics_of_other_columns():
    with pytest.raises(SchemaError, match="other columns than the features: a_third"):
        clean_features(table().isel(name=slice(3)), tree(table()))
