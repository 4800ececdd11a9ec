"""Signs of life: how long they are believed, by whose clock, and that they go on and end."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dpipe.catalog import heartbeat
from dpipe.errors import DamageError, StoreError
from dpipe.storage import Objects, Put, open_objects


@pytest.fixture
def place(tmp_path: Path) -> Objects:
    return open_objects(tmp_path / "store")


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_a_sign_is_believed_for_less_than_an_hour_by_the_clock_of_the_store(
    place: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    heartbeat.Heartbeat(place, "r", ["b", "a"]).beat()
    path = Path(place.url, "alive", "r.json")
    written = 1_000_000.0
    os.utime(path, (written, written))
    monkeypatch.setattr(heartbeat, "TRUSTED", 3600.0)
    for age, believed in ((0, True), (3599, True), (3600, False), (3601, False), (-9999, True)):
        monkeypatch.setattr(place, "now", lambda age=age: written + age)
        assert heartbeat.alive(place) == ({"a", "b"} if believed else set()), age


def test_of_several_signs_the_young_count_together(place: Objects) -> None:
    for run, names in (("one", ["a"]), ("two", ["b", "c"]), ("old", ["d"])):
        heartbeat.Heartbeat(place, run, names).beat()
    long_ago = time.time() - 4000
    os.utime(Path(place.url, "alive", "old.json"), (long_ago, long_ago))
    with heartbeat.sweeping(place, ["parts/x/y"]):
        assert heartbeat.alive(place) == {"a", "b", "c"}
        assert heartbeat.swept(place) == {"parts/x/y"}
    assert heartbeat.swept(place) == set()
    heartbeat.Heartbeat(place, "one", ["a"]).end()
    assert heartbeat.alive(place) == {"b", "c"}


def test_a_damaged_sign_is_not_taken_for_none(place: Objects) -> None:
    place.put("alive/r.json", b"{")
    with pytest.raises(DamageError, match=r"the sign of life is damaged.*; it counts for an hour"):
        heartbeat.alive(place)


def test_a_heart_beats_on_though_a_beat_failed_and_ends(
    place: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "PERIOD", 0.01)
    beats: list[str] = []
    put = place.put

    def failing(key: str, data: bytes) -> Put:
        beats.append(key)
        if len(beats) == 2:
            raise StoreError("away for a moment")
        return put(key, data)

    monkeypatch.setattr(place, "put", failing)
    with heartbeat.beating(place, "r", ["a"]):
        assert heartbeat.alive(place) == {"a"}  # at once, not after a minute
        until(lambda: len(beats) > 4)
    assert set(beats) == {"alive/r.json"}
    assert list(place.list("alive/")) == []
    count = len(beats)
    time.sleep(0.05)
    assert len(beats) == count


def test_signs_are_taken_back_when_what_they_stand_for_fails(place: Objects) -> None:
    with pytest.raises(ZeroDivisionError), heartbeat.beating(place, "r", ["a"]):
        raise ZeroDivisionError
    with pytest.raises(ZeroDivisionError), heartbeat.sweeping(place, ["parts/x/y"]):
        raise ZeroDivisionError
    assert list(place.list()) == []
