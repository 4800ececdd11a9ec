"""Counts held against reference counts: scikit-learn's numbers, and breaks that were planted."""

import numpy as np
import pytest
import xarray as xr

from dpipe.errors import SchemaError, UsageError
from dpipe.operators import OPERATORS
from dpipe.operators.annotations.object_counts import linearity_break, r2

object_counts = OPERATORS["object-counts"].function
RNG = np.random.default_rng(0)
TRUTH = np.sort(RNG.integers(20, 2500, 300)).astype(float)
NOISY = TRUTH + RNG.normal(0, 15, 300)
SATURATED = np.where(TRUTH < 1200, NOISY, 1200 + (TRUTH - 1200) * 0.2)


def published(truth, counts, limit):
    """The p of the published rule at one limit, in scikit-learn's words."""
    from scipy.stats import levene
    from sklearn.linear_model import LinearRegression
    from sklearn.neighbors import KNeighborsRegressor

    few = truth < limit
    x, y = counts[few, None], truth[few]
    residuals = [y - m.fit(x, y).predict(x) for m in (KNeighborsRegressor(5), LinearRegression())]
    return levene(*residuals).pvalue


def test_shares_are_those_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    for counts in (NOISY, SATURATED, TRUTH):
        assert r2(TRUTH, counts) == pytest.approx(metrics.r2_score(TRUTH, counts), rel=1e-12)


def test_the_break_is_the_first_limit_that_the_published_rule_refuses():
    pytest.importorskip("sklearn")
    found = linearity_break(TRUTH, SATURATED)
    assert 1200 < found < 2500
    assert published(TRUTH, SATURATED, found) < 1e-5
    before = range(500, int(found), 25)
    assert all(published(TRUTH, SATURATED, limit) >= 1e-5 for limit in before)


def test_a_line_has_no_break():
    assert np.isnan(linearity_break(TRUTH, NOISY))
    assert np.isnan(linearity_break(TRUTH, np.full(300, 7.0)))


def test_a_table_of_several_columns():
    texts = np.array([str(v) for v in NOISY])
    texts[3] = ""
    ds = xr.Dataset({"reference": ("record", TRUTH), "net": ("record", SATURATED)})
    found = object_counts(ds.assign_coords(other=("record", texts)), predicted="net, other")
    assert found["counts"].values.tolist() == ["net", "other"]
    told = found.feature
    assert told.sel(name="pictures_left_out").values.tolist() == [0, 1]
    assert told.sel(name="pictures").values.tolist() == [
        (TRUTH < 1600).sum(),
        (TRUTH < 1600).sum() - 1,
    ]
    assert np.isnan(told.sel(name="linearity_break").values).tolist() == [False, True]


def test_nothing_to_compare():
    ds = xr.Dataset({"reference": ("record", [np.nan]), "predicted": ("record", [3.0])})
    assert np.isnan(object_counts(ds).feature.sel(name="r2").item())


def test_wrong_use():
    ds = xr.Dataset({"reference": ("record", TRUTH), "predicted": ("record", NOISY)})
    for options in ({"most": 0}, {"level": -1}, {"predicted": ""}):
        with pytest.raises(UsageError, match=next(iter(options))):
            object_counts(ds, **options)
    with pytest.raises(SchemaError, match="no column 'x' of counts"):
        object_counts(ds, reference="x")
    with pytest.raises(SchemaError, match="expected record"):
        object_counts(ds.assign(predicted=("t", [1.0])))
    with pytest.raises(SchemaError, match="expected numbers"):
        object_counts(ds.assign(predicted=("record", ["many"] * 300)))
