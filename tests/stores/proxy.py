"""A line to an object store's server that can be watched, cut, stalled, and made to refuse: HTTP on loopback."""

from __future__ import annotations

import http.client
import re
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal, NamedTuple

Fate = Literal["cut", "stall"] | int | None
"""What becomes of a request: the line is cut or stalls in the middle of its body, the store answers with a status, or all is well."""

HOP = {"connection", "transfer-encoding", "content-length", "keep-alive"}
PAGE = 1000


class Request(NamedTuple):
    """A request that came by."""

    method: str
    path: str
    size: int


class Proxy(ThreadingHTTPServer):
    """Pass requests on to the server at `upstream`; `fate(request)` decides what becomes of each."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = 0
        self.seen: list[Request] = []
        self.fate: Callable[[Request], Fate] = lambda _: None
        self.stalled, self.released = threading.Event(), threading.Event()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        """Return where clients find the store."""
        return f"http://127.0.0.1:{self.server_port}"

    def calm(self) -> None:
        """Let everything through from now on, and forget what was seen."""
        self.fate = lambda _: None
        self.released.set()
        self.stalled, self.released = threading.Event(), threading.Event()
        self.seen.clear()

    def close(self) -> None:
        """Stop."""
        self.shutdown()
        self.server_close()

    def handle_error(self, *_: object) -> None:
        """Say nothing of clients that went away: tests kill them."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def log_message(self, *_: object) -> None:
        """Keep quiet."""

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = Request(self.command, self.path, len(body))
        self.server.seen.append(request)
        fate = self.server.fate(request)
        if isinstance(fate, int):
            self._refuse(fate)
        elif fate is None:
            self._forward(body)
        else:
            self._half(body, fate)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_any  # noqa: N815

    def _refuse(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _forward(self, body: bytes) -> None:
        path, headers, body = _as_the_service(self.path, dict(self.headers), body)
        upstream = http.client.HTTPConnection("127.0.0.1", self.server.upstream, timeout=60)
        upstream.request(self.command, path, body, headers)
        answer = upstream.getresponse()
        data = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in HOP:
                self.send_header(name, value)
        length = (
            answer.getheader("Content-Length", "0") if self.command == "HEAD" else str(len(data))
        )
        self.send_header("Content-Length", length)
        self.end_headers()
        self.wfile.write(data)
        upstream.close()

    def _half(self, body: bytes, fate: Fate) -> None:
        """Pass half of the body on, then cut both lines, at once or when the test is done with the stall."""
        with socket.create_connection(("127.0.0.1", self.server.upstream)) as upstream:
            head = "".join(
                f"{name}: {value}\r\n"
                for name, value in self.headers.items()
                if name.lower() != "expect"
            )
            upstream.sendall(
                f"{self.command} {self.path} HTTP/1.1\r\n{head}\r\n".encode()
                + body[: len(body) // 2]
            )
            if fate == "stall":
                self.server.stalled.set()
                self.server.released.wait(120)
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)


def _as_the_service(
    path: str, headers: dict[str, str], body: bytes
) -> tuple[str, dict[str, str], bytes]:
    """Make up for two things in which the emulator of Google's store is unlike it.

    The service lists a thousand names a page unasked; the emulator passes over parts of a batch without a Content-ID,
    which the service doesn't ask for, and Google's Python client doesn't send.
    """
    if re.match(r"/storage/v1/b/[^/]+/o\?", path) and "maxResults" not in path:
        path += f"&maxResults={PAGE}"
    if path.startswith("/batch/"):
        numbers = iter(range(len(body)))
        body = re.sub(
            rb"Content-Type: application/http",
            lambda found: found[0] + b"\nContent-ID: <%d>" % next(numbers),
            body,
        )
        headers = {
            name: value for name, value in headers.items() if name.lower() != "content-length"
        }
    return path, headers, body
