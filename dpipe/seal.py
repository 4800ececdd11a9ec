"""The seal of a part: what makes it exist, opens it without a request, and proves its bytes.

``parts/NAME/STEM-FINGERPRINT.json`` is written last. It holds every ``zarr.json`` and every small
coordinate object, the provenance, and the digest of ``...objects.json``, which lists size, sha256
and ETag of every object of the part.

This module knows one part; it knows nothing of versions, recipes or how parts are made.
"""

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import xarray as xr

from dpipe import blocks, store
from dpipe.errors import DamageError, NotFoundError, UsageError, check_format
from dpipe.objects import Objects

MODES = ("exists", "bytes", "decode")
_FORMAT = "dpipe-seal/1"
_OTHER_SEAL = "the seal is not the one that the version names"


@dataclass(frozen=True)
class Seal:
    """What a sealed part says of itself.

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
    objects : dict
        ``sha256`` of the part's objects.json, ``count`` and ``bytes`` of its objects.
    provenance, summary : dict
        How it came to be; what it holds.
    """

    base: str
    suffix: str
    stem: str
    fingerprint: str
    documents: dict[str, Any] = field(repr=False)
    inline: dict[str, str] = field(repr=False)
    objects: dict[str, Any]
    provenance: dict[str, Any] = field(repr=False)
    summary: dict[str, Any]

    @property
    def path(self) -> str:
        """Key prefix of the part's Zarr group."""
        return self.base + self.suffix

    @property
    def levels(self) -> list[str]:
        """Names of the groups that hold levels; empty for a plain part."""
        tops = {key.split("/")[0] for key in self.documents if key.count("/") == 1}
        return sorted(top for top in tops if top.isdecimal()) if self.suffix == ".ome.zarr" else []

    def to_bytes(self) -> bytes:
        """Return it as it is stored."""
        return json.dumps({"format": _FORMAT} | asdict(self), indent=1).encode()


@dataclass(frozen=True)
class Finding:
    """Something wrong with a part: which object, and what."""

    key: str
    problem: str


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
    data = objects.read(f"{base}.json")
    digest = _sha256(data)
    if expected and digest != expected:
        raise DamageError(f"{objects.url}/{base}.json: {_OTHER_SEAL}; run dpipe verify")
    try:
        given = json.loads(data)
        check_format(f"{objects.url}/{base}.json", given.pop("format"), _FORMAT)
        return Seal(**given), digest
    except UsageError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamageError(f"{objects.url}/{base}.json: the seal is damaged ({error})") from error


def open_sealed(objects: Objects, seal: Seal, level: int = 0) -> xr.Dataset:
    """Open a part lazily, with no further request.

    Parameters
    ----------
    objects : Objects
        The store.
    seal : Seal
        The part's seal.
    level : int
        Level of the pyramid; only 0 for a plain part.

    Returns
    -------
    xarray.Dataset
        Its Dask chunks are shards; ``attrs["stem"]`` is its stem.

    Raises
    ------
    UsageError
        There is no such level.
    """
    group = str(level) if seal.levels else ""
    if (seal.levels and group not in seal.levels) or (not seal.levels and level):
        there = ", ".join(seal.levels) or "0"
        raise UsageError(f"{seal.stem}: no level {level}; levels there: {there}")
    documents = {key: json.dumps(doc).encode() for key, doc in seal.documents.items()}
    inline = {key: base64.b64decode(text) for key, text in seal.inline.items()}
    ds = store.open_group(objects.url, seal.path, documents, inline, group)
    return ds.assign_attrs(stem=seal.stem)


def verify(
    objects: Objects, base: str, *, mode: str = "bytes", expected_seal: str = ""
) -> Iterator[Finding]:
    """Check a part against its seal.

    Parameters
    ----------
    objects : Objects
        The store.
    base : str
        Key of the part without suffix.
    mode : {"exists", "bytes", "decode"}
        Compare names and sizes; also every byte's digest; also decode every chunk.
    expected_seal : str
        sha256 of the seal that a version names; "" to accept any.

    Yields
    ------
    Finding
        One for each thing that is wrong.
    """
    if mode not in MODES:
        raise UsageError(f"mode {mode!r}; expected one of {', '.join(MODES)}")
    try:
        seal, digest = read(objects, base)
    except NotFoundError:
        yield Finding(f"{base}.json", "the seal is missing")
        return
    except DamageError as error:
        yield Finding(f"{base}.json", str(error))
        return
    if expected_seal and digest != expected_seal:
        yield Finding(f"{base}.json", _OTHER_SEAL)
    listed, problem = _listed(objects, seal)
    if problem:
        yield Finding(f"{base}.objects.json", problem)
        return
    yield from _compare(objects, seal, listed, mode)
    if mode == "decode":
        yield from _decode(objects, seal)


def _listed(objects: Objects, seal: Seal) -> tuple[dict[str, Any], str]:
    try:
        data = objects.read(f"{seal.base}.objects.json")
    except NotFoundError:
        return {}, "the list of objects is missing"
    if _sha256(data) != seal.objects["sha256"]:
        return {}, "the list of objects is not the one that was sealed"
    return dict(json.loads(data)), ""


def _compare(
    objects: Objects, seal: Seal, listed: Mapping[str, Any], mode: str
) -> Iterator[Finding]:
    prefix = f"{seal.path}/"
    there = {entry.key.removeprefix(prefix): entry for entry in objects.list(prefix)}
    for name, expected in listed.items():
        key = prefix + name
        entry = there.pop(name, None)
        if entry is None and not objects.exists(key):
            yield Finding(key, "the object is missing")
            continue
        size = entry.size if entry is not None else objects.size(key)
        if size != expected["size"]:
            yield Finding(key, f"{size} bytes; {expected['size']} were sealed")
        elif mode != "exists" and _sha256(objects.read(key)) != expected["sha256"]:
            yield Finding(key, "its bytes differ from those sealed")
    for name in there:
        yield Finding(prefix + name, "the object is not part of what was sealed")


def _decode(objects: Objects, seal: Seal) -> Iterator[Finding]:
    for level in [int(name) for name in seal.levels] or [0]:
        ds = open_sealed(objects, seal, level)
        for name, variable in ds.data_vars.items():
            for region in blocks.regions(variable):
                try:
                    blocks.compute(variable[region].data)
                except (DamageError, NotFoundError) as error:
                    yield Finding(f"{seal.path}/{level}/{name}", str(error))


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
