"""Facts of parts from their seals: those of the Dataset, without one."""

import numpy as np
import pytest
import xarray as xr
from cells import collection

import dpipe
from dpipe import catalog, metadata, schema
from dpipe.catalog import part_facts
from dpipe.cli import main
from dpipe.storage import open_objects

MOVIE = schema.movie(
    np.zeros((3, 2, 2, 8, 9), "u2"), spacing=(2, 0.5, 0.25), times=[0, 30, 62],
    channels=["GFP", "DiD"], attrs={"recording_date": "2026-01-05"},
).assign_coords(organ="Spleen", channel_content=("c", ["neutrophils", ""]))  # fmt: skip


def pictures():
    packed = collection(
        [(np.ones(shape, "u2"), np.ones(shape, "u1")) for shape in ((5, 6, 2), (7, 4, 2))]
    )
    reasons = np.array(["", "object 3 again; it is in a.h5 too"])
    packed = packed.assign_coords(file=("record", ["a_3.h5", "b_3.h5"]))
    return packed.assign_coords(put_aside=("record", reasons), set=("record", ["labeled", "x"]))


@pytest.fixture
def url(tmp_path) -> str:
    return str(tmp_path / "store")


@pytest.mark.parametrize("make", [lambda: MOVIE, pictures, lambda: MOVIE.drop_vars(["t", "c"])])
def test_they_are_those_of_the_dataset(url, make):
    ds = make()
    dpipe.save(ds, url, "data", message="m")
    tell = metadata.image_facts if "image" in ds else metadata.collection_facts
    told = part_facts(open_objects(url), catalog.resolve(open_objects(url), "data"))
    assert told == {"data": tell(dpipe.open(url, "data"))} == {"data": tell(ds)}


def test_a_table_has_none(url):
    dpipe.save(xr.Dataset({"spot_x": ("spot", [1.0])}), url, "spots", message="m")
    objects = open_objects(url)
    assert part_facts(objects, catalog.resolve(objects, "spots")) == {}
    assert dpipe.api.facts(url, "spots") == {}


def test_seals_alone_cannot_tell_of_large_coordinates(url, capsys):
    count = 20_000
    names = np.array([f"a picture of a cell, number {i}" for i in range(count)])
    one = pictures().isel(record=[0] * count).assign_coords(file=("record", names))
    one = one.assign_coords(put_aside=("record", [""] * count))
    dpipe.save(one, url, "cells", message="m")
    objects = open_objects(url)
    assert part_facts(objects, catalog.resolve(objects, "cells")) is None
    assert dpipe.api.facts(url, "cells")["data"]["pictures"] == count
    with pytest.raises(SystemExit) as ended:
        main(["show", "cells", "--store", url])
    assert ended.value.code == 0
    assert "20,000 pictures" in capsys.readouterr().out
