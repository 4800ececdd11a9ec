"""Tables of phases: the published one, its spellings, and rows that make no sense."""

import csv
import re

import numpy as np
import pytest

from dpipe import schema
from dpipe.errors import InputError, UsageError
from dpipe.readers import open_phases
from dpipe.readers.tables.phases import find
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
        (HEADER + "Neu1,1,2,3,4,ch1\nNeu1,0,2,3,4,ch1\n", "first frame, 1; say first_frame=0"),
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


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("blebbing_start (s)", "'blebbing_start (s)' is in 's'; expected frames"),
        ("blebbing start [min]", "'blebbing start [min]' is in 'min'; expected frames"),
        ("Blebbing start (um)", "is in 'um'; expected frames"),
        ("blebbing_start_s", "no column 'blebbing_start'; found video_id, blebbing_start_s"),
    ],
)
def test_phases_in_another_unit_are_no_frames(tmp_path, column, message):
    text = HEADER.replace("blebbing_start", column) + "Neu1,1,2,3,4,ch1\n"
    with pytest.raises(InputError, match=re.escape(message)):
        open_phases(write(tmp_path, text))


@pytest.mark.parametrize(
    "column",
    ["blebbing_start", "Blebbing start", "blebbing (start frame)", "blebbing_start (frame)",
     "blebbing start [frames]", "blebbing_start_frame"],
)  # fmt: skip
def test_names_of_columns(tmp_path, column):
    text = HEADER.replace("blebbing_start", column) + "Neu1,1,2,3,4,ch1\n"
    ds = open_phases(write(tmp_path, text))
    assert (ds.blebbing_start.item(), "notes" in ds.attrs) == (0, False)


@pytest.mark.parametrize("text", [
    HEADER.replace(",", ";") + "Neu1;1,0;2;3;4;ch1\n",
    HEADER.replace(",", "\t").encode("utf-16"),
    "\ufeff" + HEADER, HEADER.upper(),
], ids=["semicolons", "utf-16", "mark", "upper"])  # fmt: skip
def test_encodings_and_separators(tmp_path, text):
    path = tmp_path / "t.csv"
    data = text if isinstance(text, bytes) else text.encode()
    if b";" not in data:
        more = "Neu1,1,2,3,4,ch1\n"
        data += (
            more.replace(",", "\t").encode("utf-16-le") if data[:1] == b"\xff" else more.encode()
        )
    path.write_bytes(data)
    assert open_phases(path).disruption_end.item() == 3


@pytest.mark.parametrize("nothing", ["", "NaN", "None", "NA", "n/a", "-", "null"])
def test_words_for_no_phase(tmp_path, nothing):
    row = f"Neu1,{nothing},{nothing},3,4,{nothing}\n"
    ds = open_phases(write(tmp_path, HEADER.replace("channel", "response") + row))
    assert np.isnan(ds.blebbing_start.item())
    assert (ds.disruption_start.item(), ds.response.item()) == (2, -1)


@pytest.mark.parametrize(("word", "value"), [("Yes", 1), ("y", 1), ("TRUE", 1), ("0", 0), ("n", 0)])
def test_words_for_responses(tmp_path, word, value):
    text = HEADER.replace("channel", "response") + f"Neu1,1,2,3,4,{word}\n"
    assert open_phases(write(tmp_path, text)).response.item() == value


def test_a_mistyped_frame_is_flagged_and_named(tmp_path):
    rows = "".join(f"Neu1,{i},{i + 1},{i + 2},{i + 3},ch1\n" for i in range(1, 9))
    ds = open_phases(write(tmp_path, HEADER + rows + "Neu1,3,5,6,50000000000,ch1\n"))
    assert [flags(flag) for flag in ds.phase_flag.values.tolist()] == [[]] * 8 + [["far_frame"]]
    assert ds.disruption_end.values[-1] == 49_999_999_999
    assert ds.attrs["notes"] == [
        "1 of 9 events are odd: far_frame 1",
        "Neu1_9 has the frame 50000000000: is it mistyped?",
    ]


@pytest.mark.parametrize("frame", [str(2**63), "1e300", "7" * 400, "-9223372036854775809"])
def test_frames_beyond_all_bounds(tmp_path, frame):
    with pytest.raises(InputError) as told:
        open_phases(write(tmp_path, HEADER + f"Neu1,1,2,3,{frame},ch1\n"))
    assert "line 2: disruption_end is" in str(told.value)
    assert len(str(told.value)) < 150


def test_columns_that_are_not_read_are_said(tmp_path):
    text = HEADER.replace("channel", "channel,observer,note") + "Neu1,1,2,3,4,ch1,AB,x\n"
    assert open_phases(write(tmp_path, text)).attrs["notes"] == ["columns not read: observer, note"]


@pytest.mark.parametrize("first", [1.5, 10**30, True])
def test_a_first_frame_that_is_none(tmp_path, first):
    with pytest.raises(UsageError, match="first_frame: found"):
        open_phases(write(tmp_path, HEADER), first_frame=first)


def test_one_file():
    with pytest.raises(UsageError, match="one file; found 2"):
        open_phases(["a.csv", "b.csv"])
