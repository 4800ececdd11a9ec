"""A rig for runs that are killed: the program, and what is in a store at an instant."""

import contextlib
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import psutil
from processes import Program, wait_until

from dpipe.catalog import seals as catalog_seals
from dpipe.errors import NotFoundError
from dpipe.storage import Objects


class Run(Program):
    """``dpipe run``, as a process."""

    count = 0

    def __init__(
        self,
        recipe: Path,
        store: str,
        folder: Path,
        *args: str,
        workers: str = "2",
        env: Mapping[str, str] | None = None,
    ) -> None:
        Run.count += 1
        command = [sys.executable, "-m", "dpipe", "run", str(recipe), "--store", store]
        command += ["--workers", workers, "--quiet", *args]
        said = {"DPIPE_PARTITION_BYTES": "1 MiB", **(env or {})}
        super().__init__(command, folder, f"run-{Run.count}", said)

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def workers(self) -> list[int]:
        """Return the processes of its own cluster that run tasks, oldest first."""
        found = psutil.Process(self.pid).children(recursive=True)
        return [p.pid for p in found if any("spawn_main" in word for word in _cmdline(p))]

    def wait(self, seconds: float = 120.0) -> int:
        """Wait for its end and return its exit code."""
        assert self.process is not None
        wait_until(lambda: not self.running(), seconds, f"it ends; its output:\n{self.text()}")
        return int(self.process.returncode)


def _cmdline(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


def partitions_done(objects: Objects, dataset: str) -> int:
    """Return how many partitions of a dataset are done: marked, or of a part that is sealed."""
    keys = [entry.key for entry in objects.list(f"parts/{dataset}/")]
    marks = [key for key in keys if ".marks/0" in key]
    counts = []
    for key in seals(keys):
        try:
            counts.append(
                catalog_seals.read(objects, key.removesuffix(".json"))[0].provenance["partitions"]
            )
        except NotFoundError:
            continue
    sealed = {key.removesuffix(".json") for key in seals(keys)}
    return sum(counts) + sum(key.partition(".marks/")[0] not in sealed for key in marks)


def seals(keys: Iterable[str]) -> list[str]:
    """Return those of some keys that are of seals."""
    ends = (".objects.json", ".copy.json", ".sources.json")
    return [k for k in keys if k.count("/") == 2 and k.endswith(".json") and not k.endswith(ends)]


def catch(run: Run, objects: Objects, dataset: str, wanted: int) -> None:
    """Wait until a dataset has as many partitions done as its gate lets through."""

    def there() -> bool:
        assert run.running(), run.text()
        return partitions_done(objects, dataset) >= wanted

    wait_until(there, 120, f"{dataset} has {wanted} partitions; the run says:\n{run.text()}")
    assert partitions_done(objects, dataset) == wanted


def snapshot(objects: Objects) -> dict[str, tuple[float, bytes]]:
    """Return time and bytes of every seal, and of every object that a mark or a seal names."""
    there = {entry.key: entry.mtime for entry in objects.list("parts/")}
    named = set(seals(there))
    for key in there:
        if ".marks/0" in key:
            with contextlib.suppress(NotFoundError):  # a worker that outlives its run sealed it
                named |= {put["key"] for put in json.loads(objects.read(key))["objects"]}
        if key.endswith(".objects.json") and f"{key.removesuffix('.objects.json')}.json" in named:
            base = key.removesuffix(".objects.json")
            path = catalog_seals.read(objects, base)[0].path
            named |= {f"{path}/{name}" for name in json.loads(objects.read(key))}
    return {key: (there[key], objects.read(key)) for key in named if key in there}


def digests(objects: Objects) -> dict[str, str]:
    """Return the digest of the list of objects of every sealed part."""
    keys = seals(entry.key for entry in objects.list("parts/"))
    return {key: json.loads(objects.read(key))["objects"]["sha256"] for key in keys}
