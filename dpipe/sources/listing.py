"""Files below a path or a prefix, by name or glob.

It yields what an item is made of (URI, path below the source, size, ETag) and knows no scheme
beyond folders and buckets.
"""

import fnmatch
import glob
import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dpipe.errors import InputError, StoreError, UsageError
from dpipe.sources import archives
from dpipe.sources.archives import bucket_of
from dpipe.storage import Listed, Objects

_ESCAPED = re.compile(r"\[([\[*?])\]")
Entry = tuple[str, str, int, str, str]
"""URI, path below the source, size, ETag, stamp."""


@dataclass
class Oddities:
    """Empty folders and dangling links of a source on disk, none of them an input.

    Attributes
    ----------
    empty : set of str
        Folders in which there is nothing.
    dangling : set of str
        Links that lead nowhere, as those of an unmounted share or of files not fetched yet.
    """

    empty: set[str] = field(default_factory=set)
    dangling: set[str] = field(default_factory=set)


def list_folder(text: str, odd: Oddities) -> Iterator[Entry]:
    """List a file, a folder to its depth, the matches of a glob, or an archive's files.

    A glob with ``**`` may give a file twice. Empty folders and dangling links go into `odd`.
    """
    if (inside := archives.split(text)) is not None:
        yield from list_archive(*inside)
    elif os.path.isfile(text):
        yield _local(text, os.path.basename(text))
    elif os.path.isdir(text):
        yield from _walk(text, "", frozenset(), odd)
    elif glob.has_magic(text):
        root = "/".join(_above(text.split("/"))) or "/"
        for match in glob.iglob(text, recursive=True):
            below = os.path.relpath(match, root)
            yield from _matched(match, "" if below == "." else below, text, odd)


def _matched(match: str, below: str, pattern: str, odd: Oddities) -> Iterator[Entry]:
    """List a match of a glob: a folder's files, those of an archive that was asked for, or it."""
    base = f"{below}/" if below else ""
    if os.path.isdir(match):
        yield from _walk(match, base, frozenset(), odd)
    elif archives.is_archive(pattern):
        yield from list_archive(os.path.abspath(match), "", base)
    elif os.path.isfile(match):
        yield _local(match, below)
    elif os.path.islink(match) and not os.path.exists(match):
        odd.dangling.add(match)


def list_archive(place: str, inside: str, base: str = "") -> Iterator[Entry]:
    """List the files of an archive, or of a folder in it."""
    try:
        stamp = ""
        for uri, path, size, etag in archives.listed(place, inside):
            stamp = stamp or archives.stamp_of(place)
            yield uri, base + path, size, etag, stamp
    except InputError as error:
        raise UsageError(str(error)) from error


def _walk(folder: str, base: str, above: frozenset[str], odd: Oddities) -> Iterator[Entry]:
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
                    yield from _walk(entry.path, f"{base}{entry.name}/", above | {real}, odd)
                elif entry.is_file():
                    bare = False
                    yield _found(entry.path, base + entry.name, entry.stat())
                elif entry.is_symlink() and not os.path.exists(entry.path):
                    odd.dangling.add(entry.path)
    except OSError as error:
        raise StoreError(f"{folder}: cannot list: {error.strerror or error}") from error
    if bare:
        odd.empty.add(folder)


def _local(path: str, below: str) -> Entry:
    return _found(os.path.abspath(path), below, os.stat(path))


def _found(path: str, below: str, stat: os.stat_result) -> Entry:
    stamp = f"{stat.st_ino:x}-{stat.st_ctime_ns:x}"
    return path, below, stat.st_size, str(stat.st_mtime_ns), stamp


def list_bucket(text: str) -> Iterator[Entry]:
    """List an object, a prefix, the matches of a glob in a bucket, or a zip's files."""
    if (inside := archives.split(text.rstrip("/"), anew=True)) is not None:
        yield from list_archive(*inside)
        return
    places, key = bucket_of(text)
    key = key.rstrip("/")
    plain, names = 0, key.split("/")
    entries: Iterable[Listed]
    if glob.has_magic(key) and not _is_there(places, key):
        plain = len(_above(names))
        start = re.split(r"[*?\[]", key, maxsplit=1)[0]
        entries = (f for f in places.list(start) if fits(f.key.split("/"), names))
    elif (single := next(places.list(key), None)) and single.key == key:
        plain, entries = len(names) - 1, [single]
    else:
        plain = len(names) if key else 0
        entries = places.list(key + "/" if key else "")
    for entry in entries:
        below = "/".join(entry.key.split("/")[plain:])
        uri = f"{places.url}/{entry.key}"
        if archives.is_archive(key) and archives.split(uri, anew=True) == (uri, ""):
            yield from list_archive(uri, "", f"{below}/")
        else:
            yield (uri, below, entry.size, entry.etag or str(entry.mtime), "")


def _above(names: Sequence[str]) -> list[str]:
    """Return the folders above the first name that is a pattern; ``[[]`` stands for a bracket."""
    plain: list[str] = []
    for name in names:
        if glob.has_magic(_ESCAPED.sub("", name)):
            break
        plain.append(_ESCAPED.sub(r"\1", name))
    return plain if len(plain) < len(names) else plain[:-1]


def _is_there(places: Objects, key: str) -> bool:
    """Tell whether an object or a folder of a bucket has just this name, brackets and all."""
    entry = next(places.list(key), None)
    return entry is not None and (
        entry.key == key or next(places.list(f"{key}/"), None) is not None
    )


def on_disk(path: str) -> str:
    """Return the absolute path of a path or glob; brackets above it are names, no patterns."""
    path = os.path.expanduser(path)
    if os.path.isabs(path) or not glob.has_magic(path) or os.path.lexists(path):
        return os.path.abspath(path)
    return os.path.normpath(os.path.join(glob.escape(os.getcwd()), path))


def check_file(name: str, path: Path) -> None:
    """Refuse what is no file and no folder: a device may have no end, a pipe waits for ever."""
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise InputError(f"{name}: a device or a pipe, no file; it is not read")


def nothing_at(text: str, odd: Oddities) -> str:
    """Say that a source holds no file, and what may be wrong with its text or its links."""
    hint = "check the path, or that the disk is mounted"
    links = sorted(odd.dangling | ({text} if os.path.islink(text) else set()))
    if links and not os.path.exists(links[0]):
        more = f" and {len(links) - 1} more" if len(links) > 1 else ""
        return (
            f"nothing is at the end of the link {links[0]!r}{more}; mount the share, or fetch the "
            "files that the links stand for"
        )
    if os.path.isdir(text):
        return f"no files in this folder; {hint}"
    if not glob.has_magic(text):
        return f"no such file or folder; {hint}"
    if "[" in _ESCAPED.sub("", text):
        names = text.split("/")
        literal = [
            re.sub(r"(?<!\[)\[(?!\[\])", "[[]", n) if not re.search("[*?]", n) else n for n in names
        ]
        form = "/".join(literal) if literal != names else "[[]"
        hint = (
            "in a glob [...] stands for one of the characters in it; if a name has a bracket, "
            f"write [[] for it: {form}"
        )
    return f"the glob matches no file; {hint}"


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
