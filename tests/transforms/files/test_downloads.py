"""Web files and standard input."""

import gzip
import hashlib
import io
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from schemas.corpora import ShardLimits
from schemas.errors import InputError
from transforms.files import downloads, storage
from transforms.files.downloads import fetch
from transforms.files.locations import STDIN
from transforms.files.sources import survey

pytestmark = pytest.mark.filterwarnings(  # Python leaves a failed request's socket open
    "ignore::pytest.PytestUnraisableExceptionWarning"
)

DATA = gzip.compress(b'{"text": "a"}\n{"text": "b"}\n')


class Handler(BaseHTTPRequestHandler):
    """Serves a file, a redirect, a truncated response, and errors."""

    def do_GET(self) -> None:
        """Answer a request and record it."""
        self.server.requests.append(self.path)
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/a.jsonl.gz")
            self.end_headers()
            return
        if self.path not in ("/a.jsonl.gz", "/short", "/a.csv?x=1"):
            self.send_error(404)
            return
        body = b"a,b\n1,2\n" if "csv" in self.path else DATA
        self.send_response(200)
        self.send_header("Content-Length", str(len(body) + 9 * (self.path == "/short")))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_) -> None:
        """Say nothing."""


@pytest.fixture
def server():
    """Start a server on a free port; return its address and the list of requests."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.requests = []
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}", running.requests
        running.shutdown()
    downloads._fetch.cache_clear()


def test_a_file_of_the_web_is_fetched_once(server):
    """A web file is downloaded once, and its digest and size are recorded."""
    address, requests = server
    found = fetch(f"{address}/a.jsonl.gz")
    assert (found.size, found.sha256) == (len(DATA), hashlib.sha256(DATA).hexdigest())
    assert Path(found.path).read_bytes() == DATA
    with storage.open_raw(f"{address}/a.jsonl.gz") as stream:
        assert stream.read() == DATA
    assert storage.take_fingerprint(f"{address}/a.jsonl.gz") == found.sha256
    assert requests == ["/a.jsonl.gz"]


def test_a_file_of_the_web_is_a_source(server):
    """A web file is read from a local copy, but keeps its address."""
    address, _ = server
    (source,) = survey([f"{address}/a.jsonl.gz"], ShardLimits()).sources
    assert (source.name, source.uri) == ("a.jsonl.gz", f"{address}/a.jsonl.gz")
    assert (source.rows, source.compression) == (2, "gzip")
    assert source.sha256 == hashlib.sha256(DATA).hexdigest()
    (table,) = survey([f"{address}/a.csv?x=1"], ShardLimits()).sources
    assert table.kind == "csv"


def test_redirects_are_followed_unless_they_drop_encryption(server):
    """A redirect is followed, but not from https to http."""
    address, _ = server
    assert fetch(f"{address}/moved").size == len(DATA)
    downloads._require_encrypted("https://a/x", "https://b/y")
    with pytest.raises(OSError, match="redirects to http://b/y, which isn't encrypted"):
        downloads._require_encrypted("https://a/x", "http://b/y")


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("/none", "the server answers 404 Not Found"),
        ("/short", f"ended after {len(DATA)} of {len(DATA) + 9} bytes"),
    ],
)
def test_a_failed_download_is_explained(server, path, problem):
    """The error for a failed download gives the status or the bytes, and the address."""
    address, _ = server
    with pytest.raises(InputError, match=problem) as caught:
        storage.find(address + path)
    assert caught.value.where == address + path


@pytest.mark.parametrize(
    ("page", "file"),
    [
        ("https://huggingface.co/datasets/o/n", "hf://datasets/o/n"),
        ("https://huggingface.co/datasets/o/n/tree/main", "hf://datasets/o/n@main"),
        ("https://hf.co/datasets/o/n/blob/v1/d/a.jsonl?x=1", "hf://datasets/o/n@v1/d/a.jsonl"),
        (
            "https://github.com/o/n/blob/main/a.jsonl",
            "https://raw.githubusercontent.com/o/n/main/a.jsonl",
        ),
    ],
)
def test_a_page_that_shows_a_file_is_refused_with_the_file(page, file):
    """The remedy for a page that shows a file is the file's address."""
    with pytest.raises(InputError, match="is a page of") as caught:
        fetch(page)
    assert caught.value.remedy == f"name {file}"


def test_a_server_that_is_away_is_an_error():
    """The error for a failed connection gives the reason."""
    with pytest.raises(InputError, match=r"can't be downloaded: .*refused"):
        fetch("http://127.0.0.1:9/a.jsonl")


def test_a_file_that_is_too_large_is_refused(server, monkeypatch):
    """A download stops at the size limit."""
    monkeypatch.setattr(downloads, "LARGEST", 10)
    with pytest.raises(InputError, match="it is larger than"):
        fetch(f"{server[0]}/a.jsonl.gz")


@pytest.fixture
def standard_input(monkeypatch):
    """Return a function that replaces standard input."""
    monkeypatch.setenv(downloads.SPOOLED, "")
    downloads._fetch.cache_clear()

    def put(data: bytes | None) -> None:
        piped = SimpleNamespace(isatty=lambda: data is None, buffer=io.BytesIO(data or b""))
        monkeypatch.setattr(sys, "stdin", piped)

    yield put
    downloads._fetch.cache_clear()


def test_standard_input_is_a_source(standard_input):
    """Piped input is copied to a file for all processes."""
    standard_input(DATA)
    (source,) = survey([STDIN], ShardLimits()).sources
    assert (source.name, source.rows, source.compression) == ("stdin", 2, "gzip")
    assert source.sha256 == hashlib.sha256(DATA).hexdigest()
    path = fetch(STDIN).path
    downloads._fetch.cache_clear()  # another process would have an empty cache
    standard_input(b"")
    assert fetch(STDIN) == (path, len(DATA), source.sha256)


def test_a_terminal_is_no_corpus(standard_input):
    """The error for a terminal says how to pipe something."""
    standard_input(None)
    with pytest.raises(InputError, match="is a terminal") as caught:
        fetch(STDIN)
    assert "--input -" in caught.value.remedy
