"""The Cell Tracking Challenge: a text of tracks, and a label image a frame.

``man_track.txt`` (people's, in ``01_GT/TRA``) or ``res_track.txt`` (a program's, in ``01_RES``)
has a line for each track: its number, its first and last frame, from 0, and the track that it
comes from, 0 for none. In all these frames, and in no others, the label image holds that number.
A track that is lost and found again is two. Knows nothing of micrometres or datasets.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from dpipe.blocks import Region, lazy
from dpipe.errors import InputError
from dpipe.pages import Flaw, Layout, open_tiff_file, read_pages, survey
from dpipe.readers._track_rows import Rows
from dpipe.sources import opened
from dpipe.spreadsheets import Unfit, as_text, read_bytes

TEXTS = ("man_track.txt", "res_track.txt")
_IMAGE = re.compile(r"(?P<head>(?:.*/)?(?:man_track|man_seg|mask))(?P<number>\d+)(?P<end>\.tiff?)")
_MADE_FROM = re.compile(r"(?P<movie>\d+)_(?:GT|ST|RES|ERR_SEG)")
_INSIDE = ("TRA", "SEG")
_BLOCK_SPOTS = 1024


@dataclass(frozen=True)
class Series:
    """Label images, one a frame from 0, kept short since they travel.

    Attributes
    ----------
    head, end : str
        What stands before and after the number in a URI.
    width : int
        Digits of the number.
    frames : int
        How many frames there are.
    shape : tuple of int
        Of one image, along z, y, x.
    dtype : str
        Unsigned, of the size of the files' own.
    """

    head: str
    end: str
    width: int
    frames: int
    shape: tuple[int, int, int]
    dtype: str

    def name(self, frame: int) -> str:
        """Return the name of a frame's file."""
        return f"{self.head.rpartition('/')[2]}{frame:0{self.width}d}{self.end}"

    def read(self, frame: int) -> np.ndarray:
        """Read the labels of a frame."""
        uri = f"{self.head}{frame:0{self.width}d}{self.end}"
        with opened(uri) as file, open_tiff_file(file, self.name(frame)) as tif:
            layout = survey(tif, None)
            shape, dtype = _volume(layout)
            if (shape, dtype) != (self.shape, self.dtype):
                raise Flaw(
                    f"{dtype} of shape {shape}; expected {self.dtype} of {self.shape}, as frame 0"
                )
            pages = list(read_pages(tif, layout, range(int(np.prod(layout.outer, dtype=int)))))
        values = np.stack(pages).reshape(shape)
        if values.dtype.kind == "i" and values.min() < 0:
            raise InputError(f"{self.name(frame)}: label {values.min()} is below 0")
        return values.astype(dtype, copy=False)


def is_of_challenge(name: str) -> bool:
    """Tell whether a file is called as a text of tracks or a label image of the challenge."""
    return name in TEXTS or _IMAGE.fullmatch(name) is not None


def stem_of_folder(path: str, uri: str) -> str:
    """Name the movie that labels in a folder belong to: ``CHO/01_GT/TRA`` is ``CHO_01``.

    The reader ``tiff`` calls the movie in ``CHO/01`` so.
    """
    inside = [part for part in path.split("/") if part and part not in _INSIDE]
    above = inside or [part for part in uri.split("/") if part and part not in _INSIDE]
    made = _MADE_FROM.fullmatch(above[-1]) if above else None
    if made is None:
        return above[-1] if above else "tracks"
    return "_".join([*above[-2:-1], made["movie"]])


def find_series(uris: Iterable[str]) -> Series:
    """Put label images in order, and look at the first.

    Parameters
    ----------
    uris : iterable of str
        Of one folder, ``mask000.tif`` and so on, without a gap.

    Returns
    -------
    Series
        No pixel has been read.

    Raises
    ------
    Unfit
        No images, several kinds, or a gap.
    InputError
        The first is no label image.
    """
    found: dict[int, str] = {}
    around: set[tuple[str, int, str]] = set()
    for uri in uris:
        match = _IMAGE.fullmatch(uri)
        if match:
            found[int(match["number"])] = uri
            around.add((match["head"], len(match["number"]), match["end"]))
    if not found:
        raise Unfit("no label images (man_track000.tif, mask000.tif, ...) beside it")
    if len(around) > 1:
        heads = sorted(f"{head.rpartition('/')[2]}{'0' * n}{end}" for head, n, end in around)
        raise Unfit(f"several kinds of label images ({', '.join(heads)}); expected one")
    ((head, width, end),) = around
    missing = next(i for i in range(len(found) + 1) if i not in found)
    series = Series(head, end, width, len(found), (0, 0, 0), "")
    if missing < len(found):
        raise Unfit(f"{series.name(missing)} is missing; found frames to {max(found)}")
    with opened(found[0]) as file, open_tiff_file(file, series.name(0)) as tif:
        shape, dtype = _volume(survey(tif, None))
    return Series(head, end, width, len(found), shape, dtype)


def _volume(layout: Layout) -> tuple[tuple[int, int, int], str]:
    """Return the shape along z, y, x and the unsigned dtype of a label image."""
    if layout.dtype.kind not in "ui":
        raise Flaw(f"pixels are {layout.dtype}; expected whole numbers, the labels")
    if len(layout.shape) not in (2, 3) or layout.axes[-2:] != "YX" or "S" in layout.axes:
        shape = ", ".join(map(str, layout.shape))
        raise Flaw(f"axes {layout.axes} of ({shape}); expected the z, y, x of one frame")
    z, y, x = (1, *layout.shape)[-3:]
    return (z, y, x), f"u{layout.dtype.itemsize}"


def read_tracks(uris: Mapping[str, str]) -> Rows:
    """Read tracks; the places of spots are centres of labels, found when computed.

    Parameters
    ----------
    uris : mapping of str to str
        The text and the label images beside it, by name.

    Returns
    -------
    Rows
        By frames, and in each by track.
    """
    texts = [uri for name, uri in uris.items() if name in TEXTS]
    if len(texts) != 1:
        raise Unfit(f"{len(texts)} of {' and '.join(TEXTS)}; expected one")
    lines = _lines(as_text(read_bytes(texts[0])))
    series = find_series(uris.values())
    late = lines[lines[:, 2] >= series.frames]
    if len(late):
        raise Unfit(
            f"track {late[0, 0]} ends in frame {late[0, 2]}; there are {series.frames} label images"
        )
    track, frame = _spots(lines)
    read = partial(_centers, series=series, lines=lines)
    return Rows(
        track=track,
        zyx=lazy(read, (len(track), 3), "f8", (_BLOCK_SPOTS, 3)),
        unit="pixel",
        frame=frame,
        parents={int(one): int(parent) or -1 for one, _, _, parent in lines},
    )


def _lines(text: str) -> np.ndarray:
    """Return number, first and last frame, and parent of each track."""
    rows = [(i, line.split()) for i, line in enumerate(text.splitlines(), 1) if line.strip()]
    for i, row in rows:
        if len(row) != 4 or not all(re.fullmatch(r"\d{1,9}", cell, re.ASCII) for cell in row):
            raise Unfit(
                f"line {i}: found {' '.join(row)[:60]!r}; expected track, begin, end, parent"
            )
    lines = np.array([[int(cell) for cell in row] for _, row in rows], np.int64).reshape(-1, 4)
    known: set[int] = set()
    for (i, _), (track, begin, end, _) in zip(rows, lines.tolist(), strict=True):
        if track < 1 or track in known or end < begin:
            why = "its number is 0" if track < 1 else "its number was there before"
            raise Unfit(f"line {i}: track {track}: {why if end >= begin else 'it ends too early'}")
        known.add(track)
    for (i, _), (track, *_, parent) in zip(rows, lines.tolist(), strict=True):
        if parent and (parent not in known or parent == track):
            raise Unfit(f"line {i}: track {track} comes from track {parent}, which is not there")
    return lines


def _spots(lines: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the track and the frame of each spot."""
    counts = lines[:, 2] - lines[:, 1] + 1
    track = np.repeat(lines[:, 0], counts)
    frame = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts - lines[:, 1], counts)
    order = np.lexsort((track, frame))
    return track[order], frame[order]


def _centers(region: Region, *, series: Series, lines: np.ndarray) -> np.ndarray:
    """Find the centres of some spots; runs in a task."""
    rows, axes = region
    track, frame = _spots(lines)
    out = np.empty((len(track), 3))
    for at in np.unique(frame[rows]).tolist():
        found, centers = centers_of(series.read(at))
        here = np.flatnonzero(frame == at)
        odd = np.setxor1d(found, track[here])
        if odd.size:
            promised = odd[0] in track[here]
            why = "the tracks say so, the image does not" if promised else "no track has it there"
            raise InputError(f"{series.name(at)}: label {odd[0]}: {why}; export both again")
        out[here] = centers
    return out[rows, axes]


def centers_of(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the labels of an image, in order, and the mean place of the voxels of each."""
    inside = np.flatnonzero(labels)
    found, which = np.unique(labels.reshape(-1)[inside], return_inverse=True)
    places = np.unravel_index(inside, labels.shape)
    sums = [np.bincount(which, place, len(found)) for place in places]
    counts = np.bincount(which, minlength=len(found))
    return found.astype(np.int64), np.stack(sums, axis=1) / counts[:, None]
