"""Quality of frames: Octave's numbers, planted truths, and the rules for what is no number."""

import itertools
import math
from pathlib import Path

import array_api_strict
import numpy as np
import pytest
import scipy.signal
import tifffile
import xarray as xr

from dpipe import schema
from dpipe.compute import lazy
from dpipe.errors import SchemaError, UsageError
from dpipe.operators import frame_quality
from dpipe.operators.frames.median import median as median_filter
from dpipe.operators.frames.projection_kernel import normalised_projection
from dpipe.operators.frames.quality import REASONS, _figures, _frame_quality, _spectral_tail
from dpipe.operators.frames.sums import frame_sums, otsu

DEVICE = array_api_strict.Device("device1")
BIT = {name: 1 << i for i, name in enumerate(REASONS)}
LIMITS = {
    "min_snr": 5.0,
    "fail_snr": 0.0,
    "max_saturated": 0.01,
    "max_empty_planes": 0,
    "min_focus": None,
}
FIGURES = [name for name in schema.VARIABLES if name.startswith("frame_")]


def quality_of(plane, **params):
    """Measure one plane or volume as a movie of one frame; return Python numbers by name."""
    pixels = np.asarray(plane)
    pixels = pixels[None, None] if pixels.ndim == 3 else pixels[None, None, None]
    result = frame_quality(schema.movie(pixels), **params)
    return {str(name): value.values.item() for name, value in result.items()}


def reasons(value):
    return {name for name, bit in BIT.items() if value & bit}


@pytest.fixture(scope="module")
def octave(shared_data: Path):
    lines = (shared_data / "reference" / "octave_leuko_qc" / "scalars.csv").read_text().split("\n")
    rows = [line.split(",") for line in lines[1:] if line]
    return {name: float(value) for frame, name, value in rows if frame == "t00"}


@pytest.fixture(scope="module")
def cho(shared_data: Path):
    path = shared_data / "timelapse" / "fluo_n3dh_cho" / "Fluo-N3DH-CHO_02_img.tif"
    return tifffile.imread(path)[0]


class TestOctave:
    """Frame 0 of Fluo-N3DH-CHO, movie 02, against Octave 10 with its image package."""

    def test_projection_median_and_contrast(self, cho, octave, shared_data):
        found = quality_of(cho)
        arrays = np.load(shared_data / "reference" / "octave_leuko_qc" / "cho_t00.npz")
        frame, median = arrays["projection"].astype(float), arrays["medfilt5"].astype(float)
        assert found["frame_mean"] == pytest.approx(octave["mean_projection"], rel=1e-12)
        assert found["frame_contrast_to_noise"] == pytest.approx(
            octave["alt_peak_snr_fg_bg"], rel=1e-12
        )
        np.testing.assert_array_equal(normalised_projection(cho)[0], arrays["projection"])
        np.testing.assert_array_equal(median_filter(arrays["projection"], 5), arrays["medfilt5"])
        sums = frame_sums(arrays["projection"], arrays["medfilt5"], arrays["wiener10"])
        assert sums.inside == octave["fg_pixels"]
        assert sums.total == octave["sum_projection"]
        counts = np.bincount(arrays["medfilt5"].ravel(), minlength=256)
        assert otsu(counts) == round(255 * octave["graythresh_medfilt5_level"])
        snr = 10 * math.log10((median**2).sum() / ((frame - median) ** 2).sum())
        assert found["frame_snr"] == pytest.approx(snr, rel=1e-12)

    def test_wiener_ratios(self, cho, octave, shared_data):
        arrays = np.load(shared_data / "reference" / "octave_leuko_qc" / "cho_t00.npz")
        expected = {
            "psnr": octave["psnr_projection_vs_wiener10"],
            "snr_wiener": octave["snr_by_MATLAB_doc_10log10(mean(ref^2)/mse)"],
        }
        # From Octave's own filtered frame all digits agree ...
        sums = frame_sums(arrays["projection"], arrays["medfilt5"], arrays["wiener10"])
        exact = _figures(sums)
        # ... from ours four decimals of a decibel: 78 pixels of 226,816 are exact halves that
        # Octave's floating point sends down (see test_wiener).
        found = quality_of(cho)
        for name, value in expected.items():
            assert exact[name] == pytest.approx(value, rel=1e-12)
            assert found[f"frame_{name}"] == pytest.approx(value, abs=1e-4)

    def test_verdict(self, cho):
        found = quality_of(cho)
        assert found["quality_flag"] == 0
        assert found["frame_saturated"] == (cho == 255).mean()
        assert found["frame_empty_planes"] == 0


class TestTruth:
    """Numbers worked out by hand."""

    def test_planted_impulses(self):
        # 50 x 50 of 205, and 255 at every fifth pixel: 100 impulses, one in any window of 5 x 5,
        # so the median is 205, but 0 in three pixels of each corner, where most of the window
        # lies outside. No impulse is among these 12.
        plane = np.full((50, 50), 205, "u1")
        plane[2::5, 2::5] = 255
        signal = (2500 - 12) * 205**2
        noise = 100 * 50**2 + 12 * 205**2
        found = quality_of(plane)
        assert found["frame_snr"] == pytest.approx(10 * math.log10(signal / noise), rel=1e-12)
        assert found["frame_saturated"] == 100 / 2500
        assert found["frame_mean"] == 205 + 50 * 100 / 2500
        assert reasons(found["quality_reason"]) == {"saturated"}
        assert found["quality_flag"] == 1

    @pytest.mark.parametrize(("mean", "sigma"), [(100, 10), (100, 30), (2000, 100)])
    def test_planted_noise(self, mean, sigma):
        # The median of 25 normal values has 0.0617 of their variance (1.57 / 25 for many) and,
        # being equivariant, a covariance of 1 / 25 with each: the rest has
        # 1 + 0.0617 - 2 / 25 = 0.982 of it. In the twelve corner pixels the whole signal is
        # rest, and zeros beyond the border pull the medians of the outer rows down: up to 2 % or
        # 0.09 dB.
        rng = np.random.default_rng(0)
        plane = np.round(rng.normal(mean, sigma, (256, 256))).clip(0).astype("u2")
        noise = 0.982 * sigma**2 + 12 / 256**2 * mean**2
        expected = 10 * math.log10(mean**2 / noise)
        assert quality_of(plane)["frame_snr"] == pytest.approx(expected - 0.05, abs=0.05)

    def test_noise_is_signed(self):
        # Dark impulses count as much as bright ones: 8-bit subtraction would clip them.
        plane = np.full((50, 50), 200, "u1")
        plane[2::5, 2::5] = 150
        plane[0, 25] = 255  # keeps the scale; the median there is 200
        signal = (2500 - 12) * 200**2
        noise = 100 * 50**2 + 55**2 + 12 * 200**2
        expected = 10 * math.log10(signal / noise)
        assert quality_of(plane)["frame_snr"] == pytest.approx(expected, rel=1e-12)

    def test_contrast(self):
        # A bright half of 255 beside a dark half of 100 with lone 110s: Otsu parts 100 from 255.
        plane = np.full((40, 40), 100, "u1")
        plane[2:38:5, 2:18:5] = 110  # 8 x 4
        plane[:, 20:] = 255
        # Zeros beyond the border: in three pixels of each corner the median is 0, so the excess
        # is 100 (twice 3) or 255 (twice 3, which makes them background). Where the halves meet
        # the border three bright pixels have 10 zeros and 6 dark, 10 and 3, or 5 and 8 in their
        # window, at least 13 of 25: median 100, excess 155, background too.
        background = np.zeros(800 + 6 + 6)
        background[:50] = [10] * 32 + [100] * 6 + [255] * 6 + [155] * 6
        expected = (255 - background.mean()) / background.std(ddof=1)
        found = quality_of(plane)["frame_contrast_to_noise"]
        assert found == pytest.approx(expected, rel=1e-12)

    def test_focus(self):
        # One 255 among 51s in 5 x 5; inside the border the Laplacian is -816 there, 204 at its
        # four neighbours and 0 at the other four: mean 0, mean square (816^2 + 4 * 204^2) / 9.
        plane = np.full((5, 5), 51, "u1")
        plane[2, 2] = 255
        variance = (816**2 + 4 * 204**2) / 9
        mean = (24 * 51 + 255) / 25
        assert quality_of(plane)["frame_focus"] == pytest.approx(variance / mean**2, rel=1e-12)

    def test_blur_lowers_focus(self):
        sharp = np.zeros((64, 64), "u1")
        sharp[16:48, 16:48] = 200
        blurred = np.round(scipy.signal.convolve2d(sharp, np.full((5, 5), 1 / 25), "same"))
        limit = 1.0
        values = [quality_of(p.astype("u1"), min_focus=limit) for p in (sharp, blurred)]
        assert values[0]["frame_focus"] > limit > values[1]["frame_focus"]
        assert reasons(values[1]["quality_reason"]) - reasons(values[0]["quality_reason"]) == {
            "out_of_focus"
        }

    @pytest.mark.parametrize(("width", "length"), [(512, 512), (300, 512), (100, 256), (7, 256)])
    def test_spectral_tail_is_that_of_a_periodogram(self, width, length):
        frame = np.random.default_rng(0).integers(0, 256, (20, width)).astype("u1")
        frequency, power = scipy.signal.periodogram(
            frame.astype("f8"), nfft=length, detrend=False, axis=1
        )
        tail = 10 * np.log10(power.mean(axis=0)[frequency > 0.6 * frequency[-1]])
        assert float(_spectral_tail(frame)) == pytest.approx(tail.std(ddof=1), rel=1e-9)

    def test_saturation_counts_voxels_before_projection(self):
        volume = np.full((4, 10, 10), 7, "u2")
        volume[1, :3] = 4095  # 30 of 400
        assert quality_of(volume)["frame_saturated"] == 0
        found = quality_of(volume, full_scale=4095)
        assert found["frame_saturated"] == 30 / 400
        assert "saturated" in reasons(found["quality_reason"])


class TestRules:
    """What is no number, and what no frame."""

    @pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
    def test_empty(self, dtype):
        found = quality_of(np.zeros((2, 20, 20), dtype))
        assert found["quality_flag"] == 2
        assert reasons(found["quality_reason"]) == {"empty", "missing_planes"}
        assert found["frame_empty_planes"] == 2
        assert found["frame_mean"] == 0
        names = {"frame_mean", "frame_empty_planes", "frame_saturated"}
        assert all(math.isnan(found[name]) for name in set(FIGURES) - names)

    def test_one_grey_value(self):
        found = quality_of(np.full((20, 20), 9, "u1"))
        assert found["quality_flag"] == 2
        assert reasons(found["quality_reason"]) == {"identical"}
        assert math.isnan(found["frame_spectral_tail"])
        assert found["frame_focus"] == 0

    def test_a_frame_equal_to_its_median(self):
        y, x = np.ogrid[-30:31, -30:31]
        plane = _until_stable(np.where(y**2 + x**2 < 400, np.uint8(200), np.uint8(0)))
        found = quality_of(plane)
        assert found["frame_snr"] == math.inf
        assert reasons(found["quality_reason"]) == {"identical"}
        assert found["quality_flag"] == 2

    def test_a_filter_that_leaves_nothing(self):
        plane = np.zeros((30, 30), "u1")
        plane[10, 10] = plane[20, 20] = 50
        found = quality_of(plane)
        assert found["frame_snr"] == -math.inf
        assert math.isnan(found["frame_contrast_to_noise"])
        assert reasons(found["quality_reason"]) == {"low_snr"}
        assert found["quality_flag"] == 2

    def test_one_pixel(self):
        # 255 alone: the median of it and 24 zeros is 0; the mean over 10 x 10 is 2.55, and with
        # noise = variance the Wiener filter leaves 3.
        found = quality_of(np.full((1, 1), 3, "u1"))
        assert found["frame_psnr"] == pytest.approx(10 * math.log10(255**2 / 252**2))
        assert math.isnan(found["frame_focus"])
        assert math.isnan(found["frame_contrast_to_noise"])

    def test_a_dropped_plane_is_doubtful(self):
        rng = np.random.default_rng(0)
        volume = rng.poisson(50, (3, 32, 32)).astype("u1")
        volume[1] = 0
        found = quality_of(volume)
        assert (found["quality_flag"], found["frame_empty_planes"]) == (1, 1)
        assert reasons(found["quality_reason"]) == {"missing_planes"}
        assert quality_of(volume, max_empty_planes=1)["quality_flag"] == 0

    @pytest.mark.parametrize(
        ("limits", "flag", "why"),
        [
            ({}, 0, set()),
            ({"min_snr": 40.0}, 1, {"low_snr"}),
            ({"min_snr": 40.0, "fail_snr": 39.0}, 2, {"low_snr"}),
            ({"max_saturated": 0.0, "full_scale": 50}, 1, {"saturated"}),
        ],
        ids=["good", "doubtful", "unusable", "saturated"],
    )
    def test_limits(self, limits, flag, why):
        plane = np.random.default_rng(0).poisson(50, (64, 64)).astype("u1")
        found = quality_of(plane, **limits)
        assert (found["quality_flag"], reasons(found["quality_reason"])) == (flag, why)

    def test_floats_have_no_full_scale(self):
        plane = np.random.default_rng(0).random((32, 32), "f4")
        assert math.isnan(quality_of(plane)["frame_saturated"])
        assert quality_of(plane, full_scale=0.5)["frame_saturated"] == (plane >= 0.5).mean()

    @pytest.mark.parametrize(
        ("params", "words"),
        [
            ({"median": 4}, "median: found 4"),
            ({"median": 1}, "at least 3"),
            ({"median": -5}, "median: found -5"),
            ({"median": 5.0}, "median: found 5.0"),
            ({"median": True}, "median: found True"),
            ({"wiener": 1}, "wiener: found 1"),
            ({"max_empty_planes": -1}, "max_empty_planes: found -1"),
            ({"full_scale": 0}, "full_scale: found 0"),
            ({"full_scale": math.inf}, "full_scale: found inf"),
            ({"fail_snr": 6.0}, "at most min_snr"),
            ({"fail_snr": math.nan}, "fail_snr: found nan"),
            ({"min_snr": "high"}, "min_snr: found 'high'; expected a number"),
            ({"max_saturated": None}, "max_saturated: found None"),
            ({"full_scale": "12 bit"}, "full_scale: found '12 bit'"),
            ({"min_focus": True}, "min_focus: found True"),
        ],
    )
    def test_parameters_that_cannot_work(self, params, words):
        with pytest.raises(UsageError, match=words):
            quality_of(np.ones((8, 8), "u1"), **params)

    def test_not_a_movie(self):
        with pytest.raises(SchemaError, match="no variable 'image'"):
            frame_quality(xr.Dataset())
        with pytest.raises(SchemaError, match="no variable 'other'"):
            quality_of(np.ones((8, 8), "u1"), image="other")


def _until_stable(plane):
    """Filter until nothing changes: the root of the median filter."""
    previous = None
    while previous is None or (previous != plane).any():
        previous, plane = plane, scipy.signal.medfilt2d(plane, 5)
    assert plane.max() == 200
    return plane


@pytest.fixture
def pixels():
    rng = np.random.default_rng(5)
    return rng.poisson(60, (3, 2, 4, 24, 40)).astype("u2")


class TestBlocks:
    def test_nothing_is_read_before_it_is_asked_for(self):
        def read(region):
            raise AssertionError("read too early")

        image = lazy(read, (4, 2, 3, 16, 16), "u2", (1, 1, 3, 16, 16))
        result = frame_quality(schema.movie(image, spacing=(2, 0.5, 0.25)))
        assert result["frame_snr"].chunks is not None
        assert result.attrs["spacing"] == [2.0, 0.5, 0.25]
        with pytest.raises(AssertionError):
            result.compute(scheduler="synchronous")

    @pytest.mark.parametrize(
        "chunks",
        [
            {"t": 1, "c": 1},
            {"t": 2, "z": 1, "y": 7, "x": 9},
            {"t": -1, "c": 1, "z": 3},
        ],
    )
    def test_chunks_do_not_matter(self, pixels, chunks):
        movie = schema.movie(pixels)
        expected = frame_quality(movie).compute()
        xr.testing.assert_identical(frame_quality(movie.chunk(chunks)).compute(), expected)

    def test_cut_along_its_free_dims(self, pixels):
        movie = schema.movie(pixels)
        whole = frame_quality(movie).compute()
        for t, c in itertools.product(range(3), range(2)):
            region = {"t": slice(t, t + 1), "c": slice(c, c + 1)}
            part = frame_quality(movie.isel(region)).compute()
            for name in whole.data_vars:
                np.testing.assert_array_equal(part[name], whole[name].isel(region))

    def test_input_is_left_alone(self, pixels):
        movie = schema.movie(pixels)
        before = movie.copy(deep=True)
        frame_quality(movie).compute()
        xr.testing.assert_identical(movie, before)

    def test_result_is_described(self, pixels):
        result = frame_quality(schema.movie(pixels, channels=["a", "b"]))
        assert list(result["c"].values) == ["a", "b"]
        for name, value in result.items():
            variable = schema.VARIABLES[name]
            assert value.attrs["units"] == variable.unit
            assert value.dtype.kind in variable.kinds
        assert result["quality_reason"].attrs["flag_masks"] == [1, 2, 4, 8, 16, 32]
        assert result["quality_reason"].attrs["flag_meanings"].split() == list(REASONS)

    @pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "i2", "f4", "f8"])
    def test_dtypes_agree(self, pixels, dtype):
        names = ["frame_snr", "frame_psnr", "frame_contrast_to_noise", "frame_spectral_tail"]
        expected = frame_quality(schema.movie(pixels))[names].compute()
        found = frame_quality(schema.movie(pixels.astype(dtype)))[names].compute()
        xr.testing.assert_identical(found, expected)


@pytest.mark.parametrize(("median", "wiener"), [(3, 3), (5, 10), (5, 20)])
@pytest.mark.parametrize("shape", [(1, 24, 40), (4, 24, 40)])
def test_kernels_agree(shape, median, wiener):
    volume = np.random.default_rng(7).poisson(70, shape).astype("u2")
    params = {"median": median, "wiener": wiener, "full_scale": 100.0, "limits": LIMITS}
    expected = _frame_quality(volume, **params)
    found = _frame_quality(array_api_strict.asarray(volume, device=DEVICE), **params)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert found[:4] == expected[:4]
