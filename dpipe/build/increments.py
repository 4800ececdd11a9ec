"""Folders of many files that grow: which part holds which files, and which are made again.

A folder that was read before is compared file by file with the parts that hold it. Parts whose
files are all there unchanged stay; a part of which some changed or vanished is made again of those
that it has now; files that no part holds make a further part of the folder, ``STEM~2``. Digests of
folders are sums, so where nothing changed nothing is listed or read again.

It knows seals and listings, and reads no file.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from dpipe import catalog, sources
from dpipe.build.part_spec import PartSpec, is_older
from dpipe.catalog import SpecFields, opening, seals
from dpipe.errors import DamageError
from dpipe.readers import Reader
from dpipe.sources import Item, ItemFields, Part
from dpipe.storage import Objects

FURTHER = "~"
_ALL = 2**128
SpecOf = Callable[[Sequence[Item]], PartSpec]


def folder_of(stem: str) -> str:
    """Return the stem of the first part of a folder."""
    return stem.partition(FURTHER)[0]


def by_folder(parent: catalog.Version | None) -> dict[str, list[catalog.PartRef]]:
    """Return the parts of a version by the folder that they are of."""
    folders: dict[str, list[catalog.PartRef]] = {}
    for ref in parent.parts if parent else ():
        folders.setdefault(folder_of(ref.stem), []).append(ref)
    return folders


def split(
    objects: Objects, refs: Sequence[catalog.PartRef], reader: Reader, part: Part, spec_of: SpecOf
) -> list[tuple[str, PartSpec]]:
    """Return stem and spec of the parts of one group of items: itself, or a folder's increments.

    A group is a folder where the reader tells the state of single files.

    Parameters
    ----------
    objects : Objects
        The store.
    refs : sequence of PartRef
        The parts of the newest version that are of the same folder.
    reader : Reader
        The reader.
    part : Part
        The group as it is listed now; of a folder, one item stands for it.
    spec_of : callable
        Returns the spec of a part of these items.
    """
    whole = spec_of(part.items)
    state = reader.state
    same = any(r.fingerprint == whole.fingerprint and not _looked_again(r) for r in refs)
    if state is None or not refs or same:
        return [(part.stem, whole)]
    try:
        sealed = list(seals.named(objects, refs))
    except DamageError:
        return [(part.stem, whole)]
    specs = [_sealed_spec(spec_of, seal.provenance["origin"]) for seal in sealed]
    if not all(_is_of(ref, spec) for ref, spec in zip(refs, specs, strict=True)):
        return [(part.stem, whole)]  # made with other options, or by another version
    items = [item for spec in specs for item in spec.items]
    untouched = _stamps(refs) == _stamps([part.items[0]]) or any(map(_looked_again, refs))
    if _sum(items) == _sum(whole.items) and untouched:
        return [
            (r.stem, _stamped(_again(r, spec), r.stamp))
            for r, spec in zip(refs, specs, strict=True)
        ]
    states = [_files(objects, seal) for seal in sealed]
    now = {_name(item): item for item in sources.list_items(part.items[0].uri)}
    now = {name: now[name] for name in _names(reader, part.items[0].uri, now.values())}
    increments: list[tuple[str, PartSpec]] = []
    for ref, spec, files in zip(refs, specs, states, strict=True):
        same = all(name in now and state(now[name]) == files[name] for name in files)
        listed = [now[name] for name in files if name in now]
        if same:
            stamp = _subset(reader, part.items[0], listed).stamp
            increments.append((ref.stem, _stamped(_again(ref, spec), stamp)))
        elif len(listed) == len(now):
            return [(part.stem, whole)]
        elif listed:
            increments.append((ref.stem, spec_of([_subset(reader, part.items[0], listed)])))
    claimed = {name for files in states for name in files}
    new = [item for name, item in now.items() if name not in claimed]
    if new:
        number = 1 + max(int(ref.stem.partition(FURTHER)[2] or 1) for ref in refs)
        further = spec_of([_subset(reader, part.items[0], new)])
        increments.append((f"{part.stem}{FURTHER}{number}", further))
    return increments


def _sealed_spec(spec_of: SpecOf, fields: SpecFields) -> PartSpec:
    """Return the spec of a sealed part's items, with the options of today."""
    spec = spec_of([Item.from_dict(item) for item in fields["items"]])
    return replace(spec, attempt=fields.get("attempt", 0))


def _is_of(ref: catalog.PartRef, spec: PartSpec) -> bool:
    return ref.fingerprint == spec.fingerprint or is_older(ref.fingerprint, spec)


def _looked_again(ref: catalog.PartRef) -> bool:
    """Tell whether files of a part were gone when it was made, so that it may be made again."""
    return bool(ref.summary.get("passing"))


def _again(ref: catalog.PartRef, spec: PartSpec) -> PartSpec:
    """Return the spec of a part whose files are all there; the next attempt, if some were gone."""
    return replace(spec, attempt=spec.attempt + 1) if _looked_again(ref) else spec


def _stamped(spec: PartSpec, stamp: str) -> PartSpec:
    """Return a spec whose item, a folder or some files of it, has another stamp."""
    return replace(spec, items=tuple({**item, "stamp": stamp} for item in spec.items))


def _stamps(parts: Iterable[catalog.PartRef | Item]) -> int:
    """Return the stamp of all files that parts or items stand for."""
    return sum(int(part.stamp or "0", 16) for part in parts) % _ALL


def _files(objects: Objects, seal: seals.Seal) -> dict[str, int]:
    """Return the state of each file that a part holds."""
    ds = opening.open_sealed(objects, seal)
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


def _sum(items: Sequence[ItemFields]) -> tuple[int, int]:
    """Return number and digest of all files that some items stand for."""
    return sum(i["count"] for i in items), sum(int(i["etag"], 16) for i in items) % _ALL


def _name(item: Item) -> str:
    return item.uri.rpartition("/")[2]
