"""Inputs that change during a run: one version is published, or nothing."""

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.config import FilterConfig
from pipelines.filter import run_filter
from pipelines.verify import verify_run
from schemas.digests import digest_bytes
from schemas.errors import CongenerError
from schemas.manifests import Manifest
from tests.support.corpora import ANSWERS, CARD, build_conversation, write_rows
from tests.support.runs import read_lines
from transforms.files import json_lines, storage

pytestmark = pytest.mark.faults

MOMENTS = 50
ROWS = 60
BLOCK = 2_000


def append_rows(path: Path) -> None:
    """Append a row, like a job that is still writing."""
    with path.open("ab") as file:
        file.write(json.dumps(build_conversation(999, "A late answer.")).encode() + b"\n")


def cut_rows(path: Path) -> None:
    """Remove the first rows in place."""
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[3:]))


def replace_file(path: Path) -> None:
    """Replace the file with another of the same size and time."""
    lines = path.read_bytes().splitlines(keepends=True)
    before = path.stat()
    other = path.with_name("other")
    other.write_bytes(b"".join(reversed(lines)))
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)


def change_and_restore(path: Path) -> None:
    """Change the file for a moment, then restore bytes and times."""
    data, before = path.read_bytes(), path.stat()
    path.write_bytes(data[: len(data) // 2])
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


class Saboteur:
    """A patch that calls a function at the n-th read of an input."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.reads, self.moment, self.change = 0, -1, lambda: None
        opened = storage.open_raw

        def open_raw(uri: str):
            stream = opened(uri)
            return _Watched(stream, self) if Path(uri).parent == folder else stream

        monkeypatch.setattr(storage, "open_raw", open_raw)

    def prepare(self, moment: int, change: Callable[[], None]) -> None:
        """Choose the read at which the inputs change."""
        self.reads, self.moment, self.change = 0, moment, change

    def count(self) -> None:
        """Count a read, and change the inputs at the chosen read."""
        self.reads += 1
        if self.reads == self.moment:
            self.change()


class _Watched:
    """A file whose reads are counted."""

    def __init__(self, stream, saboteur: Saboteur) -> None:
        self._stream, self._saboteur = stream, saboteur

    def read(self, *size: int) -> bytes:
        self._saboteur.count()
        return self._stream.read(*size)

    def __getattr__(self, name: str):
        return getattr(self._stream, name)

    def __enter__(self):
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()


@pytest.fixture
def config(tmp_path) -> FilterConfig:
    """Configure a run over two files, with shards of seven rows."""
    for part in range(2):
        numbers = range(part * ROWS, part * ROWS + ROWS)
        rows = [build_conversation(number, ANSWERS[number % 5]) for number in numbers]
        write_rows(tmp_path / "original" / f"{part}.jsonl", rows)
    card = tmp_path / "heron" / "card.yaml"
    card.parent.mkdir()
    card.write_text(f"id: heron\naction: flag\n{CARD}")
    return FilterConfig(
        input=(str(tmp_path / "corpus"),),
        output=str(tmp_path / "run"),
        traits=(str(card.parent),),
        shards={"rows": 7},
    )


def try_run(config: FilterConfig, root: Path) -> Manifest | None:
    """Filter a fresh copy of the corpus; return the manifest, or None for a refusal."""
    for folder in ("corpus", "run"):
        shutil.rmtree(root / folder, ignore_errors=True)
    shutil.copytree(root / "original", root / "corpus")
    try:
        return run_filter(config)
    except CongenerError:
        return None


def strip_notes(line: bytes) -> bytes:
    """Return a row's original bytes without a flag's field."""
    return line.split(b',"congener":')[0].removesuffix(b"}") + b"}"


def check_version(manifest: Manifest, config: FilterConfig, root: Path) -> None:
    """Check that the rows come from the files whose digests are in the manifest."""
    versions = {
        digest_bytes(path.read_bytes()): path
        for folder in ("original", "corpus")
        for path in (root / folder).glob("*.jsonl")
    }
    files = [versions[source.sha256] for source in manifest.inputs]
    expected = [line for file in files for line in file.read_bytes().splitlines()]
    same = [strip_notes(line) for line in read_lines(config.output, "clean")] == expected
    assert same, "the rows aren't those of the files in the manifest"
    changed = [path for path in files if path.parent.name == "original"]
    assert len(verify_run(config.output, inputs=True)) <= len(changed)


@pytest.mark.parametrize("change", [append_rows, cut_rows, replace_file, change_and_restore])
def test_a_changed_input_is_refused_or_read_as_one_version(config, tmp_path, monkeypatch, change):
    """A run with a changing input is refused, or has the rows of one version."""
    monkeypatch.setattr(json_lines, "BLOCK_BYTES", BLOCK)
    saboteur = Saboteur(monkeypatch, tmp_path / "corpus")
    assert try_run(config, tmp_path) is not None
    dice, refused = random.Random(change.__name__), 0
    reads = saboteur.reads
    for _ in range(MOMENTS):
        changed = tmp_path / "corpus" / f"{dice.randrange(2)}.jsonl"
        saboteur.prepare(dice.randint(1, reads), lambda path=changed: change(path))
        manifest = try_run(config, tmp_path)
        saboteur.prepare(-1, lambda: None)
        refused += manifest is None
        assert Path(config.output, "manifest.json").exists() == (manifest is not None)
        if manifest is not None:
            check_version(manifest, config, tmp_path)
    print(f"{change.__name__}: {refused} of {MOMENTS} runs refused")
    assert refused > MOMENTS // 3


def test_a_parquet_file_that_changes_is_refused(config, tmp_path, monkeypatch):
    """A run stops if a Parquet file is replaced between its row groups."""
    (tmp_path / "original" / "0.jsonl").unlink()
    (tmp_path / "original" / "1.jsonl").unlink()
    rows = [build_conversation(number, ANSWERS[number % 5]) for number in range(ROWS)]
    table = pa.Table.from_pylist(rows)
    pq.write_table(table, tmp_path / "original" / "a.parquet", row_group_size=10)
    saboteur = Saboteur(monkeypatch, tmp_path / "corpus")
    assert try_run(config, tmp_path) is not None
    path = tmp_path / "corpus" / "a.parquet"

    def replace_rows() -> None:
        pq.write_table(table.slice(1), path, row_group_size=10)

    outcomes = []
    for moment in range(2, saboteur.reads, 3):
        saboteur.prepare(moment, replace_rows)
        outcomes.append(try_run(config, tmp_path))
    assert outcomes
    assert not any(outcomes)
