"""Precision and recall from stratified samples, checked by simulation and in known cases."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import fisher_exact

from classifiers.guarantees import stratified
from classifiers.guarantees.calibration import bound_share
from classifiers.guarantees.stratified import (
    Stratum,
    compare_new_rates,
    compare_rates,
    count_rows_needed,
    measure_accuracy,
    measure_new_rate,
    measure_on_new_rows,
    measure_rate,
)

SAMPLES = 1_000

POPULATIONS = {
    "common": ((300, 300, 400, 1_000, 3_000), (0.95, 0.7, 0.3, 0.1, 0.03), 20),
    "mixed": ((10, 10, 10, 970), (0.9, 0.6, 0.3, 0.02), 8),
    "perfect": ((50, 50, 900), (1.0, 0.5, 0.0), 20),
    "rare": ((6, 20, 50, 100, 10_000), (0.5, 0.1, 0.02, 0.0, 0.0005), 20),
    "two": ((100, 9_900), (0.5, 0.01), 30),
}
"""Each stratum's number of rows, share of rows with the trait, and number of read rows."""


def draw_sample(generator, rows, rates, read):
    """Draw a population and a sample; return the strata and the true counts."""
    true = generator.binomial(rows, rates)
    taken = np.minimum(rows, read)
    right = [
        generator.hypergeometric(shown, size - shown, count)
        for shown, size, count in zip(true, rows, taken, strict=True)
    ]
    return [Stratum(*item) for item in zip(rows, taken.tolist(), right, strict=True)], true


@pytest.mark.parametrize("name", POPULATIONS)
def test_intervals_contain_the_truth(name, monkeypatch):
    """At most 5 % of 1,000 intervals miss the truth."""
    monkeypatch.setattr(stratified, "DRAWS", 800)
    rows, rates, read = POPULATIONS[name]
    generator = np.random.default_rng(1)
    found = max(1, len(rows) // 2)
    missed = np.zeros(2)
    for _ in range(SAMPLES):
        strata, true = draw_sample(generator, rows, rates, read)
        accuracy = measure_accuracy(strata, found)
        inside, total = true[:found].sum(), true.sum()
        truths = (inside / sum(rows[:found]), inside / total if total else None)
        missed += [
            truth is not None and not interval.low - 1e-9 <= truth <= interval.high + 1e-9
            for truth, interval in zip(truths, accuracy, strict=True)
        ]
    assert (missed <= 0.05 * SAMPLES).all()


@pytest.mark.parametrize("name", POPULATIONS)
def test_intervals_of_rates_contain_the_truth(name, monkeypatch):
    """At most 5 % of the intervals for the share of rows with the trait miss it."""
    monkeypatch.setattr(stratified, "DRAWS", 800)
    rows, rates, read = POPULATIONS[name]
    generator = np.random.default_rng(3)
    missed = 0
    for _ in range(SAMPLES):
        strata, true = draw_sample(generator, rows, rates, read)
        rate = measure_rate(strata)
        missed += not rate.low - 1e-9 <= true.sum() / sum(rows) <= rate.high + 1e-9
    assert missed <= 0.05 * SAMPLES


def test_a_rate_weights_strata_by_their_rows():
    """A rate counts each stratum by its rows, and is exact if all of them were read."""
    rate = measure_rate([Stratum(10, 5, 5), Stratum(90, 10, 1)])
    assert rate.estimate == pytest.approx((10 + 9) / 100)
    assert rate.low < rate.estimate < rate.high
    assert measure_rate([Stratum(4, 4, 1), Stratum(6, 6, 0)]) == (0.1, 0.1, 0.1)


def test_a_rate_needs_read_rows_of_every_stratum():
    """Without read rows of a stratum there is no estimate, and its rows may all show the trait."""
    assert measure_rate([Stratum(4, 4, 1), Stratum(6, 0, 0)]) == (None, 0.1, 0.7)
    assert measure_rate([]) == (None, 0.0, 1.0)


def draw_random_sample(generator, rows, rates, read):
    """Draw a population and one random sample of all its rows; return both as `draw_sample`."""
    true = generator.binomial(rows, rates)
    taken = generator.multivariate_hypergeometric(rows, read)
    right = [
        generator.hypergeometric(shown, size - shown, count) if count else 0
        for shown, size, count in zip(true, rows, taken, strict=True)
    ]
    return [Stratum(*item) for item in zip(rows, taken.tolist(), right, strict=True)], true


@pytest.mark.parametrize("name", POPULATIONS)
@pytest.mark.parametrize("read", [30, 100])
def test_intervals_of_one_random_sample_contain_the_truth(name, read, monkeypatch):
    """A random sample leaves strata unread; at most 5 % of the intervals miss the truth."""
    monkeypatch.setattr(stratified, "DRAWS", 800)
    rows, rates, _ = POPULATIONS[name]
    generator = np.random.default_rng(5)
    found, missed, unread = max(1, len(rows) // 2), np.zeros(3), 0
    for _ in range(SAMPLES // 2):
        strata, true = draw_random_sample(generator, rows, rates, read)
        inside, total = true[:found].sum(), true.sum()
        truths = (inside / sum(rows[:found]), inside / max(total, 1), total / sum(rows))
        intervals = (*measure_accuracy(strata, found), measure_rate(strata, found))
        missed += [
            not interval.low - 1e-9 <= truth <= interval.high + 1e-9
            for truth, interval in zip(truths, intervals, strict=True)
        ]
        unread += any(not stratum.read for stratum in strata)
        assert intervals[2].estimate is not None
        assert (intervals[0].estimate is None) == (not any(own.read for own in strata[:found]))
    assert (missed <= 0.05 * SAMPLES / 2).all()
    assert unread > 0 or name == "common"


def test_estimates_of_random_samples_are_right_on_average():
    """Joining unread strata with their neighbours moves the rate and the recall little."""
    generator, rows = np.random.default_rng(6), (20, 30, 50, 1_900)
    shown = np.array((19, 24, 10, 10))
    means = []
    for _ in range(SAMPLES):
        taken = generator.multivariate_hypergeometric(rows, 150)
        right = [
            generator.hypergeometric(yes, size - yes, count) if count else 0
            for yes, size, count in zip(shown, rows, taken, strict=True)
        ]
        strata = [Stratum(*item) for item in zip(rows, taken.tolist(), right, strict=True)]
        recall = measure_accuracy(strata, 2).recall.estimate
        means.append((measure_rate(strata, 2).estimate, np.nan if recall is None else recall))
    rate, recall = np.nanmean(means, axis=0)
    assert rate == pytest.approx(63 / 2_000, rel=0.05)
    assert recall == pytest.approx(43 / 63, abs=0.08)


def test_an_unread_stratum_counts_like_its_neighbour_on_its_side():
    """It counts like the nearest read one; of two, like the one nearer to the threshold."""
    strata = [Stratum(10, 5, 5), Stratum(10, 0, 0), Stratum(10, 5, 4), Stratum(70, 10, 0)]
    accuracy = measure_accuracy(strata, 3)
    assert accuracy.precision.estimate == pytest.approx((10 + 8 + 8) / 30)
    assert accuracy.precision.low < 0.6 < accuracy.precision.high == pytest.approx(29 / 30)
    assert measure_rate(strata, 3).estimate == pytest.approx(0.26)
    lower = measure_accuracy(strata, 1)
    assert lower.recall.estimate == pytest.approx(10 / (10 + 8 + 8))
    assert measure_new_rate(strata, 3).estimate == pytest.approx(0.26)


def test_found_rows_of_which_none_was_read_count_like_those_below_in_a_rate_alone():
    """Precision and recall are then unknown, and the interval of the rate covers all cases."""
    strata = [Stratum(5, 0, 0), Stratum(95, 19, 1)]
    accuracy = measure_accuracy(strata, 1)
    assert accuracy.precision == (None, 0.0, 1.0)
    assert accuracy.recall.estimate is None
    rate = measure_rate(strata, 1)
    assert rate.estimate == pytest.approx(1 / 19)
    assert rate.low == pytest.approx(1 / 100)
    assert rate.high > 0.2
    assert compare_rates(strata, strata, 1, 1).estimate == 0


def test_rows_with_high_scores_say_nothing_of_the_others():
    """If nobody read a row of the lowest stratum, no unread stratum is joined with a read one."""
    strata = [Stratum(5, 5, 5), Stratum(10, 0, 0), Stratum(900, 0, 0)]
    assert measure_accuracy(strata, 1).precision == (1, 1, 1)
    assert measure_accuracy(strata, 2).precision.estimate is None
    assert measure_accuracy(strata, 1).recall.estimate is None
    assert measure_rate(strata, 1).estimate is None


@pytest.mark.parametrize("name", POPULATIONS)
def test_intervals_for_new_rows_contain_the_rates(name, monkeypatch):
    """At most 5 % of the intervals from 500 corpora miss the true rates."""
    monkeypatch.setattr(stratified, "DRAWS", 800)
    sizes, rates, read = POPULATIONS[name]
    weights = np.array(sizes) / sum(sizes)
    generator = np.random.default_rng(2)
    found = max(1, len(sizes) // 2)
    shown = weights * rates
    truths = (shown[:found].sum() / weights[:found].sum(), shown[:found].sum() / shown.sum())
    missed = np.zeros(2)
    for _ in range(SAMPLES // 2):
        rows = generator.multinomial(300, weights).tolist()
        accuracy = measure_on_new_rows(draw_sample(generator, rows, rates, read)[0], found)
        missed += [
            not interval.low <= truth <= interval.high
            for truth, interval in zip(truths, accuracy, strict=True)
        ]
    assert (missed <= 0.05 * SAMPLES / 2).all()


def test_rows_that_were_all_read_leave_doubt_about_new_rows():
    """If every row was read, new rows have the Clopper-Pearson interval of the counts."""
    accuracy = measure_on_new_rows([Stratum(4, 4, 3), Stratum(7, 7, 5), Stratum(90, 90, 2)], 2)
    assert accuracy.precision == pytest.approx((8 / 11, *bound_share(8, 11)))
    assert accuracy.recall == pytest.approx((8 / 10, *bound_share(8, 10)))
    assert measure_on_new_rows([Stratum(10, 10, 0)], 0) == ((None, 0, 1), (None, 0, 1))


def test_unread_rows_leave_everything_open_for_new_rows():
    """Unread rows say nothing about new rows."""
    assert measure_on_new_rows([Stratum(9, 0, 0)], 1) == ((None, 0, 1), (None, 0, 1))
    known = measure_accuracy([Stratum(40, 20, 9)], 1).precision
    new = measure_on_new_rows([Stratum(40, 20, 9)], 1).precision
    assert new.estimate == known.estimate
    assert new.low < known.low < known.high < new.high


def test_estimates_weight_strata_by_their_rows():
    """Strata are weighted by their rows."""
    accuracy = measure_accuracy([Stratum(10, 10, 8), Stratum(40, 10, 5), Stratum(950, 50, 1)], 2)
    assert accuracy.precision.estimate == pytest.approx((8 + 20) / 50)
    assert accuracy.recall.estimate == pytest.approx(28 / (28 + 19))
    for interval in accuracy:
        assert interval.low < interval.estimate < interval.high


def test_one_stratum_has_the_exact_interval():
    """With a single large stratum, precision has almost its Clopper-Pearson interval."""
    precision = measure_accuracy([Stratum(100_000, 30, 21), Stratum(1, 1, 0)], 1).precision
    assert (precision.low, precision.high) == pytest.approx(bound_share(21, 30), abs=0.01)


def test_rows_that_were_all_read_leave_no_doubt():
    """If every row was read, precision and recall are known exactly."""
    accuracy = measure_accuracy([Stratum(4, 4, 3), Stratum(9, 9, 1)], 1)
    assert accuracy.precision == pytest.approx((0.75, 0.75, 0.75))
    assert accuracy.recall == pytest.approx((0.75, 0.75, 0.75))


def test_unread_rows_leave_everything_open():
    """An unread stratum may hold any number of rows with the trait."""
    accuracy = measure_accuracy([Stratum(4, 4, 3), Stratum(900, 0, 0)], 1)
    assert accuracy.precision.estimate == 0.75
    assert accuracy.recall.estimate is None
    assert accuracy.recall.low == pytest.approx(3 / 903)
    assert accuracy.recall.high == 1
    assert measure_accuracy([Stratum(9, 0, 0)], 1).precision == (None, 0, 1)


def test_a_threshold_that_finds_nothing_has_no_precision():
    """Without found rows, precision is unknown, and recall is 0 if any row shows the trait."""
    accuracy = measure_accuracy([Stratum(10, 10, 2)], 0)
    assert accuracy.precision == (None, 0, 1)
    assert accuracy.recall == (0, 0, 0)
    assert measure_accuracy([Stratum(10, 10, 0)], 0).recall == (None, 0, 1)


@settings(max_examples=60)
@given(st.lists(st.tuples(*[st.integers(0, 30)] * 3), min_size=1, max_size=5), st.integers(0, 5))
def test_intervals_are_shares_around_the_estimate(numbers, found):
    """An interval is always within 0 and 1, and contains its estimate."""
    strata = [
        Stratum(rows, min(rows, read), min(rows, read, right)) for rows, read, right in numbers
    ]
    accuracy = measure_accuracy(strata, min(found, len(strata)))
    assert accuracy == measure_accuracy(strata, min(found, len(strata)))
    for estimate, low, high in measure_on_new_rows(strata, min(found, len(strata))):
        assert 0 <= low <= high <= 1
        assert estimate is None or low - 1e-9 <= estimate <= high + 1e-9
    for estimate, low, high in accuracy:
        assert 0 <= low <= high <= 1
        assert estimate is None or low - 1e-9 <= estimate <= high + 1e-9


def test_the_difference_of_two_rates_is_covered():
    """In at least 95 of 100 pairs of samples, the interval contains the true difference."""
    generator, covered = np.random.default_rng(3), 0
    for _ in range(SAMPLES // 5):
        groups = [draw_sample(generator, *POPULATIONS[name]) for name in ("mixed", "two")]
        true = [
            shown.sum() / sum(POPULATIONS[name][0])
            for (_, shown), name in zip(groups, ("mixed", "two"), strict=True)
        ]
        found = compare_rates(groups[0][0], groups[1][0])
        covered += found.low - 1e-9 <= true[0] - true[1] <= found.high + 1e-9
    assert covered >= 0.95 * (SAMPLES // 5)


def test_a_difference_is_that_of_the_rates_and_wider_for_more_tests():
    """The estimate is the difference of both rates; intervals of many pairs are wider."""
    first, second = [Stratum(100, 50, 25)], [Stratum(300, 100, 10), Stratum(0, 0, 0)]
    found = compare_rates(first, second)
    assert found.estimate == pytest.approx(0.4)
    assert 0 < found.low < 0.4 < found.high
    wider = compare_rates(first, second, 10)
    assert wider.low < found.low < found.high < wider.high
    back = compare_rates(second, first)
    assert back.estimate == pytest.approx(-0.4)
    assert -back.high == pytest.approx(found.low, abs=0.02)


def test_unread_or_empty_groups_have_no_difference():
    """Without rows, or without read rows, nothing is known."""
    known = [Stratum(100, 100, 25)]
    assert compare_rates(known, [Stratum(50, 0, 0)]).estimate is None
    assert compare_rates(known, [Stratum(0, 0, 0)]) == (None, -1.0, 1.0)
    assert compare_rates(known, [Stratum(40, 40, 10)]) == (0.0, 0.0, 0.0)


def test_so_many_more_rows_tell_rates_apart():
    """At the estimated factor, samples show the difference about as often as promised."""
    groups = ([Stratum(10**6, 50, 15)], [Stratum(10**6, 50, 10)])
    factor, larger = count_rows_needed(groups, 0.1)
    assert larger < 0.01  # the corpus is large enough
    read, generator, shown = round(50 * factor), np.random.default_rng(8), 0
    assert 250 < read < 350  # 294 by the usual formula for two shares of 0.3 and 0.2
    for _ in range(60):
        right = generator.binomial(read, [0.3, 0.2])
        found = [[Stratum(10**6, read, int(count))] for count in right]
        shown += compare_new_rates(*found).low > 0
    assert 0.6 < shown / 60 < 0.95
    assert count_rows_needed(groups, 0.2)[0] == pytest.approx(factor / 4, rel=0.01)


def test_a_corpus_may_be_too_small_to_tell_rates_apart():
    """Beyond what a whole corpus can show, the second factor says how much larger one must be."""
    groups = ([Stratum(400, 100, 1)], [Stratum(400, 100, 2)])
    factor, larger = count_rows_needed(groups, 0.01)
    assert factor == float("inf")
    read = round(400 * larger)
    shares = np.array([4.5, 8.5]) / 401
    usual = (1.96 + 0.8416) ** 2 * (shares * (1 - shares)).sum() / 0.01**2
    assert read == pytest.approx(usual, rel=0.01)


@pytest.mark.parametrize(
    ("counts", "sizes"),
    [((4, 1), (400, 400)), ((12, 1), (400, 400)), ((9, 2), (60, 70)), ((30, 8), (200, 150))],
)
def test_new_rows_are_ranked_as_by_the_exact_test(counts, sizes):
    """With all rows read, the interval excludes 0 just if Fisher's one-sided test does."""
    groups = [[Stratum(size, size, count)] for count, size in zip(counts, sizes, strict=True)]
    table = [[count, size - count] for count, size in zip(counts, sizes, strict=True)]
    p = fisher_exact(table, alternative="greater").pvalue
    for tests in (1, 10):
        assert (compare_new_rates(*groups, tests).low > 0) == (p < 0.025 / tests)
    assert compare_rates(*groups).low > 0  # exact, but a fact about these rows only


def test_differences_on_new_rows_contain_the_true_difference():
    """At most 5 % of the intervals from corpora of two sources miss the sources' difference."""
    generator, missed = np.random.default_rng(4), 0
    for _ in range(SAMPLES // 5):
        groups = [
            draw_sample(generator, (60, 340), rates, 80)[0] for rates in ((0.5, 0.02), (0.3, 0.01))
        ]
        found = compare_new_rates(*groups)
        true = 0.15 * 0.2 + 0.85 * 0.01
        missed += not found.low <= true <= found.high
    assert missed <= 0.05 * (SAMPLES // 5)


def test_a_rate_on_new_rows_is_the_exact_interval_of_its_count():
    """With all rows read, it is the Clopper-Pearson interval; groups without rows know nothing."""
    found = measure_new_rate([Stratum(150, 150, 3), Stratum(250, 250, 1)])
    assert found == (0.01, *bound_share(4, 400))
    assert measure_new_rate([Stratum(0, 0, 0)]) == (None, 0.0, 1.0)
    assert compare_new_rates([Stratum(9, 9, 1)], [Stratum(0, 0, 0)]) == (None, -1.0, 1.0)
