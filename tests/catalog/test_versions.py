"""Versions: which one a label means, what is said of a wrong one, and who wins a race."""

import json
import multiprocessing
import os
import uuid
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from faultproxy import FaultProxy

from dpipe import catalog
from dpipe.catalog import PartRef, Version, commits, version_files
from dpipe.errors import DamageError, NotAStoreError, NotFoundError, StoreError, UsageError
from dpipe.storage import Objects, documents, open_objects, s3

RACERS = 6


def ref(stem: str, fingerprint: str = "0123456789ab", *, seal: str = "", **summary: Any) -> PartRef:
    return PartRef(stem, fingerprint, f"parts/x/{stem}-{fingerprint}", seal, summary)


def add(objects: Objects, name: str, *stems: str, **fields: Any) -> Version:
    """Commit a version that holds exactly these parts."""
    parts = tuple(ref(stem) for stem in stems)
    made = catalog.commit(
        objects, name, lambda _: {"parts": parts, "message": "m", **fields}, author="ann"
    )
    assert made is not None
    return made


def keep_and_add(stem: str) -> Any:
    """Return a `build` that adds a part to those of the newest version."""

    def build(parent: Version | None) -> dict[str, Any]:
        return {"parts": (*(parent.parts if parent else ()), ref(stem)), "message": stem}

    return build


@pytest.fixture
def place() -> Objects:
    return open_objects(f"memory://{uuid.uuid4().hex}")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(s3, "LONGEST_PAUSE", 0.01)


# --- labels


def test_versions_are_numbered_and_resolved(place: Objects) -> None:
    first = add(place, "leuko", "a")
    second = add(place, "leuko", "a", "b", study={"k": ["1"]}, put_aside=({"stem": "c"},))
    assert (first.number, first.parent, first.label) == (1, None, "leuko@1")
    assert (second.number, second.parent, second.author) == (2, 1, "ann")
    assert catalog.resolve(place, "leuko") == second
    assert catalog.resolve(place, "leuko@1") == first
    assert catalog.resolve(place, "leuko@000002") == second
    assert second.part("b") == ref("b")
    assert catalog.names(place) == ["leuko"]
    assert [entry.key for entry in place.list()] == [
        f"datasets/leuko/000001.{first.sha256[:32]}.copy",
        "datasets/leuko/000001.json",
        f"datasets/leuko/000002.{second.sha256[:32]}.copy",
        "datasets/leuko/000002.json",
    ]
    assert json.loads(place.read("datasets/leuko/000002.json"))["format"] == "dpipe-version/2"


@pytest.mark.parametrize(
    ("label", "error", "said"),
    [
        (
            "leuk",
            NotFoundError,
            r"unknown dataset 'leuk'; did you mean 'leuko'\? Known: leuko, oth",
        ),
        ("leuk@1", NotFoundError, "unknown dataset 'leuk'; did you mean 'leuko'"),
        ("leuko@3", NotFoundError, r"leuko has no version 3; it has 1, 2$"),
        ("leuko@0", NotFoundError, "leuko has no version 0"),
        ("leuko@x", UsageError, "expected NAME or NAME@NUMBER, for example leuko@3"),
        ("leuko@", UsageError, "expected NAME or NAME@NUMBER"),
        ("leuko@-1", UsageError, "expected NAME or NAME@NUMBER"),
        ("", UsageError, "dataset name ''"),
        ("../secret", UsageError, "expected letters, digits"),
        ("a/b@1", UsageError, "expected letters, digits"),
        (".hidden", UsageError, "starting with a letter or digit"),
        ("n" * 101, UsageError, "at most 100"),
    ],
)
def test_wrong_labels(place: Objects, label: str, error: type[Exception], said: str) -> None:
    add(place, "leuko", "a")
    add(place, "leuko", "b")
    add(place, "other", "a")
    with pytest.raises(error, match=said):
        catalog.resolve(place, label)


def test_unknown_part(place: Objects) -> None:
    version = add(place, "leuko", "Neu1", "Neu2")
    with pytest.raises(NotFoundError, match=r"leuko@1: unknown part 'Neu3'; .*Known: Neu1, Neu2"):
        version.part("Neu3")


def test_history_is_newest_first(place: Objects) -> None:
    for stems in ("a", "ab", "abc"):
        add(place, "leuko", *stems)
    found = catalog.history(place, "leuko")
    assert [version.number for version in found] == [3, 2, 1]
    assert (len(found), found[0].number, found[-1].number) == (3, 3, 1)
    place.delete("datasets/leuko/000002.json")  # expired
    assert [version.number for version in catalog.history(place, "leuko")] == [3, 1]
    with pytest.raises(NotFoundError, match="unknown dataset 'nothing'"):
        catalog.history(place, "nothing")


def test_newest_looks_beyond_a_stale_listing(
    place: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert catalog.newest(place, "leuko") is None
    for stems in ("a", "b", "c"):
        add(place, "leuko", *stems)
    seen = list(place.list())
    monkeypatch.setattr(place, "list", lambda prefix="": iter(seen[:1]))
    assert catalog.resolve(place, "leuko").number == 3
    assert add(place, "leuko", "d").number == 4  # not 2: nothing was tried in vain
    monkeypatch.setattr(place, "list", lambda prefix="": iter(()))
    newest = catalog.newest(place, "leuko")
    assert newest is not None
    assert newest.number == 4


def test_other_objects_beside_versions_are_ignored(place: Objects) -> None:
    add(place, "leuko", "a")
    place.put("datasets/leuko/notes.txt", b"mine")
    assert catalog.resolve(place, "leuko").number == 1


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"name": "leuko"}', b'{"parts": [{}]}'])
def test_a_damaged_version_is_told(place: Objects, data: bytes) -> None:
    place.put("datasets/leuko/000001.json", data)
    said = r"datasets/leuko/000001.json: the version is damaged .*; run dpipe repair leuko$"
    with pytest.raises(DamageError, match=said):
        catalog.resolve(place, "leuko")


# --- commits


def test_nothing_to_commit_writes_nothing(place: Objects) -> None:
    assert catalog.commit(place, "leuko", lambda _: None, author="ann") is None
    assert list(place.list()) == []


def test_a_commit_is_based_on_the_version_that_came_in_between(place: Objects) -> None:
    add(place, "leuko", "a")
    parents = []

    def build(parent: Version | None) -> dict[str, Any]:
        assert parent is not None
        if not parents:
            add(place, "leuko", "a", "b")  # somebody else, after we looked
        parents.append(parent.number)
        return {"parts": (*parent.parts, ref("mine")), "message": ""}

    made = catalog.commit(place, "leuko", build, author="ann")
    assert parents == [1, 2]
    assert made is not None
    assert (made.number, made.parent) == (3, 2)
    assert [part.stem for part in made.parts] == ["a", "b", "mine"]


def test_a_commit_that_became_needless_is_none(place: Objects) -> None:
    def build(parent: Version | None) -> dict[str, Any] | None:
        if parent is not None:
            return None
        add(place, "leuko", "a")
        return {"parts": (ref("a"),), "message": ""}

    assert catalog.commit(place, "leuko", build, author="ann") is None
    assert catalog.resolve(place, "leuko").number == 1


def test_a_commit_gives_up_some_day(place: Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commits, "_TRIES", 3)
    monkeypatch.setattr(place, "put_if_absent", lambda key, data: None)
    with pytest.raises(StoreError, match="every version number was taken"):
        add(place, "leuko", "a")


def test_unsafe_name_is_refused_before_anything(place: Objects) -> None:
    with pytest.raises(UsageError, match="expected letters"):
        add(place, "a/../b", "a")
    assert list(place.list()) == []


def _take_environment(said: dict[str, str]) -> None:
    os.environ.update(said)


def _race(url: str, racer: int) -> str:
    made = catalog.commit(open_objects(url), "leuko", keep_and_add(f"p{racer}"), author=f"r{racer}")
    assert made is not None
    return made.id


@pytest.mark.faults
@pytest.mark.parametrize("kind", ["folder", "s3"])
def test_of_six_racing_processes_none_is_lost(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = request.getfixturevalue("bucket") + "/st" if kind == "s3" else str(tmp_path / "store")
    context = multiprocessing.get_context("forkserver")  # imports once, before any use of S3
    context.set_forkserver_preload(["dpipe.catalog", __name__])
    with ProcessPoolExecutor(RACERS, context, _take_environment, (dict(os.environ),)) as pool:
        rounds = [list(pool.map(_race, [url] * RACERS, range(RACERS))) for _ in range(2)]
    found = catalog.history(open_objects(url), "leuko")
    assert [version.number for version in found] == list(range(2 * RACERS, 0, -1))
    assert {version.id for version in found} == {identity for ids in rounds for identity in ids}
    assert [version.parent for version in found][:-1] == list(range(2 * RACERS - 1, 0, -1))
    # nobody's part was lost: each is in the newest version, once a round
    assert sorted(part.stem for part in found[0].parts) == sorted(
        f"p{racer}" for racer in range(RACERS) for _ in range(2)
    )


def test_of_six_racing_threads_none_is_lost(place: Objects) -> None:
    with ThreadPoolExecutor(RACERS) as pool:
        ids = list(pool.map(_race, [place.url] * RACERS, range(RACERS)))
    found = catalog.history(place, "leuko")
    assert sorted(version.id for version in found) == sorted(ids)
    assert len(found[0].parts) == RACERS


@pytest.mark.faults
@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("fault", "puts"),
    [
        ({"kind": "lost"}, 2),  # done, but its answer is dropped: the second finds it taken
        ({"kind": "lost", "times": 3}, 4),
        ({"status": 409, "code": "ConditionalRequestConflict"}, 2),
        ({"status": 409, "code": "ConditionalRequestConflict", "times": 4}, 5),
        ({"status": 503, "times": 3}, 4),
        ({"status": 500, "code": "InternalError"}, 2),
        ({"kind": "reset"}, 2),
    ],
    ids=["lost answer", "lost three times", "409", "409 four times", "503", "500", "reset"],
)
def test_a_fault_while_committing_is_no_lost_race(
    bucket: str, fault_proxy: FaultProxy, fault: dict[str, Any], puts: int
) -> None:
    objects = open_objects(f"{bucket}/st")
    add(objects, "leuko", "before")
    fault_proxy.reset()
    fault_proxy.fail("PUT", **fault)
    made = catalog.commit(objects, "leuko", keep_and_add("mine"), author="ann")
    assert made is not None
    assert made.number == 2
    assert fault_proxy.count("PUT") == puts + 1  # and one for the copy
    found = catalog.history(objects, "leuko")
    assert [version.number for version in found] == [2, 1]
    assert found[0].id == made.id
    assert [part.stem for part in found[0].parts] == ["before", "mine"]


@pytest.mark.faults
@pytest.mark.usefixtures("quick")
def test_a_lost_answer_and_a_lost_race_at_once(bucket: str, fault_proxy: FaultProxy) -> None:
    """Our answer is lost, and somebody else commits on top before we read it back."""
    objects = open_objects(f"{bucket}/st")
    fault_proxy.fail("PUT", kind="lost")
    built: list[int] = []

    def build(parent: Version | None) -> dict[str, Any]:
        built.append(parent.number if parent else 0)
        return keep_and_add("mine")(parent)

    made = catalog.commit(objects, "leuko", build, author="ann")
    other = catalog.commit(objects, "leuko", keep_and_add("other"), author="bob")
    assert made is not None
    assert other is not None
    assert (made.number, other.number, built) == (1, 2, [0])


# --- what people see


def test_html_escapes_everything(place: Objects) -> None:
    bad = "<img src=x onerror=alert(1)>&\"'"
    fields = {
        "parts": (PartRef(bad, bad, "b", "", {"variables": [bad], "dtype": bad, "sizes": {}}),),
        "message": bad,
        "put_aside": ({"stem": bad, "reason": bad},),
    }
    made = catalog.commit(place, "leuko", lambda _: fields, author=bad)
    assert made is not None
    for page in (made._repr_html_(), catalog.history(place, "leuko")._repr_html_()):
        assert "<img" not in page
        assert "&lt;img src=x onerror=alert(1)&gt;&amp;" in page
    assert "Put aside" in made._repr_html_()
    assert "leuko@1" in made._repr_html_()


def test_row_and_text(place: Objects) -> None:
    add(place, "leuko", "a", recipe={"reader": "imaris"})
    version = Version(
        name="q",
        number=3,
        id="id",
        parent=2,
        created="2026-11-20T10:00:00+00:00",
        author="ann",
        message="why",
        parts=(
            ref("a", bytes=5, sizes={"t": 2}, dtype="uint8", variables=["image"]),
            ref("b", bytes=7),
        ),
        recipe={"operator": "frame-quality", "inputs": {"ds": "leuko@1"}},
        put_aside=({"stem": "c", "reason": "r"},),
        study={"title": "Dying cells", "keywords": ["a", "b"]},
    )
    assert catalog.row(version) == {
        "dataset": "q",
        "version": 3,
        "parts": 2,
        "records": None,
        "put aside": 1,
        "bytes": 12,
        "created": "2026-11-20T10:00:00+00:00",
        "author": "ann",
        "message": "why",
        "study": "Dying cells",
    }
    assert catalog.text(version, ["q@3", "leuko@1"]) == [
        "q@3  2026-11-20T10:00:00+00:00  ann",
        "  why",
        "  made by frame-quality from leuko@1",
        "  study title: Dying cells",
        "  study keywords: a",
        "  study keywords: b",
        "  a  0123456789ab  image uint8 t 2",
        "  b  0123456789ab  ",
        "  put aside: c: r",
    ]
    assert catalog.text(catalog.resolve(place, "leuko"))[2] == "  made by imaris"
    assert catalog.text(add(place, "mine", "a"))[2] == "  made by saved"


def test_lineage_follows_the_versions_that_recipes_name(place: Objects) -> None:
    add(place, "leuko", "a")
    add(place, "quality", "a", recipe={"inputs": {"ds": "leuko@1"}})
    add(place, "leuko", "a", "b")
    add(place, "table", "t", recipe={"inputs": {"tree": "quality@1", "images": "leuko@1"}})
    assert catalog.lineage(place, "table") == ["table@1", "quality@1", "leuko@1"]


def test_same_parts_are_the_same_seals() -> None:
    assert catalog.same_parts([ref("a"), ref("b")], [ref("b"), ref("a")])
    assert not catalog.same_parts([ref("a")], [ref("a"), ref("b")])
    assert not catalog.same_parts([ref("a")], [ref("a", seal="other")])


# --- stores


def test_a_store_is_told_from_other_places(tmp_path: Path) -> None:
    empty = str(tmp_path / "empty")
    with pytest.raises(NotAStoreError, match=r"no dpipe store there .* dpipe run make one"):
        catalog.open_store(empty)
    assert catalog.open_store(empty, create=True).url == empty
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(b"x")
    for create in (False, True):
        with pytest.raises(NotAStoreError, match=r"not a dpipe store; .* found cat.jpg"):
            catalog.open_store(str(tmp_path / "photos"), create=create)
    add(open_objects(empty), "leuko", "a")
    assert catalog.names(catalog.open_store(empty)) == ["leuko"]
    begun = open_objects(tmp_path / "begun")
    begun.put("parts/x/a-0123456789ab.marks/init.json", b"{}")
    assert catalog.open_store(begun.url).url == begun.url
    planned = open_objects(tmp_path / "planned")  # killed, or met by another run, right after it
    planned.put("runs/20261120T091500-7c2e/plan.json", b"{}")
    assert catalog.open_store(planned.url, create=True).url == planned.url


# --- borders


def test_a_name_has_at_most_100_letters() -> None:
    assert catalog.check_name("a" * 100) == "a" * 100
    for name in ("a" * 101, "", ".a", "-a", "a/b", "a b"):
        with pytest.raises(UsageError, match="at most 100"):
            catalog.check_name(name)


def test_versions_beyond_a_million_have_copies_too(place: Objects) -> None:
    digest = "0" * 32
    for number in (999_999, 1_000_000, 999_999_999):
        place.put(version_files.key_of("leuko", number), b"{}")
        place.put(version_files.copy_key("leuko", number, digest), b"{}")
    there = version_files.beside(place, "leuko")
    assert there.numbers == there.copies.keys() == {999_999, 1_000_000, 999_999_999}
    assert there.gone(999_999) == {1_000_000, 999_999_999}
    assert there.gone(999_999_999) == set()


def test_a_version_of_another_name_or_number_is_damage(place: Objects) -> None:
    add(place, "leuko", "a")
    add(place, "leuko", "b")
    add(place, "other", "a")
    first = place.read("datasets/leuko/000001.json")
    place.put("datasets/leuko/000002.json", first)
    with pytest.raises(DamageError, match="it says that it is leuko@1"):
        catalog.resolve(place, "leuko@2")
    place.put("datasets/other/000001.json", first)
    with pytest.raises(DamageError, match="it says that it is leuko@1"):
        catalog.resolve(place, "other@1")


def test_lineage_goes_by_generations(place: Objects) -> None:
    for name in ("d", "c"):
        add(place, name, "a")
    for name, inputs in (("b", {"x": "d@1"}), ("e", {"x": "c@1"}), ("a", {"x": "b@1", "y": "e@1"})):
        add(place, name, "a", recipe={"inputs": inputs})
    assert catalog.lineage(place, "a") == ["a@1", "b@1", "e@1", "d@1", "c@1"]


def test_parts_stand_in_the_order_that_people_count_in() -> None:
    parts = [ref(stem) for stem in ("Neu10", "Neu2", "Neu1")]
    assert [one.stem for one in catalog.by_stem(parts)] == ["Neu1", "Neu2", "Neu10"]


def test_a_part_less_is_another_list() -> None:
    one, two = ref("a", seal="1"), ref("b", seal="2")
    assert catalog.same_parts([one, two], [two, one])
    assert not catalog.same_parts([one], [one, two])
    assert not catalog.same_parts([one, two], [one])


def test_a_part_whose_seal_changed_is_looked_at(place: Objects) -> None:
    """A version may name one base with another seal than its parent: that is new."""

    def build(seal: bytes) -> Any:
        part = ref("a", seal=documents.sha256(seal))
        return lambda _: {"parts": (part,), "message": "m"}

    place.put("parts/x/a-0123456789ab.json", b"one")
    assert catalog.commit(place, "leuko", build(b"one"), author="ann") is not None
    with pytest.raises(DamageError, match="the seal is not the one that was to be committed"):
        catalog.commit(place, "leuko", build(b"two"), author="ann")
    place.delete("parts/x/a-0123456789ab.json")
    with pytest.raises(StoreError, match=r"1 of 1 parts of leuko are gone .*\(a\)"):
        catalog.commit(place, "leuko", build(b"two"), author="ann")
    assert catalog.commit(place, "leuko", build(b"one"), author="ann") is not None  # as its parent


def test_seals_are_looked_at_once_in_a_race(
    place: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.put("parts/x/a-0123456789ab.json", b"one")
    part = ref("a", seal=documents.sha256(b"one"))
    asked = []
    read_many = place.read_many

    def noted(keys: Any) -> Any:
        asked.append(list(keys))
        return read_many(asked[-1])

    monkeypatch.setattr(place, "read_many", noted)
    tries = iter("ab")

    def build(parent: Version | None) -> dict[str, Any]:
        if next(tries) == "a":  # somebody else takes the number
            add(place, "leuko", "other")
        return {"parts": (*(parent.parts if parent else ()), part), "message": "m"}

    made = catalog.commit(place, "leuko", build, author="ann")
    assert (made.number, [one.stem for one in made.parts]) == (2, ["other", "a"])
    assert [keys for keys in asked if keys] == [["parts/x/a-0123456789ab.json"]]


def test_the_first_of_several_unreadable_versions_is_named(place: Objects) -> None:
    for stem in "abc":
        add(place, "leuko", stem)
    for number in (2, 3):
        place.put(version_files.key_of("leuko", number), b"{")
    with pytest.raises(DamageError, match=r"000003.json: .* leuko@1 is the newest that can be"):
        catalog.resolve(place, "leuko")


def test_a_run_that_was_only_planned_makes_a_store(place: Objects) -> None:
    place.put("runs/r/plan.json", b"{}")
    assert catalog.open_store(place.url).url == place.url


def test_a_version_names_the_digest_of_its_parent_and_what_is_lost(place: Objects) -> None:
    first = add(place, "leuko", "a")
    second = add(place, "leuko", "b", lost=(7, 9))
    found = catalog.resolve(place, "leuko")
    assert (first.parent_sha256, found.lost) == ("", (7, 9))
    assert found.parent_sha256 == documents.sha256(place.read("datasets/leuko/000001.json"))
    assert found.parent_sha256 == first.sha256 == second.parent_sha256


def test_the_study_of_the_first_release_was_called_metadata(place: Objects) -> None:
    said = {"name": "leuko", "number": 1, "id": "x", "parent": None, "created": "", "author": "",
            "message": "m", "parts": [], "metadata": {"organ": ["node"]}}  # fmt: skip
    place.put("datasets/leuko/000001.json", json.dumps(said).encode())
    found = catalog.resolve(place, "leuko")
    assert (found.study, found.signed) == ({"organ": ["node"]}, False)
