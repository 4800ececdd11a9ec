"""Surfaces in an Imaris file, as triangle meshes one after another.

What is read, and how, stands in ``surface_tables.py``.
"""

import os
from collections.abc import Sequence

import xarray as xr

from dpipe.readers.imaris.dataset_info import find
from dpipe.readers.imaris.surface_tables import read_surfaces

__all__ = ["find", "open_imaris_surfaces"]


def open_imaris_surfaces(
    url: str | os.PathLike[str] | Sequence[str],
    *,
    object: str | int | None = None,
    unit: str | None = None,
) -> xr.Dataset:
    """Open the surfaces of an Imaris file, with the tracks that they belong to.

    Newer versions of Imaris keep meshes in a form that nobody has described (``MegaSurfaces``).
    They are never dropped in silence: ``attrs["unreadable"]`` gives their number and centres of
    mass, and a file with no other surfaces is an error that says how to read the centres.

    Parameters
    ----------
    url : str, path, or sequence of one
        A local path or a URL that `dpipe.sources.opened` takes.
    object : str or int, optional
        Name of the object as Imaris shows it, or its number from 0; by default all objects, one
        after the other. Track numbers that two objects share are raised in the later one, by a
        multiple of 1,000,000,000 that ``attrs["objects"]`` names.
    unit : str, optional
        Unit of their places, over what the file says.

    Returns
    -------
    xarray.Dataset
        Coordinates over ``surface``: ``surface_frame`` (from 0), ``surface_track`` (-1 none),
        ``surface_id``, ``vertex_count``, ``face_count`` and, with several objects,
        ``surface_object``. Lazy ``vertex_z``, ``vertex_y``, ``vertex_x`` over ``vertex``, in
        micrometres and the frame of the image, and ``face_vertex(face, corner)``, the vertices of
        each triangle, counted within its surface from 0. ``attrs``: ``object``, ``objects``,
        ``unreadable``, ``assumed``. Where ``Scene8`` has them, ``surface_statistic(surface,
        name)`` and ``surface_label(surface, label_group)``, as `open_imaris_spots` has them.

    Raises
    ------
    ImarisError
        No Imaris file, a damaged one, or one without such an object; also on computing.
    StoreError
        The network or disk failed.
    UsageError
        More than one file was given.
    """
    return read_surfaces(url, object, unit=unit)
