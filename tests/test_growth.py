"""Growth: requests and operations are counted, the more parts there are; never time."""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import dask.array as da
import numpy as np
import pytest
from faultproxy import FaultProxy

import dpipe
from dpipe import catalog
from dpipe.build import PartSpec, Recipe, operator_step, plan, reader_step, scheduler
from dpipe.build.part_plan import PartPlan
from dpipe.catalog import commits
from dpipe.catalog.version_files import Refs
from dpipe.compute import records
from dpipe.config import Settings
from dpipe.errors import InputError
from dpipe.formats.imaris_writer import write_imaris
from dpipe.storage import open_objects
from dpipe.workers import Finished, connect

pytestmark = pytest.mark.slow

FEW, MANY = 150, 600


def movies(folder: Path, count: int, frames: int = 2, side: int = 16) -> Recipe:
    folder.mkdir()
    luck = np.random.default_rng(0)
    for i in range(count):
        values = luck.integers(0, 99, (frames, 1, 2, side, side)).astype("u2")
        write_imaris(folder / f"m{i}.ims", values, levels=1, chunks=(2, side, side))
    return Recipe.of(reader_step("leuko", "imaris", [str(folder)]))


def run(recipe: Recipe, store: str, **settings: Any) -> Any:
    return dpipe.run_recipe(recipe, store, progress=False, workers="0", **settings)


def test_requests_to_a_bucket(bucket: str, fault_proxy: FaultProxy, tmp_path: Path) -> None:
    """20 parts: beyond what a run, an open and a second run need once, 5, 1 and 0 each."""
    store, count = f"{bucket}/store", 20
    catalog.open_store(store, create=True)
    recipe = movies(tmp_path / "raw", count)
    fault_proxy.reset()
    run(recipe, store)
    asked = [(method, path) for method, path in fault_proxy.requests if "/leuko/m" in path]
    group = [path for _, path in asked if ".zarr/" in path]
    assert len(asked) - len(group) == 5 * count  # sources, objects, seal, copy, look at the seal
    assert len(set(group)) == len(group)  # written once, and not read
    assert len(fault_proxy.requests) - len(asked) <= 24

    fault_proxy.reset()
    fault_proxy.fail("GET", kind="delay", times=count, match="/leuko/m", seconds=0.5)
    opened = dpipe.open(store, "leuko")
    assert len(opened.children) == count
    assert fault_proxy.count("GET", "/leuko/m") == count
    assert fault_proxy.busiest == count  # all wait at once
    assert len(fault_proxy.requests) <= count + 8

    fault_proxy.reset()
    assert run(recipe, store).nothing
    assert not any("/leuko/m" in path for _, path in fault_proxy.requests)
    assert len(fault_proxy.requests) <= 12


@pytest.mark.parametrize(("frames", "partition_bytes"), [(2, 256 << 20), (40, 4 << 20)])
def test_requests_are_planned(
    bucket: str, fault_proxy: FaultProxy, tmp_path: Path, frames: int, partition_bytes: int
) -> None:
    store, recipe = (
        f"{bucket}/store",
        movies(tmp_path / "raw", 1, frames, 16 if frames < 3 else 400),
    )
    settings: dict[str, Any] = {"partition_bytes": partition_bytes, "workers": "0"}
    planner = plan.Planner(catalog.open_store(store, create=True), Settings(**settings))
    ((part,),) = [step.parts for step in planner.recipe(recipe)]
    assert (part.partitions > 1) == (frames > 2)
    fault_proxy.reset()
    run(recipe, store, partition_bytes=partition_bytes)
    asked = sum("/leuko/m" in path for _, path in fault_proxy.requests)
    assert part.requests == pytest.approx(asked, rel=0.12)


# --- operations -------------------------------------------------------------------------------


class Stem(str):
    """A text whose every comparison is a call, so that a search of a list is seen."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return str.__eq__(self, other)

    def __hash__(self) -> int:
        return str.__hash__(self)


def operations(work: Callable[[], Any]) -> int:
    """Count the calls that some work makes, those of comparisons and generators among them."""
    count = 0

    def note(_: FrameType, event: str, __: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


def is_linear(work: Callable[[int], Callable[[], Any]]) -> bool:
    """Tell whether four times as much is at most five times the operations."""
    for count in (FEW, MANY):
        work(count)()  # what is done once is done before
    few, many = operations(work(FEW)), operations(work(MANY))
    return few > FEW / 2 and many <= 5 * few


def test_a_square_would_be_seen() -> None:
    def search(count: int) -> Callable[[], Any]:
        stems = [Stem(i) for i in range(count)]
        return lambda: [Stem(i) in stems for i in range(count)]

    def look(count: int) -> Callable[[], Any]:
        stems = {Stem(i) for i in range(count)}
        return lambda: [Stem(i) in stems for i in range(count)]

    assert not is_linear(search)
    assert is_linear(look)


def refs(count: int) -> list[catalog.PartRef]:
    return [
        catalog.PartRef(Stem(f"m{i}"), f"{i:012x}", f"parts/m/m{i}-{i:012x}", f"{i:064x}", {})
        for i in range(count)
    ]


def version(count: int) -> catalog.Version:
    return catalog.Version("m", 1, "0" * 32, None, "", "", "a", parts=Refs(refs(count)))


@pytest.fixture
def planner(tmp_path: Path) -> plan.Planner:
    objects = catalog.open_store(str(tmp_path / "store"), create=True)
    return plan.Planner(objects, Settings(workers="0"))


def test_parts_that_leave(planner: plan.Planner) -> None:
    def work(count: int) -> Callable[[], Any]:
        old, stems = version(count), {ref.stem for ref in refs(count)}
        return lambda: planner._leaving(reader_step("m", "imaris", ["raw"]), old, stems)

    assert is_linear(work)


def test_inputs_of_parts(planner: plan.Planner) -> None:
    def work(count: int) -> Callable[[], Any]:
        step, those = operator_step("quality", "frame-quality", "m"), refs(count)
        return lambda: list(planner._operands(step, {"m": those}))

    assert is_linear(work)


def test_parts_by_their_stems() -> None:
    def work(count: int) -> Callable[[], Any]:
        old, stems = version(count), [ref.stem for ref in refs(count)]
        return lambda: [old.part(stem) for stem in stems]

    assert is_linear(work)


class Instant:
    """Workers that are done at once, with a part that cannot be made."""

    def __init__(self) -> None:
        self.capacity, self.waiting = 4, list[str]()

    def submit(self, key: str, function: Any, *args: Any) -> None:
        self.waiting.append(key)

    def next(self) -> Finished:
        return Finished(self.waiting.pop(), None, InputError("cut off"), killed=False)


def test_parts_put_aside(planner: plan.Planner) -> None:
    def work(count: int) -> Callable[[], Any]:
        origin = PartSpec("reader", "imaris", 1)
        jobs = [
            scheduler.Job(PartPlan("m", r.stem, r.base, origin, "make", "")) for r in refs(count)
        ]
        how: dict[str, Any] = {"who": {}, "retries": 0, "record": lambda *_: None}
        url = planner.objects.url
        driven = scheduler.Scheduler("m", url, Instant(), progress=False, **how)  # type: ignore[arg-type]
        return lambda: driven.make(jobs)

    with connect(Settings(workers="0")):
        assert is_linear(work)


def test_commits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One part more: what it costs grows with the parts, and one page is written anew."""
    monkeypatch.setattr(commits, "_look", lambda *_: None)
    objects = open_objects(str(tmp_path / "store"))

    def work(count: int) -> Callable[[], Any]:
        name, those = f"m{count}-{len(catalog.names(objects))}", refs(count + 1)
        fields = {"parts": tuple(those[:-1]), "message": "first"}
        parent = catalog.add(objects, name, None, fields, author="a", identity="0" * 32, number=1)
        more = {"parts": tuple(those), "message": "second"}
        who: dict[str, Any] = {"author": "a", "identity": "1" * 32, "number": 2}
        return lambda: catalog.add(objects, name, parent, more, **who)

    assert is_linear(work)


# --- what waits for answers waits at once -----------------------------------------------------


def test_history_and_listing_ask_at_once(
    bucket: str, fault_proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commits, "_look", lambda *_: None)
    objects, count = catalog.open_store(f"{bucket}/store", create=True), 12
    fields = {"parts": tuple(refs(1)), "message": "m"}
    parent = None
    for n in range(1, count + 1):
        who: dict[str, Any] = {"author": "a", "identity": f"{n:032x}", "number": n}
        parent = catalog.add(objects, "many", parent, fields, **who)
        catalog.add(objects, f"d{n}", None, fields, **(who | {"number": 1}))
    for work, found, each in (
        (lambda: catalog.history(objects, "many"), count, 1),
        (lambda: catalog.listing(objects)[0], count + 1, 3),
    ):
        fault_proxy.reset()
        fault_proxy.fail("GET", kind="delay", times=1000, seconds=0.2)
        assert len(work()) == found
        assert fault_proxy.busiest >= count
        assert len(fault_proxy.requests) <= each * found + 4


# --- records in a random order, and bytecode --------------------------------------------------


@pytest.mark.parametrize("blocks", [20, 80])
def test_a_random_order_takes_few_rows_of_few_blocks(blocks: int) -> None:
    """So many pairs of blocks as are linear in the records; a task for each was a square."""
    count = blocks * 256
    values = da.from_array(np.arange(count * 2).reshape(count, 2), chunks=(256, -1))
    order = np.random.default_rng(0).permutation(count)
    result = records._put_back(values, order)
    tasks = result.dask.layers[result.name]
    assert sum(len(task[1]) for task in tasks.values()) <= 2 * count / records._EDGES
    np.testing.assert_array_equal(result, values.compute()[order])


def test_the_environment_is_compiled_once() -> None:
    """By `make env`, whatever the shell says, and not by every process anew."""
    text = (Path(__file__).parents[1] / "Makefile").read_text()
    assert re.search(r"^unexport PYTHONDONTWRITEBYTECODE\b", text, re.MULTILINE)
    assert re.search(r"uv pip sync .*--compile-bytecode", text)
    assert "-m compileall -q dpipe" in text
