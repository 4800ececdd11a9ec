"""TIFF as lazy movies: OME-TIFF, ImageJ hyperstacks, ScanImage, plain stacks, series of files.

This module knows how files are grouped into movies by their names. What the names count stands in
``names.py``, how the planes of files make a movie in ``opening.py`` and what it calls,
and how a file is read safely in ``dpipe.formats.tiff``.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

import xarray as xr

from dpipe.readers.tiff.micromanager import METADATA
from dpipe.readers.tiff.names import SUFFIXES, as_stem, folders_above, tagged
from dpipe.readers.tiff.neighbours import numbered_neighbour
from dpipe.readers.tiff.opening import BLOCK_BYTES, COMPANIONS, asked_for, open_movie
from dpipe.sources import Item, Part, natural_key, stem_of, urls_of

__all__ = ["BLOCK_BYTES", "SUFFIXES", "find", "open_tiff"]

_MADE_FROM = re.compile(r"\d+_(GT|ST|RES|ERR_SEG)")
_CONTINUED = re.compile(r"_\d{1,3}$")
_POSITION = re.compile(r"^img(?=_|$)")


def find(items: Iterable[Item]) -> Iterator[Part]:
    """Group files into parts.

    Files of one folder that differ only in what their names count are one part: time points
    (``t012``, ``Neu1_T12``), planes and channels (``t001_z02_ch00``, ``s_C001Z001T012``,
    ``img_000000012_GFP_003`` of Micro-Manager with its ``metadata.txt``). It is named after the
    rest of the name; if nothing is left, after the folder, and a folder of digits after its
    parent too, as the Cell Tracking Challenge names them. Image file stacks of Micro-Manager that
    go on in ``..._1.ome.tif`` are one part as well. Any other file is one part: of files that are
    only numbered (``NAME_0001.tif``) `tiff-series` makes one. Folders in which that challenge
    keeps what was made from a movie (``01_GT``, ``01_ST``, ``01_RES``, ``01_ERR_SEG``) are passed
    over.

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
    texts: dict[str, Item] = {}
    companions: dict[str, dict[str, Item]] = {}
    stems: dict[tuple[str, ...], str] = {}
    files = list(items)
    names = {item.path for item in files}
    for item in files:
        folder, _, name = item.path.rpartition("/")
        if any(_MADE_FROM.fullmatch(parent) for parent in folder.split("/")):
            continue
        if name.lower() == METADATA:
            texts[folder] = item
        elif name.lower().endswith(COMPANIONS):
            companions.setdefault(folder, {})[stem_of(name, COMPANIONS)] = item
        elif name.lower().endswith(SUFFIXES):
            key, stem = _group(folder, name, names)
            groups.setdefault(key, []).append(item)
            stems[key] = stem
    for key, group in groups.items():
        folder, kind = key[0], key[1]
        single = len(group) == 1 and kind != "img"
        stem = stem_of(group[0].path, SUFFIXES) if single and stems[key] else stems[key]
        ordered = sorted(group, key=lambda item: natural_key(item.path))
        beside = [texts[folder]] if kind == "img" and folder in texts else []
        beside += _companion(companions.get(folder, {}), stem)
        if kind == "img":
            several = sum(other[0] == folder and other[1] == "img" for other in groups) > 1
            stem = _acquisition(folder, group[0].uri, stem if several else "")
        yield Part(stem or _folder_stem(folder, group[0].uri), (*ordered, *beside))


def _companion(companions: Mapping[str, Item], stem: str) -> list[Item]:
    """Return the text that lists the planes of a movie: by its name, or the only one there."""
    begun = [head for head in companions if stem.startswith(head)]
    chosen = max(begun, key=len) if begun else next(iter(companions), "")
    return [companions[chosen]] if begun or len(companions) == 1 else []


def _group(folder: str, name: str, names: set[str]) -> tuple[tuple[str, ...], str]:
    """Return the key that the files of one part share, and the rest of the name."""
    stem = stem_of(name, SUFFIXES)
    suffix = name[len(stem) :]
    base = _CONTINUED.sub("", stem)
    if "MMStack" in stem and base != stem and f"{folder}/{base}{suffix}".lstrip("/") in names:
        return (folder, "file", base, suffix), base
    tag = tagged(stem)
    if tag is None:
        return (folder, "file", stem, suffix), stem
    planes = "tcz" if stem.startswith("img_") and len(tag.dims) == 3 else ""
    kind = "img" if planes else "counted"
    return (folder, kind, *tag.pieces, tag.dims, suffix), tag.rest


def _folder_stem(folder: str, uri: str) -> str:
    """Name a folder of nothing but time points."""
    above = folders_above(folder, uri)
    if above[-1].isdigit() and len(above) > 1 and above[-2]:
        return f"{above[-2]}_{above[-1]}"
    return as_stem(above[-1])


def _acquisition(folder: str, uri: str, name: str) -> str:
    """Name what Micro-Manager keeps in a folder a position, below one an acquisition."""
    above = folders_above(folder, uri)
    leaf = [] if above[-1] == "Default" and len(above) > 1 else above[-1:]
    parts = [*(above[-2:-1] if len(above) > 1 and above[-2] else []), *leaf]
    if more := _POSITION.sub("", name).strip("_"):
        parts.append(more)
    return as_stem("_".join(parts))


def open_tiff(
    url: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    axes: str | None = None,
    series: int | None = None,
    whole_frames: bool = False,
    spacing: Sequence[float] | None = None,
    interval: float | None = None,
) -> xr.Dataset:
    """Open a TIFF, or a series of them, as a lazy movie; no pixel is read, no file stays open.

    Parameters
    ----------
    url : str, path, or sequence of them
        One file; or the files of a movie: those that an OME header lists, those whose names count
        time points, planes or channels, or those that differ in their last number only, a time
        point each. Of files whose names count, the first and the last are looked at; the others
        when their pixels are read. ``metadata.txt`` of Micro-Manager and ``.companion.ome`` may be
        among them.
    axes : str, optional
        The axes of one file, slowest first, for example ``"TZYX"``, where what the file says is
        wrong or missing: letters of T, C, Z, Y, X and S (colour samples, which become channels).
        Axes of length 1 may be left out. Sizes cut the planes as they lie in the file, whatever
        its headers say: ``"TZ4C2YX"`` is 2 channels of 4 planes each, and as many frames as there
        are.
    series : int, optional
        Which image, counted from 0, of a file that holds several.
    whole_frames : bool
        Of a recording that stopped, or was cut off, take the frames that are whole; by default it
        is refused. ``attrs["notes"]`` says which are left out.
    spacing : sequence of 3 floats, optional
        Voxel size along z, y, x in micrometres, where what the file says of it is wrong, missing
        or in a unit that nobody knows.
    interval : float, optional
        Seconds between frames, likewise.

    Returns
    -------
    xarray.Dataset
        ``image(t, c, z, y, x)`` of the file's own dtype (bits become uint8). ``attrs["assumed"]``
        lists what the file does not say, or says in words that mean nothing, which it quotes;
        ``attrs["notes"]`` what else is odd. A resolution in inches is not believed, unless ImageJ
        says it. Units are those of OME (2016-06) and what people write for them. Of ScanImage
        (3 to 2023) volumes are frames, and flyback frames are left out.

    Raises
    ------
    InputError
        Not a TIFF, truncated or damaged, pages of unlike size, a chain of pages that comes back to
        itself, a missing time point or file, a unit that nobody knows, a header that does not say
        how its planes are counted; also on computing.
    StoreError
        The network or disk failed.
    UsageError
        An option that cannot work.

    Examples
    --------
    >>> import tempfile, tifffile, numpy as np
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     tifffile.imwrite(f"{folder}/a.tif", np.ones((2, 3, 4, 5), "u2"), imagej=True)
    ...     ds = open_tiff(f"{folder}/a.tif")
    ...     dict(ds.sizes), int(ds.image.sum())
    ({'t': 1, 'c': 3, 'z': 2, 'y': 4, 'x': 5}, 120)
    """
    asked = asked_for(axes, series, whole_frames, spacing, interval)
    ds = open_movie(url, asked)
    uris = urls_of(url)
    single = len(uris) == ds.sizes["t"] == 1
    if single and (neighbour := numbered_neighbour(uris[0])):
        ds.attrs["notes"] = [
            *ds.attrs.get("notes", []),
            f"{neighbour} lies beside it: if such files are frames, planes or channels of one "
            "movie, read them with reader tiff-series and files=t, files=z or files=c",
        ]
    return ds
