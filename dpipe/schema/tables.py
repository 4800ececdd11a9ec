"""Names of what tables say of movies, what is odd in tables, and how movies are told by name."""

import re
from collections.abc import Sequence

import numpy as np

from dpipe.schema.variable import Variable


def movie_key(name: str) -> str:
    """Return a movie's name without what people spell now so, now so.

    Parameters
    ----------
    name : str
        A stem, or what a table calls the movie.

    Returns
    -------
    str
        Small letters, without spaces, ``-`` and ``_``.

    Examples
    --------
    >>> movie_key("Neu 8") == movie_key("neu_8") == movie_key("Neu8")
    True
    """
    return re.sub(r"[\s_-]", "", name).lower()


def _condition(name: str, meaning: str) -> Variable:
    return Variable(name, ("movie",), "U", "1", meaning)


CONTENT = Variable("content", ("movie", "channel_number"), "U", "1", "what a channel shows")
CHANNEL_CONTENT = Variable("channel_content", ("c",), "U", "1", "what a channel shows")
MARKERS = _condition("markers", "cell markers, by commas")
FLUOROPHORES = _condition("fluorophores", "fluorophores, by commas")
ORGAN = _condition("organ", "organ that was imaged")
STIMULUS = _condition("stimulus", "stimulus that was applied")
OBJECTIVE = _condition("objective", "magnification of the objective")
CONDITIONS = (ORGAN, STIMULUS, MARKERS, FLUOROPHORES, OBJECTIVE)
"""What a row of conditions says of a whole movie."""
SPLITS = ("train", "validation", "test")
SPLIT = _condition("split", f"what a movie is used for: {', '.join(SPLITS)}")

SPOT_FLAG = Variable(
    "spot_flag", ("spot",), "u", "1", "what is odd: sum of bits, named in flag_meanings"
)
SPOT_FLAGS = (
    *("outside_image", "before_first_frame", "beyond_last_frame", "time_mismatch"),
    *("not_finite", "duplicate", "far_jump"),
)
"""Meanings of the bits 1, 2, 4, ... of `SPOT_FLAG`."""

MARK_FRAME = Variable(
    "mark_frame", ("mark",), "i", "1", "frame of a spot that an annotator marked, from 0"
)
MARK_Z, MARK_Y, MARK_X = MARK_PLACES = tuple(
    Variable(f"mark_{dim}", ("mark",), "f", "micrometer", f"place along {dim} of such a spot")
    for dim in "zyx"
)
"""What all annotators marked, also where no other one agrees: a consensus was made of it."""

SPOT_STATISTIC = Variable(
    "spot_statistic", ("spot", "name"), "f", "1", "what Imaris measured, by statistic_unit"
)
SPOT_LABEL = Variable(
    "spot_label", ("spot", "label_group"), "U", "1", "label that a person gave a spot"
)

_FAR_FRAME, _FAR_TIMES, _FEW_FRAMES = 1_000_000, 100, 5
_NEAR_FRAME = 10_000

NOTES = ("notes", "assumed", "corrected", "verdict")
"""Attributes of a Dataset that hold lines for people: what a run and `dpipe show` say of it."""


def flag_note(what: str, flags: np.ndarray, meanings: Sequence[str]) -> list[str]:
    """Return a line for `NOTES` on the rows of a table that are flagged, and why.

    Parameters
    ----------
    what : str
        What a row is, in the plural.
    flags : numpy.ndarray, shape (n,)
        Sums of bits.
    meanings : sequence of str
        Of the bits 1, 2, 4, ...

    Returns
    -------
    list of str
        One line, none if nothing is flagged. A row may count under several meanings.

    Examples
    --------
    >>> flag_note("spots", np.array([0, 1, 5]), ("outside", "late", "twice"))
    ['2 of 3 spots are odd: outside 2, twice 1']
    """
    odd = int(np.count_nonzero(flags))
    counts = [(name, int(np.count_nonzero(flags & (1 << i)))) for i, name in enumerate(meanings)]
    counted = ", ".join(f"{name} {count}" for name, count in counts if count)
    return [f"{odd} of {len(flags)} {what} are odd: {counted}"] if odd else []


def far_frames(frames: np.ndarray) -> np.ndarray:
    """Return a truth value a frame: so far beyond the others that it may be mistyped.

    Parameters
    ----------
    frames : numpy.ndarray, shape (n,)
        From 0; NaN for none.

    Returns
    -------
    numpy.ndarray of bool
        True beyond a million, or, of five frames or more, beyond 10,000 and a hundred times their
        median.

    Examples
    --------
    >>> far_frames(np.array([3, 9, 40, 12, 2_000_000, 7])).tolist()
    [False, False, False, False, True, False]
    """
    limit = float(_FAR_FRAME)
    finite = frames[~np.isnan(frames)] if frames.dtype.kind == "f" else frames
    if finite.size >= _FEW_FRAMES:
        limit = min(limit, max(_NEAR_FRAME, _FAR_TIMES * float(np.median(finite))))
    return frames > limit
