"""The OME-Zarr reader: real containers of both versions against zarr itself, and bad ones."""

import json
import pickle
from dataclasses import replace

import fsspec
import numpy as np
import pytest
import zarr

from dpipe import schema
from dpipe.errors import InputError, UsageError
from dpipe.readers import open_ome_zarr
from dpipe.readers.ome_zarr.movies import find
from dpipe.sources import Item, list_items


def values(array):
    return array.data.compute(scheduler="synchronous")


def axis(name):
    kinds = {"t": ("time", "second"), "c": ("channel", None)}
    kind, unit = kinds.get(name, ("space", "micrometer"))
    return {"name": name, "type": kind} | ({"unit": unit} if unit else {})


def described(axes, levels=1, /, **said):
    """Metadata of an image: 0.5 um pixels, 2 um planes, 30 s, halved at each level."""
    step = {"t": 30.0, "c": 1.0, "z": 2.0, "y": 0.5, "x": 0.5}
    datasets = []
    for level in range(levels):
        scale = [step[a] * (2**level if a in "yx" else 1) for a in axes]
        transformations = [{"type": "scale", "scale": scale}]
        datasets.append({"path": str(level), "coordinateTransformations": transformations})
    return {"name": "img", "axes": [axis(a) for a in axes], "datasets": datasets} | said


def write(path, pixels, axes, /, version="0.5", levels=1, extra=None, **said):
    """Write an image as other programs do, with zarr alone."""
    three = version == "0.5"
    image = described(axes, levels, **said) | ({} if three else {"version": version})
    meta = {"multiscales": [image]} | (extra or {})
    attributes = {"ome": {"version": version} | meta} if three else meta
    group = zarr.open_group(path, mode="a", zarr_format=3 if three else 2, attributes=attributes)
    for level in range(levels):
        block = pixels[..., :: 2**level, :: 2**level]
        names = {"dimension_names": list(axes)} if three else {}
        array = group.create_array(
            str(level), shape=block.shape, chunks=tuple(min(n, 16) for n in block.shape),
            dtype=block.dtype, **names,
        )  # fmt: skip
        array[...] = block
    return path


def write_labels(path, pixels, axes, name="cells", **said):
    write(path / "labels" / name, pixels, axes, extra={"image-label": {}}, **said)
    listed = {"ome": {"version": "0.5", "labels": [name]}}
    group = zarr.open_group(path / "labels", mode="a", zarr_format=3)
    known = dict(group.attrs).get("ome", {}).get("labels", [])
    listed["ome"]["labels"] = [*known, name]
    group.attrs.update(listed)


def noise(shape, dtype="u2"):
    return np.random.default_rng(0).integers(0, 200, shape).astype(dtype)


REAL = {
    "0.4, y x": ("formats/ome_zarr/ome-zarr-examples/image-02.zarr", {}, (1, 1, 1, 200, 200)),
    "0.4, z y x": (
        "reference/galaxy_2d_features/input/ome-zarr-examples/image-03.zarr",
        {},
        (1, 1, 2, 100, 100),
    ),
    "0.4, missing chunks": (
        "formats/ome_zarr/ome-zarr-examples/image-04.zarr",
        {"level": 1, "fill_missing": True},
        (1, 1, 2, 32, 32),
    ),
    "0.5, bits": ("reference/galaxy_2d_features/input/input9.zarr", {}, (1, 1, 2, 100, 100)),
    "0.5, odd pyramid": (
        "reference/galaxy_2d_features/input/input9.zarr",
        {"level": 3},
        (1, 1, 2, 12, 12),
    ),
    "0.5, channels": ("reference/galaxy_2d_features/input/input10.zarr", {}, (1, 2, 1, 64, 64)),
    "0.5, capital letters": (
        "reference/galaxy_2d_features/input/input13.zarr",
        {},
        (1, 1, 1, 265, 329),
    ),
}


@pytest.mark.parametrize(("path", "options", "shape"), REAL.values(), ids=REAL)
def test_real_containers(shared_data, path, options, shape):
    folder = shared_data / path
    ds = open_ome_zarr(folder, **options)
    assert ds.image.shape == shape
    expected = zarr.open_array(folder / str(options.get("level", 0)), mode="r")[...]
    np.testing.assert_array_equal(values(ds.image).squeeze(), expected.squeeze())
    assert ds.attrs["format_version"] == ("0.4" if "examples" in path else "0.5")


def test_real_missing_chunks_are_counted(shared_data):
    path = shared_data / "formats/ome_zarr/ome-zarr-examples/image-04.zarr"
    with pytest.raises(
        InputError, match=r"array '1': 2 of 2 chunks not there: 0/0/0, 1/0/0; .*option fill"
    ):
        open_ome_zarr(path, level=1)
    (note,) = open_ome_zarr(path, level=1, fill_missing=True).attrs["notes"]
    assert note == "2 of 2 chunks not there: 0/0/0, 1/0/0; read as the fill value"


def test_real_scale_of_a_lower_level(shared_data):
    path = shared_data / "reference/galaxy_2d_features/input/input9.zarr"
    ds = open_ome_zarr(path, level=3)
    # the file says so: 100 pixels became 12
    assert schema.spacing(ds, "x") == pytest.approx(100 / 12)


def test_real_grouping(shared_data):
    parts = {p.stem: p for p in find(list_items(shared_data / "reference/galaxy_2d_features"))}
    assert {"input9", "input10", "input13", "image-03"} <= set(parts)
    ds = open_ome_zarr([item.uri for item in parts["input10"].items])
    assert ds.sizes["c"] == 2


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("axes", ["yx", "cyx", "zyx", "tyx", "tczyx", "czyx", "tzyx"])
def test_axes_of_both_versions(tmp_path, version, axes):
    shape = [{"t": 3, "c": 2, "z": 4, "y": 20, "x": 17}[a] for a in axes]
    pixels = noise(shape)
    ds = open_ome_zarr(write(tmp_path / "a.zarr", pixels, axes, version))
    assert ds.image.dims == schema.MOVIE_DIMS
    np.testing.assert_array_equal(values(ds.image).squeeze(), pixels)
    assert schema.spacing(ds, "t") == (30 if "t" in axes else 1)
    assert schema.spacing(ds, "z") == (2 if "z" in axes else 1)
    assert schema.spacing(ds, "x") == 0.5


def test_levels(tmp_path):
    pixels = noise((2, 40, 32))
    path = write(tmp_path / "a.zarr", pixels, "zyx", levels=2)
    ds = open_ome_zarr(path, level=1)
    np.testing.assert_array_equal(values(ds.image)[0, 0], pixels[:, ::2, ::2])
    assert schema.spacing(ds, "y") == 1
    assert ds.attrs["resolution_levels"] == 2
    with pytest.raises(InputError, match=r"a.zarr: no level 2; the image has levels 0 to 1"):
        open_ome_zarr(path, level=2)


def test_what_is_not_said_is_assumed(tmp_path):
    axes = [{"name": "t", "type": "time"}, axis("y"), {"name": "x", "type": "space", "unit": "px"}]
    path = write(tmp_path / "a.zarr", noise((3, 20, 20)), "tyx", axes=axes)
    lines = open_ome_zarr(path).attrs["assumed"]
    assert lines == [
        "times are seconds: no unit is said",
        "lengths along x are micrometres: the unit is 'px'",
    ]
    ds = open_ome_zarr(path, unit="nm", time_unit="min")
    assert "assumed" not in ds.attrs
    assert (schema.spacing(ds, "t"), schema.spacing(ds, "y")) == (1800, 0.0005)
    revised = schema.revise(open_ome_zarr(path), interval=30, spacing=[1, 1, 1])
    assert "assumed" not in revised.attrs
    assert open_ome_zarr(path, axes="zyx").sizes["z"] == 3


def test_old_versions_are_read(tmp_path):
    """Before 0.3 axes were always t, c, z, y, x; sizes had no place."""
    pixels = noise((2, 1, 3, 20, 20))
    for version, more in (("0.1", {}), ("0.2", {}), ("0.3", {"axes": list("tczyx")})):
        path = tmp_path / f"{version}.zarr"
        write(path, pixels, "tczyx", "0.4")
        said = {"version": version, "datasets": [{"path": "0"}]} | more
        (path / ".zattrs").write_text(json.dumps({"multiscales": [said]}))
        ds = open_ome_zarr(path)
        np.testing.assert_array_equal(values(ds.image), pixels)
        assert ds.attrs["format_version"] == version
        assert [line.split(":")[0] for line in ds.attrs["assumed"]] == [
            "frames are 1 s apart",
            "voxel size along z, y, x is 1 micrometre",
        ]
        assert "assumed" not in schema.revise(ds, interval=30, spacing=[2, 1, 1]).attrs


def test_version_6_is_read(tmp_path):
    pixels = noise((2, 20, 20))
    path = write(tmp_path / "a.zarr", pixels, "zyx")
    to = {"input": {"path": "0"}, "output": {"name": "own"}}
    scale = {"type": "scale", "scale": [2, 0.5, 0.5]} | to
    systems = [{"name": "own", "axes": [axis(a) for a in "zyx"]}]
    image = {"coordinateSystems": systems,
             "datasets": [{"path": "0", "coordinateTransformations": [scale]}]}  # fmt: skip
    zarr.open_group(path).attrs["ome"] = {"version": "0.6", "multiscales": [image]}
    ds = open_ome_zarr(path)
    np.testing.assert_array_equal(values(ds.image)[0, 0], pixels)
    assert [schema.spacing(ds, dim) for dim in "zyx"] == [2, 0.5, 0.5]
    assert {"assumed", "notes"}.isdisjoint(ds.attrs)


@pytest.fixture
def spatial(tmp_path):
    """A SpatialData container: images and labels apart, identity beside the scale."""
    root = tmp_path / "s.zarr"
    zarr.open_group(root, mode="a", attributes={"spatialdata_attrs": {"version": "0.2"}})
    cyx, yx = ({"name": n, "axes": [axis(a) | {"unit": "unit"} for a in n]} for n in ("cyx", "yx"))
    for group, name, system, axes in (
        ("images", "tissue", cyx, "cyx"),
        ("labels", "cells", yx, "yx"),
    ):
        whole = [{"type": "identity", "input": system, "output": system | {"name": "global"}}]
        shape = tuple({"c": 2, "y": 20, "x": 20}[a] for a in axes)
        write(root / group / name, noise(shape), axes, coordinateTransformations=whole,
              axes=[axis(a) for a in axes])  # fmt: skip
        said = dict(zarr.open_group(root / group / name).attrs)["ome"]
        said = said | {"version": "0.5-dev-spatialdata", "omero": {"channels": [{"label": 0}] * 2}}
        zarr.open_group(root / group / name).attrs["ome"] = said
    return root


def test_spatial_data(spatial):
    ds = open_ome_zarr(spatial)
    np.testing.assert_array_equal(values(ds.image)[0, :, 0], noise((2, 20, 20)))
    assert [schema.spacing(ds, dim) for dim in "yx"] == [0.5, 0.5]
    assert ds.attrs["notes"] == [
        "labels left out: 'labels/cells'; option labels=NAME reads one of them"
    ]
    ds = open_ome_zarr(spatial, labels="labels/cells")
    np.testing.assert_array_equal(values(ds["labels"])[0, 0], noise((20, 20)))
    assert "notes" not in ds.attrs
    write(spatial / "images" / "other", noise((20, 20)), "yx")
    with pytest.raises(InputError, match=r"2 images are inside; .*: images/other, images/tissue"):
        open_ome_zarr(spatial)
    assert open_ome_zarr(spatial, image="images/other").sizes["c"] == 1


def test_tables_are_left_out_and_said(tmp_path):
    path = write(tmp_path / "a.zarr", noise((20, 20)), "yx")
    zarr.open_group(path / "tables", mode="a").attrs["tables"] = ["nuclei", "rois"]
    assert open_ome_zarr(path).attrs["notes"] == ["tables left out: 'nuclei', 'rois'"]


def test_channels(tmp_path):
    window = {"min": 0, "max": 255, "start": 3, "end": 90}
    listed = [
        {"label": "GFP", "color": "00ff00", "window": window},
        {"label": "", "color": "red", "window": window},
    ]
    pixels = noise((2, 20, 20))
    path = write(tmp_path / "a.zarr", pixels, "cyx", extra={"omero": {"channels": listed}})
    ds = open_ome_zarr(path)
    assert ds.c.values.tolist() == ["GFP", "1"]
    assert ds.channel_color.values.tolist() == ["00ff00", "FFFFFF"]
    assert ds.c.attrs["windows"] == [[3, 90], [3, 90]]
    path = write(tmp_path / "b.zarr", pixels, "cyx", extra={"omero": {"channels": listed[:1]}})
    ds = open_ome_zarr(path)  # nobody knows which one it is
    assert ds.attrs["assumed"] == ["channel names are left out: omero describes 1 of 2 channels"]
    assert ds.c.values.tolist() == ["0", "1"]
    three = {"omero": {"channels": [*listed, listed[0]]}}
    ds = open_ome_zarr(write(tmp_path / "c.zarr", pixels, "cyx", extra=three))
    assert ds.attrs["assumed"] == ["channel names are left out: omero describes 3 of 2 channels"]
    assert ds.c.values.tolist() == ["0", "1"]
    assert "channel_color" not in ds.coords
    assert "windows" not in ds.c.attrs


def test_lazy_and_pickled(tmp_path):
    pixels = noise((3, 20, 20))
    path = write(tmp_path / "a.zarr", pixels, "zyx")
    ds = pickle.loads(pickle.dumps(open_ome_zarr(path)))
    pixels[0] = 0
    zarr.open_array(path / "0", mode="r+")[0] = 0  # what is read is what is there now
    np.testing.assert_array_equal(values(ds.image)[0, 0], pixels)


def test_from_memory(tmp_path):
    pixels = noise((20, 20))
    path = write(tmp_path / "a.zarr", pixels, "yx")
    memory = fsspec.filesystem("memory")
    for file in path.rglob("*"):
        if file.is_file():
            memory.pipe_file(f"/zarrs/a.zarr/{file.relative_to(path)}", file.read_bytes())
    ds = open_ome_zarr("memory://zarrs/a.zarr")
    np.testing.assert_array_equal(values(ds.image).squeeze(), pixels)


# several images ---------------------------------------------------------------------------------


def wrap(path, names, listed=True):
    """Make the layout of bioformats2raw."""
    for i, name in enumerate(names):
        write(path / name, noise((20, 20)) + i, "yx", "0.4")
    (path / ".zattrs").write_text(json.dumps({"bioformats2raw.layout": 3}))
    (path / ".zgroup").write_text('{"zarr_format": 2}')
    if listed:
        (path / "OME").mkdir()
        (path / "OME" / ".zattrs").write_text(json.dumps({"series": list(names)}))
    return path


def test_several_images_must_be_named(tmp_path):
    path = wrap(tmp_path / "a.zarr", ["0", "1"])
    with pytest.raises(InputError, match=r"2 images are inside; open one .*Found: 0, 1"):
        open_ome_zarr(path)
    for one in ("1", 1):  # on the command line it is a number
        found = values(open_ome_zarr(path, image=one).image).squeeze()
        np.testing.assert_array_equal(found, noise((20, 20)) + 1)


@pytest.mark.parametrize("listed", [True, False])
def test_a_single_wrapped_image_is_opened(tmp_path, listed):
    path = wrap(tmp_path / "a.zarr", ["0"], listed)
    np.testing.assert_array_equal(values(open_ome_zarr(path).image).squeeze(), noise((20, 20)))


def test_two_images_that_nobody_lists(tmp_path):
    path = wrap(tmp_path / "a.zarr", ["0", "1"], listed=False)
    with pytest.raises(InputError, match=r"2 images are inside; .*Found: 0, 1"):
        open_ome_zarr(path)


def test_an_image_that_is_damaged_is_not_the_end_of_them(tmp_path):
    path = wrap(tmp_path / "a.zarr", ["0", "1"], listed=False)
    (path / "1" / ".zattrs").write_text("{")
    with pytest.raises(InputError, match=r"a.zarr: 1/.zattrs: its metadata are damaged: no JSON"):
        open_ome_zarr(path)
    assert open_ome_zarr(path, image=0).sizes["y"] == 20


def test_a_field_of_a_plate(tmp_path):
    path = tmp_path / "a.zarr"
    zarr.open_group(path, mode="a", attributes={"ome": {"version": "0.5", "plate": {}}})
    write(path / "A" / "1" / "0", noise((20, 20)), "yx")
    with pytest.raises(InputError, match=r"a.zarr: found a plate .*option image=A/1/0"):
        open_ome_zarr(path)
    assert open_ome_zarr(path, image="A/1/0").sizes["y"] == 20


def test_two_images_of_one_group(tmp_path):
    path = write(tmp_path / "a.zarr", noise((20, 20)), "yx")
    group = zarr.open_group(path)
    said = group.attrs["ome"]
    group.attrs["ome"] = said | {"multiscales": said["multiscales"] * 2}
    with pytest.raises(
        InputError, match=r"2 images in one group; .*NUMBER. Found: 0 'img', 1 'img'"
    ):
        open_ome_zarr(path)
    assert open_ome_zarr(path, multiscale=1).sizes["y"] == 20
    (image,) = said["multiscales"]
    other = image | {"name": "7", "datasets": [{"path": "no"}]}
    group.attrs["ome"] = said | {"multiscales": [image, other]}
    for wanted in ("7", 1, "1"):
        with pytest.raises(InputError, match="no Zarr array no"):
            open_ome_zarr(path, multiscale=wanted)
    # a name that is a number goes before the number
    group.attrs["ome"] = said | {"multiscales": [other | {"name": "1"}, image, image]}
    with pytest.raises(InputError, match="no Zarr array no"):
        open_ome_zarr(path, multiscale="1")
    assert open_ome_zarr(path, multiscale=1).sizes["y"] == 20
    group.attrs["ome"] = said | {"multiscales": [image, other]}
    for wanted in ("x", 2, -1):
        with pytest.raises(InputError, match=f"no multiscale {wanted!r}. Found: 0 'img', 1 '7'"):
            open_ome_zarr(path, multiscale=wanted)


# grouping and bad input -------------------------------------------------------------------------


def grouped(*names):
    items = [Item(f"/raw/{name}", name, 1, "0") for name in names]
    return {part.stem: [item.path for item in part.items] for part in find(items)}


def test_find():
    names = [
        "a.ome.zarr/zarr.json",
        "a.ome.zarr/labels/x.zarr/0",
        "b/c.ZARR/0",
        "d/.zarr/0",
        "e.txt",
    ]
    assert grouped(*names) == {"a": ["a.ome.zarr"], "c": ["c.ZARR"]}
    items = [Item(f"/raw/{name}", name, 3, "0") for name in names]
    first, *_ = find(items)
    assert (first.items[0].uri, first.items[0].size) == ("/raw/a.ome.zarr", 6)
    (changed, *_) = find([replace(item, etag="1") for item in items])
    assert changed.items[0].etag != first.items[0].etag


def test_a_container_given_itself():
    items = [Item("s3://bucket/a.zarr/zarr.json", "zarr.json", 1, "0")]
    assert [part.stem for part in find(items)] == ["a"]


@pytest.mark.parametrize("urls", [["/a.zarr", "/b.zarr"], []])
def test_one_container_is_opened(urls):
    with pytest.raises(UsageError, match=r"expected one folder ending in \.zarr"):
        open_ome_zarr(urls)


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ({"level": "1"}, "level='1': expected a whole number"),
        ({"level": True}, "level=True: expected a whole number"),
        ({"background": "-1"}, "background='-1': expected a whole number"),
        ({"unit": 5}, "unit='5': expected a unit such as um"),
        ({"axes": 5}, "axes='5': expected letters"),
        ({"system": 5}, r"system='5': no such coordinate system. Found: \[\]"),
    ],
)
def test_options_that_are_none(tmp_path, option, says):
    path = write(tmp_path / "a.zarr", noise((20, 20)), "yx")
    with pytest.raises(UsageError, match=says):
        open_ome_zarr(path, **option)


def test_bad_containers(tmp_path):
    with pytest.raises(InputError, match=r"a.zarr: no Zarr group"):
        open_ome_zarr(tmp_path / "a.zarr")
    path = write(tmp_path / "b.zarr", noise((20, 20)), "yx")
    (path / "0" / "zarr.json").unlink()
    with pytest.raises(InputError, match=r"b.zarr: no Zarr array 0"):
        open_ome_zarr(path)
    path = write(tmp_path / "c.zarr", noise((20, 20)), "yx", datasets=[])
    with pytest.raises(InputError, match=r"c.zarr: OME-Zarr 0.5: 'datasets' is \[\]; expected"):
        open_ome_zarr(path)
    path = write(tmp_path / "d.zarr", noise((20, 20), "c8"), "yx")
    with pytest.raises(InputError, match=r"d.zarr: pixels are complex64"):
        open_ome_zarr(path)


def test_the_array_calls_its_axes_otherwise(tmp_path):
    pixels = noise((3, 20, 20))
    path = write(tmp_path / "a.zarr", pixels, "zyx")
    array = json.loads((path / "0" / "zarr.json").read_text())
    for names in (list("ZYX"), [None] * 3, list("abc")):
        (path / "0" / "zarr.json").write_text(json.dumps(array | {"dimension_names": names}))
        np.testing.assert_array_equal(values(open_ome_zarr(path).image)[0, 0], pixels)
    (path / "0" / "zarr.json").write_text(json.dumps(array | {"dimension_names": list("xyz")}))
    with pytest.raises(InputError, match=r"array '0' calls its dims x, y, z, its image z, y, x"):
        open_ome_zarr(path)
    found = open_ome_zarr(path, axes="zyx").image
    np.testing.assert_array_equal(values(found)[0, 0], pixels)


def test_the_array_has_other_dimensions_than_the_metadata(tmp_path):
    path = write(tmp_path / "a.zarr", noise((20, 20)), "yx")
    zarr.open_group(path).create_array("1", shape=(2, 20, 20), dtype="u1")
    group = zarr.open_group(path)
    said = group.attrs["ome"]
    said["multiscales"][0]["datasets"][0]["path"] = "1"
    group.attrs["ome"] = said
    with pytest.raises(InputError, match=r"a.zarr: array '1' has 3 dimensions; expected \(y, x\)"):
        open_ome_zarr(path)


@pytest.mark.parametrize(
    "own",
    [
        3,
        *({"times": t} for t in ("x", [1, 2], [1, 2, "x"], [1, 2, True], [1, 3, 2], [1, 1, 2])),
        {"times": [1, 2, float("inf")]},
    ],
)
def test_times_that_are_none(tmp_path, own):
    path = write(tmp_path / "a.zarr", noise((3, 20, 20)), "tyx")
    attributes = json.loads((path / "zarr.json").read_text())
    attributes["attributes"]["dpipe"] = own
    (path / "zarr.json").write_text(json.dumps(attributes))
    ds = open_ome_zarr(path)
    np.testing.assert_array_equal(ds.t, [0, 30, 60])
    assert ("assumed" in ds.attrs) == (own != 3)


def test_bits_become_bytes(tmp_path):
    path = write(tmp_path / "a.zarr", noise((20, 20)) > 100, "yx")
    assert open_ome_zarr(path).image.dtype == "u1"


def test_no_place_for_names():
    """A container without files has nothing to be read from."""
    assert list(find([])) == []


@pytest.mark.parametrize(
    "text", ['{"a": [1]}', "{", '{"zarr_format": 3, "node_type": "array"}', "[]"]
)
def test_damaged_metadata_of_an_array(tmp_path, text):
    path = write(tmp_path / "a.zarr", noise((20, 20)), "yx")
    (path / "0" / "zarr.json").write_text(text)
    with pytest.raises(
        InputError, match=r"a.zarr: array '0': its metadata are damaged: "
    ) as caught:
        open_ome_zarr(path)
    assert "\n" not in str(caught.value)


def test_damaged_chunks(tmp_path):
    path = write(tmp_path / "a.zarr", noise((20, 20)), "yx")
    (path / "0" / "c" / "0" / "0").write_bytes(b"nonsense")
    ds = open_ome_zarr(path)
    with pytest.raises(InputError, match=r"a.zarr/0.*: an object cannot be decoded"):
        values(ds.image)
