"""Versions as people see them: a row of a listing, lines for a terminal, a table in a notebook.

Imported by ``catalog`` alone.
"""

import html
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

_LAYOUT = ("block", "slot", "value", "place")
"""Dims of packed pictures that say how they lie, not what there is."""


def describe(summary: Mapping[str, Any]) -> str:
    """Return one line for people of a part's summary.

    Examples
    --------
    >>> describe({"sizes": {"t": 3, "y": 4}, "variables": ["image"], "dtype": "uint8"})
    'image uint8 t 3, y 4'
    >>> describe({"sizes": {"record": 9, "block": 1, "c": 8}, "variables": ["pixels"],
    ...           "dtype": "uint16", "records": 9, "put_aside": 2})
    'pixels uint16 record 9, c 8, 2 put aside'
    """
    packed = "records" in summary
    sizes = {
        dim: n for dim, n in summary.get("sizes", {}).items() if not packed or dim not in _LAYOUT
    }
    counted = [f"{dim} {n}" for dim, n in sizes.items()]
    counted += [f"{summary['put_aside']} put aside"] if summary.get("put_aside") else []
    words = (*summary.get("variables", [])[:3], summary.get("dtype", ""), ", ".join(counted))
    return " ".join(word for word in words if word)


Row = TypedDict(
    "Row",
    {
        "dataset": str,
        "version": int,
        "parts": int,
        "records": int | None,
        "put aside": int,
        "bytes": int,
        "created": str,
        "author": str,
        "message": str,
        "study": str,
    },
)
"""A version in a listing; its names are the columns."""


def row(version: Any) -> Row:
    """Return a version as one row of a listing."""
    return {
        "dataset": version.name,
        "version": version.number,
        "parts": version.totals["parts"],
        "records": version.totals["records"] or None,
        "put aside": sum(1 if a.get("whole", True) else a["items"] for a in version.put_aside),
        "bytes": version.totals["bytes"],
        "created": version.created,
        "author": version.author,
        "message": version.message,
        "study": str(version.study.get("title", "")),
    }


def text(version: Any, made_from: Sequence[str] = ()) -> list[str]:
    """Return a version as lines for a terminal."""
    made_by = version.recipe.get("reader") or version.recipe.get("operator") or "saved"
    lines = [
        f"{version.label}  {version.created}  {version.author}",
        f"  {version.message}",
        f"  made by {made_by}" + (f" from {', '.join(made_from[1:])}" if made_from[1:] else ""),
    ]
    lines += study_lines(version.study)
    lines += [f"  {ref.stem}  {ref.fingerprint}  {describe(ref.summary)}" for ref in version.parts]
    lines += [f"  note: {r.stem}: {n}" for r in version.parts for n in r.summary.get("notes", ())]
    lines += [f"  put aside: {a.get('stem')}: {a.get('reason')}" for a in version.put_aside]
    return lines


def study_lines(study: Any, name: str = "study") -> list[str]:
    """Return a study as it was typed, a line each text of it; records of a list are counted.

    Examples
    --------
    >>> study_lines({"title": "Cells", "authors": ["Ann", {"author_last_name": "Ben"}]})
    ['  study title: Cells', '  study authors: Ann', '  study authors 2 author_last_name: Ben']
    """
    if isinstance(study, Mapping):
        return [
            line for key, value in study.items() for line in study_lines(value, f"{name} {key}")
        ]
    if isinstance(study, Sequence) and not isinstance(study, str):
        names = [f"{name} {i}" if isinstance(v, Mapping) else name for i, v in enumerate(study, 1)]
        return [
            line
            for value, numbered in zip(study, names, strict=True)
            for line in study_lines(value, numbered)
        ]
    return [f"  {name}: {line}" for line in str(study).splitlines() or [""]]


def version_page(version: Any) -> str:
    """Return a version as HTML: its parts, and what was put aside."""
    rows = "".join(
        f"<tr><td>{html.escape(ref.stem)}</td><td><code>{html.escape(ref.fingerprint)}</code>"
        f"</td><td>{html.escape(describe(ref.summary))}</td></tr>"
        for ref in version.parts
    )
    study = "".join(
        f"<li>{html.escape(line.removeprefix('  study '))}</li>"
        for line in study_lines(version.study)
    )
    aside = "".join(
        f"<li>{html.escape(str(item.get('stem', '')))}: "
        f"{html.escape(str(item.get('reason', '')))}</li>"
        for item in version.put_aside
    )
    return (
        f"<h4>{html.escape(version.label)}</h4><p>{html.escape(version.message)} "
        f"<small>{html.escape(version.created)}, {html.escape(version.author)}</small></p>"
        f"<table><thead><tr><th>part</th><th>fingerprint</th><th>holds</th></tr></thead>"
        f"<tbody>{rows}</tbody></table>"
        + (f"<p>Study:</p><ul>{study}</ul>" if study else "")
        + (f"<p>Put aside:</p><ul>{aside}</ul>" if aside else "")
    )


def history_page(history: Any) -> str:
    """Return the versions of a dataset as HTML."""
    rows = "".join(
        f"<tr><td>{v.number}</td><td>{html.escape(v.created)}</td>"
        f"<td>{html.escape(v.author)}</td><td>{len(v.parts)}</td>"
        f"<td>{html.escape(v.message)}</td></tr>"
        for v in history.versions
    )
    return (
        f"<h4>{html.escape(history.name)}</h4><table><thead><tr><th>version</th><th>created</th>"
        f"<th>author</th><th>parts</th><th>message</th></tr></thead><tbody>{rows}</tbody></table>"
    )
