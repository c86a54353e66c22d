"""Wording: the logits of sentences, and the look-up of n-grams that traits share."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.signals import sentences as cutting
from classifiers.signals.sentences import find_sentences
from classifiers.signals.wording import (
    FEWEST_SLOTS,
    PRIOR,
    SHORTEST,
    KeySlots,
    Wording,
    WordingTable,
    drop_repeats,
    look_up,
    scale_length,
    score_sentences,
    shift_to_prior,
)

HASHES = st.lists(st.integers(0, 2**64 - 1), max_size=20)


def find(*texts):
    """Return the sentences of some texts."""
    return find_sentences(pa.array(texts, pa.large_string()))


def weigh(text, weight, bias=0.0):
    """Return a classifier that gives this weight to each n-gram of a text."""
    keys = np.unique(find(text).grams)
    return Wording(keys, np.full(len(keys), weight, np.float32), bias)


def compute_logit(model, sentences, index):
    """Return the logit of one sentence, by the definition."""
    weights = dict(zip(model.keys.tolist(), model.weights.tolist(), strict=True))
    grams = set(sentences.grams[sentences.owner == index].tolist())
    total = sum(weights.get(gram, 0.0) for gram in grams)
    return total / max(SHORTEST, sentences.length[index]) ** 0.5 + model.bias


def test_logits_follow_the_definition():
    """A logit is the sum of the known n-grams' weights over the root of the length, plus a bias."""
    models = [weigh("rain on the roof", 0.5, -1.0), weigh("the engine hums", -2.0, 0.25)]
    sentences = find("Rain on the roof. The rain, the engine!", "Nothing here.", "rain")
    logits = WordingTable(models).compute_logits(sentences)
    assert logits.shape == (2, 4)
    for number, model in enumerate(models):
        expected = [compute_logit(model, sentences, index) for index in range(4)]
        assert logits[number] == pytest.approx(expected, abs=1e-6)


def test_a_repeated_gram_counts_once():
    """Saying a word twice in a sentence adds no weight, but makes the sentence longer."""
    table = WordingTable([weigh("rain", 4.0)])
    once, often = table.compute_logits(find("a b c rain", "rain rain rain rain"))[0]
    # the second sentence has the word and the pair with its opening, as the classifier does
    assert once == pytest.approx(4.0 / 2)
    assert often == pytest.approx(8.0 / 2)


def test_other_traits_change_no_logit():
    """A trait's logits are the same whichever traits share the table."""
    one, two = weigh("rain on the roof", 0.5), weigh("rain in the yard", -0.5)
    sentences = find("The rain on the roof. It rains in the yard.", "rain")
    alone = WordingTable([one]).compute_logits(sentences)[0]
    together = WordingTable([two, one]).compute_logits(sentences)[1]
    assert np.array_equal(alone, together)


def test_without_sentences_or_keys_there_is_only_the_bias():
    """No sentences give no logits, and a classifier without n-grams gives its bias."""
    empty = Wording(np.empty(0, np.uint64), np.empty(0, np.float32), -3.0)
    table = WordingTable([empty, weigh("rain", 1.0)])
    assert table.compute_logits(find()).shape == (2, 0)
    assert WordingTable([empty]).compute_logits(find("Rain. Sun.")).tolist() == [[-3.0, -3.0]]


@given(keys=HASHES, grams=HASHES)
def test_look_up_finds_exactly_the_known_grams(keys, grams):
    """The result has every n-gram that is a key, in order, with the key's index."""
    ordered = np.array(sorted(set(keys)), np.uint64)
    asked = np.array([*grams, *keys[:3]], np.uint64)
    places, known = look_up(ordered, asked)
    expected = [index for index, gram in enumerate(asked.tolist()) if gram in set(keys)]
    assert known.tolist() == expected
    assert ordered[places].tolist() == asked[known].tolist()


@given(
    keys=st.lists(st.integers(0, 40).map(lambda number: number * FEWEST_SLOTS + number % 3)),
    grams=HASHES,
)
def test_slots_find_what_a_search_finds(keys, grams):
    """Keys that share a slot, and n-grams of empty slots, differ."""
    ordered = np.unique(np.array(keys, np.uint64))
    asked = np.array([*grams, *range(6), *keys[:9]], np.uint64)
    found = KeySlots(ordered).look_up(asked)
    for one, other in zip(found, look_up(ordered, asked), strict=True):
        assert one.dtype == np.int64
        assert one.tolist() == other.tolist()


@pytest.mark.parametrize("at_once", [1, 30, 1 << 16])
def test_sentences_are_scored_block_by_block(monkeypatch, at_once):
    """The logits are those of all sentences together, with their texts and spans."""
    monkeypatch.setattr(cutting, "AT_ONCE", at_once)
    models = [weigh("rain on the roof", 0.5), weigh("the engine", -2.0, 1.0)]
    texts = ["Rain. The engine hums.", "", "On the roof, the rain."] * 9
    found = score_sentences(models, pa.array(texts, pa.large_string()))
    whole = find(*texts)
    assert found.text.tolist() == whole.text.tolist()
    assert found.spans.tolist() == np.stack([whole.start, whole.end], axis=1).tolist()
    expected = shift_to_prior(WordingTable(models).compute_logits(whole))
    assert np.array_equal(found.logits, expected)


def test_without_texts_there_are_no_sentences_to_score():
    """No texts have no sentences, and still a row of logits for each classifier."""
    found = score_sentences([weigh("rain", 1.0)], pa.array([], pa.large_string()))
    assert (found.text.shape, found.spans.shape, found.logits.shape) == ((0,), (0, 2), (1, 0))


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 6)), max_size=30))
def test_repeats_are_dropped(pairs):
    """Each pair comes once, in order."""
    owner, places = (np.array([pair[side] for pair in pairs], np.int64) for side in (0, 1))
    found = drop_repeats(owner, places, 7)
    assert list(zip(*(item.tolist() for item in found), strict=True)) == sorted(set(pairs))


def test_short_sentences_count_as_longer_ones():
    """The scale is one over the root of the length, and of `SHORTEST` at least."""
    assert scale_length(np.array([1, SHORTEST, 16])).tolist() == [0.5, 0.5, 0.25]


def test_the_prior_is_the_probability_at_even_odds():
    """A logit of zero, which means even odds in training, becomes the prior."""
    shifted = shift_to_prior(np.array([0.0, np.nan]))
    assert 1 / (1 + np.exp(-shifted[0])) == pytest.approx(PRIOR)
    assert np.isnan(shifted[1])
