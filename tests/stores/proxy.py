"""An HTTP proxy in front of an object store, which records requests and can make them fail."""

from __future__ import annotations

import http.client
import re
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal, NamedTuple

Fate = Literal["cut", "stall"] | int | None
"""A request's failure: the connection is cut or stalls in the body, or a status is sent.

None means no failure.
"""

HOP = {"connection", "transfer-encoding", "content-length", "keep-alive"}
PAGE = 1000


class Request(NamedTuple):
    """A request that the proxy has seen."""

    method: str
    path: str
    size: int


class Proxy(ThreadingHTTPServer):
    """A proxy for the server at port `upstream`.

    `fate(request)` decides how a request fails.
    """

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
        """Return the proxy's URL."""
        return f"http://127.0.0.1:{self.server_port}"

    def reset(self) -> None:
        """Pass on all requests, and forget earlier requests."""
        self.fate = lambda _: None
        self.released.set()
        self.stalled, self.released = threading.Event(), threading.Event()
        self.seen.clear()

    def close(self) -> None:
        """Stop serving."""
        self.shutdown()
        self.server_close()

    def handle_error(self, *_: object) -> None:
        """Ignore disconnected clients, since tests kill them."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def log_message(self, *_: object) -> None:
        """Log nothing."""

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = Request(self.command, self.path, len(body))
        self.server.seen.append(request)
        fate = self.server.fate(request)
        if isinstance(fate, int):
            self._send_status(fate)
        elif fate is None:
            self._forward(body)
        else:
            self._send_half(body, fate)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_any  # noqa: N815

    def _send_status(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _forward(self, body: bytes) -> None:
        path, headers, body = _imitate_service(self.path, dict(self.headers), body)
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

    def _send_half(self, body: bytes, fate: Fate) -> None:
        """Pass on half of the body, stall if asked, and cut both connections."""
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


def _imitate_service(
    path: str, headers: dict[str, str], body: bytes
) -> tuple[str, dict[str, str], bytes]:
    """Imitate the real service where the emulator differs.

    The service lists a thousand names a page by default. The emulator ignores parts of a batch
    without a Content-ID, which Google's client doesn't send.
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
