"""Spots and surfaces in an Imaris file: the groups ``Scene`` and ``Scene8``.

``Scene`` holds places and meshes, as all versions of Imaris have written them. ``Scene8`` holds
numbers and tracks of the same objects, found by their ``Id``, and at times objects of its own;
newer ones (``MegaSurfaces``) keep their meshes in a form that nobody has described. This module
knows these names; it knows nothing of Datasets. Places are in the frame of the image already.
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypedDict

import h5py
import numpy as np

from dpipe.formats.hdf5 import Flaw, child, note_values, numbered, text
from dpipe.readers.imaris.clock import clock, known_times
from dpipe.readers.imaris.dataset_info import directory, info, micrometres, whole

FIRST_TRACK = 1_000_000_000
"""Imaris numbers tracks from here; two objects of a file do so both."""
_LARGEST_TABLE = 1 << 31
_NO_TRACK = -1


@dataclass(frozen=True)
class Thing:
    """One object of the scene: its name, and where it stands in ``Scene`` and ``Scene8``.

    Attributes
    ----------
    name, number : str, int
        As Imaris shows it; its place among the objects of its kind.
    key : str
        What both sides know it by.
    old, new : h5py.Group or None
        Its groups.
    scale : float
        Micrometres in its unit of length.
    assumed : list of str
        What the file does not say.
    """

    name: str
    number: int
    key: str
    old: h5py.Group | None
    new: h5py.Group | None
    scale: float
    assumed: list[str] = field(default_factory=list)


def things(h5: h5py.File, kind: str, unit: str | None = None) -> list[Thing]:
    """List the objects of one kind (``Points``, ``Surfaces``, ``MegaSurfaces``) of a file.

    A unit of length that is given holds over what the file says.
    """
    sides = [_side(h5, scene, kind) for scene in ("Scene", "Scene8")]
    members = []
    for number, key in enumerate(dict.fromkeys([*sides[0], *sides[1]])):
        old, new = (side.get(key) for side in sides)
        group: h5py.Group = old if old is not None else new
        name = text(group, "Name") or group.name.rpartition("/")[2]
        assumed: list[str] = []
        scale = _scale(h5, group, name, assumed, unit)
        members.append(Thing(name, number, key, old, new, scale, assumed))
    return members


def choose(members: Sequence[Thing], choice: str | int | None, what: str) -> list[Thing]:
    """Return the objects that were asked for, by name or number; all for None."""
    if choice is None:
        chosen = list(members)
    elif isinstance(choice, str):
        chosen = [thing for thing in members if thing.name == choice]
    else:
        chosen = [thing for thing in members if thing.number == choice]
    if not chosen:
        named = ", ".join(f"{thing.number} {thing.name!r}" for thing in members) or "none"
        asked = "" if choice is None else f" {choice!r}"
        raise Flaw(f"no object{asked} of {what} in its scene; objects there: {named}")
    return chosen


def _side(h5: h5py.File, scene: str, kind: str) -> dict[str, h5py.Group]:
    """Objects of one side by their Id, or where that is not said by their name."""
    group = child(h5, scene)
    content = None if group is None else child(group, "Content")
    if content is None:
        return {}
    pattern = re.compile(rf"{kind}(0|[1-9]\d{{0,5}})")
    numbers = sorted(int(match[1]) for match in map(pattern.fullmatch, content) if match)
    promised = whole(text(content, f"NumberOf{kind}"))
    if promised is not None and promised > len(numbers):
        raise Flaw(f"{scene} promises {promised} {kind}, {len(numbers)} are there; export it again")
    sides: dict[str, h5py.Group] = {}
    for number in numbers:
        member = child(content, f"{kind}{number}")
        key = text(member, "Id") or f"name {text(member, 'Name')}"
        if key in sides:
            key = f"{key} of {kind}{number}"
        sides[key] = member
    return sides


def _scale(
    h5: h5py.File, group: h5py.Group, name: str, assumed: list[str], unit: str | None
) -> float:
    scale, problem = micrometres(text(group, "Unit") or text(info(h5, "Image"), "Unit"), unit)
    assumed += [f"{name}: lengths are micrometres: {problem}"] * bool(problem)
    return scale


# --- frames -----------------------------------------------------------------------------------


def frame_times(h5: h5py.File) -> tuple[int, np.ndarray, list[str]]:
    """Return the number of frames, 0 if not known, their seconds, NaN if not known, and why."""
    data = directory(h5, "DataSet")
    level = None if data is None else child(data, "ResolutionLevel 0")
    frames = len(numbered(level, "TimePoint")) if level is not None else 0
    times = clock(info(h5, "TimeInfo"), frames)
    notes = times.notes if times.times is not None else []
    return frames, known_times(times, frames), notes


def check_frames(frame: np.ndarray, frames: int, where: str) -> None:
    """Refuse what lies in no frame of the movie."""
    if frame.size and frame.min() < 0:
        raise Flaw(f"{where} names time index {int(frame.min())}; expected 0 or more")
    if frame.size and frames and frame.max() >= frames:
        raise Flaw(f"{where} names time index {int(frame.max())}; the movie has {frames} frames")


def frames_by_offset(group: h5py.Group, key: str, rows: int) -> np.ndarray:
    """Frame of each row, of a table ``ID, IndexBegin, IndexEnd`` with one line a frame."""
    lines = table(group, key, ("ID", "IndexBegin", "IndexEnd"))
    frame = np.full(rows, -1, np.int64)
    for number, begin, end in zip(lines["ID"], lines["IndexBegin"], lines["IndexEnd"], strict=True):
        if not 0 <= begin <= end <= rows:
            raise Flaw(f"{_at(group, key)} names rows {begin} to {end} of {rows}")
        frame[begin:end] = number
    if frame.size and frame.min() < 0:
        raise Flaw(f"{_at(group, key)} leaves row {int(np.argmin(frame))} without a frame")
    return frame


# --- tracks -----------------------------------------------------------------------------------


def tracks(group: h5py.Group | None, ids: np.ndarray, assumed: list[str], name: str) -> np.ndarray:
    """Return the track of each object of these numbers, -1 where it has none."""
    track = np.full(len(ids), _NO_TRACK, np.int64)
    if group is None or child(group, "Track0", h5py.Dataset) is None:
        return track
    if len(np.unique(ids)) != len(ids):
        raise Flaw(f"{name!r} has two objects of one number, so tracks cannot tell them apart")
    ends = ("IndexTrackObjectBegin", "IndexTrackObjectEnd")
    lines = table(group, "Track0", ("ID", *ends))
    members = table(group, "TrackObject0", ("ID_Object",))["ID_Object"]
    order = np.argsort(ids, kind="stable")
    places = np.searchsorted(ids, members, sorter=order)
    rows = order[np.minimum(places, len(ids) - 1)] if len(ids) else places
    if len(members) and (not len(ids) or np.any(ids[rows] != members)):
        strange = members[ids[rows] != members][0] if len(ids) else members[0]
        raise Flaw(f"{_at(group, 'TrackObject0')} names object {strange}, which is not there")
    twice = 0
    for number, begin, end in zip(lines["ID"], *(lines[key] for key in ends), strict=True):
        if not 0 <= begin <= end <= len(members):
            raise Flaw(
                f"{_at(group, 'Track0')} names rows {begin} to {end} of {len(members)} objects"
            )
        here = rows[begin:end]
        free = here[track[here] == _NO_TRACK]
        twice += len(here) - len(free)
        track[free] = number
    if twice:
        assumed.append(f"{name}: {twice} objects lie in several tracks; the first one is theirs")
    return track


def connected(edges: np.ndarray, rows: int, where: str) -> np.ndarray:
    """Return tracks of rows joined by edges, numbered by their first row; -1 for lone rows."""
    if edges.size and not 0 <= edges.min() <= edges.max() < rows:
        raise Flaw(f"{where} joins spot {int(edges.max())}; there are {rows}")
    first = np.arange(rows)
    while True:  # each turn every row learns the least number among its neighbours
        least = first.copy()
        np.minimum.at(least, edges[:, 0], first[edges[:, 1]])
        np.minimum.at(least, edges[:, 1], first[edges[:, 0]])
        least = least[least]
        if np.array_equal(least, first):
            break
        first = least
    track = np.full(rows, _NO_TRACK, np.int64)
    joined = np.unique(edges)
    _, number = np.unique(first[joined], return_inverse=True)
    track[joined] = FIRST_TRACK + number.reshape(-1)
    return track


def apart(tracks_of: Sequence[np.ndarray]) -> tuple[list[np.ndarray], list[int]]:
    """Shift the track numbers of later objects where they are those of earlier ones."""
    shifted: list[np.ndarray] = []
    shifts = []
    used = np.empty(0, np.int64)
    for track in tracks_of:
        numbers = np.unique(track[track != _NO_TRACK])
        shift = 0
        if np.intersect1d(numbers, used).size:
            shift = int(used.max() + 1 - numbers.min())
            shift = -(-shift // FIRST_TRACK) * FIRST_TRACK  # the last digits stay
        shifted.append(np.where(track == _NO_TRACK, track, track + shift))
        shifts.append(shift)
        used = np.union1d(used, numbers + shift)
    return shifted, shifts


# --- datasets ---------------------------------------------------------------------------------


def table(group: h5py.Group, key: str, fields: Sequence[str]) -> dict[str, np.ndarray]:
    """Read some fields of a table of records, or say what is wrong with it."""
    rows = _checked(group, key, fields, "iuf", "a number").fields(list(fields))[()]
    return {name: np.ascontiguousarray(rows[name]) for name in fields}


def table_in_runs(
    group: h5py.Group, key: str, fields: Sequence[str], rows: int
) -> Iterator[dict[str, np.ndarray]]:
    """Read some fields of a long table of records, so many rows at a time."""
    dataset = _checked(group, key, fields, "iuf", "a number")
    for start in range(0, len(dataset), rows):
        run = dataset.fields(list(fields))[start : start + rows]
        yield {name: np.ascontiguousarray(run[name]) for name in fields}


def texts(group: h5py.Group, key: str, name: str) -> list[str]:
    """Read one field of text of a table of records."""
    rows = _checked(group, key, (name,), "SO", "text").fields(name)[()]
    raw = [row if isinstance(row, bytes) else str(row).encode() for row in rows.tolist()]
    return [row.split(b"\0", 1)[0].decode("utf-8", "replace").strip() for row in raw]


def _checked(
    group: h5py.Group, key: str, fields: Sequence[str], kinds: str, expected: str
) -> h5py.Dataset:
    """Return a table that has these fields, of one kind."""
    dataset = _dataset(group, key)
    names = dataset.dtype.names or ()
    missing = [name for name in fields if name not in names]
    if missing or dataset.ndim != 1:
        raise Flaw(
            f"{_at(group, key)} holds {', '.join(names) or dataset.dtype} of shape "
            f"{dataset.shape}; expected rows of {', '.join(fields)}"
        )
    for name in fields:
        if dataset.dtype[name].kind not in kinds or dataset.dtype[name].shape:
            raise Flaw(f"{_at(group, key)}: {name} is {dataset.dtype[name]}; expected {expected}")
    return dataset


def matrix(group: h5py.Group, key: str, columns: Sequence[int]) -> h5py.Dataset:
    """Return a matrix of numbers that has one of these numbers of columns, unread."""
    dataset = _dataset(group, key)
    width = dataset.shape[1] if dataset.ndim == 2 else 1 if dataset.ndim == 1 else 0
    if dataset.dtype.kind not in "iuf" or width not in columns:
        raise Flaw(
            f"{_at(group, key)} holds {dataset.dtype} of shape {dataset.shape}; expected numbers, "
            f"{' or '.join(map(str, columns))} a row"
        )
    return dataset


def _dataset(group: h5py.Group, key: str) -> h5py.Dataset:
    """Find a dataset whose values are all in this very file, and not more than can be read."""
    dataset = child(group, key, h5py.Dataset)
    if dataset is None:
        raise Flaw(f"{group.name.lstrip('/')} holds no {key}")
    layout = dataset.id.get_create_plist()
    if layout.get_layout() == h5py.h5d.VIRTUAL or layout.get_external_count():
        raise Flaw(f"{_at(group, key)} keeps its rows in other files, which is refused")
    if dataset.size * dataset.dtype.itemsize > _LARGEST_TABLE:
        raise Flaw(f"{_at(group, key)} claims {dataset.size} values, more than 2 GiB")
    for i in range(layout.get_nfilters()):
        if not h5py.h5z.filter_avail(layout.get_filter(i)[0]):
            raise Flaw(f"{_at(group, key)}: HDF5 filter {layout.get_filter(i)[0]} is not installed")
    if dataset.size and _is_missing(dataset):
        raise Flaw(f"damaged: rows of {_at(group, key)} are not in the file; export it again")
    note_values(dataset)
    return dataset


def _is_missing(dataset: h5py.Dataset) -> bool:
    if dataset.chunks is None:
        return dataset.id.get_storage_size() == 0
    expected = math.prod(-(-n // k) for n, k in zip(dataset.shape, dataset.chunks, strict=True))
    return dataset.id.get_num_chunks() < expected


def _at(group: h5py.Group, key: str) -> str:
    return f"{group.name}/{key}".lstrip("/")


class SceneObject(TypedDict, total=False):
    """An object as attributes list it: how many members it has, and how its tracks moved."""

    name: str
    number: int
    spots: int
    surfaces: int
    track_shift: int


def listed(
    objects: Sequence[Thing],
    members: Literal["spots", "surfaces"],
    counts: Sequence[int],
    shifts: Sequence[int],
) -> list[SceneObject]:
    """Return objects as attributes list them; a shift of 0 is none."""
    records = list[SceneObject]()
    for thing, count, shift in zip(objects, counts, shifts, strict=True):
        record: SceneObject = {"name": thing.name, "number": thing.number}
        record[members] = count
        if shift:
            record["track_shift"] = shift
        records.append(record)
    return records


# --- surfaces without meshes ------------------------------------------------------------------


def centers(
    group: h5py.Group, assumed: list[str], name: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return numbers, frames, and centres (z, y, x) in the object's unit of MegaSurfaces."""
    axes = ("CenterOfMassZ", "CenterOfMassY", "CenterOfMassX")
    models = table(group, "SurfaceModelInfo", ("ID", *axes))
    ids = models["ID"].astype(np.int64)
    if child(group, "SurfaceTimeOffset", h5py.Dataset) is not None:
        frame = frames_by_offset(group, "SurfaceTimeOffset", len(ids))
    else:
        names = _dataset(group, "SurfaceModelInfo").dtype.names or ()
        clocks = [key for key in names if "time" in key.lower()]
        frame = np.zeros(len(ids), np.int64)
        if clocks:
            frame = table(group, "SurfaceModelInfo", clocks[:1])[clocks[0]].astype(np.int64)
            assumed.append(f"{name}: the frame is what SurfaceModelInfo calls {clocks[0]}, from 0")
        elif len(ids):
            assumed.append(f"{name}: all surfaces lie in frame 0: no frame is said")
    return ids, frame, np.stack([models[axis] for axis in axes], axis=1)
