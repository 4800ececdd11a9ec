"""A TIFF, or several, as one movie: what its names, headers and pages say, put together.

This module knows in which order they are believed: what a person says; a header that lists planes
(OME over several files, Micro-Manager, ScanImage); what tifffile makes of one file; names.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from tifffile import TiffFile

from dpipe import schema
from dpipe.formats.frame_times import named as frames_named
from dpipe.formats.tiff import Flaw, chain, survey
from dpipe.formats.tiff_metadata import facts
from dpipe.readers.tiff.axes import AMBIGUOUS, Axes, cut, dims_of
from dpipe.readers.tiff.planes import Planes, Reading, by_table, in_order, listed, tabled
from dpipe.readers.tiff.torn import promised


@dataclass(frozen=True)
class Asked:
    """What a person asks for: see `open_tiff`."""

    axes: Axes | None = None
    series: int | None = None
    torn: bool = False
    spacing: Sequence[float] | None = None
    interval: float | None = None

    def facts(self, tif: TiffFile, sizes: dict[str, int], **more: Any) -> dict[str, Any]:
        """Return what a file says, where this does not overrule it."""
        more |= {"spacing": self.spacing, "interval": self.interval}
        return facts(tif, self.series or 0, sizes, **more)


class Movie(NamedTuple):
    """How a movie is read, its sizes along t, c, z, y, x, and the arguments of `schema.movie`."""

    reading: Reading
    sizes: dict[str, int]
    said: dict[str, Any]


def note(said: dict[str, Any], line: str) -> None:
    """Add a line for people."""
    said["attrs"] = {**said["attrs"], "notes": [*said["attrs"].get("notes", []), line]}


def whole_frames(frames: int, lost: Iterable[int], asked: Asked, found: str) -> list[int]:
    """Return the frames that are whole; refuse if some are not and nobody asked for the rest."""
    gone = set(lost)
    whole = [t for t in range(frames) if t not in gone]
    if gone and not (asked.torn and whole):
        way = f"say whole_frames=true for the {len(whole)} frames that are whole, or " * bool(whole)
        raise Flaw(f"{found}; {way}fetch or export it again")
    return whole


def left_out(frames: int, whole: Sequence[int]) -> str:
    """Say which frames are left out."""
    gone = sorted(set(range(frames)) - set(whole))
    return f"{frames_named(gone)} of {frames} are not whole and left out"


def chosen(planes: Planes, whole: Sequence[int]) -> Planes:
    """Take some frames of planes that are counted evenly."""
    if list(whole) == list(range(len(whole))):
        return Planes(planes.inner, (len(whole), *planes.counts[1:]), planes.files, planes.pages)
    return by_table(planes.inner, tabled(planes)[list(whole)])


def surveyed(tif: TiffFile, uri: str, asked: Asked) -> Movie:
    """Take one image of a file as tifffile finds it."""
    missing: list[int] = []
    layout = promised(tif, missing) or survey(tif, asked.series, missing)
    dims = dims_of(layout, asked.axes)
    outer, inner = dims[: len(layout.outer)], dims[len(layout.outer) :]
    sizes = dict.fromkeys(schema.MOVIE_DIMS, 1) | dict(zip(dims, layout.shape, strict=True))
    planes = in_order(outer, inner, sizes)
    whole = list(range(sizes["t"]))
    if missing:
        count = math.prod(layout.outer)
        if "t" in outer:
            lost = np.unravel_index(missing, layout.outer)[outer.index("t")].tolist()
        else:
            lost = whole
        if layout.offset is None:
            found = f"{count - len(missing)} planes found, {count} expected"
        else:
            end = layout.offset + count * layout.page_bytes
            found = f"truncated: {end} bytes expected, {tif.filehandle.size} found"
        whole = whole_frames(sizes["t"], lost, asked, found)
        planes = chosen(planes, whole)
    said = asked.facts(tif, sizes | {"t": len(whole)}, frames=whole)
    unnamed = [d for d, a in zip(dims, layout.axes, strict=True) if a in AMBIGUOUS]
    if unnamed and asked.axes is None:
        assume(said, f"the axes that the file does not name are {', '.join(unnamed)}")
    if len(whole) < sizes["t"]:
        note(said, left_out(sizes["t"], whole))
    reading = Reading(listed([uri]), layout, planes, asked.series, torn=bool(missing))
    return Movie(reading, sizes | {"t": len(whole)}, said)


def counted(tif: TiffFile, uri: str, asked: Asked, axes: Axes) -> Movie:
    """Take the planes of a file in their order, cut into the sizes that a person says."""
    missing: list[int] = []
    layout = chain(tif, missing) if asked.series is None and len(tif.pages) > 1 else None
    layout = layout or promised(tif, missing) or survey(tif, asked.series, missing)
    planes, all_ = min(missing, default=math.prod(layout.outer)), math.prod(layout.outer)
    dims, own = cut(layout, axes, planes, asked.torn or bool(missing))
    sizes = dict.fromkeys(schema.MOVIE_DIMS, 1) | own
    outer, inner = dims[: -layout.inner], dims[-layout.inner :]
    gone = all_ - math.prod(sizes[d] for d in outer)
    if missing and not asked.torn:
        raise Flaw(
            f"{planes} whole planes of {all_}; say whole_frames=true for the {sizes['t']} frames "
            "that are whole, or fetch or export it again"
        )
    said = asked.facts(tif, sizes)
    if gone:
        note(said, f"the last {gone} planes make no whole frame and are left out")
    held = in_order(outer, inner, sizes)
    return Movie(Reading(listed([uri]), layout, held, asked.series, bool(missing)), sizes, said)


def plain(tif: TiffFile, uri: str, asked: Asked) -> Movie:
    """Take all pages in their order, under the axes that a person names."""
    layout = chain(tif)
    dims = dims_of(layout, asked.axes)
    sizes = dict.fromkeys(schema.MOVIE_DIMS, 1) | dict(zip(dims, layout.shape, strict=True))
    planes = in_order(dims[:1], dims[1:], sizes)
    return Movie(Reading(listed([uri]), layout, planes, -1), sizes, asked.facts(tif, sizes))


def assume(said: dict[str, Any], line: str) -> None:
    """Add a line of what had to be assumed."""
    said["attrs"] = {**said["attrs"], "assumed": [*said["attrs"].get("assumed", []), line]}
