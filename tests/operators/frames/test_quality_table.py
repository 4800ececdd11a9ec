"""The quality table: means, what is left out, and the common scale, by hand."""

import math

import array_api_strict
import numpy as np
import pytest
import xarray as xr

from dpipe import schema
from dpipe.errors import SchemaError, UsageError
from dpipe.operators import frame_quality, quality_table
from dpipe.operators.frames.quality_table import _COLUMNS, _movie_line, _normalise

NAN, INF = math.nan, math.inf
DEVICE = array_api_strict.Device("device1")
FIGURES = [name for name in schema.VARIABLES if name.startswith("frame_")]


def frames(spacing=(2.0, 0.5, 0.25), **values):
    """Make quality results of 3 frames and 2 channels; 10.0 where nothing is said."""
    shape = np.shape(next(iter(values.values()))) if values else (3, 2)
    arrays = {
        name: (("t", "c"), np.asarray(values.get(name, np.full(shape, 10.0)), float))
        for name in FIGURES
    }
    flag = np.asarray(values.get("quality_flag", np.zeros(shape)), np.uint8)
    coords = {"c": [f"channel {i}" for i in range(shape[1])], "t": np.arange(shape[0]) * 30.0}
    attrs = {} if spacing is None else {"spacing": list(spacing)}
    return xr.Dataset({**arrays, "quality_flag": (("t", "c"), flag)}, coords, attrs)


def line(ds, **params):
    table = quality_table(xr.DataTree.from_dict({"only": ds}), **params)
    return {str(name): value.values.item() for name, value in table.items()}


def test_means_over_frames_then_channels():
    # channel 0: (2 + 4 + 6) / 3 = 4; channel 1: (1 + 3) / 2 = 2, its last frame identical
    found = line(frames(frame_snr=[[2, 1], [4, INF], [6, 3]]))
    assert found["movie_snr"] == 3
    assert (found["movie_frames_used"], found["movie_frames_left_out"]) == (5, 1)


def test_what_is_left_out_counts_nowhere():
    # the empty frame has no ratio; its other figures are left out too
    found = line(
        frames(
            frame_snr=[[2, 1], [4, NAN], [6, -INF]],
            frame_psnr=[[1, 8], [2, 100], [INF, 100]],
            frame_focus=[[1, 2], [1, 50], [1, 50]],
        )
    )
    assert found["movie_snr"] == (4 + 1) / 2
    assert found["movie_psnr"] == (1.5 + 8) / 2
    assert found["movie_focus"] == (1 + 2) / 2
    assert (found["movie_frames_used"], found["movie_frames_left_out"]) == (4, 2)


def test_a_channel_without_a_frame_is_left_out():
    found = line(frames(frame_snr=[[2, NAN], [4, NAN]], frame_saturated=[[0, 1], [0.5, 1]]))
    assert found["movie_snr"] == 3
    assert found["movie_saturated"] == (0.25 + 1) / 2  # over all frames


def test_nothing_left():
    found = line(frames(frame_snr=np.full((2, 2), NAN)))
    assert math.isnan(found["movie_snr"])
    assert math.isnan(found["movie_snr_normalised"])
    assert (found["movie_frames_used"], found["movie_frames_left_out"]) == (0, 4)


def test_fluctuation_and_shares():
    # channel 0: 1, 2, 3 -> 1; channel 1: 5, 5, 8 -> squares 1 + 1 + 4 over 2 -> sqrt(3)
    found = line(
        frames(
            frame_mean=[[1, 5], [2, 5], [3, 8]],
            quality_flag=[[0, 1], [0, 0], [2, 1]],
        )
    )
    assert found["movie_intensity_fluctuation"] == pytest.approx((1 + math.sqrt(3)) / 2)
    assert found["movie_good_share"] == pytest.approx((2 / 3 + 1 / 3) / 2)


def test_one_frame_does_not_fluctuate():
    assert math.isnan(line(frames(frame_snr=[[3.0, 4.0]]))["movie_intensity_fluctuation"])


def test_voxel_sizes():
    found = line(frames())
    assert [found[f"movie_voxel_{axis}"] for axis in "zyx"] == [2.0, 0.5, 0.25]
    assert math.isnan(line(frames(spacing=None))["movie_voxel_y"])


def test_the_way_of_the_code():
    found = line(
        frames(
            frame_snr=[[9, 9], [9, NAN], [9, 9], [9, 9]],
            frame_psnr=[[31.5, 20], [31, 77], [30, 21], [30, 22.5]],
            frame_snr_wiener=[[0, 8], [8, 77], [9, 8], [9.5, 8]],
            frame_contrast_to_noise=[[2.5, 4], [2.5, 77], [2.5, 5], [2.5, 4]],
        ),
        averaging="code",
    )
    # 122.5 / 4 = 30.6 -> 30; (20 + 21 + 22.5) / 4 = 15.9 -> 15
    assert found["movie_psnr"] == 22.5
    # 26.5 / 3 = 8.8 -> 8 without the zero; 8
    assert found["movie_snr_wiener"] == 8
    assert found["movie_contrast_to_noise"] == (2 + 4) / 2
    assert found["movie_snr"] == 9


def test_common_scale():
    values = {"a": 4.0, "b": 10.0, "c": 6.0, "d": NAN}
    tree = xr.DataTree.from_dict(
        {
            name: frames((2.0, 0.5 + i, 0.25), frame_snr=np.full((2, 1), value))
            for i, (name, value) in enumerate(values.items())
        }
    )
    table = quality_table(tree).compute()
    assert table["movie"].values.tolist() == ["a", "b", "c", "d"]
    np.testing.assert_allclose(table["movie_snr_normalised"], [0, 1, 1 / 3, NAN])
    np.testing.assert_allclose(table["movie_voxel_y_normalised"], [0, 1 / 3, 2 / 3, 1])
    np.testing.assert_array_equal(table["movie_voxel_x_normalised"], 0)  # no spread
    assert "movie_focus_normalised" not in table


def test_lazy_and_described():
    pixels = np.random.default_rng(0).poisson(40, (3, 2, 1, 16, 16)).astype("u1")
    tree = xr.DataTree.from_dict(
        {name: frame_quality(schema.movie(pixels // k)) for name, k in {"a": 1, "b": 3}.items()}
    )
    table = quality_table(tree)
    named = {name for name in schema.VARIABLES if name.startswith("movie_")}
    assert set(table.data_vars) == named - {"movie_group"}  # of group-tests
    for name, value in table.items():
        assert value.chunks is not None
        assert value.dims == ("movie",)
        assert value.dtype.kind in schema.VARIABLES[name].kinds
    eager = quality_table(
        xr.DataTree.from_dict({k: v.to_dataset().compute() for k, v in tree.items()})
    )
    xr.testing.assert_identical(eager.compute(), table.compute())


@pytest.mark.parametrize("averaging", ["used", "code"])
def test_kernels_run_anywhere(averaging):
    block = np.random.default_rng(0).random((9, 4, 2))
    block[0, 1, 1] = NAN
    params = {"averaging": averaging, "voxel": [1.0, 2.0, 3.0]}
    expected = _movie_line(block, **params)
    found = _movie_line(array_api_strict.asarray(block, device=DEVICE), **params)
    np.testing.assert_allclose([float(value) for value in found], expected, rtol=1e-12)
    assert len(expected) == len(_COLUMNS)
    table = np.array([[1.0, NAN], [3.0, 5.0]])
    strict = _normalise(array_api_strict.asarray(table, device=DEVICE))
    assert [float(strict[i, 0]) for i in range(2)] == [0, 1]


def test_refused():
    with pytest.raises(UsageError, match="averaging: found 'mean'"):
        line(frames(), averaging="mean")
    with pytest.raises(SchemaError, match="the tree has none"):
        quality_table(xr.DataTree())
    with pytest.raises(SchemaError, match="only: no variable 'frame_psnr'"):
        line(frames().drop_vars("frame_psnr"))
