"""What the data card says about trust: exceptions, warnings, cautions, and what people read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import zip_longest

from pipelines.certifying.histories import describe_carried, describe_history, ends_with
from pipelines.certifying.prospects import explain_dashes
from pipelines.display.progress import list_cautions
from pipelines.papers.facts import RunFacts
from pipelines.papers.markdown import build_table, escape
from pipelines.removals_read import describe_clean_removals
from pipelines.runs.recorded_settings import read_recorded_policy
from schemas.certificates import Certificate, TraitStatement
from schemas.notices import choose_form, format_count
from schemas.policies import SEVERITY, LotException
from schemas.receipts import ActionChange, ExceptionEffect
from schemas.shares import format_bound, format_exact

MOST_EXCEPTIONS = 50
"""How many exceptions the card lists."""

LONGEST_WORDS = 2_000
"""How many characters of a warning, a caution or a reason are shown."""


def describe_exceptions(facts: RunFacts) -> Iterator[str]:
    """Yield the policy's exceptions, with the reviewers' reasons, and what all of them changed."""
    given = read_recorded_policy(facts.manifest).exceptions
    if not given:
        return
    yield "### Exceptions"
    yield ""
    yield f"The policy has {format_count(len(given), 'exception')}: {sum_effects(facts)}."
    yield ""
    pairs = zip(given[:MOST_EXCEPTIONS], facts.manifest.exceptions, strict=False)
    rows = [_list_cells(item, effect) for item, effect in pairs]
    yield from build_table(("rows", "trait", "sets", "rows it changed", "reason"), rows)
    yield ""
    if len(given) > MOST_EXCEPTIONS:
        yield f"{len(given) - MOST_EXCEPTIONS:,} more exceptions are in the manifest."
        yield ""


def sum_effects(facts: RunFacts) -> str:
    """Say in a phrase what all exceptions together changed."""
    counts: Counter[tuple[str, str, str]] = Counter()
    given = read_recorded_policy(facts.manifest).exceptions
    for item, effect in zip_longest(given, facts.manifest.exceptions):
        for change in effect.changed if effect else ():
            counts[change.before, *_name_action(item, change)] += change.rows
    order = sorted(counts, key=lambda names: tuple(map(SEVERITY.index, names)))
    parts = [_describe_change(counts[names], *names) for names in order]
    idle = sum(not effect.changed for effect in facts.manifest.exceptions)
    changed = f"they changed the action on {', '.join(parts)}" if parts else "they changed no row"
    verb = choose_form(idle, "changes", "change")
    return f"{changed}; {idle:,} of them {verb} no row" if parts and idle else changed


def _name_action(item: LotException | None, change: ActionChange) -> tuple[str, str]:
    """Return the action to which an exception set its trait, and the strongest one on the row."""
    own, after = item.action if item else None, change.after
    is_milder = own in SEVERITY and SEVERITY.index(own) < SEVERITY.index(after)
    return (own if own and is_milder else after, after)


def _describe_change(rows: int, before: str, own: str, after: str) -> str:
    """Say how an exception changed rows: what it says, and what other traits leave of that."""
    other = "" if own == after else f" (for another trait, the action is {after})"
    return f"{rows:,} from {before} to {own}{other}"


def _describe_effect(item: LotException, effect: ExceptionEffect) -> str:
    """Return what an exception changed, with the action that it names."""
    said = [
        _describe_change(change.rows, change.before, *_name_action(item, change))
        for change in effect.changed
    ]
    rest = effect.model_copy(update={"changed": ()})
    return ", ".join([*said, rest.describe()] if effect.overruled or not said else said)


def _list_cells(item: LotException, effect: ExceptionEffect) -> tuple[str, ...]:
    sets: list[str] = [item.action or ""]
    if item.threshold is not None:
        sets.append(f"threshold {item.threshold:.4f}")
    return (
        escape(item.describe() or "every lot"),
        escape("every trait" if item.trait == "*" else item.trait),
        ", ".join(filter(None, sets)),
        escape(_describe_effect(item, effect)),
        escape(item.reason, LONGEST_WORDS),
    )


def describe_cautions(facts: RunFacts) -> Iterator[str]:
    """Yield the warnings that concern traits' bounds, and the cautions of traits that fired.

    A trait whose findings exceptions all keep has no caution.
    """
    manifest = facts.manifest
    warnings = [
        notice.text
        for notice in manifest.list_notices()
        if notice.severity == "warning" and notice.remarks
    ]
    lines = [*warnings, *(f"{trait}: {text}" for trait, text in list_cautions(manifest))]
    if not lines:
        return
    yield "### Read these numbers with care"
    yield ""
    yield from (f"- {escape(line, LONGEST_WORDS)}" for line in lines)
    yield ""


def describe_reading(facts: RunFacts) -> Iterator[str]:
    """Yield what the certificate states, or that there is none."""
    yield "## What people read"
    yield ""
    found = facts.certificate
    history = describe_history(found, facts.statements)
    if found is None:
        no_reading = ": no sample of its rows was read to bound what it missed"
        yield f"The run has no certificate{'' if history else no_reading}."
        if history:
            yield history
        yield from _describe_removals(facts)
        yield ""
        return
    yield state_bound(found)
    if carried := describe_carried(found):
        yield carried
    if history:
        yield history
    yield from _describe_removals(facts)
    yield f"{escape(', '.join(found.raters))} labelled the rows."
    yield ""
    statements = (found.together, *found.traits) if len(found.traits) > 1 else found.traits
    there = f" in run {found.carried.run_id}" if found.carried else ""
    read = (f"kept rows read{there}>", "show it>", "at most>", f"removed rows read{there}>")
    head = ("trait", *read, "clean>")
    several = len(found.traits) > 1
    yield from build_table(head, (_list_numbers(item, several) for item in statements))
    yield ""
    if any(item.residual.unsure or item.clean_removed.unsure for item in statements):
        yield (
            "Rows that a rater was unsure about, or on which raters differ, count against the run: "
            "a kept row as showing the trait, and a removed row as clean."
        )
        yield ""
    if dashes := explain_dashes(found):
        yield dashes
        yield ""
    yield from (f"- {escape(limit, LONGEST_WORDS)}" for limit in found.limits)
    yield f"- Certificate: digest {found.digest}; `congener verify RUN` checks it"
    if ends_with(facts.statements, found):
        line = facts.statements[-1].digest
        yield (
            f"- Its line in the history of statements: digest {line}; `congener verify RUN "
            f"--statement {line}` fails if it was removed"
        )
    yield ""


def _describe_removals(facts: RunFacts) -> Iterator[str]:
    """Yield how many removed rows may be clean, if any were removed, as the report does."""
    if said := describe_clean_removals(facts.manifest, facts.certificate):
        yield f"{said[0].upper()}{escape(said[1:], LONGEST_WORDS)}."


def state_bound(found: Certificate) -> str:
    """Say in a sentence what share of the kept rows shows a trait at most, as raters see it."""
    residual = found.together.residual
    names = [item.trait or "" for item in found.traits]
    what = escape(names[0]) if len(names) == 1 else f"any of {', '.join(map(escape, names))}"
    seen = ", as far as the raters see it" if residual.adjusted is None else ""
    masks = ", if the trainer applies the masks" if found.reading else ""
    read = f"; {format_count(residual.read, 'row')} of them {_agree(residual.read)} read."
    return (
        f"With {format_exact(1 - found.risk)} confidence, at most "
        f"{format_bound(found.together.decisive)} of the {residual.rows:,} kept rows show {what}"
        f"{seen}{masks}{'.' if found.carried else read}"
        + (f" {found.reading}" if found.reading else "")
        + _describe_target(found)
    )


def _describe_target(found: Certificate) -> str:
    """Say whether the bound reaches its target, after a space, or return an empty text."""
    if found.at_most is None:
        return ""
    verdict = "is met" if found.met else "is **not met**"
    return f" The target, at most {format_exact(found.at_most)}, {verdict}."


def _agree(count: int) -> str:
    return choose_form(count, "was", "were")


def _list_numbers(item: TraitStatement, several: bool) -> tuple[str, ...]:
    residual, removed = item.residual, item.clean_removed
    return (
        escape(item.trait or "any of them"),
        f"{residual.read:,}",
        f"{residual.counted - residual.unsure:,} + {residual.unsure:,} unsure"
        if residual.unsure
        else f"{residual.counted:,}",
        "–" if several and item.trait and not item.is_bounded else format_bound(item.decisive),
        f"{removed.read:,} of {(removed.carried or removed).rows:,}",
        removed.describe_counted("clean") if removed.unsure else f"{removed.counted:,}",
    )
