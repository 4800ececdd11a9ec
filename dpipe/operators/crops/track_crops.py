"""Crops around events: windows of one size that follow a track, frame by frame.

It knows what a crop shows, what is told of it, and what becomes of events that a movie does not
show. How frames are read and windows cut stands in ``_windows.py``, what an event is in
``_events.py``, where windows without one come from in ``_negatives.py``.
"""

import math
import zlib
from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
import xarray as xr

from dpipe import schema
from dpipe.compute import chosen_device, lazy
from dpipe.errors import UsageError
from dpipe.operators.crops.cut import crop, voxels
from dpipe.operators.crops.events import Clip, labels, phases_of, read_events, read_marks, unplaced
from dpipe.operators.crops.layout import Laid, Shown, clips, lay, seen
from dpipe.operators.crops.negatives import Marks, Sampling, draw
from dpipe.operators.crops.windows import Movie, Size, blocks_of, cut
from dpipe.operators.frames.find_cells import limits
from dpipe.operators.parameters import check_choice, check_number, check_whole
from dpipe.operators.surfaces.places import Grid, frame_numbers, grid

Kind = Literal["cell", "before"]
_NAMED = 5


def track_crops(
    ds: xr.Dataset,
    tracks: xr.Dataset,
    phases: xr.DataTree | None = None,
    marks: xr.Dataset | None = None,
    *,
    image: str = "image",
    window: float | Sequence[float | None] = 59,
    unit: Literal["pixels", "micrometer"] = "pixels",
    dims: int = 2,
    frames: Literal["sequence", "single"] = "sequence",
    margin: int | Sequence[int] = 0,
    length: int | None = None,
    channels: Sequence[str] | None = None,
    fill: float = 0,
    annotator: str | None = None,
    first_frame: int | None = None,
    negatives: float = 0,
    negatives_per: Literal["movie", "event"] = "movie",
    negative_kinds: Sequence[Kind] = ("cell", "before"),
    negative_distance: float = 30.0,
    negative_step: float = 10.0,
    opened_area: Sequence[float] = (30, 200),
    watershed_area: Sequence[float] = (10, 300),
    seed: int = 0,
) -> xr.Dataset:
    """Cut a window around each event in each of its frames, and around what is none.

    An event is a track, or a spot without one: an event of one frame. A window's middle voxel is
    the one nearest to the event's place: row = (y - origin) / spacing. Between spots a place is
    interpolated, in the margins it is that of the first or last spot; ``crop_spots`` says where
    there is a spot. What lies beyond the image or the movie is filled.

    Events and negatives are counted when this is called, from the table and, for negatives, some
    frames of the movie; pixels are cut when they are asked for, each frame of a block read once.

    Parameters
    ----------
    ds : xarray.Dataset
        A movie. Its ``attrs["stem"]`` is the name that crops begin with, else that of `tracks`,
        else ``"movie"``.
    tracks : xarray.Dataset
        A table of spots of that movie, of one annotator or the consensus.
    phases : xarray.DataTree, optional
        What `phase_tracks` makes, of all movies; without it phases are not known.
    marks : xarray.Dataset, optional
        Further spots that somebody took for events: negatives keep away from these too, as from
        those of all annotators in `tracks`, and of all that a consensus was made of.
    image : str
        Name of the movie's variable with dims (t, c, z, y, x).
    window : float or sequence
        Size of a window: of y and x, or of z, y and x, where None (as without it) takes all
        planes. 59 is that of the published crops.
    unit : {"pixels", "micrometer"}
        Of `window`. Micrometres become the odd number of voxels whose centres lie within.
    dims : {2, 3}
        2 takes the maximum over z (over the planes of the window, if `window` limits them).
    frames : {"sequence", "single"}
        One crop an event, or one for each frame with a spot, named ``Neu1_cell1_frame12``.
    margin : int or sequence of 2
        Frames before and after.
    length : int, optional
        Frames of every sequence between the margins, so that those of all movies are alike:
        longer events are cut at their end. By default as many as the movie shows of its longest
        event, from its first frame.
    channels : sequence of str, optional
        Names of the channels wanted, by default all.
    fill : float
        Value beyond the image and where there is no frame.
    annotator : str, optional
        Whose events, where the table has those of several.
    first_frame : int, optional
        Frame number of the movie's first frame, as of `mesh_masks`.
    negatives : float
        How many crops without an event of each kind at most; 0 for none.
    negatives_per : {"movie", "event"}
        Whether `negatives` is a number for a movie or for each of its crops of events.
    negative_kinds : sequence of {"cell", "before"}
        ``"cell"``: around cells, as `cell_density` finds them in the channel of an event that is
        drawn too (``ch2`` is the second; else the first channel wanted), with its defaults but
        for the areas below, in the very frames of that event.
        ``"before"``: around the cell of an event, in as many frames before anybody marked it.
    negative_distance : float
        Micrometres, in y and x: cells keep farther than that from every mark of anybody at any
        time, those before an event from other marks at that time. No mark lies in a negative.
    negative_step : float
        Micrometres, in y and x, that a cell moves at most from one frame to the next; one that is
        missing for more than two frames is lost.
    opened_area : sequence of 2 floats
        Least and largest area in pixels of a cell to draw around, as `cell_density` has it.
    watershed_area : sequence of 2 floats
        The same of its other set of cells.
    seed : int
        Of the random choice among them; movies of other names draw otherwise.

    Returns
    -------
    xarray.Dataset
        Lazy ``crop(event, t, c, y, x)``, or ``crop_volume`` with z, in order of time. ``event``
        is ``Neu1_cell1`` (numbered by track, spots without one last), ``Neu1_cell1_before`` or
        ``Neu1_negative1``; ``t`` is seconds after the first frame without margin, ``z``, ``y``,
        ``x`` micrometres from the window's centre. Coordinates: ``label``, ``kind``,
        ``event_like``, ``event_track``, ``event_channel``, ``movie``; ``crop_frame``, -1 where
        there is none in the movie or the event has no more, ``crop_valid``, whether there is one,
        ``crop_time``, when it was (``t`` is by even steps), ``crop_spots``, ``crop_phase``,
        ``crop_inside``; ``crop_z``, ``crop_y``, ``crop_x``: the window's centre, for the maximum
        over all planes the event's z. Attributes: ``events`` of the table, those ``left_out`` by
        name and reason (no spot that the movie shows), ``spots``, which add up to those of the
        table,
        ``negatives``, and ``notes``, lines on what is left out or was not found.

    Raises
    ------
    SchemaError
        No movie, table of spots or table of phases with tracks, or spots of several annotators.
    UsageError
        A parameter that cannot work.

    Notes
    -----
    The published script [1]_ cuts 58 x 58, takes X for the row, micrometres for pixels and frames
    from 1 for frames from 0, and clips at the border; the paper says 59 x 59, and none of the rest
    is meant.

    Nobody annotated healthy cells: a negative is a likely one. So that nothing but pictures tells
    a model which is which, each negative is like the crop of one event (``event_like``): it follows
    its cell, has frames where that has some, and is filled where that is filled; no two are of one
    cell, and none shows frames in which a table of phases has an event without a place. Every frame
    of the movie is searched for cells in the channels of events, which takes its time.

    References
    ----------
    .. [1] Leuko-Death, Methods, "Cell deaths" and Usage Notes, and its code.

    Examples
    --------
    A track of two frames; (y - origin) / spacing is 2 in the first and 3 in the second:

    >>> pixels = np.arange(2 * 6 * 6, dtype="u1").reshape(2, 1, 1, 6, 6)
    >>> movie = schema.movie(pixels, spacing=(1, 0.5, 0.5)).assign_attrs(stem="Neu1")
    >>> held = {"spot_z": [0.0, 0], "spot_y": [1.0, 1.5], "spot_x": [0.0, 0.0]}
    >>> spots = xr.Dataset({k: ("spot", v) for k, v in held.items()})
    >>> spots = spots.assign_coords(track=("spot", [7, 7]), frame=("spot", [0, 1]))
    >>> crops = track_crops(movie, spots, window=3)
    >>> crops["crop"].sel(event="Neu1_cell1")[:, 0].values.tolist()
    [[[0, 6, 7], [0, 12, 13], [0, 18, 19]], [[0, 48, 49], [0, 54, 55], [0, 60, 61]]]
    """
    pixels = schema.IMAGE.check(ds, image)
    around = _margin(margin)
    check_choice("unit", unit, ("pixels", "micrometer"))
    check_choice("dims", dims, (2, 3))
    check_choice("frames", frames, ("sequence", "single"))
    check_choice("negatives_per", negatives_per, ("movie", "event"))
    if length is not None:
        check_whole("length", length, 1)
    check_whole("seed", seed, 0)
    check_number("negatives", negatives, 0)
    check_number("negative_distance", negative_distance, 0)
    check_number("negative_step", negative_step, 0)
    if isinstance(negative_kinds, str) or not set(negative_kinds) <= {"cell", "before"}:
        raise UsageError(f"negative_kinds: found {negative_kinds!r}; expected cell, before")
    areas = limits("opened_area", opened_area), limits("watershed_area", watershed_area)
    crop(np.zeros((1, 1), pixels.dtype), (9, 9), (1, 1), fill)  # refuses a fill that does not fit
    stem = str(ds.attrs.get("stem", tracks.attrs.get("stem", "movie")))
    shown = Shown(
        frame_numbers(pixels, first_frame),
        grid(pixels),
        tuple(int(pixels.sizes[dim]) for dim in schema.SPACE_DIMS),
        _size(window, unit, grid(pixels)),
        dims == 2,
    )
    movie = Movie.of(ds, image, pixels, _channels(pixels, channels))
    events = read_events(tracks, stem, annotator)
    placed, facts = seen(events, shown, length if frames == "sequence" else None)
    crops = [clip for event in placed for clip in clips(event, shown, frames, around, length)]
    quota = math.floor(negatives * (len(crops) if negatives_per == "event" else 1) + 0.5)
    if quota:
        asked = {kind: quota * (kind in negative_kinds) for kind in schema.CROP_KINDS[1:]}
        rows = phases_of(phases, stem)
        marked = Marks(
            [*read_marks(tracks), *read_marks(marks)],
            unplaced(phases, stem),
            {
                track: float(np.nanmin(row))
                for track, row in rows.items()
                if not np.isnan(row).all()
            },
        )
        alone = sum(around) + (length or 1 if frames == "sequence" else 1)
        sampling = Sampling(asked, negative_distance, negative_step, areas, seed, alone)
        crops += draw(movie, stem, shown, marked, crops, sampling)
        kinds = [clip.kind for clip in crops]
        facts["negatives"] = {"most": asked, "distance": negative_distance, "seed": seed}
        facts["negatives"]["found"] = {k: kinds.count(k) for k in asked}
        crops.sort(key=lambda clip: zlib.crc32(clip.name.encode()))  # no class before another
    crops.sort(key=lambda clip: clip.start)
    least = sum(around) + (length or 1 if frames == "sequence" else 1)
    laid = lay(crops, max([least, *(clip.length for clip in crops)]), shown)
    array = _pixels(movie, laid, shown, fill)
    told = _told(crops, laid, stem, phases_of(phases, stem), pixels)
    axes = _axes(array, pixels.isel(c=list(movie.channels)), shown, around[0])
    names = np.asarray([clip.name for clip in crops], str)
    if notes := _notes(facts):
        facts["notes"] = notes
    result = xr.Dataset(schema.VARIABLES[str(array.name)].wrap(array, fill=fill), attrs=facts)
    return result.assign_coords({"event": ("event", names)} | told | axes)


def _margin(margin: int | Sequence[int]) -> tuple[int, int]:
    pair: Any = margin if isinstance(margin, list | tuple) else [margin, margin]
    if len(pair) != 2:
        raise UsageError(f"margin: found {margin!r}; expected frames before and after")
    for count in pair:
        check_whole("margin", count, 0)
    return int(pair[0]), int(pair[1])


def _size(window: float | Sequence[float | None], unit: str, where: Grid) -> Size:
    pair: Any = window if isinstance(window, list | tuple) else [window, window]
    three = [None, *pair] if len(pair) == 2 else pair
    if len(three) != 3 or None in three[1:]:
        raise UsageError(f"window: found {window!r}; expected a size, y and x, or z, y and x")
    for size in three:
        if size is not None and unit == "pixels":
            check_whole("window", size, 1)
        elif size is not None:
            check_number("window", size, 0)
    zyx: Any = voxels(three, where.spacing) if unit == "micrometer" else three
    z, y, x = zyx
    return z if z is None else int(z), int(y), int(x)


def _channels(pixels: xr.DataArray, channels: Sequence[str] | None) -> list[int]:
    names = [str(name) for name in pixels["c"].values]
    if channels is None:
        return list(range(len(names)))
    if isinstance(channels, str) or not channels or not set(channels) <= set(names):
        raise UsageError(f"channels: found {channels!r}; expected a list of {', '.join(names)}")
    return [names.index(name) for name in channels]


def _notes(facts: dict[str, Any]) -> list[str]:
    """Return notes on events without a crop, and on negatives of which too few were found."""
    notes, left_out = [], facts["left_out"]
    if left_out:
        named = [f"{name} ({why})" for name, why in left_out.items()]
        shown = ", ".join([*named[:_NAMED], *["..."] * (len(named) > _NAMED)])
        notes.append(f"{len(left_out)} of {facts['events']} events left out: {shown}")
    drawn = facts.get("negatives", {"most": {}})
    for kind, quota in drawn["most"].items():
        if drawn["found"][kind] < quota:
            what = "around cells" if kind == "cell" else "before events"
            notes.append(f"{drawn['found'][kind]} of {quota} negatives {what} found")
    return notes


def _pixels(movie: Movie, laid: Laid, shown: Shown, fill: float) -> xr.DataArray:
    """Return the crops, not cut yet."""
    size = [n or whole for n, whole in zip(shown.window, shown.sizes, strict=True)]
    run = partial(
        cut, movie=movie, where=laid.where, size=shown.window, flat=shown.flat, fill=fill,
        device=chosen_device(),
    )  # fmt: skip
    size = size[1:] if shown.flat else size
    dtype = movie.image.dtype
    block = (*blocks_of(laid.where, size, dtype.itemsize), 1, *size)
    array = lazy(run, (*laid.frame.shape, len(movie.channels), *size), dtype, block)
    variable = schema.CROP if shown.flat else schema.CROP_VOLUME
    return xr.DataArray(array, dims=variable.dims, name=variable.name)


def _told(
    crops: Sequence[Clip],
    laid: Laid,
    stem: str,
    rows: dict[int, np.ndarray],
    pixels: xr.DataArray,
) -> dict[str, xr.DataArray]:
    """Return the coordinates of crops and of their frames: labels, events, places, phases."""
    phase = np.zeros(laid.frame.shape, np.uint8)
    for i, clip in enumerate(crops):
        if clip.kind == "event":
            phase[i] = labels(laid.frame[i], rows.get(clip.event.track))
    phase[laid.frame < 0] = schema.PHASE_UNKNOWN
    columns: dict[schema.Variable, Any] = {
        schema.LABEL: np.asarray([clip.kind == "event" for clip in crops], np.int64),
        schema.KIND: np.asarray([clip.kind for clip in crops], str),
        schema.EVENT_LIKE: np.asarray([clip.like for clip in crops], str),
        schema.EVENT_TRACK: np.asarray([clip.event.track for clip in crops], np.int64),
        schema.EVENT_CHANNEL: np.asarray([clip.event.channel for clip in crops], str),
        schema.MOVIE: np.full(len(crops), stem),
        schema.CROP_FRAME: laid.frame,
        schema.CROP_VALID: laid.frame >= 0,
        schema.CROP_TIME: _times(laid, pixels),
        schema.CROP_SPOTS: laid.spots,
        schema.CROP_PHASE: phase,
        schema.CROP_INSIDE: laid.inside,
    }
    for axis, variable in enumerate((schema.CROP_Z, schema.CROP_Y, schema.CROP_X)):
        columns[variable] = laid.place[..., axis]
    coords: dict[str, xr.DataArray] = {}
    for variable, values in columns.items():
        coords |= variable.wrap(xr.DataArray(values, dims=variable.dims))
    meanings = " ".join((*schema.CROP_PHASES, "unknown"))
    coords[schema.CROP_PHASE.name].attrs |= {
        "flag_values": [0, 1, 2, schema.PHASE_UNKNOWN],
        "flag_meanings": meanings,
    }
    return coords


def _times(laid: Laid, pixels: xr.DataArray) -> np.ndarray:
    """Return when each frame of each crop was, as the movie says: steps need not be even."""
    step, count = schema.spacing(pixels, "t"), pixels.sizes["t"]
    seconds = np.asarray(pixels["t"].values, float) if "t" in pixels.coords else None
    seconds = np.arange(count) * step if seconds is None else seconds
    visible = laid.where.position >= 0
    padded = np.append(seconds, math.nan)
    return padded[np.where(visible, laid.where.position, count)]


def _axes(
    array: xr.DataArray, pixels: xr.DataArray, shown: Shown, before: int
) -> dict[str, xr.DataArray]:
    """Return seconds, channels, and micrometres from the window's centre."""
    interval = schema.spacing(pixels, "t")
    facts = {"units": "s", "long_name": "time after the first frame", "spacing": interval}
    seconds = (np.arange(array.sizes["t"]) - before) * interval
    axes = {str(k): v for k, v in pixels.coords.items() if v.dims == ("c",)}
    axes["t"] = xr.DataArray(seconds, dims="t", attrs=facts)
    for dim, step in zip(schema.SPACE_DIMS, shown.grid.spacing, strict=True):
        if dim in array.dims:
            n = array.sizes[dim]
            attrs = {"units": "micrometer", "long_name": "from the centre", "spacing": step}
            places = (np.arange(n) - (n - 1) / 2) * step
            axes[dim] = xr.DataArray(places, dims=dim, attrs=attrs)
    return axes
