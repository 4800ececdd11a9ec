"""Versions of datasets: commit, history, resolve, lineage.

A version is one object, ``datasets/NAME/000007.json``, and that object is the commit: it names
the parts, where they came from and what was put aside. A number is taken by putting its object
where none is; whoever finds it taken reads again, bases itself on the newer version and tries the
next. Every commit carries an id of its own, so an answer that was lost is not a race that was.

This module knows JSON in objects; it knows nothing of pixels, operators or runs.
"""

import json
import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from dpipe._version_text import describe, history_page, row, text, version_page
from dpipe.errors import (
    DamageError,
    NotAStoreError,
    NotFoundError,
    StoreError,
    UsageError,
    check_format,
    unknown,
)
from dpipe.objects import Objects, open_objects
from dpipe.sources import natural_key

__all__ = [
    "History",
    "PartRef",
    "Version",
    "by_stem",
    "check_name",
    "commit",
    "describe",
    "history",
    "lineage",
    "names",
    "newest",
    "open_store",
    "resolve",
    "row",
    "same_parts",
    "text",
]

_FORMAT = "dpipe-version/1"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_NUMBER = re.compile(r"[0-9]{1,9}")
_TRIES = 1000


@dataclass(frozen=True)
class PartRef:
    """A sealed part, as a version names it.

    Attributes
    ----------
    stem : str
        Its name for people; inputs are joined by it.
    fingerprint : str
        Hash of everything that decides its values.
    base : str
        Key of the part without its suffix, ``parts/leuko/Neu1-3fa9c1d2e0b4``.
    seal : str
        sha256 of its seal.
    summary : dict
        Sizes, dtype and so on, for listings.
    """

    stem: str
    fingerprint: str
    base: str
    seal: str = ""
    summary: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Version:
    """One version of a dataset: what it holds and how it came to be."""

    name: str
    number: int
    id: str
    parent: int | None
    created: str
    author: str
    message: str
    parts: tuple[PartRef, ...]
    recipe: dict[str, Any] = field(default_factory=dict)
    put_aside: tuple[dict[str, Any], ...] = ()
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """``name@number``."""
        return f"{self.name}@{self.number}"

    def part(self, stem: str) -> PartRef:
        """Return the part with this stem, or say which there are."""
        for ref in self.parts:
            if ref.stem == stem:
                return ref
        raise NotFoundError(f"{self.label}: {unknown('part', stem, [r.stem for r in self.parts])}")

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        return {"format": _FORMAT} | asdict(self)

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> "Version":
        """Make one of what JSON holds."""
        fields = {k: v for k, v in given.items() if k != "format"}
        fields["parts"] = tuple(PartRef(**part) for part in fields["parts"])
        fields["put_aside"] = tuple(fields.get("put_aside", ()))
        return cls(**fields)

    def _repr_html_(self) -> str:
        return version_page(self)


@dataclass(frozen=True)
class History:
    """All versions of a dataset, newest first; it prints as a table."""

    name: str
    versions: tuple[Version, ...]

    def __iter__(self) -> Iterator[Version]:
        return iter(self.versions)

    def __len__(self) -> int:
        return len(self.versions)

    def __getitem__(self, index: int) -> Version:
        return self.versions[index]

    def _repr_html_(self) -> str:
        return history_page(self)


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
    if any(next(objects.list(name), None) for name in ("datasets/", "parts/", "runs/")):
        return objects  # a run writes its plan before anything else
    found = next(objects.list(""), None)
    if found is not None:
        raise NotAStoreError(
            f"{objects.url}: not a dpipe store; expected datasets/ and parts/, found {found.key}. "
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
    return sorted({entry.key.split("/")[1] for entry in objects.list("datasets/")})


def newest(objects: Objects, name: str) -> Version | None:
    """Return the newest version of a dataset, None if it has none.

    A listing may lag behind, so numbers above the largest one listed are asked for one by one.
    """
    number = max(_numbers(objects, name), default=0)
    version = _read(objects, name, number) if number else None
    while (following := _read(objects, name, number + 1)) is not None:
        version, number = following, number + 1
    return version


def history(objects: Objects, name: str) -> History:
    """Return all versions of a dataset, newest first.

    Raises
    ------
    NotFoundError
        There is no such dataset.
    """
    last = resolve(objects, name).number
    found = [_read(objects, name, number) for number in range(last, 0, -1)]
    return History(name, tuple(version for version in found if version is not None))


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
    version = _read(objects, name, int(number)) if mark else newest(objects, name)
    if version is not None:
        return version
    if name not in (known := names(objects)):
        raise NotFoundError(f"{objects.url}: {unknown('dataset', name, known)}")
    there = ", ".join(str(n) for n in sorted(_numbers(objects, name)))
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
        The number was taken a thousand times.
    """
    check_name(name)
    identity = uuid.uuid4().hex
    for _ in range(_TRIES):
        parent = newest(objects, name)
        fields = build(parent)
        if fields is None:
            return None
        version = Version(
            name=name,
            number=parent.number + 1 if parent else 1,
            id=identity,
            parent=parent.number if parent else None,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            author=author,
            **fields,
        )
        data = json.dumps(version.to_dict(), indent=1).encode()
        if objects.put_if_absent(_key(name, version.number), data) is not None:
            return version
        there = _read(objects, name, version.number)
        if there is not None and there.id == identity:
            return version
    raise StoreError(f"{objects.url}: {name}: every version number was taken; try again")


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


def _key(name: str, number: int) -> str:
    return f"datasets/{name}/{number:06d}.json"


def _numbers(objects: Objects, name: str) -> list[int]:
    stems = [
        e.key.rpartition("/")[2].removesuffix(".json") for e in objects.list(f"datasets/{name}/")
    ]
    return [int(stem) for stem in stems if stem.isdecimal()]


def _read(objects: Objects, name: str, number: int) -> Version | None:
    try:
        data = objects.read(_key(name, number))
    except NotFoundError:
        return None
    try:
        given = json.loads(data)
        check_format(f"{objects.url}/{_key(name, number)}", given.get("format"), _FORMAT)
        return Version.from_dict(given)
    except UsageError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamageError(
            f"{objects.url}/{_key(name, number)}: not a version ({error}); "
            "restore it from a backup, or delete it if it was never complete"
        ) from error
