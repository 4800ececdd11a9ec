"""Tests between groups of movies, against the published results of R's and SciPy's examples."""

import itertools
import math

import numpy as np
import pytest
import xarray as xr
from scipy import stats

import dpipe
from dpipe import schema
from dpipe.build import recipe, run
from dpipe.config import Settings
from dpipe.errors import RecipeError, SchemaError, UsageError
from dpipe.operators import compare, group_tests, grouped, movie_means, stars
from dpipe.operators.tables import rank_tests
from dpipe.storage import open_objects

NAN, INF = math.nan, math.inf

# R, help(kruskal.test): mucociliary efficiency (Hollander and Wolfe 1973, p. 116) of normal
# subjects, with obstructive airway disease, with asbestosis; R prints
# "Kruskal-Wallis chi-squared = 0.77143, df = 2, p-value = 0.68"
NORMAL = [2.9, 3.0, 2.5, 2.6, 3.2]
AIRWAY = [3.8, 2.7, 4.0, 2.4]
ASBESTOSIS = [2.8, 3.4, 3.7, 2.2, 2.0]

# R, help(wilcox.test): permeability of the chorioamnion (Hollander and Wolfe 1973, p. 69); R
# prints "W = 35, p-value = 0.1272" for alternative = "greater"
TERM = [0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46]
EARLY = [1.15, 0.88, 0.90, 0.74, 1.21]


def test_kruskal_wallis_as_r_prints_it():
    groups = {"normal": NORMAL, "airway": AIRWAY, "asbestosis": ASBESTOSIS}
    found = compare(groups, method="asymptotic")
    assert (round(found.h, 5), round(found.p, 2)) == (0.77143, 0.68)
    assert found.p == pytest.approx(math.exp(-found.h / 2))  # chi squared of two degrees
    assert found.sizes == {"normal": 5, "airway": 4, "asbestosis": 5}
    assert found.untested == ()
    assert compare(groups).h == found.h
    assert compare(groups).how == "exact"


@pytest.mark.parametrize(
    ("groups", "h", "p"),
    [
        ([[1, 3, 5, 7, 9], [2, 4, 6, 8, 10]], 0.27272727, 0.60150813),
        ([[1, 1, 1], [2, 2, 2], [2, 2]], 7.0, 0.0301973834),
    ],
    ids=["without ties", "ties"],
)
def test_kruskal_wallis_as_scipy_documents_it(groups, h, p):
    found = compare({str(i): numbers for i, numbers in enumerate(groups)}, method="asymptotic")
    assert (found.h, found.p) == (pytest.approx(h), pytest.approx(p))


def test_mann_whitney_as_r_prints_it():
    found = compare({"term": TERM, "early": EARLY}, method="exact")
    u, p = found.pairs["term", "early"]
    assert u == 35
    # exact: 382 of the C(15, 5) = 3003 orders have a W of at least 35; two-sided twice that
    assert p / 2 == pytest.approx(382 / 3003)
    assert round(p / 2, 4) == 0.1272


def test_mann_whitney_as_scipy_documents_it():
    males, females = [19, 22, 16, 29, 24], [20, 11, 17, 12]
    found = compare({"males": males, "females": females})
    assert found.pairs["males", "females"] == (17, pytest.approx(0.1111111))
    slow = compare({"males": males, "females": females}, method="asymptotic")
    assert slow.pairs["males", "females"] == (17, pytest.approx(0.11134688653314041))


@pytest.mark.parametrize(
    ("n", "p", "said"),
    [
        (3, 2 / 20, "ns"),  # of C(6, 3) = 20 orders, two are as far apart
        (4, 2 / 70, "*"),
        (5, 2 / 252, "**"),
        (7, 2 / 3432, "***"),
    ],
)
def test_groups_wholly_apart(n, p, said):
    found = compare({"a": range(n), "b": range(n, 2 * n)})
    assert found.pairs["a", "b"] == (0, pytest.approx(p))
    assert stars(p) == said


def by_hand(groups: list[list[float]]) -> float:
    """The share of all ways to deal the numbers out whose H is at least that of the groups."""
    sizes, numbers = [len(g) for g in groups], [n for g in groups for n in g]

    def h(dealt: list[list[float]]) -> float:
        return 0.0 if len(set(numbers)) == 1 else stats.kruskal(*dealt).statistic

    own, as_far, ways = h(groups), 0, 0
    for order in set(itertools.permutations(np.repeat(range(len(sizes)), sizes).tolist())):
        dealt = [[n for n, o in zip(numbers, order, strict=True) if o == g]
                 for g in range(len(sizes))]  # fmt: skip
        ways += 1
        as_far += h(dealt) >= own - 1e-9
    return as_far / ways


@pytest.mark.parametrize(
    "groups",
    [
        [[1, 2], [3, 4]],  # 2 of 6
        [[1, 4], [2, 3]],
        [[5, 7, 7], [1, 2, 2, 9]],
        [[1, 1], [1, 2], [2, 2]],
        [[1.5, 3], [2, 8], [9, 7]],
        [[1, 2], [3, 4], [5, 6], [7, 8]],
    ],
)
def test_small_groups_have_the_p_of_all_ways(groups):
    found = compare({str(i): numbers for i, numbers in enumerate(groups)})
    assert (found.how, found.p) == ("exact", pytest.approx(by_hand(groups)))
    if len(groups) == 2:
        (u, p), expected = found.pairs["0", "1"], stats.mannwhitneyu(*groups, method="asymptotic")
        assert (u, p) == (expected.statistic, pytest.approx(found.p))


@pytest.mark.parametrize(("n", "m"), [(2, 2), (3, 4), (6, 9), (12, 15), (25, 25)])
def test_without_ties_pairs_have_scipys_exact_p(n, m):
    numbers = np.random.default_rng(n).permutation(n + m) + 0.5
    expected = stats.mannwhitneyu(numbers[:n], numbers[n:], method="exact")
    found = compare({"a": numbers[:n], "b": numbers[n:]}, method="exact")
    assert found.pairs["a", "b"] == (expected.statistic, pytest.approx(expected.pvalue))
    assert (found.how, found.pair_how["a", "b"]) == ("exact", "exact")
    how = compare({"a": numbers[:n], "b": numbers[n:]}).pair_how["a", "b"]
    assert how == ("exact" if n <= 8 else "asymptotic")


@pytest.mark.parametrize(
    ("sizes", "least"),
    [
        ((2, 2), 1 / 3),  # 2 of the 6 ways
        ((3, 3), 1 / 10),  # 2 of 20
        ((2, 5), 2 / 21),
        ((2, 2, 2), 6 / 90),  # any order of three groups, of 6! / (2! 2! 2!)
        ((4, 4), None),  # 2 of 70
        ((3, 3, 3), None),
    ],
)
def test_groups_that_are_too_small_are_said(sizes, least):
    edges = np.cumsum([0, *sizes])
    groups = {str(i): range(a, b) for i, (a, b) in enumerate(itertools.pairwise(edges))}
    found = compare(groups)
    assert found.p == pytest.approx(found.least)  # they are as far apart as can be
    over_all = [line for line in found.small if ":" not in line.partition("n too small")[0]]
    if least is None:
        assert over_all == []
    else:
        assert found.least == pytest.approx(least)
        said = ", ".join(map(str, sizes))
        assert over_all == [f"n too small ({said}): no p below {least:.3g} is possible"]


def test_many_small_groups_are_dealt_out_by_chance():
    """Ten groups of two: no way to count all, and the numbers of many are no guide."""
    random = np.random.default_rng(1)
    groups = {str(i): random.normal(i / 4, 1, 2) for i in range(10)}
    found, again = compare(groups), compare(groups)
    assert found.how == "permutations"
    assert found.p == again.p
    statistic = lambda *g: stats.kruskal(*g).statistic  # noqa: E731
    expected = stats.permutation_test(
        list(groups.values()), statistic, permutation_type="independent", alternative="greater",
        n_resamples=2000, rng=2,
    )  # fmt: skip
    assert found.p == pytest.approx(expected.pvalue, abs=0.04)
    with pytest.raises(UsageError, match=r"too many numbers \(2, 2, .*\) for exact; expected auto"):
        compare(groups, method="exact")
    assert compare({k: [*v, *v, *v] for k, v in groups.items()}).how == "asymptotic"


@pytest.mark.parametrize(("size", "how"), [(8, "exact"), (9, "asymptotic")])
def test_more_than_8_numbers_in_every_group_are_many(size, how):
    found = compare({"a": np.arange(size), "b": np.arange(size) + 0.5})
    assert (found.how, found.pair_how["a", "b"]) == (how, how)
    assert compare({"a": np.arange(8), "b": np.arange(20) + 0.5}).how == "exact"


@pytest.mark.parametrize(("size", "how"), [(4, "permutations"), (5, "asymptotic")])
def test_with_five_numbers_in_every_group_nothing_is_drawn(size, how):
    """Ten groups, too many ways to count."""
    random = np.random.default_rng(1)
    assert compare({str(i): random.normal(0, 1, size) for i in range(10)}).how == how


def test_a_least_p_of_a_twentieth_shows_nothing():
    said = "n too small (3, 4): no p below 0.05 is possible"
    assert rank_tests._small(0.05, [3, 4]) == said
    assert rank_tests._small(0.0499, [3, 4]) == ""
    assert rank_tests._small(NAN, [3, 4]) == ""


def test_a_movie_spelled_in_two_ways_counts_once():
    held = {"a": xr.Dataset({"n": ("event", [1.0, 3])}, {"movie": ("event", ["Neu1", "Neu 1"])})}
    assert movie_means(held, ["n"]) == {"n": {"Neu1": 2.0}}


def test_how_many_tests_there_are_is_said():
    held = {f"{g}{i}": frames([[10 * k + i]]) for k, g in enumerate("ABC") for i in range(4)}
    (line,) = group_tests(tree(**held)).attrs["notes"]
    assert line == "3 tests of pairs, 1 over all groups: p not corrected for that (adjust=holm " + (
        "corrects pairs)"
    )
    (line,) = group_tests(tree(**held), adjust="holm").attrs["notes"]
    assert line.endswith("p of the pairs of a measure corrected for their number (Holm)")


def test_holm_by_hand():
    low, middle, high = range(4), range(4, 8), range(2, 6)
    plain = compare({"low": low, "middle": middle, "high": high})
    holm = compare({"low": low, "middle": middle, "high": high}, adjust="holm")
    p = [plain.pairs[pair][1] for pair in plain.pairs]
    # 2/70 times 3; the other two are equal: times 2, then times 1 but no less than the one before
    assert p[0] == pytest.approx(2 / 70)
    assert p[1] == p[2]
    assert [holm.pairs[pair][1] for pair in plain.pairs] == [3 * p[0], 2 * p[1], 2 * p[1]]
    assert [holm.pairs[pair][0] for pair in plain.pairs] == [
        plain.pairs[pair][0] for pair in plain.pairs
    ]


def test_holm_never_exceeds_one():
    found = compare({k: [1.0, 2, 3] for k in "abc"} | {"d": [1.0]}, adjust="holm")
    assert found.pairs["a", "b"][1] == 1
    assert math.isnan(found.pairs["a", "d"][1])


@pytest.mark.parametrize(
    ("groups", "untested"),
    [
        ({}, ["0 group(s) can be tested; expected at least 2"]),
        ({"a": [1, 2]}, ["1 group(s) can be tested; expected at least 2"]),
        ({"a": [1, 2, 3], "b": [NAN, 4]},
         ["b has 1 of at least 2 numbers", "1 group(s) can be tested; expected at least 2"]),
        ({"a": [5, 5], "b": [5, 5, INF]}, ["all numbers are equal"]),
        ({"a": [], "b": [NAN]},
         ["a has 0 of at least 2 numbers", "b has 0 of at least 2 numbers",
          "0 group(s) can be tested; expected at least 2"]),
    ],
    ids=["nothing", "one group", "one number", "all equal", "empty"],
)  # fmt: skip
def test_what_cannot_be_tested_is_said(groups, untested):
    found = compare(groups)
    assert list(found.untested) == untested
    assert math.isnan(found.h)
    assert math.isnan(found.p)
    assert all(math.isnan(x) for pair in found.pairs.values() for x in pair)
    assert all(stars(p) == "" for _, p in found.pairs.values())


def test_left_out_numbers_are_counted():
    found = compare({"a": [1, NAN, 3, INF], "b": [-INF]})
    assert found.sizes == {"a": 2, "b": 0}
    assert found.left_out == {"a": 2, "b": 1}
    assert found.medians["a"] == 2
    assert math.isnan(found.medians["b"])


# One number a movie


def tree(**held):
    return xr.DataTree.from_dict({f"/{name}": ds for name, ds in held.items()})


def frames(values):
    return xr.Dataset({"frame_snr": (("t", "c"), np.asarray(values, float), {"units": "dB"})})


def test_a_movie_is_the_mean_over_frames_then_channels():
    # channel 0: (2 + 4 + 6) / 3 = 4; channel 1: (1 + 3) / 2 = 2, as in the quality table
    ds = frames([[2, 1], [4, INF], [6, 3]])
    assert movie_means({"Neu1": ds}, ["frame_snr"]) == {"frame_snr": {"Neu1": 3.0}}
    turned = ds.transpose("c", "t")
    assert movie_means({"Neu1": turned}, ["frame_snr"]) == {"frame_snr": {"Neu1": 3.0}}


@pytest.mark.parametrize(
    ("ds", "expected"),
    [
        (xr.Dataset({"x": ("track_id", [1.0, 3, NAN])}), {"s": 2.0}),
        (xr.Dataset({"x": 7.0}), {"s": 7.0}),
        (xr.Dataset({"x": ("track_id", np.zeros(0))}), {"s": NAN}),
        (xr.Dataset({"x": ("movie", [1.0, NAN])}, coords={"movie": ["a", "b"]}),
         {"a": 1.0, "b": NAN}),
        (xr.Dataset({"x": ("event", [1.0, 2, 6])}, coords={"movie": ("event", ["a", "b", "a"])}),
         {"a": 3.5, "b": 2.0}),
        (xr.Dataset({"x": ("event", [1.0, 2])}), {"s": 1.5}),
        (xr.Dataset({"x": (("c", "movie"), [[1.0, 2], [3, NAN]])}, coords={"movie": ["a", "b"]}),
         {"a": 2.0, "b": 2.0}),
        (xr.Dataset({"x": ("t", np.array([1, 2], "u1"))}), {"s": 1.5}),
    ],
    ids=["tracks", "one number", "no track", "table", "events", "events of one movie",
         "table with channels", "whole numbers"],
)  # fmt: skip
def test_means_of_anything(ds, expected):
    found = movie_means({"s": ds}, ["x"])["x"]
    assert found == pytest.approx(expected, nan_ok=True)


def test_tables_of_one_movie_in_several_children_come_together():
    one = xr.Dataset({"x": ("event", [1.0, 3])}, coords={"movie": ("event", ["a", "a"])})
    two = xr.Dataset({"x": ("event", [8.0])}, coords={"movie": ("event", ["a"])})
    assert movie_means({"p": one, "q": two}, ["x"]) == {"x": {"a": 4.0}}


# Groups


def conditions():
    held = {
        "organ": ("movie", ["spleen", "node", ""]),
        "content": (("movie", "channel_number"), [["Neu", ""], ["Neu", "DC"], ["", ""]]),
    }
    return xr.Dataset(held, coords={"movie": ["Neu1", "Neu_2", "Den1"]})


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("stem", ["Neu", "Neu", "Den", ""]),
        ("organ", ["spleen", "node", "", ""]),
        ("content", ["Neu", "Neu + DC", "", ""]),
    ],
)
def test_groups(by, expected):
    stems = ["Neu 1", "Neu2", "Den-1", "12"]
    found = grouped(stems, [("table", conditions())], by)
    assert list(found) == stems
    assert list(found.values()) == expected


def test_of_several_tables_of_conditions_the_first_that_names_a_movie_wins():
    first = conditions().isel(movie=[0])
    second = conditions().assign(organ=("movie", ["lung", "liver", "skin"]))
    found = grouped(["Neu1", "Neu2", "Den1"], [("a", first), ("b", second)], "organ")
    assert found == {"Neu1": "spleen", "Neu2": "liver", "Den1": "skin"}


def test_conditions_that_are_given_win_over_what_movies_say_of_themselves():
    said = {"Neu1": "lung", "Neu2": "lung", "Den2": "skin", "Den3": "skin"}
    movies = {
        f"/{stem}": xr.Dataset({"snr": ("t", [float(i)]), "organ": ((), organ)})
        for i, (stem, organ) in enumerate(said.items())
    }
    tree, table = xr.DataTree.from_dict(movies), xr.DataTree.from_dict({"/t": conditions()})
    alone = group_tests(tree, by="organ")
    assert alone["movie_group"].values.tolist() == ["skin", "skin", "lung", "lung"]
    found = group_tests(tree, table, by="organ")
    assert found["movie"].values.tolist() == ["Den2", "Den3", "Neu1", "Neu2"]
    assert found["movie_group"].values.tolist() == ["skin", "skin", "spleen", "node"]


def test_groups_by_what_a_movie_says_of_itself():
    said = [(s, xr.Dataset(coords={"organ": o})) for s, o in (("a", "node"), ("b", "spleen"))]
    assert grouped(["a", "b", "c"], said, "organ") == {"a": "node", "b": "spleen", "c": ""}


def test_a_group_nobody_knows():
    with pytest.raises(UsageError, match="by: unknown condition 'organs'; did you mean 'organ'"):
        grouped(["Neu1"], [("table", conditions())], "organs")


def movies():
    return tree(
        Neu10=frames([[9, 9]]), Neu2=frames([[10, 10]]), Den1=frames([[4, 4]]),
        Den2=frames([[NAN, NAN]]), Den3=frames([[5, 5]]), **{"7": frames([[1, 1]])},
    )  # fmt: skip


def test_the_table_of_tests():
    found = group_tests(movies())
    assert found.measure.values.tolist() == ["frame_snr"]
    assert found.measure_unit.values.tolist() == ["dB"]
    assert found.group.values.tolist() == ["Den", "Neu"]
    assert found.pair.values.tolist() == ["Den : Neu"]
    assert found.group_size.values.tolist() == [[2, 2]]
    assert found.group_left_out.values.tolist() == [[1, 0]]
    assert found.group_median.values.tolist() == [[4.5, 9.5]]
    assert found.pair_u.values.tolist() == [[0.0]]
    assert found.pair_p.values == pytest.approx(2 / 6)  # C(4, 2) = 6 orders
    assert found.pair_stars.values.tolist() == [["ns"]]
    # ranks 1 2 | 3 4: H = 12 / (4 * 5) * (9 / 2 + 49 / 2) - 3 * 5 = 2.4
    assert found.kruskal_h.values == pytest.approx(2.4)
    assert found.movie.values.tolist() == ["7", "Den1", "Den2", "Den3", "Neu2", "Neu10"]
    assert found.movie_group.values.tolist() == ["", "Den", "Den", "Den", "Neu", "Neu"]
    np.testing.assert_array_equal(found.measure_value.values, [[1, 4, NAN, 5, 10, 9]])
    small = "frame_snr: n too small (2, 2): no p below 0.333 is possible"
    assert found.attrs == {
        "by": "stem", "untested": [], "without_group": ["7"], "notes": [small],
    }  # fmt: skip
    assert found.kruskal_p.values == pytest.approx(2 / 6)
    assert found.kruskal_method.values.tolist() == ["exact"]
    assert found.pair_method.values.tolist() == [["exact"]]


def test_measures_by_name_and_by_default():
    ds = xr.Dataset(
        {"a": ("t", [1.0]), "n": ("t", [1]), "text": ("t", ["x"]), "image": (("y", "x"), [[1.0]])}
    )
    held = tree(A1=ds, A2=ds, B1=ds, B2=ds.drop_vars("a"))
    assert group_tests(held).measure.values.tolist() == ["a"]
    found = group_tests(held, values=["n", "a"])
    assert found.measure.values.tolist() == ["n", "a"]
    assert found.attrs["untested"] == [
        "n: all numbers are equal",
        "a: B has 1 of at least 2 numbers",
        "a: 1 group(s) can be tested; expected at least 2",
    ]
    assert math.isnan(found.measure_value.sel(measure="a", movie="B2"))


@pytest.mark.parametrize(
    ("said", "error", "words"),
    [
        ({"values": ["frame_snt"]}, UsageError, "values: unknown number 'frame_snt'; did you mean"),
        ({"values": "frame_snr"}, UsageError, "expected a list of names"),
        ({"by": "organ"}, UsageError, "unknown condition 'organ'. Known: stem"),
        ({"method": "fast"}, UsageError, "method: found 'fast'; expected auto or exact or asymp"),
        ({"adjust": "all"}, UsageError, "adjust: found 'all'; expected none or holm"),
    ],
)
def test_what_cannot_work(said, error, words):
    with pytest.raises(error, match=words):
        group_tests(movies(), **said)


@pytest.mark.parametrize(
    ("held", "words"),
    [
        (xr.DataTree(), "the tree has none"),
        (tree(a=xr.Dataset({"n": ("t", [1])})), "nothing to compare; expected floats .*Found: n"),
    ],
)
def test_nothing_to_compare(held, words):
    with pytest.raises(SchemaError, match=words):
        group_tests(held)


# In a store


def study(store):
    parts = {name: child.to_dataset() for name, child in movies().children.items()}
    dpipe.save(parts, store, "quality", message="")
    dpipe.save({"t": conditions()}, store, "conditions", message="")


@pytest.mark.parametrize(
    ("inputs", "params", "groups", "stars"),
    [
        ("quality", {}, ["Den", "Neu"], [["ns"]]),
        (["quality", "conditions"], {"by": "organ"}, ["node"], [[]]),
        ({"tree": "quality"}, {"values": ["frame_snr"]}, ["Den", "Neu"], [["ns"]]),
    ],
    ids=["names", "conditions", "roles"],
)
def test_a_run_makes_it_with_and_without_conditions(tmp_path, inputs, params, groups, stars):
    store = str(tmp_path)
    study(store)
    step = recipe.operator_step("tests", "group-tests", inputs, params=params)
    done = run.run(recipe.Recipe.of(step), open_objects(store), Settings(workers="0"))
    assert done.exit_code == 0
    found = dpipe.open(store, "tests")
    assert found.group.values.tolist() == groups
    assert found.pair_stars.values.tolist() == stars
    assert schema.MEASURE_VALUE.check(found).shape == (1, 6)


def test_a_step_without_its_first_input():
    with pytest.raises(RecipeError, match="tree is missing"):
        recipe.operator_step("tests", "group-tests", {"conditions": "c"})


def test_one_group_and_no_pair_can_be_kept(tmp_path):
    held = {"Neu1": frames([[1]]), "Neu2": frames([[2]])}
    found = dpipe.each(held, "group-tests")
    assert found.sizes["pair"] == 0
    dpipe.save(found, str(tmp_path), "tests", message="")
    assert dpipe.open(str(tmp_path), "tests").group_size.values.tolist() == [[2]]
