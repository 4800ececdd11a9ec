"""Zipped OME-Zarr: found and read in place, at the root of the archive or below."""

import tarfile
import uuid
import zipfile
from pathlib import Path

import numpy as np
import pytest
import zarr

import dpipe
from dpipe import census, schema
from dpipe.build import check_unchanged
from dpipe.build.part_spec import from_items
from dpipe.errors import InputError
from dpipe.formats.containers import write_tree
from dpipe.metadata import ngff
from dpipe.readers import open_ome_zarr, resolve
from dpipe.readers.ome_zarr.movies import find
from dpipe.sources import Item, list_items
from dpipe.storage import open_objects


def movie(seed=0):
    pixels = np.random.default_rng(seed).integers(1, 900, (2, 1, 3, 20, 30)).astype("u2")
    return schema.movie(pixels, spacing=(2, 0.5, 0.5), interval=30, channels=["GFP"])


def container(path, ds):
    """An image at a path, as dpipe writes it."""
    root = ngff.image_attributes(ds, "image", 1, name="m", path="{level}")
    write_tree(path, {"": root}, [("", ds["image"], 1)])
    return Path(path)


def packed(target, folder, base="", method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(target, "a", method) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, f"{base}/{file.relative_to(folder)}".lstrip("/"))
    return str(target)


@pytest.fixture
def raw(tmp_path):
    return container(tmp_path / "in" / "m.zarr", movie())


def parts(where):
    return {part.stem: part.items[0].uri for part in find(list_items(where))}


PLACES = {
    "root": ("m.zarr.zip", "", ""),
    "ozx": ("m.ozx", "", ""),
    "OZX": ("M.OME.ZARR.OZX".lower(), "", ""),
    "any name": ("m.zip", "", ""),
    "below": ("m.zip", "m.zarr", "/m.zarr"),
    "below, of the same name": ("m.zarr.zip", "m.zarr", "/m.zarr"),
    "deep": ("all.zip", "day 1/m.ome.zarr", "/day 1/m.ome.zarr"),
    "without a suffix": ("all.zip", "m", "/m"),
}


@pytest.mark.parametrize(("name", "base", "below"), PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_in_place(tmp_path, raw, name, base, below, method):
    place = packed(tmp_path / name, raw, base, method)
    (uri,) = parts(place).values()
    assert uri == f"{place}{below}"
    for given in (uri, place):
        ds = open_ome_zarr(given)
        np.testing.assert_array_equal(ds.image.data.compute(scheduler="sync"), movie().image)
        assert schema.spacing(ds, "t") == 30
        assert {"assumed", "notes"}.isdisjoint(ds.attrs)
    assert not list(tmp_path.glob("*.zarr"))  # nothing was unpacked


def test_stems(tmp_path, raw):
    for name in ("a.zarr.zip", "b.ome.zarr.zip", "c.ozx", "d.zip"):
        packed(tmp_path / name, raw)
    found = {}
    for name in ("a.zarr.zip", "b.ome.zarr.zip", "c.ozx", "d.zip"):
        found |= parts(tmp_path / name)
    assert list(found) == ["a", "b", "c", "d"]


def test_several_in_one_archive(tmp_path, raw):
    place = packed(tmp_path / "all.zip", raw, "a.zarr")
    packed(tmp_path / "all.zip", container(tmp_path / "in" / "n.zarr", movie(1)), "x/b.zarr")
    assert parts(place) == {"a": f"{place}/a.zarr", "b": f"{place}/x/b.zarr"}
    np.testing.assert_array_equal(open_ome_zarr(f"{place}/x/b.zarr").image, movie(1).image)
    with pytest.raises(InputError, match=r"all.zip: 2 containers are inside; .*: a.zarr, x/b.zarr"):
        open_ome_zarr(place)


def test_a_container_in_an_archive_is_named_with_it(tmp_path, raw):
    """The root's document is lost: what is left are groups called "0" in any archive."""
    (raw / "zarr.json").unlink()
    place = packed(tmp_path / "a.zarr.zip", raw)
    (uri,) = parts(place).values()
    with pytest.raises(InputError, match=r"^a\.zarr\.zip/0: no OME-Zarr image"):
        open_ome_zarr(uri)


def test_among_the_files_of_a_folder(tmp_path, raw):
    """By their names: what other zips hold is not asked."""
    folder = tmp_path / "raw"
    folder.mkdir()
    for name in ("a.zarr.zip", "b.ozx", "other.zip"):
        packed(folder / name, raw)
    packed(folder / "c.zarr.zip", raw, "c.zarr")
    container(folder / "d.zarr", movie())
    found = parts(folder)
    assert found == {
        "a": f"{folder}/a.zarr.zip",
        "b": f"{folder}/b.ozx",
        "c": f"{folder}/c.zarr.zip/c.zarr",
        "d": f"{folder}/d.zarr",
    }
    for uri in found.values():
        np.testing.assert_array_equal(open_ome_zarr(uri).image, movie().image)


def test_nothing_is_fetched_to_be_found():
    """A file of a record is downloaded when it is named itself, not when records are listed."""
    items = [
        Item(f"{start}/m.zarr.zip", "m.zarr.zip", 9, "") for start in ("zenodo:7", "https://x")
    ]
    assert list(find(items)) == []


def test_a_tar(tmp_path, raw):
    place = tmp_path / "m.zarr.tar"
    with tarfile.open(place, "w") as archive:
        archive.add(raw, "m.zarr")
    assert parts(place) == {"m": f"{place}/m.zarr"}
    np.testing.assert_array_equal(open_ome_zarr(place).image, movie().image)


def test_format_2_in_a_zip(tmp_path):
    folder = tmp_path / "in" / "old.zarr"
    pixels = movie().image.values[0, 0]
    group = zarr.open_group(folder, mode="w", zarr_format=2)
    group.create_array("0", shape=pixels.shape, chunks=(1, 16, 16), dtype="u2")[...] = pixels
    axes = [{"name": a, "type": "space", "unit": "micrometer"} for a in "zyx"]
    scale = [{"type": "scale", "scale": [1, 1, 1]}]
    levels = [{"path": "0", "coordinateTransformations": scale}]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": levels}]
    place = packed(tmp_path / "old.zarr.zip", folder)
    np.testing.assert_array_equal(open_ome_zarr(place).image[0, 0], pixels)


def test_unchanged_and_changed(tmp_path, raw):
    folder = tmp_path / "raw"
    folder.mkdir()
    place = packed(folder / "m.zarr.zip", raw)
    (part,) = resolve("ome-zarr").parts([str(folder)])  # by the folder, not by its own name
    origin = from_items("ome-zarr", part.items)
    check_unchanged(origin)
    Path(place).unlink()
    packed(place, container(tmp_path / "in" / "n.zarr", movie(1)))
    np.testing.assert_array_equal(open_ome_zarr(place).image, movie(1).image)
    with pytest.raises(InputError, match=r"m\.zarr\.zip: changed since the plan was made"):
        check_unchanged(origin)


def test_census_and_make(tmp_path, raw):
    place = packed(tmp_path / "all.zip", raw, "x/m.zarr")
    (row,) = census.census("ome-zarr", [place])
    assert (row["stem"], row["dtype"]) == ("m", "uint16")
    assert "problem" not in row
    recipe = tmp_path / "r.yaml"
    recipe.write_text(f"name: r\ndatasets:\n  r: {{reader: ome-zarr, source: {place}}}\n")
    store = str(tmp_path / "store")
    assert dpipe.run_recipe(recipe, store=store, workers="0").exit_code == 0
    np.testing.assert_array_equal(dpipe.open(store, "r")["image"], movie().image)


@pytest.mark.parametrize("kind", ["memory", "s3"])
def test_in_a_bucket(request, tmp_path, raw, kind):
    name = uuid.uuid4().hex
    url = f"memory://{name}" if kind == "memory" else request.getfixturevalue("bucket")
    places = open_objects(url)
    places.put(f"{name}/m.zarr.zip", Path(packed(tmp_path / "a.zip", raw)).read_bytes())
    places.put(f"{name}/o/o.ozx", Path(tmp_path / "a.zip").read_bytes())
    places.put(f"{name}/n.zip", Path(packed(tmp_path / "b.zip", raw, "n.zarr")).read_bytes())
    ozx = f"{url}/{name}/o/o.ozx"
    assert parts(f"{url}/{name}") == {"m": f"{url}/{name}/m.zarr.zip", "o": ozx}
    assert parts(f"{url}/{name}/o/*.ozx") == {"o": ozx}
    assert parts(f"{url}/{name}/n.zip") == {"n": f"{url}/{name}/n.zip/n.zarr"}
    for uri in (f"{url}/{name}/m.zarr.zip", f"{url}/{name}/n.zip", ozx):
        np.testing.assert_array_equal(open_ome_zarr(uri).image, movie().image)


def test_missing_chunks_in_a_zip(tmp_path, raw):
    gone = next((raw / "0" / "c").rglob("0"))
    while gone.is_dir():
        gone = gone / "0"
    gone.unlink()
    place = packed(tmp_path / "m.zarr.zip", raw)
    with pytest.raises(InputError, match=r"m.zarr.zip: array '0': .* not there: c/0/0/0/0/0; "):
        open_ome_zarr(place)
    ds = open_ome_zarr(place, fill_missing=True)
    assert "read as the fill value" in ds.attrs["notes"][0]


def test_chunks_that_a_shard_in_a_zip_lacks(tmp_path):
    """Found on reading: the index of a shard in an archive is not had without all of it."""
    folder = tmp_path / "in" / "m.zarr"
    group = zarr.open_group(folder, mode="w")
    array = group.create_array("0", shape=(4, 4), chunks=(2, 2), shards=(4, 4), dtype="u2")
    array[:2] = 5
    axes = [{"name": a, "type": "space", "unit": "micrometer"} for a in "yx"]
    scale = [{"type": "scale", "scale": [1, 1]}]
    levels = [{"path": "0", "coordinateTransformations": scale}]
    image = {"axes": axes, "datasets": levels}
    group.attrs["ome"] = {"version": "0.5", "multiscales": [image]}
    with pytest.raises(InputError, match=r"2 of 4 chunks not there: c/0/0\[1, 0\], c/0/0\[1, 1\]"):
        open_ome_zarr(folder)
    place = packed(tmp_path / "m.ozx", folder)
    with pytest.raises(InputError, match=r"2 chunks not there: c/0/0\[1, 0\], c/0/0\[1, 1\]"):
        open_ome_zarr(place).image.data.compute(scheduler="sync")
    found = open_ome_zarr(place, fill_missing=True).image.data.compute(scheduler="sync")
    np.testing.assert_array_equal(found[0, 0, 0], [[5] * 4] * 2 + [[0] * 4] * 2)


def test_archives_that_hold_none(tmp_path):
    place = tmp_path / "a.zip"
    with zipfile.ZipFile(place, "w") as archive:
        archive.writestr("readme.txt", "no")
    assert parts(place) == {}
    with pytest.raises(InputError, match=r"a.zip: no Zarr group /; expected zarr.json or .zattrs"):
        open_ome_zarr(place)
    place.write_bytes(b"PK rubbish")
    with pytest.raises(InputError, match=r"a.zip: .*damaged, or no archive"):
        open_ome_zarr(place)
    damaged = tmp_path / "raw" / "b.zarr.zip"
    damaged.parent.mkdir()
    damaged.write_bytes(b"PK rubbish")
    assert parts(damaged.parent) == {"b": str(damaged)}  # which opening says, and no other part
