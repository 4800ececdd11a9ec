"""Whether the marks of a part that was begun are whole, and what they name is there."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from dpipe.build import marks
from dpipe.checks.versions import Finding
from dpipe.errors import DamageError, NotFoundError, UsageError
from dpipe.storage import Listed, Objects, documents


def findings(objects: Objects, base: str, keys: Iterable[str]) -> Iterator[Finding]:
    """Yield what is wrong with a part that was begun; what no mark names is not judged."""
    for key in sorted(key for key in keys if key.startswith(f"{base}.marks/")):
        mark, problem = _read(objects, key)
        if problem:
            yield Finding(key, problem)
        for put in mark.get("objects", ()):
            try:
                data = objects.read(put["key"])
            except NotFoundError:
                yield Finding(put["key"], "an object that a mark names is missing")
                continue
            if documents.sha256(data) != put["sha256"]:
                yield Finding(put["key"], "its bytes are not those that its mark says")


def left(objects: Objects, base: str, there: Mapping[str, Listed]) -> Iterator[Finding]:
    """Yield marks of a sealed part, where they should be none any more, that are damaged."""
    for key in sorted(key for key in there if key.startswith(f"{base}.marks/")):
        _, problem = _read(objects, key)
        if problem:
            yield Finding(key, problem)


def _read(objects: Objects, key: str) -> tuple[dict[str, Any], str]:
    try:
        return marks.read(objects, key), ""
    except NotFoundError:
        return {}, ""
    except (DamageError, UsageError) as error:
        return {}, str(error)
