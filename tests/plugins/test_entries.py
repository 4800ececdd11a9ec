"""Readers, operators and writers of others: by module and name, and of installed packages."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import dpipe
from dpipe import catalog, operators, plugins, readers, writers
from dpipe.cli import main
from dpipe.errors import UsageError

MODULE = '''"""What a laboratory wrote."""

from pathlib import Path

import numpy as np
import xarray as xr

from dpipe import schema
from dpipe.blocks import lazy
from dpipe.readers import Reader
from dpipe.sources import one_each


def open_raw(url, *, side=4):
    """Open a square of raw bytes as a movie of one frame."""
    (uri,) = [url] if isinstance(url, str) else url

    def read(region):
        values = np.frombuffer(Path(uri).read_bytes(), "u1").reshape(1, 1, 1, side, side)
        return values[region]

    return schema.movie(lazy(read, (1, 1, 1, side, side), "u1", (1, 1, 1, side, side)))


RAW = Reader(one_each((".raw",)), open_raw, version=3)


def inverted(ds: xr.Dataset, *, top: int = 255) -> xr.Dataset:
    """Turn bright into dark."""
    return ds.assign(image=(top - ds.image).astype("u1"))


inverted.free = ("t",)


def write_names(parts, to, *, suffix=".txt"):
    """Write a file of the name of each part."""
    Path(to).mkdir(parents=True, exist_ok=True)
    paths = [Path(to) / (stem + suffix) for stem in parts]
    for path in paths:
        path.write_text(path.stem)
    return [str(path) for path in paths]


NUMBER = 7


def no_operator(number):
    return number
'''
POINTS = """[dpipe.readers]
raw-square = rawlab:RAW
tiff = rawlab:RAW
broken = rawlab_that_is_not_there:RAW
odd = rawlab:NUMBER

[dpipe.operators]
inverted = rawlab:inverted
bare = rawlab:no_operator

[dpipe.writers]
names = rawlab:write_names
"""


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with raw files, beside an installed package of a laboratory."""
    site = tmp_path / "site"
    about = site / "rawlab-1.2.dist-info"
    about.mkdir(parents=True)
    (site / "rawlab.py").write_text(MODULE)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: rawlab\nVersion: 1.2\n")
    (about / "entry_points.txt").write_text(POINTS)
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", str(site))
    folder = tmp_path / "lab"
    (folder / "raw").mkdir(parents=True)
    for n in (1, 2):
        (folder / f"raw/Neu{n}.raw").write_bytes(bytes(range(16 * n - 16, 16 * n)))
    monkeypatch.chdir(folder)
    yield folder
    for name in [n for n in sys.modules if n.startswith("rawlab")]:
        del sys.modules[name]


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(list(words))
    return int(stop.value.code or 0)


WHERE = ("--store", "store", "--workers", "0", "--quiet")


@pytest.mark.parametrize("name", ["raw-square", "rawlab:RAW"])
def test_a_reader_of_others_reads(lab: Path, name: str) -> None:
    assert run("make", "raw", "--reader", name, "--source", "raw", *WHERE) == 0
    tree = dpipe.open("store", "raw")
    assert tree["Neu2"].image.values.ravel().tolist() == list(range(16, 32))
    version = catalog.resolve(catalog.open_store("store"), "raw")
    assert len(version.recipe["code"]) == 16
    assert run("make", "raw", "--reader", name, "--source", "raw", *WHERE) == 0
    assert catalog.resolve(catalog.open_store("store"), "raw").number == 1


def test_parts_are_made_again_where_the_code_of_a_reader_changes(lab: Path) -> None:
    assert run("make", "raw", "--reader", "raw-square", "--source", "raw", *WHERE) == 0
    module = lab.parent / "site/rawlab.py"
    module.write_text(MODULE.replace("values[region]", "values[region] + 1"))
    del sys.modules["rawlab"]
    assert run("make", "raw", "--reader", "raw-square", "--source", "raw", *WHERE) == 0
    assert dpipe.open("store", "raw")["Neu1"].image.values.ravel()[0] == 1
    assert catalog.resolve(catalog.open_store("store"), "raw").number == 2


def test_operators_and_writers_of_others(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("make", "raw", "--reader", "raw-square", "--source", "raw", *WHERE) == 0
    made = ("make", "dark", "--operator", "inverted", "--input", "raw", "--param", "top=100")
    assert run(*made, *WHERE) == 0
    assert dpipe.open("store", "dark")["Neu1"].image.values.ravel()[:3].tolist() == [100, 99, 98]
    for name, to in (("names", "a"), ("rawlab:write_names", "b")):
        assert run("export", name, "--input", "raw", "--to", to, "--store", "store") == 0
        assert Path(to, "Neu2.txt").read_text() == "Neu2"
    assert run("export", "names", "--input", "raw", "--to", "c", "--option", "wrong=1",
               "--store", "store") == 2  # fmt: skip


def test_doc_lists_them_and_what_is_left_out(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("doc") == 0
    told = capsys.readouterr()
    lines = [line.split(maxsplit=1) for line in told.out.splitlines() if line.startswith(" ")]
    listed = dict(lines)
    assert listed["raw-square"] == (
        "Open a square of raw bytes as a movie of one frame. (from rawlab 1.2)"
    )
    assert listed["inverted"].endswith("(from rawlab 1.2)")
    assert listed["names"].endswith("(from rawlab 1.2)")
    assert "rawlab" not in listed["tiff"]
    assert not {"broken", "odd", "bare"} & set(listed)
    left_out = told.err.splitlines()
    assert len(left_out) == 4
    assert all(line.startswith("warning: left out: ") and "rawlab 1.2" in line for line in left_out)
    assert any("reader 'tiff' is dpipe's own; give yours another name" in line for line in left_out)
    assert any("cannot import 'rawlab_that_is_not_there'" in line for line in left_out)
    assert any("found a int; expected a Reader" in line for line in left_out)
    for name in ("raw-square", "rawlab:inverted", "rawlab:write_names"):
        assert run("doc", name) == 0
    assert "writer rawlab:write_names; in Python write_names" in capsys.readouterr().out


def test_a_name_of_dpipe_stays_dpipe_s(lab: Path) -> None:
    assert readers.resolve("tiff") is readers.READERS["tiff"]
    assert plugins.taken("operator", operators.OPERATORS) == []


@pytest.mark.parametrize(
    ("resolve", "name", "says"),
    [
        (readers.resolve, "raw-squares", "'raw-squares'.*did you mean 'raw-square'"),
        (readers.resolve, "rawlab:open_raw", "found a function; expected a Reader"),
        (readers.resolve, "rawlab:OTHER", "'OTHER'"),
        (readers.resolve, "nolab:RAW", "cannot import 'nolab'"),
        (readers.resolve, "broken", "'broken' of rawlab 1.2: cannot import"),
        (operators.resolve, "rawlab:NUMBER", "found a int; expected a function"),
        (operators.resolve, "bare", "must be annotated"),
        (writers.resolve, "rawlab:NUMBER", "found a int; expected a function"),
        (writers.resolve, "rawlab:no_operator", r"expected write\(parts, to, \*, options...\)"),
        (writers.resolve, "nme", "'nme'"),
    ],
)
def test_what_does_not_fit_is_one_line(lab: Path, resolve, name: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        resolve(name)
    assert len(str(caught.value).splitlines()) == 1


def test_an_operator_of_others_in_python(lab: Path) -> None:
    ds = xr.Dataset({"image": (("t", "c", "z", "y", "x"), np.zeros((1, 1, 1, 2, 2), "u1"))})
    dark = dpipe.each({"a": ds}, "inverted", top=9)
    assert dark["a"].image.values.ravel().tolist() == [9, 9, 9, 9]
    assert json.dumps(operators.resolve("inverted").free) == '["t"]'
