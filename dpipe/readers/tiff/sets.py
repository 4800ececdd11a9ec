"""Files that one header holds together: OME-TIFF over several files, and parts of recordings.

A header of OME lists the planes of all files of a movie; Micro-Manager and ScanImage cut what
grows too large for one file. This module knows how their pages make one movie, what a single file
of a set holds of it, and what is missing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple
from xml.etree import ElementTree as Xml

import numpy as np

from dpipe import schema
from dpipe.errors import InputError
from dpipe.formats.frame_times import named as frames_named
from dpipe.formats.measures import HeaderFacts
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
    heads = []
    for uri in uris:
        with opened(uri) as file, open_tiff_file(file, short(uri), torn=asked.torn) as tif:
            xml = (tif.ome_metadata or "") if tif.is_ome else ""
            root = parsed(xml) if xml else None
            missing: list[int] = []
            layout = chain(tif, missing)
            pages = min(missing, default=layout.shape[0])
            heads.append(_Head(layout, pages, xml, root, micromanager.index(tif)))
    return heads


def ordered(uris: Sequence[str]) -> tuple[Files, list[str]]:
    """Return files by the numbers of their names, kept short, or as they are given."""
    try:
        files = named(uris).files if len(uris) > 1 else listed(uris)
    except InputError:
        files = listed(uris)
    return files, [files[i] for i in range(len(files))]


def _kept(files: Files, layout: Layout) -> Layout:
    """Return a layout as it travels: without pages, if each of several files has its own."""
    return layout if len(files) == 1 else replace(layout, pages=b"")


def _facts(
    uri: str, asked: Asked, sizes: dict[str, int], frames: Sequence[int], header: HeaderFacts
) -> schema.MovieFacts:
    with opened(uri) as file, open_tiff_file(file, short(uri), torn=True) as tif:
        return asked.facts(tif, sizes, frames=frames, header=header)


def ome_set(uris: Sequence[str], asked: Asked, companion: str = "") -> Movie:
    """Settle a movie whose OME header lists its planes in several files; some may be missing."""
    files, uris = ordered(uris)
    heads = _heads(uris, asked)
    xml, root = _full(heads, companion)
    identifiers = {
        short(uri): "" if head.root is None else ome.identifier(head.root)
        for uri, head in zip(uris, heads, strict=True)
    }
    if len(identifiers) < len(uris):
        raise Flaw("two of the files have one name; the files of a movie lie in one folder")
    homes, itself = ome.homes_of(root), ome.Home("", ome.identifier(root))
    first = next((i for i, head in enumerate(heads) if head.root is root), -1)
    if first >= 0 and ome.is_silent(root):  # of planes without a name: they are in this file
        homes = [home for home in homes if home.uuid != itself.uuid or not home.uuid]
        homes.append(itself._replace(name=short(uris[first])))
    file_of = dict(zip(homes, ome.matched(homes, identifiers), strict=True)) | {itself: first}
    image = _image(root, file_of, asked)
    layout, pages = heads[0].layout, np.array([head.pages for head in heads])
    spread = ome.spread(root, image, int(pages[0]))
    home_of = np.array([*(file_of.get(home, -1) for home in spread.homes), -1])
    table = spread.table.copy()
    table[..., 0] = home_of[spread.table[..., 0]]
    inner, table = _inner(layout, spread, table)
    present = (table[..., 0] >= 0) & (table[..., 1] < pages[table[..., 0]]) & (table[..., 1] >= 0)
    lost = ome.named([h for h, file in zip(spread.homes, home_of[:-1], strict=True) if file < 0])
    t, c, z = _box(present, len(uris) == 1, asked, lost)
    sizes = {"t": spread.sizes[0], "c": spread.sizes[1] * spread.samples, "z": spread.sizes[2]}
    header = ome_facts(xml, image, sizes, t, asked.quantities)
    header["attrs"] = {"format": "ome-tiff"}
    table = table[np.ix_(t, c, z)]
    for key in ("channels", "colors"):
        if key in header and len(c) < spread.sizes[1]:
            header[key] = [header[key][i] for i in c]
    page_sizes = dict(zip(inner, layout.page, strict=True))
    final = {**sizes, "t": len(t), "c": len(c), "z": len(z)} | page_sizes
    facts = _facts(uris[0], asked, final, t, header)
    if z and z[0] and "origin" not in facts:
        facts["origin"] = [z[0] * facts["spacing"][0], 0.0, 0.0]
    if not present.all():
        few = len(t) < sizes["t"]
        what = f"{frames_named(t)} of {sizes['t']}" if few else f"c {_ranges(c)} and z {_ranges(z)}"
        note(facts, f"it holds {what}; the others lie in {lost or 'no file'}")
    reading = Reading(files, _kept(files, layout), by_table(inner, table), -1, torn=True, free=1)
    return Movie(reading, dict.fromkeys(schema.MOVIE_DIMS, 1) | final, facts)


def _image(root: Xml.Element, file_of: Mapping[ome.Home, int], asked: Asked) -> int:
    """Return the number of the image: as asked for, or the one with planes in the files."""
    if asked.series is not None:
        return asked.series
    images = list(every(root, "Image"))
    here = [
        i for i, image in enumerate(images) if any(file_of[h] >= 0 for h in ome.homes_of(image))
    ]
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
                with open(file, "rb") as stream:
                    raw = stream.read(1 << 28)
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


def _inner(layout: Layout, spread: ome.Spread, table: np.ndarray) -> tuple[str, np.ndarray]:
    """Return the dims of a page; several planes in one page, as samples, are z or c."""
    letters = layout.axes[1:].replace("S", "C").lower()
    if "c" not in letters or spread.samples > 1:
        return letters, table
    count = layout.page[letters.index("c")]
    for dim, axis in (("z", 2), ("c", 1)):
        if count == table.shape[axis] and letters.index("c") == 0:
            first = table.take([0], axis=axis).copy()
            first[..., 1] //= count
            return letters.replace("c", dim), first
    raise Flaw(f"pages of shape {layout.page} hold no whole planes of its OME header; say axes=")


def _box(
    present: np.ndarray, single: bool, asked: Asked, lost: str
) -> tuple[list[int], list[int], list[int]]:
    """Return the frames, channels and planes that are there: all, or what one file holds."""
    frames, channels, depth = present.shape
    every_c, every_z = list(range(channels)), list(range(depth))
    if present.all():
        return list(range(frames)), every_c, every_z
    missing = int(present.size - present.sum())
    if single:
        pairs = ((1, 2), (0, 2), (0, 1))
        t, c, z = (np.flatnonzero(present.any(axis=others)).tolist() for others in pairs)
        even = z == list(range(z[0], z[-1] + 1)) if z else False
        if even and present[np.ix_(t, c, z)].all() and lost:
            return t, c, z
    where = f", which its header has in {lost}" if lost else ""
    gone = np.flatnonzero(~present.all(axis=(1, 2))).tolist()
    defect = f"{missing} of {present.size} planes are missing{where}"
    if single and lost:
        defect += "; open the files together"
    return whole_frames(frames, gone, asked, defect), every_c, every_z


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
        offsets = np.frombuffer(head.layout.pages, np.int64)[: head.pages]
        page = {int(place): i for i, place in enumerate(offsets)}
        rows += [
            (t, c, z, p, file, page.get(int(place), -1))
            for c, z, t, p, place in head.stack.rows.tolist()
        ]
    entries = np.array(rows, np.int64).reshape(-1, 6)
    places = sorted(set(entries[:, 3].tolist()))
    if len(places) > 1 and asked.series is None:
        raise Flaw(f"{len(places)} positions inside; choose one with series=")
    if asked.series is not None and asked.series >= len(places):
        raise Flaw(f"no image {asked.series}; it holds {len(places)} positions")
    entries = entries[entries[:, 3] == places[asked.series or 0]]
    stack = heads[0].stack
    summary = stack.summary if stack is not None else {}
    frames, channels, depth = (entries[:, :3].max(axis=0) + 1).tolist()
    if not 0 < frames * channels * depth <= MOST_PLANES:
        raise Flaw(f"its Micro-Manager index promises {frames} x {channels} x {depth} planes")
    table = np.full((frames, channels, depth, 2), -1, np.int64)
    table[entries[:, 0], entries[:, 1], entries[:, 2]] = entries[:, 4:]
    gone = np.flatnonzero(~(table[..., 1] >= 0).all(axis=(1, 2))).tolist()
    lacking = f"{(table[..., 1] < 0).sum()} of {table[..., 1].size} planes are missing"
    whole = whole_frames(frames, gone, asked, lacking)
    sizes = {"t": len(whole), "c": channels, "z": depth} | dict(zip("yx", layout.page, strict=True))
    header = _of_stack(heads[0], summary, whole, sizes, asked)
    facts = _facts(uris[0], asked, sizes, whole, header)
    if gone:
        note(facts, left_out(frames, whole))
    promised = summary.get("Frames")
    if isinstance(promised, int) and promised > frames:
        note(facts, f"its header promises {promised} frames; {frames} are here")
    planes = by_table("yx", table[whole])
    reading = Reading(files, _kept(files, layout), planes, -1, torn=True, free=1)
    return Movie(reading, sizes, facts)


def _of_stack(
    head: _Head,
    summary: schema.Attributes,
    frames: Sequence[int],
    sizes: dict[str, int],
    asked: Asked,
) -> HeaderFacts:
    """Return the facts of a stack: by its summary, sizes and times by its OME header."""
    key: Literal["times", "interval", "notes"]
    header = micromanager.micromanager_facts({"Summary": summary}, frames, sizes["c"])
    if head.root is not None and ome.master(head.root) is None:
        xml_facts = ome_facts(head.xml, asked.series or 0, sizes, frames, asked.quantities)
        if xml_facts.get("times"):
            for key in ("times", "interval", "notes"):
                header[key] = xml_facts[key]
        sized = xml_facts.get("spacing", {})
        header["spacing"] = {
            d: sized[d] if d in sized and sized[d].value else header["spacing"][d] for d in "zyx"
        }
    return header


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
        stack = scanimage.stack(head, int(pages[-1]))
        whole = f"the {stack.volumes} volumes that are whole"
        if not stack.volumes or (stack.over and not asked.torn):
            way = f"say whole_frames=true for {whole}, or " * bool(stack.volumes)
            raise Flaw(
                f"{pages[-1]} pages are no whole number of volumes of {stack.slices} slices, "
                f"{stack.frames} frames each, {stack.flyback} flyback frames and "
                f"{len(stack.channels)} channels; {way}say axes= with sizes, for example 'TZ4C2YX'"
            )
        inner = layout.axes[1:].replace("S", "C").lower()
        if inner != "yx":
            raise Flaw(f"pages of shape {layout.page} are no planes of ScanImage; say axes=")
        planes = scanimage.planes_of(stack, inner)
        frames = stack.volumes * stack.frames
        sizes = {"t": frames, "c": len(stack.channels), "z": stack.slices}
        sizes |= dict(zip(inner, layout.page, strict=True))
        header = scanimage.scanimage_facts(head, stack, tif, asked.quantities)
        facts = asked.facts(tif, sizes, header=header)
    if stack.over:
        note(facts, f"the last {stack.over} pages make no whole volume and are left out")
    if stack.promised > stack.volumes:
        note(facts, f"its header promises {stack.promised} volumes; {stack.volumes} are here")
    if len(uris) > 1:
        planes = _through(planes, pages)
    reading = Reading(files, _kept(files, layout), planes, -1, torn=asked.torn, free=1)
    return Movie(reading, sizes, facts)


def _through(planes: Planes, ends: np.ndarray) -> Planes:
    """Tell apart the files of pages that are counted through."""
    table = tabled(planes)
    page = table[..., 1]
    file = np.searchsorted(ends, page, side="right")
    starts = np.concatenate([[0], ends[:-1]])
    return by_table(planes.inner, np.stack([file, page - starts[file]], axis=-1))
