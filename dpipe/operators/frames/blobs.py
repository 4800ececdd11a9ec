"""Bright blobs of an 8-bit picture: threshold and opening, and a watershed of the same picture.

It knows one chain of steps and its switches; counts, distances and lengths are not its business.
Host only: the steps after the filters are SciPy's, scikit-image's and floods.
"""

import math

import numpy as np
import scipy.ndimage
from skimage.exposure import equalize_adapthist

from dpipe.operators.frames.flood import extended_maxima, watershed
from dpipe.operators.frames.sums import otsu

_EIGHT = np.ones((3, 3), bool)
_LEAST = 10
"""Pixels below which an object is dust."""


def equalised(plane: np.ndarray) -> np.ndarray:
    """Equalise a uint8 plane tile by tile with limited contrast; rounded to uint8, halves up."""
    if plane.min() == plane.max() or min(plane.shape) < 2:
        return plane
    stretched = equalize_adapthist(plane, clip_limit=0.01, nbins=256)
    return np.floor(255 * stretched + 0.5).astype(np.uint8)


def threshold(plane: np.ndarray) -> float:
    """Return Otsu's threshold: 256 bins from the least to the largest value, whole, halves up.

    Of grey values that serve equally well, because none is between them, it takes the middle.
    """
    least, largest = int(plane.min()), int(plane.max())
    counts = np.bincount(plane.ravel(), minlength=256)
    if least == largest:
        return float(least)
    bins = np.zeros(256, np.int64)
    grey = np.arange(least, largest + 1)
    place = (255 * (grey - least) / (largest - least) + 0.5).astype(int)
    np.add.at(bins, place, counts[least : largest + 1])
    best = last = int(otsu(bins))
    while bins[last + 1] == 0:
        last += 1
    return math.floor(least + (best + last) / 2 / 255 * (largest - least) + 0.5)


def opened_mask(plane: np.ndarray, limit: float) -> np.ndarray:
    """Open the pixels above a limit with a disk of radius 2 (13 pixels); drop objects under 10."""
    mask = dilated(eroded(plane > limit, 2), 2)
    labels, _ = scipy.ndimage.label(mask, _EIGHT)
    large = np.bincount(labels.ravel()) >= _LEAST
    large[0] = False
    return large[labels]


def watershed_mask(plane: np.ndarray, opened: np.ndarray, height: int = 5) -> np.ndarray:
    """Flood the complement of the plane from the background and from its extended maxima.

    Returns
    -------
    array of bool, shape (y, x)
        False on lines, and in the basin of the first pixel, column by column, that is no line.
    """
    peaks = extended_maxima(plane, height)
    peaks = eroded(dilated(peaks, 1), 1)
    places = ~opened | peaks
    markers, _ = scipy.ndimage.label(places, _EIGHT)
    basins = watershed(plane, markers)
    by_columns = basins.T.ravel()
    first = by_columns[np.argmax(by_columns > 0)]
    return (basins > 0) & (basins != first)


def blobs(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return areas (n,) and centroids (n, 2: y, x) in pixels of connected blobs, by columns."""
    labels, count = scipy.ndimage.label(np.ascontiguousarray(mask.T), _EIGHT)
    x, y = np.nonzero(labels)
    numbers = labels[x, y] - 1
    areas = np.bincount(numbers, minlength=count)
    sums = [np.bincount(numbers, weights=axis, minlength=count) for axis in (y, x)]
    return areas, np.stack(sums, axis=1) / areas[:, None]


def dilated(mask: np.ndarray, radius: int) -> np.ndarray:
    """Dilate with a disk: all offsets at most `radius` long. Nothing is beyond the border."""
    height, width = mask.shape
    padded = np.pad(mask, radius)
    result = np.zeros_like(mask)
    for dy in range(-radius, radius + 1):
        for dx in range(-radius, radius + 1):
            if dy * dy + dx * dx <= radius * radius:
                top, left = radius + dy, radius + dx
                result |= padded[top : top + height, left : left + width]
    return result


def eroded(mask: np.ndarray, radius: int) -> np.ndarray:
    """Erode with a disk. What is beyond the border takes nothing away."""
    return ~dilated(~mask, radius)
