"""Masks of several values: what scifAI makes of them, by scikit-image, SciPy and NumPy alone."""

import array_api_strict
import h5py
import numpy as np
import pytest
from cells import expected, on_device, on_host, same

import dpipe
from benchmarks import _nine_families as oracle
from benchmarks._flow_pictures import pack
from dpipe import schema
from dpipe.errors import UsageError
from dpipe.operators.cell_features import columns
from dpipe.operators.cell_features.features import _features

CORRECTED = tuple(family for family in columns.FAMILIES if family.endswith("corrected"))


def disk(shape, at, radius):
    y, x = np.ogrid[: shape[0], : shape[1]]
    return (y - at[0]) ** 2 + (x - at[1]) ** 2 <= radius**2


def odd_mask(number: int, shape: tuple[int, int], random) -> np.ndarray:
    """A cell and a piece beside it, pieces without 1, a hole, a rim, noise, the whole, nothing."""
    mask = np.zeros(shape, np.int64)
    if number == 0:  # a cell, a piece beside it, one at the border
        mask[disk(shape, (12, 12), 7)] = 1
        mask[disk(shape, (6, 24), 3)] = 2
        mask[disk(shape, (0, 0), 3)] = 3
    elif number == 1:  # the least is 2, and the smaller piece; a hole in it
        mask[disk(shape, (10, 10), 4)] = 2
        mask[disk(shape, (10, 10), 1)] = 0
        mask[disk(shape, (16, 20), 6)] = 5
    elif number == 2:  # one inside the other
        mask[disk(shape, (13, 14), 9)] = 3
        mask[disk(shape, (13, 14), 4)] = 1
    elif number == 3:  # a line of 1 along the border beside all of 2
        mask[:] = 2
        mask[:, 0] = 1
    elif number == 4:
        mask[:] = random.integers(0, 4, shape)
    elif number == 5:  # one pixel of 1 in two pieces of 255
        mask[disk(shape, (5, 5), 3)] = 255
        mask[disk(shape, (18, 20), 3)] = 255
        mask[12, 12] = 1
    elif number == 6:
        mask[3:9, 3:9] = 1  # of one value
    return mask  # 7: nothing


def odd_cells(dtype="u2", over=1, channels=3, seed=4):
    random = np.random.default_rng(seed)
    made = []
    for first in range(8):
        shape = tuple(int(n) for n in random.integers(24, 30, 2))
        image = random.integers(0, 4096, (*shape, channels))
        image[random.random(image.shape) < 0.1] = 0
        image = (image if over == 1 else image / over).astype(dtype)
        masks = [odd_mask((first + 3 * c) % 8, shape, random) for c in range(channels)]
        made.append((image, np.stack(masks, axis=2).astype("u1")))
    return made


def several(mask) -> bool:
    return len(np.unique(mask[mask != 0])) > 1


def measured(pictures, families, move=on_host, valued=True, **said):
    packed = pack([(image, (mask != 0).astype("u1")) for image, mask in pictures])
    channels = pictures[0][0].shape[2]
    flat = np.concatenate([
        (mask * several(mask)).transpose(2, 0, 1).reshape(-1) for _, mask in pictures
    ])  # fmt: skip
    said = {"channels": channels, "families": families, "data_range": 4095.0}
    if valued:
        far = array_api_strict.Device("device1")
        said["valued"] = array_api_strict.asarray(flat, device=far) if move is on_device else flat
        said["several"] = np.array([several(mask) for _, mask in pictures])
    found = _features(*move(*packed), **said)
    if move is on_device:
        assert found.device == array_api_strict.Device("device1")
        found = found.to_device(array_api_strict.Device("CPU_DEVICE"))
    return np.asarray(found)


@pytest.mark.parametrize("move", [on_host, on_device])
@pytest.mark.parametrize(("dtype", "over"), [("u2", 1), ("f4", 8)])
def test_all_families_are_those_of_scifai(move, dtype, over):
    families = (*columns.NINE, "hog")
    pictures = odd_cells(dtype, over)
    assert sum(several(mask) for _, mask in pictures) == 8
    same(measured(pictures, families, move), expected(pictures, families),
         columns.names(families, 3))  # fmt: skip


@pytest.mark.parametrize("move", [on_host, on_device])
def test_numbers_by_hand(move):
    """Two channels of one row: 7 pixels, masks of 1 and 2 with a piece of the other value."""
    image = np.array([[[4, 1], [5, 1], [6, 1], [0, 1], [8, 1], [2, 1], [1, 1]]], "u2")
    mask = np.array([[[1, 0], [1, 2], [2, 2], [2, 3], [0, 3], [0, 0], [0, 0]]], "u1")
    families = ("mask-based", "background-mean", "cell-shape", "colocalisation", "intersections")
    names = columns.names(families, 2)
    (row,) = measured([(image, mask)], families, move)
    found = dict(zip(names, row.tolist(), strict=True))
    assert found["mask_based_area_Ch1"] == 2  # the value 1
    assert found["mask_based_max_intensity_Ch1"] == 5  # of its pixels as they are
    assert found["mask_based_area_Ch2"] == 2  # the value 2
    assert found["background_mean_Ch1"] == pytest.approx((8 + 2 + 1) / 3)
    assert found["Area_Ch1"] == 1 + 1 + 2 + 2
    assert found["sum_intensity_Ch1"] == 4 + 5 + 12
    assert found["mean_intensity_Ch1"] == 7  # of the three above 0
    assert found["max_intensity_Ch1"] == 12
    # sum u (1 - v) = -7 - 1 * 1 + 1, and so on: u = 1 1 2 2 0, v = 0 2 2 3 3
    u, v = np.array([1, 1, 2, 2, 0.0]), np.array([0, 2, 2, 3, 3.0])
    apart, both = (u * (1 - v) + v * (1 - u)).sum(), (u * v).sum()
    assert found["dice_distance_Ch1_Ch2"] == pytest.approx(apart / (2 * both + apart))
    assert found["jaccard_distance_Ch1_Ch2"] == pytest.approx(2 / 5)
    # x m a b over x m: 5 * 1 * 2, then 12 * 2 * 2, of 21
    assert found["sum_intensity_ratio_Ch1_R1_R2"] == pytest.approx((10 + 48) / 21)
    assert found["max_intensity_ratio_Ch1_R1_R2"] == pytest.approx(48 / 3)


def test_the_union_by_option_and_for_what_is_corrected():
    pictures = odd_cells()
    plain = [(image, (mask != 0).astype("u1")) for image, mask in pictures]
    families = (*columns.NINE, "hog")
    same(measured(pictures, families, valued=False), expected(plain, families),
         columns.names(families, 3))  # fmt: skip
    np.testing.assert_array_equal(
        measured(pictures, CORRECTED), measured(pictures, CORRECTED, valued=False)
    )


def test_pictures_beside_them_stay_as_they_are():
    pictures = odd_cells()
    pictures[3] = pictures[3][0], (pictures[3][1] > 0).astype("u1") * 7  # of one value, not 1
    found = measured(pictures, columns.NINE)
    other = measured(pictures, columns.NINE, valued=False)
    np.testing.assert_array_equal(found[3], other[3])
    assert (found[0] != other[0]).sum() > 50


@pytest.fixture
def folder(tmp_path):
    for i, (image, mask) in enumerate(odd_cells(channels=2)):
        with h5py.File(tmp_path / f"x_{i}.h5", "w") as file:
            file["image"] = image
            if i != 6:
                file["mask"] = (mask > 0).astype("u1") if i in (2, 5) else mask
    return tmp_path


def masks_of(i):
    image, mask = odd_cells(channels=2)[i]
    return image, (mask > 0).astype("u1") if i in (2, 5) else mask


def test_a_folder_of_such_pictures(folder, tmp_path_factory):
    """From the reader, through a store, past masks that segment-cells made of others."""
    families = ["mask-based", "cell-shape", "intersections"]
    cells = dpipe.open_ifc(folder, levels="", block=3)
    kept = [i for i in range(8) if i != 6]
    wanted = [list(oracle.measure(*masks_of(i), families).values()) for i in kept]
    read = dpipe.cell_features(cells, families=families)
    np.testing.assert_allclose(read.feature.values[kept], wanted, rtol=1e-6)
    store = str(tmp_path_factory.mktemp("store"))
    dpipe.save({"a": cells}, store, "cells", message="m")
    back = dpipe.open(store, "cells")
    found = dpipe.cell_features(back, families=families)
    np.testing.assert_array_equal(found.feature, read.feature)
    assert found.attrs["notes"] == ["5 of 8 pictures have masks of several values"]
    values = [len(np.unique(masks_of(i)[1])) - 1 for i in range(8)]
    counts = [n if n > 1 and i != 6 else 0 for i, n in enumerate(values)]
    assert found.values_in_mask.values.tolist() == counts
    masks = dpipe.segment_cells(back)
    through = dpipe.cell_features(back, masks, families=families)
    np.testing.assert_array_equal(through.feature.values[kept], read.feature.values[kept])
    merged = masks.merge(back, compat="override", join="override")
    np.testing.assert_array_equal(
        dpipe.cell_features(merged, families=families).feature, through.feature
    )
    # as pixels of compensation have them: another part's pixels, this one's masks
    bare = back.drop_vars(["mask_code", "mask_value", "mask_pixels", "picture_flag", "mask_dtype"])
    beside = dpipe.cell_features(bare, back, families=families)
    np.testing.assert_array_equal(beside.feature.values[kept], read.feature.values[kept])
    union = dpipe.cell_features(back, families=families, mask_values="union")
    plain = [
        list(oracle.measure(masks_of(i)[0], (masks_of(i)[1] > 0).astype("u1"), families).values())
        for i in kept
    ]
    np.testing.assert_allclose(union.feature.values[kept], plain, rtol=1e-6)
    with pytest.raises(UsageError, match="mask_values: found 'all'; expected scifai or union"):
        dpipe.cell_features(back, mask_values="all")


def test_masks_made_anew_have_one_value(folder):
    """Those of several values lie in the collection still; the flags say that they do not count."""
    cells = dpipe.open_ifc(folder, levels="", block=3)
    anew = dpipe.segment_cells(cells, which="all", min_size=1, closing=0)
    assert "mask_pixels" not in anew
    merged = anew.merge(cells, compat="override", join="override")
    found = dpipe.cell_features(merged, families="cell-shape").feature
    other = dpipe.cell_features(cells, anew, families="cell-shape").feature
    np.testing.assert_array_equal(found, other)
    first = merged.isel(record=[0])
    _, mask = dpipe.unpack(first, 0)
    area = found.sel(name="Area_Ch1").values[0]
    assert area == mask[..., 0].sum()


def test_other_operators_take_what_is_not_0(folder):
    cells = dpipe.open_ifc(folder, levels="", block=3)
    pictures = [masks_of(i) for i in range(8)]
    share = dpipe.picture_quality(cells).mask_share.values
    made = dpipe.pictures(cells, size=40)["mask"].values
    inside = dpipe.derive_masks(cells, masks={"both": "Ch1 & Ch2"})
    both = dpipe.cell_features(cells, inside="Ch1 & Ch2", families="cell-shape").feature
    sums = dpipe.channel_sums(cells, inside="own")
    assert inside.mask_name.values.tolist() == ["Ch1", "Ch2", "both"]
    for i, (image, mask) in enumerate(pictures):
        if i == 6:
            continue
        truth = mask != 0
        np.testing.assert_allclose(share[i], truth.mean(axis=(0, 1)))
        assert made[i].sum(axis=(1, 2)).tolist() == truth.sum(axis=(0, 1)).tolist()
        met = truth.all(axis=2)
        some = image[..., 0][met] > 0
        expected_area = met.sum() if some.any() else 0
        assert both.sel(name="Area_Ch1_inside").values[i] == expected_area
    counts = sum(int((mask != 0)[..., 0].sum()) for i, (_, mask) in enumerate(pictures) if i != 6)
    assert int(sums["channel_histogram"].isel(c=0).sum()) == counts
    assert 1 << schema.PICTURE_FLAGS.index("mask_of_several_values") == schema.SEVERAL_VALUES
