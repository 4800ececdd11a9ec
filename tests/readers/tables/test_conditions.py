"""Tables of conditions: the published one, and what is wrong with others."""

import pytest

from dpipe.errors import InputError, UsageError
from dpipe.readers import open_conditions
from dpipe.readers.tables.conditions import find
from dpipe.sources import Item

HEADER = "video_id,ch1,ch2,markers,fluorophore,organ,stimuli,objective\n"
ROW = "Neu 1,Neu,\u2014,CK6,CFP,Spleen,UVPR8,40x\n"


def write(folder, text):
    path = folder / "table.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_finding():
    items = [Item(f"/r/{name}", name, 9, "0") for name in ("a.csv", "b.ims")]
    assert [part.stem for part in find(items)] == ["a"]


def test_the_published_table(shared_data):
    ds = open_conditions(shared_data / "leuko" / "table1_conditions.csv")
    assert ds.sizes == {"movie": 34, "channel_number": 4}
    assert ds.attrs["corrected"] == ["Neu16: UVPR9 to UVPR8", "Neu20: UPPR8 to UVPR8"]
    neu8 = ds.sel(movie="Neu8")
    assert neu8.content.values.tolist() == ["Neu", "Macro", "", "Neu, SHG"]
    assert neu8.fluorophores.item() == "CFP, PE"
    assert neu8.organ.item() == "Lymph node"
    assert neu8.objective.item() == "40x"
    assert set(ds.stimulus.values) == {"UVPR8", "melanoma", "None"}


def test_dashes_are_nothing(tmp_path):
    ds = open_conditions(write(tmp_path, "Table 1\n\n" + HEADER + ROW))
    assert ds.content.values.tolist() == [["Neu", ""]]
    assert ds.movie.values.tolist() == ["Neu1"]


@pytest.mark.parametrize(
    "word", ["", "-", "\u2014", "\u2013", "NA", "N/A", "n/a", "null", "NULL", "nan", "#N/A", "<NA>"]
)
def test_words_for_nothing_are_no_group(tmp_path, word):
    ds = open_conditions(write(tmp_path, HEADER + ROW.replace("Spleen,UVPR8", f"{word},{word}")))
    assert (ds.organ.values.tolist(), ds.stimulus.values.tolist()) == ([""], [""])
    said = open_conditions(write(tmp_path, HEADER + ROW.replace("Spleen,UVPR8", "none,None")))
    assert (said.organ.values.tolist(), said.stimulus.values.tolist()) == (["none"], ["None"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty file"),
        ("a,b\n1,2\n", "not a table of conditions: found a, b; expected video_id"),
        (HEADER, "no movies; expected at least one"),
        (HEADER + ROW + ROW, "lines 2 and 3: movie Neu1 twice; expected once"),
        (HEADER + ROW.replace("Neu 1", " "), "line 2: no movie named"),
        (HEADER.replace("ch1", "ch3") + ROW, "channels [2, 3]; expected the columns ch1, ch2"),
        (HEADER.replace("organ", "tissue") + ROW, "no column 'organ'; found video_id"),
        (HEADER + "Neu1,Neu\n", "line 2: 2 cells; expected 8, as the header"),
    ],
)
def test_bad_tables(tmp_path, text, message):
    with pytest.raises(InputError) as told:
        open_conditions(write(tmp_path, text))
    assert str(told.value).startswith("table.csv: ")
    assert message in str(told.value)


def test_one_file():
    with pytest.raises(UsageError, match="one file; found 0"):
        open_conditions([])


@pytest.mark.parametrize("name", ["ch{}", "Ch{}", "channel {}", "Channel_{}", "CHANNEL{}"])
def test_names_of_channels(tmp_path, name):
    text = f"movie,{name.format(1)},{name.format(2)},marker,fluorophores,organ,stimulus,objective\n"
    ds = open_conditions(write(tmp_path, text + "Neu1,Neu,nan,CD169,PE,\u2014,-,40x\n"))
    assert ds.content.values.tolist() == [["Neu", ""]]
    assert (ds.organ.item(), ds.stimulus.item()) == ("", "")


@pytest.mark.parametrize("number", ["99999", "7" * 400, str(2**63)])
def test_a_channel_of_any_number_is_none(tmp_path, number):
    text = f"movie,ch1,ch{number},marker,fluorophore,organ,stimuli,objective\nNeu1,a,b,c,d,e,f,g\n"
    ds = open_conditions(write(tmp_path, text))
    assert ds.sizes["channel_number"] == 1
    assert ds.attrs["notes"][0].startswith(f"columns not read: ch{number[:5]}")


def test_columns_that_are_not_read_are_said(tmp_path):
    text = "movie,ch1,marker,fluorophore,organ,stimuli,objective,mouse\nNeu1,a,c,d,e,f,g,B6\n"
    ds = open_conditions(write(tmp_path, text))
    assert ds.attrs == {"corrected": [], "notes": ["columns not read: mouse"]}


def test_a_header_stands_in_the_first_ten_rows(tmp_path):
    rows = [f"Table 1, part {i}\n" for i in range(10)]
    ds = open_conditions(write(tmp_path, "".join(rows[:9]) + HEADER + ROW))
    assert ds.movie.values.tolist() == ["Neu1"]
    with pytest.raises(InputError, match="not a table of conditions"):
        open_conditions(write(tmp_path, "".join(rows) + HEADER + ROW))
    with pytest.raises(InputError, match="lines 5 and 6: movie Neu1 twice; expected once"):
        open_conditions(write(tmp_path, "".join(rows[:3]) + HEADER + ROW + ROW))


@pytest.mark.parametrize(("said", "right"), [("UVPR9", "UVPR8"), ("UPPR8", "UVPR8")])
def test_misprints_are_corrected_and_said(tmp_path, said, right):
    ds = open_conditions(write(tmp_path, HEADER + ROW.replace("UVPR8", said)))
    assert ds.stimulus.item() == right
    assert ds.attrs["corrected"] == [f"Neu1: {said} to {right}"]
