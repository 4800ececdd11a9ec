"""Sources that somebody touched: the quick look says "as before", the stamp of the file does not.

A plan looks at path, size and time of every source. Whoever writes other bytes into a file and sets
its time back leaves those as they were, but not its inode and its time of change of status: the
*stamp*. Where that is another one, the bytes are held against the digests that were taken when the
part was made: a file that was only copied or moved stays, other bytes are another source.

What was compared is remembered in the cache of this machine, never in the store.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from dpipe import sources
from dpipe.build.part_spec import PartSpec
from dpipe.build.source_digests import changed
from dpipe.catalog import PartRef, seals
from dpipe.errors import StoreError
from dpipe.storage import Objects

Named = list[tuple[str, PartSpec]]


class Stamps:
    """Stamps that were found to change nothing, by key of the part.

    Parameters
    ----------
    url : str
        The store.
    dataset : str
        The dataset.
    """

    def __init__(self, url: str, dataset: str) -> None:
        name = hashlib.sha256(f"{url}\0{dataset}".encode()).hexdigest()[:32]
        self._path = sources.cache_folder() / "stamps" / f"{name}.json"
        self._stamps: dict[str, str] | None = None
        self._new = False

    def know(self, base: str, stamp: str) -> bool:
        """Tell whether a part was compared when its sources had this stamp."""
        if self._stamps is None:
            self._stamps = _mapping(self._path)
        return self._stamps.get(base) == stamp

    def add(self, base: str, stamp: str) -> None:
        """Remember that a part is the same with this stamp."""
        self._stamps = {**(self._stamps or {}), base: stamp}
        self._new = True

    def keep(self) -> None:
        """Write the stamps if there are new ones, and the cache can be written."""
        if not self._new:
            return
        beside = self._path.with_suffix(f".{os.getpid()}.tmp")
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            beside.write_text(json.dumps(self._stamps))
            beside.replace(self._path)


def _mapping(path: Path) -> dict[str, str]:
    with contextlib.suppress(OSError, ValueError):
        stamps = json.loads(path.read_text())
        if isinstance(stamps, dict):
            return stamps
    return {}


def stamp_of(spec: PartSpec) -> str:
    """Return the stamp of all source items of a part, "" where they have none."""
    stamps = [str(item.get("stamp", "")) for item in spec.items]
    if len(stamps) == 1 or not any(stamps):
        return next(iter(stamps), "")
    return hashlib.sha256("\0".join(stamps).encode()).hexdigest()[:16]


def looked_at(objects: Objects, dataset: str, specs: Named, refs: Mapping[str, PartRef]) -> Named:
    """Tell sources that were only touched from those that hold other bytes.

    Parameters
    ----------
    objects : Objects
        The store.
    dataset : str
        The dataset.
    specs : list of (str, PartSpec)
        Stem and spec of each part, as a quick look has them.
    refs : mapping of str to PartRef
        By stem, the parts of the newest version.

    Returns
    -------
    list of (str, PartSpec)
        Those whose bytes are others with another ``attempt``.
    """
    stamps = Stamps(objects.url, dataset)
    latest = {stem: _attempted(refs.get(stem), spec) for stem, spec in specs}
    doubtful = {
        stem: ref.base
        for stem, spec in latest.items()
        if (ref := refs.get(stem)) is not None
        and ref.fingerprint == spec.fingerprint
        and ref.stamp not in ("", now := stamp_of(spec))
        and now
        and not stamps.know(ref.base, now)
    }
    for stem, base in _bar(doubtful.items(), len(doubtful)):
        sealed, _ = seals.read(objects, base, refs[stem].seal)
        if changed(objects, sealed, latest[stem].items):
            latest[stem] = replace(latest[stem], attempt=latest[stem].attempt + 1)
        else:
            stamps.add(base, stamp_of(latest[stem]))
    stamps.keep()
    return list(latest.items())


def _attempted(ref: PartRef | None, spec: PartSpec) -> PartSpec:
    return replace(spec, attempt=ref.attempt) if ref and ref.attempt > spec.attempt else spec


def _bar[T](parts: Iterable[T], total: int) -> Iterator[T]:
    yield from tqdm(parts, "sources touched", total, unit="part", delay=2, disable=None)


def unnamed(objects: Objects, specs: Named, bases: Mapping[str, str]) -> tuple[Named, set[str]]:
    """Look at parts that a run sealed and nobody committed, and whose sources were touched since.

    Parameters
    ----------
    objects : Objects
        The store.
    specs : list of (str, PartSpec)
        Stem and spec of each part.
    bases : mapping of str to str
        By stem, the keys of those that are sealed and named by no version.

    Returns
    -------
    tuple of (list of (str, PartSpec), set of str)
        As of `looked_at`; and the stems whose sources hold other bytes now.
    """
    latest, other = dict(specs), set[str]()
    keys = {seals.key_of(base): stem for stem, base in bases.items() if stamp_of(latest[stem])}
    for (key, stem), data in zip(keys.items(), objects.read_many(keys), strict=True):
        if isinstance(data, StoreError):
            continue
        sealed, _ = seals.parse(objects, data, key.removesuffix(".json"))
        before = PartSpec.from_dict(sealed.provenance["origin"])
        if stamp_of(before) != stamp_of(latest[stem]) and changed(
            objects, sealed, latest[stem].items
        ):
            latest[stem] = replace(latest[stem], attempt=latest[stem].attempt + 1)
            other.add(stem)
    return list(latest.items()), other
