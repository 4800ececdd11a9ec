"""Durable writes on a local file system: aside, synced, then renamed or linked into place.

A private neighbour of ``dpipe.objects``; it knows nothing of keys beyond their paths.
"""

import contextlib
import errno
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from dpipe.errors import NotAStoreError, NotFoundError, StoreError


@contextlib.contextmanager
def told(path: Path, what: str) -> Iterator[Path]:
    """Turn failures of the file system into one line."""
    try:
        yield path
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        if what == "read":
            raise NotFoundError(f"{path}: no such object; check the name") from None
        raise StoreError(f"{path}: cannot {what}: {error.strerror}") from error
    except StoreError:
        raise
    except OSError as error:
        hint = "; check the disk and its permissions"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            hint = "; free space or choose another place"
        elif error.errno in (errno.EPERM, errno.ENOTSUP) and what == "write":
            hint = "; a store needs a file system with hard links"
        raise StoreError(f"{path}: cannot {what}: {error.strerror or error}{hint}") from error


@contextlib.contextmanager
def aside(path: Path, data: bytes) -> Iterator[Path]:
    """Write and sync a temporary file beside a path; what is left of it is removed afterwards."""
    temporary = path.with_name(f".{os.getpid()}-{uuid.uuid4().hex}.tmp")
    try:
        with _create(temporary) as handle:
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())
        yield temporary
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def link(temporary: Path, path: Path) -> bool:
    """Give the temporary file its name unless that is taken; tell whether it got it."""
    try:
        path.hardlink_to(temporary)
    except FileExistsError:
        # a network file system may link, lose its answer, ask again and find the link there
        return temporary.stat().st_nlink > 1
    return True


def sync(folder: Path) -> None:
    """Bring a folder's entries to disk: a new name is durable only then."""
    with contextlib.suppress(OSError):  # gone already, or a network file system that cannot
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def prune(folder: Path, root: Path) -> None:
    """Remove a folder and those above it, up to the root, while they are empty, as S3 has none."""
    with contextlib.suppress(OSError):
        while folder != root:
            folder.rmdir()
            folder = folder.parent


def walk(
    root: Path, prefix: str, base: str = "", *, temporary: bool = False
) -> Iterator[tuple[str, os.stat_result]]:
    """List keys below a folder in the order of whole keys, as S3 does.

    A folder sorts as its name and a slash. Temporary files are left out, or alone are listed.
    """
    with told(root, "list"):
        try:
            with os.scandir(root) as entries:
                found = sorted(entries, key=lambda entry: entry.name + "/" * entry.is_dir())
        except FileNotFoundError:
            return
        except NotADirectoryError:
            if base:  # it was a folder a moment ago
                return
            raise NotAStoreError(f"{root}: a file, where a folder is expected") from None
    for entry in found:
        key = base + entry.name
        if entry.is_dir():
            if (key + "/").startswith(prefix) or prefix.startswith(key + "/"):
                yield from walk(Path(entry), prefix, key + "/", temporary=temporary)
        elif key.startswith(prefix) and _is_temporary(entry.name) == temporary:
            with contextlib.suppress(FileNotFoundError):  # deleted since the scan
                yield key, entry.stat()


def _is_temporary(name: str) -> bool:
    return name.startswith(".") and name.endswith(".tmp")


def _create(path: Path) -> BinaryIO:
    for _ in range(100):
        _make(path.parent)
        with contextlib.suppress(FileNotFoundError):  # a deleter pruned the folder in between
            return path.open("xb")
    raise StoreError(f"{path.parent}: this folder vanishes again and again; who deletes it?")


def _make(folder: Path) -> None:
    if not folder.is_dir():
        _make(folder.parent)
        with contextlib.suppress(FileNotFoundError, FileExistsError):  # others make and prune too
            folder.mkdir()
            sync(folder.parent)
