"""split-movies: whole movies, by a hash of their names."""

from collections import Counter

import numpy as np
import pytest
import xarray as xr

import dpipe
from dpipe import schema
from dpipe.errors import SchemaError, UsageError
from dpipe.operators import split_movies


def tree(stems, **said):
    parts = {f"/{stem}": xr.Dataset() for stem in stems}
    for name, values in said.items():
        for key, value in zip(parts, values, strict=True):
            parts[key] = parts[key].assign_attrs({name: value})
    return xr.DataTree.from_dict(parts)


def by_movie(ds):
    return dict(zip(ds.movie.values.tolist(), ds.split.values.tolist(), strict=True))


STUDY = [f"Neu{i}" for i in range(1, 35)]


def test_a_movie_that_is_added_moves_no_other():
    before, after = (split_movies(tree(s)) for s in (STUDY, ["new", *STUDY[::-1], "more"]))
    assert by_movie(before).items() <= by_movie(after).items()
    assert after.movie.values.tolist()[:2] == ["new", "Neu34"]


def test_sizes_are_near_the_fractions():
    many = split_movies(tree(map(str, range(3000))), fractions=(0.6, 0.3, 0.1))
    found = Counter(many.split.values.tolist())
    # three standard deviations of a binomial: 3 sqrt(3000 * 0.6 * 0.4) = 80
    for split, share in zip(schema.SPLITS, (0.6, 0.3, 0.1), strict=True):
        assert abs(found[split] - 3000 * share) < 80


@pytest.mark.parametrize(
    ("fractions", "expected"),
    [
        # of 34 movies, those whose middle (i + 0.5) / 34 lies below 0.7 are 24 (i < 23.3), below
        # 0.85 are 29 (i < 28.4), below 0.75 are 25: that of i = 25 is 0.75
        ((0.7, 0.15, 0.15), (24, 5, 5)),
        ((0.5, 0.25, 0.25), (17, 8, 9)),
        ((1, 0, 0), (34, 0, 0)),
        ((0, 0, 1), (0, 0, 34)),
        ((0.5, 0, 0.5), (17, 0, 17)),
    ],
)
def test_exact_sizes(fractions, expected):
    found = Counter(split_movies(tree(STUDY), fractions=fractions, exact=True).split.values)
    assert tuple(found[split] for split in schema.SPLITS) == expected
    loose = Counter(split_movies(tree(STUDY), fractions=fractions).split.values)
    assert all(share or not loose[s] for s, share in zip(schema.SPLITS, fractions, strict=True))


def test_the_order_of_movies_does_not_matter_and_the_seed_does():
    assert by_movie(split_movies(tree(STUDY), exact=True)) == by_movie(
        split_movies(tree(STUDY[::-1]), exact=True)
    )
    assert by_movie(split_movies(tree(STUDY), seed=1)) != by_movie(split_movies(tree(STUDY)))


@pytest.mark.parametrize("exact", [False, True])
def test_movies_of_one_origin_stay_together(exact):
    days = [f"day {i // 5}" for i in range(34)]
    found = split_movies(tree(STUDY, day=days), by="day", exact=exact).split.values
    assert len({*zip(days, found.tolist(), strict=True)}) == len(set(days))
    assert len(set(found.tolist())) > 1


def test_a_variable_of_one_value_keeps_together_too():
    parts = {f"/{i}": xr.Dataset({"organ": ((), f"organ {i % 3}")}) for i in range(30)}
    found = split_movies(xr.DataTree.from_dict(parts), by="organ").split.values
    assert all(len(set(found[i::3])) == 1 for i in range(3))


@pytest.mark.parametrize(
    ("movies", "params", "error", "said"),
    [
        ([], {}, SchemaError, "needs one child per movie"),
        (["a"], {"by": "day"}, SchemaError, "a: no 'day' to keep movies together by. Found: none"),
        (["a"], {"fractions": (0.7, 0.3)}, UsageError, "expected shares of train, validation and"),
        (["a"], {"fractions": (0.7, 0.3, 0.1)}, UsageError, "whose sum is 1"),
        (["a"], {"fractions": (1.5, -0.5, 0)}, UsageError, "found (1.5, -0.5, 0)"),
        (["a"], {"fractions": "most"}, UsageError, "found 'most'"),
        (["a"], {"fractions": [0.5, [1], 2]}, UsageError, "expected shares"),
        (["a"], {"seed": 0.5}, UsageError, "seed: found 0.5; expected a whole number"),
        (["a"], {"seed": True}, UsageError, "seed: found True"),
    ],
)
def test_what_is_refused(movies, params, error, said):
    with pytest.raises(error) as told:
        split_movies(tree(movies), **params)
    assert said in str(told.value)
    assert "\n" not in str(told.value)


def test_each_movie_of_a_store_gets_its_row(tmp_path):
    store = str(tmp_path / "s")
    movies = {f"Neu{i}": schema.movie(np.full((1, 1, 1, 4, 4), i, "u1")) for i in range(5)}
    dpipe.save(movies, store, "leuko", message="")
    table = dpipe.each(dpipe.open(store, "leuko"), "split-movies", exact=True)
    dpipe.save(table, store, "leuko-splits", message="")
    merged = dpipe.open(store, "leuko", "leuko-splits")
    assert {k: str(ds["split"].values) for k, ds in merged.children.items()} == by_movie(table)
    assert merged["Neu3"].attrs["stem"] == "Neu3"
    again = dpipe.open(store, "leuko-splits")
    dpipe.save(again, store, "copy", message="text of a store is text")


@pytest.mark.parametrize(
    ("movies", "params", "notes"),
    [
        (["a"], {"fractions": (1, 0, 0)},
         ["no movie in validation, test: there are 1 movies; exact=true makes exact sizes"]),
        (["a", "b"], {"exact": True, "fractions": (0.5, 0, 0.5)},
         ["no movie in validation: there are 2 movies"]),
        (["a", "b", "c"], {"exact": True, "fractions": (0.4, 0.3, 0.3)}, []),
    ],
)  # fmt: skip
def test_a_split_without_movies_is_noted(movies, params, notes):
    assert split_movies(tree(movies), **params).attrs.get("notes", []) == notes
