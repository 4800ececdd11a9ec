"""Tables through a recipe: from files of three annotators to events with phases, and back."""

import json
from pathlib import Path

import numpy as np
import pytest

from dpipe import api, schema
from dpipe.build import run
from dpipe.build.recipe import parse
from dpipe.catalog import open_store, resolve
from dpipe.config import Settings
from dpipe.operators import consensus_tracks, track_measures
from dpipe.readers import open_tracks
from dpipe.writers import export

RECIPE = """
name: events
datasets:
  marked: {{reader: tracks, source: {raw}/tracks, options: {{interval: 30}}}}
  events: {{operator: consensus-tracks, input: marked}}
  measures: {{operator: track-measures, input: events}}
  table: {{reader: phases, source: {raw}/phases.csv}}
  joined: {{operator: phase-tracks, input: {{phases: table, tracks: events}}}}
  conditions: {{reader: conditions, source: {raw}/conditions.csv}}
"""
HEADER = "Position X,Position Y,Position Z,Unit,Category,Collection,Time,TrackID,ID\n"


def cells(path: Path, shift: float, *tracks: tuple[int, range]) -> None:
    """Write an Imaris export: tracks of 1-based times, 100 um apart, moving 1 um a frame."""
    rows = [
        f"{100 * (track % 10) + time + shift},5,2,um,Spot,Position,{time},{track},{i}"
        for i, (track, time) in enumerate((track, t) for track, times in tracks for t in times)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("Cell deaths\n\n" + HEADER + "\n".join(rows) + "\n")


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "raw"
    for who, shift in (("anna", 0.0), ("ben", 1.0), ("cleo", 5.0)):
        place = folder / "tracks" / f"annotator={who}"
        cells(place / "Neu1_ch1.csv", shift, (1000000001, range(3, 11)))
        if who != "cleo":
            cells(place / "Neu2_ch1.csv", shift, (1000000002, range(1, 6)))
    cells(folder / "tracks" / "annotator=cleo" / "Neu2_ch1.csv", 0, (1000000007, range(1, 6)))
    (folder / "phases.csv").write_text(
        "video_id,blebbing_start,blebbing_end,disruption_start,disruption_end,channel\n"
        "Neu1,3,5,6,10,ch1\nNeu 2,1,2,3,4,ch2\n"
    )
    (folder / "conditions.csv").write_text(
        "video_id,ch1,markers,fluorophore,organ,stimuli,objective\n"
        "Neu1,Neu,CK6,CFP,Spleen,UVPR8,40x\nNeu 2,,,,,,\n"
    )
    return folder


def test_from_files_to_events_and_back(raw: Path, tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    objects = open_store(store, create=True)
    settings = Settings(workers="0", author="ann")
    done = run.run(parse(RECIPE.format(raw=raw)), objects, settings, progress=False)
    made = {step["dataset"]: len(step["made"]) for step in done.steps}
    assert made == {"marked": 2, "events": 2, "measures": 2, "table": 1, "joined": 1,
                    "conditions": 1}  # fmt: skip

    marked = api.open(store, "marked", part="Neu1")
    direct = open_tracks([str(raw / "tracks" / f"annotator={who}" / "Neu1_ch1.csv")
                          for who in ("anna", "ben", "cleo")], interval=30)  # fmt: skip
    for name in direct.variables:
        np.testing.assert_array_equal(marked[name].values, direct[name].values)
        assert marked[name].dtype.kind == direct[name].dtype.kind
        assert marked[name].attrs == direct[name].attrs
    assert set(marked.coords) == {"track", "frame", "annotator", "spot_channel"}

    # anna and ben stand 1 um apart, cleo 4 um from ben: their mean is anna's place + 0.5
    events = api.open(store, "events", part="Neu1")
    assert events.spot_x.values.tolist() == [100 + t + 0.5 for t in range(3, 11)]
    assert events.frame.values.tolist() == list(range(2, 10))
    assert float(events.consensus_ratio) == 1.0
    # of Neu2, cleo saw another event: one of two is agreed on
    assert float(api.open(store, "events", part="Neu2").consensus_ratio) == 0.5
    assert consensus_tracks(marked).equals(events.compute())

    measures = api.open(store, "measures", part="Neu1")
    assert measures.track_length.values.tolist() == [7.0]
    assert measures.track_duration.values.tolist() == [7 * 30.0]
    assert measures.compute().equals(track_measures(events).compute())

    joined = api.open(store, "joined")
    no_track = 1 << schema.PHASE_FLAGS.index("no_track")  # Neu2 was marked in channel 1
    assert joined.event.values.tolist() == ["Neu1_1", "Neu2_1"]
    assert joined.phase_flag.values.tolist() == [0, no_track]
    assert joined.phase_track.values.tolist() == [0, -1]
    assert joined.phase_overlap.values.tolist() == [1, 0]
    conditions = api.open(store, "conditions")
    assert conditions.content.values.tolist() == [["Neu"], [""]]
    assert conditions.stimulus.values.tolist() == ["UVPR8", ""]

    again = run.run(parse(RECIPE.format(raw=raw)), objects, settings, progress=False)
    assert [len(step["made"]) for step in again.steps] == [0] * 6


def test_a_damaged_table_is_put_aside(raw: Path, tmp_path: Path) -> None:
    path = raw / "tracks" / "annotator=ben" / "Neu1_ch1.csv"
    path.write_text(path.read_text().replace(",um,", ",rod,"))
    objects = open_store(str(tmp_path / "store"), create=True)
    settings = Settings(workers="0", author="ann", max_quarantine="90%")
    done = run.run(parse(RECIPE.format(raw=raw)), objects, settings, progress=False)
    (aside,) = resolve(objects, "marked").put_aside
    assert "Neu1_ch1.csv: places are in 'rod'; say unit=um" in json.dumps(aside)
    assert done.exit_code == 3


def test_spots_as_csv_and_back(raw: Path, tmp_path: Path) -> None:
    ds = open_tracks(raw / "tracks" / "annotator=ben" / "Neu1_ch1.csv", interval=30)
    (path, *_) = export({"Neu1": ds}, "csv", tmp_path / "out")
    back = open_tracks(path)
    for name in ("track", "frame", "spot_t", "spot_z", "spot_y", "spot_x", "spot_id", "annotator"):
        np.testing.assert_array_equal(back[name].values, ds[name].values)
