"""Hub data sets: addresses and requests, with a local server."""

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from schemas.errors import InputError
from transforms.files import hub
from transforms.files.hub import parse_address

ROOT = Path(__file__).parents[3]
COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {
    "README.md": b"# birds",
    "data/train-00000-of-00001.jsonl": b'{"text": "a"}\n{"text": "b"}\n',
    "data/test.jsonl": b'{"text": "c"}\n',
    ".gitattributes": b"",
}


class Handler(BaseHTTPRequestHandler):
    """Serves the data set `owner/birds`."""

    def do_HEAD(self) -> None:
        """Answer with the headers of a file."""
        self.answer(send_body=False)

    def do_GET(self) -> None:
        """Answer with a file, or with the list of files."""
        self.answer(send_body=True)

    def answer(self, send_body: bool) -> None:
        """Answer a request."""
        path = self.path.partition("?")[0]
        name = path.removeprefix(f"/datasets/owner/birds/resolve/{COMMIT}/")
        headers = {}
        if path in (f"/api/datasets/owner/birds/revision/{end}" for end in ("v1", COMMIT)) or (
            path == "/api/datasets/owner/birds"
        ):
            files = [{"rfilename": key, "size": len(data)} for key, data in FILES.items()]
            body = json.dumps({"id": "owner/birds", "sha": COMMIT, "siblings": files}).encode()
        elif name in FILES:
            body = FILES[name]
            headers = {"ETag": f'"{len(body):040d}"', "X-Repo-Commit": COMMIT}
        else:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.end_headers()
            return
        self.send_response(200)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if send_body:
            self.wfile.write(body)

    def log_message(self, *_) -> None:
        """Say nothing."""


@pytest.fixture
def run_code(tmp_path):
    """Return a function that runs code with a local server as the hub."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()

        def run(code: str, **more: str) -> str:
            environment = os.environ | {
                "HF_ENDPOINT": f"http://127.0.0.1:{running.server_port}",
                "HF_HOME": str(tmp_path),
                "HF_HUB_OFFLINE": "0",
                "PYTHONPATH": str(ROOT),
            }
            ended = subprocess.run(
                [sys.executable, "-c", code],
                capture_output=True,
                text=True,
                check=False,
                env=environment | more,
                cwd=ROOT,
            )
            return ended.stdout + ended.stderr

        yield run
        running.shutdown()


SURVEY = """
from schemas.corpora import ShardLimits
from schemas.errors import InputError
from transforms.files.sources import survey
try:
    for source in survey([{address!r}], ShardLimits()).sources:
        print(source.name, source.uri, source.rows)
except InputError as error:
    print(error)
"""


@pytest.mark.parametrize(
    "address", ["owner/birds", "owner/birds@v1/data", "owner/birds/data/*.jsonl"]
)
def test_a_data_set_is_read_at_a_pinned_commit(run_code, address):
    """URIs have a commit for the revision, and folders and globs select files."""
    printed = run_code(SURVEY.format(address=f"hf://datasets/{address}"))
    lines = [line.split() for line in printed.splitlines() if line.startswith(("data", "t"))]
    assert [line[0].removeprefix("data/") for line in lines] == [
        "test.jsonl",
        "train-00000-of-00001.jsonl",
    ], printed
    pinned = f"hf://datasets/owner/birds@{COMMIT}/data/"
    assert [line[1:] for line in lines] == [
        [f"{pinned}test.jsonl", "1"],
        [f"{pinned}train-00000-of-00001.jsonl", "2"],
    ]


def test_a_data_set_that_is_not_there_is_an_error(run_code):
    """The error for a missing or private data set mentions the token."""
    printed = run_code(SURVEY.format(address="hf://datasets/owner/none"))
    assert "hf://datasets/owner/none: can't be read from the hub: " in printed
    assert "HF_TOKEN" in printed
    assert "Traceback" not in printed


def test_a_hub_that_is_away_is_an_error(run_code):
    """The error without a network says that the hub can't be read."""
    printed = run_code(SURVEY.format(address="hf://datasets/owner/birds"), HF_HUB_OFFLINE="1")
    assert "can't be read from the hub: " in printed
    assert "Traceback" not in printed


@pytest.mark.parametrize(
    ("revision", "found"),
    [
        ("refs/convert/parquet", "refs/convert/parquet"),
        ("refs%2Fconvert%2Fparquet", "refs/convert/parquet"),
        ("~parquet", "refs/convert/parquet"),
        ("refs/pr/12", "refs/pr/12"),
        ("v1.0", "v1.0"),
    ],
)
def test_revisions_may_be_references(revision, found):
    """A revision may contain slashes, and the converted branch has a short name."""
    address = parse_address(f"hf://datasets/o/n@{revision}/default/train/0000.parquet")
    assert address == ("o/n", found, "default/train/0000.parquet")


def test_addresses_have_a_repository_a_revision_and_a_path():
    """Slashes in revisions are encoded, and the path is optional."""
    address = parse_address("hf://datasets/owner/birds@refs%2Fconvert%2Fparquet/data/a b.json")
    assert address == ("owner/birds", "refs/convert/parquet", "data/a b.json")
    assert str(address) == "hf://datasets/owner/birds@refs%2Fconvert%2Fparquet/data/a b.json"
    assert parse_address("hf://datasets/owner/birds/") == ("owner/birds", None, "")
    assert str(hub.HubPath("o/n", None, "")) == "hf://datasets/o/n"


@pytest.mark.parametrize("uri", ["hf://datasets/birds", "hf://owner/model", "hf://spaces/o/n"])
def test_other_addresses_of_the_hub_are_refused(uri):
    """The remedy for another address shows a data set's address."""
    with pytest.raises(InputError, match="isn't the address of a data set") as caught:
        parse_address(uri)
    assert "hf://datasets/OWNER/NAME@REVISION/PATH" in caught.value.remedy
