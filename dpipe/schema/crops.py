"""Names of what is known of crops: windows cut from a movie around events, over time.

A dataset of crops lies over ``event`` (index coordinate of names such as ``"Neu1_cell1"``) and
``t`` (seconds after the event's first frame, negative in the margin before it). Its ``z``, ``y``,
``x`` are micrometres from the window's centre; the stem of the movie is `MOVIE` of the schema.
"""

from dpipe.schema.variable import Variable


def _crop(name: str, unit: str, meaning: str, kinds: str = "f") -> Variable:
    return Variable(f"crop_{name}", ("event", "t"), kinds, unit, meaning)


CROP = Variable(
    "crop", ("event", "t", "c", "y", "x"), "uif", "1", "window around an event, maximum over z"
)
CROP_VOLUME = Variable(
    "crop_volume", ("event", "t", "c", "z", "y", "x"), "uif", "1", "volume around an event"
)
LABEL = Variable("label", ("event",), "i", "1", "class of a crop: 1 apoptotic, 0 not")
KIND = Variable("kind", ("event",), "U", "1", "what a crop is centred on: one of CROP_KINDS")
CROP_KINDS = ("event", "cell", "before")
"""An event; a cell far from all that anybody marked; the cell of an event before its first mark."""
EVENT_LIKE = Variable(
    "event_like", ("event",), "U", "1", "crop of an event that a negative is like, empty for events"
)
EVENT_TRACK = Variable("event_track", ("event",), "i", "1", "track of a crop, -1 none")
EVENT_CHANNEL = Variable(
    "event_channel", ("event",), "U", "1", "channel in which an event was marked, empty unknown"
)
CROP_FRAME = _crop(
    "frame", "1", "frame of the movie that a crop shows, from 0; -1 beyond the movie", "i"
)
CROP_VALID = _crop("valid", "1", "whether a crop shows a frame there, and no filling", "b")
CROP_TIME = _crop("time", "s", "when that frame was after the movie's first, NaN beyond the movie")
CROP_SPOTS = _crop(
    "spots", "1", "number of spots of the event in that frame; 0: its place is interpolated", "u"
)
CROP_PHASE = _crop(
    "phase", "1", "phase of a cell: 0 healthy, 1 blebbing, 2 disruption, 255 unknown", "u"
)
CROP_PHASES = ("healthy", "blebbing", "disruption")
"""Meanings of the values 0, 1, 2 of `CROP_PHASE`; `PHASE_UNKNOWN` stands for none of them."""
PHASE_UNKNOWN = 255
CROP_INSIDE = _crop("inside", "1", "share of the window that lies inside the image")
CROP_Z, CROP_Y, CROP_X = (
    _crop(dim, "micrometer", f"centre of the window along {dim}, in the frame of the image")
    for dim in "zyx"
)
