"""Repair: brings back what a check finds damaged, with the same digests, and says what it cannot.

Version files and seals, which nothing could make again, have copies. Metadata and small
coordinates stand in the seal. Pixels and results are made again from the sources or inputs; what
then has another digest than the one sealed is not put. What was saved from memory, or whose
source is gone, cannot be brought back.

This module overwrites objects of sealed parts, and is the only one that does.
"""

import contextlib
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from tqdm import tqdm

from dpipe import catalog
from dpipe.catalog import PartRef, seals, version_files
from dpipe.checks import store
from dpipe.checks.part_repair import Part, mended
from dpipe.errors import DamageError, DpipeError, NotFoundError, UsageError
from dpipe.storage import Objects, documents

_WAY = "restore a backup, or say --accept-lost: it leaves its dataset, and a run makes it again"


@dataclass(frozen=True)
class Repair:
    """A finding, and whether it was repaired.

    Attributes
    ----------
    key : str
        The object.
    problem : str
        Its problem.
    why_not : str
        Why it could not be brought back; "" if it was.
    """

    key: str
    problem: str
    why_not: str = ""


def repair(
    objects: Objects, labels: Sequence[str] = (), *, accept_lost: str = "", progress: bool = False
) -> Iterator[Repair]:
    """Bring back what is damaged.

    Parameters
    ----------
    objects : Objects
        The store.
    labels : sequence of str
        Datasets or versions; none for the whole store.
    accept_lost : str, optional
        Who accepts that versions are lost which no copy brings back: a new version says so, holds
        the parts of the newest readable one, and commits go on after it. Parts whose seal and copy
        are lost leave their dataset, in a new version that says so; a run makes them again.
    progress : bool
        Show a bar on stderr.

    Yields
    ------
    Repair
        One for each thing that was wrong.
    """
    names = [label.partition("@")[0] for label in labels] or catalog.names(objects)
    for name in dict.fromkeys(names):
        yield from _versions(objects, catalog.check_name(name), accept_lost)
    refs = _named(objects, labels or names)
    bar = tqdm(refs, desc="repair", unit="part", delay=2, disable=None if progress else True)
    for ref in bar:
        yield from _part(objects, ref)
    if accept_lost:
        for name in dict.fromkeys(names):
            _leave(objects, name, accept_lost)


def _named(objects: Objects, labels: Iterable[str]) -> list[PartRef]:
    """Return the parts of all versions of some datasets, or of single versions, each once."""
    refs: dict[tuple[str, str], PartRef] = {}
    for label in labels:
        name, _, number = label.partition("@")
        chain = store.chain(objects, name)
        numbers = [int(number)] if number.isdecimal() else list(chain.versions)
        for n in numbers:
            if n in chain.versions:
                refs |= {(ref.base, ref.seal): ref for ref in chain.versions[n].parts}
    return list(refs.values())


def _versions(objects: Objects, name: str, accept_lost: str) -> Iterator[Repair]:
    """Put version files, their copies and pages right, each from the other."""
    chain, done = store.chain(objects, name), list[Repair]()
    for finding in chain.findings:
        if "/pages/" in finding.key:
            done.append(_page(objects, finding))
        elif finding.key.endswith(".copy"):
            done.append(_copy(objects, chain, finding))
        else:
            done.append(_version(objects, chain, finding))
    yield from done
    chain = store.chain(objects, name)
    for finding in store.lost_inputs(objects, chain):
        yield Repair(finding.key, finding.problem, "restore a backup")
    yield from copies(objects, chain)
    lost = sorted({_number(f.key) for f in chain.findings if f.key.endswith(".json")})
    if accept_lost and lost and chain.versions:
        newest = chain.versions[max(chain.versions)]
        number = max([*chain.data, *chain.copies]) + 1
        draft: catalog.Draft = {
            "parts": newest.parts,
            "message": f"accepted that version {', '.join(map(str, lost))} is lost",
            "recipe": newest.recipe,
            "study": newest.study,
            "put_aside": newest.put_aside,
            "lost": tuple(lost),
        }
        identity = uuid.uuid4().hex
        catalog.add(
            objects, name, newest, draft, author=accept_lost, identity=identity, number=number
        )


def _leave(objects: Objects, name: str, author: str) -> None:
    """Let the parts that are lost leave a dataset, so that a run makes them again."""
    chain = store.chain(objects, name)
    if not chain.versions or max(chain.data) not in chain.versions:
        return
    newest = chain.versions[max(chain.versions)]
    lost = [ref for ref in newest.parts if _is_lost(objects, ref)]
    if not lost:
        return
    gone = {ref.base for ref in lost}
    named = ", ".join(ref.stem for ref in lost)
    draft: catalog.Draft = {
        "parts": [ref for ref in newest.parts if ref.base not in gone],
        "message": f"accepted that the parts {named} are lost",
        "recipe": newest.recipe,
        "study": newest.study,
        "put_aside": newest.put_aside,
        "lost": newest.lost,
    }
    number = max([*chain.data, *chain.copies]) + 1
    identity = uuid.uuid4().hex
    if catalog.add(objects, name, newest, draft, author=author, identity=identity, number=number):
        for base in gone:
            _unseal(objects, base)


def _unseal(objects: Objects, base: str) -> None:
    """Take a seal away that cannot be read: it would pass for that of a part that is there."""
    with contextlib.suppress(NotFoundError, UsageError):
        try:
            seals.read(objects, base)
        except DamageError:
            objects.delete(seals.key_of(base))
            objects.delete(seals.copy_key(base))


def _is_lost(objects: Objects, ref: PartRef) -> bool:
    """Tell whether neither seal nor copy is the one that a version names; newer ones are not."""
    for key in (seals.key_of(ref.base), seals.copy_key(ref.base)):
        try:
            digest = seals.parse(objects, objects.read(key), ref.base)[1]
        except (NotFoundError, DamageError):
            continue
        except UsageError:
            return False
        if ref.seal in ("", digest):
            return False
    return True


def _number(key: str) -> int:
    digits = key.rpartition("/")[2].partition(".")[0]
    return int(digits) if digits.isdecimal() else 0


def _version(objects: Objects, chain: store.Chain, finding: store.Finding) -> Repair:
    """Put the copy of a version in its place, if that is whole."""
    number = _number(finding.key)
    key = chain.copies.get(number)
    if key is None:
        return Repair(finding.key, finding.problem, "there is no copy of it; restore a backup")
    data = objects.read(key)
    try:
        if not documents.sha256(data).startswith(key.split(".")[-2]):
            raise DamageError("its copy is damaged too; restore a backup")
        version_files.parse(objects, data, chain.name, number)
    except (DamageError, UsageError) as error:
        return Repair(finding.key, finding.problem, str(error))
    objects.put(finding.key, data)
    return Repair(finding.key, finding.problem)


def _copy(objects: Objects, chain: store.Chain, finding: store.Finding) -> Repair:
    """Write a damaged copy again, from the version that its name says."""
    data = chain.data.get(_number(finding.key), b"")
    if not documents.sha256(data).startswith(finding.key.split(".")[-2]):
        return Repair(finding.key, finding.problem, "the version that it is of is damaged too")
    objects.put(finding.key, data)
    return Repair(finding.key, finding.problem)


def _page(objects: Objects, finding: store.Finding) -> Repair:
    """Write a page of parts again from its copy, or the other way round."""
    digest = finding.key.rpartition("/")[2].partition(".")[0]
    page = f"{finding.key.rpartition('.')[0]}.json"
    other = version_files.page_copy(page) if finding.key == page else page
    try:
        data = objects.read(other)
    except NotFoundError:
        return Repair(finding.key, finding.problem, "there is no copy of it; restore a backup")
    if documents.sha256(data) != digest:
        return Repair(finding.key, finding.problem, "its copy is damaged too; restore a backup")
    objects.put(finding.key, data)
    return Repair(finding.key, finding.problem)


def copies(objects: Objects, chain: store.Chain) -> Iterator[Repair]:
    """Write the copies that versions lack; those that the first release wrote have none."""
    bad = {finding.key for finding in chain.findings}
    for number, version in chain.versions.items():
        if number not in chain.copies and version_files.key_of(chain.name, number) not in bad:
            key = version_files.copy_key(chain.name, number, version.sha256)
            objects.put(key, chain.data[number])
            if version.signed:
                yield Repair(key, "the version had no copy")


def _part(objects: Objects, ref: PartRef) -> Iterator[Repair]:
    """Put a part right: first its seal, then the lists, then the objects."""
    findings = list(store.check_part(objects, ref))
    if not findings:
        return
    key, copy = seals.key_of(ref.base), seals.copy_key(ref.base)
    if problem := next((f.problem for f in findings if f.key == key), ""):
        why_not = _seal(objects, ref)
        yield Repair(key, problem, why_not)
        if why_not:
            return
        findings = list(store.check_part(objects, ref))
    (sealed,) = seals.named(objects, [ref])
    part = Part(objects, sealed)
    for finding in findings:
        if finding.key == copy:
            objects.put(copy, objects.read(key))
            yield Repair(copy, finding.problem)
    if any(f.key == f"{ref.base}.objects.json" for f in findings):
        problem = next(f.problem for f in findings if f.key == f"{ref.base}.objects.json")
        try:
            part.entries()
            yield Repair(f"{ref.base}.objects.json", problem)
        except (DpipeError, OSError, KeyError, ValueError) as error:
            yield Repair(f"{ref.base}.objects.json", problem, str(error))
            return
        findings = list(store.check_part(objects, ref))
    entries = part.entries()
    for finding in findings:
        if finding.key.startswith(f"{sealed.path}/"):
            yield Repair(finding.key, finding.problem, mended(part, finding.key, entries))
        elif finding.key.startswith(f"{ref.base}.marks/"):
            objects.delete(finding.key)
            yield Repair(finding.key, finding.problem)
        elif finding.key == seals.sources_key(ref.base):
            yield Repair(finding.key, finding.problem, part.sources())


def _seal(objects: Objects, ref: PartRef) -> str:
    """Put the copy of a seal in its place; return why not, "" if done."""
    try:
        data = objects.read(seals.copy_key(ref.base))
    except NotFoundError:
        return f"there is no copy of it; {_WAY}"
    try:
        seals.parse(objects, data, ref.base, ref.seal)
    except (DamageError, UsageError):
        return f"its copy is damaged too, or is not the one that the version names; {_WAY}"
    objects.put(seals.key_of(ref.base), data)
    return ""
