"""Compensation by hand, against NumPy on real matrices, and how matrices are placed."""

import numpy as np
import pytest
import xarray as xr
from packs import SAMPLE, cells, pack, unpacked

import dpipe
from dpipe.errors import InputError, SchemaError, UsageError

STAINS = ("BF", "Antibody", "CD18", "F-Actin", "MHCII", "CD3", "P-CD3zeta", "Live-Dead")
INSTRUMENT = dict(zip(STAINS, (f"Ch{k:02d}" for k in (1, 2, 3, 4, 6, 7, 11, 12)), strict=True))


def matrix(shares, names=("a", "b", "c"), sources=None) -> xr.Dataset:
    array = (("detector", "source"), np.asarray(shares, float))
    return xr.Dataset(
        {"spillover": array}, {"detector": list(names), "source": list(sources or names)}
    )


def tree(**held) -> xr.DataTree:
    return xr.DataTree.from_dict({f"/{stem}": ds for stem, ds in held.items()})


def test_by_hand():
    """a gives 0.2 of its light to b, b gives 0.5 to c: 100 in a is 20 in b, of whose own 60 come
    80 - 20, which make 30 in c."""
    ds = pack([np.array([[[100]], [[80]], [[70]]], "u2")], names=["a", "b", "c"])
    made = dpipe.compensate(ds, tree(m=matrix([[1, 0, 0], [0.2, 1, 0], [0, 0.5, 1]])))
    assert made.pixels.dtype == "f4"
    np.testing.assert_allclose(unpacked(made)[0].ravel(), [100, 60, 40], rtol=1e-7)


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_real_matrices_against_numpy(shared_data, number):
    shares = dpipe.open_spillover(shared_data / f"scifai/compensation/exp{number}.csv")
    ds = pack(cells(5, channels=8, dtype="u2"), names=STAINS)
    made = dpipe.compensate(ds, shares, channels=INSTRUMENT, dtype="float64")
    at = [int(name[2:]) - 1 for name in INSTRUMENT.values()]
    table = np.loadtxt(
        shared_data / f"scifai/compensation/exp{number}.csv",
        delimiter=",", skiprows=1, usecols=range(1, 13),
    )[np.ix_(at, at)]  # fmt: skip
    for picture, found in zip(unpacked(ds), unpacked(made), strict=True):
        expected = np.linalg.solve(table, picture.reshape(8, -1).astype(float))
        np.testing.assert_allclose(found.reshape(8, -1), expected, rtol=1e-9, atol=1e-9)
        mixed = np.einsum("ds,syx->dyx", table, found)
        np.testing.assert_allclose(mixed, picture, rtol=0, atol=1e-9)


def test_what_was_mixed_comes_apart_again(shared_data):
    """Real cells, mixed by a real matrix, come back."""
    ds = dpipe.open_ifc(shared_data / SAMPLE, block=16)
    shares = dpipe.open_spillover(shared_data / "scifai/compensation/exp1.csv")
    names = {f"Ch{k}": f"Ch{k:02d}" for k in range(1, 7)}
    part = shares.spillover.values[:6, :6]
    mixed = pack([np.einsum("ds,syx->dyx", part, p.astype(float)) for p in unpacked(ds)])
    made = dpipe.compensate(mixed, shares, channels=names)
    for expected, found in zip(unpacked(ds), unpacked(made), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_names_decide_and_not_their_order():
    ds = pack(cells(3), names=["a", "b", "c"])
    shares = np.array([[1, 0.1, 0], [0.2, 1, 0.05], [0, 0.3, 1]])
    turned = matrix(shares[np.ix_([2, 0, 1], [1, 2, 0])], ["c", "a", "b"], ["b", "c", "a"])
    one, two = dpipe.compensate(ds, matrix(shares)), dpipe.compensate(ds, turned)
    np.testing.assert_array_equal(one.pixels, two.pixels)
    swapped = dpipe.compensate(ds, matrix(shares), channels={"a": "b", "b": "a"})
    assert (swapped.pixels != one.pixels).any()


def test_a_channel_may_stay_as_it_is():
    pictures = [picture.astype("f4") for picture in cells(2)]
    pictures[0][0, 3, 4] = np.nan  # and what is wrong with it stays with it
    ds = pack(pictures, names=["BF", "b", "c"])
    shares = matrix([[1, 0.5], [0, 1]], ["b", "c"])
    made = unpacked(dpipe.compensate(ds, shares, channels={"BF": None}))
    np.testing.assert_array_equal(made[0][0], pictures[0][0])
    np.testing.assert_allclose(made[0][1], pictures[0][1] - 0.5 * pictures[0][2])
    none = dpipe.compensate(ds, shares, channels=dict.fromkeys(["BF", "b", "c"]), dtype="uint16")
    np.testing.assert_array_equal(unpacked(none)[1], pictures[1])
    assert unpacked(none)[0][0, 3, 4] == 0


def test_whole_numbers_are_rounded_and_clipped():
    ds = pack([np.array([[[10, 70000]], [[9, 1]]], "u4")], names=["a", "b"])
    made = dpipe.compensate(ds, matrix([[1, 0.5], [1, 1]], "ab"), dtype="uint16")
    # the inverse is 2 -1 / -2 2: 20 - 9 = 11 and -20 + 18 = -2; 139999 and -139998
    assert unpacked(made)[0].tolist() == [[[11, 65535]], [[0, 0]]]
    left = dpipe.compensate(ds, matrix([[1]], "b"), channels={"a": None}, dtype="uint16")
    assert unpacked(left)[0].tolist() == [[[10, 65535]], [[9, 1]]]


def test_each_experiment_has_its_own_matrix():
    ones, twos = matrix(np.eye(3)), matrix([[1, 0, 0], [0.5, 1, 0], [0, 0, 1]])
    held = tree(exp1=ones, exp2=twos)
    ds = pack(cells(2), names=["a", "b", "c"], experiment=["Experiment_2"] * 2)
    said = {"Experiment_1": "exp1", "Experiment_2": "exp2"}
    made = dpipe.compensate(ds, held, matrix=said)
    expected = dpipe.compensate(ds, tree(m=twos))
    for other in (
        dpipe.compensate(ds, held, matrix="exp2"),
        dpipe.compensate(ds, tree(Experiment_1=ones, Experiment_2=twos)),
        dpipe.compensate(ds.rename(experiment="batch"), held, matrix=said, by="batch"),
        expected,
    ):
        np.testing.assert_array_equal(made.pixels, other.pixels)
    assert (made.pixels != dpipe.compensate(ds, held, matrix="exp1").pixels).any()


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({}, "channel BF has no place in m; say .*channels={'BF': ...}.* Known: a, b, c$"),
        ({"channels": {"BF": "d"}}, "channel BF as d has no place in m.*Known: a, b, c"),
        ({"channels": {"BF": "b"}}, "channels BF and b are both b of m"),
        ({"channels": {"bf": "a"}}, "channels: unknown channel 'bf'"),
        ({"matrix": "n"}, "unknown spillover matrix 'n'.* Known: m"),
        ({"matrix": {"E1": "m"}}, "unknown experiment 'E2'; did you mean 'E1'"),
        ({"matrix": {"E2": "m"}, "by": "donr"}, "by: unknown coordinate over record 'donr'.*donor"),
        ({"matrix": {"E2": "m"}, "by": "donor"}, r"donor has 2 values here \(x, y\); expected one"),
        ({"dtype": "text"}, "unknown dtype 'text'"),
        ({"channels": ["BF"]}, r"channels: found \['BF'\]; expected by channel"),
        ({"matrix": ["m"]}, r"matrix: found \['m'\]; expected a name, or one by each experiment"),
    ],
)
def test_what_cannot_be_placed_is_refused_in_one_line(said, message):
    ds = pack(cells(2), names=["BF", "b", "c"], experiment=["E2"] * 2, donor=["x", "y"])
    with pytest.raises(UsageError, match=message) as told:
        dpipe.compensate(ds, tree(m=matrix(np.eye(3))), **said)
    assert "\n" not in str(told.value)


UNDONE = [
    np.ones((3, 3)),
    np.array([[1, np.nan, 0], [0, 1, 0], [0, 0, 1]]),
    np.array([[1, 1 - 1e-9, 0], [1, 1, 0], [0, 0, 1]]),
]


@pytest.mark.parametrize("shares", UNDONE, ids=["singular", "nan", "nearly"])
def test_a_matrix_without_an_inverse_is_told_when_it_is_read(shares):
    made = dpipe.compensate(pack(cells(1), names=["a", "b", "c"]), tree(exp1=matrix(shares)))
    with pytest.raises(InputError, match="exp1: no inverse to trust"):
        made.compute()


def test_a_single_matrix_is_not_chosen():
    ds = pack(cells(1), names=["a", "b", "c"])
    with pytest.raises(UsageError, match="found 'exp2' beside a single matrix; leave it out"):
        dpipe.compensate(ds, matrix(np.eye(3)), matrix="exp2")


def test_flags_go_with_the_pixels_and_masks_come_from_the_collection():
    pictures = cells(4, channels=2)
    ds = pack(pictures, [one > 200 for one in pictures], names=["a", "b"], unreadable=[2])
    clean = dpipe.compensate(ds, matrix([[1, 0.1], [0, 1]], "ab"))
    np.testing.assert_array_equal(clean.picture_flag, ds.picture_flag)
    with pytest.raises(SchemaError, match="need masks"):
        dpipe.cell_features(clean)
    table = dpipe.cell_features(clean, ds, families="cell-shape").feature
    both = clean.merge(ds, compat="override")
    np.testing.assert_array_equal(table, dpipe.cell_features(both, families="cell-shape").feature)
    assert np.isnan(table.values).all(axis=1).tolist() == [False, False, True, False]
    inside = pictures[0][1][pictures[0][1] > 200]
    assert table.sel(name="sum_intensity_Ch2").values[0] == inside.sum()
    cut = dpipe.pictures(clean, ds, size=9)
    np.testing.assert_array_equal(cut.image, dpipe.pictures(clean, size=9).image)
    np.testing.assert_array_equal(cut["mask"], dpipe.pictures(ds, size=9)["mask"])
    bare = clean.drop_vars("picture_flag")
    assert np.isnan(dpipe.cell_features(bare, ds).feature.values[2]).all()


def test_what_is_no_matrix():
    ds = pack(cells(1), names=["a", "b", "c"])
    with pytest.raises(SchemaError, match="the tree has none"):
        dpipe.compensate(ds, xr.DataTree())
    with pytest.raises(SchemaError, match="no variable 'spillover'"):
        dpipe.compensate(ds, ds)
