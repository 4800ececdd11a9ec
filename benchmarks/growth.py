"""Growth: what plan, run, open, history, listing and commit cost a part, the more there are.

``python benchmarks/growth.py`` writes tiny movies, runs their recipe in this process into a folder,
prints processor time, requests and bytes a part and their exponent (1 is linear in all), and writes
them to its section of RESULTS.md; ``--quick`` takes few and only prints.
"""

import argparse
import gc
import hashlib
import math
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import dask.array as da
import numpy as np
import xarray as xr
from _requests import counted
from _results import write
from _side_by_side import Line, line, machine, memory_folder, table

import dpipe
from dpipe import catalog, schema
from dpipe.build import Recipe, operator_step, plan, reader_step, scheduler
from dpipe.build.recipe import Step
from dpipe.catalog import commits as catalog_commits
from dpipe.compute import compute, map_records
from dpipe.config import Settings
from dpipe.formats.imaris_writer import write_imaris
from dpipe.storage import open_objects
from dpipe.workers import connect


class Size(NamedTuple):
    """How much is measured."""

    parts: tuple[int, ...] = (10, 100, 1000, 10_000)
    squares: int = 16_000
    refs: int = 100_000
    versions: int = 500
    datasets: int = 200
    records: int = 100_000


QUICK = Size((4, 20), 200, 1000, 20, 8, 4000)
MOST = {"plan": 8.0, "run": 45.0, "open": 3.0, "again": 0.3}
"""Milliseconds of processor time a part."""
ASKED = {
    "plan": ("requests of a plan", 1.1),
    "run": ("requests of a run beyond the Zarr groups", 12),
    "group": ("requests for the Zarr groups: documents, coordinates, pixels", 16),
    "open": ("requests of an open", 1.1),
    "again": ("requests of a second run", 0.1),
    "beside": ("bytes beside pixels and coordinates", 0),
}
"""What is asked of a store, and how often at most a part."""


def seconds(work: Callable[[], Any]) -> float:
    """Return the processor time of some work."""
    began = time.process_time()
    work()
    return time.process_time() - began


def exponent(costs: dict[int, float]) -> float:
    """Return the power of their number by which costs of all grow, between the two largest."""
    (few, least), (many, most) = sorted(costs.items())[-2:]
    return math.log(most / least) / math.log(many / few) if least > 0 < most else 0.0


# --- parts ------------------------------------------------------------------------------------


def movies(folder: Path, count: int) -> Path:
    """Write as many tiny movies."""
    folder.mkdir()
    luck = np.random.default_rng(0)
    for i in range(count):
        values = luck.integers(0, 99, (2, 1, 2, 16, 16)).astype("u2")
        write_imaris(folder / f"m{i:05d}.ims", values, levels=1, chunks=(2, 16, 16))
    return folder


def parts(room: Path, sizes: Sequence[int]) -> list[Line]:
    """Measure plan, run, open and a second run of more and more movies."""
    costs: dict[str, dict[int, float]] = {name: {} for name in MOST}
    asked: dict[str, dict[int, float]] = {name: {} for name in ASKED}
    for count in sizes:
        raw, url = movies(room / f"raw{count}", count), str(room / f"store{count}")
        catalog.open_store(url, create=True)
        for name, work in _work(raw, url).items():
            with counted(url) as requests:
                costs[name][count] = seconds(work)
            group = sum(".zarr/" in key for _, key in requests.keys)
            asked[name][count] = sum(requests.counts.values()) - group
            if name == "run":
                asked["group"][count] = group
        asked["beside"][count] = sum(e.size for e in open_objects(url).list() if "/c/" not in e.key)
        shutil.rmtree(url)
        shutil.rmtree(raw)
    last = max(sizes)
    lines = []
    for name, most in MOST.items():
        each = ", ".join(f"{n:,}: {1000 * cost / n:.3g}" for n, cost in costs[name].items())
        found = 1000 * costs[name][last] / last
        lines.append(line(f"{name}, {last:,} parts", f"ms a part; {each}", found, " ms", most=most))
        lines.append(line(f"{name}", "exponent", exponent(costs[name]), "", most=1.15))
    for name, (what, most) in ASKED.items():
        each = ", ".join(f"{n:,}: {count / n:.4g}" for n, count in asked[name].items())
        found = asked[name][last] / last
        lines.append(line(f"{what}, {last:,} parts", f"a part; {each}", found, "", most=most))
    return lines


def _work(raw: Path, url: str) -> dict[str, Callable[[], Any]]:
    recipe = Recipe.of(reader_step("leuko", "imaris", [str(raw)]))
    settings = Settings(workers="0")

    def run() -> Any:
        return dpipe.run_recipe(recipe, url, progress=False, workers="0")

    return {
        "plan": lambda: plan.Planner(open_objects(url), settings).recipe(recipe),
        "run": run,
        "open": lambda: dpipe.open(url, "leuko"),
        "again": run,
    }


# --- what was quadratic -----------------------------------------------------------------------


def _ref(i: int, name: str = "m") -> catalog.PartRef:
    digest = hashlib.sha256(str(i).encode()).hexdigest()
    summary = {"variables": ["image"], "sizes": {"t": 2, "c": 1, "z": 2, "y": 16, "x": 16}}
    summary |= {"dtype": "uint16", "levels": 1, "bytes": 2048}
    base = f"parts/{name}/m{i:06d}-{digest[:12]}"
    return catalog.PartRef(f"m{i:06d}", digest[:12], base, digest, summary)


class _Instant:
    """Workers that are done at once, with a part that is sealed or that cannot be made."""

    def __init__(self, workers: Any) -> None:
        self.capacity, self._waiting, self._workers = 4, [], workers

    def submit(self, key: str, function: Any, *args: Any) -> None:
        self._waiting.append(key)

    def next(self) -> Any:
        from dpipe.errors import InputError
        from dpipe.workers import Finished

        return Finished(self._waiting.pop(), None, InputError("cut off"), killed=False)


def squares(room: Path, count: int) -> list[Line]:
    """Measure the four searches that were a square of the parts."""
    objects = catalog.open_store(str(room / "squares"), create=True)
    refs = [_ref(i) for i in range(count)]
    fields = {"parts": tuple(refs), "message": "m"}
    version = catalog.add(objects, "m", None, fields, author="a", identity="0" * 32, number=1)
    planner = plan.Planner(objects, Settings(workers="0"))
    reader, stems = reader_step("m", "imaris", ["raw"]), {ref.stem for ref in refs}
    step: Step = operator_step("quality", "frame-quality", "m")
    jobs = [
        scheduler.Job(plan.PartPlan("m", ref.stem, ref.base, _origin(), "make", "new"))
        for ref in refs
    ]
    how = {"who": {}, "retries": 0, "record": lambda *_: None, "progress": False}
    with connect(Settings(workers="0")) as workers:
        driven = scheduler.Scheduler("m", objects.url, _Instant(workers), **how)  # type: ignore[arg-type]
        work = {
            "parts that leave": lambda: planner._leaving(reader, version, stems),
            "inputs of parts": lambda: list(planner._operands(step, {"m": refs})),
            "parts put aside": lambda: driven.make(jobs),
            "parts by their stems": lambda: [version.part(stem) for stem in stems],
        }
        return [
            line(f"{name}, {count:,} parts", "seconds", seconds(one), " s", most=0.5)
            for name, one in work.items()
        ]


def _origin() -> Any:
    from dpipe.build.part_spec import PartSpec

    return PartSpec("reader", "imaris", 1)


# --- versions and datasets --------------------------------------------------------------------


def commits(room: Path, count: int, looks: list[int]) -> list[Line]:
    """Measure a commit of one part more to many; `looks` holds how many seals each looked at."""
    objects = catalog.open_store(str(room / "commits"), create=True)
    refs = tuple(_ref(i) for i in range(count))
    first = {"parts": refs[:-1], "message": "first"}
    catalog.add(objects, "m", None, first, author="a", identity="0" * 32, number=1)

    def commit() -> None:
        parent = catalog.newest(objects, "m")
        assert parent is not None
        fields = {"parts": (*parent.parts, refs[-1]), "message": "second"}
        catalog.add(objects, "m", parent, fields, author="a", identity="1" * 32, number=2)

    began = len(looks)
    took = seconds(commit)
    with counted(objects.url) as asked:
        catalog.newest(objects, "m")
    return [
        line(f"one part more than {count:,}", "seconds to commit", took, " s", most=1),
        line(f"one part more than {count:,}", "seals looked at", sum(looks[began:]), ""),
        line(
            f"the newest of {count:,} parts",
            "requests, no part asked for",
            sum(asked.counts.values()),
            "",
        ),
    ]


def histories(room: Path, versions: int, datasets: int) -> list[Line]:
    """Measure history and listing: time, and requests that wait for another."""
    objects = catalog.open_store(str(room / "histories"), create=True)
    refs, parent = [_ref(0)], None
    for number in range(1, versions + 1):
        fields = {"parts": tuple(refs), "message": str(number)}
        identity = f"{number:032x}"
        parent = catalog.add(
            objects, "m", parent, fields, author="a", identity=identity, number=number
        )
    for k in range(datasets):
        fields = {"parts": (_ref(0, f"d{k}"),), "message": "m"}
        catalog.add(objects, f"d{k}", None, fields, author="a", identity=f"{k:032x}", number=1)
    lines = []
    for name, many, work in (
        ("history", versions, lambda: catalog.history(objects, "m")),
        ("listing", datasets, lambda: catalog.listing(objects)),
    ):
        with counted(objects.url) as asked:
            took = seconds(work)
        each = 1000 * took / many
        lines.append(line(f"{name} of {many}", "ms each", each, " ms", most=5))
        total = sum(asked.counts.values()) / many
        lines.append(line(f"{name} of {many}", "requests each", total, "", most=4))
    return lines


# --- records ----------------------------------------------------------------------------------


def records(count: int, block: int = 256) -> list[Line]:
    """Measure packed records in a random order against sorted ones."""
    luck, many, side = np.random.default_rng(0), -(-count // block), 4
    pixels = luck.integers(0, 99, (many, block * side * side)).astype("u2")
    held = {
        schema.PIXELS: da.from_array(pixels, chunks=(1, -1)),
        schema.PICTURE_FLAG: da.zeros((many, block), dtype="u1", chunks=(1, -1)),
    }
    arrays = {v: xr.DataArray(data, dims=v.dims) for v, data in held.items()}
    ds = xr.Dataset({k: a for v, array in arrays.items() for k, a in v.wrap(array).items()})
    place = np.arange(count)
    columns = {"in_block": place // block, "in_slot": place % block}
    columns |= {"offset": place % block * side * side}
    columns |= {name: np.full(count, side) for name in ("height", "width")}
    ds = ds.assign_coords({name: ("record", column) for name, column in columns.items()})
    ds = ds.assign_coords(block=np.arange(many), c=["a"])

    def measure(order: np.ndarray) -> np.ndarray:
        chosen = ds.isel(record=order)
        return compute(map_records(_first, chosen, names=["first"]).data)[0]

    shuffled = luck.permutation(count)
    took = [min(seconds(lambda o=o: measure(o)) for _ in range(3)) for o in (place, shuffled)]
    assert (measure(shuffled) == measure(place)[shuffled]).all()
    name = f"{count:,} packed records in random order"
    return [line(name, "sorted ones", took[1] / took[0], "", most=2)]


def _first(pixels: np.ndarray, _: Any, offsets: np.ndarray, *__: np.ndarray) -> np.ndarray:
    return pixels[offsets][:, np.newaxis]


# --- all --------------------------------------------------------------------------------------


def report(lines: Sequence[Line], size: Size, load: float) -> str:
    """Return the section of RESULTS.md."""
    return f"""{datetime.now(UTC):%Y-%m-%d}, {machine()}; load {load} when it began.

{table(lines)}

- Movies of 2 frames of 2 x 16 x 16 pixels; plan, run and open in one process without workers, the
  start of the process not counted. Milliseconds are of this machine; all else is not.
- Requests as S3 counts them, a page of 1,000 keys one. Beyond its Zarr group a part costs its lists
  of sources and objects, its seal, the seal's copy, and a look at the seal before it is committed.
- The exponent is between the two largest numbers of parts: 1 is linear, 2 a square.
- A commit of {size.refs:,} parts is that of one more than its parent has, pages and all.
"""


def main() -> None:
    """Measure, print, and write RESULTS.md unless it is the quick way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few; writes nothing")
    size = QUICK if parser.parse_args().quick else Size()
    load = round(os.getloadavg()[0], 1)
    with tempfile.TemporaryDirectory(prefix="dpipe-", dir=memory_folder()) as folder:
        room = Path(folder)
        os.environ["DPIPE_CACHE"] = str(room / "cache")
        lines = parts(room, size.parts)
        gc.collect()
        gc.freeze()  # what was there before weighs on nothing that follows
        looks: list[int] = []

        def look(_: Any, __: str, parent: Any, refs: Any, ___: Any) -> None:
            looks.append(len(catalog_commits._unnamed(parent, refs)))

        with mock.patch.object(catalog_commits, "_look", look):  # their parts are names only
            lines += squares(room, size.squares)
            lines += commits(room, size.refs, looks)
            lines += histories(room, size.versions, size.datasets)
        lines += records(size.records)
    print(table(lines))
    if size is not QUICK:
        write("Growth", report(lines, size, load))


if __name__ == "__main__":
    main()
