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
from typing import Any

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
        self._known: dict[str, str] | None = None
        self._new = False

    def know(self, base: str, stamp: str) -> bool:
        """Tell whether a part was compared when its sources had this stamp."""
        if self._known is None:
            self._known = _mapping(self._path)
        return self._known.get(base) == stamp

    def add(self, base: str, stamp: str) -> None:
        """Remember that a part is the same with this stamp."""
        self._known = {**(self._known or {}), base: stamp}
        self._new = True

    def keep(self) -> None:
        """Write what is new, if the cache can be written."""
        if not self._new:
            return
        beside = self._path.with_suffix(f".{os.getpid()}.tmp")
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            beside.write_text(json.dumps(self._known))
            beside.replace(self._path)


def _mapping(path: Path) -> dict[str, str]:
    with contextlib.suppress(OSError, ValueError):
        found = json.loads(path.read_text())
        if isinstance(found, dict):
            return found
    return {}


def stamp_of(made: PartSpec) -> str:
    """Return the stamp of all source items of a part, "" where they have none."""
    stamps = [str(item.get("stamp", "")) for item in made.items]
    if len(stamps) == 1 or not any(stamps):
        return next(iter(stamps), "")
    return hashlib.sha256("\0".join(stamps).encode()).hexdigest()[:16]


def looked_at(objects: Objects, dataset: str, wanted: Named, known: Mapping[str, PartRef]) -> Named:
    """Tell what was touched from what holds other bytes.

    Parameters
    ----------
    objects : Objects
        The store.
    dataset : str
        The dataset.
    wanted : list of (str, PartSpec)
        Stem and origin of each part, as a quick look has them.
    known : mapping of str to PartRef
        By stem, the parts of the newest version.

    Returns
    -------
    list of (str, PartSpec)
        Those whose bytes are others with another ``attempt``.
    """
    stamps = Stamps(objects.url, dataset)
    latest = {stem: _attempted(known.get(stem), made) for stem, made in wanted}
    doubtful = {
        stem: ref.base
        for stem, made in latest.items()
        if (ref := known.get(stem)) is not None
        and ref.fingerprint == made.fingerprint
        and ref.stamp not in ("", now := stamp_of(made))
        and now
        and not stamps.know(ref.base, now)
    }
    for stem, base in _bar(doubtful.items(), len(doubtful)):
        sealed, _ = seals.read(objects, base, known[stem].seal)
        if changed(objects, sealed, latest[stem].items):
            latest[stem] = replace(latest[stem], attempt=latest[stem].attempt + 1)
        else:
            stamps.add(base, stamp_of(latest[stem]))
    stamps.keep()
    return list(latest.items())


def _attempted(ref: PartRef | None, made: PartSpec) -> PartSpec:
    return replace(made, attempt=ref.attempt) if ref and ref.attempt > made.attempt else made


def _bar[T](found: Iterable[T], total: int) -> Iterator[T]:
    yield from tqdm(found, "sources touched", total, unit="part", delay=2, disable=None)


def unnamed(objects: Objects, wanted: Named, bases: Mapping[str, str]) -> tuple[Named, set[str]]:
    """Look at parts that a run sealed and nobody committed, and whose sources were touched since.

    Parameters
    ----------
    objects : Objects
        The store.
    wanted : list of (str, PartSpec)
        Stem and origin of each part.
    bases : mapping of str to str
        By stem, the keys of those that are sealed and named by no version.

    Returns
    -------
    tuple of (list of (str, PartSpec), set of str)
        As `looked_at`; and the stems whose origin is another now.
    """
    latest, found = dict(wanted), set[str]()
    keys = {seals.key_of(base): stem for stem, base in bases.items() if stamp_of(latest[stem])}
    for (key, stem), data in zip(keys.items(), objects.read_many(keys), strict=True):
        if isinstance(data, StoreError):
            continue
        sealed, _ = seals.parse(objects, data, key.removesuffix(".json"))
        before = PartSpec.from_dict(_plain(sealed.provenance["origin"]))
        if stamp_of(before) != stamp_of(latest[stem]) and changed(
            objects, sealed, latest[stem].items
        ):
            latest[stem] = replace(latest[stem], attempt=latest[stem].attempt + 1)
            found.add(stem)
    return list(latest.items()), found


def _plain(made_by: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in made_by.items() if key != "made"}
