"""Gates: named expressions over features and metadata, and the records that are inside.

It knows how gates are named and kept with the table; how an expression is read stands in
``_expressions.py``. It does not know what a good limit is.
"""

from collections.abc import Mapping

import numpy as np
import xarray as xr

from dpipe import schema
from dpipe.blocks import compute
from dpipe.errors import SchemaError, UsageError
from dpipe.operators._expressions import evaluate


def gate(ds: xr.Dataset, more: xr.Dataset | None = None, *, gates: Mapping[str, str]) -> xr.Dataset:
    """Tell which records are inside named gates.

    An expression holds names, numbers, texts, comparisons (``in`` too), ``and``, ``or``, ``not``,
    ``+ - * / // %`` and ``abs``; it is read, never run. A name is that of a gate before it, of
    what is known of a record (``condition``, ``donor``, ``height``, ...), or of a feature. One with
    odd characters stands in backticks, and ``feature("...")`` is always a feature. Comparisons
    with NaN are false (so ``not`` of one is true), but for ``!=`` and ``not in``; dividing by 0
    gives NaN.

    The gates of the scifAI study [1]_ with channels named BF, antibody, CD18, F-actin, MHCII, CD3,
    P-CD3zeta and Live-Dead, and limits that are yours to find::

        gates:
          in_focus: gradient_RMS_Ch1 > 60
          live: mean_intensity_Ch8 < 200
          cd3_mhcii: sum_intensity_Ch6 > 2e4 and sum_intensity_Ch5 > 2e4
          single: >-
            mask_based_area_Ch6 < 2500 and mask_based_area_Ch5 < 4000 and
            mask_based_minor_axis_length_Ch6 / mask_based_major_axis_length_Ch6 > 0.6
          one_layer: mask_based_bbox_area_Ch1 < 3000 and height < 70
          synapse: in_focus and live and cd3_mhcii and single and not one_layer

    There, CD3 was measured in a mask of its own: give ``cell_features(ds, families="cell-shape",
    inside="dilate(CD3 & MHCII, 3)")`` as `more`; the name is ``sum_intensity_Ch6_inside``.

    Parameters
    ----------
    ds : xarray.Dataset
        Over ``record``: features, coordinates, other gates.
    more : xarray.Dataset, optional
        Further features of the same records, of other names.
    gates : mapping of str to str
        Expressions by name.

    Returns
    -------
    xarray.Dataset
        Lazy ``gate(record, gate_name)`` with what is known of each record;
        ``attrs["expressions"]`` says what the gates are.

    Raises
    ------
    SchemaError
        There are no records, or `more` is of other records or has features of the same name.
    UsageError
        No gate, one whose expression cannot be read or has an unknown name, or one with the name
        of something else that is known of a record.

    References
    ----------
    .. [1] K. Essig et al., Dryad (2022), "An imaging flow cytometry dataset for profiling the
       immunological synapse of therapeutic antibodies".

    Examples
    --------
    >>> table = {"feature": (("record", "name"), [[100.0, 5], [2000.0, 9], [300.0, 9]])}
    >>> ds = xr.Dataset(table, {"name": ["area_Ch1", "sum Ch6"]})
    >>> ds = ds.assign_coords(condition=("record", ["-SEA", "+SEA", "+SEA"]))
    >>> said = {"single": "area_Ch1 < 900", "cd3": "single and `sum Ch6` > 7"}
    >>> gate(ds, gates=said)["gate"].values.T.tolist()
    [[True, False, True], [False, False, True]]
    """
    if "record" not in ds.dims:
        raise SchemaError(f"gates need records; found the dims {', '.join(map(str, ds.dims))}")
    if not isinstance(gates, Mapping) or not gates:
        raise UsageError(f"gates: found {gates!r}; expected expressions by name")
    ds = ds if more is None else _with_more(ds, more)
    taken = {str(name) for name, v in ds.variables.items() if v.dims == ("record",)}
    made: dict[str, xr.DataArray] = {}
    for name, text in gates.items():
        if not str(name).strip() or str(name) in taken:
            raise UsageError(f"gate {name!r}: expected a name that records do not have already")
        try:
            made[str(name)] = evaluate(text, ds, made)
        except UsageError as error:
            raise UsageError(f"gate {name!r}: {error}") from error
    whole = xr.concat(list(made.values()), dim="gate_name")
    kept = {n: c for n, c in ds.coords.items() if c.dims == ("record",)}
    coords = kept | {"gate_name": ("gate_name", np.array(list(made), dtype=str))}
    said = {"expressions": [f"{name}: {text}" for name, text in gates.items()]}
    return xr.Dataset(schema.GATE.wrap(whole.assign_coords(coords)), attrs=said)


def select(ds: xr.Dataset, where: str, table: xr.Dataset | None = None) -> xr.Dataset:
    """Choose the records for which an expression is true.

    Parameters
    ----------
    ds : xarray.Dataset
        Over ``record``: packed pictures, pictures of one size, or a table.
    where : str
        A gate's name, or an expression as for `gate`.
    table : xarray.Dataset, optional
        Over the same records: gates, features, or splits that `ds` does not hold itself. What is
        known of a record is taken from `ds`, features and gates from here.

    Returns
    -------
    xarray.Dataset
        Those records, lazy; what the expression needs is computed.

    Raises
    ------
    SchemaError
        There are no records, or `table` is of other records.
    UsageError
        The expression cannot be read or has an unknown name.

    Examples
    --------
    >>> ds = xr.Dataset({"n": ("record", [1, 2, 3])}, {"donor": ("record", ["a", "b", "b"])})
    >>> select(ds, "donor == 'b' and n > 2").n.values.tolist()
    [3]
    """
    return select_alike({"": ds}, where, table)[""]


def select_alike(
    held: Mapping[str, xr.Dataset], where: str, table: xr.Dataset | None = None
) -> dict[str, xr.Dataset]:
    """Choose records of the first of some Datasets, and the same of those that go with it.

    Parameters
    ----------
    held : mapping of str to xarray.Dataset
        The first as for `select`; of the others, those of as many records are of the same ones.
    where, table
        As for `select`.

    Returns
    -------
    dict of str to xarray.Dataset
        All of them, by the same names.
    """
    ds = next(iter(held.values()))
    if "record" not in ds.dims:
        found = ", ".join(map(str, ds.dims)) or "none"
        raise SchemaError(f"where={where!r} chooses records; found the dims {found}")
    known, count = ds, ds.sizes["record"]
    if table is not None:
        _same_records(f"where={where!r}", ds, table)
        own = {name for name, v in ds.variables.items() if v.dims == ("record",)}
        rest = table.drop_vars(own & set(table.variables))  # labels may have come since
        known = rest.merge(ds.drop_vars(set(rest.variables) & set(ds.variables)))
    (inside,) = compute(evaluate(where, known).data)
    at = np.flatnonzero(inside)
    return {
        name: each.isel(record=at) if each.sizes.get("record") == count else each
        for name, each in held.items()
    }


def _same_records(what: str, ds: xr.Dataset, table: xr.Dataset) -> None:
    """Refuse a table of other records."""
    count, other = ds.sizes["record"], table.sizes.get("record", 0)
    if other != count:
        raise SchemaError(f"{what}: a table of {other} records beside {count}; expected the same")
    for name in _WHICH:
        if name in ds.coords and name in table.coords:
            mine, theirs = (np.asarray(each[name].values).astype(str) for each in (ds, table))
            if not np.array_equal(mine, theirs):
                raise SchemaError(f"{what}: a table of other records: {name} differs; make it anew")


_WHICH = ("file", "in_block", "in_slot")


def _with_more(ds: xr.Dataset, more: xr.Dataset) -> xr.Dataset:
    """Put features of a second table beside those of the first."""
    _same_records("more", ds, more)
    table = schema.FEATURE.check(more).reset_coords(drop=True)
    if "feature" in ds:
        own = schema.FEATURE.check(ds).reset_coords(drop=True)
        if twice := sorted({*own["name"].values} & {*table["name"].values}):
            raise SchemaError(f"more: {twice[0]} is in both tables; expected other names")
        table = xr.concat([own, table], dim="name")
    return ds.drop_dims("name", errors="ignore").assign(feature=table)
