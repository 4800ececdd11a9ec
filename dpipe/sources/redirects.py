"""Redirects: where a web server may send a download on to, and what it learns there.

A person who typed an address has not typed the one that its server answers with: from outside it
must not lead into this machine, its link, or the metadata of a cloud, and nothing but what every
request says goes to another host.
"""

import contextlib
import http.client
import ipaddress
import socket
import ssl
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from typing import Any

from dpipe.errors import InputError, StoreError

_KEPT = ("accept", "range", "user-agent")
"""Headers that go along; whatever else was said was meant for the first host."""
_NETWORKS = tuple(
    (kind, ipaddress.ip_network(network))
    for kind, networks in (
        ("loopback", "127.0.0.0/8 ::1/128"),
        ("unspecified", "0.0.0.0/8 ::/128"),
        ("link-local", "169.254.0.0/16 fe80::/10"),
        ("multicast", "224.0.0.0/4 ff00::/8"),
        ("broadcast", "255.255.255.255/32"),
        ("metadata of a cloud", "100.100.100.200/32 168.63.129.16/32 192.0.0.0/24 fd00:ec2::/32"),
    )
    for network in networks.split()
)
_EMBEDDING = tuple(ipaddress.ip_network(network) for network in ("::/96", "64:ff9b::/96"))
"""IPv6 that ends in an address of IPv4, besides what the library knows."""


def inner(address: str) -> str:
    """Return the inner kind of an address: loopback, link-local, ...; "" for any other.

    Examples
    --------
    >>> inner("127.0.0.1"), inner("::ffff:169.254.169.254"), inner("10.0.0.1")
    ('loopback', 'link-local', '')
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        kind = _kind(ip)
        inside = ip.ipv4_mapped or ip.sixtofour or (ip.teredo or (None, None))[1]
        if inside is None and any(ip in network for network in _EMBEDDING):
            inside = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        return kind or ("" if inside is None else _kind(inside))
    return _kind(ip)


def _kind(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    of_version = (pair for pair in _NETWORKS if pair[1].version == ip.version)
    return next((kind for kind, network in of_version if ip in network), "")


def is_home(host: str | None) -> bool:
    """Tell whether a host, as it is typed, is this very machine."""
    if host == "localhost":
        return True
    with contextlib.suppress(ValueError):
        return inner(host or "") == "loopback"
    return False


def opener(url: str, is_safe: Callable[[str], bool]) -> urllib.request.OpenerDirector:
    """Return the opener of an address that a person typed, which follows its redirects.

    Parameters
    ----------
    url : str
        The address.
    is_safe : callable
        Tells of an address whether its scheme may be used.

    Raises
    ------
    ValueError
        It is no address.
    """
    parts = urllib.parse.urlsplit(url)
    home = parts.port != 0 and is_home(parts.hostname)  # a port that cannot be is a ValueError
    return urllib.request.build_opener(_Redirects(home, is_safe), _Http(home), _Https(home))


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    """Return how TLS is spoken: reading all certificates takes longer than a request."""
    return ssl.create_default_context()


class _Hop(urllib.request.Request):
    """A request that follows a redirect, and who sent it there."""

    sent_by = ""


def _refuse(what: str, to: str, addresses: Iterable[str], home: bool) -> None:
    for address in addresses:
        kind = inner(address)
        if kind and not (home and kind == "loopback"):
            raise InputError(
                f"{what}: it redirects to {to!r}, an inner address ({address}: {kind}), where "
                "nothing is asked; expected https to a server outside; check the address"
            )


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follow no redirect out of HTTPS, nor from outside into this machine and its networks."""

    def __init__(self, home: bool, is_safe: Callable[[str], bool]) -> None:
        self._home, self._is_safe = home, is_safe

    def http_error_302(self, req: Any, fp: Any, code: int, msg: str, headers: Any) -> Any:
        try:
            return super().http_error_302(req, fp, code, msg, headers)
        finally:
            fp.close()

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, hdrs: Any, to: str) -> Any:
        what, shown = req.full_url.partition("?")[0], to.partition("?")[0]  # a query may sign
        fp.close()  # its body is nobody's, and may have no end
        try:
            parts = urllib.parse.urlsplit(to)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            raise InputError(f"{what}: it redirects to {shown!r}, which is no address") from None
        if not host or not host.isprintable() or "@" in parts.netloc or set(host) & set("%\\ "):
            raise InputError(f"{what}: it redirects to {shown!r}, which is no plain address")
        _refuse(what, shown, _addresses(host, port), self._home)
        if not self._is_safe(to):
            raise StoreError(f"{what}: it redirects to {shown!r}; expected https")
        headers = {key: value for key, value in req.headers.items() if key.lower() in _KEPT}
        hop = _Hop(to, headers=headers, origin_req_host=req.origin_req_host)
        hop.sent_by = what
        return hop


def _addresses(host: str, port: int | None) -> list[str]:
    """Return the addresses of a host; none of one that cannot be resolved here."""
    try:
        answers = socket.getaddrinfo(host, port or 443, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []  # connecting says why, or a proxy knows
    return [str(answer[4][0]) for answer in answers]


class _Plain(http.client.HTTPConnection):
    """A connection that looks at whom it reached: a name may have another address by now."""

    look: Callable[[str], None] = staticmethod(lambda _: None)

    def connect(self) -> None:
        super().connect()
        try:
            self.look(str(self.sock.getpeername()[0]))
        except InputError:
            self.close()
            raise


class _Secure(http.client.HTTPSConnection, _Plain):
    """The same before anything is said through TLS."""


def _connection(kind: type[_Plain], home: bool, req: Any, host: str, **more: Any) -> _Plain:
    connection = kind(host, **more)
    url = req.full_url
    proxied = urllib.parse.urlsplit(url).netloc != req.host
    if isinstance(req, _Hop) and not proxied:
        shown = url.partition("?")[0]
        connection.look = lambda address: _refuse(req.sent_by, shown, [address], home)
    return connection


class _Http(urllib.request.HTTPHandler):
    def __init__(self, home: bool) -> None:
        super().__init__()
        self._home = home

    def http_open(self, req: Any) -> Any:
        return self.do_open(partial(_connection, _Plain, self._home, req), req)


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, home: bool) -> None:
        super().__init__(context=_tls())
        self._home = home

    def https_open(self, req: Any) -> Any:
        make = partial(_connection, _Secure, self._home, req)
        return self.do_open(make, req, context=_tls())
