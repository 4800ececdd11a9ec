"""COCO: boxes whose corners were worked out by hand, and masks that pycocotools reads alike."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
import xarray as xr
from meshes import box, octahedron, placed, surfaces
from PIL import Image

import dpipe
from dpipe import schema
from dpipe.errors import RefusedError, SchemaError, UsageError
from dpipe.writers import write_coco
from dpipe.writers.training.boxes import Box, merge
from dpipe.writers.training.coco import run_lengths

SPACING, ORIGIN = (2.0, 0.5, 0.25), (10.0, 100.0, -50.0)


def movie(shape=(3, 2, 4, 20, 30), dtype="u1", seed=0, channels=("GFP", "DiD")):
    """Voxels 2 x 0.5 x 0.25 micrometres; the first one's centre at (10, 100, -50)."""
    pixels = np.random.default_rng(seed).integers(1, 200, shape).astype(dtype)
    return schema.movie(
        pixels, spacing=SPACING, origin=ORIGIN, interval=30, channels=channels[: shape[1]]
    )


def spots(*rows, channel=None, annotator=None):
    """Spots of (frame, track, z, y, x)."""
    frame, track, z, y, x = np.array(rows, float).reshape(-1, 5).T
    ds = xr.Dataset({f"spot_{d}": ("spot", v) for d, v in zip("zyx", (z, y, x), strict=True)})
    ds = ds.assign_coords(frame=("spot", frame.astype(int)), track=("spot", track.astype(int)))
    for name, said in (("spot_channel", channel), ("annotator", annotator)):
        ds = ds if said is None else ds.assign_coords({name: ("spot", np.array(said))})
    return ds


def labels(ds, blocks, **attrs):
    """Labels of a movie: frame -> [(number, z, y, x slices)]."""
    image = ds.image.isel(c=0, drop=True)
    volume = np.zeros(image.shape, "u4")
    for frame, number, *region in blocks:
        volume[frame, *region] = number
    array = xr.DataArray(volume, dims=image.dims, coords=image.coords)
    return ds.merge(schema.LABELS.wrap(array, **attrs))


def read(folder, split="train"):
    return json.loads((Path(folder) / f"annotations/instances_{split}.json").read_text("utf-8"))


def export(ds, folder, split="train", **options):
    paths = write_coco({"Neu1": ds}, folder / "out", split=split, **options)
    assert all(Path(path).is_file() for path in paths)
    found = read(folder / "out", split)
    counts = found["info"]["counts"]
    marks = counts["labels"] + counts["surfaces"] + counts["spots"]
    rest = counts["same_cell"] + counts["outside"] + counts["surfaces_without_mesh"]
    assert counts["boxes"] + rest == marks
    assert counts["annotations"] == len(found["annotations"])
    assert counts["pictures"] == len(found["images"])
    return found


@pytest.mark.parametrize(
    ("at", "bbox", "clipped"),
    [
        # centre of the voxel (1, 8, 12): x = -50 + 12 * 0.25, y = 100 + 8 * 0.5. In corners its
        # centre is at 12.5, 8.5; 3 micrometres are 12 pixels along x and 6 along y
        ((12, 104, -47), [6.5, 5.5, 12, 6], False),
        # centre of the first voxel, corners 0.5: 6.5 and 3.5 are left of it
        ((10, 100, -50), [0, 0, 6.5, 3.5], True),
        # centre of the last voxel (19, 29): corners 29.5 - 6 to 35.5, cut at 30; 16.5 to 20
        ((16, 109.5, -42.75), [23.5, 16.5, 6.5, 3.5], True),
        # border of the image along x is -50 - 0.125; a box that ends there shows nothing
        ((10, 100, -50.125 - 1.5), None, False),
        ((10, 100, -50.125 - 1.25), [0, 0, 1, 3.5], True),
        # depth: voxels from 9 to 17 micrometres; cubes that end at 9 or begin at 17 are outside
        ((7.5, 104, -47), None, False),
        ((7.75, 104, -47), [6.5, 5.5, 12, 6], False),
        ((18.5, 104, -47), None, False),
        ((np.nan, 104, -47), [6.5, 5.5, 12, 6], False),
    ],
)
def test_cubes_around_spots(tmp_path, at, bbox, clipped):
    found = export(movie().merge(spots((1, 7, *at))), tmp_path, size=3, channels="DiD")
    counts = found["info"]["counts"]
    if bbox is None:
        assert found["annotations"] == []
        assert (counts["outside"], counts["boxes"]) == (1, 0)
        return
    (one,) = found["annotations"]
    assert one["bbox"] == bbox
    assert one["area"] == bbox[2] * bbox[3]
    assert (one["track_id"], one["frame"], one["clipped"]) == (7, 1, clipped)
    assert (one["iscrowd"], one["category_id"], one["segmentation"]) == (0, 1, [])
    (picture,) = [picture for picture in found["images"] if picture["id"] == one["image_id"]]
    assert picture["file_name"] == "Neu1_t0001_c1.png"
    # and back: centre of an unclipped box, from the corner of the first pixel to micrometres
    if not clipped:
        x, y = bbox[0] + bbox[2] / 2, bbox[1] + bbox[3] / 2
        assert (100 - 0.25 + y * 0.5, -50 - 0.125 + x * 0.25) == at[1:]


def test_pictures(tmp_path):
    ds = movie().merge(spots((0, 7, 12, 104, -47)))
    found = export(ds, tmp_path, size=3)
    assert [picture["file_name"] for picture in found["images"]] == [
        f"Neu1_t000{t}_c{c}.png" for t in range(3) for c in range(2)
    ]
    assert found["images"][3] == {
        "id": 4, "file_name": "Neu1_t0001_c1.png", "width": 30, "height": 20, "movie": "Neu1",
        "frame": 1, "time": 30.0, "channel": "DiD", "pixel_size": [0.5, 0.25],
    }  # fmt: skip
    for picture in found["images"]:
        pixels = np.asarray(Image.open(tmp_path / "out/train" / picture["file_name"]))
        expected = ds.image.sel(c=picture["channel"]).isel(t=picture["frame"]).max("z")
        assert pixels.dtype == np.uint8
        np.testing.assert_array_equal(pixels, expected)
    assert [one["image_id"] for one in found["annotations"]] == [1, 2]
    assert [one["id"] for one in found["annotations"]] == [1, 2]
    assert found["categories"] == [{"id": 1, "name": "apoptotic cell", "supercategory": "cell"}]
    for split in ("validation", "test"):  # nothing in them, but they are there
        assert read(tmp_path / "out", split)["images"] == []
        assert list((tmp_path / "out" / split).iterdir()) == []


@pytest.mark.parametrize(
    ("dtype", "file"),
    [("u2", "png"), (">u2", "png"), ("u1", "tiff"), ("u2", "tiff"), ("f4", "tiff")],
)
def test_kinds_of_numbers(tmp_path, dtype, file):
    ds = movie(dtype=dtype)
    ds["image"] = ds.image * ds.image.dtype.type(1 if dtype == "u1" else 300)
    found = export(ds.merge(spots()), tmp_path, file=file)
    path = tmp_path / "out/train" / found["images"][1]["file_name"]
    pixels = tifffile.imread(path) if file == "tiff" else np.asarray(Image.open(path))
    assert pixels.dtype == np.dtype(dtype).newbyteorder("=")
    np.testing.assert_array_equal(pixels, ds.image[0, 1].max("z"))


def test_a_table_without_spots_says_that_no_cell_dies(tmp_path):
    found = export(movie().merge(spots()), tmp_path)
    assert (len(found["images"]), found["annotations"]) == (6, [])


def test_frames_without_a_box_may_be_left_out(tmp_path):
    ds = movie().merge(spots((0, 1, 12, 104, -47), (2, 1, 12, 104, -47), channel=["ch2", ""]))
    found = export(ds, tmp_path, size=3, empty=False)
    assert [picture["file_name"][5:13] for picture in found["images"]] == [
        "t0000_c1", "t0002_c0", "t0002_c1",
    ]  # fmt: skip
    assert found["info"]["counts"]["pictures_left_out"] == 3
    assert {p.name for p in (tmp_path / "out/train").iterdir()} == {
        picture["file_name"] for picture in found["images"]
    }


def test_a_box_stands_in_the_channels_of_its_spot(tmp_path):
    rows = [(0, i, 12, 104, -47 + i) for i in range(3)]
    ds = movie().merge(spots(*rows, channel=["DiD", "ch1,ch2", "ch1"]))
    found = export(ds, tmp_path, size=3)
    assert [(one["track_id"], one["image_id"]) for one in found["annotations"]] == [
        (1, 1), (2, 1), (0, 2), (1, 2),
    ]  # fmt: skip
    assert found["info"]["counts"]["in_other_channels"] == 0
    second = tmp_path / "b"
    found = export(ds, second, size=3, channels=["GFP"])
    assert [one["track_id"] for one in found["annotations"]] == [1, 2]
    assert found["info"]["counts"]["in_other_channels"] == 1


def test_surfaces_go_before_spots(tmp_path):
    """A surface has its extent, and takes the track of the spot in it; another spot has a cube."""
    # from 100.9 to 104.1 along y: corners (0.9 + 0.25) / 0.5 = 2.3 and 8.7; along x from -49 to
    # -46.5: (1 + 0.125) / 0.25 = 4.5 and 14.5
    cell = box((9.5, 100.9, -49), (15, 104.1, -46.5))
    gone = placed(octahedron(), 1, (0, 0, 0))
    table = surfaces([cell, cell, gone, (np.empty((0, 3)), np.empty((0, 3), int))], [0, 9, 1, 1])
    marks = spots((0, 5, 12, 103, -48), (0, 6, 16, 103, -48), (1, 5, 12, 103, -48))
    found = export(movie().merge(table).merge(marks), tmp_path, size=3, channels="GFP")
    shown = [(o["source"], o["track_id"], o["frame"], o["bbox"]) for o in found["annotations"]]
    assert shown == [
        ("surfaces", 5, 0, [4.5, 2.3, 10, 6.4]),
        ("spots", 6, 0, [2.5, 3.5, 12, 6]),
        ("spots", 5, 1, [2.5, 3.5, 12, 6]),
    ]
    assert found["annotations"][0]["depth"] == [9.5, 15]
    assert found["annotations"][0]["area"] == 64
    counts = {key: value for key, value in found["info"]["counts"].items() if value}
    assert counts == {
        "pictures": 3, "annotations": 3, "frames": 3, "surfaces": 4, "surfaces_without_mesh": 1,
        "spots": 3, "same_cell": 1, "outside": 2, "boxes": 3,
    }  # fmt: skip


def test_the_nearest_of_two_boxes_takes_a_spot():
    low, high = np.zeros(3), np.full(3, 10.0)
    left, right = Box(0, low, high, "labels"), Box(0, low + 2, high + 2, "surfaces")
    far = Box(0, low + 20, high + 20, "spots", 9)
    first, second = (Box(0, low + i, high + i, "spots", i) for i in (3, 0))
    kept, same = merge([left, right, first, second, far])
    # the centre (7, 7, 7) of `right` lies in `left`: they are one cell
    assert kept == [left, far]
    assert (left.track, same) == (3, 3)
    right.source = "labels"
    left.track = -1
    kept, same = merge([left, right, first, second, far])
    assert (kept, left.track, right.track) == ([left, right, far], 0, 3)


def decode(segmentation):
    """Paint run lengths, by the definition: columns from the left, first what is off."""
    height, width = segmentation["size"]
    flat = [i % 2 for i, run in enumerate(segmentation["counts"]) for _ in range(run)]
    return np.array(flat, bool).reshape(width, height).T


def marked_by_labels(**attrs):
    """Two cells above each other, another at the corner, and one of two pieces."""
    ds = movie()
    shape = [
        (0, 9, slice(0, 2), slice(5, 9), slice(10, 20)),
        (0, 4, 3, slice(8, 11), slice(18, 22)),
    ]
    shape += [(1, 9, 0, slice(0, 3), slice(0, 2)), (1, 2, 1, 15, 29), (1, 2, 3, 19, slice(25, 28))]
    return labels(ds, shape, **attrs)


def test_labels_give_masks(tmp_path):
    ds = marked_by_labels(number="track")
    found = export(ds, tmp_path, channels="GFP")
    assert [(one["frame"], one["track_id"], one["bbox"], one["area"])
            for one in found["annotations"]] == [
        (0, 4, [18, 8, 4, 3], 12),
        (0, 9, [10, 5, 10, 4], 40),
        (1, 2, [25, 15, 5, 5], 4),
        (1, 9, [0, 0, 2, 3], 6),
    ]  # fmt: skip
    for one in found["annotations"]:
        mask = decode(one["segmentation"])
        expected = (ds.labels.isel(t=one["frame"]) == one["track_id"]).any("z")
        np.testing.assert_array_equal(mask, expected)
    assert found["annotations"][3]["segmentation"]["counts"] == [0, 3, 17, 3, 577]


def test_what_pycocotools_makes_of_it(tmp_path):
    """Digests of ``COCO(file).annToMask`` (uint8, by rows) and ``mask.toBbox``, pycocotools 2.0.11.

    Its ``COCOeval`` gave these boxes and masks an average precision of 1 against themselves.
    """
    found = export(marked_by_labels(number="track"), tmp_path, channels="GFP")["annotations"]
    digests = [
        hashlib.sha256(np.ascontiguousarray(decode(one["segmentation"]).astype("u1"))).hexdigest()
        for one in found
    ]
    assert [digest[:12] for digest in digests] == [
        "74c4b71ddf65", "d424085e0378", "6dc31728aaac", "b3a87db748db",
    ]  # fmt: skip
    assert [one["bbox"] for one in found] == [
        [18, 8, 4, 3], [10, 5, 10, 4], [25, 15, 5, 5], [0, 0, 2, 3],
    ]  # fmt: skip


def test_labels_go_before_surfaces_and_spots(tmp_path):
    # the label covers rows 5 to 8 and columns 10 to 19: y from 102.25 to 104.25, x from -47.625
    # to -45.125, z from 9 to 13
    ds = marked_by_labels(number="surface")
    cell = box((9, 102.5, -47.5), (13, 104, -45.5))
    marks = spots((0, 3, 10, 104, -45.5), (0, 8, 10, 108, -44))
    ds = ds.merge(surfaces([cell], [0], [6])).merge(marks)
    found = export(ds, tmp_path, size=2, channels="GFP")
    assert [(one["source"], one["track_id"]) for one in found["annotations"]] == [
        ("labels", -1), ("labels", 6), ("spots", 8), ("labels", -1), ("labels", -1),
    ]  # fmt: skip
    assert found["info"]["counts"]["same_cell"] == 2


@pytest.mark.parametrize("shape", [(7, 9), (1, 5), (4, 1)])
def test_run_lengths_come_back(shape):
    masks = np.random.default_rng(1).integers(0, 2, (20, *shape)).astype(bool)
    for mask in [*masks, np.zeros(shape, bool), np.ones(shape, bool)]:
        runs = run_lengths(mask)
        assert sum(runs) == mask.size
        np.testing.assert_array_equal(decode({"size": shape, "counts": runs}), mask)


def test_projections_of_2d_masks(tmp_path):
    """What has no z: a projection, and masks drawn in one plane as thick as the stack."""
    ds = marked_by_labels()
    flat = ds.labels.max("z").expand_dims(z=[13.0], axis=1).assign_attrs(number="track")
    flat["z"].attrs["spacing"] = 8.0
    held = dpipe.projections(ds).merge({"labels": flat})
    found = export(held.merge(spots((2, 1, 12, 104, -47))), tmp_path, image="projection", size=2)
    assert len(found["annotations"]) == 2 * 5
    again = np.asarray(Image.open(tmp_path / "out/train/Neu1_t0000_c0.png"))
    np.testing.assert_array_equal(again, ds.image[0, 0].max("z"))


def test_movies_of_unlike_size_in_three_splits(tmp_path):
    rows = [(0, 1, 12, 104, -47)]
    movies = {f"Neu{i}": movie((i + 1, 1, 2, 20 + i, 30), seed=i).merge(spots(*rows * (i > 0)))
              for i in range(4)}  # fmt: skip
    split = {"Neu0": "train", "Neu1": "train", "Neu2": "validation", "Neu3": "test"}
    paths = write_coco(movies, tmp_path / "out", split=split, size=1)
    found = {name: read(tmp_path / "out", name) for name in schema.SPLITS}
    assert [len(f["images"]) for f in found.values()] == [3, 3, 4]
    assert [len(f["annotations"]) for f in found.values()] == [1, 1, 1]
    assert [f["images"][-1]["height"] for f in found.values()] == [21, 22, 23]
    ids = [picture["id"] for f in found.values() for picture in f["images"]]
    assert sorted(ids) == list(range(1, 11))
    assert len(paths) == 10 + 3
    assert sorted(paths) == sorted(str(p) for p in (tmp_path / "out").rglob("*.*"))


def test_unmarked_movies(tmp_path):
    parts = {"Neu1": movie().merge(spots()), "Neu2": movie(seed=1)}
    with pytest.raises(SchemaError, match="Neu2: neither 'labels' nor surfaces nor spots"):
        write_coco(parts, tmp_path / "out", split="train")
    write_coco(parts, tmp_path / "out", split={"Neu1": "train"}, unmarked="skip")
    assert read(tmp_path / "out")["info"]["unmarked_movies_left_out"] == ["Neu2"]
    assert {p["movie"] for p in read(tmp_path / "out")["images"]} == {"Neu1"}
    with pytest.raises(SchemaError, match="Neu2: neither"):
        write_coco({"Neu2": parts["Neu2"]}, tmp_path / "b", split="train", unmarked="skip")


def test_the_same_pixels_in_two_splits(tmp_path):
    one, other = movie().merge(spots()), movie(seed=1).merge(spots())
    other["image"] = other.image.copy()
    other.image[2, 1] = one.image[0, 1]
    parts = {"Neu1": one, "Neu2": other}
    with pytest.raises(RefusedError) as told:
        write_coco(parts, tmp_path / "out", split={"Neu1": "train", "Neu2": "test"})
    assert "Neu2_t0002_c1.png in test has the very pixels of Neu1_t0000_c1.png in train" in str(
        told.value
    )
    assert list(tmp_path.iterdir()) == []
    write_coco(parts, tmp_path / "out", split="test")


FLAT = np.zeros((2, 4, 20, 30), "u1")


@pytest.mark.parametrize(
    ("change", "options", "error", "said"),
    [
        (lambda ds: ds, {}, UsageError, "Neu1: spots have no extent; say size="),
        (lambda ds: ds, {"size": 0}, UsageError, "size=0; expected micrometres, above 0"),
        (lambda ds: ds, {"size": True}, UsageError, "size=True; expected micrometres"),
        (lambda ds: ds, {"size": "10"}, UsageError, "size='10'; expected micrometres"),
        (lambda ds: ds, {"file": "jpg"}, UsageError, "file='jpg'"),
        (lambda ds: ds, {"unmarked": "keep"}, UsageError, "unmarked='keep'"),
        (lambda ds: ds, {"size": 1, "channels": "GPF"}, UsageError, "Neu1: unknown channel 'GPF'"),
        (lambda ds: ds, {"size": 1, "channels": []}, UsageError, "channels: none given"),
        (lambda ds: ds, {"size": 1, "image": "pixels"}, SchemaError, "Neu1: no variable 'pixels'"),
        (lambda ds: ds, {"size": 1, "image": "spot_x"}, SchemaError, "'spot_x' has dims (spot)"),
        (lambda ds: ds.astype("f4"), {"size": 1}, SchemaError, "PNG holds uint8 and uint16, not"),
        (
            lambda ds: ds.assign_coords(annotator=("spot", ["a", "b"])),
            {"size": 1}, SchemaError, "spots of several annotators",
        ),
        (
            lambda ds: ds.assign_coords(spot_channel=("spot", ["ch1", "ch3"])),
            {"size": 1}, SchemaError, "a spot of frame 1: no channel 'ch3'. Found: GFP, DiD",
        ),
        (
            lambda ds: ds.assign(spot_y=("spot", [100, np.nan])),
            {"size": 1}, SchemaError, "a spot of frame 1 has no place along y or x",
        ),
        (
            lambda ds: ds.assign(image=ds.image[0], labels=(("t", "z", "y", "x"), FLAT)),
            {"size": 1}, SchemaError, "Neu1: labels {'t': 2, 'z': 4, 'y': 20, 'x': 30} do not fit",
        ),
    ],
)  # fmt: skip
def test_what_is_refused(tmp_path, change, options, error, said):
    ds = movie((2, 2, 4, 20, 30)).merge(spots((0, 1, 12, 104, -47), (1, 1, 12, 104, -47)))
    with pytest.raises(error) as told:
        write_coco({"Neu1": change(ds)}, tmp_path / "out", split="train", **options)
    assert said in str(told.value)
    assert "\n" not in str(told.value)
    assert list(tmp_path.iterdir()) == []
