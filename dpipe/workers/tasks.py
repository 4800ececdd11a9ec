"""Running a task inside a worker process; it knows nothing of Dask."""

import copy
import importlib
import operator
import pickle
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


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
            task = operator.attrgetter(name)(importlib.import_module(module))
        else:
            task = function
        return Outcome(value=task(*args))
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
