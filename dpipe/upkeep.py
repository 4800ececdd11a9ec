"""Keeping a store: verify what is there, sweep what nobody names.

This module knows versions and seals; it makes nothing.
"""

import json
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dpipe import catalog, seal
from dpipe.errors import DamageError
from dpipe.objects import Objects
from dpipe.seal import Finding

_BASE = re.compile(r"(parts/[^/]+/[^/]+-[0-9a-f]{12})(?=[./])")


def verify(objects: Objects, labels: Sequence[str], *, mode: str = "bytes") -> Iterator[Finding]:
    """Check datasets against their seals.

    Parameters
    ----------
    objects : Objects
        The store.
    labels : sequence of str
        Datasets or versions; none for the newest version of every dataset.
    mode : {"exists", "bytes", "decode"}
        How thoroughly.

    Yields
    ------
    Finding
        One for each thing that is wrong.
    """
    for label in labels or catalog.names(objects):
        try:
            version = catalog.resolve(objects, label)
        except DamageError as error:
            yield Finding(f"datasets/{label}", str(error))
            continue
        for ref in version.parts:
            yield from seal.verify(objects, ref.base, mode=mode, expected_seal=ref.seal)


@dataclass(frozen=True)
class Rubbish:
    """Objects that no version names: how many, how large, and whether they were deleted."""

    base: str
    count: int
    bytes: int
    deleted: bool


def sweep(objects: Objects, *, grace_hours: float, delete: bool = False) -> list[Rubbish]:
    """Find, and if asked delete, parts that no version of any dataset names.

    Parameters
    ----------
    objects : Objects
        The store.
    grace_hours : float
        Parts with an object younger than this, or named by the plan of a run that started within
        it, are left: somebody may be making them.
    delete : bool
        Delete; by default only say what would be.

    Returns
    -------
    list of Rubbish
        One entry a part, and one for temporary files that killed writers left.
    """
    limit = time.time() - grace_hours * 3600
    listed = list(objects.list("parts/"))
    kept = {  # asked after the listing: what a run claims in between is not deleted
        ref.base
        for name in catalog.names(objects)
        for version in catalog.history(objects, name)
        for ref in version.parts
    } | _planned(objects, limit)
    found: dict[str, list[str]] = {}
    sizes: dict[str, int] = {}
    young: set[str] = set()
    for entry in listed:
        match = _BASE.match(entry.key)
        base = match[1] if match else entry.key
        if base not in kept:
            found.setdefault(base, []).append(entry.key)
            sizes[base] = sizes.get(base, 0) + entry.size
            if entry.mtime > limit:
                young.add(base)
    for entry in objects.leftovers():
        if entry.mtime <= limit:
            found.setdefault("temporary files", []).append(entry.key)
            sizes["temporary files"] = sizes.get("temporary files", 0) + entry.size
    rubbish = []
    for base in sorted(set(found) - young):
        if delete:
            # the seal first: without it the part does not exist, however far the rest gets
            for key in sorted(found[base], key=lambda key: (key != f"{base}.json", key)):
                objects.delete(key)
        rubbish.append(Rubbish(base, len(found[base]), sizes[base], delete))
    return rubbish


def _planned(objects: Objects, limit: float) -> set[str]:
    """Return the parts named by plans of runs that started after `limit`."""
    bases: set[str] = set()
    for entry in objects.list("runs/"):
        if entry.key.endswith("/plan.json") and entry.mtime > limit:
            bases |= {part["base"] for part in json.loads(objects.read(entry.key))["parts"]}
    return bases


def runs(objects: Objects) -> list[dict[str, object]]:
    """Return what is known of each run, newest first: its name, recipe, and how it ended."""
    found = []
    for entry in objects.list("runs/"):
        if entry.key.endswith("/plan.json"):
            name = entry.key.split("/")[1]
            plan = json.loads(objects.read(entry.key))
            report = f"runs/{name}/report.json"
            ended = json.loads(objects.read(report)) if objects.exists(report) else None
            row: dict[str, object] = {"run": name, "recipe": plan["recipe"]}
            row["parts"] = len(plan["parts"])
            if ended is None:
                row |= {"state": "unfinished: the same command resumes it"}
            else:
                row |= {"state": f"ended with {ended['exit_code']}", "seconds": ended["seconds"]}
            found.append(row)
    return sorted(found, key=lambda row: str(row["run"]), reverse=True)
