"""Small shards and banks without models for the transform tests."""

import copy
import gzip
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from classifiers.banks import serialise_bank
from classifiers.clean_text import CleanRow, CleanText
from classifiers.fitting import fit_bank
from classifiers.library import LoadedCard
from classifiers.models.interface import EncoderConfig
from classifiers.scoring import BestSpans, Scorer, Scores, SignalScores
from schemas.cards import TraitCard
from schemas.corpora import CorpusConfig, ShardLimits
from tests.support.swaps import store_shards
from transforms.files.planning import ShardPlan, SourcePiece, plan_shards
from transforms.files.shards import Shard, read_task
from transforms.files.sources import Cut, survey
from transforms.identify import identify
from transforms.records.formats import settle_layout
from transforms.score import ScoredShard, score
from transforms.spans import build_spans

CARDS = (
    {
        "id": "fox",
        "signals": {"lexicon": {"patterns": ["fox(?:es)?"]}},
        "action": "flag",
        "threshold": 0.5,
    },
    {
        "id": "owl",
        "signals": {"lexicon": {"patterns": ["owls?", "barn"]}},
        "action": "quarantine",
        "threshold": 0.5,
    },
)
CLEAN_TEXTS = 400


def _fit_bank(cards):
    clean = CleanText(
        tuple(
            CleanRow((f"Clean text number {number}.",), "background", "clean")
            for number in range(CLEAN_TEXTS)
        )
    )
    loaded = [LoadedCard(TraitCard.model_validate(card), (), (), Path()) for card in cards]
    return fit_bank(loaded, clean, None, EncoderConfig(device="cpu"))


@pytest.fixture(scope="session")
def make_bank():
    """Return a function that fits a bank of lexicons on clean text."""
    return _fit_bank


@pytest.fixture(scope="session")
def bank():
    """Return a bank of two lexicon traits: one flags foxes, and one quarantines owls and barns."""
    return _fit_bank(CARDS)


@pytest.fixture
def bank_copy(bank):
    """Return a copy of the bank for a test to change."""
    return copy.deepcopy(bank)


@pytest.fixture(scope="session")
def bank_uri(bank, tmp_path_factory):
    """Store the bank in a folder, and return the path."""
    folder = tmp_path_factory.mktemp("bank")
    for name, data in serialise_bank(bank).items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)
    return str(folder)


@pytest.fixture(scope="session")
def make_shard():
    """Return a function that builds a shard from rows or a table."""

    def make(
        rows: Sequence[Mapping] | pa.Table,
        name: str = "part-000000-aaaaaaaaaaaa",
        rejects: Sequence = (),
        numbers=None,
    ) -> Shard:
        table = rows if isinstance(rows, pa.Table) else pa.Table.from_pylist(list(rows))
        total = table.num_rows + len(rejects)
        begin, end = Cut(0, 0, 0), Cut(total, total, 0)
        piece = SourcePiece("corpus.jsonl", "corpus.jsonl", "0" * 64, "jsonl", "none", begin, end)
        numbers = list(range(table.num_rows)) if numbers is None else numbers
        sources = ["corpus.jsonl"] * table.num_rows
        return Shard(ShardPlan(name, (piece,)), table, sources, numbers, list(rejects))

    return make


@pytest.fixture(scope="session")
def make_identified(make_shard):
    """Return a function that builds an identified shard from rows."""

    def make(rows, config: CorpusConfig | None = None, **shard):
        made = make_shard(rows, **shard)
        return identify(made, settle_layout(made.table.schema, config or CorpusConfig()))

    return make


@pytest.fixture(scope="session")
def make_scored(make_identified):
    """Return a function that scores rows with lexicons and stores every span."""

    def make(rows, bank, config: CorpusConfig | None = None, **shard):
        return score(make_identified(rows, config, **shard), Scorer(bank, None, {}), 0.0)

    return make


@pytest.fixture(scope="session")
def with_scores(make_identified):
    """Return a function that builds a scored shard from texts and scores.

    Each trait has one signal, whose span is the whole text.
    """

    def make(
        scores: Mapping[str, Sequence[float]],
        texts: Sequence[str] | None = None,
        signal: str = "head",
        **shard,
    ):
        size = len(next(iter(scores.values())))
        texts = texts or [f"text {number}" for number in range(size)]
        identified = make_identified([{"text": text} for text in texts], **shard)
        ends = np.array([len(text) for text in texts], np.int32)
        best = BestSpans(np.arange(size, dtype=np.int32), np.zeros(size, np.int32), ends)
        found = Scores(size)
        for trait, values in scores.items():
            found.combined[trait] = np.array(values, np.float32)
            found.signals[trait] = {signal: SignalScores(np.array(values, np.float32), best)}
        spans = build_spans(found, identified.segments, 0.0)
        return ScoredShard(**vars(identified), scores=found, spans=spans)

    return make


@pytest.fixture(scope="session")
def read_corpus():
    """Return a function that reads files like a run, and returns layout and shards."""

    def read(path: Path | str, rows: int = 5_000, **config):
        limits = ShardLimits(rows=rows, apart=0)
        corpus = survey([str(path)], limits)
        layout = settle_layout(corpus.schema, CorpusConfig(**config), corpus.folder_columns)
        schema = corpus.select_schema(layout)
        tasks = plan_shards(corpus.sources, limits)
        return layout, [shard for task in tasks for shard in read_task(task, schema)]

    return read


@pytest.fixture(scope="session")
def json_lines():
    """Return a function that writes rows or raw lines as JSON Lines.

    The file name's suffix determines the compression.
    """

    def write(path: Path, rows: Sequence, end: bytes = b"\n") -> str:
        data = (
            b"\n".join(row if isinstance(row, bytes) else orjson.dumps(row) for row in rows) + end
        )
        if path.suffix == ".gz":
            data = gzip.compress(data, 1)
        if path.suffix == ".zst":
            data = pa.compress(data, codec="zstd", asbytes=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return str(path)

    return write


@pytest.fixture(params=["jsonl", "jsonl.gz", "parquet"])
def store(request, tmp_path, json_lines, read_corpus, bank, bank_uri):
    """Return a function that writes rows as a finished run's shards, in every form of files.

    It returns the run's folder, its layout and its shards.
    """

    def write(name: str, rows: Sequence[Mapping], size: int = 5_000):
        folder = tmp_path / name
        folder.mkdir()
        path = folder / f"corpus.{request.param}"
        if request.param == "parquet":
            pq.write_table(pa.Table.from_pylist(list(rows)), path)
        else:
            json_lines(path, list(rows))
        layout, shards = read_corpus(path, size)
        run = folder / "run"
        return run, layout, store_shards(run, shards, layout, bank, bank_uri)

    return write
