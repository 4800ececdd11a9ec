"""The values of a JSON list, or of a JSON object, as stretches of its text: nothing is parsed.

The text is valid JSON: whoever calls has had it checked. A list of millions of values is walked in
windows, so that little of it has to be in memory.
"""

from collections.abc import Callable, Iterator

import numba
import numpy as np

_WINDOW = 2 << 20
"""Bytes that are walked at once; a value may be longer."""
_QUOTE, _ESCAPE, _COMMA, _COLON, _BLANK = 34, 92, 44, 58, 32
_OPEN, _CLOSE = (91, 123), (93, 125)


def pieces(
    data: bytes | memoryview, release: Callable[[int], None] = lambda _: None
) -> Iterator[memoryview]:
    """Yield the text of each value of a list or an object.

    Parameters
    ----------
    data : bytes
        Valid JSON: a list or an object.
    release : callable, optional
        ``release(n)`` is told from time to time that the first n bytes are not needed any more.

    Yields
    ------
    memoryview
        The text of a value, without what is blank around it.

    Examples
    --------
    >>> [bytes(piece) for piece in pieces(b'[1, {"a": [2, "]"]} ,null]')]
    [b'1', b'{"a": [2, "]"]}', b'null']
    >>> [bytes(piece) for piece in pieces(b'{"k,": "v", "l": {}}')]
    [b'"v"', b'{}']
    """
    view = memoryview(data)
    codes = np.frombuffer(view, np.uint8)
    state = np.array([0, 0, 0, -1, 0, 0], np.int64)
    at = 0
    while at < len(codes):
        stop = min(at + _WINDOW, len(codes))
        starts, ends = _walk(codes[at:stop], at, state)
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            yield view[start:end]
        at = stop
        release(int(state[3]) if state[3] >= 0 else at)


@numba.njit(cache=True, nogil=True)
def _walk(codes: np.ndarray, offset: int, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Walk over a window; return where the values that end in it begin and end.

    `state` is kept between windows: depth, whether in a text, whether after an escape, where the
    value begins (-1: none yet), whether the whole is an object, and where the value ends so far.
    """
    depth, in_text, escaped, begin, keyed = state[0], state[1], state[2], state[3], state[4]
    starts, ends = np.empty(codes.size // 2 + 2, np.int64), np.empty(codes.size // 2 + 2, np.int64)
    count, last = 0, state[5]
    for i in range(codes.size):
        code = codes[i]
        if in_text:
            if escaped:
                escaped = 0
            elif code == _ESCAPE:
                escaped = 1
            elif code == _QUOTE:
                in_text = 0
            last = offset + i + 1
            continue
        if code <= _BLANK:
            continue
        closing = code in _CLOSE
        if depth == 1 and (code == _COMMA or closing):
            if begin >= 0:
                starts[count], ends[count] = begin, last
                count += 1
            begin = -1
            depth -= closing
            continue
        if depth == 1 and keyed and code == _COLON:
            begin = -1  # what stood before was the name
            last = offset + i + 1
            continue
        if depth == 0:
            keyed = code == _OPEN[1]
            depth = 1
            continue
        if begin < 0:
            begin = offset + i
        in_text = code == _QUOTE
        depth += (code in _OPEN) - closing
        last = offset + i + 1
    state[0], state[1], state[2], state[3] = depth, in_text, escaped, begin
    state[4], state[5] = keyed, last
    return starts[:count], ends[:count]
