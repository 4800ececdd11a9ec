"""Splits of records: even over strata, whole donors, no object in two splits."""

from collections import Counter

import numpy as np
import pytest
import xarray as xr

from dpipe.errors import SchemaError, UsageError
from dpipe.operators import split_records


def part(condition: str, n: int = 120) -> xr.Dataset:
    """n objects of 4 donors in 2 experiments, two thirds of class T, every sixth without label."""
    said = {
        "file": [f"{condition}_{i}.h5" for i in range(n)],
        "object_number": list(range(n)),
        "experiment": [f"E{i % 2}" for i in range(n)],
        "donor": [f"D{i % 4}" for i in range(n)],
        "condition": [condition] * n,
        "label": ["-1" if i % 6 == 5 else "T" if i % 3 else "B" for i in range(n)],
        "height": [10 + i for i in range(n)],
    }
    return xr.Dataset(coords={name: ("record", column) for name, column in said.items()})


PARTS = {"/a": part("+SEA"), "/b": part("-SEA", 60)}
TREE = xr.DataTree.from_dict(PARTS)


def splits(**params) -> list[tuple[str, ...]]:
    """(split, label, experiment, donor, condition) of every record of all parts."""
    rows = []
    for ds in PARTS.values():
        found = split_records(ds, TREE, **params)
        columns = ("split", "label", "experiment", "donor", "condition")
        rows += list(zip(*(found[name].values.tolist() for name in columns), strict=True))
    return rows


def test_every_stratum_is_split_alike_over_all_parts():
    rows = splits()
    strata = Counter(row[1:4] for row in rows if row[0])
    found = Counter((row[0], *row[1:4]) for row in rows if row[0])
    assert sum(strata.values()) == 150  # five sixths of 180
    for stratum, n in strata.items():
        assert abs(found["test", *stratum] - 0.3 * n) <= 0.5
        assert abs(found["validation", *stratum] - 0.14 * n) <= 1
        assert abs(found["train", *stratum] - 0.56 * n) <= 0.5
    assert {row[1] for row in rows if not row[0]} == {"-1"}


def test_a_split_depends_on_names_and_seed_alone():
    ds = part("+SEA")
    order = np.random.default_rng(0).permutation(ds.sizes["record"])
    first = split_records(ds)["split"]
    again = split_records(ds.isel(record=order))["split"]
    assert again.values.tolist() == first.values[order].tolist()
    assert (split_records(ds, seed=1)["split"] != first).any()


def test_few_records_are_learnt_from_first():
    """Middles of n places: 1/2 is train; of two 1/4 is test, 3/4 is train."""
    for n, expected in ((1, ["train"]), (2, ["test", "train"]), (3, ["test", "train", "train"])):
        ds = part("+SEA", n).assign_coords(label=("record", ["T"] * n))
        assert sorted(split_records(ds, by="label")["split"].values.tolist()) == expected


def test_one_object_in_two_files_stands_in_one_split():
    ds = part("+SEA", 40)
    twice = xr.concat([ds, ds.assign_coords(file="copy_" + ds["file"].astype(object))], "record")
    found = split_records(twice)["split"].values
    assert found[:40].tolist() == found[40:].tolist()
    assert len(set(found.tolist())) == 4


def test_objects_that_are_numbered_anew_in_each_well():
    """With wells in place of donors, object 3 of one is not that of another; files tell."""
    ds = part("+SEA", 40).drop_vars(["experiment", "donor", "condition"])
    ds = ds.assign_coords(
        well=("record", ["A1"] * 20 + ["A2"] * 20),
        object_number=("record", [*range(20)] * 2),
        label=("record", ["T"] * 40),
    )
    found = split_records(ds, by="well")["split"].values
    assert [Counter(found[:20].tolist()), Counter(found[20:].tolist())] == [
        {"train": 11, "validation": 3, "test": 6}
    ] * 2


def test_whole_donors_are_left_out():
    rows = splits(whole="donor")
    held = {row[3]: {r[0] for r in rows if r[3] == row[3] and r[0]} for row in rows}
    assert all(len(found) == 1 for found in held.values())
    assert set().union(*held.values()) == {"train", "validation", "test"} or len(held) == 4
    two = {row[2:4]: row[0] for row in splits(whole=["experiment", "donor"]) if row[0]}
    assert len(two) == 4


def test_the_donor_that_is_named_is_left_out():
    rows = splits(whole="donor", test=["D2"], fractions=(0.5, 0.2, 0.3))
    assert {row[3] for row in rows if row[0] == "test"} == {"D2"}
    assert {row[0] for row in rows if row[3] == "D2"} <= {"test", ""}
    assert {row[0] for row in rows if row[3] != "D2"} <= {"train", "validation", ""}


def test_what_is_not_for_test_is_shared_as_the_fractions_say():
    """One of 36 donors is named; of the 35 others two sevenths are for validation."""
    ds = part("+SEA", 36).assign_coords(donor=("record", [f"D{i}" for i in range(36)]))
    params = {"whole": "donor", "test": ["D7"], "among": "height > 0"}
    found = split_records(ds, fractions=(0.5, 0.2, 0.3), **params)["split"].values
    assert Counter(found.tolist()) == {"test": 1, "validation": 10, "train": 25}


def test_an_expression_says_what_is_split():
    rows = splits(among="label == 'B' and condition == '+SEA'")
    assert {row[1:5:3] for row in rows if row[0]} == {("B", "+SEA")}
    gone = part("+SEA").assign_coords(put_aside=("record", ["x"] + [""] * 119))
    assert split_records(gone, among="height > 0")["split"].values[:2].tolist()[0] == ""


def test_counts_are_told():
    found = split_records(part("+SEA"), fractions=[1, 0, 0])
    assert found.attrs["notes"] == ["train 100, validation 0, test 0, without a split 20"]
    assert found["split"].dtype.kind == "U"


@pytest.mark.parametrize(
    ("params", "error", "said"),
    [
        ({"fractions": (0.5, 0.5)}, UsageError, "fractions: found"),
        ({"fractions": "half"}, UsageError, "fractions: found 'half'"),
        ({"fractions": (0.5, 0.4, 0.3)}, UsageError, "whose sum is 1"),
        ({"fractions": (1.2, 0.1, -0.3)}, UsageError, "whose sum is 1"),
        ({"seed": "0"}, UsageError, "seed: found '0'"),
        ({"by": "labels"}, UsageError, "unknown name 'labels'; did you mean 'label'"),
        ({"whole": "donr"}, UsageError, "whole: unknown name 'donr'"),
        ({"test": ["D1"]}, UsageError, "name what is left out whole"),
        ({"whole": "donor", "test": ["D9"]}, UsageError, "test: unknown donor 'D9'"),
        ({"among": "lbl == 'T'"}, UsageError, "unknown name 'lbl'"),
    ],
)
def test_wrong_parameters(params, error, said):
    with pytest.raises(error, match=said):
        split_records(part("+SEA"), TREE, **params)


def test_no_records():
    with pytest.raises(SchemaError, match="no records; found the dims none"):
        split_records(xr.Dataset())
