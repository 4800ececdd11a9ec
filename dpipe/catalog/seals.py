"""The seal of a part makes it exist, opens it without a request, and proves its bytes.

``parts/NAME/STEM-FINGERPRINT.json`` is written last. It holds every ``zarr.json`` and every small
coordinate object, the provenance, and the digests of two lists that opening does not read:
``...objects.json`` with size and sha256 of every object of the part, and ``...sources.json`` with
the sha256 of what was read of each source. ``...copy.json`` is a copy of the seal, written before
it: the seal is the one object that nothing else could bring back.

This module knows one part; it knows nothing of versions, recipes or how parts are made.
"""

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Protocol, TypedDict

from dpipe import ledger
from dpipe.catalog.provenance import Provenance
from dpipe.catalog.refs import Summary
from dpipe.errors import DamageError, NotFoundError, StoreError
from dpipe.storage import Json, Listed, Objects, documents

_FORM = documents.Form("dpipe-seal", 2, "seal", unsigned=1)
SOURCES = documents.Form("dpipe-sources", 1, "list of sources")
OTHER = "the seal is not the one that the version names"


class ObjectEntry(TypedDict):
    """Size and digest of an object, as the list of a part's objects holds them."""

    size: int
    sha256: str


class ObjectTotals(TypedDict):
    """Digest of the list of a part's objects, their number, and their bytes together."""

    sha256: str
    count: int
    bytes: int


class SourceTotals(TypedDict, total=False):
    """Digest of the list of a part's sources, and their number; empty where none was written."""

    sha256: str
    count: int


@dataclass(frozen=True)
class Seal:
    """The seal of a part: its documents, provenance and summary, and digests of its lists.

    Attributes
    ----------
    base : str
        Key of the part without suffix.
    suffix : str
        ``".ome.zarr"`` or ``".zarr"``.
    documents : dict
        Every ``zarr.json``, parsed, by key below the part.
    inline : dict of str to str
        Coordinate objects, base64.
    objects : ObjectTotals
        Of the part's objects.json.
    provenance, summary : Provenance, Summary
        How it came to be; what it holds.
    sources : SourceTotals
        Of the part's sources.json.
    """

    base: str
    suffix: str
    stem: str
    fingerprint: str
    documents: dict[str, Json] = field(repr=False)
    inline: dict[str, str] = field(repr=False)
    objects: ObjectTotals
    provenance: Provenance = field(repr=False)
    summary: Summary
    sources: SourceTotals = field(default_factory=SourceTotals)

    @property
    def path(self) -> str:
        """Key prefix of the part's Zarr group."""
        return self.base + self.suffix

    @property
    def levels(self) -> list[str]:
        """Names of the groups that hold levels; empty for a plain part."""
        tops = {key.split("/")[0] for key in self.documents if key.count("/") == 1}
        return sorted(top for top in tops if top.isdecimal()) if self.suffix == ".ome.zarr" else []

    @property
    def has_copy(self) -> bool:
        """Whether a copy was written with it; the first release wrote none."""
        return "source" in self.provenance

    def to_bytes(self) -> bytes:
        """Return it as it is stored."""
        return _FORM.write(asdict(self))


class Named(Protocol):
    """A part as a version or an input names it."""

    @property
    def stem(self) -> str:
        """Its stem."""

    @property
    def base(self) -> str:
        """Key of the part without suffix."""

    @property
    def seal(self) -> str:
        """sha256 of its seal; "" where nobody named one yet."""


def read(objects: Objects, base: str, expected: str = "") -> tuple[Seal, str]:
    """Read the seal of a part.

    Parameters
    ----------
    objects : Objects
        The store.
    base : str
        Key of the part without suffix.
    expected : str
        sha256 of the seal that a version names; "" to accept any.

    Returns
    -------
    tuple of (Seal, str)
        The seal and its sha256.

    Raises
    ------
    NotFoundError
        There is none: the part does not exist.
    DamageError
        It cannot be read, or is another one.
    UsageError
        A newer dpipe wrote it.
    """
    return parse(objects, objects.read(key_of(base)), base, expected)


def parse(objects: Objects, data: bytes, base: str, expected: str = "") -> tuple[Seal, str]:
    """Return the seal that some bytes are, and their digest; see `read`."""
    digest, where = documents.sha256(data), f"{objects.url}/{key_of(base)}"
    if expected and digest != expected:
        raise DamageError(f"{where}: {OTHER}; run dpipe verify")
    fields = _FORM.read(data, where)
    try:
        seal = Seal(**fields)
        name = f"{seal.stem}-{seal.fingerprint}"
        if seal.base != base or base.rpartition("/")[2] != name:
            raise ValueError(f"it is that of {seal.base}, {name}")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamageError(f"{where}: the seal is damaged ({error})") from error
    return seal, digest


def key_of(base: str) -> str:
    """Return the key of a part's seal."""
    return f"{base}.json"


def copy_key(base: str) -> str:
    """Return the key of the copy of a part's seal."""
    return f"{base}.copy.json"


def sources_key(base: str) -> str:
    """Return the key of the list of a part's sources."""
    return f"{base}.sources.json"


def sources_of(objects: Objects, seal: Seal) -> Iterator[tuple[str, ledger.Entry]]:
    """Yield URI and ledger entry of each source of a part.

    Raises
    ------
    DamageError
        The list is gone, or is not the one that was sealed.
    """
    key = sources_key(seal.base)
    where = f"{objects.url}/{key}"
    try:
        data = objects.read(key)
    except NotFoundError as error:
        raise DamageError(f"{where}: the list of sources is missing; run dpipe repair") from error
    if documents.sha256(data) != seal.sources["sha256"]:
        raise DamageError(f"{where}: not the list of sources that was sealed; run dpipe repair")
    yield from ledger.of_folders(SOURCES.read(data, where)["folders"])


def beside(objects: Objects, base: str) -> Iterator[Listed]:
    """Yield every object of a part: its seal, the documents beside it, and its Zarr objects.

    A folder is not asked for names by how they begin: it would look at those of all parts.
    """
    if not objects.nested:
        yield from objects.list(f"{base}.")
        return
    for key in (key_of(base), copy_key(base), f"{base}.objects.json", sources_key(base)):
        with contextlib.suppress(NotFoundError):
            yield objects.head(key)
    for suffix in (".marks", ".ome.zarr", ".zarr"):
        yield from objects.list(f"{base}{suffix}/")


def write_copies(objects: Objects, refs: Iterable[Named]) -> None:
    """Write the copies of seals that an earlier dpipe made, which wrote none."""
    bases = [ref.base for ref in refs]
    for base, data in zip(bases, objects.read_many(map(key_of, bases)), strict=True):
        if isinstance(data, StoreError):
            raise data
        objects.put_if_absent(copy_key(base), data)


def named(objects: Objects, refs: Iterable[Named]) -> Iterator[Seal]:
    """Yield the seals of parts as a version names them; the one door to a part.

    Parameters
    ----------
    objects : Objects
        The store; on S3 many seals are asked for at once.
    refs : iterable of PartRef
        What the version says of each: stem, base and the digest of the seal.

    Yields
    ------
    Seal
        In the order of the parts.

    Raises
    ------
    DamageError
        A seal is missing, is not the one that the version names, or is of another part.
    """
    listed = list(refs)
    for ref, data in zip(
        listed, objects.read_many(key_of(ref.base) for ref in listed), strict=True
    ):
        where = f"{objects.url}/{key_of(ref.base)}"
        if isinstance(data, NotFoundError):
            raise DamageError(f"{where}: the seal is missing; run dpipe verify, then dpipe repair")
        if not isinstance(data, bytes):
            raise data
        seal = parse(objects, data, ref.base, ref.seal)[0]
        if seal.stem != ref.stem:
            raise DamageError(f"{where}: a version calls it {ref.stem!r}; it is {seal.stem!r}")
        yield seal
