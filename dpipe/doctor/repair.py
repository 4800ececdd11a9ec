"""Repaired copies of files of annotations: what can be mended without looking at the pictures.

Whatever has no fault is copied byte by byte, whatever else a file says stays in it.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from dpipe.doctor.clipping import clipped_box, clipped_ring, ring_area
from dpipe.doctor.objects import Verdict
from dpipe.doctor.table import BOX, RUNS, AnnotationTable
from dpipe.formats.json_pieces import pieces

_LEAST = 6
"""Numbers of a ring."""
_DROPPED = {
    "unlisted_picture": "annotations of pictures that are not listed dropped",
    "bad_runs": "RLE of another size dropped",
    "no_area": "objects without area dropped",
}
_ANEW = ("box_disagrees", "area_disagrees")


@dataclass(frozen=True)
class Change:
    """What was changed in a copy, and how often."""

    file: str
    what: str
    count: int


def repaired(text: bytes, table: AnnotationTable, verdict: Verdict) -> tuple[bytes, Counter[str]]:
    """Return a file of annotations without the faults that can be mended.

    Parameters
    ----------
    text : bytes
        Valid JSON, of which `table` holds the columns.
    table : AnnotationTable
        What it says.
    verdict : Verdict
        Faults of its objects.

    Returns
    -------
    tuple of (bytes, Counter)
        JSON, and what was changed, counted. Pictures that are merged may make doubles, which
        another round finds.
    """
    changes: Counter[str] = Counter()
    members = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    images, other_ids = _merged(members.get("images", msgspec.Raw(b"[]")), changes)
    texts = _texts(members)
    place = np.full(len(texts), -1)
    place[table.numbers] = np.arange(len(table))
    usual = np.isin(verdict.fault, ("", "crossing_outline"))
    usual &= (verdict.same_as < 0) & ~verdict.id_twice
    usual &= ~np.isin(table.images, list(other_ids))
    next_id = int(table.ids.max(initial=0)) + 1
    kept: list[msgspec.Raw] = []
    for annotation, i in zip(texts, place.tolist(), strict=True):
        if i < 0:
            changes["annotations that cannot be read dropped"] += 1
        elif usual[i]:
            kept.append(msgspec.Raw(annotation))
        elif verdict.same_as[i] >= 0:
            changes["double objects dropped"] += 1
        else:
            one = _mended(msgspec.json.decode(annotation), table, verdict, i, changes)
            if one is None:
                continue
            if verdict.id_twice[i]:
                one["id"], next_id = next_id, next_id + 1
                changes["annotations numbered anew"] += 1
            one["image_id"] = other_ids.get(one["image_id"], one["image_id"])
            kept.append(msgspec.Raw(msgspec.json.encode(one)))
    if not changes:
        return text, changes
    return msgspec.json.encode(members | {"images": images, "annotations": kept}), changes


def _texts(members: dict[str, msgspec.Raw]) -> list[memoryview]:
    """Return the annotations of a list, or of an object by number, unparsed."""
    raw = memoryview(members.get("annotations", msgspec.Raw(b"[]")))
    return [] if bytes(raw) == b"null" else list(pieces(raw))


def _merged(raw: msgspec.Raw, changes: Counter[str]) -> tuple[list[Any], dict[int, int]]:
    """Return entries of pictures, each once, and the new number of those that are merged."""
    entries = msgspec.json.decode(raw, type=list[dict[str, Any]] | None) or []
    first: dict[str, int] = {}
    names: dict[int, str] = {}
    other_ids: dict[int, int] = {}
    kept: list[dict[str, Any]] = []
    following = max((e["id"] for e in entries if isinstance(e.get("id"), int)), default=0) + 1
    for entry in entries:
        number, name = entry.get("id"), entry.get("file_name")
        if not isinstance(number, int) or not isinstance(name, str) or not name:
            kept.append(entry)
            continue
        if name in first:
            changes["pictures listed twice merged"] += 1
            if number != first[name] and names.get(number, name) == name:
                other_ids[number] = first[name]
            continue
        if number in names:
            changes["pictures numbered anew, without annotations"] += 1
            number, following = following, following + 1
        first[name], names[number] = number, name
        kept.append(entry | {"id": number})
    return kept, other_ids


def _mended(
    one: dict[str, Any], table: AnnotationTable, verdict: Verdict, i: int, changes: Counter[str]
) -> dict[str, Any] | None:
    """Return an annotation without its fault; None if it is dropped."""
    fault = str(verdict.fault[i])
    if fault in _DROPPED:
        changes[_DROPPED[fault]] += 1
        return None
    if fault in _ANEW:
        changes["boxes and areas made anew"] += 1
        return one | _measured(one, table, verdict, i)
    if fault == "bad_outline":
        rings = [ring for ring in one.get("segmentation") or [] if _is_ring(ring)]
        changes["outlines that are none dropped"] += 1
        return one | _of_rings(rings) if rings else None
    if fault == "outside":
        return _clipped(one, table, i, changes)
    return one


def _clipped(
    one: dict[str, Any], table: AnnotationTable, i: int, changes: Counter[str]
) -> dict[str, Any] | None:
    """Return an object without what is outside its picture; None if nothing is left."""
    height, width = (int(column[table.pictures[i]]) for column in (table.heights, table.widths))
    if table.shapes[i] == BOX:
        box = clipped_box(one["bbox"], height, width)
        made = {"bbox": box, "area": box[2] * box[3]} if box else {}
    else:
        rings = [clipped_ring(ring, height, width) for ring in one["segmentation"]]
        rings = [ring for ring in rings if len(ring) >= _LEAST]
        made = {"segmentation": rings} | _of_rings(rings) if rings else {}
    if not made or not made["area"]:
        changes["objects wholly outside dropped"] += 1
        return None
    changes["objects partly outside clipped"] += 1
    return one | made


def _measured(
    one: dict[str, Any], table: AnnotationTable, verdict: Verdict, i: int
) -> dict[str, Any]:
    """Return box and area of an object, from its outline or runs."""
    if table.shapes[i] != RUNS:
        return _of_rings(one["segmentation"])
    left, top, right, bottom = (float(side) for side in verdict.extents[i])
    return {"bbox": [left, top, right - left, bottom - top], "area": float(verdict.areas[i])}


def _of_rings(rings: list[list[float]]) -> dict[str, Any]:
    """Return outlines, with the box and the area that they have."""
    x = [value for ring in rings for value in ring[0::2]]
    y = [value for ring in rings for value in ring[1::2]]
    box = [min(x), min(y), max(x) - min(x), max(y) - min(y)]
    return {"segmentation": rings, "bbox": box, "area": sum(map(ring_area, rings))}


def _is_ring(ring: Any) -> bool:
    return (
        isinstance(ring, list)
        and len(ring) >= _LEAST
        and len(ring) % 2 == 0
        and all(isinstance(value, int | float) and abs(value) <= 1e6 for value in ring)
    )
