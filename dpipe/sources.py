"""Where foreign files come from: paths, folders, globs, buckets, HTTPS and Zenodo records.

A source is a text that a person wrote in a recipe; an item is one file found there, with a URI
that ``opened`` takes in any process. Files in a bucket are read in place; files of a web server or
a repository are downloaded once into a cache folder (``DPIPE_CACHE``), resumed and checked.

A wrong text is a ``UsageError``; a file that is gone or has a wrong checksum an ``InputError``; a
fault of network, server or credential is a ``StoreError`` and blames no input.

This module knows nothing of formats or datasets.
"""

import contextlib
import hashlib
import io
import os
import re
import urllib.parse
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast

from dpipe import _archive, _listing, ledger
from dpipe._archive import bucket_of
from dpipe._download import ask_web, download, is_safe
from dpipe._items import Item, Part, one_each, stem_of
from dpipe._listing import (
    Found,
    Oddities,
    fits,
    is_hidden,
    list_bucket,
    list_folder,
    natural_key,
)
from dpipe._remote import Remote, in_turn
from dpipe._zenodo import address, get_record, resolve_record
from dpipe.errors import GoneError, InputError, NotFoundError, StoreError, UsageError
from dpipe.objects import safe_key

__all__ = [
    "Item",
    "Oddities",
    "Part",
    "cache_folder",
    "fetch",
    "list_items",
    "natural_key",
    "one_each",
    "opened",
    "read_many",
    "resolve_record",
    "resolve_uri",
    "safe_key",
    "stem_of",
    "walk_items",
]

_BUCKETS = ("s3", "anon+s3", "memory")
_KNOWN = "a path, s3://, anon+s3://, memory://, https:// or zenodo:RECORD/file"
_SECRET = re.compile(r"signature|token|secret|passw|credential|api_?key|\bsig=", re.IGNORECASE)


def resolve_uri(uri: str | os.PathLike[str]) -> str:
    """Check a path or URL that a person wrote, and return its one spelling.

    Parameters
    ----------
    uri : str or path
        A path (relative ones are of the working folder), ``file:///``, ``s3://``, ``anon+s3://``,
        ``memory://``, ``https://`` or ``zenodo:RECORD[/file]``; globs are left as they are.

    Returns
    -------
    str
        An absolute path, or the URL.

    Raises
    ------
    UsageError
        Another scheme, a chain (``::``), a credential, or ``..``, a backslash or a control
        character in a URL.

    Examples
    --------
    >>> resolve_uri("file:///data/./Neu1.ims"), resolve_uri("zenodo:13787839/Neu1.ims")
    ('/data/Neu1.ims', 'zenodo:13787839/Neu1.ims')
    """
    text = os.fspath(uri)
    scheme = _scheme(text)
    if not text or "\0" in text or "::" in text:
        raise UsageError(f"source {text!r}: empty, a chain (::) or a NUL; expected {_KNOWN}")
    if scheme in ("", "file"):
        return _listing.on_disk(text.removeprefix("file://"))
    rest = text.removeprefix(scheme + ":").removeprefix("//")
    host, _, path = rest.partition("/")
    if scheme not in (*_BUCKETS, "https", "http", "zenodo"):
        raise UsageError(f"source scheme {scheme + ':'!r} is not known; expected {_KNOWN}")
    if "@" in host or _SECRET.search(text.partition("?")[2]):
        raise UsageError(
            f"source {scheme}://...: it holds a credential; keep those in the environment"
        )
    if "\\" in text or not text.isprintable() or ".." in path.split("/") or not host:
        raise UsageError(f"source {text!r}: '..', a backslash or no name; expected {_KNOWN}")
    if scheme == "zenodo" and not host.isdigit():
        raise UsageError(
            f"source {text!r}: expected zenodo:RECORD/file with the record's number, which stands "
            "after 'zenodo.' in its DOI"
        )
    if scheme in ("http", "https"):
        try:
            if is_safe(text):
                return text
        except ValueError as error:
            raise UsageError(f"source {text!r}: no address of a server: {error}") from error
        raise UsageError(f"source {text!r}: http is not safe; use https")
    return text


def list_items(source: str | os.PathLike[str], odd: Oddities | None = None) -> list[Item]:
    """List the files of a source, in natural order.

    Parameters
    ----------
    source : str or path
        A file, a folder (searched to its depth), or a glob with ``*``, ``?``, ``[...]`` and
        ``**``, on disk, in a bucket or in memory; a zip or tar on disk, a zip in a bucket, a path
        in it, or a glob that ends in ``.zip`` or ``.tar``, which stand for the files inside; an
        HTTPS address of one file; a Zenodo record, whole or with a file's name or a glob after a
        slash. An old record stands for its latest version, which the items name. An archive that
        is named so is downloaded, and its files listed.
    odd : Oddities, optional
        Takes what is odd: folders on disk in which there is nothing, links that lead nowhere.

    Returns
    -------
    list of Item
        At least one. Hidden files and ``.tmp`` and ``.partial`` files are left out.

    Raises
    ------
    UsageError
        The text is no source, or nothing is there.
    StoreError
        The disk, the network, a server or a credential failed.
    """
    return sorted(walk_items(source, odd=odd), key=lambda item: natural_key(item.path))


def walk_items(*given: str | os.PathLike[str], odd: Oddities | None = None) -> Iterator[Item]:
    """Yield the files of some sources as they are found, each once: `list_items` without order.

    No item is kept, and 16 bytes of each only where one may be found twice.
    """
    texts = [resolve_uri(one) for one in given]
    listed = (item for text in texts for item in _walk(text, odd or Oddities()))
    if len(texts) == 1 and "**" not in texts[0]:
        yield from listed
        return
    seen: set[bytes] = set()
    for item in listed:
        known = hashlib.blake2b(os.fsencode(item.uri), digest_size=16).digest()
        if known not in seen:
            seen.add(known)
            yield item


def _walk(text: str, odd: Oddities) -> Iterator[Item]:
    scheme, own = _scheme(text), Oddities()
    if scheme == "zenodo":
        listed: Iterable[Item] = _list_zenodo(text)
    elif scheme in ("http", "https"):
        listed = _list_web(text)
    else:
        found = list_bucket(text) if scheme else list_folder(text, own)
        listed = map(_item, found)
    some = False
    for item in listed:
        if not any(map(is_hidden, item.path.split("/"))):
            some = True
            yield item
    odd.empty |= own.empty
    odd.dangling |= own.dangling
    if not some:
        raise UsageError(f"source {text}: {_listing.nothing_at(text, own)}")


def _item(found: Found) -> Item:
    uri, path, size, etag, stamp = found
    return Item(uri, path, size, etag, stamp=stamp)


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
    return in_turn(partial(_read, take=take), uris, lambda uri: in_flight * _is_remote(uri))


def _read[T](uri: str, take: Callable[[BinaryIO], T]) -> T | InputError:
    try:
        if _is_remote(uri) and _archive.split(uri) is None:
            places, key = bucket_of(uri)
            data = places.read(key)
            if (notes := ledger.current()) is not None:
                notes.whole(uri, data)
            return take(io.BytesIO(data))
        if (file := _on_disk(uri)) is not None:
            with file:
                return take(cast("BinaryIO", file))
        with opened(uri) as found:
            if not isinstance(found, str):
                return take(found)
            with open(found, "rb", buffering=0) as file:
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
    """Open a file by its path, which is most of what `opened` does; None for all else."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return open(uri, "rb", buffering=0) if uri.startswith("/") else None
    return None


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
    scheme = _scheme(text)
    inside = _archive.split(text) if scheme in ("", *_BUCKETS) else None
    notes = ledger.current()
    if inside is not None and inside[1]:
        data = _archive.read(*inside)
        if notes is not None:
            notes.whole(text, data)
        yield io.BytesIO(data)
        return
    if scheme not in _BUCKETS:
        path = fetch(text, cache_folder()) if scheme else Path(text)
        if not path.exists():
            raise GoneError(f"{text}: no such file; it was there when the source was listed")
        _listing.check_file(text, path)
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


def fetch(uri: str, folder: str | os.PathLike[str]) -> Path:
    """Download a file of a web server or repository into a folder, unless it is there.

    Parameters
    ----------
    uri : str
        ``https://...``, where ``#sha256=...`` or ``#md5=...`` may say the checksum, or
        ``zenodo:RECORD/file``; exactly that record, not a later version. A web server is asked
        each time whether the file is still the same.
    folder : str or path
        The file lands in a folder of its record or host below it. A broken download is resumed;
        two processes do not both download.

    Returns
    -------
    pathlib.Path
        The file, whole and with the checksum that the repository gives.

    Raises
    ------
    UsageError
        No such URI, or a record that has no such file.
    InputError
        The file is gone from its server, or its size or checksum is wrong twice.
    StoreError
        The network, the server, a credential or the local disk failed.
    """
    text = resolve_uri(uri)
    if _scheme(text) == "zenodo":
        record, _, name = text.removeprefix("zenodo:").partition("/")
        host = urllib.parse.urlsplit(address()).netloc.replace(":", "-")
        path = Path(folder) / host / record / safe_key(name)
        if path.exists():  # a published record does not change
            return path
        known = {file["name"]: file for file in get_record(record)["files"]}
        if name not in known:
            raise UsageError(f"{text}: no such file; the record has {', '.join(known) or 'none'}")
        file = known[name]
        download(file["url"], path, size=file["size"], checksum=file["checksum"], tag="")
        return path
    if _scheme(text) not in ("http", "https"):
        raise UsageError(f"{text}: expected https:// or zenodo:RECORD/file")
    item, (url, _, said) = ask_web(text), text.partition("#")
    checksum = said.replace("=", ":", 1) if said.startswith(("md5=", "sha256=")) else ""
    host = urllib.parse.urlsplit(url).netloc.replace(":", "-")
    one = hashlib.sha256(f"{text} {item.size} {item.etag}".encode()).hexdigest()[:16]
    path = Path(folder) / host / one / safe_key(item.path)
    size = None if item.size < 0 else item.size
    download(url, path, size=size, checksum=checksum, tag=item.etag)
    return path


def cache_folder() -> Path:
    """Return the folder of downloads: ``DPIPE_CACHE``, by default ``~/.cache/dpipe``."""
    return Path(os.environ.get("DPIPE_CACHE") or "~/.cache/dpipe").expanduser().absolute()


def _scheme(text: str) -> str:
    """Return what stands before ``:`` of a URL, "" for a path."""
    match = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):", text)
    if not match or (not text.startswith(match[0] + "//") and Path(text).exists()):
        return ""
    return match[1].lower()


def _is_remote(uri: str) -> bool:
    return _scheme(uri) in _BUCKETS


def _list_zenodo(text: str) -> Iterator[Item]:
    asked, _, pattern = text.removeprefix("zenodo:").partition("/")
    record = resolve_record(asked)
    for file in record["files"]:
        name = safe_key(file["name"])
        if name == pattern or not pattern or fits(name.split("/"), pattern.split("/")):
            item = Item(f"zenodo:{record['resolved']}/{name}", name, file["size"], file["checksum"])
            yield from _fetched(item) if name == pattern else [item]


def _list_web(text: str) -> Iterator[Item]:
    try:
        yield from _fetched(ask_web(text))
    except InputError as error:
        raise UsageError(str(error)) from error


def _fetched(item: Item) -> Iterator[Item]:
    """Yield the files of an archive that was named, downloaded for it; any other file as it is."""
    if not _archive.is_archive(item.path):
        yield item
        return
    try:
        _archive.check(item.path)
    except InputError as error:
        raise UsageError(f"{item.uri}: {error}") from error
    path = fetch(item.uri, cache_folder())
    yield from map(_item, list_folder(str(path), Oddities()))
