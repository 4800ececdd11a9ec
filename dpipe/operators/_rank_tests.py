"""Groups of numbers compared: the tests of Kruskal and Wallis, of Mann and Whitney, and stars."""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from dpipe import schema

LEAST = 2
"""Numbers that a group needs for a test."""
_STARS = ((0.001, "***"), (0.01, "**"), (0.05, "*"))


@dataclass(frozen=True)
class Comparison:
    """Groups of numbers compared; pairs are in the order of the groups."""

    sizes: dict[str, int]
    left_out: dict[str, int]
    medians: dict[str, float]
    h: float
    p: float
    pairs: dict[tuple[str, str], tuple[float, float]]
    untested: tuple[str, ...]


def compare(
    groups: Mapping[str, Iterable[float]], *, method: str = "auto", adjust: str = "none"
) -> Comparison:
    """Compare groups of numbers: Kruskal and Wallis over all, Mann and Whitney over pairs.

    Parameters
    ----------
    groups : mapping of str to iterable of float
        What is not finite is left out and counted.
    method, adjust : str
        As in `group_tests`.

    Returns
    -------
    Comparison
        ``pairs`` holds (U, p) of each pair; NaN where there is no test.

    Examples
    --------
    >>> found = compare({"a": [1, 3, 5, 7, 9], "b": [2, 4, 6, 8, 10]})
    >>> round(found.h, 4), round(found.p, 4), found.pairs[("a", "b")][0]
    (0.2727, 0.6015, 10.0)
    """
    from scipy import stats  # half a second to import

    every = {kind: np.asarray(list(numbers), float) for kind, numbers in groups.items()}
    held = {kind: numbers[np.isfinite(numbers)] for kind, numbers in every.items()}
    enough = {kind: numbers for kind, numbers in held.items() if numbers.size >= LEAST}
    untested = [
        f"{kind} has {numbers.size} of at least {LEAST} numbers"
        for kind, numbers in held.items()
        if kind not in enough
    ]
    h, p = math.nan, math.nan
    if len(enough) < 2:
        untested.append(f"{len(enough)} group(s) can be tested; expected at least 2")
    elif _differ(enough.values()):
        h, p = map(float, stats.kruskal(*enough.values()))
    else:
        untested.append("all numbers are equal")
    pairs = {}
    for a, b in itertools.combinations(held, 2):
        tested = a in enough and b in enough and _differ([held[a], held[b]])
        one = stats.mannwhitneyu(held[a], held[b], method=method) if tested else (math.nan,) * 2
        pairs[a, b] = (float(one[0]), float(one[1]))
    return Comparison(
        {kind: numbers.size for kind, numbers in held.items()},
        {kind: every[kind].size - numbers.size for kind, numbers in held.items()},
        {k: float(np.median(v)) if v.size else math.nan for k, v in held.items()},
        h,
        p,
        _holm(pairs) if adjust == "holm" else pairs,
        tuple(untested),
    )


def _differ(groups: Iterable[np.ndarray]) -> bool:
    numbers = np.concatenate(list(groups))
    return bool(numbers.min() < numbers.max())


def _holm(
    pairs: Mapping[tuple[str, str], tuple[float, float]],
) -> dict[tuple[str, str], tuple[float, float]]:
    """Correct p for the number of tests, the least one most."""
    tested = sorted((p, pair) for pair, (_, p) in pairs.items() if not math.isnan(p))
    adjusted, largest = dict(pairs), 0.0
    for rank, (p, pair) in enumerate(tested):
        largest = max(largest, min(1.0, p * (len(tested) - rank)))
        adjusted[pair] = (pairs[pair][0], largest)
    return adjusted


def stars(p: float) -> str:
    """Return the stars of a p, ``"ns"`` without, and nothing where there is no p.

    Examples
    --------
    >>> [stars(p) for p in (0.0009, 0.001, 0.01, 0.05, float("nan"))]
    ['***', '**', '*', 'ns', '']
    """
    if math.isnan(p):
        return ""
    return next((mark for limit, mark in _STARS if p < limit), "ns")


def described(found: Mapping[str, Comparison], kinds: Sequence[str]) -> dict[str, xr.DataArray]:
    """Name what comparisons found, over ``measure``, ``group`` and ``pair``."""
    every, pairs = list(found.values()), list(itertools.combinations(kinds, 2))
    shape = (len(every), len(kinds))
    over_pairs = (len(every), len(pairs))
    columns: list[tuple[schema.Variable, Any, Any, tuple[int, ...]]] = [
        (schema.KRUSKAL_H, [one.h for one in every], float, shape[:1]),
        (schema.KRUSKAL_P, [one.p for one in every], float, shape[:1]),
        (schema.GROUP_SIZE, [list(one.sizes.values()) for one in every], np.uint32, shape),
        (schema.GROUP_LEFT_OUT, [list(one.left_out.values()) for one in every], np.uint32, shape),
        (schema.GROUP_MEDIAN, [list(one.medians.values()) for one in every], float, shape),
        (schema.PAIR_U, [[one.pairs[p][0] for p in pairs] for one in every], float, over_pairs),
        (schema.PAIR_P, [[one.pairs[p][1] for p in pairs] for one in every], float, over_pairs),
        (schema.PAIR_STARS, [[stars(one.pairs[p][1]) for p in pairs] for one in every], str,
         over_pairs),
    ]  # fmt: skip
    result: dict[str, xr.DataArray] = {}
    for column in columns:
        result |= wrap(*column)
    return result


def wrap(
    variable: schema.Variable, values: Any, dtype: Any, shape: tuple[int, ...]
) -> dict[str, xr.DataArray]:
    """Name numbers that stand in a list or table."""
    array = np.asarray(values, dtype=dtype).reshape(shape)
    return variable.wrap(xr.DataArray(array, dims=variable.dims))
