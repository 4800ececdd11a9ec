"""Tables of features through runs: from pixels to a clean, gated, split table, and ``where``."""

import sys

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import dpipe
from dpipe import catalog
from dpipe.build import operator_step, plan, run
from dpipe.build.recipe import parse
from dpipe.config import Settings
from dpipe.demo.study import write_ifc_tree
from dpipe.errors import RecipeError, UsageError
from dpipe.storage import open_objects

pytestmark = pytest.mark.slow

RECIPE = """
datasets:
  cells: {{reader: ifc, source: {tree}, options: {{block: 16}}}}
  features: {{operator: cell-features, input: cells, params: {{families: [cell-shape]}}}}
  sums: {{operator: feature-sums, input: features}}
  statistics: {{operator: feature-statistics, input: sums}}
  clean: {{operator: clean-features, input: [features, statistics]}}
  gates:
    operator: gate
    input: features
    params: {{gates: {{large: Area_Ch1 > 20, bright: large and mean_intensity_Ch2 > 300}}}}
  split: {{operator: split-records, input: {{ds: cells, collection: cells}}, params: {{by: label}}}}
  small:
    operator: pictures
    input: {{ds: cells, where: gates}}
    params: {{size: 8, where: large and height > 5}}
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> str:
    """A store after a run over 120 pictures; of one folder one is corrupt and one has no mask."""
    folder = tmp_path_factory.mktemp("features")
    tree = write_ifc_tree(folder / "tree", 120, channels=3, mean_size=10)
    recipe = folder / "recipe.yaml"
    recipe.write_text(RECIPE.format(tree=tree))
    told = Settings(workers="0", author="ann", partition_bytes=10_000)
    objects = open_objects(str(folder / "store"))
    outcome = run.run(dpipe.load_recipe(recipe), objects, told, progress=False)
    assert outcome.exit_code == run.SOME_ASIDE
    again = run.run(dpipe.load_recipe(recipe), objects, told, progress=False)
    assert (again.nothing, again.exit_code) == (True, 3)
    return objects.url


def frame(tree: xr.DataTree) -> pd.DataFrame:
    rows = [ds.feature.to_pandas() for ds in tree.children.values()]
    return pd.concat(rows, ignore_index=True)


def test_the_clean_table_is_that_of_pandas_over_all_parts(store):
    whole, clean = frame(dpipe.open(store, "features")), frame(dpipe.open(store, "clean"))
    gone = whole.isna().all(axis=1)
    assert gone.sum() == 1  # the corrupt one
    filled = whole[~gone].fillna(0)
    expected = filled.loc[:, filled.min() < filled.max()]
    pd.testing.assert_frame_equal(clean[~gone], expected, check_names=False)
    assert clean[gone].isna().all(axis=None)
    statistics = dpipe.open(store, "statistics")
    np.testing.assert_allclose(statistics["feature_mean"], whole.mean(), rtol=1e-12)


def test_gates_choose_the_pictures_of_a_step(store):
    cells = dpipe.open(store, "cells", "gates", "features")
    small = dpipe.open(store, "small")
    for stem, child in cells.children.items():
        ds = child.to_dataset()
        inside = ds.feature.sel(name="Area_Ch1").values > 20
        assert ds.gate.sel(gate_name="large").values.tolist() == inside.tolist()
        kept = np.flatnonzero(inside & (ds.height.values > 5))
        found = small[stem].to_dataset()
        assert 0 < len(kept) == found.sizes["record"]
        expected = dpipe.pictures(ds.isel(record=kept), size=8)
        np.testing.assert_array_equal(found.image, expected.image)
        assert found.file.values.tolist() == ds.file.values[kept].tolist()


def test_splits_choose_records_by_an_expression(store, tmp_path):
    tree = dpipe.open(store, "cells", "split", "features")
    rows = dict.fromkeys(("train", "validation", "test"), 0)
    for split in rows:
        (path,) = dpipe.export(
            tree, "parquet", tmp_path / split, variables="feature", where=f"split == '{split}'"
        )
        rows[split] = len(pd.read_parquet(path))
    labels = np.concatenate([ds.label.values for ds in tree.children.values()])
    usable = np.concatenate([ds.put_aside.values == "" for ds in tree.children.values()])
    assert sum(rows.values()) == ((labels != "-1") & usable).sum() > 0
    assert rows["train"] > rows["test"] > 0


def test_a_plan_of_what_is_not_made_yet_computes_nothing(tmp_path):
    """Which columns a clean table will have, and which records, cannot be known yet."""
    tree = write_ifc_tree(tmp_path / "tree", 40, channels=3, mean_size=10)
    recipe = parse(RECIPE.format(tree=tree))
    objects = open_objects(str(tmp_path / "store"))
    catalog.open_store(objects.url, create=True)

    def refuse(*_, **__):
        raise AssertionError("pixels were measured")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules["dpipe.operators.cell_features.features"], "_features", refuse)
        steps = plan.Planner(objects, Settings(workers="0")).recipe(recipe)
    found = {step.step.name: step for step in steps}
    assert [len(found[name].parts) for name in ("clean", "statistics", "small")] == [2, 1, 2]
    assert all(part.action == "make" for step in steps for part in step.parts)


@pytest.mark.parametrize(
    ("inputs", "params", "error", "said"),
    [
        ("cells", {"where": 5}, UsageError, "where: found 5; expected an expression"),
        ("cells", {"where": " "}, UsageError, "expected an expression"),
        ({"ds": "cells", "where": "gates"}, {}, RecipeError, "unknown input 'where'"),
        ("cells", {"were": "large"}, UsageError, "unknown parameter 'were'"),
    ],
)
def test_where_is_checked_before_anything_runs(inputs, params, error, said):
    with pytest.raises(error, match=said):
        operator_step("small", "pictures", inputs, params=params)


def test_where_is_of_the_fingerprint():
    steps = [operator_step("s", "pictures", "cells", params={"where": w}) for w in ("a", "b")]
    assert steps[0].params != steps[1].params
    assert "where" not in operator_step("s", "pictures", "cells").params


GROWING = """
datasets:
  cells: {{reader: ifc, source: {tree}, options: {{block: 16}}}}
  channels: {{operator: channel-sums, input: cells, params: {{levels: 4096}}}}
  brightness: {{operator: channel-statistics, input: channels}}
  features: {{operator: cell-features, input: cells, params: {{families: [cell-shape]}}}}
  sums: {{operator: feature-sums, input: features}}
  statistics: {{operator: feature-statistics, input: sums}}
  some: {{operator: sample-records, input: {{ds: cells, collection: cells}}, params: {{n: 5}}}}
  split: {{operator: split-records, input: {{ds: cells, collection: cells}}, params: {{by: label}}}}
"""


def test_files_that_come_later_are_summed_alone_and_count_alike(tmp_path):
    """Sums of the part that is new, the small tables anew; all as if read in one go."""
    tree = write_ifc_tree(tmp_path / "tree", 60, channels=3, mean_size=10)
    late = sorted((tree / "Experiment_1" / "Donor_1" / "-SEA").iterdir())[-7:]
    for file in late:
        file.rename(tmp_path / file.name)
    grown, whole = (open_objects(str(tmp_path / name)) for name in ("grown", "whole"))
    told = Settings(workers="0", author="ann", max_quarantine="50%")
    run.run(parse(GROWING.format(tree=tree)), grown, told, progress=False)
    for file in late:
        (tmp_path / file.name).rename(file)
    steps = run.run(parse(GROWING.format(tree=tree)), grown, told, progress=False).steps
    made = {step["dataset"]: [stem.partition("~")[2] for stem in step["made"]] for step in steps}
    assert [made[name] for name in ("cells", "features", "channels", "sums")] == [["2"]] * 4
    run.run(parse(GROWING.format(tree=tree)), whole, told, progress=False)
    both = [dpipe.open(objects.url, "brightness") for objects in (grown, whole)]
    xr.testing.assert_equal(*both)
    for name, values in dpipe.open(grown.url, "statistics").items():
        expected = dpipe.open(whole.url, "statistics")[name]
        np.testing.assert_allclose(values, expected, rtol=1e-12, atol=1e-15)
    for name, column in (("some", "sampled"), ("split", "split")):
        found = [
            {
                pair
                for ds in dpipe.open(objects.url, name).children.values()
                for pair in zip(ds.file.values.tolist(), ds[column].values.tolist(), strict=True)
            }
            for objects in (grown, whole)
        ]
        assert found[0] == found[1]
        assert len(found[0]) == 60
