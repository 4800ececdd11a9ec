"""Tracks: every format's frame base and unit, real files against each other, and bad input."""

import base64
import json
import re
import sys
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from dpipe import schema, sources
from dpipe.errors import InputError, UsageError
from dpipe.readers import open_tracks
from dpipe.readers.tracks.spots import find
from dpipe.sources import Item

IMARIS = "Position X,Position Y,Position Z,Unit,Category,Collection,Time,TrackID,ID,"
TITLE = "\nPosition\n ==================== \n"
ROWS = (
    "12.5,3,1,um,Spot,Position,1,1000000000,0,",
    "13.5,3,1,um,Spot,Position,2,1000000000,1,",
    "14.5,4,1,um,Spot,Position,4,1000000000,2,",
    "99,98,7,um,Spot,Position,2,,3,",
)


def imaris(*rows: str, header: str = IMARIS, title: str = TITLE, end: str = "\n") -> str:
    return (title + "\n".join([header, *(rows or ROWS)]) + "\n").replace("\n", end)


def columns(ds: xr.Dataset, *names: str) -> list[list[float]]:
    return [ds[name].values.tolist() for name in names]


def write(folder: Path, text: str | bytes, name: str = "Neu1.csv") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def groups(*names: str) -> list[tuple[str, list[str]]]:
    found = find(Item(f"/raw/{name}", name, 9, "0") for name in names)
    return [(part.stem, [item.path for item in part.items]) for part in found]


# --- grouping ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a.csv", "b.xml", "c.ims"], [("a", ["a.csv"]), ("b", ["b.xml"])]),
        (["Neu1_ch1.csv", "Neu1_ch4.csv"], [("Neu1", ["Neu1_ch1.csv", "Neu1_ch4.csv"])]),
        (["x/Neu1_ch1.csv", "y/Neu1_ch1.csv"], [("Neu1", ["x/Neu1_ch1.csv"]),
                                                ("Neu1", ["y/Neu1_ch1.csv"])]),
        (["annotator=b/n.csv", "annotator=a/n.csv"],
         [("n", ["annotator=b/n.csv", "annotator=a/n.csv"])]),
        (["s/n_Position.csv", "s/n_Area.csv", "s/n_Speed.csv", "s/no.csv"],
         [("n", ["s/n_Position.csv"]), ("no", ["s/no.csv"])]),
        (["k/dp/objects.csv", "k/dp/links.csv", "k/dp/dp.json", "k/dp/o.csv"],
         [("k", ["k/dp/objects.csv", "k/dp/links.csv", "k/dp/dp.json"]), ("o", ["k/dp/o.csv"])]),
        (["Neu 8_ch1.csv"], [("Neu-8", ["Neu 8_ch1.csv"])]),
    ],
    ids=["suffixes", "channels", "folders", "annotators", "statistics", "biotracks", "spaces"],
)  # fmt: skip
def test_finding(names, expected):
    assert groups(*names) == expected


# --- Imaris -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        imaris(),
        imaris(end="\r\n"),
        imaris(title="Cell deaths\n\n"),
        imaris(title=""),
        "\ufeff" + imaris(),
        imaris(header=IMARIS.replace("TrackID", "Parent")),
        imaris(header=IMARIS.upper()),
        imaris(*(row.replace(",um,", ",\u00b5m,") for row in ROWS)),
        imaris(*(row.replace(".5", "%5") for row in ROWS)).replace(",", ";").replace("%", ","),
        imaris().replace(",", "\t"),
        imaris().encode("utf-16"),
        imaris(*(row.replace(",um,", ",\u00b5m,") for row in ROWS)).encode("latin-1"),
        imaris() + "\r\n\r\n",
    ],
    ids=["lf", "crlf", "title", "no title", "bom", "parent", "upper", "micro", "semicolon", "tab",
         "utf-16", "latin-1", "empty end"],
)  # fmt: skip
def test_imaris_headers(tmp_path, text):
    ds = open_tracks(write(tmp_path, text), interval=20)
    assert columns(ds, "track", "frame", "spot_id") == [
        [1000000000] * 3 + [-1], [0, 1, 3, 1], [0, 1, 2, 3],
    ]  # fmt: skip
    assert columns(ds, "spot_x", "spot_y", "spot_z", "spot_t") == [
        [12.5, 13.5, 14.5, 99], [3, 3, 4, 98], [1, 1, 1, 7], [0, 20, 60, 20],
    ]  # fmt: skip
    assert ds.attrs == {"frame_base": 1, "interval": 20.0, "object": "Spot"}
    assert set(ds.coords) == {"track", "frame"}
    assert np.isnan(ds.spot_radius).all()


def test_what_the_file_says_of_places_is_overruled(tmp_path):
    path = write(tmp_path, imaris())  # x 12.5, y 3, z 1, in um by its own words
    ds = open_tracks(path, unit="pixel", spacing=[2, 0.5, 0.5], origin=[30, 100, -8])
    assert columns(ds.isel(spot=[0]), "spot_z", "spot_y", "spot_x") == [[32], [101.5], [-1.75]]
    ds = open_tracks(path, origin=[30, 100, -8])
    assert columns(ds.isel(spot=[0]), "spot_z", "spot_y", "spot_x") == [[31], [103], [4.5]]
    with pytest.raises(UsageError, match="unit: found 'mm'; expected um or pixel"):
        open_tracks(path, unit="mm")


def test_tracks_that_branch_are_noted_by_file(tmp_path):
    one = write(tmp_path, imaris(*ROWS, SAME), "Neu1_ch1.csv")
    two = write(tmp_path, imaris(), "Neu1_ch4.csv")
    line = "1 of 1 tracks branch, or are two of one number: track 1000000000 has 2 spots in frame 2"
    assert open_tracks(one).attrs["notes"] == [line]
    assert open_tracks([one, two]).attrs["notes"] == [f"Neu1_ch1.csv: {line}"]
    assert "notes" not in open_tracks(two).attrs


def test_without_an_interval_there_is_no_time(tmp_path):
    ds = open_tracks(write(tmp_path, imaris()))
    assert np.isnan(ds.spot_t).all()
    assert "interval" not in ds.attrs


def test_frame_base_can_be_said(tmp_path):
    path = write(tmp_path, imaris())
    assert open_tracks(path, first_frame=0).frame.values.tolist() == [1, 2, 4, 2]
    assert open_tracks(path, frames=4).frame.max() == 3


def test_channels_of_a_movie(tmp_path):
    paths = [write(tmp_path, imaris(), f"Neu1_ch{c}.csv") for c in (1, 4)]
    ds = open_tracks([str(path) for path in paths], interval=20)
    assert ds.spot_channel.values.tolist() == ["ch1"] * 4 + ["ch4"] * 4
    # the second file counts its tracks from 1e9 too
    assert ds.track.values[[0, 3, 4, 7]].tolist() == [10**9, -1, 10**9 + 2**32, -1]


def test_annotators_of_a_movie(tmp_path):
    for who in ("ben", "anna"):
        write(tmp_path, imaris(), f"annotator={who}/Neu1_ch1.csv")
    (part,) = find(sources.list_items(str(tmp_path)))
    ds = open_tracks([item.uri for item in part.items])
    assert sorted(set(ds.annotator.values)) == ["anna", "ben"]
    assert set(ds.track.values) == {10**9, -1}, "each annotator counts for themself"
    assert ds.sizes["spot"] == 8


def test_excel_without_its_library_says_so(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "python_calamine", None)
    with pytest.raises(InputError, match=r"Neu1.xlsx: Excel needs python-calamine; install"):
        open_tracks(write(tmp_path, b"PK\x03\x04", "Neu1.xlsx"))


def sheet(*rows: str) -> pd.DataFrame:
    """A sheet whose numbers are numbers."""
    lines = imaris(*rows, title="Position\n").splitlines()
    cells = pd.DataFrame([(line.rstrip(",") + "," * 10).split(",")[:9] for line in lines])
    return cells.map(lambda cell: float(cell) if re.fullmatch(r"[\d.]+", cell) else cell)


@pytest.mark.parametrize("names", [["Area", "Position"], ["Sheet1"]], ids=str)
def test_excel_cells_are_as_csv(tmp_path, names):
    pytest.importorskip("python_calamine")
    pytest.importorskip("openpyxl")
    with pd.ExcelWriter(tmp_path / "Neu1_ch1.xlsx", engine="openpyxl") as book:
        for name in names:
            rows = ROWS if name == names[-1] else ROWS[:1]
            sheet(*rows).to_excel(book, sheet_name=name, header=False, index=False)
    ds = open_tracks(tmp_path / "Neu1_ch1.xlsx", interval=20)
    xr.testing.assert_identical(
        ds.drop_vars("spot_channel"), open_tracks(write(tmp_path, imaris()), interval=20)
    )


# What Imaris calls an Excel file: sheets "Area" and "Position" of Excel 97, a title above each
# header; written with xlwt 1.3.0 (the cells are those of ROWS), zlib, base64.
XLS = (
    "eNrtWE1ME0EUfrM/7bYWaMtPBAxpSERFLupBL1D5UcJBgooRiVELbExDaUmtBzwoij2o0Zh40ngh4WJMUC/+REn05kGC"
    "0YOJiQno0ZOJJh6A9c3b2aVberCJEiX7mnnz3ps3M9/OezOz3bdzofnJRzULkEctIMOy4QNPjo1h8VlKELDdMLho1RoW"
    "w6X/inwaBtKjwvOSN14eQx7vBZDgofIKOcBnLMdhFLpTST2yhtRGGGKMY2hmCuaeBHexlEI14QoTHyReTvwB+b4gvpcs"
    "14k3o+8864e5aHfjHpHHfVI9tZUiZ/CE+nwkyw6ohNc8jy/cZKavCq3peCzxbzbUKQGYAoxcp57U07HEPFRgCKfghxEB"
    "+G7t1ZcR1762dgZo/+m0ewvYb0kKwDgYpxhPxCwEoE3hLQqGV49l8ZRt9JhHa0/qTDwTTyUX4QpsotTlXuSG1ZFkPINV"
    "b3xExyzu6kD57MiJnXgiW/38K2KkL1c5lqv0Y4/2WEY/nUqPob09lUjog7wFU6w3HRsc7uqQ+NA4/uHRVMbPbwQ6QYKO"
    "E6SE9lUA+RCUkRyi3RXEB1m89+3dgYGe6EmyjNOtYd4tm/ligAEXeQ/sXEotMpgLAtBIPbYTv0Sj1pJcQ7wC9wTWDT2V"
    "Qtg/QT6XqbUB59lF9D66JUfeinL268Gnddkv0W0oT3cunKuY/hCdhHq864awP/9NQBNrYnduc3oWtWomTqFPxKtXnUia"
    "FBTPZogLtAyWwE9iiDj3YPR0Tg9me5gaXz9ma5JYTVOTUZPFWFLeWOclP9lCsFsz/c1Y8NWcIfR8LA95SLTWLVIYHnMR"
    "z9AVWos4m28avnUXZzUnzr6CcfY44ux1xFlzxHklBxTUfLamoua3NY8jP7yobbA1LS9bchHNwEaRLdfKOS+10UkidziG"
    "AFiZxDGU2JoqntXMOY/oKUv8jvWKbNZnZ1vNdk1g5DjkAjhkmru2shAO2YFDduCQHThkwuEXOORVOGTC4RE4lAI4FJr7"
    "fhXn4TwcigOH4sChOHAohCMscCircCiEwy9wqAVwqDT3Dcb5VeJ1Ng7VgUN14FAdOFR7PUxNE6tLux4K7XqXXHLJJZfW"
    "JzG6Rcy3bH7XqeJNzCu+6yxhWXY/k6xbOgQp/GXwb+k+SGKdhrGi8qcKVGaNxX6zj/W9kNNRnD0NwzBAOIaLzl98M2e5"
    "z/PbHYN/bgsVO/9yMTj/8vy/ANHYRGU="
)


def test_excel_97(tmp_path):
    pytest.importorskip("python_calamine")
    path = write(tmp_path, zlib.decompress(base64.b64decode(XLS)), "Neu1.xls")
    expected = open_tracks(write(tmp_path, imaris()), interval=20)
    xr.testing.assert_identical(open_tracks(path, interval=20), expected)


def test_damaged_excel(tmp_path):
    with pytest.raises(InputError, match=r"Neu1.xlsx: (not readable as Excel|Excel needs)"):
        open_tracks(write(tmp_path, b"PK\x03\x04 rubbish", "Neu1.xlsx"))


# --- real files -------------------------------------------------------------------------------


def test_real_imaris_export(shared_data):
    path = shared_data / "timelapse" / "imaris_statistics" / "organoids_n1_0_10T_Position.csv"
    branched = "of 52 tracks branch, or are two of one number: track 1000045550 has 2 spots in fr"
    with pytest.raises(InputError, match=branched):
        open_tracks(path, branching=False)
    ds = open_tracks(path)
    assert [line.partition(" ")[2][: len(branched)] for line in ds.attrs["notes"]] == [branched]
    # its first row: 132.123,251.681,10.3813,um,Surface,Position,1,1000045546,45546
    first = {name: ds[name].values[0].item() for name in ds.variables if name != "spot_radius"}
    assert first | {"spot_t": 0} == {
        "track": 1000045546, "frame": 0, "spot_id": 45546, "spot_t": 0,
        "spot_x": 132.123, "spot_y": 251.681, "spot_z": 10.3813,
    }  # fmt: skip
    assert (ds.sizes["spot"], len(np.unique(ds.track)), int(ds.frame.max())) == (3769, 52, 46)
    with pytest.raises(InputError, match="an Imaris statistic without positions"):
        open_tracks(path.with_name("organoids_n1_0_10T_Area.csv"))


@pytest.mark.parametrize(
    ("name", "branching"), [("gap_closing", False), ("splitting_merging", True)]
)
def test_trackmate_xml_and_its_edges_agree(shared_data, name, branching):
    stem = shared_data / "timelapse" / "laptrack" / f"trackmate_tracks_with_{name}"
    spacing = [3.0, 2.0, 0.5]
    xml = open_tracks(stem.with_suffix(".xml"), spacing=spacing)
    csv = open_tracks(stem.with_suffix(".csv"), spacing=spacing, branching=branching)
    tracked = xml.isel(spot=np.flatnonzero(xml.track.values >= 0))
    tracked = tracked.isel(spot=np.argsort(tracked.spot_id.values))
    for each in ("track", "frame", "spot_id", "spot_y", "spot_x", "spot_z"):
        np.testing.assert_array_equal(tracked[each], csv[each])
    # a spot of both files: POSITION_X 116.28953440559181 pixels, RADIUS 5
    assert 116.28953440559181 * 0.5 in xml.spot_x.values
    assert (xml.spot_radius == 2.5).all()
    assert xml.attrs["interval"] == 1.0


def test_biotracks_agrees_with_the_trackmate_file_it_was_made_of(shared_data):
    folder = shared_data / "timelapse" / "faketracks" / "trackmate"
    (part,) = find(sources.list_items(str(folder / "dp")))
    assert part.stem == "trackmate"
    said = {"spacing": [1, 1, 1], "branching": True}
    packed = open_tracks([item.uri for item in part.items], **said)
    xml = open_tracks(folder / "FakeTracks.xml", **said)
    one, two = (ds.isel(spot=np.argsort(ds.spot_id.values)) for ds in (packed, xml))
    for each in ("frame", "spot_id", "spot_y", "spot_x"):
        np.testing.assert_array_equal(one[each], two[each])
    differ = np.flatnonzero(one.track.values != two.track.values)
    # track 3 has a gap, at which its converter cut off a lone spot
    assert [(one.track.values[i], two.track.values[i]) for i in differ] == [(-1, 3)]


def test_cellprofilers_biotracks_counts_from_one(shared_data):
    folder = shared_data / "timelapse" / "faketracks" / "cellprofiler" / "output" / "dp"
    (part,) = find(sources.list_items(str(folder)))
    uris = [item.uri for item in part.items]
    ds = open_tracks(uris, spacing=[1, 1, 1], first_frame=1, branching=True)
    assert (ds.sizes["spot"], int(ds.frame.min())) == (228, 0)
    assert "assumed" not in ds.attrs
    assert "assumed" in open_tracks(uris, spacing=[1, 1, 1], branching=True).attrs


def test_celltrackr_text_and_columns_agree(shared_data):
    folder = shared_data / "timelapse" / "celltrackR"
    with pytest.raises(InputError, match=r"no known format: found 2 1 48 90.*format="):
        open_tracks(folder / "t-cells.txt")
    text = open_tracks(folder / "t-cells.txt", format="celltrackr")
    table = open_tracks(folder / "TCells.csv")
    assert table.attrs["interval"] == text.attrs["interval"] == 24.0
    assert table.sizes["spot"] == 4094
    # the table starts as: 1,48.0,90.8534,65.3943
    assert columns(table.isel(spot=[0]), "track", "frame", "spot_t", "spot_x", "spot_y") == [
        [1], [2], [48.0], [90.8534], [65.3943],
    ]  # fmt: skip
    both = {(int(t), int(f)): x for t, f, x in zip(*columns(text, "track", "frame", "spot_x"),
                                                   strict=True)}  # fmt: skip
    same = [both.get((t, f)) == x for t, f, x in zip(*columns(table, "track", "frame", "spot_x"),
                                                     strict=True)]  # fmt: skip
    assert sum(same) > 3000


def test_immunemap_json(shared_data):
    path = shared_data / "timelapse" / "celltrackR" / "immunemap.json"
    with pytest.raises(InputError, match=r"immunemap.json: places are in pixels; say spacing="):
        open_tracks(path)
    ds = open_tracks(path, spacing=[2, 0.5, 0.25], origin=[10, 0, 0], interval=30)
    # id 2: [0,2,2,1],[1,3,3,1],[2,4,4,1],[3,5.5,5.5,1]; z is 1 where there is none
    assert columns(ds, "track", "frame", "spot_t") == [
        [2] * 4 + [3] * 3, [0, 1, 2, 3, 0, 1, 2], [0, 30, 60, 90, 0, 30, 60],
    ]  # fmt: skip
    assert columns(ds, "spot_x", "spot_y", "spot_z") == [
        [0.5, 0.75, 1, 1.375, 0.25, 0.5, 0.75], [1, 1.5, 2, 2.75, 1, 1.5, 2], [10] * 7,
    ]  # fmt: skip


def test_btrack_objects_have_no_tracks(shared_data):
    ds = open_tracks(shared_data / "timelapse" / "btrack" / "test_data.csv", spacing=[1, 2, 3])
    assert set(ds.track.values) == {-1}
    assert columns(ds.isel(spot=[0]), "spot_x", "spot_y") == [[551.43 * 3], [702.62 * 2]]


# --- other formats ----------------------------------------------------------------------------

TRACKMATE = (
    "LABEL,ID,TRACK_ID,QUALITY,POSITION_X,POSITION_Y,POSITION_Z,POSITION_T,FRAME,RADIUS\n"
    "Label,Spot ID,Track ID,Quality,X,Y,Z,T,Frame,Radius\n"
    "Label,Spot ID,Track ID,Quality,X,Y,Z,T,Frame,R\n"
    ",,,(quality),(micron),(micron),(micron),(sec),,(micron)\n"
    "ID7,7,0,9,1.5,2.5,0.5,0,0,4\nID8,8,,9,1.5,2.5,0.5,30,1,4\n"
)


def test_trackmate_table(tmp_path):
    ds = open_tracks(write(tmp_path, TRACKMATE))
    assert columns(ds, "track", "frame", "spot_x", "spot_radius", "spot_id") == [
        [0, -1], [0, 1], [1.5, 1.5], [4, 4], [7, 8],
    ]  # fmt: skip
    plain = TRACKMATE.split("\n")
    bare = open_tracks(write(tmp_path, "\n".join([plain[0], *plain[4:]])))
    assert bare.attrs["assumed"] == [
        "positions are in micrometres", "times (position_t) are in seconds",
    ]  # fmt: skip
    xr.testing.assert_equal(bare, ds)
    with pytest.raises(InputError, match="places are in pixels"):
        open_tracks(write(tmp_path, TRACKMATE.replace("micron", "pixel")))


def test_the_csv_that_dpipe_writes(tmp_path):
    text = (
        "part,spot,spot_id,spot_radius,spot_t,spot_x,spot_y,spot_z,annotator,frame,track\n"
        "m,0,5,,0.5,1,2,3,anna,0,9\nm,1,6,2,30.5,1,2,3,ben,1,9\n"
    )
    ds = open_tracks(write(tmp_path, text))
    assert columns(ds, "track", "frame", "spot_t", "spot_z", "annotator", "spot_id") == [
        [9, 9], [0, 1], [0.5, 30.5], [3, 3], ["anna", "ben"], [5, 6],
    ]  # fmt: skip


def test_immunemap_by_several_authors(tmp_path):
    tracks = [{"id": 1, "author": who, "points": [[0, 1, 2, 3]]} for who in (1, 2)]
    ds = open_tracks(write(tmp_path, json.dumps(tracks), "a.json"), spacing=[1, 1, 1])
    assert columns(ds, "annotator", "track", "spot_z") == [["1", "2"], [1, 1], [3, 3]]


# --- bad input --------------------------------------------------------------------------------

SAME = "1,1,1,um,Spot,Position,2,1000000000,9,"
XML = (
    '<TrackMate><Model spatialunits="{unit}" timeunits="sec"><AllSpots><SpotsInFrame frame="0">'
    '<Spot ID="1" FRAME="{frame}" POSITION_X="{x}" POSITION_Y="2" POSITION_Z="3" RADIUS="1"/>'
    "</SpotsInFrame></AllSpots><AllTracks>{tracks}</AllTracks><FilteredTracks>"
    '<TrackID TRACK_ID="0"/><TrackID TRACK_ID="1"/></FilteredTracks></Model></TrackMate>'
)
GOOD = {"unit": "um", "frame": "0", "x": "1", "tracks": ""}
EDGE = '<Track TRACK_ID="{}"><Edge SPOT_SOURCE_ID="1" SPOT_TARGET_ID="{}"/></Track>'


def xml(**said: str) -> str:
    return XML.format(**(GOOD | said))


@pytest.mark.parametrize(
    ("text", "said", "message"),
    [
        ("", {}, "empty file"),
        (" \n", {}, "empty file"),
        ("a,b\n1,2\n", {}, "of no known format: found a, b; rename columns so that there are a"),
        (imaris().replace("Position Y", "Area"), {}, "an Imaris statistic without positions"),
        ("a,b\n1,2\n", {"format": "btrack"}, "not of format 'btrack': found a, b; expected t, x"),
        (imaris(ROWS[0]).replace("12.5", "oops"), {}, "line 5: position x is 'oops'; expected a"),
        (imaris(ROWS[0].replace("12.5", "nan")), {}, "line 5: position x is 'nan'"),
        (imaris(ROWS[0].replace("12.5", "")), {}, "line 5: position x is ''; expected a number"),
        (imaris(ROWS[0].replace(",1,1000", ",1.5,1000")), {}, "line 5: time is '1.5'; expected"),
        (imaris(ROWS[0].replace(",um,", ",rod,")), {}, "places are in 'rod'; say unit=um, or"),
        (imaris(ROWS[0], ROWS[1].replace("um", "px")), {}, "positions are in px and in um; expec"),
        (imaris(ROWS[0].replace(",1,1000", ",0,1000")), {}, "frame 0 is before the first, 1;"),
        (imaris(), {"frames": 3}, "frame 4 is beyond the movie, which has 3 from 1"),
        (imaris(*ROWS, SAME), {"branching": False}, "track 1000000000 has 2 spots in frame 2; say"),
        (imaris(*ROWS[:2], "", ROWS[2]), {}, "line 7: an empty line inside the table"),
        (imaris("1,2,3"), {}, "line 5: 3 cells; expected 9, as the header"),
        (imaris(header=IMARIS + "Time"), {}, "two columns are called 'time'"),
        (imaris().replace("\n".join(ROWS), ""), {}, "no spots; expected at least one"),
        (imaris(), {"spacing": [1, 1, 1]}, "places are in micrometres; leave spacing out"),
        (b"\0\1\2\3", {}, "not text; expected a table, XML or JSON"),
        ("1 0 5 0\n2 3 9 1\n", {}, "tracks without positions"),
        ("1 2 3\n", {"format": "celltrackr"}, "3 columns; expected track, time, x, y and maybe z"),
        ("1 0 1 1 1\n2 0 1 1 1\n", {"format": "celltrackr"}, "no step to count frames by"),
        ("1 0 1 1 1\n1 10 1 1 1\n1 25 1 1 1\n", {"format": "celltrackr"}, "time 25 s is no mult"),
        ("track_id,x_um,y_um\n1,2,3\n", {}, "no column 'frame' or 't_s'"),
        ("track_id,x_um,y_um,track,frame,spot_x,spot_y,spot_z\n", {}, "may be dpipe or columns"),
        ("t,x," + "y" * 200000, {}, "not a table of text"),
        ("[1, 2", {}, "not JSON"),
        ('{"a": 1}', {}, "JSON, but not immunemap's"),
        ('[{"id": "a", "points": []}]', {"spacing": [1, 1, 1]}, "id is 'a'; expected a whole"),
        ('[{"id": 1, "points": [[0, 1]]}]', {}, "track 1: point [0, 1]; expected [t, x, y, z]"),
        ('[{"id": 1, "points": [[0.5, 1, 1, 1]]}]', {}, "time of a point of track 1 is 0.5"),
        ("<a", {}, "not XML"),
        ("<a/>", {}, "XML, but not TrackMate's: found <a>"),
        ("<TrackMate/>", {}, "no <AllSpots> in the file"),
        (xml(unit="rod"), {}, "places are in 'rod'; say unit=um"),
        (xml(unit=""), {}, "places have no unit in the file; say unit=um"),
        (xml(unit="pixel"), {}, "places are in pixels"),
        (xml(x="a"), {}, "spot 1: POSITION_X is 'a'; expected a number"),
        (xml(frame="0.5"), {}, "<Spot>: FRAME is 0.5; expected a whole number"),
        (xml(tracks=EDGE.format(0, 7)), {}, "track 0 has an edge to spot 7, which is not there"),
        (xml(tracks=EDGE.format(0, 1) + EDGE.format(1, 1)), {}, "spot 1 is in the tracks 0 and 1"),
    ],
)  # fmt: skip
def test_bad_files(tmp_path, text, said, message):
    path = write(tmp_path, text)
    with pytest.raises(InputError) as told:
        open_tracks(path, **said)
    assert str(told.value).startswith("Neu1.csv: ")
    assert message in str(told.value)
    assert "\n" not in str(told.value)
    assert type(told.value) is InputError


def test_good_xml_of_the_bad_ones(tmp_path):
    ds = open_tracks(write(tmp_path, xml()))
    assert columns(ds, "track", "spot_x", "spot_radius") == [[-1], [1], [1]]


@pytest.mark.parametrize(
    ("files", "said", "message"),
    [
        ({"links.csv": "x"}, {"format": "biotracks"}, "no objects.csv; found links.csv"),
        ({"objects.csv": "a\n", "dp.json": "{}"}, {}, "no column 'cmso_object_id'"),
        ({"objects.csv": "{o}0,0,1,2\n", "dp.json": "{"}, {}, "dp.json is not JSON"),
        ({"objects.csv": "{o}0,0,1,2\n", "links.csv": "{l}0,5\n"}, {}, "object 5 is not in obj"),
        ({"objects.csv": "{o}0,0,1,2\n", "links.csv": "{l}0,0\n1,0\n"}, {}, "is in two tracks"),
        ({"objects.csv": "{o}0,0,1,2\n", "dp.json": '{"cmso_space_unit": "rod"}'}, {}, "in 'rod'"),
        ({"objects.csv": "{o}0,0,1,2\n", "links.csv": " "}, {}, "empty file"),
    ],
)
def test_bad_packages(tmp_path, files, said, message):
    header = {"o": "cmso_object_id,cmso_frame_id,cmso_x_coord,cmso_y_coord\n",
              "l": "cmso_link_id,cmso_object_id\n"}  # fmt: skip
    for name, text in files.items():
        filled = text.replace("{o}", header["o"]).replace("{l}", header["l"])
        write(tmp_path, filled, name)
    with pytest.raises(InputError, match=message):
        open_tracks([str(tmp_path / name) for name in files], spacing=[1, 1, 1], **said)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"format": "trackmat"}, "unknown format 'trackmat'; did you mean 'trackmate'"),
        ({"spacing": [1, 1]}, "spacing: found .1, 1.; expected z, y, x in micrometres"),
        ({"spacing": [1, 1, 0]}, "spacing: found"),
        ({"spacing": "wide"}, "spacing: found 'wide'"),
        ({"origin": [0, 0, float("nan")]}, "origin: found"),
        ({"interval": 0.0}, "interval: found 0.0; expected seconds above 0"),
    ],
)
def test_bad_options(tmp_path, said, message):
    with pytest.raises(UsageError, match=message):
        open_tracks(write(tmp_path, imaris()), **said)


def test_no_file_at_all(tmp_path):
    with pytest.raises(UsageError, match="no file given"):
        open_tracks([])
    with pytest.raises(InputError, match=r"gone.csv: no such file"):
        open_tracks(tmp_path / "gone.csv")
    with pytest.raises(InputError, match="cannot be read"):
        open_tracks(tmp_path)


def test_everything_is_of_the_vocabulary(tmp_path):
    ds = open_tracks(write(tmp_path, imaris(), "annotator=a/Neu1_ch1.csv"))
    for name in ds.variables:
        assert schema.VARIABLES[str(name)].check(ds) is not None


# --- at the borders ---------------------------------------------------------------------------


def timed(folder: Path, *rows: tuple[object, ...], name: str = "t_s") -> Path:
    """Write a table of (track, time) at x, y = 0; or of (track, frame, time)."""
    head = "track_id,frame,t_s" if len(rows[0]) == 3 else f"track_id,{name}"
    lines = "".join(f"{','.join(map(str, row))},0,0\n" for row in rows)
    return write(folder, f"{head},x_um,y_um\n{lines}")


def test_how_far_off_a_frame_a_time_may_lie(tmp_path: Path) -> None:
    """A hundredth of the step that the times say; a quarter of one that a person says."""
    ds = open_tracks(timed(tmp_path, (1, 0), (1, 100), (2, 1)))
    assert ds.frame.values.tolist() == [0, 1, 0]
    with pytest.raises(InputError, match=r"time 1.01 s is no multiple of the interval 100 s"):
        open_tracks(timed(tmp_path, (1, 0), (1, 100), (2, 1.01)))
    ds = open_tracks(timed(tmp_path, (1, 25), (1, 100), (1, 200)), interval=100)
    assert ds.frame.values.tolist() == [0, 1, 2]
    with pytest.raises(InputError, match=r"time 26 s is no multiple of the interval 100 s"):
        open_tracks(timed(tmp_path, (1, 26), (1, 100), (1, 200)), interval=100)


def test_an_interval_a_hundredth_off_the_files_is_no_contradiction(tmp_path: Path) -> None:
    path = timed(tmp_path, (1, 0, 0), (1, 1, 100.9), (1, 2, 201.8))
    assert "notes" not in open_tracks(path, interval=100).attrs
    path = timed(tmp_path, (1, 0, 0), (1, 1, 101.1), (1, 2, 202.2))
    assert open_tracks(path, interval=100).attrs["notes"] == [
        "interval=100 is taken; by the file, frames are 101.1 s apart"
    ]


def test_the_interval_is_the_median_of_the_steps(tmp_path: Path) -> None:
    path = timed(tmp_path, (1, 0, 0), (1, 1, 10), (1, 2, 20), (1, 3, 100))
    assert open_tracks(path).attrs["interval"] == 10


def test_frames_are_counted_below_2_to_the_power_of_53(tmp_path: Path) -> None:
    last = 2**53 - 1
    found = open_tracks(timed(tmp_path, (1, last - 1), (1, last)), time_unit="frame")
    assert found.frame.values.tolist() == [last - 1, last]
    with pytest.raises(InputError, match="times are no whole numbers of frames"):
        open_tracks(timed(tmp_path, (1, last), (1, last + 1)), time_unit="frame")


@pytest.mark.parametrize("option", ["first_frame", "frames"])
def test_numbers_of_frames_are_below_2_to_the_power_of_40(tmp_path: Path, option: str) -> None:
    path = timed(tmp_path, (1, 2**40 - 1, 0), (1, 2**40, 1))
    with pytest.raises(UsageError, match=f"{option}: found {2**40}; expected a whole number"):
        open_tracks(path, **{option: 2**40})
    if option == "first_frame":
        assert open_tracks(path, first_frame=2**40 - 1).frame.values.tolist() == [0, 1]
    else:
        with pytest.raises(InputError, match=f"frame {2**40} is beyond the movie"):
            open_tracks(path, frames=2**40 - 1)


def test_the_last_frame_of_a_movie_is_one_less_than_their_number(tmp_path: Path) -> None:
    path = timed(tmp_path, (1, 0, 0), (1, 4, 40))
    assert open_tracks(path, frames=5).frame.values.tolist() == [0, 4]
    with pytest.raises(InputError, match="frame 4 is beyond the movie, which has 4 from 0"):
        open_tracks(path, frames=4)
