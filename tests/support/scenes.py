"""Spots and surfaces written into an Imaris file, under short names, and what only tests need."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from dpipe.formats.imaris_scene_writer import offsets, records
from dpipe.formats.imaris_scene_writer import write_points as points
from dpipe.formats.imaris_scene_writer import write_points8 as points8
from dpipe.formats.imaris_scene_writer import write_surfaces as surfaces
from dpipe.formats.imaris_scene_writer import write_surfaces8 as surfaces8
from dpipe.formats.imaris_scene_writer import write_thing as thing
from dpipe.formats.imaris_writer import say

__all__ = [
    "labels",
    "mega",
    "offsets",
    "points",
    "points8",
    "say",
    "statistics",
    "surfaces",
    "surfaces8",
    "thing",
]


def mega(
    path: Path, number: int, rows: Sequence[tuple], *, clock: str | None = "", **said: object
) -> None:
    """Add ``MegaSurfaces``: (id, frame, x, y, z of the centre) each.

    `clock`: where the frame stands: "" in SurfaceTimeOffset, a field's name, or None nowhere.
    """
    dtype = [("ID", "i8"), *((f"CenterOfMass{axis}", "f4") for axis in "XYZ"), ("Volume", "f4")]
    held = [(r[0], *r[2:], 1.0) for r in rows]
    if clock:
        dtype, held = [*dtype, (clock, "i8")], [(*h, r[1]) for h, r in zip(held, rows, strict=True)]
    data = {"SurfaceModelInfo": records(held, dtype)}
    data |= {"SurfaceTimeOffset": offsets([r[1] for r in rows])} if clock == "" else {}
    thing(path, f"Scene8/Content/MegaSurfaces{number}", {"Name": f"Cells {number}"} | said, data)


TYPE = [("ID", "<i8"), ("ID_Category", "<i8"), ("ID_FactorList", "<i8"), ("Name", "S256"),
        ("Unit", "S256")]  # fmt: skip
VALUE = [("ID_Time", "<i8"), ("ID_Object", "<i8"), ("ID_StatisticsType", "<i8"), ("Value", "<f8")]


def statistics(
    path: Path,
    where: str,
    types: Sequence[tuple],
    values: Sequence[tuple],
    *,
    categories: Sequence[tuple] = ((0, "Spot"), (1, "Overall"), (2, "Track")),
    factors: Sequence[tuple] = (),
) -> None:
    """Add numbers of objects: types (id, category, factor list, name, unit), values (time, object,
    type, value), factors (list, name, level).
    """
    data = {"StatisticsType": records(types, TYPE), "StatisticsValue": records(values, VALUE)}
    text = "S256"
    if categories:
        kinds = [("ID", "<i8"), ("CategoryName", text), ("Name", text)]
        data["Category"] = records([(k, name, name) for k, name in categories], kinds)
    if factors:
        kinds = [("ID_List", "<i8"), ("Name", text), ("Level", text)]
        data["Factor"] = records(factors, kinds)
    thing(path, where, {}, data)


def labels(
    path: Path, where: str, groups: Mapping[str, Sequence[str]], sets: Sequence[tuple]
) -> None:
    """Add what a person called objects: groups of labels, and sets (labels' numbers, objects)."""
    values = [(value,) for group in groups.values() for value in group]
    group_ends = np.cumsum([len(group) for group in groups.values()]).tolist()
    ends = np.cumsum([(len(said), len(members)) for said, members in sets], axis=0).tolist()
    flat = [[(each,) for one in sets for each in one[k]] for k in (0, 1)]
    names = [("LabelGroupName", "S256"), ("EndLabelValue", "<i8")]
    data = {
        "LabelGroupNames": records(list(zip(groups, group_ends, strict=True)), names),
        "LabelValues": records(values, [("LabelValue", "S256")]),
        "LabelSets": records(ends, [("EndLabelIDs", "<i8"), ("EndObjectIDs", "<i8")]),
        "LabelSetLabelIDs": records(flat[0], [("IDLabel", "<i8")]),
        "LabelSetObjectIDs": records(flat[1], [("IDObject", "<i8")]),
    }
    thing(path, where, {}, data)
