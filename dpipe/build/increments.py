"""Folders of many files that grow: which part holds which files, and what must be made again.

A folder that was read before is compared file by file with the parts that hold it. Parts whose
files are all there unchanged stay; a part of which some changed or vanished is made again of those
that it has now; files that no part holds make a further part of the folder, ``STEM~2``. Digests of
folders are sums, so where nothing changed nothing is listed or read again.

It knows seals and listings, and reads no file.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from dpipe import catalog, sources
from dpipe.build.part_spec import PartSpec, is_older
from dpipe.catalog import seals
from dpipe.errors import DamageError
from dpipe.readers import Reader
from dpipe.sources import Item, Part
from dpipe.storage import Objects

FURTHER = "~"
_ALL = 2**128
Made = Callable[[Sequence[Item]], PartSpec]


def folder_of(stem: str) -> str:
    """Return the stem of the first part of a folder."""
    return stem.partition(FURTHER)[0]


def by_folder(parent: catalog.Version | None) -> dict[str, list[catalog.PartRef]]:
    """Return the parts of a version by the folder that they are of."""
    found: dict[str, list[catalog.PartRef]] = {}
    for ref in parent.parts if parent else ():
        found.setdefault(folder_of(ref.stem), []).append(ref)
    return found


def split(
    objects: Objects, refs: Sequence[catalog.PartRef], reader: Reader, part: Part, made: Made
) -> list[tuple[str, PartSpec]]:
    """Return stem and origin of the parts that are to be made of one that a reader found.

    That is the one, unless the reader tells the state of single files: then it is a folder.

    Parameters
    ----------
    objects : Objects
        The store.
    refs : sequence of PartRef
        The parts of the newest version that are of the same folder.
    reader : Reader
        The reader.
    part : Part
        As it is listed now; of a folder, one item stands for it.
    made : callable
        Returns the origin of a part made of some items.
    """
    whole = made(part.items)
    state = reader.state
    same = any(r.fingerprint == whole.fingerprint and not _looked_again(r) for r in refs)
    if state is None or not refs or same:
        return [(part.stem, whole)]
    try:
        sealed = list(seals.named(objects, refs))
    except DamageError:
        return [(part.stem, whole)]
    before = [_before(made, one.provenance["origin"]) for one in sealed]
    if not all(_is_of(ref, origin) for ref, origin in zip(refs, before, strict=True)):
        return [(part.stem, whole)]  # made with other options, or by another version
    held = [item for origin in before for item in origin.items]
    untouched = _stamps(refs) == _stamps([part.items[0]]) or any(map(_looked_again, refs))
    if _sum(held) == _sum(whole.items) and untouched:
        return [
            (r.stem, _stamped(_again(r, origin), r.stamp))
            for r, origin in zip(refs, before, strict=True)
        ]
    old = [_files(objects, one) for one in sealed]
    now = {_name(item): item for item in sources.list_items(part.items[0].uri)}
    now = {name: now[name] for name in _names(reader, part.items[0].uri, now.values())}
    found: list[tuple[str, PartSpec]] = []
    for ref, origin, files in zip(refs, before, old, strict=True):
        same = all(name in now and state(now[name]) == files[name] for name in files)
        kept = [now[name] for name in files if name in now]
        if same:
            stamp = _subset(reader, part.items[0], kept).stamp
            found.append((ref.stem, _stamped(_again(ref, origin), stamp)))
        elif len(kept) == len(now):
            return [(part.stem, whole)]
        elif kept:
            found.append((ref.stem, made([_subset(reader, part.items[0], kept)])))
    claimed = {name for files in old for name in files}
    new = [item for name, item in now.items() if name not in claimed]
    if new:
        number = 1 + max(int(ref.stem.partition(FURTHER)[2] or 1) for ref in refs)
        further = made([_subset(reader, part.items[0], new)])
        found.append((f"{part.stem}{FURTHER}{number}", further))
    return found


def _before(made: Made, said: Mapping[str, Any]) -> PartSpec:
    """Return the origin of a part, from what its seal says of it."""
    origin = made([_item(item) for item in said["items"]])
    return replace(origin, attempt=said.get("attempt", 0))


def _is_of(ref: catalog.PartRef, made: PartSpec) -> bool:
    return ref.fingerprint == made.fingerprint or is_older(ref.fingerprint, made)


def _looked_again(ref: catalog.PartRef) -> bool:
    """Tell whether files of a part were gone when it was made, so that it may be made again."""
    return bool(ref.summary.get("passing"))


def _again(ref: catalog.PartRef, origin: PartSpec) -> PartSpec:
    """Return the origin of a part whose files are all there; again, if some were gone."""
    return replace(origin, attempt=origin.attempt + 1) if _looked_again(ref) else origin


def _stamped(origin: PartSpec, stamp: str) -> PartSpec:
    """Return an origin whose item, a folder or some files of it, has another stamp."""
    return replace(origin, items=tuple({**item, "stamp": stamp} for item in origin.items))


def _stamps(held: Iterable[catalog.PartRef | Item]) -> int:
    """Return the stamp of all files that parts or items stand for."""
    return sum(int(one.stamp or "0", 16) for one in held) % _ALL


def _files(objects: Objects, sealed: seals.Seal) -> dict[str, int]:
    """Return the state of each file that a part holds."""
    ds = seals.open_sealed(objects, sealed)
    names, states = (np.asarray(ds[name].values).tolist() for name in ("file", "file_state"))
    return dict(zip(names, states, strict=True))


def _names(reader: Reader, uri: str, items: Iterable[Item]) -> Iterator[str]:
    """Yield the names of the files of a folder itself that the reader would take."""
    for item in items:
        if item.uri.rpartition("/")[0] == uri and next(reader.find([item]), None) is not None:
            yield _name(item)


def _subset(reader: Reader, folder: Item, items: Sequence[Item]) -> Item:
    """Return an item that stands for some files of a folder."""
    (part,) = reader.find(items)
    names = tuple(sorted(_name(item) for item in items))
    return replace(part.items[0], uri=folder.uri, path=folder.path, names=names)


def _item(given: dict[str, Any]) -> Item:
    return Item(**{**given, "names": tuple(given.get("names", ()))})


def _sum(items: Iterable[dict[str, Any]]) -> tuple[int, int]:
    """Return number and digest of all files that some items stand for."""
    held = list(items)
    return sum(i["count"] for i in held), sum(int(i["etag"], 16) for i in held) % _ALL


def _name(item: Item) -> str:
    return item.uri.rpartition("/")[2]
