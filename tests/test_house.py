"""What no move of modules may change: public names, and stores that were written before it."""

import json
from pathlib import Path

import pytest
from old_store import unzipped

import dpipe
import dpipe.sklearn
from dpipe import plot
from dpipe.build import load_recipe as load
from dpipe.build import run
from dpipe.build.plan import Planner
from dpipe.checks import store as checks_store
from dpipe.config import Settings
from dpipe.storage import open_objects

NAMES = json.loads((Path(__file__).parent / "public_names.json").read_text())


@pytest.mark.parametrize("module", [dpipe, plot, dpipe.sklearn], ids=lambda m: m.__name__)
def test_public_names_stay(module):
    assert sorted(module.__all__) == NAMES[module.__name__]
    assert all(getattr(module, name) is not None for name in module.__all__)


def test_a_store_from_before_the_move_needs_nothing_done(tmp_path, monkeypatch):
    folder = unzipped(tmp_path, "0.1.0-flat")
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    store = open_objects(str(folder / "store"))
    before = {entry.key: (entry.size, entry.mtime) for entry in store.list("")}
    assert list(checks_store.verify(store, ())) == []
    tree = dpipe.open(store.url, "leuko")
    assert {stem: child["image"].shape for stem, child in tree.children.items()} == {
        "Neu1": (3, 2, 4, 24, 20),
        "Neu2": (3, 2, 4, 24, 20),
    }
    assert int(tree["Neu2"]["image"][0, 0, 0, 0, 0]) // 500 == 2
    settings = Settings(workers="0", author="ann", max_quarantine="50%")
    plans = Planner(store, settings).recipe(load("recipe.yaml"))
    assert {part.action for step in plans for part in step.parts} == {"reuse", "aside"}
    outcome = run.run(load("recipe.yaml"), store, settings, progress=False)
    assert [step["made"] for step in outcome.steps if step["made"]] == []
    after = {entry.key: (entry.size, entry.mtime) for entry in store.list("")}
    assert after == before
