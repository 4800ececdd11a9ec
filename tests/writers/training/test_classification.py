"""Crops for classification: every value comes back, in folders by split and label."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from windows import CHANNELS, crops

from dpipe import schema
from dpipe.errors import RefusedError, SchemaError, UsageError
from dpipe.writers import write_classification


def read(folder):
    said = json.loads((folder / "index.json").read_text("utf-8"))
    with (folder / "index.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == [row["file"] for row in said["files"]]
    assert sum(n for one in said["counts"].values() for n in one.values()) == len(rows)
    on_disk = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.tif"))
    assert on_disk == sorted(row["file"] for row in rows)
    return said, rows


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4", "f8"])
@pytest.mark.parametrize("chunks", [None, (1, 4, 2, 5, 6), (2, 1, 1, 5, 6)])
def test_sequences(tmp_path, dtype, chunks):
    ds = crops(dtype=dtype, chunks=chunks)
    paths = write_classification({"Neu1": ds}, tmp_path / "out", split="train")
    said, rows = read(tmp_path / "out")
    assert [row["file"] for row in rows] == [
        "train/1/Neu1_cell1.tif", "train/1/Neu1_cell2.tif", "train/0/Neu1_cell3.tif",
    ]  # fmt: skip
    assert [str(Path(path).relative_to(tmp_path / "out")) for path in paths] == [
        *(row["file"] for row in rows), "index.csv", "index.json",
    ]  # fmt: skip
    for i, row in enumerate(rows):
        with tifffile.TiffFile(tmp_path / "out" / row["file"]) as file:
            assert file.series[0].axes == "TCYX"
            assert len(file.pages) == 4 * 2
            assert 'PhysicalSizeX="0.25"' in file.ome_metadata
            assert 'TimeIncrement="30.0"' in file.ome_metadata
            assert 'Name="DiD"' in file.ome_metadata
            found = file.asarray()
        assert found.dtype == ds.crop.dtype
        np.testing.assert_array_equal(found, ds.crop[i])
    assert said["counts"] == {"train": {"0": 1, "1": 2}, "validation": {}, "test": {}}
    assert said["frames_left_out"] == 0
    assert rows[1] | {"inside": ""} == {
        "file": "train/1/Neu1_cell2.tif", "event": "Neu1_cell2", "label": "1", "kind": "event",
        "like": "", "movie": "Neu1", "track": "0", "event_channel": "DiD,GFP",
        "frames": "2 3 4 -1", "valid": "1 1 1 0", "times": "   ", "phases": "2 0 1 2", "inside": "",
        "split": "train", "channels": "GFP,DiD",
    }  # fmt: skip
    assert said["files"][1]["frames"] == [2, 3, 4, -1]
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        *schema.SPLITS, "index.csv", "index.json",
    }  # fmt: skip


@pytest.mark.parametrize("depth", [0, 3])
def test_single_frames(tmp_path, depth):
    ds = crops(depth=depth)
    write_classification({"Neu1": ds}, tmp_path / "out", split="test", frames="single",
                         channels="DiD")  # fmt: skip
    said, rows = read(tmp_path / "out")
    # the last frame of each lies beyond the movie; the second of the two events has phase 0
    assert [row["file"] for row in rows] == [
        *(f"test/1/Neu1_cell{i}_t00{k}.tif" for i in (1, 2) for k in (0, 2)),
        *(f"test/0/Neu1_cell3_t00{k}.tif" for k in range(3)),
    ]
    assert said["frames_left_out"] == 3 + 2
    assert (rows[1]["frames"], rows[1]["phases"], rows[1]["channels"]) == ("4", "1", "DiD")
    for row in rows:
        with tifffile.TiffFile(tmp_path / "out" / row["file"]) as file:
            assert len(file.pages) == (depth or 1)
            found = file.asarray()
        event = ds["crop_volume" if depth else "crop"].sel(event=row["event"])
        np.testing.assert_array_equal(found.squeeze(), event[int(row["frames"]) - 2, 1])


def test_a_negative_gives_the_frames_of_its_event(tmp_path):
    """Else the place in the sequence, and that there are more of them, would tell the class."""
    ds = crops().assign_coords(event_like=("event", ["", "", "Neu1_cell2"]))
    write_classification({"Neu1": ds}, tmp_path / "out", split="test", frames="single")
    _, rows = read(tmp_path / "out")
    assert [row["file"].rpartition("_")[2] for row in rows] == ["t000.tif", "t002.tif"] * 3
    assert {row["valid"] for row in rows} == {"1"}
    assert [row["like"] for row in rows[-2:]] == ["Neu1_cell2"] * 2


@pytest.mark.parametrize("count", [3, 4])
def test_what_tells_the_class_is_said(tmp_path, count):
    """Of all negatives the last two frames are filling, of events one; four of each say it."""
    ds = crops(labels=[1] * count + [0] * count, frames=5)
    ds["crop_frame"][count:, 3] = -1
    if count < 4:
        write_classification({"Neu1": ds}, tmp_path / "out", split="train")
    else:
        with pytest.warns(UserWarning, match="the number of frames tells the class of every file"):
            write_classification({"Neu1": ds}, tmp_path / "out", split="train")
    said = json.loads((tmp_path / "out/index.json").read_text())
    assert len(said["telling"]) == (count == 4)
    parts = {"Neu1": crops(labels=[1] * 4), "Neu2": crops("Neu2", [0] * 4, dtype="u1", size=7)}
    with pytest.warns(UserWarning, match="the kind of numbers tells .*the size of pictures tells"):
        write_classification(parts, tmp_path / "other", split="train")


def test_when_frames_were(tmp_path):
    times = np.array([[30.0, 75.5, 90, np.nan]] * 3)
    ds = crops().assign_coords(crop_time=(("event", "t"), times))
    write_classification({"Neu1": ds}, tmp_path / "out", split="test")
    said, rows = read(tmp_path / "out")
    assert rows[0]["times"] == "30.0 75.5 90.0 "
    assert said["files"][0]["times"] == [30.0, 75.5, 90.0, None]


def test_frames_of_unknown_phase_stay(tmp_path):
    ds = crops(labels=(1,))
    ds["crop_phase"] = ds.crop_phase * 0 + np.uint8(schema.PHASE_UNKNOWN)
    write_classification({"Neu1": ds}, tmp_path / "out", split="test", frames="single")
    assert len(read(tmp_path / "out")[1]) == 3


def test_volumes(tmp_path):
    ds = crops(depth=3)
    write_classification({"Neu1": ds}, tmp_path / "out", split="train")
    with tifffile.TiffFile(tmp_path / "out/train/1/Neu1_cell1.tif") as file:
        assert file.series[0].axes == "TCZYX"
        np.testing.assert_array_equal(file.asarray(), ds.crop_volume[0])
        assert 'PhysicalSizeZ="2.0"' in file.ome_metadata


def test_the_channel_of_each_event(tmp_path):
    """One without takes that of most events: two in the second channel, one in the first."""
    ds = crops(labels=(1, 1, 1, 0))
    ds["event_channel"] = ("event", np.array(["ch2", "DiD,GFP", "GFP", ""]))
    write_classification({"Neu1": ds}, tmp_path / "out", split="train", channels="event")
    for i, (row, channel) in enumerate(zip(read(tmp_path / "out")[1], (1, 1, 0, 1), strict=True)):
        assert row["channels"] == CHANNELS[channel]
        found = tifffile.imread(tmp_path / "out" / row["file"])
        np.testing.assert_array_equal(found, ds.crop[i, :, channel])


def test_movies_of_unlike_length_in_their_splits(tmp_path):
    parts = {"Neu1": crops(), "Neu2": crops("Neu2", (0,), frames=6, size=7, dtype="u1", seed=1)}
    parts["Neu3"] = crops("Neu3", ())  # a movie without events needs no split
    write_classification(parts, tmp_path / "out", split={"Neu1": "train", "Neu2": "test"})
    said, rows = read(tmp_path / "out")
    assert said["counts"] == {"train": {"0": 1, "1": 2}, "validation": {}, "test": {"0": 1}}
    assert rows[-1]["file"] == "test/0/Neu2_cell1.tif"
    (tmp_path / "again").mkdir()
    index = tmp_path / "out/index.csv"  # the split of one export serves the next
    write_classification(parts, tmp_path / "again", split=index, frames="single")
    assert len(read(tmp_path / "again")[1]) == 3 * 3 - 2 + 5


def test_nothing_but_movies_without_events(tmp_path):
    write_classification({"Neu1": crops(labels=())}, tmp_path / "out")
    said, rows = read(tmp_path / "out")
    assert (said["files"], rows) == ([], [])


def test_the_same_frame_in_two_splits(tmp_path):
    one, other = crops(), crops("Neu2", seed=1)
    other.crop[1, 2] = one.crop[0, 1]
    with pytest.raises(RefusedError) as told:
        write_classification({"Neu1": one, "Neu2": other}, tmp_path / "out",
                             split={"Neu1": "train", "Neu2": "test"})  # fmt: skip
    assert "Neu2_cell2, frame 2 in test has the very pixels of Neu1_cell1, frame 1 in" in str(
        told.value
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "options", "error", "said"),
    [
        (lambda ds: ds, {"frames": "all"}, UsageError, "frames='all'; expected 'sequence' or"),
        (lambda ds: ds, {"channels": "CFP"}, UsageError, "Neu1: unknown channel 'CFP'"),
        (lambda ds: ds.rename(crop="cut"), {}, SchemaError, "Neu1: no crops to write; expected"),
        (lambda ds: ds.drop_vars("label"), {}, SchemaError, "no variable 'label'"),
        (
            lambda ds: ds.assign(crop=ds.crop.astype("u8") + 2**40), {},
            SchemaError, "Neu1: OME-TIFF holds no uint64 from 1099511627776 to",
        ),
        (
            lambda ds: ds.assign_coords(event=["a", "../b", "c"]), {},
            SchemaError, "Neu1: event '../b': its name is no file name",
        ),
        (
            lambda ds: ds.assign_coords(event=["a", "a", "c"]), {},
            SchemaError, "Neu1: two events are called 'a'",
        ),
        (
            lambda ds: ds.assign_coords(event_channel=("event", ["", "", ""])),
            {"channels": "event"}, SchemaError, "Neu1: no event says its channel; name channels",
        ),
        (
            lambda ds: ds.assign_coords(event_channel=("event", ["ch4", "", "ch1"])),
            {"channels": "event"}, SchemaError, "Neu1: no channel 'ch4'. Found: GFP, DiD",
        ),
    ],
)  # fmt: skip
def test_what_is_refused(tmp_path, change, options, error, said):
    with pytest.raises(error) as told:
        write_classification({"Neu1": change(crops())}, tmp_path / "out", split="train", **options)
    assert said in str(told.value)
    assert "\n" not in str(told.value)
    assert list(tmp_path.iterdir()) == []
