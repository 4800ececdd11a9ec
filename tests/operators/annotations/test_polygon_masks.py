"""Outlines drawn as label images: COCO's pixels to the last, overlaps as asked, losses counted."""

import csv
import json

import annotated
import numpy as np
import pytest
import xarray as xr
from annotated import labels_of
from pycocotools import mask as coco_mask

import dpipe
from dpipe.cli import main
from dpipe.errors import SchemaError, UsageError
from dpipe.operators import OPERATORS
from dpipe.operators.annotations.block_drawing import LAST, draw_block
from dpipe.readers import READERS
from dpipe.readers.annotations.coco import open_coco

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

polygon_masks = OPERATORS["polygon-masks"].function


def dataset(folder, **changes):
    annotated.write(folder, **changes)
    (part,) = READERS["coco"].parts([str(folder)])
    return open_coco([item.uri for item in part.items])


def of_rings(rings, height, width, **changes):
    """Draw objects of one picture."""
    content = {
        "images": [{"id": 1, "file_name": "a.png", "height": height, "width": width}],
        "annotations": [
            {"id": i, "image_id": 1, "segmentation": outline} | changes
            for i, outline in enumerate(rings)
        ],
    }
    return content


def drawn(tmp_path, rings, height, width, **params):
    path = tmp_path / "m.json"
    path.write_text(json.dumps(of_rings(rings, height, width)))
    masks = polygon_masks(open_coco(str(path)), **params)
    return labels_of(masks, 0), masks


def theirs(outline, height, width):
    pieces = coco_mask.frPyObjects(outline, height, width)
    return coco_mask.decode(coco_mask.merge(pieces) if isinstance(pieces, list) else pieces)


@pytest.mark.parametrize("seed", range(3))
def test_pixels_of_random_polygons_are_those_of_pycocotools(tmp_path, seed):
    rng = np.random.default_rng(seed)
    for case in range(1000):
        height, width = map(int, rng.integers(1, 90, 2))
        places = rng.uniform(-20, 110, (int(rng.integers(3, 30)), 2))
        if case % 4:
            step = (1, 5, 10)[case % 4 - 1]
            places = np.round(places * step) / step + (0.05 if step == 10 else 0)
        rings = [places.ravel().tolist()]
        if case % 5 == 0:
            rings.append(rng.uniform(0, 60, 10).tolist())
        if case % 50:  # by the kernel; some through the file and the operator
            labels = _by_kernel(rings, height, width)
        else:
            labels, _ = drawn(tmp_path, [rings], height, width)
        np.testing.assert_array_equal(labels, theirs(rings, height, width), err_msg=str(case))


def _by_kernel(rings, height, width):
    sizes = np.array([len(ring) // 2 for ring in rings])
    x, y = (np.array([v for ring in rings for v in ring[k::2]]) for k in (0, 1))
    out = np.zeros(height * width, "u2")
    table = [np.array([n]) for n in (0, height, width, 0, 1)]
    ends = [np.array([0, len(rings)]), sizes, np.array([0, sizes.sum()]), np.zeros(2, int)]
    draw_block(
        out,
        *table,
        *ends,
        np.zeros(1, int),
        np.zeros(1, bool),
        x,
        y,
        np.zeros(0, "u4"),
        LAST,
        False,
    )
    return out.reshape(height, width)


def test_every_outline_of_livecell_is_that_of_pycocotools(shared_data):
    folder = shared_data / "livecell"
    ds = open_coco(str(folder / "annotations/livecell_coco_val.json"))
    masks = polygon_masks(ds)
    objects = json.loads((folder / "annotations/livecell_coco_val.json").read_bytes())
    lost = masks["pixels_lost"].values[ds["in_block"].values, ds["in_slot"].values]
    with open(folder / "reference/coco_val_images.csv") as file:
        rows = {int(row["image_id"]): row for row in csv.DictReader(file)}
    for i, number in enumerate(ds["image_id"].values.tolist()):
        expected = np.zeros((520, 704), int)
        total = 0
        own = [one for one in objects["annotations"] if one["image_id"] == number]
        for k, one in enumerate(own, 1):
            mask = theirs(one["segmentation"], 520, 704)
            expected[mask > 0] = k
            total += int(mask.sum())
        np.testing.assert_array_equal(labels_of(masks, i), expected)
        assert (labels_of(masks, i) > 0).sum() == int(rows[number]["union_pixels"])
        assert lost[i] == total - (expected > 0).sum()
    assert masks["objects_lost"].values.sum() == 0


def test_runs_are_drawn_as_pycocotools_decodes_them(tmp_path):
    rng = np.random.default_rng(0)
    mask = np.asfortranarray(rng.random((17, 23)) < 0.3).astype("u1")
    runs = coco_mask.encode(mask)
    runs["counts"] = runs["counts"].decode()
    labels, _ = drawn(tmp_path, [runs], 17, 23)
    np.testing.assert_array_equal(labels, mask)


SQUARES = [[[0, 0, 4, 0, 4, 4, 0, 4]], [[2, 2, 8, 2, 8, 8, 2, 8]], [[3, 3, 5, 3, 5, 5, 3, 5]]]
"""Of 16, 36 and 4 pixels; 4 are in the first two, 4 in the last two, 1 in all three."""


@pytest.mark.parametrize(
    ("overlap", "counts"),
    [("last", [12, 32, 4]), ("first", [16, 32, 0]), ("smallest", [15, 29, 4])],
)
def test_who_has_pixels_of_several(tmp_path, overlap, counts):
    labels, masks = drawn(tmp_path, SQUARES, 9, 9, overlap=overlap)
    assert np.bincount(labels.ravel(), minlength=4)[1:].tolist() == counts
    assert masks["pixels_lost"].values.tolist() == [[56 - 48]]
    assert masks["objects_lost"].values.tolist() == [[counts.count(0)]]


def test_a_pixel_is_inside_if_its_centre_is(tmp_path):
    ring = [[1.4, 1.4, 4.6, 1.4, 4.6, 3.6, 1.4, 3.6]]  # centres at 1.5 to 4.5 and 1.5 to 3.5
    labels, _ = drawn(tmp_path, [ring], 6, 7, pixels="centre")
    assert np.argwhere(labels).tolist() == [[r, c] for r in (1, 2, 3) for c in (1, 2, 3, 4)]


@pytest.mark.parametrize("seed", range(3))
def test_centres_are_those_of_matplotlib(tmp_path, seed):
    path = pytest.importorskip("matplotlib.path")
    places = np.random.default_rng(seed).uniform(-3, 33, (9, 2))
    labels, _ = drawn(tmp_path, [[places.ravel().tolist()]], 30, 30, pixels="centre")
    y, x = np.mgrid[:30, :30] + 0.5
    crossings = np.zeros((30, 30), bool)  # matplotlib knows no even-odd rule: triangles from 0
    for a, b in zip(places, np.roll(places, -1, 0), strict=True):
        triangle = path.Path(np.array([[0, -99], a, b]))
        inside = triangle.contains_points(np.column_stack([x.ravel(), y.ravel()]))
        crossings ^= inside.reshape(30, 30)
    np.testing.assert_array_equal(labels > 0, crossings)


@pytest.mark.parametrize(
    "outline",
    [
        [[1, 1, 4, 4]],
        [[1, 1]],
        [],
        [[1, 1, None, 4, 6, 6]],
        [[1, 1, 1e300, 4, 6, 6]],
        [[1, 1, 4e6, 4, 6, 6]],
        [[20, 20, 30, 20, 30, 30]],
        {"counts": [3, 4]},
    ],
)
def test_what_cannot_be_drawn_is_counted(tmp_path, outline):
    labels, masks = drawn(tmp_path, [[[1, 1, 4, 1, 4, 4]], outline], 9, 9)
    assert set(labels.ravel().tolist()) == {0, 1}
    assert masks["objects_lost"].values.tolist() == [[1]]


def test_a_million_vertices(tmp_path):
    angle = np.linspace(0, 2 * np.pi, 10**6, endpoint=False)
    ring = np.column_stack([30 + 20 * np.cos(angle), 30 + 20 * np.sin(angle)])
    labels, _ = drawn(tmp_path, [[ring.ravel().tolist()]], 60, 60)
    assert abs(labels.sum() - np.pi * 400) < 12


def test_runs_of_a_mask_of_another_shape_are_not_drawn(tmp_path):
    """As many pixels, but rows for columns: drawn, they would be scattered."""
    runs = {"size": [9, 6], "counts": [9, 3, 42]}
    labels, masks = drawn(tmp_path, [runs], 6, 9)
    assert not labels.any()
    assert masks["objects_lost"].values.tolist() == [[1]]
    assert masks.attrs["notes"] == ["1 objects have runs of a mask of another size: not drawn"]
    labels, masks = drawn(tmp_path, [runs | {"size": [6, 9]}], 6, 9)
    assert labels.sum() == 3
    assert "notes" not in masks.attrs


def test_objects_without_an_outline_are_said(tmp_path):
    _, masks = drawn(tmp_path, [[], [[1, 1, 4, 4]], [[1, 1, 4, 1, 4, 4]]], 9, 9)
    assert masks.attrs["notes"] == [
        "2 objects have neither runs nor a ring of three vertices: not drawn"
    ]


def test_crowds_are_left_out_unless_asked_for(tmp_path):
    ds = dataset(tmp_path)
    assert labels_of(polygon_masks(ds), 0).max() == 1
    with_crowd = labels_of(polygon_masks(ds, crowd=True), 0)
    assert (with_crowd == 2).sum() == 9
    assert polygon_masks(ds).objects_lost.values.sum() == 0


def test_a_selection_draws_the_same_pictures_and_no_other(tmp_path):
    ds = dataset(tmp_path)
    whole, second = polygon_masks(ds), polygon_masks(ds.isel(record=[1]))
    np.testing.assert_array_equal(labels_of(second, 0), labels_of(whole, 1))
    first = slice(0, 120)
    assert not second["label_pixels"].values[0, first].any()


def test_blocks_get_their_own_objects(tmp_path):
    annotated.write(tmp_path)
    (part,) = READERS["coco"].parts([str(tmp_path)])
    uris = [item.uri for item in part.items]
    one, two = (polygon_masks(open_coco(uris, block=block)) for block in (1, 2))
    assert one.sizes["block"] == 2
    for i in range(2):
        np.testing.assert_array_equal(labels_of(one, i), labels_of(two, i))


def test_pictures_of_another_dataset_are_joined_by_name(tmp_path):
    pictures = dataset(tmp_path)
    pictures = pictures.drop_vars([n for n in pictures.variables if "object" in n])
    pictures = pictures.drop_vars("image_id").isel(record=[1, 0])
    outlines = open_coco(str(tmp_path / "m.json"))
    joined, plain = polygon_masks(outlines, pictures), polygon_masks(outlines)
    np.testing.assert_array_equal(labels_of(joined, 0), labels_of(plain, 1))
    twice = pictures.isel(record=[0, 0])
    with pytest.raises(UsageError, match=r"cells_7: two pictures of this name"):
        polygon_masks(outlines, twice)


def test_wrong_use(tmp_path):
    ds = dataset(tmp_path)
    with pytest.raises(UsageError, match="overlap: "):
        polygon_masks(ds, overlap="best")
    with pytest.raises(UsageError, match="pixels: "):
        polygon_masks(ds, pixels="all")
    with pytest.raises(UsageError, match="crowd: found 1"):
        polygon_masks(ds, crowd=1)
    with pytest.raises(SchemaError, match="object_image"):
        polygon_masks(xr.Dataset())
    with pytest.raises(SchemaError, match="picture 7 stand in several places"):
        polygon_masks(ds.isel(object=[2, 0, 3]))


def test_more_objects_than_16_bits_count(tmp_path):
    ring = [[0, 0, 1, 0, 1, 1, 0, 1]]
    labels, _ = drawn(tmp_path, [ring] * 65_536, 2, 2)
    assert labels.dtype == np.uint32
    assert labels.max() == 65_536


def test_from_the_command_line(tmp_path, shared_data):
    store, folder = ["--store", str(tmp_path / "store"), "--workers", "0"], shared_data / "livecell"
    sources = [f"--source={folder / name}" for name in ("annotations", "images")]
    commands = [
        ["make", "livecell", "--reader", "coco", *sources, *store],
        ["make", "masks", "--operator", "polygon-masks", "--input", "livecell", *store],
        ["verify", "masks", *store[:2]],
    ]
    for command in commands:
        with pytest.raises(SystemExit) as ended:
            main(command)
        assert ended.value.code == 0
    held = dpipe.open(str(tmp_path / "store"), "livecell", "masks")
    assert (labels_of(held, 0) > 0).sum() == 186_508
