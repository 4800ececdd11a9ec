"""The shelf of writers, and `export`."""

import numpy as np
import pytest
import xarray as xr

from dpipe import schema, writers
from dpipe.errors import UsageError
from dpipe.writers import export


def movie():
    return schema.movie(np.zeros((1, 1, 1, 4, 4), "u1"))


def names(paths):
    return [path.rpartition("/")[2] for path in paths]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (movie(), ["data.ome.tif"]),
        (movie().assign_attrs(stem="Neu1"), ["Neu1.ome.tif"]),
        ({"Neu1": movie(), 2: movie()}, ["Neu1.ome.tif", "2.ome.tif"]),
        (
            xr.DataTree.from_dict({"/Neu1": movie(), "/Neu2": movie()}),
            ["Neu1.ome.tif", "Neu2.ome.tif"],
        ),
        (xr.DataTree(movie()), ["data.ome.tif"]),
    ],
    ids=["dataset", "dataset with a stem", "mapping", "tree", "tree of one"],
)
def test_what_can_be_written(tmp_path, data, expected):
    assert names(export(data, "tiff", tmp_path / "new")) == expected
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == sorted(expected)


@pytest.mark.parametrize(
    ("data", "writer", "options", "message"),
    [
        (movie(), "tif", {}, "unknown writer 'tif'; did you mean 'tiff'"),
        (movie(), "tiff", {"compresion": "lzw"}, "writer tiff: unknown option 'compresion'; did"),
        ({}, "tiff", {}, "nothing to write"),
        ({"../a": movie()}, "tiff", {}, "'../a': its name is no file name"),
        ({".a": movie()}, "tiff", {}, "'.a': its name is no file name"),
        ({"": movie()}, "tiff", {}, "'': its name is no file name"),
    ],
)
def test_what_cannot(tmp_path, data, writer, options, message):
    with pytest.raises(UsageError, match=message):
        export(data, writer, tmp_path, **options)
    assert list(tmp_path.iterdir()) == []


def test_only_folders():
    with pytest.raises(UsageError, match="writers write to a folder on disk"):
        export(movie(), "tiff", "s3://bucket/a")


def test_every_writer_can_be_called_by_name():
    assert set(writers.WRITERS) >= {"csv", "ome-zarr", "parquet", "tiff"}
