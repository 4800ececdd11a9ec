"""A folder as a place of objects: written aside, synced, then renamed or linked into place."""

import contextlib
import errno
import os
import stat
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, override

from dpipe.errors import NotAStoreError, NotFoundError, StoreError
from dpipe.storage.place import Below, Listed, Objects, Put, put_of, safe_key


class Folder(Objects):
    """A folder: written aside, synced, then renamed or linked into place."""

    nested = True

    def __init__(self, path: str) -> None:
        self.root = Path(path).expanduser().absolute()
        self.url = str(self.root)

    def __reduce__(self) -> tuple[Any, ...]:
        return Folder, (self.url,)

    @override
    def read(self, key: str) -> bytes:
        with told(self._path(key), "read") as path:
            return path.read_bytes()

    @override
    def read_range(self, key: str, start: int, stop: int) -> bytes:
        with told(self._path(key), "read") as path, path.open("rb") as file:
            file.seek(start)
            # a pipe has no size; of a file no more is asked for than there is, since that takes
            # memory before anything is read
            here = os.fstat(file.fileno())
            end = min(stop, here.st_size) if stat.S_ISREG(here.st_mode) else stop
            return file.read(max(0, end - start))

    @override
    def head(self, key: str) -> Listed:
        with told(self._path(key), "read") as path:
            if path.is_dir():
                raise IsADirectoryError(path)
            return _listed(key, path.stat())

    @override
    def list(self, prefix: str = "") -> Iterator[Listed]:
        head = prefix.rpartition("/")[0]
        base = f"{head}/" if head else ""
        return (_listed(k, s) for k, s in walk(self.root / head, prefix, base))

    @override
    def below(self, prefix: str) -> Below:
        folder = self.root / prefix if prefix else self.root
        folders, files = [], []
        with told(folder, "list"):
            try:
                with os.scandir(folder) as entries:
                    for entry in sorted(entries, key=lambda entry: entry.name):
                        if entry.is_dir():
                            folders.append(entry.name)
                        elif not _is_temporary(entry.name):
                            files.append(_listed(prefix + entry.name, entry.stat()))
            except FileNotFoundError:
                return Below((), ())
            except NotADirectoryError:
                if prefix:
                    return Below((), ())
                raise NotAStoreError(f"{folder}: a file, where a folder is expected") from None
        return Below(tuple(folders), tuple(files))

    @override
    def now(self) -> float:
        path = self.root / f".{os.getpid()}-{uuid.uuid4().hex}.tmp"
        try:
            with path.open("xb") as file:
                return os.fstat(file.fileno()).st_mtime
        except OSError:  # a store that cannot be written to: then it is nobody's clock but ours
            return time.time()
        finally:
            with contextlib.suppress(OSError):
                path.unlink()

    @override
    def leftovers(self) -> Iterator[Listed]:
        return (_listed(k, s) for k, s in walk(self.root, "", temporary=True))

    @override
    def put(self, key: str, data: bytes) -> Put:
        path = self._path(key)
        with told(path, "write"), aside(path, data) as temporary:
            etag = _etag(temporary.stat())
            temporary.replace(path)
            sync(path.parent)
        return put_of(key, data, etag)

    @override
    def put_if_absent(self, key: str, data: bytes) -> Put | None:
        path = self._path(key)
        with told(path, "write"), aside(path, data) as temporary:
            etag = _etag(temporary.stat())
            won = link(temporary, path)
            sync(path.parent)
        return put_of(key, data, etag) if won else None

    @override
    def delete(self, key: str) -> None:
        path = self._path(key)
        with told(path, "delete"), contextlib.suppress(NotADirectoryError):
            if not path.is_dir():
                path.unlink(missing_ok=True)
        prune(path.parent, self.root)

    def _path(self, key: str) -> Path:
        return self.root / safe_key(key)


def _listed(key: str, stat: os.stat_result) -> Listed:
    return Listed(key, stat.st_size, _etag(stat), stat.st_mtime)


def _etag(stat: os.stat_result) -> str:
    """Return a tag that another file under the same name has not: a folder keeps no digest."""
    return f"{stat.st_ino:x}-{stat.st_mtime_ns:x}"


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
                ordered = sorted(entries, key=lambda entry: entry.name + "/" * entry.is_dir())
        except FileNotFoundError:
            return
        except NotADirectoryError:
            if base:  # it was a folder a moment ago
                return
            raise NotAStoreError(f"{root}: a file, where a folder is expected") from None
    for entry in ordered:
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
