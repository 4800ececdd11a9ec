"""The whole recipe on many pictures: time, bytes and cost of each step, and of all 2,899,575.

``python benchmarks/scale.py --pictures 100000`` writes a tree of pictures in the true layout (27 GB
for 100,000), runs its recipe on two workers, prints a table and writes it to its section of
RESULTS.md; ``--quick`` takes a few small pictures and only prints. These are times of one machine,
not ratios: what else runs there counts too, so its load is named.
"""

import argparse
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from _results import write
from _side_by_side import machine

from dpipe.build import run
from dpipe.build.recipe import parse
from dpipe.config import Settings
from dpipe.demo.study import write_ifc_tree
from dpipe.storage import open_objects

ALL, FOLDER = 2_899_575, 54_709
"""Pictures of the synapse collection, and of one of its 53 folders."""
DRAWN = 500
RECIPE = """\
datasets:
  cells: {reader: ifc, source: tree}
  features: {operator: cell-features, input: cells}
  sums: {operator: feature-sums, input: features}
  statistics: {operator: feature-statistics, input: sums}
  clean: {operator: clean-features, input: {ds: features, statistics: statistics}}
"""


def write_tree(folder: Path, pictures: int, side: int) -> int:
    """Write pictures into as many folders as they would fill; return the bytes of all files.

    A few hundred are drawn for each folder, the others are copies under names of their own.
    """
    samples = [f"Experiment_1/Donor_{k + 1}/+SEA" for k in range(-(-pictures // FOLDER))]
    drawn = min(pictures, DRAWN * len(samples))
    write_ifc_tree(folder, drawn, samples=samples, mean_size=side)
    written = 0
    for k, sample in enumerate(samples):
        there = sorted((folder / sample).iterdir(), key=_number)
        wanted = len(range(k, pictures, len(samples)))
        stem = there[0].stem.rpartition("_")[0]
        sound = [path for path in there if _number(path) not in (3, 5)]
        for n in range(len(there), wanted):
            target = folder / sample / f"{stem}_{n}.h5"
            shutil.copyfile(sound[n % len(sound)], target)
        written += sum(entry.stat().st_size for entry in os.scandir(folder / sample))
    return written


def _number(path: Path) -> int:
    return int(path.stem.rpartition("_")[2])


def processor() -> float:
    """Return seconds of processor time of this process and of those that have ended below it."""
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in spent)


def rows(
    outcome: run.Outcome, pictures: int, workers: int, took: tuple[float, float, float]
) -> Iterator[Sequence[str]]:
    """Yield what each step took and would take for all pictures, and the sums.

    `took` are seconds of the run, of a second one, which only plans, and of processors.
    """
    seconds, planning, spent = took
    scale = ALL / pictures
    yield "step", "time", "in tasks", "pictures a second", "written", "of all", "core-hours of all"
    yield ("---",) * 7
    for step in outcome.steps:
        busy = step["task_seconds"] / step["seconds"] / workers
        yield (
            step["version"],
            f"{step['seconds']:.1f} s",
            f"{busy:.0%}",
            f"{pictures / step['seconds']:,.0f}",
            f"{step['bytes'] / 1e9:.2f} GB",
            f"{step['bytes'] * scale / 1e9:,.0f} GB",
            f"{step['seconds'] * workers * scale / 3600:.2f}",
        )
    steps = sum(step["seconds"] for step in outcome.steps)
    written = sum(step["bytes"] for step in outcome.steps)
    start = max(0.0, seconds - steps - planning)
    hours = ((steps + planning) * scale + start) * workers / 3600
    plan = planning * scale * workers / 3600
    yield "listing, planning", f"{planning:.1f} s", *[""] * 4, f"{plan:.2f}"
    yield "start of workers, once", f"{start:.1f} s", *[""] * 4, f"{start * workers / 3600:.2f}"
    total = f"{written / 1e9:.2f} GB", f"{written * scale / 1e9:,.0f} GB", f"{hours:.2f}"
    yield "all", f"{seconds:.1f} s", "", f"{pictures / seconds:,.0f}", *total
    share = f"{spent / seconds / workers:.0%}"
    yield "processor time", f"{spent:.1f} s", share, *[""] * 3, f"{spent * scale / 3600:.2f}"


def measure(room: Path, pictures: int, side: int, workers: int) -> str:
    """Write the tree, run the recipe twice, and return the section."""
    began, load = time.perf_counter(), os.getloadavg()[0]
    size = write_tree(room / "tree", pictures, side)
    drawn = time.perf_counter() - began
    objects, said = open_objects(room / "store"), parse(RECIPE, folder=room)
    settings = Settings(workers=str(workers))
    spent, began = processor(), time.perf_counter()
    outcome = run.run(said, objects, settings, progress=False)
    seconds, spent = time.perf_counter() - began, processor() - spent
    began = time.perf_counter()
    again = run.run(said, objects, settings, progress=False)
    nothing = time.perf_counter() - began
    aside = outcome.count("aside")
    assert outcome.exit_code == run.SOME_ASIDE
    assert aside == 1, "one file is corrupt"
    assert again.nothing
    found = rows(outcome, pictures, workers, (seconds, nothing, spent))
    body = "\n".join(f"| {' | '.join(row)} |" for row in found)
    folders = len(list((room / "tree").glob("*/*/*")))
    return f"""{datetime.now(UTC):%Y-%m-%d}, {machine()}; load {load:.1f} when it began.

{pictures:,} pictures of 8 channels of about {side} x {side} in {folders} folders of
{size / 1e9:.2f} GB, written in {drawn:.0f} s; {workers} workers. One file is corrupt and was put
aside. A second run had nothing to do, which took {nothing:.1f} s.

{body}

- "Of all" is {ALL:,} pictures, in proportion but for the start of the workers. Core-hours are
  time by workers, idle or not; the last line is what processors did, for all processes together.
"""


def main() -> None:
    """Write pictures, run, print, and write the section unless it is the quick way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", help="where there is room; by default the temporary folder")
    parser.add_argument("--quick", action="store_true", help="few small pictures; writes nothing")
    said = parser.parse_args()
    pictures, side = (240, 24) if said.quick else (said.pictures, 105)
    with tempfile.TemporaryDirectory(prefix="dpipe-", dir=said.folder) as room:
        text = measure(Path(room), pictures, side, said.workers)
    print(text)
    if not said.quick:
        write("Scale", text)


if __name__ == "__main__":
    main()
