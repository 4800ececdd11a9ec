"""Tables with a row a movie, joined to the movies of a store."""

import dask
import numpy as np
import pytest
import xarray as xr

import dpipe
from dpipe import joins, schema
from dpipe.metadata import facts_line, image_facts


def movie(channels: int = 3) -> xr.Dataset:
    return schema.movie(np.zeros((2, channels, 2, 16, 16), "u1"), interval=30, spacing=(2, 0.5, 1))


def conditions() -> xr.Dataset:
    """The table that the reader makes of Neu1, Neu8 and Den1; Neu8 names four channels."""
    texts = {v.name: ("movie", [f"{v.name} {i}" for i in range(3)]) for v in schema.CONDITIONS}
    content = [["Neu", "UVPR8", "", ""], ["Neu", "Macro", "", "SHG"], ["Den", "", "", ""]]
    return xr.Dataset(
        texts | {"content": (("movie", "channel_number"), content)},
        coords={"movie": ["Neu1", "Neu8", "Den1"], "channel_number": [1, 2, 3, 4]},
        attrs={"corrected": []},
    )


def events() -> xr.Dataset:
    starts = ("event", [3.0, 0.0, 7.0])
    return xr.Dataset({"blebbing_start": starts}).assign_coords(
        event=["Neu1_1", "Neu8_1", "Neu1_2"], movie=("event", ["Neu1", "Neu 8", "Neu1"])
    )


@pytest.fixture
def store(tmp_path) -> str:
    url = str(tmp_path / "s")
    dpipe.save({"Neu1": movie(), "Neu_8": movie(4)}, url, "leuko", message="movies")
    dpipe.save({"table1": conditions()}, url, "leuko-conditions", message="Table 1")
    dpipe.save({"table2": events()}, url, "leuko-phases", message="Table 2")
    return url


def test_a_row_becomes_scalar_coordinates_and_no_pixel_is_read(store):
    tree = dpipe.open(store, "leuko", "leuko-conditions")
    assert list(tree.children) == ["Neu1", "Neu_8"]
    ds = tree["Neu_8"].to_dataset()
    assert [ds[v.name].item() for v in schema.CONDITIONS] == [
        f"{v.name} 1" for v in schema.CONDITIONS
    ]
    assert ds.channel_content.dims == ("c",)
    assert ds.channel_content.values.tolist() == ["Neu", "Macro", "", "SHG"]
    assert ds.movie.item() == "Neu8"
    assert set(ds.data_vars) == {"image"}
    assert "channel_number" not in ds.dims
    assert dask.is_dask_collection(ds.image.data)
    assert ds.attrs == {"stem": "Neu_8"}
    assert tree["Neu1"].channel_content.values.tolist() == ["Neu", "UVPR8", ""]


def test_what_was_joined_goes_through_operators_and_is_saved(store):
    tree = dpipe.open(store, "leuko", "leuko-conditions", "leuko-phases")
    dpipe.save(tree, store, "whole", message="all in one")
    again = dpipe.open(store, "whole", part="Neu1")
    assert str(again.organ.values) == "organ 0"
    assert again.blebbing_start.values.tolist() == [3, 7]
    quality = dpipe.each(tree, "frame-quality")
    assert quality["Neu1"].frame_snr.shape == (2, 3)
    dpipe.save(dpipe.each(quality, "quality-table"), store, "table", message="")
    both = dpipe.open(store, "table", "leuko-conditions")
    assert both.organ.values.tolist() == ["organ 0", "organ 1"]  # beside movie_snr, by movie
    assert both.content.shape == (2, 4)
    one = dpipe.open(store, "leuko", "table", part="Neu_8")
    assert one.movie_voxel_z.item() == 2.0
    assert one.movie_voxel_z.dims == ()


def test_a_movie_gets_its_events(store):
    ds = dpipe.open(store, "leuko", "leuko-phases", part="Neu1")
    assert ds.event.values.tolist() == ["Neu1_1", "Neu1_2"]
    eighth = dpipe.open(store, "leuko", "leuko-phases", part="Neu_8")  # "Neu 8" in the table
    assert eighth.blebbing_start.values.tolist() == [0]


def test_a_movie_without_a_row_is_said_once_and_rows_without_movie_are_no_error(store):
    dpipe.save({"Neu1": movie(), "Neu9": movie()}, store, "other", message="")
    with pytest.warns(UserWarning, match="no row") as told:
        tree = dpipe.open(store, "other", "leuko-conditions")
    assert [str(line.message) for line in told] == [
        "leuko-conditions@1: no row for 1 of 2 movies (Neu9); it stays without"
    ]
    assert told[0].filename == __file__
    assert tree["Neu9"].attrs["without_row"] == ["leuko-conditions@1"]
    assert "organ" not in tree["Neu9"].coords
    assert "without_row" not in tree["Neu1"].attrs
    with pytest.warns(UserWarning, match=r"leuko-phases@1: no row for 1 of 2 movies \(Neu9\)"):
        dpipe.open(store, "other", "leuko-phases")


def test_more_channels_in_the_row_than_in_the_movie_are_not_guessed(store):
    dpipe.save({"Neu8": movie(3)}, store, "three", message="")
    with pytest.warns(UserWarning, match=r"more channels in the row than in the movie .*\(Neu8\)"):
        ds = dpipe.open(store, "three", "leuko-conditions")
    assert "channel_content" not in ds.coords
    assert ds.content.values.tolist() == ["Neu", "Macro", "", "SHG"]
    assert ds.attrs["channels_unlike_row"] == ["leuko-conditions@1"]
    assert ds.organ.item() == "organ 1"


def test_fewer_channels_in_the_row_leave_the_rest_open():
    ds, without, unlike = joins.join(movie(6), "Neu1", conditions(), "t")
    assert (without, unlike) == ([], [])
    assert ds.channel_content.values.tolist() == ["Neu", "UVPR8", "", "", "", ""]


def test_two_rows_that_may_be_meant_are_none():
    table = conditions().assign_coords(movie=["Neu 1", "neu_1", "Den1"])
    ds, without, _ = joins.join(movie(), "Neu1", table, "t")
    assert without == ["Neu1"]
    assert ds.attrs["without_row"] == ["t"]
    exact = conditions().assign_coords(movie=["Neu1", "neu_1", "Den1"])
    assert joins.join(movie(), "Neu1", exact, "t")[0].organ.item() == "organ 0"


@pytest.mark.parametrize("first", [0, 1])
def test_of_two_tables_the_first_that_is_named_wins(first):
    """What a part has already stays: the organ of the first, and what only the second says."""
    other = conditions().assign(organ=("movie", ["spleen"] * 3), dose=("movie", [1, 2, 3]))
    tables = [conditions(), other]
    ds = movie()
    for table in (tables[first], tables[1 - first]):
        ds, without, _ = joins.join(ds, "Neu1", table, "t")
        assert without == []
    assert ds.organ.item() == ("organ 0", "spleen")[first]
    assert ds.dose.item() == 1
    side = xr.Dataset({"snr": ("movie", [1.0])}, coords={"movie": ["Neu1"]})
    for table in (tables[first], tables[1 - first]):
        side = joins.join(side, "data", table, "t")[0]
    assert side.organ.values.tolist() == [("organ 0", "spleen")[first]]


def test_of_the_tables_that_open_names_the_first_wins(store):
    other = conditions().assign(organ=("movie", ["spleen"] * 3))
    dpipe.save({"other": other}, store, "others", message="another table")
    names = ["leuko-conditions", "others"]
    for order, organ in ((names, "organ 0"), (names[::-1], "spleen")):
        assert dpipe.open(store, "leuko", *order)["Neu1"].organ.item() == organ


def test_events_of_a_movie_are_found_however_each_spells_it():
    table = xr.Dataset(
        {"start": ("event", [3, 7, 9])}, {"movie": ("event", ["Neu 1", "neu_1", "Den1"])}
    )
    assert joins.join(movie(), "Neu1", table, "t")[0].start.values.tolist() == [3, 7]


def test_tables_side_by_side_leave_gaps_open():
    measured = xr.Dataset({"snr": ("movie", [1.0, 2.0])}, coords={"movie": ["Den1", "Neu9"]})
    table = conditions().assign(depth=("movie", [10, 20, 30]))
    ds, without, _ = joins.join(measured, "data", table, "t")
    assert without == ["Neu9"]
    assert ds.organ.values.tolist() == ["organ 2", ""]
    np.testing.assert_array_equal(ds.depth, [30, np.nan])
    assert joins.join(measured, "data", events(), "t")[1] == ["Den1", "Neu9"]


def test_a_table_too_large_to_read_stays_lazy(monkeypatch):
    table = conditions().chunk({"movie": 1})
    assert not dask.is_dask_collection(joins.loaded(table).organ.data)
    monkeypatch.setattr(joins, "_SMALL", 10)
    assert dask.is_dask_collection(joins.loaded(table).organ.data)


def test_many_movies_are_not_all_listed():
    (line,) = joins.said("t@1", 9, [f"Neu{i}" for i in range(7)], [])
    assert (
        line
        == "t@1: no row for 7 of 9 movies (Neu0, Neu1, Neu2, Neu3, Neu4, ...); they stay without"
    )


def test_facts_of_the_real_table(shared_data, tmp_path):
    url = str(tmp_path / "s")
    dpipe.save({"Neu 8".replace(" ", "-"): movie(4)}, url, "leuko", message="")
    table = dpipe.open_conditions(shared_data / "leuko" / "table1_conditions.csv")
    dpipe.save({"table1": table}, url, "leuko-conditions", message="")
    facts = image_facts(dpipe.open(url, "leuko", "leuko-conditions"))
    assert facts["organ"] == "Lymph node"
    assert facts["stimulus"] == "UVPR8"
    assert facts["fluorophores"] == "CFP, PE"
    assert facts["objective"] == "40x"
    assert facts["channel_content"] == ["Neu", "Macro", "", "Neu, SHG"]
    assert facts_line(facts).startswith(
        "interval 30 s, spacing 2 0.5 1 micrometer, channels 0 | 1 | 2 | 3, "
        "channel content Neu | Macro | unknown | Neu, SHG, organ Lymph node, stimulus UVPR8"
    )
