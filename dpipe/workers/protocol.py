"""Workers as those see them who give them tasks, whatever runs them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Finished:
    """The result of one task.

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
