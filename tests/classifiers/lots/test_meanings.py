"""Comparing texts by vectors: real differences are found, and none between equal sets."""

import numpy as np
import pytest

from classifiers.lots.meanings import (
    EXAMPLE_CHARACTERS,
    EXAMPLES,
    MOST_CLUSTERS,
    compare_meanings,
    limit_texts,
    subtract_prompts,
)
from tests.support.lots import build_sample, write_answers

LEVEL = 0.05


def build_vectors(sample, share=0.0, seed=0, dimension=16):
    """Return unit vectors of which a share of the first set's lie in a direction of their own."""
    dice = np.random.default_rng(seed)
    vectors = dice.normal(size=(len(sample), dimension))
    moved = sample.own & (dice.random(len(sample)) < share)
    vectors[moved] += 6 * np.eye(dimension)[0]
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), moved


@pytest.fixture(scope="module")
def sample():
    """Return a sample of made-up answers to the same prompts, once."""
    return build_sample(write_answers(500, 1), write_answers(500, 2))


def number_prompts(sample):
    """Return each text's prompt as a number."""
    return np.unique(sample.keys, return_inverse=True)[1]


def test_a_kind_of_text_in_excess_is_found(sample):
    """A cluster of the first set's texts is found, with its rates and texts of its own."""
    vectors, moved = build_vectors(sample, 0.15)
    blocks = np.zeros(len(sample), np.int64)
    found = compare_meanings(sample, vectors, blocks, False, LEVEL)
    assert found.viewed.separation.p < 0.01
    first = found.clusters[0]
    assert first.contrasts == ()
    assert first.q_value < 1e-4
    assert first.rates[0] > 2 * first.rates[1]
    texts = {" ".join(sample.texts[place].as_py().split()) for place in np.flatnonzero(moved)}
    assert len(first.examples) == EXAMPLES
    for example in first.examples:
        assert len(example) <= EXAMPLE_CHARACTERS
        assert any(text.startswith(example) for text in texts)


def build_topics(sample, share, seed=0):
    """Return unit vectors that lie at their prompt's topic, but for a share of the first set's."""
    dice = np.random.default_rng(seed)
    topics = 3 * np.eye(12)[dice.integers(1, 12, len(sample))]
    vectors = topics[number_prompts(sample)] + dice.normal(0, 0.2, (len(sample), 12))
    moved = sample.own & (dice.random(len(sample)) < share)
    vectors[moved] += np.eye(12)[0]
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), moved


def test_kinds_of_answer_are_found_within_topics(sample):
    """What sets some answers apart from others to their prompt is found, whatever their topics."""
    vectors, moved = build_topics(sample, 0.3)
    blocks = number_prompts(sample)
    matched, other = (
        compare_meanings(sample, vectors, numbers, is_matched, LEVEL)
        for numbers, is_matched in ((blocks, True), (np.zeros_like(blocks), False))
    )
    first = matched.clusters[0]
    assert first.q_value < 1e-3
    assert all(item.q_value > 1e-3 for item in other.clusters)
    assert first.rates[0] > 2 * first.rates[1]
    by_text = {text.as_py()[:EXAMPLE_CHARACTERS]: n for n, text in enumerate(sample.texts)}
    places = [by_text[text] for text in first.examples]
    contrasts = [by_text[text] for text in first.contrasts]
    assert (sample.own & moved)[places].all()
    assert not sample.own[contrasts].any()
    assert blocks[places].tolist() == blocks[contrasts].tolist()


def test_equal_texts_have_no_kind(sample):
    """Where both sets answer alike, nothing is left of the vectors, and nothing is found."""
    blocks = number_prompts(sample)
    vectors = np.eye(16)[blocks % 16].astype(np.float32)
    assert not subtract_prompts(vectors, blocks).any()
    assert compare_meanings(sample, vectors, blocks, True, LEVEL).clusters == []


def test_prompts_are_subtracted():
    """Each vector is the direction from its prompt's mean, and one alone is 0."""
    vectors = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]], np.float32)
    rest = subtract_prompts(vectors, np.array([0, 0, 1]))
    assert rest == pytest.approx(np.array([[0.5, -0.5], [-0.5, 0.5], [0, 0]]) * 2**0.5)


@pytest.mark.parametrize("matched", [True, False])
def test_equal_sets_do_not_differ(sample, matched):
    """Vectors at random have no cluster in excess and no classifier, in nearly all draws."""
    blocks = number_prompts(sample) if matched else np.zeros(len(sample), np.int64)
    alarms = 0
    for seed in range(10):
        vectors, _ = build_vectors(sample, seed=seed)
        found = compare_meanings(sample, vectors, blocks, matched, LEVEL)
        alarms += bool(found.clusters) + (found.viewed.separation.p <= LEVEL)
        assert 2 <= found.tested <= MOST_CLUSTERS
    assert alarms <= 4


def test_few_texts_have_no_clusters():
    """With a handful of texts nothing is divided."""
    few = build_sample(write_answers(40, 1), write_answers(40, 2))
    vectors, _ = build_vectors(few)
    found = compare_meanings(few, vectors, number_prompts(few), True, LEVEL)
    assert found.clusters == []
    assert found.tested == 0


def test_whole_prompts_are_encoded(sample):
    """The number of texts of each set is limited, and no prompt is cut."""
    chosen = limit_texts(sample, 100)
    for own in (True, False):
        assert 95 <= int((chosen & (sample.own == own)).sum()) <= 100
    assert not set(sample.keys[chosen].tolist()) & set(sample.keys[~chosen].tolist())
    assert limit_texts(sample).all()


def test_a_cluster_is_json(sample):
    """All numbers of a cluster have a field."""
    vectors, _ = build_vectors(sample, 0.5)
    found = compare_meanings(sample, vectors, number_prompts(sample), True, LEVEL)
    fields = found.clusters[0].to_json()
    assert fields["corpus_low"] < fields["rate_corpus"] < fields["corpus_high"]
    assert fields["reference_low"] <= fields["rate_reference"] <= fields["reference_high"]
    assert len(fields["examples"]) == len(fields["reference_examples"]) == EXAMPLES


def test_the_result_is_the_same_each_time(sample):
    """Two comparisons of the same vectors are equal."""
    vectors, _ = build_vectors(sample, 0.15)
    blocks = number_prompts(sample)
    one, two = (compare_meanings(sample, vectors, blocks, True, LEVEL) for _ in range(2))
    assert one == two
