"""What is in a source, from headers only."""

from dataclasses import replace

import pytest

from dpipe import demo, readers
from dpipe.census import census, warnings
from dpipe.errors import UsageError


def test_one_row_a_movie_and_what_differs(tmp_path):
    demo.write_study(tmp_path, frames=2, size=(2, 32, 32), damaged=True)
    rows = {row["stem"]: row for row in census("imaris", [str(tmp_path / "raw")])}
    assert list(rows) == ["Neu1", "Neu2", "Neu3"]
    assert rows["Neu1"]["dtype"] == "uint8"
    assert rows["Neu1"]["files"] == 1
    assert "Neu3.h5" in rows["Neu3"]["problem"]
    assert warnings(list(rows.values())) == ["dtype differs: uint16 (1), uint8 (1)"]


def test_movies_that_cannot_be_compared():
    one = {"spacing": [2.0, 0.5, 0.5], "interval": 30.0, "channels": ["GFP"]}
    same = one | {"spacing": [2.0, 0.4999997, 0.5], "interval": 29.98}  # as extents are rounded
    assert warnings([one, same]) == []
    other = one | {"spacing": [2.0, 0.5, 0.6], "interval": 31.0, "channels": ["DiD"]}
    assert warnings([one, same, other]) == [
        "spacing differs: [2, 0.5, 0.5] (2), [2, 0.5, 0.6] (1)",
        "interval differs: 30 (2), 31 (1)",
        "channels differs: [DiD] (1), [GFP] (2)",
    ]


def test_real_files(shared_data):
    rows = census("imaris", [str(shared_data / "imaris" / "*.ims")])
    assert {row["stem"] for row in rows} == {"Minimal_IMS_File", "brain_crop3_level3"}
    assert not [row for row in rows if "problem" in row]


def test_a_bug_of_one_part_leaves_the_others(tmp_path, monkeypatch):
    demo.write_study(tmp_path, frames=2, size=(2, 32, 32))
    whole = readers.READERS["imaris"]

    def picky(urls, **options):
        if "Neu1" in str(urls):
            raise OverflowError("too large\nby far")
        return whole.open(urls, **options)

    monkeypatch.setitem(readers.READERS, "imaris", replace(whole, open=picky))
    rows = {row["stem"]: row for row in census("imaris", [str(tmp_path / "raw")])}
    assert rows["Neu1"]["problem"] == "a bug: OverflowError: too large by far"
    assert rows["Neu2"]["dtype"] == "uint16"


def test_an_unknown_reader():
    with pytest.raises(UsageError, match="unknown reader 'imarris'; did you mean 'imaris'"):
        census("imarris", ["."])
