"""Exact p of rank tests: all ways in which numbers could have fallen into groups, counted.

Ways are counted by what matters of them, the sum of ranks of each group, one number after the
other; ties count as what they are. Where there are too many of these, ways are drawn by chance.
It knows ranks and sizes of groups; it knows no movies.
"""

import math
from collections.abc import Sequence

import numpy as np

_MOST = 60_000
"""Different sums at a time that are still counted."""
_DRAWN = 20_000
_CODES = 1 << 62
_SAME = 1e-9


def rank_sums(ranks: np.ndarray, sizes: Sequence[int]) -> tuple[np.ndarray, np.ndarray] | None:
    """Count the ways to share ranks among groups, by the sums of ranks of the groups.

    Parameters
    ----------
    ranks : numpy.ndarray of int, shape (n,)
        Twice the ranks, so that those of ties are whole.
    sizes : sequence of int
        Numbers in each group; together n.

    Returns
    -------
    tuple of (numpy.ndarray, numpy.ndarray) or None
        Sums (ways, groups) and what share of all ways each is; None if there are too many.

    Examples
    --------
    >>> sums, share = rank_sums(np.array([2, 4, 6]), [1, 2])
    >>> sums.tolist(), share.round(3).tolist()
    ([[2, 10], [4, 8], [6, 6]], [0.333, 0.333, 0.333])
    """
    total, choices = int(ranks.sum()), [n + 1 for n in sizes[:-1]]
    width = total + 1
    if math.prod(choices) * width ** len(choices) >= _CODES:
        return None
    count_step = [math.prod(choices[:g]) for g in range(len(choices))]
    sum_step = [math.prod(choices) * width**g for g in range(len(choices))]
    codes, ways = np.zeros(1, np.int64), np.ones(1)
    for done, rank in enumerate(ranks.tolist()):
        counts = [codes // step % n for step, n in zip(count_step, choices, strict=True)]
        grown, weights = [], []
        for g, size in enumerate(sizes[:-1]):
            free = counts[g] < size
            grown.append(codes[free] + count_step[g] + rank * sum_step[g])
            weights.append(ways[free])
        free = done - sum(counts, np.zeros_like(codes)) < sizes[-1]
        grown.append(codes[free])
        weights.append(ways[free])
        codes, place = np.unique(np.concatenate(grown), return_inverse=True)
        ways = np.bincount(place, np.concatenate(weights))
        if len(codes) > _MOST:
            return None
    sums = np.stack([codes // step % width for step in sum_step], axis=1)
    return np.column_stack([sums, total - sums.sum(axis=1)]), ways / ways.sum()


def drawn_sums(ranks: np.ndarray, sizes: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Draw ways to share ranks among groups, always the same ones; the first is that given."""
    random = np.random.default_rng(0)
    orders = random.permuted(np.tile(ranks, (_DRAWN - 1, 1)), axis=1)
    orders = np.concatenate([ranks[None], orders])
    edges = np.cumsum([0, *sizes[:-1]])
    return np.add.reduceat(orders, edges, axis=1), np.full(_DRAWN, 1 / _DRAWN)


def tail(
    sums: np.ndarray, share: np.ndarray, observed: Sequence[int], sizes: Sequence[int]
) -> tuple[float, float]:
    """Return the share of ways that lie as far apart as those found, and of the farthest ones.

    How far groups lie apart is what H of Kruskal and Wallis says, and for two of them the
    deviation of U from its mean, in both directions.
    """
    n = np.asarray(sizes, float)
    apart = (sums.astype(float) ** 2 / n).sum(axis=1)
    distance = float((np.asarray(observed, float) ** 2 / n).sum())
    return (
        min(1.0, float(share[apart >= distance * (1 - _SAME)].sum())),
        float(share[apart >= apart.max() * (1 - _SAME)].sum()),
    )
