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
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import fsspec

from dpipe.errors import NotFoundError, UsageError
from dpipe.plugins import Later
from dpipe.storage.local import Folder
from dpipe.storage.place import AT_ONCE, Below, Listed, Objects, Put, PutFields, put_of, safe_key

__all__ = [
    "AT_ONCE",
    "SCHEMES",
    "Below",
    "Listed",
    "Objects",
    "Put",
    "PutFields",
    "open_objects",
    "put_of",
    "safe_key",
]

_S3 = Later("dpipe.storage.s3_objects:S3")
"""s3fs, which it uses, is imported with the first bucket."""
SCHEMES = ("file", "s3", "anon+s3", "memory")
_memory_lock = threading.RLock()


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
    scheme, address = text.split("://", 1) if "://" in text else ("file", text)
    if scheme not in SCHEMES or "::" in text or "\0" in text:
        kinds = ", ".join(f"{kind}://" for kind in SCHEMES)
        raise UsageError(f"{_hidden(text)!r}: expected a folder or one of {kinds}")
    if scheme == "file":
        return Folder(address)
    if "@" in address.partition("/")[0]:
        raise UsageError(f"{_hidden(text)}: credentials in a URL; set them in the environment")
    root = address.strip("/")
    if ".." in root.split("/") or not root:
        raise UsageError(f"{text!r}: expected {scheme}://NAME or {scheme}://NAME/prefix")
    place: Objects = Memory(root) if scheme == "memory" else _S3(scheme, root)
    return place


def _hidden(url: str) -> str:
    """Take user and password out of a URL that will be shown."""
    scheme, mark, address = url.rpartition("://")
    host, slash, path = address.partition("/")
    return f"{scheme}{mark}{host.rpartition('@')[2]}{slash}{path}"


class Memory(Objects):
    """fsspec's memory file system, which all threads of this process share."""

    def __init__(self, root: str) -> None:
        self.root, self.url = f"/{root}", f"memory://{root}"
        self.fs = fsspec.filesystem("memory")

    def __reduce__(self) -> tuple[Any, ...]:
        return Memory, (self.root.lstrip("/"),)

    def read(self, key: str) -> bytes:
        return self._ask(self.fs.cat_file, key)

    def read_range(self, key: str, start: int, stop: int) -> bytes:
        return self._ask(self.fs.cat_file, key, start=start, end=max(start, stop))

    def head(self, key: str) -> Listed:
        size = len(self.read(key))
        return Listed(key, size, "", self.fs.modified(self._path(key)).timestamp())

    def list(self, prefix: str = "") -> Iterator[Listed]:
        for path in sorted(self.fs.find(self.root)):
            key = path.removeprefix(self.root + "/")
            if key.startswith(prefix):
                with contextlib.suppress(FileNotFoundError):
                    when = self.fs.modified(path).timestamp()
                    yield Listed(key, int(self.fs.size(path)), "", when)

    def below(self, prefix: str) -> Below:
        entries = list(self.list(prefix))
        names = [entry.key.removeprefix(prefix).partition("/") for entry in entries]
        folders = sorted({name for name, slash, _ in names if slash})
        pairs = zip(entries, names, strict=True)
        right = (entry for entry, (_, slash, _) in pairs if not slash)
        return Below(tuple(folders), tuple(right))

    def now(self) -> float:
        return time.time()

    def put(self, key: str, data: bytes) -> Put:
        with _memory_lock:
            self.fs.pipe_file(self._path(key), bytes(data))
        return put_of(key, data)

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
