"""The shelf of readers."""

import h5py
import numpy as np
import pytest
import tifffile
import zarr

from dpipe import readers
from dpipe.build import part_spec
from dpipe.errors import UsageError


def test_every_reader_is_whole():
    for name, reader in readers.READERS.items():
        assert readers.resolve(name) is reader
        assert list(reader.find([])) == []
        assert callable(reader.open)
        assert reader.version >= 1


def test_unknown_reader():
    with pytest.raises(UsageError, match="unknown reader 'tif'; did you mean 'tiff'"):
        readers.resolve("tif")


def bare_imaris(folder):
    with h5py.File(folder / "a.ims", "w") as h5:
        for t in range(2):
            h5[f"DataSet/ResolutionLevel 0/TimePoint {t}/Channel 0/Data"] = np.ones((2, 4, 4), "u1")
    return folder / "a.ims"


def bare_ome_zarr(folder):
    group = zarr.open_group(folder / "a.zarr", mode="w", zarr_format=2)
    group.create_array("0", shape=(2, 1, 2, 4, 4), dtype="u1", fill_value=None)[...] = 1
    group.attrs["multiscales"] = [{"version": "0.2", "datasets": [{"path": "0"}]}]
    return folder / "a.zarr"


def bare_tiff(folder):
    tifffile.imwrite(folder / "a.tif", np.ones((2, 2, 4, 4), "u1"), metadata={"axes": "TZYX"})
    return folder / "a.tif"


@pytest.mark.parametrize(
    ("name", "write"),
    [("imaris", bare_imaris), ("ome-zarr", bare_ome_zarr), ("tiff", bare_tiff)],
)
def test_what_a_person_sets_is_not_said_to_be_assumed(tmp_path, name, write):
    """By way of a run, whose report and listing show these lines."""
    write(tmp_path)
    (part,) = readers.resolve(name).parts([str(tmp_path)])
    items = part.items
    plain = part_spec.read(part_spec.from_items(name, items))
    assert len(plain.attrs["assumed"]) > 1
    assert any("apart" in line for line in plain.attrs["assumed"])
    said = {"interval": 30, "spacing": [2, 0.5, 0.5]}
    ds = part_spec.read(part_spec.from_items(name, items, said=said))
    assert ds.t.values.tolist() == [0, 30]
    about_axes = [line for line in plain.attrs["assumed"] if line.startswith("the axes that")]
    assert ds.attrs.get("assumed", []) == about_axes
    half = part_spec.read(part_spec.from_items(name, items, said={"interval": 30}))
    assert not any("apart" in line for line in half.attrs["assumed"])
    assert any("voxel size" in line for line in half.attrs["assumed"])
