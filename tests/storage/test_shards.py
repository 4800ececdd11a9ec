"""Shards assembled here are those that Zarr reads, and makes."""

import json

import numpy as np
import pytest
import zarr
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import MemoryStore

from dpipe.storage import chunking, shards
from dpipe.storage import zarr as storage_zarr

TCZYX = ("t", "c", "z", "y", "x")


def array(shape, chunk, shard, dtype="<u2"):
    return chunking.Array("0/image", "image", 0, TCZYX[-len(shape) :], shape, chunk, shard, dtype)


def document(cut):
    return storage_zarr.array_document(cut, {})


def by_zarr(text, region, block):
    """Let Zarr encode, into the memory that is returned."""
    memory = {"zarr.json": default_buffer_prototype().buffer.from_bytes(text)}
    held = zarr.open_array(
        MemoryStore(memory), mode="r+", zarr_format=3, config={"write_empty_chunks": True}
    )
    held[region] = block
    return {key: value.to_bytes() for key, value in memory.items() if key != "zarr.json"}


def decoded(text, objects):
    make = default_buffer_prototype().buffer.from_bytes
    memory = {key: make(data) for key, data in (objects | {"zarr.json": text}).items()}
    return zarr.open_array(MemoryStore(memory), mode="r", zarr_format=3)[...]


def noise(shape, dtype):
    values = np.random.default_rng(1).integers(0, 200, shape)
    return (values > 100) if dtype == "|b1" else values.astype(dtype)


CASES = {
    "a movie": ((2, 2, 12, 64, 48), (1, 1, 1, 64, 48), (1, 1, 12, 64, 48), "<u2"),
    "several planes a chunk": ((1, 1, 12, 32, 32), (1, 1, 4, 32, 32), (1, 1, 12, 32, 32), "|u1"),
    "chunks at the end are filled up": ((3, 10, 50), (2, 8, 16), (4, 16, 64), "<u2"),
    "chunks beyond the end are left out": ((5, 17, 20), (1, 8, 8), (4, 32, 64), "<i4"),
    "floats": ((4, 20, 20), (1, 10, 20), (2, 20, 20), "<f4"),
    "half precision": ((4, 20, 20), (1, 20, 20), (4, 20, 20), "<f2"),
    "truth values": ((4, 20, 20), (1, 20, 20), (4, 20, 20), "|b1"),
    "wide integers": ((2, 20, 20), (1, 20, 20), (2, 20, 20), "<u8"),
}


@pytest.mark.parametrize("case", CASES)
def test_zarr_reads_it(case):
    cut = array(*CASES[case])
    text, values = document(cut), noise(cut.shape, cut.dtype)
    objects = {}
    for region in chunking.shards(cut, {}):
        objects |= storage_zarr.encode(text, region, values[region])
    assert shards.layout(text) is not None
    np.testing.assert_array_equal(decoded(text, objects), values)


# where chunks lie along one axis; in two or more Zarr writes them along a Morton curve
@pytest.mark.parametrize(
    "case", ["a movie", "several planes a chunk", "half precision", "truth values"]
)
def test_same_bytes_as_zarr(case):
    cut = array(*CASES[case])
    text, values = document(cut), noise(cut.shape, cut.dtype)
    for region in chunking.shards(cut, {}):
        block = values[region]
        assert storage_zarr.encode(text, region, block) == by_zarr(text, region, block)


def test_empty_chunks_are_kept():
    cut = array((4, 20, 20), (1, 20, 20), (4, 20, 20))
    (data,) = storage_zarr.encode(document(cut), (slice(0, 4), slice(0, 20), slice(0, 20)),
                           np.zeros((4, 20, 20), "u2")).values()  # fmt: skip
    index = np.frombuffer(data[-4 - 16 * 4 : -4], "<u8").reshape(4, 2)
    assert (index[:, 1] > 4).all()
    assert index[:, 0].tolist() == [0, *np.cumsum(index[:-1, 1])]


@pytest.mark.parametrize("dtype", ["|u1", "<u2", "<f4"])
def test_a_chunk_whose_only_value_is_its_last_is_not_empty(dtype):
    cut = array((2, 40, 40), (1, 40, 40), (2, 40, 40), dtype)
    values = np.zeros(cut.shape, dtype)
    values[1, 39, 39] = 123
    text = document(cut)
    objects = storage_zarr.encode(text, (slice(0, 2), slice(0, 40), slice(0, 40)), values)
    assert shards.layout(text) is not None
    np.testing.assert_array_equal(decoded(text, objects), values)


def test_no_chunk_is_written_that_begins_where_the_array_ends():
    """Of a shard of 4 x 2 chunks an array of 2 x 1 chunks fills two: the others are absent."""
    cut = array((2, 10, 20), (1, 10, 20), (4, 20, 20))
    region = (slice(0, 2), slice(0, 10), slice(0, 20))
    values = noise(cut.shape, "<u2")
    (data,) = storage_zarr.encode(document(cut), region, values).values()
    index = np.frombuffer(data[-4 - 16 * 8 : -4], "<u8").reshape(4, 2, 2)
    there = index[..., 0] != 2**64 - 1
    assert there.tolist() == [[True, False], [True, False], [False, False], [False, False]]
    assert len(data) == int(index[there][:, 1].sum()) + 16 * 8 + 4


def test_a_whole_shard_is_assembled_here():
    cut = shards.layout(document(array((8, 20, 20), (1, 20, 20), (4, 20, 20))))
    yx = (slice(0, 20), slice(0, 20))
    assert cut.owns((slice(4, 8), *yx))
    assert cut.owns((slice(4, 7), *yx))
    assert not cut.owns((slice(4, 9), *yx))
    assert not cut.owns((slice(2, 4), *yx))


def test_a_region_that_begins_within_a_shard_lies_where_it_should():
    cut = array((8, 20, 20), (1, 20, 20), (4, 20, 20))
    text, values = document(cut), noise((2, 20, 20), "<u2")
    region = (slice(1, 3), slice(0, 20), slice(0, 20))
    found = decoded(text, storage_zarr.encode(text, region, values))
    np.testing.assert_array_equal(found[1:3], values)
    assert not found[[0, *range(3, 8)]].any()


def test_blocks_of_another_byte_order_or_stride():
    cut = array((4, 20, 20), (1, 20, 20), (4, 20, 20))
    text, values = document(cut), noise((4, 20, 20), "<u2")
    region = (slice(0, 4), slice(0, 20), slice(0, 20))
    expected = storage_zarr.encode(text, region, values)
    assert storage_zarr.encode(text, region, values.astype(">u2")) == expected
    assert storage_zarr.encode(text, region, np.asfortranarray(values)) == expected


def changed(path, value):
    cut = array((4, 20, 20), (1, 20, 20), (4, 20, 20))
    given = json.loads(document(cut))
    at = given
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return json.dumps(given).encode()


INSIDE = ("codecs", 0, "configuration")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("fill_value",), 7),
        (("chunk_key_encoding", "configuration", "separator"), "."),
        ((*INSIDE, "index_location"), "start"),
        ((*INSIDE, "codecs", 0, "configuration", "endian"), "big"),
        ((*INSIDE, "codecs"), [{"name": "bytes", "configuration": {"endian": "little"}}]),
    ],
    ids=lambda value: value[-1] if isinstance(value, tuple) else "",
)
def test_other_codecs_are_left_to_zarr(path, value):
    text = changed(path, value)
    assert shards.layout(text) is None
    region = (slice(0, 4), slice(0, 20), slice(0, 20))
    values = noise((4, 20, 20), "<u2")
    np.testing.assert_array_equal(decoded(text, storage_zarr.encode(text, region, values)), values)


def test_regions_of_several_shards_are_left_to_zarr():
    cut = array((8, 20, 20), (1, 20, 20), (4, 20, 20))
    text, values = document(cut), noise((8, 20, 20), "<u2")
    objects = storage_zarr.encode(text, (slice(0, 8), slice(0, 20), slice(0, 20)), values)
    assert sorted(objects) == ["c/0/0/0", "c/1/0/0"]
    np.testing.assert_array_equal(decoded(text, objects), values)


def test_arrays_without_shards_are_left_to_zarr():
    cut = array((4, 20, 20), (4, 20, 20), (4, 20, 20))
    assert shards.layout(document(cut)) is None
