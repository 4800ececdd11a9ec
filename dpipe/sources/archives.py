"""Files inside a zip or tar archive, as a repository delivers them; nothing is unpacked.

A member's path is that of the archive, a slash and its name, as if the archive were a folder.
Archives lie on disk; a zip may lie in a bucket too, where its list of files is read once and each
file by one request. A tar has no such list, and compressed tars have no way to one member but
through all before it, so these are refused.
"""

import bisect
import errno
import os
import struct
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from dpipe.errors import GoneError, InputError, StoreError
from dpipe.sources.remote_file import Remote
from dpipe.storage import Objects, open_objects, safe_key

_ZIPS = (".zip", ".ozx")  # the latter is a zipped OME-Zarr
_ENDS = (*_ZIPS, ".tar")
_PACKED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
_HEAD, _LONGEST_EXTRA, _LARGEST = 30, 1 << 16, 1 << 30
_DENSE, _MOST_DENSE = 100, 64 << 20
"""A file that takes so many times as much unpacked, which pictures and tables do not, and what of
such a file is unpacked at most: 1 MB can hold 1 GB of zeros."""
_DAMAGE = (zipfile.BadZipFile, tarfile.TarError, EOFError, ValueError, RuntimeError, struct.error)
_IN_A_BUCKET = "a tar in a bucket has no list of its files; copy it to a disk, or make it a zip"
_alone = threading.Lock()
_versions: dict[str, tuple[int, str] | None] = {}
"""Size and ETag of archives in buckets as they were listed last; None for what is none."""


class Member(NamedTuple):
    """A file of an archive: its size, a tag that changes when its bytes do, and where it lies.

    Of a zip `start` is that of its header, `stop` where the next one begins at the latest, `packed`
    the bytes that are kept, `method` how, -1 for a method or password that is not known. Of a tar
    the bytes lie from `start` to `stop` as they are, and `method` is None.
    """

    size: int
    etag: str
    start: int
    stop: int
    packed: int = 0
    method: int | None = None


def bucket_of(text: str) -> tuple[Objects, str]:
    """Return the bucket of a URL and the key in it."""
    scheme, _, address = text.partition("://")
    bucket, _, key = address.partition("/")
    return open_objects(f"{scheme}://{bucket}"), key


def is_archive(name: str) -> bool:
    """Tell whether a file is an archive by its name."""
    return name.lower().endswith((*_ENDS, *_PACKED))


def check(name: str) -> None:
    """Refuse an archive by its name, before anything of it is read or fetched."""
    if name.lower().endswith(_PACKED):
        raise InputError(f"{name}: a compressed tar has to be unpacked first; or make it a zip")


def split(text: str, *, anew: bool = False) -> tuple[str, str] | None:
    """Return an archive and the name in it ("" for all of it); None for a path that has none.

    What is known of a bucket is not asked again, unless it is to be looked at `anew`.
    """
    lower = text.lower()
    if not any(end in lower for end in (*_ENDS, ".tgz")):
        return None
    names = text.split("/")
    for i, name in enumerate(names):
        place = "/".join(names[: i + 1])
        if is_archive(name) and _is_there(place, anew=anew):
            return place, "/".join(names[i + 1 :])
    return None


def listed(place: str, inside: str) -> Iterator[tuple[str, str, int, str]]:
    """List a file of an archive, or the files below a folder of it."""
    members = _opened(place)
    if inside in members:
        yield f"{place}/{inside}", inside.rpartition("/")[2], *members[inside][:2]
        return
    folder = f"{inside}/" if inside else ""
    for name, member in members.items():
        if name.startswith(folder):
            yield f"{place}/{name}", name.removeprefix(folder), *member[:2]


def read(place: str, inside: str) -> bytes:
    """Return the bytes of one file of an archive; no more than it says they are."""
    members = _opened(place)
    if inside not in members:
        raise InputError(f"{place}: no file {inside!r} in it; it was there when it was listed")
    member = members[inside]
    if member.size > _LARGEST:
        raise InputError(f"{place}: {inside}: {member.size} bytes; unpack the archive first")
    if not 0 <= member.start <= member.stop:
        problem = f"the list of files has it at byte {member.start}, where it cannot be"
        raise InputError(f"{place}: {inside}: damaged: {problem}; fetch it again")
    if member.method is not None and member.size > max(_MOST_DENSE, _DENSE * member.packed):
        problem = f"{member.size} bytes out of {member.packed}, more than {_DENSE} times as many"
        raise InputError(f"{place}: {inside}: {problem}; unpack the archive first")
    data = _range(place, member.start, member.stop)
    if member.method is not None:
        data = _unpacked(data, member, f"{place}: {inside}")
    if len(data) != member.size:
        sizes = f"{len(data)} bytes; the archive says {member.size}"
        raise InputError(f"{place}: {inside}: damaged or truncated: {sizes}")
    return data


def _unpacked(data: bytes, member: Member, what: str) -> bytes:
    """Return a file of a zip from the bytes that begin at its header."""
    if member.method not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise InputError(f"{what}: it has a password, or a compression other than deflate")
    if data[:4] != b"PK\3\4" or len(data) < _HEAD:
        raise InputError(f"{what}: damaged: no header where the list of files says")
    start = _HEAD + sum(struct.unpack_from("<HH", data, 26))
    body = data[start : start + member.packed]
    if len(body) < member.packed:
        raise InputError(f"{what}: truncated, or it overlaps with the next file")
    if member.method == zipfile.ZIP_DEFLATED:
        try:
            body = zlib.decompressobj(-15).decompress(body, member.size + 1)
        except zlib.error as error:
            raise InputError(f"{what}: cannot be unpacked: {error}") from error
    if len(body) == member.size and f"{zlib.crc32(body):08x}" != member.etag:
        raise InputError(f"{what}: cannot be unpacked: its checksum is wrong")
    return body


def _range(place: str, start: int, stop: int) -> bytes:
    if not place.startswith("/"):
        places, key = bucket_of(place)
        return places.read_range(key, start, stop)
    with open(place, "rb") as file:
        stop = min(stop, os.fstat(file.fileno()).st_size)
        return os.pread(file.fileno(), max(0, stop - start), start)


def _is_there(place: str, *, anew: bool) -> bool:
    """Tell whether an archive is there, and remember which version of one in a bucket."""
    if place.startswith("/"):
        return os.path.isfile(place)
    if anew or place not in _versions:
        places, key = bucket_of(place)
        entry = next(places.list(key), None) if key else None
        same = entry is not None and entry.key == key
        _versions[place] = (entry.size, entry.etag) if entry is not None and same else None
    return _versions[place] is not None


def _opened(place: str) -> dict[str, Member]:
    check(place)
    try:
        version = _versions.get(place)
        if place.startswith("/"):
            stat = os.stat(place)
            version = stat.st_size, str(stat.st_mtime_ns)
        if version is None:
            raise GoneError(f"{place}: no such object; is it deleted?")
        with _alone:  # of many threads that read files, one reads the list
            return _open(place, *version, _touched(place))
    except StoreError:
        raise
    except InputError as error:
        text = str(error)
        raise error if text.startswith(place) else InputError(f"{place}: {text}") from error
    except _DAMAGE as error:
        if isinstance(error.__context__, StoreError):  # which zipfile takes for a damaged file
            raise error.__context__ from None
        raise InputError(f"{place}: damaged, or no archive: {error}; fetch it again") from error
    except OSError as error:
        if error.errno == errno.EINVAL:  # it was asked for bytes before its first
            raise InputError(f"{place}: damaged, or no archive; fetch it again") from error
        raise StoreError(f"{place}: cannot be read: {error.strerror or error}") from error


def _touched(place: str) -> str:
    """Return inode and time of change of status of an archive on disk, "" in a bucket."""
    if not place.startswith("/"):
        return ""
    stat = os.stat(place)
    return f"{stat.st_ino:x}-{stat.st_ctime_ns:x}"


def stamp_of(place: str) -> str:
    """Return the stamp of a tar's files; those of a zip have checksums, and need none."""
    return "" if place.lower().endswith(_ZIPS) else _touched(place)


@lru_cache(maxsize=4)
def _open(place: str, size: int, changed: str, touched: str) -> dict[str, Member]:
    """Read the members of an archive, once a process while nobody touches it."""
    if not place.startswith("/"):
        if not place.lower().endswith(_ZIPS):
            raise InputError(f"{place}: {_IN_A_BUCKET}")
        places, key = bucket_of(place)
        with Remote(places, key, size, place) as file, zipfile.ZipFile(file) as packed:
            return _members(packed)
    if zipfile.is_zipfile(place):
        with zipfile.ZipFile(place) as packed:
            return _members(packed)
    with tarfile.open(place, "r:") as tar:
        members = {
            safe_key(header.name.removeprefix("./")): Member(
                header.size,
                f"{header.mtime}-{changed}",
                header.offset_data,
                header.offset_data + header.size,
            )
            for header in _onward(tar, place)
            if header.isreg() and not header.issparse()
        }
        end = tar.offset  # tarfile takes a damaged header, or none, for the end
    if _range(place, end, end + 512).strip(b"\0") or end >= size:
        raise InputError(f"{place}: damaged at byte {end}, or truncated; fetch it again")
    return members


def _onward(tar: tarfile.TarFile, place: str) -> Iterator[tarfile.TarInfo]:
    """Yield the headers of a tar; a size below 0 would lead back to an earlier file, for ever."""
    for header in tar:
        if header.size < 0:
            raise InputError(
                f"{place}: damaged: {header.name} has {header.size} bytes; fetch it again"
            )
        yield header


def _members(packed: zipfile.ZipFile) -> dict[str, Member]:
    every = packed.infolist()
    starts = sorted(entry.header_offset for entry in every)
    members = {}
    for entry in every:
        if entry.is_dir():
            continue
        start, room = entry.header_offset, _HEAD + 2 * _LONGEST_EXTRA + entry.compress_size
        after = bisect.bisect_right(starts, start)
        stop = min(start + room, starts[after] if after < len(starts) else packed.start_dir)
        method = -1 if entry.flag_bits & 1 else entry.compress_type
        members[safe_key(entry.filename)] = Member(
            entry.file_size, f"{entry.CRC:08x}", start, stop, entry.compress_size, method
        )
    return members
