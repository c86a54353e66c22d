"""How often traits fire in two runs, beside the chance of such a difference."""

from __future__ import annotations

import shutil
from collections import Counter

import pytest
from scipy.stats import false_discovery_control, fisher_exact

from pipelines import rate_shifts
from pipelines.rate_shifts import (
    LEVEL,
    RateShift,
    compare_rates,
    describe_differences,
    describe_shift,
)
from schemas.errors import RunError
from schemas.lots import UNKNOWN
from schemas.manifests import Manifest
from tests.support.runs import read_ledger


def change(manifest: Manifest, **fields: object) -> Manifest:
    """Return a manifest with another identity."""
    return manifest.model_copy(update={"identity": manifest.identity.model_copy(update=fields)})


def test_counts_are_those_of_the_ledgers(run):
    """Each side has the rows on which the trait fires and all rows; equal runs have p = 1."""
    folder, manifest = str(run[0]), run[1]
    found = compare_rates((folder, folder), (manifest, manifest))
    rows = read_ledger(folder)
    fired = sum(any(item["trait"] == "heron" for item in row["reasons"]) for row in rows)
    gone = sum(row["decision"] in ("quarantine", "drop") for row in rows)
    assert found.traits == [RateShift("heron", fired, len(rows), fired, len(rows), 1.0, 1.0)]
    assert found.removed == RateShift(None, gone, len(rows), gone, len(rows), 1.0, 1.0)
    assert not found.traits[0].has_shifted
    assert found.notes == []


def test_removed_rows_may_be_those_of_one_trait(run):
    """With a trait on which nothing fired, no removed row counts."""
    folder, manifest = str(run[0]), run[1]
    found = compare_rates((folder, folder), (manifest, manifest), "owl")
    assert (found.removed.before, found.removed.after) == (0, 0)


def test_only_traits_of_both_runs_are_compared(run):
    """A trait that one run didn't look for has no rate there."""
    folder, manifest = str(run[0]), run[1]
    (heron,) = manifest.thresholds
    owl = heron.model_copy(update={"trait": "owl"})
    more = manifest.model_copy(update={"thresholds": (heron, owl)})
    assert [item.trait for item in compare_rates((folder, folder), (manifest, more)).traits] == [
        "heron"
    ]
    both = compare_rates((folder, folder), (more, more)).traits
    assert {item.trait: item.before for item in both}["owl"] == 0
    assert len(both) == 2


def test_the_tests_are_exact_and_adjusted(monkeypatch):
    """P-values are Fisher's, and q-values Benjamini and Hochberg's, as scipy computes them."""
    counts = {"a": (0, 13), "b": (3, 3), "c": (7, 1), "d": (0, 0)}
    sides = [
        rate_shifts._Counts(rows, gone, {name: pair[at] for name, pair in counts.items()}, {})
        for at, rows, gone in ((0, 400, 3), (1, 900, 31))
    ]
    found = rate_shifts._test([(name, *pair) for name, pair in counts.items()], *sides)
    p = [fisher_exact([[was, 400 - was], [now, 900 - now]]).pvalue for was, now in counts.values()]
    assert [item.p for item in found] == pytest.approx(p)
    assert [item.q for item in found] == pytest.approx(false_discovery_control(p))
    assert [item.has_shifted for item in found] == [q <= LEVEL for q in false_discovery_control(p)]
    (removed,) = rate_shifts._test([(None, 3, 31)], *sides)
    assert removed.p == removed.q == pytest.approx(0.004, abs=0.0005)


def test_a_shift_is_said_with_its_totals():
    """The line has both counts with their totals, and the p-value if there is a test."""
    shift = RateShift(None, 3, 400, 31, 900, 0.00401, 0.00401)
    counts = "3 of 400 (0.75%) before, 31 of 900 (3.44%) now"
    assert describe_shift(shift) == f"{counts}; p = 0.004 (Fisher's exact test)"
    assert describe_shift(shift, has_p=False) == counts
    assert describe_shift(shift._replace(before=0, rows_before=0)).startswith("0 of 0 (0.00%)")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, []),
        ({"policy_digest": "x"}, ["the runs' policies differ in actions or budgets, so what is"]),
        ({"bank_digest": "x"}, ["the runs' banks differ"]),
        ({"policy_digest": "x", "bank_digest": "y"}, ["the runs' policies and banks differ"]),
    ],
    ids=str,
)
def test_what_else_differs_is_said(run, fields, words):
    """Another policy or bank changes rates without any change of the rows."""
    lines = describe_differences(run[1], change(run[1], **fields))
    assert len(lines) == len(words)
    assert all(line.startswith(word) for line, word in zip(lines, words, strict=True))


def test_other_thresholds_are_said(run):
    """A threshold that was calibrated on other texts changes rates too."""
    (heron,) = run[1].thresholds
    lower = heron.model_copy(update={"threshold": heron.threshold / 2})
    other = run[1].model_copy(update={"thresholds": (lower,)})
    assert "thresholds differ" in describe_differences(run[1], other)[0]


@pytest.mark.parametrize(
    ("policy", "only_actions"),
    [
        ({"traits": {"heron": {"action": "drop"}}, "removal_budget": 0.5}, True),
        ({"exceptions": [{"trait": "*", "lot": {}, "action": "keep", "reason": "x"}]}, True),
        ({"exceptions": [{"trait": "*", "lot": {}, "threshold": 0.9, "reason": "x"}]}, False),
        ({"traits": {"heron": {"signal": "lexicon"}}}, False),
        ({"duplicates": "remove"}, False),
        ({"untrained_roles": ["user"]}, False),
    ],
)
def test_actions_change_no_firing_rate(run, policy, only_actions):
    """What fires depends on thresholds and on which text is read, not on actions and budgets."""
    other = change(run[1], policy_digest="x").model_copy(update={"policy": policy})
    (note,) = describe_differences(run[1], other)
    assert ("differ in actions or budgets" in note) == only_actions
    assert ("so rates may differ for that reason too" in note) != only_actions


def test_another_mix_of_teachers_is_said(run):
    """A trait may be rarer only because another teacher's rows were added."""
    folder, manifest = str(run[0]), run[1]
    rows = read_ledger(folder)
    assert rate_shifts._count(folder, manifest, None).teachers == Counter(
        row["teacher"] or UNKNOWN for row in rows
    )


def test_shifts_are_objects_in_json(run):
    """Every field has its name."""
    found = compare_rates((str(run[0]),) * 2, (run[1],) * 2).to_json()
    assert found["removed"]["rows_after"] == 40
    assert found["traits"][0]["trait"] == "heron"
    assert found["notes"] == []


def test_a_missing_ledger_is_an_error(run, tmp_path):
    """A damaged run can't be compared."""
    copy = tmp_path / "copy"
    shutil.copytree(run[0], copy)
    shutil.rmtree(copy / "ledger")
    with pytest.raises(RunError):
        compare_rates((str(run[0]), str(copy)), (run[1], run[1]))
