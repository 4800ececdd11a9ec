"""The demo study: what its truth says is what its movies hold."""

import json
from functools import partial

import h5py
import numpy as np
import pytest
import yaml

from dpipe import demo
from dpipe.demo import describe_movie, draw_frame, ensure_study, farewell, write_imaris, write_study
from dpipe.errors import ImarisError, UsageError
from dpipe.readers.imaris import open_imaris

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


def test_ensure_study_writes_once(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "write_study", partial(write_study, frames=1, size=(2, 32, 32)))
    recipe = ensure_study(tmp_path / "study")
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
