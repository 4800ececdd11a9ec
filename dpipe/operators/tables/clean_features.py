"""A table of features as a model takes it: no holes, no infinities, no column without spread.

It knows what scifAI does before it trains, and does it by statistics over the whole dataset. It
does not know what a feature means.
"""

import math
import numbers
from typing import Literal

import numpy as np
import xarray as xr

from dpipe import schema
from dpipe.compute import compute
from dpipe.errors import SchemaError, UsageError
from dpipe.operators.tables.feature_sums import merged

_MOST_NAMED = 20


def clean_features(
    ds: xr.Dataset,
    statistics: xr.DataTree,
    *,
    infinity: Literal["missing", "drop"] = "missing",
    fill: float = 0.0,
) -> xr.Dataset:
    """Fill what is missing, and drop the columns that are the same in all records.

    scifAI fills NaN with 0 and keeps the columns whose standard deviation is above 0. A column
    with one infinity has no deviation, so there it is dropped whole; here infinity is missing too,
    unless told otherwise. Whether a column has spread is decided by its least and largest value
    after filling, over the whole dataset, which is exact: a deviation, as scifAI takes, may be
    1e-17 by rounding where all values are equal. A record without a single number (a picture that
    was put aside) decides nothing and stays NaN.

    Parameters
    ----------
    ds : xarray.Dataset
        ``feature(record, name)`` of one part.
    statistics : xarray.DataTree
        What ``feature_statistics`` made of the whole dataset, or ``feature_sums`` of all parts; a
        single Dataset will do.
    infinity : {"missing", "drop"}
        ``"missing"`` fills infinities; ``"drop"`` drops columns with any, as scifAI does.
    fill : float
        What stands for a missing value.

    Returns
    -------
    xarray.Dataset
        Lazy ``feature(record, name)`` of the columns kept, with what is known of each record;
        ``attrs["notes"]`` says how much was filled and dropped in the whole dataset.

    Raises
    ------
    SchemaError
        There are no features, or the statistics are of other columns.
    UsageError
        An unknown `infinity`, or a `fill` that is no number, or none of the features' dtype.

    Notes
    -----
    A sample that is added changes the statistics, so every part is cleaned anew, which takes as
    long as to copy it; features and sums of the other parts stay.

    Examples
    --------
    >>> values = [[1.0, 5, 2], [np.nan, 5, np.inf]]
    >>> ds = xr.Dataset({"feature": (("record", "name"), values)}, {"name": ["a", "b", "c"]})
    >>> clean = clean_features(ds, xr.DataTree.from_dict({"/p": ds}))
    >>> clean["name"].values.tolist(), clean["feature"].values.tolist()
    (['a', 'c'], [[1.0, 2.0], [0.0, 0.0]])
    """
    if infinity not in ("missing", "drop"):
        raise UsageError(f"infinity: found {infinity!r}; expected 'missing' or 'drop'")
    feature = schema.FEATURE.check(ds)
    fill = _number(fill, feature.dtype)
    figures = merged(statistics)
    names = [str(name) for name in feature["name"].values] if "name" in feature.coords else []
    if figures["name"].values.astype(str).tolist() != names:
        odd = sorted(set(names) ^ set(figures["name"].values.astype(str).tolist()))
        raise SchemaError(
            "the statistics are of other columns than the features: "
            f"{', '.join(odd[:5]) or 'the same in another order'}; make them of these features"
        )
    (table,) = compute(figures.data)
    _, missing, infinite, _, _, least, largest = table
    holes = missing + infinite > 0
    least = np.where(holes, np.fmin(least, fill), least)
    largest = np.where(holes, np.fmax(largest, fill), largest)
    varies = least < largest  # False where there is no value at all
    if infinity == "drop":
        varies &= infinite == 0
    chosen = feature.isel(name=np.flatnonzero(varies))
    measured = feature.notnull().any("name")
    filled = chosen.where(np.isfinite(chosen) | ~measured, fill)
    ds = xr.Dataset(schema.FEATURE.wrap(filled.astype(feature.dtype)))
    return ds.assign_attrs(
        notes=_notes(names, varies, missing[varies].sum(), infinite[varies].sum())
    )


def _number(fill: object, dtype: np.dtype) -> float:
    """Return the fill value in the dtype of the features."""
    value = math.nan
    if isinstance(fill, numbers.Real) and not isinstance(fill, bool):
        with np.errstate(over="ignore"):
            value = float(dtype.type(float(fill)))
    if not math.isfinite(value):
        raise UsageError(f"fill: found {fill!r}; expected a finite {dtype} number")
    return value


def all_features(ds: xr.Dataset, statistics: xr.DataTree, **_: object) -> xr.Dataset:
    """Return a table as large as a clean one may be, where the statistics are not made yet."""
    del statistics
    return xr.Dataset(schema.FEATURE.wrap(schema.FEATURE.check(ds)))


def _notes(names: list[str], varies: np.ndarray, missing: float, infinite: float) -> list[str]:
    lines = []
    if missing or infinite:
        lines.append(
            f"filled in all parts: {int(missing)} missing, {int(infinite)} infinite values"
        )
    dropped = [name for name, good in zip(names, varies, strict=True) if not good]
    if dropped:
        more = f", ... and {len(dropped) - _MOST_NAMED} more" * (len(dropped) > _MOST_NAMED)
        told = ", ".join(dropped[:_MOST_NAMED]) + more
        lines.append(f"dropped {len(dropped)} of {len(names)} columns, which do not differ: {told}")
    return lines
