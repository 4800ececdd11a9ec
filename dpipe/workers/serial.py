"""Tasks in this process, one after the other."""

from collections import deque
from collections.abc import Callable
from typing import Any, override

from dpipe.workers.protocol import Finished, Workers
from dpipe.workers.tasks import attempt


class Here(Workers):
    """Tasks run in this process, one at a time, when they are asked for."""

    def __init__(self, memory: int) -> None:
        self.label, self.capacity, self.memory = "this process", 1, memory
        self._waiting: deque[tuple[str, Callable[..., Any], tuple[Any, ...]]] = deque()

    @override
    def submit(self, key: str, function: Callable[..., Any], *args: Any) -> None:
        self._waiting.append((key, function, args))

    @override
    def in_flight(self) -> int:
        return len(self._waiting)

    @override
    def next(self) -> Finished:
        if not self._waiting:
            raise LookupError("nothing is in flight")
        key, function, args = self._waiting.popleft()
        outcome = attempt(function, args)
        return Finished(key, outcome.value, outcome.error)

    @override
    def cancel(self) -> None:
        self._waiting.clear()
