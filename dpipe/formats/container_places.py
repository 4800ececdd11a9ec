"""The bytes of foreign containers, in a folder, a bucket or an archive: looked at, then read.

What is no file (a device, a pipe) or is larger than it can rightly be is not read; JSON is bounded
in size and depth. It knows nothing of arrays.
"""

import json
import os
import re
import stat
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np

from dpipe import ledger, sources
from dpipe.errors import InputError, NotFoundError, UsageError
from dpipe.schema import Attributes
from dpipe.storage import open_objects, safe_key

LARGEST_JSON = 16 << 20
DEEPEST_JSON = 64
_ARCHIVES = (".zip", ".ozx", ".tar")
_METADATA = ("zarr.json", ".zgroup", ".zattrs", ".zarray")
_QUOTED = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)


class Place(Protocol):
    """A container as bytes by key; what is larger than it can rightly be is not read."""

    url: str
    packed: bool

    def read(self, key: str) -> bytes:
        """Return the bytes at a key; NotFoundError if there are none."""

    def read_range(self, key: str, start: int, stop: int) -> bytes:
        """Return some of them."""

    def size(self, key: str) -> int:
        """Return how many there are."""

    def list(self, prefix: str) -> Iterator[tuple[str, int, str]]:
        """Yield key, size and what changes with the bytes, of what begins with a prefix."""


def place_at(uri: str, largest: int = LARGEST_JSON) -> Place:
    """Return a container by its URI; no object of more than `largest` bytes is read in it."""
    named = any(name.lower().endswith(_ARCHIVES) for name in uri.split("/"))
    if not named or os.path.isdir(uri):
        return _Plain(uri, largest)
    names = uri.split("/")
    for i in range(len(names), 0, -1):
        file = "/".join(names[:i])
        if os.path.isfile(file):
            status = os.stat(file)
            return _packed(uri, largest, status.st_size, status.st_mtime_ns)
    return _Packed(uri, largest)  # in a bucket: asked anew each time


class _Plain:
    """A folder, or a prefix of a bucket."""

    packed = False

    def __init__(self, uri: str, largest: int) -> None:
        self.url, self._largest = uri, largest
        self._objects = open_objects(uri)
        self._folder = None if "://" in self._objects.url else self._objects.url

    def read(self, key: str) -> bytes:
        self._look_at(key)
        data = self._objects.read_range(key, 0, self._largest + 1)
        if len(data) > self._largest:
            raise _too_large(key, self._largest)
        return data

    def read_range(self, key: str, start: int, stop: int) -> bytes:
        self._look_at(key)
        return self._objects.read_range(key, start, stop)

    def size(self, key: str) -> int:
        return self._objects.size(key)

    def list(self, prefix: str) -> Iterator[tuple[str, int, str]]:
        for item in self._objects.list(prefix):
            yield item.key, item.size, item.etag or str(item.mtime)

    def _look_at(self, key: str) -> None:
        """Refuse what is no file, which may have no end."""
        if self._folder is None:
            return
        try:
            mode = os.stat(f"{self._folder}/{safe_key(key)}").st_mode
        except OSError:
            return  # reading will tell
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise InputError(f"{key} is a device or a pipe, no file; it is not read")


class _Packed:
    """An archive, or a folder in one; the file that was read last is kept."""

    packed = True

    def __init__(self, uri: str, largest: int) -> None:
        self.url, self._largest = uri, largest
        self._last = ("", b"")
        try:
            items = sources.walk_items(uri)
            self._names = {item.uri.removeprefix(f"{uri}/"): item.size for item in items}
        except UsageError as error:
            raise InputError(str(error)) from error

    def read(self, key: str) -> bytes:
        if self.size(key) > self._largest:
            raise _too_large(key, self._largest)
        last, data = self._last
        if last != key:
            with sources.opened(f"{self.url}/{key}") as file:
                data = Path(file).read_bytes() if isinstance(file, str) else file.read()
            self._last = (key, data)
        return data

    def read_range(self, key: str, start: int, stop: int) -> bytes:
        return self.read(key)[start:stop]

    def size(self, key: str) -> int:
        if key not in self._names:
            raise NotFoundError(f"{self.url}/{key}: no such file in the archive")
        return self._names[key]

    def list(self, prefix: str) -> Iterator[tuple[str, int, str]]:
        return ((key, n, "") for key, n in self._names.items() if key.startswith(prefix))


@lru_cache(maxsize=8)
def _packed(uri: str, largest: int, *_version: int) -> _Packed:
    return _Packed(uri, largest)


def _too_large(key: str, largest: int) -> InputError:
    return InputError(f"{key} is larger than {largest} bytes, which it cannot rightly be")


def groups_in(place: Place) -> list[str]:
    """Return the outermost folders of an archive that hold a Zarr group; "" is its root."""
    keys = (key.rpartition("/") for key, *_ in place.list(""))
    folders = {folder for folder, _, name in keys if name in _METADATA}
    return sorted(
        folder
        for folder in folders
        if not any(other != folder and _is_below(folder, other) for other in folders)
    )


def _is_below(folder: str, other: str) -> bool:
    return other == "" or folder.startswith(f"{other}/")


# --- JSON -------------------------------------------------------------------------------------


def read_json(place: Place, key: str, where: str) -> tuple[bytes, Attributes]:
    """Read a JSON object whose size, depth and kind of file are looked at first.

    Parameters
    ----------
    place : Place
        Where it lies; nothing larger than `LARGEST_JSON` may be read there.
    key, where : str
        Its key, and what messages call it.

    Returns
    -------
    tuple of bytes and dict
        As it lies, and what it says.

    Raises
    ------
    NotFoundError
        There is none.
    InputError
        It is no file, too large, nested too deeply, no JSON, or no object.
    """
    try:
        document = place.read(key)
    except InputError as error:
        raise InputError(f"{where}: its metadata are damaged: {error}") from error
    if (notes := ledger.current()) is not None:
        notes.whole(f"{place.url}/{key}", document)
    try:
        text = document.decode("utf-8-sig")
        signs = np.frombuffer(_QUOTED.sub("", text).encode("latin-1", "replace"), np.uint8)
        steps = np.isin(signs, (91, 123)).astype(np.int64) - np.isin(signs, (93, 125))
        if (depth := int(steps.cumsum().max(initial=0))) > DEEPEST_JSON:
            raise InputError(
                f"{where}: its metadata are damaged: {depth} brackets inside each other; at most "
                f"{DEEPEST_JSON} are read"
            )
        parsed = json.loads(text)
    except InputError:
        raise
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: its metadata are damaged: no JSON ({error})") from error
    if not isinstance(parsed, dict):
        raise InputError(
            f"{where}: its metadata are damaged: found {type(parsed).__name__}, expected "
            "a JSON object"
        )
    return document, parsed
