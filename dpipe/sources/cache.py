"""The cache folder: files of web servers and repositories, each downloaded once and checked."""

import hashlib
import os
import urllib.parse
from pathlib import Path

from dpipe.errors import UsageError
from dpipe.sources.addresses import resolve_uri, scheme_of
from dpipe.sources.http import ask_web, download
from dpipe.sources.zenodo import address, get_record
from dpipe.storage import safe_key


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
    if scheme_of(text) == "zenodo":
        record, _, name = text.removeprefix("zenodo:").partition("/")
        host = urllib.parse.urlsplit(address()).netloc.replace(":", "-")
        path = Path(folder) / host / record / safe_key(name)
        if path.exists():  # a published record does not change
            return path
        files = {file["name"]: file for file in get_record(record)["files"]}
        if name not in files:
            raise UsageError(f"{text}: no such file; the record has {', '.join(files) or 'none'}")
        file = files[name]
        download(file["url"], path, size=file["size"], checksum=file["checksum"], tag="")
        return path
    if scheme_of(text) not in ("http", "https"):
        raise UsageError(f"{text}: expected https:// or zenodo:RECORD/file")
    item, (url, _, fragment) = ask_web(text), text.partition("#")
    checksum = fragment.replace("=", ":", 1) if fragment.startswith(("md5=", "sha256=")) else ""
    host = urllib.parse.urlsplit(url).netloc.replace(":", "-")
    digest = hashlib.sha256(f"{text} {item.size} {item.etag}".encode()).hexdigest()[:16]
    path = Path(folder) / host / digest / safe_key(item.path)
    size = None if item.size < 0 else item.size
    download(url, path, size=size, checksum=checksum, tag=item.etag)
    return path


def cache_folder() -> Path:
    """Return the folder of downloads: ``DPIPE_CACHE``, by default ``~/.cache/dpipe``."""
    return Path(os.environ.get("DPIPE_CACHE") or "~/.cache/dpipe").expanduser().absolute()
