"""Bytes at keys: a folder, a prefix of an S3 bucket, or memory.

Three kinds of place with one meaning: ``put`` replaces and is never seen half done,
``put_if_absent`` lets exactly one of many writers win, ``list`` never answers from a cache. Every
failure of disk, network or credential is a ``StoreError`` of one line. On S3 a request that may
succeed the next time is sent up to ten times, with random pauses that grow.

Endpoint, region and credentials of S3 come from the environment or the machine's role (``AWS_*``),
never from a URL, and are in no pickle. Processes that use S3 must be spawned, not forked.

This module knows nothing of Zarr, datasets or versions.
"""

import contextlib
import hashlib
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec

from dpipe import _s3
from dpipe._folder import aside, link, prune, sync, told, walk
from dpipe.errors import InputError, NotFoundError, StoreError, UsageError

SCHEMES = ("file", "s3", "anon+s3", "memory")
LARGEST_PUT = 5 * 2**30  # bytes that S3 takes in one request
_memory_lock = threading.RLock()


@dataclass(frozen=True)
class Put:
    """What was written: the key, its size in bytes, sha256 and ETag ("" where there is none)."""

    key: str
    size: int
    sha256: str
    etag: str


@dataclass(frozen=True)
class Listed:
    """What a listing says: key, size in bytes, ETag ("" where none), seconds since 1970."""

    key: str
    size: int
    etag: str
    mtime: float


def safe_key(text: str) -> str:
    r"""Return an object's key if it stays below its root, else refuse it.

    Parameters
    ----------
    text : str
        Names joined by ``/``, for example from a listing or a file's metadata.

    Returns
    -------
    str
        The same text.

    Raises
    ------
    InputError
        It is empty, absolute, longer than 1024 bytes, or holds ``..``, an empty name, a
        backslash or a control character.

    Examples
    --------
    >>> safe_key("plate/A01/field 3.tif")
    'plate/A01/field 3.tif'
    """
    names = text.split("/")
    wrong = {
        "it is empty": not text,
        "it is absolute": text.startswith("/"),
        "it holds '..'": ".." in names,
        "it holds an empty name": not {"", "."}.isdisjoint(names),
        "it holds a backslash": "\\" in text,
        "it holds a control character": not text.isprintable(),
        "it is longer than 1024 bytes": len(text.encode(errors="replace")) > 1024,
    }
    if any(wrong.values()):
        why = next(reason for reason, true in wrong.items() if true)
        raise InputError(f"unsafe name {text[:80]!r}: {why}; names must stay below their folder")
    return text


class Objects(ABC):
    """A place that holds bytes at keys; it pickles as its `url` and nothing else."""

    url: str

    def __repr__(self) -> str:
        return f"open_objects({self.url!r})"

    def __reduce__(self) -> tuple[Callable[[str], "Objects"], tuple[str]]:
        return open_objects, (self.url,)

    @abstractmethod
    def read(self, key: str) -> bytes:
        """Return the bytes at a key; NotFoundError if there are none."""

    @abstractmethod
    def read_range(self, key: str, start: int, stop: int) -> bytes:
        """Return bytes `start` to `stop` (not included, clipped); NotFoundError if absent."""

    @abstractmethod
    def size(self, key: str) -> int:
        """Return the number of bytes at a key; NotFoundError if there are none."""

    @abstractmethod
    def list(self, prefix: str = "") -> Iterator[Listed]:
        """List every key that starts with `prefix` (any text), in the order of code points."""

    @abstractmethod
    def put(self, key: str, data: bytes) -> Put:
        """Write bytes at a key, in place of what was there."""

    @abstractmethod
    def put_if_absent(self, key: str, data: bytes) -> Put | None:
        """Write bytes at a key that has none; None if somebody else's bytes are there."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove a key; an absent one is fine."""

    def exists(self, key: str) -> bool:
        """Tell whether there are bytes at a key."""
        try:
            self.size(key)
        except NotFoundError:
            return False
        return True

    def leftovers(self) -> Iterator[Listed]:
        """List temporary files that killed writers left; ``delete`` takes their keys."""
        return iter(())


def open_objects(url: str | os.PathLike[str]) -> Objects:
    """Open a place by its URL; nothing is read or made yet.

    Parameters
    ----------
    url : str or path
        A folder (a path or ``file:///...``), ``s3://bucket/prefix``, ``anon+s3://bucket/prefix``
        (unsigned requests, to read a public bucket) or ``memory://name`` (this process only).

    Returns
    -------
    Objects
        The place.

    Raises
    ------
    UsageError
        Another scheme, no bucket, or a credential in the URL.

    Examples
    --------
    >>> place = open_objects("memory://example")
    >>> place.put("a/b.txt", b"hello").size, place.put_if_absent("a/b.txt", b"other")
    (5, None)
    """
    text = os.fspath(url)
    scheme, rest = text.split("://", 1) if "://" in text else ("file", text)
    if scheme not in SCHEMES or "::" in text or "\0" in text:
        kinds = ", ".join(f"{known}://" for known in SCHEMES)
        raise UsageError(f"{_hidden(text)!r}: expected a folder or one of {kinds}")
    if scheme == "file":
        return _Folder(rest)
    if "@" in rest.partition("/")[0]:
        raise UsageError(f"{_hidden(text)}: credentials in a URL; set them in the environment")
    root = rest.strip("/")
    if ".." in root.split("/") or not root:
        raise UsageError(f"{text!r}: expected {scheme}://NAME or {scheme}://NAME/prefix")
    return _Memory(root) if scheme == "memory" else _S3(scheme, root)


def _hidden(url: str) -> str:
    """Take user and password out of a URL that will be shown."""
    scheme, mark, rest = url.rpartition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{mark}{host.rpartition('@')[2]}{slash}{path}"


class _Folder(Objects):
    """A folder: written aside, synced, then renamed or linked into place."""

    def __init__(self, path: str) -> None:
        self.root = Path(path).expanduser().absolute()
        self.url = str(self.root)

    def read(self, key: str) -> bytes:
        with told(self._path(key), "read") as path:
            return path.read_bytes()

    def read_range(self, key: str, start: int, stop: int) -> bytes:
        with told(self._path(key), "read") as path, path.open("rb") as file:
            file.seek(start)
            return file.read(max(0, stop - start))

    def size(self, key: str) -> int:
        with told(self._path(key), "read") as path:
            if path.is_dir():
                raise IsADirectoryError(path)
            return path.stat().st_size

    def list(self, prefix: str = "") -> Iterator[Listed]:
        return (Listed(k, s.st_size, "", s.st_mtime) for k, s in walk(self.root, prefix))

    def leftovers(self) -> Iterator[Listed]:
        left = walk(self.root, "", temporary=True)
        return (Listed(k, s.st_size, "", s.st_mtime) for k, s in left)

    def put(self, key: str, data: bytes) -> Put:
        path = self._path(key)
        with told(path, "write"), aside(path, data) as temporary:
            temporary.replace(path)
            sync(path.parent)
        return _put(key, data)

    def put_if_absent(self, key: str, data: bytes) -> Put | None:
        path = self._path(key)
        with told(path, "write"), aside(path, data) as temporary:
            won = link(temporary, path)
            sync(path.parent)
        return _put(key, data) if won else None

    def delete(self, key: str) -> None:
        path = self._path(key)
        with told(path, "delete"), contextlib.suppress(NotADirectoryError):
            if not path.is_dir():
                path.unlink(missing_ok=True)
        prune(path.parent, self.root)

    def _path(self, key: str) -> Path:
        return self.root / safe_key(key)


class _Memory(Objects):
    """fsspec's memory file system, which all threads of this process share."""

    def __init__(self, root: str) -> None:
        self.root, self.url = f"/{root}", f"memory://{root}"
        self.fs = fsspec.filesystem("memory")

    def read(self, key: str) -> bytes:
        return self._ask(self.fs.cat_file, key)

    def read_range(self, key: str, start: int, stop: int) -> bytes:
        return self._ask(self.fs.cat_file, key, start=start, end=max(start, stop))

    def size(self, key: str) -> int:
        return len(self.read(key))

    def list(self, prefix: str = "") -> Iterator[Listed]:
        for path in sorted(self.fs.find(self.root)):
            key = path.removeprefix(self.root + "/")
            if key.startswith(prefix):
                with contextlib.suppress(FileNotFoundError):
                    when = self.fs.modified(path).timestamp()
                    yield Listed(key, int(self.fs.size(path)), "", when)

    def put(self, key: str, data: bytes) -> Put:
        with _memory_lock:
            self.fs.pipe_file(self._path(key), bytes(data))
        return _put(key, data)

    def put_if_absent(self, key: str, data: bytes) -> Put | None:
        with _memory_lock:
            if self.fs.isfile(self._path(key)):
                return None
            return self.put(key, data)

    def delete(self, key: str) -> None:
        with _memory_lock, contextlib.suppress(FileNotFoundError):
            self.fs.rm_file(self._path(key))

    def _path(self, key: str) -> str:
        return f"{self.root}/{safe_key(key)}"

    def _ask(self, method: Callable[..., Any], key: str, **kwargs: Any) -> Any:
        try:
            return method(self._path(key), **kwargs)
        except (FileNotFoundError, IsADirectoryError):
            raise NotFoundError(f"{self.url}/{key}: no such object; check the name") from None


class _S3(Objects):
    """A prefix of a bucket: one request an object, conditional where a race must be decided."""

    def __init__(self, scheme: str, root: str) -> None:
        self.bucket, _, prefix = root.partition("/")
        self.prefix = prefix + "/" * bool(prefix)
        self.url = f"{scheme}://{root}"
        self.anonymous = scheme == "anon+s3"

    def read(self, key: str) -> bytes:
        with self._told(key, "read") as fs:
            return fs.cat_file(self._path(key))

    def read_range(self, key: str, start: int, stop: int) -> bytes:
        if stop <= start:
            return b""
        with self._told(key, "read") as fs:
            try:
                return fs.cat_file(self._path(key), start=start, end=stop)
            except OSError as error:
                if _s3.answer(error)[0] == 416:  # begins past the end
                    return b""
                raise

    def size(self, key: str) -> int:
        return int(self._head(key)["ContentLength"])

    def list(self, prefix: str = "") -> Iterator[Listed]:
        asked = {"Bucket": self.bucket, "Prefix": self.prefix + prefix}
        while True:
            with self._told(prefix, "list") as fs:
                page = fs.call("list_objects_v2", **asked)
            for found in page.get("Contents", ()):
                key = found["Key"].removeprefix(self.prefix)
                if key and not key.endswith("/"):
                    when = found["LastModified"].timestamp()
                    yield Listed(key, int(found["Size"]), found["ETag"].strip('"'), when)
            if not page.get("IsTruncated"):
                return
            asked["ContinuationToken"] = page["NextContinuationToken"]

    def put(self, key: str, data: bytes) -> Put:
        with self._told(key, "write"):
            return self._put(key, data, mode="overwrite")

    def put_if_absent(self, key: str, data: bytes) -> Put | None:
        with self._told(key, "write"):
            try:
                return self._put(key, data, mode="create")
            except OSError as error:
                # Ceph's 412 has no message, so s3fs does not know it for what it is
                if not isinstance(error, FileExistsError) and _s3.answer(error)[0] != 412:
                    raise
        # a lost answer to our own request looks like a lost race
        with contextlib.suppress(NotFoundError):
            there = self._head(key)
            if int(there["ContentLength"]) == len(data) and self.read(key) == data:
                return _put(key, data, there["ETag"].strip('"'))
        return None

    def delete(self, key: str) -> None:
        with self._told(key, "delete") as fs:
            fs.call("delete_object", Bucket=self.bucket, Key=self.prefix + safe_key(key))

    def _path(self, key: str) -> str:
        return f"{self.bucket}/{self.prefix}{safe_key(key)}"

    def _head(self, key: str) -> dict[str, Any]:
        with self._told(key, "read") as fs:
            return fs.call("head_object", Bucket=self.bucket, Key=self.prefix + safe_key(key))

    def _put(self, key: str, data: bytes, *, mode: str) -> Put:
        if len(data) >= LARGEST_PUT:
            raise StoreError(
                f"{self.url}/{key}: {len(data)} bytes; S3 takes less than {LARGEST_PUT} in one "
                "request: choose smaller shards"
            )
        fs = _s3.connect(anonymous=self.anonymous)
        given = fs.pipe_file(self._path(key), bytes(data), chunksize=LARGEST_PUT, mode=mode)
        return _put(key, data, given["ETag"].strip('"'))

    def _told(self, key: str, what: str) -> contextlib.AbstractContextManager[_s3.PatientS3]:
        return _s3.told(self.url, key, what, anonymous=self.anonymous)


def _put(key: str, data: bytes, etag: str = "") -> Put:
    return Put(key, len(data), hashlib.sha256(data).hexdigest(), etag)
