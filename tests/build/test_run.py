"""A run: what it makes, reuses and puts aside, when it commits, and what it never blames."""

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest
from damages import DAMAGES
from faultproxy import FaultProxy
from gate import Gate
from killing import Run, digests, partitions_done, snapshot
from processes import alive, family, wait_until

from dpipe import api, catalog, demo, report
from dpipe.build import (
    Outcome,
    Recipe,
    chosen_recipe,
    part_spec,
    parts,
    plan,
    reader_step,
    run,
    scheduler,
)
from dpipe.build.recipe import parse
from dpipe.checks import store as checks_store
from dpipe.config import Settings
from dpipe.errors import DamageError, RefusedError, StoreError, UsageError
from dpipe.service import maintenance
from dpipe.storage import Objects, open_objects, s3

pytestmark = pytest.mark.slow

SIZE = (2, 48, 64)
FRAMES = 2
SUPPORT = str(Path(__file__).parents[1] / "support")
INFINITE = float("inf")

RECIPE = """
name: trial
datasets:
  leuko: {{reader: imaris, source: {source}}}
  quality: {{operator: frame-quality, input: leuko}}
  table: {{operator: quality-table, input: quality}}
"""


@pytest.fixture(scope="session")
def movies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Neu1 to Neu4, and Neu5 that is cut off in the middle."""
    folder = tmp_path_factory.mktemp("movies")
    demo.write_study(folder, movies=4, frames=FRAMES, size=SIZE, damaged=True)
    return folder / "raw"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(s3, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(s3, "LONGEST_PAUSE", 0.01)
    monkeypatch.setattr(scheduler, "FIRST_PAUSE", 0.001)
    monkeypatch.setenv("OPS_FOLDER", str(tmp_path))


class Lab:
    """A folder of movies, a store, and runs in this process."""

    def __init__(self, movies: Path, folder: Path, store: str) -> None:
        self.movies, self.raw = movies, folder / "raw"
        self.raw.mkdir()
        self.objects = open_objects(store)

    def add(self, *numbers: int) -> None:
        for number in numbers:
            shutil.copy2(self.movies / f"Neu{number}.h5", self.raw)

    def recipe(self, *, operator: str = "", params: str = "{}") -> Recipe:
        text = RECIPE.format(source=f"{self.raw}/*.h5")
        if operator:
            text = text[: text.index("  quality:")]
            text += f"  made: {{operator: {operator}, input: leuko, params: {params}}}\n"
        return parse(text)

    def run(
        self,
        recipe: Recipe | None = None,
        choice: plan.Choice | None = None,
        **settings: Any,
    ) -> Outcome:
        said = Settings(**{"workers": "0", "author": "ann", "retries": 1, **settings})
        return run.run(recipe or self.recipe(), self.objects, said, choice=choice, progress=False)

    def stems(self, name: str) -> list[str]:
        return [ref.stem for ref in catalog.resolve(self.objects, name).parts]

    def quarantine(self, outcome: Outcome) -> list[dict[str, Any]]:
        prefix = f"runs/{outcome.run}/quarantine/"
        return [json.loads(self.objects.read(e.key)) for e in self.objects.list(prefix)]

    def listing(self) -> list[tuple[str, int, float]]:
        return [(e.key, e.size, e.mtime) for e in self.objects.list()]


@pytest.fixture
def lab(movies: Path, tmp_path: Path) -> Lab:
    return Lab(movies, tmp_path, str(tmp_path / "store"))


@pytest.fixture
def s3_lab(movies: Path, tmp_path: Path, bucket: str) -> Lab:
    return Lab(movies, tmp_path, f"{bucket}/lab")


def counts(outcome: Outcome) -> list[tuple[str, int, int, int]]:
    """Return name, made, reused, put aside of each step; they add up to what was planned."""
    for step in outcome.steps:
        assert step["items"] == sum(len(step[k]) for k in ("made", "reused", "aside"))
    return [
        (s["dataset"], len(s["made"]), len(s["reused"]), len(s["aside"])) for s in outcome.steps
    ]


# --- what is made, and what is not made again


def test_a_run_makes_what_is_missing(lab: Lab) -> None:
    lab.add(1, 2)
    outcome = lab.run()
    assert outcome.exit_code == 0
    assert counts(outcome) == [("leuko", 2, 0, 0), ("quality", 2, 0, 0), ("table", 1, 0, 0)]
    assert [step["version"] for step in outcome.steps] == ["leuko@1", "quality@1", "table@1"]
    assert (outcome.count("made"), outcome.count("aside"), outcome.nothing) == (5, 0, False)
    version = catalog.resolve(lab.objects, "table")
    assert (version.author, version.message) == ("ann", "trial: table")
    assert version.recipe["inputs"] == {"tree": "quality@1"}
    assert catalog.lineage(lab.objects, "table") == ["table@1", "quality@1", "leuko@1"]
    held = json.loads(lab.objects.read(f"runs/{outcome.run}/plan.json"))
    assert [part["stem"] for part in held["parts"]] == ["Neu1", "Neu2", "Neu1", "Neu2", "table"]
    assert list(checks_store.verify(lab.objects, (), mode="decode")) == []
    assert maintenance.sweep(lab.objects, grace_hours=0) == []


def no_cluster(*_: object) -> None:
    raise AssertionError("a cluster was started")


def test_a_second_run_does_nothing(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.add(1, 2, 3, 5)
    assert lab.run().exit_code == 3
    before = lab.listing()
    monkeypatch.setattr(run, "connect", no_cluster)
    outcome = lab.run()
    assert outcome.nothing
    assert outcome.exit_code == 3, "what is put aside stays so"
    assert counts(outcome) == [("leuko", 0, 3, 1), ("quality", 0, 3, 0), ("table", 0, 1, 0)]
    assert lab.listing() == before


@pytest.mark.faults
def test_nothing_to_do_is_no_put_at_all(
    s3_lab: Lab, fault_proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3_lab.add(1, 2)
    recipe = s3_lab.recipe(operator="projections")
    assert s3_lab.run(recipe).exit_code == 0
    assert fault_proxy.count("PUT") > 0
    fault_proxy.reset()
    monkeypatch.setattr(run, "connect", no_cluster)
    assert s3_lab.run(recipe).nothing
    assert [fault_proxy.count(method) for method in ("PUT", "POST", "DELETE")] == [0, 0, 0]
    assert fault_proxy.count("GET") > 0


def test_one_new_movie_costs_one_movie(lab: Lab) -> None:
    lab.add(1, 2, 3)
    lab.run()
    before = {key: rest for key, *rest in lab.listing()}
    lab.add(4)
    outcome = lab.run()
    assert counts(outcome) == [("leuko", 1, 3, 0), ("quality", 1, 3, 0), ("table", 1, 0, 0)]
    assert [step["version"] for step in outcome.steps] == ["leuko@2", "quality@2", "table@2"]
    assert [step["made"][0] for step in outcome.steps] == ["Neu4", "Neu4", "table"]
    after = {key: rest for key, *rest in lab.listing()}
    assert {key: after[key] for key in before} == before
    assert lab.stems("leuko") == ["Neu1", "Neu2", "Neu3", "Neu4"]
    assert lab.stems("leuko@1") == ["Neu1", "Neu2", "Neu3"]


def test_a_changed_movie_is_made_again_and_the_old_version_stays(lab: Lab) -> None:
    lab.add(1, 2)
    lab.run()
    before = api.open(lab.objects.url, "leuko@1", part="Neu2")["image"].values
    other = lab.movies / "Neu4.h5"
    shutil.copyfile(other, lab.raw / "Neu2.h5")
    outcome = lab.run()
    assert counts(outcome)[:2] == [("leuko", 1, 1, 0), ("quality", 1, 1, 0)]
    after = api.open(lab.objects.url, "leuko", part="Neu2")["image"].values
    assert not np.array_equal(before, after)
    again = api.open(lab.objects.url, "leuko@1", part="Neu2")["image"].values
    np.testing.assert_array_equal(before, again)


def test_a_changed_parameter_makes_only_what_depends_on_it(lab: Lab) -> None:
    lab.add(1, 2)
    lab.run()
    text = RECIPE.format(source=f"{lab.raw}/*.h5")
    outcome = lab.run(parse(text.replace("input: leuko", "input: leuko, params: {median: 3}")))
    assert counts(outcome) == [("leuko", 0, 2, 0), ("quality", 2, 0, 0), ("table", 1, 0, 0)]
    assert [step["version"] for step in outcome.steps] == ["leuko@1", "quality@2", "table@2"]


def test_a_part_that_would_leave_is_refused_unless_dropped(lab: Lab) -> None:
    lab.add(1, 2, 3)
    lab.run()
    before = lab.listing()
    (lab.raw / "Neu2.h5").unlink()
    with pytest.raises(RefusedError, match=r"leuko: Neu2 would leave: in leuko@1.*--drop"):
        lab.run()
    assert lab.listing() == before
    outcome = lab.run(choice=plan.Choice(drop=True))
    assert outcome.exit_code == 0
    assert lab.stems("leuko") == lab.stems("quality") == ["Neu1", "Neu3"]
    assert lab.stems("leuko@1") == ["Neu1", "Neu2", "Neu3"]
    rows = api.open(lab.objects.url, "table")
    assert rows.sizes["movie"] == 2
    assert list(checks_store.verify(lab.objects, ["leuko@1", "leuko@2"])) == []


def test_only_one_part(lab: Lab) -> None:
    lab.add(1, 2, 3)
    outcome = lab.run(choice=plan.Choice(only="Neu2"))
    assert counts(outcome) == [("leuko", 1, 0, 0), ("quality", 1, 0, 0), ("table", 1, 0, 0)]
    assert lab.stems("leuko") == ["Neu2"]
    lab.run()
    assert lab.stems("leuko") == ["Neu1", "Neu2", "Neu3"]
    shutil.copyfile(lab.movies / "Neu4.h5", lab.raw / "Neu2.h5")
    shutil.copyfile(lab.movies / "Neu4.h5", lab.raw / "Neu3.h5")
    outcome = lab.run(choice=plan.Choice(only="Neu2"))
    assert counts(outcome) == [("leuko", 1, 0, 0), ("quality", 1, 0, 0), ("table", 1, 0, 0)]
    old, new = (catalog.resolve(lab.objects, label) for label in ("leuko@2", "leuko@3"))
    assert sorted(ref.stem for ref in new.parts) == ["Neu1", "Neu2", "Neu3"]
    assert [new.part(s) == old.part(s) for s in ("Neu1", "Neu2", "Neu3")] == [True, False, True]
    assert api.open(lab.objects.url, "table").sizes["movie"] == 3  # the table is of all
    with pytest.raises(UsageError, match=r"unknown part 'Neu7'; did you mean 'Neu"):
        lab.run(choice=plan.Choice(only="Neu7"))


def test_a_partial_run_leaves_no_trace_on_others(lab: Lab) -> None:
    lab.add(1, 2, 3, 5)
    lab.run()
    shutil.copyfile(lab.movies / "Neu4.h5", lab.raw / "Neu2.h5")
    assert lab.run(choice=plan.Choice(only="Neu2")).exit_code == 0
    assert [a["stem"] for a in catalog.resolve(lab.objects, "leuko@2").put_aside] == ["Neu5"]
    assert lab.stems("leuko") == ["Neu1", "Neu2", "Neu3"]
    assert lab.run().nothing  # the table of all is the same, whoever made its parts


def test_a_sample(lab: Lab) -> None:
    lab.add(1, 2, 3)
    assert counts(lab.run(choice=plan.Choice(sample=2)))[:2] == [
        ("leuko", 2, 0, 0),
        ("quality", 2, 0, 0),
    ]
    assert lab.stems("leuko") == ["Neu1", "Neu2"]
    assert lab.run(choice=plan.Choice(sample=1)).nothing
    assert lab.stems("quality") == ["Neu1", "Neu2"]
    assert counts(lab.run())[0] == ("leuko", 1, 2, 0)


# --- what is put aside


def test_a_damaged_input_is_put_aside_and_the_rest_goes_on(lab: Lab) -> None:
    lab.add(1, 2, 3, 5)
    outcome = lab.run()
    assert outcome.exit_code == 3
    assert counts(outcome) == [("leuko", 3, 0, 1), ("quality", 3, 0, 0), ("table", 1, 0, 0)]
    (aside,) = catalog.resolve(lab.objects, "leuko").put_aside
    assert (aside["stem"], aside["sources"], aside["items"]) == ("Neu5", ["Neu5.h5"], 1)
    assert "Neu5.h5" in aside["reason"]
    assert "\n" not in aside["reason"]
    (entry,) = lab.quarantine(outcome)
    assert entry == aside | {"dataset": "leuko", "trace": ""}


def test_a_repaired_input_joins_the_dataset(lab: Lab) -> None:
    lab.add(1, 2, 5)
    assert lab.run().exit_code == 3
    shutil.copyfile(lab.movies / "Neu4.h5", lab.raw / "Neu5.h5")
    outcome = lab.run()
    assert outcome.exit_code == 0
    assert counts(outcome) == [("leuko", 1, 2, 0), ("quality", 1, 2, 0), ("table", 1, 0, 0)]
    assert catalog.resolve(lab.objects, "leuko").put_aside == ()


def test_what_is_found_damaged_in_a_task_is_put_aside(lab: Lab) -> None:
    lab.add(1, 2, 3)
    outcome = lab.run(lab.recipe(operator="ops:picky"))
    assert outcome.exit_code == 3
    assert counts(outcome) == [("leuko", 3, 0, 0), ("made", 2, 0, 1)]
    (aside,) = catalog.resolve(lab.objects, "made").put_aside
    assert aside["stem"] == "Neu2"
    assert aside["reason"] == r"Neu2: pixels are torn;\nexpected whole ones"
    assert lab.run(lab.recipe(operator="ops:picky")).nothing


@pytest.mark.parametrize(
    ("numbers", "limit", "code"),
    [
        ((1, 5), None, 3),  # max(1 item, 1 %) of two: one may be put aside
        ((1, 5), "1", 3),
        ((1, 5), "0", 4),
        ((1, 2, 3, 5), "25%", 3),
        ((1, 2, 3, 5), "24%", 4),
        ((5,), None, 4),  # nothing is left
        ((5,), "100%", 4),
    ],
)
def test_too_many_put_aside(
    lab: Lab, numbers: tuple[int, ...], limit: str | None, code: int
) -> None:
    lab.add(*numbers)
    outcome = lab.run(max_quarantine=limit)
    assert outcome.exit_code == code
    assert [entry["stem"] for entry in lab.quarantine(outcome)] == ["Neu5"]
    if code == 3:
        assert lab.stems("table") == ["table"]
        return
    assert catalog.names(lab.objects) == []
    allowed = {None: 1, "0": 0, "24%": 0, "100%": 1}[limit]
    said = f"of {len(numbers)} at most {allowed} may be, and never all (setting max_quarantine)"
    assert report.lines(outcome)[-1].endswith(said)
    assert [step["dataset"] for step in outcome.steps] == ["leuko"]
    assert outcome.steps[0]["version"] == ""


def test_what_was_made_before_there_were_too_many_is_reused(lab: Lab) -> None:
    lab.add(1, 2, 5)
    assert lab.run(max_quarantine="0").exit_code == 4
    outcome = lab.run(max_quarantine="1")
    assert outcome.exit_code == 3
    assert counts(outcome)[0] == ("leuko", 0, 2, 1)


def test_a_run_of_what_was_put_aside(lab: Lab) -> None:
    """--retry RUN: its recipe, and the parts that it put aside."""
    lab.add(1, 2, 3)
    first = lab.run(lab.recipe(operator="ops:hungry", params="{times: 2}"))
    assert (first.exit_code, counts(first)[1]) == (3, ("made", 2, 0, 1))
    assert lab.run(lab.recipe(operator="ops:hungry", params="{times: 2}")).nothing
    chosen, stems = chosen_recipe(None, first.run, lambda: lab.objects)
    assert stems == {"Neu2"}
    assert [step.name for step in chosen.steps] == ["leuko", "made"]
    again = lab.run(chosen, plan.Choice(retry=stems))
    assert again.exit_code == 0
    assert counts(again) == [("leuko", 0, 3, 0), ("made", 1, 2, 0)]
    assert catalog.resolve(lab.objects, "made").put_aside == ()
    assert lab.run(chosen, plan.Choice(retry=stems)).nothing


def test_a_retry_that_fails_again_commits_no_new_version(lab: Lab) -> None:
    lab.add(1, 5)
    first = lab.run()
    chosen, stems = chosen_recipe(None, first.run, lambda: lab.objects)
    again = lab.run(chosen, plan.Choice(retry=stems))
    assert again.exit_code == 3
    assert not again.nothing
    assert [entry["stem"] for entry in lab.quarantine(again)] == ["Neu5"]
    assert catalog.resolve(lab.objects, "leuko").number == 1


def test_a_retry_does_only_what_was_put_aside(lab: Lab) -> None:
    """A movie that came meanwhile waits for the next run."""
    lab.add(1, 5)
    first = lab.run()
    lab.add(2)
    chosen, stems = chosen_recipe(None, first.run, lambda: lab.objects)
    lab.run(chosen, plan.Choice(retry=stems))
    assert lab.stems("leuko") == ["Neu1"]
    lab.run()
    assert lab.stems("leuko") == ["Neu1", "Neu2"]


def test_which_recipe(lab: Lab, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="which recipe"):
        chosen_recipe(None, None, lambda: lab.objects)
    with pytest.raises(StoreError, match="no run '20260101T000000-0000'; dpipe runs lists"):
        chosen_recipe(None, "20260101T000000-0000", lambda: lab.objects)
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE.format(source="raw/*.h5"))
    assert chosen_recipe(str(path), None, lambda: lab.objects)[0].name == "trial"
    lab.add(1, 5)
    first = lab.run()
    chosen, stems = chosen_recipe(str(path), first.run, lambda: lab.objects)
    assert (chosen.digest, stems) == (parse(path.read_text()).digest, {"Neu5"})


# --- faults of operators


def test_a_bug_ends_with_70_and_what_others_made_is_kept(lab: Lab) -> None:
    lab.add(1, 2, 3)
    outcome = lab.run(lab.recipe(operator="ops:bug"))
    assert outcome.exit_code == 70
    assert counts(outcome) == [("leuko", 3, 0, 0), ("made", 2, 0, 1)]
    assert lab.stems("made") == ["Neu1", "Neu3"]
    (entry,) = lab.quarantine(outcome)
    assert entry["reason"] == "a bug: ZeroDivisionError: 1/0 in an operator"
    assert 'raise ZeroDivisionError("1/0 in an operator")' in entry["trace"]
    sealed = [key for key in digests(lab.objects) if "/made/" in key]
    assert [key.split("/")[2].split("-")[0] for key in sealed] == ["Neu1", "Neu3"]
    again = lab.run(lab.recipe(operator="ops:bug"))
    assert counts(again) == [("leuko", 0, 3, 0), ("made", 0, 2, 1)]  # Neu2 was tried again
    fixed = lab.run(lab.recipe(operator="ops:bug", params="{fixed: true}"))
    assert (fixed.exit_code, counts(fixed)[1]) == (0, ("made", 3, 0, 0))


def test_a_task_out_of_memory_flies_once_more_alone(lab: Lab, tmp_path: Path) -> None:
    lab.add(1, 2, 3)
    outcome = lab.run(lab.recipe(operator="ops:hungry", params="{times: 1}"))
    assert outcome.exit_code == 0
    assert counts(outcome)[1] == ("made", 3, 0, 0)
    outcome = lab.run(lab.recipe(operator="ops:hungry"))
    assert outcome.exit_code == 3
    (entry,) = lab.quarantine(outcome)
    assert "twice, once alone" in entry["reason"]
    assert "8 EiB" in entry["reason"]


@pytest.mark.faults
def test_a_task_that_kills_its_worker_is_tried_alone_then_put_aside(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.add(1, 2, 3)
    monkeypatch.setenv("PYTHONPATH", SUPPORT)
    outcome = lab.run(lab.recipe(operator="ops:deadly"), workers="2", memory=10**9)
    assert outcome.exit_code == 3
    assert counts(outcome) == [("leuko", 3, 0, 0), ("made", 2, 0, 1)]
    (entry,) = lab.quarantine(outcome)
    assert (entry["stem"], entry["dataset"]) == ("Neu2", "made")
    assert "twice, once alone" in entry["reason"]
    assert (tmp_path / "deaths").stat().st_size == 2
    assert list(checks_store.verify(lab.objects, ())) == []


# --- faults of the store blame no input


@pytest.mark.faults
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"status": 503}, "gave up after"),
        ({"status": 403, "code": "AccessDenied"}, "may not write"),
        ({"kind": "reset"}, "gave up after"),
    ],
    ids=["503", "403", "reset"],
)
def test_a_store_that_fails_ends_the_run_and_blames_no_input(
    s3_lab: Lab,
    fault_proxy: FaultProxy,
    monkeypatch: pytest.MonkeyPatch,
    fault: Mapping[str, Any],
    said: str,
) -> None:
    s3_lab.add(1, 2)
    monkeypatch.setattr(s3, "TRIES", 2)
    fault_proxy.fail("PUT", times=INFINITE, match="/image/c/", **fault)
    recipe = s3_lab.recipe(operator="projections")
    with pytest.raises(StoreError, match=said) as caught:
        s3_lab.run(recipe)
    assert caught.value.exit_code == 75
    fault_proxy.reset()
    assert not any("quarantine" in entry.key for entry in s3_lab.objects.list("runs/"))
    assert catalog.names(s3_lab.objects) == []
    assert [row["state"][:10] for row in maintenance.runs(s3_lab.objects)] == ["unfinished"]
    outcome = s3_lab.run(recipe)
    assert (outcome.exit_code, outcome.count("aside")) == (0, 0)
    assert list(checks_store.verify(s3_lab.objects, ())) == []


@pytest.mark.faults
def test_a_store_that_fails_for_a_while_is_waited_for(s3_lab: Lab, fault_proxy: FaultProxy) -> None:
    s3_lab.add(1, 2)
    for kind in ("reset", "lost", "status"):
        fault_proxy.fail("PUT", kind=kind, times=3, match="/parts/")
    for kind in ("reset", "truncate", "status"):
        fault_proxy.fail("GET", kind=kind, times=2, match="/parts/")
    outcome = s3_lab.run(s3_lab.recipe(operator="projections"))
    assert (outcome.exit_code, outcome.count("aside")) == (0, 0)
    assert all(rule.times == 0 for rule in fault_proxy.rules)
    assert list(checks_store.verify(s3_lab.objects, ())) == []


@pytest.mark.faults
@pytest.mark.parametrize(
    "fault", [{"status": 503}, {"status": 403, "code": "AccessDenied"}], ids=["503", "403"]
)
def test_a_source_that_cannot_be_reached_is_not_put_aside(
    lab: Lab,
    bucket: str,
    s3_server: str,
    fault_proxy: FaultProxy,
    monkeypatch: pytest.MonkeyPatch,
    fault: Mapping[str, Any],
) -> None:
    client = boto3.client("s3", endpoint_url=s3_server)
    for number in (1, 2):
        client.upload_file(lab.movies / f"Neu{number}.h5", bucket[5:], f"raw/Neu{number}.h5")
    client.close()
    recipe = parse(RECIPE.format(source=f"{bucket}/raw/*.h5"))
    monkeypatch.setattr(s3, "TRIES", 2)
    fault_proxy.fail("GET", times=INFINITE, match="raw/Neu2.h5", **fault)
    with pytest.raises(StoreError, match="Neu2"):
        lab.run(recipe)
    assert not any("quarantine" in entry.key for entry in lab.objects.list("runs/"))
    fault_proxy.reset()
    outcome = lab.run(recipe)
    assert (outcome.exit_code, counts(outcome)[0]) == (0, ("leuko", 2, 0, 0))


def test_a_disk_that_fails_ends_the_run(lab: Lab) -> None:
    lab.add(1)
    Path(lab.objects.url).mkdir()
    (Path(lab.objects.url) / "parts").write_bytes(b"in the way")
    with pytest.raises(StoreError, match="parts"):
        lab.run()
    assert not any("quarantine" in entry.key for entry in lab.objects.list("runs/"))


def test_a_damaged_part_of_the_store_ends_the_run_and_is_not_put_aside(lab: Lab) -> None:
    lab.add(1, 2)
    lab.run()
    key = next(e.key for e in lab.objects.list("parts/leuko/Neu2") if "/0/image/c/" in e.key)
    lab.objects.delete(key)
    before = lab.listing()
    with pytest.raises(DamageError, match="dpipe verify") as caught:
        lab.run(lab.recipe(operator="ops:slow", params="{seconds: 0}"))
    assert caught.value.exit_code == 5
    assert not any("quarantine" in entry.key for entry in lab.objects.list("runs/"))
    assert catalog.names(lab.objects) == ["leuko", "quality", "table"]
    assert {row[0] for row in before} <= {row[0] for row in lab.listing()}


@pytest.mark.parametrize("kind", ["another seal", "torn seal"])
def test_a_damaged_seal_is_not_taken_over_into_a_new_version(lab: Lab, kind: str) -> None:
    lab.add(1, 2)
    lab.run()
    DAMAGES[kind].do(lab.objects, catalog.resolve(lab.objects, "leuko").part("Neu1").base)
    lab.add(3)
    before = catalog.resolve(lab.objects, "leuko").part("Neu1")
    with pytest.raises(DamageError, match=r"leuko/Neu1-.*: the seal is"):
        lab.run(lab.recipe(operator="projections"))
    assert catalog.resolve(lab.objects, "leuko").part("Neu1") == before
    found = [finding.key for finding in checks_store.verify(lab.objects, ["leuko"])]
    assert f"{before.base}.json" in found


# --- what changes or breaks while a run goes on


class Killed(BaseException):
    """As good as SIGKILL: nobody catches it."""


@pytest.mark.faults
def test_killed_at_every_single_write(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Before and after each object that a run writes; a reader never sees half of anything."""
    lab.add(1, 5)
    recipe = lab.recipe(operator="projections")
    kind = type(open_objects("memory://any"))
    originals = {name: getattr(kind, name) for name in ("put", "put_if_absent")}
    fuse: dict[str, Any] = {"at": INFINITE, "writes": 0, "nested": False}

    def burning(name: str) -> Callable[..., Any]:
        def write(self: Objects, key: str, data: bytes) -> Any:
            if fuse["nested"]:  # one write that is made of another
                return originals[name](self, key, data)
            fuse["writes"] += 1
            if fuse["writes"] == fuse["at"]:
                raise Killed
            fuse["nested"] = True
            try:
                return originals[name](self, key, data)
            finally:
                fuse["nested"] = False
                if fuse["writes"] == fuse["at"] - 0.5:
                    raise Killed

        return write

    for name in originals:
        monkeypatch.setattr(kind, name, burning(name))

    def go(place: str, at: float) -> Objects:
        lab.objects = open_objects(f"memory://{tmp_path.name}-{place}")
        fuse.update(at=at, writes=0)
        lab.run(recipe)
        return lab.objects

    expected = digests(go("whole", INFINITE))
    writes = fuse["writes"]
    assert len(expected) == 2
    assert writes > 20
    for at in [half / 2 for half in range(2, 2 * writes + 2)]:
        with pytest.raises(Killed):
            go(str(at), at)
        for found in catalog.names(lab.objects):
            assert list(checks_store.verify(lab.objects, [found], mode="decode")) == []
        before = snapshot(lab.objects)
        go(str(at), INFINITE)
        after = snapshot(lab.objects)
        assert {key: after[key] for key in before} == before
        assert digests(lab.objects) == expected
        assert [catalog.resolve(lab.objects, n).number for n in ("leuko", "made")] == [1, 1]
        assert list(checks_store.verify(lab.objects, ())) == []
        assert maintenance.sweep(lab.objects, grace_hours=0) == []
        assert lab.run(recipe).nothing


def test_a_source_that_changes_during_the_run_is_put_aside(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.add(1, 2)
    check = part_spec.check_unchanged

    def change(made: part_spec.PartSpec) -> None:
        if made.items[0]["path"] == "Neu2.h5" and "Neu2.h5" in opened:
            shutil.copyfile(lab.movies / "Neu4.h5", lab.raw / "Neu2.h5")
        opened.append(made.items[0]["path"])
        check(made)

    opened: list[str] = []

    monkeypatch.setattr(part_spec, "check_unchanged", change)
    outcome = lab.run()
    assert outcome.exit_code == 3
    assert counts(outcome)[0] == ("leuko", 1, 0, 1)
    (aside,) = catalog.resolve(lab.objects, "leuko").put_aside
    assert "Neu2.h5: changed since the plan was made" in aside["reason"]
    monkeypatch.undo()
    outcome = lab.run()
    assert (outcome.exit_code, counts(outcome)[0]) == (0, ("leuko", 1, 1, 0))
    assert catalog.resolve(lab.objects, "leuko").put_aside == ()
    assert len({ref.fingerprint for ref in catalog.resolve(lab.objects, "leuko").parts}) == 2


def test_what_another_run_commits_meanwhile_stays(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A movie comes while a run goes on; a second run makes it and is done first."""
    lab.add(1, 2)
    make, inner = parts.make, []

    def meanwhile(url: str, base: str, *args: Any) -> dict[str, Any]:
        if not inner and "/Neu2-" in base:
            inner.append(1)
            lab.add(3)
            assert lab.run().exit_code == 0
        return make(url, base, *args)

    monkeypatch.setattr(parts, "make", meanwhile)
    outcome = lab.run()
    assert (inner, outcome.exit_code) == ([1], 0)
    for name in ("leuko", "quality"):
        assert lab.stems(name) == ["Neu1", "Neu2", "Neu3"]
        assert catalog.resolve(lab.objects, name).number == 1
    assert api.open(lab.objects.url, "table").sizes["movie"] == 3
    assert lab.run().nothing


def damage(kind: str, objects: Objects, key: str) -> None:
    data = objects.read(key)
    if kind == "deleted":
        objects.delete(key)
    elif kind == "truncated":
        objects.put(key, data[:-1])
    else:
        objects.put(key, bytes([data[0] ^ 1]) + data[1:])


@pytest.mark.faults
@pytest.mark.parametrize(
    ("place", "kind"),
    [("lab", "deleted"), ("lab", "truncated"), ("s3_lab", "deleted"), ("s3_lab", "flipped")],
)
def test_what_breaks_before_the_seal_is_mended(
    place: str, kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab: Lab = request.getfixturevalue(place)
    lab.movies = request.getfixturevalue("large")
    lab.add(1)
    recipe = lab.recipe(operator="projections")

    def fail(*_: object) -> None:
        raise StoreError("the network is down")

    with monkeypatch.context() as patch:
        patch.setattr(parts, "finish", fail)
        with pytest.raises(StoreError, match="the network is down"):
            lab.run(recipe, partition_bytes=1 << 20)
    written = snapshot(lab.objects)
    assert len(written) >= 3
    key = next(e.key for e in lab.objects.list("parts/leuko/") if "/0/image/c/0/1/" in e.key)
    damage(kind, lab.objects, key)
    outcome = lab.run(recipe, partition_bytes=1 << 20)
    assert (outcome.exit_code, counts(outcome)[0]) == (0, ("leuko", 1, 0, 0))
    assert list(checks_store.verify(lab.objects, ())) == []
    after = snapshot(lab.objects)
    # S3 dates objects by the second, and what was made again has the same bytes
    redone = [name for name in written if after[name] != written[name]]
    assert redone in ([key], [key] if lab.objects.url.startswith("/") else [])
    other = open_objects("memory://undisturbed-" + kind)
    said = Settings(workers="0", partition_bytes=1 << 20)
    run.run(recipe, other, said, progress=False)
    kept = {k: v for k, v in digests(other).items() if lab.objects.url.startswith("/")}
    assert {k: v for k, v in digests(lab.objects).items() if k in kept} == kept


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A movie of several shards."""
    folder = tmp_path_factory.mktemp("large")
    demo.write_study(folder, movies=1, frames=6, size=(8, 192, 256))
    return folder / "raw"


@pytest.mark.faults
@pytest.mark.parametrize("place", ["folder", "s3"])
def test_two_runs_of_one_recipe_at_once(
    place: str, request: pytest.FixtureRequest, movies: Path, tmp_path: Path
) -> None:
    store = request.getfixturevalue("bucket") + "/st" if place == "s3" else str(tmp_path / "store")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE.format(source=f"'{movies}/Neu[1-4].h5'"))
    objects = open_objects(store)
    gate = Gate(tmp_path / "gate")
    gate.allow("leuko", 0)
    with (
        Run(recipe, store, tmp_path, workers="0", env=gate.env) as first,
        Run(recipe, store, tmp_path, workers="0", env=gate.env) as second,
    ):
        wait_until(lambda: len(list(objects.list("runs/"))) == 2, 60, "both have their plan")
        time.sleep(0.5)  # both have computed the first partition
        gate.open("leuko")
        assert [first.wait(), second.wait()] == [0, 0], first.text() + second.text()
    for name in ("leuko", "quality", "table"):
        assert [version.number for version in catalog.history(objects, name)] == [1]
    assert list(checks_store.verify(objects, (), mode="decode")) == []
    assert maintenance.sweep(objects, grace_hours=0) == []
    said = Settings(workers="0")
    other = open_objects(f"memory://{tmp_path.name}-{place}")
    run.run(parse(recipe.read_text()), other, said, progress=False)
    assert sorted(digests(other)) == sorted(digests(objects))
    if place == "folder":
        assert digests(other) == digests(objects)


@pytest.mark.parametrize("later", [False, True])
def test_a_movie_that_changes_after_the_plan(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, later: bool
) -> None:
    """Only a version is missing, so no workers are started; then a movie is to be made.

    The first dataset is made as it was planned a moment ago, later ones are planned anew.
    """
    lab.add(1, 2)
    steps = lab.recipe().steps
    first = reader_step("first", "imaris", [str(lab.raw / "Neu1.h5")])
    recipe = Recipe.of(first, *steps) if later else Recipe.of(*steps)
    lab.run(recipe)
    lab.objects.delete_many([e.key for e in lab.objects.list("datasets/table/")])
    start = run._Driver.start

    def late(self: run._Driver, plans: list[plan.StepPlan]) -> None:
        start(self, plans)
        shutil.copyfile(lab.movies / "Neu4.h5", lab.raw / "Neu2.h5")

    with monkeypatch.context() as patch:
        patch.setattr(run._Driver, "start", late)
        if later:
            with pytest.raises(StoreError, match="leuko changed while it was planned; run the"):
                lab.run(recipe)
        else:
            assert lab.run(recipe).count("made") == 0
    outcome = lab.run(recipe)
    leuko = outcome.steps[int(later)]
    assert (outcome.exit_code, leuko["made"], leuko["reused"]) == (0, ["Neu2"], ["Neu1"])
    assert lab.stems("table@1") == ["table"]


# --- signals


@pytest.mark.faults
@pytest.mark.parametrize(
    ("number", "workers", "code"),
    [(signal.SIGTERM, "0", 143), (signal.SIGINT, "0", 130), (signal.SIGTERM, "2", 143)],
)
def test_a_run_that_is_told_to_stop(
    lab: Lab, tmp_path: Path, number: int, workers: str, code: int
) -> None:
    lab.add(1, 2, 3)
    recipe = tmp_path / "recipe.yaml"
    text = RECIPE.format(source=f"{lab.raw}/*.h5")
    recipe.write_text(
        text[: text.index("  quality:")]
        + "  made: {operator: 'ops:slow', input: leuko, params: {seconds: 0.3}}\n"
    )
    env = {"PYTHONPATH": os.pathsep.join([str(Path(SUPPORT).parents[1]), SUPPORT])}
    with Run(recipe, lab.objects.url, tmp_path, workers=workers, env=env) as going:
        wait_until(lambda: partitions_done(lab.objects, "made"), 60, "a partition is done")
        pids = family(going.pid)
        os.kill(going.pid, number)
        assert going.wait(30) == code, going.text()
        wait_until(lambda: not alive(pids), 10, "no process is left behind")
        assert "Traceback" not in going.text()
        assert "bug" not in going.text()
    assert catalog.names(lab.objects) == ["leuko"]
    assert not any("quarantine" in entry.key for entry in lab.objects.list("runs/"))
    before = snapshot(lab.objects)
    outcome = lab.run(parse(recipe.read_text()))
    assert outcome.exit_code == 0
    assert len(outcome.steps[1]["made"] + outcome.steps[1]["reused"]) == 3
    after = snapshot(lab.objects)
    assert {key: after[key] for key in before} == before
