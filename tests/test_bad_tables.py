"""What bad tables get, told through the command line: one clear line, a flag, or put aside."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import scenes
from meshes import box

import dpipe
from dpipe import cli
from dpipe.formats.imaris_writer import write_imaris

RUN = ("--workers", "0", "--quiet", "--store", "store")
POSITIONS = "Position X,Position Y,Position Z,Unit,Time,TrackID,ID\n"
PHASES = "video_id,event_index_in_video,blebbing_start,blebbing_end,disruption_start,disruption_end"
GOOD = [(1, t, 32, 105, -75 + t) for t in (1, 2, 3, 4)]
# (track, time from 1, z, y, x); the image lies from 29 to 37, 99.75 to 111.75, -80.25 to -64.25


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Path:
    """A folder with two movies of four frames, `Neu1` and `Neu2`, and their store."""
    folder = tmp_path_factory.mktemp("lab")
    for name in ("Neu1", "Neu2"):
        movie(folder / "raw" / f"{name}.ims")
    return folder


@pytest.fixture
def dp(lab, capsys, monkeypatch):
    """Run the command line in the lab's folder; lines but the report's, and the exit code."""
    monkeypatch.chdir(lab)

    def run(*args, code=0) -> SimpleNamespace:
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            cli.main([str(arg) for arg in args])
        told = capsys.readouterr()
        assert end.value.code == code, told.err + told.out
        lines = [line for line in told.out.splitlines() if not line.startswith("report: ")]
        said = [line for line in lines if line.startswith(("note: ", "put aside: "))]
        return SimpleNamespace(lines=lines, said=said, last=lines[-1:], err=told.err)

    if not Path("store").exists():
        run("make", "leuko", "--reader", "imaris", "--source", "raw/*.ims", *RUN)
    return run


def movie(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_imaris(
        path, np.zeros((4, 2, 4, 24, 32), "u1"), spacing=(2, 0.5, 0.5), origin=(30, 100, -80),
        interval=30, channels=["GFP", "DiD"], levels=1,
    )  # fmt: skip


def positions(rows, unit: str = "um") -> str:
    lines = [f"{x},{y},{z},{unit},{t},{k},{i}\n" for i, (k, t, z, y, x) in enumerate(rows)]
    return POSITIONS + "".join(lines)


def write(folder: str, **texts: str) -> str:
    Path(folder).mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        Path(folder, f"{name}.csv").write_text(text, encoding="utf-8")
    return f"{folder}/*.csv"


def read(dp, name: str, code: int = 0, **texts: str) -> SimpleNamespace:
    source = write(name, **texts)
    return dp("make", name, "--reader", "tracks", "--source", source, "--option", "interval=30",
              *RUN, code=code)  # fmt: skip


def check(dp, name: str, code: int = 0) -> SimpleNamespace:
    return dp("make", f"{name}-checks", "--operator", "track-checks", "--input", "ds=leuko",
              "--input", f"tracks={name}", *RUN, code=code)  # fmt: skip


# --- meshes -----------------------------------------------------------------------------------


def test_a_triangle_names_a_vertex_that_is_not_there_and_meshes_with_holes_or_nothing(dp):
    vertices, faces = box((31, 102, -78), (35, 106, -72))
    torn = faces.copy()
    torn[0, 0] = 99
    for name, meshes in {
        "Neu1": [(0, vertices, faces), (1, vertices, torn)],
        "Neu2": [(0, vertices, faces), (1, vertices, faces[1:]), (2, vertices[:0], faces[:0])],
    }.items():
        scenes.surfaces(movie(Path("cells", f"{name}.ims")), 0, meshes)
    dp("make", "cells", "--reader", "imaris-surfaces", "--source", "cells/*.ims", *RUN)
    dp("make", "sizes", "--operator", "surface-measures", "--input", "cells", *RUN)
    flags = [dpipe.open("store", "sizes", part=n).surface_flag.values.tolist() for n in ("Neu1",)]
    assert flags == [[0, 16]]  # missing_vertex
    sizes = dpipe.open("store", "sizes", part="Neu2")
    assert sizes.surface_flag.values.tolist() == [0, 2, 1]  # not_closed, empty
    np.testing.assert_allclose(sizes.surface_volume, [4 * 4 * 6, np.nan, np.nan], rtol=1e-6)
    told = dp("make", "masks", "--operator", "mesh-masks", "--input", "ds=leuko",
              "--input", "surfaces=cells", *RUN, code=3)  # fmt: skip
    assert told.said == [
        "put aside: masks/Neu1: surfaces: number 1 of the table (frame 1) has 8 vertices and a "
        "triangle that names vertex 99; export it again"
    ]
    assert told.last == ["done, some put aside: 2 planned = 1 made + 0 reused + 1 put aside"]
    labels = dpipe.open("store", "masks").labels.values
    assert [np.unique(frame).tolist() for frame in labels] == [[0, 1], [0, 2], [0], [0]]
    strict = dp("make", "strict", "--operator", "mesh-masks", "--input", "ds=leuko", "--input",
                "surfaces=cells", "--param", "unclosed=refuse", *RUN, code=4)  # fmt: skip
    assert strict.said[1].endswith("number 1 of the table (frame 1) has holes, so it has no inside")


# --- tracks -----------------------------------------------------------------------------------


def test_tracks_outside_the_movie_in_pixels_or_beyond_its_end(dp):
    pixels = [(1, t, 1, 10, 20 + t) for t in (1, 2, 3, 4)]
    late = [(1, t, 32, 105, -75 + t) for t in (3, 4, 5, 6)]
    read(dp, "odd", Neu1=positions(pixels), Neu2=positions(late))
    told = check(dp, "odd")
    assert told.said == [
        "note: odd-checks: Neu1: 4 of 4 spots are odd: outside_image 4",
        "note: odd-checks: Neu1: places: 4 of 4 lie outside the image; they would fit as pixels: "
        "read the tracks with unit=pixel, spacing=[2,0.5,0.5], origin=[30,100,-80]",
        "note: odd-checks: Neu2: 2 of 4 spots are odd: beyond_last_frame 2",
        "note: odd-checks: Neu2: frames: 2 of 4 are not in the movie: they run from 2 to 5, its "
        "own from 0 to 3; are they of another movie, or is this one cut?",
    ]
    assert told.last == ["done: 2 planned = 2 made + 0 reused + 0 put aside"]
    checks = dpipe.open("store", "odd-checks", part="Neu2")
    assert checks.spot_flag.values.tolist() == [0, 0, 4, 4]
    assert (checks.attrs["spots_good"], checks.attrs["spots_flagged"]) == (2, 2)
    shown = dp("show", "odd-checks", "--store", "store")
    assert "  note: Neu2: 2 of 4 spots are odd: beyond_last_frame 2" in shown.lines


def test_what_a_verdict_says_to_do_helps(dp):
    pixels = positions([(1, t, 1, 10, 20 + t) for t in (1, 2, 3, 4)])
    source = write("cured", Neu1=pixels, Neu2=pixels)
    dp("make", "cured", "--reader", "tracks", "--source", source, "--option", "interval=30",
       "--option", "unit=pixel", "--option", "spacing=[2,0.5,0.5]",
       "--option", "origin=[30,100,-80]", *RUN)  # fmt: skip
    assert check(dp, "cured").said == []
    places = dpipe.open("store", "cured", part="Neu1")
    assert [places[f"spot_{d}"].values[0] for d in "zyx"] == [32, 105, -69.5]


def test_frames_that_count_from_one_more(dp):
    text = positions([(k, t + 1, z, y, x) for k, t, z, y, x in GOOD])
    read(dp, "later", Neu1=text, Neu2=text)
    (_, _, _, line) = check(dp, "later").said
    assert line.endswith("they would fit counted from 1: read the tracks with first_frame=2")


def test_tracks_of_other_movies_are_named(dp):
    read(dp, "some", Neu1=positions(GOOD), Neu_2=positions(GOOD), Neu9=positions(GOOD))
    told = check(dp, "some")
    assert told.said == [
        "note: some-checks: 1 of 2 parts of leuko left out, without a partner in some: Neu2 "
        "('Neu_2' there: rename one)",
        "note: some-checks: 2 of 3 parts of some left out, without a partner in leuko: Neu9, "
        "Neu_2 ('Neu2' there: rename one)",
    ]
    assert told.last == ["done: 1 planned = 1 made + 0 reused + 0 put aside"]
    read(dp, "none", Neu9=positions(GOOD))
    told = check(dp, "none", code=2)
    assert told.err == (
        "UsageError: none-checks: nothing to make; 2 of 2 parts of leuko left out, without a "
        "partner in none: Neu1, Neu2; 1 of 1 parts of none left out, without a partner in leuko: "
        "Neu9\n"
    )


def test_wrong_columns_are_put_aside_and_two_tracks_of_one_number_noted(dp):
    twins = [*GOOD, (1, 1, 32, 104, -70), (1, 2, 32, 104, -70)]
    told = read(dp, "twins", code=3, Neu1="a,b\n1,2\n", Neu2=positions(twins))
    assert told.said[0] == (
        "note: twins: Neu2: 1 of 1 tracks branch, or are two of one number: track 1 has 2 spots "
        "in frame 1"
    )
    assert told.said[1].startswith(
        "put aside: twins/Neu1: Neu1.csv: of no known format: found a, b; rename columns so that "
    )
    assert told.last == ["done, some put aside: 2 planned = 1 made + 0 reused + 1 put aside"]
    flags = check(dp, "twins")
    assert "note: twins-checks: Neu2: 4 of 6 spots are odd: duplicate 4" in flags.said
    speeds = dp("make", "speeds", "--operator", "track-measures", "--input", "twins", *RUN)
    assert speeds.said == [
        "note: speeds: Neu2: 1 of 1 tracks not measured: several spots in one frame"
    ]
    measured = dpipe.open("store", "speeds")
    assert measured.track_branches.values.tolist() == [2]
    assert np.isnan(measured.track_length.values).all()
    strict = dp("make", "strict-twins", "--reader", "tracks", "--source", "twins/Neu2.csv",
                "--option", "branching=false", *RUN, code=4)  # fmt: skip
    assert strict.said[0].endswith("in frame 1; say branching=true to take them")


# --- phases and annotators --------------------------------------------------------------------


def test_phases_without_a_track_and_tracks_without_phases(dp):
    other = [(2, t, 32, 110, -75 + t) for t in (1, 2, 3, 4)]
    read(dp, "walks", Neu1=positions([*GOOD, *other]), Neu2=positions(GOOD))
    # an event beyond the movie, one of a movie that is not there, one whose phases overlap
    rows = "Neu 2,1,1,2,3,4\nNeu1,1,90,92,93,99\nNeu7,1,1,2,3,4\nNeu2,2,1,3,3,4\n"
    table = write("table", table2=f"{PHASES}\n{rows}")
    told = dp("make", "phases", "--reader", "phases", "--source", table, *RUN)
    assert told.said == ["note: phases: table2: 1 of 4 events are odd: phases_overlap 1"]
    told = dp("make", "joined", "--operator", "phase-tracks", "--input", "phases=phases",
              "--input", "tracks=walks", *RUN)  # fmt: skip
    assert told.said == [  # both events of Neu2 claim its only track
        "note: joined: 4 of 4 events are odd: phases_overlap 1, no_track 2, ambiguous_track 2",
        "note: joined: 3 of 3 tracks without phases: neu1/1, neu1/2, neu2/1",
    ]
    assert dpipe.open("store", "joined").phase_track.values.tolist() == [-1, -1, -1, -1]
    told = dp("make", "no-phases", "--reader", "phases",
              "--source", write("rubbish", bad="x,y\n1,2\n"), *RUN, code=4)  # fmt: skip
    assert told.said == [
        "put aside: no-phases/bad: bad.csv: not a table of phases: found x, y; expected video_id, "
        "blebbing_start, blebbing_end, disruption_start, disruption_end"
    ]


def test_an_annotator_is_missing(dp):
    write("marks/annotator=anna", Neu1=positions(GOOD), Neu2=positions(GOOD))
    write("marks/annotator=ben", Neu1=positions(GOOD))
    read = dp("make", "marks", "--reader", "tracks", "--source", "marks", *RUN)
    assert read.last == ["done: 3 planned = 3 made + 0 reused + 0 put aside"]
    told = dp("make", "agreed", "--operator", "consensus-tracks", "--input", "marks", *RUN, code=3)
    assert told.said == [
        "note: agreed: Neu1: 2 annotators; 3 were expected",
        "put aside: agreed/Neu2: 1 annotator (anna); a consensus needs at least two",
    ]
    rows = "Neu1,1,1,2,3,4,anna\nNeu1,1,1,2,3,4,ben\nNeu1,2,1,2,3,4,ben\n"
    table = write("phase-marks", table2=f"{PHASES},annotator\n{rows}")
    dp("make", "phase-marks", "--reader", "phases", "--source", table, *RUN)
    told = dp("make", "agreed-phases", "--operator", "consensus-phases", "--input", "phase-marks",
              *RUN)  # fmt: skip
    assert told.said == [
        "note: agreed-phases: table2: 2 annotators; 3 were expected",
        "note: agreed-phases: table2: 2 of 2 events are odd: no_disruption 1, annotator_missing 2",
    ]
