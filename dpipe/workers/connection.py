"""Where tasks run: this process, processes here, a Dask scheduler, or dask-gateway.

`connect` gives `Workers`: tasks go in by ``submit`` and come back by ``next``, whatever runs them,
and whatever a task raises comes back as a value. What is wrong with the workers themselves ends in
one error, in bounded time. Who tries a task again is the caller.

Each kind of worker stands in a file of its own, which is imported, and Dask with it, when it is
asked for.
"""

import importlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from dpipe.config import Settings
from dpipe.workers.address import parse
from dpipe.workers.protocol import Workers
from dpipe.workers.serial import Here

_OPENERS = {"local": "processes", "tcp": "scheduler", "tls": "scheduler", "gateway": "gateway"}
"""Which file opens workers of a scheme."""


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
    opener = importlib.import_module(f"dpipe.workers.{_OPENERS[url.scheme]}")
    with _quiet(), opener.opened(settings, url) as workers:
        try:
            yield workers
        finally:
            workers.cancel()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Dask's log off the terminal: what matters arrives as an error."""
    handlers = [h for name in ("distributed", "tornado") for h in logging.getLogger(name).handlers]
    levels = [handler.level for handler in handlers]
    for handler in handlers:
        handler.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for handler, level in zip(handlers, levels, strict=True):
            handler.setLevel(level)
