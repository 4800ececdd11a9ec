"""A small study to try everything on: movies in the layout of Imaris, and the truth about them.

Knows how Imaris 5.5 files are laid out and how to draw cells with known places and known noise.
Knows nothing of readers or stores: what it writes is read like anybody's files. `write_imaris`
also makes large movies for benchmarks, one frame at a time.
"""

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np

from dpipe.errors import UsageError

Frame = Callable[[int, int], np.ndarray]

SPACING = (2.0, 0.5, 0.5)
ORIGIN = (30.0, 1200.0, -850.0)
INTERVAL = 30.0
CHANNELS = ("neutrophils", "dying cells", "collagen")
COLORS = ("00FF00", "FF0000", "3366FF")
_CELLS = (6, 3, 4)
_START = datetime(2026, 1, 5, 10, 0)
_BRIGHTNESS = {"uint8": (20.0, 120.0, 4.0), "uint16": (400.0, 3000.0, 60.0)}
"""Background, brightness of a cell above it, and sigma of the noise, by dtype."""

_RECIPE = """\
# Written by `dpipe demo`: run it with `dpipe run recipe.yaml --store store`
name: leuko-demo
study:
  title: Synthetic intravital movies in the layout of Imaris
  description: >-
    Ellipsoid cells that move through a small volume, under known noise; the places of all cells
    and the noise of all channels are in truth.json. Biological application: a stand-in for
    two-photon movies of leukocytes that die, made to test quality control.
  license: CC-BY-4.0
  authors: []
  keywords: [synthetic, intravital microscopy, leukocytes, quality control]
  funding_statement: none
  link_url: []
datasets:
  leuko: {reader: imaris, source: raw/*.h5}
  leuko-quality: {operator: frame-quality, input: leuko}
  leuko-quality-table: {operator: quality-table, input: leuko-quality}
  leuko-projections: {operator: projections, input: leuko}
  leuko-thumbnails: {operator: thumbnails, input: leuko}
"""


def write_study(
    folder: str | os.PathLike[str],
    *,
    movies: int = 2,
    seed: int = 0,
    frames: int = 12,
    size: Sequence[int] = (8, 192, 256),
    damaged: bool = False,
) -> Path:
    """Write a small study: movies, the truth about them, and a recipe.

    ``raw/Neu1.h5`` (uint8), ``raw/Neu2.h5`` (uint16) and so on by turns, ``truth.json``,
    ``recipe.yaml``. What is there under these names is replaced.

    Parameters
    ----------
    folder : str or path
        Where; made if it is not there.
    movies : int
        How many.
    seed : int
        The same seed gives the same pixels.
    frames : int
        Time points of each.
    size : sequence of 3 int
        Voxels along z, y, x.
    damaged : bool
        Add one more movie, cut off in the middle, as a broken copy leaves it.

    Returns
    -------
    pathlib.Path
        The recipe.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     recipe = write_study(folder, movies=1, frames=2, size=(2, 32, 32), damaged=True)
    ...     recipe.name, sorted(path.name for path in (recipe.parent / "raw").iterdir())
    ('recipe.yaml', ['Neu1.h5', 'Neu2.h5'])
    """
    root = Path(folder)
    (root / "raw").mkdir(parents=True, exist_ok=True)
    truth: dict[str, Any] = {"seed": seed, "movies": {}}
    for number in range(1, movies + damaged + 1):
        said = describe_movie(number, seed=seed, frames=frames, size=size)
        path = write_imaris(
            root / "raw" / f"Neu{number}.h5",
            lambda t, c, said=said: draw_frame(said, t, c),
            shape=(frames, len(CHANNELS), *size),
            dtype=said["dtype"],
            spacing=SPACING,
            origin=ORIGIN,
            interval=INTERVAL,
            channels=CHANNELS,
            colors=COLORS,
        )
        if number <= movies:
            truth["movies"][f"Neu{number}"] = said
        else:
            os.truncate(path, path.stat().st_size // 2)
    (root / "truth.json").write_text(json.dumps(truth, indent=1) + "\n", encoding="utf-8")
    recipe = root / "recipe.yaml"
    recipe.write_text(_RECIPE, encoding="utf-8")
    return recipe


def describe_movie(
    number: int, *, seed: int = 0, frames: int = 12, size: Sequence[int] = (8, 192, 256)
) -> dict[str, Any]:
    """Decide everything about a movie but its noise.

    Parameters
    ----------
    number : int
        1, 2, ...; odd ones are uint8, even ones uint16.
    seed, frames, size
        As in `write_study`.

    Returns
    -------
    dict
        JSON values: ``spacing``, ``origin``, ``interval``; for each of ``channels`` its
        ``background`` and ``noise``; for each of ``cells`` its ``channel``, ``radii`` (z, y, x)
        and ``centres`` (one z, y, x a frame), all in micrometres.
    """
    dtype = ("uint16", "uint8")[number % 2]
    background, brightness, sigma = _BRIGHTNESS[dtype]
    rng = np.random.default_rng([seed, number])
    extent = np.asarray(size) * SPACING
    corner = np.asarray(ORIGIN) - np.asarray(SPACING) / 2
    cells = []
    for channel, count in enumerate(_CELLS):
        for _ in range(count):
            radii = np.minimum(rng.uniform((2.5, 4, 4), (4, 7, 7)), extent / 4)
            steps = rng.normal(0, (0.3, 1.0, 1.0), (frames, 3))
            path = rng.uniform(radii, extent - radii) + np.cumsum(steps, axis=0)
            centres = corner + np.clip(path, radii, extent - radii)
            cells.append(
                {
                    "channel": channel,
                    "radii": radii.round(3).tolist(),
                    "centres": centres.round(3).tolist(),
                }
            )
    channels = [
        {
            "name": name,
            "color": color,
            "background": background,
            "brightness": brightness,
            "noise": {"kind": kind, "sigma": sigma if kind == "gaussian" else None},
        }
        for name, color, kind in zip(
            CHANNELS, COLORS, ("gaussian", "gaussian", "poisson"), strict=True
        )
    ]
    return {
        "dtype": dtype,
        "seed": [seed, number],
        "size": list(size),
        "spacing": list(SPACING),
        "origin": list(ORIGIN),
        "interval": INTERVAL,
        "channels": channels,
        "cells": cells,
    }


def draw_frame(said: Mapping[str, Any], t: int, c: int, *, noise: bool = True) -> np.ndarray:
    """Draw one volume of a movie that `describe_movie` described.

    Parameters
    ----------
    said : mapping
        The description.
    t, c : int
        Frame and channel.
    noise : bool
        Without it the truth: background, and cells that are brightest in their centre.

    Returns
    -------
    numpy.ndarray, shape (z, y, x)
        Of the movie's dtype; the truth is float64.
    """
    channel = said["channels"][c]
    axes = [
        o + np.arange(n) * s
        for o, n, s in zip(said["origin"], said["size"], said["spacing"], strict=True)
    ]
    grid = np.meshgrid(*axes, indexing="ij", sparse=True)
    image = np.zeros(said["size"])
    for cell in said["cells"]:
        if cell["channel"] == c:
            terms = zip(grid, cell["centres"][t], cell["radii"], strict=True)
            inside = 1 - sum(((g - m) / r) ** 2 for g, m, r in terms)
            np.maximum(image, np.sqrt(np.clip(inside, 0, None)), out=image)
    image = channel["background"] + channel["brightness"] * image
    if not noise:
        return image
    rng = np.random.default_rng([*said["seed"], t, c])
    if channel["noise"]["kind"] == "poisson":
        noisy = rng.poisson(image).astype(float)
    else:
        noisy = rng.normal(image, channel["noise"]["sigma"])
    return np.clip(noisy.round(), 0, np.iinfo(said["dtype"]).max).astype(said["dtype"])


def write_imaris(
    path: str | os.PathLike[str],
    data: np.ndarray | Frame,
    *,
    shape: Sequence[int] | None = None,
    dtype: np.dtype | str | None = None,
    spacing: Sequence[float] = (1.0, 1.0, 1.0),
    origin: Sequence[float] = (0.0, 0.0, 0.0),
    unit: str = "um",
    interval: float = 1.0,
    times: Sequence[float] | None = None,
    channels: Sequence[str] | None = None,
    colors: Sequence[str] | None = None,
    levels: int = 2,
    chunks: Sequence[int] = (8, 128, 128),
    compression: str | None = "gzip",
    shuffle: bool = False,
    padding: int = 0,
) -> Path:
    """Write a movie in the layout of Imaris 5.5, one frame in memory at a time.

    Parameters
    ----------
    path : str or path
        The file; replaced if it is there.
    data : array, shape (t, c, z, y, x), or callable
        Pixels, or ``data(t, c)`` that returns one volume (z, y, x).
    shape, dtype
        Of the movie; needed if `data` is a callable.
    spacing, origin : sequence of 3 float
        Voxel size and centre of the first voxel along z, y, x, in `unit`.
    unit : str
        ``"m"``, ``"mm"``, ``"um"`` or ``"nm"``.
    interval : float
        Seconds between frames.
    times : sequence of float, optional
        Seconds of each frame after the first, instead of `interval`; written to the millisecond.
    channels, colors : sequence of str, optional
        Names, and ``RRGGBB``.
    levels : int
        Resolution levels; each halves the axes that Imaris would halve.
    chunks : sequence of 3 int
        Along z, y, x; data are padded up to whole chunks.
    compression : {"gzip", "lz4", None}
        Of the chunks; gzip is at level 2, as Imaris writes it.
    shuffle : bool
        Put HDF5's shuffle before it.
    padding : int
        The value of the voxels outside the true size.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    UsageError
        `data` is a callable, and shape or dtype is missing; or an unknown compression.
    """
    if callable(data):
        if shape is None or dtype is None:
            raise UsageError("a movie given as a function needs shape (t, c, z, y, x) and dtype")
        draw = data
    else:
        pixels = data
        shape, dtype, draw = pixels.shape, pixels.dtype, lambda t, c: pixels[t, c]
    n_t, n_c, *size = shape
    filters = _filters(compression) | ({"shuffle": True} if shuffle else {})
    sizes = [tuple(size), *_level_sizes(size, levels)]
    with h5py.File(path, "w") as h5:
        _write_info(h5, shape, spacing, origin, unit)
        _write_times(h5, [k * interval for k in range(n_t)] if times is None else times)
        ranges = [(math.inf, -math.inf)] * n_c
        for t in range(n_t):
            for c in range(n_c):
                volume = np.asarray(draw(t, c), dtype)
                low, high = ranges[c]
                ranges[c] = (min(low, float(volume.min())), max(high, float(volume.max())))
                for level, target in enumerate(sizes):
                    volume = _reduced(volume, target)
                    group = h5.create_group(
                        f"DataSet/ResolutionLevel {level}/TimePoint {t}/Channel {c}"
                    )
                    _write_volume(group, volume, chunks, padding, filters)
        _write_channels(h5, ranges, channels, colors)
    return Path(path)


def _filters(compression: str | None) -> dict[str, Any]:
    known: dict[str | None, dict[str, Any]] = {
        None: {},
        "gzip": {"compression": "gzip", "compression_opts": 2},
        "lz4": dict(hdf5plugin.LZ4()),
    }
    if compression not in known:
        raise UsageError(f"unknown compression {compression!r}; expected gzip, lz4 or None")
    return known[compression]


def _level_sizes(size: Sequence[int], levels: int) -> Iterator[tuple[int, ...]]:
    """Imaris halves an axis unless it is already thin against the other two."""
    for _ in range(1, levels):
        volume = math.prod(size)
        size = tuple(n // 2 if n > 1 and (10 * n) ** 2 > volume // n else n for n in size)
        yield size


def _reduced(volume: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Mean over the voxels that fall together; an odd last one is dropped."""
    if volume.shape == tuple(size):
        return volume
    cut = volume[tuple(slice(n * (old // n)) for n, old in zip(size, volume.shape, strict=True))]
    split = [k for n, old in zip(size, volume.shape, strict=True) for k in (n, old // n)]
    return cut.reshape(split).mean(axis=(1, 3, 5)).astype(volume.dtype)


def _say(group: h5py.Group, **attributes: Any) -> None:
    """Write attributes as Imaris does: arrays of single bytes."""
    for key, value in attributes.items():
        group.attrs[key] = np.frombuffer(str(value).encode(), "S1")


def _write_info(
    h5: h5py.File,
    shape: Sequence[int],
    spacing: Sequence[float],
    origin: Sequence[float],
    unit: str,
) -> None:
    _say(
        h5,
        ImarisVersion="5.5.0",
        ImarisDataSet="ImarisDataSet",
        DataSetDirectoryName="DataSet",
        DataSetInfoDirectoryName="DataSetInfo",
        ThumbnailDirectoryName="Thumbnail",
    )
    h5.attrs["NumberOfDataSets"] = np.array([1], np.uint32)
    info = h5.create_group("DataSetInfo")
    _say(info.create_group("ImarisDataSet"), Creator="dpipe", NumberOfImages=1, Version="9.5")
    image = info.create_group("Image")
    _say(
        image,
        X=shape[4],
        Y=shape[3],
        Z=shape[2],
        Noc=shape[1],
        Unit=unit,
        RecordingDate=_stamp(0),
        Name="(name not specified)",
        Description="(description not specified)",
    )
    for k in range(3):  # 0 is x; extents are the outer borders of the volume
        low = origin[2 - k] - spacing[2 - k] / 2
        high = low + spacing[2 - k] * shape[4 - k]
        _say(image, **{f"ExtMin{k}": repr(float(low)), f"ExtMax{k}": repr(float(high))})
    h5.create_dataset("Thumbnail/Data", (256, 1024), np.uint8, compression="gzip")


def _stamp(seconds: float) -> str:
    moment = _START + timedelta(milliseconds=round(seconds * 1000))
    return moment.isoformat(sep=" ", timespec="milliseconds")


def _write_times(h5: h5py.File, times: Sequence[float]) -> None:
    info = h5.create_group("DataSetInfo/TimeInfo")
    _say(info, DatasetTimePoints=len(times), FileTimePoints=len(times))
    _say(info, **{f"TimePoint{k + 1}": _stamp(seconds) for k, seconds in enumerate(times)})


def _write_channels(
    h5: h5py.File,
    ranges: Sequence[tuple[float, float]],
    channels: Sequence[str] | None,
    colors: Sequence[str] | None,
) -> None:
    for c, (low, high) in enumerate(ranges):
        rgb = bytes.fromhex(colors[c]) if colors else b"\xff\xff\xff"
        _say(
            h5.create_group(f"DataSetInfo/Channel {c}"),
            Name=channels[c] if channels else "(name not specified)",
            Color=" ".join(f"{part / 255:.3f}" for part in rgb),
            ColorMode="BaseColor",
            ColorOpacity="1.000",
            ColorRange=f"{low:.3f} {high:.3f}",
        )


def _write_volume(
    group: h5py.Group,
    volume: np.ndarray,
    chunks: Sequence[int],
    padding: int,
    filters: Mapping[str, Any],
) -> None:
    padded = [-(-n // k) * k for n, k in zip(volume.shape, chunks, strict=True)]
    full = np.full(padded, padding, volume.dtype)
    full[tuple(map(slice, volume.shape))] = volume
    group.create_dataset("Data", data=full, chunks=tuple(chunks), **filters)
    low, high = float(volume.min()), float(volume.max())
    counts = np.zeros(256, np.uint64)
    bins = (volume.ravel() - low) * (255 / (high - low) if high > low else 0)
    counts += np.bincount(bins.astype(np.uint8), minlength=256).astype(np.uint64)
    group.create_dataset("Histogram", data=counts)
    for axis, n in zip("ZYX", volume.shape, strict=True):
        _say(group, **{f"ImageSize{axis}": n})
    _say(group, HistogramMin=f"{low:.3f}", HistogramMax=f"{high:.3f}")
