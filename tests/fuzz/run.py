"""Feed readers with spoiled inputs, thousands by hand: ``python tests/fuzz/run.py --count 5000``.

A good end: the input opens and computes, or it is refused in one line that names its file. Any
other exception, a warning, text or numbers that no store can hold, a hang, too much memory and a
death of the process are bad; each is printed with the case that makes it anew, for ``--case``.
"""

import argparse
import json
import multiprocessing
import os
import resource
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parent), str(HERE.parent / "support")]

import numpy as np  # noqa: E402
import xarray as xr  # noqa: E402

from dpipe.build import part_spec  # noqa: E402
from dpipe.errors import DpipeError  # noqa: E402
from dpipe.readers import READERS  # noqa: E402
from dpipe.sources import list_items  # noqa: E402
from fuzz import mutations  # noqa: E402
from fuzz.mutations import ENDLESS, NOWHERE  # noqa: E402
from fuzz.seeds import MADE, Seed, seeds  # noqa: E402

GOOD = ("opened", "refused")
SECONDS = 20.0
MEMORY = 400 << 20
"""Bytes that one input may take beyond what the process has."""
_MOST, _BLOCKS, _BLOCK = 2 << 30, 3, 64 << 20
_NOT_OURS = "As of version 0.4.0"  # ome-types, of what bioio's plugin gives it
_fork = multiprocessing.get_context("fork")


@dataclass(frozen=True)
class Case:
    """One spoiled input: its reader, its seed, and the integer that tells how it is spoiled."""

    reader: str
    seed: str
    number: int

    def __str__(self) -> str:
        return f"{self.reader}:{self.seed}:{self.number}"


@dataclass(frozen=True)
class Outcome:
    """How a case ended: one of `GOOD`, or what was bad; a line; where."""

    kind: str
    text: str = ""
    trace: str = ""


# --- one input --------------------------------------------------------------------------------


def place(folder: Path, files: dict[str, bytes]) -> None:
    """Write the files of an input; some are links."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if data in (NOWHERE, ENDLESS):
            path.symlink_to("/nowhere/at/all" if data == NOWHERE else "/dev/zero")
        else:
            path.write_bytes(data)


def judge(
    reader: str, folder: Path, options: Mapping[str, Any], lost: Iterable[str] = ()
) -> Outcome:
    """Open and compute what lies in a folder, as a run does, and judge how it ends.

    What is not there any more, `lost`, may be named too.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        outcome = _ended(reader, folder, dict(options), _names(folder) | set(lost))
    said = [str(each.message) for each in caught if not str(each.message).startswith(_NOT_OURS)]
    return Outcome("warning", said[0][:300]) if said and outcome.kind in GOOD else outcome


def _ended(reader: str, folder: Path, options: dict[str, Any], names: set[str]) -> Outcome:
    try:
        for part in READERS[reader].find(list_items(folder)):
            ds = part_spec.read(part_spec.from_items(reader, part.items, options=options))
            compute(ds)
            if odd := unfit(ds):
                return Outcome("odd", odd)
    except DpipeError as error:
        text = str(error)
        named = any(name in text for name in names)
        kind = "lines" if len(text.splitlines()) != 1 else "refused" if named else "unnamed"
        return Outcome(kind, f"{type(error).__name__}: {text}"[:2000], traceback.format_exc(-4))
    except Exception as error:  # noqa: BLE001 - the very thing that is looked for
        text = " ".join(str(error).split())[:300]
        return Outcome("foreign", f"{type(error).__name__}: {text}", traceback.format_exc(-6))
    return Outcome("opened")


def _names(folder: Path) -> set[str]:
    """Return what a message may name: files and folders, or the source; of containers the whole."""
    below = (path for path in folder.rglob("*") if ".zarr" not in str(path.parent))
    return {path.name for path in below} | {f"source {folder}"}


def compute(ds: xr.Dataset) -> None:
    """Compute all, of what is large some blocks; blocks that no run would make are passed over."""
    for variable in ds.variables.values():
        data = variable.data
        if not hasattr(data, "dask"):
            continue
        if variable.nbytes <= _BLOCK:
            data.compute(scheduler="synchronous")
            continue
        if np.prod([c[0] for c in data.chunks], dtype=float) * data.dtype.itemsize > _BLOCK:
            continue
        for k in range(_BLOCKS):
            index = tuple(min(k, n - 1) for n in data.numblocks)
            data.blocks[index].compute(scheduler="synchronous")


def unfit(ds: xr.Dataset) -> str:
    """Say what of a Dataset no store can hold: places that are no numbers, text that is none."""
    for dim in "tzyx":
        if dim in ds.coords and not np.isfinite(ds[dim].values).all():
            return f"{dim} is not finite"
    try:
        json.dumps(ds.attrs, allow_nan=False, default=str).encode()
        for coord in ds.coords.values():
            if coord.dtype.kind in "OU":
                json.dumps(coord.values.tolist()).encode()
                "".join(map(str, coord.values.ravel())).encode()
    except (ValueError, UnicodeError) as error:
        return f"attributes or text: {error}"
    return ""


def run(case: Case) -> Outcome:
    """Spoil a seed and judge how its reader ends."""
    seed = chosen(case)
    files = mutations.mutate(dict(seed.files), case.number)
    with tempfile.TemporaryDirectory(prefix="dpipe-fuzz-") as folder:
        place(Path(folder), files)
        before = _resident(reset=True)
        lost = [Path(name).name for name in seed.files if ".zarr/" not in name]
        outcome = judge(case.reader, Path(folder), seed.options, lost)
        grown = _resident() - before
    if grown > MEMORY and outcome.kind in GOOD:
        return Outcome("memory", f"{grown >> 20} MiB; {outcome.kind}: {outcome.text}")
    return outcome


def chosen(case: Case) -> Seed:
    return next(seed for seed in seeds(case.reader) if seed.name == case.seed)


def _resident(*, reset: bool = False) -> int:
    """Return the most bytes of memory that this process had since a reset."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))


# --- many inputs ------------------------------------------------------------------------------


def cases(count: int, first: int, readers: Sequence[str]) -> Iterator[Case]:
    """Return cases, spread over readers and their seeds."""
    for k in range(count):
        reader = readers[k % len(readers)]
        held = seeds(reader)
        yield Case(reader, held[k // len(readers) % len(held)].name, first * 10**6 + k)


def run_all(todo: Iterator[Case], workers: int, seconds: float) -> Iterator[tuple[Case, Outcome]]:
    """Run cases in processes of their own; one that hangs is killed, and another takes over."""
    pool = [_Child() for _ in range(workers)]
    try:
        while True:
            for k, child in enumerate(pool):
                if child.case is None and (case := next(todo, None)) is not None:
                    child.take(case)
                if child.case is not None and time.monotonic() - child.since > seconds:
                    yield child.case, Outcome("hang", f"more than {seconds:g} s")
                    pool[k] = child.replaced()
            busy = [child for child in pool if child.case is not None]
            if not busy:
                return
            for ready in wait([child.pipe for child in busy], timeout=1):
                child = next(each for each in busy if each.pipe is ready)
                case, outcome = child.case, child.ended()
                assert case is not None
                yield case, outcome
                if outcome.kind == "died" or child.count >= 300:
                    pool[pool.index(child)] = child.replaced()
    finally:
        for child in pool:
            child.stop()


class _Child:
    """A process that runs one case after the other."""

    def __init__(self) -> None:
        self.pipe, other = _fork.Pipe()
        self.process = _fork.Process(target=_serve, args=(other,), daemon=True)
        self.process.start()
        other.close()
        self.case: Case | None = None
        self.since, self.count = 0.0, 0

    def take(self, case: Case) -> None:
        self.case, self.since, self.count = case, time.monotonic(), self.count + 1
        self.pipe.send(case)

    def ended(self) -> Outcome:
        self.case = None
        try:
            return self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            return Outcome("died", f"exit code {self.process.exitcode}")

    def stop(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()

    def replaced(self) -> "_Child":
        self.stop()
        return _Child()


def _serve(pipe: Connection) -> None:
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + _MOST, size + _MOST))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)  # libraries in C write there
    while True:
        try:
            case = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send(run(case))
        except Exception:  # noqa: BLE001 - of the fuzzer's own
            pipe.send(Outcome("fuzzer", "a mutation failed", traceback.format_exc()))


def _say(*lines: str) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


def _prepare(readers: Sequence[str]) -> None:
    """Make the seeds in a process of its own: what is forked later has no threads."""
    mine, theirs = _fork.Pipe()

    def make() -> None:
        theirs.send({reader: seeds(reader) for reader in readers})

    maker = _fork.Process(target=make)
    maker.start()
    made = mine.recv()
    maker.join()
    MADE.update(made)


def main(given: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; 1 if an input ended badly."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="inputs")
    parser.add_argument("--seed", type=int, default=0, help="the first of another row of inputs")
    parser.add_argument("--reader", action="append", help="only of this reader; may be repeated")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="that one input may take")
    parser.add_argument("--case", help="one that was printed: reader:seed:number")
    parser.add_argument("--keep", type=Path, help="with --case: write its files here")
    said = parser.parse_args(given)
    readers = said.reader or list(READERS)
    if said.case:
        reader, name, number = said.case.rsplit(":", 2)
        case = Case(reader, name, int(number))
        if said.keep:
            place(said.keep, mutations.mutate(dict(chosen(case).files), case.number))
        outcome = run(case)
        _say(outcome.kind, outcome.text, outcome.trace)
        return int(outcome.kind not in GOOD)
    _prepare(readers)
    counts: dict[str, Counter[str]] = {reader: Counter() for reader in readers}
    for case, outcome in run_all(cases(said.count, said.seed, readers), said.workers, said.seconds):
        counts[case.reader][outcome.kind] += 1
        if outcome.kind not in GOOD:
            _say(f"--case {case}: {outcome.kind}: {outcome.text}\n{outcome.trace}")
    for reader, counted in counts.items():
        _say(f"{reader}: " + ", ".join(f"{n} {kind}" for kind, n in sorted(counted.items())))
    return int(any(set(counted) - set(GOOD) for counted in counts.values()))


if __name__ == "__main__":
    sys.exit(main())
