"""Where foreign files come from: paths, folders, globs, buckets, HTTPS and Zenodo records.

A source is a text that a person wrote in a recipe; an item is one file found there, with a URI
that ``opened`` takes in any process. Files in a bucket are read in place; files of a web server or
a repository are downloaded once into a cache folder (``DPIPE_CACHE``), resumed and checked.

A wrong text is a ``UsageError``; a file that is gone or has a wrong checksum an ``InputError``; a
fault of network, server or credential is a ``StoreError`` and blames no input.

This module knows nothing of formats or datasets.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator

from dpipe.errors import InputError, UsageError
from dpipe.sources import archives, listing
from dpipe.sources.addresses import resolve_uri, scheme_of
from dpipe.sources.cache import cache_folder, fetch
from dpipe.sources.http import ask_web
from dpipe.sources.items import Item
from dpipe.sources.listing import (
    Entry,
    Oddities,
    fits,
    is_hidden,
    list_bucket,
    list_folder,
    natural_key,
)
from dpipe.sources.zenodo import resolve_record
from dpipe.storage import safe_key


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


def walk_items(*sources: str | os.PathLike[str], odd: Oddities | None = None) -> Iterator[Item]:
    """Yield the files of some sources as they are found, each once: `list_items` without order.

    No item is kept, and 16 bytes of each only where one may be found twice.
    """
    texts = [resolve_uri(source) for source in sources]
    listed = (item for text in texts for item in _walk(text, odd or Oddities()))
    if len(texts) == 1 and "**" not in texts[0]:
        yield from listed
        return
    seen: set[bytes] = set()
    for item in listed:
        digest = hashlib.blake2b(os.fsencode(item.uri), digest_size=16).digest()
        if digest not in seen:
            seen.add(digest)
            yield item


def _walk(text: str, odd: Oddities) -> Iterator[Item]:
    scheme, oddities = scheme_of(text), Oddities()
    if scheme == "zenodo":
        listed: Iterable[Item] = _list_zenodo(text)
    elif scheme in ("http", "https"):
        listed = _list_web(text)
    else:
        entries = list_bucket(text) if scheme else list_folder(text, oddities)
        listed = map(_item, entries)
    any_shown = False
    for item in listed:
        if not any(map(is_hidden, item.path.split("/"))):
            any_shown = True
            yield item
    odd.empty |= oddities.empty
    odd.dangling |= oddities.dangling
    if not any_shown:
        raise UsageError(f"source {text}: {listing.nothing_at(text, oddities)}")


def _item(entry: Entry) -> Item:
    uri, path, size, etag, stamp = entry
    return Item(uri, path, size, etag, stamp=stamp)


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
    if not archives.is_archive(item.path):
        yield item
        return
    try:
        archives.check(item.path)
    except InputError as error:
        raise UsageError(f"{item.uri}: {error}") from error
    path = fetch(item.uri, cache_folder())
    yield from map(_item, list_folder(str(path), Oddities()))
