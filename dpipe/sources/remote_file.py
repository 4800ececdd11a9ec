"""Bytes of objects: a seekable file over one, and many small ones at a time.

It knows no scheme.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context

from fsspec.spec import AbstractBufferedFile

from dpipe import ledger
from dpipe.storage import Objects

_BLOCK = 2**20


class Remote(AbstractBufferedFile):
    """A seekable file over an object; the blocks read last are kept."""

    def __init__(self, places: Objects, key: str, size: int, uri: str) -> None:
        self.places, self.uri = places, uri
        super().__init__(
            None, key, block_size=_BLOCK, cache_type="blockcache",
            cache_options={"maxblocks": 64}, size=size,
        )  # fmt: skip

    def _fetch_range(self, start: int, end: int) -> bytes:
        data = self.places.read_range(self.path, start, end)
        if (notes := ledger.current()) is not None:
            notes.region(self.uri, start, data)
        return data


def in_turn[A, B](
    ask: Callable[[A], B], keys: Iterable[A], in_flight: Callable[[A], int]
) -> Iterator[B]:
    """Yield the answer of `ask` for each key, in order, as many at once as the first one allows.

    Answers that nobody took yet are at most as many again, so memory is bounded. Threads have the
    context of the caller, its ledger among it.
    """
    further, context = iter(keys), copy_context()
    for first in further:
        threads = in_flight(first)
        if not threads:
            yield ask(first)
            yield from map(ask, further)
            return
        with ThreadPoolExecutor(threads) as pool:
            waiting: deque[Future[B]] = deque([pool.submit(context.copy().run, ask, first)])
            try:
                for key in further:
                    waiting.append(pool.submit(context.copy().run, ask, key))
                    if len(waiting) >= 2 * threads:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()
