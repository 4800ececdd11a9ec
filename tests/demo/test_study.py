"""The demo study: what its truth says is what its movies hold."""

import json
from functools import partial

import h5py
import numpy as np
import pytest
import yaml

from dpipe.demo import ensure_study, farewell, pictures, write_study
from dpipe.demo import movies as demo_movies
from dpipe.demo import study as demo_study
from dpipe.demo.study import describe_movie, draw_frame, write_imaris
from dpipe.errors import ImarisError, UsageError
from dpipe.readers import open_imaris

SMALL = {"frames": 11, "size": (4, 64, 80)}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return write_study(tmp_path_factory.mktemp("study"), damaged=True, **SMALL).parent


@pytest.fixture(scope="module")
def truth(study):
    return json.loads((study / "truth.json").read_text())


def test_files(study):
    assert sorted(path.name for path in study.iterdir()) == ["raw", "recipe.yaml", "truth.json"]
    assert sorted(path.name for path in (study / "raw").iterdir()) == [
        "Neu1.h5",
        "Neu2.h5",
        "Neu3.h5",
    ]


@pytest.mark.parametrize(("name", "dtype"), [("Neu1", "uint8"), ("Neu2", "uint16")])
def test_movies_are_as_the_truth_says(study, truth, name, dtype):
    said = truth["movies"][name]
    ds = open_imaris(study / "raw" / f"{name}.h5")
    assert dict(ds.sizes) == {"t": 11, "c": 3, "z": 4, "y": 64, "x": 80}
    assert ds.image.dtype == said["dtype"] == dtype
    assert [ds[d].attrs["spacing"] for d in "zyx"] == said["spacing"] == [2.0, 0.5, 0.5]
    assert [float(ds[d][0]) for d in "zyx"] == said["origin"]
    assert list(ds.t.values) == [30.0 * k for k in range(11)]
    assert list(ds.c.values) == [channel["name"] for channel in said["channels"]]
    assert list(ds.channel_color.values) == [channel["color"] for channel in said["channels"]]
    assert "assumed" not in ds.attrs
    for t, c in [(0, 0), (10, 1), (3, 2)]:
        np.testing.assert_array_equal(ds.image[t, c].values, draw_frame(said, t, c))


@pytest.mark.parametrize("name", ["Neu1", "Neu2"])
def test_noise_is_as_the_truth_says(truth, name):
    said = truth["movies"][name]
    for c, channel in enumerate(said["channels"]):
        exact = draw_frame(said, 5, c, noise=False)
        residual = draw_frame(said, 5, c) - exact
        background = exact == channel["background"]
        sigma = channel["noise"]["sigma"] or channel["background"] ** 0.5
        # rounding adds 1/12 to the variance; 20,000 samples give sigma to about 0.5 %
        assert residual[background].std() == pytest.approx((sigma**2 + 1 / 12) ** 0.5, rel=0.03)
        assert abs(residual[background].mean()) < 0.05 * sigma


def test_cells_lie_where_the_truth_says(truth):
    said = truth["movies"]["Neu2"]
    for cell in said["cells"]:
        exact = draw_frame(said, 0, cell["channel"], noise=False)
        index = [
            round((m - o) / s)
            for m, o, s in zip(cell["centres"][0], said["origin"], said["spacing"], strict=True)
        ]
        channel = said["channels"][cell["channel"]]
        # the centre is up to half a voxel away: 1, 0.25, 0.25 um of radii of at least 2, 4, 4
        at_least = np.sqrt(1 - (1 / 2) ** 2 - 2 * (0.25 / 4) ** 2)
        brightness = (exact[tuple(index)] - channel["background"]) / channel["brightness"]
        assert at_least <= brightness <= 1


def test_same_seed_same_pixels():
    first, again, other = (describe_movie(1, seed=seed, **SMALL) for seed in (3, 3, 4))
    assert first == again
    assert first["cells"] != other["cells"]
    np.testing.assert_array_equal(draw_frame(first, 1, 1), draw_frame(again, 1, 1))
    assert (draw_frame(first, 1, 1) != draw_frame(first, 2, 1)).any()


def test_damaged_movie(study):
    with pytest.raises(ImarisError, match=r"Neu3\.h5: truncated"):
        open_imaris(study / "raw" / "Neu3.h5")


def test_recipe(study):
    recipe = yaml.safe_load((study / "recipe.yaml").read_text())
    assert recipe["datasets"]["leuko"] == {"reader": "imaris", "source": "raw/*.h5"}
    assert list(recipe["datasets"]) == [
        "leuko",
        "leuko-quality",
        "leuko-quality-table",
        "leuko-projections",
        "leuko-thumbnails",
    ]
    assert recipe["study"]["license"] == "CC-BY-4.0"


@pytest.fixture(scope="module")
def annotated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("annotated")
    return write_study(folder, annotated=True, damaged=True, frames=12, size=(4, 72, 96)).parent


def test_files_of_an_annotated_study(annotated):
    found = sorted(p.relative_to(annotated).as_posix() for p in annotated.rglob("*.*"))
    marks = [f"annotations/annotator={w}/Neu{k}_ch2.csv" for w in ("anna", "ben", "cleo")
             for k in (1, 2)]  # fmt: skip
    movies = [f"raw/Neu{k}.h5" for k in (1, 2, 3)]
    assert found == sorted(
        [
            *marks,
            *movies,
            "conditions.csv",
            "phase-marks.csv",
            "phases.csv",
            "recipe.yaml",
            "truth.json",
        ]
    )
    with pytest.raises(ImarisError, match=r"Neu3\.h5: truncated"):
        open_imaris(annotated / "raw" / "Neu3.h5")
    recipe = yaml.safe_load((annotated / "recipe.yaml").read_text())
    assert set(recipe["datasets"]) >= {"leuko", "leuko-consensus", "leuko-masks", "leuko-events"}


def test_an_annotated_study_is_the_same_with_the_same_seed(annotated, tmp_path):
    again = write_study(
        tmp_path, annotated=True, damaged=True, frames=12, size=(4, 72, 96)
    ).parent  # fmt: skip
    for path in annotated.rglob("*.*"):
        assert (again / path.relative_to(annotated)).read_bytes() == path.read_bytes()
    other = demo_movies.plant(describe_movie(1, seed=1, frames=12), 1)
    assert other["cells"] != demo_movies.plant(describe_movie(1, frames=12), 1)["cells"]


@pytest.mark.parametrize(("frames", "size"), [(11, (8, 192, 256)), (12, (8, 192, 90))])
def test_no_room_to_die(frames, size):
    with pytest.raises(UsageError, match="has no room for the planned deaths; expected at least"):
        demo_movies.plant(describe_movie(1, frames=frames, size=size), 1)


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("size", [(4, 72, 96), (8, 192, 256)])
def test_the_plan_of_deaths_holds_together(number, size):
    """Whatever the seed: inside the movie, apart from each other, and on the grid."""
    for seed in range(20):
        said = demo_movies.plant(describe_movie(number, seed=seed, frames=12, size=size), number)
        low = np.array(said["origin"]) - np.array(said["spacing"]) / 2
        high = low + np.array(said["size"]) * said["spacing"]
        cells = [cell for cell in said["cells"] if cell["channel"] == 1]
        for cell in cells:
            centres = np.array(cell["centres"])
            assert (centres - cell["radii"] >= low).all()
            assert (centres + cell["radii"] <= high).all()
            np.testing.assert_array_equal(centres * 4, np.rint(centres * 4))
        for i, one in enumerate(cells):
            for other in cells[:i]:
                apart = np.array(one["centres"]) - other["centres"]
                # no two can be taken for one: beyond 10 um, also with the errors of two people
                assert (np.sqrt((apart**2).sum(axis=1)) > 10 + 5 * 0.25 * 3**0.5).all()
                # their ellipsoids do not meet: both lie in one of the larger radii
                radii = np.maximum(one["radii"], other["radii"])
                assert (np.sqrt(((apart / radii) ** 2).sum(axis=1)) > 2).all()
        for one in (*said["deaths"], *said["debris"]):
            centres = said["cells"][one["cell"]]["centres"]
            for mark in one["marks"].values():
                errors = np.array(mark["places"]) - [centres[f] for f in mark["frames"]]
                assert abs(errors).max() <= 1


def test_ellipsoid():
    vertices, faces = demo_movies.ellipsoid((2, 3, 4), (10, 20, 30))
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    there = {tuple(edge) for edge in edges.tolist()}
    assert len(there) == len(edges), "no edge is run through twice the same way"
    assert {(b, a) for a, b in there} == there, "each is run through both ways: closed"
    assert len(vertices) - len(edges) // 2 + len(faces) == 2, "Euler: a ball"
    around = (vertices - (10, 20, 30)) / (2, 3, 4)
    np.testing.assert_allclose((around**2).sum(axis=1), 1)
    x, y, z = (vertices - (10, 20, 30))[faces][..., ::-1].transpose(1, 0, 2)
    parts = (x * np.cross(y, z)).sum(axis=1)
    assert (parts > 0).all(), "all turned outwards, in x, y, z"


def test_scene_layout(annotated):
    """Names and types as in the files of Imaris: both sides in one movie, Scene in another."""
    with h5py.File(annotated / "raw" / "Neu1.h5") as h5:
        for scene in ("Scene", "Scene8"):
            said = h5[f"{scene}/Content"].attrs
            counts = {k: int(b"".join(said[k])) for k in ("NumberOfPoints", "NumberOfSurfaces")}
            assert counts == {"NumberOfPoints": 1, "NumberOfSurfaces": 2}
            names = [b"".join(h5[f"{scene}/Content/{k}"].attrs["Id"])
                     for k in ("Points0", "Surfaces0", "Surfaces1")]  # fmt: skip
            assert names == [b"100", b"200", b"201"]
        group = h5["Scene8/Content/Points0"]
        assert group["Spot"].dtype.names == ("ID", "PositionX", "PositionY", "PositionZ", "Radius")
        first = group["Track0"][0]
        members = group["TrackObject0"]["ID_Object"]
        own = members[first["IndexTrackObjectBegin"] : first["IndexTrackObjectEnd"]]
        edges = group["TrackEdge0"][first["IndexTrackEdgeBegin"] : first["IndexTrackEdgeEnd"]]
        assert edges.tolist() == list(zip(own[:-1].tolist(), own[1:].tolist(), strict=True))
        assert first["ID"] == 1_000_000_000
    with h5py.File(annotated / "raw" / "Neu2.h5") as h5:
        assert "Scene8" not in h5
        assert h5["Scene/Content/Points0/Edges"].dtype == "i8"


def test_ensure_study_writes_once(tmp_path, monkeypatch):
    small = partial(write_study, frames=12, size=(4, 72, 96))
    monkeypatch.setattr(demo_study, "write_study", small)
    recipe = ensure_study(tmp_path / "study")
    assert len(list((tmp_path / "study" / "cells").rglob("*.h5"))) == 2000
    movie = recipe.parent / "raw" / "Neu1.h5"
    before = movie.stat().st_mtime_ns
    assert ensure_study(tmp_path / "study") == recipe
    assert movie.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("problems", "verdict"),
    [((), "every object is as its seal says"), (["Neu1: 0/image"], "1 objects are not")],
)
def test_farewell(problems, verdict):
    lines = farewell("here", problems)
    assert any(verdict in line for line in lines)
    assert any("dpipe ls --store here/store" in line for line in lines)
    assert not any(line.startswith("aside") for line in lines)
    lines = farewell("here", problems, [{"stem": "Neu5", "reason": "truncated"}])
    assert "aside     Neu5: truncated" in lines


@pytest.mark.parametrize("count", [3, 24, 61])
def test_pictures_are_as_the_truth_says(tmp_path, count):
    """Every number counted again in the files."""
    tree = pictures.write_ifc_tree(tmp_path / "cells", count)
    found = {}
    for folder in sorted(tree.glob("Experiment_1/Donor_1/*")):
        said = {"pictures": 0, "corrupt": [], "without_mask": [], "empty_masks": 0, "labels": {}}
        for path in sorted(folder.iterdir()):
            said["pictures"] += 1
            try:
                h5 = h5py.File(path)
            except OSError:
                said["corrupt"].append(path.name)
                continue
            with h5:
                if "mask" not in h5:
                    said["without_mask"].append(path.name)
                else:
                    said["empty_masks"] += int((h5["mask"][...].max(axis=(0, 1)) == 0).any())
                label = h5["label"][()].decode() if "label" in h5 else "-1"
                said["labels"][label] = said["labels"].get(label, 0) + 1
        found[f"Experiment_1_Donor_1_{folder.name.strip()}"] = said
    assert found == pictures.describe_ifc_tree(count)


class TestWriteImaris:
    def test_layout(self, tmp_path):
        """Names and types of attributes as in the files of Imaris."""
        path = write_imaris(
            tmp_path / "a.ims",
            np.arange(2 * 3 * 20 * 40, dtype="u2").reshape(1, 2, 3, 20, 40),
            spacing=(2, 0.5, 0.5),
            origin=(1, 0.25, 0.25),
        )
        with h5py.File(path) as h5:
            group = h5["DataSet/ResolutionLevel 0/TimePoint 0/Channel 1"]
            assert group["Data"].shape == (8, 128, 128)
            assert group["Data"].chunks == (8, 128, 128)
            assert group["Data"].compression_opts == 2
            assert group["Histogram"][...].sum() == 3 * 20 * 40
            size = group.attrs["ImageSizeX"]
            assert (size.dtype, b"".join(size)) == (np.dtype("S1"), b"40")
            image = h5["DataSetInfo/Image"].attrs
            # borders: centres start at 1, 0.25, 0.25 and voxels are 2, 0.5, 0.5 wide
            extents = {k: float(b"".join(image[k])) for k in image if k.startswith("Ext")}
            assert extents == {
                "ExtMin0": 0.0,
                "ExtMin1": 0.0,
                "ExtMin2": 0.0,
                "ExtMax0": 20.0,
                "ExtMax1": 10.0,
                "ExtMax2": 6.0,
            }
            assert b"".join(h5["DataSetInfo/Channel 1"].attrs["ColorRange"]) == b"2400.000 4799.000"

    def test_levels_halve_what_imaris_would_halve(self, tmp_path):
        # (4, 64, 64): z has (10*4)^2 = 1,600 < 4,096 and stays; (4, 32, 32): 1,600 > 1,024, so
        # it goes too; the mean of 0..63 in pairs is 0.5, truncated to 0
        ramp = np.broadcast_to(np.arange(64, dtype="u1"), (1, 1, 4, 64, 64))
        path = write_imaris(tmp_path / "a.ims", ramp, levels=3)
        sizes = [tuple(open_imaris(path, level=k).sizes.values())[2:] for k in range(3)]
        assert sizes == [(4, 64, 64), (4, 32, 32), (2, 16, 16)]
        np.testing.assert_array_equal(
            open_imaris(path, level=1).image.values[0, 0, 0, 0], np.arange(0, 64, 2)
        )

    def test_frame_by_frame(self, tmp_path):
        path = write_imaris(
            tmp_path / "a.ims",
            lambda t, c: np.full((2, 8, 8), 10 * t + c),
            shape=(2, 3, 2, 8, 8),
            dtype="u1",
        )
        found = open_imaris(path).image.values
        assert found[:, :, 0, 0, 0].tolist() == [[0, 1, 2], [10, 11, 12]]

    @pytest.mark.parametrize(
        ("data", "options", "message"),
        [
            (lambda t, c: None, {"dtype": "u1"}, "needs shape"),
            (lambda t, c: None, {"shape": (1, 1, 1, 1, 1)}, "and dtype"),
            (np.zeros((1, 1, 1, 1, 1)), {"compression": "zip"}, "unknown compression 'zip'"),
        ],
        ids=["shape", "dtype", "compression"],
    )
    def test_refused(self, tmp_path, data, options, message):
        with pytest.raises(UsageError, match=message):
            write_imaris(tmp_path / "a.ims", data, **options)
        assert not (tmp_path / "a.ims").exists()
