"""Sequence classifiers: a label by its name, softmax or sigmoid as the checkpoint has it, the same in any batch."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from classifiers.models.windows import BatchCounts
from classifiers.signals.sequence_classifiers import WINDOW_OVERLAP, load_sequence_classifier
from schemas.cards import ClassifierOptions
from schemas.errors import ModelError

KIND = "BertForSequenceClassification"
NAMES = {0: "calm", 1: "rainy", 2: "angry"}
LABELS = {"id2label": NAMES, "label2id": {name: place for place, name in NAMES.items()}}
TEXTS = ["the rain fell on a roof", "good", "bad and bad", "", "sing . " * 60]


def load(folder, label="rainy"):
    """Load a folder's checkpoint on the CPU."""
    return load_sequence_classifier(ClassifierOptions(model=str(folder), label=label), "cpu")


def logits(classifier, window):
    """Return what the checkpoint itself says about one window."""
    with torch.inference_mode():
        return classifier.model(input_ids=torch.tensor([window.ids])).logits[0].double().numpy()


def test_exclusive_labels_share_one(tiny_checkpoint):
    """Among exclusive labels a label's probability is a softmax over all of them; they add up to one."""
    folder = tiny_checkpoint(KIND, **LABELS)
    found = {}
    for name, place in LABELS["label2id"].items():
        classifier = load(folder, name)
        windows = classifier.windows(TEXTS)
        assert classifier.label == place
        expected = [
            np.exp(value[place]) / np.exp(value).sum()
            for value in (logits(classifier, window) for window in windows)
        ]
        found[name] = classifier.probabilities(windows)
        assert found[name] == pytest.approx(expected, abs=1e-5)
        assert found[name].dtype == np.float32
    assert sum(found.values()) == pytest.approx(1, abs=1e-5)
    assert np.ptp(found["rainy"]) > 0.01


def test_independent_labels_stand_alone(tiny_checkpoint):
    """Where labels may hold together, each has a sigmoid of its own."""
    classifier = load(tiny_checkpoint(KIND, problem_type="multi_label_classification", **LABELS))
    windows = classifier.windows(TEXTS)
    expected = [1 / (1 + np.exp(-logits(classifier, window)[1])) for window in windows]
    assert classifier.probabilities(windows) == pytest.approx(expected, abs=1e-5)


def test_a_single_label_has_a_sigmoid(tiny_checkpoint):
    """Over one label a softmax would always be one; its logit is a probability of its own."""
    classifier = load(tiny_checkpoint(KIND, id2label={0: "rainy"}, label2id={"rainy": 0}))
    windows = classifier.windows(TEXTS)
    expected = [1 / (1 + np.exp(-logits(classifier, window)[0])) for window in windows]
    found = classifier.probabilities(windows)
    assert found == pytest.approx(expected, abs=1e-5)
    assert not np.allclose(found, 1)


def test_an_unknown_label_is_refused_with_those_there_are(tiny_checkpoint):
    """The checkpoint and its labels are named; case counts, as it does in the configuration."""
    folder = tiny_checkpoint(KIND, **LABELS)
    for label in ("Rainy", "1", "LABEL_1", ""):
        with pytest.raises(
            ModelError,
            match=rf"^{folder}: has no label {label!r}\n  remedy: labels are angry, calm, rainy",
        ):
            load(folder, label)


def test_an_encoder_is_no_classifier(tiny_checkpoint):
    """A checkpoint without a classification head isn't given a random one."""
    folder = tiny_checkpoint("BertModel", **LABELS)
    with pytest.raises(ModelError, match="weights are missing for classifier"):
        load(folder)


def test_unpinned_checkpoints_are_refused():
    """A card that names a hub model needs its commit."""
    with pytest.raises(ModelError, match="some/model: needs a pinned revision"):
        load_sequence_classifier(ClassifierOptions(model="some/model", label="x"), "cpu")


def test_windows_are_the_models_own(tiny_checkpoint):
    """A long text is cut to what the checkpoint reads, overlapping, every window with its place in the text."""
    classifier = load(tiny_checkpoint(KIND, **LABELS))
    windows = [window for window in classifier.windows(TEXTS) if window.text == 4]
    assert max(len(window.ids) for window in windows) == 64
    assert len(windows) > 1
    assert all(later.start < earlier.end for earlier, later in pairwise(windows))
    assert (windows[0].start, windows[-1].end) == (0, len(TEXTS[4].rstrip()))
    assert WINDOW_OVERLAP > 16  # the tiny checkpoint shares a quarter of its window, which is less


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(len(TEXTS))), budget=st.integers(1, 500))
def test_the_batch_does_not_change_a_score(shared, order, budget):
    """A text's probability is the same to 1e-5 in any order and batch."""
    classifier, alone = shared
    classifier.token_budget = budget
    windows = classifier.windows([TEXTS[place] for place in order])
    firsts = [
        at for at, window in enumerate(windows) if at == 0 or windows[at - 1].text != window.text
    ]
    assert classifier.probabilities(windows)[firsts] == pytest.approx(alone[list(order)], abs=1e-5)


@pytest.fixture
def shared(tiny_checkpoint):
    """Return a classifier, and each text's probability for its first window alone."""
    classifier = load(tiny_checkpoint(KIND, **LABELS))
    return classifier, np.concatenate(
        [classifier.probabilities(classifier.windows([text])[:1]) for text in TEXTS]
    )


def test_counts_add_up(tiny_checkpoint):
    """Tokens and windows that went through are counted, padding apart."""
    classifier = load(tiny_checkpoint(KIND, **LABELS))
    windows = classifier.windows(TEXTS)
    classifier.probabilities(windows)
    assert classifier.counts.windows == len(windows)
    assert (
        classifier.counts.tokens
        == sum(len(window.ids) for window in windows)
        <= classifier.counts.padded
    )
    assert classifier.probabilities([]).shape == (0,)
    assert classifier.counts != BatchCounts()
