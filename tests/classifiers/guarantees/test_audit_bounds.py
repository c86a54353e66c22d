"""Bounds of an audit under peeking, with weights and without replacement, by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import binom, hypergeom

from classifiers.guarantees.audit_bounds import (
    BETS,
    SENSITIVITY_SHARE,
    STAKES,
    Draws,
    adjust_bound,
    bound_audit,
    bound_audit_below,
    compute_audit_wealth,
    count_texts_needed,
    draw_by_weight,
    draw_evenly,
    draw_with_replacement,
)
from classifiers.guarantees.calibration import compute_upper_bound

TRIES = 4_000
RISK = 0.05
MOST = int(binom.ppf(0.999, TRIES, RISK))
"""How many of the tries may be wrong if the risk is kept."""


def simulate_strata(
    dice: np.random.Generator, rows: np.ndarray, traited: np.ndarray, shares: np.ndarray, count: int
) -> Draws:
    """Draw rows from strata by weight, without replacement, in `TRIES` audits at once.

    Each stratum has `rows` rows, of which `traited` have the trait.
    """
    left = np.tile(rows.astype(float), (TRIES, 1))
    showing = np.tile(traited.astype(float), (TRIES, 1))
    total, tries = rows.sum(), np.arange(TRIES)
    values, weights, caps = (np.zeros((TRIES, count)) for _ in range(3))
    for turn in range(count):
        live = np.where(left > 0, shares, 0.0)
        live /= live.sum(1, keepdims=True)
        chosen = (dice.random((TRIES, 1)) > live.cumsum(1)[:, :-1]).sum(1)
        with np.errstate(divide="ignore", invalid="ignore"):
            own = np.where(left > 0, left / (total * live), 0.0)
        values[:, turn] = dice.random(TRIES) * left[tries, chosen] < showing[tries, chosen]
        weights[:, turn], caps[:, turn] = own[tries, chosen], own.max(1)
        showing[tries, chosen] -= values[:, turn]
        left[tries, chosen] -= 1
    return draw_by_weight(values, weights, caps, int(total))


STRATA = {
    "misses where scores are high": ([900, 80, 20], [0, 4, 8]),
    "misses where scores are low": ([900, 80, 20], [12, 0, 0]),
    "misses everywhere": ([500, 300, 200], [50, 30, 20]),
    "nearly all show it": ([600, 300, 100], [590, 300, 90]),
}


@pytest.mark.parametrize("name", STRATA)
def test_weighted_bounds_hold_for_whoever_looks_after_every_row(name):
    """Over 4,000 audits, the true share is ever excluded in at most 5 %, from both sides."""
    rows, traited = (np.array(part) for part in STRATA[name])
    shares = 0.75 * rows / rows.sum() + 0.25 / 3
    draws = simulate_strata(np.random.default_rng(3), rows, traited, shares, 400)
    mean = np.full(TRIES, traited.sum() / rows.sum())
    for side, true in ((draws, mean), (draws.flip(), 1 - mean)):
        wealth = compute_audit_wealth(side, true)
        assert (wealth.max(axis=1) >= -math.log(RISK)).sum() <= MOST


@pytest.mark.parametrize(("rows", "traited"), [(300, 3), (300, 150), (500, 25)])
def test_even_draws_without_replacement_hold_until_the_last_row(rows, traited):
    """Audits that read everything never exclude the truth more often than the risk allows."""
    dice = np.random.default_rng(5)
    truth = np.zeros((TRIES, rows))
    truth[:, :traited] = 1
    draws = draw_evenly(dice.permuted(truth, axis=1), rows)
    wealth = compute_audit_wealth(draws, np.full(TRIES, traited / rows))
    assert (wealth.max(axis=1) >= -math.log(RISK)).sum() <= MOST


@pytest.mark.parametrize("mean", [0.002, 0.02, 0.3, 0.9])
def test_draws_with_replacement_hold_under_peeking(mean):
    """The same is true of texts from a source without end."""
    values = (np.random.default_rng(7).random((TRIES, 500)) < mean).astype(float)
    wealth = compute_audit_wealth(draw_with_replacement(values), np.full(TRIES, mean))
    assert (wealth.max(axis=1) >= -math.log(RISK)).sum() <= MOST


def test_a_fixed_bound_breaks_under_peeking():
    """A Clopper-Pearson bound that is looked at after every row fails far more often than 5 %."""
    mean, size = 0.05, 300
    values = np.random.default_rng(11).random((1_000, size)) < mean
    counts = values.cumsum(1)
    smallest = [
        binom.ppf(RISK, n, mean) - (binom.cdf(binom.ppf(RISK, n, mean), n, mean) > RISK)
        for n in range(1, size + 1)
    ]
    wrong = (counts <= np.array(smallest)).any(axis=1).mean()
    assert wrong > 2 * RISK


def test_the_wealth_is_a_martingale_under_the_true_mean():
    """With weights and without replacement, the mean wealth stays at its start."""
    rows, traited = np.array([60, 30, 10]), np.array([6, 6, 6])
    shares = np.array([0.5, 0.3, 0.2])
    draws = simulate_strata(np.random.default_rng(13), rows, traited, shares, 12)
    wealth = np.exp(compute_audit_wealth(draws, np.full(TRIES, 0.18)))
    assert wealth.mean(axis=0) == pytest.approx(np.ones(12), abs=0.08)


def test_every_draw_is_an_unbiased_estimate():
    """The estimates of all draws have the true mean, whatever their place."""
    rows, traited = np.array([60, 30, 10]), np.array([6, 6, 6])
    draws = simulate_strata(np.random.default_rng(17), rows, traited, np.array([0.2, 0.3, 0.5]), 40)
    assert draws.estimates.mean(axis=0) == pytest.approx(np.full(40, 0.18), abs=0.035)


@pytest.mark.parametrize("count", [1, 10, 100, 1_000])
def test_without_hits_the_bound_has_a_closed_form(count):
    """The bound is where the mixture of bets reaches 1 / risk, as scipy finds it to 1e-9."""

    def gain(mean: float) -> float:
        logs = np.log(STAKES) + count * np.log1p(BETS * mean / (1 - mean))
        return float(np.logaddexp.reduce(logs)) + math.log(RISK)

    if gain(1 - 1e-9) < 0:
        expected = 1.0
    else:
        expected = brentq(gain, 0, 1 - 1e-9, xtol=1e-14)
    found = bound_audit(draw_with_replacement(np.zeros(count)), RISK)
    assert found[0] == pytest.approx(expected, abs=1e-9)


def test_the_price_of_peeking_is_small():
    """After 1,000 rows without the trait, the bound is 0.36 %, and a fixed sample's is 0.30 %."""
    found = bound_audit(draw_with_replacement(np.zeros(1_000)), RISK)[0]
    fixed = compute_upper_bound(0, 1_000, 1 - RISK)
    assert fixed == pytest.approx(1 - RISK ** (1 / 1_000), abs=1e-12)
    assert fixed < found < 1.25 * fixed


@pytest.mark.parametrize(("rows", "hits"), [(1, 0), (1, 1), (40, 0), (40, 7), (200, 200)])
def test_a_full_audit_is_exact(rows, hits):
    """Once every row was read, the bound is the share of rows with the trait, from both sides."""
    values = np.zeros(rows)
    values[np.linspace(0, rows - 1, hits).astype(int)] = 1
    draws = draw_evenly(values, rows)
    assert bound_audit(draws, RISK)[0] == pytest.approx(hits / rows, abs=1e-9)
    assert bound_audit_below(draws, RISK) == pytest.approx(hits / rows, abs=1e-9)


@pytest.mark.parametrize("weighted", [False, True])
def test_an_early_bound_that_was_too_low_is_raised(weighted):
    """If all rows with the trait are read last, the bound is what was read, and not less."""
    values = np.repeat([0.0, 1.0], [40, 10])
    even = draw_evenly(values, 50)
    draws = draw_by_weight(values, even.weights, even.caps, 50) if weighted else even
    early, late, last = bound_audit(draws, RISK, [40, 49, 50])
    assert early < 0.1
    assert (late, last) == (pytest.approx(9 / 50), pytest.approx(10 / 50))
    assert bound_audit_below(draws.flip(), RISK) <= 1 - 10 / 50


@pytest.mark.parametrize("read", [100, 200, 350])
def test_without_replacement_bounds_are_tighter(read):
    """The bound is below that with replacement, and above that of a sample of fixed size."""
    rows = 400
    found = bound_audit(draw_evenly(np.zeros(read), rows), RISK)[0]
    endless = bound_audit(draw_with_replacement(np.zeros(read)), RISK)[0]
    counts = np.arange(rows + 1)
    fixed = counts[hypergeom.cdf(0, rows, counts, read) > RISK].max() / rows
    assert fixed < found < endless


@settings(max_examples=10, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=60), st.integers(0, 100))
def test_bounds_grow_only_to_what_was_found_and_never_fall_below(values, more):
    """A longer audit has no higher bound, unless more rows were found than a bound allowed for."""
    found, rows = np.array(values, float), len(values) + more
    counts = list(range(1, len(values) + 1))
    bounds = bound_audit(draw_evenly(found, rows), RISK, counts)
    read = np.cumsum(found) / rows
    assert (bounds >= read - 1e-12).all()
    assert (bounds[1:] <= np.maximum(bounds[:-1], read[1:]) + 1e-9).all()
    assert bound_audit_below(draw_evenly(found, rows), RISK) <= bounds[-1]


@settings(max_examples=10, deadline=None)
@given(
    st.lists(st.booleans(), min_size=1, max_size=30),
    st.floats(0.001, 0.999),
    st.floats(0.001, 0.999),
)
def test_the_wealth_never_falls_as_the_mean_rises(values, one, other):
    """So all means above a bound are excluded if the bound is."""
    draws = draw_evenly(np.array(values, float), 2 * len(values))
    low, high = sorted((one, other))
    below, above = (compute_audit_wealth(draws, mean) for mean in (low, high))
    assert (above >= below - 1e-9).all()


def test_a_bound_for_each_count_is_that_of_a_shorter_audit():
    """Bounds after some draws don't depend on later ones, and each is the lowest so far."""
    values = (np.random.default_rng(19).random(120) < 0.1).astype(float)
    bounds = bound_audit(draw_evenly(values, 1_000), RISK, [20, 70, 120])
    alone = [bound_audit(draw_evenly(values[:n], 1_000), RISK)[0] for n in (20, 70, 120)]
    assert bounds == pytest.approx(alone, abs=1e-12)


def test_nothing_read_bounds_nothing():
    """Without draws, the share may be anything."""
    empty = draw_evenly(np.empty(0), 10)
    assert bound_audit(empty, RISK).tolist() == [1.0]
    assert bound_audit(empty, RISK, [0, 0]).tolist() == [1.0, 1.0]
    assert bound_audit_below(empty, RISK) == 0


@pytest.mark.parametrize(("share", "sensitivity"), [(0.01, 0.9), (0.05, 0.6), (0.2, 0.5)])
def test_adjusted_bounds_cover_the_trait_and_not_only_what_raters_see(share, sensitivity):
    """Over 4,000 audits, rows that raters miss don't break the bound; unadjusted ones do."""
    dice = np.random.default_rng(23)
    shows = dice.random((TRIES, 300)) < share
    seen = draw_with_replacement((shows & (dice.random(shows.shape) < sensitivity)).astype(float))
    found = draw_with_replacement((dice.random((TRIES, 80)) < sensitivity).astype(float))
    limit = share * sensitivity
    too_low = compute_audit_wealth(seen, np.full(TRIES, limit)).max(1)
    too_high = compute_audit_wealth(found.flip(), np.full(TRIES, 1 - sensitivity)).max(1)
    wrong = (too_low >= -math.log(RISK * (1 - SENSITIVITY_SHARE))) | (
        too_high >= -math.log(RISK * SENSITIVITY_SHARE)
    )
    assert wrong.sum() <= MOST


def test_whole_adjusted_bounds_are_rarely_below_the_share():
    """The same with whole bounds, in 200 audits that look once."""
    dice, share, sensitivity = np.random.default_rng(29), 0.05, 0.7
    wrong = 0
    for _ in range(200):
        seen = (dice.random(150) < share * sensitivity).astype(float)
        found = dice.random(40) < sensitivity
        wrong += adjust_bound(draw_with_replacement(seen), found, RISK).adjusted < share
    assert wrong <= binom.ppf(0.999, 200, RISK)


def test_an_adjusted_bound_divides_by_the_lowest_sensitivity():
    """The parts use up the risk, and raters who find nothing bound nothing."""
    draws = draw_with_replacement(np.zeros(500))
    found = adjust_bound(draws, np.ones(60), RISK)
    assert found.seen == bound_audit(draws, RISK * (1 - SENSITIVITY_SHARE))[0]
    lowest = bound_audit_below(draw_with_replacement(np.ones(60)), RISK * SENSITIVITY_SHARE)
    assert found.sensitivity == lowest
    assert 0.8 < lowest < 1
    assert found.adjusted == pytest.approx(found.seen / lowest)
    assert adjust_bound(draws, np.zeros(60), RISK).adjusted == 1
    assert adjust_bound(draws, np.empty(0), RISK).adjusted == 1


def test_bets_split_the_whole_wealth():
    """No bet can lose everything, and the stakes add up to the initial wealth."""
    assert STAKES.sum() == pytest.approx(1)
    assert len(STAKES) == len(BETS)
    assert BETS.max() < 1


@pytest.mark.parametrize("lowest", [0.3, 0.5, 0.8])
@pytest.mark.parametrize("risk", [0.01, 0.05, 0.2])
def test_the_needed_texts_are_the_fewest_that_suffice(lowest, risk):
    """One text less leaves the lower bound on what raters find below the wanted share."""
    count = count_texts_needed(lowest, risk)
    bounds = [
        bound_audit_below(draw_with_replacement(np.ones(number)), risk * SENSITIVITY_SHARE)
        for number in (count - 1, count)
    ]
    assert bounds[0] < lowest <= bounds[1]
