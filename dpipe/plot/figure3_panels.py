"""Figure 3 of the Leuko-Death study, drawn: panels of dots by group, with medians and stars.

Knows how panels stand on paper; what they show is worked out in ``_panels.py``.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dpipe.operators import stars
from dpipe.plot import style
from dpipe.plot.figure3_data import OTHER, Panel

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMNS = 4
_MOST_BRACKETS = 4
_MOST_GROUPS = 24
_DASHED = {"A": "an SNR above 5 dB is good (A)", "F": "the middle of an event (F)"}
_SHOWS = 0.05
_LEVEL = 5
"""More names than these are written aslant."""
_SHARES, _SHARE = "EFIJ", (-0.03, 1.03)


def draw(panels: Sequence[Panel], by: str) -> "Figure":
    """Draw panels side by side, four a row, and below what the marks mean."""
    columns = min(_COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    names = _groups(panels)
    tilted = 0.35 if len(names) > _LEVEL else 0.0
    width = 2.9 * columns + 0.3
    legend = style.wrapped(_legend(panels, by), width - 0.3)
    foot = 0.62 + tilted + 0.17 * (legend.count("\n") + 1)
    side, gap = 1.75, 0.98 + tilted
    height = 0.5 + rows * side + (rows - 1) * gap + foot
    drawn = style.figure(width, height)
    grid = drawn.add_gridspec(
        rows, columns, left=0.62 / width, right=1 - 0.15 / width, top=1 - 0.5 / height,
        bottom=foot / height, wspace=0.36, hspace=gap / side,
    )  # fmt: skip
    number = {name: i for i, name in enumerate(names)}
    for i, panel in enumerate(panels):
        ax = drawn.add_subplot(grid[i // columns, i % columns])
        style.titled(ax, panel.letter, panel.title)
        if not panel.groups:
            style.empty(ax, f"no data: needs\n{panel.needs}")
        elif panel.letter == "B":
            _bars(ax, panel, number)
        else:
            _strip(ax, panel, number)
    drawn.text(0.12 / width, 0.08 / height, legend, fontsize=7.5, color=style.QUIET, va="bottom",
               linespacing=1.35)  # fmt: skip
    return drawn


def _groups(panels: Sequence[Panel]) -> list[str]:
    """Return all groups, those without one last: each has the same colour in every panel."""
    names = dict.fromkeys(name for panel in panels for name in panel.groups)
    return sorted(names, key=lambda name: name == OTHER)


def _strip(ax: Any, panel: Panel, number: Mapping[str, int]) -> None:
    """Draw a column of dots a group."""
    groups = dict(itertools.islice(panel.groups.items(), _MOST_GROUPS))
    for x, (name, values) in enumerate(groups.items()):
        style.dots(ax, x, values, number[name])
    style.bare(ax)
    every = np.concatenate(list(groups.values()))
    low, high = _span(panel, every)
    if panel.limit is not None and low <= panel.limit <= high:
        ax.axhline(panel.limit, color=style.QUIET, linewidth=0.9, linestyle=(0, (5, 4)), zorder=1)
    marks = _marks(panel, list(groups))
    step = (high - low) * 0.13
    if high == _SHARE[1]:
        ax.set_yticks([0, 0.25, 0.5, 0.75, 1])
    top = style.brackets(ax, marks, high, step) if marks else high
    ax.set_ylim(low, top + (step * 0.8 if marks else 0))
    ax.set_xlim(-0.6, len(groups) - 0.4)
    ax.set_ylabel(panel.label, fontsize=8.5, color=style.INK)
    _named(ax, panel, groups)
    style.noted(ax, _note(panel))


def _span(panel: Panel, values: np.ndarray) -> tuple[float, float]:
    """Return the ends of the vertical axis: 0 to 1 for shares, from 0 for what cannot be less."""
    low, high = float(values.min()), float(values.max())
    if panel.letter in _SHARES and low >= 0 and high <= 1:
        return _SHARE
    if panel.limit is not None:
        low, high = min(low, panel.limit), max(high, panel.limit)
    if low >= 0:
        return (0.0, high * 1.06) if high > 0 else (0.0, 1.0)
    air = 0.06 * (high - low) or 1.0
    return low - air, high + air


def _marks(panel: Panel, shown: Sequence[str]) -> list[tuple[float, float, str]]:
    """Return the pairs that differ most, narrow ones first."""
    if panel.tests is None:
        return []
    place = {name: float(x) for x, name in enumerate(shown)}
    pairs = sorted(
        (p, place[a], place[b])
        for (a, b), (_, p) in panel.tests.pairs.items()
        if p < 0.05 and a in place and b in place
    )[:_MOST_BRACKETS]
    return [(a, b, stars(p)) for p, a, b in sorted(pairs, key=lambda f: (f[2] - f[1], f[1]))]


def _note(panel: Panel) -> str:
    """Say under the title what a test over all groups gives, and what is left out."""
    parts = []
    if panel.tests is not None and not math.isnan(panel.tests.p):
        parts.append(f"Kruskal-Wallis {style.p_said(panel.tests.p, stars(panel.tests.p))}")
        parts += ["n too small"] if panel.tests.least >= _SHOWS else []
    elif panel.tests is None:
        (values,) = panel.groups.values() if len(panel.groups) == 1 else (np.zeros(0),)
        parts += [f"median {np.median(values):.3g}"] if values.size else []
    if panel.left_out:
        parts.append(f"{panel.left_out} without a number")
    if len(panel.groups) > _MOST_GROUPS:
        parts.append(f"{len(panel.groups) - _MOST_GROUPS} groups not shown")
    return ", ".join(parts)


def _named(ax: Any, panel: Panel, groups: Mapping[str, np.ndarray]) -> None:
    """Name the groups, and say how many numbers each has, and of how many movies."""
    many = len(groups) > _LEVEL
    gap = " " if many else "\n"
    labels = []
    for name, values in groups.items():
        of = "" if panel.each == "movie" else f" in {panel.movies[name]}"
        labels.append(f"{style.text(name, 16)}{gap}({values.size}{of})")
    tilt = {"rotation": 55, "ha": "right", "rotation_mode": "anchor"} if many else {}
    size = 8 if len(groups) < 5 else 7
    ax.set_xticks(range(len(groups)), labels, fontsize=size, **tilt)
    ax.tick_params(axis="x", length=0)


def _bars(ax: Any, panel: Panel, number: Mapping[str, int]) -> None:
    """Count the movies of each sampling interval, groups on top of each other."""
    steps = np.unique(np.concatenate(list(panel.groups.values())))
    below = np.zeros(steps.size)
    for name, values in panel.groups.items():
        counts = np.asarray([(values == step).sum() for step in steps])
        color = style.COLORS[number[name] % len(style.COLORS)]
        ax.bar(range(steps.size), counts, 0.62, bottom=below, color=color, edgecolor="white",
               linewidth=0.8, label=style.text(name, 16), zorder=3)  # fmt: skip
        below += counts
    style.bare(ax)
    for x, count in enumerate(below):
        ax.text(x, count, f"{count:.0f}", ha="center", va="bottom", fontsize=8, color=style.INK)
    keyed = 1 < len(panel.groups) <= len(style.COLORS)
    ax.set_ylim(0, below.max() * (1.5 if keyed else 1.15))
    air = 0.6 if steps.size > 1 else 1.1
    ax.set_xlim(-air, steps.size - 1 + air)
    ax.yaxis.get_major_locator().set_params(integer=True)
    ax.set_ylabel(panel.label, fontsize=8.5, color=style.INK)
    ax.set_xticks(range(steps.size), [f"{step:g}" for step in steps], fontsize=8)
    ax.set_xlabel("seconds between frames", fontsize=8, color=style.INK, labelpad=2)
    if keyed:
        ax.legend(fontsize=7, frameon=False, handlelength=0.9, handleheight=0.9, labelspacing=0.25,
                  handletextpad=0.4, columnspacing=0.8, borderaxespad=0.1, loc="upper left",
                  ncols=4)  # fmt: skip
    style.noted(ax, f"{panel.left_out} without a number" if panel.left_out else "")


def _legend(panels: Sequence[Panel], by: str) -> str:
    """Return the legend: the meaning of marks, dots and tests."""
    letters_of: dict[str, str] = {}
    for panel in panels:
        if panel.groups and panel.letter != "B":
            letters_of[panel.each] = letters_of.get(panel.each, "") + panel.letter
    dots = "; ".join(f"{kind} ({', '.join(letters)})" for kind, letters in letters_of.items())
    sentences = [f"One dot: one {dots}." if dots else "", "Wide bar: median; thin bar: quartiles."]
    lines = [_DASHED[p.letter] for p in panels if p.limit is not None and p.groups]
    sentences += [f"Dashed: {'; '.join(lines)}."] if lines else []
    tested = [panel.tests for panel in panels if panel.tests]
    if tested:
        grouped = "the letters of their names" if by == "stem" else by
        pairs = sum(not math.isnan(p) for result in tested for _, p in result.pairs.values())
        sentences.append(
            f"Movies are grouped by {style.text(grouped)}; numbers in brackets count dots, and the "
            "movies that they are in. Tests compare movies, of events and tracks their means: over "
            "all Kruskal-Wallis, over pairs Mann-Whitney, two-sided, exact for small groups: "
            f"* p < 0.05, ** p < 0.01, *** p < 0.001, not corrected for the {pairs} pairs."
        )
        if any(result.small for result in tested):
            sentences.append("n too small: so few movies cannot have a p below 0.05.")
    sentences += [f"{p.letter}: {p.rule}." for p in panels if p.rule and p.groups]
    return " ".join(filter(None, sentences))
