"""What a run did, as lines for a terminal."""

from collections.abc import Mapping
from typing import Any

from dpipe.build import AGAIN, BUG, DONE, SOME_ASIDE, TOO_MANY, Outcome, allowed
from dpipe.report.text import duration, plain

ENDED = {
    DONE: ("Done", "Every dataset of the recipe is there."),
    SOME_ASIDE: (
        "Done, some put aside",
        "The datasets are there without the inputs named below.",
    ),
    TOO_MANY: (
        "Stopped, too many put aside",
        "The last dataset below was not committed, and later ones were not begun.",
    ),
    BUG: (
        "Ended with a bug",
        "What is named below failed in a way that nobody foresaw; the run's folder quarantine/ "
        "holds the trace.",
    ),
    AGAIN: (
        "Stopped, inputs are gone",
        "What was there when the run was planned is gone or changed; run the same command again.",
    ),
}
"""Of each exit code: how a run ended, in a few words and in a sentence."""
_MOST_LINES = 20
COUNTED = ("planned", "made", "reused", "aside")


def lines(outcome: Outcome) -> list[str]:
    """Return the outcome of a run as lines for a terminal.

    Parameters
    ----------
    outcome : Outcome
        What the run did.

    Returns
    -------
    list of str
        One line a dataset, what the parts made say of themselves, what was put aside and why,
        the sum over all source items.

    Examples
    --------
    >>> step = {"dataset": "leuko", "version": "leuko@1", "made": ["Neu1"], "reused": [],
    ...         "aside": [], "items": 1, "seconds": 2.0, "task_seconds": 1.0, "bytes": 10}
    >>> for line in lines(Outcome("20260105T100000-7c2e", "demo", "store", 2.0, [step])):
    ...     print(line)
    leuko@1  1 made  0 reused  0 put aside  2.0 s
    done: 1 planned = 1 made + 0 reused + 0 put aside
    """
    aside = [
        f"put aside: {plain(step['dataset'])}/{plain(entry['stem'])}: {plain(entry['reason'])}"
        for step in outcome.steps
        for entry in step["aside"]
    ]
    if len(aside) > _MOST_LINES:
        more = len(aside) - _MOST_LINES
        aside[_MOST_LINES:] = [f"... and {more} more put aside; the report names them all"]
    notes = [f"note: {plain(dataset)}: {plain(line)}" for dataset, line in notes_of(outcome)]
    if len(notes) > _MOST_LINES:
        more = len(notes) - _MOST_LINES
        notes[_MOST_LINES:] = [f"... and {more} more notes; the report holds them all"]
    if outcome.nothing:
        parts = outcome.count("reused")
        present = f"{parts} parts of {len(outcome.steps)} datasets are there"
        return [f"nothing to do: {present}", *notes, *aside]
    cells = [
        (
            plain(step["version"] or f"{step['dataset']} (not committed)"),
            f"{len(step['made'])} made",
            f"{len(step['reused'])} reused",
            f"{len(step['aside'])} put aside",
            duration(step["seconds"]),
        )
        for step in outcome.steps
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    shown = [
        "  ".join(
            text.rjust(width) if i else text.ljust(width)
            for i, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    ]
    counts = [items_of(step) for step in outcome.steps]
    planned, made, reused, lost = (sum(count[key] for count in counts) for key in COUNTED)
    ended = ENDED.get(outcome.exit_code, ("Ended", ""))[0].lower()
    total = f"{planned} planned = {made} made + {reused} reused + {lost} put aside"
    if outcome.exit_code == TOO_MANY:
        items = counts[-1][COUNTED[0]]
        limit = allowed(outcome.max_quarantine, items)
        total += f"; of {items} at most {limit} may be, and never all (setting max_quarantine)"
    return [*shown, *notes, *aside, f"{ended}: {total}"]


def notes_of(outcome: Outcome) -> list[tuple[str, str]]:
    """Return the notes of datasets on their parts, each line with its dataset.

    A table of the whole dataset is a part of the same name, which is not said twice.
    """
    return [
        (step["dataset"], line.removeprefix(f"{step['dataset']}: "))
        for step in outcome.steps
        for line in step.get("notes", ())
    ]


def items_of(step: Mapping[str, Any]) -> dict[str, int]:
    """Count a step's source items: planned = made + reused + put aside."""
    lost = sum(entry["items"] for entry in step["aside"])
    reused = step.get("reused_items", len(step["reused"]))
    made = step["items"] - lost - reused
    return dict(zip(COUNTED, (step["items"], made, reused, lost), strict=True))
