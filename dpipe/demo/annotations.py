"""Annotations of the demo's movies, in the files in which such studies keep them.

Writes the spots and surfaces of an Imaris scene, the statistics that annotators export from
Imaris, and the two tables of the Leuko-Death study. What is true and who errs is decided in
``movies.py``; how a scene is laid out stands in ``dpipe.formats.imaris_scene_writer``.
"""

import csv
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from dpipe.demo.movies import ANNOTATORS, CHANNEL, ellipsoid
from dpipe.demo.truth import EventTruth, MovieTruth, SurfaceTruth
from dpipe.formats import imaris_scene_writer as scene
from dpipe.schema import Attributes

_FILE_CHANNEL = f"ch{CHANNEL + 1}"
_CAP = 24
"""Triangles at a pole of an ellipsoid; without them it is open."""
_POSITION = ("Position X", "Position Y", "Position Z", "Unit", "Category", "Collection")
_PHASES = ("blebbing_start", "blebbing_end", "disruption_start", "disruption_end")
_CONDITIONS = (
    {"ch1": "Neu", "ch2": "Dead cells", "ch3": "SHG", "markers": "Ly6G", "fluorophore": "GFP, PI"}
    | {"organ": "Lymph node", "stimuli": "UVPR8", "objective": "25x"},
    {
        "ch1": "Neu",
        "ch2": "Dead cells",
        "ch3": "\u2014",
        "markers": "Ly6G",
        "fluorophore": "CFP, PI",
    }
    | {"organ": "Spleen", "stimuli": "UPPR8", "objective": "40x"},
)
"""Of odd movies, and of even ones; the last stimulus is misprinted as in the published table."""
_MISPRINT = {"UPPR8": "UVPR8"}


def write_scene(path: Path, movie: MovieTruth, *, modern: bool) -> list[SurfaceTruth]:
    """Add spots and surfaces of the dying cells to a movie.

    Spots: every death, the frames of its ``spot_frames``, and one spot of debris without track.
    Surfaces: an ellipsoid around each death in each frame, and an object of its own for debris,
    whose last mesh is open in a modern scene.

    Parameters
    ----------
    path : path
        The movie's file.
    movie : MovieTruth
        Of `dpipe.demo.movies.plant`.
    modern : bool
        Numbers and tracks stand in ``Scene8``. Otherwise there is only ``Scene``: spots have
        edges, surfaces no tracks.

    Returns
    -------
    list of dict
        Of each surface, in the order of the file: ``object``, ``frame``, ``cell``, ``track``
        (None without), ``centre`` and ``radii`` (z, y, x), ``volume`` of that ellipsoid and
        ``closed``.
    """
    _write_spots(path, movie, modern)
    surfaces = []
    for number, name in enumerate(("Dying cells", "Debris")):
        rows = _surfaces(movie, movie["debris"] if number else movie["deaths"])
        if number:
            rows[-1]["closed"] = not modern
        for row in rows:
            row["object"] = number
            row["track"] = row["track"] if modern else None
        meshes = []
        for row in rows:
            vertices, faces = ellipsoid(row["radii"], row["centre"])
            meshes.append((row["frame"], vertices, faces[0 if row["closed"] else _CAP :]))
        about: Attributes = {"Name": name, "Id": 200 + number, "Unit": "um"}
        scene.write_surfaces(path, number, meshes, **about)
        if modern:
            tracks: dict[int, list[int]] = {}
            for i, row in enumerate(rows):
                if row["track"] is not None:
                    tracks.setdefault(row["track"], []).append(i)
            scene.write_surfaces8(path, number, range(len(rows)), tracks, **about)
        surfaces += rows
    return surfaces


def _write_spots(path: Path, movie: MovieTruth, modern: bool) -> None:
    cells = movie["cells"]
    rows = [
        (frame, death["track"], death["cell"])
        for death in movie["deaths"]
        for frame in death["spot_frames"]
    ]
    stray = movie["debris"][0]["cell"]
    rows = sorted([*rows, (cells[stray]["frames"][0], -1, stray)])
    places = [(f, *cells[c]["centres"][f][::-1], cells[c]["radii"][2]) for f, _, c in rows]
    members = {
        death["track"]: [i for i, row in enumerate(rows) if row[1] == death["track"]]
        for death in movie["deaths"]
    }
    about: Attributes = {"Name": "Cell deaths", "Id": 100, "Unit": "um"}
    if modern:
        scene.write_points(path, 0, places, **about)
        scene.write_points8(path, 0, [(i, *p) for i, p in enumerate(places)], members, **about)
    else:
        edges = [edge for spots in members.values() for edge in pairwise(spots)]
        scene.write_points(path, 0, places, edges=edges, **about)


def _surfaces(movie: MovieTruth, events: Sequence[EventTruth]) -> list[SurfaceTruth]:
    """Return the surfaces of some deaths or debris, frame by frame."""
    rows = list[SurfaceTruth]()
    for event in events:
        cell = movie["cells"][event["cell"]]
        first, last = cell["frames"]
        rows += [
            {
                "frame": frame,
                "cell": event["cell"],
                "track": event["track"],
                "closed": True,
                "centre": cell["centres"][frame],
                "radii": cell["radii"],
                "volume": 4 / 3 * math.pi * math.prod(cell["radii"]),
            }
            for frame in range(first, last + 1)
        ]
    return sorted(rows, key=lambda row: row["frame"])


def write_marks(folder: Path, stem: str, movie: MovieTruth) -> None:
    """Write what each annotator marked in a movie, as Imaris exports positions.

    Parameters
    ----------
    folder : path
        Gets ``annotator=anna/Neu1_ch2.csv`` and so on.
    stem : str
        Name of the movie.
    movie : MovieTruth
        Of `dpipe.demo.movies.plant`.
    """
    for who in ANNOTATORS:
        rows: list[tuple[int, int | str, list[float]]] = [
            (frame, mark["track"], place)
            for event in (*movie["deaths"], *movie["debris"])
            for mark in (event["marks"].get(who),)
            if mark
            for frame, place in zip(mark["frames"], mark["places"], strict=True)
        ]
        rows += [(m["frame"], "", m["place"]) for m in movie["lone_marks"] if m["who"] == who]
        rows.sort(key=lambda row: row[0])
        lines = [
            (*(f"{v:.9g}" for v in reversed(p)), "um", "Spot", "Position", frame + 1, track, i, "")
            for i, (frame, track, p) in enumerate(rows)
        ]
        path = folder / f"annotator={who}" / f"{stem}_{_FILE_CHANNEL}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        head = [(), ("Position",), (" ==================== ",)]
        _write(path, [*head, (*_POSITION, "Time", "TrackID", "ID", ""), *lines])


def write_tables(folder: Path, movies: Mapping[str, MovieTruth]) -> dict[str, dict[str, str]]:
    """Write ``phases.csv``, ``phase-marks.csv`` and ``conditions.csv`` of all movies.

    Parameters
    ----------
    folder : path
        Where.
    movies : mapping of str to mapping
        Of `dpipe.demo.movies.plant`, by name. Movies are spelled with a space, as the
        published tables have it now and then.

    Returns
    -------
    dict
        Of each movie, what is true of its conditions.
    """
    header = ["video_id", "event_index_in_video", *_PHASES, "response", "channel"]
    lines: list[Sequence[object]] = [header]
    votes: list[Sequence[object]] = [[*header, "annotator"]]
    for stem, movie in movies.items():
        for index, row in enumerate(movie["phases"], 1):
            for who, told in {"": row["frames"], **row["marks"]}.items():
                frames = ["" if frame is None else frame + 1 for frame in told]
                line = [_spelled(stem), index, *frames, row["response"], _FILE_CHANNEL]
                (votes if who else lines).append([*line, who] if who else line)
    _write(folder / "phases.csv", lines)
    _write(folder / "phase-marks.csv", votes)
    stated = {stem: _CONDITIONS[1 - movie["seed"][1] % 2] for stem, movie in movies.items()}
    _write(
        folder / "conditions.csv",
        [
            ["video_id", *_CONDITIONS[0]],
            *([_spelled(stem), *row.values()] for stem, row in stated.items()),
        ],
    )
    return {
        stem: {key: "" if v == "\u2014" else _MISPRINT.get(v, v) for key, v in row.items()}
        for stem, row in stated.items()
    }


def _spelled(stem: str) -> str:
    return stem.replace("Neu", "Neu ")


def _write(path: Path, rows: Sequence[Sequence[Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
