"""Rows of spots as a file gives them, before places and times are made ours.

Knows which units there are. Knows no format of any program.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dpipe.spreadsheets import Unfit

_MICRO = ("u", "\u00b5", "\u03bc", "\\u00b5", "\u00e2\u00b5", "\u00c2\u00b5")
"""How files write the Greek letter: as it is, escaped, or read in a wrong encoding."""
_MICROMETRES = {
    1.0: " ".join(f"{each}m" for each in _MICRO)
    + " micron microns micrometer micrometers micrometre micrometres",
    1e-3: "nm nanometer nanometers nanometre nanometres",
    1e-4: "a \u00e5 angstrom angstroms",
    1e3: "mm millimeter millimeters millimetre millimetres",
    1e4: "cm centimeter centimeters centimetre centimetres",
    1e6: "m meter meters metre metres",
    25400.0: "in inch inches",
}
_SECONDS = {
    1.0: "s sec secs second seconds",
    1e-3: "ms msec millisecond milliseconds",
    1e-6: " ".join(f"{each}s" for each in _MICRO) + " microsecond microseconds",
    60.0: "min mins minute minutes",
    3600.0: "h hr hrs hour hours",
    86400.0: "d day days",
}
LENGTHS = {word: factor for factor, words in _MICROMETRES.items() for word in words.split()}
"""Micrometres in a unit of length, by its names in small letters."""
TIMES = {word: factor for factor, words in _SECONDS.items() for word in words.split()}
"""Seconds in a unit of time, by its names in small letters."""
PIXELS = ("pixel", "pixels", "px", "voxel", "voxels")
FRAMES = ("frame", "frames", "timepoint", "timepoints")


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
        As the file or its format says: a unit of length, ``"pixel"``, or "" if it is not said.
    frame : numpy.ndarray or None
        int64, counted from `first`.
    first : int
        Number of the first frame of the movie in this file.
    guessed_first : bool
        Whether the format leaves that open.
    times : numpy.ndarray or None
        float64, in `time_unit`, NaN unknown, where the file gives times.
    interval : float or None
        Of `time_unit` between frames, where the file gives it.
    time_unit : str
        As the file or its format says, "" if it is not said.
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
    assumed, notes : list of str
        Lines for people: what the file leaves open, and what of it is left out or odd.
    attrs : dict
        What else the file says.
    """

    track: np.ndarray
    zyx: Any
    unit: str = "um"
    frame: np.ndarray | None = None
    first: int = 0
    guessed_first: bool = False
    times: np.ndarray | None = None
    interval: float | None = None
    time_unit: str = "s"
    radius: np.ndarray | None = None
    number: np.ndarray | None = None
    annotator: np.ndarray | None = None
    branches: bool = True
    parents: Mapping[int, int] | None = None
    assumed: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    attrs: dict[str, Any] = field(default_factory=dict)


def word_of(text: str) -> str:
    """Return a unit in small letters, without brackets around it.

    Examples
    --------
    >>> word_of(" (Micron) "), word_of("[px]")
    ('micron', 'px')
    """
    return re.sub(r"^[(\[]+|[)\].]+$", "", text.strip()).strip().lower()


def micrometres_in(text: str) -> float | None:
    """Return the micrometres in a unit of length, None for pixels; another unit is refused."""
    word = word_of(text)
    if word in PIXELS:
        return None
    if word not in LENGTHS:
        found = f"are in {text!r}" if word else "have no unit in the file"
        raise Unfit(f"places {found}; say unit=um, or unit=pixel and spacing=[z, y, x]")
    return LENGTHS[word]


def seconds_in(text: str) -> float | None:
    """Return the seconds in a unit of time, None for frames or no unit; another is refused."""
    word = word_of(text)
    if not word or word in FRAMES:
        return None
    if word not in TIMES:
        raise Unfit(f"times are in {text!r}; say interval= in seconds")
    return TIMES[word]
