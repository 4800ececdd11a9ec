"""Numbers as figures of the run report: a chart over time, a strip of verdicts, a small picture.

Knows places on paper, ticks and colours; knows nothing of stores, runs or HTML. What it returns
is numbers, path data and checked colours; names go through it untouched and are escaped later.
"""

import base64
import io
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

PAPER = {"light": "ffffff", "dark": "1c2024"}
"""What figures are drawn on; colours of channels are made legible against it."""
_LEGIBLE = 4.5
_HEX = re.compile(r"[0-9A-Fa-f]{6}")
_MOST_POINTS = 400
_MOST_MARKS = 12

WIDTH = 520.0
_LEFT, _RIGHT, _TOP, _PLOT = 46.0, 8.0, 8.0, 126.0
_ROW, _GAP, _BELOW = 9.0, 3.0, 38.0


@dataclass(frozen=True)
class Line:
    """One channel of a chart: its name, colours on light and dark paper, and path data."""

    name: str
    light: str
    dark: str
    sample: str
    path: str
    marks: str
    lost: str
    said: str


@dataclass(frozen=True)
class Row:
    """Verdicts of one channel: where its row lies, and path data by verdict."""

    y: float
    paths: tuple[str, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Chart:
    """A chart, ready to be drawn: places in the units of a box of WIDTH by `height`."""

    height: float
    left: float
    right: float
    top: float
    bottom: float
    foot: float
    lines: tuple[Line, ...]
    rows: tuple[Row, ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    limit: float | None
    limit_said: str
    x_label: str
    binned: int


def picture(values: np.ndarray, color: str, largest: int) -> tuple[str, int, int]:
    """Draw a grey picture in the tint of a colour.

    Parameters
    ----------
    values : numpy.ndarray, shape (y, x), uint8
        Grey values.
    color : str
        ``RRGGBB``; anything else is white.
    largest : int
        Largest width and height in pixels; a larger picture is shrunk.

    Returns
    -------
    tuple of (str, int, int)
        A PNG as ``data:`` URL, its width, its height.
    """
    image = Image.fromarray(np.ascontiguousarray(values))
    image.thumbnail((largest, largest))
    tint = bytes.fromhex(_checked(color))
    image.putpalette([grey * part // 255 for grey in range(256) for part in tint])
    file = io.BytesIO()
    image.save(file, "png", optimize=True)
    text = base64.b64encode(file.getvalue()).decode()
    return f"data:image/png;base64,{text}", image.width, image.height


def legible(color: str, paper: str) -> str:
    """Return a colour as near to the one given as can be read on a paper.

    Parameters
    ----------
    color, paper : str
        ``RRGGBB``; a `color` that is none counts as white.

    Returns
    -------
    str
        ``RRGGBB``, darkened or lightened until its WCAG contrast is at least 4.5.

    Examples
    --------
    >>> legible("00FF00", "ffffff"), legible("FF00FF", "1c2024"), legible("no colour", "1c2024")
    ('008700', 'ff00ff', 'ffffff')
    """
    rgb = np.frombuffer(bytes.fromhex(_checked(color)), "u1").astype(float)
    goal = 0.0 if _luminance(paper) > 0.5 else 255.0
    for share in np.linspace(0, 1, 52):
        mixed = bytes(np.rint(rgb + (goal - rgb) * share).astype("u1")).hex()
        high, low = sorted((_luminance(mixed), _luminance(paper)), reverse=True)
        if (high + 0.05) / (low + 0.05) >= _LEGIBLE:
            break
    return mixed


def scales(movies: Sequence[tuple[np.ndarray, float | None]]) -> list[tuple[float, float]]:
    """Return the ends of the vertical axis of each chart: everywhere the same, if that can be.

    Parameters
    ----------
    movies : sequence of (numpy.ndarray, float or None)
        Values of each chart, and a limit that its axis holds too. What is not finite is left out.

    Returns
    -------
    list of (float, float)
        The least and the largest value of all, with some air; but each chart's own if half of
        the charts would use less than a third of that.

    Examples
    --------
    >>> scales([(np.array([8.0, np.inf]), 5), (np.array([18.0]), 5)])
    [(4.35, 18.65), (4.35, 18.65)]
    >>> scales([(np.array([8.0]), 5), (np.array([9.0]), 5), (np.array([205.0]), 5)])
    [(4.85, 8.15), (4.8, 9.2), (-5.0, 215.0)]
    """
    ends = []
    for values, limit in movies:
        finite = values[np.isfinite(values)].tolist() + ([] if limit is None else [limit])
        ends.append((min(finite, default=0.0), max(finite, default=1.0)))
    low, high = min(ends, default=(0.0, 1.0))[0], max((top for _, top in ends), default=1.0)
    usual = float(np.median([top - bottom for bottom, top in ends] or [0.0]))
    chosen = [(low, high)] * len(ends) if high - low <= 3 * usual else ends
    airs = [0.05 * (top - bottom) or 1.0 for bottom, top in chosen]
    return [(lo - air, hi + air) for (lo, hi), air in zip(chosen, airs, strict=True)]


def chart(
    seconds: np.ndarray,
    values: np.ndarray,
    names: Sequence[str],
    colors: Sequence[str],
    *,
    step: float,
    span: tuple[float, float],
    limit: float | None = None,
    verdicts: np.ndarray | None = None,
    kinds: int = 3,
) -> Chart:
    """Place a chart of values over time, and below it a row of verdicts a channel.

    Parameters
    ----------
    seconds : numpy.ndarray, shape (t,)
        Time of each frame; where they do not rise, frames are numbered instead.
    values : numpy.ndarray, shape (t, c)
        What is not finite becomes a gap.
    names, colors : sequence of str
        Of the channels; colours are ``RRGGBB``.
    step : float
        Seconds between frames, for the width of a verdict where there is but one frame.
    span : tuple of (float, float)
        Ends of the vertical axis.
    limit : float, optional
        Where a horizontal line is drawn.
    verdicts : numpy.ndarray, shape (t, c), optional
        0 to `kinds` - 1; what is larger counts as the last.
    kinds : int
        Number of verdicts.

    Returns
    -------
    Chart
        Places and path data.
    """
    timed = bool(np.isfinite(seconds).all() and (np.diff(seconds) > 0).all())
    times = seconds / 60 if timed else np.arange(len(seconds), dtype=float)
    edges = _edges(times, step / 60 if timed and 0 < step < math.inf else 1.0)
    bottom = _TOP + _PLOT
    x = _ruler(edges[0], edges[-1], _LEFT, WIDTH - _RIGHT)
    y = _ruler(span[0], span[1], bottom, _TOP)
    channels = range(values.shape[1])
    rows = tuple(
        _row(x(edges), verdicts[:, c], bottom + _GAP + c * (_ROW + _GAP), kinds)
        for c in channels
        if verdicts is not None
    )
    marked = ticks(edges[0], edges[-1], 8) if len(times) > 1 else times.tolist()
    foot = bottom + len(rows) * (_ROW + _GAP) + (_GAP if rows else 0)
    return Chart(
        height=foot + _BELOW,
        left=_LEFT,
        right=WIDTH - _RIGHT,
        top=_TOP,
        bottom=bottom,
        foot=foot,
        lines=tuple(
            _line(c, x(times), y(values[:, c]), values[:, c], names[c], colors[c]) for c in channels
        ),
        rows=rows,
        x_ticks=tuple((round(float(x(v)), 1), f"{v:g}") for v in marked),
        y_ticks=tuple((round(float(y(v)), 1), f"{v:g}") for v in ticks(*span, 5)),
        limit=None if limit is None else round(float(y(limit)), 1),
        limit_said="" if limit is None else f"{limit:g}",
        x_label="time (min)" if timed else "frame",
        binned=_bin(len(times)),
    )


def ticks(low: float, high: float, count: int) -> list[float]:
    """Return round numbers between two ends, steps of 1, 2 or 5 times a power of ten.

    Examples
    --------
    >>> ticks(-0.3, 23.1, 5)
    [0.0, 5.0, 10.0, 15.0, 20.0]
    """
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * k for k in (1, 2, 5, 10) if power * k >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{k * step:.12g}") for k in range(first, last + 1)]


def _ruler(low: float, high: float, start: float, stop: float) -> Callable[[Any], np.ndarray]:
    """Return a linear scale, which maps `low` to `start` and `high` to `stop`."""
    return lambda value: start + (np.asarray(value) - low) * ((stop - start) / (high - low))


def _edges(times: np.ndarray, step: float) -> np.ndarray:
    """Return the borders between frames, half a step beyond the first and the last."""
    if len(times) == 1:
        return times + np.array([-0.5, 0.5]) * step
    middles = (times[1:] + times[:-1]) / 2
    return np.concatenate([[1.5 * times[0] - times[1] / 2], middles, [2 * times[-1] - middles[-1]]])


def _bin(count: int) -> int:
    """Return the number of frames a bin, so that a line has not too many points."""
    return -(-count // _MOST_POINTS)


def _line(
    number: int, x: np.ndarray, y: np.ndarray, values: np.ndarray, name: str, color: str
) -> Line:
    runs = list(_runs(x, np.where(np.isfinite(values), y, np.nan)))
    path = "".join(f"M{'L'.join(f'{a:.1f} {b:.1f}' for a, b in run)}" for run in runs)
    drawn = [point for run in runs for point in run]
    every = max(1, -(-len(drawn) // _MOST_MARKS))
    alone = [run[0] for run in runs if len(run) == 1]
    marked = dict.fromkeys([*drawn[number % every :: every], *alone])
    lost = x[~np.isfinite(values)][:_MOST_POINTS]
    low = _TOP + _PLOT - 1 - 5 * (number % 4)
    finite = values[np.isfinite(values)]
    description = (
        f"{finite.min():.3g} to {finite.max():.3g} dB" if finite.size else "no finite value"
    )
    if len(finite) < len(values):
        description += f", {len(values) - len(finite)} of {len(values)} frames without one"
    return Line(
        name=name,
        light=legible(color, PAPER["light"]),
        dark=legible(color, PAPER["dark"]),
        sample=_mark(number, 13, 6),
        path=path,
        marks="".join(_mark(number, a, b) for a, b in marked),
        lost="".join(f"M{a:.1f} {low:.1f}v-4" for a in lost),
        said=description,
    )


def _runs(x: np.ndarray, y: np.ndarray) -> Iterator[list[tuple[float, float]]]:
    """Yield the points between gaps; of frames that fall together the least and the largest."""
    size = _bin(len(x))
    run: list[tuple[float, float]] = []
    for start in range(0, len(x), size):
        group = y[start : start + size]
        group = group[np.isfinite(group)]
        if group.size:
            middle = float(x[start : start + size].mean())
            run += [(middle, float(v)) for v in dict.fromkeys((group.min(), group.max()))]
        elif run:
            yield run
            run = []
    if run:
        yield run


def _mark(number: int, x: float, y: float) -> str:
    """Return a disc, a square, a triangle or a diamond: channels differ by more than colour."""
    shapes = (
        f"M{x - 2.8:.1f} {y:.1f}a2.8 2.8 0 1 0 5.6 0a2.8 2.8 0 1 0-5.6 0z",
        f"M{x - 2.5:.1f} {y - 2.5:.1f}h5v5h-5z",
        f"M{x:.1f} {y - 3.4:.1f}l3.3 5.6h-6.6z",
        f"M{x:.1f} {y - 3.6:.1f}l3.6 3.6l-3.6 3.6l-3.6-3.6z",
    )
    return shapes[number % 4]


def _row(edges: np.ndarray, verdicts: np.ndarray, y: float, kinds: int) -> Row:
    """Place one row of verdicts, the worse the higher; where frames fall together the worst."""
    levels = np.minimum(verdicts.astype(int), kinds - 1)
    size = _bin(len(levels))
    shown = np.maximum.reduceat(levels, np.arange(0, len(levels), size))
    borders = np.append(edges[:-1:size], edges[-1])
    first = np.flatnonzero(np.diff(shown, prepend=-1))
    last = np.append(first[1:], len(shown))
    paths = [""] * kinds
    for start, stop in zip(first, last, strict=True):
        left, right = borders[start], borders[stop]
        high = _ROW * (shown[start] + 1) / kinds
        top = y + _ROW - high
        paths[shown[start]] += f"M{left:.1f} {top:.1f}H{right:.1f}v{high:g}H{left:.1f}z"
    return Row(y, tuple(paths), tuple(np.bincount(levels, minlength=kinds).tolist()))


def _checked(color: str) -> str:
    return color if _HEX.fullmatch(color) else "ffffff"


def _luminance(color: str) -> float:
    """Relative luminance of an sRGB colour, as WCAG 2 defines it."""
    parts = np.frombuffer(bytes.fromhex(color), "u1") / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])
