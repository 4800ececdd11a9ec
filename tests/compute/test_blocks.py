"""Blocks: nothing runs at build, and how an array is cut never shows in the numbers."""

import pickle
from collections.abc import Callable
from typing import Any

import array_api_strict as strict
import dask
import dask.array as da
import numpy as np
import pytest
import scipy.ndimage
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from dpipe import schema
from dpipe.compute import blocks, devices, namespace, sizes
from dpipe.errors import SchemaError

SHAPE = (3, 2, 4, 9, 11)
PIXELS = np.random.default_rng(7).integers(0, 1000, SHAPE, "u2")


def movie(chunks: Any = None) -> xr.DataArray:
    data = PIXELS if chunks is None else da.from_array(PIXELS, chunks=chunks)
    return schema.movie(data, spacing=(2, 0.5, 0.5), channels=["red", "green"])["image"]


@st.composite
def chunkings(draw: st.DrawFn, shape: tuple[int, ...] = SHAPE) -> tuple[tuple[int, ...], ...]:
    """Any way to cut each axis, blocks of unlike size among them."""
    cuts = []
    for n in shape:
        inside = draw(st.sets(st.integers(1, n - 1), max_size=4)) if n > 1 else set()
        places = [0, *sorted(inside), n]
        cuts.append(tuple(np.diff(places).tolist()))
    return tuple(cuts)


class Counted:
    """A kernel that says how often it ran."""

    def __init__(self, kernel: Callable[..., Any]) -> None:
        self.kernel, self.calls = kernel, 0

    def __call__(self, block: Any, **params: Any) -> Any:
        self.calls += 1
        return self.kernel(block, **params)

    def __dask_tokenize__(self) -> str:
        return f"counted-{id(self)}"


def moments(frame: Any, *, power: int = 1) -> tuple[Any, Any]:
    xp = namespace(frame)
    values = xp.astype(frame, xp.float64) ** power
    return xp.mean(values), xp.max(values)


def corner(frame: Any) -> Any:
    return frame[0, :3, :2] * 1


def smooth(block: Any, *, size: int) -> Any:
    return scipy.ndimage.uniform_filter(block.astype("f4"), (0, 0, 0, size, size), mode="nearest")


def refuse(*_: Any, **__: Any) -> Any:
    raise AssertionError("computed at build")


# ------------------------------------------------------------------------------------ lazy


def region_of(array: np.ndarray, seen: list[Any]) -> Callable[[blocks.Region], np.ndarray]:
    def read(region: blocks.Region) -> np.ndarray:
        assert all(isinstance(r, slice) and r.step in (None, 1) for r in region)
        assert all(0 <= r.start <= r.stop <= n for r, n in zip(region, array.shape, strict=True))
        seen.append(region)
        return array[region]

    return read


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_lazy_arrays_index_as_numpy_does(data: st.DataObject) -> None:
    array = np.arange(6 * 5 * 4).reshape(6, 5, 4)
    steps = st.one_of(st.none(), st.integers(1, 3), st.integers(-3, -1))
    ends = st.one_of(st.none(), st.integers(-4, 8))  # Dask reads [-6::-1] of five wrongly
    one = st.one_of(st.builds(slice, ends, ends, steps), st.integers(-4, 3))
    index = tuple(data.draw(st.lists(one, max_size=3)))
    lazy = blocks.lazy(region_of(array, []), array.shape, array.dtype, (4, 2, 3))
    np.testing.assert_array_equal(lazy[index].compute(scheduler="sync"), array[index])


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_source_indexes_as_numpy_does(data: st.DataObject) -> None:
    """Dask asks a source for fused slices: steps, backward ones, numbers, short tuples."""
    array = np.arange(6 * 5).reshape(6, 5)
    ends = st.one_of(st.none(), st.integers(-8, 8))
    steps = st.one_of(st.none(), st.integers(1, 3), st.integers(-3, -1))
    one = st.one_of(st.builds(slice, ends, ends, steps), st.integers(-5, 4))
    index = tuple(data.draw(st.lists(one, max_size=2)))
    source = blocks.RegionReader(region_of(array, []), array.shape, array.dtype)
    np.testing.assert_array_equal(source[index], array[index])
    np.testing.assert_array_equal(source[1:3], array[1:3])


def test_lazy_reads_nothing_at_build_and_only_what_is_wanted() -> None:
    seen: list[Any] = []
    array = np.arange(100.0).reshape(10, 10)
    lazy = blocks.lazy(region_of(array, seen), (10, 10), "f8", (4, 100))
    assert (lazy.numblocks, lazy.chunks[1], seen) == ((3, 1), (10,), [])
    assert lazy[5, 2:4].compute(scheduler="sync").tolist() == [52.0, 53.0]
    (read,) = seen  # one block; Dask may cut it further, but asks for no other
    assert 4 <= read[0].start <= 5 < read[0].stop <= 8


@pytest.mark.parametrize("shape", [(0, 5), (3, 0), ()], ids=["rows", "columns", "number"])
def test_lazy_arrays_of_odd_shapes(shape: tuple[int, ...]) -> None:
    array = np.ones(shape)
    lazy = blocks.lazy(region_of(array, []), shape, "f8", (2,) * len(shape))
    np.testing.assert_array_equal(lazy.compute(scheduler="sync"), array)


# -------------------------------------------------------------------------------- map_frames


@settings(max_examples=25, deadline=None)
@given(chunkings())
def test_numbers_of_frames_do_not_depend_on_chunks(chunks: tuple[tuple[int, ...], ...]) -> None:
    means, largest = blocks.map_frames(moments, movie(chunks), outputs=2, power=2)
    squares = PIXELS.astype("f8") ** 2
    mean, top = blocks.compute(means.data, largest.data)
    np.testing.assert_allclose(mean, squares.mean((2, 3, 4)), rtol=1e-14)
    np.testing.assert_array_equal(top, squares.max((2, 3, 4)))


def test_a_kernel_runs_once_a_frame_for_all_its_numbers() -> None:
    kernel = Counted(moments)
    with dask.config.set(scheduler=refuse):
        means, largest = blocks.map_frames(kernel, movie((2, 1, 4, 3, 11)), outputs=2)
        assert kernel.calls == 0
    blocks.compute(means.data, largest.data)
    assert kernel.calls == 6  # 3 frames of 2 channels
    blocks.compute_region(xr.Dataset({"a": means, "b": largest}), ["a", "b"], {"t": slice(0, 2)})
    assert kernel.calls == 10


def test_coordinates_of_frames_stay_and_those_of_pixels_go() -> None:
    (only,) = blocks.map_frames(lambda frame: [frame.sum()], movie(), outputs=1, core=("y", "x"))
    assert only.dims == ("t", "c", "z")
    assert list(only.coords) == ["t", "c", "z"]
    assert only.chunks is not None
    expected = PIXELS.sum((3, 4)).astype("f8")
    np.testing.assert_array_equal(only.compute(scheduler="sync"), expected)


def test_frames_in_any_order_of_dims() -> None:
    turned = movie((1, 1, 2, 4, 4)).transpose("x", "t", "z", "c", "y")
    means, _ = blocks.map_frames(moments, turned, outputs=2)
    expected = PIXELS.mean((2, 3, 4))
    np.testing.assert_allclose(means.transpose("t", "c").compute(scheduler="sync"), expected)


def test_no_frames_give_no_numbers() -> None:
    kernel = Counted(moments)
    means, _ = blocks.map_frames(kernel, movie((1, 1, 4, 9, 11)).isel(t=slice(0, 0)), outputs=2)
    assert means.compute(scheduler="sync").shape == (0, 2)
    assert kernel.calls == 0


def test_a_missing_dim_is_said() -> None:
    with pytest.raises(SchemaError, match=r"frames need the dims \('z', 'y', 'x'\); found"):
        blocks.map_frames(moments, movie().isel(z=0), outputs=2)


@pytest.mark.parametrize("outputs", [1, 3])
def test_a_kernel_that_gives_another_number_of_numbers(outputs: int) -> None:
    (first, *_) = blocks.map_frames(moments, movie((1, 1, 4, 9, 11)), outputs=outputs)
    with pytest.raises(ValueError, match=f"the kernel gave 2 numbers; expected {outputs}"):
        first.compute(scheduler="sync")


# -------------------------------------------------------------------------------- map_chunks


@settings(max_examples=25, deadline=None)
@given(chunkings())
def test_new_frames_do_not_depend_on_chunks(chunks: tuple[tuple[int, ...], ...]) -> None:
    kernel = Counted(corner)
    with dask.config.set(scheduler=refuse):
        cut = blocks.map_chunks(kernel, movie(chunks), sizes={"y": 3, "x": 2}, dtype="u2")
        assert kernel.calls == 0
    assert (cut.dims, cut.dtype) == (("t", "c", "y", "x"), np.dtype("u2"))
    np.testing.assert_array_equal(cut.compute(scheduler="sync"), PIXELS[:, :, 0, :3, :2])
    assert kernel.calls == 6


def test_coordinates_along_sizes_that_stay_are_kept() -> None:
    kept = blocks.map_chunks(
        lambda frame: frame.max(axis=0), movie(), sizes={"y": 9, "x": 11}, dtype="u2"
    )
    assert set(kept.coords) == {"t", "c", "y", "x"}
    assert kept["y"].attrs["spacing"] == 0.5
    cut = blocks.map_chunks(corner, movie(), sizes={"y": 3, "x": 2}, dtype="u2")
    assert set(cut.coords) == {"t", "c"}


@pytest.mark.parametrize("shape", [(1, 2), (2,), (3, 3)])
def test_a_frame_of_another_size_is_not_spread(shape: tuple[int, ...]) -> None:
    made = blocks.map_chunks(
        lambda frame: np.ones(shape, "u2"), movie(), sizes={"y": 3, "x": 2}, dtype="u2"
    )
    with pytest.raises(ValueError, match=r"the kernel gave an array of .*; expected \(3, 2\)"):
        made.compute(scheduler="sync")


# --------------------------------------------------------------------------------- map_tiles


@settings(max_examples=40, deadline=None)
@given(chunkings(), st.integers(1, 13))
def test_tiles_have_no_seams(chunks: tuple[tuple[int, ...], ...], size: int) -> None:
    """A filter reaches size // 2 pixels: borders of blocks and of the image come out right."""
    kernel = Counted(smooth)
    with dask.config.set(scheduler=refuse):
        half = size // 2
        made = blocks.map_tiles(
            kernel, movie(chunks), halo={"y": half, "x": half}, dtype="f4", size=size
        )
        assert kernel.calls == 0
    assert (made.dims, made.shape, made.dtype) == (movie().dims, SHAPE, np.dtype("f4"))
    assert set(made.coords) == set(movie().coords)
    whole = smooth(PIXELS, size=size)
    np.testing.assert_allclose(made.compute(scheduler="sync"), whole, rtol=1e-5)


def test_tiles_of_an_array_in_memory_and_without_a_halo() -> None:
    made = blocks.map_tiles(lambda block: block + 1, movie(), halo={}, dtype="u4")
    assert made.compute(scheduler="sync").dtype == "u4"
    np.testing.assert_array_equal(made.compute(scheduler="sync"), PIXELS + 1)


def test_a_halo_along_no_dim_is_said() -> None:
    with pytest.raises(SchemaError, match=r"halo along \['w'\]; the image has dims"):
        blocks.map_tiles(smooth, movie(), halo={"w": 1}, dtype="f4", size=3)


def test_a_tile_of_another_size_is_refused() -> None:
    made = blocks.map_tiles(lambda block: block[..., :1], movie(), halo={}, dtype="u2")
    with pytest.raises(ValueError, match="the kernel gave an array of"):
        made.compute(scheduler="sync")


# ------------------------------------------------------------------------------------ device


@pytest.fixture
def fake_device(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A device "cuda" whose blocks are strict arrays of the standard on a second device."""
    moved: list[str] = []

    def to_device(block: np.ndarray, name: str) -> Any:
        moved.append(name)
        there = strict.Device("device1")
        return strict.asarray(block, device=there) if name == "cuda" else block

    def to_host(block: Any) -> np.ndarray:
        if isinstance(block, np.ndarray):
            return block
        return np.asarray(block.to_device(strict.Device("CPU_DEVICE")))

    monkeypatch.setattr(devices, "has_cuda", lambda: True)
    monkeypatch.setattr(blocks, "to_device", to_device)
    monkeypatch.setattr(blocks, "to_host", to_host)
    return moved


def test_the_device_is_that_of_the_time_of_building(fake_device: list[str]) -> None:
    image = movie((1, 1, 4, 9, 11))
    with devices.device("cuda"):
        there = blocks.map_frames(moments, image, outputs=2)
        tiles = blocks.map_tiles(lambda block: block * 2, image, halo={}, dtype="u2")
        cut = blocks.map_chunks(corner, image, sizes={"y": 3, "x": 2}, dtype="u2")
    here = blocks.map_frames(moments, image, outputs=2)
    mean, same = blocks.compute(there[0].data, here[0].data)
    np.testing.assert_array_equal(mean, same)
    assert sorted(fake_device) == ["cpu"] * 6 + ["cuda"] * 6
    fake_device.clear()
    np.testing.assert_array_equal(tiles.compute(scheduler="sync"), PIXELS * 2)
    np.testing.assert_array_equal(cut.compute(scheduler="sync"), PIXELS[:, :, 0, :3, :2])
    assert set(fake_device) == {"cuda"}


def test_the_device_does_not_share_results(fake_device: list[str]) -> None:
    """Two graphs that differ in their device alone have other keys."""
    image = movie((1, 1, 4, 9, 11))
    here, _ = blocks.map_frames(moments, image, outputs=2)
    with devices.device("cuda"):
        there, _ = blocks.map_frames(moments, image, outputs=2)
    assert here.data.name != there.data.name


# ------------------------------------------------------------------------------- computing


def test_a_region_of_some_variables() -> None:
    seen: list[Any] = []
    read = blocks.lazy(region_of(PIXELS, seen), SHAPE, "u2", (1, 1, 4, 9, 11))
    ds = schema.movie(read).assign(number=("t", np.arange(3)), one=((), 5))
    found = blocks.compute_region(ds, ["image", "number", "one"], {"t": slice(1, 3)})
    np.testing.assert_array_equal(found["image"], PIXELS[1:3])
    assert found["number"].tolist() == [1, 2]
    assert found["one"] == 5
    assert [r[0] for r in seen] == [slice(1, 3)]  # read at once, not block by block
    found = blocks.compute_region(ds.assign(image=ds.image + 1), ["image"], {"c": slice(0, 1)})
    np.testing.assert_array_equal(found["image"], PIXELS[:, :1] + 1)


def test_sizes_and_regions() -> None:
    ds = xr.Dataset({"image": movie((1, 2, 4, 9, 5)), "text": ("t", ["a", "bc", "d"])})
    assert sizes.largest_block(ds) == 2 * 4 * 9 * 5 * 2
    coordinates = sum(ds[name].nbytes for name in ds.coords)
    assert sizes.source_bytes(ds) == PIXELS.nbytes + 3 * 2 * 4 + coordinates
    assert len(sizes.block_regions(ds["image"])) == 9
    assert sizes.block_regions(ds["text"]) == [(slice(0, 3),)]
    assert sizes.largest_block(ds.load()) == 0


def test_tokens_follow_values_and_names() -> None:
    one = schema.movie(PIXELS)
    assert sizes.token(one) == sizes.token(schema.movie(PIXELS.copy()))
    assert sizes.token(one) != sizes.token(schema.movie(PIXELS + 1))
    assert sizes.token(one) != sizes.token(one.rename(image="picture"))


def test_graphs_travel() -> None:
    means, _ = blocks.map_frames(moments, movie((1, 1, 4, 9, 11)), outputs=2)
    again = pickle.loads(pickle.dumps(means))
    np.testing.assert_allclose(again.compute(scheduler="sync"), PIXELS.mean((2, 3, 4)))
