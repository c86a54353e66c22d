"""Permutation tests: their level, their blocks and units, and the adjustment of p-values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from classifiers.lots.permutations import (
    Units,
    adjust_p_values,
    combine_p_values,
    compute_bag_auroc,
    group_units,
    permute_labels,
)
from classifiers.lots.separation import measure_auroc


def build(scores, labels, blocks=None):
    """Return units of one text each."""
    size = len(scores)
    blocks = np.zeros(size, np.int64) if blocks is None else blocks
    return group_units(np.asarray(scores, np.float64), labels, np.arange(size), blocks)


def test_the_auroc_is_that_of_the_texts():
    """However texts are grouped, the AUROC is that of single texts."""
    dice = np.random.default_rng(0)
    scores, labels = dice.normal(size=60), dice.random(60) < 0.4
    expected = measure_auroc(scores, labels)
    assert permute_labels(build(scores, labels)).auroc == pytest.approx(expected)
    units = np.arange(60) // 3
    labels = labels[units]
    grouped = group_units(scores, labels, units, np.zeros(60, np.int64))
    assert permute_labels(grouped).auroc == pytest.approx(measure_auroc(scores, labels))


def test_a_difference_has_the_smallest_p_value():
    """No permutation reaches the AUROC of separate sets."""
    found = permute_labels(build(np.arange(40.0), np.arange(40) >= 20))
    assert found.auroc == 1.0
    assert found.p == 1 / 2_000
    assert (found.first, found.second) == (20, 20)


@pytest.mark.parametrize("kind", ["pairs", "strata", "units"])
def test_the_level_holds(kind):
    """Where nothing differs, a p-value up to 10 % has a chance of about 10 %."""
    dice = np.random.default_rng(7)
    values = []
    for seed in range(300):
        size = 40
        blocks = np.arange(size) // 2 if kind == "pairs" else dice.integers(0, 3, size)
        labels = np.arange(size) % 2 == 0
        units = np.arange(size)
        scores = dice.normal(size=size) + 3 * blocks
        if kind == "units":
            units = np.arange(size) // 4
            blocks, labels = blocks[units], units % 2 == 0
            scores = dice.normal(size=size) + 2 * dice.normal(size=size)[units]
        found = permute_labels(group_units(scores, labels, units, blocks), seed, 199)
        values.append(found.p)
    assert 0.05 <= np.mean(np.array(values) <= 0.1) <= 0.16


def test_a_difference_between_blocks_does_not_count():
    """If one set has more texts in a block with high scores, that alone is no difference."""
    dice = np.random.default_rng(1)
    blocks = np.repeat([0, 1], 100)
    labels = np.concatenate([np.arange(100) < 80, np.arange(100) < 20])
    scores = dice.normal(size=200) - 5.0 * blocks
    assert permute_labels(build(scores, labels)).p < 0.01
    assert permute_labels(build(scores, labels, blocks)).p > 0.05


def test_pairs_show_a_difference_that_prompts_hide():
    """Compared with the same prompt's text, a small difference is clear."""
    dice = np.random.default_rng(2)
    prompts = np.repeat(np.arange(100), 2)
    labels = np.arange(200) % 2 == 0
    scores = 10 * dice.normal(size=100)[prompts] + 0.5 * labels + 0.3 * dice.normal(size=200)
    assert permute_labels(build(scores, labels)).p > 0.05
    assert permute_labels(build(scores, labels, prompts)).p < 0.01


def test_one_set_alone_is_no_difference():
    """Without texts of one set, p is 1."""
    found = permute_labels(build(np.arange(5.0), np.ones(5, bool)))
    assert (found.auroc, found.p) == (0.5, 1.0)
    assert permute_labels(Units(*(np.empty(0),) * 2, np.empty(0, bool), np.empty(0))).p == 1.0


def test_the_detectable_auroc_is_found_as_often_as_promised():
    """A difference of the detectable size is found in about 80 % of draws."""
    dice = np.random.default_rng(3)
    labels = np.arange(200) < 100
    null = permute_labels(build(dice.normal(size=200), labels))
    detectable = null.find_detectable(0.05)
    assert 0.55 < detectable < 0.65
    shift = 0.355  # AUROC 0.599 for normal scores
    assert detectable == pytest.approx(0.60, abs=0.01)
    hits = [
        permute_labels(build(dice.normal(size=200) + shift * labels, labels), seed, 199).p <= 0.05
        for seed in range(200)
    ]
    assert 0.7 <= np.mean(hits) <= 0.9


def test_the_draw_is_seeded():
    """The same seed gives the same p-value."""
    dice = np.random.default_rng(0)
    units = build(dice.normal(size=50), np.arange(50) < 25)
    assert permute_labels(units, 5) == permute_labels(units, 5)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_adjusted_values_are_those_of_benjamini_and_hochberg(values):
    """They agree with scipy's, in any order."""
    expected = false_discovery_control(values)
    assert adjust_p_values(np.array(values)) == pytest.approx(expected)


def test_no_values_are_adjusted_to_none():
    """Without tests there are no q-values, and the combined p-value is 1."""
    assert len(adjust_p_values(np.empty(0))) == 0
    assert combine_p_values([]) == 1.0
    assert combine_p_values([0.01, 0.3]) == 0.02
    assert combine_p_values([0.9, 0.8]) == 1.0


def test_bags_of_normal_scores():
    """The planning formula gives the digest's figures, and certainty stays certain."""
    assert compute_bag_auroc(0.60, 16) == pytest.approx(0.84, abs=0.02)
    assert compute_bag_auroc(0.70, 16) == pytest.approx(0.98, abs=0.01)
    assert compute_bag_auroc(0.5, 64) == pytest.approx(0.5)
    assert compute_bag_auroc(1.0, 4) == pytest.approx(1.0)
