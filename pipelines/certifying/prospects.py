"""What a drawn sample can show at best, and how many rows its target needs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from classifiers.guarantees.audit_bounds import count_texts_needed
from pipelines.certifying.answers import AuditAnswer
from pipelines.certifying.draws import build_sample, plan_block
from pipelines.certifying.populations import AuditedRows, read_drawn_from
from pipelines.certifying.statements import bound_at_best
from schemas.certificates import MOST_STATED, AuditBlock, AuditSample, Certificate
from schemas.errors import CardError
from schemas.manifests import Manifest
from schemas.notices import format_count
from schemas.shares import format_bound, format_exact

MOST_ROWS = 50_000
"""The largest draw that is tried for a target. Nobody reads so many rows."""


HALF = 0.5
"""The share of seeded texts that raters must be shown to find for a useful bound of a trait."""


def warn_of_dashes(sample: AuditSample) -> str:
    """Say that a draw gives no useful bounds of single traits, or return an empty text if it does.

    Of each trait, raters must read enough seeded texts, whatever the labels say.
    """
    counts = Counter(dict.fromkeys(sample.traits, 0))
    counts.update(item.trait for item in sample.items if item.trait)
    least, needed = min(counts.values()), count_texts_needed(HALF, sample.risk)
    if len(counts) < 2 or not sample.pool or least >= needed:
        return ""
    return (
        f"bounds of single traits won't be of use: {least} to {max(counts.values())} seeded texts "
        f"show each of the {len(counts)} traits, and a bound takes {needed} of each, as with "
        f"--seeded {needed * len(counts)}. The bound for any trait doesn't need them"
    )


def explain_hidden_shares(certificate: Certificate) -> str:
    """Say why labels give no share of some traits before the filter, or return an empty text."""
    hidden = [item.trait or "any trait" for item in certificate.traits if item.is_hidden]
    if len(certificate.traits) > 1 and certificate.together.is_hidden:
        hidden.insert(0, "all traits together")
    if not hidden:
        return ""
    return (
        f"Labels give no share before the filter for {', '.join(hidden)}: raters saw the masked "
        "passages struck out, so their labels don't say what these show. After it, masked text "
        "counts as removed."
    )


def explain_dashes(certificate: Certificate) -> str:
    """Say why single traits have no adjusted bound, and what it takes, or return an empty text."""
    open_ones = [item for item in certificate.traits if not item.is_bounded]
    if len(certificate.traits) < 2 or not open_ones:
        return ""
    measured = [item.sensitivity for item in open_ones if item.sensitivity]
    counts = sorted(item.read for item in measured)
    read = f"{counts[0]}" if counts[0] == counts[-1] else f"{counts[0]} to {counts[-1]}"
    needed = count_texts_needed(HALF, certificate.risk)
    verb, own = ("has", "its") if len(open_ones) == 1 else ("have", "their")
    subject = (
        f"{format_count(len(open_ones), 'trait')} {verb} no adjusted bound of {own} own up to "
        f"{MOST_STATED:.0%}"
    )
    if counts[0] >= needed:
        missed = any(item.found < item.read for item in measured)
        reason = "raters missed seeded texts" if missed else "too few rows were read"
        return f"{subject}, because {reason}."
    return (
        f"{subject}, because only {read} seeded texts of each were read. {needed} of each, all "
        "found, would bound each at about twice what raters see: "
        f"--seeded {needed * len(certificate.traits)} with the draw of the next audit."
    )


class Prospect(NamedTuple):
    """The lowest bound that labels of a sample can give, and what its target needs.

    `best` is the bound if no drawn kept row shows a trait and raters find every seeded text. If it
    is above the target, `rows` and `items` are the smallest draw that can reach it, or None if not
    even one of `tried` rows can. `hits` are the bounds if one or two drawn kept rows show a
    trait, and `enough` is the smallest draw that reaches the target even with two.
    """

    best: float
    rows: int | None = None
    items: int | None = None
    tried: int = 0
    hits: tuple[float, ...] = ()
    enough: int | None = None


def foresee(run: str, manifest: Manifest, sample: AuditSample, seeded: int | None) -> Prospect:
    """Compute the best bound of a sample, and how many rows its target needs if that is above it.

    `seeded` is the wanted number of seeded texts, or None for the usual one. The rows are those
    that a larger draw adds to the sample.

    Raises: RunError: the run is damaged.
    """
    kept, mixed = (
        sum(getattr(block, kind) for block in sample.blocks) for kind in ("kept", "seeded")
    )
    best, *hits = (bound_at_best(sample, kept, mixed, shown).decisive for shown in range(3))
    found = Prospect(best, hits=tuple(hits))
    if sample.at_most is None or hits[-1] <= sample.at_most:
        return found
    rows = read_drawn_from(run, manifest, sample)
    enough = _find_draw(manifest, rows, sample, seeded, best, shown=2).rows
    if best > sample.at_most:
        found = _find_draw(manifest, rows, sample, seeded, best)._replace(hits=tuple(hits))
    return found._replace(enough=enough)


class FurtherRows(NamedTuple):
    """How many rows were drawn, and the smallest draw that reaches a missed target, if any does."""

    drawn: int
    needed: int | None


def foresee_further(
    run: str, manifest: Manifest, sample: AuditSample, answers: Sequence[AuditAnswer]
) -> FurtherRows:
    """Find the smallest draw that reaches a missed target, if raters see no trait in further rows.

    The draw has the rows of the sample, with the answers about them. Raters find all further seeded
    texts. If not even the whole run is enough, there is no such draw.

    Raises: RunError: the run is damaged.
    """
    rows = read_drawn_from(run, manifest, sample)
    found = _find_draw(manifest, rows, sample, None, 1.0, answers=answers)
    return FurtherRows(sum(block.kept + block.removed for block in sample.blocks), found.rows)


def require_reach(
    run: str, manifest: Manifest, sample: AuditSample, seeded: int | None, found: Prospect
) -> None:
    """Refuse a draw that can't reach its target, whatever the labels say.

    The error says how many rows can, also if one or two of them show a trait.

    Raises: CardError: the target is below the best bound.
    """
    if sample.at_most is None or found.best <= sample.at_most:
        return
    if found.rows is None:
        remedy = f"even {found.tried:,} rows are too few: set a larger --at-most"
    else:
        rows = read_drawn_from(run, manifest, sample)
        one, two = (_find_draw(manifest, rows, sample, seeded, found.best, n).rows for n in (1, 2))
        hits = "".join(
            f", {count:,} if {name} kept row{verb} a trait"
            for name, verb, count in (("one", " shows", one), ("two", "s show", two))
            if count
        )
        remedy = (
            f"draw at least {found.rows:,} rows ({found.items:,} items){hits}: --draw {two or one}"
            if two or one
            else f"draw at least {found.rows:,} rows ({found.items:,} items)"
        )
    raise CardError(
        f"is too small: at best, it shows at most {format_bound(found.best)}, and not at most "
        f"{format_exact(sample.at_most)}",
        where="--draw",
        remedy=f"{remedy}; or draw these rows anyway: --short-of-target",
    )


def _find_draw(
    manifest: Manifest,
    rows: AuditedRows,
    sample: AuditSample,
    seeded: int | None,
    best: float,
    shown: int = 0,
    answers: Sequence[AuditAnswer] = (),
) -> Prospect:
    """Find the smallest draw that can reach the target: double it, and then halve the interval."""
    most = min(MOST_ROWS, len(rows.kept) + len(rows.removed))
    target = sample.at_most or 0.0
    low = sum(block.kept + block.removed for block in sample.blocks)
    high, larger = low, sample
    while bound_draw(rows, larger, sample, high, seeded, shown, answers) > target:
        if high >= most:
            return Prospect(best, tried=most)
        low, high = high, min(2 * max(high, 1), most)
        block = _plan(rows, sample, high, seeded)
        larger = build_sample(
            manifest,
            rows,
            sample.traits,
            sample.pool,
            (*sample.blocks, block),
            sample.seed,
            sample.risk,
            sample.at_most,
        )
    while high - low > 1:
        middle = (low + high) // 2
        bound = bound_draw(rows, larger, sample, middle, seeded, shown, answers)
        low, high = (low, middle) if bound <= target else (middle, high)
    whole = (*sample.blocks, _plan(rows, sample, high, seeded))
    items = sum(block.kept + block.removed + block.seeded for block in whole)
    return Prospect(best, high, items, high)


def bound_draw(
    rows: AuditedRows,
    larger: AuditSample,
    sample: AuditSample,
    wanted: int,
    seeded: int | None,
    shown: int = 0,
    answers: Sequence[AuditAnswer] = (),
) -> float:
    """Return the best bound of a sample to which rows are added until there are `wanted`.

    The first draws of the `larger` sample are those of every smaller one.
    """
    whole = (*sample.blocks, _plan(rows, sample, wanted, seeded))
    kept, mixed = (sum(getattr(block, kind) for block in whole) for kind in ("kept", "seeded"))
    return bound_at_best(larger, kept, mixed, shown, answers).decisive


def _plan(rows: AuditedRows, sample: AuditSample, wanted: int, seeded: int | None) -> AuditBlock:
    """Return the block that a draw of `wanted` rows would add to a sample."""
    return plan_block(rows, sample.blocks, wanted, len(sample.pool), seeded, len(sample.traits))
