"""Cohen's kappa: by hand, the published ones of scifAI's raters, and what is refused."""

import csv
import json
import math

import numpy as np
import pytest
import xarray as xr

from dpipe.errors import SchemaError, UsageError
from dpipe.operators import cohen_kappa, rater_agreement

RATERS = {
    # file, columns of object and class, and kappa as inter-intra-rater.ipynb prints or plots it
    "AB": ("ali_annotation.csv", 0, 1, 0.7920, 4),
    "KE": ("ke_annotation.csv", 0, 1, 0.84, 2),
    "TN": ("tijana_annotation.csv", 0, 1, 0.80, 2),
    "NK": ("nikos_annotation.csv", 0, 1, 0.65, 2),  # the plot says 0.66, typed by hand; 0.6525
}


def ratings(folder) -> xr.Dataset:
    """What four people and the first labels say of 100 cells; three have no label of KE."""
    rows = list(csv.DictReader((folder / "first_round.csv").read_text().splitlines()))
    objects = [int(row["object_number"]) for row in rows]
    columns = {"label": [row["label"] for row in rows]}
    for rater, (name, key, value, *_) in RATERS.items():
        lines = list(csv.reader((folder / name).read_text().splitlines()))[1:]
        said = {int(line[key]): line[value] for line in lines}
        columns[rater] = [said.get(number, "") for number in objects]
    table = np.array(list(columns.values())).T
    return xr.Dataset(
        {"rating": (("record", "rater"), table)},
        {"rater": list(columns), "object_number": ("record", objects)},
    )


def test_published_kappas_come_out(shared_data):
    folder = shared_data / "scifai" / "interrater"
    classes = json.loads((folder / "label_maps.json").read_text())["first_round"]
    found = rater_agreement(ratings(folder), classes=classes)
    for rater, (*_, kappa, digits) in RATERS.items():
        assert round(float(found["kappa"].sel(rater=rater, other="label")), digits) == kappa
    assert found["rater_agreement"].sel(rater="AB", other="label") == 0.82  # printed there too
    assert found["rated_by_both"].sel(other="label").values.tolist() == [100, 100, 97, 100, 100]
    np.testing.assert_array_equal(found["kappa"], found["kappa"].values.T)
    np.testing.assert_array_equal(np.diag(found["kappa"]), 1)


@pytest.mark.parametrize(
    ("first", "second", "kappa"),
    [
        ("aabb", "abbb", 0.5),  # 3/4 agree, 1/2 * 1/4 + 1/2 * 3/4 = 1/2 by chance
        ("abab", "baba", -1.0),
        ("aabb", "abab", 0.0),
        ("abc", "abc", 1.0),
        ("aaaa", "aaab", 0.0),
        ("aa", "aa", math.nan),  # all by chance
        ("", "", math.nan),
    ],
)
def test_kappa_by_hand(first, second, kappa):
    assert cohen_kappa(first, second) == pytest.approx(kappa, nan_ok=True)


def test_texts_become_classes_and_gaps_are_left_out():
    said = [["T cell ", "T_cell"], ["B", "T_cell"], ["", "T_cell"], ["B", ""], ["B", "B"]]
    ds = xr.Dataset({"rating": (("record", "rater"), said)}, {"rater": ["x", "y"]})
    found = rater_agreement(ds.chunk({"record": 2}), classes={" T cell": "T_cell "})
    assert found["rated_by_both"].values.tolist() == [[4, 3], [3, 4]]
    assert found["rater_agreement"].values[0, 1] == pytest.approx(2 / 3)
    assert found["kappa"].values[0, 1] == pytest.approx(0.4)  # (2/3 - 4/9) / (5/9)


def test_raters_without_a_common_record():
    ds = xr.Dataset(
        {"rating": (("record", "rater"), [["a", ""], ["", "b"]])}, {"rater": ["x", "y"]}
    )
    found = rater_agreement(ds)
    assert np.isnan(found["kappa"].values).all()  # one class each, besides
    assert np.isnan(found["rater_agreement"].values[0, 1])


def test_what_is_refused():
    with pytest.raises(SchemaError, match="no variable 'rating'"):
        rater_agreement(xr.Dataset())
    with pytest.raises(SchemaError, match="without the coordinate rater"):
        rater_agreement(xr.Dataset({"rating": (("record", "rater"), [["a"]])}))
    ds = xr.Dataset({"rating": (("record", "rater"), [["a"]])}, {"rater": ["x"]})
    with pytest.raises(UsageError, match=r"classes: found \['T'\]; expected texts and the class"):
        rater_agreement(ds, classes=["T"])
    with pytest.raises(UsageError, match="2 classes beside 1"):
        cohen_kappa("ab", "a")
