"""Splits of records: which pictures a model learns from, is chosen by, and is tested on.

It knows that a split is even over labels, experiments and donors, or leaves whole donors out, and
that one object never stands in two splits. It does not know what the pictures show.
"""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import xarray as xr

from dpipe import schema
from dpipe.compute import compute
from dpipe.errors import SchemaError, UsageError, unknown
from dpipe.expressions import evaluate
from dpipe.operators.parameters import check_whole
from dpipe.operators.tables.identities import (
    columns,
    identities,
    names_of,
    parts_of,
    places,
    sound,
)


def split_records(
    ds: xr.Dataset,
    collection: xr.DataTree | None = None,
    *,
    fractions: Sequence[float] = (0.56, 0.14, 0.3),
    by: str | Sequence[str] = ("label", "experiment", "donor"),
    whole: str | Sequence[str] = (),
    test: Sequence[str] = (),
    among: str = "label != '-1'",
    seed: int = 0,
) -> xr.Dataset:
    """Split records into train, validation and test.

    The records of a stratum (of one label, experiment and donor) are put in the order of a hash of
    their names and the seed, and that order is cut by the fractions, test first; so each stratum
    is split alike to half a record, and a stratum of one is learnt from. Records of the same
    experiment, donor, condition and object number go together, whatever files they are in. The
    default is scifAI's: 30 % for test, 20 % of the rest for validation.

    Parameters
    ----------
    ds : xarray.Dataset
        Records with ``file`` or ``object_number``.
    collection : xarray.DataTree, optional
        All parts of the dataset that `ds` is one of: strata go over all of them. By default
        `ds` is all there is.
    fractions : sequence of 3 floats
        Shares of train, validation and test; their sum is 1.
    by : str or sequence of str
        What records of one stratum have in common.
    whole : str or sequence of str
        ``"donor"`` leaves whole donors out: all records with the same value go together, and `by`
        is not looked at. ``["experiment", "donor"]`` takes a donor of another experiment for
        another donor.
    test : sequence of str
        With a single `whole`: the values that are for test; the others share the rest.
    among : str
        An expression; records for which it is not true get no split. Write
        ``"label != '-1' and condition in ('+SEA', '-SEA')"`` to split as scifAI's study does.
    seed : int
        Another seed is another split.

    Returns
    -------
    xarray.Dataset
        ``split(record)``: ``"train"``, ``"validation"``, ``"test"`` or ``""``, for
        ``where="split == 'train'"``; computed at once. ``attrs["notes"]`` counts them.

    Raises
    ------
    SchemaError
        There are no records, or nothing tells them apart.
    UsageError
        An unknown name, or a parameter that cannot work.

    Examples
    --------
    >>> ds = xr.Dataset(coords={"file": ("record", [f"x_{i}.h5" for i in range(50)])})
    >>> ds = ds.assign_coords(label=("record", ["T_cell"] * 30 + ["B_cell"] * 20))
    >>> split_records(ds, by="label").attrs["notes"]
    ['train 28, validation 7, test 15, without a split 0']
    """
    limits = _limits(fractions)
    check_whole("seed", seed)
    together = names_of(whole, "whole")
    tables = list(parts_of(collection).values()) or [ds]
    units: dict[str, str] = {}
    sizes: Counter[str] = Counter()
    for table in tables:
        inside = _inside(table, among)
        chosen = table.isel(record=np.flatnonzero(inside))
        strata = [""] * int(inside.sum()) if together else columns(chosen, names_of(by, "by"), "by")
        for unit, stratum in zip(_units(chosen, together), strata, strict=True):
            units.setdefault(unit, stratum)
            sizes[unit] += 1
    split_of = _cut(units, sizes, limits, _tested(test, together, units), seed)
    inside = _inside(ds, among)
    splits = [
        split_of.get(unit, "") if good else ""
        for unit, good in zip(_units(ds, together), inside, strict=True)
    ]
    counts = Counter(splits)
    told = ", ".join(f"{split} {counts[split]}" for split in schema.SPLITS)
    of_records = {name: coord for name, coord in ds.coords.items() if coord.dims == ("record",)}
    return xr.Dataset(
        schema.RECORD_SPLIT.wrap(xr.DataArray(np.array(splits, dtype="<U10"), dims="record")),
        coords=of_records,
        attrs={"notes": [f"{told}, without a split {counts['']}"]},
    )


def _limits(fractions: Sequence[float]) -> np.ndarray:
    """Return the ends of test and of validation, as shares of 1."""
    try:
        shares = np.asarray(fractions, dtype=np.float64)
    except (TypeError, ValueError):
        shares = np.empty(0)
    if shares.shape != (3,) or not (shares >= 0).all() or not math.isclose(shares.sum(), 1):
        raise UsageError(
            f"fractions: found {fractions!r}; expected shares of train, validation and test, "
            "whose sum is 1, for example [0.56, 0.14, 0.3]"
        )
    return np.cumsum(shares[::-1] / shares.sum())[:2]


def _inside(ds: xr.Dataset, among: str) -> np.ndarray:
    if "record" not in ds.dims:
        raise SchemaError(f"no records; found the dims {', '.join(map(str, ds.dims)) or 'none'}")
    (inside,) = compute(evaluate(among, ds).data)
    return np.asarray(inside) & sound(ds)


def _units(ds: xr.Dataset, together: Sequence[str]) -> list[str]:
    return (columns(ds, together, "whole") if together else identities(ds)).tolist()


def _tested(test: Sequence[str], together: Sequence[str], units: dict[str, str]) -> set[str]:
    names = names_of(test, "test")
    if names and len(together) != 1:
        raise UsageError("test: name what is left out whole, for example whole='donor'")
    for name in names:
        if name not in units:
            raise UsageError(f"test: {unknown(together[0], name, units)}")
    return set(names)


def _cut(
    units: dict[str, str], sizes: Counter[str], limits: np.ndarray, tested: set[str], seed: int
) -> dict[str, str]:
    """Cut each stratum, in the order of its units' places, by the middle of each unit."""
    names = sorted(unit for unit in units if unit not in tested)
    place = dict(zip(names, places(names, seed), strict=True))
    if tested:  # the rest is shared by train and validation as it would be without a test
        limits = np.array([0.0, (limits[1] - limits[0]) / max(1 - limits[0], 1e-12)])
    total, before = Counter[str](), Counter[str]()
    for unit in names:
        total[units[unit]] += sizes[unit]
    splits = dict.fromkeys(tested, "test")
    for unit in sorted(names, key=lambda unit: (place[unit], unit)):
        stratum = units[unit]
        middle = (before[stratum] + sizes[unit] / 2) / total[stratum]
        before[stratum] += sizes[unit]
        splits[unit] = schema.SPLITS[::-1][int(np.searchsorted(limits, middle, "right"))]
    return splits
