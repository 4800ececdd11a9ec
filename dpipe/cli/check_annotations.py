"""``dpipe check-annotations``: the annotation doctor."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from dpipe import api, doctor
from dpipe.cli import options
from dpipe.cli.opening import settings_of
from dpipe.cli.output import show_rows
from dpipe.errors import UsageError

_SHOWN = 3


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE_OR_FOLDER_OR_NAME...")
@click.option("--pictures", multiple=True, metavar="FOLDER", help="Where the pictures are.")
@click.option(
    "--repaired", type=click.Path(path_type=Path), metavar="FOLDER", help="Takes mended copies."
)
@options.store
@options.json
def check_annotations(
    files: tuple[str, ...],
    pictures: tuple[str, ...],
    repaired: Path | None,
    store: str | None,
    as_json: bool,
) -> None:
    """Find faults of annotations; exit 5 if there are any."""
    most = None if as_json else _SHOWN
    store = store or _store_of(files)
    if store is None:
        reports = [
            doctor.check_annotations(
                files, pictures_in=pictures, repaired_in=repaired, examples=most, progress=True
            )
        ]
    elif pictures or repaired:
        raise UsageError("--pictures and --repaired are for files, not for datasets of a store")
    else:
        reports = [
            doctor.check_dataset(api.open(store, name), name, examples=most) for name in files
        ]
    if as_json:
        show_rows([row for report in reports for row in _rows(report)], as_json)
    else:
        for line in [line for report in reports for line in _lines(report)] or ["no fault"]:
            click.echo(line)
    if not all(report.is_clean for report in reports):
        raise click.exceptions.Exit(5)


def _store_of(words: Sequence[str]) -> str | None:
    """Return the store of the settings, where nothing that is named can be a file."""
    if any(Path(word).exists() or set(word) & set("*?[:/") for word in words):
        return None
    return settings_of().store or None


def _rows(report: doctor.Report) -> list[dict[str, object]]:
    """Return findings and changes as rows."""
    rows: list[dict[str, object]] = []
    for finding in report.findings:
        kind = doctor.KINDS[finding.kind]
        examples = [example._asdict() for example in finding.examples]
        rows.append(
            {k: v for k, v in asdict(finding).items() if k != "examples"}
            | kind._asdict() | {"examples": examples}
        )  # fmt: skip
    return rows + [{"kind": "change", **asdict(change)} for change in report.changes]


def _lines(report: doctor.Report) -> list[str]:
    """Return findings and changes as lines for a person."""
    lines = []
    for finding in report.findings:
        kind = doctor.KINDS[finding.kind]
        lines.append(f"{finding.kind}: {finding.count} ({kind.meaning}); {kind.advice}")
        for file, picture, annotations, detail in finding.examples:
            ids = "annotation " + ", ".join(map(str, annotations)) if annotations else ""
            lines.append("  " + ": ".join(part for part in (file, picture, ids, detail) if part))
        if finding.count > len(finding.examples):
            lines.append(f"  and {finding.count - len(finding.examples)} more; --json lists all")
    return lines + [
        f"changed in the copy of {c.file}: {c.what} ({c.count})" for c in report.changes
    ]
