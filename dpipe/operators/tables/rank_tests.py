"""Groups of numbers compared: the tests of Kruskal and Wallis, of Mann and Whitney, and stars.

It knows when a p is exact, and when groups are too small to show anything; how ways are counted
stands in ``_exact.py``.
"""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from dpipe import schema
from dpipe.errors import UsageError
from dpipe.operators.tables.exact_tests import drawn_sums, rank_sums, tail

LEAST = 2
"""Numbers that a group needs for a test."""
_STARS = ((0.001, "***"), (0.01, "**"), (0.05, "*"))


@dataclass(frozen=True)
class Comparison:
    """Groups of numbers compared; pairs are in the order of the groups.

    Attributes
    ----------
    sizes, left_out, medians : dict
        Of each group.
    h, p : float
        Of Kruskal and Wallis.
    how : str
        How p was found: one of `METHODS`, "" without a test.
    least : float
        The least p that groups of these sizes can have; NaN where it is not known.
    pairs : dict of pair to (float, float)
        U and p of Mann and Whitney.
    pair_how, pair_least : dict of pair to str, float
        The same of each pair.
    untested, small : tuple of str
        What has no test, and which tests cannot show anything.
    """

    sizes: dict[str, int]
    left_out: dict[str, int]
    medians: dict[str, float]
    h: float
    p: float
    how: str
    least: float
    pairs: dict[tuple[str, str], tuple[float, float]]
    pair_how: dict[tuple[str, str], str]
    pair_least: dict[tuple[str, str], float]
    untested: tuple[str, ...]
    small: tuple[str, ...]


METHODS = ("exact", "permutations", "asymptotic")
"""Methods for p: all permutations, permutations drawn by chance, the asymptotic distribution."""
_SMALL = 8
"""Up to so many numbers a group is small: its p is counted out."""
_FEW = 5
"""With fewer numbers in a group the distribution of many is no guide."""
_SHOWS = 0.05


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

    Raises
    ------
    UsageError
        Too many numbers for `method` "exact".

    Examples
    --------
    >>> found = compare({"a": [1, 2], "b": [3, 4]})
    >>> round(found.h, 4), round(found.p, 4), found.how, found.small[0]
    (2.4, 0.3333, 'exact', 'n too small (2, 2): no p below 0.333 is possible')
    """
    every = {kind: np.asarray(list(numbers), float) for kind, numbers in groups.items()}
    finite = {kind: numbers[np.isfinite(numbers)] for kind, numbers in every.items()}
    enough = {kind: numbers for kind, numbers in finite.items() if numbers.size >= LEAST}
    untested = [
        f"{kind} has {numbers.size} of at least {LEAST} numbers"
        for kind, numbers in finite.items()
        if kind not in enough
    ]
    whole = _NONE
    if len(enough) < 2:
        untested.append(f"{len(enough)} group(s) can be tested; expected at least 2")
    elif _differ(enough.values()):
        whole = _tested(list(enough.values()), method)
    else:
        untested.append("all numbers are equal")
    tests: dict[tuple[str, str], _Test] = {}
    for a, b in itertools.combinations(finite, 2):
        testable = a in enough and b in enough and _differ([finite[a], finite[b]])
        tests[a, b] = _tested([finite[a], finite[b]], method, pair=True) if testable else _NONE
    pairs = {pair: (test.u, test.p) for pair, test in tests.items()}
    small = [_small(whole.least, [n.size for n in enough.values()])]
    if len(enough) > 2:
        small += [
            f"{a} : {b}: {note}"
            for (a, b), test in tests.items()
            if (note := _small(test.least, [finite[a].size, finite[b].size]))
        ]
    return Comparison(
        {kind: numbers.size for kind, numbers in finite.items()},
        {kind: every[kind].size - numbers.size for kind, numbers in finite.items()},
        {k: float(np.median(v)) if v.size else math.nan for k, v in finite.items()},
        whole.h,
        whole.p,
        whole.how,
        whole.least,
        _holm(pairs) if adjust == "holm" else pairs,
        {pair: test.how for pair, test in tests.items()},
        {pair: test.least for pair, test in tests.items()},
        tuple(untested),
        tuple(filter(None, small)),
    )


class _Test(NamedTuple):
    """Result of a test: H over all groups, U of the first of two, p, its method and least value."""

    h: float
    u: float
    p: float
    how: str
    least: float


_NONE = _Test(math.nan, math.nan, math.nan, "", math.nan)


def _tested(groups: Sequence[np.ndarray], method: str, *, pair: bool = False) -> _Test:
    """Test two groups or more; of two, Kruskal and Wallis ask the same as Mann and Whitney."""
    from scipy import stats  # half a second to import

    sizes = [numbers.size for numbers in groups]
    h, p = map(float, stats.kruskal(*groups))
    twice = np.rint(2 * stats.rankdata(np.concatenate(groups))).astype(np.int64)
    sums = np.add.reduceat(twice, np.cumsum([0, *sizes[:-1]])).tolist()
    u = sums[0] / 2 - sizes[0] * (sizes[0] + 1) / 2
    if pair:  # with its correction for continuity
        p = float(stats.mannwhitneyu(*groups, method="asymptotic").pvalue)
    if method == "asymptotic" or (method == "auto" and min(sizes) > _SMALL):
        return _Test(h, u, p, "asymptotic", math.nan)
    counted = rank_sums(twice, sizes)
    if counted is not None:
        p, least = tail(*counted, sums, sizes)
        return _Test(h, u, p, "exact", least)
    if method == "exact":
        raise UsageError(f"method: too many numbers ({', '.join(map(str, sizes))}) for exact; "
                         "expected auto or asymptotic")  # fmt: skip
    if min(sizes) < _FEW:
        p, _ = tail(*drawn_sums(twice, sizes), sums, sizes)
        return _Test(h, u, p, "permutations", math.nan)
    return _Test(h, u, p, "asymptotic", math.nan)


def _small(least: float, sizes: Sequence[int]) -> str:
    """Return a line for groups so small that no numbers could have a p below 0.05."""
    if not least >= _SHOWS:
        return ""
    return f"n too small ({', '.join(map(str, sizes))}): no p below {least:.3g} is possible"


def _differ(groups: Iterable[np.ndarray]) -> bool:
    numbers = np.concatenate(list(groups))
    return bool(numbers.min() < numbers.max())


def _holm(
    pairs: Mapping[tuple[str, str], tuple[float, float]],
) -> dict[tuple[str, str], tuple[float, float]]:
    """Correct p values for the number of tests by Holm's method."""
    tested = sorted((p, pair) for pair, (_, p) in pairs.items() if not math.isnan(p))
    adjusted, largest = dict(pairs), 0.0
    for rank, (p, pair) in enumerate(tested):
        largest = max(largest, min(1.0, p * (len(tested) - rank)))
        adjusted[pair] = (pairs[pair][0], largest)
    return adjusted


def stars(p: float) -> str:
    """Return the stars of a p value: ``"ns"`` from 0.05 on, and no text for NaN.

    Examples
    --------
    >>> [stars(p) for p in (0.0009, 0.001, 0.01, 0.05, float("nan"))]
    ['***', '**', '*', 'ns', '']
    """
    if math.isnan(p):
        return ""
    return next((mark for limit, mark in _STARS if p < limit), "ns")


def notes(comparisons: Mapping[str, Comparison], adjust: str) -> dict[str, list[str]]:
    """Return lines on tests: those not done, those too small for p < 0.05, and their number."""
    lines = [
        f"{name}: {line}"
        for name, result in comparisons.items()
        for line in (*result.untested, *result.small)
    ]
    pairs = sum(
        not math.isnan(p) for result in comparisons.values() for _, p in result.pairs.values()
    )
    whole = sum(not math.isnan(result.p) for result in comparisons.values())
    if pairs > 1:
        correction = "p of the pairs of a measure corrected for their number (Holm)"
        correction = (
            correction
            if adjust == "holm"
            else "p not corrected for that (adjust=holm corrects pairs)"
        )
        lines.append(f"{pairs} tests of pairs, {whole} over all groups: {correction}")
    return {"notes": lines} if lines else {}


def described(
    comparisons: Mapping[str, Comparison], kinds: Sequence[str]
) -> dict[str, xr.DataArray]:
    """Return the results of comparisons as variables over ``measure``, ``group`` and ``pair``."""
    every, pairs = list(comparisons.values()), list(itertools.combinations(kinds, 2))
    shape = (len(every), len(kinds))
    over_pairs = (len(every), len(pairs))
    columns: list[tuple[schema.Variable, Any, Any, tuple[int, ...]]] = [
        (schema.KRUSKAL_H, [row.h for row in every], float, shape[:1]),
        (schema.KRUSKAL_P, [row.p for row in every], float, shape[:1]),
        (schema.KRUSKAL_METHOD, [row.how for row in every], str, shape[:1]),
        (schema.GROUP_SIZE, [list(row.sizes.values()) for row in every], np.uint32, shape),
        (schema.GROUP_LEFT_OUT, [list(row.left_out.values()) for row in every], np.uint32, shape),
        (schema.GROUP_MEDIAN, [list(row.medians.values()) for row in every], float, shape),
        (schema.PAIR_U, [[row.pairs[p][0] for p in pairs] for row in every], float, over_pairs),
        (schema.PAIR_P, [[row.pairs[p][1] for p in pairs] for row in every], float, over_pairs),
        (schema.PAIR_METHOD, [[row.pair_how[p] for p in pairs] for row in every], str, over_pairs),
        (schema.PAIR_STARS, [[stars(row.pairs[p][1]) for p in pairs] for row in every], str,
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
