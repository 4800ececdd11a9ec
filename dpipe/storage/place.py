"""A place that holds bytes at keys, whatever lies behind it.

It names no library.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypedDict

from dpipe.errors import InputError, NotFoundError, StoreError

AT_ONCE = 32
"""Requests to a bucket that wait for their answers at once."""


class PutFields(TypedDict):
    """A `Put` as marks hold it."""

    key: str
    size: int
    sha256: str
    etag: str


@dataclass(frozen=True)
class Put:
    """An object that was written: key, size in bytes, sha256 and ETag ("" where there is none).

    The ETag of a folder is the file's inode and time of change: another file under the same name
    has another one.
    """

    key: str
    size: int
    sha256: str
    etag: str

    def to_dict(self) -> PutFields:
        """Return it as JSON holds it."""
        return PutFields(key=self.key, size=self.size, sha256=self.sha256, etag=self.etag)


@dataclass(frozen=True)
class Listed:
    """An entry of a listing: key, size in bytes, ETag ("" where none), seconds since 1970."""

    key: str
    size: int
    etag: str
    mtime: float


@dataclass(frozen=True)
class Below:
    """The folders (their names) and objects right below a prefix, each in order."""

    folders: tuple[str, ...]
    objects: tuple[Listed, ...]


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
    nested = False
    """Whether a listing costs a look at all names of the folder in which it begins."""

    def __repr__(self) -> str:
        return f"open_objects({self.url!r})"

    @abstractmethod
    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle without a connection or a credential."""

    @abstractmethod
    def read(self, key: str) -> bytes:
        """Return the bytes at a key; NotFoundError if there are none."""

    @abstractmethod
    def read_range(self, key: str, start: int, stop: int) -> bytes:
        """Return bytes `start` to `stop` (not included, clipped); NotFoundError if absent."""

    @abstractmethod
    def head(self, key: str) -> Listed:
        """Return the entry of a key, as a listing has it; NotFoundError if there is none."""

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

    @abstractmethod
    def below(self, prefix: str) -> Below:
        """Return what lies right below a prefix that ends in ``/``.

        What lies deeper is neither listed nor paid for.
        """

    @abstractmethod
    def now(self) -> float:
        """Return the time by the clock that dates the objects, in seconds since 1970."""

    def size(self, key: str) -> int:
        """Return the number of bytes at a key; NotFoundError if there are none."""
        return self.head(key).size

    def exists(self, key: str) -> bool:
        """Tell whether there are bytes at a key."""
        try:
            self.head(key)
        except NotFoundError:
            return False
        return True

    def delete_many(self, keys: Iterable[str]) -> None:
        """Remove keys, in their order."""
        for key in keys:
            self.delete(key)

    def read_many(self, keys: Iterable[str]) -> Iterator[bytes | StoreError]:
        """Yield the bytes at each key, in order; a NotFoundError where there are none."""
        return self.ask_many(self.read, keys)

    def ask_many[T](self, ask: Callable[[str], T], keys: Iterable[str]) -> Iterator[T | StoreError]:
        """Yield what `ask` returns for each key, in order; a NotFoundError is yielded, not raised.

        On S3 `AT_ONCE` requests wait for their answers at once.
        """
        for key in keys:
            yield answered(ask, key)

    def leftovers(self) -> Iterator[Listed]:
        """List temporary files that killed writers left; ``delete`` takes their keys."""
        return iter(())


def answered[T](ask: Callable[[str], T], key: str) -> T | StoreError:
    """Return the answer of `ask` for a key, or the NotFoundError that it raises."""
    try:
        return ask(key)
    except NotFoundError as error:
        return error


def put_of(key: str, data: bytes, etag: str = "") -> Put:
    """Return the Put of bytes that were written at a key."""
    return Put(key, len(data), hashlib.sha256(data).hexdigest(), etag)
