"""The server of the review page: a handful of addresses, and nothing that names a file."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, urlsplit

from pipelines.review.audits import AuditSession
from pipelines.review.guard import HEADERS, LARGEST_BODY, Guard
from pipelines.review.requests import parse_number
from pipelines.review.session import ReviewSession
from schemas.errors import CongenerError, StorageError

Session: TypeAlias = ReviewSession | AuditSession

PAGES: Mapping[str, tuple[str, str]] = {
    "/": ("review.html", "text/html; charset=utf-8"),
    "/review.js": ("review.js", "text/javascript; charset=utf-8"),
    "/map.js": ("map.js", "text/javascript; charset=utf-8"),
    "/review.css": ("review.css", "text/css; charset=utf-8"),
}
"""The files that the server sends, by their addresses. No other file can be asked for."""

JSON = "application/json"

SECONDS = 30.0
"""How long a client may take to send a request."""


def read_page(name: str) -> str:
    """Return a file of the page."""
    return files("pipelines.review").joinpath("static", name).read_text(encoding="utf-8")


class ReviewServer(ThreadingHTTPServer):
    """Serves one session to the browsers that have its token."""

    daemon_threads = True

    def __init__(self, session: Session, host: str = "127.0.0.1", port: int = 0) -> None:
        """Begin to listen; port 0 is any free one.

        Raises: StorageError: the port can't be used.
        """
        self.session = session
        try:
            super().__init__((host, port), ReviewHandler)
        except (OSError, OverflowError) as error:
            raise StorageError(
                f"can't listen on {host} port {port}: {error}",
                remedy="name another port with --port, or leave it out for any free one",
            ) from error
        own = f"[{host}]" if ":" in host else host
        names = (own, "localhost") if host == "127.0.0.1" else (own,)
        self.guard = Guard(tuple(f"{name}:{self.server_port}" for name in names))

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a browser that is gone before its reply: its reader turned the page."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    @property
    def url(self) -> str:
        """Return the address of the page, with the token."""
        return f"http://{self.guard.hosts[0]}/?token={self.guard.token}"


class ReviewHandler(BaseHTTPRequestHandler):
    """Answers one client's requests."""

    server: ReviewServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "congener", ""
    timeout = SECONDS

    def do_GET(self) -> None:
        """Send a file of the page, or what it asks for."""
        if not self._is_welcome():
            return
        parts = urlsplit(self.path)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        if parts.path == "/" and self.server.guard.is_token(query.get("token", "")):
            self._let_in()
        elif not self.server.guard.has_cookie(self.headers):
            self._send_text(HTTPStatus.UNAUTHORIZED, "Open the address that the command printed.")
        elif parts.path in PAGES:
            name, kind = PAGES[parts.path]
            self._send(HTTPStatus.OK, read_page(name).encode(), kind)
        else:
            self._answer(GETS.get(parts.path), query)

    def do_POST(self) -> None:
        """Change a label."""
        if not self._is_welcome():
            return
        if not self.server.guard.has_cookie(self.headers):
            self._send_text(HTTPStatus.UNAUTHORIZED, "Open the address that the command printed.")
            return
        length = self.headers.get("Content-Length", "")
        if self.headers.get("Content-Type") != JSON or not (length.isascii() and length.isdigit()):
            self._refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
        elif len(length) > 9 or int(length) > LARGEST_BODY:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        else:
            body = self.rfile.read(int(length))
            self._answer(POSTS.get(urlsplit(self.path).path), body)

    def _is_welcome(self) -> bool:
        fault = self.server.guard.find_fault(self.command, self.path, self.headers)
        if fault is not None:
            self._refuse(fault)
        return fault is None

    def _refuse(self, status: HTTPStatus) -> None:
        """Refuse a request whose body isn't read, so its connection can't be used again."""
        self.close_connection = True
        self._send_text(status, status.phrase)

    def _let_in(self) -> None:
        """Give the browser the cookie, and take the token out of its address bar."""
        self.send_response(HTTPStatus.SEE_OTHER)
        self.send_header("Location", "/")
        self.send_header("Set-Cookie", self.server.guard.write_cookie())
        self.send_header("Content-Length", "0")
        self._end()

    def _answer(self, ask: Callable[[Session, Any], Any] | None, given: Any) -> None:
        """Send the answer as JSON. An error is an answer too."""
        if ask is None:
            self._send_text(HTTPStatus.NOT_FOUND, HTTPStatus.NOT_FOUND.phrase)
            return
        try:
            status, answer = HTTPStatus.OK, ask(self.server.session, given)
        except CongenerError as error:
            status, answer = HTTPStatus.BAD_REQUEST, {"problem": str(error)}
        self._send(status, json.dumps(answer).encode(), JSON)

    def _send_text(self, status: HTTPStatus, text: str) -> None:
        self._send(status, text.encode(), "text/plain; charset=utf-8")

    def _send(self, status: HTTPStatus, data: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self._end()
        self.wfile.write(data)

    def _end(self) -> None:
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
        """Log nothing: addresses hold what a reviewer searched for."""


def _parse_object(body: bytes) -> dict[str, Any]:
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        given = None
    return given if isinstance(given, dict) else {}


def _ask_row(session: Session, query: Mapping[str, str]) -> dict[str, Any]:
    index = parse_number(query.get("index", ""), "index")
    return session.describe_row(index, query.get("trait") or None)


def _ask_company(session: Session, query: Mapping[str, str]) -> dict[str, Any]:
    return session.describe_company(parse_number(query.get("index", ""), "index"))


GETS: Mapping[str, Callable[[Session, dict[str, str]], Any]] = {
    "/api/run": lambda session, _: session.describe_run(),
    "/api/progress": lambda session, _: session.describe_progress(),
    "/api/rows": lambda session, query: session.list_rows(query),
    "/api/end": lambda session, query: session.describe_end(query),
    "/api/map": lambda session, query: session.describe_map(query),
    "/api/row": _ask_row,
    "/api/company": _ask_company,
}
"""What the page may ask for, by address."""

POSTS: Mapping[str, Callable[[Session, bytes], Any]] = {
    "/api/label": lambda session, body: session.add_label(_parse_object(body)),
    "/api/undo": lambda session, _: session.undo(),
}
"""What the page may change."""
