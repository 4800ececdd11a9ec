"""Statistics of the columns of a table of features, over parts and over a whole dataset.

It knows how numbers of parts are merged into those of all, whatever the size. It does not know
what the features mean, nor what is done with the statistics.
"""

import numpy as np
import xarray as xr

from dpipe import schema
from dpipe.operators.tables.feature_sums import merged, summed

_COUNTS = (schema.FEATURE_COUNT, schema.FEATURE_MISSING, schema.FEATURE_INFINITE)


def feature_sums(ds: xr.Dataset) -> xr.Dataset:
    """Sum up each column of the features of one part, so that parts can be merged.

    A record without a single number (a picture that was put aside) is not counted at all. Of the
    others NaN counts as missing, infinity as infinite, and the rest is finite.

    Parameters
    ----------
    ds : xarray.Dataset
        ``feature(record, name)``.

    Returns
    -------
    xarray.Dataset
        Lazy, over ``name``: ``feature_count``, ``feature_missing``, ``feature_infinite``, and of
        the finite values ``feature_mean``, ``feature_squares`` (sum of squared deviations from the
        mean), ``feature_min``, ``feature_max``; NaN without any.

    Raises
    ------
    SchemaError
        There are no features, or they have no names.

    Examples
    --------
    >>> values = [[1.0, np.inf], [3.0, np.nan], [np.nan, np.nan]]
    >>> ds = xr.Dataset({"feature": (("record", "name"), values)}, {"name": ["a", "b"]})
    >>> found = feature_sums(ds)
    >>> found["feature_mean"].values.tolist(), found["feature_squares"].values.tolist()
    ([2.0, nan], [2.0, nan])
    >>> found["feature_missing"].values.tolist()
    [0, 1]
    """
    return _named(summed(ds, "the table"))


def feature_statistics(tree: xr.DataTree) -> xr.Dataset:
    """Merge the sums of all parts into the statistics of a whole dataset.

    Means and squared deviations are merged pairwise exactly as if all records had been one
    part [1]_, up to rounding. Values that are all equal have exactly that mean and no deviation.

    Parameters
    ----------
    tree : xarray.DataTree
        One child per part: what `feature_sums` returns, or features themselves, which are summed
        up here; a single Dataset will do. Of millions of pictures take the sums, since a run makes
        these in parallel.

    Returns
    -------
    xarray.Dataset
        Lazy, the same variables as of `feature_sums`, and ``feature_std``, the standard deviation
        of the finite values (ddof 1), NaN below two.

    Raises
    ------
    SchemaError
        No child, one without features, or two with other names of columns.

    References
    ----------
    .. [1] T. F. Chan, G. H. Golub, R. J. LeVeque, The American Statistician 37 (1983) 242-247.

    Examples
    --------
    >>> parts = {"/p": [[1.0]], "/q": [[2.0], [6.0]]}
    >>> held = {stem: xr.Dataset({"feature": (("record", "name"), rows)}, {"name": ["a"]})
    ...         for stem, rows in parts.items()}
    >>> found = feature_statistics(xr.DataTree.from_dict(held))
    >>> [float(found[name][0]) for name in ("feature_mean", "feature_min", "feature_max")]
    [3.0, 1.0, 6.0]
    """
    figures = merged(tree)
    freedom = figures.isel(figure=0) - 1
    spread = (figures.isel(figure=4) / freedom.where(freedom > 0)) ** 0.5
    return _named(figures).assign(schema.FEATURE_STD.wrap(spread))


def _named(figures: xr.DataArray) -> xr.Dataset:
    result: dict[str, xr.DataArray] = {}
    for i, variable in enumerate(schema.FEATURE_STATISTICS):
        column = figures.isel(figure=i, drop=True)
        result |= variable.wrap(column.astype(np.uint64) if variable in _COUNTS else column)
    return xr.Dataset(result)
