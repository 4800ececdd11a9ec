"""Versions of datasets: history, resolve, lineage.

A version is one object, ``datasets/NAME/000007.json``, and that object is the commit: it names
the parts, where they came from and what was put aside.

Each version carries its own digest and that of its parent's object, and beside it stands a copy
whose name holds the digest: a version that is damaged or gone is noticed, its number is not taken
again, and ``dpipe repair`` brings it back.

This module knows JSON in objects; it knows nothing of pixels, operators or runs.
"""

import re
from collections.abc import Iterable, Sequence

from dpipe.catalog import version_files
from dpipe.catalog.display import Row
from dpipe.catalog.version_files import (
    History,
    PartRef,
    Version,
    row,
)
from dpipe.errors import DamageError, NotAStoreError, NotFoundError, StoreError, UsageError, unknown
from dpipe.sources import natural_key
from dpipe.storage import Objects, open_objects

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_NUMBER = re.compile(r"[0-9]{1,9}")


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
    top = objects.below("")
    if not {"datasets", "parts", "runs"}.isdisjoint(top.folders):
        return objects  # a run writes its plan before anything else
    if others := [*top.folders, *(entry.key for entry in top.objects)]:
        raise NotAStoreError(
            f"{objects.url}: not a dpipe store; expected datasets/ and parts/, found {others[0]}. "
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
    beside = version_files.beside(objects, name)
    number = max(beside.numbers, default=0)
    version = _newest_readable(objects, name, beside) if number else None
    while (following := version_files.read(objects, name, number + 1)) is not None:
        version, number = following, number + 1
    gone = sorted(beside.gone(number) - set(version.lost if version else ()))
    if gone:
        last = f"; {name}@{number} is the newest that is there" if number else ""
        problem = _gone(objects, name, gone[-1])
        raise DamageError(f"{problem}{last}; dpipe repair {name} brings it back")
    return version


def _newest_readable(objects: Objects, name: str, beside: version_files.Beside) -> Version | None:
    """Return the version with the largest number; if it cannot be read, say which one can."""
    failure: DamageError | UsageError | None = None
    for number in sorted(beside.numbers, reverse=True):
        try:
            version = version_files.read(objects, name, number)
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
    beside = version_files.beside(objects, name)
    numbers = sorted(beside.numbers, reverse=True)
    answers = objects.ask_many(lambda key: _read_or_say(objects, name, key), map(str, numbers))
    files = [answer for answer in answers if not isinstance(answer, StoreError)]
    sound = tuple(file for file in files if isinstance(file, Version))
    lost = {*beside.copies} - {*numbers} - {n for version in sound for n in version.lost}
    wrong = [file for file in files if isinstance(file, str)]
    wrong += [_gone(objects, name, number) for number in sorted(lost)]
    if not sound and not wrong:
        raise NotFoundError(f"{objects.url}: {unknown('dataset', name, names(objects))}")
    return History(name, sound, tuple(wrong))


def _gone(objects: Objects, name: str, number: int) -> str:
    key = version_files.key_of(name, number)
    return f"{objects.url}/{key}: version {number} of {name} was committed and is gone"


def _read_or_say(objects: Objects, name: str, number: str) -> Version | str:
    try:
        version = version_files.read(objects, name, int(number))
    except (DamageError, UsageError) as error:
        return str(error)
    if version is None:
        raise NotFoundError(f"{objects.url}/{version_files.key_of(name, int(number))}: gone")
    return version


def listing(objects: Objects) -> tuple[list[Row], list[str]]:
    """Return a row for the newest version of each dataset, and a line for each damaged one.

    Of a dataset whose newest version cannot be read, the newest that can is shown.
    """
    rows, problems = [], []
    for answer in objects.ask_many(lambda name: _row(objects, name), names(objects)):
        if isinstance(answer, StoreError):
            continue
        newest_row, problem = answer
        rows += [newest_row] if newest_row else []
        problems += [problem] if problem else []
    return rows, problems


def _row(objects: Objects, name: str) -> tuple[Row | None, str]:
    try:
        version = newest(objects, name)
        return (row(version) if version else None), ""
    except (DamageError, UsageError) as error:
        readable = history(objects, name)
        return (row(readable[0]) if len(readable) else None), str(error)


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
    version = version_files.read(objects, name, int(number)) if mark else newest(objects, name)
    if version is not None:
        return version
    if not (numbers := version_files.beside(objects, name).numbers):
        raise NotFoundError(f"{objects.url}: {unknown('dataset', name, names(objects))}")
    listed = ", ".join(str(n) for n in sorted(numbers))
    raise NotFoundError(f"{objects.url}: {name} has no version {number}; it has {listed}")


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
    """Return parts in the order of their stems; operators of whole datasets depend on it."""
    return sorted(parts, key=lambda ref: natural_key(ref.stem))
