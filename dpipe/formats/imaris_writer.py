"""How a file in the layout of Imaris 5.5 is written, one frame at a time.

Knows names, attributes, padding and resolution levels of that layout; knows nothing of what the
pixels show, nor of how dpipe reads such a file.
"""

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

_START = datetime(2026, 1, 5, 10, 0)


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
                (low, high), (least, most) = ranges[c], _range(volume)
                ranges[c] = (min(low, least), max(high, most))
                for level, target in enumerate(sizes):
                    volume = _reduced(volume, target)
                    group = h5.create_group(
                        f"DataSet/ResolutionLevel {level}/TimePoint {t}/Channel {c}"
                    )
                    _write_volume(group, volume, chunks, padding, filters)
        _write_channels(h5, ranges, channels, colors)
    return Path(path)


def _filters(compression: str | None) -> dict[str, object]:
    filters: dict[str | None, dict[str, object]] = {
        None: {},
        "gzip": {"compression": "gzip", "compression_opts": 2},
        "lz4": dict(hdf5plugin.LZ4()),
    }
    if compression not in filters:
        raise UsageError(f"unknown compression {compression!r}; expected gzip, lz4 or None")
    return filters[compression]


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


def say(group: h5py.Group, **attributes: Any) -> None:
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
    say(
        h5,
        ImarisVersion="5.5.0",
        ImarisDataSet="ImarisDataSet",
        DataSetDirectoryName="DataSet",
        DataSetInfoDirectoryName="DataSetInfo",
        ThumbnailDirectoryName="Thumbnail",
    )
    h5.attrs["NumberOfDataSets"] = np.array([1], np.uint32)
    info = h5.create_group("DataSetInfo")
    say(info.create_group("ImarisDataSet"), Creator="dpipe", NumberOfImages=1, Version="9.5")
    image = info.create_group("Image")
    say(
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
        say(image, **{f"ExtMin{k}": repr(float(low)), f"ExtMax{k}": repr(float(high))})
    h5.create_dataset("Thumbnail/Data", (256, 1024), np.uint8, compression="gzip")


def _stamp(seconds: float) -> str:
    moment = _START + timedelta(milliseconds=round(seconds * 1000))
    return moment.isoformat(sep=" ", timespec="milliseconds")


def _write_times(h5: h5py.File, times: Sequence[float]) -> None:
    info = h5.create_group("DataSetInfo/TimeInfo")
    say(info, DatasetTimePoints=len(times), FileTimePoints=len(times))
    say(info, **{f"TimePoint{k + 1}": _stamp(seconds) for k, seconds in enumerate(times)})


def _write_channels(
    h5: h5py.File,
    ranges: Sequence[tuple[float, float]],
    channels: Sequence[str] | None,
    colors: Sequence[str] | None,
) -> None:
    for c, (low, high) in enumerate(ranges):
        rgb = bytes.fromhex(colors[c]) if colors else b"\xff\xff\xff"
        say(
            h5.create_group(f"DataSetInfo/Channel {c}"),
            Name=channels[c] if channels else "(name not specified)",
            Color=" ".join(f"{part / 255:.3f}" for part in rgb),
            ColorMode="BaseColor",
            ColorOpacity="1.000",
            ColorRange=f"{low:.3f} {high:.3f}",
        )


def _range(volume: np.ndarray) -> tuple[float, float]:
    """Return the least and the largest of the values that are numbers; 0 where none is."""
    known = volume[np.isfinite(volume)]
    return (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)


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
    low, high = _range(volume)
    counts = np.zeros(256, np.uint64)
    bins = (volume[np.isfinite(volume)] - low) * (255 / (high - low) if high > low else 0)
    counts += np.bincount(bins.astype(np.uint8), minlength=256).astype(np.uint64)
    group.create_dataset("Histogram", data=counts)
    for axis, n in zip("ZYX", volume.shape, strict=True):
        say(group, **{f"ImageSize{axis}": n})
    say(group, HistogramMin=f"{low:.3f}", HistogramMax=f"{high:.3f}")
