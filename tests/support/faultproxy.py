"""A proxy in front of an HTTP server that injects faults by rule and counts requests.

proxy.fail("PUT", times=3, status=503)      the next three PUTs are answered 503
proxy.fail("PUT", kind="lost")              the next PUT is done, but its answer is dropped
proxy.count("PUT")                          how many PUTs came in
proxy.busiest                               how many requests waited for their answers at once
"""

import http.client
import socket
import struct
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

KINDS = ("status", "reset", "lost", "truncate", "flip", "delay")
_HOP = {"connection", "content-length", "date", "keep-alive", "server", "transfer-encoding"}


@dataclass
class Rule:
    """What happens to the next `times` requests of a method whose path holds `match`."""

    method: str
    kind: str
    times: float
    status: int
    code: str
    match: str
    seconds: float


class FaultProxy(ThreadingHTTPServer):
    """Passes requests on to `upstream` unless a rule says otherwise."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        parts = urlsplit(upstream)
        self.upstream = (parts.hostname, parts.port)
        self.rules: list[Rule] = []
        self.requests: list[tuple[str, str]] = []
        self.waiting = self.busiest = 0
        self.lock = threading.Lock()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def fail(
        self,
        method: str,
        *,
        kind: str = "status",
        times: float = 1,
        status: int = 503,
        code: str = "SlowDown",
        match: str = "",
        seconds: float = 0.0,
    ) -> None:
        """Add a rule; with ``times=float("inf")`` it never ends."""
        assert kind in KINDS, kind
        self.rules.append(Rule(method, kind, times, status, code, match, seconds))

    def reset(self) -> None:
        """Forget rules and counts."""
        with self.lock:
            self.rules, self.requests, self.busiest = [], [], 0

    def count(self, method: str, match: str = "") -> int:
        """Count the requests of a method whose path holds `match`."""
        with self.lock:
            return sum(m == method and match in path for m, path in self.requests)

    def take(self, method: str, path: str) -> Rule | None:
        """Note a request, and use up the first rule that fits it."""
        with self.lock:
            self.requests.append((method, path))
            for rule in self.rules:
                if rule.method == method and rule.match in path and rule.times > 0:
                    rule.times -= 1
                    return rule
        return None

    def handle_error(self, request: object, client_address: object) -> None:
        """Keep quiet: dropped connections are this server's trade."""

    def stop(self) -> None:
        """End the server."""
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    disable_nagle_algorithm = True  # else an answer of two writes waits 40 ms for the client
    protocol_version = "HTTP/1.1"
    server: FaultProxy

    def log_message(self, *args: object) -> None:
        pass

    def _serve(self) -> None:
        server = self.server
        with server.lock:
            server.waiting += 1
            server.busiest = max(server.busiest, server.waiting)
        try:
            self._answer()
        finally:
            with server.lock:
                server.waiting -= 1

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _serve

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        rule = self.server.take(self.command, self.path)
        kind = rule.kind if rule else ""
        if kind == "reset":
            return self._drop()
        if kind == "status":
            return self._refuse(rule)
        if kind == "delay":
            time.sleep(rule.seconds)
        status, headers, data = self._ask(body)
        if kind == "lost":
            return self._drop()
        if kind == "flip" and data:
            data = bytes([data[0] ^ 1]) + data[1:]
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in _HOP:
                self.send_header(name, value)
        length = dict(headers).get("Content-Length", "0")
        self.send_header("Content-Length", length if self.command == "HEAD" else str(len(data)))
        self.end_headers()
        if kind == "truncate":
            self.wfile.write(data[: len(data) // 2])
            return self._drop()
        self.wfile.write(data)
        return None

    def _ask(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(*self.server.upstream, timeout=60)
        try:
            kept = {k: v for k, v in self.headers.items() if k.lower() not in {*_HOP, "expect"}}
            kept["Content-Length"] = str(len(body))
            connection.request(self.command, self.path, body=body, headers=kept)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def _refuse(self, rule: Rule) -> None:
        text = f"<Error><Code>{rule.code}</Code><Message>injected</Message></Error>".encode()
        self.send_response(rule.status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    def _drop(self) -> None:
        """Reset the connection, as a machine that dies does."""
        self.wfile.flush()
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.connection.close()
        self.close_connection = True
