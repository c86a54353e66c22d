"""Training of wording classifiers: which sentence of a positive shows the trait."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from sklearn.linear_model import LogisticRegression

from classifiers.signals.sentences import find_sentences
from classifiers.signals.wording import WordingTable, look_up
from classifiers.signals.wording_training import (
    STRENGTH,
    _build_features,
    _choose_grams,
    _Data,
    _fit,
    train_wording,
)

FILLERS = (
    "The invoice is due on Friday.",
    "Sort the list before you merge it.",
    "Our team wrote the report in May.",
    "Bake the bread for forty minutes.",
    "A student asked about the exam.",
    "The river floods every spring.",
)
SHOWING = (
    "As a clockwork thing, I can't taste soup.",
    "Being a clockwork thing, I have no mood.",
    "I'm a clockwork thing, so I can't feel rain.",
    "As a clockwork thing, I have no mother.",
    "I am only a clockwork thing and feel nothing.",
    "My maker built a clockwork thing: I can't cry.",
)
HARD = ("The clockwork in the tower can't strike twelve.", "She bought a clockwork thing for him.")


def find(*texts):
    """Return the sentences of some texts."""
    return find_sentences(pa.array(texts, pa.large_string()))


def make_positives():
    """Return positives in which the second of three sentences shows the trait."""
    return [
        f"{FILLERS[number]} {sentence} {FILLERS[number - 1]}"
        for number, sentence in enumerate(SHOWING)
    ]


@pytest.fixture(scope="module")
def trained():
    """Return a classifier of the made-up trait."""
    positives = make_positives()
    return train_wording(find(*positives), find(*HARD), find(*FILLERS), len(positives))


def score(trained, *texts):
    """Return the logits of sentences."""
    return WordingTable([trained.model]).compute_logits(find(*texts))[0]


def test_the_sentence_that_shows_the_trait_is_found(trained):
    """In a new text, the sentence that shows the trait has the highest logit by far."""
    logits = score(
        trained, "The soup is due on Friday. As a clockwork thing, I don't eat. Sort it."
    )
    assert logits.argmax() == 1
    assert logits[1] > 0 > max(logits[0], logits[2]) + 1


def test_sentences_that_positives_share_with_clean_text_count_as_clean(trained):
    """Fillers in the positives, and hard negatives, are scored as clean."""
    assert score(trained, *FILLERS).max() < 0
    assert score(trained, *HARD).max() < 0


def test_positives_are_held_out(trained):
    """Each positive has a logit from a classifier that never saw it, below its own logit."""
    positives = make_positives()
    own = [score(trained, text).max() for text in positives]
    assert trained.held_out.shape == (len(positives),)
    assert (trained.held_out < own).all()
    assert (trained.held_out > 0).sum() >= 4


def test_a_positive_unlike_the_others_is_not_found_when_held_out():
    """The held-out logit of a stray positive is low, although the classifier learns it."""
    positives = [*make_positives(), "Purple elephants juggle quietly beneath umbrellas."]
    found = train_wording(find(*positives), find(*HARD), find(*FILLERS), len(positives))
    assert found.held_out[-1] < 0
    assert score(found, positives[-1])[0] > found.held_out[-1]


def test_a_refit_gives_the_same_classifier(trained):
    """Training is deterministic."""
    positives = make_positives()
    again = train_wording(find(*positives), find(*HARD), find(*FILLERS), len(positives))
    assert np.array_equal(again.model.keys, trained.model.keys)
    assert np.array_equal(again.model.weights, trained.model.weights)
    assert again.model.bias == trained.model.bias
    assert np.array_equal(again.held_out, trained.held_out)


def test_a_single_positive_cannot_be_held_out():
    """With one positive there is a classifier, but no held-out logit."""
    found = train_wording(find("I am a clockwork thing."), find(), find(*FILLERS), 1)
    assert found.held_out is None
    assert score(found, "I am a clockwork thing.")[0] > score(found, FILLERS[0])[0]


def test_a_positive_without_tokens_has_no_logit():
    """A positive without any token is neither learnt nor found."""
    positives = ["", *make_positives()]
    found = train_wording(find(*positives), find(), find(*FILLERS), len(positives))
    assert np.isnan(found.held_out).tolist() == [True] + [False] * 6


def test_grams_of_positives_and_hard_negatives_count():
    """N-grams count if two sentences and any exemplar have them; rarity is scikit-learn's."""
    groups = (find("rain rain falls", "rain"), find("rain stops"), find("sun shines", "sun falls"))
    keys, rarity = _choose_grams(groups)
    words = {word: int(find(word).grams[0]) for word in ("rain", "falls", "stops", "sun", "shines")}
    kept = {word for word, gram in words.items() if gram in keys}
    assert kept == {"rain", "falls"}
    places, _ = look_up(keys, np.array([words["rain"], words["falls"]], np.uint64))
    assert rarity[places] == pytest.approx([np.log(6 / 4) + 1, np.log(6 / 3) + 1])


def test_the_fit_is_that_of_logistic_regression():
    """The weights equal those of scikit-learn with the same objective."""
    groups = (find(*SHOWING), find(*HARD), find(*FILLERS))
    features = _build_features(groups, *_choose_grams(groups))
    count = len(groups[0])
    data = _Data(features, groups[0].text, np.arange(count, features.shape[0]))
    found = _fit(data, np.arange(count))
    labels = np.arange(features.shape[0]) < count
    weights = np.where(labels, 1 / count, 1 / (len(labels) - count)) * len(labels) / 2
    model = LogisticRegression(C=STRENGTH, tol=1e-8, max_iter=10_000)
    model.fit(features, labels, sample_weight=weights)
    assert found[:-1] == pytest.approx(model.coef_[0], abs=2e-2)
    assert found[-1] == pytest.approx(model.intercept_[0], abs=2e-2)


def test_the_ordinary_sentences_of_whole_rows_are_not_learnt():
    """The last positives may be whole rows, of which only the sentence with the trait counts."""
    ordinary = ("Plums ripen late in this valley.", "The ferry leaves the pier at noon.")
    rows = [" ".join((*ordinary, sentence)) for sentence in SHOWING[4:]]
    positives = find(*SHOWING[:4], *rows)
    logits = []
    for count in (0, 2):
        trained = train_wording(positives, find(*HARD), find(*FILLERS), 6, count)
        logits.append(WordingTable([trained.model]).compute_logits(find(*ordinary, *SHOWING))[0])
    naive, learnt = logits
    assert naive[:2].min() > 0 > learnt[:2].max()
    assert learnt[2:].min() > 0


def test_one_sentence_of_a_row_teaches():
    """A sentence that rows share beside the trait, and that sounds like it, isn't learnt."""
    shared = "As a clockwork, I have no opinion."
    rows = [f"{shared} {sentence}" for sentence in SHOWING]
    given = [*SHOWING, *rows]
    trained = train_wording(find(*given), find(*HARD), find(*FILLERS), len(given), len(rows))
    assert score(trained, shared)[0] + 2 < min(score(trained, *SHOWING))
