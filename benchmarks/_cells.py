"""Counting cells: dpipe's kernels and the same steps with SciPy and scikit-image, one call each."""

import math

import numpy as np
import scipy.ndimage
import scipy.signal
import scipy.spatial.distance
import skimage.exposure
import skimage.filters
import skimage.measure
import skimage.segmentation
from _side_by_side import Line, by_turns, line
from skimage import morphology

from dpipe.operators.frames import blobs, density, find_cells, wiener

AREAS = {"opened": (30, 200), "watershed": (10, 300)}
RADIUS = 20.0
OTHERS = 3
Figures = tuple[int, int, float, float]


def field(size: int = 512, cells: int = 250) -> np.ndarray:
    """Draw a projection: blurred cells of many sizes under shot noise, 8 bits."""
    rng = np.random.default_rng(0)
    image = np.zeros((size, size))
    image[tuple(rng.integers(0, size, (2, cells)))] = rng.uniform(0.4, 1, cells)
    image = scipy.ndimage.gaussian_filter(image, 3)
    return rng.poisson(20 + 150 * image / image.max()).clip(0, 255).astype("u1")


def ours(frame: np.ndarray) -> Figures:
    """Measure a projection with the kernels of `cell-density`."""
    filtered = wiener.wiener(frame, 3)
    masks = find_cells.segment(filtered, equalise=True, round_threshold=True)
    sets = []
    for mask, (least, most) in zip(masks, AREAS.values(), strict=True):
        areas, centroids = blobs.blobs(mask)
        sets.append(centroids[(areas >= least) & (areas <= most)])
    distances, others = density.crowding(max(reversed(sets), key=len), RADIUS)
    return len(sets[0]), len(sets[1]), float(distances.mean()), float((others >= OTHERS).mean())


def straightforward(frame: np.ndarray) -> Figures:
    """Do the same with the libraries; rising levels of markers settle the order of equals."""
    filtered = np.floor(scipy.signal.wiener(frame.astype(float), 3) + 0.5).astype("u1")
    stretched = skimage.exposure.equalize_adapthist(filtered, clip_limit=0.01, nbins=256)
    plane = np.floor(255 * stretched + 0.5).astype("u1")
    limit = math.floor(1.2 * skimage.filters.threshold_otsu(plane) + 0.5)
    opened = morphology.opening(plane > limit, morphology.disk(2))
    opened = morphology.remove_small_objects(opened, max_size=9, connectivity=2)
    cut = morphology.reconstruction(np.maximum(plane, 5) - 5, plane)
    peaks = cut > morphology.reconstruction(cut - 1, cut)
    places = ~opened | morphology.closing(peaks, morphology.disk(1))
    level = 255 - plane.astype(int)
    level[places] = np.arange(places.sum()) - places.sum()
    markers = skimage.measure.label(places, connectivity=2)
    basins = skimage.segmentation.watershed(level, markers, connectivity=2, watershed_line=True)
    by_columns = basins.T.ravel()
    flooded = (basins > 0) & (basins != by_columns[by_columns > 0][0])
    sets = []
    for mask, (least, most) in zip((opened, flooded), AREAS.values(), strict=True):
        regions = skimage.measure.regionprops(skimage.measure.label(mask, connectivity=2))
        sets.append([r.centroid for r in regions if least <= r.area <= most])
    points = np.array(max(reversed(sets), key=len))
    apart = scipy.spatial.distance.cdist(points, points)
    apart[apart == 0] = np.inf
    share = ((apart <= RADIUS).sum(axis=1) >= OTHERS).mean()
    return len(sets[0]), len(sets[1]), float(apart.min(axis=1).mean()), float(share)


def counting(turns: int) -> list[Line]:
    """Measure a projection of 512 x 512 pixels; both sides find the same cells."""
    frame = field()
    np.testing.assert_allclose(ours(frame), straightforward(frame), rtol=1e-9)
    took = by_turns(
        {"dpipe": lambda: ours(frame), "libraries": lambda: straightforward(frame)}, turns
    )
    ratio = took["libraries"] / took["dpipe"]
    return [line("counting cells", "SciPy and scikit-image", ratio, " x as fast", least=5)]
