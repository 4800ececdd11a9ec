"""The table of operators: names and signatures."""

import sys

import pytest

from dpipe.errors import UsageError
from dpipe.operators import OPERATORS, inputs, optional, resolve


def test_inputs():
    kinds = {name: inputs(operator) for name, operator in OPERATORS.items()}
    assert kinds["frame-quality"] == [("ds", "dataset")]
    assert kinds["quality-table"] == [("tree", "tree")]
    assert kinds["group-tests"] == [("tree", "tree"), ("conditions", "tree")]


def test_names():
    assert all(resolve(name) is operator for name, operator in OPERATORS.items())


def test_unknown_name():
    with pytest.raises(UsageError, match="did you mean 'thumbnails'"):
        resolve("thumbnail")


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Put a module of the user's own on the path."""
    (tmp_path / "ownlab").mkdir()
    (tmp_path / "ownlab" / "__init__.py").write_text("")
    (tmp_path / "ownlab" / "qc.py").write_text(
        "from __future__ import annotations\n"
        "import xarray as xr\n"
        "def sharpness(ds: xr.Dataset, *, power: int = 2) -> xr.Dataset: return ds\n"
        "def crops(ds: xr.Dataset, tracks: xr.Dataset, *, size: int = 9) -> xr.Dataset: return ds\n"
        "def whole(tree: xr.DataTree) -> xr.Dataset: return tree.to_dataset()\n"
        "crops.version, crops.free = 4, ('t',)\n"
        "def bare(ds): return ds\n"
        "def odd(ds: Unheard) -> None: pass\n"
        "def nothing(*, size: int = 1) -> xr.Dataset: return xr.Dataset()\n"
        "def catchall(ds: xr.Dataset, **rest) -> xr.Dataset: return ds\n"
        "def versioned(ds: xr.Dataset) -> xr.Dataset: return ds\n"
        "versioned.version = 'two'\n"
        "def freed(ds: xr.Dataset) -> xr.Dataset: return ds\n"
        "freed.free = 't'\n"
        "def may(ds: xr.Dataset, all: xr.DataTree | None = None, one: None | xr.Dataset = None,\n"
        "        *, size: int = 1) -> xr.Dataset: return ds\n"
        "def alone(ds: xr.Dataset | None = None) -> xr.Dataset: return ds\n"
        "def must(ds: xr.Dataset, one: xr.Dataset | None) -> xr.Dataset: return ds\n"
        "def never(ds: xr.Dataset, one: xr.Dataset = None) -> xr.Dataset: return ds\n"
        "number = 3\n"
    )
    (tmp_path / "ownlab" / "broken.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield "ownlab"
    for name in [name for name in sys.modules if name.startswith("ownlab")]:
        del sys.modules[name]


def test_an_operator_of_the_users_own(own):
    plain, crops = resolve(f"{own}.qc:sharpness"), resolve(f"{own}.qc:crops")
    assert (plain.version, plain.free) == (1, ())
    assert (crops.version, crops.free) == (4, ("t",))
    assert inputs(crops) == [("ds", "dataset"), ("tracks", "dataset")]
    assert inputs(resolve(f"{own}.qc:whole")) == [("tree", "tree")]


def test_inputs_that_may_be_left_out(own):
    operator = resolve(f"{own}.qc:may")
    assert inputs(operator) == [("ds", "dataset"), ("all", "tree"), ("one", "dataset")]
    assert optional(operator) == {"all", "one"}
    assert optional(OPERATORS["mesh-masks"]) == set()
    assert optional(OPERATORS["group-tests"]) == {"conditions"}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nowhere.qc:sharpness", "cannot import 'nowhere.qc'"),
        ("ownlab.broken:sharpness", "ZeroDivisionError"),
        (":sharpness", "cannot import ''"),
        ("ownlab.qc:sharpnes", "did you mean 'sharpness'"),
        ("ownlab.qc:", "unknown function ''"),
        ("ownlab.qc:number", "found a int; expected a function"),
        ("ownlab.qc:bare", "input 'ds' must be annotated"),
        ("ownlab.qc:odd", "cannot read its signature"),
        ("ownlab.qc:nothing", "no input"),
        ("ownlab.qc:catchall", r"\*\*rest"),
        ("ownlab.qc:versioned", "version is 'two'"),
        ("ownlab.qc:freed", "free is 't'"),
        ("ownlab.qc:alone", "'ds': one that may be left out .* is not the first"),
        ("ownlab.qc:must", r"'one': one that may be left out is annotated \| None"),
        ("ownlab.qc:never", "'one': one that may be left out is"),
    ],
)
def test_what_is_no_operator(own, name, words):
    with pytest.raises(UsageError, match=words):
        resolve(name)
