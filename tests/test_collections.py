"""Folders of pictures through runs: what is made, put aside, resumed and made again."""

import json
import os
import shutil
import uuid
from pathlib import Path

import boto3
import h5py
import numpy as np
import pytest
from killing import digests, partitions_done

import dpipe
from dpipe import catalog, report, sources
from dpipe.build import Recipe, operator_step, parts, plan, reader_step, run, sealing
from dpipe.build.recipe import parse
from dpipe.catalog import seals
from dpipe.census import census
from dpipe.census import warnings as differences
from dpipe.checks import repair
from dpipe.checks import store as checks_store
from dpipe.config import Settings
from dpipe.demo.study import write_ifc_tree
from dpipe.errors import RefusedError, UsageError
from dpipe.storage import open_objects

pytestmark = pytest.mark.slow

FIRST, SECOND = "Experiment_1_Donor_1_+SEA", "Experiment_1_Donor_1_-SEA"


@pytest.fixture(scope="session")
def pictures(tmp_path_factory) -> Path:
    """120 pictures in two folders; of the first one is corrupt and one has no mask."""
    return write_ifc_tree(tmp_path_factory.mktemp("ifc") / "tree", 120, channels=3, mean_size=10)


class Lab:
    """A copy of the tree, a store, and runs in this process."""

    def __init__(self, pictures: Path, folder: Path, store: str) -> None:
        self.tree = folder / "tree"
        shutil.copytree(pictures, self.tree)
        self.first, self.second = (
            self.tree / name for name in ("Experiment_1/Donor_1/+SEA ", "Experiment_1/Donor_1/-SEA")
        )
        self.source, self.objects = str(self.tree), open_objects(store)

    def recipe(self, **options) -> Recipe:
        step = reader_step("cells", "ifc", [self.source], options={"block": 16} | options)
        return Recipe.of(step)

    def run(self, recipe: Recipe | None = None, choice: plan.Choice | None = None, **settings):
        said = {"workers": "0", "author": "ann", "partition_bytes": 10_000} | settings
        chosen = recipe or self.recipe()
        return run.run(chosen, self.objects, Settings(**said), choice=choice, progress=False)

    def part(self, stem: str):
        return dpipe.open(self.objects.url, "cells", part=stem)

    def tree_of_parts(self) -> dict:
        return dpipe.api.as_parts(dpipe.open(self.objects.url, "cells"))

    def version(self) -> catalog.Version:
        return catalog.resolve(self.objects, "cells")


@pytest.fixture
def lab(pictures, tmp_path) -> Lab:
    return Lab(pictures, tmp_path, str(tmp_path / "store"))


def test_a_tree_becomes_packed_parts_and_the_counts_add_up(lab):
    outcome = lab.run()
    assert outcome.exit_code == run.SOME_ASIDE
    (step,) = outcome.steps
    assert (step["items"], step["made"]) == (120, [FIRST, SECOND])
    (entry,) = step["aside"]
    assert (entry["stem"], entry["items"], entry["whole"]) == (FIRST, 1, False)
    assert entry["reason"] == f"1 of 60 pictures; the first is {FIRST}_3.h5: truncated, shorter " \
        "than its header says"  # fmt: skip
    assert report.lines(outcome)[-1].endswith("120 planned = 119 made + 0 reused + 1 put aside")
    assert list(checks_store.verify(lab.objects, (), mode="decode")) == []
    version = lab.version()
    assert [a["items"] for a in version.put_aside] == [1]
    assert [ref.summary["records"] for ref in version.parts] == [60, 60]
    assert [ref.summary["put_aside"] for ref in version.parts] == [1, 0]
    assert catalog.row(version)["put aside"] == 1
    (kept,) = lab.objects.list(f"runs/{outcome.run}/quarantine/")
    assert json.loads(lab.objects.read(kept.key))["sources"] == [f"{FIRST}_3.h5"]


def test_what_was_packed_is_what_was_in_the_files(lab):
    lab.run()
    for stem, folder in ((FIRST, lab.first), (SECOND, lab.second)):
        ds = lab.part(stem).compute()
        assert ds.sizes["block"] == 4
        for n, name in enumerate(ds.file.values):
            if ds.put_aside.values[n]:
                continue
            with h5py.File(folder / name) as file:
                image, mask = dpipe.unpack(ds, n)
                np.testing.assert_array_equal(image, file["image"][...])
                assert ("mask" in file) == (mask is not None)
                if mask is not None:
                    np.testing.assert_array_equal(mask, file["mask"][...])
                label = file["label"].asstr()[()] if "label" in file else "-1"
                assert ds.label.values[n] == label


def test_a_block_is_a_row_a_shard_and_a_task(lab):
    lab.run()
    found, _ = seals.read(lab.objects, lab.version().part(FIRST).base)
    assert found.provenance["partitions"] == 4
    ds = lab.part(FIRST)
    assert ds.pixels.chunksizes["block"] == (1,) * 4
    assert found.suffix == ".zarr"
    features = dpipe.pictures(ds, size=8)
    assert features.image.chunksizes["record"] == (16, 16, 16, 12)


def test_a_second_run_writes_nothing(lab):
    lab.run()
    before = [(e.key, e.size, e.mtime) for e in lab.objects.list()]
    outcome = lab.run()
    assert (outcome.nothing, outcome.exit_code) == (True, 3)
    assert [(e.key, e.size, e.mtime) for e in lab.objects.list()] == before


def test_adding_one_folder_makes_one_part(lab):
    lab.run()
    shutil.copytree(lab.second, lab.tree / "Experiment_2/Donor_3/Isotype")
    (step,) = lab.run().steps
    assert step["made"] == ["Experiment_2_Donor_3_Isotype"]
    assert step["reused"] == [FIRST, SECOND]
    assert (step["items"], step["reused_items"], [a["items"] for a in step["aside"]]) == (
        180, 119, [1],
    )  # fmt: skip


# --- folders that grow


def held(lab) -> dict[str, list[str]]:
    return {stem: ds.file.values.tolist() for stem, ds in lab.tree_of_parts().items()}


def add(folder: Path, stem: str, *numbers: int) -> list[str]:
    for number in numbers:
        shutil.copy(folder / f"{stem}_4.h5", folder / f"{stem}_{number}.h5")
    return [f"{stem}_{number}.h5" for number in numbers]


def test_new_files_of_a_folder_make_a_further_part(lab):
    lab.run()
    before = held(lab)
    new = add(lab.second, SECOND, 100, 101, 102)
    (step,) = lab.run().steps
    assert (step["made"], step["reused"]) == ([f"{SECOND}~2"], [FIRST, SECOND])
    assert step["items"] == 123
    assert held(lab) == before | {f"{SECOND}~2": new}
    assert lab.run().nothing
    (newer,) = add(lab.second, SECOND, 103)
    (step,) = lab.run().steps
    assert step["made"] == [f"{SECOND}~3"]
    assert held(lab)[f"{SECOND}~3"] == [newer]
    assert list(checks_store.verify(lab.objects, ())) == []


@pytest.mark.parametrize("how", ["changed", "vanished"])
def test_a_part_whose_files_changed_is_made_again_and_no_other(lab, how):
    lab.run()
    new = add(lab.second, SECOND, 100)
    lab.run()
    before = {ref.stem: ref.base for ref in lab.version().parts}
    path = lab.second / f"{SECOND}_7.h5"
    if how == "changed":
        os.utime(path, ns=(1, 1))
    else:
        path.unlink()
    (step,) = lab.run().steps
    assert (step["made"], step["reused"]) == ([SECOND], [FIRST, f"{SECOND}~2"])
    after = {ref.stem: ref.base for ref in lab.version().parts}
    assert [stem for stem in before if before[stem] != after[stem]] == [SECOND]
    files = held(lab)
    assert (path.name in files[SECOND]) == (how == "changed")
    assert len(files[SECOND]) == (60 if how == "changed" else 59)
    assert files[f"{SECOND}~2"] == new
    assert lab.run().nothing


def test_a_folder_in_one_part_is_made_again_as_one(lab):
    lab.run()
    os.utime(lab.second / f"{SECOND}_7.h5", ns=(1, 1))
    (step,) = lab.run().steps
    assert step["made"] == [SECOND]
    assert len(held(lab)[SECOND]) == 60


def test_a_folder_whose_seal_is_lost_is_made_anew(lab):
    lab.run()
    lab.objects.delete(f"{lab.version().part(SECOND).base}.json")
    add(lab.second, SECOND, 100)
    (step,) = lab.run().steps
    assert step["made"] == [SECOND]
    assert len(held(lab)[SECOND]) == 61


def test_new_changed_and_vanished_at_once(lab):
    lab.run()
    os.utime(lab.second / f"{SECOND}_7.h5", ns=(1, 1))
    (lab.second / f"{SECOND}_8.h5").unlink()
    new = add(lab.second, SECOND, 100, 101)
    (step,) = lab.run().steps
    assert step["made"] == [SECOND, f"{SECOND}~2"]
    assert (len(held(lab)[SECOND]), held(lab)[f"{SECOND}~2"]) == (59, new)


def test_a_folder_that_changed_as_a_whole_is_one_part_again(lab):
    lab.run()
    add(lab.second, SECOND, 100)
    lab.run()
    for path in lab.second.iterdir():
        os.utime(path, ns=(1, 1))
    (step,) = lab.run().steps
    assert step["made"] == [SECOND, f"{SECOND}~2"]
    (step,) = lab.run(lab.recipe(channels="a,b,c")).steps  # another option: all is made anew
    assert step["made"] == [FIRST, SECOND]
    assert set(held(lab)) == {FIRST, SECOND}
    assert len(held(lab)[SECOND]) == 61


def test_what_a_part_held_may_go_with_its_folder_only_if_it_is_said(lab):
    lab.run()
    add(lab.second, SECOND, 100)
    lab.run()
    shutil.rmtree(lab.second)
    with pytest.raises(RefusedError, match=f"{SECOND}, {SECOND}~2 would leave"):
        lab.run()
    lab.run(choice=plan.Choice(drop=True))
    assert set(held(lab)) == {FIRST}


def test_a_file_of_a_further_part_that_is_gone_is_put_aside_alone(lab, monkeypatch):
    lab.run()
    add(lab.second, SECOND, 100, 101)
    before(monkeypatch, "make", lambda: (lab.second / f"{SECOND}_100.h5").unlink(missing_ok=True))
    outcome = lab.run(max_quarantine="9")
    entries = {a["stem"]: (a["items"], a["reason"]) for a in outcome.steps[0]["aside"]}
    assert entries[f"{SECOND}~2"] == (
        1,
        f"1 of 2 pictures; the first is {SECOND}_100.h5: gone; it was there when the source was "
        "listed",
    )
    assert held(lab)[f"{SECOND}~2"] == [f"{SECOND}_100.h5", f"{SECOND}_101.h5"]


def before(monkeypatch, step: str, do) -> None:
    """Let something happen before the first such step of the second folder, or of a bucket."""
    function, done = getattr(parts, step), []

    def late(*given, **said):
        if not done and SECOND in given[1]:
            done.append(do())
        return function(*given, **said)

    monkeypatch.setattr(parts, step, late)


@pytest.mark.parametrize("step", ["make", "partition", "finish"])
@pytest.mark.parametrize("more", [1, 7])
def test_a_folder_that_grows_while_it_is_packed(lab, monkeypatch, step, more):
    """The files of the plan are packed; the others wait for the next run, which does only them."""
    files = {p.name for p in lab.second.iterdir()}
    before(monkeypatch, step, lambda: add(lab.second, SECOND, *range(100, 100 + more)))
    outcome = lab.run()
    assert (outcome.exit_code, [a["items"] for a in outcome.steps[0]["aside"]]) == (3, [1])
    assert set(held(lab)[SECOND]) == files
    (step,) = lab.run().steps
    assert (step["made"], step["reused"]) == ([f"{SECOND}~2"], [FIRST, SECOND])
    assert len(held(lab)[f"{SECOND}~2"]) == more
    assert lab.run().nothing
    assert list(checks_store.verify(lab.objects, (), mode="decode")) == []


@pytest.mark.parametrize("step", ["make", "partition", "finish"])
def test_a_folder_that_is_being_filled(lab, monkeypatch, step):
    """The last file of the plan was half written then; more came after it."""
    last = lab.second / f"{SECOND}_99.h5"
    whole = (lab.second / f"{SECOND}_4.h5").read_bytes()
    last.write_bytes(whole[:1000])
    os.utime(last, ns=(1 << 61, 1 << 61))

    def filled():
        last.write_bytes(whole)
        os.utime(last, ns=((1 << 61) + 1,) * 2)
        for n, name in enumerate(add(lab.second, SECOND, 100, 101), 2):
            os.utime(lab.second / name, ns=((1 << 61) + n,) * 2)

    before(monkeypatch, step, filled)
    (made,) = lab.run(max_quarantine="9").steps
    assert sorted(made["made"]) == [FIRST, SECOND]
    ds = lab.part(SECOND)
    assert (ds.sizes["record"], ds.file.values[-1]) == (61, last.name)
    aside = [str(reason) for reason in ds.put_aside.values if reason]
    assert aside == ([] if step == "make" else ["truncated, shorter than its header says"])
    again = lab.run(max_quarantine="9").steps[0]
    assert again["made"] == ([] if step == "make" else [SECOND]) + [f"{SECOND}~2"]
    ds = lab.part(SECOND)
    assert (ds.sizes["record"], (ds.put_aside.values != "").sum()) == (61, 0)
    assert lab.run(max_quarantine="9").nothing


@pytest.mark.parametrize("step", ["make", "partition"])
def test_a_file_that_vanishes_meanwhile_is_put_aside_alone(lab, monkeypatch, step):
    before(monkeypatch, step, lambda: (lab.second / f"{SECOND}_8.h5").unlink())
    outcome = lab.run(max_quarantine="9")
    aside = {a["stem"]: a["items"] for a in outcome.steps[0]["aside"]}
    assert aside == {FIRST: 1, SECOND: 1}
    assert report.lines(outcome)[-1].endswith("120 planned = 118 made + 0 reused + 2 put aside")
    (again,) = lab.run(max_quarantine="9").steps
    assert (again["made"], len(held(lab)[SECOND])) == ([SECOND], 59)


@pytest.mark.parametrize("step", ["make", "partition"])
def test_a_file_that_was_away_for_a_moment_is_looked_at_again(lab, monkeypatch, step):
    """The share comes back with the same file: what was gone is not remembered."""
    path, kept = lab.second / f"{SECOND}_8.h5", lab.tree.parent / "kept.h5"
    before(monkeypatch, step, lambda: path.rename(kept))
    outcome = lab.run(max_quarantine="9")
    assert {a["stem"]: a["items"] for a in outcome.steps[0]["aside"]} == {FIRST: 1, SECOND: 1}
    kept.rename(path)
    outcome = lab.run(max_quarantine="9")
    assert outcome.steps[0]["made"] == [SECOND]
    assert {a["stem"] for a in outcome.steps[0]["aside"]} == {FIRST}
    ds = lab.part(SECOND)
    assert (ds.sizes["record"], (ds.put_aside.values != "").sum()) == (60, 0)
    assert lab.run(max_quarantine="9").nothing


def test_a_file_that_changes_before_it_is_packed_is_put_aside_alone(lab, monkeypatch):
    path = lab.second / f"{SECOND}_8.h5"
    before(monkeypatch, "partition", lambda: os.utime(path, ns=(5, 5)))
    outcome = lab.run(max_quarantine="9")
    assert [a["items"] for a in outcome.steps[0]["aside"]] == [1, 1]
    ds = lab.part(SECOND)
    assert ds.file.values[ds.put_aside.values != ""].tolist() == [path.name]
    (again,) = lab.run(max_quarantine="9").steps
    assert again["made"] == [SECOND]
    assert (lab.part(SECOND).put_aside.values == "").all()


def test_a_file_that_changes_after_it_was_packed_is_as_it_was_listed(lab, monkeypatch):
    path = lab.second / f"{SECOND}_8.h5"
    before(monkeypatch, "finish", lambda: os.utime(path, ns=(5, 5)))
    lab.run()
    assert (lab.part(SECOND).put_aside.values == "").all()
    assert lab.run().steps[0]["made"] == [SECOND]


@pytest.mark.parametrize("more", [1, 3])
def test_a_bucket_that_grows_while_it_is_packed(lab, monkeypatch, more):
    url = f"memory://{uuid.uuid4().hex}"
    places = open_objects(url)
    for path in sorted(lab.second.iterdir()):
        places.put(f"raw/{SECOND}/{path.name}", path.read_bytes())
    data = (lab.second / f"{SECOND}_4.h5").read_bytes()
    step = reader_step("cells", "ifc", [f"{url}/raw"], options={"block": 16, "levels": ""})
    for name in ("make", "finish"):
        here = range(100, 100 + more) if name == "make" else range(200, 200 + more)
        before(
            monkeypatch, name,
            lambda here=here: [places.put(f"raw/{SECOND}/z_{n}.h5", data) for n in here],
        )  # fmt: skip
    outcome = lab.run(Recipe.of(step))
    assert (outcome.exit_code, len(held(lab)[SECOND])) == (0, 60)
    (again,) = lab.run(Recipe.of(step)).steps
    assert (again["made"], len(held(lab)[f"{SECOND}~2"])) == ([f"{SECOND}~2"], 2 * more)


def test_an_object_that_changes_meanwhile_blames_its_folder(lab, monkeypatch):
    """Of a bucket nobody can tell whether it changed before it was read."""
    url = f"memory://{uuid.uuid4().hex}"
    places = open_objects(url)
    for path in sorted(lab.second.iterdir()):
        places.put(f"raw/{SECOND}/{path.name}", path.read_bytes())
    step = reader_step("cells", "ifc", [f"{url}/raw"], options={"levels": ""})
    before(monkeypatch, "make", lambda: places.put(f"raw/{SECOND}/{SECOND}_8.h5", b"other"))
    (entry,) = lab.run(Recipe.of(step)).steps[0]["aside"]
    assert "changed since the plan was made" in entry["reason"]


@pytest.mark.parametrize(("limit", "code"), [("0", 4), ("1", 3), (None, 3), ("2%", 3), ("0.5%", 4)])
def test_the_limit_is_in_pictures(lab, limit, code):
    outcome = lab.run(max_quarantine=limit)
    assert outcome.exit_code == code
    assert (catalog.newest(lab.objects, "cells") is None) == (code == 4)


def test_what_was_too_much_is_committed_when_it_is_allowed(lab):
    assert lab.run(max_quarantine="0").exit_code == run.TOO_MANY
    assert lab.run(max_quarantine="0").exit_code == run.TOO_MANY
    (step,) = lab.run().steps
    assert (step["made"], step["reused"], step["reused_items"]) == ([], [FIRST, SECOND], 119)


def test_a_folder_of_rubbish_is_put_aside_whole(lab):
    for path in lab.second.iterdir():
        path.write_bytes(b"rubbish")
    outcome = lab.run(max_quarantine="80")
    assert [(a["stem"], a["items"]) for a in outcome.steps[0]["aside"]] == [
        (FIRST, 1),
        (SECOND, 60),
    ]
    assert "none of 60 pictures can be read" in outcome.steps[0]["aside"][1]["reason"]
    again = lab.run(max_quarantine="80")
    assert again.nothing


@pytest.fixture
def undecodable(lab) -> Path:
    """Spoil the pixels of a labelled picture, so that its header tells nothing."""
    path = lab.second / f"{SECOND}_6.h5"
    with h5py.File(path) as file:
        image, mask, label = (file[name][()] for name in ("image", "mask", "label"))
    with h5py.File(path, "w") as file:
        held = file.create_dataset("image", data=image, chunks=image.shape, compression="gzip")
        file["mask"], file["label"] = mask, label
        start = held.id.get_chunk_info(0).byte_offset
    data = bytearray(path.read_bytes())
    data[start : start + 20] = b"\xff" * 20
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("small", [1 << 20, 8])
def test_a_picture_that_turns_out_damaged_only_when_it_is_read_is_put_aside(
    lab, undecodable, monkeypatch, small
):
    """As those of which the header tells, also where flags are too many for the marks."""
    monkeypatch.setattr("dpipe.build.part_layout.SMALL", small)
    outcome = lab.run(max_quarantine="2")
    assert outcome.exit_code == run.SOME_ASIDE
    assert [a["items"] for a in outcome.steps[0]["aside"]] == [1, 1]
    said = f"1 of 60 pictures; the first is {undecodable.name}: its pixels cannot be decoded"
    assert outcome.steps[0]["aside"][1]["reason"] == said
    assert report.lines(outcome)[-1].endswith("120 planned = 118 made + 0 reused + 2 put aside")
    assert list(checks_store.verify(lab.objects, (), mode="decode")) == []
    ds = lab.part(SECOND)
    (n,) = np.flatnonzero(ds.file.values == undecodable.name)
    one = {name: ds[name].values[n] for name in ("height", "width", "label", "set", "put_aside")}
    assert list(one.values()) == [0, 0, "-1", "unlabeled", "its pixels cannot be decoded"]
    assert (ds.put_aside.values != "").sum() == 1
    assert (ds.height.values > 0).sum() == 59
    assert dpipe.unpack(ds, n)[0].shape == (0, 0, 3)
    assert dpipe.unpack(ds, n)[1] is None
    assert not dpipe.pictures(ds, size=8).image.values[n].any()
    features = dpipe.cell_features(ds, families="percentiles").feature.values
    assert np.isnan(features[n]).all()
    assert not np.isnan(np.delete(features, n, axis=0)).all(axis=1).any()
    assert lab.run(max_quarantine="2").nothing


def test_what_proved_damaged_is_put_aside_in_a_run_that_was_stopped_before_its_seal(
    lab, undecodable, monkeypatch
):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(sealing, "_drop_leftovers", stopped)
    with pytest.raises(KeyboardInterrupt):
        lab.run(max_quarantine="2")
    monkeypatch.undo()
    parts._lazy.cache_clear()
    assert lab.run(max_quarantine="2").exit_code == run.SOME_ASIDE
    assert list(checks_store.verify(lab.objects, ())) == []
    assert (lab.part(SECOND).put_aside.values != "").sum() == 1


def test_coordinates_that_are_lost_with_the_seal_come_back(lab):
    lab.run()
    whole = digests(lab.objects)
    lab.objects.delete(f"{lab.version().part(SECOND).base}.json")
    (lost,) = [e.key for e in lab.objects.list("parts/") if SECOND in e.key and "/file/c" in e.key]
    lab.objects.delete(lost)
    assert [one.why_not for one in repair.repair(lab.objects)] == ["", ""]
    assert digests(lab.objects) == whole
    assert list(checks_store.verify(lab.objects, ())) == []


def test_a_worker_reads_no_header_again(lab, monkeypatch):
    """Partitions and ``finish`` go on from what ``init`` laid out."""
    (step,) = plan.Planner(lab.objects, Settings(workers="0")).recipe(lab.recipe())
    (first, _) = step.parts
    made_by = first.origin.to_dict()
    url = lab.objects.url
    parts.init(url, first.base, made_by, first.options)
    parts._lazy.cache_clear()

    def refuse(*_):
        raise AssertionError("a header was read")

    monkeypatch.setattr("dpipe.readers.ifc.collection._survey", refuse)
    for i in range(parts.init(url, first.base, made_by)["partitions"]):
        parts.partition(url, first.base, i)
    assert parts.finish(url, first.base)["seal"]


def test_a_run_that_stops_goes_on_where_it_stopped(lab, pictures, tmp_path, monkeypatch):
    """Stopped at 40 % of the marks, resumed: the same objects as without the stop."""
    whole = Lab(pictures, tmp_path / "other", str(tmp_path / "whole"))
    shutil.rmtree(whole.tree)
    whole.source = lab.source
    whole.run()
    monkeypatch.setattr(parts, "partition", _stopping(parts.partition, 3))
    with pytest.raises(KeyboardInterrupt):
        lab.run()
    monkeypatch.undo()
    assert partitions_done(lab.objects, "cells") == 3
    calls, partition = [], parts.partition
    monkeypatch.setattr(parts, "partition", lambda *a: calls.append(a) or partition(*a))
    lab.run()
    assert len(calls) == partitions_done(lab.objects, "cells") - 3
    assert digests(lab.objects) == digests(whole.objects)


def _stopping(function, after):
    done = []

    def stopping(*args):
        if len(done) == after:
            raise KeyboardInterrupt
        done.append(args)
        return function(*args)

    return stopping


def test_from_packed_to_pictures_of_one_size_by_a_recipe(lab):
    first, (second,) = lab.recipe().steps[0], [operator_step("crops", "pictures", ["cells"])]
    outcome = lab.run(Recipe("both", (first, second)))
    assert [len(step["made"]) for step in outcome.steps] == [2, 2]
    assert outcome.steps[1]["aside"] == []
    ds = dpipe.open(lab.objects.url, "crops", part=SECOND)
    assert ds.image.shape == (60, 3, 64, 64)
    assert ds.label.dims == ("record",)
    np.testing.assert_array_equal(ds.image, dpipe.pictures(lab.part(SECOND)).image)


def test_on_workers_of_two_processes(lab):
    outcome = lab.run(workers="2")
    assert outcome.exit_code == run.SOME_ASIDE
    assert outcome.count("made") == 2
    assert list(checks_store.verify(lab.objects, (), mode="decode")) == []


def test_from_a_bucket(lab, bucket, monkeypatch):
    client = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    name = bucket.removeprefix("s3://")
    for path in sorted(lab.tree.rglob("*.h5"))[:40]:
        key = f"raw/{path.relative_to(lab.tree).as_posix()}"
        client.put_object(Bucket=name, Key=key, Body=path.read_bytes())
    client.close()
    lab.source = f"{bucket}/raw"
    outcome = lab.run(max_quarantine="1")
    assert outcome.steps[0]["items"] == 40
    ds, local = lab.part(FIRST), dpipe.open_ifc(lab.first)
    place = {name: n for n, name in enumerate(local.file.values)}
    for n in range(0, ds.sizes["record"], 7):
        found, expected = dpipe.unpack(ds, n), dpipe.unpack(local, place[ds.file.values[n]])
        np.testing.assert_array_equal(found[0], expected[0])


def test_from_a_zip_as_a_repository_delivers_it(lab, tmp_path):
    lab.source = shutil.make_archive(str(tmp_path / "delivered"), "zip", lab.tree)
    outcome = lab.run()
    assert outcome.exit_code == run.SOME_ASIDE
    assert outcome.steps[0]["items"] == 120
    local = dpipe.open_ifc(lab.second)
    np.testing.assert_array_equal(lab.part(SECOND).pixels.values.max(), local.pixels.values.max())
    for n in range(0, 60, 7):
        np.testing.assert_array_equal(
            dpipe.unpack(lab.part(SECOND), n)[0], dpipe.unpack(local, n)[0]
        )


def test_from_a_zip_in_a_bucket(lab, bucket, tmp_path):
    path = Path(shutil.make_archive(str(tmp_path / "delivered"), "zip", lab.tree))
    open_objects(bucket).put("raw/all.zip", path.read_bytes())
    on_disk = lab.run(lab.recipe(), max_quarantine="1")
    before = {ref.stem: ref.summary for ref in lab.version().parts}
    lab.source = f"{bucket}/raw/all.zip"
    outcome = lab.run(max_quarantine="1")
    assert (on_disk.exit_code, outcome.exit_code) == (run.SOME_ASIDE, run.SOME_ASIDE)
    assert {ref.stem: ref.summary for ref in lab.version().parts} == before
    np.testing.assert_array_equal(
        np.sort(lab.part(SECOND).pixels.values),
        np.sort(dpipe.open_ifc(lab.second, block=16).pixels),
    )
    assert lab.run(max_quarantine="1").nothing


def test_folders_with_nothing_in_them_are_said_and_not_counted(lab):
    for name in ("Experiment_1/Donor_2/+SEA ", "Experiment_1/Donor_2/-SEA"):
        (lab.tree / name).mkdir(parents=True)
    (lab.tree / "Experiment_1/Donor_2/-SEA/x_1.h5.partial").touch()
    outcome = lab.run()
    (step,) = outcome.steps
    said = f"there is nothing in '{lab.tree}/Experiment_1/Donor_2/+SEA ', " \
        f"'{lab.tree}/Experiment_1/Donor_2/-SEA'; is a copy under way?"  # fmt: skip
    assert step["notes"] == [said]
    assert f"note: cells: {said}" in report.lines(outcome)
    assert (step["items"], step["made"]) == (120, [FIRST, SECOND])
    assert report.lines(lab.run())[:2] == [
        "nothing to do: 2 parts of 1 datasets are there",
        f"note: cells: {said}",
    ]
    plans = plan.Planner(lab.objects, Settings(workers="0")).recipe(lab.recipe())
    assert plan.notes(plans) == f"note: cells: {said}\n"
    rows = census("ifc", [str(lab.tree)])
    assert [row["stem"] for row in rows[:2]] == [FIRST, SECOND]
    assert [(row["files"], row["problem"]) for row in rows[2:]] == [
        (0, "there is nothing in this folder")
    ] * 2
    assert sum(row["files"] for row in rows) == 120
    told = [line for line in differences(rows) if "nothing" in line]
    assert told[0] == f"'{lab.tree}/Experiment_1/Donor_2/+SEA ': there is nothing in this folder"


def test_millions_of_files_are_listed_once_to_plan(lab, monkeypatch):
    lab.run(max_quarantine="9")
    listed, walk = [], sources.walk_items
    shutil.copytree(lab.second, lab.tree / "Experiment_2/Donor_3/Isotype")

    def counting(*given, **said):
        for item in walk(*given, **said):
            listed.append(item.uri)
            yield item

    monkeypatch.setattr(sources, "walk_items", counting)
    monkeypatch.setattr("dpipe.readers.table.walk_items", counting)
    monkeypatch.setattr(parts, "make", lambda *_: pytest.fail("planned"))
    plan.Planner(lab.objects, Settings(workers="0")).recipe(lab.recipe())
    # all 180, and those of the new folder to see how large pictures are: at most 64, here 60
    assert len(listed) == 240
    listed.clear()
    with pytest.raises(pytest.fail.Exception):
        lab.run()
    assert len(listed) == 240


def test_pictures_that_are_in_two_folders(lab):
    stem = f"{SECOND}_"
    for number in (5, 6):  # one of them is labelled only here
        target = shutil.copy(lab.second / f"{stem}{number}.h5", lab.first / f"{stem}{number}00.h5")
        with h5py.File(target, "a") as file:
            if number == 5:
                file["label"] = "T_cell"
    with h5py.File(lab.second / f"{stem}7.h5") as file:  # kept in another way
        image = file["image"][...]
    with h5py.File(lab.first / "again_700.h5", "w") as file:
        file.create_dataset("image", data=image, chunks=image.shape, compression="gzip")
    shutil.copy(lab.second / f"{stem}8.h5", lab.second / f"{stem}800.h5")
    for folder in (lab.first, lab.second):  # dark ones of one size are not the same for that
        with h5py.File(folder / "dark_900.h5", "w") as file:
            file["image"] = np.full((9, 9, 3), 7, "u2")
    rows = census("ifc", [str(lab.tree)])
    assert [row["same_pixels"] for row in rows] == [{}, {FIRST: 3, SECOND: 1}]
    assert [row["duplicates"] for row in rows] == [0, 0]
    assert f"{SECOND}: 3 pictures show the pixels of some in {FIRST}" in differences(rows)


def test_masks_of_several_values_are_counted_by_census_and_report(lab):
    """A cell and a piece beside it: which of them a feature means is not the file's to say."""
    for number in (4, 9):
        with h5py.File(lab.second / f"{SECOND}_{number}.h5", "a") as file:
            mask = file["mask"][...]
            mask[0, 0] = 3
            file["mask"][...] = mask
    rows = census("ifc", [str(lab.tree)])
    assert [row["masks_of_several_values"] for row in rows] == [0, 2]
    (step,) = lab.run().steps
    assert step["notes"] == [
        f"{SECOND}: 2 masks have several values besides 0; cell-features takes the smallest for "
        "shapes, as scifAI does, unless mask_values=union"
    ]
    assert [ref.summary.get("several_values") for ref in lab.version().parts] == [None, 2]


def test_a_census_of_folders(lab):
    shutil.copy(lab.second / f"{SECOND}_4.h5", lab.second / f"{SECOND}_copy_4.h5")
    rows = census("ifc", [str(lab.tree)])
    assert [row["stem"] for row in rows] == [FIRST, SECOND]
    assert [row["files"] for row in rows] == [60, 61]
    assert [row["put_aside"] for row in rows] == [1, 1]
    assert [row["masks_missing"] for row in rows] == [1, 0]
    assert [row["labels"] for row in rows] == [19, 20]
    assert [row["duplicates"] for row in rows] == [0, 1]
    assert rows[0]["dtype"] == "uint16"
    assert rows[0]["channels"] == ["Ch1", "Ch2", "Ch3"]
    low, middle, high = rows[0]["height"]
    assert 8 <= low <= middle <= high <= 16
    for path in lab.first.iterdir():
        path.write_bytes(b"")
    assert "none of 60 pictures" in census("ifc", [str(lab.tree)])[0]["problem"]


def test_a_source_without_pictures(lab, tmp_path):
    (tmp_path / "empty").mkdir()
    lab.source = str(tmp_path / "empty")
    with pytest.raises(UsageError, match="empty: no files in this folder; check the path"):
        lab.run()
    (tmp_path / "empty/notes.txt").write_text("x")
    with pytest.raises(UsageError, match="reader ifc finds nothing in"):
        lab.run()


def test_two_sources_that_overlap_count_once(lab):
    given = [str(lab.tree), f"{lab.tree}/*", f"{lab.tree}/**", f"{lab.first}/"]
    text = f"datasets:\n  cells: {{reader: ifc, source: {given}}}\n"
    (step,) = plan.Planner(lab.objects, Settings(workers="0")).recipe(parse(text))
    assert sum(part.items for part in step.parts) == 120
