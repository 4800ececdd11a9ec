"""Files below a path or a prefix, by name or glob: a private neighbour of ``dpipe.sources``.

It yields what an item is made of (URI, path below the source, size, ETag) and knows no scheme
beyond folders and buckets.
"""

import fnmatch
import glob
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from dpipe.errors import StoreError
from dpipe.objects import Listed, Objects, open_objects

Found = tuple[str, str, int, str]


def list_folder(text: str) -> Iterator[Found]:
    """List a file, a folder to its depth, or what a glob matches on disk."""
    path = Path(text)
    if path.is_file():
        yield _local(path, path.name)
    elif path.is_dir():
        yield from _walk(path, "", frozenset())
    elif glob.has_magic(text):
        names = text.split("/")
        plain = next(i for i, name in enumerate(names) if glob.has_magic(name))
        root = "/".join(names[:plain]) or "/"
        seen = set()
        for found in glob.iglob(text, recursive=True):
            below = os.path.relpath(found, root)
            inside = _walk(Path(found), "" if below == "." else below + "/", frozenset())
            for item in inside if os.path.isdir(found) else [_local(Path(found), below)]:
                if item[0] not in seen:
                    seen.add(item[0])
                    yield item


def _walk(folder: Path, base: str, above: frozenset[str]) -> Iterator[Found]:
    """List a folder to its depth; a link back to a folder above is not followed."""
    real = os.path.realpath(folder)
    if real in above:
        return
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if is_hidden(entry.name):
                    continue
                if entry.is_dir():
                    yield from _walk(Path(entry), f"{base}{entry.name}/", above | {real})
                elif entry.is_file():
                    stat = entry.stat()
                    yield entry.path, base + entry.name, stat.st_size, str(stat.st_mtime_ns)
    except OSError as error:
        raise StoreError(f"{folder}: cannot list: {error.strerror or error}") from error


def _local(path: Path, below: str) -> Found:
    stat = path.stat()
    return (os.path.abspath(path), below, stat.st_size, str(stat.st_mtime_ns))


def bucket_of(text: str) -> tuple[Objects, str]:
    """Return the bucket of a URL and the key in it."""
    scheme, _, rest = text.partition("://")
    bucket, _, key = rest.partition("/")
    return open_objects(f"{scheme}://{bucket}"), key


def list_bucket(text: str) -> Iterator[Found]:
    """List an object, what lies below a prefix, or what a glob matches in a bucket."""
    places, key = bucket_of(text)
    key = key.rstrip("/")
    plain, names = 0, key.split("/")
    found: Iterable[Listed]
    if glob.has_magic(key):
        plain = next(i for i, name in enumerate(names) if glob.has_magic(name))
        start = re.split(r"[*?\[]", key, maxsplit=1)[0]
        found = (f for f in places.list(start) if fits(f.key.split("/"), names))
    elif (single := next(places.list(key), None)) and single.key == key:
        plain, found = len(names) - 1, [single]
    else:
        plain = len(names) if key else 0
        found = places.list(key + "/" if key else "")
    for one in found:
        below = "/".join(one.key.split("/")[plain:])
        yield (f"{places.url}/{one.key}", below, one.size, one.etag or str(one.mtime))


def fits(names: Sequence[str], patterns: Sequence[str]) -> bool:
    """Tell whether names fit patterns from the first on; what lies in a folder that fits, fits."""
    if not patterns:
        return True
    if patterns[0] == "**":
        return any(fits(names[i:], patterns[1:]) for i in range(len(names)))
    if not names or not fnmatch.fnmatchcase(names[0], patterns[0]):
        return False
    return fits(names[1:], patterns[1:])


def is_hidden(name: str) -> bool:
    """Tell whether a file is somebody's own: hidden or half written; Zarr's ``.z...`` are data."""
    return (name.startswith(".") and not name.startswith(".z")) or name.endswith(
        (".tmp", ".partial")
    )
