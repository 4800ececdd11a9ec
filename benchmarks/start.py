"""The quick door: what it costs to start dpipe, against the imports that nobody can do without.

``python benchmarks/start.py`` starts each command in a process of its own, by turns with
``python -c "import ..."``, prints ratios of processor time and writes them to its section of
RESULTS.md; ``--quick`` takes few turns and only prints. All bytecode is there before the first.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from _results import write
from _side_by_side import Line, line, machine, table, versions

from dpipe.formats.imaris_writer import write_imaris

PYTHON = [sys.executable, "-c"]
DPIPE = [sys.executable, "-m", "dpipe"]
WORKER = (
    "import dpipe.build.parts, dpipe.workers.tasks, distributed.nanny, distributed.worker; "
    "import dpipe; dpipe.open_imaris, dpipe.frame_quality"
)
"""What a worker has imported once it made its first part of frame-quality."""


def seconds(command: Sequence[str], folder: Path) -> float:
    """Return the processor time of a process and of all that it started, user and system."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr[-2000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def medians(
    commands: Mapping[str, Sequence[str]], turns: int, folder: Path
) -> dict[str, list[float]]:
    """Start each command by turns; one turn before does not count."""
    found: dict[str, list[float]] = {name: [] for name in commands}
    for turn in range(turns + 1):
        for name, command in commands.items():
            spent = seconds(command, folder)
            if turn:
                found[name].append(spent)
    return found


def study(folder: Path) -> None:
    """Write a movie, and make a store of it."""
    pixels = np.arange(2 * 1 * 2 * 16 * 16, dtype="u2").reshape(2, 1, 2, 16, 16)
    write_imaris(folder / "Neu1.ims", pixels, levels=1, chunks=(2, 16, 16))
    seconds(MADE, folder)


STORE = ["--store", "store"]
MADE = [*DPIPE, "make", "leuko", "--reader", "imaris", "--source", "Neu1.ims", *STORE]
MADE += ["--workers", "0", "--quiet"]
SIDES = (
    ("dpipe --help", [*DPIPE, "--help"], "import click", 2.0),
    ("import dpipe", [*PYTHON, "import dpipe"], "import numpy", 1.5),
    ("dpipe ls", [*DPIPE, "ls", *STORE], "import zarr, fsspec", 1.3),
    ("dpipe show", [*DPIPE, "show", "leuko", *STORE], "import zarr, fsspec", 1.3),
    ("dpipe make, nothing to do", MADE, "import xarray, zarr", 1.3),
    ("a worker's imports", [*PYTHON, WORKER], "import xarray, zarr, distributed", 0.0),
)
"""What is measured, its command, what it is held against, and how often at most."""


def main() -> None:
    """Measure everything and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few turns; prints only")
    quick = parser.parse_args().quick
    turns, load = 2 if quick else 15, os.getloadavg()[0]
    commands = {name: command for name, command, _, _ in SIDES}
    commands |= {peer: [*PYTHON, peer] for _, _, peer, _ in SIDES}
    with tempfile.TemporaryDirectory() as folder:
        study(Path(folder))
        found = medians(commands, turns, Path(folder))
    lines: list[Line] = []
    for name, _, peer, most in SIDES:
        ours, theirs = statistics.median(found[name]), statistics.median(found[peer])
        lines.append(line(name, f"`{peer}`", ours / theirs, " of its time", most=most))
    print(table(lines))
    if not quick:
        write(
            "Start",
            f"{machine()}; load {load:.1f} when it began.\n"
            f"{versions(['dpipe', 'click', 'numpy', 'xarray', 'zarr', 'distributed'])}.\n\n"
            f"{table(lines)}\n\n"
            f"- Ratios are of processor time, the median of {turns} processes each, by turns,\n"
            "  after one that does not count; both sides start the interpreter.\n",
        )


if __name__ == "__main__":
    main()
