"""Pictures of a collection that were put aside: their number, reasons and coordinates.

This module knows coordinates of collections; it reads and writes nothing.
"""

import numpy as np
import pandas as pd
import xarray as xr

from dpipe import schema
from dpipe.catalog import PicturesAside

_MOST_NAMED = 100
_UNREADABLE = "its pixels cannot be decoded"
_NOTHING: dict[str, int | str] = {
    "height": 0,
    "width": 0,
    "mask_dtype": "",
    "label": "-1",
    "set": "unlabeled",
}
"""Values of the coordinates of a picture that was put aside."""


def put_aside(ds: xr.Dataset) -> PicturesAside:
    """Return the pictures of a collection that were put aside, as its summary counts them.

    Parameters
    ----------
    ds : xarray.Dataset
        Lazy or not.

    Returns
    -------
    PicturesAside
        Empty of what is no collection of pictures.
    """
    if "put_aside" not in ds.coords:
        return {}
    reasons = np.asarray(ds["put_aside"].values)
    records = np.flatnonzero(reasons != "")
    files = np.asarray(ds["file"].values)[records[:_MOST_NAMED]].tolist()
    named = [[file, str(reasons[i])] for file, i in zip(files, records, strict=False)]
    counts = PicturesAside(records=len(reasons), put_aside=len(records), aside=named)
    if passing := int(np.char.startswith(reasons[records].astype(str), "gone").sum()):
        counts["passing"] = passing
    return counts


def unreadable(ds: xr.Dataset, flags: np.ndarray) -> dict[str, np.ndarray]:
    """Return the coordinates of a collection in which pictures that proved unreadable differ.

    Parameters
    ----------
    ds : xarray.Dataset
        A collection, as it was laid out from what its files say.
    flags : numpy.ndarray
        ``picture_flag`` as it was computed.

    Returns
    -------
    dict of str to numpy.ndarray
        By name, the values of whole coordinates: what they hold of one that was put aside from
        the start. Empty if no picture proved unreadable.

    Examples
    --------
    >>> coords = {"block": [0], "in_block": ("record", [0, 0]), "in_slot": ("record", [0, 1]),
    ...           "put_aside": ("record", ["", ""]), "height": ("record", [7, 8])}
    >>> unreadable(xr.Dataset(coords=coords), np.array([[0, 1]], "u1"))["height"]
    array([7, 0])
    """
    if "put_aside" not in ds.coords:
        return {}
    rows = ds.get_index("block").get_indexer(pd.Index(ds["in_block"].values))
    bits = flags[rows, ds["in_slot"].values]
    bad = (bits & schema.UNREADABLE) > 0
    if not bad.any():
        return {}
    reasons = np.asarray(ds["put_aside"].values)
    why = np.where(bits & schema.GONE, schema.GONE_REASON, _UNREADABLE)
    changed = {"put_aside": np.where(bad & (reasons == ""), why, reasons)}
    for name, nothing in _NOTHING.items():
        if name in ds.coords:
            changed[name] = np.where(bad, nothing, ds[name].values)
    return changed
