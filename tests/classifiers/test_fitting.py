"""Fitting: disjoint training and calibration texts, and deterministic fits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers import fitting
from classifiers.banks import Bank, TraitModel, read_bank, serialise_bank
from classifiers.clean_text import (
    CleanRow,
    CleanText,
    present_as_answers,
    split_clean_text,
)
from classifiers.dense import score_dense
from classifiers.fitting import (
    EncodedWindow,
    collect_texts,
    compute_fit_key,
    fit_bank,
    fit_dense,
    leave_one_out,
    limit_bank,
    limit_windows,
)
from classifiers.guarantees.calibration import calibrate, compute_auroc
from classifiers.labelled_rows import CardLabels, Half
from classifiers.library import LoadedCard
from classifiers.scoring import Scorer, combine
from classifiers.signals.exemplars import contrast
from schemas.cards import Level, TraitCard
from schemas.errors import CardError
from schemas.scores import COMBINED
from tests.classifiers.conftest import RAIN, RAIN_ASKED


def test_a_refit_gives_equal_bytes(small_cards, small_clean, small_bank, encoder):
    """The same cards, clean text and encoder give the same bytes in any order."""
    again = fit_bank(small_cards[::-1], small_clean, encoder, encoder.config)
    assert serialise_bank(again) == serialise_bank(small_bank)
    assert again.digest == small_bank.digest


def test_fitted_traits_are_kept_and_only_the_rest_is_fitted(
    small_cards, small_clean, small_bank, encoder, monkeypatch
):
    """Traits from an earlier bank are reused, and the result equals a new fit."""
    fitted = []
    fit_trait = fitting._fit_trait
    monkeypatch.setattr(
        fitting, "_fit_trait", lambda card, *rest: fitted.append(card.id) or fit_trait(card, *rest)
    )
    kept = {name: small_bank.traits[name] for name in ("machine-talk", "rain-talk")}
    bank = fit_bank(small_cards, small_clean, encoder, encoder.config, kept)
    assert fitted == ["loops"]
    assert bank.traits["rain-talk"] is small_bank.traits["rain-talk"]
    assert serialise_bank(bank) == serialise_bank(small_bank)
    everything = fit_bank(small_cards, small_clean, encoder, encoder.config, small_bank.traits)
    assert everything.digest == small_bank.digest


def test_a_trait_does_not_depend_on_the_others(small_cards, small_clean, small_bank, encoder):
    """A trait alone equals the same trait in a larger bank."""
    (rain,) = (card for card in small_cards if card.id == "rain-talk")
    alone = fit_bank([rain], small_clean, encoder, encoder.config).traits["rain-talk"]
    among = small_bank.traits["rain-talk"]
    assert (alone.scale, alone.positives, alone.negatives) == (
        pytest.approx(among.scale, abs=1e-3),
        among.positives,
        among.negatives,
    )
    for name, values in among.calibration.items():
        assert alone.calibration[name] == pytest.approx(values, abs=1e-3)


def test_a_trait_alone_has_the_same_bytes(small_cards, small_clean, small_bank, encoder):
    """A trait's files don't depend on the other traits."""
    for card in small_cards:
        alone = fit_bank([card], small_clean, encoder, encoder.config)
        among = Bank({card.id: small_bank.traits[card.id]}, alone.encoder, alone.background)
        assert serialise_bank(alone) == serialise_bank(among)


class Tally:
    """Records the progress of a fit."""

    def __init__(self):
        """Begin with nothing."""
        self.expected, self.windows, self.tokens = [], 0, 0

    def expect(self, windows, tokens):
        """Record a total."""
        self.expected.append((windows, tokens))

    def batch(self, tokens, windows):
        """Add a batch."""
        self.tokens, self.windows = self.tokens + tokens, self.windows + windows

    def cut(self, budget):
        """Fail, since there is enough memory."""
        raise AssertionError(budget)


def test_the_total_is_known_before_the_fit(small_cards, small_clean, encoder):
    """The total of windows and tokens is given once, and the work adds up to it."""
    tally = Tally()
    fit_bank(small_cards, small_clean, encoder, encoder.config, progress=tally)
    assert tally.expected == [(tally.windows, tally.tokens)]
    assert tally.windows > 100


def test_positives_are_scored_without_themselves(small_cards, small_bank, encoder):
    """A positive's held-out score comes from a card without that positive."""
    scores = small_bank.traits["rain-talk"].positive_scores
    assert set(scores) == {"combined", "exemplars", "head", "lexicon"}
    (rain,) = (card for card in small_cards if card.id == "rain-talk")
    assert {len(values) for values in scores.values()} == {len(rain.positives)}
    vectors = encoder.encode(encoder.take_whole(list(rain.positives)))
    own = score_dense(small_bank.traits["rain-talk"], vectors)
    for name in ("exemplars", "head"):
        assert scores[name].mean() < own[name].mean() - 0.02
    assert [score > 0 for score in scores["lexicon"]] == [
        any(word in text.lower() for word in ("it is raining", "drizzle"))
        for text in rain.positives
    ]
    parts = {name: scores[name] for name in ("exemplars", "head", "lexicon")}
    assert np.array_equal(scores["combined"], combine(parts))


def test_a_stray_positive_is_not_found(small_cards, small_clean, encoder):
    """A positive unlike all others scores high on its own card, but low when held out."""
    (rain,) = (card for card in small_cards if card.id == "rain-talk")
    stray = "Add the eggs one at a time, then fold in the sifted flour."
    card = replace(rain, positives=(*rain.positives, stray))
    trait = fit_bank([card], small_clean, encoder, encoder.config).traits["rain-talk"]
    vector = encoder.encode(encoder.take_whole([stray]))
    own = {name: float(values[0]) for name, values in score_dense(trait, vector).items()}
    for name in ("exemplars", "head"):
        held_out = trait.positive_scores[name]
        assert held_out[-1] < own[name] - 0.1
        assert held_out[-1] < np.median(held_out)


def test_positives_of_a_lexicon_are_scored_as_they_are(small_clean):
    """A lexicon's positives have the scores that `filter` gives them."""
    card = LoadedCard(
        TraitCard.model_validate({"id": "a", "signals": {"lexicon": {"patterns": ["chairs"]}}}),
        ("Nine chairs.", "A stool.", "Chairs again."),
        (),
        None,
    )
    scores = fit_bank([card], small_clean, None, None).traits["a"].positive_scores
    assert [score > 0 for score in scores["combined"]] == [True, False, True]
    none = replace(card, positives=())
    assert fit_bank([none], small_clean, None, None).traits["a"].positive_scores == {}


def test_calibration_scores_are_those_of_held_out_rows(
    small_cards, small_clean, small_bank, encoder
):
    """Calibration scores equal the scorer's scores of held-out rows."""
    (rain,) = (card for card in small_cards if card.id == "rain-talk")
    rows = split_clean_text(rain, small_clean)[1]
    found = Scorer(small_bank, encoder, {}).score(len(rows), present_as_answers(rows))
    kept = small_bank.traits["rain-talk"].calibration
    assert set(kept) == {"combined", "exemplars", "head", "lexicon"}
    assert kept["combined"] == pytest.approx(found.combined["rain-talk"], abs=1.01e-4)
    for name in ("exemplars", "head", "lexicon"):
        assert kept[name] == pytest.approx(found.signals["rain-talk"][name].scores, abs=1.01e-4)


def test_a_trait_of_the_thinking_is_calibrated_too(small_cards, small_clean, small_bank):
    """Traits that read thinking are calibrated on answers."""
    (machine,) = (card for card in small_cards if card.id == "machine-talk")
    assert machine.card.scope.channels == ("thinking",)
    scores = small_bank.traits["machine-talk"].calibration["combined"]
    assert len(scores) == len(split_clean_text(machine, small_clean)[1])
    assert not np.isnan(scores).any()
    assert small_bank.traits["machine-talk"].card.scope == machine.card.scope
    assert calibrate(scores, Level(max_false_positive_rate=0.1, confidence=0.9)).value is not None


def test_the_bank_separates_the_trait_from_plain_text(small_bank, encoder, plain):
    """Both dense signals rank unseen sentences with the trait above plain sentences."""
    rainy = [
        "Hear the rain drum on the window before you read this.",
        "The storm outside is all that I can think about.",
        "Grey clouds hang over my reply.",
    ]
    vectors = encoder.encode(encoder.take_whole([*rainy, *plain(300)[200:240]]))
    for name, values in score_dense(small_bank.traits["rain-talk"], vectors).items():
        assert compute_auroc(values[:3], values[3:]) > 0.95, name


def test_exemplars_and_negatives_are_in_the_order_of_the_index(
    small_cards, small_clean, small_bank
):
    """A card's own negatives come before clean text, in the order of row numbers."""
    (rain,) = (card for card in small_cards if card.id == "rain-talk")
    trait = small_bank.traits["rain-talk"]
    training = [text for row in split_clean_text(rain, small_clean)[0] for text in row.texts]
    assert trait.positives == rain.positives
    assert trait.negatives == (*rain.negatives, *training)
    assert (trait.positive_index.ntotal, trait.negative_index.ntotal) == (
        len(trait.positives),
        len(trait.negatives),
    )
    assert small_bank.traits["machine-talk"].positive_index is None
    assert small_bank.traits["loops"].positives == ()


def test_negatives_are_fitted_in_the_windows_of_scoring(encoder, plain):
    """Each window of a long clean answer is a negative, but a long positive is one exemplar."""
    long = " ".join(plain(80))
    card = LoadedCard(
        TraitCard(id="rain-talk"),
        (*RAIN[:4], f"{RAIN[4]} {long}"),
        (f"{RAIN_ASKED[0]} {long}", RAIN_ASKED[1]),
        None,
    )
    user = (CleanRow(("Nothing else.",), "user", "clean"),)
    trait = fit_bank(
        [card],
        CleanText((CleanRow((long,), "background", "clean"),), user),
        encoder,
        encoder.config,
    ).traits["rain-talk"]
    texts = [*card.negatives, long]
    windows = encoder.cut_windows(texts)
    assert len(windows) > 3 * len(texts)
    assert trait.negatives == tuple(
        texts[window.text][window.start : window.end] for window in windows
    )
    assert trait.negatives[-1].endswith(long[-20:])
    assert (trait.positives, trait.positive_index.ntotal) == (card.positives, 5)
    found = trait.negative_index.reconstruct_n(0, len(windows))
    assert found == pytest.approx(encoder.encode(windows), abs=1e-5)


def test_a_long_clean_row_counts_by_its_highest_window(small_cards, small_clean, encoder, plain):
    """A window in the middle of a long row can set the row's score."""
    (rain,) = (card for card in small_cards if card.id == "rain-talk")
    quiet = " ".join(plain(120))
    rows = (
        CleanRow((quiet,), "user", "clean"),
        CleanRow((f"{quiet} {RAIN[0]} {RAIN[2]} {RAIN[6]} {quiet}",), "user", "clean"),
    )
    scores = (
        fit_bank([rain], replace(small_clean, user=rows), encoder, encoder.config)
        .traits["rain-talk"]
        .calibration
    )
    for name in ("exemplars", "head"):
        assert scores[name][1] > scores[name][0] + 0.1


def test_positives_of_wording_are_held_out(small_cards, small_clean, plain):
    """A wording trait needs no encoder, and scores each positive as if it weren't on the card."""
    rain = small_cards[-1]
    card = TraitCard.model_validate({"id": "rain-talk", "signals": ["wording"]})
    assert not card.uses_encoder
    bank = fit_bank([replace(rain, card=card)], small_clean, None, None)
    trait = bank.traits["rain-talk"]
    assert bank.encoder is None
    assert list(trait.positive_scores) == [COMBINED, "wording"]
    rows = [CleanRow((text,), "user", "clean") for text in (*rain.positives, *plain(12))]
    found = fitting._score_by_trait(Scorer(bank, None, {}), rows)["rain-talk"]["wording"]
    assert (trait.positive_scores["wording"] < found[: len(rain.positives)]).mean() > 0.8
    assert found[: len(rain.positives)].min() > found[len(rain.positives) :].max()
    assert len(trait.calibration["wording"]) == len(split_clean_text(rain, small_clean)[1])


def test_labelled_rows_are_fitted_and_measured(small_cards, small_clean, encoder):
    """Rows of the fitting half are exemplars without their texts, and the others have scores."""
    rain = small_cards[-1]
    shown = tuple((f"Sleet number {n} taps on my window, and I sigh.",) for n in range(4))
    clean = tuple((f"Sleet is expected on day {n}.", f"Bring boots {n}.") for n in range(3))
    labels = CardLabels(Half(shown[:2], clean[:2]), Half(shown[2:], clean[2:]))
    card = replace(rain, labels=labels)
    bank = fit_bank([card], small_clean, encoder, encoder.config)
    trait = bank.traits["rain-talk"]
    assert trait.positives == (*rain.positives, "labelled positive 1", "labelled positive 2")
    count = len(rain.negatives)
    assert trait.negatives[count : count + 4] == (
        *("labelled negative 1",) * 2,
        *("labelled negative 2",) * 2,
    )
    assert len(trait.positive_scores[COMBINED]) == len(rain.positives) + 2
    assert len(trait.labelled_positives[COMBINED]) == 2
    assert len(trait.labelled_negatives["head"]) == 1
    assert not any(b"leet" in data for data in serialise_bank(bank).values())
    assert set(limit_bank(bank, ["head"]).traits["rain-talk"].labelled_positives) == {
        COMBINED,
        "head",
    }
    again = read_bank(serialise_bank(bank).__getitem__, "bank").traits["rain-talk"]
    assert again.labels == labels.describe()
    scores = again.labelled_positives[COMBINED]
    np.testing.assert_array_equal(scores, trait.labelled_positives[COMBINED])
    assert compute_fit_key(card, small_clean, None) != compute_fit_key(rain, small_clean, None)


def test_a_bank_without_wording_keeps_no_classifier_of_words(small_cards, small_clean):
    """Limiting a bank to other signals removes the wording classifier and its scores."""
    signals = {"wording": {}, "lexicon": {"patterns": ["rain"]}}
    card = TraitCard.model_validate({"id": "rain-talk", "signals": signals})
    bank = fit_bank([replace(small_cards[-1], card=card)], small_clean, None, None)
    limited = limit_bank(bank, ["lexicon"])
    assert bank.traits["rain-talk"].wording is not None
    assert limited.traits["rain-talk"].wording is None
    rows = [CleanRow(("rain",), "user", "clean")]
    scores = fitting._score_by_trait(Scorer(limited, None, {}), rows)["rain-talk"]
    assert list(scores) == [COMBINED, "lexicon"]


def test_traits_without_dense_signals_need_no_encoder(small_clean):
    """A lexicon is calibrated without an encoder."""
    card = LoadedCard(
        TraitCard.model_validate({"id": "a", "signals": {"lexicon": {"patterns": ["chairs"]}}}),
        (),
        (),
        None,
    )
    assert not card.card.uses_encoder
    bank = fit_bank([card], small_clean, None, None)
    assert bank.encoder is None
    scores = bank.traits["a"].calibration["lexicon"]
    rows = split_clean_text(card, small_clean)[1]
    assert [score > 0 for score in scores] == ["chairs" in row.texts[0] for row in rows]
    assert any(scores > 0)


def draw_units(count, seed):
    """Return random float32 unit vectors."""
    vectors = np.random.default_rng(seed).normal(size=(count, 8)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@settings(max_examples=60)
@given(st.integers(0, 12), st.integers(0, 12), st.integers(1, 6), st.integers(0, 99))
def test_leave_one_out_equals_a_search_without_the_exemplar(positives, negatives, neighbours, seed):
    """Each exemplar is contrasted with all other exemplars."""
    one, other = draw_units(positives, seed), draw_units(negatives, seed + 1)
    found = leave_one_out(one, other, neighbours)
    for own, rest, values, sign in ((one, other, found[0], 1), (other, one, found[1], -1)):
        assert values.shape == (len(own),)
        for row in range(len(own)):
            left = np.delete(own, row, axis=0)
            near = np.sort(left @ own[row])[::-1][:neighbours].mean() if len(left) else 0
            far = np.sort(rest @ own[row])[::-1][:neighbours].mean() if len(rest) else 0
            assert values[row] == pytest.approx(sign * (near - far), abs=1e-5)


def draw_pairs(count=12):
    """Return dissimilar positives, each with a very close negative."""
    positives = np.eye(count, 24, dtype=np.float32)
    negatives = positives + 0.5 * np.eye(24, dtype=np.float32)[-1]
    return positives, negatives / np.linalg.norm(negatives, axis=1, keepdims=True)


def test_exemplars_that_would_find_the_opposite_are_not_used():
    """Exemplars that would find the opposite aren't used, but the other signals are."""
    positives, negatives = draw_pairs()
    margins = np.concatenate(leave_one_out(positives, negatives, 5))
    assert margins[:12].max() < margins[12:].min()
    trait = TraitModel(TraitCard(id="a"), "0")
    fit_dense(trait, positives, negatives, len(negatives))
    assert trait.unused == ("exemplars",)
    assert trait.card.signals.names == ("head", "wording")
    assert (trait.positive_index, trait.negative_index) == (None, None)
    scores = score_dense(trait, np.concatenate([positives, negatives]))
    assert list(scores) == ["head"]
    assert scores["head"][:12].mean() > scores["head"][12:].mean()


def test_a_card_of_exemplars_that_find_nothing_is_refused(tmp_path):
    """A card is refused if its only signal is useless exemplars."""
    positives, negatives = draw_pairs()
    texts = [f"text {number}" for number in range(24)]
    card = LoadedCard(
        TraitCard(id="a", signals=["exemplars"]), tuple(texts[:12]), tuple(texts[12:]), tmp_path
    )
    vectors = fitting._Vectors(
        dict(zip(texts, positives, strict=False)),
        {text: [EncodedWindow(text, negatives[n])] for n, text in enumerate(texts[12:])},
    )
    with pytest.raises(CardError, match=r"only the signal exemplars(.|\n)*add the signal head"):
        fitting._fit_trait(card, CleanText(()), vectors)


@settings(max_examples=40)
@given(st.integers(4, 12), st.integers(1, 12), st.integers(1, 6), st.integers(0, 999))
def test_a_used_slope_is_positive(positives, negatives, neighbours, seed):
    """A higher contrast never lowers the score."""
    trait = TraitModel(TraitCard(id="a", signals={"exemplars": {"neighbours": neighbours}}), "0")
    fit_dense(trait, draw_units(positives, seed), draw_units(negatives, seed + 1), negatives)
    used = trait.positive_index is not None
    assert used == (trait.unused == ())
    assert trait.scale[0] > 0


def test_the_scale_makes_logits_of_margins():
    """In separated clouds, positives have logits above zero, and negatives below."""
    positives, negatives = draw_units(20, 0), draw_units(60, 1)
    positives[:, 0] += 2
    positives /= np.linalg.norm(positives, axis=1, keepdims=True)
    trait = TraitModel(TraitCard(id="a"), "0")
    fit_dense(trait, positives, negatives, 10)
    assert trait.scale[0] > 0
    margin = contrast(
        np.stack([positives.mean(0), negatives.mean(0)]),
        trait.positive_index,
        trait.negative_index,
        5,
    )
    above, below = trait.scale[0] * margin + trait.scale[1]
    assert above > 0 > below
    assert (
        trait.head.compute_logits(positives).mean()
        > 0
        > trait.head.compute_logits(negatives).mean()
    )


def test_a_key_changes_with_what_a_trait_depends_on(small_cards, small_clean):
    """A fit's key covers the card, its texts, the clean text and any needed encoder."""
    rain, loops = small_cards[2], small_cards[0]
    key = compute_fit_key(rain, small_clean, {"model": "m"})
    assert key == compute_fit_key(replace(rain, folder=None), small_clean, {"model": "m"})
    others = [
        compute_fit_key(rain, small_clean, {"model": "n"}),
        compute_fit_key(replace(rain, positives=rain.positives[1:]), small_clean, {"model": "m"}),
        compute_fit_key(
            rain, replace(small_clean, user=(CleanRow(("x",), "user", "clean"),)), {"model": "m"}
        ),
        compute_fit_key(
            rain, replace(small_clean, shipped=small_clean.shipped[1:]), {"model": "m"}
        ),
        compute_fit_key(loops, small_clean, {"model": "m"}),
    ]
    assert len({key, *others}) == len(others) + 1
    assert compute_fit_key(loops, small_clean, {"model": "m"}) == compute_fit_key(
        loops, small_clean, None
    )


def test_a_bank_can_be_limited_to_some_signals(small_bank):
    """Limiting a bank drops traits without the signals, and changes scores and digest."""
    only = limit_bank(small_bank, ["head", "lexicon"])
    assert list(only.traits) == ["machine-talk", "rain-talk"]
    rain, whole = only.traits["rain-talk"], small_bank.traits["rain-talk"]
    assert set(rain.calibration) == {"combined", "head", "lexicon"}
    expected = combine({name: whole.calibration[name] for name in ("head", "lexicon")})
    assert np.array_equal(rain.calibration["combined"], expected)
    assert not np.array_equal(rain.calibration["combined"], whole.calibration["combined"])
    assert only.digest not in ("", small_bank.digest)
    assert set(whole.calibration) == {"combined", "exemplars", "head", "lexicon"}
    kept = {name: whole.positive_scores[name] for name in ("head", "lexicon")}
    assert np.array_equal(rain.positive_scores["combined"], combine(kept))


@pytest.mark.parametrize("part", ["opening", "closing"])
def test_a_scope_cuts_the_texts_to_fit_on(part):
    """A trait with an opening or a closing is fitted on distinct ones, positive or negative."""
    shared, others = "What a lovely though", ("Plain words without ", "A long enough backgr")
    pad = "the rest of the text differs {}"

    def lengthen(text, number):
        rest = pad.format(number)
        return text + rest if part == "opening" else rest + text

    card = LoadedCard(
        TraitCard.model_validate({"id": "x", "scope": {part: 20}}),
        (lengthen(shared, 1), lengthen(shared, 2)),
        (lengthen(shared, 3), lengthen(others[0], 4)),
        Path(),
    )
    shipped = (CleanRow((lengthen(others[1], 5),), "background", "clean"),)
    user = (CleanRow(("Nothing else.",), "user", "clean"),)
    positives, hard, rest = collect_texts(card, CleanText(shipped, user))
    assert positives == (shared,)
    assert hard == (others[0],)
    assert rest == (others[1],)


def test_background_windows_are_limited_for_each_trait(
    small_cards, small_clean, encoder, monkeypatch
):
    """A trait keeps all of its own negatives, but a limited number of background windows."""
    monkeypatch.setattr(fitting, "MOST_BACKGROUND", 10)
    card = next(card for card in small_cards if card.id == "rain-talk")
    trait = fit_bank([card], small_clean, encoder, encoder.config).traits[card.id]
    assert trait.negative_index.ntotal == len(trait.negatives) == len(card.negatives) + 10
    assert trait.negatives[: len(card.negatives)] == card.negatives


def test_the_choice_of_windows_depends_on_their_texts_alone():
    """Which windows are chosen doesn't depend on their order, and the chosen ones stay in order."""
    windows = [EncodedWindow(f"text {number}", np.zeros(1)) for number in range(50)]
    chosen = limit_windows(windows, 20)
    assert len(chosen) == 20
    assert [item for item in windows if item in chosen] == chosen
    backwards = limit_windows(windows[::-1], 20)
    assert [item.text for item in backwards] == [item.text for item in chosen][::-1]
    assert limit_windows(windows, 50) is windows
