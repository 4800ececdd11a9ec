"""2,000 pictures with damage of five kinds: the counts are exact, and a kill changes nothing."""

import os
import signal
from pathlib import Path

import h5py
import numpy as np
import pytest
from gate import Gate
from killing import Run, catch, digests, partitions_done, snapshot

import dpipe
from dpipe import catalog
from dpipe.build import SOME_ASIDE, run_recipe
from dpipe.checks import store as checks_store
from dpipe.demo.study import write_ifc_tree
from dpipe.storage import open_objects

pytestmark = pytest.mark.faults

FIRST, SECOND = "Experiment_1_Donor_1_+SEA", "Experiment_1_Donor_1_-SEA"


def damage(folder: Path) -> dict[str, str]:
    """Spoil seven files; return a word of the reason that each should get."""
    files = {n: folder / f"{FIRST}_{n}.h5" for n in (10, 20, 30, 40, 50, 60, 70)}
    files[10].write_bytes(files[10].read_bytes()[:700])
    files[20].write_bytes(b"")
    files[30].write_bytes(b"not HDF5 at all " * 40)
    for n, name, change in (
        (40, "image", lambda values: values[..., :2]),
        (40, "mask", lambda values: values[..., :2]),
        (50, "mask", lambda values: values[1:]),
        (60, "image", lambda values: values.astype("f4")),
    ):
        with h5py.File(files[n], "r+") as file:
            values = change(file[name][...])
            del file[name]
            file[name] = values
    (folder / f"{FIRST}_070.h5").write_bytes(files[70].read_bytes())  # object 70 once more
    words = ("truncated", "empty", "HDF5", "channels", "mask", "float32")
    named = {f"{FIRST}_{10 * n}.h5": word for n, word in enumerate(words, 1)}
    return named | {f"{FIRST}_70.h5": "again"}


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> tuple[Path, dict[str, str]]:
    folder = tmp_path_factory.mktemp("pictures")
    tree = write_ifc_tree(folder / "raw", 2000, channels=8, mean_size=30, damage=False)
    expected = damage(tree / "Experiment_1/Donor_1/+SEA ")
    (folder / "cells.yaml").write_text("""
name: cells
datasets:
  cells: {reader: ifc, source: raw, options: {block: 64}}
  features: {operator: cell-features, input: cells, params: {families: percentiles}}
""")
    return folder / "cells.yaml", expected


@pytest.fixture(scope="module")
def reference(study, tmp_path_factory) -> str:
    """A store that an undisturbed run made."""
    store = str(tmp_path_factory.mktemp("reference"))
    outcome = run_recipe(study[0], store, progress=False, workers="0", partition_bytes=1 << 20)
    assert outcome.exit_code == SOME_ASIDE
    cells = outcome.steps[0]
    assert (cells["items"], [entry["items"] for entry in cells["aside"]]) == (2001, [7])
    return store


def test_counts_and_reasons_are_exact(study, reference):
    first, second = (dpipe.open(reference, "cells", part=stem) for stem in (FIRST, SECOND))
    assert (first.sizes["record"], second.sizes["record"]) == (1001, 1000)
    bad = first.put_aside.values != ""
    found = dict(zip(first.file.values[bad].tolist(), first.put_aside.values[bad], strict=True))
    assert set(found) == set(study[1])
    for name, word in study[1].items():
        assert word in found[name], found[name]
    assert (second.put_aside.values == "").all()
    assert (first.height.values[bad] == 0).all()
    features = dpipe.open(reference, "features", part=FIRST).feature
    np.testing.assert_array_equal(np.isnan(features).all("name"), bad)
    labelled = first.label.values[~bad] != "-1"
    assert labelled.sum() == 334 - 2  # every third of 1,000, without 30 and 60


def test_a_run_killed_at_40_percent_goes_on_and_ends_alike(study, reference, tmp_path):
    objects = open_objects(tmp_path / "store")
    gate, count = Gate(tmp_path / "gate"), partitions_done(open_objects(reference), "cells")
    wanted = round(0.4 * count)
    assert count > 20
    gate.allow("cells", wanted)
    with Run(study[0], objects.url, tmp_path, env=gate.env) as run:
        catch(run, objects, "cells", wanted)
        before = snapshot(objects)
        os.kill(run.pid, signal.SIGKILL)
        assert run.wait() == -signal.SIGKILL
    gate.open("cells")
    with Run(study[0], objects.url, tmp_path) as run:
        assert run.wait() == SOME_ASIDE, run.text()
    after = snapshot(objects)
    assert {key: after[key] for key in before} == before, "nothing marked is done again"
    assert digests(objects) == digests(open_objects(reference))
    assert list(checks_store.verify(objects, ())) == []
    assert catalog.resolve(objects, "cells").number == 1
    with Run(study[0], objects.url, tmp_path) as run:
        assert run.wait() == SOME_ASIDE, run.text()
    assert snapshot(objects) == after, "a second run writes nothing"
