"""How spots and surfaces are written into an Imaris file: its groups ``Scene`` and ``Scene8``.

Knows names, record types and attributes of that layout, as Imaris 5.5 files have them; knows
nothing of what the objects are, nor of how dpipe reads them. ``Scene`` holds places and meshes,
``Scene8`` numbers and tracks of the same objects, found by their ``Id``. Places are micrometres in
the frame of the image, frames count from 0.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from dpipe.formats.imaris_writer import say

FIRST_TRACK = 1_000_000_000
"""Imaris numbers tracks from here."""

_SPOT = [("ID", "<i8"), *((f"Position{axis}", "<f4") for axis in "XYZ"), ("Radius", "<f4")]
_OFFSET = [("ID", "<i8"), ("IndexBegin", "<i8"), ("IndexEnd", "<i8")]
_TRACK = [
    ("ID", "<i8"),
    *((f"IndexTrack{what}{end}", "<i8") for what in ("Object", "Edge") for end in ("Begin", "End")),
]


def write_points(
    path: Path,
    number: int,
    spots: Sequence[Sequence[float]],
    *,
    edges: Any = None,
    **attributes: Any,
) -> None:
    """Add spots to ``Scene``.

    Parameters
    ----------
    path : path
        An Imaris file.
    number : int
        Of the object among its kind, from 0.
    spots : sequence of (frame, x, y, z, radius)
        One a spot.
    edges : array of int, shape (n, 2), optional
        Spots that belong together, by their rows: the tracks of old files.
    **said
        Attributes, such as ``Name``, ``Id`` and ``Unit``.
    """
    rows = np.array(spots, float).reshape(-1, 5)
    data = {"CoordsXYZR": rows[:, 1:].astype("<f4"), "Time": rows[:, :1].astype("<i8")}
    data |= {} if edges is None else {"Edges": np.asarray(edges, "<i8").reshape(-1, 2)}
    write_thing(
        path, f"Scene/Content/Points{number}", {"Name": f"Spots {number}"} | attributes, data
    )


def write_points8(
    path: Path,
    number: int,
    spots: Sequence[Sequence[float]],
    tracks: Mapping[int, Sequence[int]] | None = None,
    **attributes: Any,
) -> None:
    """Add spots to ``Scene8``.

    Parameters
    ----------
    path, number, **said
        As in `write_points`.
    spots : sequence of (id, frame, x, y, z, radius)
        Those of one frame one after the other.
    tracks : mapping of int to sequence of int, optional
        Numbers of the spots of each track.
    """
    data = {"Spot": records([(s[0], *s[2:]) for s in spots], _SPOT)}
    data |= {"SpotTimeOffset": offsets([int(s[1]) for s in spots])} | _tracked(tracks or {})
    write_thing(
        path, f"Scene8/Content/Points{number}", {"Name": f"Spots {number}"} | attributes, data
    )


def write_surfaces(
    path: Path,
    number: int,
    meshes: Sequence[tuple[int, np.ndarray, np.ndarray]],
    *,
    normals: bool = False,
    **attributes: Any,
) -> None:
    """Add surfaces to ``Scene``.

    Parameters
    ----------
    path, number, **said
        As in `write_points`.
    meshes : sequence of (frame, vertices, triangles)
        Vertices (n, 3) along z, y, x; triangles (m, 3) name vertices of their mesh, from 0.
    normals : bool
        Give each vertex three more columns, as some versions do; they are zero.
    """
    width = 6 if normals else 3
    vertices = np.zeros((sum(len(v) for _, v, _ in meshes), width), "<f4")
    vertices[:, :3] = np.concatenate([v[:, ::-1] for _, v, _ in meshes])
    data = {
        "Vertices": vertices,
        "Triangles": np.concatenate([f for _, _, f in meshes]).astype("<i4"),
        "TimeNVerticesNTriangles": np.array([(t, len(v), len(f)) for t, v, f in meshes], "<i8"),
    }
    where = f"Scene/Content/Surfaces{number}"
    write_thing(path, where, {"Name": f"Surfaces {number}"} | attributes, data)


def write_surfaces8(
    path: Path,
    number: int,
    ids: Sequence[int],
    tracks: Mapping[int, Sequence[int]],
    **attributes: Any,
) -> None:
    """Add numbers and tracks of surfaces to ``Scene8``; their meshes stand in ``Scene``.

    Parameters
    ----------
    path, number, **said
        As in `write_points`.
    ids : sequence of int
        Of each surface, in the order of its meshes.
    tracks : mapping of int to sequence of int
        Numbers of the surfaces of each track.
    """
    data = {"Surface": records([(member,) for member in ids], [("ID", "<i8")])} | _tracked(tracks)
    where = f"Scene8/Content/Surfaces{number}"
    write_thing(path, where, {"Name": f"Surfaces {number}"} | attributes, data)


def write_thing(
    path: Path,
    where: str,
    attributes: Mapping[str, Any],
    data: Mapping[str, Any] | None = None,
    **options: Any,
) -> None:
    """Add one object with its attributes and datasets, and count it where Imaris counts it.

    Parameters
    ----------
    path : path
        An Imaris file.
    where : str
        For example ``Scene/Content/Points0``.
    attributes : mapping
        Its attributes.
    data : mapping of str to array, optional
        Its datasets.
    **options
        What h5py is told of them.
    """
    with h5py.File(path, "a") as h5:
        group = h5.require_group(where)
        content, kind = group.parent, group.name.rpartition("/")[2].rstrip("0123456789")
        if kind != "Content":
            count = sum(name.rstrip("0123456789") == kind for name in content)
            say(content, **{f"NumberOf{kind}": count})
        say(group, **attributes)
        for key, values in (data or {}).items():
            group.create_dataset(key, data=values, **options)


def records(rows: Sequence[Sequence[Any]], dtype: Any) -> np.ndarray:
    """Return a table of records."""
    return np.array([tuple(row) for row in rows], dtype)


def offsets(frames: Sequence[int]) -> np.ndarray:
    """Return the first and last row of each frame; rows of one frame follow each other."""
    distinct = sorted(set(frames))
    begins = [list(frames).index(frame) for frame in distinct]
    ends = [begin + list(frames).count(f) for f, begin in zip(distinct, begins, strict=True)]
    return records(list(zip(distinct, begins, ends, strict=True)), _OFFSET)


def _tracked(tracks: Mapping[int, Sequence[int]]) -> dict[str, np.ndarray]:
    """Return the tables that name the objects of each track, and the steps between them."""
    if not tracks:
        return {}
    rows: list[tuple[int, ...]] = []
    members: list[tuple[int]] = []
    edges: list[tuple[int, int]] = []
    for number, objects in tracks.items():
        steps = list(pairwise(objects))
        ends = (len(members), len(members) + len(objects), len(edges), len(edges) + len(steps))
        rows.append((number, *ends))
        members += [(member,) for member in objects]
        edges += steps
    return {
        "Track0": records(rows, _TRACK),
        "TrackObject0": records(members, [("ID_Object", "<i8")]),
        "TrackEdge0": records(edges, [("ID_ObjectA", "<i8"), ("ID_ObjectB", "<i8")]),
    }
