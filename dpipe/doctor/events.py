"""Faults of phases and tracks, as the reader ``phases`` and ``track-checks`` flag them."""

from collections.abc import Iterator

import numpy as np
import xarray as xr

from dpipe import schema
from dpipe.doctor.findings import Example, Findings

_JUMP = 1 << schema.SPOT_FLAGS.index("far_jump")
_ORDER = ("phases_overlap", "gap_between_phases", "no_disruption", "far_frame")
"""Flags that tell of the table itself; the others tell of its tracks."""


def report_phases(ds: xr.Dataset, label: str, findings: Findings) -> None:
    """Add events whose phases are out of order to the findings; see the reader ``phases``."""
    flags = np.asarray(ds["phase_flag"].values)
    events, movies = ds["event"].values, ds["movie"].values
    for i in range(len(flags)):
        words = [word for word in _meanings(int(flags[i]), schema.PHASE_FLAGS) if word in _ORDER]
        if words:
            told = f"{events[i]}: {', '.join(words)}"
            findings.add("phases_out_of_order", [Example(label, str(movies[i]), (), told)])


def report_spots(ds: xr.Dataset, label: str, findings: Findings) -> None:
    """Add spots that jump or are odd otherwise to the findings; see the operator track-checks."""
    flags = np.asarray(ds["spot_flag"].values)
    tracks, frames = ds["track"].values, ds["frame"].values
    for i in np.flatnonzero(flags).tolist():
        kind = "track_jump" if flags[i] & _JUMP else "odd_spot"
        words = ", ".join(_meanings(int(flags[i]), schema.SPOT_FLAGS))
        told = f"track {tracks[i]}, frame {frames[i]}: {words}"
        findings.add(kind, [Example(label, "", (), told)])


def _meanings(flag: int, names: tuple[str, ...]) -> Iterator[str]:
    return (name for bit, name in enumerate(names) if flag >> bit & 1)
