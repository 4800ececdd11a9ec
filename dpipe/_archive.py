"""Files inside a zip or tar archive on disk, as a repository delivers them; nothing is unpacked.

A private neighbour of ``dpipe.sources``. A member's path is that of the archive, a slash and its
name, as if the archive were a folder. Compressed tars have no way to one member but through all
before it, so they are refused.
"""

import os
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from dpipe.errors import InputError, StoreError
from dpipe.objects import safe_key

_ENDS = (".zip", ".tar")
_PACKED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")


class Member(NamedTuple):
    """What an archive says of a file: size, what changes when its bytes do, where it begins."""

    size: int
    etag: str
    start: int


def split(text: str) -> tuple[str, str] | None:
    """Return an archive and the name in it ("" for all of it); None for a path that has none."""
    lower = text.lower()
    if not any(end in lower for end in _ENDS):
        return None
    names = text.split("/")
    for i, name in enumerate(names):
        place = "/".join(names[: i + 1])
        if name.lower().endswith((*_ENDS, *_PACKED)) and os.path.isfile(place):
            return place, "/".join(names[i + 1 :])
    return None


def listed(place: str, inside: str) -> Iterator[tuple[str, str, int, str]]:
    """List a file of an archive, or what lies below a folder of it."""
    known = _opened(place)[1]
    if inside in known:
        yield f"{place}/{inside}", inside.rpartition("/")[2], *known[inside][:2]
        return
    folder = f"{inside}/" if inside else ""
    for name, member in known.items():
        if name.startswith(folder):
            yield f"{place}/{name}", name.removeprefix(folder), *member[:2]


def read(place: str, inside: str) -> bytes:
    """Return the bytes of one file of an archive; no more than it says they are."""
    packed, known = _opened(place)
    if inside not in known:
        raise InputError(f"{place}: no file {inside!r} in it; it was there when it was listed")
    member = known[inside]
    try:
        if packed is not None:
            return packed.read(inside)
        with open(place, "rb") as file:
            data = os.pread(file.fileno(), member.size, member.start)
    except (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError) as error:
        # RuntimeError also stands for an unknown compression (NotImplementedError) and a password
        raise InputError(f"{place}: {inside}: cannot be unpacked: {error}") from error
    if len(data) != member.size:
        raise InputError(f"{place}: {inside}: truncated, {len(data)} of {member.size} bytes")
    return data


def _opened(place: str) -> tuple[zipfile.ZipFile | None, dict[str, Member]]:
    if place.lower().endswith(_PACKED):
        raise InputError(f"{place}: a compressed tar has to be unpacked first; or make it a zip")
    try:
        stat = os.stat(place)
        return _open(place, stat.st_size, stat.st_mtime_ns)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
        raise InputError(f"{place}: damaged, or no archive: {error}; fetch it again") from error
    except OSError as error:
        raise StoreError(f"{place}: cannot be read: {error.strerror or error}") from error


@lru_cache(maxsize=4)
def _open(place: str, size: int, changed: int) -> tuple[zipfile.ZipFile | None, dict[str, Member]]:
    """Open an archive and read what it holds, once a process while it stays the same."""
    if zipfile.is_zipfile(place):
        packed = zipfile.ZipFile(place)
        return packed, {
            safe_key(one.filename): Member(one.file_size, f"{one.CRC:08x}", one.header_offset)
            for one in packed.infolist()
            if not one.is_dir()
        }
    with tarfile.open(place, "r:") as tar:
        return None, {
            safe_key(one.name.removeprefix("./")): Member(
                one.size, f"{one.mtime}-{changed}", one.offset_data
            )
            for one in tar
            if one.isreg() and not one.issparse()
        }
