"""Features of cells against scifAI's own, scikit-image, IBSI and the Galaxy tools' tables."""

import json
from functools import partial

import array_api_strict
import h5py
import numpy as np
import pandas as pd
import pytest
import skimage.feature
import skimage.io
import skimage.measure
import skimage.metrics
import zarr
from cells import collection, random_pictures

import dpipe
from benchmarks import _nine_families as oracle
from benchmarks._flow_pictures import draw, pack
from dpipe import operators
from dpipe.errors import SchemaError, UsageError
from dpipe.operators import _batch, _batch_families, _cell_pictures
from dpipe.operators import _cell_columns as columns
from dpipe.operators import _cell_texture as texture
from dpipe.operators.cell_features import _features

close = partial(np.testing.assert_allclose, rtol=1e-6, atol=1e-9)
KINDS = {
    "8 bits": ("u1", 256),
    "12 bits": ("u2", 4096),
    "16 bits": ("u2", 65536),
    "float32": ("f4", 4096),
    "int32": ("i4", 4096),
}


def on_host(*packed):
    return packed


def on_device(pixels, codes, *rest):
    """Move to a device from which nothing comes back by itself."""
    far = array_api_strict.Device("device1")
    return *(array_api_strict.asarray(v, device=far) for v in (pixels, codes)), *rest


def measured(pictures, families, move=on_host):
    packed = pack(pictures)
    channels = pictures[0][0].shape[2]
    params = {"channels": channels, "families": families, "data_range": 4095.0}
    made = _features(*move(*packed), **params)
    assert made.dtype == (array_api_strict if move is on_device else np).float64
    if move is on_device:
        assert made.device == array_api_strict.Device("device1")
        made = made.to_device(array_api_strict.Device("CPU_DEVICE"))
    found = np.asarray(made)
    assert found.shape == (len(pictures), len(columns.names(families, channels)))
    return found


def expected(pictures, families):
    tables = [oracle.measure(image, mask, families) for image, mask in pictures]
    for table, (image, mask) in zip(tables, pictures, strict=True):
        for name in table:
            if name.startswith("structural_similarity"):
                a, b = (int(part[2:]) - 1 for part in name.split("_") if part.startswith("Ch"))
                table[name] = similarity(image.astype(float) * mask, a, b)
    return tables


def similarity(inside, a, b, data_range=2.0):
    """Similarity by whole sums: scikit-image's running means lose digits at 16 bits."""
    if min(inside.shape[:2]) < 7:
        return np.nan
    window = np.lib.stride_tricks.sliding_window_view

    def total(values):
        return window(values, (7, 7)).sum(axis=(2, 3))

    one, two = inside[..., a], inside[..., b]
    s, t = total(one), total(two)
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    spread = (49 * (total(one * one) + total(two * two)) - s * s - t * t) / (49 * 48)
    above = (2 * s * t / 2401 + c1) * (2 * (49 * total(one * two) - s * t) / (49 * 48) + c2)
    return np.mean(above / (((s * s + t * t) / 2401 + c1) * (spread + c2)))


def same(found, tables, names):
    """Compare; a line has no width, a round shape no orientation, -pi/2 is pi/2."""
    for row, table in zip(found, tables, strict=True):
        assert list(table) == names
        for name, value, other in zip(names, row, table.values(), strict=True):
            if "minor_axis_length" in name:
                close(value, other, atol=1e-6, err_msg=name)
            elif "orientation" not in name:
                close(value, other, err_msg=name)
            elif value != other and not round_shape(table, name):
                close(np.sin(value - other), 0, err_msg=name)


def round_shape(table, name):
    major, minor = (
        table[name.replace("orientation", f"{k}_axis_length")] for k in ("major", "minor")
    )
    return major - minor < 1e-6 * abs(major) + 1e-6


# scifAI's own numbers


@pytest.fixture(scope="module")
def real(shared_data):
    """37 cells of an instrument, and what the original code made of them."""
    folder = shared_data / "ifc"
    path = folder / "reference" / "scifAI_features_b20baec.csv.gz"
    table = pd.read_csv(path).set_index("file")
    files = {file.name: file for file in folder.glob("h5/**/*.h5")}
    pictures = []
    for name in table.index:
        with h5py.File(files[name]) as h5:
            pictures.append((h5["image"][:], h5["mask"][:]))
    return pictures, table


@pytest.mark.parametrize("move", [on_host, on_device])
def test_every_reference_column_is_met(real, move):
    pictures, table = real
    found = measured(pictures, columns.NINE, move)
    assert found.shape == (37, 858)
    assert list(table.columns) == columns.names(columns.NINE, 6)
    close(found, table.values)
    assert (np.isnan(found).sum(), np.isinf(found).sum()) == (1522, 596)


def test_the_oracle_of_the_tests_meets_the_reference_too(real):
    pictures, table = real
    for (image, mask), row in zip(pictures[:3], table.values, strict=False):
        close(list(oracle.measure(image, mask).values()), row)


# The same as scikit-image


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("move", [on_host, on_device])
def test_random_pictures(kind, move):
    dtype, top = KINDS[kind]
    families = (*columns.NINE, "hog")
    pictures = random_pictures(16, 3, seed=sum(map(ord, kind)), dtype=dtype, top=top)
    found = measured(pictures, families, move)
    same(found, expected(pictures, families), columns.names(families, 3))


def test_cells_of_full_size():
    pictures = draw(2, seed=5)
    families = (*columns.NINE, "hog")
    same(measured(pictures, families), expected(pictures, families), columns.names(families, 8))


def test_many_masks():
    """Holes, bays, islands: 120 small masks, as scikit-image has them."""
    pictures = random_pictures(30, 4, seed=8)
    families = ("mask-based", "cell-distances")
    same(measured(pictures, families), expected(pictures, families), columns.names(families, 4))


def test_floats_below_zero():
    """What compensation leaves; levels of grey are of what is above 0 and are left out."""
    pictures = [(image.astype("f4") - 500, mask) for image, mask in random_pictures(12, 3, seed=2)]
    families = [family for family in columns.NINE if family != "glcm"]
    same(measured(pictures, families), expected(pictures, families), columns.names(families, 3))


def test_levels_below_zero_wrap_alike():
    pictures = [(image.astype("f4") - 500, mask) for image, mask in random_pictures(12, 3, seed=2)]
    close(*(measured(pictures, ["glcm", "glcm-corrected"], move) for move in (on_host, on_device)))


@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")
@pytest.mark.parametrize("move", [on_host, on_device])
def test_values_that_are_none_stay_in_their_picture(move):
    pictures = random_pictures(6, 2, seed=12, dtype="f4")
    clean = measured(pictures, columns.FAMILIES, move)
    for k, value in ((1, np.nan), (3, np.inf), (4, -np.inf)):
        pictures[k][0].flat[::3] = value
    found = measured(pictures, columns.FAMILIES, move)
    close(found[[0, 2, 5]], clean[[0, 2, 5]])


def spiral():
    """A wall of one pixel that winds inwards; nothing is enclosed but the last room's corner."""
    mask = np.zeros((11, 11), np.uint8)
    mask[0], mask[:, 10], mask[10, :], mask[2:, 0], mask[2, :9] = 1, 1, 1, 1, 1
    mask[2:9, 8], mask[8, 2:9], mask[4:9, 2] = 1, 1, 1
    return mask


@pytest.mark.parametrize("move", [on_host, on_device])
def test_a_flood_finds_its_way(move):
    ring = np.zeros((11, 11), np.uint8)
    ring[2:9, 2:9], ring[4:7, 4:7] = 1, 0
    leak = ring.copy()
    leak[3, 3] = leak[2, 2] = 0  # a diagonal way out for eight neighbours
    mask = np.stack([spiral(), ring, leak], axis=2)
    image = np.arange(mask.size, dtype="u2").reshape(mask.shape)
    found = measured([(image, mask)], ["mask-based"], move)
    same(found, expected([(image, mask)], ["mask-based"]), columns.names(["mask-based"], 3))
    filled = columns.names(["mask-based"], 3).index("mask_based_filled_area_Ch2")
    assert found[0, filled] == 49  # 7 x 7


def test_more_channels_than_bits_of_a_byte():
    families = ("intersections", "colocalisation")
    pictures = random_pictures(2, 11, seed=4)
    same(measured(pictures, families), expected(pictures, families), columns.names(families, 11))


def test_one_channel_has_no_pairs():
    for move in (on_host, on_device):
        assert measured(random_pictures(3, 1, seed=1), columns.FAMILIES, move).shape == (3, 270)


# Both ways, all families


@pytest.mark.parametrize("family", columns.FAMILIES)
def test_device_and_host_give_the_same(family):
    pictures = random_pictures(24, 3, seed=7)
    both = [measured(pictures, [family], move) for move in (on_host, on_device)]
    close(*both)


def test_batches_are_cut(monkeypatch):
    pictures = random_pictures(9, 2, seed=3)
    whole = measured(pictures, columns.NINE, on_device)
    monkeypatch.setattr(_batch, "_ROOM", 2000)
    close(measured(pictures, columns.NINE, on_device), whole)


# Corrected


@pytest.fixture(scope="module")
def corrected():
    pictures = [p for p in random_pictures(40, 2, seed=9) if min(p[0].shape[:2]) >= 7]
    families = [f"{family}-corrected" for family in ("colocalisation", "intersections", "glcm")]
    return pictures, pd.DataFrame(measured(pictures, families), columns=columns.names(families, 2))


def test_corrected_colocalisation_is_that_of_scikit_image(corrected):
    checked = 0
    for (image, mask), (_, row) in zip(corrected[0], corrected[1].iterrows(), strict=True):
        a, b = (image[..., c].astype(float) for c in (0, 1))
        m, n = mask[..., 0] > 0, mask[..., 1] > 0
        similar = skimage.metrics.structural_similarity(a * m, b * n, data_range=4095)
        close(row["ranged_structural_similarity_Ch1_Ch2"], similar, rtol=1e-5)
        if not (a * m).any() or not (b * n).any():
            empty = "manders_m1_Ch1_Ch2" if not (a * m).any() else "manders_m2_Ch1_Ch2"
            assert np.isnan(row[empty])
            continue
        measure = skimage.measure
        close(row["manders_m1_Ch1_Ch2"], measure.manders_coloc_coeff(a, n, mask=m))
        close(row["manders_m2_Ch1_Ch2"], measure.manders_coloc_coeff(b, m, mask=n))
        close(row["manders_overlap_Ch1_Ch2"], measure.manders_overlap_coeff(a * m, b * n))
        either = m | n
        if np.ptp(a[either]) and np.ptp(b[either]):
            pearson = measure.pearson_corr_coeff(a, b, mask=either)[0]
            close(row["pearson_correlation_Ch1_Ch2"], pearson)
            checked += 1
        product = (a - a[either].mean()) * (b - b[either].mean())
        li = np.mean(product[either] > 0) - 0.5
        close(row["li_intensity_correlation_quotient_Ch1_Ch2"], li)
    assert checked > 5


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


def test_corrected_intersections(corrected):
    for (image, mask), (_, row) in zip(corrected[0], corrected[1].iterrows(), strict=True):
        both = (mask[..., 0] & mask[..., 1]) > 0
        for c in (0, 1):
            own, shared = image[..., c][mask[..., c] > 0].astype(float), image[..., c][both]
            kinds = ("sum", "mean", "max")
            if not own.sum() or not both.any():
                assert np.isnan(row[f"shared_mean_ratio_Ch{c + 1}_R1_R2"])
                continue
            for kind in kinds:
                ratio = getattr(shared, kind)() / getattr(own, kind)()
                close(row[f"shared_{kind}_ratio_Ch{c + 1}_R1_R2"], ratio)


def test_corrected_textures_are_those_of_scikit_image(corrected):
    angles = np.array([0, 45, 90, 135]) * np.pi / 180
    for (image, mask), (_, row) in zip(corrected[0], corrected[1].iterrows(), strict=True):
        for c in (0, 1):
            plane, inside = image[..., c].astype(float), mask[..., c] > 0
            names = [f"glcm_{name}_Ch{c + 1}" for name in columns.TEXTURES]
            if not plane.any():
                assert row[names].isna().all()
            names = [f"glcm_cell_{name}_Ch{c + 1}" for name in columns.TEXTURES]
            if not (plane * inside).any():
                assert row[names].isna().all()
                continue
            grey = np.where(inside, (plane / plane[inside].max() * 255).astype("u2") + 1, 0)
            pairs = np.concatenate(
                [
                    skimage.feature.graycomatrix(
                        grey.astype("u2"), [5 if k % 2 == 0 else 5 * np.sqrt(2)], [angle], 257
                    )
                    for k, angle in enumerate(angles)
                ],
                axis=3,
            )[1:, 1:]
            pairs = pairs + pairs.transpose(1, 0, 2, 3)
            some = pairs.sum(axis=(0, 1))[0] > 0
            for name, column in zip(columns.TEXTURES, names, strict=True):
                if not some.any():
                    assert np.isnan(row[column])
                    continue
                close(row[column], skimage.feature.graycoprops(pairs, name)[0, some].mean())


def test_textures_meet_the_values_of_ibsi(shared_data):
    told = json.loads((shared_data / "reference" / "ibsi" / "ibsi_glcm_2d.json").read_text())
    rows = np.empty((4, 6))
    for row, piece in zip(rows, told["slices_z1_z4"], strict=True):
        grey, inside = (np.array(piece[k], np.uint8) for k in ("intensity", "mask"))
        counts = np.zeros(65536, np.int32)
        texture.around(grey.ravel(), inside.ravel(), *grey.shape, 1, counts, row)
        assert not counts.any()
    names = ("CONTRAST", "DIS", "IDM", "ASM", None, "CORRELATION")
    for name, value in zip(names, rows.mean(axis=0), strict=True):
        if name:
            np.testing.assert_allclose(
                value, told["values"][f"GLCM_{name}"]["mirp_2.6.0"], rtol=1e-8
            )


# The tables of the Galaxy tools


def galaxy(shared_data, labels, intensity=None):
    """Measure each label as the mask of a channel of its own."""
    mask = np.stack([labels == k for k in np.unique(labels[labels > 0])], axis=2).astype("u1")
    image = (
        np.ones(mask.shape, "u1") if intensity is None else np.stack([intensity] * mask.shape[2], 2)
    )
    found = measured([(image, mask)], ["mask-based"])
    made = pd.DataFrame(found.reshape(mask.shape[2], -1), columns=columns.SHAPES)
    return made


def told_by(shared_data, name):
    path = shared_data / "reference" / "galaxy_2d_features" / "output" / f"{name}.tsv"
    return pd.read_csv(path, sep="\t", dtype=str)


def agree(found, told):
    """Compare with what stands before a pattern of further digits."""
    for value, text in zip(found, told, strict=True):
        digits = text.removesuffix("[0-9]+")
        close(float(value), float(digits), atol=10.0 ** -len(digits.partition(".")[2]), rtol=0)


def test_galaxy_table_of_24_labels(shared_data):
    labels = skimage.io.imread(shared_data / "reference/galaxy_2d_features/input/input12.png")
    found, told = galaxy(shared_data, labels), told_by(shared_data, "input12")
    for ours, theirs in {
        "area": "area",
        "convex_area": "area_convex",
        "solidity": "solidity",
    }.items():
        agree(found[ours], told[theirs])


def test_galaxy_table_of_a_binary_image(shared_data):
    folder = shared_data / "reference" / "galaxy_2d_features" / "input"
    labels, grey = (skimage.io.imread(folder / n) for n in ("input11.tiff", "input1_uint8.tiff"))
    found, told = galaxy(shared_data, labels, grey), told_by(shared_data, "input11")
    for name in ("area", "mean_intensity", "perimeter"):
        agree(found[name], told[name])


def test_galaxy_tables_of_two_squares(shared_data):
    folder = shared_data / "reference" / "galaxy_2d_features" / "input"
    labels = zarr.open_group(folder / "input13.zarr", mode="r")["0"][:]
    found = galaxy(shared_data, labels, skimage.io.imread(folder / "input1_uint8.tiff"))
    theirs = {"convex_area": "area_convex", "filled_area": "area_filled"}
    theirs |= {f"{k}_axis_length": f"axis_{k}_length" for k in ("major", "minor")}
    theirs |= {"equivalent_diameter": "equivalent_diameter_area"}
    same_name = "area eccentricity euler_number extent orientation perimeter solidity".split()
    same_name += [f"{k}_intensity" for k in ("max", "mean", "min")]
    for ours, name in (theirs | {name: name for name in same_name}).items():
        agree(found[ours], told_by(shared_data, f"input13-{name}")[name])


# The operator


def test_numbers_of_a_collection():
    pictures = random_pictures(10, 2, seed=6)
    ds = collection(pictures)
    made = operators.cell_features(ds.chunk(block=1))
    assert made.feature.chunks is not None
    assert made.feature.dims == ("record", "name")
    assert list(made.name.values) == columns.names(columns.NINE, 2)
    assert made.family.sel(name="contrast_Ch1") == "glcm"
    close(made.feature, measured(pictures, columns.NINE))
    some = [7, 0, 9]
    few = operators.cell_features(ds.isel(record=some), families="glcm")
    np.testing.assert_array_equal(few.feature, made.feature.sel(name=few.name)[some])


def test_a_picture_that_was_put_aside_is_nan():
    ds = collection(random_pictures(3, 2, seed=6))
    heights = ds.height.values.copy()
    heights[1] = 0
    made = operators.cell_features(
        ds.assign_coords(height=("record", heights)), families=["hog", "glcm"]
    )
    assert np.isnan(made.feature[1]).all()
    assert np.isfinite(made.feature[[0, 2]]).all()
    packed = pack(random_pictures(3, 2, seed=6))._replace(height=heights)
    for move in (on_host, on_device):
        kernel = _cell_pictures if move is on_host else _batch_families
        found = kernel.measure(*move(*packed), channels=2, families=["glcm"])
        assert bool(np.isnan(float(found[1, 0])))
        assert not np.isnan(float(found[2, 0]))


def test_pictures_of_one_size():
    pictures = [(i[:9, :8], m[:9, :8]) for i, m in draw(3, channels=2, side=20)]
    packed = collection(pictures)
    even = dpipe.pictures(packed, size=(9, 8)).drop_vars("in_block")
    for families in (columns.NINE, "hog"):
        both = [operators.cell_features(ds, families=families).feature for ds in (packed, even)]
        np.testing.assert_array_equal(*both)


def test_what_needs_no_mask():
    ds = collection(random_pictures(3, 2, seed=6))
    families = ("glcm", "gradient-rms", "percentiles", "hog")
    with_masks = operators.cell_features(ds, families=families)
    without = operators.cell_features(ds.drop_vars("mask_code"), families=families)
    np.testing.assert_array_equal(with_masks.feature, without.feature)
    with pytest.raises(SchemaError, match="mask-based need masks"):
        operators.cell_features(ds.drop_vars("mask_code"), families=["glcm", "mask-based"])


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"families": "glmc"}, "did you mean 'glcm'"),
        ({"families": ["glcm", "glcm"]}, "each once"),
        ({"families": []}, "at least one"),
        ({"data_range": 0}, "above 0"),
        ({"data_range": float("nan")}, "above 0"),
        ({"data_range": "12 bits"}, "above 0"),
    ],
)
def test_parameters_that_cannot_work(params, words):
    with pytest.raises(UsageError, match=words):
        operators.cell_features(collection(random_pictures(1, 2, seed=0)), **params)


def test_no_collection():
    ds = collection(random_pictures(1, 2, seed=0))
    with pytest.raises(SchemaError, match="coordinate c"):
        operators.cell_features(ds.drop_vars("c"))
    with pytest.raises(SchemaError):
        operators.cell_features(ds.drop_vars(["pixels", "in_block"]))


@pytest.mark.parametrize("name", ["offset", "height", "width"])
@pytest.mark.parametrize("value", [-1, 10**6])
def test_pictures_that_do_not_lie_in_their_block(name, value):
    ds = collection(random_pictures(2, 2, seed=0))
    values = ds[name].values.copy()
    values[1] = value
    made = operators.cell_features(ds.assign_coords({name: ("record", values)}))
    if name == "height" and value < 0:  # as if it was put aside
        assert np.isnan(made.feature[1]).all()
    else:
        with pytest.raises(SchemaError, match="do not fit its pixels"):
            made.compute()


def test_names():
    assert len(columns.names(columns.NINE, 8)) == 1584
    for channels in (1, 2, 5):
        for family in columns.FAMILIES:
            made = columns.names([family], channels)
            assert len(made) == len(set(made)) == columns.count(family, channels)
    assert len(set(columns.names(columns.FAMILIES, 3))) == len(columns.names(columns.FAMILIES, 3))
