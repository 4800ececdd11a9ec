"""Files of sources, opened where they are: on disk, in a bucket, inside an archive, or cached."""

import contextlib
import io
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast

from dpipe import ledger
from dpipe.errors import GoneError, InputError, NotFoundError, StoreError
from dpipe.sources import archives, listing
from dpipe.sources.addresses import BUCKETS, is_remote, resolve_uri, scheme_of
from dpipe.sources.archives import bucket_of
from dpipe.sources.cache import cache_folder, fetch
from dpipe.sources.remote_file import Remote, in_turn


def read_many[T](
    uris: Iterable[str], take: Callable[[BinaryIO], T], *, in_flight: int = 64
) -> Iterator[T | InputError]:
    """Read many small files, in order; those of a bucket many at a time.

    Parameters
    ----------
    uris : iterable of str
        ``Item.uri`` of each.
    take : callable
        Gets the open file, on disk without a buffer, and returns what is wanted of it.
    in_flight : int
        Requests that wait for an answer at once; of files on disk one is read after the other.

    Yields
    ------
    T or InputError
        What `take` returned, or what is wrong with that file, for example that it is gone.

    Raises
    ------
    StoreError
        The network, a server, a credential or the disk failed.
    """
    return in_turn(partial(_read, take=take), uris, lambda uri: in_flight * is_remote(uri))


def _read[T](uri: str, take: Callable[[BinaryIO], T]) -> T | InputError:
    try:
        if is_remote(uri) and archives.split(uri) is None:
            places, key = bucket_of(uri)
            data = places.read(key)
            if (notes := ledger.current()) is not None:
                notes.whole(uri, data)
            return take(io.BytesIO(data))
        if (file := _on_disk(uri)) is not None:
            with file:
                return take(cast("BinaryIO", file))
        with opened(uri) as source:
            if not isinstance(source, str):
                return take(source)
            with open(source, "rb", buffering=0) as file:
                return take(cast("BinaryIO", file))
    except NotFoundError:
        return GoneError("gone; it was there when the source was listed")
    except InputError as error:
        return error
    except OSError as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(f"{uri}: cannot be read: {error.strerror or error}") from error


def _on_disk(uri: str) -> io.FileIO | None:
    """Open a file by its path, which is most of what `opened` does; None for all else.

    A pipe or a device, which may have no end, is left to `opened`, which refuses it.
    """
    if not uri.startswith("/"):
        return None
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        file = open(uri, "rb", buffering=0, opener=_without_waiting)  # noqa: SIM115 - who asks closes
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return file
        file.close()
    return None


def _without_waiting(path: str, flags: int) -> int:
    """Open a file; a pipe without waiting for who writes into it."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


@contextlib.contextmanager
def opened(uri: str) -> Iterator[str | BinaryIO]:
    """Open an item for a reader.

    Parameters
    ----------
    uri : str
        ``Item.uri``.

    Yields
    ------
    str or binary file
        A local path, where the file is on disk or was downloaded; else a seekable file that is
        closed at the end.

    Raises
    ------
    InputError
        The file is gone, or is a device or a pipe, which may have no end.
    StoreError
        The network, a server or a credential failed.
    """
    text = resolve_uri(uri)
    scheme = scheme_of(text)
    inside = archives.split(text) if scheme in ("", *BUCKETS) else None
    notes = ledger.current()
    if inside is not None and inside[1]:
        data = archives.read(*inside)
        if notes is not None:
            notes.whole(text, data)
        yield io.BytesIO(data)
        return
    if scheme not in BUCKETS:
        path = fetch(text, cache_folder()) if scheme else Path(text)
        if not path.exists():
            raise GoneError(f"{text}: no such file; it was there when the source was listed")
        listing.check_file(text, path)
        if notes is not None and path.is_file():
            notes.open(text, str(path))
        yield str(path)
        return
    places, key = bucket_of(text)
    try:
        size = places.size(key)
    except NotFoundError as error:
        raise GoneError(f"{text}: no such object; is it deleted?") from error
    with Remote(places, key, size, text) as file:
        yield file
