"""The provenance of a part in its seal: spec, software, machine and person.

What does not change while a process lives is found once.
"""

import hashlib
import os
import platform
import socket
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import NotRequired, TypedDict

from dpipe.catalog.refs import PartRef
from dpipe.sources import ItemFields
from dpipe.storage import Json

_LIBRARIES = ("dask", "distributed", "h5py", "numcodecs", "numpy", "scipy", "xarray", "zarr")
_ROOT = Path(__file__).parents[1]
"""The folder of the package."""


class InputFields(TypedDict):
    """A sealed part as the spec of another names it, of which it is an input."""

    stem: str
    fingerprint: str
    base: str
    seal: NotRequired[str]


class SpecFields(TypedDict):
    """A part's spec as plans, marks and seals hold it; see ``dpipe.build.PartSpec``.

    ``made`` is the call of an operator that made what was saved from memory, where one is known.
    """

    kind: str
    name: str
    version: int
    params: Json
    items: Sequence[ItemFields]
    inputs: dict[str, list[InputFields]]
    said: Json
    levels: int | None
    device: str
    code: NotRequired[str]
    attempt: NotRequired[int]
    made: NotRequired[Json]


class Software(TypedDict):
    """The software that made a part; "" for a version that cannot be known."""

    dpipe: str
    python: str
    libraries: dict[str, str]
    lock: str
    environment: str
    git: str
    source: str


class Machine(TypedDict):
    """The machine on which a part was made; "" for a name that cannot be known."""

    machine: str
    processor: str
    host: str


class Provenance(Software, Machine):
    """How a part came to be; see `provenance`. An earlier dpipe wrote less."""

    origin: SpecFields
    partitions: int
    seconds: float
    author: str
    run: str


def input_fields(ref: PartRef) -> InputFields:
    """Return a part as the spec of another names it."""
    return InputFields(stem=ref.stem, fingerprint=ref.fingerprint, base=ref.base, seal=ref.seal)


def provenance(
    spec: SpecFields, who: Mapping[str, str], *, partitions: int, seconds: float
) -> Provenance:
    """Return the provenance of a part.

    Parameters
    ----------
    spec : SpecFields
        Its spec.
    who : mapping
        ``author`` and ``run``, as far as they are known.
    partitions : int
        In how many it was made.
    seconds : float
        How long that took.

    Returns
    -------
    dict
        ``origin``, ``partitions``, ``seconds``, ``author``, ``run``; ``dpipe``, ``python``,
        ``libraries`` (versions), ``lock`` (digest of the lock file beside the code, or
        ``DPIPE_LOCK``), ``environment`` (digest of names and versions of all that is installed),
        ``git`` (commit of the code, or ``DPIPE_GIT_REVISION``), ``source`` (digest of dpipe's own
        code); ``machine``, ``processor``, ``host``. What cannot be known is "".
    """
    return {
        "origin": spec.copy(),
        "partitions": partitions,
        "seconds": round(seconds, 3),
        "author": who.get("author", ""),
        "run": who.get("run", ""),
        **_software(),
        **_machine(),
    }


@cache
def _software() -> Software:
    installed = {d.metadata["Name"] or "": d.version for d in metadata.distributions()}
    names = {name.lower().replace("_", "-"): version for name, version in installed.items()}
    listed = "\n".join(f"{name}=={version}" for name, version in sorted(names.items()))
    return {
        "dpipe": names.get("dpipe", ""),
        "python": platform.python_version(),
        "libraries": {name: names.get(name, "") for name in _LIBRARIES},
        "lock": os.environ.get("DPIPE_LOCK") or _digest(_ROOT.parent / "requirements.lock"),
        "environment": hashlib.sha256(listed.encode()).hexdigest(),
        "git": os.environ.get("DPIPE_GIT_REVISION") or _commit(_ROOT.parent / ".git"),
        "source": _sources(),
    }


@cache
def _machine() -> Machine:
    return {
        "machine": platform.machine(),
        "processor": _processor(),
        "host": socket.gethostname(),
    }


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def _sources() -> str:
    """Return the digest of dpipe's own code: a commit does not cover edits since."""
    whole = hashlib.sha256()
    for path in sorted(_ROOT.rglob("*.py")):
        whole.update(f"{path.relative_to(_ROOT).as_posix()} {_digest(path)}\n".encode())
    return whole.hexdigest()


def _commit(folder: Path) -> str:
    """Return the commit that a clone stands at, read as git keeps it."""
    try:
        if folder.is_file():  # a work tree of its own names the folder
            folder = folder.parent / folder.read_text().partition(":")[2].strip()
        head = (folder / "HEAD").read_text().strip()
        if not head.startswith("ref: "):
            return head
        name = head.removeprefix("ref: ")
        common = folder / "commondir"
        root = folder / common.read_text().strip() if common.is_file() else folder
        if (root / name).is_file():
            return (root / name).read_text().strip()
        lines = (root / "packed-refs").read_text().splitlines()
        return next((line.split()[0] for line in lines if line.endswith(f" {name}")), "")
    except (OSError, UnicodeDecodeError):
        return ""


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor())
