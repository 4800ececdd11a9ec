"""The parts of a version of many: in pages that versions share, each called by its digest."""

import json
import uuid
import zlib
from dataclasses import replace
from typing import Any

import pytest

from dpipe import catalog
from dpipe.catalog import PartRef, Version, refs
from dpipe.checks import repair, store
from dpipe.errors import DamageError
from dpipe.service import maintenance
from dpipe.storage import Objects, documents, open_objects

FINGERPRINT = "0123456789ab"
PAGES = "datasets/leuko/pages/"


def ref(stem: str, **said: Any) -> PartRef:
    return PartRef(stem, FINGERPRINT, f"parts/leuko/{stem}-{FINGERPRINT}", **said)


def many(count: int) -> list[PartRef]:
    return [ref(f"m{i:04d}", summary={"records": 2, "bytes": 10}) for i in range(count)]


def add(objects: Objects, parts: list[PartRef]) -> Version:
    made = catalog.commit(
        objects, "leuko", lambda _: {"parts": parts, "message": "m"}, author="ann"
    )
    assert made is not None
    return catalog.resolve(objects, made.label)


def pages(objects: Objects) -> list[str]:
    return [e.key for e in objects.list(PAGES) if e.key.endswith(".json")]


@pytest.fixture
def place() -> Objects:
    return open_objects(f"memory://{uuid.uuid4().hex}")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages that end behind a stem whose CRC-32 is a multiple of 8, and hold 20 parts at most."""
    monkeypatch.setattr(refs, "_PAGE", 8)
    monkeypatch.setattr(refs, "_LARGEST_PAGE", 20)


def test_up_to_256_parts_stand_in_the_version_itself(place: Objects) -> None:
    version = add(place, many(256))
    assert pages(place) == []
    assert len(json.loads(place.read("datasets/leuko/000001.json"))["parts"]) == 256
    assert list(version.parts) == many(256)


def test_more_stand_in_pages_and_come_back_as_they_were(place: Objects) -> None:
    parts = many(257)
    other = "parts/other/m0003-ba9876543210"
    parts[3] = replace(parts[3], base=other, seal=documents.sha256(b"a seal"))
    place.put(f"{other}.json", b"a seal")
    parts[4] = replace(parts[4], stamp="1-2")
    parts[5] = replace(parts[5], attempt=2)
    parts[6] = replace(parts[6], summary={"records": 5, "bytes": 1})
    version = add(place, parts)
    assert "parts" not in json.loads(place.read("datasets/leuko/000001.json"))
    assert list(version.parts) == parts
    assert version.part("m0256") == parts[256]
    assert version.totals == {"parts": 257, "records": 256 * 2 + 5, "bytes": 256 * 10 + 1}
    for key in pages(place):
        data = place.read(key)
        assert key == f"{PAGES}{documents.sha256(data)}.json"
        assert place.read(f"{key.removesuffix('.json')}.copy") == data
        assert len(json.loads(data)["summaries"]) <= 2  # what many share stands there once


def test_the_number_of_parts_is_known_before_any_page_is_read(place: Objects) -> None:
    version = add(place, many(300))
    for key in pages(place):
        place.delete(key)
    assert len(version.parts) == 300
    assert catalog.resolve(place, "leuko").totals["parts"] == 300


@pytest.mark.usefixtures("small")
def test_a_page_ends_behind_a_stem_of_its_letters_or_when_it_is_full(place: Objects) -> None:
    stems = [f"m{i:04d}" for i in range(400)]
    ends = [s for s in stems if zlib.crc32(s.encode()) % 8 == 0]
    others = [s for s in stems if s not in ends]
    chosen = [*others[:50], ends[0], *others[50:52], ends[1], *others[52:54], *others[54:264]]
    version = add(place, [ref(s) for s in chosen])
    counts = [count for _, count in version.parts.pages]
    # 50 and an end; two and an end; 212 without any
    assert counts == [20, 20, 11, 3, *[20] * 10, 12]
    assert [one.stem for one in version.parts] == chosen


@pytest.mark.usefixtures("small")
def test_a_last_part_alone_is_a_page(place: Objects) -> None:
    stems = [s for s in (f"m{i:04d}" for i in range(500)) if zlib.crc32(s.encode()) % 8]
    version = add(place, [ref(s) for s in stems[:261]])
    assert [count for _, count in version.parts.pages] == [20] * 13 + [1]
    assert len(list(version.parts)) == 261


@pytest.mark.usefixtures("small")
def test_a_part_more_or_another_writes_one_page(place: Objects) -> None:
    parts = many(300)
    add(place, parts)
    first = set(pages(place))
    changed = [*parts[:100], replace(parts[100], attempt=1), *parts[101:]]
    version = add(place, changed)
    assert list(version.parts) == changed
    assert len(set(pages(place)) - first) == 1
    second = set(pages(place))
    version = add(place, [*changed, ref("zz")])
    assert list(version.parts) == [*changed, ref("zz")]
    assert len(set(pages(place)) - second) == 1
    version = add(place, changed[:-1])  # a page that begins as before and is shorter
    assert list(version.parts) == changed[:-1]


@pytest.mark.usefixtures("small")
def test_pages_of_the_parent_are_not_even_encoded_again(
    place: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(place, many(300))
    encoded = []
    page = refs._page

    def counted(name: str, group: list[PartRef]) -> bytes:
        encoded.append([one.stem for one in group])
        return page(name, group)

    monkeypatch.setattr(refs, "_page", counted)
    made = catalog.commit(
        place,
        "leuko",
        lambda parent: {"parts": [*parent.parts, ref("zz")], "message": "m"},
        author="ann",
    )
    assert len(encoded) == 1
    assert encoded[0][-1] == "zz"
    assert [one.stem for one in catalog.resolve(place, made.label).parts][-2:] == ["m0299", "zz"]


def test_a_page_that_lies_there_damaged_is_replaced_by_a_commit(place: Objects) -> None:
    add(place, many(300))
    key, *_ = pages(place)
    whole = place.read(key)
    for damaged in (key, f"{key.removesuffix('.json')}.copy"):
        place.put(damaged, whole[:-1] + b"?")
    again = catalog.commit(
        place, "other", lambda _: {"parts": many(300), "message": "m"}, author="ann"
    )
    assert list(again.parts) == many(300)
    refs.in_pages(place, "leuko", many(300), refs.Refs())
    assert place.read(key) == whole
    assert place.read(f"{key.removesuffix('.json')}.copy") == whole


def test_a_damaged_page_is_an_error_and_a_missing_one_too(place: Objects) -> None:
    add(place, many(300))
    key, *_ = pages(place)
    whole = place.read(key)
    place.put(key, whole.replace(b"m0000", b"m9999"))
    with pytest.raises(DamageError, match=r"bytes are not those .*; run dpipe repair leuko"):
        list(catalog.resolve(place, "leuko").parts)
    place.delete(key)
    with pytest.raises(DamageError, match=r"a page of parts is missing; run dpipe repair leuko"):
        list(catalog.resolve(place, "leuko").parts)


@pytest.mark.parametrize("which", ["page", "copy"])
@pytest.mark.parametrize("gone", [True, False])
def test_a_page_and_its_copy_come_back_from_each_other(
    place: Objects, which: str, gone: bool
) -> None:
    version = add(place, many(300))
    page, *_ = pages(place)
    copy = f"{page.removesuffix('.json')}.copy"
    key, whole = (page if which == "page" else copy), place.read(page)
    if gone:
        place.delete(key)
    else:
        place.put(key, whole.replace(b"m0000", b"m9999"))
    found = [f for f in store.chain(place, "leuko").findings if f.key == key]
    if which == "copy" and gone:
        assert found == []  # nothing but a repair needs it
        return
    said = "leuko@1 names is missing" if gone else "bytes are not those that its name says"
    assert len(found) == 1
    assert said in found[0].problem
    done = [one for one in repair.repair(place, ["leuko"]) if one.key == key]
    assert [one.why_not for one in done] == [""]
    assert place.read(key) == whole
    assert list(catalog.resolve(place, "leuko").parts) == list(version.parts)


def test_a_page_and_its_copy_that_are_both_damaged_stay(place: Objects) -> None:
    add(place, many(300))
    page, *_ = pages(place)
    copy = f"{page.removesuffix('.json')}.copy"
    bad = place.read(page).replace(b"m0000", b"m9999")
    for key in (page, copy):
        place.put(key, bad)
    done = {one.key: one.why_not for one in repair.repair(place, ["leuko"])}
    assert done[page] == done[copy] == "its copy is damaged too; restore a backup"
    assert place.read(page) == bad


@pytest.mark.usefixtures("small")
def test_a_sweep_takes_pages_that_no_version_names_and_leaves_the_others(place: Objects) -> None:
    parts = many(300)
    first = add(place, parts)
    second = add(place, [*parts[:-1], ref("zz")])
    ours = {digest for digest, _ in second.parts.pages}
    alone = {digest for digest, _ in first.parts.pages} - ours
    assert len(alone) == 1
    for entry in place.below("datasets/leuko/").objects:
        if "/000001." in entry.key:
            place.delete(entry.key)
    swept = maintenance.sweep(place, grace_hours=-1, delete=True)
    assert [(one.base, one.count) for one in swept] == [
        (f"{PAGES}{digest}.json", 2) for digest in alone
    ]
    assert {key.rpartition("/")[2].removesuffix(".json") for key in pages(place)} == ours
    assert list(catalog.resolve(place, "leuko").parts) == [*parts[:-1], ref("zz")]
