"""The run's report: a file for machines, a page for people, lines for a terminal.

``runs/RUN/report.json`` holds everything that the run said of itself; ``runs/RUN/report.html`` is
one file that needs nothing else, no script and no network, and shows what was made, what was put
aside and why, every movie's picture and quality, Figure 3 and a gallery of crops. Whatever came
from files or users is escaped.

This module knows how things are shown; it decides nothing and makes no data.
"""

import json
import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from dpipe import _drawings, _movies, catalog, schema
from dpipe._figures import PAPER, WIDTH
from dpipe.objects import Objects
from dpipe.outcome import AGAIN, BUG, DONE, SOME_ASIDE, TOO_MANY, Outcome, allowed

_ENDED = {
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
_MOST_LINES = 20
_MOST_ASIDE = 1000


def write(objects: Objects, outcome: Outcome) -> str:
    """Write the report of a run.

    Parameters
    ----------
    objects : Objects
        The store; the report lies in its ``runs/RUN/``.
    outcome : Outcome
        What the run did.

    Returns
    -------
    str
        Where the page is; "" (and nothing written) if there was nothing to do.

    Raises
    ------
    StoreError
        It cannot be written. What cannot be read is said in the page instead.
    """
    if outcome.nothing:
        return ""
    key = f"runs/{outcome.run}/report"
    said = {"format": "dpipe-report/1"} | asdict(outcome)
    objects.put(f"{key}.json", json.dumps(said, indent=1, default=str).encode())
    objects.put(f"{key}.html", _page(objects, outcome).encode(errors="replace"))
    return f"{objects.url}/{key}.html"


def lines(outcome: Outcome) -> list[str]:
    """Return what a run did as lines for a terminal.

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
        f"put aside: {_plain(step['dataset'])}/{_plain(entry['stem'])}: {_plain(entry['reason'])}"
        for step in outcome.steps
        for entry in step["aside"]
    ]
    if len(aside) > _MOST_LINES:
        more = len(aside) - _MOST_LINES
        aside[_MOST_LINES:] = [f"... and {more} more put aside; the report names them all"]
    notes = [f"note: {_plain(dataset)}: {_plain(line)}" for dataset, line in _notes(outcome)]
    if len(notes) > _MOST_LINES:
        more = len(notes) - _MOST_LINES
        notes[_MOST_LINES:] = [f"... and {more} more notes; the report holds them all"]
    if outcome.nothing:
        parts = outcome.count("reused")
        there = f"{parts} parts of {len(outcome.steps)} datasets are there"
        return [f"nothing to do: {there}", *notes, *aside]
    cells = [
        (
            _plain(step["version"] or f"{step['dataset']} (not committed)"),
            f"{len(step['made'])} made",
            f"{len(step['reused'])} reused",
            f"{len(step['aside'])} put aside",
            _duration(step["seconds"]),
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
    counts = [_items(step) for step in outcome.steps]
    planned, made, reused, lost = (sum(count[key] for count in counts) for key in _COUNTED)
    ended = _ENDED.get(outcome.exit_code, ("Ended", ""))[0].lower()
    total = f"{planned} planned = {made} made + {reused} reused + {lost} put aside"
    if outcome.exit_code == TOO_MANY:
        items = counts[-1][_COUNTED[0]]
        most = allowed(outcome.max_quarantine, items)
        total += f"; of {items} at most {most} may be, and never all (setting max_quarantine)"
    return [*shown, *notes, *aside, f"{ended}: {total}"]


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> list[str]:
    """Return rows as an aligned text table.

    Parameters
    ----------
    rows : sequence of mapping
        One a line.
    columns : sequence of str
        Which keys, in which order; by default those of all rows, in the order found.

    Returns
    -------
    list of str
        A header and one line a row; nothing for no rows. Numbers stand right; keys that begin
        with ``bytes``, and ``task_memory``, are shown in units of 1024.

    Examples
    --------
    >>> for line in table([{"dataset": "leuko", "parts": 2, "bytes": 3 << 20}]):
    ...     print(line)
    dataset  parts    bytes
    leuko        2  3.0 MiB
    """
    if not rows:
        return []
    keys = list(columns) or list(dict.fromkeys(key for row in rows for key in row))
    right = [all(isinstance(row.get(key), int | float | None) for row in rows) for key in keys]
    cells = [[key.replace("_", " ") for key in keys]]
    cells += [[_cell(key, row.get(key)) for key in keys] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(
            text.rjust(width) if number else text.ljust(width)
            for text, width, number in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in cells
    ]


def _cell(key: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, int) and (key.startswith("bytes") or key == "task_memory"):
        return _bytes(value)
    if isinstance(value, Mapping):
        value = [f"{name} {number}" for name, number in value.items()]
    if isinstance(value, list | tuple):
        return _plain(", ".join(map(str, value)))
    return _plain(str(value))


def _plain(text: str) -> str:
    """Return text without what would steer a terminal: newlines, escapes, lone surrogates."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(text))


def _bytes(number: float) -> str:
    """Return a size for people."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if number < 1024 or unit == "TiB":
            break
        number /= 1024
    return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"


def _notes(outcome: Outcome) -> list[tuple[str, str]]:
    """Return what the datasets say of their parts, each line with its dataset.

    A table of the whole dataset is a part of the same name, which is not said twice.
    """
    return [
        (step["dataset"], line.removeprefix(f"{step['dataset']}: "))
        for step in outcome.steps
        for line in step.get("notes", ())
    ]


def _duration(seconds: float) -> str:
    """Return a time for people."""
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def _digits(number: float) -> str:
    """Return a number with three digits, a dash where there is none."""
    if math.isnan(number):
        return "–"
    if math.isinf(number) or number == 0:
        return {math.inf: "∞", -math.inf: "−∞"}.get(number, "0")
    if number == round(number) or abs(number) >= 100:
        return f"{number:,.0f}"
    return f"{number:.3g}" if abs(number) >= 1e-3 else f"{number:.1e}"


_COUNTED = ("planned", "made", "reused", "aside")


def _items(step: Mapping[str, Any]) -> dict[str, int]:
    """Count a step's source items: planned = made + reused + put aside."""
    lost = sum(entry["items"] for entry in step["aside"])
    reused = step.get("reused_items", len(step["reused"]))
    made = step["items"] - lost - reused
    return dict(zip(_COUNTED, (step["items"], made, reused, lost), strict=True))


def _started(name: str) -> str:
    """Return when a run began, by its name; "" if that does not say."""
    try:
        when = datetime.strptime(name.partition("-")[0], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return ""
    return f"{when:%d %B %Y, %H:%M:%S} UTC"


def _page(objects: Objects, outcome: Outcome) -> str:
    shown = _movies.gather(objects, outcome.steps)
    undrawn: list[str] = []
    drawings = _drawings.drawings(objects, outcome.steps, undrawn)
    aside = [{"dataset": s["dataset"]} | entry for s in outcome.steps for entry in s["aside"]]
    counts = [_items(step) for step in outcome.steps]
    title, meaning = _ENDED.get(outcome.exit_code, (f"Ended with {outcome.exit_code}", ""))
    return _template().render(
        outcome=outcome,
        started=_started(outcome.run),
        title=title,
        meaning=meaning,
        steps=list(zip(outcome.steps, counts, strict=True)),
        total={key: sum(count[key] for count in counts) for key in _COUNTED},
        longest=max([step["seconds"] for step in outcome.steps], default=0.0) or 1.0,
        aside=aside[:_MOST_ASIDE],
        aside_total=len(aside),
        notes=_notes(outcome)[:_MOST_ASIDE],
        study=_study(shown.makings),
        shown=shown,
        drawings=drawings,
        undrawn=undrawn,
        roots=len({movie.dataset for movie in shown.movies}),
        environments=_environments(shown.makings),
        verdicts=schema.QUALITY_FLAG.flags,
        paper=PAPER,
        width=WIDTH,
        commands=_commands(outcome),
        opened=[f"dpipe.open({outcome.where!r}, {v!r})" for v in _versions(outcome)],
    )


def _study(makings: Sequence[_movies.Making]) -> list[tuple[str, str]]:
    """Return the study that the datasets belong to: name and text of each thing that was typed."""
    study = next((making.version.study for making in makings if making.version.study), {})
    lines = (line.removeprefix("  study ").partition(": ") for line in catalog.study_lines(study))
    return [(name, text) for name, _, text in lines]


def _versions(outcome: Outcome) -> list[str]:
    return [step["version"] for step in outcome.steps if step["version"]]


def _commands(outcome: Outcome) -> list[tuple[str, str]]:
    """Return commands that go on from here, each with what it does."""
    store = f"--store {shlex.quote(outcome.where)}"
    names = " ".join(map(shlex.quote, _versions(outcome)))
    commands = [
        ("compare every byte with what was sealed", f"dpipe verify {names} {store}"),
        (
            "see how a dataset was made, and from what",
            f"dpipe show {names.partition(' ')[0]} {store}",
        ),
    ]
    retry = ("try again what was put aside", f"dpipe run --retry {outcome.run} {store}")
    return (commands if names else []) + ([retry] if outcome.count("aside") else [])


def _environments(makings: Sequence[_movies.Making]) -> list[dict[str, Any]]:
    """Return with what the datasets were made: one entry for each different answer."""
    found: list[dict[str, Any]] = []
    for making in makings:
        said = making.provenance
        if not said:
            continue
        entry = {
            "dpipe": said.get("dpipe", ""),
            "python": said.get("python", ""),
            "machine": said.get("machine", ""),
            "git": said.get("git", ""),
            "libraries": dict(said.get("libraries", {})),
        }
        same = next((known for known in found if known["what"] == entry), None)
        if same is None:
            found.append({"what": entry, "for": [making.version.label]})
        else:
            same["for"].append(making.version.label)
    return found


def _template() -> Any:
    environment = Environment(
        loader=PackageLoader("dpipe", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    shown: dict[str, Callable[..., str]] = {
        "bytes": _bytes,
        "duration": _duration,
        "digits": _digits,
        "said": lambda value: json.dumps(value, ensure_ascii=False, default=str),
    }
    environment.filters.update(shown)
    return environment.get_template("report.html")
