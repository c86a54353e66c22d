"""What labels state: bounds, shares before and after, agreement, curves and limits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from classifiers.guarantees.audit_bounds import adjust_bound, bound_audit, draw_by_weight
from pipelines.certifying.answers import AuditAnswer, match_answers
from pipelines.certifying.statements import (
    LEAST_ERRORS,
    _predict,
    bound_at_best,
    measure_agreement,
    state,
)
from schemas.certificates import COVERT, AuditSample, Certificate
from tests.support.certificates import Rule, draw_small, tell_truth


@pytest.fixture
def sample(run, tmp_path) -> AuditSample:
    """Draw all rows of the small run, with twelve seeded texts."""
    return draw_small(run[0], tmp_path, rows=40, seeded=12).sample


def answer(sample: AuditSample, rule: Rule, rater: str = "anna") -> list[AuditAnswer]:
    """Return one rater's answers by a rule, which says None for unsure."""
    found = []
    for item in sample.items:
        said = rule(item)
        shows = None if said is None else (("heron",) if said else ())
        found.append(AuditAnswer(item.id, rater, shows))
    return found


def test_a_whole_audit_without_mistakes_is_exact(run, sample):
    """All 40 rows were read: no kept row shows the heron, and no removed row is clean."""
    found = state(run[1], sample, answer(sample, tell_truth))
    (statement,) = found.traits
    residual = statement.residual
    assert (residual.rows, residual.read, residual.counted, residual.unsure) == (32, 32, 0, 0)
    assert residual.bound == pytest.approx(0, abs=1e-5)
    assert (statement.clean_removed.counted, statement.clean_removed.bound) == (0, 1e-6)
    assert statement.before.audit.estimate == pytest.approx(0.2)
    assert statement.before.audit.low == pytest.approx(0.2, abs=1e-5)
    assert statement.after.audit.high == pytest.approx(0, abs=1e-5)


def test_bounds_are_those_of_the_draws(run, tmp_path):
    """A partial audit has the bound of its weighted draws, rounded up, and the adjusted one."""
    sample = draw_small(run[0], tmp_path, rows=24).sample
    answers = answer(sample, tell_truth)
    residual = state(run[1], sample, answers).together.residual
    kept = match_answers(sample, answers, "kept")
    draws = draw_by_weight(
        np.zeros(len(kept)),
        np.array([item.item.weight for item in kept]),
        np.array([item.item.cap for item in kept]),
        32,
    )
    assert 0 <= residual.bound - bound_audit(draws, 0.05)[0] < 2e-6
    adjusted = adjust_bound(draws, np.ones(6), 0.05).adjusted
    assert residual.adjusted is not None
    assert 0 <= residual.adjusted - adjusted < 2e-6
    assert residual.adjusted > residual.bound


def test_no_labels_give_a_lower_bound_than_the_best_one(run, sample):
    """The best bound is that of labels without a hit and without a miss."""
    best = bound_at_best(sample, kept=32, seeded=12)
    truth = state(run[1], sample, answer(sample, tell_truth)).together
    doubt = state(run[1], sample, answer(sample, lambda item: item.kind == "seeded")).together
    assert best == truth.residual
    assert best.decisive == truth.decisive <= doubt.decisive
    assert bound_at_best(sample, kept=16, seeded=12).decisive > best.decisive


def test_no_single_find_gives_a_higher_bound_than_the_foreseen_one(sample):
    """A foreseen find is in the row that raises the bound most, wherever raters may find one."""
    kept = [item.id for item in sample.items if item.kind == "kept"]
    answers = [
        [AuditAnswer(name, "", sample.traits[:1] if name == found else ()) for name in kept]
        for found in kept
    ]
    bounds = [bound_at_best(sample, len(kept), 12, 0, given).decisive for given in answers]
    assert bound_at_best(sample, len(kept), 12, 1).decisive == max(bounds)


def test_raters_who_miss_half_raise_the_adjusted_bound(run, tmp_path):
    """What raters miss is measured on the seeded texts, and the bound is adjusted for it."""
    sample = draw_small(run[0], tmp_path, rows=24).sample
    seeded = [item.id for item in sample.items if item.kind == "seeded"]
    keen, blind = (
        state(run[1], sample, answer(sample, lambda item, k=known: item.id in k)).together
        for known in (seeded, seeded[:3])
    )
    assert keen.sensitivity is not None
    assert blind.sensitivity is not None
    assert (keen.sensitivity.found, blind.sensitivity.found) == (6, 3)
    assert blind.sensitivity.lowest < keen.sensitivity.lowest
    assert blind.decisive >= keen.decisive
    assert blind.residual.bound == keen.residual.bound


def test_doubt_counts_against_the_claim(run, sample):
    """An unsure rater's kept rows show the trait, removed ones are clean, seeded ones missed."""
    found = state(run[1], sample, answer(sample, lambda item: None)).together
    assert found.residual.counted == found.residual.unsure == 32
    assert found.residual.bound == 1
    assert found.clean_removed.counted == found.clean_removed.unsure == 8
    assert found.sensitivity is not None
    assert (found.sensitivity.found, found.sensitivity.lowest) == (0, 0)
    assert found.residual.adjusted == 1


def test_raters_who_differ_leave_a_doubt(run, sample):
    """If one of two raters sees a trait, the kept row counts as showing it."""
    kept = next(item.id for item in sample.items if item.kind == "kept")
    answers = [
        *answer(sample, tell_truth),
        *answer(sample, lambda item: item.id == kept or tell_truth(item), "bert"),
    ]
    found = state(run[1], sample, sorted(answers))
    assert found.raters == ("anna", "bert")
    assert found.together.residual.counted == found.together.residual.unsure == 1
    assert found.together.agreement is not None
    assert 0.8 < (found.together.agreement.kappa or 0) < 1


def test_an_audit_may_stop_anywhere(run, sample):
    """With fewer labels, every bound is wider, and the certificate says how many were read."""
    answers = answer(sample, tell_truth)
    bounds = [state(run[1], sample, answers[:count]).together for count in (5, 15, 30, 52)]
    assert sorted((item.residual.bound for item in bounds), reverse=True) == [
        item.residual.bound for item in bounds
    ]
    assert [item.residual.read for item in bounds] == sorted(
        sum(item.kind == "kept" for item in sample.items[:count]) for count in (5, 15, 30, 52)
    )


def test_the_curve_shrinks_to_the_bound(run, sample):
    """The curve ends at the bound, never rises, and starts with the first row."""
    found = state(run[1], sample, answer(sample, tell_truth)).together
    assert found.curve[0].read == 1
    assert found.curve[-1].read == 32
    seen = [point.bound for point in found.curve]
    assert seen == sorted(seen, reverse=True)
    assert seen[-1] == found.residual.bound
    assert found.curve[-1].adjusted == pytest.approx(found.residual.adjusted, abs=1e-5)


def test_without_seeded_texts_nothing_is_adjusted(run, tmp_path):
    """The certificate says that the bound is about what raters see."""
    sample = draw_small(run[0], tmp_path, seeded=0).sample
    found = state(run[1], sample, answer(sample, tell_truth))
    assert found.together.residual.adjusted is None
    assert found.together.sensitivity is None
    assert {point.adjusted for point in found.together.curve} == {None}
    assert any("sensitivity isn't known" in limit for limit in found.limits)


def test_covert_transfer_is_never_excluded(run, sample):
    """Every certificate has the sentence."""
    assert state(run[1], sample, answer(sample, tell_truth)).limits[0] == COVERT


@pytest.mark.parametrize("target", [None, 0.001, 0.9])
def test_a_late_target_is_called_late(run, sample, target):
    """A target that wasn't set with the draw is stated as such."""
    found = state(run[1], sample, answer(sample, tell_truth), target)
    assert found.at_most == target
    assert ("The target was set after the rows were drawn." in found.limits) == (target is not None)
    assert found.met is (None if target is None else found.together.decisive <= target)


def test_a_target_of_the_draw_counts(run, tmp_path):
    """A target that was set with the draw can't be replaced."""
    sample = draw_small(run[0], tmp_path, at_most=0.4).sample
    found = state(run[1], sample, answer(sample, tell_truth), 0.9)
    assert found.at_most == 0.4


def test_corrected_findings_need_positives_with_scores(run, sample):
    """The heron's card has no positives; with some, the filter's findings are corrected."""
    answers = answer(sample, tell_truth)
    assert state(run[1], sample, answers).traits[0].before.rogan_gladen is None
    rule = (
        run[1]
        .thresholds[0]
        .model_copy(
            update={"positives": 50, "positives_found": 40, "clean_texts": 500, "exceeding": 2}
        )
    )
    manifest = run[1].model_copy(update={"thresholds": (rule,)})
    (found,) = state(manifest, sample, answers).traits
    before, after = found.before.rogan_gladen, found.after.rogan_gladen
    assert before is not None
    assert after is not None
    assert before.estimate == pytest.approx((8 / 40 - 2 / 500) / (40 / 50 - 2 / 500), abs=1e-6)
    assert after.estimate == pytest.approx(before.estimate * 0.2 * 40 / 32, abs=1e-5)
    assert before.low <= before.estimate <= before.high


def test_corrected_findings_are_not_below_what_was_read(run, sample):
    """The filter's findings can't say that fewer rows show the trait than raters saw."""
    update = {"positives": 500, "positives_found": 500, "clean_texts": 500, "exceeding": 2}
    rule = run[1].thresholds[0].model_copy(update=update)
    manifest = run[1].model_copy(update={"thresholds": (rule,)})
    kept = [item.id for item in sample.items if item.kind == "kept"][:2]
    answers = answer(sample, lambda item: item.id in kept or tell_truth(item))
    (found,) = state(manifest, sample, answers).traits
    before, after = found.before.rogan_gladen, found.after.rogan_gladen
    assert before.estimate == pytest.approx(10 / 40)
    assert before.estimate >= before.low >= 10 / 40 - 1e-6
    assert after is None or after.low >= 2 / 32 - 1e-6


def test_a_filter_that_says_nothing_is_not_corrected(run, sample):
    """If clean texts are found as often as positives, there is no correction."""
    rule = (
        run[1]
        .thresholds[0]
        .model_copy(
            update={"positives": 50, "positives_found": 1, "clean_texts": 50, "exceeding": 40}
        )
    )
    manifest = run[1].model_copy(update={"thresholds": (rule,)})
    found = state(manifest, sample, answer(sample, tell_truth)).traits[0]
    assert found.before.rogan_gladen is found.after.rogan_gladen is None


def test_predictions_need_enough_mistakes(run, sample):
    """A normal interval is only stated if the filter was wrong on enough of the read rows."""
    assert state(run[1], sample, answer(sample, tell_truth)).together.before.predictions is None
    kept = [item.id for item in sample.items if item.kind == "kept"][::2]
    assert len(kept) > LEAST_ERRORS
    answers = answer(sample, lambda item: item.id in kept or tell_truth(item))
    found = state(run[1], sample, answers).together
    assert found.before.predictions is not None
    assert found.before.predictions.low <= (8 + len(kept)) / 40 <= found.before.predictions.high
    assert found.after.predictions is not None
    assert found.after.predictions.low <= len(kept) / 32 <= found.after.predictions.high


def test_predictions_are_not_below_what_was_read(sample):
    """The rows in which raters saw the trait are a part that is known."""
    kept = [item.id for item in sample.items if item.kind == "kept"][::2]
    answers = answer(sample, lambda item: item.id in kept or tell_truth(item))
    groups = [match_answers(sample, answers, kind) for kind in ("kept", "removed")]
    found = _predict(sample, groups, None)
    assert found is not None
    assert found.estimate >= found.low >= (8 + len(kept)) / 40 - 1e-6
    less = {name: {"heron": -99, "*": -99} for name in ("fired_kept", "fired_removed")}
    assert _predict(sample.model_copy(update=less), groups, None) is None


def test_labels_give_no_share_before_masks(run, sample):
    """Raters didn't see masked text, so a share from their labels would be too low."""
    hidden = sample.model_copy(update={"masked_by": {"heron": 3, "*": 3}})
    answers = answer(sample, tell_truth)
    found, whole = (state(run[1], item, answers).together for item in (hidden, sample))
    assert found.before.audit is found.before.predictions is None
    assert found.is_hidden
    assert not whole.is_hidden
    assert found.after == whole.after
    assert found.before.rogan_gladen == whole.before.rogan_gladen


def test_agreement_is_that_of_scikit_learn():
    """Two raters have Cohen's kappa of the shared items."""
    said = [("y", "y"), ("y", "n"), ("n", "n"), ("n", "n"), ("u", "n"), ("y", "y")]
    shows = {"y": ("heron",), "n": (), "u": None}
    answers = [
        AuditAnswer(f"{number:05d}", rater, shows[label])
        for number, pair in enumerate(said)
        for rater, label in zip("ab", pair, strict=True)
    ]
    found = measure_agreement([*answers, AuditAnswer("00099", "a", ())], "heron")
    assert found is not None
    assert found.items == len(said)
    assert found.kappa == pytest.approx(cohen_kappa_score(*zip(*said, strict=True)), abs=1e-6)
    assert found.alpha is not None


def test_one_rater_has_no_agreement():
    """Agreement needs two."""
    assert measure_agreement([AuditAnswer("1", "a", ())], None) is None


def test_three_raters_have_fleiss_kappa_if_all_read_everything():
    """With a missing label, only alpha is left."""
    answers = [
        AuditAnswer(str(item), rater, ("heron",) if item % 2 else ())
        for item in range(6)
        for rater in "abc"
    ]
    full, partial = (measure_agreement(part, None) for part in (answers, answers[:-1]))
    assert full is not None
    assert partial is not None
    assert (full.kappa, full.alpha) == (1, 1)
    assert (partial.kappa, partial.alpha) == (None, 1)


def test_what_is_not_covered_is_said(run, sample):
    """Dropped and excluded rows, and hidden prompts, are limits."""
    update = {
        "unread": 3,
        "excluded": (("a.jsonl", 1),),
        "pool": tuple(text.model_copy(update={"has_prompt": False}) for text in sample.pool),
    }
    changed = sample.model_copy(update=update)
    found = state(run[1], changed, answer(sample, tell_truth))
    limits = " ".join(found.limits)
    assert found.unread == 3
    assert "3 dropped rows can't be read" in limits
    assert "the shares before the filter leave them out" in limits
    assert "1 row whose labels helped to set a threshold" in limits
    assert "without prompts" in limits


def test_a_certificate_is_sealed_and_the_same_again(run, sample, tmp_path: Path):
    """The same labels state the same, byte for byte, and digests name what is behind it."""
    answers = answer(sample, tell_truth)
    one, two = (state(run[1], sample, answers) for _ in range(2))
    assert isinstance(one, Certificate)
    assert one.to_bytes() == two.to_bytes()
    assert (one.manifest, one.sample) == (run[1].digest, sample.digest)
    assert one.digest == one.compute_digest()
