"""Containers of others: read without trust; and those that others shall read."""

import gzip
import json
import os
import pickle
import uuid
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
import xarray as xr
import zarr
from zarr import codecs

from dpipe import schema
from dpipe.errors import InputError, StoreError
from dpipe.formats import containers
from dpipe.metadata import ngff
from dpipe.storage import chunking, open_objects

VALUES = np.arange(5 * 7, dtype="u2").reshape(5, 7) + 1


def lazily(folder: Path, path: str = "a", **options: Any) -> np.ndarray:
    array = containers.lazy_array(str(folder), path, **options)
    return np.asarray(array.compute(scheduler="sync"))


# ----------------------------------------------------------------------------------- reading


V3 = {
    "plain": {"chunks": (2, 3), "compressors": None},
    "blosc": {"chunks": (2, 3), "compressors": codecs.BloscCodec()},
    "gzip": {"chunks": (2, 3), "compressors": codecs.GzipCodec()},
    "zstd-crc": {"chunks": (2, 3), "compressors": [codecs.ZstdCodec(), codecs.Crc32cCodec()]},
    "turned": {"chunks": (2, 3), "filters": codecs.TransposeCodec(order=(1, 0))},
    "sharded": {"chunks": (1, 2), "shards": (2, 4)},
    "one-chunk": {"chunks": (5, 7)},
}
V2 = {
    "plain": {"compressors": None},
    "blosc": {"compressors": numcodecs.Blosc()},
    "zlib": {"compressors": numcodecs.Zlib()},
    "lz4": {"compressors": numcodecs.LZ4()},
    "delta": {"filters": numcodecs.Delta("u2"), "compressors": numcodecs.Zstd()},
    "fortran": {"order": "F"},
    "nested": {"chunk_key_encoding": {"name": "v2", "separator": "/"}},
}


@pytest.mark.parametrize("case", V3)
def test_arrays_of_format_3(tmp_path: Path, case: str) -> None:
    array = zarr.create_array(tmp_path, name="a", shape=(5, 7), dtype="u2", **V3[case])
    array[...] = VALUES
    found = containers.lazy_array(str(tmp_path), "/a/")
    cut = V3[case].get("shards") or V3[case]["chunks"]
    assert (found.chunksize, found.dtype) == (cut, VALUES.dtype)
    np.testing.assert_array_equal(found.compute(scheduler="sync"), VALUES)
    np.testing.assert_array_equal(found[3:, 1:6].compute(scheduler="sync"), VALUES[3:, 1:6])
    again = pickle.loads(pickle.dumps(found))
    np.testing.assert_array_equal(again.compute(scheduler="sync"), VALUES)


@pytest.mark.parametrize("case", V2)
def test_arrays_of_format_2(tmp_path: Path, case: str) -> None:
    array = zarr.create_array(
        tmp_path, name="a", shape=(5, 7), dtype="u2", chunks=(2, 3), zarr_format=2, **V2[case]
    )
    array[...] = VALUES
    np.testing.assert_array_equal(lazily(tmp_path), VALUES)


# -------------------------------------------------------------------------- missing chunks


KEYS: dict[str, dict[str, Any]] = {
    "2, dots": {"zarr_format": 2},
    "2, slashes": {"zarr_format": 2, "chunk_key_encoding": {"name": "v2", "separator": "/"}},
    "3": {},
    "3, dots": {"chunk_key_encoding": {"name": "default", "separator": "."}},
    "3, as 2": {"chunk_key_encoding": {"name": "v2", "separator": "."}},
}
NAMES = {
    "2, dots": ["0.1", "1.0", "1.1"],
    "2, slashes": ["0/1", "1/0", "1/1"],
    "3": ["c/0/1", "c/1/0", "c/1/1"],
    "3, dots": ["c.0.1", "c.1.0", "c.1.1"],
    "3, as 2": ["0.1", "1.0", "1.1"],
}


@pytest.mark.parametrize("case", KEYS)
def test_missing_chunks_are_counted_and_refused(tmp_path: Path, case: str) -> None:
    array = zarr.create_array(
        tmp_path, name="a", shape=(4, 3), dtype="i4", chunks=(2, 2), fill_value=-7, **KEYS[case]
    )
    array[:2, :2] = 5
    (tmp_path / "a" / "notes.txt").write_text("no chunk")
    (tmp_path / "a" / "7.7").write_text("beyond the array")
    gone = containers.missing_chunks(str(tmp_path), "a")
    assert gone.startswith(f"3 of 4 chunks not there: {', '.join(NAMES[case])}; ")
    assert gone.endswith("option fill_missing=true")
    assert lazily(tmp_path, fill_missing=True).tolist() == [[5, 5, -7]] * 2 + [[-7] * 3] * 2
    with pytest.raises(InputError, match=r"/a: 1 chunk not there: .*; .* option fill_missing=true"):
        lazily(tmp_path)
    array[...] = 1
    assert containers.missing_chunks(str(tmp_path), "a") == ""
    assert lazily(tmp_path).tolist() == [[1] * 3] * 4


@pytest.mark.parametrize(
    "said",
    [{}, {"index_location": "start"}, {"index_codecs": [codecs.BytesCodec(endian="big")]}],
    ids=["end", "start", "big-endian"],
)
def test_chunks_that_a_shard_lacks(tmp_path: Path, said: dict[str, Any]) -> None:
    sharding = codecs.ShardingCodec(chunk_shape=(1, 2), **said)
    array = zarr.create_array(
        tmp_path, name="a", shape=(5, 7), dtype="u2", chunks=(2, 4), serializer=sharding,
        compressors=None, fill_value=9,
    )  # fmt: skip
    array[...] = VALUES
    assert containers.missing_chunks(str(tmp_path), "a") == ""
    np.testing.assert_array_equal(lazily(tmp_path), VALUES)
    array[0, 2:4] = 9  # the second chunk of the first shard holds nothing but the fill value
    expected = VALUES.copy()
    expected[0, 2:4] = 9
    # 5 rows of 4 chunks, of which the last is half outside
    assert containers.missing_chunks(str(tmp_path), "a").startswith(
        "1 of 20 chunks not there: c/0/0[0, 1]; "
    )
    with pytest.raises(InputError, match=r"/a: 1 chunk not there: c/0/0\[0, 1\]; "):
        lazily(tmp_path)
    found = containers.lazy_array(str(tmp_path), "a")
    np.testing.assert_array_equal(found[2:].compute(scheduler="sync"), expected[2:])
    np.testing.assert_array_equal(lazily(tmp_path, fill_missing=True), expected)
    (tmp_path / "a" / "c" / "2" / "1").unlink()  # the last: one row of two chunks lies inside
    assert containers.missing_chunks(str(tmp_path), "a").startswith(
        "3 of 20 chunks not there: c/2/1, c/0/0[0, 1]; "
    )


def test_shards_of_a_bucket_are_asked_many_at_a_time(tmp_path: Path) -> None:
    array = zarr.create_array(
        tmp_path, name="a", shape=(40, 4), dtype="u2", chunks=(1, 2), shards=(2, 4)
    )
    array[...] = 7
    array[1::8, 2:] = 0  # of every fourth shard the last chunk
    place = open_objects(f"memory://{uuid.uuid4().hex}")
    for file in tmp_path.rglob("*"):
        if file.is_file():
            place.put(str(file.relative_to(tmp_path)), file.read_bytes())
    assert containers.missing_chunks(place.url, "a").startswith(
        "5 of 80 chunks not there: c/0/0[1, 1], c/4/0[1, 1], c/8/0[1, 1], c/12/0[1, 1], c/16/0["
    )


def test_shards_that_were_cut_off(tmp_path: Path) -> None:
    array = zarr.create_array(
        tmp_path, name="a", shape=(4, 4), dtype="u2", chunks=(1, 2), shards=(2, 4)
    )
    array[...] = 7
    file = tmp_path / "a" / "c" / "0" / "0"
    file.write_bytes(file.read_bytes()[:20])
    assert containers.missing_chunks(str(tmp_path), "a") == ""
    with pytest.raises(InputError, match="an object cannot be decoded"):
        lazily(tmp_path)


def test_an_array_of_no_dims(tmp_path: Path) -> None:
    for zarr_format in (2, 3):
        name = f"a{zarr_format}"
        zarr.create_array(tmp_path, name=name, shape=(), dtype="u2", zarr_format=zarr_format)
        gone = containers.missing_chunks(str(tmp_path), name)
        assert gone.startswith("1 of 1 chunk not there: ")
        zarr.open_array(tmp_path / name)[...] = 3
        assert containers.missing_chunks(str(tmp_path), name) == ""


def test_a_bucket_that_nobody_may_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing is found on reading then."""
    zarr.create_array(tmp_path, name="a", shape=(4,), dtype="u2", chunks=(2,))

    def refuse(*_: Any) -> Any:
        raise StoreError("s3://b: access denied")

    monkeypatch.setattr(type(open_objects(tmp_path)), "list", refuse)
    assert containers.missing_chunks(str(tmp_path), "a") == ""
    told = containers.missing_chunks(str(tmp_path), "a", fill_missing=True)
    assert told == "nobody can count the chunks that are not there (s3://b: access denied)"
    with pytest.raises(InputError, match=r"1 chunk not there: c/[01]"):
        lazily(tmp_path)


def test_chunks_beyond_counting(tmp_path: Path) -> None:
    (tmp_path / "zarr.json").write_text(json.dumps(v3("bytes", shape=[10**12])))
    with pytest.raises(InputError, match="500000000000 chunks or shards; at most 10000000 are"):
        containers.lazy_array(str(tmp_path), "")


def test_big_endian_and_root_arrays(tmp_path: Path) -> None:
    zarr.save_array(tmp_path / "a", VALUES.astype(">u2"), zarr_format=2)
    np.testing.assert_array_equal(lazily(tmp_path / "a", ""), VALUES)


@pytest.mark.parametrize("place", ["memory", "s3"])
def test_containers_in_other_places(request: pytest.FixtureRequest, place: str) -> None:
    url = f"memory://{uuid.uuid4().hex}/x.zarr"
    if place == "s3":
        url = request.getfixturevalue("bucket") + "/x.zarr"
    ds = xr.DataArray(VALUES, dims=("y", "x"), name="image")
    containers.write_tree(url, {"": {"a": 1}, "sub": {"b": [2]}}, [("sub", ds, 1)])
    assert containers.read_attributes(url) == {"a": 1}
    assert containers.read_attributes(url, "/sub/") == {"b": [2]}
    found = containers.lazy_array(url, "sub/0").compute(scheduler="sync")
    np.testing.assert_array_equal(found, VALUES)


# ------------------------------------------------------------------------------------- trust


DEEP = "[" * 100_000 + "]" * 100_000


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"attributes": ' + DEEP + "}", "100001 brackets inside each other; at most 64 are read"),
        ("[" * 100_000, "100000 brackets inside each other"),
        ('{"a": ' * 70 + "1" + "}" * 70, "70 brackets inside each other"),
        ('{"\\"": ' + "[" * 99 + '"', "100 brackets"),
        ('"' + '\\"' * 200_000, "no JSON"),
        ("{" + '"' * 200_001, "no JSON"),
        ('{"a": 1' + "0" * 5000 + "}", "no JSON"),
        ('{"attributes": {"a": "' + "[" * 1000 + '"}}', None),
        ('{"attributes": {"a": "' + '\\"[' * 1000 + '"}}', None),
    ],
    ids=["deep", "open", "objects", "quoted", "escapes", "quotes", "digits", "text", "text 2"],
)
@pytest.mark.parametrize("name", ["zarr.json", ".zattrs"])
def test_json_is_bounded(tmp_path: Path, name: str, text: str, says: str | None) -> None:
    (tmp_path / name).write_text(text)
    if says is None:
        assert containers.read_attributes(str(tmp_path))
        return
    with pytest.raises(InputError, match=says) as caught:
        containers.read_attributes(str(tmp_path))
    assert len(str(caught.value)) < 300 + len(str(tmp_path))


@pytest.mark.parametrize("name", ["zarr.json", ".zarray", ".zattrs"])
@pytest.mark.parametrize("kind", ["zero", "pipe", "large"])
def test_what_is_no_document_is_not_read(tmp_path: Path, name: str, kind: str) -> None:
    if kind == "zero":
        (tmp_path / name).symlink_to("/dev/zero")
    elif kind == "pipe":
        os.mkfifo(tmp_path / name)
    else:
        (tmp_path / name).touch()
        os.truncate(tmp_path / name, 1 << 40)
    says = "larger than 16777216 bytes" if kind == "large" else "a device or a pipe, no file"

    def read() -> None:
        if name == ".zarray":
            containers.lazy_array(str(tmp_path), "")
        else:
            containers.read_attributes(str(tmp_path))

    with pytest.raises(InputError, match=f"its metadata are damaged: {name} is {says}"):
        read()


@pytest.mark.parametrize("kind", ["zero", "pipe", "large"])
@pytest.mark.parametrize("shards", [None, (4,)])
def test_what_is_no_chunk_is_not_read(tmp_path: Path, kind: str, shards: Any) -> None:
    array = zarr.create_array(
        tmp_path, name="a", shape=(4,), dtype="u2", chunks=(2,), shards=shards
    )
    array[...] = 7
    file = tmp_path / "a" / "c" / "0"
    file.unlink()
    if kind == "zero":
        file.symlink_to("/dev/zero")
    elif kind == "pipe":
        os.mkfifo(file)
    else:
        file.touch()
        os.truncate(file, 1 << 40)
    with pytest.raises(InputError, match=r"c/0 is (a device or a pipe|larger than)|cannot be dec"):
        lazily(tmp_path)


PACKERS = {
    "gzip": (3, codecs.GzipCodec(), gzip.compress),
    "zstd": (3, codecs.ZstdCodec(checksum=True), numcodecs.Zstd(1).encode),
    "blosc": (3, codecs.BloscCodec(), numcodecs.Blosc().encode),
    "lz4 of format 2": (2, numcodecs.LZ4(), numcodecs.LZ4().encode),
    "blosc of format 2": (2, numcodecs.Blosc(), numcodecs.Blosc("zlib").encode),
    "gzip of format 2": (2, numcodecs.GZip(), numcodecs.GZip().encode),
}


@pytest.mark.parametrize("form", PACKERS)
def test_a_chunk_that_says_it_is_far_too_large_is_not_unpacked(tmp_path: Path, form: str) -> None:
    number, codec, pack = PACKERS[form]
    array = zarr.create_array(
        tmp_path, name="a", shape=(4,), dtype="u2", chunks=(4,), compressors=codec,
        zarr_format=number, fill_value=0,
    )  # fmt: skip
    array[...] = 7
    assert lazily(tmp_path).tolist() == [7] * 4
    file = tmp_path / "a" / ("c/0" if number == 3 else "0")
    file.write_bytes(pack(bytes(40 << 20)))
    with pytest.raises(InputError) as told:
        lazily(tmp_path)
    said = f"0: an object cannot be decoded (it says that it takes {40 << 20} bytes unpacked; "
    assert str(told.value).startswith(f"{tmp_path}: ")
    assert said in str(told.value)
    for data in (b"", b"\0", b"\x28\xb5\x2f\xfd"):
        file.write_bytes(data)
        with pytest.raises(InputError, match="cannot be decoded"):
            lazily(tmp_path)


def v2(**said: Any) -> dict[str, Any]:
    plain = {"zarr_format": 2, "shape": [2], "chunks": [2], "dtype": "|O", "fill_value": None}
    return plain | {"order": "C", "compressor": None, "filters": None} | said


def v3(*chain: Any, **said: Any) -> dict[str, Any]:
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [2],
        "data_type": "uint8",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [2]}},
        "chunk_key_encoding": {"name": "default"},
        "fill_value": 0,
        "codecs": list(chain),
    } | said


PICKLE = {"id": "pickle", "protocol": 5}
SHARDED = {
    "name": "sharding_indexed",
    "configuration": {"chunk_shape": [1], "codecs": [{"name": "evil"}], "index_codecs": ["bytes"]},
}


@pytest.mark.parametrize(
    ("name", "document", "codec"),
    [
        (".zarray", v2(filters=[PICKLE]), "pickle"),
        (".zarray", v2(compressor=PICKLE), "pickle"),
        (".zarray", v2(filters=[PICKLE | {"name": "blosc"}]), "pickle"),
        (".zarray", v2(filters=PICKLE), "pickle"),
        (".zarray", v2(compressor={"level": 1}), "None"),
        ("zarr.json", v2(filters=[PICKLE]), "pickle"),
        ("zarr.json", v3("bytes", {"name": "evil", "id": "blosc"}), "evil"),
        ("zarr.json", v3("bytes", "numcodecs.pickle"), "numcodecs.pickle"),
        ("zarr.json", v3(SHARDED), "evil"),
        ("zarr.json", v3(SHARDED | {"configuration": {"codecs": SHARDED}}), "evil"),
        ("zarr.json", v3("bytes", 5), "5"),
    ],
    ids=lambda value: None if isinstance(value, dict) else str(value),
)  # fmt: skip
def test_unknown_codecs_are_not_run(
    tmp_path: Path, name: str, document: dict[str, Any], codec: str
) -> None:
    (tmp_path / name).write_text(json.dumps(document))
    message = rf"codec {codec} is not run on foreign files"
    with pytest.raises(InputError, match=message):
        containers.lazy_array(str(tmp_path), "")


BROKEN = [
    *("", "{", "[]", "3", "null", "{}", "\xff\xfe", '{"zarr_format": 3}', '{"zarr_format": 9}'),
    *map(
        json.dumps,
        (
            v3(),
            v3("blosc", "bytes"),
            v3("bytes", node_type="group"),
            v3("bytes", data_type="quark"),
            v3("bytes", shape="x"),
            v3("bytes", shape=[-1]),
            v3("bytes", shape=[2, 2]),
            v3("bytes", chunk_grid=None),
            v3("bytes", storage_transformers=[{"name": "x"}]),
        ),
    ),
]


@pytest.mark.parametrize("text", BROKEN)
@pytest.mark.parametrize("name", ["zarr.json", ".zarray"])
def test_metadata_that_break_the_rules(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match="array '/': its metadata are damaged: ") as caught:
        containers.lazy_array(str(tmp_path), "")
    assert "\n" not in str(caught.value)


def test_metadata_of_format_2_that_break_the_rules(tmp_path: Path) -> None:
    for wrong in ({"dtype": "quark"}, {"shape": None}, {"chunks": [0]}, {"dtype": "|O"}):
        (tmp_path / ".zarray").write_text(json.dumps(v2(dtype="<u2") | wrong))
        with pytest.raises(InputError, match="its metadata are damaged"):
            containers.lazy_array(str(tmp_path), "")


@pytest.mark.parametrize("chain", ["blosc", "gzip", "zstd", "crc32c", "plain"])
def test_damaged_chunks_are_input_errors(tmp_path: Path, chain: str) -> None:
    make = {
        "blosc": codecs.BloscCodec(), "gzip": codecs.GzipCodec(), "zstd": codecs.ZstdCodec(),
        "crc32c": codecs.Crc32cCodec(), "plain": None,
    }[chain]  # fmt: skip
    array = zarr.create_array(
        tmp_path, name="a", shape=(64,), dtype="u2", chunks=(64,), compressors=make
    )
    array[...] = np.random.default_rng(0).integers(0, 9, 64)
    file = tmp_path / "a" / "c" / "0"
    data = file.read_bytes()
    for damaged in (b"", data[:5], data[: len(data) // 2], b"\xff" * len(data)):
        if chain != "plain" or len(damaged) != len(data):
            file.write_bytes(damaged)
            with pytest.raises(InputError, match=r"an object cannot be decoded \(.*it is damaged"):
                lazily(tmp_path)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no Zarr array b; expected zarr.json or .zarray there"):
        containers.lazy_array(str(tmp_path), "b")
    with pytest.raises(InputError, match=r"no Zarr group b/; expected zarr.json or .zattrs"):
        containers.read_attributes(str(tmp_path), "b")
    with pytest.raises(InputError, match=r"unsafe name '../x/zarr.json': it holds '..'"):
        containers.lazy_array(str(tmp_path), "../x")


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("zarr.json", '{"attributes": {"a": 1}}', {"a": 1}),
        ("zarr.json", '{"zarr_format": 3}', {}),
        ("zarr.json", '{"attributes": null}', {}),
        (".zattrs", '{"b": [2]}', {"b": [2]}),
        ("zarr.json", '{"attributes": []}', {}),
        ("zarr.json", '{"attributes": [1]}', "its attributes are no object; it is damaged"),
        ("zarr.json", "[]", "found list, expected a JSON object"),
        (".zattrs", "{", "no JSON"),
    ],
)
def test_attributes(tmp_path: Path, name: str, text: str, expected: Any) -> None:
    (tmp_path / name).write_text(text)
    if isinstance(expected, dict):
        assert containers.read_attributes(str(tmp_path)) == expected
    else:
        with pytest.raises(InputError, match=expected):
            containers.read_attributes(str(tmp_path))


# ----------------------------------------------------------------------------------- writing


def test_a_tree_that_others_read(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    pixels = rng.integers(0, 4000, (2, 2, 3, 301, 515), "u2")
    ds = schema.movie(pixels, spacing=(2, 0.5, 0.5)).chunk(t=1, y=100)
    labels = xr.DataArray(pixels[:, 0].astype("u4"), dims=("t", "z", "y", "x"), name="labels")
    root = ngff.image_attributes(ds, "image", 3, name="Neu1", path="{level}")
    containers.write_tree(
        tmp_path / "x.zarr",
        {"": root, "labels": ngff.labels_group_attributes(["cells"]), "labels/cells": {}},
        [("", ds["image"], 3), ("/labels/cells/", labels, 3)],
    )
    group = zarr.open_group(tmp_path / "x.zarr", mode="r")
    image, label = pixels, labels.values
    for level in range(3):
        np.testing.assert_array_equal(group[str(level)][...], image)
        np.testing.assert_array_equal(group[f"labels/cells/{level}"][...], label)
        image, label = chunking.halve(image, schema.MOVIE_DIMS), label[..., ::2, ::2]
    assert group["0"].metadata.dimension_names == ("t", "c", "z", "y", "x")
    theirs = xr.open_dataset(
        tmp_path / "x.zarr", engine="zarr", consolidated=False, drop_variables=["1", "2"]
    )
    np.testing.assert_array_equal(theirs["0"], pixels)
    ngio = pytest.importorskip("ngio")
    opened = ngio.open_ome_zarr_container(tmp_path / "x.zarr", mode="r")
    assert opened.levels == 3
    np.testing.assert_array_equal(
        opened.get_image(path="1").get_as_numpy(), chunking.halve(pixels, schema.MOVIE_DIMS)
    )
