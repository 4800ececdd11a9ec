"""The text that names workers: where they are, how many, whether plain traffic will do."""

import ipaddress
import os
from urllib.parse import SplitResult, parse_qs, urlsplit

from dpipe.errors import UsageError


def parse(text: str) -> SplitResult:
    """Take an address apart; a number becomes one too: ``here://`` or ``local://?workers=N``."""
    text = text.strip()
    if text.isdigit():
        return urlsplit(f"local://?workers={text}" if int(text) else "here://")
    try:
        url = urlsplit(text)
        whole = bool(url.hostname and url.port)
    except ValueError:
        url, whole = urlsplit(""), False
    if "@" in url.netloc:
        raise UsageError("workers: an address must hold no password; Dask's configuration may")
    if url.scheme == "tcp" and whole and not trusted(url.hostname):
        raise UsageError(
            f"workers {text}: who can read or forge plain traffic can run code on both sides; "
            "use tls://, or set DPIPE_INSECURE=1 on a network of your own"
        )
    if url.scheme == "gateway" and count(url):
        return url
    if url.scheme in ("tcp", "tls") and whole:
        return url
    raise UsageError(
        f"workers {text!r}: expected 0, a number of processes, tcp://host:port, "
        "tls://host:port or gateway://host:port?workers=N"
    )


def trusted(host: str | None) -> bool:
    """Tell whether plain traffic to a host stays on this machine, or was allowed."""
    if host == "localhost" or os.environ.get("DPIPE_INSECURE") == "1":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def count(url: SplitResult) -> int:
    """Return how many workers an address asks for; 2 where it does not say."""
    asked = parse_qs(url.query).get("workers", ["2"])[0]
    if not asked.isdigit() or int(asked) < 1:
        raise UsageError(f"workers={asked}: expected a number from 1")
    return int(asked)
