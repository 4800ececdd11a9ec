"""Rows of spots as a file gives them, before places and times are made ours.

Knows which units there are. Knows no format of any program.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dpipe.formats.spreadsheets import Unfit
from dpipe.schema import Attributes, units

_MICRO = ("u", "\u00b5", "\u03bc", "\\u00b5", "\u00e2\u00b5", "\u00c2\u00b5")
"""How files write the Greek letter: as it is, escaped, or read in a wrong encoding."""
_PLACES = [f"{each}m" for each in _MICRO if each != "\u00e2\u00b5"] + (
    "micron microns micrometer micrometers micrometre micrometres nm nanometer nanometers "
    "nanometre nanometres \u00e5 angstrom angstroms mm millimeter millimeters millimetre "
    "millimetres cm centimeter centimeters centimetre centimetres m meter meters metre metres in "
    "inch inches"
).split()
_MOMENTS = [f"{each}s" for each in _MICRO if each != "\u00e2\u00b5"] + (
    "s sec secs second seconds ms msec millisecond milliseconds microsecond microseconds min mins "
    "minute minutes h hr hrs hour hours d day days"
).split()
LENGTHS: dict[str, float] = {word: units.LENGTHS[word] for word in _PLACES if word in units.LENGTHS}
LENGTHS |= {
    "\u00e2\u00b5m": 1.0,
    "a": units.LENGTHS["angstrom"],
    "\u00e5": units.LENGTHS["angstrom"],
}
"""Micrometres in a unit of length, by the words that tables of tracks have, in small letters."""
TIMES: dict[str, float] = {word: units.TIMES[word] for word in _MOMENTS if word in units.TIMES}
TIMES |= {"\u00e2\u00b5s": 1e-6}
"""Seconds in a unit of time, likewise."""
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
    attrs: Attributes = field(default_factory=dict)


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
    factor = LENGTHS.get(word, units.micrometres_in(text.strip(" ()[].")))
    if factor is None:
        unit_found = f"are in {text!r}" if word else "have no unit in the file"
        raise Unfit(f"places {unit_found}; say unit=um, or unit=pixel and spacing=[z, y, x]")
    return factor


def seconds_in(text: str) -> float | None:
    """Return the seconds in a unit of time, None for frames or no unit; another is refused."""
    word = word_of(text)
    if not word or word in FRAMES:
        return None
    factor = TIMES.get(word, units.seconds_in(text.strip(" ()[].")))
    if factor is None:
        raise Unfit(f"times are in {text!r}; say interval= in seconds")
    return factor
