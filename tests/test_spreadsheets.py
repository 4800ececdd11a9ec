"""Tables of text: numbers, places in complaints, and bytes that are no table.

What Excel and encodings come to is tried through the readers of tracks.
"""

import csv

import numpy as np
import pytest

from dpipe import spreadsheets
from dpipe.errors import InputError, StoreError
from dpipe.spreadsheets import Table, as_text, grid, read_bytes, read_rows, table


def column(*cells, comma=False):
    return Table({"a": list(cells)}, 2, comma)


def test_numbers():
    assert column("1", " 2.5 ", "1e3").floats("a").tolist() == [1, 2.5, 1000]
    assert column("1,5", comma=True).floats("a").tolist() == [1.5]
    assert column("", " ").floats("a", empty=7).tolist() == [7, 7]
    np.testing.assert_array_equal(column("", "inf").floats("a", finite=False), [np.nan, np.inf])
    assert column("9007199254740993", "-1.0").wholes("a").tolist() == [9007199254740993, -1]
    assert column("", "3").wholes("a", empty=-1).tolist() == [-1, 3]


@pytest.mark.parametrize(
    ("cell", "read", "message"),
    [
        ("x", "floats", "line 3: a is 'x'; expected a number"),
        ("", "floats", "line 3: a is ''; expected a number"),
        ("inf", "floats", "line 3: a is 'inf'; expected a number"),
        ("1_000", "floats", "line 3: a is '1_000'; expected a number"),
        ("1_", "wholes", "line 3: a is '1_'; expected a number"),
        ("1.5", "wholes", "line 3: a is '1.5'; expected a whole number"),
        ("", "wholes", "line 3: a is ''; expected a whole number"),
        ("1e300", "wholes", "line 3: a is '1e300'; expected a whole number"),
        ("nan", "wholes", "line 3: a is 'nan'; expected a whole number"),
    ],
)
def test_no_numbers(cell, read, message):
    with pytest.raises(InputError, match=message):
        getattr(column("1", cell), read)("a")


def test_a_part_of_a_track_has_a_number_of_its_own():
    """celltrackR calls the parts of track 210 so; another track must not be taken for one."""
    assert column("210_1", "210_2", "210_1").wholes("a").tolist() == [2101, 2102, 2101]
    for other in ("2101", "2_101"):
        with pytest.raises(InputError, match=f"line 3: a is '{other}', and '210_1' elsewhere"):
            column("7", other, "210_1").wholes("a")


def test_columns():
    found = table(["A", " B  c", "", ""], [["1", "2", "", ""], ["", ""]], 2, comma=False)
    assert found.columns == {"a": ["1"], "b c": ["2"]}
    assert (len(found), found.has("a", "b c"), found.has("d")) == (1, True, False)
    with pytest.raises(InputError, match="no column 'd'; found a, b c"):
        found.text("d")


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("a,b\n1,2", [["a", "b"], ["1", "2"]]),
        ("a\tb\r\n1\t2", [["a", "b"], ["1", "2"]]),
        ('a,b\n"1,5",2', [["a", "b"], ["1,5", "2"]]),
        ('a,b\r\n"1\n2",3', [["a", "b"], ["1\n2", "3"]]),
        ("a,b\r1,2\r", [["a", "b"], ["1", "2"]]),
        ("a,b\n1\x85,2\u2028\n", [["a", "b"], ["1\x85", "2\u2028"]]),  # an ellipsis of Windows
        ("", []),
    ],
)
def test_delimiters(text, rows):
    assert grid(text) == (rows, False)


def test_what_is_no_text(tmp_path):
    with pytest.raises(InputError, match="not text"):
        as_text(b"a\0b")
    assert as_text("\u00b5".encode("latin-1")) == "\u00b5"
    with pytest.raises(InputError, match="cannot be read"):
        read_bytes(str(tmp_path))
    with pytest.raises(InputError, match=r"Excel needs|not readable as Excel"):
        read_rows("a.xls", b"rubbish")


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_real_excel_is_as_the_csv_made_of_it(shared_data, number):
    """Matrices of spill-over from Excel; the CSV beside each was written by another library."""
    pytest.importorskip("python_calamine")
    path = shared_data / "scifai" / "compensation" / f"exp{number}.xlsx"
    rows, comma = read_rows(str(path), path.read_bytes())
    with path.with_suffix(".csv").open(newline="") as file:
        expected = list(csv.reader(file))
    assert (rows[0], comma) == (expected[0], False)
    assert [row[0] for row in rows] == [row[0] for row in expected]
    numbers = [np.array([row[1:] for row in each[1:]], float) for each in (rows, expected)]
    np.testing.assert_array_equal(*numbers)


def test_too_large(tmp_path, monkeypatch):
    monkeypatch.setattr(spreadsheets, "_LARGEST", 3)
    (tmp_path / "a.csv").write_text("1234")
    with pytest.raises(InputError, match="larger than 1 GiB"):
        read_bytes(str(tmp_path / "a.csv"))


def test_the_network_blames_no_input(monkeypatch):
    class Broken:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def read(self, _):
            raise StoreError("the server is gone")

    monkeypatch.setattr(spreadsheets, "opened", lambda _: Broken())
    with pytest.raises(StoreError, match="the server is gone"):
        read_bytes("s3://bucket/a.csv")
