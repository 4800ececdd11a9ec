"""The benchmarks run, compare what they say, and print every line."""

import importlib
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from dpipe.operators import NINE

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "movies.py"
VTK = "vtkPolyDataToImageStencil, 0 voxels differ"
EXPECTED = [
    ("Imaris to sharded OME-Zarr, two levels", "ome-zarr-py, its default `resize`"),
    ("Imaris to sharded OME-Zarr, two levels", "ome-zarr-py, its faster `local_mean`"),
    ("Imaris to sharded OME-Zarr, two levels", "ngff-zarr, ITK-Wasm bin shrink"),
    ("Imaris to sharded OME-Zarr, two levels", "codecs alone, level 0"),
    ("Imaris to sharded OME-Zarr, two levels", "the same, blocks as dpipe has them"),
    ("Imaris to sharded OME-Zarr, two levels", "the same, both levels"),
    ("peak memory of a worker that converts", "the same worker when idle; 2 time points"),
    ("peak memory of a worker that converts", "the same worker when idle; 3 time points"),
    ("`frame-quality` on volumes in memory", "decoding them, HDF5 library"),
    ("`frame-quality` on volumes in memory", "decoding them, our Imaris reader"),
    ("`frame-quality` on volumes in memory", "decoding them, our store"),
    ("5 x 5 median", "scipy"),
    ("5 x 5 median", "OpenCV"),
    ("counting cells", "SciPy and scikit-image"),
    ("solid: closed mesh, 512 triangles, 16 x 40 x 40 voxels", VTK),
    ("solid: closed mesh, 2048 triangles, 48 x 96 x 96 voxels", VTK),
    ("solid: closed mesh, 32768 triangles, 128 x 128 x 128 voxels", VTK),
    ("solid: closed mesh, 32768 triangles, 256 x 256 x 256 voxels", VTK),
    ("shell: closed mesh, 512 triangles, 16 x 40 x 40 voxels", "published rule in NumPy, equal"),
    ("60 crops of 59 x 59 over 4 frames", "decoding the chunks they touch"),
    ("15 tracks, crops of 59 x 59 over 4 frames", "decoding the chunks they touch"),
    ("a run that finds all done", "PUTs, clusters"),
    ("a run that finds all done", "importing dpipe"),
]
PEERS = ("ome_zarr", "ngff_zarr", "cv2", "vtkmodules")


@pytest.fixture(scope="module")
def printed() -> list[list[str]]:
    if missing := [name for name in PEERS if importlib.util.find_spec(name) is None]:
        pytest.skip(f"the extra 'bench' is not installed: {', '.join(missing)} missing")
    done = subprocess.run(
        [sys.executable, SCRIPT, "--quick"], capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [[cell.strip() for cell in row.split("|")[1:-1]] for row in done.stdout.splitlines()]


def test_every_line_is_printed(printed):
    head, rule, *rows = printed
    assert head == ["measured", "against", "found", "target", "met"]
    assert set(rule) == {"---"}
    assert [tuple(row[:2]) for row in rows] == EXPECTED
    assert "not run" not in [row[2] for row in rows]


def test_what_does_not_depend_on_speed_is_met(printed):
    """The memory of a worker, and a run with nothing to do; pixels were compared on the way."""
    rows = {(row[0], row[1]): row for row in printed}
    assert rows["a run that finds all done", "PUTs, clusters"][2:] == ["0, 0", "0, 0", "yes"]
    for frames in (2, 3):
        what = f"the same worker when idle; {frames} time points"
        assert rows["peak memory of a worker that converts", what][4] == "yes"


PICTURES = [
    ("nine families, 8 channels, a picture of a block of 4", ""),
    ("Zarr to nine families to Zarr, a whole run", "at least 60"),
    ("client, scheduler and worker for a task of nothing", "at most 2"),
    ("tasks of `ifc`", "at most 6000"),
    ("tasks of `cell-features`", "at most 6000"),
    ("peak memory of a worker that makes features", "at most 1000"),
    ("HDF5 pictures to packed Zarr", "at least 3"),
    ("the same on two processes, wall time, start of the processes not counted", "at least 2000"),
    ("fetching files of 264 KiB from a bucket, 30 ms a GET", "at least 20"),
]


def run_quick(script: str) -> list[list[str]]:
    done = subprocess.run(
        [sys.executable, SCRIPT.with_name(script), "--quick"],
        capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [line for line in done.stdout.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]


def test_cytometry_prints_every_line():
    """It compares both sides before it measures."""
    rows = run_quick("cytometry.py")
    assert [row[0] for row in rows[2:4]] == [
        "nine families, 8 channels, caches warm",
        "nine families, 8 channels, by turns",
    ]
    assert [row[3] for row in rows[2:4]] == ["at least 80", "at least 60"]
    families = [row[0].split("`")[1] for row in rows if row[0].endswith("alone")]
    assert families == [*NINE, "hog"]
    assert [(row[0], row[3]) for row in rows[4 + len(families) :]] == PICTURES
    assert not any("not run" in row for row in rows)
    found = {row[0]: row for row in rows}
    for what in ("tasks of `ifc`", "peak memory of a worker that makes features"):
        assert found[what][4] == "yes", what


GROWTH = [
    ("plan, 20 parts", "at most 8"),
    ("plan", "at most 1.15"),
    ("run, 20 parts", "at most 45"),
    ("run", "at most 1.15"),
    ("open, 20 parts", "at most 3"),
    ("open", "at most 1.15"),
    ("again, 20 parts", "at most 0.3"),
    ("again", "at most 1.15"),
    ("requests of a plan, 20 parts", "at most 1.1"),
    ("requests of a run beyond the Zarr groups, 20 parts", "at most 12"),
    ("requests for the Zarr groups: documents, coordinates, pixels, 20 parts", "at most 16"),
    ("requests of an open, 20 parts", "at most 1.1"),
    ("requests of a second run, 20 parts", "at most 0.1"),
    ("bytes beside pixels and coordinates, 20 parts", ""),
    ("parts that leave, 200 parts", "at most 0.5"),
    ("inputs of parts, 200 parts", "at most 0.5"),
    ("parts put aside, 200 parts", "at most 0.5"),
    ("parts by their stems, 200 parts", "at most 0.5"),
    ("one part more than 1,000", "at most 1"),
    ("one part more than 1,000", ""),
    ("the newest of 1,000 parts", ""),
    ("history of 20", "at most 5"),
    ("history of 20", "at most 4"),
    ("listing of 8", "at most 5"),
    ("listing of 8", "at most 4"),
    ("4,000 packed records in random order", "at most 2"),
]


def test_growth_prints_every_line():
    _, _, *rows = run_quick("growth.py")
    assert [(row[0], row[3]) for row in rows] == GROWTH
    found = {(row[0], row[1]): row for row in rows}
    for what in ("run beyond the Zarr groups", "plan"):
        (row,) = [row for row in rows if row[0] == f"requests of a {what}, 20 parts"]
        assert row[4] == "yes"
        assert row[1].startswith("a part; 4: ")
    assert found["one part more than 1,000", "seals looked at"][2] == "1"


def test_scale_runs_the_whole_recipe():
    """240 pictures: the times differ, the sums must hold."""
    head, rule, *rows = run_quick("scale.py")
    assert head[-1] == "core-hours of all"
    assert set(rule) == {"---"}
    names = [row[0] for row in rows]
    assert names[:5] == ["cells@1", "features@1", "sums@1", "statistics@1", "clean@1"]
    assert names[-4:-2] == ["listing, planning", "start of workers, once"]
    assert names[-2:] == ["all", "processor time"]
    seconds = [float(row[1].removesuffix(" s")) for row in rows]
    assert sum(seconds[:-2]) == pytest.approx(seconds[-2], abs=0.3)
    cost = [float(row[-1]) for row in rows]
    assert sum(cost[:-2]) == pytest.approx(cost[-2], abs=0.05)
    for row, of_all in zip(rows[:5], cost[:5], strict=True):  # two workers
        hours = 2 / 240 * 2_899_575 / 3600  # of a second; both figures are rounded
        expected = float(row[1].removesuffix(" s")) * hours
        assert of_all == pytest.approx(expected, abs=0.05 * hours + 0.006)


def test_a_section_of_results_is_replaced_and_others_stay(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    results = importlib.import_module("_results")
    monkeypatch.setattr(results, "RESULTS", tmp_path / "RESULTS.md")
    results.write("Movies", "| a |\n\n- one\n")
    results.write("Pictures", "| b |")
    results.write("Movies", "| c |\n\n- # two")
    assert (tmp_path / "RESULTS.md").read_text() == (
        "# What `make bench` found\n\n## Movies\n\n| c |\n\n- # two\n\n## Pictures\n\n| b |\n"
    )


def test_annotations_print_every_line():
    _, _, *rows = run_quick("masks.py")
    assert [row[0] for row in rows] == [
        "polygons to label images", "COCO JSON to arrays", "object-measures", "average-precision",
        "peak memory, 1.6 million cells opened",
    ]  # fmt: skip
    assert all(float(row[2].split()[0]) > 0 for row in rows[:-1])
