"""Features from store to store: speed, tasks, their overhead, and the memory of a worker."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from _flow_pictures import Picture
from _nine_families import measure
from _side_by_side import Line, by_turns, line
from _worker import above_idle, asked

import dpipe
from dpipe import operators
from dpipe.build import Recipe, operator_step, part_layout, plan, reader_step
from dpipe.compute import source_bytes
from dpipe.config import Settings
from dpipe.readers.ifc import collection
from dpipe.sources import Item
from dpipe.storage import open_objects
from dpipe.workers import connect

ALL, FOLDERS = 2_899_575, 53
"""Pictures of the synapse collection, and the folders they lie in."""
SAMPLE = "Experiment_1/Donor_1/+SEA"


class Store:
    """A store with packed pictures, the same few again and again."""

    def __init__(self, pictures: Sequence[Picture], count: int, room: Path) -> None:
        self.pictures, self.count = pictures, count
        self.url, self.made = str(room / "store"), 0
        self.files = room / "pictures" / SAMPLE
        self.files.mkdir(parents=True)
        for n in range(count):
            image, mask = pictures[n % len(pictures)]
            with h5py.File(self.files / f"cell_{n}.h5", "w") as file:
                file["image"], file["mask"] = image, mask
        cells = reader_step("cells", "ifc", [str(room / "pictures")])
        dpipe.run_recipe(Recipe.of(cells), self.url, workers="0", progress=False)

    def recipe(self) -> Recipe:
        """Return one that makes the features under a name of its own."""
        self.made += 1
        return Recipe.of(operator_step(f"features-{self.made}", "cell-features", ["cells"]))

    def features(self) -> str:
        """Do a whole run in this process: plan, digests, syncs, seal and version among it."""
        dpipe.run_recipe(self.recipe(), self.url, workers="0", progress=False)
        return f"features-{self.made}"


def tasks(some: Sequence[Item]) -> dict[str, int]:
    """Return how many tasks a run of all pictures is, by step, from the grids it would have."""
    facts = collection._survey(some, None)
    count = -(-ALL // FOLDERS)
    names = [f"{SAMPLE}/cell_{n}.h5" for n in range(count)]
    items = [Item(f"/raw/{name}", name, 1, "0") for name in names]
    found = [facts[n % len(facts)] for n in range(count)]
    levels = "experiment,donor,condition"
    cells = collection._collection(
        items, found, levels=levels, channels=None, block=0, threshold=None
    )
    features = dpipe.cell_features(cells)
    free = operators.resolve("cell-features").free
    size = {"partition_bytes": Settings().partition_bytes}
    grids = {
        "ifc": part_layout.lay_out(cells, "parts/a/a-0", **size),
        "cell-features": part_layout.lay_out(
            features, "parts/b/b-0", free=free, input_bytes=source_bytes(cells), **size
        ),
    }
    return {name: FOLDERS * (laid.grid.partitions + 2) for name, laid in grids.items()}


def overhead(count: int) -> float:
    """Return seconds of processor time of client, scheduler and worker for a task of nothing."""
    spent = []
    with connect(Settings(workers="1")) as workers:
        for turn in range(2):  # the first does not count
            began = time.process_time() + asked(workers, time.process_time)
            left = count
            while left or workers.in_flight():
                while left and workers.in_flight() < workers.capacity:
                    left -= 1
                    workers.submit(f"{turn}-{left}", _nothing, "store", "parts/cells/x-0", left)
                if workers.next().error:
                    raise RuntimeError("a task of nothing failed")
            spent.append(time.process_time() + asked(workers, time.process_time) - began)
    return spent[-1] / count


def _nothing(url: str, base: str, index: int) -> dict[str, Any]:
    return {"seconds": 0.0, "bytes": 0}


def memory(store: Store) -> float | None:
    """Return MB of a worker that makes features above one that is idle."""
    planner = plan.Planner(open_objects(store.url), Settings())
    (step,) = planner.recipe(store.recipe())
    (part,) = step.parts
    return above_idle(store.url, part.dataset, part.stem, part.origin, part.options)


def compare(store: Store, name: str) -> None:
    """Make sure that what the store holds is what the peer finds."""
    table = dpipe.open(store.url, name)
    assert table.sizes["record"] == store.count
    numbers = [int(text[5:-3]) for text in table["file"].values[: len(store.pictures)].tolist()]
    for found, n in zip(table.feature[: len(numbers)].values, numbers, strict=True):
        expected = np.array(list(measure(*store.pictures[n % len(store.pictures)]).values()))
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


def lines(pictures: Sequence[Picture], room: Path, *, count: int, turns: int) -> list[Line]:
    """Measure everything; `room` must be new."""
    store = Store(pictures, count, room)
    compare(store, store.features())
    sides = {
        "peer": lambda: [measure(*picture) for picture in pictures],
        "dpipe": store.features,
    }
    took = by_turns(sides, turns)
    each = took["dpipe"] / count
    ds = dpipe.open(store.url, "cells")
    block = ds.sizes["slot"]
    some = [Item(str(p), p.name, 1, "0") for p in sorted(store.files.iterdir())[:64]]
    counted = tasks(some)
    share = overhead(20 if count < 100 else 500) / (each * block)
    against = "scikit-image and SciPy, pictures in memory, nothing written"
    made = [
        line("Zarr to nine families to Zarr, a whole run", against,
             took["peer"] / len(pictures) / each, " x as fast", least=60),
        line("client, scheduler and worker for a task of nothing",
             f"a task of features, {block} pictures", 100 * share, " % of its time", most=2),
    ]  # fmt: skip
    of_all = f"{ALL:,} pictures in {FOLDERS} folders, by the plan's grid"
    for name, n in counted.items():
        said = line(f"tasks of `{name}`", of_all, n, "", most=6000)
        made.append(said._replace(found=f"{n:,}"))
    made.append(
        line("peak memory of a worker that makes features", "the same worker when idle",
             memory(store), " MB above", most=1000)
    )  # fmt: skip
    return made
