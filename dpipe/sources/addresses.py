"""Addresses of sources: the one spelling of a path or URL that a person wrote."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from dpipe.errors import UsageError
from dpipe.sources import listing
from dpipe.sources.http import is_safe

BUCKETS = ("s3", "anon+s3", "memory")
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
    scheme = scheme_of(text)
    if not text or "\0" in text or "::" in text:
        raise UsageError(f"source {text!r}: empty, a chain (::) or a NUL; expected {_KNOWN}")
    if scheme in ("", "file"):
        return listing.on_disk(text.removeprefix("file://"))
    address = text.removeprefix(scheme + ":").removeprefix("//")
    host, _, path = address.partition("/")
    if scheme not in (*BUCKETS, "https", "http", "zenodo"):
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


def urls_of(url: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> list[str]:
    """Return the paths and URLs of a reader's argument as a list, as they were written.

    Examples
    --------
    >>> urls_of("raw/Neu1.ims"), urls_of([Path("raw/Neu1.ims")])
    (['raw/Neu1.ims'], ['raw/Neu1.ims'])
    """
    texts = [url] if isinstance(url, str | os.PathLike) else url
    return [os.fspath(text) for text in texts]


def uris_of(url: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> list[str]:
    """Return the URIs of a reader's argument, as `resolve_uri` spells them."""
    return [resolve_uri(text) for text in urls_of(url)]


def one_uri(url: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], what: str) -> str:
    """Return the URI of an argument that must be one file.

    Parameters
    ----------
    url : str, path or sequence of them
        The reader's argument.
    what : str
        What it is called, for example ``"a table of phases"``.

    Returns
    -------
    str
        As `resolve_uri` spells it.

    Raises
    ------
    UsageError
        Another number of files, or a text that is no source.
    """
    texts = urls_of(url)
    if len(texts) != 1:
        raise UsageError(f"{what} is one file; found {len(texts)}")
    return resolve_uri(texts[0])


def scheme_of(text: str) -> str:
    """Return the scheme of a URL, "" for a path."""
    match = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):", text)
    if not match or (not text.startswith(match[0] + "//") and Path(text).exists()):
        return ""
    return match[1].lower()


def is_remote(uri: str) -> bool:
    """Tell whether files are read where they are, request by request."""
    return scheme_of(uri) in BUCKETS
