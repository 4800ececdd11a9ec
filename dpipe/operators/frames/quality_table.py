"""Quality of movies: one line each, from the quality of their frames.

It knows how the Leuko-Death study averages over frames and channels and puts movies on a common
scale. It does not know how a frame is measured.
"""

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import xarray as xr

from dpipe import schema
from dpipe.compute import beside, map_chunks, namespace
from dpipe.errors import SchemaError, UsageError

_FRAME = (
    schema.FRAME_SNR,
    schema.FRAME_PSNR,
    schema.FRAME_SNR_WIENER,
    schema.FRAME_CONTRAST_TO_NOISE,
    schema.FRAME_SPECTRAL_TAIL,
    schema.FRAME_MEAN,
    schema.FRAME_SATURATED,
    schema.FRAME_FOCUS,
    schema.QUALITY_FLAG,
)
_COLUMNS = (
    schema.MOVIE_SNR,
    schema.MOVIE_PSNR,
    schema.MOVIE_SNR_WIENER,
    schema.MOVIE_CONTRAST_TO_NOISE,
    schema.MOVIE_SPECTRAL_TAIL,
    schema.MOVIE_INTENSITY_FLUCTUATION,
    schema.MOVIE_SATURATED,
    schema.MOVIE_FOCUS,
    schema.MOVIE_GOOD_SHARE,
    schema.MOVIE_FRAMES_USED,
    schema.MOVIE_FRAMES_LEFT_OUT,
    schema.MOVIE_VOXEL_Z,
    schema.MOVIE_VOXEL_Y,
    schema.MOVIE_VOXEL_X,
)


def quality_table(tree: xr.DataTree, *, averaging: Literal["used", "code"] = "used") -> xr.Dataset:
    """Sum up the frames of every movie in one line, and put the lines on a common scale.

    A column is the mean over the frames of a channel, then over the channels that have one.
    Frames whose ``frame_snr`` is not finite (empty, or identical to their filter) are left out
    and counted, and so is any figure that is not finite. ``movie_intensity_fluctuation`` is the
    standard deviation (ddof 1) over all frames of ``frame_mean``, NaN for a single frame;
    ``movie_saturated`` and ``movie_good_share`` are over all frames too.

    ``*_normalised`` is (value - least) / (largest - least) over the movies, as in the published
    quality table; NaN stays NaN and is left out; without a spread it is 0. The published table
    uses two of the three voxel sizes, here are all.

    Parameters
    ----------
    tree : xarray.DataTree
        One child per movie, each what ``frame_quality`` returns.
    averaging : {"used", "code"}
        ``"code"`` averages as the published code does: of ``frame_psnr`` the sum over the frames
        used over the number of all frames, of ``frame_snr_wiener`` and
        ``frame_contrast_to_noise`` the mean of what is not 0; each rounded down per channel.

    Returns
    -------
    xarray.Dataset
        Lazy columns ``movie_*`` over ``movie``, whose coordinate holds the names of the children.

    Raises
    ------
    SchemaError
        No child, or one that lacks a variable; the text names it.
    UsageError
        An unknown `averaging`.

    Examples
    --------
    >>> from dpipe.operators import frame_quality
    >>> pixels = np.random.default_rng(0).poisson(40, (3, 1, 1, 32, 32)).astype("uint8")
    >>> one, two = schema.movie(pixels), schema.movie(pixels[:2] // 2)
    >>> tree = xr.DataTree.from_dict({"a": frame_quality(one), "b": frame_quality(two)})
    >>> quality_table(tree)["movie_frames_used"].values.tolist()
    [3, 2]
    """
    if averaging not in ("used", "code"):
        raise UsageError(f"averaging: found {averaging!r}; expected 'used' or 'code'")
    if not tree.children:
        raise SchemaError("a quality table needs one child per movie; the tree has none")
    lines = []
    for stem, child in tree.children.items():
        ds = child.to_dataset()
        try:
            frames = xr.Dataset({v.name: v.check(ds) for v in _FRAME})
        except SchemaError as error:
            raise SchemaError(f"{stem}: {error}") from error
        voxel = [float(step) for step in ds.attrs.get("spacing", [math.nan] * 3)]
        line = map_chunks(
            _movie_line,
            frames.reset_coords(drop=True).to_dataarray("figure"),
            core=("figure", "t", "c"),
            sizes={"column": len(_COLUMNS)},
            dtype="f8",
            averaging=averaging,
            voxel=voxel,
        )
        lines.append(line.reset_coords(drop=True))
    stems = np.asarray(list(tree.children), dtype=str)
    table = xr.concat(lines, dim="movie").assign_coords(movie=("movie", stems))
    columns = {v.name: table.isel(column=i, drop=True) for i, v in enumerate(_COLUMNS)}
    sizes = {"movie": len(lines), "column": len(_COLUMNS)}
    scaled = map_chunks(_normalise, table, core=("movie", "column"), sizes=sizes, dtype="f8")
    result: dict[str, xr.DataArray] = {}
    for i, variable in enumerate(_COLUMNS):
        column = columns[variable.name]
        whole = "f" not in variable.kinds
        result |= variable.wrap(column.astype(np.uint32) if whole else column)
        if variable.name in schema.MOVIE_NORMALISED:
            common = schema.MOVIE_NORMALISED[variable.name]
            result |= common.wrap(scaled.isel(column=i, drop=True))
    return xr.Dataset(result)


def _movie_line(frames: Any, *, averaging: str, voxel: Sequence[float]) -> Any:
    """Sum up one movie, an array (figure, t, c) in the order of `_FRAME`."""
    xp = namespace(frames)
    snr, psnr, snr_wiener, contrast, tail, mean, saturated, focus, flag = (
        frames[i, :, :] for i in range(frames.shape[0])
    )
    used = xp.isfinite(snr)
    every = xp.isfinite(flag)
    if averaging == "code":
        nonzero = [_means(xp, v, used & (v != 0)) for v in (snr_wiener, contrast)]
        share = _means(xp, xp.where(used & xp.isfinite(psnr), psnr, 0.0), every)
        ratios = [xp.floor(column) for column in (share, *nonzero)]
    else:
        ratios = [_means(xp, v, used) for v in (psnr, snr_wiener, contrast)]
    deviation = mean - xp.mean(mean, axis=0)
    freedom = float(mean.shape[0] - 1) or math.nan
    fluctuation = xp.sqrt(xp.sum(deviation * deviation, axis=0) / freedom)
    per_channel = [
        _means(xp, snr, used),
        *ratios,
        _means(xp, tail, used),
        fluctuation,
        _means(xp, saturated, every),
        _means(xp, focus, used),
        _means(xp, xp.astype(flag == 0, xp.float64), every),
    ]
    columns = [_means(xp, v[:, None], every[0, :, None])[0] for v in per_channel]
    count = float(xp.count_nonzero(used))
    counts = [count, used.shape[0] * used.shape[1] - count, *voxel]
    return xp.stack([*columns, *xp.asarray(counts, dtype=xp.float64, **beside(frames))])


def _means(xp: Any, values: Any, used: Any) -> Any:
    """Mean along the first axis of what is finite and used; NaN where nothing is."""
    used = used & xp.isfinite(values)
    count = xp.astype(xp.count_nonzero(used, axis=0), values.dtype)
    total = xp.sum(xp.where(used, values, 0.0), axis=0)
    return xp.where(count > 0, total / xp.where(count > 0, count, 1.0), math.nan)


def _normalise(table: Any) -> Any:
    """Put every column of (movie, column) on 0 to 1; what is not finite becomes NaN."""
    xp = namespace(table)
    finite = xp.isfinite(table)
    least = xp.min(xp.where(finite, table, math.inf), axis=0)
    offset = xp.where(xp.isfinite(least), least, 0.0)
    largest = xp.max(xp.where(finite, table, -math.inf), axis=0)
    spread = xp.where(largest > least, largest - least, 1.0)
    return xp.where(finite, (xp.where(finite, table, 0.0) - offset) / spread, math.nan)
