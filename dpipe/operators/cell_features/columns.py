"""Names of the families of numbers that are measured on cells, and of their columns.

It knows scifAI's names, channels counted from 1, and dpipe's own for what differs; it computes
nothing.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations, permutations

SHAPES = (
    *"area bbox_area convex_area eccentricity equivalent_diameter euler_number extent".split(),
    *"feret_diameter_max filled_area major_axis_length max_intensity mean_intensity".split(),
    *("min_intensity", "minor_axis_length", *(f"moments_hu-{i}" for i in range(7))),
    *("orientation", "perimeter", "perimeter_crofton", "solidity"),
    *(f"weighted_moments_hu-{i}" for i in range(7)),
)
TEXTURES = "contrast dissimilarity homogeneity ASM energy correlation".split()
STATISTICS = "sum mean std kurtosis skew min max".split()
PAIRED = (
    *("correlation_distance", "euclidean_distance", "manders_overlap_coefficient"),
    *("intensity_correlation_quotient", "structural_similarity", "hausdorff_distance"),
)
CORRECTED = (
    *("manders_m1", "manders_m2", "manders_overlap", "pearson_correlation"),
    *("li_intensity_correlation_quotient", "ranged_structural_similarity"),
)
RATIOS = ("sum_intensity_ratio", "mean_intensity_ratio", "max_intensity_ratio")
SHARES = ("shared_sum_ratio", "shared_mean_ratio", "shared_max_ratio")

NINE = (
    *("mask-based", "glcm", "gradient-rms", "background-mean", "percentiles", "cell-shape"),
    *("colocalisation", "intersections", "cell-distances"),
)
FAMILIES = (*NINE, "hog", "glcm-corrected", "colocalisation-corrected", "intersections-corrected")
_HOG = 200
_LONE = {  # columns of one channel
    "mask-based": [f"mask_based_{name}" for name in SHAPES],
    "glcm": TEXTURES,
    "gradient-rms": ["gradient_RMS"],
    "background-mean": ["background_mean"],
    "percentiles": [f"percentile_{p}" for p in range(10, 100, 10)],
    "cell-shape": ["Area", *(f"{name}_intensity" for name in STATISTICS), "shannon_entropy"],
    "hog": [f"Hog_{i}" for i in range(_HOG)],
    "glcm-corrected": [f"glcm{of}_{name}" for of in ("", "_cell") for name in TEXTURES],
}
_PAIRS = {  # columns of two
    "cell-distances": ("cell_distance", "weighted_cell_distance"),
    "colocalisation-corrected": CORRECTED,
}


def names(families: Sequence[str], channels: int) -> list[str]:
    """Return the names of the columns of some families, in the order of the kernels.

    >>> names(["gradient-rms", "cell-distances"], 2)[1:]
    ['gradient_RMS_Ch2', 'cell_distance_Ch1_Ch2', 'weighted_cell_distance_Ch1_Ch2']
    """
    return [name for family in families for name in _names(family, channels)]


def count(family: str, channels: int) -> int:
    """Return the number of columns of a family.

    >>> sum(count(family, 6) for family in NINE), sum(count(family, 8) for family in NINE)
    (858, 1584)
    """
    lone, pair = channels, channels * (channels - 1) // 2
    if family in _LONE:
        return lone * len(_LONE[family])
    if family in _PAIRS:
        return pair * len(_PAIRS[family])
    if family == "colocalisation":
        return 2 * pair * (1 + len(PAIRED))
    return pair * lone * len(RATIOS)


def pairs(channels: int) -> list[tuple[int, int]]:
    """Return all pairs a < b in the order in which every family has them."""
    return list(combinations(range(channels), 2))


def _names(family: str, channels: int) -> Iterator[str]:
    if family in _LONE:
        for c in range(1, channels + 1):
            yield from (f"{name}_Ch{c}" for name in _LONE[family])
        return
    couples = [(a + 1, b + 1) for a, b in pairs(channels)]
    if family in _PAIRS:
        yield from (f"{name}_Ch{a}_Ch{b}" for a, b in couples for name in _PAIRS[family])
    elif family == "colocalisation":
        for a, b in couples:
            yield from (f"dice_distance_Ch{a}_Ch{b}", f"jaccard_distance_Ch{a}_Ch{b}")
        for a, b in permutations(range(1, channels + 1), 2):
            yield from (f"{name}_R{a}_Ch{a}_R{b}_Ch{b}" for name in PAIRED)
    else:
        kinds = RATIOS if family == "intersections" else SHARES
        for a, b in couples:
            for c in range(1, channels + 1):
                yield from (f"{name}_Ch{c}_R{a}_R{b}" for name in kinds)
