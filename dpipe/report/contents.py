"""What a run made, as its report shows it: movies with pictures and quality, tables, provenance.

Knows the variables of the vocabulary and how datasets of one run hang together; reads sealed parts
and nothing else. What cannot be read is said and passed by. It knows nothing of HTML.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from dpipe import catalog, compute, schema
from dpipe.catalog import opening, seals
from dpipe.errors import DpipeError, SchemaError
from dpipe.plot import COLORS
from dpipe.report.charts import PAPER, Chart, chart, legible, picture, scales
from dpipe.storage import Objects

MOST_MOVIES = 60
MOST_ROWS = 300
_FEW = 20
_MOST_CHANNELS = 8
_LARGEST = 64 << 20
_SHOWN = (schema.IMAGE.name, schema.THUMBNAIL.name, schema.FRAME_SNR.name)
_JUDGED = (schema.FRAME_SNR.name, schema.QUALITY_FLAG.name, schema.QUALITY_REASON.name)
_SCALED = {variable.name for variable in schema.MOVIE_NORMALISED.values()}


@dataclass(frozen=True)
class Picture:
    """One small picture: a ``data:`` URL, its size, and the channel's name and colours."""

    url: str
    width: int
    height: int
    name: str
    light: str
    dark: str


@dataclass(frozen=True)
class Quality:
    """The quality of one movie's frames: the dataset that says so, and its chart."""

    dataset: str
    chart: Chart
    reasons: dict[str, int]


@dataclass
class Movie:
    """One movie: what is known of it, and what went wrong when it was read."""

    dataset: str
    stem: str
    summary: Mapping[str, Any] = field(default_factory=dict)
    pictures: list[Picture] = field(default_factory=list)
    said: str = ""
    left_out: int = 0
    frame: int | None = None
    quality: list[Quality] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Table:
    """A table: header texts, and one row of numbers a movie, or whatever `each` is."""

    dataset: str
    columns: tuple[tuple[str, str], ...]
    rows: tuple[tuple[str, tuple[float, ...]], ...]
    total: int
    each: str = "movie"


@dataclass(frozen=True)
class Making:
    """How one dataset was made: its step of the recipe, and where and with what it ran."""

    version: catalog.Version
    provenance: Mapping[str, Any]


@dataclass
class Shown:
    """All that a report shows beyond the run's own account."""

    movies: list[Movie] = field(default_factory=list)
    total: int = 0
    one_scale: bool = True
    tables: list[Table] = field(default_factory=list)
    makings: list[Making] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Held:
    """A part of a version that the run made or used again."""

    version: catalog.Version
    root: str
    ref: catalog.PartRef
    made: bool

    def has(self, name: str) -> bool:
        return name in self.ref.summary.get("variables", ())


def gather(objects: Objects, steps: Sequence[Mapping[str, Any]]) -> Shown:
    """Return the contents of a report: movies, charts, tables and makings of a run's datasets.

    Parameters
    ----------
    objects : Objects
        The store.
    steps : sequence of mapping
        ``Outcome.steps``.

    Returns
    -------
    Shown
        Movies in the order of their datasets, at most MOST_MOVIES; those made come before those
        used again where there are more.
    """
    shown = Shown()
    present = list(_parts(objects, steps, shown))
    movies: dict[tuple[str, str], list[_Held]] = {}
    for part in present:
        if any(part.has(name) for name in _SHOWN):
            movies.setdefault((part.root, part.ref.stem), []).append(part)
        elif "movie" in part.ref.summary.get("sizes", {}):
            with _Told(shown.problems, part.version.label):
                build = _tests if part.has(schema.GROUP_SIZE.name) else _table
                table = build(part.version.label, _read(objects, part.ref)[0])
                shown.tables += [table] if table else []
    shown.total = len(movies)
    first = sorted(movies, key=lambda key: not any(part.made for part in movies[key]))
    chosen = set(first[:MOST_MOVIES])
    waiting: list[_Waiting] = []
    for key, parts in movies.items():
        if key in chosen:
            shown.movies.append(_movie(objects, key, parts, len(chosen), waiting))
    shown.one_scale = _draw(waiting)
    return shown


def _parts(objects: Objects, steps: Sequence[Mapping[str, Any]], shown: Shown) -> Iterator[_Held]:
    """Yield the parts of a run's datasets; say on the way how these were made."""
    roots: dict[str, str] = {}
    for step in steps:
        if not step["version"]:
            continue
        with _Told(shown.problems, step["version"]):
            version = catalog.resolve(objects, step["version"])
            sources = [str(label) for label in version.recipe.get("inputs", {}).values()]
            root = roots.get(sources[0], sources[0]) if sources else version.label
            roots[version.label] = root
            fresh, stems = set(step["made"]), {*step["made"], *step["reused"]}
            refs = [ref for ref in version.parts if ref.stem in stems]
            shown.makings.append(_making(objects, version, refs, fresh, shown.problems))
            yield from (_Held(version, root, ref, ref.stem in fresh) for ref in refs)


def _making(
    objects: Objects,
    version: catalog.Version,
    refs: Sequence[catalog.PartRef],
    fresh: set[str],
    problems: list[str],
) -> Making:
    """Return the making of a dataset, from the seal of one part, if possible of this run."""
    provenance: Mapping[str, Any] = {}
    with _Told(problems, f"the provenance of {version.label}"):
        for ref in sorted(refs, key=lambda ref: ref.stem not in fresh)[:1]:
            (sealed,) = seals.named(objects, [ref])
            provenance = sealed.provenance
    return Making(version, provenance)


class _Told:
    """Turns whatever goes wrong while something is read into one line: a report goes on."""

    def __init__(self, problems: list[str], what: str) -> None:
        self.problems, self.what = problems, what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: Any, _: Any) -> bool:
        if not isinstance(error, DpipeError | OSError | ValueError | LookupError | TypeError):
            return False
        self.problems.append(f"{self.what} cannot be shown: {error}")
        return True


@dataclass(frozen=True)
class _Waiting:
    """The quality of a movie, read, until the scale of all charts is known."""

    movie: Movie
    dataset: str
    ds: xr.Dataset
    limit: float | None


def _draw(waiting: Sequence[_Waiting]) -> bool:
    """Draw all charts; tell whether they have one vertical scale, so that they compare."""
    name = schema.FRAME_SNR.name
    spans = scales([(item.ds[name].values, item.limit) for item in waiting])
    for item, span in zip(waiting, spans, strict=True):
        with _Told(item.movie.problems, f"the quality in {item.dataset}"):
            item.movie.quality.append(_quality(item, span))
    return len(set(spans)) == 1


def _movie(
    objects: Objects,
    key: tuple[str, str],
    parts: Sequence[_Held],
    count: int,
    waiting: list[_Waiting],
) -> Movie:
    movie = Movie(*key)
    for part in parts:
        if part.has(schema.IMAGE.name):
            movie.summary = part.ref.summary
        if part.has(schema.THUMBNAIL.name):
            with _Told(movie.problems, f"the picture in {part.version.label}"):
                ds, sealed = _read(objects, part.ref, schema.THUMBNAIL.name)
                params = sealed.provenance.get("origin", {}).get("params", {})
                _pictures(movie, ds, count, params)
        if part.has(schema.FRAME_SNR.name):
            with _Told(movie.problems, f"the quality in {part.version.label}"):
                ds, sealed = _read(objects, part.ref, *_JUDGED)
                schema.FRAME_SNR.check(ds)
                limit = sealed.provenance.get("origin", {}).get("params", {}).get("min_snr")
                if isinstance(limit, int | float) and math.isfinite(limit):
                    limit = float(limit)
                else:
                    limit = None
                waiting.append(_Waiting(movie, part.version.label, ds, limit))
    return movie


def _read(objects: Objects, ref: catalog.PartRef, *names: str) -> tuple[xr.Dataset, seals.Seal]:
    """Load some variables of a part, by default all."""
    (sealed,) = seals.named(objects, [ref])
    ds = opening.open_sealed(objects, sealed)
    chosen = [str(name) for name in ds.data_vars if not names or name in names]
    size = compute.source_bytes(ds[chosen])
    if size > _LARGEST:
        raise SchemaError(f"{size} bytes; a report reads at most {_LARGEST}")
    values = compute.compute_region(ds, chosen, {})
    return ds[chosen].assign({n: ds[n].copy(data=v) for n, v in values.items()}), sealed


def _channels(ds: xr.Dataset) -> tuple[list[str], list[str]]:
    """Return names of the channels, numbers where there are none, and colours that differ.

    The colours of a microscope are mostly red and green, which many people cannot tell apart.
    """
    count = ds.sizes["c"]
    names = [str(name) for name in ds["c"].values] if "c" in ds.coords else range(count)
    colors = [COLORS[c % len(COLORS)].lstrip("#") for c in range(count)]
    return [str(name) for name in names], colors


def _pictures(movie: Movie, ds: xr.Dataset, count: int, params: Mapping[str, Any]) -> None:
    drawn = schema.THUMBNAIL.check(ds)
    if drawn.dtype != np.uint8 or not drawn.size:
        raise SchemaError(f"thumbnail is {drawn.dtype} {drawn.shape}; expected uint8 pixels")
    names, colors = _channels(ds)
    for values, name, color in zip(drawn.values, names, colors, strict=True):
        if len(movie.pictures) < _MOST_CHANNELS:
            shades = (legible(color, PAPER["light"]), legible(color, PAPER["dark"]))
            largest = 160 if count <= _FEW else 96
            movie.pictures.append(Picture(*picture(values, "ffffff", largest), name, *shades))
        else:
            movie.left_out += 1
    frame = drawn.attrs.get("frame")
    movie.frame = frame if isinstance(frame, int) else None
    caption = ["maximum over z" + (f" of frame {movie.frame}" if movie.frame is not None else "")]
    if "x" in drawn.coords:
        caption.append(f"{drawn.sizes['x'] * schema.spacing(drawn, 'x'):.3g} µm wide")
    low, high = params.get("percentiles") or (None, None)
    by = "" if low is None else f", from percentile {low:g} to {high:g}"
    movie.said = "; ".join([*caption, f"each channel is black to white by itself{by}"])


def _quality(waiting: _Waiting, span: tuple[float, float]) -> Quality:
    ds = waiting.ds
    ratio = schema.FRAME_SNR.check(ds)
    if not ratio.size:
        raise SchemaError("frame_snr holds no frame")
    names, colors = _channels(ds)
    judged = schema.QUALITY_FLAG.name in ds
    verdicts = schema.QUALITY_FLAG.check(ds).values if judged else None
    seconds = ds["t"].values if "t" in ds.coords else np.full(ds.sizes["t"], np.nan)
    drawn = chart(
        np.asarray(seconds, float),
        ratio.values.astype(float),
        names,
        colors,
        step=schema.spacing(ds, "t"),
        span=span,
        limit=waiting.limit,
        verdicts=verdicts,
        kinds=len(schema.QUALITY_FLAG.flags),
    )
    return Quality(waiting.dataset, drawn, _reasons(ds))


def _reasons(ds: xr.Dataset) -> dict[str, int]:
    """Count the frames by why they are not good."""
    if schema.QUALITY_REASON.name not in ds:
        return {}
    reasons = schema.QUALITY_REASON.check(ds)
    meanings = str(reasons.attrs.get("flag_meanings", "")).split()
    bits = {_title(word): 1 << i for i, word in enumerate(meanings)}
    counts = {word: int(np.count_nonzero(reasons.values & bit)) for word, bit in bits.items()}
    return {word: count for word, count in counts.items() if count}


def _table(dataset: str, ds: xr.Dataset) -> Table | None:
    columns = {
        str(name): variable
        for name, variable in ds.data_vars.items()
        if variable.dims == ("movie",) and variable.dtype.kind in "uif" and name not in _SCALED
    }
    if not columns:  # conditions are words
        return None
    stems = ds["movie"].values if "movie" in ds.coords else np.arange(ds.sizes["movie"])
    numbers = np.stack([column.values.astype(float) for column in columns.values()], axis=1)
    units = {"1": "", "micrometer": "µm"}
    heads = tuple(
        (_title(name), units.get(unit := str(column.attrs.get("units", "1")), unit))
        for name, column in columns.items()
    )
    rows = tuple(
        (str(stem), tuple(line))
        for stem, line in zip(stems[:MOST_ROWS], numbers[:MOST_ROWS].tolist(), strict=True)
    )
    return Table(dataset, heads, rows, len(stems))


def _tests(dataset: str, ds: xr.Dataset) -> Table:
    """Return tests between groups of movies: a line a measure."""
    measures, groups, pairs = (
        [str(name) for name in ds[dim].values] for dim in ("measure", "group", "pair")
    )
    heads = [(f"{group} {what}", "") for group in groups for what in ("median", "movies")]
    heads += [("all groups", "p"), *((pair, "p") for pair in pairs)]
    middle, size = (v.check(ds).values for v in (schema.GROUP_MEDIAN, schema.GROUP_SIZE))
    of_groups = np.stack([middle, size.astype(float)], axis=2).reshape(len(measures), -1)
    overall, paired = (v.check(ds).values for v in (schema.KRUSKAL_P, schema.PAIR_P))
    numbers = np.concatenate([of_groups, overall[:, None], paired], axis=1)
    rows = tuple((m, tuple(line)) for m, line in zip(measures, numbers.tolist(), strict=True))
    return Table(dataset, tuple(heads), rows[:MOST_ROWS], len(rows), "measure")


def _title(name: str) -> str:
    words = name.removeprefix("movie_").split("_")
    return " ".join(word.upper() if word in ("snr", "psnr") else word for word in words)
