"""OME-Zarr metadata: places and scales by hand, shapes by the official schemas."""

import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import referencing
import xarray as xr
from jsonschema import Draft202012Validator
from ome_zarr_models.v05.image import ImageAttrs
from yaozarrs import v05 as yaozarrs_v05

from dpipe import ngff, schema
from dpipe.errors import InputError, SchemaError


@pytest.fixture(scope="session")
def official(shared_data: Path):
    """Validate against the schemas that the OME-Zarr specification publishes."""
    folder = shared_data.parent / "oracles" / "ngff-0.5"
    if not folder.is_dir():
        pytest.skip("no official schemas: oracles/ngff-0.5 is not there")
    found = [json.loads(file.read_text()) for file in (folder / "schemas").glob("*.schema")]
    resources = [
        (each["$id"], referencing.jsonschema.DRAFT202012.create_resource(each)) for each in found
    ]
    registry = referencing.Registry().with_resources(resources)

    def check(attributes: dict[str, Any], name: str) -> None:
        uri = f"https://ngff.openmicroscopy.org/0.5/schemas/{name}.schema"
        Draft202012Validator({"$ref": uri}, registry=registry).validate(attributes)

    return check


def movie(**said: Any) -> xr.Dataset:
    """Three frames of two channels, 10 s apart from 5 s on; voxels of 2 x 0.5 x 0.5 um."""
    given = {
        "spacing": (2, 0.5, 0.5),
        "origin": (1, 2, 3),
        "times": [5, 15, 25],
        "channels": ["GFP", "RFP"],
        "colors": ["00FF00", "FF0000"],
    } | said
    return schema.movie(np.zeros((3, 2, 4, 8, 8), "u2"), **given)


def labels_of(ds: xr.Dataset) -> xr.Dataset:
    first = ds["image"].isel(c=0, drop=True)
    return xr.Dataset(schema.LABELS.wrap(first))


def transformations(attributes: dict[str, Any], level: int) -> list[dict[str, Any]]:
    dataset = attributes["ome"]["multiscales"][0]["datasets"][level]
    return dataset["coordinateTransformations"]


def test_levels_by_hand():
    said = ngff.image_attributes(movie(), "image", 3, name="Neu1")
    # t in seconds; c has step 1; z stays; y and x: 0.5, 1, 2 micrometres
    assert transformations(said, 0) == [
        {"type": "scale", "scale": [10, 1, 2, 0.5, 0.5]},
        {"type": "translation", "translation": [5, 0, 1, 2, 3]},
    ]
    # level 1: pixel 0 is the mean of pixels 0 and 1, centre half of 0.5 further: 2.25 and 3.25
    assert transformations(said, 1) == [
        {"type": "scale", "scale": [10, 1, 2, 1, 1]},
        {"type": "translation", "translation": [5, 0, 1, 2.25, 3.25]},
    ]
    # level 2: pixels 0 to 3, centre 1.5 pixels further: 2.75 and 3.75
    assert transformations(said, 2) == [
        {"type": "scale", "scale": [10, 1, 2, 2, 2]},
        {"type": "translation", "translation": [5, 0, 1, 2.75, 3.75]},
    ]


def test_axes_and_paths():
    image = ngff.image_attributes(movie(), "image", 2, name="Neu1")["ome"]["multiscales"][0]
    assert image["axes"] == [
        {"name": "t", "type": "time", "unit": "second"},
        {"name": "c", "type": "channel"},
        {"name": "z", "type": "space", "unit": "micrometer"},
        {"name": "y", "type": "space", "unit": "micrometer"},
        {"name": "x", "type": "space", "unit": "micrometer"},
    ]
    assert [level["path"] for level in image["datasets"]] == ["0/image", "1/image"]
    assert image["name"] == "Neu1"
    flat = ngff.image_attributes(movie(), "image", 2, name="a", path="{level}")
    assert [d["path"] for d in flat["ome"]["multiscales"][0]["datasets"]] == ["0", "1"]


def test_a_factor_of_three():
    said = ngff.image_attributes(movie(), "image", 2, name="a", factor=3)
    # the centre of pixels 0, 1, 2 is that of pixel 1: one pixel of 0.5 further
    assert transformations(said, 1)[0]["scale"][3:] == [1.5, 1.5]
    assert transformations(said, 1)[1]["translation"][3:] == [2.5, 3.5]


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [("u1", 0, 255), ("u2", 0, 65535), ("i2", -32768, 32767), ("f4", 0, 1)],
)
def test_windows_without_any_are_the_range(dtype, low, high):
    ds = schema.movie(np.zeros((1, 1, 1, 2, 2), dtype))
    (channel,) = ngff.image_attributes(ds, "image", 1, name="a")["ome"]["omero"]["channels"]
    assert channel["window"] == {"min": low, "max": high, "start": low, "end": high}
    assert channel["color"] == "FFFFFF"


def test_windows_names_and_colours_come_back():
    ds = movie()
    ds["c"].attrs["windows"] = [[3, 90], [-5.5, 7]]
    said = ngff.image_attributes(ds, "image", 1, name="a")
    labels, colors, windows = ngff.channels(said)
    assert labels == ["GFP", "RFP"]
    assert colors == ["00FF00", "FF0000"]
    assert windows == [[3, 90], [-5.5, 7]]
    listed = [channel["window"] for channel in said["ome"]["omero"]["channels"]]
    assert listed == [
        {"min": 0, "max": 65535, "start": 3, "end": 90},
        {"min": -5.5, "max": 65535, "start": -5.5, "end": 7},  # a window lies in its range
    ]
    assert said["ome"]["omero"]["rdefs"] == {"defaultT": 0, "defaultZ": 2, "model": "color"}


def test_several_channels_without_colours_get_distinct_ones():
    ds = schema.movie(np.zeros((1, 2, 1, 2, 2), "u1"))
    assert ngff.channels(ngff.image_attributes(ds, "image", 1, name="a"))[1] == list(
        ngff.PALETTE[:2]
    )


def test_without_channels_no_omero():
    ds = movie()
    flat = ds[["image"]].isel(c=0, drop=True).rename(image="mean")
    said = ngff.image_attributes(flat, "mean", 1, name="a")
    assert "omero" not in said["ome"]
    assert ngff.channels(said) == (None, None, None)


def test_labels():
    said = ngff.labels_attributes(
        labels_of(movie()), "labels", 2, name="cells", source="../Neu1-3fa9c1d2e0b4.ome.zarr"
    )
    assert said["ome"]["image-label"] == {"source": {"image": "../Neu1-3fa9c1d2e0b4.ome.zarr"}}
    assert transformations(said, 1)[0]["scale"] == [10, 2, 1, 1]
    assert said["ome"]["multiscales"][0]["type"] == "nearest"
    alone = ngff.labels_attributes(labels_of(movie()), "labels", 1, name="cells", source=None)
    assert alone["ome"]["image-label"] == {}


def test_official_schemas(official):
    image = ngff.image_attributes(movie(), "image", 3, name="Neu1")
    official(image, "strict_image")
    labels = ngff.labels_attributes(labels_of(movie()), "labels", 3, name="a", source="../../")
    official(labels, "strict_image")
    official(labels, "label")


def test_models_of_others():
    image = ngff.image_attributes(movie(), "image", 3, name="Neu1")
    ImageAttrs.model_validate(image["ome"])
    yaozarrs_v05.Image.model_validate(image["ome"])
    labels = ngff.labels_attributes(labels_of(movie()), "labels", 2, name="a", source="../../")
    yaozarrs_v05.LabelImage.model_validate(labels["ome"])
    group = ngff.labels_group_attributes(["cells"])
    yaozarrs_v05.LabelsGroup.model_validate(group["ome"])
    assert ngff.names(group, "labels") == ["cells"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param(lambda ds: ds.rename(image="other"), "no variable 'image'", id="missing"),
        pytest.param(lambda ds: ds.rename(z="record"), "has dims", id="foreign dim"),
        pytest.param(lambda ds: ds.transpose("c", "t", ...), "in the order", id="order"),
        pytest.param(lambda ds: ds.isel(y=0), "has dims", id="no y"),
        pytest.param(
            lambda ds: ds.assign_coords(t=("t", [5.0, 5.0, 5.0])), "step along t is 0", id="no step"
        ),
        pytest.param(
            lambda ds: ds.assign_coords(z=ds["z"] * np.nan), "z begins at nan", id="nowhere"
        ),
        pytest.param(
            lambda ds: ds.assign_coords(channel_color=("c", ["green", "red"])),
            "cannot hold this: .*colou?r",
            id="no colour",
        ),
    ],
)
def test_what_ome_zarr_cannot_hold(change, says):
    with pytest.raises(SchemaError, match=says):
        ngff.image_attributes(change(movie()), "image", 1, name="a")


def test_labels_must_be_integers():
    ds = labels_of(movie()).astype("f4")
    with pytest.raises(SchemaError, match="float32; expected an integer"):
        ngff.labels_attributes(ds, "labels", 1, name="a", source=None)


@pytest.mark.parametrize("windows", [[["x", 9], None], [[1, 2, 3], 4], [[1, 2]], [{}, {}]])
def test_windows_that_are_none_are_left_out(windows):
    ds = movie()
    ds["c"].attrs["windows"] = windows
    said = ngff.channels(ngff.image_attributes(ds, "image", 1, name="a"))[2]
    assert said is not None
    assert said[1] == [0, 65535]


def test_round_trip_of_places():
    ds = movie()
    (image,) = ngff.read(ngff.image_attributes(ds, "image", 2, name="Neu1"))
    assert (image.name, image.version, image.axes) == ("Neu1", "0.5", ("t", "c", "z", "y", "x"))
    said = ngff.coords(image, 0, ds["image"].shape)
    again = schema.movie(ds["image"].data, channels=["GFP", "RFP"], **said)
    for dim in ("t", "z", "y", "x"):
        np.testing.assert_array_equal(again[dim], ds[dim])
        assert schema.spacing(again, dim) == schema.spacing(ds, dim)
    lower = ngff.coords(image, 1, (3, 2, 4, 4, 4))
    assert lower["spacing"] == (2, 1, 1)
    assert lower["origin"] == (1, 2.25, 3.25)


def old(axes: str = "tzyx", **said: Any) -> dict[str, Any]:
    """Metadata of version 0.4, as other writers make them."""
    types = {"t": "time", "c": "channel"}
    units = {"t": "second", "z": "micrometer", "y": "micrometer", "x": "micrometer"}
    image: dict[str, Any] = {
        "version": "0.4",
        "axes": [
            {"name": a, "type": types.get(a, "space")} | ({"unit": units[a]} if a in units else {})
            for a in axes
        ],
        "datasets": [
            {
                "path": "0",
                "coordinateTransformations": [{"type": "scale", "scale": [1.0] * len(axes)}],
            }
        ],
    }
    return {"multiscales": [image | said]}


def test_transformations_of_all_levels_are_applied_last():
    level = {
        "path": "0",
        "coordinateTransformations": [
            {"type": "scale", "scale": [1, 2, 0.5, 0.5]},
            {"type": "translation", "translation": [0, 1, 3, 4]},
        ],
    }
    whole = [
        {"type": "scale", "scale": [30, 1, 2, 2]},
        {"type": "translation", "translation": [60, 0, 10, 0]},
    ]
    (image,) = ngff.read(old(datasets=[level], coordinateTransformations=whole))
    # world = 30 * (1 * t + 0) + 60; y: 2 * (0.5 * i + 3) + 10 = 1 * i + 16; x: 2 * 4 = 8
    assert image.levels == (ngff.Level("0", (30, 2, 1, 1), (60, 1, 16, 8)),)
    assert ngff.coords(image, 0, (2, 1, 1, 1))["times"].tolist() == [60, 90]


def test_units_are_converted():
    axes = [
        {"name": "t", "type": "time", "unit": "minute"},
        {"name": "z", "type": "space", "unit": "millimeter"},
        {"name": "y", "type": "space", "unit": "nanometer"},
        {"name": "x", "type": "space"},
    ]
    transform = [
        {"type": "scale", "scale": [0.5, 0.002, 500, 3]},
        {"type": "translation", "translation": [1, 0.001, 250, 0]},
    ]
    level = {"path": "0", "coordinateTransformations": transform}
    (image,) = ngff.read(old(axes="tzyx") | {"multiscales": [
        old(axes="tzyx")["multiscales"][0] | {"axes": axes, "datasets": [level]}
    ]})  # fmt: skip
    # half a minute is 30 s; 0.002 mm are 2 um; 500 nm are 0.5 um; without a unit: micrometres
    np.testing.assert_allclose(image.levels[0].scale, (30, 2, 0.5, 3))
    np.testing.assert_allclose(image.levels[0].translation, (60, 1, 0.25, 0))


def test_names_of_axes():
    image = old("tcyx")["multiscales"][0]
    for axis, name in zip(image["axes"], ("time", "ch", "Y", "X"), strict=True):
        axis["name"] = name
    (found,) = ngff.read({"multiscales": [image]})
    assert found.axes == ("t", "c", "y", "x")
    assert ngff.coords(found, 0, (2, 1, 5, 5))["spacing"] == (1, 1, 1)


def _axes(*axes: dict[str, Any]) -> dict[str, Any]:
    said = old("yx")["multiscales"][0]
    scale = [{"type": "scale", "scale": [1.0] * len(axes)}]
    datasets = [{"path": "0", "coordinateTransformations": scale}]
    return {"multiscales": [said | {"axes": list(axes), "datasets": datasets}]}


_Y, _X = {"name": "y", "type": "space"}, {"name": "x", "type": "space"}


def _scaled(*scale: float) -> dict[str, Any]:
    transform = [{"type": "scale", "scale": list(scale)}]
    return old("yx", datasets=[{"path": "0", "coordinateTransformations": transform}])


@pytest.mark.parametrize(
    ("attributes", "says"),
    [
        pytest.param({}, "no 'multiscales'.*Found: nothing", id="empty"),
        pytest.param({"spam": 1}, "Found: spam", id="other"),
        pytest.param({"ome": 3}, "'ome' is not an object", id="ome is a number"),
        pytest.param({"ome": {"version": "0.6", "multiscales": []}}, "version 0.6", id="newer"),
        pytest.param(old(version="0.3"), "version 0.3", id="older"),
        pytest.param({"multiscales": {}}, "not a list", id="no list"),
        pytest.param({"multiscales": []}, "not a list", id="empty list"),
        pytest.param({"multiscales": [3]}, "OME-Zarr 0.4: ", id="numbers"),
        pytest.param(old(datasets=[]), "datasets: ", id="no levels"),
        pytest.param({"ome": {"version": "0.5", "plate": {}}}, "a plate .*A/1/0", id="plate"),
        pytest.param({"well": {}}, "a well", id="well"),
        pytest.param({"bioformats2raw.layout": 3}, "several images", id="several"),
        pytest.param(_axes({"name": "angle"}, _Y, _X), "axis 'angle'", id="angle"),
        pytest.param(
            _axes({"name": "q", "type": "time"}, {"name": "t"}, _Y, _X), "axis once", id="two t"
        ),
        pytest.param(_axes({"name": "z", "type": "space"}, _Y), "dpipe needs y, x", id="no x"),
        pytest.param(_axes({**_Y, "unit": "parsec"}, _X), "unit 'parsec'", id="unit"),
        pytest.param(_scaled(1, 0), "expected numbers above 0", id="scale 0"),
        pytest.param(_scaled(1), "dimensionality", id="scale too short"),
        pytest.param(
            old("yx", datasets=[
                {"path": "0", "coordinateTransformations": [{"type": "scale", "path": "s"}]}
            ]),
            "lies in an array", id="scale in an array",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_read(attributes, says):
    with pytest.raises(InputError, match=says) as caught:
        ngff.read(attributes)
    assert "\n" not in str(caught.value)


def test_levels_that_are_not_there():
    (image,) = ngff.read(old("yx"))
    with pytest.raises(InputError, match="no level 1; the image has levels 0 to 0"):
        ngff.coords(image, 1, (3, 3))
    with pytest.raises(InputError, match=r"has 3 dimensions; expected \(y, x\)"):
        ngff.coords(image, 0, (3, 3, 3))


@pytest.mark.parametrize(
    ("omero", "expected"),
    [
        pytest.param(None, (None, None, None), id="none"),
        pytest.param({"channels": "GFP"}, (None, None, None), id="text"),
        pytest.param({"channels": []}, (None, None, None), id="empty"),
        pytest.param({"channels": [{"color": "red"}]}, (None, None, None), id="no colour"),
        pytest.param(
            {"channels": [{"label": "a", "color": "#00ff00"}, {"color": 7, "window": {"min": 0}}]},
            (["a", ""], ["00ff00", "FFFFFF"], None),
            id="some",
        ),
    ],
)
def test_channels_of_careless_files(omero, expected):
    assert ngff.channels({"omero": omero}) == expected


def test_lists_of_names():
    assert ngff.names({"ome": {"version": "0.5", "series": ["0", "1"]}}, "series") == ["0", "1"]
    assert ngff.names({"labels": "cells"}, "labels") == []


NOT_READ = {"mismatch_axes_units", "untyped_axes", "custom_type_axes"}
"""Valid by the schemas: time in micrometres, and axes that dpipe has no name for."""
FORGIVEN = {"invalid_channels_color", "invalid_channels_window"}
"""Wrong in what only a display needs: the pixels are read."""


def test_official_cases(shared_data):
    file = shared_data.parent / "oracles" / "ngff-0.5" / "tests" / "image_suite.json"
    if not file.exists():
        pytest.skip("no official cases: oracles/ngff-0.5 is not there")
    cases = json.loads(file.read_text())["tests"]
    read = set()
    for case in cases:
        with contextlib.suppress(InputError):
            ngff.read(case["data"])
            read.add(Path(case["formerly"]).stem)
    valid = {Path(c["formerly"]).stem for c in cases if c["valid"]}
    assert read == valid - NOT_READ | FORGIVEN
