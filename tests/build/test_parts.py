"""Parts: init, partition, finish; in any order of repetition, cut in any way, the same objects."""

import hashlib
import json
import shutil
import sys
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import dask.array as da
import numpy as np
import pytest
import tifffile
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from ome_zarr.io import parse_url
from ome_zarr.reader import Reader as OmeZarrReader
from ome_zarr_models.v05.image import ImageAttrs
from yaozarrs import validate_zarr_store

from dpipe import schema, sources
from dpipe.build import base_of, lay_out, marked_parts, marks, part_spec, parts
from dpipe.catalog import PartRef, opening, seals
from dpipe.checks import store as checks_store
from dpipe.compute import blocks
from dpipe.errors import DamageError, GoneError, InputError, NotFoundError, SchemaError, UsageError
from dpipe.storage import Listed, Objects, chunking, open_objects, zarr
from dpipe.storage.objects import put_of

RNG = np.random.default_rng(11)
SHAPE = (5, 2, 3, 130, 300)
PIXELS = RNG.integers(1, 4000, SHAPE, "u2")
STEM, PRINT = "Neu1", "3fa9c1d2e0b4"
BASE = base_of("leuko", STEM, PRINT)
PATH = f"{BASE}.ome.zarr"


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    """Datasets of earlier tests are not opened again from memory."""
    yield
    parts._lazy.cache_clear()


@pytest.fixture
def memory() -> Objects:
    return open_objects(f"memory://{uuid.uuid4().hex}")


def movie() -> xr.Dataset:
    """Large and small variables, numbers and text, with and without each dim."""
    pixels = da.from_array(PIXELS, chunks=(2, 1, 3, 130, 300))
    ds = schema.movie(pixels, spacing=(2, 0.5, 0.25), interval=30, channels=["a", "µ"])
    return ds.assign(
        labels=(("t", "z", "y", "x"), (PIXELS[:, 0] // 500).astype("u4")),
        mean=(("t", "c"), pixels.mean((2, 3, 4))),
        stage=("t", ["m", "p", "", "ä", "long name"]),
        flag=("c", [True, False]),
        voxel=((), 0.25),
        when=("t", np.arange(5).astype("M8[s]")),
    ).assign_coords(row=("y", np.arange(130.0) ** 2))


def make(
    objects: Objects, ds: xr.Dataset, base: str = BASE, *, order: Any = None, **said: Any
) -> dict[str, Any]:
    """Make a part of a Dataset, as `save` does."""
    made = part_spec.PartSpec("saved", "leuko", 1)
    outline = parts.write_init(objects, lay_out(ds, base, **said), made.to_dict())
    for index in order or range(outline.grid.partitions):
        parts.write_partition(objects, outline, ds, index)
    return parts.seal_part(objects, base, ds)


def listing(objects: Objects, base: str = BASE) -> dict[str, Any]:
    return json.loads(objects.read(f"{base}.objects.json"))


def findings(objects: Objects, seal: str = "") -> list[checks_store.Finding]:
    return list(checks_store.check_part(objects, PartRef(STEM, PRINT, BASE, seal), mode="decode"))


def opened(objects: Objects, level: int = 0, base: str = BASE) -> xr.Dataset:
    ds = opening.open_sealed(objects, seals.read(objects, base)[0], level)
    return ds.drop_attrs(deep=False)


def same(found: xr.Dataset, expected: xr.Dataset) -> None:
    """Compare values exactly; text comes back in another kind of text."""
    found, expected = found.load(), expected.load()
    texts = [name for name in expected if expected[name].dtype.kind in "UT"]
    xr.testing.assert_identical(found.drop_vars(texts), expected.drop_vars(texts))
    for name in texts:
        assert found[name].values.tolist() == expected[name].values.tolist()


# ------------------------------------------------------------------------- one part, any way


def test_everything_comes_back(memory: Objects) -> None:
    result = make(memory, movie())
    same(opened(memory), movie())
    below = opened(memory, 1)
    assert set(below.data_vars) == {"image", "labels"}
    expected = chunking.halve(PIXELS, schema.MOVIE_DIMS)
    np.testing.assert_array_equal(below["image"], expected)
    np.testing.assert_array_equal(below["labels"], (PIXELS[:, 0] // 500)[..., ::2, ::2])
    assert below["row"].values.tolist() == (np.arange(0, 130, 2.0) ** 2).tolist()
    assert findings(memory, seal=result["seal"]) == []
    assert result["summary"]["variables"] == list(movie().data_vars)


@pytest.fixture(scope="module")
def reference() -> dict[str, Any]:
    """The objects of the part, made in one go."""
    objects = open_objects(f"memory://{uuid.uuid4().hex}")
    make(objects, movie())
    return listing(objects)


@settings(max_examples=12, deadline=None)
@given(
    st.sampled_from([1, 100_000, 400_000, 1 << 40]),
    st.one_of(st.none(), st.sets(st.sampled_from("tczyx"))),
    st.randoms(use_true_random=False),
)
def test_partitions_do_not_show_in_objects(
    reference: dict[str, Any], room: int, free: set[str] | None, random: Any
) -> None:
    """Cut in any way, done in any order, some twice: the digests are those of one go."""
    objects = open_objects(f"memory://{uuid.uuid4().hex}")
    count = lay_out(movie(), BASE, partition_bytes=room, free=free).grid.partitions
    order = [*range(count), *random.choices(range(count), k=2)]
    random.shuffle(order)
    make(objects, movie(), order=order, partition_bytes=room, free=free)
    assert listing(objects) == reference


def test_each_step_may_be_repeated(memory: Objects, reference: dict[str, Any]) -> None:
    made = part_spec.PartSpec("saved", "leuko", 1).to_dict()
    laid = lay_out(movie(), BASE, partition_bytes=1)
    for _ in range(2):
        outline = parts.write_init(memory, laid, made)
    assert outline.to_dict() == laid.to_dict()
    for index in (1, 1, 0):
        parts.write_partition(memory, outline, movie(), index)
    for index in range(outline.grid.partitions):
        parts.write_partition(memory, outline, movie(), index)
    first = parts.seal_part(memory, BASE, movie())
    before = {entry.key: memory.read(entry.key) for entry in memory.list()}
    assert parts.seal_part(memory, BASE, movie())["seal"] == first["seal"]
    assert not any(".marks/" in key for key in before), "marks go when the part is sealed"
    for index in range(2):
        parts.write_partition(memory, outline, movie(), index)
    assert {key: memory.read(key) for key in before} == before
    memory.delete_many([e.key for e in memory.list(f"{BASE}.marks/")])
    assert listing(memory) == reference


def test_the_first_outline_holds(memory: Objects, reference: dict[str, Any]) -> None:
    """Two runs that cut a part in another way agree on what the first one wrote."""
    made = part_spec.PartSpec("saved", "leuko", 1).to_dict()
    first = parts.write_init(memory, lay_out(movie(), BASE, partition_bytes=1), made)
    again = parts.write_init(memory, lay_out(movie(), BASE, partition_bytes=1 << 40), made)
    assert again.grid == first.grid
    assert first.grid.partitions > 1


@pytest.mark.parametrize(
    "ds",
    [
        xr.Dataset({"a": ("record", np.zeros(0)), "s": ("record", np.array([], "U3"))}),
        xr.Dataset({"a": ((), 3), "s": ((), "text")}),
        schema.movie(np.ones((1, 1, 1, 1, 1), "u1")),
        schema.movie(np.ones((1, 1, 1, 3, 700), "f4")),
        xr.Dataset({"a": (("record", "name"), RNG.random((3, 4)))}, {"name": list("abcd")}),
    ],
    ids=["no-rows", "numbers", "a-voxel", "a-line", "table"],
)
def test_small_parts(memory: Objects, ds: xr.Dataset) -> None:
    make(memory, ds)
    same(opened(memory), ds)
    assert findings(memory) == []


def test_nothing_is_computed_twice(memory: Objects) -> None:
    """Variables of one computation share it; one without c is computed for one channel only."""
    calls: list[Any] = []

    def read(region: blocks.Region) -> np.ndarray:
        calls.append(region)
        return PIXELS[region]

    pixels = xr.DataArray(
        blocks.lazy(read, SHAPE, "u2", (1, 1, 3, 130, 300)), dims=schema.MOVIE_DIMS
    )
    ds = xr.Dataset(
        {"image": pixels + 1, "twice": pixels * 2, "first": pixels.isel(c=0, drop=True)}
    )
    make(memory, ds)
    # ten frames for image, twice, and first, which goes with the cells of the first channel
    assert sum(region[0].stop - region[0].start for region in calls) == 10
    same(opened(memory), ds)


# ------------------------------------------------------------------------------------- damage


def test_finish_waits_for_every_mark(memory: Objects) -> None:
    made = part_spec.PartSpec("saved", "leuko", 1).to_dict()
    outline = parts.write_init(memory, lay_out(movie(), BASE, partition_bytes=1), made)
    count = outline.grid.partitions
    for index in range(1, count - 1):
        parts.write_partition(memory, outline, movie(), index)
    message = f"{BASE}: 2 of {count} partitions are not done .first: 0.; run the same command"
    with pytest.raises(NotFoundError, match=message):
        parts.seal_part(memory, BASE, movie())
    assert not memory.exists(f"{BASE}.json")


def test_objects_unlike_their_marks_are_done_again(
    memory: Objects, reference: dict[str, Any]
) -> None:
    made = part_spec.PartSpec("saved", "leuko", 1).to_dict()
    outline = parts.write_init(memory, lay_out(movie(), BASE, partition_bytes=1), made)
    for index in range(outline.grid.partitions):
        parts.write_partition(memory, outline, movie(), index)
    for key in ("0/image/c/0/1/0/0/0", "0/t/c/0", "0/image/zarr.json", "1/labels/c/0/0/0/0"):
        assert memory.exists(f"{PATH}/{key}")
        memory.delete(f"{PATH}/{key}")
    for key in ("1/image/c/0/0/0/0/0", "0/x/c/0", "zarr.json"):
        memory.put(f"{PATH}/{key}", memory.read(f"{PATH}/{key}")[:-1])
    memory.put(f"{PATH}/0/image/c/9/9", b"left by a run of another cut")
    memory.put(f"{PATH}/.tmp", b"left by a killed writer")
    parts.seal_part(memory, BASE, movie())
    assert listing(memory) == reference
    there = {entry.key.removeprefix(f"{PATH}/") for entry in memory.list(f"{PATH}/")}
    assert there == set(reference)
    assert findings(memory) == []
    same(opened(memory), movie())


def test_objects_that_stay_damaged(memory: Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    key, put = f"{PATH}/0/image/c/0/1/0/0/0", memory.put

    def torn(name: str, data: bytes) -> Any:
        put(name, data[:-1] if name == key else data)
        return put_of(name, data)

    monkeypatch.setattr(memory, "put", torn)
    with pytest.raises(DamageError, match=f"{key}: differs from its mark after a second try"):
        make(memory, movie())


@pytest.mark.parametrize("step", ["make", "init", "finish", "seal_part"])
def test_whoever_finds_a_part_sealed_gives_its_seal_the_copy_that_it_lacks(
    memory: Objects, step: str
) -> None:
    """The one who sealed it may have been killed before the copy was there."""
    sealed = make(memory, movie())
    data = memory.read(seals.key_of(BASE))
    memory.delete(seals.copy_key(BASE))
    made = part_spec.PartSpec("saved", "leuko", 1).to_dict()
    found = {
        "make": lambda: parts.make(memory.url, BASE, made),
        "init": lambda: parts.init(memory.url, BASE, made),
        "finish": lambda: parts.finish(memory.url, BASE),
        "seal_part": lambda: parts.seal_part(memory, BASE, movie()),
    }[step]()
    assert (found["sealed"], found["seal"]) == (True, sealed["seal"])
    assert memory.read(seals.copy_key(BASE)) == data


def test_whoever_is_second_gives_the_seal_of_the_first(
    memory: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another run seals the part between our last look and our own seal."""
    elsewhere = open_objects(f"memory://{uuid.uuid4().hex}")
    make(elsewhere, movie())
    first = replace(seals.read(elsewhere, BASE)[0], summary={"theirs": True}).to_bytes()
    made = part_spec.PartSpec("saved", "leuko", 1).to_dict()
    outline = parts.write_init(memory, lay_out(movie(), BASE), made)
    for index in range(outline.grid.partitions):
        parts.write_partition(memory, outline, movie(), index)
    put_if_absent = memory.put_if_absent

    def second(key: str, data: bytes) -> Any:
        if key == seals.key_of(BASE):
            put_if_absent(key, first)
        return put_if_absent(key, data)

    monkeypatch.setattr(memory, "put_if_absent", second)
    found = parts.seal_part(memory, BASE, movie())
    assert found["seal"] == hashlib.sha256(first).hexdigest()
    assert found["summary"] == {"theirs": True}
    assert memory.read(seals.key_of(BASE)) == first


def test_the_mark_that_says_how_a_part_is_cut_goes_last(
    memory: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill in between leaves no mark of values that nobody knows the cut of."""
    made = part_spec.PartSpec("saved", "leuko", 1).to_dict()
    outline = parts.write_init(memory, lay_out(movie(), BASE, partition_bytes=1), made)
    for index in range(outline.grid.partitions):
        parts.write_partition(memory, outline, movie(), index)
    there = [entry.key for entry in memory.list(f"{BASE}.marks/")]
    gone: list[str] = []
    delete = memory.delete

    def noted(key: str) -> None:
        gone.append(key)
        delete(key)

    monkeypatch.setattr(memory, "delete", noted)
    marks.delete(memory, BASE, marks.done(memory, BASE))
    assert sorted(gone) == there
    assert len(gone) > 2
    assert gone[-1] == marks.init_key(BASE)


def test_what_of_a_listing_is_believed(memory: Objects) -> None:
    """Size and ETag together; what is not both as it was put is looked at, by its digest."""

    def listed(**said: Any) -> dict[str, Listed]:
        return {"a/k": Listed(**({"key": "a/k", "size": 3, "etag": "e", "mtime": 0.0} | said))}

    put = replace(put_of("a/k", b"abc"), etag="e")
    doubtful: list[dict[str, Listed]] = [{}, listed(size=2), listed(etag="f"), listed(etag="")]
    memory.put("a/k", b"xyz")  # other bytes, which only who looks can see
    assert marked_parts.wrong(memory, [put], listed()) == []
    for there in doubtful:
        assert marked_parts.wrong(memory, [put], there) == [put]
    unknown = replace(put, etag="")  # an ETag that is not known fits none
    assert marked_parts.wrong(memory, [unknown], listed(etag="")) == [unknown]
    memory.put("a/k", b"abc")
    for there in doubtful:
        assert marked_parts.wrong(memory, [put], there) == []
    memory.delete("a/k")
    assert marked_parts.wrong(memory, [put], {}) == [put]


def test_a_listing_that_lags_behind_costs_nothing(
    memory: Objects, reference: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a listing does not show is looked at, not deleted and made again."""
    made = part_spec.PartSpec("saved", "leuko", 1).to_dict()
    outline = parts.write_init(memory, lay_out(movie(), BASE, partition_bytes=1), made)
    for index in range(outline.grid.partitions):
        parts.write_partition(memory, outline, movie(), index)
    monkeypatch.setattr(memory, "list", lambda prefix="": iter(()))
    for name in ("delete", "put"):
        original = getattr(memory, name)
        monkeypatch.setattr(memory, name, guarded(original))
    parts.seal_part(memory, BASE, movie())
    assert listing(memory) == reference


def guarded(change: Any) -> Any:
    """Refuse to touch a shard or a document; marks and copies may go."""

    def call(key: str, *args: Any) -> Any:
        assert "/image/" not in key, f"{key} was touched"
        return change(key, *args)

    return call


def test_nothing_of_a_sealed_part_is_deleted(memory: Objects) -> None:
    """A run that is late finds a part sealed that it was about to finish with another cut."""
    made = part_spec.PartSpec("saved", "leuko", 1).to_dict()
    outline = parts.write_init(memory, lay_out(movie(), BASE, partition_bytes=1), made)
    kept = {e.key: memory.read(e.key) for e in memory.list(f"{BASE}.marks/")}
    for index in range(outline.grid.partitions):
        parts.write_partition(memory, outline, movie(), index)
        kept |= {e.key: memory.read(e.key) for e in memory.list(f"{BASE}.marks/")}
    parts.seal_part(memory, BASE, movie())
    memory.put(f"{PATH}/0/image/c/9/9", b"what another way of cutting made")
    before = {e.key: memory.read(e.key) for e in memory.list(f"{BASE}.")}
    for key, data in kept.items():
        memory.put(key, data)
    assert parts.finish(memory.url, BASE)["seal"]
    with pytest.raises(zarr.SealedError, match="sealed by another run"):
        marked_parts.seal_marked(memory, BASE, movie, {})
    assert {k: memory.read(k) for k in before} == before


def test_a_torn_shard_that_lies_there_is_replaced(
    memory: Objects, reference: dict[str, Any]
) -> None:
    """An interrupted copy of a store left a torn shard: it is not taken for ours."""
    key = f"{PATH}/0/image/c/0/1/0/0/0"
    memory.put(key, b"torn")
    make(memory, movie())
    assert listing(memory) == reference
    assert findings(memory) == []


def test_a_torn_shard_of_a_sealed_part_stays(memory: Objects) -> None:
    make(memory, movie())
    key = f"{PATH}/0/image/c/0/1/0/0/0"
    memory.put(key, b"torn")
    with pytest.raises(zarr.SealedError, match="nothing of it is touched"):
        zarr.keep(memory, key, b"other", f"{BASE}.json")
    assert memory.read(key) == b"torn"


def test_a_coordinate_with_flipped_bits_is_put_right(
    memory: Objects, reference: dict[str, Any]
) -> None:
    made = part_spec.PartSpec("saved", "leuko", 1).to_dict()
    outline = parts.write_init(memory, lay_out(movie(), BASE), made)
    for index in range(outline.grid.partitions):
        parts.write_partition(memory, outline, movie(), index)
    key = f"{PATH}/0/t/c/0"
    memory.put(key, memory.read(key)[:-1] + b"\0")
    parts.seal_part(memory, BASE, movie())
    assert listing(memory) == reference


@pytest.mark.parametrize("new", [False, True])
def test_chunks_of_an_attempt_that_was_cut_short(
    made_by: dict[str, Any], memory: Objects, new: bool
) -> None:
    """What is zeros now has no chunk: one that a first attempt wrote would be read in its place."""
    parts.make(memory.url, BASE, made_by)
    objects = json.loads(memory.read(f"{BASE}.objects.json"))
    for key in (f"{BASE}.json", f"{BASE}.copy.json"):
        memory.delete(key)
    stray = f"{PATH}/0/image/c/9/0/0/0/0"
    memory.put(stray, b"of another try")
    assert parts.make(memory.url, BASE, made_by, new=new)["sealed"]
    assert json.loads(memory.read(f"{BASE}.objects.json")) == objects
    assert memory.exists(stray) == new  # who says that nothing was there is believed


def test_what_a_killed_init_left_is_replaced(memory: Objects, reference: dict[str, Any]) -> None:
    memory.put(f"{PATH}/0/t/c/0", b"half")
    memory.put(f"{PATH}/zarr.json", b"{}")
    make(memory, movie())
    assert listing(memory) == reference


@pytest.mark.parametrize("data", [b"", b"{", b"[1]", b'{"format": "dpipe-mark/2"}'])
def test_damaged_marks_count_as_none(memory: Objects, data: bytes) -> None:
    made = part_spec.PartSpec("saved", "leuko", 1).to_dict()
    outline = parts.write_init(memory, lay_out(movie(), BASE), made)
    for index in range(outline.grid.partitions):
        parts.write_partition(memory, outline, movie(), index)
    memory.put(f"{BASE}.marks/000000.json", data)
    with pytest.raises(NotFoundError, match=r"1 of \d+ partitions are not done .first: 0."):
        parts.seal_part(memory, BASE, movie())
    assert not memory.exists(f"{BASE}.marks/000000.json")
    memory.put(f"{BASE}.marks/init.json", data)
    with pytest.raises(DamageError, match=r"marks/init.json: the mark is damaged"):
        parts.seal_part(memory, BASE, movie())


def test_a_damaged_init_mark_is_begun_again(made_by: dict[str, Any], memory: Objects) -> None:
    parts.init(memory.url, BASE, made_by, {"partition_bytes": 1})
    parts.partition(memory.url, BASE, 0)
    memory.put(f"{BASE}.marks/init.json", b"{")
    again = parts.init(memory.url, BASE, made_by, {"partition_bytes": 1})
    assert (again["partitions"], again["done"]) == (2, [])


def test_marks_that_lack_values_are_no_zeros(memory: Objects) -> None:
    made = part_spec.PartSpec("saved", "leuko", 1).to_dict()
    outline = parts.write_init(memory, lay_out(movie(), BASE, partition_bytes=1), made)
    for index in range(outline.grid.partitions):
        parts.write_partition(memory, outline, movie(), index)
    key = f"{BASE}.marks/000001.json"
    marks.put(memory, key, marks.read(memory, key) | {"small": []}, anew=True)
    with pytest.raises(GoneError, match=r"the marks hold \d+ of 10 values of 'mean'"):
        parts.seal_part(memory, BASE, movie())
    assert not list(memory.list(f"{BASE}.marks/0")), "the part is begun anew"


def test_arrays_that_are_not_what_they_promised(memory: Objects) -> None:
    """A dtype that lies would be cut off silently."""
    for name, dtype in (("image", "u1"), ("mean", "f4")):
        lying = movie()
        data = lying[name].data
        wrong = da.Array(data.dask, data.name, data.chunks, dtype=dtype)
        with pytest.raises(SchemaError, match=rf"a block is \w+ .*; expected {np.dtype(dtype)}"):
            make(memory, lying.assign({name: (lying[name].dims, wrong)}), base_of("x", name, "0"))


# ------------------------------------------------------------- from sources, and by operators


@pytest.fixture
def made_by(tmp_path: Path) -> dict[str, Any]:
    """The origin of a part that the TIFF reader makes."""
    path = tmp_path / "raw" / "Neu1.tif"
    path.parent.mkdir()
    tifffile.imwrite(path, PIXELS.transpose(0, 2, 1, 3, 4), imagej=True, metadata={"axes": "TZCYX"})
    made = part_spec.from_items("tiff", sources.list_items(path), said={"interval": 30}, levels=2)
    return made.to_dict()


def run(url: str, base: str, made: dict[str, Any], **options: Any) -> dict[str, Any]:
    found = parts.init(url, base, made, options)
    for index in range(found["partitions"]):
        if index not in found["done"]:
            parts.partition(url, base, index)
    return parts.finish(url, base)


@pytest.mark.parametrize("place", ["folder", "s3", "memory"])
def test_a_part_of_a_source(
    request: pytest.FixtureRequest, tmp_path: Path, made_by: dict[str, Any], place: str
) -> None:
    url = {"folder": str(tmp_path / "store"), "memory": f"memory://{uuid.uuid4().hex}"}.get(place)
    url = url or request.getfixturevalue("bucket") + "/store"
    result = run(url, BASE, made_by, partition_bytes=1)
    objects = open_objects(url)
    found = opened(objects)
    np.testing.assert_array_equal(found["image"], PIXELS)
    assert schema.spacing(found, "t") == 30
    assert findings(objects, seal=result["seal"]) == []
    sealed = seals.read(objects, BASE)[0]
    assert sealed.provenance["origin"] == json.loads(json.dumps(made_by))
    assert set(sealed.provenance) >= {"dpipe", "python", "libraries", "machine", "seconds"}
    assert sealed.objects["count"] == len(listing(objects))
    for entry in objects.list(f"{PATH}/"):
        digest = hashlib.sha256(objects.read(entry.key)).hexdigest()
        assert listing(objects)[entry.key.removeprefix(f"{PATH}/")]["sha256"] == digest
    # once more, any step: nothing is done
    again = parts.init(url, BASE, made_by)
    assert (again["partitions"], again["done"], again["sealed"]) == (0, [], True)
    assert (again["seal"], again["bytes"]) == (result["seal"], 0)
    assert parts.finish(url, BASE)["seal"] == result["seal"]
    assert parts.partition(url, BASE, 0) == {"seconds": 0.0, "bytes": 0, "objects": 0}


def test_init_says_what_is_done(made_by: dict[str, Any], memory: Objects) -> None:
    first = parts.init(memory.url, BASE, made_by, {"partition_bytes": 1})
    assert (first["done"], first["sealed"]) == ([], False)
    assert first["partitions"] == 2  # a channel is a shard
    done = parts.partition(memory.url, BASE, 1)
    assert done["objects"] == 2  # a shard of each level
    assert done["bytes"] > 0
    again = parts.init(memory.url, BASE, made_by, {"partition_bytes": 1 << 40})
    assert again == {"partitions": first["partitions"], "done": [1], "sealed": False}


def test_one_partition_is_made_whole_and_two_are_laid_out(
    made_by: dict[str, Any], memory: Objects
) -> None:
    two = parts.make(memory.url, BASE, made_by, {"partition_bytes": 1})
    assert two == {"partitions": 2, "done": [], "sealed": False}
    other = base_of("leuko", STEM, "0" * 12)
    one = parts.make(memory.url, other, made_by, {"partition_bytes": 1 << 40}, new=True)
    assert one["sealed"]
    assert not [entry.key for entry in memory.list(f"{other}.marks/")]


def test_what_was_begun_in_two_partitions_is_not_made_whole(
    made_by: dict[str, Any], memory: Objects
) -> None:
    parts.make(memory.url, BASE, made_by, {"partition_bytes": 1})
    parts.partition(memory.url, BASE, 1)
    again = parts.make(memory.url, BASE, made_by, {"partition_bytes": 1 << 40})
    assert again == {"partitions": 2, "done": [1], "sealed": False}


@pytest.mark.parametrize("index", [-1, 1, 10_000])
def test_there_is_no_such_partition(made_by: dict[str, Any], memory: Objects, index: int) -> None:
    parts.init(memory.url, BASE, made_by, {"partition_bytes": 1 << 40})
    with pytest.raises(UsageError, match=f"no partition {index}; there are 1"):
        parts.partition(memory.url, BASE, index)
    assert parts.init(memory.url, BASE, made_by)["done"] == []


def test_a_part_that_was_not_begun(memory: Objects) -> None:
    with pytest.raises(NotFoundError, match="no such object"):
        parts.partition(memory.url, BASE, 0)
    with pytest.raises(NotFoundError, match="no such object"):
        parts.finish(memory.url, BASE)


def test_a_source_that_changes_while_it_is_read(made_by: dict[str, Any], memory: Objects) -> None:
    found = parts.init(memory.url, BASE, made_by)
    for index in range(found["partitions"]):
        parts.partition(memory.url, BASE, index)
    path = Path(made_by["items"][0]["uri"])
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(InputError, match="changed since the plan was made"):
        parts.finish(memory.url, BASE)
    assert not memory.exists(f"{BASE}.json")


def test_a_damaged_source_writes_nothing(made_by: dict[str, Any], memory: Objects) -> None:
    path = Path(made_by["items"][0]["uri"])
    path.write_bytes(b"no picture")
    with pytest.raises(InputError):
        parts.init(memory.url, BASE, made_by)
    assert list(memory.list()) == []


def test_a_part_of_a_part(
    made_by: dict[str, Any], memory: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("mylab")
    module.__file__ = __file__
    module.double = lambda ds: ds * 2
    module.double.__annotations__ = {"ds": xr.Dataset}
    monkeypatch.setitem(sys.modules, "mylab", module)
    run(memory.url, BASE, made_by)
    part = {"stem": STEM, "fingerprint": PRINT, "base": BASE}
    doubled = part_spec.PartSpec("operator", "mylab:double", 1, {}, inputs={"ds": [part]})
    base = base_of("doubled", STEM, doubled.fingerprint)
    run(memory.url, base, doubled.to_dict(), free=["t"], input_bytes=1 << 40)
    np.testing.assert_array_equal(opened(memory, base=base)["image"], PIXELS * 2)
    params = {"image": "image", "normalise": "plane"}
    quality = part_spec.PartSpec("operator", "projections", 1, params, inputs={"ds": [part]})
    base = base_of("projections", STEM, quality.fingerprint)
    run(memory.url, base, quality.to_dict(), free=["t", "c"], input_bytes=1 << 20)
    assert opened(memory, base=base)["projection"].shape == (5, 2, 130, 300)


# ------------------------------------------------------------------------ as others see a part


@pytest.fixture(scope="module")
def on_disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sealed part in a folder, images alone."""
    url = tmp_path_factory.mktemp("store")
    make(open_objects(url), movie()[["image", "mean", "stage"]])
    return url / PATH


def test_validators_accept_it(on_disk: Path) -> None:
    attributes = json.loads((on_disk / "zarr.json").read_text())["attributes"]
    ImageAttrs.model_validate(attributes["ome"])
    validate_zarr_store(str(on_disk))


def test_xarray_opens_it(on_disk: Path) -> None:
    for level, expected in enumerate((PIXELS, chunking.halve(PIXELS, schema.MOVIE_DIMS))):
        ds = xr.open_zarr(on_disk, group=str(level), zarr_format=3, consolidated=False)
        np.testing.assert_array_equal(ds["image"], expected)
        assert set(ds.coords) == {"t", "c", "z", "y", "x", "row"}
        assert ds["c"].values.tolist() == ["a", "µ"]
        assert ds["y"].attrs["spacing"] == 0.5 * 2**level


def test_ngio_opens_it(on_disk: Path) -> None:
    ngio = pytest.importorskip("ngio")
    container = ngio.open_ome_zarr_container(on_disk, mode="r")
    assert container.levels == 2
    image = container.get_image(path="0/image")
    np.testing.assert_array_equal(image.get_as_numpy(), PIXELS)
    assert [image.pixel_size.z, image.pixel_size.y, image.pixel_size.x] == [2, 0.5, 0.25]
    np.testing.assert_array_equal(
        container.get_image(path="1/image").get_as_numpy(),
        chunking.halve(PIXELS, schema.MOVIE_DIMS),
    )


def test_ome_zarr_opens_it(on_disk: Path) -> None:
    (node,) = OmeZarrReader(parse_url(on_disk))()
    assert [axis["name"] for axis in node.metadata["axes"]] == ["t", "c", "z", "y", "x"]
    np.testing.assert_array_equal(node.data[0].compute(), PIXELS)
    np.testing.assert_array_equal(node.data[1].compute(), chunking.halve(PIXELS, schema.MOVIE_DIMS))


def test_a_copy_of_a_part_is_all_there_is(on_disk: Path, tmp_path: Path) -> None:
    """Only Zarr lies in the part's folder."""
    shutil.copytree(on_disk, tmp_path / "copy.zarr")
    names = {path.name for path in (tmp_path / "copy.zarr").rglob("*") if path.is_file()}
    assert all(name == "zarr.json" or name.isdecimal() or name == "c" for name in names)
    assert open_objects(on_disk).head("zarr.json").size > 0
