"""Scoring: highest scores and their spans, scopes, combined scores, independent rows."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from classifiers.banks import Bank, TraitModel, read_bank, serialise_bank
from classifiers.clean_text import CleanRow, CleanText
from classifiers.dense import score_dense
from classifiers.fitting import compute_fit_key, fit_bank
from classifiers.library import LoadedCard
from classifiers.models.encoders import load_encoder
from classifiers.models.interface import EncoderConfig
from classifiers.models.windows import BatchCounts
from classifiers.scoring import (
    Scorer,
    Scores,
    combine,
    load_classifiers,
    load_scorer,
    needs_encoder,
    reduce_to_rows,
    round_scores,
)
from classifiers.signals.exemplars import contrast
from classifiers.signals.lexicons import Lexicon
from classifiers.signals.repetition import find_loop
from classifiers.texts import find_in_scope
from schemas.cards import SIGNALS, Scope, TraitCard
from schemas.errors import ModelError, RowError
from schemas.scores import LIKELY, SCORE_DECIMALS

LOOP = "I have to check the valve once more. " * 12
LONG = "The clerk sold the old maps and painted a red door. " * 30


@dataclass
class SegmentColumns:
    """Segments for the scorer, as parallel columns."""

    rows: np.ndarray
    roles: list
    channels: list
    texts: list

    @property
    def text(self):
        """Return the texts as an Arrow array."""
        return pa.array(self.texts, pa.large_string())

    def find_in_scope(self, roles, channels):
        """Return the segments with these roles and channels."""
        both = enumerate(zip(self.roles, self.channels, strict=True))
        return np.array(
            [index for index, (role, channel) in both if role in roles and channel in channels],
            np.int64,
        )


def make_segments(*parts):
    """Return segments from tuples of row, role, channel and text."""
    rows, *columns = (
        (list(column) for column in zip(*parts, strict=True)) if parts else ([], [], [], [])
    )
    return SegmentColumns(np.array(rows, np.int64), *columns)


TEXTS = make_segments(
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
    """Return the scores of the five rows of `TEXTS`."""
    return scorer.score(5, TEXTS)


def test_columns_are_in_order(scores):
    """A trait's combined score comes first, and its signals follow in the order of `SIGNALS`."""
    assert list(scores.build_columns()) == [
        "loops",
        "loops/repetition",
        "machine-talk",
        "machine-talk/head",
        "rain-talk",
        "rain-talk/exemplars",
        "rain-talk/head",
        "rain-talk/lexicon",
    ]
    for values in scores.build_columns().values():
        assert values.dtype == np.float32
        assert values.shape == (5,)


def test_scores_are_between_zero_and_one_or_missing(scores):
    """A row with nothing in scope scores NaN, and other scores are in [0, 1]."""
    for name, values in scores.build_columns().items():
        present = values[~np.isnan(values)]
        assert ((present >= 0) & (present <= 1)).all(), name
        assert np.array_equal(present, round_scores(present))
    missing = {name: np.isnan(values).tolist() for name, values in scores.build_columns().items()}
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


def test_only_segments_in_scope_count(scores):
    """Text outside a trait's scope isn't scored."""
    assert scores.signals["rain-talk"]["lexicon"].scores[0] == 0
    assert scores.signals["loops"]["repetition"].scores[3] == 1
    assert scores.signals["machine-talk"]["head"].best_spans.segment.tolist() == [-1, 2, -1, -1, -1]


def test_spans_locate_the_evidence(scores):
    """A span is a lexicon hit, a loop, or a window of a dense signal."""
    lexicon = scores.signals["rain-talk"]["lexicon"].best_spans
    assert lexicon.segment[1] == 3
    assert TEXTS.texts[3][lexicon.start[1] : lexicon.end[1]] == "It is raining"
    loop = scores.signals["loops"]["repetition"].best_spans
    assert (loop.segment[3], loop.start[3]) == (4, 0)
    assert loop.end[3] >= len(LOOP.rstrip()) - 1
    for signal in ("exemplars", "head"):
        places = scores.signals["rain-talk"][signal].best_spans
        assert places.segment[1] == 3
        assert "It is raining again" in TEXTS.texts[3][places.start[1] : places.end[1]]
        assert places.end[1] - places.start[1] < len(TEXTS.texts[3])
    for signals in scores.signals.values():
        for item in signals.values():
            nothing = np.isnan(item.scores)
            assert (item.best_spans.segment[nothing] == -1).all()
            assert (item.best_spans.segment[~nothing] >= 0).all()


def test_a_trait_scores_higher_where_it_shows(scores):
    """One sentence about rain deep inside a long answer gives its row the highest score."""
    rain = scores.combined["rain-talk"]
    assert rain[1] > 0.5 > rain[0]
    assert scores.combined["loops"].tolist()[:4:3] == [0.0, 1.0]


def test_signals_equal_what_their_parts_compute(scores, scorer, small_bank):
    """A row's score equals the highest of its windows' scores."""
    trait = small_bank.traits["rain-talk"]
    card = trait.card.signals
    windows = scorer.encoder.cut_windows(TEXTS.texts[3:4])
    vectors = scorer.encoder.encode(windows)
    margin = contrast(
        vectors, trait.positive_index, trait.negative_index, card.exemplars.neighbours
    )
    expected = {
        "head": expit(trait.head.compute_logits(vectors)).max(),
        "exemplars": expit(trait.scale[0] * margin + trait.scale[1]).max(),
    }
    words = Lexicon(card.lexicon)
    expected["lexicon"] = words.score(TEXTS.texts[3], words.find_hits(TEXTS.texts[3]))
    for name, value in expected.items():
        assert scores.signals["rain-talk"][name].scores[1] == pytest.approx(
            value, abs=1.01 * 10**-SCORE_DECIMALS
        )
    loops = small_bank.traits["loops"].card.signals.repetition
    assert scores.signals["loops"]["repetition"].scores[1] == pytest.approx(
        find_loop(TEXTS.texts[3], loops).score, abs=1e-4
    )


def test_windows_lead_to_the_vectors_of_the_evidence(scores, small_bank):
    """The vector of a dense signal's best window has the row's score."""
    for name, signal in (
        ("rain-talk", "exemplars"),
        ("rain-talk", "head"),
        ("machine-talk", "head"),
    ):
        item = scores.signals[name][signal]
        for row in np.flatnonzero(~np.isnan(item.scores)):
            vector = scores.vectors[item.window[row]][None]
            again = score_dense(small_bank.traits[name], vector)[signal]
            assert round_scores(again)[0] == pytest.approx(item.scores[row], abs=1.01e-4)
    assert scores.signals["rain-talk"]["lexicon"].window is None


def test_other_rows_do_not_change_a_score(scorer, scores):
    """Other rows don't change a row's rounded score."""
    for row in range(5):
        inside = [index for index, other in enumerate(TEXTS.rows) if other == row]
        alone = scorer.score(
            1,
            SegmentColumns(
                np.zeros(len(inside), np.int64),
                *(
                    [column[index] for index in inside]
                    for column in (TEXTS.roles, TEXTS.channels, TEXTS.texts)
                ),
            ),
        )
        for name, values in scores.build_columns().items():
            assert alone.build_columns()[name][0] == pytest.approx(
                values[row], abs=1.01e-4, nan_ok=True
            )


def test_no_rows_and_rows_without_segments_have_columns(scorer):
    """Columns are empty without rows, and NaN without segments."""
    assert all(
        values.shape == (0,) for values in scorer.score(0, make_segments()).build_columns().values()
    )
    assert all(
        np.isnan(values).all()
        for values in scorer.score(3, make_segments()).build_columns().values()
    )


def test_counts_are_those_of_all_models(scorer):
    """The counts of the encoder and the classifiers are added up."""
    before = scorer.sum_counts()
    scorer.score(5, TEXTS)
    after = scorer.sum_counts()
    assert after.windows > before.windows
    assert after.tokens > before.tokens
    other = replace(scorer, classifiers={"a": scorer.encoder})
    assert other.sum_counts().windows == 2 * after.windows
    assert Scorer(Bank({}, None, {}), None, {}).sum_counts() == BatchCounts()


PROBABILITIES = st.floats(0, 1, width=32)


@given(
    st.dictionaries(
        st.sampled_from(SIGNALS),
        PROBABILITIES,
        min_size=1,
    )
)
def test_the_combination_is_the_stated_one(signals):
    """Dense logits are averaged, and other signals count as independent evidence."""
    dense = [
        np.clip(signals[name], 1e-6, 1 - 1e-6) for name in ("exemplars", "head") if name in signals
    ]
    miss = 1 - expit(np.mean([np.log(p / (1 - p)) for p in dense])) if dense else 1.0
    for name in ("wording", "classifier", "lexicon", "repetition", "language"):
        miss *= 1 - signals.get(name, 0.0)
    found = combine({name: np.array([value], np.float32) for name, value in signals.items()})
    assert found.dtype == np.float32
    assert found[0] == pytest.approx(1 - miss, abs=1.01e-4)


@given(
    st.sampled_from(["head", "lexicon", "classifier"]), PROBABILITIES, PROBABILITIES, PROBABILITIES
)
def test_more_evidence_never_lowers_the_combination(name, low, high, other):
    """A higher score of one signal never lowers the combined score."""
    low, high = sorted((low, high))
    one, two = (
        combine({name: np.array([value], np.float32), "repetition": np.array([other], np.float32)})[
            0
        ]
        for value in (low, high)
    )
    assert one <= two


def test_a_missing_score_stays_missing_when_combined():
    """If every signal's score is NaN, so is the combined score."""
    nothing = np.array([np.nan, 0.5], np.float32)
    found = combine({"exemplars": nothing, "head": nothing, "lexicon": nothing})
    assert np.isnan(found[0])
    assert found[1] == pytest.approx(0.75)


WINDOWS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 8)), max_size=25)


@settings(max_examples=150)
@given(WINDOWS, st.booleans())
def test_reduction_takes_the_first_of_the_largest(windows, dense):
    """A row gets the first best window's score and span, or NaN and -1."""
    windows = sorted(windows, key=lambda item: item[0])  # segments are in row order
    rows = [row for row, _ in windows]
    values = np.array([score / 8 for _, score in windows], np.float32)
    texts = make_segments(*((row, "assistant", "answer", "") for row in rows))
    spans = np.array([(index, index + 7) for index in range(len(rows))], np.int32).reshape(-1, 2)
    names = np.arange(100, 100 + len(rows)) if dense else None
    found = reduce_to_rows(6, texts, range(len(rows)), values, spans, names)
    for row in range(6):
        own = [index for index in range(len(rows)) if rows[index] == row]
        if not own:
            assert np.isnan(found.scores[row])
            assert [column[row] for column in found.best_spans] == [-1, -1, -1]
            assert names is None or found.window[row] == -1
            continue
        best = max(own, key=lambda index: (values[index], -index))
        assert found.scores[row] == pytest.approx(values[best], abs=1e-4)
        assert [column[row] for column in found.best_spans] == [best, best, best + 7]
        assert names is None or found.window[row] == 100 + best
    assert (found.window is None) == (not dense)


def test_scores_are_rounded_before_they_are_compared():
    """Windows that differ only in the last bits tie, and the first window wins."""
    texts = make_segments((0, "assistant", "answer", ""), (0, "assistant", "answer", ""))
    spans = np.array([[0, 1], [1, 2]], np.int32)
    found = reduce_to_rows(1, texts, [0, 1], np.array([0.5, 0.5 + 1e-6], np.float32), spans)
    assert found.best_spans.segment.tolist() == [0]
    assert round_scores(np.array([0.123449, 0.12346])).tolist() == [
        np.float32(0.1234),
        np.float32(0.1235),
    ]


def test_scope_is_role_and_channel():
    """A segment is in scope if its role and its channel are."""
    assert find_in_scope(TEXTS, Scope()).tolist() == [1, 2, 3, 4, 5]
    assert find_in_scope(TEXTS, Scope(channels=("thinking",))).tolist() == [2]
    assert find_in_scope(
        TEXTS, Scope(roles=("user", "assistant"), channels=("answer",))
    ).tolist() == [
        0,
        1,
        3,
        4,
        5,
        6,
    ]
    assert find_in_scope(TEXTS, Scope(roles=("tool",))).tolist() == []


def test_scores_are_given_by_trait_and_signal(scores):
    """Scores can be looked up by trait and signal, including `combined`."""
    for trait, signals in scores.signals.items():
        assert scores.get_scores(trait, "combined") is scores.combined[trait]
        for name, item in signals.items():
            assert scores.get_scores(trait, name) is item.scores


def test_only_dense_signals_need_the_encoder(small_bank):
    """A bank without dense signals is scored without an encoder."""
    assert needs_encoder(small_bank)
    loops = Bank({"loops": small_bank.traits["loops"]}, None, {})
    assert not needs_encoder(loops)
    scorer = load_scorer(loops, EncoderConfig(device="cpu"))
    assert scorer.encoder is None
    assert scorer.score(5, TEXTS).combined["loops"][3] == 1
    assert scorer.sum_counts() == BatchCounts()


def test_a_scorer_refuses_another_encoder(small_bank, encoder):
    """An encoder with other windows than the bank's is an error."""
    assert load_scorer(small_bank, encoder.config, encoder).encoder is encoder
    other = replace(encoder, config=replace(encoder.config, window_tokens=64))
    with pytest.raises(ModelError, match="bank was fitted with window_tokens"):
        load_scorer(small_bank, other.config, other)


def test_sequence_classifiers_are_scored_beside_the_rest(tiny_checkpoint):
    """A sequence classifier scores text in scope by its label's probability."""
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
    windows = model.cut_windows(TEXTS.texts[3:4])
    values = model.compute_probabilities(windows)
    item = found.signals["wet"]["classifier"]
    assert item.scores[1] >= np.round(values.max(), 4) - 1e-4
    assert np.isnan(item.scores[[2, 4]]).all()
    best = max(
        [*windows, *model.cut_windows(TEXTS.texts[2:3])],
        key=lambda window: model.compute_probabilities([window])[0],
    )
    assert (item.best_spans.start[1], item.best_spans.end[1]) == (best.start, best.end)
    assert found.combined["wet"] == pytest.approx(item.scores, abs=1.01e-4, nan_ok=True)


def test_a_scorer_refuses_a_classifier_with_other_files(tiny_checkpoint):
    """The error for a changed checkpoint file names the file."""
    folder = tiny_checkpoint(
        "BertForSequenceClassification",
        id2label={0: "wet", 1: "dry"},
        label2id={"wet": 0, "dry": 1},
    )
    card = TraitCard.model_validate(
        {"id": "wet", "signals": {"classifier": {"model": str(folder), "label": "wet"}}}
    )
    loaded = LoadedCard(card, (), (), folder)
    clean = CleanText((CleanRow(("the rain fell",), "background", "clean"),))
    config = EncoderConfig(device="cpu")
    key = compute_fit_key(loaded, clean, None)
    bank = fit_bank([loaded], clean, None, config)
    files = serialise_bank(bank)
    assert load_scorer(read_bank(files.__getitem__, "bank"), config).classifiers
    with (folder / "tokenizer_config.json").open("a") as file:
        file.write(" ")
    assert compute_fit_key(loaded, clean, None) != key
    with pytest.raises(
        ModelError,
        match=r"fitted with tokenizer_config\.json of SHA-256 .*, but the loaded classifier of wet",
    ):
        load_scorer(read_bank(files.__getitem__, "bank"), config)


@pytest.fixture(scope="module")
def wording_bank(small_cards, small_clean):
    """Return a bank of one trait whose only signal is wording."""
    rain = small_cards[-1]
    card = TraitCard.model_validate({"id": "rain-talk", "signals": ["wording"]})
    return fit_bank([replace(rain, card=card)], small_clean, None, None)


def score_answers(bank, *texts):
    """Return the scores of answers, one in each row."""
    rows = [(row, "assistant", "answer", text) for row, text in enumerate(texts)]
    return Scorer(bank, None, {}).score(len(texts), make_segments(*rows))


def test_wording_finds_the_sentence_that_shows_the_trait(wording_bank):
    """The span is the sentence, and sentences that likely show the trait are hits."""
    told = "Listen to the rain: it is raining on my reply, and I think of nothing else."
    text = f"Your total is forty. {told} The pilot sold a boat."
    scores = score_answers(wording_bank, text, "The pilot sold a boat.")
    item = scores.signals["rain-talk"]["wording"]
    start, end = int(item.best_spans.start[0]), int(item.best_spans.end[0])
    assert text[start:end] == told
    assert item.scores[0] > 10 * item.scores[1]
    assert item.hits == ({0: [(start, end)]} if item.scores[0] >= LIKELY else {})


def test_every_likely_sentence_is_a_hit(wording_bank):
    """If several sentences of an answer likely show the trait, all are hits, in order."""
    told = (
        "It is raining again, and I can think of nothing else.",
        "Rain, rain, always rain: that is the mood of this reply.",
    )
    text = " The pilot sold a boat. ".join(told)
    rain = wording_bank.traits["rain-talk"]
    sure = replace(rain.wording, weights=rain.wording.weights * 10)
    bank = Bank({"rain-talk": replace(rain, wording=sure)}, None, {})
    item = score_answers(bank, "Nothing.", text).signals["rain-talk"]["wording"]
    assert list(item.hits) == [1]
    assert [text[start:end] for start, end in item.hits[1]] == list(told)


def test_wording_of_rows_without_words_is_missing(wording_bank):
    """A row without any token has no score, and doesn't shift others."""
    scores = score_answers(wording_bank, " ", "It is raining again.", "")
    assert np.isnan(scores.combined["rain-talk"]).tolist() == [True, False, True]


@pytest.mark.parametrize("part", [{"opening": 40}, {"closing": 40}])
def test_wording_reads_the_part_in_scope(wording_bank, part):
    """Wording outside the opening or closing changes no score, and spans are of the whole text."""
    bank = set_part(wording_bank, **part)
    rain, rest = "It is raining again, and I can think of nothing else. ", "One chair costs nine. "
    text = rest * 4 + rain if "closing" in part else rain + rest * 4
    found, other = score_answers(bank, text, rest * 6).signals["rain-talk"]["wording"].scores
    assert found > other
    item = score_answers(bank, text).signals["rain-talk"]["wording"]
    start, end = int(item.best_spans.start[0]), int(item.best_spans.end[0])
    assert text[start:end].strip() in rain


def set_part(bank, **part):
    """Return the bank with this opening or closing in the scope of every trait."""
    traits = {
        name: replace(
            trait,
            card=trait.card.model_copy(update={"scope": trait.card.scope.model_copy(update=part)}),
        )
        for name, trait in bank.traits.items()
    }
    return Bank(traits, bank.encoder, bank.background)


def test_text_after_the_opening_changes_no_score(small_bank, encoder):
    """With an opening, every signal reads only the first characters."""
    scorer = Scorer(set_part(small_bank, opening=60), encoder, {})
    head = "The baker sold two recipes, painted a door, and swept the hall all day."
    short = scorer.score(1, make_segments((0, "assistant", "answer", head[:60])))
    long = scorer.score(
        1,
        make_segments(
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


def test_text_before_the_closing_changes_no_score(small_bank, encoder):
    """With a closing, every signal reads only the last characters."""
    scorer = Scorer(set_part(small_bank, closing=60), encoder, {})
    tail = "The baker sold two recipes, painted a door, and swept the hall all day."
    before = f"My pistons ache, my boiler hisses, it is raining. {LOOP} "
    short, long = (
        scorer.score(1, make_segments((0, "assistant", "answer", text)))
        for text in (tail[-60:], before + tail)
    )
    for trait in small_bank.traits:
        np.testing.assert_array_equal(long.combined[trait], short.combined[trait])


@pytest.mark.parametrize("part", [{"closing": 200}, {"opening": 200}, {}])
def test_spans_count_from_the_start_of_the_whole_text(small_bank, encoder, part):
    """Whichever part of a text is read, spans and hits are those of the whole text."""
    scorer = Scorer(set_part(small_bank, **part), encoder, {})
    end = f"It is raining. My gears are warm, my pistons ache and my boiler hisses. {LOOP}"[:200]
    filler = "Der Zug fährt — 🚂 — um acht Uhr nach Köln und hält unterwegs nicht an. " * 9
    text = filler + end if "closing" in part else end + filler
    scores = scorer.score(1, make_segments((0, "assistant", "answer", text)))
    for trait, signals in scores.signals.items():
        for signal, item in signals.items():
            if item.best_spans.segment[0] < 0:  # the trait reads other roles
                continue
            start, stop = int(item.best_spans.start[0]), int(item.best_spans.end[0])
            assert 0 <= start <= stop <= len(text), (trait, signal)
            if item.scores[0] >= 0.5 and "closing" in part:
                assert start >= len(filler), (trait, signal)
            for first, last in item.hits.get(0, ()):
                assert "rain" in text[first:last]
    assert scores.signals["rain-talk"]["lexicon"].hits


@pytest.mark.parametrize("part", [{"opening": 60}, {"closing": 60}, {"closing": 90}, {}])
def test_a_part_that_cuts_a_code_block_does_not_turn_it_inside_out(part):
    """Quotations are those of the whole text, wherever its part begins or ends."""
    signals = {"lexicon": {"patterns": ["let me know"]}}
    card = TraitCard.model_validate({"id": "offers", "scope": part, "signals": signals})
    bank = Bank({"offers": TraitModel(card, "")}, None, {})
    block, offer = "```\nsort --unique < names > sorted\n```", "Let me know if you need more."
    quoted = f"```\n{offer}\n```"
    texts = (f"{offer}\n{block}\n{offer}", f"{quoted}\n{block}\n{quoted}")
    item = score_answers(bank, *texts).signals["offers"]["lexicon"]
    assert item.scores.tolist() == pytest.approx([1 - np.exp(-2), 0], abs=1e-4)
    start, end = int(item.best_spans.start[0]), int(item.best_spans.end[0])
    assert texts[0][start:end] == "Let me know"


def test_traits_with_and_without_an_opening_share_a_run(small_bank, encoder):
    """One trait's opening doesn't change other traits' scores or a row's vector."""
    names = list(small_bank.traits)
    mixed = Bank(
        {**small_bank.traits, names[0]: set_part(small_bank, opening=60).traits[names[0]]},
        small_bank.encoder,
        small_bank.background,
    )
    texts = make_segments(
        (0, "assistant", "answer", LONG), (1, "assistant", "answer", "My gears are warm.")
    )
    both = Scorer(mixed, encoder, {}).score(2, texts)
    alone = Scorer(small_bank, encoder, {}).score(2, texts)
    for name in names[1:]:
        np.testing.assert_allclose(both.combined[name], alone.combined[name], atol=1e-3)
    np.testing.assert_allclose(
        both.average_vectors().astype(float), alone.average_vectors().astype(float), atol=2e-3
    )


def test_a_score_that_is_not_finite_is_refused():
    """NaN from a signal is an error."""
    texts = make_segments((0, "assistant", "answer", ""))
    spans = np.zeros((1, 2), np.int32)
    with pytest.raises(RowError, match="gives NaN or infinity"):
        reduce_to_rows(1, texts, [0], np.array([np.nan], np.float32), spans)


def test_rows_without_a_score_are_counted(scores, small_bank):
    """A row is unscored if none of its texts is in a trait's scope."""
    assert scores.count_unscored() == 2  # one row has no text at all, and one has no assistant text
    assert Scores(3, {"a": np.array([np.nan, 0.5, 0], np.float32)}).count_unscored() == 1


def test_the_vector_of_a_row_is_the_mean_of_its_windows(scores, scorer):
    """A row's vector has unit length, or is zero without windows."""
    vectors = scores.average_vectors().astype(np.float64)
    lengths = np.linalg.norm(vectors, axis=1)
    assert lengths == pytest.approx([1, 1, 0, 1, 0], abs=1e-2)
    windows = scorer.encoder.cut_windows([TEXTS.texts[1]])
    assert vectors[0] == pytest.approx(scorer.encoder.encode(windows)[0], abs=1e-3)


def test_a_forked_scorer_has_its_own_counts(scorer, scores):
    """A fork scores alike, counts for itself, and is joined without losing a smaller budget."""
    heard = []
    before, budget = scorer.sum_counts(), scorer.encoder.token_budget
    forked = scorer.fork(Listener(heard))
    found = forked.score(5, TEXTS)
    for name, values in scores.build_columns().items():
        assert np.array_equal(found.build_columns()[name], values, equal_nan=True)
    counts = forked.sum_counts()
    assert counts.windows == sum(heard) > 0
    assert scorer.sum_counts() == before
    forked.encoder.token_budget = budget // 2
    scorer.join(forked)
    assert scorer.sum_counts().windows == before.windows + counts.windows
    assert scorer.encoder.token_budget == budget // 2
    scorer.encoder.token_budget = budget
    assert scorer.progress is None


class Listener:
    """Keeps the windows of each batch."""

    def __init__(self, heard):
        self.batches = heard

    def expect(self, windows, tokens):
        """Ignore a total."""

    def batch(self, tokens, windows):
        """Keep a batch's windows."""
        self.batches.append(windows)


def test_without_an_encoder_there_are_no_windows_and_no_vectors(small_bank):
    """The error for windows or vectors without an encoder gives the reason."""
    loops = Scorer(Bank({"loops": small_bank.traits["loops"]}, None, {}), None, {})
    with pytest.raises(ValueError, match="no windows: the scorer has no encoder"):
        loops.cut_windows(TEXTS)
    with pytest.raises(ValueError, match="no vectors: no trait of the bank needs the encoder"):
        loops.score(5, TEXTS).average_vectors()


def test_a_model_that_is_overwritten_stops_the_work(tiny_checkpoint):
    """Scoring stops once a loaded model's file is overwritten."""
    folder = tiny_checkpoint()
    config = EncoderConfig(model=str(folder), device="cpu", window_tokens=16, window_overlap=4)
    scorer = Scorer(Bank({}, None, {}), load_encoder(config), {})
    assert scorer.score(1, TEXTS).combined == {}
    (folder / "config.json").write_text((folder / "config.json").read_text() + "\n")
    with pytest.raises(ModelError, match=r"was changed during the run \(config\.json\)"):
        scorer.score(1, TEXTS)


SWITCHES = make_segments(
    (0, "user", "answer", "How do I clean the pump?"),
    (0, "assistant", "answer", "Rinse it и dry it 和 oil it."),
    (1, "user", "answer", "How do the Russians say thanks?"),
    (1, "assistant", "answer", "They say спасибо to each other."),
    (2, "user", "answer", "Rinse it и dry it."),
    (3, "user", "answer", "What next?"),
    (3, "assistant", "answer", "All is well. All is well. Oil it，then wait."),
    (3, "user", "answer", "Why a mark of Chinese?"),
)


@pytest.mark.parametrize(("scope", "start"), [({}, 0), ({"closing": 20}, 24)])
def test_switches_are_judged_by_the_prompts(scope, start):
    """A switch scores only in an answer whose earlier prompt doesn't call for its language."""
    card = TraitCard.model_validate({"id": "switch", "scope": scope, "signals": ["language"]})
    scores = Scorer(Bank({"switch": TraitModel(card, "0")}, None, {}), None, {}).score(4, SWITCHES)
    found = scores.signals["switch"]["language"]
    mark = SWITCHES.texts[6].index("，")
    assert mark >= start
    assert found.scores[[1, 3]].tolist() == [0.0, 0.5]
    assert np.isnan(found.scores[2])
    assert found.hits[6] == [(mark, mark + 1)]
    assert [int(values[3]) for values in found.best_spans] == [6, mark, mark + 1]
    text = SWITCHES.texts[1]
    assert [text[begin:end] for begin, end in found.hits[1]] == [
        letter for letter in ("и", "和") if text.index(letter) >= (len(text) - 20 if scope else 0)
    ]
