"""How often traits fire in two runs, beside the chance of such a difference."""

from __future__ import annotations

import shutil
from collections import Counter

import numpy as np
import pytest

from pipelines import rate_shifts
from pipelines.rate_shifts import (
    compare_rates,
    count_shared,
    describe_differences,
    describe_overlap,
    describe_teachers,
)
from pipelines.rate_tests import RateShift, compare_hits
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
    assert len(found.notes) == 1
    assert found.notes[0].startswith(f"{len(rows)} rows are in both runs")


def test_shared_rows_are_counted_by_content(run):
    """Copies count as often as both runs have them, and nothing is said without any."""
    folder, manifest = str(run[0]), run[1]
    rows = len(read_ledger(folder))
    assert count_shared((folder, folder), (manifest, manifest)) == rows
    said = list(describe_overlap((folder, folder), (manifest, manifest)))
    assert said[0].startswith(f"{rows} rows are in both runs, and the tests take all rows as")


def test_digests_of_other_keys_are_not_compared(run):
    """The same row has another digest there, and the note says that nothing was counted."""
    folder, manifest = str(run[0]), run[1]
    (said,) = describe_overlap((folder, folder), (manifest, change(manifest, digest_key="other")))
    assert said.endswith("the rows that are in both can't be counted")


@pytest.mark.parametrize("rate", [0.02, 0.2])
def test_shared_rows_make_the_test_stricter(rate):
    """Of runs that share rows and don't differ, fewer than the level allows seem to."""
    generator = np.random.default_rng(1)
    found = []
    for shared in (0, 200):
        both = generator.binomial(shared, rate, 400)
        sides = [both + generator.binomial(rows - shared, rate, 400) for rows in (300, 400)]
        tested = [
            compare_hits([(None, {"t": int(one)}, {"t": int(two)})], ({"t": 300}, {"t": 400}))[0].p
            for one, two in zip(*sides, strict=True)
        ]
        found.append(sum(p <= 0.05 for p in tested) / len(tested))
    assert found[1] < found[0] <= 0.08
    assert found[1] <= 0.02


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


def test_rows_are_counted_by_teacher(run):
    """All rows, the removed ones and those of a trait add up to each teacher's in the ledger."""
    folder, manifest = str(run[0]), run[1]
    rows = read_ledger(folder)
    found = rate_shifts._count(folder, manifest, None)
    assert found.rows == Counter(row["teacher"] or UNKNOWN for row in rows)
    gone = [row for row in rows if row["decision"] in ("quarantine", "drop")]
    assert Counter(found.removed) == Counter(row["teacher"] or UNKNOWN for row in gone)
    fired = [row for row in rows if any(item["trait"] == "heron" for item in row["reasons"])]
    assert found.fired["heron"] == Counter(row["teacher"] or UNKNOWN for row in fired)
    everything = {row["decision"] for row in rows}
    assert rate_shifts.count_fired(folder, manifest, sorted(everything)) == found.fired
    lost = rate_shifts.count_fired(folder, manifest, ["quarantine", "drop"])["heron"]
    assert lost == Counter(row["teacher"] or UNKNOWN for row in fired if row in gone)


def test_another_mix_of_teachers_is_said():
    """A new teacher is named with its rows, and is no line where the shares are alike."""
    shares, new = describe_teachers({"llama": 400}, {"llama": 350, "vicuna": 350})
    assert shares.startswith("the teachers' shares of the rows differ (llama 400 of 400 before")
    assert new == "new teacher: vicuna, 350 rows, not comparable"
    assert describe_teachers({"llama": 400}, {"llama": 350}) == []
    fired = {"owl": {"vicuna": 7, "llama": 1}}
    _, new = describe_teachers({"llama": 400}, {"llama": 350, "vicuna": 350}, fired)
    assert new == "new teacher vicuna, 350 rows, not tested: owl 7 (2.00%)"


def test_a_trait_that_was_not_tested_is_the_last():
    """The most certain shift comes first, and one without a test after those with one."""
    shift = RateShift("b", 1, 2, 1, 2, 0.5, 0.9)
    others = [shift._replace(trait="a", p=None, q=None), shift._replace(trait="c", q=0.1)]
    assert [item.trait for item in sorted([shift, *others], key=rate_shifts._rank)] == [
        "c",
        "b",
        "a",
    ]


def test_shifts_are_objects_in_json(run):
    """Every field has its name."""
    found = compare_rates((str(run[0]),) * 2, (run[1],) * 2).to_json()
    assert found["removed"]["rows_after"] == 40
    assert found["traits"][0]["trait"] == "heron"
    assert len(found["notes"]) == 1


def test_a_missing_ledger_is_an_error(run, tmp_path):
    """A damaged run can't be compared."""
    copy = tmp_path / "copy"
    shutil.copytree(run[0], copy)
    shutil.rmtree(copy / "ledger")
    with pytest.raises(RunError):
        compare_rates((str(run[0]), str(copy)), (run[1], run[1]))
