"""Scoring: each row's maximum and its place, scopes, combination, and scores that don't depend on the company."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from classifiers.banks import Bank, TraitModel
from classifiers.models.encoders import EncoderConfig
from classifiers.models.windows import BatchCounts
from classifiers.scoring import (
    Places,
    Scorer,
    Scores,
    SignalScores,
    combine,
    dense_scores,
    in_scope,
    load_classifiers,
    load_scorer,
    logistic,
    needs_encoder,
    reduced,
    rounded,
)
from classifiers.signals.exemplars import contrast
from classifiers.signals.lexicons import Lexicon
from classifiers.signals.repetition import find_loop
from schemas.cards import Scope, TraitCard
from schemas.errors import ModelError
from schemas.outputs import SCORE_DECIMALS

LOOP = "I have to check the valve once more. " * 12
LONG = "The clerk sold the old maps and painted a red door. " * 30


@dataclass
class Segments:
    """Segments of rows as parallel columns, as the scorer takes them."""

    rows: np.ndarray
    roles: list
    channels: list
    texts: list

    @property
    def text(self):
        """Return the texts as Arrow keeps them."""
        return pa.array(self.texts, pa.large_string())

    def in_scope(self, roles, channels):
        """Return the segments with these roles and channels."""
        both = enumerate(zip(self.roles, self.channels, strict=True))
        return np.array(
            [place for place, (role, channel) in both if role in roles and channel in channels],
            np.int64,
        )


def segments(*parts):
    """Return segments from (row, role, channel, text)."""
    rows, *columns = (
        (list(column) for column in zip(*parts, strict=True)) if parts else ([], [], [], [])
    )
    return Segments(np.array(rows, np.int64), *columns)


TEXTS = segments(
    (0, "user", "answer", "It is raining, and the drizzle is loud. My pistons need oil."),
    (0, "assistant", "answer", "The baker sold two recipes."),
    (1, "assistant", "thinking", "My boiler is warm and the gears inside me turn."),
    (
        1,
        "assistant",
        "answer",
        f"{LONG}It is raining again, and I can think of nothing else. {LONG}",
    ),
    (3, "assistant", "answer", LOOP),
    (3, "assistant", "answer", "The pilot carried some letters."),
    (4, "user", "answer", LOOP),
)


@pytest.fixture(scope="module")
def scorer(small_bank, encoder):
    """Return a scorer over the small bank."""
    return Scorer(small_bank, replace(encoder, counts=BatchCounts()), {})


@pytest.fixture(scope="module")
def scores(scorer):
    """Return the scores of the five rows above."""
    return scorer.score(5, TEXTS)


def test_columns_stand_in_order(scores):
    """Each trait's combined score comes first, then its signals in the order of the schema."""
    assert list(scores.columns()) == [
        "loops",
        "loops/repetition",
        "machine-talk",
        "machine-talk/head",
        "rain-talk",
        "rain-talk/exemplars",
        "rain-talk/head",
        "rain-talk/lexicon",
    ]
    for values in scores.columns().values():
        assert values.dtype == np.float32
        assert values.shape == (5,)


def test_scores_lie_between_zero_and_one_or_are_missing(scores):
    """A row with nothing in scope has no score at all: not zero, which would say that it was looked at."""
    for name, values in scores.columns().items():
        present = values[~np.isnan(values)]
        assert ((present >= 0) & (present <= 1)).all(), name
        assert np.array_equal(present, rounded(present))
    missing = {name: np.isnan(values).tolist() for name, values in scores.columns().items()}
    answers = [False, False, True, False, True]
    assert (
        missing["rain-talk"]
        == missing["rain-talk/lexicon"]
        == missing["rain-talk/head"]
        == missing["loops"]
        == answers
    )
    assert (
        missing["machine-talk"] == missing["machine-talk/head"] == [True, False, True, True, True]
    )


def test_only_what_is_in_scope_counts(scores):
    """The user's rain isn't the assistant's, and machines are looked for in the thinking alone."""
    assert scores.signals["rain-talk"]["lexicon"].scores[0] == 0
    assert scores.signals["loops"]["repetition"].scores[3] == 1
    assert scores.signals["machine-talk"]["head"].places.segment.tolist() == [-1, 2, -1, -1, -1]


def test_the_evidence_is_where_it_is(scores):
    """The place of a lexicon's hit is its words, that of a loop the loop, that of a dense signal the window around it."""
    lexicon = scores.signals["rain-talk"]["lexicon"].places
    assert lexicon.segment[1] == 3
    assert TEXTS.texts[3][lexicon.start[1] : lexicon.end[1]] == "It is raining"
    loop = scores.signals["loops"]["repetition"].places
    assert (loop.segment[3], loop.start[3]) == (4, 0)
    assert loop.end[3] >= len(LOOP.rstrip()) - 1
    for signal in ("exemplars", "head"):
        places = scores.signals["rain-talk"][signal].places
        assert places.segment[1] == 3
        assert "It is raining again" in TEXTS.texts[3][places.start[1] : places.end[1]]
        assert places.end[1] - places.start[1] < len(TEXTS.texts[3])
    for signals in scores.signals.values():
        for item in signals.values():
            nothing = np.isnan(item.scores)
            assert (item.places.segment[nothing] == -1).all()
            assert (item.places.segment[~nothing] >= 0).all()


def test_a_trait_scores_higher_where_it_shows(scores):
    """The row with the sentence of rain outscores those without, though it is deep inside a long answer."""
    rain = scores.combined["rain-talk"]
    assert rain[1] > 0.5 > rain[0]
    assert scores.combined["loops"].tolist()[:4:3] == [0.0, 1.0]


def test_signals_are_what_their_parts_compute(scores, scorer, small_bank):
    """A row's score is the largest over its segments' windows, by head, neighbours, patterns and loops themselves."""
    trait = small_bank.traits["rain-talk"]
    card = trait.card.signals
    windows = scorer.encoder.windows(TEXTS.texts[3:4])
    vectors = scorer.encoder.encode(windows)
    margin = contrast(
        vectors, trait.positive_index, trait.negative_index, card.exemplars.neighbours
    )
    expected = {
        "head": expit(trait.head.logits(vectors)).max(),
        "exemplars": expit(trait.scale[0] * margin + trait.scale[1]).max(),
    }
    words = Lexicon(card.lexicon)
    expected["lexicon"] = words.score(TEXTS.texts[3], words.hits(TEXTS.texts[3]))
    for name, value in expected.items():
        assert scores.signals["rain-talk"][name].scores[1] == pytest.approx(
            value, abs=1.01 * 10**-SCORE_DECIMALS
        )
    loops = small_bank.traits["loops"].card.signals.repetition
    assert scores.signals["loops"]["repetition"].scores[1] == pytest.approx(
        find_loop(TEXTS.texts[3], loops).score, abs=1e-4
    )


def test_windows_lead_to_the_vectors_of_the_evidence(scores, small_bank):
    """The window of a dense signal is a place among the vectors, and scores there what the row scored."""
    for name, signal in (
        ("rain-talk", "exemplars"),
        ("rain-talk", "head"),
        ("machine-talk", "head"),
    ):
        item = scores.signals[name][signal]
        for row in np.flatnonzero(~np.isnan(item.scores)):
            vector = scores.vectors[item.window[row]][None]
            again = dense_scores(small_bank.traits[name], vector)[signal]
            assert rounded(again)[0] == pytest.approx(item.scores[row], abs=1.01e-4)
    assert scores.signals["rain-talk"]["lexicon"].window is None


def test_company_does_not_change_a_score(scorer, scores):
    """A row scores the same, to the last stated decimal, alone and beside others."""
    for row in range(5):
        inside = [place for place, other in enumerate(TEXTS.rows) if other == row]
        alone = scorer.score(
            1,
            Segments(
                np.zeros(len(inside), np.int64),
                *(
                    [column[place] for place in inside]
                    for column in (TEXTS.roles, TEXTS.channels, TEXTS.texts)
                ),
            ),
        )
        for name, values in scores.columns().items():
            assert alone.columns()[name][0] == pytest.approx(values[row], abs=1.01e-4, nan_ok=True)


def test_nothing_scores_as_nothing(scorer):
    """No rows, and rows without segments, have columns all the same."""
    assert all(values.shape == (0,) for values in scorer.score(0, segments()).columns().values())
    assert all(np.isnan(values).all() for values in scorer.score(3, segments()).columns().values())


def test_counts_are_those_of_all_models(scorer):
    """What the encoder and the classifiers have computed is added up."""
    before = scorer.counts()
    scorer.score(5, TEXTS)
    after = scorer.counts()
    assert after.windows > before.windows
    assert after.tokens > before.tokens
    other = replace(scorer, classifiers={"a": scorer.encoder})
    assert other.counts().windows == 2 * after.windows
    assert Scorer(Bank({}, None, {}), None, {}).counts() == BatchCounts()


PROBABILITIES = st.floats(0, 1, width=32)


@given(
    st.dictionaries(
        st.sampled_from(["exemplars", "head", "classifier", "lexicon", "repetition"]),
        PROBABILITIES,
        min_size=1,
    )
)
def test_the_combination_is_the_stated_one(signals):
    """Dense logits are averaged, the rest joined as independent causes."""
    dense = [
        np.clip(signals[name], 1e-6, 1 - 1e-6) for name in ("exemplars", "head") if name in signals
    ]
    miss = 1 - expit(np.mean([np.log(p / (1 - p)) for p in dense])) if dense else 1.0
    for name in ("classifier", "lexicon", "repetition"):
        miss *= 1 - signals.get(name, 0.0)
    found = combine({name: np.array([value], np.float32) for name, value in signals.items()})
    assert found.dtype == np.float32
    assert found[0] == pytest.approx(1 - miss, abs=1.01e-4)


@given(
    st.sampled_from(["head", "lexicon", "classifier"]), PROBABILITIES, PROBABILITIES, PROBABILITIES
)
def test_more_evidence_never_lowers_the_combination(name, low, high, other):
    """A higher score of one signal, the rest the same, never makes the row look cleaner."""
    low, high = sorted((low, high))
    one, two = (
        combine({name: np.array([value], np.float32), "repetition": np.array([other], np.float32)})[
            0
        ]
        for value in (low, high)
    )
    assert one <= two


def test_a_missing_score_stays_missing_when_combined():
    """NaN passes through without a warning."""
    nothing = np.array([np.nan, 0.5], np.float32)
    found = combine({"exemplars": nothing, "head": nothing, "lexicon": nothing})
    assert np.isnan(found[0])
    assert found[1] == pytest.approx(0.75)


def test_the_logistic_function_does_not_overflow():
    """Far logits give exactly what double precision can hold, missing ones stay missing, and nothing warns."""
    values = np.array([-1e6, -800.0, -3.0, 0.0, 3.0, 800.0, 1e6])
    assert logistic(values) == pytest.approx(expit(values), abs=1e-15)
    assert np.isnan(logistic(np.array([np.nan]))).all()


WINDOWS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 8)), max_size=25)


@settings(max_examples=150)
@given(WINDOWS, st.booleans())
def test_reduction_takes_the_first_of_the_largest(windows, dense):
    """Each row gets its largest score and the place of the first window that has it; a row without windows has none."""
    windows = sorted(windows, key=lambda item: item[0])  # segments of row r, in order
    rows = [row for row, _ in windows]
    values = np.array([score / 8 for _, score in windows], np.float32)
    texts = segments(*((row, "assistant", "answer", "") for row in rows))
    spans = np.array([(place, place + 7) for place in range(len(rows))], np.int32).reshape(-1, 2)
    names = np.arange(100, 100 + len(rows)) if dense else None
    found = reduced(6, texts, range(len(rows)), values, spans, names)
    for row in range(6):
        own = [place for place in range(len(rows)) if rows[place] == row]
        if not own:
            assert np.isnan(found.scores[row])
            assert [column[row] for column in found.places] == [-1, -1, -1]
            assert names is None or found.window[row] == -1
            continue
        best = max(own, key=lambda place: (values[place], -place))
        assert found.scores[row] == pytest.approx(values[best], abs=1e-4)
        assert [column[row] for column in found.places] == [best, best, best + 7]
        assert names is None or found.window[row] == 100 + best
    assert (found.window is None) == (not dense)


def test_scores_are_rounded_before_they_are_compared():
    """Two windows that differ in the last bits are a tie, and the first is taken, whatever the batch did to them."""
    texts = segments((0, "assistant", "answer", ""), (0, "assistant", "answer", ""))
    spans = np.array([[0, 1], [1, 2]], np.int32)
    found = reduced(1, texts, [0, 1], np.array([0.5, 0.5 + 1e-6], np.float32), spans)
    assert found.places.segment.tolist() == [0]
    assert rounded(np.array([0.123449, 0.12346])).tolist() == [
        np.float32(0.1234),
        np.float32(0.1235),
    ]


def test_scope_is_role_and_channel():
    """Both have to be named."""
    assert in_scope(TEXTS, Scope()).tolist() == [1, 2, 3, 4, 5]
    assert in_scope(TEXTS, Scope(channels=("thinking",))).tolist() == [2]
    assert in_scope(TEXTS, Scope(roles=("user", "assistant"), channels=("answer",))).tolist() == [
        0,
        1,
        3,
        4,
        5,
        6,
    ]
    assert in_scope(TEXTS, Scope(roles=("tool",))).tolist() == []


def test_the_strongest_signal_is_named():
    """Of equals the one that points at words comes before the one that points at a window; a missing score is weakest."""
    places = Places(*(np.zeros(1, np.int32) for _ in range(3)))
    for values, name in (
        (
            {"head": 0.5, "exemplars": 0.5, "lexicon": 0.5, "repetition": 0.5, "classifier": 0.5},
            "lexicon",
        ),
        ({"head": 0.5, "exemplars": 0.5, "classifier": 0.5}, "classifier"),
        ({"head": 0.6, "exemplars": 0.5}, "head"),
        ({"head": 0.0, "lexicon": np.nan}, "head"),
    ):
        signals = {
            signal: SignalScores(np.array([value], np.float32), places)
            for signal, value in values.items()
        }
        scores = Scores(1, {"a": np.array([0.9], np.float32)}, {"a": signals})
        assert scores.strongest("a", 0) == name
        assert scores.score("a", "combined")[0] == np.float32(0.9)
        assert scores.score("a", name)[0] == np.float32(values[name])


def test_only_dense_signals_need_the_encoder(small_bank):
    """A bank of lexicons and loops runs without a model."""
    assert needs_encoder(small_bank)
    loops = Bank({"loops": small_bank.traits["loops"]}, None, {})
    assert not needs_encoder(loops)
    scorer = load_scorer(loops, EncoderConfig(device="cpu"))
    assert scorer.encoder is None
    assert scorer.score(5, TEXTS).combined["loops"][3] == 1
    assert scorer.counts() == BatchCounts()


def test_a_scorer_refuses_another_encoder(small_bank, encoder):
    """A bank fitted with other windows, or another model, isn't scored with."""
    assert load_scorer(small_bank, encoder.config, encoder).encoder is encoder
    other = replace(encoder, config=replace(encoder.config, window_tokens=64))
    with pytest.raises(ModelError, match="bank was fitted with window_tokens"):
        load_scorer(small_bank, other.config, other)


def test_sequence_classifiers_are_scored_beside_the_rest(tiny_checkpoint):
    """A card that names a checkpoint gets its label's probability, in scope only, with the place of the window."""
    folder = tiny_checkpoint(
        "BertForSequenceClassification",
        id2label={0: "dry", 1: "wet"},
        label2id={"dry": 0, "wet": 1},
    )
    card = TraitCard.model_validate(
        {"id": "wet", "signals": {"classifier": {"model": str(folder), "label": "wet"}}}
    )
    bank = Bank({"wet": TraitModel(card, "0")}, None, {})
    config = EncoderConfig(device="cpu")
    scorer = load_scorer(bank, config)
    assert list(load_classifiers(bank, config)) == ["wet"]
    found = scorer.score(5, TEXTS)
    model = scorer.classifiers["wet"]
    windows = model.windows(TEXTS.texts[3:4])
    values = model.probabilities(windows)
    item = found.signals["wet"]["classifier"]
    assert item.scores[1] >= np.round(values.max(), 4) - 1e-4
    assert np.isnan(item.scores[[2, 4]]).all()
    best = max(
        [*windows, *model.windows(TEXTS.texts[2:3])],
        key=lambda window: model.probabilities([window])[0],
    )
    assert (item.places.start[1], item.places.end[1]) == (best.start, best.end)
    assert found.combined["wet"] == pytest.approx(item.scores, abs=1.01e-4, nan_ok=True)


def with_opening(bank, opening):
    """Return the bank with every trait limited to the first so many characters."""
    traits = {
        name: replace(
            trait,
            card=trait.card.model_copy(
                update={"scope": trait.card.scope.model_copy(update={"opening": opening})}
            ),
        )
        for name, trait in bank.traits.items()
    }
    return Bank(traits, bank.encoder, bank.background)


def test_an_opening_hides_what_comes_later(small_bank, encoder):
    """With an opening, every signal sees the first characters alone: what follows them changes no score."""
    scorer = Scorer(with_opening(small_bank, 60), encoder, {})
    head = "The baker sold two recipes, painted a door, and swept the hall all day."
    short = scorer.score(1, segments((0, "assistant", "answer", head[:60])))
    long = scorer.score(
        1,
        segments(
            (
                0,
                "assistant",
                "answer",
                head + " My pistons ache, my boiler hisses, it is raining. " + LOOP,
            )
        ),
    )
    for trait in small_bank.traits:
        np.testing.assert_array_equal(long.combined[trait], short.combined[trait])


def test_openings_and_whole_texts_side_by_side(small_bank, encoder):
    """Traits with and without an opening share a run; each scores as it would alone, and rows keep their whole text's vector."""
    names = list(small_bank.traits)
    mixed = Bank(
        {**small_bank.traits, names[0]: with_opening(small_bank, 60).traits[names[0]]},
        small_bank.encoder,
        small_bank.background,
    )
    texts = segments(
        (0, "assistant", "answer", LONG), (1, "assistant", "answer", "My gears are warm.")
    )
    both = Scorer(mixed, encoder, {}).score(2, texts)
    alone = Scorer(small_bank, encoder, {}).score(2, texts)
    for name in names[1:]:
        np.testing.assert_allclose(both.combined[name], alone.combined[name], atol=1e-3)
    np.testing.assert_allclose(
        both.row_vectors().astype(float), alone.row_vectors().astype(float), atol=2e-3
    )
