"""Annotations checked: files as they come, or datasets that were made of them.

Everything is looked at file by file; pictures are compared over all of them.
"""

import codecs
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import xarray as xr
from tqdm import tqdm

from dpipe import sources
from dpipe.doctor import objects, pictures
from dpipe.doctor.cut_off import complete_part, is_cut_off
from dpipe.doctor.events import report_phases, report_spots
from dpipe.doctor.findings import Example, Finding, Findings
from dpipe.doctor.labels import report_labels
from dpipe.doctor.repair import Change, repaired
from dpipe.doctor.table import AnnotationTable, table_of, table_of_dataset
from dpipe.errors import InputError, UsageError
from dpipe.formats import coco, plain_pictures
from dpipe.readers import NamedPictures, paired, resolve
from dpipe.writers import aside

_SUFFIX = ".json"
_ROUNDS = 5
_REPORTS = {
    "label_pixels": report_labels,
    "phase_flag": report_phases,
    "spot_flag": report_spots,
}
"""What is looked at where a dataset has a variable."""
Source = str | os.PathLike[str]


@dataclass
class Report:
    """What was found, and what was changed in repaired copies.

    Attributes
    ----------
    findings : list of Finding
        By kind; of kinds that were not found there is none.
    changes : list of Change
        In copies, if any were asked for.
    """

    findings: list[Finding] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Whether there is no fault; informations do not count."""
        return not any(finding.fault for finding in self.findings)


class Reading(NamedTuple):
    """A file that was read: its JSON as far as it is whole, and its columns."""

    text: bytes
    table: AnnotationTable


def check_annotations(
    files: Source | Sequence[Source],
    *,
    pictures_in: Source | Sequence[Source] = (),
    repaired_in: str | os.PathLike[str] | None = None,
    examples: int | None = None,
    progress: bool = False,
) -> Report:
    """Check files of annotations in the format of COCO, and label images.

    Parameters
    ----------
    files : str, path, or sequence of these
        Files, or folders and globs of files, that end in ``.json``. Of pictures there, those are
        label images that are named so (``_mask``, ``_objects``, a folder ``masks``), or by
        themselves.
    pictures_in : str, path, or sequence of these
        Folders of the pictures; without, only annotations are looked at.
    repaired_in : str or path, optional
        A folder that gets a repaired copy of each file that can be read; the files themselves are
        never touched.
    examples : int, optional
        How many are kept of each kind; all by default.
    progress : bool
        Whether a bar is shown on stderr.

    Returns
    -------
    Report
        What was found, by the kinds in ``dpipe.doctor.KINDS``, and what the copies have otherwise.

    Raises
    ------
    UsageError
        No file of annotations is there, or a copy would go over a file.
    StoreError
        The disk or the network failed.

    Examples
    --------
    >>> import json, tempfile
    >>> from pathlib import Path
    >>> path = Path(tempfile.mkdtemp(), "val.json")
    >>> entry = {"id": 1, "file_name": "a.png", "width": 9, "height": 9}
    >>> _ = path.write_text(json.dumps({"images": [entry], "annotations": [], "categories": []}))
    >>> [(finding.kind, finding.count) for finding in check_annotations(path).findings]
    [('empty_picture', 1)]
    """
    uris, label_images = _files(files)
    copies = _copies(uris, repaired_in)
    found = Findings(examples)
    tables: list[AnnotationTable] = []
    report = Report()
    bar = tqdm(uris, desc="check", unit="file", delay=2, disable=None if progress else True)
    for uri in bar:
        if (reading := _read(uri, found)) is not None:
            tables.append(reading.table)
            verdict = _check(reading.table, found)
            if uri in copies:
                report.changes += _write_copy(copies[uri], reading, verdict)
    _compare(tables, pictures_in, found)
    _check_label_images(label_images, found)
    report.findings = found.listed()
    return report


def check_dataset(
    tree: xr.DataTree | xr.Dataset, name: str, *, examples: int | None = None
) -> Report:
    """Check a dataset of annotated pictures, label images, phases or checked tracks.

    Parameters
    ----------
    tree : xarray.DataTree or Dataset
        As `dpipe.open` gives it: what the readers ``coco``, ``pictures``, ``instance-masks`` and
        ``phases`` and the operators ``polygon-masks`` and ``track-checks`` make.
    name : str
        What examples call it.
    examples : int, optional
        How many are kept of each kind; all by default.

    Returns
    -------
    Report
        What was found. Annotations that the reader had to leave out count as one by file.

    Raises
    ------
    SchemaError
        It holds nothing of this.
    """
    parts = {name: tree} if isinstance(tree, xr.Dataset) else {
        f"{name}/{stem}": child.to_dataset() for stem, child in tree.children.items()
    }  # fmt: skip
    found = Findings(examples)
    tables: list[AnnotationTable] = []
    for label, ds in parts.items():
        reports = [report for variable, report in _REPORTS.items() if variable in ds]
        for report in reports:
            report(ds, label, found)
        if not reports or "object_image" in ds:
            tables.append(table_of_dataset(ds, label))
            _check(tables[-1], found)
    _compare(tables, (), found)
    return Report(found.listed())


def _check(table: AnnotationTable, found: Findings) -> objects.Verdict:
    """Add what is wrong with the objects of a table to the findings."""
    for kind, example in table.problems:
        found.add(kind, [example])
    verdict = objects.judge(table)
    objects.report(table, verdict, found)
    return verdict


def _compare(
    tables: Sequence[AnnotationTable], pictures_in: Source | Sequence[Source], found: Findings
) -> None:
    """Add what is wrong with the pictures of all tables to the findings."""
    where = [pictures_in] if isinstance(pictures_in, str | os.PathLike) else list(pictures_in)
    contents = pictures.Contents()
    if where:
        uris = [item.uri for item in sources.walk_items(*where)]
        named = NamedPictures(u for u in uris if u.lower().endswith(plain_pictures.SUFFIXES))
        contents = pictures.read_contents(tables, named, found)
    pictures.report_lists(tables, contents, found)
    pictures.report_counts(tables, found)


def _files(files: Source | Sequence[Source]) -> tuple[list[str], list[str]]:
    """Return files of annotations, and label images."""
    where = [files] if isinstance(files, str | os.PathLike) else list(files)
    uris, label_images = list[str](), list[str]()
    for text in where:
        listed = [item.uri for item in sources.list_items(text)]
        uris += [uri for uri in listed if uri.lower().endswith(_SUFFIX)]
        listed = [uri for uri in listed if uri.lower().endswith(plain_pictures.SUFFIXES)]
        pairs = paired(listed)
        named = str(text).lower().endswith(plain_pictures.SUFFIXES)
        label_images += listed if named else [*pairs.labels.values(), *pairs.alone]
    if not uris and not label_images:
        raise UsageError("no annotations (.json) and no label images there; name some")
    return list(dict.fromkeys(uris)), list(dict.fromkeys(label_images))


def _check_label_images(uris: Sequence[str], found: Findings) -> None:
    """Add what is wrong with label images to the findings, folder by folder."""
    by_folder: dict[str, list[str]] = {}
    for uri in uris:
        by_folder.setdefault(uri.rpartition("/")[0], []).append(uri)
    for folder, mine in by_folder.items():
        name = folder.rpartition("/")[2]
        try:
            ds = resolve("instance-masks").open(mine)
        except InputError as error:  # of all of them
            found.add("damaged_picture", [Example(name, detail=str(error))])
        else:
            report_labels(ds, name, found)


def _copies(uris: Sequence[str], folder: str | os.PathLike[str] | None) -> dict[str, Path]:
    """Return where the copy of each file goes."""
    if folder is None:
        return {}
    copies = {uri: Path(folder).absolute() / uri.rpartition("/")[2] for uri in uris}
    twice = [path.name for path, count in Counter(copies.values()).items() if count > 1]
    if twice:
        raise UsageError(f"--repaired: several files are called {twice[0]}; repair one at a time")
    for path in copies.values():
        if path.exists():
            raise UsageError(f"{path}: is there already; delete it, or choose another folder")
    return copies


def _read(uri: str, found: Findings) -> Reading | None:
    """Read a file as far as it is whole; add to the findings what keeps it from being read."""
    with sources.opened(uri) as file:
        data = Path(file).read_bytes() if isinstance(file, str) else file.read()
    data = data.removeprefix(codecs.BOM_UTF8)
    name = uri.rpartition("/")[2]
    text, cut = data, False
    try:
        annotations = coco.parse(text)
    except InputError as error:
        cut = data[:64].lstrip()[:1] in (b"{", b"[") and is_cut_off(data)
        text, kept = complete_part(data) if cut else (b"", 0)
        try:
            annotations = coco.parse(text)
        except InputError:
            kind = "cut_off" if cut else "unreadable_file"
            found.add(kind, [Example(name, detail=str(error))])
            return None
        told = (
            f"{len(annotations.objects)} annotations and {len(annotations.images)} pictures are "
            f"complete, in {kept} of {len(data)} bytes"
        )
        found.add("cut_off", [Example(name, detail=told)])
    if annotations.bare:
        told = "a bare list of detections; expected pictures and classes with them"
        found.add("unreadable_file", [Example(name, detail=told)])
        return None
    table = table_of(annotations, name)
    table.cut = cut
    unsure = b"NaN" in text or b"Infinity" in text
    return Reading(coco.with_nulls(text) if unsure else text, table)


def _write_copy(target: Path, reading: Reading, verdict: objects.Verdict) -> list[Change]:
    """Write the repaired copy of a file, and return what was changed in it."""
    text, changes = _mended(reading, verdict)
    with aside([target]) as (path,):
        path.write_bytes(text)
    return [Change(reading.table.file, *item) for item in changes.items()]


def _mended(reading: Reading, verdict: objects.Verdict) -> tuple[bytes, Counter[str]]:
    """Return the repaired text of a file, and what was changed, in as many rounds as it needs."""
    changes: Counter[str] = Counter()
    text, table = reading
    if table.cut:
        changes["ends after what is complete"] += 1
        table = replace(
            table, cut=not len(table.image_ids)
        )  # so that annotations of lost pictures go
        verdict = objects.judge(table)
    for _ in range(_ROUNDS):
        text, more = repaired(text, table, verdict)
        changes += more
        if not more:
            break
        cut, table = table.cut, table_of(coco.parse(text), table.file)
        table.cut = cut
        verdict = objects.judge(table)
    return text, changes
