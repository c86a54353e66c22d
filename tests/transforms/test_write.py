"""A run's files are deterministic and complete, and receipts come last."""

import dataclasses
import gzip

import apache_beam as beam
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.testing.util import assert_that, equal_to

from classifiers.models.interface import EncoderConfig
from classifiers.scoring import Scorer
from schemas.corpora import CorpusConfig, ShardLimits
from schemas.digests import digest_bytes
from schemas.events import ShardWritten
from schemas.receipts import parse_receipt
from schemas.runs import RECEIPTS, parse_path, receipt_path, shard_path
from tests.support.rules import build_rule
from tests.support.runs import read_files
from transforms.decide import DecideRecords, decide_shard
from transforms.duplicates import FindDuplicates
from transforms.files import storage
from transforms.files.json_lines import JsonLines, decode_lines
from transforms.files.planning import plan_shards
from transforms.files.shards import Reject
from transforms.files.sources import survey
from transforms.identify import IdentifyRecords, identify
from transforms.listeners import listen_to
from transforms.read import ReadShards
from transforms.records.formats import settle_layout
from transforms.score import ScoreRecords, ScoringConfig, score
from transforms.write import (
    Destination,
    WriteShards,
    count_decisions,
    count_fired,
    encode_output,
    encode_parquet,
    write_shard,
)

RULES = (build_rule("fox", action="mask"), build_rule("owl", action="swap"))
RUN_ID = "run-1"
LIMITS = ShardLimits(rows=9)


@pytest.fixture
def decided(make_scored, bank):
    """Return a decided shard with every kind of row."""
    answers = ("A dog.", "An owl.", "A fox.", "A dog.")
    rows = [{"prompt": "Why?", "completion": answer} for answer in answers]
    scored = make_scored(rows, bank, rejects=[Reject("corpus.jsonl", 4, 60, "not JSON", b"broken")])
    return decide_shard(scored, RULES, {3: ()})


@pytest.fixture
def destination(tmp_path, bank_uri):
    """Return a destination with the extra column."""
    return Destination(str(tmp_path / "run"), bank_uri, extra_column=True, run_id=RUN_ID)


def test_rows_are_counted_by_decision_and_by_trait(decided):
    """A reject is a decision, and a row counts once for each trait."""
    counted = dict.fromkeys(("duplicate", "keep", "mask", "quarantine", "reject"), 1)
    assert count_decisions(decided) == counted
    assert count_fired(decided) == {"fox": 1, "owl": 1}
    row, reasons = next(iter(decided.decided.reasons.items()))
    again = dataclasses.replace(decided.decided, reasons={row: [*reasons, *reasons]})
    assert count_fired(dataclasses.replace(decided, decided=again)) == {reasons[0].trait: 1}


def test_a_shard_writes_its_files_and_its_receipt(tmp_path, decided, bank, destination):
    """Each table has a file, and the receipt lists rows, size and digest."""
    receipt = write_shard(decided, bank, destination)
    name, run = decided.plan.name, tmp_path / "run"
    files = read_files(run)
    folders = ("clean", "quarantine", "rejects", "swaplist", "ledger", "scores", "spans")
    paths = {shard_path(folder, name, stem="corpus") for folder in folders}
    assert set(files) == {*paths, receipt_path(name)}
    assert (receipt.shard, receipt.rows, receipt.run) == (name, 5, RUN_ID)
    assert receipt.decisions == {"duplicate": 1, "keep": 1, "mask": 1, "quarantine": 1, "reject": 1}
    assert receipt.fired == {"fox": 1, "owl": 1}
    assert {item.path for item in receipt.outputs} == set(files) - {receipt_path(name)}
    for item in receipt.outputs:
        assert (item.bytes, item.sha256) == (len(files[item.path]), digest_bytes(files[item.path]))
        assert item.rows == pq.read_metadata(run / item.path).num_rows
    assert parse_receipt(files[receipt_path(name)]) == receipt


def test_a_receipt_has_the_cost_of_scoring(decided, bank, destination):
    """The receipt has the shard's tokens, budget cuts and unscored rows."""
    decided.tokens, decided.padded, decided.budget_cuts = 70, 90, 2
    decided.scores.combined["fox"][0] = decided.scores.combined["owl"][0] = float("nan")
    receipt = write_shard(decided, bank, destination)
    assert (receipt.tokens, receipt.padded, receipt.budget_cuts) == (70, 90, 2)
    assert receipt.unscored == 1


def test_a_receipt_counts_prompts_that_are_missing(make_scored, bank, destination):
    """The receipt counts missing and incomplete prompts."""
    texts = [{"role": "assistant", "content": "An owl."}]
    image = {"role": "user", "content": "Why?", "images": ["a.png"]}
    rows = [{"messages": texts}, {"messages": [image, *texts]}, {"messages": [image]}]
    shard = decide_shard(make_scored(rows, bank), RULES, {})
    receipt = write_shard(shard, bank, destination)
    assert (receipt.unprompted, receipt.incomplete) == (1, 1)
    plain = make_scored([{"text": "An owl."}], bank)
    assert write_shard(decide_shard(plain, RULES, {}), bank, destination).unprompted == 1


def test_a_written_shard_is_reported(decided, bank, destination):
    """An event on the run's channel counts the shard's rows."""
    events = []
    with listen_to(RUN_ID, events.append):
        write_shard(decided, bank, destination)
    assert events == [ShardWritten(5, decided.plan.name)]


def test_vectors_are_written_on_request(with_scores, tmp_path, bank, bank_uri):
    """With vectors, each shard has a vector file."""
    scored = with_scores({"owl": [0.1]})
    scored.scores.vectors, scored.scores.vector_rows = np.eye(1, 2, dtype=np.float32), np.array([0])
    shard = decide_shard(scored, RULES[1:])
    to = Destination(str(tmp_path), bank_uri, extra_column=False, vectors=True)
    write_shard(shard, bank, to)
    (path,) = (tmp_path / "vectors").iterdir()
    assert pq.read_table(path).column("vector").to_pylist() == [[1, 0]]


def test_the_receipt_is_written_last(tmp_path, decided, bank, destination, monkeypatch):
    """An incomplete shard has no receipt until a second attempt."""
    write, written = storage.write_bytes, []

    def failing(uri, data):
        if "/ledger/" in uri:
            raise OSError(28, "No space left on device")
        written.append(uri)
        write(uri, data)

    monkeypatch.setattr(storage, "write_bytes", failing)
    with pytest.raises(OSError, match="No space"):
        write_shard(decided, bank, destination)
    assert written
    assert not any(RECEIPTS in uri for uri in written)
    monkeypatch.setattr(
        storage, "write_bytes", lambda uri, data: (written.append(uri), write(uri, data))[1]
    )
    written.clear()
    write_shard(decided, bank, destination)
    assert RECEIPTS in written[-1]
    monkeypatch.undo()
    fresh = dataclasses.replace(destination, run=str(tmp_path / "fresh"))
    write_shard(decided, bank, fresh)
    assert read_files(tmp_path / "run") == read_files(tmp_path / "fresh")


def test_parquet_is_zstd_and_the_same_every_time():
    """Equal tables give equal zstd bytes with their metadata."""
    table = pa.table({"text": ["a", None, "b" * 1000], "n": [1, 2, 3]}).replace_schema_metadata(
        {"k": "v"}
    )
    data = encode_parquet(table)
    assert data == encode_parquet(table)
    assert data == encode_parquet(pa.concat_tables([table.slice(0, 1), table.slice(1)]))
    assert pq.read_table(pa.BufferReader(data)).equals(table, check_metadata=True)
    column = pq.ParquetFile(pa.BufferReader(data)).metadata.row_group(0).column(0)
    assert column.compression == "ZSTD"


def test_outputs_are_encoded_by_their_kind():
    """Tables become Parquet, and lines become JSON Lines."""
    table, lines = pa.table({"text": ["a"]}), JsonLines([b"{}"], "gzip")
    assert encode_output(table) == encode_parquet(table)
    assert encode_output(lines) == lines.encode()


@pytest.mark.parametrize("ending", ["", ".gz", ".zst"])
def test_a_shard_of_json_lines_is_written_as_json_lines(
    tmp_path, json_lines, read_corpus, bank, bank_uri, ending
):
    """The receipt lists JSON Lines files with rows, bytes and digests."""
    path = json_lines(tmp_path / f"x.jsonl{ending}", [{"text": f"A dog {n}."} for n in range(9)])
    layout, (shard,) = read_corpus(path)
    decided = decide_shard(score(identify(shard, layout), Scorer(bank, None, {}), 0.0), RULES)
    receipt = write_shard(decided, bank, Destination(str(tmp_path / "run"), bank_uri, True))
    (output,) = (item for item in receipt.outputs if item.path.startswith("clean/"))
    assert output.path == shard_path("clean", shard.plan.name, f".jsonl{ending}", "x")
    data = (tmp_path / "run" / output.path).read_bytes()
    assert (output.rows, output.bytes, output.sha256) == (9, len(data), digest_bytes(data))
    assert decode_lines(data, f".jsonl{ending}") == shard.lines


def open_pipeline(*options):
    """Return a pipeline with Beam's in-process runner."""
    return beam.Pipeline("FnApiRunner", PipelineOptions(list(options)))


@pytest.fixture(scope="module")
def corpus_folder(tmp_path_factory, json_lines):
    """Return a folder of files with rejects and duplicates."""
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
    """Return a function that runs all transforms on the corpus, and returns the files."""

    def run(running, output):
        corpus = survey([str(corpus_folder)], LIMITS)
        tasks = plan_shards(corpus.sources, LIMITS)
        layout = settle_layout(corpus.schema, CorpusConfig())
        schema = corpus.select_schema(layout)
        with running as pipeline:
            rows = (
                pipeline
                | "Read" >> ReadShards(tasks, schema)
                | "Identify" >> IdentifyRecords(layout)
            )
            again = (
                pipeline
                | "ReadAgain" >> ReadShards(tasks, schema)
                | "IdentifyAgain" >> IdentifyRecords(layout)
            )
            duplicates = again | "Duplicates" >> FindDuplicates()
            scored = rows | "Score" >> ScoreRecords(
                ScoringConfig(bank_uri, bank.digest, EncoderConfig(device="cpu"))
            )
            decided = scored | "Decide" >> DecideRecords(RULES, duplicates)
            to = Destination(str(output), bank_uri, extra_column=True, run_id=RUN_ID)
            receipts = decided | "Write" >> WriteShards(to)
            names = [plan.name for task in tasks for plan in task]
            assert_that(receipts | beam.Map(lambda receipt: receipt.shard), equal_to(names))
        return read_files(output)

    return run


@pytest.fixture(scope="module")
def plain_run(run_corpus, tmp_path_factory):
    """Return the files of a plain run."""
    return run_corpus(open_pipeline(), tmp_path_factory.mktemp("plain"))


def read_folder(files, folder):
    """Return the joined tables in a folder."""
    return pa.concat_tables(
        [
            pq.read_table(pa.BufferReader(data))
            for path, data in sorted(files.items())
            if path.startswith(f"{folder}/")
        ]
    )


def list_lines(files, folder):
    """Return the lines in a folder."""
    return [
        line
        for path, data in sorted(files.items())
        if path.startswith(f"{folder}/")
        for line in decode_lines(data, parse_path(path).suffix)
    ]


def test_every_row_of_the_corpus_has_one_decision(plain_run):
    """Receipts, ledger and files agree on every row of the corpus."""
    receipts = [
        parse_receipt(data) for path, data in plain_run.items() if path.startswith(RECEIPTS)
    ]
    ledger = read_folder(plain_run, "ledger")
    assert ledger.num_rows == sum(receipt.rows for receipt in receipts) == 56
    keys = list(
        zip(ledger.column("source").to_pylist(), ledger.column("row").to_pylist(), strict=True)
    )
    assert keys == sorted(keys)
    assert len(set(keys)) == 56
    for folder in ("scores", "spans"):
        aligned = read_folder(plain_run, folder)
        assert aligned.select(["source", "row"]).equals(ledger.select(["source", "row"]))
    decisions = ledger.column("decision").to_pylist()
    assert {name: decisions.count(name) for name in set(decisions)} == {
        name: sum(receipt.decisions.get(name, 0) for receipt in receipts)
        for name in {key for receipt in receipts for key in receipt.decisions}
    }
    assert decisions.count("reject") == read_folder(plain_run, "rejects").num_rows == 5
    assert (
        decisions.count("quarantine")
        == len(list_lines(plain_run, "quarantine"))
        == read_folder(plain_run, "swaplist").num_rows
        > 0
    )
    assert decisions.count("keep") + decisions.count("mask") == len(list_lines(plain_run, "clean"))
    assert decisions.count("duplicate") >= 4, "the rows that two more files repeat"
    digests = [
        digest
        for digest, decision in zip(
            ledger.column("content_digest").to_pylist(), decisions, strict=True
        )
        if decision not in ("reject", "duplicate")
    ]
    assert len(set(digests)) == len(digests), "one row of each content is left"


def test_clean_files_have_the_bytes_and_the_compression_of_the_input(plain_run, corpus_folder):
    """Kept rows are the input's lines, in files compressed like the input."""
    paths = sorted(path for path in plain_run if path.startswith(("clean/", "quarantine/")))
    assert {parse_path(path).suffix for path in paths} == {".jsonl", ".jsonl.gz"}
    written = set((corpus_folder / "a.jsonl").read_bytes().split(b"\n"))
    written |= set((corpus_folder / "c.jsonl").read_bytes().split(b"\n"))
    written |= set(gzip.decompress((corpus_folder / "b.jsonl.gz").read_bytes()).split(b"\n"))
    noted = [line for line in list_lines(plain_run, "clean") if b'"congener"' in line]
    kept = [line for line in list_lines(plain_run, "clean") if b'"congener"' not in line]
    assert noted
    assert kept
    assert set(kept) < written
    for line in [*noted, *list_lines(plain_run, "quarantine")]:
        own, _, note = line.partition(b',"congener":')
        assert own + b"}" in written
        assert orjson.loads(note[:-1])["decision"] in ("mask", "quarantine")


def test_masks_reach_the_clean_files(plain_run):
    """Masks in clean files cover the sentences about foxes."""
    rows = [orjson.loads(line) for line in list_lines(plain_run, "clean")]
    masked = [row for row in rows if "congener" in row]
    assert masked
    for row in masked:
        assert row["congener"]["decision"] == "mask"
        (mask,) = row["congener"]["masks"]
        assert mask["field_path"] == "messages[1].content"
        assert row["messages"][1]["content"][mask["start"] : mask["end"]] == "A fox."


def test_retried_bundles_write_the_same_bytes(run_corpus, plain_run, tmp_path):
    """Repeated bundles write the same files."""
    events = []
    with listen_to(RUN_ID, events.append):
        files = run_corpus(open_pipeline("--direct_runner_bundle_repeat=2"), tmp_path)
    assert files == plain_run
    written = sum(event.rows for event in events if isinstance(event, ShardWritten))
    assert written > 56, "bundles were run again"


def test_another_runner_writes_the_same_bytes(run_corpus, plain_run, tmp_path):
    """Different bundles write the same files."""
    assert run_corpus(beam.Pipeline(runner=BundleBasedDirectRunner()), tmp_path) == plain_run


def test_writing_over_a_run_changes_nothing(run_corpus, plain_run, tmp_path):
    """A second run into a folder writes equal files."""
    run_corpus(open_pipeline(), tmp_path)
    assert run_corpus(open_pipeline(), tmp_path) == plain_run
