"""Repair: what is damaged comes back with the same bytes, and what cannot is said."""

import functools
import json
import random
import shutil
import uuid
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import dpipe
from dpipe import api, catalog, cli, demo, schema
from dpipe.build import run
from dpipe.build.recipe import parse
from dpipe.catalog import seals as catalog_seals
from dpipe.catalog import version_files
from dpipe.checks import repair, store
from dpipe.config import Settings
from dpipe.errors import DamageError
from dpipe.storage import Objects, documents, open_objects

pytestmark = pytest.mark.slow

RECIPE = """
name: lab
datasets:
  leuko: {{reader: imaris, source: {raw}/*.h5, levels: 2}}
  quality: {{operator: frame-quality, input: leuko}}
  table: {{operator: quality-table, input: quality}}
  cells: {{reader: ifc, source: {cells}}}
  pictures: {{operator: pictures, input: cells, params: {{size: 40}}}}
"""
SETTINGS = Settings.load(environ={}, workers="0", author="ann", partition_bytes="1 MiB")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    demo.write_study(folder, movies=2, frames=3, size=(4, 130, 140), cells=40)
    return folder


@pytest.fixture(scope="module")
def whole(study: Path) -> dict[str, bytes]:
    """All objects of a store of two versions, and one that was saved."""
    objects = open_objects(f"memory://{uuid.uuid4().hex}")
    text = RECIPE.format(raw=study / "raw", cells=study / "cells")
    assert run.run(parse(text), objects, SETTINGS, progress=False).exit_code == 3
    other = parse(text.replace("frame-quality, input", "frame-quality, params: {median: 3}, input"))
    assert run.run(other, objects, SETTINGS, progress=False).exit_code == 3
    api.save(api.open(objects.url, "quality"), objects.url, "mine", message="m")
    return {entry.key: objects.read(entry.key) for entry in objects.list()}


@pytest.fixture
def place(whole: dict[str, bytes]) -> Objects:
    objects = open_objects(f"memory://{uuid.uuid4().hex}")
    for key, data in whole.items():
        objects.put(key, data)
    return objects


def promised(objects: Objects) -> dict[str, bytes]:
    return {
        e.key: objects.read(e.key)
        for e in objects.list()
        if not e.key.startswith(("runs", "alive"))
    }


def flips(rng: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def damages(rng: random.Random, objects: Objects, count: int) -> dict[str, str]:
    """Damage some objects, each in one of three ways; never a thing and its copy."""
    keys = sorted(promised(objects))
    done: dict[str, str] = {}
    while len(done) < count:
        key = rng.choice(keys)
        twin = {k for k in keys if k.split(".copy")[0].split(".json")[0].startswith(key[:24])}
        if key in done or (key.startswith("datasets/") and twin & done.keys()):
            continue
        if seal_of(key) in done or key.startswith("parts/mine/"):
            continue
        way = rng.choice(["flip", "cut", "delete"])
        if way == "delete":
            objects.delete(key)
        else:
            data = objects.read(key)
            objects.put(key, flips(rng, data) if way == "flip" else data[: len(data) // 2])
        done[key] = way
    return done


def seal_of(key: str) -> str:
    """The other one of a seal and its copy."""
    if key.endswith(".copy.json"):
        return key.replace(".copy.json", ".json")
    return key.replace(".json", ".copy.json") if key.count("/") == 2 else ""


@pytest.mark.parametrize("seed", range(6))
def test_ten_damaged_objects_come_back(place: Objects, whole: dict[str, bytes], seed: int) -> None:
    expected = promised(place)
    done = damages(random.Random(seed), place, 10)
    assert list(store.verify(place, ()))
    left = [one for one in repair.repair(place) if one.why_not]
    assert not left, (done, left)
    assert promised(place) == expected
    assert list(store.verify(place, (), mode="decode")) == []
    assert list(repair.repair(place)) == []


@pytest.mark.parametrize("suffix", [".json", ".copy.json", ".objects.json"])
def test_what_stands_beside_a_part_comes_back(place: Objects, suffix: str) -> None:
    expected = promised(place)
    ref = catalog.resolve(place, "leuko").part("Neu1")
    place.delete(ref.base + suffix)
    place.delete(
        f"{catalog_seals.read(place, ref.base)[0].path}/0/t/c/0" if suffix != ".json" else "none"
    )
    found = list(repair.repair(place, ["leuko"]))
    assert all(not one.why_not for one in found)
    assert promised(place) == expected


def test_a_copy_that_is_another_seal_is_not_put(place: Objects) -> None:
    """Whole and of this part, but not the one that the version names."""
    ref = catalog.resolve(place, "leuko").part("Neu1")
    key, copy = catalog_seals.key_of(ref.base), catalog_seals.copy_key(ref.base)
    other = replace(catalog_seals.read(place, ref.base)[0], summary={"other": 1}).to_bytes()
    place.delete(key)
    place.put(copy, other)
    (found,) = [one for one in repair.repair(place, ["leuko"]) if one.key == key]
    assert "damaged too, or is not the one that the version names; restore" in found.why_not
    assert not place.exists(key)
    assert place.read(copy) == other


def test_a_list_of_objects_is_made_again_when_objects_are_gone_too(place: Objects) -> None:
    expected = promised(place)
    ref = catalog.resolve(place, "cells").parts[0]
    shards = [e.key for e in place.list(f"{ref.base}.zarr/pixels/c/")]
    place.delete_many([f"{ref.base}.objects.json", shards[0]])
    assert [one.why_not for one in repair.repair(place, ["cells"])] == ["", ""]
    assert promised(place) == expected


def test_stray_objects_and_marks_are_taken_away(place: Objects) -> None:
    expected = promised(place)
    ref = catalog.resolve(place, "leuko").part("Neu1")
    place.put(f"{ref.base}.ome.zarr/0/image/c/9/9/9/9/9", b"stray")
    place.put(f"{ref.base}.marks/000001.json", b'{"format": "dpipe-mark/2"}')
    assert len(list(repair.repair(place))) == 2
    assert promised(place) == expected


def test_what_was_saved_from_memory_cannot_be_made_again(place: Objects) -> None:
    ref = catalog.resolve(place, "mine").parts[0]
    key = next(e.key for e in place.list(f"{ref.base}.") if "frame_snr/c" in e.key)
    place.put(key, b"")
    (found,) = repair.repair(place, ["mine"])
    assert (found.key, "saved from memory" in found.why_not) == (key, True)
    (again,) = store.verify(place, ["mine"])
    assert again.key == key


def test_a_source_that_changed_gives_nothing_back(
    place: Objects, study: Path, tmp_path: Path
) -> None:
    ref = catalog.resolve(place, "leuko").part("Neu2")
    key = next(e.key for e in place.list(f"{ref.base}.") if "/1/image/c" in e.key)
    place.delete(key)
    raw = study / "raw" / "Neu2.h5"
    shutil.copy2(raw, tmp_path / "kept")
    try:
        raw.write_bytes(raw.read_bytes() + b"\0")
        (found,) = repair.repair(place, ["leuko"])
        assert "Neu2.h5: changed since" in found.why_not
        raw.unlink()
        (found,) = repair.repair(place, ["leuko"])
        assert "Neu2.h5: gone since" in found.why_not
    finally:
        shutil.copy2(tmp_path / "kept", raw)
    (found,) = repair.repair(place, ["leuko"])
    assert found.why_not == ""
    assert list(store.verify(place, ["leuko"])) == []


def test_results_that_cannot_be_had_again_are_not_put(
    place: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kernel that gives other numbers today must not mend yesterday's."""
    from dpipe.operators.table import OPERATORS

    ref = catalog.resolve(place, "quality").part("Neu1")
    key = next(e.key for e in place.list(f"{ref.base}.") if "frame_snr/c" in e.key)
    place.delete(key)
    known = OPERATORS["frame-quality"]
    other = known.function

    @functools.wraps(other)
    def drifted(ds, **params):
        made = other(ds, **params)
        return made.assign(
            {"frame_snr": (made["frame_snr"] + 1e-9).assign_attrs(made["frame_snr"].attrs)}
        )

    monkeypatch.setitem(OPERATORS, "frame-quality", type(known)(drifted, known.version, known.free))
    (found,) = repair.repair(place, ["quality"])
    assert "another digest" in found.why_not
    assert not place.exists(key)


# --- version files


def test_versions_and_copies_come_back_from_each_other(place: Objects) -> None:
    expected = promised(place)
    there = version_files.beside(place, "quality")
    place.delete(version_files.key_of("quality", 2))
    place.put(there.copies[1], b"torn")
    assert sorted(one.key for one in repair.repair(place, ["quality"])) == sorted(
        [version_files.key_of("quality", 2), there.copies[1]]
    )
    assert promised(place) == expected


def test_a_damaged_version_is_not_copied(place: Objects) -> None:
    key, copy = version_files.key_of("quality", 1), version_files.beside(place, "quality").copies[1]
    place.put(key, place.read(key).replace(b'"author"', b'"Author"'))
    place.put(copy, b"torn")
    found = {one.key: one.why_not for one in repair.repair(place, ["quality"])}
    assert found[copy] == "the version that it is of is damaged too"
    assert found[key]
    assert place.read(copy) == b"torn"


def test_a_version_that_is_gone_for_good_can_be_accepted(
    place: Objects, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = version_files.beside(place, "quality").copies[2]
    place.delete(version_files.key_of("quality", 2))
    place.put(copy, b"torn")
    with pytest.raises(
        DamageError, match=r"version 2 of quality was committed and is gone; quality@1"
    ):
        api.open(place.url, "quality")
    with pytest.raises(DamageError, match="version 2 of quality"):
        api.save(schema.movie(np.zeros((1, 1, 1, 4, 4))), place.url, "quality", message="m")
    with pytest.raises(SystemExit) as end:
        cli.main(["repair", "quality", "--store", place.url])
    assert end.value.code == 5
    assert "its copy is damaged too; restore a backup" in capsys.readouterr().out
    assert catalog.resolve(place, "quality@1").number == 1
    with pytest.raises(SystemExit) as end:
        cli.main(["repair", "quality", "--accept-lost", "--store", place.url])
    version = catalog.resolve(place, "quality")
    assert (version.number, version.parent, version.lost) == (3, 1, (2,))
    assert version.message == "accepted that version 2 is lost"
    assert version.parts == catalog.resolve(place, "quality@1").parts
    assert [v.number for v in catalog.history(place, "quality")] == [3, 1]
    assert [f.key for f in store.verify(place, ["quality"])] == [copy]


@pytest.mark.parametrize("how", ["whole", "seals gone", "seals torn"])
def test_a_part_that_is_lost_leaves_its_dataset_and_is_made_again(
    place: Objects, study: Path, whole: dict[str, bytes], how: str
) -> None:
    """A run says that there is nothing to do, since the version names it: repair has a way on."""
    ref = catalog.resolve(place, "leuko").parts[0]
    seals = (catalog_seals.key_of(ref.base), catalog_seals.copy_key(ref.base))
    for key in [key for key in whole if key.startswith(ref.base)]:
        if how == "whole" or key in seals:
            place.delete(key)
    if how == "seals torn":
        for key in seals:
            place.put(key, whole[key][:-9])
    (left,) = [r for r in repair.repair(place, ["leuko"]) if r.why_not]
    assert "--accept-lost" in left.why_not
    assert len(catalog.resolve(place, "leuko").parts) == 2, "nothing is accepted unasked"
    list(repair.repair(place, ["leuko"], accept_lost="ann"))
    version = catalog.resolve(place, "leuko")
    assert [part.stem for part in version.parts] == ["Neu2"]
    assert version.message == "accepted that the parts Neu1 are lost"
    text = RECIPE.format(raw=study / "raw", cells=study / "cells")
    outcome = run.run(
        parse(text.replace("frame-quality, input", "frame-quality, params: {median: 3}, input")),
        place,
        SETTINGS,
        progress=False,
    )
    assert {s["dataset"]: s["made"] for s in outcome.steps}["leuko"] == ["Neu1"]
    assert list(store.verify(place, ["leuko", "quality", "table"])) == []
    again = api.open(place.url, "leuko", part="Neu1").image.values
    source = dpipe.open_imaris(study / "raw" / "Neu1.h5").image.values
    np.testing.assert_array_equal(again, source)
    list(repair.repair(place, ["leuko"], accept_lost="ann"))
    assert len(catalog.resolve(place, "leuko").parts) == 2, "what is there again is not lost"


def test_a_seal_of_a_newer_dpipe_is_not_lost(place: Objects) -> None:
    ref = catalog.resolve(place, "leuko").parts[0]
    for key in (catalog_seals.key_of(ref.base), catalog_seals.copy_key(ref.base)):
        fields = json.loads(place.read(key))
        fields.pop("sha256")
        title = fields.pop("format").partition("/")[0]
        place.put(key, documents.Form(title, 99, "seal").write(fields))
    list(repair.repair(place, ["leuko"], accept_lost="ann"))
    assert len(catalog.resolve(place, "leuko").parts) == 2
    assert place.exists(catalog_seals.key_of(ref.base))


def test_the_command_line_says_what_it_did(
    place: Objects, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(["repair", "--store", place.url])
    assert (end.value.code or 0, capsys.readouterr().out.startswith("nothing to repair")) == (
        0,
        True,
    )
    key = catalog_seals.key_of(catalog.resolve(place, "table").parts[0].base)
    place.delete(key)
    with pytest.raises(SystemExit) as end:
        cli.main(["repair", "table", "--store", place.url, "--json"])
    assert (end.value.code or 0) == 0
    assert json.loads(capsys.readouterr().out) == [
        {"key": key, "problem": "the seal is missing", "repair": "done"}
    ]
