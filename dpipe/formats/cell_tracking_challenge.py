"""The Cell Tracking Challenge: a text of tracks, and label images.

``man_track.txt`` (people's, in ``01_GT/TRA``) or ``res_track.txt`` (a program's, in ``01_RES``)
has a line for each track: its number, its first and last frame, from 0, and the track that it
comes from, 0 for none. In all these frames, and in no others, the label image holds that number.
A track that is lost and found again is two. What people segmented (``01_GT/SEG``) are some frames
only, and of volumes maybe some planes (``man_seg_TTT_ZZZ.tif``). Knows nothing of micrometres or
datasets.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from dpipe.compute import Region, lazy
from dpipe.errors import InputError, UsageError
from dpipe.formats.spreadsheets import Unfit, as_text, read_bytes
from dpipe.formats.tiff import Flaw, Layout, open_tiff_file, read_pages, survey
from dpipe.formats.track_rows import Rows
from dpipe.sources import opened

TEXTS = ("man_track.txt", "res_track.txt")
_IMAGE = re.compile(
    r"(?P<folder>(?:.*/)?)(?P<kind>man_track|mask|(?P<seg>man_seg)_?)(?P<number>\d{1,9})"
    r"(?(seg)(?:_(?P<plane>\d{1,9}))?)(?P<end>\.(?i:tiff?))",
    re.ASCII,
)
_MADE_FROM = re.compile(r"(?P<movie>\d+)_(?P<kind>GT|ST|RES|ERR_SEG)")
_INSIDE = ("TRA", "SEG")
_OF_THE_MOVIE = ("GT_TRA", "TRA")
_MOST = 1_000_000
_BLOCK_SPOTS = 1024
_WHOLE = -1


@dataclass(frozen=True)
class Series:
    """Label images, kept short since they travel.

    Attributes
    ----------
    folder : str
        What stands before the names in a URI.
    files : mapping of int to tuple of (int, str)
        By frame, the plane (-1 for all) and the name of each of its files.
    frames : int
        How many frames there are, with those before and between that have no file.
    shape : tuple of int
        Of one frame, along z, y, x.
    dtype : str
        Unsigned, of the size of the files' own.
    background : int
        The label that is no object, 0 or below.
    """

    folder: str
    files: Mapping[int, tuple[tuple[int, str], ...]]
    frames: int
    shape: tuple[int, int, int]
    dtype: str
    background: int = 0

    def segmented(self) -> np.ndarray:
        """Return a truth value a plane, whether it has a file: shape (frames, z)."""
        present = np.zeros((self.frames, self.shape[0]), bool)
        for frame, files in self.files.items():
            for plane, _ in files:
                present[frame, slice(None) if plane == _WHOLE else plane] = True
        return present

    def name(self, frame: int) -> str:
        """Return the name of a frame's file."""
        return self.files[frame][0][1]

    def read(self, frame: int) -> np.ndarray:
        """Read the labels of a frame; what nobody segmented is 0."""
        out = np.zeros(self.shape, self.dtype)
        for plane, name in self.files.get(frame, ()):
            inside = slice(None) if plane == _WHOLE else slice(plane, plane + 1)
            out[inside] = self._image(name, out[inside].shape)
        return out

    def _image(self, name: str, expected: tuple[int, ...]) -> np.ndarray:
        with opened(f"{self.folder}{name}") as file, open_tiff_file(file, name) as tif:
            layout = survey(tif, None)
            shape, dtype = _volume(layout)
            if shape != expected or not np.can_cast(dtype, self.dtype):
                raise Flaw(
                    f"{dtype} of shape {shape}; expected {self.dtype} of {expected}, as the first"
                )
            pages = list(read_pages(tif, layout, range(int(np.prod(layout.outer, dtype=int)))))
        values = np.stack(pages).reshape(shape)
        if self.background and values.dtype.kind == "i":
            values = np.where(values == self.background, values.dtype.type(0), values)
        if values.dtype.kind == "i" and (least := int(values.min())) < 0:
            way = f"; option background={least} reads it as no object" * (not self.background)
            raise InputError(f"{name}: label {least} is below 0{way}")
        return values.astype(self.dtype, copy=False)


def is_of_challenge(name: str) -> bool:
    """Tell whether a file is called as a text of tracks or a label image of the challenge."""
    return name in TEXTS or _IMAGE.fullmatch(name) is not None


def stem_of_folder(path: str, uri: str) -> str:
    """Name the movie that labels in a folder belong to: ``CHO/01_GT/TRA`` is ``CHO_01``.

    The reader ``tiff`` calls the movie in ``CHO/01`` so.
    """
    inside = [part for part in path.split("/") if part and part not in _INSIDE]
    above = inside or [part for part in uri.split("/") if part and part not in _INSIDE]
    match = _MADE_FROM.fullmatch(above[-1]) if above else None
    if match is None:
        return above[-1] if above else "tracks"
    return "_".join([*above[-2:-1], match["movie"]])


def stems_of_folders(folders: Mapping[str, str]) -> dict[str, str]:
    """Name the labels of some folders, given by URI with their paths below the source.

    Those of one movie have its name if they are alone; else only what lies in ``GT/TRA`` has, and
    the others what they are besides.

    Examples
    --------
    >>> found = stems_of_folders({f"/r/{f}": f for f in ("01_GT/TRA", "01_GT/SEG", "02_RES")})
    >>> list(found.values())
    ['01', '01_GT_SEG', '02']
    """
    stems = {uri: stem_of_folder(path, uri) for uri, path in folders.items()}
    shared = Counter(stems.values())
    for uri, stem in stems.items():
        kind = _kind(uri)
        if shared[stem] > 1 and kind and kind not in _OF_THE_MOVIE:
            stems[uri] = f"{stem}_{kind}"
    return stems


def _kind(uri: str) -> str:
    """Return the kind of labels in a folder: ``GT_SEG``, ``RES``, ..., "" if not said."""
    *above, last = ["", *uri.rstrip("/").split("/")]
    inside = [last] if last in _INSIDE else []
    match = _MADE_FROM.fullmatch(above[-1] if inside else last)
    return "_".join([*([match["kind"]] if match else []), *inside])


def find_series(
    uris: Iterable[str],
    *,
    first: int = 0,
    frames: int | None = None,
    planes: int | None = None,
    background: int = 0,
) -> Series:
    """Put label images in order, and look at the first.

    Parameters
    ----------
    uris : iterable of str
        Of one folder, ``mask000.tif`` and so on, without a gap, or some ``man_seg000.tif``.
    first : int
        Number of the movie's first frame.
    frames, planes : int, optional
        How many the movie has, where the images may not show its last.
    background : int
        The label that is no object, 0 or below.

    Returns
    -------
    Series
        No pixel has been read.

    Raises
    ------
    Unfit
        No images, several kinds, two of one frame, or a gap.
    InputError
        The first is no label image.
    """
    matches = sorted(filter(None, map(_IMAGE.fullmatch, uris)), key=_place)
    if type(background) is not int or background > 0:
        raise UsageError(f"background: found {background!r}; expected 0 or a number below")
    if not matches:
        raise Unfit("no label images (man_track000.tif, mask000.tif, man_seg000.tif, ...)")
    kinds = {m["folder"] + m["kind"].rstrip("_"): _name(m) for m in reversed(matches)}
    if len(kinds) > 1:
        listed = ", ".join(sorted(kinds.values()))
        raise Unfit(f"several kinds of label images ({listed}); expected one")
    files: dict[int, tuple[tuple[int, str], ...]] = {}
    for match in matches:
        frame, plane = _place(match)
        planes_before = files.get(frame - first, ())
        if any(plane in (_WHOLE, other) or other == _WHOLE for other, _ in planes_before):
            raise Unfit(
                f"{planes_before[-1][1]} and {_name(match)} are of one frame; expected one of them"
            )
        files[frame - first] = (*planes_before, (plane, _name(match)))
    low, high = min(files), max(files)
    if low < 0:
        raise Unfit(f"frame {low + first} is before the first, {first}")
    if high >= (_MOST if frames is None else frames):
        limit = f"the movie has {frames} from {first}" if frames is not None else f"at most {_MOST}"
        raise Unfit(f"{files[high][0][1]}: a frame too far; {limit}")
    if not matches[0]["seg"] and len(files) <= high - low:
        missing = next(i for i in range(low, high) if i not in files)
        width = len(matches[0]["number"])
        name = f"{matches[0]['kind']}{missing + first:0{width}d}{matches[0]['end']}"
        raise Unfit(f"{name} is missing; found frames to {high + first}")
    series = _sized(matches[0]["folder"], files, frames or high + 1, planes)
    return replace(series, background=background)


def _place(match: re.Match[str]) -> tuple[int, int]:
    return int(match["number"]), int(match["plane"] or _WHOLE)


def _name(match: re.Match[str]) -> str:
    return match[0][len(match["folder"]) :]


def _sized(
    folder: str,
    files: Mapping[int, tuple[tuple[int, str], ...]],
    frames: int,
    planes: int | None,
) -> Series:
    """Look at the first image of a series, a whole frame if there is one."""
    every = sorted((plane, name) for images in files.values() for plane, name in images)
    with opened(f"{folder}{every[0][1]}") as file, open_tiff_file(file, every[0][1]) as tif:
        shape, dtype = _volume(survey(tif, None))
    last, name = every[-1]
    depth = shape[0] if every[0][0] == _WHOLE else planes or last + 1
    if planes not in (None, depth):
        raise Unfit(f"{every[0][1]} has {depth} planes; {planes} were said")
    if last >= min(depth, _MOST):
        raise Unfit(f"{name} is of plane {last}; the movie has {min(depth, _MOST)} at most")
    return Series(folder, files, frames, (depth, *shape[1:]), dtype)


def _volume(layout: Layout) -> tuple[tuple[int, int, int], str]:
    """Return the shape along z, y, x and the unsigned dtype of a label image."""
    if layout.dtype.kind not in "ui":
        raise Flaw(f"pixels are {layout.dtype}; expected whole numbers, the labels")
    if len(layout.shape) not in (2, 3) or layout.axes[-2:] != "YX" or "S" in layout.axes:
        shape = ", ".join(map(str, layout.shape))
        raise Flaw(f"axes {layout.axes} of ({shape}); expected the z, y, x of one frame")
    z, y, x = (1, *layout.shape)[-3:]
    return (z, y, x), f"u{layout.dtype.itemsize}"


def read_tracks(uris: Mapping[str, str], *, gaps: bool = False, background: int = 0) -> Rows:
    """Read tracks; the places of spots are centres of labels, found when computed.

    Parameters
    ----------
    uris : mapping of str to str
        The text and the label images beside it, by name.
    gaps : bool
        Give a spot the place NaN where its label is missing, which else is refused.
    background : int
        The label that is no object, 0 or below.

    Returns
    -------
    Rows
        By frames, and in each by track.
    """
    texts = [uri for name, uri in uris.items() if name in TEXTS]
    if len(texts) != 1:
        raise Unfit(f"{len(texts)} of {' and '.join(TEXTS)}; expected one")
    lines = _lines(as_text(read_bytes(texts[0])))
    series = find_series(uris.values(), background=background)
    late = lines[lines[:, 2] >= series.frames]
    if len(late):
        raise Unfit(
            f"track {late[0, 0]} ends in frame {late[0, 2]}; there are {series.frames} label images"
        )
    low = min(series.files)
    early = lines[lines[:, 1] < low]
    if len(early):
        raise Unfit(
            f"track {early[0, 0]} begins in frame {early[0, 1]}; the first label image is "
            f"{series.name(low)}"
        )
    track, frame = _spots(lines)
    read = partial(_centers, series=series, lines=lines, gaps=gaps)
    return Rows(
        track=track,
        zyx=lazy(read, (len(track), 3), "f8", (_BLOCK_SPOTS, 3)),
        unit="pixel",
        frame=frame,
        parents={int(track_number): int(parent) or -1 for track_number, _, _, parent in lines},
        notes=begins_late(series),
    )


def begins_late(series: Series) -> list[str]:
    """Say in a line if a series without gaps begins with another frame than 0."""
    low = min(series.files)
    if not low or len(series.files) != series.frames - low:
        return []
    return [
        f"the label images begin with {series.name(low)}: say first_frame if the movie's frames "
        "count from there"
    ]


def _lines(text: str) -> np.ndarray:
    """Return number, first and last frame, and parent of each track."""
    rows = [(i, line.split()) for i, line in enumerate(text.splitlines(), 1) if line.strip()]
    for i, row in rows:
        if len(row) != 4 or not all(re.fullmatch(r"\d{1,9}", cell, re.ASCII) for cell in row):
            raise Unfit(
                f"line {i}: found {' '.join(row)[:60]!r}; expected track, begin, end, parent"
            )
    lines = np.array([[int(cell) for cell in row] for _, row in rows], np.int64).reshape(-1, 4)
    numbers: set[int] = set()
    for (i, _), (track, begin, end, _) in zip(rows, lines.tolist(), strict=True):
        if track < 1 or track in numbers or end < begin:
            why = "its number is 0" if track < 1 else "its number was there before"
            raise Unfit(f"line {i}: track {track}: {why if end >= begin else 'it ends too early'}")
        numbers.add(track)
    for (i, _), (track, *_, parent) in zip(rows, lines.tolist(), strict=True):
        if parent and (parent not in numbers or parent == track):
            raise Unfit(f"line {i}: track {track} comes from track {parent}, which is not there")
    return lines


def _spots(lines: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the track and the frame of each spot."""
    counts = lines[:, 2] - lines[:, 1] + 1
    track = np.repeat(lines[:, 0], counts)
    frame = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts - lines[:, 1], counts)
    order = np.lexsort((track, frame))
    return track[order], frame[order]


def _centers(region: Region, *, series: Series, lines: np.ndarray, gaps: bool) -> np.ndarray:
    """Find the centres of some spots; runs in a task."""
    rows, axes = region
    track, frame = _spots(lines)
    out = np.full((len(track), 3), np.nan)
    for number in np.unique(frame[rows]).tolist():
        labels, centers = centers_of(series.read(number))
        here = np.flatnonzero(frame == number)
        if (odd := np.setdiff1d(labels, track[here])).size:
            told = (
                f"{series.name(number)}: label {odd[0]}: no track has it there; export both again"
            )
            raise InputError(told)
        if (odd := np.setdiff1d(track[here], labels)).size and not gaps:
            raise InputError(
                f"{series.name(number)}: label {odd[0]}: the tracks say so, the image does not; "
                "export both again, or say gaps=true for spots without a place"
            )
        out[here[np.isin(track[here], labels)]] = centers
    return out[rows, axes]


def centers_of(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the labels of an image, in order, and the mean place of the voxels of each."""
    inside = np.flatnonzero(labels)
    present, which = np.unique(labels.reshape(-1)[inside], return_inverse=True)
    places = np.unravel_index(inside, labels.shape)
    sums = [np.bincount(which, place, len(present)) for place in places]
    counts = np.bincount(which, minlength=len(present))
    return present.astype(np.int64), np.stack(sums, axis=1) / counts[:, None]
