"""Label images of the Cell Tracking Challenge as a lazy movie of labels.

The tracks of the same folder are read by the reader ``tracks``: the number of a track is that of
its label. This module makes places and times of numbers; how the images are found and read stands
in ``dpipe.formats.cell_tracking_challenge``.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import numpy as np
import xarray as xr

from dpipe import compute, schema
from dpipe.errors import InputError, SchemaError, UsageError
from dpipe.formats.cell_tracking_challenge import (
    TEXTS,
    Series,
    begins_late,
    find_series,
    is_of_challenge,
    stems_of_folders,
)
from dpipe.formats.spreadsheets import Unfit
from dpipe.sources import Item, Part, uris_of

_SHOWN = 10


def find(items: Iterable[Item]) -> Iterator[Part]:
    """Group files into parts: the label images of a folder are one.

    Parameters
    ----------
    items : iterable of Item
        Files; those not called ``mask000.tif``, ``man_track000.tif``, ``man_seg000.tif`` or
        ``man_seg_000_000.tif`` (frame, plane) are passed over.

    Yields
    ------
    Part
        One a folder, called as the reader ``tiff`` calls the movie. Of several folders of one
        movie only ``GT/TRA`` is called so, and the others what they are besides.

    Examples
    --------
    >>> names = ["CHO/01_RES/mask000.tif", "CHO/01_RES/mask001.tif", "CHO/01/t000.tif",
    ...          "CHO/02_GT/TRA/man_track000.tif", "CHO/02_GT/SEG/man_seg007.tif"]
    >>> items = [Item(f"/raw/{name}", name, 9, "0") for name in names]
    >>> [(part.stem, len(part.items)) for part in find(items)]
    [('CHO_01', 2), ('CHO_02', 1), ('CHO_02_GT_SEG', 1)]
    """
    groups: dict[str, list[Item]] = {}
    for item in items:
        folder, _, name = item.uri.rpartition("/")
        if is_of_challenge(name) and name not in TEXTS:
            groups.setdefault(folder, []).append(item)
    paths = {folder: group[0].path.rpartition("/")[0] for folder, group in groups.items()}
    stems = stems_of_folders(paths)
    for folder, group in groups.items():
        yield Part(stems[folder], tuple(group))


def open_tracks_labels(
    url: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    spacing: Sequence[float] | None = None,
    origin: Sequence[float] = (0.0, 0.0, 0.0),
    interval: float | None = None,
    first_frame: int = 0,
    frames: int | None = None,
    planes: int | None = None,
    background: int = 0,
) -> xr.Dataset:
    """Open label images, one a frame, as a lazy movie of labels; no pixel is read.

    Parameters
    ----------
    url : str, path, or sequence of them
        The files of one movie, ``mask000.tif`` and so on without a gap; the first is looked at.
        ``man_seg000.tif`` may be some frames only, and ``man_seg_000_000.tif`` some planes: what
        nobody segmented is 0 there, and ``segmented`` is false.
    spacing : sequence of 3 floats, optional
        Voxel size along z, y, x in micrometres, which the files do not say; by default 1.
    origin : sequence of 3 floats
        Centre of the first voxel along z, y, x in micrometres.
    interval : float, optional
        Seconds between frames, which the files do not say; by default 1.
    first_frame : int
        Number of the movie's first frame in the names of the files.
    frames : int, optional
        How many the movie has, where people segmented some only; by default up to the last of them.
    planes : int, optional
        How many planes each frame has, where people segmented some only; by default as `frames`.
    background : int
        The label that is no object, 0 or below: -1 in images of some programs. It is read as 0; any
        other label below 0 is an error on computing.

    Returns
    -------
    xarray.Dataset
        ``labels(t, z, y, x)``, unsigned, of the size of the files' numbers; where not all is
        segmented, the coordinate ``segmented(t, z)``. ``attrs["assumed"]`` names what was not
        said, ``attrs["notes"]`` what was not segmented.

    Raises
    ------
    InputError
        A frame is missing, a file is no TIFF of whole numbers, or unlike the first; also on
        computing.
    StoreError
        The network or disk failed.
    UsageError
        A parameter that cannot work.
    """
    uris = uris_of(url)
    for what, number in (("first_frame", first_frame), ("frames", frames), ("planes", planes)):
        if number is not None and (type(number) is not int or number < (what != "first_frame")):
            raise UsageError(f"{what}: found {number!r}; expected a whole number")
    try:
        series = find_series(
            uris, first=first_frame, frames=frames, planes=planes, background=background
        )
    except Unfit as error:
        raise InputError(
            f"{'/'.join(uris[0].split('/')[-2:]) if uris else url}: {error}"
        ) from error
    shape = (series.frames, *series.shape)
    labels = compute.lazy(partial(_read, series=series), shape, series.dtype, (1, *series.shape))
    steps = {"spacing": spacing, "interval": interval}
    assumed = [f"{key} is 1" for key, value in steps.items() if value is None]
    attrs = {"format": "ctc", "frame_base": first_frame}
    notes = begins_late(series) or _sparse(series)
    notes += [f"label {background} is read as 0, no object"] if background else []
    attrs |= {key: lines for key, lines in (("assumed", assumed), ("notes", notes)) if lines}
    try:
        frame = schema.revise(
            schema.movie(np.broadcast_to(np.uint8(0), (shape[0], 1, *shape[1:]))),
            **{key: value for key, value in steps.items() if value is not None},
            origin=origin,
        )
    except SchemaError as error:
        raise UsageError(str(error)) from error
    coords = {dim: frame.coords[dim] for dim in ("t", "z", "y", "x")}
    segmented = series.segmented()
    if not segmented.all():
        coords |= schema.SEGMENTED.wrap(xr.DataArray(segmented, dims=schema.SEGMENTED.dims))
    wrapped = schema.LABELS.wrap(xr.DataArray(labels, dims=schema.LABELS.dims), number="track")
    return xr.Dataset(wrapped, coords, attrs)


def _sparse(series: Series) -> list[str]:
    """Say in a line how much people segmented, if that is not all."""
    drawn = series.segmented()
    frames = np.flatnonzero(drawn.any(axis=1))
    if drawn.all():
        return []
    shown = ", ".join(map(str, frames[:_SHOWN])) + (", ..." if len(frames) > _SHOWN else "")
    planes = "" if drawn[frames].all() else f", in {int(drawn.sum())} planes"
    return [
        f"{len(frames)} of {series.frames} frames are segmented ({shown}){planes}; elsewhere "
        "labels are 0 because nobody drew them"
    ]


def _read(region: compute.Region, *, series: Series) -> np.ndarray:
    """Read one region; runs in a task."""
    frames, *box = region
    out = np.empty([part.stop - part.start for part in region], series.dtype)
    for i, frame in enumerate(range(frames.start, frames.stop)):
        out[i] = series.read(frame)[tuple(box)]
    return out
