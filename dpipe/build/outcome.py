"""The outcome of a run: parts made, reused and put aside, and its exit code.

This module decides nothing but how many items may be put aside.
"""

from dataclasses import dataclass, field
from typing import Literal, NotRequired, TypedDict

from dpipe.catalog import PutAside

DONE, SOME_ASIDE, TOO_MANY, BUG, AGAIN = 0, 3, 4, 70, 75


class StepOutcome(TypedDict):
    """The outcome of one step, as the report of a run keeps it.

    ``items`` are source items, or parts of an operator; ``seconds`` are of the clock,
    ``task_seconds`` of all tasks together, ``bytes`` those written.
    """

    dataset: str
    version: str
    made: list[str]
    reused: list[str]
    aside: list[PutAside]
    notes: NotRequired[list[str]]
    items: int
    reused_items: NotRequired[int]
    seconds: float
    task_seconds: float
    bytes: int


@dataclass
class Outcome:
    """The outcome of a run: that of each step, and its exit code.

    Attributes
    ----------
    run : str
        Its name below ``runs/``; "" if there was nothing to do.
    steps : list of StepOutcome
        A dataset each.
    exit_code : int
        0 done or nothing to do, 3 some put aside, 4 too many put aside, 70 a bug, 75 too many
        were gone or changed.
    max_quarantine : str or None
        How many inputs of a step might be put aside, as in the settings.
    """

    run: str = ""
    recipe: str = ""
    where: str = ""
    seconds: float = 0.0
    steps: list[StepOutcome] = field(default_factory=list)
    exit_code: int = DONE
    max_quarantine: str | None = None

    @property
    def nothing(self) -> bool:
        """Whether there was nothing to do."""
        return not self.run

    def count(self, what: Literal["made", "reused", "aside"]) -> int:
        """Return the number of parts that were made, reused or put aside."""
        return sum(len(step[what]) for step in self.steps)


def allowed(limit: str | None, items: int) -> int:
    """Return how many items may be put aside.

    Parameters
    ----------
    limit : str or None
        A number or a percentage; None for max(1 item, 1 %).
    items : int
        Of how many.

    Returns
    -------
    int
        A number of items.

    Examples
    --------
    >>> allowed(None, 40), allowed("10%", 40), allowed("0", 40)
    (1, 4, 0)
    """
    if limit is None:
        return max(1, items // 100)
    if limit.endswith("%"):
        return int(items * float(limit[:-1]) / 100)
    return int(limit)
