"""The scores of dense signals: several traits at once score as each one alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit

from classifiers.dense import DenseTraits, apply_logistic, score_dense
from classifiers.signals.exemplars import build_index, contrast
from classifiers.signals.heads import Head


@pytest.fixture(scope="module")
def vectors(encoder):
    """Return the vectors of a few texts."""
    texts = ["It rains on the roof.", "My pistons need oil.", "The baker sold bread.", "Drizzle."]
    return encoder.encode(encoder.take_whole(texts))


def test_the_logistic_function_does_not_overflow():
    """Extreme logits give scipy's results, and NaN stays NaN."""
    values = np.array([-1e6, -800.0, -3.0, 0.0, 3.0, 800.0, 1e6])
    assert apply_logistic(values) == pytest.approx(expit(values), abs=1e-15)
    assert np.isnan(apply_logistic(np.array([np.nan]))).all()


def test_scores_are_those_of_each_signals_parts(small_bank, vectors):
    """Exemplars are scored by contrast and scale, and heads by their logits."""
    trait = small_bank.traits["rain-talk"]
    found = DenseTraits({"rain-talk": trait}).score(vectors)["rain-talk"]
    neighbours = trait.card.signals.exemplars.neighbours
    margin = contrast(vectors, trait.positive_index, trait.negative_index, neighbours)
    slope, offset = trait.scale
    assert found["exemplars"] == pytest.approx(expit(slope * margin + offset), abs=1e-5)
    assert found["head"] == pytest.approx(expit(trait.head.compute_logits(vectors)), abs=1e-6)
    assert {values.dtype for values in found.values()} == {np.dtype(np.float32)}


def test_traits_are_scored_together_as_alone(small_bank, vectors):
    """A trait's scores don't depend on the traits beside it."""
    traits = {name: trait for name, trait in small_bank.traits.items() if trait.card.uses_encoder}
    assert len(traits) > 1
    together = DenseTraits(traits).score(vectors)
    assert list(together) == list(traits)
    for name, trait in traits.items():
        alone = score_dense(trait, vectors)
        assert list(alone) == list(together[name])
        for signal, values in alone.items():
            assert together[name][signal] == pytest.approx(values, abs=1e-6)


def test_no_vectors_have_no_scores(small_bank):
    """A shard without windows has empty scores for every signal."""
    found = score_dense(small_bank.traits["rain-talk"], np.empty((0, 384), np.float32))
    assert {signal: values.shape for signal, values in found.items()} == {
        "exemplars": (0,),
        "head": (0,),
    }


def test_a_trait_without_negatives_is_scored_by_its_positives(small_bank, vectors):
    """Without an index of negatives, only the similarity to positives counts."""
    trait = replace(small_bank.traits["rain-talk"], negative_index=None, scale=(1.0, 0.0))
    own = score_dense(trait, vectors)["exemplars"]
    positives = np.asarray(trait.positive_index.reconstruct_n(0, trait.positive_index.ntotal))
    count = trait.card.signals.exemplars.neighbours
    nearest = np.sort(vectors @ positives.T, axis=1)[:, -count:].mean(axis=1)
    assert own == pytest.approx(expit(nearest), abs=1e-6)


def test_the_table_is_of_the_indexes_at_the_first_use(small_bank, vectors):
    """Making a scorer for a bank doesn't search its indexes yet."""
    trait = replace(small_bank.traits["rain-talk"])
    traits = DenseTraits({"rain-talk": trait})
    trait.positive_index = build_index(vectors[:1])
    trait.scale, trait.negative_index = (1.0, 0.0), None
    trait.head = Head(((np.zeros((1, 384)), np.zeros(1)),), 1.0)
    found = traits.score(vectors)["rain-talk"]
    assert found["exemplars"] == pytest.approx(expit(vectors @ vectors[0]), abs=1e-6)
