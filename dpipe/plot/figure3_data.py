"""Figure 3 of the Leuko-Death study as numbers: what each panel shows, by groups of movies.

Knows which variables a panel is made of and how events become numbers; draws nothing.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import xarray as xr

from dpipe import schema
from dpipe.compute import compute
from dpipe.errors import SchemaError, UsageError
from dpipe.operators import Comparison, compare, grouped, movie_means, natural

OTHER = "no group"
Number = tuple[str, float]
"""A movie's stem, and a number of it, or of one of its events."""


@dataclass(frozen=True)
class MovieResult:
    """One part of one dataset."""

    source: str
    stem: str
    ds: xr.Dataset


@dataclass(frozen=True)
class Panel:
    """One panel of Figure 3.

    Attributes
    ----------
    letter, title, label : str
        Its letter, what it shows, and its axis with the unit.
    each : str
        What one number stands for: a movie, an event, a track.
    needs : str
        What would have to be there, said where nothing is.
    limit : float, optional
        Where the study draws a line.
    groups : dict of str to numpy.ndarray
        Finite numbers by group of movies, groups without one left out.
    movies : dict of str to int
        Of how many movies they are, by the same.
    source : str
        Dataset that they come from, where the data has several.
    left_out : int
        How many are not finite.
    tests : Comparison, optional
        Of the groups, where there are at least two. A movie counts once: events or tracks of one
        are not independent, so that their mean stands for it.
    rule : str
        What is to be said of how the numbers were found.
    """

    letter: str
    title: str
    label: str
    each: str
    needs: str
    limit: float | None = None
    groups: dict[str, np.ndarray] = field(default_factory=dict)
    movies: dict[str, int] = field(default_factory=dict)
    source: str = ""
    left_out: int = 0
    tests: Comparison | None = None
    rule: str = ""


def leaves(data: xr.Dataset | xr.DataTree | Mapping[str, xr.Dataset]) -> list[MovieResult]:
    """Return the parts of a dataset, a tree of parts, or a tree of such trees."""
    if isinstance(data, xr.Dataset):
        return [MovieResult("", str(data.attrs.get("stem", "data")), data)]
    if isinstance(data, xr.DataTree):
        nodes = [node for node in data.subtree if node.variables]
        return [
            MovieResult(
                node.parent.path.strip("/") if node.parent else "",
                str(node.name or "data"),
                node.to_dataset(),
            )
            for node in nodes
        ]  # fmt: skip
    return [MovieResult("", str(stem), ds) for stem, ds in data.items()]


def panels(results: Sequence[MovieResult], by: str, letters: str) -> list[Panel]:
    """Return the panels of Figure 3 whose letters are wanted."""
    available = {panel.letter: (panel, finds) for panel, *finds in _PANELS}
    if isinstance(letters, str) and not set(letters) <= set(available):
        raise UsageError(f"panels: found {letters!r}; expected some of {''.join(available)}")
    per_letter = {letter: _first(results, available[letter][1]) for letter in letters}
    stems = dict.fromkeys(stem for _, numbers in per_letter.values() for stem, _ in numbers)
    groups = grouped(stems, [(leaf.stem, leaf.ds) for leaf in results], by) if stems else {}
    drawn = [_panel(available[letter][0], *per_letter[letter], groups) for letter in letters]
    return [replace(p, rule=_rule(results, p.source)) if p.letter == "E" else p for p in drawn]


def _panel(
    plain: Panel, source: str, numbers: Sequence[Number], groups: Mapping[str, str]
) -> Panel:
    finite = [(stem, number) for stem, number in numbers if math.isfinite(number)]
    by_group: dict[str, list[float]] = {}
    movies: dict[str, dict[str, list[float]]] = {}
    first: dict[str, str] = {}  # a movie that is spelled in two ways is one
    for stem, number in finite:
        group = groups[first.setdefault(schema.movie_key(stem), stem)] or OTHER
        by_group.setdefault(group, []).append(number)
        movies.setdefault(group, {}).setdefault(schema.movie_key(stem), []).append(number)
    names = sorted(by_group, key=lambda name: (name == OTHER, natural(name)))
    tested = {
        name: [float(np.mean(of_movie)) for of_movie in movies[name].values()]
        for name in names
        if name != OTHER
    }
    return replace(
        plain,
        groups={name: np.asarray(by_group[name]) for name in names},
        movies={name: len(movies[name]) for name in names},
        source=source,
        left_out=len(numbers) - len(finite),
        tests=compare(tested) if len(tested) > 1 and plain.letter != "B" else None,
    )


def _rule(results: Sequence[MovieResult], source: str) -> str:
    """Return the rule by which cells count as clustered, where it is not the published one."""
    datasets = [leaf.ds for leaf in results if leaf.source == source]
    for name, by in (_CLUSTERED[0], "the figure's caption"), (_CLUSTERED[1], "the study's text"):
        attrs = next((ds[name].attrs for ds in datasets if name in ds), None)
        if attrs is not None:
            others = attrs.get("neighbours", 3)
            whose = by if others in (2, 3) else "neither the study's text nor its caption"
            near = f" within {attrs['radius']:g} µm" if "radius" in attrs else ""
            return f"a cell with at least {others} others{near}, as {whose} has it"
    return ""


_CLUSTERED = (schema.CELL_CLUSTERED_THREE.name, schema.CELL_CLUSTERED.name)
Find = Callable[[Sequence[MovieResult]], Sequence[Number]]


def _first(results: Sequence[MovieResult], finds: Sequence[Find]) -> tuple[str, Sequence[Number]]:
    """Return the numbers of the first dataset that has any; tables by single annotators are last.

    Of several ways to find them, the first is tried on all datasets before the next.
    """
    sources: dict[str, list[MovieResult]] = {}
    for leaf in results:
        sources.setdefault(leaf.source, []).append(leaf)
    apart = {source: any(map(_single, group)) for source, group in sources.items()}
    for last, find in itertools.product((False, True), finds):
        for source, group in sources.items():
            numbers = find(group) if apart[source] == last else ()
            if any(math.isfinite(number) for _, number in numbers):
                return source, numbers
    return "", ()


def _single(leaf: MovieResult) -> bool:
    return bool({"annotator", "track_annotator"} & set(map(str, leaf.ds.coords)))


def _means(*names: str) -> Find:
    """Return a function that reads one number a movie: the mean of the first variable found."""

    def find(results: Sequence[MovieResult]) -> Sequence[Number]:
        for name in names:
            children = {leaf.stem: leaf.ds for leaf in results if name in leaf.ds}
            if children:
                return list(movie_means(children, [name])[name].items())
        return ()

    return find


def _intervals(results: Sequence[MovieResult]) -> Sequence[Number]:
    """Return the seconds between frames of each movie, rounded as people say them."""
    seconds: dict[str, float] = {}
    for leaf in results:
        if "t" in leaf.ds.coords and leaf.ds["t"].dims == ("t",) and "event" not in leaf.ds.dims:
            timed = "spacing" in leaf.ds["t"].attrs or leaf.ds.sizes["t"] > 1
            step = schema.spacing(leaf.ds, "t") if timed else math.nan
            rounded = round(step) if step >= 10 else float(f"{step:.2g}")
            seconds.setdefault(leaf.stem, rounded if step > 0 else math.nan)
    return list(seconds.items())


def _events(results: Sequence[MovieResult]) -> list[tuple[str, np.ndarray]]:
    """Return movie and phases (four frames) of every event."""
    rows = []
    for leaf in results:
        try:
            columns = compute(*(v.check(leaf.ds).data for v in schema.PHASES))
        except SchemaError:
            continue
        table = np.stack([np.asarray(column, float) for column in columns], axis=1)
        movies = leaf.ds["movie"].values.tolist() if "movie" in leaf.ds.coords else []
        stems = [str(m) for m in movies] if isinstance(movies, list) else []
        rows += list(zip(stems or [leaf.stem] * len(table), table, strict=True))
    return rows


def _frames(row: np.ndarray) -> float:
    return float(np.nanmax(row) - np.nanmin(row) + 1) if np.isfinite(row).any() else math.nan


def _disruption(results: Sequence[MovieResult]) -> Sequence[Number]:
    """Return, of each event, the share of its frames before disruption starts."""
    return [
        (stem, (row[2] - np.nanmin(row)) / _frames(row) if np.isfinite(row).any() else math.nan)
        for stem, row in _events(results)
    ]


def _durations(results: Sequence[MovieResult]) -> Sequence[Number]:
    """Return the duration of each track, in frames."""
    pair = (schema.TRACK_FIRST.name, schema.TRACK_LAST.name)
    tracks = [leaf for leaf in results if all(name in leaf.ds for name in pair)]
    durations = []
    for leaf in tracks:
        first, last = (np.asarray(v, float) for v in compute(*(leaf.ds[n].data for n in pair)))
        durations += [(leaf.stem, number) for number in (last - first + 1).tolist()]
    return durations


def _phase_durations(results: Sequence[MovieResult]) -> Sequence[Number]:
    """Return the duration of each event's phases, in frames."""
    return [(stem, _frames(row)) for stem, row in _events(results)]


def _each(name: str, beside: Iterable[str] = ()) -> Find:
    """Return a function that reads all numbers of a variable, one a row.

    With `beside`, only parts count that hold one of those variables too.
    """
    others = set(beside)

    def find(results: Sequence[MovieResult]) -> Sequence[Number]:
        rows = []
        for leaf in results:
            if name not in leaf.ds or (others and not others & set(map(str, leaf.ds.variables))):
                continue
            (values,) = compute(leaf.ds[name].data)
            numbers = np.atleast_1d(np.asarray(values, float))
            stems = [leaf.stem] * numbers.size
            if leaf.ds[name].dims == ("event",) and "movie" in leaf.ds.coords:
                stems = [str(movie) for movie in leaf.ds["movie"].values.tolist()]
            rows += list(zip(stems, numbers.tolist(), strict=True))
        return rows

    return find


_PANELS: tuple[tuple[Panel, *tuple[Find, ...]], ...] = (
    (Panel("A", "Signal to noise", "SNR (dB)", "movie", "frame_snr\n(frame-quality)", 5.0),
     _means("frame_snr", "movie_snr")),
    (Panel("B", "Sampling interval", "movies", "movie", "times of frames"), _intervals),
    (Panel("C", "Cells per field of view", "cells", "movie", "cell_count\n(cell-density)"),
     _means("cell_count")),
    (Panel("D", "Nearest other cell", "distance (µm)", "movie", "cell_distance\n(cell-density)"),
     _means("cell_distance")),
    (Panel("E", "Cells in clusters", "share", "movie", "cell_clustered\n(cell-density)"),
     *(_means(name) for name in _CLUSTERED)),
    (Panel("F", "Start of disruption", "share of the event", "event", "phases of events\n(phases)",
           0.5), _disruption),
    (Panel("G", "Total track distance", "distance (µm)", "track", "track_length\n(track-measures)"),
     _each("track_length")),
    (Panel("H", "Duration of events", "frames", "event",
           "track_first, track_last\n(track-measures)\nor phases"), _durations, _phase_durations),
    (Panel("I", "Consensus on events", "ratio", "movie", "consensus_ratio\n(consensus-tracks)"),
     _each("consensus_ratio", ("track_agreement", "spot_agreement"))),
    (Panel("J", "Consensus on phases", "ratio", "event", "phase_agreement\n(consensus-phases)"),
     _each("phase_agreement")),
)  # fmt: skip
LETTERS = "".join(panel.letter for panel, *_ in _PANELS)
WANTED = frozenset(
    {v.name for v in schema.PHASES}
    | {"frame_snr", "movie_snr", "cell_count", "cell_distance", *_CLUSTERED, "track_length"}
    | {"track_first", "track_last", "consensus_ratio", "phase_agreement", "track_agreement"}
    | {"organ", "stimulus", "content", "markers", "fluorophores", "objective"}
)
"""Variables that the panels, and groups of movies, are made of."""
