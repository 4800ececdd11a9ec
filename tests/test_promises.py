"""What a store promises, held against who would break it: sweepers, editors, flips, absent files.

Each test stands for a fault that an outside look found, with the right outcome.
"""

import contextlib
import importlib
import json
import os
import random
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gate import Gate
from killing import Run, catch, seals
from old_store import unzipped

import dpipe
from dpipe import catalog, demo, operators
from dpipe.build import Outcome, parts, run, scheduler
from dpipe.build import load_recipe as load
from dpipe.build.recipe import parse
from dpipe.catalog import seals as catalog_seals
from dpipe.catalog import version_files
from dpipe.catalog.provenance import _software
from dpipe.checks import repair, store
from dpipe.cli import main
from dpipe.config import Settings
from dpipe.errors import DamageError, NotFoundError, StoreError, UsageError
from dpipe.service import maintenance
from dpipe.storage import Objects, documents, open_objects

pytestmark = pytest.mark.slow

TESTS = Path(__file__).parent / "support"
TEXT = """
name: trial
datasets:
  leuko: {{reader: imaris, source: {raw}}}
  made: {{operator: {operator}, input: leuko}}
"""


@pytest.fixture(scope="session")
def movies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("promised")
    demo.write_study(folder, movies=3, frames=2, size=(2, 32, 32), damaged=False)
    return folder / "raw"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(scheduler, "FIRST_PAUSE", 0.001)
    monkeypatch.setenv("OPS_FOLDER", str(tmp_path))
    monkeypatch.setenv("DPIPE_CACHE", str(tmp_path / "cache"))


class Lab:
    def __init__(self, movies: Path, folder: Path) -> None:
        self.folder, self.raw = folder, folder / "raw"
        shutil.copytree(movies, self.raw)
        self.objects = open_objects(str(folder / "store"))

    def text(self, operator: str = "frame-quality") -> str:
        return TEXT.format(raw=f"{self.raw}/*.h5", operator=operator)

    def run(self, operator: str = "frame-quality", **said: Any) -> Outcome:
        settings = {"workers": "0", "author": "ann", "retries": 1, **said}
        return run.run(
            parse(self.text(operator)), self.objects, Settings(**settings), progress=False
        )

    def command(self, *args: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([*args, "--store", self.objects.url])
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err


@pytest.fixture
def lab(movies: Path, tmp_path: Path) -> Lab:
    return Lab(movies, tmp_path)


# --- A1: sweepers


@pytest.mark.faults
def test_a_sweeper_of_another_process_takes_nothing_of_a_run_that_goes_on(lab: Lab) -> None:
    """However old its parts are: the grace is none at all."""
    path = lab.folder / "recipe.yaml"
    path.write_text(lab.text())
    gate = Gate(lab.folder / "gate")
    gate.allow("leuko", 2)
    sweep = [sys.executable, "-m", "dpipe", "sweep", "--delete", "--store", lab.objects.url]
    with Run(path, lab.objects.url, lab.folder, workers="1", env=gate.env) as begun:
        catch(begun, lab.objects, "leuko", 2)
        before = {entry.key for entry in lab.objects.list("parts/")}
        env = os.environ | {"DPIPE_GRACE_HOURS": "0"}
        done = subprocess.run(sweep, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert {entry.key for entry in lab.objects.list("parts/")} >= before
        gate.open("leuko")
        assert begun.wait() == 0, begun.text()
    assert list(store.verify(lab.objects, ())) == []


def test_a_commit_looks_at_every_seal_that_it_newly_names(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that slept: its parts were swept, and its version must not name them."""
    commit = catalog.commit

    def slept(objects: Objects, name: str, build: Any, **said: Any) -> Any:
        for entry in list(objects.list("parts/leuko/Neu2")):
            objects.delete(entry.key)
        return commit(objects, name, build, **said)

    with monkeypatch.context() as patch:
        patch.setattr(catalog, "commit", slept)
        with pytest.raises(StoreError, match="Neu2") as told:
            lab.run()
    assert told.value.exit_code == 75
    assert catalog.names(lab.objects) == []
    assert lab.run().exit_code == 0
    assert list(store.verify(lab.objects, ())) == []


def test_a_commit_reads_the_note_of_a_sweeper(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sweeper is about to delete: whoever wrote first is seen by the other."""
    from dpipe.catalog import heartbeat

    commit = catalog.commit

    def meanwhile(objects: Objects, name: str, build: Any, **said: Any) -> Any:
        base = next(k for k in seals(e.key for e in objects.list(f"parts/{name}/")))
        with heartbeat.sweeping(objects, [base.removesuffix(".json")]):
            return commit(objects, name, build, **said)

    monkeypatch.setattr(catalog, "commit", meanwhile)
    with pytest.raises(StoreError, match="swe"):
        lab.run()
    assert catalog.names(lab.objects) == []


def test_a_sweeper_whose_clock_is_ahead(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ages are those of the store's clock."""
    import time

    with monkeypatch.context() as patch:
        patch.setattr(catalog, "commit", lambda *_, **__: None)
        with contextlib.suppress(Exception):
            lab.run()
    there = {entry.key for entry in lab.objects.list("parts/")}
    assert there
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 90 * 86400)
    assert maintenance.sweep(lab.objects, grace_hours=48, delete=True) == []
    assert {entry.key for entry in lab.objects.list("parts/")} == there


# --- A2: code of users


CODE = """
    import numpy as np
    import xarray as xr
    from dpipe.blocks import map_frames
    from {package}.helper import factor

    def measure(ds: xr.Dataset) -> xr.Dataset:
        values = map_frames(kernel, ds["image"], outputs=1)[0]
        return xr.Dataset({{"number": values}})

    def kernel(frame):
        return [float(frame.mean()) * factor()]

    measure.free = ("t", "c")
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package of a user, in a folder that is on the path."""
    name = f"lab{random.randrange(10**9)}"
    folder = tmp_path / "code" / name
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "qc.py").write_text(textwrap.dedent(CODE.format(package=name)))
    (folder / "helper.py").write_text("def factor():\n    return 1\n")
    monkeypatch.syspath_prepend(str(folder.parent))
    yield folder
    for known in [k for k in sys.modules if k.partition(".")[0] == name]:
        del sys.modules[known]


@pytest.mark.faults
@pytest.mark.parametrize("edited", ["qc.py", "helper.py"])
def test_code_that_is_edited_between_kill_and_resume_mixes_nothing(
    lab: Lab, package: Path, edited: str
) -> None:
    path = lab.folder / "recipe.yaml"
    path.write_text(lab.text(f"{package.name}.qc:measure"))
    gate = Gate(lab.folder / "gate")
    gate.allow("made", 2)
    code = os.pathsep.join([str(package.parent), gate.env["PYTHONPATH"]])
    env = {**gate.env, "PYTHONPATH": code, "DPIPE_CACHE": str(lab.folder / "cache")}
    with Run(path, lab.objects.url, lab.folder, workers="1", env=env) as begun:
        catch(begun, lab.objects, "made", 2)
        begun.kill() if hasattr(begun, "kill") else begun.signal(9)
        begun.wait()
    text = (package / edited).read_text()
    (package / edited).write_text(
        text.replace("return 1", "return 1000").replace("()]", "() * 1000]")
    )
    gate.open("made")
    with Run(path, lab.objects.url, lab.folder, workers="1", env=env) as resumed:
        assert resumed.wait() == 0, resumed.text()
    for ref in catalog.resolve(lab.objects, "made").parts:
        ds = dpipe.open(lab.objects.url, "made", part=ref.stem)
        image = dpipe.open(lab.objects.url, "leuko", part=ref.stem).image
        expected = image.mean(("z", "y", "x"), dtype=float) * 1000
        np.testing.assert_allclose(ds.number, expected)


def test_code_that_is_edited_between_runs_is_made_again_and_said(
    lab: Lab, package: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = lab.folder / "recipe.yaml"
    path.write_text(lab.text(f"{package.name}.qc:measure"))
    env = os.environ | {"PYTHONPATH": str(package.parent)}
    command = [sys.executable, "-m", "dpipe"]
    args = [str(path), "--store", lab.objects.url]

    def call(*words: str) -> str:
        done = subprocess.run(
            [*command, *words], env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    call("run", *args, "--workers", "0", "--quiet")
    assert "nothing to do" in call("run", *args, "--workers", "0", "--quiet")
    (package / "helper.py").write_text("def factor():\n    return 2\n")
    assert f"the code of {package.name}.qc:measure changed" in call("plan", *args)
    call("run", *args, "--workers", "0", "--quiet")
    version = catalog.resolve(lab.objects, "made")
    assert version.number == 2
    assert version.recipe["code"]
    assert version.recipe["packages"] == {} or isinstance(version.recipe["packages"], dict)


CONSTANTS = """
    import functools
    import xarray as xr

    FACTOR = 2
    WEIGHTS = [1, 2]

    class Model:
        depth = 3

        def apply(self, x):
            return x + 1

    @functools.cache
    def cached(x):
        return x - 1

    def scaled(x, factor=4):
        return x * factor

    def measure(ds: xr.Dataset) -> xr.Dataset:
        return ds * FACTOR
"""


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [
        ("FACTOR = 2", "FACTOR = 20", "FACTOR"),
        ("[1, 2]", "[1, 3]", "WEIGHTS"),
        ("depth = 3", "depth = 5", "Model.depth"),
        ("x + 1", "x + 2", "Model.apply"),
        ("x - 1", "x - 2", "cached"),
        ("factor=4", "factor=5", "scaled"),
    ],
)
def test_whatever_is_edited_while_it_is_loaded_is_refused(
    package: Path, old: str, new: str, name: str
) -> None:
    """What would run is the old code, and its results would carry the digest of the new."""
    file = package / "qc.py"
    file.write_text(textwrap.dedent(CONSTANTS))
    operator = f"{package.name}.qc:measure"
    importlib.import_module(f"{package.name}.qc")
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(UsageError, match=rf"edited after it was imported here \({name} is"):
        operators.resolve(operator)


def test_what_a_package_sets_while_it_is_imported_is_no_edit(package: Path) -> None:
    (package / "__init__.py").write_text(
        f"from {package.name} import qc\nqc.FACTOR = 7\nqc.WEIGHTS.append(3)\n"
    )
    text = textwrap.dedent(CONSTANTS).replace("WEIGHTS = [1, 2]", "WEIGHTS = []\nWEIGHTS.sort()")
    text += (
        "import enum\nclass Kind(enum.Enum):\n    A = 1\ntry:\n    GPU = True\n    import nope_\n"
    )
    (package / "qc.py").write_text(text + "except ImportError:\n    GPU = False\n")
    assert operators.resolve(f"{package.name}.qc:measure").code


def test_a_module_that_is_imported_by_its_written_name_counts(package: Path) -> None:
    (package / "qc.py").write_text(
        "import importlib\nimport xarray as xr\n\ndef measure(ds: xr.Dataset) -> xr.Dataset:\n"
        "    return importlib.import_module('.helper', __package__).factor() * ds\n"
    )
    name = f"{package.name}.qc:measure"
    before = operators.resolve(name).code
    for known in [k for k in sys.modules if k.partition(".")[0] == package.name]:
        del sys.modules[known]
    (package / "helper.py").write_text("def factor():\n    return 2\n")
    assert operators.resolve(name).code != before


# --- A4: sources that are away


def away(monkeypatch: pytest.MonkeyPatch, path: Path, times: int = 10**6) -> None:
    """Let a file be away whenever its part is made."""
    make, kept, left = parts.make, path.with_name("away.tmp"), [times]

    def without(url: str, base: str, *rest: Any) -> dict[str, Any]:
        if f"/{path.stem}-" not in base or not left[0]:
            return make(url, base, *rest)
        left[0] -= 1
        path.rename(kept)
        try:
            return make(url, base, *rest)
        finally:
            kept.rename(path)

    monkeypatch.setattr(parts, "make", without)


def test_a_source_that_is_away_for_a_moment_is_waited_for(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    away(monkeypatch, lab.raw / "Neu2.h5", times=1)
    assert lab.run(retries=2).exit_code == 0
    assert len(catalog.resolve(lab.objects, "leuko").parts) == 3


def test_a_source_that_was_away_is_looked_at_again(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        away(patch, lab.raw / "Neu2.h5")
        assert lab.run().exit_code == 3
    assert len(catalog.resolve(lab.objects, "leuko").parts) == 2
    again = lab.run()
    assert (again.exit_code, again.steps[0]["made"]) == (0, ["Neu2"])
    assert catalog.resolve(lab.objects, "leuko").put_aside == ()


def test_none_may_be_away(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too many were gone: nothing of an input is wrong, so the run is to be tried again."""
    with monkeypatch.context() as patch:
        away(patch, lab.raw / "Neu2.h5")
        assert lab.run(max_quarantine="0").exit_code == 75
    assert lab.run(max_quarantine="0").exit_code == 0


def test_a_run_that_leaves_anything_aside_never_exits_0(lab: Lab) -> None:
    data = (lab.raw / "Neu2.h5").read_bytes()
    (lab.raw / "Neu2.h5").write_bytes(data[: len(data) // 2])
    for _ in range(3):
        assert lab.run().exit_code == 3
    assert lab.run(max_quarantine="0").exit_code == 4


# --- A5: flips, exchanged names, missing heads


@pytest.fixture(scope="module")
def sealed(movies: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of two versions of three datasets."""
    folder = tmp_path_factory.mktemp("sealed")
    shutil.copytree(movies, folder / "raw")
    recipe = parse(
        TEXT.format(raw=f"{folder}/raw/*.h5", operator="frame-quality")
        + "  table: {operator: quality-table, input: made}\n"
    )
    settings = Settings(workers="0", author="ann")
    objects = open_objects(str(folder / "store"))
    shutil.move(folder / "raw" / "Neu3.h5", folder)
    run.run(recipe, objects, settings, progress=False)
    shutil.move(folder / "Neu3.h5", folder / "raw")
    run.run(recipe, objects, settings, progress=False)
    return folder / "store"


def test_200_flips_are_all_found(sealed: Path, tmp_path: Path) -> None:
    """Anywhere below datasets/ and parts/: one bit of one object, each time."""
    shutil.copytree(sealed, tmp_path / "store")
    objects = open_objects(str(tmp_path / "store"))
    keys = sorted(e.key for p in ("datasets", "parts") for e in objects.list(f"{p}/"))
    kinds = {key.rpartition("/")[2].lstrip("0123456789") for key in keys if "datasets/" in key}
    assert len(kinds) >= 2, "versions and their copies"
    luck = random.Random(8)
    chosen = [*keys, *luck.choices(keys, k=max(0, 200 - len(keys)))][-200:]
    luck.shuffle(chosen)
    for key in chosen:
        data = objects.read(key)
        if not data:
            continue
        at, bit = luck.randrange(len(data)), luck.randrange(8)
        flipped = bytearray(data)
        flipped[at] ^= 1 << bit
        objects.put(key, bytes(flipped))
        found = {finding.key for finding in store.verify(objects, ())}
        assert key in found, f"bit {bit} of byte {at} of {key}: found {found}"
        objects.put(key, data)
    assert list(store.verify(objects, ())) == []


def copied(sealed: Path, folder: Path) -> Objects:
    shutil.copytree(sealed, folder / "store")
    return open_objects(str(folder / "store"))


def rewritten(objects: Objects, name: str, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the newest version of a dataset, and sign it as who knows the format would."""
    version = catalog.resolve(objects, name)
    key = version_files.key_of(name, version.number)
    fields = json.loads(objects.read(key))
    form = fields.pop("format")
    fields.pop("sha256")
    change(fields)
    title, _, number = form.partition("/")
    objects.put(key, documents.Form(title, int(number), "version").write(fields))


def test_two_stems_that_were_exchanged(sealed: Path, tmp_path: Path) -> None:
    objects = copied(sealed, tmp_path)

    def exchange(fields: dict[str, Any]) -> None:
        one, other, *_ = fields["parts"]
        one["stem"], other["stem"] = other["stem"], one["stem"]

    rewritten(objects, "leuko", exchange)
    assert any("calls it" in finding.problem for finding in store.verify(objects, ["leuko"]))
    with pytest.raises(DamageError, match="a version calls it"):
        dpipe.open(objects.url, "leuko")


def test_a_newest_version_that_was_deleted(sealed: Path, tmp_path: Path) -> None:
    objects = copied(sealed, tmp_path)
    objects.delete(version_files.key_of("leuko", 2))
    assert [f.key for f in store.verify(objects, ["leuko"])] == [version_files.key_of("leuko", 2)]
    with pytest.raises(DamageError, match="version 2 of leuko was committed and is gone"):
        dpipe.open(objects.url, "leuko")
    with pytest.raises(DamageError, match="dpipe repair leuko"):
        dpipe.save(dpipe.open(objects.url, "leuko@1"), objects.url, "leuko", message="m")
    assert not objects.exists(version_files.key_of("leuko", 2)), "its number is not taken again"
    assert [done.why_not for done in repair.repair(objects, ["leuko"])] == [""]
    assert catalog.resolve(objects, "leuko").number == 2


def test_a_version_in_the_middle_that_was_deleted(sealed: Path, tmp_path: Path) -> None:
    objects = copied(sealed, tmp_path)
    objects.delete(version_files.key_of("leuko", 1))
    assert [f.key for f in store.verify(objects, ["leuko"])] == [version_files.key_of("leuko", 1)]


# --- A8: one door to a part


def test_an_operator_takes_no_input_but_the_one_that_the_version_names(
    sealed: Path, tmp_path: Path
) -> None:
    objects = copied(sealed, tmp_path)
    base = catalog.resolve(objects, "leuko").part("Neu1").base
    fields = json.loads(objects.read(catalog_seals.key_of(base)))
    fields.pop("sha256")
    title, _, number = fields.pop("format").partition("/")
    fields["summary"]["notes"] = ["another"]
    objects.put(
        catalog_seals.key_of(base), documents.Form(title, int(number), "seal").write(fields)
    )
    recipe = parse("name: n\ndatasets:\n  more: {operator: projections, input: leuko}\n")
    with pytest.raises(DamageError, match="not the one that the version names"):
        run.run(recipe, objects, Settings(workers="0"), progress=False)
    with pytest.raises(DamageError, match="not the one that the version names"):
        dpipe.open(objects.url, "leuko")


# --- A10: odd names


@pytest.mark.parametrize("name", ["Neu\u00a09", "Neu\n9", "." + "x" * 3, "n" * 240, "\udce4"])
def test_one_odd_name_does_not_stop_the_batch(lab: Lab, name: str) -> None:
    target = lab.raw / f"{name}.h5"
    try:
        shutil.copyfile(lab.raw / "Neu1.h5", target)
    except OSError:
        pytest.skip("this file system has no such name")
    outcome = lab.run()
    made = set(outcome.steps[0]["made"])
    assert {"Neu1", "Neu2", "Neu3"} <= made
    hidden = name.startswith(".")
    asides = [entry["reason"] for entry in outcome.steps[0]["aside"]]
    assert len(made) - 3 + len(asides) == (0 if hidden else 1)
    assert outcome.exit_code == (3 if asides else 0)
    assert all("rename the file" in reason for reason in asides)


# --- A12: what vanishes in the middle of a run


def test_an_object_that_vanishes_in_the_middle_of_a_run(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: Any, **__: Any) -> None:
        raise NotFoundError("parts/leuko/x: no such object")

    monkeypatch.setattr(parts, "make", gone)
    with pytest.raises(StoreError) as told:
        lab.run()
    assert told.value.exit_code == 75
    assert "run the same command again" in str(told.value).lower()


# --- A13: secrets


def test_secrets_are_masked_everywhere(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LAB_PASSWORD", "correct-horse")
    path = lab.folder / "recipe.yaml"
    path.write_text(lab.text("ops:leaking"))
    code, out, err = lab.command("run", str(path), "--workers", "0", "--quiet", capsys=capsys)
    assert code == 70
    texts = [out, err]
    texts += [lab.objects.read(e.key).decode() for e in lab.objects.list("runs/")]
    assert any("example.org" in text for text in texts)
    for text in texts:
        for secret in ("hunter2", "abc123def", "correct-horse"):
            assert secret not in text


def test_secrets_are_masked_in_what_ends_a_command(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(*_: Any, **__: Any) -> None:
        raise RuntimeError("password=hunter2")

    monkeypatch.setattr(catalog, "listing", failing)
    monkeypatch.setattr(sys, "argv", ["dpipe", "--debug"])
    code, out, err = lab.command("ls", capsys=capsys)
    assert code in (2, 70)
    assert "hunter2" not in out + err


# --- A15: operators that are not to be trusted


def test_an_operator_that_is_not_deterministic_is_noted_on_request(lab: Lab) -> None:
    assert lab.run("ops:drifting").steps[1]["notes"] == []
    other = Lab.__new__(Lab)
    other.__dict__ = {**lab.__dict__, "objects": open_objects(f"{lab.folder}/other")}
    steps = other.run("ops:drifting", recompute=1).steps
    assert steps[0]["notes"] == []
    assert steps[1]["notes"] == [
        f"Neu{n}: not deterministic: number computed twice gave two answers" for n in (1, 2, 3)
    ]
    steady = Lab.__new__(Lab)
    steady.__dict__ = {**lab.__dict__, "objects": open_objects(f"{lab.folder}/steady")}
    assert steady.run("frame-quality", recompute=1).steps[1]["notes"] == []


def test_an_operator_that_raises_while_it_is_planned_ends_no_run(lab: Lab) -> None:
    """It is a bug of the part that it met, as in a task; the rest is made and committed."""
    outcome = lab.run("ops:hasty", max_quarantine="1")
    assert outcome.exit_code == 70
    assert [step["made"] for step in outcome.steps] == [["Neu1", "Neu2", "Neu3"], ["Neu1", "Neu3"]]
    assert "a bug: KeyError" in outcome.steps[1]["aside"][0]["reason"]
    assert [ref.stem for ref in catalog.resolve(lab.objects, "made").parts] == ["Neu1", "Neu3"]


def test_a_result_of_nan_alone_is_noted(lab: Lab) -> None:
    assert lab.run("ops:blank").steps[1]["notes"] == [
        f"Neu{n}: every value of number is NaN" for n in (1, 2, 3)
    ]


def test_what_is_no_dataset_is_refused_by_what_it_is(lab: Lab) -> None:
    with pytest.raises(UsageError, match=r"returned DataArray; expected an xarray\.Dataset"):
        lab.run("ops:array")


# --- A17: what people save


def test_what_each_made_is_saved_with_its_operator_parameters_and_inputs(
    sealed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = str(sealed)
    made = dpipe.each(dpipe.open(url, "leuko"), dpipe.frame_quality, median=3)
    version = dpipe.save(made, url, "mine", message="m", author="ben")
    assert version.author == "ben"
    assert version.recipe["kind"] == "saved"
    assert version.recipe["operator"] == "frame-quality"
    assert version.recipe["params"]["median"] == 3
    assert version.recipe["inputs"] == {"ds": "leuko@2"}
    objects = open_objects(url)
    for ref in version.parts:
        provenance = catalog_seals.read(objects, ref.base)[0].provenance
        assert provenance["author"] == "ben"
        call = provenance["origin"]["made"]
        (given,) = call["inputs"]["ds"]
        assert given["stem"] == ref.stem
        assert given["seal"] == catalog.resolve(objects, "leuko").part(ref.stem).seal
    assert catalog.lineage(objects, "mine")[1:] == ["leuko@2"]
    monkeypatch.setenv("DPIPE_AUTHOR", "cleo")  # whom the command line would name
    assert dpipe.save(made, url, "other", message="m").author == "cleo"


# --- A18: what cannot be read


def test_a_half_written_version_does_not_close_the_dataset(
    sealed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    objects = copied(sealed, tmp_path)
    key = version_files.key_of("leuko", 2)
    objects.put(key, objects.read(key)[:100])
    with pytest.raises(DamageError, match="leuko@1 is the newest that can be read") as told:
        dpipe.open(objects.url, "leuko")
    assert "delete" not in str(told.value)
    assert len(dpipe.open(objects.url, "leuko@1").children) == 2
    assert [v.number for v in dpipe.history(objects.url, "leuko").versions] == [1]


def test_a_version_of_a_newer_dpipe_does_not_close_the_dataset(
    sealed: Path, tmp_path: Path
) -> None:
    objects = copied(sealed, tmp_path)
    newer = documents.Form("dpipe-version", 99, "version").write({"name": "leuko"})
    objects.put(version_files.key_of("leuko", 3), newer)
    with pytest.raises(UsageError, match="leuko@2 is the newest that can be read"):
        dpipe.open(objects.url, "leuko")
    assert len(dpipe.open(objects.url, "leuko@2").children) == 3


def test_marks_and_plans_say_their_format(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: Any) -> None:
        raise StoreError("stopped")

    with monkeypatch.context() as patch:
        patch.setattr(parts, "finish", stop)
        with pytest.raises(StoreError):
            lab.run(partition_bytes=1)
    written = {e.key: json.loads(lab.objects.read(e.key)) for e in lab.objects.list()
               if ".marks/" in e.key or e.key.endswith("plan.json")}  # fmt: skip
    assert {fields["format"] for fields in written.values()} == {"dpipe-mark/2", "dpipe-plan/2"}


# --- A19: what a seal says


def test_a_seal_says_code_lock_person_and_machine(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DPIPE_GIT_REVISION", "0123abc")
    monkeypatch.setenv("DPIPE_LOCK", "f" * 64)
    _software.cache_clear()
    outcome = lab.run()
    _software.cache_clear()
    for name in ("leuko", "made"):
        for ref in catalog.resolve(lab.objects, name).parts:
            said = catalog_seals.read(lab.objects, ref.base)[0].provenance
            assert said["author"] == "ann"
            assert said["run"] == outcome.run
            for key in ("dpipe", "python", "machine", "host", "processor", "libraries"):
                assert said[key], key
            assert len(said["source"]) == 64, "digest of dpipe's own code"
            assert (said["git"], said["lock"]) == ("0123abc", "f" * 64)


# --- stores of the last release


@pytest.fixture
def objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Objects:
    """The store of the last release, in its folder, with the code of its user at hand."""
    folder = unzipped(tmp_path)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    return open_objects(str(folder / "store"))


def test_the_next_run_lifts_a_store_of_the_last_release(objects: Objects) -> None:
    """Parts that are what this dpipe would make stay; a user's operator is not run again."""
    before = {e.key: e.mtime for e in objects.list("parts/") if ".marks/" not in e.key}
    own = {"leuko-brightness", "leuko-twice"}
    settings = Settings(workers="0", author="ann", max_quarantine="50%")
    outcome = run.run(load("recipe.yaml"), objects, settings, progress=False)
    made = {step["dataset"]: len(step["made"]) for step in outcome.steps}
    assert made.keys() >= {"leuko", *own}
    assert [made[name] for name in ("leuko", *own)] == [0, 0, 0]
    after = {e.key: e.mtime for e in objects.list("parts/")}
    assert {key: after.get(key) for key in before} == before, "no object was written again"
    assert list(store.verify(objects, ())) == []
    for name in ("leuko", *own):
        version = catalog.resolve(objects, name)
        assert version.signed
        (part, *_) = version.parts
        key, data = catalog_seals.key_of(part.base), objects.read(catalog_seals.key_of(part.base))
        objects.put(key, b"torn")
        assert [one.why_not for one in repair.repair(objects, [name])] == [""]
        assert objects.read(key) == data


def test_a_store_of_the_last_release_opens_verifies_and_is_lifted(objects: Objects) -> None:
    assert list(store.verify(objects, ())) == []
    every = objects.list("parts/")
    before = {e.key: (e.mtime, e.etag) for e in every if ".marks/" not in e.key}
    assert len(dpipe.open(objects.url, "leuko").children) == 2
    lifted = maintenance.upgrade(objects, (), author="ann")
    assert lifted
    after = {e.key: (e.mtime, e.etag) for e in objects.list("parts/")}
    assert {key: after[key] for key in before} == before, "not one object was written again"
    assert list(store.verify(objects, ())) == []
    for ref in catalog.resolve(objects, "leuko").parts:
        assert catalog_seals.read(objects, ref.base)[0].sources == {}, "not recorded is not made up"
