"""Stamps that ScanImage writes into the text of each page: when a volume began.

Knows which page is the first of a volume; knows nothing of headers.
"""

import re

import numpy as np
from tifffile import TiffFile

from dpipe.formats.frame_times import AGREE, named, settled
from dpipe.formats.measures import HeaderFacts, Quantity, number

_STAMP = re.compile(r"(?:frameTimestamps_sec|Frame Timestamp\(s\))\s*=\s*([-\d.eE+]+)")
_MOST = 20_000
"""Volumes whose stamps are all read, which costs a look at a page each."""


def mean_step(tif: TiffFile, per: int, volumes: int) -> float | None:
    """Return the mean step between the first pages of the first and the last volume of a file.

    Parameters
    ----------
    tif : tifffile.TiffFile
        Open.
    per : int
        Pages of a volume.
    volumes : int
        Of the movie, which may go on in other files.
    """
    last = min(volumes - 1, (len(tif.pages) - 1) // per)
    if last < 1:
        return None
    start, end = (_stamp(tif, page) for page in (0, last * per))
    return (end - start) / last if start is not None and end is not None and end > start else None


def uneven_times(tif: TiffFile, per: int, volumes: int, notes: list[str]) -> HeaderFacts:
    """Return the times of all volumes, if they are not evenly apart; else nothing.

    Parameters
    ----------
    tif, per, volumes
        As of `mean_step`; of a movie of several files nothing is known.
    notes : list of str
        Gets a line.

    Returns
    -------
    HeaderFacts
        ``times`` and ``interval``.
    """
    if not 2 < volumes <= min(_MOST, -(-len(tif.pages) // per)):
        return {}
    times, odd = settled([_stamp(tif, volume * per) for volume in range(volumes)])
    if times is None:
        return {}
    steps = np.diff(times)
    middle = float(np.median(steps))
    if (abs(steps - middle) <= AGREE * middle).all():
        return {}
    doubt = f"; {named(odd)} lie between their neighbours" if odd else ""
    notes.append(
        f"volumes are {steps.min():g} to {steps.max():g} s apart by the stamps of pages, which are "
        f"taken{doubt}"
    )
    return {"interval": Quantity(middle), "times": times}


def _stamp(tif: TiffFile, page: int) -> float | None:
    match = _STAMP.search(str(tif.pages.get(page, aspage=True).description))
    return number(match[1]) if match else None
