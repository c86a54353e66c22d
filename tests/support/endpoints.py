"""An OpenAI-compatible server on loopback that can misbehave."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Answer(NamedTuple):
    """What the server sends: a status, a body, and headers."""

    body: bytes
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()


def complete(text: str, prompt: int | None = 10, reply: int = 5) -> Answer:
    """Return a chat completion with this text."""
    body: dict[str, Any] = {"choices": [{"message": {"role": "assistant", "content": text}}]}
    if prompt is not None:
        body["usage"] = {"prompt_tokens": prompt, "completion_tokens": reply}
    return Answer(json.dumps(body).encode())


class Server(NamedTuple):
    """The server's base URL and the requests that it got: path, headers, body."""

    url: str
    requests: list[tuple[str, dict[str, str], dict[str, Any]]]


@contextmanager
def serve(answer: Callable[[int, dict[str, Any]], Answer]) -> Iterator[Server]:
    """Serve answers, given the number of earlier requests and the request's body."""
    requests: list[tuple[str, dict[str, str], dict[str, Any]]] = []
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                number = len(requests)
                requests.append((self.path, dict(self.headers), body))
            sent = answer(number, body)
            self.send_response(sent.status)
            for name, value in (*sent.headers, ("Content-Length", str(len(sent.body)))):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(sent.body)

        def log_message(self, *_: Any) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield Server(f"http://127.0.0.1:{server.server_port}/v1", requests)
        finally:
            server.shutdown()
            thread.join()
