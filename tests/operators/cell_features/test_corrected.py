"""What scifAI gets wrong, corrected: each number against scikit-image's function of that name.

Only Li's quotient has none; it is worked out by hand, and by NumPy as Li's paper writes it.
"""

import numpy as np
import pandas as pd
import pytest
import skimage.feature
import skimage.measure
import skimage.metrics
from cells import close, measured, on_device, on_host, random_pictures

from dpipe.operators.cell_features import columns

KINDS = {
    "8 bits": ("u1", 256, 1),
    "12 bits": ("u2", 4096, 1),
    "16 bits": ("u2", 65536, 1),
    "float32": ("f4", 4096, 7),
    "float64": ("f8", 4096, 7),
}
FAMILIES = [f"{family}-corrected" for family in ("colocalisation", "intersections", "glcm")]


@pytest.fixture(scope="module", params=KINDS)
def pictures(request):
    """Empty masks, masks of one pixel, empty channels, level channels, pictures under 7 pixels."""
    made = random_pictures(40, 2, 9, *KINDS[request.param])
    full = made[0][0].dtype.type(3) * np.arange(1, 25).astype(made[0][0].dtype)
    for width in (5, 6):  # without pairs five columns apart, and with one a row
        shape = (24 // width + 4, width, 2)
        made.append((np.resize(full, shape), np.ones(shape, "u1")))
    return made


@pytest.fixture(scope="module", params=[on_host, on_device])
def corrected(pictures, request):
    """Yield planes, masks, and what is found of them by name."""
    found = measured(pictures, FAMILIES, request.param)
    rows = pd.DataFrame(found, columns=columns.names(FAMILIES, 2)).to_dict(orient="records")
    return [
        (np.moveaxis(image.astype(float), 2, 0), np.moveaxis(mask, 2, 0) > 0, row)
        for (image, mask), row in zip(pictures, rows, strict=True)
    ]


def test_manders_is_that_of_scikit_image(corrected):
    checked = 0
    for (a, b), (m, n), row in corrected:
        names = ("manders_m1_Ch1_Ch2", "manders_m2_Ch1_Ch2")
        for name, plane, own, other in zip(names, (a, b), (m, n), (n, m), strict=True):
            if (plane * own).any():
                share = skimage.measure.manders_coloc_coeff(plane, other, mask=own)
                close(row[name], share, err_msg=name)
                checked += 0 < share < 1
            else:
                assert np.isnan(row[name])
        if (a * m).any() and (b * n).any():
            overlap = skimage.measure.manders_overlap_coeff(a * m, b * n)
            close(row["manders_overlap_Ch1_Ch2"], overlap)
        else:
            assert np.isnan(row["manders_overlap_Ch1_Ch2"])
    assert checked > 10


def test_pearson_is_that_of_scikit_image(corrected):
    """NaN where a channel is level over the pixels of either mask, as there."""
    checked = 0
    for (a, b), (m, n), row in corrected:
        found, either = row["pearson_correlation_Ch1_Ch2"], m | n
        if either.sum() > 1 and np.ptp(a[either]) and np.ptp(b[either]):
            close(found, skimage.measure.pearson_corr_coeff(a, b, mask=either)[0])
            checked += 1
        else:
            assert np.isnan(found)
    assert checked > 10


def test_li_is_that_of_the_paper(corrected):
    for (a, b), (m, n), row in corrected:
        found, either = row["li_intensity_correlation_quotient_Ch1_Ch2"], m | n
        if not either.any():
            assert np.isnan(found)
            continue
        u, v = ((p[either] - p[either].mean()) * (np.ptp(p[either]) > 0) for p in (a, b))
        close(found, np.mean(u * v > 0) - 0.5)


def test_li_by_hand():
    """Means 2 and 4: (1, 3) below both, (3, 5) above both, (2, 4) on both: 2 of 3, less 1/2."""
    image = np.zeros((7, 7, 2), "u2")
    image[0, :3] = [[1, 3], [2, 4], [3, 5]]
    mask = (image > 0).astype("u1")
    image[5, 5] = 99  # outside
    found = measured([(image, mask)], ["colocalisation-corrected"])
    by_name = dict(zip(columns.names(["colocalisation-corrected"], 2), found[0], strict=True))
    close(by_name["li_intensity_correlation_quotient_Ch1_Ch2"], 2 / 3 - 1 / 2)
    assert by_name["manders_m1_Ch1_Ch2"] == 1
    close(by_name["manders_overlap_Ch1_Ch2"], 26 / np.sqrt(14 * 50))


def test_similarity_is_that_of_scikit_image_with_the_range(corrected):
    for (a, b), (m, n), row in corrected:
        found = row["ranged_structural_similarity_Ch1_Ch2"]
        if min(a.shape) < 7:
            assert np.isnan(found)
        else:
            similar = skimage.metrics.structural_similarity(a * m, b * n, data_range=4095)
            close(found, similar)


def test_shares_are_those_of_scikit_image(corrected):
    """Sums as Manders has them, means and maxima as those of its regions."""
    checked = 0
    for planes, (m, n), row in corrected:
        both = m & n
        for c, plane, own in zip((1, 2), planes, (m, n), strict=True):
            of = {k: row[f"shared_{k}_ratio_Ch{c}_R1_R2"] for k in ("sum", "mean", "max")}
            if not (plane * own).any():
                assert np.isnan(list(of.values())).all()
                continue
            close(of["sum"], skimage.measure.manders_coloc_coeff(plane, both, mask=own))
            if not both.any():
                assert np.isnan([of["mean"], of["max"]]).all()
                continue
            wanted = ("intensity_mean", "intensity_max")
            here, whole = (
                skimage.measure.regionprops_table(mask.astype("u1"), plane, wanted)
                for mask in (both, own)
            )
            close(of["mean"], here["intensity_mean"][0] / whole["intensity_mean"][0])
            close(of["max"], here["intensity_max"][0] / whole["intensity_max"][0])
            checked += of["sum"] < 1
    assert checked > 5


def test_the_share_of_a_level_channel_is_that_of_the_mask(corrected):
    checked = 0
    for planes, (m, n), row in corrected:
        if np.ptp(planes[0]) == 0 and planes[0].any() and m.any():
            share = skimage.measure.intersection_coeff(m, n)
            close(row["shared_sum_ratio_Ch1_R1_R2"], share)
            checked += 1
    assert checked > 3


def test_textures_of_an_empty_channel_are_not_there(corrected):
    checked = 0
    for planes, _, row in corrected:
        for c, plane in enumerate(planes, 1):
            found = [row[f"glcm_{name}_Ch{c}"] for name in columns.TEXTURES]
            if not plane.any() or plane.shape[1] < 6:
                assert np.isnan(found).all()
                checked += 1
                continue
            grey = (plane / plane.max() * 255).astype("u1")
            pairs = skimage.feature.graycomatrix(grey, [5], [0], 256)
            close(found, [skimage.feature.graycoprops(pairs, n)[0, 0] for n in columns.TEXTURES])
    assert checked > 5


def test_textures_of_cells_are_those_of_scikit_image(corrected):
    """Level 0 is kept for what is outside, and its pairs are taken away again."""
    checked = 0
    for planes, masks, row in corrected:
        for c, (plane, inside) in enumerate(zip(planes, masks, strict=True), 1):
            found = [row[f"glcm_cell_{name}_Ch{c}"] for name in columns.TEXTURES]
            if not (plane * inside).any():
                assert np.isnan(found).all()
                continue
            pairs = inside_pairs(plane, inside)
            some = pairs.sum(axis=(0, 1))[0] > 0
            if not some.any():
                assert np.isnan(found).all()
                continue
            for name, value in zip(columns.TEXTURES, found, strict=True):
                close(value, skimage.feature.graycoprops(pairs, name)[0, some].mean())
            checked += 1
    assert checked > 10


def inside_pairs(plane, inside):
    grey = np.where(inside, (plane / plane[inside].max() * 255).astype("u2") + 1, 0)
    pairs = np.concatenate(
        [
            skimage.feature.graycomatrix(
                grey.astype("u2"), [5 if k % 2 == 0 else 5 * np.sqrt(2)], [k * np.pi / 4], 257
            )
            for k in range(4)
        ],
        axis=3,
    )[1:, 1:]
    return pairs + pairs.transpose(1, 0, 2, 3)
