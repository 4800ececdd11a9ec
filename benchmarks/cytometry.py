"""Imaging flow cytometry: the families of `cell-features` against scikit-image, picture by picture.

``python benchmarks/cytometry.py`` prints a table of ratios; ``--quick`` takes a few small pictures.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from _flow_pictures import Picture, draw, pack
from _nine_families import NINE, measure
from _side_by_side import Line, by_turns, line, machine, table, versions

from dpipe.operators import _cell_pictures as kernels

ALONE = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
PACKAGES = "dpipe numba numpy scipy scikit-image".split()
OFTEN = 20


@dataclass(frozen=True)
class Size:
    """Pictures that both sides measure, of a block that only dpipe does; their side; turns."""

    pictures: int
    block: int
    side: int
    turns: int


FULL = Size(8, 512, 105, 5)
QUICK = Size(2, 4, 40, 1)


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


def lines(size: Size) -> list[Line]:
    """Measure all; both sides were compared before."""
    pictures = draw(size.pictures, side=size.side)
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


def main() -> None:
    """Print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few small pictures")
    size = QUICK if parser.parse_args().quick else FULL
    if os.environ.keys().isdisjoint(ALONE):  # a core against a core: no threads that only spin
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | ALONE)
    if size != QUICK:
        print(f"{machine()}; load {os.getloadavg()[0]:.1f} when it began. {versions(PACKAGES)}.\n")
    print(table(lines(size)))


if __name__ == "__main__":
    main()
