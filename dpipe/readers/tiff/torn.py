"""Files that are cut off, where tifffile gives up: what their header promised, and what is there.

Knows the header of ImageJ, which stands at the start of a file; the text of OME-TIFF often stands
at its end, and is lost with it.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from tifffile import TiffFile

from dpipe.formats.tiff import MOST_PLANES, Complaint, Flaw, Layout, chain

_ORDERS = {
    "czt": "TZC", "default": "TZC", "ctz": "ZTC", "zct": "TCZ", "ztc": "CTZ", "tcz": "ZCT",
    "tzc": "CZT",
}  # fmt: skip
"""Axes by the order that ImageJ names, which begins with the fastest."""


def promised(tif: TiffFile, missing: list[int]) -> Layout | None:
    """Lay out a file by what its header promised; None where tifffile found it whole.

    Parameters
    ----------
    tif : tifffile.TiffFile
        Open.
    missing : list of int
        The numbers of planes that are not there are added to it.
    """
    if not tif.is_imagej or tif.is_ome or any(image.kind == "imagej" for image in tif.series):
        return None
    axes, shape = _imagej(tif.imagej_metadata or {})
    first, count = tif.pages.first, math.prod(shape)
    if count > MOST_PLANES or any(n < 1 for n in shape):
        raise Flaw(f"its header promises {shape} planes; say axes=")
    long = [n > 1 for n in shape]
    axes = "".join(a for a, keep in zip(axes, long, strict=True) if keep)
    shape = tuple(n for n, keep in zip(shape, long, strict=True) if keep)
    if len(tif.pages) == 1 and first.is_contiguous and count > 1:
        layout = chain(tif)
        offset, size = int(first.dataoffsets[0]), layout.page_bytes
        stored_planes = max(0, tif.filehandle.size - offset) // size
        missing += range(min(stored_planes, count), count)
        stored = first.dtype.newbyteorder(tif.byteorder).str
        whole = replace(layout, stored=stored, offset=offset, pages=b"")
    else:
        whole = chain(tif, missing)
        stored_planes = whole.shape[0]
        missing += range(stored_planes, count)
        pages = np.frombuffer(whole.pages, np.int64)[:count]
        pages = np.concatenate([pages, np.full(max(0, count - stored_planes), -1, np.int64)])
        whole = replace(whole, pages=pages.tobytes())
    return replace(whole, axes=axes + whole.axes[1:], shape=(*shape, *whole.page))


def _imagej(tags: Mapping[str, Any]) -> tuple[str, tuple[int, ...]]:
    sizes = {"T": tags.get("frames", 1), "Z": tags.get("slices", 1), "C": tags.get("channels", 1)}
    axes = _ORDERS.get(str(tags.get("order", "czt")).lower(), "TZC")
    shape = tuple(int(sizes[axis]) for axis in axes)
    images = int(tags.get("images", 1))
    if math.prod(shape) == 1 and images > 1:
        return "I", (images,)
    return axes, shape


def lost_header(complaints: Iterable[Complaint]) -> bool:
    """Tell whether a text of the header is among what is lost: then nobody knows the axes."""
    return any("TiffTag" in complaint.text for complaint in complaints)
