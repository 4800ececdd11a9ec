"""Keeping a store, through the command line: verify, sweep, runs."""

import json
import os
import time
import uuid
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from damages import DAMAGES, Damage

from dpipe import api, catalog, cli
from dpipe.build import base_of, lay_out, parts
from dpipe.checks import store
from dpipe.schema import movie
from dpipe.service import maintenance
from dpipe.storage import Objects, open_objects

pytestmark = pytest.mark.slow

AGE = 100.0  # hours; the default grace is 48


def a_movie(seed: int) -> xr.Dataset:
    """Return a movie of three shards of one size: noise does not compress."""
    return movie(np.random.default_rng(seed).integers(0, 256, (1, 3, 2, 40, 50), "u1"))


class Line:
    """The command line, in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def __call__(self, *args: str) -> tuple[int, str]:
        """Return exit code and output of a command; nothing may stand on stderr."""
        with pytest.raises(SystemExit) as end:
            cli.main(list(args))
        out, err = self.capsys.readouterr()
        assert err == ""
        return int(end.value.code or 0), out


@pytest.fixture
def dpipe(capsys: pytest.CaptureFixture[str]) -> Line:
    return Line(capsys)


@pytest.fixture
def place() -> Objects:
    return open_objects(f"memory://{uuid.uuid4().hex}")


# --- verify


@pytest.mark.parametrize("mode", store.MODES)
def test_a_whole_store_verifies(place: Objects, dpipe: Line, mode: str) -> None:
    api.save({"a": a_movie(1), "b": a_movie(2)}, place.url, "leuko", message="m")
    said = dpipe("verify", "--store", place.url, "--mode", mode)
    assert said == (0, "every object is as it was sealed\n")
    assert dpipe("verify", "leuko@1", "--store", place.url, "--json") == (0, "[]\n")


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_each_damage_is_named_with_exit_code_5(place: Objects, dpipe: Line, damage: Damage) -> None:
    api.save({"a": a_movie(1), "b": a_movie(2)}, place.url, "leuko", message="m")
    api.save({"c": a_movie(3)}, place.url, "other", message="m")
    key = damage.do(place, catalog.resolve(place, "leuko").part("b").base)
    for names in ([], ["leuko"]):
        code, text = dpipe("verify", *names, "--store", place.url)
        assert code == 5
        assert any(key in line and damage.says in line for line in text.splitlines())
        assert "/a-" not in text
        assert "other" not in text
    code, text = dpipe("verify", "--store", place.url, "--json")
    assert code == 5
    assert key in [finding["key"] for finding in json.loads(text)]
    assert dpipe("verify", "other", "--store", place.url)[0] == 0
    assert dpipe("verify", "--store", place.url, "--mode", "exists")[0] == (
        5 if "exists" in damage.modes else 0
    )
    assert dpipe("verify", "--store", place.url, "--mode", "decode")[0] == 5


def test_all_damages_are_named_at_once(place: Objects, dpipe: Line) -> None:
    several = ["deleted chunk", "truncated shard", "extra object", "flipped bit in metadata"]
    stems = [f"m{i}" for i in range(len(several))]
    api.save({s: a_movie(i) for i, s in enumerate(stems)}, place.url, "leuko", message="m")
    version = catalog.resolve(place, "leuko")
    keys = [DAMAGES[d].do(place, version.part(s).base) for d, s in zip(several, stems, strict=True)]
    found = list(store.verify(place, ()))
    assert sorted(finding.key for finding in found) == sorted(keys)


def test_a_version_may_be_checked_that_is_not_the_newest(place: Objects, dpipe: Line) -> None:
    api.save({"a": a_movie(1)}, place.url, "leuko", message="m")
    api.save({"a": a_movie(2)}, place.url, "leuko", message="m")
    DAMAGES["flipped bit"].do(place, catalog.resolve(place, "leuko@1").parts[0].base)
    assert dpipe("verify", "leuko", "--store", place.url)[0] == 0
    assert dpipe("verify", "leuko@1", "--store", place.url)[0] == 5
    assert dpipe("verify", "--store", place.url)[0] == 5, "the whole store: all versions"


def test_a_damaged_version_is_a_finding_and_others_are_checked(place: Objects, dpipe: Line) -> None:
    api.save({"a": a_movie(1)}, place.url, "first", message="m")
    api.save({"a": a_movie(2)}, place.url, "second", message="m")
    place.put("datasets/first/000001.json", b"{")
    key = DAMAGES["deleted chunk"].do(place, catalog.resolve(place, "second").parts[0].base)
    code, text = dpipe("verify", "--store", place.url)
    assert code == 5
    assert "datasets/first/000001.json: the version is damaged" in text
    assert key in text


def test_verify_of_what_is_not_there(place: Objects, capsys: pytest.CaptureFixture[str]) -> None:
    api.save({"a": a_movie(1)}, place.url, "leuko", message="m")
    with pytest.raises(SystemExit) as end:
        cli.main(["verify", "leukko", "--store", place.url])
    assert end.value.code == 2
    assert "unknown dataset 'leukko'; did you mean 'leuko'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("key", "base"),
    [
        ("parts/x/a-0123456789ab.json", "parts/x/a-0123456789ab"),
        ("parts/x/a-0123456789ab.ome.zarr/0/t/c/0", "parts/x/a-0123456789ab"),
        ("parts/x/a-0123456789ab/k", "parts/x/a-0123456789ab"),
        ("parts/x/a-b.c-0123456789ab.copy.json", "parts/x/a-b.c-0123456789ab"),
        ("parts/x/a-0123456789ab", ""),
        ("parts/x/a-0123456789abc.json", ""),
        ("parts/x/a-0123456789AB.json", ""),
        ("parts/x/y/a-0123456789ab.json", ""),
    ],
)
def test_which_part_an_object_is_of(key: str, base: str) -> None:
    found = store.BASE.match(key)
    assert (found[1] if found else "") == base


# --- sweep


@pytest.fixture
def folder(tmp_path: Path) -> Objects:
    """A store with two versions, one part that was begun, and one sealed that nobody names."""
    objects = open_objects(tmp_path / "store")
    api.save({"a": a_movie(1)}, objects.url, "leuko", message="m")
    api.save({"a": a_movie(2), "b": a_movie(3)}, objects.url, "leuko", message="m")
    begun = base_of("leuko", "begun", "0" * 12)
    parts.write_init(objects, lay_out(a_movie(4), begun), {"kind": "saved"})
    sealed = base_of("leuko", "sealed", "1" * 12)
    outline = parts.write_init(objects, lay_out(a_movie(5), sealed), {"kind": "saved"})
    for index in range(outline.grid.partitions):
        parts.write_partition(objects, outline, a_movie(5), index)
    parts.seal_part(objects, sealed, a_movie(5))
    age(objects)
    return objects


def age(objects: Objects, prefix: str = "", hours: float = AGE) -> None:
    """Make objects of a folder older."""
    then = time.time() - hours * 3600
    for path in Path(objects.url).rglob("*"):
        if path.is_file() and path.relative_to(objects.url).as_posix().startswith(prefix):
            os.utime(path, (then, then))


BEGUN, SEALED = "parts/leuko/begun-000000000000", "parts/leuko/sealed-111111111111"


def test_sweep_is_a_dry_run_unless_told(folder: Objects, dpipe: Line) -> None:
    before = {entry.key for entry in folder.list()}
    code, text = dpipe("sweep", "--store", folder.url, "--json")
    rows = json.loads(text)
    assert code == 0
    assert [(row["base"], row["deleted"]) for row in rows] == [(BEGUN, False), (SEALED, False)]
    assert {entry.key for entry in folder.list()} == before
    sizes = [e.size for e in folder.list(SEALED)]
    assert (rows[1]["count"], rows[1]["bytes"]) == (len(sizes), sum(sizes))


def test_sweep_deletes_what_no_version_names(folder: Objects, dpipe: Line) -> None:
    named = {ref.base for version in catalog.history(folder, "leuko") for ref in version.parts}
    assert len(named) == 3
    code, _ = dpipe("sweep", "--store", folder.url, "--delete")
    assert code == 0
    left = {entry.key for entry in folder.list("parts/")}
    assert not any(key.startswith((BEGUN, SEALED)) for key in left)
    assert {key.rpartition("/")[2] for key in left if key.count("/") == 2} >= {
        f"{base.rpartition('/')[2]}.json" for base in named
    }
    for label in ("leuko@1", "leuko@2"):
        assert dpipe("verify", label, "--store", folder.url)[0] == 0
    assert dpipe("sweep", "--store", folder.url) == (0, "nothing to sweep\n")


def test_what_is_young_is_left(folder: Objects, dpipe: Line) -> None:
    one = next(entry.key for entry in folder.list(f"{BEGUN}.ome.zarr/"))
    os.utime(Path(folder.url) / one)  # somebody is making it
    assert [found.base for found in maintenance.sweep(folder, grace_hours=48)] == [SEALED]
    assert [found.base for found in maintenance.sweep(folder, grace_hours=0)] == [BEGUN, SEALED]
    assert maintenance.sweep(folder, grace_hours=2 * AGE) == []
    assert dpipe("sweep", "--store", folder.url, "--grace-hours", "200")[1] == "nothing to sweep\n"


def test_what_a_young_run_has_planned_is_left(folder: Objects) -> None:
    plan = {"recipe": "r", "parts": [{"base": SEALED}]}
    folder.put("runs/20261120T091500-7c2e/plan.json", json.dumps(plan).encode())
    assert [found.base for found in maintenance.sweep(folder, grace_hours=48)] == [BEGUN]
    age(folder, "runs/")
    assert [found.base for found in maintenance.sweep(folder, grace_hours=48)] == [BEGUN, SEALED]


def test_a_run_that_claims_a_part_while_we_look_keeps_it(
    folder: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = folder.list

    def listing(prefix: str = "") -> object:
        found = list(original(prefix))
        if prefix == "parts/":
            plan = {"recipe": "r", "parts": [{"base": SEALED}]}
            folder.put("runs/20261120T091500-7c2e/plan.json", json.dumps(plan).encode())
        return iter(found)

    monkeypatch.setattr(folder, "list", listing)
    assert [f.base for f in maintenance.sweep(folder, grace_hours=48, delete=True)] == [BEGUN]
    assert folder.exists(f"{SEALED}.json")


def test_the_seal_goes_first(folder: Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    """However far a sweep gets, no part is there with a seal and without its objects."""
    gone: list[str] = []
    monkeypatch.setattr(folder, "delete", gone.append)
    maintenance.sweep(folder, grace_hours=48, delete=True)
    ours = [key for key in gone if key.startswith(SEALED)]
    assert ours[0] == f"{SEALED}.json"
    assert len(ours) == len([*folder.list(SEALED)])


def test_parts_of_an_expired_version_are_swept(folder: Objects) -> None:
    old = catalog.resolve(folder, "leuko@1").parts[0].base
    folder.delete("datasets/leuko/000001.json")
    assert old in [found.base for found in maintenance.sweep(folder, grace_hours=48)]


def test_temporary_files_of_killed_writers_are_swept(folder: Objects) -> None:
    path = Path(folder.url) / "parts" / "leuko" / ".4711-0123456789abcdef.tmp"
    path.write_bytes(b"half")
    assert "temporary files" not in [f.base for f in maintenance.sweep(folder, grace_hours=48)]
    age(folder)
    (found,) = [
        f for f in maintenance.sweep(folder, grace_hours=48, delete=True) if "-" not in f.base
    ]
    assert (found.base, found.count, found.bytes) == ("temporary files", 1, 4)
    assert not path.exists()


def test_foreign_objects_among_the_parts_are_named(folder: Objects) -> None:
    folder.put("parts/notes.txt", b"mine")
    folder.put("parts/leuko/cat.jpg", b"mine")
    age(folder)
    found = {f.base for f in maintenance.sweep(folder, grace_hours=48)}
    assert found == {BEGUN, SEALED, "parts/leuko/cat.jpg", "parts/notes.txt"}


def test_nothing_is_swept_while_a_version_cannot_be_read(folder: Objects) -> None:
    before = {entry.key for entry in folder.list()}
    folder.put("datasets/leuko/000001.json", b"{")
    with pytest.warns(UserWarning, match=r"version is damaged .*; nothing of leuko is swept"):
        assert maintenance.sweep(folder, grace_hours=0, delete=True) == []
    assert {entry.key for entry in folder.list()} == before


# --- runs


def test_runs_are_listed_newest_first(place: Objects, dpipe: Line) -> None:
    api.save({"a": a_movie(1)}, place.url, "leuko", message="m")
    assert dpipe("runs", "--store", place.url) == (0, "nothing\n")
    for name in ("20260101T000000-aaaa", "20260301T000000-bbbb", "20260201T000000-cccc"):
        place.put(f"runs/{name}/plan.json", b'{"recipe": "demo", "parts": [1, 2]}')
    place.put("runs/20260201T000000-cccc/report.json", b'{"exit_code": 3, "seconds": 1.5}')
    place.put("runs/20260201T000000-cccc/report.html", b"")
    code, text = dpipe("runs", "--store", place.url, "--json")
    assert code == 0
    rows = json.loads(text)
    assert [row["run"][-4:] for row in rows] == ["bbbb", "cccc", "aaaa"]
    assert rows[0] == {
        "run": "20260301T000000-bbbb",
        "recipe": "demo",
        "parts": 2,
        "state": "unfinished: the same command resumes it",
    }
    assert (rows[1]["state"], rows[1]["seconds"]) == ("ended with 3", 1.5)


def test_a_run_that_cannot_be_read_hides_no_other(place: Objects) -> None:
    for name in ("aa", "bb", "cc", "dd"):
        place.put(f"runs/{name}/plan.json", b'{"recipe": "demo", "parts": [1, 2]}')
    place.put("runs/aa/plan.json", b'{"recipe": ')
    place.put("runs/bb/report.json", b'{"exit_code": ')
    place.put("runs/cc/plan.json", b'{"format": "dpipe-plan/99", "recipe": "x", "parts": []}')
    dd, cc, bb, aa = (row["state"] for row in maintenance.runs(place))
    assert dd == "unfinished: the same command resumes it"
    assert [str(state).startswith("cannot be read: ") for state in (cc, bb, aa)] == [True] * 3


def test_a_temporary_file_is_left_for_an_hour_whatever_the_grace(folder: Objects) -> None:
    path = Path(folder.url, "parts", "other", ".1-ab.tmp")
    path.parent.mkdir()
    path.write_bytes(b"half")
    for minutes, swept in ((50, False), (70, True)):
        then = time.time() - 60 * minutes
        os.utime(path, (then, then))
        found = [one.base for one in maintenance.sweep(folder, grace_hours=0)]
        assert ("temporary files" in found) == swept
