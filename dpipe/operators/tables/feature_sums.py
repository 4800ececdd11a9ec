"""Sums over the rows of a table that can be merged, for any kind of array.

Seven figures of each column: number of finite values, of NaN, of infinities; mean, sum of squared
deviations, minimum and maximum of the finite ones, NaN without. A row of NaN alone is no row.
"""

import math
from typing import Any

import numpy as np
import xarray as xr

from dpipe import schema
from dpipe.compute import beside, fold, namespace
from dpipe.errors import SchemaError
from dpipe.operators.tables.identities import parts_of


def merged(tree: xr.DataTree | xr.Dataset) -> xr.DataArray:
    """Return ``(figure, name)``, lazy: the figures of `schema.FEATURE_STATISTICS` over all parts.

    Parameters
    ----------
    tree : xarray.DataTree or xarray.Dataset
        As for `feature_statistics`.
    """
    children = parts_of(tree)
    if not children:
        raise SchemaError("statistics need one child per part; the tree has none")
    several = [summed(ds, stem) for stem, ds in children.items()]
    names = several[0]["name"].values.tolist()
    for stem, sums in zip(children, several, strict=True):
        if sums["name"].values.tolist() != names:
            odd = sorted(set(names) ^ set(sums["name"].values.tolist()))
            raise SchemaError(
                f"{stem}: other columns than {next(iter(children))}: "
                f"{', '.join(odd[:5]) or 'the same in another order'}; make all features alike"
            )
    stacked = xr.concat(several, dim="part")
    sizes = {"figure": len(schema.FEATURE_STATISTICS), "name": len(names)}
    whole = fold(_merge, _merge, stacked, dim="part", sizes=sizes)
    return whole.assign_coords(name=several[0]["name"].variable)


def summed(ds: xr.Dataset, stem: str) -> xr.DataArray:
    """Return ``(figure, name)`` of one part: its sums as they stand, or made of its features."""
    if schema.FEATURE_COUNT.name in ds:
        figures = [v.check(ds).astype(np.float64) for v in schema.FEATURE_STATISTICS]
        plain = [figure.reset_coords(drop=True) for figure in figures]
        return xr.concat(plain, dim="figure").transpose("figure", "name")
    feature = schema.FEATURE.check(ds)
    if "name" not in feature.coords:
        raise SchemaError(f"{stem}: features without the coordinate name")
    sizes = {"figure": len(schema.FEATURE_STATISTICS), "name": feature.sizes["name"]}
    totals = fold(_moments, _merge, feature, dim="record", sizes=sizes)
    return totals.assign_coords(name=feature["name"].variable)


def _moments(rows: Any) -> Any:
    """Return the figures (7, columns) of rows (n, columns)."""
    xp = namespace(rows)
    values = xp.astype(rows, xp.float64)
    if values.shape[0] == 0:
        return _figures(xp, xp.zeros((3, values.shape[1]), dtype=xp.float64, **beside(values)))
    missing = xp.isnan(values)
    measured = ~xp.all(missing, axis=1)[:, None]
    finite = xp.isfinite(values)
    counts = [xp.sum(xp.astype(c, xp.float64), axis=0) for c in (finite, missing & measured)]
    counts.append(xp.sum(xp.astype(xp.isinf(values), xp.float64), axis=0))
    mean = xp.sum(xp.where(finite, values, 0.0), axis=0) / _above0(xp, counts[0])
    away = xp.where(finite, values - mean, 0.0)
    least = xp.min(xp.where(finite, values, math.inf), axis=0)
    largest = xp.max(xp.where(finite, values, -math.inf), axis=0)
    squares = xp.sum(away * away, axis=0)
    return _figures(xp, xp.stack(counts), mean, squares, least, largest)


def _merge(several: Any) -> Any:
    """Merge figures (parts, 7, columns) into those of all (7, columns)."""
    xp = namespace(several)
    number, mean, squares = several[:, 0, :], several[:, 3, :], several[:, 4, :]
    nonempty = number > 0
    counts = xp.sum(several[:, :3, :], axis=0)
    total = _above0(xp, counts[0, :])
    common = xp.sum(xp.where(nonempty, mean * number, 0.0), axis=0) / total
    away = xp.where(nonempty, mean - common, 0.0)
    spread = xp.sum(xp.where(nonempty, squares + number * away * away, 0.0), axis=0)
    least = xp.min(xp.where(nonempty, several[:, 5, :], math.inf), axis=0)
    largest = xp.max(xp.where(nonempty, several[:, 6, :], -math.inf), axis=0)
    return _figures(xp, counts, common, spread, least, largest)


def _above0(xp: Any, counts: Any) -> Any:
    return xp.where(counts > 0, counts, 1.0)


def _figures(xp: Any, counts: Any, *moments: Any) -> Any:
    """Stack the figures; what needs a finite value is NaN where there is none."""
    nonempty = counts[0, :] > 0
    blank = xp.full_like(counts[0, :], math.nan)
    if moments:  # the mean of equal values is rounded, and then they would have a deviation
        mean, squares, least, largest = moments
        equal = least == largest
        moments = (xp.where(equal, least, mean), xp.where(equal, 0.0, squares), least, largest)
    others = [xp.where(nonempty, figure, blank) for figure in moments or [blank] * 4]
    return xp.concat([counts, xp.stack(others)], axis=0)
