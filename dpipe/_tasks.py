"""What running tasks means, whatever runs them; and what happens inside a process that does.

Imported by ``cluster`` alone, and by the worker processes. Knows nothing of Dask.
"""

import copy
import importlib
import operator
import pickle
import sys
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True)
class Finished:
    """What became of one task.

    Attributes
    ----------
    key : str
        The key that it was submitted with.
    value : object
        What its function returned.
    error : BaseException or None
        What it raised instead; the worker's traceback is a note on it.
    killed : bool
        The process that ran it died under it (`error` is a MemoryError then, the likeliest cause).
        Others on the same worker may share the blame: tried alone, only the guilty dies again.
    """

    key: str
    value: Any = None
    error: BaseException | None = None
    killed: bool = False


class Workers(Protocol):
    """Something that runs tasks.

    Attributes
    ----------
    label : str
        Where tasks run, for a person.
    capacity : int
        How many tasks may be in flight: threads times window.
    memory : int
        Bytes that one task may use; 0 where nobody knows.
    """

    label: str
    capacity: int
    memory: int

    def submit(self, key: str, function: Callable[..., Any], *args: Any) -> None:
        """Queue ``function(*args)``: the function importable, the arguments small."""

    def in_flight(self) -> int:
        """Return how many tasks were submitted and not yet given back."""

    def next(self) -> Finished:
        """Wait for whichever task is first, and give it back.

        Raises
        ------
        StalledError
            Nothing was finished for ``stall_seconds``, or no workers are left.
        StoreError
            The scheduler is lost.
        LookupError
            Nothing is in flight.
        """

    def cancel(self) -> None:
        """Forget all tasks that were not given back."""


class Here:
    """Tasks run in this process, one at a time, when they are asked for."""

    def __init__(self, memory: int) -> None:
        self.label, self.capacity, self.memory = "this process", 1, memory
        self._waiting: deque[tuple[str, Callable[..., Any], tuple[Any, ...]]] = deque()

    def submit(self, key: str, function: Callable[..., Any], *args: Any) -> None:
        self._waiting.append((key, function, args))

    def in_flight(self) -> int:
        return len(self._waiting)

    def next(self) -> Finished:
        if not self._waiting:
            raise LookupError("nothing is in flight")
        key, function, args = self._waiting.popleft()
        outcome = attempt(function, args)
        return Finished(key, outcome.value, outcome.error)

    def cancel(self) -> None:
        self._waiting.clear()


@dataclass(frozen=True)
class Outcome:
    """How a task ended. Errors travel as values too, so that no worker logs them."""

    value: Any = None
    error: BaseException | None = None


def attempt(function: Callable[..., Any] | str, args: tuple[Any, ...]) -> Outcome:
    """Run one task, in whatever process; only a stop from the keyboard goes through.

    A function that travelled as ``"module:name"`` is looked up first.
    """
    try:
        if isinstance(function, str):
            module, _, name = function.partition(":")
            found = operator.attrgetter(name)(importlib.import_module(module))
        else:
            found = function
        return Outcome(value=found(*args))
    except SystemExit as error:
        return Outcome(error=portable(RuntimeError(f"a task must not exit: {error!r}")))
    except Exception as error:  # noqa: BLE001  its meaning is the driver's business
        return Outcome(error=portable(error))


def portable(error: BaseException) -> BaseException:
    """Make an error fit for another process: no frames that hold arrays, nothing unpicklable."""
    trace = traceback.format_exc()
    try:
        copy.copy(error)  # rebuilds it the way that unpickling does
        pickle.dumps(error)
    except Exception:  # noqa: BLE001  anything may happen in a foreign class
        error = RuntimeError(f"{type(error).__name__}: {error}")
    error.__cause__ = error.__context__ = None
    error.add_note(trace)
    return error.with_traceback(None)


def limit_memory(memory: int) -> None:
    """Make this process get a MemoryError, and live, when it asks for more than `memory` bytes.

    The kernel counts what is mapped, Dask's nanny what is in use, so what is mapped and unused so
    far comes on top. The tenth that is missing keeps a process below the mark at which the nanny
    would kill it.
    """
    if not memory or sys.platform != "linux":
        return
    import resource

    pages = [int(word) for word in Path("/proc/self/statm").read_text().split()]
    used, mapped = pages[1] * resource.getpagesize(), pages[5] * resource.getpagesize()
    room = max(int(0.9 * memory) - used, memory // 10)
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (mapped + room, hard))
