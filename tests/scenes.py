"""Spots and surfaces written into an Imaris file, in the layout of its ``Scene`` and ``Scene8``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

SPOT = [("ID", "<i8"), *((f"Position{axis}", "<f4") for axis in "XYZ"), ("Radius", "<f4")]
OFFSET = [("ID", "<i8"), ("IndexBegin", "<i8"), ("IndexEnd", "<i8")]
TRACK = [("ID", "<i8"), *((f"IndexTrack{what}{end}", "<i8")
         for what in ("Object", "Edge") for end in ("Begin", "End"))]  # fmt: skip


def say(group: h5py.Group, **attributes: Any) -> None:
    """Write attributes as Imaris does: arrays of single bytes."""
    for key, value in attributes.items():
        group.attrs[key] = np.frombuffer(str(value).encode(), "S1")


def records(rows: Sequence[Sequence[Any]], dtype: Any) -> np.ndarray:
    return np.array([tuple(row) for row in rows], dtype)


def thing(
    path: Path, where: str, said: Mapping[str, Any], data: Mapping[str, Any] = {}, **options: Any
) -> None:
    """Add one object, for example ``Scene/Content/Points0``, with its datasets."""
    with h5py.File(path, "a") as h5:
        group = h5.require_group(where)
        say(group, **said)
        for key, values in data.items():
            group.create_dataset(key, data=values, **options)


def points(
    path: Path, number: int, spots: Sequence[tuple], *, edges: Any = None, **said: Any
) -> None:
    """Add ``Scene`` spots: (frame, x, y, z, radius) each."""
    rows = np.array(spots, float).reshape(-1, 5)
    data = {"CoordsXYZR": rows[:, 1:].astype("<f4"), "Time": rows[:, :1].astype("<i8")}
    data |= {} if edges is None else {"Edges": np.asarray(edges, "<i8").reshape(-1, 2)}
    thing(path, f"Scene/Content/Points{number}", {"Name": f"Spots {number}"} | said, data)


def points8(
    path: Path,
    number: int,
    spots: Sequence[tuple],
    tracks: Mapping[int, Sequence[int]] = {},
    **said: Any,
) -> None:
    """Add ``Scene8`` spots: (id, frame, x, y, z, radius) each, rows grouped by frame."""
    data: dict[str, Any] = {"Spot": records([(s[0], *s[2:]) for s in spots], SPOT)}
    data |= {"SpotTimeOffset": offsets([s[1] for s in spots])} | tracked(tracks)
    thing(path, f"Scene8/Content/Points{number}", {"Name": f"Spots {number}"} | said, data)


def offsets(frames: Sequence[int]) -> np.ndarray:
    kept = sorted(set(frames))
    begins = [list(frames).index(frame) for frame in kept]
    ends = [begin + list(frames).count(f) for f, begin in zip(kept, begins, strict=True)]
    return records(list(zip(kept, begins, ends, strict=True)), OFFSET)


def tracked(tracks: Mapping[int, Sequence[int]]) -> dict[str, np.ndarray]:
    if not tracks:
        return {}
    rows, members = [], []
    for number, objects in tracks.items():
        rows.append((number, len(members), len(members) + len(objects), 0, 0))
        members += [(each,) for each in objects]
    return {"Track0": records(rows, TRACK), "TrackObject0": records(members, [("ID_Object", "i8")])}


def surfaces(
    path: Path, number: int, meshes: Sequence[tuple], *, normals: bool = False, **said: Any
) -> None:
    """Add ``Scene`` surfaces: (frame, vertices (n, 3) along z, y, x, triangles) each."""
    width = 6 if normals else 3
    vertices = np.zeros((sum(len(v) for _, v, _ in meshes), width), "<f4")
    vertices[:, :3] = np.concatenate([v[:, ::-1] for _, v, _ in meshes])
    data = {
        "Vertices": vertices,
        "Triangles": np.concatenate([f for _, _, f in meshes]).astype("<i4"),
        "TimeNVerticesNTriangles": np.array([(t, len(v), len(f)) for t, v, f in meshes], "<i8"),
    }
    thing(path, f"Scene/Content/Surfaces{number}", {"Name": f"Surfaces {number}"} | said, data)


def surfaces8(
    path: Path, number: int, ids: Sequence[int], tracks: Mapping[int, Sequence[int]], **said: Any
) -> None:
    data = {"Surface": records([(each,) for each in ids], [("ID", "i8")])} | tracked(tracks)
    thing(path, f"Scene8/Content/Surfaces{number}", {"Name": f"Surfaces {number}"} | said, data)


def mega(
    path: Path, number: int, rows: Sequence[tuple], *, clock: str | None = "", **said: Any
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
