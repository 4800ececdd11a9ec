"""Movies: Imaris to OME-Zarr, memory, quality, median, cells, meshes, crops, nothing to do.

``python benchmarks/movies.py`` writes its section of RESULTS.md beside it; ``--quick`` takes a
small movie and only prints, ``--quality`` measures frame-quality alone. Needs the extra ``bench``;
what is not there is not run, and the table says so.
"""

import argparse
import importlib.util
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import dask.array as da
import h5py
import imagecodecs
import numcodecs.blosc
import numpy as np
import scipy.ndimage
import xarray as xr
from _cells import counting
from _crops import cropping
from _results import write
from _side_by_side import Line, by_turns, line, machine, memory_folder, table, versions
from _worker import ENVIRONMENT, above_idle
from masks3d import masks

import dpipe
from dpipe import sources
from dpipe.build import Recipe, part_spec, reader_step, run
from dpipe.compute import blocks
from dpipe.demo.study import write_imaris
from dpipe.operators.frames import median as kernels
from dpipe.storage import chunking, open_objects, shards, zarr

CHANNELS, CHUNK = 4, (8, 128, 128)
PACKAGES = (
    "dpipe ome-zarr ngff-zarr opencv-python-headless scipy scikit-image h5py zarr numcodecs "
    "imagecodecs vtk"
)
WORKER = {key: value for key, value in ENVIRONMENT.items() if key.startswith("MALLOC")}


@dataclass(frozen=True)
class Size:
    """Frames: movie, shorter one, peers' share, the one cropped; crops; (z, y, x); turns."""

    frames: int
    short: int
    share: int
    cropped: int
    crops: int
    volume: tuple[int, int, int]
    turns: int


FULL = Size(40, 10, 4, 60, 1000, (12, 512, 512), 5)
QUICK = Size(3, 2, 1, 4, 60, (12, 256, 256), 1)


def camera(t: int, c: int, *, volume: tuple[int, int, int]) -> np.ndarray:
    """Draw blurred cells; offset 100, shot noise of half the signal's variance, read noise 1.6."""
    places, random = np.random.default_rng(c), np.random.default_rng([t, c])
    z, y, x = np.ogrid[tuple(map(slice, volume))]
    signal = np.full(volume, 60, np.float32)
    for _ in range(10):
        at, radius = places.uniform(0, 1, 3) * volume, places.uniform(4, 12)
        bright = places.uniform(200, 1500) * np.exp(-((z - at[0]) ** 2) / 8)
        apart = (y - (at[1] + 3 * t) % volume[1]) ** 2 + (x - (at[2] + 2 * t) % volume[2]) ** 2
        signal += (bright * np.exp(-apart / (2 * radius**2))).astype(np.float32)
    noise = random.standard_normal(volume, np.float32) * np.sqrt(signal / 2 + 1.6**2)
    return np.clip(np.rint(signal + noise + 100), 0, 65535).astype(np.uint16)


def volume_of(h5: h5py.File, t: int, c: int) -> h5py.Dataset:
    return h5[f"DataSet/ResolutionLevel 0/TimePoint {t}/Channel {c}/Data"]


class Bench:
    """A movie in the layout of Imaris, and what is done to it; each result has a fresh folder."""

    def __init__(self, size: Size, room: Path) -> None:
        self.size, self.room, self.made = size, room, 0
        self.movie, self.short = self.write("movie", size.frames), self.write("short", size.short)
        self.recipe = Recipe.of(reader_step("movie", "imaris", [self.movie], levels=2))

    def write(self, name: str, frames: int) -> str:
        """Write a movie as Imaris does: deflate 2, padded to whole chunks."""
        shape = (frames, CHANNELS, *self.size.volume)
        draw = partial(camera, volume=self.size.volume)
        path = self.room / f"{name}.ims"
        return str(write_imaris(path, draw, shape=shape, dtype="u2", chunks=CHUNK, levels=1))

    def fresh(self) -> str:
        """Return a new place for a result."""
        self.made += 1
        return str(self.room / f"result-{self.made}")

    def clear(self) -> None:
        """Remove all results."""
        for path in self.room.glob("result-*"):
            shutil.rmtree(path)

    def dpipe(self) -> str:
        """Do a whole run in this process: plan, convert, sync, seal, commit."""
        place = self.fresh()
        dpipe.run_recipe(self.recipe, place, workers="0", progress=False)
        return place

    def codecs(self, levels: int = 1, *, ours: bool = False) -> None:
        """Only inflate every chunk of the file, then compress, in Blosc's own blocks or in ours."""
        volume, chunk = np.zeros(self.size.volume, np.uint16), np.empty(CHUNK, np.uint16)
        image = xr.DataArray(volume, dims=("z", "y", "x"))
        cuts = [chunking.layout("image", image, level, 2) for level in range(levels)]
        codec = numcodecs.blosc.Blosc("zstd", 1, numcodecs.blosc.BITSHUFFLE)
        if ours:
            codec = shards.layout(zarr.array_document(cuts[0], {})).codec
        with h5py.File(self.movie, rdcc_nbytes=0) as h5:
            for t, c in np.ndindex(self.size.frames, CHANNELS):
                data = volume_of(h5, t, c)
                for place in np.ndindex(*(n // k for n, k in zip(data.shape, CHUNK, strict=True))):
                    corner = tuple(i * k for i, k in zip(place, CHUNK, strict=True))
                    held = data.id.read_direct_chunk(corner)[1]
                    imagecodecs.deflate_decode(held, out=chunk.reshape(-1).view(np.uint8))
                    box = tuple(slice(i, i + k) for i, k in zip(corner, CHUNK, strict=True))
                    volume[box] = chunk[tuple(map(slice, volume[box].shape))]
                for cut in cuts:
                    pixels = chunking.halve(volume, cut.dims) if cut.level else volume
                    for z in range(0, len(pixels), cut.chunk[0]):
                        codec.encode(pixels[z : z + cut.chunk[0]])

    def lazy(self, h5: h5py.File) -> da.Array:
        """Return the peers' share as a person would feed it: volumes through h5py and Dask."""
        outer, depth = (self.size.share, CHANNELS), self.size.volume[0]
        data = [da.from_array(volume_of(h5, t, c), chunks=-1)[:depth] for t, c in np.ndindex(outer)]
        return da.stack(data).reshape(*outer, *self.size.volume)

    def ome_zarr(self, method: str = "resize") -> str:
        """Convert the share with ome-zarr-py."""
        from ome_zarr.scale import Methods
        from ome_zarr.writer import write_image

        to, chosen = self.fresh(), Methods(method)
        with h5py.File(self.movie, rdcc_nbytes=0) as h5:
            image = self.lazy(h5)
            write_image(image, to, axes=list("tczyx"), scale_factors=(2,), method=chosen)
        return f"{to}/s0"

    def ngff_zarr(self) -> str:
        """Convert the share with ngff-zarr."""
        import ngff_zarr as nz

        to, half = self.fresh(), [{"z": 1, "y": 2, "x": 2}]
        with h5py.File(self.movie, rdcc_nbytes=0) as h5:
            image = nz.to_ngff_image(self.lazy(h5), dims=list("tczyx"))
            levels = nz.to_multiscales(image, half, method=nz.Methods.ITKWASM_BIN_SHRINK)
            nz.to_ngff_zarr(to, levels, version="0.5")
        return f"{to}/scale0/image"


def conversion(bench: Bench) -> list[Line]:
    """Measure Imaris to OME-Zarr with one lower level, against peers and the codecs alone."""
    runs: dict[str, Callable[[], Any]] = {"dpipe": bench.dpipe}
    runs |= {"codecs": bench.codecs, "ours": partial(bench.codecs, ours=True)}
    runs["ours, both"] = partial(bench.codecs, 2, ours=True)
    if importlib.util.find_spec("ome_zarr"):
        runs |= {"ome": bench.ome_zarr, "ome mean": partial(bench.ome_zarr, "local_mean")}
    if importlib.util.find_spec("ngff_zarr"):
        runs["ngff"] = bench.ngff_zarr
    drawn = camera(0, 1, volume=bench.size.volume)
    np.testing.assert_array_equal(dpipe.open(bench.dpipe(), "movie").image[0, 1], drawn)
    for name in {"ome", "ngff"} & runs.keys():
        np.testing.assert_array_equal(da.from_zarr(runs[name]())[0, 1], drawn, err_msg=name)
    bench.clear()
    took = by_turns(runs, bench.size.turns, after=bench.clear)
    share = bench.size.frames / bench.size.share
    speed = {name: seconds * share / took["dpipe"] for name, seconds in took.items()}
    what = "Imaris to sharded OME-Zarr, two levels"
    return [
        line(what, "ome-zarr-py, its default `resize`", speed.get("ome"), " x as fast", least=8),
        line(what, "ome-zarr-py, its faster `local_mean`", speed.get("ome mean"), " x as fast"),
        line(what, "ngff-zarr, ITK-Wasm bin shrink", speed.get("ngff"), " x as fast", least=2.5),
        line(what, "codecs alone, level 0", speed["codecs"] / share, " of it", least=0.6),
        line(what, "the same, blocks as dpipe has them", speed["ours"] / share, " of it"),
        line(what, "the same, both levels", speed["ours, both"] / share, " of it"),
    ]


def memory(bench: Bench, path: str, frames: int) -> Line:
    """Measure the peak of a worker process that converts a movie, above that worker when idle."""
    made = part_spec.from_items("imaris", sources.list_items(path), levels=2)
    found = above_idle(bench.fresh(), "movie", "m", made)
    bench.clear()
    against = f"the same worker when idle; {frames} time points"
    return line("peak memory of a worker that converts", against, found, " MB above", most=150)


def quality(bench: Bench, place: str) -> list[Line]:
    """Measure frame-quality on volumes in memory against decoding them, each by itself.

    The difference of decoding with and without it would be one of two large numbers.
    """
    movies = {"imaris": dpipe.open_imaris(bench.movie), "store": dpipe.open(place, "movie")}
    share = list(np.ndindex(bench.size.share, CHANNELS))
    frames = [{"t": slice(t, t + 1), "c": slice(c, c + 1)} for t, c in share]

    def compute(ds: xr.Dataset) -> list[dict[str, np.ndarray]]:
        return [blocks.compute_region(ds, list(ds.data_vars), frame) for frame in frames]

    def library() -> None:
        with h5py.File(bench.movie, rdcc_nbytes=0) as h5:
            for t, c in share:
                volume_of(h5, t, c)[: bench.size.volume[0]]

    held = movies["imaris"].isel(t=slice(bench.size.share)).load()
    held = held.chunk({"t": 1, "c": 1})  # a volume each, as those that are decoded
    judged = {name: dpipe.frame_quality(ds) for name, ds in {**movies, "memory": held}.items()}
    found = {name: compute(ds) for name, ds in judged.items()}
    for name in movies:
        for one, other in zip(found["memory"], found[name], strict=True):
            for key in one:
                np.testing.assert_array_equal(one[key], other[key], err_msg=f"{name} {key}")
    runs: dict[str, Callable[[], Any]] = {"library": library}
    runs |= {name: partial(compute, movie) for name, movie in movies.items()}
    runs["memory"] = partial(compute, judged["memory"])
    took = by_turns(runs, 2 * bench.size.turns)
    ratio = {name: took["memory"] / took[name] for name in took}
    what, unit = "`frame-quality` on volumes in memory", " of its time"
    return [
        line(what, "decoding them, HDF5 library", ratio["library"], unit),
        line(what, "decoding them, our Imaris reader", ratio["imaris"], unit, most=0.1),
        line(what, "decoding them, our store", ratio["store"], unit, most=0.1),
    ]


def median(turns: int) -> list[Line]:
    """Measure the 5 x 5 median of 512 x 512 pixels of 8 bits; all sides give the same pixels."""
    plane = np.random.default_rng(5).normal(90, 30, (512, 512)).clip(0, 255).astype(np.uint8)
    filters: dict[str, Callable[[], np.ndarray]] = {
        "scipy": lambda: scipy.ndimage.median_filter(plane, 5, mode="constant"),
        "dpipe": lambda: kernels.median(plane, 5),
    }
    if importlib.util.find_spec("cv2"):
        import cv2

        cv2.setNumThreads(1)
        padded = np.pad(plane, 2)  # it repeats the border; we, as MATLAB, see zeros beyond it
        filters["cv2"] = lambda: cv2.medianBlur(padded, 5)[2:-2, 2:-2]
    for name, work in filters.items():
        np.testing.assert_array_equal(work(), filters["scipy"](), err_msg=name)
    often = {"scipy": 1, "dpipe": 200, "cv2": 200}
    took = by_turns(
        {n: lambda n=n: [filters[n]() for _ in range(often[n])] for n in filters}, 2 * turns
    )
    speed = {name: took[name] / often[name] / took["dpipe"] * often["dpipe"] for name in filters}
    return [
        line("5 x 5 median", "scipy", speed["scipy"], " x as fast", least=200),
        line("5 x 5 median", "OpenCV", speed.get("cv2"), " x as fast", least=1),
    ]


def crops(bench: Bench) -> list[Line]:
    """Measure windows cut from a stored movie of one channel."""
    size = bench.size
    draw = partial(camera, volume=size.volume)
    counts = {"frames": size.cropped, "count": size.crops, "turns": 2 * size.turns}
    return cropping(bench.fresh(), draw, volume=size.volume, **counts)


def nothing_to_do(bench: Bench, place: str) -> list[Line]:
    """Run the same recipe again: no PUT, no cluster; and its time against that of the import."""
    kind, took = type(open_objects(place)), []
    with (
        mock.patch.object(kind, "put") as put,
        mock.patch.object(kind, "put_if_absent") as put_if_absent,
        mock.patch.object(run, "connect") as connect,
    ):
        for _ in range(bench.size.turns):
            began = time.perf_counter()
            dpipe.run_recipe(bench.recipe, place, workers="2", progress=False)
            took.append(time.perf_counter() - began)
        made = (put.call_count + put_if_absent.call_count, connect.call_count)

    def start(code: str) -> float:
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return time.perf_counter() - began

    runs = [(start("import dpipe"), start("pass")) for _ in range(bench.size.turns)]
    share = statistics.median(took) / statistics.median(a - b for a, b in runs)
    what, met = "a run that finds all done", "yes" if made == (0, 0) else "no"
    return [
        Line(what, "PUTs, clusters", f"{made[0]}, {made[1]}", "0, 0", met),
        line(what, "importing dpipe", share, " of its time"),
    ]


def report(lines: list[Line], size: Size, where: str, load: float) -> str:
    """Return what RESULTS.md holds."""
    shape = (size.frames, CHANNELS, *size.volume)
    return f"""{datetime.now(UTC):%Y-%m-%d}, {machine()}; load {load} when it began.
{versions(PACKAGES.split())}.

{table(lines)}

- The movie: {shape} (t, c, z, y, x), uint16, {np.prod(shape) * 2 / 1e9:.2f} GB, blurred cells under
  camera noise, in the layout of Imaris (deflate 2, chunks of 8 x 128 x 128). All files are in
  {where}.
- Ratios are of processor time of one process, all its threads together, on the same pixels; sides
  by turns, medians of {size.turns} turns or more, after one that does not count. The process keeps
  memory as dpipe's workers do ({" ".join(WORKER)}), for all sides. dpipe and the
  codecs do the whole movie; ome-zarr-py and ngff-zarr do {size.share} of its {size.frames} frames,
  fed through h5py and Dask, scaled by bytes.
- dpipe's side is a whole run in one process: plan, digests, syncs, seal and version among it.
  "Codecs alone" is libdeflate on every chunk of the file, then Blosc (zstd 1, bitshuffle), one
  after the other and nothing else: with the block size that Blosc chooses, or the 512 KiB that
  dpipe chooses, at which Blosc is about twice as fast, so that this bound is the harder one.
- Compared, and equal: level 0 of all sides with what was drawn; figures of frames from the file and
  from the store; medians and cells of all sides. Lower levels differ by each side's own rule.
- Memory: peak resident set of a spawned worker less the resident set before its first task.
"""


def main() -> None:
    """Measure, print, and write RESULTS.md unless it is the quick way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a small movie; writes nothing")
    parser.add_argument(
        "--quality", action="store_true", help="frame-quality alone; writes nothing"
    )
    given = parser.parse_args()
    size = QUICK if given.quick else FULL
    if os.environ.keys().isdisjoint(WORKER):  # memory and threads as dpipe's workers have them
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | WORKER)
    warnings.simplefilter("ignore")  # those of the peers
    numcodecs.blosc.use_threads = False  # as in dpipe's workers: one thread
    roomy = memory_folder()
    load = round(os.getloadavg()[0], 1)
    with tempfile.TemporaryDirectory(prefix="dpipe-", dir=roomy) as folder:
        bench = Bench(size, Path(folder))
        if given.quality:
            print(table(quality(bench, bench.dpipe())))
            return
        lines = conversion(bench)
        lines += [memory(bench, bench.short, size.short), memory(bench, bench.movie, size.frames)]
        place = bench.dpipe()
        lines += [*quality(bench, place), *median(size.turns), *counting(size.turns)]
        lines += [*masks(size.turns), *crops(bench), *nothing_to_do(bench, place)]
    print(table(lines))
    if size is FULL:
        where = "memory, so that no disk is measured" if roomy else "the temporary folder"
        write("Movies", report(lines, size, where, load))


if __name__ == "__main__":
    main()
