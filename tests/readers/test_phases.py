"""Tables of phases: the published one, its spellings, and rows that make no sense."""

import csv

import numpy as np
import pytest

from dpipe import schema
from dpipe.errors import InputError, UsageError
from dpipe.readers.phases import find, open_phases
from dpipe.sources import Item

HEADER = "video_id,blebbing_start,blebbing_end,disruption_start,disruption_end,channel\n"


def write(folder, text, name="table.csv"):
    path = folder / name
    path.write_text(text)
    return path


def flags(number):
    return [name for bit, name in enumerate(schema.PHASE_FLAGS) if number >> bit & 1]


def test_finding():
    items = [Item(f"/r/{name}", name, 9, "0") for name in ("a.csv", "b.ims", "c/d.XLSX")]
    assert [part.stem for part in find(items)] == ["a", "d"]


def test_the_published_table(shared_data):
    path = shared_data / "leuko" / "table2_phases.csv"
    ds = open_phases(path)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert ds.sizes["event"] == len(rows) == 90
    assert len(set(ds.movie.values)) == 34
    for i, row in enumerate(rows):
        for variable in schema.PHASES:
            told = float(row[variable.name]) - 1 if row[variable.name] else np.nan
            np.testing.assert_equal(ds[variable.name].values[i], told)
    # whoever typed it in noted what is odd; a lack of blebbing is not
    noted = [row["note"].replace("no_blebbing", "") for row in rows]
    assert [" ".join(flags(flag)) for flag in ds.phase_flag.values.tolist()] == noted
    assert np.count_nonzero(ds.phase_flag) == 4
    assert ds.event.values[[0, 1, 2, -1]].tolist() == ["Neu1_1", "Neu2_1", "Neu2_2", "Den4_2"]
    assert ds.channel.values[1] == "ch1,ch4"
    assert ds.response.values[:2].tolist() == [1, 0]


def test_the_table_as_it_is_printed(tmp_path):
    text = (
        "Table 2. Cell Death Phases\n\n"
        "Video ID\tblebbing (start frame)\tblebbing (end frame)\tdisruption (start frame)\t"
        "disruption (end frame)\tresponse (yes/no)\tChannel\n"
        "Neu1\t3\t5\t6\t10\tyes\tch1\nNeu 2\t18\t20\t21\t22\t\tch1/ch4\nNeu2\t\t\t24\t30\tno\tch1\n"
    )
    ds = open_phases(write(tmp_path, text))
    assert ds.event.values.tolist() == ["Neu1_1", "Neu2_1", "Neu2_2"]
    assert ds.response.values.tolist() == [1, -1, 0]
    assert ds.blebbing_start.values[:2].tolist() == [2, 17]
    assert open_phases(write(tmp_path, text), first_frame=0).disruption_end.values[0] == 10


def test_annotators_name_the_same_events(tmp_path):
    text = HEADER.replace("channel", "annotator")
    rows = "".join(f"Neu1,{i},3,4,5,{who}\n" for who in ("anna", "ben") for i in (1, 2))
    ds = open_phases(write(tmp_path, text + rows))
    assert ds.event.values.tolist() == ["Neu1_1", "Neu1_2"] * 2
    assert ds.annotator.values.tolist() == ["anna"] * 2 + ["ben"] * 2
    assert set(ds.channel.values) == {""}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty file"),
        ("a,b\n1,2\n", "not a table of phases: found a, b; expected video_id, blebbing_start"),
        (HEADER, "no events; expected at least one"),
        (HEADER.replace("disruption_end", "end") + "Neu1,1,2,3,4,ch1\n", "no column 'disruption_e"),
        (HEADER + "Neu1,1,x,3,4,ch1\n", "line 2: blebbing_end is 'x'; expected a number"),
        (HEADER + "Neu1,1,2.5,3,4,ch1\n", "line 2: blebbing_end is '2.5'; expected a whole number"),
        (HEADER + "Neu1,1,2,3,4,ch1\nNeu1,0,2,3,4,ch1\n", "line 3: blebbing_start is 0, before th"),
        (HEADER + "Neu1,3,2,3,4,ch1\n", "line 2: blebbing ends before it starts"),
        (HEADER + "Neu1,1,2,5,4,ch1\n", "line 2: disruption ends before it starts"),
        (HEADER + "Neu1,1,,3,4,ch1\n", "line 2: blebbing has a start or an end alone"),
        (HEADER + "Neu1,,,,,ch1\n", "line 2: an event without phases"),
        (HEADER + " ,1,2,3,4,ch1\n", "line 2: no movie named"),
        (HEADER.replace("channel", "event") + "Neu1,1,2,3,4,7\nNeu 1,1,2,3,4,7\n",
         "lines 2 and 3: event Neu1_7 twice; expected once"),
        (HEADER.replace("channel", "response") + "Neu1,1,2,3,4,maybe\n", "response is 'maybe'"),
    ],
)  # fmt: skip
def test_bad_tables(tmp_path, text, message):
    with pytest.raises(InputError) as told:
        open_phases(write(tmp_path, text))
    assert str(told.value).startswith("table.csv: ")
    assert message in str(told.value)
    assert "\n" not in str(told.value)


def test_one_file():
    with pytest.raises(UsageError, match="one file; found 2"):
        open_phases(["a.csv", "b.csv"])
