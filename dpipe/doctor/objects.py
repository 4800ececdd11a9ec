"""Faults of objects: the shape of each by itself, and pairs of them in a picture.

An object has the first fault of a list: no picture, no usable shape, outside, no area, an outline
that crosses itself, a box that disagrees, an area that does. What follows from one is not told.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from dpipe.doctor.findings import Example, Findings
from dpipe.doctor.pairs import picture_pairs
from dpipe.doctor.shapes import outline_facts
from dpipe.doctor.table import BOX, NO_SHAPE, RINGS, RUNS, AnnotationTable, starts

OVERLAP, SAME = 0.2, 0.9
_FAR, _SHARE, _PIXELS, _NOTHING = 1.0, 0.05, 2.0, 1e-9


@dataclass
class Verdict:
    """Faults of the objects of a table, and what was measured for it.

    Attributes
    ----------
    fault : numpy.ndarray of str, shape (object,)
        Kind of the fault of its shape or place, "" for none.
    extents : numpy.ndarray, shape (object, 4)
        Left, top, right, bottom; NaN where there is no shape.
    areas : numpy.ndarray
        By the corners of outlines; pixels of runs.
    pixels : numpy.ndarray
        Pixels that each covers, -1 where it was not counted.
    same_as : numpy.ndarray
        The object before it that it covers, -1 for none.
    id_twice : numpy.ndarray of bool
        Whether one before it has its id.
    unknown_class : numpy.ndarray of bool
        Whether its class is not listed.
    overlaps, shared : numpy.ndarray
        Pairs that share much, and the pixels that they share.
    """

    fault: np.ndarray
    extents: np.ndarray
    areas: np.ndarray
    pixels: np.ndarray
    same_as: np.ndarray
    id_twice: np.ndarray
    unknown_class: np.ndarray
    overlaps: np.ndarray
    shared: np.ndarray


def judge(table: AnnotationTable) -> Verdict:
    """Return the faults of the objects of a table."""
    shapes, heights, widths = table.shapes, *table.sizes()
    extents, areas, bad, crossing = outline_facts(
        table.x, table.y, table.rings, table.ring_sizes, table.vertices
    )
    boxed = shapes == BOX
    extents[boxed, :2] = table.boxes[boxed, :2]
    extents[boxed, 2:] = table.boxes[boxed, :2] + table.boxes[boxed, 2:]
    areas[boxed] = table.boxes[boxed, 2:].clip(min=0).prod(axis=1)
    known = (heights > 0) & (widths > 0)
    sums = _run_sums(table)
    other = (sums != heights * widths) | ((table.run_heights > 0) & (table.run_heights != heights))
    fault = np.full(len(table), "", dtype="U24")
    fault[table.pictures < 0] = "" if table.cut else "unlisted_picture"
    if table.odd_ids:
        fault[np.isin(table.images, list(table.odd_ids))] = ""
    _mark(fault, "bad_outline", (shapes == NO_SHAPE) | (shapes == RINGS) & bad)
    _mark(fault, "bad_runs", (shapes == RUNS) & known & other)
    usable = (fault == "") & known
    pixels, pairs, shared = _pairs(table, usable, extents)
    areas[shapes == RUNS] = pixels[shapes == RUNS]
    inside = np.stack(
        [extents[:, 0], extents[:, 1], widths - extents[:, 2], heights - extents[:, 3]]
    )
    _mark(fault, "outside", known & (inside.min(axis=0) < -_FAR))
    _mark(fault, "no_area", (areas <= _NOTHING) & ~crossing & (known | (shapes != RUNS)))
    _mark(fault, "crossing_outline", crossing & ~table.crowd)
    outlined = (shapes != BOX) & (known | (shapes == RINGS))
    _mark(fault, "box_disagrees", outlined & (box_error(table, extents) > _FAR))
    _mark(fault, "area_disagrees", outlined & _other_area(table.areas, areas, pixels))
    verdict = Verdict(
        fault, extents, areas, pixels, np.full(len(table), -1), _repeated(table.ids),
        ~np.isin(table.categories, table.category_ids), pairs, shared,
    )  # fmt: skip
    _find_doubles(table, verdict)
    return verdict


def _mark(fault: np.ndarray, kind: str, where: np.ndarray) -> None:
    """Give a fault to objects that have none."""
    fault[where & (fault == "")] = kind


def _run_sums(table: AnnotationTable) -> np.ndarray:
    totals = starts(table.run_lengths)
    sums: np.ndarray = totals[table.runs[1:]] - totals[table.runs[:-1]]
    return sums


def box_error(table: AnnotationTable, extents: np.ndarray) -> np.ndarray:
    """Return how far a box is off its outline at most, in pixels, 0 without a box."""
    boxes = np.concatenate([table.boxes[:, :2], table.boxes[:, :2] + table.boxes[:, 2:]], axis=1)
    error: np.ndarray = np.nan_to_num(np.abs(boxes - extents)).max(axis=1, initial=0)
    return error


def _other_area(given: np.ndarray, corners: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Tell which areas are neither those of the corners nor those in pixels."""
    wrong = np.isfinite(given)
    for area in (corners, pixels):
        off = np.abs(given - area)
        wrong &= ((off > _SHARE * area) & (off > _PIXELS)) | (area < 0)
    return wrong


def _repeated(values: np.ndarray) -> np.ndarray:
    """Tell of each value whether it stands before, negative ones aside."""
    _, first = np.unique(values, return_index=True)
    again = np.ones(len(values), bool)
    again[first] = False
    return again & (values >= 0)


def _pairs(
    table: AnnotationTable, usable: np.ndarray, extents: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return pixels of usable objects, and the pairs of a picture that share more than a fifth."""
    pixels = np.full(len(table), -1, np.int64)
    chosen = np.flatnonzero(usable & ~table.crowd | usable & (table.shapes == RUNS))
    order = chosen[np.argsort(table.pictures[chosen], kind="stable")]
    begins = np.searchsorted(table.pictures[order], np.arange(len(table.image_ids) + 1))
    found = [(np.empty((0, 2), np.int64), np.empty(0, np.int64))]
    for k in np.flatnonzero(np.diff(begins)):
        mine = order[begins[k] : begins[k + 1]]
        pair = picture_pairs(
            table.heights[k], table.widths[k], mine, table.shapes, table.boxes, table.rings,
            table.ring_sizes, table.vertices, table.runs, table.x, table.y, table.run_lengths,
            pixels, extents, OVERLAP,
        )  # fmt: skip
        found.append(pair)
    pairs, shared = (np.concatenate(parts) for parts in zip(*found, strict=True))
    alone = ~table.crowd[pairs].any(axis=1)
    return pixels, pairs[alone], shared[alone]


def _find_doubles(table: AnnotationTable, verdict: Verdict) -> None:
    """Find the objects that are there twice, and take them out of the overlaps."""
    pairs, shared = verdict.overlaps, verdict.shared
    first, second = pairs.T
    union = verdict.pixels[pairs].sum(axis=1) - shared
    same = shared >= SAME * union
    twice = same & (table.categories[first] == table.categories[second])
    order = np.flatnonzero(twice)[::-1]  # so that the first of several is kept
    verdict.same_as[second[order]] = first[order]
    left = ~(verdict.same_as[pairs] >= 0).any(axis=1) & (table.shapes[pairs] != BOX).all(axis=1)
    verdict.overlaps, verdict.shared = pairs[left], shared[left]


def report(table: AnnotationTable, verdict: Verdict, findings: Findings) -> None:
    """Add the faults of the objects of a table to the findings."""
    for kind, tell in _DETAILS.items():
        where = np.flatnonzero(verdict.fault == kind).tolist()
        findings.add(kind, (table.example(tell(table, verdict, i), i) for i in where), len(where))
    twice = np.flatnonzero(verdict.id_twice).tolist()
    findings.add(
        "annotation_id_twice",
        (table.example(f"id {table.ids[i]} stands before it", i) for i in twice), len(twice),
    )  # fmt: skip
    is_double = (verdict.same_as >= 0) & ~verdict.id_twice
    doubles = np.flatnonzero(is_double).tolist()
    findings.add(
        "double_object",
        (table.example("the same pixels", int(verdict.same_as[i]), i) for i in doubles),
        len(doubles),
    )  # fmt: skip
    if len(table.category_ids) or not table.cut:
        strange = np.flatnonzero(verdict.unknown_class).tolist()
        findings.add(
            "unknown_category",
            (table.example(f"class {table.categories[i]}", i) for i in strange), len(strange),
        )  # fmt: skip
    findings.add("overlap", _overlaps(table, verdict), len(verdict.overlaps))


def _overlaps(table: AnnotationTable, verdict: Verdict) -> Iterator[Example]:
    for (i, j), shared in zip(verdict.overlaps.tolist(), verdict.shared.tolist(), strict=True):
        smaller = min(verdict.pixels[i], verdict.pixels[j])
        yield table.example(f"{shared} of {smaller} pixels", i, j)


def _tell_outline(table: AnnotationTable, _: Verdict, i: int) -> str:
    if table.shapes[i] == NO_SHAPE:
        return "neither outline nor RLE nor box"
    sizes = table.ring_sizes[table.rings[i] : table.rings[i + 1]]
    if len(sizes) and sizes.min() < 3:
        return f"{sizes.min()} vertices"
    return "a vertex that is no number, or far away"


def _tell_runs(table: AnnotationTable, _: Verdict, i: int) -> str:
    height, width = (column[table.pictures[i]] for column in (table.heights, table.widths))
    total = table.run_lengths[table.runs[i] : table.runs[i + 1]].sum(dtype=np.int64)
    rows = f", {table.run_heights[i]} rows" if table.run_heights[i] else ""
    return f"{total} pixels{rows}; the picture is {height} x {width}"


def _tell_outside(table: AnnotationTable, verdict: Verdict, i: int) -> str:
    height, width = (column[table.pictures[i]] for column in (table.heights, table.widths))
    left, top, right, bottom = verdict.extents[i]
    wholly = right <= 0 or bottom <= 0 or left >= width or top >= height
    how = "wholly" if wholly else "partly"
    return f"{how}: x {left:g} to {right:g}, y {top:g} to {bottom:g} of {height} x {width}"


def _tell_box(table: AnnotationTable, verdict: Verdict, i: int) -> str:
    left, top, right, bottom = verdict.extents[i]
    box = ", ".join(f"{side:g}" for side in table.boxes[i])
    return f"{box}; expected {left:g}, {top:g}, {right - left:g}, {bottom - top:g}"


def _tell_area(table: AnnotationTable, verdict: Verdict, i: int) -> str:
    return f"{table.areas[i]:g}; by corners {verdict.areas[i]:g}, in pixels {verdict.pixels[i]}"


_DETAILS = {
    "unlisted_picture": lambda table, _, i: f"image_id {table.images[i]}",
    "bad_outline": _tell_outline,
    "bad_runs": _tell_runs,
    "outside": _tell_outside,
    "no_area": lambda *_: "area 0",
    "crossing_outline": lambda *_: "two edges cross",
    "box_disagrees": _tell_box,
    "area_disagrees": _tell_area,
}
