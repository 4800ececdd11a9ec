"""What a run would do, and why."""

import gc
import threading
from dataclasses import replace
from functools import wraps

import numpy as np
import pytest
import xarray as xr

from dpipe import api, catalog, demo, operators, readers, sources
from dpipe.build import recipe, run
from dpipe.build.part_plan import odd_lines
from dpipe.build.plan import Choice, Planner
from dpipe.catalog import seals
from dpipe.config import Settings
from dpipe.errors import InputError, RefusedError, UsageError

SETTINGS = replace(
    Settings.load(environ={}, workers="0", memory="1 GiB", author="lab"), partition_bytes=1 << 16
)


@pytest.fixture
def study(tmp_path):
    """Two small movies, their recipe, and an empty store."""
    path = demo.write_study(tmp_path / "study", frames=3, size=(2, 40, 48))
    store = catalog.open_store(str(tmp_path / "store"), create=True)
    return recipe.load_recipe(path), store, path.parent / "raw"


def rows(plans):
    return {(p.dataset, p.stem): (p.action, p.why) for plan in plans for p in plan.parts}


def test_everything_is_new_at_first(study):
    chosen, store, _ = study
    plans = Planner(store, SETTINGS).recipe(chosen)
    found = rows(plans)
    assert len(found) == 4 * 2 + 1
    assert set(found.values()) == {("make", "new")}
    leuko = plans[0].parts[0]
    # 3 frames x 3 channels x 2 x 40 x 48 voxels of one byte, and no smaller level
    assert leuko.bytes_out == 3 * 3 * 2 * 40 * 48
    assert leuko.partitions >= 1
    assert leuko.requests > leuko.partitions
    assert not list(store.list("")), "a plan writes nothing"


def test_what_is_sealed_is_reused_and_a_new_movie_is_made(study):
    chosen, store, raw = study
    run.run(chosen, store, SETTINGS, progress=False)
    assert {action for action, _ in rows(Planner(store, SETTINGS).recipe(chosen)).values()} == {
        "reuse"
    }
    (raw / "Neu3.h5").write_bytes((raw / "Neu1.h5").read_bytes())
    found = rows(Planner(store, SETTINGS).recipe(chosen))
    made = [key for key, (what, _) in found.items() if what == "make"]
    assert made == [
        ("leuko", "Neu3"),
        ("leuko-quality", "Neu3"),
        ("leuko-projections", "Neu3"),
        ("leuko-thumbnails", "Neu3"),
        ("leuko-quality-table", "leuko-quality-table"),
    ]


def test_a_part_that_would_leave_is_refused(study):
    chosen, store, raw = study
    run.run(chosen, store, SETTINGS, progress=False)
    (raw / "Neu2.h5").unlink()
    with pytest.raises(RefusedError, match=r"Neu2 would leave: in leuko@1, .* say --drop"):
        Planner(store, SETTINGS).recipe(chosen)
    plans = Planner(store, SETTINGS, Choice(drop=True)).recipe(chosen)
    assert plans[0].leaving == ("Neu2",)


def test_a_movie_whose_name_looks_like_a_further_part_does_not_leave_in_silence(study):
    chosen, store, raw = study
    (raw / "Neu1~2.h5").write_bytes((raw / "Neu1.h5").read_bytes())
    run.run(chosen, store, SETTINGS, progress=False)
    (raw / "Neu1~2.h5").unlink()
    with pytest.raises(RefusedError, match=r"Neu1~2 would leave"):
        Planner(store, SETTINGS).recipe(chosen)


def test_a_task_that_does_not_fit_is_refused_with_the_numbers(study):
    chosen, store, _ = study
    small = replace(SETTINGS, memory=20_000)
    with pytest.raises(
        RefusedError, match=r"leuko/Neu\d: one task needs about 1 MiB, a worker has 0"
    ):
        Planner(store, small).recipe(chosen)


def test_a_task_that_just_fits_is_planned(study):
    chosen, store, _ = study
    plans = Planner(store, SETTINGS).recipe(chosen)
    most = max(part.task_memory for plan in plans for part in plan.parts)
    again = Planner(store, replace(SETTINGS, memory=most)).recipe(chosen)
    assert rows(again) == rows(plans)
    with pytest.raises(RefusedError, match="one task needs about"):
        Planner(store, replace(SETTINGS, memory=most - 1)).recipe(chosen)


def test_a_damaged_movie_is_told_and_nothing_is_made_of_it(study):
    chosen, store, raw = study
    (raw / "Neu2.h5").write_bytes(b"not HDF5")
    found = rows(Planner(store, SETTINGS).recipe(chosen))
    assert found["leuko", "Neu2"][0] == "damaged"
    assert "Neu2.h5" in found["leuko", "Neu2"][1]
    assert ("leuko-quality", "Neu2") not in found


def opened_by(monkeypatch, spoil):
    """Let the reader of movies spoil the first of two."""
    whole = readers.READERS["imaris"]

    @wraps(whole.open)
    def read(urls, **options):
        if "Neu1" in str(urls):
            spoil()
        return whole.open(urls, **options)

    monkeypatch.setitem(readers.READERS, "imaris", replace(whole, open=read))


def test_what_nobody_foresaw_puts_one_part_aside_and_ends_with_70(study, monkeypatch):
    chosen, store, _ = study

    def spoil():
        raise OverflowError("int too large\nto convert")

    opened_by(monkeypatch, spoil)
    plans = Planner(store, SETTINGS).recipe(chosen)
    assert rows(plans)["leuko", "Neu1"] == (
        "damaged", "a bug: OverflowError: int too large to convert",
    )  # fmt: skip
    assert 'raise OverflowError("int too large' in plans[0].parts[0].trace
    assert rows(plans)["leuko", "Neu2"] == ("make", "new")
    outcome = run.run(chosen, store, SETTINGS, progress=False)
    assert outcome.exit_code == run.BUG
    assert [p.stem for p in catalog.resolve(store, "leuko").parts] == ["Neu2"]


def test_a_file_that_is_opened_for_ever_stops_no_plan(study, monkeypatch):
    chosen, store, _ = study
    go = threading.Event()
    opened_by(monkeypatch, go.wait)
    plans = Planner(store, replace(SETTINGS, stall_seconds=0.5)).recipe(chosen)
    go.set()
    action, why = rows(plans)["leuko", "Neu1"]
    assert (action, why.partition(";")[0]) == ("damaged", "opening it took more than 0.5 s")
    assert plans[0].parts[0].passing, "the next run looks at it again"
    assert rows(plans)["leuko", "Neu2"] == ("make", "new")


def test_links_that_lead_nowhere_are_said(study):
    chosen, store, raw = study
    (raw / "Neu3.h5").symlink_to("/nowhere/at/all/Neu3.h5")
    (plan, *_) = Planner(store, SETTINGS).recipe(chosen)
    assert [part.stem for part in plan.parts] == ["Neu1", "Neu2"]
    assert plan.notes == (
        f"nothing is at the end of the link '{raw}/Neu3.h5'; is a share not mounted?",
    )


def test_only_and_sample(study):
    chosen, store, _ = study
    one = rows(Planner(store, SETTINGS, Choice(only="Neu2")).recipe(chosen))
    assert ("leuko", "Neu2") in one
    assert ("leuko", "Neu1") not in one
    first = rows(Planner(store, SETTINGS, Choice(sample=1)).recipe(chosen))
    assert ("leuko", "Neu1") in first
    assert ("leuko", "Neu2") not in first
    with pytest.raises(UsageError, match="unknown part 'Neu9'; did you mean 'Neu2'"):
        Planner(store, SETTINGS, Choice(only="Neu9")).recipe(chosen)


def test_two_sources_of_one_name_are_named_by_their_folders(study, tmp_path):
    _, store, raw = study
    for folder in ("day1", "day2/left", "day2/right"):
        (tmp_path / "days" / folder).mkdir(parents=True)
        (tmp_path / "days" / folder / "Neu1.h5").write_bytes((raw / "Neu1.h5").read_bytes())
    step = recipe.reader_step("leuko", "imaris", [str(tmp_path / "days")])
    (plan,) = Planner(store, SETTINGS).recipe(recipe.Recipe.of(step))
    assert [part.stem for part in plan.parts] == ["day1_Neu1", "day2_left_Neu1", "day2_right_Neu1"]
    assert plan.notes == (
        "3 files are called Neu1: named by their folders, "
        "day1_Neu1, day2_left_Neu1, day2_right_Neu1",
    )
    both = recipe.reader_step("leuko", "imaris", [str(raw), str(tmp_path / "days/day1")])
    (plan,) = Planner(store, SETTINGS).recipe(recipe.Recipe.of(both))
    assert [part.stem for part in plan.parts] == ["raw_Neu1", "Neu2", "day1_Neu1"]


def test_a_movie_that_is_there_keeps_its_name_beside_another_of_that_name(study, tmp_path):
    _, store, raw = study
    (raw / "day1").mkdir()
    (raw / "Neu1.h5").rename(raw / "day1/Neu1.h5")
    step = recipe.reader_step("leuko", "imaris", [str(raw)])
    run.run(recipe.Recipe.of(step), store, SETTINGS, progress=False)
    (raw / "day2").mkdir()
    (raw / "day2/Neu1.h5").write_bytes((raw / "day1/Neu1.h5").read_bytes())
    found = rows(Planner(store, SETTINGS).recipe(recipe.Recipe.of(step)))
    assert {stem: action for (_, stem), (action, _) in found.items()} == {
        "Neu1": "reuse", "Neu2": "reuse", "day2_Neu1": "make",
    }  # fmt: skip
    run.run(recipe.Recipe.of(step), store, SETTINGS, progress=False)
    assert run.run(recipe.Recipe.of(step), store, SETTINGS, progress=False).nothing


def test_two_sources_of_one_name_and_one_folder_are_refused(study):
    _, store, raw = study
    (raw / "Neu1.ims").write_bytes((raw / "Neu1.h5").read_bytes())
    step = recipe.reader_step("leuko", "imaris", [str(raw)])
    with pytest.raises(UsageError, match="two sources are called 'Neu1', and their folders too"):
        Planner(store, SETTINGS).recipe(recipe.Recipe.of(step))


@pytest.mark.parametrize("name", ["Neu\u00a01.h5", "Neu\x7f1.h5", "N" * 240 + ".h5"])
def test_a_name_that_no_part_can_have_is_put_aside_and_the_rest_goes_on(study, name):
    _, store, raw = study
    (raw / name).write_bytes((raw / "Neu1.h5").read_bytes())
    step = recipe.reader_step("leuko", "imaris", [str(raw)])
    outcome = run.run(recipe.Recipe.of(step), store, SETTINGS, progress=False)
    (entry,) = outcome.steps[0]["aside"]
    assert outcome.exit_code == 3
    assert outcome.steps[0]["made"] == ["Neu1", "Neu2"]
    assert "rename the file" in entry["reason"]
    assert repr(name) in entry["reason"]


def test_a_source_without_anything_for_the_reader(study, tmp_path):
    _, store, _ = study
    (tmp_path / "notes.txt").write_text("x")
    step = recipe.reader_step("leuko", "imaris", [str(tmp_path / "notes.txt")])
    with pytest.raises(UsageError, match=r"reader imaris finds nothing in .*notes\.txt"):
        Planner(store, SETTINGS).recipe(recipe.Recipe.of(step))


def test_set_overrules_what_the_file_says(study):
    _, store, raw = study
    said = {"spacing": [3, 0.25, 0.25], "interval": 60}
    step = recipe.reader_step("leuko", "imaris", [str(raw / "Neu1.h5")], said=said)
    run.run(recipe.Recipe.of(step), store, SETTINGS, progress=False)
    part = catalog.resolve(store, "leuko").parts[0]
    assert part.summary["spacing"] == {"t": 60.0, "z": 3.0, "y": 0.25, "x": 0.25}


def test_partitions_of_a_result_follow_the_shards_of_its_input(study):
    chosen, store, _ = study
    plans = Planner(store, SETTINGS).recipe(chosen)
    before = {(p.dataset, p.stem): p.partitions for step in plans for p in step.parts}
    run.run(chosen, store, SETTINGS, progress=False)
    for name in ("leuko-quality", "leuko-projections"):
        for ref in catalog.resolve(store, name).parts:
            made = seals.read(store, ref.base)[0].provenance["partitions"]
            assert made == before[name, ref.stem], "planned before its input was made"
    assert np.isfinite(sum(before.values()))


def test_inputs_that_may_be_left_out(study, monkeypatch):
    """A part is made without its like in such an input, and goes with all of a whole one."""

    def shift(
        ds: xr.Dataset, more: xr.Dataset | None = None, all: xr.DataTree | None = None
    ) -> xr.Dataset:
        return ds

    monkeypatch.setitem(operators.OPERATORS, "shift", operators.Operator(shift, 1))
    chosen, store, _ = study
    leuko = chosen.steps[0]
    ds = xr.Dataset({"number": ("movie", [1.0])})
    api.save({"Neu2": ds, "Neu9": ds}, store.url, "more", message="m")
    steps = [
        recipe.operator_step("a", "shift", "leuko"),
        recipe.operator_step("b", "shift", ["leuko", "more"]),
        recipe.operator_step("c", "shift", {"ds": "leuko", "all": "more"}),
    ]
    plans = Planner(store, SETTINGS).recipe(recipe.Recipe.of(leuko, *steps))
    found = {
        (part.dataset, part.stem): {
            role: [ref["stem"] for ref in refs] for role, refs in part.origin.inputs.items()
        }
        for plan in plans[1:]
        for part in plan.parts
    }
    assert found["a", "Neu1"] == {"ds": ["Neu1"]}
    assert found["b", "Neu1"] == {"ds": ["Neu1"]}
    assert found["b", "Neu2"] == {"ds": ["Neu2"], "more": ["Neu2"]}
    assert found["c", "Neu1"] == {"ds": ["Neu1"], "all": ["Neu2", "Neu9"]}
    assert len(found) == 6


def test_only_keeps_the_other_parts_also_in_what_is_made_of_all(study):
    chosen, store, raw = study
    run.run(chosen, store, SETTINGS, progress=False)
    demo.write_study(raw.parent, frames=4, size=(2, 40, 48))
    outcome = run.run(chosen, store, SETTINGS, choice=Choice(only="Neu2"), progress=False)
    assert [step["made"] for step in outcome.steps][:2] == [["Neu2"], ["Neu2"]]
    version = catalog.resolve(store, "leuko")
    assert version.number == 2
    assert [(r.stem, r.summary["sizes"]["t"]) for r in version.parts] == [("Neu1", 3), ("Neu2", 4)]
    table = catalog.resolve(store, "leuko-quality-table")
    assert table.parts[0].summary["sizes"] == {"movie": 2}


def test_a_reader_that_never_comes_back_is_ended(study, monkeypatch):
    """As one that follows pages in a ring; a broad ``except`` of its own does not keep it."""
    chosen, store, _ = study
    threads = []

    def spoil():
        threads.append(threading.current_thread())
        while True:
            try:
                threads.append(1)
                threads.pop()
            except Exception:  # noqa: BLE001
                continue

    opened_by(monkeypatch, spoil)
    (first, *_) = Planner(store, replace(SETTINGS, stall_seconds=0.3)).recipe(chosen)
    assert [(p.stem, p.action) for p in first.parts] == [("Neu1", "damaged"), ("Neu2", "make")]
    (thread,) = threads
    thread.join(60)
    assert not thread.is_alive()


def test_five_odd_folders_are_named_and_more_are_counted():
    odd = sources.Oddities()
    odd.empty |= {f"f{i}" for i in range(5)}
    said = "there is nothing in 'f0', 'f1', 'f2', 'f3', 'f4'"
    assert odd_lines(odd) == [f"{said}; is a copy under way?"]
    odd.empty.add("f5")
    assert odd_lines(odd) == [f"{said} and 1 more; is a copy under way?"]


def test_full_collections_wait_until_a_plan_is_made(study, monkeypatch):
    chosen, store, _ = study
    usual, during = gc.get_threshold(), []

    def damaged(*_):
        during.append(gc.get_threshold())
        raise InputError("a damaged file")

    monkeypatch.setattr(Planner, "_dataset", damaged)
    Planner(store, SETTINGS).recipe(chosen)
    assert during
    assert all(old > 10**6 for *_, old in during)
    assert {found[:2] for found in during} == {usual[:2]}
    assert gc.get_threshold() == usual
