"""What a file of annotations says, as long columns; see ``coco``, which fills them."""

from array import array
from dataclasses import dataclass, field
from typing import Any, NamedTuple

Entry = dict[str, Any]
"""An image or a class of objects of a file, with whatever keys it has."""


@dataclass
class Objects:
    """Columns of objects, in the order of the file.

    Attributes
    ----------
    ids, images, categories : array of int64
        Number, picture and class of each; -1 where the file gives no number or class.
    crowd : array of int8
        Whether it stands for several.
    area, score, mask_score : array of float64
        As the file gives them, NaN where it does not.
    boxes : array of float64
        Four a piece: left, top, width, height; NaN where there is none.
    ring_counts, run_counts : array of int64
        Rings and runs of each.
    run_heights : array of int64
        Rows of the mask that the runs of each fill, 0 where nothing says.
    vertex_counts : array of int64
        Vertices of each ring.
    x, y : array of float64
        Vertices, in pixels from the upper left corner.
    runs : array of uint32
        Run lengths.
    """

    ids: "array[int]" = field(default_factory=lambda: array("q"))
    images: "array[int]" = field(default_factory=lambda: array("q"))
    categories: "array[int]" = field(default_factory=lambda: array("q"))
    crowd: "array[int]" = field(default_factory=lambda: array("b"))
    area: "array[float]" = field(default_factory=lambda: array("d"))
    score: "array[float]" = field(default_factory=lambda: array("d"))
    mask_score: "array[float]" = field(default_factory=lambda: array("d"))
    boxes: "array[float]" = field(default_factory=lambda: array("d"))
    ring_counts: "array[int]" = field(default_factory=lambda: array("q"))
    run_counts: "array[int]" = field(default_factory=lambda: array("q"))
    run_heights: "array[int]" = field(default_factory=lambda: array("q"))
    vertex_counts: "array[int]" = field(default_factory=lambda: array("q"))
    x: "array[float]" = field(default_factory=lambda: array("d"))
    y: "array[float]" = field(default_factory=lambda: array("d"))
    runs: "array[int]" = field(default_factory=lambda: array("I"))

    def __len__(self) -> int:
        return len(self.images)


class Unusable(NamedTuple):
    """An annotation that was left out: its place in the file, the problem, and its JSON."""

    number: int
    problem: str
    text: bytes


@dataclass
class Annotations:
    """What a file says.

    Attributes
    ----------
    images, categories : list of dict
        As they stand there.
    objects : Objects
        The annotations.
    info, licenses
        As they stand there, None without.
    notes : list of str
        What was not taken, and what is odd, a line each.
    bare : bool
        Whether the file is a bare list of objects, as detections are written.
    unusable : list of Unusable
        The annotations that were left out.
    """

    images: list[Entry]
    categories: list[Entry]
    objects: Objects
    info: Any = None
    licenses: Any = None
    notes: list[str] = field(default_factory=list)
    bare: bool = False
    unusable: list[Unusable] = field(default_factory=list)
