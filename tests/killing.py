"""A rig that kills a run at an instant told by its marks, and looks at what is in a store.

The processes of a run get the processor in slices of a hundredth of a second; between slices they
stand still and the marks are counted. Shortly before the number wanted, a slice is for one worker
alone, so that marks appear one at a time and no instant is missed.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil
from processes import Program, wait_until

from dpipe.objects import Objects

SLICE = 0.01


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


def send(pids: Sequence[int], number: int) -> None:
    """Send a signal to some processes; those that are gone are fine."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def partition_marks(objects: Objects, dataset: str) -> list[str]:
    """Return the keys of the marks of all partitions of a dataset."""
    keys = [entry.key for entry in objects.list(f"parts/{dataset}/") if ".marks/" in entry.key]
    return [key for key in keys if not key.endswith("init.json")]


def catch(
    run: Run, objects: Objects, dataset: str, wanted: int, workers: Sequence[int] = ()
) -> list[int]:
    """Let a run go on until a dataset has this many marks; it stands still then.

    Its own workers are meant unless others are given; they are returned.
    """
    prefix = f"parts/{dataset}/"
    while next(objects.list(prefix), None) is None:
        assert run.running(), run.text()
        time.sleep(0.05)
    turn = 0
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        pids = list(workers) or run.workers()
        send([run.pid, *pids], signal.SIGSTOP)
        count = len(partition_marks(objects, dataset))
        if count >= wanted:
            assert count == wanted, f"{count} partitions were marked when {wanted} were waited for"
            assert run.running(), run.text()
            return pids
        turn += 1
        near = count >= wanted - 3 and pids
        send([run.pid, *([pids[turn % len(pids)]] if near else pids)], signal.SIGCONT)
        time.sleep(SLICE)
    raise TimeoutError(f"{dataset}: never {wanted} marks; the run says:\n{run.text()}")


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
