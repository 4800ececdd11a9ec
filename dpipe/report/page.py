"""The run's report: a file for machines, a page for people, lines for a terminal.

``runs/RUN/report.json`` holds everything that the run said of itself; ``runs/RUN/report.html`` is
one file that needs nothing else, no script and no network, and shows what was made, what was put
aside and why, every movie's picture and quality, Figure 3 and a gallery of crops. Whatever came
from files or users is escaped.

This module knows how things are shown; it decides nothing and makes no data.
"""

import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from dpipe import catalog, schema
from dpipe.build import Outcome
from dpipe.report import contents
from dpipe.report import drawings as report_drawings
from dpipe.report.charts import PAPER, WIDTH
from dpipe.report.lines import COUNTED, ENDED, items_of, notes_of
from dpipe.report.text import bytes_text, digits, duration
from dpipe.storage import Objects

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
    document = {"format": "dpipe-report/1"} | asdict(outcome)
    objects.put(f"{key}.json", json.dumps(document, indent=1, default=str).encode())
    objects.put(f"{key}.html", _page(objects, outcome).encode(errors="replace"))
    return f"{objects.url}/{key}.html"


def _started(name: str) -> str:
    """Return when a run began, by its name; "" if that does not say."""
    try:
        when = datetime.strptime(name.partition("-")[0], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return ""
    return f"{when:%d %B %Y, %H:%M:%S} UTC"


def _page(objects: Objects, outcome: Outcome) -> str:
    shown = contents.gather(objects, outcome.steps)
    undrawn: list[str] = []
    drawings = report_drawings.drawings(objects, outcome.steps, undrawn)
    aside = [{"dataset": s["dataset"]} | entry for s in outcome.steps for entry in s["aside"]]
    counts = [items_of(step) for step in outcome.steps]
    title, meaning = ENDED.get(outcome.exit_code, (f"Ended with {outcome.exit_code}", ""))
    return _template().render(
        outcome=outcome,
        started=_started(outcome.run),
        title=title,
        meaning=meaning,
        steps=list(zip(outcome.steps, counts, strict=True)),
        total={key: sum(count[key] for count in counts) for key in COUNTED},
        longest=max([step["seconds"] for step in outcome.steps], default=0.0) or 1.0,
        aside=aside[:_MOST_ASIDE],
        aside_total=len(aside),
        notes=notes_of(outcome)[:_MOST_ASIDE],
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


def _study(makings: Sequence[contents.Making]) -> list[tuple[str, str]]:
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


def _environments(makings: Sequence[contents.Making]) -> list[dict[str, Any]]:
    """Return with what the datasets were made: one entry for each different answer."""
    entries: list[dict[str, Any]] = []
    for making in makings:
        provenance = making.provenance
        if not provenance:
            continue
        entry = {
            "dpipe": provenance.get("dpipe", ""),
            "python": provenance.get("python", ""),
            "machine": provenance.get("machine", ""),
            "git": provenance.get("git", ""),
            "libraries": dict(provenance.get("libraries", {})),
        }
        same = next((earlier for earlier in entries if earlier["what"] == entry), None)
        if same is None:
            entries.append({"what": entry, "for": [making.version.label]})
        else:
            same["for"].append(making.version.label)
    return entries


def _template() -> Any:
    environment = Environment(
        loader=PackageLoader("dpipe.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    shown: dict[str, Callable[..., str]] = {
        "bytes": bytes_text,
        "duration": duration,
        "digits": digits,
        "said": lambda value: json.dumps(value, ensure_ascii=False, default=str),
    }
    environment.filters.update(shown)
    return environment.get_template("report.html")
