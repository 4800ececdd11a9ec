"""Files below a path or a prefix, by name or glob: a private neighbour of ``dpipe.sources``.

It yields what an item is made of (URI, path below the source, size, ETag) and knows no scheme
beyond folders and buckets.
"""

import fnmatch
import glob
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from dpipe import _archive
from dpipe._archive import bucket_of
from dpipe.errors import InputError, StoreError, UsageError
from dpipe.objects import Listed

Found = tuple[str, str, int, str]


def list_folder(text: str, empty: set[str]) -> Iterator[Found]:
    """List a file, a folder to its depth, what a glob matches on disk, or an archive's files.

    A glob with ``**`` may give a file twice. Folders in which there is nothing go into `empty`.
    """
    if (found := _archive.split(text)) is not None:
        yield from list_archive(*found)
    elif os.path.isfile(text):
        yield _local(text, os.path.basename(text))
    elif os.path.isdir(text):
        yield from _walk(text, "", frozenset(), empty)
    elif glob.has_magic(text):
        names = text.split("/")
        plain = next(i for i, name in enumerate(names) if glob.has_magic(name))
        root = "/".join(names[:plain]) or "/"
        for match in glob.iglob(text, recursive=True):
            below = os.path.relpath(match, root)
            yield from _matched(match, "" if below == "." else below, text, empty)


def _matched(match: str, below: str, pattern: str, empty: set[str]) -> Iterator[Found]:
    """List what a glob matched: a folder's files, those of an archive that was asked for, or it."""
    base = f"{below}/" if below else ""
    if os.path.isdir(match):
        yield from _walk(match, base, frozenset(), empty)
    elif _archive.is_archive(pattern):
        yield from list_archive(os.path.abspath(match), "", base)
    elif os.path.isfile(match):  # a link may lead nowhere
        yield _local(match, below)


def list_archive(place: str, inside: str, base: str = "") -> Iterator[Found]:
    """List the files of an archive, or of a folder in it."""
    try:
        for uri, path, size, etag in _archive.listed(place, inside):
            yield uri, base + path, size, etag
    except InputError as error:
        raise UsageError(str(error)) from error


def _walk(folder: str, base: str, above: frozenset[str], empty: set[str]) -> Iterator[Found]:
    """List a folder to its depth; a link back to a folder above is not followed."""
    real = os.path.realpath(folder)
    if real in above:
        return
    bare = True
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if is_hidden(entry.name):
                    continue
                if entry.is_dir():
                    bare = False
                    yield from _walk(entry.path, f"{base}{entry.name}/", above | {real}, empty)
                elif entry.is_file():
                    bare = False
                    stat = entry.stat()
                    yield entry.path, base + entry.name, stat.st_size, str(stat.st_mtime_ns)
    except OSError as error:
        raise StoreError(f"{folder}: cannot list: {error.strerror or error}") from error
    if bare:
        empty.add(folder)


def _local(path: str, below: str) -> Found:
    stat = os.stat(path)
    return (os.path.abspath(path), below, stat.st_size, str(stat.st_mtime_ns))


def list_bucket(text: str) -> Iterator[Found]:
    """List an object, what is below a prefix, what a glob matches in a bucket, or a zip's files."""
    if (inside := _archive.split(text.rstrip("/"), anew=True)) is not None:
        yield from list_archive(*inside)
        return
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
        uri = f"{places.url}/{one.key}"
        if _archive.is_archive(key) and _archive.split(uri, anew=True) == (uri, ""):
            yield from list_archive(uri, "", f"{below}/")
        else:
            yield (uri, below, one.size, one.etag or str(one.mtime))


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


def natural_key(text: str) -> tuple[Any, ...]:
    """Return a sorting key by which ``TimePoint 10`` comes after ``TimePoint 2``.

    Examples
    --------
    >>> sorted(["f10.tif", "f2.tif", "f1.tif"], key=natural_key)
    ['f1.tif', 'f2.tif', 'f10.tif']
    """
    pieces = re.split("([0-9]+)", text)
    return tuple(int(piece) if i % 2 else piece for i, piece in enumerate(pieces)), text
