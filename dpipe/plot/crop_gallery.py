"""A gallery of crops: each event a row of pictures over time, with phases, track and outlines.

Knows which events and frames are chosen, how grey values become pictures, and how they are laid
out. Crops follow their event, so the centres of their windows are its track.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from dpipe import schema
from dpipe.compute import compute
from dpipe.errors import SchemaError, UsageError, unknown
from dpipe.operators import check_whole
from dpipe.plot import style
from dpipe.plot.figure3_data import MovieResult

CONTRASTS = ("gallery", "row")
"""Which pictures have the same grey values for black and white, among those of one dtype."""
_KINDS = {"event": "apoptotic", "cell": "a cell, not dying", "before": "before its event"}


@dataclass(frozen=True)
class Row:
    """One crop as it is drawn.

    Attributes
    ----------
    name, said : str
        Of the event, and what it is.
    pictures : numpy.ndarray, shape (frames, y, x), uint8
        Stretched from `low` to `high`.
    low, high : float
        The grey values that are black and white.
    seconds : numpy.ndarray, shape (frames,)
        After the event's first frame.
    phases : numpy.ndarray, shape (frames,)
        0 healthy, 1 blebbing, 2 disruption, 255 unknown.
    paths : sequence of numpy.ndarray, shape (points, 2)
        The track up to each frame as (row, column), in pixels of the picture.
    outlines : sequence of sequence of numpy.ndarray
        Of the masks of each frame, in the same.
    pixel : float
        Micrometres along x.
    """

    name: str
    said: str
    pictures: np.ndarray
    seconds: np.ndarray
    phases: np.ndarray
    paths: Sequence[np.ndarray]
    outlines: Sequence[Sequence[np.ndarray]]
    pixel: float
    low: float = 0.0
    high: float = 0.0


def holds_crops(ds: xr.Dataset) -> bool:
    """Tell whether there are crops to show."""
    return schema.CROP.name in ds or schema.CROP_VOLUME.name in ds


def _crops_of(ds: xr.Dataset) -> str:
    return schema.CROP.name if schema.CROP.name in ds else schema.CROP_VOLUME.name


def rows(
    results: Sequence[MovieResult],
    masks: Mapping[str, xr.Dataset],
    *,
    most: int,
    columns: int,
    channel: str | None,
    contrast: str,
) -> list[Row]:
    """Choose events and frames, and make pictures of them; only these are computed."""
    if contrast not in CONTRASTS:
        raise UsageError(f"contrast: found {contrast!r}; expected {' or '.join(CONTRASTS)}")
    for name, whole in (("most", most), ("columns", columns)):
        check_whole(name, whole, 1)
    crops = [leaf for leaf in results if holds_crops(leaf.ds)]
    if not crops:
        raise SchemaError(
            "a gallery needs crops, crop(event, t, c, y, x) or crop_volume; found none"
        )
    chosen = _chosen(crops, most)
    if not chosen:
        raise SchemaError("a gallery needs crops; what is there holds no event")
    drawn = [_row(leaf, i, masks, columns, channel) for leaf, i in chosen]
    kinds = [leaf.ds[_crops_of(leaf.ds)].dtype.str for leaf, _ in chosen]
    if contrast == "row":
        kinds = [str(k) for k in range(len(drawn))]
    ends = [_limits([row.pictures for row, other in zip(drawn, kinds, strict=True)
                     if other == kind]) for kind in kinds]  # fmt: skip
    return [
        replace(row, pictures=_stretched(row.pictures, low, high), low=low, high=high)
        for row, (low, high) in zip(drawn, ends, strict=True)
    ]


def _chosen(crops: Sequence[MovieResult], most: int) -> list[tuple[MovieResult, int]]:
    """Take events of every kind and movie in turn, events first; show them kind by kind."""
    heaps: dict[tuple[int, str], list[tuple[MovieResult, int]]] = {}
    for leaf in crops:
        kinds = [str(k) for k in leaf.ds["kind"].values] if "kind" in leaf.ds.coords else []
        for i in range(leaf.ds.sizes["event"]):
            kind = kinds[i] if kinds else "event"
            rank = schema.CROP_KINDS.index(kind) if kind in schema.CROP_KINDS else 9
            heaps.setdefault((rank, leaf.source + leaf.stem), []).append((leaf, i))
    counts: dict[tuple[int, str], int] = dict.fromkeys(sorted(heaps), 0)
    turns = [key for key in counts for _ in range(2 if key[0] == 0 else 1)]  # two events each turn
    while sum(counts.values()) < min(most, sum(map(len, heaps.values()))):
        for key in turns:
            if counts[key] < len(heaps[key]) and sum(counts.values()) < most:
                counts[key] += 1
    return [pair for key, count in counts.items() for pair in heaps[key][:count]]


def _row(
    leaf: MovieResult, i: int, masks: Mapping[str, xr.Dataset], columns: int, channel: str | None
) -> Row:
    ds = leaf.ds.isel(event=i)
    name = _crops_of(ds)
    variable = schema.VARIABLES[name]
    variable.check(leaf.ds)
    names = [str(c) for c in ds["c"].values] if "c" in ds.coords else []
    c = _channel(ds, names, channel)
    frames = _values(ds, "crop_frame", np.arange(ds.sizes["t"]))
    phases = _values(ds, "crop_phase", np.full(ds.sizes["t"], schema.PHASE_UNKNOWN))
    chosen = _frames(np.flatnonzero(frames >= 0), phases, columns)
    array = ds[name].isel(t=chosen, c=c).transpose("t", *[d for d in variable.dims if d in "zyx"])
    (pixels,) = compute(array.data)
    pixels = np.asarray(pixels, np.float32)
    pictures = pixels.max(axis=1) if pixels.ndim == 4 else pixels
    steps = np.asarray([schema.spacing(leaf.ds, dim) for dim in "yx"])
    centres = np.stack([_values(ds, f"crop_{d}", np.zeros(frames.size)) for d in "yx"], axis=1)
    shape = np.asarray(pictures.shape[1:])
    middle = (shape - 1) / 2
    before = [np.flatnonzero((frames >= 0) & (np.arange(frames.size) <= t)) for t in chosen]
    movie_masks = masks.get(str(ds["movie"].item()) if "movie" in ds.coords else leaf.stem)
    return Row(
        name=str(ds["event"].item()) if "event" in ds.coords else f"{leaf.stem}_{i + 1}",
        said=_said(ds, names[c] if names else ""),
        pictures=pictures,
        seconds=_seconds(ds)[chosen],
        phases=phases[chosen],
        paths=[(centres[b] - centres[t]) / steps + middle
               for b, t in zip(before, chosen, strict=True)],
        outlines=[
            _outlines(movie_masks, int(frames[t]), [centres[t, k] + ds[d].values
                                                    for k, d in enumerate("yx")])
            for t in chosen
        ],
        pixel=float(steps[1]),
    )  # fmt: skip


def _seconds(ds: xr.Dataset) -> np.ndarray:
    """Return seconds after the event's first frame: by the movie's own times, where they are."""
    even = np.asarray(ds["t"].values, float)
    times = _values(ds, schema.CROP_TIME.name, np.full(even.size, math.nan))
    timed = np.flatnonzero(np.isfinite(times))
    if not timed.size:
        return even
    first = timed[np.argmin(np.abs(even[timed]))]
    return np.where(np.isfinite(times), times - times[first] + even[first], even)


def _values(ds: xr.Dataset, name: str, default: np.ndarray) -> np.ndarray:
    if name not in ds:
        return default
    (array,) = compute(ds[name].variable.data)
    return np.asarray(array)


def _channel(ds: xr.Dataset, names: Sequence[str], requested: str | None) -> int:
    """Return the channel wanted, else the first that the event was marked in, else the first.

    Tables name channels as the movie does, or by number from 1: ``ch2``.
    """
    if requested is not None and requested not in names:
        raise UsageError(f"channel: {unknown('channel', requested, names)}")
    marked = str(ds["event_channel"].item()).split(",") if "event_channel" in ds.coords else []
    for name in (requested, *map(str.strip, marked)):
        if name in names:
            return names.index(name)
        numbered = re.fullmatch(r"ch(?:annel)?[ _]?(\d+)", name or "", re.IGNORECASE)
        if numbered and 1 <= int(numbered[1]) <= ds.sizes["c"]:
            return int(numbered[1]) - 1
    return 0


def _frames(shown: np.ndarray, phases: np.ndarray, columns: int) -> np.ndarray:
    """Choose frames evenly, and among them the first of each phase."""
    if not shown.size:
        return shown
    count = min(columns, shown.size)
    places = np.rint(np.linspace(0, shown.size - 1, count)).astype(int).tolist()
    firsts = [int(np.flatnonzero(phases[shown] == p)[0]) for p in (1, 2) if p in phases[shown]]
    for first in firsts:
        free = [k for k, place in enumerate(places) if place not in firsts]
        if first not in places and free:
            places[min(free, key=lambda k: abs(places[k] - first))] = first
    return shown[np.unique(places)]


def _limits(pictures: Sequence[np.ndarray]) -> tuple[float, float]:
    """Return the grey values of black and white: percentiles 0.5 and 99.7 of what is finite."""
    values = np.concatenate([picture[np.isfinite(picture)] for picture in pictures])
    if not values.size:
        return 0.0, 0.0
    low, high = np.percentile(values, [0.5, 99.7])
    return (float(low), float(high)) if high > low else (float(values.min()), float(values.max()))


def _stretched(pixels: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return pictures in 8 bit; what is not finite is black."""
    spread = high - low if high > low else math.inf
    level = np.clip((np.where(np.isfinite(pixels), pixels, low) - low) / spread, 0, 1)
    return np.rint(255 * level).astype(np.uint8)


def _said(ds: xr.Dataset, channel: str) -> str:
    kind = str(ds["kind"].item()) if "kind" in ds.coords else ""
    words = [_KINDS.get(kind, kind), channel]
    if not kind and "label" in ds.coords:
        words[0] = "apoptotic" if int(ds["label"].item()) else "not apoptotic"
    return "\n".join(style.text(word, 20) for word in words if word)


def _outlines(
    masks: xr.Dataset | None, frame: int, places: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """Return the outlines of all masks that a window shows, as (row, column) in its pixels."""
    if masks is None or not np.isfinite(np.concatenate(places)).all():
        return []
    labels = schema.LABELS.check(masks)
    if not 0 <= frame < labels.sizes["t"]:
        return []
    index, inside = [], []
    for dim, place in zip("yx", places, strict=True):
        first = float(labels[dim].values[0]) if dim in labels.coords else 0.0
        voxels = np.rint((place - first) / schema.spacing(labels, dim)).astype(int)
        inside.append((voxels >= 0) & (voxels < labels.sizes[dim]))
        index.append(np.clip(voxels, 0, labels.sizes[dim] - 1))
    cut: dict[str, Any] = {
        d: slice(int(i.min()), int(i.max()) + 1) for d, i in zip("yx", index, strict=True)
    }
    (volume,) = compute(labels.isel({"t": frame} | cut).data)
    flat = np.asarray(volume).max(axis=0)
    window = flat[np.ix_(index[0] - cut["y"].start, index[1] - cut["x"].start)]
    window = np.where(inside[0][:, None] & inside[1][None, :], window, 0)
    return [line for label in np.unique(window[window > 0]) for line in _lines(window == label)]


def _lines(mask: np.ndarray) -> list[np.ndarray]:
    from skimage.measure import find_contours  # half a second to import

    return [line - 1 for line in find_contours(np.pad(mask, 1).astype(float), 0.5)]
