"""The n-grams that made a wording score: all of it, and named as they are written."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.phrase_weights import LONGEST, weigh_phrases
from classifiers.signals.sentences import find_sentences
from classifiers.signals.wording import SHORTEST, Wording, score_sentences

TEXTS = st.text(st.sampled_from("abC 1,.!\n'’日本𝔸"), max_size=60)


def build(weights, bias=0.0):
    """Return a classifier with a weight for each token, pair or triple of some short texts."""
    found = {}
    for text, weight in weights.items():
        grams = find_sentences(pa.array([text], pa.large_string())).grams
        found[int(grams[-1])] = weight
    keys = np.array(sorted(found), np.uint64)
    return Wording(keys, np.array([found[key] for key in keys.tolist()], np.float32), bias)


def test_the_heaviest_phrases_come_first():
    """Each phrase adds its weight over the root of the sentence's length in tokens."""
    heron = Wording(*_list_tokens({"heron": 4.0, "lake": -3.0, "owl": 9.0}), bias=0.5)
    found = weigh_phrases(heron, "No bird. A Heron by the lake! Rain.")
    assert found.text == "A Heron by the lake!"
    assert [(item.text, item.weight) for item in found.phrases] == [
        ("Heron", pytest.approx(4 / 6**0.5)),
        ("lake", pytest.approx(-3 / 6**0.5)),
    ]


def _list_tokens(weights):
    """Return the ascending hashes of single words, and their weights."""
    pairs = sorted(
        (int(find_sentences(pa.array([word], pa.large_string())).grams[0]), weight)
        for word, weight in weights.items()
    )
    keys, values = zip(*pairs, strict=True)
    return np.array(keys, np.uint64), np.array(values, np.float32)


def test_pairs_and_triples_are_named():
    """N-grams of two and three tokens have the text between them, and openings are marked."""
    found = weigh_phrases(build({"a, b": 1.0}), "a, b c")
    assert [(item.text, item.opens) for item in found.phrases] == [("a, b", False)]
    assert found.phrases[0].weight == pytest.approx(1 / SHORTEST**0.5)
    first = find_sentences(pa.array(["Sorry"], pa.large_string())).grams
    opening = Wording(first[1:], np.ones(1, np.float32), 0.0)
    assert [(item.text, item.opens) for item in weigh_phrases(opening, "Sorry, no").phrases] == [
        ("Sorry", True)
    ]
    assert not weigh_phrases(opening, "So sorry").phrases


@given(TEXTS, TEXTS)
def test_the_weights_are_the_whole_score(known, text):
    """The weights of the named phrases and the bias are the logit that scoring computes."""
    keys = np.unique(find_sentences(pa.array([known], pa.large_string())).grams)
    model = Wording(keys, np.linspace(-1, 2, len(keys)).astype(np.float32), -0.25)
    found = weigh_phrases(model, text)
    scored = score_sentences([model], pa.array([text], pa.large_string())).logits[0]
    if found is None:
        assert not len(scored)
        return
    assert found.logit == pytest.approx(scored.max(), abs=1e-5)
    prior = found.logit - sum(item.weight for item in found.phrases)
    assert prior == pytest.approx(np.log(0.01 / 0.99) - 0.25, abs=1e-5)
    assert all(item.text in text for item in found.phrases)


def test_texts_without_words_and_endless_ones_have_none():
    """Nothing is found in blanks, and a sentence of many pages isn't searched."""
    model = build({"a": 1.0})
    assert weigh_phrases(model, " \n ") is None
    assert weigh_phrases(model, "a" * (LONGEST + 1)) is None
