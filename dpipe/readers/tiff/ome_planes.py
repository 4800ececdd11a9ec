"""OME-TIFF over several files: which file holds which plane, by its names and identifiers.

A header lists all planes of a movie, each with the FileName and UUID of its file. Names are
compared, never followed: only files that were given are read. Where name and identifier say
different things, neither is believed.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple
from xml.etree import ElementTree as Xml

import numpy as np

from dpipe.formats.measures import number
from dpipe.formats.ome_xml import every
from dpipe.formats.tiff import MOST_PLANES, Flaw

_NAMED = 5


class Home(NamedTuple):
    """A file as a header calls it, "" where it does not say; identifiers in small letters."""

    name: str
    uuid: str


class Spread(NamedTuple):
    """The planes of one image: sizes along t, c, z, samples of a pixel, and where each lies.

    `table` holds the number of the home and the page of each plane, -1 where none is listed.
    """

    sizes: tuple[int, int, int]
    samples: int
    homes: list[Home]
    table: np.ndarray


def identifier(root: Xml.Element) -> str:
    """Return the UUID by which a file calls itself."""
    return _plain(root.get("UUID"))


def master(root: Xml.Element) -> Home | None:
    """Return the file that holds the header instead, None if this one does."""
    reference = next(every(root, "BinaryOnly"), None)
    if reference is None:
        return None
    return Home(_base(reference.get("MetadataFile")), _plain(reference.get("UUID")))


def is_spread(root: Xml.Element, name: str) -> bool:
    """Tell whether a header names other files than its own."""
    if master(root) is not None:
        return True
    itself, homes = identifier(root), homes_of(root)
    alone = len({home.uuid for home in homes}) <= 1 and len({home.name for home in homes}) <= 1
    return not alone or any(
        home.uuid not in ("", itself) if itself else home.name.lower() not in ("", name.lower())
        for home in homes
    )


def spread(root: Xml.Element, image: int, pages: int) -> Spread:
    """List the file and page of each plane of an image.

    Parameters
    ----------
    root : xml.etree.ElementTree.Element
        The header.
    image : int
        Which image.
    pages : int
        How many pages a file holds of which the header says no number.

    Returns
    -------
    Spread
        As the header has it; nothing was opened.

    Raises
    ------
    Flaw
        No such image, or sizes that no movie has.
    """
    images = list(every(root, "Image"))
    pixels = next(every(images[image], "Pixels"), None) if image < len(images) else None
    if pixels is None:
        raise Flaw(f"no image {image}; its OME header holds {len(images)}")
    channels = list(every(pixels, "Channel"))
    samples = _whole(channels[0].get("SamplesPerPixel") if channels else None, 1)
    order = [axis for axis in str(pixels.get("DimensionOrder", "XYZCT")) if axis in "ZCT"]
    sizes = {axis: _whole(pixels.get(f"Size{axis}"), 1) for axis in "TCZ"}
    sizes["C"] //= max(1, samples)
    total = sizes["T"] * sizes["C"] * sizes["Z"]
    if sorted(order) != ["C", "T", "Z"] or not 0 < total <= MOST_PLANES:
        raise Flaw(f"its OME header promises {sizes} planes in the order {''.join(order)!r}")
    homes: dict[Home, int] = {}
    flat = np.full((total, 2), -1, np.int64)  # the last of the order slowest
    shape = [sizes[axis] for axis in reversed(order)]
    for data in every(pixels, "TiffData"):
        uuid = next(every(data, "UUID"), None)
        home = Home("", identifier(root))
        if uuid is not None:
            home = Home(_base(uuid.get("FileName")), _plain(uuid.text))
        indices = [_whole(data.get(f"First{axis}"), 0) for axis in reversed(order)]
        if any(not 0 <= a < n for a, n in zip(indices, shape, strict=True)):
            raise Flaw(f"its OME header lists a plane at {indices} of {shape}")
        first, ifd = int(np.ravel_multi_index(indices, shape)), _whole(data.get("IFD"), 0)
        usual = 1 if data.get("IFD") is not None else pages
        count = min(_whole(data.get("PlaneCount") or data.get("NumPlanes"), usual), total - first)
        flat[first : first + count, 0] = homes.setdefault(home, len(homes))
        flat[first : first + count, 1] = ifd + np.arange(count)
    if not homes and total:  # a header that lists no plane: they lie in order
        homes[Home("", identifier(root))] = 0
        flat[: min(total, pages)] = np.stack([np.zeros(total, int), np.arange(total)], 1)[:pages]
    table = flat.reshape(*shape, 2)
    axes = [[*reversed(order)].index(axis) for axis in "TCZ"]
    return Spread(
        (sizes["T"], sizes["C"], sizes["Z"]), samples, list(homes), table.transpose(*axes, 3)
    )


def is_silent(root: Xml.Element) -> bool:
    """Tell whether a header lists planes without saying in which file."""
    return any(next(every(data, "UUID"), None) is None for data in every(root, "TiffData"))


def homes_of(element: Xml.Element) -> list[Home]:
    """Return the files that a header, or one of its images, names, each once."""
    homes = (Home(_base(u.get("FileName")), _plain(u.text)) for u in every(element, "UUID"))
    return list(dict.fromkeys(homes))


def matched(homes: Sequence[Home], identifiers: Mapping[str, str]) -> list[int]:
    """Find each home among the files that were given.

    Parameters
    ----------
    homes : sequence of Home
        The files that a header lists.
    identifiers : mapping of str to str
        By the name of each file, the UUID by which it calls itself.

    Returns
    -------
    list of int
        For each home the number of its file, -1 if that was not given.

    Raises
    ------
    Flaw
        A name and an identifier that say different things.
    """
    uuids = [uuid for uuid in identifiers.values() if uuid]
    listed = {home.uuid for home in homes}
    # one text in all files, or identifiers that nobody lists: then names are all there is
    by_name_only = len(identifiers) > 1 and (
        len(set(uuids)) < len(uuids) or not listed & set(uuids)
    )
    result = [-1] * len(homes)
    for file, (name, uuid) in enumerate(identifiers.items()):
        called = [i for i, home in enumerate(homes) if home.name.lower() == name.lower()]
        same = [i for i, home in enumerate(homes) if uuid and home.uuid == uuid]
        unknown = not uuid or all(not homes[i].uuid for i in called)
        if by_name_only or (not same and unknown):
            same = called
        if (called and not set(called) <= set(same)) or len(same) > 1:
            raise Flaw(
                f"{name} has the name of one file of its header and the UUID of another; give the "
                "files of the movie together under their own names, or say axes= to read its own "
                "pages in order"
            )
        if not same:
            raise Flaw(
                f"{name} is none of the files that its header lists ({named(homes)}); give "
                "them under their own names, or say axes= to read its own pages in order"
            )
        result[same[0]] = file
    return result


def named(homes: Sequence[Home]) -> str:
    """Name files that are missing, at most a few."""
    names = [home.name or home.uuid or "a file without a name" for home in homes]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _base(name: str | None) -> str:
    return (name or "").replace("\\", "/").rpartition("/")[2].strip()


def _plain(uuid: str | None) -> str:
    return (uuid or "").strip().lower().removeprefix("urn:uuid:")


def _whole(value: str | None, usual: int) -> int:
    count = number(value) if value else float(usual)
    return int(count) if count is not None and 0 <= count < 2**31 else -1
