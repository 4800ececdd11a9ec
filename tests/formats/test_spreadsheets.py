"""Tables of text: numbers, places in complaints, and bytes that are no table.

What Excel and encodings come to is tried through the readers of tracks.
"""

import csv
import struct
import tracemalloc
import zipfile

import numpy as np
import pandas as pd
import pytest

from dpipe.errors import InputError, StoreError
from dpipe.formats import spreadsheets
from dpipe.formats.spreadsheets import Table, Unfit, as_text, grid, read_bytes, read_rows, table


def column(*cells, comma=False):
    return Table({"a": list(cells)}, 2, comma)


def test_numbers():
    assert column("1", " 2.5 ", "1e3").floats("a").tolist() == [1, 2.5, 1000]
    assert column("1,5", comma=True).floats("a").tolist() == [1.5]
    assert column("", " ").floats("a", empty=7).tolist() == [7, 7]
    np.testing.assert_array_equal(column("", "inf").floats("a", finite=False), [np.nan, np.inf])
    assert column("9007199254740993", "-1.0").wholes("a").tolist() == [9007199254740993, -1]
    assert column("", "3").wholes("a", empty=-1).tolist() == [-1, 3]
    words = ("None", "nan", "NaN", "NULL", "null", "NA", "<NA>", "#N/A", "-", "nil")
    assert column(*words).wholes("a", empty=-1).tolist() == [-1] * len(words)
    assert np.isnan(column(*words).floats("a", finite=False)).all()
    assert column("3,0", "999999999999999999", comma=True).wholes("a").tolist() == [3, 10**18 - 1]


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
        (str(2**63), "wholes", "a is '9223372036854775808'; expected a whole number of at most 18"),
        ("-1" + "0" * 18, "wholes", "expected a whole number of at most 18 digits"),
        ("7" * 400, "wholes", "777... .400 characters.'; expected a whole number of at most 18"),
        ("7" * 400, "floats", "777... .400 characters.'; expected a number"),
        ("1e999", "floats", "line 3: a is '1e999'; expected a number"),
        ("None", "floats", "line 3: a is 'None'; expected a number"),
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
    found = table(["# A", " B  c", "", ""], [["1", "2", "", ""], ["", ""]], 2, comma=False)
    assert found.columns == {"a": ["1"], "b c": ["2"]}
    assert table(["", "", "a"], [["0", "0", "5"]], 2, comma=False).text("a") == ["5"]
    assert (len(found), found.has("a", "b c"), found.has("d")) == (1, True, False)
    with pytest.raises(InputError, match="no column 'd'; found a, b c"):
        found.text("d")


def test_names_of_rows_that_r_writes():
    rows = [["1", "7", "8"], ["2", "9", "10"]]
    assert table(["a", "b"], rows, 2, comma=False).columns == {"a": ["7", "9"], "b": ["8", "10"]}
    with pytest.raises(InputError, match="line 3: 3 cells; expected 2, as the header"):
        table(["a", "b"], [["1", "7", ""], ["3", "9", "10"]], 2, comma=False)


def test_what_nobody_asked_for_is_known():
    found = table(["", "Unnamed: 0", "a", *"bcdefghijk"], [["0"] * 13], 2, comma=False)
    found.below(1).text("a")
    assert found.unread("c") == ["columns not read: b, d, e, f, g, h, i, j and 1 more"]
    assert found.unread(*"bcdefghijk") == []


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("a,b\n1,2", [["a", "b"], ["1", "2"]]),
        ("a\tb\r\n1\t2", [["a", "b"], ["1", "2"]]),
        ('a,b\n"x,5",2', [["a", "b"], ["x,5", "2"]]),
        ('a,b\r\n"1\n2",3', [["a", "b"], ["1\n2", "3"]]),
        ("a,b\r1,2\r", [["a", "b"], ["1", "2"]]),
        ("a,b\n1\x85,2\u2028\n", [["a", "b"], ["1\x85", "2\u2028"]]),  # an ellipsis of Windows
        ("a,b\r\r\n1,2\r\r\n", [["a", "b"], ["1", "2"]]),  # csv.writer without newline=""
        ("ID t x\n1.0 0.0 2.5\n", [["ID", "t", "x"], ["1.0", "0.0", "2.5"]]),  # btrack's CSV
        ("# t x y\n1 2.5 3\n", [["t", "x", "y"], ["1", "2.5", "3"]]),  # numpy.savetxt
        ("2 1 48\n3 1 72\n", [["2 1 48"], ["3 1 72"]]),  # no names: whose numbers?
        ("", []),
    ],
)
def test_delimiters(text, rows):
    assert grid(text) == (rows, False)


@pytest.mark.parametrize(
    ("text", "comma"),
    [
        ("t;x;y;z;r\n1;1,5;2,5;3,5;4,5\n2;1,5;2,5;3,5;4,5\n", True),  # as many commas
        ("a;b\n1,234;2\n", True),  # who parts cells by semicolons has decimal commas
        ("a;b\n1,234.5;2\n", False),
        ("a;b\n1,234;2.5\n", False),  # thousands, or both marks: refused where it is read
        ("a\tb\n1,5\t2\n", True),  # Excel's "Unicode text"
        ("a\tb\n0,125\t2\n", True),
        ("a\tb\n1,234\t2\n", False),  # a thousand, or little more than 1
        ('a,b\n"1,5","2,25"\n', True),
        ('a,b\n"1,5",2.5\n', False),
        ('a,b\n"ch1,ch4",2\n', False),
    ],
)
def test_decimal_commas(text, comma):
    assert grid(text)[1] is comma


def test_marks_that_may_mean_two_things_are_refused_by_name():
    rows, comma = grid("a;b\n1,234;2.5\n")
    with pytest.raises(InputError, match="line 2: a is '1,234'; expected a number"):
        table(rows[0], rows[1:], 2, comma).floats("a")


def test_what_is_no_text(tmp_path):
    with pytest.raises(InputError, match="not text"):
        as_text(b"a\0b")
    assert as_text("\u00b5".encode("latin-1")) == "\u00b5"
    for encoding in ("utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"):
        assert as_text("x [\u00b5m],y\n".encode(encoding)) == "x [\u00b5m],y\n"
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


def test_a_small_file_takes_no_more_memory_than_it_has(tmp_path):
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    tracemalloc.start()
    try:
        assert read_bytes(str(tmp_path / "a.csv")) == b"a,b\n1,2\n"
        assert tracemalloc.get_traced_memory()[1] < 10**6
    finally:
        tracemalloc.stop()


def workbook(folder, **more):
    from openpyxl import Workbook

    path, book = folder / "a.xlsx", Workbook()
    for row in (("a", "b"), (1, 2)):
        book.active.append(row)
    book.save(path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        for name, data in more.items():
            archive.writestr(name, data)
    return path


def test_a_workbook_that_is_far_larger_unpacked_is_refused(tmp_path):
    pytest.importorskip("python_calamine")
    assert read_rows("a.xlsx", workbook(tmp_path).read_bytes())[0] == [["a", "b"], ["1", "2"]]
    path = workbook(tmp_path, zeros=bytes(80 << 20))
    said = r"not readable as Excel: 8\d+ bytes out of \d+; save the sheet as CSV"
    with pytest.raises(InputError, match=said):
        read_rows("a.xlsx", path.read_bytes())
    data = bytearray(workbook(tmp_path, zeros=bytes(80 << 20)).read_bytes())
    struct.pack_into("<I", data, data.rindex(b"PK\1\2") + 24, 100)  # says that it has 100 bytes
    with pytest.raises(InputError, match=r"not readable as Excel.*damaged|Bad"):
        read_rows("a.xlsx", bytes(data))


@pytest.mark.parametrize(("second", "refused"), [("A", True), ("legend", False), ("", False)])
def test_sheets_with_the_same_columns_are_not_one_table(tmp_path, second, refused):
    pytest.importorskip("python_calamine")
    frames = {
        "A": pd.DataFrame({"track_id": ["1"], "frame": ["0"]}),
        "legend": pd.DataFrame({"column": ["track_id"]}),
        "": pd.DataFrame(),
    }
    path = tmp_path / "a.xlsx"
    with pd.ExcelWriter(path, engine="openpyxl") as book:
        frames["A"].to_excel(book, sheet_name="Neu1", index=False)
        frames[second].to_excel(book, sheet_name="Neu2", index=False)
    if refused:
        with pytest.raises(
            Unfit, match="sheets 'Neu1', 'Neu2' have the same columns; expected one"
        ):
            read_rows(str(path), path.read_bytes())
        assert read_rows(str(path), path.read_bytes(), sheet="Neu2")[0][1] == ["1", "0"]
    else:
        assert read_rows(str(path), path.read_bytes())[0] == [["track_id", "frame"], ["1", "0"]]
