"""The benchmark of the movie path runs, compares what it says, and prints every line."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from dpipe.operators.cell_features import NINE

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
    ("what `frame-quality` adds to decoding", "HDF5 library"),
    ("what `frame-quality` adds to decoding", "our Imaris reader"),
    ("what `frame-quality` adds to decoding", "our store"),
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


def test_cytometry_prints_a_line_for_each_family():
    """It compares both sides before it measures."""
    done = subprocess.run(
        [sys.executable, SCRIPT.with_name("cytometry.py"), "--quick"],
        capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in done.stdout.splitlines()]
    assert [row[0] for row in rows[2:4]] == [
        "nine families, 8 channels, caches warm",
        "nine families, 8 channels, by turns",
    ]
    assert [row[3] for row in rows[2:4]] == ["at least 80", "at least 60"]
    families = [row[0].split("`")[1] for row in rows if row[0].startswith("`")]
    assert families == [*NINE, "hog"]
    assert not any("not run" in row for row in rows)
