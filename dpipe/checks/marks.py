"""Checks of a part that was begun: its marks are whole, and the objects that they name exist."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from dpipe.build import marks
from dpipe.checks.versions import Finding
from dpipe.errors import DamageError, NotFoundError, UsageError
from dpipe.storage import Listed, Objects, PutFields, documents


def findings(objects: Objects, base: str, keys: Iterable[str]) -> Iterator[Finding]:
    """Yield the findings on a part that was begun; objects that no mark names are not judged."""
    for key in sorted(key for key in keys if key.startswith(f"{base}.marks/")):
        puts, problem = _puts(objects, key)
        if problem:
            yield Finding(key, problem)
        for put in puts:
            try:
                data = objects.read(put["key"])
            except NotFoundError:
                yield Finding(put["key"], "an object that a mark names is missing")
                continue
            if documents.sha256(data) != put["sha256"]:
                yield Finding(put["key"], "its bytes are not those that its mark says")


def left(objects: Objects, base: str, listed: Mapping[str, Listed]) -> Iterator[Finding]:
    """Yield marks of a sealed part, where they should be none any more, that are damaged."""
    for key in sorted(key for key in listed if key.startswith(f"{base}.marks/")):
        _, problem = _puts(objects, key)
        if problem:
            yield Finding(key, problem)


def _puts(objects: Objects, key: str) -> tuple[Sequence[PutFields], str]:
    """Return the objects that a mark names, or a problem with it."""
    try:
        return marks.read(objects, key).get("objects", ()), ""
    except NotFoundError:
        return (), ""
    except (DamageError, UsageError) as error:
        return (), str(error)
