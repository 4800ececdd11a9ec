"""Files that one header holds together: OME-TIFF over several files, and parts of recordings.

A header of OME lists the planes of all files of a movie; Micro-Manager and ScanImage cut what
grows too large for one file. This module knows how their pages make one movie, what a single file
of a set holds of it, and what is missing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple
from xml.etree import ElementTree as Xml

import numpy as np

from dpipe import schema
from dpipe.errors import InputError
from dpipe.formats.frame_times import named as frames_named
from dpipe.formats.ome_xml import every, ome_facts, parsed
from dpipe.formats.tiff import MOST_PLANES, Flaw, Layout, chain, open_tiff_file
from dpipe.readers.tiff import micromanager, scanimage
from dpipe.readers.tiff import ome_planes as ome
from dpipe.readers.tiff.movie import Asked, Movie, left_out, note, whole_frames
from dpipe.readers.tiff.names import named
from dpipe.readers.tiff.planes import Files, Planes, Reading, by_table, listed, short, tabled
from dpipe.sources import opened


class _Head(NamedTuple):
    """What a file of a set says: its layout and whole pages, OME-XML, index of Micro-Manager."""

    layout: Layout
    pages: int
    xml: str
    root: Xml.Element | None
    stack: micromanager.Index | None


def _heads(uris: Sequence[str], asked: Asked) -> list[_Head]:
    found = []
    for uri in uris:
        with opened(uri) as file, open_tiff_file(file, short(uri), torn=asked.torn) as tif:
            xml = (tif.ome_metadata or "") if tif.is_ome else ""
            root = parsed(xml) if xml else None
            missing: list[int] = []
            layout = chain(tif, missing)
            pages = min(missing, default=layout.shape[0])
            found.append(_Head(layout, pages, xml, root, micromanager.index(tif)))
    return found


def ordered(uris: Sequence[str]) -> tuple[Files, list[str]]:
    """Return files by the numbers of their names, kept short, or as they are given."""
    try:
        files = named(uris).files if len(uris) > 1 else listed(uris)
    except InputError:
        files = listed(uris)
    return files, [files[i] for i in range(len(files))]


def _kept(files: Files, layout: Layout) -> Layout:
    """Return what of a layout travels: of several files each says itself where its pages lie."""
    return layout if len(files) == 1 else replace(layout, pages=b"")


def _facts(uri: str, asked: Asked, sizes: dict[str, int], **more: Any) -> dict[str, Any]:
    with opened(uri) as file, open_tiff_file(file, short(uri), torn=True) as tif:
        return asked.facts(tif, sizes, **more)


def ome_set(uris: Sequence[str], asked: Asked, companion: str = "") -> Movie:
    """Settle a movie whose OME header lists its planes in several files; some may be missing."""
    files, uris = ordered(uris)
    heads = _heads(uris, asked)
    xml, root = _full(heads, companion)
    own = {
        short(uri): "" if head.root is None else ome.identifier(head.root)
        for uri, head in zip(uris, heads, strict=True)
    }
    if len(own) < len(uris):
        raise Flaw("two of the files have one name; the files of a movie lie in one folder")
    homes, itself = ome.homes_of(root), ome.Home("", ome.identifier(root))
    first = next((i for i, head in enumerate(heads) if head.root is root), -1)
    if first >= 0 and ome.is_silent(root):  # of planes without a name: they are in this file
        homes = [home for home in homes if home.uuid != itself.uuid or not home.uuid]
        homes.append(itself._replace(name=short(uris[first])))
    known = dict(zip(homes, ome.matched(homes, own), strict=True)) | {itself: first}
    image = _image(root, known, asked)
    layout, pages = heads[0].layout, np.array([head.pages for head in heads])
    found = ome.spread(root, image, int(pages[0]))
    home_of = np.array([*(known.get(home, -1) for home in found.homes), -1])
    table = found.table.copy()
    table[..., 0] = home_of[found.table[..., 0]]
    inner, table = _inner(layout, found, table)
    there = (table[..., 0] >= 0) & (table[..., 1] < pages[table[..., 0]]) & (table[..., 1] >= 0)
    lost = ome.named([h for h, file in zip(found.homes, home_of[:-1], strict=True) if file < 0])
    t, c, z = _box(there, len(uris) == 1, asked, lost)
    sizes = {"t": found.sizes[0], "c": found.sizes[1] * found.samples, "z": found.sizes[2]}
    wanted = [key for key in ("spacing", "interval") if getattr(asked, key) is None]
    told = ome_facts(xml, image, sizes, t, wanted)
    told["attrs"] = {"format": "ome-tiff"}
    table = table[np.ix_(t, c, z)]
    for key in ("channels", "colors"):
        if key in told and len(c) < found.sizes[1]:
            told[key] = [told[key][i] for i in c]
    held = dict(zip(inner, layout.page, strict=True))
    final = {**sizes, "t": len(t), "c": len(c), "z": len(z)} | held
    said = _facts(uris[0], asked, final, frames=t, told=told)
    if z and z[0] and "origin" not in said:
        said["origin"] = [z[0] * said["spacing"][0], 0.0, 0.0]
    if not there.all():
        few = len(t) < sizes["t"]
        what = f"{frames_named(t)} of {sizes['t']}" if few else f"c {_ranges(c)} and z {_ranges(z)}"
        note(said, f"it holds {what}; the others lie in {lost or 'no file'}")
    reading = Reading(files, _kept(files, layout), by_table(inner, table), -1, torn=True, free=1)
    return Movie(reading, dict.fromkeys(schema.MOVIE_DIMS, 1) | final, said)


def _image(root: Xml.Element, known: Mapping[ome.Home, int], asked: Asked) -> int:
    """Return which image is meant: the one that was asked for, or that has planes in the files."""
    if asked.series is not None:
        return asked.series
    images = list(every(root, "Image"))
    here = [i for i, each in enumerate(images) if any(known[h] >= 0 for h in ome.homes_of(each))]
    if len(here) > 1:
        raise Flaw(f"{len(here)} images inside; choose one with series=, of {_ranges(here)}")
    return here[0] if here else 0


def _full(heads: Sequence[_Head], companion: str) -> tuple[str, Xml.Element]:
    """Return the header that lists the planes: of a file, or of the text beside them."""
    for head in heads:
        if head.root is not None and ome.master(head.root) is None:
            return head.xml, head.root
    if companion:
        with opened(companion) as file:
            if isinstance(file, str):
                with open(file, "rb") as own:
                    raw = own.read(1 << 28)
            else:
                raw = file.read(1 << 28)
        text = raw.decode("utf-8", "replace")
        return text, parsed(text)
    home = next((ome.master(head.root) for head in heads if head.root is not None), None)
    name = home.name if home else ""
    raise Flaw(
        f"its OME header says that {name or 'another file'} holds the list of planes; give that "
        "file too, or say axes= to read its own pages in order"
    )


def _inner(layout: Layout, found: ome.Spread, table: np.ndarray) -> tuple[str, np.ndarray]:
    """Return the dims of a page; several planes in one page, as samples, are z or c."""
    letters = layout.axes[1:].replace("S", "C").lower()
    if "c" not in letters or found.samples > 1:
        return letters, table
    count = layout.page[letters.index("c")]
    for dim, axis in (("z", 2), ("c", 1)):
        if count == table.shape[axis] and letters.index("c") == 0:
            first = table.take([0], axis=axis).copy()
            first[..., 1] //= count
            return letters.replace("c", dim), first
    raise Flaw(f"pages of shape {layout.page} hold no whole planes of its OME header; say axes=")


def _box(
    there: np.ndarray, single: bool, asked: Asked, lost: str
) -> tuple[list[int], list[int], list[int]]:
    """Return the frames, channels and planes that are there: all, or what one file holds."""
    frames, channels, depth = there.shape
    every_c, every_z = list(range(channels)), list(range(depth))
    if there.all():
        return list(range(frames)), every_c, every_z
    missing = int(there.size - there.sum())
    if single:
        others = ((1, 2), (0, 2), (0, 1))
        t, c, z = (np.flatnonzero(there.any(axis=each)).tolist() for each in others)
        even = z == list(range(z[0], z[-1] + 1)) if z else False
        if even and there[np.ix_(t, c, z)].all() and lost:
            return t, c, z
    told = f", which its header has in {lost}" if lost else ""
    gone = np.flatnonzero(~there.all(axis=(1, 2))).tolist()
    found = f"{missing} of {there.size} planes are missing{told}"
    if single and lost:
        found += "; open the files together"
    return whole_frames(frames, gone, asked, found), every_c, every_z


def _ranges(numbers: Sequence[int]) -> str:
    if list(numbers) == list(range(numbers[0], numbers[-1] + 1)) and len(numbers) > 1:
        return f"{numbers[0]} to {numbers[-1]}"
    return ", ".join(map(str, numbers[:8]))


def micromanager_set(uris: Sequence[str], asked: Asked) -> Movie:
    """Settle a movie of the image file stacks of Micro-Manager, by their own index."""
    files, uris = ordered(uris)
    heads = _heads(uris, asked)
    rows, layout = [], heads[0].layout
    for file, head in enumerate(heads):
        if head.stack is None:
            raise Flaw(f"{short(uris[file])}: no index of Micro-Manager, as the first file has one")
        at = np.frombuffer(head.layout.pages, np.int64)[: head.pages]
        page = {int(place): i for i, place in enumerate(at)}
        rows += [
            (t, c, z, p, file, page.get(int(place), -1))
            for c, z, t, p, place in head.stack.rows.tolist()
        ]
    held = np.array(rows, np.int64).reshape(-1, 6)
    places = sorted(set(held[:, 3].tolist()))
    if len(places) > 1 and asked.series is None:
        raise Flaw(f"{len(places)} positions inside; choose one with series=")
    if asked.series is not None and asked.series >= len(places):
        raise Flaw(f"no image {asked.series}; it holds {len(places)} positions")
    held = held[held[:, 3] == places[asked.series or 0]]
    found = heads[0].stack
    summary = found.summary if found is not None else {}
    frames, channels, depth = (held[:, :3].max(axis=0) + 1).tolist()
    if not 0 < frames * channels * depth <= MOST_PLANES:
        raise Flaw(f"its Micro-Manager index promises {frames} x {channels} x {depth} planes")
    table = np.full((frames, channels, depth, 2), -1, np.int64)
    table[held[:, 0], held[:, 1], held[:, 2]] = held[:, 4:]
    gone = np.flatnonzero(~(table[..., 1] >= 0).all(axis=(1, 2))).tolist()
    lacking = f"{(table[..., 1] < 0).sum()} of {table[..., 1].size} planes are missing"
    whole = whole_frames(frames, gone, asked, lacking)
    sizes = {"t": len(whole), "c": channels, "z": depth} | dict(zip("yx", layout.page, strict=True))
    told = _of_stack(heads[0], summary, whole, sizes, asked)
    said = _facts(uris[0], asked, sizes, frames=whole, told=told)
    if gone:
        note(said, left_out(frames, whole))
    promised = summary.get("Frames")
    if isinstance(promised, int) and promised > frames:
        note(said, f"its header promises {promised} frames; {frames} are here")
    planes = by_table("yx", table[whole])
    reading = Reading(files, _kept(files, layout), planes, -1, torn=True, free=1)
    return Movie(reading, sizes, said)


def _of_stack(
    head: _Head, summary: dict[str, Any], frames: Sequence[int], sizes: dict[str, int], asked: Asked
) -> dict[str, Any]:
    """Return what a stack says: its summary, and the sizes and times of its OME header."""
    told = micromanager.told({"Summary": summary}, frames, sizes["c"])
    wanted = [key for key in ("spacing", "interval") if getattr(asked, key) is None]
    if head.root is not None and ome.master(head.root) is None:
        own = ome_facts(head.xml, asked.series or 0, sizes, frames, wanted)
        if own.get("times"):
            told |= {key: own[key] for key in ("times", "interval", "notes")}
        sized = own.get("spacing", {})
        told["spacing"] = {
            d: sized[d] if d in sized and sized[d].value else told["spacing"][d] for d in "zyx"
        }
    return told


def scanimage_set(uris: Sequence[str], asked: Asked) -> Movie:
    """Settle a recording of ScanImage: the pages of its files are counted through."""
    files, uris = ordered(uris)
    layouts = []
    for uri in uris:
        with opened(uri) as file, open_tiff_file(file, short(uri), torn=asked.torn) as tif:
            missing: list[int] = []
            layout = chain(tif, missing)
            if missing and not asked.torn:
                raise Flaw(
                    f"page {missing[0]} is not whole; fetch or export it again, or say "
                    "whole_frames=true for what is whole"
                )
            layouts.append((layout, min(missing, default=layout.shape[0])))
    layout, pages = layouts[0][0], np.cumsum([count for _, count in layouts])
    with opened(uris[0]) as file, open_tiff_file(file, short(uris[0]), torn=asked.torn) as tif:
        head = scanimage.header(tif)
        found = scanimage.stack(head, int(pages[-1]))
        whole = f"the {found.volumes} volumes that are whole"
        if not found.volumes or (found.over and not asked.torn):
            way = f"say whole_frames=true for {whole}, or " * bool(found.volumes)
            raise Flaw(
                f"{pages[-1]} pages are no whole number of volumes of {found.slices} slices, "
                f"{found.frames} frames each, {found.flyback} flyback frames and "
                f"{len(found.channels)} channels; {way}say axes= with sizes, for example 'TZ4C2YX'"
            )
        inner = layout.axes[1:].replace("S", "C").lower()
        if inner != "yx":
            raise Flaw(f"pages of shape {layout.page} are no planes of ScanImage; say axes=")
        planes = scanimage.planes_of(found, inner)
        frames = found.volumes * found.frames
        sizes = {"t": frames, "c": len(found.channels), "z": found.slices}
        sizes |= dict(zip(inner, layout.page, strict=True))
        wanted = [key for key in ("spacing", "interval") if getattr(asked, key) is None]
        told = scanimage.scanimage_facts(head, found, tif, wanted)
        said = asked.facts(tif, sizes, told=told)
    if found.over:
        note(said, f"the last {found.over} pages make no whole volume and are left out")
    if found.promised > found.volumes:
        note(said, f"its header promises {found.promised} volumes; {found.volumes} are here")
    if len(uris) > 1:
        planes = _through(planes, pages)
    reading = Reading(files, _kept(files, layout), planes, -1, torn=asked.torn, free=1)
    return Movie(reading, sizes, said)


def _through(planes: Planes, ends: np.ndarray) -> Planes:
    """Tell apart the files of pages that are counted through."""
    table = tabled(planes)
    page = table[..., 1]
    file = np.searchsorted(ends, page, side="right")
    starts = np.concatenate([[0], ends[:-1]])
    return by_table(planes.inner, np.stack([file, page - starts[file]], axis=-1))
