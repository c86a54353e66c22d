"""What the answers about an audit's sample state about a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from classifiers.guarantees.agreement import compute_alpha, compute_fleiss_kappa, compute_kappa
from classifiers.guarantees.audit_bounds import (
    SENSITIVITY_SHARE,
    Draws,
    adjust_bound,
    bound_audit,
    bound_audit_below,
    draw_by_weight,
    draw_evenly,
    draw_with_replacement,
)
from classifiers.guarantees.prevalence import (
    Counted,
    Prevalence,
    ReadErrors,
    RemovedShare,
    correct_after_removal,
    correct_prevalence,
    estimate_with_draws,
)
from pipelines.certifying.answers import AuditAnswer, ReadItem, digest_answers, match_answers
from pipelines.version import name_code
from schemas.certificates import (
    COVERT,
    MASKS_COUNT_AS_REMOVED,
    TOGETHER,
    Agreement,
    AuditSample,
    Certificate,
    Prevalences,
    ReadPoint,
    Sensitivity,
    ShareBound,
    ShareEstimate,
    TraitStatement,
)
from schemas.manifests import Manifest
from schemas.notices import choose_form, format_count
from schemas.shares import round_down, round_up

DECIMALS = 6
"""How many decimals of a share are stated. Bounds are rounded outwards."""

LEAST_ERRORS = 10
"""How many read rows must differ from the filter's findings before a normal interval is stated."""

CURVE = 24
"""How many points the drawing of a shrinking bound has."""


def state(
    manifest: Manifest,
    sample: AuditSample,
    answers: Sequence[AuditAnswer],
    at_most: float | None = None,
) -> Certificate:
    """State what the answers show about the run, sealed with digests of all that is behind it.

    `at_most` is a target that wasn't set with the draw.
    """
    target = at_most if sample.at_most is None else sample.at_most
    together = _state_trait(manifest, sample, answers, None)
    several = sample.traits if len(sample.traits) > 1 else ()
    traits = [_state_trait(manifest, sample, answers, trait) for trait in several]
    masked = None if sample.masked_by is None else manifest.notes.masked
    has_seeded = bool(match_answers(sample, answers, "seeded"))
    if not traits:
        groups = [match_answers(sample, answers, kind) for kind in ("kept", "removed")]
        traits = [_add_correction(manifest, sample, groups, together)]
        together = traits[0].model_copy(update={"trait": None})
    return Certificate(
        code=name_code(),
        run_id=manifest.run_id,
        manifest=manifest.digest,
        sample=sample.digest,
        labels=digest_answers(answers),
        risk=sample.risk,
        at_most=target,
        raters=tuple(sorted({answer.rater for answer in answers})),
        masked=masked,
        together=together,
        traits=tuple(traits),
        limits=tuple(list_limits(sample, has_seeded, target, masked)),
        unread=sample.unread,
    ).seal()


def _add_correction(
    manifest: Manifest,
    sample: AuditSample,
    groups: Sequence[Sequence[ReadItem]],
    found: TraitStatement,
) -> TraitStatement:
    """Return the statement about all traits as that about the only one."""
    (trait,) = sample.traits
    before, after = _correct(manifest, sample, groups, trait)
    parts = {"before": (found.before, before), "after": (found.after, after)}
    corrected = {
        name: part and part.model_copy(update={"rogan_gladen": own})
        for name, (part, own) in parts.items()
    }
    return found.model_copy(update={"trait": trait, **corrected})


def _state_trait(
    manifest: Manifest, sample: AuditSample, answers: Sequence[AuditAnswer], trait: str | None
) -> TraitStatement:
    kept = match_answers(sample, answers, "kept")
    removed = match_answers(sample, answers, "removed")
    seeded = [
        item
        for item in match_answers(sample, answers, "seeded")
        if trait in (None, item.item.trait)
    ]
    found = np.array([item.counts_as(trait, doubtful=False) for item in seeded], np.float64)
    draws = _draw_kept(kept, trait, sample, doubtful=True)
    before, after = _estimate(manifest, sample, kept, removed, trait)
    return TraitStatement(
        trait=trait,
        residual=_bound_residual(draws, kept, trait, found, sample),
        sensitivity=_describe_sensitivity(found, sample.risk) if seeded else None,
        clean_removed=_bound_clean(removed, trait, sample),
        before=before,
        after=after,
        agreement=measure_agreement(answers, trait),
        curve=tuple(_trace(draws, kept, seeded, found, sample.risk)),
    )


def trace_residual(
    sample: AuditSample, answers: Sequence[AuditAnswer]
) -> tuple[ShareBound, tuple[ReadPoint, ...]]:
    """Return the bound for all traits of an audit together, and how it shrank as rows were read."""
    kept = match_answers(sample, answers, "kept")
    seeded = match_answers(sample, answers, "seeded")
    found = np.array([item.counts_as(None, doubtful=False) for item in seeded], np.float64)
    draws = _draw_kept(kept, None, sample, doubtful=True)
    curve = tuple(_trace(draws, kept, seeded, found, sample.risk))
    return _bound_residual(draws, kept, None, found, sample), curve


def bound_at_best(
    sample: AuditSample,
    kept: int,
    seeded: int,
    shown: int = 0,
    answers: Sequence[AuditAnswer] = (),
) -> ShareBound:
    """Bound the share if the first kept rows of a sample show nothing and raters miss nothing.

    `kept` and `seeded` count items that are read. No labels of these items give a lower bound. If
    `shown` rows show a trait, these are the ones with the largest weights, the first of them
    where weights are equal, which raises the bound most. Items that have `answers` count by these.
    """
    known = {item.item.id: item for item in match_answers(sample, answers, "kept")}
    texts = match_answers(sample, answers, "seeded")[:seeded]
    found = np.ones(seeded)
    found[: len(texts)] = [item.counts_as(None, doubtful=False) for item in texts]
    items = [item for item in sample.items if item.kind == "kept"][:kept]
    heaviest = sorted(range(len(items)), key=lambda turn: -items[turn].weight)[:shown]
    said = [sample.traits[:1] if turn in heaviest else () for turn in range(len(items))]
    read = [
        known.get(item.id, ReadItem(item, {"": AuditAnswer(item.id, "", traits)}))
        for item, traits in zip(items, said, strict=True)
    ]
    draws = _draw_kept(read, None, sample, doubtful=True)
    return _bound_residual(draws, read, None, found, sample)


def _draw_kept(
    kept: Sequence[ReadItem], trait: str | None, sample: AuditSample, *, doubtful: bool
) -> Draws:
    values = np.array([item.counts_as(trait, doubtful) for item in kept], np.float64)
    weights = np.array([item.item.weight for item in kept])
    caps = np.array([item.item.cap for item in kept])
    return draw_by_weight(values, weights, caps, sample.kept)


def _bound_residual(
    draws: Draws,
    kept: Sequence[ReadItem],
    trait: str | None,
    found: np.ndarray,
    sample: AuditSample,
) -> ShareBound:
    adjusted = adjust_bound(draws, found, sample.risk).adjusted if len(found) else None
    return ShareBound(
        rows=sample.kept,
        read=len(kept),
        counted=int(draws.values.sum()),
        unsure=sum(item.is_doubtful(trait) for item in kept),
        estimate=_mean(draws),
        bound=raise_bound(bound_audit(draws, sample.risk)[0]),
        adjusted=None if adjusted is None else raise_bound(adjusted),
    )


def _describe_sensitivity(found: np.ndarray, risk: float) -> Sensitivity:
    lowest = bound_audit_below(draw_with_replacement(found), risk * SENSITIVITY_SHARE)
    return Sensitivity(
        read=len(found), found=int(found.sum()), lowest=round_down(max(lowest, 0.0), DECIMALS)
    )


def _bound_clean(removed: Sequence[ReadItem], trait: str | None, sample: AuditSample) -> ShareBound:
    """Bound the share of clean rows among those that the trait's own action removed.

    A sample from before doesn't say whose action it was, so all removed rows count on which the
    trait fired.
    """
    old = sample.removed_by is None
    causes = [item.item.fired if old else item.item.removed_by for item in removed]
    own = [
        item
        for item, cause in zip(removed, causes, strict=True)
        if (trait in cause if trait else cause)
    ]
    clean = np.array([not item.counts_as(trait, doubtful=False) for item in own], np.float64)
    rows = (sample.removed_by or sample.fired_removed)[trait or TOGETHER]
    draws = draw_evenly(clean, rows)
    return ShareBound(
        rows=rows,
        read=len(own),
        counted=int(clean.sum()),
        unsure=sum(item.is_doubtful(trait) for item in own),
        estimate=_mean(draws),
        bound=raise_bound(bound_audit(draws, sample.risk)[0]),
    )


def _estimate(
    manifest: Manifest,
    sample: AuditSample,
    kept: Sequence[ReadItem],
    removed: Sequence[ReadItem],
    trait: str | None,
) -> tuple[Prevalences, Prevalences]:
    """Return the share of rows with the trait among all rows that the run holds, and the kept."""
    parts = []
    for items, rows in ((kept, sample.kept), (removed, sample.removed)):
        high, low = (
            _draw_kept(items, trait, sample, doubtful=doubtful)
            if items is kept
            else draw_evenly(
                np.array([item.counts_as(trait, doubtful) for item in items], np.float64), rows
            )
            for doubtful in (True, False)
        )
        parts.append((rows / (sample.kept + sample.removed), low, high))
    corrected = _correct(manifest, sample, (kept, removed), trait)
    is_hidden = bool((sample.masked_by or {}).get(trait or TOGETHER))  # raters see no masked text
    whole = Prevalences(
        rogan_gladen=corrected[0],
        predictions=None if is_hidden else _predict(sample, (kept, removed), trait),
        audit=None if is_hidden else _bracket(parts, sample.risk / 4),
    )
    rest = Prevalences(
        rogan_gladen=corrected[1],
        predictions=_predict(sample, (kept,), trait),
        audit=_bracket([(1.0, *parts[0][1:])], sample.risk / 2),
    )
    return whole, rest


def _bracket(parts: Sequence[tuple[float, Draws, Draws]], risk: float) -> ShareEstimate:
    """Return a share's estimate and bounds, each bound of each part at the same risk."""
    low = sum(share * bound_audit_below(below, risk) for share, below, _ in parts if share)
    high = sum(share * float(bound_audit(above, risk)[0]) for share, _, above in parts if share)
    estimate = sum(share * _mean(above) for share, _, above in parts if share)
    return _tidy(Prevalence(min(max(estimate, low), high), low, high))


def _predict(
    sample: AuditSample, groups: Sequence[Sequence[ReadItem]], trait: str | None
) -> ShareEstimate | None:
    """Estimate a share from the filter's findings on all rows and raters' answers on some.

    The share can't be below that of the rows in which raters saw the trait, so the estimate and
    its interval are cut off there. There is no estimate if the whole interval is below.
    """
    name, parts, differing = trait or TOGETHER, [], 0
    rows = (sample.kept, sample.removed)[: len(groups)]
    fired = (sample.fired_kept[name], sample.fired_removed[name])[: len(groups)]
    for items, size in zip(groups, rows, strict=True):
        if not size:
            continue
        if len(items) < 2:
            return None
        errors = np.array(
            [
                item.counts_as(trait, doubtful=True)
                - float(trait in item.item.fired if trait else bool(item.item.fired))
                for item in items
            ]
        )
        differing += int((errors != 0).sum())
        weights = [item.item.weight for item in items]
        own = draw_by_weight(errors, np.array(weights), np.array(weights), size)
        if items[0].item.kind == "removed":
            own = draw_evenly(errors, size)
        parts.append(ReadErrors(size / sum(rows), own.estimates))
    if differing < LEAST_ERRORS:
        return None
    found = estimate_with_draws(sum(fired) / sum(rows), parts, 1 - sample.risk)
    return _cut_off(found, groups, sum(rows), trait)


def _cut_off(
    found: Prevalence, groups: Sequence[Sequence[ReadItem]], rows: int, trait: str | None
) -> ShareEstimate | None:
    """Cut a share off at that of the rows in which raters saw the trait, which is known."""
    shown = sum(item.counts_as(trait, doubtful=False) for items in groups for item in items)
    least = shown / rows if rows else 0.0
    if found.high < least:
        return None
    estimate, low = max(found.estimate, least), max(found.low, least)
    return _tidy(found._replace(estimate=estimate, low=low))


def _correct(
    manifest: Manifest,
    sample: AuditSample,
    groups: Sequence[Sequence[ReadItem]],
    trait: str | None,
) -> tuple[ShareEstimate | None, ShareEstimate | None]:
    """Correct the share of rows on which a trait fired, before and after the removal.

    `groups` are the read rows, first the kept ones. Neither share is below what was read.
    """
    rule = next((item for item in manifest.thresholds if item.trait == trait), None)
    if rule is None or not rule.positives or not rule.clean_texts:
        return None, None
    kept, removed = sample.fired_kept[rule.trait], sample.fired_removed[rule.trait]
    traited = Counted(rule.positives_found, rule.positives)
    rows, confidence = sample.kept + sample.removed, 1 - sample.risk
    try:
        before = correct_prevalence(
            Counted(kept + removed, rows),
            traited,
            Counted(rule.exceeding, rule.clean_texts),
            confidence,
        )
    except ValueError:  # it fires on clean texts as often as on the card's positives
        return None, None
    gone = removed + (sample.masked_by or {}).get(rule.trait, 0)
    share = gone / (kept + removed) if kept + removed else 0.0
    after = correct_after_removal(
        before, traited, RemovedShare(rows, sample.kept, share), confidence
    )
    return (
        _cut_off(before, groups, rows, trait),
        _cut_off(after, groups[:1], sample.kept, trait),
    )


def measure_agreement(answers: Sequence[AuditAnswer], trait: str | None) -> Agreement | None:
    """Measure how raters agree about a trait, or return None if only one has answered."""
    by_item: dict[str, dict[str, str]] = {}
    for answer in answers:
        by_item.setdefault(answer.id, {})[answer.rater] = answer.says(trait)
    raters = tuple(sorted({answer.rater for answer in answers}))
    shared = [item for item in by_item.values() if len(item) > 1]
    if len(raters) < 2:
        return None
    kappa = None
    if len(raters) == 2:
        kappa = compute_kappa(*([item[name] for item in shared] for name in raters))
    elif shared and all(len(item) == len(raters) for item in shared):
        labels = ("yes", "no", "unsure")
        counts = [[list(item.values()).count(label) for label in labels] for item in shared]
        kappa = compute_fleiss_kappa(np.array(counts))
    alpha = compute_alpha(shared)
    return Agreement(
        raters=raters,
        items=len(shared),
        kappa=None if kappa is None else round(kappa, DECIMALS),
        alpha=None if alpha is None else round(alpha, DECIMALS),
    )


def _trace(
    draws: Draws,
    kept: Sequence[ReadItem],
    seeded: Sequence[ReadItem],
    found: np.ndarray,
    risk: float,
) -> Iterator[ReadPoint]:
    """Yield the bounds after some numbers of kept rows."""
    if not kept:
        return
    counts = np.unique(np.linspace(1, len(kept), CURVE).round().astype(int)).tolist()
    seen = bound_audit(draws, risk, counts)
    places = [item.item.id for item in seeded]
    finds = draw_with_replacement(found).flip()
    known = [sum(place < kept[count - 1].item.id for place in places) for count in counts]
    own = sorted({count for count in known if count})
    lowest = dict(zip(own, 1 - bound_audit(finds, risk * SENSITIVITY_SHARE, own), strict=False))
    tighter = bound_audit(draws, risk * (1 - SENSITIVITY_SHARE), counts) if own else seen
    for number, count in enumerate(counts):
        share = lowest.get(known[number], 0.0)
        adjusted = min(1.0, float(tighter[number]) / share) if share > 0 else 1.0
        yield ReadPoint(
            read=count,
            bound=raise_bound(seen[number]),
            adjusted=raise_bound(adjusted) if own else None,
        )


def list_limits(
    sample: AuditSample,
    has_seeded: bool,
    target: float | None,
    masked: int | None,
    is_carried: bool = False,
) -> Iterator[str]:
    """Yield what the statements about a sample leave open.

    `has_seeded` says whether seeded texts were read, and `masked` counts the kept rows with masks,
    which raters of the sample didn't see if the statements are carried over to another run.
    """
    yield COVERT
    if masked:
        verb = choose_form(masked, "has", "have")
        seen = "" if is_carried else ", which raters saw struck out"
        yield (
            f"{format_count(masked, 'kept row')} {verb} masked passages{seen}. "
            f"{MASKS_COUNT_AS_REMOVED} If the masks aren't applied, the bound doesn't hold."
        )
    if target != sample.at_most:
        yield "The target was set after the rows were drawn."
    if not has_seeded:
        yield (
            "No seeded text was read, so the raters' sensitivity isn't known: the bounds are about "
            "what raters see, and not about what they miss."
        )
    else:
        yield (
            "The raters' sensitivity was measured on seeded texts. Rows that show a trait less "
            "clearly than these are missed more often."
        )
    if sample.unread:
        yield (
            f"{format_count(sample.unread, 'dropped row')} can't be read, because the run doesn't "
            "hold their text; nothing is stated about them, and the shares before the filter leave "
            "them out."
        )
    if sample.excluded:
        yield (
            f"{format_count(len(sample.excluded), 'row')} whose labels helped to set a threshold "
            "weren't drawn; nothing is stated about them."
        )
    if sample.pool and not sample.shows_prompts:
        yield (
            f"Raters saw answers without prompts, because {sample.describe_bare_texts()} have none."
        )


def _mean(draws: Draws) -> float:
    """Return the mean of all read rows by their weights, or 0 without any (Hajek 1971)."""
    if not draws.values.size:
        return 0.0
    weights = draws.weights / draws.left
    return round(float((weights * draws.values).sum() / weights.sum()), DECIMALS)


def raise_bound(value: float) -> float:
    """Round a bound up to the stated decimals, and to at most 1."""
    return min(1.0, round_up(float(value), DECIMALS))


def _tidy(found: Prevalence) -> ShareEstimate:
    return ShareEstimate(
        estimate=round(float(found.estimate), DECIMALS),
        low=round_down(max(float(found.low), 0.0), DECIMALS),
        high=raise_bound(found.high),
    )
