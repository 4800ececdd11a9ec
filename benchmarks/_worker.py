"""A worker process that makes a part, and how much memory it takes above the same one idle."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dpipe.build import PartSpec, base_of, parts
from dpipe.config import Settings
from dpipe.workers import Workers, connect, processes

ENVIRONMENT = {
    key: str(value)
    for key, value in processes._LOCAL["distributed.nanny.pre-spawn-environ"].items()
}
"""Memory and threads as dpipe's workers have them."""


def asked(workers: Workers, function: Callable[..., Any], *args: Any) -> Any:
    """Run one task and return what it gave."""
    workers.submit("task", function, *args)
    done = workers.next()
    if done.error is not None:
        raise done.error
    return done.value


def resident(key: str) -> float:
    """Return MB of this process: VmRSS, now, or VmHWM, the peak."""
    said = Path("/proc/self/status").read_text()
    return int(re.findall(rf"{key}:\s+(\d+) kB", said)[0]) * 1024 / 1e6


def above_idle(
    url: str, dataset: str, stem: str, made: PartSpec, options: Mapping[str, Any] | None = None
) -> float | None:
    """Make a part on a worker; return MB of its peak above what it had before its first task."""
    if not Path("/proc/self/status").exists():
        return None
    base = base_of(dataset, stem, made.fingerprint)
    with connect(Settings(workers="1")) as workers:
        idle = asked(workers, resident, "VmRSS")
        begun = asked(workers, parts.init, url, base, made.to_dict(), options)
        for index in range(begun["partitions"]):
            asked(workers, parts.partition, url, base, index)
        asked(workers, parts.finish, url, base)
        return asked(workers, resident, "VmHWM") - idle
