"""Ink and paper of the pictures that dpipe draws: figures, colours, axes, dots, stars, files.

Knows matplotlib, without its global state: a figure has a canvas of its own and nothing here
touches pyplot or settings, so that several threads may draw. Knows nothing of what is drawn.
"""

import functools
import importlib
import importlib.util
import io
import math
import os
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from dpipe.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, QUIET, RULE = "#1d2329", "#5a636c", "#d9dbd6"
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#333333")
"""Okabe and Ito's colours, told apart by people who see fewer; with `MARKERS`, by shape too."""
MARKERS = "os^DvPX"
VERDICTS = ("#56B4E9", "#E69F00", "#333333")
"""Good, doubtful, unusable: of the same colours, darker and drawn higher the worse."""
PHASES: Mapping[int, tuple[str, str, str]] = {
    0: ("healthy", "H", "#c4c9ce"),
    1: ("blebbing", "B", "#56B4E9"),
    2: ("disruption", "D", "#D55E00"),
}
"""Name, letter and colour of each phase; blue and orange differ for everybody."""
SUFFIXES = (".png", ".svg", ".pdf")
_FONT = "DejaVu Sans"
_MOST_DOTS = 1500
_BINS = 28


def available() -> bool:
    """Tell whether there is something to draw with."""
    return importlib.util.find_spec("matplotlib") is not None


def figure(width: float, height: float) -> "Figure":
    """Return an empty figure of so many inches, with a canvas of its own."""
    if not available():
        raise UsageError("plot: matplotlib is not installed; pip install 'dpipe[plot]'")
    drawing = importlib.import_module("matplotlib.figure").Figure(figsize=(width, height))
    importlib.import_module("matplotlib.backends.backend_agg").FigureCanvasAgg(drawing)
    drawing.set_facecolor("white")
    return drawing


def png(drawn: "Figure", dpi: float = 110, colors: int = 128) -> tuple[bytes, int, int]:
    """Return a figure as a small PNG, and its width and height in pixels."""
    before = drawn.dpi
    drawn.set_dpi(dpi)
    canvas: Any = drawn.canvas
    canvas.draw()
    pixels = np.array(canvas.buffer_rgba())[..., :3]
    drawn.set_dpi(before)
    image = Image.fromarray(pixels).quantize(colors, Image.Quantize.FASTOCTREE)
    file = io.BytesIO()
    image.save(file, "png", compress_level=7)
    return file.getvalue(), image.width, image.height


def save(drawn: "Figure", path: str | os.PathLike[str], dpi: float = 150) -> str:
    """Write a figure; the suffix says how."""
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(f"{path}: cannot draw {suffix or 'without a suffix'}; expected .png, .svg "
                         "or .pdf")  # fmt: skip
    file = io.BytesIO()
    drawn.savefig(file, format=suffix[1:], dpi=dpi)
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(file.getvalue())
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror})") from error
    return str(path)


def text(value: object, longest: int = 60) -> str:
    """Return a text as it can be drawn: what the font lacks is a box, dollars are no formula."""
    glyphs = _glyphs()
    shown = "".join(c if ord(c) in glyphs else "\N{WHITE SQUARE}" for c in str(value))
    shown = shown if len(shown) <= longest else f"{shown[: longest - 1]}\N{HORIZONTAL ELLIPSIS}"
    return shown.replace("$", r"\$")


@functools.cache
def _glyphs() -> frozenset[int]:
    manager = importlib.import_module("matplotlib.font_manager")
    return frozenset(manager.get_font(manager.findfont(_FONT)).get_charmap())


def bare(ax: Any, *, grid: bool = True) -> None:
    """Leave of an axes what is needed."""
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color(QUIET)
    ax.tick_params(labelsize=8, colors=QUIET, labelcolor=INK, length=3)
    if grid:
        ax.grid(axis="y", color=RULE, linewidth=0.6)
        ax.set_axisbelow(True)


def titled(ax: Any, letter: str, title: str) -> None:
    """Put a panel's letter and title above it."""
    head = f"{letter}   {title}" if letter else title
    ax.set_title(head, loc="left", fontsize=9.5, color=INK, fontweight="bold", pad=16)


def noted(ax: Any, line: str) -> None:
    """Put a quiet line between title and panel."""
    ax.text(0, 1.02, line, transform=ax.transAxes, fontsize=7.5, color=QUIET, va="bottom")


def empty(ax: Any, reason: str) -> None:
    """Say in an axes why nothing is drawn there."""
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_color(RULE)
        spine.set_linestyle((0, (4, 3)))
    ax.text(0.5, 0.5, reason, transform=ax.transAxes, fontsize=8, color=QUIET,
            ha="center", va="center", linespacing=1.5)  # fmt: skip


def dots(ax: Any, x: float, values: np.ndarray, number: int, width: float = 0.36) -> None:
    """Draw numbers as dots side by side, with their quartiles and median."""
    color, marker = COLORS[number % len(COLORS)], MARKERS[number % len(MARKERS)]
    shown = values
    if values.size > _MOST_DOTS:  # every so many of the sorted ones: the same spread
        shown = np.sort(values)[:: -(-values.size // _MOST_DOTS)]
    size = 20 if shown.size < 40 else 12 if shown.size < 150 else 6
    ax.scatter(x + swarm(shown, width), shown, s=size, c=color, marker=marker, alpha=0.75,
               linewidths=0, zorder=3)  # fmt: skip
    low, middle, high = np.percentile(values, [25, 50, 75])
    if values.size > 2:
        ax.vlines(x, low, high, color=INK, linewidth=1, zorder=2)
    ax.hlines(middle, x - width * 0.9, x + width * 0.9, color=INK, linewidth=2, zorder=2)


def wrapped(sentence: str, width: float) -> str:
    """Break small print into lines of so many inches."""
    return "\n".join(textwrap.wrap(sentence, max(20, int(width * 16.5))))


def swarm(values: np.ndarray, width: float) -> np.ndarray:
    """Return places beside each other for numbers that are alike, the same for the same numbers."""
    spread = float(np.ptp(values)) if values.size else 0.0
    bins = np.zeros(values.size, int)
    if spread:
        bins = np.minimum(((values - values.min()) / spread * _BINS).astype(int), _BINS - 1)
    places = np.zeros(values.size)
    widest = max(int(np.bincount(bins).max(initial=1)), 6)
    for members in (np.flatnonzero(bins == b) for b in np.unique(bins)):
        order = np.arange(members.size) - (members.size - 1) / 2
        places[members] = order * (2 * width / widest)
    return places


def brackets(ax: Any, marks: Sequence[tuple[float, float, str]], top: float, step: float) -> float:
    """Draw stars over pairs of places, from `top` upward; return how high they reach."""
    for i, (left, right, stars) in enumerate(marks):
        y = top + (i + 0.6) * step
        ax.plot([left, left, right, right], [y - step / 5, y, y, y - step / 5], color=QUIET,
                linewidth=0.9, clip_on=False)  # fmt: skip
        ax.text((left + right) / 2, y - step * 0.25, stars, ha="center", va="bottom", fontsize=8,
                color=INK)  # fmt: skip
    return top + (len(marks) + 0.6) * step if marks else top


def p_said(p: float, stars: str) -> str:
    """Return a p as people write it.

    >>> p_said(0.0004, "***"), p_said(0.0321, "*"), p_said(0.5, "ns")
    ('p < 0.001 ***', 'p = 0.032 *', 'p = 0.50 ns')
    """
    number = "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"
    return f"{number} {stars}"


def clock(seconds: float) -> str:
    """Return minutes and seconds.

    >>> clock(-75), clock(30.4), clock(float("nan"))
    ('−1:15', '0:30', '')
    """
    if not math.isfinite(seconds):
        return ""
    minutes, remainder = divmod(abs(round(seconds)), 60)
    return f"{'−' if round(seconds) < 0 else ''}{minutes}:{remainder:02d}"
