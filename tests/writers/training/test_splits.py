"""Splits and leaks: whatever is said, no movie and no pixel lies in two splits."""

import numpy as np
import pytest
import xarray as xr

import dpipe
from dpipe import schema
from dpipe.errors import InputError, RefusedError, SchemaError, UsageError
from dpipe.writers.training.splits import Watch, settle, whole_folder


def movies(*stems):
    return {stem: schema.movie(np.zeros((1, 1, 1, 2, 2), "u1")) for stem in stems}


def crops(*events, movie=None):
    ds = xr.Dataset({"crop": (("event", "t", "c", "y", "x"), np.zeros((len(events), 1, 1, 2, 2)))})
    ds = ds.assign_coords(event=("event", np.array(events, dtype=str)))
    return ds if movie is None else ds.assign_coords(movie=("event", np.array(movie, dtype=str)))


TABLE = xr.Dataset({"split": ("movie", np.array(["test", "train"]))}, {"movie": ["a", "b"]})


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("validation", {"a": "validation", "b": "validation"}),
        ({"a": "test", "b": "train", "c": "train"}, {"a": "test", "b": "train"}),
        (TABLE, {"a": "test", "b": "train"}),
        ("movie,split\na,test\nb,train\na,test\n", {"a": "test", "b": "train"}),
        ("part;split;movie\n1;test; a\n2; train ;b\n", {"a": "test", "b": "train"}),
    ],
    ids=["all", "mapping", "dataset", "csv", "other csv"],
)
def test_what_can_be_said(tmp_path, said, expected):
    if isinstance(said, str) and "\n" in said:
        (tmp_path / "s.csv").write_text(said)
        said = tmp_path / "s.csv"
    assert settle(movies("a", "b"), said) == expected
    assert settle({"x": crops("1", "2", movie=["a", "b"])}, said) == expected


def test_what_the_parts_hold():
    parts = movies("a", "b")
    parts = {"a": parts["a"].assign_coords(split="test"), "b": parts["b"].assign(split="train")}
    assert settle(parts, None) == {"a": "test", "b": "train"}
    assert settle({"a": crops("a_1", "a_2").assign_coords(split="test")}, None) == {"a": "test"}
    assert settle({"a": crops()}, None) == {}


def test_events_of_a_table_go_with_their_movie(tmp_path):
    path = tmp_path / "s.csv"
    path.write_text("event,split\na_1,test\na_2,test\nb_1,train\n")
    parts = {"a": crops("a_1", "a_2"), "b": crops("b_1")}
    assert settle(parts, str(path)) == {"a": "test", "b": "train"}


@pytest.mark.parametrize(
    ("parts", "said", "message"),
    [
        (movies("a"), "movie,split\na,test\na,train\n", "a is in test and in train: what a model"),
        (movies("b"), "movie,split\na,test\na,train\nb,test\n", "a is in test and in train"),
        ({"a": crops("1", "2")}, "event,split\n1,test\n2,train\n", "a is in test and in train"),
        (
            {"a": crops("1", movie=["m"]), "b": crops("2", movie=["m"])},
            "event,split\n1,test\n2,train\n", "m is in test and in train",
        ),
        (
            {"a": crops("1", movie=["m"]).assign_coords(split="train"),
             "b": crops("2", movie=["m"]).assign_coords(split="test")},
            None, "m is in train and in test",
        ),
        ({"a": crops("1", "2")}, "event,split\n1,test\n1,train\n2,test\n", "1 is in test and in"),
        ({"a": crops("1", "2")}, "movie,event,split\na,1,test\na,2,train\n", "a is in test and"),
    ],
    ids=["table", "elsewhere", "events", "parts", "rows", "event", "both columns"],
)  # fmt: skip
def test_a_movie_in_two_splits_is_refused(tmp_path, parts, said, message):
    if said:
        (tmp_path / "s.csv").write_text(said)
    with pytest.raises(RefusedError, match=message) as told:
        settle(parts, said and tmp_path / "s.csv")
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("said", "error", "message"),
    [
        (None, RefusedError, "Neu1: no split in the data; make one with the operator split-movies"),
        ({}, RefusedError, "Neu1: no split in split; make one"),
        ({"Neu 1": "train"}, RefusedError, "no split in split (did you mean 'Neu 1'?)"),
        (TABLE, RefusedError, "Neu1: no split in split"),
        (TABLE.drop_vars("movie"), SchemaError, "split: no coordinate 'movie'"),
        (TABLE.rename(split="splits"), SchemaError, "no variable 'split'"),
        ({"Neu1": "val"}, UsageError, "Neu1: unknown split 'val'. Known: test, train, val"),
        ({"Neu1": "../x"}, UsageError, "Neu1: unknown split '../x'"),
        (7, UsageError, "split: found 7; expected a file, or one of train, validation, test"),
        ("trian", UsageError, "split='trian': no such file, and none of train, validation, test"),
        ("movie,splits\nNeu1,train\n", InputError, "s.csv: no column 'split'; found movie, splits"),
        ("name,split\nNeu1,train\n", InputError, "s.csv: no column 'movie'; found name, split"),
        ("movie,split\nNeu1\n", InputError, "s.csv: line 2: 1 cells"),
        (" \n", InputError, "s.csv: empty file"),
        ("movie,split\nNeu2,train\n", RefusedError, "no split in s.csv (did you mean 'Neu2'?)"),
        ("event,split\ne,train\n", RefusedError, "Neu1: no split in s.csv"),
    ],
)
def test_what_is_no_split(tmp_path, said, error, message):
    if isinstance(said, str) and "\n" in said:
        (tmp_path / "s.csv").write_text(said)
        said = tmp_path / "s.csv"
    with pytest.raises(error) as told:
        settle(movies("Neu1"), said)
    assert message in str(told.value)
    assert "\n" not in str(told.value)


def test_the_same_pixels():
    watch, picture = Watch(), np.arange(6, dtype="u1").reshape(2, 3)
    watch.look(picture, "train", "a")
    watch.look(picture, "train", "b")
    for other in (picture.T, picture.reshape(3, 2), picture.astype("u2"), picture.view("i1")):
        watch.look(other, "test", "c")
    for value in (0, 7, np.nan):  # padding is alike everywhere
        for split in schema.SPLITS:
            watch.look(np.full((2, 3), value), split, "d")
            watch.look(np.zeros((0, 3)), split, "d")
    with pytest.raises(RefusedError, match="e in test has the very pixels of a in train"):
        watch.look(np.asfortranarray(picture), "test", "e")


def test_a_folder_is_whole_or_not_there(tmp_path):
    to = tmp_path / "new" / "out"
    with pytest.raises(IsADirectoryError), whole_folder(to) as folder:
        folder.write_text("not a file")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "new" / ".out.partial").mkdir(parents=True)  # of one that was killed
    (tmp_path / "new" / ".out.partial" / "old").write_text("old")
    to.mkdir()
    with whole_folder(to) as folder:
        (folder / "a").write_text("a")
        assert not any(to.iterdir())
    assert [path.name for path in to.iterdir()] == ["a"]
    with pytest.raises(UsageError, match="is there already and not empty"), whole_folder(to):
        pass
    with pytest.raises(UsageError, match="is there already"), whole_folder(to / "a"):
        pass
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["out"]


def test_splits_of_a_store_reach_the_writer(tmp_path):
    store = str(tmp_path / "s")
    dpipe.save(movies("a", "b", "c"), store, "leuko", message="")
    table = dpipe.split_movies(dpipe.open(store, "leuko"), exact=True, fractions=(0.34, 0.33, 0.33))
    dpipe.save(table, store, "leuko-splits", message="")
    tree = dpipe.open(store, "leuko", "leuko-splits")
    parts = {name: child.to_dataset() for name, child in tree.children.items()}
    expected = dict(zip(table.movie.values.tolist(), table.split.values.tolist(), strict=True))
    assert settle(parts, None) == expected
    assert set(expected.values()) == set(schema.SPLITS)
