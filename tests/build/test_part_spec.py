"""Origins: what changes a fingerprint, what does not, and sources that change under a run."""

import json
import os
import sys
import uuid
import zipfile
from dataclasses import asdict, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import tifffile
import xarray as xr
import zarr

from dpipe import api, readers, schema, sources
from dpipe.build import PartSpec, parameters, part_spec
from dpipe.compute import devices
from dpipe.errors import GoneError, InputError, SchemaError, UsageError
from dpipe.formats import containers
from dpipe.metadata import ngff
from dpipe.operators import OPERATORS
from dpipe.storage import open_objects

PIXELS = np.random.default_rng(0).integers(1, 200, (3, 2, 4, 5), "u1")


@pytest.fixture
def movie(tmp_path: Path) -> Path:
    """A TIFF of three frames and two channels."""
    path = tmp_path / "raw" / "Neu1.tif"
    path.parent.mkdir()
    tifffile.imwrite(path, PIXELS, imagej=True, metadata={"axes": "TCYX"})
    return path


def of(path: Path | str, reader: str = "tiff", **said: Any) -> PartSpec:
    (part,) = readers.resolve(reader).find(sources.list_items(str(path)))
    return part_spec.from_items(reader, part.items, **said)


# ------------------------------------------------------------------------------- fingerprint


ITEM = {"uri": "/raw/Neu1.ims", "path": "Neu1.ims", "size": 9, "etag": "1"}
PART = {"stem": "Neu1", "fingerprint": "3fa9c1d2e0b4", "base": "parts/leuko/Neu1-3fa9c1d2e0b4"}
MADE = PartSpec("reader", "imaris", 1, {"level": 0}, (ITEM,), {"ds": [PART]}, {"interval": 30}, 3)


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "operator"},
        {"name": "tiff"},
        {"version": 2},
        {"params": {"level": 1}},
        {"params": {}},
        {"said": {"interval": 31}},
        {"said": {}},
        {"levels": None},
        {"levels": 2},
        {"items": (ITEM | {"path": "sub/Neu1.ims"},)},
        {"items": (ITEM | {"size": 10},)},
        {"items": (ITEM | {"etag": "2"},)},
        {"items": (ITEM, ITEM)},
        {"items": ()},
        {"inputs": {"other": [PART]}},
        {"inputs": {"ds": [PART | {"stem": "Neu2"}]}},
        {"inputs": {"ds": [PART | {"base": "parts/leuko/Neu1-000000000000"}]}},
        {"code": "0123456789abcdef"},
        {"inputs": {}},
    ],
    ids=str,
)
def test_what_decides_the_values_changes_the_fingerprint(change: dict[str, Any]) -> None:
    assert replace(MADE, **change).fingerprint != MADE.fingerprint


@pytest.mark.parametrize(
    "change",
    [
        {"device": "cuda"},
        {"items": (ITEM | {"uri": "s3://elsewhere/Neu1.ims"},)},
        {"inputs": {"ds": [PART | {"base": "parts/other/Neu1-3fa9c1d2e0b4"}]}},
        {"params": {"level": 0}},
    ],
    ids=str,
)
def test_what_does_not_keeps_it(change: dict[str, Any]) -> None:
    assert replace(MADE, **change).fingerprint == MADE.fingerprint


def test_a_fingerprint_never_moves() -> None:
    """Written down once: parts in stores are found again by it."""
    assert MADE.fingerprint == "769dd4f945e6"
    order = replace(MADE, params={"b": 1, "a": 2}), replace(MADE, params={"a": 2, "b": 1})
    assert order[0].fingerprint == order[1].fingerprint


def test_an_origin_survives_json() -> None:
    again = PartSpec.from_dict(json.loads(json.dumps(MADE.to_dict())))
    assert again == MADE
    assert again.fingerprint == MADE.fingerprint


# -------------------------------------------------------------------------------------- bind


def an_operator(
    ds: xr.Dataset, *, size: int, gain: float = 2, limit: float | None = None, mode: str = "fast"
) -> xr.Dataset:
    return ds


def test_defaults_are_filled_in() -> None:
    bound = parameters.bind(an_operator, {"size": 3}, "operator x")
    assert bound == {"size": 3, "gain": 2.0, "limit": None, "mode": "fast"}
    assert list(bound) == ["size", "gain", "limit", "mode"]


@pytest.mark.parametrize(
    "given",
    [{}, {"gain": 2}, {"gain": 2.0}, {"mode": "fast"}, {"limit": None}],
    ids=str,
)
def test_writing_a_default_down_changes_nothing(given: dict[str, Any]) -> None:
    bound = [parameters.bind(an_operator, {"size": 3} | more, "operator x") for more in ({}, given)]
    texts = {PartSpec("operator", "x", 1, params).fingerprint for params in bound}
    assert len(texts) == 1


def test_whole_numbers_for_floats_are_floats() -> None:
    bound = parameters.bind(an_operator, {"size": 3, "gain": 5, "limit": 7}, "operator x")
    assert [type(bound[name]) for name in ("size", "gain", "limit")] == [int, float, float]
    assert parameters.bind(an_operator, {"size": 3, "gain": True}, "x")["gain"] is True


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sizes": 3}, "operator x: unknown parameter 'sizes'; did you mean 'size'. Known: gain"),
        ({"ds": 3}, "unknown parameter 'ds'"),
        ({5: 3}, "unknown parameter 5"),
        ({}, "operator x: needs the parameter 'size'; give it a value"),
    ],
    ids=["near", "an-input", "a-number", "missing"],
)
def test_parameters_that_do_not_fit(given: dict[Any, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parameters.bind(an_operator, given, "operator x")


@pytest.mark.parametrize("name", OPERATORS)
def test_operators_take_no_unknown_parameter(name: str) -> None:
    with pytest.raises(UsageError, match=f"operator {name}: unknown parameter 'nonsense'"):
        parameters.bind(OPERATORS[name].function, {"nonsense": 1}, f"operator {name}")


# ------------------------------------------------------------------------------------ reading


def test_a_reader_and_what_the_recipe_says(movie: Path) -> None:
    made = of(movie, said={"spacing": [2, 0.5, 0.25], "interval": 30}, levels=2)
    assert (made.kind, made.name, made.levels) == ("reader", "tiff", 2)
    assert made.version == readers.resolve("tiff").version
    assert set(made.params) == set(parameters.bind(readers.resolve("tiff").open, {}, ""))
    ds = part_spec.lazy(open_objects("memory://none"), made)
    assert [schema.spacing(ds, d) for d in "tzyx"] == [30, 2, 0.5, 0.25]
    np.testing.assert_array_equal(ds["image"][:, :, 0], PIXELS)
    with pytest.raises(UsageError, match="reader tiff: unknown parameter"):
        of(movie, options={"spacings": 1})
    with pytest.raises(SchemaError, match="set interval: found 'x'"):
        part_spec.read(replace(made, said={"interval": "x"}))


def test_the_same_file_elsewhere_is_the_same_part(movie: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved" / "Neu1.tif"
    moved.parent.mkdir()
    moved.write_bytes(movie.read_bytes())
    stat = movie.stat()
    os.utime(moved, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert of(moved).fingerprint == of(movie).fingerprint
    os.utime(moved, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert of(moved).fingerprint != of(movie).fingerprint


def same_size(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    stat = path.stat()
    path.write_bytes(data)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))


def into_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "x.tif").write_bytes(b"")


CHANGES = {
    "longer": (lambda path: path.write_bytes(path.read_bytes() + b"\0"), "changed since the plan"),
    "same-size": (same_size, "changed since the plan was made"),
    "gone": (Path.unlink, "Neu1.tif: gone since the plan was made; is the disk mounted"),
    "a-folder-now": (into_a_folder, "Neu1.tif: gone since the plan was made"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_sources_that_change_are_not_read(movie: Path, change: str) -> None:
    made = of(movie.parent)
    part_spec.check_unchanged(made)
    do, message = CHANGES[change]
    do(movie)
    for ask in (part_spec.check_unchanged, part_spec.read):
        with pytest.raises(InputError, match=message):
            ask(made)


@pytest.mark.parametrize("place", ["memory", "s3"])
def test_sources_that_change_in_a_bucket(
    request: pytest.FixtureRequest, movie: Path, place: str
) -> None:
    url = f"memory://{uuid.uuid4().hex}"
    url = request.getfixturevalue("bucket") if place == "s3" else url
    objects = open_objects(f"{url}/raw")
    objects.put("Neu1.tif", movie.read_bytes())
    made = of(f"{url}/raw")
    np.testing.assert_array_equal(part_spec.read(made)["image"][:, :, 0], PIXELS)
    objects.put("Neu1.tif", movie.read_bytes() + b"\0")
    with pytest.raises(InputError, match="changed since the plan was made"):
        part_spec.read(made)
    objects.delete("Neu1.tif")
    with pytest.raises(InputError, match="gone since the plan was made"):
        part_spec.read(made)


def test_a_folder_that_is_one_item(tmp_path: Path) -> None:
    """An OME-Zarr container: any of its files may change or go."""
    image = schema.movie(PIXELS[:, :, None])["image"]
    root = ngff.image_attributes(image.to_dataset(), "image", 1, name="a", path="{level}")
    containers.write_tree(tmp_path / "raw" / "a.zarr", {"": root}, [("", image, 1)])
    made = of(tmp_path / "raw", "ome-zarr")
    assert len(made.items) == 1
    np.testing.assert_array_equal(part_spec.read(made)["image"][:, :, 0], PIXELS)
    array = zarr.open_array(tmp_path / "raw" / "a.zarr" / "0", mode="r+")
    array[0] = 7
    with pytest.raises(InputError, match=r"a\.zarr: changed since the plan was made"):
        part_spec.read(made)
    for file in sorted((tmp_path / "raw").rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    with pytest.raises(InputError, match=r"a\.zarr: gone since the plan was made"):
        part_spec.read(made)


def test_an_archive_that_is_damaged_is_not_gone(tmp_path: Path) -> None:
    """The next run would look for one that is gone again; fetching this one anew helps."""
    place = tmp_path / "a.zarr.zip"
    with zipfile.ZipFile(place, "w") as archive:
        archive.writestr("zarr.json", "{}")
    place.write_bytes(place.read_bytes()[:-9])
    with pytest.raises(InputError, match=r"a\.zarr\.zip: damaged, or no archive: .* again") as told:
        part_spec.read(of(tmp_path, "ome-zarr"))
    assert not isinstance(told.value, GoneError)
    made = of(tmp_path, "ome-zarr")
    place.unlink()
    with pytest.raises(GoneError, match=r"a\.zarr\.zip: gone since the plan was made"):
        part_spec.read(made)


def test_damaged_sources(movie: Path) -> None:
    movie.write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"Neu1\.tif"):
        part_spec.read(of(movie))


# --------------------------------------------------------------------------------- operators


@pytest.fixture
def mylab(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module of the user's own, with operators over parts and over datasets."""
    module = ModuleType("mylab")
    module.__file__ = __file__

    def scale(ds: xr.Dataset, *, by: int = 2) -> xr.Dataset:
        device = devices.chosen_device()
        return (ds * by).assign_attrs(device=device)

    def pair(ds: xr.Dataset, other: xr.Dataset) -> xr.Dataset:
        return ds + other

    def count(tree: xr.DataTree) -> xr.Dataset:
        stems = list(tree.children)
        return xr.Dataset(
            {"frames": ("movie", [tree[s].sizes["t"] for s in stems])}, {"movie": stems}
        )

    def shift(
        ds: xr.Dataset, other: xr.Dataset | None = None, all: xr.DataTree | None = None
    ) -> xr.Dataset:
        return ds + (0 if other is None else other) + (0 if all is None else len(all.children))

    module.scale, module.pair, module.count, module.shift = scale, pair, count, shift
    monkeypatch.setitem(sys.modules, "mylab", module)
    return module


def sealed(ds: xr.Dataset, *stems: str) -> tuple[Any, list[dict[str, str]]]:
    objects = open_objects(f"memory://{uuid.uuid4().hex}")
    version = api.save(dict.fromkeys(stems, ds), objects.url, "leuko", message="m")
    return objects, [
        {"stem": ref.stem, "fingerprint": ref.fingerprint, "base": ref.base}
        for ref in version.parts
    ]


def test_an_operator_over_a_part(mylab: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    ds = schema.movie(PIXELS[:, :, None].astype("u2"))
    objects, (part,) = sealed(ds, "Neu1")
    made = PartSpec("operator", "mylab:scale", 1, {"by": 3}, inputs={"ds": [part]})
    found = part_spec.lazy(objects, made)
    assert found.attrs["device"] == "cpu"
    assert found["image"].chunks is not None
    np.testing.assert_array_equal(found["image"], ds["image"] * 3)
    monkeypatch.setattr(devices, "has_cuda", lambda: True)
    assert part_spec.lazy(objects, replace(made, device="cuda")).attrs["device"] == "cuda"
    two = PartSpec("operator", "mylab:pair", 1, {}, inputs={"ds": [part], "other": [part]})
    np.testing.assert_array_equal(part_spec.lazy(objects, two)["image"], ds["image"] * 2)


def test_an_operator_over_a_dataset(mylab: ModuleType) -> None:
    objects, found = sealed(schema.movie(PIXELS[:, :, None]), "Neu1", "Neu2")
    made = PartSpec("operator", "mylab:count", 1, {}, inputs={"tree": found})
    table = part_spec.lazy(objects, made)
    assert table["movie"].values.tolist() == ["Neu1", "Neu2"]
    assert table["frames"].values.tolist() == [3, 3]


def test_inputs_that_may_be_left_out(mylab: ModuleType) -> None:
    ds = schema.movie(PIXELS[:, :, None].astype("u2"))
    objects, parts = sealed(ds, "Neu1", "Neu2")
    for further, expected in (
        ({}, ds),
        ({"other": parts[:1]}, ds * 2),
        ({"all": parts}, ds + 2),
        ({"other": parts[:1], "all": parts}, ds * 2 + 2),
    ):
        made = PartSpec("operator", "mylab:shift", 1, {}, inputs={"ds": parts[:1], **further})
        found = part_spec.lazy(objects, made)
        np.testing.assert_array_equal(found["image"], expected["image"])


def test_a_device_that_is_not_there(mylab: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "has_cuda", lambda: False)
    made = PartSpec("operator", "mylab:scale", 1, {"by": 3}, inputs={"ds": []}, device="cuda")
    with pytest.raises(UsageError, match="no usable GPU"):
        part_spec.operate(made, {"ds": {"Neu1": schema.movie(PIXELS[:, :, None])}})


def test_items_travel_as_they_were_listed(movie: Path) -> None:
    (item,) = sources.list_items(movie)
    assert of(movie).items == (asdict(item),)
