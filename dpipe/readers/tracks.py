"""Tracks of cells: spots over time, from Imaris, TrackMate and others.

This module knows how files are grouped by movie, channel and annotator, and makes of any format's
rows one table of spots in micrometres, seconds and frames from 0. How each format is read stands
in ``_track_formats.py`` and ``_trackmate.py``.
"""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import xarray as xr

from dpipe import schema
from dpipe.errors import InputError, UsageError, unknown
from dpipe.readers._track_files import BIOTRACKS, SUFFIXES, read_all
from dpipe.readers._track_formats import FORMATS
from dpipe.readers._track_labels import TEXTS, is_of_challenge, stem_of_folder
from dpipe.readers._track_rows import Rows
from dpipe.sources import Item, Part, resolve_uri, stem_of
from dpipe.spreadsheets import Unfit

_CHANNEL = re.compile(r"(?P<movie>.+)_(?P<channel>ch\d+)")
_ANNOTATOR = re.compile(r"(?:^|/)annotator=([^/]+)/")
_SHIFT = 1 << 32


def find(items: Iterable[Item]) -> Iterator[Part]:
    """Group files into parts, one a movie.

    ``Neu1_ch1.csv`` and ``Neu1_ch4.csv`` are the channels of one movie, ``Neu1``; files of one
    name below folders ``annotator=anna``, ``annotator=ben`` are what each annotator marked. Of a
    folder of Imaris statistics only ``..._Position`` is taken. ``objects.csv``, ``links.csv``,
    ``tracks.csv`` and ``dp.json`` of one folder are a biotracks package, named after its folder,
    or after the one above a folder ``dp``. ``man_track.txt`` or ``res_track.txt`` of the Cell
    Tracking Challenge is one with the label images beside it, and is called as the reader
    ``tiff`` calls the movie: ``CHO/01_GT/TRA`` is ``CHO_01``.

    Parameters
    ----------
    items : iterable of Item
        Files; other ones without a suffix of a table, XML or JSON are passed over.

    Yields
    ------
    Part
        In the order in which their first items come.

    Examples
    --------
    >>> names = ["Neu1_ch1.csv", "Neu1_ch4.csv", "b/b_Position.csv", "b/b_Area.csv"]
    >>> [(p.stem, len(p.items)) for p in find(Item(f"/r/{n}", n, 9, "0") for n in names)]
    [('Neu1', 2), ('b', 1)]
    """
    given = list(items)
    labelled = {_folder(item.uri) for item in given if _name(item.uri) in TEXTS}
    listed = [item for item in given if item.path.lower().endswith(SUFFIXES)]
    packages = {_folder(item.uri) for item in listed if _name(item.uri) == BIOTRACKS[0]}
    positions = {
        item.uri[: -len(match[0])]
        for item in listed
        if (match := re.search(r"_Position\.\w+$", item.uri))
    }
    groups: dict[tuple[str, str], list[Item]] = {}
    for item in given:
        folder, stem = _folder(item.uri), stem_of(item.uri, SUFFIXES)
        if folder in labelled and is_of_challenge(_name(item.uri)):
            movie = stem_of_folder(_folder(item.path), folder)
            groups.setdefault((folder, movie), []).append(item)
        elif not item.path.lower().endswith(SUFFIXES):
            continue
        elif folder in packages and _name(item.uri) in BIOTRACKS:
            above = [part for part in folder.split("/") if part and part != "dp"]
            groups.setdefault((folder, above[-1] if above else "tracks"), []).append(item)
        elif not any(item.uri.startswith(f"{head}_") for head in positions) or stem.endswith(
            "_Position"
        ):
            place = _ANNOTATOR.sub("/", f"{folder}/") + item.uri.rpartition(".")[2].lower()
            groups.setdefault((place, _movie(stem)[0]), []).append(item)
    for (_, stem), group in groups.items():
        yield Part(re.sub(r"[^\w.()=+-]", "-", stem), tuple(group))


def _folder(uri: str) -> str:
    return uri.rpartition("/")[0]


def _name(uri: str) -> str:
    return uri.rpartition("/")[2]


def _movie(stem: str) -> tuple[str, str]:
    """Return the movie and the channel of a name such as ``Neu1_ch1``, ``""`` for none."""
    match = _CHANNEL.fullmatch(stem.removesuffix("_Position"))
    return (match["movie"], match["channel"]) if match else (stem.removesuffix("_Position"), "")


def open_tracks(
    url: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    format: str | None = None,
    unit: str | None = None,
    spacing: Sequence[float] | None = None,
    origin: Sequence[float] = (0.0, 0.0, 0.0),
    interval: float | None = None,
    first_frame: int | None = None,
    frames: int | None = None,
    branching: bool = True,
) -> xr.Dataset:
    r"""Open tracks as a table of spots.

    Parameters
    ----------
    url : str, path, or sequence of them
        The files of one movie, as `find` groups them. Where track numbers of two files clash,
        those of the k-th file (from 0) grow by k times 2 to the power of 32.
    format : str, optional
        ``"imaris"`` (statistics, csv or xls), ``"trackmate"``, ``"trackmate-xml"``,
        ``"trackmate-edges"``, ``"biotracks"``, ``"btrack"``, ``"immunemap"``, ``"celltrackr"``,
        ``"ctc"`` (a text of the Cell Tracking Challenge and its label images), ``"columns"``
        (``track_id``, ``frame`` or ``t_s``, ``x_um``, ``y_um``, ``z_um``) or ``"dpipe"`` (what
        the writer ``csv`` made). By default recognised by the header; text without one must be
        named.
    unit : {"um", "pixel"}, optional
        What places are in, whatever the file says or its format means.
    spacing : sequence of 3 floats, optional
        Voxel size along z, y, x in micrometres, for places in pixels (biotracks, btrack, ctc,
        immunemap, often TrackMate); without it those are refused.
    origin : sequence of 3 floats
        What is added to places: the centre of the movie's first voxel along z, y, x in
        micrometres, where the file counts from there, as pixels do.
    interval : float, optional
        Seconds between frames (1 / fps), where the file does not say it. Without it, ``spot_t``
        is NaN for files of frames; for files of times it is their smallest step in a track.
    first_frame : int, optional
        Number of the first frame in the file; by default 1 for Imaris, else 0.
    frames : int, optional
        Number of frames of the movie; a spot beyond it is refused.
    branching : bool
        Take tracks with several spots in one frame, as Imaris and TrackMate have them where
        cells divide or meet; ``attrs["notes"]`` counts them, for they may be two tracks of one
        number. ``track-measures`` leaves such tracks unmeasured, and ``track-checks`` flags their
        spots. False refuses them, TrackMate's XML apart.

    Returns
    -------
    xarray.Dataset
        ``spot_t``, ``spot_z``, ``spot_y``, ``spot_x``, ``spot_radius``, and ``spot_id`` where the
        file numbers its spots, over ``spot``; coordinates ``track``, ``frame``, and, where there
        are any, ``annotator`` and ``spot_channel``. In the order of the file. Of the Cell
        Tracking Challenge, a spot is the centre of a label, found when computed, and
        ``track_parent(track_id)`` is the track that each track comes from.

    Raises
    ------
    InputError
        Wrong columns, a cell that is no number, another unit, a frame before or beyond the
        movie, two spots of a track in one frame (`branching` false), no spots, an unknown or
        ambiguous format.
    StoreError
        The network or disk failed.
    UsageError
        A parameter that cannot work.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "Neu1_ch1.csv")
    ...     _ = path.write_text(
    ...         "Cell deaths\n\nPosition X,Position Y,Position Z,Unit,Time,TrackID,ID\n"
    ...         "5.5,2,1,um,1,1000000000,0\n6.5,2,1,um,3,1000000000,1\n")
    ...     ds = open_tracks(path, interval=30)
    >>> ds.frame.values.tolist(), ds.spot_x.values.tolist(), ds.spot_t.values.tolist()
    ([0, 2], [5.5, 6.5], [0.0, 60.0])
    """
    given = [url] if isinstance(url, str | os.PathLike) else list(url)
    uris = [resolve_uri(os.fspath(uri)) for uri in given]
    _check_options(uris, format, unit, spacing, origin, interval)
    tables: list[xr.Dataset] = []
    for name, uri, rows in read_all(uris, format):
        rows.unit = unit or rows.unit
        try:
            tables.append(
                _spots(rows, uri, spacing, origin, interval, first_frame, frames, branching)
            )
        except Unfit as error:
            raise InputError(f"{name}: {error}") from error
        if len(uris) > 1 and "notes" in tables[-1].attrs:
            tables[-1].attrs["notes"] = [f"{name}: {n}" for n in tables[-1].attrs["notes"]]
    return _joined(tables)


def _check_options(
    uris: Sequence[str],
    named: str | None,
    unit: str | None,
    spacing: Sequence[float] | None,
    origin: Sequence[float],
    interval: float | None,
) -> None:
    if not uris:
        raise UsageError("no file given; tracks need at least one")
    if named is not None and named not in FORMATS:
        raise UsageError(unknown("format", named, FORMATS))
    if unit not in (None, "um", "pixel"):
        raise UsageError(f"unit: found {unit!r}; expected um or pixel")
    for what, found in (("spacing", spacing), ("origin", origin)):
        try:
            values = np.asarray([1, 1, 1] if found is None else found, dtype=np.float64)
        except (TypeError, ValueError):
            values = np.zeros(0)
        good = values.shape == (3,) and np.isfinite(values).all()
        if not good or (what == "spacing" and (values <= 0).any()):
            raise UsageError(f"{what}: found {found!r}; expected z, y, x in micrometres")
    if interval is not None and not (np.isfinite(interval) and interval > 0):
        raise UsageError(f"interval: found {interval!r}; expected seconds above 0")


def _spots(
    rows: Rows,
    uri: str,
    spacing: Sequence[float] | None,
    origin: Sequence[float],
    interval: float | None,
    first_frame: int | None,
    frames: int | None,
    branching: bool,
) -> xr.Dataset:
    """Make the table of one file: micrometres, seconds, frames from 0."""
    if not rows.track.size:
        raise Unfit("no spots; expected at least one")
    if (rows.unit == "um") == (spacing is not None):
        raise Unfit(
            "places are in micrometres; leave spacing out, or say unit=pixel"
            if spacing is not None
            else "places are in pixels; say spacing=[z, y, x] in micrometres"
        )
    zyx = np.asarray(origin) + rows.zyx * np.asarray([1, 1, 1] if spacing is None else spacing)
    first = rows.first if first_frame is None else int(first_frame)
    step = interval or rows.interval or (_step(rows) if rows.frame is None else None)
    frame = _frames(rows, first, step, frames)
    branched = _branches(rows, frame, first) if rows.branches else ""
    if branched and not branching:
        raise Unfit(f"{branched}; say branching=true to take them")
    seconds = rows.seconds
    if seconds is None:
        seconds = frame * step if step else np.full(frame.size, np.nan)
    radius = np.full(frame.size, np.nan) if rows.radius is None else rows.radius
    if spacing is not None:
        radius = radius * float(spacing[2])
    columns = {
        schema.SPOT_T: np.asarray(seconds, dtype=np.float64),
        **dict(zip((schema.SPOT_Z, schema.SPOT_Y, schema.SPOT_X), zyx.T, strict=True)),
        schema.SPOT_RADIUS: radius,
    }
    if rows.number is not None:
        columns[schema.SPOT_ID] = rows.number
    who = _ANNOTATOR.search(uri)
    channel = _movie(stem_of(uri, SUFFIXES))[1]
    labels: dict[schema.Variable, Any] = {schema.TRACK: rows.track, schema.FRAME: frame}
    if who or rows.annotator is not None:
        labels[schema.ANNOTATOR] = (
            np.full(frame.size, who[1]) if who else np.asarray(rows.annotator)
        )
    if channel:
        labels[schema.SPOT_CHANNEL] = np.full(frame.size, channel)

    def wrapped(variable: schema.Variable, values: Any) -> dict[str, xr.DataArray]:
        return variable.wrap(xr.DataArray(values, dims=variable.dims))

    attrs = {"frame_base": first, **({"interval": float(step)} if step else {}), **rows.attrs}
    attrs |= {"notes": [branched]} if branched else {}
    ds = xr.Dataset({k: v for c in columns.items() for k, v in wrapped(*c).items()}, attrs=attrs)
    if rows.guessed_first and first_frame is None:
        ds.attrs["assumed"] = [*ds.attrs.get("assumed", []), "frames count from 0 in the file"]
    if rows.parents is not None:
        ids = sorted(rows.parents)
        ds = ds.assign(wrapped(schema.TRACK_PARENT, [rows.parents[one] for one in ids]))
        ds = ds.assign_coords(track_id=ids)
    return ds.assign_coords({k: v for c in labels.items() for k, v in wrapped(*c).items()})


def _step(rows: Rows) -> float:
    """Return the smallest time between two spots of a track."""
    seconds = np.zeros(0) if rows.seconds is None else rows.seconds
    order = np.lexsort((seconds, rows.track))
    steps = np.diff(seconds[order])[np.diff(rows.track[order]) == 0]
    if not (steps > 0).any():
        raise Unfit("times in seconds, but no step to count frames by; say interval=")
    return float(steps[steps > 0].min())


def _frames(rows: Rows, first: int, step: float | None, count: int | None) -> np.ndarray:
    """Count frames from 0, and refuse those outside of the movie."""
    if rows.frame is None:
        at = np.asarray(rows.seconds) / float(step or 1.0)
        bad = np.flatnonzero(abs(at - np.round(at)) > 0.01)
        if bad.size:
            raise Unfit(
                f"time {np.asarray(rows.seconds)[bad[0]]:g} s is no multiple of the interval "
                f"{step:g} s; say interval="
            )
        frame = np.round(at).astype(np.int64)
    else:
        frame = rows.frame - first
    low, high = int(frame.min()), int(frame.max())
    if low < 0:
        raise Unfit(
            f"frame {low + first} is before the first, {first}; if the file counts otherwise, say "
            "first_frame="
        )
    if count is not None and high >= count:
        raise Unfit(f"frame {high + first} is beyond the movie, which has {count} from {first}")
    return frame


def _branches(rows: Rows, frame: np.ndarray, first: int) -> str:
    """Say which tracks have several spots in a frame, "" if none has."""
    people = np.zeros(frame.size, int)
    if rows.annotator is not None:
        people = np.unique(rows.annotator, return_inverse=True)[1]
    keys = np.stack([people, rows.track, frame], axis=1)[rows.track >= 0]
    found, count = np.unique(keys, axis=0, return_counts=True)
    twice = found[count > 1]
    if not len(twice):
        return ""
    _, track, at = twice[0]
    several = len(np.unique(twice[:, :2], axis=0))
    return (
        f"{several} of {len(np.unique(keys[:, :2], axis=0))} tracks branch, or are two of one "
        f"number: track {track} has {count[count > 1][0]} spots in frame {at + first}"
    )


def _joined(tables: Sequence[xr.Dataset]) -> xr.Dataset:
    """Put the tables of several files one after the other, their track numbers apart."""
    if len(tables) == 1:
        return tables[0]
    texts = {"annotator", "spot_channel"} & {str(name) for ds in tables for name in ds.coords}
    common = sorted(set.intersection(*({str(n) for n in ds.data_vars} for ds in tables)))
    taken: set[tuple[str, int]] = set()
    shaped = []
    for k, ds in enumerate(tables):
        none = xr.DataArray(np.full(ds.sizes["spot"], ""), dims="spot")
        held = {name: ds[name] if name in ds.coords else none for name in texts}
        people = held.get("annotator", none).values
        track = ds["track"]
        if taken & _tracks(people, track.values):
            track = xr.where(track >= 0, track + k * _SHIFT, -1).astype(np.int64)
        taken |= _tracks(people, track.values)
        coords = schema.TRACK.wrap(track.drop_vars(ds.coords))
        for name, values in held.items():
            coords |= schema.VARIABLES[name].wrap(values.drop_vars(ds.coords, errors="ignore"))
        shaped.append(ds[common].assign_coords(coords))
    said = {
        key: list(dict.fromkeys(line for ds in tables for line in ds.attrs.get(key, [])))
        for key in ("assumed", "notes")
    }
    joined = xr.concat(shaped, dim="spot", combine_attrs="drop_conflicts")
    return joined.assign_attrs({key: lines for key, lines in said.items() if lines})


def _tracks(people: np.ndarray, track: np.ndarray) -> set[tuple[str, int]]:
    return {(str(who), int(t)) for who, t in zip(people, track, strict=True) if t >= 0}
