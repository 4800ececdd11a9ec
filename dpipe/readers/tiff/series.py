"""Numbered TIFF as one lazy movie: files that differ in their last number, whatever it counts.

``NAME_0001.tif``, ``NAME_0002.tif`` may be frames, planes or channels of one movie, or pictures
that have nothing to do with each other: only a person knows. Names that say what they count are
left to the reader `tiff`.
"""

import os
import re
from collections.abc import Iterable, Iterator, Sequence

import xarray as xr

from dpipe.errors import UsageError
from dpipe.readers.tiff.names import SUFFIXES, as_stem, folders_above
from dpipe.readers.tiff.opening import asked_for, open_movie
from dpipe.sources import Item, Part, natural_key, stem_of

_LAST = re.compile(r"(\d+)(\D*)$")


def find(items: Iterable[Item]) -> Iterator[Part]:
    """Group the files of a folder that differ in their last number only.

    A part is named after what stands before the number; if nothing does, after the folder.

    Parameters
    ----------
    items : iterable of Item
        Files; those without a suffix of TIFF, or without a number, are passed over.

    Yields
    ------
    Part
        In the order in which their first items come.

    Examples
    --------
    >>> names = ["a/Neu1_0001.tif", "a/Neu1_0002.tif", "a/Neu2_0001.tif", "a/mask.tif"]
    >>> [(p.stem, len(p.items)) for p in find(Item(f"/r/{n}", n, 9, "0") for n in names)]
    [('Neu1', 2), ('Neu2', 1)]
    """
    groups: dict[tuple[str, ...], list[Item]] = {}
    for item in items:
        folder, _, name = item.path.rpartition("/")
        stem = stem_of(name, SUFFIXES)
        match = _LAST.search(stem) if name.lower().endswith(SUFFIXES) else None
        if match is not None:
            key = (folder, stem[: match.start()], match[2], name[len(stem) :])
            groups.setdefault(key, []).append(item)
    for (folder, head, *_), group in groups.items():
        stem = head.rstrip(" _.-") or as_stem(folders_above(folder, group[0].uri)[-1])
        yield Part(stem, tuple(sorted(group, key=lambda item: natural_key(item.path))))


def open_tiff_series(
    url: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    files: str | None = None,
    axes: str | None = None,
    series: int | None = None,
    whole_frames: bool = False,
    spacing: Sequence[float] | None = None,
    interval: float | None = None,
) -> xr.Dataset:
    """Open numbered TIFF as one lazy movie; no pixel is read, no file stays open.

    Parameters
    ----------
    url : str, path, or sequence of them
        Files whose names differ in their last number only, without gaps.
    files : {"t", "z", "c"}, optional
        What that number counts: time points, planes or channels; by default time points, and
        ``attrs["assumed"]`` says so. Files of several time points each are put one behind the
        other.
    axes : str, optional
        The axes of one file, as for `open_tiff`.
    series : int, optional
        Which image, counted from 0, of files that hold several.
    whole_frames : bool
        Leave out the time points of which a file is missing, and those behind the last file that
        is whole; by default both are refused.
    spacing : sequence of 3 floats, optional
        Voxel size along z, y, x in micrometres; by default what the first file says.
    interval : float, optional
        Seconds between frames; by default what the first file says.

    Returns
    -------
    xarray.Dataset
        As of `open_tiff`.

    Raises
    ------
    InputError
        A gap, files of unlike size or kind, or what `open_tiff` refuses; also on computing.
    StoreError
        The network or disk failed.
    UsageError
        An option that cannot work.

    Examples
    --------
    >>> import tempfile, tifffile, numpy as np
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     paths = [f"{folder}/Neu1_{k:04}.tif" for k in range(3)]
    ...     for path in paths:
    ...         tifffile.imwrite(path, np.ones((4, 5), "u2"))
    ...     dict(open_tiff_series(paths, files="z").sizes)
    {'t': 1, 'c': 1, 'z': 3, 'y': 4, 'x': 5}
    """
    if files not in (None, "t", "z", "c"):
        raise UsageError(f"files={files!r}; expected 't' (time points), 'z' (planes) or 'c'")
    ds = open_movie(url, asked_for(axes, series, whole_frames, spacing, interval), files or "t")
    if files is None and not isinstance(url, str | os.PathLike) and len(url) > 1:
        line = "the numbers of the files count time points; say files=z for planes, files=c"
        ds.attrs["assumed"] = [*ds.attrs.get("assumed", []), f"{line} for channels"]
    return ds
