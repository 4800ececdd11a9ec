"""How far people agree on classes: Cohen's kappa of each two raters.

It knows that free text must become classes first. It does not know which classes there are.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from dpipe import schema
from dpipe.compute import compute
from dpipe.errors import SchemaError, UsageError


def rater_agreement(ds: xr.Dataset, *, classes: Mapping[str, str] | None = None) -> xr.Dataset:
    """Compare each two raters of the same records.

    Kappa is (share of agreement - share by chance) / (1 - share by chance), where chance is that
    of the two raters' own frequencies [1]_. Records that one of the two gave no class are left
    out for that pair. A rater beside himself has the kappa 1.

    Parameters
    ----------
    ds : xarray.Dataset
        ``rating(record, rater)``, texts, empty where a rater gave none; ``rater`` has names. The
        labels that were there before may be one of the raters.
    classes : mapping of str to str, optional
        Which class a text stands for; blanks around texts do not matter, and a text that is not
        there is a class itself.

    Returns
    -------
    xarray.Dataset
        Over ``rater`` and ``other``: ``kappa`` (NaN without a common record, or where both gave
        all of them the same class), ``rater_agreement`` (the share of equal classes) and
        ``rated_by_both``. It is computed at once.

    Raises
    ------
    SchemaError
        There are no ratings, or the raters have no names.
    UsageError
        `classes` that are no mapping.

    References
    ----------
    .. [1] J. Cohen, Educational and Psychological Measurement 20 (1960) 37-46.

    Examples
    --------
    >>> said = [["T_cell", "T cell "], ["T_cell", "B cell"], ["B_cell", "B cell"], ["B_cell", ""]]
    >>> ds = xr.Dataset({"rating": (("record", "rater"), said)}, {"rater": ["KE", "NK"]})
    >>> found = rater_agreement(ds, classes={"T cell": "T_cell", "B cell": "B_cell"})
    >>> float(found["kappa"].sel(rater="KE", other="NK").round(3))
    0.4
    >>> int(found["rated_by_both"][0, 1])
    3
    """
    rating = schema.RATING.check(ds)
    if "rater" not in rating.coords:
        raise SchemaError("ratings without the coordinate rater, the names of the raters")
    if not isinstance(classes, Mapping | None):
        raise UsageError(f"classes: found {classes!r}; expected texts and the class of each")
    renamed = {str(text).strip(): str(name).strip() for text, name in (classes or {}).items()}
    (values,) = compute(rating.data)
    texts = [[str(text).strip() for text in row] for row in np.asarray(values).T.tolist()]
    columns = [np.array([renamed.get(text, text) for text in row], dtype=object) for row in texts]
    pairs = [[_pair(a, b) for b in columns] for a in columns]
    raters = np.array([str(name) for name in rating["rater"].values], dtype=str)
    table = np.array(pairs, dtype=float).reshape(len(raters), len(raters), 3)
    result: dict[str, xr.DataArray] = {}
    for i, variable in enumerate((schema.KAPPA, schema.RATER_AGREEMENT, schema.RATED_BY_BOTH)):
        column = table[:, :, i].astype(np.uint32) if variable.kinds == "u" else table[:, :, i]
        result |= variable.wrap(xr.DataArray(column, dims=("rater", "other")))
    return xr.Dataset(result, coords={"rater": raters, "other": raters})


def cohen_kappa(first: Sequence[str], second: Sequence[str]) -> float:
    """Return Cohen's kappa of two lists of classes, of the same records in the same order.

    Parameters
    ----------
    first, second : sequence of str
        A class each record.

    Returns
    -------
    float
        1 where they agree, 0 where they do as by chance; NaN without records, or where both
        hold the same single class.

    Raises
    ------
    UsageError
        They are of unlike length.

    Examples
    --------
    >>> cohen_kappa(["a", "a", "b", "b"], ["a", "b", "b", "b"])
    0.5
    """
    a, b = (np.asarray(list(ratings), dtype=object) for ratings in (first, second))
    if a.size != b.size:
        raise UsageError(f"kappa: {a.size} classes beside {b.size}; expected as many")
    if not a.size:
        return math.nan
    kinds, codes = np.unique(np.concatenate([a, b]).astype(str), return_inverse=True)
    shares = [np.bincount(half, minlength=kinds.size) / a.size for half in np.split(codes, 2)]
    chance = float(shares[0] @ shares[1])
    agreed = float(np.mean(codes[: a.size] == codes[a.size :]))
    return (agreed - chance) / (1 - chance) if kinds.size > 1 else math.nan


def _pair(a: np.ndarray, b: np.ndarray) -> tuple[float, float, int]:
    rated = (a != "") & (b != "")
    share = float(np.mean(a[rated] == b[rated])) if rated.any() else math.nan
    return cohen_kappa(a[rated].tolist(), b[rated].tolist()), share, int(rated.sum())
