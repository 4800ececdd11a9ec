"""Servers that tests start themselves: S3 (moto, a process), a fault proxy, a web server.

Fixtures ``s3_server`` (session), ``bucket``, ``fault_proxy`` and ``web`` come from conftest.py.
"""

import contextlib
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import uuid
from collections.abc import Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import boto3
import pytest
from faultproxy import FaultProxy

SECRET = "canary-secret-of-the-tests"


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def environment(**said: str) -> Iterator[None]:
    """Set ``AWS_*`` variables and nothing else of that kind; put the old ones back."""
    old = {k: v for k, v in os.environ.items() if k.startswith("AWS_")}
    for name in old:
        del os.environ[name]
    os.environ.update(said)
    try:
        yield
    finally:
        for name in [k for k in os.environ if k.startswith("AWS_")]:
            del os.environ[name]
        os.environ.update(old)


@contextlib.contextmanager
def moto(**variables: str) -> Iterator[str]:
    """Start moto's S3 server as a process of its own; give its address."""
    port = free_port()
    command = shutil.which("moto_server", path=str(Path(sys.executable).parent)) or "moto_server"
    process = subprocess.Popen(
        [command, "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **variables},
    )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait(f"{url}/moto-api/", process)
        yield url
    finally:
        process.terminate()
        process.wait(10)


def _wait(url: str, process: subprocess.Popen) -> None:
    for _ in range(600):
        if process.poll() is not None:
            pytest.fail(f"moto_server ended with {process.returncode}")
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=1):
            return
        time.sleep(0.05)
    pytest.fail("moto_server did not answer within 30 s")


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """Address of an S3 server; the environment points to it until the session ends."""
    with (
        moto() as url,
        environment(
            AWS_ENDPOINT_URL=url,
            AWS_ACCESS_KEY_ID="canary-id-of-the-tests",
            AWS_SECRET_ACCESS_KEY=SECRET,
            AWS_DEFAULT_REGION="us-east-1",
            AWS_CONFIG_FILE=os.devnull,
            AWS_SHARED_CREDENTIALS_FILE=os.devnull,
            AWS_EC2_METADATA_DISABLED="true",
        ),
    ):
        yield url


@pytest.fixture
def bucket(s3_server: str) -> str:
    """URL of a new, empty bucket."""
    name = f"dpipe-{uuid.uuid4().hex[:12]}"
    client = boto3.client("s3", endpoint_url=s3_server)
    client.create_bucket(Bucket=name)
    client.close()
    return f"s3://{name}"


@pytest.fixture
def fault_proxy(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    """Put a proxy that injects faults in front of the S3 server; the environment points to it."""
    proxy = FaultProxy(s3_server)
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    try:
        yield proxy
    finally:
        proxy.stop()


class Web(ThreadingHTTPServer):
    """A web server for downloads that imitates Zenodo's records too, and fails when told.

    Attributes
    ----------
    files : dict
        Bytes by path.
    records : dict
        A record's answer by number; a text redirects to the record of that number.
    cuts : dict
        How many times a GET of a path breaks off half-way.
    refusals : dict
        Answers (status, headers) that a path gives first.
    ranges : bool
        Whether a Range is honoured.
    lengths : bool
        Whether the length is told.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _WebHandler)
        self.files: dict[str, bytes] = {}
        self.records: dict[str, dict | str] = {}
        self.cuts: dict[str, int] = {}
        self.refusals: dict[str, list[tuple[int, dict[str, str]]]] = {}
        self.ranges, self.lengths, self.pause = True, True, 0.0
        self.requests: list[tuple[str, str, str]] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def add_record(
        self,
        number: str,
        files: dict[str, bytes],
        *,
        concept: str = "",
        is_last: bool = True,
        md5: dict[str, str] | None = None,
    ) -> None:
        """Publish a record as Zenodo's API tells it; a concept number redirects to it."""
        entries = []
        for name, data in files.items():
            path = f"/api/records/{number}/files/{quote(name)}/content"
            self.files[path] = data
            digest = (md5 or {}).get(name) or hashlib.md5(data).hexdigest()
            entries.append(
                {
                    "key": name,
                    "size": len(data),
                    "checksum": f"md5:{digest}",
                    "links": {"self": self.url + path},
                }
            )
        self.records[number] = {
            "id": int(number),
            "conceptrecid": concept,
            "doi": f"10.5281/zenodo.{number}",
            "metadata": {
                "title": "Movies",
                "license": {"id": "cc-by-4.0"},
                "relations": {"version": [{"is_last": is_last}]},
            },
            "links": {"latest": f"{self.url}/api/records/{number}/versions/latest"},
            "files": entries,
        }
        if concept and is_last:
            self.records[concept] = number

    def count(self, method: str, match: str = "") -> int:
        """Count the requests of a method whose path holds `match`."""
        return sum(m == method and match in path for m, path, _ in self.requests)

    def handle_error(self, request: object, client_address: object) -> None:
        """Keep quiet about connections that were broken off."""

    def stop(self) -> None:
        """End the server."""
        self.shutdown()
        self.server_close()


class _WebHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Web

    def log_message(self, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._serve()

    def do_GET(self) -> None:
        self._serve()

    def _serve(self) -> None:
        web, path = self.server, urlsplit(self.path).path
        asked = self.headers.get("Range", "")
        web.requests.append((self.command, path, asked))
        if web.refusals.get(path):
            status, headers = web.refusals[path].pop(0)
            return self._answer(status, b"", headers)
        if path.startswith("/api/records/") and path not in web.files:
            return self._record(path.removeprefix("/api/records/"))
        if path not in web.files:
            return self._answer(404, b"gone", {})
        data = web.files[path]
        time.sleep(web.pause)
        tag = {"ETag": f'"{hashlib.md5(data).hexdigest()[:8]}"', "Last-Modified": formatdate(0)}
        if not asked or not web.ranges:
            return self._answer(200, data, tag)
        start = int(asked.removeprefix("bytes=").partition("-")[0])
        if start >= len(data):
            return self._answer(416, b"", {})
        told = {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}", **tag}
        return self._answer(206, data[start:], told)

    def _record(self, number: str) -> None:
        records = self.server.records
        if number.endswith("/versions/latest"):
            concept = records[number.partition("/")[0]]["conceptrecid"]
            return self._answer(302, b"", {"Location": f"/api/records/{concept}"})
        found = records.get(number)
        if isinstance(found, str):
            return self._answer(301, b"", {"Location": f"{self.server.url}/api/records/{found}"})
        if found is None:
            return self._answer(404, b"{}", {})
        return self._answer(200, json.dumps(found).encode(), {"Content-Type": "application/json"})

    def _answer(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        path = unquote(urlsplit(self.path).path)
        cut = self.command == "GET" and status in (200, 206) and self.server.cuts.get(path, 0) > 0
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if self.server.lengths:
            self.send_header("Content-Length", str(len(data)))
        else:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        if self.command == "HEAD":
            return
        if cut:
            self.server.cuts[path] -= 1
            self.wfile.write(data[: len(data) // 2])
            self.wfile.flush()
            self.close_connection = True
            return
        self.wfile.write(data)


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    """A web server that imitates Zenodo; ``DPIPE_ZENODO_URL`` points to it."""
    server = Web()
    monkeypatch.setenv("DPIPE_ZENODO_URL", server.url)
    try:
        yield server
    finally:
        server.stop()
