"""Sides measured by turns in one process, and the table of their ratios."""

import gc
import os
import platform
import shutil
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

NOT_RUN = "not run"
Work = Callable[[], Any]


class Line(NamedTuple):
    """One line of the table; `target` and `met` are empty where nothing was aimed at."""

    measured: str
    against: str
    found: str
    target: str = ""
    met: str = ""


def line(
    measured: str,
    against: str,
    found: float | None,
    unit: str,
    *,
    least: float = 0,
    most: float = 0,
) -> Line:
    """Make a line of a number that should be at least, or at most, something; None: not run."""
    target = f"at least {least:g}" if least else f"at most {most:g}" if most else ""
    if found is None:
        return Line(measured, against, NOT_RUN, target)
    met = found >= least if least else found <= most
    return Line(measured, against, f"{found:.3g}{unit}", target, target and ("no", "yes")[met])


def by_turns(
    sides: Mapping[str, Work], repeats: int, after: Work = lambda: None
) -> dict[str, float]:
    """Measure sides by turns: the median of each in seconds of processor time, all threads.

    One turn before does not count; `after` is called after each side, outside the clock. What
    was there before is hidden from Python's garbage collection, which else weighs on all sides.
    """
    turns: list[dict[str, float]] = []
    for _ in range(1 + repeats):
        gc.collect()
        gc.freeze()
        turns.append({})
        for name, work in sides.items():
            began = time.process_time()
            work()
            turns[-1][name] = time.process_time() - began
            after()
    return {name: statistics.median(turn[name] for turn in turns[1:]) for name in sides}


def table(lines: Iterable[Line]) -> str:
    """Return lines as Markdown."""
    rows = [Line._fields, ["---"] * len(Line._fields), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def memory_folder() -> Path | None:
    """Return a folder in memory, so that no disk is measured; None without room for 4 GiB there."""
    found = Path("/dev/shm")
    return found if found.is_dir() and shutil.disk_usage(found).free > 4 << 30 else None


def machine() -> str:
    """Say what this machine is, without its name."""
    known = Path("/proc/cpuinfo")
    said = known.read_text().splitlines() if known.exists() else []
    models = [row.partition(":")[2].strip() for row in said if row.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 30
    model = (models or [platform.machine()])[0]
    return f"{os.cpu_count()} cores of {model}, {memory} GiB, {platform.system()}"


def versions(names: Iterable[str]) -> str:
    """Return the versions of packages; those that are not there say so."""

    def one(name: str) -> str:
        try:
            return f"{name} {version(name)}"
        except PackageNotFoundError:
            return f"{name} {NOT_RUN}"

    return ", ".join([f"Python {platform.python_version()}", *map(one, names)])
