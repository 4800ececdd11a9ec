"""Tables of spillover: real ones, other ways round, and bad ones."""

import numpy as np
import pytest

import dpipe
from dpipe.errors import InputError, UsageError

TABLE = ",A,B\nA,1,0.1\nB,0.3,1\n"


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_real_matrices(shared_data, number):
    folder = shared_data / "scifai" / "compensation"
    ds = dpipe.open_spillover(folder / f"exp{number}.csv")
    assert ds.detector.values.tolist() == [f"Ch{k:02d}" for k in range(1, 13)]
    assert ds.source.values.tolist() == ds.detector.values.tolist()
    assert np.diag(ds.spillover).tolist() == [1.0] * 12
    # no dye was in channels 5, 8 and 10: nothing of them is seen elsewhere
    assert (ds.spillover.sel(source=["Ch05", "Ch08", "Ch10"]).sum("detector") == 1).all()
    if number == 1:
        assert ds.spillover.sel(detector="Ch05", source="Ch04").item() == 0.677


@pytest.mark.filterwarnings("ignore:The default engine for reading", "ignore:ExcelFile.parse is")
def test_excel_and_its_copy_as_text_are_the_same(shared_data):
    pytest.importorskip("python_calamine")
    folder = shared_data / "scifai" / "compensation"
    one, two = (dpipe.open_spillover(folder / f"exp2.{kind}") for kind in ("csv", "xlsx"))
    assert one.identical(two)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (TABLE, {}),
        ("\ufeff;A;B\nA;1;0,1\nB;0,3;1\n\n", {}),
        ("x\tB\tA\t\nA\t0.1\t1\nB\t1\t0.3\n", {}),  # columns in another order
        (",A,B\nA,1,0.3\nB,0.1,1\n", {"rows": "sources"}),
        ("x\tA\tB\nA\t1\t0,1\nB\t0,3\t1\n", {}),  # tabs and decimal commas
        ("x\tA\tB\nA\t1\t0,1\nB\t0,3\t1\n".encode("utf-16"), {}),  # Excel's "Unicode text"
        ("x\tA\tB\nA\t1\t0.1\nB\t0.3\t1\n".encode("utf-16-le"), {}),
        (',A,B\nA,"1","0,1"\nB,"0,3","1"\n', {}),
        (",A,B\r\r\nA,1,1e-1\r\r\nB,3e-1,1\r\r\n", {}),
        (",A,B\nA,100,10\nB,30,100\n", {}),
        (",A,B\nA,100%,10%\nB,30%,100%\n", {}),
    ],
)
def test_ways_to_write_one_matrix(tmp_path, text, said):
    path = tmp_path / "m.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    ds = dpipe.open_spillover([path], **said)
    assert ds.spillover.dims == ("detector", "source")
    assert ds.spillover.sel(detector="B", source="A").item() == 0.3
    assert ds.spillover.sel(detector="A", source="B").item() == 0.1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rubbish", "no spillover matrix; expected names of channels above and beside"),
        (",A,B\nA,1,0\nC,0,1\n", "B, C: not both above and beside; expected a square matrix"),
        (",A,B\nA,1,0\n", "B: not both above and beside"),
        (",A,A\nA,1,0\nA,0,1\n", "lines A, A; expected names of channels, each once"),
        (",A,\nA,1,0\n,0,1\n", "lines A, ; expected"),
        (",A,B\nA,1,x\nB,0,1\n", "line A, column B: 'x'; expected a number"),
        (",A,B\nA,1,inf\nB,0,1\n", "line A, column B: 'inf'"),
        (",A,B\nA,1,0_1\nB,0,1\n", "line A, column B: '0_1'; expected a number"),
        (",A,B\nA,1," + "7" * 400 + "\nB,0,1\n", "line A, column B: '7777777777777777777777777777"),
        (";A;B\nA;1;0,1\nB;0.3;1\n", "line A, column B: '0,1'; expected a number"),
        (",A,B\nA,1\nB,0,1\n", "line A, column B: ''"),
        (
            ",A,B\nA,50,0\nB,0,100\n",
            "A meets itself with 50; expected 1, or 100 for all in percent",
        ),
        (",A,B\nA,1,0,7\nB,0,1\n", "line A: more cells than the 2 columns with a name"),
        ("," + ",".join("ab") + "\na,1,0\n" * 300, "300 lines; expected .* at most 256 channels"),
        ("", "empty file"),
    ],
)
def test_bad_tables(tmp_path, text, message):
    path = tmp_path / "m.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as told:
        dpipe.open_spillover(path)
    assert str(told.value).startswith("m.csv: ")
    assert "\n" not in str(told.value)


def test_bad_use(tmp_path):
    with pytest.raises(UsageError, match="is one file; found 2"):
        dpipe.open_spillover(["a.csv", "b.csv"])
    with pytest.raises(
        UsageError, match="rows: found 'columns'; expected 'detectors' or 'sources'"
    ):
        dpipe.open_spillover("a.csv", rows="columns")


def test_names_of_channels_as_programs_write_them(tmp_path):
    """FlowJo writes ``detector :: dye``, IDEAS ``Ch01``, FCS files ``FITC-A``; names are texts."""
    for names in (["FITC-A :: CD3", "PE-A :: MHC II"], ["Ch01", "Ch12"], ["FITC-A", "PE-Cy5.5-A"],
                  ["<B530-A>", "Comp-APC"]):  # fmt: skip
        a, b = names
        (tmp_path / "m.csv").write_text(f",{a},{b}\n{a},1,0.1\n{b},0.3,1\n")
        ds = dpipe.open_spillover(tmp_path / "m.csv")
        assert ds.source.values.tolist() == names
        assert "notes" not in ds.attrs
    (tmp_path / "m.csv").write_text(",A,B\nA,100,10\nB,30,100\n")
    assert dpipe.open_spillover(tmp_path / "m.csv").attrs["notes"] == [
        "the table is in percent: its numbers are divided by 100"
    ]
