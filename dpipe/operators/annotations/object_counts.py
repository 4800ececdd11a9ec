"""How well counts of objects agree with reference counts, and where they stop growing with them.

It knows LIVECell's count benchmark: the share of variance explained, and the break of linearity.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.spatial
import scipy.stats
import xarray as xr

from dpipe import schema
from dpipe.errors import SchemaError, UsageError
from dpipe.operators.parameters import check_number, check_whole

_NEAREST, _FIRST = 5, 500


def object_counts(
    ds: xr.Dataset,
    *,
    reference: str = "reference",
    predicted: str | Sequence[str] = "predicted",
    most: int = 1600,
    level: float = 1e-5,
) -> xr.Dataset:
    """Hold counts of objects against reference counts, as LIVECell's count benchmark does.

    R^2 is 1 less the squared errors over those about the mean of the reference, of pictures with
    fewer than `most` objects by the reference. The break of linearity is the smallest limit L =
    500, 501, ... for which, of pictures with fewer than L objects by the reference, the residuals
    of the 5 nearest neighbours and of a line, both fitted to the reference over the counts, differ
    in spread (Levene's test about the median, p below `level`) [1]_.

    Parameters
    ----------
    ds : xarray.Dataset
        Counts over ``record``: a variable or coordinate a column.
    reference : str
        The column of reference counts, for example of fluorescent nuclei.
    predicted : str or sequence of str
        The columns of counts to judge, by commas.
    most : int
        Pictures with so many objects or more by the reference do not count for R^2.
    level : float
        The p below which spreads differ.

    Returns
    -------
    xarray.Dataset
        ``feature(record, name)``, a record a column of counts: ``r2``, ``pictures`` that it is of,
        ``linearity_break`` (NaN: none up to the largest reference), ``mean_error`` and
        ``pictures_left_out`` (a count is missing). Coordinate ``counts``: the column.

    Raises
    ------
    SchemaError
        A column is missing, or holds what is no number.
    UsageError
        A parameter that is none.

    References
    ----------
    .. [1] C. Edlund et al., LIVECell, Nature Methods 18 (2021) 1038-1045, and its evaluation code.

    Examples
    --------
    >>> truth, counts = ("record", [100, 200, 300]), ("record", [110, 190, 300])
    >>> ds = xr.Dataset({"reference": truth, "predicted": counts})
    >>> float(object_counts(ds).feature.sel(name="r2").item())
    0.99
    """
    check_whole("most", most, 1)
    check_number("level", level, 0.0)
    columns = predicted.split(",") if isinstance(predicted, str) else list(predicted)
    columns = [str(name).strip() for name in columns if str(name).strip()]
    if not columns:
        raise UsageError("predicted: no column of counts")
    truth = _column(ds, reference)
    rows = [_compared(truth, _column(ds, name), most, level) for name in columns]
    names = list(rows[0])
    values = np.array([[row[name] for name in names] for row in rows])
    array = xr.DataArray(values, dims=("record", "name"), coords={"name": names})
    coords = {"counts": ("record", np.array(columns, dtype=str))}
    return xr.Dataset(schema.FEATURE.wrap(array), {**coords, "name": np.array(names, dtype=str)})


def _column(ds: xr.Dataset, name: str) -> np.ndarray:
    """Return a column as floats; texts that are numbers count, as in LIVECell's files."""
    if name not in ds.variables:
        known = ", ".join(map(str, ds.variables)) or "none"
        raise SchemaError(f"no column {name!r} of counts. Columns: {known}")
    if ds[name].dims != ("record",):
        raise SchemaError(f"column {name!r} has dims {ds[name].dims}; expected record")
    values: Any = ds[name].values
    try:
        if values.dtype.kind in "UTO":
            return np.array([float(v) if str(v).strip() else np.nan for v in values.tolist()])
        return np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise SchemaError(f"column {name!r}: {error}; expected numbers") from error


def _compared(truth: np.ndarray, counts: np.ndarray, most: int, level: float) -> dict[str, float]:
    known = np.isfinite(truth) & np.isfinite(counts)
    truth, counts = truth[known], counts[known]
    few = truth < most
    return {
        "r2": r2(truth[few], counts[few]),
        "pictures": float(few.sum()),
        "linearity_break": linearity_break(truth, counts, level),
        "mean_error": float((counts - truth)[few].mean()) if few.any() else np.nan,
        "pictures_left_out": float((~known).sum()),
    }


def r2(truth: np.ndarray, counts: np.ndarray) -> float:
    """Return the share of the reference's variance that counts explain; NaN without variance.

    Examples
    --------
    >>> r2(np.array([1.0, 2, 3]), np.array([1.0, 2, 2]))
    0.5
    """
    about = float(((truth - truth.mean()) ** 2).sum()) if truth.size else 0.0
    return 1 - float(((truth - counts) ** 2).sum()) / about if about else float("nan")


def linearity_break(truth: np.ndarray, counts: np.ndarray, level: float = 1e-5) -> float:
    """Return the smallest limit below which counts are no longer a line; NaN if there is none.

    Parameters
    ----------
    truth, counts : numpy.ndarray, shape (n,)
        Finite.
    level : float
        The p below which spreads differ.
    """
    last = -1
    for limit in range(_FIRST, int(truth.max(initial=0)) + 1):
        few = truth < limit
        if few.sum() == last or few.sum() < _NEAREST:  # the same pictures as before
            continue
        last = int(few.sum())
        if _spreads_differ(counts[few], truth[few], level):
            return float(limit)
    return float("nan")


def _spreads_differ(x: np.ndarray, y: np.ndarray, level: float) -> bool:
    """Tell whether residuals of neighbours and of a line differ in spread."""
    if np.ptp(x) == 0:
        return False
    slope, shift = np.polyfit(x, y, 1)
    nearest = scipy.spatial.KDTree(x[:, np.newaxis]).query(x[:, np.newaxis], _NEAREST)[1]
    residuals = y - y[nearest].mean(axis=1), y - (slope * x + shift)
    if not any(np.ptp(each) for each in residuals):
        return False
    return bool(scipy.stats.levene(*residuals, center="median").pvalue < level)
