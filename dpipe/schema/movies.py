"""Movies: names of what they hold and of what is measured of frames, and how one is built.

A movie is ``image(t, c, z, y, x)`` with coordinates in seconds and micrometres.
"""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import xarray as xr

from dpipe.errors import SchemaError
from dpipe.schema import tracks
from dpipe.schema.facts import Attributes, MovieFacts
from dpipe.schema.overrides import check_said, still_true
from dpipe.schema.steps import SPACE_DIMS, step_of
from dpipe.schema.variable import Variable

MOVIE_DIMS = ("t", "c", "z", "y", "x")


def _frame(name: str, unit: str, meaning: str, kinds: str = "f") -> Variable:
    return Variable(name, ("t", "c"), kinds, unit, meaning)


IMAGE = Variable("image", MOVIE_DIMS, "uif", "1", "grey values as the microscope recorded them")
LABELS = Variable("labels", ("t", "z", "y", "x"), "u", "1", "object number of each voxel, 0 none")
SEGMENTED = Variable("segmented", ("t", "z"), "b", "1", "whether the labels of a plane were drawn")
PROJECTION = Variable(
    "projection", ("t", "c", "y", "x"), "uif", "1", "maximum over z of each frame and channel"
)
THUMBNAIL = Variable(
    "thumbnail", ("c", "y", "x"), "u", "1", "small picture of one frame, stretched to 8 bit"
)
FRAME_SNR = _frame("frame_snr", "dB", "signal-to-noise ratio against the median-filtered frame")
FRAME_PSNR = _frame("frame_psnr", "dB", "peak signal-to-noise ratio against the Wiener filter")
FRAME_SNR_WIENER = _frame(
    "frame_snr_wiener", "dB", "signal-to-noise ratio against the Wiener filter"
)
FRAME_CONTRAST_TO_NOISE = _frame(
    "frame_contrast_to_noise", "1", "foreground over background noise, in standard deviations"
)
FRAME_SPECTRAL_TAIL = _frame(
    "frame_spectral_tail", "dB", "spread of the power spectrum above 0.6 of its largest frequency"
)
FRAME_MEAN = _frame("frame_mean", "1", "mean of the normalised projection")
FRAME_SATURATED = _frame("frame_saturated", "1", "share of voxels at the largest value possible")
FRAME_FOCUS = _frame(
    "frame_focus", "1", "variance of the Laplacian of the projection over its squared mean"
)
FRAME_EMPTY_PLANES = _frame(
    "frame_empty_planes", "1", "number of planes without a value above zero"
)
CELL_COUNT = _frame("cell_count", "1", "number of cells in a frame")
CELL_DISTANCE = _frame(
    "cell_distance", "micrometer", "mean distance from a cell to the nearest other, NaN without"
)
CELL_CLUSTERED = _frame(
    "cell_clustered", "1", "share of cells that stand in clusters, NaN without cells"
)
CELL_CLUSTERED_THREE = _frame(
    "cell_clustered_three", "1", "share of cells in clusters of at least three, NaN without cells"
)
QUALITY_FLAG = Variable(
    "quality_flag", ("t", "c"), "u", "1", "verdict on a frame", ("good", "doubtful", "unusable")
)
QUALITY_REASON = Variable(
    "quality_reason", ("t", "c"), "u", "1", "why: sum of bits, named in attrs['flag_meanings']"
)


def _movie(name: str, unit: str, meaning: str, kinds: str = "f") -> Variable:
    return Variable(f"movie_{name}", ("movie",), kinds, unit, meaning)


MOVIE_SNR = _movie("snr", "dB", "mean signal-to-noise ratio against the median-filtered frame")
MOVIE_PSNR = _movie("psnr", "dB", "mean peak signal-to-noise ratio against the Wiener filter")
MOVIE_SNR_WIENER = _movie("snr_wiener", "dB", "mean signal-to-noise ratio against the same")
MOVIE_CONTRAST_TO_NOISE = _movie(
    "contrast_to_noise", "1", "mean foreground over background noise, in standard deviations"
)
MOVIE_SPECTRAL_TAIL = _movie(
    "spectral_tail", "dB", "mean spread of the power spectrum at high frequencies"
)
MOVIE_INTENSITY_FLUCTUATION = _movie(
    "intensity_fluctuation", "1", "standard deviation over time of the frame mean"
)
MOVIE_SATURATED = _movie("saturated", "1", "share of voxels at the largest value possible")
MOVIE_FOCUS = _movie("focus", "1", "mean variance of the Laplacian over the squared mean")
MOVIE_GOOD_SHARE = _movie("good_share", "1", "share of frames whose verdict is good")
MOVIE_FRAMES_USED = _movie(
    "frames_used", "1", "number of frames and channels with a finite ratio", "u"
)
MOVIE_FRAMES_LEFT_OUT = _movie(
    "frames_left_out", "1", "number of frames and channels left out: empty or without noise", "u"
)
MOVIE_VOXEL_Z = _movie("voxel_z", "micrometer", "voxel size along z")
MOVIE_VOXEL_Y = _movie("voxel_y", "micrometer", "voxel size along y")
MOVIE_VOXEL_X = _movie("voxel_x", "micrometer", "voxel size along x")
MOVIE_NORMALISED: dict[str, Variable] = {
    column.name: _movie(
        f"{column.name.removeprefix('movie_')}_normalised",
        "1",
        f"{column.meaning}, from 0 at the least to 1 at the largest movie",
    )
    for column in (
        *(MOVIE_SNR, MOVIE_PSNR, MOVIE_SNR_WIENER, MOVIE_CONTRAST_TO_NOISE, MOVIE_SPECTRAL_TAIL),
        *(MOVIE_INTENSITY_FLUCTUATION, MOVIE_VOXEL_Z, MOVIE_VOXEL_Y, MOVIE_VOXEL_X),
    )
}
"""The columns of a quality table on a common scale, by the name of the column they come from."""


def movie(
    image: xr.DataArray | Any,
    *,
    spacing: Sequence[float] = (1.0, 1.0, 1.0),
    origin: Sequence[float] = (0.0, 0.0, 0.0),
    times: Sequence[float] | np.ndarray | None = None,
    interval: float = 1.0,
    channels: Sequence[str] | None = None,
    colors: Sequence[str] | None = None,
    attrs: Attributes | None = None,
) -> xr.Dataset:
    """Build the Dataset of a movie from its pixels and the facts of it; see `MovieFacts`.

    Parameters
    ----------
    image : array, shape (t, c, z, y, x)
        Pixels, lazy or not.
    spacing : sequence of 3 floats
        Voxel size along z, y, x in micrometres.
    origin : sequence of 3 floats
        Centre of the first voxel along z, y, x in micrometres.
    times : sequence of float, optional
        Time of each frame in seconds after the first; by default multiples of `interval`.
    interval : float
        Sampling interval in seconds; used for `times` and, with one frame, as its step.
    channels : sequence of str, optional
        Channel names; by default ``"0"``, ``"1"``, ... A repeated name gets its number.
    colors : sequence of str, optional
        One ``"RRGGBB"`` a channel; by default white.
    attrs : mapping, optional
        What else the file says (JSON values), for example ``recording_date``.

    Returns
    -------
    xarray.Dataset
        ``image(t, c, z, y, x)`` with coordinates in seconds and micrometres.

    Raises
    ------
    SchemaError
        The array is not 5-D, a list has another length than its dimension, a place is not finite.
    """
    data = image.data if isinstance(image, xr.DataArray) else image
    if data.ndim != 5:
        raise SchemaError(f"a movie has dims (t, c, z, y, x); found {data.ndim} dimensions")
    frames, n_channels = data.shape[:2]
    for what, numbers in (("spacing", spacing), ("origin", origin)):
        _same_length(what, len(numbers), "z, y, x", 3)
    ends = [float(origin[i]) + n * float(spacing[i]) for i, n in enumerate(data.shape[2:])]
    if not np.isfinite([*ends, frames * float(interval), *(() if times is None else times)]).all():
        raise SchemaError(f"spacing {spacing}, interval {interval}: no finite places and times")
    names = _distinct(channels if channels is not None else [str(i) for i in range(n_channels)])
    seconds = np.arange(frames) * float(interval) if times is None else np.asarray(times, float)
    _same_length("times", len(seconds), "t", frames)
    _same_length("channels", len(names), "c", n_channels)
    step = float(np.median(np.diff(seconds))) if frames > 1 else float(interval)
    time = {"units": "s", "long_name": "time", "spacing": step}
    labels = np.asarray(names, dtype=str)
    coords = {
        "t": xr.Variable("t", seconds, time),
        "c": xr.Variable("c", labels, {"long_name": "channel"}),
    }
    for axis, dim in enumerate(SPACE_DIMS):
        values = float(origin[axis]) + np.arange(data.shape[2 + axis]) * float(spacing[axis])
        described = {"units": "micrometer", "spacing": float(spacing[axis])}
        coords[dim] = xr.Variable(dim, values, described)
    if colors is not None:
        _same_length("colors", len(colors), "c", n_channels)
        hex_codes = np.asarray(colors, dtype=str)
        coords["channel_color"] = xr.Variable("c", hex_codes, {"long_name": "RRGGBB"})
    array = xr.DataArray(data, dims=MOVIE_DIMS)
    return xr.Dataset(IMAGE.wrap(array), coords=coords, attrs=dict(attrs or {}))


def spacing(ds: xr.Dataset | xr.DataArray, dim: str) -> float:
    """Return the step of a coordinate: seconds along t, micrometres along z, y, x.

    Parameters
    ----------
    ds : xarray.Dataset or xarray.DataArray
        Has the coordinate `dim`.
    dim : str
        Name of the dimension.

    Returns
    -------
    float
        ``attrs["spacing"]``, else the median step, else 1.
    """
    coordinate = ds.coords.variables.get(dim)
    if coordinate is None:
        return 1.0
    return step_of(coordinate.values, coordinate.attrs)


def revise(ds: xr.Dataset, **said: Any) -> xr.Dataset:
    """Overrule what a file says of places, times and channels.

    Parameters
    ----------
    ds : xarray.Dataset
        A movie.
    **said
        ``spacing`` (z, y, x in micrometres), ``origin`` (centre of the first voxel, z, y, x in
        micrometres), ``interval`` (seconds), ``channels`` (names), ``colors`` (RRGGBB).

    Returns
    -------
    xarray.Dataset
        The same values under the coordinates said. Notes on what was overruled are gone.

    Raises
    ------
    SchemaError
        An unknown key, a value of another kind, or a list of another length than its dimension.
    """
    check_said(said)
    if not said:
        return ds
    image = IMAGE.check(ds)
    facts: MovieFacts = {
        "spacing": [spacing(ds, dim) for dim in SPACE_DIMS],
        "origin": [float(ds[dim].values[0]) if ds.sizes[dim] else 0.0 for dim in SPACE_DIMS],
        "channels": list(ds["c"].values),
        "colors": list(ds["channel_color"].values) if "channel_color" in ds.coords else None,
    }
    if "interval" not in said:
        facts |= {"times": ds["t"].values, "interval": spacing(ds, "t")}
    facts = cast(MovieFacts, {**facts, **said})  # as `check_said` has it
    for dim, step in zip(("t", *SPACE_DIMS), (facts["interval"], *facts["spacing"]), strict=True):
        if not np.isfinite(float(step) * ds.sizes[dim]):
            raise SchemaError(f"set: a step of {step:g} leads beyond all numbers along {dim}")
    facts["attrs"] = still_true(ds.attrs, said)
    revised = movie(image, **facts)
    for dim in MOVIE_DIMS:
        revised[dim].attrs = ds[dim].attrs | revised[dim].attrs
    others = {name: ds[name].variable for name in ds.variables if name not in revised.variables}
    if "interval" in said and tracks.SPOT_T.name in others and tracks.FRAME.name in others:
        seconds = others[tracks.FRAME.name].values * float(said["interval"])
        others[tracks.SPOT_T.name] = others[tracks.SPOT_T.name].copy(data=seconds)
    return revised.assign(
        {name: others[name] for name in ds.data_vars if name in others}
    ).assign_coords({name: others[name] for name in ds.coords if name in others})


def _same_length(what: str, length: int, dim: str, expected: int) -> None:
    if length != expected:
        raise SchemaError(f"{what} has {length} entries; expected {expected} along {dim}")


def _distinct(names: Sequence[str]) -> list[str]:
    """Give repeated or empty names their channel number."""
    clean = [str(name) for name in names]
    distinct = [
        name if name and clean.count(name) == 1 else f"{name or 'channel'} {i}"
        for i, name in enumerate(clean)
    ]
    return distinct if len(set(distinct)) == len(distinct) else _distinct(distinct)
