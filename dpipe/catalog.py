"""Versions of datasets: commit, history, resolve, lineage.

A version is one object, ``datasets/NAME/000007.json``, and that object is the commit: it names
the parts, where they came from and what was put aside. A number is taken by putting its object
where none is; whoever finds it taken reads again, bases itself on the newer version and tries the
next. Every commit carries an id of its own, so an answer that was lost is not a race that was.

Each version carries its own digest and that of its parent's object, and beside it stands a copy
whose name holds the digest: a version that is damaged or gone is noticed, its number is not taken
again, and ``dpipe repair`` brings it back.

This module knows JSON in objects; it knows nothing of pixels, operators or runs.
"""

import contextlib
import re
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from dpipe import documents, heartbeat, versions
from dpipe.errors import DamageError, NotAStoreError, NotFoundError, StoreError, UsageError, unknown
from dpipe.objects import Objects, open_objects
from dpipe.sources import natural_key
from dpipe.versions import History, PartRef, Refs, Version, describe, row, study_lines, text

__all__ = [
    "History",
    "PartRef",
    "Refs",
    "Version",
    "by_stem",
    "check_name",
    "commit",
    "describe",
    "history",
    "lineage",
    "listing",
    "names",
    "newest",
    "open_store",
    "resolve",
    "row",
    "same_parts",
    "study_lines",
    "text",
]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_NUMBER = re.compile(r"[0-9]{1,9}")
_TRIES = 1000


def check_name(name: str) -> str:
    """Return a dataset's name if it can be one."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"dataset name {name!r}: expected letters, digits, '_', '.', '-', at most 100, "
            "starting with a letter or digit"
        )
    return name


def open_store(url: str, *, create: bool = False) -> Objects:
    """Open a store.

    Parameters
    ----------
    url : str
        A folder, ``s3://bucket/prefix`` or ``memory://name``.
    create : bool
        Accept an empty place.

    Returns
    -------
    Objects
        The store's objects.

    Raises
    ------
    NotAStoreError
        There is something else, or (without `create`) nothing.
    """
    objects = open_objects(url)
    there = objects.below("")
    if not {"datasets", "parts", "runs"}.isdisjoint(there.folders):
        return objects  # a run writes its plan before anything else
    if found := [*there.folders, *(entry.key for entry in there.objects)]:
        raise NotAStoreError(
            f"{objects.url}: not a dpipe store; expected datasets/ and parts/, found {found[0]}. "
            "Give the folder of a store, or a new one"
        )
    if not create:
        raise NotAStoreError(
            f"{objects.url}: no dpipe store there (empty or missing); "
            "dpipe make and dpipe run make one"
        )
    return objects


def names(objects: Objects) -> list[str]:
    """Return the names of all datasets."""
    return sorted(objects.below("datasets/").folders)


def newest(objects: Objects, name: str) -> Version | None:
    """Return the newest version of a dataset, None if it has none.

    A listing may lag behind, so numbers above the largest one listed are asked for one by one.

    Raises
    ------
    DamageError
        It cannot be read, or is gone though it was committed; the message names the newest version
        that can be read.
    UsageError
        A newer dpipe wrote it.
    """
    there = versions.beside(objects, name)
    number = max(there.numbers, default=0)
    version = _newest_readable(objects, name, there) if number else None
    while (following := versions.read(objects, name, number + 1)) is not None:
        version, number = following, number + 1
    gone = sorted(there.gone(number) - set(version.lost if version else ()))
    if gone:
        last = f"; {name}@{number} is the newest that is there" if number else ""
        said = _gone(objects, name, gone[-1])
        raise DamageError(f"{said}{last}; dpipe repair {name} brings it back")
    return version


def _newest_readable(objects: Objects, name: str, there: versions.Beside) -> Version | None:
    """Return the version with the largest number; if it cannot be read, say which one can."""
    failure: DamageError | UsageError | None = None
    for number in sorted(there.numbers, reverse=True):
        try:
            version = versions.read(objects, name, number)
        except (DamageError, UsageError) as error:
            failure = failure or error
            continue
        if failure is None:
            return version
        raise type(failure)(f"{failure}. {name}@{number} is the newest that can be read")
    if failure is not None:
        raise failure
    return None


def history(objects: Objects, name: str) -> History:
    """Return all versions of a dataset, newest first.

    Raises
    ------
    NotFoundError
        There is no such dataset.
    """
    check_name(name)
    beside = versions.beside(objects, name)
    numbers = sorted(beside.numbers, reverse=True)
    found = objects.ask_many(lambda key: _read_or_say(objects, name, key), map(str, numbers))
    there = [one for one in found if not isinstance(one, StoreError)]
    sound = tuple(one for one in there if isinstance(one, Version))
    lost = {*beside.copies} - {*numbers} - {n for version in sound for n in version.lost}
    wrong = [one for one in there if isinstance(one, str)]
    wrong += [_gone(objects, name, number) for number in sorted(lost)]
    if not sound and not wrong:
        raise NotFoundError(f"{objects.url}: {unknown('dataset', name, names(objects))}")
    return History(name, sound, tuple(wrong))


def _gone(objects: Objects, name: str, number: int) -> str:
    key = versions.key_of(name, number)
    return f"{objects.url}/{key}: version {number} of {name} was committed and is gone"


def _read_or_say(objects: Objects, name: str, number: str) -> Version | str:
    try:
        version = versions.read(objects, name, int(number))
    except (DamageError, UsageError) as error:
        return str(error)
    if version is None:
        raise NotFoundError(f"{objects.url}/{versions.key_of(name, int(number))}: gone")
    return version


def listing(objects: Objects) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the newest version of each dataset as a row, and what is wrong with some.

    Of a dataset whose newest version cannot be read, the newest one that can is shown.
    """
    rows, problems = [], []
    for found in objects.ask_many(lambda name: _row(objects, name), names(objects)):
        if isinstance(found, StoreError):
            continue
        shown, problem = found
        rows += [shown] if shown else []
        problems += [problem] if problem else []
    return rows, problems


def _row(objects: Objects, name: str) -> tuple[dict[str, Any] | None, str]:
    try:
        version = newest(objects, name)
        return (row(version) if version else None), ""
    except (DamageError, UsageError) as error:
        there = history(objects, name)
        return (row(there[0]) if len(there) else None), str(error)


def resolve(objects: Objects, label: str) -> Version:
    """Return a version by its label.

    Parameters
    ----------
    objects : Objects
        The store.
    label : str
        ``leuko`` for the newest, ``leuko@5`` for one.

    Returns
    -------
    Version
        What it says.

    Raises
    ------
    NotFoundError
        No such dataset, or no such version.
    UsageError
        A label that is none.
    """
    name, mark, number = label.partition("@")
    check_name(name)
    if mark and not _NUMBER.fullmatch(number):
        raise UsageError(f"{label!r}: expected NAME or NAME@NUMBER, for example {name}@3")
    version = versions.read(objects, name, int(number)) if mark else newest(objects, name)
    if version is not None:
        return version
    if not (numbers := versions.beside(objects, name).numbers):
        raise NotFoundError(f"{objects.url}: {unknown('dataset', name, names(objects))}")
    there = ", ".join(str(n) for n in sorted(numbers))
    raise NotFoundError(f"{objects.url}: {name} has no version {number}; it has {there}")


def commit(
    objects: Objects,
    name: str,
    build: Callable[[Version | None], Mapping[str, Any] | None],
    *,
    author: str,
) -> Version | None:
    """Add a version to a dataset. It exists, whole, when this returns, or not at all.

    Parameters
    ----------
    objects : Objects
        The store.
    name : str
        The dataset.
    build : callable
        Gets the newest version (or None) and returns the new one's ``parts``, ``message`` and
        what else a Version holds, or None if there is nothing to commit. Called again for each
        version that somebody else commits in between.
    author : str
        Who commits.

    Returns
    -------
    Version or None
        The version committed; None if `build` had nothing to commit.

    Raises
    ------
    StoreError
        The number was taken a thousand times, or the seal of a part that the parent does not name
        is gone.
    DamageError
        The newest version cannot be read, or such a seal is another one.
    """
    check_name(name)
    identity, seen = uuid.uuid4().hex, set[str]()
    for _ in range(_TRIES):
        parent = newest(objects, name)
        fields = build(parent)
        if fields is None:
            return None
        version = add(objects, name, parent, fields, author=author, identity=identity, seen=seen)
        if version is not None:
            return version
    raise StoreError(f"{objects.url}: {name}: every version number was taken; try again")


def add(
    objects: Objects,
    name: str,
    parent: Version | None,
    fields: Mapping[str, Any],
    *,
    author: str,
    identity: str,
    number: int = 0,
    seen: set[str] | None = None,
) -> Version | None:
    """Write the version that follows another; None if its number is taken by somebody else.

    Parameters
    ----------
    objects, name, author
        As for `commit`.
    parent : Version or None
        The version that it follows.
    fields : mapping
        ``parts``, ``message`` and what else a Version holds.
    identity : str
        What tells this commit from others.
    number : int
        Its number, by default the one after its parent's.
    seen : set of str, optional
        Seals that were looked at in an earlier try; those of this one are added.
    """
    parts = fields["parts"] if isinstance(fields["parts"], Refs) else Refs(fields["parts"])
    _look(objects, name, parent, parts, set() if seen is None else seen)
    version = Version(
        name=name,
        number=number or (parent.number + 1 if parent else 1),
        id=identity,
        parent=parent.number if parent else None,
        parent_sha256=parent.sha256 if parent else "",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        author=author,
        **{**fields, "parts": parts},
    )
    data = versions.encode(objects, version, parent)
    version = replace(version, sha256=documents.sha256(data))
    if objects.put_if_absent(versions.key_of(name, version.number), data) is None:
        there = versions.read(objects, name, version.number)
        if there is None or there.id != identity:
            return None
    with contextlib.suppress(StoreError):  # the version is there; a copy can be made later
        objects.put(versions.copy_key(name, version.number, version.sha256), data)
    return version


def _look(objects: Objects, name: str, parent: Version | None, parts: Refs, seen: set[str]) -> None:
    """Look at every seal that the parent does not name: a sweeper may have been there."""
    new = [ref for ref in _unnamed(parent, parts) if ref.seal not in seen]
    gone = []
    keys = (f"{ref.base}.json" for ref in new)
    for ref, data in zip(new, objects.read_many(keys), strict=True):
        if isinstance(data, StoreError):
            gone.append(ref.stem)
        elif documents.sha256(data) != ref.seal:
            raise DamageError(
                f"{objects.url}/{ref.base}.json: the seal is not the one that was to be committed; "
                f"run dpipe verify {name}"
            )
        else:
            seen.add(ref.seal)
    if new and (bases := heartbeat.swept(objects)):
        gone += [ref.stem for ref in new if ref.base in bases]
    if gone:
        raise StoreError(
            f"{objects.url}: {len(gone)} of {len(parts)} parts of {name} are gone since they were "
            f"made ({', '.join(gone[:5])}); was the store swept meanwhile? Nothing was committed; "
            "run the same command again"
        )


def lineage(objects: Objects, label: str) -> list[str]:
    """Return the labels of the datasets that a version was made from, itself first.

    Inputs are followed through the recipes that the versions keep.
    """
    seen: list[str] = []
    todo = [label]
    while todo:
        version = resolve(objects, todo.pop(0))
        if version.label not in seen:
            seen.append(version.label)
            todo.extend(str(i) for i in version.recipe.get("inputs", {}).values())
    return seen


def same_parts(parts: Sequence[PartRef], others: Sequence[PartRef]) -> bool:
    """Tell whether two lists of parts name the same seals."""
    return {(ref.base, ref.seal) for ref in parts} == {(ref.base, ref.seal) for ref in others}


def by_stem(parts: Iterable[PartRef]) -> list[PartRef]:
    """Return parts in the order of their stems: what is made of all of them depends on it."""
    return sorted(parts, key=lambda ref: natural_key(ref.stem))


def _unnamed(parent: Version | None, parts: Refs) -> list[PartRef]:
    """Return the sealed parts that the parent does not name."""
    known = {(ref.base, ref.seal) for ref in parent.parts} if parent else set()
    return [ref for ref in parts if ref.seal and (ref.base, ref.seal) not in known]
