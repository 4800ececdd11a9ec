"""Pauses between tries: they double up to a bound, and are drawn, so that many differ.

Whoever retries says how often, and which failures may pass; this module knows seconds.
"""

import random


def pause(failures: int, *, first: float, longest: float, least: float = 0.0) -> float:
    """Return the seconds to wait before the next try.

    Parameters
    ----------
    failures : int
        Tries that have failed in a row, from 1.
    first, longest : float
        Bound of the first pause, which doubles with each failure; bound of all, in seconds.
    least : float
        Share of the bound that is waited at least. The rest is drawn, so that many who failed
        together do not ask together.

    Returns
    -------
    float
        Seconds.

    Examples
    --------
    >>> pause(3, first=0.5, longest=8, least=1), pause(9, first=0.5, longest=8, least=1)
    (2.0, 8.0)
    """
    bound = min(longest, first * 2 ** min(failures - 1, 64))
    return random.uniform(least * bound, bound)  # noqa: S311 - spreads load, no secret
