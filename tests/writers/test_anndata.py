"""AnnData: what is written is what its own package reads."""

import sys

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from dpipe import operators, writers
from dpipe.errors import SchemaError, UsageError
from dpipe.writers import anndata as writer

anndata = pytest.importorskip("anndata")


def table(seed: int, n: int = 30, names=("a", "b", "c")) -> xr.Dataset:
    values = np.random.default_rng(seed).normal(size=(n, len(names)))
    values[0, 0], values[1, 1] = np.nan, np.inf
    said = {"file": [f"x_{i}.h5" for i in range(n)], "donor": [f"d{i % 2}" for i in range(n)]}
    said |= {"object_number": list(range(n)), "in_block": [0] * n, "offset": list(range(n))}
    ds = xr.Dataset({"feature": (("record", "name"), da.from_array(values, chunks=(7, 3)))})
    ds = ds.assign_coords({k: ("record", v) for k, v in said.items()})
    return ds.assign_coords(name=list(names), family=("name", ["f"] * len(names)))


FLAGS = [True, False] * 15


def known(**columns) -> xr.Dataset:
    return table(0).assign_coords({name: ("record", column) for name, column in columns.items()})


def gated(name: str) -> xr.Dataset:
    gates = operators.gate(table(0), gates={"low": "a < 0"})
    return table(0).merge(gates, compat="override").assign_coords(gate_name=[name])


def read(path: str):
    """Read it as others do; that it warns of nothing is part of the test."""
    return (anndata.read_h5ad if path.endswith("h5ad") else anndata.read_zarr)(path)


def test_what_a_part_does_not_say_is_missing(tmp_path):
    parts = {"p": known(k=["T"] * 30, n=[1] * 30), "q": table(1, 2)}
    (path,) = writers.export(parts, "anndata", tmp_path)
    found = read(path).obs
    assert found["k"].isna().tolist() == found["n"].isna().tolist() == [False] * 30 + [True] * 2
    assert found["k"].iloc[0] == "T"


@pytest.mark.parametrize("format", ["h5ad", "zarr"])
def test_what_is_written_is_read_by_anndata(format, tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "_BLOCK_BYTES", 11 * 8 * 3)  # rows of blocks fit neither part
    parts = {"p": table(0), "q+": table(1, 20)}
    gates = operators.gate(parts["p"], gates={"low": "a < 0"})
    parts["p"] = parts["p"].merge(gates).assign(sampled=("record", da.ones(30, dtype=bool)))
    (path,) = writers.export({"p": parts["p"]}, "anndata", tmp_path, name="one", format=format)
    found = read(path)
    assert path == str(tmp_path / f"one.{format}")
    np.testing.assert_array_equal(found.X, parts["p"].feature.values)
    expected = ["part", "file", "donor", "object_number", "sampled", "low"]
    assert sorted(found.obs.columns) == sorted(expected)
    assert found.obs["low"].tolist() == parts["p"].gate.values[:, 0].tolist()
    assert found.var_names.tolist() == ["a", "b", "c"]
    assert found.var["family"].tolist() == ["f"] * 3
    both = {"p": table(0), "q+": table(1, 20)}
    (path,) = writers.export(both, "anndata", tmp_path / "both", format=format)
    whole = read(path)
    np.testing.assert_array_equal(whole.X, np.concatenate([ds.feature for ds in both.values()]))
    assert whole.obs_names[[0, 49]].tolist() == ["p/x_0.h5", "q+/x_19.h5"]
    assert whole.obs["part"].tolist() == ["p"] * 30 + ["q+"] * 20
    assert sorted(file.name for file in (tmp_path / "both").iterdir()) == [f"table.{format}"]


def test_records_that_are_chosen_and_rows_without_files(tmp_path):
    ds = table(0).drop_vars("file")
    (path,) = writers.export({"p": ds}, "anndata", tmp_path, where="donor == 'd1'")
    found = read(path)
    assert found.n_obs == 15
    assert found.obs_names[:2].tolist() == ["p/0", "p/1"]


@pytest.mark.parametrize(
    ("parts", "options", "error", "said"),
    [
        ({"p": table(0)}, {"format": "loom"}, UsageError, "format: found 'loom'"),
        ({"p": xr.Dataset()}, {}, SchemaError, "p: no variable 'feature'"),
        ({"p": table(0).drop_vars("name")}, {}, SchemaError, "p: features without"),
        ({"p": table(0), "q": table(0, 9, ("a", "b", "d"))}, {}, SchemaError, "q: other features"),
        (
            {"p": table(0), "q": known(k=FLAGS)},
            {},
            SchemaError,
            "p: 'k' is not known; in q it is a f",
        ),
        (
            {"p": known(k=["a"] * 30), "q": known(k=[1] * 30)},
            *({}, SchemaError, "q: 'k' is a number; in p it is a text"),
        ),
        ({"p": gated("low/high")}, {}, SchemaError, "'low/high': AnnData takes no '/' in names"),
        ({"p": gated("donor")}, {}, SchemaError, "p: gate 'donor' is what is known of records"),
    ],
)
def test_what_is_refused(parts, options, error, said, tmp_path):
    with pytest.raises(error, match=said):
        writers.export(parts, "anndata", tmp_path, **options)
    assert not list(tmp_path.iterdir())


def test_without_the_package(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "anndata", None)
    with pytest.raises(UsageError, match=r"needs anndata; install dpipe\[tables\]"):
        writers.export({"p": table(0)}, "anndata", tmp_path)


@pytest.mark.parametrize("format", ["h5ad", "zarr"])
def test_nothing_is_left_of_a_writer_that_fails(format, tmp_path):
    def fail(block):
        raise OSError("the disk is gone")

    ds = table(0)
    ds["feature"] = ds.feature.copy(data=ds.feature.data.map_blocks(fail, dtype="f8"))
    with pytest.raises(OSError, match="the disk is gone"):
        writers.export({"p": ds}, "anndata", tmp_path, format=format)
    assert not list(tmp_path.iterdir())
