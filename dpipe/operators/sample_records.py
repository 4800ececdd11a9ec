"""A sample of the records of a collection: so many of each sample, and whatever has a label.

It knows that a record is in the sample or not by its name and the seed alone. It does not know
what the pictures show.
"""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from dpipe import schema
from dpipe.errors import UsageError
from dpipe.operators._identities import check_seed, columns, identities, names_of, places, sound


def sample_records(
    ds: xr.Dataset,
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
        Records with ``file`` or ``object_number``; groups are made within this part.
    n : int
        Records of each group, all of it if it has fewer.
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
    if isinstance(n, bool) or not isinstance(n, int) or n < 0:
        raise UsageError(f"n: found {n!r}; expected a number of records")
    check_seed(seed)
    names = identities(ds)
    groups = columns(ds, names_of(by, "by"), "by")
    chosen, usable = np.zeros(len(names), dtype=bool), sound(ds)
    if labelled and schema.PICTURE_LABEL.name in ds.coords:
        chosen |= usable & (ds[schema.PICTURE_LABEL.name].values != schema.NO_LABEL)
    order = np.lexsort((names, places(names, seed), ~chosen))
    left = dict.fromkeys(groups.tolist(), n)
    for i in order[usable[order]].tolist():
        chosen[i] |= left[groups[i]] > 0
        left[groups[i]] -= 1
    kept = {name: coord for name, coord in ds.coords.items() if coord.dims == ("record",)}
    return xr.Dataset(schema.SAMPLED.wrap(xr.DataArray(chosen, dims="record")), coords=kept)
