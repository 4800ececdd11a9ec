"""Rows of spots as a file gives them, before places and times are made ours.

Knows which units there are. Knows no format of any program.
"""

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
    zyx : numpy.ndarray
        float64, shape (n, 3), in `unit`.
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
    attrs : dict
        What else the file says.
    """

    track: np.ndarray
    zyx: np.ndarray
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
    attrs: dict[str, Any] = field(default_factory=dict)


def unit_of(text: str) -> str:
    """Return ``"um"`` or ``"pixel"``; another unit is refused."""
    if text.strip().lower() in MICROMETRES:
        return "um"
    if text.strip().lower() in PIXELS:
        return "pixel"
    raise Unfit(f"positions are in {text!r}; expected um")
