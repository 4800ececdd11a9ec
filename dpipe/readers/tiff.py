"""TIFF as lazy movies: OME-TIFF, ImageJ hyperstacks, plain stacks, and one file a time point.

This module knows how files are grouped into movies by their names, and what the letters of the
axes mean. How a file is read safely stands in ``dpipe.pages``, what it says of its pixels
in ``_tiff_facts.py``.

An axis that a file does not name is taken for time, or for depth in a file that is itself one
time point of a series; the option `axes` overrules that, and whatever else a file says.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import xarray as xr
from tifffile import TiffFile

from dpipe import schema
from dpipe.blocks import Region, lazy
from dpipe.errors import InputError, UsageError
from dpipe.pages import Flaw, Layout, open_tiff_file, read_pages, survey
from dpipe.readers._tiff_facts import facts
from dpipe.sources import Item, Part, natural_key, opened, resolve_uri, stem_of

SUFFIXES = (".ome.tiff", ".ome.tif", ".tiff", ".tif", ".btf")
BLOCK_BYTES = 64 << 20
"""A lazy block is one volume of one channel, or some of its planes, no larger than this."""

_TIME = re.compile(r"(?:^|(?<=[ _.-]))[tT](\d+)$")
_MADE_FROM = re.compile(r"\d+_(GT|ST|RES|ERR_SEG)")
_NUMBER = re.compile(r"(\d+)(\D*)$")
_AMBIGUOUS = "QI"


@dataclass(frozen=True)
class _Names:
    """URIs that differ in one number, kept short since they travel; width 0: just `prefix`."""

    prefix: str
    first: int
    width: int
    suffix: str

    def at(self, t: int) -> str:
        return f"{self.prefix}{self.first + t:0{self.width}d}{self.suffix}"


def find(items: Iterable[Item]) -> Iterator[Part]:
    """Group files into parts.

    Files of one folder that differ only in a time point at the end of their name (``t012``,
    ``Neu1_T12``) are one part, named after what stands before it; if nothing does, after the
    folder, and a folder of digits after its parent too, as the Cell Tracking Challenge names
    them. Any other file is one part. Folders in which that challenge keeps what was made from a
    movie (``01_GT``, ``01_ST``, ``01_RES``, ``01_ERR_SEG``) are passed over.

    Parameters
    ----------
    items : iterable of Item
        Files; those without a suffix of TIFF are passed over.

    Yields
    ------
    Part
        In the order in which their first items come.

    Examples
    --------
    >>> names = ["CHO/01/t000.tif", "CHO/01/t001.tif", "CHO/01_GT/TRA/man_track000.tif", "a.tif"]
    >>> items = [Item(f"/raw/{name}", name, 9, "0") for name in names]
    >>> [(part.stem, len(part.items)) for part in find(items)]
    [('CHO_01', 2), ('a', 1)]
    """
    groups: dict[tuple[str, ...], list[Item]] = {}
    for item in items:
        folder, _, name = item.path.rpartition("/")
        if not name.lower().endswith(SUFFIXES):
            continue
        if any(_MADE_FROM.fullmatch(each) for each in folder.split("/")):
            continue
        stem = stem_of(name, SUFFIXES)
        time = _TIME.search(stem)
        suffix = name[len(stem) :]
        key = (folder, stem[: time.start()], suffix) if time else (folder, stem, suffix, "")
        groups.setdefault(key, []).append(item)
    for (folder, head, *_), group in groups.items():
        single = len(group) == 1 and bool(head)
        stem = stem_of(group[0].path, SUFFIXES) if single else head.rstrip(" _.-")
        ordered = sorted(group, key=lambda item: natural_key(item.path))
        yield Part(stem or _folder_stem(folder, group[0].uri), tuple(ordered))


def _folder_stem(folder: str, uri: str) -> str:
    """Name a folder of nothing but time points."""
    above = (folder or uri.rpartition("/")[0]).rstrip("/").split("/")
    if above[-1].isdigit() and len(above) > 1 and above[-2]:
        return f"{above[-2]}_{above[-1]}"
    return re.sub(r"[^\w.-]", "-", above[-1]) or "movie"


def open_tiff(
    url: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    axes: str | None = None,
    series: int | None = None,
) -> xr.Dataset:
    """Open a TIFF, or a series of them, as a lazy movie; no pixel is read, no file stays open.

    Parameters
    ----------
    url : str, path, or sequence of them
        One file; or the time points of a movie, one file each, whose names differ in their last
        number only. Of a series, the first and the last file are looked at; the others when
        their pixels are read.
    axes : str, optional
        The axes of one file, slowest first, for example ``"TZYX"``, where what the file says is
        wrong or missing: letters of T, C, Z, Y, X and S (colour samples, which become channels).
        Axes of length 1 may be left out.
    series : int, optional
        Which image, counted from 0, of a file that holds several.

    Returns
    -------
    xarray.Dataset
        ``image(t, c, z, y, x)`` of the file's own dtype (bits become uint8). ``attrs["assumed"]``
        lists what the file does not say. A resolution in inches is not believed.

    Raises
    ------
    InputError
        Not a TIFF, truncated or damaged, pages of unlike size, a missing time point; also on
        computing.
    StoreError
        The network or disk failed.
    UsageError
        `axes` is no list of axes.

    Examples
    --------
    >>> import tempfile, tifffile, numpy as np
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     tifffile.imwrite(f"{folder}/a.tif", np.ones((2, 3, 4, 5), "u2"), imagej=True)
    ...     ds = open_tiff(f"{folder}/a.tif")
    ...     dict(ds.sizes), int(ds.image.sum())
    ({'t': 1, 'c': 3, 'z': 2, 'y': 4, 'x': 5}, 120)
    """
    given = [url] if isinstance(url, str | os.PathLike) else list(url)
    uris = [resolve_uri(os.fspath(uri)) for uri in given]
    _check_axes(axes)
    if not uris:
        raise UsageError("no file given; a movie needs at least one")
    count = len(uris) if len(uris) > 1 else 0
    names = _Names(uris[0], 0, 0, "") if not count else _series_names(uris)
    first = names.at(0) if count else uris[0]
    with opened(first) as file, open_tiff_file(file, _short(first)) as tif:
        layout = survey(tif, series)
        dims = _dims(layout, axes, alone=not count)
        sizes = dict.fromkeys(schema.MOVIE_DIMS, 1) | dict(zip(dims, layout.shape, strict=True))
        sizes |= {"t": count} if count else {}
        said = facts(tif, series or 0, sizes)
    if axes is None and (
        unnamed := [d for d, a in zip(dims, layout.axes, strict=True) if a in _AMBIGUOUS]
    ):
        said["attrs"].setdefault("assumed", []).append(
            f"the axes that the file does not name are {', '.join(unnamed)}"
        )
    if count:
        _check_like(names.at(count - 1), layout, series)
    plane = sizes["y"] * sizes["x"] * layout.dtype.itemsize
    whole = dims[len(layout.outer) :]
    thick = sizes["z"] if "z" in whole else max(1, BLOCK_BYTES // plane)
    chunks = (1, sizes["c"] if "c" in whole else 1, thick, sizes["y"], sizes["x"])
    read = partial(_read, names=names, layout=layout, dims=dims, series=series)
    image = lazy(read, [sizes[dim] for dim in schema.MOVIE_DIMS], layout.dtype, chunks)
    return schema.movie(image, **said)


def _check_axes(axes: str | None) -> None:
    if axes is None:
        return
    letters = axes.upper()
    if set(letters) - set("TCZYXS") or len(set(letters)) != len(letters):
        raise UsageError(f"axes={axes!r}: expected each of T, C, Z, Y, X, S at most once")
    if not {"Y", "X"} <= set(letters) or {"C", "S"} <= set(letters):
        raise UsageError(f"axes={axes!r}: expected Y and X, and only one of C and S")


def _series_names(uris: Sequence[str]) -> _Names:
    """Find the number in which the names differ, and refuse gaps."""
    found: dict[int, str] = {}
    around = set()
    for uri in uris:
        suffix = next((uri[-len(s) :] for s in SUFFIXES if uri.lower().endswith(s)), "")
        stem = uri[: len(uri) - len(suffix)]
        match = _NUMBER.search(stem, stem.rfind("/") + 1)
        if match is None:
            raise InputError(f"{_short(uri)}: no number in its name; a series needs time points")
        if int(match[1]) in found:
            other = _short(found[int(match[1])])
            raise InputError(f"{_short(uri)}: {other} is time point {int(match[1])} too")
        found[int(match[1])] = uri
        around.add((stem[: match.start()], match[2] + suffix))
    if len(around) > 1:
        a, b = sorted("".join(pair).rpartition("/")[2] for pair in around)[:2]
        raise InputError(f"{a}, {b}: the files of a series must differ in their last number only")
    prefix, suffix = around.pop()
    low, high = min(found), max(found)
    names = _Names(prefix, low, len(found[low]) - len(prefix) - len(suffix), suffix)
    for t, number in enumerate(range(low, high + 1)):
        if found.get(number) != names.at(t):
            there = f"; found {_short(found[number])}" if number in found else ""
            raise InputError(
                f"{_short(names.at(t))}: this time point is missing of {low} to {high}{there}"
            )
    return names


def _short(uri: str) -> str:
    return uri.rstrip("/").rpartition("/")[2]


def _dims(layout: Layout, axes: str | None, *, alone: bool) -> tuple[str, ...]:
    """Name the axes of a file by the dims of a movie."""
    shape = ", ".join(map(str, layout.shape))
    letters = layout.axes if axes is None else axes.upper()
    if len(letters) != len(layout.axes):
        raise Flaw(f"axes={axes!r} names {len(letters)} axes; the file has ({shape})")
    unknown = sum(letters.count(a) for a in _AMBIGUOUS)
    free = [a for a in ("TZC" if alone else "ZC") if a not in letters][:unknown]
    for a in sorted(free, key="TCZ".index):
        letters = re.sub(f"[{_AMBIGUOUS}]", a, letters, count=1)
    dims = letters.replace("S", "C").lower()
    if set(dims) - set(schema.MOVIE_DIMS) or len(set(dims)) != len(dims):
        raise Flaw(f"axes {letters} of ({shape}) make no movie; say axes=, for example 'TZYX'")
    if not {"y", "x"} <= set(dims[len(layout.outer) :]):
        raise Flaw(f"axes {letters}: a page of it has shape {layout.page}, which is not Y and X")
    if "t" in dims and not alone:
        raise Flaw(f"a file of a series is one time point; found axes {letters} of ({shape})")
    return tuple(dims)


def _check_like(uri: str, layout: Layout, series: int | None) -> None:
    with opened(uri) as file, open_tiff_file(file, _short(uri)) as tif:
        _like(tif, layout, series)


def _like(tif: TiffFile, layout: Layout, series: int | None) -> Layout:
    """Return the layout of another file of a series, which must hold the same kind of image."""
    found = survey(tif, series)
    if (found.shape, found.dtype) != (layout.shape, layout.dtype):
        raise Flaw(
            f"{found.dtype} of shape {found.shape}; the first file of the series is "
            f"{layout.dtype} of shape {layout.shape}"
        )
    return found


def _read(
    region: Region,
    *,
    names: _Names,
    layout: Layout,
    dims: tuple[str, ...],
    series: int | None,
) -> np.ndarray:
    """Read one region of the movie; runs in a task, so it opens the files itself."""
    out = np.empty([s.stop - s.start for s in region], layout.dtype)
    box = dict(zip(schema.MOVIE_DIMS, region, strict=True))
    if not names.width:
        with opened(names.prefix) as file, open_tiff_file(file, _short(names.prefix)) as tif:
            _fill(out, tif, layout, dims, box)
        return out
    for i, t in enumerate(range(box["t"].start, box["t"].stop)):
        uri = names.at(t)
        with opened(uri) as file, open_tiff_file(file, _short(uri)) as tif:
            _fill(out[i : i + 1], tif, _like(tif, layout, series), dims, box)
    return out


def _fill(
    out: np.ndarray,
    tif: TiffFile,
    layout: Layout,
    dims: tuple[str, ...],
    box: Mapping[str, slice],
) -> None:
    """Copy the pages that meet a box of the movie into an array of the size of that box."""
    outer, inner = dims[: len(layout.outer)], dims[len(layout.outer) :]
    cut = tuple(box[dim] for dim in inner)
    order = [inner.index(dim) for dim in schema.MOVIE_DIMS if dim in inner]
    local = list(np.ndindex(*(box[dim].stop - box[dim].start for dim in outer)))
    start = [box[dim].start for dim in outer]
    numbers = [
        int(np.ravel_multi_index([a + b for a, b in zip(start, at, strict=True)], layout.outer))
        if outer
        else 0
        for at in local
    ]
    for at, page in zip(local, read_pages(tif, layout, numbers), strict=True):
        place = dict(zip(outer, at, strict=True))
        index = tuple(
            slice(None) if dim in inner else place.get(dim, 0) for dim in schema.MOVIE_DIMS
        )
        out[index] = page[cut].transpose(order)
