"""Files of annotations that end in the middle: the part of them that is complete.

It knows brackets and texts of JSON, and nothing of what stands in them.
"""

import numba
import numpy as np

_DEEPEST = 2
"""Depth of lists of pictures and annotations; what is complete there is kept."""


def is_cut_off(data: bytes | memoryview) -> bool:
    """Tell whether JSON ends before its last bracket is closed."""
    return bool(_scan(np.frombuffer(data, np.uint8))[0])


def complete_part(data: bytes | memoryview) -> tuple[bytes, int]:
    r"""Return JSON that holds all complete entries of one that is cut off.

    Parameters
    ----------
    data : bytes
        JSON whose end is missing.

    Returns
    -------
    tuple of (bytes, int)
        JSON with its end, and how many bytes of `data` are in it; ``b""`` and 0 if no entry is
        complete.

    Examples
    --------
    >>> complete_part(b'{"images": [{"id": 1}, {"id')
    (b'{"images": [{"id": 1}]}', 21)
    """
    _, end, first, second = _scan(np.frombuffer(data, np.uint8))
    if not end:
        return b"", 0
    pairs = {ord("["): b"]", ord("{"): b"}"}
    closing = b"".join(pairs[byte] for byte in (second, first) if byte)
    return bytes(data[:end]) + closing, end


@numba.njit(cache=True, nogil=True)
def _scan(data: np.ndarray) -> tuple[int, int, int, int]:
    """Return the depth at the end, where the last complete entry ends, and what is open there."""
    depth, end, quoted, at = 0, 0, False, 0
    opened = np.zeros(_DEEPEST + 1, np.uint8)
    first, second = 0, 0
    while at < data.size:
        byte = data[at]
        if quoted:
            if byte == 92:  # the next character is of the text
                at += 1
            elif byte == 34:
                quoted = False
        elif byte == 34:
            quoted = True
        elif byte in (91, 123):
            if depth < _DEEPEST:
                opened[depth] = byte
            depth += 1
        elif byte in (93, 125):
            depth -= 1
            if 0 < depth <= _DEEPEST:
                end, first = at + 1, opened[0]
                second = opened[1] if depth == _DEEPEST else 0
        at += 1
    return depth, end, first, second
