"""A gallery of crops, drawn: pictures in rows, outlines, bars and a legend."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dpipe.plot import style
from dpipe.plot.crop_gallery import Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_GAP, _STRIP = 3.0, 12.0
_TILE, _LEFT, _FOOT = 1.0, 1.45, 0.54
"""Inches of a picture, of the names beside it, and of what is said below."""
OUTLINE, TRACK = "#F0E442", "#00E5C3"


def draw(shown: Sequence[Row]) -> "Figure":
    """Draw rows of pictures as one mosaic, and over it what is known of them."""
    columns = max(len(row.pictures) for row in shown)
    tall = max(row.pictures.shape[1] for row in shown)
    wide = max(row.pictures.shape[2] for row in shown)
    strip = _STRIP * wide / 64
    step = (tall + strip + 2 * _GAP * wide / 64, wide + _GAP * wide / 64)
    inch = _TILE / wide
    width = _LEFT + max(columns * step[1] * inch, 4.2) + 0.12
    height = len(shown) * step[0] * inch + _FOOT + 0.06
    figure = style.figure(width, height)
    ax = figure.add_axes((_LEFT / width, _FOOT / height, 1 - (_LEFT + 0.12) / width,
                        1 - (_FOOT + 0.06) / height))  # fmt: skip
    span = ((width - _LEFT - 0.12) / inch, len(shown) * step[0])
    ax.set_xlim(0, span[0])
    ax.set_ylim(span[1], 0)
    ax.set_axis_off()
    canvas = np.full((math.ceil(span[1]), math.ceil(columns * step[1])), 255, np.uint8)
    paths, outlines, strips = [], [], []
    alike = len({(row.low, row.high) for row in shown if len(row.pictures)}) < 2
    for r, row in enumerate(shown):
        for k, picture in enumerate(row.pictures):
            top, left = round(r * step[0]), round(k * step[1])
            h, w = picture.shape
            canvas[top : top + h, left : left + w] = picture
            corner = np.asarray([top + 0.5, left + 0.5])
            paths.append(_inside(row.paths[k], h, w) + corner)
            outlines += [line + corner for line in row.outlines[k]]
            strips.append((top + h, left, w, strip, row, k))
        if not len(row.pictures):
            ax.text(0, r * step[0] + tall / 2, "no frame of it lies in the movie", fontsize=8,
                    color=style.QUIET)  # fmt: skip
        ax.text(-0.1 / inch, r * step[0] + tall / 2, style.text(row.name, 18), ha="right",
                va="bottom", fontsize=8.5, fontweight="bold", color=style.INK)  # fmt: skip
        label = row.said if alike else f"{row.said}\ngrey {row.low:.4g} to {row.high:.4g}"
        ax.text(-0.1 / inch, r * step[0] + tall / 2 + 2, label, ha="right", va="top",
                fontsize=7.5, color=style.QUIET)  # fmt: skip
        if len(row.pictures):
            _bar(ax, row, r * step[0], tall)
    ax.imshow(canvas, cmap="gray", vmin=0, vmax=255, interpolation="nearest", aspect="auto",
              extent=(0, canvas.shape[1], canvas.shape[0], 0))  # fmt: skip
    _over(ax, paths, outlines, strips)
    _legend(figure, shown, bool(outlines), alike)
    return figure


def _inside(path: np.ndarray, height: int, width: int) -> np.ndarray:
    """Leave out the points of a path that lie beyond its picture."""
    inside = (path >= -0.5).all(axis=1) & (path <= [height - 0.5, width - 0.5]).all(axis=1)
    return path[inside]


def _over(
    ax: Any,
    paths: Sequence[np.ndarray],
    outlines: Sequence[np.ndarray],
    strips: Sequence[tuple[float, float, float, float, Row, int]],
) -> None:
    """Draw outlines, tracks and phases; a line for many of each, since each costs time."""
    for lines, color, wide in ((outlines, OUTLINE, 0.9), (paths, TRACK, 1.0)):
        joined = [np.concatenate([line, [[np.nan, np.nan]]]) for line in lines if len(line) > 1]
        if joined:
            y, x = np.concatenate(joined).T
            ax.plot(x, y, color=color, linewidth=wide, solid_capstyle="round", clip_on=True)
    for top, left, width, strip, row, k in strips:
        name = style.PHASES.get(int(row.phases[k]))
        over = not row.phases[k] and np.isin(row.phases[:k], (1, 2)).any()  # no longer healthy
        color = name[2] if name and not over else "white"
        ax.fill([left, left + width, left + width, left], [top, top, top + strip, top + strip],
                color=color, linewidth=0)  # fmt: skip
        label = f"{name[1]}  " if name and not over else ""
        ax.text(left + width / 2, top + strip / 2, label + style.clock(row.seconds[k]), ha="center",
                va="center_baseline", fontsize=6.5, color=style.INK)  # fmt: skip


def _bar(ax: Any, row: Row, top: float, tall: float) -> None:
    """Draw a scale bar in the first picture of a row: a round number, about a third of it."""
    third = row.pictures.shape[2] * row.pixel / 3
    power = 10.0 ** math.floor(math.log10(third)) if third > 0 else 1.0
    length = max(k * power for k in (1, 2, 5) if k * power <= third * (1 + 1e-9))
    height = row.pictures.shape[1]
    left, y = 0.06 * row.pictures.shape[2], top + height * 0.92
    for color, wide in (("black", 4), ("white", 2.2)):  # seen on whatever lies below
        ax.plot([left, left + length / row.pixel], [y, y], color=color, linewidth=wide,
                solid_capstyle="butt")  # fmt: skip
    ax.text(left, y - 0.05 * tall, f"{length:g} µm", color="white", fontsize=6.5, va="bottom",
            bbox={"facecolor": "black", "alpha": 0.6, "pad": 1, "linewidth": 0})  # fmt: skip


def _legend(figure: "Figure", shown: Sequence[Row], outlined: bool, alike: bool) -> None:
    """Say below what strips, lines, numbers and grey values mean."""
    width, height = figure.get_size_inches()
    seen = {int(phase) for row in shown for phase in row.phases}
    items = [(f"{letter}  {name}", color, "s") for phase, (name, letter, color)
             in style.PHASES.items() if phase in seen]  # fmt: skip
    moved = any(len(path) > 1 and np.ptp(path, axis=0).any() for row in shown for path in row.paths)
    items += [("track so far", TRACK, "_")] if moved else []
    items += [("masks", OUTLINE, "_")] if outlined else []
    x = _LEFT
    for label, color, kind in items:
        box = figure.add_artist(_patch(x / width, 0.34 / height, color, kind, width, height))
        box.set_zorder(5)
        figure.text((x + 0.19) / width, 0.38 / height, label, fontsize=7.5, color=style.INK,
                  va="center")  # fmt: skip
        x += 0.36 + 0.075 * len(label)
    drawn = [row for row in shown if len(row.pictures)]
    label = "black to white: the grey values beside each row"
    if alike and drawn:
        low, high = drawn[0].low, drawn[0].high
        label = f"black to white: grey values {low:.4g} to {high:.4g} in every row"
    figure.text(0.1 / width, 0.16 / height, f"{label}; min:s after the event's first frame",
              fontsize=7.5, color=style.QUIET, va="center")  # fmt: skip


def _patch(x: float, y: float, color: str, kind: str, width: float, height: float) -> Any:
    import matplotlib.patches  # needed only where something is drawn

    tall = 0.1 if kind == "s" else 0.05
    return matplotlib.patches.Rectangle(
        (x, y + (0.09 - tall) / 2 / height), 0.14 / width, tall / height,
        facecolor=color, edgecolor=style.QUIET, linewidth=0.4,
    )  # fmt: skip
