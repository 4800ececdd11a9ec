"""LIVECell: annotated pictures whose names say cell type, well, place and time."""

import os
import re
from collections.abc import Sequence

import numpy as np
import xarray as xr

from dpipe.readers.annotations.coco import find, open_coco

__all__ = ["find", "open_livecell"]

_NAME = re.compile(
    r"(?P<cell_type>[^_/]+)_(?P<imaging>[^_/]+)_(?P<well>[A-Za-z]{1,2}\d+)_(?P<location>\d+)_"
    r"(?P<days>\d+)d(?P<hours>\d+)h(?P<minutes>\d+)m(?:_(?P<crop>\d+))?"
)
_TEXTS = ("cell_type", "imaging", "well")
_NUMBERS = ("location", "crop")


def open_livecell(
    url: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], *, block: int = 0
) -> xr.Dataset:
    """Open a set of LIVECell: a file of annotations and its pictures; of these only headers.

    Parameters
    ----------
    url : str, path, or sequence of these
        One file of annotations, and pictures, flat or in folders by cell type.
    block : int
        Pictures of a block; 0 chooses by their size.

    Returns
    -------
    xarray.Dataset
        What the reader ``coco`` gives, and over ``record`` what the names of pictures say:
        ``cell_type``, ``imaging`` (``Phase``), ``well``, ``location`` and ``crop`` (numbers from
        1, -1 where the name does not say) and ``picture_time`` (seconds). A name of another form
        says nothing, and is counted in the notes.

    Raises
    ------
    InputError, UsageError
        As of the reader ``coco``.

    References
    ----------
    .. [1] C. Edlund et al., LIVECell: A large-scale dataset for label-free live cell segmentation,
       Nature Methods 18 (2021) 1038-1045. The pictures are CC BY-NC 4.0.
    """
    ds = open_coco(url, channels=None, block=block)
    matches = [_NAME.search(name) for name in ds["file"].values.tolist()]
    columns: dict[str, np.ndarray] = {
        name: np.array([m[name] if m else "" for m in matches], dtype=str) for name in _TEXTS
    }
    columns |= {
        name: np.array([int(m[name] or -1) if m else -1 for m in matches]) for name in _NUMBERS
    }
    columns["picture_time"] = np.array([_seconds(m) if m else np.nan for m in matches])
    notes = list(ds.attrs.get("notes", ()))
    if odd := [n for n, m in zip(ds["file"].values, matches, strict=True) if m is None]:
        notes.append(f"{len(odd)} names are not as LIVECell's: the first: {odd[0]}")
    ds = ds.assign_coords({name: ("record", values) for name, values in columns.items()})
    return ds.assign_attrs({"notes": notes} if notes else {})


def _seconds(match: re.Match[str]) -> float:
    days, hours, minutes = (int(match[name]) for name in ("days", "hours", "minutes"))
    return 60.0 * (minutes + 60 * (hours + 24 * days))
