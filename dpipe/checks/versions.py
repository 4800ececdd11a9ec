"""Whether the version files of a dataset are whole: each alone, and as a chain."""

from dataclasses import dataclass, field

from dpipe.catalog import Version, version_files
from dpipe.errors import DamageError, StoreError, UsageError
from dpipe.storage import Objects, documents


@dataclass(frozen=True)
class Finding:
    """Something that is not as it was written: which object, and what is wrong with it."""

    key: str
    problem: str


@dataclass
class Chain:
    """The versions of a dataset, as far as they can be read, and what is wrong with them.

    Attributes
    ----------
    name : str
        The dataset.
    versions : dict of int to Version
        Those that can be read.
    data : dict of int to bytes
        What lies at each number.
    copies : dict of int to str
        Keys of the copies beside them.
    findings : list of Finding
        What is wrong.
    """

    name: str
    versions: dict[int, Version] = field(default_factory=dict)
    data: dict[int, bytes] = field(default_factory=dict)
    copies: dict[int, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def add(self, key: str, problem: str) -> None:
        """Note a finding."""
        self.findings.append(Finding(key, problem))


def chain(objects: Objects, name: str) -> Chain:
    """Read all versions of a dataset and check each, its copy, its parent and its pages."""
    there = version_files.beside(objects, name)
    found = Chain(name, copies=dict(there.copies))
    numbers = sorted(there.numbers)
    keys = [version_files.key_of(name, number) for number in numbers]
    for number, data in zip(numbers, objects.read_many(keys), strict=True):
        if not isinstance(data, StoreError):
            found.data[number] = data
            try:
                found.versions[number] = version_files.parse(objects, data, name, number)
            except (DamageError, UsageError) as error:
                found.add(version_files.key_of(name, number), str(error))
    _parents(found)
    _gaps(found)
    _copies(objects, found)
    _pages(objects, found)
    return found


def _parents(found: Chain) -> None:
    """Hold each version to the digest that the one after it names."""
    for version in found.versions.values():
        data = found.data.get(version.parent or 0)
        if data is None or not version.signed or documents.sha256(data) == version.parent_sha256:
            continue
        key = version_files.key_of(found.name, version.parent or 0)
        found.add(key, f"its digest is not the one that {version.label}, which follows it, names")


def _gaps(found: Chain) -> None:
    lost = {number for version in found.versions.values() for number in version.lost}
    last = max([*found.data, *found.copies], default=0)
    for number in range(1, last + 1):
        if number not in found.data and number not in lost:
            found.add(version_files.key_of(found.name, number), f"version {number} is gone")


def _copies(objects: Objects, found: Chain) -> None:
    """Hold each copy to its name, and each version to its copy."""
    keys = list(found.copies.values())
    for (number, key), copy in zip(found.copies.items(), objects.read_many(keys), strict=True):
        named = key.split(".")[-2]
        if isinstance(copy, bytes) and not documents.sha256(copy).startswith(named):
            found.add(key, "its bytes are not those that its name says")
        data = found.data.get(number)
        if number in found.versions and not documents.sha256(data or b"").startswith(named):
            its = version_files.key_of(found.name, number)
            found.add(its, "it is not the version that its copy says it is")


def _pages(objects: Objects, found: Chain) -> None:
    """Hold each page of parts to its name, and look for those that versions name."""
    there = {entry.key for entry in objects.below(f"datasets/{found.name}/pages/").objects}
    bad = set()
    for key, data in zip(sorted(there), objects.read_many(sorted(there)), strict=True):
        digest = key.rpartition("/")[2].partition(".")[0]
        if isinstance(data, bytes) and documents.sha256(data) != digest:
            bad.add(key)
            found.add(key, "a page of parts: its bytes are not those that its name says")
    for number, version in list(found.versions.items()):
        keys = {version_files.page_key(found.name, digest) for digest, _ in version.parts.pages}
        for key in sorted(keys - there):
            found.add(key, f"a page of parts that {version.label} names is missing")
        if keys & bad or keys - there:
            del found.versions[number]


def lost_inputs(objects: Objects, found: Chain) -> list[Finding]:
    """Name the versions that some were made from and that are gone, with their copies."""
    there: dict[str, int] = {}
    findings: dict[str, Finding] = {}
    for version in found.versions.values():
        for label in map(str, version.recipe.get("inputs", {}).values()):
            name, _, number = label.partition("@")
            if name not in there:
                beside = version_files.beside(objects, name)
                there[name] = max({*beside.numbers, *beside.copies}, default=0)
            if number.isdecimal() and int(number) > there[name]:
                key = version_files.key_of(name, int(number))
                told = f"{version.label} was made from {label}, which is gone, with its copy"
                findings[key] = Finding(key, told)
    return list(findings.values())
