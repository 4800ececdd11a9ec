"""Runs that lose their driver, a worker or the scheduler, at told instants, and go on.

Each run is killed three times: when one partition of a dataset is marked, when half of the next
one's are, and when all but one of the third's are. It ends with the digests of a run that nobody
disturbed, and nothing that was marked at a kill is ever written again.
"""

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from gate import Gate
from killing import Run, catch, digests, partitions_done, snapshot
from processes import Scheduler, Worker, alive, family

from dpipe import catalog, demo
from dpipe.build import run_recipe
from dpipe.checks import store
from dpipe.storage import Objects, open_objects

pytestmark = pytest.mark.faults

DATASETS = ("leuko", "leuko-quality", "leuko-projections")
MOMENTS: list[Callable[[int], int]] = [lambda n: 1, lambda n: n // 2, lambda n: n - 1]


@dataclass(frozen=True)
class Reference:
    """What an undisturbed run made."""

    recipe: Path
    digests: dict[str, str]
    partitions: dict[str, int]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """Two generated movies and, where there are real files, those; the recipe makes all."""
    folder = tmp_path_factory.mktemp("study")
    recipe = demo.write_study(folder, movies=2, frames=12, size=(8, 192, 256))
    lines = recipe.read_text().splitlines(keepends=True)
    text = "".join(line for line in lines if "table" not in line and "thumbnails" not in line)
    try:
        real = request.getfixturevalue("shared_data") / "imaris"
    except pytest.skip.Exception:
        pass
    else:
        text += f"  real: {{reader: imaris, source: {real}/*.ims}}\n"
    recipe.write_text(text)
    return recipe


def reference(recipe: Path, place: str) -> Reference:
    outcome = run_recipe(recipe, place, progress=False, workers="0", partition_bytes=1 << 20)
    assert outcome.exit_code == 0
    objects = open_objects(place)
    names = catalog.names(objects)
    counts = {name: partitions_done(objects, name) for name in names}
    return Reference(recipe, digests(objects), counts)


@pytest.fixture(scope="module")
def on_folder(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Reference:
    return reference(study, str(tmp_path_factory.mktemp("reference")))


@pytest.fixture(scope="module")
def on_s3(study: Path, s3_server: str) -> Reference:
    import boto3

    client = boto3.client("s3", endpoint_url=s3_server)
    client.create_bucket(Bucket="dpipe-reference")
    client.close()
    return reference(study, "s3://dpipe-reference/store")


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Objects, Reference]:
    if request.param == "s3":
        url = request.getfixturevalue("bucket") + "/lab/store"
        return open_objects(url), request.getfixturevalue("on_s3")
    return open_objects(tmp_path / "store"), request.getfixturevalue("on_folder")


class Watch:
    """What was marked at the kills, to be compared with what is there later."""

    def __init__(self, objects: Objects) -> None:
        self.objects = objects
        self.done: dict[str, tuple[float, bytes]] = {}

    def look(self) -> None:
        """Nothing that was there may have changed; remember what is there now."""
        now = snapshot(self.objects)
        assert {key: now.get(key) for key in self.done} == self.done
        self.done = now


def stages(objects: Objects, expected: Reference, turn: int) -> list[tuple[str, int]]:
    """Return which dataset is caught with how many marks, in the order in which they are made.

    Every victim has a turn, so that each moment meets each dataset.
    """
    turn += objects.url.startswith("s3")
    moments = [
        (name, MOMENTS[(i + turn) % 3](expected.partitions[name]))
        for i, name in enumerate(DATASETS)
    ]
    if "real" in expected.partitions:
        moments.insert(1, ("real", 1))  # of two movies with one partition each
    return moments


def check(objects: Objects, expected: Reference, watch: Watch) -> None:
    """The store holds what an undisturbed run makes, once, and nothing else."""
    watch.look()
    assert digests(objects) == expected.digests
    for name, count in expected.partitions.items():
        assert partitions_done(objects, name) == count
        assert catalog.resolve(objects, name).number == 1
        assert catalog.resolve(objects, name).put_aside == ()
    assert list(store.verify(objects, ())) == []


def test_enough_partitions(on_folder: Reference) -> None:
    assert 8 <= on_folder.partitions["leuko"] <= 20
    assert 8 <= on_folder.partitions["leuko-quality"] <= 20


def test_driver_killed(place: tuple[Objects, Reference], tmp_path: Path) -> None:
    objects, expected = place
    watch, gate = Watch(objects), Gate(tmp_path / "gate")
    orphans: list[int] = []
    for dataset, wanted in stages(objects, expected, 0):
        gate.allow(dataset, wanted)
        with Run(expected.recipe, objects.url, tmp_path, env=gate.env) as run:
            catch(run, objects, dataset, wanted)
            watch.look()
            assert catalog.newest(objects, dataset) is None
            orphans += family(run.pid)
            os.kill(run.pid, signal.SIGKILL)
            assert run.wait() == -signal.SIGKILL
        gate.open(dataset)
    with Run(expected.recipe, objects.url, tmp_path) as run:
        assert run.wait() == 0, run.text()
    assert alive(orphans) == []  # workers follow their driver
    check(objects, expected, watch)


def test_worker_killed(place: tuple[Objects, Reference], tmp_path: Path) -> None:
    """The run goes on by itself."""
    objects, expected = place
    watch, gate = Watch(objects), Gate(tmp_path / "gate")
    watched = stages(objects, expected, 1)
    for dataset, wanted in watched:
        gate.allow(dataset, wanted)
    with Run(expected.recipe, objects.url, tmp_path, env=gate.env) as run:
        for dataset, wanted in watched:
            catch(run, objects, dataset, wanted)
            watch.look()
            rest = expected.partitions[dataset] - wanted
            for pid in run.workers()[-2 if rest == 1 else -1 :]:  # the last one: either has it
                os.kill(pid, signal.SIGKILL)
            gate.open(dataset)
        assert run.wait() == 0, run.text()
    check(objects, expected, watch)


def test_scheduler_killed(place: tuple[Objects, Reference], tmp_path: Path) -> None:
    """The driver ends by itself, with the exit code that says: try again."""
    objects, expected = place
    watch, gate = Watch(objects), Gate(tmp_path / "gate")
    scheduler = Scheduler(tmp_path)
    hasty = {"DPIPE_STALL_SECONDS": "30"}  # so long a driver may look for its scheduler
    for dataset, wanted in stages(objects, expected, 2):
        gate.allow(dataset, wanted)
        with (
            scheduler,
            Worker(scheduler, tmp_path, env=gate.env),
            Run(
                expected.recipe, objects.url, tmp_path, workers=scheduler.address, env=hasty
            ) as run,
        ):
            catch(run, objects, dataset, wanted)
            watch.look()
            scheduler.signal(signal.SIGKILL)
            gate.open(dataset)
            assert run.wait() == 75, run.text()
            assert "run the same command again" in run.text()
    with (
        scheduler,
        Worker(scheduler, tmp_path),
        Run(expected.recipe, objects.url, tmp_path, workers=scheduler.address) as run,
    ):
        assert run.wait() == 0, run.text()
    check(objects, expected, watch)
