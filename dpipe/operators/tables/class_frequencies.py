"""Frequencies of classes in samples, and tests whether conditions differ in them.

It knows how records are counted and how samples of unlike conditions are compared, as groups of
movies are. It does not know where a class comes from: a person, or a model.
"""

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import xarray as xr

from dpipe import schema
from dpipe.compute import compute
from dpipe.errors import SchemaError, UsageError, unknown
from dpipe.expressions import evaluate
from dpipe.operators.tables.identities import columns, names_of, parts_of, sound
from dpipe.operators.tables.rank_tests import compare, described, notes


def class_frequencies(
    tree: xr.DataTree,
    *,
    label: str = "label",
    by: str = "condition",
    sample: str | Sequence[str] = ("experiment", "donor"),
    classes: Sequence[str] = (),
    among: str | None = None,
    method: Literal["auto", "exact", "asymptotic"] = "auto",
    adjust: Literal["none", "holm"] = "none",
) -> xr.Dataset:
    """Count the classes in each sample, and compare their shares between conditions.

    A sample is what has the same condition, experiment and donor, whatever part it is in. Over the
    shares of a class in all conditions runs the test of Kruskal and Wallis, between any two
    conditions that of Mann and Whitney, two-sided; one with fewer than two samples is not tested.

    Parameters
    ----------
    tree : xarray.DataTree
        One child per part, with records; a single Dataset will do.
    label : str
        What holds the class: ``"label"``, or what a model said.
    by : str
        What is compared.
    sample : str or sequence of str
        What tells samples of one condition apart.
    classes : sequence of str
        Which are counted, in this order; the shares are of these. By default all there are.
        scifAI's study leaves ``No_cell_cell_interaction`` and ``T_cell_with_B_cell_fragments``
        out.
    among : str, optional
        An expression; records for which it is not true are not counted. By default all whose
        class, by `label`, is neither ``"-1"`` nor empty. Pictures that were put aside never count.
    method : {"auto", "exact", "asymptotic"}
        How p is found, as for ``group_tests``.
    adjust : {"none", "holm"}
        Whether the p of the pairs of a class are corrected for their number.

    Returns
    -------
    xarray.Dataset
        Over ``measure`` (the classes) and ``sample``: ``class_count``, ``class_frequency``
        (the share; NaN in a sample without any); over ``group`` (the conditions) and ``pair``:
        ``kruskal_h``, ``kruskal_p``, ``kruskal_method``, ``group_size``, ``group_left_out``,
        ``group_median``, ``pair_u``, ``pair_p``, ``pair_method``, ``pair_stars``.
        ``attrs["notes"]`` names tests of so few samples that they cannot show anything, and how
        many tests there are. It is computed at once.

    Raises
    ------
    SchemaError
        There is nothing to count.
    UsageError
        An unknown name, or a parameter that cannot work.

    Examples
    --------
    >>> held = {}
    >>> for i, (condition, said) in enumerate([("-SEA", "TTTB"), ("-SEA", "TTBB"),
    ...                                        ("+SEA", "TBBB"), ("+SEA", "BBBB")]):
    ...     coords = {"label": ("record", list(said)), "condition": ("record", [condition] * 4)}
    ...     held[f"/{i}"] = xr.Dataset(coords=coords | {"donor": ("record", [f"d{i}"] * 4)})
    >>> found = class_frequencies(xr.DataTree.from_dict(held), sample="donor")
    >>> found["class_frequency"].sel(measure="T").values.tolist()
    [0.25, 0.0, 0.75, 0.5]
    >>> found["pair_p"].sel(measure="T").values.round(3).tolist()
    [0.333]
    """
    if method not in ("auto", "exact", "asymptotic"):
        raise UsageError(f"method: found {method!r}; expected 'auto', 'exact' or 'asymptotic'")
    if adjust not in ("none", "holm"):
        raise UsageError(f"adjust: found {adjust!r}; expected 'none' or 'holm'")
    apart = [by, *(name for name in names_of(sample, "sample") if name != by)]
    counts = _counted(tree, label, apart, among)
    found_classes = sorted({kind for _, kind in counts})
    kinds = list(dict.fromkeys(names_of(classes, "classes"))) or found_classes
    if odd := [kind for kind in kinds if kind not in found_classes]:
        raise UsageError(f"classes: {unknown('class', odd[0], found_classes)}")
    samples = sorted({tuple(key.split("\0")) for key, _ in counts})
    table = np.array([[counts[("\0".join(s), k)] for s in samples] for k in kinds], dtype=np.int64)
    total = table.sum(axis=0)
    shares = np.where(total > 0, table / np.maximum(total, 1), math.nan)
    groups = sorted({test[0] for test in samples})
    tests = {
        kind: compare(
            {g: [v for v, s in zip(row, samples, strict=True) if s[0] == g] for g in groups},
            method=method,
            adjust=adjust,
        )
        for kind, row in zip(kinds, shares.tolist(), strict=True)
    }
    result: dict[str, Any] = described(tests, groups)
    over = ("measure", "sample")
    result |= schema.CLASS_COUNT.wrap(xr.DataArray(table.astype(np.uint32), dims=over))
    result |= schema.CLASS_FREQUENCY.wrap(xr.DataArray(shares, dims=over))
    told = {name: ("sample", [s[i] for s in samples]) for i, name in enumerate(apart)}
    pairs = [f"{a} : {b}" for a, b in itertools.combinations(groups, 2)]
    axes = {"measure": kinds, "group": groups, "pair": pairs}
    coords = {name: np.array(values, dtype=str) for name, values in axes.items()}
    untested = [f"{kind}: {line}" for kind, test in tests.items() for line in test.untested]
    attrs = {"by": by, "untested": untested} | notes(tests, adjust)
    return xr.Dataset(result, coords=coords | told, attrs=attrs)


def _counted(
    tree: xr.DataTree | xr.Dataset, label: str, apart: Sequence[str], among: str | None
) -> Counter[tuple[str, str]]:
    """Count records by sample and class."""
    counts: Counter[tuple[str, str]] = Counter()
    for stem, ds in parts_of(tree).items():
        if "record" not in ds.dims:
            raise SchemaError(f"{stem}: no records to count")
        kinds = columns(ds, [label], "label")
        if among is None:
            inside = (kinds != schema.NO_LABEL) & (kinds != "")
        else:
            (inside,) = compute(evaluate(among, ds).data)
        inside = inside & sound(ds)
        keys = columns(ds, apart, "sample")
        counts.update(zip(keys[inside].tolist(), kinds[inside].tolist(), strict=True))
    if not counts:
        raise SchemaError("no record has a class; label some, or name another label")
    return counts
