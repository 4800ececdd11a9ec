"""Checks: whether the objects of a store are, bit for bit, those that were written.

Every document carries its digest, versions that of their parent, seals the digests of all objects
of a part. What is not as it was written is a *finding*: which object, and what is wrong with it.

This module changes nothing; ``repair`` brings back what can be.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence

from tqdm import tqdm

from dpipe import catalog, compute
from dpipe.build import source_digests
from dpipe.catalog import PartRef, opening, seals
from dpipe.checks import marks
from dpipe.checks.versions import Chain, Finding, chain, lost_inputs
from dpipe.errors import DamageError, NotFoundError, UsageError
from dpipe.storage import Listed, Objects, documents

__all__ = ["MODES", "Chain", "Finding", "chain", "check_part", "listed", "lost_inputs", "verify"]

MODES = ("exists", "bytes", "decode")
BASE = re.compile(r"(parts/[^/]+/[^/]+-[0-9a-f]{12})(?=[./])")
"""What the keys of all objects of a part begin with."""


def verify(
    objects: Objects,
    labels: Sequence[str],
    *,
    mode: str = "bytes",
    sources: bool = False,
    silent: list[str] | None = None,
    progress: bool = False,
) -> Iterator[Finding]:
    """Check datasets against their digests.

    Parameters
    ----------
    objects : Objects
        The store.
    labels : sequence of str
        Datasets or versions: their version files, and the parts of the version that is meant.
        None for the whole store: all versions, and parts that no version names.
    mode : {"exists", "bytes", "decode"}
        Compare names and sizes; also every byte's digest; also decode every chunk.
    sources : bool
        Also read what readers read once more, and compare it with the digests taken then.
    silent : list of str, optional
        Takes the keys of parts of readers whose seals say nothing of their sources, since an
        earlier dpipe made them.
    progress : bool
        Show a bar on stderr.

    Yields
    ------
    Finding
        One for each thing that is wrong.

    Raises
    ------
    NotFoundError
        No such dataset or version.
    """
    if mode not in MODES:
        raise UsageError(f"mode {mode!r}; expected one of {', '.join(MODES)}")
    refs: dict[tuple[str, str], PartRef] = {}
    names = catalog.names(objects) if not labels else [label.partition("@")[0] for label in labels]
    for name in dict.fromkeys(names):
        version_chain = chain(objects, catalog.check_name(name))
        yield from version_chain.findings
        yield from lost_inputs(objects, version_chain)
        chosen = [label for label in labels if label.partition("@")[0] == name]
        for version in _meant(objects, version_chain, chosen):
            refs |= {(ref.base, ref.seal): ref for ref in version.parts}
    bar = tqdm(
        refs.values(), desc="verify", unit="part", delay=2, disable=None if progress else True
    )
    for ref in bar:
        yield from check_part(objects, ref, mode=mode)
        if sources:
            yield from _read_again(objects, ref, [] if silent is None else silent)
    if not labels:
        yield from _unnamed(objects, {base for base, _ in refs}, mode)


def _meant(objects: Objects, chain: Chain, labels: Sequence[str]) -> list[catalog.Version]:
    """Return the versions whose parts are to be checked: all, or those that labels name."""
    if not labels:
        return list(chain.versions.values())
    meant = []
    for label in labels:
        number = label.partition("@")[2]
        if not chain.data or (number and not number.isdecimal()):
            catalog.resolve(objects, label)  # says what is wrong with it
        index = int(number) if number else max(chain.data)
        if index not in chain.data:
            catalog.resolve(objects, label)
        meant += [chain.versions[index]] if index in chain.versions else []
    return meant


def _unnamed(objects: Objects, named: set[str], mode: str) -> Iterator[Finding]:
    """Check parts that no version names: sealed by a run that goes on, or begun."""
    bases: dict[str, set[str]] = {}
    for entry in objects.list("parts/"):
        match = BASE.match(entry.key)
        if match and match[1] not in named:
            bases.setdefault(match[1], set()).add(entry.key)
    for base, keys in bases.items():
        if seals.key_of(base) in keys:
            name = base.rpartition("/")[2]
            stem, _, fingerprint = name.rpartition("-")
            yield from check_part(objects, PartRef(stem, fingerprint, base), mode=mode)
        else:
            yield from marks.findings(objects, base, keys)


def check_part(objects: Objects, ref: PartRef, *, mode: str = "bytes") -> Iterator[Finding]:
    """Check a part against its seal, and its seal against the version that names it.

    Parameters
    ----------
    objects : Objects
        The store.
    ref : PartRef
        What the version says of it; without ``seal``, any seal will do.
    mode : {"exists", "bytes", "decode"}
        As for `verify`.

    Yields
    ------
    Finding
        One for each thing that is wrong.
    """
    key = seals.key_of(ref.base)
    try:
        data = objects.read(key)
        sealed = seals.parse(objects, data, ref.base)[0]
    except NotFoundError:
        yield Finding(key, "the seal is missing")
        return
    except (DamageError, UsageError) as error:
        yield Finding(key, str(error))
        return
    if ref.seal and documents.sha256(data) != ref.seal:
        yield Finding(key, seals.OTHER)
    elif sealed.stem != ref.stem:
        yield Finding(key, f"a version calls it {ref.stem!r}; it is {sealed.stem!r}")
    stored = {entry.key: entry for entry in seals.beside(objects, ref.base)}
    copy = seals.copy_key(ref.base)
    if copy in stored or objects.exists(copy):
        if objects.read(copy) != data:
            yield Finding(copy, "the copy of the seal is not the seal")
    elif sealed.has_copy:
        yield Finding(copy, "the copy of the seal is missing")
    yield from _sources(objects, sealed, stored)
    entries, problem = listed(objects, sealed)
    if problem:
        yield Finding(f"{ref.base}.objects.json", problem)
        return
    yield from _compare(objects, sealed, entries, stored, mode)
    yield from marks.left(objects, ref.base, stored)
    if mode == "decode":
        yield from _decode(objects, sealed)


def listed(objects: Objects, sealed: seals.Seal) -> tuple[dict[str, seals.ObjectEntry], str]:
    """Return the list of a part's objects, or a problem with it."""
    try:
        data = objects.read(f"{sealed.base}.objects.json")
    except NotFoundError:
        return {}, "the list of objects is missing"
    if documents.sha256(data) != sealed.objects["sha256"]:
        return {}, "the list of objects is not the one that was sealed"
    return dict(json.loads(data)), ""


def _read_again(objects: Objects, ref: PartRef, silent: list[str]) -> Iterator[Finding]:
    """Compare the sources of a part with the digests in its seal."""
    try:
        sealed = seals.read(objects, ref.base)[0]
        if sealed.provenance["origin"]["kind"] != "reader":
            return
        if not sealed.sources:
            silent.append(ref.base)
        yield from (
            Finding(*difference) for difference in source_digests.differences(objects, sealed)
        )
    except (DamageError, NotFoundError):  # which `check_part` has said
        return


def _sources(
    objects: Objects, sealed: seals.Seal, stored: Mapping[str, Listed]
) -> Iterator[Finding]:
    key = seals.sources_key(sealed.base)
    if not sealed.sources.get("sha256"):
        return
    if key not in stored and not objects.exists(key):
        yield Finding(key, "the list of sources is missing")
    elif documents.sha256(objects.read(key)) != sealed.sources["sha256"]:
        yield Finding(key, "the list of sources is not the one that was sealed")


def _compare(
    objects: Objects,
    sealed: seals.Seal,
    entries: Mapping[str, seals.ObjectEntry],
    stored: Mapping[str, Listed],
    mode: str,
) -> Iterator[Finding]:
    prefix = f"{sealed.path}/"
    for name, expected in entries.items():
        key = prefix + name
        entry = stored.get(key)
        if entry is None and not objects.exists(key):
            yield Finding(key, "the object is missing")
            continue
        size = entry.size if entry is not None else objects.size(key)
        if size != expected["size"]:
            yield Finding(key, f"{size} bytes; {expected['size']} were sealed")
        elif mode != "exists" and documents.sha256(objects.read(key)) != expected["sha256"]:
            yield Finding(key, "its bytes differ from those sealed")
    for key in stored:
        if key.startswith(prefix) and key.removeprefix(prefix) not in entries:
            yield Finding(key, "the object is not part of what was sealed")


def _decode(objects: Objects, sealed: seals.Seal) -> Iterator[Finding]:
    for level in [int(name) for name in sealed.levels] or [0]:
        ds = opening.open_sealed(objects, sealed, level)
        for name, variable in ds.data_vars.items():
            for region in compute.block_regions(variable):
                try:
                    compute.compute(variable[region].data)
                except (DamageError, NotFoundError) as error:
                    yield Finding(f"{sealed.path}/{level}/{name}", str(error))
