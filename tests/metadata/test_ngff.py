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

from dpipe import schema
from dpipe.errors import InputError, SchemaError, UsageError
from dpipe.metadata import ngff, ngff_channels


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
    labels, colors, windows = ngff_channels.channels(said)
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
    assert ngff_channels.channels(ngff.image_attributes(ds, "image", 1, name="a"))[1] == list(
        ngff_channels.PALETTE[:2]
    )


def test_without_channels_no_omero():
    ds = movie()
    flat = ds[["image"]].isel(c=0, drop=True).rename(image="mean")
    said = ngff.image_attributes(flat, "mean", 1, name="a")
    assert "omero" not in said["ome"]
    assert ngff_channels.channels(said) == (None, None, None)


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
    said = ngff_channels.channels(ngff.image_attributes(ds, "image", 1, name="a"))[2]
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


def _scaled(*scale: Any, unit: str = "micrometer") -> dict[str, Any]:
    transform = [{"type": "scale", "scale": list(scale)}]
    said = old("yx", datasets=[{"path": "0", "coordinateTransformations": transform}])
    for axis in said["multiscales"][0]["axes"]:
        axis["unit"] = unit
    return said


@pytest.mark.parametrize(
    ("attributes", "says"),
    [
        pytest.param({}, "no 'multiscales'.*Found: nothing", id="empty"),
        pytest.param({"spam": 1}, "Found: spam", id="other"),
        pytest.param({"ome": 3}, "'ome' is not an object", id="ome is a number"),
        pytest.param({"ome": {"version": "0.7"}}, "version '0.7'; dpipe reads 0.1 to", id="newer"),
        pytest.param({"ome": {"version": 6, "multiscales": []}}, "version '6'", id="a number"),
        pytest.param(old(version="0.15"), "version '0.15'", id="digits"),
        pytest.param({"multiscales": {}}, "not a list", id="no list"),
        pytest.param({"multiscales": []}, "not a list", id="empty list"),
        pytest.param({"multiscales": [3]}, "OME-Zarr 0.4: ", id="numbers"),
        pytest.param(old(datasets=[]), r"'datasets' is \[\]; expected levels", id="no levels"),
        pytest.param(old(datasets=[3]), "level 3 has no path", id="a level that is a number"),
        pytest.param(old(datasets=[{"path": 0}]), "has no path", id="a path that is a number"),
        pytest.param({"ome": {"version": "0.5", "plate": {}}}, "a plate .*A/1/0", id="plate"),
        pytest.param({"well": {}}, "a well", id="well"),
        pytest.param({"bioformats2raw.layout": 3}, "several images", id="several"),
        pytest.param(_axes({"name": "angle"}, _Y, _X), "axis 'angle'; .*axes=czyx", id="angle"),
        pytest.param(_axes({"type": "space"}, _X), "has no name", id="no name"),
        pytest.param(old(axes=""), r"axes are \[\]; expected a list", id="no axes"),
        pytest.param(
            _axes({"name": "q", "type": "time"}, {"name": "t"}, _Y, _X), "axis once", id="two t"
        ),
        pytest.param(_axes({"name": "z", "type": "space"}, _Y), "dpipe needs y, x", id="no x"),
        pytest.param(
            _axes({**_Y, "unit": "furlong"}, _X), "unit 'furlong' of axis y .*unit=um", id="unit"
        ),
        pytest.param(
            _axes({"name": "t", "type": "time", "unit": "fortnight"}, _Y, _X),
            "unit 'fortnight' of axis t .* option time_unit=s", id="unit of time",
        ),
        pytest.param(_scaled(1, -1), "scale -1 and start 0 along x", id="scale below 0"),
        pytest.param(_scaled(1, 1e308, unit="meter"), "scale inf", id="scale beyond all numbers"),
        pytest.param(_scaled(1), r"the scale is \[1\]; expected 2 numbers", id="scale too short"),
        pytest.param(_scaled(1, "x"), r"the scale is \[1, 'x'\]; expected 2", id="text"),
        pytest.param(_scaled(1, True), "expected 2 numbers", id="a truth value"),
        pytest.param(_scaled(1, [1]), "expected 2 numbers", id="a list in it"),
        pytest.param(_scaled(1, float("nan")), "expected 2 numbers", id="nan"),
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


def _of(transformations: Any, whole: Any = None, **said: Any) -> dict[str, Any]:
    """Metadata of (y, x) with these transformations of its level, and of all levels."""
    level = {"path": "0"}
    level |= {} if transformations is None else {"coordinateTransformations": transformations}
    more = {} if whole is None else {"coordinateTransformations": whole}
    return old("yx", datasets=[level], **more, **said)


def _scale(*values: float) -> dict[str, Any]:
    return {"type": "scale", "scale": list(values)}


def _shift(*values: float) -> dict[str, Any]:
    return {"type": "translation", "translation": list(values)}


def _system(name: str, unit: str = "unit", axes: str = "yx") -> dict[str, Any]:
    return {"name": name, "axes": [{"name": a, "type": "space", "unit": unit} for a in axes]}


def _to(name: str, transformation: dict[str, Any], **said: Any) -> dict[str, Any]:
    """A transformation as SpatialData writes it."""
    return transformation | {"input": _system("yx"), "output": _system(name, **said)}


IDENTITY = {"type": "identity"}
AFFINE = {"type": "affine", "affine": [[2, 0, 5], [0, 4, -1]]}
TURN = {"type": "rotation", "rotation": [[0, -1], [1, 0]]}

# the level, what holds for all levels, and the steps and starts along y, x, by hand
READ = {
    "identity beside the scale": ([IDENTITY, _scale(2, 3)], None, (2, 3), (0, 0)),
    "identity after it": ([_scale(2, 3), IDENTITY, _shift(1, 1)], None, (2, 3), (1, 1)),
    "identity of SpatialData": ([_scale(2, 3)], [_to("global", IDENTITY)], (2, 3), (0, 0)),
    "identity of all levels": ([_scale(2, 3)], [IDENTITY], (2, 3), (0, 0)),
    "translation first": ([_shift(1, 1), _scale(2, 3)], None, (2, 3), (2, 3)),
    "scale first": ([_scale(2, 3), _shift(1, 1)], None, (2, 3), (1, 1)),
    "scale twice": ([_scale(2, 3), _scale(2, 3)], None, (4, 9), (0, 0)),
    "sequence": (
        [{"type": "sequence", "transformations": [_scale(2, 3), _shift(1, 1)]}], None,
        (2, 3), (1, 1),
    ),
    "affine": ([AFFINE], None, (2, 4), (5, -1)),
    "affine with its last row": (
        [{"type": "affine", "affine": [[2, 0, 5], [0, 4, -1], [0, 0, 1]]}], None, (2, 4), (5, -1)
    ),
    "affine of SpatialData": ([_scale(1, 2)], [_to("global", AFFINE)], (2, 8), (5, -1)),
    "rotation by nothing": ([_scale(1, 2), {"type": "rotation", "rotation": [1, 0, 0, 1]}], None,
                            (1, 2), (0, 0)),
    "mapAxis by names": ([_scale(1, 2), {"type": "mapAxis", "mapAxis": {"x": "x", "y": "y"}}],
                         None, (1, 2), (0, 0)),
    "mapAxis by places": ([_scale(1, 2), {"type": "mapAxis", "mapAxis": [0, 1]}], None,
                          (1, 2), (0, 0)),
    "turned there and back": ([_scale(1, 2), TURN, TURN, TURN, TURN], None, (1, 2), (0, 0)),
    "byDimension": (
        [{"type": "byDimension", "transformations": [
            {"inputAxes": [1], "outputAxes": [1], "transformation": _scale(3)},
            {"input_axes": ["y"], "output_axes": ["y"], "transformation": {
                "type": "sequence", "transformations": [_scale(2), _shift(7)]}},
        ]}],
        None, (2, 3), (7, 0),
    ),
    "bijection": ([{"type": "bijection", "forward": AFFINE, "inverse": {}}], None, (2, 4), (5, -1)),
    "two names for one place": (
        [_scale(2, 3)], [_to("global", IDENTITY), _to("aligned", IDENTITY)], (2, 3), (0, 0)
    ),
    "units of the system": (
        [_scale(2, 3)], [_to("global", IDENTITY, unit="nanometer")], (0.002, 0.003), (0, 0)
    ),
}  # fmt: skip


@pytest.mark.parametrize(("level", "whole", "scale", "start"), READ.values(), ids=READ)
def test_transformations(level, whole, scale, start):
    (image,) = ngff.read(_of(level, whole))
    np.testing.assert_allclose(image.levels[0].scale, scale)
    np.testing.assert_allclose(image.levels[0].translation, start, atol=1e-12)
    assert (image.unsaid, image.notes) == ((), ())


REFUSED = {
    "rotation": (TURN, "its axes are turned or mixed"),
    "shear": ({"type": "affine", "affine": [[1, 0.1, 0], [0, 1, 0]]}, "turned or mixed"),
    "mapAxis": ({"type": "mapAxis", "mapAxis": {"x": "y", "y": "x"}}, "turned or mixed"),
    "mapAxis to what is none": ({"type": "mapAxis", "mapAxis": {"x": 1}}, "mapAxis is {'x'"),
    "displacements": ({"type": "displacements", "path": "d"}, "'displacements' is not one"),
    "coordinates": ({"type": "coordinates", "path": "d"}, "'coordinates' is not one"),
    "projectAxis": ({"type": "projectAxis"}, "transformation 'projectAxis' is not one"),
    "inverseOf": ({"type": "inverseOf"}, "transformation 'inverseOf' is not one"),
    "unheard of": ({"type": "spline"}, "transformation 'spline' is not one"),
    "numbers in an array": ({"type": "affine", "path": "a"}, "affine lies in an array, 'a'"),
    "no type": ({"scale": [1, 1]}, "has no type"),
    "no object": (3, "transformation 3 has no type"),
    "three dims": ({"type": "affine", "affine": [[1] * 4] * 3}, "expected 2 x 3 or 3 x 3"),
    "inside a sequence": (
        {"type": "sequence", "transformations": [{"type": "spline"}]}, "'spline' is not one"
    ),
    "inside a dimension": (
        {"type": "byDimension", "transformations": [{"inputAxes": [5], "outputAxes": [0]}]},
        "byDimension maps",
    ),
    "a dimension left out": (
        {"type": "byDimension", "transformations": [
            {"inputAxes": [0], "outputAxes": [0], "transformation": _scale(1)}]},
        "byDimension leads to",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("whole", "says"), REFUSED.values(), ids=REFUSED)
def test_transformations_that_are_refused(whole, says):
    with pytest.raises(InputError, match=says) as caught:
        ngff.read(_of([_scale(2, 3)], [whole]))
    assert "\n" not in str(caught.value)
    assert "option system=none takes the image as it lies" in str(caught.value)
    (image,) = ngff.read(_of([_scale(2, 3)], [whole]), ngff.Reading(system="none"))
    assert image.levels[0].scale == (2, 3)
    with pytest.raises(InputError, match=f"level '0': .*{says}") as caught:
        ngff.read(_of([whole]))
    assert "option system=" not in str(caught.value)  # which would not help


def test_a_coordinate_system_of_other_axes():
    with pytest.raises(
        InputError, match=r"its output has the axes \['x', 'y'\], not \['y', 'x'\]; option system="
    ):
        ngff.read(_of([_scale(2, 3)], [_to("global", _scale(1, 1), axes="xy")]))


def test_several_coordinate_systems():
    whole = [_to("global", _scale(2, 2)), _to("aligned", TURN), _to("small", _scale(0.5, 0.5))]
    said = _of([_scale(2, 3)], whole)
    listed = r"'global' \(scale\), 'aligned' \(rotation\), 'small' \(scale\)"
    with pytest.raises(InputError, match=f"several coordinate systems: {listed}; say which"):
        ngff.read(said)
    for system, scale in (("global", (4, 6)), ("small", (1, 1.5)), ("none", (2, 3))):
        (image,) = ngff.read(said, ngff.Reading(system=system))
        assert image.levels[0].scale == scale
    with pytest.raises(InputError, match="turned or mixed"):
        ngff.read(said, ngff.Reading(system="aligned"))
    with pytest.raises(UsageError, match=r"system='x': .* Found: \['global', 'aligned', 'small'\]"):
        ngff.read(said, ngff.Reading(system="x"))


def test_coordinate_systems_of_version_6():
    """Levels lead to the image's own system; what leads away from it is another view."""
    level = {
        "path": "s0",
        "coordinateTransformations": [
            {
                "type": "sequence",
                "input": {"path": "s0"},
                "output": {"name": "physical"},
                "transformations": [_scale(2, 3), _shift(1, 0)],
            }
        ],
    }
    away = {"input": {"name": "physical"}, "output": {"name": "stage"}}
    image = {
        "coordinateSystems": [_system("stage", "meter"), _system("physical", "nanometer")],
        "datasets": [level],
        "coordinateTransformations": [TURN | away],
    }
    for version in ("0.6", "0.6rc0", "0.6.dev3", "0.6-dev2"):
        said = {"ome": {"version": version, "multiscales": [image]}}
        (found,) = ngff.read(said)
        assert found.version == "0.6"
        np.testing.assert_allclose(found.levels[0].scale, (0.002, 0.003))
        np.testing.assert_allclose(found.levels[0].translation, (0.001, 0))
        assert found.notes == ("coordinate systems left out: 'stage' (rotation)",)
    (own,) = ngff.read(said, ngff.Reading(system="physical"))
    assert own.levels == found.levels
    with pytest.raises(InputError, match="turned or mixed"):
        ngff.read(said, ngff.Reading(system="stage"))


@pytest.mark.parametrize("version", ["0.1", "0.2", "0.3"])
def test_old_versions(version):
    image = {"version": version, "datasets": [{"path": "0"}, {"path": "1"}]}
    image |= {"axes": ["t", "c", "z", "y", "x"]} if version == "0.3" else {}
    (found,) = ngff.read({"multiscales": [image]})
    assert (found.version, found.axes) == (version, ("t", "c", "z", "y", "x"))
    assert [level.scale for level in found.levels] == [(1, 1, 1, 1, 1)] * 2
    assert ngff.assumed(found, {"t": 3}) == [
        f"frames are 1 s apart: OME-Zarr {version} has no place for it",
        f"voxel size along z, y, x is 1 micrometre: OME-Zarr {version} has no place for it",
    ]
    assert len(ngff.assumed(found, {"t": 1})) == 1


def test_versions_that_are_not_said():
    axes = ["c", "y", "x"]
    (found,) = ngff.read({"multiscales": [{"axes": axes, "datasets": [{"path": "0"}]}]})
    assert (found.version, found.axes) == ("0.3", ("c", "y", "x"))
    said = old("yx")
    del said["multiscales"][0]["version"]
    assert ngff.read(said)[0].version == "0.4"
    assert ngff.read({"ome": said})[0].version == "0.5"


@pytest.mark.parametrize("level", [None, [], [_shift(1, 1)], [IDENTITY]])
def test_without_a_size(level):
    (found,) = ngff.read(_of(level))
    assert found.levels[0].scale == (1, 1)
    assert ngff.assumed(found, {}) == ["voxel size along y, x is 1 micrometre: level '0' says none"]


def test_a_scale_of_0_is_none():
    said = old("tzyx", datasets=[{"path": "0", "coordinateTransformations": [_scale(0, 0, 1, 1)]}])
    (found,) = ngff.read(said)
    assert found.levels[0].scale == (1, 1, 1, 1)
    assert ngff.assumed(found, {"t": 2}) == [
        "frames are 1 s apart: the scale is 0",
        "voxel size along z is 1 micrometre: the scale is 0",
    ]


# units: every one that the specification lists, and what programs write besides; by hand

LENGTHS = {
    "angstrom": 1e-4, "attometer": 1e-12, "centimeter": 1e4, "decimeter": 1e5, "exameter": 1e24,
    "femtometer": 1e-9, "foot": 304800, "gigameter": 1e15, "hectometer": 1e8, "inch": 25400,
    "kilometer": 1e9, "megameter": 1e12, "meter": 1e6, "micrometer": 1, "mile": 1609344000,
    "millimeter": 1e3, "nanometer": 1e-3, "parsec": 3.0856775814913673e22, "petameter": 1e21,
    "picometer": 1e-6, "terameter": 1e18, "yard": 914400, "yoctometer": 1e-18, "yottameter": 1e30,
    "zeptometer": 1e-15, "zettameter": 1e27, "um": 1, "\u00b5m": 1, "\u03bcm": 1, "micron": 1,
    "microns": 1, "Micrometer": 1, "micrometre": 1, "micrometers": 1, "nm": 1e-3, "mm": 1e3,
    "cm": 1e4, "m": 1e6, "pm": 1e-6, "\u00c5": 1e-4, "Angstrom": 1e-4, "in": 25400, "inches": 25400,
}  # fmt: skip
TIMES = {
    "attosecond": 1e-18, "centisecond": 1e-2, "day": 86400, "decisecond": 0.1, "exasecond": 1e18,
    "femtosecond": 1e-15, "gigasecond": 1e9, "hectosecond": 100, "hour": 3600, "kilosecond": 1e3,
    "megasecond": 1e6, "microsecond": 1e-6, "millisecond": 1e-3, "minute": 60, "nanosecond": 1e-9,
    "petasecond": 1e15, "picosecond": 1e-12, "second": 1, "terasecond": 1e12, "yoctosecond": 1e-24,
    "yottasecond": 1e24, "zeptosecond": 1e-21, "zettasecond": 1e21, "s": 1, "sec": 1, "seconds": 1,
    "ms": 1e-3, "msec": 1e-3, "us": 1e-6, "\u00b5s": 1e-6, "ns": 1e-9, "min": 60, "minutes": 60,
    "h": 3600, "hr": 3600, "hours": 3600, "d": 86400, "days": 86400, "Second": 1,
}  # fmt: skip
NO_UNITS = [None, "", "pixel", "pixels", "px", "Pixel", "voxel", "unit", "frame", "index", "1"]
STRANGE = ["furlong", "Mpx", "degree", "dpi", "um/px", "M", "\u00b0C", "radian", "x" * 500]


def _in_units(length: Any, time: Any) -> dict[str, Any]:
    said = old("tyx")
    for axis, unit in zip(said["multiscales"][0]["axes"], (time, length, length), strict=True):
        axis["unit"] = unit
    return said


@pytest.mark.parametrize(("unit", "size"), LENGTHS.items())
def test_units_of_length(unit, size):
    (found,) = ngff.read(_in_units(unit, "s"))
    np.testing.assert_allclose(found.levels[0].scale, (1, size, size), rtol=1e-12)
    assert found.unsaid == ()
    with pytest.raises(InputError, match="of axis t is not known"):
        ngff.read(_in_units("um", unit))


@pytest.mark.parametrize(("unit", "size"), TIMES.items())
def test_units_of_time(unit, size):
    (found,) = ngff.read(_in_units("um", unit))
    np.testing.assert_allclose(found.levels[0].scale, (size, 1, 1), rtol=1e-12)
    assert found.unsaid == ()


@pytest.mark.parametrize("unit", NO_UNITS)
def test_units_that_are_none_are_said(unit):
    (found,) = ngff.read(_in_units(unit, unit))
    assert found.levels[0].scale == (1, 1, 1)
    reason = f"the unit is {unit!r}" if unit else "no unit is said"
    assert ngff.assumed(found, {"t": 2}) == [
        f"times are seconds: {reason}",
        f"lengths along y, x are micrometres: {reason}",
    ]
    how = ngff.Reading(unit="nm", time_unit="min")
    (found,) = ngff.read(_in_units(unit, unit), how)
    np.testing.assert_allclose(found.levels[0].scale, (60, 1e-3, 1e-3))
    assert found.unsaid == ()


@pytest.mark.parametrize("unit", STRANGE)
def test_units_that_are_not_known_are_refused_by_name(unit):
    with pytest.raises(
        InputError, match="is not known; say what it is, as in option unit=um"
    ) as caught:
        ngff.read(_in_units(unit, "s"))
    assert unit[:30] in str(caught.value)
    assert len(str(caught.value)) < 200
    (found,) = ngff.read(_in_units(unit, "s"), ngff.Reading(unit="mm"))
    assert found.levels[0].scale == (1, 1e3, 1e3)


def test_what_a_person_says_must_be_known():
    for how, says in (
        (ngff.Reading(unit="span"), "unit='span': expected a unit such as um"),
        (ngff.Reading(time_unit="um"), "time_unit='um': expected a unit such as s"),
        (ngff.Reading(axes="zq"), "axes='zq': expected letters of tczyx"),
        (ngff.Reading(axes="yy"), "each once, with y and x"),
    ):
        with pytest.raises(UsageError, match=says):
            ngff.read(old("tyx"), how)


def test_axes_that_a_person_says():
    said = _axes({"name": "angle", "type": "custom", "unit": "degree"}, _Y, _X)
    (found,) = ngff.read(said, ngff.Reading(axes="CYX"))
    assert found.axes == ("c", "y", "x")
    with pytest.raises(InputError, match="unit 'degree' of axis angle"):
        ngff.read(said, ngff.Reading(axes="zyx"))


@pytest.mark.parametrize(
    ("words", "axes"),
    [
        (("Time", "Channel", "Z", "Y", "X"), "tczyx"),
        (("frame", "ch", "depth", "height", "width"), "tczyx"),
    ],
)
def test_words_for_axes(words, axes):
    said = _axes(*({"name": word} for word in words))
    assert ngff.read(said)[0].axes == tuple(axes)


def test_an_axis_of_a_type_that_is_not_its_own():
    (found,) = ngff.read(
        _axes({"name": "t", "type": "space"}, {"name": "q", "type": "channel"}, _Y, _X)
    )
    assert found.axes == ("t", "c", "y", "x")
    assert found.notes == ("axis 't' is of the type 'space'; it is taken by its name",)


def test_places_beyond_all_numbers():
    (found,) = ngff.read(_scaled(1e307, 1))
    with pytest.raises(InputError, match=r"a scale of 1e\+307 leads beyond all numbers along y"):
        ngff.coords(found, 0, (100, 100))


@pytest.mark.parametrize(
    ("omero", "says"),
    [
        (None, []),
        ({}, []),
        ({"channels": None}, []),
        ({"channels": [{"color": "ff0000"}, {"color": "#00FF00FF"}]}, []),
        ({"channels": [{"label": None, "color": ""}, {"label": 3, "color": None}]}, []),
        (
            {"channels": "GFP"},
            ["channel names are left out: what omero says of channels is no list"],
        ),
        (3, ["channel names are left out: what omero says of channels is no list of objects"]),
        ({"channels": [{}] * 3}, ["channel names are left out: omero describes 3 of 2 channels"]),
        (
            {"channels": [{"color": "red"}, {"color": 255}]},
            ["colours of channels are white where they are not RRGGBB: 'red' of 0, 255 of 1"],
        ),
    ],
)
def test_what_of_channels_cannot_be_read_is_said(omero, says):
    notes = ngff_channels.channel_notes({"omero": omero}, 2)
    assert len(notes) == len(says)
    assert all(line in note for line, note in zip(says, notes, strict=True))


@pytest.mark.parametrize("value", [10**400, float("nan"), float("inf"), "5", None, [1]])
def test_windows_of_no_numbers(value):
    window = {"start": 0, "end": value, "min": 0, "max": 9}
    assert ngff_channels.channels({"omero": {"channels": [{"window": window}]}})[2] is None


def test_labels_of_channels_that_are_no_text():
    labels, colors, _ = ngff_channels.channels(
        {"omero": {"channels": [{"label": None}, {"label": 7, "color": "0x00ff00ff"}]}}
    )
    assert (labels, colors) == (["", "7"], ["FFFFFF", "00ff00"])


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
    assert ngff_channels.channels({"omero": omero}) == expected


def test_lists_of_names():
    assert ngff.names({"ome": {"version": "0.5", "series": ["0", "1"]}}, "series") == ["0", "1"]
    assert ngff.names({}, "labels") == []
    with pytest.raises(InputError, match="'labels' is 'cells'; expected a list of names"):
        ngff.names({"labels": "cells"}, "labels")


NOT_READ = {"mismatch_axes_units", "untyped_axes", "custom_type_axes"}
"""Valid by the schemas: time in micrometres, and axes that dpipe has no name for."""
FORGIVEN = {"invalid_channels_color", "invalid_channels_window", "invalid_axis_type"}
"""Wrong in what only a display needs, or in the type of an axis that is called y."""
FORGIVEN |= {"missing_scale", "missing_transformations", "empty_transformations"}
"""Without a size, which is said."""
FORGIVEN |= {"duplicate_scale"}
"""Two scales, one after the other."""


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
