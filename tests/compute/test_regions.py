"""Regions without a graph are those that the graph gives, and taken only where they must be."""

import pickle
from typing import Any

import numpy as np
import pytest
import xarray as xr

from dpipe import schema
from dpipe.compute import blocks, regions

SHAPE = (5, 2, 3, 8, 10)
PIXELS = np.random.default_rng(3).integers(0, 1000, SHAPE, "u2")
REGIONS = {
    "all": {},
    "one frame": {"t": slice(3, 4), "c": slice(1, 2)},
    "across blocks": {"t": slice(1, 4)},
    "nothing": {"t": slice(2, 2)},
}


def read(region: blocks.Region) -> np.ndarray:
    return PIXELS[region].copy()


def movie(chunks: tuple[int, ...] = (2, 1, 3, 8, 10)) -> xr.Dataset:
    return schema.movie(blocks.lazy(read, SHAPE, "u2", chunks))


def moments(frame: np.ndarray, *, power: int) -> tuple[float, int]:
    values = frame.astype("f8") ** power
    return values.mean(), int(values.max()) % 251


def flat(frame: np.ndarray) -> np.ndarray:
    return frame.max(0)


def made(ds: xr.Dataset) -> xr.Dataset:
    """Numbers of two dtypes, and a projection, of every frame."""
    mean, most = blocks.map_frames(moments, ds["image"], outputs=2, dtypes=["f8", "u1"], power=2)
    sizes = {"y": SHAPE[3], "x": SHAPE[4]}
    top = blocks.map_chunks(flat, ds["image"], sizes=sizes, dtype="u2")
    return xr.Dataset({"image": ds["image"], "mean": mean, "most": most, "top": top})


def refuse(*_: Any, **__: Any) -> Any:
    raise AssertionError("the graph was used")


@pytest.mark.parametrize("region", REGIONS.values(), ids=REGIONS)
@pytest.mark.parametrize("chunks", [(1, 1, 3, 8, 10), (2, 1, 3, 8, 10), (5, 2, 1, 4, 10)], ids=str)
def test_same_values_as_the_graph(chunks, region, monkeypatch):
    ds = made(movie(chunks))
    expected = ds.isel(region).compute(scheduler="synchronous")
    monkeypatch.setattr(blocks, "compute", refuse)
    found = blocks.compute_region(ds, list(ds.data_vars), region)
    assert list(found) == list(ds.data_vars)
    for name, values in found.items():
        np.testing.assert_array_equal(values, expected[name].values)
        assert values.dtype == expected[name].dtype == ds[name].dtype


def test_a_region_of_what_a_kernel_makes():
    ds = made(movie())
    found = blocks.compute_region(ds, ["top"], {"t": slice(1, 3), "y": slice(2, 5)})
    np.testing.assert_array_equal(found["top"], PIXELS[1:3].max(2)[:, :, 2:5])


def test_a_frame_is_read_and_measured_once():
    seen: list[Any] = []

    def counting(region: blocks.Region) -> np.ndarray:
        seen.append(region)
        return read(region)

    ds = made(schema.movie(blocks.lazy(counting, SHAPE, "u2", (1, 1, 3, 8, 10))))
    blocks.compute_region(ds, ["mean", "most"], {"t": slice(0, 2)})
    assert len(seen) == 2 * 2  # frames times channels


def test_values_in_memory_need_neither():
    ds = movie().assign(held=("t", np.arange(5)))
    found = blocks.compute_region(ds, ["image", "held"], {"t": slice(1, 3)})
    assert found["held"].tolist() == [1, 2]
    np.testing.assert_array_equal(found["image"], PIXELS[1:3])


CHANGED = {
    "computed with": lambda ds: ds + 1,
    "cut": lambda ds: ds.isel(t=slice(1, None)),
    "thinned": lambda ds: ds.isel(x=slice(None, None, 2)),
    "cast": lambda ds: ds.astype("f4"),
    "turned": lambda ds: ds.transpose("x", "y", "z", "c", "t"),
    "masked": lambda ds: ds.where(ds > 500, 0),
}


@pytest.mark.parametrize("change", CHANGED.values(), ids=CHANGED)
def test_what_was_changed_takes_the_graph(change):
    ds = change(movie())
    expected = change(schema.movie(PIXELS))
    assert regions.region_reader(ds["image"].data) is None
    found = blocks.compute_region(ds, ["image"], {"t": slice(0, 2)})
    np.testing.assert_array_equal(found["image"], expected["image"].isel(t=slice(0, 2)).values)


def test_what_was_assigned_to_takes_the_graph():
    array = blocks.lazy(read, SHAPE, "u2", (1, 1, 3, 8, 10))
    assert regions.region_reader(array) is not None
    array[0] = 7
    assert regions.region_reader(array) is None
    found = blocks.compute_region(schema.movie(array), ["image"], {"t": slice(0, 1)})
    assert (found["image"] == 7).all()


def test_frames_of_what_was_changed_take_the_graph():
    ds = movie().isel(t=slice(1, None))
    (mean,) = blocks.map_frames(lambda frame: (frame.mean(),), ds["image"], outputs=1)
    found = blocks.compute_region(xr.Dataset({"mean": mean}), ["mean"], {"t": slice(0, 1)})
    np.testing.assert_allclose(found["mean"], PIXELS[1:2].mean((2, 3, 4)))


def test_another_process_takes_the_graph():
    array = pickle.loads(pickle.dumps(blocks.lazy(read, SHAPE, "u2", (1, 1, 3, 8, 10))))
    assert regions.region_reader(array) is None
    found = blocks.compute_region(schema.movie(array), ["image"], {"t": slice(4, 5)})
    np.testing.assert_array_equal(found["image"], PIXELS[4:5])


def test_an_index_costs_the_same_however_long_its_dim_is():
    asked = []
    long = regions.RegionReader(
        lambda region: asked.append(region) or np.arange(7), (10**15,), np.dtype("u2")
    )
    assert long[1:].tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert long[::-3].tolist() == [6, 3, 0]
    assert long[5].tolist() == 0
    assert long[7:7].tolist() == [0, 1, 2, 3, 4, 5, 6]
    last = 10**15
    assert asked == [(slice(1, last),), (slice(0, last),), (slice(5, 6),), (slice(0, 0),)]
