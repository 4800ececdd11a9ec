"""Quality of the pictures of a collection: saturation, focus, masks, and a verdict.

It knows what can be wrong with a picture of a cell and its masks. It does not know where pictures
come from or what a verdict leads to.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from dpipe import schema
from dpipe.compute import beside, map_rows, namespace
from dpipe.errors import SchemaError, UsageError, unknown
from dpipe.operators.parameters import check_number
from dpipe.operators.pictures.packed import channels as channels_of
from dpipe.operators.pictures.packed import chosen, covered, pieces, planes

_FIGURES = (
    schema.PICTURE_SATURATED,
    schema.PICTURE_FOCUS,
    schema.PICTURE_MIN,
    schema.PICTURE_MAX,
    schema.MASK_SHARE,
    schema.MASK_ON_BORDER,
)
_BIT = {name: 1 << i for i, name in enumerate(schema.PICTURE_REASONS)}


def picture_quality(
    ds: xr.Dataset,
    masks: xr.Dataset | None = None,
    *,
    channels: str | list[str] | None = None,
    full_scale: float | None = None,
    max_saturated: float = 0.01,
    min_focus: Mapping[str, float] | None = None,
    max_on_border: int = 0,
) -> xr.Dataset:
    """Measure every picture and channel of a collection, and judge them.

    - ``picture_saturated``: share of pixels of at least `full_scale`.
    - ``picture_focus``: root mean square of the Sobel gradient over the whole picture, with
      scikit-image's kernels (over 4), magnitude (over the root of 2) and border (reflected). IDEAS
      and scifAI [1]_ call it Gradient RMS and take that of brightfield to find cells in focus.
    - ``picture_min``, ``picture_max``: a picture of one value is ``constant``.
    - ``mask_share``: share of pixels in the mask (what is not 0, whatever the value); 0 is an
      ``empty_mask``.
    - ``mask_on_border``: pixels of the mask in the outermost rows and columns; above
      `max_on_border` the cell is ``cut_off_at_border``.

    Parameters
    ----------
    ds : xarray.Dataset
        A packed collection, any selection of its records, or pictures of one size.
    masks : xarray.Dataset, optional
        Masks that take the place of those of `ds`: what ``segment-cells`` or ``derive-masks`` made
        of it.
    channels : str or list of str, optional
        Channels that count for the verdict; by default all.
    full_scale : float, optional
        Pixels of at least this value are saturated. By default the largest value of an integer
        dtype; say 4095 for 12 bits in 16. Without it floats have no share of saturated pixels.
    max_saturated : float
        Above this share a picture is ``saturated``.
    min_focus : mapping, optional
        By channel, the ``picture_focus`` below which a picture is ``out_of_focus``; channels that
        are not named are not judged by it.
    max_on_border : int
        Pixels of a mask on the border that are no matter.

    Returns
    -------
    xarray.Dataset
        Lazy: those six over (record, c), the reasons ``picture_reason(record, c)`` and
        ``picture_verdict(record)``: 0 good, 1 doubtful (some reason in a channel that counts;
        empty masks only if all of these are), 2 unusable (put aside, not finite in such a channel,
        or each such channel constant).

    Raises
    ------
    SchemaError
        The Dataset is no collection, or the masks are of other pictures.
    UsageError
        An unknown channel, or a limit that is none.

    Notes
    -----
    Where there are no masks ``mask_share`` is NaN and the reason ``no_mask``; a picture alone
    without one, among others with, is told by the coordinate ``mask_dtype``. ``no_mask`` is no
    reason for doubt: cells can be segmented. All figures of a picture that was put aside are NaN,
    ``mask_on_border`` 0, and it has no reasons.

    References
    ----------
    .. [1] scifAI, ``GradientRMS``; skimage.filters.sobel.

    Examples
    --------
    >>> image = xr.DataArray(np.zeros((1, 1, 3, 4)), dims=schema.PICTURE_DIMS)
    >>> found = picture_quality(xr.Dataset({"image": image}, {"c": ["Ch1"]}))
    >>> found.picture_verdict.values.tolist()  # constant
    [2]
    """
    if "c" not in ds.coords:
        raise SchemaError("a collection needs the coordinate c, the names of its channels")
    ds = covered(ds, masks)
    names = channels_of(ds)
    counted = chosen("channels", names if channels is None else channels, names)
    if not isinstance(min_focus, Mapping | None):
        raise UsageError(f"min_focus: found {min_focus!r}; expected a number by channel")
    least = dict(min_focus or {})
    for name in least:
        if name not in names:
            raise UsageError(f"min_focus: {unknown('channel', name, names)}")
    limits = {"max_saturated": max_saturated, "max_on_border": max_on_border}
    limits |= {f"min_focus of {name}": value for name, value in least.items()}
    for name, value in (
        limits | ({} if full_scale is None else {"full_scale": full_scale})
    ).items():
        lowest = math.ulp(0) if name == "full_scale" else -math.inf
        check_number(name, value, lowest, expected="a number")
    array = ds["pixels" if "pixels" in ds else "image"] if {"pixels", "image"} & set(ds) else None
    if full_scale is None and array is not None and array.dtype.kind in "ui":
        full_scale = float(np.iinfo(array.dtype).max)
    figures = map_rows(
        _measure,
        ds,
        sizes={"c": len(names), "figure": len(_FIGURES)},
        dtype="f8",
        total=len(names),
        full_scale=full_scale,
    )
    figures = figures.assign_coords(c=np.array(names, dtype=str))
    columns = {v: figures.isel(figure=i) for i, v in enumerate(_FIGURES)}
    bare = _bare(ds)
    columns[schema.MASK_SHARE] = columns[schema.MASK_SHARE].where(~bare)
    reason = _reasons(columns, bare, least, names, max_saturated, max_on_border)
    verdict = _verdict(columns[schema.PICTURE_MAX], reason, [n in counted for n in names])
    result: dict[str, xr.DataArray] = {}
    for variable, column in columns.items():
        whole = variable is schema.MASK_ON_BORDER
        result |= variable.wrap(column.fillna(0).astype(np.uint32) if whole else column)
    meanings = {"flag_masks": list(_BIT.values()), "flag_meanings": " ".join(_BIT)}
    return xr.Dataset(
        result
        | schema.PICTURE_REASON.wrap(reason, **meanings)
        | schema.PICTURE_VERDICT.wrap(verdict)
    )


def _bare(ds: xr.Dataset) -> xr.DataArray:
    """Tell which pictures have no masks."""
    if "mask_code" not in ds and "mask" not in ds:
        return xr.DataArray(np.ones(ds.sizes["record"], bool), dims="record")
    if "mask_dtype" not in ds.coords:
        return xr.DataArray(np.zeros(ds.sizes["record"], bool), dims="record")
    return xr.DataArray(np.asarray(ds["mask_dtype"].values) == "", dims="record")


def _reasons(
    columns: Mapping[schema.Variable, xr.DataArray],
    bare: xr.DataArray,
    least: Mapping[str, float],
    names: list[str],
    max_saturated: float,
    max_on_border: int,
) -> xr.DataArray:
    """Add up the bits of what is wrong; comparisons with NaN are false."""
    focus, low, high = (
        columns[v] for v in (schema.PICTURE_FOCUS, schema.PICTURE_MIN, schema.PICTURE_MAX)
    )
    share, border = columns[schema.MASK_SHARE], columns[schema.MASK_ON_BORDER]
    limit = xr.DataArray([least.get(name, -math.inf) for name in names], dims="c")
    sound = border >= 0  # it is a number for every picture that was measured
    wrong = {
        "saturated": columns[schema.PICTURE_SATURATED] > max_saturated,
        "out_of_focus": focus < limit,
        "constant": low == high,
        "not_finite": sound & focus.isnull(),
        "no_mask": sound & bare,
        "empty_mask": (share == 0) & ~bare,
        "cut_off_at_border": border > max_on_border,
    }
    bits = sum(yes.astype(np.uint8) * np.uint8(_BIT[name]) for name, yes in wrong.items())
    return bits.astype(np.uint8)  # type: ignore[union-attr]


def _verdict(high: xr.DataArray, reason: xr.DataArray, counted: list[bool]) -> xr.DataArray:
    """Judge pictures by the channels that count."""
    places = [i for i, yes in enumerate(counted) if yes]
    mine = reason.isel(c=places)
    doubt = ((mine & np.uint8(0xFF ^ _BIT["no_mask"] ^ _BIT["empty_mask"])) > 0).any("c")
    doubt |= ((mine & np.uint8(_BIT["empty_mask"])) > 0).all("c")
    lost = ((mine & np.uint8(_BIT["not_finite"])) > 0).any("c")
    flat = ((mine & np.uint8(_BIT["constant"])) > 0).all("c")
    aside = high.isnull().all("c") & (reason == 0).all("c")
    bad = lost | flat | aside
    return xr.where(bad, np.uint8(2), doubt.astype(np.uint8)).astype(np.uint8)


def _measure(
    pixels: Any,
    codes: Any,
    offsets: Any,
    heights: Any,
    widths: Any,
    *,
    total: int,
    full_scale: float | None,
) -> Any:
    """Return the six figures of each picture and channel."""
    xp = namespace(pixels)
    nothing = xp.asarray(math.nan, dtype=xp.float64, **beside(pixels))
    rows = []
    for place, shape in pieces(offsets, heights, widths):
        size = shape[0] * shape[1]
        code = None if codes is None else xp.reshape(codes[place], shape)
        for k in range(total):
            plane = xp.astype(planes(pixels, place, shape, total)[k, ...], xp.float64)
            finite = xp.all(xp.isfinite(plane))
            saturated, share, border = nothing, nothing, xp.zeros_like(nothing)
            if full_scale is not None:
                saturated = _count(xp, plane >= full_scale) / size
            if code is not None:
                inside = (code & (1 << k)) != 0
                count = _count(xp, inside)
                share, border = count / size, count - _count(xp, inside[1:-1, 1:-1])
            plane = xp.where(finite, plane, xp.zeros_like(plane))
            figures = (_gradient(plane), xp.min(plane), xp.max(plane))
            focus, low, high = (xp.where(finite, figure, nothing) for figure in figures)
            rows.append(xp.stack([saturated, focus, low, high, share, border]))
    return xp.reshape(xp.stack(rows), (-1, total, len(_FIGURES)))


def _count(xp: Any, yes: Any) -> Any:
    return xp.sum(xp.astype(yes, xp.float64))


def _gradient(plane: Any) -> Any:
    """Return the root mean square of the Sobel magnitude; beyond the border stands the border."""
    xp = namespace(plane)
    rows = xp.concat([plane[:1, :], plane, plane[-1:, :]], axis=0)
    wide = xp.concat([rows[:, :1], rows, rows[:, -1:]], axis=1)
    smooth_y = wide[:-2, :] + 2.0 * wide[1:-1, :] + wide[2:, :]
    smooth_x = wide[:, :-2] + 2.0 * wide[:, 1:-1] + wide[:, 2:]
    along_x = (smooth_y[:, 2:] - smooth_y[:, :-2]) / 4.0
    along_y = (smooth_x[2:, :] - smooth_x[:-2, :]) / 4.0
    return xp.sqrt(xp.mean((along_x * along_x + along_y * along_y) / 2.0))
