"""Light of one channel's dye taken out of the others, by the inverse of a spillover matrix.

It knows which entries of a matrix belong to which channels, by their names alone, and how the
inverse is applied. It does not know how matrices are measured or stored.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from dpipe import schema
from dpipe.compute import beside, map_blocks, namespace
from dpipe.errors import InputError, SchemaError, UsageError, unknown
from dpipe.operators.pictures.packed import cast, flags, layout, pieces, pixel_dtype, planes
from dpipe.operators.pictures.packed import channels as channels_of

_WORST_CONDITION = 1e6


def compensate(
    ds: xr.Dataset,
    matrices: xr.DataTree,
    *,
    matrix: str | Mapping[str, str] | None = None,
    by: str = "experiment",
    channels: Mapping[str, str | None] | None = None,
    dtype: str = "float32",
) -> xr.Dataset:
    """Undo the spillover between the channels of pictures.

    A detector sees a mixture of sources, measured = S true at each pixel, S[detector, source];
    the result is S^-1 measured, worked out in float64. Of a matrix with more channels than the
    pictures have, the lines and columns of theirs are taken first: what a source that was not
    recorded adds is not known.

    Parameters
    ----------
    ds : xarray.Dataset
        A packed collection, or any selection of its records.
    matrices : xarray.DataTree
        ``spillover(detector, source)`` in each child; a single Dataset will do, without `matrix`.
    matrix : str or mapping, optional
        Which child: its name, or for each value of the coordinate `by` the name of one. By default
        the only one, else the one that is named as that value.
    by : str
        Coordinate over the records that tells which matrix holds; it has one value in a part.
    channels : mapping, optional
        For channels of the pictures, what the matrix calls them; None leaves a channel as it is.
        A channel that is not named here has the same name in the matrix.
    dtype : str
        Of the result; whole numbers are rounded half to even and clipped to what it holds, and NaN
        is 0 among them.

    Returns
    -------
    xarray.Dataset
        Lazy ``pixels(block, value)`` laid out as those of `ds`, with its coordinates and
        ``picture_flag``; pictures that are not in the selection are 0. Values below 0 are kept.

    Raises
    ------
    InputError
        While it is computed: the matrix has no inverse that could be trusted (its condition number
        is above a million).
    SchemaError
        The Dataset is no packed collection, or a child is no matrix.
    UsageError
        A channel that cannot be placed, two in one place, or no telling which matrix holds.

    Notes
    -----
    Subtract a camera's offset first where there is one: it is no light.

    References
    ----------
    .. [1] C. B. Bagwell, E. G. Adams, Ann. N. Y. Acad. Sci. 677 (1993) 167-184.

    Examples
    --------
    >>> coords = {"c": ["a", "b"], "block": [0], "in_block": ("record", [0]),
    ...           "in_slot": ("record", [0]), "offset": ("record", [0]),
    ...           "height": ("record", [1]), "width": ("record", [2])}
    >>> packed = xr.Dataset({"pixels": (("block", "value"), [[100, 0, 20, 10]])}, coords)
    >>> names = {"detector": ["a", "b"], "source": ["a", "b"]}
    >>> shares = xr.Dataset({"spillover": (("detector", "source"), [[1, 0], [0.2, 1]])}, names)
    >>> compensate(packed, shares).pixels.values.tolist()
    [[100.0, 0.0, 0.0, 10.0]]
    """
    coords = layout(ds)
    pixels = schema.PIXELS.check(ds)
    names = channels_of(ds)
    kind = pixel_dtype(dtype)
    stem, dataset = _choose(ds, matrices, matrix, by)
    shares = schema.SPILLOVER.check(dataset)
    if not isinstance(channels, Mapping | None):
        raise UsageError(
            f"channels: found {channels!r}; expected by channel what the matrix calls it"
        )
    at, lines, columns = _placed(names, channels or {}, shares, stem)
    compensated = map_blocks(
        _compensate,
        ds,
        sizes={"value": int(pixels.sizes["value"])},
        dtype=kind,
        need=("pixels",),
        whole={"shares": shares.isel(detector=lines, source=columns).astype(np.float64)},
        at=tuple(at),
        total=len(names),
        kind=kind.name,
        stem=stem,
    )
    return xr.Dataset(schema.PIXELS.wrap(compensated) | flags(ds), coords=coords)


def _choose(
    ds: xr.Dataset, matrices: xr.DataTree, matrix: str | Mapping[str, str] | None, by: str
) -> tuple[str, xr.Dataset]:
    """Return the matrix that holds for a part, and its name."""
    if not isinstance(matrix, str | Mapping | None):
        raise UsageError(f"matrix: found {matrix!r}; expected a name, or one by each {by}")
    if isinstance(matrices, xr.Dataset):
        if matrix is not None:
            raise UsageError(f"matrix: found {matrix!r} beside a single matrix; leave it out")
        return "matrix", matrices
    children = {str(stem): child.to_dataset() for stem, child in matrices.children.items()}
    if not children:
        raise SchemaError("compensation needs a spillover matrix; the tree has none")
    if isinstance(matrix, str):
        stem = matrix
    elif matrix is None and len(children) == 1:
        stem = next(iter(children))
    else:
        value = _one_value(ds, by)
        if matrix and value not in matrix:
            raise UsageError(f"matrix: {unknown(by, value, matrix)}")
        stem = str(matrix[value]) if matrix else value
    if stem not in children:
        raise UsageError(f"matrix: {unknown('spillover matrix', stem, children)}")
    return stem, children[stem]


def _one_value(ds: xr.Dataset, by: str) -> str:
    if by not in ds.coords or ds[by].dims != ("record",):
        over = [str(name) for name, coord in ds.coords.items() if coord.dims == ("record",)]
        raise UsageError(f"by: {unknown('coordinate over record', by, over)}")
    values = sorted(set(np.asarray(ds[by].values).astype(str).tolist()))
    if len(values) != 1:
        raise UsageError(
            f"by: {by} has {len(values)} values here ({', '.join(values[:5])}); expected one, to "
            "tell which matrix holds: name it by matrix="
        )
    return values[0]


def _placed(
    names: Sequence[str], aliases: Mapping[str, str | None], shares: xr.DataArray, stem: str
) -> tuple[list[int], list[int], list[int]]:
    """Return the places of compensated channels, and their lines and columns in the matrix."""
    for name in aliases:
        if name not in names:
            raise UsageError(f"channels: {unknown('channel', name, names)}")
    lines, columns = ([str(name) for name in shares[dim].values] for dim in ("detector", "source"))
    common = [name for name in lines if name in columns]
    placed: dict[str, str] = {}
    for name in names:
        called = aliases.get(name, name)
        if called is None:
            continue
        if called not in common:
            what = name if called == name else f"{name} as {called}"
            raise UsageError(
                f"channel {what} has no place in {stem}; say what the matrix calls it by "
                f"channels={{{name!r}: ...}}, or None to leave it as it is. Known: "
                f"{', '.join(common) or 'none'}"
            )
        if called in placed.values():
            other = next(key for key, value in placed.items() if value == called)
            raise UsageError(f"channels {other} and {name} are both {called} of {stem}")
        placed[name] = called
    places = [names.index(name) for name in placed]
    called_so = list(placed.values())
    return places, [lines.index(n) for n in called_so], [columns.index(n) for n in called_so]


def _compensate(
    pixels: Any,
    _: Any,
    offsets: Any,
    heights: Any,
    widths: Any,
    *,
    shares: np.ndarray,
    at: tuple[int, ...],
    total: int,
    kind: str,
    stem: str,
) -> Any:
    xp = namespace(pixels)
    undo = xp.asarray(_inverse(shares, stem), **beside(pixels))
    chosen = xp.asarray(at, dtype=xp.int64, **beside(pixels))
    out = xp.zeros(pixels.shape, dtype=getattr(xp, kind), **beside(pixels))
    for place, shape in pieces(offsets, heights, widths):
        size = shape[0] * shape[1]
        seen = xp.astype(planes(pixels, place, shape, total), xp.float64)
        seen = xp.reshape(seen, (total, size))
        true = undo @ xp.take(seen, chosen, axis=0)
        for k in range(total):
            plane = true[at.index(k), :] if k in at else seen[k, :]
            start = place.start * total + k * size
            out[start : start + size] = cast(plane, kind)
    return out


def _inverse(shares: np.ndarray, stem: str) -> np.ndarray:
    sound = np.isfinite(shares).all()
    condition = np.linalg.cond(shares) if sound and shares.size else 1.0 if sound else np.inf
    if not condition <= _WORST_CONDITION:
        raise InputError(
            f"{stem}: no inverse to trust (condition number {condition:.3g}); expected at most "
            f"{_WORST_CONDITION:.0e}: check the matrix, or which channels it is given for"
        )
    return np.linalg.inv(shares)
