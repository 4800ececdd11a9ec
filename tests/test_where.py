"""``where`` in recipes, in Python and in exports: each operator and writer of records takes it."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import dpipe
from dpipe import operators, run, schema
from dpipe.config import Settings
from dpipe.demo import write_ifc_tree
from dpipe.errors import SchemaError
from dpipe.objects import open_objects
from dpipe.recipe import parse

BASE = """
  cells: {reader: ifc, source: SOURCE/tree, options: {block: 16}}
  shares: {reader: spillover, source: SOURCE/m.csv}
  masks: {operator: segment-cells, input: cells, params: {min_size: 10, closing: 1}}
  features: {operator: cell-features, input: [cells, masks], params: {families: [cell-shape]}}
  statistics: {operator: feature-statistics, input: features}
  gates: {operator: gate, input: features, params: {gates: {large: Area_Ch1 > 20}}}
"""
# of each operator on records its inputs and parameters, as a recipe has them
STEPS = {
    "cell-features": (["cells", "masks"], {"families": ["cell-shape"]}),
    "channel-statistics": (["cells"], {}),
    "channel-sums": (["cells", "masks"], {"inside": "own"}),
    "class-frequencies": (["cells"], {}),
    "clean-features": (["features", "statistics"], {}),
    "compensate": (["cells", "shares"], {}),
    "derive-masks": (["masks"], {"masks": {"both": "Ch1 & Ch2"}}),
    "feature-statistics": (["features"], {}),
    "feature-sums": (["features"], {}),
    "gate": (["features"], {"gates": {"bright": "mean_intensity_Ch2 > 300"}}),
    "picture-quality": (["cells", "masks"], {}),
    "pictures": (["cells", "masks"], {"size": 8}),
    "rescale-intensity": (["cells"], {}),
    "sample-records": (["cells"], {"n": 3}),
    "segment-cells": (["cells"], {"which": "all"}),
    "split-records": (["cells"], {"by": "label"}),
}
ELSEWHERE = {"rater-agreement"}  # of a table of its own, whose records no gate is over
WHERE = "large and height > 5 and condition == '+SEA'"  # some of one folder, none of the other


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("where")
    write_ifc_tree(folder / "tree", 60, channels=3, mean_size=10)
    (folder / "m.csv").write_text(",Ch1,Ch2,Ch3\nCh1,1,0.1,0\nCh2,0,1,0.2\nCh3,0,0,1\n")
    steps = [BASE]
    for name, (inputs, params) in STEPS.items():
        roles = [role for role, _ in operators.inputs(operators.OPERATORS[name])]
        given = dict(zip(roles, inputs, strict=False)) | {"where": "gates"}
        step = {"operator": name, "input": given, "params": params | {"where": WHERE}}
        steps.append(f"  of-{name}: {step}\n")
    recipe = parse(f"datasets:{''.join(steps)}".replace("SOURCE", str(folder)))
    objects = open_objects(str(folder / "store"))
    told = Settings(workers="0", author="ann", partition_bytes=10_000)
    assert run.run(recipe, objects, told, progress=False).exit_code == run.SOME_ASIDE
    return objects.url


def test_these_are_all_operators_on_records():
    over = {name for name, one in operators.OPERATORS.items() if {"record", "block"} & {*one.free}}
    assert over <= STEPS.keys()
    assert not ELSEWHERE & STEPS.keys()


@pytest.mark.parametrize("name", STEPS)
def test_a_step_works_on_the_records_chosen_alone(store, name):
    """As the operator does of records chosen beforehand, and as ``each`` does."""
    inputs, params = STEPS[name]
    trees = [dpipe.open(store, each) for each in inputs]
    gates, made = dpipe.open(store, "gates"), dpipe.open(store, f"of-{name}")
    first, *others = trees
    chosen = {stem: dpipe.select(ds.to_dataset(), WHERE, gates[stem].to_dataset())
              for stem, ds in first.children.items()}  # fmt: skip
    counts = [ds.sizes["record"] for ds in chosen.values()]
    assert [n > 0 for n in counts] == [True, False]
    assert sum(counts) < sum(ds.sizes["record"] for ds in first.children.values())
    roles = [role for role, _ in operators.inputs(operators.OPERATORS[name])]
    beside, merged = {}, {}
    for role, tree in zip(roles[1:], others, strict=False):
        beside[role] = tree
        merged[role] = tree
        if isinstance(tree, xr.DataTree):
            beside[role] = {
                stem: dpipe.select(ds.to_dataset(), WHERE, gates_of(store, stem))
                for stem, ds in tree.children.items()
            }
    expected = dpipe.each(chosen, name, **beside, **params)
    whole = {stem: child.to_dataset().merge(gates_of(store, stem).drop_attrs(), compat="override")
             for stem, child in first.children.items()}  # fmt: skip
    again = dpipe.each(whole, name, **merged, **params, where=WHERE)
    for stem in chosen if isinstance(expected, xr.DataTree) else [""]:
        one, two, three = (
            tree[stem].to_dataset() if stem else tree for tree in (expected, again, made)
        )
        for variable in one.data_vars:
            np.testing.assert_array_equal(two[variable], one[variable])
            np.testing.assert_array_equal(three[variable], one[variable])


def gates_of(store: str, stem: str) -> xr.Dataset:
    return dpipe.open(store, "gates", part=stem)


@pytest.mark.parametrize("writer", ["anndata", "csv", "parquet"])
def test_exports_of_tables(store, writer, tmp_path):
    tree = dpipe.open(store, "features", "gates")
    inside = sum(int(ds.gate.values.sum()) for ds in tree.children.values())
    said = {"variables": "feature"} if writer != "anndata" else {}
    paths = dpipe.export(tree, writer, tmp_path, where="large", **said)
    if writer == "anndata":
        anndata = pytest.importorskip("anndata")
        read = anndata.read_zarr if paths[0].endswith(".zarr") else anndata.read_h5ad
        assert sum(read(path).n_obs for path in paths) == inside
    else:
        read = pd.read_csv if writer == "csv" else pd.read_parquet
        assert len(read(paths[0])) == inside


@pytest.mark.parametrize("writer", ["coco", "tiff", "segmentation", "classification", "ome-zarr"])
def test_what_has_no_records_cannot_be_chosen_from(writer, tmp_path):
    movie = schema.movie(np.zeros((1, 1, 1, 4, 4), "u1"))
    with pytest.raises(SchemaError, match="where='a > 1' chooses records; found the dims t, c"):
        dpipe.export(movie, writer, tmp_path, where="a > 1")
