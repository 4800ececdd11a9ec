"""Tables with a row a movie, joined to the movies.

It knows the names of movies and of channels; it knows nothing of stores. No pixel is touched.
"""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from dpipe import compute, schema

_SMALL = 16 << 20


def loaded(table: xr.Dataset) -> xr.Dataset:
    """Read a table of movies, unless it is large; one of events stays as it is."""
    if "movie" not in table.dims or table.nbytes > _SMALL:
        return table
    values = compute.compute(*(variable.data for variable in table.data_vars.values()))
    return table.assign(
        {
            name: (variable.dims, _plain(value), variable.attrs)
            for (name, variable), value in zip(table.data_vars.items(), values, strict=True)
        }
    )


def _plain(values: np.ndarray) -> np.ndarray:
    """Turn text of a store, of any length, into text that all of NumPy takes."""
    if values.dtype.kind != "T":
        return values
    return np.array(values.tolist(), str).reshape(values.shape)


def join(
    ds: xr.Dataset, stem: str, table: xr.Dataset, label: str
) -> tuple[xr.Dataset, list[str], list[str]]:
    """Give a part what a table says of its movie.

    Parameters
    ----------
    ds : xarray.Dataset
        A movie, what was made of one, or a table with a row a movie itself.
    stem : str
        Its name.
    table : xarray.Dataset
        Has the coordinate ``movie``, over the dim ``movie`` (a row each) or another one (any
        number of rows, such as events).
    label : str
        What the table is called in ``attrs``.

    Returns
    -------
    tuple of (xarray.Dataset, list of str, list of str)
        The part; the movies without a row; the movies whose channels are not as many as the row
        names. Both stand in ``attrs`` too. What the part has already stays as it is.
    """
    if "movie" in ds.dims:
        return _aligned(ds, table, label)
    rows = _find(table, stem)
    dim = str(table["movie"].dims[0])
    if not rows.size:
        return _noted(ds, "without_row", label), [stem], []
    if dim != "movie":
        kept = table.isel({dim: rows}).drop_attrs(deep=False)
        return ds.merge(kept, compat="override", combine_attrs="override"), [], []
    row = table.isel(movie=int(rows[0])).drop_attrs(deep=False)
    unlike: list[str] = []
    if schema.CONTENT.name in row and "c" in ds.dims:
        content = _channels(row[schema.CONTENT.name], ds.sizes["c"])
        if content is None:
            ds, unlike = _noted(ds, "channels_unlike_row", label), [stem]
        else:
            row = row.drop_dims("channel_number").assign_coords(content)
    scalars = [name for name, variable in row.data_vars.items() if not variable.dims]
    row = row.set_coords(scalars)
    return ds.merge(row, compat="override", combine_attrs="override"), [], unlike


def _find(table: xr.Dataset, stem: str) -> np.ndarray:
    """Return the rows of a movie: under its very name, else however that is spelled."""
    names = table["movie"].values.astype(str)
    exact = np.flatnonzero(names == stem)
    if exact.size:
        return exact
    alike = np.flatnonzero([schema.movie_key(name) == schema.movie_key(stem) for name in names])
    several = len(set(names[alike].tolist())) > 1
    return alike[:0] if several and "movie" in table.dims else alike


def _channels(content: xr.DataArray, count: int) -> dict[str, xr.DataArray] | None:
    """Return what each channel shows, "" unknown; None if the row names more channels."""
    texts = np.array(content.values.tolist(), str)
    named = int(np.flatnonzero(texts != "").max(initial=-1)) + 1
    if named > count:
        return None
    padded = np.full(count, "", dtype=texts.dtype)
    padded[: min(count, texts.size)] = texts[:count]
    return schema.CHANNEL_CONTENT.wrap(xr.DataArray(padded, dims="c"))


def _aligned(
    ds: xr.Dataset, table: xr.Dataset, label: str
) -> tuple[xr.Dataset, list[str], list[str]]:
    """Put the rows of two tables of movies side by side; a row that is not there is NaN or ""."""
    if table["movie"].dims != ("movie",):
        return _noted(ds, "without_row", label), ds["movie"].values.astype(str).tolist(), []
    movies = ds["movie"].values.astype(str).tolist()
    found = [_find(table, movie) for movie in movies]
    known = xr.DataArray([rows.size > 0 for rows in found], dims="movie")
    picked = table.isel(movie=[int(rows[0]) if rows.size else 0 for rows in found])
    picked = picked.drop_vars("movie").drop_attrs(deep=False)
    for name, variable in picked.data_vars.items():
        if "movie" in variable.dims and not known.all():
            nothing = "" if variable.dtype.kind in "UOT" else np.nan
            picked[name] = variable.where(known, nothing).assign_attrs(variable.attrs)
    missing = [movie for movie, rows in zip(movies, found, strict=True) if not rows.size]
    ds = ds.merge(picked, compat="override", combine_attrs="override")
    return (_noted(ds, "without_row", label) if missing else ds), missing, []


def _noted(ds: xr.Dataset, key: str, label: str) -> xr.Dataset:
    return ds.assign_attrs({key: [*ds.attrs.get(key, []), label]})


def said(label: str, total: int, without: Sequence[str], unlike: Sequence[str]) -> list[str]:
    """Say in a line each which movies have no row, and whose channels are not those of the row.

    Examples
    --------
    >>> said("table@1", 3, ["Neu3"], [])
    ['table@1: no row for 1 of 3 movies (Neu3); it stays without']
    """
    lines = []
    if without:
        stay = "it stays" if len(without) == 1 else "they stay"
        lines.append(f"{label}: no row for {_listed(without, total)}; {stay} without")
    if unlike:
        lines.append(
            f"{label}: more channels in the row than in the movie for {_listed(unlike, total)}; "
            "content stays by channel_number"
        )
    return lines


def _listed(movies: Sequence[str], total: int) -> str:
    more = ", ..." if len(movies) > 5 else ""
    return f"{len(movies)} of {total} movies ({', '.join(movies[:5])}{more})"
