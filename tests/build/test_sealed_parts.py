"""What is there already of the parts that a step wants: asked for one by one, or listed at once."""

import uuid
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from dpipe.build import PartSpec, base_of, marks, sealed_parts
from dpipe.build.sealed_parts import Sealed
from dpipe.catalog import PartRef, seals
from dpipe.storage import Objects, open_objects

STATES = ("sealed", "begun", "copy", "list", "pixels", "marks", "nothing")


@pytest.fixture
def place() -> Objects:
    return open_objects(f"memory://{uuid.uuid4().hex}")


def origin(stem: str) -> PartSpec:
    return PartSpec("saved", stem, 1)


def base(stem: str) -> str:
    return base_of("d", stem, origin(stem).fingerprint)


def lay(place: Objects, stem: str) -> None:
    """Leave of a part what its name says; a name with dots is a name."""
    key = base(stem)
    left = {
        "sealed": [seals.key_of(key), seals.copy_key(key), f"{key}.ome.zarr/zarr.json"],
        "begun": [marks.init_key(key), f"{key}.ome.zarr/zarr.json"],
        "copy": [seals.copy_key(key)],
        "list": [f"{key}.objects.json"],
        "pixels": [f"{key}.ome.zarr/0/image/c/0"],
        "b": [f"{key}.ome.zarr/0/image/c/0"],
        "marks": [],
        "nothing": [],
    }[stem.partition(".")[0]]
    for name in left:
        place.put(name, b"x")


@pytest.mark.parametrize("listed", [False, True])
def test_what_is_there_is_told_apart(place: Objects, listed: bool) -> None:
    stems = [f"{state}.v1" for state in STATES]
    if listed:
        stems += [f"nothing.{i}" for i in range(sealed_parts._FEW + 1 - len(stems))]
    for stem in stems:
        lay(place, stem)
    lay(place, "sealed.of nobody")
    found = Sealed.look(place, "d", {}, [(stem, origin(stem)) for stem in stems])
    assert found.named == {}
    assert found.bases == {base("sealed.v1")}
    assert found.begun == {base("begun.v1")}
    nothing = {base(s) for s in stems if s.startswith(("marks", "nothing"))}
    assert found.new == nothing


@pytest.mark.parametrize(("count", "asked"), [(16, "list"), (17, "below")])
def test_up_to_16_parts_are_asked_for_and_more_are_listed(
    place: Objects, monkeypatch: pytest.MonkeyPatch, count: int, asked: str
) -> None:
    done = []
    for name in ("exists", "list", "below"):
        ask = getattr(place, name)
        monkeypatch.setattr(place, name, lambda k, ask=ask, n=name: done.append(n) or ask(k))
    Sealed.look(place, "d", {}, [(f"s{i}", origin(f"s{i}")) for i in range(count)])
    assert done[0] == asked  # a place in memory lists for "below" too
    assert len(done) == (count if asked == "list" else 2)


def test_what_the_newest_version_names_costs_nothing(
    place: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, other = (PartRef(s, origin(s).fingerprint, base(s), "1") for s in ("a", "b"))
    known = {"a": mine, "b": replace(other, fingerprint="0" * 12)}
    asked = []
    exists = place.exists
    lay(place, "b")
    monkeypatch.setattr(place, "exists", lambda key: asked.append(key) or exists(key))
    found = Sealed.look(place, "d", known, [(s, origin(s)) for s in ("a", "b")])
    assert found.named == {"a": mine}
    assert asked == [seals.key_of(base("b")), marks.init_key(base("b"))]


def test_a_part_of_an_earlier_dpipe_that_is_alike_is_the_one_wanted(
    place: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = PartRef("a", "0" * 12, "parts/d/a-000000000000", "1")
    made = PartSpec("operator", "frame-quality", 1)
    assert Sealed.look(place, "d", {"a": old}, [("a", made)]).named == {}
    monkeypatch.setattr(sealed_parts.part_spec, "is_older", lambda said, now: said == "0" * 12)
    found = Sealed.look(place, "d", {"a": old}, [("a", made)])
    assert found.named == {"a": replace(old, fingerprint=made.fingerprint)}


def test_a_name_that_no_part_can_have_is_there_in_no_way(place: Objects) -> None:
    found = Sealed.look(place, "d", {}, [("a\nb", origin("a"))])
    assert (found.named, found.bases, found.begun, found.new) == ({}, set(), set(), set())


PLAIN = {"operator": "o", "params": {"x": 1}}


@pytest.mark.parametrize(
    ("before", "now", "made", "why"),
    [
        (None, PLAIN, {}, "new"),
        (PLAIN, PLAIN, {}, "its inputs changed"),
        (PLAIN, PLAIN, {"kind": "reader"}, "its source changed"),
        (PLAIN | {"levels": 2}, PLAIN, {}, "levels changed"),
        (PLAIN, PLAIN | {"levels": 2}, {}, "levels changed"),
        (PLAIN, {"operator": "p", "params": {}}, {}, "the operator and parameters changed"),
        (PLAIN | {"code": "1"}, PLAIN, {"code": "2"}, "the code of o changed"),
        (PLAIN | {"code": "2"}, PLAIN, {"code": "2"}, "its inputs changed"),
        (PLAIN, PLAIN, {"code": "2"}, "its inputs changed"),  # an earlier dpipe kept no code
        (PLAIN, PLAIN, {"version": 3}, "the operator o has a new version"),
        (PLAIN, PLAIN, {"version": 3, "kind": "reader"}, "its source changed"),
        (PLAIN, PLAIN | {"params": {"x": 1, "y": 2}}, {}, "the operator o has new parameters"),
    ],
)
def test_why_a_part_is_made(
    before: dict[str, Any] | None, now: dict[str, Any], made: dict[str, Any], why: str
) -> None:
    step: Any = SimpleNamespace(to_dict=lambda: now)
    parent: Any = before and SimpleNamespace(
        recipe=before,
        parts=SimpleNamespace(
            by_stem={"a": SimpleNamespace(fingerprint=PartSpec("operator", "o", 2).fingerprint)}
        ),
    )
    found = replace(PartSpec("operator", "o", 1), **made)
    assert sealed_parts.why_made(step, "a", found, parent) == why
    assert sealed_parts.why_made(step, "b", found, parent) == "new"
