"""The letters of axes: which dim of a movie each is, and how an option cuts one into several.

An axis that a file does not name is taken for time, or for depth in a file that is itself one
time point of a series.
"""

import math
import re
from typing import NamedTuple

from dpipe import schema
from dpipe.errors import UsageError
from dpipe.formats.tiff import Flaw, Layout

AMBIGUOUS = "QI"
_LETTER = re.compile(r"([A-Za-z])(\d*)")


class Axes(NamedTuple):
    """The axes that a person names: letters, and the size of each where one is said."""

    letters: str
    sizes: tuple[int | None, ...]

    @property
    def cuts(self) -> bool:
        """Whether sizes are said: then the planes are counted as they lie in the file."""
        return any(size is not None for size in self.sizes)


def parsed_axes(text: str | None) -> Axes | None:
    """Read the option `axes`: ``"TZYX"``, or ``"TZ4C2YX"`` with sizes.

    Raises
    ------
    UsageError
        It is no list of axes.
    """
    if text is None:
        return None
    plain = re.sub(r"[ ,]", "", str(text))
    pairs = _LETTER.findall(plain)
    letters = "".join(letter.upper() for letter, _ in pairs)
    sizes = tuple(int(digits[:9]) if digits else None for _, digits in pairs)
    bad = "".join("".join(pair) for pair in pairs) != plain
    if bad or set(letters) - set("TCZYXS") or len(set(letters)) != len(letters):
        raise UsageError(f"axes={text!r}: expected each of T, C, Z, Y, X, S at most once")
    if not {"Y", "X"} <= set(letters) or {"C", "S"} <= set(letters):
        raise UsageError(f"axes={text!r}: expected Y and X, and only one of C and S")
    axes, size_of = Axes(letters, sizes), dict(zip(letters, sizes, strict=True))
    if 0 in sizes or any(size_of.get(a) is not None for a in "YXS"):
        raise UsageError(f"axes={text!r}: sizes above 0 may stand behind T, C and Z")
    if axes.cuts and sum(size_of[a] is None for a in letters if a in "TCZ") > 1:
        raise UsageError(f"axes={text!r}: only one of T, C and Z may be without a size")
    return axes


def dims_of(layout: Layout, axes: Axes | None, taken: str = "") -> str:
    """Name the axes of a file by the dims of a movie.

    Parameters
    ----------
    layout : Layout
        Of the file.
    axes : Axes, optional
        What a person says, without sizes.
    taken : str
        The dims that names of files count.

    Returns
    -------
    str
        One letter an axis.

    Raises
    ------
    Flaw
        They make no movie.
    """
    shape = ", ".join(map(str, layout.shape))
    letters = layout.axes if axes is None else axes.letters
    if len(letters) != len(layout.axes):
        cut = f"; sizes cut one, as in {_example(layout)!r}" * (len(letters) > len(layout.axes))
        raise Flaw(f"axes={letters!r} names {len(letters)} axes; the file has ({shape}){cut}")
    unknown = sum(letters.count(a) for a in AMBIGUOUS)
    order = "TZC" if "t" not in taken else "ZCT"
    free = [a for a in order if a not in letters and a.lower() not in taken][:unknown]
    for a in sorted(free, key="TCZ".index):
        letters = re.sub(f"[{AMBIGUOUS}]", a, letters, count=1)
    dims = letters.replace("S", "C").lower()
    if set(dims) - set(schema.MOVIE_DIMS) or len(set(dims)) != len(dims):
        raise Flaw(f"axes {letters} of ({shape}) make no movie; say axes=, for example 'TZYX'")
    if not {"y", "x"} <= set(dims[len(layout.outer) :]):
        raise Flaw(f"axes {letters}: a page of it has shape {layout.page}, which is not Y and X")
    return dims


def cut(layout: Layout, axes: Axes, planes: int, torn: bool) -> tuple[str, dict[str, int]]:
    """Count planes as a person says, whatever the file says.

    Parameters
    ----------
    layout : Layout
        Of the file.
    axes : Axes
        With sizes.
    planes : int
        How many planes are there.
    torn : bool
        Take as many frames as are whole, where time is the slowest.

    Returns
    -------
    dims : str
        One letter an axis.
    sizes : dict of str to int
        By dim.

    Raises
    ------
    Flaw
        The planes do not make these sizes.
    """
    inner, outer = axes.letters[-layout.inner :], axes.letters[: -layout.inner]
    sizes = dict(zip(axes.letters, axes.sizes, strict=True))
    if not {"Y", "X"} <= set(inner) or any(sizes[a] for a in inner):
        raise Flaw(f"axes={axes.letters}: a page of it has shape {layout.page}, its last axes")
    unsized = next((a for a in outer if sizes[a] is None), "")
    slow = "T" if outer[:1] == "T" and unsized in ("", "T") else ""
    counted = slow or unsized  # the axis whose size follows from the others
    group = math.prod(sizes[a] or 1 for a in outer if a != counted)
    number, over = divmod(planes, group)
    promised = sizes.get(counted) or number
    fits = not over and (number == promised if counted else number == 1)
    if not (fits and number) and not (torn and slow and 0 < number <= promised):
        expected = "".join(f"{a}{sizes[a] or ''}" for a in outer) or "one plane"
        way = f"say whole_frames=true for the {number} frames that are whole, or "
        way *= bool(slow and 0 < number <= promised)
        raise Flaw(f"{planes} planes do not make {expected}; {way}correct axes=")
    outer_sizes = {a.lower(): number if a == counted else sizes[a] or 1 for a in outer}
    dims = axes.letters.replace("S", "C").lower()
    return dims, outer_sizes | dict(zip(dims[-layout.inner :], layout.page, strict=True))


def _example(layout: Layout) -> str:
    """Return an example of sizes that fit a file."""
    planes = math.prod(layout.outer)
    z = next((n for n in (4, 3, 2, 5, 7) if planes % n == 0 and n < planes), 1)
    return f"TZ{z}{layout.axes[-layout.inner :]}"
