"""Folders of pictures: each is a part, and its state tells when a file comes or changes."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from dpipe.readers import packing
from dpipe.sources import Item, Part, natural_key

SUFFIXES = (".h5", ".hdf5")
_UNSAFE = re.compile(r"[^\w.+-]+")
_LONGEST_STEM = 120


def find(items: Iterable[Item]) -> Iterator[Part]:
    """Group files into parts: each folder that holds HDF5 files is one.

    Parameters
    ----------
    items : iterable of Item
        Files in any order; others are passed over. None of them is kept.

    Yields
    ------
    Part
        One a folder, named after its path below the source. Its one item is the folder: the
        size is that of all its files, the etag a digest of their names, sizes and etags, the
        count their number, the stamp a digest of their names and stamps.

    Examples
    --------
    >>> names = ["Donor_1/+SEA /a_1.h5", "Donor_1/+SEA /a_2.h5", "Donor_1/-SEA/a_1.h5"]
    >>> items = [Item(f"/raw/{name}", name, 9, "0") for name in names]
    >>> [(part.stem, part.items[0].uri, part.items[0].count) for part in find(items)]
    [('Donor_1_+SEA', '/raw/Donor_1/+SEA ', 2), ('Donor_1_-SEA', '/raw/Donor_1/-SEA', 1)]
    """
    folders: dict[str, list[Any]] = {}
    for item in items:
        if item.uri.lower().endswith(SUFFIXES):
            uri = item.uri.rpartition("/")[0]
            entry = folders.setdefault(uri, [item.path.rpartition("/")[0], 0, 0, 0, 0])
            entry[1] += item.size
            entry[2] += 1
            entry[3] += int.from_bytes(_told(item)[:16], "big")  # a sum: in any order
            if item.stamp:
                told = hashlib.sha256(f"{item.uri.rpartition('/')[2]}\0{item.stamp}".encode())
                entry[4] += int.from_bytes(told.digest()[:16], "big")
    ordered = sorted(folders, key=lambda uri: natural_key(folders[uri][0]))
    stems = _stems([(uri, folders[uri][0]) for uri in ordered])
    for uri, stem in zip(ordered, stems, strict=True):
        path, size, count, digest, told = folders[uri]
        etag, stamp = (f"{number % 2**128:032x}" for number in (digest, told))
        name = path or uri.rpartition("/")[2]
        yield Part(stem, (Item(uri, name, size, etag, count, stamp=stamp if told else ""),))


def state(item: Item) -> int:
    """Return a number of 63 bits that changes when a file's name, size or etag does."""
    return int.from_bytes(_told(item)[:8], "big") >> 1


def _told(item: Item) -> bytes:
    return packing.state_of(item.uri.rpartition("/")[2], item.size, item.etag)


def _stems(folders: Sequence[tuple[str, str]]) -> list[str]:
    """Return a safe name for each folder (URI and path below the source).

    Two of one path, below two sources, keep one name: whoever plans says so.
    """
    plain = []
    for uri, path in folders:
        text = path or uri.rpartition("/")[2]
        names = [_UNSAFE.sub("_", name.strip()).strip("_") for name in text.split("/")]
        plain.append("_".join(name for name in names if name).lstrip("-.") or "pictures")
    paths = {path: stem for (_, path), stem in zip(folders, plain, strict=True)}
    alike = Counter(paths.values())
    return [
        _short(stem, path) if alike[stem] > 1 or len(stem) > _LONGEST_STEM else stem
        for (_, path), stem in zip(folders, plain, strict=True)
    ]


def _short(stem: str, path: str) -> str:
    digest = hashlib.sha256(path.encode(errors="replace")).hexdigest()[:6]
    return f"{stem[:_LONGEST_STEM]}.{digest}"
