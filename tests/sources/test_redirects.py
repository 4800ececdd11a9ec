"""Redirects of downloads: where they may lead, and what goes along."""

import http.client
import socket
from pathlib import Path

import pytest
from servers import Web

from dpipe.errors import InputError, StoreError, UsageError
from dpipe.sources import fetch, list_items, redirects
from dpipe.sources import http as sources_http

INNER = {
    "http://127.0.0.1:1/x": "loopback",
    "http://127.8.0.1:1/x": "loopback",
    "http://127.1:1/x": "loopback",
    "http://2130706433:1/x": "loopback",
    "http://0x7f000001:1/x": "loopback",
    "https://localhost/x": "loopback",
    "https://[::1]/x": "loopback",
    "https://[::ffff:127.0.0.1]/x": "loopback",
    "https://[::127.0.0.1]/x": "loopback",
    "https://[64:ff9b::7f00:1]/x": "loopback",
    "https://[2002:7f00:1::]/x": "loopback",
    "https://0.0.0.0/x": "unspecified",
    "https://[::]/x": "unspecified",
    "https://169.254.169.254/latest/meta-data": "link-local",
    "https://[fe80::1]/x": "link-local",
    "https://[::ffff:169.254.169.254]/x": "link-local",
    "https://[fd00:ec2::254]/x": "metadata",
    "https://100.100.100.200/x": "metadata",
    "https://inner.test/x": "link-local",
    "https://mixed.test/x": "loopback",
}
NAMES = {
    "outer.test": ["93.184.216.34"],
    "inner.test": ["169.254.169.254"],
    "mixed.test": ["93.184.216.34", "::1"],
}


@pytest.fixture
def outer(web: Web, monkeypatch: pytest.MonkeyPatch) -> Web:
    """Let the server on this machine be reached as ``https://outer.test``, without TLS."""
    real, port = socket.getaddrinfo, web.server_address[1]

    def resolve(host, *args, **kwargs):
        if host not in NAMES:
            return real(host, *args, **kwargs)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, 443)) for one in NAMES[host]]

    def connect(self):
        self.sock = socket.create_connection(("127.0.0.1", port), self.timeout)

    monkeypatch.setattr(redirects.socket, "getaddrinfo", resolve)
    monkeypatch.setattr(redirects._Secure, "connect", connect)
    return web


@pytest.mark.parametrize("to", INNER)
def test_a_redirect_from_outside_to_the_inside_is_refused(outer: Web, tmp_path: Path, to) -> None:
    outer.refusals["/x"] = [(302, {"Location": to})] * 2
    with pytest.raises(InputError, match=INNER[to]) as caught:
        fetch("https://outer.test/x", tmp_path)
    assert to in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(outer.requests) == 1, "asked once, and nobody else"
    with pytest.raises(UsageError, match=INNER[to]):  # a source that a person named
        list_items("https://outer.test/x")


def test_each_hop_is_looked_at(outer: Web, tmp_path: Path) -> None:
    outer.refusals["/x"] = [(302, {"Location": "/y"})]
    outer.refusals["/y"] = [(307, {"Location": "https://[::1]/z"})]
    with pytest.raises(InputError, match=r"outer.test/y: it redirects to .*loopback"):
        fetch("https://outer.test/x", tmp_path)


def test_a_redirect_outside_is_followed(outer: Web, tmp_path: Path) -> None:
    outer.refusals["/x"] = [(302, {"Location": "https://outer.test/y"})] * 2
    outer.files["/y"] = b"1"
    assert fetch("https://outer.test/x", tmp_path).read_bytes() == b"1"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_from_this_machine_to_itself(web: Web, tmp_path: Path, status: int) -> None:
    there = f"http://localhost:{web.server_address[1]}/y"
    web.refusals["/x"] = [(status, {"Location": there})] * 2
    web.files["/y"] = b"1"
    assert fetch(f"{web.url}/x", tmp_path).read_bytes() == b"1"


@pytest.mark.parametrize("to", [t for t, kind in INNER.items() if kind != "loopback"])
def test_from_this_machine_to_what_is_beside_it(web: Web, tmp_path: Path, to: str) -> None:
    web.refusals["/x"] = [(302, {"Location": to.replace("inner.test", "169.254.169.254")})]
    with pytest.raises(InputError, match=INNER[to]):
        fetch(f"{web.url}/x", tmp_path)


def test_a_name_that_has_another_address_when_it_is_asked(web, tmp_path, monkeypatch) -> None:
    """The address that was reached is looked at, whatever the name stood for a moment before."""
    there = f"http://localhost:{web.server_address[1]}/y"
    web.refusals["/x"], web.files["/y"] = [(302, {"Location": there})], b"1"
    monkeypatch.setattr(redirects, "is_home", lambda host: False)
    monkeypatch.setattr(redirects, "_addresses", lambda host, port: ["93.184.216.34"])
    with pytest.raises(InputError, match=r"127\.0\.0\.1: loopback"):
        fetch(f"{web.url}/x", tmp_path)
    assert web.count("GET", "/y") + web.count("HEAD", "/y") == 0


def test_nothing_secret_goes_to_another_host(web: Web, monkeypatch) -> None:
    seen = []
    real = http.client.HTTPConnection.request

    def request(self, method, url, body=None, headers=None, **more):
        seen.append((url, {key.lower() for key in headers or {}}))
        return real(self, method, url, body, headers or {}, **more)

    monkeypatch.setattr(http.client.HTTPConnection, "request", request)
    web.refusals["/x"] = [(302, {"Location": f"http://localhost:{web.server_address[1]}/y"})]
    web.files["/y"] = b"123"
    said = {"Authorization": "Bearer s", "Cookie": "s", "X-Api-Key": "s", "Range": "bytes=1-"}
    with sources_http.request(f"{web.url}/x", headers=said) as answer:
        assert answer.read() == b"23"
    assert {"authorization", "cookie", "x-api-key"} <= seen[0][1]
    assert seen[1] == ("/y", {"range", "user-agent", "host", "connection"} & seen[1][1])


@pytest.mark.parametrize(
    ("to", "error", "says"),
    [
        ("http://elsewhere.test/x", StoreError, "expected https"),
        ("https://me:secret@localhost/x", InputError, "no plain address"),
        ("https://[::1/x", InputError, "no address of"),
        ("https:///x", InputError, "no plain address"),
        ("file:///etc/passwd", StoreError, "the server refused: 302"),
        ("https://a%2fb/x", InputError, "no plain address"),
    ],
)
def test_redirects_that_are_not_followed(web: Web, tmp_path, to, error, says) -> None:
    web.refusals["/x"] = [(302, {"Location": to})]
    with pytest.raises(error, match=says) as caught:
        fetch(f"{web.url}/x", tmp_path)
    assert "\n" not in str(caught.value)


def test_redirects_in_a_ring_end_in_one_line(web: Web, tmp_path: Path) -> None:
    web.refusals["/x"] = [(302, {"Location": "/x"})] * 30
    with pytest.raises(StoreError, match="infinite loop") as caught:
        fetch(f"{web.url}/x", tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["https://a..b/x", "https://h:99999999/x", "https://h:x/", "https://[1/x"]
)
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(UsageError, match="no address of a server") as caught:
        list_items(url)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("length", ["many", "-5", "1e3", "9" * 30])
def test_a_length_that_is_no_number(web: Web, tmp_path: Path, length: str) -> None:
    web.files["/x"] = b"123"
    web.refusals["/x"] = [(200, {"Content-Length": length})]  # of HEAD
    assert fetch(f"{web.url}/x", tmp_path).read_bytes() == b"123"


def test_a_file_that_is_longer_than_was_said_is_not_read_to_its_end(web, tmp_path) -> None:
    web.lengths, web.files["/x"] = False, b"1" * 30_000_000
    with pytest.raises(InputError, match="expected 9"):
        sources_http.download(f"{web.url}/x", tmp_path / "x", size=9, checksum="", tag="")
    assert not list(tmp_path.glob("*.partial"))
