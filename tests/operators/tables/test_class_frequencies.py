"""Frequencies of classes: counts by hand, the published comparison, and what is refused."""

import numpy as np
import pytest
import xarray as xr

from dpipe.errors import SchemaError, UsageError
from dpipe.operators import class_frequencies

PUBLISHED = {
    # percent of synapses with signalling in each sample, as "Frequency analysis.ipynb" of scifAI
    # prints them; its Mann-Whitney test of the two says U = 4.0, p = 0.0 (rounded to 0.001)
    "-SEA": [0.15, 0.09, 0.96, 0.71, 0.85, 1.24, 0.63, 1.74, 0.99, 1.72, 1.34],
    "+SEA": [1.6, 1.83, 3.52, 2.46, 2.81, 2.71, 1.41, 4.26, 2.65, 2.51],
}


def sample(condition: str, donor: str, labels, **more) -> xr.Dataset:
    n = len(labels)
    said = {"label": labels, "condition": [condition] * n, "donor": [donor] * n}
    said |= {"experiment": ["E"] * n} | more
    return xr.Dataset(coords={k: ("record", np.array(v, dtype=str)) for k, v in said.items()})


def tree(*parts: xr.Dataset) -> xr.DataTree:
    return xr.DataTree.from_dict({f"/p{i}": ds for i, ds in enumerate(parts)})


def test_published_comparison_comes_out():
    parts = [
        sample(
            condition, f"D{i:02}", ["synapse"] * round(100 * p) + ["other"] * round(100 * (100 - p))
        )
        for condition, shares in PUBLISHED.items()
        for i, p in enumerate(shares)
    ]
    found = class_frequencies(tree(*parts))
    share = 100 * found["class_frequency"].sel(measure="synapse")
    assert share.values[found["condition"].values == "-SEA"].round(2).tolist() == PUBLISHED["-SEA"]
    assert found["group"].values.tolist() == ["+SEA", "-SEA"]
    assert found["pair_u"].sel(measure="synapse").values.tolist() == [10 * 11 - 4]
    assert found["pair_p"].sel(measure="synapse").values[0] == pytest.approx(0.000376, rel=1e-2)
    assert found["pair_stars"].sel(measure="synapse").values.tolist() == ["***"]
    assert found["kruskal_p"].sel(measure="synapse").values < 0.001


def test_counts_and_shares():
    parts = [
        sample("a", "x", list("TTB")),
        sample("a", "x", ["T", "-1"]),  # of the same sample, another part; one without a label
        sample("a", "y", list("BB")),
        sample("b", "x", list("TTTM")),
    ]
    found = class_frequencies(tree(*parts))
    assert found["measure"].values.tolist() == ["B", "M", "T"]
    assert found["class_count"].values.tolist() == [[1, 2, 0], [0, 0, 1], [3, 0, 3]]
    assert found["class_frequency"].values.tolist() == [[0.25, 1, 0], [0, 0, 0.25], [0.75, 0, 0.75]]
    told = [found[name].values.tolist() for name in ("condition", "experiment", "donor")]
    assert told == [["a", "a", "b"], ["E"] * 3, ["x", "y", "x"]]
    assert found["group_size"].values.tolist() == [[2, 1]] * 3
    assert "B: b has 1 of at least 2 numbers" in found.attrs["untested"]


def test_classes_that_are_left_out_change_the_shares():
    parts = [sample("a", "x", list("TTBM")), sample("b", "y", list("MM"))]
    found = class_frequencies(tree(*parts), classes=["T", "B"])
    np.testing.assert_allclose(found["class_frequency"], [[2 / 3, np.nan], [1 / 3, np.nan]])
    assert found["group_left_out"].values.tolist() == [[0, 1]] * 2


def test_what_a_model_said_is_counted_where_an_expression_is_true():
    ds = sample("a", "x", ["-1"] * 3, prediction=["T", "B", "T"], key=["1", "2", "3"])
    found = class_frequencies(tree(ds), label="prediction", among="key != '3'", sample="donor")
    assert found["class_count"].values.ravel().tolist() == [1, 1]


def test_by_default_all_count_that_have_a_class_of_the_kind_asked_for():
    """What a model said counts without a person's label; not where a picture was put aside."""
    said = {"prediction": ["T", "B", "T", "-1", "", "T"], "put_aside": [""] * 5 + ["empty file"]}
    ds = sample("a", "x", ["-1", "T", "-1", "T", "T", "T"], **said)
    found = class_frequencies(ds, label="prediction")  # the only part needs no tree
    assert found["measure"].values.tolist() == ["B", "T"]
    assert found["class_count"].values.ravel().tolist() == [1, 2]
    aside = class_frequencies(tree(ds), label="prediction", among="prediction == 'T'")
    assert aside["class_count"].values.tolist() == [[2]]


@pytest.mark.parametrize(
    ("given", "params", "error", "said"),
    [
        (lambda: tree(), {}, SchemaError, "no record has a class"),
        (lambda: tree(xr.Dataset({"x": ("t", [1])})), {}, SchemaError, "p0: no records to count"),
        (None, {"by": "conditon"}, UsageError, "did you mean 'condition'"),
        (None, {"label": "prediction"}, UsageError, "label: unknown name 'prediction'"),
        (None, {"classes": ["Q"]}, UsageError, "classes: unknown class 'Q'"),
        (None, {"method": "fast"}, UsageError, "method: found 'fast'"),
        (None, {"adjust": "fdr"}, UsageError, "adjust: found 'fdr'"),
    ],
)
def test_what_is_refused(given, params, error, said):
    data = given() if given else tree(sample("a", "x", ["T"]))
    with pytest.raises(error, match=said):
        class_frequencies(data, **params)
