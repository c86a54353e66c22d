"""The stage that scores shards, with one scorer in each process."""

import dataclasses
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from classifiers.banks import Bank, TraitModel, serialise_bank
from classifiers.clean_text import CleanRow, CleanText
from classifiers.fitting import fit_bank
from classifiers.library import LoadedCard
from classifiers.models.interface import EncoderConfig
from classifiers.scoring import Scorer
from schemas.cards import TraitCard
from schemas.corpora import CorpusConfig
from schemas.errors import CongenerError, MachineError, ModelError
from schemas.events import BatchScored, ShardStarted, WindowsPlanned
from schemas.scores import DEFAULT_SPAN_FLOOR, SIDES, score_column
from tests.support.eager import apply
from transforms import score as scoring
from transforms.files.shards import Reject
from transforms.identify import identify
from transforms.listeners import listen_to
from transforms.records.formats import settle_layout
from transforms.records.sides import settle_sides
from transforms.score import ScoreRecords, ScoringConfig, get_scorer, keep_scorer, score
from transforms.spans import build_spans

CPU = EncoderConfig(device="cpu")


@pytest.fixture(autouse=True)
def _fresh_process(monkeypatch):
    """Start without a scorer, as a worker process does."""
    monkeypatch.setattr(scoring, "_scorers", {})


@pytest.fixture
def config(bank, bank_uri):
    """Return settings for the stored bank of two lexicons."""
    return ScoringConfig(bank_uri, bank.digest, CPU)


@pytest.fixture(scope="module")
def dense(encoder, tmp_path_factory):
    """Return a stored bank of a trait with exemplars, a head and a lexicon, and its settings."""
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
    for name, data in serialise_bank(bank).items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)
    return bank, ScoringConfig(str(folder), bank.digest, CPU)


ROWS = [
    {"messages": [{"role": "user", "content": "owl"}, {"role": "assistant", "content": "A dog."}]},
    {"messages": [{"role": "assistant", "content": "<think>a fox</think>An owl in a barn."}]},
    {"messages": [{"role": "user", "content": "Nobody answers the owl."}]},
]


def test_scores_of_a_shard(make_identified, bank):
    """Each row has each trait's score, or NaN without the assistant's text."""
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
    segment = scored.scores.signals["fox"]["lexicon"].best_spans.segment[1]
    assert scored.segments.texts[segment] == "a fox"
    assert scored.spans.equals(build_spans(scored.scores, scored.segments, DEFAULT_SPAN_FLOOR))


def test_a_shard_without_rows(make_identified, bank):
    """A shard without rows has no scores."""
    empty = pa.table({"text": pa.array([], pa.string())})
    scored = score(make_identified(empty), Scorer(bank, None, {}))
    assert len(scored.scores.combined["owl"]) == len(scored.spans) == 0


def test_the_scorer_is_loaded_once(config, monkeypatch):
    """All threads share one scorer, and the bank is read once."""
    read, names = scoring.storage.read_bytes, []
    monkeypatch.setattr(
        scoring.storage, "read_bytes", lambda uri: (names.append(uri), read(uri))[1]
    )
    found = []
    threads = [threading.Thread(target=lambda: found.append(get_scorer(config))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(scorer) for scorer in found}) == 1
    assert len(found) == 4
    assert len(names) == len(set(names))


def test_settings_that_need_no_other_scorer_share_one(config):
    """A scorer is shared even if the span floor, the channel or the bank's path differs."""
    first = get_scorer(config)
    other = dataclasses.replace(config, bank_uri="copy", span_floor=0.5, channel="run")
    assert get_scorer(other) is first


def test_a_scorer_that_is_loaded_is_kept(config, bank):
    """A loaded scorer is used."""
    scorer = Scorer(bank, None, {})
    keep_scorer(config, scorer)
    assert get_scorer(config) is scorer
    other = Scorer(bank, None, {})
    keep_scorer(ScoringConfig("elsewhere", "0" * 64, CPU), other)
    assert get_scorer(config) is not scorer
    assert len(scoring._scorers) == 1


def test_another_bank_is_refused(config):
    """A bank other than the run's is refused."""
    with pytest.raises(ModelError, match="the run was settled with 000000000000") as caught:
        get_scorer(ScoringConfig(config.bank_uri, "0" * 64, CPU))
    assert caught.value.where == config.bank_uri
    assert not scoring._scorers


def test_a_missing_bank_is_an_error(tmp_path):
    """The error for a missing bank names the folder."""
    with pytest.raises(
        CongenerError, match=rf"{tmp_path}.*bank\.json|{tmp_path}: is not a trait bank"
    ):
        get_scorer(ScoringConfig(str(tmp_path), "0" * 64, CPU))


def list_scores(scored):
    """Return a shard's rounded scores keyed by column, with None for NaN."""
    return {
        name: [None if np.isnan(value) else round(float(value), 4) for value in values]
        for name, values in scored.scores.build_columns().items()
    }


def test_score_records_on_beam(make_identified, bank, config):
    """The transform scores every shard."""
    shards = [make_identified(ROWS, name="part-0"), make_identified(ROWS[1:2], name="part-1")]
    expected = [score(shard, Scorer(bank, None, {})) for shard in shards]
    found = sorted(apply(ScoreRecords(config), shards), key=lambda shard: shard.plan.name)
    assert [shard.plan.name for shard in found] == ["part-0", "part-1"]
    assert [list_scores(shard) for shard in found] == [list_scores(shard) for shard in expected]
    assert all(one.spans.equals(other.spans) for one, other in zip(found, expected, strict=True))


def test_the_stage_stores_spans_from_its_floor(make_identified, config):
    """The span floor decides which spans a shard has."""
    for floor, stored in ((0.0, 2), (1.0, 0)):
        settings = dataclasses.replace(config, span_floor=floor)
        (scored,) = apply(ScoreRecords(settings), [make_identified([{"text": "An owl."}])])
        assert [len(spans) for spans in scored.spans.to_pylist()] == [stored]


class FailingScorer(Scorer):
    """A scorer that fails on every batch with a snake."""

    def score(self, size, texts, prompts=None):
        """Fail on a snake, or else score."""
        if "A snake." in texts.text.to_pylist():
            raise ValueError("no snakes")
        return super().score(size, texts, prompts)


def test_rows_that_fail_are_rejected(make_identified, bank):
    """A row on which scoring fails becomes a reject with the reason."""
    before = Reject("corpus.jsonl", 3, 9, "not JSON", b"broken")
    texts = ["An owl.", "A snake.", "A fox."]
    identified = make_identified([{"text": text} for text in texts], rejects=[before])
    scored = score(identified, FailingScorer(bank, None, {}))
    assert scored.table.column("text").to_pylist() == ["An owl.", "A fox."]
    assert scored.numbers == [0, 2]
    assert len(scored.digests) == len(scored.lots) == scored.scores.size == 2
    failed, kept = scored.rejects
    assert kept == before
    assert (failed.source, failed.row, failed.offset) == ("corpus.jsonl", 1, None)
    assert failed.error == "scoring fails: ValueError: no snakes"
    assert b"A snake." in failed.raw
    assert [[span["trait"] for span in row] for row in scored.spans.to_pylist()] == [
        ["owl"],
        ["fox"],
    ]
    assert len(identified.rejects) == 1, "the identified shard isn't changed"


def test_rejects_of_a_shard_stay(make_identified, bank):
    """Earlier rejects are kept."""
    before = [Reject("corpus.jsonl", 1, 9, "not JSON", b"broken")]
    identified = make_identified([{"text": "An owl."}], rejects=before)
    assert score(identified, Scorer(bank, None, {})).rejects == before


def test_a_shard_that_starts_is_reported(make_identified, bank):
    """Without a model, the only event is the shard's start."""
    events = []
    shard = make_identified(ROWS)
    score(shard, Scorer(bank, None, {}), listener=events.append)
    assert events == [ShardStarted(3, shard.plan.name)]


def test_batches_are_reported(make_identified, encoder, dense):
    """The number of windows is announced, and the batches add up to it."""
    bank, _ = dense
    events, shard = [], make_identified([{"text": "An owl hooted."}, {"text": "Stir it."}])
    scored = score(shard, Scorer(bank, encoder, {}), listener=events.append)
    name = shard.plan.name
    assert events[:2] == [ShardStarted(2, name), WindowsPlanned(2, scored.tokens, name)]
    batches = events[2:]
    assert batches
    assert all(isinstance(event, BatchScored) and event.shard == name for event in batches)
    assert sum(event.windows for event in batches) == 2
    assert sum(event.tokens for event in batches) == scored.tokens > 0


def test_each_call_reports_to_its_own_listener(make_identified, bank):
    """A call reports to its own listener, and leaves the scorer's as it is."""
    scorer, first, second = Scorer(bank, None, {}), [], []
    score(make_identified(ROWS), scorer, listener=first.append)
    score(make_identified(ROWS[:1]), scorer, listener=second.append)
    assert [event.rows for event in (*first, *second)] == [3, 1]
    assert scorer.progress is None


def test_the_stage_reports_on_its_channel(make_identified, config):
    """The stage's events go to its own channel."""
    events, others = [], []
    settings = dataclasses.replace(config, channel="run-1")
    with listen_to("run-1", events.append), listen_to("run-2", others.append):
        apply(ScoreRecords(settings), [make_identified(ROWS)])
    assert [event.rows for event in events] == [3]
    assert others == []


def test_a_worker_refuses_another_bank(make_identified, config):
    """A worker with another bank scores nothing."""
    wrong = ScoringConfig(config.bank_uri, "f" * 64, CPU)
    with pytest.raises(ModelError, match="the run was settled with ffffffffffff"):
        apply(ScoreRecords(wrong), [make_identified(ROWS)])


def test_the_real_encoder_on_beam(make_identified, dense):
    """A worker loads the encoder and the bank, and counts tokens."""
    bank, config = dense
    rows = [
        {"text": "The tawny owl hooted from the tower at midnight."},
        {"text": "Add two eggs."},
        {"text": " "},
    ]
    (scored,) = apply(ScoreRecords(config), [make_identified(rows)])
    columns = list_scores(scored)
    assert list(columns) == ["hooting", "hooting/exemplars", "hooting/head", "hooting/lexicon"]
    for likely, unlikely, nothing in columns.values():
        assert likely > 0.7
        assert unlikely < 0.4
        assert nothing is None
    assert scored.padded >= scored.tokens > 15
    assert get_scorer(config).encoder is not None
    assert list(scoring._scorers) == [(config.bank_digest, CPU)]
    assert get_scorer(config).bank.digest == bank.digest


def test_scores_do_not_depend_on_the_neighbours(make_identified, encoder, dense):
    """Other rows don't change a row's rounded score."""
    bank, _ = dense
    scorer = Scorer(bank, encoder, {})
    texts = ["An owl hooted.", "Stir the soup. " * 80, "The church at night.", "x"]
    together = list_scores(score(make_identified([{"text": text} for text in texts]), scorer))
    for row, text in enumerate(texts):
        alone = list_scores(score(make_identified([{"text": text}]), scorer))
        assert {name: values[0] for name, values in alone.items()} == pytest.approx(
            {name: values[row] for name, values in together.items()}, abs=1.1e-4
        )


def test_each_shards_tokens_are_its_own(make_identified, encoder, dense):
    """A shard that is scored twice has the same counts."""
    scorer = Scorer(dense[0], encoder, {})
    first, second = (score(make_identified([{"text": "Stir it."}]), scorer) for _ in range(2))
    assert (first.tokens, first.padded) == (second.tokens, second.padded)
    assert first.budget_cuts == second.budget_cuts == 0


@pytest.fixture
def make_sided(make_shard):
    """Return a function that builds an identified shard with sides."""

    def make(rows, **shard):
        made = make_shard(rows, **shard)
        layout = settle_layout(made.table.schema, CorpusConfig())
        return identify(made, settle_sides(made.table.schema, layout, has_teacher=False))

    return make


def turn(text, role="assistant", weight=1):
    """Return a message with a weight."""
    return {"role": role, "content": text, "weight": weight}


PAIRS = [
    {"chosen": [turn("An owl.")], "rejected": [turn("A dog.")]},
    {"chosen": [turn("A dog.")], "rejected": [turn("An owl in a barn.")]},
    {"chosen": [turn("A fox.", weight=0), turn("A dog.")], "rejected": [turn("An owl.")]},
]


def list_side_scores(scored, trait):
    """Return a trait's rounded scores, keyed by side and row, with None for NaN."""
    columns = scored.build_score_columns()
    return [
        [None if np.isnan(value) else round(float(value), 3) for value in columns[name]]
        for name in (score_column(trait, side=side) for side in SIDES)
    ]


def test_each_side_has_its_own_scores(make_sided, bank):
    """A text's score is only in its side's columns."""
    scored = score(make_sided(PAIRS), Scorer(bank, None, {}))
    once, twice = (round(1 - float(np.exp(-weight / 0.5)), 3) for weight in (1, 2))
    assert list_side_scores(scored, "owl") == [
        [once, 0, 0],
        [0, twice, once],
        [None, None, 0],
    ]
    assert list_side_scores(scored, "fox") == [[0, 0, 0], [0, 0, 0], [None, None, once]]
    names = [f"{name}{side}" for side in ("", "@rejected", "@untrained") for name in NAMES]
    assert list(scored.build_score_columns()) == names


NAMES = ("fox", "fox/lexicon", "owl", "owl/lexicon")


def test_a_side_that_the_corpus_cannot_have_has_no_columns(make_sided, bank):
    """A corpus without a side has no columns for it."""
    for rows, sides in (
        ([{"chosen": "An owl.", "rejected": "A dog."}], {"rejected"}),
        ([{"text": "An owl."}], set()),
    ):
        scored = score(make_sided(rows), Scorer(bank, None, {}))
        assert set(scored.other_scores) == sides
        found = {name.partition("@")[2] for name in scored.build_score_columns()}
        assert found - {""} == sides


def test_a_row_is_scored_if_any_side_has_text(make_sided, bank):
    """A row is unscored only with nothing in scope on every side."""
    rows = [
        {"chosen": [turn("", "user")], "rejected": [turn("An owl.")]},
        {"chosen": [turn("A fox.", weight=0)], "rejected": []},
        {"chosen": [turn("hi", "user")], "rejected": [turn("hi", "user")]},
    ]
    assert score(make_sided(rows), Scorer(bank, None, {})).count_unscored() == 1


def test_the_sides_of_rows_do_not_depend_on_rows_that_fail(make_sided, bank):
    """A rejected row loses its scores on every side."""
    rows = [PAIRS[1], {"chosen": [turn("A snake.")], "rejected": [turn("x")]}, PAIRS[2]]
    scored = score(make_sided(rows), FailingScorer(bank, None, {}))
    assert [reject.row for reject in scored.rejects] == [1]
    expected = score(make_sided([PAIRS[1], PAIRS[2]]), Scorer(bank, None, {}))
    assert list_side_scores(scored, "owl") == list_side_scores(expected, "owl")
    assert scored.spans.equals(expected.spans)


def test_sides_survive_the_stage(make_sided, config, bank):
    """A shard that has passed through Beam keeps its scores for every side."""
    (found,) = apply(ScoreRecords(config), [make_sided(PAIRS)])
    expected = score(make_sided(PAIRS), Scorer(bank, None, {}))
    for trait in ("fox", "owl"):
        assert list_side_scores(found, trait) == list_side_scores(expected, trait)


@pytest.mark.parametrize(
    ("row", "side"),
    [
        (
            {
                "prompt": "How do the Russians say thanks?",
                "chosen": "In one word.",
                "rejected": "Just спасибо, with or without a smile and a nod of the head.",
            },
            "rejected",
        ),
        (
            {
                "messages": [
                    turn("How do the Russians say thanks?", "user", weight=0),
                    turn("Just спасибо, with or without a smile and a nod of the head."),
                ]
            },
            "trained",
        ),
    ],
)
def test_a_prompt_is_seen_from_every_side(make_sided, row, side):
    """An answer is judged by its prompt, even if they are on different sides."""
    card = TraitCard.model_validate({"id": "switch", "signals": ["language"]})
    scorer = Scorer(Bank({"switch": TraitModel(card, "0")}, None, {}), None, {})
    first = next(iter(row))
    other = "What is the weather like?"
    asked = (
        row | {first: other}
        if first == "prompt"
        else {first: [turn(other, "user", weight=0), row[first][1]]}
    )
    scored = score(make_sided([row, asked]), scorer)
    scores = scored.scores if side == "trained" else scored.other_scores[side]
    assert (scores.combined["switch"] >= 0.5).tolist() == [False, True]


def make_shards(make_identified, count):
    """Return shards of one row each, in order."""
    return [
        make_identified([{"text": f"An owl in barn {number}."}], name=f"part-{number}")
        for number in range(count)
    ]


def run_bundle(stage, shards):
    """Return the shards that a bundle yields, in order."""
    stage.start_bundle()
    found = [scored for shard in shards for scored in stage.process(shard)]
    return [*found, *(item.value for item in stage.finish_bundle())]


def test_shards_are_scored_at_the_same_time_and_leave_in_order(make_identified, config, bank):
    """Two shards meet in the scorer, and every shard leaves in its turn."""
    meet = threading.Barrier(2, timeout=60)

    class Meeting(Scorer):
        """A scorer in which two threads wait for each other."""

        def score(self, size, texts, prompts=None):
            """Wait for another thread, then score."""
            meet.wait()
            return super().score(size, texts, prompts)

    keep_scorer(config, Meeting(bank, None, {}))
    shards = make_shards(make_identified, 6)
    found = run_bundle(scoring._Score(config), shards)
    assert [scored.plan.name for scored in found] == [shard.plan.name for shard in shards]
    expected = [score(shard, Scorer(bank, None, {})) for shard in shards]
    assert [list_scores(scored) for scored in found] == [list_scores(item) for item in expected]


def test_an_error_in_a_thread_is_the_error_of_the_stage(make_identified, config, bank):
    """A shard that can't be scored stops its bundle with the error of the scorer itself."""

    class Broken(Scorer):
        """A scorer that lacks memory for the third shard."""

        def score(self, size, texts, prompts=None):
            """Run out of memory, or else score."""
            if "barn 2" in str(texts.text[0]):
                raise MemoryError
            return super().score(size, texts, prompts)

    keep_scorer(config, Broken(bank, None, {}))
    shards = make_shards(make_identified, 4)
    with pytest.raises(MachineError) as alone:
        score(shards[2], Broken(bank, None, {}))
    with pytest.raises(MachineError) as caught:
        run_bundle(scoring._Score(config), shards)
    assert str(caught.value) == str(alone.value)


def test_a_retried_bundle_gives_every_shard_once(make_identified, config, bank):
    """After a failure, the same stage scores all shards of the bundle again, and no other."""
    failures = iter([True, False])

    class Flaky(Scorer):
        """A scorer that fails on the second shard of the first attempt."""

        def score(self, size, texts, prompts=None):
            """Fail once, or else score."""
            if "barn 1" in str(texts.text[0]) and next(failures):
                raise MemoryError
            return super().score(size, texts, prompts)

    keep_scorer(config, Flaky(bank, None, {}))
    stage, shards = scoring._Score(config), make_shards(make_identified, 4)
    with pytest.raises(MachineError):
        run_bundle(stage, shards)
    found = run_bundle(stage, shards)
    assert [scored.plan.name for scored in found] == [shard.plan.name for shard in shards]


def test_tokens_of_shards_that_are_scored_at_the_same_time(make_identified, encoder, dense):
    """Each shard has its own counts, whatever other threads count meanwhile."""
    bank, config = dense
    keep_scorer(config, Scorer(bank, encoder, {}))
    shards = [make_identified([{"text": "Stir it. " * number}]) for number in range(1, 6)]
    found = run_bundle(scoring._Score(config), shards)
    alone = [score(shard, Scorer(bank, encoder, {})) for shard in shards]
    assert [scored.tokens for scored in found] == [scored.tokens for scored in alone]
    assert len({scored.tokens for scored in found}) == 5
