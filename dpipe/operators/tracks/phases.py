"""Phases joined to tracks: which track each event of a table of phases belongs to.

It knows the rule for a table that names no tracks: movie, channel and frames must fit. It knows
nothing of files.
"""

import re
from collections import Counter
from dataclasses import dataclass

import numpy as np
import xarray as xr

from dpipe import schema
from dpipe.compute import compute
from dpipe.errors import SchemaError, UsageError

_FLAGS = {name: 1 << bit for bit, name in enumerate(schema.PHASE_FLAGS)}


@dataclass(frozen=True)
class _Span:
    """One track: its number, channel ("" for any) and frames."""

    number: int
    channel: str
    first: int
    last: int


def phase_tracks(phases: xr.DataTree, tracks: xr.DataTree, *, share: float = 0.5) -> xr.Dataset:
    """Join each event of tables of phases to a track of the same movie and channel.

    An event goes with the track that covers most of its frames, from its first start to its last
    end. No track in its movie and channel, two that cover the same number of frames, one that two
    events claim, or one that covers less than `share` of the event: flagged in ``phase_flag``,
    and ``phase_track`` is -1. Spaces, ``-`` and ``_`` in the names of movies do not matter:
    ``Neu 8`` is ``Neu8``.

    Parameters
    ----------
    phases : xarray.DataTree
        Tables of phases.
    tracks : xarray.DataTree
        One child a movie, a table of spots each, of one annotator or the consensus. A track
        without a channel fits any.
    share : float
        Least share of an event's frames that its track must cover.

    Returns
    -------
    xarray.Dataset
        Every event, with its phases and what else all tables say of events (``response``),
        ``phase_track``, ``phase_overlap`` (share of its frames that the best track covers) and
        ``phase_flag``. ``attrs["tracks_without_phases"]`` lists the other tracks as
        ``movie/track``, ``attrs["notes"]`` counts what is odd. It is computed at once.

    Raises
    ------
    SchemaError
        A child is no table of phases, or none of spots; the text names it.
    UsageError
        `share` is none.

    Examples
    --------
    >>> said = {"blebbing_start": [0.0], "blebbing_end": [3.0]}
    >>> said |= {"disruption_start": [4.0], "disruption_end": [9.0]}
    >>> ds = xr.Dataset({name: ("event", values) for name, values in said.items()})
    >>> ds = ds.assign_coords(event=["Neu8_1"], movie=("event", ["Neu8"]))
    >>> spots = xr.Dataset(coords={"track": ("spot", [4, 4]), "frame": ("spot", [2, 20])})
    >>> held = [xr.DataTree.from_dict({f"/{k}": v}) for k, v in (("a", ds), ("Neu 8", spots))]
    >>> found = phase_tracks(*held)
    >>> found["phase_track"].values.tolist(), found["phase_overlap"].values.tolist()
    ([4], [0.8])
    """
    if isinstance(share, bool) or not 0 < share <= 1:
        raise UsageError(f"share: found {share!r}; expected above 0, at most 1")
    spans: dict[str, list[_Span]] = {}
    for stem, child in tracks.children.items():
        spans.setdefault(schema.movie_key(stem), []).extend(_spans(child.to_dataset(), stem))
    tables = [_table(child.to_dataset(), stem) for stem, child in phases.children.items()]
    if not tables:
        raise SchemaError("no table of phases; the tree has no child")
    common = [name for name in tables[0] if all(name in table for table in tables)]
    aligned = [table[common] for table in tables]
    ds = xr.concat(aligned, dim="event", combine_attrs="drop_conflicts")
    movies = ds["movie"].values.astype(str).tolist()
    channels = ds["channel"].values.astype(str).tolist()
    rows = np.stack([ds[v.name].values for v in schema.PHASES], axis=1)
    flags = ds[schema.PHASE_FLAG.name].values.astype(np.uint32)
    track = np.full(len(movies), -1, dtype=np.int64)
    overlap = np.zeros(len(movies))
    for i, (movie, channel) in enumerate(zip(movies, channels, strict=True)):
        named = set(filter(None, re.split(r"[,/\s]+", channel)))
        near = [
            span
            for span in spans.get(schema.movie_key(movie), [])
            if not (named and span.channel) or named & set(span.channel.split(","))
        ]
        track[i], overlap[i], flag = _best(rows[i], near, share)
        flags[i] |= flag
    claims = [(schema.movie_key(m), t) for m, t in zip(movies, track.tolist(), strict=True)]
    claimed = Counter(claims)
    for i, claim in enumerate(claims):
        if claim[1] >= 0 and claimed[claim] > 1:
            track[i], flags[i] = -1, flags[i] | _FLAGS["ambiguous_track"]
    used = {(schema.movie_key(m), t) for m, t in zip(movies, track.tolist(), strict=True)}
    idle = [
        f"{movie}/{span.number}"
        for movie, of_movie in spans.items()
        for span in of_movie
        if (movie, span.number) not in used
    ]
    old_attrs = ds[schema.PHASE_FLAG.name].attrs
    result = {str(name): value for name, value in ds.data_vars.items()}
    result |= schema.PHASE_TRACK.wrap(xr.DataArray(track, dims="event"))
    result |= schema.PHASE_OVERLAP.wrap(xr.DataArray(overlap, dims="event"))
    result |= schema.PHASE_FLAG.wrap(
        xr.DataArray(flags, dims="event"),
        **{key: old_attrs[key] for key in ("flag_masks", "flag_meanings") if key in old_attrs},
    )
    notes = schema.flag_note("events", flags, schema.PHASE_FLAGS)
    if idle:
        shown = ", ".join([*idle[:5], *["..."] * (len(idle) > 5)])
        total = sum(map(len, spans.values()))
        notes.append(f"{len(idle)} of {total} tracks without phases: {shown}")
    attrs = ds.attrs | {"tracks_without_phases": idle} | ({"notes": notes} if notes else {})
    return xr.Dataset(result, coords=ds.coords, attrs=attrs)


def _table(ds: xr.Dataset, stem: str) -> xr.Dataset:
    """Return the phases, flags and channels of a table, in memory."""
    try:
        for variable in (*schema.PHASES, schema.MOVIE):
            variable.check(ds)
    except SchemaError as error:
        raise SchemaError(f"{stem}: {error}") from error
    count = ds.sizes["event"]
    masks = {"flag_masks": list(_FLAGS.values()), "flag_meanings": " ".join(schema.PHASE_FLAGS)}
    flags = ds.get(schema.PHASE_FLAG.name, xr.DataArray(np.zeros(count, np.uint32), dims="event"))
    names = [name for name, values in ds.data_vars.items() if values.dims == ("event",)]
    table = ds[names].assign(schema.PHASE_FLAG.wrap(flags.reset_coords(drop=True), **masks))
    if "channel" not in table.coords:
        table = table.assign_coords(channel=("event", np.full(count, "")))
    values = compute(*(table[name].data for name in table.data_vars))
    arrays = dict(zip(table.data_vars, values, strict=True))
    if any(np.isinf(arrays[v.name]).any() for v in schema.PHASES):
        raise SchemaError(f"{stem}: a phase begins or ends at infinity; expected frames, NaN none")
    return table.assign(
        {
            name: (v.dims, value, v.attrs)
            for (name, v), value in zip(table.data_vars.items(), values, strict=True)
        }
    )


def _spans(ds: xr.Dataset, stem: str) -> list[_Span]:
    try:
        track, frame = (v.check(ds).values for v in (schema.TRACK, schema.FRAME))
    except SchemaError as error:
        raise SchemaError(f"{stem}: {error}") from error
    if "annotator" in ds.coords and len(set(ds["annotator"].values.tolist())) > 1:
        raise SchemaError(f"{stem}: tracks of several annotators; join phases to their consensus")
    channel = ds["spot_channel"].values.astype(str) if "spot_channel" in ds.coords else None
    spans = []
    for number in np.unique(track[track >= 0]).tolist():
        rows = np.flatnonzero(track == number)
        name = "" if channel is None else str(channel[rows[0]])
        spans.append(_Span(number, name, int(frame[rows].min()), int(frame[rows].max())))
    return spans


def _best(row: np.ndarray, spans: list[_Span], share: float) -> tuple[int, float, int]:
    """Return the track of an event, the share of its frames that it covers, and flags."""
    if np.isnan(row).all() or not spans:
        return -1, 0.0, _FLAGS["no_track"]
    low, high = int(np.nanmin(row)), int(np.nanmax(row))
    common = [max(0, min(high, s.last) - max(low, s.first) + 1) for s in spans]
    overlap = max(common)
    part = overlap / (high - low + 1)
    if not overlap:
        return -1, 0.0, _FLAGS["no_track"]
    flag = _FLAGS["ambiguous_track"] if common.count(overlap) > 1 else 0
    flag |= _FLAGS["little_overlap"] if part < share else 0
    return (-1 if flag else spans[common.index(overlap)].number), part, flag
