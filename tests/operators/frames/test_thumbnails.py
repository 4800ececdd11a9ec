"""Thumbnails: size, place and grey values by hand."""

import array_api_strict
import numpy as np
import pytest
import xarray as xr

from dpipe import schema
from dpipe.compute import lazy
from dpipe.errors import SchemaError, UsageError
from dpipe.operators import thumbnails
from dpipe.operators.frames.thumbnails import _thumbnail

ALL = (0.0, 100.0)


def movie(plane, **params):
    return schema.movie(np.asarray(plane)[None, None, None], **params)


def test_area_means_by_hand():
    # 2 x 4 to 1 x 2: means of 2 x 2 are 10 and 30 -> 0 and 255
    plane = np.array([[8, 12, 20, 40], [10, 10, 30, 30]], "u2")
    found = thumbnails(movie(plane), size=2, percentiles=ALL)["thumbnail"]
    assert found.dtype == np.uint8
    assert found.values.tolist() == [[[0, 255]]]


def test_fractions_of_pixels_by_hand():
    # 3 pixels to 2: each covers one and a half: (6 + 9 / 2) / 1.5 = 7, (9 / 2 + 12) / 1.5 = 11
    volume = np.array([[[6, 9, 12]]], "u1")
    found = _thumbnail(volume, shape=(1, 2), low=0, high=100)
    assert found.tolist() == [[0, 255]]
    # beside a third value: (7 - 1) / (11 - 1) * 255 = 153
    rows = np.array([[[6, 9, 12], [1, 1, 1]]], "u1")
    assert _thumbnail(rows, shape=(2, 2), low=0, high=100).tolist() == [[153, 255], [0, 0]]


def test_places_and_steps():
    # 6 voxels of 0.5 from centre 10 cover 9.75 to 12.75; 4 pixels of 0.75 have their first
    # centre at 9.75 + 0.375
    found = thumbnails(
        movie(np.zeros((3, 6), "u1"), spacing=(2, 0.5, 0.5), origin=(0, -1, 10)), size=4
    )["thumbnail"]
    np.testing.assert_allclose(found["x"], [10.125, 10.875, 11.625, 12.375])
    assert found["x"].attrs == {"units": "micrometer", "spacing": 0.75}
    np.testing.assert_allclose(found["y"], [-1.25 + 0.375, -1.25 + 1.125])
    assert found["y"].attrs["spacing"] == 0.75


def test_small_pictures_keep_size_and_place():
    source = movie(np.arange(12, dtype="u1").reshape(3, 4), spacing=(1, 0.3, 0.2), origin=(0, 5, 6))
    found = thumbnails(source, size=4, percentiles=ALL)["thumbnail"]
    np.testing.assert_array_equal(found[0], np.floor(np.arange(12).reshape(3, 4) * 255 / 11 + 0.5))
    np.testing.assert_allclose(found["x"], source["x"])
    assert found["y"].attrs["spacing"] == 0.3


def test_a_long_strip_keeps_a_row():
    assert thumbnails(movie(np.ones((2, 900), "u1")), size=10)["thumbnail"].shape == (1, 1, 10)


def test_percentiles_by_rank():
    # of 101 values 0..100 the ranks are the values: 10 and 90 become 0 and 255
    plane = np.arange(101, dtype="u1")[None]
    found = thumbnails(movie(plane), percentiles=(10, 90))["thumbnail"].values[0, 0]
    assert found[:11].tolist() == [0] * 11
    assert found[90:].tolist() == [255] * 11
    assert found[50] == 128  # 40 / 80 * 255 = 127.5


@pytest.mark.parametrize("value", [0, 7, np.nan])
def test_one_grey_value_is_black(value):
    found = thumbnails(movie(np.full((4, 4), value, "f4")))["thumbnail"]
    assert found.values.max() == 0


@pytest.mark.parametrize(("frame", "shown"), [(None, 2), (0, 0), (4, 4), (-1, 4)])
def test_which_frame(frame, shown):
    # frame t has its bright pixel in column t, in the second of two planes
    pixels = np.zeros((5, 1, 2, 1, 5), "u2")
    pixels[np.arange(5), 0, 1, 0, np.arange(5)] = 900
    found = thumbnails(schema.movie(pixels), frame=frame, percentiles=ALL)["thumbnail"]
    assert found.values[0, 0].argmax() == shown
    assert found.attrs["frame"] == shown
    assert "t" not in found.coords


def test_channels_are_stretched_apart():
    pixels = np.stack([np.arange(8), 100 * np.arange(8)]).reshape(1, 2, 1, 1, 8).astype("u2")
    found = thumbnails(schema.movie(pixels, channels=["a", "b"], colors=["FF0000", "00FF00"]))
    assert found["c"].values.tolist() == ["a", "b"]
    assert found["channel_color"].values.tolist() == ["FF0000", "00FF00"]
    np.testing.assert_array_equal(found["thumbnail"][0], found["thumbnail"][1])


@pytest.mark.parametrize("chunks", [{"t": 1}, {"c": 1, "z": 1, "y": 5, "x": 4}])
def test_chunks_do_not_matter(chunks):
    pixels = np.random.default_rng(0).integers(0, 4096, (3, 2, 4, 40, 30)).astype("u2")
    source = schema.movie(pixels)
    before = source.copy(deep=True)
    expected = thumbnails(source, size=16).compute()
    xr.testing.assert_identical(thumbnails(source.chunk(chunks), size=16).compute(), expected)
    xr.testing.assert_identical(source, before)


def test_reads_only_its_frame_and_only_when_asked():
    read = []

    def reader(region):
        read.append(region[0].start)
        return np.zeros([r.stop - r.start for r in region], "u2")

    image = lazy(reader, (5, 2, 3, 16, 8), "u2", (1, 1, 3, 16, 8))
    found = thumbnails(schema.movie(image))
    assert read == []
    found.compute(scheduler="synchronous")
    assert set(read) == {2}


def test_runs_on_any_array():
    volume = np.random.default_rng(0).integers(0, 4096, (3, 40, 50)).astype("u2")
    device = array_api_strict.Device("device1")
    expected = _thumbnail(volume, shape=(20, 26), low=1, high=99)
    found = _thumbnail(
        array_api_strict.asarray(volume, device=device), shape=(20, 26), low=1, high=99
    )
    assert found.device == device
    host = array_api_strict.asarray(found, device=array_api_strict.Device("CPU_DEVICE"))
    np.testing.assert_array_equal(np.asarray(host), expected)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"size": 0}, "size: found 0"),
        ({"size": 2.5}, "size: found 2.5"),
        ({"size": True}, "size: found True"),
        ({"frame": 1}, "frame: found 1; the movie has the frames 0 to 0"),
        ({"frame": -2}, "frame: found -2"),
        ({"frame": 0.5}, "frame: found 0.5"),
        ({"frame": "first"}, "frame: found 'first'"),
        ({"percentiles": (5,)}, "percentiles: found"),
        ({"percentiles": (50, 50)}, "percentiles: found"),
        ({"percentiles": (-1, 50)}, "percentiles: found"),
        ({"percentiles": (1, 101)}, "percentiles: found"),
        ({"percentiles": "ab"}, "percentiles: found 'ab'"),
        ({"percentiles": None}, "percentiles: found None"),
    ],
)
def test_parameters_that_cannot_work(params, words):
    with pytest.raises(UsageError, match=words):
        thumbnails(movie(np.ones((4, 4), "u1")), **params)


def test_not_a_movie():
    with pytest.raises(SchemaError, match="no variable 'image'"):
        thumbnails(xr.Dataset())
