"""Gates and the expressions in them: what they mean, and what is refused."""

from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
import xarray as xr
import yaml
from cells import collection, random_pictures

import dpipe
from dpipe.errors import SchemaError, UsageError
from dpipe.operators import gate, select

AREA = [100.0, 900.0, np.nan, 400.0]
CD3 = [-5.0, 10.0, 20.0, 0.0]


def table() -> xr.Dataset:
    values = np.stack([AREA, CD3, [0.5] * 4], axis=1)
    ds = xr.Dataset({"feature": (("record", "name"), values)}, {"name": ["area", "CD 3", "label"]})
    said = {"condition": ["-SEA", "+SEA", "+SEA", "-SEA"], "label": ["T", "B", "T", "-1"]}
    return ds.assign_coords({k: ("record", v) for k, v in said.items()}).assign_coords(
        height=("record", np.array([3, 200, 5, 250], "u1")),
        sound=("record", [True, True, False, True]),
    )


def inside(text: str, ds: xr.Dataset | None = None) -> list[int]:
    """Numbers of the records for which an expression is true."""
    found = gate(table() if ds is None else ds, gates={"g": text})["gate"].values[:, 0]
    return np.flatnonzero(found).tolist()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("area < 900", [0, 3]),
        ("area <= 900", [0, 1, 3]),
        ("area > 100 and condition == '-SEA'", [3]),
        ("area > 100 or condition == '-SEA'", [0, 1, 3]),
        ("not area < 900", [1, 2]),  # NaN is in no comparison, so outside of it
        ("area != 900", [0, 2, 3]),
        ("100 < area < 900", [3]),
        ("area >= 1e2 and not (label == 'T' or sound)", []),
        ("sound", [0, 1, 3]),
        ("`CD 3` > 0", [1, 2]),
        ('feature("CD 3") > 0', [1, 2]),
        ("abs(`CD 3`) >= 5", [0, 1, 2]),
        ("-`CD 3` == 5", [0]),
        ("area / `CD 3` > 0", [1]),  # 400 / 0 is nothing
        ("area // 300 == 1 and area % 300 == 100", [3]),
        ("area * 2 - 100 + 0 == 700", [3]),
        ("height - 210 > 0", [3]),  # 3 - 210 of bytes would be 49
        ("height + 100 > 290", [1, 3]),
        ("-height < -100", [1, 3]),  # and a byte has no sign
        ("height * height > 60000", [3]),
        ("label in ('T', 'B')", [0, 1, 2]),
        ("label not in ['T', 'B']", [3]),
        ("height in {3, 5}", [0, 2]),
        ("feature('label') == 0.5 and label == 'T'", [0, 2]),  # a coordinate goes first
        ("area\n  < 900", [0, 3]),
        ("area\r\n < 900\r\n", [0, 3]),
        ("`area` < 900 and '#' != condition", [0, 3]),
        ("condition == '`'", []),
        ("label < 'C'", [1, 3]),
        ("1 < 2 < area", [0, 1, 3]),
        ("area not in (100, 900)", [2, 3]),  # NaN is not in a list
        ("height in (-3, 3, 300)", [0]),  # more than a byte holds
        ("height > 300 or height > -1", [0, 1, 2, 3]),
        ("area < " + "9000000000000000000 * " * 30 + "1", [0, 1, 3]),
        ("area < 1e999", [0, 1, 3]),
        ("not sound or sound and area > 300", [1, 2, 3]),  # not, and, or
        ("'B' <= label <= 'T'", [0, 1, 2]),
    ],
)
def test_what_expressions_mean(text, expected):
    assert inside(text) == expected
    assert inside(text, table().chunk({"record": 3})) == expected


HOSTILE = [
    "__import__('os').system('true')",
    "area.__class__ == 1",
    "().__class__",
    "[x for x in area]",
    "(lambda: area)() > 1",
    "area ** 2 > 1",
    "9 ** 9 ** 9 ** 9 > area",
    "area << 2 > 1",
    "~sound",
    "+area > 1",
    "f'{area}' == 'x'",
    "area[0] > 1",
    "open('x') == 1",
    "abs(area, area) > 1",
    "abs(x=area) > 1",
    "feature(area) > 1",
    "area is 5",
    "(a := 5) > area",
    "area > 1 if sound else sound",
    "area > 1j",
    "area > None",
    "sound == True",
    f"area < {'9' * 400}",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_else_is_allowed(text):
    with pytest.raises(UsageError, match="is not allowed"):
        inside(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("area <", "cannot be read"),
        ("area < 5; area", "cannot be read"),
        ("(" * 500 + "area", "cannot be read"),
        ("area `CD 3`", "cannot be read"),
        ("", "found ''; expected a text"),
        ("area < 1 or " * 400 + "sound", "expected a text of up to 4000"),
        (5, "found '5'; expected a text"),
        ("area", "not true or false of each record"),
        ("1 < 2", "not true or false of each record"),
        ("sound and 1 < 2", "'1 < 2' is neither true nor false"),
        ("area and sound", "'area' is neither true nor false"),
        ("not area", "'area' is neither true nor false"),
        ("area < 'x'", "compares a number with a text"),
        ("`CD 3` < 'x'", "'`CD 3` < 'x'' compares a number with a text|CD 3.* compares a number"),
        ("label + 1 > 2", "'label' is a text; expected a number"),
        ("abs(sound) > 1", "'sound' is true or false; expected a number"),
        ("area / 0 > 1", "divides by 0"),
        ("area in 5", "is no list"),
        ("5 in (4, 5)", "is no list"),
        ("area in ()", "is no list"),
        ("area > 1 # high\nand sound", "comment at '# high and sound'"),
        ("area#1 < 5", "# begins a comment at '#1 < 5'"),
        ("area > 1or sound", "cannot be read \\(invalid decimal literal"),
        ("area < 5 sound", "cannot be read \\(invalid syntax at 'sound'\\)"),
        ("`CD 3` < 5 `CD 3` sound", "invalid syntax at '`CD 3` sound'"),
        ("not " * 900 + "sound", "more than 100 terms in one another"),
        ("-" * 2000 + "area > 1", "more than 100 terms in one another"),
        ("area" + " + area" * 500 + " > 1", "more than 100 terms in one another"),
        ("area ** " + "-" * 900 + "area", "more than 100 terms in one another"),
        ("area in ('T', 5)", "holds a text; expected a number"),
        ("aera < 5", "unknown name 'aera'; did you mean 'area'\\? Known: 3 features, condition,"),
        ("zzzz < 5", "unknown name 'zzzz'. Known: 3 features"),
        ("feature('sound') > 1", "unknown name 'sound'. Known: 3 features$"),
    ],
)
def test_one_line_says_what_is_wrong(text, said):
    with pytest.raises(UsageError, match=said) as told:
        inside(text)
    assert str(told.value).startswith("gate 'g': ")
    assert "\n" not in str(told.value)


def test_gates_are_lazy_and_build_on_each_other():
    found = gate(
        table().chunk({"record": 2}), gates={"big": "area > 300", "T": "big and label != 'B'"}
    )
    assert found.gate.chunks is not None
    assert found.gate.values.T.tolist() == [[False, True, False, True], [False, False, False, True]]
    assert found.gate_name.values.tolist() == ["big", "T"]
    assert found.label.values.tolist() == ["T", "B", "T", "-1"]
    assert found.attrs["expressions"] == ["big: area > 300", "T: big and label != 'B'"]


def test_letters_that_python_takes_for_others_and_dates():
    """U+00B5 is another sign than the Greek letter, which Python reads it as."""
    ds = xr.Dataset({"\u00b5m": ("record", [1.0, 3.0]), "\u03bcm": ("record", [5.0, 0.0])})
    assert inside("\u00b5m > 2", ds) == [1]
    assert inside("\u03bcm > 2", ds) == [0]
    ds = ds.assign_coords(day=("record", np.array(["2026-01-01", "2026-01-02"], "M8[ns]")))
    with pytest.raises(UsageError, match="compares a date with a number"):
        inside("day > 5", ds)


def test_names_in_backticks_are_shown_as_they_were_written():
    many = [f"`CD {k}`" for k in range(3, 15)]
    zeros = (("record", "name"), np.zeros((4, 12)))
    ds = xr.Dataset({"feature": zeros}, {"name": [name.strip("`") for name in many]})
    with pytest.raises(UsageError, match="'`CD 14`' is neither true nor false"):
        inside(" > 0 and ".join(many), ds)


@pytest.mark.parametrize("name", ["label", "sound", "", "  "])
def test_a_gate_has_a_name_of_its_own(name):
    """As ``where=`` the coordinate would be meant, and as a gate before another the gate."""
    with pytest.raises(UsageError, match=f"gate {name!r}: expected a name that records do not"):
        gate(table(), gates={name: "area > 1"})


def test_the_gates_in_the_docstring_run_on_what_cell_features_makes():
    text = dedent(gate.__doc__.partition("yours to find::")[2].partition("There, CD3")[0])
    gates = yaml.safe_load(text)["gates"]
    cells = collection(random_pictures(12, 8, seed=3))
    features = dpipe.cell_features(cells)
    found = gate(features, gates=gates)
    assert found.gate_name.values[-1] == "synapse"
    inside = found.gate.to_pandas()
    column = features.feature.to_pandas()
    np.testing.assert_array_equal(inside["in_focus"], column["gradient_RMS_Ch1"] > 60)
    small = (column["mask_based_bbox_area_Ch1"] < 3000) & (cells.height.values < 70)
    np.testing.assert_array_equal(inside["one_layer"], small)
    assert inside["one_layer"].any()
    assert inside["in_focus"].any()
    both = inside[["in_focus", "live", "cd3_mhcii", "single"]].all(axis=1) & ~inside["one_layer"]
    np.testing.assert_array_equal(inside["synapse"], both)


@pytest.mark.parametrize(
    ("ds", "gates", "error", "said"),
    [
        (xr.Dataset({"x": ("t", [1])}), {"a": "x > 1"}, SchemaError, "found the dims t"),
        (table(), {}, UsageError, "expected expressions by name"),
        (table(), "area > 1", UsageError, "expected expressions by name"),
    ],
)
def test_what_no_gate_can_be_made_of(ds, gates, error, said):
    with pytest.raises(error, match=said):
        gate(ds, gates=gates)


def test_records_are_chosen_by_gate_or_expression():
    ds = table().chunk({"record": 3})
    gates = gate(ds, gates={"big": "area > 300"})
    merged = ds.merge(gates)
    assert select(merged, "big").height.values.tolist() == [200, 250]
    assert select(merged, "big and sound and condition == '+SEA'").height.values.tolist() == [200]
    assert select(ds, "big", gates).height.values.tolist() == [200, 250]
    assert select(ds, "area > 1e9").sizes["record"] == 0
    assert dpipe.select is select


def test_what_is_known_of_a_record_is_what_the_records_say_now():
    ds = table()
    gates = gate(ds, gates={"big": "area > 300"})
    now = ds.assign_coords(label=("record", list("TTTT"))).assign(turn=("record", [1, 2, 3, 4]))
    assert select(now, "big and label == 'T'", gates).turn.values.tolist() == [2, 4]
    assert select(now, "big and turn > 2", gates).turn.values.tolist() == [4]
    few = ds.isel(name=[2])  # the columns of a clean table
    assert select(few, "area > 300", ds).height.values.tolist() == [200, 250]


def more(*names: str) -> xr.Dataset:
    values = np.arange(4.0 * len(names)).reshape(4, -1)
    ds = xr.Dataset({"feature": (("record", "name"), values)}, {"name": list(names)})
    return ds.assign_coords(file=("record", list("abcd")))


def test_features_of_a_second_table():
    ds = table().assign_coords(file=("record", list("abcd")))
    found = gate(ds, more("in_1", "in_2"), gates={"g": "area > 100 and in_2 > 3"})
    assert np.flatnonzero(found["gate"].values).tolist() == [3]  # in_2 is 1, 3, 5, 7
    assert found.coords.keys() >= {"condition", "file", "gate_name"}
    bare = ds.drop_dims("name")
    assert gate(bare, more("x"), gates={"g": "x > 1 and height > 4"})["gate"].values.sum() == 2
    with pytest.raises(SchemaError, match="more: area is in both tables"):
        gate(ds, more("area"), gates={"g": "area > 1"})
    with pytest.raises(SchemaError, match="more: a table of 3 records beside 4"):
        gate(ds, more("x").isel(record=slice(3)), gates={"g": "x > 1"})
    with pytest.raises(SchemaError, match="more: a table of other records: file differs"):
        gate(ds, more("x").assign_coords(file=("record", list("abce"))), gates={"g": "x > 1"})
    with pytest.raises(SchemaError, match="no variable 'feature'"):
        gate(ds, more("x").drop_vars("feature"), gates={"g": "x > 1"})


def test_a_choice_needs_records():
    with pytest.raises(SchemaError, match="chooses records; found the dims t"):
        select(xr.Dataset({"x": ("t", [1])}), "x > 0")
    with pytest.raises(SchemaError, match="a table of 3 records beside 4"):
        select(table(), "big", table().isel(record=slice(3)))


def test_a_table_of_as_many_other_records_is_refused():
    """The collection was made anew after its gates: another file is in its place."""
    old, new = (table().assign_coords(file=("record", list(names))) for names in ("abcd", "abce"))
    gates = gate(old, gates={"big": "area > 300"})
    assert select(old, "big", gates).file.values.tolist() == ["b", "d"]
    with pytest.raises(SchemaError, match="where='big': a table of other records: file differs"):
        select(new, "big", gates)


def test_each_and_export_choose_records(tmp_path):
    tree = xr.DataTree.from_dict({"/a": table(), "/b": table().isel(record=[2])})
    found = dpipe.each(tree, "feature-sums", where="area > 100")
    assert [ds["feature_count"].values[0] for ds in found.values()] == [2, 0]
    assert dpipe.each(table(), "feature-sums", where="sound")["feature_count"].values[1] == 3
    whole = dpipe.each(tree, "feature-statistics", where="area > 100")
    assert whole["feature_min"].values[0] == 400
    plain = {stem: ds.to_dataset().isel(name=[0, 1]) for stem, ds in tree.children.items()}
    first, _ = dpipe.export(plain, "csv", tmp_path, where="sound and height < 250")
    rows = [line.split(",")[0] for line in Path(first).read_text().splitlines()]
    assert rows == ["part", "a", "a"]  # nothing of b is sound
    with pytest.raises(UsageError, match="no parts with such records"):
        dpipe.export(tree, "csv", tmp_path, where="area > 1e9")
    with pytest.raises(SchemaError, match="chooses records"):
        dpipe.export(xr.Dataset({"x": ("t", [1])}), "csv", tmp_path, where="x > 0")
