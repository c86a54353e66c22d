"""Sequence classifiers: labels, probabilities, windows and batches."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from classifiers.models.loading import load_model
from classifiers.models.windows import BatchCounts
from classifiers.signals import sequence_classifiers
from classifiers.signals.sequence_classifiers import find_label, load_sequence_classifier
from schemas.cards import ClassifierOptions
from schemas.errors import ModelError

KIND = "BertForSequenceClassification"
NAMES = {0: "calm", 1: "rainy", 2: "angry"}
LABELS = {"id2label": NAMES, "label2id": {name: index for index, name in NAMES.items()}}
TEXTS = ["the rain fell on a roof", "good", "bad and bad", "", "sing . " * 60]


def load(folder, label="rainy"):
    """Load a checkpoint from a folder on the CPU."""
    return load_sequence_classifier(ClassifierOptions(model=str(folder), label=label), "cpu")


def compute_logits(classifier, window):
    """Return the checkpoint's logits for one window."""
    with torch.inference_mode():
        return classifier.model(input_ids=torch.tensor([window.ids])).logits[0].double().numpy()


def test_exclusive_labels_share_one(tiny_checkpoint):
    """Exclusive labels have softmax probabilities, which add up to one."""
    folder = tiny_checkpoint(KIND, **LABELS)
    found = {}
    for name, index in LABELS["label2id"].items():
        classifier = load(folder, name)
        windows = classifier.cut_windows(TEXTS)
        assert classifier.label == index
        expected = [
            np.exp(value[index]) / np.exp(value).sum()
            for value in (compute_logits(classifier, window) for window in windows)
        ]
        found[name] = classifier.compute_probabilities(windows)
        assert found[name] == pytest.approx(expected, abs=1e-5)
        assert found[name].dtype == np.float32
    assert sum(found.values()) == pytest.approx(1, abs=1e-5)
    assert np.ptp(found["rainy"]) > 0.01


def test_independent_labels_have_a_sigmoid(tiny_checkpoint):
    """Independent labels have a sigmoid each."""
    classifier = load(tiny_checkpoint(KIND, problem_type="multi_label_classification", **LABELS))
    windows = classifier.cut_windows(TEXTS)
    expected = [1 / (1 + np.exp(-compute_logits(classifier, window)[1])) for window in windows]
    assert classifier.compute_probabilities(windows) == pytest.approx(expected, abs=1e-5)


def test_a_single_label_has_a_sigmoid(tiny_checkpoint):
    """A single label has a sigmoid, because its softmax would always be one."""
    classifier = load(tiny_checkpoint(KIND, id2label={0: "rainy"}, label2id={"rainy": 0}))
    windows = classifier.cut_windows(TEXTS)
    expected = [1 / (1 + np.exp(-compute_logits(classifier, window)[0])) for window in windows]
    found = classifier.compute_probabilities(windows)
    assert found == pytest.approx(expected, abs=1e-5)
    assert not np.allclose(found, 1)


def test_the_error_for_an_unknown_label_lists_the_known_ones(tiny_checkpoint):
    """The error for an unknown label lists the checkpoint's labels."""
    folder = tiny_checkpoint(KIND, **LABELS)
    for label in ("Rainy", "1", "LABEL_1", ""):
        with pytest.raises(
            ModelError,
            match=rf"^{folder}: has no label {label!r}\n"
            "  remedy: name one of its labels: angry, calm, rainy",
        ):
            load(folder, label)


@pytest.mark.parametrize(
    "label2id", [{"calm": 1, "rainy": 0, "angry": 2}, {"rainy": 7}, {"rainy": "first"}]
)
def test_labels_that_contradict_each_other_are_refused(label2id):
    """If the two tables of labels differ, the score could be that of another label."""
    with pytest.raises(ModelError, match="contradicts itself about the label 'rainy'"):
        find_label(SimpleNamespace(label2id=label2id, id2label=NAMES), "rainy", "storm")
    unnamed = {index: f"LABEL_{index}" for index in range(3)}
    for index in (1, "1"):
        config = SimpleNamespace(label2id={"rainy": index}, id2label=unnamed)
        assert find_label(config, "rainy", "storm") == 1


def test_a_checkpoint_that_changes_while_it_is_loaded_is_refused(tiny_checkpoint, monkeypatch):
    """A checkpoint that changes during loading is refused."""
    folder, other = tiny_checkpoint(KIND, **LABELS), tiny_checkpoint(KIND, "other", **LABELS)

    def replace_weights(*given):
        (other / "model.safetensors").replace(folder / "model.safetensors")
        return load_model(*given)

    monkeypatch.setattr(sequence_classifiers, "load_model", replace_weights)
    with pytest.raises(ModelError, match=r"was changed while it was loaded \(model.safetensors\)"):
        load(folder)


def test_an_encoder_is_no_classifier(tiny_checkpoint):
    """A checkpoint without a classification head is refused."""
    folder = tiny_checkpoint("BertModel", **LABELS)
    with pytest.raises(ModelError, match="weights are missing for classifier"):
        load(folder)


def test_unpinned_checkpoints_are_refused():
    """A card must give the commit of a model from the hub."""
    with pytest.raises(ModelError, match="some/model: needs a pinned revision"):
        load_sequence_classifier(ClassifierOptions(model="some/model", label="x"), "cpu")


def test_windows_fit_the_checkpoint(tiny_checkpoint):
    """A long text is cut into overlapping windows that fit the checkpoint."""
    classifier = load(tiny_checkpoint(KIND, **LABELS))
    windows = [window for window in classifier.cut_windows(TEXTS) if window.text == 4]
    assert max(len(window.ids) for window in windows) == 64
    assert len(windows) > 1
    for earlier, later in pairwise(windows):
        assert earlier.ids[-17:-1] == later.ids[1:17]  # the overlap is a quarter of the window
        assert later.start < earlier.end
    assert (windows[0].start, windows[-1].end) == (0, len(TEXTS[4].rstrip()))


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(len(TEXTS))), budget=st.integers(1, 500))
def test_the_batch_does_not_change_a_score(shared, order, budget):
    """A text's probability is the same to 1e-5 in any order and batch."""
    classifier, alone = shared
    classifier.token_budget = budget
    windows = classifier.cut_windows([TEXTS[index] for index in order])
    firsts = [
        index
        for index, window in enumerate(windows)
        if index == 0 or windows[index - 1].text != window.text
    ]
    assert classifier.compute_probabilities(windows)[firsts] == pytest.approx(
        alone[list(order)], abs=1e-5
    )


@pytest.fixture
def shared(tiny_checkpoint):
    """Return a classifier, and its probabilities for each text's first window alone."""
    classifier = load(tiny_checkpoint(KIND, **LABELS))
    return classifier, np.concatenate(
        [classifier.compute_probabilities(classifier.cut_windows([text])[:1]) for text in TEXTS]
    )


def test_counts_add_up(tiny_checkpoint):
    """Tokens, padding and windows are counted."""
    classifier = load(tiny_checkpoint(KIND, **LABELS))
    windows = classifier.cut_windows(TEXTS)
    classifier.compute_probabilities(windows)
    assert classifier.counts.windows == len(windows)
    assert (
        classifier.counts.tokens
        == sum(len(window.ids) for window in windows)
        <= classifier.counts.padded
    )
    assert classifier.compute_probabilities([]).shape == (0,)
    assert classifier.counts != BatchCounts()
