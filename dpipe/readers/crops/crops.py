"""Published crops as labelled collections: TIFF of windows around cells, a file or folder an event.

This module knows how crops of several files lie side by side. What names of files say stands in
``file_names.py``. It does not know where in a movie a crop was cut: the files of the
Leuko-Death study do not say it.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from tifffile import TiffFile

from dpipe import compute, schema
from dpipe.errors import InputError, UsageError
from dpipe.formats.measures import check_steps
from dpipe.formats.tiff import Flaw, Layout, loose_pages, open_tiff_file, read_pages, survey
from dpipe.formats.tiff_metadata import tiff_facts
from dpipe.readers.crops.file_names import SUFFIXES, Name, events, name_of
from dpipe.sources import Item, Part, natural_key, opened, uris_of

_AXES = "TCZYX"


class _Crop(NamedTuple):
    """Where one event lies: files, and for each frame its size (z, y, x)."""

    uris: tuple[str, ...]
    sizes: tuple[tuple[int, int, int], ...]
    channels: int
    dtype: str


def find(items: Iterable[Item]) -> Iterator[Part]:
    """Group crops by movie.

    ``Neutrophil_crops/Neu1_cell1.tif`` is the event ``Neu1_cell1`` of the movie ``Neu1``, and so
    are the pages in a folder ``Neu1_cell1``. ``cell_death_1000000003.tif`` is an event of track
    1000000003; it goes by its folder. Names that `track_crops` gives are known too.

    Parameters
    ----------
    items : iterable of Item
        Files; those without a suffix of TIFF, or named otherwise, are passed over.

    Yields
    ------
    Part
        In the order in which their first items come.

    Examples
    --------
    >>> names = ["N_crops/Neu1_cell1.tif", "N_crops/Neu1_cell2/01.tif", "d/cell_death_7.tif"]
    >>> [(p.stem, len(p.items)) for p in find(Item(f"/r/{n}", n, 9, "0") for n in names)]
    [('Neu1', 2), ('d', 1)]
    """
    groups: dict[str, list[Item]] = {}
    for item in items:
        name = name_of(item.uri) if item.path.lower().endswith(SUFFIXES) else None
        if name is not None:
            groups.setdefault(re.sub(r"[^\w.()=+-]", "-", name.movie), []).append(item)
    for stem, group in groups.items():
        yield Part(stem, tuple(sorted(group, key=lambda item: natural_key(item.path))))


def open_crops(
    url: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    label: int | None = None,
    axes: str | None = None,
    pad: bool = False,
    fill: float = 0,
    spacing: Sequence[float] | None = None,
    interval: float | None = None,
) -> xr.Dataset:
    """Open the crops of one movie as a lazy, labelled collection; headers are read, no pixel.

    Parameters
    ----------
    url : str, path, or sequence of them
        Files, as `find` groups them: each an event with all its frames, or one page of a folder
        that is named like an event.
    label : {0, 1}, optional
        Class of all; by default 0 below a folder such as ``0``, ``healthy``, ``negative``,
        ``control`` or ``alive`` and for the names of negatives, else 1, which
        ``attrs["assumed"]`` says unless the folder says it (``1``, ``apoptotic``, ``dying``).
    axes : str, optional
        The axes of one file, slowest first, where what it says is wrong: letters of T, C, Z, Y, X.
        An axis that a file does not name is time.
    pad : bool
        Take pages and files of unlike size, as those that were clipped at a picture's border are:
        each is put in the middle of the largest. By default they are refused.
    fill : float
        Value around them, and where an event has no more frames.
    spacing : sequence of 3 floats, optional
        Voxel size along z, y, x in micrometres; by default what the first file says.
    interval : float, optional
        Seconds between frames; by default what the first file says.

    Returns
    -------
    xarray.Dataset
        ``crop(event, t, c, y, x)``, or ``crop_volume`` with z, and the coordinates that
        `track_crops` gives: ``label``, ``kind``, ``event_track``, ``event_channel``, ``movie``,
        ``crop_frame``, ``crop_valid`` (False where an event has no more frames), ``crop_phase``,
        ``crop_inside``. Frames are counted within each event, for the movie's are not known;
        ``attrs["assumed"]`` says so.

    Raises
    ------
    InputError
        Not a TIFF, damaged, pages or files of unlike size, kind or number of channels, an event
        named twice.
    StoreError
        The network or disk failed.
    UsageError
        An option that cannot work.

    Examples
    --------
    >>> import tempfile, tifffile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = f"{folder}/Neu1_cell2.tif"
    ...     tifffile.imwrite(path, np.ones((4, 59, 59), "u1"), photometric="minisblack")
    ...     ds = open_crops(path)
    ...     ds["event"].values.tolist(), ds["label"].values.tolist(), ds["crop"].shape
    (['Neu1_cell2'], [1], (1, 4, 1, 59, 59))
    """
    uris = uris_of(url)
    _check_options(uris, label, axes, spacing, interval)
    names, files = events(uris)
    crops = [_surveyed(paths, axes, pad) for paths in files]
    _alike(crops, pad)
    if label is not None:
        names = [n._replace(label=label, kind=n.kind if label else "cell") for n in names]
    largest = tuple(int(n) for n in np.max([s for c in crops for s in c.sizes], axis=0))
    sizes = {"t": len(crops[0].sizes), "c": crops[0].channels, "z": largest[0]}
    with opened(uris[0]) as file, open_tiff_file(file, _short(uris[0])) as tif:
        facts = tiff_facts(tif, 0, sizes, spacing=spacing, interval=interval)
    variable = schema.CROP_VOLUME if largest[0] > 1 else schema.CROP
    size = largest if largest[0] > 1 else largest[1:]
    times = max(len(crop.sizes) for crop in crops)
    shape = (len(crops), times, crops[0].channels, *size)
    run = partial(_read, crops=tuple(crops), axes=axes, largest=largest, fill=fill)
    array = xr.DataArray(
        compute.lazy(run, shape, crops[0].dtype, (1, *shape[1:])),
        dims=variable.dims,
        name=variable.name,
    )
    moments = facts.get("times", ())
    step = float(np.median(np.diff(moments))) if len(moments) > 1 else facts.get("interval", 1.0)
    steps = {"t": step, **dict(zip("zyx", facts["spacing"], strict=True))}
    counted = "frames count from 0 in each event: where they are in the movie is not said"
    assumed = [*facts["attrs"].pop("assumed", []), counted]
    if label is None and (unlabelled := [name.event for name in names if not name.labelled]):
        examples = ", ".join(unlabelled[:3]) + (", ..." if len(unlabelled) > 3 else "")
        assumed.append(
            f"label is 1 for {len(unlabelled)} of {len(names)} ({examples}): "
            "name and folder say no class"
        )
    ds = xr.Dataset(variable.wrap(array), attrs=facts["attrs"] | {"assumed": assumed})
    coords = _of_events(names, crops, largest, times)
    return ds.assign_coords(coords | _axes(array, steps, facts.get("channels")))


def _check_options(
    uris: Sequence[str],
    label: int | None,
    axes: str | None,
    spacing: Sequence[float] | None,
    interval: float | None,
) -> None:
    if not uris:
        raise UsageError("no file given; crops need at least one")
    if label is not None and (isinstance(label, bool) or label not in (0, 1)):
        raise UsageError(f"label: found {label!r}; expected 0 or 1")
    if axes is not None:
        letters = axes.upper()
        if set(letters) - set(_AXES) or len(set(letters)) != len(letters) or letters[-2:] != "YX":
            raise UsageError(f"axes={axes!r}: expected letters of T, C, Z, once each, then YX")
    check_steps(spacing, interval)


def _short(uri: str) -> str:
    return uri.rstrip("/").rpartition("/")[2]


def _surveyed(uris: Sequence[str], axes: str | None, pad: bool) -> _Crop:
    """Read the headers of one event."""
    sizes: list[tuple[int, int, int]] = []
    kinds = set()
    for uri in uris:
        with opened(uri) as file, open_tiff_file(file, _short(uri)) as tif:
            page_sizes, channels, dtype = _sizes(tif, axes, pad)
            if len(uris) > 1 and len(page_sizes) > 1:
                raise Flaw(f"{len(page_sizes)} frames; expected one page of a folder of pages")
        sizes += page_sizes
        kinds.add((channels, dtype))
        if len(kinds) > 1 or (len(set(sizes)) > 1 and not pad):
            raise InputError(
                f"{_short(uri)}: {dtype}, {channels} channel(s), {page_sizes[-1]} voxels, unlike "
                f"the pages before it ({sizes[0]} voxels); if they were clipped, say pad=True"
            )
    return _Crop(tuple(uris), tuple(sizes), channels, dtype)


def _sizes(
    tif: TiffFile, axes: str | None, pad: bool
) -> tuple[list[tuple[int, int, int]], int, str]:
    """Return the size (z, y, x) of each frame of an open file, its channels and dtype."""
    if len({page.shape for page in tif.pages}) > 1:
        shapes = sorted({tuple(page.shape) for page in tif.pages})
        if not pad:
            raise Flaw(
                f"pages of unlike size, {shapes[0]} to {shapes[-1]}: windows that were clipped at "
                "the border; pad=True puts them in the middle of the largest"
            )
        pages = loose_pages(tif)
        return [(1, *page.shape) for page in pages], 1, str(pages[0].dtype.newbyteorder("="))
    layout = survey(tif, None)
    size_of = dict(zip(_dims(layout, axes), layout.shape, strict=True))
    size = (size_of.get("Z", 1), size_of["Y"], size_of["X"])
    return [size] * size_of.get("T", 1), size_of.get("C", 1), str(layout.dtype)


def _dims(layout: Layout, axes: str | None) -> str:
    """Name the axes of a file by letters; one that it does not name is time."""
    letters = axes.upper() if axes is not None else layout.axes.replace("S", "C")
    if axes is None:
        letters = re.sub("[QI]", "T", letters)
    good = len(letters) == len(layout.axes) and len(set(letters)) == len(letters)
    if not good or set(letters) - set(_AXES) or not {"Y", "X"} <= set(letters):
        shape = ", ".join(map(str, layout.shape))
        raise Flaw(f"axes {letters} of ({shape}) make no crop; say axes=, for example 'TYX'")
    return letters


def _alike(crops: Sequence[_Crop], pad: bool) -> None:
    """Refuse events that do not lie side by side."""
    first = crops[0]
    for crop in crops:
        if (crop.channels, crop.dtype) != (first.channels, first.dtype):
            raise InputError(
                f"{_short(crop.uris[0])}: {crop.dtype}, {crop.channels} channel(s); "
                f"{_short(first.uris[0])} has {first.dtype}, {first.channels}"
            )
        if crop.sizes[0] != first.sizes[0] and not pad:
            raise InputError(
                f"{_short(crop.uris[0])}: {crop.sizes[0]} voxels (z, y, x), unlike "
                f"{_short(first.uris[0])}, which has {first.sizes[0]}; pad=True puts each in the "
                "middle of the largest"
            )


def _of_events(
    names: Sequence[Name], crops: Sequence[_Crop], largest: tuple[int, ...], times: int
) -> dict[str, xr.DataArray]:
    """Return the coordinates of events and of their frames."""
    frame = np.full((len(crops), times), -1, np.int64)
    inside = np.zeros((len(crops), times))
    for i, crop in enumerate(crops):
        frame[i, : len(crop.sizes)] = np.arange(len(crop.sizes))
        inside[i, : len(crop.sizes)] = np.prod(np.asarray(crop.sizes) / largest, axis=1)
    columns: dict[schema.Variable, Any] = {
        schema.LABEL: np.asarray([name.label for name in names], np.int64),
        schema.KIND: np.asarray([name.kind for name in names], str),
        schema.EVENT_TRACK: np.asarray([name.track for name in names], np.int64),
        schema.EVENT_CHANNEL: np.full(len(names), ""),
        schema.MOVIE: np.asarray([name.movie for name in names], str),
        schema.CROP_FRAME: frame,
        schema.CROP_VALID: frame >= 0,
        schema.CROP_PHASE: np.full(frame.shape, schema.PHASE_UNKNOWN, np.uint8),
        schema.CROP_INSIDE: inside,
    }
    coords = {"event": xr.DataArray(np.asarray([n.event for n in names], str), dims="event")}
    for variable, values in columns.items():
        coords |= variable.wrap(xr.DataArray(values, dims=variable.dims))
    return coords


def _axes(
    array: xr.DataArray, steps: Mapping[str, float], channels: Sequence[str] | None
) -> dict[str, xr.DataArray]:
    """Return the coordinates of channels, times and places."""
    names = channels or [str(i) for i in range(array.sizes["c"])]
    labels = np.asarray(names, str)
    coords = {"c": xr.DataArray(labels, dims="c", attrs={"long_name": "channel"})}
    for dim, step in steps.items():
        if dim in array.dims:
            n = array.sizes[dim]
            middle = 0.0 if dim == "t" else (n - 1) / 2
            unit = "s" if dim == "t" else "micrometer"
            attrs = {"units": unit, "spacing": step}
            places = (np.arange(n) - middle) * step
            coords[dim] = xr.DataArray(places, dims=dim, attrs=attrs)
    return coords


def _read(
    region: compute.Region, *, crops: tuple[_Crop, ...], axes: str | None, largest: Any, fill: float
) -> np.ndarray:
    """Read one region; runs in a task, so it opens the files itself."""
    e, t, c, *inside = region
    flat = len(inside) == 2
    chosen = crops[e]
    out = np.full((len(chosen), t.stop - t.start, c.stop - c.start, *largest), fill, crops[0].dtype)
    for i, crop in enumerate(chosen):
        for k, frame in _frames(crop, range(t.start, min(t.stop, len(crop.sizes))), axes):
            corner = [(n - m) // 2 for n, m in zip(largest, frame.shape[1:], strict=True)]
            box = tuple(slice(a, a + m) for a, m in zip(corner, frame.shape[1:], strict=True))
            out[(i, k - t.start, slice(None), *box)] = frame[c]
    place: Any = (..., 0, *inside) if flat else (..., *inside)
    return out[place]


def _frames(crop: _Crop, numbers: range, axes: str | None) -> Iterator[tuple[int, np.ndarray]]:
    """Yield frames (c, z, y, x) with their numbers."""
    pages = len(crop.uris) > 1
    for uri in [crop.uris[k] for k in numbers] if pages else crop.uris[: len(numbers)]:
        first = crop.uris.index(uri) if pages else 0
        file_numbers = range(first, first + 1) if pages else numbers
        with opened(uri) as file, open_tiff_file(file, _short(uri)) as tif:
            sizes, channels, dtype = _sizes(tif, axes, pad=True)
            now = (tuple(sizes), channels, dtype)
            if now != (
                crop.sizes[first : first + 1] if pages else crop.sizes,
                crop.channels,
                crop.dtype,
            ):
                raise Flaw("its size or kind changed since it was opened")
            if len(set(sizes)) > 1:
                loose = loose_pages(tif)
                for k in file_numbers:
                    yield k, loose[k].asarray(maxworkers=1)[None, None]
                continue
            layout = survey(tif, None)
            frames = _volumes(tif, layout, axes, [k - first for k in file_numbers])
            for k, frame in zip(file_numbers, frames, strict=True):
                yield k, frame


def _volumes(
    tif: TiffFile, layout: Layout, axes: str | None, numbers: Sequence[int]
) -> Iterator[np.ndarray]:
    """Yield some frames of a file whose pages are alike, each (c, z, y, x)."""
    letters = _dims(layout, axes)
    outer, inner = letters[: len(layout.outer)], letters[len(layout.outer) :]
    grid = np.arange(int(np.prod(layout.outer))).reshape(layout.outer)
    for k in numbers:
        planes = grid.take([k], axis=outer.index("T")) if "T" in outer else grid
        pages = np.stack(list(read_pages(tif, layout, planes.ravel().tolist())))
        frame = pages.reshape(*planes.shape, *layout.page)
        if "T" in inner:
            frame = frame.take([k], axis=letters.index("T"))
        missing = [axis for axis in _AXES if axis not in letters]
        frame = frame.reshape((1,) * len(missing) + frame.shape)
        order = [("".join(missing) + letters).index(axis) for axis in _AXES]
        yield frame.transpose(order)[0]
