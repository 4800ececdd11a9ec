"""Objects cut out: their pixels, masks and classes, and what works on them."""

import annotated
import numpy as np
import pytest
import xarray as xr
from packs import unpacked

import dpipe
from dpipe import schema
from dpipe.errors import SchemaError, UsageError
from dpipe.operators import OPERATORS
from dpipe.readers import READERS

object_crops = OPERATORS["object-crops"].function
object_measures = OPERATORS["object-measures"].function
polygon_masks = OPERATORS["polygon-masks"].function


@pytest.fixture(scope="module")
def livecell(shared_data):
    folder = shared_data / "livecell"
    reader = READERS["livecell"]
    (part,) = reader.parts([str(folder / "annotations"), str(folder / "images")])
    ds = reader.open([item.uri for item in part.items])
    return ds, polygon_masks(ds).compute()


def test_every_cell_of_livecell(livecell):
    ds, masks = livecell
    crops, measures = object_crops(ds, masks, margin=3), object_measures(ds, masks)
    assert crops.sizes["record"] == 1243
    assert crops["label"].values.tolist() == ["cell"] * 1243
    codes, pixels = unpacked(crops, "mask_code"), unpacked(crops)
    area = measures.feature.sel(name="area").values
    assert [int(code.sum()) for code in codes] == area.tolist()
    brightness = measures.feature.sel(name="mean_intensity_Ch1").values
    means = [p[0][code > 0].mean() for p, code in zip(pixels, codes, strict=True)]
    np.testing.assert_allclose(means, brightness, rtol=1e-12)
    inside = measures["box_top"].values - crops["box_top"].values
    assert set(inside.tolist()) <= {0, 1, 2, 3}
    assert crops.sizes["block"] == 2


def test_features_of_cells_are_those_of_objects(livecell):
    ds, masks = livecell
    one = ds.isel(record=[1])
    crops = object_crops(one, masks.isel(record=[1]))
    features = dpipe.cell_features(crops, families=["mask-based"]).compute().feature
    measures = object_measures(one, masks.isel(record=[1])).feature
    for name in ("area", "perimeter", "solidity", "eccentricity"):
        column = features.sel(name=f"mask_based_{name}_Ch1").values
        np.testing.assert_allclose(column, measures.sel(name=name).values, rtol=1e-9)


def test_margins_end_at_the_border():
    ds = annotated.labelled()
    wide, none = object_crops(ds, margin=100), object_crops(ds, margin=0)
    assert wide["height"].values.tolist() == [10, 8, 8]
    assert wide["width"].values.tolist() == [12, 11, 11]
    assert (none["height"].values < wide["height"].values).all()
    assert [int(c.sum()) for c in unpacked(wide, "mask_code")] == [
        int(c.sum()) for c in unpacked(none, "mask_code")
    ]


def test_classes_are_those_of_the_annotations():
    ds = annotated.dataset()
    masks = annotated.labelled()
    crops = object_crops(ds.assign(pixels=masks["pixels"]), masks)
    assert crops["label"].values.tolist() == ["cell", "cell", "debris"]


def test_channels_share_the_mask():
    pixels = np.random.default_rng(0).integers(0, 999, (1, 2, 1, 9, 9)).astype("u2")
    labels = np.zeros((1, 1, 9, 9), "u1")
    labels[0, 0, 2:5, 3:7] = 5
    movie = schema.movie(pixels).assign(labels=(("t", "z", "y", "x"), labels))
    crops = object_crops(movie, margin=1)
    assert crops["frame"].values.tolist() == [0]
    (code,), (picture,) = unpacked(crops, "mask_code"), unpacked(crops)
    assert (code == 3).sum() == 12
    np.testing.assert_array_equal(picture, pixels[0, :, 0, 1:6, 2:8])


def test_no_objects():
    ds = annotated.labelled()
    empty = object_crops(ds.assign(label_pixels=ds["label_pixels"] * 0))
    assert empty.sizes["record"] == 0


def test_wrong_use():
    ds = annotated.labelled()
    with pytest.raises(UsageError, match="margin"):
        object_crops(ds, margin=-1)
    with pytest.raises(SchemaError, match="no pixels"):
        object_crops(ds.drop_vars("pixels"))
    with pytest.raises(SchemaError):
        object_crops(xr.Dataset({"pixels": ds["pixels"]}, ds.coords))
