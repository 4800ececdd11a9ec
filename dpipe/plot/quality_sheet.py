"""A movie's quality sheet: its pictures, its grey values, and its quality over time.

Knows which variables a sheet shows and how; computes one frame of the movie and nothing else.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from dpipe import schema
from dpipe.compute import compute, source_bytes
from dpipe.errors import SchemaError, UsageError
from dpipe.plot import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LARGEST = 2 << 30
_MOST = 4
_BINS = 96
_LINES: tuple[tuple[str, str, str], ...] = (
    ("frame_snr", "Signal to noise", "SNR (dB)"),
    ("frame_spectral_tail", "Spectral tail", "spread (dB)"),
    ("frame_mean", "Mean of the projection", "grey value (0 to 255)"),
    ("frame_focus", "Focus", "variance of Laplacian"),
    ("frame_contrast_to_noise", "Contrast to noise", "standard deviations"),
    ("frame_saturated", "Saturated voxels", "share"),
    ("cell_count", "Cells", "cells in the frame"),
    ("cell_distance", "Nearest other cell", "distance (µm)"),
)


@dataclass(frozen=True)
class Sheet:
    """What a sheet shows.

    Attributes
    ----------
    stem, facts : str
        The movie, and its sizes in words.
    frame : int
        Which frame the pictures show.
    names : sequence of str
        Channels.
    pictures : sequence of numpy.ndarray, shape (y, x), uint8
        Maximum over z of each channel shown, stretched.
    limits : sequence of (float, float)
        The grey values that are black and white in each.
    counts, edges : numpy.ndarray
        Voxels of that frame by grey value, (channel, bin), and the borders of the bins.
    minutes : numpy.ndarray, shape (t,)
        Times of frames.
    lines : dict of str to numpy.ndarray, shape (t, c)
        What is known of frames.
    verdicts : numpy.ndarray, shape (t, c), optional
        0 good, 1 doubtful, 2 unusable.
    extent : tuple of (float, float)
        Height and width of a picture in micrometres.
    limit : float, optional
        SNR below which a frame is doubtful.
    """

    stem: str
    facts: str
    frame: int
    names: Sequence[str]
    pictures: Sequence[np.ndarray]
    limits: Sequence[tuple[float, float]]
    counts: np.ndarray
    edges: np.ndarray
    minutes: np.ndarray
    lines: Mapping[str, np.ndarray]
    verdicts: np.ndarray | None
    extent: tuple[float, float]
    limit: float | None


def sheet(
    movie: xr.Dataset, measured: Sequence[xr.Dataset], frame: int | None, limit: float | None
) -> Sheet:
    """Return the contents of a sheet; of the movie one frame is computed."""
    image = schema.IMAGE.check(movie)
    if not image.size:
        raise SchemaError(f"image is {image.shape}; a sheet needs at least one frame with pixels")
    count = image.sizes["t"]
    chosen = count // 2 if frame is None else frame
    if isinstance(chosen, bool) or not isinstance(chosen, int) or not -count <= chosen < count:
        raise UsageError(f"frame: found {frame!r}; the movie has the frames 0 to {count - 1}")
    planes = image.isel(t=chosen, c=slice(0, _MOST))
    if (size := source_bytes(planes.to_dataset())) > _LARGEST:
        raise UsageError(
            f"a frame is {size >> 20} MiB; take a smaller level of the movie: open(..., level=2)"
        )
    columns = [n for n, _, _ in _LINES] + [schema.QUALITY_FLAG.name]
    arrays = {n: schema.VARIABLES[n].check(ds).data for ds in measured for n in columns if n in ds}
    pixels, *values = compute(planes.data, *arrays.values())
    lines = {n: np.asarray(v, float) for n, v in zip(arrays, values, strict=True)}
    for name, column in lines.items():
        if column.shape != (count, image.sizes["c"]):
            raise SchemaError(
                f"{name} is {column.shape}; the movie has {count} frames and "
                f"{image.sizes['c']} channels"
            )
    counts, edges = _histogram(np.asarray(pixels))
    drawn = [_picture(np.asarray(volume).max(axis=0)) for volume in pixels]
    verdicts = lines.pop(schema.QUALITY_FLAG.name, None)
    names = [str(c) for c in image["c"].values] if "c" in image.coords else []
    return Sheet(
        stem=str(movie.attrs.get("stem", "")),
        facts=_facts(movie, image),
        frame=chosen % count,
        names=names or [str(c) for c in range(image.sizes["c"])],
        pictures=[picture for picture, _ in drawn],
        limits=[limits for _, limits in drawn],
        counts=counts,
        edges=edges,
        minutes=_minutes(image),
        lines=lines,
        verdicts=verdicts,
        extent=(image.sizes["y"] * schema.spacing(image, "y"),
                image.sizes["x"] * schema.spacing(image, "x")),
        limit=limit,
    )  # fmt: skip


def _facts(movie: xr.Dataset, image: xr.DataArray) -> str:
    voxel = " × ".join(f"{schema.spacing(movie, dim):.3g}" for dim in "zyx")
    size = " × ".join(f"{image.sizes[dim]}" for dim in "zyx")
    count = image.sizes["t"]
    every = f"{count} frames every {schema.spacing(movie, 't'):.3g} s"
    frames = every if count > 1 else "1 frame"
    return f"{frames}, {size} voxels of {voxel} µm (z, y, x), {image.dtype}"


def _minutes(image: xr.DataArray) -> np.ndarray:
    times = np.asarray(image["t"].values, float) / 60 if "t" in image.coords else np.zeros(0)
    timed = times.size and np.isfinite(times).all()
    return times if timed else np.arange(image.sizes["t"], dtype=float)


def _histogram(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Count grey values of (c, z, y, x), what is not finite left out."""
    finite = pixels[np.isfinite(pixels)] if pixels.dtype.kind == "f" else pixels
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    if pixels.dtype.kind in "ui":  # bins of so many whole grey values each
        wide = -(-(high - low + 1) // _BINS)
        edges = low - 0.5 + wide * np.arange((high - low + 1) // wide + 2)
    else:
        edges = np.linspace(low, high if high > low else low + 1, _BINS + 1)
    flat = [channel[np.isfinite(channel)] for channel in pixels.astype(np.float64, copy=False)]
    return np.stack([np.histogram(values, edges)[0] for values in flat]), edges


def _picture(plane: np.ndarray, largest: int = 512) -> tuple[np.ndarray, tuple[float, float]]:
    """Shrink a plane by leaving out pixels, and stretch it to 8 bit; say from where to where."""
    every = max(1, -(-max(plane.shape) // largest))
    values = np.where(np.isfinite(plane), plane, 0)[::every, ::every].astype(np.float64)
    low, high = map(float, np.percentile(values, [1, 99.8]))
    spread = high - low if high > low else math.inf
    shown = np.rint(255 * np.clip((values - low) / spread, 0, 1)).astype(np.uint8)
    return shown, (low, high)


def draw(shown: Sheet) -> "Figure":
    """Draw a sheet: pictures above, then grey values and a chart for each thing known."""
    charts = [line for line in _LINES if line[0] in shown.lines]
    cells = 1 + len(charts)
    columns = 3
    rows = -(-cells // columns)
    width, picture = 11.0, 2.75
    height = 0.75 + picture + 0.55 + rows * 2.2 + 0.35
    figure = style.figure(width, height)
    figure.text(0.25 / width, 1 - 0.3 / height, style.text(shown.stem or "movie"), fontsize=14,
              fontweight="bold", color=style.INK, va="center")  # fmt: skip
    figure.text(0.25 / width, 1 - 0.56 / height, style.text(shown.facts, 120), fontsize=9,
              color=style.QUIET, va="center")  # fmt: skip
    _pictures(figure, shown, picture)
    foot, top = 0.62 / height, 1 - (0.75 + picture + 0.72) / height
    grid = figure.add_gridspec(rows, columns, left=0.6 / width, right=1 - 0.15 / width, top=top,
                             bottom=foot, wspace=0.26, hspace=0.75)  # fmt: skip
    _grey(figure.add_subplot(grid[0, 0]), shown)
    for i, (name, title, label) in enumerate(charts, 1):
        ax = figure.add_subplot(grid[i // columns, i % columns])
        style.titled(ax, "", title)
        _chart(ax, shown, name, label)
    if not charts:
        ax = figure.add_subplot(grid[0, 1])
        style.titled(ax, "", "Quality over time")
        style.empty(ax, "no data: needs\nframe-quality or cell-density\nof this movie")
    return figure


def _pictures(figure: "Figure", shown: Sheet, tall: float) -> None:
    """Draw a channel each, with its name, what is black and white in it, and a scale bar."""
    width, height = figure.get_size_inches()
    room = (width - 0.4) / max(len(shown.pictures), 3)
    for c, picture in enumerate(shown.pictures):
        wide = min(room - 0.12, tall * shown.extent[1] / shown.extent[0])
        high = min(tall, wide * shown.extent[0] / shown.extent[1])
        left, top = 0.25 + c * room, height - 0.85
        ax = figure.add_axes((left / width, (top - high) / height, wide / width, high / height))
        ax.imshow(picture, cmap="gray", vmin=0, vmax=255, aspect="auto",
                  extent=(0, shown.extent[1], shown.extent[0], 0))  # fmt: skip
        ax.set_axis_off()
        color, marker = _look(c)
        ax.plot([0.012], [-0.06], marker=marker, color=color, markersize=5, clip_on=False,
                transform=ax.transAxes)  # fmt: skip
        low, high = shown.limits[c]
        name = style.text(shown.names[c], 16)
        caption = f"{name}: maximum over z, frame {shown.frame}, grey {low:.4g} to {high:.4g}"
        ax.text(0.045, -0.06, caption, fontsize=7.5, color=style.INK, va="center",
                transform=ax.transAxes)  # fmt: skip
        _scale(ax, shown)
    more = len(shown.names) - len(shown.pictures)
    if more > 0:
        figure.text(1 - 0.2 / width, 1 - 0.56 / height, f"and {more} more channels", fontsize=9,
                  color=style.QUIET, va="center", ha="right")  # fmt: skip


def _look(c: int) -> tuple[str, str]:
    return style.COLORS[c % len(style.COLORS)], style.MARKERS[c % len(style.MARKERS)]


def _scale(ax: Any, shown: Sheet) -> None:
    fifth = shown.extent[1] / 4
    power = 10.0 ** math.floor(math.log10(fifth))
    length = max(k * power for k in (1, 2, 5) if k * power <= fifth * (1 + 1e-9))
    y, x = shown.extent[0] * 0.94, shown.extent[1] * 0.04
    for color, wide in (("black", 5), ("white", 3)):  # seen on whatever lies below
        ax.plot([x, x + length], [y, y], color=color, linewidth=wide, solid_capstyle="butt")
    ax.text(
        x,
        y - shown.extent[0] * 0.025,
        f"{length:g} µm",
        color="white",
        fontsize=8,
        va="bottom",
        bbox={"facecolor": "black", "alpha": 0.6, "pad": 1, "linewidth": 0},
    )


def _grey(ax: Any, shown: Sheet) -> None:
    style.titled(ax, "", "Grey values")
    style.noted(ax, f"voxels of frame {shown.frame}")
    middles = (shown.edges[1:] + shown.edges[:-1]) / 2
    for c, counts in enumerate(shown.counts):
        color, marker = _look(c)
        ax.plot(middles, np.where(counts > 0, counts, np.nan), color=color, linewidth=1.2,
                drawstyle="steps-mid", marker=marker, markersize=3.5,
                markevery=max(1, middles.size // 8))  # fmt: skip
    style.bare(ax)
    ax.set_yscale("log")
    ax.set_ylim(bottom=0.7)
    ax.set_xlabel("grey value", fontsize=8, color=style.INK, labelpad=2)
    ax.set_ylabel("voxels", fontsize=8.5, color=style.INK)


def _chart(ax: Any, shown: Sheet, name: str, label: str) -> None:
    """Draw something known of frames over time; a frame without a number is a gap, and counted."""
    values = shown.lines[name]
    finite = np.isfinite(values)
    every = max(1, len(values) // 8)
    for c in range(values.shape[1]):
        color, marker = _look(c)
        ax.plot(shown.minutes, np.where(finite[:, c], values[:, c], np.nan), color=color,
                linewidth=1.2, marker=marker, markersize=5 if len(values) < 3 else 3.5,
                markevery=(min(c, every - 1), every))  # fmt: skip
    style.bare(ax)
    ax.set_ylabel(label, fontsize=8.5, color=style.INK)
    ax.set_xlabel("minutes", fontsize=8, color=style.INK, labelpad=2)
    flat = float(values[finite].max()) if finite.any() else 0.0
    if not finite.any() or flat == values[finite].min():
        ax.set_ylim(min(0.0, 2 * flat), max(0.0, 2 * flat) or 1.0)
    note = f"{(~finite).sum()} of {finite.size} without a number" if not finite.all() else ""
    if name != schema.FRAME_SNR.name:
        style.noted(ax, note)
        return
    if shown.limit is not None and math.isfinite(shown.limit):
        ax.axhline(shown.limit, color=style.QUIET, linewidth=0.9, linestyle=(0, (5, 4)))
        ax.text(1, shown.limit, f"{shown.limit:g} dB", fontsize=7, color=style.QUIET, ha="right",
                va="bottom", transform=ax.get_yaxis_transform())  # fmt: skip
    if shown.verdicts is None:
        style.noted(ax, note)
    else:
        _verdicts(ax, shown, shown.verdicts)


def _verdicts(ax: Any, shown: Sheet, verdicts: np.ndarray) -> None:
    """Draw a strip of verdicts a channel along the foot, and above what they sum to."""
    flags = schema.QUALITY_FLAG.flags
    levels = np.clip(verdicts.astype(int), 0, len(flags) - 1)
    times, tall = shown.minutes, 0.05
    step = times[-1] - times[-2] if times.size > 1 else 1.0
    edges = np.append(times, times[-1] + step) - step / 2
    channels = levels.shape[1]
    for c in range(channels):
        foot = 0.015 + (channels - 1 - c) * tall * 1.3
        color, marker = _look(c)
        ax.plot([-0.025], [foot + tall / 2], marker=marker, color=color, markersize=4,
                transform=ax.transAxes, clip_on=False, zorder=5)  # fmt: skip
        for verdict, shade in enumerate(style.VERDICTS):
            frames = np.flatnonzero(levels[:, c] == verdict)
            spans = [(edges[i], edges[i + 1] - edges[i]) for i in frames]
            high = tall * (verdict + 1) / len(style.VERDICTS)  # worse ones stand higher
            ax.broken_barh(spans, (foot, high), facecolors=shade, linewidth=0,
                           transform=ax.get_xaxis_transform(), zorder=4)  # fmt: skip
    low, high = ax.get_ylim()
    room = tall * 1.3 * channels + 0.06
    ax.set_ylim(low - (high - low) * room / (1 - room), high)
    ax.set_yticks([tick for tick in ax.get_yticks() if low <= tick <= high])
    for i, (flag, shade) in enumerate(zip(flags, style.VERDICTS, strict=True)):
        ax.bar([0.015 + 0.3 * i], [0.06 * (i + 1) / len(flags)], 0.02, 1.03, color=shade,
               transform=ax.transAxes, clip_on=False)  # fmt: skip
        ax.text(0.045 + 0.3 * i, 1.02, f"{(levels == i).sum()} {flag}", fontsize=7.5, va="bottom",
                color=style.QUIET, transform=ax.transAxes)  # fmt: skip
