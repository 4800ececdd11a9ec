"""A rig for runs that are killed: the program, and what is in a store at an instant."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import psutil
from processes import Program, wait_until

from dpipe.objects import Objects


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


def partition_marks(objects: Objects, dataset: str) -> list[str]:
    """Return the keys of the marks of all partitions of a dataset."""
    keys = [entry.key for entry in objects.list(f"parts/{dataset}/") if ".marks/" in entry.key]
    return [key for key in keys if not key.endswith("init.json")]


def catch(run: Run, objects: Objects, dataset: str, wanted: int) -> None:
    """Wait until a dataset has as many marks as its gate lets through."""

    def there() -> bool:
        assert run.running(), run.text()
        return len(partition_marks(objects, dataset)) >= wanted

    wait_until(there, 120, f"{dataset} has {wanted} marks; the run says:\n{run.text()}")
    assert len(partition_marks(objects, dataset)) == wanted


def snapshot(objects: Objects) -> dict[str, tuple[float, bytes]]:
    """Return time and bytes of every mark and every seal."""
    return {
        entry.key: (entry.mtime, objects.read(entry.key))
        for entry in objects.list("parts/")
        if entry.key.endswith(".json") and not entry.key.endswith(("zarr.json", ".objects.json"))
    }


def written(objects: Objects, marks: Mapping[str, tuple[float, bytes]]) -> dict[str, float]:
    """Return when the objects were written that some marks name."""
    there = {entry.key: entry.mtime for entry in objects.list("parts/")}
    keys = [
        put["key"]
        for key, (_, data) in marks.items()
        if ".marks/" in key
        for put in json.loads(data)["objects"]
    ]
    return {key: there[key] for key in keys}


def digests(objects: Objects) -> dict[str, str]:
    """Return the digest of the list of objects of every sealed part."""
    seals = [
        entry.key
        for entry in objects.list("parts/")
        if entry.key.count("/") == 2 and entry.key.endswith(".json")
    ]
    return {
        key: json.loads(objects.read(key))["objects"]["sha256"]
        for key in seals
        if not key.endswith(".objects.json")
    }
