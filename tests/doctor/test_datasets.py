"""Label images, phases and checked tracks: the same doctor, other faults."""

import faulty_annotations as made
import imagecodecs
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import dpipe
from dpipe import doctor, schema
from dpipe.doctor.labels import apart
from dpipe.errors import SchemaError

HEIGHT, WIDTH = 120, 160


def label_image():
    """Twelve discs, numbered from 1."""
    y, x = np.ogrid[:HEIGHT, :WIDTH]
    labels = np.zeros((HEIGHT, WIDTH), np.int64)
    for k in range(12):
        labels[(y - 20 - 40 * (k // 4)) ** 2 + (x - 20 - 40 * (k % 4)) ** 2 < 15**2] = k + 1
    return labels


def coloured(labels):
    colours = np.random.default_rng(5).integers(40, 255, (13, 3), dtype="u1")
    colours[0] = 0
    return colours[labels]


def smoothed(pixels):
    """Every pixel the mean of itself and the next, as a picture that was made larger."""
    return ((pixels.astype("u2") + np.roll(pixels, 1, 0) + np.roll(pixels, 1, 1)) // 3).astype("u1")


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(imagecodecs.png_encode(np.ascontiguousarray(pixels)))
    return path


def counts(report):
    return {finding.kind: finding.count for finding in report.findings}


def test_colours_of_label_images_beside_pictures(tmp_path):
    labels = label_image()
    collided = np.where(labels == 12, 1, labels)
    for k, pixels in enumerate((labels, collided, labels)):
        save(tmp_path / f"p{k}.png", made.pixels(k))
        save(tmp_path / f"p{k}_objects.png", coloured(pixels))
    save(tmp_path / "p2_objects.png", smoothed(coloured(labels)))
    report = doctor.check_annotations(tmp_path)
    assert counts(report) == {"label_in_pieces": 1, "smoothed_labels": 1}
    (example,) = report.findings[0].examples
    assert (example.file, example.picture) == (tmp_path.name, "p1_objects.png")
    red, green, blue = (int(value) for value in coloured(np.array([1]))[0])
    assert example.annotations == (red << 16 | green << 8 | blue,)
    assert example.detail == "2 pieces, 91 pixels apart"  # 140 - 20 - 29 columns


def test_a_label_image_by_itself(tmp_path):
    path = save(tmp_path / "x.png", np.where(label_image() == 12, 1, label_image()).astype("u1"))
    assert counts(doctor.check_annotations(path)) == {"label_in_pieces": 1}
    path.write_bytes(path.read_bytes()[:60])
    assert counts(doctor.check_annotations(path)) == {"damaged_picture": 1}


def test_an_object_that_another_one_lies_across_is_one():
    labels = np.zeros((40, 60), "u2")
    labels[10:20, 5:50] = 3
    labels[5:30, 20:34] = 4
    assert list(apart(labels)) == []
    labels[38:40, 58:60] = 4
    assert list(apart(labels)) == []  # 24 columns: no longer than the object itself is
    assert list(apart(np.zeros((4, 4), "u1"))) == []


def test_drawn_objects_of_a_store(tmp_path):
    path = made.write(tmp_path, made.clean())
    masks = dpipe.operators.resolve("polygon-masks").function(dpipe.readers.resolve("coco").open(
        [str(path), *map(str, (tmp_path / "images").iterdir())]
    ))  # fmt: skip
    assert counts(doctor.check_dataset(masks, "masks")) == {}
    row = masks["label_pixels"].values
    row[row == 25] = 1
    changed = masks.assign(label_pixels=(masks["label_pixels"].dims, row))
    found = counts(doctor.check_dataset(changed, "masks"))
    assert found == {"label_in_pieces": made.PICTURES}


def test_phases_out_of_order(tmp_path):
    columns = ["video_id", "blebbing_start", "blebbing_end", "disruption_start", "disruption_end"]
    rows = [("Neu 1", 3, 5, 6, 8), ("Neu 1", 3, 7, 6, 8), ("Neu 2", 3, 5, 9, 12)]
    path = tmp_path / "phases.csv"
    pd.DataFrame(rows, columns=columns).assign(channel="ch1").to_csv(path, index=False)
    report = doctor.check_dataset(dpipe.open_phases(path), "phases")
    assert counts(report) == {"phases_out_of_order": 2}
    assert [example[1:] for example in report.findings[0].examples] == [
        ("Neu1", (), "Neu1_2: phases_overlap"),
        ("Neu2", (), "Neu2_1: gap_between_phases"),
    ]


def test_tracks_that_jump():
    x = np.arange(20.0)
    x[12:] += 60
    zeros = np.zeros(20)
    held = {"spot_t": np.arange(20.0), "spot_z": zeros, "spot_y": zeros + 4, "spot_x": x}
    spots = xr.Dataset({name: ("spot", values) for name, values in held.items()})
    spots = spots.assign_coords(track=("spot", [3] * 20), frame=("spot", np.arange(20)))
    movie = schema.movie(np.zeros((20, 1, 1, 8, 90), "u1"), spacing=(1, 1, 1), interval=1)
    checked = dpipe.track_checks(movie, spots)
    report = doctor.check_dataset(checked, "checks")
    assert counts(report) == {"track_jump": 1}
    assert report.findings[0].examples[0].detail == "track 3, frame 12: far_jump"


def test_another_dataset_is_refused():
    movie = schema.movie(np.zeros((1, 1, 1, 8, 8), "u1"))
    with pytest.raises(SchemaError, match="no annotated pictures"):
        doctor.check_dataset(movie, "leuko")


def holes(seed):
    """Blobs with holes and with several parts, numbered."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 5, (24, 30)) * (rng.random((24, 30)) < 0.7)
    return np.kron(coarse, np.ones((3, 3), int)).astype("u1")


@pytest.mark.parametrize("seed", range(3))
def test_outlines_that_dpipe_makes_of_labels_have_no_fault(tmp_path, seed):
    for k in range(2):
        save(tmp_path / f"p{k}.png", holes(10 * seed + k))
    labels = dpipe.readers.resolve("instance-masks").open([str(tmp_path)])
    outlines = dpipe.operators.resolve("mask-polygons").function(labels)
    table = counts(doctor.check_dataset(outlines.drop_vars("label_pixels", errors="ignore"), "a"))
    assert table == {}


def test_annotated_pictures_with_labels_are_checked_as_both(tmp_path):
    path = made.write(tmp_path, made.planted("a vertex moved"))
    annotated = dpipe.readers.resolve("coco").open([str(path)])
    masks = dpipe.operators.resolve("polygon-masks").function(annotated)
    row = masks["label_pixels"].values
    row[row == 25] = 1
    both = annotated.assign(label_pixels=(masks["label_pixels"].dims, row))
    found = counts(doctor.check_dataset(both, "both"))
    assert found == {"box_disagrees": 1, "label_in_pieces": made.PICTURES}
