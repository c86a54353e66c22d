"""The classifier two-sample test in all views, by lot, and its baseline."""

from __future__ import annotations

import random

import numpy as np
import pytest

from classifiers.lots.comparison import FORMAT_BINS, VIEWS, compare, has_enough, learn_formats
from classifiers.lots.formats import measure_formats
from tests.support.lots import build_sample, hash_text, write_answers


def compare_sets(own, other, matched=True, lots=None, count=0):
    """Compare two sets of texts, within prompts or as a whole."""
    sample = build_sample(own, other, matched=matched, lots=lots)
    blocks = np.unique(sample.keys, return_inverse=True)[1] if matched else np.zeros(len(sample))
    return compare(sample, blocks.astype(np.int64), matched, count)


def test_a_habit_of_words_is_found_in_words():
    """A planted word is found raw and canonical, and length and format alone don't show it."""
    own = [text.replace("heron", "osprey") for text in write_answers(300, 1)]
    found = compare_sets(own, write_answers(300, 2))
    assert set(found.views) == set(VIEWS)
    assert found.views["raw"].separation.p <= 0.001
    assert found.views["canonical"].separation.p <= 0.001
    assert found.views["baseline"].separation.p > 0.01
    assert found.views["raw"].bags[16] > found.views["raw"].separation.auroc


def test_a_habit_of_format_is_not_found_in_words():
    """Bold words are found raw and by the baseline, and the canonical view doesn't show them."""
    own = [text.replace("heron", "**heron**") for text in write_answers(300, 1)]
    found = compare_sets(own, write_answers(300, 2))
    assert found.views["raw"].separation.p <= 0.001
    assert found.views["baseline"].separation.p <= 0.001
    assert found.views["canonical"].separation.p > 0.01


@pytest.mark.parametrize("matched", [True, False])
def test_equal_sets_do_not_differ(matched):
    """Two draws of the same answers aren't told apart."""
    found = compare_sets(write_answers(200, 1), write_answers(200, 2), matched)
    assert found.views["raw"].separation.p > 0.02
    assert found.views["raw"].separation.auroc == pytest.approx(0.5, abs=0.1)


def test_a_covert_bias_shows_in_bags():
    """A slight bias in which words follow each other is plain in bags of 16."""
    tokens = [f"w{number}" for number in range(36)]
    dice = np.random.default_rng(1)
    plain = dice.dirichlet(np.full(36, 0.5), size=36)
    biased = plain * np.exp(dice.normal(0, 0.25, (36, 36)))
    biased /= biased.sum(axis=1, keepdims=True)

    def write(chances, count):
        cumulated, place = chances.cumsum(axis=1), dice.integers(0, 36, count)
        steps = [place]
        for _ in range(19):
            place = (cumulated[place] < dice.random(count)[:, None]).sum(axis=1).clip(0, 35)
            steps.append(place)
        return [" ".join(tokens[step] for step in row) for row in np.stack(steps, 1).tolist()]

    found = compare_sets(write(biased, 2_500), write(plain, 2_500), matched=False)
    assert 0.6 < found.views["raw"].separation.auroc < 0.8
    assert found.views["raw"].bags[16] >= 0.95
    assert found.views["raw"].separation.p <= 0.001


def test_repeated_prompts_are_exchanged_together():
    """Many answers to a few other prompts don't count as many independent texts."""
    dice = random.Random(3)
    prompts = [f"Topic {number}" for number in range(40)]
    base = {prompt: write_answers(1, number)[0] for number, prompt in enumerate(prompts)}
    values = []
    for seed in range(10):
        dice.seed(seed)
        dice.shuffle(prompts)
        own = [base[prompt] for prompt in prompts[:20] for _ in range(10)]
        other = [base[prompt] for prompt in prompts[20:] for _ in range(10)]
        sample = build_sample(own, other, matched=False)
        keys = np.array([hash_prompt(text) for text in sample.texts.to_pylist()], np.uint64)
        order = np.argsort(keys, kind="stable")
        shuffled = sample.take(order)
        shuffled.keys[:] = keys[order]
        blocks = np.zeros(len(shuffled), np.int64)
        values.append(compare(shuffled, blocks, matched=False).views["raw"].separation.p)
    assert sum(value <= 0.05 for value in values) <= 3


def hash_prompt(text):
    """Return a hash of a text."""
    return int.from_bytes(text.encode()[:8], "little")


def test_lots_are_tested_one_by_one():
    """The lot with the habit differs, and the other doesn't."""
    own, lots = write_answers(300, 1), [number % 2 for number in range(300)]
    own = [f"{text} Mind the osprey." if lot else text for text, lot in zip(own, lots, strict=True)]
    found = compare_sets(own, write_answers(300, 2), lots=lots, count=2)
    by_lot = {item.lot: item for item in found.lots}
    assert by_lot[1].q <= 0.01
    assert by_lot[0].q > 0.01
    assert by_lot[0].texts == by_lot[1].texts == 150
    assert by_lot[1].separation.auroc > 0.8


@pytest.mark.parametrize("matched", [True, False])
def test_a_lot_is_compared_with_its_own_kind(matched):
    """Two teachers on both sides differ from the mixture, and not from their own texts."""
    lots = [number % 2 for number in range(400)]
    own, other = (
        [f"{text} Mind the osprey." if lot else text for text, lot in zip(texts, lots, strict=True)]
        for texts in (write_answers(400, 1), write_answers(400, 2))
    )
    sample = build_sample(own, other, matched=matched, lots=lots)
    numbers = {hash_text(f"False{number}{text}"): number for number, text in enumerate(other)}
    for place in np.flatnonzero(~sample.own):
        sample.lots[place] = 2 + numbers[int(sample.digests[place])] % 2
    blocks = np.unique(sample.keys, return_inverse=True)[1] if matched else np.zeros(len(sample))
    blocks = blocks.astype(np.int64)
    alike = compare(sample, blocks, matched, 2, {0: 2, 1: 3}).lots
    assert [item.is_alike for item in alike] == [True, True]
    assert [item.texts for item in alike] == [200, 200]
    assert min(item.q for item in alike) > 0.01
    few = compare(sample, blocks, matched, 2, {0: 4}).lots
    assert [item.is_alike for item in few] == [False, False]
    if not matched:
        assert max(item.q for item in few) <= 0.01


def test_too_few_texts_are_not_tested():
    """With a handful of texts nothing is learned, and p is 1."""
    found = compare_sets(write_answers(6, 1), write_answers(6, 2), count=1)
    assert found.views["raw"].separation.p == 1.0
    assert found.views["raw"].bags == {4: None, 16: None, 64: None}
    assert found.lots == []
    assert not has_enough(np.array([True] * 20), np.ones(20, bool))


def test_formats_divide_texts_by_the_baseline():
    """Texts in the corpus's format are in the last ranges, and the others in the first."""
    own = [f"- {text}\n- {text}" for text in write_answers(100, 1)]
    sample = build_sample(own, write_answers(100, 2))
    measures = measure_formats(sample.texts)
    formats = learn_formats(measures, sample.own, ~sample.confirms)
    ranges = formats.assign(measures)
    assert set(ranges.tolist()) <= set(range(FORMAT_BINS))
    assert ranges[sample.own].min() >= ranges[~sample.own].max()
    none = learn_formats(measures[:3], sample.own[:3], np.ones(3, bool))
    assert none.assign(measures).tolist() == [0] * len(sample)
