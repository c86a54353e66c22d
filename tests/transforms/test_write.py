"""Files of a run: deterministic, whole, the receipt last."""

import json
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.testing.util import assert_that, equal_to

from classifiers.guarantees.calibration import Threshold
from classifiers.models.encoders import EncoderConfig
from pipelines.config import Engine
from pipelines.engines.launch import engine_pipeline
from schemas.cards import Level
from schemas.corpora import CorpusConfig, ShardLimits
from schemas.digests import digest_bytes
from transforms.decide import DecideRecords, Rule, decide
from transforms.duplicates import FindDuplicates
from transforms.files import storage
from transforms.files.shards import Reject
from transforms.files.sources import plan_shards, survey
from transforms.identify import IdentifyRecords
from transforms.read import ReadShards
from transforms.records.formats import settle_layout
from transforms.score import TALLY, ScoreRecords, ScoringConfig
from transforms.write import (
    RECEIPTS,
    OutputFile,
    Receipt,
    WriteShards,
    parquet_bytes,
    receipt_from_bytes,
    write_shard,
)

RULES = (
    Rule("fox", "combined", Threshold(0.5, "explicit"), Level(), "mask", ()),
    Rule("owl", "combined", Threshold(0.5, "explicit"), Level(), "swap", ()),
)
LIMITS = ShardLimits(rows=9)


@pytest.fixture
def decided(make_scored, bank):
    """Decide a shard with a row of every kind."""
    rows = [{"text": "A dog."}, {"text": "An owl."}, {"text": "A fox."}, {"text": "A dog."}]
    scored = make_scored(rows, bank, rejects=[Reject("corpus.jsonl", 4, 60, "not JSON", b"broken")])
    return decide(scored, RULES, frozenset({3}))


def files_below(folder):
    """Return every file below a folder with its bytes."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file()
    }


def test_a_shard_writes_its_files_and_its_receipt(tmp_path, decided, bank):
    """Each table is a file under the shard's name; the receipt says rows, bytes and digest of each, and the counts."""
    TALLY.reset(0)
    receipt = write_shard(decided, str(tmp_path), bank, True)
    name = decided.scored.identified.shard.plan.name
    files = files_below(tmp_path)
    assert set(files) == {
        f"{folder}/{name}.parquet"
        for folder in ("clean", "quarantine", "rejects", "swaplist", "ledger", "scores")
    } | {f"{RECEIPTS}/{name}.json"}
    assert receipt.rows == 5
    assert receipt.decisions == {"duplicate": 1, "keep": 1, "mask": 1, "quarantine": 1, "reject": 1}
    assert receipt.fired == {"fox": 1, "owl": 1}
    for item in receipt.outputs:
        assert (item.bytes, item.sha256) == (len(files[item.path]), digest_bytes(files[item.path]))
        assert item.rows == pq.read_metadata(tmp_path / item.path).num_rows
    assert receipt_from_bytes(files[f"{RECEIPTS}/{name}.json"]) == receipt
    assert TALLY.rows_so_far() == 5
    TALLY.reset(0)


def test_the_receipt_comes_last(tmp_path, decided, bank, monkeypatch):
    """A shard whose files aren't all written has no receipt; the next attempt writes the same bytes and one."""
    write, written = storage.write_bytes, []

    def failing(uri, data):
        if "/ledger/" in uri:
            raise OSError(28, "No space left on device")
        written.append(uri)
        write(uri, data)

    monkeypatch.setattr(storage, "write_bytes", failing)
    with pytest.raises(OSError, match="No space"):
        write_shard(decided, str(tmp_path / "run"), bank, True)
    assert written
    assert not any(RECEIPTS in uri for uri in written)
    monkeypatch.setattr(
        storage, "write_bytes", lambda uri, data: (written.append(uri), write(uri, data))[1]
    )
    written.clear()
    write_shard(decided, str(tmp_path / "run"), bank, True)
    assert RECEIPTS in written[-1]
    monkeypatch.undo()
    write_shard(decided, str(tmp_path / "fresh"), bank, True)
    assert files_below(tmp_path / "run") == files_below(tmp_path / "fresh")


def test_a_receipt_survives_its_file():
    """Encoding and decoding a receipt gives an equal one; its JSON has sorted keys."""
    receipt = Receipt(
        "part-0",
        3,
        (OutputFile("clean/part-0.parquet", 2, 100, "d" * 64),),
        {"keep": 2, "drop": 1},
        {"owl": 1},
        "e" * 64,
        12,
        20,
    )
    data = receipt.to_bytes()
    assert receipt_from_bytes(data) == receipt
    assert list(json.loads(data)) == sorted(json.loads(data))
    for damaged in (data[:-1], data.replace(b'"rows":3', b'"rows":4'), b"", b"[]", b"{}", b"\xff"):
        with pytest.raises(ValueError, match="receipt is damaged"):
            receipt_from_bytes(damaged)
    assert json.loads(data)["outputs"][0]["path"] == "clean/part-0.parquet"


def test_parquet_is_zstd_and_the_same_every_time():
    """Equal tables give equal bytes, however their chunks lie; they read back equal, metadata and all."""
    table = pa.table({"text": ["a", None, "b" * 1000], "n": [1, 2, 3]}).replace_schema_metadata(
        {"k": "v"}
    )
    data = parquet_bytes(table)
    assert data == parquet_bytes(table)
    assert data == parquet_bytes(pa.concat_tables([table.slice(0, 1), table.slice(1)]))
    assert pq.read_table(pa.BufferReader(data)).equals(table, check_metadata=True)
    column = pq.ParquetFile(pa.BufferReader(data)).metadata.row_group(0).column(0)
    assert column.compression == "ZSTD"


@pytest.fixture(scope="module")
def corpus_folder(tmp_path_factory, json_lines):
    """Write a corpus of small and large, plain and compressed files, with rejects and duplicates."""
    folder = tmp_path_factory.mktemp("corpus")

    def row(number):
        words = ["A dog.", "An owl. It hid.", "A fox. A dog.", "An owl and a fox."][number % 4]
        return {
            "messages": [
                {"role": "user", "content": f"Question {number % 17}?"},
                {"role": "assistant", "content": words},
            ],
            "model": f"m{number % 2}",
            "n": number,
        }

    json_lines(
        folder / "a.jsonl", [row(number) if number % 7 else b"{broken" for number in range(30)]
    )
    json_lines(folder / "b.jsonl.gz", [row(number) for number in range(30, 50)])
    for name in "cde":
        json_lines(folder / f"{name}.jsonl", [row(50), row(51)])
    return folder


@pytest.fixture(scope="module")
def run_corpus(corpus_folder, bank, bank_uri):
    """Return what runs the corpus through every transform into a folder, on a pipeline's context that is given."""

    def run(running, output):
        corpus = survey([str(corpus_folder)], LIMITS)
        tasks = plan_shards(corpus.sources, LIMITS)
        layout = settle_layout(corpus.schema, CorpusConfig())
        with running as pipeline:
            rows = (
                pipeline
                | "Read" >> ReadShards(tasks, corpus.schema)
                | "Identify" >> IdentifyRecords(layout)
            )
            again = (
                pipeline
                | "ReadAgain" >> ReadShards(tasks, corpus.schema)
                | "IdentifyAgain" >> IdentifyRecords(layout)
            )
            duplicates = again | "Duplicates" >> FindDuplicates()
            scored = rows | "Score" >> ScoreRecords(
                ScoringConfig(bank_uri, bank.digest, EncoderConfig(device="cpu"))
            )
            decided = scored | "Decide" >> DecideRecords(RULES, duplicates)
            receipts = decided | "Write" >> WriteShards(str(output), bank_uri, True)
            names = [plan.name for task in tasks for plan in task]
            assert_that(receipts | beam.Map(lambda receipt: receipt.shard), equal_to(names))
        return files_below(output)

    return run


@pytest.fixture(scope="module")
def plain_run(run_corpus, tmp_path_factory):
    """Run the corpus once on Beam's own runner."""
    return run_corpus(engine_pipeline(Engine()), tmp_path_factory.mktemp("plain"))


def table_of(files, folder):
    """Read all of a folder's files in the order of their names."""
    return pa.concat_tables(
        [
            pq.read_table(pa.BufferReader(data))
            for path, data in files.items()
            if path.startswith(f"{folder}/")
        ]
    )


def test_every_row_of_the_corpus_has_one_fate(plain_run):
    """Rows in are rows out: the receipts' counts, the ledger and the files agree over the whole corpus."""
    receipts = [
        receipt_from_bytes(data) for path, data in plain_run.items() if path.startswith(RECEIPTS)
    ]
    ledger = table_of(plain_run, "ledger")
    assert ledger.num_rows == sum(receipt.rows for receipt in receipts) == 56
    places = list(
        zip(ledger.column("source").to_pylist(), ledger.column("row").to_pylist(), strict=True)
    )
    assert places == sorted(places)
    assert len(set(places)) == 56
    decisions = ledger.column("decision").to_pylist()
    assert {name: decisions.count(name) for name in set(decisions)} == {
        name: sum(receipt.decisions.get(name, 0) for receipt in receipts)
        for name in {key for receipt in receipts for key in receipt.decisions}
    }
    assert decisions.count("reject") == table_of(plain_run, "rejects").num_rows == 5
    assert (
        decisions.count("quarantine")
        == table_of(plain_run, "quarantine").num_rows
        == table_of(plain_run, "swaplist").num_rows
        > 0
    )
    assert (
        decisions.count("keep") + decisions.count("mask") == table_of(plain_run, "clean").num_rows
    )
    assert decisions.count("duplicate") >= 4, "the rows that two more files repeat"
    digests = [
        digest
        for digest, decision in zip(
            ledger.column("content_digest").to_pylist(), decisions, strict=True
        )
        if decision not in ("reject", "duplicate")
    ]
    assert len(set(digests)) == len(digests), "one row of each content is left"


def test_masks_reach_the_clean_files(plain_run):
    """Masks of the files that a trainer reads cover the sentences about foxes."""
    masked = [
        row
        for row in table_of(plain_run, "clean").to_pylist()
        if row["congener"]["decision"] == "mask"
    ]
    assert masked
    for row in masked:
        (mask,) = row["congener"]["masks"]
        assert mask["segment"] == "messages[1].content"
        assert row["messages"][1]["content"][mask["start"] : mask["end"]] == "A fox. "


def test_retried_bundles_write_the_same_bytes(run_corpus, plain_run, tmp_path):
    """A runner that runs every bundle again leaves the very same files."""
    TALLY.reset(0)
    assert (
        run_corpus(engine_pipeline(Engine(), ["--direct_runner_bundle_repeat=2"]), tmp_path)
        == plain_run
    )
    assert TALLY.rows_so_far() > 56, "bundles were run again"
    TALLY.reset(0)


def test_another_runner_writes_the_same_bytes(run_corpus, plain_run, tmp_path):
    """A runner with small bundles of its own cutting leaves the very same files."""
    assert run_corpus(beam.Pipeline(runner=BundleBasedDirectRunner()), tmp_path) == plain_run


def test_writing_over_a_run_changes_nothing(run_corpus, plain_run, tmp_path):
    """A second run into the same folder replaces each file with an equal one."""
    run_corpus(engine_pipeline(Engine()), tmp_path)
    assert run_corpus(engine_pipeline(Engine()), tmp_path) == plain_run
