"""Consensus of annotators: of their tracks, and of the phases that they gave each event.

It knows how many must agree and what becomes of the rest. How tracks of different people are
matched stands in ``_matching.py``; how frames are measured is not known here.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from dpipe import schema
from dpipe.compute import compute
from dpipe.errors import SchemaError, UsageError
from dpipe.operators.parameters import check_whole
from dpipe.operators.tracks.matching import Track, match, merge

_ROW = (schema.SPOT_T, schema.SPOT_Z, schema.SPOT_Y, schema.SPOT_X, schema.SPOT_RADIUS)
_FLAGS = {name: 1 << bit for bit, name in enumerate(schema.PHASE_FLAGS)}
_ALIKE = 1e-2
"""Seconds by which the times of one frame may differ: tables round."""


def consensus_tracks(ds: xr.Dataset, *, distance: float = 10.0, annotators: int = 3) -> xr.Dataset:
    """Join the tracks of several annotators into events that at least two agree on.

    Two tracks of different annotators match if they share frames and their mean distance over
    these is below `distance`; pairs are taken best first, and an event has at most one track of
    each annotator. It lasts from the first to the last frame that two of its tracks cover. In
    between, a frame with two spots gets their mean, one with more the mean of the closest two,
    one with fewer is left out and counted. How the published consensus matched tracks is not
    known. A spot without track is an event of one frame.

    Parameters
    ----------
    ds : xarray.Dataset
        A table of spots with the coordinates ``track``, ``frame`` and ``annotator``.
    distance : float
        In micrometres.
    annotators : int
        How many there should be; ``attrs["annotators_missing"]`` says how many are not.

    Returns
    -------
    xarray.Dataset
        Over ``spot``, the consensus: a table of spots with ``spot_agreement``, the number of
        annotators with a spot there; ``spot_channel``, where there is one, names all channels in
        which the event was marked, by commas. Over ``track_id``, every event, also those that one
        annotator alone has seen: ``track_agreement`` (annotators), ``track_left_out`` (frames)
        and, over ``person``, ``annotator_track``. Over ``mark``, every spot of every annotator:
        ``mark_frame``, ``mark_z``, ``mark_y``, ``mark_x``, so that whoever looks for what nobody
        marked finds it. ``consensus_ratio`` is the share of events
        that at least two agree on, NaN without any. It is computed at once, since the number of
        spots depends on their places.

    Raises
    ------
    SchemaError
        No table of spots, fewer than two annotators, or a track with two spots in a frame.
    UsageError
        A parameter that cannot work.

    Examples
    --------
    >>> held = {"spot_t": [0.0] * 3, "spot_z": [0.0] * 3, "spot_y": [0.0] * 3}
    >>> ds = xr.Dataset({k: ("spot", v) for k, v in (held | {"spot_x": [1.0, 3, 90]}).items()})
    >>> ds = ds.assign_coords(track=("spot", [1, 5, 6]), frame=("spot", [0, 0, 0]))
    >>> found = consensus_tracks(ds.assign_coords(annotator=("spot", ["anna", "ben", "ben"])))
    >>> found["spot_x"].values.tolist(), found["consensus_ratio"].item()
    ([2.0], 0.5)
    """
    if not (math.isfinite(distance) and distance > 0):
        raise UsageError(f"distance: found {distance!r}; expected micrometres above 0")
    check_whole("annotators", annotators, 2)
    people, tracks = _tracks(ds)
    events = match(tracks, distance)
    merged = [merge(event) for event in events]
    frames, rows, agreed = (
        np.concatenate([np.zeros(shape), *(joined[i] for joined in merged)])
        for i, shape in enumerate([(0,), (0, len(_ROW)), (0,)])
    )
    result: dict[str, xr.DataArray] = {}
    for i, variable in enumerate(_ROW):
        result |= variable.wrap(xr.DataArray(rows[:, i], dims="spot"))
    result |= schema.SPOT_AGREEMENT.wrap(xr.DataArray(agreed.astype(np.uint32), dims="spot"))
    seen = np.asarray([len(event) for event in events], dtype=np.uint32)
    left_out = np.asarray([joined[3] for joined in merged], dtype=np.uint32)
    result |= schema.TRACK_AGREEMENT.wrap(xr.DataArray(seen, dims="track_id"))
    result |= schema.TRACK_LEFT_OUT.wrap(xr.DataArray(left_out, dims="track_id"))
    whose = np.full((len(events), len(people)), -1, dtype=np.int64)
    for i, event in enumerate(events):
        for track in event:
            whose[i, track.person] = track.number
    result |= schema.ANNOTATOR_TRACK.wrap(xr.DataArray(whose, dims=("track_id", "person")))
    ratio = float((seen > 1).mean()) if seen.size else math.nan
    result |= schema.CONSENSUS_RATIO.wrap(xr.DataArray(ratio))
    marked = [np.concatenate([[], *(track.frames for track in tracks)])]
    marked += list(np.concatenate([np.zeros((0, 3)), *(track.rows[:, 1:4] for track in tracks)]).T)
    kinds = ("i8", "f8", "f8", "f8")
    for variable, values, kind in zip(
        (schema.MARK_FRAME, *schema.MARK_PLACES), marked, kinds, strict=True
    ):
        result |= variable.wrap(xr.DataArray(values.astype(kind), dims="mark"))
    number = np.repeat(np.arange(len(events)), [joined[0].size for joined in merged])
    coords = schema.TRACK.wrap(xr.DataArray(number.astype(np.int64), dims="spot"))
    coords |= schema.FRAME.wrap(xr.DataArray(frames.astype(np.int64), dims="spot"))
    if "spot_channel" in ds.coords:
        seen_in = [",".join(sorted({track.channel for track in event})) for event in events]
        channels = np.asarray(seen_in, dtype=str)[number]
        coords |= schema.SPOT_CHANNEL.wrap(xr.DataArray(channels, dims="spot"))
    coords["track_id"] = xr.DataArray(np.arange(len(events)), dims="track_id")
    coords["person"] = xr.DataArray(np.asarray(people, dtype=str), dims="person")
    notes = _unlike_times(tracks)
    return xr.Dataset(result, coords=coords, attrs=_missing(annotators, len(people), notes))


def _unlike_times(tracks: Sequence[Track]) -> list[str]:
    """Say in how many frames annotators' tables have other times: their mean is nobody's."""
    frames = np.concatenate([np.zeros(0, int), *(track.frames for track in tracks)]).astype(int)
    times = np.concatenate([np.zeros(0), *(track.rows[:, 0] for track in tracks)])
    spread = pd.Series(times).groupby(frames).agg(np.ptp) if frames.size else pd.Series(dtype=float)
    odd = int((spread > _ALIKE).sum())
    reason = (
        "frames have other times in the tables of other annotators; give their tracks one clock"
    )
    return [f"{odd} of {len(spread)} {reason}"] if odd else []


def _tracks(ds: xr.Dataset) -> tuple[list[str], list[Track]]:
    """Cut a table of spots into tracks, one person after the other."""
    who = schema.ANNOTATOR.check(ds).values.astype(str)
    track, frame = (v.check(ds).values for v in (schema.TRACK, schema.FRAME))
    if schema.SPOT_RADIUS.name not in ds:
        ds = ds.assign(spot_radius=("spot", np.full(who.size, math.nan)))
    places = compute(*(v.check(ds).data for v in _ROW))
    rows = np.stack(places, axis=1).astype(np.float64)
    channel = np.full(who.size, "")
    if "spot_channel" in ds.coords:
        channel = schema.SPOT_CHANNEL.check(ds).values.astype(str)
    people = sorted(set(who.tolist()))
    if len(people) < 2:
        raise SchemaError(
            f"{len(people)} annotator ({', '.join(people)}); a consensus needs at least two"
        )
    tracks = []
    for person, name in enumerate(people):
        mine = np.flatnonzero(who == name)
        for number in np.unique(track[mine]).tolist():
            members = mine[track[mine] == number]
            members = members[np.argsort(frame[members], kind="stable")]
            if number < 0:  # events of one frame
                tracks += [Track(person, -1, frame[[i]], rows[[i]], channel[i]) for i in members]
                continue
            if (np.diff(frame[members]) == 0).any():
                twice = frame[members][:-1][np.diff(frame[members]) == 0][0]
                raise SchemaError(
                    f"annotator {name}: track {number} has two spots in frame {twice}; expected one"
                )
            tracks.append(
                Track(person, int(number), frame[members], rows[members], channel[members[0]])
            )
    return people, tracks


def consensus_phases(ds: xr.Dataset, *, annotators: int = 3) -> xr.Dataset:
    """Join the phases that several annotators gave each event, frame by frame.

    An annotator's label of a frame is blebbing or disruption, where both cover it disruption. A
    frame gets the phase that at least two annotators gave it. A phase lasts from its first to its
    last such frame; where another one or none stands between them, the event is flagged as
    interrupted.

    Parameters
    ----------
    ds : xarray.Dataset
        A table of phases whose coordinate ``event`` names each event once per ``annotator``.
    annotators : int
        How many there should be; an event with fewer is flagged.

    Returns
    -------
    xarray.Dataset
        A table of phases, one row an event, with ``phase_agreement``: of the frames that anyone
        gave a phase, the share on whose phase two agree. ``consensus_ratio`` is the same over
        the frames of all events. It is computed at once.

    Raises
    ------
    SchemaError
        No table of phases, no annotators, or one who named an event twice.
    UsageError
        A parameter that cannot work.

    Examples
    --------
    >>> said = {"blebbing_start": [0.0, 0], "blebbing_end": [3.0, 2]}
    >>> said |= {"disruption_start": [4.0, 3], "disruption_end": [9.0, 9]}
    >>> ds = xr.Dataset({name: ("event", values) for name, values in said.items()})
    >>> ds = ds.assign_coords(event=["a", "a"], annotator=("event", ["anna", "ben"]))
    >>> found = consensus_phases(ds.assign_coords(movie=("event", ["m"] * 2)))
    >>> found["blebbing_end"].item(), found["phase_agreement"].item()
    (2.0, 0.9)
    """
    check_whole("annotators", annotators, 2)
    who, rows = _phases(ds)
    events: dict[str, list[int]] = {}
    for i, name in enumerate(ds["event"].values.astype(str).tolist()):
        events.setdefault(name, []).append(i)
    old_flags = np.zeros(len(who), np.uint32)
    if schema.PHASE_FLAG.name in ds:
        old_flags = np.asarray(compute(schema.PHASE_FLAG.check(ds).data)[0], dtype=np.uint32)
    table, agreement, flags, agreed, labelled = [], [], [], 0, 0
    for name, members in events.items():
        if len({who[i] for i in members}) < len(members):
            raise SchemaError(f"event {name}: an annotator named it twice; expected once")
        bounds, flag, ours, all_frames = _majority(rows[members])
        table.append(bounds)
        agreement.append(ours / all_frames if all_frames else math.nan)
        flag |= int(np.bitwise_or.reduce(old_flags[members])) & _FLAGS["far_frame"]
        flags.append(flag | (_FLAGS["annotator_missing"] if len(members) < annotators else 0))
        agreed, labelled = agreed + ours, labelled + all_frames
    result: dict[str, xr.DataArray] = {}
    columns = np.asarray(table, dtype=np.float64).reshape(-1, 4).T
    for variable, values in zip(schema.PHASES, columns, strict=True):
        result |= variable.wrap(xr.DataArray(values, dims="event"))
    numbers = np.asarray(flags, dtype=np.uint32)
    meanings = " ".join(schema.PHASE_FLAGS)
    result |= schema.PHASE_FLAG.wrap(
        xr.DataArray(numbers, dims="event"),
        flag_masks=list(_FLAGS.values()),
        flag_meanings=meanings,
    )
    result |= schema.PHASE_AGREEMENT.wrap(
        xr.DataArray(np.asarray(agreement, dtype=np.float64), dims="event")
    )
    ratio = agreed / labelled if labelled else math.nan
    result |= schema.CONSENSUS_RATIO.wrap(xr.DataArray(ratio))
    first = [members[0] for members in events.values()]
    coords = {
        str(name): coordinate.isel(event=first).variable
        for name, coordinate in ds.coords.items()
        if coordinate.dims == ("event",) and name != "annotator"
    }
    people = len(set(who))
    odd = schema.flag_note("events", numbers, schema.PHASE_FLAGS)
    return xr.Dataset(result, coords=coords, attrs=_missing(annotators, people, odd))


def _phases(ds: xr.Dataset) -> tuple[list[str], np.ndarray]:
    """Return who gave each row, and the rows: four frames, NaN for none."""
    for name in ("event", "annotator"):
        if name not in ds.coords or ds[name].dims != ("event",):
            present = ", ".join(map(str, ds.coords)) or "none"
            raise SchemaError(f"no coordinate {name}(event); found {present}")
    rows = np.stack(compute(*(v.check(ds).data for v in schema.PHASES)), axis=1)
    if np.isinf(rows).any():
        raise SchemaError("a phase begins or ends at infinity; expected frames, NaN for none")
    return ds["annotator"].values.astype(str).tolist(), rows


def _majority(rows: np.ndarray) -> tuple[Sequence[float], int, int, int]:
    """Vote on one event: its four frames, its flags, frames agreed on, frames labelled.

    Between two frames in which any phase begins or has ended, all frames are alike, so they are
    counted by such spans: a mistyped frame costs no more than another.
    """
    if np.isnan(rows).all():
        return [math.nan] * 4, _FLAGS["no_disruption"], 0, 0
    phases = [_spans(row) for row in rows]
    edges = sorted({edge for spans in phases for first, end, _ in spans for edge in (first, end)})
    extent: dict[int, list[tuple[int, int]]] = {1: [], 2: []}
    agreed = labelled = 0
    for first, end in pairwise(edges):
        labels = [_label(spans, first) for spans in phases]
        labelled += (end - first) * any(labels)
        votes = {phase: labels.count(phase) for phase in (1, 2)}
        majority = max(votes.values())
        if majority > 1 and votes[1] != votes[2]:  # of four annotators, two and two
            agreed += end - first
            extent[1 if votes[1] == majority else 2].append((first, end))
    bounds, flag = [], 0
    for spans in extent.values():
        bounds += [float(spans[0][0]), float(spans[-1][1] - 1)] if spans else [math.nan, math.nan]
        whole = all(end == first for (_, end), (first, _) in pairwise(spans))
        flag |= 0 if whole else _FLAGS["interrupted"]
    flag |= _FLAGS["no_disruption"] if math.isnan(bounds[2]) else 0
    flag |= _FLAGS["phases_overlap"] if bounds[1] >= bounds[2] else 0
    flag |= _FLAGS["gap_between_phases"] if bounds[2] > bounds[1] + 1 else 0
    return bounds, flag, agreed, labelled


def _spans(row: np.ndarray) -> list[tuple[int, int, int]]:
    """Return first frame, the frame after the last, and number of the phases of one person."""
    return [
        (math.ceil(row[k]), math.floor(row[k + 1]) + 1, phase)
        for k, phase in ((0, 1), (2, 2))
        if row[k] <= row[k + 1]
    ]


def _label(spans: Sequence[tuple[int, int, int]], frame: int) -> int:
    """Return the phase of a frame: where both are, disruption wins; 0 for none."""
    return max((phase for first, end, phase in spans if first <= frame < end), default=0)


def _missing(expected: int, count: int, notes: list[str]) -> Mapping[str, Any]:
    """Return attributes: the number of annotators, of missing ones, and notes."""
    attrs: dict[str, Any] = {"annotators": count}
    if count < expected:
        attrs["annotators_missing"] = expected - count
        notes = [f"{count} annotators; {expected} were expected", *notes]
    return attrs | ({"notes": notes} if notes else {})
