"""Commits: a version is added to a dataset, whole, or not at all.

A number is taken by putting its object where none is; whoever finds it taken reads again, bases
itself on the newer version and tries the next. Every commit carries an id of its own, so an answer
that was lost is not a race that was.
"""

import contextlib
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from dpipe.catalog import heartbeat, version_files
from dpipe.catalog.refs import PartRef, Refs
from dpipe.catalog.version_files import Draft, StepFields, Version
from dpipe.catalog.versions import check_name, newest
from dpipe.errors import DamageError, StoreError
from dpipe.storage import Objects, documents

_TRIES = 1000


def commit(
    objects: Objects,
    name: str,
    build: Callable[[Version | None], Draft | None],
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
        Gets the newest version (or None) and returns what the new one is to hold, or None if
        there is nothing to commit. Called again for each version that somebody else commits in
        between.
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
        draft = build(parent)
        if draft is None:
            return None
        version = add(objects, name, parent, draft, author=author, identity=identity, seen=seen)
        if version is not None:
            return version
    raise StoreError(f"{objects.url}: {name}: every version number was taken; try again")


def add(
    objects: Objects,
    name: str,
    parent: Version | None,
    draft: Draft,
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
    draft : Draft
        What it is to hold.
    identity : str
        What tells this commit from others.
    number : int
        Its number, by default the one after its parent's.
    seen : set of str, optional
        Seals that were looked at in an earlier try; those of this one are added.
    """
    parts = draft["parts"] if isinstance(draft["parts"], Refs) else Refs(draft["parts"])
    _look(objects, name, parent, parts, set() if seen is None else seen)
    version = Version(
        name=name,
        number=number or (parent.number + 1 if parent else 1),
        id=identity,
        parent=parent.number if parent else None,
        parent_sha256=parent.sha256 if parent else "",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        author=author,
        parts=parts,
        message=draft["message"],
        recipe=draft.get("recipe", StepFields()),
        study=draft.get("study", {}),
        put_aside=draft.get("put_aside", ()),
        lost=draft.get("lost", ()),
    )
    data = version_files.encode(objects, version, parent)
    version = replace(version, sha256=documents.sha256(data))
    if objects.put_if_absent(version_files.key_of(name, version.number), data) is None:
        other = version_files.read(objects, name, version.number)
        if other is None or other.id != identity:
            return None
    with contextlib.suppress(StoreError):  # the version is there; a copy can be made later
        objects.put(version_files.copy_key(name, version.number, version.sha256), data)
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


def _unnamed(parent: Version | None, parts: Refs) -> list[PartRef]:
    """Return the sealed parts that the parent does not name."""
    named = {(ref.base, ref.seal) for ref in parent.parts} if parent else set()
    return [ref for ref in parts if ref.seal and (ref.base, ref.seal) not in named]
