"""Statistics and labels of Imaris, generated as the format is described: no real one is at hand."""

import dask
import h5py
import numpy as np
import pandas as pd
import pytest
from meshes import box
from scenes import labels, mega, points8, statistics, surfaces, surfaces8

import dpipe
from dpipe.demo.study import write_imaris
from dpipe.errors import ImarisError
from dpipe.readers import open_imaris_spots, open_imaris_surfaces
from dpipe.readers.imaris import statistics as imaris_statistics

POINTS, SECOND = "Scene8/Content/Points0", "Scene8/Content/Points1"
T = 1_000_000_000
SPOTS = [(7, 0, 1, 1, 1, 2), (3, 0, 2, 2, 2, 2), (9, 2, 3, 3, 3, 2)]  # id, frame, x, y, z, radius
TYPES = [  # id, category, factors, name, unit
    (11, 0, 1, "Intensity Mean", ""),
    (12, 0, 2, "Intensity Mean", ""),
    (20, 0, 0, "Displacement^2", "um^2"),
    (30, 2, 0, "Track Length", "um"),
    (31, 1, 0, "Total Number of Spots", ""),
]
FACTORS = [(1, "Channel", "1"), (1, "Image", "Image 1"), (2, "Channel", "2")]
VALUES = [  # time, object, type, value
    (1, 7, 11, 70.5), (1, 3, 11, 30.5), (3, 9, 11, 90.5),
    (1, 7, 12, 71.5), (3, 9, 12, 91.5),
    (1, 7, 20, 0.25),
    (1, 7, 20, 0.75),  # a second value of one kind: the first stands
    (-1, T, 30, 99.0), (-1, -1, 31, 3.0), (1, 555, 11, 1.0), (1, 7, 77, 1.0),
]  # fmt: skip


@pytest.fixture
def file(tmp_path):
    path = write_imaris(tmp_path / "Neu1.ims", np.zeros((4, 1, 3, 8, 8), "u1"), levels=1)
    points8(path, 0, SPOTS, {T: [7, 9]}, Id=1)
    return path


def test_statistics_of_spots(file):
    statistics(file, POINTS, TYPES, VALUES, factors=FACTORS)
    with dask.config.set(scheduler=lambda *_, **__: pytest.fail("read on opening")):
        ds = open_imaris_spots(file)
    assert ds.name.values.tolist() == ["intensity_mean_ch1", "intensity_mean_ch2", "displacement_2"]
    assert ds.statistic_title.values.tolist() == [
        "Intensity Mean", "Intensity Mean", "Displacement^2",
    ]  # fmt: skip
    assert ds.statistic_unit.values.tolist() == ["", "", "um^2"]
    nan = np.nan
    expected = [[70.5, 71.5, 0.25], [30.5, nan, nan], [90.5, 91.5, nan]]
    np.testing.assert_array_equal(ds.spot_statistic, expected)  # in the order of the spots
    np.testing.assert_array_equal(ds.spot_statistic[1:, :2], np.array(expected)[1:, :2])
    assert ds.attrs["statistics_left_out"] == [
        "Track Length (Track)", "Total Number of Spots (Overall)",
    ]  # fmt: skip


def test_statistics_are_read_in_runs_and_blocks(file, monkeypatch):
    statistics(file, POINTS, TYPES, VALUES, factors=FACTORS)
    whole = open_imaris_spots(file).spot_statistic.values
    monkeypatch.setattr(imaris_statistics, "_ROWS", 2)
    monkeypatch.setattr(imaris_statistics, "_BLOCK_VALUES", 3)
    ds = open_imaris_spots(file)
    assert ds.spot_statistic.chunks[0] == (1, 1, 1)
    np.testing.assert_array_equal(ds.spot_statistic, whole)


def test_names_stay_apart():
    channel, image = ("Channel", "2"), ("Image", "Image 1")
    kinds = {
        1: ("Intensity", [channel]), 2: ("Distance", [("Surfaces", "Tumour cells")]),
        3: ("Distance", [("Surfaces", "Vessels")]), 4: ("Area", [image]), 5: ("Time Index", []),
        6: ("Time-Index", []), 7: ("^", []),
    }  # fmt: skip
    assert imaris_statistics._distinct(kinds) == {
        1: "intensity_ch2", 2: "distance_surfaces_tumour_cells", 3: "distance_surfaces_vessels",
        4: "area", 5: "time_index", 6: "time_index_2", 7: "unnamed",
    }  # fmt: skip


def test_statistics_without_categories_are_the_members(file):
    statistics(file, POINTS, TYPES[:3], VALUES, categories=())
    ds = open_imaris_spots(file)
    assert ds.name.values.tolist() == ["intensity_mean", "intensity_mean_2", "displacement_2"]
    assert ds.attrs["assumed"] == ["Spots 0: all statistics are of its members: no Category says"]


def test_two_objects_share_columns(file):
    statistics(file, POINTS, TYPES[2:], VALUES)
    points8(file, 1, [(7, 1, 5, 5, 5, 1), (8, 1, 6, 6, 6, 1)], Id=2)
    statistics(file, SECOND, [(4, 0, 0, "Area", "um^2"), (20, 0, 0, "Displacement^2", "um^2")],
               [(1, 8, 4, 4.5), (1, 7, 20, 8.5)])  # fmt: skip
    points8(file, 2, [(1, 0, 0, 0, 0, 1)], Id=3)
    ds = open_imaris_spots(file)
    assert ds.name.values.tolist() == ["displacement_2", "area"]
    found = {name: ds.spot_statistic.sel(name=name).values for name in ("displacement_2", "area")}
    n = np.nan
    np.testing.assert_array_equal(found["displacement_2"], [0.25, n, n, 8.5, n, n])
    np.testing.assert_array_equal(found["area"], [n, n, n, n, 4.5, n])


GROUPS = {"Class A": ["dying", "alive"], "Site": ["node"]}


def test_labels_of_spots_and_of_their_tracks(file):
    # "dying" for spot 3, "alive" and "node" for the track of 7 and 9, "dying" for 9 as well
    sets = [([0], [3]), ([1, 2], [T]), ([0], [9, 4040])]
    labels(file, POINTS, GROUPS, sets)
    ds = open_imaris_spots(file)
    assert ds.label_group.values.tolist() == ["Class A", "Site"]
    assert ds.spot_label.values.tolist() == [
        ["alive", "node"], ["dying", ""], ["alive, dying", "node"],
    ]  # fmt: skip
    assert ds.attrs["assumed"] == ["Spots 0: 1 labels are of objects that are not there"]
    points8(file, 1, [(7, 1, 5, 5, 5, 1)], Id=2)
    assert open_imaris_spots(file).spot_label.values[3].tolist() == ["", ""]


def test_nothing_said_is_nothing_there(file):
    labels(file, POINTS, {}, [])
    statistics(file, POINTS, [], [])
    ds = open_imaris_spots(file)
    assert set(ds.dims) == {"spot"}
    assert set(ds.attrs) == {"format", "frame_base", "object", "objects"}


def test_centres_of_surfaces_have_statistics_too(file):
    mega(file, 0, [(5, 0, 1, 1, 1), (6, 1, 2, 2, 2)], Id=9)
    statistics(file, "Scene8/Content/MegaSurfaces0", [(4, 0, 0, "Volume", "um^3")],
               [(1, 6, 4, 12.5)], categories=[(0, "Surface")])  # fmt: skip
    ds = open_imaris_spots(file, centers=True)
    np.testing.assert_array_equal(ds.spot_statistic, [[np.nan], [12.5]])


def test_surfaces(file):
    mesh = box((1, 1, 1), (2, 4, 4))
    surfaces(file, 0, [(0, *mesh), (1, *mesh)], Id=4)
    surfaces8(file, 0, [50, 60], {T: [50, 60]}, Id=4)
    where = "Scene8/Content/Surfaces0"
    statistics(file, where, [(4, 0, 0, "Volume", "um^3")], [(1, 60, 4, 9.5)],
               categories=[(0, "Surface")])  # fmt: skip
    labels(file, where, {"Class": ["dying"]}, [([0], [60])])
    ds = open_imaris_surfaces(file)
    np.testing.assert_array_equal(ds.surface_statistic, [[np.nan], [9.5]])
    assert ds.surface_label.values.tolist() == [[""], ["dying"]]
    assert ds.surface_statistic.dims == ("surface", "name")


def test_numbers_that_are_not_of_imaris_find_nothing(file):
    mesh = box((1, 1, 1), (2, 4, 4))
    surfaces(file, 0, [(0, *mesh), (1, *mesh)], Id=4)
    surfaces8(file, 0, [0], {}, Id=4)  # one number for two surfaces
    statistics(file, "Scene8/Content/Surfaces0", [(4, 0, 0, "Volume", "um^3")], [(1, 0, 4, 9.5)],
               categories=[(0, "Surface")])  # fmt: skip
    ds = open_imaris_surfaces(file)
    assert "surface_statistic" not in ds
    assert "Scene holds 2 surfaces, Scene8 1" in ds.attrs["assumed"][0]


def test_through_a_store_into_a_table(file, tmp_path):
    statistics(file, POINTS, TYPES, VALUES, factors=FACTORS)
    labels(file, POINTS, GROUPS, [([0], [3])])
    store = str(tmp_path / "s")
    dpipe.save({"Neu1": open_imaris_spots(file)}, store, "spots", message="")
    ds = dpipe.open(store, "spots")
    np.testing.assert_array_equal(ds.spot_statistic, open_imaris_spots(file).spot_statistic)
    paths = dpipe.export({"Neu1": ds}, "csv", tmp_path / "out")
    table = pd.read_csv(next(path for path in paths if path.endswith("table_spot.csv")))
    assert table["intensity_mean_ch1"].tolist() == [70.5, 30.5, 90.5]


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        ([([9], [3])], "LabelSetLabelIDs names label 9, which is not one of 3"),
        ([([-1], [3])], "names label -1"),
    ],
)
def test_damaged_labels(file, sets, said):
    labels(file, POINTS, GROUPS, sets)
    with pytest.raises(ImarisError, match=said):
        open_imaris_spots(file)


@pytest.mark.parametrize(
    ("key", "rows", "said"),
    [
        ("LabelSets", np.array([(5, 9)], [("EndLabelIDs", "i8"), ("EndObjectIDs", "i8")]),
         "labels that end at 5 of 1"),
        ("LabelValues", np.array([(5,)], [("LabelValue", "i8")]),
         "LabelValue is int64; expected text"),
        ("StatisticsType", np.zeros(3), "holds float64 of shape"),
        ("StatisticsValue", np.array([(5,)], [("Value", "S8")]), "holds Value of shape"),
    ],
    ids=["ends", "kind", "no records", "fields"],
)  # fmt: skip
def test_damaged_tables(file, key, rows, said):
    labels(file, POINTS, GROUPS, [([0], [3])])
    statistics(file, POINTS, TYPES, VALUES)
    with h5py.File(file, "a") as h5:
        del h5[POINTS][key]
        h5[POINTS][key] = rows
    with pytest.raises(ImarisError, match=said):
        open_imaris_spots(file).compute()


def test_a_file_that_lost_its_numbers_since(file):
    statistics(file, POINTS, TYPES, VALUES)
    ds = open_imaris_spots(file)
    with h5py.File(file, "a") as h5:
        del h5["Scene8/Content"]
    with pytest.raises(ImarisError, match="no Scene8/Content/Points0, which was there"):
        ds.spot_statistic.compute()
