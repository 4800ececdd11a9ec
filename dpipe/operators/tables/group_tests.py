"""Groups of movies compared: one number a movie, and tests between the groups.

It knows the tests and the stars of the Leuko-Death study, and how what was measured on frames,
tracks or events becomes one number a movie. It does not know how anything was measured.
"""

import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import numpy as np
import xarray as xr

from dpipe import schema
from dpipe.compute import compute
from dpipe.errors import SchemaError, UsageError, unknown
from dpipe.operators.tables.rank_tests import Comparison, compare, described, notes, stars, wrap

__all__ = [
    "Comparison",
    "compare",
    "group_tests",
    "grouped",
    "movie_means",
    "natural",
    "stars",
]

_DIMS = {"t", "c", "track_id", "event", "movie"}
_METHODS = ("auto", "exact", "asymptotic")
_LETTERS = re.compile(r"[^\W\d_]+")


def group_tests(
    tree: xr.DataTree,
    conditions: xr.DataTree | None = None,
    *,
    values: Sequence[str] = (),
    by: str = "stem",
    method: Literal["auto", "exact", "asymptotic"] = "auto",
    adjust: Literal["none", "holm"] = "none",
) -> xr.Dataset:
    """Test whether groups of movies differ in what was measured on them.

    A movie's number is the mean over its frames, tracks or events, then over its channels; what
    is not finite is left out. A movie counts once, however many frames or events it has: those of
    one movie are not independent. Over all groups runs the test of Kruskal and Wallis (H with the
    correction for ties), between any two that of Mann and Whitney, two-sided [1]_. A group with
    fewer than two numbers is not tested, nor are numbers that are all equal: NaN, and a line in
    ``attrs["untested"]``.

    Groups may be too small to differ: two movies against two cannot have a p below 1/3, whatever
    was measured. ``attrs["notes"]`` names such tests, what was not tested, and how many tests
    there are, for p is not corrected for their number unless `adjust` says so.

    Parameters
    ----------
    tree : xarray.DataTree
        What was measured: one child per movie, or tables over ``movie``, or over ``event`` with
        the coordinate ``movie``.
    conditions : xarray.DataTree, optional
        Tables of conditions, unless `tree` says what groups are made by.
    values : sequence of str
        Variables to compare; by default all of the tree that are floats over frames, channels,
        tracks, events or movies.
    by : str
        ``"stem"``: the first letters of a movie's name, so that ``Neu12`` is of the group
        ``Neu``. Or a variable of `conditions`, or one that the children of `tree` hold as a
        single text: ``organ``, ``stimulus``, ``content``, ... Spaces, ``-`` and ``_`` in the names
        of movies do not matter.
    method : {"auto", "exact", "asymptotic"}
        How p is found. "exact": the share of all ways to put the ranks into groups of these sizes,
        ties as they are, that differ at least as much. "asymptotic": chi squared for Kruskal and
        Wallis, for Mann and Whitney a normal distribution with the corrections for ties and
        continuity. "auto": asymptotic if every group has more than 8 numbers; else exact where
        the ways can be counted (some 15 movies in three groups, many in two), else asymptotic if
        every group has five numbers, else the share of 20,000 ways drawn by chance, always the
        same.
    adjust : {"none", "holm"}
        ``"holm"`` corrects the p of the pairs of a measure for their number. The study says of no
        correction.

    Returns
    -------
    xarray.Dataset
        Over ``measure``: ``kruskal_h``, ``kruskal_p``, ``kruskal_method``; over ``group``:
        ``group_size``, ``group_left_out`` (movies without a number), ``group_median``; over
        ``pair``: ``pair_u``, ``pair_p``, ``pair_method``, ``pair_stars`` ("" where there is no
        test); over ``movie``:
        ``measure_value``. ``attrs["without_group"]`` lists movies that belong to none. It is
        computed at once.

    Raises
    ------
    SchemaError
        Nothing to compare.
    UsageError
        An unknown variable or a parameter that cannot work.

    References
    ----------
    .. [1] Leuko-Death, Methods, Statistical analyses.

    Examples
    --------
    >>> snr = {"Neu1": 9.0, "Neu2": 10, "Neu3": 11, "Neu4": 12, "Den1": 5, "Den2": 6, "Den3": 7}
    >>> held = {f"/{k}": xr.Dataset({"snr": ("t", [v])}) for k, v in snr.items()}
    >>> found = group_tests(xr.DataTree.from_dict(held), values=["snr"])
    >>> found["group_median"].values.tolist(), found["pair_p"].values.round(4).tolist()
    ([[6.0, 10.5]], [[0.0571]])
    """
    for name, choice, choices in (
        ("method", method, _METHODS),
        ("adjust", adjust, ("none", "holm")),
    ):
        if choice not in choices:
            raise UsageError(f"{name}: found {choice!r}; expected {' or '.join(choices)}")
    if isinstance(values, str):
        raise UsageError(f"values: found {values!r}; expected a list of names")
    children = {str(stem): child.to_dataset() for stem, child in tree.children.items()}
    names = _names(children, values)
    means = movie_means(children, names)
    units = [next(ds[n].attrs.get("units", "1") for ds in children.values() if n in ds)
             for n in names]  # fmt: skip
    stems = sorted({stem for column in means.values() for stem in column}, key=natural)
    others = {} if conditions is None else conditions.children
    told = [(str(name), child.to_dataset()) for name, child in others.items()]
    groups = grouped(stems, [*told, *children.items()], by)
    kinds = sorted(set(groups.values()) - {""}, key=natural)
    comparisons = {
        name: compare(
            {kind: [column[s] for s in column if groups[s] == kind] for kind in kinds},
            method=method,
            adjust=adjust,
        )
        for name, column in means.items()
    }
    result = described(comparisons, kinds)
    matrix = [[means[name].get(stem, math.nan) for stem in stems] for name in names]
    result |= wrap(schema.MEASURE_VALUE, matrix, float, (len(names), len(stems)))
    return xr.Dataset(
        result,
        coords={
            "measure": np.asarray(names, str),
            **wrap(schema.MEASURE_UNIT, units, str, (len(names),)),
            "group": np.asarray(kinds, str),
            "pair": np.asarray([f"{a} : {b}" for a, b in itertools.combinations(kinds, 2)], str),
            "movie": np.asarray(stems, str),
            **wrap(schema.MOVIE_GROUP, [groups[stem] for stem in stems], str, (len(stems),)),
        },
        attrs={
            "by": by,
            "untested": [
                f"{name}: {line}"
                for name, comparison in comparisons.items()
                for line in comparison.untested
            ],
            "without_group": [stem for stem in stems if not groups[stem]],
        }
        | notes(comparisons, adjust),
    )


def grouped(
    stems: Iterable[str], tables: Iterable[tuple[str, xr.Dataset]], by: str
) -> dict[str, str]:
    """Return the group of each movie, "" for none.

    Parameters
    ----------
    stems : iterable of str
        Names of movies.
    tables : iterable of (str, xarray.Dataset)
        Tables over ``movie``, or movies with what is said of them, each with its stem.
    by : str
        As in `group_tests`.

    Raises
    ------
    UsageError
        No table holds `by`.

    Examples
    --------
    >>> grouped(["Neu12", "Den 3", "7"], [], "stem")
    {'Neu12': 'Neu', 'Den 3': 'Den', '7': ''}
    """
    if by == "stem":
        first = {stem: _LETTERS.match(stem) for stem in stems}
        return {stem: match.group() if match else "" for stem, match in first.items()}
    groups: dict[str, str] = {}
    names: set[str] = {"stem"}
    for stem, ds in tables:
        rows = {str(n): v for n, v in ds.variables.items() if v.dims[:1] in ((), ("movie",))}
        texts = {name: v for name, v in rows.items() if v.dtype.kind in "UOT" and name != "movie"}
        names |= set(texts)
        if by not in texts:
            continue
        movies = _texts(ds["movie"]) if texts[by].ndim else [stem]
        lines = np.asarray(texts[by].values, object).reshape(len(movies), -1)
        for movie, line in zip(movies, lines.tolist(), strict=True):
            words = dict.fromkeys(filter(None, (str(word).strip() for word in line)))
            groups.setdefault(schema.movie_key(movie), " + ".join(words))
    if not groups:
        raise UsageError(f"by: {unknown('condition', by, names)}")
    return {stem: groups.get(schema.movie_key(stem), "") for stem in stems}


def movie_means(
    children: Mapping[str, xr.Dataset], names: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Return one number a movie of each variable: the mean over frames, then over channels.

    Parameters
    ----------
    children : mapping of str to xarray.Dataset
        By stem; of tables over ``movie``, or over ``event`` with the coordinate ``movie``, each
        row goes to the movie that it names.
    names : sequence of str
        Variables.

    Returns
    -------
    dict of str to dict of str to float
        By variable and movie; NaN where nothing is finite.
    """
    sources = [(name, stem, ds) for name in names for stem, ds in children.items() if name in ds]
    arrays = compute(*(ds[name].variable.data for name, _, ds in sources))
    sums: dict[str, dict[str, list[np.ndarray]]] = {name: {} for name in names}
    spelled: dict[str, str] = {}  # a movie that is spelled in two ways is one
    for (name, stem, ds), values in zip(sources, arrays, strict=True):
        array = xr.DataArray(np.asarray(values, float), dims=ds[name].dims)
        last = ("c",) if "c" in array.dims else ()
        of = "movie" if "movie" in array.dims else "event"
        movies = [stem]
        if of in array.dims and "movie" in ds.coords:
            movies = _texts(ds["movie"])
        else:
            of, array = "one", array.expand_dims("one")
        rows = array.transpose(of, ..., *last).values
        width = array.sizes["c"] if last else 1
        for movie, row in zip(movies, rows, strict=True):
            first = spelled.setdefault(schema.movie_key(movie), movie)
            sums[name].setdefault(first, []).append(row.reshape(-1, width))
    return {
        name: {movie: _mean(rows) for movie, rows in column.items()}
        for name, column in sums.items()
    }


def _mean(rows: Sequence[np.ndarray]) -> float:
    """Mean of what is finite over frames, then over the channels that have any."""
    width = max(row.shape[1] for row in rows)
    per_channel = []
    for c in range(width):
        values = np.concatenate([row[:, c] for row in rows if c < row.shape[1]])
        values = values[np.isfinite(values)]
        per_channel += [values.mean()] if values.size else []
    return float(np.mean(per_channel)) if per_channel else math.nan


def natural(text: str) -> list[tuple[int, int, str]]:
    """Return a key that puts ``Neu2`` before ``Neu10``.

    Examples
    --------
    >>> sorted(["Neu10", "Neu2", "3"], key=natural)
    ['3', 'Neu2', 'Neu10']
    """
    words = re.findall(r"\d+|\D+", text)
    return [(0, int(word), "") if word.isdecimal() else (1, 0, word) for word in words]


def _names(children: Mapping[str, xr.Dataset], requested: Sequence[str]) -> list[str]:
    """Return the names of the variables compared; refuse those that no part has."""
    if not children:
        raise SchemaError("tests need one child per movie, or a table; the tree has none")
    kinds = {str(n): v for ds in children.values() for n, v in ds.data_vars.items()}
    numbers = [n for n, v in kinds.items() if v.dtype.kind in "uifb"]
    for name in requested:
        if name not in numbers:
            raise UsageError(f"values: {unknown('number', name, numbers)}")
    floats = [n for n in numbers if kinds[n].dtype.kind == "f" and set(kinds[n].dims) <= _DIMS]
    names = list(dict.fromkeys(requested)) or floats
    if not names:
        raise SchemaError(
            f"nothing to compare; expected floats over {', '.join(sorted(_DIMS))}. "
            f"Found: {', '.join(kinds) or 'none'}"
        )
    return names


def _texts(names: xr.DataArray) -> list[str]:
    return [str(name) for name in names.values.tolist()]
