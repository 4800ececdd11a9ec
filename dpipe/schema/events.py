"""Names of what is known of events: cells that die, and the phases of their death."""

from dpipe.schema.variable import Variable


def _phase(name: str, unit: str, meaning: str, kinds: str = "f") -> Variable:
    return Variable(name, ("event",), kinds, unit, meaning)


MOVIE = _phase("movie", "1", "stem of the movie of an event", "U")
CHANNEL = _phase("channel", "1", "channels in which an event is seen, by commas", "U")
BLEBBING_START = _phase("blebbing_start", "1", "first frame of blebbing from 0, NaN none")
BLEBBING_END = _phase("blebbing_end", "1", "last frame of blebbing from 0, NaN none")
DISRUPTION_START = _phase("disruption_start", "1", "first frame of disruption from 0, NaN none")
DISRUPTION_END = _phase("disruption_end", "1", "last frame of disruption from 0, NaN none")
PHASE_FLAG = _phase("phase_flag", "1", "what is odd: sum of bits, named in flag_meanings", "u")
PHASE_AGREEMENT = _phase("phase_agreement", "1", "share of an event's frames that two agree on")
PHASE_TRACK = _phase("phase_track", "1", "track of an event, -1 none", "i")
PHASE_OVERLAP = _phase("phase_overlap", "1", "share of an event's frames that its track covers")
RESPONSE = _phase(
    "response", "1", "whether an event set off a response: 1 yes, 0 no, -1 unknown", "i"
)
PHASES = (BLEBBING_START, BLEBBING_END, DISRUPTION_START, DISRUPTION_END)
"""The four frames that a table of phases gives of each event."""
PHASE_FLAGS = (
    *("phases_overlap", "gap_between_phases", "no_disruption", "no_track", "ambiguous_track"),
    *("little_overlap", "interrupted", "annotator_missing", "far_frame"),
)
"""Meanings of the bits 1, 2, 4, ... of `PHASE_FLAG`."""
