"""Spots and their tracks in an Imaris file, as a table with one row a spot.

What is read, and how, stands in ``spot_tables.py``.
"""

import os
from collections.abc import Sequence

import xarray as xr

from dpipe.readers.imaris.dataset_info import find
from dpipe.readers.imaris.spot_tables import read_spots

__all__ = ["find", "open_imaris_spots"]


def open_imaris_spots(
    url: str | os.PathLike[str] | Sequence[str],
    *,
    object: str | int | None = None,
    centers: bool = False,
    unit: str | None = None,
) -> xr.Dataset:
    """Read the spots of an Imaris file, with the tracks that they belong to.

    Where ``Scene8`` holds an object, its places, numbers and tracks are taken from there, else
    places from ``Scene``, and tracks from the edges that join spots.

    Parameters
    ----------
    url : str, path, or sequence of one
        A local path or a URL that `dpipe.sources.opened` takes.
    object : str or int, optional
        Name of the object as Imaris shows it, or its number from 0; by default all objects, one
        after the other. Track numbers that two objects share are raised in the later one, by a
        multiple of 1,000,000,000 that ``attrs["objects"]`` names.
    centers : bool
        Read the centres of mass of surfaces whose meshes cannot be read (``MegaSurfaces``)
        instead of spots.
    unit : str, optional
        Unit of their places, over what the file says.

    Returns
    -------
    xarray.Dataset
        Over ``spot``: coordinates ``track`` (-1 none), ``frame`` (from 0) and, with several
        objects, ``spot_object``; variables ``spot_t`` (s, NaN where the file does not date its
        frames), ``spot_z``, ``spot_y``, ``spot_x``, ``spot_radius`` (micrometres, NaN unknown)
        and ``spot_id``. Places are in the frame of the image. ``attrs``: ``object``,
        ``objects``, ``assumed``. Where ``Scene8`` has them: lazy ``spot_statistic(spot, name)``,
        what Imaris measured (NaN none), under its names in small letters with ``_``
        (``intensity_mean_ch1``; as Imaris has them in ``statistic_title``, units in
        ``statistic_unit``), and ``spot_label(spot, label_group)``, what a person called a spot or
        its track ("" nothing, several by commas). ``attrs["statistics_left_out"]`` names
        statistics of tracks and of the whole.

    Raises
    ------
    ImarisError
        No Imaris file, a damaged one, or one without such an object.
    StoreError
        The network or disk failed.
    UsageError
        More than one file was given.
    """
    return read_spots(url, object, centers=centers, unit=unit)
