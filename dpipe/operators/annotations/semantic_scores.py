"""How well label images agree pixel by pixel, class by class.

It knows two label images of the same pictures; it does not know which objects they are of.
"""

from collections import Counter

import numpy as np
import xarray as xr

from dpipe import schema
from dpipe.errors import UsageError
from dpipe.operators.annotations.labelled_pictures import labelled

_NAMES = ("iou", "dice", "precision", "recall", "pixels", "pixels_predicted", "pixels_of_both")


def semantic_scores(ds: xr.Dataset, predicted: xr.Dataset, *, objects: bool = True) -> xr.Dataset:
    """Hold predicted label images against annotated ones, pixel by pixel.

    Parameters
    ----------
    ds : xarray.Dataset
        Annotated label images: a packed collection with ``label_pixels``, or a movie of one plane
        with ``labels``.
    predicted : xarray.Dataset
        Those of the same pictures that are judged.
    objects : bool
        Whether labels are numbers of objects: then there are two classes, inside and outside any.
        Else each label is a class.

    Returns
    -------
    xarray.Dataset
        ``feature(record, name)``, a record a class and one for all: ``iou`` (pixels of both over
        pixels of either), ``dice``, ``precision``, ``recall``, and how many pixels each has. The
        record ``all`` has means over the classes but 0, and ``pixel_accuracy``, the share of
        pixels that agree. What a class does not have is NaN.
        Coordinate ``label``: the class, "0" outside objects.

    Raises
    ------
    SchemaError
        No labels.
    UsageError
        The two are not of the same pictures, or a parameter that is none.

    References
    ----------
    .. [1] L. R. Dice, Ecology 26 (1945) 297-302; P. Jaccard, New Phytologist 11 (1912) 37-50.

    Examples
    --------
    >>> coords = {"c": ["Ch1"], "block": [0], "in_block": ("record", [0]),
    ...           "in_slot": ("record", [0]), "offset": ("record", [0]),
    ...           "height": ("record", [1]), "width": ("record", [4]), "file": ("record", ["a"])}
    >>> rows = [np.array([row], "u1") for row in ([0, 1, 2, 2], [0, 1, 1, 0])]
    >>> one, two = (xr.Dataset({"label_pixels": (("block", "place"), r)}, coords) for r in rows)
    >>> scores = semantic_scores(one, two)
    >>> [round(v, 3) for v in scores.feature.sel(name="iou").values.tolist()]
    [0.5, 0.667, 0.667]
    """
    if type(objects) is not bool:
        raise UsageError(f"objects: found {objects!r}; expected true or false")
    counts: Counter[tuple[int, int]] = Counter()
    pairs = zip(labelled(ds), labelled(predicted), strict=False)
    pictures = 0
    for truth, found in pairs:
        if truth.shape != found.shape or truth.record != found.record:
            raise UsageError(f"{truth.name}: the prediction is of another picture or size")
        pictures += 1
        both = [each.labels > 0 if objects else each.labels for each in (truth, found)]
        stacked = np.stack([values.astype(np.int64) for values in both])
        keys, times = np.unique(stacked, axis=1, return_counts=True)
        for (a, b), n in zip(keys.T.tolist(), times.tolist(), strict=True):
            counts[a, b] += n
    if pictures != sum(1 for _ in labelled(ds)):
        raise UsageError("the predictions are of fewer pictures; give those of the same records")
    return _table(counts)


def _table(counts: Counter[tuple[int, int]]) -> xr.Dataset:
    classes = sorted({label for pair in counts for label in pair})
    truth: Counter[int] = Counter()
    found: Counter[int] = Counter()
    for (a, b), n in counts.items():
        truth[a] += n
        found[b] += n
    rows = [_scores(counts[k, k], truth[k], found[k]) for k in classes]
    total = sum(counts.values())
    agreed = sum(n for (a, b), n in counts.items() if a == b)
    inside = [row for row, k in zip(rows, classes, strict=True) if k]
    means = [float(np.mean([row[i] for row in inside])) if inside else np.nan for i in range(4)]
    values = np.array([*rows, [*means, total, total, agreed]], dtype=float)
    accuracy = np.full((len(values), 1), np.nan)
    accuracy[-1] = agreed / total if total else np.nan
    names = [*_NAMES, "pixel_accuracy"]
    array = xr.DataArray(
        np.concatenate([values, accuracy], axis=1), dims=("record", "name"), coords={"name": names}
    )
    labels = np.array([*map(str, classes), "all"])
    coords = {"label": ("record", labels), "name": np.array(names, dtype=str)}
    return xr.Dataset(schema.FEATURE.wrap(array), coords)


def _scores(both: int, truth: int, found: int) -> list[float]:
    either = truth + found - both
    return [
        both / either if either else np.nan,
        2 * both / (truth + found) if truth + found else np.nan,
        both / found if found else np.nan,
        both / truth if truth else np.nan,
        truth,
        found,
        both,
    ]
