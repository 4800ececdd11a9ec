"""Features of cells against scifAI's own, scikit-image, IBSI and the Galaxy tools' tables."""

import json

import array_api_strict
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.ndimage
import skimage.io
import zarr
from cells import (
    close,
    collection,
    expected,
    measured,
    odd_pictures,
    on_device,
    on_host,
    random_pictures,
    same,
)

import dpipe
from benchmarks import _nine_families as oracle
from benchmarks._flow_pictures import draw, pack
from dpipe import operators
from dpipe.errors import SchemaError, UsageError
from dpipe.operators.cell_features import columns
from dpipe.operators.cell_features.cpu import measure as cpu_measure
from dpipe.operators.cell_features.cpu import texture
from dpipe.operators.cell_features.features import _features
from dpipe.operators.cell_features.gpu import batch
from dpipe.operators.cell_features.gpu import measure as gpu_measure
from dpipe.operators.pictures.mask_terms import parse

KINDS = {
    "8 bits": ("u1", 256, 1),
    "12 bits": ("u2", 4096, 1),
    "16 bits": ("u2", 65536, 1),
    "float32": ("f4", 4096, 7),
    "float64": ("f8", 4096, 8),
    "int32": ("i4", 4096, 1),
}


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
    dtype, top, over = KINDS[kind]
    families = (*columns.NINE, "hog")
    pictures = random_pictures(16, 3, sum(map(ord, kind)), dtype, top, over)
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


def test_odd_pictures_too():
    both = [measured(odd_pictures(), columns.FAMILIES, move) for move in (on_host, on_device)]
    close(*both)


def test_odd_pictures_of_fractions_too():
    """Sums in another order differ in their last digits, which decide where all is constant."""
    rest = ("hog", "colocalisation", "colocalisation-corrected")
    families = [family for family in columns.FAMILIES if family not in rest]
    both = [measured(odd_pictures(0.1), families, move) for move in (on_host, on_device)]
    np.testing.assert_allclose(*both, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("move", [on_host, on_device])
def test_what_is_nearest_in_the_end_may_be_farther_along_the_row(move):
    """From (0, 3) to (0, 12) it is 9, to (10, 0) the root of 109; all others have one within 4."""
    mask = np.zeros((12, 13, 2), np.uint8)
    mask[[10, 0], [0, 12], 0] = mask[[0, 0, 10], [3, 8, 1], 1] = 1
    found = measured([(mask.astype("u2"), mask)], ["colocalisation"], move)[0]
    at = columns.names(["colocalisation"], 2).index("hausdorff_distance_R1_Ch1_R2_Ch2")
    close(found[at], 9)


@pytest.mark.parametrize("move", [on_host, on_device])
def test_a_shape_without_slant_lies_level(move):
    """Sums about its centre would say so but for their rounding, which flips half a turn."""
    mask = np.zeros((6, 7, 1), np.uint8)
    for row, width in enumerate([3, 4, 7, 7, 4, 3]):
        mask[row, :width] = 1
    found = measured([(mask.astype("u2"), mask)], ["mask-based"], move)[0]
    at = columns.names(["mask-based"], 1).index("mask_based_orientation_Ch1")
    close(found[at], np.pi / 2)


def test_batches_are_cut(monkeypatch):
    pictures = random_pictures(9, 2, seed=3)
    whole = measured(pictures, columns.NINE, on_device)
    monkeypatch.setattr(batch, "_ROOM", 2000)
    close(measured(pictures, columns.NINE, on_device), whole)


# The values of IBSI


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
    hu = [
        text.strip("\\[]").split(",")
        for text in told_by(shared_data, "input13-moments_hu").iloc[:, 0]
    ]
    for k in range(7):
        close(found[f"moments_hu-{k}"], [float(row[k]) for row in hu], atol=1e-4, rtol=0)


# A table of CellProfiler


def nuclei(folder):
    """Cut out nuclei, two channels, as far as CellProfiler's overlay still tells their pixels.

    The overlay has both sides of each outline in blue: pixels beside the inside belong to it.
    Where outlines meet that is not all; only masks of the area in the table are taken.
    """
    stem = "AS_09125_050116030001_D03f00d"
    planes = np.stack([skimage.io.imread(folder / f"{stem}{k}.tif") for k in (0, 1)], axis=2)
    blue = (skimage.io.imread(folder / f"{stem}0_Overlay.png") == (0, 0, 255)).all(axis=2)
    pieces, _ = scipy.ndimage.label(~blue)
    sizes = np.bincount(pieces.ravel())
    table = pd.read_csv(folder / "Nuclei.csv")
    corners = [f"AreaShape_BoundingBox{end}imum_{axis}" for axis in "YX" for end in ("Min", "Max")]
    pictures, rows = [], []
    for number, (y0, y1, x0, x1) in enumerate(table[corners].values.astype(int)):
        window = slice(y0, y1), slice(x0, x1)
        held = np.bincount(pieces[window].ravel(), minlength=len(sizes))
        inside = np.isin(
            pieces[window], [k for k in held.nonzero()[0] if k and held[k] == sizes[k]]
        )
        mask = inside | (scipy.ndimage.binary_dilation(inside) & blue[window])
        if mask.sum() == table["AreaShape_Area"][number]:
            pictures.append((planes[window], np.stack([mask, mask], axis=2).astype("u1")))
            rows.append(number)
    return pictures, table.loc[rows].reset_index(drop=True)


def test_nuclei_that_cellprofiler_measured(shared_data):
    """It has single precision and values from 0 to 1; Feret's diameter and solidity are of other
    hulls there, and it measured neither colocalisation nor texture."""
    pictures, told = nuclei(shared_data / "cellomics" / "ExampleHuman")
    families = ["mask-based", "cell-shape", "cell-distances"]
    found = pd.DataFrame(measured(pictures, families), columns=columns.names(families, 2))
    assert len(found) == 132  # of 289
    theirs = {name: name.title().replace("_", "") for name in ("area", "eccentricity", "extent")}
    theirs |= {"bbox_area": "BoundingBoxArea", "equivalent_diameter": "EquivalentDiameter"}
    theirs |= {f"{k}_axis_length": f"{k.title()}AxisLength" for k in ("major", "minor")}
    theirs |= {"euler_number": "EulerNumber", "perimeter": "Perimeter"}
    theirs |= {"orientation": "Orientation"}
    for ours, name in theirs.items():
        close(found[f"mask_based_{ours}_Ch1"], told[f"AreaShape_{name}"], err_msg=name)
    statistics = {"sum": "Integrated", "mean": "Mean", "std": "Std", "min": "Min", "max": "Max"}
    for c, channel in enumerate(("DNA", "PH3"), 1):
        for ours, name in statistics.items():
            value = told[f"Intensity_{name}Intensity_{channel}"]
            close(found[f"{ours}_intensity_Ch{c}"] / 255, value, err_msg=f"{name} {channel}")
    steps = [
        told[f"Location_CenterMassIntensity_{axis}_DNA"]
        - told[f"Location_CenterMassIntensity_{axis}_PH3"]
        for axis in "YX"
    ]
    close(found["weighted_cell_distance_Ch1_Ch2"], np.hypot(*steps), atol=1e-6)
    assert (found["cell_distance_Ch1_Ch2"] == 0).all()


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
        kernel = cpu_measure if move is on_host else gpu_measure
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
    for family in set(columns.FAMILIES) - set(families):
        with pytest.raises(SchemaError, match=f"^{family} need masks"):
            operators.cell_features(ds.drop_vars("mask_code"), families=["glcm", family])


def test_one_mask_for_all_channels():
    """The same as with masks that were all drawn so; the dilated intersection is SciPy's."""
    pictures = random_pictures(12, 3, seed=8)
    drawn = []
    for image, mask in pictures:
        both = np.pad(mask[..., 0] & mask[..., 1], 2)
        y, x = np.mgrid[-2:3, -2:3]
        grown = scipy.ndimage.binary_dilation(both, y * y + x * x <= 4)[2:-2, 2:-2]
        drawn.append((image, np.repeat(grown[..., None], 3, axis=2).astype("u1")))
    assert any(mask.any() for _, mask in drawn)
    families = ["cell-shape", "colocalisation", "background-mean"]
    made = operators.cell_features(
        collection(pictures), families=families, inside="dilate(Ch1 & Ch2, 2)"
    ).feature
    plain = operators.cell_features(collection(drawn), families=families).feature
    assert made["name"].values.tolist() == [f"{name}_inside" for name in plain["name"].values]
    np.testing.assert_array_equal(made.values, plain.values)
    term = parse("Ch1 & ~Ch3", ["Ch1", "Ch2", "Ch3"])
    said = {"channels": 3, "families": families, "data_range": 1.0, "inside": term}
    far = _features(*on_device(*pack(pictures)), **said)
    close(
        np.asarray(far.to_device(array_api_strict.Device("CPU_DEVICE"))),
        _features(*pack(pictures), **said),
    )


def test_a_derived_mask_by_its_name():
    ds = collection(random_pictures(5, 2, seed=9))
    masks = operators.derive_masks(ds, masks={"synapse": "dilate(Ch1 & Ch2, 1)"})
    named, told = (
        operators.cell_features(ds, masks, families="cell-shape", inside=inside).feature
        for inside in ("synapse", "dilate(Ch1 & Ch2, 1)")
    )
    np.testing.assert_array_equal(named, told)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"inside": "Ch1 & Ch7"}, "unknown mask 'Ch7'"),
        ({"inside": ""}, "such as 'CD3 & MHCII'"),
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


def test_a_picture_may_end_with_its_block_and_no_later():
    ds = collection([(image[:, :1], mask[:, :1]) for image, mask in draw(1, channels=2, side=9)])
    operators.cell_features(ds, families="glcm").compute()
    taller = ds.assign_coords(height=ds.height + 1)
    with pytest.raises(SchemaError, match="do not fit its pixels"):
        operators.cell_features(taller, families="glcm").compute()


@pytest.mark.parametrize("operator", ["cell-features", "channel-sums"])
def test_channels_are_not_selected_from_rows_that_hold_all(operator):
    """They would be read as those of other pictures."""
    ds = collection(random_pictures(4, 3, seed=0)).isel(c=[0, 2])
    with pytest.raises(SchemaError, match=r"2 channels of .* channels by dpipe.pictures"):
        operators.OPERATORS[operator].function(ds)


def test_names():
    assert len(columns.names(columns.NINE, 8)) == 1584
    for channels in (1, 2, 5):
        for family in columns.FAMILIES:
            made = columns.names([family], channels)
            assert len(made) == len(set(made)) == columns.count(family, channels)
    assert len(set(columns.names(columns.FAMILIES, 3))) == len(columns.names(columns.FAMILIES, 3))
