"""The nine families of scifAI and HOG with scikit-image and SciPy, picture by picture.

A peer for the benchmark and an oracle for the tests: each number is one call of a library, as a
person would write it who measures one picture at a time. Pictures are (H, W, C), masks 0 or 1, or
of several values, with which pixels are multiplied as scifAI does it.
"""

import warnings
from collections.abc import Callable, Iterable

import numpy as np
import scipy.spatial.distance
import scipy.stats
import skimage.feature
import skimage.filters
import skimage.measure
import skimage.metrics
import skimage.transform

Found = dict[str, float]
SHAPES = {
    "area": "area",
    "bbox_area": "area_bbox",
    "convex_area": "area_convex",
    "eccentricity": "eccentricity",
    "equivalent_diameter": "equivalent_diameter_area",
    "euler_number": "euler_number",
    "extent": "extent",
    "feret_diameter_max": "feret_diameter_max",
    "filled_area": "area_filled",
    "major_axis_length": "axis_major_length",
    "max_intensity": "intensity_max",
    "mean_intensity": "intensity_mean",
    "min_intensity": "intensity_min",
    "minor_axis_length": "axis_minor_length",
    "moments_hu": "moments_hu",
    "orientation": "orientation",
    "perimeter": "perimeter",
    "perimeter_crofton": "perimeter_crofton",
    "solidity": "solidity",
    "weighted_moments_hu": "moments_weighted_hu",
}
TEXTURES = ("contrast", "dissimilarity", "homogeneity", "ASM", "energy", "correlation")
STATISTICS: dict[str, Callable[[np.ndarray], float]] = {
    "sum": np.sum,
    "mean": np.mean,
    "std": np.std,
    "kurtosis": scipy.stats.kurtosis,
    "skew": scipy.stats.skew,
    "min": np.min,
    "max": np.max,
}


def mask_based(image: np.ndarray, mask: np.ndarray) -> Found:
    found: Found = {}
    columns = [
        f"{n}-{i}" if "_hu" in n else n for n in SHAPES for i in range(7 if "_hu" in n else 1)
    ]
    for c in range(image.shape[2]):
        label = mask[..., c].astype(int)
        table = skimage.measure.regionprops_table(label, image[..., c], tuple(SHAPES.values()))
        for column, values in zip(columns, table.values(), strict=True):
            found[f"mask_based_{column}_Ch{c + 1}"] = values[0] if len(values) else -1
    return found


def glcm(image: np.ndarray, mask: np.ndarray) -> Found:
    found: Found = {}
    for c in range(image.shape[2]):
        grey = (image[..., c] / image[..., c].max() * 255).astype(np.uint8)
        pairs = skimage.feature.graycomatrix(grey, distances=[5], angles=[0], levels=256)
        for name in TEXTURES:
            found[f"{name}_Ch{c + 1}"] = skimage.feature.graycoprops(pairs, name)[0, 0]
    return found


def gradient(image: np.ndarray, mask: np.ndarray) -> Found:
    slopes = [skimage.filters.sobel(image[..., c]) for c in range(image.shape[2])]
    return {f"gradient_RMS_Ch{c}": np.sqrt(np.mean(s**2)) for c, s in enumerate(slopes, 1)}


def background(image: np.ndarray, mask: np.ndarray) -> Found:
    outside = [
        image[..., c][(mask[..., c] == 0) & (image[..., c] > 0)] for c in range(mask.shape[2])
    ]
    return {f"background_mean_Ch{c}": pixels.mean() for c, pixels in enumerate(outside, 1)}


def percentiles(image: np.ndarray, mask: np.ndarray) -> Found:
    return {
        f"percentile_{p}_Ch{c + 1}": np.percentile(image[..., c], p)
        for c in range(image.shape[2])
        for p in range(10, 100, 10)
    }


def cell_shape(image: np.ndarray, mask: np.ndarray) -> Found:
    found: Found = {}
    for c in range(image.shape[2]):
        inside = image[..., c] * mask[..., c]
        pixels = inside[inside > 0]
        some = pixels.size > 0
        found[f"Area_Ch{c + 1}"] = mask[..., c].sum() if some else 0
        for name, statistic in STATISTICS.items():
            found[f"{name}_intensity_Ch{c + 1}"] = statistic(pixels) if some else 0
        found[f"shannon_entropy_Ch{c + 1}"] = skimage.measure.shannon_entropy(pixels) if some else 0
    return found


def colocalisation(image: np.ndarray, mask: np.ndarray) -> Found:
    found: Found = {}
    distance, channels = scipy.spatial.distance, range(image.shape[2])
    for a in channels:
        for b in channels[a + 1 :]:
            one, two = mask[..., a].ravel(), mask[..., b].ravel()
            found[f"dice_distance_Ch{a + 1}_Ch{b + 1}"] = distance.dice(one, two)
            found[f"jaccard_distance_Ch{a + 1}_Ch{b + 1}"] = distance.jaccard(one, two)
    for a in channels:
        for b in channels:
            if a == b:
                continue
            one, two = image[..., a] * mask[..., a], image[..., b] * mask[..., b]
            flat = one.ravel(), two.ravel()
            above = (one > one.mean()) & (two > two.mean())
            values = {
                "correlation_distance": distance.correlation(*flat),
                "euclidean_distance": distance.euclidean(*flat),
                "manders_overlap_coefficient": one.sum()
                * two.sum()
                / np.sum(one**2)
                / np.sum(two**2),
                "intensity_correlation_quotient": above.sum() / one.shape[0] - 0.5,
                "structural_similarity": np.nan,
                "hausdorff_distance": skimage.metrics.hausdorff_distance(one, two),
            }
            if min(one.shape) >= 7:
                similar = skimage.metrics.structural_similarity(one, two, data_range=2)
                values["structural_similarity"] = similar
            suffix = f"R{a + 1}_Ch{a + 1}_R{b + 1}_Ch{b + 1}"
            found |= {f"{name}_{suffix}": value for name, value in values.items()}
    return found


def intersections(image: np.ndarray, mask: np.ndarray) -> Found:
    found: Found = {}
    inside, channels = image * mask, range(image.shape[2])
    for a in channels:
        for b in channels[a + 1 :]:
            both = mask[..., a] * mask[..., b]
            for c in channels:
                whole, shared, suffix = inside[..., c], inside[..., c] * both, (c + 1, a + 1, b + 1)
                at = "Ch{}_R{}_R{}".format(*suffix)
                found[f"sum_intensity_ratio_{at}"] = shared.sum() / (whole.sum() + 1e-12)
                found[f"mean_intensity_ratio_{at}"] = shared.mean() / (whole.mean() + 1e-12)
                found[f"max_intensity_ratio_{at}"] = shared.max() / (whole.mean() + 1e-12)
    return found


def centres(image: np.ndarray, mask: np.ndarray) -> Found:
    found: Found = {}
    channels, wanted = range(image.shape[2]), ("centroid", "centroid_weighted")
    for a in channels:
        for b in channels[a + 1 :]:
            one, two = (
                skimage.measure.regionprops_table(mask[..., c].astype(int), image[..., c], wanted)
                for c in (a, b)
            )
            for name, column in zip(("cell", "weighted_cell"), wanted, strict=True):
                apart = -1.0
                if one["centroid-0"].size and two["centroid-0"].size:
                    steps = [two[f"{column}-{i}"][0] - one[f"{column}-{i}"][0] for i in (0, 1)]
                    apart = np.sqrt(steps[0] ** 2 + steps[1] ** 2)
                found[f"{name}_distance_Ch{a + 1}_Ch{b + 1}"] = apart
    return found


def hog(image: np.ndarray, mask: np.ndarray) -> Found:
    found: Found = {}
    for c in range(image.shape[2]):
        small = skimage.transform.resize(image[..., c], (64, 64))
        values = skimage.feature.hog(
            small, orientations=8, pixels_per_cell=(12, 12), cells_per_block=(1, 1)
        )
        found |= {f"Hog_{i}_Ch{c + 1}": value for i, value in enumerate(values)}
    return found


FAMILIES: dict[str, Callable[[np.ndarray, np.ndarray], Found]] = {
    "mask-based": mask_based,
    "glcm": glcm,
    "gradient-rms": gradient,
    "background-mean": background,
    "percentiles": percentiles,
    "cell-shape": cell_shape,
    "colocalisation": colocalisation,
    "intersections": intersections,
    "cell-distances": centres,
    "hog": hog,
}
NINE = tuple(FAMILIES)[:9]


def measure(image: np.ndarray, mask: np.ndarray, families: Iterable[str] = NINE) -> Found:
    """Measure one picture; it becomes float64 first, as scifAI does."""
    found: Found = {}
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # means of nothing, correlations of constants
        for name in families:
            found |= FAMILIES[name](image.astype(np.float64), mask)
    return found
