"""Masks of cells, against scikit-image on real cells, and whose masks are made."""

import warnings

import array_api_strict as strict
import numpy as np
import pytest
from packs import SAMPLE, cells, pack, unpacked
from scipy.ndimage import binary_fill_holes
from skimage import filters, morphology

import dpipe
from dpipe.errors import SchemaError, UsageError
from dpipe.operators.pictures.dilation import closed, dilated
from dpipe.operators.pictures.segment import mask_of


def by_scikit_image(
    plane: np.ndarray, edges: bool, radius: int = 5, min_size: int = 100
) -> np.ndarray:
    """The same steps with the library's own functions."""
    values = plane.astype(float)
    values = filters.sobel(values) if edges else values
    mask = values > filters.threshold_otsu(values)
    mask = morphology.remove_small_objects(mask, max_size=min_size - 1)
    mask = morphology.closing(mask, morphology.disk(radius), mode="ignore")
    return binary_fill_holes(mask)


def test_masks_of_real_cells_are_those_of_scikit_image(shared_data):
    ds = dpipe.open_ifc(shared_data / SAMPLE, block=8)
    made = dpipe.segment_cells(ds, which="all").compute()
    area = 0
    for picture, code in zip(unpacked(ds), unpacked(made, "mask_code"), strict=True):
        for k, plane in enumerate(picture):
            expected = by_scikit_image(plane, edges=k == 0)
            np.testing.assert_array_equal((code >> k & 1) > 0, expected)
            area += expected.sum()
    assert area > 37 * 200  # something was found


def tiny(seed: int):
    """Pictures of a few pixels a side, and of a few values: dark, saturated, of one value."""
    rng = np.random.default_rng(seed)
    for shape in [(1, 1), (1, 2), (2, 2), (3, 1), (3, 9), (1, 40), (7, 5), (18, 24)]:
        for top in (1, 2, 256, 4096):
            plane = np.minimum(rng.integers(0, 2 * top, shape), top - 1)  # half of it saturated
            yield plane.astype(rng.choice(["u1", "u2", "i4"]) if top <= 256 else "u2")
        yield rng.random(shape).astype("f4")
        yield np.where(rng.random(shape) < 0.5, 65535, 0).astype("u2")


@pytest.mark.parametrize("min_size", [1, 4])
@pytest.mark.parametrize("edges", [False, True])
def test_masks_of_tiny_and_saturated_pictures_are_those_of_scikit_image(edges, min_size):
    found = []
    for plane in tiny(5):
        expected = by_scikit_image(plane, edges, radius=2, min_size=min_size)
        ours = mask_of(plane, edges=edges, min_size=min_size, closing=2)
        np.testing.assert_array_equal(ours, expected)
        found.append(ours.any())
    assert len(found) * 0.2 < sum(found) < len(found)


@pytest.mark.parametrize("edges", [False, True])
@pytest.mark.parametrize(
    "plane",
    [
        np.full((20, 20), 0.1),  # whose edges are 1e-17 by rounding
        np.where(np.eye(20) > 0, 1000.0, np.nextafter(1000.0, 2000)),  # no place for 256 bins
        np.where(np.eye(20) > 0, 1e308, -1e308),
        np.where(np.eye(20) > 0, 1e200, 0) * 1e5,
    ],
    ids=["one value", "rounding", "too wide", "edges too steep"],
)
def test_floats_that_have_no_histogram(plane, edges):
    found = mask_of(plane, edges=edges, min_size=1, closing=0)
    assert not found.any() or (plane.max() == 1e205 and not edges)


def test_closing_is_what_scifai_calls(shared_data):
    """It takes binary_closing, which scikit-image gives up in favour of closing."""
    rng = np.random.default_rng(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        for radius in range(6):
            for _ in range(10):
                mask = rng.random(rng.integers(1, 24, 2)) > 0.9
                disk = morphology.disk(radius)
                np.testing.assert_array_equal(
                    closed(mask, radius), morphology.binary_closing(mask, disk)
                )
                np.testing.assert_array_equal(
                    dilated(mask, radius), morphology.binary_dilation(mask, disk)
                )


def test_dilation_by_hand_and_on_another_array_library():
    """All pixels at most 2 from the one in the middle; (1, 2) is at the root of 5."""
    mask = np.zeros((5, 5), bool)
    mask[2, 2] = True
    expected = ["  x  ", " xxx ", "xxxxx", " xxx ", "  x  "]
    assert ["".join(" x"[int(v)] for v in row) for row in dilated(mask, 2)] == expected
    there = strict.Device("device1")
    found = dilated(strict.asarray(mask, device=there), 2)
    assert found.device == there
    back = np.asarray(found.to_device(strict.Device("CPU_DEVICE")))
    np.testing.assert_array_equal(back, dilated(mask, 2))
    assert mask.sum() == 1  # left alone
    np.testing.assert_array_equal(dilated(mask, 0), mask)
    assert dilated(mask, 9).all()


@pytest.mark.parametrize(
    ("plane", "edges"),
    [
        (np.full((20, 20), 7, "u2"), False),
        (np.full((20, 20), 7, "u2"), True),
        (np.full((20, 20), np.nan), False),
        (np.where(np.eye(20) > 0, np.inf, 1.0), True),
        (np.arange(12, dtype="u2").reshape(3, 4), False),  # no object of 100 pixels
        (np.ones((1, 1), "f4"), True),
    ],
)
def test_nothing_is_found_where_nothing_is(plane, edges):
    assert not mask_of(plane, edges=edges, min_size=100, closing=5).any()


def test_size_and_holes_by_hand():
    """A frame of 11 by 11 with a hole of 5 by 5, 96 pixels, on a ground of 30 by 30."""
    plane = np.zeros((30, 30), "u2")
    plane[9:20, 9:20] = 500
    plane[12:17, 12:17] = 0
    said = {"edges": False, "closing": 0}
    assert mask_of(plane, min_size=97, **said).sum() == 0
    found = mask_of(plane, min_size=96, **said)
    assert found.sum() == 121
    assert found[9:20, 9:20].all()
    plane[12:17, 9:12] = 0  # now the hole is open to the side
    assert mask_of(plane, min_size=1, **said).sum() == 121 - 25 - 15


def collection(**said):
    pictures = cells(6)
    masks = [np.ones_like(picture) for picture in pictures]
    masks[1] = pictures[4] = masks[4] = None
    return pack(pictures, masks, several=[2], **said)


def test_only_missing_masks_are_made_unless_all_are_wanted():
    ds = collection()
    made = dpipe.segment_cells(ds, closing=2)
    old, new = unpacked(ds, "mask_code"), unpacked(made, "mask_code")
    for n in (0, 2, 3, 5):
        np.testing.assert_array_equal(old[n], new[n])
    expected = [mask_of(p, edges=k == 0, min_size=100, closing=2)
                for k, p in enumerate(unpacked(ds)[1])]  # fmt: skip
    np.testing.assert_array_equal(new[1], sum(m << k for k, m in enumerate(expected)))
    assert made.mask_dtype.values.tolist() == ["uint8"] * 4 + ["", "uint8"]
    assert made.mask_value.values.tolist() == [[1, 1, 1, 1], [0, 1, 0, 0]]
    assert made.picture_flag.values.tolist() == [[0, 0, 2, 0], [0, 0, 0, 0]]
    assert made.picture_flag.dtype == "u1"
    every = dpipe.segment_cells(ds, which="all")
    assert every.picture_flag.values.sum() == 0
    assert not any((code == 7).all() for code in unpacked(every, "mask_code") if code.size)


def test_new_masks_come_out_of_unpack():
    ds = collection(lazy=False)
    ds = ds.assign(mask_pixels=(("block", "value"), np.full_like(ds.pixels, 9).astype("u1")))
    both = dpipe.segment_cells(ds, which="all").merge(ds, compat="override")
    for n in (0, 1, 2):
        image, mask = dpipe.unpack(both, n)
        assert mask.dtype == "u1"
        for k in range(3):
            expected = mask_of(image[..., k], edges=k == 0, min_size=100, closing=5)
            np.testing.assert_array_equal(mask[..., k], expected)


def test_without_any_masks_all_are_made():
    ds = pack(cells(5, channels=9))
    made = dpipe.segment_cells(ds)
    assert made.mask_code.dtype == "u2"
    assert made.mask_code.shape == (2, ds.sizes["value"] // 9)
    assert made.mask_value.values.tolist() == [[1, 1, 1, 1], [1, 0, 0, 0]]
    assert set(made.mask_dtype.values) == {"uint8"}
    bare = dpipe.segment_cells(ds.drop_vars("picture_flag"))
    assert list(bare.data_vars) == ["mask_code"]
    np.testing.assert_array_equal(bare.mask_code, made.mask_code)


def test_where_nobody_says_that_masks_are_missing_they_are_kept():
    ds = collection().drop_vars("mask_dtype")
    made = dpipe.segment_cells(ds)
    np.testing.assert_array_equal(made.mask_code, ds.mask_code)
    assert made.mask_dtype.values.tolist() == [""] * 6


def test_which_channels_are_brightfield():
    ds = pack(cells(1))
    (plain,) = unpacked(dpipe.segment_cells(ds, brightfield=[]), "mask_code")
    (third,) = unpacked(dpipe.segment_cells(ds, brightfield="Ch3"), "mask_code")
    (picture,) = unpacked(ds)
    said = {"min_size": 100, "closing": 5}
    for k, plane in enumerate(picture):
        expected = [mask_of(plane, edges=edges, **said) for edges in (False, k == 2)]
        np.testing.assert_array_equal(plain >> k & 1, expected[0])
        np.testing.assert_array_equal(third >> k & 1, expected[1])


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"which": "some"}, "which: found 'some'; expected 'missing' or 'all'"),
        ({"brightfield": "BF"}, "brightfield: unknown channel 'BF'.* Known: Ch1, Ch2, Ch3"),
        ({"brightfield": ["Ch1", "Ch1"]}, "each once"),
        ({"brightfield": 1}, "expected names of channels"),
        ({"min_size": -1}, "min_size: found -1; expected a number of pixels"),
        ({"closing": 2.5}, "closing: found 2.5"),
    ],
)
def test_what_cannot_be_meant_is_refused(said, message):
    with pytest.raises(UsageError, match=message):
        dpipe.segment_cells(collection(), **said)


def test_more_channels_than_a_code_has_bits():
    with pytest.raises(UsageError, match="33 masks; at most 32"):
        dpipe.segment_cells(pack([np.ones((33, 2, 2), "u1")]))
    with pytest.raises(SchemaError, match="no variable 'pixels'"):
        dpipe.segment_cells(collection().drop_vars("pixels"))
