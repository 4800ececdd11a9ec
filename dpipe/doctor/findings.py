"""Findings of the annotation doctor: their kinds, and how those of a kind are gathered.

An object has at most one fault of its shape: what one fault makes necessary is not told again.
"""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple


class Kind(NamedTuple):
    """A kind of finding: its meaning, what to do, and whether it is a fault."""

    meaning: str
    advice: str
    fault: bool = True


KINDS = {
    "cut_off": Kind(
        "the file ends in the middle",
        "fetch it again; --repaired keeps what is complete",
    ),
    "unreadable_file": Kind("no annotations can be read", "fetch it again, or leave it out"),
    "unusable_entry": Kind(
        "an entry that says something impossible", "mend it; --repaired drops annotations of it"
    ),
    "missing_picture": Kind("an entry without a file", "bring the picture, or drop its entry"),
    "damaged_picture": Kind("a picture that cannot be read", "fetch it again if it is damaged"),
    "other_size": Kind(
        "a picture of another size than its entry", "find the picture that was annotated"
    ),
    "picture_twice": Kind("a picture listed twice", "merge the entries; --repaired does"),
    "in_two_files": Kind(
        "a picture in two files of annotations", "take it out of one if they are splits"
    ),
    "box_disagrees": Kind(
        "a box more than 1 pixel off its outline", "make it anew; --repaired does"
    ),
    "area_disagrees": Kind(
        "an area that its outline has neither by corners nor in pixels",
        "make it anew; --repaired does",
    ),
    "crossing_outline": Kind("an outline that crosses itself", "draw it again"),
    "double_object": Kind(
        "an object that another one of its class covers, IoU 0.9 or more",
        "drop one; --repaired does",
    ),
    "outside": Kind(
        "an object more than 1 pixel outside its picture", "clip or drop it; --repaired does"
    ),
    "overlap": Kind(
        "a pair of objects that share more than a fifth of the smaller one",
        "nothing, where cells lie on each other; a label image loses those pixels",
        fault=False,
    ),
    "incomplete_picture": Kind(
        "a picture with less than a tenth of its siblings' objects",
        "look at it; leave it out if cells are not annotated",
    ),
    "empty_picture": Kind("a picture without annotation", "leave it out unless it is empty"),
    "unknown_category": Kind("an object of a class that is not listed", "list it, or correct it"),
    "bad_runs": Kind(
        "an RLE of another size than its picture", "make it anew; --repaired drops it"
    ),
    "annotation_id_twice": Kind(
        "an annotation id that another one has", "number anew; --repaired does"
    ),
    "unlisted_picture": Kind(
        "an annotation of a picture that is not listed", "list the picture; --repaired drops it"
    ),
    "bad_outline": Kind(
        "an outline of fewer than three vertices, an odd count, or no number",
        "draw it again; --repaired drops it",
    ),
    "no_area": Kind("an object without area", "drop it; --repaired does"),
    "label_in_pieces": Kind(
        "a number or colour of a label image that stands for objects far apart",
        "number one of them anew",
    ),
    "smoothed_labels": Kind(
        "a label image whose colours were smoothed", "export it again, without smoothing"
    ),
    "phases_out_of_order": Kind(
        "an event whose phases overlap, leave a gap, lack the disruption or are far off",
        "look at the row of its table",
    ),
    "track_jump": Kind("a spot far from the one before it", "look at its track"),
    "odd_spot": Kind("a spot that does not fit its movie", "look at its track"),
}
"""All kinds, in the order in which they are told."""


class Example(NamedTuple):
    """Where something was found: file, picture, annotation ids, and the numbers."""

    file: str
    picture: str = ""
    annotations: tuple[int, ...] = ()
    detail: str = ""


@dataclass
class Finding:
    """Whatever was found of one kind.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    count : int
        How many.
    examples : list of Example
        The first of them.
    """

    kind: str
    count: int = 0
    examples: list[Example] = field(default_factory=list)

    @property
    def fault(self) -> bool:
        """Whether it is a fault; an information otherwise."""
        return KINDS[self.kind].fault


@dataclass
class Findings:
    """Findings by kind, while checks go on.

    Attributes
    ----------
    most : int, optional
        Examples that are kept of each kind; None for all.
    """

    most: int | None = None
    by_kind: dict[str, Finding] = field(default_factory=dict)

    def add(self, kind: str, examples: Iterable[Example], count: int | None = None) -> None:
        """Add findings of a kind; `count` tells how many where they are not to be listed all."""
        listed = iter(examples)
        found = self.by_kind.setdefault(kind, Finding(kind))
        room = None if self.most is None else max(self.most - len(found.examples), 0)
        kept = list(itertools.islice(listed, room))
        found.examples += kept
        found.count += len(kept) + sum(1 for _ in listed) if count is None else count

    def listed(self) -> list[Finding]:
        """Return what was found, in the order of `KINDS`."""
        return [
            self.by_kind[kind]
            for kind in KINDS
            if kind in self.by_kind and self.by_kind[kind].count
        ]
