"""Write the store of a release, with its sources, as the zip that later releases are tested on.

    python tests/releases/write_store.py FOLDER ZIP

Run by hand with a release, before the first change that follows it. ``FOLDER`` is new and absolute:
seals keep the paths of their sources. Times of change of the sources are kept beside them, since
fingerprints hold them.
"""

import json
import os
import sys
import zipfile
from pathlib import Path

import numpy as np

import dpipe
from dpipe import catalog
from dpipe.build import parts, plan
from dpipe.demo.pictures import write_ifc_tree
from dpipe.formats.imaris_writer import write_imaris

OPERATOR = '''"""An operator of a user's own."""

import xarray as xr

from dpipe.blocks import map_frames


def brightness(ds: xr.Dataset, *, factor: float = 1.0) -> xr.Dataset:
    """Return the mean of each frame, times a factor."""
    (values,) = map_frames(_mean, ds["image"], outputs=1, factor=factor)
    return xr.Dataset({"brightness": values})


def _mean(frame, *, factor):
    return [float(frame.mean()) * factor]


brightness.free = ("t", "c")
'''
RECIPE = """name: release
study:
  title: Dying cells
  description: Movies of dying cells, for tests.
  keywords: [cell death, intravital]
  license: CC-BY-4.0
  authors: ["Example, Ann"]
  publications: [{publication_title: Dying cells, publication_authors: A. Example}]
datasets:
  leuko: {reader: imaris, source: raw/*.ims}
  leuko-quality: {operator: frame-quality, input: leuko, params: {median: 3}}
  leuko-table: {operator: quality-table, input: leuko-quality}
  leuko-brightness: {operator: "releaselab.qc:brightness", input: leuko, params: {factor: 2.0}}
  leuko-twice: {operator: "releaselab.more:twice", input: leuko-brightness}
  leuko-tracks: {reader: tracks, source: tracks/*.csv, options: {interval: 30}}
  leuko-speeds: {operator: track-measures, input: leuko-tracks}
  cells: {reader: ifc, source: ifc}
  cells-features: {operator: cell-features, input: cells, params: {families: "cell-shape"}}
"""
BEGUN = """name: begun
datasets:
  leuko-thumbnails: {operator: thumbnails, input: leuko}
"""
TWICE = '''"""Another one, of what the first one made."""

import xarray as xr


def twice(ds: xr.Dataset) -> xr.Dataset:
    """Return all numbers, doubled."""
    return 2 * ds


twice.free = ("t", "c")
'''


def write_sources(folder: Path) -> None:
    """Write movies, tracks, pictures, operators and recipes."""
    rng = np.random.default_rng(3)
    for name in ("raw", "tracks", "releaselab"):
        (folder / name).mkdir(parents=True)
    for k in (1, 2):
        pixels = (500 * k + rng.integers(0, 9, (3, 2, 4, 24, 20))).astype("u2")
        write_imaris(
            folder / f"raw/Neu{k}.ims", pixels, spacing=(2, 0.5, 0.5), interval=30, levels=1,
            chunks=(4, 24, 20), channels=["dye", "nuclei"],
        )  # fmt: skip
        rows = [f"{c},{t},{5.0 + t + c},{6.0 + 2 * t},{2.0}" for c in (1, 2) for t in range(3)]
        text = "\n".join(["track_id,frame,x_um,y_um,z_um", *rows])
        (folder / f"tracks/Neu{k}.csv").write_text(text + "\n")
    (folder / "raw/Neu3.ims").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    write_ifc_tree(folder / "ifc", 16, channels=3, mean_size=14)
    (folder / "releaselab/__init__.py").write_text("")
    (folder / "releaselab/qc.py").write_text(OPERATOR)
    (folder / "releaselab/more.py").write_text(TWICE)
    (folder / "recipe.yaml").write_text(RECIPE)
    (folder / "begun.yaml").write_text(BEGUN)


def write_store(folder: Path) -> None:
    """Run the recipe; save a dataset; leave a part begun, with one of its partitions done."""
    store = str(folder / "store")
    sys.path.insert(0, str(folder))
    dpipe.run_recipe(folder / "recipe.yaml", store, progress=False)
    tree = dpipe.open(store, "leuko")
    quality = dpipe.each(tree, dpipe.frame_quality, median=5)
    dpipe.save(quality, store, "leuko-saved", message="a larger window")
    (folder / "recipe.yaml").write_text(RECIPE.replace("factor: 2.0", "factor: 3.0"))
    dpipe.run_recipe(folder / "recipe.yaml", store, progress=False)
    objects = catalog.open_store(store)
    settings = dpipe.Settings.load(partition_bytes=2**20)
    (step,) = plan.Planner(objects, settings).recipe(dpipe.load_recipe(folder / "begun.yaml"))
    part = step.parts[0]
    parts.init(store, part.base, part.origin.to_dict(), part.options)
    parts.partition(store, part.base, 0)


def zipped(folder: Path, path: Path) -> None:
    """Put everything into a zip, and the times of change beside it."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    times = {str(p.relative_to(folder)): p.stat().st_mtime_ns for p in files}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for file in files:
            name = zipfile.ZipInfo(str(file.relative_to(folder)))  # no date: equal bytes each time
            archive.writestr(name, file.read_bytes(), zipfile.ZIP_DEFLATED)
        archive.writestr("times.json", json.dumps(times))


if __name__ == "__main__":
    os.environ["DPIPE_WORKERS"], os.environ["DPIPE_AUTHOR"] = "0", "curator"
    root = Path(sys.argv[1])
    write_sources(root)
    write_store(root)
    zipped(root, Path(sys.argv[2]))
