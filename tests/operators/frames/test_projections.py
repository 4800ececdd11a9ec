"""Projections, plain and normalised."""

import numpy as np
import pytest
import xarray as xr

from dpipe import schema
from dpipe.compute import lazy
from dpipe.errors import SchemaError, UsageError
from dpipe.operators import projections


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 4096, (3, 2, 4, 9, 7)).astype("u2")


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "f4"])
def test_plain_is_the_maximum(pixels, dtype):
    pixels = pixels.astype(dtype)
    found = projections(schema.movie(pixels))["projection"]
    assert found.dtype == pixels.dtype
    np.testing.assert_array_equal(found, pixels.max(axis=2))


def test_normalised_as_the_published_code(pixels):
    found = projections(schema.movie(pixels), normalise="plane")["projection"]
    assert found.dtype == np.uint8
    shares = pixels / pixels.max(axis=(3, 4), keepdims=True)
    np.testing.assert_array_equal(found, np.floor(255 * shares.max(axis=2) + 0.5))


@pytest.mark.parametrize("normalise", ["none", "plane"])
@pytest.mark.parametrize("chunks", [{"t": 1}, {"t": 2, "z": 1, "y": 4, "x": 3}, {"c": 1, "z": 3}])
def test_chunks_do_not_matter(pixels, normalise, chunks):
    movie = schema.movie(pixels, spacing=(2, 0.5, 0.25), origin=(0, 10, 20))
    before = movie.copy(deep=True)
    expected = projections(movie, normalise=normalise).compute()
    found = projections(movie.chunk(chunks), normalise=normalise).compute()
    xr.testing.assert_identical(found, expected)
    xr.testing.assert_identical(movie, before)


@pytest.mark.parametrize("normalise", ["none", "plane"])
def test_lazy_with_its_places(normalise):
    def read(region):
        raise AssertionError("read too early")

    image = lazy(read, (4, 2, 3, 16, 8), "u2", (1, 1, 3, 16, 8))
    movie = schema.movie(image, spacing=(2, 0.5, 0.25), origin=(0, 10, 20), channels=["a", "b"])
    found = projections(movie, normalise=normalise)["projection"]
    assert found.chunks is not None
    assert found.dims == ("t", "c", "y", "x")
    assert found.shape == (4, 2, 16, 8)
    for dim in ("t", "c", "y", "x"):
        xr.testing.assert_identical(found[dim], movie[dim])
    assert "z" not in found.coords


def test_nan_spreads_through_the_plain_one_only():
    pixels = np.array([[[[[1.0, np.nan]], [[2.0, 1.0]]]]])
    movie = schema.movie(pixels)
    assert np.isnan(projections(movie)["projection"].values[0, 0, 0, 1])
    # planes over their maxima: 1, - and 1, 0.5 -> 127.5 -> 128
    normalised = projections(movie, normalise="plane")["projection"].values
    assert normalised.tolist() == [[[[255, 128]]]]


def test_refused(pixels):
    with pytest.raises(UsageError, match="normalise: found 'volume'"):
        projections(schema.movie(pixels), normalise="volume")
    with pytest.raises(SchemaError, match="no variable 'labels'"):
        projections(schema.movie(pixels), image="labels")
