"""Tracks of cells: spots over time, from Imaris, TrackMate and others.

This module knows how files are grouped by movie, channel and annotator. How they are read stands
in ``detect.py``, and how rows of any format become a table of spots in micrometres, seconds
and frames from 0 in ``table.py``.
"""

import os
import re
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import xarray as xr

from dpipe import schema
from dpipe.errors import InputError, UsageError, unknown
from dpipe.formats.cell_tracking_challenge import TEXTS, is_of_challenge, stems_of_folders
from dpipe.formats.spreadsheets import Unfit
from dpipe.formats.track_rows import FRAMES, TIMES, Rows
from dpipe.formats.track_tables import FORMATS
from dpipe.readers.tracks.detect import BIOTRACKS, SUFFIXES, read_all
from dpipe.readers.tracks.table import Overrides, spots
from dpipe.sources import Item, Part, stem_of, uris_of

_CHANNEL = re.compile(r"(?P<movie>.+)_(?P<channel>ch\d+)")
_ANNOTATOR = re.compile(r"(?:^|/)annotator=([^/]+)/")
_SHIFT = 1 << 32
_MOST_FRAMES = 1 << 40


def find(items: Iterable[Item]) -> Iterator[Part]:
    """Group files into parts, one a movie.

    ``Neu1_ch1.csv`` and ``Neu1_ch4.csv`` are the channels of one movie, ``Neu1``; files of one
    name below folders ``annotator=anna``, ``annotator=ben`` are what each annotator marked. Of a
    folder of Imaris statistics only ``..._Position`` is taken. ``objects.csv``, ``links.csv``,
    ``tracks.csv`` and ``dp.json`` of one folder are a biotracks package, named after its folder,
    or after the one above a folder ``dp``. ``man_track.txt`` or ``res_track.txt`` of the Cell
    Tracking Challenge is one with the label images beside it, and is called as the reader
    ``tiff`` calls the movie: ``CHO/01_GT/TRA`` is ``CHO_01``, and ``CHO/01_RES`` too if there is
    no other of that movie, else ``CHO_01_RES``.

    Parameters
    ----------
    items : iterable of Item
        Files; those without a suffix of a table, XML, JSON or MTrackJ are passed over.

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
    files = list(items)
    labelled = {_folder(i.uri): _folder(i.path) for i in files if _name(i.uri) in TEXTS}
    movies = stems_of_folders(labelled)
    tables = [item for item in files if item.path.lower().endswith(SUFFIXES)]
    packages = {_folder(item.uri) for item in tables if _name(item.uri) == BIOTRACKS[0]}
    positions = {
        item.uri[: -len(match[0])]
        for item in tables
        if (match := re.search(r"_Position\.\w+$", item.uri))
    }
    groups: dict[tuple[str, str], list[Item]] = {}
    for item in files:
        folder, stem = _folder(item.uri), stem_of(item.uri, SUFFIXES)
        if folder in labelled and is_of_challenge(_name(item.uri)):
            groups.setdefault((folder, movies[folder]), []).append(item)
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
    time_unit: str | None = None,
    movie: str | None = None,
    spacing: Sequence[float] | None = None,
    origin: Sequence[float] = (0.0, 0.0, 0.0),
    interval: float | None = None,
    first_frame: int | None = None,
    frames: int | None = None,
    branching: bool = True,
    gaps: bool = False,
    background: int = 0,
) -> xr.Dataset:
    r"""Open tracks as a table of spots.

    Parameters
    ----------
    url : str, path, or sequence of them
        The files of one movie, as `find` groups them. Where track numbers of two files clash,
        those of the k-th file (from 0) grow by k times 2 to the power of 32.
    format : str, optional
        By default recognised by the file's columns or its beginning; text without a header must be
        named. Of programs: ``"imaris"`` (statistics, csv or xls), ``"trackmate"`` (its table of
        spots), ``"trackmate-xml"`` (its file), ``"trackmate-edges"``, ``"tracks-xml"`` (tracks
        that TrackMate exports, of the ISBI challenge, or of Icy), ``"biotracks"``, ``"btrack"``
        (objects), ``"btrack-tracks"``, ``"cell-acdc"``, ``"celltrackr"``, ``"cellprofiler"``,
        ``"ilastik"``, ``"immunemap"``, ``"manual-tracking"`` and ``"mosaic"`` (plugins of Fiji),
        ``"mastodon"``, ``"mtrackj"``, ``"napari"`` (ultrack and motile too), ``"trackpy"``,
        ``"ctc"`` (a text of the Cell Tracking Challenge and its label images), ``"dpipe"`` (what
        the writer ``csv`` made). ``"columns"`` is any table with columns of tracks (``track_id``),
        of ``frame`` or ``t_s``, and ``x_um``, ``y_um`` and maybe ``z_um``, ``radius_um``; units
        may be others (``t_min``, ``x (px)``).
    unit : {"um", "pixel"}, optional
        What places are in, whatever the file says or its format means.
    time_unit : {"s", "ms", "min", "h", "frame"}, optional
        What times are in, whatever the file says.
    movie : str, optional
        Which movie's rows to take of a table that holds several, by the columns that tell them
        apart (``movie``, ``well``, ``site``, ...; of several columns with ``/`` between).
    spacing : sequence of 3 floats, optional
        Voxel size along z, y, x in micrometres, for places in pixels (most programs', often
        TrackMate's); without it those are refused.
    origin : sequence of 3 floats
        What is added to places: the centre of the movie's first voxel along z, y, x in
        micrometres, where the file counts from there, as pixels do.
    interval : float, optional
        Seconds between frames (1 / fps), where the file does not say it, or whatever it says.
        Without both, ``spot_t`` is NaN for files of frames; for files of times it is their
        smallest step in a track.
    first_frame : int, optional
        Number of the first frame in the file; by default 1 for Imaris, CellProfiler, MTrackJ and
        Manual Tracking, else 0.
    frames : int, optional
        Number of frames of the movie; a spot beyond it is refused.
    branching : bool
        Take tracks with several spots in one frame, as Imaris and TrackMate have them where
        cells divide or meet; ``attrs["notes"]`` counts them, for they may be two tracks of one
        number. ``track-measures`` leaves such tracks unmeasured, and ``track-checks`` flags their
        spots. False refuses them, TrackMate's XML apart.
    gaps : bool
        Of the Cell Tracking Challenge: give a spot the place NaN where a label image lacks the
        label that the text promises, which else is refused when it is computed.
    background : int
        Of the Cell Tracking Challenge: the label that is no object, 0 or below (-1 in images of
        some programs).

    Returns
    -------
    xarray.Dataset
        ``spot_t``, ``spot_z``, ``spot_y``, ``spot_x``, ``spot_radius``, and ``spot_id`` where the
        file numbers its spots, over ``spot``; coordinates ``track``, ``frame``, and, where there
        are any, ``annotator`` and ``spot_channel``. In the order of the file. Of the Cell
        Tracking Challenge, a spot is the centre of a label, found when computed. Where the file
        says it, ``track_parent(track_id)`` is the track that each track comes from.
        ``attrs["assumed"]`` says what the file leaves open, ``attrs["notes"]`` what of it was left
        out (columns, hidden spots, filtered tracks) or is odd.

    Raises
    ------
    InputError
        Wrong columns, a cell that is no number, an unknown unit, a frame before or beyond the
        movie, two spots of a track in one frame (`branching` false), no spots, an unknown or
        ambiguous format, rows of several movies.
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
    uris = uris_of(url)
    overrides = Overrides(spacing, origin, interval, first_frame, frames, branching)
    _check_options(uris, format, unit, time_unit, overrides)
    tables: list[xr.Dataset] = []
    for name, uri, rows in read_all(uris, format, movie, gaps=gaps, background=background):
        try:
            tables.append(_named(spots(_revised(rows, unit, time_unit), overrides), uri))
        except Unfit as error:
            raise InputError(f"{name}: {error}") from error
        if len(uris) > 1 and "notes" in tables[-1].attrs:
            tables[-1].attrs["notes"] = [f"{name}: {n}" for n in tables[-1].attrs["notes"]]
    return _joined(tables)


def _revised(rows: Rows, unit: str | None, time_unit: str | None) -> Rows:
    """Overrule the units of a file; its times are frames if a person says so."""
    rows.unit = unit or rows.unit
    rows.time_unit = time_unit or rows.time_unit
    if rows.frame is None and rows.times is not None and rows.time_unit in FRAMES:
        if (rows.times != np.round(rows.times)).any() or (abs(rows.times) >= 2**53).any():
            raise Unfit("times are no whole numbers of frames; say time_unit=s, or min, h, ms")
        rows.frame, rows.times = rows.times.astype(np.int64), None
    return rows


def _named(ds: xr.Dataset, uri: str) -> xr.Dataset:
    """Add who marked the spots and in which channel, where the file's path says so."""
    who = _ANNOTATOR.search(uri)
    channel = _movie(stem_of(uri, SUFFIXES))[1]
    texts = {schema.ANNOTATOR: who and who[1], schema.SPOT_CHANNEL: channel}
    for variable, text in texts.items():
        if text:
            column = np.full(ds.sizes["spot"], text)
            ds = ds.assign_coords(variable.wrap(xr.DataArray(column, dims="spot")))
    return ds


def _check_options(
    uris: Sequence[str],
    format_name: str | None,
    unit: str | None,
    time_unit: str | None,
    overrides: Overrides,
) -> None:
    if not uris:
        raise UsageError("no file given; tracks need at least one")
    if format_name is not None and format_name not in FORMATS:
        raise UsageError(unknown("format", format_name, FORMATS))
    if unit not in (None, "um", "pixel"):
        raise UsageError(f"unit: found {unit!r}; expected um or pixel")
    if time_unit not in (None, "frame", *TIMES):
        raise UsageError(f"time_unit: found {time_unit!r}; expected s, ms, min, h or frame")
    for what, value in (("spacing", overrides.spacing), ("origin", overrides.origin)):
        try:
            values = np.asarray([1, 1, 1] if value is None else value, dtype=np.float64)
        except (TypeError, ValueError, OverflowError):
            values = np.zeros(0)
        good = values.shape == (3,) and np.isfinite(values).all()
        if not good or (what == "spacing" and (values <= 0).any()):
            raise UsageError(f"{what}: found {value!r}; expected z, y, x in micrometres")
    if overrides.interval is not None and not (
        np.isfinite(overrides.interval) and overrides.interval > 0
    ):
        raise UsageError(f"interval: found {overrides.interval!r}; expected seconds above 0")
    for what, number in (("first_frame", overrides.first_frame), ("frames", overrides.frames)):
        if number is not None and not (type(number) is int and abs(number) < _MOST_FRAMES):
            raise UsageError(f"{what}: found {number!r}; expected a whole number")


def _joined(tables: Sequence[xr.Dataset]) -> xr.Dataset:
    """Put the tables of several files one after the other, their track numbers apart."""
    if len(tables) == 1:
        return tables[0]
    texts = {"annotator", "spot_channel"} & {str(name) for ds in tables for name in ds.coords}
    common = sorted(set.intersection(*({str(n) for n in ds.data_vars} for ds in tables)))
    common = [name for name in common if name != schema.TRACK_PARENT.name]
    taken: set[tuple[str, int]] = set()
    shaped = []
    parents: dict[int, int] = {}
    for k, ds in enumerate(tables):
        none = xr.DataArray(np.full(ds.sizes["spot"], ""), dims="spot")
        texts_by_name = {name: ds[name] if name in ds.coords else none for name in texts}
        people = texts_by_name.get("annotator", none).values
        track = ds["track"]
        shift = k * _SHIFT if taken & _tracks(people, track.values) else 0
        track = xr.where(track >= 0, track + shift, -1).astype(np.int64)
        taken |= _tracks(people, track.values)
        if schema.TRACK_PARENT.name in ds:
            pairs = zip(ds["track_id"].values.tolist(), ds["track_parent"].values, strict=True)
            parents |= {child + shift: int(p) + shift if p >= 0 else -1 for child, p in pairs}
        coords = schema.TRACK.wrap(track.drop_vars(ds.coords, errors="ignore"))
        for name, values in texts_by_name.items():
            coords |= schema.VARIABLES[name].wrap(values.drop_vars(ds.coords, errors="ignore"))
        shaped.append(ds[common].drop_vars("track_id", errors="ignore").assign_coords(coords))
    lines_of = {
        key: list(dict.fromkeys(line for ds in tables for line in ds.attrs.get(key, [])))
        for key in ("assumed", "notes")
    }
    joined = xr.concat(shaped, dim="spot", combine_attrs="drop_conflicts")
    if parents:
        column = xr.DataArray([parents[child] for child in sorted(parents)], dims="track_id")
        joined = joined.assign(schema.TRACK_PARENT.wrap(column))
        joined = joined.assign_coords(track_id=sorted(parents))
    return joined.assign_attrs({key: lines for key, lines in lines_of.items() if lines})


def _tracks(people: np.ndarray, track: np.ndarray) -> set[tuple[str, int]]:
    return {(str(who), int(t)) for who, t in zip(people, track, strict=True) if t >= 0}
