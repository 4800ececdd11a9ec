"""Finding the cells of a volume, as the Leuko-Death study counts them.

It knows the chain of filters and the two sets of blobs that compete; what is done with the cells
is not its business. Host only from the filters on.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from dpipe.compute import to_host
from dpipe.errors import UsageError
from dpipe.operators.frames.blobs import blobs, equalised, opened_mask, threshold, watershed_mask
from dpipe.operators.frames.projection_kernel import normalised_projection
from dpipe.operators.frames.wiener import wiener

Limits = tuple[float, float]


def limits(name: str, areas: Sequence[float]) -> Limits:
    """Return the least and largest area that a parameter gives, or say what is wrong with it."""
    try:
        least, largest = (float(value) for value in areas)
    except (TypeError, ValueError):
        least, largest = math.nan, math.nan
    if not 0 <= least <= largest:
        raise UsageError(f"{name}: found {areas!r}; expected two numbers of pixels, rising")
    return least, largest


def find_cells(
    volume: Any,
    *,
    areas: tuple[Limits, Limits] = ((30, 200), (10, 300)),
    most: int = 1500,
    equalise: bool = True,
    round_threshold: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the centroids (n, 2: y, x) in pixels of both sets, *opened* and *watershed*.

    Parameters
    ----------
    volume : array, shape (z, y, x)
        One frame of one channel.
    areas : tuple
        Least and largest area in pixels of a cell of each set, both included.
    most : int
        Blobs of each set beyond this number, column by column, are left out.
    equalise, round_threshold : bool
        As of `segment`.
    """
    filtered = to_host(wiener(normalised_projection(volume)[0], 3))
    masks = segment(filtered, equalise=equalise, round_threshold=round_threshold)
    opened, flooded = (
        _chosen(*blobs(mask), *limits)[:most] for mask, limits in zip(masks, areas, strict=True)
    )
    return opened, flooded


def larger(opened: np.ndarray, flooded: np.ndarray) -> np.ndarray:
    """Return the set with more cells, *opened* if they are as many."""
    return flooded if len(flooded) > len(opened) else opened


def segment(
    filtered: np.ndarray, *, equalise: bool, round_threshold: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return the masks *opened* and *watershed* of a filtered uint8 projection (y, x)."""
    plane = equalised(filtered) if equalise else filtered
    limit = 1.2 * threshold(plane)
    opened = opened_mask(plane, math.floor(limit + 0.5) if round_threshold else limit)
    return opened, watershed_mask(plane, opened)


def _chosen(areas: np.ndarray, centroids: np.ndarray, least: float, largest: float) -> np.ndarray:
    return centroids[(areas >= least) & (areas <= largest)]
