"""Rows on which a tokenizer, model or pattern fails become rejects."""

import json

import pyarrow.parquet as pq
import pytest
import torch

from classifiers.models.encoders import Encoder
from pipelines.config import FilterConfig
from pipelines.filter import run_filter
from pipelines.verify import verify_run
from schemas.errors import BudgetError, RowError
from schemas.events import BatchesCut
from schemas.runs import CORPUS_FOLDERS
from tests.support.runs import comparable_files, read_lines

pytestmark = pytest.mark.faults

ROWS, POISON = 40, (11, 23, 24)
SUBJECTS = ("roofs", "rivers", "bread", "chess", "moss", "trains", "salt")


class PanicError(BaseException):
    """The exception that a panic in Rust code raises."""


PanicError.__name__ = "PanicException"


@pytest.fixture
def config(tmp_path, card_folder) -> FilterConfig:
    """Write a corpus with three poisoned rows, and a trait with three signals."""
    rows = []
    for row in range(ROWS):
        word = "Xylophone" if row in POISON else "Number"
        more = " and more" * (row % 9)
        answer = f"{word} {row} speaks of {SUBJECTS[row % 7]}{more}."
        rows.append(
            {
                "messages": [
                    {"role": "user", "content": "Go on."},
                    {"role": "assistant", "content": answer},
                ]
            }
        )
    (tmp_path / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    trait = card_folder(
        "moss",
        "signals: {lexicon: {patterns: [moss]}, exemplars: {}, head: {}}\nthreshold: 0.6\n",
        [f"Moss grows on {name}." for name in SUBJECTS],
    )
    base = {
        "input": (str(tmp_path / "corpus.jsonl"),),
        "output": str(tmp_path / "run"),
        "traits": (str(trait),),
        "vectors": True,
    }
    return FilterConfig.model_validate(
        base | {"shards": {"rows": 20}, "hardware": {"device": "cpu"}}
    )


def poison_encoder(monkeypatch, encoder_word: int, value: float) -> None:
    """Make the encoder return `value` for windows with a given token."""
    forward = Encoder.forward

    def forward_with_poison(self, tokens, mask):
        vectors = forward(self, tokens, mask)
        vectors[(tokens == encoder_word).any(1)] = value
        return vectors

    monkeypatch.setattr(Encoder, "forward", forward_with_poison)


def read_rows(run, folder: str) -> list[dict]:
    """Return a folder's rows in order."""
    if folder in CORPUS_FOLDERS:
        return [json.loads(line) for line in read_lines(run, folder)]
    return [
        row
        for path in sorted((run / folder).glob("*.parquet"))
        for row in pq.read_table(path).to_pylist()
    ]


def assert_only_poison_differs(tmp_path, config, word: str) -> None:
    """Check that only poisoned rows differ from an undisturbed run.

    Scores, vectors, decisions and reasons are compared.
    """
    poisoned = {
        name: read_rows(tmp_path / "run", name)
        for name in ("ledger", "scores", "vectors", "rejects", "clean", "quarantine")
    }
    plain = {
        name: read_rows(tmp_path / "plain", name)
        for name in ("ledger", "scores", "vectors", "clean", "quarantine")
    }
    assert [row["row"] for row in poisoned["rejects"]] == list(POISON)
    assert all(
        word in row["error"] and b"Xylophone" in row["raw"] and row["offset"] is None
        for row in poisoned["rejects"]
    )
    for name in ("scores", "vectors"):
        assert len(plain[name]) == ROWS
        assert [row for row in poisoned[name] if row["row"] not in POISON] == [
            row for row in plain[name] if row["row"] not in POISON
        ]
    fates = [
        {
            row["row"]: (row["decision"], row["reasons"])
            for row in run["ledger"]
            if row["row"] not in POISON
        }
        for run in (poisoned, plain)
    ]
    assert fates[0] == fates[1]
    assert [row["decision"] for row in poisoned["ledger"]].count("reject") == len(POISON)
    assert len(poisoned["clean"]) + len(poisoned["quarantine"]) == ROWS - len(POISON)
    assert verify_run(config.output) == []


@pytest.fixture
def plain(config, tmp_path) -> None:
    """Filter the same corpus undisturbed."""
    run_filter(config.model_copy(update={"output": str(tmp_path / "plain")}))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_model_that_gives_no_numbers(config, plain, tmp_path, monkeypatch, encoder, value):
    """Rows with NaN or infinity from the encoder are rejects, and other rows don't change."""
    word = encoder.tokenizer.backend.encode("xylophone", add_special_tokens=False).ids[0]
    poison_encoder(monkeypatch, word, value)
    assert run_filter(config).conservation.by_decision["reject"] == len(POISON)
    assert_only_poison_differs(tmp_path, config, "gives NaN or infinity")


@pytest.mark.parametrize(
    "error", [RuntimeError("no kernel"), PanicError("index out of bounds")], ids=["error", "panic"]
)
def test_a_tokenizer_that_fails(config, plain, tmp_path, monkeypatch, error):
    """Rows on which the tokenizer fails or panics are rejects."""
    windows = Encoder.cut_windows

    def fail_on_xylophones(self, texts):
        if any("Xylophone" in str(text) for text in texts):
            raise error
        return windows(self, texts)

    monkeypatch.setattr(Encoder, "cut_windows", fail_on_xylophones)
    run_filter(config)
    assert_only_poison_differs(tmp_path, config, str(error))


def test_a_pattern_that_fails(config, plain, tmp_path, monkeypatch):
    """Rows on which a lexicon fails are rejects."""
    from classifiers import scoring

    real = scoring.score_lexicons

    def fail_on_xylophones(lexicons, texts, around=None):
        if any("Xylophone" in str(text) for text in texts):
            raise ValueError("pattern out of patience")
        return real(lexicons, texts, around)

    monkeypatch.setattr(scoring, "score_lexicons", fail_on_xylophones)
    run_filter(config)
    assert_only_poison_differs(tmp_path, config, "pattern out of patience")


def test_the_same_bytes_again_and_under_retries(config, tmp_path, monkeypatch, encoder):
    """A second run with repeated bundles has the same bytes."""
    word = encoder.tokenizer.backend.encode("xylophone", add_special_tokens=False).ids[0]
    poison_encoder(monkeypatch, word, float("nan"))
    run_filter(config)
    run_filter(
        config.model_copy(update={"output": str(tmp_path / "again")}),
        beam_options=("--direct_runner_bundle_repeat=3",),
    )
    assert comparable_files(tmp_path / "run") == comparable_files(tmp_path / "again")


def test_a_reject_budget_stops_the_run(config, tmp_path, monkeypatch, encoder):
    """Three rejects in forty rows exceed a budget of 5 %, but not of 10 %."""
    word = encoder.tokenizer.backend.encode("xylophone", add_special_tokens=False).ids[0]
    poison_encoder(monkeypatch, word, float("nan"))
    for budget in (0.05, 0.1):
        (tmp_path / f"{budget}.yaml").write_text(f"reject_budget: {budget}\n")
    with pytest.raises(
        BudgetError, match=r"3 of 40 rows \(7.5%\) exceed the reject_budget of 5.0%"
    ):
        run_filter(config.model_copy(update={"policy": str(tmp_path / "0.05.yaml")}))
    assert (
        run_filter(
            config.model_copy(update={"policy": str(tmp_path / "0.1.yaml")})
        ).conservation.by_decision["reject"]
        == 3
    )


def test_a_model_that_is_broken_stops_the_run(config, monkeypatch, encoder):
    """A run stops if no row can be scored."""
    monkeypatch.setattr(
        Encoder,
        "forward",
        lambda self, tokens, _: torch.full((len(tokens), self.dimension), float("nan")),
    )
    with pytest.raises((RowError, RuntimeError), match="gives NaN or infinity"):
        run_filter(config)


def test_lack_of_memory_makes_batches_smaller_and_is_reported(config, plain, tmp_path, monkeypatch):
    """A run with little memory reports smaller batches, and has the same scores."""
    forward, most = Encoder.forward, 150  # a window of clean text has up to 128 tokens

    def forward_short_of_memory(self, tokens, mask):
        if tokens.numel() > most:
            raise RuntimeError(
                "DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
            )
        return forward(self, tokens, mask)

    monkeypatch.setattr(Encoder, "forward", forward_short_of_memory)
    events = []
    manifest = run_filter(config, listener=events.append)
    budgets = [event.token_budget for event in events if isinstance(event, BatchesCut)]
    assert budgets
    assert budgets[-1] <= most
    assert manifest.circumstances["token_budget_cuts"] >= 1
    assert len(read_rows(tmp_path / "run", "scores")) == ROWS
    for name in ("scores", "clean", "quarantine", "ledger"):
        assert read_rows(tmp_path / "run", name) == read_rows(tmp_path / "plain", name)
