"""Label images held against each other, pixel by pixel: scikit-learn's numbers."""

import annotated
import numpy as np
import pytest
import xarray as xr

from dpipe import schema
from dpipe.errors import SchemaError, UsageError
from dpipe.operators import OPERATORS

semantic_scores = OPERATORS["semantic-scores"].function


def movie(seed, frames=3):
    labels = np.random.default_rng(seed).integers(0, 4, (frames, 1, 20, 30)).astype("u1")
    return xr.Dataset({"labels": (("t", "z", "y", "x"), labels)})


def column(ds, name):
    return dict(zip(ds["label"].values.tolist(), ds.feature.sel(name=name).values, strict=True))


def test_every_class_is_that_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    one, two = movie(0), movie(1)
    truth, found = one["labels"].values.ravel(), two["labels"].values.ravel()
    scores = semantic_scores(one, two, objects=False)
    assert scores["label"].values.tolist() == ["0", "1", "2", "3", "all"]
    expected = {
        "iou": metrics.jaccard_score(truth, found, average=None),
        "dice": metrics.f1_score(truth, found, average=None),
        "precision": metrics.precision_score(truth, found, average=None),
        "recall": metrics.recall_score(truth, found, average=None),
    }
    for name, values in expected.items():
        np.testing.assert_allclose(list(column(scores, name).values())[:4], values, rtol=1e-12)
        assert column(scores, name)["all"] == pytest.approx(values[1:].mean(), rel=1e-12)
    accuracy = column(scores, "pixel_accuracy")["all"]
    assert accuracy == pytest.approx(metrics.accuracy_score(truth, found), rel=1e-12)


def test_objects_are_inside_or_outside():
    one, two = movie(0), movie(1)
    scores = column(semantic_scores(one, two), "iou")
    truth, found = (ds["labels"].values > 0 for ds in (one, two))
    assert scores["1"] == (truth & found).sum() / (truth | found).sum()
    assert list(scores) == ["0", "1", "all"]


def test_packed_pictures():
    ds = annotated.labelled()
    scores = semantic_scores(ds, ds)
    assert column(scores, "dice") == {"0": 1, "1": 1, "all": 1}
    assert column(scores, "pixels")["all"] == (ds["height"] * ds["width"]).sum()


def test_nothing_inside():
    empty = movie(0) * 0
    assert np.isnan(column(semantic_scores(empty.astype("u1"), empty.astype("u1")), "iou")["all"])


def test_wrong_use():
    one = movie(0)
    with pytest.raises(UsageError, match="objects: found 1"):
        semantic_scores(one, one, objects=1)
    with pytest.raises(UsageError, match="of fewer pictures"):
        semantic_scores(one, movie(0, frames=2))
    with pytest.raises(UsageError, match="another picture or size"):
        semantic_scores(one, one.isel(x=slice(0, 9)))
    with pytest.raises(SchemaError):
        semantic_scores(one, xr.Dataset())
    assert schema.FEATURE.name in semantic_scores(one, one)
