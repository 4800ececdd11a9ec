"""The Cell Tracking Challenge: tracks and labels of one folder, real labels, and bad input."""

from pathlib import Path

import dask
import numpy as np
import pytest
import tifffile
from scipy import ndimage
from skimage.measure import regionprops

from dpipe import sources
from dpipe.errors import InputError, UsageError
from dpipe.readers import _track_labels, tiff
from dpipe.readers.tracks import find, open_tracks
from dpipe.readers.tracks_labels import find as find_labels
from dpipe.readers.tracks_labels import open_tracks_labels
from dpipe.sources import Item

LINES = "1 0 1 0\n2 2 2 1\n7 2 2 1\n\n4 0 2 0\n"
"""Track 1 divides into 2 and 7; track 4 stays."""


def scene(dtype="u2") -> np.ndarray:
    """Three frames of (4, 10, 12) voxels."""
    labels = np.zeros((3, 4, 10, 12), dtype)
    labels[:, 1:3, 2:5, 3:7] = 4  # centre 1.5, 3, 4.5 in all frames
    labels[:2, 0, 6:8, 0:2] = 1  # 0, 6.5, 0.5
    labels[1, 0, 8, 0] = 1  # in frame 1 five voxels: 0, (6+6+7+7+8)/5, (0+1+0+1+0)/5
    labels[2, 3, 6, 0] = 2
    labels[2, 3, 9, 11] = 7
    return labels


def challenge(
    folder: Path, labels: np.ndarray | None = None, lines: str = LINES, head: str = "man_track"
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ("man_track.txt" if head == "man_track" else "res_track.txt")).write_text(lines)
    for t, frame in enumerate(scene() if labels is None else labels):
        tifffile.imwrite(folder / f"{head}{t:03d}.tif", frame, photometric="minisblack")
    return folder


def files(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.iterdir())


def opened(folder: Path, **said):
    return open_tracks(files(folder), **({"spacing": (1, 1, 1)} | said))


@pytest.mark.parametrize(
    ("path", "head"), [("CHO/01_GT/TRA", "man_track"), ("CHO/01_RES", "mask")], ids=str
)
def test_a_folder_becomes_tracks_and_labels(tmp_path, path, head):
    challenge(tmp_path / path, head=head)
    for t in range(3):
        movie = tmp_path / "CHO" / "01" / f"t{t:03d}.tif"
        movie.parent.mkdir(exist_ok=True)
        tifffile.imwrite(movie, scene()[t], photometric="minisblack")
    items = sources.list_items(str(tmp_path))
    assert [part.stem for part in tiff.find(items)] == ["CHO_01"]
    ((spots,), (labels,)) = ([*find(items)], [*find_labels(items)])
    assert (spots.stem, len(spots.items)) == ("CHO_01", 4)
    assert (labels.stem, len(labels.items)) == ("CHO_01", 3)

    said = {"spacing": (2, 0.5, 0.25), "origin": (10, 20, 30), "interval": 60}
    ds = open_tracks([item.uri for item in spots.items], **said)
    assert ds.track.values.tolist() == [1, 4, 1, 4, 2, 4, 7]
    assert ds.frame.values.tolist() == [0, 0, 1, 1, 2, 2, 2]
    assert ds.spot_t.values.tolist() == [0, 0, 60, 60, 120, 120, 120]
    # z = 10 + 2 k, y = 20 + j / 2, x = 30 + i / 4 of the centres in `scene`
    assert ds.spot_z.values.tolist() == [10, 13, 10, 13, 16, 13, 16]
    assert ds.spot_y.values.tolist() == [23.25, 21.5, 23.4, 21.5, 23, 21.5, 24.5]
    assert ds.spot_x.values.tolist() == [30.125, 31.125, 30.1, 31.125, 30, 31.125, 32.75]
    assert dict(zip(ds.track_id.values, ds.track_parent.values, strict=True)) == {
        1: -1, 2: 1, 4: -1, 7: 1,
    }  # fmt: skip

    masks = open_tracks_labels([item.uri for item in labels.items], **said)
    np.testing.assert_array_equal(masks.labels, scene())
    assert masks.labels.dtype == np.uint16
    assert masks.z.values.tolist() == [10, 12, 14, 16]
    assert masks.x.values[:2].tolist() == [30, 30.25]
    assert masks.t.values.tolist() == [0, 60, 120]
    assert "assumed" not in masks.attrs


def test_what_is_not_said_is_assumed_of_labels_and_asked_of_tracks(tmp_path):
    folder = challenge(tmp_path / "01_RES", head="mask")
    ds = open_tracks_labels([path for path in files(folder) if path.endswith("tif")])
    assert ds.attrs["assumed"] == ["spacing is 1", "interval is 1"]
    assert ds.t.values.tolist() == [0, 1, 2]
    with pytest.raises(InputError, match=r"01_RES/mask000.tif: places are in pixels; say spacing"):
        open_tracks(files(folder))


def test_places_are_found_when_computed_and_only_where_asked(tmp_path, monkeypatch):
    monkeypatch.setattr(_track_labels, "_BLOCK_SPOTS", 2)
    folder = challenge(tmp_path / "m")
    seen = []
    read = _track_labels.Series.read
    monkeypatch.setattr(
        _track_labels.Series, "read", lambda self, t: (seen.append(t), read(self, t))[1]
    )
    ds = opened(folder)
    assert seen == []
    with dask.config.set(scheduler="synchronous"):
        assert ds.spot_z[:2].values.tolist() == [0, 1.5]
        assert seen == [0]
        assert ds.spot_z.values.tolist() == [0, 1.5, 0, 1.5, 3, 1.5, 3]


@pytest.mark.parametrize("dtype", ["u1", "i2", "u4"])
@pytest.mark.parametrize("flat", [True, False], ids=["2-D", "3-D"])
def test_kinds_of_images(tmp_path, dtype, flat):
    labels = scene(dtype).max(axis=1) if flat else scene(dtype)
    folder = challenge(tmp_path / "m", labels)
    masks = open_tracks_labels([path for path in files(folder) if path.endswith("tif")])
    assert masks.labels.shape == (3, 1 if flat else 4, 10, 12)
    assert masks.labels.dtype == np.dtype(dtype.replace("i", "u"))
    np.testing.assert_array_equal(masks.labels.squeeze(), labels.squeeze())
    ds = opened(folder)
    assert ds.spot_z.values.tolist() == ([0] * 7 if flat else [0, 1.5, 0, 1.5, 3, 1.5, 3])


def test_real_labels_against_scikit_image_and_scipy(tmp_path, shared_data):
    """20 frames of a real movie: every object a track of its own frame, or as it is numbered."""
    path = shared_data / "timelapse" / "fluo_n3dh_cho" / "Fluo-N3DH-CHO_02_ERR_SEG.tif"
    labels = tifffile.imread(path)[:6]
    lines, expected = [], []
    for label in np.unique(labels)[1:].tolist():
        there = [t for t in range(len(labels)) if (labels[t] == label).any()]
        if there == [*range(there[0], there[-1] + 1)]:
            lines.append(f"{label} {there[0]} {there[-1]} 0")
        else:  # lost and found again: two tracks would have two numbers
            labels[labels == label] = 0
    assert len(lines) > 5
    folder = challenge(tmp_path / "02_RES", labels, "\n".join(lines), "mask")
    ds = opened(folder, spacing=(1, 0.202, 0.202))
    found = np.stack([ds[f"spot_{dim}"] for dim in "zyx"], axis=1)
    for t, frame in enumerate(labels):
        properties = regionprops(frame)
        expected += [(t, each.label, *each.centroid) for each in properties]
        numbers = [each.label for each in properties]
        centers = np.array(ndimage.center_of_mass(frame > 0, frame, numbers)) * (1, 0.202, 0.202)
        np.testing.assert_allclose(found[ds.frame.values == t], centers, rtol=1e-12)
    assert [*zip(ds.frame.values, ds.track.values, strict=True)] == [row[:2] for row in expected]
    centers = np.array([row[2:] for row in expected]) * (1, 0.202, 0.202)
    np.testing.assert_allclose(found, centers, rtol=1e-12)


@pytest.mark.parametrize(
    ("path", "uri", "stem"),
    [
        ("CHO/01_GT/TRA", "/raw/CHO/01_GT/TRA", "CHO_01"),
        ("01_RES", "/raw/CHO/01_RES", "01"),
        ("", "/raw/CHO/01_RES", "CHO_01"),
        ("TRA", "/raw/CHO/01_GT/TRA", "CHO_01"),
        ("mine", "/raw/mine", "mine"),
        ("", "/", "tracks"),
    ],
)
def test_names_of_folders(path, uri, stem):
    assert _track_labels.stem_of_folder(path, uri) == stem


def test_other_files_are_passed_over():
    names = ["a/mask000.tif", "a/res_track.txt", "b/x.csv", "b/mask0.png", "b/binarymask0.tif"]
    items = [Item(f"/raw/{name}", name, 9, "0") for name in names]
    assert [(p.stem, len(p.items)) for p in find(items)] == [("a", 2), ("x", 1)]
    assert [(p.stem, len(p.items)) for p in find_labels(items)] == [("a", 1)]


# --- bad input --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("1 0 1", r"m/man_track.txt: line 1: found '1 0 1'; expected track, begin, end, parent"),
        ("1 0 -1 0", "line 1: found '1 0 -1 0'"),
        ("1 0 1 0\n0 0 1 0", "line 2: track 0: its number is 0"),
        ("1 0 1 0\n1 2 2 0", "line 2: track 1: its number was there before"),
        ("1 2 1 0", "line 1: track 1: it ends too early"),
        ("1 0 1 0\n\n2 2 2 3", "line 3: track 2 comes from track 3, which is not there"),
        ("1 0 1 1", "line 1: track 1 comes from track 1"),
        ("1 0 900000000 0", "track 1 ends in frame 900000000; there are 3 label images"),
        ("", "empty file"),
    ],
)
def test_bad_texts(tmp_path, lines, message):
    folder = challenge(tmp_path / "m", lines=lines)
    with pytest.raises(InputError, match=message):
        open_tracks([str(folder / "man_track.txt"), *files(folder)], spacing=(1, 1, 1))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (LINES.replace("4 0 2", "4 0 1"), "man_track002.tif: label 4: no track has it there"),
        (LINES.replace("7 2 2", "7 1 2"), "man_track001.tif: label 7: the tracks say so"),
        (LINES + "9 0 0 0", "man_track000.tif: label 9: the tracks say so, the image does not"),
        (LINES.replace("7 2 2 1\n", ""), "man_track002.tif: label 7: no track has it"),
    ],
)
def test_tracks_that_are_not_those_of_the_images(tmp_path, lines, message):
    ds = opened(challenge(tmp_path / "m", lines=lines))
    with pytest.raises(InputError, match=message):
        ds.compute()


def test_bad_folders(tmp_path):
    folder = challenge(tmp_path / "m")
    with pytest.raises(InputError, match=r"m/man_track.txt: no label images"):
        open_tracks(str(folder / "man_track.txt"), spacing=(1, 1, 1))
    with pytest.raises(InputError, match=r"m/man_track000.tif: 0 of man_track.txt and res_track"):
        open_tracks(str(folder / "man_track000.tif"), format="ctc")
    (folder / "man_track001.tif").unlink()
    for read in (opened, lambda each: open_tracks_labels(files(each))):
        with pytest.raises(InputError, match=r"man_track001.tif is missing; found frames to 2"):
            read(folder)
    tifffile.imwrite(folder / "mask001.tif", scene()[1], photometric="minisblack")
    with pytest.raises(InputError, match=r"several kinds .* \(man_track000.tif, mask000.tif\)"):
        opened(folder)
    with pytest.raises(InputError, match="no label images"):
        open_tracks_labels([])
    with pytest.raises(UsageError, match="set spacing: found"):
        open_tracks_labels(files(challenge(tmp_path / "n")), spacing=(0, 1, 1))


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (scene()[1].astype("f4"), "man_track001.tif: pixels are float32; expected whole numbers"),
        (scene()[1, :2], r"man_track001.tif: u2 of shape \(2, 10, 12\); expected u2 of \(4, 10"),
        (scene("i2")[1] - 1, "man_track001.tif: label -1 is below 0"),
        (
            scene()[:2],
            r"man_track001.tif: axes QZYX|man_track001.tif: axes \w+ of \(2, 4, 10, 12\)",
        ),
    ],
    ids=["floats", "shape", "negative", "4-D"],
)
def test_bad_images(tmp_path, frame, message):
    folder = challenge(tmp_path / "m")
    tifffile.imwrite(folder / "man_track001.tif", frame, photometric="minisblack")
    images = [path for path in files(folder) if path.endswith("tif")]
    with pytest.raises(InputError, match=message):
        open_tracks_labels(images).compute()
    with pytest.raises(InputError, match=message):
        opened(folder).compute()
