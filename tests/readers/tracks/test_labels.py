"""The Cell Tracking Challenge: tracks and labels of one folder, real labels, and bad input."""

from pathlib import Path

import dask
import numpy as np
import pytest
import tifffile
from scipy import ndimage
from skimage.measure import regionprops

import dpipe
from dpipe import schema, sources
from dpipe.cli import main
from dpipe.errors import InputError, UsageError
from dpipe.formats import cell_tracking_challenge
from dpipe.readers import open_tracks, open_tracks_labels
from dpipe.readers.tiff import files as tiff_files
from dpipe.readers.tracks.labels import find as find_labels
from dpipe.readers.tracks.spots import find
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
    assert [part.stem for part in tiff_files.find(items)] == ["CHO_01"]
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
    monkeypatch.setattr(cell_tracking_challenge, "_BLOCK_SPOTS", 2)
    folder = challenge(tmp_path / "m")
    seen = []
    read = cell_tracking_challenge.Series.read
    monkeypatch.setattr(
        cell_tracking_challenge.Series, "read", lambda self, t: (seen.append(t), read(self, t))[1]
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
    assert cell_tracking_challenge.stem_of_folder(path, uri) == stem


def whole_dataset(root: Path) -> list[Item]:
    """``01, 01_GT, 01_ST, 01_RES, 02, 02_GT`` as the challenge hands them out."""
    names = [
        *(f"{movie}/t{t:03d}.tif" for movie in ("01", "02") for t in range(3)),
        *(f"{movie}_GT/TRA/man_track{t:03d}.tif" for movie in ("01", "02") for t in range(3)),
        *(f"{movie}_GT/TRA/man_track.txt" for movie in ("01", "02")),
        *("01_GT/SEG/man_seg000.tif", "01_GT/SEG/man_seg002.tif", "02_GT/SEG/man_seg001.tif"),
        *(f"01_ST/SEG/man_seg{t:03d}.tif" for t in range(3)),
        *(f"01_RES/mask{t:03d}.tif" for t in range(3)), "01_RES/res_track.txt",
        *(f"01_ERR_SEG/mask{t:03d}.tif" for t in range(3)),
    ]  # fmt: skip
    return [Item(f"{root}/{name}", name, 9, "0") for name in names]


def test_a_whole_dataset_gives_unlike_names():
    items = whole_dataset(Path("/raw/CHO"))
    assert {part.stem: len(part.items) for part in find_labels(items)} == {
        "01": 3, "02": 3, "01_GT_SEG": 2, "02_GT_SEG": 1, "01_ST_SEG": 3, "01_RES": 3,
        "01_ERR_SEG": 3,
    }  # fmt: skip
    assert {part.stem: len(part.items) for part in find(items)} == {"01": 4, "02": 4, "01_RES": 4}
    truth = [item for item in items if "_GT/" in item.path and item.path.startswith("01")]
    assert {part.stem: len(part.items) for part in find_labels(truth)} == {"01": 3, "01_GT_SEG": 2}
    alone = [item for item in items if "_GT/SEG" in item.path]
    assert [part.stem for part in find_labels(alone)] == ["01", "02"]


def segmented(folder: Path, dtype="u2", **images: np.ndarray) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    for name, image in images.items():
        tifffile.imwrite(folder / f"{name}.tif", image.astype(dtype), photometric="minisblack")
    return files(folder)


def test_only_some_frames_are_segmented(tmp_path):
    three = scene()
    paths = segmented(tmp_path / "SEG", man_seg001=three[1], man_seg004=three[2])
    ds = open_tracks_labels(paths, spacing=(1, 1, 1), interval=30)
    assert ds.labels.shape == (5, 4, 10, 12)
    np.testing.assert_array_equal(ds.labels[1], three[1])
    np.testing.assert_array_equal(ds.labels[4], three[2])
    assert not ds.labels[[0, 2, 3]].any()
    assert ds.segmented.dtype == bool
    assert ds.segmented.values.tolist() == [[f in (1, 4)] * 4 for f in range(5)]
    assert ds.t.values.tolist() == [0, 30, 60, 90, 120]
    assert ds.attrs["notes"] == [
        "2 of 5 frames are segmented (1, 4); elsewhere labels are 0 because nobody drew them"
    ]
    assert schema.SEGMENTED.check(ds) is not None
    ds = open_tracks_labels(paths, frames=7)
    assert (ds.sizes["t"], int(ds.segmented.sum())) == (7, 8)
    ds = open_tracks_labels(paths, first_frame=1)
    assert np.flatnonzero(ds.segmented.any("z")).tolist() == [0, 3]


@pytest.mark.parametrize("style", ["man_seg_{}_{}", "man_seg{}_{}"])
def test_only_some_planes_of_volumes_are_segmented(tmp_path, style):
    """As of Fluo-N3DH-CE: frame 2, planes 1 and 3; frame 5, plane 0."""
    planes = {("002", "001"): 7, ("002", "003"): 8, ("005", "000"): 9}
    images = {style.format(*at): np.full((3, 5), label) for at, label in planes.items()}
    paths = segmented(tmp_path / "SEG", **images)
    ds = open_tracks_labels(paths)
    assert ds.labels.shape == (6, 4, 3, 5)
    expected = np.zeros((6, 4))
    expected[2, 1], expected[2, 3], expected[5, 0] = 7, 8, 9
    np.testing.assert_array_equal(ds.labels[..., 0, 0], expected)
    np.testing.assert_array_equal(ds.segmented, expected > 0)
    assert "in 3 planes; elsewhere labels are 0" in ds.attrs["notes"][0]
    assert open_tracks_labels(paths, planes=9).labels.shape == (6, 9, 3, 5)
    with pytest.raises(InputError, match=r"003.tif is of plane 3; the movie has 3 at most"):
        open_tracks_labels(paths, planes=3)


def test_a_frame_as_a_whole_and_as_a_plane(tmp_path):
    volume, plane = np.ones((4, 3, 5)), np.full((3, 5), 2)
    paths = segmented(tmp_path / "a", man_seg001=volume, man_seg_004_002=plane)
    ds = open_tracks_labels(paths)
    assert ds.segmented.sum("z").values.tolist() == [0, 4, 0, 0, 1]
    assert ds.labels[4, 2].values.tolist() == plane.tolist()
    with pytest.raises(InputError, match=r"man_seg001.tif has 4 planes; 5 were said"):
        open_tracks_labels(paths, planes=5)
    paths = segmented(tmp_path / "a", man_seg_001_002=plane)
    message = r"man_seg001.tif and man_seg_001_002.tif are of one frame; expected one of them"
    with pytest.raises(InputError, match=message):
        open_tracks_labels(paths)
    paths = segmented(tmp_path / "b", man_seg_001_002=plane, man_seg_002_002=volume)
    with pytest.raises(InputError, match=r"man_seg_002_002.tif: u2 of shape \(4, 3, 5\)"):
        open_tracks_labels(paths).compute()


def test_images_that_begin_with_frame_1(tmp_path):
    folder = tmp_path / "m"
    folder.mkdir()
    for t, frame in enumerate(scene()):
        tifffile.imwrite(folder / f"man_track{t + 1:03d}.tif", frame, photometric="minisblack")
    lines = "1 1 2 0\n2 3 3 1\n7 3 3 1\n4 1 3 0\n"
    (folder / "man_track.txt").write_text(lines)
    note = "the label images begin with man_track001.tif: say first_frame if the movie's frames "
    ds = opened(folder)
    assert ds.frame.values.tolist() == [1, 1, 2, 2, 3, 3, 3]
    assert ds.spot_z.values.tolist() == [0, 1.5, 0, 1.5, 3, 1.5, 3]
    assert ds.attrs["notes"] == [f"m/man_track.txt: {note}count from there"]
    assert opened(folder, first_frame=1).frame.values.tolist() == [0, 0, 1, 1, 2, 2, 2]
    images = [path for path in files(folder) if path.endswith("tif")]
    assert open_tracks_labels(images).segmented.any("z").values.tolist() == [False] + [True] * 3
    labels = open_tracks_labels(images, first_frame=1)
    assert ("segmented" in labels.coords, labels.sizes["t"]) == (False, 3)
    (folder / "man_track.txt").write_text("1 0 2 0\n")
    with pytest.raises(InputError, match=r"begins in frame 0; the first label image is man_track0"):
        opened(folder)


@pytest.mark.parametrize(
    ("names", "said", "message"),
    [
        (["man_seg999999999"], {}, r"man_seg999999999.tif: a frame too far; at most 1000000"),
        (["man_seg_000_999999999"], {}, "is of plane 999999999; the movie has 1000000 at most"),
        (["mask1", "mask001"], {}, "mask001.tif and mask1.tif are of one frame"),
        (["man_seg007"], {"frames": 7}, r"man_seg007.tif: a frame too far; the movie has 7 from 0"),
        (["man_seg000"], {"first_frame": 1}, "frame 0 is before the first, 1"),
    ],
)
def test_names_that_make_no_sense(tmp_path, names, said, message):
    paths = segmented(tmp_path / "SEG", **dict.fromkeys(names, np.ones((3, 5))))
    with pytest.raises(InputError, match=message):
        open_tracks_labels(paths, **said)


@pytest.mark.parametrize("said", [{"frames": 0}, {"planes": 2.0}, {"first_frame": -1}])
def test_bad_counts(tmp_path, said):
    with pytest.raises(UsageError, match=f"{next(iter(said))}: found .*; expected a whole number"):
        open_tracks_labels(segmented(tmp_path / "S", man_seg000=np.ones((3, 5))), **said)


def test_sparse_labels_and_tracks_of_one_folder_are_made(tmp_path, capsys):
    challenge(tmp_path / "raw" / "01_GT" / "TRA")
    segmented(tmp_path / "raw" / "01_GT" / "SEG", man_seg000=scene()[0], man_seg002=scene()[2])
    store = str(tmp_path / "store")
    source = ["--source", str(tmp_path / "raw"), "--store", store, "--workers", "0"]
    with pytest.raises(SystemExit) as left:
        main(["make", "both", "--reader", "tracks-labels", *source])
    assert left.value.code == 0
    assert "01_GT_SEG: 2 of 3 frames are segmented (0, 2)" in capsys.readouterr().out
    part = dpipe.open(store, "both", part="01_GT_SEG")
    assert part.segmented.values.tolist() == [[True] * 4, [False] * 4, [True] * 4]
    np.testing.assert_array_equal(part.labels[2], scene()[2])
    assert "segmented" not in dpipe.open(store, "both", part="01")


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


def test_a_label_that_is_missing_for_a_frame(tmp_path):
    """Tracks with gaps are no part of the format, yet there are some."""
    labels = scene()
    labels[1][labels[1] == 4] = 0
    folder = challenge(tmp_path / "m", labels)
    with pytest.raises(InputError, match=r"label 4: the tracks say so, .* or say gaps=true"):
        opened(folder).compute()
    ds = opened(folder, gaps=True).compute()
    assert ds.track.values.tolist() == [1, 4, 1, 4, 2, 4, 7]
    np.testing.assert_array_equal(ds.spot_z, [0, 1.5, 0, np.nan, 3, 1.5, 3])


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
    with pytest.raises(InputError, match=r"several kinds .* \(man_track000.tif, mask001.tif\)"):
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


def test_a_background_of_minus_one(tmp_path):
    signed = np.where(scene() == 0, -1, scene().astype("i2"))
    challenge(tmp_path, signed)
    for ds in (open_tracks_labels(files(tmp_path)), open_tracks(files(tmp_path), spacing=[1] * 3)):
        with pytest.raises(InputError, match="label -1 is below 0; option background=-1 reads it"):
            ds.compute(scheduler="synchronous")
    ds = open_tracks_labels(files(tmp_path), background=-1)
    np.testing.assert_array_equal(ds.labels.compute(scheduler="synchronous"), scene())
    assert ds.attrs["notes"] == ["label -1 is read as 0, no object"]
    spots = open_tracks(files(tmp_path), spacing=[1] * 3, background=-1)
    assert spots.spot_y.compute(scheduler="synchronous")[1] == 3
    with pytest.raises(UsageError, match="background: found 4; expected 0 or a number below"):
        open_tracks_labels(files(tmp_path), background=4)


def test_images_of_a_smaller_dtype_than_the_first(tmp_path):
    challenge(tmp_path)
    last = tmp_path / "man_track002.tif"
    tifffile.imwrite(last, scene("u1")[2], photometric="minisblack")
    labels = open_tracks_labels(files(tmp_path)).labels.compute(scheduler="synchronous")
    assert labels.dtype == "u2"
    np.testing.assert_array_equal(labels, scene())
