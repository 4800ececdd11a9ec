"""Bytes over HTTP: asked again where that may help, resumed, checked, never fetched twice at once.

It knows URLs and local files, nothing of repositories. A server that is away, refuses or breaks off
is a ``StoreError``; a file that is not there (404, 410) or whose checksum is wrong twice is an
``InputError``.
"""

import contextlib
import email.utils
import fcntl
import hashlib
import http.client
import os
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from tqdm import tqdm

from dpipe import retry
from dpipe.errors import InputError, StoreError
from dpipe.sources.items import Item
from dpipe.sources.redirects import is_home, opener

TRIES, FIRST_PAUSE, LONGEST_PAUSE = 6, 0.5, 30.0  # seconds
LONGEST_WAIT = 120.0  # seconds that a server's Retry-After may ask for
TIMEOUT = 30.0
LONGEST_ANSWER = 32 * 2**20  # bytes of JSON that a repository may send
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_FAULTS = (OSError, http.client.HTTPException)
_NO_ADDRESS = (http.client.InvalidURL, ValueError, OverflowError)


def is_safe(url: str) -> bool:
    """Tell whether a URL is HTTPS, or HTTP to this very machine."""
    parts = urllib.parse.urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and is_home(parts.hostname))


def request(
    url: str,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    accept: Collection[int] = (),
) -> Any:
    """Send a request until it is answered; the caller closes the answer.

    Parameters
    ----------
    url : str
        HTTPS, or HTTP to this machine.
    method : str
        ``"GET"`` or ``"HEAD"``.
    headers : mapping, optional
        Further headers.
    accept : collection of int
        Refusals that the caller wants to see as answers.

    Returns
    -------
    http.client.HTTPResponse or urllib.error.HTTPError
        Its ``status`` and ``headers`` are there; its body is not read.

    Raises
    ------
    InputError
        404 or 410: no such file; no address, or a redirect to one inside.
    StoreError
        Any other refusal, or no answer after all tries.
    """
    shown = url.partition("?")[0]
    message = urllib.request.Request(  # noqa: S310 - the scheme was checked by is_safe
        url, method=method, headers={"User-Agent": "dpipe", **(headers or {})}
    )
    for attempt in range(1, TRIES + 1):
        wait = None
        try:
            return opener(url, is_safe).open(message, timeout=TIMEOUT)
        except urllib.error.HTTPError as error:
            if error.code in accept:
                return error
            error.close()
            problem = _plain(f"{error.code} {error.reason}")
            if error.code in (404, 410):
                raise InputError(f"{shown}: not there ({problem}); check the address") from None
            if error.code not in _PASSING:
                hint = "it needs a login" if error.code in (401, 403) else "check the address"
                raise StoreError(f"{shown}: the server refused: {problem}; {hint}") from None
            wait = _retry_after(error.headers.get("Retry-After"))
        except (InputError, StoreError):  # a redirect that is not followed
            raise
        except _NO_ADDRESS as error:
            text = f"it, or what it redirects to, is no address of a server ({error})"
            raise InputError(f"{shown}: {_plain(text)}; check it") from None
        except _FAULTS as error:
            problem = _plain(str(getattr(error, "reason", "") or error)) or type(error).__name__
        if attempt < TRIES:
            time.sleep(pause(attempt) if wait is None else wait)
    raise StoreError(f"{shown}: no answer after {TRIES} tries: {problem}; check the network")


def _plain(text: str) -> str:
    """Return the words of a server as a part of one line."""
    line = " ".join(text.split())
    return "".join(sign if sign.isprintable() else "?" for sign in line)[:200]


def read_all(url: str, headers: Mapping[str, str]) -> bytes:
    """Return the body of a short answer, such as JSON."""
    for attempt in range(1, TRIES + 1):
        with contextlib.closing(request(url, headers=headers)) as answer:
            try:
                body = answer.read(LONGEST_ANSWER + 1)
            except _FAULTS:
                body = b""
        if len(body) > LONGEST_ANSWER:
            raise StoreError(f"{url}: an answer of more than {LONGEST_ANSWER} bytes; check the URL")
        length = _length(answer)
        if body and len(body) == (len(body) if length is None else length):
            return body
        time.sleep(pause(attempt))
    raise StoreError(f"{url}: the answer broke off {TRIES} times; check the network")


def pause(attempt: int) -> float:
    """Return how long to wait after the failed try number `attempt`, in seconds."""
    return retry.pause(attempt, first=FIRST_PAUSE, longest=LONGEST_PAUSE, least=0.5)


def download(url: str, path: Path, *, size: int | None, checksum: str, tag: str) -> None:
    """Bring a file to a path, once, whole and checked.

    Parameters
    ----------
    url : str
        Where it is.
    path : pathlib.Path
        Where it goes; if it is there already, nothing is asked.
    size : int or None
        Number of bytes, if known.
    checksum : str
        ``"md5:..."`` or ``"sha256:..."`` in hexadecimal, or ``""``.
    tag : str
        Changes when the content does: what was left of another content is not resumed.

    Raises
    ------
    InputError
        Not there, or its size or checksum is wrong twice.
    StoreError
        The network, the server or the local disk.
    """
    name = hashlib.sha256(f"{path.name} {size} {checksum} {tag}".encode()).hexdigest()[:16]
    partial = path.with_name(f".{name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _alone(path.with_name(f".{name}.lock")):
            for last in (False, True):
                if path.exists():
                    return
                _complete(url, partial, size, path.name)
                wrong = _wrong(partial, size, checksum)
                if not wrong:
                    partial.replace(path)
                    return
                partial.unlink()
                if last:
                    raise InputError(f"{url}: {wrong}, twice; ask those who keep the file")
    except (InputError, StoreError):
        raise
    except OSError as error:
        raise StoreError(f"{path}: cannot keep the download: {error.strerror or error}") from error


def _complete(url: str, partial: Path, size: int | None, name: str) -> None:
    """Append to a partial file until it is whole."""
    failures = 0
    with tqdm(total=size, desc=name, unit="B", unit_scale=True, delay=2, disable=None) as bar:
        while True:
            have = partial.stat().st_size if partial.exists() else 0
            bar.update(have - bar.n)
            if have == size:
                return
            if _append(url, partial, have if size is None or have < size else 0, size, bar):
                return
            grown = partial.stat().st_size if partial.exists() else 0
            failures = 0 if grown > have else failures + 1
            if failures == TRIES:
                raise StoreError(
                    f"{url}: broke off {TRIES} times at byte {grown}; the same command resumes"
                )
            time.sleep(pause(failures + 1))


def _append(url: str, partial: Path, have: int, size: int | None, bar: Any) -> bool:
    """Read the rest of a file; tell whether it came to its end."""
    headers = {"Range": f"bytes={have}-"} if have else {}
    with contextlib.closing(request(url, headers=headers, accept={416})) as answer:
        if answer.status == 416:  # what is left over is as long as the file, or longer
            partial.unlink()
            return False
        resumed = answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        start = have if answer.status == 206 and resumed else 0
        length = _length(answer)
        with partial.open("ab" if start else "wb") as file:
            bar.update(start - bar.n)
            _pour(answer, file, bar, size)
            end = file.tell()
            os.fsync(file.fileno())
    too_long = size is not None and end > size
    return too_long or length is None or end == start + length


def _length(answer: Any) -> int | None:
    """Return how many bytes an answer says that it has; None if it does not."""
    text = str(answer.headers.get("Content-Length") or "").strip()
    return int(text) if re.fullmatch("[0-9]{1,18}", text) else None


def _pour(answer: Any, file: BinaryIO, bar: Any, size: int | None) -> None:
    """Write the body to a file; of one whose size is known, little more than that."""
    while size is None or file.tell() <= size:
        try:
            block = answer.read1(2**20)  # what has arrived, so that nothing of it is lost
        except _FAULTS:  # broken off: the length will tell
            break
        if not block:
            break
        file.write(block)
        bar.update(len(block))
    file.flush()


def _wrong(path: Path, size: int | None, checksum: str) -> str:
    """Say how a file differs from its size and checksum; "" if it does not."""
    length = path.stat().st_size
    if size is not None and length != size:
        return f"it holds {length} bytes; expected {size}"
    algorithm, _, expected = checksum.partition(":")
    if algorithm:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, algorithm).hexdigest()
        if digest != expected:
            return f"its {algorithm} is {digest}; expected {expected}"
    return ""


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Wait until no other process or thread holds the lock of a path."""
    with path.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _retry_after(text: str | None) -> float | None:
    """Read a Retry-After header, seconds or a date, bounded; None if there is none."""
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(text).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return None
    return min(max(0.0, seconds), LONGEST_WAIT)


def ask_web(text: str) -> Item:
    """Return the item of a file on a web server, without reading it."""
    url = urllib.parse.urlsplit(text)
    name = urllib.parse.unquote(url.path.rpartition("/")[2]) or "index"
    address = text.partition("#")[0]
    with contextlib.closing(request(address, "HEAD", accept={405, 501})) as answer:
        fields = answer.headers if answer.status < 400 else {}
        length = _length(answer) if answer.status < 400 else None
        size = -1 if length is None else length
        etag = (fields.get("ETag") or fields.get("Last-Modified") or "").strip('"')
    return Item(text, name, size, etag)
