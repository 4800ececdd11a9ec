"""Version files: their fields, how they lie in the store, and the copies beside them.

``datasets/NAME/000007.json`` names its parts, or pages of them, carries its own digest and that of
its parent's object; beside it stands a copy whose name holds the digest, by which a version that
is gone is noticed.

This module knows one file; which one is wanted, and who may write it, is its caller's business.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NotRequired, TypedDict

from dpipe.catalog.display import describe, history_page, row, study_lines, text, version_page
from dpipe.catalog.refs import INLINE, PartRef, Refs, in_pages, page_copy, page_key
from dpipe.errors import DamageError, NotFoundError, unknown
from dpipe.storage import Json, Objects, documents

__all__ = [
    "Beside",
    "History",
    "PartRef",
    "Refs",
    "Version",
    "beside",
    "copy_key",
    "describe",
    "encode",
    "key_of",
    "page_copy",
    "page_key",
    "parse",
    "read",
    "row",
    "study_lines",
    "text",
    "totals",
]

_FORM = documents.Form("dpipe-version", 2, "version", unsigned=1)
_COPY = re.compile(r"[0-9]{6,9}\.[0-9a-f]{32}\.copy")


class StepFields(TypedDict, total=False):
    """The step of a recipe that made a version, or ``kind`` "saved" and the call, if known.

    ``inputs`` are labels by parameter; ``digest`` is the recipe's, ``code`` that of an operator or
    reader of a user's own, ``packages`` are those that it comes from. Empty fields are left out.
    """

    kind: str
    name: str
    reader: str
    operator: str
    sources: list[str]
    params: Json
    inputs: dict[str, str]
    said: Json
    levels: int
    digest: str
    code: str
    packages: dict[str, str]


class PutAside(TypedDict):
    """A part, or some items of one, that a version could not take.

    ``passing`` says that the next run tries it again, ``whole`` (by default true) whether all of
    the part is meant; ``sources`` are the paths of its items.
    """

    stem: str
    fingerprint: str
    reason: str
    items: int
    sources: list[str]
    passing: NotRequired[bool]
    whole: NotRequired[bool]


class Draft(TypedDict):
    """A version before it has a number."""

    parts: Sequence[PartRef]
    message: str
    recipe: NotRequired[StepFields]
    study: NotRequired[Json]
    put_aside: NotRequired[tuple[PutAside, ...]]
    lost: NotRequired[tuple[int, ...]]


@dataclass(frozen=True)
class Version:
    """One version of a dataset: what it holds and how it came to be.

    Attributes
    ----------
    name, number, id : str, int, str
        The dataset, the number of the version, and what is unique to this commit.
    parent, parent_sha256 : int or None, str
        The version that it follows, and the digest of that version's object.
    created, author, message : str
        When (UTC), by whom, and what for.
    parts : Refs
        Its parts; of a version with many they are read when they are asked for.
    recipe : StepFields
        The step that made it, with the versions of its inputs.
    put_aside : tuple of PutAside
        What was put aside, each with its reason.
    study : dict
        The study, as a curator typed it.
    lost : tuple of int
        Versions that were found gone for good when this one was made.
    totals : dict
        ``parts``, ``records`` and ``bytes`` of all parts together.
    sha256 : str
        Digest of its object; "" before it is written.
    signed : bool
        Whether it carries its digest and its parent's; what the first release wrote does not.
    """

    name: str
    number: int
    id: str
    parent: int | None
    created: str
    author: str
    message: str
    parts: Refs
    recipe: StepFields = field(default_factory=StepFields)
    put_aside: tuple[PutAside, ...] = ()
    study: Json = field(default_factory=dict)
    lost: tuple[int, ...] = ()
    totals: dict[str, int] = field(default_factory=dict)
    parent_sha256: str = ""
    sha256: str = field(default="", compare=False)
    signed: bool = field(default=True, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.parts, Refs):
            object.__setattr__(self, "parts", Refs(self.parts))
        if not self.totals:
            object.__setattr__(self, "totals", totals(self.parts))

    @property
    def label(self) -> str:
        """``name@number``."""
        return f"{self.name}@{self.number}"

    def part(self, stem: str) -> PartRef:
        """Return the part with this stem, or say which there are."""
        if stem not in self.parts.by_stem:
            raise NotFoundError(f"{self.label}: {unknown('part', stem, self.parts.by_stem)}")
        return self.parts.by_stem[stem]

    def to_dict(self) -> Json:
        """Return everything that it says, as JSON holds it."""
        return {
            **{key: value for key, value in vars(self).items() if key != "signed"},
            "parts": [dict(vars(ref)) for ref in self.parts],
        }

    def _repr_html_(self) -> str:
        return version_page(self)


@dataclass(frozen=True)
class History:
    """All versions of a dataset, newest first; it prints as a table.

    Attributes
    ----------
    name : str
        The dataset.
    versions : tuple of Version
        Those that can be read.
    unreadable : tuple of str
        What is wrong with those that cannot be read, a line each.
    """

    name: str
    versions: tuple[Version, ...]
    unreadable: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Version]:
        return iter(self.versions)

    def __len__(self) -> int:
        return len(self.versions)

    def __getitem__(self, index: int) -> Version:
        return self.versions[index]

    def _repr_html_(self) -> str:
        return history_page(self)


@dataclass(frozen=True)
class Beside:
    """The version files in the folder of a dataset, and their copies.

    Attributes
    ----------
    numbers : frozenset of int
        Its versions.
    copies : dict of int to str
        By version, the key of its copy; the name of a copy holds the version's digest.
    """

    numbers: frozenset[int]
    copies: dict[int, str]

    def gone(self, newest: int) -> set[int]:
        """Return the versions above the newest one that were committed and are gone."""
        return {number for number in self.copies if number > newest}


def beside(objects: Objects, name: str) -> Beside:
    """List the versions of a dataset and the copies beside them."""
    numbers, copies = set(), {}
    for entry in objects.below(f"datasets/{name}/").objects:
        last = entry.key.rpartition("/")[2]
        if _COPY.fullmatch(last):
            copies[int(last.partition(".")[0])] = entry.key
        elif last.removesuffix(".json").isdecimal():
            numbers.add(int(last.removesuffix(".json")))
    return Beside(frozenset(numbers), copies)


def key_of(name: str, number: int) -> str:
    """Return the key of a version."""
    return f"datasets/{name}/{number:06d}.json"


def copy_key(name: str, number: int, digest: str) -> str:
    """Return the key of the copy of a version."""
    return f"datasets/{name}/{number:06d}.{digest[:32]}.copy"


def read(objects: Objects, name: str, number: int) -> Version | None:
    """Read a version; None if there is none of this number.

    Raises
    ------
    DamageError
        It cannot be read, or its digest is another.
    UsageError
        A newer dpipe wrote it.
    """
    try:
        data = objects.read(key_of(name, number))
    except NotFoundError:
        return None
    return parse(objects, data, name, number)


def parse(objects: Objects, data: bytes, name: str, number: int) -> Version:
    """Return the version that some bytes are; see `read`."""
    where = f"{objects.url}/{key_of(name, number)}"
    try:
        fields = _FORM.read(data, where)
    except DamageError as error:
        raise DamageError(f"{error}; run dpipe repair {name}") from error
    try:
        pages = [(str(digest), int(count)) for digest, count in fields.pop("pages", ())]
        listed = [PartRef(**part) for part in fields.pop("parts", ())]
        fields["signed"] = "totals" in fields
        fields["study"] = fields.get("study") or fields.pop("metadata", {})
        fields["put_aside"] = tuple(fields.get("put_aside", ()))
        fields["lost"] = tuple(fields.get("lost", ()))
        refs = Refs(listed, objects, name, pages)
        version = Version(**fields, parts=refs, sha256=documents.sha256(data))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamageError(
            f"{where}: the version is damaged ({error}); run dpipe repair {name}"
        ) from error
    if (version.name, version.number) != (name, number):
        raise DamageError(f"{where}: the version is damaged (it says that it is {version.label})")
    return version


def encode(objects: Objects, version: Version, parent: Version | None) -> bytes:
    """Return a version as it is stored; pages of parts are put before it names them."""
    left_out = ("parts", "sha256", "signed")
    fields = {key: value for key, value in vars(version).items() if key not in left_out}
    if len(version.parts) <= INLINE:
        fields["parts"] = [ref.to_dict() for ref in version.parts]
    else:
        before = parent.parts if parent else Refs()
        fields["pages"] = in_pages(objects, version.name, version.parts, before)
    return _FORM.write(fields)


def totals(parts: Refs) -> dict[str, int]:
    """Return how many parts, records and bytes these are together."""
    return {
        "parts": len(parts),
        "records": sum(int(ref.summary.get("records", 0)) for ref in parts),
        "bytes": sum(int(ref.summary.get("bytes", 0)) for ref in parts),
    }
