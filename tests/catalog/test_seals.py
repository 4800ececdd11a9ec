"""Seals: what a check finds, and that nothing damaged is ever read as pixels."""

import pickle
import uuid
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from damages import DAMAGES, Damage, shards
from faultproxy import FaultProxy

from dpipe import api, catalog, schema
from dpipe.build import base_of, lay_out, parts
from dpipe.catalog import opening, seals
from dpipe.checks import store as checks_store
from dpipe.errors import DamageError, NotFoundError, StoreError, UsageError
from dpipe.storage import Objects, open_objects, zarr


def a_movie() -> xr.Dataset:
    """Return a movie of two levels, three shards, that has no zero in it."""
    pixels = np.random.default_rng(0).integers(1, 255, (2, 3, 2, 130, 300), "u1")
    return schema.movie(pixels, spacing=(2, 0.5, 0.5), interval=30)


@pytest.fixture(scope="module")
def saved() -> tuple[catalog.PartRef, dict[str, bytes]]:
    """A part, and all objects of its store: made once, copied often."""
    objects = open_objects(f"memory://{uuid.uuid4().hex}")
    version = api.save({"Neu1": a_movie()}, objects.url, "leuko", message="m")
    return version.part("Neu1"), {entry.key: objects.read(entry.key) for entry in objects.list()}


@pytest.fixture(params=["folder", "s3"])
def sealed(
    request: pytest.FixtureRequest, saved: tuple[catalog.PartRef, dict[str, bytes]], tmp_path: Path
) -> tuple[Objects, catalog.PartRef]:
    s3 = request.param == "s3"
    place = open_objects(request.getfixturevalue("bucket") + "/st" if s3 else tmp_path / "store")
    return copied(place, saved)


@pytest.fixture
def memory(saved: tuple[catalog.PartRef, dict[str, bytes]]) -> tuple[Objects, catalog.PartRef]:
    return copied(open_objects(f"memory://{uuid.uuid4().hex}"), saved)


def copied(
    place: Objects, saved: tuple[catalog.PartRef, dict[str, bytes]]
) -> tuple[Objects, catalog.PartRef]:
    for key, data in saved[1].items():
        place.put(key, data)
    return place, saved[0]


@pytest.mark.parametrize("mode", checks_store.MODES)
def test_a_whole_part_has_no_findings(memory: tuple[Objects, catalog.PartRef], mode: str) -> None:
    objects, ref = memory
    assert len(shards(objects, ref.base)) == 3
    assert list(checks_store.check_part(objects, ref, mode=mode)) == []


@pytest.mark.parametrize("mode", checks_store.MODES)
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_each_damage_is_named(
    memory: tuple[Objects, catalog.PartRef], damage: Damage, mode: str
) -> None:
    objects, ref = memory
    key = damage.do(objects, ref.base)
    found = list(checks_store.check_part(objects, ref, mode=mode))
    if mode in damage.modes:
        assert key in [finding.key for finding in found]
        assert damage.says in next(f.problem for f in found if f.key == key)
    else:
        assert found == []


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_part_is_an_error_never_zeros(
    sealed: tuple[Objects, catalog.PartRef], damage: Damage
) -> None:
    place, ref = sealed
    damage.do(place, ref.base)
    if not damage.opens:
        with pytest.raises((DamageError, NotFoundError)):
            api.open(place.url, "leuko")
        return
    ds = api.open(place.url, "leuko")
    assert isinstance(ds, xr.Dataset)
    if damage.pixels:
        with pytest.raises(DamageError, match=f"{place.url}/{ref.base}.*dpipe verify"):
            ds["image"].compute(scheduler="synchronous")
        with pytest.raises(DamageError):  # opened in this process, computed in another
            pickle.loads(pickle.dumps(ds))["image"].compute(scheduler="synchronous")
    elif damage.do is not DAMAGES["swapped shards"].do:
        xr.testing.assert_equal(ds, a_movie())  # metadata and coordinates come from the seal


def test_every_bit_of_a_shard_is_guarded(memory: tuple[Objects, catalog.PartRef]) -> None:
    """Flips all over a shard, its index of chunks and the checksums: none goes unnoticed."""
    objects, ref = memory
    key = shards(objects, ref.base)[1]
    whole = objects.read(key)
    right = a_movie()["image"].values
    silent = []
    for place in np.linspace(0, 8 * len(whole) - 1, 60).astype(int).tolist() + list(
        range(8 * len(whole) - 8 * 40, 8 * len(whole), 37)
    ):
        data = bytearray(whole)
        data[place // 8] ^= 1 << place % 8
        objects.put(key, bytes(data))
        ds = opening.open_sealed(objects, seals.read(objects, ref.base)[0])
        try:
            values = ds["image"].compute(scheduler="synchronous").values
        except DamageError:
            continue
        if not np.array_equal(values, right):
            silent.append(place)
    assert silent == []


def test_what_was_sealed_damaged_is_found_by_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    """An object that was broken before its digest was taken has the digest that was sealed."""
    objects = open_objects(f"memory://{uuid.uuid4().hex}")
    ds, base = a_movie(), base_of("leuko", "Neu1", "0" * 12)
    outline = parts.write_init(objects, lay_out(ds, base), {"kind": "saved"})
    document = outline.document("0/image/zarr.json")
    block = ds["image"].values[:, :1]
    ((name, data),) = zarr.encode(document, [slice(0, n) for n in block.shape], block).items()
    torn = data[:100] + bytes([data[100] ^ 1]) + data[101:]
    monkeypatch.setattr(zarr, "encode", lambda *_: {name: torn})
    for index in range(outline.grid.partitions):
        parts.write_partition(objects, outline, ds, index)
    parts.seal_part(objects, base, ds)
    ref = catalog.PartRef("Neu1", "0" * 12, base)
    assert list(checks_store.check_part(objects, ref, mode="bytes")) == []
    found = list(checks_store.check_part(objects, ref, mode="decode"))
    assert f"{outline.path}/0/image" in [finding.key for finding in found]
    assert any("cannot be decoded" in finding.problem for finding in found)


@pytest.mark.parametrize(
    "said",
    [
        {"base": "parts/other/Neu1-{fingerprint}"},  # of the same name in another dataset
        {"stem": "Neu2"},
        {"fingerprint": "f" * 12},
        {"stem": "Neu1-{fingerprint}", "fingerprint": ""},
    ],
    ids=["dataset", "stem", "fingerprint", "cut"],
)
def test_a_seal_is_that_of_its_key(
    memory: tuple[Objects, catalog.PartRef], said: dict[str, str]
) -> None:
    """A whole seal, signed, that lies where another one should."""
    objects, ref = memory
    told = {k: v.format(fingerprint=ref.fingerprint) for k, v in said.items()}
    other = replace(seals.read(objects, ref.base)[0], **told)
    objects.put(seals.key_of(ref.base), other.to_bytes())
    with pytest.raises(DamageError, match=r"the seal is damaged \(it is that of "):
        seals.read(objects, ref.base)


def test_modes_are_checked(memory: tuple[Objects, catalog.PartRef]) -> None:
    objects, _ = memory
    with pytest.raises(UsageError, match="mode 'all'; expected one of exists, bytes, decode"):
        list(checks_store.verify(objects, [], mode="all"))


def test_any_seal_will_do_where_none_is_named(memory: tuple[Objects, catalog.PartRef]) -> None:
    objects, ref = memory
    DAMAGES["another seal"].do(objects, ref.base)
    key = seals.copy_key(ref.base)
    found = list(checks_store.check_part(objects, replace(ref, seal="")))
    assert [(finding.key, finding.problem) for finding in found] == [
        (key, "the copy of the seal is not the seal")
    ]


def test_levels(memory: tuple[Objects, catalog.PartRef]) -> None:
    objects, ref = memory
    sealed, digest = seals.read(objects, ref.base)
    assert digest == ref.seal
    assert sealed.levels == ["0", "1"]
    assert opening.open_sealed(objects, sealed, 1).sizes["x"] == 150
    with pytest.raises(UsageError, match="Neu1: no level 2; levels there: 0, 1"):
        opening.open_sealed(objects, sealed, 2)
    plain = api.save({"a": xr.Dataset({"x": ("i", [1])})}, objects.url, "plain", message="m")
    sealed = seals.read(objects, plain.parts[0].base)[0]
    assert sealed.levels == []
    assert opening.open_sealed(objects, sealed)["x"].values.tolist() == [1]
    with pytest.raises(UsageError, match="a: no level 1; levels there: 0"):
        opening.open_sealed(objects, sealed, 1)


def test_a_seal_opens_without_a_request(
    sealed: tuple[Objects, catalog.PartRef], monkeypatch: pytest.MonkeyPatch
) -> None:
    place, ref = sealed
    found = seals.read(place, ref.base)[0]
    asked: list[str] = []
    for name in ("read", "read_range", "head", "list"):
        original = getattr(type(place), name)
        monkeypatch.setattr(
            type(place), name, lambda self, *a, o=original, n=name: asked.append(n) or o(self, *a)
        )
    ds = opening.open_sealed(place, found)
    assert ds["t"].values.tolist() == [0, 30]
    assert asked == []
    ds["image"][0, 0, 0, 0, 0].compute(scheduler="synchronous")
    assert asked == ["read"]  # one shard, one request


@pytest.mark.parametrize("text", ["", "[]", "null", "{}", '{"format": 1, "stem": "a"}', "\xff"])
def test_what_is_no_seal_is_damage(text: str) -> None:
    objects = open_objects(f"memory://{uuid.uuid4().hex}")
    objects.put("parts/x/a-000000000000.json", text.encode("latin1"))
    with pytest.raises(DamageError, match="the seal is damaged"):
        seals.read(objects, "parts/x/a-000000000000")
    with pytest.raises(NotFoundError, match="no such object"):
        seals.read(objects, "parts/x/b-000000000000")


@pytest.mark.faults
def test_a_store_that_fails_is_not_damage(bucket: str, fault_proxy: FaultProxy) -> None:
    """Where nothing can be known, nothing is claimed to be damaged."""
    ref = api.save({"Neu1": a_movie()}, bucket, "leuko", message="m").part("Neu1")
    ds = api.open(bucket, "leuko")
    fault_proxy.fail("GET", status=403, code="AccessDenied", times=float("inf"), match="/image/c/")
    with pytest.raises(StoreError, match="may not read"):
        ds["image"].compute(scheduler="synchronous")
    with pytest.raises(StoreError, match="may not read"):
        list(checks_store.check_part(open_objects(bucket), ref))
