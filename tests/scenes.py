"""Spots and surfaces written into an Imaris file, under short names, and what only tests need."""

from collections.abc import Sequence
from pathlib import Path

from dpipe._imaris_file import say
from dpipe._imaris_scene import (
    offsets,
    records,
)
from dpipe._imaris_scene import write_points as points
from dpipe._imaris_scene import write_points8 as points8
from dpipe._imaris_scene import write_surfaces as surfaces
from dpipe._imaris_scene import write_surfaces8 as surfaces8
from dpipe._imaris_scene import write_thing as thing

__all__ = ["mega", "offsets", "points", "points8", "say", "surfaces", "surfaces8", "thing"]


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
