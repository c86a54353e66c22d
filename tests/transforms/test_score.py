"""Scoring of shards, with models loaded once a process."""

import threading
from pathlib import Path

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.testing.util import assert_that, equal_to

from classifiers.banks import bank_files
from classifiers.fitting import CleanRow, CleanText, fit_bank
from classifiers.library import LoadedCard
from classifiers.models.encoders import EncoderConfig
from classifiers.scoring import Scorer
from pipelines.config import Engine
from pipelines.engines.launch import engine_pipeline
from schemas.cards import TraitCard
from schemas.errors import CongenerError, ModelError
from transforms import score as scoring
from transforms.score import (
    TALLY,
    ScoreRecords,
    ScoringConfig,
    Tally,
    keep_scorer,
    score,
    shared_scorer,
)

CPU = EncoderConfig(device="cpu")


@pytest.fixture(autouse=True)
def _fresh_process(monkeypatch):
    """Let every test begin as a worker process does: no scorer loaded, nothing counted."""
    monkeypatch.setattr(scoring, "_scorers", {})
    TALLY.reset(0)
    yield
    TALLY.reset(0)


@pytest.fixture
def config(bank, bank_uri):
    """Name the stored bank of two lexicon traits."""
    return ScoringConfig(bank_uri, bank.digest, CPU)


@pytest.fixture(scope="module")
def dense(encoder, tmp_path_factory):
    """Fit and store a bank of one trait with exemplars, head and lexicon, on the real encoder."""
    positives = tuple(
        f"The {bird} hooted from the {place} at night."
        for bird in ("owl", "barn owl", "tawny owl")
        for place in ("oak", "roof", "church")
    )
    negatives = (
        "The engine started at once.",
        "Add flour and stir.",
        "Owls are birds of prey, says the book.",
    )
    card = TraitCard.model_validate(
        {
            "id": "hooting",
            "signals": {"exemplars": {}, "head": {}, "lexicon": {"patterns": ["hoot\\w*"]}},
            "threshold": 0.6,
        }
    )
    clean = CleanText(
        tuple(
            CleanRow(
                (f"Clean text number {number} about trains and tables.",), "background", "clean"
            )
            for number in range(12)
        )
    )
    bank = fit_bank([LoadedCard(card, positives, negatives, Path())], clean, encoder, CPU)
    folder = tmp_path_factory.mktemp("dense")
    for name, data in bank_files(bank).items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)
    return bank, ScoringConfig(str(folder), bank.digest, CPU)


ROWS = [
    {"messages": [{"role": "user", "content": "owl"}, {"role": "assistant", "content": "A dog."}]},
    {"messages": [{"role": "assistant", "content": "<think>a fox</think>An owl in a barn."}]},
    {"messages": [{"role": "user", "content": "Nobody answers the owl."}]},
]


def test_scores_of_a_shard(make_identified, bank):
    """Each row has each trait's score: of the assistant's texts alone, and null where there are none."""
    scored = score(make_identified(ROWS), Scorer(bank, None, {}))
    owl, fox = scored.scores.combined["owl"], scored.scores.combined["fox"]
    assert np.isnan(owl[2])
    assert np.isnan(fox[2])
    assert (owl[0], fox[0]) == (0, 0)
    assert owl[1] == pytest.approx(1 - np.exp(-2 / 0.5), abs=1e-4), (
        "two patterns of weight 1, scale 0.5"
    )
    assert fox[1] == pytest.approx(1 - np.exp(-1 / 0.5), abs=1e-4), "the reasoning is in the scope"
    assert (scored.tokens, scored.padded) == (0, 0), "no model ran"
    assert (
        scored.identified.segments.texts[scored.scores.signals["fox"]["lexicon"].places.segment[1]]
        == "a fox"
    )


def test_a_shard_without_rows(make_identified, bank):
    """No rows give no scores, and no error."""
    empty = pa.table({"text": pa.array([], pa.string())})
    assert len(score(make_identified(empty), Scorer(bank, None, {})).scores.combined["owl"]) == 0


def test_the_scorer_is_loaded_once(config, monkeypatch):
    """Threads of a process share one scorer; the bank is read once."""
    read, names = scoring.storage.read_bytes, []
    monkeypatch.setattr(
        scoring.storage, "read_bytes", lambda uri: (names.append(uri), read(uri))[1]
    )
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(shared_scorer(config))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(scorer) for scorer in found}) == 1
    assert len(found) == 4
    assert len(names) == len(set(names))
    assert found[0].progress is TALLY


def test_a_scorer_at_hand_is_kept(config, bank):
    """The process that settled the run hands its scorer on; a scorer of another bank gives way."""
    scorer = Scorer(bank, None, {})
    keep_scorer(config, scorer)
    assert shared_scorer(config) is scorer
    other = Scorer(bank, None, {})
    keep_scorer(ScoringConfig("elsewhere", "0" * 64, CPU), other)
    assert shared_scorer(config) is not scorer
    assert len(scoring._scorers) == 1


def test_another_bank_in_its_place_is_refused(config):
    """A bank that is whole, but isn't the one that the run was settled with, isn't scored with."""
    with pytest.raises(ModelError, match="the run was settled with 000000000000") as caught:
        shared_scorer(ScoringConfig(config.bank_uri, "0" * 64, CPU))
    assert caught.value.where == config.bank_uri
    assert not scoring._scorers


def test_a_missing_bank_is_an_error(tmp_path):
    """A folder without a bank is named."""
    with pytest.raises(
        CongenerError, match=rf"{tmp_path}.*bank\.json|{tmp_path}: is no trait bank"
    ):
        shared_scorer(ScoringConfig(str(tmp_path), "0" * 64, CPU))


def test_the_tally_counts_shards_and_windows():
    """Rows of finished shards count whole; those of the shard at hand by the share of its windows that are through."""
    tally = Tally()
    tally.reset(100)
    assert tally.rows_so_far() == 100
    tally.shard_rows = 40
    assert tally.rows_so_far() == 100, "no window is known yet"
    tally.expect(6)
    tally.expect(2)
    tally.batch(50, 2)
    assert tally.rows_so_far() == 110
    tally.batch(70, 6)
    assert tally.rows_so_far() == 140
    tally.finish(40)
    assert tally.rows_so_far() == 140
    assert (tally.tokens, tally.ahead, tally.done) == (120, 0, 0)
    tally.reset(0)
    assert (tally.rows_so_far(), tally.tokens) == (0, 0)


def columns(scored):
    """Return a shard's name and its scores, rounded as they are stored."""
    values = scored.scores.columns()
    return scored.identified.shard.plan.name, {
        name: [None if np.isnan(value) else round(float(value), 4) for value in values[name]]
        for name in values
    }


def test_score_records_on_beam(make_identified, bank, config):
    """The transform scores every shard as the function does, with the bank that it finds."""
    shards = [make_identified(ROWS, name="part-0"), make_identified(ROWS[1:2], name="part-1")]
    wanted = [columns(score(shard, Scorer(bank, None, {}))) for shard in shards]
    with engine_pipeline(Engine()) as pipeline:
        assert_that(
            pipeline | beam.Create(shards) | ScoreRecords(config) | beam.Map(columns),
            equal_to(wanted),
        )


def test_a_worker_refuses_another_bank(make_identified, config):
    """A digest that doesn't fit ends the pipeline before a row is scored."""
    wrong = ScoringConfig(config.bank_uri, "f" * 64, CPU)
    with (
        pytest.raises(ModelError, match="the run was settled with ffffffffffff"),
        engine_pipeline(Engine()) as pipeline,
    ):
        _ = pipeline | beam.Create([make_identified(ROWS)]) | ScoreRecords(wrong)


def test_the_real_encoder_on_beam(make_identified, dense):
    """A worker loads encoder and bank itself and scores as the process does that fitted it; tokens are counted."""
    bank, config = dense
    rows = [
        {"text": "The tawny owl hooted from the tower at midnight."},
        {"text": "Add two eggs."},
        {"text": " "},
    ]
    with engine_pipeline(Engine()) as pipeline:
        scored = pipeline | beam.Create([make_identified(rows)]) | ScoreRecords(config)
        assert_that(
            scored | beam.Map(lambda item: (columns(item)[1], item.tokens, item.padded)),
            _is_plausible,
        )
    assert shared_scorer(config).encoder is not None
    assert TALLY.tokens > 0
    assert list(scoring._scorers) == [config]
    assert shared_scorer(config).bank.digest == bank.digest


def _is_plausible(found):
    ((values, tokens, padded),) = found
    assert list(values) == ["hooting", "hooting/exemplars", "hooting/head", "hooting/lexicon"]
    for name in values:
        likely, unlikely, nothing = values[name]
        assert likely > 0.7
        assert unlikely < 0.4
        assert nothing is None
    assert padded >= tokens > 15


def test_scores_do_not_depend_on_the_neighbours(make_identified, encoder, dense):
    """A row scores the same alone and among others, to the stated decimals."""
    bank, _ = dense
    scorer = Scorer(bank, encoder, {})
    counts = [
        (made.tokens, made.padded)
        for made in (score(make_identified([{"text": "Stir it."}]), scorer) for _ in range(2))
    ]
    assert counts[0] == counts[1], "each shard's tokens are its own"
    texts = ["An owl hooted.", "Stir the soup. " * 80, "The church at night.", "x"]
    together = columns(score(make_identified([{"text": text} for text in texts]), scorer))[1]
    for place, text in enumerate(texts):
        alone = columns(score(make_identified([{"text": text}]), scorer))[1]
        assert {name: values[0] for name, values in alone.items()} == pytest.approx(
            {name: values[place] for name, values in together.items()}, abs=1.1e-4
        )
