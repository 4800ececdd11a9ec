"""Faults of pictures: missing, listed twice, in two files, with few objects or none.

Siblings are pictures of the same well, or of the same cell type, by their names; the names of
LIVECell are the pattern: ``A172_Phase_A7_1_00d00h00m_1.tif`` shows well A7 of A172.
"""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import BinaryIO

import numpy as np

from dpipe import sources
from dpipe.doctor.findings import Example, Findings
from dpipe.doctor.table import AnnotationTable
from dpipe.errors import InputError
from dpipe.formats import plain_pictures
from dpipe.readers import NamedPictures

FEW, SIBLINGS, ENOUGH = 0.1, 5, 20
"""Share of its siblings' objects below which a picture is incomplete, pictures that make siblings,
and objects that they must have."""
_WELL = re.compile(r"(?:^|_)[A-P]\d{1,2}(?=_|$)")


@dataclass
class Contents:
    """Digests of pictures, by the place of their table and their file name."""

    digests: dict[tuple[int, str], bytes] = field(default_factory=dict)


def report_lists(tables: Sequence[AnnotationTable], contents: Contents, findings: Findings) -> None:
    """Add pictures that are listed twice, in a file or in two of them, to the findings."""
    places: dict[str | bytes, tuple[int, str]] = {}
    for t, table in enumerate(tables):
        ids: dict[int, str] = {}
        here: set[str] = set()
        for number, name in zip(table.image_ids.tolist(), table.file_names, strict=True):
            keys = [name, contents.digests.get((t, name), name)]
            before = next((places[key] for key in keys if key in places), None)
            if name in here or number in ids:
                told = f"also as {ids[number]}" if number in ids else "its name stands before it"
                findings.add(
                    "picture_twice", [Example(table.file, name, (), f"id {number}; {told}")]
                )
            elif before is not None:
                other, other_name = before
                if other == t:
                    told, kind = f"the same pixels as {other_name}", "picture_twice"
                else:
                    as_name = "" if other_name == name else f" as {other_name}"
                    told, kind = f"also in {tables[other].file}{as_name}", "in_two_files"
                findings.add(kind, [Example(table.file, name, (), told)])
            ids.setdefault(number, name)
            here.add(name)
            for key in keys:
                places.setdefault(key, (t, name))


def read_contents(
    tables: Sequence[AnnotationTable], pictures: NamedPictures, findings: Findings
) -> Contents:
    """Look at the pictures of all tables; add what is missing or unlike its entry to the findings.

    Parameters
    ----------
    tables : sequence of AnnotationTable
        Annotations.
    pictures : NamedPictures
        All files that may be the pictures.
    findings : Findings
        Gets ``missing_picture``, ``damaged_picture`` and ``other_size``.

    Returns
    -------
    Contents
        Digests of the pixels.
    """
    contents = Contents()
    listed: list[tuple[int, int, str]] = []
    for t, table in enumerate(tables):
        for k in _first_entries(table):
            try:
                listed.append((t, k, pictures.find(table.file_names[k])))
            except InputError as error:
                example = Example(table.file, table.file_names[k], (), str(error))
                findings.add("missing_picture", [example])
    looks = sources.read_many((uri for *_, uri in listed), _look)
    for (t, k, _), look in zip(listed, looks, strict=True):
        table, name = tables[t], tables[t].file_names[k]
        if isinstance(look, InputError):
            findings.add("damaged_picture", [Example(table.file, name, (), str(look))])
            continue
        digest, height, width = look
        contents.digests[t, name] = digest
        if (height, width) != (table.heights[k], table.widths[k]):
            told = f"{height} x {width}; its entry says {table.heights[k]} x {table.widths[k]}"
            findings.add("other_size", [Example(table.file, name, (), told)])
    return contents


def _first_entries(table: AnnotationTable) -> list[int]:
    """Return the entries whose name does not stand before them."""
    first: dict[str, int] = {}
    for k, name in enumerate(table.file_names):
        first.setdefault(name, k)
    return list(first.values())


def _look(file: BinaryIO) -> tuple[bytes, int, int]:
    """Return the digest of a picture's pixels, its height and its width."""
    pixels = plain_pictures.read(file.read())
    said = hashlib.blake2b(f"{pixels.shape} {pixels.dtype.str}".encode(), digest_size=16)
    said.update(np.ascontiguousarray(pixels))
    return said.digest(), *pixels.shape[:2]


def report_counts(tables: Sequence[AnnotationTable], findings: Findings) -> None:
    """Add pictures without annotation, or with far fewer than their siblings, to the findings."""
    counts = [
        (table.file, name, count)
        for table in tables
        if not table.cut
        for name, count in _counts(table).items()
    ]
    groups: dict[str, list[int]] = defaultdict(list)
    for _, name, count in counts:
        for key in siblings(name):
            groups[key].append(count)
    medians = {key: median(group) for key, group in groups.items()}
    for file, name, count in counts:
        if not count:
            findings.add("empty_picture", [Example(file, name)])
            continue
        key = next((key for key in siblings(name) if len(groups[key]) >= SIBLINGS), "")
        usual = medians.get(key, 0)
        if usual >= ENOUGH and count < FEW * usual:
            told = f"{count} objects; {usual:g} in the middle of {len(groups[key])} alike"
            findings.add("incomplete_picture", [Example(file, name, (), told)])


def _counts(table: AnnotationTable) -> dict[str, int]:
    """Return how many objects each picture has, by its name; under all of its numbers."""
    numbers: dict[str, set[int]] = defaultdict(set)
    for number, name in zip(table.image_ids.tolist(), table.file_names, strict=True):
        numbers[name].add(number)
    values, totals = np.unique(table.images, return_counts=True)
    each = Counter(dict(zip(values.tolist(), totals.tolist(), strict=True))) + Counter(
        table.without
    )
    return {name: sum(each[number] for number in own) for name, own in numbers.items()}


def siblings(name: str) -> Iterator[str]:
    """Yield what pictures like this one have in common by their names, the nearest first.

    Examples
    --------
    >>> list(siblings("images/A172_Phase_A7_1_00d00h00m_1.tif"))
    ['A172_Phase_A7', 'A172_Phase']
    >>> list(siblings("plate3-17.png"))
    ['plate-']
    """
    stem = name.replace("\\", "/").rpartition("/")[2].rpartition(".")[0] or name
    wells = list(_WELL.finditer(stem))
    if not wells or not wells[-1].start():
        yield re.sub(r"\d+", "", stem)
        return
    yield stem[: wells[-1].end()]
    yield stem[: wells[-1].start()]
