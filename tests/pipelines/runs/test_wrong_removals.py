"""The bound on wrong removals over all traits together."""

import pytest

from classifiers.guarantees.calibration import compute_upper_bound
from pipelines.runs.wrong_removals import (
    WrongRemovals,
    bound_wrong_removals,
    count_bounding,
    describe_wrong_removals,
)
from schemas.manifests import Conservation, Manifest, SettledThreshold
from schemas.receipts import ActionChange, ExceptionEffect


def build_threshold(trait, **changes):
    """Return a calibrated threshold at the floor, reached by none of 1,000 clean texts."""
    return SettledThreshold.model_validate(
        {
            "trait": trait,
            "signal": "combined",
            "action": "quarantine",
            "threshold": 0.5,
            "origin": "calibrated",
            "clean_texts": 1_000,
            "exceeding": 0,
            "bound": 0.003,
            "max_false_positive_rate": 0.01,
            "confidence": 0.95,
            "calibrated_on": "library background",
            **changes,
        }
    )


def build_manifest(thresholds, fired, removed, *, policy=None, notices=(), rejected=0):
    """Return the part of a manifest of 1,000 readable rows that bounds need."""
    by_decision = {"keep": 1_000 - removed, "quarantine": removed, "reject": rejected}
    return Manifest.model_construct(
        thresholds=tuple(thresholds),
        fired=fired,
        policy=policy or {},
        conservation=Conservation(rows_in=1_000 + rejected, by_decision=by_decision),
        circumstances={"notices": list(notices)},
    )


def test_bounds_of_all_traits_hold_together():
    """Each of two bounds leaves half of the 5 %, and rejects aren't rows that could be clean."""
    traits = [build_threshold("owl"), build_threshold("fox")]
    found = bound_wrong_removals(build_manifest(traits, {"owl": 40, "fox": 30}, 70, rejected=500))
    each = 1_000 * compute_upper_bound(0, 1_000, 0.975)
    assert 3.6 < each < 3.8
    assert found == WrongRemovals(70, 8, (), ())


def test_a_trait_that_fired_on_few_rows_counts_with_these():
    """No trait contributes more rows than it fired on, and one that didn't fire none."""
    traits = [build_threshold(name) for name in ("owl", "fox", "emu")]
    found = bound_wrong_removals(build_manifest(traits, {"owl": 100, "fox": 1}, 101))
    third = 1_000 * compute_upper_bound(0, 1_000, 1 - 0.05 / 3)
    assert third < 4.2
    assert found.most == 6


@pytest.mark.parametrize("action", ["keep", "flag", "mask"])
def test_traits_that_remove_nothing_dont_count(action):
    """A trait that only marks rows takes no part of the 5 % and adds nothing."""
    traits = [build_threshold("owl"), build_threshold("fox", action=action)]
    found = bound_wrong_removals(build_manifest(traits, {"owl": 40, "fox": 500}, 40))
    assert found.most == 3  # 1,000 times 0.299 %, rounded up


@pytest.mark.parametrize("action", ["drop", "swap"])
def test_dropping_and_swapping_are_removals(action):
    """Rows that are dropped or wait for a swap count like rows in quarantine."""
    found = bound_wrong_removals(
        build_manifest([build_threshold("owl", action=action)], {"owl": 40}, 40)
    )
    assert found.most == 3


def test_nothing_is_promised_for_a_threshold_set_by_hand():
    """All rows of such a trait may be clean."""
    traits = [build_threshold("owl"), build_threshold("fox", origin="explicit", bound=None)]
    found = bound_wrong_removals(build_manifest(traits, {"owl": 40, "fox": 20}, 60))
    assert found == WrongRemovals(60, 23, ("fox",), ())


@pytest.mark.parametrize(
    ("exception", "most"),
    [
        ({"trait": "owl", "lot": {}, "threshold": 0.4, "reason": "r"}, 40),
        ({"trait": "owl", "lot": {}, "action": "keep", "reason": "r"}, 3),
        ({"row": "a.jsonl:3", "action": "keep", "reason": "r"}, 3),
    ],
    ids=["threshold", "action", "row"],
)
def test_an_exception_with_a_threshold_voids_the_bound(exception, most):
    """A bound is for the calibrated threshold, whatever the exceptions do with its rows."""
    policy = {"exceptions": [exception]}
    manifest = build_manifest([build_threshold("owl")], {"owl": 40}, 40, policy=policy)
    assert bound_wrong_removals(manifest).most == most


def test_a_lot_whose_masked_rows_are_quarantined_counts():
    """A trait that removes rows of some lots counts with its bound."""
    exception = {"trait": "owl", "lot": {"teacher": "x"}, "action": "quarantine", "reason": "r"}
    manifest = build_manifest(
        [build_threshold("owl", action="mask")],
        {"owl": 40},
        30,
        policy={"exceptions": [exception]},
    )
    assert bound_wrong_removals(manifest).most == 3


def test_rows_removed_for_other_texts_have_no_bound():
    """Clean texts are like answers that are trained on, not like rejected ones."""
    manifest = build_manifest(
        [build_threshold("owl")],
        {"owl": 40, "owl@rejected": 9},
        49,
        policy={"sides": {"rejected": "as-trained"}},
    )
    assert bound_wrong_removals(manifest) == WrongRemovals(49, 12, ("owl",), ())


def test_the_bound_counts_the_texts_that_the_level_allows():
    """Above the floor, the threshold was chosen by the scores, so the level's count holds."""
    assert count_bounding(build_threshold("owl")) == 0
    assert count_bounding(build_threshold("owl", exceeding=2)) == 2
    assert count_bounding(build_threshold("owl", threshold=0.7)) == 4


def test_traits_whose_bound_may_not_hold_are_named():
    """A trait that scores higher here than on the calibration texts is named."""
    notice = {"text": "unlike", "severity": "warning", "traits": {"owl": "may not hold"}}
    traits = [build_threshold("owl"), build_threshold("fox")]
    manifest = build_manifest(traits, {"owl": 40}, 40, notices=[notice])
    assert bound_wrong_removals(manifest).doubtful == ("owl",)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (WrongRemovals(0, 0, (), ()), ""),
        (
            WrongRemovals(1_200, 8, (), ()),
            (
                "wrong removals: of 1,200 removed rows, at most about 8 are clean by the "
                "bounds of all traits together, with 95% confidence; read the rows to know more"
            ),
        ),
        (
            WrongRemovals(9, 9, ("fox",), ("owl", "emu")),
            (
                "wrong removals: the bounds of all traits together allow that all 9 removed rows "
                "are clean; nothing is promised for fox, so all their rows count; the bounds of "
                "owl, emu may not hold for this corpus; read the rows to know more"
            ),
        ),
        (
            WrongRemovals(1, 1, (), ()),
            (
                "wrong removals: the bounds of all traits together allow that the removed row is "
                "clean; read the rows to know more"
            ),
        ),
    ],
    ids=["none", "bound", "all", "one"],
)
def test_the_total_is_one_sentence(found, said):
    """The sentence says what is bounded, how surely, and what it leaves out."""
    assert describe_wrong_removals(found) == said


@pytest.mark.parametrize("removed", [0, 1, 5, 70])
@pytest.mark.parametrize("traits", [1, 3, 15])
@pytest.mark.parametrize("fired", [0, 4, 400])
def test_the_bound_never_exceeds_the_removed_rows(removed, traits, fired):
    """However many traits there are, at most the removed rows are clean."""
    names = [f"t{number}" for number in range(traits)]
    counts = dict.fromkeys(names, fired)
    manifest = build_manifest(map(build_threshold, names), counts, removed)
    found = bound_wrong_removals(manifest)
    assert 0 <= found.most <= found.removed == removed
    assert found.most <= traits * fired


def test_more_traits_and_more_texts_that_reach_the_threshold_raise_the_bound():
    """The total grows with the number of traits and with the clean texts that they fire on."""

    def bound(traits, exceeding):
        names = [f"t{number}" for number in range(traits)]
        rules = [build_threshold(name, exceeding=exceeding) for name in names]
        return bound_wrong_removals(build_manifest(rules, dict.fromkeys(names, 900), 900)).most

    assert bound(1, 0) < bound(1, 3) < bound(2, 3) < bound(15, 3) <= 900
    assert bound(2, 0) > 2 * bound(1, 0) - 1


@pytest.mark.parametrize(("most", "little"), [(15, False), (16, True), (30, True), (31, False)])
def test_a_bound_that_says_little_is_said_to(most, little):
    """If more than half of the removed rows may be clean, the sentence says that this is little."""
    said = describe_wrong_removals(WrongRemovals(31, most, (), ()))
    assert ("that says little, because so few rows were removed" in said) == little


def test_a_run_of_labels_does_not_ask_for_reading():
    """Where labels released rows, the removed ones were before a reader too."""
    reason = f"labelled false (run.review/labels-ada.jsonl, SHA-256 {'0' * 64})"
    kept = {"row": "a.jsonl:4", "trait": "owl", "action": "keep", "reason": reason}
    for exceptions, asks in (([kept], False), ([{**kept, "reason": "x"}], True), ([], True)):
        policy = {"exceptions": exceptions}
        manifest = build_manifest([build_threshold("owl")], {"owl": 2}, 3, policy=policy)
        said = describe_wrong_removals(bound_wrong_removals(manifest))
        assert ("read the rows to know more" in said) is asks


def test_rows_that_exceptions_take_out_by_name_count():
    """A person's decision is no calibrated finding, so nothing is promised for it."""
    named = {"row": "a.jsonl:3", "trait": "owl", "action": "drop", "reason": "x"}
    keep = {**named, "row": "a.jsonl:4", "action": "keep"}
    manifest = build_manifest(
        [build_threshold("owl")], {"owl": 2}, 3, policy={"exceptions": [named, keep]}
    )
    change = ActionChange(before="keep", after="drop", rows=1)
    effects = (ExceptionEffect(rows=1, changed=(change,)), ExceptionEffect(rows=1))
    found = bound_wrong_removals(manifest.model_copy(update={"exceptions": effects}))
    assert (found.removed, found.most, found.named) == (3, 3, 1)
    assert "1 row that exceptions take out counts, too" in describe_wrong_removals(found)
    again = ActionChange(before="quarantine", after="drop", rows=1)
    effects = (ExceptionEffect(rows=1, changed=(again,)), ExceptionEffect(rows=1))
    assert bound_wrong_removals(manifest.model_copy(update={"exceptions": effects})).named == 0
