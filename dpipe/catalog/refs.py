"""The parts that a version names, in pages that versions share.

A version of few parts holds them itself. One of many names *pages*: objects below
``datasets/NAME/pages/`` that are called by their digest and hold some hundred parts each. Where a
page ends is decided by the stems in it, so adding a part to 100,000 writes one page anew and leaves
the others as they are. Pages are read when somebody asks for parts.
"""

import json
import marshal
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypedDict, cast

from dpipe.errors import DamageError
from dpipe.storage import Json, Objects, documents

INLINE = 256
"""Parts of a version that are kept in its own file."""
_PAGE = 512
"""Parts of a page, on average."""
_LARGEST_PAGE = 4096
_FORM = documents.Form("dpipe-parts", 1, "page of parts", unsigned=1)


class PicturesAside(TypedDict, total=False):
    """How many pictures of a collection were put aside: ``put_aside`` of ``records``.

    ``aside`` holds file and reason of the first of them; ``passing`` says how many were gone or
    changed, if any were, so that the next run tries the part again.
    """

    records: int
    put_aside: int
    aside: list[list[str]]
    passing: int


class Summary(PicturesAside, total=False):
    """The summary of a part, for listings: its variables, sizes, dtype and so on.

    ``bytes`` are decoded ones, ``spacing`` is by axis, None where it is not known; ``notes`` are
    lines for people; ``several_values`` counts masks of a collection with more values than one.
    """

    variables: list[str]
    sizes: dict[str, int]
    dtype: str
    levels: int
    bytes: int
    spacing: dict[str, float | None]
    notes: list[str]
    several_values: int


@dataclass(frozen=True)
class PartRef:
    """A sealed part, as a version names it.

    Attributes
    ----------
    stem : str
        Its name for people; inputs are joined by it.
    fingerprint : str
        Hash of everything that decides its values.
    base : str
        Key of the part without its suffix, ``parts/leuko/Neu1-3fa9c1d2e0b4``. It ends in the
        fingerprint that the part was sealed with: another one than `fingerprint` where an older
        dpipe made it, whose fingerprints covered less.
    seal : str
        sha256 of its seal.
    summary : dict
        Sizes, dtype and so on, for listings.
    stamp : str
        Of sources on disk, what changes whenever anybody writes them, whatever their times say.
    attempt : int
        Counts up when its sources hold other bytes with the size and time of before.
    """

    stem: str
    fingerprint: str
    base: str
    seal: str = ""
    summary: Summary = field(default_factory=Summary)
    stamp: str = ""
    attempt: int = 0

    def to_dict(self) -> Json:
        """Return it as JSON holds it."""
        left_out = {"stamp": "", "attempt": 0}
        return {key: value for key, value in vars(self).items() if left_out.get(key) != value}

    @property
    def sealed_fingerprint(self) -> str:
        """The fingerprint that stands in its seal."""
        return self.base.rpartition("-")[2]


class Refs(Sequence[PartRef]):
    """The parts of a version; those in pages are read when they are first asked for.

    Parameters
    ----------
    parts : iterable of PartRef
        Those known already.
    objects : Objects, optional
        The store of the pages.
    name : str
        The dataset.
    pages : sequence of (str, int)
        Digest and number of parts of each page.
    """

    def __init__(
        self,
        parts: Iterable[PartRef] = (),
        objects: Objects | None = None,
        name: str = "",
        pages: Sequence[tuple[str, int]] = (),
    ) -> None:
        self._objects, self._name = objects, name
        self.pages = tuple(pages)
        self._known = None if pages else tuple(parts)

    def __len__(self) -> int:
        return sum(count for _, count in self.pages) if self._known is None else len(self._known)

    def __iter__(self) -> Iterator[PartRef]:
        return iter(self._all)

    def __getitem__(self, index: Any) -> Any:
        return self._all[index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Refs | tuple | list) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(len(self))

    def __repr__(self) -> str:
        return f"Refs({len(self)} parts)"

    @cached_property
    def by_stem(self) -> dict[str, PartRef]:
        """The parts by stem."""
        return {ref.stem: ref for ref in self}

    @property
    def _all(self) -> tuple[PartRef, ...]:
        if self._known is None:
            self._known = tuple(ref for page in self.by_page.values() for ref in page)
        return self._known

    @cached_property
    def by_page(self) -> dict[str, list[PartRef]]:
        """The parts of each page, by its digest."""
        if self._objects is None:
            return {}
        keys = [page_key(self._name, digest) for digest, _ in self.pages]
        pages = {}
        for key, data in zip(keys, self._objects.read_many(keys), strict=True):
            digest = key.rpartition("/")[2].removesuffix(".json")
            pages[digest] = parsed(data, f"{self._objects.url}/{key}", self._name, digest)
        return pages


def page_key(name: str, digest: str) -> str:
    """Return the key of a page."""
    return f"datasets/{name}/pages/{digest}.json"


def page_copy(key: str) -> str:
    """Return the key of the copy of a page."""
    return f"{key.removesuffix('.json')}.copy"


def parsed(data: bytes | Exception, where: str, name: str, digest: str) -> list[PartRef]:
    """Read a page, if it is the one that its name says."""
    if isinstance(data, Exception):
        raise DamageError(f"{where}: a page of parts is missing; run dpipe repair {name}")
    if documents.sha256(data) != digest:
        raise DamageError(
            f"{where}: damaged, its bytes are not those that its name says; run dpipe repair {name}"
        )
    fields = _FORM.read(data, where)
    summaries = fields["summaries"]
    return [
        PartRef(stem, digest, base or f"parts/{name}/{stem}-{digest}", seal, summaries[i], *more)
        for stem, digest, base, seal, i, *more in fields["parts"]
    ]


def in_pages(
    objects: Objects, name: str, parts: Sequence[PartRef], before: Refs
) -> list[tuple[str, int]]:
    """Put the pages of some parts that are not there, and return digest and size of all.

    Parameters
    ----------
    objects : Objects
        The store.
    name : str
        The dataset.
    parts : sequence of PartRef
        All parts of the version to be.
    before : Refs
        Those of its parent: pages that hold the same parts are not even encoded again.
    """
    earlier = {group[0].stem: (digest, group) for digest, group in before.by_page.items() if group}
    pages = []
    for group in _groups(parts):
        digest, same = earlier.get(group[0].stem, ("", ()))
        if len(same) != len(group) or any(a is not b for a, b in zip(same, group, strict=True)):
            data = _page(name, group)
            digest = documents.sha256(data)
            _put(objects, page_key(name, digest), data)
        pages.append((digest, len(group)))
    return pages


def _put(objects: Objects, key: str, data: bytes) -> None:
    """Put a page and its copy, unless they are there whole: their name is their digest."""
    for name in (key, page_copy(key)):
        if objects.put_if_absent(name, data) is None and objects.read(name) != data:
            objects.put(name, data)


def _groups(parts: Sequence[PartRef]) -> Iterator[list[PartRef]]:
    """Cut parts into pages, behind stems that are chosen by nothing but their letters."""
    group: list[PartRef] = []
    for ref in parts:
        group.append(ref)
        if not zlib.crc32(ref.stem.encode(errors="replace")) % _PAGE or len(group) == _LARGEST_PAGE:
            yield group
            group = []
    if group:
        yield group


def _page(name: str, group: Sequence[PartRef]) -> bytes:
    """Encode a page; summaries that many parts share stand in it once."""
    places: dict[bytes, int] = {}
    summaries: list[Summary] = []
    rows = []
    for ref in group:
        shape = _shape(ref.summary)
        if shape not in places:
            places[shape] = len(summaries)
            summaries.append(ref.summary)
        usual = ref.base == f"parts/{name}/{ref.stem}-{ref.fingerprint}"
        row = [ref.stem, ref.fingerprint, "" if usual else ref.base, ref.seal, places[shape]]
        rows.append([*row, ref.stamp, ref.attempt] if ref.stamp or ref.attempt else row)
    fields = {"format": f"{_FORM.name}/{_FORM.number}", "summaries": summaries, "parts": rows}
    return json.dumps(fields, separators=(",", ":")).encode()


def _shape(summary: Summary) -> bytes:
    """Return bytes that are equal for equal summaries, quickly."""
    try:
        return marshal.dumps(cast("Json", summary), 2)
    except ValueError:
        return json.dumps(summary).encode()
