"""Label images of the Cell Tracking Challenge as a lazy movie of labels.

The tracks of the same folder are read by the reader ``tracks``: the number of a track is that of
its label. This module makes places and times of numbers; how the images are found and read stands
in ``_track_labels.py``.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import numpy as np
import xarray as xr

from dpipe import schema
from dpipe.blocks import Region, lazy
from dpipe.errors import InputError, SchemaError, UsageError
from dpipe.readers._track_labels import (
    TEXTS,
    Series,
    find_series,
    is_of_challenge,
    stem_of_folder,
)
from dpipe.sources import Item, Part, resolve_uri
from dpipe.spreadsheets import Unfit


def find(items: Iterable[Item]) -> Iterator[Part]:
    """Group files into parts: the label images of a folder are one.

    Parameters
    ----------
    items : iterable of Item
        Files; those not called ``mask000.tif``, ``man_track000.tif`` or ``man_seg000.tif`` are
        passed over.

    Yields
    ------
    Part
        One a folder, called as the reader ``tiff`` calls the movie.

    Examples
    --------
    >>> names = ["CHO/01_RES/mask000.tif", "CHO/01_RES/mask001.tif", "CHO/01/t000.tif"]
    >>> items = [Item(f"/raw/{name}", name, 9, "0") for name in names]
    >>> [(part.stem, len(part.items)) for part in find(items)]
    [('CHO_01', 2)]
    """
    groups: dict[str, list[Item]] = {}
    for item in items:
        folder, _, name = item.uri.rpartition("/")
        if is_of_challenge(name) and name not in TEXTS:
            groups.setdefault(folder, []).append(item)
    for folder, group in groups.items():
        yield Part(stem_of_folder(group[0].path.rpartition("/")[0], folder), tuple(group))


def open_tracks_labels(
    url: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    spacing: Sequence[float] | None = None,
    origin: Sequence[float] = (0.0, 0.0, 0.0),
    interval: float | None = None,
) -> xr.Dataset:
    """Open label images, one a frame, as a lazy movie of labels; no pixel is read.

    Parameters
    ----------
    url : str, path, or sequence of them
        The files of one movie, ``mask000.tif`` and so on without a gap; the first is looked at.
    spacing : sequence of 3 floats, optional
        Voxel size along z, y, x in micrometres, which the files do not say; by default 1.
    origin : sequence of 3 floats
        Centre of the first voxel along z, y, x in micrometres.
    interval : float, optional
        Seconds between frames, which the files do not say; by default 1.

    Returns
    -------
    xarray.Dataset
        ``labels(t, z, y, x)``, unsigned, of the size of the files' numbers; ``attrs["assumed"]``
        names what was not said.

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
    given = [url] if isinstance(url, str | os.PathLike) else list(url)
    uris = [resolve_uri(os.fspath(uri)) for uri in given]
    try:
        series = find_series(uris)
    except Unfit as error:
        raise InputError(
            f"{'/'.join(uris[0].split('/')[-2:]) if uris else url}: {error}"
        ) from error
    shape = (series.frames, *series.shape)
    labels = lazy(partial(_read, series=series), shape, series.dtype, (1, *series.shape))
    said = {"spacing": spacing, "interval": interval}
    assumed = [f"{key} is 1" for key, value in said.items() if value is None]
    attrs = {"format": "ctc", "frame_base": 0} | ({"assumed": assumed} if assumed else {})
    try:
        frame = schema.revise(
            schema.movie(np.broadcast_to(np.uint8(0), (shape[0], 1, *shape[1:]))),
            **{key: value for key, value in said.items() if value is not None},
            origin=origin,
        )
    except SchemaError as error:
        raise UsageError(str(error)) from error
    coords = {dim: frame.coords[dim] for dim in ("t", "z", "y", "x")}
    wrapped = schema.LABELS.wrap(xr.DataArray(labels, dims=schema.LABELS.dims), number="track")
    return xr.Dataset(wrapped, coords, attrs)


def _read(region: Region, *, series: Series) -> np.ndarray:
    """Read one region; runs in a task."""
    frames, *box = region
    out = np.empty([each.stop - each.start for each in region], series.dtype)
    for i, frame in enumerate(range(frames.start, frames.stop)):
        out[i] = series.read(frame)[tuple(box)]
    return out
