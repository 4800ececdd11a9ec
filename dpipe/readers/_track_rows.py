"""Rows of spots as a file gives them, before places and times are made ours.

Knows which units there are. Knows no format of any program.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dpipe.spreadsheets import Unfit

MICROMETRES = ("um", "\u00b5m", "\u03bcm", "micron", "microns", "micrometer", "micrometre")
PIXELS = ("pixel", "pixels", "px")
SECONDS = ("s", "sec", "second", "seconds")


@dataclass
class Rows:
    """Spots as they stand in a file.

    Attributes
    ----------
    track : numpy.ndarray
        int64, -1 for a spot without track.
    zyx : array
        float64, shape (n, 3), in `unit`; lazy where images must be read for it.
    unit : str
        ``"um"`` or ``"pixel"``.
    frame : numpy.ndarray or None
        int64, counted from `first`.
    first : int
        Number of the first frame of the movie in this file.
    guessed_first : bool
        Whether the format leaves that open.
    seconds : numpy.ndarray or None
        float64, where the file gives times.
    interval : float or None
        Seconds between frames, where the file gives it.
    radius : numpy.ndarray or None
        float64, in `unit`.
    number : numpy.ndarray or None
        int64, the file's own number of each spot.
    annotator : numpy.ndarray or None
        Text, who marked each spot.
    branches : bool
        Whether several spots of a track in one frame are suspicious.
    parents : mapping of int to int, or None
        The track that each track comes from, -1 for none, where the file says it.
    attrs : dict
        What else the file says.
    """

    track: np.ndarray
    zyx: Any
    unit: str = "um"
    frame: np.ndarray | None = None
    first: int = 0
    guessed_first: bool = False
    seconds: np.ndarray | None = None
    interval: float | None = None
    radius: np.ndarray | None = None
    number: np.ndarray | None = None
    annotator: np.ndarray | None = None
    branches: bool = True
    parents: Mapping[int, int] | None = None
    attrs: dict[str, Any] = field(default_factory=dict)


def unit_of(text: str) -> str:
    """Return ``"um"`` or ``"pixel"``; another unit is refused."""
    if text.strip().lower() in MICROMETRES:
        return "um"
    if text.strip().lower() in PIXELS:
        return "pixel"
    raise Unfit(f"positions are in {text!r}; expected um")
