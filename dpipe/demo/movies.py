"""Cells that die in a movie of the demo: where and when they do, and who saw what of it.

Knows the plan of every death, of debris that one annotator took for a death, of cells that live
beside them, and of what three annotators marked, so that what they agree on is known to the frame
and the micrometre. Places are multiples of a quarter micrometre: float32 and the six digits that
Imaris prints hold them exactly.
Knows no files and draws nothing.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dpipe.demo.truth import CellTruth, EventTruth, MarkTruth, MovieTruth, PhasesTruth
from dpipe.errors import UsageError
from dpipe.formats.imaris_scene_writer import FIRST_TRACK

ANNOTATORS = ("anna", "ben", "cleo")
CHANNEL = 1
"""Dying cells are drawn in this channel, from 0; in file names it is ``ch2``."""
FRAMES = 12
_EXTENT = (8.0, 36.0, 48.0)
_GRID = 0.25
_STRAY = 0.75
"""Micrometres that a cell strays at most from where it started, along each axis."""


class _Cell(NamedTuple):
    """One bright cell of the plan; frames count from 0, both ends included.

    `slot` is its place along y and x, as a share of the movie's. `marks` says for each annotator
    the frames between which she marked it, then those that she left out between them. Of a
    death, at least two marked each frame but those in `left_out`; `gap` are frames where the
    Imaris scene has no spot; `phases` are start and end of blebbing and of disruption.
    """

    slot: tuple[float, float]
    frames: tuple[int, int]
    marks: Mapping[str, tuple[int, ...]]
    dies: bool = True
    round: bool = False
    left_out: tuple[int, ...] = ()
    gap: tuple[int, ...] = ()
    phases: tuple[int | None, ...] = ()
    flags: tuple[str, ...] = ()
    response: str = ""


_ODD = (
    _Cell(  # cleo is a frame late, and goes on when nobody else does
        (0.25, 0.25),
        (0, 4),
        {"anna": (0, 4), "ben": (0, 4), "cleo": (1, 6)},
        round=True,
        phases=(0, 2, 3, 4),
        response="yes",
    ),
    _Cell(  # ben lost it once
        (0.25, 0.75),
        (2, 7),
        {"anna": (2, 7), "ben": (2, 7, 4), "cleo": (2, 7)},
        gap=(5,),
        phases=(2, 4, 5, 7),
        response="no",
    ),
    _Cell(  # cleo missed it, and anna lost it once: one frame that only ben has
        (0.75, 0.25),
        (5, 9),
        {"anna": (5, 9, 7), "ben": (4, 9)},
        left_out=(7,),
        phases=(5, 6, 8, 9),
        flags=("gap_between_phases",),
    ),
    _Cell(  # ben stops early, cleo starts late
        (0.75, 0.75),
        (8, 11),
        {"anna": (8, 11), "ben": (8, 10), "cleo": (9, 11)},
        gap=(9, 10),
        phases=(None, None, 8, 11),
        response="yes",
    ),
    _Cell((0.5, 0.5), (3, 6), {"ben": (3, 6)}, dies=False),
)
_EVEN = (
    _Cell(  # anna missed it; its disruption is said to end when no track has it any more
        (0.25, 0.25), (0, 4), {"ben": (0, 4), "cleo": (0, 4)}, round=True, phases=(0, 2, 3, 5)
    ),
    _Cell(
        (0.25, 0.75),
        (2, 7),
        {"anna": (2, 7), "ben": (2, 7), "cleo": (2, 7, 5)},
        gap=(3,),
        phases=(2, 3, 4, 7),
        response="no",
    ),
    _Cell(  # anna began a frame early
        (0.75, 0.25),
        (5, 8),
        {"anna": (4, 8), "ben": (5, 8), "cleo": (5, 8)},
        phases=(5, 6, 7, 8),
        response="yes",
    ),
    _Cell(  # nobody agrees with cleo, yet the table has it: an event without track
        (0.5, 0.5),
        (9, 11),
        {"cleo": (9, 11)},
        dies=False,
        phases=(9, 10, 11, 11),
        flags=("no_track",),
    ),
)
_LONE = ((0.75, 0.75), 6, "anna")
"""In even movies: where and when anna marked a spot without track; nothing is there."""
_LIVING, _ROOM = ((0.5, 0.18), (0.5, 0.82)), (72.0, 96.0)
"""Where cells live that nobody marks, from the first frame to the last, if there is room."""


def plant(movie: MovieTruth, number: int) -> MovieTruth:
    """Plan cells that die in a movie.

    Parameters
    ----------
    movie : MovieTruth
        Of `dpipe.demo.describe_movie`.
    number : int
        Of the movie; odd and even ones have plans of their own.

    Returns
    -------
    MovieTruth
        `movie`, with its cells of the dying cells' channel replaced: each has ``frames``, the
        first and last in which it is drawn. Besides: ``deaths`` and ``debris`` (``cell``, its
        index; ``track`` in the scene; ``marks`` of each annotator: ``frames`` and ``places`` (z,
        y, x); deaths also ``frames`` that at least two marked, ``left_out``, and ``spot_frames``
        of the scene), ``living`` (indices of cells that do not die), ``lone_marks``, ``phases``
        (rows of a table, frames from 0, with the ``marks`` of each annotator) and
        ``consensus_ratio``.

    Raises
    ------
    UsageError
        The movie is too short or too small for them.
    """
    extent = np.asarray(movie["size"]) * movie["spacing"]
    frames = len(movie["cells"][0]["centres"])
    if frames < FRAMES or (extent < _EXTENT).any():
        raise UsageError(
            f"a movie of {frames} frames and {'x'.join(f'{e:g}' for e in extent)} micrometres has "
            f"no room for the planned deaths; expected at least {FRAMES} frames and "
            f"{'x'.join(f'{e:g}' for e in _EXTENT)}"
        )
    rng = np.random.default_rng([*movie["seed"], 0])
    corner = np.asarray(movie["origin"]) - np.asarray(movie["spacing"]) / 2
    planted = movie.copy()
    planted["cells"] = [cell for cell in movie["cells"] if cell["channel"] != CHANNEL]
    planted |= {"annotators": list(ANNOTATORS), "deaths": [], "debris": [], "phases": []}
    tracks = dict.fromkeys(ANNOTATORS, 0)
    for cell in _ODD if number % 2 else _EVEN:
        radii, centres = _shape(rng, cell, extent, frames)
        places = _on_grid(corner) + centres
        marks = _marks(rng, cell, places)
        for who, mark in marks.items():
            mark["track"] = FIRST_TRACK + tracks[who]
            tracks[who] += 1
        events = planted["deaths"] if cell.dies else planted["debris"]
        event: EventTruth = {"cell": len(planted["cells"]), "track": FIRST_TRACK + len(events)}
        if cell.dies:
            event["frames"] = _frames(*cell.frames, *cell.left_out)
            event["left_out"] = list(cell.left_out)
            event["spot_frames"] = _frames(*cell.frames, *cell.gap)
        if cell.phases:
            planted["phases"].append(_phases(cell, len(events) if cell.dies else None))
        planted["cells"].append(_drawn(radii, cell.frames, places))
        event["marks"] = marks
        events.append(event)
    planted["living"] = []
    for slot in _LIVING if (extent[1:] >= _ROOM).all() else ():
        living = _Cell(slot, (0, frames - 1), {}, dies=False)
        radii, centres = _shape(rng, living, extent, frames)
        planted["living"].append(len(planted["cells"]))
        planted["cells"].append(_drawn(radii, living.frames, _on_grid(corner) + centres))
    alone = sum(len(event["marks"]) for event in planted["debris"])
    planted["lone_marks"] = []
    if not number % 2:
        slot, frame, who = _LONE
        place = _on_grid(corner + extent * (0.5, *slot))
        planted["lone_marks"] = [{"who": who, "frame": frame, "place": place.tolist()}]
    count = len(planted["deaths"]) + alone + len(planted["lone_marks"])
    planted["consensus_ratio"] = len(planted["deaths"]) / count
    return planted


def _drawn(radii: np.ndarray, frames: Sequence[int], places: np.ndarray) -> CellTruth:
    """Return a cell of the dying cells' channel."""
    return {
        "channel": CHANNEL,
        "radii": radii.tolist(),
        "frames": list(frames),
        "centres": places.tolist(),
    }


def _on_grid(values: Any) -> np.ndarray:
    return np.round(np.asarray(values) / _GRID) * _GRID


def _frames(first: int, last: int, *without: int) -> list[int]:
    return [frame for frame in range(first, last + 1) if frame not in without]


def _shape(
    rng: np.random.Generator, cell: _Cell, extent: np.ndarray, frames: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return radii, and centres above the volume's corner, one a frame, along z, y, x."""
    largest = np.minimum(extent / (2, 8, 8) - (_STRAY, 0, 0), (4.0, 7.0, 7.0))
    radii = np.full(3, largest.min()) if cell.round else largest * rng.uniform(0.75, 1.0, 3)
    radii = np.floor(radii / _GRID) * _GRID
    steps = rng.integers((-1, -2, -2), (2, 3, 3), (frames, 3)) * _GRID
    strayed = np.clip(np.cumsum(steps, axis=0), -_STRAY, _STRAY)
    return radii, _on_grid(extent * (0.5, *cell.slot)) + strayed


def _marks(rng: np.random.Generator, cell: _Cell, places: np.ndarray) -> dict[str, MarkTruth]:
    """Let annotators err so that the mean of the closest two is the truth.

    Of those who marked a frame, the first two err by as much one way as the other, a third, or
    one alone, four times as far.
    """
    marks: dict[str, MarkTruth] = {}
    for who, span in cell.marks.items():
        marks[who] = {"frames": _frames(*span), "places": []}
    for frame, place in enumerate(places):
        error = rng.integers(-1, 2, 3) * _GRID
        here = [who for who, mark in marks.items() if frame in mark["frames"]]
        factors = (1, -1, 4) if len(here) > 1 else (4,)
        for who, factor in zip(here, factors, strict=False):
            marks[who]["places"].append((place + factor * error).tolist())
    return marks


def _phases(cell: _Cell, death: int | None) -> PhasesTruth:
    """Return a row of the table of phases, and how annotators err on it, each in another frame.

    Ben lets the first phase last a frame longer, at the cost of the second; cleo begins the event
    a frame early, or ends it late. Two of three are right in every frame.
    """
    bleb, stop, fall, end = cell.phases
    ben, cleo = list(cell.phases), list(cell.phases)
    if stop is not None and fall == stop + 1 and end != fall:
        ben[1:3] = stop + 1, fall + 1
    first = 2 if bleb is None else 0
    begin = cell.phases[first]
    if begin:
        cleo[first] = begin - 1
    else:
        cleo[3] = (end or 0) + 1
    return {
        "frames": list(cell.phases),
        "marks": dict(zip(ANNOTATORS, (list(cell.phases), ben, cleo), strict=True)),
        "response": cell.response,
        "flags": list(cell.flags),
        "death": death,
    }


def ellipsoid(
    radii: Sequence[float], centre: Sequence[float], rings: int = 12
) -> tuple[np.ndarray, np.ndarray]:
    """Lay a closed mesh of triangles through points of an ellipsoid.

    Parameters
    ----------
    radii, centre : sequence of 3 float
        Along z, y, x.
    rings : int
        Steps from pole to pole; twice as many go around. The first triangles are those at a pole.

    Returns
    -------
    vertices : array, shape (n, 3)
        Along z, y, x.
    triangles : array of int, shape (m, 3)
        All turned alike.

    Examples
    --------
    >>> vertices, triangles = ellipsoid((1, 1, 1), (0, 0, 0), rings=2)
    >>> vertices.shape, triangles.shape
    ((6, 3), (8, 3))
    """
    around = 2 * rings
    down, turn = np.meshgrid(
        np.arange(1, rings) * math.pi / rings, np.arange(around) * math.pi / rings, indexing="ij"
    )
    ball = np.stack([np.cos(down), np.sin(down) * np.sin(turn), np.sin(down) * np.cos(turn)], -1)
    unit = np.concatenate([[(1.0, 0, 0)], ball.reshape(-1, 3), [(-1.0, 0, 0)]])
    here = np.arange(around)
    after, last = (here + 1) % around, len(unit) - 1
    faces = [np.stack([np.zeros_like(here), 1 + here, 1 + after], axis=1)]
    for ring in range(rings - 2):
        upper, lower = 1 + ring * around, 1 + (ring + 1) * around
        faces.append(np.stack([upper + here, lower + here, lower + after], axis=1))
        faces.append(np.stack([upper + here, lower + after, upper + after], axis=1))
    bottom = last - around
    faces.append(np.stack([np.full_like(here, last), bottom + after, bottom + here], axis=1))
    return unit * radii + centre, np.concatenate(faces)
