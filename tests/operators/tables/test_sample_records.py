"""Samples of records: how many, which, and that nothing else decides."""

import numpy as np
import pytest
import xarray as xr

from dpipe.errors import SchemaError, UsageError
from dpipe.operators import sample_records


def records(n: int = 60) -> xr.Dataset:
    """Three donors of n / 3 objects each; every tenth object has a label, 7 was put aside."""
    said = {
        "file": [f"E_D_{i}.h5" for i in range(n)],
        "object_number": list(range(n)),
        "experiment": ["E"] * n,
        "donor": [f"D{i % 3}" for i in range(n)],
        "condition": ["+SEA"] * n,
        "label": ["T_cell" if i % 10 == 0 else "-1" for i in range(n)],
        "put_aside": ["empty file" if i == 7 else "" for i in range(n)],
    }
    return xr.Dataset(coords={name: ("record", column) for name, column in said.items()})


def chosen(ds: xr.Dataset, **params) -> set[str]:
    found = sample_records(ds, **params)
    return set(found["file"].values[found["sampled"].values].tolist())


def test_n_of_each_group_labelled_ones_first():
    found = sample_records(records(), n=5)["sampled"].to_series()
    donors = records()["donor"].values
    assert found.groupby(donors).sum().tolist() == [5, 5, 5]
    assert {f"E_D_{i}.h5" for i in range(0, 60, 10)} <= chosen(records(), n=5)


@pytest.mark.parametrize(
    ("params", "count"),
    [
        ({"n": 0}, 6),  # those with a label
        ({"n": 0, "labelled": False}, 0),
        ({"n": 1}, 6),  # two labelled ones a donor
        ({"n": 1000}, 59),  # all but the one that was put aside
        ({"n": 7, "by": "experiment", "labelled": False}, 7),
        ({"n": 7, "by": "experiment, condition"}, 7),
    ],
)
def test_how_many(params, count):
    assert len(chosen(records(), **params)) == count


def test_names_and_seed_decide_alone():
    ds = records()
    first = chosen(ds, n=5)
    shuffled = ds.isel(record=np.random.default_rng(0).permutation(60))
    assert chosen(shuffled, n=5) == first == chosen(ds, n=5)
    assert chosen(ds, n=5, seed=1) != first
    assert len(first - chosen(records(61), n=5)) <= 1  # one record more moves at most one out


def test_a_group_may_go_over_several_parts():
    whole = records()
    parts = {"/a": whole.isel(record=slice(25)), "/b": whole.isel(record=slice(25, None))}
    tree = xr.DataTree.from_dict(parts)
    found = [sample_records(ds, tree, n=5)["sampled"].values for ds in parts.values()]
    assert np.concatenate(found).tolist() == sample_records(whole, n=5)["sampled"].values.tolist()
    alone = [sample_records(ds, n=5)["sampled"].values for ds in parts.values()]
    assert np.concatenate(alone).sum() == 30


def test_objects_are_numbered_anew_in_each_group():
    """Wells in place of donors: object 3 of one well is not that of another."""
    ds = records(60).drop_vars(["experiment", "donor", "condition"])
    well = np.repeat(["A1", "A2", "A3"], 20)
    ds = ds.assign_coords(well=("record", well), object_number=("record", [*range(20)] * 3))
    for one in (ds, ds.drop_vars("file")):
        found = sample_records(one, n=4, by="well", labelled=False)["sampled"]
        assert [int(found[well == name].sum()) for name in ("A1", "A2", "A3")] == [4, 4, 4]


def test_an_object_in_two_files_counts_once():
    ds = records(30)
    twice = xr.concat([ds, ds.assign_coords(file="copy_" + ds["file"].astype(object))], "record")
    found = sample_records(twice, n=4)["sampled"].values
    assert found[:30].tolist() == found[30:].tolist()
    assert found[:30].tolist() == sample_records(ds, n=4)["sampled"].values.tolist()


def test_the_only_part_needs_no_tree():
    ds = records()
    assert sample_records(ds, ds, n=5).identical(sample_records(ds, n=5))


def test_a_record_without_a_number_goes_by_its_file():
    ds = records(6).assign_coords(object_number=("record", [-1] * 6))
    assert chosen(ds, n=1, labelled=False) == chosen(
        ds.drop_vars("object_number"), n=1, labelled=False
    )
    assert sample_records(ds.drop_vars("file"))["sampled"].sum() == 6


@pytest.mark.parametrize(
    ("ds", "params", "error", "said"),
    [
        (records(), {"n": -1}, UsageError, "n: found -1"),
        (records(), {"n": True}, UsageError, "n: found True"),
        (records(), {"seed": 0.5}, UsageError, "seed: found 0.5"),
        (records(), {"by": "donr"}, UsageError, "unknown name 'donr'; did you mean 'donor'"),
        (records(), {"by": 5}, UsageError, "by: found 5; expected names"),
        (xr.Dataset({"x": ("t", [1])}), {}, SchemaError, "no records; found the dims t"),
        (xr.Dataset({"x": ("record", [1])}), {}, SchemaError, "which tell them apart"),
    ],
)
def test_what_is_refused(ds, params, error, said):
    with pytest.raises(error, match=said):
        sample_records(ds, **params)
