"""Keeping a store: sweep parts that nobody names, and tell how runs ended.

This module knows versions, plans and signs of life; it makes nothing.
"""

import contextlib
import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from dpipe import catalog
from dpipe.build import plan
from dpipe.catalog import heartbeat, seals, version_files
from dpipe.checks import BASE, copies, store
from dpipe.errors import DamageError, NotFoundError, StoreError, UsageError
from dpipe.storage import Listed, Objects

_TEMPORARY = "temporary files"


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
        it, are left: somebody may be making them. Whatever the age, parts of a dataset are left
        while a run that makes some of it gives signs of life, or while one of its versions cannot
        be read.
    delete : bool
        Delete; by default only say what would be.

    Returns
    -------
    list of Rubbish
        One entry a part, one for each page of parts, and one for temporary files that killed
        writers left.
    """
    limit = objects.now() - grace_hours * 3600
    stored: dict[str, list[Listed]] = {}
    for entry in objects.list("parts/"):
        match = BASE.match(entry.key)
        stored.setdefault(match[1] if match else entry.key, []).append(entry)
    read: dict[str, set[str]] = {}
    used = _named(objects, read) | _planned(objects, limit)  # after the listing of parts
    for name in catalog.names(objects):
        for entry in objects.below(f"datasets/{name}/pages/").objects:
            page = f"{entry.key.rpartition('.')[0]}.json"
            stored.setdefault(page, []).append(entry)
    young = {base for base, entries in stored.items() if max(e.mtime for e in entries) > limit}
    old = {base: stored[base] for base in sorted(set(stored) - used - young)}
    with heartbeat.sweeping(objects, old) if delete else contextlib.nullcontext():
        if delete:  # who commits meanwhile reads the note; who committed before it is seen here
            used = _named(objects, read)
        alive = heartbeat.alive(objects)
        old = {b: e for b, e in old.items() if b not in used and b.split("/")[1] not in alive}
        if leftovers := _leftovers(objects, limit, alive):
            old[_TEMPORARY] = leftovers
        for base, entries in old.items() if delete else ():
            # the seal first: without it the part does not exist, however far the rest gets
            keys = sorted((e.key for e in entries), key=lambda key: (key != f"{base}.json", key))
            objects.delete_many(keys)
    return [
        Rubbish(base, len(entries), sum(entry.size for entry in entries), delete)
        for base, entries in old.items()
    ]


def _named(objects: Objects, read: dict[str, set[str]]) -> set[str]:
    """Return the parts and pages that versions name; a version that was read is not read again."""
    used: set[str] = set()
    for name in catalog.names(objects):
        numbers = [str(number) for number in version_files.beside(objects, name).numbers]
        keys = [version_files.key_of(name, int(number)) for number in numbers]
        new = [key for key in keys if key not in read]
        for key, data in zip(new, objects.read_many(new), strict=True):
            if isinstance(data, StoreError):
                continue
            number = int(key.rpartition("/")[2].removesuffix(".json"))
            try:
                version = version_files.parse(objects, data, name, number)
                pages = {version_files.page_key(name, digest) for digest, _ in version.parts.pages}
                read[key] = {ref.base for ref in version.parts} | pages
            except (DamageError, UsageError) as error:
                warnings.warn(f"{error}; nothing of {name} is swept", UserWarning, stacklevel=3)
                read[key] = {
                    e.key for p in ("parts", "datasets") for e in objects.list(f"{p}/{name}/")
                }
                read[key] |= {m[1] for e in read[key] if (m := BASE.match(e))}
        used |= {base for key in keys for base in read.get(key, ())}
    return used


def _leftovers(objects: Objects, limit: float, alive: set[str]) -> list[Listed]:
    """Return temporary files of writers that were killed; one that is being written is young."""
    last = min(limit, objects.now() - heartbeat.TRUSTED)
    return [
        entry
        for entry in objects.leftovers()
        if entry.mtime <= last and entry.key.split("/")[1:2] not in [[name] for name in alive]
    ]


def _planned(objects: Objects, limit: float) -> set[str]:
    """Return the parts named by plans of runs that started after `limit`."""
    entries = [e for e in objects.list("runs/") if e.key.endswith("/plan.json")]
    names = [entry.key.split("/")[1] for entry in entries if entry.mtime > limit]
    plans = [plan.read_plan(objects, name) for name in names]
    return {part["base"] for planned in plans for part in planned["parts"]}


def runs(objects: Objects) -> list[dict[str, object]]:
    """Return a row for each run, newest first: its name, recipe, and how it ended."""
    entries = {entry.key for entry in objects.list("runs/")}
    names = sorted({key.split("/")[1] for key in entries if key.endswith("/plan.json")})
    return [_run(objects, name, f"runs/{name}/report.json" in entries) for name in reversed(names)]


def _run(objects: Objects, name: str, has_ended: bool) -> dict[str, object]:
    """Return the row of a run; one that cannot be read hides no other."""
    row: dict[str, object] = {"run": name}
    try:
        planned = plan.read_plan(objects, name)
        row |= {"recipe": planned["recipe"], "parts": len(planned["parts"])}
        if not has_ended:
            return row | {"state": "unfinished: the same command resumes it"}
        ended = json.loads(objects.read(f"runs/{name}/report.json"))
        return row | {"state": f"ended with {ended['exit_code']}", "seconds": ended["seconds"]}
    except (DamageError, NotFoundError, UsageError) as error:
        return row | {"state": f"cannot be read: {error}"}
    except (ValueError, KeyError, TypeError):
        return row | {"state": "cannot be read: its report is damaged"}


def upgrade(objects: Objects, names: Sequence[str], *, author: str) -> list[dict[str, object]]:
    """Lift datasets that an older dpipe wrote to the formats of this one.

    Each gets a new version with the same parts, which carries its digest and that of the version
    before it; versions and seals get their copies; marks of parts that are sealed go. No pixel is
    read or written. What an old seal does not say stays "not recorded".

    Parameters
    ----------
    objects : Objects
        The store.
    names : sequence of str
        Datasets; none for all.
    author : str
        Who does it.

    Returns
    -------
    list of dict
        By dataset: ``version``, ``lifted`` (whether a version was written), ``parts``,
        ``not recorded`` (what the seals of some of its parts lack).
    """
    rows: list[dict[str, object]] = []
    for name in names or catalog.names(objects):
        newest = catalog.resolve(objects, name)
        lifted = not newest.signed
        if lifted:
            newest = catalog.commit(objects, name, _lifted, author=author) or newest
        list(copies(objects, store.chain(objects, name)))
        lacking: set[str] = set()
        seals.write_copies(objects, newest.parts)
        for ref, sealed in zip(newest.parts, seals.named(objects, newest.parts), strict=True):
            lacking |= _lacking(sealed)
            marks = [entry.key for entry in objects.list(f"{ref.base}.marks/")]
            objects.delete_many(marks)
        row = {"dataset": name, "version": newest.number, "lifted": lifted}
        rows.append(row | {"parts": len(newest.parts), "not recorded": ", ".join(sorted(lacking))})
    return rows


def _lifted(parent: catalog.Version | None) -> catalog.Draft | None:
    if parent is None or parent.signed:
        return None
    return {
        "message": "upgrade",
        "parts": parent.parts,
        "recipe": parent.recipe,
        "put_aside": parent.put_aside,
        "study": parent.study,
    }


def _lacking(sealed: seals.Seal) -> set[str]:
    """Return the fields that a seal lacks, by the names that people know."""
    lacking = set() if sealed.has_copy else {"author", "host", "lock"}
    made_by = sealed.provenance.get("origin", {})
    if made_by.get("kind") == "reader" and not sealed.sources:
        lacking.add("digests of sources")
    if ":" in made_by.get("name", "") and not made_by.get("code"):
        lacking.add("code")
    return lacking
