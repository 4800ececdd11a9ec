"""Where tasks run: this process, processes here, a Dask scheduler, or dask-gateway.

The only file that names distributed and dask-gateway. ``connect`` gives a ``Workers``: tasks go
in by ``submit`` and come back by ``next``, whatever runs them, and whatever a task raises comes
back as a value. What is wrong with the workers themselves ends in one error, in bounded time.

This module knows nothing of parts, stores or recipes; who tries a task again is its caller.
"""

import asyncio
import logging
import os
import queue
import signal
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult

import dask.config

from dpipe._address import count, parse, trusted
from dpipe._tasks import Finished, Here, Outcome, Workers, attempt, limit_memory
from dpipe.config import Settings
from dpipe.errors import StalledError, StoreError, UsageError

if TYPE_CHECKING:
    from distributed import Client, Future

_PATIENCE = 60.0  # seconds without a sign of life after which a worker is taken for dead
_LEAST_PATIENCE = 5.0  # workers show one every half second, but a machine may be busy
_GATEWAY_START = 600.0  # dask-gateway may have to buy machines first
_PACKAGES = ("dpipe", "zarr", "numcodecs", "xarray")  # compared besides those that Dask names
_CERTIFICATE = ("tls_ca_file", "tls_client_cert", "tls_client_key")

# With one task at a time on a worker only that one is blamed when the worker dies, and at once
# (allowed-failures 0): the caller tries it again alone. Results have a few hundred bytes: none is
# spilled, and nothing pauses a worker, which without spilling would be for ever.
# Dask has the C library give memory back at every chance: each block then costs thousands of page
# faults, and small kernels take three times as long. Here it keeps up to 64 MiB a process.
_LOCAL = {
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.worker-saturation": 1.0,
    "distributed.scheduler.http.routes": [],
    "distributed.deploy.lost-worker-timeout": "10 minutes",  # a slow start is no loss
    "distributed.worker.http.routes": [],
    "distributed.worker.profile.enabled": False,
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.multiprocessing-method": "spawn",
    "distributed.nanny.environ": {"NUMBA_NUM_THREADS": 1},
    "distributed.nanny.pre-spawn-environ": {
        "MALLOC_MMAP_THRESHOLD_": 32 << 20,
        "MALLOC_TRIM_THRESHOLD_": 64 << 20,
        "OMP_NUM_THREADS": 1,
        "MKL_NUM_THREADS": 1,
        "OPENBLAS_NUM_THREADS": 1,
    },
    # The result of a worker that died before it was fetched is asked for this long, at each try,
    # before the task is run again; nothing between processes of one machine is lost on the way.
    "distributed.comm.timeouts.connect": "10s",
    "distributed.comm.retry.count": 0,
}


@contextmanager
def connect(settings: Settings) -> Iterator[Workers]:
    """Open the workers that the settings name, and leave no process behind.

    Parameters
    ----------
    settings : Settings
        ``workers`` is ``"0"`` (this process), a number of processes on this machine,
        ``tcp://host:port`` or ``tls://host:port`` of a scheduler that runs already, or
        ``gateway://host:port/path?workers=4`` for a new cluster from dask-gateway
        (``gateway://?workers=4``: at the address that Dask's configuration names).

    Yields
    ------
    Workers
        At least one worker is there. Tasks not given back are dropped at the end.

    Raises
    ------
    UsageError
        An address that cannot be used, or other versions of the software there.
    StoreError
        Nobody answers at the address, or no worker came up.

    Examples
    --------
    >>> with connect(Settings(workers="0")) as workers:
    ...     workers.submit("a", max, 3, 4)
    ...     print(workers.next().value)
    4
    """
    url = parse(settings.workers)
    if url.scheme == "here":
        yield Here(settings.memory)
        return
    openers = {"local": _local, "tcp": _scheduler, "tls": _scheduler, "gateway": _gateway}
    with _quiet(), openers[url.scheme](settings, url) as workers:
        try:
            yield workers
        finally:
            workers.cancel()


class _There:
    """Tasks run on the workers of a Dask scheduler."""

    def __init__(self, client: "Client", label: str, settings: Settings, *, own: bool) -> None:
        self.label, self.capacity, self.memory = label, 0, settings.memory
        self._client, self._window, self._own = client, settings.window, own
        self._stall = settings.stall_seconds
        self._run = uuid.uuid4().hex[:8]  # two runs on one scheduler must not share keys
        self._count = 0
        self._flying: dict[str, tuple[str, Future]] = {}
        self._landed: queue.SimpleQueue[Future] = queue.SimpleQueue()
        self._worn = self._bereft = False
        self._look()

    def _look(self) -> None:
        """See how many threads there are, and how much memory each has."""
        workers = self._client.scheduler_info()["workers"].values()
        shares = [w["memory_limit"] // w["nthreads"] for w in workers if w["memory_limit"]]
        self.memory = min(shares, default=self.memory)
        self.capacity = self._window * max(1, sum(w["nthreads"] for w in workers))
        self._looked = time.monotonic()

    def submit(self, key: str, function: Callable[..., Any], *args: Any) -> None:
        if self._worn and not self._flying:
            # What ran out of memory may have left some of it taken: what is tried alone then
            # gets fresh processes, so that only its own hunger counts.
            with self._trouble():
                self._client.restart(timeout=_PATIENCE)
            self._worn = False
        there = None
        if self._bereft and not self._flying:
            there, self._bereft = self._answering(), False
        self._count += 1
        name = f"dpipe-{self._count}-{self._run}"  # names of files stay out of dashboards
        # By name: a worker that cannot unpickle a function would close, and take others along.
        path = f"{function.__module__}:{function.__qualname__}"
        how = {"key": name, "pure": False, "retries": 0, "workers": there}
        with self._trouble():
            future = self._client.submit(attempt, path, args, **how)
        self._flying[name] = (key, future)
        future.add_done_callback(self._landed.put)

    def _answering(self) -> list[str] | None:
        """Return the workers that answer; None if nobody does for a minute.

        When several die at once, the scheduler hears of one after the other. What is tried alone
        then must not meet one that is dead already, and be blamed for it.
        """
        deadline = time.monotonic() + min(_PATIENCE, self._stall)
        with self._trouble():
            while time.monotonic() < deadline:
                if there := list(self._client.run(os.getpid, on_error="ignore")):
                    return there
                time.sleep(0.1)
        return None

    def in_flight(self) -> int:
        return len(self._flying)

    def next(self) -> Finished:
        if not self._flying:
            raise LookupError("nothing is in flight")
        deadline = time.monotonic() + self._stall
        with self._trouble():
            future = self._landing(deadline)
            while future.key not in self._flying:  # it was cancelled
                future = self._landing(deadline)
            key, _ = self._flying[future.key]
            finished = self._settled(key, future)
        del self._flying[future.key]
        future.release()
        died = isinstance(finished.error, MemoryError) and not finished.killed
        self._worn = self._worn or (self._own and died)
        self._bereft = self._bereft or finished.killed
        if time.monotonic() > self._looked + 10:  # workers come and go
            with self._trouble():
                self._look()
        return finished

    def _landing(self, deadline: float) -> "Future":
        try:
            return self._landed.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            raise TimeoutError from None

    def _settled(self, key: str, future: "Future") -> Finished:
        from distributed import KilledWorker

        try:
            outcome: Outcome = future.result(timeout=self._stall)
        except KilledWorker:
            text = "its process died: too little memory, or a crash in a library"
            return Finished(key, error=MemoryError(text), killed=True)
        return Finished(key, outcome.value, outcome.error)

    @contextmanager
    def _trouble(self) -> Iterator[None]:
        """Say in one line what is wrong with the workers, and that nothing is lost."""
        from distributed import CancelledError
        from distributed.client import ClosedClientError
        from distributed.scheduler import NoValidWorkerError, NoWorkerError

        try:
            yield
        except TimeoutError:
            first = next((key for key, _ in self._flying.values()), "none")
            raise StalledError(
                f"{self.label}: nothing was finished for {self._stall:g} s; in flight: "
                f"{len(self._flying)}, the first {first}; look at the workers, then run the same "
                "command again"
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

    def cancel(self) -> None:
        for _, future in self._flying.values():
            future.release()  # a message that wants no answer: a lost scheduler cannot hang it
        self._flying.clear()


@contextmanager
def _local(settings: Settings, url: SplitResult) -> Iterator[Workers]:
    """Start processes here, one thread each, that only this machine can reach."""
    from distributed import Client, LocalCluster, Security

    patience = f"{max(_LEAST_PATIENCE, min(_PATIENCE, settings.stall_seconds / 3))}s"
    bounds = {f"distributed.scheduler.{k}": patience for k in ("no-workers-timeout", "worker-ttl")}
    with (
        tempfile.TemporaryDirectory(prefix="dpipe-", ignore_cleanup_errors=True) as folder,
        dask.config.set({**_LOCAL, **bounds}),
    ):
        start = partial(
            LocalCluster,
            n_workers=count(url),
            threads_per_worker=1,
            processes=True,
            protocol="tcp://",
            host="127.0.0.1",
            security=Security(require_encryption=False),
            dashboard_address=None,
            scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
            silence_logs=logging.CRITICAL,
            memory_limit=settings.memory or None,
            local_directory=folder,
            death_timeout=5 * _PATIENCE,  # a first start compiles all that it imports
            preload=["dpipe"],  # imported later, it would keep the heart from beating for seconds
        )
        cluster = _deaf(start)
        try:
            with Client(cluster, set_as_default=False, timeout=_PATIENCE) as client:
                limit = settings.memory if settings.device == "cpu" else 0
                client.register_worker_callbacks(partial(limit_memory, limit))
                noun = "process" if count(url) == 1 else "processes"
                yield _There(client, f"{count(url)} {noun} here", settings, own=True)
        finally:
            with suppress(TimeoutError):  # a busy process is not waited for
                cluster.sync(_end, list(cluster.workers.values()))
            cluster.close()


def _deaf(start: Callable[[], Any]) -> Any:
    """Start a cluster whose processes do not hear ^C, which is for the driver alone.

    A thread inherits which signals are blocked, and so do the processes that it starts; a driver
    that is stopped meanwhile waits for them, since they could not be ended otherwise.
    """
    resource_tracker.ensure_running()  # it unblocks ^C in the thread that starts it
    with ThreadPoolExecutor(1) as pool:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            starting = pool.submit(start)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        try:
            return starting.result()
        except Exception as error:
            raise StoreError(f"no processes could be started here: {_short(error)}") from error
        except KeyboardInterrupt:
            with suppress(Exception):
                starting.result().close()
            raise


async def _end(nannies: list[Any]) -> None:
    await asyncio.gather(*(nanny.close(timeout=1) for nanny in nannies))


@contextmanager
def _scheduler(settings: Settings, url: SplitResult) -> Iterator[Workers]:
    """Use a scheduler that others started."""
    from distributed import Client, Security
    from distributed.comm.core import FatalCommClosedError

    address, security = f"{url.scheme}://{url.netloc}", Security()
    if url.scheme == "tls" and not all(getattr(security, name) for name in _CERTIFICATE):
        raise UsageError(
            f"workers {address}: found no certificate; set DASK_DISTRIBUTED__COMM__TLS__CA_FILE, "
            "..__TLS__CLIENT__CERT and ..__TLS__CLIENT__KEY"
        )
    patience = min(30.0, settings.stall_seconds)
    with dask.config.set({"distributed.comm.retry.count": 3}):
        try:
            client = Client(address, security=security, timeout=patience, set_as_default=False)
        except FatalCommClosedError as error:
            raise UsageError(f"{address}: other certificates there: {_short(error)}") from error
        except OSError as error:
            raise StoreError(f"{address}: no scheduler can be reached: {_short(error)}") from error
        try:
            _welcome(client, address, min(_PATIENCE, settings.stall_seconds))
            yield _There(client, address, settings, own=False)
        finally:
            with suppress(TimeoutError):
                client.close(timeout=5)


def _welcome(client: "Client", label: str, seconds: float) -> None:
    """Wait for the first worker, and see that everybody runs the same software."""
    try:
        client.wait_for_workers(1, timeout=seconds)
        found = client.get_versions(packages=_PACKAGES)
    except OSError as error:
        raise StoreError(f"{label}: no worker came up in {seconds:g} s; start some") from error
    here = found["client"]["packages"]
    for place, there in [("the scheduler", found["scheduler"]), *found["workers"].items()]:
        for name, version in here.items():
            if there["packages"].get(name) != version:
                raise UsageError(
                    f"{label}: {name} is {version} here and {there['packages'].get(name)} on "
                    f"{place}; install the same versions everywhere"
                )


@contextmanager
def _gateway(settings: Settings, url: SplitResult) -> Iterator[Workers]:
    """Have dask-gateway make a cluster for this run, and end it afterwards."""
    try:
        from dask_gateway import GatewayCluster
    except ImportError as error:
        raise UsageError("gateway:// needs dask-gateway: pip install dpipe[hub]") from error
    from distributed.utils import LoopRunner

    scheme = "http" if trusted(url.hostname) else "https"
    address = f"{scheme}://{url.netloc}{url.path}" if url.netloc else None
    label, asked = address or "the gateway of Dask's configuration", count(url)
    threads = LoopRunner()  # never stopped: what is collected late still looks for its loop
    threads.start()
    try:
        cluster = GatewayCluster(address=address, loop=threads.loop, shutdown_on_close=True)
    except ValueError as error:
        raise UsageError(f"{label}: {_short(error)}; see gateway.yaml of Dask") from error
    except Exception as error:
        raise StoreError(f"{label}: no cluster was made: {_short(error)}") from error
    with cluster:
        cluster.scale(asked)
        with cluster.get_client(set_as_default=False) as client:
            _welcome(client, label, min(_GATEWAY_START, settings.stall_seconds))
            yield _There(client, f"cluster {cluster.name}", settings, own=False)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Dask's log off the terminal: what matters arrives as an error."""
    import distributed  # noqa: F401  it makes the handlers

    handlers = [h for name in ("distributed", "tornado") for h in logging.getLogger(name).handlers]
    levels = [handler.level for handler in handlers]
    for handler in handlers:
        handler.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for handler, level in zip(handlers, levels, strict=True):
            handler.setLevel(level)


def _short(error: BaseException) -> str:
    """Return the kind of an error and the first line of its text."""
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
