"""What all that is read from an Imaris file shares: its name, its units, its clock.

Knows ``DataSetInfo`` and how files are grouped; knows neither pixels nor objects.
"""

import itertools
import math
import os
from collections.abc import Sequence
from datetime import datetime, timedelta

import h5py

from dpipe.errors import UsageError
from dpipe.readers._hdf5 import child, text
from dpipe.sources import one_each, resolve_uri

SUFFIXES = (".ims", ".h5", ".hdf5")
MICROMETRES = {"m": 1e6, "mm": 1e3, "um": 1.0, "µm": 1.0, "μm": 1.0, "nm": 1e-3}


find = one_each(SUFFIXES)


def one_file(url: str | os.PathLike[str] | Sequence[str]) -> tuple[str, str]:
    """Return the URI of a part's only file, and the name by which messages call it."""
    if not isinstance(url, str | os.PathLike):
        if len(url) != 1:
            raise UsageError(f"an Imaris movie is one file; found {len(url)}")
        (url,) = url
    uri = resolve_uri(os.fspath(url))
    return uri, uri.rstrip("/").rsplit("/", 1)[-1]


def info(h5: h5py.File, key: str) -> h5py.Group | None:
    """Return a group of ``DataSetInfo``, None where there is none."""
    group = child(h5, "DataSetInfo")
    return None if group is None else child(group, key)


def seconds(group: h5py.Group | None, frames: int) -> tuple[list[float] | None, str]:
    """Seconds of each frame after the first, exact to the microsecond; else why not known."""
    stamps = [text(group, f"TimePoint{t + 1}") for t in range(frames)]
    try:
        moments = [datetime.fromisoformat(stamp).replace(tzinfo=None) for stamp in stamps]
    except ValueError:
        return None, "time points without a readable date"
    passed = [(m - moments[0]) / timedelta(seconds=1) for m in moments]
    if all(a < b for a, b in itertools.pairwise(passed)):
        return passed, ""
    return None, "dates that do not increase"


def number(value: str) -> float | None:
    """Return a finite number that a text says, else None."""
    try:
        found = float(value)
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def whole(value: str) -> int | None:
    """Return a whole number that a text says, else None."""
    found = number(value)
    return int(found) if found is not None and found == int(found) else None
