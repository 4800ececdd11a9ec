"""The truth about the movies of the demo: records of ``truth.json``, as plain JSON values.

Frames count from 0; places are z, y, x in micrometres.
"""

from typing import TypedDict


class NoiseTruth(TypedDict):
    """The noise of a channel: ``gaussian`` with its sigma, or ``poisson`` without."""

    kind: str
    sigma: float | None


class ChannelTruth(TypedDict):
    """A channel as it is drawn: background, and brightness of a cell above it."""

    name: str
    color: str
    background: float
    brightness: float
    noise: NoiseTruth


class CellTruth(TypedDict, total=False):
    """An ellipsoid cell: radii, a centre a frame, and first and last frame if not all."""

    channel: int
    radii: list[float]
    frames: list[int]
    centres: list[list[float]]


class MarkTruth(TypedDict, total=False):
    """The marks of an annotator on a cell: frames, a place in each, the track."""

    frames: list[int]
    places: list[list[float]]
    track: int


class EventTruth(TypedDict, total=False):
    """A death, or debris that was marked as one.

    `cell` is its index, `track` that of the scene. Of a death, `frames` are those that at least
    two annotators marked, `left_out` those between them that they did not, and `spot_frames`
    those of the scene.
    """

    cell: int
    track: int
    frames: list[int]
    left_out: list[int]
    spot_frames: list[int]
    marks: dict[str, MarkTruth]


class LoneMarkTruth(TypedDict):
    """A spot without track, where nothing is."""

    who: str
    frame: int
    place: list[float]


class PhasesTruth(TypedDict):
    """A row of the table of phases, its marks by annotator, and the index of its death."""

    frames: list[int | None]
    marks: dict[str, list[int | None]]
    response: str
    flags: list[str]
    death: int | None


class SurfaceTruth(TypedDict, total=False):
    """An ellipsoid in one frame, of an object of the scene; a track where the scene has one."""

    frame: int
    cell: int
    track: int | None
    closed: bool
    centre: list[float]
    radii: list[float]
    volume: float
    object: int


class MovieTruth(TypedDict, total=False):
    """All about a movie but its noise; the last ones of a movie in which cells die."""

    dtype: str
    seed: list[int]
    size: list[int]
    spacing: list[float]
    origin: list[float]
    interval: float
    channels: list[ChannelTruth]
    cells: list[CellTruth]
    annotators: list[str]
    deaths: list[EventTruth]
    debris: list[EventTruth]
    phases: list[PhasesTruth]
    living: list[int]
    lone_marks: list[LoneMarkTruth]
    consensus_ratio: float
    surfaces: list[SurfaceTruth]


class FieldTruth(TypedDict):
    """A field of a plate: pixels of each nucleus, by its colour as a number."""

    well: str
    field: int
    nuclei: dict[str, int]


class PlateTruth(TypedDict):
    """A plate: micrometres of a pixel, and its fields by file."""

    plate: str
    spacing: float
    fields: dict[str, FieldTruth]


class OutlinesTruth(TypedDict):
    """Outlined pictures: how many cells each has, and how often each fault was planted."""

    cells: dict[str, int]
    faults: dict[str, int]


class StudyTruth(TypedDict, total=False):
    """The content of ``truth.json``."""

    seed: int
    movies: dict[str, MovieTruth]
    conditions: dict[str, dict[str, str]]
    cells: dict[str, "FolderTruth"]
    plate: PlateTruth
    outlined: OutlinesTruth


class FolderTruth(TypedDict):
    """A folder of pictures: files that are corrupt or without mask, and how many of each kind."""

    pictures: int
    corrupt: list[str]
    without_mask: list[str]
    empty_masks: int
    labels: dict[str, int]
