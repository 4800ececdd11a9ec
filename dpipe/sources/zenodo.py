"""Zenodo records: their files, sizes and checksums, and which version is the latest.

It knows the public API and moves no file. The address of the server is ``DPIPE_ZENODO_URL``, by
default https://zenodo.org; no file is taken from another one.
"""

import functools
import hashlib
import json
import os
import urllib.parse
from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict

from dpipe.errors import InputError, StoreError, UsageError
from dpipe.sources.http import read_all


class RecordFile(TypedDict):
    """A file of a record; its checksum is ``"md5:..."``, "" where none is known."""

    name: str
    size: int
    checksum: str
    url: str


class Record(TypedDict):
    """A record, as far as it is needed here; see `resolve_record`."""

    asked: NotRequired[str]
    resolved: str
    doi: str
    title: str
    license: str
    files: list[RecordFile]
    is_last: NotRequired[bool]


def resolve_record(record: str | int) -> Record:
    """Ask Zenodo for the latest version of a record.

    Parameters
    ----------
    record : str or int
        Number of a record, of an older version of it, or of the concept of all its versions.

    Returns
    -------
    dict
        ``asked``, ``resolved`` (numbers as text), ``doi``, ``title``, ``license`` and ``files``,
        a list of dicts with ``name``, ``size``, ``checksum`` (``"md5:..."``) and ``url``.

    Raises
    ------
    UsageError
        No such record.
    StoreError
        Zenodo cannot be reached, or its answer is not understood.
    """
    latest = get_record(str(record))
    if not latest["is_last"]:
        latest = get_record(f"{latest['resolved']}/versions/latest")
    resolved = latest.copy()
    del resolved["is_last"]
    return {**resolved, "asked": str(record)}


def get_record(record: str) -> Record:
    """Ask Zenodo for exactly one record; an answer is remembered by this process."""
    return _get(record, address())


def address() -> str:
    """Return the address of the server."""
    return (os.environ.get("DPIPE_ZENODO_URL") or "https://zenodo.org").rstrip("/")


@functools.lru_cache(maxsize=64)
def _get(record: str, base: str) -> Record:
    url = f"{base}/api/records/{record}"
    try:
        answer = json.loads(read_all(url, {"Accept": "application/json"}))
        number, metadata = str(answer["id"]), answer.get("metadata") or {}
        files = [_file(entry, number, base) for entry in answer.get("files") or ()]
        versions = (metadata.get("relations") or {}).get("version") or [{}]
        latest = (answer.get("links") or {}).get("latest")
        return {
            "resolved": number,
            "doi": str(answer.get("doi") or metadata.get("doi") or ""),
            "title": str(metadata.get("title") or ""),
            "license": str((metadata.get("license") or {}).get("id") or ""),
            "files": files,
            "is_last": bool(versions[0].get("is_last", not latest)),
        }
    except InputError as error:
        raise UsageError(f"zenodo:{record}: {base} has no such record; check the number") from error
    except (ValueError, KeyError, TypeError, AttributeError, LookupError) as error:
        raise StoreError(
            f"{url}: the answer is not a Zenodo record ({type(error).__name__}: {error}); check "
            "DPIPE_ZENODO_URL or try again later"
        ) from error


def _file(entry: Mapping[str, Any], record: str, base: str) -> RecordFile:
    """Read one file's entry, in any of the shapes that Zenodo has used."""
    name = str(entry.get("key") or entry["filename"])
    checksum = str(entry.get("checksum") or "")
    checksum = checksum if ":" in checksum or not checksum else f"md5:{checksum}"
    if checksum.partition(":")[0] not in hashlib.algorithms_available:
        checksum = ""
    links = entry.get("links") or {}
    plain = f"{base}/records/{record}/files/{urllib.parse.quote(name)}?download=1"
    told = [links.get("content"), links.get("self"), plain]
    url = next(u for u in told if u and (u == plain or _is_content(u, base)))
    size = int(entry["size"] if "size" in entry else entry["filesize"])
    return {"name": name, "size": size, "checksum": checksum, "url": url}


def _is_content(url: str, base: str) -> bool:
    ours, theirs = urllib.parse.urlsplit(base), urllib.parse.urlsplit(url)
    same = (ours.scheme, ours.netloc) == (theirs.scheme, theirs.netloc)
    return same and theirs.path.endswith("/content")
