"""The rows that an audit may draw: strata, chances, weights and exclusions."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from classifiers.guarantees.audit_bounds import compute_audit_wealth, draw_by_weight
from pipelines.certifying.populations import (
    BANDS,
    EVEN_SHARE,
    EXPECTED,
    AuditedRows,
    draw_kept,
    draw_removed,
    read_rows_to_audit,
    roll,
    settle_shares,
)
from schemas.certificates import AuditStratum
from schemas.errors import RunError
from tests.support.runs import read_ledger


def build_rows(sizes: dict[tuple[str, int], int], removed: int = 0) -> AuditedRows:
    """Return kept rows in strata, and removed rows after them."""
    kept = sum(sizes.values())
    strata = np.repeat(np.arange(len(sizes)), list(sizes.values()))
    described = tuple(
        AuditStratum(lot=lot, band=band, rows=rows, share=0) for (lot, band), rows in sizes.items()
    )
    total = kept + removed
    return AuditedRows(
        ["a.jsonl"] * total,
        list(range(total)),
        ["clean/a.jsonl"] * kept + ["quarantine/a.jsonl"] * removed,
        list(range(total)),
        {"heron": np.arange(total) >= kept},
        np.arange(kept),
        np.arange(kept, total),
        0,
        (),
        strata,
        described,
    )


SIZES = {("atlas", 0): 900, ("atlas", 2): 60, ("borealis", 0): 30, ("borealis", 1): 10}


def test_rows_of_a_run_are_sorted_by_what_became_of_them(run):
    """Rows in clean/ are kept, and rows in quarantine/ are removed."""
    folder, manifest = run
    rows = read_rows_to_audit(str(folder), manifest, ["heron"])
    ledger = read_ledger(folder)
    decisions = [row["decision"] for row in ledger]
    assert {decisions[index] for index in rows.kept.tolist()} == {"keep"}
    assert {decisions[index] for index in rows.removed.tolist()} == {"quarantine"}
    assert len(rows.kept) + len(rows.removed) == len(ledger) == 40
    assert rows.fired["heron"].sum() == manifest.fired["heron"]
    assert (rows.unread, rows.excluded) == (0, ())


def test_strata_are_lots_and_bands(run):
    """The two teachers have strata of their own, and each kept row is in one."""
    folder, manifest = run
    rows = read_rows_to_audit(str(folder), manifest, ["heron"])
    lots = {item.lot.split(" · ")[0] for item in rows.sizes}
    assert lots == {"atlas", "borealis"}
    assert sum(item.rows for item in rows.sizes) == len(rows.kept) == len(rows.strata)
    assert Counter(rows.strata.tolist()) == {
        number: item.rows for number, item in enumerate(rows.sizes)
    }


@pytest.mark.parametrize("by_id", [False, True])
def test_excluded_rows_are_not_drawn(run, by_id):
    """Rows are named by place or by record id, and leave the population."""
    folder, manifest = run
    kept = [row for row in read_ledger(folder) if row["decision"] == "keep"]
    named: list[Any] = [
        (None, None, row["record_id"]) if by_id else (row["source"], row["row"], None)
        for row in kept[:3]
    ]
    rows = read_rows_to_audit(str(folder), manifest, ["heron"], named)
    places = (
        {
            (row["source"], row["row"])
            for row in kept
            if row["record_id"] in {other["record_id"] for other in kept[:3]}
        }
        if by_id
        else {(row["source"], row["row"]) for row in kept[:3]}
    )
    assert set(rows.excluded) == places
    assert len(rows.kept) == len(kept) - len(places)
    left = {(rows.sources[index], rows.numbers[index]) for index in rows.kept.tolist()}
    assert not left & places


def test_a_run_without_rows_cannot_be_audited(no_rows, tmp_path):
    """There is nothing to draw."""
    with pytest.raises(RunError, match="no rows to audit"):
        read_rows_to_audit(str(tmp_path), no_rows, ["owl"])


def test_a_run_that_kept_nothing_cannot_be_audited(run):
    """Without kept rows, no rate is left to bound."""
    folder, manifest = run
    named = [(row["source"], row["row"], None) for row in read_ledger(folder)]
    with pytest.raises(RunError, match="no row in clean"):
        read_rows_to_audit(str(folder), manifest, ["heron"], named)


def test_shares_are_mostly_by_size_and_add_up():
    """No row is drawn less often than three quarters of evenly, so weights are at most 4/3."""
    sizes = settle_shares(build_rows(SIZES).sizes, 200)
    total = sum(item.rows for item in sizes)
    assert sum(item.share for item in sizes) == pytest.approx(1)
    for item in sizes:
        assert item.share >= EVEN_SHARE * item.rows / total
        assert item.rows / total / item.share <= 1 / EVEN_SHARE + 1e-9


def test_rows_near_the_threshold_are_drawn_more_often():
    """A row in a high band has a higher chance than one in the lowest."""
    sizes = settle_shares(build_rows(SIZES).sizes, 200)
    chance = {(item.lot, item.band): item.share / item.rows for item in sizes}
    assert chance["atlas", 2] > 2 * chance["atlas", 0]
    assert chance["borealis", 1] > chance["atlas", 0]
    assert len(EXPECTED) == len(BANDS) + 1


def test_every_row_is_drawn_once_and_weights_end_even():
    """A full audit reads each kept row, and each draw's chances add up to one."""
    rows = build_rows({("atlas", 0): 40, ("atlas", 2): 7, ("borealis", 0): 3})
    strata = settle_shares(rows.sizes, 20)
    drawn = draw_kept(rows, strata, "seed", 1_000)
    assert sorted(item.place for item in drawn) == list(range(50))
    assert all(0 < item.weight <= item.cap for item in drawn)
    assert drawn[-1].weight == pytest.approx(1 / 50)


@pytest.mark.parametrize("count", [0, 1, 17, 60])
def test_a_larger_audit_begins_with_a_smaller_one(count):
    """The first draws don't depend on how many there are."""
    rows = build_rows(SIZES, removed=80)
    strata = settle_shares(rows.sizes, 100)
    assert draw_kept(rows, strata, "s", 100)[:count] == draw_kept(rows, strata, "s", count)
    assert draw_removed(rows, "s", 70)[:count] == draw_removed(rows, "s", count)[:70]


def test_another_seed_draws_other_rows():
    """Seeds decide everything, and the same seed draws the same rows."""
    rows = build_rows(SIZES, removed=50)
    strata = settle_shares(rows.sizes, 100)
    one, same, other = (draw_kept(rows, strata, seed, 50) for seed in ("1", "1", "2"))
    assert one == same != other
    assert draw_removed(rows, "1", 20) != draw_removed(rows, "2", 20)


def test_draws_follow_the_chances():
    """Over many seeds, each stratum is drawn as often as its share says, and rows evenly."""
    rows = build_rows({("atlas", 0): 60, ("atlas", 2): 20})
    strata = settle_shares(rows.sizes, 30)
    first = Counter(draw_kept(rows, strata, str(seed), 1)[0].place for seed in range(3_000))
    high = sum(count for place, count in first.items() if place >= 60)
    assert high / 3_000 == pytest.approx(strata[1].share, abs=0.03)
    assert len(first) == 80


def test_estimates_of_draws_are_unbiased():
    """Over many seeds, the weighted first draws have the mean of all rows."""
    rows = build_rows({("atlas", 0): 60, ("atlas", 2): 20})
    strata = settle_shares(rows.sizes, 30)
    drawn = [draw_kept(rows, strata, str(seed), 1)[0] for seed in range(3_000)]
    estimate = np.mean([item.weight * (item.place >= 70) for item in drawn])
    assert estimate == pytest.approx(10 / 80, abs=0.02)


def test_rolls_are_even_and_fixed():
    """A roll is from 0 to below 1, the same on every machine."""
    rolls = np.array([roll("seed", str(number)) for number in range(2_000)])
    assert ((rolls >= 0) & (rolls < 1)).all()
    assert np.histogram(rolls, 4, (0, 1))[0] == pytest.approx(np.full(4, 500), abs=80)
    assert roll("seed", "0") == rolls[0]
    assert roll("seed", "kept 0") == pytest.approx(0.4, abs=0.6)


@pytest.mark.parametrize(
    ("low", "high"), [(0, 12), (9, 0), (4, 4), (60, 15)], ids=["high", "low", "both", "many"]
)
def test_bounds_of_real_draws_hold_under_peeking(low, high):
    """Over 400 seeds, the draws' own weights rarely exclude the true share, at any time."""
    sizes = {("atlas", 0): 150, ("atlas", 2): 20, ("borealis", 0): 30}
    rows = build_rows(sizes)
    strata = settle_shares(rows.sizes, 80)
    showing = np.zeros(200)
    showing[:low] = 1
    showing[150 : 150 + high] = 1
    drawn = [draw_kept(rows, strata, f"try {seed}", 80) for seed in range(400)]
    places, weights, caps = (
        np.array([[item[field] for item in one] for one in drawn]) for field in range(3)
    )
    draws = draw_by_weight(showing[places.astype(int)], weights, caps, 200)
    true = np.full(400, showing.mean())
    for side, mean in ((draws, true), (draws.flip(), 1 - true)):
        excluded = compute_audit_wealth(side, mean).max(axis=1) >= np.log(20)
        assert excluded.sum() <= binom.ppf(0.999, 400, 0.05)
    assert draws.estimates[:, 0].mean() == pytest.approx(showing.mean(), abs=0.06)


def test_small_lots_share_strata(run, monkeypatch):
    """Beyond a number of lots, the smaller ones share one stratum for each band."""
    monkeypatch.setattr("pipelines.certifying.populations.LOTS", 1)
    folder, manifest = run
    rows = read_rows_to_audit(str(folder), manifest, ["heron"])
    lots = [item.lot.split(" · ")[0] for item in rows.sizes]
    assert len(lots) == 2
    assert "other lots" in lots
    assert sum(item.rows for item in rows.sizes) == 32


def test_a_stratum_of_one_row_can_be_drawn():
    """A tiny stratum has a chance of its own, and its weight stays below the cap."""
    rows = build_rows({("atlas", 0): 500, ("borealis", 3): 1})
    strata = settle_shares(rows.sizes, 50)
    assert strata[1].share > 1 / 501
    drawn = draw_kept(rows, strata, "s", 501)
    (lone,) = (item for item in drawn if item.place == 500)
    assert lone.weight < lone.cap <= 1 / EVEN_SHARE + 1e-9
