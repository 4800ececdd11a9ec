"""Labels of an OME-Zarr image: which are read along, whether they fit, and what is left out.

Labels become unsigned integers. They are lazy, so what they hold is looked at block by block when
they are computed: a value that is no object number is an error then, never another number.
"""

from functools import partial
from typing import NamedTuple

import numpy as np
import xarray as xr

from dpipe import schema
from dpipe.errors import InputError
from dpipe.formats.containers import folders_below, read_attributes
from dpipe.metadata import ngff
from dpipe.readers.ome_zarr.arrays import listed, look_at, open_level

_DIMS = schema.LABELS.dims
_HALF = 0.5 + 1e-6
"""Of a voxel: so far do pyramids of two programs stray, of which one names corners."""


class Grid(NamedTuple):
    """The image that labels belong to, and how they are to be read.

    Attributes
    ----------
    uri, path : str
        The container, and the image in it.
    level : int
        Its level.
    how : ngff.Reading
        What a person says over the metadata.
    fill : bool
        Whether missing chunks hold the fill value.
    background : int
        The value that is no object.
    """

    uri: str
    path: str
    level: int
    how: ngff.Reading
    fill: bool
    background: int


def with_labels(ds: xr.Dataset, grid: Grid, choice: str | None) -> xr.Dataset:
    """Add the labels of a choice, or the only ones if they fit; say what is left out."""
    try:
        names = listed(grid.uri, f"{grid.path}/labels".strip("/"), "labels")
    except InputError as error:
        if choice is not None:
            raise
        return _noted(ds, [f"labels left out: {error}"])
    unlisted = [] if names else folders_below(grid.uri, f"{grid.path}/labels".strip("/"))
    if unlisted and choice is None:
        line = f"labels left out: {', '.join(map(repr, unlisted))}, which no list names"
        return _noted(ds, [f"{line}; option labels=NAME reads one of them"])
    names = names or unlisted
    elsewhere = choice is not None and "/" in choice and choice not in names
    if choice is not None and choice not in names and not elsewhere:
        raise InputError(f"no labels {choice!r}. Found: {', '.join(names) or 'none'}")
    if choice is None and len(names) > 1:
        line = (
            f"labels left out: {', '.join(map(repr, names))}; option labels=NAME reads one of them"
        )
        return _noted(ds, [line])
    if not names and not elsewhere:
        return ds
    name = choice or names[0]
    path = (name if elsewhere else f"{grid.path}/labels/{name}").strip("/")
    try:
        image, level, strays = _fitting(ds, grid, path, asked=choice is not None)
    except InputError as error:
        if choice is not None:
            raise InputError(f"labels {name!r} {error}") from error
        return _noted(ds, [f"labels {name!r} left out: they {error}"])
    try:
        pixels = open_level(grid.uri, path, image, level, fill=grid.fill)
    except InputError as error:
        raise InputError(f"labels {name!r}: {error}; option labels=none leaves them out") from error
    labels = pixels.array.isel(c=0, drop=True)
    notes = [f"labels {name!r}: {pixels.holes}; read as the fill value"] if pixels.holes else []
    if strays := strays or _unsized(image):
        notes.append(f"labels {name!r} {strays}; they are taken to lie as the image does")
    if labels.dtype.kind != "u":
        labels = _unsigned(labels, grid, name)
        if grid.background:
            notes.append(f"labels {name!r}: {grid.background} is read as 0, no object")
    coords = {dim: ds.coords[dim] for dim in _DIMS}
    return _noted(ds.merge(schema.LABELS.wrap(labels.assign_coords(coords))), notes)


def _noted(ds: xr.Dataset, lines: list[str]) -> xr.Dataset:
    notes = [*ds.attrs.get("notes", ()), *lines]
    return ds.assign_attrs(notes=notes) if notes else ds


def _fitting(
    ds: xr.Dataset, grid: Grid, path: str, *, asked: bool
) -> tuple[ngff.Multiscale, int, str]:
    """Find the level of labels that has the image's size and place; what strays, if asked for."""
    how = grid.how._replace(
        axes=None, system=grid.how.system if grid.how.system == ngff.NONE else None
    )
    (image, *more) = ngff.read(read_attributes(grid.uri, path), how)
    if more:
        raise InputError(f"are {1 + len(more)} images in one group; dpipe reads one")
    levels = sorted(range(len(image.levels)), key=lambda level: level != grid.level)
    expected = tuple(1 if dim == "c" else ds.sizes[dim] for dim in schema.MOVIE_DIMS)
    looks = {level: look_at(grid.uri, path, image, level) for level in levels}
    fits = [level for level in levels if looks[level][0] == expected]
    if not fits:
        have = " or ".join(str(looks[level][0]) for level in sorted(levels))
        raise InputError(
            f"are (t, c, z, y, x) = {have}; the image is {expected} at its level {grid.level}"
        )
    strayed = {level: _strays(ds, looks[level][1], image) for level in fits}
    level = next((level for level in fits if not strayed[level]), fits[0])
    dtype = looks[level][2]
    if strayed[level] and not asked:
        raise InputError(strayed[level] + "; option labels=NAME reads them all the same")
    if dtype.kind == "f" and not asked:
        raise InputError(f"are {dtype}; option labels=NAME reads them if all are whole numbers")
    return image, level, strayed[level]


def _sized(image: ngff.Multiscale, dim: str) -> bool:
    """Tell whether labels say a size along an axis; by the rules 1 without a unit says none."""
    unsaid = {axis for axis, *_ in image.unsaid}
    return dim in image.axes and not (
        dim in unsaid and image.levels[0].scale[image.axes.index(dim)] == 1
    )


def _unsized(image: ngff.Multiscale) -> str:
    """Say along which axes labels have no size; "" for none."""
    without = [dim for dim in _DIMS if dim in image.axes and not _sized(image, dim)]
    return f"say no size along {', '.join(without)}" if without else ""


def _strays(ds: xr.Dataset, facts: schema.MovieFacts, image: ngff.Multiscale) -> str:
    """Say along which axes labels begin or end elsewhere than the image; "" for none."""
    apart = []
    for dim in _DIMS:
        if not _sized(image, dim):
            continue
        step, places = schema.spacing(ds, dim), ds[dim].values
        if dim == "t":
            ends = np.asarray(facts["times"])[[0, -1]]
        else:
            axis = schema.SPACE_DIMS.index(dim)
            first, spacing = facts["origin"][axis], facts["spacing"][axis]
            ends = np.array([first, first + spacing * (len(places) - 1)])
        if np.abs(ends - places[[0, -1]]).max() > _HALF * step:
            apart.append(f"{dim} from {ends[0]:g} to {ends[1]:g}, the image from {places[0]:g} to "
                         f"{places[-1]:g}")  # fmt: skip
    return f"say another place: {'; '.join(apart)}" if apart else ""


def _unsigned(labels: xr.DataArray, grid: Grid, name: str) -> xr.DataArray:
    """Return labels as unsigned integers, looked at when they are computed."""
    dtype = np.dtype(f"u{labels.dtype.itemsize}")
    where = grid.uri.rpartition("/")[2]
    cast = partial(_cast, name=name, where=where, background=grid.background, dtype=dtype)
    meta = np.empty((0,) * labels.ndim, dtype)
    return labels.copy(data=labels.data.map_blocks(cast, dtype=dtype, meta=meta))


def _cast(
    block: np.ndarray, *, name: str, where: str, background: int, dtype: np.dtype
) -> np.ndarray:
    """Return a block of object numbers, or refuse what is none."""
    numbers = np.where(block == background, block.dtype.type(0), block) if background else block
    what = f"{where}: labels {name!r} hold"
    if block.dtype.kind == "f":
        exact = 2 ** (np.finfo(block.dtype).nmant + 1)
        odd = numbers[
            ~np.isfinite(numbers) | (numbers != np.floor(numbers)) | (np.abs(numbers) > exact)
        ]
        if odd.size:
            raise InputError(
                f"{what} {odd[0]:g}, {odd.size} such in a block; expected whole numbers up to "
                f"{exact}; option labels=none leaves them out"
            )
    if numbers.size and (least := int(numbers.min())) < 0:
        way = f"option background={least} reads it as no object, " * (not background)
        also = f" besides the background, {background}" * bool(background)
        raise InputError(
            f"{what} {least}{also}, which is no object number; {way}option labels=none leaves them "
            "out"
        )
    return numbers.astype(dtype)
