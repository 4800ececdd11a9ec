"""Brightness of channels over many pictures: sums of each block, and what they come to together.

It knows sums that can be merged, of any selection of records and over any number of parts, and
the figures that follow from them. It does not know what the figures are good for.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import xarray as xr

from dpipe import schema
from dpipe.compute import beside, map_blocks, map_chunks, namespace
from dpipe.errors import InputError, SchemaError, UsageError
from dpipe.operators.pictures.mask_terms import Term, parse
from dpipe.operators.pictures.packed import channels, covered, mask_names, pieces, planes

_MOMENTS = ("number", "mean", "squares", "least", "largest")
_USUAL = (1.0, 5.0, 25.0, 50.0, 75.0, 95.0, 99.0)
_FIGURES = (
    schema.CHANNEL_PIXELS,
    schema.CHANNEL_MIN,
    schema.CHANNEL_MAX,
    schema.CHANNEL_MEAN,
    schema.CHANNEL_STD,
)


def channel_sums(
    ds: xr.Dataset,
    masks: xr.Dataset | None = None,
    *,
    inside: str | None = None,
    levels: int | None = None,
) -> xr.Dataset:
    """Sum up the pixels of each channel, block by block.

    Parameters
    ----------
    ds : xarray.Dataset
        A packed collection, or any selection of its records.
    masks : xarray.Dataset, optional
        Masks that take the place of those of `ds`: what ``segment-cells`` or ``derive-masks`` made
        of it.
    inside : str, optional
        Which pixels: ``"own"`` for those in the mask of their channel (where it is not 0, whatever
        the value), or a mask as
        ``derive-masks`` takes it, such as ``"dilate(CD3 & MHCII, 3)"``; by default all.
    levels : int, optional
        Grey values that a histogram holds, 0 to `levels` - 1: 4096 for pixels of 12 bits; by
        default all that the dtype has.

    Returns
    -------
    xarray.Dataset
        Lazy. Of unsigned pixels of at most 16 bits ``channel_histogram(block, c, level)``; of
        others ``channel_moments(block, c, moment)``: number, mean, sum of squared deviations,
        least and largest of the finite pixels, 0 where there are none. Pictures that were put
        aside do not count.

    Raises
    ------
    InputError
        While it is computed: a pixel beyond `levels`.
    SchemaError
        The Dataset is no packed collection, has no masks to be inside of, or `masks` are those of
        other pictures.
    UsageError
        A mask that cannot be read, or `levels` that are none.

    Examples
    --------
    >>> coords = {"c": ["Ch1"], "block": [0], "in_block": ("record", [0]),
    ...           "in_slot": ("record", [0]), "offset": ("record", [0]),
    ...           "height": ("record", [1]), "width": ("record", [4])}
    >>> pixels = np.array([[0, 2, 2, 3]], "u2")
    >>> packed = xr.Dataset({"pixels": (("block", "value"), pixels)}, coords)
    >>> channel_sums(packed, levels=4).channel_histogram.values.tolist()
    [[[1, 0, 2, 1]]]
    """
    pixels = schema.PIXELS.check(ds)
    if "c" not in ds.coords:
        raise SchemaError("a packed collection needs the coordinate c, the names of its channels")
    ds = covered(ds, masks)
    names = channels(ds)
    term: Term | None = None
    if inside is not None:
        schema.MASK_CODE.check(ds)
        term = None if inside == "own" else parse(inside, mask_names(ds))
    counted = pixels.dtype.kind == "u" and pixels.dtype.itemsize <= 2
    if levels is not None and (type(levels) is not int or not 0 < levels <= 1 << 16):
        raise UsageError(f"levels: found {levels!r}; expected 1 to 65536 grey values")
    if levels is not None and not counted:
        raise UsageError(f"levels: these pixels are {pixels.dtype}; only uint8 and uint16 have any")
    options: dict[str, Any] = {
        "need": ("pixels",) if inside is None else ("pixels", "mask_code"),
        "names": tuple(names),
        "term": term,
    }
    along = {"c": np.array(names, dtype=str)}
    if counted:
        span = levels or 1 << 8 * pixels.dtype.itemsize
        sizes = {"c": len(names), "level": span}
        sums = map_blocks(_histogram, ds, sizes=sizes, dtype="u4", levels=span, **options)
        return xr.Dataset(schema.CHANNEL_HISTOGRAM.wrap(sums.assign_coords(along)))
    sizes = {"c": len(names), "moment": len(_MOMENTS)}
    sums = map_blocks(_moments, ds, sizes=sizes, dtype="f8", **options).assign_coords(along)
    return xr.Dataset(
        schema.CHANNEL_MOMENTS.wrap(sums), coords={"moment": np.array(_MOMENTS, dtype=str)}
    )


def channel_statistics(
    tree: xr.DataTree, *, percentiles: Sequence[float] | None = None
) -> xr.Dataset:
    """Say how bright each channel is over all pictures of all parts.

    Parameters
    ----------
    tree : xarray.DataTree
        One child per part, each what `channel_sums` returns, or a packed collection, which is
        summed so with its defaults; a single Dataset will do.
    percentiles : sequence of float, optional
        From 0 to 100, between two pixels in proportion, as NumPy's default. They need histograms;
        with these by default 1, 5, 25, 50, 75, 95 and 99, else none.

    Returns
    -------
    xarray.Dataset
        Lazy, over ``c``: ``channel_pixels`` (how many), ``channel_min``, ``channel_max``,
        ``channel_mean``, ``channel_std`` (ddof 0) and ``channel_percentile(c, percentile)``; NaN
        without pixels. From histograms they are those of all pixels at once; the order of parts
        and blocks does not matter.

    Raises
    ------
    SchemaError
        No child, children of unlike channels, levels or kinds, or one that is none; the text names
        it.
    UsageError
        Percentiles that are none, or asked of pixels without a histogram.

    Examples
    --------
    >>> sums = xr.DataArray([[[1, 0, 2, 1]]], dims=("block", "c", "level"))
    >>> sums = xr.Dataset({"channel_histogram": sums.astype("u4")}, {"c": ["Ch1"]})
    >>> found = channel_statistics(sums, percentiles=[50])
    >>> found.channel_mean.values, found.channel_percentile.values  # of 0, 2, 2 and 3
    (array([1.75]), array([[2.]]))
    """
    sums = _children(tree)
    kind = next(iter(sums.values())).name
    percents = _percentiles(percentiles, kind)
    arrays = [array.reset_coords(drop=True) for array in sums.values()]
    first = arrays[0]
    options: dict[str, Any] = {
        "sizes": {"c": first.sizes["c"], "figure": len(_FIGURES) + len(percents)},
        "dtype": "f8",
    }
    if kind == schema.CHANNEL_HISTOGRAM.name:
        pieces_of = [array.astype(np.int64).sum("block") for array in arrays]
        counts = sum(pieces_of[1:], start=pieces_of[0])
        core = ("c", "level")
        figures = map_chunks(
            _of_histogram, counts, core=core, percentiles=tuple(percents), **options
        )
    else:
        parts = [array.drop_vars("block", errors="ignore") for array in arrays]
        moments = xr.concat(parts, dim="block")
        figures = map_chunks(_of_moments, moments, core=("block", "c", "moment"), **options)
    figures = figures.reset_coords(drop=True)
    figures = figures.assign_coords(c=first["c"].values)
    result: dict[str, xr.DataArray] = {}
    for i, variable in enumerate(_FIGURES):
        column = figures.isel(figure=i)
        whole = "f" not in variable.kinds
        result |= variable.wrap(column.astype(np.uint64) if whole else column)
    if percents:
        quantiles = figures.isel(figure=slice(len(_FIGURES), None)).rename(figure="percentile")
        quantiles = quantiles.assign_coords(percentile=np.array(percents, float))
        result |= schema.CHANNEL_PERCENTILE.wrap(quantiles)
    return xr.Dataset(result)


def _children(tree: xr.DataTree | xr.Dataset) -> dict[str, xr.DataArray]:
    """Return the sums of each part, all of one kind."""
    if isinstance(tree, xr.Dataset):
        parts = {"data": tree}
    else:
        parts = {str(stem): child.to_dataset() for stem, child in tree.children.items()}
    if not parts:
        raise SchemaError("channel statistics need one child per part; the tree has none")
    children: dict[str, xr.DataArray] = {}
    for stem, ds in parts.items():
        variables = [v for v in (schema.CHANNEL_HISTOGRAM, schema.CHANNEL_MOMENTS) if v.name in ds]
        try:
            sums = ds if variables else channel_sums(ds)
            variable = (
                variables[0] if variables else schema.named(next(iter(sums.data_vars.values())))
            )
            children[stem] = variable.check(sums)  # type: ignore[union-attr]
        except SchemaError as error:
            raise SchemaError(f"{stem}: {error}") from error
    first = next(iter(children))
    for stem, array in children.items():
        facts, expected = (
            (a.name, a.shape[2], [str(n) for n in a["c"].values]) for a in (array, children[first])
        )
        if facts != expected:
            raise SchemaError(
                f"{stem}: {facts[0]} of {facts[1]} {array.dims[2]}s and the channels "
                f"{', '.join(facts[2])}; {first} has {expected[0]} of {expected[1]} and "
                f"{', '.join(expected[2])}"
            )
    return children


def _percentiles(percentiles: Any, kind: Any) -> list[float]:
    exact = kind == schema.CHANNEL_HISTOGRAM.name
    if percentiles is None:
        return list(_USUAL) if exact else []
    listed = list(percentiles) if isinstance(percentiles, list | tuple) else [percentiles]
    for value in listed:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not 0 <= value <= 100:
            raise UsageError(f"percentiles: found {value!r}; expected numbers from 0 to 100")
    if listed and not exact:
        raise UsageError(
            "percentiles need the histograms of uint8 or uint16 pixels; rescale-intensity with "
            "dtype uint16 makes such"
        )
    return [float(value) for value in listed]


def _values(
    pixels: Any, codes: Any, table: tuple[Any, Any, Any], *, total: int, term: Term | None
) -> Iterator[Any]:
    """Yield, channel by channel, the pixels that count, of all pictures of a block."""
    xp = namespace(pixels)
    spans = list(pieces(*table))
    read = [] if codes is None else [xp.reshape(codes[place], shape) for place, shape in spans]
    masks = read if term is None else [term(code) for code in read]
    for k in range(total):
        flat = [planes(pixels, place, shape, total)[k, ...] for place, shape in spans]
        if codes is None:
            flat = [xp.reshape(plane, (-1,)) for plane in flat]
        elif term is None:
            flat = [p[(code & (1 << k)) != 0] for p, code in zip(flat, masks, strict=True)]
        else:
            flat = [p[mask] for p, mask in zip(flat, masks, strict=True)]
        yield xp.concat(flat)


def _histogram(
    pixels: Any,
    codes: Any,
    offsets: Any,
    heights: Any,
    widths: Any,
    *,
    levels: int,
    names: tuple[str, ...],
    term: Term | None,
) -> Any:
    xp = namespace(pixels)
    rows = []
    every = _values(pixels, codes, (offsets, heights, widths), total=len(names), term=term)
    for name, values in zip(names, every, strict=True):
        if values.shape[0] and int(xp.max(values)) >= levels:
            raise InputError(
                f"{name}: a pixel of {int(xp.max(values))}; levels={levels} holds 0 to {levels - 1}"
            )
        if hasattr(xp, "bincount"):
            counts = xp.bincount(values, minlength=levels)
        else:  # not every array library counts; all can sort
            edges = xp.arange(levels + 1, dtype=xp.int64, **beside(values))
            ordered = xp.sort(xp.astype(values, xp.int64))
            counts = xp.diff(xp.searchsorted(ordered, edges))
        rows.append(counts)
    return xp.stack(rows)


def _moments(
    pixels: Any,
    codes: Any,
    offsets: Any,
    heights: Any,
    widths: Any,
    *,
    names: tuple[str, ...],
    term: Term | None,
) -> Any:
    xp = namespace(pixels)
    out = xp.zeros((len(names), len(_MOMENTS)), dtype=xp.float64, **beside(pixels))
    every = _values(pixels, codes, (offsets, heights, widths), total=len(names), term=term)
    for k, read in enumerate(every):
        values = xp.astype(read, xp.float64)
        values = values[xp.isfinite(values)]
        if values.shape[0]:
            least, largest = xp.min(values), xp.max(values)
            # the mean of equal values is rounded, and then they would have a deviation
            mean = xp.where(least == largest, least, xp.mean(values))
            deviation = values - mean
            out[k, 0] = float(values.shape[0])
            out[k, 1], out[k, 2] = mean, xp.sum(deviation * deviation)
            out[k, 3], out[k, 4] = least, largest
    return out


def _of_histogram(counts: Any, *, percentiles: tuple[float, ...]) -> Any:
    """Return the figures of (c, level) and the percentiles, a row a channel."""
    xp = namespace(counts)
    grey = xp.arange(counts.shape[1], dtype=xp.float64, **beside(counts))
    rows = []
    for k in range(counts.shape[0]):
        below = xp.cumulative_sum(counts[k, :])
        number = int(below[-1])
        if not number:
            rows.append([0.0] + [math.nan] * (len(_FIGURES) - 1 + len(percentiles)))
            continue
        ranks: list[float] = [0.0, number - 1.0, *((number - 1) * p / 100 for p in percentiles)]
        ends = [end for rank in ranks for end in (math.floor(rank), math.ceil(rank))]
        where = xp.asarray(ends, dtype=below.dtype, **beside(below))
        levels = [int(level) for level in xp.searchsorted(below, where, side="right")]
        values = [
            low + (high - low) * (rank - math.floor(rank))
            for rank, low, high in zip(ranks, levels[::2], levels[1::2], strict=True)
        ]
        share = xp.astype(counts[k, :], xp.float64)
        mean = float(xp.sum(share * grey)) / number
        spread = math.sqrt(float(xp.sum(share * (grey - mean) ** 2)) / number)
        rows.append([float(number), *map(float, values[:2]), mean, spread, *values[2:]])
    return xp.asarray(rows, dtype=xp.float64, **beside(counts))


def _of_moments(moments: Any) -> Any:
    """Return the figures of (block, c, moment), a row a channel."""
    xp = namespace(moments)
    number, mean, squares, least, largest = (moments[:, :, i] for i in range(len(_MOMENTS)))
    total = xp.sum(number, axis=0)
    nonempty = total > 0
    nothing = xp.full_like(total, math.nan)
    over = xp.where(nonempty, total, xp.ones_like(total))
    far = xp.full_like(least, math.inf)
    low = xp.min(xp.where(number > 0, least, far), axis=0)
    high = xp.max(xp.where(number > 0, largest, -far), axis=0)
    middle = xp.where(low == high, low, xp.sum(number * mean, axis=0) / over)
    scatter = squares + number * (mean - middle[None, :]) ** 2
    spread = xp.sqrt(xp.sum(scatter, axis=0) / over)
    figures = [xp.where(nonempty, f, nothing) for f in (low, high, middle, spread)]
    return xp.stack([total, *figures], axis=1)
