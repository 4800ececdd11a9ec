"""Whether the version files of a dataset are whole: each alone, and as a chain."""

from dataclasses import dataclass, field

from dpipe.catalog import Version, version_files
from dpipe.errors import DamageError, StoreError, UsageError
from dpipe.storage import Objects, documents


@dataclass(frozen=True)
class Finding:
    """An object that is not as it was written, and the problem with it."""

    key: str
    problem: str


@dataclass
class Chain:
    """The versions of a dataset, as far as they can be read, and the findings on them.

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
    beside = version_files.beside(objects, name)
    version_chain = Chain(name, copies=dict(beside.copies))
    numbers = sorted(beside.numbers)
    keys = [version_files.key_of(name, number) for number in numbers]
    for number, data in zip(numbers, objects.read_many(keys), strict=True):
        if not isinstance(data, StoreError):
            version_chain.data[number] = data
            try:
                version_chain.versions[number] = version_files.parse(objects, data, name, number)
            except (DamageError, UsageError) as error:
                version_chain.add(version_files.key_of(name, number), str(error))
    _parents(version_chain)
    _gaps(version_chain)
    _copies(objects, version_chain)
    _pages(objects, version_chain)
    return version_chain


def _parents(chain: Chain) -> None:
    """Hold each version to the digest that the one after it names."""
    for version in chain.versions.values():
        data = chain.data.get(version.parent or 0)
        if data is None or not version.signed or documents.sha256(data) == version.parent_sha256:
            continue
        key = version_files.key_of(chain.name, version.parent or 0)
        chain.add(key, f"its digest is not the one that {version.label}, which follows it, names")


def _gaps(chain: Chain) -> None:
    lost = {number for version in chain.versions.values() for number in version.lost}
    last = max([*chain.data, *chain.copies], default=0)
    for number in range(1, last + 1):
        if number not in chain.data and number not in lost:
            chain.add(version_files.key_of(chain.name, number), f"version {number} is gone")


def _copies(objects: Objects, chain: Chain) -> None:
    """Hold each copy to its name, and each version to its copy."""
    keys = list(chain.copies.values())
    for (number, key), copy in zip(chain.copies.items(), objects.read_many(keys), strict=True):
        named = key.split(".")[-2]
        if isinstance(copy, bytes) and not documents.sha256(copy).startswith(named):
            chain.add(key, "its bytes are not those that its name says")
        data = chain.data.get(number)
        if number in chain.versions and not documents.sha256(data or b"").startswith(named):
            its = version_files.key_of(chain.name, number)
            chain.add(its, "it is not the version that its copy says it is")


def _pages(objects: Objects, chain: Chain) -> None:
    """Hold each page of parts to its name, and look for those that versions name."""
    stored = {entry.key for entry in objects.below(f"datasets/{chain.name}/pages/").objects}
    bad = set()
    for key, data in zip(sorted(stored), objects.read_many(sorted(stored)), strict=True):
        digest = key.rpartition("/")[2].partition(".")[0]
        if isinstance(data, bytes) and documents.sha256(data) != digest:
            bad.add(key)
            chain.add(key, "a page of parts: its bytes are not those that its name says")
    for number, version in list(chain.versions.items()):
        keys = {version_files.page_key(chain.name, digest) for digest, _ in version.parts.pages}
        for key in sorted(keys - stored):
            chain.add(key, f"a page of parts that {version.label} names is missing")
        if keys & bad or keys - stored:
            del chain.versions[number]


def lost_inputs(objects: Objects, chain: Chain) -> list[Finding]:
    """Return a finding for each version that is an input of another and gone, with its copy."""
    newest: dict[str, int] = {}
    findings: dict[str, Finding] = {}
    for version in chain.versions.values():
        for label in map(str, version.recipe.get("inputs", {}).values()):
            name, _, number = label.partition("@")
            if name not in newest:
                beside = version_files.beside(objects, name)
                newest[name] = max({*beside.numbers, *beside.copies}, default=0)
            if number.isdecimal() and int(number) > newest[name]:
                key = version_files.key_of(name, int(number))
                problem = f"{version.label} was made from {label}, which is gone, with its copy"
                findings[key] = Finding(key, problem)
    return list(findings.values())
