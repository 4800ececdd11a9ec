"""Workers that are processes of this machine, one thread each."""

import asyncio
import logging
import signal
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing import resource_tracker
from typing import Any
from urllib.parse import SplitResult

import dask.config
from distributed import Client, LocalCluster, Security

from dpipe.config import Settings
from dpipe.errors import StoreError
from dpipe.workers.address import count
from dpipe.workers.dask import PATIENCE, DaskWorkers, short
from dpipe.workers.protocol import Workers
from dpipe.workers.tasks import limit_memory

_LEAST_PATIENCE = 5.0  # workers show one every half second, but a machine may be busy

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
def opened(settings: Settings, url: SplitResult) -> Iterator[Workers]:
    """Start processes here, one thread each, that only this machine can reach."""
    patience = f"{max(_LEAST_PATIENCE, min(PATIENCE, settings.stall_seconds / 3))}s"
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
            death_timeout=5 * PATIENCE,  # a first start compiles all that it imports
            preload=["dpipe"],  # imported later, it would keep the heart from beating for seconds
        )
        cluster = _deaf(start)
        try:
            with Client(cluster, set_as_default=False, timeout=PATIENCE) as client:
                limit = settings.memory if settings.device == "cpu" else 0
                client.register_worker_callbacks(partial(limit_memory, limit))
                noun = "process" if count(url) == 1 else "processes"
                yield DaskWorkers(client, f"{count(url)} {noun} here", settings, own=True)
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
            raise StoreError(f"no processes could be started here: {short(error)}") from error
        except KeyboardInterrupt:
            with suppress(Exception):
                starting.result().close()
            raise


async def _end(nannies: list[Any]) -> None:
    await asyncio.gather(*(nanny.close(timeout=1) for nanny in nannies))
