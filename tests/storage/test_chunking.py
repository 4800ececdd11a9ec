"""Levels, chunks and shards: sizes by hand, and properties that hold for every shape."""

import math

import numpy as np
import pytest
import xarray as xr
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dpipe import schema
from dpipe.errors import SchemaError
from dpipe.storage import chunking

KIB, MIB = 1 << 10, 1 << 20


def levels_of_shape(dims: tuple[str, ...], shape: tuple[int, ...], dtype: str, wanted=None):
    """Lay out all levels of an array without making one."""
    lazy = xr.DataArray(np.broadcast_to(np.zeros((), dtype), shape), dims=dims)
    count = chunking.level_count(lazy.sizes, wanted)
    return [chunking.layout("image", lazy, level, count) for level in range(count)]


@pytest.mark.parametrize(
    ("sizes", "wanted", "expected"),
    [
        pytest.param({"z": 12, "y": 512, "x": 700}, None, 3, id="700-350-175"),
        pytest.param({"y": 256, "x": 256}, None, 1, id="small"),
        pytest.param({"y": 257, "x": 1}, None, 2, id="one-more"),
        pytest.param({"y": 512, "x": 512}, None, 2, id="512-256"),
        pytest.param({"y": 513, "x": 512}, None, 3, id="513-257-129"),
        pytest.param({"y": 1, "x": 1}, None, 1, id="a-pixel"),
        pytest.param({"y": 0, "x": 5}, None, 1, id="nothing"),
        pytest.param({"t": 9000, "x": 9000}, None, 1, id="no-y"),
        pytest.param({"t": 9000, "x": 9000}, 5, 1, id="no-y-though-wanted"),
        pytest.param({"y": 100, "x": 60}, 3, 3, id="wanted"),
        pytest.param({"y": 5, "x": 3}, 20, 4, id="5-3-2-1-then-nothing-left"),
        pytest.param({"y": 1, "x": 1}, 4, 1, id="a-pixel-has-one"),
        pytest.param({"y": 200_000, "x": 200_000}, None, 11, id="a-slide"),
    ],
)
def test_level_count(sizes: dict[str, int], wanted: int | None, expected: int) -> None:
    assert chunking.level_count(sizes, wanted) == expected


@pytest.mark.parametrize("wanted", [0, -1])
def test_no_levels_are_refused(wanted: int) -> None:
    with pytest.raises(SchemaError, match=rf"levels: found {wanted}; expected at least 1"):
        chunking.level_count({"y": 9, "x": 9}, wanted)


TCZYX = ("t", "c", "z", "y", "x")


BY_HAND = {
    # a plane of 512 KiB is a chunk, a frame of 6 MiB a shard
    "movie": "tczyx 97,3,12,512,512 u2 0 = 1,1,1,512,512 in 1,1,12,512,512",
    # 128 KiB a plane: two make a chunk
    "movie-level-1": "tczyx 97,3,12,512,512 u2 1 = 1,1,2,256,256 in 1,1,12,256,256",
    # 87.5 KiB a plane: four chunks of four cover 13 planes; 1.1 MiB a frame: two make a shard
    "13-planes": "tczyx 97,3,13,256,175 u2 0 = 1,1,4,256,175 in 2,1,16,256,175",
    # 4 KiB a plane: 64 make a chunk; 4 MiB hold 1024, so all 1000 are one shard in 15 chunks
    "small-frames": "tczyx 1000,1,1,64,64 u1 0 = 67,1,1,64,64 in 1005,1,1,64,64",
    "small-frames-cut": "tczyx 5000,1,1,64,64 u1 0 = 64,1,1,64,64 in 1024,1,1,64,64",
    "one-frame": "tczyx 1,1,1,64,64 u1 0 = 1,1,1,64,64 in 1,1,1,64,64",
    # 17 MiB a plane: two make a shard (three would do, but powers of two are cut); 5 x 5 tiles
    "tiles": "tczyx 9,1,100,3000,3000 u2 0 = 1,1,1,600,600 in 1,1,2,3000,3000",
    # 8192 x 8192 bytes are 64 MiB; level 10 is a thousandth of that
    "slide": "yx 200000,200000 u1 0 = 512,512 in 8192,8192",
    "slide-lowest": "yx 200000,200000 u1 10 = 8,8 in 8,8",
    "line": "yx 1,10000000 u1 0 = 1,263158 in 1,10000004",
    # 100 KiB a picture, room for 40: 32 is the power of two below; four divide 32, three do not
    "records": "ryx 900,320,320 u1 0 = 4,320,320 in 32,320,320",
    # 6.8 KiB a crop, room for 602: 512 events, eight chunks; with 60 frames each, 8 events
    "single-crops": "etcyx 1000,1,1,59,59 u2 0 = 64,1,1,59,59 in 512,1,1,59,59",
    "crops": "etcyx 90,60,2,59,59 u2 0 = 1,60,1,59,59 in 8,60,1,59,59",
    "table": "rn 2900000,100 f4 0 = 167772,100 in 167772,100",
    "long-rows": "ab 2,100000000 f8 0 = 1,8388608 in 1,8388608",
    "empty-table": "r 0 f8 0 = 1 in 1",
    "empty-movie": "tczyx 0,1,3,0,8 u2 0 = 1,1,3,1,8 in 1,1,3,1,8",
}


@pytest.mark.parametrize("case", BY_HAND.values(), ids=BY_HAND.keys())
def test_layout_by_hand(case: str) -> None:
    letters, shape, dtype, level, _, chunk, _, shard = case.split()
    dims = tuple({"r": "record", "e": "event"}.get(letter, letter) for letter in letters)
    array = levels_of_shape(dims, tuple(map(int, shape.split(","))), dtype)[int(level)]
    assert array.chunk == tuple(map(int, chunk.split(",")))
    assert array.shard == tuple(map(int, shard.split(",")))
    assert array.path == f"{level}/image"


def test_layout_of_a_number() -> None:
    (array,) = levels_of_shape((), (), "f8")
    assert (array.chunk, array.shard, array.nbytes) == ((), (), 8)
    assert chunking.shards(array, {}) == [()]


def test_text_and_foreign_byte_order() -> None:
    text = chunking.layout("name", xr.DataArray(np.array(["a", "bc"]), dims="record"), 0, 1)
    assert (text.dtype, text.nbytes) == ("str", 32)
    array = chunking.layout("image", xr.DataArray(np.zeros((2, 3), ">u2"), dims=("y", "x")), 0, 1)
    assert (array.dtype, array.nbytes) == (np.dtype("u2").str, 12)


def test_an_array_survives_json() -> None:
    array = levels_of_shape(TCZYX, (5, 1, 3, 40, 50), "u2")[0]
    given = {k: list(v) if isinstance(v, tuple) else v for k, v in vars(array).items()}
    assert chunking.Array.from_dict(given) == array


DIMS = st.sampled_from(
    [TCZYX, ("t", "z", "y", "x"), ("c", "z", "y", "x"), ("t", "y", "x"), ("y", "x"),
     ("record", "c", "y", "x")]
)  # fmt: skip
OUTER = st.one_of(st.integers(1, 8), st.integers(1, 3000))
EDGE = st.one_of(st.integers(1, 70), st.integers(1, 9000), st.integers(1, 300_000))
DTYPES = st.sampled_from(["u1", "u2", "f4", "f8"])


@st.composite
def images(draw: st.DrawFn) -> list[chunking.Array]:
    dims = draw(DIMS)
    shape = tuple(draw(EDGE if dim in "yx" else OUTER) for dim in dims)
    assume(math.prod(shape) < 1 << 59)  # NumPy counts bytes in 63 bits
    wanted = draw(st.one_of(st.none(), st.integers(1, 20)))
    return levels_of_shape(dims, shape, draw(DTYPES), wanted)


@settings(max_examples=300, deadline=None)
@given(images())
def test_sizes_of_chunks_and_shards(arrays: list[chunking.Array]) -> None:
    for array in arrays:
        itemsize = np.dtype(array.dtype).itemsize
        chunk, shard = math.prod(array.chunk) * itemsize, math.prod(array.shard) * itemsize
        inside = math.prod(map(min, array.shard, array.shape)) * itemsize
        assert all(s % c == 0 for s, c in zip(array.shard, array.chunk, strict=True))
        if len(arrays) <= 10:  # beyond, one pixel of the lowest level covers more than a tile
            assert inside <= chunking.SHARD_BYTES
        assert shard <= 1.5 * max(inside, chunking.INNER_BYTES)
        assert chunk <= 4 * max(chunking.PLANE_BYTES, chunking.INNER_BYTES)
        assert chunk >= min(chunking.INNER_BYTES, inside) / 2
    top = arrays[0]
    if math.prod(top.shape) * np.dtype(top.dtype).itemsize >= 4 * MIB and "c" not in top.dims:
        assert math.prod(top.chunk) * np.dtype(top.dtype).itemsize >= 256 * KIB


@settings(max_examples=200, deadline=None)
@given(images(), st.data())
def test_a_cell_owns_whole_shards_of_every_level(
    arrays: list[chunking.Array], data: st.DataObject
) -> None:
    """Write one shard of level 0: on each level that is one whole shard, and no other's."""
    top = arrays[0]
    grid = [-(-n // s) for n, s in zip(top.shape, top.shard, strict=True)]
    index = [data.draw(st.integers(0, n - 1)) for n in grid]
    cell = {
        dim: slice(i * s, min((i + 1) * s, n))
        for dim, i, s, n in zip(top.dims, index, top.shard, top.shape, strict=True)
    }
    size = {dim: s.stop - s.start for dim, s in cell.items()}
    block = np.broadcast_to(np.zeros((), top.dtype), tuple(size.values()))
    for array, place, _ in chunking.levels_of(arrays, cell, _Unread(block)):
        assert [s.start for s in place] == [i * s for i, s in zip(index, array.shard, strict=True)]
        expected = [
            min((i + 1) * s, n)
            for i, s, n in zip(index, array.shard, array.shape, strict=True)
        ]  # fmt: skip
        assert [s.stop for s in place] == expected
        assert chunking.shards(array, dict(zip(array.dims, place, strict=True))) == [place]


class _Unread(np.ndarray):
    """A block too large to be made; `halve` is not asked for its values."""

    def __new__(cls, block: np.ndarray) -> "_Unread":
        return block.view(cls)


@pytest.fixture(autouse=True)
def _no_pixels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    real = chunking.halve

    def halve(block: np.ndarray, dims: tuple[str, ...], *, labels: bool = False) -> np.ndarray:
        return block if isinstance(block, _Unread) else real(block, dims, labels=labels)

    monkeypatch.setattr(chunking, "halve", halve)


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(*(st.integers(1, n) for n in (5, 2, 6, 90, 90))),
    st.tuples(*(st.integers(1, n) for n in (5, 2, 6, 40, 40))),
    st.integers(1, 6),
)
def test_cells_tile_every_level_exactly_once(
    shape: tuple[int, ...], steps: tuple[int, ...], wanted: int
) -> None:
    """Small shards of any size that divides as levels do: counts are 1 everywhere."""
    count = chunking.level_count({"y": shape[3], "x": shape[4]}, wanted)
    unit = 2 ** (count - 1)
    step = (*steps[:3], -(-steps[3] // unit) * unit, -(-steps[4] // unit) * unit)
    arrays = []
    for k in range(count):
        shard = (*step[:3], step[3] >> k, step[4] >> k)
        level = chunking.level_shape(TCZYX, shape, k)
        arrays.append(chunking.Array(f"{k}/image", "image", k, TCZYX, level, shard, shard, "|u1"))
    values = np.arange(math.prod(shape), dtype="u1").reshape(shape)
    seen = [np.zeros(array.shape, int) for array in arrays]
    made = [np.zeros(array.shape, "u1") for array in arrays]
    for region in chunking.shards(arrays[0], {}):
        cell = dict(zip(TCZYX, region, strict=True))
        for array, place, block in chunking.levels_of(arrays, cell, values[region]):
            seen[array.level][place] += 1
            made[array.level][place] = block
    expected = values
    for level in range(count):
        assert (seen[level] == 1).all()
        np.testing.assert_array_equal(made[level], expected)  # no seam between shards
        expected = chunking.halve(expected, TCZYX)


def test_a_region_of_half_a_shard_is_refused() -> None:
    array = chunking.Array("0/image", "image", 0, ("t", "x"), (10, 7), (4, 7), (4, 7), "|u1")
    assert chunking.shards(array, {"t": slice(4, 10)}) == [
        (slice(4, 8), slice(0, 7)),
        (slice(8, 10), slice(0, 7)),
    ]
    for wrong in (slice(2, 8), slice(0, 6), slice(9, 10)):
        with pytest.raises(SchemaError, match="is not whole shards of 4; a write must own"):
            chunking.shards(array, {"t": wrong})
    assert chunking.shards(array, {"t": slice(8, 12)}) == [(slice(8, 10), slice(0, 7))]


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", ">u2", "i4", "u4", "i8", "u8"])
def test_means_of_integers_are_rounded_half_up(dtype: str) -> None:
    info = np.iinfo(dtype)
    rng = np.random.default_rng(1)
    native = np.dtype(dtype).newbyteorder("=")
    given = rng.integers(info.min, info.max, (2, 5, 7), native, endpoint=True).astype(dtype)
    even = np.pad(given.astype(object), ((0, 0), (0, 1), (0, 1)), mode="edge")
    total = even[:, ::2, ::2] + even[:, 1::2, ::2] + even[:, ::2, 1::2] + even[:, 1::2, 1::2]
    halved = chunking.halve(given, ("z", "y", "x"))
    assert halved.dtype == native
    # Python integers have no largest value: (sum + 2) // 4 is the mean rounded half up
    assert halved.astype(object).tolist() == ((total + 2) // 4).tolist()


def test_means_of_floats() -> None:
    # 1 2 | 9      means (1+2+3+5)/4 = 2.75 and (9+9)/2; a last column counts twice
    # 3 5 | 9
    given = np.array([[1, 2, 9], [3, 5, 9]])
    for dtype in ("f2", "f4", "f8"):
        halved = chunking.halve(given.astype(dtype), ("y", "x"))
        assert halved.tolist() == [[2.75, 9.0]]
        assert halved.dtype == dtype
    assert np.isnan(chunking.halve(np.array([[1, np.nan], [1, 1]]), ("y", "x"))).all()
    with pytest.raises(ValueError, match="last two dims must be y, x"):
        chunking.halve(given, ("x", "y"))


def test_labels_and_truth_values_are_thinned() -> None:
    labels = np.array([[7, 9, 4], [9, 9, 4], [1, 2, 3]], "u4")
    assert chunking.halve(labels, ("y", "x"), labels=True).tolist() == [[7, 4], [1, 3]]
    assert chunking.halve(labels > 3, ("y", "x")).tolist() == [[True, True], [False, False]]


def test_no_pixels_have_no_mean() -> None:
    assert chunking.halve(np.zeros((0, 4, 4), "u1"), ("z", "y", "x")).shape == (0, 2, 2)
    assert chunking.halve(np.zeros((2, 0, 4), "u8"), ("z", "y", "x")).shape == (2, 0, 2)


def test_coordinates_are_centres_of_larger_pixels() -> None:
    ds = schema.movie(np.zeros((2, 1, 1, 5, 4), "u1"), spacing=(2, 0.5, 0.25), origin=(0, 10, 0))
    ds = ds.assign_coords(row=("y", list("abcde")), run=7, mixed=(("t", "y"), np.ones((2, 5))))
    assert chunking.level_coords(ds, 0)["y"] is not None
    coords = chunking.level_coords(ds, 2)
    # level 2 pixels are 4 wide: 2.0 um along y; the first covers rows 0-3, centre 10 + 1.5 * 0.5
    assert coords["y"].values.tolist() == [10.75, 12.75]
    assert coords["y"].attrs == {"units": "micrometer", "spacing": 2.0}
    assert coords["x"].values.tolist() == [0.375]
    assert coords["t"].values.tolist() == [0.0, 1.0]
    assert coords["row"].values.tolist() == ["a", "e"]
    assert coords["mixed"].shape == (2, 2)
    assert int(coords["run"]) == 7


def test_coordinates_of_nothing() -> None:
    ds = schema.movie(np.zeros((1, 1, 1, 0, 4), "u1"))
    assert chunking.level_coords(ds, 1)["y"].shape == (0,)
