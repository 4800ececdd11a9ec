"""Tasks on the workers of a Dask scheduler, whoever started it."""

import os
import queue
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, override

from distributed import CancelledError, Client, Future, KilledWorker
from distributed.client import ClosedClientError
from distributed.scheduler import NoValidWorkerError, NoWorkerError

from dpipe.config import Settings
from dpipe.errors import StalledError, StoreError, UsageError
from dpipe.workers.protocol import Finished, Workers
from dpipe.workers.tasks import Outcome, attempt

PATIENCE = 60.0
"""Seconds without a sign of life after which a worker is taken for dead."""
_PACKAGES = ("dpipe", "zarr", "numcodecs", "xarray")  # compared besides those that Dask names


class DaskWorkers(Workers):
    """Tasks run on the workers of a Dask scheduler."""

    def __init__(self, client: Client, label: str, settings: Settings, *, own: bool) -> None:
        self.label, self.capacity, self.memory = label, 0, settings.memory
        self._client, self._window, self._own = client, settings.window, own
        self._stall = settings.stall_seconds
        self._run = uuid.uuid4().hex[:8]  # two runs on one scheduler must not share keys
        self._count = 0
        self._in_flight: dict[str, tuple[str, Future]] = {}
        self._done: queue.SimpleQueue[Future] = queue.SimpleQueue()
        self._worn = self._bereft = False
        self._look()

    def _look(self) -> None:
        """See how many threads there are, and how much memory each has."""
        workers = self._client.scheduler_info()["workers"].values()
        shares = [w["memory_limit"] // w["nthreads"] for w in workers if w["memory_limit"]]
        self.memory = min(shares, default=self.memory)
        self.capacity = self._window * max(1, sum(w["nthreads"] for w in workers))
        self._looked = time.monotonic()

    @override
    def submit(self, key: str, function: Callable[..., Any], *args: Any) -> None:
        if self._worn and not self._in_flight:
            # What ran out of memory may have left some of it taken: what is tried alone then
            # gets fresh processes, so that only its own hunger counts.
            with self._trouble():
                self._client.restart(timeout=PATIENCE)
            self._worn = False
        addresses = None
        if self._bereft and not self._in_flight:
            addresses, self._bereft = self._answering(), False
        self._count += 1
        name = f"dpipe-{self._count}-{self._run}"  # names of files stay out of dashboards
        # By name: a worker that cannot unpickle a function would close, and take others along.
        path = f"{function.__module__}:{function.__qualname__}"
        how = {"key": name, "pure": False, "retries": 0, "workers": addresses}
        with self._trouble():
            future = self._client.submit(attempt, path, args, **how)
        self._in_flight[name] = (key, future)
        future.add_done_callback(self._done.put)

    def _answering(self) -> list[str] | None:
        """Return the workers that answer; None if nobody does for a minute.

        When several die at once, the scheduler hears of one after the other. What is tried alone
        then must not meet one that is dead already, and be blamed for it.
        """
        deadline = time.monotonic() + min(PATIENCE, self._stall)
        with self._trouble():
            while time.monotonic() < deadline:
                if addresses := list(self._client.run(os.getpid, on_error="ignore")):
                    return addresses
                time.sleep(0.1)
        return None

    @override
    def in_flight(self) -> int:
        return len(self._in_flight)

    @override
    def next(self) -> Finished:
        if not self._in_flight:
            raise LookupError("nothing is in flight")
        deadline = time.monotonic() + self._stall
        with self._trouble():
            future = self._next_done(deadline)
            while future.key not in self._in_flight:  # it was cancelled
                future = self._next_done(deadline)
            key, _ = self._in_flight[future.key]
            finished = self._settled(key, future)
        del self._in_flight[future.key]
        future.release()
        died = isinstance(finished.error, MemoryError) and not finished.killed
        self._worn = self._worn or (self._own and died)
        self._bereft = self._bereft or finished.killed
        if time.monotonic() > self._looked + 10:  # workers come and go
            with self._trouble():
                self._look()
        return finished

    def _next_done(self, deadline: float) -> Future:
        try:
            return self._done.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            raise TimeoutError from None

    def _settled(self, key: str, future: Future) -> Finished:
        try:
            outcome: Outcome = future.result(timeout=self._stall)
        except KilledWorker:
            text = "its process died: too little memory, or a crash in a library"
            return Finished(key, error=MemoryError(text), killed=True)
        return Finished(key, outcome.value, outcome.error)

    @contextmanager
    def _trouble(self) -> Iterator[None]:
        """Turn trouble with the workers into one line, which says that nothing is lost."""
        try:
            yield
        except TimeoutError:
            first = next((key for key, _ in self._in_flight.values()), "none")
            raise StalledError(
                f"{self.label}: nothing was finished for {self._stall:g} s; in flight: "
                f"{len(self._in_flight)}, the first {first}; look at the workers, then run the "
                "same command again"
            ) from None
        except (NoWorkerError, NoValidWorkerError):
            raise StalledError(
                f"{self.label}: no workers are left; run the same command again"
            ) from None
        except (CancelledError, ClosedClientError, OSError, RuntimeError):
            # what a task raised has come back as a value: this is the connection's own
            raise StoreError(
                f"{self.label}: the scheduler is lost; run the same command again"
            ) from None

    @override
    def cancel(self) -> None:
        for _, future in self._in_flight.values():
            future.release()  # a message that wants no answer: a lost scheduler cannot hang it
        self._in_flight.clear()


def welcome(client: Client, label: str, seconds: float) -> None:
    """Wait for the first worker, and see that everybody runs the same software."""
    try:
        client.wait_for_workers(1, timeout=seconds)
        versions = client.get_versions(packages=_PACKAGES)
    except OSError as error:
        raise StoreError(f"{label}: no worker came up in {seconds:g} s; start some") from error
    here = versions["client"]["packages"]
    for place, software in [("the scheduler", versions["scheduler"]), *versions["workers"].items()]:
        for name, version in here.items():
            if software["packages"].get(name) != version:
                raise UsageError(
                    f"{label}: {name} is {version} here and {software['packages'].get(name)} on "
                    f"{place}; install the same versions everywhere"
                )


def short(error: BaseException) -> str:
    """Return the kind of an error and the first line of its text."""
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
