"""Imaging flow cytometry: features against scikit-image, packing, from store to store.

``python benchmarks/cytometry.py`` writes its section of RESULTS.md beside it; ``--quick`` takes a
few small pictures and only prints. Needs the extra ``bench``.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import _packing
import _whole_way
import numcodecs.blosc
import numpy as np
from _flow_pictures import Picture, draw, pack
from _nine_families import NINE, measure
from _results import write
from _side_by_side import Line, by_turns, line, machine, memory_folder, table, versions
from _worker import ENVIRONMENT

from dpipe.operators.cell_features.cpu import measure as kernels

PACKAGES = "dpipe numba numpy scipy scikit-image h5py zarr numcodecs".split()
OFTEN = 20


@dataclass(frozen=True)
class Size:
    """Pictures that both sides measure, of a block, in a store, in files; their side; turns."""

    pictures: int
    block: int
    stored: int
    files: int
    side: int
    turns: int


FULL = Size(8, 512, 2048, 4096, 105, 5)
QUICK = Size(2, 4, 24, 64, 40, 1)


def ours(pictures: Sequence[Picture], families: Sequence[str] = NINE) -> np.ndarray:
    """Measure packed pictures; packing them is what a reader does."""
    return kernels.measure(*pack(list(pictures)), channels=8, families=families)


def compare(pictures: Sequence[Picture], families: Sequence[str]) -> None:
    """Make sure that both sides have the same numbers."""
    for found, picture in zip(ours(pictures, families), pictures, strict=True):
        expected = np.array(list(measure(*picture, families).values()))
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


def hot(pictures: Sequence[Picture], families: Sequence[str], turns: int) -> float:
    """Return how many times as fast dpipe is, each side on the same pictures, caches warm."""
    packed = pack(list(pictures))
    run = partial(kernels.measure, *packed, channels=8, families=families)
    sides = {
        "peer": lambda: [measure(*picture, families) for picture in pictures],
        "dpipe": lambda: [run() for _ in range(OFTEN)],
    }
    took = by_turns(sides, turns)
    return OFTEN * took["peer"] / took["dpipe"]


def interleaved(pictures: Sequence[Picture], turns: int) -> float:
    """Return the same where one picture of the one side follows one of the other."""
    packed = [pack([picture]) for picture in pictures]
    ratios = []
    for turn in range(1 + turns):
        spent = [0.0, 0.0]
        for picture, one in zip(pictures, packed, strict=True):
            began = time.process_time()
            measure(*picture)
            between = time.process_time()
            kernels.measure(*one, channels=8, families=NINE)
            spent[0] += between - began
            spent[1] += time.process_time() - between
        if turn:
            ratios.append(spent[0] / spent[1])
    return statistics.median(ratios)


def whole_block(pictures: Sequence[Picture], size: Size) -> float:
    """Return the time of a picture in a block over that of one in a batch of few, caches warm."""
    many = [pictures[i % len(pictures)] for i in range(size.block)]
    few, block = pack(list(pictures)), pack(many)
    run = partial(kernels.measure, channels=8, families=NINE)
    often = max(1, size.block // len(pictures))
    sides = {"few": lambda: [run(*few) for _ in range(often)], "block": lambda: run(*block)}
    took = by_turns(sides, size.turns)
    return took["block"] / took["few"] * often * len(pictures) / size.block


def features(pictures: Sequence[Picture], size: Size) -> list[Line]:
    """Measure the kernels alone; both sides are compared before."""
    peer, what = "scikit-image and SciPy, a picture at a time", "nine families, 8 channels"
    compare(pictures, (*NINE, "hog"))
    made = [
        line(f"{what}, caches warm", peer, hot(pictures, NINE, size.turns), " x as fast", least=80),
        line(f"{what}, by turns", peer, interleaved(pictures, size.turns), " x as fast", least=60),
    ]
    for family in (*NINE, "hog"):
        ratio = hot(pictures, (family,), max(1, size.turns // 2))
        made.append(line(f"`{family}` alone", peer, ratio, " x as fast"))
    what = f"{what}, a picture of a block of {size.block}"
    made.append(line(what, f"one of {size.pictures}", whole_block(pictures, size), " of its time"))
    return made


def report(lines: Sequence[Line], size: Size, load: float) -> str:
    """Return the section of RESULTS.md."""
    return f"""{datetime.now(UTC):%Y-%m-%d}, {machine()}; load {load} when it began.
{versions(PACKAGES)}.

{table(lines)}

- Pictures of 8 channels, uint16 of 12 bits, about {size.side} x {size.side}, each of its own size,
  with rough masks of a fifth of them; {size.pictures} that both sides measure, again and again
  {size.stored:,} in the store; {size.files:,} files to be packed. All files are in memory, if it
  has room for them, so that no disk is measured.
- Ratios are of processor time of one process, all its threads together, medians of
  {size.turns // 2} turns or more; memory and threads as dpipe's workers have them, for all sides.
- Compared, and equal within 1e-6: all features of both sides, from the kernels and from the store.
- A whole run is plan, digests, syncs, seal and version too, and writes every feature; the peer
  reads nothing and writes nothing.
- Memory: peak resident set of a spawned worker less the resident set before its first task; what
  is compiled is in its cache.
"""


def main() -> None:
    """Measure, print, and write RESULTS.md unless it is the quick way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few small pictures; writes nothing")
    size = QUICK if parser.parse_args().quick else FULL
    if not ENVIRONMENT.items() <= os.environ.items():  # a core against a core
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | ENVIRONMENT)
    numcodecs.blosc.use_threads = False  # as in dpipe's workers: one thread
    load = round(os.getloadavg()[0], 1)
    pictures = draw(size.pictures, side=size.side)
    lines = features(pictures, size)
    with tempfile.TemporaryDirectory(prefix="dpipe-", dir=memory_folder()) as folder:
        room, turns = Path(folder), max(1, size.turns // 2)
        lines += _whole_way.lines(pictures, room, count=size.stored, turns=size.turns)
        lines += _packing.lines(room / "packing", size.files, turns)
    print(table(lines))
    if size is FULL:
        write("Pictures of cells", report(lines, size, load))


if __name__ == "__main__":
    main()
