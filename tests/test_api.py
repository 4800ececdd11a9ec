"""open, each, save: what an analyst does."""

import numpy as np
import pytest
import xarray as xr

import dpipe
from dpipe import operators, schema
from dpipe.errors import NotAStoreError, NotFoundError, SchemaError, UsageError


def movie(value: int = 0, frames: int = 3) -> xr.Dataset:
    """A movie whose pixels count upwards from a value."""
    pixels = np.arange(frames * 2 * 2 * 16 * 20).reshape(frames, 2, 2, 16, 20) + value
    return schema.movie(
        pixels.astype("u2"), spacing=(2, 0.5, 0.25), origin=(10, 20, 30), interval=15,
        channels=["GFP", "DiD"], colors=["00FF00", "FF0000"],
    )  # fmt: skip


@pytest.fixture
def store(tmp_path) -> str:
    dpipe.save(
        {"Neu1": movie(), "Neu2": movie(7, 4)}, str(tmp_path / "s"), "leuko", message="first"
    )
    return str(tmp_path / "s")


def test_saved_parts_come_back_as_they_were(store):
    tree = dpipe.open(store, "leuko")
    assert list(tree.children) == ["Neu1", "Neu2"]
    ds = tree["Neu2"].to_dataset()
    assert ds.attrs["stem"] == "Neu2"
    xr.testing.assert_identical(ds.drop_attrs(deep=False), movie(7, 4).drop_attrs(deep=False))


def test_one_part_is_a_dataset(store):
    assert isinstance(dpipe.open(store, "leuko", part="Neu1"), xr.Dataset)


def test_results_of_each_are_saved_and_merged_by_stem(store):
    tree = dpipe.open(store, "leuko")
    quality = dpipe.each(tree, dpipe.frame_quality, median=3)
    version = dpipe.save(quality, store, "leuko-quality", message="median of 3", author="lab")
    assert (version.label, version.author) == ("leuko-quality@1", "lab")
    both = dpipe.open(store, "leuko", "leuko-quality", part="Neu1")
    assert {"image", "frame_snr"} <= set(both)
    expected = dpipe.frame_quality(movie(), median=3).frame_snr
    np.testing.assert_array_equal(both.frame_snr, expected)


def test_each_takes_names_and_whole_datasets(store):
    quality = dpipe.each(dpipe.open(store, "leuko"), "frame-quality")
    table = dpipe.each(quality, "quality-table")
    assert list(table.movie.values) == ["Neu1", "Neu2"]
    one = dpipe.each(dpipe.open(store, "leuko", part="Neu1"), "projections", normalise="plane")
    assert one.attrs["stem"] == "Neu1"
    with pytest.raises(UsageError, match="unknown parameter 'normalize'; did you mean 'normalise'"):
        dpipe.each(one, "projections", normalize="plane")


def shifted(
    ds: xr.Dataset, by: xr.Dataset, all: xr.DataTree | None = None, more: xr.Dataset | None = None,
    *, times: int = 1,
) -> xr.Dataset:  # fmt: skip
    found = ds + times * by["image"].max() + (0 if all is None else len(all.children))
    return found if more is None else found + 1000


@pytest.mark.parametrize("named", [True, False])
def test_each_joins_further_inputs_by_stem(store, named, monkeypatch):
    monkeypatch.setitem(operators.OPERATORS, "shifted", operators.Operator(shifted, 1))
    tree, operator = dpipe.open(store, "leuko"), "shifted" if named else shifted
    largest = {"Neu1": 3 * 2 * 2 * 16 * 20 - 1, "Neu2": 4 * 2 * 2 * 16 * 20 - 1 + 7}
    found = dpipe.each(tree, operator, by=tree, all=tree, times=2)
    for stem, most in largest.items():
        expected = tree[stem]["image"].values.astype(int) + 2 * most + 2
        np.testing.assert_array_equal(found[stem]["image"], expected)
    one = {"Neu2": tree["Neu2"].to_dataset()}
    some = dpipe.each(tree, operator, by=tree, more=one)
    more = [int(some[stem]["image"].values[0, 0, 0, 0, 0]) - largest[stem] for stem in largest]
    assert more == [0, 7 + 1000]
    alone = dpipe.each(tree["Neu1"].to_dataset(), operator, by=tree["Neu2"].to_dataset())
    assert int(alone["image"].values[0, 0, 0, 0, 0]) == largest["Neu2"]
    with pytest.raises(UsageError, match="by has no part 'Neu1', which data has"):
        dpipe.each(tree, operator, by=one)


def test_each_over_two_whole_datasets(store):
    tree = dpipe.open(store, "leuko")

    def count(tree: xr.DataTree, other: xr.DataTree) -> xr.Dataset:
        return xr.Dataset({"parts": ("n", [len(tree.children), len(other.children)])})

    found = dpipe.each(tree, count, other={"Neu1": tree["Neu1"].to_dataset()})
    assert found["parts"].values.tolist() == [2, 1]


def test_saving_the_same_again_commits_nothing(store):
    data = dpipe.open(store, "leuko")
    again = dpipe.save(data, store, "copy", message="copy")
    twice = dpipe.save(data, store, "copy", message="copy again")
    assert again.number == twice.number == 1


def test_history_is_newest_first_and_shows_as_a_table(store):
    dpipe.save({"Neu1": movie(1)}, store, "leuko", message="<b>second</b>")
    history = dpipe.history(store, "leuko")
    assert [version.number for version in history] == [2, 1]
    assert len(history) == 2
    assert history[0].parent == 1
    shown = history._repr_html_()
    assert "&lt;b&gt;second&lt;/b&gt;" in shown
    assert "<b>" not in shown
    assert "Neu1" in history[0]._repr_html_()
    assert list(dpipe.open(store, "leuko@1").children) == ["Neu1", "Neu2"]


def test_levels(tmp_path):
    pixels = np.zeros((1, 1, 1, 300, 520), "u1")
    dpipe.save({"a": schema.movie(pixels)}, str(tmp_path), "big", message="")
    assert dpipe.open(str(tmp_path), "big", level=2).image.shape == (1, 1, 1, 75, 130)
    with pytest.raises(UsageError, match="no level 3; levels there: 0, 1, 2"):
        dpipe.open(str(tmp_path), "big", level=3)


@pytest.mark.parametrize(
    ("names", "kwargs", "error", "said"),
    [
        ((), {}, UsageError, "name at least one dataset"),
        (("leuk",), {}, NotFoundError, "unknown dataset 'leuk'; did you mean 'leuko'?"),
        (("leuko@9",), {}, NotFoundError, "leuko has no version 9; it has 1"),
        (("leuko@x",), {}, UsageError, "expected NAME or NAME@NUMBER"),
        (("leuko",), {"part": "Neu3"}, NotFoundError, "unknown part 'Neu3'; did you mean"),
    ],
)
def test_wrong_names(store, names, kwargs, error, said):
    with pytest.raises(error) as told:
        dpipe.open(store, *names, **kwargs)
    assert said in str(told.value)
    assert "\n" not in str(told.value)


def test_what_cannot_be_merged_is_told_in_one_line(store):
    flat = dpipe.open(store, "leuko", part="Neu1").isel(z=[0], c=0, drop=True).astype("u4")
    masks = flat.rename(image="labels")
    dpipe.save({"Neu1": masks}, store, "leuko-masks", message="of one plane")
    with pytest.raises(
        SchemaError, match=r"Neu1: leuko-masks@1 does not fit leuko@1: .*'z'"
    ) as told:
        dpipe.open(store, "leuko", "leuko-masks")
    assert "\n" not in str(told.value)


def test_no_store(tmp_path):
    with pytest.raises(NotAStoreError, match="no dpipe store there"):
        dpipe.open(str(tmp_path / "nothing"), "leuko")
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(NotAStoreError, match=r"not a dpipe store; .*found a\.txt"):
        dpipe.open(str(tmp_path), "leuko")


def test_what_is_saved_must_speak_the_vocabulary(tmp_path):
    wrong = xr.Dataset({"frame_snr": ("t", np.zeros(3))})
    with pytest.raises(SchemaError, match=r"expected frame_snr\(t, c\)"):
        dpipe.save(wrong, str(tmp_path / "s"), "q", message="")
    with pytest.raises(SchemaError, match="at least one variable"):
        dpipe.save(xr.Dataset(), str(tmp_path / "s"), "q", message="")


def test_an_analysts_own_variable_is_kept(tmp_path):
    own = xr.Dataset({"share": ("cell", [0.5, np.nan], {"units": "1"})}, coords={"cell": [3, 5]})
    dpipe.save(own, str(tmp_path / "s"), "shares", message="by hand")
    back = dpipe.open(str(tmp_path / "s"), "shares")
    xr.testing.assert_equal(back.compute(), own)
    assert back["share"].attrs == {"units": "1"}
