"""Outlines in JSON, as COCO has them: lists of rings, each a list of x and y by turns.

Nine tenths of a file of annotations are these numbers. A number of up to 15 digits is a whole
number over a power of ten, both exact, so their quotient is the float that any parser gives. What
is not plain (longer numbers, null, nesting of another kind, odd counts) is left to the caller.
"""

import numba
import numpy as np

PLAIN, OTHER = 0, 1
"""What became of an outline: taken, or left to the caller."""
_EXACT, _POWERS = 2**53, 22
_BLANK, _COMMA = 32, 44
"""What stands between numbers: the comma, and bytes up to the space."""
_POWER = 10.0 ** np.arange(_POWERS + 1)


@numba.njit(cache=True, nogil=True)
def _digits(data: np.ndarray, at: int, end: int, mantissa: int) -> tuple[int, int]:
    """Append the digits at a place to a number; return it, -1 if it is not exact, and their end."""
    while at < end and 48 <= data[at] <= 57:
        mantissa = 10 * mantissa + (data[at] - 48)
        at += 1
        if mantissa >= _EXACT:
            return -1, at
    return mantissa, at


@numba.njit(cache=True, nogil=True)
def _number(data: np.ndarray, at: int, end: int) -> tuple[float, int]:
    """Return the number that begins at a place, and where it ends; -1 if it is not plain."""
    minus = data[at] == 45
    begin = at + minus
    mantissa, at = _digits(data, begin, end, np.int64(0))
    digits, places = at - begin, 0
    if mantissa >= 0 and at < end and data[at] == 46:  # .
        mantissa, after = _digits(data, at + 1, end, mantissa)
        places = after - at - 1
        at = after
    exponent = at < end and (data[at] == 101 or data[at] == 69)
    if mantissa < 0 or digits + places == 0 or places > _POWERS or exponent:
        return 0.0, -1
    value = mantissa / _POWER[places]
    return (-value if minus else value), at


@numba.njit(cache=True, nogil=True)
def parse_outlines(
    data: np.ndarray, starts: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Parse outlines that stand one after another.

    Parameters
    ----------
    data : numpy.ndarray
        uint8, valid JSON each.
    starts : numpy.ndarray, shape (n + 1,)
        Where each begins, and the end.

    Returns
    -------
    tuple of numpy.ndarray
        State of each (`PLAIN` or `OTHER`), its rings, vertices of each ring, and x and y of all
        vertices; of one left to the caller there is nothing.
    """
    n = starts.size - 1
    state, rings = np.zeros(n, np.int8), np.zeros(n, np.int64)
    most = data.size // 2 + 1  # a digit and a separator
    sizes = np.empty(most, np.int64)
    x, y = np.empty(most // 2 + 1, np.float64), np.empty(most // 2 + 1, np.float64)
    ring_total, vertex_total = 0, 0
    for i in range(n):
        outline = data[starts[i] : starts[i + 1]]
        ring, vertex = _outline(outline, sizes[ring_total:], x[vertex_total:], y[vertex_total:])
        if ring < 0:
            state[i] = OTHER
            continue
        rings[i] = ring
        ring_total += ring
        vertex_total += vertex
    return state, rings, sizes[:ring_total], x[:vertex_total], y[:vertex_total]


@numba.njit(cache=True, nogil=True)
def _outline(data: np.ndarray, sizes: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[int, int]:
    """Parse one outline; return its rings and vertices, -1 rings if it is not plain."""
    at, depth, in_ring, ring, vertex = 0, 0, 0, 0, 0
    while at < data.size:
        byte = data[at]
        if byte == 91:  # [
            depth += 1
            in_ring = 0
        elif byte == 93:  # ]
            if depth == 2:
                if in_ring % 2:
                    return -1, 0
                sizes[ring] = in_ring // 2
                ring += 1
            depth -= 1
        elif byte > _BLANK and byte != _COMMA:
            value, at = _number(data, at, data.size)
            if depth != 2 or at < 0:
                return -1, 0
            if in_ring % 2:
                y[vertex] = value
                vertex += 1
            else:
                x[vertex] = value
            in_ring += 1
            continue
        if depth > 2:
            return -1, 0
        at += 1
    return ring, vertex
