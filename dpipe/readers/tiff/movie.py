"""A TIFF, or several, as one movie: what its names, headers and pages say, put together.

This module knows in which order they are believed: what a person says; a header that lists planes
(OME over several files, Micro-Manager, ScanImage); what tifffile makes of one file; names.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from tifffile import TiffFile

from dpipe import schema
from dpipe.formats.frame_times import named as frames_named
from dpipe.formats.measures import HeaderFacts
from dpipe.formats.tiff import Flaw, chain, survey
from dpipe.formats.tiff_metadata import tiff_facts
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

    @property
    def quantities(self) -> list[str]:
        """The quantities that the file is asked for: those that a person does not say."""
        options = {"spacing": self.spacing, "interval": self.interval}
        return [key for key, value in options.items() if value is None]

    def facts(
        self,
        tif: TiffFile,
        sizes: dict[str, int],
        *,
        frames: Sequence[int] | None = None,
        header: HeaderFacts | None = None,
    ) -> schema.MovieFacts:
        """Return the facts of a file, where this does not overrule them; as `tiff_facts`."""
        return tiff_facts(
            tif,
            self.series or 0,
            sizes,
            frames=frames,
            spacing=self.spacing,
            interval=self.interval,
            header=header,
        )


class Movie(NamedTuple):
    """A movie as a reading of its planes, sizes along t, c, z, y, x, and its other facts."""

    reading: Reading
    sizes: dict[str, int]
    facts: schema.MovieFacts


def note(facts: schema.MovieFacts, line: str) -> None:
    """Add a line for people."""
    facts["attrs"] = {**facts["attrs"], "notes": [*facts["attrs"].get("notes", []), line]}


def whole_frames(frames: int, lost: Iterable[int], asked: Asked, defect: str) -> list[int]:
    """Return the frames that are whole; refuse if some are not and nobody asked for the rest."""
    gone = set(lost)
    whole = [t for t in range(frames) if t not in gone]
    if gone and not (asked.torn and whole):
        way = f"say whole_frames=true for the {len(whole)} frames that are whole, or " * bool(whole)
        raise Flaw(f"{defect}; {way}fetch or export it again")
    return whole


def left_out(frames: int, whole: Sequence[int]) -> str:
    """Return a note on the frames that are left out."""
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
            defect = f"{count - len(missing)} planes found, {count} expected"
        else:
            end = layout.offset + count * layout.page_bytes
            defect = f"truncated: {end} bytes expected, {tif.filehandle.size} found"
        whole = whole_frames(sizes["t"], lost, asked, defect)
        planes = chosen(planes, whole)
    facts = asked.facts(tif, sizes | {"t": len(whole)}, frames=whole)
    unnamed = [d for d, a in zip(dims, layout.axes, strict=True) if a in AMBIGUOUS]
    if unnamed and asked.axes is None:
        assume(facts, f"the axes that the file does not name are {', '.join(unnamed)}")
    if len(whole) < sizes["t"]:
        note(facts, left_out(sizes["t"], whole))
    reading = Reading(listed([uri]), layout, planes, asked.series, torn=bool(missing))
    return Movie(reading, sizes | {"t": len(whole)}, facts)


def counted(tif: TiffFile, uri: str, asked: Asked, axes: Axes) -> Movie:
    """Take the planes of a file in their order, cut into the sizes that a person says."""
    missing: list[int] = []
    layout = chain(tif, missing) if asked.series is None and len(tif.pages) > 1 else None
    layout = layout or promised(tif, missing) or survey(tif, asked.series, missing)
    planes, all_ = min(missing, default=math.prod(layout.outer)), math.prod(layout.outer)
    dims, extents = cut(layout, axes, planes, asked.torn or bool(missing))
    sizes = dict.fromkeys(schema.MOVIE_DIMS, 1) | extents
    outer, inner = dims[: -layout.inner], dims[-layout.inner :]
    gone = all_ - math.prod(sizes[d] for d in outer)
    if missing and not asked.torn:
        raise Flaw(
            f"{planes} whole planes of {all_}; say whole_frames=true for the {sizes['t']} frames "
            "that are whole, or fetch or export it again"
        )
    facts = asked.facts(tif, sizes)
    if gone:
        note(facts, f"the last {gone} planes make no whole frame and are left out")
    ordered = in_order(outer, inner, sizes)
    return Movie(Reading(listed([uri]), layout, ordered, asked.series, bool(missing)), sizes, facts)


def plain(tif: TiffFile, uri: str, asked: Asked) -> Movie:
    """Take all pages in their order, under the axes that a person names."""
    layout = chain(tif)
    dims = dims_of(layout, asked.axes)
    sizes = dict.fromkeys(schema.MOVIE_DIMS, 1) | dict(zip(dims, layout.shape, strict=True))
    planes = in_order(dims[:1], dims[1:], sizes)
    return Movie(Reading(listed([uri]), layout, planes, -1), sizes, asked.facts(tif, sizes))


def assume(facts: schema.MovieFacts, line: str) -> None:
    """Add a line of what had to be assumed."""
    facts["attrs"] = {**facts["attrs"], "assumed": [*facts["attrs"].get("assumed", []), line]}
