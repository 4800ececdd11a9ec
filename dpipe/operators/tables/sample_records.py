"""A sample of the records of a collection: so many of each sample, and whatever has a label.

It knows that a record is in the sample or not by its name and the seed alone. It does not know
what the pictures show.
"""

import heapq
import operator
from collections.abc import Sequence

import numpy as np
import xarray as xr

from dpipe import schema
from dpipe.operators.parameters import check_whole
from dpipe.operators.tables.identities import (
    columns,
    identities,
    names_of,
    parts_of,
    places,
    sound,
)


def sample_records(
    ds: xr.Dataset,
    collection: xr.DataTree | None = None,
    *,
    n: int = 100,
    by: str | Sequence[str] = ("experiment", "donor", "condition"),
    labelled: bool = True,
    seed: int = 0,
) -> xr.Dataset:
    """Choose so many records of each experiment, donor and condition.

    The names of the records and the seed are hashed to places between 0 and 1, and the n least of
    each group are taken. So the choice is the same wherever it is made, and a record that is
    added moves at most one other out. Pictures that were put aside are never chosen.

    Parameters
    ----------
    ds : xarray.Dataset
        Records with ``file`` or ``object_number``.
    collection : xarray.DataTree, optional
        All parts of the dataset that `ds` is one of, where a group goes over several parts. By
        default `ds` is all there is.
    n : int
        Objects of each group, all of it if it has fewer; of one in several files all are taken.
    by : str or sequence of str
        What records of one group have in common.
    labelled : bool
        Whether records with a label are all taken, before others; then a group may have more
        than n.
    seed : int
        Another seed is another sample.

    Returns
    -------
    xarray.Dataset
        ``sampled(record)``, for ``where="sampled"``, with what is known of each record; it is
        computed at once.

    Raises
    ------
    SchemaError
        There are no records, or nothing tells them apart.
    UsageError
        An unknown name, or a parameter that cannot work.

    Examples
    --------
    >>> ds = xr.Dataset(coords={"file": ("record", [f"x_{i}.h5" for i in range(9)])})
    >>> ds = ds.assign_coords(donor=("record", ["a"] * 6 + ["b"] * 3))
    >>> ds = ds.assign_coords(label=("record", ["-1"] * 8 + ["T_cell"]))
    >>> found = sample_records(ds, n=2, by="donor")["sampled"].values
    >>> int(found[:6].sum()), int(found[6:].sum()), bool(found[8])
    (2, 2, True)
    """
    check_whole("n", n, 0, "a number of records")
    check_whole("seed", seed)
    names, groups = identities(ds).tolist(), columns(ds, names_of(by, "by"), "by").tolist()
    mine = set(groups)
    tables = parts_of(collection).values() or [ds]
    ranked = [_ranked(table, names_of(by, "by"), labelled, seed, mine) for table in tables]
    remaining, taken = dict.fromkeys(mine, n), set[tuple[str, str]]()
    for group, name, first in heapq.merge(*ranked, key=operator.itemgetter(2)):
        if (group, name) not in taken and (remaining[group] > 0 or not first[0]):
            taken.add((group, name))
            remaining[group] -= 1
    among = [record in taken for record in zip(groups, names, strict=True)]
    chosen = np.array(among, dtype=bool) & sound(ds)
    coords = {name: coord for name, coord in ds.coords.items() if coord.dims == ("record",)}
    return xr.Dataset(schema.SAMPLED.wrap(xr.DataArray(chosen, dims="record")), coords=coords)


def _ranked(
    ds: xr.Dataset, by: list[str], labelled: bool, seed: int, chosen: set[str]
) -> list[tuple[str, str, tuple[bool, float, str]]]:
    """Return group, name and rank of the sound records of some groups, the first ones first."""
    groups = columns(ds, by, "by")
    inside = np.array([group in chosen for group in groups.tolist()], dtype=bool) & sound(ds)
    records = ds.isel(record=np.flatnonzero(inside))
    names = identities(records).tolist()
    plain = np.ones(len(names), dtype=bool)
    if labelled and schema.PICTURE_LABEL.name in ds.coords:
        plain = np.asarray(records[schema.PICTURE_LABEL.name].values == schema.NO_LABEL)
    ranks = zip(plain.tolist(), places(names, seed).tolist(), names, strict=True)
    rows = zip(groups[inside].tolist(), names, ranks, strict=True)
    return sorted(rows, key=operator.itemgetter(2))
