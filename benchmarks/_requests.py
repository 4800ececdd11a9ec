"""Requests to a store, counted by kind, as S3 would count them: 1,000 keys of a listing are one."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from dpipe.storage import Objects, open_objects

_SINGLE = ("read", "read_range", "head", "put", "put_if_absent", "delete")
_PAGE = 1000


class Requests:
    """What was asked of a store.

    Attributes
    ----------
    counts : Counter
        Requests by the name of the method.
    keys : list of (str, str)
        Method and key of each, in their order.
    bytes : int
        Bytes that were put.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.keys: list[tuple[str, str]] = []
        self.bytes = 0

    def note(self, what: str, key: str, data: Any = b"", times: int = 1) -> None:
        """Count a request."""
        self.counts[what] += times
        self.keys.append((what, key))
        self.bytes += len(data) if isinstance(data, bytes) else 0


@contextmanager
def counted(url: str) -> Iterator[Requests]:
    """Count what this process asks of a store, while the ``with`` lasts."""
    kind, found = type(open_objects(url)), Requests()
    with_mocks = []
    for name in _SINGLE:
        with_mocks.append(mock.patch.object(kind, name, _counting(found, name, kind)))
    with_mocks.append(mock.patch.object(kind, "list", _listing(found, kind)))
    with_mocks.append(mock.patch.object(kind, "below", _folder(found, kind)))
    with_mocks.append(mock.patch.object(kind, "delete_many", _deleting(found)))
    for one in with_mocks:
        one.start()
    try:
        yield found
    finally:
        for one in with_mocks:
            one.stop()


def _counting(found: Requests, name: str, kind: type[Objects]) -> Callable[..., Any]:
    method = getattr(kind, name)

    def one(self: Objects, key: str, *rest: Any) -> Any:
        found.note(name, key, *rest[:1])
        return method(self, key, *rest)

    return one


def _listing(found: Requests, kind: type[Objects]) -> Callable[..., Any]:
    method = kind.list

    def every(self: Objects, prefix: str = "") -> Iterator[Any]:
        found.note("list", prefix)
        for number, entry in enumerate(method(self, prefix), 1):
            if not number % _PAGE:
                found.note("list", prefix)
            yield entry

    return every


def _folder(found: Requests, kind: type[Objects]) -> Callable[..., Any]:
    method = kind.below

    def below(self: Objects, prefix: str) -> Any:
        there = method(self, prefix)
        found.note("list", prefix, times=1 + (len(there.objects) + len(there.folders)) // _PAGE)
        return there

    return below


def _deleting(found: Requests) -> Callable[..., Any]:
    def every(self: Objects, keys: Iterable[str]) -> None:
        listed = list(keys)
        if listed:
            found.note("delete", listed[0], times=-(-len(listed) // _PAGE))
        with mock.patch.object(found, "note"):
            for key in listed:
                self.delete(key)

    return every
