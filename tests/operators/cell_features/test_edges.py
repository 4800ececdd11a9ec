"""Features of pictures at the edge of what there is: tiny, level, nearly level, equal, full."""

import numpy as np
import pytest
import scipy.spatial.distance
from cells import close, expected, measured, on_device, on_host, random_pictures, same

from dpipe.operators.cell_features import columns

MOVES = pytest.mark.parametrize("move", [on_host, on_device])


names = columns.names


def named(pictures, families, move=on_host):
    wanted = names(families, pictures[0][0].shape[2])
    return [dict(zip(wanted, row, strict=True)) for row in measured(pictures, families, move)]


@MOVES
def test_tiny_pictures(move):
    """1 x 1, single rows and columns, under a window of 7, a step of 5."""
    random, pictures = np.random.default_rng(5), []
    for height, width in [(1, 1), (1, 2), (2, 1), (1, 40), (40, 1), (2, 2), (6, 7), (7, 6), (7, 7)]:
        for share in (0.0, 0.5, 1.0):
            shape = (height, width, 2)
            image = random.integers(0, 65536, shape).astype("u2")
            pictures.append((image, (random.random(shape) < share).astype("u1")))
    families = (*columns.NINE, "hog")
    same(measured(pictures, families, move), expected(pictures, families), names(families, 2))


@MOVES
def test_long_rows(move):
    """Sums of a row are taken in pieces of 1,024."""
    random = np.random.default_rng(6)
    pictures = [(random.integers(0, 256, (2, 2100, 1)).astype("u1"), np.ones((2, 2100, 1), "u1"))]
    families = ("glcm", "gradient-rms", "percentiles")
    same(measured(pictures, families, move), expected(pictures, families), names(families, 1))


@MOVES
def test_gradients_of_pictures_that_shrink_along_one_side(move):
    random, pictures = np.random.default_rng(7), []
    for shape in [(100, 30, 1), (30, 100, 1), (64, 65, 1), (150, 90, 1)]:
        pictures.append((random.integers(0, 4096, shape).astype("u2"), np.ones(shape, "u1")))
    same(measured(pictures, ["hog"], move), expected(pictures, ["hog"]), names(["hog"], 1))


@MOVES
@pytest.mark.parametrize("channels", [1, 2, 16, 17])
def test_numbers_of_channels(channels, move):
    families = tuple(f for f in columns.NINE if f != "intersections" or channels < 3)
    pictures = random_pictures(2, channels, seed=channels, largest=20)
    found = measured(pictures, families, move)
    same(found, expected(pictures, families), names(families, channels))


@MOVES
def test_full_scale_does_not_overflow(move):
    """Sums of 65,535 squared over 300 x 300 pixels pass 32 bits, those times pixels 53."""
    image = np.full((300, 300, 2), 65535, "u2")
    image[::7, ::5, 0] = 65534
    image[3::11, :, 1] = 0
    mask = np.ones(image.shape, "u1")
    mask[:, 150:, 1] = 0
    families = [f for f in columns.NINE if f not in ("mask-based", "cell-distances")]
    pictures = [(image, mask)]
    same(measured(pictures, families, move), expected(pictures, families), names(families, 2))


@MOVES
@pytest.mark.parametrize("dtype", ["u2", "f4", "f8"])
def test_nearly_level_channels_correlate_as_in_scipy(move, dtype):
    """One step in 60,000: by sums of squares alone nothing would be left of it."""
    random = np.random.default_rng(2)
    image = 60000 + random.integers(0, 2, (150, 150, 2)).astype(dtype)
    image[..., 1] = np.where(random.random((150, 150)) < 0.8, image[..., 0], image[..., 1])
    (found,) = named([(image.astype(dtype), np.ones(image.shape, "u1"))], ["colocalisation"], move)
    one, two = image.astype("f8").reshape(-1, 2).T
    expected = scipy.spatial.distance.correlation(one, two)
    close(found["correlation_distance_R1_Ch1_R2_Ch2"], expected, rtol=1e-12)


@MOVES
@pytest.mark.parametrize("value", [7, 0.1, 1 / 3, 1e5 / 7])
@pytest.mark.parametrize("dtype", ["u2", "f4", "f8"])
def test_a_level_channel_has_no_correlation(value, dtype, move):
    """Whatever its value: rounding of a mean is no deviation from it."""
    image = np.full((9, 11, 2), value).astype(dtype)
    if not image.any():
        return
    image[..., 1] = np.random.default_rng(0).random((9, 11)) * 9 + 1
    families = ["cell-shape", "colocalisation", "colocalisation-corrected"]
    (found,) = named([(image, np.ones(image.shape, "u1"))], families, move)
    if value > 0:  # less is no intensity
        assert np.isnan([found["kurtosis_intensity_Ch1"], found["skew_intensity_Ch1"]]).all()
    for a, b in ((1, 2), (2, 1)):
        assert np.isnan(found[f"correlation_distance_R{a}_Ch{a}_R{b}_Ch{b}"])
        assert found[f"intensity_correlation_quotient_R{a}_Ch{a}_R{b}_Ch{b}"] == -0.5
    assert np.isnan(found["pearson_correlation_Ch1_Ch2"])
    assert found["li_intensity_correlation_quotient_Ch1_Ch2"] == -0.5


@MOVES
@pytest.mark.parametrize("dtype", ["u2", "f4", "f8"])
def test_equal_channels_are_nowhere_apart(dtype, move):
    random = np.random.default_rng(3)
    image = np.repeat((random.random((40, 50, 1)) * 60000 + 1).astype(dtype), 2, axis=2)
    mask = np.repeat((random.random((40, 50, 1)) < 0.6).astype("u1"), 2, axis=2)
    (found,) = named([(image, mask)], ["colocalisation"], move)
    assert found["euclidean_distance_R1_Ch1_R2_Ch2"] == 0
    assert found["hausdorff_distance_R1_Ch1_R2_Ch2"] == 0
    assert found["dice_distance_Ch1_Ch2"] == found["jaccard_distance_Ch1_Ch2"] == 0
    close(found["correlation_distance_R1_Ch1_R2_Ch2"], 0, atol=1e-12)
    close(found["structural_similarity_R1_Ch1_R2_Ch2"], 1)


@MOVES
def test_float64_keeps_its_digits(move):
    """A step of 1e-9 of the value is below what float32 holds."""
    image = np.ones((8, 8, 2))
    image[0, 0, 0] += 1e-9
    (found,) = named([(image, np.ones(image.shape, "u1"))], ["colocalisation"], move)
    close(found["euclidean_distance_R1_Ch1_R2_Ch2"], 1e-9, rtol=1e-6, atol=0)


@MOVES
def test_largest_of_what_is_below_zero(move):
    """Of a full mask the largest is below 0 too, of a part it is the rest's 0, as in scifAI."""
    shape = (8, 9, 2)
    image = -1 - np.arange(np.prod(shape), dtype="f4").reshape(shape)  # -1 ... -144
    full, part = np.ones(shape, "u1"), np.ones(shape, "u1")
    part[0] = 0
    families = ["intersections", "intersections-corrected"]
    pictures = [(image, full), (image, part), (image[:1, :1], full[:1, :1])]
    found = measured(pictures, families, move)
    wanted = names(families, 2)
    cut = len(names(families[:1], 2))
    same(found[:, :cut], expected(pictures, families[:1]), wanted[:cut])
    rows = [dict(zip(wanted, row, strict=True)) for row in found]
    assert [row["shared_max_ratio_Ch1_R1_R2"] for row in rows] == [1, 1, 1]


@MOVES
def test_masks_that_lie_in_each_other(move):
    """Equal, one in the other, equal but for some pixels of 0: Hausdorff's as in scikit-image."""
    y, x = np.mgrid[:60, :70]
    random = np.random.default_rng(4)
    pictures = []
    for radii in ((20, 20, 20), (20, 12, 5), (25, 24, 23)):
        mask = np.stack([(y - 30) ** 2 + (x - 35) ** 2 < r * r for r in radii], 2).astype("u1")
        for zeros in (0.0, 0.02, 0.5):
            image = random.integers(1, 4000, mask.shape).astype("u2")
            image[random.random(mask.shape) < zeros] = 0
            pictures.append((image, mask))
    same(
        measured(pictures, ["colocalisation"], move),
        expected(pictures, ["colocalisation"]),
        names(["colocalisation"], 3),
    )


@MOVES
def test_masks_beside_each_other_after_a_full_one(move):
    """What a kernel kept of the picture before is no mask of this one."""
    image = np.random.default_rng(8).integers(1, 4000, (24, 40, 3)).astype("u2")
    x = np.arange(40)
    halves = np.stack([x < 40, x < 12, x > 20], axis=1) & np.ones((24, 1, 1), bool)
    pictures = [(image, np.ones(image.shape, "u1")), (image, halves.astype("u1"))]
    pictures.append((image, halves[..., [1, 0, 2]].astype("u1")))
    families = ("colocalisation", "intersections")
    same(measured(pictures, families, move), expected(pictures, families), names(families, 3))
