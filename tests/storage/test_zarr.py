"""The store: what is written comes back exactly, or as an error; never as zeros."""

import hashlib
import json
import math
import pickle
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.abc.store import OffsetByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.codecs import BloscCodec, Crc32cCodec, ZstdCodec
from zarr.storage import MemoryStore

from dpipe import schema
from dpipe.compute import blocks, sizes
from dpipe.errors import DamageError, SchemaError
from dpipe.storage import Objects, chunking, lazy_arrays, open_objects
from dpipe.storage import zarr as storage_zarr

RNG = np.random.default_rng(3)


def a_movie(shape: tuple[int, ...] = (2, 2, 3, 130, 300), dtype: str = "u2") -> xr.Dataset:
    """No zero in it: one that is read back is wrong."""
    pixels = RNG.integers(1, 250, shape).astype(dtype)
    ds = schema.movie(
        pixels, spacing=(2, 0.5, 0.25), interval=30, channels=["DAPI", "µ"][: shape[1]]
    )
    return ds.assign_coords(stage=("t", [f"s{i}" for i in range(shape[0])]), run=7)


def write(
    objects: Objects, ds: xr.Dataset, levels: dict[str, int] | None = None
) -> storage_zarr.Template:
    """Write all values, as a part does."""
    template = storage_zarr.describe(ds, levels=levels)
    for key, data in template.coordinates.items():
        objects.put(f"p/{key}", data)
    for name in ds.data_vars:
        arrays = [array for array in template.arrays if array.variable == name]
        for region in chunking.shards(arrays[0], {}):
            cut = dict(zip(arrays[0].dims, region, strict=True))
            values = np.asarray(ds[name].isel(cut).values)
            for array, place, block in chunking.levels_of(arrays, cut, values):
                document = storage_zarr.stored(template.documents[f"{array.path}/zarr.json"])
                storage_zarr.write_region(objects, "p", array, document, place, block, "p.json")
    return template


def opened(objects: Objects, template: storage_zarr.Template, group: str = "0", **inline: bytes):
    held = inline or template.coordinates
    return storage_zarr.open_group(objects.url, "p", template.documents, held, group)


@pytest.fixture
def memory() -> Objects:
    return open_objects(f"memory://{uuid.uuid4().hex}")


@pytest.fixture
def folder(tmp_path: Path) -> Objects:
    return open_objects(tmp_path / "store")


class Counting:
    """Objects that say what was asked of them."""

    def __init__(self, objects: Objects) -> None:
        self.objects, self.url, self.calls = objects, objects.url, []

    def __getattr__(self, name: str) -> Any:
        def ask(key: str, *more: int) -> Any:
            self.calls.append((name, key, *more))
            return getattr(self.objects, name)(key, *more)

        return ask


@pytest.fixture
def counted(memory: Objects, monkeypatch: pytest.MonkeyPatch) -> Counting:
    counting = Counting(memory)
    monkeypatch.setattr(lazy_arrays, "open_objects", lambda url: counting)
    return counting


# ------------------------------------------------------------------------------- round trips


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(*(st.integers(1, n) for n in (4, 2, 5, 70, 90))),
    st.sampled_from(["u1", "i2", "u2", "i4", "f2", "f4", "f8", "u8", "?"]),
    st.integers(1, 4),
)
def test_what_is_written_comes_back(shape: tuple[int, ...], dtype: str, levels: int) -> None:
    objects = open_objects(f"memory://{uuid.uuid4().hex}")
    ds = a_movie(shape, dtype)
    count = chunking.level_count(ds.sizes, levels)
    template = write(objects, ds, {"image": count})
    expected = ds["image"].values
    for level in range(count):
        found = opened(objects, template, str(level))
        assert found["image"].dtype == ds["image"].dtype
        np.testing.assert_array_equal(found["image"].values, expected)
        expected = chunking.halve(expected, schema.MOVIE_DIMS)
    xr.testing.assert_identical(opened(objects, template).load(), ds)


def test_many_shards_and_edges(memory: Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small shards: planes cut along t, z, y and x, none of which divides its dim."""
    monkeypatch.setattr(chunking, "SHARD_BYTES", 1 << 14)
    monkeypatch.setattr(chunking, "SMALL_SHARD_BYTES", 1 << 14)
    monkeypatch.setattr(chunking, "INNER_BYTES", 1 << 11)
    monkeypatch.setattr(chunking, "PLANE_BYTES", 1 << 12)
    monkeypatch.setattr(chunking, "TILE", 32)
    ds = a_movie((5, 2, 7, 150, 333), "u1")
    template = write(memory, ds, {"image": 3})
    top = template.arrays[0]
    assert top.shard == (1, 1, 1, 128, 128)
    assert top.chunk == (1, 1, 1, 32, 64) or math.prod(top.chunk) >= 1 << 10
    xr.testing.assert_identical(opened(memory, template).load(), ds)
    part = opened(memory, template)["image"]
    np.testing.assert_array_equal(
        part[3, 1, 2:5, 100:149, 64:333], ds["image"][3, 1, 2:5, 100:149, 64:333]
    )


def test_plain_groups_hold_tables(memory: Objects) -> None:
    ds = xr.Dataset(
        {
            "area": (("record", "kind"), RNG.random((5, 2)).astype("f4"), {"units": "um2"}),
            "name": ("record", ["a", "bc", "", "ä", "name with spaces"]),
            "flag": ("record", [True, False, True, True, False]),
            "count": ((), 12),
        },
        coords={"record": [3, 1, 4, 1, 5], "kind": ["x", "yy"], "when": ("record", np.arange(5.0))},
        attrs={"title": "t"},
    )
    template = write(memory, ds)
    found = opened(memory, template, "")
    assert found["name"].dtype.kind == "T"
    assert found["name"].values.tolist() == ds["name"].values.tolist()
    xr.testing.assert_identical(found.drop_vars("name").load(), ds.drop_vars("name"))
    assert pickle.loads(pickle.dumps(found.load()))["name"].values.tolist()[3] == "ä"


@pytest.mark.parametrize("rows", [0, 1], ids=["no-rows", "one-row"])
def test_short_tables(memory: Objects, rows: int) -> None:
    ds = xr.Dataset(
        {"a": ("record", np.zeros(rows)), "b": (("record", "y"), np.ones((rows, 3)))},
        coords={"record": np.arange(rows), "text": ("record", ["x"] * rows)},
    )
    found = opened(memory, write(memory, ds), "").load()
    xr.testing.assert_equal(found.drop_vars("text"), ds.drop_vars("text"))
    assert found["text"].values.tolist() == ["x"] * rows


def test_coordinates_and_attributes_are_exact(memory: Objects) -> None:
    ds = a_movie().assign_coords(
        t=("t", [0.1, 29.99999999999999], {"units": "s", "spacing": np.float32(29.5)}),
        place="well A1",
        depth=np.float32(0.1),
        grid=(("y", "x"), RNG.random((130, 300))),
    )
    ds["image"].attrs |= {
        "a": np.int64(3),
        "b": np.array([1.5, 2]),
        "c": (1, "x"),
        "d": {"e": None},
    }
    ds.attrs = {"über": ["ü"], "flag": np.True_, "n": np.uint8(7)}
    found = opened(memory, write(memory, ds, {"image": 1}))
    for name in ds.coords:
        np.testing.assert_array_equal(found[name], ds[name], strict=True)
    assert found["t"].attrs == {"units": "s", "spacing": 29.5}
    assert found.attrs == {"über": ["ü"], "flag": True, "n": 7}
    described = {"a": 3, "b": [1.5, 2.0], "c": [1, "x"], "d": {"e": None}}
    assert {key: found["image"].attrs[key] for key in described} == described


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        np.array([1, np.inf]),
        np.datetime64("2020-01-01", "ns"),
        b"x",
        1 + 2j,
        {1, 2},
        object(),
        {"deep": [{"nan": float("nan")}]},
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("where", ["dataset", "image", "t"])
def test_attributes_that_json_cannot_hold(value: Any, where: str) -> None:
    ds = a_movie()
    (ds if where == "dataset" else ds[where]).attrs["a"] = value
    with pytest.raises(SchemaError, match=f"attributes of {where}: JSON cannot hold"):
        storage_zarr.describe(ds, levels={"image": 1})


@pytest.mark.parametrize(
    ("ds", "message"),
    [
        (xr.Dataset({"a/b": ("r", [1])}), "variable 'a/b': a name must not"),
        (xr.Dataset({"..": ("r", [1])}), "a name must not be empty"),
        (xr.Dataset({"": ("r", [1])}), "a name must not be empty"),
        (xr.Dataset({"v": ("r", [1])}, {"my place": ("r", [1])}), "must hold no space"),
        (xr.Dataset({"v": ("r", np.array([b"x"]))}), "is |S1; expected numbers or text"),
        (xr.Dataset({"v": ("r", np.array([b"x"], "V1"))}), "expected numbers or text"),
        (xr.Dataset({"v": ("r", [1])}, {"k": ("r", np.array([1.5], "O"))}), "coordinate 'k'"),
        (xr.Dataset({"v": ("r", np.zeros(1, "g"))}), "v: cannot be stored as Zarr"),
    ],
    ids=["slash", "dots", "no-name", "space", "bytes", "raw", "objects", "long-double"],
)
def test_what_cannot_come_back_is_refused(ds: xr.Dataset, message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        storage_zarr.describe(ds)


# ------------------------------------------------------------------------------------ layout


def codecs_of(document: dict[str, Any]) -> list[list[dict[str, Any]]]:
    """Return every chain of codecs in an array's metadata: its own and those in shards."""
    chains = [document["codecs"]]
    for codec in chains[0]:
        inside = codec.get("configuration", {})
        chains += [inside[key] for key in ("codecs", "index_codecs") if key in inside]
    return chains


def test_every_chain_ends_in_a_checksum() -> None:
    ds = a_movie().assign(names=("t", ["a", "b"]), n=((), 1.0))
    template = storage_zarr.describe(ds, levels={"image": 2})
    arrays = [d for d in template.documents.values() if d["node_type"] == "array"]
    assert len(arrays) == 2 * 7 + 4  # seven coordinates a level; image twice, names, n
    for document in arrays:
        last = [chain[-1]["name"] for chain in codecs_of(document)]
        assert set(last) <= {"crc32c", "sharding_indexed"}
        assert "crc32c" in last


def by_zarr(ds: xr.Dataset, arrays: tuple[chunking.Array, ...]) -> dict[str, Any]:
    """Lay a Dataset out as Zarr itself does: one array after the other, in a group."""
    memory: dict[str, Any] = {}
    root = zarr.create_group(MemoryStore(memory), attributes={"a": [1, "µ"]})
    root.attrs.update(ds.attrs)
    extra = " ".join(sorted(str(name) for name in ds.coords if name not in ds.dims))
    for name, coordinate in ds.coords.items():
        values, text = np.asarray(coordinate.values), coordinate.dtype.kind in "UT"
        made = root.create_array(
            str(name), shape=values.shape, chunks=values.shape, dtype=str if text else values.dtype,
            compressors=[Crc32cCodec()], dimension_names=coordinate.dims or None,
            attributes=dict(coordinate.attrs), fill_value="" if text else 0,
            config={"write_empty_chunks": True},
        )  # fmt: skip
        made[...] = values.astype(object) if text else values
    for cut in arrays:
        text = cut.dtype == "str"
        squeeze = ZstdCodec(level=1) if text else BloscCodec(
            cname="zstd", clevel=1, shuffle="bitshuffle", blocksize=512 << 10
        )  # fmt: skip
        root.create_array(
            cut.path, shape=cut.shape, chunks=cut.chunk, dtype=str if text else cut.dtype,
            shards=None if cut.chunk == cut.shard else cut.shard,
            compressors=[squeeze, Crc32cCodec()], dimension_names=cut.dims or None,
            attributes=dict(ds[cut.variable].attrs) | ({"coordinates": extra} if extra else {}),
            fill_value="" if text else 0,
        )  # fmt: skip
    return {key: value.to_bytes() for key, value in memory.items()}


def test_documents_and_coordinates_are_those_that_zarr_makes() -> None:
    ds = a_movie(dtype="f4").drop_vars("t").assign_coords(t=np.array([0, 3], "i4"))
    ds = ds.assign(names=("t", ["a", "bö"]), n=((), 1.5), yes=("c", [True, False]))
    ds = ds.assign_coords(flag=("c", [True, False]), small=("c", np.array([1, 2], "u1")))
    template = storage_zarr.describe(ds, attributes={"a": [1, "µ"]})
    theirs = by_zarr(ds, template.arrays)
    documents = {k: json.loads(v) for k, v in theirs.items() if k.endswith("zarr.json")}
    assert template.documents == documents
    assert {k: list(v) for k, v in template.documents.items()} == {
        k: list(v) for k, v in documents.items()
    }
    objects = {k: v for k, v in theirs.items() if k not in documents}
    assert template.coordinates == objects
    assert len(objects) == 9


@pytest.mark.parametrize("name", ["t", "stage", "x", "long"])
@pytest.mark.parametrize("place", [0.0, 0.3, 0.7, 1.0])
def test_a_flipped_bit_in_a_coordinate_is_an_error(name: str, place: float) -> None:
    ds = a_movie().assign_coords(long=("x", [f"{i:09d}" * 9 for i in range(300)]))
    template = storage_zarr.describe(ds)
    key = next(k for k in template.coordinates if k.startswith(f"{name}/c"))
    data = bytearray(template.coordinates[key])
    data[int(place * (len(data) - 1))] ^= 4
    held = template.coordinates | {key: bytes(data)}
    with pytest.raises(DamageError, match=f"p/{name}: an object cannot be decoded"):
        storage_zarr.open_group("memory://none", "p", template.documents, held)


def test_nothing_is_computed_and_the_same_is_described_twice() -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("computed")

    ds = a_movie()
    lazy = ds.assign(image=ds["image"].chunk(t=1, c=1, y=50).reset_coords(drop=True))
    with dask.config.set(scheduler=refuse):
        template = storage_zarr.describe(
            lazy, levels={"image": 2}, attributes={"ome": {"version": "0.5"}}
        )
    assert template == storage_zarr.describe(
        ds, levels={"image": 2}, attributes={"ome": {"version": "0.5"}}
    )
    document = storage_zarr.stored(template.documents["0/image/zarr.json"])
    region = chunking.shards(template.arrays[0], {})[0]
    block = ds["image"].values[region]
    assert storage_zarr.encode(document, region, block) == storage_zarr.encode(
        document, region, block.copy()
    )
    assert storage_zarr.array_document(template.arrays[0], {}) == storage_zarr.array_document(
        template.arrays[0], {}
    )
    assert "2/image/zarr.json" not in template.documents
    assert template.documents["zarr.json"]["attributes"] == {"ome": {"version": "0.5"}}


def test_empty_shards_are_written(memory: Objects) -> None:
    ds = schema.movie(np.zeros((2, 1, 3, 64, 64), "u1"))
    template = write(memory, ds.assign(empty=("t", ["", ""])), {"image": 1})
    keys = {entry.key for entry in memory.list("p/0/image")}
    assert keys == {"p/0/image/c/0/0/0/0/0"}
    assert memory.exists("p/0/empty/c/0")
    assert (opened(memory, template)["image"].values == 0).all()


def test_large_coordinates_are_compressed() -> None:
    long = xr.Dataset(
        {"v": ("r", np.zeros(20000))}, {"r": np.arange(20000.0), "s": ("r", ["ab"] * 20000)}
    )
    template = storage_zarr.describe(long)
    assert len(template.coordinates["r/c/0"]) < 80_000
    assert len(template.coordinates["s/c/0"]) < 20_000
    found = storage_zarr.open_group("memory://none", "p", template.documents, template.coordinates)
    np.testing.assert_array_equal(found["r"], long["r"])
    assert found["s"].values[-1] == "ab"


# ----------------------------------------------------------------------------------- writing


def test_what_lies_there_is_kept_if_it_is_the_same_and_never_touched_once_sealed(
    memory: Objects,
) -> None:
    ds = a_movie()
    template = write(memory, ds, {"image": 1})
    array, document = (
        template.arrays[0],
        storage_zarr.stored(template.documents["0/image/zarr.json"]),
    )
    region = chunking.shards(array, {})[0]
    given = (memory, "p", array, document, region)
    block = ds["image"].values[region]
    (first,) = storage_zarr.write_region(*given, block, "p.json")
    assert (first.sha256, memory.head(first.key).size) == (
        hashlib.sha256(memory.read(first.key)).hexdigest(),
        first.size,
    )
    memory.put(first.key, memory.read(first.key)[:-9])  # as an interrupted copy leaves it
    assert storage_zarr.write_region(*given, block, "p.json") == [first]
    (other,) = storage_zarr.write_region(*given, block + 1, "p.json")
    assert other.sha256 != first.sha256
    memory.put("p.json", b"sealed")
    assert storage_zarr.write_region(*given, block + 1, "p.json") == [other]
    with pytest.raises(storage_zarr.SealedError, match=r"p\.json: sealed by another run"):
        storage_zarr.write_region(*given, block, "p.json")
    assert hashlib.sha256(memory.read(first.key)).hexdigest() == other.sha256


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda block: block[:, :, :1], r"expected uint16 \(2, 1, 3, 130, 300\)"),
        (lambda block: block[..., 0], r"expected uint16 \(2, 1, 3, 130, 300\)"),
        (lambda block: block.astype("f4"), "a block is float32 .*; expected uint16"),
        (lambda block: block.astype("i4"), "a block is int32 .*; expected uint16"),
        (lambda block: block.astype(str), "a block is <U5 .*; expected uint16"),
    ],
    ids=["smaller", "fewer-dims", "float", "wider", "text"],
)
@pytest.mark.parametrize("sharded", [True, False])
def test_blocks_unlike_their_promise(
    memory: Objects, change: Callable[[Any], Any], message: str, sharded: bool
) -> None:
    ds = a_movie()
    array = storage_zarr.describe(ds, levels={"image": 1}).arrays[0]
    chunk = (1, 1, 1, 130, 300) if sharded else array.shard
    array = chunking.Array(**(vars(array) | {"chunk": chunk}))
    region = chunking.shards(array, {})[0]
    block = change(ds["image"].values[region])
    document = storage_zarr.array_document(array, {})
    with pytest.raises(SchemaError, match=message):
        storage_zarr.write_region(memory, "p", array, document, region, block, "p.json")
    assert list(memory.list()) == []


def test_blocks_that_fit_exactly_are_taken(memory: Objects) -> None:
    ds = a_movie()
    array = storage_zarr.describe(ds, levels={"image": 1}).arrays[0]
    region, document = chunking.shards(array, {})[0], storage_zarr.array_document(array, {})
    block = ds["image"].values[region]
    expected = storage_zarr.encode(document, region, block)
    for same in (block.astype("u1"), block.astype(">u2"), np.asfortranarray(block)):
        assert storage_zarr.encode(document, region, same) == expected


def test_text_must_be_text() -> None:
    array = chunking.Array("v", "v", 0, ("r",), (2,), (2,), (2,), "str")
    document, region = storage_zarr.array_document(array, {}), (slice(0, 2),)
    texts = [np.array(["a", "b"], kind) for kind in ("U1", "O", np.dtypes.StringDType())]
    assert len({tuple(storage_zarr.encode(document, region, text).items()) for text in texts}) == 1
    for wrong in (np.array(["a", 1], "O"), np.array([1, 2]), np.array(["a", None], "O")):
        with pytest.raises(SchemaError, match="expected text"):
            storage_zarr.encode(document, region, wrong)


def test_a_region_of_half_a_shard_is_refused(memory: Objects) -> None:
    ds = a_movie()
    template = storage_zarr.describe(ds, levels={"image": 1})
    array, document = (
        template.arrays[0],
        storage_zarr.stored(template.documents["0/image/zarr.json"]),
    )
    region = (slice(0, 1), *(slice(0, n) for n in array.shape[1:]))
    with pytest.raises(SchemaError, match="is not whole shards of 2"):
        storage_zarr.write_region(
            memory, "p", array, document, region, ds["image"].values[region], "p.json"
        )


# ----------------------------------------------------------------------------------- damage


KEY = "p/0/image/c/0/1/0/0/0"


@pytest.fixture
def part(memory: Objects) -> tuple[Objects, storage_zarr.Template, xr.Dataset]:
    ds = a_movie().assign(small=("t", [3.0, 4.0]), names=("t", ["one", "two"]))
    ds = ds.assign_coords(late=("t", [1.5, 2.5]))
    return memory, write(memory, ds, {"image": 1}), ds


@pytest.mark.parametrize(
    ("name", "key"),
    [("image", KEY), ("small", "p/0/small/c/0"), ("names", "p/0/names/c/0"), ("t", "p/0/t/c/0")],
)
class TestDamage:
    """Each kind of array: shards, one chunk, text, a coordinate that the seal does not hold."""

    def opened(self, part: Any, name: str) -> xr.Dataset:
        objects, template, _ = part
        held = {k: v for k, v in template.coordinates.items() if not k.startswith(f"0/{name}/")}
        return storage_zarr.open_group(objects.url, "p", template.documents, held, "0")

    def read(self, part: Any, name: str) -> np.ndarray:
        return self.opened(part, name)[name].values

    def test_missing(self, part: Any, name: str, key: str) -> None:
        part[0].delete(key)
        with pytest.raises(DamageError, match="an object is missing; run dpipe verify"):
            self.read(part, name)

    @pytest.mark.parametrize("size", [0, 1, 3, 0.5, -1, -5])
    def test_truncated(self, part: Any, name: str, key: str, size: float) -> None:
        objects = part[0]
        data = objects.read(key)
        objects.put(key, data[: int(len(data) * size) if isinstance(size, float) else size])
        with pytest.raises(DamageError, match=r"cannot be decoded \(.*\); run dpipe verify"):
            self.read(part, name)

    def test_longer(self, part: Any, name: str, key: str) -> None:
        part[0].put(key, part[0].read(key) + b"\0\0\0\0")
        with pytest.raises(DamageError, match="cannot be decoded"):
            self.read(part, name)

    def test_flipped_bits_are_never_silent(self, part: Any, name: str, key: str) -> None:
        objects, _, ds = part
        data = objects.read(key)
        for place in np.random.default_rng(5).integers(0, 8 * len(data), 60):
            flipped = bytearray(data)
            flipped[place // 8] ^= 1 << (place % 8)
            objects.put(key, bytes(flipped))
            with pytest.raises(DamageError, match="cannot be decoded"):
                self.read(part, name)
        objects.put(key, data)
        assert self.read(part, name).tolist() == ds[name].values.tolist()


def test_a_missing_object_in_a_part_of_an_image(part: Any) -> None:
    """Reading a few pixels asks for the shard's index first; other shards are not touched."""
    objects, template, ds = part
    objects.delete(KEY)
    image = opened(objects, template)["image"]
    assert int(image[0, 0, 0, 0, 0]) == int(ds["image"][0, 0, 0, 0, 0])
    for wrong in (image[0, 1, 0, 0, 0], image.mean(), image.isel(c=1, z=2) * 2):
        with pytest.raises(DamageError, match="an object is missing"):
            wrong.compute()


IN_ANOTHER_PROCESS = """
import pickle, sys
from dpipe.errors import DamageError
ds = pickle.load(open(sys.argv[1], "rb"))
try:
    print("read", int(ds["image"].sum()))
except DamageError as error:
    print("DamageError", error)
"""


def test_damage_is_known_in_another_process(folder: Objects, tmp_path: Path) -> None:
    ds = a_movie()
    template = write(folder, ds, {"image": 1})
    file = tmp_path / "dataset.pickle"
    file.write_bytes(pickle.dumps(opened(folder, template)))

    def elsewhere() -> str:
        command = [sys.executable, "-c", IN_ANOTHER_PROCESS, str(file)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert elsewhere() == f"read {int(ds['image'].sum())}\n"
    folder.delete(KEY)
    assert elsewhere().startswith("DamageError")


def test_what_others_set_in_zarr_does_not_matter(part: Any) -> None:
    """Its configuration is one for all threads; the race between them made zeros of a hole."""
    objects, template, _ = part
    objects.delete(KEY)
    lazy_arrays._open.cache_clear()
    with zarr.config.set({"array.read_missing_chunks": True}):
        image = opened(objects, template)["image"]
    with zarr.config.set({"array.read_missing_chunks": True}), pytest.raises(DamageError):
        image.compute()


def test_opening_leaves_zarr_as_it_was(part: Any) -> None:
    before = zarr.config.get("codec_pipeline"), zarr.config.get("threading")
    opened(part[0], part[1])["image"].compute()
    assert (zarr.config.get("codec_pipeline"), zarr.config.get("threading")) == before


# --------------------------------------------------------------------------------- requests


def test_opening_asks_for_nothing(counted: Counting) -> None:
    template = write(counted.objects, a_movie(), {"image": 2})
    for group in ("0", "1"):
        ds = opened(counted, template, group)
        assert {"t", "c", "z", "y", "x", "stage", "run"} == set(ds.coords)
        assert ds["image"].chunks is not None
        assert ds.nbytes > 0
        assert ds.isel(t=0).sizes["x"] in (300, 150)
        assert "image" in repr(ds)
    assert counted.calls == []


@pytest.mark.parametrize(
    "shape",
    [(2, 2, 3, 130, 300), (101, 1, 1, 200, 300), (5, 1, 7, 150, 333)],
    ids=["movie", "last-shard-of-few-frames", "odd"],
)
def test_a_shard_is_one_request(
    counted: Counting, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...]
) -> None:
    if shape[0] == 5:  # many small shards, none of which divides its dim
        for name in ("SHARD_BYTES", "SMALL_SHARD_BYTES"):
            monkeypatch.setattr(chunking, name, 1 << 15)
        monkeypatch.setattr(chunking, "INNER_BYTES", 1 << 11)
        monkeypatch.setattr(chunking, "PLANE_BYTES", 1 << 12)
        monkeypatch.setattr(chunking, "TILE", 32)
    ds = a_movie(shape, "u1")
    template = write(counted.objects, ds, {"image": 1})
    image = opened(counted, template)["image"]
    regions = sizes.block_regions(image)
    assert len(regions) == len(chunking.shards(template.arrays[0], {}))
    for region in regions:
        counted.calls.clear()
        np.testing.assert_array_equal(image[region].values, ds["image"].values[region])
        assert [call[0] for call in counted.calls] == ["read"]
    counted.calls.clear()
    np.testing.assert_array_equal(image.compute(scheduler="sync"), ds["image"])
    assert sorted(counted.calls) == sorted(set(counted.calls))
    assert len(counted.calls) == len(regions)


def test_a_few_pixels_do_not_read_a_shard(counted: Counting) -> None:
    ds = a_movie((1, 1, 12, 300, 500), "u2")  # 3.4 MiB, 12 chunks of one plane
    template = write(counted.objects, ds, {"image": 1})
    found = blocks.compute_region(opened(counted, template), ["image"], {"z": slice(5, 6)})
    np.testing.assert_array_equal(found["image"], ds["image"].values[:, :, 5:6])
    assert [call[0] for call in counted.calls] == ["size", "read_range", "read_range"]
    index, chunk = (call[3] - call[2] for call in counted.calls[1:])
    assert index == 12 * 16 + 4
    assert chunk < 300 * 500 * 2


def test_a_lazy_dataset_travels_small_and_without_secrets(
    folder: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-secret-of-this-test")
    template = write(folder, a_movie((2, 2, 3, 130, 300)), {"image": 2})
    for url in (folder.url, "s3://bucket/prefix", "anon+s3://bucket/prefix"):
        ds = storage_zarr.open_group(url, "p", template.documents, template.coordinates, "0")
        data = pickle.dumps(ds)
        assert len(data) < 20_000
        assert b"canary" not in data
        assert b"canary" not in repr(ds.__dask_graph__()).encode()
        assert pickle.loads(data)["image"].shape == (2, 2, 3, 130, 300)


def test_two_threads_read_at_the_same_time(
    counted: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each waits inside its request for the other: one after the other would time out."""
    ds = a_movie()
    template = write(counted.objects, ds, {"image": 1})
    both = threading.Barrier(2)

    class Meeting(Counting):
        def read(self, key: str) -> bytes:
            both.wait(timeout=20)
            return self.objects.read(key)

    meeting = Meeting(counted.objects)
    monkeypatch.setattr(lazy_arrays, "open_objects", lambda url: meeting)
    lazy_arrays._open.cache_clear()
    image = opened(counted, template)["image"]
    found = image.compute(scheduler="threads", num_workers=2)
    np.testing.assert_array_equal(found, ds["image"])


def test_arrays_opened_in_many_threads_know_damage(memory: Objects) -> None:
    """Opened at once while another thread changes Zarr's configuration all the time."""
    ds = a_movie((1, 1, 1, 8, 8))
    template = write(memory, ds, {"image": 1})
    memory.delete("p/0/image/c/0/0/0/0/0")
    stop, found = threading.Event(), []

    def toggle() -> None:
        while not stop.is_set():
            with zarr.config.set({"array.read_missing_chunks": True}):
                pass

    def read(i: int) -> None:
        lazy_arrays._open.cache_clear()
        try:
            opened(memory, template)["image"].compute(scheduler="sync")
            found.append("read")
        except DamageError:
            found.append("damage")

    toggling = threading.Thread(target=toggle)
    toggling.start()
    readers = [threading.Thread(target=read, args=(i,)) for i in range(20)]
    for thread in readers:
        thread.start()
    for thread in readers:
        thread.join()
    stop.set()
    toggling.join()
    assert found == ["damage"] * 20


# ----------------------------------------------------------------------------- sealed store


def test_a_sealed_store_is_read_only(part: Any) -> None:
    objects, template, ds = part
    document = storage_zarr.stored(template.documents["0/image/zarr.json"])
    place = lazy_arrays.Sealed(objects, "p/0/image", {"zarr.json": document})
    array = zarr.open_array(place, mode="r", zarr_format=3)
    np.testing.assert_array_equal(array[...], ds["image"])
    with pytest.raises(ValueError, match="read-only"):
        array[...] = 0
    key = "c/0/1/0/0/0"
    data = objects.read(KEY)
    requests = {
        None: data,
        RangeByteRequest(3, 9): data[3:9],
        OffsetByteRequest(7): data[7:],
        SuffixByteRequest(4): data[-4:],
        SuffixByteRequest(1 << 40): data,
    }
    for request, expected in requests.items():
        assert place.get_sync(key, byte_range=request).to_bytes() == expected
    assert place.get_sync("c/9") is None
    assert place.get_sync(".zattrs") is None


def test_zarr_opens_what_lies_in_a_folder(folder: Objects) -> None:
    """Others need nothing of ours: Zarr's own store and xarray read the same values."""
    ds = a_movie()
    template = write(folder, ds, {"image": 2})
    for key, document in template.documents.items():
        folder.put(f"p/{key}", storage_zarr.stored(document))
    for level in ("0", "1"):
        theirs = xr.open_zarr(f"{folder.url}/p", group=level, zarr_format=3, consolidated=False)
        xr.testing.assert_identical(theirs.load(), opened(folder, template, level).load())


@pytest.mark.parametrize(
    ("block", "wanted", "fits"),
    [
        ("u1", "u2", True),
        ("u1", "i2", True),
        ("u2", "f4", True),
        ("f4", "f8", True),
        ("?", "u1", True),
        (">u2", "<u2", True),
        ("u2", "u1", False),
        ("i8", "i4", False),
        ("i4", "f4", False),
        ("u1", "i1", False),
        ("i2", "u4", False),
        ("f8", "f4", False),
        ("f4", "i8", False),
        ("u1", "?", False),
    ],
)
def test_values_are_widened_and_never_narrowed(block: str, wanted: str, fits: bool) -> None:
    """Not even where the values at hand would fit: the next block may hold others."""
    values = np.array([0, 1, 1], block)
    if fits:
        found = storage_zarr.fitted(values, np.dtype(wanted), (3,))
        assert found.dtype == wanted
        np.testing.assert_array_equal(found, values)
    else:
        with pytest.raises(SchemaError, match=r"a block is .*; expected .* \(3,\): the lazy array"):
            storage_zarr.fitted(values, np.dtype(wanted), (3,))
    with pytest.raises(SchemaError, match="promised another dtype or shape"):
        storage_zarr.fitted(values, np.dtype(block), (1, 3))


@pytest.mark.parametrize(("count", "compressed"), [(8192, False), (8193, True)])
def test_coordinates_of_up_to_64_kib_are_not_compressed(count: int, compressed: bool) -> None:
    ds = xr.Dataset(coords={"i": np.arange(count, dtype="f8")})  # eight bytes each
    found = storage_zarr.describe(ds)
    names = [codec["name"] for codec in found.documents["i/zarr.json"]["codecs"]]
    assert ("blosc" in names) == compressed
    assert (len(found.coordinates["i/c/0"]) < 8 * count) == compressed
