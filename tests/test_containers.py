"""Containers of others: read without trust; and those that others shall read."""

import json
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

from dpipe import containers, ngff, pyramid, schema
from dpipe.errors import InputError

VALUES = np.arange(5 * 7, dtype="u2").reshape(5, 7) + 1


def lazily(folder: Path, path: str = "a") -> np.ndarray:
    return np.asarray(containers.lazy_array(str(folder), path).compute(scheduler="sync"))


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


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_missing_chunks_hold_the_fill_value(tmp_path: Path, zarr_format: int) -> None:
    array = zarr.create_array(
        tmp_path, name="a", shape=(4, 4), dtype="i4", chunks=(2, 2), fill_value=-7,
        zarr_format=zarr_format,
    )  # fmt: skip
    array[:2, :2] = 5
    assert lazily(tmp_path).tolist() == [[5, 5, -7, -7]] * 2 + [[-7] * 4] * 2


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
        image, label = pyramid.halve(image, schema.MOVIE_DIMS), label[..., ::2, ::2]
    assert group["0"].metadata.dimension_names == ("t", "c", "z", "y", "x")
    theirs = xr.open_dataset(
        tmp_path / "x.zarr", engine="zarr", consolidated=False, drop_variables=["1", "2"]
    )
    np.testing.assert_array_equal(theirs["0"], pixels)
    ngio = pytest.importorskip("ngio")
    opened = ngio.open_ome_zarr_container(tmp_path / "x.zarr", mode="r")
    assert opened.levels == 3
    np.testing.assert_array_equal(
        opened.get_image(path="1").get_as_numpy(), pyramid.halve(pixels, schema.MOVIE_DIMS)
    )
