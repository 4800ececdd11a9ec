"""Gates: named expressions over features and metadata, and the rows that are inside.

It knows how gates are named and kept with the table, and what goes with a row that is chosen; how
an expression is read stands in ``_expressions.py``. It does not know what a good limit is.
"""

from collections.abc import Mapping

import numpy as np
import xarray as xr

from dpipe import schema
from dpipe.compute import compute
from dpipe.errors import SchemaError, UsageError
from dpipe.expressions import evaluate, row_dim
from dpipe.operators.tables.identities import sound

__all__ = ["gate", "row_dim", "select", "select_alike", "without_aside"]


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
    inside: dict[str, xr.DataArray] = {}
    for name, text in gates.items():
        if not str(name).strip() or str(name) in taken:
            raise UsageError(f"gate {name!r}: expected a name that records do not have already")
        try:
            inside[str(name)] = evaluate(text, ds, inside)
        except UsageError as error:
            raise UsageError(f"gate {name!r}: {error}") from error
    whole = xr.concat(list(inside.values()), dim="gate_name")
    of_records = {n: c for n, c in ds.coords.items() if c.dims == ("record",)}
    coords = of_records | {"gate_name": ("gate_name", np.array(list(inside), dtype=str))}
    attrs = {"expressions": [f"{name}: {text}" for name, text in gates.items()]}
    return xr.Dataset(schema.GATE.wrap(whole.assign_coords(coords)), attrs=attrs)


def select(ds: xr.Dataset, where: str, table: xr.Dataset | None = None) -> xr.Dataset:
    """Choose the rows for which an expression is true: records, events, spots, tracks, ...

    Parameters
    ----------
    ds : xarray.Dataset
        Packed pictures, pictures of one size, crops, or a table.
    where : str
        A gate's name, or an expression as for `gate`. Its names say among which rows it chooses:
        those of ``label == 1 and organ == 'lung'`` among the events of crops. What is known of
        the whole part, such as ``organ``, is the same for all its rows.
    table : xarray.Dataset, optional
        Over the same rows: gates, features, or splits that `ds` does not hold itself. What is
        known of a row is taken from `ds`, features and gates from here.

    Returns
    -------
    xarray.Dataset
        Those rows, lazy; what the expression needs is computed. Rows of other kinds stay, but
        for the vertices and triangles of surfaces and the spots of tracks, which go with them.

    Raises
    ------
    SchemaError
        There are no rows, or `table` is of other rows.
    UsageError
        The expression cannot be read, has an unknown name, or names of rows of two kinds; or a
        tree was given.

    Examples
    --------
    >>> ds = xr.Dataset({"n": ("record", [1, 2, 3])}, {"donor": ("record", ["a", "b", "b"])})
    >>> select(ds, "donor == 'b' and n > 2").n.values.tolist()
    [3]
    """
    if isinstance(ds, xr.DataTree):
        raise UsageError(
            f"select takes one part; of a tree: dpipe.each(tree, dpipe.select, where={where!r})"
        )
    return select_alike({"": ds}, where, table)[""]


def select_alike(
    datasets: Mapping[str, xr.Dataset], where: str, table: xr.Dataset | None = None
) -> dict[str, xr.Dataset]:
    """Choose rows of the first of some Datasets, and the same of those that go with it.

    Parameters
    ----------
    held : mapping of str to xarray.Dataset
        The first as for `select`; of the others, those of as many rows are of the same ones.
    where, table
        As for `select`.

    Returns
    -------
    dict of str to xarray.Dataset
        All of them, by the same names.

    Raises
    ------
    SchemaError, UsageError
        As `select`, or another one has as many rows of other names.
    """
    ds = next(iter(datasets.values()))
    labelled, dim = ds, row_dim(where, ds, *([] if table is None else [table]))
    if table is not None:
        _same_rows(f"where={where!r}", ds, table, dim)
        of_rows = {name for name, v in ds.variables.items() if v.dims == (dim,)}
        labels = table.drop_vars(of_rows & set(table.variables))  # labels may have come since
        labelled = labels.merge(ds.drop_vars(set(labels.variables) & set(ds.variables)))
    count = ds.sizes[dim]
    (inside,) = compute(evaluate(where, labelled, dim=dim).data)
    rows = np.flatnonzero(inside)
    others = [member for member in datasets.values() if member.sizes.get(dim) == count]
    for other in others[1:]:
        _same_rows(f"where={where!r}", ds, other, dim)
    return {
        name: _taken(member, dim, rows) if member.sizes.get(dim) == count else member
        for name, member in datasets.items()
    }


def _taken(ds: xr.Dataset, dim: str, rows: np.ndarray) -> xr.Dataset:
    """Take some rows, and what hangs on them."""
    taken = ds.isel({dim: rows})
    if dim == "surface":
        for name, inner in ((schema.VERTEX_COUNT.name, "vertex"), (schema.FACE_COUNT.name, "face")):
            if name in ds.variables and inner in ds.dims:
                counts = np.asarray(ds[name].values)
                owner = np.repeat(np.arange(counts.size), counts)
                taken = taken.isel({inner: np.flatnonzero(np.isin(owner, rows))})
    if dim == "track_id" and {"track_id", "track"} <= set(ds.coords) and "spot" in ds.dims:
        tracks = set(zip(*_tracks(taken, "track_id", "track_annotator"), strict=True))
        spots = zip(*_tracks(ds, "track", "annotator"), strict=True)
        taken = taken.isel(spot=np.flatnonzero([spot in tracks for spot in spots]))
    return taken


def _tracks(ds: xr.Dataset, number: str, person: str) -> tuple[list[int], list[str]]:
    """Return the track of each row, and whose it is where that is known."""
    numbers = ds[number].values.tolist()
    by_person = {"annotator", "track_annotator"} <= set(ds.coords)
    return numbers, ds[person].values.astype(str).tolist() if by_person else [""] * len(numbers)


def without_aside(ds: xr.Dataset) -> tuple[xr.Dataset, int]:
    """Leave out the records whose picture was put aside: they hold zeros or NaN.

    Parameters
    ----------
    ds : xarray.Dataset
        Any; one without records stays as it is.

    Returns
    -------
    tuple of (xarray.Dataset, int)
        The others, lazy, and how many were left out.

    Examples
    --------
    >>> ds = xr.Dataset({"n": ("record", [1, 0])}, {"put_aside": ("record", ["", "damaged"])})
    >>> found, count = without_aside(ds)
    >>> found.n.values.tolist(), count
    ([1], 1)
    """
    if "record" not in ds.dims:
        return ds, 0
    good = sound(ds)
    if schema.HEIGHT.name in ds.coords:
        good &= np.asarray(ds[schema.HEIGHT.name].values > 0, dtype=bool)
    count = int((~good).sum())
    return (_taken(ds, "record", np.flatnonzero(good)) if count else ds), count


def _same_rows(what: str, ds: xr.Dataset, table: xr.Dataset, dim: str = "record") -> None:
    """Refuse a table of other rows."""
    count, other = ds.sizes[dim], table.sizes.get(dim, 0)
    if other != count:
        raise SchemaError(f"{what}: a table of {other} {dim}s beside {count}; expected the same")
    for name in _WHICH if dim == "record" else (dim,):
        if name in ds.coords and name in table.coords:
            mine, theirs = (np.asarray(dataset[name].values).astype(str) for dataset in (ds, table))
            if not np.array_equal(mine, theirs):
                raise SchemaError(f"{what}: a table of other {dim}s: {name} differs; make it anew")


_WHICH = ("file", "in_block", "in_slot")


def _with_more(ds: xr.Dataset, more: xr.Dataset) -> xr.Dataset:
    """Put features of a second table beside those of the first."""
    _same_rows("more", ds, more)
    table = schema.FEATURE.check(more).reset_coords(drop=True)
    if "feature" in ds:
        features = schema.FEATURE.check(ds).reset_coords(drop=True)
        if twice := sorted({*features["name"].values} & {*table["name"].values}):
            raise SchemaError(f"more: {twice[0]} is in both tables; expected other names")
        table = xr.concat([features, table], dim="name")
    return ds.drop_dims("name", errors="ignore").assign(feature=table)
