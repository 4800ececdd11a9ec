"""The ledger of sources: a digest of every small file that was read, and of regions of large ones.

While a ledger is open, ``sources`` and the readers note in it what they read. A file of at most
1 MiB is noted whole, when it is opened. Of a larger one on disk the first bytes are noted, and each
region whose bytes a reader takes. One of which no reader says what it took is noted whole: at the
end of a partition, or at the end of the part if no partition opened it. A seal names the digest of
all that, so a source that was changed while it was read, and changed back, can be told for ever.

This module knows files, bytes and digests; it knows nothing of formats.
"""

import contextlib
import hashlib
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, BinaryIO, TypedDict

SMALL = 1 << 20
"""Bytes up to which a file is noted whole."""
HEAD = 64 << 10
"""Bytes of the head of a larger file."""
_STEP = 4 << 20


class Entry(TypedDict, total=False):
    """The notes on a file, as JSON holds them.

    ``size`` and ``sha256`` are of the whole; ``regions`` are ``"START+LENGTH SHA256"`` in their
    order; a file has one of the two or both. ``changed`` (True) stands where it was not the same
    all the time.
    """

    size: int
    sha256: str
    regions: list[str]
    changed: bool


@dataclass
class _File:
    """The notes on one file."""

    path: str = ""
    stat: tuple[int, ...] = ()
    whole: tuple[int, str] | None = None
    regions: dict[tuple[int, int], str] = field(default_factory=dict)
    changed: bool = False

    def note(self, size: int, digest: str) -> None:
        self.changed |= self.whole not in (None, (size, digest))
        self.whole = (size, digest)

    def note_region(self, start: int, length: int, digest: str) -> None:
        self.changed |= self.regions.setdefault((start, length), digest) != digest

    def only_head(self) -> bool:
        """Tell whether nothing is known but the first bytes, or not even those."""
        return self.whole is None and self.regions.keys() <= {(0, HEAD)}

    def read_whole(self) -> None:
        """Note the whole file on disk; one that is gone stays as it is."""
        with contextlib.suppress(OSError), open(self.path, "rb") as file:
            self.note(os.fstat(file.fileno()).st_size, digest_of(file))

    def entry(self) -> Entry:
        """Return it as JSON holds it."""
        entry: Entry = {}
        if self.whole is not None:
            entry["size"], entry["sha256"] = self.whole
        if self.regions:
            ordered = sorted(self.regions.items())
            entry["regions"] = [f"{start}+{n} {digest}" for (start, n), digest in ordered]
        if self.changed:
            entry["changed"] = True
        return entry

    def take(self, entry: Entry) -> None:
        """Take the entry of another ledger."""
        self.changed |= bool(entry.get("changed"))
        if "sha256" in entry:
            self.note(entry["size"], entry["sha256"])
        for region in _regions(entry):
            self.note_region(*region)


class Ledger:
    """Notes on the files that one task reads."""

    def __init__(self) -> None:
        self._files: dict[str, _File] = {}
        self._uris: dict[str, str] = {}
        self._lock = threading.Lock()

    def open(self, uri: str, path: str) -> None:
        """Note a file on disk that is about to be read."""
        stat = os.stat(path)
        now = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)
        with self._lock:
            notes = self._files.setdefault(uri, _File())
            self._uris[path] = uri
        if notes.stat == now:
            return
        with open(path, "rb") as file:
            if stat.st_size <= SMALL:
                notes.note(stat.st_size, digest_of(file))
            else:
                head = file.read(HEAD)
                notes.note_region(0, len(head), hashlib.sha256(head).hexdigest())
        notes.stat, notes.path = now, path

    def whole(self, uri: str, data: bytes | memoryview) -> None:
        """Note a file that was read whole."""
        digest = hashlib.sha256(data).hexdigest()
        with self._lock:
            self._files.setdefault(uri, _File()).note(len(data), digest)

    def digest(self, uri: str, file: BinaryIO) -> None:
        """Note a file whole that is read for nothing else."""
        digest = digest_of(file)
        self._files.setdefault(uri, _File()).note(file.tell(), digest)

    def region(self, uri: str, start: int, data: Any) -> None:
        """Note some bytes of a file."""
        view = memoryview(data).cast("B")
        digest = hashlib.sha256(view).hexdigest()
        with self._lock:
            self._files.setdefault(uri, _File()).note_region(start, len(view), digest)

    def takes(self, path: str) -> bool:
        """Tell whether regions of a file on disk are noted: it is large, and was opened here."""
        return path in self._uris and self._files[self._uris[path]].whole is None

    def chunk(self, path: str, start: int, data: Any) -> None:
        """Note some bytes of a file on disk, if such are noted."""
        if self.takes(path):
            self.region(self._uris[path], start, data)

    def knows(self, uri: str) -> bool:
        """Tell whether anything is noted of a file, or of one in a folder."""
        return uri in self._files or any(noted.startswith(f"{uri}/") for noted in self._files)

    def heads(self) -> list[str]:
        """Return the URIs of which only the head is known."""
        return [uri for uri, file in sorted(self._files.items()) if file.only_head()]

    def entries(self, complete: bool = True) -> dict[str, Entry]:
        """Return an entry by URI.

        Parameters
        ----------
        complete : bool
            Whether files on disk of which only the head is known are read whole first. The ledger
            of a task after which others read regions of the same files leaves them as they are.

        Returns
        -------
        dict
            For each URI, its `Entry`.
        """
        if complete:
            for uri in self.heads():
                if self._files[uri].path:
                    self._files[uri].read_whole()
        return {uri: file.entry() for uri, file in sorted(self._files.items())}

    def take(self, entries: Mapping[str, Entry]) -> None:
        """Take the entries of another task's ledger."""
        for uri, entry in entries.items():
            self._files.setdefault(uri, _File()).take(entry)


_current: ContextVar[Ledger | None] = ContextVar("ledger", default=None)


@contextlib.contextmanager
def recording() -> Iterator[Ledger]:
    """Open a ledger in this thread, until the end."""
    ledger = Ledger()
    token = _current.set(ledger)
    try:
        yield ledger
    finally:
        _current.reset(token)


def current() -> Ledger | None:
    """Return the ledger that is open in this thread, None if nothing is noted."""
    return _current.get()


def digest_of(file: BinaryIO) -> str:
    """Return the sha256 of a file from where it stands."""
    whole = hashlib.sha256()
    while data := file.read(_STEP):
        whole.update(data)
    return whole.hexdigest()


def compared(entry: Entry, file: BinaryIO) -> str:
    """Compare a file with its entry; return the difference, "" if there is none."""
    if "sha256" in entry:
        file.seek(0)
        if digest_of(file) != entry["sha256"]:
            return "its bytes are not those that were read"
        return ""
    for start, length, digest in _regions(entry):
        file.seek(start)
        if hashlib.sha256(file.read(length)).hexdigest() != digest:
            return f"its {length} bytes from {start} on are not those that were read"
    return ""


def _regions(entry: Entry) -> Iterator[tuple[int, int, str]]:
    for text in entry.get("regions", ()):
        place, _, digest = text.partition(" ")
        start, _, length = place.partition("+")
        yield int(start), int(length), digest


def in_folders(entries: Mapping[str, Entry]) -> dict[str, dict[str, Entry]]:
    """Return entries by folder and name, as they are stored."""
    folders: dict[str, dict[str, Entry]] = {}
    for uri, entry in entries.items():
        folder, _, name = uri.rpartition("/")
        folders.setdefault(folder, {})[name] = entry
    return folders


def of_folders(stored: Mapping[str, Mapping[str, Entry]]) -> Iterable[tuple[str, Entry]]:
    """Yield URI and entry of what `in_folders` returned."""
    for folder, files in stored.items():
        for name, entry in files.items():
            yield f"{folder}/{name}" if folder else name, entry
