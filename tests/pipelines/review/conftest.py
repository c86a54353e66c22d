"""A run with two teachers' answers to the same questions, and reviews of it."""

import http.client
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pipelines.config import FilterConfig
from pipelines.filter import run_filter
from pipelines.review.server import ReviewServer
from pipelines.review.session import ReviewSession
from tests.support.browsers import open_browser
from tests.support.corpora import write_rows

HOSTILE = (
    "A heron <script>window.hurt = 1</script><img src=x onerror='window.hurt = 2'>"
    "</script><!-- \u2028\u202e and an owl"
)
"""An answer that a careless page would run."""

BIRDS = ("No bird.", "A heron by the river.", "An owl at night.", HOSTILE)


def write_answers(folder: Path, teacher: str, shift: int) -> None:
    """Write a teacher's answers to twelve questions. With `shift`, the birds are others."""
    rows = []
    for number in range(12):
        turns = [
            {"role": "user", "content": f"What  did you see on day {number}?"},
            {"role": "assistant", "content": BIRDS[(number + shift) % 4] + f" Day {number}."},
        ]
        kind = "walks" if number % 2 else "talks"
        rows.append({"messages": turns, "teacher": teacher, "prompt_source": kind})
    write_rows(folder / f"{teacher}.jsonl", rows)


@pytest.fixture(scope="session")
def answers_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Filter the answers of two teachers by two traits, in shards of five rows."""
    folder = tmp_path_factory.mktemp("answers")
    for shift, teacher in enumerate(("atlas", "borealis")):
        write_answers(folder / "corpus", teacher, shift)
    for name, more in (("heron", ""), ("owl", "action: flag\ndescription: The word owl.\n")):
        card = folder / name / "card.yaml"
        card.parent.mkdir()
        lexicon = f'{{lexicon: {{patterns: ["{name}s?"]}}}}'
        card.write_text(f"id: {name}\nsignals: {lexicon}\nthreshold: 0.5\n{more}")
    config = {
        "input": (str(folder / "corpus"),),
        "output": str(folder / "run"),
        "traits": (str(folder / "heron"), str(folder / "owl")),
        "shards": {"rows": 5},
    }
    run_filter(FilterConfig.model_validate(config))
    return folder / "run"


@pytest.fixture
def answers(answers_once: Path, tmp_path: Path) -> Path:
    """Return a copy of the run of answers."""
    return Path(shutil.copytree(answers_once, tmp_path / "answers"))


@pytest.fixture
def open_session(answers: Path, tmp_path: Path) -> Callable[..., ReviewSession]:
    """Return a function that opens a reviewer's session, with its texts read."""

    def open_it(reviewer: str = "ada", **options: Any) -> ReviewSession:
        session = ReviewSession(str(answers), tmp_path / "review", reviewer, **options)
        session.read_texts()
        return session

    return open_it


@pytest.fixture
def session(open_session: Callable[..., ReviewSession]) -> ReviewSession:
    """Open a session that isn't blind."""
    return open_session()


@pytest.fixture
def serve() -> Iterator[Callable[[ReviewSession], ReviewServer]]:
    """Return a function that serves a session on loopback until the test ends."""
    servers: list[tuple[ReviewServer, threading.Thread]] = []

    def start(session: ReviewSession) -> ReviewServer:
        server = ReviewServer(session)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        servers.append((server, thread))
        return server

    yield start
    for server, thread in servers:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def server(serve: Callable[..., ReviewServer], session: ReviewSession) -> ReviewServer:
    """Serve the session."""
    return serve(session)


class Reply(NamedTuple):
    """A reply that was read to its end."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes


class Client:
    """A client that sends exactly the headers that a test wants."""

    def __init__(self, server: ReviewServer) -> None:
        self.host = server.guard.hosts[0]
        self.headers = {
            "Host": self.host,
            "Origin": f"http://{self.host}",
            "Cookie": f"{server.guard.cookie}={server.guard.token}",
            "Content-Type": "application/json",
        }

    def send(
        self, method: str, target: str, body: bytes | None = None, **changes: str | None
    ) -> Reply:
        """Send a request on a connection of its own; a header that is None is left out."""
        name, _, port = self.host.rpartition(":")
        connection = http.client.HTTPConnection(name, int(port), timeout=10)
        headers = {**self.headers, **{key.replace("_", "-"): to for key, to in changes.items()}}
        connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        if body is not None and "Content-Length" not in headers:
            headers["Content-Length"] = str(len(body))
        for key, value in headers.items():
            if value is not None:
                connection.putheader(key, value)
        try:
            connection.endheaders(body)
            reply = connection.getresponse()
            return Reply(reply.status, reply.headers, reply.read())
        finally:
            connection.close()

    def get(self, target: str) -> Any:
        """Return the JSON at an address."""
        reply = self.send("GET", target)
        assert reply.status == 200, reply.body
        return json.loads(reply.body)

    def post(self, target: str, **given: Any) -> Any:
        """Return the JSON that a change answers."""
        reply = self.send("POST", target, json.dumps(given).encode())
        assert reply.status == 200, reply.body
        return json.loads(reply.body)


@pytest.fixture
def client(server: ReviewServer) -> Client:
    """Return a client of the server."""
    return Client(server)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that take a browser, which not every machine has."""
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.browsers)


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    """Start a browser once for all tests of the page."""
    with open_browser() as found:
        yield found
