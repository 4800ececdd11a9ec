"""Events of a table of spots: which there are, where each is in every frame, and its phases.

An event is a track, or a spot without one. It knows frames, places in micrometres and the names
that crops get; it knows no pixels.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import xarray as xr

from dpipe import schema
from dpipe.compute import compute
from dpipe.errors import SchemaError, UsageError

_PLACE = (schema.SPOT_Z, schema.SPOT_Y, schema.SPOT_X)


class Event(NamedTuple):
    """One event.

    Attributes
    ----------
    name : str
        Movie and number from 1: by track, then spots without one by frame.
    track : int
        -1 for none.
    channel : str
        "" if it is not known.
    frames : array of int, shape (n,)
        Frames with a spot, rising.
    places : array of float, shape (n, 3)
        Mean place (z, y, x) of the spots of each frame, micrometres; NaN unknown.
    spots : array of int, shape (n,)
        How many spots each frame has.
    """

    name: str
    track: int
    channel: str
    frames: np.ndarray
    places: np.ndarray
    spots: np.ndarray

    def at(self, frames: np.ndarray) -> np.ndarray:
        """Return the places (n, 3) in any frames: between spots by lines, beyond them the last."""
        places = np.full((len(frames), 3), np.nan)
        for axis, values in enumerate(self.places.T):
            finite = np.isfinite(values)
            if finite.any():
                places[:, axis] = np.interp(frames, self.frames[finite], values[finite])
        return places


def read_events(tracks: xr.Dataset, movie: str, annotator: str | None) -> list[Event]:
    """Read the events of one movie from its table of spots.

    Parameters
    ----------
    tracks : xarray.Dataset
        A table of spots.
    movie : str
        Its stem, with which names begin.
    annotator : str, optional
        Whose spots are meant, where the table has those of several.

    Returns
    -------
    list of Event
        By their numbers.

    Raises
    ------
    SchemaError
        No table of spots, or one of several annotators and none is chosen.
    UsageError
        No such annotator.
    """
    track, frame = (np.asarray(v.check(tracks).values) for v in (schema.TRACK, schema.FRAME))
    places = np.stack(
        [np.asarray(a, float) for a in compute(*(v.check(tracks).data for v in _PLACE))]
    )
    places[~np.isfinite(places)] = np.nan
    channel = _text(tracks, schema.SPOT_CHANNEL)
    mine = np.flatnonzero(_chosen(_text(tracks, schema.ANNOTATOR), annotator))
    groups = []
    for number in np.unique(track[mine][track[mine] >= 0]).tolist():
        groups.append((int(number), mine[track[mine] == number]))
    lone = mine[track[mine] < 0]
    groups += [(-1, lone[[i]]) for i in np.argsort(frame[lone], kind="stable")]
    events = []
    for i, (number, spots) in enumerate(groups, 1):
        frames, which, count = np.unique(frame[spots], return_inverse=True, return_counts=True)
        sums = [np.bincount(which, weights=values[spots]) for values in places]
        mean = np.stack(sums, axis=1) / count[:, None]
        name = f"{movie}_cell{i}"
        events.append(Event(name, number, str(channel[spots[0]]), frames, mean, count))
    return events


def _text(tracks: xr.Dataset, variable: schema.Variable) -> np.ndarray:
    if variable.name not in tracks.coords:
        return np.full(tracks.sizes["spot"], "")
    return variable.check(tracks).values.astype(str)


def _chosen(who: np.ndarray, annotator: str | None) -> np.ndarray:
    people = sorted(set(who.tolist()) - {""})
    if annotator is not None:
        if annotator not in people:
            raise UsageError(
                f"annotator: found {annotator!r}; expected one of {', '.join(people) or 'none'}"
            )
        return who == annotator
    if len(people) > 1:
        raise SchemaError(
            f"tracks of several annotators ({', '.join(people)}); take their consensus, "
            "or say annotator="
        )
    return np.full(who.size, True)


class Clip(NamedTuple):
    """What one crop shows: its name and kind, its event or what stands for one, and its frames.

    Attributes
    ----------
    name, kind : str
        Label of the crop, and one of `schema.CROP_KINDS`.
    event : Event
        Where it is.
    start, length : int
        First frame, and how many follow each other.
    like : str
        Of a negative the crop of an event whose frames and borders it has, else "".
    """

    name: str
    kind: str
    event: Event
    start: int
    length: int
    like: str = ""


def read_marks(tracks: xr.Dataset | None) -> list[Event]:
    """Read all marks of all annotators, whether others agree or not.

    Parameters
    ----------
    tracks : xarray.Dataset or None
        A table of spots; of a consensus, ``mark_frame(mark)`` and so on are those it was made of.

    Returns
    -------
    list of Event
        Without names; a spot without track is one of its own.

    Raises
    ------
    SchemaError
        A consensus that does not say what an annotator alone has marked.
    """
    if tracks is None:
        return []
    events = []
    who = _text(tracks, schema.ANNOTATOR)
    for person in sorted(set(who.tolist())):
        mine = tracks.isel(spot=np.flatnonzero(who == person))
        events += read_events(mine, "", person or None)
    if schema.TRACK_AGREEMENT.name not in tracks:
        return events
    if schema.MARK_FRAME.name not in tracks:
        (agreed,) = compute(schema.TRACK_AGREEMENT.check(tracks).data)
        if (np.asarray(agreed) > 1).all():
            return events
        raise SchemaError(
            "tracks: a consensus without mark_frame(mark), so that nobody knows what one annotator "
            "alone took for an event; make it anew with consensus-tracks, or draw no negatives"
        )
    columns = compute(*(v.check(tracks).data for v in (schema.MARK_FRAME, *schema.MARK_PLACES)))
    frames, *places = (np.asarray(column) for column in columns)
    for i, frame in enumerate(frames.astype(int).tolist()):
        place = np.asarray([[axis[i] for axis in places]], float)
        events.append(Event("", -1, "", np.asarray([frame]), place, np.ones(1, int)))
    return events


def unplaced(phases: xr.DataTree | xr.Dataset | None, movie: str) -> list[tuple[float, float]]:
    """Return first and last frame of the events of a movie that no track gives a place."""
    spans = []
    for _, ds in _tables(phases):
        track, *columns = compute(
            schema.PHASE_TRACK.check(ds).data, *(v.check(ds).data for v in schema.PHASES)
        )
        rows = np.stack([np.asarray(column, float) for column in columns], axis=1)
        stems = schema.MOVIE.check(ds).values.astype(str).tolist()
        for stem, number, row in zip(stems, np.asarray(track).tolist(), rows, strict=True):
            here = schema.movie_key(stem) == schema.movie_key(movie) and number < 0
            if here and np.isfinite(row).any():
                spans.append((float(np.nanmin(row)), float(np.nanmax(row))))
    return spans


def phases_of(phases: xr.DataTree | xr.Dataset | None, movie: str) -> dict[int, np.ndarray]:
    """Return start and end of blebbing and of disruption (NaN none) by track of one movie.

    Parameters
    ----------
    phases : xarray.DataTree, xarray.Dataset or None
        What `phase-tracks` makes, of all movies.
    movie : str
        Stem; spaces, ``-``, ``_`` and case do not matter.

    Raises
    ------
    SchemaError
        A table without tracks, or two events of one track.
    """
    bounds: dict[int, np.ndarray] = {}
    for stem, ds in _tables(phases):
        try:
            track = schema.PHASE_TRACK.check(ds).data
            stems = schema.MOVIE.check(ds).values.astype(str).tolist()
            columns = [v.check(ds).data for v in schema.PHASES]
        except SchemaError as error:
            raise SchemaError(f"phases {stem}: {error}; make them with phase-tracks") from error
        numbers, *rows = compute(track, *columns)
        for i, number in enumerate(np.asarray(numbers).tolist()):
            if schema.movie_key(stems[i]) == schema.movie_key(movie) and number >= 0:
                if number in bounds:
                    raise SchemaError(f"phases {stem}: two events of {movie} have track {number}")
                bounds[number] = np.asarray([float(row[i]) for row in rows])
    return bounds


def _tables(phases: xr.DataTree | xr.Dataset | None) -> Iterator[tuple[str, xr.Dataset]]:
    if isinstance(phases, xr.Dataset):
        yield str(phases.attrs.get("stem", "")), phases
    elif phases is not None:
        for stem, child in phases.children.items():
            yield stem, child.to_dataset()


def labels(frames: np.ndarray, row: np.ndarray | None) -> np.ndarray:
    """Label frames by phases: 0 before or outside, 1 blebbing, 2 disruption, 255 not known."""
    if row is None or np.isnan(row).all():
        return np.full(len(frames), schema.PHASE_UNKNOWN, np.uint8)
    values = np.zeros(len(frames), np.uint8)
    for phase, (first, last) in enumerate((row[:2], row[2:]), 1):  # where both are, disruption wins
        values[(frames >= first) & (frames <= last)] = phase
    return values
